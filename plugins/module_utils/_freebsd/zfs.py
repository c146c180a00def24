# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Datasets and snapshots: reading them, and the zfs(8) commands that change them.

Sources: zfs(8) and its sub-pages of OpenZFS 2.1; the exit statuses and messages are in the transcripts under
``tests/fixtures/freebsd-13.2/zfs``. Objects are compared by guid; names are only how they are found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Result, Runner, unexpected

#: Marks what this collection made; nothing without it is ever destroyed.
MADE_BY = "nanozfs:made-by"
MAKER = "nanozfs.fleet"

#: A snapshot or a dataset moved aside is kept in place by a hold of this tag.
HOLD_TAG = "nanozfs"

#: says what happens to a dataset when the data around it goes back
POLICY = "nanozfs:rollback"

#: what a snapshot can be taken of, as -t of zfs(8)
DATASETS = "filesystem,volume"

_COMPONENT = re.compile(r"[A-Za-z0-9_.:\- ]+")
_MISSING = ("dataset does not exist", "could not find any snapshots to destroy", "no such pool")


@dataclass(frozen=True)
class Dataset:
    """A file system or volume. Sizes are in bytes; ``origin`` is the snapshot that it is a clone of."""

    name: str
    guid: str
    kind: str
    used: int
    available: int
    referenced: int
    mountpoint: str
    mounted: bool
    origin: Optional[str]
    createtxg: int
    policy: Optional[str]

    @property
    def pool(self) -> str:
        return self.name.split("/", 1)[0]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot. ``createtxg`` orders snapshots; the clock of a host may not be trusted (``creation``, seconds)."""

    name: str
    guid: str
    createtxg: int
    creation: int
    used: int
    holds: int
    clones: Tuple[str, ...]
    made_by: Optional[str]

    @property
    def dataset(self) -> str:
        return self.name.split("@", 1)[0]

    @property
    def tag(self) -> str:
        """The part after the @."""
        return self.name.split("@", 1)[1]


class Bookmark(NamedTuple):
    """A bookmark; ``guid`` and ``createtxg`` are those of the snapshot that it was made of."""

    name: str
    guid: str
    createtxg: int

    @property
    def dataset(self) -> str:
        return self.name.split("#", 1)[0]

    @property
    def tag(self) -> str:
        """The part after the #."""
        return self.name.split("#", 1)[1]


class Hold(NamedTuple):
    """A user hold on a snapshot."""

    snapshot: str
    tag: str


class Value(NamedTuple):
    """A property of an object. ``source`` is as zfs prints it, ``-`` where the object has no such property."""

    source: str
    text: str

    @property
    def own(self) -> bool:
        """Whether it was set on the object itself, or received with it."""
        return self.source in ("local", "received")


#: how often what others change meanwhile is listed
_LISTINGS = 3


def check_dataset_name(name: str) -> None:
    """Refuse what zfs(8) would not take as a file system name, before it could be taken for something else.

    :raises Refused: with the reason.
    """
    parts = name.split("/")
    if len(name) > 255 or not name[:1].isalpha() or not all(_COMPONENT.fullmatch(part) for part in parts):
        raise Refused("{0!r} is no valid dataset name".format(name), safe="nothing was changed")


def check_snapshot_tag(tag: str) -> None:
    """Like :func:`check_dataset_name` for the part after the @."""
    if not _COMPONENT.fullmatch(tag) or " " in tag:
        raise Refused("{0!r} is no valid snapshot name".format(tag), safe="nothing was changed")


