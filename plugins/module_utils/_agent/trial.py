# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Keeping a trial, taking it back, and finishing a commit that was interrupted, by somebody at the host itself.

The same operations as the plays use, under the same lock. Somebody who is there may take a trial back whoever else is
at work; to keep one he has to say that he takes over from a play that is.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine, operations
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Keep, Operation, Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import (
    RECOVERY,
    TRIAL,
    pool_problem,
    state_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look

_NOTHING = "nothing was changed"
_BACK = "nothing was changed; a restart leads back to the system of before"

Clock = Callable[[], float]


def _me(take_over: bool) -> Play:
    return Play(holder={"user": "somebody", "node": "the host itself"}, take_over=take_over)


def commit(runner: Runner, clock: Clock, take_over: bool = False) -> str:
    """Keep what is on trial.

    :param clock: seconds since the epoch.
    :param take_over: also from a play that is at work.
    :returns: what there is to say about it.
    :raises Refused: when there is no trial, or it is none of the open transaction's image, or the host is not fit.
    """
    with leases.locked():
        here = look(runner)
        if here.journal.phase == journals.COMMITTED and here.runs_target:
            return "{0} is committed already".format(here.journal.target)
        machine.decide(here.facts(), machine.FINISH if here.journal.phase == journals.COMMITTING else machine.COMMIT)
        _refuse_unfit(here)
        token = operations.in_place_of(here, _me(take_over), "`nanozfs commit --take-over`")
        return _kept(here, clock, Play(token))


def _refuse_unfit(here: Situation) -> None:
    state, reason = state_of(here.runner, here.medium)
    if state == RECOVERY or (state != TRIAL and here.journal.phase == journals.TRIAL and not here.medium.boots_again()):
        raise Refused(
            "the host is in state {0} ({1}): a system that does not find its data is not fit to be kept".format(
                state, reason or "no reason given"
            ),
            safe=_BACK,
            todo="`nanozfs revert`, or just restart the host",
        )
    problem = pool_problem(here.runner, here.pool)
    if problem:
        raise Refused(
            problem,
            safe=_BACK,
            todo="repair the pool, or take the trial back with `nanozfs revert`",
        )


def _kept(here: Situation, clock: Clock, play: Play) -> str:
    done = operations.commit(here, Keep(), clock, play)
    return "{0} is committed: it boots from now on, from {1}".format(done.journal.image, here.medium.running)


def reconcile(runner: Runner, clock: Clock) -> Optional[str]:
    """Finish a commit that was decided, and interrupted before it was done. Nothing else is ever kept by itself.

    :returns: what was done; ``None`` when there was nothing to do.
    """
    with leases.locked():
        here = look(runner)
        if here.journal.phase != journals.COMMITTING or state_of(runner, here.medium)[0] == RECOVERY:
            return None
        if machine.allowed(here.facts(), machine.FINISH) is None:
            return None
        lease = here.journal.lease
        return "finished an interrupted commit: " + _kept(here, clock, Play(lease.token if lease else None))


class Reverted(NamedTuple):
    """What there is to say of a trial that is taken back, and whether the host has to be restarted for it."""

    says: str
    restart: bool


def revert(runner: Runner, reason: str) -> Reverted:
    """Take the trial back. The restart is up to the caller.

    :raises Refused: when there is nothing to take back.
    """
    medium = read_medium(runner)
    try:
        with leases.locked():
            here = look(runner)
            token = operations.in_place_of(here, _me(True), "")
            done = Operation(here, Play(token)).run(machine.REVERT, reason=reason, bad=True)
    except FleetError as error:
        if isinstance(error, Refused) or not medium.on_trial():
            raise
        return Reverted(
            "the journal cannot be reached ({0}); a restart ends the trial all the same".format(error.what), True
        )
    target, source = here.journal.target, here.journal.source
    restart = machine.RESTART in done.row.actions
    if not restart:
        return Reverted("the trial of {0} will not begin: {1} goes on".format(target, source), restart)
    if not here.runs_target:
        return Reverted("the trial of {0} is given up; the data is put back at the next start".format(target), restart)
    return Reverted("{0} is taken back; {1} starts, and finds its data as it was".format(target, source), restart)
