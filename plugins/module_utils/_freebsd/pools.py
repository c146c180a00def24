# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Having a pool there: importing the one that is, letting it go, creating one where there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import traces
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.disks import held
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import check_dataset_name, property_texts
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import (
    VDEV_TYPES,
    Candidate,
    ImportOptions,
    Pool,
    Zpool,
    check_importable,
    choose,
    vdev_words,
)

#: a vdev as a module takes it
VDEV: Dict[str, Dict[str, Any]] = {
    "type": {"type": "str", "choices": list(VDEV_TYPES), "default": "raidz"},
    "disks": {"type": "list", "elements": "str", "required": True},
}


class Done(NamedTuple):
    """What became of a pool: whether that is a change, the pool (``None`` when it is gone), both sides of the diff."""

    changed: bool
    pool: Optional[Dict[str, Any]]
    before: Any = ""
    after: Any = ""


# importing and exporting


@dataclass(frozen=True)
class Wanted:
    """The pool that shall be imported, by name, by guid or both, and how.

    :param force_hostid: hostid of the host that it may be taken over from, or ``any``.
    :param option: what that is called where it is given, for errors.
    """

    name: Optional[str] = None
    guid: Optional[str] = None
    options: ImportOptions = field(default_factory=ImportOptions)
    force_hostid: Optional[str] = None
    option: str = "force_hostid"


def check_imported(pool: Pool, wanted: Wanted) -> None:
    """Refuse to call a pool right that is imported in another way than was asked for.

    :raises Refused: with what differs.
    """
    if wanted.guid and wanted.name and (pool.guid != wanted.guid or pool.name != wanted.name):
        raise Refused(
            "the imported pool {0} has guid {1}; {2} with guid {3} was asked for".format(
                pool.name, pool.guid, wanted.name, wanted.guid
            ),
            safe="nothing was changed",
            todo="export it first, or ask for the one that is imported",
        )
    differs = []
    if pool.readonly != wanted.options.readonly:
        differs.append("read-only" if pool.readonly else "read-write")
    if (pool.altroot or None) != (wanted.options.altroot or None):
        differs.append("under {0}".format(pool.altroot) if pool.altroot else "without an altroot")
    if differs:
        raise Refused(
            "the pool {0} is imported already, but {1}".format(pool.name, " and ".join(differs)),
            safe="nothing was changed",
            todo="export it first (state=exported), then import it as you want it",
        )


def _side(pool: Optional[Pool], candidate: Optional[Candidate]) -> Dict[str, str]:
    """One side of the diff."""
    if pool is not None:
        return {"state": "imported", "name": pool.name, "guid": pool.guid}
    if candidate is not None:
        return {"state": "exported", "name": candidate.name, "guid": candidate.guid}
    return {"state": "absent"}


def find(zpool: Zpool, wanted: Wanted) -> Optional[Pool]:
    """The imported pool that is meant, or that has its name."""
    pool = zpool.pool(str(wanted.guid or wanted.name))
    if pool is None and wanted.guid and wanted.name:
        pool = zpool.pool(wanted.name)
    return pool


def ensure_imported(zpool: Zpool, wanted: Wanted) -> Done:
    """Bring the pool in.

    :raises Refused: when it is not there, is imported in another way, or must not be imported.
    """
    pool = find(zpool, wanted)
    if pool is not None:
        check_imported(pool, wanted)
        return Done(False, dict(pool.__dict__))
    candidates = zpool.candidates(wanted.options.search_dirs)
    candidate = choose(candidates, wanted.name, wanted.guid)
    if candidate is None:
        there = ", ".join(each.describe() for each in candidates) or "none"
        raise Refused(
            "there is no pool {0} to import; there is: {1}".format(wanted.name or wanted.guid, there),
            safe="nothing was changed",
            todo="check that its disks are attached (camcontrol devlist, gpart show)",
        )
    if wanted.guid and wanted.name and candidate.name != wanted.name:
        raise Refused(
            "the pool with guid {0} is named {1}, not {2}".format(candidate.guid, candidate.name, wanted.name),
            safe="nothing was changed",
        )
    label = zpool.last_host(candidate)
    force = check_importable(candidate, label, zpool.own_hostid(), wanted.force_hostid, wanted.option)
    zpool.import_pool(candidate.guid, wanted.options.forced(force))
    after = zpool.pool(candidate.guid)
    shown = dict(after.__dict__) if after else {"name": candidate.name, "guid": candidate.guid}
    before = _side(None, candidate)
    return Done(True, shown, before, dict(before, state="imported"))


