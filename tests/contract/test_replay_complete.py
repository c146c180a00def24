# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No transcript is forgotten: each is either replayed or named with the reason why not."""

from __future__ import annotations

import fnmatch
import os

import pytest

from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.contract.replay import Script
from ansible_collections.nanozfs.fleet.tests.contract.test_replay_gpart import GPT, MBR
from ansible_collections.nanozfs.fleet.tests.contract.test_replay_system import SCRIPTS
from ansible_collections.nanozfs.fleet.tests.contract.test_replay_zfs import ZFS
from ansible_collections.nanozfs.fleet.tests.contract.test_replay_zpool import CROSSBOOT, ZPOOL

ALL = (ZPOOL, CROSSBOOT, ZFS, GPT, MBR) + SCRIPTS


def test_every_directory_has_a_script() -> None:
    directories = {name for name in os.listdir(transcripts.FIXTURES) if not name.endswith(".md")}
    assert directories == {script.directory for script in ALL}


@pytest.mark.parametrize("script", ALL, ids=[script.directory for script in ALL])
def test_exclusions_are_of_transcripts(script: Script) -> None:
    names = transcripts.names(script.directory)
    for pattern, reason in script.excluded.items():
        assert reason, pattern
        assert fnmatch.filter(names, pattern), pattern


@pytest.mark.parametrize("script", ALL, ids=[script.directory for script in ALL])
def test_what_is_replayed_is_no_less_than_it_was(script: Script) -> None:
    least = {
        "zpool": 140,
        "zpool-crossboot": 23,
        "zfs": 125,
        "gpart-gpt": 110,
        "gpart-mbr": 45,
        "system": 18,
        "mount": 15,
        "geom": 3,
        "dd-write": 2,
    }
    assert len(script.names()) >= least[script.directory]
