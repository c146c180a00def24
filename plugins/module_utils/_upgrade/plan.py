# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting data back without losing any: the plan, as data.

``zfs rollback -r`` destroys what came after a snapshot. Here the live dataset is renamed aside instead, the snapshot
is cloned in its place and the clone promoted; what was live before stays under the aside name until somebody prunes it.

The plan is a list of small steps, each of which can tell by itself whether it is already done. So it can be broken off
at any point, by a power cut too, and started again from its first step. It is made *before* anything goes wrong and
kept in the journal, where the early boot hook finds it: the hook is /bin/sh and only knows how to do one step
(``roles/image/files/…/extract``), never how to make a plan. :func:`perform` does the same steps from a module.

Source: zfs-rename(8), zfs-clone(8), zfs-promote(8); the order was tried on FreeBSD 13.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Dataset, Zfs

#: datasets with this value of nanozfs:rollback stay as they are when the data around them goes back
KEEP = "keep"

#: a user property holds at most this many bytes (ZAP_MAXVALUELEN, zfsprops(7): "limited to 8192 bytes")
MAX_STEP = 8191

#: Bytes that are kept for putting data back in a full pool. A clone takes some hundred KiB, on a wide raidz too.
RESERVE = 32 << 20

#: properties that only zfs create takes; a clone has them from its origin (zfsprops(7))
_NOT_FOR_CLONES = (
    "utf8only",
    "normalization",
    "casesensitivity",
    "volblocksize",
    "version",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
)


@dataclass(frozen=True)
class Step:
    """One step.

    ``free NAME``: give up the space that NAME reserves, if it is there.
    ``create NAME``: make NAME, unless it is there.
    ``rename OLD NEW [GUARD]``: unless NEW is there, and only if OLD (and GUARD) is.
    ``clone SNAPSHOT NEW [KEY=VALUE ...]``: unless NEW is there.
    ``promote NAME SNAPSHOT``: only while SNAPSHOT is NAME's origin.
    """

    verb: str
    words: Tuple[str, ...]

    def encode(self) -> str:
        """The step as one property value: its words with tabs between.

        :raises FleetError: when a word holds a tab or a line end, or the step is too long.
        """
        text = "\t".join((self.verb,) + self.words)
        if any(character in word for word in self.words for character in "\t\n"):
            raise FleetError("the step {0!r} cannot be written into the journal: tab or line end".format(text))
        if len(text.encode("utf-8")) > MAX_STEP:
            raise FleetError("the step {0} of the data plan is too long for the journal".format(text[:60]))
        return text

    def __str__(self) -> str:
        return " ".join((self.verb,) + self.words)


def decode(text: str) -> Step:
    """The opposite of :meth:`Step.encode`.

    :raises FleetError: when it is no step.
    """
    verb, *words = text.split("\t")
    minimum = {"free": 1, "create": 1, "rename": 2, "clone": 2, "promote": 2}.get(verb)
    if minimum is None or len(words) < minimum:
        raise FleetError("the journal holds {0!r}, which is no step of a data plan".format(text))
    return Step(verb, tuple(words))


def with_reserve(steps: Sequence[Step], reserve: str) -> List[Step]:
    """The same plan for a pool that may have been filled up meanwhile: at first it frees what was reserved for it.

    A full pool still lets a dataset be renamed but none be created (``zfs_space_check_t`` in ``dsl_synctask.h``):
    without this a plan could stop half way through.

    :param reserve: a dataset that reserves :data:`RESERVE` bytes and holds nothing.
    """
    return [Step("free", (reserve,)), *steps] if steps else []


@dataclass(frozen=True)
class Branch:
    """A dataset to put back, and those below it.

    :param name: full name.
    :param children: names of the datasets below it *that are part of the snapshot*, parents first.
    :param keep: those of them that stay as they are, each with all that is below it.
    :param properties: local properties by dataset; a clone does not take them from its origin.
    """

    name: str
    children: Tuple[str, ...]
    keep: Tuple[str, ...]
    properties: Mapping[str, Mapping[str, str]]


