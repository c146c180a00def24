# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Pools: what is imported, what could be, and why something could not.

Sources: zpool-import(8), zpool-export(8), zpool-list(8), zdb(8) of OpenZFS 2.1; the outputs are in the transcripts
under ``tests/fixtures/freebsd-13.2/zpool`` and ``zpool-crossboot``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.compatibility import Features, parse_features

LIST_FIELDS = ("name", "guid", "health", "size", "allocated", "free", "capacity", "readonly", "altroot", "cachefile")

#: health states of a pool that still serves its data
USABLE = ("ONLINE", "DEGRADED")

#: types of vdevs for the data of a pool; a stripe has no word of its own (zpoolconcepts(7))
VDEV_TYPES = ("stripe", "mirror", "raidz", "raidz1", "raidz2", "raidz3")


@dataclass(frozen=True)
class Pool:
    """An imported pool. Sizes in bytes, capacity in percent."""

    name: str
    guid: str
    health: str
    size: int
    allocated: int
    free: int
    capacity: int
    readonly: bool
    altroot: Optional[str]
    cachefile: Optional[str]


class Vdev(NamedTuple):
    """A line of a pool's configuration: its depth under the pool, name, state and remark."""

    depth: int
    name: str
    state: str
    remark: str


class Disks(NamedTuple):
    """The data disks of a pool: how many of how many are there, and what is said of the others.

    ``complete`` is false where the pool has more than can be told, because a whole top-level vdev is missing; one more
    is counted for that.
    """

    found: int
    expected: int
    missing: Tuple[str, ...]
    complete: bool = True

    def describe(self) -> str:
        more = "" if self.complete else " or more"
        return "{0} of {1}{2} data disks found".format(self.found, self.expected, more)


#: headings in a pool's configuration for what holds no data of its own
_SIDE = ("logs", "cache", "spares")
#: groups that stand for one disk: the one that goes and the one that comes
_EXCHANGES = ("replacing-", "spare-")


def count_disks(pool: Candidate) -> Disks:
    """Count the data disks in a pool's configuration, as ``zpool import`` or ``zpool status`` shows it.

    A disk that is being replaced counts once. The first line is the pool itself, whatever it is called.
    """
    vdevs = pool.vdevs
    found, expected, missing = 0, 0, []
    exchange: Optional[int] = None
    side = False
    for number, this in enumerate(vdevs):
        if this.depth == 0:
            side = number > 0 and this.name in _SIDE
            continue
        if exchange is not None and this.depth > exchange:
            continue
        exchange = this.depth if this.name.startswith(_EXCHANGES) else None
        following = vdevs[number + 1].depth if number + 1 < len(vdevs) else 0
        if side or (following > this.depth and exchange is None):
            continue
        expected += 1
        if this.state == "ONLINE" or (exchange is not None and this.state == "DEGRADED"):
            found += 1
        else:
            missing.append(" ".join(each for each in (this.name, this.state, _plain(this.remark)) if each))
    if not pool.complete:
        expected += 1
        missing.append("at least one more, of which the others know nothing")
    return Disks(found, expected, tuple(missing), pool.complete)


def _plain(remark: str) -> str:
    """The remark of ``zpool status`` without the three counts of errors before it."""
    words = remark.split()
    while words and words[0][0].isdigit():
        words = words[1:]
    return " ".join(words)


class DiskErrors(NamedTuple):
    """A disk of a pool that has errors: how many since they were last cleared, by what went wrong."""

    name: str
    read: int
    write: int
    checksum: int


#: a count as zpool shows it, ``269`` or ``1.21K``: powers of 1024 (zfs_nicenum_format() in libzutil's zutil_nicenum.c)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE]?)")
_UNITS = ("", "K", "M", "G", "T", "P", "E")


def _count(word: str) -> int:
    """A count of errors; more than three digits are only told about."""
    match = _COUNT.fullmatch(word)
    return int(float(match.group(1)) * 1024 ** _UNITS.index(match.group(2))) if match else 0


def disks_with_errors(pool: Candidate) -> List[DiskErrors]:
    """The disks with errors in the configuration of an imported pool, those of logs, caches and spares as well.

    :param pool: as ``zpool status`` shows it; ``zpool import`` shows no counts.
    """
    found = []
    for this, following in zip(pool.vdevs, pool.vdevs[1:] + (Vdev(0, "", "", ""),)):
        counts = [_count(word) for word in this.remark.split()[:3]]
        if following.depth <= this.depth and len(counts) == 3 and any(counts):
            found.append(DiskErrors(this.name, *counts))
    return found


