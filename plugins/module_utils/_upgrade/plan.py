# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Putting data back without losing any: the plan, as data.

``zfs rollback -r`` destroys what came after a snapshot. Here the live dataset is renamed aside instead, the snapshot
is cloned in its place and the clone promoted; what was live before stays under the aside name until somebody prunes it.

The plan is a list of small steps, each of which can tell by itself whether it is already done. So it can be broken off
at any point, by a power cut too, and started again from its first step. A name that is there says nothing about that:
datasets are known by their guids, wherever they were renamed to, and clones by what they are clones of. The plan is
made *before* anything goes wrong and kept in the journal, where the early boot hook finds it: the hook is /bin/sh and
only knows how to do one step (``roles/image/files/…/pool.subr``), never how to make a plan. :func:`perform` does the
same steps from a module.

A clone takes nothing from its origin but the data. So it gets the properties and the delegated permissions of what it
replaces: those that matter for mounts when it is made, the others after it was promoted, and limits and reservations
only when what was put aside has given its own up. What was put aside is sealed: nothing mounts it by itself, nothing
writes to it, and it keeps no space free.

Source: zfs-rename(8), zfs-clone(8), zfs-promote(8); the order was tried on FreeBSD 13.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import delegation
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    DATASETS,
    MADE_BY,
    MAKER,
    POLICY,
    Dataset,
    Value,
    Zfs,
    check_dataset_name,
    same_value,
)

#: datasets with this value of nanozfs:rollback stay as they are when the data around them goes back; with the other
#: value, or none, they go back with it
KEEP, REVERT = "keep", "revert"

#: a user property holds at most this many bytes (ZAP_MAXVALUELEN, zfsprops(7): "limited to 8192 bytes")
MAX_STEP = 8191

#: names of datasets and of snapshots are at most this long (ZFS_MAX_DATASET_NAME_LEN, with the byte that ends them)
MAX_NAME = 255

#: Bytes that are kept for putting data back in a full pool. A clone takes some hundred KiB, on a wide raidz too.
RESERVE = 32 << 20

#: names below the root that are not data
OWN_NAMES = ("failed", "next", "reserve")

#: what a clone has to be told when it is made, or it might be mounted
_AT_BIRTH = ("canmount", "mountpoint")

#: set after everything else, when there is room for them again; parents first
_LIMITS = ("quota", "refquota", "filesystem_limit", "snapshot_limit", "reservation", "refreservation")

#: what seals a dataset; a volume knows no canmount
_SEAL = {"canmount": "noauto", "readonly": "on", "reservation": "none", "refreservation": "none"}

#: properties that only zfs create takes, or that go with the data; a clone has them from its origin (zfsprops(7))
_NOT_FOR_CLONES = (
    "utf8only",
    "normalization",
    "casesensitivity",
    "volblocksize",
    "volsize",
    "version",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
)

_SAFE = "nothing was changed"

#: how many words each step has at least
_VERBS = {
    "free": 1,
    "create": 1,
    "holder": 1,
    "rename": 3,
    "away": 3,
    "clone": 3,
    "promote": 3,
    "reclaim": 2,
    "set": 2,
    "reset": 2,
    "limit": 2,
    "allow": 2,
    "seal": 1,
}


#: these move and make nothing
_OF_PROPERTIES = ("free", "set", "reset", "limit", "allow", "seal")


def quote(word: str) -> str:
    r"""A word as printf(1) takes it for ``%b``: what is not printable ASCII, and the backslash, as ``\0ooo``."""
    data = word.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else "\\0{0:03o}".format(byte) for byte in data)


