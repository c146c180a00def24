# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the transaction: what it allows, and that nothing is ever lost by it, whenever the power fails.

The second part plays the table itself, action by action, on a host of a few values; so some hundred thousand stories
take minutes. test_story.py plays the real operations on the model of a host.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.machine import Facts, Row

#: how many stories of the table are played; tools/test asks for 2000, by NANOZFS_STORIES
STORIES = int(os.environ.get("NANOZFS_STORIES", "300"))

FLAGS = ("new_runs", "on_trial", "kept", "armed_medium", "touched", "fell", "way_back")


def every_situation() -> List[Facts]:
    return [
        Facts(phase, *values)
        for phase in journals.PHASES
        for values in itertools.product((False, True), repeat=len(FLAGS))
    ]


class TestTable:
    def test_it_knows_its_words(self) -> None:
        for row in machine.TABLE:
            assert row.event in machine.EVENTS and set(row.actions) <= set(machine.ACTIONS)
            assert set(row.guards) <= set(machine.GUARDS) and set(row.phases) <= set(journals.PHASES)
            assert row.to is None or row.to in journals.PHASES

    def test_every_row_can_come_to_pass(self) -> None:
        met = {id(machine.allowed(facts, row.event)) for row in machine.TABLE for facts in every_situation()}
        assert [row for row in machine.TABLE if id(row) not in met] == []

    def test_every_phase_is_left_again(self) -> None:
        for phase in journals.PHASES:
            ways = {row.to for row in machine.TABLE if phase in row.phases}
            assert ways - {phase, None}, phase

    def test_live_data_is_never_replaced_unless_the_new_system_touched_it(self) -> None:
        for row in machine.TABLE:
            if machine.PUT_BACK in row.actions:
                assert {"old", "touched"} <= set(row.guards)

    def test_the_evidence_is_the_first_act_of_the_new_system(self) -> None:
        begin = machine.rows_for(machine.BEGIN)
        assert len(begin) == 1 and begin[0].actions[0] == machine.SNAPSHOT and begin[0].actions[-1] == machine.NOTE
        assert not any(machine.SNAPSHOT in row.actions for row in machine.TABLE if row.event != machine.BEGIN)

    def test_a_plan_is_in_the_journal_before_a_slice_may_boot(self) -> None:
        for row in machine.rows_for(machine.ARM):
            order = [row.actions.index(each) for each in (machine.PLAN, machine.NOTE, machine.FLAG, machine.RESTART)]
            assert order == sorted(order)

    def test_nothing_is_kept_by_itself(self) -> None:
        for facts in every_situation():
            row = machine.allowed(facts, machine.FINISH)
            assert row is None or (facts.phase == journals.COMMITTING and facts.armed_medium and facts.new_runs)
            row = machine.allowed(facts, machine.COMMIT)
            assert row is None or (facts.new_runs and facts.armed_medium and (facts.kept or facts.on_trial))

    def test_a_transaction_in_progress_is_not_begun_anew(self) -> None:
        for facts in every_situation():
            row = machine.allowed(facts, machine.OPEN)
            if facts.phase not in journals.CLOSED and row is not None:
                assert row.next_phase(facts.phase) != journals.PREPARED or facts.phase == journals.PREPARED

    @pytest.mark.parametrize(
        "facts, event, words",
        [
            (Facts("idle"), machine.COMMIT, "the journal is in phase idle; to commit it would have to be in phase"),
            (Facts("trial", new_runs=True, armed_medium=False), machine.COMMIT, "nobody has tried this system"),
            (Facts("trial", new_runs=True, kept=False), machine.COMMIT, "no boot flags"),
            (Facts("trial"), machine.COMMIT, "the new system does not run"),
            (Facts("written", touched=True), machine.ARM, "the data goes back at the next start"),
            (Facts("trial", new_runs=True), machine.ABANDON, "the old system is still in the other slice"),
            (Facts("prepared", new_runs=True), machine.OPEN, "somebody replaced the OS medium"),
        ],
    )
    def test_a_refusal_says_why(self, facts: Facts, event: str, words: str) -> None:
        with pytest.raises(Refused, match=words) as refused:
            machine.decide(facts, event)
        assert "Safe now: nothing was changed. Next: " in str(refused.value)