@dataclass(frozen=True)
class Candidate:
    """A pool as ``zpool import`` lists it (not imported here, its devices are), or as ``zpool status`` does.

    :param complete: whether all of its vdevs are listed. A top-level vdev of which no disk is there is known from the
        sum of the guids only, and cannot be (``show_import()`` in ``zpool_main.c``).
    :param scan: what ``zpool status`` says of the last scrub or resilver.
    :param errors: what it says of data that is damaged for good.
    """

    name: str
    guid: str
    state: str
    status: str
    action: str
    vdevs: Tuple[Vdev, ...]
    complete: bool = True
    scan: str = ""
    errors: str = ""

    @property
    def listed_in_use(self) -> bool:
        """Whether the listing says that another host has the pool. It does not say so of a label without hostid."""
        return "last accessed by another system" in self.status or "currently imported" in self.status

    @property
    def importable(self) -> bool:
        return self.state in USABLE

    @property
    def devices(self) -> List[str]:
        """Names of the leaf devices that are there."""
        leaves = []
        for this, following in zip(self.vdevs, self.vdevs[1:] + (Vdev(0, "", "", ""),)):
            if this.depth > 0 and following.depth <= this.depth and this.state == "ONLINE":
                leaves.append(this.name)
        return leaves

    def describe(self) -> str:
        return "{0} (guid {1}, {2})".format(self.name, self.guid, self.state)


class Label(NamedTuple):
    """Who had a pool last, from the label of one of its devices (``zdb -l``).

    ``exported`` is whether that host let it go. ``hostid`` is 0 when it was imported before rc.d/hostid ran, as the
    early boot hook does it: such a label does not tell which host it was. A hot spare and a cache device have labels
    that do not say whose they are (``vdev_label_init()`` in vdev_label.c): their ``guid`` is empty.
    """

    guid: str
    exported: bool
    hostid: int
    hostname: str
    txg: int
    aux: str = ""

    def describe(self) -> str:
        """Whose label it is, for people."""
        if self.aux:
            return "a ZFS pool, as {0}".format(self.aux)
        return "the ZFS pool with guid {0}".format(self.guid)


#: what comes after the vdevs of a pool that has more of them
_MORE = "Additional devices are known to be part of this pool"

_FIELD = re.compile(r" *(pool|id|state|status|action|see|comment|config|scan|errors): ?(.*)")


def parse_import(text: str) -> List[Candidate]:
    """Parse what ``zpool import`` without a pool prints, or ``zpool status``, which is the same with more columns."""
    found: List[Candidate] = []
    fields: Dict[str, str] = {}
    vdevs: List[Vdev] = []
    current, complete = "", True

    def finish() -> None:
        if "pool" in fields:
            found.append(
                Candidate(
                    name=fields["pool"],
                    guid=fields.get("id", ""),
                    state=fields.get("state", "").split(" ")[0],
                    status=fields.get("status", ""),
                    action=fields.get("action", ""),
                    vdevs=tuple(vdevs),
                    complete=complete,
                    scan=fields.get("scan", ""),
                    errors=fields.get("errors", ""),
                )
            )

    for line in text.splitlines():
        match = _FIELD.match(line)
        if match and not line.startswith("\t"):
            current = match.group(1)
            if current == "pool":
                finish()
                fields, vdevs, complete = {}, [], True
            fields[current] = match.group(2).strip()
        elif current == "config" and line.startswith("\t" + _MORE):
            current, complete = "", False  # two lines of text, and no more vdevs
        elif current == "config" and line.startswith("\t"):
            words = line[1:].split(None, 2)
            if words and words[:2] != ["NAME", "STATE"]:
                depth = (len(line[1:]) - len(line[1:].lstrip(" "))) // 2
                vdevs.append(
                    Vdev(depth, words[0], words[1] if len(words) > 1 else "", words[2] if len(words) > 2 else "")
                )
        elif current and line.startswith("\t"):
            fields[current] = (fields[current] + " " + line.strip()).strip()
    finish()
    return found


_LABEL_LINE = re.compile(r"^    (pool_guid|state|hostid|hostname|txg): (.*)$", re.MULTILINE)
_POOL_STATE_ACTIVE = "0"  # pool_state_t in sys/fs/zfs.h; EXPORTED is 1, DESTROYED 2
_AUX_STATES = {"3": "a hot spare", "4": "a cache device"}


