# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The host's part of a trial that a play follows: begin, look, check, take back. Each answer says what comes next.

Whoever asks only has to do what he is told, and to ask again where there was no answer.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import (
    machine,
    operations,
    preflight,
    restart,
    staging,
    transaction,
    words,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import Checks, failures
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Data, Done, Keep, Operation, Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look

#: the steps, and what an answer says comes next
BEGIN, LOOK, ADOPT, CHECK, REVERT = "begin", "look", "adopt", "check", "revert"
WAIT, END = "wait", "end"

Answer = Dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One trial.

    :param pool: the system pool; by default the one that the running image names.
    :param clock: seconds since the epoch, by which what is old is pruned.
    :param settle: sees to what in /etc the restart would take, before anything is armed; says what to warn of.
    :param judge: says what is wrong with a configuration in a folder: what the start of the system in the other slice
        would make of it.
    """

    runner: Runner
    pool: Optional[str]
    play: Play
    data: Data = Data()  # noqa: RUF009 - it cannot be changed
    keep: Keep = Keep()  # noqa: RUF009
    checks: Checks = Checks()  # noqa: RUF009
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    settle: Callable[[journals.Journal], List[str]] = lambda journal: []
    judge: Callable[[Situation, str], List[str]] = lambda here, folder: []

    def _look(self) -> Situation:
        return look(self.runner, self.pool)

    def _locked(self) -> ContextManager[None]:
        return leases.locked(self.runner.check_mode)

    def _answer(self, what: str, here: Optional[Situation], **more: Any) -> Answer:
        found: Answer = {"changed": False, "next": what, "boot_id": restart.boot_id(self.runner)}
        if here is not None:
            found["journal"] = here.journal.as_dict()
        if what == END and here is not None:
            found["story"] = words.story(here).as_dict()
        return dict(found, **more)

    # arming and restarting are one act

    def begin(self) -> Answer:
        """Arm the other slice for one boot, and restart. What is armed and does not restart is disarmed.

        :raises FleetError: when it cannot be armed; then it is not.
        """
        with self._locked():
            here = self._look()
            if here.journal.phase == journals.ARMED:  # an earlier call, whose answer was lost
                here = Operation(here, self.play).run(machine.DISARM).situation
            warnings = self.settle(here.journal)
            self._judge(here)
            try:
                done = Operation(here, self.play, self.data).run(machine.ARM)
            except FleetError:
                self._disarm_quietly()
                raise
        before = self._restart(journals.ARMED, self._refused)
        return self._answer(WAIT, done.situation, changed=True, boot_id=before, warnings=warnings + done.warnings)

    def _judge(self, here: Situation) -> None:
        """Refuse a staged configuration with which the new system would not come up as itself, or that is out of date.

        :raises Refused: with what the next start would say.
        """
        if not here.journal.staged:
            return
        staging.refuse_stale(self.runner, here.root)
        folder = staging.mounted_at(self.runner, here.root)
        problems = self.judge(here, folder) if folder else []
        if problems:
            raise Refused(
                "the configuration for the new system would not do: {0}".format("; ".join(problems)),
                safe="the trial was not begun, and the configuration in force was not changed",
                todo="mend that in /cfg, in the tasks in upgrade_cfg_tasks, or by what upgrade_merge says of the file, "
                "and run the play again",
            )

    def _restart(self, phase: str, refused: Callable[[str], None]) -> str:
        """Restart in a moment, unless somebody has taken over by then."""
        return restart.begin(self.runner, on_refused=refused, still=lambda: self._still(phase))

    @contextlib.contextmanager
    def _still(self, phase: str) -> Iterator[bool]:
        """Whether the restart is still this play's business; nobody can change that meanwhile."""
        with self._locked():
            journal = self._look().journal
            mine = self.play.token is None or (journal.lease is not None and journal.lease.token == self.play.token)
            yield mine and journal.phase == phase

    def _refused(self, reason: str) -> None:
        """The restart into the trial did not happen."""
        with self._locked():
            self._disarm_quietly()
        restart.note(reason)

    def _disarm_quietly(self) -> None:
        # whatever is in the way of it, the next call finds the host armed and disarms it first
        with contextlib.suppress(FleetError):
            Operation(self._look(), self.play).run(machine.DISARM)

    # waiting

    def look(self, before: str, seconds: float) -> Answer:
        """How it stands; waits some time for a change, so that few calls do.

        :param before: the start of the host that shall end.
        """
        until = self.monotonic() + seconds
        while True:
            found = self._seen(before)
            if found["next"] != WAIT or self.monotonic() >= until:
                return found
            self.sleep(1)

    def _seen(self, before: str) -> Answer:
        if restart.boot_id(self.runner) == before:
            here, refusal = self._look(), restart.refusal()
            # reverting on the old system: its restart is still to come
            if not refusal and here.journal.phase in (journals.ARMED, journals.REVERTING):
                return self._answer(WAIT, here)
            return self._answer(END, here, refused=refusal)
        try:
            here = self._look()
        except FleetError as error:
            return self._without_data(error)
        step = transaction.step_of(here.journal.phase, here.facts()) if here.journal.is_open else END
        if step == transaction.CHECK:
            return self._answer(CHECK, here)
        if step == transaction.REVERT and here.runs_target:
            return self._answer(REVERT, here, reason="it was booted without being on trial", bad=False)
        return self._answer(END, here)

    def _without_data(self, error: FleetError) -> Answer:
        """A system that does not find its data: on trial it is taken back; otherwise it needs somebody."""
        state, reason = preflight.state_of(self.runner, None)
        what = "it came up in state {0} ({1})".format(state, reason or error.what)
        if read_medium(self.runner).on_trial():
            return self._answer(REVERT, None, reason=what, bad=True)
        story = words.Story(
            words.OPEN,
            what,
            "nothing was lost: the data is on the pool, and the journal with it",
            "look at the host with the playbook status: its pool comes first",
        )
        return self._answer(END, None, story=story.as_dict())

    # checking

    def adopt(self) -> Answer:
        """Take a trial over that no play follows any more, to check and keep it.

        :raises Refused: when nothing is on trial, or another play is at work on it.
        """
        with self._locked():
            here = self._look()
            journal = here.journal
            if journal.phase in (journals.IDLE, journals.COMMITTED):
                what = "{0} runs; nothing is on trial".format(here.image.version)
                story = words.Story(words.COMMITTED, what, "", "")
                return self._answer(END, here, story=story.as_dict(), idle=True)
            if journal.phase not in (journals.TRIAL, journals.COMMITTING) or not here.runs_target:
                raise Refused(
                    "this host is not on trial any more: it runs {0}, phase {1} ({2})".format(
                        here.image.version, journal.phase, journal.reason or "no reason recorded"
                    ),
                    safe="nothing was changed",
                    todo="run the upgrade again",
                )
            done = Operation(here, self.play).adopt()
        lease = done.journal.lease
        return self._answer(CHECK, done.situation, lease=lease.token if lease else None)

    def check(self, commit: bool) -> Answer:
        """Check the system that is on trial; keep it when all is well and that is wanted.

        :raises Refused: when this play has lost its lease.
        """
        with self._locked():
            here = self._look()
            if here.journal.phase == journals.COMMITTED and here.runs_target:
                return self._answer(END, here)
            if not here.journal.is_open or not here.runs_target:
                return self._answer(END, here)
            operations.hold(here, self.play)
        problems = self._problems(here)
        if problems:
            return self._answer(REVERT, here, reason="; ".join(problems), bad=True)
        if not commit:
            with self._locked():  # whoever keeps it is another one
                operations.let_go(self._look(), self.play)
            return self._answer(END, here)
        with self._locked():
            done = operations.commit(self._look(), self.keep, self.clock, self.play)
        return self._answer(END, done.situation, changed=True, warnings=done.warnings)

    def _problems(self, here: Situation) -> List[str]:
        state, reason = preflight.state_of(self.runner, here.medium)
        if state not in (preflight.TRIAL, preflight.NORMAL):
            return ["it came up in state {0} ({1})".format(state, reason or "no reason given")]
        problem = preflight.pool_problem(self.runner, here.pool)
        if problem:
            return [problem]
        return failures(self.runner, self.checks, self.sleep, self.monotonic)

    # taking back

    def revert(self, reason: str, bad: bool) -> Answer:
        """Take the trial back.

        :param bad: the host itself has found the image wrong.
        """
        try:
            with self._locked():
                done = self._reverted(reason, bad)
        except FleetError as error:
            # the journal cannot be reached; on a trial a restart leads back all the same
            if isinstance(error, Refused) or not read_medium(self.runner).on_trial():
                raise
            return self._answer(WAIT, None, changed=True, boot_id=restart.begin(self.runner))
        if done is None:
            return self._answer(END, self._look())
        if machine.RESTART not in done.row.actions:
            return self._answer(END, done.situation, changed=done.changed)
        before = self._restart(journals.REVERTING, restart.note)
        return self._answer(WAIT, done.situation, changed=True, boot_id=before)

    def _reverted(self, reason: str, bad: bool) -> Optional[Done]:
        here = self._look()
        if not here.journal.is_open:
            return None
        return Operation(here, self.play).run(machine.REVERT, reason=reason, bad=bad)
