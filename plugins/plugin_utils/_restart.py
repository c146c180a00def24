# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a controller waits for the restart of a host (module_utils/_upgrade/restart.py)."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, Dict, Mapping

from ansible.errors import AnsibleError

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import KEY_REFUSED

#: seconds between two looks at a host that restarts: at first, and at most
FIRST, SLOWEST = 1.0, 5.0


class NotThere(Exception):
    """The host gave no answer. While it restarts, that is what it does."""


class OtherKey(FleetError):
    """The host is up, and its ssh key is none that the controller knows: asking on is of no use."""


class RestartRefused(FleetError):
    """The host did not restart, and says why."""


class RestartTimedOut(FleetError):
    """Nobody knows what the host does: it gave no answer, or not one of another start, in time."""


def answer_of(run: Callable[[], Mapping[str, Any]]) -> Dict[str, Any]:
    """What a module says that tells the boot id.

    :param run: runs the module.
    :raises NotThere: when there was no answer, or one of a host that is about to go or has only just come.
    """
    try:
        result = dict(run())
    except AnsibleError as error:
        raise NotThere(str(error))
    if result.get("failed") or result.get("unreachable") or not result.get("boot_id"):
        raise NotThere(str(result.get("msg") or "it gave no answer"))
    return result


class Line:
    """The line to a host that goes and comes back: it is tried after pauses that grow, over a new connection each time.

    :param reset: drops the connection: one that is kept open to a host that is gone hangs.
    """

    def __init__(self, reset: Callable[[], None], sleep: Callable[[float], None]) -> None:
        self._reset = reset
        self._sleep = sleep
        self._rest = FIRST

    def drop(self) -> None:
        """Have the next call made over a connection of its own."""
        with contextlib.suppress(AnsibleError):  # there was none
            self._reset()

    def pause(self) -> None:
        """Before the next try."""
        self._sleep(self._rest)
        self._rest = min(self._rest * 1.5, SLOWEST)
        self.drop()

    def answered(self) -> None:
        """It is there: the next pause is a short one again."""
        self._rest = FIRST


class Restart:
    """One restart of a host, from the controller.

    :param ask: looks at the host; its answer has ``boot_id``, and ``refused`` where the restart did not happen. Raises
        :class:`NotThere` where there is none (see :func:`answer_of`).
    :param reset: see :class:`Line`.
    :param name: of the host, for errors.
    """

    def __init__(
        self,
        ask: Callable[[], Mapping[str, Any]],
        reset: Callable[[], None],
        name: str = "the host",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ask = ask
        self._line = Line(reset, sleep)
        self._name = name
        self._clock = clock
        self._sleep = sleep

    def wait(self, before: str, seconds: float, delay: float = 0.0) -> Dict[str, Any]:
        """Wait until the host has started anew.

        :param before: the boot id of the start that ends.
        :param seconds: how long that may take, from now.
        :param delay: seconds before which nothing can have happened.
        :returns: the first answer of the new start.
        :raises OtherKey: when a host answers whose ssh key is not the one that is known.
        :raises RestartRefused: when the host says that it does not restart.
        :raises RestartTimedOut: when the time is over.
        """
        until = self._clock() + seconds
        self._sleep(delay)
        last = "it was not asked"
        self._line.drop()
        while True:
            try:
                found = dict(self._ask())
            except NotThere as error:
                if any(words in str(error) for words in KEY_REFUSED):
                    raise OtherKey(
                        "{0} is up again (or a jump host on the way to it), with another ssh key than the one that is "
                        "known".format(self._name),
                        safe="what was written before the restart is kept, and nothing was sent to it",
                        todo="look at its console: in recovery mode it has another key at every start, and "
                        "`nanozfs status` says why it is there, and which key it has. Where that is the same, have ssh "
                        "forget the old one (ssh-keygen -R, with the address of the host), accept the new one, and run "
                        "the play again",
                    )
                last = "it gives no answer ({0})".format(" ".join(str(error).split())[:300])
            else:
                if found["boot_id"] != before:
                    return found
                if found.get("refused"):
                    raise RestartRefused(
                        "{0} did not restart: {1}".format(self._name, found["refused"]),
                        safe="it runs on as it did",
                        todo="look what stands in the way (/var/run/noshutdown on FreeBSD 15: precious_machine), then "
                        "run the play again",
                    )
                last = "it answers, and has not restarted yet"
            if self._clock() >= until:
                raise RestartTimedOut(
                    "{0} did not come back within {1:g} seconds: {2}".format(self._name, seconds, last),
                    safe="what was written before the restart is kept",
                    todo="look at its console; once it is up, run the play again",
                )
            self._line.pause()
