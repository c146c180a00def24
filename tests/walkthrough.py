# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps that run plays as an operator does, look at the hosts, and fail unless everything is as it should be."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Tuple

from ansible_collections.nanozfs.fleet.tests.site import Site


class NotAsItShouldBe(Exception):
    """A check failed."""


class Steps:
    """Steps on a screen, with facts that must hold."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        #: steps that are done: title and seconds
        self.steps: List[Tuple[str, float]] = []
        self.checks = 0

    # the screen

    def say(self, text: str = "") -> None:
        """A line on the screen."""
        print(text, flush=True)

    def step(self, title: str, work: Callable[[], None]) -> None:
        """One step, with its time."""
        self.say("\n{0:>2}. {1}".format(len(self.steps) + 1, title))
        began = time.monotonic()
        try:
            work()
        finally:  # one that fails is in the table as well
            self.steps.append((title, time.monotonic() - began))
        self.say("    {0:.0f} s".format(self.steps[-1][1]))

    def shows(self, text: str, right: bool, seen: Any = "") -> None:
        """A fact that must hold.

        :raises NotAsItShouldBe: when it does not.
        """
        self.checks += 1
        if not right:
            raise NotAsItShouldBe("{0}; seen: {1}".format(text, seen))
        self.say("    ok  {0}".format(text))


class Walkthrough(Steps):
    """A walk through the main jobs, step by step.

    :param site: whose plays are run.
    :param log: path of the file that gets the output of all plays.
    """

    def __init__(self, site: Site, log: str) -> None:
        super().__init__()
        self.site = site
        self.log = log

    def play(self, play: str, *arguments: str, fails: bool = False) -> str:
        """Run a play in the site's folder, and show what was typed."""
        self.say("    $ {0}".format(" ".join(self.site.command(play, *arguments))))
        return self.site.play(play, *arguments, fails=fails, log=self.log)

    # looking at hosts

    def state(self, *hosts: str) -> Dict[str, Any]:
        """What host_info says of hosts."""
        return self.site.look(*hosts)

    def data(self, host: str) -> Dict[str, Any]:
        """What the application keeps in /var, from the file itself."""
        return json.loads(self.site.ssh(host, "cat /var/db/fleetapp/data.json"))

    def note(self, host: str, text: str) -> None:
        """Write marker data into /var and /cfg, as the application and an administrator would."""
        script = (
            "import json; p='/var/db/fleetapp/data.json'; d=json.load(open(p)); "
            "d['notes'].append({0!r}); json.dump(d, open(p, 'w'))"
        ).format(text)
        self.site.ssh(host, '/usr/local/bin/python3 -c "{0}"'.format(script))
        self.site.ssh(host, "mount -u -o rw /cfg && echo '{0}' > /cfg/marker && mount -u -o ro /cfg".format(text))
        self.site.ssh(host, "echo '{0}' > /etc/marker".format(text))  # nothing of it is unsaved
        self.site.ssh(host, "echo '{0}' >> /var/log/marker".format(text))

    def markers(self, host: str) -> List[str]:
        """The marker of /cfg, and the notes of the application."""
        return [self.site.ssh(host, "cat /cfg/marker").strip(), *self.data(host)["notes"]]