class Cut(Exception):
    """The power went."""


class Host:
    """A host of a few values. Data is a number that whoever runs counts up; it is kept in snapshots and put aside."""

    def __init__(self) -> None:
        self.phase = journals.IDLE
        self.txn = 0
        self.runs, self.other = "old", "new"
        self.bootme, self.bootonce, self.fell = {"old"}, set(), False  # type: ignore[var-annotated]
        self.on_trial = False
        self.data, self.configuration = 0, "of the old"
        self.staged = False
        self.snapshots: Dict[int, Any] = {}
        self.aside: List[int] = []
        self.planned: Optional[int] = None
        self.armed_for = 0
        self.restarting = False
        self.target = "new"
        self.committed = "old"

    @property
    def facts(self) -> Facts:
        return Facts(
            self.phase,
            new_runs=self.runs == self.target,
            on_trial=self.on_trial,
            kept=self.runs in self.bootme and self.runs not in self.bootonce,
            armed_medium=self.armed_for == self.txn,
            touched=self.txn in self.snapshots,
            fell=self.fell,
        )

    def do(self, action: str, row: Row, last: bool) -> None:
        """One action of a row, whole or not at all."""
        other = self.other
        if action == machine.NOTE:
            self.phase = row.next_phase(self.phase) if last else journals.REVERTING
            self.committed = self.runs if self.phase == journals.COMMITTED else self.committed
        elif action == machine.UNFLAG:
            self.bootme -= {other}
            self.bootonce -= {other}
            self.fell = False
        elif action == machine.FLAG:
            self.bootme |= {other}
            self.bootonce |= {other}
        elif action == machine.REMEMBER:
            self.armed_for = self.txn if self.phase == journals.ARMED else self.armed_for
        elif action == machine.STAGED:
            self.staged = True
        elif action == machine.PLAN:
            self.planned = self.txn
        elif action == machine.SNAPSHOT:
            self.snapshots.setdefault(self.txn, (self.data, self.configuration))
        elif action == machine.SWAP:
            self.configuration = "of the new" if self.staged else self.configuration
        elif action == machine.PUT_BACK:
            assert self.planned == self.txn, "there is no plan to put the data back by"
            kept = self.snapshots[self.txn]
            if (self.data, self.configuration) != kept:
                self.aside.append(self.data)
            self.data, self.configuration = kept
        elif action == machine.BOOT_THIS:
            self.bootme, self.bootonce, self.on_trial = {self.runs}, set(), False
        elif action == machine.BOOT_OTHER:
            self.bootme, self.bootonce, self.on_trial = {other}, set(), False
        elif action == machine.DROP:
            self.staged = False
        elif action == machine.RESTART:
            self.restarting = True

    def run(self, row: Row, cut: Optional[int]) -> None:
        """The actions of a row, until the power fails."""
        notes = row.actions.count(machine.NOTE)
        for number, action in enumerate(row.actions):
            if cut is not None and number >= cut:
                raise Cut
            notes -= action == machine.NOTE
            self.do(action, row, notes == 0)

    def boot(self) -> None:
        """What gptboot does: bootonce is tried once, and marked as failed at the start after that."""
        pair = {self.runs, self.other}
        failed = {name for name in self.bootonce if name not in self.bootme}
        self.bootonce -= failed
        self.fell = self.fell or bool(failed)
        trial = self.bootonce & self.bootme
        took = trial.pop() if trial else next(iter(self.bootme))
        self.on_trial = took in self.bootonce
        if self.on_trial:
            self.bootme -= {took}
        self.runs, self.other = took, (pair - {took}).pop()
        self.restarting = False


