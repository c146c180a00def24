# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be seen: of a fleet at work, and at the end; as cells, for those that draw them."""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.words import size
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import duration
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import (
    BAD,
    DIM,
    Fleet,
    Host,
    Row,
    totals,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import cells, cut, one_line

#: columns that a bar takes
BAR = 16

#: the narrowest text beside the figures that is of any use
NARROWEST = 8

#: columns between two cells
GAP = 2


class Moving(NamedTuple):
    """A host that has something to do. Texts are as they are shown; empty for what there is none of."""

    host: str
    phase: str
    percent: Optional[int]
    rate: str
    eta: str
    text: str
    since: str


class Live(NamedTuple):
    """What is to be seen of a fleet at work.

    :param title: the play, and the wave.
    :param counts: how far it is.
    :param rows: hosts, as many as there is room for.
    :param more: what is said of the others; empty where there are none.
    """

    title: str
    counts: str
    rows: List[Moving]
    more: str
    bad: bool

    def head(self, columns: int) -> List[str]:
        """Title and counts on one line, or on two where there is no room."""
        both = "{0}: {1}".format(self.title, self.counts)
        return [both] if cells(both) <= columns else [cut(self.title, columns), cut(self.counts, columns)]


class Widths(NamedTuple):
    """Columns that there are for each cell; 0 for a cell that is not shown."""

    host: int
    phase: int
    gauge: int
    percent: int
    rate: int
    eta: int
    text: int
    since: int


def _moving(host: Host, now: float) -> Moving:
    told = host.told
    since = duration(int(max(0.0, now - (host.began if host.began is not None else now))))
    if told is None:
        return Moving(one_line(host.name), "", None, "", "", host.task, since)
    return Moving(
        one_line(host.name),
        told.phase,
        told.percent,
        "{0:.1f} MB/s".format(told.rate / 1e6) if told.rate else "",
        duration(told.eta) if told.eta is not None else "",
        # a text with figures that have columns of their own would say everything twice
        told.note or (told.text if told.percent is None else ""),
        since,
    )


def _counts(fleet: Fleet) -> str:
    counts = fleet.counts()
    said = ["{0} done".format(counts["done"]), "{0} failed".format(counts["failed"])]
    said.append("{0} at work".format(counts["at work"]))
    if counts["to come"]:
        said.append("{0} to come".format(counts["to come"]))
    return "{0}: {1}".format(counted(counts["hosts"], "host"), ", ".join(said))


def live(fleet: Fleet, rows: int) -> Live:
    """What is to be seen now.

    :param rows: how many hosts there is room for.
    """
    moving, now = fleet.moving(), fleet.clock()
    if len(moving) > rows:
        rows = max(0, rows - 1)  # for the line about the others
    others = len(moving) - rows
    more = "and {0} more at work".format(others) if others > 0 else ""
    title = one_line(fleet.wave.title()) or "starting"
    return Live(
        title, _counts(fleet), [_moving(each, now) for each in moving[:rows]], more, bool(fleet.counts()["failed"])
    )


def widths(rows: Sequence[Moving], columns: int) -> Widths:
    """How much room each cell gets: what is of least use goes first."""

    def widest(texts: Iterable[str], most: int) -> int:
        return min(max((cells(each) for each in texts), default=0), most)

    found = {
        "host": widest((each.host for each in rows), max(6, columns // 3)),
        "phase": widest((each.phase for each in rows), 12),
        "percent": 5 if any(each.percent is not None for each in rows) else 0,
        "eta": widest((each.eta for each in rows), 8),
        "rate": widest((each.rate for each in rows), 12),
        "since": widest((each.since for each in rows), 8),
        "gauge": BAR if any(each.percent is not None for each in rows) else 0,
    }
    order = ("host", "phase", "percent", "eta", "rate", "since", "gauge")
    kept, left = {"host": 0}, columns
    for name in order:
        wanted = found[name]
        room = left - wanted - (GAP if left < columns else 0)
        if not wanted or room < (0 if name in ("host", "phase", "percent") else NARROWEST + GAP):
            kept[name] = 0
            continue
        kept[name] = wanted
        left = room
    text = left - GAP
    return Widths(text=text if text >= NARROWEST else 0, **kept)


#: titles of the table at the end
TITLES = ("HOST", "FROM", "TO", "ENDED", "CHANGED", "TOOK", "FETCHED", "WHY")

#: columns of the table that are numbers
NUMBERS = ("CHANGED", "TOOK", "FETCHED")


class Table(NamedTuple):
    """The end: titles and rows of those columns that have something in them, and totals."""

    titles: Tuple[str, ...]
    rows: List[Tuple[str, ...]]
    tones: List[str]
    totals: str
    bad: bool


def table(rows: Sequence[Row], check: bool = False) -> Table:
    """The table at the end. Hosts of which there is nothing to tell are only counted."""
    shown = [each for each in rows if each.tone != DIM]
    cells_of = [
        (
            one_line(each.host),
            each.before,
            each.after,
            each.result,
            str(each.changed) if each.changed else "",
            duration(int(each.seconds)) if each.seconds is not None else "",
            size(float(each.fetched)) if each.fetched else "",
            each.why,
        )
        for each in shown
    ]
    columns = [number for number in range(len(TITLES)) if any(each[number] for each in cells_of)]
    return Table(
        titles=tuple(TITLES[number] for number in columns),
        rows=[tuple(each[number] for number in columns) for each in cells_of],
        tones=[each.tone for each in shown],
        totals=totals(rows, check),
        bad=any(each.tone == BAD for each in rows),
    )
