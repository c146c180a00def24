# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What decides about a transaction, read in one look: the journal, the OS medium, the running image, the evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import (
    BOOTFAILED,
    GPT,
    Medium,
    Slice,
    read_medium,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice, running_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Inside
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as medium_state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import (
    Journal,
    JournalStore,
    root_of,
    snapshot_tag,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.machine import Facts

#: keys of nz-state: the transaction that this very medium was armed for, and the one whose trial it has begun
ARMED_FOR, TRIED = "armed", "tried"

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Situation:
    """A host with a pool, at one moment.

    :param image: what the running image says of itself.
    :param remembered: what nz-state says; empty where there is none.
    """

    runner: Runner
    pool: str
    medium: Medium
    image: Inside
    store: JournalStore
    journal: Journal
    remembered: medium_state.State

    @property
    def zfs(self) -> Zfs:
        """The pool's datasets."""
        return Zfs(self.runner)

    @property
    def other(self) -> Slice:
        """The slice that does not run.

        :raises Refused: when the OS medium has no such slice.
        """
        return self.medium.get(self.medium.inactive.label if self.medium.inactive else "")

    @property
    def root(self) -> str:
        """The dataset of the journal."""
        return root_of(self.pool)

    @property
    def runs_target(self) -> bool:
        """Whether the running image is the one that the journal's transaction brings.

        Compared by build: ``transaction.next_step`` refuses two images that name the same one.
        """
        return self.journal.target is not None and self.journal.target.build == self.image.build

    def evidence(self) -> Optional[str]:
        """The snapshot that the open transaction's trial has taken as its first act; ``None`` when there is none.

        :raises FleetError: when that cannot be told.
        """
        if not self.journal.txn:
            return None
        name = "{0}@{1}".format(self.root, snapshot_tag(self.journal.txn))
        return name if self.zfs.snapshot(name) is not None else None

    def facts(self, target_build: Optional[str] = None) -> Facts:
        """What decides.

        :param target_build: of the wished image, where no transaction is open.
        """
        new = self.image.build == target_build if target_build is not None else self.runs_target
        on_trial = self.medium.on_trial()
        return Facts(
            phase=self.journal.phase,
            new_runs=new,
            on_trial=on_trial,
            kept=self.medium.boots_again(),
            armed_medium=self._is_armed_medium(on_trial),
            touched=self.evidence() is not None,
            fell=self._fell(),
            way_back=self._has_way_back(),
        )

    def _is_armed_medium(self, on_trial: bool) -> bool:
        """A freshly written medium has never been armed, and is not on trial.

        One that is on trial was armed, also where it could not remember that: a worn nz-state stops no commit.
        """
        armed = self.remembered.values.get(ARMED_FOR, "")
        return armed == (self.journal.txn or "-") or (on_trial and not armed)

    def _fell(self) -> bool:
        if self.journal.txn and self.remembered.values.get(TRIED, "") == self.journal.txn:
            return True
        other = self.medium.inactive
        return self.medium.scheme == GPT and other is not None and BOOTFAILED in other.flags

    def _has_way_back(self) -> bool:
        other, source = self.medium.inactive, self.journal.source
        inside = read_slice(other, False).inside if other is not None else None
        return source is not None and inside is not None and inside.build == source.build

    def again(self, journal: Journal) -> Situation:
        """The same with another journal."""
        return replace(self, journal=journal)

    def tell(self, journal: Journal, armed: bool = False) -> List[str]:
        """Let the OS medium know of a journal, for a start at which the pool is not there (yet).

        :param armed: note that this medium was armed for the transaction.
        :returns: what went wrong; the journal, which is on the pool, counts all the same.
        """
        if self.runner.check_mode:
            return []
        pool = Zpool(self.runner).pool(self.pool)
        values = medium_state.mirror(journal, pool.guid if pool else None)
        if armed:
            values[ARMED_FOR] = journal.txn or ""
        problem = medium_state.remember(self.medium, values)
        return ["nz-state was not written: {0}".format(problem)] if problem else []


def look(runner: Runner, pool: Optional[str] = None) -> Situation:
    """The situation of the host.

    :param pool: the system pool; by default the one that the running image names.
    :raises FleetError: when it cannot be told, because the medium, the image or the journal cannot be read.
    """
    medium = read_medium(runner)
    image = running_image(medium)
    if image is None:
        raise Refused(
            "{0} does not say which image it holds".format(medium.running),
            safe=_NOTHING,
            todo="look with the playbook status, or `nanozfs status` on the host",
        )
    name = pool or image.pool
    store = JournalStore(Zfs(runner), name)
    return Situation(runner, name, medium, image, store, store.read(), medium_state.of(medium))