class Stories(RuleBasedStateMachine):
    """What plays, people, power cuts and time can do to a host, in any order.

    ``known`` is the last number that a system wrote which is in charge: the old one, or the new one once it is
    committed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.host = Host()
        self.known = 0
        self.tried: List[int] = []

    @initialize()
    def begin(self) -> None:
        self.host.data = self.known = 1

    def event(self, name: str, cut: Optional[int]) -> None:
        row = machine.allowed(self.host.facts, name)
        if row is None:
            return
        opens = name == machine.OPEN and self.host.phase in journals.CLOSED
        try:
            if opens:
                self.host.txn += 1
                self.host.target = self.host.other
                row = machine.decide(self.host.facts, name)
            self.host.run(row, cut)
        except Cut:
            self.start(None)

    cuts = some.one_of(some.none(), some.integers(0, 7))

    @rule(name=some.sampled_from(sorted(set(machine.EVENTS) - {machine.BEGIN, machine.BACK})), cut=cuts)
    def asked(self, name: str, cut: Optional[int]) -> None:
        """Anything, at any time."""
        self.event(name, cut)

    @rule(staged=some.booleans(), cut=cuts, late=some.integers(0, 3))
    def a_play_goes_on(self, staged: bool, cut: Optional[int], late: int) -> None:
        """The next thing that a play would do; the power may fail in it, and the host be written to meanwhile."""
        phase = self.host.phase
        if phase in journals.CLOSED:
            self.event(machine.OPEN, cut)
        elif phase == journals.PREPARED:
            self.event(machine.WROTE, cut)
        elif phase == journals.WRITTEN:
            if staged:
                self.event(machine.STAGE, None)
            self.event(machine.ARM, cut)
            for _number in range(late):
                self.work()
            if self.host.restarting:
                self.start(None if late else cut)
        elif phase == journals.TRIAL:
            self.event(machine.COMMIT, None if late else cut)
        elif phase == journals.COMMITTING:
            self.event(machine.FINISH, cut)
        elif phase == journals.REVERTING:
            self.start(cut)

    @rule(cut=cuts)
    def start(self, cut: Optional[int]) -> None:
        """A restart, a power cut, the timer: it is all the same."""
        for attempt in range(20):
            self.host.boot()
            row = machine.allowed(self.host.facts, machine.BEGIN) or machine.allowed(self.host.facts, machine.BACK)
            try:
                if row is not None:
                    self.host.run(row, cut if attempt == 0 else None)
                return
            except Cut:
                continue
        raise AssertionError("the host never comes up")

    @rule()
    def work(self) -> None:
        """Whoever runs writes, and somebody relies on it."""
        host = self.host
        host.data += 1
        in_charge = host.runs != host.target or host.phase in journals.CLOSED
        if in_charge:
            self.known = host.data
        else:
            self.tried.append(host.data)

    @invariant()
    def nothing_is_lost(self) -> None:
        host = self.host
        if host.phase == journals.COMMITTED:
            self.known = max(self.known, host.data)
        if host.runs != host.target and host.phase in (*journals.CLOSED, journals.PREPARED, journals.WRITTEN):
            assert host.data == self.known, "the old system lost what it had acknowledged"
            assert host.configuration == "of the old" or host.phase in journals.CLOSED
        everywhere = {host.data, *host.aside, *(data for data, _text in host.snapshots.values())}
        assert max(everywhere) >= max([self.known, *self.tried]), "what somebody wrote is nowhere any more"

    @invariant()
    def it_boots(self) -> None:
        assert self.host.bootme - self.host.bootonce or self.host.on_trial, "no slice would boot but recovery"
        if self.host.phase in journals.CLOSED and not self.host.on_trial:
            assert self.host.runs in self.host.bootme, "the next start would be another system, and nobody asked for it"
        if self.host.phase in (*journals.CLOSED, journals.PREPARED, journals.WRITTEN):
            assert self.host.runs == self.host.committed, "it runs what nobody has kept"


Stories.TestCase.settings = settings(
    max_examples=STORIES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStories = Stories.TestCase
