# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Restarting a host, on the host: in a process of its own, which sees whether it really happens.

A restart can be refused (shutdown(8) of FreeBSD 15 does so where ``/var/run/noshutdown`` is), and it can be accepted
and not happen. Neither may pass for a start that is over: what counts is ``kern.boot_id``, which is another at each
start (random bytes, ``sys/kern/kern_mib.c``; sysctl(8) only shows them with ``-x``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any, Callable, ContextManager, Dict, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, shown
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job

#: what restarts a FreeBSD: init(8) runs rc.shutdown(8) before it ends everything
SHUTDOWN = ("shutdown", "-r", "now")

#: seconds before the command is given, so that the answer of whoever asked gets out
DELAY = 2.0

#: seconds after which a restart that was accepted ought to have happened. rc.shutdown alone may take 90 of them
#: (``rcshutdown_timeout`` of rc.conf(5)), and init 20 to end what is left (``DEATH_WATCH`` of ``init.c``)
GRACE = 180.0

_REFUSAL = "restart-refused.json"

#: gives whether a restart is still wanted
Still = Callable[[], ContextManager[bool]]


def always() -> ContextManager[bool]:
    """Nobody can take over."""
    return contextlib.nullcontext(True)


def boot_id(runner: Runner) -> str:
    """What names this start of the host.

    :raises FleetError: when the kernel does not say it.
    """
    result = runner.query(["sysctl", "-n", "-x", "kern.boot_id"])
    ident = result.out.strip().rpartition("Dump:")[2] if result.rc == 0 else ""
    if not ident:
        raise FleetError(
            "the kernel does not say which start of the host this is (kern.boot_id)",
            safe="the host was not restarted",
            todo="restart it by hand (shutdown -r now) and run the play again",
        )
    return ident


def _refusal_path() -> str:
    return os.path.join(job.RUN_DIR, _REFUSAL)


def note(reason: str) -> None:
    """Keep why a restart did not happen, for whoever waits for it. Trouble with that must not stop the process."""
    path = _refusal_path()
    with contextlib.suppress(OSError):
        os.makedirs(job.RUN_DIR, mode=0o755, exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(reason, file)
        os.replace(path + ".part", path)


def forget() -> None:
    """Drop what an earlier restart left."""
    with contextlib.suppress(OSError):
        os.unlink(_refusal_path())


def refusal() -> str:
    """Why the restart that was asked for last did not happen; an empty string while nothing is known of that."""
    try:
        with open(_refusal_path(), encoding="utf-8") as file:
            return str(json.load(file))
    except (OSError, ValueError):
        return ""


def look(runner: Runner) -> Dict[str, Any]:
    """What whoever waits for a restart wants to know."""
    return {"boot_id": boot_id(runner), "refused": refusal()}


def restart(
    runner: Runner,
    delay: float,
    grace: float,
    on_refused: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    give_way: Callable[[], None] = lambda: None,
    still: Still = always,
) -> None:
    """Restart the host, and say so when it does not happen. This ends with the process it runs in, or not at all well.

    :param give_way: called when the restart was accepted.
    :param still: whether it is still wanted, and keeps that from changing while the command is given.
    :param on_refused: gets the reason.
    """
    sleep(delay)
    with still() as wanted:
        if not wanted:
            on_refused("somebody else has taken over meanwhile")
            return
        result = runner.query(list(SHUTDOWN))
    if result.rc != 0:
        said: List[str] = (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()
        on_refused("{0} was refused: {1}".format(shown(SHUTDOWN), said[0]))
        return
    give_way()
    sleep(grace)
    on_refused("{0} was accepted, and nothing had happened after {1:g} seconds".format(shown(SHUTDOWN), grace))


def _persist() -> None:
    """Outlive whoever ends the session of the play (SIGHUP is ignored by ``detach`` already)."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _give_way() -> None:
    """End when init(8) says so, or it would wait ten seconds for this alone (``death_single()`` in ``init.c``)."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def begin(
    runner: Runner,
    delay: float = DELAY,
    grace: float = GRACE,
    on_refused: Callable[[str], None] = note,
    still: Still = always,
) -> str:
    """Have the host restart in a moment, by a process that nobody waits for.

    In check mode nothing is done but to record it.

    :param delay: seconds until the command is given.
    :param grace: seconds after which a restart that did not happen counts as refused.
    :param on_refused: called with the reason, in that process; :func:`note` keeps it for :func:`look`.
    :param still: see :func:`restart`.
    :returns: the boot id of the start that ends.
    :raises FleetError: when that cannot be told; the host is not restarted then.
    """
    before = boot_id(runner)
    runner.actions.append(shown(SHUTDOWN))
    if runner.check_mode:
        return before
    forget()

    def work() -> None:
        _persist()
        try:
            restart(runner, delay, grace, on_refused, give_way=_give_way, still=still)
        except Exception as error:  # nobody sees a traceback of this process
            on_refused("the process that restarts the host has a defect: {0}".format(error))

    job.detach(work)
    return before