def property_text(value: object) -> str:
    """A property value as zfs and zpool want it; YAML reads on and off as booleans."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def property_texts(values: Mapping[str, object]) -> Dict[str, str]:
    """Properties as zfs and zpool want them."""
    return {str(key): property_text(value) for key, value in values.items()}


def is_missing(result: Result) -> bool:
    """Whether a command failed only because what it names does not exist."""
    return result.rc != 0 and any(text in result.err for text in _MISSING)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _optional(text: str) -> Optional[str]:
    return None if text in ("-", "") else text


class Zfs:
    """The zfs(8) commands that the collection uses.

    Reading methods return plain records; changing ones raise :class:`CommandError` on any failure that the method
    does not document.
    """

    DATASET_FIELDS = (
        "name",
        "guid",
        "type",
        "used",
        "available",
        "referenced",
        "mounted",
        "origin",
        "createtxg",
    )
    SNAPSHOT_FIELDS = ("name", "guid", "createtxg", "creation", "used", "userrefs", "clones")

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    # reading

    def datasets(self, root: str) -> List[Dataset]:
        """The dataset *root* and all below it, parents first; empty when it does not exist."""
        argv = ["zfs", "list", "-Hp", "-r", "-t", DATASETS, "-o", ",".join(self.DATASET_FIELDS), root]
        rows, free = self._listed(argv, "datasets", ["-r", "-t", DATASETS], ("mountpoint", POLICY), root)
        found = []
        for name, guid, kind, used, available, referenced, mounted, origin, createtxg in rows:
            policy = free[name, POLICY]
            found.append(
                Dataset(
                    name=name,
                    guid=guid,
                    kind=kind,
                    used=_number(used),
                    available=_number(available),
                    referenced=_number(referenced),
                    mountpoint=free[name, "mountpoint"].text,
                    mounted=mounted == "yes",
                    origin=_optional(origin),
                    createtxg=_number(createtxg),
                    policy=None if policy.source == "-" else policy.text,
                )
            )
        return found

    def dataset(self, name: str) -> Optional[Dataset]:
        """One dataset, or ``None``."""
        return next((each for each in self.datasets(name) if each.name == name), None)

    def snapshots(self, root: str, recursive: bool = False) -> List[Snapshot]:
        """The snapshots of *root* (and below it), oldest first within a dataset."""
        argv = ["zfs", "list", "-Hp"]
        argv += ["-r"] if recursive else ["-d", "1"]
        argv += ["-t", "snapshot", "-s", "createtxg", "-o", ",".join(self.SNAPSHOT_FIELDS), root]
        scope = (["-r"] if recursive else ["-d", "1"]) + ["-t", "snapshot"]
        rows, makers = self._listed(argv, "snapshots", scope, (MADE_BY,), root)
        found = []
        for name, guid, createtxg, creation, used, userrefs, clones in rows:
            maker = makers[name, MADE_BY]
            found.append(
                Snapshot(
                    name=name,
                    guid=guid,
                    createtxg=_number(createtxg),
                    creation=_number(creation),
                    used=_number(used),
                    holds=_number(userrefs),
                    clones=tuple(each for each in clones.split(",") if each not in ("", "-")),
                    # a mark on a dataset is inherited by its snapshots (zfsprops(7)) and says nothing
                    made_by=maker.text if maker.own else None,
                )
            )
        return found

    def snapshot(self, name: str) -> Optional[Snapshot]:
        """One snapshot by its full name, or ``None``."""
        return next((each for each in self.snapshots(name.split("@", 1)[0]) if each.name == name), None)

    def bookmarks(self, root: str, recursive: bool = False) -> List[Bookmark]:
        """The bookmarks of *root* (and below it)."""
        scope = ["-r"] if recursive else ["-d", "1"]
        argv = ["zfs", "list", "-Hp", *scope, "-t", "bookmark", "-o", "name,guid,createtxg", root]
        rows = self.runner.ask(argv, "list the bookmarks of {0}".format(root)).rows()
        return [Bookmark(row[0], row[1], _number(row[2])) for row in rows]

    def properties(self, dataset: str, sources: str = "all") -> Dict[str, str]:
        """Property values of one dataset; empty when it does not exist.

        :param sources: ``all``, or as ``-s`` of zfs get, e.g. ``local,received``.
        """
        argv = ["zfs", "get", "-H", "-o", "property"]
        argv += [] if sources == "all" else ["-s", sources]
        result = self.runner.query(argv + ["all", dataset])
        if is_missing(result):
            return {}
        if result.rc != 0:
            raise unexpected(result, "list the properties of {0}".format(dataset))
        return self.values(dataset, result.lines())

    def local_properties(self, dataset: str) -> Dict[str, str]:
        """The properties that were set on a dataset itself, or received with it: nothing that it inherits."""
        return self.properties(dataset, "local,received")

    def values(self, name: str, keys: Iterable[str]) -> Dict[str, str]:
        """Some properties of an object, each exactly as it is; ``-`` where it has none of a name.

        Values of user properties, and of some native ones, may hold tabs and line ends. All are asked for in one
        command, in one column. As every value ends a line, there are as many lines as values only where no value holds
        a line end; otherwise each half is asked for by itself.
        """
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        argv = ["zfs", "get", "-Hp", "-o", "value", ",".join(wanted), name]
        text = self.runner.ask(argv, "read properties of {0}".format(name)).out[:-1]
        if len(wanted) == 1:
            return {wanted[0]: text}
        lines = text.split("\n")
        if len(lines) == len(wanted):
            return dict(zip(wanted, lines))
        half = len(wanted) // 2
        return dict(self.values(name, wanted[:half]), **self.values(name, wanted[half:]))

    def value(self, name: str, key: str) -> str:
        """One property of an object, exactly as it is."""
        return self.values(name, [key])[key]

    def _listed(
        self, argv: Sequence[str], what: str, scope: Sequence[str], keys: Sequence[str], root: str
    ) -> Tuple[List[List[str]], Dict[Tuple[str, str], Value]]:
        """What ``zfs list`` says of objects, and properties of theirs that may hold anything.

        Between the two commands others work as well: a backup that takes its snapshot or lets it go, somebody's cron.
        What has come meanwhile is listed anew; what goes each time is left out.

        :param argv: the list, with the name of an object first in its rows.
        :param what: is listed, for people.
        :param scope: options of zfs get that choose these objects.
        :returns: the rows, and the table; nothing where *root* does not exist.
        """
        rows: List[List[str]] = []
        for _attempt in range(_LISTINGS):
            result = self.runner.query(argv)
            if is_missing(result):
                return [], {}
            if result.rc != 0:
                raise unexpected(result, "list the {0} of {1}".format(what, root))
            rows = result.rows()
            found = self._at_once(scope, keys, [row[0] for row in rows], root) if rows else {}
            if found is not None:
                return rows, found
        found = {}
        for name in (row[0] for row in rows):
            alone = self._at_once([], keys, [name], name)
            if alone is None and not is_missing(self.runner.query(["zfs", "list", "-H", "-o", "name", name])):
                alone = self.table([], keys, [name], name)
            found.update(alone or {})
        return [row for row in rows if (row[0], keys[0]) in found], found

    def _at_once(
        self, scope: Sequence[str], keys: Sequence[str], names: Sequence[str], root: str
    ) -> Optional[Dict[Tuple[str, str], Value]]:
        """Properties of several objects by one command; ``None`` where that could be misread, or is of others."""
        argv = ["zfs", "get", "-Hp", *scope, "-o", "name,property,source,value", ",".join(keys), root]
        result = self.runner.query(argv)
        if is_missing(result):
            return None
        if result.rc != 0:
            raise unexpected(result, "read properties below " + root)
        rows = [line.split("\t", 3) for line in result.out.split("\n")]
        expected = [[name, key] for name in names for key in keys]
        if [row[:2] for row in rows[:-1]] != expected:
            return None
        return {(row[0], row[1]): Value(row[2], row[3]) for row in rows[:-1]}

    def table(
        self, scope: Sequence[str], keys: Sequence[str], names: Sequence[str], root: str
    ) -> Dict[Tuple[str, str], Value]:
        """Some properties of several objects, by name and property.

        Like :meth:`values`: one command for all, and more where that could be misread.

        :param scope: options of zfs get that choose these objects.
        :param names: what they are called, in the order of zfs.
        """
        found = self._at_once(scope, keys, names, root)
        if found is not None:
            return found
        if len(names) > 1:
            found = {}
            for name in names:
                found.update(self.table([], keys, [name], name))
            return found
        argv = ["zfs", "get", "-H", "-o", "source", ",".join(keys), names[0]]
        sources = self.runner.ask(argv, "see who set properties of {0}".format(names[0])).out.split("\n")
        values = self.values(names[0], keys)
        return {(names[0], key): Value(source, values[key]) for key, source in zip(keys, sources)}

    def delegations(self, dataset: str) -> str:
        """What zfs-allow(8) says of a dataset: its own permissions and those that come from above."""
        return self.runner.ask(["zfs", "allow", dataset], "see who may do what with {0}".format(dataset)).out

    def lineage(self, pool: str) -> List[Tuple[str, str, Optional[str], str]]:
        """Guid, kind, origin and name of every dataset of a pool, parents first."""
        argv = ["zfs", "list", "-Hp", "-r", "-t", DATASETS, "-o", "guid,type,origin,name", pool]
        rows = self.runner.ask(argv, "list the datasets of {0}".format(pool)).rows()
        return [(guid, kind, _optional(origin), name) for guid, kind, origin, name in rows]

    def written_since(self, root: str, tag: str) -> Dict[str, int]:
        """Bytes written to *root* and each dataset below it since its snapshot *tag* (``written@tag``)."""
        argv = ["zfs", "get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "name,value", "written@" + tag, root]
        return {row[0]: _number(row[1]) for row in self.runner.ask(argv, "see what was written").rows()}

    def holds(self, snapshots: Iterable[str]) -> List[Hold]:
        """The holds on the given snapshots."""
        names = list(snapshots)
        if not names:
            return []
        result = self.runner.query(["zfs", "holds", "-H"] + names)
        if is_missing(result):  # one that is gone meanwhile has none, and says nothing of the others
            return [hold for name in names for hold in self.holds([name])] if len(names) > 1 else []
        if result.rc != 0:
            raise unexpected(result, "list the holds")
        rows = result.rows()
        # a tag may hold nearly anything: what follows a line end in one names no snapshot
        return [Hold(row[0], row[1]) for row in rows if len(row) > 1 and row[0] in names]

    # changing

    def take(
        self,
        names: Sequence[str],
        recursive: bool = False,
        properties: Optional[Mapping[str, str]] = None,
        safe: str = "no snapshot was taken, nothing was changed",
    ) -> None:
        """Take snapshots, all in one transaction group: either all of them come to be or none.

        :param safe: what is safe when it fails.
        """
        argv = ["zfs", "snapshot"] + (["-r"] if recursive else [])
        for key, value in sorted((properties or {}).items()):
            argv += ["-o", "{0}={1}".format(key, value)]
        self.runner.change(
            argv + list(names),
            "take the snapshot {0}".format(" ".join(names)),
            safe=safe,
        )

    def hold(self, tag: str, names: Sequence[str], recursive: bool = False) -> None:
        """Put a hold on snapshots that do not have it yet.

        :param recursive: also on the snapshots of that name below; ``zfs hold -r`` takes all of them or none, and none
            when one of them has the tag already.
        """
        if names:
            argv = ["zfs", "hold"] + (["-r"] if recursive else []) + [tag]
            self.runner.change(argv + list(names), "hold {0}".format(", ".join(names)))

    def bookmark(self, snapshot: str, name: str) -> None:
        """Note a snapshot, so that a stream can begin there when it is gone (zfs-bookmark(8))."""
        self.runner.change(["zfs", "bookmark", snapshot, name], "make the bookmark {0}".format(name))

    def destroy_bookmark(self, name: str) -> None:
        """Destroy exactly one bookmark."""
        if "#" not in name:
            raise FleetError("{0!r} does not name a bookmark".format(name))
        self.runner.change(["zfs", "destroy", name], "destroy the bookmark {0}".format(name))

    def release(self, tag: str, name: str, recursive: bool = False) -> None:
        """Take a hold off a snapshot; one that is not there is fine."""
        result = self.runner.attempt(["zfs", "release"] + (["-r"] if recursive else []) + [tag, name])
        if result.rc != 0 and "no such tag on this dataset" not in result.err and not is_missing(result):
            raise unexpected(result, "release {0}".format(name))

    def destroy_snapshot(self, name: str) -> None:
        """Destroy exactly one snapshot; zfs refuses when it is held or has clones, and so does this."""
        if "@" not in name or "%" in name or "," in name:
            raise FleetError("{0!r} does not name one snapshot".format(name))
        self.runner.change(["zfs", "destroy", name], "destroy the snapshot {0}".format(name))

    def destroy(self, name: str) -> None:
        """Destroy exactly one dataset; zfs refuses when anything is below it or it has snapshots, and so does this."""
        if "@" in name or "#" in name or "/" not in name:
            raise FleetError("{0!r} does not name one dataset below a pool".format(name))
        self.runner.change(["zfs", "destroy", name], "destroy the dataset {0}".format(name))

    def rename(self, old: str, new: str) -> None:
        self.runner.change(["zfs", "rename", old, new], "rename {0} to {1}".format(old, new))

    def clone(self, snapshot: str, new: str, properties: Optional[Mapping[str, str]] = None) -> None:
        argv = ["zfs", "clone"]
        for key, value in sorted((properties or {}).items()):
            argv += ["-o", "{0}={1}".format(key, value)]
        self.runner.change(argv + [snapshot, new], "clone {0} to {1}".format(snapshot, new))

    def promote(self, name: str) -> None:
        self.runner.change(["zfs", "promote", name], "promote {0}".format(name))

    def create(self, name: str, properties: Optional[Mapping[str, str]] = None, parents: bool = False) -> None:
        argv = ["zfs", "create"] + (["-p"] if parents else [])
        for key, value in sorted((properties or {}).items()):
            argv += ["-o", "{0}={1}".format(key, value)]
        self.runner.change(argv + [name], "create the dataset {0}".format(name))

    def set(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Set several properties at once.

        All or none, as long as the kernel refuses no single one of them: after such a refusal it sets the others one by
        one (``zfs_set_prop_nvlist()`` in ``zfs_ioctl.c``). It does not refuse user properties that are short enough.
        """
        if properties:
            pairs = ["{0}={1}".format(key, value) for key, value in sorted(properties.items())]
            self.runner.change(["zfs", "set"] + pairs + [dataset], "set properties of {0}".format(dataset))

    def unset(self, dataset: str, keys: Iterable[str]) -> None:
        """Remove user properties (``zfs inherit``), one command each: zfs takes only one name."""
        for key in sorted(keys):
            self.runner.change(["zfs", "inherit", key, dataset], "remove {0} of {1}".format(key, dataset))

    def reset(self, dataset: str, key: str) -> None:
        """Forget what was set on a dataset: the property is received, inherited or has its default again."""
        self.runner.change(["zfs", "inherit", "-S", key, dataset], "reset {0} of {1}".format(key, dataset))

    def limit(self, dataset: str, key: str, value: str) -> Optional[str]:
        """Set a limit or a reservation, unless there is no room for it.

        :returns: why it could not be set.
        """
        result = self.runner.attempt(["zfs", "set", "{0}={1}".format(key, value), dataset])
        if result.rc != 0:
            return str(unexpected(result, "set {0} of {1}".format(key, dataset)))
        return None

    def allow(self, dataset: str, arguments: Sequence[str]) -> None:
        """Delegate permissions, with the arguments of zfs-allow(8)."""
        self.runner.change(["zfs", "allow", *arguments, dataset], "delegate permissions on {0}".format(dataset))

    def rollback(self, snapshot: str, destroy_newer: bool = False, destroy_clones: bool = False) -> None:
        """Roll a dataset back in place."""
        argv = ["zfs", "rollback"]
        if destroy_clones:
            argv.append("-R")
        elif destroy_newer:
            argv.append("-r")
        self.runner.change(argv + [snapshot], "roll back to {0}".format(snapshot))


