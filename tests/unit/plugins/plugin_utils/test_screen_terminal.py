# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live area on a terminal (pyte is one): it never covers what was printed, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from typing import Any, Callable, Iterator, List

import pyte
import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.terminal import Area, is_fit, size

Begin = Callable[["Terminal"], Area]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def __init__(self, columns: int = 40, lines: int = 8) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.screen.set_mode(pyte.modes.LNM)  # what the line discipline does with a line feed
        self.stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.stream.feed(text)
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> List[str]:
        """What was printed, with what has gone off the top."""
        top = ["".join(line[column].data for column in sorted(line)).rstrip() for line in self.screen.history.top]
        return [line for line in [*top, *(each.rstrip() for each in self.screen.display)] if line]


@pytest.fixture(name="terminal")
def fixture_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    yield Terminal()


@pytest.fixture(name="area_on")
def fixture_area_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Terminal], Area]:
    """An area that has begun; pytest has standard files of its own in a test, so that is where they are replaced."""

    def begun(terminal: Terminal) -> Area:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        area = Area(terminal, threading.RLock())
        area.begin()
        return area

    return begun


def test_it_is_below_what_is_printed(terminal: Terminal, area_on: Begin) -> None:
    area = area_on(terminal)
    for number in range(30):
        area.draw(["web-1 {0} %".format(number), "web-2 {0} %".format(number)][: 1 + number % 2])
        print("line {0}".format(number))
        if number % 7 == 0:
            print("warning {0}".format(number), file=sys.stderr)
        area.draw(["web-1 {0} %".format(number), "web-2"])
        assert terminal.shown[-2:] == ["web-1 {0} %".format(number), "web-2"]
    area.end()
    printed = [line for line in terminal.shown if not line.startswith("warning")]
    assert printed == ["line {0}".format(number) for number in range(30)] and len(terminal.shown) == 35
    assert sys.stdout is terminal


def test_nothing_is_drawn_over_a_question(terminal: Terminal, area_on: Begin) -> None:
    area = area_on(terminal)
    area.draw(["web-1 restarts"])
    sys.stdout.write("Continue? ")
    area.draw(["web-1 checks"])
    assert terminal.shown == ["Continue?"]
    terminal.write("yes\n")  # the echo
    area.close_line()
    area.draw(["web-1 checks"])
    assert terminal.shown == ["Continue? yes", "web-1 checks"]


def test_no_mode_of_the_terminal_is_changed(
    terminal: Terminal, area_on: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed leaves a terminal behind that can be used."""
    written: List[str] = []

    def write(text: str) -> int:
        written.append(text)
        return len(text)

    monkeypatch.setattr(terminal, "write", write)
    area = area_on(terminal)
    area.draw(["a", "b"])
    print("x")
    area.draw(["c"])
    area.end()
    assert "\x1b[?" not in "".join(written) and "\x1b7" not in "".join(written)


def test_another_size(terminal: Terminal, area_on: Begin) -> None:
    """What was printed stays, whatever becomes of the size."""
    area = area_on(terminal)
    print("something has failed")
    area.draw(["web-1 " + "x" * 30, "web-2 " + "x" * 30])
    terminal.screen.resize(8, 20)
    area.draw(["web-1", "web-2"])
    print("more")
    area.draw(["web-1", "web-2"])
    area.end()
    assert terminal.shown[0] == "something has failed" and terminal.shown[-1] == "more"


def test_a_fork_prints_as_it_did(terminal: Terminal, area_on: Begin, tmp_path: Any) -> None:
    area = area_on(terminal)
    area.draw(["web-1"])
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            (tmp_path / "said").write_text(str(sys.stdout.write("x")) + str(area.is_drawn))
        os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / "said").read_text() == "1True"
    area.end()


def test_a_stopped_process_leaves_what_is_there(terminal: Terminal, area_on: Begin) -> None:
    area = area_on(terminal)
    area.draw(["web-1"])
    terminal.write("[1]+ Stopped\n$ fg\n")
    area.forget()
    area.draw(["web-1 goes on"])
    assert terminal.shown == ["web-1", "[1]+ Stopped", "$ fg", "web-1 goes on"]


@pytest.mark.parametrize("name, fit", [("xterm", True), ("dumb", False), ("", False)])
def test_what_obeys(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, fit: bool) -> None:
    monkeypatch.setenv("TERM", name)
    assert is_fit(terminal) == fit and not is_fit(io.StringIO())


def test_a_terminal_without_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert all(each > 0 for each in size(io.StringIO()))
