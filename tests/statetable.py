# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/transaction.md and its drawing, made from the table in ``module_utils/_upgrade/machine.py``.

The drawing is made with no other program: phases are boxes on a grid, each way between two of them is one arrow with
the events that lead there.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, List, Sequence, Tuple
from xml.sax.saxutils import escape

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs")

BEGIN, END = "<!-- made by tools/state-table -->", "<!-- end of what is made -->"

#: column and row of each phase
PLACES: Dict[str, Tuple[float, float]] = {
    journals.IDLE: (0, 0),
    journals.PREPARED: (1.2, 0),
    journals.WRITTEN: (2.05, 0),
    journals.ARMED: (3.4, 0),
    journals.TRIAL: (3.4, 1),
    journals.COMMITTING: (2.0, 1),
    journals.COMMITTED: (0.5, 1),
    journals.REVERTING: (2.6, 2),
    journals.REVERTED: (0.5, 2),
}

#: not drawn, but said below the drawing: it leads from nearly everywhere to idle
SAID = machine.ABANDON

WIDTH, HEIGHT, BOX, TALL = 240, 190, 124, 42
LEFT, TOP = 80, 70

#: what a host does in a phase, under its name
UNDER = {
    journals.IDLE: "nothing is open",
    journals.PREPARED: "a lease, a name",
    journals.WRITTEN: "the slice is right",
    journals.ARMED: "restarts now",
    journals.TRIAL: "one boot, a timer",
    journals.COMMITTING: "it was decided",
    journals.COMMITTED: "it boots from now on",
    journals.REVERTING: "data goes back",
    journals.REVERTED: "as it was before",
}


def arrows() -> Dict[Tuple[str, str], List[str]]:
    """The ways between two phases, with the events that lead there."""
    found: Dict[Tuple[str, str], List[str]] = {}
    for row in machine.TABLE:
        for phase in row.phases:
            to = row.next_phase(phase)
            if to != phase and row.event != SAID:
                events = found.setdefault((phase, to), [])
                if row.event not in events:
                    events.append(row.event)
    return found


def _centre(phase: str) -> Tuple[float, float]:
    column, row = PLACES[phase]
    return LEFT + column * WIDTH + BOX / 2, TOP + row * HEIGHT + TALL / 2


def _edge(one: Tuple[float, float], other: Tuple[float, float]) -> Tuple[float, float]:
    """Where a line from the middle of a box to another point leaves the box."""
    x, y = other[0] - one[0], other[1] - one[1]
    scale = min(
        (BOX / 2 + 4) / abs(x) if x else float("inf"),
        (TALL / 2 + 4) / abs(y) if y else float("inf"),
    )
    return one[0] + x * scale, one[1] + y * scale


def _arrow(source: str, target: str, events: Sequence[str]) -> List[str]:
    start, end = _centre(source), _centre(target)
    x, y = end[0] - start[0], end[1] - start[1]
    length = (x * x + y * y) ** 0.5
    # to the right of its direction, so that there and back are two lines; long ones are bent around what is between
    bend = 20 if length < 1.6 * WIDTH else 20 + 0.08 * length
    side = (-y / length * bend, x / length * bend)
    middle = (start[0] + x / 2 + side[0], start[1] + y / 2 + side[1])
    first, last = _edge(start, middle), _edge(end, middle)
    text = " / ".join(events)
    at = (start[0] + x / 2 + side[0] * 0.5, start[1] + y / 2 + side[1] * 0.5)
    wide = 6.2 * len(text) + 6
    return [
        '<path class="way" d="M{0:.0f},{1:.0f} Q{2:.0f},{3:.0f} {4:.0f},{5:.0f}"/>'.format(*first, *middle, *last),
        '<rect class="back" x="{0:.0f}" y="{1:.0f}" width="{2:.0f}" height="14"/>'.format(
            at[0] - wide / 2, at[1] - 7, wide
        ),
        '<text class="event" x="{0:.0f}" y="{1:.0f}">{2}</text>'.format(at[0], at[1] + 4, escape(text)),
    ]


