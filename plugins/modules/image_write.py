#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_write
short_description: Write a published image to an OS slice
version_added: 1.0.0
description:
  - Brings a slice from whatever it holds to a published image, and proves it. The manifest of the image is verified
    first, then each MiB of the slice is compared with it. Only what differs is made and written, in order, and at
    the end every byte is read back.
  - What differs is fetched in the way that brings it the quickest - as a delta from an image that is in another slice
    of the host, or else from the full pack. Check mode says which and how many bytes.
  - A write that was broken off goes on where it stopped when the module runs again. Nothing is ever staged in a file.
  - While it works it says how far it is. The write is done by a process of its own on the host, which goes on when the
    controller or the network fails; a play that is started meanwhile takes it over.
  - Refuses a slice that is running, mounted, held by anything else, too small, or would be booted; and an image for
    another architecture, one that is older than what runs, one that has expired, one that is not signed, and one that
    its publisher calls bad.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.trust
  - nanozfs.fleet.common.push
  - nanozfs.fleet.common.job
  - nanozfs.fleet.common.transfer
options:
  slice:
    description:
      - Label of the slice, or V(inactive) for the one of the pair that does not run.
    type: str
    default: inactive
  allow_bad:
    description: Also write an image that is on the publisher's list of bad images.
    type: bool
    default: false
    version_added: 1.1.0
  lease:
    description:
      - The lease of this play on the host (M(nanozfs.fleet.transaction)). With it the slice is only written as long
        as no other play has taken over, and the journal is told when it is. Without it nothing is written while
        another play is at work.
    type: str
  site_limit:
    description:
      - How many hosts of a site may write at once, over all plays that a user runs on this controller; V(0) for any
        number. A host waits until it is its turn, and occupies a fork of Ansible meanwhile. Its site is
        C(fleet_site), or else the only group that it is in; hosts of which neither says it count as one site.
    type: int
    default: 0
    version_added: 1.1.0
  lease_seconds:
    description:
      - How long O(lease) lasts without a word of this play, in seconds. While it waits for a turn it speaks up in time.
    type: int
    default: 600
    version_added: 1.1.0
  pool:
    description: Name of the system pool, which has the journal. By default the one that the running image names.
    type: str
  chunk:
    description:
      - Size of a chunk with O(push=true), in bytes. So much room is needed in the temporary folder of the target.
    type: int
    default: 8388608
  part:
    description: The part of the payloads that is in O(repository), for O(push=true).
    type: dict
    suboptions:
      file:
        description: Name of the whole file.
        type: str
      offset:
        description: Where it begins in the whole file, in bytes.
        type: int
      length:
        description: Its size in bytes.
        type: int
"""

EXAMPLES = r"""
- name: Disarm the other slice
  nanozfs.fleet.gpart_slice:
    slice: inactive
    state: inactive

- name: Bring version 1.1 onto it
  nanozfs.fleet.image_write:
    repository: https://images.example.org/web
    image: "1.1"

- name: The same from a stick
  nanozfs.fleet.image_write:
    repository: /media/stick/images
    image: latest

- name: What the canaries should run, only if it is small, and slowly
  nanozfs.fleet.image_write:
    repository: https://images.example.org/web
    image: ring:canary
    fallback: fail
    max_transfer: 50000000
    rate_limit: 500000

- name: From a folder of the controller, to a host that reaches no server
  nanozfs.fleet.image_write:
    repository: /srv/www/images
    image: "1.1"
    push: true
"""

RETURN = r"""
image:
  description: The image that the slice holds now. Sizes in bytes.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
signer:
  description: The principal whose signature was verified.
  returned: success
  type: str
  sample: release@fleet
slice:
  description: Label of the slice.
  returned: success
  type: str
  sample: nz-b
provider:
  description: The device that was written.
  returned: success
  type: str
  sample: /dev/gpt/nz-b
written:
  description: Bytes that were written; in check mode, that would have been written.
  returned: success
  type: int
  sample: 41943040
kept:
  description: Bytes that were right already.
  returned: success
  type: int
  sample: 1031798784
fetched:
  description: Bytes that came from the repository or its relay, all small files included.
  returned: success
  type: int
  sample: 5050000
relayed:
  description: How many of RV(fetched) came from O(relay).
  returned: success
  type: int
  sample: 0
  version_added: 1.1.0
requests:
  description: How often the repository was asked.
  returned: success
  type: int
  sample: 9
predicted:
  description:
    - What has to be fetched for it, or had to be. Null when nothing had. Not counted are the small files that say so.
      C(relay) is the relay that it comes from, null where there is none.
  returned: success
  type: dict
  sample: {source: the delta from 1.0, kind: delta, codec: xz, bytes: 4950000, requests: 5, seconds: 0.4}
notes:
  description: Decisions that were made on the way, such as falling back to the full pack.
  returned: success
  type: list
  elements: str
  sample: []
ranges:
  description: The parts of a file that have to be fetched, as offset and length in bytes.
  returned: in check mode
  type: dict
  sample: {file: 3fa9c1d2....delta, parts: [[0, 4950000]]}
finished:
  description: Whether the write is over.
  returned: success
  type: bool
  sample: true
job:
  description: Name of the write that goes on.
  returned: while it is not finished
  type: str
  sample: 1795000000-4711
progress:
  description: How far it is. Bytes, bytes per second, seconds.
  returned: while it is not finished
  type: dict
  sample: {phase: writing, done: 419430400, total: 1073741824, percent: 39, rate: 52428800, eta: 12}
