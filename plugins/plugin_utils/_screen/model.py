# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes on in a run, from what Ansible and the actions tell; and the lines that stay of it.

Nothing here knows Ansible, a terminal or the time: events come in, lines come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import lines_of, one_line

#: how a line is meant, which decides its colour
PLAIN, GOOD, CHANGED, BAD, WARN, DIM, HEAD = "plain", "good", "changed", "bad", "warn", "dim", "head"

#: what becomes of a host, beside the results of a story (``_upgrade/words.py``)
NOTHING_TO_DO, PLANNED, FAILED, NO_ANSWER = "nothing to do", "planned", "failed", "no answer"
OK, CHANGED_SOMETHING, RESCUED = "ok", "changed", "rescued"

#: results that are no success
UNWELCOME = (words.REVERTED, words.NOT_BEGUN, words.OPEN, FAILED, NO_ANSWER)

#: names that a line of a wave has
NAMED = 6

#: a phase that brings bytes and lasts longer gets a line when half of it is over (seconds)
LONG = 60.0


class Line(NamedTuple):
    """A line for the operator.

    :param passing: where there is a live area, that shows it, and it need not stay.
    """

    text: str
    tone: str = PLAIN
    passing: bool = False


class Told(NamedTuple):
    """What an action tells of a host while it works.

    :param phase: what the host does; empty for a line that is to stay.
    :param percent: how much of the phase is over.
    :param rate: bytes per second.
    :param eta: seconds to go.
    :param note: what else there is to say, beside the figures.
    """

    host: str
    text: str
    phase: str = ""
    percent: Optional[int] = None
    rate: Optional[int] = None
    eta: Optional[int] = None
    note: str = ""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Told:
        """What came over the channel; what is not as it should be is left out."""

        def number(key: str) -> Optional[int]:
            value = message.get(key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
                return None
            return int(value)

        percent = number("percent")
        return cls(
            host=str(message.get("host", "")),
            text=one_line(message.get("text") or ""),
            phase=one_line(message.get("phase") or ""),
            percent=None if percent is None else min(percent, 100),
            rate=number("rate"),
            eta=number("eta"),
            note=one_line(message.get("note") or ""),
        )


class Facts(NamedTuple):
    """What the result of a task says of a host.

    :param text: a line; empty for none.
    :param result: what has become of the host; empty where that is not said.
    :param why: of a result that is no success.
    :param before: the version that ran, where that is said; *after*: the one that shall run.
    :param fetched: bytes.
    """

    text: str = ""
    result: str = ""
    why: str = ""
    before: str = ""
    after: str = ""
    fetched: Optional[int] = None


class Tally(NamedTuple):
    """What Ansible has counted for a host at the end."""

    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    rescued: int = 0
    ignored: int = 0


class Row(NamedTuple):
    """A host at the end."""

    host: str
    before: str
    after: str
    result: str
    changed: int
    seconds: Optional[float]
    fetched: Optional[int]
    why: str
    tone: str


@dataclass
class Host:
    """One host. Times as the clock has them."""

    name: str
    task: str = ""
    busy: int = 0
    began: Optional[float] = None
    touched: float = 0.0
    told: Optional[Told] = None
    phase_since: float = 0.0
    half: bool = False
    result: str = ""
    why: str = ""
    before: str = ""
    after: str = ""
    fetched: Optional[int] = None
    gone: bool = False
    over: bool = False
    last: str = ""
    found: str = ""

    @property
    def phase(self) -> str:
        """What it does; empty where nothing is told of that."""
        return self.told.phase if self.told else ""


@dataclass
class Wave:
    """A batch of the hosts of a play.

    :param number: from 1.
    :param of: how many there are; 0 where nobody knows.
    :param hosts: those of the batch; *everybody*: those of the play.
    """

    play: str = ""
    number: int = 1
    of: int = 1
    hosts: Sequence[str] = ()
    everybody: Sequence[str] = ()
    begun: Set[str] = field(default_factory=set)
    since: float = 0.0
    told: bool = False

    def title(self) -> str:
        """Its name."""
        if self.of == 1:
            return self.play
        return "{0}, wave {1}{2}".format(self.play, self.number, " of {0}".format(self.of) if self.of else "")


class Fleet:
    """All hosts of a run.

    :param clock: seconds that only grow.
    :param check: whether Ansible was told to change nothing.
    """

    def __init__(self, clock: Callable[[], float], check: bool = False) -> None:
        self.clock = clock
        self.check = check
        self.hosts: Dict[str, Host] = {}
        self.wave = Wave()
        #: grows with everything that may change what is shown
        self.turns = 0

    def host(self, name: str) -> Host:
        """A host; it is known from now on."""
        self.turns += 1
        return self.hosts.setdefault(name, Host(name))

    # plays and tasks

    def play_begins(self, wave: Wave) -> None:
        """The next batch of hosts.

        :param wave: without what was before it.
        """
        if wave.number > 1:
            wave.begun |= self.wave.begun
        else:
            self._close()
        wave.since = self.clock()
        self.wave = wave
        for name in wave.hosts:
            host = self.host(name)
            if not host.gone:
                host.busy, host.told, host.began, host.task = 0, None, None, ""
                host.over = host.result == NOTHING_TO_DO

    def _close(self) -> None:
        """A play is over: those of its hosts whose batch never came have not been begun."""
        wave = self.wave
        if wave.of == 1 or self.check:
            return
        for name in wave.everybody:
            host = self.host(name)
            if name not in wave.begun and not host.gone and not host.over:
                host.result, host.over = words.NOT_BEGUN, True

    def heading(self, passing: bool = False) -> List[Line]:
        """The name of the play, where it was not told yet: before lines that say little without it."""
        wave = self.wave
        if wave.told or not wave.play:
            return []
        wave.told = True
        text = wave.title()
        if wave.of != 1:
            there = [name for name in wave.hosts if name in wave.begun or not self.host(name).gone]
            text += ": " + first_of(there, NAMED)
        return [Line(one_line(text), HEAD, passing)]

    def task_begins(self, name: str, title: str) -> None:
        """A host gets something to do."""
        host = self.host(name)
        if host.gone and name not in self.wave.begun:  # Ansible goes on with it: what has failed was rescued
            host.gone = host.over = False
            host.result = host.why = ""
            host.began = None
        host.busy += 1
        host.task = one_line(title)
        host.touched = self.clock()
        if host.began is None:
            host.began = host.touched
        self.wave.begun.add(name)

    def task_ends(self, name: str) -> None:
        """However it has ended. What an action told of its work is over with it."""
        host = self.host(name)
        host.busy = max(0, host.busy - 1)
        host.touched = self.clock()
        if not host.busy:
            host.told = None

    # what is told

    def tells(self, told: Told) -> List[Line]:
        """An action tells how far it is; a line where that is something new."""
        if not told.host:
            return []
        host = self.host(told.host)
        host.touched = now = self.clock()
        if not told.phase:
            return self._says(host, told.text)
        fresh = told.phase != host.phase
        host.told = told
        if fresh:
            host.phase_since, host.half = now, False
            return self._says(host, told.text, passing=True)
        if told.note and told.percent is not None and told.percent >= 50 and not host.half:
            host.half = True
            if now - host.phase_since >= LONG:
                return self._says(host, told.text, passing=True)
        return []

    def says(self, name: str, text: object, tone: str = PLAIN) -> List[Line]:
        """Lines about a host; none where its result has just said the same.

        Where it is said once more in a task of its own, that is for those who have Ansible's own output.
        """
        host = self.host(name)
        if " ".join(lines_of(text)) == host.found:
            host.found = ""
            return []
        host.last = ""
        return self._says(host, text, tone)

    def _says(self, host: Host, text: object, tone: str = PLAIN, passing: bool = False) -> List[Line]:
        lines = lines_of(text)
        said = " ".join(lines)
        if not said.strip() or said == host.last:
            return []
        host.last = said
        head = self.heading(passing) if self.wave.of != 1 else []
        first = "{0}: {1}".format(one_line(host.name), lines[0])
        return [*head, Line(first, tone, passing), *(Line("  " + each, tone, passing) for each in lines[1:])]

    def finds(self, name: str, facts: Facts) -> List[Line]:
        """What a result says."""
        host = self.host(name)
        for key in ("before", "after", "fetched"):
            value = getattr(facts, key)
            if value not in ("", None):
                setattr(host, key, one_line(value) if key != "fetched" else value)
        if facts.result:
            host.result, host.why = one_line(facts.result), one_line(facts.why)
            host.over = facts.result != PLANNED
        tone = BAD if facts.result in UNWELCOME else GOOD if facts.result == words.COMMITTED else PLAIN
        # what has become of it is in the table; what it is going to be is what people want to see before
        passing = facts.result == words.COMMITTED or not facts.result
        host.found = " ".join(lines_of(facts.text))
        return self._says(host, facts.text, tone, passing)

    def waits(self, name: str, why: str) -> None:
        """A host is not begun in this run.

        :param why: for the table.
        """
        self.host(name).why = one_line(why)

    def fails(self, name: str, result: str, why: str, for_good: bool = True) -> None:
        """A task has failed, or the host gave no answer.

        :param result: what becomes of the host.
        :param for_good: it is not ignored.
        """
        host = self.host(name)
        host.last = ""
        if not for_good:
            return
        if host.result and host.result not in UNWELCOME and host.over and host.result != NOTHING_TO_DO:
            result = "{0}, then {1}".format(host.result, result)
        host.result, host.why, host.gone, host.over = one_line(result), one_line(why), True, True

    # where it stands

    def counts(self) -> Dict[str, int]:
        """How many hosts of the play are done, have failed, are at work in this wave, and are still to come."""
        wave = self.wave
        begun = [self.hosts[name] for name in wave.hosts if name in self.hosts]
        failed = sum(host.gone for host in begun)
        done = sum(host.over and not host.gone for host in begun)
        later = [
            name
            for name in wave.everybody
            if name not in wave.begun and name not in wave.hosts and not self.hosts.get(name, Host(name)).gone
        ]
        return {
            "hosts": len(begun),
            "done": done,
            "failed": failed,
            "at work": len(begun) - done - failed,
            "to come": len(later),
        }

    def moving(self) -> List[Host]:
        """The hosts that have something to do now: those that tell about it first, in the order in which they began."""
        found = [host for host in self.hosts.values() if host.busy]
        return sorted(found, key=lambda host: (not host.told, host.began or 0.0, host.name))

    # the end

    def rows(self, tallies: Mapping[str, Tally]) -> List[Row]:
        """What has become of every host."""
        self._close()
        names = {*tallies, *(host.name for host in self.hosts.values() if host.result == words.NOT_BEGUN)}
        return [self._row(name, tallies.get(name)) for name in sorted(names)]

    def _row(self, name: str, tally: Optional[Tally]) -> Row:
        host = self.hosts.get(name, Host(name))
        result = host.result
        if tally is None:
            tally, result = Tally(), result or words.NOT_BEGUN
        bad = bool(tally.failed or tally.unreachable)
        if result == PLANNED:
            result = "would be changed" if self.check else words.NOT_BEGUN
        if bad and not host.gone:
            result = NO_ANSWER if tally.unreachable and not tally.failed else FAILED
        elif not bad and host.gone:  # it was rescued, or the host had another chance
            result = RESCUED if tally.rescued else OK
        elif not result:
            result = RESCUED if tally.rescued else CHANGED_SOMETHING if tally.changed else OK
        bad = bad or result in UNWELCOME
        quiet = result in (OK, NOTHING_TO_DO)
        tone = BAD if bad else WARN if result == RESCUED else DIM if quiet else CHANGED if tally.changed else GOOD
        began = None if result == words.NOT_BEGUN else host.began
        seconds = None if began is None else max(0.0, host.touched - began)
        why = host.why if bad else ""
        return Row(name, host.before, host.after, result, tally.changed, seconds, host.fetched, why, tone)

    def left(self) -> List[Line]:
        """What was going on when a run has ended before its end."""
        moving = self.moving()
        if not moving:
            return []
        what = [
            "{0} ({1}{2})".format(
                one_line(host.name),
                host.phase or host.task,
                "" if not host.told or host.told.percent is None else " {0} %".format(host.told.percent),
            )
            for host in moving
        ]
        return [Line("ended in the middle of: {0}".format(first_of(what, NAMED)), WARN)]


def totals(rows: Iterable[Row], check: bool = False) -> str:
    """How many hosts there were, and how many of them ended how."""
    counts: Dict[str, int] = {}
    number = changed = unwelcome = 0
    for row in rows:
        number += 1
        unwelcome += row.tone == BAD
        changed += bool(row.changed)
        counts[row.result] = counts.get(row.result, 0) + 1
    first = [each for each in counts if each not in (OK, NOTHING_TO_DO)]
    last = [each for each in (NOTHING_TO_DO, OK) if each in counts]
    text = ", ".join("{0} {1}".format(counts[each], each) for each in first + last)
    if not number:
        return "no hosts"
    ended = "{0}: {1}".format(counted(number, "host"), text)
    if check:
        return ended + " (check mode)"
    return ended if changed or unwelcome else ended + "; nothing was changed"
