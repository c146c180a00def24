# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The transaction as one table: which event is allowed in which phase, under what conditions, and what it does.

Pure data and two pure functions. :mod:`operations` does the actions, in the order of the row; the early boot hook
(``roles/image/files/root/boot/nanozfs/journal.subr``) does those of a start, :data:`BEGIN` and :data:`BACK`. What
docs/transaction.md says is made from this table (``tools/state-table``), and so is its drawing.

The order of the actions is what makes a row safe: the power may fail between any two of them, and from what is there
then, another row leads on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import (
    ARMED,
    CLOSED,
    COMMITTED,
    COMMITTING,
    IDLE,
    PREPARED,
    REVERTED,
    REVERTING,
    TRIAL,
    WRITTEN,
)

# events: what somebody asks for, or what a start finds
OPEN, WROTE, STAGE, ARM, DISARM = "open", "wrote", "stage", "arm", "disarm"
BEGIN, COMMIT, FINISH, REVERT, BACK, ABANDON = "begin", "commit", "finish", "revert", "back", "abandon"

EVENTS: Dict[str, str] = {
    OPEN: "a play begins, or goes on with what an earlier one has left",
    WROTE: "the inactive slice holds the image, every byte compared",
    STAGE: "a configuration for the new system is to be made",
    ARM: "the next start is to be the trial",
    DISARM: "the restart was refused, or did not happen",
    BEGIN: "the new system starts on trial (early hook)",
    COMMIT: "the checks have passed, or somebody at the host says so",
    FINISH: "the second half of a commit",
    REVERT: "a check has failed, or somebody gives the trial up",
    BACK: "the old system starts (early hook)",
    ABANDON: "the transaction is given up",
}

# actions
NOTE, UNFLAG, FLAG, REMEMBER = "note", "unflag", "flag", "remember"
STAGED, PLAN, RESERVE, RESTART = "staged", "plan", "reserve", "restart"
SNAPSHOT, SWAP, APPLY, PUT_BACK = "snapshot", "swap", "apply", "put back"
BOOT_THIS, BOOT_OTHER, DROP, PRUNE = "boot this", "boot the other", "drop", "prune"

ACTIONS: Dict[str, str] = {
    NOTE: "write the phase into the journal",
    UNFLAG: "take the boot flags off the inactive slice",
    FLAG: "give the inactive slice one boot",
    REMEMBER: "let the OS medium know: it is the armed one",
    STAGED: "copy /cfg, merged with what the new system has, to where the site's tasks may change it",
    PLAN: "work out how all data goes back, and refuse what could not",
    RESERVE: "keep the space that putting data back needs",
    RESTART: "restart; if that does not happen: disarm",
    SNAPSHOT: "one atomic snapshot of everything, held: the evidence that the new system touched the data",
    SWAP: "put the staged configuration in the place of /cfg",
    APPLY: "put the data back that a rollback restores",
    PUT_BACK: "put the data back to the snapshot; without a snapshot nothing is touched",
    BOOT_THIS: "make the running slice the one that boots",
    BOOT_OTHER: "make the old slice the one that boots",
    DROP: "throw the staged configuration away",
    PRUNE: "prune old snapshots and failed states",
}


@dataclass(frozen=True)
class Facts:
    """What of a host decides, read in one look under its lock.

    :param phase: of the journal.
    :param new_runs: the running image is the transaction's target; for an event that opens one, the wished one.
    :param on_trial: the boot code tries the running slice once.
    :param kept: the boot code takes the running slice at the next start as well.
    :param armed_medium: the OS medium is the one that was armed for this transaction; also where it remembers nothing
        at all, as one without nz-state, but is on trial.
    :param touched: the snapshot of the trial is there.
    :param fell: the boot code or the hook noted that the new system was started.
    :param way_back: the other slice holds the old system.
    """

    phase: str
    new_runs: bool = False
    on_trial: bool = False
    kept: bool = True
    armed_medium: bool = True
    touched: bool = False
    fell: bool = False
    way_back: bool = True


