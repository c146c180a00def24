# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history: a line for what is new, whoever writes at the same time, and whatever was left of the file."""

from __future__ import annotations

import json
import multiprocessing
import os
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import history
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, fleet_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.knowledge import behind
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, TARGET, host, told


def at(fleet: Fleet, when: float) -> Fleet:
    return fleet_of(fleet.hosts, fleet.remarks, when)


def lines(path: str) -> List[Dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(name="path")
def fixture_path(tmp_path: Any) -> str:
    return str(tmp_path / "history.jsonl")


def test_only_what_is_new(path: str) -> None:
    two = told({"web-1": {"host": host()}, "web-2": {"host": host()}}, TARGET)
    history.append(path, two)
    history.append(path, at(two, NOW + 60))
    assert [each.get("host", "") for each in lines(path)] == ["", "web-1", "web-2", ""]
    fuller = host(pool={"name": "tank", "health": "ONLINE", "capacity": 9})
    history.append(path, at(told({"web-1": {"host": fuller}, "web-2": {"unreachable": True}}, TARGET), NOW + 120))
    last = lines(path)[-1]
    # 7 % and 9 % are the same to the history; and who does not answer keeps what was known of it
    assert len(lines(path)) == 6 and (last["host"], last["condition"]) == ("web-2", "no answer")
    assert last["image"]["version"] == "1.1" and last["wants"] == "ring:stable"
    assert os.stat(path).st_size < 2500


def test_what_was_left_of_the_file(path: str) -> None:
    one = told({"web-1": {"host": host()}})
    history.append(path, one)
    with open(path, "ab") as file:
        file.write(
            b'\xff\xfe garbage\n[1]\n{"at": "x", "host": "web-1"}\n'
            + b"[" * 5000
            + b"\n"
            + b"x" * 20_000
            + b'\n{"at": 17'
        )
    past, remarks = history.append(path, at(one, NOW + 60))
    assert remarks == ["6 lines of {0} could not be read and were passed over".format(path)]
    assert len(past.runs) == 2 and past.last("web-1") is not None
    # the torn line is ended: ours is not spoilt with it
    assert history.read(path).runs[-1]["at"] == int(NOW + 60)


def _work(path: str, name: str, times: int) -> None:
    for number in range(times):
        says = host(running={"name": "web", "version": "1.{0}".format(number), "slice": "nz-a"}, warnings=["w" * 200])
        history.append(
            path, at(told({"{0}-{1}".format(name, each): {"host": says} for each in range(20)}), NOW + number), 60_000
        )


def test_several_at_once_tear_nothing(path: str) -> None:
    """Also while the file is made anew, which the limit makes happen all the time."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(path, name, 12)) for name in "abcd"]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
        assert each.exitcode == 0
    past = history.read(path)
    assert past.spoilt == 0 and os.stat(path).st_size <= 60_000
    # the newest of each host is there
    assert sorted(past.hosts) == sorted("{0}-{1}".format(name, each) for name in "abcd" for each in range(20))
    assert all(past.hosts[name][-1]["image"]["version"] == "1.11" for name in past.hosts)
    assert not [name for name in os.listdir(os.path.dirname(path)) if name != "history.jsonl"]


def test_what_is_too_old_goes(path: str) -> None:
    for day in range(10):
        says = host(running={"name": "web", "version": "1.{0}".format(day), "slice": "nz-a"})
        history.append(path, at(told({"web-1": {"host": says}}), NOW + day * 86400), days=3)
    old = told({"gone": {"host": host()}})
    assert {int(each["at"] - NOW) // 86400 for each in lines(path)} <= {6, 7, 8, 9}
    history.append(path, at(old, NOW), days=3)
    history.append(path, at(told({"web-1": {"host": host()}}), NOW + 20 * 86400), days=3)
    assert history.read(path).last("gone") is not None  # the last that is known of a host stays


def test_files_that_cannot_be_used(tmp_path: Any) -> None:
    for path in (str(tmp_path), str(tmp_path / "no" / "file")):
        with pytest.raises(FleetError, match="cannot be used"):
            history.append(path, told({}))
    assert history.read(str(tmp_path / "none")) == history.NOTHING


def test_who_is_behind_by_what_is_known() -> None:
    def line(name: str, ident: str, wants: str = "ring:stable", image: str = "web") -> Dict[str, Any]:
        return {
            "at": 1_796_000_000,
            "host": name,
            "condition": "normal",
            "wants": wants,
            "image": {"name": image, "id": ident},
        }

    lines = [
        {"at": 1_796_000_000, "run": {"hosts": 5}},
        line("web-10", "b" * 64),
        line("web-2", "b" * 64),
        line("web-2", "a" * 64),
    ]
    lines += [
        line("web-3", "b" * 64),
        line("other", "b" * 64, image="db"),
        line("canary", "b" * 64, "ring:canary"),
        line("pinned", "", "1.1"),
    ]
    past = history.parse(b"".join(history.encode(each) for each in lines))
    rings = {"stable": "a" * 64, "canary": "b" * 64, "new": "c" * 64}
    assert behind(past, "web", rings, {"a" * 64: ImageRef("a" * 64, "build", "1.2")}, 1_796_011_100.0) == [
        "by the report of 2026-11-30 00:53Z, 3 h 5 min ago:",
        "ring:canary (bbbbbbbbbbbb): 1 of 1 host run it",
        "ring:new (cccccccccccc): 0 of 0 hosts run it",
        "ring:stable (1.2): 1 of 3 hosts run it; behind: web-3, web-10",
    ]
    assert "no report in the history yet" in behind(history.NOTHING, "web", rings, {}, 0.0)[0]
