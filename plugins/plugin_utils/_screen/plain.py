# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The screen as plain text, for logs, and for terminals where ``rich`` is not installed."""

from __future__ import annotations

from typing import Callable, List

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import BAD, DIM, HEAD, PLAIN, Line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import cells, cut, fitted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.view import (
    GAP,
    NUMBERS,
    Live,
    Moving,
    Table,
    widths,
)

#: gives a text the colour of a tone
Paint = Callable[[str, str], str]

#: columns of the last cell of a table where there is no terminal to end it
LAST = 160


def _row(row: Moving, columns: int, rooms: List[int]) -> str:
    percent = "" if row.percent is None else "{0} %".format(row.percent)
    gauge = ""
    if row.percent is not None:
        done = row.percent * rooms[2] // 100
        gauge = "#" * done + "-" * (rooms[2] - done)
    parts = (row.host, row.phase, gauge, percent, row.rate, row.eta, row.text, row.since)
    right = (False, False, False, True, True, True, False, True)
    shown = [fitted(part, room, side) for part, room, side in zip(parts, rooms, right) if room]
    return cut((" " * GAP).join(shown).rstrip(), columns)


def live_lines(live: Live, columns: int, paint: Paint) -> List[str]:
    """The live area.

    :param columns: of the terminal.
    """
    columns -= 1  # a line that fills the last column makes some terminals go to the next one
    rooms = list(widths(live.rows, columns))
    lines = [paint(each, BAD if live.bad else HEAD) for each in live.head(columns)]
    lines += [paint(_row(each, columns, rooms), PLAIN) for each in live.rows]
    if live.more:
        lines.append(paint(cut(live.more, columns), DIM))
    return lines


def table_lines(table: Table, columns: int) -> List[Line]:
    """The table at the end.

    :param columns: of the terminal; 0 where there is none, and lines are as long as they are.
    """
    lines: List[Line] = []
    if table.rows:
        rows = [table.titles, *table.rows]
        rooms = [max(cells(row[number]) for row in rows) for number in range(len(table.titles))]
        rooms[-1] = min(rooms[-1], LAST)
        for row, tone in zip(rows, [HEAD, *table.tones]):
            shown = [fitted(part, room, title in NUMBERS) for part, room, title in zip(row, rooms, table.titles)]
            text = (" " * GAP).join(shown).rstrip()
            lines.append(Line(cut(text, columns - 1) if columns else text, tone))
    lines.append(Line(table.totals, BAD if table.bad else HEAD))
    return lines