class Guard(NamedTuple):
    """A condition of a row, with the words for what is the matter when it does not hold."""

    words: str
    otherwise: str
    holds: Callable[[Facts], bool]


GUARDS: Dict[str, Guard] = {
    "old": Guard(
        "the old system runs",
        "the new system runs already, but this transaction has not booted it: somebody replaced the OS medium, or "
        "chose the slice by hand",
        lambda facts: not facts.new_runs,
    ),
    "new": Guard("the new system runs", "the new system does not run", lambda facts: facts.new_runs),
    "trial": Guard("on trial", "this boot is no trial", lambda facts: facts.on_trial),
    "no trial": Guard("not on trial", "this boot is a trial", lambda facts: not facts.on_trial),
    "tried or kept": Guard(
        "on trial, or its slice boots again",
        "the running slice has no boot flags: the next start leads elsewhere",
        lambda facts: facts.on_trial or facts.kept,
    ),
    "armed medium": Guard(
        "from the medium that was armed",
        "the OS medium is another one than the one that was armed: it was replaced, and nobody has tried this system",
        lambda facts: facts.armed_medium,
    ),
    "touched": Guard("its snapshot is there", "the new system never touched the data", lambda facts: facts.touched),
    "untouched": Guard(
        "no snapshot: the new system never touched the data",
        "the new system has worked on the data; the data goes back at the next start",
        lambda facts: not facts.touched,
    ),
    "fell": Guard("it was started and did not come up", "nothing tells that it was started", lambda facts: facts.fell),
    "way back": Guard(
        "the other slice holds the old system",
        "the other slice does not hold the old system any more, so there is nothing to go back to",
        lambda facts: facts.way_back,
    ),
    "no way back": Guard(
        "the old system is gone",
        "the old system is still in the other slice",
        lambda facts: not facts.way_back,
    ),
}


class Row(NamedTuple):
    """One row: in these phases, on this event, under these conditions, do this, and be in that phase.

    ``to`` is ``None`` where the phase stays.
    """

    phases: Tuple[str, ...]
    event: str
    guards: Tuple[str, ...]
    to: Optional[str]
    actions: Tuple[str, ...]

    def fits(self, facts: Facts) -> bool:
        """Whether all conditions hold."""
        return facts.phase in self.phases and all(GUARDS[name].holds(facts) for name in self.guards)

    def next_phase(self, phase: str) -> str:
        """The phase after it."""
        return phase if self.to is None else self.to


_TRIED = (TRIAL, COMMITTING)

