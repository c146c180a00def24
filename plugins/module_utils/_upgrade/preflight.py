# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The one look before an upgrade or a rollback: is the host fit, what would be done, and could that be undone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import GPT, Medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import USABLE, Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Inside, check_readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine, operations, transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

#: what the early hook leaves in the kernel environment
STATE, REASON = "nanozfs.state", "nanozfs.reason"
NORMAL, RECOVERY, TRIAL, UNKNOWN = "normal", "recovery", "trial", "unknown"

#: where it is, shutdown(8) and reboot(8) refuse (FreeBSD 15: libexec/rc/rc.d/noshutdown, sbin/shutdown/shutdown.c)
NO_SHUTDOWN = "/var/run/noshutdown"

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Demands:
    """What is asked of a host.

    :param role: whose variables are named in messages: ``upgrade`` or ``rollback``.
    :param min_free: bytes that the pool must have available.
    """

    role: str = "upgrade"
    min_free: int = 67108864
    allow_bad: bool = False
    allow_degraded: bool = False
    allow_mbr: bool = False


class Plan(NamedTuple):
    """What would be done: one of the steps of :mod:`transaction`, and what is known of it."""

    step: str
    txn: Optional[str]

    def todo(self, staged: bool) -> Dict[str, bool]:
        """Which parts of the work are still to be done, for those who only compose.

        :param staged: the site has tasks that change the configuration.
        """
        before = self.step in transaction.BEFORE_TRIAL
        return {
            "open": self.step != transaction.DONE,
            "write": self.step in (transaction.PREPARE, transaction.WRITE),
            "stage": before and staged,
            "try": self.step != transaction.DONE,
        }


def state_of(runner: Runner, medium: Optional[Medium]) -> Tuple[str, str]:
    """State of the host and its reason, as the early boot hook left them in the kernel environment."""
    state, reason = kenv(runner, STATE), kenv(runner, REASON)
    if state == NORMAL and medium is not None and medium.on_trial():
        return TRIAL, reason
    return (state if state in (NORMAL, RECOVERY) else UNKNOWN), reason


def pool_problem(runner: Runner, name: str) -> str:
    """Why a pool does not serve its data; empty while it does."""
    pool = Zpool(runner).pool(name)
    if pool is not None and pool.health in USABLE:
        return ""
    return "the pool {0} is {1}".format(name, pool.health if pool else "not imported")


def _unfit(role: str, why: str, todo: str, **details: Any) -> Refused:
    return Refused(
        "this host is not fit for {0}: {1}".format("an upgrade" if role == "upgrade" else "a rollback", why),
        safe=_NOTHING,
        todo=todo,
        **details,
    )


def fit(runner: Runner, limits: Demands, pool: Optional[str]) -> Situation:
    """The situation of a host that can begin a trial, or is in the middle of one.

    :raises Refused: with what is the matter.
    :raises FleetError: when what decides cannot be read.
    """
    state, reason = state_of(runner, None)
    if state != NORMAL:
        raise _unfit(
            limits.role,
            "its state is {0} ({1})".format(state, reason or "no reason known"),
            "a host in recovery mode needs its pool first; one that the collection did not install needs the playbook "
            "deploy",
            condition=state,
        )
    here = look(runner, pool)
    medium = here.medium
    if medium.duplicates:
        raise _unfit(
            limits.role,
            "slices of the same names are on another disk: {0}".format(", ".join(medium.duplicates)),
            "take that disk out",
        )
    if medium.inactive is None:
        raise _unfit(
            limits.role,
            "the OS medium {0} has no other slice to write to".format(medium.disk),
            "replace the medium by one that the playbook build has made",
        )
    if medium.scheme != GPT and not limits.allow_mbr:
        raise Refused(
            "the OS medium {0} has an {1}, which cannot boot a slice once: a system that comes up goes back by itself "
            "as everywhere; but one whose loader or kernel does not start would be started again for ever, and "
            "somebody had to choose the old slice at its console".format(medium.disk, medium.scheme),
            safe=_NOTHING,
            todo="accept that with {0}_allow_mbr=true, or replace the medium by one with a GPT".format(limits.role),
        )
    return here


def running_ref(here: Situation) -> ImageRef:
    """The image that runs, by what its slice really holds; that reads all of it.

    :raises Refused: when it cannot be told.
    """
    content = read_slice(here.medium.slices[here.medium.running], True)
    ref = content.ref()
    if ref is None:
        raise Refused(
            "it cannot be told which image runs: {0}".format(content.problem),
            safe=_NOTHING,
            todo="look at the host with the playbook status",
        )
    return ref


