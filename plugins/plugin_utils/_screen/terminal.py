# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A live area at the bottom of a terminal, under whatever else is printed.

The area is drawn below the last line and taken away again before anything else is written; so it never covers what was
printed, and no mode of the terminal is changed: whoever ends the process, in whatever way, leaves it usable. While a
line is open, as where somebody is asked something, nothing is drawn.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any, ContextManager, Iterable, List, Optional, TextIO, Tuple

#: of ECMA-48: up so many lines (CUU), clear from here to the end of the screen (ED)
_UP, _CLEAR = "\x1b[{0}A", "\x1b[J"


def is_fit(stream: TextIO) -> bool:
    """Whether a stream is a terminal that obeys."""
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
    except (ValueError, AttributeError):  # it is closed, or no file
        return False


def size(stream: TextIO) -> Tuple[int, int]:
    """Columns and lines of a terminal; of one that does not know, those that everybody has."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        found = shutil.get_terminal_size()
    return found.columns or 80, found.lines or 24


class Area:
    """The live area.

    :param stream: the terminal.
    :param lock: that of whatever prints.
    """

    def __init__(self, stream: TextIO, lock: ContextManager) -> None:
        self.stream = stream
        self._lock = lock
        self._lines: List[str] = []
        self._open = False  # whether the last line that was printed has not ended
        self._process = os.getpid()
        self._before: Optional[Tuple[Any, Any]] = None
        self._mine: Tuple[Any, Any] = (None, None)

    def begin(self) -> None:
        """Have everything that is printed go past the area."""
        self._before = sys.stdout, sys.stderr
        stderr: Any = sys.stderr
        self._mine = Past(sys.stdout, self), Past(stderr, self) if is_fit(stderr) else stderr
        sys.stdout, sys.stderr = self._mine

    def draw(self, lines: Iterable[str]) -> None:
        """Show lines, none of which is wider than the terminal, in place of those that are shown."""
        drawn = list(lines)
        with self._lock:
            if self._open or drawn == self._lines:
                return
            self.stream.write(self._taken_away() + "".join(line + "\n" for line in drawn))
            self.stream.flush()
            self._lines = drawn

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything of it on the terminal."""
        return bool(self._lines)

    def forget(self) -> None:
        """The terminal is not as it was left: what was drawn stays where it is."""
        self._lines = []

    def past(self, stream: Any, text: str) -> int:
        """Print something; the area is drawn again later."""
        if os.getpid() != self._process:  # a fork of this process
            return int(stream.write(text) or 0)
        with self._lock:
            if self._lines:
                self.stream.write(self._taken_away())
                self.stream.flush()
                self._lines = []
            written = stream.write(text)
            if text:
                self._open = not text.endswith("\n")
            return int(written or 0)

    def hold(self) -> None:
        """Somebody is asked something, by whatever way: take the area away until that is over."""
        with self._lock:
            self.draw([])
            self._open = True

    def close_line(self) -> None:
        """Something else goes on: a line that is open has ended, by whoever was asked."""
        self._open = False

    def end(self) -> None:
        """Take the area away, and everything else back to how it was."""
        with self._lock:
            if self._before is None:
                return
            self.draw([])
            before, self._before = self._before, None
            if sys.stdout is self._mine[0]:
                sys.stdout = before[0]
            if sys.stderr is self._mine[1]:
                sys.stderr = before[1]

    def _taken_away(self) -> str:
        return "\r" + _UP.format(len(self._lines)) + _CLEAR if self._lines else ""


class Past:
    """A stream whose text goes past a live area. All else is the stream's own."""

    def __init__(self, stream: Any, area: Area) -> None:
        self._stream = stream
        self._area = area

    def write(self, text: str) -> int:
        """Print something."""
        return self._area.past(self._stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print some texts."""
        for each in lines:
            self.write(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
