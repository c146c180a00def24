# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who works on a host: one at a time, and nobody any more who was taken over.

Two things. The *lock* is held while one call looks and acts, so that nothing changes between the two. The *lease* lies
in the journal and is held by a play from its first call to its last, over restarts of the host: every call that changes
anything carries its token, and is refused when another play has taken over.

Time is counted from the start of the host, so a clock that is set does not end a lease, and a restart, during which
nobody can be heard of, does not either: a lease that was heard of before the restart lasts its whole time from the
start on. Source: ``kern.boottime`` follows the clock when that is set (``sys/kern/kern_tc.c``, tc_setclock), so the
difference of the two is the time since the start.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from dataclasses import dataclass, replace
from typing import Dict, Iterator, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import waited_for
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, Lease

#: how long a lease lasts after its holder was heard of last, where nobody says (seconds)
SECONDS = 600

#: how long a call waits for another one to let go of the lock (seconds)
PATIENCE = 120.0

LOCK = "transaction.lock"

_BOOTED = re.compile(r"sec = (\d+)(?:, usec = (\d+))?")
_NOTHING = "nothing was changed"

#: the keys of a holder, in the order in which they are said
HOLDER = ("user", "node", "job", "pid")
#: further ones, by which a process is told from others: when it was started, and among which processes it is one
_WHICH = ("started", "space")
_TEXT = re.compile(r"[^\w.@:+/#-]+")


@dataclass(frozen=True)
class Moment:
    """A point in time on a host: which start (``kern.boot_id``), and how many seconds after it."""

    boot: str
    uptime: float


def moment(runner: Runner) -> Moment:
    """Now."""
    # an opaque value: printed as bytes in hexadecimal with -x (sysctl(8)), as "Format: Length:16 Dump:0x..."
    boot = sysctl(runner, "kern.boot_id", "-x")
    match = _BOOTED.search(sysctl(runner, "kern.boottime"))
    began = int(match.group(1)) + int(match.group(2) or 0) / 1e6 if match else 0.0
    return Moment(boot.rpartition(":")[2], max(0.0, time.time() - began))


def holder_of(given: Mapping[str, object]) -> Dict[str, str]:
    """Who asks, as it is kept: known keys, short and plain."""
    found = {key: _TEXT.sub("_", str(given[key]))[:80] for key in HOLDER + _WHICH if given.get(key)}
    return found or {"user": "somebody"}


def describe(holder: Mapping[str, str]) -> str:
    """A holder in words."""
    words = "{0}{1}".format(holder.get("user", "somebody"), "@" + holder["node"] if "node" in holder else "")
    if "job" in holder:
        words += ", job {0}".format(holder["job"])
    return words + (", process {0}".format(holder["pid"]) if "pid" in holder else "")


def seconds_left(lease: Lease, now: Moment) -> float:
    """How long a lease lasts if nothing is heard of its holder."""
    heard = lease.heard if lease.boot == now.boot else 0.0
    return max(0.0, heard + lease.seconds - now.uptime)


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two holders are one process of one machine: a play that begins anew has not to wait for itself."""
    known = all(one.get(key) for key in ("node", "pid", "started"))
    return known and all(one.get(key) == other.get(key) for key in ("node", "pid", *_WHICH))


def claim(
    journal: Journal,
    now: Moment,
    holder: Mapping[str, str],
    seconds: int,
    token: Optional[str] = None,
    take_over: bool = False,
    how: str = "-e upgrade_take_over=true",
) -> Lease:
    """A lease on the journal's transaction, for a play that begins or goes on.

    :param token: of its earlier lease, if it has one.
    :param take_over: also from a holder whose time is not over.
    :param how: how to take over, for the message.
    :raises Refused: when another one works on it.
    """
    old = journal.lease
    mine = old is not None and (old.token == token or _same(old.holder, holder))
    if old is not None and not mine and not take_over and seconds_left(old, now) > 0:
        raise Refused(
            "another play is at work on this host: {0}, since {1}; {2} {3} is in phase {4}".format(
                describe(old.holder), old.since, journal.kind, journal.txn, journal.phase
            ),
            safe="{0}; that play goes on".format(_NOTHING),
            todo="wait for it. If it is gone for good, its lease ends by itself in {0:.0f} seconds; to take over at "
            "once: {1}".format(seconds_left(old, now), how),
            lease=old.as_dict(),
            phase=journal.phase,
        )
    return Lease(
        token=old.token if old is not None and mine else secrets.token_hex(8),
        holder=dict(holder),
        since=old.since if old is not None and mine else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        boot=now.boot,
        heard=now.uptime,
        seconds=seconds,
    )


def renewed(journal: Journal, now: Moment, token: Optional[str]) -> Optional[Lease]:
    """The lease of a play that makes a further call, or ``None`` where nobody holds one and none was named.

    A lease whose time is over still counts, as long as nobody has taken over.

    :param token: of the caller; ``None`` for one without a lease, as somebody at the host.
    :raises Refused: when the caller has lost it, or somebody else holds one.
    """
    lease = journal.lease
    if token is not None and (lease is None or lease.token != token):
        raise Refused(
            "this play has lost its lease on the host: {0}".format(
                "{0} has taken over, since {1}; {2} {3} is in phase {4}".format(
                    describe(lease.holder), lease.since, journal.kind, journal.txn, journal.phase
                )
                if lease is not None
                else "the transaction was ended by somebody else (phase {0})".format(journal.phase)
            ),
            safe="{0} by this play any more".format(_NOTHING),
            todo="see how the other one ends (playbook status)",
            phase=journal.phase,
        )
    if lease is None:
        return None
    if token is None and seconds_left(lease, now) > 0:
        claim(journal, now, {}, lease.seconds)  # refuses, with the words for it
    return replace(lease, boot=now.boot, heard=now.uptime) if token is not None else None


@contextlib.contextmanager
def locked(check_mode: bool = False, patience: Optional[float] = None) -> Iterator[None]:
    """Hold the host's lock: nothing of a transaction changes meanwhile.

    :param check_mode: nothing will be changed; then there is no lock.
    :param patience: seconds to wait for it; by default :data:`PATIENCE`.
    :raises FleetError: when somebody else keeps it.
    """
    if check_mode:
        yield
        return
    busy = Refused(
        "another call is at work on this host's transaction, and does not end",
        safe=_NOTHING,
        todo="look for it on the host (`fstat {0}`), then run the play again".format(os.path.join(job.RUN_DIR, LOCK)),
    )
    with waited_for(job.RUN_DIR, LOCK, 0o755, PATIENCE if patience is None else patience, busy):
        yield