def unquote(text: str) -> str:
    """The opposite of :func:`quote`.

    :raises FleetError: when it is not what that makes.
    """
    if not re.fullmatch(r"(?:[ -\[\]-~]|\\0[0-3][0-7]{2})*", text):
        raise FleetError("{0!r} is no word of a data plan".format(text))
    data = re.sub(rb"\\0([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), text.encode("ascii"))
    return data.decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Step:
    """One step. Where it finds something else than what is described here, it fails and changes nothing.

    ``free NAME``: give up the space that NAME reserves, if it is there.
    ``create NAME``: make NAME to hold what is put aside, unless it is there.
    ``holder NAME``: make NAME, which only holds others, unless it is there.
    ``rename GUID OLD NEW``: give the dataset GUID, which was called OLD, the name NEW, unless it has it.
    ``away GUID NAME LEFT``: rename what is called NAME to LEFT, unless that is GUID itself, or nothing.
    ``clone GUID TAG NEW [KEY=VALUE ...]``: clone the snapshot TAG of the dataset GUID, unless NEW is that clone.
    ``promote NEW GUID TAG``: promote NEW, that clone, unless GUID has become the clone of the two.
    ``reclaim NAME SNAPSHOT``: promote NAME, only while SNAPSHOT is its origin.
    ``set NAME KEY=VALUE ...``: set properties.
    ``reset NAME KEY ...``: forget what was set.
    ``limit NAME KEY=VALUE ...``: set limits and reservations, as far as there is room for them.
    ``allow NAME ARGUMENT ...``: delegate permissions (zfs-allow(8)).
    ``seal NAME``: let nothing mount what is called NAME, or below it, or write to it, and let it reserve nothing.
    """

    verb: str
    words: Tuple[str, ...]

    def encode(self) -> str:
        """The step as one property value: its words with tabs between, and nothing else in them that separates.

        :raises FleetError: when it is too long.
        """
        text = "\t".join((self.verb, *map(quote, self.words)))
        if len(text) > MAX_STEP:
            raise FleetError("the step {0} of the data plan is too long for the journal".format(text[:60]))
        return text

    def __str__(self) -> str:
        return " ".join((self.verb, *map(quote, self.words)))


def decode(text: str) -> Step:
    """The opposite of :meth:`Step.encode`.

    :raises FleetError: when it is no step.
    """
    verb, *words = text.split("\t")
    if len(words) < _VERBS.get(verb, MAX_STEP) or not all(words):
        raise FleetError("the journal holds {0!r}, which is no step of a data plan".format(text))
    return Step(verb, tuple(map(unquote, words)))


def with_reserve(steps: Sequence[Step], reserve: str) -> List[Step]:
    """The same plan for a pool that may have been filled up meanwhile: at first it frees what was reserved for it.

    A full pool still lets a dataset be renamed but none be created (``zfs_space_check_t`` in ``dsl_synctask.h``):
    without this a plan could stop half way through.

    :param reserve: a dataset that reserves :data:`RESERVE` bytes and holds nothing.
    """
    return [Step("free", (reserve,)), *steps] if steps else []


@dataclass(frozen=True)
class Member:
    """A dataset of a branch.

    :param keep: it stays as it is, with all that is below it.
    :param back: it is part of the snapshot, and goes back.
    :param properties: its own, which a clone does not take from its origin.
    :param permissions: arguments of zfs-allow(8) that delegate them once more.
    """

    name: str
    guid: str
    volume: bool = False
    keep: bool = False
    back: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)
    permissions: Tuple[delegation.Arguments, ...] = ()

    def pairs(self, wanted: Callable[[str], bool]) -> List[str]:
        """Properties as words of a step."""
        return ["{0}={1}".format(key, value) for key, value in sorted(self.properties.items()) if wanted(key)]


@dataclass(frozen=True)
class Branch:
    """A dataset to put back, and those below it.

    :param path: what it is called below the aside.
    :param members: itself and everything below it, parents first.
    """

    name: str
    path: str
    members: Tuple[Member, ...]

    def moved(self, aside: str) -> str:
        """What it is called when it was put aside."""
        return "{0}/{1}".format(aside, self.path)

    @property
    def kept(self) -> List[Member]:
        """What stays as it is; not what is below that."""
        tops: List[Member] = []
        for each in self.members:
            if each.keep and not any(each.name.startswith(top.name + "/") for top in tops):
                tops.append(each)
        return tops

    def holders(self, above: str, there: Set[str]) -> List[Step]:
        """Makes what is missing between the branch and a dataset; *there* is what needs not be made."""
        missing = [name for name in _parents(self.name, above) if name not in there]
        there.update(missing)
        return [Step("holder", (name,)) for name in missing]


def _parents(top: str, name: str) -> List[str]:
    """The names between two datasets, the one above first."""
    parts = name[len(top) + 1 :].split("/")
    return ["/".join([top, *parts[:size]]) for size in range(1, len(parts))]


