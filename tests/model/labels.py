# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making, importing, exporting and destroying pools: what changes their labels.

Sources: zpool-create(8), zpool-import(8), zpool-export(8), zpool-destroy(8); the transcripts under
tests/fixtures/freebsd-13.2/zpool and zpool-crossboot. When an import needs -f: ``zfs_force_import_required`` in
``cmd/zpool/zpool_main.c``, which compares the hostid even with the one of a label that has none.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import properties, zmounts
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine
from ansible_collections.nanozfs.fleet.tests.model.pools import (
    ACTIVE,
    DESTROYED,
    EXPORTED,
    FAULTED,
    ONLINE,
    UNAVAIL,
    UNSUPPORTED,
    Pool,
    Pools,
    leaves,
    make_vdev,
    new_guid,
)

_MINIMUM = 64 << 20

#: disks of one vdev may differ by this much without -f
_FUZZ = 16 << 20

_RESERVED_NAMES = ("mirror", "raidz", "draid", "spare")


def hostid(machine: Machine) -> int:
    """The host's own id; 0 before rc.d/hostid has set it."""
    return int(machine.running["sysctl"]["kern.hostid"])


def _stamp(pool: Pool, state: str) -> None:
    """Write who has the pool into its labels. A hostid of 0 is not recorded."""
    pool.record["state"] = state
    pool.record["hostid"] = hostid(pool.machine)
    pool.record["hostname"] = pool.machine.running["sysctl"]["kern.hostname"]
    pool.tick()


# making


class Spec(NamedTuple):
    """A top-level vdev to make: its kind, parity and disks."""

    kind: str
    parity: int
    disks: List[str]

    @property
    def title(self) -> str:
        """The line of ``zpool create -n``."""
        return "{0}{1}".format(self.kind, self.parity or "")


def parse_specs(machine: Machine, words: Sequence[str]) -> List[Spec]:
    """The vdevs of ``zpool create``, with names of disks that exist."""
    specs: List[Spec] = []
    group: Optional[Spec] = None
    for word in words:
        if word == "mirror":
            group = Spec("mirror", 0, [])
            specs.append(group)
        elif word in ("raidz", "raidz1", "raidz2", "raidz3"):
            group = Spec("raidz", int(word[5:] or "1"), [])
            specs.append(group)
        else:
            disk = _disk(machine, word)
            if group is None:
                specs.append(Spec("disk", 0, [disk]))
            else:
                group.disks.append(disk)
    for spec in specs:
        least = {"mirror": 2, "raidz": spec.parity + 1}.get(spec.kind, 1)
        if len(spec.disks) < least:
            raise Fail("invalid vdev specification: {0} requires at least {1} devices".format(spec.kind, least))
    return specs


def _disk(machine: Machine, word: str) -> str:
    name = word[len("/dev/") :] if word.startswith("/dev/") else word
    if name in machine.hardware["disks"]:
        return name
    from ansible_collections.nanozfs.fleet.tests.model import geom  # noqa: PLC0415 - slow to import

    if geom.find(machine, name) is not None:
        raise Fail("cannot use '{0}': the model has pools on whole disks only".format(word))
    if word.startswith("/"):
        raise Fail("cannot open '{0}': No such file or directory".format(word))
    raise Fail("cannot open '{0}': no such device in /dev\nmust be a full path or shorthand device name".format(word))


def _check_unused(pools: Pools, specs: List[Spec], force: bool) -> None:
    """Refuse disks that belong to a pool, and vdevs of unequal disks."""
    machine = pools.machine
    problems = []
    for disk in (disk for spec in specs for disk in spec.disks):
        label = machine.hardware["disks"][disk]["zfs"]
        owner = pools.pool(label["pool"]) if label else None
        if owner is None or owner.record["state"] == DESTROYED:
            continue
        active = owner.guid in machine.running["pools"]
        how = "active" if active else "exported" if owner.record["state"] == EXPORTED else "potentially active"
        if active or not force:
            problems.append("/dev/{0} is part of {1} pool '{2}'".format(disk, how, owner.name))
    if not problems and not force:
        for spec in specs:
            sizes = [machine.hardware["disks"][disk]["size"] for disk in spec.disks]
            if max(sizes) - min(sizes) > _FUZZ:
                problems.append("{0} contains devices of different sizes".format(spec.kind))
    if problems:
        how = (
            "the following errors must be manually repaired:" if force else "use '-f' to override the following errors:"
        )
        raise Fail("\n".join(["invalid vdev specification", how] + problems))


