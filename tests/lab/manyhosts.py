# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet is upgraded while everything goes wrong that can: ``manyhosts.py HOSTS [short]``, on the lab.

A host that is down, one of a pair that fails its check, a power cut, a cut line, a window that is closed, a second
operator, a wave that goes back. It must end as it was configured, and nothing may be lost.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, buy, copy, make_site
from ansible_collections.nanozfs.fleet.tests.site import PlayFailed
from ansible_collections.nanozfs.fleet.tests.walkthrough import NotAsItShouldBe, Walkthrough

#: what becomes of whom
CANARIES = ["web-1", "web-2", "web-3", "web-4", "web-5"]
DOWN, UNWELL, PARTNER, CUT, OFFLINE, LATE, HELD = (
    "web-6", "web-7", "web-8", "web-9", "web-10", "web-11", "web-12",
)  # fmt: skip

#: hosts that the scenario is about
LEAST = 12

#: what the console says of a trial that has begun, and then of its data; who falls before that did not come up
ON_TRIAL = re.compile(r" is on trial\b.*?\bnanozfs: normal\b", re.DOTALL)

#: times of a lab whose hosts wait for each other (seconds), and one that is short
TIMES = {
    "upgrade_trial_timeout": 300,
    "upgrade_boot_timeout": 300,
    "rollback_trial_timeout": 300,
    "rollback_boot_timeout": 300,
}
SHORT = 60