def parse_label(text: str) -> Optional[Label]:
    """Parse what ``zdb -l <device>`` prints; ``None`` when there is no label."""
    values = {key: value.strip().strip("'") for key, value in _LABEL_LINE.findall(text)}
    aux = _AUX_STATES.get(values.get("state", ""), "")
    if aux:  # what follows the label of a cache device is of another kind, and may name a pool
        return Label("", False, 0, "", 0, aux)
    if "pool_guid" not in values:
        return None
    return Label(
        guid=values["pool_guid"],
        exported=values.get("state") != _POOL_STATE_ACTIVE,
        hostid=int(values.get("hostid", "0")),
        hostname=values.get("hostname", ""),
        txg=int(values.get("txg", "0")),
    )


@dataclass(frozen=True)
class ImportOptions:
    """How to import. ``cachefile="none"`` keeps the pool out of every zpool.cache."""

    mount: bool = False
    readonly: bool = False
    altroot: Optional[str] = None
    cachefile: Optional[str] = "none"
    search_dirs: Sequence[str] = ()
    force: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)

    def forced(self, force: bool) -> ImportOptions:
        """The same, also for a pool that another host had."""
        return replace(self, force=force)

    def argv(self, guid: str) -> List[str]:
        """The import command for a pool of that guid."""
        argv = ["zpool", "import"]
        argv += ["-f"] if self.force else []
        argv += [] if self.mount else ["-N"]
        argv += ["-o", "readonly=on"] if self.readonly else []
        # -R sets cachefile=none by itself (zpool-import(8)); saying so as well does no harm
        argv += ["-o", "cachefile={0}".format(self.cachefile)] if self.cachefile else []
        argv += ["-R", self.altroot] if self.altroot else []
        for directory in self.search_dirs:
            argv += ["-d", directory]
        return argv + [guid]