def _check_pool_name(name: str, action: str) -> None:
    problem = ""
    if not name[:1].isalpha():
        problem = "name must begin with a letter"
    elif name.startswith(_RESERVED_NAMES) or name == "log":
        problem = "name is reserved"
    elif not all(each.isascii() and (each.isalnum() or each in "-_.: ") for each in name):
        problem = "invalid character '{0}' in pool name".format(name.lstrip(_ALLOWED)[:1])
    if problem:
        raise Fail("{0}: {1}\npool name may have been omitted".format(action, problem))


_ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.: "


def _check_open(machine: Machine, specs: List[Spec], action: str) -> None:
    """What the kernel finds out: disks that are too small or in use otherwise."""
    from ansible_collections.nanozfs.fleet.tests.model import geom  # noqa: PLC0415 - slow to import

    disks = [disk for spec in specs for disk in spec.disks]
    mesh = geom.Confxml(machine)
    if any(any(mesh.mode(disk)) for disk in disks):
        raise Fail("{0}: no such pool or dataset".format(action))
    if len(set(disks)) < len(disks):
        raise Fail(
            "{0}: one or more vdevs refer to the same device, or one of\n"
            "the devices is part of an active md or lvm device".format(action)
        )
    if any(machine.hardware["disks"][disk]["size"] < _MINIMUM for disk in disks):
        raise Fail("{0}: one or more devices is less than the minimum size (64M)".format(action))


def create(
    pools: Pools,
    name: str,
    specs: List[Spec],
    settings: Dict[str, str],
    root: Dict[str, str],
    enabled: Sequence[str],
    force: bool,
) -> Pool:
    """``zpool create``, without the mount of the root dataset that follows.

    :param settings: checked properties of the pool.
    :param root: checked properties of its root dataset.
    :param enabled: its features.
    """
    machine, action = pools.machine, "cannot create '{0}'".format(name)
    _check_unused(pools, specs, force)
    _check_pool_name(name, action)
    if pools.by_name(name) is not None:
        raise Fail("{0}: pool already exists".format(action))
    _check_open(machine, specs, action)
    sizes = machine.hardware["disks"]
    tops = [
        make_vdev(spec.kind, spec.parity, [("/dev/" + disk, sizes[disk]["size"]) for disk in spec.disks])
        for spec in specs
    ]
    record: Dict[str, Any] = {
        "guid": new_guid(),
        "name": name,
        "txg": 4,
        "next": 1,
        "vdevs": tops,
        "scan": "",
        "datasets": {},
        "features": {},
        "properties": {key: value for key, value in settings.items() if key not in ("altroot", "cachefile")},
    }
    pool = Pool(machine, record)
    pool.enable_features(enabled, True)
    os.makedirs(pool.path(), exist_ok=True)
    number, _folder = pool.new_folder("fs")
    record["datasets"][""] = {
        "guid": new_guid(),
        "object": number,
        "creation": int(machine.kernel.now()),
        "createtxg": 1,
        "properties": root,
        "origin": None,
        "snapshots": [],
        "bookmarks": [],
    }
    for spec, top in zip(specs, tops):
        for disk, leaf in zip(spec.disks, leaves(top)):
            machine.hardware["disks"][disk]["zfs"] = {
                "pool": pool.guid,
                "vdev": leaf["guid"],
                "path": leaf["path"],
                "txg": record["txg"],
            }
    pools.add(pool)
    _run(pool, ImportOptions(settings))
    return pool


# importing


