# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contract cases: what the collection relies on in ZFS, as data, and how a case is run on a machine.

A case is a YAML file of ``cases/``: ``name``, ``why`` (what relies on it), ``disks`` (how many, called
d1, d2 …) and ``steps``. Each step has one verb and what must come back: ``rc`` (0 by default), ``out`` and ``err``
(templates, nothing by default):

================== =====================================================================================================
``run: COMMAND``   run it; words as in a shell, but there is none; ``$name`` is what an earlier template kept;
                   ``sorted: true`` sorts the lines of its output, where their order means nothing
``pipe: A | B``    run A, and B with what that prints; what comes back is B's, unless A fails. ``bytes`` are handed on
                   only: a line that is cut
``place: PATH``    make a file with the line ``text``, for ZFS to read; the model never does
``pull: DISK``     take a disk out; only while no imported pool has it
``plug: DISK``     put it in again
``cut: true``      the power fails; the machine starts again, with its hostid and without pools
``hostid: NUMBER`` be another host
``write: DATASET`` write the line ``text`` into the one file of a dataset, by a mount of its own
``read: DATASET``  print that file
``fill: DATASET``  write until nothing fits into the pool any more
``plan: {…}``      look at datasets and make the plans that put them back and undo that: see :class:`Plans`
``perform: NAME``  do what is left of the plan ``put_back`` or ``undo``, broken off after each change and started anew;
                   at most ``changes`` changes; prints the commands that changed something. ``at_once: true`` does not
                   break it off, which is quicker
================== =====================================================================================================

What comes back may depend on the ZFS of the machine: ``zfs: {"2.4": {…}}`` has ``rc``, ``out`` and ``err`` as a ZFS of
that version has them, and all others have those of the step. FreeBSD 13.2 has 2.1, 15.0 has 2.4 (``zfs version``).

