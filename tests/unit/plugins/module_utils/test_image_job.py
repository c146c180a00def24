# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a write that goes on by itself, and what is told of it."""

from __future__ import annotations

import os
from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.job import Job, Meter
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Progress
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import line


@pytest.fixture(autouse=True)
def place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where records are."""
    monkeypatch.setattr(job, "RUN_DIR", str(tmp_path / "run"))
    return str(tmp_path / "run")


def records(*steps: Any) -> List[job.Record]:
    """What a meter says at times, in seconds, of what."""
    now = [0.0]
    meter = Meter({"job": "1-1", "image": "x", "describe": "web-1.1"}, clock=lambda: now[0])
    found = []
    for seconds, progress in steps:
        now[0] = seconds
        found.append(meter.record(progress))
    return found


class TestMeter:
    """Percent, rates and time to go."""

    def test_the_medium_decides(self) -> None:
        last = records((0, Progress("writing", 0, 1000, 0, 100)), (10, Progress("writing", 250, 1000, 100, 100)))[-1]
        assert (last["percent"], last["rate"], last["eta"]) == (25, 25, 31)

    def test_the_line_decides(self) -> None:
        """Most of the slice is right already, and yet little has been done."""
        last = records((0, Progress("writing", 900, 1000, 0, 500)), (10, Progress("writing", 950, 1000, 50, 500)))[-1]
        assert (last["percent"], last["fetch_rate"], last["eta"]) == (10, 5, 91)

    def test_only_the_last_seconds_count(self) -> None:
        seen = records(*[(second, Progress("verifying", 10 * second, 1000)) for second in range(0, 40, 5)])
        assert seen[-1]["rate"] == 10
        stalled = records(
            (0, Progress("writing", 0, 100)), (1, Progress("writing", 50, 100)), (30, Progress("writing", 50, 100))
        )
        assert stalled[-1]["rate"] == 0 and stalled[-1]["eta"] is None

    def test_a_new_phase_begins_anew(self) -> None:
        last = records((0, Progress("writing", 1000, 1000)), (1, Progress("verifying", 0, 1000)))[-1]
        assert last["percent"] == 0 and last["rate"] == 0

    def test_nothing_to_do(self) -> None:
        assert records((0, Progress("comparing", 0, 0)))[-1]["percent"] == 100


class TestJob:
    """Lock and record."""

    def test_one_at_a_time(self) -> None:
        one, other = Job("nz-b"), Job("nz-b")
        assert not one.under_way() and one.lock() and one.under_way()
        assert not other.lock() and other.under_way() and Job("nz-a").lock()
        one.unlock()
        assert not other.under_way() and other.lock()

    def test_a_record_comes_back(self, place: str) -> None:
        mine = Job("nz-b")
        assert mine.read() is None and mine.lock()
        mine.save({"job": "1", "image": "x"})
        assert Job("nz-b").read() == {"job": "1", "image": "x"}
        for text in ("", "{", "[]", '{"job": 1}'):
            with open(os.path.join(place, "write-nz-b.json"), "w", encoding="utf-8") as file:
                file.write(text)
            assert mine.read() is None

    def test_a_place_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(job, "RUN_DIR", "/proc/none")
        with pytest.raises(FleetError, match=r"cannot be used.*/var is mounted"):
            Job("nz-b").lock()
        Job("nz-b").save({})  # never a reason to stop a write

    def test_waiting(self) -> None:
        mine = Job("nz-b")
        assert mine.lock()
        mine.save({"job": "1", "finished": False})
        naps: List[float] = []
        assert job.await_change(Job("nz-b"), "1", 0, naps.append) == {"job": "1", "finished": False}
        assert job.await_change(Job("nz-b"), "2", 0, naps.append) is None
        mine.unlock()
        assert job.await_change(Job("nz-b"), "1", 5, naps.append) is None, "it died"
        mine.save({"job": "1", "finished": True})
        assert job.await_change(Job("nz-b"), "1", 5, naps.append) == {"job": "1", "finished": True}

    def test_another_image(self) -> None:
        job.refuse_other(Job("nz-b"), {"job": "1", "image": "x"}, "x", "web-1.1")
        for record in (None, {"job": "1", "image": "y", "describe": "web-1.2"}):
            with pytest.raises(Refused, match="nz-b is being written with"):
                job.refuse_other(Job("nz-b"), record, "x", "web-1.1")
            with pytest.raises(Refused, match=r"is being built with.*that build goes on"):
                job.refuse_other(Job("obj", job.BUILD), record, "x", "web-1.1")

    def test_a_defect_is_told_as_well(self) -> None:
        told = job.outcome_of(lambda: {"some": {}}["none"])
        assert told["failed"] and "has a defect: KeyError" in told["msg"]


@pytest.mark.parametrize(
    "progress, said",
    [
        ({}, " the image: 0 % of 0 MiB"),
        (
            {
                "phase": "writing",
                "describe": "web-1.1",
                "percent": 39,
                "total": 1 << 30,
                "rate": 52400000,
                "eta": 3725,
                "fetched": 2100000,
                "to_fetch": 4950000,
            },
            "writing web-1.1: 39 % of 1024 MiB, 52.4 MB/s, fetched 2.1 of 5.0 MB, 1:02:05 to go",
        ),
        (
            {"phase": "verifying", "percent": 5, "total": 1 << 20, "eta": 65},
            "verifying the image: 5 % of 1 MiB, 1:05 to go",
        ),
    ],
)
def test_the_line_on_the_screen(progress: Any, said: str) -> None:
    assert line(progress) == said