class ManyHosts(Walkthrough):
    """The scenario, step by step.

    :param count: how many hosts.
    """

    def __init__(self, count: int) -> None:
        self.lab = Lab()
        self.names = list(ADDRESSES)[:count]
        super().__init__(make_site(self.lab, count), os.path.join(paths.HOME, "manyhosts.log"))

    # helpers

    def configure(self, special: Dict[str, Dict[str, Any]]) -> None:
        """Give hosts variables, and the others none."""
        self.site.write("group_vars/all/zz_times.yml", json.dumps(TIMES) + "\n")
        for name in self.names:
            variables = dict(self.site.address(name), **special.get(name, {}))
            self.site.write("host_vars/{0}.yml".format(name), json.dumps(variables) + "\n")

    def everywhere(self, command: str, names: List[str]) -> Dict[str, str]:
        """Run a command on hosts by ssh; what it printed, by host."""
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(names, pool.map(lambda name: self.site.ssh(name, command).strip(), names)))

    def ends(self, expected: Callable[[str], Any], text: str) -> Dict[str, Any]:
        """See that all hosts are as they should be: version, state and phase; ``None`` where that is anything."""
        found = self.site.look()
        wrong = {}
        for name in self.names:
            host, right = found[name], expected(name)
            running, journal = host.get("running") or {}, host.get("journal") or {}
            seen = (running.get("version"), host["state"], journal.get("phase"))
            if right is not None and seen != right:
                wrong[name] = seen
        self.shows(text, not wrong, wrong)
        return found

    def intact(self) -> None:
        """See that every host has its own data still."""
        seen = self.everywhere("cat /var/db/marker /cfg/marker", self.names)
        wrong = {name: text for name, text in seen.items() if text.split() != [name, name]}
        self.shows(
            "all {0} hosts have the data and the configuration that they had".format(len(seen)), not wrong, wrong
        )

    def when_on_trial(self, name: str, act: Callable[[], None]) -> threading.Thread:
        """Do something as soon as a host has begun its trial."""
        host = self.lab.host(name)
        before = len(ON_TRIAL.findall(host.console()))

        def wait() -> None:
            until = time.monotonic() + 1200
            while len(ON_TRIAL.findall(host.console())) == before:
                if time.monotonic() > until:
                    return
                time.sleep(0.2)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    # the steps

    def arrive(self) -> None:
        """One host is deployed, the others are like it."""
        first, others = self.names[0], self.names[1:]
        buy(self.lab, [first], self.site.medium("1.0"))
        self.play("deploy", "-l", first)
        self.lab.keep(first)
        copy(self.lab, first, others)
        script = "echo {0} > /var/db/marker && mount -u -o rw /cfg && echo {0} > /cfg/marker && mount -u -o ro /cfg"
        script += " && echo {0} > /etc/marker"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.site.ssh(name, script.format(name)), self.names))
        self.ends(lambda name: ("1.0", "normal", "idle"), "{0} hosts run 1.0".format(len(self.names)))

    def refused(self) -> None:
        """What is refused before anything is changed: two names of one host, and a host that is down."""
        twin = {PARTNER: self.site.address(UNWELL)}
        self.configure(twin)
        out = self.play("upgrade", "-e", "upgrade_version=1.1", fails=True)
        both = re.search(r"web-[78] and web-[78] are one host", flat(out))
        self.shows("two names of one host are refused", both is not None, out)
        self.configure({})
        self.lab.host(DOWN).cut()
        out = flat(self.play("upgrade", "-e", "upgrade_version=1.1", fails=True))
        count = len(self.names)
        self.shows(
            "one host that is down: nothing is begun, it is named",
            "1 of {0} hosts not fit (1 no answer): {1}; and".format(count, DOWN) in out
            and "{0} gives no answer".format(DOWN) in out,
            out,
        )
        self.ends(lambda name: None if name == DOWN else ("1.0", "normal", "idle"), "no host was touched")

    def everything_at_once(self) -> None:
        """An upgrade that may lose five hosts, and loses four."""
        self.site.write(
            "tasks/held.yml",
            "- name: Say so\n  ansible.builtin.file: {path: /var/run/held, state: touch, mode: '0644'}\n"
            "- name: Take one's time\n  ansible.builtin.command: sleep 30\n",
        )
        pair = {"fleet_exclusive": "pair"}
        self.configure(
            {
                "web-3": {"fleet_canary": True},
                UNWELL: dict(pair, upgrade_commands=[["false"]], upgrade_health_retries=1),
                PARTNER: pair,
                OFFLINE: {"upgrade_trial_timeout": SHORT},
                LATE: {"upgrade_window": [closed_window()], "fleet_time_zone": "UTC"},
                HELD: {"upgrade_before_restart_tasks": "held.yml"},
            }
        )
        threads = [self.when_on_trial(CUT, self._cut), self.when_on_trial(OFFLINE, self._offline)]
        self.say(
            "    $ ansible-playbook upgrade.yml -e upgrade_version=1.1 -e upgrade_max_failures=5   (in the background)"
        )
        play = self.site.start("upgrade", "-e", "upgrade_version=1.1", "-e", "upgrade_max_failures=5")
        printed: List[str] = []
        reader = threading.Thread(target=lambda: printed.append(str(play.stdout and play.stdout.read())), daemon=True)
        reader.start()
        second = self._second_operator(play)
        play.wait(3600)
        for thread in [reader, *threads]:
            thread.join(300)
        out = "".join(printed)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(out)
        said = flat(out)
        self.shows("the play fails by the hosts that were lost", play.returncode != 0, out)
        self.shows(
            "a second operator is told who is at work on {0}, and since when".format(HELD),
            re.search(r"another play is at work on this host: \S+, process \d+, since 20\d\d-", second) is not None,
            second,
        )
        for name, why in (
            (PARTNER, "{0}, which stands in for it, was lost".format(UNWELL)),
            (LATE, "its maintenance window is closed"),
        ):
            told = re.search(r"(?:{0}: not begun|not begun: {0}): {1}".format(name, re.escape(why)), said)
            self.shows("{0} was not begun: {1}".format(name, why), told is not None, out)
        self.shows("the waves are said", "{0} in ".format(len(self.names) - 2) in said and "1 not fit" in said, out)
        self.lab.host(DOWN).on()
        self.lab.wait([DOWN])
        ends = {
            DOWN: ("1.0", "normal", "idle"),
            PARTNER: ("1.0", "normal", "idle"),
            LATE: ("1.0", "normal", "idle"),
            UNWELL: ("1.0", "normal", "reverted"),
            CUT: ("1.0", "normal", "reverted"),
            OFFLINE: ("1.0", "normal", "reverted"),
        }
        found = self.ends(
            lambda name: ends.get(name, ("1.1", "normal", "committed")),
            "{0} hosts run 1.1; six are as they were, three of them after a trial".format(len(self.names) - len(ends)),
        )
        bad = sorted(name for name in self.names if (found[name]["journal"] or {}).get("bad"))
        self.shows(
            "only {0}, which found the image wrong itself, has it on its list".format(UNWELL), bad == [UNWELL], bad
        )
        self.intact()

    def _cut(self) -> None:
        host = self.lab.host(CUT)
        host.cut()
        time.sleep(5)
        host.on()

    def _offline(self) -> None:
        host = self.lab.host(OFFLINE)
        host.link(False)
        time.sleep(SHORT + 20)
        host.link(True)

    def _second_operator(self, first: subprocess.Popen) -> str:
        """Upgrade the host that takes its time, from another terminal; what is said."""
        while first.poll() is None:
            try:
                if "held" in self.site.ssh(HELD, "ls /var/run", check=False):
                    break
            except PlayFailed:
                pass
            time.sleep(1)
        self.say("    $ ansible-playbook upgrade.yml -l {0} -e upgrade_version=1.1".format(HELD))
        return flat(self.site.play("upgrade", "-l", HELD, "-e", "upgrade_version=1.1", fails=True, log=self.log))

    def once_more(self) -> None:
        """All is mended, and the same play run again."""
        self.configure({PARTNER: {"fleet_exclusive": "pair"}, UNWELL: {"fleet_exclusive": "pair"}})
        out = self.play("upgrade", "-e", "upgrade_version=1.1", "-e", "upgrade_allow_bad=true")
        done = len(self.names) - 6
        self.shows("{0} hosts are skipped".format(done), "{0} with nothing to do".format(done) in flat(out), out)
        self.ends(lambda name: ("1.1", "normal", "committed"), "all run 1.1")
        self.intact()

    def back(self) -> None:
        """All at once, except the pair."""
        out = self.play("rollback")
        self.shows(
            "the pair goes back one after the other",
            "in 2 waves ({0}, 1)".format(len(self.names) - 1) in flat(out),
            out,
        )
        self.ends(lambda name: ("1.0", "normal", "committed"), "all run 1.0")
        self.intact()

    def wave_back(self) -> None:
        """A wave that loses one goes back as a whole, and the next one is not begun."""
        special: Dict[str, Dict[str, Any]] = {name: {"fleet_canary": True} for name in CANARIES}
        special["web-4"].update(upgrade_commands=[["false"]], upgrade_health_retries=1)
        self.configure(special)
        arguments = ["-e", "upgrade_version=1.1", "-e", "upgrade_serial=5,100%", "-e", "upgrade_revert_wave=true"]
        out = flat(self.play("upgrade", *arguments, fails=True))
        self.shows(
            "the rest is not begun", "1 host of this run lost (web-4), and upgrade_max_failures is 0" in out, out
        )
        found = self.ends(lambda name: ("1.0", "normal", "reverted" if name == "web-4" else "committed"), "all run 1.0")
        counts = {name: found[name]["journal"]["txn"].split("-")[0] for name in CANARIES}
        other = found[self.names[-1]]["journal"]["txn"].split("-")[0]
        gone = all(int(counts[name]) == int(other) + 2 for name in CANARIES if name != "web-4")
        self.shows("the canaries but web-4 have been to 1.1 and back", gone, (counts, other))
        self.intact()


