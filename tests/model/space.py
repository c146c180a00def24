# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What datasets and snapshots take of a pool, reckoned from their real trees.

A dataset is a row of states, one after the other: the snapshot that it is a clone of, its snapshots, what is live. A
file belongs to whichever state it is first found in, and is free again when no later state has it as it is. Whatever
differs from the state before it also takes a constant base for directories and the like, as every dataset does.
Nothing is compressed and a file is replaced as a whole, so figures are larger than those of a real pool would be.

Source: zfsprops(7), used, referenced and written.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.tests.model import trees
from ansible_collections.nanozfs.fleet.tests.model.pools import Pool

#: what an empty dataset holds before it takes any space on disk (as recorded)
_LOGICAL = 12288


class State(NamedTuple):
    """One state of a dataset: its directory, and when that was made if it is the copy of a live one."""

    folder: str
    copied: int


class Space:
    """The space of a pool at one moment: trees are looked through once."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._catalogues: Dict[str, trees.Catalogue] = {}
        self._used: Dict[str, int] = {}

    # trees

    def _catalogue(self, folder: str) -> trees.Catalogue:
        if folder not in self._catalogues:
            self._catalogues[folder] = trees.catalogue(folder)
        return self._catalogues[folder]

    def live(self, dataset: str) -> State:
        """What is live."""
        return State(self.pool.live(dataset), 0)

    def kept(self, snapshot: Dict[str, Any]) -> State:
        """A snapshot."""
        return State(self.pool.kept(snapshot), snapshot["copied"])

    def _origin(self, dataset: str) -> Optional[State]:
        origin = self.pool.origin(dataset)
        return self.kept(origin[1]) if origin else None

    def _states(self, dataset: str) -> List[State]:
        """The snapshots and what is live."""
        return [self.kept(each) for each in self.pool.snapshots(dataset)] + [self.live(dataset)]

    def whole(self, state: State) -> int:
        """What a state refers to."""
        cost = self.pool.geometry.cost
        return self.pool.geometry.base + sum(map(cost, self._catalogue(state.folder).stored.values()))

    def logical(self, state: State) -> int:
        """The same before it is put on disks."""
        return _LOGICAL + sum(self._catalogue(state.folder).stored.values())

    def _changed(self, before: State, after: State) -> Optional[List[str]]:
        """Names of which *after* has something else than *before*; ``None`` when both are the same throughout."""
        first, second = self._catalogue(before.folder), self._catalogue(after.folder)
        changed = [name for name in second.entries if not trees.alike(name, first, second, before.copied)]
        return changed if changed or len(first.entries) != len(second.entries) else None

    def written(self, before: State, after: State) -> int:
        """What *after* takes besides what it shares with the state before it."""
        changed = self._changed(before, after)
        if changed is None:
            return 0
        stored = self._catalogue(after.folder).stored
        return self.pool.geometry.base + sum(self.pool.geometry.cost(stored.get(name, 0)) for name in changed)

    def _lost(self, state: State, later: State, earlier: Optional[State]) -> int:
        """What *state* takes that *later* has no more and *earlier* did not have yet."""
        first, second = self._catalogue(state.folder), self._catalogue(later.folder)
        gone = [name for name in first.entries if not trees.alike(name, first, second, state.copied)]
        if not gone and len(first.entries) == len(second.entries):
            return 0
        born = set(gone)
        if earlier is not None:
            changed = self._changed(earlier, state)
            if changed is None:
                return 0
            born.intersection_update(changed)
        stored = first.stored
        return self.pool.geometry.base + sum(self.pool.geometry.cost(stored.get(name, 0)) for name in born)

    # snapshots

    def snapshot_used(self, dataset: str, number: int) -> int:
        """What would become free with a snapshot."""
        states = self._states(dataset)
        earlier = states[number - 1] if number else self._origin(dataset)
        return self._lost(states[number], states[number + 1], earlier)

    def snapshot_written(self, dataset: str, number: int) -> int:
        """What was written between a snapshot and the one before it, or since the beginning."""
        states = self._states(dataset)
        earlier = states[number - 1] if number else self._origin(dataset)
        return self.written(earlier, states[number]) if earlier else self.whole(states[number])

    def range_used(self, dataset: str, first: int, last: int) -> int:
        """What would become free with a row of snapshots."""
        states = self._states(dataset)
        earlier = states[first - 1] if first else self._origin(dataset)
        return sum(self._lost(states[at], states[at + 1], earlier) for at in range(first, last + 1))

    # datasets

    def dataset_written(self, dataset: str) -> int:
        """What was written since the last snapshot."""
        return self.snapshot_written(dataset, len(self.pool.snapshots(dataset)))

    def by_dataset(self, dataset: str) -> int:
        """What the live tree takes; a clone shares with its origin what it did not change."""
        origin = self._origin(dataset)
        return self.written(origin, self.live(dataset)) if origin else self.whole(self.live(dataset))

    def by_snapshots(self, dataset: str) -> int:
        """What only snapshots hold."""
        states = self._states(dataset)
        origin = self._origin(dataset)
        return sum(self._lost(state, later, origin) for state, later in zip(states, states[1:]))

    def by_refreservation(self, dataset: str) -> int:
        """What is kept free for the live tree."""
        wanted = int(self.pool.value(dataset, "refreservation"))
        return max(0, wanted - self.by_dataset(dataset)) if wanted else 0

    def by_children(self, dataset: str) -> int:
        """What the datasets below take, or have reserved."""
        total = sum(
            max(self.used(each), int(self.pool.value(each, "reservation"))) for each in self.pool.children(dataset)
        )
        if not dataset:
            total += self.pool.geometry.overhead + self.pool.record.get("ballast", 0)
        return total

    def used(self, dataset: str) -> int:
        """What a dataset takes with all that belongs to it."""
        if dataset not in self._used:
            self._used[dataset] = (
                self.by_dataset(dataset)
                + self.by_snapshots(dataset)
                + self.by_refreservation(dataset)
                + self.by_children(dataset)
            )
        return self._used[dataset]

    def available(self, dataset: str) -> int:
        """How much more would fit, by the size of the pool and by the quotas on the way up."""
        room = self._room(dataset) + self.by_refreservation(dataset)
        return max(0, self._limited(dataset, "refquota", self.whole(self.live(dataset)), room))

    def _room(self, dataset: str) -> int:
        """What is left for a dataset, with what is reserved on the way to it (``dsl_dir_space_available()``)."""
        if dataset:
            reserved = int(self.pool.value(dataset, "reservation"))
            room = self._room(dataset.rpartition("/")[0]) + max(0, reserved - self.used(dataset))
        else:
            room = self.pool.geometry.space - self.pool.geometry.slop - self.total()
        return self._limited(dataset, "quota", self.used(dataset), room)

    def _limited(self, dataset: str, key: str, used: int, room: int) -> int:
        limit = int(self.pool.value(dataset, key))
        return min(room, limit - used) if limit else room

    # the pool

    def total(self) -> int:
        """What is in use of the whole pool."""
        return self.used("")

    def allocated(self) -> int:
        """The same as it is counted of the disks."""
        return min(self.pool.geometry.size, self.pool.geometry.raw(self.total()))