class ImportOptions(NamedTuple):
    """How a pool is imported. ``settings`` are checked properties of pools."""

    settings: Dict[str, str]
    name: Optional[str] = None
    force: bool = False
    mount: bool = True
    rewind: bool = False
    dry_run: bool = False


def check_settings(native: properties.Native, pairs: Dict[str, str], action: str) -> Dict[str, str]:
    """Check properties of pools for ``create`` and ``import``."""
    checked = {}
    for key, value in pairs.items():
        known = native.pools.get(key)
        if known is None:
            continue  # feature@...
        reason = ""
        if not known.editable:
            reason = "'{0}' is readonly".format(key)
        elif key == "bootfs":
            reason = "property 'bootfs' cannot be set at creation or import time"
        elif key == "altroot" and not value.startswith("/"):
            reason = "bad alternate root '{0}'".format(value)
        elif key == "cachefile" and value not in ("", "none") and not value.startswith("/"):
            reason = "property 'cachefile' must be empty, an absolute path, or 'none'"
        elif known.kind == "index" and value not in known.words():
            reason = "'{0}' must be one of '{1}'".format(key, known.values)
        if reason:
            raise Fail("{0}: {1}".format(action, reason))
        checked[key] = value
    return checked


def needs_force(pool: Pool) -> bool:
    """Whether somebody else seems to have the pool: it was not exported, and by another hostid."""
    return pool.record["state"] != EXPORTED and pool.record.get("hostid", 0) != hostid(pool.machine)


def used_elsewhere(pool: Pool) -> bool:
    """Whether ``zpool import`` lists the pool as last accessed by another system. A label without hostid never is."""
    theirs = pool.record.get("hostid", 0)
    return pool.record["state"] == ACTIVE and theirs not in (0, hostid(pool.machine))


def _ctime(seconds: float) -> str:
    import time  # noqa: PLC0415 - few commands show dates

    return time.asctime(time.gmtime(seconds))


def import_pool(pools: Pools, pool: Pool, options: ImportOptions) -> str:
    """``zpool import`` of one pool, without the mounts that may follow.

    :returns: what zpool says of it.
    :raises Fail: in the words of zpool, also on standard output.
    """
    record, name = pool.record, options.name or pool.name
    if needs_force(pool) and not options.force:
        raise Fail(
            "cannot import '{0}': pool was previously in use from another system.\n"
            "Last accessed by {1} (hostid={2:x}) at {3}\n"
            "The pool can be imported, use 'zpool import -f' to import the pool.".format(
                pool.name, record["hostname"], record.get("hostid", 0), _ctime(record["timestamp"])
            )
        )
    _check_multihost(pool, options.force)
    settings = check_settings(pools.release.native, options.settings, "cannot import pool '{0}'".format(pool.name))
    action = "cannot import '{0}'".format(pool.name) + (" as '{0}'".format(name) if options.name else "")
    if options.name:
        _check_pool_name(name, action)
    if pools.by_name(name) is not None:
        raise Fail("{0}: pool already exists".format(action))
    state = pool.state
    if pool.rows()[0].remark == UNSUPPORTED:
        state = _check_features(pool, settings, action)
    reason = {UNAVAIL: "no such pool or dataset", FAULTED: "I/O error"}.get(state, "")
    damage = record.get("damage")
    if reason and options.dry_run:
        raise Fail("", out=_rewound("Would be able to return", "Would discard", pool.name, damage))
    if damage and options.rewind and pool.state == FAULTED:
        del record["damage"]
        reason = "" if pool.state not in (UNAVAIL, FAULTED) else reason
    if reason:
        raise Fail("{0}: {1}".format(action, reason), out="\tDestroy and re-create the pool from\n\ta backup source.\n")
    if record["properties"].get("multihost") == "on" and not hostid(pools.machine):
        raise Fail(
            "cannot import '{0}': pool has the multihost property on and the\n"
            "system's hostid is not set. Set a unique system hostid with the zgenhostid(8) command.\n\n".format(name)
        )
    # also with -n: that is a dry run of going back, for which there is no reason where the pool can be loaded. Sources:
    # transcripts of 15.0, zpool/383-import-Fn-importable and 387; spa_load_best() in module/zfs/spa.c of OpenZFS
    _run(pool, options._replace(name=name, settings=settings))
    return _rewound("Pool {0} returned", "Discarded", pool.name, damage) if damage else ""


