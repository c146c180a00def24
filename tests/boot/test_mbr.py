# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The early boot of a host whose medium has an MBR, which knows no one-shot: the hook itself makes a trial one."""

from __future__ import annotations

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import Stage
from ansible_collections.nanozfs.fleet.tests.boot.test_hook import installed, is_itself, is_recovery

pytestmark = pytest.mark.mbr


def state(stage: Stage) -> tuple:
    """Which slice is active, and which boot0 takes by itself."""
    shown = stage.command("gpart", "show", "ada0").splitlines()
    active = [line.split()[2] for line in shown if "[active]" in line]
    settings = stage.command("boot0cfg", "-v", "ada0")
    return active[0], settings.partition("default_selection=F")[2][0]


def test_a_trial_and_the_way_back(stage: Stage) -> None:
    installed(stage)
    assert is_itself(stage.boot())
    stage.arm()
    assert state(stage) == ("3", "2")
    trial = stage.boot()
    assert is_itself(trial), trial.console
    assert (trial.label, trial.kenv["nanozfs.trial"], stage.journal("phase")) == ("nz-b", "1", "trial")
    assert state(stage) == ("2", "2"), "another restart would not lead back"
    stage.write("tank/nanozfs/var", "data", "new\n")
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, back.files["/var/data"], stage.journal("phase")) == ("nz-a", "old\n", "reverted")
    assert "nanozfs.trial" not in back.kenv


def test_armed_but_not_restarted_into(stage: Stage) -> None:
    """The power failed before the restart, and somebody chose the old slice at boot0's menu: nothing was tried."""
    installed(stage)
    stage.arm()
    stage.command("gpart", "set", "-a", "active", "-i", "2", "ada0")
    up = stage.boot()
    assert is_itself(up), up.console
    assert stage.journal("phase") == "written", "a later restart would be a trial that nobody waits for"


def test_recovery_chosen_by_hand_is_no_trial(stage: Stage) -> None:
    installed(stage)
    stage.command("gpart", "set", "-a", "active", "-i", "1", "ada0")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert "nanozfs.trial" not in up.kenv


def test_a_trial_that_cannot_be_set_back_is_left_to_its_timer(stage: Stage) -> None:
    """It would be the same slice again, and nobody has checked it."""
    installed(stage)
    stage.arm()
    stage.fault("fail", "gpart", "set", "-a", "active")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "the old slice could not be made active again"
    assert up.kenv["nanozfs.trial"] == "1" and "a trial, for" in up.console
    assert stage.boot().label == "nz-b"  # now it can be set back
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, stage.journal("phase")) == ("nz-a", "reverted")
