# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How far nanobsd.sh is, read from what it prints.

Its function ``pprint`` (tools/tools/nanobsd/defaults.sh) prints lines such as ``01:02:03 ## run buildworld``: the time
since the start, as many ``#`` as the line is detailed, and text. A step that has a log says so in a line of its own,
``01:02:03 ### log: /usr/obj/…/_.bw``. nanobsd.sh runs with ``set -e``: a step that fails is the last.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.config import FETCHING
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.parts import KERNEL, PACKAGES, WORLD

_LINE = re.compile(r"(\d\d):(\d\d):(\d\d) (#{1,3}) (.*)")
_LOG = "log: "
_COMPLETED = re.compile(r"NanoBSD image .* completed")

#: which step makes a part: how its title begins
_MAKES: Tuple[Tuple[str, str], ...] = (
    ('early customize "{0}"'.format(FETCHING), PACKAGES),
    ("run buildworld", WORLD),
    ("build kernel ", KERNEL),
)

#: how much of the end of a log is read (bytes), and shown (lines)
TAIL_BYTES = 1 << 16
TAIL_LINES = 30

#: how a log of make tells what failed; with ``-j`` the end of the log may be about something else
_ERROR = re.compile(r"\berror: |\*\*\* |^(make|bmake)(\[\d+\])?: stopped|: not found$|: No such file or directory$")


@dataclass(frozen=True)
class Phase:
    """A step of nanobsd.sh.

    :param began: seconds after the start, as nanobsd.sh prints them: after a day they begin again at 0.
    :param log: path of its log, where it has one.
    """

    title: str
    began: int
    log: str = ""


@dataclass(frozen=True)
class Course:
    """What has happened in a build.

    :param completed: whether nanobsd.sh got to its end.
    """

    phases: Tuple[Phase, ...] = ()
    completed: bool = False

    @property
    def last(self) -> Optional[Phase]:
        """The step that it is at, or failed at."""
        return self.phases[-1] if self.phases else None

    @property
    def done(self) -> Set[str]:
        """The parts that were built and ended well: another step came after theirs."""
        finished = self.phases if self.completed else self.phases[:-1]
        return {part for phase in finished for begin, part in _MAKES if phase.title.startswith(begin)}

    @property
    def begun(self) -> Set[str]:
        """The parts that were begun."""
        return {part for phase in self.phases for begin, part in _MAKES if phase.title.startswith(begin)}


def parse(text: str) -> Course:
    """The course of a build, from what nanobsd.sh has printed so far."""
    phases: List[Phase] = []
    completed = False
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        hours, minutes, seconds, marks, said = found.groups()
        if marks == "##":
            phases.append(Phase(said, (int(hours) * 60 + int(minutes)) * 60 + int(seconds)))
        elif marks == "###" and said.startswith(_LOG) and phases:
            phases[-1] = Phase(phases[-1].title, phases[-1].began, said[len(_LOG) :])
        elif marks == "#" and _COMPLETED.fullmatch(said):
            completed = True
    return Course(tuple(phases), completed)


def read(path: str) -> Course:
    """The course of the build that prints to the file *path*, which need not be there."""
    return parse(_end(path, None))


def _end(path: str, size: Optional[int]) -> str:
    """The end of a file, or all of it; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            if size is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def step_of(path: str) -> str:
    """What make is at, by its log: the last ``>>> stage 4.2: building libraries`` (Makefile.inc1)."""
    steps = [line for line in _end(path, TAIL_BYTES).splitlines() if line.startswith(">>> ")]
    return steps[-1][4:].strip() if steps else ""


def tail(path: str) -> Dict[str, List[str]]:
    """The end of a log, and the lines in it that look like the reason of a failure."""
    lines = [line.rstrip() for line in _end(path, TAIL_BYTES).splitlines() if line.strip()]
    return {"tail": lines[-TAIL_LINES:], "errors": [line for line in lines if _ERROR.search(line)][-TAIL_LINES:]}