def _check_features(pool: Pool, settings: Dict[str, str], action: str) -> str:
    """The state of a pool that has features which the ZFS does not know, for reading only.

    Source: ``zpool_import_props()`` in ``libzfs_pool.c``, at ENOTSUP.

    :raises Fail: when they are in the way.
    """
    readonly = all(each.readonly for each in pool.unsupported)
    if readonly and settings.get("readonly") == "on":
        return ONLINE
    out = "This pool uses the following feature(s) not supported by this system:\n" + pool.unsupported_text()
    if readonly:
        out += (
            "All unsupported features are only required for writing to the pool.\n"
            "The pool can be imported using '-o readonly=on'.\n"
        )
    raise Fail("{0}: unsupported version or feature".format(action), out=out)


def leave_damaged(pool: Pool, as_of: str, loss: int) -> None:
    """Leave a pool with a last transaction that cannot be loaded; the one before it can.

    :param as_of: the time of that one, as zpool prints it.
    :param loss: how much older it is, in seconds.
    """
    pool.record["damage"] = {"as_of": as_of, "loss": loss}
    pool.save()


def _rewound(returns: str, discards: str, name: str, found: Optional[Dict[str, Any]]) -> str:
    """What zpool says of going back to an earlier state; nothing where it found none.

    Source: zpool_rewind_exclaim() in ``lib/libzfs/libzfs_pool.c`` of OpenZFS.
    """
    if not found:
        return ""
    place = returns.format(name) if "{0}" in returns else "{0} {1}".format(returns, name)
    return "{0} to its state as of {1}.\n{2} approximately {3} seconds of transactions.\n".format(
        place, found["as_of"], discards, found["loss"]
    )


def _check_multihost(pool: Pool, force: bool) -> None:
    """A pool that only one host may have at a time is for hosts that say which they are.

    Sources: MMP_STATE_NO_HOSTID in ``cmd/zpool/zpool_main.c``, and with ``-f`` in ``lib/libzfs/libzfs_pool.c``.
    """
    if pool.record["properties"].get("multihost") == "on" and not hostid(pool.machine):
        raise Fail(
            "{0} import '{1}': pool has the multihost property on and the\n"
            "system's hostid is not set. Set a unique {2}hostid with the zgenhostid(8) command.".format(
                *(("cannot", pool.name, "system ") if force else ("Cannot", pool.name, ""))
            )
        )


def _run(pool: Pool, options: ImportOptions) -> None:
    """The pool is imported from here on."""
    settings, present = options.settings, pool.present()
    every = [leaf for top in pool.record["vdevs"] for leaf in leaves(top)]
    pool.machine.running["pools"][pool.guid] = {
        "name": options.name or pool.record["name"],
        "altroot": settings.get("altroot", ""),
        # an altroot keeps a pool out of zpool.cache
        "cachefile": settings.get("cachefile", "none" if "altroot" in settings else ""),
        "readonly": settings.get("readonly") == "on",
        "load_guid": new_guid(),
        "devices": [],
        "removed": [],
        "missing": [leaf["guid"] for leaf in every if leaf["guid"] not in present],
    }
    for leaf in every:
        _meet(pool, leaf, present.get(leaf["guid"]))
    pool.record["name"] = pool.name
    pool.record["properties"].update(
        {key: value for key, value in settings.items() if key not in ("altroot", "cachefile", "readonly")}
    )
    _stamp(pool, ACTIVE)
    pool.notice_removals()
    pool.save()


def _meet(pool: Pool, leaf: Dict[str, Any], disk: Optional[str]) -> None:
    """Note in the configuration whether and where a disk was found.

    One that missed what was written meanwhile is brought up to date, which leaves a checksum error behind.
    """
    if disk is None:
        leaf["not_present"] = True
        return
    leaf.pop("not_present", None)
    leaf["path"] = "/dev/" + disk
    pool.machine.hardware["disks"][disk]["zfs"]["path"] = leaf["path"]
    if leaf.pop("behind", False):
        leaf["errors"] = 1