def ensure_exported(zpool: Zpool, wanted: Wanted, force: bool = False) -> Done:
    """Let the pool go.

    :param force: unmount what is busy.
    """
    pool = find(zpool, wanted)
    if pool is None:
        return Done(False, None)
    if wanted.guid and wanted.name:
        as_it_is = ImportOptions(readonly=pool.readonly, altroot=pool.altroot)
        check_imported(pool, Wanted(wanted.name, wanted.guid, as_it_is))
    zpool.export(pool.name, force)
    before = _side(pool, None)
    return Done(True, None, before, dict(before, state="exported"))


# creating


def with_compatibility(properties: Mapping[str, Any], compatibility: str) -> Dict[str, Any]:
    """The properties that a pool is created with.

    :param compatibility: the features that it may have; what *properties* say of that counts more.
    """
    return dict({"compatibility": compatibility} if compatibility else {}, **properties)


def create_argv(
    name: str,
    vdevs: Sequence[Mapping[str, Any]],
    properties: Mapping[str, Any],
    filesystem_properties: Mapping[str, Any],
) -> List[str]:
    """The command that creates a pool, which is noted in no cache file."""
    argv = ["zpool", "create"]
    for key, value in sorted(property_texts(dict(properties, cachefile="none")).items()):
        argv += ["-o", "{0}={1}".format(key, value)]
    for key, value in sorted(property_texts(filesystem_properties).items()):
        argv += ["-O", "{0}={1}".format(key, value)]
    return argv + [name] + vdev_words(vdevs)


def check_disks(runner: Runner, vdevs: Sequence[Mapping[str, Any]], option: str = "vdevs") -> None:
    """Refuse disks that are not there, in use, named twice, or hold anything.

    :param option: what the disks are called where they are given, for errors.
    :raises Refused: with the disk.
    """
    mesh = read_mesh(runner)
    named: Dict[str, str] = {}
    for disk in (disk for vdev in vdevs for disk in vdev["disks"]):
        provider = mesh.find(disk)
        if provider is None:
            raise Refused(
                "there is no disk {0}".format(disk),
                safe="nothing was changed",
                todo="check {0} in the inventory".format(option),
            )
        base = mesh.base(provider)
        if base.name in named:
            raise Refused(
                "{0} and {1} are the same disk".format(named[base.name], disk),
                safe="nothing was changed",
                todo="name each disk once in {0}".format(option),
            )
        named[base.name] = disk
        holders = held(runner, mesh, provider)
        if holders:
            raise Refused(
                "{0} is in use by {1}".format(disk, ", ".join(holders)),
                safe="nothing was changed",
                todo="check {0} in the inventory; what is left of a pool that nobody wants any more is cleared by hand "
                "(`zpool labelclear`)".format(option),
            )
        if any(geom.kind == "PART" and geom.name == provider.name for geom in mesh.geoms):
            raise Refused(
                "{0} carries a partition table".format(disk),
                safe="nothing was changed",
                todo="use one of its partitions, or clear the disk by hand if it is the right one (gpart destroy)",
            )
        with devices.open_device(base.path) as opened:
            # what is read through a new encryption is random
            through = mesh.source(base).kind == "ELI"
            content = traces.find(opened.read, base.mediasize, base.sectorsize, known_only=through)
        if content:
            raise Refused(
                "{0} holds {1}, which nobody has in use".format(disk, content),
                safe="nothing was changed",
                todo="see whether it is the disk that you mean. If it is, clear it by hand: what was of a pool with "
                "`zpool labelclear -f {0}`, of GEOM with `geli clear {0}`, `gmirror clear {0}` and so on, else with "
                "`dd if=/dev/zero of={0} bs=1m count=1` and `dd if=/dev/zero of={0} bs=1m oseek={1}`".format(
                    base.path, max(0, (base.mediasize >> 20) - 1)
                ),
            )


def ensure_created(
    runner: Runner,
    name: str,
    vdevs: Sequence[Mapping[str, Any]],
    properties: Mapping[str, Any],
    filesystem_properties: Mapping[str, Any],
    option: str = "vdevs",
) -> Done:
    """Create a pool, unless there is one of that name, which is never touched.

    :param option: what the disks are called where they are given, for errors.
    :raises Refused: when a pool of that name is there and not imported, or a disk is not free.
    """
    check_dataset_name(name)
    zpool = Zpool(runner)
    pool = zpool.pool(name)
    if pool is not None:
        return Done(False, dict(pool.__dict__))
    same = [each for each in zpool.candidates() if each.name == name]
    if same:
        raise Refused(
            "there is a pool {0} on this host that is not imported".format(same[0].describe()),
            safe="nothing was changed",
            todo="import it (zpool_import); a pool of that name is never created beside it",
        )
    argv = create_argv(name, vdevs, properties, filesystem_properties)
    check_disks(runner, vdevs, option)
    zpool.create(argv, name)
    after = zpool.pool(name)
    text = "{0}: {1}\n".format(name, " ".join(vdev_words(vdevs)))
    return Done(True, dict(after.__dict__) if after else {"name": name}, "", text)