A template is compared line by line. Blanks match any blanks, a line ``...`` any lines, and holes what they are called:
``<guid>`` and ``<number>`` digits, ``<size>`` a size for people, ``<tab>`` a tab, ``<any>`` anything. What
``<guid as first>`` finds is kept as ``$first``. ``$long`` is a text of 8191 bytes.
"""

from __future__ import annotations

import os
import re
import shlex
import string
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import yaml

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Execute, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import plan
from ansible_collections.nanozfs.fleet.tests.contract.machines import Answer, Machine, MachineError

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")

#: the longest value of a user property, as ``$long``: 8 KiB with the byte that ends it (zfsprops(7))
LONG = 8191 * "x"

VERBS = ("run", "pipe", "place", "pull", "plug", "cut", "hostid", "write", "read", "fill", "plan", "perform")

#: what must come back
_EXPECTED = ("rc", "out", "err")

#: the versions of ZFS on which cases are run and that something may be said about
VERSIONS = ("2.1", "2.4")

#: what may stand beside a verb, besides what must come back
_MORE = {
    "run": ("sorted",),
    "pipe": ("bytes",),
    "place": ("text",),
    "write": ("text",),
    "perform": ("changes", "at_once"),
}

_HOLES = {
    "guid": r"\d{10,20}",
    "number": r"\d+",
    "size": r"[\d.]+[BKMGT]?",
    "tab": r"\t",
    "any": r".*",
}
_HOLE = re.compile(r"<({0})(?: as (\w+))?>|[ \t]+".format("|".join(_HOLES)))

#: subcommands of zfs(8) that change something; ``allow`` with nothing but a name only tells
_CHANGING = ("allow", "clone", "create", "inherit", "promote", "rename", "set")


class CaseError(Exception):
    """A case is written wrongly."""


class Differs(Exception):
    """A machine did not answer as the case says."""


# templates


def pattern(template: str) -> str:
    """The regular expression for one line of a template."""
    text, end = "", 0
    for hole in _HOLE.finditer(template):
        text += re.escape(template[end : hole.start()])
        if hole.group(1) is None:
            text += r"[ \t]+"
        else:
            text += "({1}{0})".format(_HOLES[hole.group(1)], "?P<{0}>".format(hole.group(2)) if hole.group(2) else "?:")
        end = hole.end()
    return text + re.escape(template[end:])


def match(template: str, text: str) -> Optional[Dict[str, str]]:
    """What the named holes of a template hold, or ``None`` when a text is not like it."""
    # .* must not run over a line end, and a line of three dots must
    lines = [
        r"(?:.*\n)*" if line.strip() == "..." else pattern(line.strip()) + r"[ \t]*\n" for line in template.splitlines()
    ]
    given = "".join(line.lstrip(" \t") + "\n" for line in text.splitlines())
    found = re.fullmatch("".join(lines), given)
    return found.groupdict() if found else None


# cases


@dataclass(frozen=True)
class Step:
    """One step of a case, and what must come back."""

    verb: str
    value: Any
    more: Mapping[str, Any]
    rc: int
    out: str
    err: str
    by_zfs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return "{0}: {1}".format(self.verb, self.value)

    def of(self, version: str) -> Step:
        """The step with what must come back from a ZFS of a version."""
        return replace(self, **self.by_zfs.get(version, {}))


@dataclass(frozen=True)
class Case:
    """A case; ``file`` is its name without the folder and the ending."""

    file: str
    name: str
    why: str
    disks: int
    steps: Tuple[Step, ...]


def parse_step(given: Any) -> Step:
    """A step as it is written.

    :raises CaseError: when it has no verb, several, or a key that it cannot have.
    """
    verbs = [verb for verb in VERBS if isinstance(given, dict) and verb in given]
    if len(verbs) != 1:
        raise CaseError("a step has one of {0}: {1}".format(", ".join(VERBS), given))
    more = {key: value for key, value in given.items() if key not in (verbs[0], *_EXPECTED, "zfs")}
    strange = [key for key in more if key not in _MORE.get(verbs[0], ())]
    if strange:
        raise CaseError("a step {0} has no {1}".format(verbs[0], ", ".join(strange)))
    by_zfs = given.get("zfs", {})
    right = isinstance(by_zfs, dict) and all(isinstance(each, dict) for each in by_zfs.values())
    if (
        not right
        or not set(by_zfs) <= set(VERSIONS)
        or any(not set(each) <= set(_EXPECTED) for each in by_zfs.values())
    ):
        raise CaseError("zfs has {0} by versions of ZFS ({1}): {2}".format(_EXPECTED, VERSIONS, given))
    return Step(verbs[0], given[verbs[0]], more, given.get("rc", 0), given.get("out", ""), given.get("err", ""), by_zfs)


def parse_case(file: str, given: Mapping[str, Any]) -> Case:
    """A case as it is written.

    :raises CaseError: when something is missing or unknown.
    """
    if set(given) != {"name", "why", "disks", "steps"}:
        raise CaseError("{0} must have name, why, disks and steps, and nothing else".format(file))
    return Case(file, given["name"], given["why"], given["disks"], tuple(parse_step(each) for each in given["steps"]))


def load_cases(folder: str = CASES) -> List[Case]:
    """All cases of a folder, by the names of their files."""
    cases = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".yml"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                cases.append(parse_case(name[: -len(".yml")], yaml.safe_load(file)))
    return cases


# plans


class Broken(Exception):
    """A plan is broken off here."""


def broken_off(execute: Execute, changes: int) -> Execute:
    """Runs commands until so many of them have changed something, then no more.

    :raises Broken: from the command that would be the next change.
    """
    left = [changes]

    def run(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[0] == "zfs" and argv[1] in _CHANGING and (argv[1] != "allow" or len(argv) > 3):
            if not left[0]:
                raise Broken
            left[0] -= 1
        return execute(argv, stdin)

    return run


@dataclass
class Plans:
    """The plans that a case makes with ``plan`` and performs later, as an upgrade makes them before its trial.

    ``plan`` takes ``branches`` (datasets), ``snapshot``, ``aside``, ``leftover``, and ``reserve`` where there is one.
    With ``base``, names are mirrored below that; with ``trial: true``, the snapshot is not there yet.
    """

    put_back: List[plan.Step] = field(default_factory=list)
    undo: List[plan.Step] = field(default_factory=list)

    @classmethod
    def make(cls, execute: Execute, given: Mapping[str, Any]) -> Plans:
        """Look at the datasets and make both plans."""
        zfs = Zfs(Runner(execute))
        names = [(name, name.rpartition("/")[0]) for name in given["branches"]]
        tag = None if given.get("trial") else given["snapshot"]
        branches = [plan.branch_of(zfs, name, tag, given.get("base", above)) for name, above in names]
        there = plan.put_back(branches, given["snapshot"], given["aside"])
        back = plan.undo(branches, given["snapshot"], given["aside"], given["leftover"])
        if "reserve" in given:
            there = plan.with_reserve(there, given["reserve"])
        # as they come out of the journal
        return cls(*([plan.decode(step.encode()) for step in steps] for steps in (there, back)))

    def at_once(self, execute: Execute, name: str) -> Answer:
        """Do a plan from its beginning to its end."""
        runner = Runner(execute)
        plan.perform(Zfs(runner), getattr(self, name))
        return Answer(0, "".join(action + "\n" for action in runner.actions), "")

    def perform(self, execute: Execute, name: str, changes: Optional[int]) -> Answer:
        """Do what is left of a plan, broken off after each change and started again from its first step.

        :param changes: how many changes at most; all of them by default.
        """
        steps: List[plan.Step] = getattr(self, name)
        done: List[str] = []
        left, finished, reach = changes, False, 1
        while left != 0 and not finished:
            runner = Runner(broken_off(execute, reach))
            try:
                plan.perform(Zfs(runner), steps)
                finished = True
            except Broken:
                runner.actions.pop()  # what was asked for, but not done any more
            new = [action for action in runner.actions if action not in done]
            done += new
            # what there is no room for is tried every time
            reach = 1 if new else reach + 1
            left = left and left - 1
        return Answer(0, "".join(action + "\n" for action in done), "")


# running


class Run:
    """A case on its way over a machine."""

    def __init__(self, case: Case, machine: Machine) -> None:
        self.case = case
        self.machine = machine
        self.kept: Dict[str, str] = {"long": LONG}
        self.plans = Plans()

    def run(self) -> None:
        """Run all steps on a machine that was cleared.

        :raises Differs: at the first step that gives something else than the case says.
        :raises MachineError: when the machine does not say what its ZFS is.
        """
        self.machine.clear(self.case.disks)
        version = self.machine.zfs_version()
        for number, step in enumerate(self.case.steps, start=1):
            self._check(number, step.of(version), self._answer(step))

    def _fill_in(self, text: str) -> str:
        return string.Template(text).substitute(self.kept)

    def _answer(self, step: Step) -> Answer:
        verbs: Dict[str, Callable[[Step], Optional[Answer]]] = {
            "run": self._run,
            "pipe": self._pipe,
            "place": lambda step: self.machine.place(step.value, step.more["text"]),
            "pull": lambda step: self.machine.pull(step.value),
            "plug": lambda step: self.machine.plug(step.value),
            "cut": lambda step: self.machine.cut(),
            "hostid": lambda step: self.machine.set_hostid(step.value),
            "write": lambda step: self.machine.write(step.value, step.more["text"]),
            "read": lambda step: Answer(0, self.machine.read(step.value), ""),
            "fill": lambda step: self.machine.fill(step.value),
            "plan": self._plan,
            "perform": self._perform,
        }
        return verbs[step.verb](step) or Answer(0, "", "")

    def _run(self, step: Step) -> Answer:
        answer = self.machine.run(shlex.split(self._fill_in(step.value)))
        if step.more.get("sorted"):
            answer = answer._replace(out="".join(sorted(answer.out.splitlines(True))))
        return answer

    def _pipe(self, step: Step) -> Answer:
        source, target = (shlex.split(part) for part in self._fill_in(step.value).split("|"))
        return self.machine.pipe(source, target, step.more.get("bytes"))

    def _plan(self, step: Step) -> None:
        self.plans = Plans.make(self.machine.execute, step.value)

    def _perform(self, step: Step) -> Answer:
        if step.more.get("at_once"):
            return self.plans.at_once(self.machine.execute, step.value)
        return self.plans.perform(self.machine.execute, step.value, step.more.get("changes"))

    def _check(self, number: int, step: Step, answer: Answer) -> None:
        right = answer.rc == step.rc
        for template, text in ((step.out, answer.out), (step.err, answer.err)):
            found = match(self._fill_in(template), text)
            right = right and found is not None
            self.kept.update(found or {})
        if not right:
            where = "{0}, step {1} on {2}: {3}".format(self.case.file, number, self.machine.title, step)
            wanted = "--- wanted, exit status {0}\n{1}\n{2}".format(step.rc, step.out.rstrip(), step.err.rstrip())
            raise Differs("{0}\n{1}\n--- came, exit status {2}\n{3}{4}".format(where, wanted.rstrip(), *answer))


# many of them


class Outcome(NamedTuple):
    """How a case went. ``problem`` is empty when everything came back as it should; ``seconds`` is how long it took."""

    case: Case
    seconds: float
    problem: str


def table(outcomes: Sequence[Outcome]) -> List[str]:
    """The outcomes as lines."""
    width = max([len(each.case.file) for each in outcomes] + [5])
    line = "{0:<{w}} {1:>4} {2:>7.1f} s  {3}"
    lines = [
        line.format(each.case.file, len(each.case.steps), each.seconds, "FAILED" if each.problem else "ok", w=width)
        for each in outcomes
    ]
    total = sum(each.seconds for each in outcomes)
    failed = sum(bool(each.problem) for each in outcomes)
    end = "{0} of {1} failed".format(failed, len(outcomes)) if failed else "all as they should be"
    return lines + [line.format("all", sum(len(each.case.steps) for each in outcomes), total, end, w=width)]


def run_case(case: Case, machine: Machine) -> Outcome:
    """Run a case; how it went."""
    began, problem = time.monotonic(), ""
    try:
        Run(case, machine).run()
    except (Differs, MachineError) as difference:
        problem = str(difference)
    return Outcome(case, time.monotonic() - began, problem)


def run_cases(cases: Sequence[Case], machine: Machine, say: Callable[[str], Any]) -> List[Outcome]:
    """Run cases one after the other; how they went.

    :param say: told of each when it is over.
    """
    outcomes = []
    for case in cases:
        outcomes.append(run_case(case, machine))
        say("  {0:<5} {1}".format("" if outcomes[-1].problem else "ok", case.name))
        if outcomes[-1].problem:
            say(outcomes[-1].problem)
    return outcomes