def _in_steps(verb: str, name: str, words: Sequence[str]) -> List[Step]:
    """Words in as few steps as the journal can hold."""
    steps: List[Step] = []
    chosen: List[str] = []
    room = MAX_STEP - len(verb) - len(quote(name)) - 1
    used = 0
    for word in words:
        size = len(quote(word)) + 1
        if chosen and used + size > room:
            steps.append(Step(verb, (name, *chosen)))
            chosen, used = [], 0
        chosen.append(word)
        used += size
    return [*steps, Step(verb, (name, *chosen))] if chosen else steps


def put_back(branches: Sequence[Branch], snapshot: str, aside: str) -> List[Step]:
    """The plan that makes every branch what it was at *snapshot* and keeps what it is now under *aside*.

    :param snapshot: the part after the @. It need not be there yet; what comes to be in a branch before it is taken is
        put aside with it.
    :param aside: a dataset name.
    """
    if not branches:
        return []
    steps, limits = [Step("create", (aside,))], []
    for branch in branches:
        moved = branch.moved(aside)
        steps += [Step("create", (each,)) for each in _parents(aside, moved)]
        steps.append(Step("rename", (branch.members[0].guid, branch.name, moved)))
        kept = branch.kept
        there = {branch.name}
        for each in branch.members:
            if each in kept:
                steps += branch.holders(each.name, there)
                steps.append(Step("rename", (each.guid, moved + each.name[len(branch.name) :], each.name)))
            elif each.back and not each.keep:
                steps += branch.holders(each.name, there)
                there.add(each.name)
                steps += _replace(each, snapshot)
                limits += _limits(each)
        steps.append(Step("seal", (moved,)))
    return steps + limits


def _replace(member: Member, snapshot: str) -> List[Step]:
    born = member.pairs(lambda key: key in _AT_BIRTH)
    later = member.pairs(lambda key: key not in _AT_BIRTH + _LIMITS)
    return [
        Step("clone", (member.guid, snapshot, member.name, *born)),
        Step("promote", (member.name, member.guid, snapshot)),
        *_in_steps("set", member.name, later),
        *[Step("allow", (member.name, *arguments)) for arguments in member.permissions],
    ]


def _limits(member: Member, keys: Sequence[str] = _LIMITS) -> List[Step]:
    pairs = ["{0}={1}".format(key, member.properties[key]) for key in keys if key in member.properties]
    return _in_steps("limit", member.name, pairs)


def undo(branches: Sequence[Branch], snapshot: str, aside: str, leftover: str) -> List[Step]:
    """The plan that takes back :func:`put_back` with the same arguments, from whatever point it reached.

    What the undone state held is kept under *leftover*.
    """
    if not branches:
        return []
    steps, limits = [Step("create", (leftover,))], []
    for branch in branches:
        top, left = branch.members[0], branch.moved(leftover)
        steps += [Step("create", (each,)) for each in _parents(leftover, left)]
        steps.append(Step("away", (top.guid, branch.name, left)))
        steps.append(Step("rename", (top.guid, branch.moved(aside), branch.name)))
        steps += [Step("rename", (each.guid, each.name, each.name)) for each in branch.kept]
        others = [each for each in branch.members if not each.keep]
        for each in others:
            if each.back:
                origin = "{0}@{1}".format(left + each.name[len(branch.name) :], snapshot)
                steps.append(Step("reclaim", (each.name, origin)))
        steps.append(Step("seal", (left,)))
        for each in others:
            steps += _unseal(each)
            limits += _limits(each, ("reservation", "refreservation"))
    return steps + limits


def _unseal(member: Member) -> List[Step]:
    """Makes the properties that sealing changes what they were."""
    keys = ("readonly",) if member.volume else ("canmount", "readonly")
    lost = [key for key in keys if key not in member.properties]
    return [
        *_in_steps("set", member.name, member.pairs(lambda key: key in keys)),
        *_in_steps("reset", member.name, lost),
    ]


# looking


def _refuse(what: str, todo: str) -> Refused:
    return Refused(what, safe=_SAFE, todo=todo)


