# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark of the fleet: how it measures, what it makes of that, and when it says that there is no room."""

from __future__ import annotations

import cProfile
import json
import os
import subprocess
import sys
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.bench.fleet import limits, meter, report
from ansible_collections.nanozfs.fleet.bench.fleet.plays import CHECK, NOTHING, UPGRADE, Figures

PLENTY = {"memory": 1 << 40, "disk": 1 << 40, "processes": 1 << 22, "addresses": 227}

#: as ssh does with a connection that it keeps; both work for 0.3 s
LEAVES_A_DAEMON = """
import os, sys, time

def work():
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass

if os.fork() == 0:
    os.setsid()
    work()
    open(sys.argv[1], "w").close()
    time.sleep(50)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
work()
"""


def measured(folder: Any, *argv: str) -> Dict[str, Any]:
    """What the meter says of a command."""
    out = os.path.join(folder, "used")
    subprocess.run([sys.executable, "-I", "-S", meter.__file__, out, *argv], check=True, timeout=60)
    with open(out, encoding="ascii") as file:
        return dict(json.load(file))


def test_all_processes_are_counted_and_what_is_left_behind_is_ended(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(LEAVES_A_DAEMON)
    found = measured(tmp_path, sys.executable, str(script), str(tmp_path / "done"))
    assert found["code"] == 0 and found["wall"] < 40
    assert found["cpu"] >= 0.6  # that of both


def test_how_a_command_ends_is_told(tmp_path: Any) -> None:
    assert measured(tmp_path, "sh", "-c", "exit 7")["code"] == 7


def test_room() -> None:
    assert limits.lacking(200, PLENTY) == []
    assert limits.lacking(228, PLENTY) == ["addresses: 228 wanted, 227 there: room for 227 hosts"]
    (said,) = limits.lacking(200, dict(PLENTY, memory=5 << 30))
    assert said.startswith("memory: ") and said.endswith("room for 91 hosts")
    assert len(limits.lacking(1, dict.fromkeys(PLENTY, 0))) == len(limits.NEEDS)


def test_this_machine_is_looked_at(tmp_path: Any) -> None:
    found = limits.here(str(tmp_path), 227)
    assert set(found) == set(limits.NEEDS) and all(value > 0 for value in found.values())


def figures(kind: str, hosts: int, cpu: float) -> Figures:
    return Figures(kind, hosts, 10.0 * hosts, cpu, 100.0 + hosts, 60.0, 40, 20 * hosts, 6 * hosts, 4 * hosts)


def a_run(*found: Figures) -> report.Run:
    return report.Run("2026-11-30 12:00", {"cores": "2"}, figures=list(found))


def test_the_ratio_is_to_the_floor_of_the_same_size() -> None:
    run = a_run(figures(UPGRADE, 10, 12.0), figures("bare, upgrade", 10, 6.0), figures("bare, upgrade", 50, 1.0))
    assert report.table(run)[2] == "| upgrade | 10 | 6.0 | 4.0 | 1.20 | 2.0\u00d7 | 110 | 10.0 | 20.0 |"


def test_what_one_more_host_costs() -> None:
    """The start, which does not grow, is not in it."""
    run = a_run(figures(NOTHING, 10, 1.5 + 2.0), figures(NOTHING, 50, 1.5 + 10.0), figures(CHECK, 10, 5.0))
    assert report.growth(run)[2:] == ["| no change | 10 to 50 | 0.20 | 0.66\u00d7 | 1.0 | 20.0 |"]


def test_the_worst_size_counts() -> None:
    run = a_run(figures(UPGRADE, 10, 12.0), figures(UPGRADE, 50, 150.0))
    assert report.verdict(run) == [
        "- upgrade: 3.00 s of CPU time a host at most (with 50 hosts, start included); limit: 2.0 s."
    ]


def test_where_the_time_goes(tmp_path: Any) -> None:
    """Parts of the main process, and what the others say of themselves, make up the sum."""
    main = cProfile.Profile()
    main.runcall(sorted, [2, 1])
    main.dump_stats(str(tmp_path / "main"))
    lines: List[Dict[str, Any]] = [{"task": "trial", "own": 1.0, "ssh": 0.5}, {"task": "trial", "own": 2.0, "ssh": 0.0}]
    (tmp_path / "workers").write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = report.parts(str(tmp_path), 10.0, 2)
    assert found["a task's process: trial"] == 1.5 and found["ssh"] == 0.25
    assert sum(found.values()) == pytest.approx(5.0, abs=0.1)


def test_what_is_left_out_is_said(tmp_path: Any) -> None:
    run = a_run(figures(UPGRADE, 10, 12.0))
    run.left_out.append("200 hosts cannot be held at once here: memory")
    report.write(run, str(tmp_path))
    assert "- 200 hosts cannot be held at once here: memory\n" in (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["figures"][0]["cpu"] == 12.0
