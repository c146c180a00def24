# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a system on trial does what it is for: its services, its ports, the commands of the site."""

from __future__ import annotations

import shlex
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Callable, List, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT, Runner, shown

#: how long connecting to a port of this very host may take (seconds)
_CONNECT = 5.0

_WORDS = "give each command as a list of words, or as text in shell words"

#: one check: its name, and what tries it: an empty string, or what is wrong
Check = Tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Checks:
    """What has to be so.

    :param services: names for service(8); ``onestatus`` has to say that they run.
    :param ports: TCP ports of 127.0.0.1 that something has to listen on.
    :param commands: argument lists that have to exit with 0.
    :param retries: how often each is tried, with *delay* seconds between.
    :param deadline: seconds for all of it.
    """

    services: Sequence[str] = ()
    ports: Sequence[int] = ()
    commands: Sequence[Sequence[str]] = ()
    retries: int = 12
    delay: float = 5.0
    deadline: float = 450.0


def words_of(given: object) -> List[str]:
    """A command as an argument list: one that is a list already, or a text in shell words. No shell ever sees it.

    :raises Refused: when it is neither, or nothing.
    """
    try:
        words = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise Refused("{0!r} is no command: {1}".format(given, error), safe="nothing was changed", todo=_WORDS)
    if not words:
        raise Refused("an empty command is no command", safe="nothing was changed", todo=_WORDS)
    return words


def failures(
    runner: Runner,
    checks: Checks,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> List[str]:
    """Try everything, each as often as it may be.

    :returns: what did not come to be, in words; empty when all is well.
    """
    until = clock() + checks.deadline
    found = []
    for name, attempt in _all(runner, checks, lambda: max(1.0, until - clock())):
        problem = attempt()
        tries = 1
        while problem and tries < checks.retries and clock() + checks.delay < until:
            sleep(checks.delay)
            problem = attempt()
            tries += 1
        if problem:
            found.append("{0}: {1}".format(name, problem))
    return found


def _all(runner: Runner, checks: Checks, left: Callable[[], float]) -> List[Check]:
    found: List[Check] = [("not running", partial(_service, runner, name, left)) for name in checks.services]
    found += [("port", partial(_port, port)) for port in checks.ports]
    found += [("failed", partial(_command, runner, argv, left)) for argv in checks.commands]
    return found


def _run(runner: Runner, argv: Sequence[str], seconds: float) -> Tuple[int, str]:
    """A command that may hang: timeout(1) ends it. Its exit status, and the first line of what it said."""
    result = runner.query(["timeout", "-k", "5", "{0:.0f}".format(seconds), *argv])
    said = (result.err.strip() or result.out.strip() or "no message").splitlines()[0]
    return result.rc, "it did not end" if result.rc == TIMED_OUT else said


def _service(runner: Runner, name: str, left: Callable[[], float]) -> str:
    # onestatus: for a service that is not enabled, status would say nothing and succeed
    rc, _said = _run(runner, ["service", name, "onestatus"], left())
    return name if rc != 0 else ""


def _port(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT).close()
    except OSError:
        return "nothing answers on port {0}".format(port)
    return ""


def _command(runner: Runner, argv: Sequence[str], left: Callable[[], float]) -> str:
    rc, said = _run(runner, argv, left())
    return "{0}: {1}".format(shown(argv), said) if rc != 0 else ""
