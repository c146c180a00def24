# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Upgrades, rollbacks and pruning beside a backup: none cuts it off unasked, none takes or trips over its snapshots."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import exposure
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import snapshot
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB
from ansible_collections.nanozfs.fleet.tests.unit.transactions import ROOT, Fleet, Play

NAMES = ("cfg", "var", "var/db", "var/log")


class Both:
    """A host that is backed up and upgraded."""

    def __init__(self, backed_up: BackedUp, images: Images) -> None:
        self.backed_up = backed_up
        self.host = backed_up.host
        self.fleet = Fleet(backed_up.host, images)

    def start(self) -> str:
        """Start the host. A mount ends with the system that made it; so does what it showed."""
        for label in os.listdir(exposure.place()) if os.path.isdir(exposure.place()) else ():
            shutil.rmtree(os.path.join(exposure.place(), label, exposure.TREE), ignore_errors=True)
        slot = self.fleet.start()
        for name in NAMES:
            self.backed_up.mount(name)
        return slot

    def held(self) -> List[str]:
        """The snapshots of backups that are held, wherever they are now."""
        holds = self.backed_up.zfs.holds(self.backed_up.snapshots())
        return sorted(hold.snapshot for hold in holds if hold.tag == "nanozfs-backup-vault")

    def clean(self) -> None:
        """The next backup finds what is left, ends it, and works."""
        begun = self.backed_up.begin()
        assert begun["resumed"] is False
        assert {name.split("@")[1] for name in self.backed_up.snapshots()} == {begun["tag"]}
        assert self.backed_up.end()["notes"] == [] and self.backed_up.snapshots() == []


@pytest.fixture(name="both")
def fixture_both(backed_up: BackedUp, images: Images) -> Both:
    return Both(backed_up, images)


class TestWaiting:
    def refused(self, found: Dict[str, Any]) -> str:
        assert found["failed"], found
        return str(found["msg"])

    def test_refused_at_every_step(self, both: Both) -> None:
        play = both.fleet.play()
        opened = play.open()
        assert not opened["failed"], opened["msg"]
        assert not play.write()["failed"]
        both.backed_up.begin()
        before = both.host.fingerprint()
        says = "a backup of this host is being read by vault (since 2026-11-23 08:01 UTC)"
        for found in (
            both.fleet.play(take_over=True).look(),
            both.fleet.play(take_over=True).open(),
            play.trial("begin"),
            both.host.run("host_restart"),
        ):
            assert says in self.refused(found)
        assert both.host.fingerprint() == before and both.fleet.restarts == []
        both.backed_up.end()
        assert play.trial("begin")["next"] == "wait" and both.fleet.restarts

    def test_waited_for(self, both: Both) -> None:
        both.backed_up.begin()
        play = both.fleet.play()
        seen = play.look(backup_wait=600)
        assert not seen["failed"] and any("is waited for, 600 s at most" in each for each in seen["warnings"])
        assert not play.open(backup_wait=600)["failed"] and not play.write()["failed"]
        heard = both.fleet.journal.lease
        found = play.trial("begin", backup_wait=600)
        assert not found["failed"] and "vault" in found["waits"] and both.fleet.restarts == []
        assert heard is not None and both.fleet.journal.lease is not None
        assert both.fleet.journal.lease.heard > heard.heard, "its lease ends while it waits"
        assert "upgrade_backup_wait" in self.refused(play.trial("begin", backup_wait=0))
        both.backed_up.end()
        assert play.trial("begin", backup_wait=600)["next"] == "wait"

    def test_a_rollback_says_it_with_its_own_variable(self, both: Both) -> None:
        play = both.fleet.play()
        play.until_armed()
        both.start()
        assert play.trial("check")["story"]["result"] == "committed"
        both.backed_up.begin()
        assert "rollback_backup_wait" in self.refused(both.host.run("rollback_info", min_free=MIB))
        assert not both.host.run("rollback_info", min_free=MIB, backup_wait=-1)["failed"]

    def test_one_of_which_nothing_is_heard_is_in_nobodys_way(self, both: Both) -> None:
        both.backed_up.begin()
        both.backed_up.later(exposure.FRESH + 1)
        assert not both.fleet.play().look()["failed"]

    def test_what_runs_already_needs_no_restart(self, both: Both) -> None:
        play = both.fleet.play()
        play.until_armed()
        both.start()
        assert play.trial("check")["story"]["result"] == "committed"
        both.backed_up.begin()
        assert both.fleet.play().look()["step"] == "done"

    def test_a_trial_is_taken_back_at_once(self, both: Both) -> None:
        play = both.fleet.play()
        play.until_armed()
        both.start()
        assert both.backed_up.begin()["trial"] is True
        assert play.trial("revert", reason="it is slow", bad=True)["next"] == "wait"


