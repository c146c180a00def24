# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark found: tables, and JSON for the plot."""

from __future__ import annotations

import json
import os
import pstats
import subprocess
from dataclasses import asdict, dataclass, field
from typing import Dict, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.bench.fleet.plays import CHECK, NOTHING, UPGRADE, Figures
from ansible_collections.nanozfs.fleet.bench.image.report import rows

HERE = os.path.dirname(os.path.abspath(__file__))

#: what the project asks for: seconds of CPU time a host
LIMITS = {UPGRADE: 2.0, NOTHING: 0.4}

#: what the main process does, by the functions that do it: (file ends with, function); the first that fits counts, and
#: none is called by another one of these
PARTS: Sequence[Tuple[str, Sequence[Tuple[str, str]]]] = (
    ("forking a process for a task", [("multiprocessing/process.py", "start")]),
    ("variables of hosts", [("vars/manager.py", "get_vars")]),
    (
        "includes: reading roles and tasks",
        [("role_include.py", "get_block_list"), ("__init__.py", "_load_included_file")],
    ),
    ("printing, callbacks", [("task_queue_manager.py", "send_callback")]),
)
_PLAYS = ("task_queue_manager.py", "run")


@dataclass
class Run:
    """Everything that one run of the benchmark found.

    :param load: what else the machine was doing.
    :param figures: of all plays.
    :param hosts: by size, what the lab's hosts took each: ``start`` in seconds, ``memory`` in MiB.
    :param loads: by size, the load average of the last five minutes of it.
    :param profile: seconds of CPU time a host, by play and part.
    :param left_out: what could not be measured, and why.
    """

    date: str
    machine: Mapping[str, str]
    load: str = ""
    figures: List[Figures] = field(default_factory=list)
    hosts: Dict[int, Dict[str, float]] = field(default_factory=dict)
    loads: Dict[int, float] = field(default_factory=dict)
    profile: Dict[str, Dict[str, float]] = field(default_factory=dict)
    left_out: List[str] = field(default_factory=list)


def _spent(stats: Mapping[Tuple[str, int, str], Sequence[float]], wanted: Sequence[Tuple[str, str]]) -> float:
    """Seconds in functions and all that they call."""
    return sum(
        numbers[3]
        for (path, _line, name), numbers in stats.items()
        if any(path.endswith(end) and name == function for end, function in wanted)
    )


def parts(folder: str, cpu: float, hosts: int) -> Dict[str, float]:
    """Where the time of a play went, in seconds a host; the start in all.

    :param folder: what ``account.py`` left there.
    :param cpu: of all processes, in seconds.
    """
    stats = pstats.Stats(os.path.join(folder, "main")).stats  # type: ignore[attr-defined]
    total = sum(numbers[2] for numbers in stats.values())
    running = _spent(stats, [_PLAYS])
    found = {name: _spent(stats, wanted) for name, wanted in PARTS}
    found["waiting for results, choosing tasks"] = running - sum(found.values())
    own: Dict[str, float] = {}
    ssh = 0.0
    with open(os.path.join(folder, "workers"), encoding="utf-8") as file:
        for line in map(json.loads, file):
            name = "a task's process: {0}".format(line["task"])
            own[name] = own.get(name, 0.0) + line["own"]
            ssh += line["ssh"]
    found.update(sorted(own.items(), key=lambda item: -item[1]))
    found["ssh"] = ssh
    found["connections that ssh keeps, and the rest"] = max(0.0, cpu - total - ssh - sum(own.values()))
    shares = {name: value / hosts for name, value in found.items()}
    return {"start, once": total - running, **shares}


def profiles(folder: str, hosts: int, measured: Sequence[Figures]) -> Dict[str, Dict[str, float]]:
    """See :func:`parts`; by play.

    :param folder: it has a folder for each play.
    :param measured: the plays that were profiled.
    """
    return {each.kind: parts(os.path.join(folder, slug(each.kind)), each.cpu, hosts) for each in measured}


def slug(kind: str) -> str:
    """The name of a play, for a folder."""
    return kind.strip("-").replace(" ", "-")


def _figures(run: Run, kind: str) -> List[Figures]:
    return sorted((each for each in run.figures if each.kind == kind), key=lambda each: each.hosts)