#: The first row that fits counts.
TABLE: Tuple[Row, ...] = (
    Row(CLOSED, OPEN, ("old",), PREPARED, (UNFLAG, NOTE, REMEMBER)),
    Row((PREPARED, WRITTEN), OPEN, ("old",), None, (UNFLAG, NOTE)),
    Row((ARMED,), OPEN, ("old", "untouched"), WRITTEN, (UNFLAG, NOTE, REMEMBER)),
    Row((ARMED, TRIAL, COMMITTING, REVERTING), OPEN, (), None, (NOTE,)),
    Row((PREPARED, WRITTEN), WROTE, ("old",), WRITTEN, (NOTE,)),
    Row((WRITTEN,), STAGE, ("old", "untouched"), WRITTEN, (STAGED, NOTE)),
    Row((WRITTEN,), ARM, ("old", "untouched"), ARMED, (PLAN, UNFLAG, RESERVE, NOTE, REMEMBER, FLAG, RESTART)),
    Row((ARMED,), DISARM, ("old", "untouched"), WRITTEN, (UNFLAG, NOTE, REMEMBER)),
    Row((ARMED,), BEGIN, ("new", "trial"), TRIAL, (SNAPSHOT, SWAP, APPLY, NOTE)),
    Row(_TRIED, COMMIT, ("new", "tried or kept", "armed medium"), COMMITTING, (NOTE,)),
    Row((COMMITTING,), FINISH, ("new", "armed medium"), COMMITTED, (BOOT_THIS, NOTE, REMEMBER, DROP, PRUNE)),
    Row((ARMED, TRIAL, COMMITTING, REVERTING), REVERT, ("new", "trial"), REVERTING, (NOTE, REMEMBER, RESTART)),
    Row(
        (ARMED, TRIAL, COMMITTING, REVERTING),
        REVERT,
        ("new", "way back"),
        REVERTING,
        (NOTE, REMEMBER, BOOT_OTHER, RESTART),
    ),
    Row((ARMED,), REVERT, ("old", "untouched"), WRITTEN, (UNFLAG, NOTE, REMEMBER)),
    Row((ARMED, TRIAL, COMMITTING, REVERTING), REVERT, ("old",), REVERTING, (UNFLAG, NOTE, REMEMBER, RESTART)),
    Row((ARMED, TRIAL, COMMITTING, REVERTING), BACK, ("old", "touched"), REVERTED, (NOTE, PUT_BACK, DROP, NOTE)),
    Row((ARMED, TRIAL, COMMITTING, REVERTING), BACK, ("old", "fell"), REVERTED, (DROP, NOTE)),
    Row((TRIAL, COMMITTING, REVERTING), BACK, ("old",), REVERTED, (DROP, NOTE)),
    Row((ARMED,), BACK, ("old",), WRITTEN, (UNFLAG, NOTE)),
    Row((PREPARED, WRITTEN, ARMED), ABANDON, ("old", "untouched"), IDLE, (UNFLAG, NOTE, DROP, REMEMBER)),
    Row(
        (PREPARED, WRITTEN, ARMED, TRIAL, COMMITTING, REVERTING),
        ABANDON,
        ("new", "no trial", "no way back"),
        IDLE,
        (NOTE, DROP, REMEMBER),
    ),
    Row((PREPARED, WRITTEN), ABANDON, ("new", "no trial"), IDLE, (NOTE, DROP, REMEMBER)),
)

_TODO: Mapping[str, str] = {
    ABANDON: "commit it (playbook commit), or restart the host: it goes back by itself",
    COMMIT: "look with the playbook status; a trial that was not committed in time has gone back by itself",
    REVERT: "to go back to the system of before a finished upgrade, run the playbook rollback",
}
_LOOK = "look at the host with the playbook status and run the play again"


def rows_for(event: str) -> List[Row]:
    """The rows of an event."""
    return [row for row in TABLE if row.event == event]


def allowed(facts: Facts, event: str) -> Optional[Row]:
    """The row for an event, or ``None`` where it is not allowed."""
    return next((row for row in rows_for(event) if row.fits(facts)), None)


def decide(facts: Facts, event: str) -> Row:
    """The row for an event.

    :raises Refused: when it is not allowed in this phase, or a condition does not hold; with which.
    """
    row = allowed(facts, event)
    if row is not None:
        return row
    rows = [each for each in rows_for(event) if facts.phase in each.phases]
    if rows:
        what = _unmet(facts, rows)
    else:
        phases = sorted({phase for each in rows_for(event) for phase in each.phases})
        what = "the journal is in phase {0}; to {1} it would have to be in phase {2}".format(
            facts.phase, event, " or ".join(phases)
        )
    raise Refused(
        "this is not the time to {0}: {1}".format(event, what),
        safe="nothing was changed",
        todo=_TODO.get(event, _LOOK),
        phase=facts.phase,
    )


def _unmet(facts: Facts, rows: Sequence[Row]) -> str:
    """What is the matter, by the rows that come closest."""
    unmet = [[name for name in row.guards if not GUARDS[name].holds(facts)] for row in rows]
    fewest = min(len(names) for names in unmet)
    names = dict.fromkeys(name for names in unmet if len(names) == fewest for name in names)
    return "; ".join(GUARDS[name].otherwise for name in names)