def put_back(branches: Sequence[Branch], snapshot: str, aside: str) -> List[Step]:
    """The plan that makes every branch what it was at *snapshot* and keeps what it is now under *aside*.

    :param snapshot: the part after the @; every branch and every child that is not kept must have it.
    :param aside: a dataset name; the branches end up right below it, under their last name component.
    """
    if not branches:
        return []
    steps = [Step("create", (aside,))]
    for branch in branches:
        moved = _aside_name(branch.name, aside)
        steps.append(Step("rename", (branch.name, moved)))
        kept: List[str] = []
        for name in (branch.name,) + branch.children:
            if any(name == each or name.startswith(each + "/") for each in kept):
                continue
            old = moved + name[len(branch.name) :]
            if name in branch.keep:
                kept.append(name)
                steps.append(Step("rename", (old, name)))
                continue
            source = "{0}@{1}".format(old, snapshot)
            properties = tuple("{0}={1}".format(*pair) for pair in sorted(branch.properties.get(name, {}).items()))
            steps.append(Step("clone", (source, name) + properties))
            steps.append(Step("promote", (name, source)))
    return steps


def undo(branches: Sequence[Branch], snapshot: str, aside: str, leftover: str) -> List[Step]:
    """The plan that takes back :func:`put_back` with the same arguments, from whatever point it reached.

    What the undone state held is kept under *leftover*.
    """
    if not branches:
        return []
    steps = [Step("create", (leftover,))]
    for branch in branches:
        moved = _aside_name(branch.name, aside)
        left = _aside_name(branch.name, leftover)
        kept = [name for name in branch.children if name in branch.keep]
        kept = [name for name in kept if not any(name.startswith(other + "/") for other in kept)]
        for name in reversed(kept):
            steps.append(Step("rename", (name, moved + name[len(branch.name) :], moved)))
        steps.append(Step("rename", (branch.name, left, moved)))
        steps.append(Step("rename", (moved, branch.name)))
        for name in (branch.name,) + branch.children:
            if any(name == each or name.startswith(each + "/") for each in kept):
                continue
            origin = "{0}@{1}".format(left + name[len(branch.name) :], snapshot)
            steps.append(Step("promote", (name, origin)))
    return steps


def _aside_name(name: str, aside: str) -> str:
    return "{0}/{1}".format(aside, name.rsplit("/", 1)[1] if "/" in name else name)


def check_branch(zfs: Zfs, name: str) -> List[Dataset]:
    """The dataset and those below it, if they can be put back at all.

    :raises Refused: when the dataset is missing, or when one of those that go back has a mountpoint of its own:
        ``zfs mount -a`` would then mount both what is live and what was put aside.
    """
    datasets = zfs.datasets(name)
    if not datasets:
        raise Refused(
            "there is no dataset {0}".format(name),
            safe="nothing was changed",
            todo="name those that are there (zfs list -r)",
        )
    for each in datasets:
        if (each.name == name or each.policy != KEEP) and each.mountpoint not in ("legacy", "none", "-"):
            raise Refused(
                "{0} has a mountpoint of its own ({1})".format(each.name, each.mountpoint),
                safe="nothing was changed",
                todo="set mountpoint=legacy on it, or nanozfs:rollback=keep, or move it elsewhere in the pool",
            )
    return datasets


