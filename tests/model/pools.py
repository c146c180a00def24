# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ZFS pools: what is kept of them on the shelf, and which of them are imported.

``<shelf>/<pool guid>/pool.json`` is everything that zpool(8) and zfs(8) know, with what the labels of the disks say;
``fs/<object>/`` are the live trees of the datasets and ``snap/<object>/`` the contents of the snapshots, as real
directories. Disks carry only which pool and vdev they are. So a pool is where its disks are: pull them and it becomes
degraded or unavailable, put them into another machine with the same shelf and it can be imported there.

Every change ends with one atomic replacement of ``pool.json``, as a change of a real pool ends with a transaction
group. A command that is killed before has changed nothing but directories that nobody refers to.

Sources: the transcripts under tests/fixtures/freebsd-13.2/zfs, zpool and zpool-crossboot; zfsconcepts(7), zpool(8).
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.tests.model import features, releases, trees
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine
from ansible_collections.nanozfs.fleet.tests.model.properties import (
    BOOKMARK,
    FILESYSTEM,
    INHERIT,
    SNAPSHOT,
    VOLUME,
)

#: states of a pool as its labels have it, in the order of their numbers
ACTIVE, EXPORTED, DESTROYED = "active", "exported", "destroyed"
STATES = (ACTIVE, EXPORTED, DESTROYED)

ONLINE, DEGRADED, UNAVAIL, FAULTED, OFFLINE, REMOVED, SUSPENDED = (
    "ONLINE",
    "DEGRADED",
    "UNAVAIL",
    "FAULTED",
    "OFFLINE",
    "REMOVED",
    "SUSPENDED",
)

#: remark beside a pool whose features the ZFS does not know
UNSUPPORTED = "unsupported feature(s)"

SECTOR = 512
RECORD = 1 << 17
_EMBEDDED = 112

#: what labels take on a disk: two at its beginning with the boot area, two at its end
_LABELS = 9 << 19

#: The space for changes is reckoned in units of this many bytes, three copies each. How much of the slop may be used
#: for a change depends on the change: normal ones leave all of it, these leave a half or a quarter.
_UNIT = 3 << 14
NORMAL, RESERVED, EXTRA = 1, 2, 4


def new_guid() -> str:
    """A guid for a pool, a vdev, a dataset or a snapshot."""
    return str(int.from_bytes(os.urandom(8), "big") | 1 << 32)


# vdevs


