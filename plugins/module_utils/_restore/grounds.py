# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What all restores do to datasets: making them so that nothing mounts them, mounting them to be filled, giving them
their properties, and noting on themselves what they are of.

A dataset that is being restored has ``canmount=noauto``: neither ``zfs mount -a`` nor a change of its mountpoint or of
its shares mounts it (``changelist_postfix()`` in OpenZFS's ``libzfs_changelist.c`` asks for ``canmount=on``). ``mount
-t zfs`` does all the same, and wherever it is told: ``zfs_mount()`` of FreeBSD's ``zfs_vfsops.c`` looks at neither
property. What it is of is a user property of itself, made with it in one command, so none is ever there that nobody
knows.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import delegation
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import mounts as _mounts
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, MAKER, Zfs, same_value
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import Member

#: what a dataset is a restore of; and, of one that is complete, what it was restored from
RECORD, RESTORED = "nanozfs:restore", "nanozfs:restored"

HOST, DATASET, PATH = "host", "dataset", "path"

#: only zfs create takes these
BIRTH = ("utf8only", "normalization", "casesensitivity")

#: these are not for a file system that is made anew, or go with a key that nobody here has
NEVER = ("version", "encryption", "keyformat", "keylocation", "pbkdf2iters", "volsize", "volblocksize", "type")

#: set after the files are there, as far as there is room for them
LIMITS = ("quota", "refquota", "filesystem_limit", "snapshot_limit", "reservation", "refreservation")

#: these would stand in the way of what fills it, or make it be mounted
LAST = ("readonly", "jailed", "sharenfs", "sharesmb", "canmount")

_SAFE = "what the host had is as it was"


@dataclass(frozen=True)
class Record:
    """What a dataset is a restore of.

    :param set: as the backup host calls it.
    :param swap: it is complete, and is being put in place.
    """

    id: str
    kind: str
    set: str
    label: str
    host: str
    taken: int
    swap: bool = False

    def encode(self) -> str:
        """As a property value."""
        return json.dumps(dict(self.__dict__, v=1), sort_keys=True)

    def swapping(self) -> Record:
        """The same, complete."""
        return replace(self, swap=True)

    def describe(self) -> str:
        """For messages."""
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.taken))
        return "a restore of {0} from {1} (backup {2}, taken {3})".format(self.host, self.label, self.set, when)


def decode(text: str) -> Record:
    """The opposite of :meth:`Record.encode`.

    :raises FleetError: when it is none.
    """
    try:
        values = json.loads(text)
        if values["v"] != 1:
            raise ValueError
        ident, kind, name, label, host = (str(values[key]) for key in ("id", "kind", "set", "label", "host"))
        return Record(ident, kind, name, label, host, int(values["taken"]), values["swap"] is True)
    except (ValueError, KeyError, TypeError):
        raise FleetError(
            "a dataset says that it is being restored, and nobody here understands of what: {0!r}".format(text[:80]),
            safe="nothing was changed",
            todo="look for it (zfs get -r -s local {0}); if nobody needs it, destroy it by hand".format(RECORD),
        )


def records(zfs: Zfs, pool: str) -> Dict[str, Record]:
    """The datasets of a pool that are being restored, by name.

    :raises FleetError: when one says what nobody understands.
    """
    names = [each.name for each in zfs.datasets(pool) if each.kind == "filesystem"]
    if not names:
        return {}
    values = zfs.table(["-r", "-t", "filesystem"], (RECORD,), names, pool)
    return {name: decode(values[name, RECORD].text) for name in names if values[name, RECORD].own}


def mounts(runner: Runner) -> Dict[str, str]:
    """Where file systems of ZFS are mounted, by their names."""
    return {each.what: each.where for each in _mounts.mounts(runner, "zfs")}


def mounted(runner: Runner) -> List[str]:
    """Where anything is mounted, of whatever kind: nullfs, devfs and tmpfs as well."""
    return [each.where for each in _mounts.mounts(runner)]


def mount(runner: Runner, dataset: str, path: str) -> None:
    """Mount a dataset on a folder, which is made."""
    try:
        if not runner.check_mode:
            os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise FleetError(
            "there is no folder {0} to mount {1} on, and none can be made: {2}".format(path, dataset, error.strerror),
            safe=_SAFE,
            todo="make it, or mount the dataset elsewhere; then run this again",
        )
    runner.change(["mount", "-t", "zfs", dataset, path], "mount {0}".format(dataset), safe=_SAFE)


