# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the transaction that belongs to a start, by the real hook: evidence, configuration, odd journals."""

from __future__ import annotations

from typing import Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.tests.boot.stage import TXN, Stage
from ansible_collections.nanozfs.fleet.tests.boot.test_hook import NAME, installed, is_itself, is_recovery

SNAPSHOT = "tank/nanozfs@nz-" + TXN
NEXT = NAME + 'sshd_flags="-o OptionOnlyTheNewSshdKnows=yes"\n'


def names(stage: Stage, kind: str) -> str:
    return stage.command("zfs", "list", "-H", "-o", "name", "-t", kind, "-r", "tank")


def not_restarted_into(stage: Stage) -> None:
    """The restart did not come about: the flags are off, the old system starts the next time."""
    for flag in ("bootonce", "bootme"):
        stage.command("gpart", "unset", "-a", flag, "-i", "5", "ada0")


def test_the_snapshot_is_the_first_act_of_the_new_system(stage: Stage) -> None:
    installed(stage)
    stage.arm()
    assert SNAPSHOT not in names(stage, "snapshot")
    stage.write("tank/nanozfs/var", "data", "the last that the old system accepted\n")
    trial = stage.boot()
    assert is_itself(trial), trial.console
    assert "nanozfs" in stage.command("zfs", "holds", "-H", SNAPSHOT)
    stage.write("tank/nanozfs/var", "data", "new\n")
    back = stage.boot()
    assert is_itself(back) and back.files["/var/data"] == "the last that the old system accepted\n"


def test_without_evidence_nothing_is_put_back(stage: Stage) -> None:
    """Armed, and the restart into the trial did not come about; the old system worked on, then the power failed."""
    installed(stage)
    stage.arm()
    not_restarted_into(stage)
    stage.write("tank/nanozfs/var", "data", "three days of mail\n")
    up = stage.boot()
    assert is_itself(up) and up.label == "nz-a" and up.files["/var/data"] == "three days of mail\n"
    assert (stage.journal("phase"), stage.journal("bad")) == ("written", "-")
    assert "failed/" not in names(stage, "filesystem")
    assert is_itself(stage.boot())


def test_a_boot_by_hand_disarms(stage: Stage) -> None:
    """Somebody chose the old slice at the boot menu: a restart days later must not be a trial that nobody waits for."""
    installed(stage)
    stage.arm()
    label = stage._boot_code
    stage._boot_code = lambda: "nz-a"  # type: ignore[method-assign]
    up = stage.boot()
    stage._boot_code = label  # type: ignore[method-assign]
    assert is_itself(up) and up.flags["nz-b"] == [] and stage.journal("phase") == "written"
    assert stage.boot().label == "nz-a"


@pytest.mark.parametrize("number", range(5))
def test_power_cuts_while_the_trial_begins(stage: Stage, number: int) -> None:
    installed(stage)
    stage.arm(staged={"rc.conf": NEXT})
    stage.cut_at(number)
    first = stage.boot()
    back = stage.boot()
    assert is_itself(back), (first.console, back.console)
    assert back.label == "nz-a" and back.files["/var/data"] == "old\n"
    assert stage.journal("phase") == "reverted"
    # only what the host found wrong: one silent end is none
    assert (stage.journal("bad") in ("", "-")) == (SNAPSHOT in names(stage, "snapshot")), stage.journal("bad")


class TestConfiguration:
    def test_the_new_system_gets_its_own(self, stage: Stage) -> None:
        installed(stage)
        stage.write("tank/nanozfs/cfg", "local/old.conf", "x\n")
        stage.write("tank/nanozfs/cfg", ".nanozfs.origins.gz", "of before\n")
        stage.arm(staged={"rc.conf": NEXT, "local/new.conf": "y\n", ".nanozfs.origins.gz": "of now\n"})
        trial = stage.boot()
        assert trial.state == "normal" and trial.files["/etc/rc.conf"] == NEXT, trial.console
        assert trial.files["/cfg/local/new.conf"] == "y\n" and "/cfg/local/old.conf" not in trial.files
        assert trial.files["/cfg/.nanozfs.origins.gz"] == "of now\n" and "/etc/.nanozfs.origins.gz" not in trial.files
        back = stage.boot()
        assert is_itself(back) and back.files["/cfg/local/old.conf"] == "x\n"
        assert back.files["/cfg/.nanozfs.origins.gz"] == "of before\n"
        assert "/cfg/local/new.conf" not in back.files and stage.journal("staged") in ("", "-")
        assert stage.read("tank/nanozfs/failed/{0}/cfg".format(TXN), "rc.conf") == NEXT, "what was tried is kept"

    def test_the_old_system_never_starts_with_it(self, stage: Stage) -> None:
        installed(stage)
        stage.arm(staged={"rc.conf": NEXT})
        not_restarted_into(stage)
        up = stage.boot()
        assert is_itself(up) and up.label == "nz-a", up.console

    def test_it_cannot_be_put_in_place(self, stage: Stage) -> None:
        installed(stage)
        stage.arm(staged={"rc.conf": NEXT})
        stage.fault("fail", "mount", "-t", "zfs", "-o", "ro", "tank/nanozfs/next")
        trial = stage.boot()
        assert is_recovery(trial) and "its configuration could not be put in place" in trial.reason
        assert is_itself(stage.boot()) and stage.journal("phase") == "reverted"


