# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark found, as a table and as JSON.

Figures of one machine say little, so each has its ratio to ours beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.bench.image.limits import LINES, SIZE
from ansible_collections.nanozfs.fleet.bench.image.measure import Usage
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

HERE = os.path.dirname(os.path.abspath(__file__))
MB = 1e6


class ReportError(FleetError):
    """The report cannot be made."""


@dataclass(frozen=True)
class Result:
    """How one contender did with one pair; sizes in bytes. ``failed`` says why there are no figures."""

    name: str
    title: str
    pair: str
    note: str = ""
    version: str = ""
    failed: str = ""
    received: int = 0
    requests: int = 0
    client: Usage = field(default_factory=Usage)
    staged: int = 0
    published: int = 0
    publisher: Usage = field(default_factory=Usage)
    published_at: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Run:
    """Everything that one run of the benchmark found. Rates in bytes per second."""

    date: str
    machine: Mapping[str, str]
    dataset: str
    rates: Mapping[str, float]
    floor: Usage
    repeated: int
    results: Sequence[Result]

    def as_json(self) -> Dict[str, Any]:
        """For results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Column:
    """A column of the table: heading, the value in its unit, digits after the point."""

    title: str
    value: Callable[[Result], float]
    digits: int


COLUMNS: Sequence[Column] = (
    Column("fetched, MB", lambda each: each.received / MB, 1),
    Column("requests", lambda each: each.requests, 0),
    Column("client CPU, s", lambda each: each.client.cpu, 1),
    Column("client memory, MiB", lambda each: each.client.rss, 0),
    Column("written, MB", lambda each: each.client.written / MB, 0),
    Column("of it beside the target, MB", lambda each: each.staged / MB, 0),
    Column("published, MB", lambda each: each.published / MB, 1),
    Column("publisher CPU, s", lambda each: each.publisher.cpu, 1),
    Column("publisher memory, MiB", lambda each: each.publisher.rss, 0),
)


def ratio(value: float, base: float) -> str:
    """How many times as much, in about two digits."""
    if base <= 0:
        return ""
    times = value / base
    return "{0:.{1}f}\N{MULTIPLICATION SIGN}".format(times, 0 if times >= 10 else 1 if times >= 1 else 2)


def cell(column: Column, each: Result, base: Result) -> str:
    """A figure with its ratio to that of *base*."""
    value = column.value(each)
    shown = "{0:,.{1}f}".format(value, column.digits)
    nothing = round(column.value(base), column.digits) <= 0
    compared = "" if each is base or nothing else ratio(value, column.value(base))
    return "{0} ({1})".format(shown, compared) if compared else shown


def base_of(results: Sequence[Result]) -> Optional[Result]:
    """Whom the others are compared with: the first that did it, which is ours where ours takes part."""
    return next((each for each in results if not each.failed), None)


def by_pair(results: Sequence[Result]) -> Dict[str, List[Result]]:
    """The results of each pair, in the order in which they were found."""
    found: Dict[str, List[Result]] = {}
    for each in results:
        found.setdefault(each.pair, []).append(each)
    return found


def rows(heads: Sequence[str], body: Sequence[Sequence[str]]) -> List[str]:
    """A table in Markdown: the first column to the left, figures to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in body]


def table(results: Sequence[Result]) -> List[str]:
    """All contenders for one pair."""
    base = base_of(results)
    body = []
    for each in results:
        if each.failed or base is None:
            body.append([each.title, "**failed**"] + [""] * (len(COLUMNS) - 1))
        else:
            body.append([each.title] + [cell(column, each, base) for column in COLUMNS])
    return rows(["tool"] + [column.title for column in COLUMNS], body)


def floors(each: Result, rates: Mapping[str, float]) -> List[Tuple[str, float]]:
    """What no client can be quicker than, in seconds."""
    found = [("line of {0} Mbit/s".format(line), each.received * 8 / (line * 1e6)) for line in LINES]
    found.append(("SHA-256 of the image, one core", SIZE / rates["sha256"]))
    found.append(("disk: write the image and fsync", SIZE / rates["write"]))
    found.append(("disk: read the image", SIZE / rates["read"]))
    return found