class Zpool:
    """The zpool(8) commands that the collection uses."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def imported(self) -> List[Pool]:
        """The pools that are imported."""
        rows = self.runner.ask(["zpool", "list", "-Hp", "-o", ",".join(LIST_FIELDS)], "list the pools").rows()
        return [
            Pool(
                name=row[0],
                guid=row[1],
                health=row[2],
                size=_bytes(row[3]),
                allocated=_bytes(row[4]),
                free=_bytes(row[5]),
                capacity=_bytes(row[6]),
                readonly=row[7] == "on",
                altroot=None if row[8] == "-" else row[8],
                cachefile=None if row[9] == "-" else row[9],
            )
            for row in rows
        ]

    def pool(self, name_or_guid: str) -> Optional[Pool]:
        """An imported pool by name or guid, or ``None``."""
        return next((each for each in self.imported() if name_or_guid in (each.name, each.guid)), None)

    def features(self, name: str) -> Features:
        """The features of an imported pool."""
        argv = ["zpool", "get", "-H", "-o", "property,value", "all", name]
        return parse_features(self.runner.ask(argv, "read the features of the pool {0}".format(name)).rows())

    def candidates(self, search_dirs: Sequence[str] = ()) -> List[Candidate]:
        """The pools that could be imported, or that ought to be and cannot."""
        argv = ["zpool", "import"]
        for directory in search_dirs:
            argv += ["-d", directory]
        result = self.runner.query(argv)
        if result.rc != 0:
            raise unexpected(result, "look for pools to import")
        return parse_import(result.out)

    def status(self, name: str) -> Optional[Candidate]:
        """An imported pool with its configuration; ``None`` when there is none of that name."""
        result = self.runner.query(["zpool", "status", name])
        if result.rc != 0 and "no such pool" not in result.err:
            raise unexpected(result, "see the configuration of the pool {0}".format(name))
        return next(iter(parse_import(result.out)), None)

    def last_host(self, candidate: Candidate) -> Optional[Label]:
        """Who had the pool last: the newest label on its devices."""
        newest: Optional[Label] = None
        for device in candidate.devices:
            path = device if device.startswith("/") else "/dev/" + device
            label = parse_label(self.runner.query(["zdb", "-l", path]).out)
            if label and label.guid == candidate.guid and (newest is None or label.txg > newest.txg):
                newest = label
        return newest

    def own_hostid(self) -> int:
        """The hostid of this host."""
        return int(self.runner.ask(["sysctl", "-n", "kern.hostid"], "read the hostid").out)

    def import_pool(self, guid: str, options: ImportOptions) -> None:
        """Import a pool by its guid.

        :raises CommandError: when zpool refuses. A pool that is refused is not changed.
        """
        self.runner.change(
            options.argv(guid),
            "import the pool {0}".format(guid),
            safe="the pool was not imported and nothing was written to it",
        )

    def export(self, name: str, force: bool = False) -> None:
        """Export a pool.

        :raises CommandError: when it is busy; datasets that were unmounted on the way stay unmounted.
        """
        self.runner.change(
            ["zpool", "export"] + (["-f"] if force else []) + [name],
            "export the pool {0}".format(name),
            safe="the pool is still imported; no data is lost",
            todo="stop what uses it (fstat -f <mountpoint>) and run this again",
        )

    def create(self, argv: Sequence[str], name: str) -> None:
        """Run a complete ``zpool create`` command."""
        self.runner.change(
            argv,
            "create the pool {0}".format(name),
            safe="no pool was created; a disk that is part of another pool was not touched",
        )


def _bytes(text: str) -> int:
    return int(text) if text.isdigit() else 0


def choose(candidates: Sequence[Candidate], name: Optional[str], guid: Optional[str]) -> Optional[Candidate]:
    """The candidate that is meant, or ``None`` when there is none.

    :raises Refused: when only a name is given and two pools have it.
    """
    if guid:
        return next((each for each in candidates if each.guid == guid), None)
    named = [each for each in candidates if each.name == name]
    if len(named) > 1:
        raise Refused(
            "there are {0} pools named {1}: {2}".format(len(named), name, ", ".join(each.describe() for each in named)),
            safe="none of them was imported",
            todo="say which one by its guid, or take out the disks of the other",
            guids=[each.guid for each in named],
        )
    return named[0] if named else None


def in_use_elsewhere(candidate: Candidate, label: Optional[Label], own_hostid: int) -> bool:
    """Whether the pool was last in use on another host and not exported there.

    ``zpool import`` compares the hostid of a pool that was not exported with that of the host, also where the label has
    none (``cmd/zpool/zpool_main.c``), while its listing only tells of hostids that are there.

    :param own_hostid: ``kern.hostid``.
    """
    return candidate.listed_in_use or (label is not None and not label.exported and label.hostid != own_hostid)


def check_importable(
    candidate: Candidate,
    label: Optional[Label],
    own_hostid: int,
    force_hostid: Optional[str],
    option: str = "force_hostid",
) -> bool:
    """Whether the import needs ``-f``; refuse where it must not be done at all.

    :param force_hostid: the hostid (as printed by zpool, hexadecimal) from which the pool may be taken over, or
        ``any``.
    :param option: what that is called where it is given, for errors.
    :raises Refused: when the pool is damaged, or in use elsewhere and not released by *force_hostid*.
    """
    if not candidate.importable:
        raise Refused(
            "the pool {0} cannot be imported: {1}".format(candidate.describe(), candidate.status or "no reason given"),
            safe="the pool was not imported and nothing was written to it",
            todo=candidate.action or "attach the missing disks and try again",
            pool_state=candidate.state,
        )
    if not in_use_elsewhere(candidate, label, own_hostid):
        return False
    hostid = "{0:x}".format(label.hostid) if label else "unknown"
    hostname = (label.hostname if label else "") or "an unknown host"
    if force_hostid is None:
        raise Refused(
            "the pool {0} was last in use on {1} (hostid {2}) and was not exported there{3}".format(
                candidate.describe(),
                hostname,
                hostid,
                "; hostid 0 is a host in its early boot, which may have been this one" if hostid == "0" else "",
            ),
            safe="the pool was not imported and nothing was written to it",
            todo="make sure that no other host has it imported, then allow it with {0}={1}".format(option, hostid),
            hostid=hostid,
            hostname=hostname,
        )
    wanted = force_hostid.lower()
    wanted = wanted[2:] if wanted.startswith("0x") else wanted
    if wanted not in ("any", hostid):
        raise Refused(
            "the pool {0} was last in use on {1} with hostid {2}, not {3}".format(
                candidate.describe(), hostname, hostid, force_hostid
            ),
            safe="the pool was not imported and nothing was written to it",
            todo="look which host has that hostid before you allow it",
            hostid=hostid,
            hostname=hostname,
        )
    return True


def vdev_words(vdevs: Sequence[Mapping[str, object]]) -> List[str]:
    """The vdev part of ``zpool create`` from the inventory's list of ``{type, disks}``.

    :raises FleetError: on a type that zpool(8) does not know or an empty list of disks.
    """
    words: List[str] = []
    for vdev in vdevs:
        kind = str(vdev.get("type") or "stripe")
        disks = vdev.get("disks")
        if kind not in VDEV_TYPES:
            raise FleetError("{0!r} is no type of vdev for the data of a pool".format(kind))
        if not isinstance(disks, (list, tuple)) or not disks:
            raise FleetError("a vdev of type {0} without disks".format(kind))
        words += ([] if kind == "stripe" else [kind]) + [str(disk) for disk in disks]
    return words
