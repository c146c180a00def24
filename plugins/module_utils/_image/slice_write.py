# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Bringing one slice to one published image: what is looked at before, and what is said of it afterwards."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Medium, Slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import content
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    Inside,
    check_fits,
    check_order,
    check_time,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import Trusted, find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Outcome, Writer, check_target


def wishes_of(params: Mapping[str, Any]) -> Wishes:
    """What the arguments ask of the transfer."""
    rates = [params["line_rate"] * 125000.0] + ([float(params["rate_limit"])] if params["rate_limit"] else [])
    return Wishes(
        fallback=params["fallback"],
        connections=params["connections"],
        max_transfer=params["max_transfer"],
        line_rate=min(rates),
        deltas=params["deltas"],
    )


def result_of(trusted: Trusted, piece: Slice, writer: Writer, outcome: Outcome, before: str) -> Dict[str, Any]:
    """What a module says of it."""
    manifest = trusted.manifest
    result: Dict[str, Any] = {
        "changed": outcome.written > 0,
        "finished": True,
        "image": manifest.as_dict(),
        "signer": trusted.signer,
        "slice": piece.label,
        "provider": piece.path,
        "written": outcome.written,
        "kept": outcome.kept,
        "fetched": writer.repository.fetched,
        "requests": writer.repository.requests,
        "relayed": writer.repository.relayed,
        "predicted": dict(outcome.plan.as_dict(), relay=writer.repository.relay) if outcome.plan is not None else None,
        "notes": list(outcome.notes) + writer.repository.notes,
        "diff": {
            "before": "{0}: {1}\n".format(piece.label, before),
            "after": "{0}: {1}-{2}\n".format(piece.label, manifest.name, manifest.version),
        },
    }
    return result


def find_for(
    runner: Runner,
    repository: Repository,
    wanted: str,
    name: Optional[str],
    keys: Keys,
    piece: Slice,
    running: Optional[Inside],
    allow_older: bool,
    memory: Memory,
) -> Trusted:
    """The image that a slice shall hold: verified, and fit for this machine.

    :param wanted: see :func:`trust.find_image`.
    :param name: of the image; see :func:`content.name_meant`.
    :param running: what the running image says of itself.
    :param allow_older: also one with a lower seq.
    :param memory: of what the publisher has said before.
    :raises FleetError: when there is none, it cannot be trusted or would not do. Whether it is bad is for
        :meth:`trust.Trusted.judged`.
    """
    name = content.name_meant(wanted, name, lambda: running)
    trusted = find_image(runner, repository, wanted, keys, name=name, now=time.time(), memory=memory)
    check_fits(trusted.manifest, sysctl(runner, "hw.machine_arch"), piece.size, piece.label)
    check_order(trusted.manifest, running, allow_older)
    check_time(trusted.manifest, time.time())
    return trusted


def prepare(
    runner: Runner,
    medium: Medium,
    piece: Slice,
    repository: Repository,
    trusted: Trusted,
    wishes: Wishes,
    will_disarm: bool = False,
) -> Tuple[Writer, Callable[[Outcome], Dict[str, Any]]]:
    """The writer, after everything that the slice itself can fail; and what makes a result of its outcome.

    :param will_disarm: nothing is written now, and the boot flags will be taken off before it is.
    """
    check_target(read_mesh(runner), medium, piece.provider, will_disarm=will_disarm)
    inside = content.read_slice(piece, False).as_dict()
    before = "{name}-{version}".format(**inside) if inside else "no image"
    writer = Writer(repository, trusted.manifest, piece.path, content.other_builds(medium, piece), wishes)
    return writer, lambda outcome: result_of(trusted, piece, writer, outcome, before)
