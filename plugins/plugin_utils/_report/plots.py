# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plots as numbers: where lines, areas and points of a drawing are. What draws them is the template of the page."""

from __future__ import annotations

import datetime
import itertools
import math
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import CONDITIONS
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.history import History
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import duration, moment, plain, size

#: of a drawing, in its own units, and of the space around what is drawn
WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 22

#: how many versions have a colour of their own
SERIES = 6
#: how many moments an area is drawn with, and how many upgrades are shown; the newest
MOMENTS, POINTS = 200, 600

#: the longest span between the clock of a host and the controller's that is believed (seconds)
BELIEVED = 30 * 86400


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    label: str


class Area(NamedTuple):
    """One layer of a stack: its class in the style sheet, what it is, the path, and how many there are in the end."""

    css: str
    label: str
    path: str
    last: int


class Point(NamedTuple):
    """An upgrade: where, whether it was taken back, and what it was."""

    x: float
    y: float
    back: bool
    label: str


class Plot(NamedTuple):
    """A drawing."""

    title: str
    summary: str
    areas: Sequence[Area]
    points: Sequence[Point]
    x: Sequence[Tick]
    y: Sequence[Tick]


class Span(NamedTuple):
    """From when to when a plot goes, in seconds since the epoch.

    :param now: until when something is known; a little space is left behind it, so that what is so now can be seen.
    """

    first: int
    now: int

    @property
    def last(self) -> int:
        """Where the drawing ends."""
        return self.now + (self.now - self.first) // 25

    def place(self, at: float) -> float:
        """Where a time is on the drawing."""
        share = (min(max(at, self.first), self.last) - self.first) / max(1, self.last - self.first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> List[Tick]:
        """Some times, as days, or as hours where there is no more than two days."""
        short = self.now - self.first < 2 * 86400
        count = 4
        found = []
        for number in range(count):
            at = self.first + (self.now - self.first) * number // (count - 1)
            when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
            found.append(Tick(self.place(at), when.strftime("%H:%M" if short else "%Y-%m-%d")))
        return found


def _height(share: float) -> float:
    """Where a value is on the drawing, by its share of the largest."""
    return round(HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - BOTTOM - TOP), 1)


def nice(most: float) -> float:
    """A round number that is not smaller."""
    if most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= most * 0.9999)


Line = Mapping[str, Any]


def _title(line: Line) -> str:
    image = line.get("image")
    if not isinstance(image, Mapping) or not image.get("name"):
        return ""
    return plain("{0}-{1}".format(image["name"], image.get("version")))


def _condition(line: Line) -> str:
    found = line.get("condition")
    return found if found in CONDITIONS else ""


