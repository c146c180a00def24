# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeping a trial, taking it back, and finishing a commit that was interrupted: what the plays do, on the host itself.

A commit is two steps, as in ``roles/trial/tasks/commit.yml``: the running slice becomes the one that boots, then the
journal says so. Interrupted between, :func:`reconcile` does the second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Medium, read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import USABLE, Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._host import RECOVERY, TRIAL, state_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice, running_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Inside
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import selection, transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, JournalStore

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Situation:
    """What has to be known of a host before its trial is ended, one way or the other."""

    runner: Runner
    medium: Medium
    image: Inside
    state: str
    reason: str
    store: JournalStore
    journal: Journal

    @property
    def runs_target(self) -> bool:
        """Whether the running image is the one that the journal's transaction brings.

        Compared by build: ``transaction.next_step`` refuses two images that name the same one.
        """
        return self.journal.target is not None and self.journal.target.build == self.image.build

    def write(self, journal: Journal) -> None:
        """Write the journal, and let the OS medium know. Should that not work, the journal counts all the same."""
        self.store.write(journal)
        _state.tell(self.runner, self.image.pool, journal)

    @property
    def half_committed(self) -> bool:
        """Whether a commit was interrupted: the slice is the one that boots, and the journal does not know."""
        return self.journal.phase == journals.TRIAL and self.runs_target and self.medium.boots_again()


def look(runner: Runner) -> Situation:
    """The situation of the host.

    :raises FleetError: when it cannot be told, because the medium, the image or the journal cannot be read.
    """
    medium = read_medium(runner)
    image = running_image(medium)
    if image is None:
        raise Refused(
            "{0} does not say which image it holds".format(medium.running),
            safe=_NOTHING,
            todo="look with `nanozfs status`",
        )
    state, reason = state_of(runner, medium)
    store = JournalStore(Zfs(runner), image.pool)
    return Situation(runner, medium, image, state, reason, store, store.read())


def commit(runner: Runner) -> str:
    """Keep what is on trial.

    :returns: what there is to say about it.
    :raises Refused: when there is no trial, or it is none of the open transaction's image, or the host is not fit.
    """
    here = look(runner)
    if here.journal.phase == journals.COMMITTED and here.runs_target:
        return "{0} is committed already".format(here.journal.target)
    if here.half_committed:
        return _finish(here)
    if not here.medium.on_trial() or here.journal.phase != journals.TRIAL:
        raise Refused(
            "there is no trial to commit: the host runs {0}-{1} from {2}, the journal is in phase {3}".format(
                here.image.name, here.image.version, here.medium.running, here.journal.phase
            ),
            safe=_NOTHING,
            todo="look with `nanozfs status`; a trial that was not committed in time has gone back by itself",
        )
    if not here.runs_target:
        raise Refused(
            "the host runs build {0}, and not {1}, which is on trial".format(here.image.build, here.journal.target),
            safe=_NOTHING,
            todo="restart the host: it goes back by itself",
        )
    if here.state != TRIAL:
        raise Refused(
            "the host is in state {0} ({1}): a system that does not find its data is not fit to be kept".format(
                here.state, here.reason or "no reason given"
            ),
            safe="nothing was changed; a restart leads back to the system of before",
            todo="`nanozfs revert`, or just restart the host",
        )
    pool = Zpool(runner).pool(here.image.pool)
    if pool is None or pool.health not in USABLE:
        raise Refused(
            "the pool {0} is {1}".format(here.image.pool, pool.health if pool else "not imported"),
            safe="nothing was changed; a restart leads back to the system of before",
            todo="repair the pool, or take the trial back with `nanozfs revert`",
        )
    return _finish(here)


def _finish(here: Situation) -> str:
    # where a commit was interrupted that may be done already, or by half: the flags of an MBR are two writes
    selection.choose(here.runner, "running", "active")
    here.write(transaction.commit(here.journal))
    return "{0} is committed: it boots from now on, from {1}".format(here.journal.target, here.medium.running)


def reconcile(runner: Runner) -> Optional[str]:
    """Finish a commit that was interrupted between the boot flags and the journal.

    :returns: what was done; ``None`` when there was nothing to do.
    """
    here = look(runner)
    if not here.half_committed or here.state == RECOVERY:
        return None
    return "finished an interrupted commit: " + _finish(here)


def revert(runner: Runner, reason: str) -> str:
    """Ask for the data back and see that the next start is that of the old system. The restart is up to the caller.

    :returns: what there is to say before it.
    :raises Refused: when there is nothing to take back.
    """
    medium = read_medium(runner)
    try:
        here = look(runner)
    except FleetError as error:
        if not medium.on_trial():
            raise
        return "the journal cannot be reached ({0}); a restart ends the trial all the same".format(error.what)
    if here.journal.phase == journals.REVERTING and not here.runs_target:
        return "the data is put back at the next start"
    if here.journal.phase not in (journals.ARMED, journals.TRIAL, journals.REVERTING):
        raise Refused(
            "there is nothing to take back: the journal is in phase {0}".format(here.journal.phase),
            safe=_NOTHING,
            todo="to go back to the system of before a finished upgrade, run the playbook rollback",
        )
    if not here.runs_target:
        here.write(transaction.revert(here.journal, reason))
        # armed, but not restarted: the old system runs and shall do so after the restart as well
        selection.choose(runner, "inactive", "inactive")
        return "the trial of {0} is given up; the data is put back at the next start".format(here.journal.target)
    if not medium.on_trial():
        _refuse_without_old_system(here)
    here.write(transaction.revert(here.journal, reason))
    if not medium.on_trial():  # half a commit: the flags were turned round already
        selection.choose(runner, "inactive", "active")
    return "{0} is taken back; {1} starts, and finds its data as it was".format(
        here.journal.target, here.journal.source
    )


def _refuse_without_old_system(here: Situation) -> None:
    other, source = here.medium.inactive, here.journal.source
    inside = read_slice(other, False).inside if other is not None else None
    if source is None or inside is None or inside.build != source.build:
        raise Refused(
            "the other slice does not hold {0} any more, so there is nothing to go back to".format(source),
            safe=_NOTHING,
            todo="keep what runs, with `nanozfs commit`",
        )