def check_branch(zfs: Zfs, name: str) -> List[Dataset]:
    """The dataset and those below it, if they can be put back at all.

    :raises Refused: when the dataset is missing; when a policy is none, or contradicts another; or when one of those
        that go back has a mountpoint of its own: ``zfs mount -a`` would then mount both what is live and what was put
        aside.
    """
    datasets = zfs.datasets(name)
    if not datasets:
        raise _refuse("there is no dataset {0}".format(name), "name those that are there (zfs list -r)")
    kept: List[str] = []
    for each in datasets:
        _check_policy(each, name, kept)
        if each.policy == KEEP:
            kept.append(each.name)
        elif each.mountpoint not in ("legacy", "none", "-"):
            raise _refuse(
                "{0} has a mountpoint of its own ({1})".format(each.name, each.mountpoint),
                "set mountpoint=legacy on it, or nanozfs:rollback=keep, or move it elsewhere in the pool",
            )
    return datasets


def _check_policy(dataset: Dataset, top: str, kept: Sequence[str]) -> None:
    if dataset.policy not in (None, KEEP, REVERT):
        raise _refuse(
            "{0} has {1}={2!r}, which is neither {3} nor {4}".format(
                dataset.name, POLICY, dataset.policy, REVERT, KEEP
            ),
            "set it to one of these, or remove it (zfs inherit {0} {1})".format(POLICY, dataset.name),
        )
    if dataset.policy == KEEP and dataset.name == top:
        raise _refuse(
            "{0} is to go back, and has {1}={2}".format(dataset.name, POLICY, KEEP),
            "set it to {0}, or leave the dataset out".format(REVERT),
        )
    above = next((each for each in kept if dataset.name.startswith(each + "/")), None)
    if above is not None and dataset.policy != KEEP:
        raise _refuse(
            "{0} is to go back, and {1} above it stays as it is".format(dataset.name, above),
            "set {0} of both to the same, or move one of them elsewhere".format(POLICY),
        )


def branch_of(zfs: Zfs, name: str, snapshot: Optional[str] = None, base: Optional[str] = None) -> Branch:
    """Look at a dataset and say how it would be put back.

    :param snapshot: the part after the @ of one that is there; what does not have it came later. By default one that
        will be taken of everything.
    :param base: the dataset below which names are mirrored by what is put aside; by default the one right above.
    :raises Refused: when the dataset or its snapshot is missing, when something about it could not be put back, and see
        :func:`check_branch`.
    """
    datasets = check_branch(zfs, name)
    snapped = {each.name for each in datasets}
    if snapshot is not None:
        snapped = {each.dataset for each in zfs.snapshots(name, recursive=True) if each.tag == snapshot}
        if name not in snapped:
            raise _refuse(
                "there is no snapshot {0}@{1}".format(name, snapshot), "see what there is (zfs list -t snapshot)"
            )
    members = [_member(zfs, each, each.name in snapped) for each in datasets]
    path = name[len(base if base is not None else name.rpartition("/")[0]) :].lstrip("/")
    return Branch(name, path, tuple(members))


def _member(zfs: Zfs, dataset: Dataset, back: bool) -> Member:
    keep = dataset.policy == KEEP  # inherited: marking a parent marks what is below it
    if keep:
        return Member(dataset.name, dataset.guid, dataset.kind == "volume", keep, back)
    own = zfs.local_properties(dataset.name)
    return Member(
        name=dataset.name,
        guid=dataset.guid,
        volume=dataset.kind == "volume",
        back=back,
        properties={key: value for key, value in own.items() if key not in _NOT_FOR_CLONES},
        permissions=_permissions(zfs, dataset.name),
    )


def _permissions(zfs: Zfs, name: str) -> Tuple[delegation.Arguments, ...]:
    found, strange = delegation.parse(zfs.delegations(name), name)
    if strange:
        raise _refuse(
            "nobody here understands what was delegated on {0} (zfs allow): {1}".format(name, strange[0]),
            "delegate it to users and groups that this host knows, or take it away (zfs unallow)",
        )
    return tuple(found)


# trying


