# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a controller follows work that goes on by itself on a host (module_utils/_image/job.py)."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push import PushingAction

#: how often a process that works may die before the play gives up
LIVES = 3

#: the longest pause between two lines about the progress, unless the operator wants a longer one (seconds)
SLOWEST = 30


def watch(
    ask: Callable[[int, Optional[str]], Dict[str, Any]],
    say: Callable[[Mapping[str, Any]], None],
    first: int,
    died: FleetError,
) -> Dict[str, Any]:
    """Start or take over work on a host, and tell how far it is until it is over.

    :param ask: runs the module: seconds to wait for the end, and the name of the job to look at.
    :param say: told the progress.
    :param first: seconds between two lines at first.
    :param died: what to say when the process dies again and again.
    :returns: the result of the module.
    """
    jobs: List[str] = []
    polls = 0
    while True:
        # asking costs as much as a small delta: the longer it takes, the less often
        found = ask(min(first * (1 + polls // 6), max(first, SLOWEST)), jobs[-1] if jobs else None)
        if found.get("failed") or found.get("finished", True):
            return found
        polls += 1
        if found["job"] not in jobs:
            jobs.append(found["job"])
        if len(jobs) > LIVES:
            raise died
        say(found["progress"])


class WatchingAction(PushingAction):
    """An action whose module works in the background, and whose operator sees how far that is."""

    def watch(
        self,
        arguments: Dict[str, Any],
        line: Callable[[Mapping[str, Any]], str],
        died: FleetError,
        figures: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda progress: {},
    ) -> Dict[str, Any]:
        """Start or take over the work, and tell how far it is until it is over.

        :param line: makes a line of the progress.
        :param figures: makes of it what :meth:`moves` takes.
        :param died: what to say when the process dies again and again.
        :raises FleetError: that one.
        """
        return watch(
            lambda wait, job: self.module(dict(arguments, detach=True, wait=wait, job=job)),
            lambda progress: self.moves(str(progress.get("phase", "")), line(progress), **figures(progress)),
            int(arguments.get("interval") or 5),
            died,
        )