def limits(each: Result, rates: Mapping[str, float]) -> List[str]:
    """One contender against what the line and the machine allow."""
    body = []
    for what, seconds in floors(each, rates):
        body.append(
            [what, "{0:.1f}".format(seconds)] + [ratio(x, seconds) for x in (each.client.cpu, each.client.wall)]
        )
    return rows(["limit", "s", "client CPU to it", "client wall time to it"], body)


def remarks(results: Sequence[Result]) -> List[str]:
    """What one must know of each contender, once."""
    lines = []
    for name in dict.fromkeys(each.name for each in results):
        mine = [each for each in results if each.name == name]
        said = ["{0} ({1})".format(mine[0].title, mine[0].version) if mine[0].version else mine[0].title]
        said += [mine[0].note] if mine[0].note else []
        said += ["**failed** for {0}: {1}".format(each.pair, each.failed) for each in mine if each.failed]
        lines.append("- " + "; ".join(said))
    return lines


def markdown(run: Run) -> str:
    """The report."""
    lines = ["# Image updates compared", "", "Measured {0} on: ".format(run.date)]
    lines[-1] += ", ".join("{0} {1}".format(key, value) for key, value in run.machine.items()) + "."
    lines += ["", "```", *run.dataset.rstrip("\n").splitlines(), "```"]
    for pair, results in by_pair(run.results).items():
        base = base_of(results)
        lines += ["", "## {0}".format(pair.capitalize()), "", *table(results)]
        if base is not None:
            lines += ["", "In brackets: how many times as much as {0}.".format(base.title)]
            heading = "{0} against the limits ({1})".format(base.title, pair)
            lines += ["", "### " + heading, "", *limits(base, run.rates)]
    lines += ["", "## How to read this", ""]
    lines += [
        "- Each client starts with a.img and makes the new image; each result was compared by its SHA-256.",
        "- fetched: from the log of nginx on the loopback, with HTTP headers. CPU: user and system, of all processes.",
        "- memory: the peak of the largest single process, not the sum; mapped files count as far as they were in"
        " memory. Nothing here measures below {0:.0f} MiB.".format(run.floor.rss),
        "- written: to files, the target included; blocks of zeros that a tool leaves out of the target are not"
        " written. Beside the target: all writes less the size of the target on disk.",
        "- Each client ran {0}; the figures are of the run with the least CPU time.".format(
            "once" if run.repeated == 1 else "{0} times".format(run.repeated)
        ),
        "- CPU times of a shared machine vary by some 20 %. Wall times are not compared: a line is slower than the"
        " loopback.",
    ]
    kept = sorted({each.published_at for each in run.results if each.kept})
    if kept:
        lines.append(
            "- Figures of publishers are from when they last published, {0}.".format(
                " to ".join(kept[:: max(len(kept) - 1, 1)])
            )
        )
    lines += ["", "## The tools", "", *remarks(run.results)]
    return "\n".join(lines) + "\n"


def plot(python: str, results: str, folder: str) -> None:
    """Draw results.json with the Python that has matplotlib."""
    subprocess.run([python, os.path.join(HERE, "plot.py"), results, folder], check=True)


def plotter(cache: str) -> str:
    """The Python of an environment with matplotlib, made where there is none."""
    folder = os.path.join(cache, "venv")
    wanted = os.path.join(os.path.dirname(HERE), "requirements.txt")
    python, marker = os.path.join(folder, "bin", "python"), os.path.join(folder, ".made-of")
    with open(wanted, encoding="utf-8") as file:
        text = file.read()
    if os.path.exists(marker):
        with open(marker, encoding="utf-8") as file:
            if file.read() == text:
                return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r", wanted]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise ReportError("matplotlib cannot be installed: {0}".format(done.stderr.strip()))
    with open(marker, "w", encoding="utf-8") as file:
        file.write(text)
    return python