def check_names(root: str, names: Sequence[str]) -> None:
    """Refuse datasets that cannot go back together.

    :param names: below *root*.
    """
    for name in names:
        check_dataset_name("{0}/{1}".format(root, name))
        if name.split("/", 1)[0] in OWN_NAMES:
            raise _refuse("{0}/{1} is no dataset with data of its own".format(root, name), "leave it out")
        others = [each for each in names if each == name or name.startswith(each + "/")]
        if len(others) > 1:
            other = next((each for each in others if each != name), name)
            raise _refuse(
                "{0} is named twice: it goes back with {1}".format(name, other), "name each dataset once, by its top"
            )


def try_plan(
    zfs: Zfs,
    root: str,
    names: Sequence[str],
    tag: Optional[str] = None,
    aside: Optional[str] = None,
    restore: Optional[str] = None,
) -> List[Branch]:
    """Try the plan that would put datasets back after a trial, as far as that can be done without beginning it.

    Also the one of a rollback that puts them back to a snapshot of before, which is to be undone after its trial.

    :param names: of datasets, below *root*.
    :param tag: what the snapshot will be called, without dataset and @; it must not be there.
    :param aside: below which the failed state will be kept; it must not be there.
    :param restore: the part after the @ of the snapshot that data is put back to by a rollback.
    :returns: how they would be put back.
    :raises Refused: with the first thing that could not be put back.
    """
    check_names(root, names)
    branches = [branch_of(zfs, "{0}/{1}".format(root, name), restore, base=root) for name in names]
    if aside is not None and zfs.dataset(aside) is not None:
        raise _refuse("{0} is there already".format(aside), "prune what failed before, or rename it")
    snapshots = zfs.snapshots(root, recursive=True)
    taken = [each.name for each in snapshots if each.tag == tag]
    if taken:
        raise _refuse("the snapshot {0} is there already".format(taken[0]), "destroy or rename it")
    tag, aside = tag or "nz-0000-00000000", aside or root + "/failed/0000-00000000"
    _check_steps(branches, tag, aside)
    tags: Dict[str, List[str]] = {}
    for each in snapshots:
        tags.setdefault(each.dataset, []).append(each.tag)
    for branch in branches:
        for member in branch.members:
            moved = branch.moved(aside + "-undone") + member.name[len(branch.name) :]
            _check_length(member.name, moved, [tag, *tags.get(member.name, ())])
    _check_room(zfs, root)
    return branches


def _check_steps(branches: Sequence[Branch], tag: str, aside: str) -> None:
    for branch in branches:
        for member in branch.members:
            for key, value in member.properties.items():
                if len(quote(member.name + key + value)) + 16 > MAX_STEP:
                    raise _refuse(
                        "the property {0} of {1} is too long to be kept in a plan".format(key, member.name),
                        "shorten it, or set nanozfs:rollback=keep on the dataset",
                    )
    for step in put_back(branches, tag, aside) + undo(branches, tag, aside, aside + "-undone"):
        decode(step.encode())


def _check_length(name: str, moved: str, tags: Sequence[str]) -> None:
    if len(moved) + 1 + max(map(len, tags)) > MAX_NAME:
        raise _refuse(
            "{0}, or a snapshot of it, could not be put aside: its name would be longer than {1} bytes".format(
                name, MAX_NAME
            ),
            "rename it, or set nanozfs:rollback=keep on it",
        )


def _check_room(zfs: Zfs, root: str) -> None:
    """Refuse where no snapshot could be taken.

    What a dataset with a refreservation has written since its last snapshot is kept free once more by the next one
    (``dsl_dataset_snapshot_reserve_space()``).
    """
    datasets = zfs.datasets(root)
    names, keys = [each.name for each in datasets], ("refreservation", "written")
    now = zfs.table(["-r", "-t", DATASETS], keys, names, root)
    needed = {name: min(int(now[name, key].text) for key in keys) for name in names}
    largest = max(needed, key=lambda name: needed[name])
    if sum(needed.values()) > datasets[0].available:
        raise _refuse(
            "a snapshot of {0} would need {1} MiB because of the refreservation of {2}, more than is available".format(
                root, -(-sum(needed.values()) >> 20), largest
            ),
            "make room, or set refreservation=none on it",
        )


# doing


class _Entry(NamedTuple):
    """A dataset; ``real`` is its name on the host, or ``None`` where it was not really made."""

    guid: str
    kind: str
    origin: Optional[str]
    real: Optional[str]