def unmount(runner: Runner, path: str) -> None:
    """Unmount what is on a folder.

    :raises Refused: when something is in use there.
    """
    result = runner.attempt(["umount", path])
    if result.rc != 0:
        raise Refused(
            "{0} is in use: {1}".format(path, (result.err.strip() or "umount failed").splitlines()[0]),
            safe=_SAFE,
            todo="stop what uses it (fstat -f {0} says what), then run this again".format(path),
        )


def unmount_all(runner: Runner, datasets: Sequence[str]) -> List[str]:
    """Unmount datasets, the deepest first.

    :returns: where they were, the outermost first.
    :raises Refused: when one is in use; those that were unmounted before are mounted again.
    """
    now = mounts(runner)
    places = sorted(((now[name], name) for name in datasets if name in now), key=lambda each: each[0].count("/"))
    done: List[List[str]] = []
    for path, name in reversed(places):
        try:
            unmount(runner, path)
        except Refused:
            for gone, where in reversed(done):
                mount(runner, gone, where)
            raise
        done.append([name, path])
    return [path for path, _name in places]


def create(zfs: Zfs, name: str, member: Member, record: Record, properties: Optional[Mapping[str, str]] = None) -> None:
    """Make an empty dataset for a member of a host, which nothing mounts."""
    born = {key: value for key, value in member.properties.items() if key in BIRTH}
    ours = {"canmount": "noauto", MADE_BY: MAKER, RECORD: record.encode()}
    zfs.create(name, dict(born, **dict(properties or {}, **ours)))


def settle(
    zfs: Zfs, name: str, wanted: Mapping[str, str], notes: List[str], born: Optional[Mapping[str, str]] = None
) -> bool:
    """Set properties that differ: all at once, and where zfs refuses that, one by one.

    :param born: what it was made with, for check mode, in which it is not there.
    :param notes: gets what could not be set.
    :returns: whether anything was to be set.
    """
    if not wanted:
        return False
    there = zfs.dataset(name) is not None
    now = zfs.table([], list(wanted), [name], name) if there else {}
    own = {key: now[name, key].text for key in wanted if now[name, key].own} if there else dict(born or {})
    differing = {
        key: value for key, value in sorted(wanted.items()) if key not in own or not same_value(own[key], value)
    }
    if not differing:
        return False
    pairs = ["{0}={1}".format(key, value) for key, value in differing.items()]
    if zfs.runner.attempt(["zfs", "set", *pairs, name]).rc == 0:
        return True
    for pair in pairs:
        result = zfs.runner.attempt(["zfs", "set", pair, name])
        if result.rc != 0:
            notes.append(unexpected(result, "set {0} of {1}".format(pair.partition("=")[0], name)).what)
    return True


def limit(zfs: Zfs, name: str, wanted: Mapping[str, str], notes: List[str]) -> None:
    """Set limits and reservations, as far as there is room for them."""
    now = zfs.values(name, wanted) if wanted and zfs.dataset(name) is not None else {}
    for key, value in wanted.items():
        if not same_value(now.get(key, ""), value):
            problem = zfs.limit(name, key, value)
            if problem:
                notes.append(problem)


def early(member: Member, leave: Sequence[str] = ()) -> Dict[str, str]:
    """What a dataset gets before it is filled."""
    never = BIRTH + NEVER + LIMITS + LAST + tuple(leave)
    return {key: value for key, value in member.properties.items() if key not in never}


def late(member: Member) -> Dict[str, str]:
    """What it gets when it is full, but for whether it is mounted."""
    return {key: member.properties[key] for key in LAST if key in member.properties and key != "canmount"}


def limits(member: Member) -> Dict[str, str]:
    """Its limits and reservations, in the order in which they fit."""
    return {key: member.properties[key] for key in LIMITS if key in member.properties}


def delegate(zfs: Zfs, name: str, member: Member) -> None:
    """Delegate what was delegated."""
    if not member.permissions:
        return
    there = zfs.dataset(name) is not None
    given = delegation.parse(zfs.delegations(name), name)[0] if there else []
    for arguments in member.permissions:
        if not delegation.covers(given, arguments):
            zfs.allow(name, arguments)


def summary(record: Record) -> Dict[str, Any]:
    """For module results."""
    return {key: value for key, value in record.__dict__.items() if key != "swap"}
