# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a restore must know of a host, beside its files: how its pool is made up, which system ran, which files have
flags. It is one file of JSON at the top of the tree that a backup host reads, so every backup has it.

No secrets: neither a key nor the lease of a play, and none of the journal at all, as a host that is restored is in the
middle of nothing.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import POLICY
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import delegation
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import zfs as datasets
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import PREFIX, Journal
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation

NAME = "nanozfs-host.json"
FORMAT = 1

#: what of the collection's own properties belongs to the data, and not to the journal
_KEPT = (POLICY, datasets.POLICY, datasets.MADE_BY)

#: UF_ARCHIVE of chflags(2), which says nothing: ZFS sets it on whatever was written (``zfs_tstamp_update_setup()`` of
#: OpenZFS's ``zfs_znode.c``)
_NOTHING = 0x00000800

#: how many files with flags are named, and in how many characters: any user can set one (``nodump``) on many files with
#: long names, and /var may be small
MOST, LONGEST = 100000, 4 << 20

#: what the tree cannot give, in words
LOSSES = (
    "NFSv4 access lists are not read by rsync: a file that has more entries than its mode says keeps its mode only",
    "the times of the birth of files are not read by rsync",
)


class Part(NamedTuple):
    """A dataset whose snapshot is in the tree. ``path`` is where, relative to the top; as on the host below ``/``."""

    dataset: str
    guid: str
    path: str


class Left(NamedTuple):
    """A dataset that is not in the tree; ``told`` where somebody might miss it."""

    dataset: str
    why: str
    told: bool


def _flags(info: os.stat_result) -> int:
    return int(getattr(info, "st_flags", 0))


def flagged(
    top: str,
    flags_of: Optional[Callable[[os.stat_result], int]] = None,
    most: int = MOST,
    longest: int = LONGEST,
) -> Tuple[Dict[str, int], List[str]]:
    """Files and folders below a folder that have flags (chflags(2)).

    Each entry costs one lstat(2) and nothing else. Where the system has no flags, nothing is looked at.

    :param flags_of: the flags in what stat(2) said.
    :param most: how many are named.
    :param longest: in how many characters, as JSON has them.
    :returns: flags by path relative to the top, and what could not be told, in words. Names that are no UTF-8 are as
        os.fsdecode(3) has them.
    """
    if flags_of is None:
        if not hasattr(os.stat_result, "st_flags"):
            return {}, []
        flags_of = _flags
    found: Dict[str, int] = {}
    unread = more = length = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(top, folder)) as entries:
                for entry in entries:
                    path = folder + "/" + entry.name if folder else entry.name
                    flags = flags_of(entry.stat(follow_symlinks=False))
                    if flags & ~_NOTHING:
                        length += len(json.dumps(path))
                        if len(found) < most and length <= longest:
                            found[path] = flags
                        else:
                            more += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
        except OSError:
            unread += 1
    problems = ["{0} more files have flags than are named".format(more)] if more else []
    if unread:
        problems.append("the flags in {0} folders could not be read".format(unread))
    return found, problems


def _own(properties: Mapping[str, str]) -> Dict[str, str]:
    """The properties of a dataset that a restore sets again."""
    return {key: value for key, value in sorted(properties.items()) if not key.startswith(PREFIX) or key in _KEPT}


def _pool(runner: Runner, name: str) -> Dict[str, Any]:
    """The pool: what was set on it itself (``zpool get``), its sizes and features."""
    zpool = Zpool(runner)
    pool = zpool.pool(name)
    argv = ["zpool", "get", "-H", "-o", "property,value,source", "all", name]
    rows = runner.ask(argv, "read the properties of the pool {0}".format(name)).rows()
    local = {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "local" and "@" not in row[0]}
    return {
        "name": name,
        "guid": pool.guid if pool else "",
        "size": pool.size if pool else 0,
        "allocated": pool.allocated if pool else 0,
        "properties": local,
        "features": list(zpool.features(name).active),
    }


def _datasets(
    zfs: datasets.Zfs, every: Sequence[datasets.Dataset], parts: Sequence[Part], left: Sequence[Left]
) -> List[Dict[str, Any]]:
    paths = {part.dataset: part.path for part in parts}
    whys = {each.dataset: each.why for each in left}
    found = []
    for each in every:
        if each.name not in paths and each.name not in whys:
            continue
        allowed, strange = delegation.parse(zfs.delegations(each.name), each.name)
        found.append(
            {
                "name": each.name[len(each.pool) + 1 :],
                "guid": each.guid,
                "kind": each.kind,
                "path": paths.get(each.name),
                "why": whys.get(each.name, ""),
                "properties": _own(zfs.local_properties(each.name)),
                "allow": [list(arguments) for arguments in allowed],
                "allow_lost": strange,
                "used": each.used,
                "referenced": each.referenced,
            }
        )
    return found


def running_id(here: Situation) -> str:
    """The id of the image that runs, as the journal knows it; empty where it does not. Nothing is hashed for it."""
    journal: Journal = here.journal
    for ref in (journal.image, journal.target, journal.source, journal.fallback):
        if ref is not None and ref.build == here.image.build:
            return ref.id
    return ""


def image_of(here: Situation) -> Dict[str, Any]:
    """The image that runs."""
    return {
        "name": here.image.name,
        "version": here.image.version,
        "build": here.image.build,
        "id": running_id(here),
        "slice": here.medium.running,
    }


def _slices(here: Situation) -> Dict[str, Any]:
    found = {}
    for label, piece in sorted(here.medium.slices.items()):
        inside = read_slice(piece, False).inside
        image = {"name": inside.name, "version": inside.version, "build": inside.build} if inside else None
        found[label] = {"size": piece.size, "image": image}
    return found


def describe(
    here: Situation, tag: str, taken: int, trial: bool, parts: Sequence[Part], left: Sequence[Left], tree: str
) -> Dict[str, Any]:
    """All of it.

    :param taken: when the snapshot was taken, in seconds since the epoch.
    :param tree: where the snapshots are mounted.
    :raises FleetError: when the pool cannot be asked.
    """
    flags, problems = flagged(tree)
    every = here.zfs.datasets(here.pool)
    return {
        "format": FORMAT,
        "host": sysctl(here.runner, "kern.hostname"),
        "hostid": "{0:x}".format(Zpool(here.runner).own_hostid()),
        "hostuuid": sysctl(here.runner, "kern.hostuuid"),
        "arch": sysctl(here.runner, "hw.machine_arch"),
        "taken": taken,
        "tag": tag,
        "pool": _pool(here.runner, here.pool),
        "datasets": _datasets(here.zfs, every, parts, left),
        "image": image_of(here),
        "medium": here.medium.scheme,
        "slices": _slices(here),
        "phase": here.journal.phase,
        "trial": trial,
        "flags": flags,
        "losses": [*LOSSES, *problems],
    }


def write(path: str, found: Mapping[str, Any]) -> None:
    """Into a file for root alone.

    :raises FleetError: when it cannot be written.
    """
    try:
        with arriving(path, 0o600) as (_partial, file):
            file.write(json.dumps(found, indent=1, sort_keys=True).encode("ascii"))
    except OSError as error:
        raise FleetError("{0} cannot be written: {1}".format(path, error.strerror), todo="see that /var has room")