class _Tree:
    """The datasets of a pool: as they are, read anew after each change, or in check mode, as they would be by then."""

    def __init__(self, zfs: Zfs, pool: str) -> None:
        self.zfs = zfs
        self._pool = pool
        self.entries: Dict[str, _Entry] = {}
        self._read()

    def _read(self) -> None:
        rows = self.zfs.lineage(self._pool)
        self.entries = {name: _Entry(guid, kind, origin, name) for guid, kind, origin, name in rows}

    def refresh(self) -> None:
        """See what there is now."""
        if not self.zfs.runner.check_mode:
            self._read()

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def of_guid(self, guid: str) -> str:
        """What a dataset is called.

        :raises FleetError: when it is not there.
        """
        found = next((name for name, each in self.entries.items() if each.guid == guid), None)
        if found is None:
            raise FleetError("there is no dataset with the guid {0} any more".format(guid))
        return found

    def origin(self, name: str) -> Optional[str]:
        """What a dataset is a clone of."""
        return self.entries[name].origin if name in self.entries else None

    def below(self, top: str) -> Iterator[Tuple[str, _Entry]]:
        """A dataset and those below it, parents first."""
        yield from sorted(each for each in self.entries.items() if (each[0] + "/").startswith(top + "/"))

    def made(self, name: str, kind: str, origin: Optional[str] = None) -> None:
        """A dataset was created or cloned."""
        self.entries[name] = _Entry("", kind, origin, None)

    def moved(self, old: str, new: str) -> None:
        """A dataset was renamed, with all below it and with its snapshots, which others may be clones of."""

        def now(name: str) -> str:
            return new + name[len(old) :] if re.match(re.escape(old) + "([/@]|$)", name) else name

        self.entries = {
            now(name): each._replace(origin=each.origin and now(each.origin)) for name, each in self.entries.items()
        }

    def promoted(self, name: str) -> None:
        """Clone and origin changed places."""
        dataset, _at, tag = str(self.entries[name].origin).partition("@")
        parent = self.entries[dataset]
        self.entries[dataset] = parent._replace(origin="{0}@{1}".format(name, tag))
        self.entries[name] = self.entries[name]._replace(origin=parent.origin)


