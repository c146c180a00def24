# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes on in a run, and the lines that stay of it."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen import model, results
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import Fleet, Line, Tally, Told, Wave, totals

PLAN = {
    "step": "prepare",
    "says": "from 1.0 to 1.1, signed by release@lab",
    "running": {"version": "1.0"},
    "target": {"version": "1.1"},
}
WRITTEN = {
    "changed": True,
    "slice": "nz-b",
    "image": {"name": "web", "version": "1.1"},
    "fetched": 4500,
}
COMMITTED = {
    "changed": True,
    "msg": "1.1 runs from nz-b. Safe now: 1.0 stays in nz-a as the way back.",
    "story": {"result": "committed", "what": "1.1 runs from nz-b", "safe": "1.0 stays in nz-a", "todo": ""},
}


class Clock:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A run, and its lines."""

    def __init__(self, *hosts: str, of: int = 1, check: bool = False) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock, check)
        self.everybody = hosts
        self.of = of
        self.lines: List[Line] = []

    @property
    def texts(self) -> List[str]:
        return [line.text for line in self.lines]

    def wave(self, number: int, *hosts: str, play: str = "Upgrade") -> None:
        self.fleet.play_begins(
            Wave(play=play, number=number, of=self.of, hosts=hosts or self.everybody, everybody=self.everybody)
        )

    def task(self, host: str, module: str, result: Dict[str, Any], *told: Dict[str, Any], **arguments: Any) -> None:
        self.fleet.task_begins(host, module)
        for each in told:
            self.tell(host, **each)
        self.fleet.task_ends(host)
        found = results.facts("nanozfs.fleet." + module, arguments, result, self.fleet.check)
        self.lines += self.fleet.finds(host, found)

    def tell(self, host: str, **message: Any) -> None:
        self.lines += self.fleet.tells(Told.of(dict(message, host=host)))

    def upgrade(self, host: str) -> None:
        """An upgrade over a line that is so thin that everything there is is said."""
        self.task(host, "transaction", {"changed": True, "lease": "x"})
        self.fleet.task_begins(host, "image_write")
        for phase in ("comparing", "writing", "verifying"):
            for percent in range(0, 101, 5):
                self.clock.now += 60
                note = "fetched 1.0 of 2.0 MB" if phase == "writing" else ""
                self.tell(host, phase=phase, text="{0} {1} %".format(phase, percent), percent=percent, note=note)
        self.fleet.task_ends(host)
        self.lines += self.fleet.finds(host, results.facts("nanozfs.fleet.image_write", {}, WRITTEN))
        steps = [{"phase": "restarting", "text": "restarts"}, {"phase": "checking", "text": "checks the new system"}]
        self.task(host, "trial", COMMITTED, *steps, {"phase": "committed", "text": COMMITTED["msg"]})


def test_an_upgrade_of_many_hours_is_a_few_lines() -> None:
    run = Run("web-1")
    run.wave(1, play="See whether all hosts can be upgraded")
    run.task("web-1", "upgrade_info", PLAN)
    run.wave(1)
    run.upgrade("web-1")
    assert run.texts == [
        "web-1: from 1.0 to 1.1, signed by release@lab",
        "web-1: comparing 0 %",
        "web-1: writing 0 %",
        "web-1: writing 50 %",
        "web-1: verifying 0 %",
        "web-1: nz-b holds web-1.1, 4.5 KB fetched",
        "web-1: restarts",
        "web-1: checks the new system",
        "web-1: 1.1 runs from nz-b. Safe now: 1.0 stays in nz-a as the way back.",
    ]
    (row,) = run.fleet.rows({"web-1": Tally(changed=3)})
    assert (row.before, row.after, row.result, row.changed, row.fetched) == ("1.0", "1.1", "committed", 3, 4500)
    assert row.seconds == 3780.0 and totals([row]) == "1 host: 1 committed"


def test_it_fits_twelve_lines_with_the_table() -> None:
    run = Run("web-1")
    run.wave(1)
    run.task("web-1", "upgrade_info", PLAN)
    run.upgrade("web-1")
    assert len(run.lines) + 3 <= 12  # titles, the row, the totals


def test_what_is_told_twice_is_shown_once() -> None:
    run = Run("web-1")
    run.wave(1)
    run.task("web-1", "upgrade_info", PLAN)
    assert run.fleet.says("web-1", PLAN["says"]) == []  # the role's debug task, for other callbacks
    assert len(run.fleet.says("web-1", "hello") + run.fleet.says("web-1", "hello")) == 2, (
        "whoever says it twice means it"
    )
    run.tell("web-1", phase="restarting", text="restarts")
    run.tell("web-1", phase="restarting", text="restarts into the old system")
    assert run.texts == ["web-1: from 1.0 to 1.1, signed by release@lab", "web-1: restarts"]


def test_nothing_to_do() -> None:
    run = Run("web-1", "web-2")
    run.wave(1)
    for name in run.everybody:
        run.task(name, "upgrade_info", {"step": "done", "says": "web-1.1 runs already; nothing to do"})
    run.wave(1)
    rows = run.fleet.rows({name: Tally() for name in run.everybody})
    assert len(run.lines) == 2 and totals(rows) == "2 hosts: 2 nothing to do; nothing was changed"
    assert run.fleet.counts()["done"] == 2


def test_waves() -> None:
    run = Run("web-1", "web-2", "web-3", of=2)
    run.wave(1, "web-1", "web-2", "web-3", play="Look")
    run.lines.clear()
    for name in run.everybody:
        run.task(name, "upgrade_info", PLAN)
    run.fleet.wave.begun.clear()
    run.wave(1, "web-1")
    assert run.fleet.counts() == {"hosts": 1, "done": 0, "failed": 0, "at work": 1, "to come": 2}
    run.fleet.task_begins("web-1", "trial")
    run.fleet.task_ends("web-1")
    run.fleet.fails("web-1", "reverted", "not running: fleetapp")
    assert run.fleet.counts() == {"hosts": 1, "done": 0, "failed": 1, "at work": 0, "to come": 2}
    rows = run.fleet.rows({"web-1": Tally(changed=2, failed=1), "web-2": Tally(), "web-3": Tally()})
    assert [(row.host, row.result) for row in rows] == [
        ("web-1", "reverted"),
        ("web-2", "not begun"),
        ("web-3", "not begun"),
    ]
    assert totals(rows) == "3 hosts: 1 reverted, 2 not begun" and rows[0].why == "not running: fleetapp"


def test_a_wave_has_its_name_before_what_is_said_in_it() -> None:
    run = Run("web-1", "web-2", of=2)
    run.wave(1, "web-1")
    run.wave(2, "web-2")
    run.tell("web-2", phase="restarting", text="restarts")
    assert run.texts == ["Upgrade, wave 2 of 2: web-2", "web-2: restarts"]


def test_a_failure_after_a_commit_is_one() -> None:
    run = Run("web-1")
    run.wave(1)
    run.upgrade("web-1")
    run.fleet.fails("web-1", model.FAILED, "the load balancer does not answer")
    (row,) = run.fleet.rows({"web-1": Tally(changed=3, failed=1)})
    assert row.result == "committed, then failed" and row.tone == model.BAD


@pytest.mark.parametrize(
    "tally, result",
    [
        (Tally(), "ok"),
        (Tally(changed=1), "changed"),
        (Tally(rescued=1, changed=1), "rescued"),
        (Tally(failed=1), "failed"),
        (Tally(unreachable=1), "no answer"),
    ],
)
def test_hosts_of_any_play(tally: Tally, result: str) -> None:
    run = Run("web-1")
    run.wave(1)
    run.fleet.task_begins("web-1", "x")
    run.fleet.task_ends("web-1")
    if tally.rescued:
        run.fleet.fails("web-1", model.FAILED, "no luck")
    assert [row.result for row in run.fleet.rows({"web-1": tally})] == [result]


def test_a_host_that_was_rescued_has_another_chance() -> None:
    run = Run("web-1")
    run.wave(1)
    run.fleet.task_begins("web-1", "x")
    run.fleet.fails("web-1", model.FAILED, "no luck")
    run.wave(1, play="The next one")
    assert run.fleet.counts()["failed"] == 1
    run.fleet.task_begins("web-1", "y")
    assert run.fleet.counts() == {"hosts": 1, "done": 0, "failed": 0, "at work": 1, "to come": 0}


def test_check_mode() -> None:
    run = Run("web-1", check=True)
    run.wave(1)
    run.task("web-1", "upgrade_info", PLAN)
    rows = run.fleet.rows({"web-1": Tally()})
    assert totals(rows, True) == "1 host: 1 would be changed (check mode)"
    run.task("web-1", "host_install", {"changed": True, "restart": False}, state="present")
    assert [row.result for row in run.fleet.rows({"web-1": Tally(changed=1)})] == ["would be changed"]


def test_a_run_that_ends_in_the_middle() -> None:
    run = Run("web-1", "web-2")
    run.wave(1)
    assert run.fleet.left() == []
    run.fleet.task_begins("web-1", "Write")
    run.tell("web-1", phase="writing", text="x", percent=43)
    run.fleet.task_begins("web-2", "Look")
    assert [line.text for line in run.fleet.left()] == ["ended in the middle of: web-1 (writing 43 %), web-2 (Look)"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"host": "web-1", "percent": "many", "rate": [], "eta": float("nan"), "phase": 3, "text": {}},
        {"host": "web-1", "phase": "\x1b[2J", "text": "\x1b]0;x\x07\nroot: all is well", "percent": -1, "eta": True},
        {"host": "\x1b[31m", "text": "a\rb", "phase": "", "rate": 1e300},
    ],
)
def test_what_is_no_message_does_no_harm(message: Dict[str, Any]) -> None:
    run = Run("web-1")
    run.wave(1)
    found = run.fleet.tells(Told.of(message))
    assert all(line.text.isprintable() for line in found) and len(found) <= 1


def test_hosts_whose_wave_never_came_and_a_play_of_nobody_after_it() -> None:
    run = Run("web-1", "web-2", of=2)
    run.wave(1, "web-1")
    run.fleet.task_begins("web-1", "x")
    run.fleet.fails("web-1", model.FAILED, "no luck")
    run.fleet.play_begins(Wave(play="Take the wave back"))
    rows = run.fleet.rows({"web-1": Tally(failed=1)})
    assert [(row.host, row.result) for row in rows] == [("web-1", "failed"), ("web-2", "not begun")]


def test_the_table_says_why_a_host_waits() -> None:
    run = Run("web-1", of=1)
    run.fleet.finds("web-1", model.Facts(result=model.PLANNED, before="1.0", after="1.1"))
    run.fleet.waits("web-1", "its window\nis closed")
    (row,) = run.fleet.rows({"web-1": Tally()})
    assert (row.result, row.why, row.seconds) == ("not begun", "its window is closed", None)
