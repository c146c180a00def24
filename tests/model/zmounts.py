# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of ZFS file systems: those that zfs(8) makes by itself and those of ``mount -t zfs``.

Sources: zfs-mount(8), zfsprops(7); the order of unmounts and mounts around a change is the one of the transcripts
``zfs/035-set-mountpoint`` to ``zfs/110-mount-list``.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine
from ansible_collections.nanozfs.fleet.tests.model.pools import DEGRADED, Pool, Pools, is_volume, leaves
from ansible_collections.nanozfs.fleet.tests.model.properties import BOOKMARK, SNAPSHOT

#: flags of a mount that properties switch on, in the order of ``mount -p``
_FLAGS = (("exec", "noexec"), ("setuid", "nosuid"), ("atime", "noatime"))

Mount = Dict[str, Any]


def mounts_of(pool: Pool) -> List[Mount]:
    """All mounts of a pool, in the order in which they were made."""
    return [each for each in pool.machine.running["mounts"] if each.get("pool") == pool.guid]


def mount_of(pool: Pool, dataset: str) -> Optional[Mount]:
    """The mount of a dataset, if it is mounted: it can be only once."""
    wanted = pool.datasets[dataset]["object"]
    return next((each for each in mounts_of(pool) if each["object"] == wanted and not each.get("snapshot")), None)


def busy_below(machine: Machine, record: Mount) -> bool:
    """Whether something was mounted inside of a mounted file system, which keeps it busy."""
    mounts = machine.running["mounts"]
    inside = record["on"].rstrip("/") + "/"
    return any(each["on"].startswith(inside) for each in mounts[mounts.index(record) + 1 :])


def mountable(pool: Pool, dataset: str) -> bool:
    """Whether zfs would mount it by itself when told to."""
    if is_volume(pool.datasets[dataset]):
        return False
    return pool.mountpoint(dataset).startswith("/") and pool.value(dataset, "canmount") != "off"


def _readonly(pool: Pool, dataset: str, option: bool) -> bool:
    return option or pool.readonly or pool.value(dataset, "readonly") == "on"


def _shown(pool: Pool, dataset: str) -> List[str]:
    return [flag for key, flag in _FLAGS if pool.value(dataset, key) == "off"] + ["nfsv4acls"]


def _attach(pool: Pool, dataset: str, where: str, readonly: bool) -> None:
    """Mount a live tree.

    :param readonly: asked for with an option of the mount.
    """
    effective = _readonly(pool, dataset, readonly)
    pool.machine.kernel.bind(pool.live(dataset), where, effective)
    pool.machine.running["mounts"].append(
        {
            "from": pool.full(dataset),
            "on": where,
            "type": "zfs",
            "readonly": effective,
            "shown": _shown(pool, dataset),
            "pool": pool.guid,
            "object": pool.datasets[dataset]["object"],
            "option_ro": readonly,
        }
    )
    if not effective:
        pool.count_objects()
    if not effective and pool.state == DEGRADED:
        _leave_behind(pool)


def _leave_behind(pool: Pool) -> None:
    """Note that disks which are missing now miss what is written from here on."""
    present = pool.present()
    for top in pool.record["vdevs"]:
        for leaf in leaves(top):
            if leaf["guid"] not in present:
                leaf["behind"] = True
    pool.save()


def mount(pool: Pool, dataset: str, readonly: bool = False) -> None:
    """Mount a dataset where its properties say; nothing happens where they say that it is not to be mounted."""
    if not mountable(pool, dataset):
        return
    where = pool.mountpoint(dataset)
    machine = pool.machine
    if not machine.kernel.is_directory(where):
        try:
            os.makedirs(where, 0o755)
        except OSError as error:
            raise Fail("cannot mount '{0}': failed to create mountpoint: {1}".format(where, error.strerror))
    _attach(pool, dataset, where, readonly)