def leaves(top: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The disks of a top-level vdev, which may be one itself."""
    return list(top["children"]) if "children" in top else [top]


def _redundancy(top: Dict[str, Any]) -> int:
    """How many disks of a top-level vdev may be missing."""
    if top["type"] == "mirror":
        return len(top["children"]) - 1
    return int(top.get("parity", 0))


def make_vdev(kind: str, parity: int, disks: List[Tuple[str, int]]) -> Dict[str, Any]:
    """A top-level vdev of disks, given with their paths and sizes; its size is a whole number of metaslabs."""
    room = min(size for _path, size in disks) - _LABELS >> 18 << 18
    asize = room * len(disks) if kind == "raidz" else room
    members = [{"type": "disk", "guid": new_guid(), "path": path, "size": size} for path, size in disks]
    more = {"asize": asize, "shift": _metaslab_shift(asize)}
    if kind == "disk":
        return dict(members[0], **more)
    top: Dict[str, Any] = {"type": kind, "guid": new_guid(), "children": members}
    if parity:
        top["parity"] = parity
    return dict(top, **more)


def _metaslab_shift(asize: int) -> int:
    """A vdev is cut into pieces of 512 MiB, if these are at least 16 and at most 200 of them."""
    if asize >> 29 < 16:
        return max(24, (asize >> 4).bit_length())
    return min(34, (asize // 200).bit_length()) if asize >> 29 > 200 else 29


class Geometry:
    """How much fits into a pool, and what a file of some size takes of it.

    Sizes are counted as zfs does: what a block of 128 KiB takes with its parity, scaled back to 128 KiB.
    """

    def __init__(self, tops: List[Dict[str, Any]]) -> None:
        self._top = tops[0]
        self.sizes = [top["asize"] >> top["shift"] << top["shift"] for top in tops]
        self.size = sum(self.sizes)
        #: bytes that one sector of the disks stands for
        self.ratio = RECORD // self._sectors(RECORD)
        self.space = self.size // SECTOR * self.ratio
        self.slop = max(min(self.space >> 5, 128 << 30), min(self.space >> 1, 128 << 20))
        raidz = self._top["type"] == "raidz"
        #: an empty dataset, and what the pool keeps for itself (both as recorded)
        self.base = 31372 if raidz else 24576
        self.overhead = 120714 if raidz else 113664

    def _sectors(self, length: int) -> int:
        """Sectors for one block, with parity and padding."""
        data = -(-length // SECTOR)
        if self._top["type"] != "raidz":
            return data
        parity = self._top["parity"]
        total = data + parity * -(-data // (len(self._top["children"]) - parity))
        return -(-total // (parity + 1)) * (parity + 1)

    def cost(self, length: int) -> int:
        """What a file takes: its blocks, and one block of pointers for every 1024 of them where it has several.

        What is very small fits into the pointer itself.
        """
        if length <= _EMBEDDED:
            return 0
        blocks, rest = divmod(length, RECORD)
        sectors = blocks * self._sectors(RECORD) + (self._sectors(rest) if rest else 0)
        if length > RECORD:
            sectors += 16 * -(-length // (RECORD << 10))
        return sectors * self.ratio

    def raw(self, space: int) -> int:
        """Space as it is counted of the disks."""
        return space // self.ratio * SECTOR


class Row(NamedTuple):
    """A line of a pool's configuration: the pool (depth 0), a top-level vdev or a disk of one."""

    depth: int
    name: str
    vdev: Optional[Dict[str, Any]]
    state: str
    remark: str


def _top_state(top: Dict[str, Any], states: List[str]) -> Tuple[str, str]:
    if "children" not in top:
        return states[0], "cannot open" if states[0] == UNAVAIL else ""
    lost = sum(state != ONLINE for state in states)
    if lost > _redundancy(top):
        return UNAVAIL, "insufficient replicas"
    return (DEGRADED if lost else ONLINE), ""


class Pool:
    """One pool.

    :param machine: the machine that looks at it; what ``zpool import`` was told is forgotten when that restarts.
    """

    def __init__(self, machine: Machine, record: Dict[str, Any]) -> None:
        self.machine = machine
        self.record = record
        self.guid: str = record["guid"]
        self.geometry = Geometry(record["vdevs"])
        self.release = releases.of(machine)

    @classmethod
    def load(cls, machine: Machine, guid: str) -> Optional[Pool]:
        """A pool of the shelf."""
        try:
            with open(os.path.join(machine.shelf, guid, "pool.json"), encoding="utf-8") as file:
                return cls(machine, json.load(file))
        except FileNotFoundError:
            return None

    def save(self) -> None:
        """Write the pool; a reader never finds half of it. Nothing is written to one that is imported read-only."""
        if self.readonly:
            return
        self.record["timestamp"] = int(self.machine.kernel.now())
        partial = self.path(".pool.json")
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(self.record, file, indent=1, sort_keys=True)
        os.replace(partial, self.path("pool.json"))
        for vdev, disk in self.present().items():
            if vdev not in self.running.get("removed", []):
                self.machine.hardware["disks"][disk]["zfs"]["txg"] = self.record["txg"]

    def path(self, *parts: str) -> str:
        """Something in the pool's folder."""
        return os.path.join(self.machine.shelf, self.guid, *parts)

    def tick(self) -> int:
        """Number of the transaction group that the next changes belong to."""
        self.record["txg"] += 1
        return int(self.record["txg"])

    def new_folder(self, kind: str) -> Tuple[int, str]:
        """Number and directory for a new dataset (``fs``) or snapshot (``snap``).

        Something may be left there of a command that was killed before it could write the pool.
        """
        number: int = self.record["next"]
        self.record["next"] = number + 1
        folder = self.path(kind, str(number))
        trees.remove(folder)
        os.makedirs(folder)
        return number, folder

    # how it is imported

    @property
    def running(self) -> Dict[str, Any]:
        """What the import said; empty while the pool is not imported."""
        found: Dict[str, Any] = self.machine.running["pools"].get(self.guid, {})
        return found

    @property
    def name(self) -> str:
        return str(self.running.get("name") or self.record["name"])

    @property
    def altroot(self) -> str:
        return str(self.running.get("altroot") or "")

    @property
    def readonly(self) -> bool:
        return bool(self.running.get("readonly"))

    # disks

    def present(self) -> Dict[str, str]:
        """Names of the disks that are attached, by the guid of their vdev."""
        return {
            disk["zfs"]["vdev"]: name
            for name, disk in self.machine.hardware["disks"].items()
            if disk["zfs"] and disk["zfs"]["pool"] == self.guid
        }

    def not_present(self, leaf: Dict[str, Any]) -> bool:
        """Whether a disk is missing since the pool was imported last, or before. Then it is known by its guid only."""
        if self.running:
            return leaf["guid"] in self.running["missing"]
        return bool(leaf.get("not_present")) and leaf["guid"] not in self.present()

    def _leaf_state(self, leaf: Dict[str, Any], present: Dict[str, str]) -> str:
        if leaf.get("offline"):
            return OFFLINE
        if leaf["guid"] in self.running.get("removed", []):
            return REMOVED
        if leaf["guid"] in self.running.get("missing", []):
            return UNAVAIL
        return ONLINE if leaf["guid"] in present else UNAVAIL

    def _damaged(self, leaf: Dict[str, Any], present: Dict[str, str]) -> bool:
        disk = self.machine.hardware["disks"].get(present.get(leaf["guid"], ""))
        return bool(disk and disk["zfs"].get("damaged"))

    def rows(self, guids: bool = False, paths: bool = False) -> List[Row]:
        """The configuration, the pool itself first.

        :param guids: show guids instead of names.
        :param paths: show whole paths.
        """
        self.notice_removals()
        present = self.present()
        below: List[Row] = []
        worst, corrupt = ONLINE, False
        for number, top in enumerate(self.record["vdevs"]):
            states = [self._leaf_state(leaf, present) for leaf in leaves(top)]
            state, remark = _top_state(top, states)
            worst = max(worst, state if state in (ONLINE, DEGRADED) else UNAVAIL, key=_SEVERITY.index)
            sound = [each == ONLINE and not self._damaged(leaf, present) for leaf, each in zip(leaves(top), states)]
            corrupt = corrupt or sound.count(False) > _redundancy(top)
            if "children" in top:
                name = top["guid"] if guids else "{0}{1}-{2}".format(top["type"], top.get("parity", ""), number)
                below.append(Row(1, name, top, state, remark))
            for leaf, each in zip(leaves(top), states):
                below.append(
                    Row(
                        2 if "children" in top else 1,
                        self._leaf_name(leaf, guids, paths),
                        leaf,
                        each,
                        "cannot open" if each == UNAVAIL else "",
                    )
                )
        if worst != UNAVAIL and not self.running and self.unsupported:
            return [Row(0, self.name, None, UNAVAIL, UNSUPPORTED)] + below
        if worst == UNAVAIL:
            return [Row(0, self.name, None, UNAVAIL, "insufficient replicas")] + below
        if corrupt or (self.record.get("damage") and not self.running):
            return [Row(0, self.name, None, FAULTED, "corrupted data")] + below
        return [Row(0, self.name, None, worst, "")] + below

    def _leaf_name(self, leaf: Dict[str, Any], guids: bool, paths: bool) -> str:
        if guids or self.not_present(leaf):
            return str(leaf["guid"])
        name = self.present().get(leaf["guid"], leaf["path"][len("/dev/") :])
        return "/dev/" + name if paths else str(name)

    @property
    def state(self) -> str:
        """The state of the whole: ``ONLINE``, ``DEGRADED``, ``UNAVAIL`` or ``FAULTED``."""
        return self.rows()[0].state

    @property
    def suspended(self) -> bool:
        """Imported, and then it lost more disks than it can do without."""
        return bool(self.running) and self.state not in (ONLINE, DEGRADED)

    def notice_removals(self) -> None:
        """A disk that goes while the pool is imported stays out until ``zpool online``, even when it comes back."""
        if not self.running:
            return
        present = self.present()
        removed = self.running.setdefault("removed", [])
        for top in self.record["vdevs"]:
            for leaf in leaves(top):
                was_there = not self.not_present(leaf) and not leaf.get("offline")
                if was_there and leaf["guid"] not in present and leaf["guid"] not in removed:
                    removed.append(leaf["guid"])
        self.running["devices"] = [
            name for guid, name in sorted(present.items(), key=lambda pair: pair[1]) if guid not in removed
        ]

    # datasets

    @property
    def datasets(self) -> Dict[str, Dict[str, Any]]:
        """The file systems by their names below the pool; the pool's own has an empty one."""
        found: Dict[str, Dict[str, Any]] = self.record["datasets"]
        return found

    def full(self, dataset: str) -> str:
        """The whole name."""
        return "{0}/{1}".format(self.name, dataset) if dataset else self.name

    def below(self, dataset: str) -> List[str]:
        """Names of all datasets below one, parents first."""
        prefix = dataset + "/" if dataset else ""
        return sorted(each for each in self.datasets if each != dataset and each.startswith(prefix))

    def children(self, dataset: str) -> List[str]:
        """Names of the datasets right below one."""
        depth = dataset.count("/") + 1 if dataset else 0
        return [each for each in self.below(dataset) if each.count("/") == depth]

    def snapshots(self, dataset: str) -> List[Dict[str, Any]]:
        """The snapshots of a dataset, oldest first."""
        found: List[Dict[str, Any]] = self.datasets[dataset]["snapshots"]
        return found

    def snapshot(self, dataset: str, tag: str) -> Optional[Dict[str, Any]]:
        """One snapshot by its name."""
        return next((each for each in self.snapshots(dataset) if each["name"] == tag), None)

    def origin(self, dataset: str) -> Optional[Tuple[str, Dict[str, Any]]]:
        """The dataset and snapshot that one is a clone of."""
        guid = self.datasets[dataset].get("origin")
        for name, record in self.datasets.items() if guid else ():
            for each in record["snapshots"]:
                if each["guid"] == guid:
                    return name, each
        return None

    def clones(self, snapshot: Dict[str, Any]) -> List[str]:
        """Names of the datasets that are clones of a snapshot."""
        return sorted(name for name, each in self.datasets.items() if each.get("origin") == snapshot["guid"])

    def live(self, dataset: str) -> str:
        """The directory of a dataset's live tree."""
        return self.path("fs", str(self.datasets[dataset]["object"]))

    def kept(self, snapshot: Dict[str, Any]) -> str:
        """The directory with the contents of a snapshot."""
        return self.path("snap", str(snapshot["object"]))

    # properties

    def lookup(self, dataset: str, key: str) -> Optional[Tuple[str, str]]:
        """A property with the name of the dataset that it is set on, be that one further up."""
        known = self.release.native.datasets.get(key)
        here = dataset
        while True:
            found = self.datasets[here]["properties"].get(key)
            if found is not None:
                return found, here
            if not here or (known is not None and known.rule != INHERIT):
                return None
            here = here.rpartition("/")[0]

    def value(self, dataset: str, key: str) -> str:
        """A property, by default if need be."""
        found = self.lookup(dataset, key)
        return found[0] if found else self.release.native.datasets[key].default

    def mountpoint(self, dataset: str) -> str:
        """Where a dataset is to be mounted: a path, ``legacy`` or ``none``."""
        found = self.lookup(dataset, "mountpoint")
        if found is None:
            return self.altroot.rstrip("/") + "/" + self.full(dataset)
        value, setter = found
        if not value.startswith("/"):
            return value
        below = dataset[len(setter) :].lstrip("/")
        root = "" if self.altroot == "/" else self.altroot
        if value == "/" and (root or below):
            value = ""
        return root + value + ("/" + below if below else "")

    # features

    def feature(self, name: str) -> str:
        """State of a feature."""
        return str(self.record["features"].get(name, features.DISABLED))

    def unknown_features(self) -> Dict[str, str]:
        """What the pool has enabled and the ZFS of the machine does not know, with its state."""
        found: Dict[str, str] = self.record["features"]
        return {name: state for name, state in sorted(found.items()) if name not in self.release.features}

    @property
    def unsupported(self) -> List[features.Feature]:
        """The features for which the ZFS of the machine cannot open the pool, or not for writing.

        It does not look any further when the labels name some already. Sources: ``spa_ld_mos_init()`` and
        ``spa_ld_check_features()`` in ``module/zfs/spa.c``.
        """
        active = [
            features.FEATURES[name] for name, state in self.unknown_features().items() if state == features.ACTIVE
        ]
        return [each for each in active if each.in_label] or active

    def unsupported_text(self) -> str:
        """These features as lines; labels have no text about them."""
        lines = []
        for each in sorted(self.unsupported, key=lambda each: each.guid):
            lines.append("\t{0}{1}\n".format(each.guid, "" if each.in_label else " ({0})".format(each.about)))
        return "".join(lines)

    def enable_features(self, names: Iterable[str], making: bool = False) -> None:
        """Enable features; some become active with that.

        :param making: the pool is being made.
        """
        for name in names:
            known = features.FEATURES[name]
            self.enable_features(known.needs, making)
            active = known.at_once or (making and known.when_made)
            self.record["features"].setdefault(name, features.ACTIVE if active else features.ENABLED)

    def count_objects(self) -> None:
        """Features that count objects become active when something is mounted for writing."""
        for name, state in list(self.record["features"].items()) if self.release.counts_objects else ():
            if state == features.ENABLED and features.FEATURES[name].when_mounted:
                self.record["features"][name] = features.ACTIVE
                self.save()

    # what a change needs

    def check_change(self, action: str, units: int, reserve: int, used: int) -> None:
        """Refuse a change that the pool cannot take.

        :param action: the beginning of the message.
        :param units: how much room it needs.
        :param reserve: which part of the slop it must leave.
        :param used: bytes in use.
        """
        if self.suspended:
            raise Fail("{0}: pool I/O is currently suspended".format(action))
        if self.readonly:
            raise Fail("{0}: pool is read-only".format(action))
        if used + units * _UNIT > self.geometry.space - self.geometry.slop // reserve:
            raise Fail("{0}: out of space".format(action))


def is_volume(record: Dict[str, Any]) -> bool:
    """Whether a dataset is a volume."""
    return record.get("volsize") is not None


_SEVERITY = (ONLINE, DEGRADED, UNAVAIL)


class Item(NamedTuple):
    """A dataset, snapshot or bookmark; ``kind`` of a volume is that of a file system, as most commands take both."""

    pool: Pool
    dataset: str
    kind: str
    record: Dict[str, Any]

    @property
    def type(self) -> str:
        """What it is, with volumes told apart."""
        return VOLUME if self.kind == FILESYSTEM and is_volume(self.record) else self.kind

    @property
    def name(self) -> str:
        whole = self.pool.full(self.dataset)
        if self.kind == FILESYSTEM:
            return whole
        return "{0}{1}{2}".format(whole, "@" if self.kind == SNAPSHOT else "#", self.record["name"])


class Pools:
    """All pools that a machine can see, for the time of one command: each is read once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.release = releases.of(machine)
        self._known: Dict[str, Optional[Pool]] = {}

    def pool(self, guid: str) -> Optional[Pool]:
        """A pool by its guid, imported or not."""
        if guid not in self._known:
            self._known[guid] = Pool.load(self.machine, guid)
        return self._known[guid]

    def add(self, pool: Pool) -> None:
        """A pool that was just made."""
        self._known[pool.guid] = pool

    def imported(self) -> List[Pool]:
        """The imported pools by name."""
        found = [self.pool(guid) for guid in self.machine.running["pools"]]
        pools = sorted((each for each in found if each is not None), key=lambda pool: pool.name)
        for pool in pools:
            pool.notice_removals()
        return pools

    def by_name(self, name: str) -> Optional[Pool]:
        """An imported pool."""
        return next((pool for pool in self.imported() if pool.name == name), None)

    def candidates(self) -> Iterator[Pool]:
        """Pools that are not imported and of which at least one disk is attached, in the order of the disks."""
        seen = set(self.machine.running["pools"])
        for disk in self.machine.hardware["disks"].values():
            guid = disk["zfs"]["pool"] if disk["zfs"] else None
            if guid and guid not in seen:
                seen.add(guid)
                pool = self.pool(guid)
                if pool is not None:
                    yield pool

    def find(self, name: str) -> Optional[Item]:
        """A file system, snapshot or bookmark by its whole name."""
        delimiter = next((each for each in "@#" if each in name), "")
        whole, _delimiter, tag = name.partition(delimiter) if delimiter else (name, "", "")
        pool = self.by_name(whole.partition("/")[0])
        dataset = whole.partition("/")[2]
        if pool is None or dataset not in pool.datasets or whole.endswith("/"):
            return None
        if not delimiter:
            return Item(pool, dataset, FILESYSTEM, pool.datasets[dataset])
        kind, where = (SNAPSHOT, "snapshots") if delimiter == "@" else (BOOKMARK, "bookmarks")
        record = next((each for each in pool.datasets[dataset][where] if each["name"] == tag), None)
        return Item(pool, dataset, kind, record) if record else None


def folder(machine: Machine, dataset: str) -> str:
    """The directory of the live tree of a dataset, which is what gets mounted.

    :raises KeyError: when there is none of that name in an imported pool.
    """
    item = Pools(machine).find(dataset)
    if item is None or item.kind != FILESYSTEM:
        raise KeyError(dataset)
    return item.pool.live(item.dataset)


def mount_legacy(machine: Machine, dataset: str, where: str, readonly: bool) -> None:
    """``mount -t zfs``."""
    from ansible_collections.nanozfs.fleet.tests.model import zmounts  # noqa: PLC0415 - it needs this module

    zmounts.mount_legacy(machine, dataset, where, readonly)


def fill(machine: Machine, name: str, leave: int) -> None:
    """Fill a pool for a test, without writing anything: *leave* bytes stay available, or less than none."""
    from ansible_collections.nanozfs.fleet.tests.model.space import Space  # noqa: PLC0415 - it needs this module

    pool = Pools(machine).by_name(name)
    if pool is None:
        raise KeyError(name)
    pool.record["ballast"] = 0
    pool.record["ballast"] = pool.geometry.space - pool.geometry.slop - Space(pool).total() - leave
    pool.save()
