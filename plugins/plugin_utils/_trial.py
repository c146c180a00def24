# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a trial from the controller: do what the host says comes next, and ask again where it gives no answer.

Nothing here judges a host or an image. What is lost with the controller, or with the line, is only the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import Line, NotThere

BEGIN, LOOK, ADOPT, CHECK, REVERT, WAIT, END = "begin", "look", "adopt", "check", "revert", "wait", "end"

#: what a host does meanwhile, for the screen
RESTARTING, CHECKING, REVERTING, WAITING = "restarting", "checking", "reverting", "waiting"

#: seconds between two looks whether a backup is at its end
PAUSE = 15.0

#: how long a look at a host that is about to restart waits there (seconds): few calls, and the restart itself ends it
LONG_POLL = 25

Answer = Dict[str, Any]


class Failed(FleetError):
    """The module says so; its message is complete."""

    def __str__(self) -> str:
        return self.what


@dataclass
class Times:
    """How long things may take, in seconds.

    :param boot: one restart.
    :param trial: after which a host on trial goes back by itself.
    """

    boot: float
    trial: float

    @property
    def patience(self) -> float:
        """How long a host may give no answer: it tries the new system, goes back by its timer, starts the old one."""
        return self.trial + 2 * self.boot


def patient(
    ask: Callable[..., Answer],
    seconds: float,
    say: Callable[[str, str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Callable[..., Answer]:
    """Ask a host to begin, and again for as long as a backup is being read from it; each time renews the lease.

    :param ask: as of :class:`Follow`.
    :param seconds: how long to wait for the end of a backup. At the end of it the host refuses.
    """
    until = clock() + seconds

    def asked(step: str, **more: Any) -> Answer:
        if step != BEGIN or seconds <= 0:
            return ask(step, **more)
        while True:
            left = max(0, int(until - clock()))
            answer = ask(step, backup_wait=left, **more)
            if not answer.get("waits"):
                return answer
            say(WAITING, str(answer["waits"]))
            sleep(min(PAUSE, left))

    return asked


class Follow:
    """One trial of one host.

    :param ask: runs the module with a step and more arguments; raises :class:`NotThere` without an answer.
    :param reset: see :class:`Line`.
    :param say: told what the host does now, in a word and as a line for the operator.
    """

    def __init__(
        self,
        ask: Callable[..., Answer],
        reset: Callable[[], None],
        say: Callable[[str, str], None],
        times: Times,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._ask = ask
        self._say = say
        self._times = times
        self._clock = clock
        self._line = Line(reset, sleep)
        #: whether the host may have begun to restart
        self.begun = False

    def run(self, step: str, reason: str = "", boot: str = "") -> Answer:
        """Go on until the host says that this is the end.

        :param step: where to begin.
        :param reason: for a trial that is only to be taken back.
        :param boot: the start of the host that was looked at, where that is known.
        :returns: the last answer; with ``why`` where it was taken back, ``silent`` where the host gave no answer.
        :raises Failed: when the host refuses.
        """
        why, changed = reason, False
        answer: Answer = {"next": step, "reason": reason}
        until = self._clock() + self._times.patience
        while answer["next"] != END:
            step = answer["next"]
            try:
                self.begun = self.begun or step != BEGIN
                if step == REVERT:
                    why = why or str(answer.get("reason") or "no reason given")
                    self._say(REVERTING, "taking it back: {0}".format(why))
                answer = self._step(step, answer, boot, why)
            except NotThere as error:
                if self._clock() >= until:
                    return {"next": END, "changed": changed, "silent": str(error), "why": why}
                self._line.pause()
                self.begun = True
                # what became of the call nobody knows: the host does. One that restarts is waited for
                answer = {"next": WAIT if boot else step, "reason": why}
                continue
            except Failed as error:
                if step != CHECK:
                    raise
                # no verdict on the image; should it have been for a lease that was lost, this is refused as well
                answer = {"next": REVERT, "reason": str(error), "bad": False}
                continue
            self._line.answered()
            changed = changed or bool(answer.get("changed"))
            if answer["next"] == WAIT and answer.get("changed"):
                boot = str(answer["boot_id"])
                until = self._clock() + self._times.patience
                self._say(REVERTING if why else RESTARTING, "restarts")
            elif answer["next"] == WAIT and self._clock() >= until:
                return {"next": END, "changed": changed, "silent": "it does not restart", "why": why}
        return dict(answer, changed=changed, why=why)

    def _step(self, step: str, answer: Mapping[str, Any], boot: str, why: str) -> Answer:
        if step == WAIT:
            return self._ask(LOOK, boot_id=boot, wait=LONG_POLL if boot else 0)
        if step == REVERT:
            return self._ask(REVERT, reason=why, bad=bool(answer.get("bad")))
        if step == CHECK:
            self._say(CHECKING, "checks the new system")
        return self._ask(step)
