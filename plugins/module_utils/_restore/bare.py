# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A whole host, to bare metal.

Its datasets are made below ``<pool>/nanozfs-restoring`` and filled there. The early boot hook asks for
``<pool>/nanozfs/cfg`` and ``…/var``, and for nothing else: while these are not there, the host comes up in recovery
mode, from whatever point it was broken off at. The last command of all is one ``zfs rename`` of the top, which is the
host from then on. Every command before it can be done again.

Datasets of the host outside of ``<pool>/nanozfs`` are made under their own names. Until the end nothing mounts them.

The pool that it goes to is another one: other disks, another layout. So what was set on the old pool with regard to its
disks is not set again, and what the host had noted in its journal of upgrades neither: the system is the medium's.
"""

from __future__ import annotations

import json
import os
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, MAKER, POLICY, Zfs, same_value
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import grounds
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import ROOT, Description, Member
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.grounds import RECORD, RESTORED, Record
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import PREFIX, Journal, render, root_of

#: what the datasets of the host are below while they are not the host
TOP = "nanozfs-restoring"

#: below the root, what no backup brings back: what failed before, and what belongs to a transaction
_OWN = ("failed", "next", "reserve", "staged")

#: bytes of the pool that ZFS keeps for itself: 1/32 (``spa_slop_shift`` in ``spa_misc.c``)
_SLOP = 32

#: properties of a pool that are about what is done with it, and not about its disks
POOL_PROPERTIES = ("autotrim", "autoexpand", "comment", "listsnapshots", "delegation")

#: bytes that a file system without files takes at most
_EMPTY = 512 << 10

_NOWHERE = {"canmount": "off", "mountpoint": "none"}

#: properties of a dataset with a key of its own, and what they are without one
_KEYED = (("encryption", "off"), ("keylocation", "none"))

_SAFE = "nothing was changed"


class Item(NamedTuple):
    """A dataset that is made.

    :param now: what it is called while it is filled.
    :param holder: it only holds others.
    """

    member: Member
    now: str
    holder: bool


def _now(pool: str, name: str) -> str:
    """What a dataset is called while it is filled, by its name below the pool."""
    first, slash, rest = name.partition("/")
    name = TOP + slash + rest if first == ROOT else name
    return "{0}/{1}".format(pool, name) if name else pool


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == ROOT and len(parts) > 1 and parts[1] in _OWN


def items(description: Description) -> List[Item]:
    """The datasets that are made, parents first.

    :raises Refused: when the backup has not what makes a host.
    """
    missing = [
        "/" + name
        for name in ("cfg", "var")
        if getattr(description.member("{0}/{1}".format(ROOT, name)), "path", None) is None
    ]
    if missing:
        raise Refused(
            "the backup has no {0}: the host could not come up as itself".format(" and no ".join(missing)),
            safe=_SAFE,
            todo="choose another backup (`nanozfs-backup list` on the backup host)",
        )
    known = {each.name: each for each in description.members}
    wanted = {each.name for each in description.members if each.path is not None and not _is_ours(each.name)}
    wanted |= {
        each.name
        for each in description.members
        if each.kind == "filesystem" and each.properties.get("canmount") == "off" and not _is_ours(each.name)
    }
    wanted |= {ROOT, ROOT + "/failed", ""}
    for name in list(wanted):
        parts = name.split("/")
        wanted |= {"/".join(parts[:size]) for size in range(1, len(parts))}
    found = []
    for name in sorted(wanted, key=lambda each: each.split("/")):
        member = known.get(name) or Member(name, "filesystem", None, {"canmount": "off"})
        if name in (ROOT, ROOT + "/failed"):
            member = Member(name, "filesystem", None, dict(member.properties, canmount="off", mountpoint="none"))
        found.append(Item(member, _now(description.pool, name), member.path is None))
    return sorted(found, key=lambda each: (each.member.name != "", each.now.split("/")))


def losses(description: Description, unencrypted: bool = False) -> List[str]:
    """What does not come back."""
    made = {each.member.name for each in items(description)}
    found = [
        "{0}: {1}".format(each.full(description.pool), each.why or "it was not mounted")
        for each in description.members
        if each.name not in made and not _is_ours(each.name)
    ]
    kept = [each.full(description.pool) for each in description.members if _is_ours(each.name) and each.used]
    if any("/failed/" in each for each in kept):
        found.append("what upgrades had put aside below {0}/failed".format(root_of(description.pool)))
    if unencrypted and encrypted(description):
        found.append("the encryption of {0}".format(", ".join(encrypted(description))))
    return found + ["all snapshots, and what can be rolled back to"] + list(description.losses)


def encrypted(description: Description) -> List[str]:
    """The datasets that were encrypted.

    ``encryption`` is not among the properties that were set on a dataset: zfs says no source of it (``-``), as
    ``dsl_dataset_crypt_stats()`` gives none. Where the key is (``keylocation``) is, on the dataset that has one, and
    those below it have its key.
    """
    tops = [each.name for each in description.members if _has_key(each)]
    return [
        each.full(description.pool)
        for each in description.members
        if each.path is not None and any(not top or (each.name + "/").startswith(top + "/") for top in tops)
    ]


def _has_key(member: Member) -> bool:
    return any(member.properties.get(key, "-") not in (none, "-", "") for key, none in _KEYED)


def needed(description: Description) -> int:
    """Bytes that the files take in a pool, as they did in the old one."""
    return sum(each.member.referenced for each in items(description) if each.member.path is not None)


def room_of(runner: Runner, vdevs: Sequence[Mapping[str, Any]]) -> Optional[int]:
    """About how many bytes a pool of these disks will hold; ``None`` where a disk is not there."""
    mesh = read_mesh(runner)
    total = 0
    for vdev in vdevs:
        providers = [mesh.find(disk) for disk in vdev["disks"]]
        sizes = [each.mediasize for each in providers if each is not None]
        if len(sizes) < len(providers) or not sizes:
            return None
        kind = vdev.get("type") or "raidz"
        parity = {"raidz": 1, "raidz1": 1, "raidz2": 2, "raidz3": 3}.get(kind, 0)
        if kind == "mirror":
            total += min(sizes)
        elif kind == "stripe":
            total += sum(sizes)
        else:
            total += min(sizes) * max(0, len(sizes) - parity)
    return total - total // _SLOP


def check_room(bytes_needed: int, there: int, what: str) -> None:
    """Refuse a pool that the files do not fit into.

    :param what: the pool, for the message.
    :raises Refused: with both sizes.
    """
    if bytes_needed > there:
        raise Refused(
            "{0} holds {1} MiB, and the host had {2} MiB of files".format(what, there >> 20, -(-bytes_needed >> 20)),
            safe=_SAFE,
            todo="give it more or larger disks (restore_pool_vdevs); or make a pool, install the host with the "
            "playbook deploy, and restore folders of it",
        )


class Bare:
    """The restore of one host.

    :param tree: where its datasets are mounted to be filled.
    """

    def __init__(self, runner: Runner, description: Description, record: Record, tree: str) -> None:
        self.runner = runner
        self.zfs = Zfs(runner)
        self.description = description
        self.record = record
        self.tree = tree
        self.pool = description.pool
        self.top = "{0}/{1}".format(self.pool, TOP)
        self.items = items(description)

    # looking

    def finished(self, found: Mapping[str, Record]) -> bool:
        """Whether the host is there, and was restored from this backup just now."""
        there = found.get(root_of(self.pool))
        return there is not None and there.id == self.record.id

    def check(self, found: Mapping[str, Record]) -> None:
        """Refuse a pool that has a host, or another restore, or something in the way.

        :param found: what is being restored in the pool.
        :raises Refused: with what it is.
        """
        there = {each.name for each in self.zfs.datasets(self.pool)}
        if root_of(self.pool) in there and not self.finished(found):
            raise Refused(
                "the pool {0} has a host in it ({1})".format(self.pool, root_of(self.pool)),
                safe=_SAFE,
                todo="restart the machine: it comes up as that host. If nobody needs that one any more, destroy the "
                "pool by hand (zpool destroy), or rename the dataset away",
            )
        other = [each for each in found.values() if each.kind == grounds.HOST and each.id != self.record.id]
        if other:
            raise Refused(
                "the pool {0} has {1} in it".format(self.pool, other[0].describe()),
                safe=_SAFE,
                todo="go on with that one, or give it up (restore_state=closed, restore_discard=true)",
            )
        if self.top in there and self.top not in found:
            raise Refused(
                "there is a dataset {0} that no restore has made".format(self.top),
                safe=_SAFE,
                todo="rename it, or destroy it by hand",
            )
        own = self.zfs.dataset(self.pool)
        filled = [each for each in self.items if each.now == self.pool and not each.holder]
        if filled and self.top not in there and own and (len(there) > 1 or own.referenced > _EMPTY):
            raise Refused(
                "the host had files in {0} itself, and so may this pool, which is not a new one".format(self.pool),
                safe=_SAFE,
                todo="restore to a new pool (restore_pool_vdevs), with this one detached: what is in it would be mixed "
                "with what comes back, and lost",
            )
        foreign = [each.now for each in self.items if self._is_foreign(each.now, there, found)]
        if foreign:
            raise Refused(
                "the pool has {0}, which the host had as well, and no restore has made".format(first_of(foreign, 3)),
                safe=_SAFE,
                todo="rename it, or destroy it by hand; what is in it would be mixed with what comes back",
            )

    def _is_foreign(self, name: str, there: Collection[str], found: Mapping[str, Record]) -> bool:
        inside = (name + "/").startswith(self.top + "/")
        return name in there and not inside and name != self.pool and name not in found

    # doing

    def make(self, notes: List[str], filesystem: Mapping[str, str]) -> None:
        """Make the datasets, and mount them in their tree; or go on with that.

        :param filesystem: what the pool's own dataset was made with.
        """
        there = {each.name: each for each in self.zfs.datasets(self.pool)}
        self._quiet(list(there))
        for item in self.items:
            if item.now not in there and item.now != self.pool:
                self._create(item)
        for item in self.items:
            leave = ("mountpoint",) if item.now == self.pool and item.holder else ()
            born = {self.pool: filesystem, self.top: _NOWHERE}.get(item.now, {})
            grounds.settle(self.zfs, item.now, self._kept(grounds.early(item.member, leave)), notes, born)
            grounds.delegate(self.zfs, item.now, item.member)
        if not self.runner.check_mode:
            os.makedirs(self.tree, mode=0o700, exist_ok=True)
        now = grounds.mounts(self.runner)
        for path, name in self.places():
            if now.get(name) != path:
                grounds.mount(self.runner, name, path)

    def places(self) -> List[Tuple[str, str]]:
        """Where the datasets are mounted, the outermost first, and what they are called."""
        found = [(each.member.path, each.now) for each in self.items if each.member.path is not None]
        return [
            (os.path.join(self.tree, path), name)
            for path, name in sorted(found, key=lambda each: (each[0].count("/"), each))
        ]

    def _create(self, item: Item) -> None:
        if item.now == self.top:
            self.zfs.create(self.top, dict(_NOWHERE, **{MADE_BY: MAKER, RECORD: self.record.encode()}))
        elif (item.now + "/").startswith(self.top + "/"):
            born = {key: value for key, value in item.member.properties.items() if key in grounds.BIRTH}
            self.zfs.create(item.now, dict(born, canmount="noauto"))
        else:
            grounds.create(self.zfs, item.now, item.member, self.record)

    def _kept(self, properties: Mapping[str, str]) -> Dict[str, str]:
        """What of the properties comes back: not the journal, and not the marks of what was restored before."""
        keep = (POLICY, MADE_BY)
        return {
            key: value
            for key, value in properties.items()
            if not key.startswith(PREFIX) or key in keep or key.startswith(PREFIX + "backup")
        }

    def _quiet(self, there: Sequence[str]) -> None:
        """Let nothing mount what is there already: the end of an earlier run may have been near."""
        names = [each.now for each in self.items if each.now in there and each.now not in (self.top, self.pool)]
        now = grounds.mounts(self.runner)
        right = {name: path for path, name in self.places()}
        astray = [name for name in names if name in now and now[name] != right.get(name)]
        grounds.unmount_all(self.runner, astray)
        for name in names:
            if self.zfs.value(name, "canmount") not in ("noauto", "off"):
                self.zfs.set(name, {"canmount": "noauto"})
            if name in right and self.zfs.value(name, "readonly") == "on":
                self.zfs.set(name, {"readonly": "off"})

    def release(self) -> None:
        """Unmount everything."""
        grounds.unmount_all(self.runner, [each.now for each in self.items])

    def finish(self, journal: Journal, at: int, notes: List[str]) -> None:
        """Give the datasets the rest of their properties, and let them be the host.

        :param journal: of the host as it will be.
        :param at: when, in seconds since the epoch.
        """
        self.release()
        for item in self.items:
            grounds.settle(self.zfs, item.now, grounds.late(item.member), notes)
            grounds.limit(self.zfs, item.now, grounds.limits(item.member), notes)
        self._note(journal, at)
        for item in self.items:
            self._mountable(item)
        self.release()  # zfs mounts what it shares (sharenfs) as soon as it may
        self.zfs.rename(self.top, root_of(self.pool))

    def _note(self, journal: Journal, at: int) -> None:
        """What the host shall know of itself, in one command."""
        said = dict(grounds.summary(self.record), at=at)
        values = {key: value for key, value in render(journal).items() if value}
        values[RESTORED] = json.dumps(said, sort_keys=True)
        there = self.zfs.values(self.top, values) if self.zfs.dataset(self.top) is not None else {}
        differing = {key: value for key, value in values.items() if key == RESTORED or there.get(key) != value}
        self.zfs.set(self.top, differing)

    def _mountable(self, item: Item) -> None:
        """Let a dataset be mounted as it was. Setting canmount mounts none that is not shared, see :mod:`grounds`."""
        wanted = item.member.properties.get("canmount", "off" if item.holder and item.now == self.pool else "")
        there = self.zfs.dataset(item.now) is not None
        now = self.zfs.table([], ["canmount"], [item.now], item.now)[item.now, "canmount"] if there else None
        if wanted and (now is None or not same_value(now.text, wanted)):
            self.zfs.set(item.now, {"canmount": wanted})
        elif not wanted and (now is None or now.own):
            self.zfs.reset(item.now, "canmount")

    def forget(self, found: Mapping[str, Record]) -> None:
        """Take the marks away, of a host that is itself again."""
        for name, record in sorted(found.items()):
            if record.kind == grounds.HOST:
                self.zfs.unset(name, [RECORD])
