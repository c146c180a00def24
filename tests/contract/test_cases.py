# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract cases on the model, and what reads and compares them. `make test-openzfs` runs them on a real ZFS."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from ansible_collections.nanozfs.fleet.tests.contract import runner
from ansible_collections.nanozfs.fleet.tests.contract.machines import ModelMachine
from ansible_collections.nanozfs.fleet.tests.model.releases import RELEASES

ALL = runner.load_cases()


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("case", ALL, ids=[case.file for case in ALL])
def test_case_on_the_model(case: runner.Case, release: str, tmp_path: Path) -> None:
    runner.Run(case, ModelMachine(str(tmp_path), release)).run()


def test_versions_are_those_of_the_model(tmp_path: Path) -> None:
    found = []
    for release in RELEASES:
        machine = ModelMachine(str(tmp_path / release), release)
        machine.clear(0)
        found.append(machine.zfs_version())
    assert tuple(found) == runner.VERSIONS


def test_what_must_come_back_is_chosen_by_version() -> None:
    step = runner.parse_step({"run": "true", "rc": 1, "err": "no", "zfs": {"2.4": {"rc": 255}}})
    assert [(each.rc, each.err) for each in map(step.of, runner.VERSIONS)] == [(1, "no"), (255, "no")]


@pytest.mark.parametrize(
    ("template", "text", "found"),
    [
        ("", "", {}),
        ("", "something\n", None),
        ("tank  ONLINE", "tank\tONLINE\n", {}),
        ("tank<tab>ONLINE", "tank ONLINE\n", None),
        ("<guid as first>", "12345678901234567890\n", {"first": "12345678901234567890"}),
        ("<guid>", "tank\n", None),
        ("a.b", "axb\n", None),
        ("one\n...\nfour", "one\ntwo\nthree\nfour\n", {}),
        ("one\n...\nfour", "one\nfour\n", {}),
        ("one\n...", "two\n", None),
        ("<any> is busy", "tank\n  is busy\n", None),
        ("<size> used", "1.5M used\n", {}),
    ],
)
def test_template(template: str, text: str, found: Optional[Dict[str, str]]) -> None:
    assert runner.match(template, text) == found


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"run": "true", "read": "tank"},
        {"run": "true", "text": "x"},
        {"run": "true", "error": "x"},
        {"run": "true", "zfs": {"9.9": {"rc": 1}}},
        {"run": "true", "zfs": {"2.4": {"sorted": True}}},
        {"run": "true", "zfs": {"2.4": 1}},
        {"run": "true", "zfs": "2.4"},
        "run",
    ],
)
def test_a_step_that_is_written_wrongly(step: Any) -> None:
    with pytest.raises(runner.CaseError):
        runner.parse_step(step)


def test_a_case_that_is_written_wrongly() -> None:
    with pytest.raises(runner.CaseError, match=r"x must have name"):
        runner.parse_case("x", {"name": "x", "steps": []})


@pytest.mark.parametrize(
    "step",
    [
        {"run": "zpool list -H", "out": "tank\n"},
        {"run": "zpool list -H", "rc": 1},
        {"run": "zfs list tank", "rc": 1, "err": "something else"},
    ],
)
def test_what_differs_is_told(step: Dict[str, Any], tmp_path: Path) -> None:
    case = runner.parse_case("x", {"name": "x", "why": "y", "disks": 1, "steps": [{"hostid": 7}, step]})
    with pytest.raises(runner.Differs, match=r"x, step 2 on the model of 13.2: run: " + step["run"]):
        runner.Run(case, ModelMachine(str(tmp_path))).run()