def drawing() -> str:
    """The drawing as SVG."""
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1040 560" font-family="sans-serif">',
        "<style>.box{fill:#f4f7fb;stroke:#35506b;stroke-width:1.5}.closed{fill:#e4f1e4}.phase{font-size:15px;"
        "text-anchor:middle;fill:#12202e;font-weight:bold}.under{font-size:10px;text-anchor:middle;fill:#444}"
        ".way{fill:none;stroke:#6a7f94;stroke-width:1.3;marker-end:url(#tip)}.event{font-size:11px;text-anchor:middle;"
        "fill:#8a2b0a}.back{fill:#fff}.said{font-size:12px;fill:#12202e}</style>",
        '<rect width="1040" height="560" fill="#fff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#6a7f94"/></marker></defs>',
    ]
    for (source, target), events in arrows().items():
        lines += _arrow(source, target, events)
    for phase in journals.PHASES:
        x, y = _centre(phase)
        kind = "box closed" if phase in journals.CLOSED else "box"
        lines.append(
            '<rect class="{0}" x="{1:.0f}" y="{2:.0f}" width="{3}" height="{4}" rx="7"/>'.format(
                kind, x - BOX / 2, y - TALL / 2, BOX, TALL
            )
        )
        lines.append('<text class="phase" x="{0:.0f}" y="{1:.0f}">{2}</text>'.format(x, y - 1, phase))
        lines.append('<text class="under" x="{0:.0f}" y="{1:.0f}">{2}</text>'.format(x, y + 13, UNDER[phase]))
    phases = sorted({phase for row in machine.rows_for(SAID) for phase in row.phases}, key=journals.PHASES.index)
    lines.append(
        '<text class="said" x="{0}" y="535">{1}: from {2} to idle, where the table allows it</text>'.format(
            LEFT, SAID, ", ".join(phases)
        )
    )
    return "\n".join([*lines, "</svg>", ""])


def table() -> str:
    """The table as Markdown."""
    lines = ["| in phase | when | if | it does | and is |", "|---|---|---|---|---|"]
    for row in machine.TABLE:
        guards = "; ".join(machine.GUARDS[name].words for name in row.guards) or "in any case"
        actions = ", ".join(row.actions)
        lines.append(
            "| {0} | {1} | {2} | {3} | {4} |".format(
                ", ".join(row.phases), row.event, guards, actions, row.to or "as before"
            )
        )
    lines += ["", "| event | when it comes |", "|---|---|"]
    lines += ["| {0} | {1} |".format(*pair) for pair in machine.EVENTS.items()]
    lines += ["", "| action | what it is |", "|---|---|"]
    lines += ["| {0} | {1} |".format(*pair) for pair in machine.ACTIONS.items()]
    return "\n".join(lines)


def page(old: str) -> str:
    """The page with the table as it is now.

    :param old: the page.
    """
    before, _begin, rest = old.partition(BEGIN)
    _made, _end, after = rest.partition(END)
    return "{0}{1}\n\n{2}\n\n{3}{4}".format(before, BEGIN, table(), END, after)


def main(arguments: Sequence[str]) -> int:
    """Write both; or with ``--check`` only say whether they are right."""
    paths = [os.path.join(DOCS, name) for name in ("transaction.md", "transaction.svg")]
    with open(paths[0], encoding="utf-8") as file:
        wanted = [page(file.read()), drawing()]
    wrong = []
    for path, text in zip(paths, wanted):
        now = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                now = file.read()
        if now != text:
            wrong.append(os.path.basename(path))
            if "--check" not in arguments:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
    if wrong and "--check" in arguments:
        sys.stderr.write("not as the table is: {0}; run tools/state-table\n".format(", ".join(wrong)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
