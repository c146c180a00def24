# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One dataset that comes back to a host that is alive.

It is made below ``<pool>/nanozfs-restore`` and filled there. It can stay there, beside the live one, or take its place:
the live one is renamed aside, below ``<pool>/nanozfs/failed/restore-<id>``, and nothing of it is lost. What was below
the live one is moved to the new one, as it is.

The swap is a list of steps of the data plan (:mod:`plan` of the upgrade), which know datasets by their guids: it is
kept in properties of the new dataset before it is begun, and goes on from any point.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    MADE_BY,
    MAKER,
    Dataset,
    Zfs,
    check_dataset_name,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import grounds
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import ROOT, Description, Member
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.grounds import RECORD, Record
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import root_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step, decode, perform, unquote
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.snapshot import RESTORED

#: below the pool, what single datasets are restored below
TOP = "nanozfs-restore"

#: before the number of a step of the swap
STEP = RECORD + "."

#: these the host runs from, and nobody can take them away from under it
_NEEDED = ("cfg", "var")

_SAFE = "nothing was changed"


class Target(NamedTuple):
    """What is made of what.

    :param live: what the dataset is called on the host.
    :param new: what the restored one is called while it is filled.
    :param aside: what the live one is called then.
    """

    member: Member
    live: str
    new: str
    aside: str


def target(description: Description, name: str, ident: str) -> Target:
    """What is made.

    :param name: of the dataset, as a person gives it.
    :raises Refused: when the backup does not have it.
    """
    member = description.named(name)
    live = member.full(description.pool)
    new = "{0}/{1}/{2}-{3}".format(
        description.pool, TOP, member.name.rpartition("/")[2] or description.pool, description.stamp
    )
    path = member.name[len(ROOT) + 1 :] if member.name.startswith(ROOT + "/") else member.name
    aside = "{0}/failed/{1}{2}/{3}".format(root_of(description.pool), RESTORED, ident, path)
    for each in (new, aside):
        check_dataset_name(each)
    return Target(member, live, new, aside)