class TestSnapshots:
    def armed(self, both: Both) -> Play:
        """Restarted while a backup was read."""
        play = both.fleet.play()
        both.backed_up.begin()
        assert not play.open(backup_wait=-1)["failed"] and not play.write()["failed"]
        assert play.trial("begin", backup_wait=-1)["next"] == "wait"
        return play

    def test_they_live_through_an_upgrade(self, both: Both) -> None:
        before = self.armed(both)
        held = both.held()
        assert len(held) == 4
        both.start()
        assert before.trial("check", keep_snapshots=1, keep_failed=1)["story"]["result"] == "committed"
        assert both.held() == held
        both.clean()

    def test_they_live_through_data_that_goes_back(self, both: Both) -> None:
        both.fleet.write("old")
        play = self.armed(both)
        held = both.held()
        both.start()
        both.fleet.write("what the new system made of it")
        play.trial("revert", reason="it is slow", bad=True)
        assert both.start() == "nz-a" and both.fleet.journal.phase == "reverted"
        assert both.fleet.files()[:2] == ["old", "old"]
        assert both.held() == held, "promote did not bring them along"
        both.clean()
        assert both.fleet.files()[:2] == ["old", "old"]

    def test_those_of_a_trial_go_aside_with_its_data(self, both: Both) -> None:
        both.fleet.write("old")
        play = both.fleet.play()
        play.until_armed()
        both.start()
        begun = both.backed_up.begin()
        assert begun["trial"] is True
        play.trial("revert", reason="it is slow", bad=True)
        assert both.start() == "nz-a"
        aside = "{0}/failed/{1}".format(ROOT, both.fleet.journal.txn)
        held = both.held()
        assert len(held) == 4 and sum(name.startswith(aside) for name in held) == 3  # var/log stays where it is
        destroyed, kept = snapshot.prune_failed(both.backed_up.zfs, ROOT, 1, None, 0.0)
        assert destroyed == [] and kept == {}  # the newest never goes
        again = both.fleet.play(allow_bad=True)
        again.until_armed()
        both.start()
        again.trial("revert", reason="it is slow", bad=True)
        both.start()
        destroyed, kept = snapshot.prune_failed(both.backed_up.zfs, ROOT, 1, None, 0.0)
        assert destroyed == [] and "nanozfs-backup-vault" in kept[aside]
        assert both.held() == held
        both.clean()
        destroyed, kept = snapshot.prune_failed(both.backed_up.zfs, ROOT, 1, None, 0.0)
        assert destroyed == [aside] and kept == {}

    def test_a_rollback_of_the_data_leaves_them(self, both: Both) -> None:
        both.fleet.write("old")
        play = both.fleet.play()
        play.until_armed()
        both.start()
        assert play.trial("check")["story"]["result"] == "committed"
        both.fleet.write("new")
        both.backed_up.begin()
        held = both.held()
        back = both.fleet.play(kind="rollback", data="restore", allow_bad=True, backup_wait=-1)
        opened = back.open("1.1", "1.0")
        assert not opened["failed"], opened["msg"]
        assert back.trial("begin", backup_wait=-1)["next"] == "wait"
        both.start()
        assert both.fleet.files()[:2] == ["old", "old"]
        assert len(both.held()) == len(held) == 4
        assert back.trial("check")["story"]["result"] == "committed"
        both.clean()

    def test_the_snapshot_of_a_trial_is_none_of_theirs(self, both: Both) -> None:
        play = both.fleet.play()
        play.until_armed()
        both.start()
        both.clean()
        assert any("@nz-" in name for name in both.host.names("snapshot"))
        play.trial("check")
        both.backed_up.ok_prune()
        assert any("@nz-" in name for name in both.host.names("snapshot")), "the way back went"
