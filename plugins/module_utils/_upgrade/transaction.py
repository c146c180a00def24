# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of a transaction: which step may follow which, and where an interrupted one goes on.

All of it is pure: a journal goes in, a journal (or a refusal) comes out. What the steps do to the host is composed by
the roles ``upgrade`` and ``rollback`` and by the early boot hook.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Dataset
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import USABLE, Pool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step

#: what a play has to do next; see :func:`next_step`
DONE, PREPARE, WRITE, ARM, BOOT, CHECK, REVERT = "done", "prepare", "write", "arm", "boot", "check", "revert"

#: the steps from which the target will be booted, but was not yet
BEFORE_TRIAL = (PREPARE, WRITE, ARM, BOOT)

_STEP_OF_PHASE = {journals.PREPARED: WRITE, journals.WRITTEN: ARM, journals.ARMED: BOOT}

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Wish:
    """What a play wants: that *target* runs, committed, in place of what runs now."""

    kind: str
    running: ImageRef
    target: ImageRef
    timeout: int = 600
    allow_bad: bool = False


def next_step(journal: Journal, wish: Wish) -> str:
    """Where to go on.

    :raises Refused: when another transaction is open, the target runs already without having been booted by this one,
        it is on the bad-image list, or it could not be told from what runs.
    """
    if wish.running.build == wish.target.build and wish.running.id != wish.target.id:
        raise Refused(
            "{0} and {1} name the same build ({2}) although they are not the same image: in a trial the host could not "
            "tell which of them it runs".format(wish.running, wish.target, wish.target.build),
            safe=_NOTHING,
            todo="build the new image again; any change of what goes into it gives it a build of its own",
        )
    if not journal.is_open:
        if wish.running.id == wish.target.id:
            return DONE
        _refuse_bad(journal, wish)
        return PREPARE
    _refuse_other(journal, wish)
    if wish.running.id == wish.target.id:
        if journal.phase in (journals.PREPARED, journals.WRITTEN):
            raise Refused(
                "the host runs {0} already, but {1} {2} to it, in phase {3}, has not booted it: somebody replaced the "
                "OS medium, or chose the slice by hand".format(wish.target, journal.kind, journal.txn, journal.phase),
                safe="configuration and data are as the host has them; {0}".format(_NOTHING),
                todo="give it up with `ansible-playbook nanozfs.fleet.abandon -l <host>`, then run this again",
                txn=journal.txn,
                phase=journal.phase,
            )
        # only the early hook moves a transaction from armed to trial. An image that runs without that was booted past
        # the hook, or its hook could not write: nothing of it is to be trusted
        return CHECK if journal.phase == journals.TRIAL else REVERT
    return _STEP_OF_PHASE.get(journal.phase, REVERT)


def _refuse_bad(journal: Journal, wish: Wish) -> None:
    if wish.target.id in journal.bad and not wish.allow_bad:
        raise Refused(
            "the image {0} is on this host's list of bad images: it was tried before and taken back ({1})".format(
                wish.target, journal.reason or "no reason recorded"
            ),
            safe="the host runs {0}; {1}".format(wish.running, _NOTHING),
            todo="publish a mended image, or try this one once more with upgrade_allow_bad=true",
        )


def _refuse_other(journal: Journal, wish: Wish) -> None:
    if journal.target is not None and journal.target.id != wish.target.id:
        raise Refused(
            "a transaction is open on this host already: {0} {1} to {2}, in phase {3}".format(
                journal.kind, journal.txn, journal.target, journal.phase
            ),
            safe="the host runs {0}; {1}".format(wish.running, _NOTHING),
            todo="finish it by running the play again with that version, or give it up with "
            "`ansible-playbook nanozfs.fleet.abandon -l <host>`",
            txn=journal.txn,
            phase=journal.phase,
        )


def check_pool(pool: Optional[Pool], root: Optional[Dataset], min_free: int, allow_degraded: bool) -> None:
    """Refuse a transaction that the pool could not carry.

    :param root: the dataset ``<pool>/nanozfs``; its ``available`` is what snapshots and new data have, in bytes.
    :param min_free: how much must be available, in bytes.
    :raises Refused: with the reason.
    """
    if pool is None:
        raise Refused(
            "the pool is not imported, the host has no place for a snapshot or the journal",
            safe=_NOTHING,
            todo="look with the playbook status why it is missing; zpool import says what is there",
        )
    if pool.health not in USABLE or pool.readonly:
        raise Refused(
            "the pool {0} is {1}{2}".format(pool.name, pool.health, ", read-only" if pool.readonly else ""),
            safe=_NOTHING,
            todo="repair the pool first (zpool status -x)",
        )
    if pool.health == "DEGRADED" and not allow_degraded:
        raise Refused(
            "the pool {0} is DEGRADED: it has no redundancy left to lose during an upgrade".format(pool.name),
            safe=_NOTHING,
            todo="replace the failed disk first, or allow it with upgrade_allow_degraded=true",
        )
    if root is None:
        raise Refused(
            "the pool {0} has no dataset {0}/nanozfs".format(pool.name),
            safe=_NOTHING,
            todo="install the host with the playbook deploy",
        )
    if root.available < min_free:
        raise Refused(
            "the pool {0} has only {1} MiB available, {2} MiB are asked for".format(
                pool.name, root.available >> 20, min_free >> 20
            ),
            safe=_NOTHING,
            todo="free some space: old failed states (zfs list -r {0}) and old snapshots come first".format(root.name),
            available=root.available,
        )