"""

import os
import time
from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    ALLOW_BAD,
    JOB,
    PUSH,
    TRANSFER,
    TRUST,
    check_positive,
    keys_of,
    passes,
    repository_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import medium as _medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import content
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job as jobs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.slice_write import find_for, prepare, wishes_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import PartRepository, Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Outcome, Part
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine, operations
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import look


def ranges(outcome: Outcome, chunk: int) -> Dict[str, Any]:
    """What has to be fetched: for a controller that brings it."""
    if outcome.plan is None:
        return {"file": None, "parts": []}
    return {"file": outcome.plan.offer.data.name, "parts": [list(part) for part in outcome.plan.parts(chunk)]}


def answer(module: AnsibleModule, record: Dict[str, Any]) -> Dict[str, Any]:
    """What to tell about a write that goes on by itself."""
    result = jobs.answer(record)
    for note in result.get("notes", ()):
        module.warn(note)
    return result


def still(module: AnsibleModule, record: Dict[str, Any], label: str) -> Dict[str, Any]:
    """What to tell about a write that somebody else has begun.

    :raises FleetError: when it goes on, and the caller wanted to see its end.
    """
    if not record.get("finished") and not module.params["detach"]:
        raise FleetError(
            "{0} is still being written by an earlier play".format(label),
            safe="that write goes on",
            todo="run the play again later; it takes the write over",
        )
    return answer(module, record)


def begun(module: AnsibleModule, job: jobs.Job, ident: str) -> Dict[str, Any]:
    """Wait a little for a write that was begun in a process of its own, and tell about it.

    :raises FleetError: when it died at once.
    """
    record = jobs.await_change(job, ident, module.params["wait"])
    if record is None:
        raise FleetError(
            "the process that writes the image died",
            safe="the slice has no boot flags; what was written is kept",
            todo="look for the reason (dmesg: out of memory?), then run the play again; it goes on from here",
        )
    return answer(module, record)


def fenced(module: AnsibleModule, runner: Runner, event: Optional[str], **more: Any) -> None:
    """See that this play may change the slice; and tell the journal what has become of it.

    :param event: what to tell it; ``None`` to only look.
    :param more: what else it is told, see :func:`transaction.after`.
    :raises Refused: when another play is at work, or has taken over.
    """
    if module.check_mode:
        return
    lease, pool = module.params["lease"], module.params["pool"]
    with leases.locked():
        try:
            here = look(runner, pool)
        except FleetError:
            if lease is not None:
                raise
            return  # a host without a pool has no transaction either
        if event is None or lease is None:
            operations.hold(here, Play(lease))
        else:
            operations.Operation(here, Play(lease)).run(event, **more)


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_positive(params, "line_rate", "rate_limit", "connections", "chunk", "deadline", "timeout")
    fenced(module, runner, None)
    result = work(module, runner)
    if result["finished"] and params["part"] is None:
        fenced(module, runner, machine.WROTE, fetched=int(result.get("fetched") or 0))
    return result


def work(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """Write, or look at a write that goes on by itself."""
    params = module.params
    medium = _medium.read_medium(runner)
    piece = medium.get(_medium.pick(medium, params["slice"]))
    job = jobs.Job(piece.label)
    if params["job"]:
        record = jobs.await_change(job, params["job"], params["wait"])
        if record is not None:
            return answer(module, record)
    repository: Repository = repository_of(params)
    if params["part"]:
        repository = PartRepository(params["repository"], params["part"]["offset"])
    running = content.running_image(medium)
    trusted = find_for(
        runner,
        repository,
        params["image"],
        params["name"],
        keys_of(params, module.tmpdir),
        piece,
        running,
        params["allow_older"],
        Memory(),
    )
    for warning in trusted.judged(passes(params["allow_bad"], ALLOW_BAD), ALLOW_BAD):
        module.warn(warning)
    manifest = trusted.manifest
    if module.check_mode:
        if job.under_way():
            record = job.read()
            jobs.refuse_other(job, record, manifest.id, manifest.describe())
            return dict(answer(module, record or {}), image=manifest.as_dict())
        # a play takes the flags off right before it writes; its check mode cannot have done so
        writer, result = prepare(runner, medium, piece, repository, trusted, wishes_of(params), will_disarm=True)
        predicted = writer.predict()
        return dict(result(predicted), ranges=ranges(predicted, params["chunk"]))
    for warning in trusted.word.remember(Memory()):
        module.warn(warning)
    seconds = params["wait"] if params["detach"] else params["deadline"]
    other = jobs.take(job, manifest.id, manifest.describe(), seconds)
    if other is not None:
        return still(module, other, piece.label)
    head: Dict[str, Any] = {
        "job": "{0}-{1}".format(int(time.time()), os.getpid()),
        "pid": os.getpid(),
        "image": manifest.id,
        "describe": manifest.describe(),
    }
    try:
        job.save(dict(head, phase="starting", total=manifest.size, percent=0, finished=False))
        writer, result = prepare(runner, medium, piece, repository, trusted, wishes_of(params))
        if params["detach"]:
            meter = jobs.Meter(head)
            jobs.start(job, head, lambda: meter.record(writer.progress()), lambda: result(writer.write()))
            return begun(module, job, head["job"])
        work = writer.write if not params["part"] else lambda: writer.write_part(Part(**params["part"]))
        record = jobs.finished(head, jobs.outcome_of(lambda: result(work())))
        job.save(record)
        return answer(module, record)
    finally:
        job.unlock()


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            TRUST,
            **PUSH,
            **JOB,
            **TRANSFER,
            slice={"type": "str", "default": "inactive"},
            allow_bad={"type": "bool", "default": False},
            lease={"type": "str"},
            site_limit={"type": "int", "default": 0},
            lease_seconds={"type": "int", "default": 600},
            pool={"type": "str"},
            chunk={"type": "int", "default": 8388608},
            part={
                "type": "dict",
                "options": {"file": {"type": "str"}, "offset": {"type": "int"}, "length": {"type": "int"}},
            },
        ),
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