def table(run: Run) -> List[str]:
    """All plays of all sizes; the ratio is that to the floor of the same size, in the same run."""
    body = []
    for kind in (UPGRADE, NOTHING, CHECK):
        bare = {each.hosts: each for each in _figures(run, "bare, {0}".format(kind))}
        for each in _figures(run, kind):
            floor = bare.get(each.hosts)
            body.append(
                [
                    kind,
                    str(each.hosts),
                    "{0:.1f}".format(each.calls / each.hosts),
                    "{0:.1f}".format(each.silent / each.hosts),
                    "{0:.2f}".format(each.each),
                    "{0:.1f}\u00d7".format(each.cpu / floor.cpu) if floor else "",
                    "{0:.0f}".format(each.memory),
                    "{0:.1f}".format(each.wall / each.hosts),
                    "{0:.1f}".format(each.lines / each.hosts),
                ]
            )
    titles = ["play", "hosts", "ssh calls a host", "without an answer", "CPU a host, s", "to bare calls"]
    return rows([*titles, "memory, MiB", "wall time a host, s", "lines a host"], body)


def growth(run: Run) -> List[str]:
    """How the figures of a host grow from the smallest fleet to each larger one; 1 is linear."""
    body = []
    for kind in (UPGRADE, NOTHING, CHECK):
        found = _figures(run, kind)
        for each in found[1:]:
            first = found[0]
            more = (each.hosts - first.hosts) or 1
            body.append(
                [
                    kind,
                    "{0} to {1}".format(first.hosts, each.hosts),
                    "{0:.2f}".format((each.cpu - first.cpu) / more),
                    "{0:.2f}\u00d7".format(each.each / first.each),
                    "{0:.1f}".format((each.memory - first.memory) / more),
                    "{0:.1f}".format((each.lines - first.lines) / more),
                ]
            )
    return rows(["play", "hosts", "CPU of one more, s", "CPU a host, to the first", "MiB of one more", "lines"], body)


def verdict(run: Run) -> List[str]:
    """The figures next to what the project asks for."""
    lines = []
    for kind, limit in LIMITS.items():
        found = _figures(run, kind)
        if found:
            most = max(found, key=lambda each: each.each)
            lines.append(
                "- {0}: {1:.2f} s of CPU time a host at most (with {2} hosts, start included); limit: {3} s.".format(
                    kind, most.each, most.hosts, limit
                )
            )
    return lines


def profile(run: Run) -> List[str]:
    """Where the time goes, by play."""
    kinds = list(run.profile)
    names = list(dict.fromkeys(name for kind in kinds for name in run.profile[kind]))
    body = []
    for name in names:
        values = [run.profile[kind].get(name, 0.0) for kind in kinds]
        if max(values) >= 0.005:
            body.append([name, *("{0:.2f}".format(value) if value >= 0.005 else "" for value in values)])
    return rows(["seconds of CPU time a host", *kinds], body)


def markdown(run: Run) -> str:
    """The report."""
    lines = [
        "Measured {0} on: {1}.".format(run.date, ", ".join("{0} {1}".format(*each) for each in run.machine.items()))
    ]
    lines += ["Besides: {0}.".format(run.load)] if run.load else []
    lines += ["", *verdict(run), "", *table(run), "", *growth(run), ""]
    if run.profile:
        lines += [*profile(run), ""]
    for size, took in run.hosts.items():
        lines.append(
            "- {0} hosts of the lab: up {1:.1f} s a host, {2:.0f} MiB each; load average {3:.0f} on {4} cores".format(
                size, took["start"], took["memory"], run.loads.get(size, 0.0), run.machine.get("cores", "?")
            )
        )
    lines += ["- " + each for each in run.left_out]
    return "\n".join(lines) + "\n"


def write(run: Run, folder: str) -> None:
    """Write the report and the figures."""
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump(asdict(run), file, indent=1)
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as file:
        file.write(markdown(run))


def plot(python: str, folder: str) -> None:
    """Draw results.json with the Python that has matplotlib."""
    subprocess.run([python, os.path.join(HERE, "plot.py"), os.path.join(folder, "results.json"), folder], check=True)
