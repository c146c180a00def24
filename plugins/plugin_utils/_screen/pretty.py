# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The screen in a terminal, drawn by ``rich`` where that is installed (https://rich.readthedocs.io).

No text is ever taken for markup: what is shown is wrapped in ``Text``.
"""

from __future__ import annotations

import io
from typing import Any, List

try:
    from rich import box
    from rich.console import Console, Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table as RichTable
    from rich.text import Text

    HAS_RICH = True
except ImportError:
    HAS_RICH = False

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import BAD, DIM, HEAD, PLAIN
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.plain import Paint
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.view import GAP, NUMBERS, Live, Table, widths


def _text(text: str, tone: str, paint: Paint, **more: Any) -> Any:
    """A cell in the colour that Ansible has for it, on one line."""
    return Text.from_ansi(paint(text, tone), no_wrap=True, overflow="ellipsis", **more)


def _drawn(content: Any, columns: int, colours: bool) -> List[str]:
    """The lines of something that rich draws."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=columns,
        force_terminal=True,
        force_interactive=False,
        color_system="standard" if colours else None,
        no_color=not colours,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},
    )
    console.print(content, end="")
    return [line.rstrip() for line in file.getvalue().splitlines()]


def live_lines(live: Live, columns: int, paint: Paint, colours: bool) -> List[str]:
    """The live area.

    :param columns: of the terminal.
    """
    columns -= 1
    rooms = widths(live.rows, columns)
    grid = RichTable.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    names = ("host", "phase", "gauge", "percent", "rate", "eta", "text", "since")
    order = [name for name in names if getattr(rooms, name)]
    for name in order:
        grid.add_column(
            width=getattr(rooms, name), justify="right" if name in ("percent", "rate", "eta", "since") else "left"
        )
    for row in live.rows:
        shown = []
        for name in order:
            value = getattr(row, name, None)
            if name == "gauge":
                shown.append(Text("") if row.percent is None else ProgressBar(100, row.percent, width=rooms.gauge))
            elif name == "percent":
                shown.append(_text("" if row.percent is None else "{0} %".format(row.percent), PLAIN, paint))
            else:
                shown.append(_text(value or "", DIM if name in ("text", "since") else PLAIN, paint))
        grid.add_row(*shown)
    parts: List[Any] = [_text(each, BAD if live.bad else HEAD, paint) for each in live.head(columns)]
    if live.rows:
        parts.append(grid)
    if live.more:
        parts.append(_text(live.more, DIM, paint))
    return _drawn(Group(*parts), columns, colours)


def table_lines(table: Table, columns: int, paint: Paint, colours: bool) -> List[str]:
    """The table at the end.

    :param columns: of the terminal.
    """
    columns -= 1
    parts: List[Any] = []
    if table.rows:
        grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for title in table.titles:
            last = title == "WHY"
            grid.add_column(
                title,
                justify="right" if title in NUMBERS else "left",
                no_wrap=not last,
                overflow="ellipsis" if not last else "fold",
                min_width=3,
            )
        for row, tone in zip(table.rows, table.tones):
            cells = [
                Text.from_ansi(paint(part, tone if number in (0, 3) else PLAIN)) for number, part in enumerate(row)
            ]
            grid.add_row(*cells)
        parts.append(grid)
    parts.append(_text(table.totals, BAD if table.bad else HEAD, paint))
    return _drawn(Group(*parts), columns, colours)
