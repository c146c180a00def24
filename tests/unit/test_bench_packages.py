# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark of choosing packages, with a small catalogue."""

from __future__ import annotations

import re

import pytest

from ansible_collections.nanozfs.fleet.bench.packages import cli


def test_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--packages", "600"]) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^\| catalogue [a-z ]+ \| [\d.]+ \| [\d.]+ \| \d+ \| (\d+) \|$", said, re.MULTILINE)
    assert len(rows) == 2 and rows[0] == rows[1] and 3 < int(rows[0]) < 600


def test_the_catalogue_is_always_the_same() -> None:
    assert cli.records(50) == cli.records(50)
    names = {each["name"] for each in cli.records(500)}
    assert set(cli.WANTED) < names and all(set(each["deps"]) <= names for each in cli.records(500))