def branch_of(zfs: Zfs, name: str, snapshot: str, moved_to: Optional[str] = None) -> Branch:
    """Look at a dataset and say how it would be put back.

    :param moved_to: where an earlier run, which was broken off, has put the dataset already.
    :raises Refused: when the dataset or its snapshot is missing, and see :func:`check_branch`.
    """
    here = moved_to or name
    datasets = check_branch(zfs, here)
    # promoting moves a snapshot from what was put aside to the clone in its place: it may be in either tree
    snapped = {
        each.dataset[len(root) :]
        for root in ([here] if here == name else [here, name])
        for each in zfs.snapshots(root, recursive=True)
        if each.tag == snapshot
    }
    if "" not in snapped:
        raise Refused("there is no snapshot {0}@{1}".format(here, snapshot), safe="nothing was changed")
    children, keep, properties = [], [], {}
    for each in datasets:
        below = each.name[len(here) :]
        if below and each.policy == KEEP:  # inherited: marking a parent marks what is below it
            keep.append(name + below)
            children.append(name + below)
        elif below in snapped:
            properties[name + below] = _local(zfs, each.name)
            if below:
                children.append(name + below)
    return Branch(name=name, children=tuple(children), keep=tuple(keep), properties=properties)


def _local(zfs: Zfs, name: str) -> Dict[str, str]:
    """The properties that were set on the dataset itself and can be given to a clone."""
    return {
        key: value
        for key, value in zfs.properties(name, sources="local,received").items()
        if key not in _NOT_FOR_CLONES
    }


class _Datasets:
    """Which datasets exist and what they are clones of: asked every time, or in check mode, as it would be by then."""

    def __init__(self, zfs: Zfs, pool: str) -> None:
        self._zfs = zfs
        self._simulated: Optional[Dict[str, Optional[str]]] = None
        if zfs.runner.check_mode:
            self._simulated = {each.name: each.origin for each in zfs.datasets(pool)}

    def __contains__(self, name: str) -> bool:
        if self._simulated is not None:
            return name in self._simulated
        return self._zfs.dataset(name) is not None

    def origin(self, name: str) -> Optional[str]:
        """The snapshot that a dataset is a clone of."""
        if self._simulated is not None:
            return self._simulated.get(name)
        dataset = self._zfs.dataset(name)
        return dataset.origin if dataset else None

    def made(self, name: str, origin: Optional[str] = None) -> None:
        """A dataset was created or cloned."""
        if self._simulated is not None:
            self._simulated[name] = origin

    def moved(self, old: str, new: str) -> None:
        """A dataset was renamed, with all below it and with its snapshots, which others may be clones of."""

        def now(name: str) -> str:
            return new + name[len(old) :] if re.match(re.escape(old) + "([/@]|$)", name) else name

        if self._simulated is not None:
            self._simulated = {now(name): origin and now(origin) for name, origin in self._simulated.items()}


def perform(zfs: Zfs, steps: Sequence[Step]) -> int:
    """Do what is still to be done of a plan, in order; the same conditions as in the early hook.

    In check mode nothing is done but everything is recorded.

    :returns: how many steps were done.
    :raises CommandError: when zfs refuses a step; start again from the first step afterwards.
    """
    if not steps:
        return 0
    datasets = _Datasets(zfs, steps[0].words[0].split("/", 1)[0])
    return sum(_perform(zfs, datasets, step) for step in steps)


def _perform(zfs: Zfs, datasets: _Datasets, step: Step) -> bool:
    """Do one step, unless it is done; whether it was to be done."""
    words = step.words
    if step.verb == "free":
        if words[0] not in datasets:
            return False
        zfs.set(words[0], {"reservation": "none"})
    elif step.verb == "create":
        if words[0] in datasets:
            return False
        zfs.create(words[0], {"canmount": "off", "mountpoint": "none"}, parents=True)
        datasets.made(words[0])
    elif step.verb == "rename":
        old, new = words[0], words[1]
        if new in datasets or old not in datasets or (len(words) > 2 and words[2] not in datasets):
            return False
        zfs.rename(old, new)
        datasets.moved(old, new)
    elif step.verb == "clone":
        if words[1] in datasets:
            return False
        zfs.clone(words[0], words[1], dict(_pair(word) for word in words[2:]))
        datasets.made(words[1], words[0])
    else:
        if datasets.origin(words[0]) != words[1]:
            return False
        zfs.promote(words[0])
    return True


def _pair(word: str) -> Tuple[str, str]:
    key, _equals, value = word.partition("=")
    return key, value