def stack(lines: Sequence[Line], what: Callable[[Line], str], span: Span) -> List[Tuple[int, Counter[str]]]:
    """How many hosts there were of each kind, at some moments.

    :param lines: of hosts, the oldest first.
    :param what: the kind that a line says its host was of from then on; empty for none.
    """
    now: Dict[str, str] = {}
    counts: Counter[str] = Counter()
    found: List[Tuple[int, Counter[str]]] = []
    step = max(1, (span.last - span.first) // MOMENTS)
    for line in lines:
        host, kind, at = str(line["host"]), what(line), int(line["at"])
        if now.get(host, "") == kind:
            continue
        if now.get(host):
            counts[now[host]] -= 1
        now[host] = kind
        if kind:
            counts[kind] += 1
        if found and at - found[-1][0] < step:
            found[-1] = (found[-1][0], counts.copy())
        else:
            found.append((at, counts.copy()))
    return found


def areas(
    moments: Sequence[Tuple[int, Counter[str]]], kinds: Sequence[Tuple[str, str]], span: Span
) -> Tuple[List[Area], float]:
    """The layers of a stack, the lowest first, and the number at the top of the axis.

    :param kinds: class and name of each layer; an empty name for all that have no layer of their own.
    """
    names = [name for _css, name in kinds]
    most = nice(max((sum(counts.values()) for _at, counts in moments), default=1))
    below = [0] * len(moments)
    found = []
    for css, name in kinds:
        values = [
            counts[name] if name else sum(count for kind, count in counts.items() if kind not in names)
            for _at, counts in moments
        ]
        above = [low + value for low, value in zip(below, values)]
        if any(values):
            path = _band(span, [at for at, _counts in moments], below, above, most)
            found.append(Area(css, name or "others", path, values[-1]))
        below = above
    return found, most


def _band(span: Span, times: Sequence[int], below: Sequence[int], above: Sequence[int], most: float) -> str:
    """The outline of a layer: what was so stays so until the next moment."""
    ends = [*times[1:], span.last]
    upper = [(at, level) for start, end, level in zip(times, ends, above) for at in (start, end)]
    lower = [(at, level) for start, end, level in zip(times, ends, below) for at in (start, end)]
    places = ["{0:g} {1:g}".format(span.place(at), _height(level / most)) for at, level in upper + lower[::-1]]
    return "M" + "L".join(place for place, _same in itertools.groupby(places)) + "Z"


def _host_lines(past: History, names: Sequence[str]) -> List[Line]:
    """The lines of some hosts, the oldest first."""
    lines = [line for name in names for line in past.hosts.get(name, ())]
    return sorted(lines, key=lambda line: int(line["at"]))


def over_time(past: History, names: Sequence[str], now: float) -> List[Plot]:
    """Versions and conditions of some hosts over time; nothing where no more than one moment is known."""
    lines = _host_lines(past, names)
    runs = [int(run["at"]) for run in past.runs]
    first = min([int(lines[0]["at"])] + runs) if lines else 0
    if not lines or int(now) - first < 60:
        return []
    span = Span(first, int(now))
    versions = stack(lines, _title, span)
    newest = list(dict.fromkeys(title for title in map(_title, reversed(lines)) if title))
    shown = sorted(newest[:SERIES])
    kinds = [("s{0}".format(number), title) for number, title in enumerate(shown)]
    conditions = stack(lines, _condition, span)
    return [
        _stacked("Versions over time", versions, [("s9", ""), *kinds], span),
        _stacked("Conditions over time", conditions, [(css(word), word) for word in CONDITIONS], span),
    ]


def css(condition: str) -> str:
    """The class of a condition in the style sheet."""
    return "c-" + condition.replace(" ", "-")


def _stacked(
    title: str, moments: Sequence[Tuple[int, Counter[str]]], kinds: Sequence[Tuple[str, str]], span: Span
) -> Plot:
    layers, most = areas(moments, kinds, span)
    now = ", ".join("{0} {1}".format(each.last, each.label) for each in layers if each.last)
    ticks = [Tick(_height(share), "{0:g}".format(most * share)) for share in (0, 0.5, 1)]
    return Plot(
        title,
        "from {0} to {1}; now {2}".format(moment(span.first), moment(span.now), now),
        layers,
        (),
        span.ticks(),
        ticks,
    )


class Upgrade(NamedTuple):
    """A transaction that has ended, as the history has it."""

    host: str
    at: int
    back: bool
    seconds: int
    fetched: int
    words: str


def upgrades(past: History, names: Sequence[str]) -> List[Upgrade]:
    """The transactions of some hosts that have ended, the oldest first."""
    found: Dict[Tuple[str, str], Upgrade] = {}
    for line in _host_lines(past, names):
        deal = line.get("transaction")
        if not isinstance(deal, Mapping) or deal.get("phase") not in ("committed", "reverted"):
            continue
        seconds, fetched, ended = (_natural(deal.get(key)) for key in ("seconds", "fetched", "ended"))
        at = ended if abs(ended - int(line["at"])) < BELIEVED else int(line["at"])
        back = deal["phase"] == "reverted"
        words = plain(
            "{0}: {1} to {2}{3}".format(line["host"], deal.get("from"), deal.get("to"), ", taken back" if back else "")
        )
        found.setdefault(
            (str(line["host"]), str(deal.get("txn"))), Upgrade(str(line["host"]), at, back, seconds, fetched, words)
        )
    return sorted(found.values(), key=lambda each: each.at)


def _natural(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else 0


def _unit(seconds: float) -> Tuple[float, str]:
    """In what a time span is best told on an axis: the length of the unit in seconds, and its name."""
    return next((unit for unit in ((3600.0, "h"), (60.0, "min")) if seconds >= 2 * unit[0]), (1.0, "s"))


def _scatter(
    title: str,
    found: Sequence[Tuple[Upgrade, int]],
    say: Callable[[float], str],
    now: float,
    unit: Callable[[float], Tuple[float, str]] = lambda _most: (1.0, ""),
) -> List[Plot]:
    """Upgrades by something; on a scale of powers where the largest is much more than the smallest.

    :param say: an amount in words.
    :param unit: in what amounts are told on the axis; with an empty name they are told in words.
    """
    if not found:
        return []
    shown = found[-POINTS:]
    values = [value for _each, value in shown]
    span = Span(min(each.at for each, _value in shown), max(int(now), *(each.at for each, _value in shown)))
    length, name = unit(max(values))
    low, high = min(values), nice(max(values) / length) * length
    powers = high / max(1, low) > 50
    bottom = 10.0 ** math.floor(math.log10(max(1, low)))
    top = 10.0 ** math.ceil(math.log10(high))

    def share(value: float) -> float:
        return math.log(max(value, 1) / bottom) / math.log(top / bottom) if powers else value / high

    marks = (
        [bottom * 10**number for number in range(round(math.log10(top / bottom)) + 1)]
        if powers
        else [0, high / 2, high]
    )
    points = [
        Point(
            span.place(each.at),
            _height(share(value)),
            each.back,
            "{0}; {1}, {2}".format(each.words, say(value), moment(each.at)),
        )
        for each, value in shown
    ]
    middle = sorted(values)[len(values) // 2]
    back = sum(each.back for each, _value in shown)
    summary = "{0}, {1} taken back; median {2}, largest {3}".format(
        counted(len(shown), "upgrade"), back, say(middle), say(max(values))
    )
    if len(found) > len(shown):
        summary = "the newest " + summary
    ticks = [
        Tick(_height(share(mark)), "{0:g} {1}".format(mark / length, name) if name else say(mark)) for mark in marks
    ]
    return [Plot(title, summary, (), points, span.ticks(), ticks)]


def of_upgrades(past: History, names: Sequence[str], now: float) -> List[Plot]:
    """How long upgrades took, and how many bytes they fetched."""
    found = upgrades(past, names)
    took = [(each, each.seconds) for each in found if each.seconds]
    fetched = [(each, each.fetched) for each in found if each.fetched]
    return [
        *_scatter("How long upgrades took", took, duration, now, _unit),
        *_scatter("What upgrades fetched", fetched, size, now),
    ]