_UNITS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([BKMGTPE]?)B?", re.IGNORECASE)


def _canonical(value: str) -> str:
    """A value in a form that can be compared: sizes in bytes, ``none`` of a size as 0."""
    match = _SIZE.fullmatch(value)
    if match:
        return str(int(float(match.group(1)) * 1024 ** _UNITS[match.group(2).upper()]))
    return "0" if value == "none" else value


def same_value(now: str, wanted: str) -> bool:
    """Whether a property has the wanted value already, as ``zfs get -p`` prints it.

    ``none`` is printed as 0 for sizes such as quota, but as itself for a mountpoint.
    """
    return now == wanted or _canonical(now) == _canonical(wanted)


def ensure_dataset(zfs: Zfs, name: str, wanted: Mapping[str, str]) -> Tuple[Optional[Dict[str, str]], Dict[str, str]]:
    """Make a file system exist with the wanted properties.

    :returns: the properties before (``None`` when it was created) and after, of those that were changed.
    """
    if zfs.dataset(name) is None:
        zfs.create(name, wanted)
        return None, dict(wanted)
    now = zfs.values(name, wanted)
    differing = {key: value for key, value in wanted.items() if not same_value(now.get(key, ""), value)}
    zfs.set(name, differing)
    return {key: now.get(key, "") for key in differing}, differing