def closed_window() -> str:
    """A minute of the day that is half a day away."""
    at = time.time() + 43200
    return "-".join(time.strftime("%H:%M", time.gmtime(moment)) for moment in (at, at + 60))


def flat(text: str) -> str:
    """What was printed, on one line."""
    return " ".join(text.split())


def main(arguments: List[str]) -> int:
    """Entry point."""
    count = max(LEAST, int(arguments[0]) if arguments else LEAST)
    short = arguments[1:] == ["short"]
    run: Optional[ManyHosts] = None
    try:
        run = ManyHosts(count)
        steps = [
            ("{0} hosts".format(count), run.arrive),
            ("What is refused", run.refused),
            ("Everything at once", run.everything_at_once),
            ("Once more", run.once_more),
            ("Back", run.back),
            ("A wave goes back", run.wave_back),
        ]
        for title, work in steps[:3] if short else steps:
            run.step(title, work)
    except (NotAsItShouldBe, PlayFailed, LabError, subprocess.SubprocessError) as problem:
        sys.stderr.write("FAILED: {0}\n".format(problem))
        return 1
    run.say("\n{0} checks, {1} hosts".format(run.checks, count))
    for title, seconds in run.steps:
        run.say("  {0:6.0f} s  {1}".format(seconds, title))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
