# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a transaction makes of the journal, and where an interrupted one goes on.

All of it is pure: a journal goes in, a journal (or a refusal) comes out. :mod:`machine` says which event is allowed
when, :mod:`operations` does what has to be done to the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Dataset
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import USABLE, Pool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, Lease
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.machine import Facts, Row
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step

#: what a play has to do next; see :func:`next_step`
DONE, PREPARE, WRITE, ARM, WAIT, CHECK, REVERT = "done", "prepare", "write", "arm", "wait", "check", "revert"

#: the steps from which the target will be booted, but was not yet
BEFORE_TRIAL = (PREPARE, WRITE, ARM)

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Wish:
    """What a play wants: that *target* runs, committed, in place of what runs now.

    :param timeout: of the trial, in seconds.
    :param data: for a rollback, one of ``journal.KEEP_DATA`` and ``RESTORE_DATA``.
    """

    kind: str
    running: ImageRef
    target: ImageRef
    timeout: int = 600
    allow_bad: bool = False
    data: str = journals.KEEP_DATA


def next_step(journal: Journal, facts: Facts, wish: Wish) -> str:
    """Where to go on.

    :param facts: with ``new_runs`` for the wished target.
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
    if facts.new_runs and journal.phase in (journals.PREPARED, journals.WRITTEN):
        raise Refused(
            "the host runs {0} already, but {1} {2} to it, in phase {3}, has not booted it: somebody replaced the "
            "OS medium, or chose the slice by hand".format(wish.target, journal.kind, journal.txn, journal.phase),
            safe="configuration and data are as the host has them; {0}".format(_NOTHING),
            todo="give it up with `ansible-playbook nanozfs.fleet.abandon -l <host>`, then run this again",
            txn=journal.txn,
            phase=journal.phase,
        )
    return step_of(journal.phase, facts)


def begins_from(journal: Journal, facts: Callable[[], Facts], wish: Wish) -> Journal:
    """The journal from which a wish begins.

    An upgrade to something else that was only written ahead, and whose play has let go of it (the playbook stage),
    stands in nobody's way: it is given up. One whose play was interrupted is somebody's to end.

    :param facts: of the open transaction; they are only asked for where they decide, because that asks the pool.
    :returns: the journal itself where there is nothing to give up.
    """
    ahead = journal.phase in (journals.PREPARED, journals.WRITTEN) and journal.kind == journals.UPGRADE
    other = journal.target is not None and journal.target.id != wish.target.id
    if not ahead or journal.lease is not None or not other:
        return journal
    found = facts()
    return journal if found.new_runs else after(journal, machine.decide(found, machine.ABANDON))


def step_of(phase: str, facts: Facts) -> str:
    """What an open transaction needs next, whoever asks.

    Only the early hook moves a transaction from armed to trial. A target that runs without that was booted past the
    hook, or its hook could not write: nothing of it is to be trusted.
    """
    if phase == journals.PREPARED:
        return WRITE
    if phase == journals.WRITTEN or (phase == journals.ARMED and not facts.new_runs and not facts.touched):
        return ARM
    return CHECK if phase in (journals.TRIAL, journals.COMMITTING) and facts.new_runs else REVERT


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


def check_pool(
    pool: Optional[Pool], root: Optional[Dataset], min_free: int, allow_degraded: bool, role: str = "upgrade"
) -> None:
    """Refuse a transaction that the pool could not carry.

    :param root: the dataset ``<pool>/nanozfs``; its ``available`` is what snapshots and new data have, in bytes.
    :param min_free: how much must be available, in bytes.
    :param role: whose variables are named in messages.
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
            todo="replace the failed disk first, or allow it with {0}_allow_degraded=true".format(role),
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
    """The journal of a transaction that begins."""
    return replace(
        journal,
        phase=journals.PREPARED,
        count=journal.count + 1,
        txn=journal.next_txn(wish.target),
        kind=wish.kind,
        source=wish.running,
        target=wish.target,
        timeout=wish.timeout,
        data=wish.data,
        reason="",
        revived="",
        staged=False,
        fetched=0,
        bad=tuple(each for each in journal.bad if each != wish.target.id),
        apply=(),
        revert=(),
    )


def with_plans(journal: Journal, apply: Sequence[Step], revert: Sequence[Step]) -> Journal:
    """The journal with what happens to the data at the trial, and if that fails.

    :raises Refused: when that is more than a journal holds.
    """
    if max(len(apply), len(revert)) > journals.MAX_STEPS:
        raise Refused(
            "the plan for the data has more than {0} steps".format(journals.MAX_STEPS),
            safe=_NOTHING,
            todo="keep datasets that need not go back out of it (nanozfs:rollback=keep, upgrade_datasets)",
        )
    return replace(journal, apply=tuple(apply), revert=tuple(revert))


def _closed(journal: Journal, **changes: object) -> Journal:
    """A transaction that is over leaves no plans, nobody who works on it, and nothing staged."""
    return replace(journal, apply=(), revert=(), lease=None, staged=False, **changes)  # type: ignore[arg-type]


def _committed(journal: Journal) -> Journal:
    return _closed(
        journal, image=journal.target, fallback=journal.source, fallback_txn=journal.txn, reason="", suspect=""
    )


def _abandoned(journal: Journal) -> Journal:
    return _closed(journal, reason="given up in phase {0}".format(journal.phase))


_ENDS: Dict[str, Callable[[Journal], Journal]] = {
    machine.FINISH: _committed,
    machine.ABANDON: _abandoned,
}


def after(
    journal: Journal,
    row: Row,
    lease: Optional[Lease] = None,
    reason: str = "",
    bad: bool = False,
    fetched: Optional[int] = None,
) -> Journal:
    """The journal as a row of the table leaves it.

    :param lease: of whoever asks, renewed.
    :param reason: why a trial is taken back.
    :param bad: the host itself has found the image wrong: it goes on the list.
    :param fetched: how many bytes the image cost that was written now.
    """
    if fetched is not None:
        journal = replace(journal, fetched=fetched)
    if row.event == machine.REVERT and row.to == journals.REVERTING:
        given = journal.reason if journal.phase == journals.REVERTING and journal.reason else reason
        journal = replace(journal, reason=given)
        journal = journals.mark_bad(journal, journal.target) if bad else journal
    if row.event in _ENDS:
        return replace(_ENDS[row.event](journal), phase=row.next_phase(journal.phase))
    return replace(journal, phase=row.next_phase(journal.phase), lease=lease)


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
