# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The screen: what is told goes into the model, and what comes out of it goes to a terminal or a log."""

from __future__ import annotations

import contextlib
import select
import signal
import threading
import time
from typing import Any, Callable, Iterable, List, Optional, Protocol, TextIO, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._channel import Channel, tell
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen import plain, pretty, terminal
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import Fleet, Line, Row, Told
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.view import Live, Moving, live, table

#: the smallest terminal in which there is a live area, in lines and columns
LOWEST, NARROWEST = 6, 20

#: lines of the terminal that stay free for what is printed
FREE = 5

#: how long the thread may take to end (seconds), which it does at once
ENDING = 30.0

#: draws once, so that all that is imported late is imported before the first fork
_PROBE = Live("t", "c", [Moving("h", "p", 1, "1", "1", "t", "0")], "m", False)


class Lock(Protocol):
    """What ``threading.RLock`` makes."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Get it."""

    def release(self) -> None:
        """Give it back."""

    def __enter__(self) -> bool:
        """Get it."""

    def __exit__(self, *exception: Any) -> None:
        """Give it back."""


class Screen:
    """What the operator sees.

    :param fleet: the model; nobody else changes it but under *lock*.
    :param show: prints a line that stays.
    :param note: notes a line only in Ansible's log.
    :param paint: see :data:`plain.Paint`.
    :param lock: that of whatever prints. Nobody forks while it is held, so it is held for all that draws.
    :param stream: the terminal, or ``None`` where there is none, or none that obeys.
    :param rich: draw with ``rich``.
    :param columns: as wide as this, or 0 for the terminal's own width.
    :param most: hosts that are shown at most; 0 for as many as there is room for.
    :param interval: seconds between two drawings.
    """

    def __init__(
        self,
        fleet: Fleet,
        show: Callable[[Line], None],
        note: Callable[[Line], None],
        paint: plain.Paint,
        lock: Lock,
        stream: Optional[TextIO] = None,
        rich: bool = False,
        colours: bool = False,
        columns: int = 0,
        most: int = 0,
        interval: float = 0.5,
    ) -> None:
        self.fleet = fleet
        self._show = show
        self._note = note
        self._paint = paint
        self._lock = lock
        self._rich = rich and pretty.HAS_RICH
        self._colours = colours
        self._columns = columns
        self._most = most
        self._interval = interval
        self._stream = stream
        self._channel = Channel()
        self._area = terminal.Area(stream, lock) if stream is not None else None
        self._over = threading.Event()
        self._seen: Tuple[int, ...] = ()
        self._continued = False
        self._before: Any = None
        self._thread = threading.Thread(target=self._work, name="nanozfs-screen", daemon=True)
        #: what went wrong in the thread
        self.problem: Optional[Exception] = None

    def begin(self) -> None:
        """Begin to listen, and to draw."""
        if self._area is not None:
            self._live_lines(_PROBE, 80)
            self._area.begin()
            with contextlib.suppress(ValueError):  # not the main thread
                self._before = signal.signal(signal.SIGCONT, self._goes_on)
        self._thread.start()

    def end(self) -> None:
        """Stop drawing; give everything back. Can be called again."""
        self._over.set()
        tell("", "")  # it may be waiting for something to be told
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            # it never waits for the lock for long, which whoever ends it may hold; and it must not hold it when Python
            # ends, for then nobody could write what is still to be written
            self._thread.join(ENDING)
        if self._area is not None:
            self._area.end()
        if self._before is not None:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGCONT, self._before)
            self._before = None
        self._channel.close()

    def _goes_on(self, _signal: int, _frame: Any) -> None:
        """The process was stopped, and somebody else had the terminal."""
        self._continued = True

    @property
    def width(self) -> int:
        """Columns of the terminal; 0 where there is none, and nobody has said how wide a line may be."""
        return self._size()[0] if self._stream is not None else self._columns

    # what stays

    def put(self, lines: Iterable[Line]) -> None:
        """Print lines."""
        shown = False
        for line in lines:
            if line.passing and self._area is not None:
                self._note(line)
            else:
                self._show(line)
                shown = True
        if shown and self._area is not None:
            tell("", "")  # wakes the thread, which draws the area again

    def listen(self) -> None:
        """Take in what actions have told until now: before what has become of their tasks."""
        for message in self._channel.messages():
            self.put(self.fleet.tells(Told.of(message)))

    def answered(self) -> None:
        """Ansible goes on: nobody is asked anything any more."""
        if self._area is not None:
            self._area.close_line()

    def pause(self) -> None:
        """Somebody is asked something: nothing is drawn before Ansible goes on."""
        if self._area is not None:
            self._area.hold()

    def finish(self, rows: List[Row], check: bool) -> None:
        """The end of the run: the table in place of the live area."""
        self.end()
        found = table(rows, check)
        if self._stream is not None and self._rich:
            for text in pretty.table_lines(found, self.width, self._paint, self._colours):
                self._show(Line(text, ""))
            return
        self.put(plain.table_lines(found, self.width))

    # drawing

    def _size(self) -> Tuple[int, int]:
        if self._stream is None:
            raise AssertionError("there is no terminal")
        columns, lines = terminal.size(self._stream)
        return self._columns or columns, lines

    def _live_lines(self, seen: Live, columns: int) -> List[str]:
        if self._rich:
            return pretty.live_lines(seen, columns, self._paint, self._colours)
        return plain.live_lines(seen, columns, self._paint)

    def draw(self) -> None:
        """Draw the live area, where something has changed; what is to be seen changes each second as well."""
        if self._area is None:
            return
        columns, lines = self._size()
        now = (self.fleet.turns, int(time.monotonic()), columns, lines)
        if now == self._seen and self._area.is_drawn:
            return
        self._seen = now
        if lines < LOWEST or columns < NARROWEST:
            self._area.draw([])
            return
        room = lines - FREE
        self._area.draw(self._live_lines(live(self.fleet, min(self._most or room, room)), columns))

    def _work(self) -> None:
        """What the thread does."""
        while not self._over.is_set():
            try:
                select.select([self._channel], [], [], self._interval if self._area is not None else 1.0)
                self._over.wait(0.05)  # a burst is one drawing
                if not self._lock.acquire(timeout=0.1):
                    continue
                try:
                    if not self._over.is_set():
                        if self._continued and self._area is not None:
                            self._area.forget()
                        self._continued = False
                        self.listen()
                        self.draw()
                finally:
                    self._lock.release()
            except Exception as problem:  # whatever it is, the play goes on
                self.problem = problem
                return