class _Performer:
    """Does steps; each method is a verb, and says whether there was anything to do."""

    def __init__(self, zfs: Zfs, pool: str, notes: List[str]) -> None:
        self._zfs = zfs
        self._notes = notes
        self._tree = _Tree(zfs, pool)

    def perform(self, step: Step) -> bool:
        """Do one step, unless it is done; whether it was to be done."""
        verb: Callable[..., bool] = getattr(self, "_" + step.verb)
        done = verb(*step.words)
        if done and step.verb not in _OF_PROPERTIES:
            self._tree.refresh()
        return done

    @staticmethod
    def _fail(what: str) -> FleetError:
        return FleetError(
            "the data cannot be put back: " + what,
            safe="nothing is lost: every dataset is there, under its name or where it was put aside",
            todo="look at the datasets (zfs list -r -o name,origin), mend what stands in the way and run this again",
        )

    def _free(self, name: str) -> bool:
        if name not in self._tree or same_value(self._now(name, ["reservation"])["reservation"].text, "none"):
            return False
        self._zfs.set(name, {"reservation": "none"})
        return True

    def _create(self, name: str) -> bool:
        if name in self._tree:
            return False
        self._zfs.create(name, {"canmount": "off", "mountpoint": "none", MADE_BY: MAKER}, parents=True)
        self._tree.made(name, "filesystem")
        return True

    def _holder(self, name: str) -> bool:
        if name in self._tree:
            return False
        self._zfs.create(name, {"canmount": "off"})
        self._tree.made(name, "filesystem")
        return True

    def _rename(self, guid: str, _old: str, new: str) -> bool:
        here = self._tree.of_guid(guid)
        if here == new:
            return False
        if new in self._tree:
            raise self._fail("{0} is in the place of {1}, which is called {2}".format(new, guid, here))
        self._move(here, new)
        return True

    def _move(self, old: str, new: str) -> None:
        self._zfs.rename(old, new)
        self._tree.moved(old, new)

    def _away(self, guid: str, name: str, left: str) -> bool:
        if self._tree.of_guid(guid) == name or name not in self._tree:
            return False
        self._move(name, left)
        return True

    def _clone(self, guid: str, tag: str, new: str, *pairs: str) -> bool:
        source = self._tree.of_guid(guid)
        snapshot = "{0}@{1}".format(source, tag)
        if new in self._tree:
            if self._tree.origin(new) != snapshot and self._tree.origin(source) != "{0}@{1}".format(new, tag):
                raise self._fail("{0} is there, and is no clone of {1}".format(new, snapshot))
            return False
        self._zfs.clone(snapshot, new, dict(map(_pair, pairs)))
        self._tree.made(new, self._tree.entries[source].kind, snapshot)
        return True

    def _promote(self, new: str, guid: str, tag: str) -> bool:
        source = self._tree.of_guid(guid)
        if self._tree.origin(source) == "{0}@{1}".format(new, tag):
            return False
        if self._tree.origin(new) != "{0}@{1}".format(source, tag):
            raise self._fail("{0} is no clone of {1}@{2}".format(new, source, tag))
        self._zfs.promote(new)
        self._tree.promoted(new)
        return True

    def _reclaim(self, name: str, snapshot: str) -> bool:
        if self._tree.origin(name) != snapshot:
            return False
        self._zfs.promote(name)
        self._tree.promoted(name)
        return True

    def _now(self, name: str, keys: Sequence[str]) -> Dict[str, Value]:
        """Properties, by the name that the dataset has by now; of one that was not really made nobody knows any."""
        real = self._tree.entries[name].real if name in self._tree else None
        found = {} if real is None else self._zfs.table([], keys, [real], real)
        return {key: found.get((str(real), key), Value("-", "")) for key in keys}

    def _set(self, name: str, *pairs: str) -> bool:
        wanted = dict(map(_pair, pairs))
        now = self._now(name, list(wanted))
        differing = {key: value for key, value in wanted.items() if not now[key].own or now[key].text != value}
        self._zfs.set(name, differing)
        return bool(differing)

    def _reset(self, name: str, *keys: str) -> bool:
        own = [key for key, now in self._now(name, keys).items() if now.own]
        for key in own:
            self._zfs.reset(name, key)
        return bool(own)

    def _limit(self, name: str, *pairs: str) -> bool:
        wanted = dict(map(_pair, pairs))
        now = self._now(name, list(wanted))
        differing = {key: value for key, value in wanted.items() if not same_value(now[key].text, value)}
        for key, value in differing.items():
            problem = self._zfs.limit(name, key, value)
            if problem:
                self._notes.append(problem)
        return bool(differing)

    def _allow(self, name: str, *arguments: str) -> bool:
        real = self._tree.entries[name].real if name in self._tree else None
        given = delegation.parse(self._zfs.delegations(real), real)[0] if real is not None else []
        if delegation.covers(given, arguments):
            return False
        self._zfs.allow(name, arguments)
        return True

    def _seal(self, top: str) -> bool:
        done = False
        for name, each in list(self._tree.below(top)):
            wanted = {key: value for key, value in _SEAL.items() if key != "canmount" or each.kind != "volume"}
            now = self._now(name, list(wanted))
            differing = {
                key: value
                for key, value in wanted.items()
                # readonly is inherited, and reservations need not be set to nothing where there is none
                if not same_value(now[key].text, value) or not (now[key].own or value == "none")
            }
            self._zfs.set(name, differing)
            done = done or bool(differing)
        return done


def perform(zfs: Zfs, steps: Sequence[Step], notes: Optional[List[str]] = None) -> int:
    """Do what is still to be done of a plan, in order; the same conditions as in the early hook.

    In check mode nothing is done but everything is recorded.

    :param notes: gets what was left out because there is no room for it.
    :returns: how many steps were done.
    :raises FleetError: when a step cannot be done; start again from the first step afterwards.
    """
    if not steps:
        return 0
    first = steps[0]
    named = first.words[{"rename": 1, "away": 1, "clone": 2}.get(first.verb, 0)]
    performer = _Performer(zfs, named.split("/", 1)[0], [] if notes is None else notes)
    return sum(performer.perform(step) for step in steps)


def _pair(word: str) -> Tuple[str, str]:
    key, _equals, value = word.partition("=")
    return key, value
