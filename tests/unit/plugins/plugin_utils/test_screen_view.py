# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be seen, drawn by both: it fits, and nothing that a host says does anything to the terminal."""

from __future__ import annotations

import re
from typing import Any, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen import plain, pretty
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import Fleet, Tally, Told, Wave
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import cells, cut, fitted, wrapped
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.view import live, table

#: of ECMA-48: colours, which are all that may be in a line besides text
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

HOSTILE = [
    "web-1",
    "[red]x[/red]",
    "\x1b[2J\x1b]0;pwned\x07",
    "日本語ホスト",
    "é\u0301",
    "a\tb\r\n\x9b31m",
    "\u202ex",
    "",
]


def uncoloured(text: str, _tone: str) -> str:
    return text


def coloured(text: str, _tone: str) -> str:
    return "\x1b[0;31m{0}\x1b[0m".format(text)


def fleet_of(names: List[str], **told: Any) -> Fleet:
    """A fleet of which every host is at work."""
    fleet = Fleet(lambda: 100.0)
    fleet.play_begins(Wave(play="Upgrade", number=2, of=3, hosts=names, everybody=names))
    for name in names:
        fleet.task_begins(name, "a task")
        fleet.tells(Told.of(dict(told, host=name)))
    return fleet


def drawings(fleet: Fleet, columns: int, rows: int) -> List[List[str]]:
    """The live area by everybody who draws."""
    seen = live(fleet, rows)
    return [
        plain.live_lines(seen, columns, uncoloured),
        plain.live_lines(seen, columns, coloured),
        pretty.live_lines(seen, columns, uncoloured, False),
        pretty.live_lines(seen, columns, coloured, True),
    ]


def is_harmless(line: str) -> bool:
    return COLOUR.sub("", line).isprintable()


def test_rich_is_there() -> None:
    """Or else half of what follows would test nothing."""
    assert pretty.HAS_RICH


def test_a_host_that_writes() -> None:
    fleet = fleet_of(["web-1"], phase="writing", percent=43, rate=23100000, eta=26, note="fetched 2.1 of 4.9 MB")
    by_plain, _coloured, by_rich, _both = drawings(fleet, 100, 10)
    assert by_plain[0] == by_rich[0] == "Upgrade, wave 2 of 3: 1 host: 0 done, 0 failed, 1 at work"
    for lines in (by_plain, by_rich):
        assert re.search(r"web-1 +writing .* 43 % +23.1 MB/s +0:26 +fetched 2.1 of 4.9 MB +0:00$", lines[1]), lines
    assert "######----------" in by_plain[1]


def test_a_narrow_terminal_has_what_counts() -> None:
    fleet = fleet_of(["web-1"], phase="writing", percent=43, rate=23100000, eta=26, note="fetched 2.1 of 4.9 MB")
    for lines in drawings(fleet, 40, 10):
        said = "\n".join(COLOUR.sub("", line) for line in lines)
        assert "wave 2 of 3" in said and "0 failed" in said and "writing" in said and "43 %" in said, said


def test_two_hundred_hosts() -> None:
    """Those that tell something are shown, in the order in which they began; the others are counted."""
    names = ["web-{0:03}".format(number) for number in range(200)]
    fleet = fleet_of(names)
    for name in names[150:155]:
        fleet.tells(Told(name, "restarts", "restarting"))
    for lines in drawings(fleet, 80, 10):
        said = [COLOUR.sub("", line) for line in lines]
        assert len(said) == 11 and said[-1] == "and 191 more at work"
        assert [line.split()[0] for line in said[1:6]] == names[150:155]


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), min_size=1, max_size=8, unique=True),
    phase=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20)),
    text=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=200)),
    percent=st.one_of(st.none(), st.integers(-5, 200)),
    rate=st.one_of(st.none(), st.integers(0, 10**18)),
    eta=st.one_of(st.none(), st.integers(0, 10**9)),
    columns=st.integers(20, 200),
    rows=st.integers(0, 12),
)
def test_whatever_is_told_fits_and_is_harmless(
    names: List[str], phase: str, text: str, percent: Any, rate: Any, eta: Any, columns: int, rows: int
) -> None:
    fleet = fleet_of(names, phase=phase, text=text, percent=percent, rate=rate, eta=eta)
    for number, lines in enumerate(drawings(fleet, columns, rows)):
        width = cells if number < 2 else cell_len  # they differ in scripts that terminals differ in
        assert len(lines) <= rows + 3
        for line in lines:
            assert is_harmless(line), lines
            assert width(COLOUR.sub("", line)) < columns, lines
    fleet.fails(names[0], "failed", text)
    found = table(fleet.rows({name: Tally(changed=1, failed=1) for name in names}))
    for row in plain.table_lines(found, columns):
        assert is_harmless(row.text) and cells(row.text) < max(columns, cells(found.totals) + 1, 40)
    for shown in pretty.table_lines(found, columns, coloured, True):
        assert is_harmless(shown) and cell_len(COLOUR.sub("", shown)) <= columns


def test_the_table() -> None:
    fleet = fleet_of(["web-1", "web-2", "web-3"])
    fleet.fails("web-1", "reverted", "not running: fleetapp")
    fleet.host("web-1").before, fleet.host("web-1").after = "1.0", "1.2"
    found = table(fleet.rows({"web-1": Tally(changed=2, failed=1), "web-2": Tally(changed=1), "web-3": Tally()}))
    assert [line.text for line in plain.table_lines(found, 0)] == [
        "HOST   FROM  TO   ENDED     CHANGED  TOOK  WHY",
        "web-1  1.0   1.2  reverted        2  0:00  not running: fleetapp",
        "web-2             changed         1  0:00",
        "3 hosts: 1 reverted, 1 changed, 1 ok",
    ]
    by_rich = pretty.table_lines(found, 80, uncoloured, False)
    assert re.search(r"web-1 +1.0 +1.2 +reverted +2 +0:00 +not running: fleetapp", by_rich[2]), by_rich
    assert by_rich[-1] == "3 hosts: 1 reverted, 1 changed, 1 ok"


def test_wrapped() -> None:
    text = "web-1: failed: it is    broken, and 日本語 as well"
    assert wrapped(text, 0) == wrapped(text, 100) == [text]
    assert wrapped(text, 20) == ["web-1: failed: it", "    is    broken,", "    and 日本語 as", "    well"]
    assert wrapped("  Next: " + "x" * 50, 20) == ["  Next:", "    " + "x" * 50]


@given(st.text(alphabet="ab 日\u0301", max_size=200), st.integers(1, 60))
def test_wrapped_loses_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text, width, shown",
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"), ("x", 0, "")],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown and cells(fitted(text, width)) == width
