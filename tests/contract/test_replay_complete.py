# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No transcript is forgotten: each is either replayed or named with the reason why not."""

from __future__ import annotations

import fnmatch
import os

import pytest

from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.contract import (
    test_replay_gpart,
    test_replay_product,
    test_replay_system,
    test_replay_zfs,
    test_replay_zpool,
)
from ansible_collections.nanozfs.fleet.tests.contract.replay import Script

ALL = (
    *test_replay_zpool.SCRIPTS,
    *test_replay_zfs.SCRIPTS,
    *test_replay_gpart.SCRIPTS,
    *test_replay_system.SCRIPTS,
    test_replay_product.PRODUCT,
    test_replay_product.MEDIUM,
)


@pytest.mark.parametrize("release", transcripts.RELEASES)
def test_every_directory_has_a_script(release: str) -> None:
    directories = {name for name in os.listdir(transcripts.RELEASES[release]) if not name.endswith(".md")}
    assert directories == {script.directory for script in ALL if script.release == release}


@pytest.mark.parametrize("script", ALL, ids=[script.title for script in ALL])
def test_exclusions_are_of_transcripts(script: Script) -> None:
    names = transcripts.names(script.directory, script.fixtures)
    for pattern, reason in script.excluded.items():
        assert reason, pattern
        assert fnmatch.filter(names, pattern), pattern


@pytest.mark.parametrize("script", ALL, ids=[script.title for script in ALL])
def test_what_happens_in_between_happens(script: Script) -> None:
    numbers = {name.split("-", 1)[0] for name in transcripts.names(script.directory, script.fixtures)}
    assert set(script.before) | set(script.instead) <= numbers


@pytest.mark.parametrize("script", ALL, ids=[script.title for script in ALL])
def test_what_is_replayed_is_no_less_than_it_was(script: Script) -> None:
    least = {
        "13.2": {
            "zpool": 140,
            "zpool-crossboot": 23,
            "zfs": 125,
            "gpart-gpt": 110,
            "gpart-mbr": 45,
            "system": 18,
            "mount": 15,
            "geom": 3,
            "dd-write": 2,
        },
        "15.0": {
            "zpool": 175,
            "zfs": 175,
            "gpart-gpt": 110,
            "gpart-mbr": 45,
            "system": 18,
            "mount": 15,
            "geom": 3,
            "dd-write": 0,
            "product": 74,
            "medium": 0,
        },
    }
    assert len(script.names()) >= least[script.release][script.directory]