def prepare(journal: Journal, wish: Wish) -> Journal:
    """Open the transaction, or adopt it where it is open already.

    :raises Refused: see :func:`next_step`.
    """
    if next_step(journal, wish) != PREPARE:
        return journal
    return replace(
        journal,
        phase=journals.PREPARED,
        count=journal.count + 1,
        txn=journal.next_txn(wish.target),
        kind=wish.kind,
        source=wish.running,
        target=wish.target,
        timeout=wish.timeout,
        reason="",
        revived="",
        bad=tuple(each for each in journal.bad if each != wish.target.id),
        apply=(),
        revert=(),
    )


def _advance(journal: Journal, phase: str, allowed: Sequence[str]) -> Journal:
    if journal.phase == phase:
        return journal
    if journal.phase not in allowed:
        raise Refused(
            "the journal is in phase {0}; only from {1} can it become {2}".format(
                journal.phase, " or ".join(allowed), phase
            ),
            safe=_NOTHING,
            todo="look at the host with the playbook status and run the play again",
            phase=journal.phase,
        )
    return replace(journal, phase=phase)


def mark_written(journal: Journal) -> Journal:
    """The inactive slice holds the target, every byte compared."""
    return _advance(journal, journals.WRITTEN, (journals.PREPARED,))


def arm(journal: Journal, apply: Sequence[Step], revert: Sequence[Step]) -> Journal:
    """The next boot may be the trial; the plans say what happens to the data then and if it fails."""
    if max(len(apply), len(revert)) > journals.MAX_STEPS:
        raise Refused(
            "the plan for the data has more than {0} steps".format(journals.MAX_STEPS),
            safe=_NOTHING,
            todo="keep datasets that need not go back out of it (nanozfs:rollback=keep, upgrade_datasets)",
        )
    armed = _advance(journal, journals.ARMED, (journals.WRITTEN,))
    return replace(armed, apply=tuple(apply), revert=tuple(revert))


def commit(journal: Journal) -> Journal:
    """The trial was good: what runs is what shall run."""
    committed = _advance(journal, journals.COMMITTED, (journals.TRIAL,))
    if committed is journal:
        return journal
    return replace(
        committed,
        image=journal.target,
        fallback=journal.source,
        fallback_txn=journal.txn,
        reason="",
        apply=(),
        revert=(),
    )


def revert(journal: Journal, reason: str) -> Journal:
    """Ask the early hook of the old slice to put the data back at the next boot."""
    asked = _advance(journal, journals.REVERTING, (journals.TRIAL, journals.ARMED, journals.WRITTEN, journals.PREPARED))
    if asked is journal:
        return journal
    return journals.mark_bad(replace(asked, reason=reason), journal.target)


def abandon(journal: Journal, running: Optional[ImageRef] = None) -> Journal:
    """Close a transaction whose trial has not begun, or one that has nothing left to take back.

    :param running: what runs, where this boot is no trial. When it is the target of a transaction that could be neither
        committed nor reverted, because the old system is gone, the host and its data stay as they are.
    :raises Refused: when the trial has begun; then it must be committed or reverted.
    """
    if not journal.is_open:
        return journal
    stuck = running is not None and journal.target is not None and running.id == journal.target.id
    if journal.phase not in (journals.PREPARED, journals.WRITTEN, journals.ARMED) and not stuck:
        raise Refused(
            "transaction {0} is in phase {1} and cannot be given up any more".format(journal.txn, journal.phase),
            safe=_NOTHING,
            todo="commit it (playbook commit), or reboot the host: it reverts by itself",
        )
    return replace(
        journal, phase=journals.IDLE, reason="given up in phase {0}".format(journal.phase), apply=(), revert=()
    )


def record(journal: Journal, running: ImageRef) -> Journal:
    """Note what runs, where no transaction is open: after an installation, or after a medium was replaced."""
    if journal.is_open:
        return journal
    if journal.image is not None and journal.image.id == running.id:
        return replace(journal, revived="") if journal.revived else journal
    known = journal.fallback is not None and journal.fallback.id == running.id
    return replace(
        journal,
        image=running,
        revived="",
        # the snapshot belongs to a pair of images; after a medium of a third version it fits neither
        fallback=journal.image if known else None,
        fallback_txn=journal.fallback_txn if known else None,
    )


def rollback_target(journal: Journal, running: ImageRef) -> ImageRef:
    """The image that a rollback by hand goes back to: what ran before the last upgrade.

    After a rollback it is what runs already. Otherwise a play that is run once more, because it failed on another host,
    would take this one forward again.

    :raises Refused: when the journal knows of none.
    """
    rolled_back = journal.kind == journals.ROLLBACK and journal.phase == journals.COMMITTED
    if rolled_back and journal.target is not None and journal.target.id == running.id:
        return running
    if journal.fallback is None:
        raise Refused(
            "the journal knows of no earlier image to go back to",
            safe=_NOTHING,
            todo="upgrade to the version that you want instead: its seq decides whether that is allowed",
        )
    return journal.fallback