# letting go


def export(pool: Pool, force: bool) -> None:
    """``zpool export``."""
    zmounts.unmount_pool(pool, force)
    _leave(pool, EXPORTED)


def destroy(pool: Pool, force: bool) -> None:
    """``zpool destroy``."""
    try:
        zmounts.unmount_pool(pool, force)
    except Fail as failure:
        raise Fail("{0}could not destroy '{1}': could not unmount datasets".format(failure.output.err, pool.name))
    if pool.readonly:
        raise Fail("cannot destroy '{0}': one or more devices is read only".format(pool.name))
    _leave(pool, DESTROYED)


def _leave(pool: Pool, state: str) -> None:
    if not pool.readonly:
        for top in pool.record["vdevs"]:
            for leaf in leaves(top):
                leaf.pop("errors", None)
        _stamp(pool, state)
        pool.save()
    del pool.machine.running["pools"][pool.guid]


# disks of an imported pool


def find_leaf(pool: Pool, word: str, action: str) -> Dict[str, Any]:
    """A disk of a pool by name, path or guid."""
    path = word if word.startswith("/") else "/dev/" + word
    for top in pool.record["vdevs"]:
        for leaf in leaves(top):
            if path == leaf["path"] or word == leaf["guid"]:
                return leaf
    raise Fail("{0}: no such device in pool".format(action))


def offline(pool: Pool, word: str) -> None:
    """``zpool offline``."""
    action = "cannot offline {0}".format(word)
    leaf = find_leaf(pool, word, action)
    leaf["offline"] = True
    if pool.state not in (ONLINE, "DEGRADED"):
        del leaf["offline"]
        raise Fail("{0}: no valid replicas".format(action))
    pool.tick()
    pool.save()


def online(pool: Pool, word: str) -> None:
    """``zpool online``: the disk takes part again and is brought up to date."""
    leaf = find_leaf(pool, word, "cannot online {0}".format(word))
    leaf.pop("offline", None)
    disk = pool.present().get(leaf["guid"])
    for key in ("removed", "missing"):
        if disk is not None and leaf["guid"] in pool.running[key]:
            pool.running[key].remove(leaf["guid"])
    if disk is not None:
        _meet(pool, leaf, disk)
        leaf.pop("errors", None)
        pool.record["scan"] = "resilvered 12K in 00:00:00 with 0 errors on {0}".format(
            _ctime(pool.machine.kernel.now())
        )
    pool.tick()
    pool.save()


def scrub(pool: Pool) -> None:
    """``zpool scrub``: done at once. A damaged disk is repaired from the others."""
    disks, repaired = pool.machine.hardware["disks"], "0B"
    for top in pool.record["vdevs"]:
        for leaf in leaves(top):
            disk = disks.get(pool.present().get(leaf["guid"], ""))
            if disk and disk["zfs"].pop("damaged", False):
                leaf["errors"] = leaf.get("errors", 0) + 128
                repaired = "16M"
    pool.record["scan"] = "scrub repaired {0} in 00:00:00 with 0 errors on {1}".format(
        repaired, _ctime(pool.machine.kernel.now())
    )
    pool.tick()
    pool.save()


def clear(pool: Pool) -> None:
    """``zpool clear``: forget the errors."""
    for top in pool.record["vdevs"]:
        for leaf in leaves(top):
            leaf.pop("errors", None)
    pool.tick()
    pool.save()


def names_of(specs: List[Spec]) -> List[Tuple[int, str]]:
    """The vdevs as ``zpool create -n`` lists them: depth and name."""
    lines: List[Tuple[int, str]] = []
    for spec in specs:
        if spec.kind != "disk":
            lines.append((1, spec.title))
        lines += [(1 if spec.kind == "disk" else 2, disk) for disk in spec.disks]
    return lines