class TestJournal:
    """What cannot be read is not "nothing"."""

    def test_one_that_cannot_be_read_once(self, stage: Stage) -> None:
        installed(stage)
        stage.arm()
        assert is_itself(stage.boot())
        stage.write("tank/nanozfs/var", "data", "new\n")
        stage.fault("fail", "zfs", "get")
        up = stage.boot()
        assert is_recovery(up) and "the journal cannot be read" in up.reason, up.console
        back = stage.boot()
        assert is_itself(back) and back.files["/var/data"] == "old\n"

    @pytest.mark.parametrize("key, value", [("phase", "dancing"), ("txn", "x/../y"), ("format", "2")])
    def test_nonsense(self, stage: Stage, key: str, value: str) -> None:
        installed(stage)
        stage.command("zfs", "set", "nanozfs:{0}={1}".format(key, value), "tank/nanozfs")
        up = stage.boot()
        assert is_recovery(up) and "the journal cannot be read" in up.reason, up.console

    def test_what_is_inherited_is_nobodys(self, stage: Stage) -> None:
        """Somebody's nanozfs:phase on the root of the pool: zfs receive of another host's journal, a typo."""
        installed(stage)
        stage.command("zfs", "inherit", "nanozfs:phase", "tank/nanozfs")
        stage.command("zfs", "set", "nanozfs:phase=trial", "nanozfs:txn=0001-x", "nanozfs:to=" + "c" * 64, "tank")
        stage.write("tank/nanozfs/var", "data", "mine\n")
        up = stage.boot()
        assert is_itself(up) and up.files["/var/data"] == "mine\n", up.console

    @pytest.mark.parametrize("times", ["9" * 8190, "trial=1," * 10 + "x" * 8000, "trial=1700000000," * 40])
    def test_times_are_for_people_and_stop_nothing(self, stage: Stage, times: str) -> None:
        """A value of ZFS holds 8191 bytes, and nothing can be added to one that is full."""
        installed(stage)
        stage.arm()
        stage.command("zfs", "set", "nanozfs:times=" + times, "tank/nanozfs")
        trial = stage.boot()
        assert is_itself(trial) and stage.journal("phase") == "trial", trial.console
        back = stage.boot()
        assert is_itself(back) and stage.journal("phase") == "reverted", back.console
        passed = [each.split("=")[0] for each in stage.journal("times").split(",")]
        assert passed == ["trial", "reverting", "reverted"]

    @pytest.mark.parametrize("noted", [None, "0000-cccccccc-0000"])
    def test_times_of_another_transaction_are_not_of_this(self, stage: Stage, noted: Optional[str]) -> None:
        """1.0.0 began this one, and left what was noted of the one before."""
        installed(stage)
        stage.arm()
        left = ["nanozfs:times=prepared=1,reverted=2", "nanozfs:fetched=4711"]
        stage.command("zfs", "set", *left, *(["nanozfs:noted=" + noted] if noted else []), "tank/nanozfs")
        if noted is None:
            stage.command("zfs", "inherit", "nanozfs:noted", "tank/nanozfs")
        store = JournalStore(Zfs(Runner(stage.machine.execute)), "tank")
        assert (store.read().times, store.read().fetched) == ((), 0)
        assert is_itself(stage.boot())
        found = store.read()
        assert [phase for phase, _at in found.times] == ["trial"] and found.fetched == 0
        assert stage.journal("noted") == found.txn

    def test_a_reason_of_two_lines(self, stage: Stage) -> None:
        installed(stage)
        stage.command("zfs", "set", "nanozfs:reason=one\nguid=1\n\ttwo", "tank/nanozfs")
        assert is_itself(stage.boot()) and is_itself(stage.boot())
        assert stage.remembered.values["guid"] == stage.guid()

    def test_half_a_commit_goes_back_where_the_flags_were_not_turned(self, stage: Stage) -> None:
        installed(stage)
        stage.arm()
        stage.boot()
        stage.command("zfs", "set", "nanozfs:phase=committing", "tank/nanozfs")
        back = stage.boot()
        assert is_itself(back) and (back.label, stage.journal("phase")) == ("nz-a", "reverted")

    def test_half_a_commit_waits_for_the_agent_where_they_were(self, stage: Stage) -> None:
        installed(stage)
        stage.arm()
        stage.boot()
        stage.command("zfs", "set", "nanozfs:phase=committing", "tank/nanozfs")
        stage.command("gpart", "unset", "-a", "bootme", "-i", "4", "ada0")
        stage.command("gpart", "unset", "-a", "bootonce", "-i", "5", "ada0")
        stage.command("gpart", "set", "-a", "bootme", "-i", "5", "ada0")
        up = stage.boot()
        assert is_itself(up) and (up.label, stage.journal("phase")) == ("nz-b", "committing")


def test_an_image_is_bad_at_the_second_silent_end(stage: Stage) -> None:
    installed(stage)
    for expected in ("", "b" * 64):
        stage.arm()
        assert is_itself(stage.boot())
        assert is_itself(stage.boot())
        assert stage.journal("bad") == expected and stage.journal("suspect") == "b" * 64
        stage.machine.run(["gpart", "unset", "-a", "bootfailed", "-i", "5", "ada0"])


def test_an_image_that_does_not_boot_is_bad_at_once(stage: Stage) -> None:
    """The boot code tried it, and its hook never came: the host found that, and the data was never touched."""
    installed(stage)
    stage.arm()
    stage._boot_code()  # gptboot takes nz-b, whose kernel panics
    stage.write("tank/nanozfs/var", "data", "later\n")
    back = stage.boot()
    assert is_itself(back) and (back.label, back.flags["nz-b"]) == ("nz-a", ["bootfailed"])
    assert (stage.journal("phase"), stage.journal("bad")) == ("reverted", "b" * 64)
    assert back.files["/var/data"] == "later\n" and stage.journal("reason") == "the new system did not boot"