def unmount(machine: Machine, record: Mount, force: bool = False) -> None:
    """Undo one mount.

    :raises Fail: when it is busy.
    """
    if (busy_below(machine, record) and not force) or not machine.kernel.unmount(record["on"], force):
        raise Fail("cannot unmount '{0}': pool or dataset is busy".format(record["on"]))
    machine.running["mounts"].remove(record)


def unmount_dataset(pool: Pool, dataset: str, force: bool = False) -> bool:
    """Unmount a dataset if it is mounted, and say whether it was."""
    record = mount_of(pool, dataset)
    if record is None:
        return False
    unmount(pool.machine, record, force)
    return True


def unmount_pool(pool: Pool, force: bool) -> None:
    """Unmount everything of a pool, the deepest first; what was unmounted before something busy stays unmounted."""
    for record in sorted(mounts_of(pool), key=lambda each: str(each["on"]), reverse=True):
        unmount(pool.machine, record, force)


class Change:
    """What is unmounted for a change of names or properties, and mounted again after it.

    :param datasets: those that the change touches.
    :param always: mount them afterwards even if they were not mounted before: they have just got a mountpoint.
    """

    def __init__(self, pool: Pool, datasets: Iterable[str], always: bool = False, force: bool = False) -> None:
        self.pool = pool
        self._objects: List[int] = []
        chosen = sorted(datasets, key=pool.mountpoint, reverse=True)
        for dataset in chosen:
            try:
                mounted = unmount_dataset(pool, dataset, force)
            except Fail:
                self.finish()
                raise
            if mounted or (always and pool.value(dataset, "canmount") == "on"):
                self._objects.append(pool.datasets[dataset]["object"])

    def finish(self) -> None:
        """Mount again, parents first; names may have changed meanwhile."""
        names = {record["object"]: name for name, record in self.pool.datasets.items()}
        again = [names[number] for number in self._objects if number in names]
        for dataset in sorted(again, key=self.pool.mountpoint):
            if mount_of(self.pool, dataset) is None:
                mount(self.pool, dataset)


def inheriting(pool: Pool, dataset: str) -> List[str]:
    """A dataset and those below it that take their mountpoint from it."""
    found = [dataset]
    for child in pool.children(dataset):
        if "mountpoint" not in pool.datasets[child]["properties"]:
            found += inheriting(pool, child)
    return found


def refresh(pool: Pool) -> None:
    """Let the mounts of a pool follow its names and properties."""
    names = {record["object"]: name for name, record in pool.datasets.items()}
    for record in mounts_of(pool):
        if record.get("snapshot") or record["object"] not in names:
            continue
        dataset = names[record["object"]]
        readonly = _readonly(pool, dataset, record["option_ro"])
        if readonly != record["readonly"]:
            pool.machine.kernel.remount(record["on"], readonly)
        record.update({"from": pool.full(dataset), "readonly": readonly, "shown": _shown(pool, dataset)})


def mount_legacy(machine: Machine, name: str, where: str, readonly: bool) -> None:
    """``mount -t zfs``: whatever the mountpoint property says. Snapshots can be mounted as well."""
    item = Pools(machine).find(name)
    if item is None or item.kind == BOOKMARK:
        raise Fail("mount: {0}: No such file or directory".format(name))
    pool = item.pool
    if item.kind == SNAPSHOT:
        _mount_snapshot(machine, pool, item.record, name, where)
        return
    if mount_of(pool, item.dataset) is not None:
        raise Fail("mount: {0}: Device busy".format(name))
    _attach(pool, item.dataset, where, readonly)


def _mount_snapshot(machine: Machine, pool: Pool, record: Mount, name: str, where: str) -> None:
    machine.kernel.bind(pool.kept(record), where, True)
    entry = {"from": name, "on": where, "type": "zfs", "readonly": True, "shown": ["noatime", "nfsv4acls"]}
    machine.running["mounts"].append(dict(entry, pool=pool.guid, object=record["object"], snapshot=True))