def plan(here: Situation, wish: Wish, limits: Demands, datasets: Sequence[str]) -> Plan:
    """What would be done, with everything tried that has to work later.

    :raises Refused: when it is not allowed, the pool could not carry it, or data could not be put back.
    """
    here = here.again(transaction.begins_from(here.journal, here.facts, wish))
    facts = here.facts(None if here.journal.is_open else wish.target.build)
    step = transaction.next_step(here.journal, facts, wish)
    if step in transaction.BEFORE_TRIAL:
        refuse_no_shutdown(limits.role)
        transaction.check_pool(
            Zpool(here.runner).pool(here.pool),
            here.zfs.dataset(here.root),
            limits.min_free if step == transaction.PREPARE else 0,
            limits.allow_degraded,
            limits.role,
        )
        would = here.journal if here.journal.is_open else transaction.prepare(here.journal, wish)
        operations.plans(here, would, operations.Data(datasets), "{0}/failed/{1}".format(here.root, would.txn))
    if step != transaction.DONE:
        machine.decide(facts, machine.OPEN)
    return Plan(step, here.journal.txn if here.journal.is_open else None)


def refuse_no_shutdown(role: str) -> None:
    """Refuse a host that would not restart: better before anything is written than after.

    :raises Refused: where it has been told so.
    """
    if os.path.exists(NO_SHUTDOWN):
        raise _unfit(
            role,
            "it refuses to be restarted ({0} is there, by precious_machine in rc.conf)".format(NO_SHUTDOWN),
            "remove that file (`rm {0}`) for as long as this takes".format(NO_SHUTDOWN),
        )


def check_features(here: Situation, step: str, target: ImageRef, features: Optional[Sequence[str]]) -> List[str]:
    """Refuse a target whose ZFS could not open the pool; a warning where that cannot be told.

    :param features: the features of pools that it knows; ``None`` where it does not say.
    """
    if step not in transaction.BEFORE_TRIAL:
        return []
    if features is None:
        return ["{0} does not say which features of pools its ZFS knows: not checked".format(target)]
    used = Zpool(here.runner).features(here.pool).active
    check_readable("the image {0}".format(target), features, "the pool {0}".format(here.pool), used)
    return []


def refuse_busy(here: Situation, demands: Demands, holder: Mapping[str, str], take_over: bool) -> None:
    """Refuse while another play is at work, already when one only looks.

    :param holder: who asks.
    :raises Refused: with who that is.
    """
    if here.journal.is_open and not take_over:
        how = "-e {0}_take_over=true".format(demands.role)
        leases.claim(here.journal, leases.moment(here.runner), holder, 0, how=how)


def rollback_wish(here: Situation, running: ImageRef, timeout: int, data: str) -> Wish:
    """What a rollback by hand wants: the image of before.

    :raises Refused: when the journal knows of none.
    """
    journal = here.journal
    opened = journal.target if journal.is_open and journal.kind == journals.ROLLBACK else None
    target = opened or transaction.rollback_target(journal, running)
    return Wish(journals.ROLLBACK, running, target, timeout, allow_bad=True, data=data)


def other_image(here: Situation, wish: Wish, step: str, digest: bool) -> Optional[Inside]:
    """What the other slice says of itself; before the trial of a rollback it has to be the image that is gone back to.

    :param digest: compare what the slice really holds, which reads all of it.
    :raises Refused: when it is another one.
    """
    piece = here.medium.inactive
    if piece is None:
        return None
    content = read_slice(piece, digest)
    same = content.inside is not None and content.inside.build == wish.target.build
    same = same and (not digest or content.ident == wish.target.id)
    if step in transaction.BEFORE_TRIAL and not same:
        raise Refused(
            "{0} does not hold {1} any more: {2}".format(
                piece.label, wish.target.version, content.problem or "another image is in it"
            ),
            safe=_NOTHING,
            todo="upgrade to the version that you want instead",
        )
    return content.inside


def same_start(runner: Runner, boot: str) -> None:
    """Refuse to act on what was seen before the host was restarted.

    :param boot: ``kern.boot_id`` of the look.
    :raises Refused: when it is another one now.
    """
    if boot and leases.moment(runner).boot != boot:
        raise Refused("the host was restarted since it was looked at", safe=_NOTHING, todo="run the play again")


def shown(journal: journals.Journal, running: ImageRef, target: ImageRef, found: Plan) -> Mapping[str, Any]:
    """What both kinds of look return."""
    return {
        "step": found.step,
        "txn": found.txn,
        "running": running.as_dict(),
        "target": target.as_dict(),
        "journal": journal.as_dict(),
    }
