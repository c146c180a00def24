# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plays that are measured, and the floor: a play with as many calls of a host and nothing else in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import Dict, List, Sequence

from ansible_collections.nanozfs.fleet.bench.fleet import account, meter
from ansible_collections.nanozfs.fleet.tests.lab.site import Site

#: the longest that a play may take (seconds)
DEADLINE = 5400

CHECK, UPGRADE, NOTHING = "--check", "upgrade", "no change"


@dataclass(frozen=True)
class Figures:
    """What a play took.

    :param kind: which play.
    :param hosts: of how many hosts.
    :param wall: seconds.
    :param cpu: seconds of user and system time of the controller: Ansible, all that it forks, ssh and the connections
        that ssh keeps.
    :param memory: MiB of all of these at one time, at most; what they share is counted once.
    :param largest: MiB of the largest single process.
    :param processes: at one time, at most.
    :param lines: on the screen.
    :param calls: of ssh that were answered.
    :param silent: of ssh that were not, as while a host restarts.
    """

    kind: str
    hosts: int
    wall: float
    cpu: float
    memory: float
    largest: float
    processes: int
    lines: int
    calls: int
    silent: int

    @property
    def each(self) -> float:
        """CPU time a host, in seconds, with its share of the start."""
        return self.cpu / self.hosts


class Failed(Exception):
    """A play that was measured ended otherwise than it should have."""


def bare(site: Site, calls: int) -> str:
    """A play that calls each host so many times, with nothing of ours in it; its path."""
    tasks = [{"name": "Call", "ansible.builtin.command": "true", "changed_when": False} for _each in range(calls)]
    play = {"name": "Bare", "hosts": "all", "gather_facts": False, "strategy": "host_pinned", "tasks": tasks}
    site.write("bare.yml", json.dumps([play]) + "\n")
    return os.path.join(site.folder, "bare.yml")


def arguments(site: Site, kind: str, calls: int = 0) -> List[str]:
    """The arguments of ``ansible-playbook`` for a play.

    :param calls: for the floor: how many calls of each host.
    """
    if calls:
        return [bare(site, calls)]
    version = "1.0" if kind == NOTHING else "1.1"
    more = ["--check"] if kind == CHECK else []
    return [os.path.join(site.folder, "upgrade.yml"), "-e", "upgrade_version=" + version, *more]


def _calls(path: str) -> Dict[bool, int]:
    """How many calls of ssh were answered, and how many not (tests/lab/site.py writes the file)."""
    found = {True: 0, False: 0}
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                found[not line.startswith("255 ")] += 1
    return found


def measure(site: Site, kind: str, hosts: int, calls: int = 0, profile: str = "") -> Figures:
    """Run a play as an operator does, and measure it.

    :param calls: see :func:`arguments`.
    :param profile: a folder, to be told there where the time goes as well.
    :raises Failed: when it does not end well.
    """
    with tempfile.TemporaryDirectory(prefix="nanozfs-bench-") as folder:
        used, said, called = (os.path.join(folder, name) for name in ("used", "said", "called"))
        program = [sys.executable, os.path.abspath(account.__file__), profile] if profile else ["ansible-playbook"]
        command = [sys.executable, "-I", "-S", os.path.abspath(meter.__file__), used, *program]
        with open(said, "w+b") as screen:
            done = subprocess.run(
                [*command, *arguments(site, kind, calls)],
                cwd=site.folder,
                env=dict(site.environment(), NANOZFS_SSH_CALLS=called),
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE,
                check=False,
            )
            screen.seek(0)
            text = screen.read().decode("utf-8", "replace")
        if done.returncode != 0:
            raise Failed("{0} of {1} hosts could not be measured:\n{2}".format(kind, hosts, text[-2000:]))
        with open(used, encoding="ascii") as file:
            numbers = json.load(file)
        if numbers["code"] != 0:
            raise Failed("{0} of {1} hosts (rc {2}):\n{3}".format(kind, hosts, numbers["code"], text[-4000:]))
        answered = _calls(called)
    return Figures(
        kind,
        hosts,
        numbers["wall"],
        numbers["cpu"],
        numbers["memory"],
        numbers["largest"],
        int(numbers["processes"]),
        len(text.splitlines()),
        answered[True],
        answered[False],
    )


def floors(site: Site, hosts: int, measured: Sequence[Figures]) -> List[Figures]:
    """The floor of each play: as many calls of each host as it made, each of a program that does nothing."""
    found = [(figures.kind, max(1, round(figures.calls / hosts))) for figures in measured]
    bare_ones = {calls: measure(site, "bare", hosts, calls) for calls in sorted({calls for _kind, calls in found})}
    return [replace(bare_ones[calls], kind="bare, {0}".format(kind)) for kind, calls in found]
