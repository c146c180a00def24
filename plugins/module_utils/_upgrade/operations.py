# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Doing what the table of :mod:`machine` says, under the host's lock: for modules, the agent, and what runs at a start.

Every operation looks, decides and acts in one call. It can be broken off after any command; the same operation, or the
next start, goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import HOLD_TAG, ensure_dataset
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import (
    machine,
    selection,
    staging,
    transaction,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, Lease, snapshot_tag
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.machine import Row
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import (
    RESERVE,
    Step,
    branch_of,
    put_back,
    try_plan,
    undo,
    with_reserve,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.snapshot import Pruning, prune, prune_failed
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

#: the snapshots of transactions
PREFIX = "nz-"

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Play:
    """Who asks.

    :param token: of his lease; ``None`` for one who has none, as somebody at the host.
    :param holder: see :func:`lease.holder_of`; with it and without a token a lease is claimed.
    :param seconds: how long it lasts after he was heard of last.
    :param take_over: also from a holder whose time is not over.
    """

    token: Optional[str] = None
    holder: Mapping[str, str] = field(default_factory=dict)
    seconds: int = leases.SECONDS
    take_over: bool = False


#: somebody at the host itself
NOBODY = Play()


@dataclass(frozen=True)
class Data:
    """What becomes of the data: which datasets go back, names below ``<pool>/nanozfs``."""

    datasets: Sequence[str] = ("cfg", "var")


@dataclass(frozen=True)
class Keep:
    """How much of the past stays: snapshots of transactions, failed states, and how old these may become (seconds)."""

    snapshots: int = 2
    failed: int = 3
    failed_age: Optional[int] = None


class Done(NamedTuple):
    """What an operation came to."""

    situation: Situation
    before: Journal
    row: Row
    warnings: List[str]

    @property
    def journal(self) -> Journal:
        return self.situation.journal

    @property
    def changed(self) -> bool:
        """Whether the journal is another one; a lease that was renewed does not count."""
        return replace(self.journal, lease=None) != replace(self.before, lease=None)


class Operation:
    """One event on a host.

    :param here: the situation, read under the lock.
    :param play: who asks.
    :param fit: fits a copy of /cfg to the new system, in the folder that it gets.
    """

    def __init__(
        self,
        here: Situation,
        play: Play,
        data: Data = Data(),
        keep: Keep = Keep(),
        clock: Callable[[], float] = lambda: 0.0,
        fit: Callable[[str], None] = lambda folder: None,
    ) -> None:
        self.here = here
        self.play = play
        self.data = data
        self.keep = keep
        self.clock = clock
        self.fit = fit
        self.warnings: List[str] = []

    def run(self, event: str, **more: Any) -> Done:
        """Decide and act.

        :param more: what the journal is told besides: see :func:`transaction.after`.
        :raises Refused: when the table does not allow it, or the play has lost its lease; nothing was changed.
        :raises FleetError: when an action fails; the error says what is safe.
        """
        before = self.here.journal
        lease = leases.renewed(before, leases.moment(self.here.runner), self.play.token)
        return self._act(machine.decide(self.here.facts(), event), lease, **more)

    def open(self, wish: Wish) -> Done:
        """Begin a transaction, or adopt the one that is open.

        :raises Refused: see :func:`transaction.next_step` and :func:`lease.claim`.
        """
        found = self.here.journal
        base = transaction.begins_from(found, self.here.facts, wish)
        here = self.here.again(base)
        facts = here.facts(None if base.is_open else wish.target.build)
        transaction.next_step(base, facts, wish)
        row = machine.decide(facts, machine.OPEN)
        now = leases.moment(here.runner)
        lease = leases.claim(
            here.journal, now, self.play.holder, self.play.seconds, self.play.token, self.play.take_over
        )
        if base != found:  # what it has left is cleared away
            self.warnings += Operation(self.here, NOBODY).run(machine.ABANDON).warnings
        before = base
        if not before.is_open:
            self.here = here.again(self._unused(transaction.prepare(before, wish)))
            facts = replace(facts, phase=self.here.journal.phase)
        return self._act(row, lease)._replace(before=found)

    def adopt(self) -> Done:
        """Go on with the open transaction, whatever it brings.

        :raises Refused: when another play is at work on it.
        """
        row = machine.decide(self.here.facts(), machine.OPEN)
        now = leases.moment(self.here.runner)
        play = self.play
        how = "-e fleet_take_over=true"
        lease = leases.claim(self.here.journal, now, play.holder, play.seconds, play.token, play.take_over, how)
        return self._act(row, lease)

    def _unused(self, journal: Journal) -> Journal:
        """The journal with an id that nothing on the pool is named by."""
        tag = snapshot_tag(str(journal.txn))
        taken = self.here.zfs.snapshot("{0}@{1}".format(self.here.root, tag)) is not None
        taken = taken or self.here.zfs.dataset(self.aside(journal)) is not None
        if taken:
            raise FleetError(
                "there is something of a transaction {0} already".format(journal.txn),
                safe=_NOTHING,
                todo="run the play again",
            )
        return journal

    def aside(self, journal: Journal) -> str:
        """Where the failed state of a transaction is put."""
        return "{0}/failed/{1}".format(self.here.root, journal.txn)

    def _act(self, row: Row, lease: Optional[Lease], **more: Any) -> Done:
        before = self.here.journal
        goal = transaction.after(before, row, lease, **more)
        for action in row.actions:
            goal = _ACTIONS[action](self, goal)
        return Done(self.here.again(goal), before, row, self.warnings)

    # the actions: each can be done again, and gives the journal that is to be written from then on

    def _note(self, goal: Journal) -> Journal:
        self.here.store.write(goal)
        return goal

    def _remember(self, goal: Journal) -> Journal:
        self.warnings += self.here.tell(goal, armed=goal.phase == journals.ARMED)
        return goal

    def _unflag(self, goal: Journal) -> Journal:
        selection.choose(self.here.runner, "inactive", "inactive", mend=True)
        return goal

    def _flag(self, goal: Journal) -> Journal:
        selection.choose(self.here.runner, "inactive", "trial")
        return goal

    def _boot_this(self, goal: Journal) -> Journal:
        # where a commit was interrupted that may be done already, or by half: the flags of an MBR are two writes
        selection.choose(self.here.runner, "running", "active")
        return goal

    def _boot_other(self, goal: Journal) -> Journal:
        selection.choose(self.here.runner, "inactive", "active")
        return goal

    def _staged(self, goal: Journal) -> Journal:
        if goal.lease is None:
            raise Refused("a configuration is only staged by a play that holds the lease", safe=_NOTHING)
        if self.here.journal.staged:  # what an earlier play has made; from here on it is there by half
            self.here.store.write(replace(goal, staged=False))
        where = staging.place(goal.lease.token)
        staging.make(self.here.runner, self.here.root, where)
        try:
            self.fit(where)
        except FleetError:
            staging.drop(self.here.runner, self.here.root)
            raise
        return replace(goal, staged=True)

    def _drop(self, goal: Journal) -> Journal:
        staging.drop(self.here.runner, self.here.root)
        return goal

    def _plan(self, goal: Journal) -> Journal:
        staging.close(self.here.runner, self.here.root)
        apply, revert = plans(self.here, goal, self.data, self.aside(goal))
        return transaction.with_plans(goal, apply, revert)

    def _reserve(self, goal: Journal) -> Journal:
        """Keep the space that putting data back needs, should the trial fill the pool up."""
        wanted = {"reservation": str(RESERVE), "canmount": "off", "mountpoint": "none"}
        ensure_dataset(self.here.zfs, self.here.root + "/reserve", wanted)
        return goal

    def _prune(self, goal: Journal) -> Journal:
        """Old snapshots and failed states go; what must stay is said and does no harm to the commit."""
        zfs, root = self.here.zfs, self.here.root
        try:
            pruning = Pruning(PREFIX, keep=max(1, self.keep.snapshots))
            prune(zfs, root, True, pruning, self.clock(), HOLD_TAG)
            prune_failed(zfs, root, max(1, self.keep.failed), self.keep.failed_age, self.clock())
        except FleetError as error:
            self.warnings.append("old snapshots and failed states were not pruned: {0}".format(error.what))
        return goal

    def _later(self, goal: Journal) -> Journal:
        """A restart is begun by the caller, when the lock is free; what a start does is done by the hook."""
        return goal


_ACTIONS: Dict[str, Callable[[Operation, Journal], Journal]] = {
    machine.NOTE: Operation._note,
    machine.REMEMBER: Operation._remember,
    machine.UNFLAG: Operation._unflag,
    machine.FLAG: Operation._flag,
    machine.BOOT_THIS: Operation._boot_this,
    machine.BOOT_OTHER: Operation._boot_other,
    machine.STAGED: Operation._staged,
    machine.DROP: Operation._drop,
    machine.PLAN: Operation._plan,
    machine.RESERVE: Operation._reserve,
    machine.PRUNE: Operation._prune,
    machine.RESTART: Operation._later,
}


def plans(here: Situation, journal: Journal, data: Data, aside: str) -> Tuple[List[Step], List[Step]]:
    """What happens to the data at the trial, and what if that fails.

    :raises Refused: when something could not be put back; with its name.
    """
    reserve = here.root + "/reserve"
    tag = snapshot_tag(str(journal.txn))
    branches = try_plan(here.zfs, here.root, data.datasets, tag, aside)
    if journal.kind != journals.ROLLBACK or journal.data != journals.RESTORE_DATA:
        return [], with_reserve(put_back(branches, tag, aside), reserve)
    if journal.fallback_txn is None:
        raise Refused(
            "the journal knows of no snapshot from before the last upgrade",
            safe=_NOTHING,
            todo="roll back the system only (rollback_data=keep)",
        )
    tag = snapshot_tag(journal.fallback_txn)
    names = ["{0}/{1}".format(here.root, name) for name in data.datasets]
    branches = [branch_of(here.zfs, name, tag, base=here.root) for name in names]
    return put_back(branches, tag, aside), with_reserve(undo(branches, tag, aside, aside + "-undone"), reserve)


def let_go(here: Situation, play: Play) -> None:
    """End a lease and leave the transaction open, for whoever goes on with it.

    :raises Refused: when another play has taken over.
    """
    leases.renewed(here.journal, leases.moment(here.runner), play.token)
    here.store.write(replace(here.journal, lease=None))


def in_place_of(here: Situation, play: Play, how: str) -> Optional[str]:
    """The token to end a transaction with: one's own, or that of a holder who is gone or taken over.

    :param how: how to take over, for the message when that is refused.
    :raises Refused: when somebody else is at work.
    """
    lease = here.journal.lease
    if lease is None:
        return None
    now = leases.moment(here.runner)
    leases.claim(here.journal, now, play.holder, play.seconds, play.token, play.take_over, how)
    return lease.token


def hold(here: Situation, play: Play) -> Journal:
    """See that a play still has its lease, or that nobody else has one, and note that it was heard of.

    :returns: the journal after that.
    :raises Refused: when another play is at work, or has taken over.
    """
    now = leases.moment(here.runner)
    lease = leases.renewed(here.journal, now, play.token)
    if lease is None or here.runner.check_mode:
        return here.journal
    after = replace(here.journal, lease=lease)
    here.store.write(after)
    return after


def finish(here: Situation, keep: Keep, clock: Callable[[], float], play: Play = NOBODY) -> Done:
    """The second half of a commit.

    :raises Refused: when no commit was begun, or the OS medium is another one.
    """
    return Operation(here, play, keep=keep, clock=clock).run(machine.FINISH)


def commit(here: Situation, keep: Keep, clock: Callable[[], float], play: Play = NOBODY) -> Done:
    """Keep what is on trial: both halves.

    :raises Refused: when there is no trial that could be kept.
    """
    first = here
    if here.journal.phase != journals.COMMITTING:
        here = Operation(here, play, keep=keep, clock=clock).run(machine.COMMIT).situation
    return finish(here, keep, clock, play)._replace(before=first.journal)


def record(here: Situation, running: ImageRef) -> Journal:
    """Note what runs, where no transaction is open: after an installation, or after a medium was replaced.

    :returns: the journal after that.
    """
    after = transaction.record(here.journal, running)
    if after != here.journal:
        here.store.write(after)
    return after