class Single:
    """The restore of one dataset.

    :param where: the folder that it is mounted on to be filled.
    """

    def __init__(self, runner: Runner, what: Target, record: Record, in_place: bool, where: str) -> None:
        self.runner = runner
        self.zfs = Zfs(runner)
        self.what = what
        self.record = record
        self.in_place = in_place
        self.where = where
        self.pool = what.live.split("/")[0]

    # looking

    def ours(self, found: Mapping[str, Record]) -> Optional[str]:
        """What the restored one is called now; ``None`` where there is none."""
        return next((name for name, each in found.items() if each.id == self.record.id), None)

    def check(self, found: Mapping[str, Record], size: int) -> None:
        """Refuse what could not be put there.

        :param size: bytes of its files.
        :raises Refused: with the reason.
        """
        there: Dict[str, Dataset] = {each.name: each for each in self.zfs.datasets(self.pool)}
        name = self.what.member.name
        if self.in_place and name in [ROOT, *("{0}/{1}".format(ROOT, each) for each in _NEEDED)]:
            raise Refused(
                "the host runs from {0}, which cannot be taken away from under it".format(self.what.live),
                safe=_SAFE,
                todo="have it put beside the live one (restore_in_place=false) and copy what is needed; or restore the "
                "whole host to a new pool",
            )
        parent = self.what.live.rpartition("/")[0]
        if self.in_place and parent not in there:
            raise Refused(
                "there is no dataset {0} for it to be below".format(parent),
                safe=_SAFE,
                todo="make that first, or have it put beside (restore_in_place=false)",
            )
        self._check_place(there)
        if self.what.new in there and self.what.new not in found:
            raise Refused(
                "there is {0} already".format(self.what.new),
                safe=_SAFE,
                todo="rename it, or destroy it by hand; it was restored before, say",
            )
        room = there[self.pool].available if self.pool in there else 0
        if self.ours(found) is None and size > room:
            raise Refused(
                "{0} MiB come back, and the pool {1} has {2} MiB available".format(
                    -(-size >> 20), self.pool, room >> 20
                ),
                safe=_SAFE,
                todo="make room in the pool: `zfs list -o space -r {0}`".format(self.pool),
            )

    def _check_place(self, there: Mapping[str, Dataset]) -> None:
        """Refuse to mount it elsewhere than what is live: what is there now would be hidden, ``/etc`` say."""
        now = there.get(self.what.live)
        wanted = self.what.member.properties.get("mountpoint")
        if self.in_place and now is not None and wanted is not None and now.mountpoint != wanted:
            raise Refused(
                "{0} has the mountpoint {1}, and had {2} when it was backed up".format(
                    now.name, now.mountpoint, printable(wanted)
                ),
                safe=_SAFE,
                todo="if that is where it belongs, set it first (zfs set mountpoint=); or have it put beside "
                "(restore_in_place=false)",
            )

    # doing

    def make(self, found: Mapping[str, Record], notes: List[str]) -> None:
        """Make it and mount it, or go on with that."""
        name = self.ours(found)
        member = self.what.member
        if name is None:
            above = "{0}/{1}".format(self.pool, TOP)
            if self.zfs.dataset(above) is None:
                self.zfs.create(above, {"canmount": "off", "mountpoint": "none", MADE_BY: MAKER})
            grounds.create(self.zfs, self.what.new, member, self.record)
        name = self.what.new
        wanted = {key: value for key, value in grounds.early(member).items() if not key.startswith("nanozfs:restore")}
        grounds.settle(self.zfs, name, wanted, notes)
        grounds.delegate(self.zfs, name, member)
        if grounds.mounts(self.runner).get(name) != self.where:
            grounds.unmount_all(self.runner, [name])
            grounds.mount(self.runner, name, self.where)

    def release(self) -> None:
        """Unmount it."""
        grounds.unmount_all(self.runner, [self.what.new])

    def finish(self, found: Mapping[str, Record], notes: List[str]) -> List[str]:
        """Let it stay beside, or take the place of the live one.

        :returns: what is where by now.
        """
        name = self.ours(found)
        if name is None:
            return []
        steps, places = self._kept(name)
        if not steps:
            self.release()
            if not self.in_place:
                grounds.settle(self.zfs, name, grounds.late(self.what.member), notes)
                self.zfs.unset(name, [RECORD])
                return ["{0} is the dataset as it was backed up; it is not mounted".format(name)]
            steps, places = self._plan(name), self._places()
            self._keep(name, steps, places)
        self._clear()
        perform(self.zfs, steps, notes)
        for dataset, path in places:
            if grounds.mounts(self.runner).get(dataset) != path:
                grounds.mount(self.runner, dataset, path)
        left = [each for each in self.zfs.local_properties(self.what.live) if each.startswith(STEP)]
        self.zfs.unset(self.what.live, sorted(left, reverse=True))
        self.zfs.unset(self.what.live, [RECORD])
        said = ["{0} is as it was backed up".format(self.what.live)]
        if self.zfs.dataset(self.what.aside) is not None:
            said.append("{0} is what was live".format(self.what.aside))
        return said

    def _below(self) -> List[Dataset]:
        return self.zfs.datasets(self.what.live)

    def _places(self) -> List[Tuple[str, str]]:
        """The live dataset and those below it that are mounted, and where, the outermost first.

        One that the host has no more is mounted where it was.
        """
        now = grounds.mounts(self.runner)
        below = self._below()
        if not below:
            return [(self.what.live, "/{0}".format(self.what.member.path))]
        found = [(each.name, now[each.name]) for each in below if each.name in now]
        return sorted(found, key=lambda each: each[1].count("/"))

    def _clear(self) -> None:
        """Unmount what is swapped; those that are in use refuse, and nothing was changed then."""
        names = [each.name for top in (self.what.live, self.what.aside) for each in self.zfs.datasets(top)]
        grounds.unmount_all(self.runner, names)

    def _plan(self, name: str) -> List[Step]:
        """The steps of the swap."""
        new = self.zfs.dataset(name)
        guid = new.guid if new is not None else "0"  # in check mode
        below = self._below()
        member, live = self.what.member, self.what.live
        steps: List[Step] = []
        if below:
            parts = self.what.aside.split("/")
            above = ["/".join(parts[:size]) for size in range(4, len(parts))]
            steps += [Step("create", (each,)) for each in above]
            steps.append(Step("rename", (below[0].guid, live, self.what.aside)))
        steps.append(Step("rename", (guid, name, live)))
        for each in below[1:]:
            if each.name.count("/") == live.count("/") + 1:
                moved = self.what.aside + each.name[len(live) :]
                steps.append(Step("rename", (each.guid, moved, each.name)))
        if below:
            steps.append(Step("seal", (self.what.aside,)))
        late = grounds.late(member)
        if late:
            steps.append(Step("set", (live, *_pairs(late))))
        canmount = member.properties.get("canmount")
        steps.append(Step("set", (live, "canmount=" + canmount)) if canmount else Step("reset", (live, "canmount")))
        limits = grounds.limits(member)
        return [*steps, Step("limit", (live, *_pairs(limits)))] if limits else steps

    def _keep(self, name: str, steps: Sequence[Step], places: Sequence[Tuple[str, str]]) -> None:
        """Write the steps down, in one transaction group."""
        values = {"{0}{1:03d}".format(STEP, number): step.encode() for number, step in enumerate(steps)}
        for number, place in enumerate(places):
            values["{0}m{1:02d}".format(STEP, number)] = Step("mount", place).encode()
        self.zfs.set(name, dict(values, **{RECORD: self.record.swapping().encode()}))

    def _kept(self, name: str) -> Tuple[List[Step], List[Tuple[str, str]]]:
        """The steps of a swap that was begun."""
        own = self.zfs.local_properties(name) if self.zfs.dataset(name) is not None else {}
        steps, places = [], []
        for key in sorted(own):
            if key.startswith(STEP + "m"):
                words = own[key].split("\t")
                places.append((unquote(words[1]), unquote(words[2])))
            elif key.startswith(STEP):
                steps.append(decode(own[key]))
        return steps, places


def _pairs(values: Mapping[str, str]) -> List[str]:
    return ["{0}={1}".format(key, value) for key, value in values.items()]
