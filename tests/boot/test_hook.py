# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The early boot hook, run for real: what a host does at its start when all is well, and when it is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.tests.boot.stage import NEW, OLD, Boot, Stage
from ansible_collections.nanozfs.fleet.tests.model.machine import copy_sparse

NAME = 'hostname="web-1"\n'

#: for what must be so on media of both kinds
either_table = pytest.mark.parametrize("table", ["gpt", pytest.param("mbr", marks=pytest.mark.mbr)])


def installed(stage: Stage) -> None:
    """A host that was installed and is switched off."""
    stage.pool()
    stage.remember(guid=stage.guid())


def is_itself(up: Boot) -> bool:
    """Whether the host came up with its configuration and its data."""
    mine = up.files.get("/etc/rc.conf") == NAME and "/var/data" in up.files
    return (up.ended, up.state, mine) == ("up", "normal", True)


def is_recovery(up: Boot) -> bool:
    """Whether the host came up for recovery, with nothing of its own in /etc and nothing of the pool mounted."""
    text = up.files.get("/etc/rc.conf", "")
    other = 'hostname="recovery"' in text and "/var/data" not in up.files
    return (up.ended, up.state, other) == ("up", "recovery", True)


# when all is well


def test_a_host_comes_up_as_itself(stage: Stage) -> None:
    installed(stage)
    up = stage.boot()
    assert is_itself(up), up.console
    assert up.label == "nz-a"
    assert "nanozfs.trial" not in up.kenv and "nanozfs.revived" not in up.kenv
    assert "importing tank" in up.files["/var/log/nanozfs.log"]
    assert stage.remembered.values["boots"] == "0"
    assert not [path for path in up.files if path.startswith("/etc/nanozfs.tmp")]


def test_a_trial_is_begun_and_one_that_nobody_kept_is_taken_back(stage: Stage) -> None:
    installed(stage)
    stage.arm()
    trial = stage.boot()
    assert is_itself(trial), trial.console
    assert (trial.label, trial.kenv["nanozfs.trial"]) == ("nz-b", "1")
    assert "a trial, for 60 seconds" in trial.console
    assert stage.journal("phase") == stage.remembered.values["phase"] == "trial"
    stage.write("tank/nanozfs/var", "data", "new\n")
    stage.write("tank/nanozfs/var/log", "kept", "line\n")

    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, back.flags["nz-b"]) == ("nz-a", ["bootfailed"])
    assert "nanozfs.trial" not in back.kenv
    assert back.files["/var/data"] == "old\n"
    assert back.files["/var/log/kept"] == "line\n", "a dataset that is to be kept went back"
    assert stage.journal("phase") == stage.remembered.values["phase"] == "reverted"
    assert stage.read("tank/nanozfs/failed/0001-bbbbbbbb/var", "data") == "new\n", "what the trial wrote is lost"
    passed = [each.split("=") for each in str(stage.journal("times")).split(",")]
    assert [phase for phase, _at in passed][-3:] == ["trial", "reverting", "reverted"]
    assert all(int(at) > 1_600_000_000 for _phase, at in passed[-3:])


def test_the_recovery_slice_leaves_the_pool_alone(stage: Stage) -> None:
    installed(stage)
    stage.command("gpart", "unset", "-a", "bootme", "-i", "4", "ada0")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert (up.label, up.reason) == ("nz-recovery", "booted from the recovery slice")
    assert stage.machine.running["pools"] == {}


# the pool


def test_pool_absent(stage: Stage) -> None:
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "no disks of the pool tank were found"


def test_one_disk_missing(stage: Stage) -> None:
    installed(stage)
    stage.on_the_desk("ada2")
    up = stage.boot()
    assert is_itself(up), up.console
    assert "DEGRADED" in up.console


def test_two_disks_missing_and_back_again(stage: Stage) -> None:
    installed(stage)
    disks = stage.on_the_desk("ada1", "ada2")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert "tank" in up.reason
    for disk in disks:
        stage.machine.attach_disk(disk)
    assert is_itself(stage.boot())


def test_late_disks_are_waited_for(stage: Stage) -> None:
    installed(stage)
    stage.setting("NZ_DISK_TIMEOUT=4")
    disk = stage.on_the_desk("ada2")[0]
    stage.fault("attach", "zpool", "import", after=1)
    stage.faults[-1]["disk"] = disk
    up = stage.boot()
    assert is_itself(up), up.console
    assert "ONLINE" in up.console, up.console


def test_two_pools_of_the_name(stage: Stage, ground: object) -> None:
    installed(stage)
    mine = stage.guid()
    stage.another_pool()
    up = stage.boot()
    assert is_itself(up), "the pool that this medium knows was not taken: " + up.console
    assert stage.guid() == mine

    stage.remember(guid="")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason.startswith("there are several pools tank: ") and mine in up.reason


def test_pool_last_used_elsewhere(stage: Stage) -> None:
    installed(stage)
    stage.machine.load()
    stage.machine.hardware["uuid"] = "11111111-2222-4333-8444-555555555555"
    stage.machine.save()
    up = stage.boot()
    assert is_itself(up), up.console


def test_import_that_hangs(stage: Stage) -> None:
    installed(stage)
    stage.setting("NZ_POOL_TIMEOUT=2")
    stage.fault("hang", "zpool", "import", "-f")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "the pool tank did not come up in 2 seconds"
    assert up.kenv["nanozfs.import"] == "hung"
    assert up.files["/etc/rc.conf"].endswith('zfs_enable="NO"\n'), "rc.d/zfs would hang"
    stage.setting("NZ_POOL_TIMEOUT=60")
    assert is_itself(stage.boot()), "it does not try again"


def test_import_that_panics_twice(stage: Stage) -> None:
    installed(stage)
    stage.fault("panic", "zpool", "import", "-f")
    assert stage.boot(once=False).ended == "panic"
    assert stage.boot(once=False).ended == "panic"
    up = stage.boot(once=False)
    assert is_recovery(up), up.console
    assert "two starts in a row" in up.reason
    assert stage.boot(once=False).ended == "panic", "it never tries again"
    stage.faults = []
    assert is_itself(stage.boot())


def test_power_cuts_after_the_import_are_no_panics_of_it(stage: Stage) -> None:
    """Not twice but twenty times, because putting data back takes its time; but not for ever."""
    installed(stage)
    stage.fault("panic", "mount", "-t", "zfs", "-o")
    stage.remember(works="18")
    assert [stage.boot(once=False).ended for _number in range(2)] == ["panic", "panic"]
    up = stage.boot(once=False)
    assert is_recovery(up), up.console
    assert up.reason.startswith("twenty starts in a row")
    stage.faults = []
    assert is_itself(stage.boot())
    assert stage.remembered.values["works"] == "0"


@either_table
def test_import_that_panics_in_the_new_system_only(stage: Stage, table: str) -> None:
    installed(stage)
    stage.arm()
    stage.fault("panic", "zpool", "import", "-f")
    assert stage.boot().ended == "panic"
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, stage.journal("phase")) == ("nz-a", "reverted")


# the configuration


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "the configuration has no rc.conf"),
        ("", "the configuration has no rc.conf"),
        ('hostname="web-1\nsshd_enable="YES"\n', "/cfg/rc.conf is broken"),
        ('hostname="web-1"\nexit 1\n', "/cfg/rc.conf is broken"),
    ],
    ids=["missing", "empty", "syntax", "exit"],
)
def test_broken_configuration(stage: Stage, text: str, said: str) -> None:
    installed(stage)
    stage.write("tank/nanozfs/cfg", "rc.conf", text)
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason.startswith(said)


def test_configuration_larger_than_etc(stage: Stage) -> None:
    installed(stage)
    stage.write("tank/nanozfs/cfg", "a-large-file", "x" * (16 << 20))
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "the configuration does not fit into /etc"
    assert "/etc/rc.subr" in up.files, "what the image has in /etc is gone"


def test_cfg_is_full(stage: Stage) -> None:
    installed(stage)
    stage.command("zfs", "set", "quota=1M", "tank/nanozfs/cfg")
    stage.write("tank/nanozfs/cfg", "filler", "x" * (1 << 20))
    up = stage.boot()
    assert is_itself(up), up.console


def test_var_that_cannot_be_mounted(stage: Stage) -> None:
    installed(stage)
    stage.fault("fail", "mount", "-t", "zfs", "tank/nanozfs/var")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "the dataset tank/nanozfs/var cannot be mounted"


# the medium


def test_backup_table_misplaced(stage: Stage) -> None:
    installed(stage)
    disk = stage.machine.remove_disk("ada0")
    with open(disk["image"], "r+b") as file:
        file.truncate(disk["size"] + (16 << 20))
    disk["size"] += 16 << 20
    stage.machine.attach_disk(disk)
    assert "CORRUPT" in stage.command("gpart", "show", "ada0")
    up = stage.boot()
    assert is_itself(up), up.console
    assert "the partition table of ada0 was corrected" in up.console
    assert "CORRUPT" not in stage.command("gpart", "show", "ada0")


@either_table
def test_new_medium_revives_the_host(stage: Stage, table: str) -> None:
    installed(stage)
    assert is_itself(stage.boot())
    stage.fresh_medium()
    up = stage.boot()
    assert is_itself(up), up.console
    assert up.kenv["nanozfs.revived"] == "1"
    assert stage.journal("revived")[:2] == "20"
    assert stage.remembered.values["guid"] == stage.guid()
    assert "nanozfs.revived" not in stage.boot().kenv, "revived once more"


def test_stick_of_the_fleet_beside_the_medium(stage: Stage) -> None:
    """Its slices have the same labels, and one of them is armed: neither may be taken for this host's."""
    installed(stage)
    copy_sparse(stage.machine.image("ada0"), os.path.join(stage.home, "stick.img"))
    stage.machine.insert_disk("da0", os.path.join(stage.home, "stick.img"))
    stage.command("gpart", "set", "-a", "bootonce", "-i", "4", "da0")
    up = stage.boot()
    assert is_itself(up), up.console
    assert up.kenv["nanozfs.disk"] == "ada0"
    assert "nanozfs.trial" not in up.kenv


def test_stale_bootfailed(stage: Stage) -> None:
    installed(stage)
    stage.command("gpart", "set", "-a", "bootfailed", "-i", "5", "ada0")
    up = stage.boot()
    assert is_itself(up), up.console
    assert stage.journal("phase") == "idle"


@pytest.mark.parametrize("damage", ["newer", "both", "torn"])
def test_damaged_state(stage: Stage, damage: str) -> None:
    installed(stage)
    stage.remember(mark="here")
    path = os.path.join(stage.home, "state.img")
    newer = stage.remembered.place * _state.STATE.copy
    with open(path, "r+b") as file:
        for offset in (0, _state.STATE.copy) if damage == "both" else (newer,):
            file.seek(offset + 10)
            file.write(b"?" if damage != "torn" else bytes(_state.STATE.copy - 10))
    up = stage.boot()
    assert is_itself(up), up.console
    assert ("nanozfs.revived" in up.kenv) == (damage == "both")
    assert stage.remembered.values["guid"] == stage.guid()


def test_state_that_cannot_be_written(stage: Stage) -> None:
    installed(stage)
    os.unlink(os.path.join(stage.home, "state.img"))
    with open(os.path.join(stage.home, "state.img"), "wb"):
        pass  # as long as nothing: dd finds no room in it once it is a device
    os.chmod(os.path.join(stage.home, "state.img"), 0o400)
    up = stage.boot()
    assert is_itself(up), up.console


@either_table
def test_a_partition_in_the_place_of_the_state_is_left_alone(stage: Stage, table: str) -> None:
    """On a disk that somebody laid out himself: it is somebody's data."""
    stage.pool()
    if stage.mbr:
        with open(stage.machine.image("ada0"), "r+b") as file:
            file.seek(446 + 3 * 16 + 4)  # the type of the fourth slice
            file.write(b"\x0b")
    else:
        stage.command("gpart", "modify", "-l", "data", "-i", "6", "ada0")
    up = stage.boot()
    assert is_itself(up), up.console
    assert "there is no state partition on ada0" in up.console
    with open(os.path.join(stage.home, "state.img"), "rb") as file:
        assert not file.read().strip(b"\0")


def test_the_hook_and_python_write_the_same_state(stage: Stage) -> None:
    installed(stage)
    assert stage.boot().state == "normal"
    path = os.path.join(stage.home, "state.img")
    state = stage.remembered
    with open(path, "rb") as file:
        file.seek(state.place * _state.STATE.copy)
        assert file.read(_state.STATE.copy) == _state.render_copy(state.values, state.serial)
    stage.remember(boots="1", guid=state.values["guid"])
    assert stage.boot().state == "normal"
    assert stage.remembered.serial > state.serial + 1


# a slice that does not come up


@pytest.mark.parametrize(
    ("kenv", "root"),
    [({}, "nz-recovery"), ({"nanozfs.build": "0c" * 8}, None), ({"nanozfs.failed": "nz-b"}, "nz-recovery")],
    ids=["root-not-mountable", "kernel-of-another-build", "kernel-not-loadable"],
)
def test_trial_that_does_not_come_up(stage: Stage, kenv: dict, root: str) -> None:
    installed(stage)
    stage.arm()
    if "nanozfs.failed" in kenv:
        kenv = dict(kenv, **{"nanozfs.slice": "nz-recovery"})
    first = stage.boot(kenv=kenv, root=root)
    assert (first.label, first.ended) == ("nz-b", "restart")
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, stage.journal("phase")) == ("nz-a", "reverted")
    assert stage.journal("reason") == "the new system did not boot"


@pytest.mark.parametrize(
    ("kenv", "root", "said"),
    [
        ({}, "nz-recovery", "the kernel is from nz-a, the root file system from nz-recovery"),
        ({"nanozfs.build": NEW}, None, "the kernel is from build {0}, the root file system from {1}".format(NEW, OLD)),
        (
            {"nanozfs.failed": "nz-a", "nanozfs.slice": "nz-recovery"},
            "nz-recovery",
            "the kernel of nz-a cannot be loaded",
        ),
    ],
    ids=["root-not-mountable", "kernel-of-another-build", "kernel-not-loadable"],
)
def test_committed_slice_that_does_not_come_up(stage: Stage, kenv: dict, root: str, said: str) -> None:
    """No restart: it would be the same again, for ever."""
    installed(stage)
    up = stage.boot(kenv=kenv, root=root)
    assert is_recovery(up), up.console
    assert up.reason == said


def test_boot_code_that_cannot_write_tries_no_slice_for_ever(stage: Stage) -> None:
    """All that gptboot does is to say that it could not write: bootme stays, and it would take the slice for ever."""
    installed(stage)
    stage.arm()
    assert stage.boot().state == "normal"
    stage.command("gpart", "set", "-a", "bootme", "-i", "5", "ada0")  # as if it had never been taken away
    stage.command("gpart", "set", "-a", "bootonce", "-i", "5", "ada0")
    again = stage.boot()
    assert (again.label, again.ended) == ("nz-b", "restart"), again.console
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.label, stage.journal("phase")) == ("nz-a", "reverted")


def test_two_trials_in_a_row(stage: Stage) -> None:
    installed(stage)
    stage.arm()
    stage.boot()
    assert is_itself(stage.boot())
    stage.command("gpart", "unset", "-a", "bootfailed", "-i", "5", "ada0")
    stage.arm()
    trial = stage.boot()
    assert (trial.label, stage.journal("phase"), stage.journal("txn")) == ("nz-b", "trial", "0002-bbbbbbbb")
    back = stage.boot()
    assert is_itself(back), back.console
    assert stage.journal("phase") == "reverted"


@pytest.mark.parametrize("text", ['NZ_WATCHDOG="ichwd', "NZ_POOL_TIMEOUT=10m"], ids=["quote", "unit"])
@pytest.mark.parametrize("trial", [True, False])
def test_mistakes_in_local_conf_end_nothing(stage: Stage, text: str, trial: bool) -> None:
    installed(stage)
    if trial:
        stage.arm()
    stage.setting(text)
    up = stage.boot()
    assert is_itself(up), up.console
    assert ("a trial, for" in up.console) == trial


def test_an_error_in_the_hook_itself_means_recovery(stage: Stage) -> None:
    installed(stage)
    stage.change("boot/nanozfs/pool.subr", "bring_up() {", "bring_up() { : ${nope?}; }; x() {")
    stage.change("conf/default/etc/extract", 'within "$NZ_POOL_TIMEOUT" bring_up', "bring_up")
    up = stage.boot()
    assert (up.ended, up.state) == ("up", "recovery"), up.console
    assert up.reason == "the early hook ended by an error"


def test_a_trial_that_ends_early_has_its_timer(stage: Stage) -> None:
    installed(stage)
    stage.arm()
    stage.change("boot/nanozfs/image.conf", "NZ_POOL=tank", "NZ_POOL=")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert "a trial, for 60 seconds" in up.console


def test_another_pool_of_the_name_is_not_taken_for_one_that_is_late(stage: Stage) -> None:
    installed(stage)
    mine = stage.guid()
    stage.another_pool()
    disks = stage.on_the_desk(*stage.data)
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason.startswith("another pool tank is there"), up.reason
    assert stage.remembered.values["guid"] == mine, "it would not know its own pool any more"
    for each in disks:
        stage.machine.attach_disk(each)
    assert is_itself(stage.boot())
    assert stage.guid() == mine


def test_rc_conf_that_includes_another_file(stage: Stage) -> None:
    installed(stage)
    stage.write("tank/nanozfs/cfg", "rc.conf", NAME + ". /etc/rc.conf.site\n")
    stage.write("tank/nanozfs/cfg", "rc.conf.site", 'sshd_enable="YES"\n')
    up = stage.boot()
    assert (up.state, up.reason) == ("normal", ""), up.console


def test_what_a_broken_off_save_left_is_not_configuration(stage: Stage) -> None:
    installed(stage)
    stage.write("tank/nanozfs/cfg", ".nanozfs.save/0", "y" * (8 << 20))
    up = stage.boot()
    assert is_itself(up), up.console
    assert "/etc/.nanozfs.save/0" not in up.files


def test_fstab_in_cfg_is_left_out(stage: Stage) -> None:
    installed(stage)
    stage.write("tank/nanozfs/cfg", "fstab", "/dev/gpt/gone\t/data\tufs\trw\t2\t2\n")
    up = stage.boot()
    assert is_itself(up), up.console
    assert "gone" not in up.files.get("/etc/fstab", "")


def test_a_medium_of_the_new_version_begins_no_trial(stage: Stage) -> None:
    """Armed, but not restarted; then somebody puts a medium in that holds the new system only."""
    installed(stage)
    stage.arm()
    stage.fresh_medium()
    stage.change("boot/nanozfs/image.conf", OLD, NEW)
    up = stage.boot()
    assert is_itself(up), up.console
    assert (stage.journal("phase"), "nanozfs.trial" in up.kenv) == ("armed", False)
    assert up.kenv["nanozfs.revived"] == "1"
    assert stage.remembered.values["guid"] == stage.guid()


def test_clock_at_1970(stage: Stage) -> None:
    """A dead battery: nothing but the note of a revival has a date in it."""
    installed(stage)
    for folder in stage.images.values():
        date = os.path.join(folder, "rescue", "date")
        os.makedirs(os.path.dirname(date))
        with open(date, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho 1970-01-01T00:00:07Z\n")
        os.chmod(date, 0o755)
    stage.change("conf/default/etc/extract", "PATH=", "PATH=/rescue:")
    stage.arm()
    assert is_itself(stage.boot())
    assert is_itself(stage.boot())
    assert stage.journal("phase") == "reverted"
    stage.fresh_medium()
    assert is_itself(stage.boot())
    assert stage.journal("revived") == "1970-01-01T00:00:07Z"


def test_var_that_the_pool_does_not_let_go_of(stage: Stage) -> None:
    """rc.d/var would hang on it: the next start leaves the pool alone."""
    installed(stage)
    stage.fault("fail", "mount", "-t", "zfs", "tank/nanozfs/var")
    stage.fault("fail", "umount", "-f", "-A")
    assert stage.boot().ended == "restart"
    up = stage.boot()
    assert is_recovery(up), up.console
    assert is_itself(stage.boot())


# users

#: a line of master.passwd, with the password of root
USERS = "root:{0}:0:0::0:0:Charlie &:/root:/bin/sh\n"


def with_users(stage: Stage) -> None:
    """Images have users, and the database that belongs to them."""
    stage.add("conf/base/etc/master.passwd", USERS.format("image"))
    stage.add("conf/base/etc/spwd.db", "root:image\n")


def in_force(up: Boot) -> str:
    """The password of root that counts, as a login would find it."""
    users = [line.partition(":") for line in up.files["/etc/spwd.db"].splitlines()]
    return next(password for name, _colon, password in users if name == "root")


def test_users_of_the_image(stage: Stage) -> None:
    """Nothing is done where all is the image's, nor where there is no master.passwd."""
    installed(stage)
    stage.change("boot/nanozfs/cfg.subr", "within 30 pwd_mkdb", "within 30 false")
    up = stage.boot()
    assert is_itself(up) and "/etc/spwd.db" not in up.files and "pwd_mkdb" not in up.console, up.console
    with_users(stage)
    up = stage.boot()
    assert is_itself(up) and in_force(up) == "image" and "pwd_mkdb" not in up.console, up.console


def test_users_of_the_host(stage: Stage) -> None:
    """An interruption of before has left its files in /cfg."""
    installed(stage)
    with_users(stage)
    stage.write("tank/nanozfs/cfg", "master.passwd", "# of the host\n" + USERS.format("host"))
    for name in ("spwd.db.tmp", "pwd.db.tmp", "master.passwd.orig"):
        stage.write("tank/nanozfs/cfg", name, "half\n")
    up = stage.boot()
    assert is_itself(up), up.console
    assert in_force(up) == "host"
    # passwd(5): name, * in place of the password, uid, gid, name in full, home, shell
    assert up.files["/etc/passwd"] == "# of the host\nroot:*:0:0:Charlie &:/root:/bin/sh\n"


def test_users_of_recovery_mode(stage: Stage) -> None:
    """Also when the host's own were in force before the start failed: no trace of them stays."""
    installed(stage)
    with_users(stage)
    stage.add("conf/recovery/etc/master.passwd", USERS.format("recovery"))
    stage.write("tank/nanozfs/cfg", "master.passwd", USERS.format("host"))
    assert in_force(stage.boot()) == "host"
    stage.fault("fail", "mount", "-t", "zfs", "tank/nanozfs/var")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert in_force(up) == "recovery"


def test_users_that_the_builder_added(stage: Stage) -> None:
    """The builder cannot make the database on Linux, and says so."""
    with_users(stage)
    stage.add("conf/base/etc/master.passwd", USERS.format("overlay"))
    assert in_force(stage.boot()) == "image", "nothing told the hook, and it made the database nevertheless"
    stage.change("boot/nanozfs/image.conf", "NZ_POOL=tank\n", "NZ_POOL=tank\nNZ_ACCOUNTS=stale\n")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert in_force(up) == "overlay"


@pytest.mark.parametrize("users, limit", [("root:no\n", "30"), (USERS.format("host") + "sleep:\n", "1")])
def test_users_that_pwd_mkdb_does_not_take(stage: Stage, users: str, limit: str) -> None:
    """Whether it fails or hangs: the host comes up, the users of before are in force, and it says so."""
    installed(stage)
    with_users(stage)
    stage.change("boot/nanozfs/cfg.subr", "within 30 pwd_mkdb", "within {0} pwd_mkdb".format(limit))
    stage.write("tank/nanozfs/cfg", "master.passwd", users)
    up = stage.boot()
    assert is_itself(up), up.console
    assert in_force(up) == "image"
    assert "pwd_mkdb failed: the users of before are in force" in up.console


# watchdogs


@pytest.mark.parametrize("trial", [False, True])
def test_hardware_watchdog(stage: Stage, trial: bool) -> None:
    installed(stage)
    stage.machine.hardware["watchdog"] = True
    stage.machine.save()
    if trial:
        stage.arm()
    up = stage.boot()
    assert is_itself(up), up.console
    assert (up.kenv["nanozfs.watchdog"], stage.machine.running["watchdog"] > 0) == ("1", trial)


# power cuts


def test_power_cut_at_every_command_of_a_revert(stage: Stage, tmp_path: Path) -> None:
    installed(stage)
    stage.arm()
    stage.boot()
    stage.write("tank/nanozfs/var", "data", "new\n")
    stage.copy(str(tmp_path))
    for number in range(100):
        stage.restore(str(tmp_path))
        stage.cut_at(number)
        first = stage.boot()
        back = first if first.ended == "up" else stage.boot()
        assert is_itself(back), (number, back.console)
        assert back.files["/var/data"] == "old\n", number
        assert stage.journal("phase") == "reverted", number
        assert stage.read("tank/nanozfs/failed/0001-bbbbbbbb/var", "data") == "new\n", number
        if first.ended == "up":
            break
    assert number > 10, "so few commands cannot have put anything back"


def odd(stage: Stage) -> None:
    """Datasets below var as people have them."""
    stage.command("zfs", "create", "-o", "reservation=200m", "-o", "atime=off", "tank/nanozfs/var/my data")
    stage.command("zfs", "create", "-V", "200m", "tank/nanozfs/var/vm")
    stage.command("zfs", "set", "site:note=one\n\ttwo\\0101 \u00e9\n\n", "tank/nanozfs/var/my data")
    stage.command("zfs", "allow", "-u", "1001", "send,hold", "tank/nanozfs/var/my data")
    stage.command("zfs", "set", "site:note=x\nnanozfs:revert.000\tzap\ttank", "tank/nanozfs")


def seen(stage: Stage, name: str) -> str:
    """What there is to see of a dataset."""
    keys = "atime,reservation,refreservation,canmount,readonly,site:note"
    return stage.command("zfs", "get", "-Hp", "-o", "value", keys, name) + stage.command("zfs", "allow", name)


def test_odd_datasets_go_back(stage: Stage) -> None:
    installed(stage)
    odd(stage)
    names = ("tank/nanozfs/var/my data", "tank/nanozfs/var/vm")
    before = [seen(stage, name) for name in names]
    stage.arm()
    assert is_itself(stage.boot())
    stage.command("zfs", "create", "-o", "mountpoint=/usr/local/app", "tank/nanozfs/var/app")
    stage.write("tank/nanozfs/var", "data", "new\n")
    back = stage.boot()
    assert is_itself(back), back.console
    assert (back.files["/var/data"], stage.journal("phase")) == ("old\n", "reverted")
    assert [seen(stage, name) for name in names] == before
    failed = stage.command("zfs", "list", "-H", "-o", "canmount,readonly,reservation", "-r", "tank/nanozfs/failed")
    assert failed.count("noauto\ton\tnone\n") == 4, failed


def test_a_rollback_with_data_is_taken_back(stage: Stage, tmp_path: Path) -> None:
    """By the hook of the old system, from wherever the one of the new system was when the power failed."""
    installed(stage)
    odd(stage)
    stage.command("zfs", "snapshot", "-r", "tank/nanozfs@nz-old")
    stage.command("zfs", "create", "tank/nanozfs/var/jails")
    stage.command("zfs", "create", "-o", "nanozfs:rollback=keep", "tank/nanozfs/var/jails/log")
    stage.write("tank/nanozfs/var", "data", "now\n")
    names = ("tank/nanozfs/var/my data", "tank/nanozfs/var/vm", "tank/nanozfs/var/jails")
    before = [seen(stage, name) for name in names]
    stage.arm(restore="nz-old")
    stage.copy(str(tmp_path))
    for number in (3, 7, 13, 19, 1000):
        stage.restore(str(tmp_path))
        stage.cut_at(number)
        trial = stage.boot()
        if trial.ended == "up":
            assert (trial.label, trial.files["/var/data"]) == ("nz-b", "old\n"), trial.console
            assert stage.read("tank/nanozfs/failed/0001-bbbbbbbb/var", "data") == "now\n"
        stage.cut_at(number % 10)
        stage.boot()
        back = stage.boot()
        assert is_itself(back), (number, back.console)
        assert (back.label, back.files["/var/data"]) == ("nz-a", "now\n"), number
        assert [seen(stage, name) for name in names] == before, number
    assert trial.ended == "up", "so few commands cannot have put anything back"


# the host's name and network in recovery mode


def _effective(up: Boot, folder: Path, *names: str) -> List[str]:
    """What these variables of rc.conf are to a shell that reads the files as /etc/rc does."""
    for name in ("rc.conf", "rc.conf.local", "nanozfs.network"):
        (folder / name).write_text(up.files.get("/etc/" + name, "").replace("/etc/", "{0}/".format(folder)))
    script = '. ./rc.conf; . ./rc.conf.local; for name; do eval "printf \'%s\\n\' \\"\\$$name\\""; done'
    argv = ["sh", "-c", script, "sh", *names]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()


@either_table
def test_recovery_knows_the_host_by_name_and_network(stage: Stage, tmp_path: Path, table: str) -> None:
    installed(stage)
    network = {
        "hostname": "web-1",
        "ifconfig_DEFAULT": "",
        "ifconfig_em0": "inet 192.0.2.5/24 description 'it''s $HOME `id` \\\\'",
        "defaultrouter": "192.0.2.1",
        "resolv.0": "search example.org",
        "resolv.1": "nameserver 192.0.2.53",
        "PATH;id": "/nowhere",
    }
    stage.write_state(_state.NETWORK, network)
    stage.on_the_desk("ada1", "ada2")
    up = stage.boot()
    assert (up.ended, up.state, up.kenv["nanozfs.network"]) == ("up", "recovery", "own"), up.console
    names = ("hostname", "sshd_enable", "ifconfig_DEFAULT", "ifconfig_em0", "defaultrouter")
    assert _effective(up, tmp_path, *names) == ["web-1", "YES", "", network["ifconfig_em0"], "192.0.2.1"]
    assert up.files["/etc/resolv.conf"] == "search example.org\nnameserver 192.0.2.53\n"
    assert "nowhere" not in up.files["/etc/nanozfs.network"]
    assert stage.remembered.values["guid"] and stage.remembered.values["boots"] == "0"


def test_of_a_host_that_asks_dhcp_recovery_only_knows_the_name(stage: Stage, tmp_path: Path) -> None:
    stage.write_state(_state.NETWORK, {"hostname": "web-1"})
    up = stage.boot()
    assert is_recovery(up) and "nanozfs.network" not in up.kenv, up.console
    assert _effective(up, tmp_path, "hostname", "ifconfig_DEFAULT") == ["web-1", "SYNCDHCP"]


@pytest.mark.parametrize("place", [65536, 65536 + 32768])
def test_a_network_that_a_power_cut_tore_is_not_believed(stage: Stage, tmp_path: Path, place: int) -> None:
    """The copy before it counts, or the image's where there is none."""
    stage.write_state(_state.NETWORK, {"hostname": "web-1", "defaultrouter": "192.0.2.1"})
    stage.write_state(_state.NETWORK, {"hostname": "web-2", "defaultrouter": "192.0.2.2"})
    with open(os.path.join(stage.home, "state.img"), "r+b") as file:
        file.seek(place + 30)
        file.write(b"#")
    up = stage.boot()
    wanted = "web-2" if place == 65536 else "web-1"
    assert _effective(up, tmp_path, "hostname") == [wanted], up.console


def test_an_image_whose_recovery_has_a_network_of_its_own(stage: Stage, tmp_path: Path) -> None:
    """The host's goes before it, and it is there to go back to; its last line has no end."""
    stage.add("conf/recovery/etc/rc.conf.local", 'ifconfig_DEFAULT="inet 192.0.2.99/24"\ncloned_interfaces="vlan9"')
    stage.write_state(
        _state.NETWORK, {"hostname": "web-1", "ifconfig_DEFAULT": "", "ifconfig_em0": "DHCP", "cloned_interfaces": ""}
    )
    up = stage.boot()
    assert _effective(up, tmp_path, "ifconfig_DEFAULT", "cloned_interfaces", "ifconfig_em0") == ["", "", "DHCP"]
    del up.files["/etc/nanozfs.network"]  # as boot/nanozfs/turns takes it away
    (tmp_path / "nanozfs.network").unlink()
    text = up.files["/etc/rc.conf.local"]
    assert text.startswith('ifconfig_DEFAULT="inet 192.0.2.99/24"\ncloned_interfaces="vlan9"\n'), text


@pytest.mark.parametrize("board", ["mine", "another", "one of those that many have"])
def test_it_counts_on_its_machine_only(stage: Stage, board: str) -> None:
    """A medium that is put into another machine takes no address along, which its host may still have."""
    uuids = {"mine": stage.machine.hardware["uuid"], "another": "4c4c4544-004b-3510-8052-b4c04f4e3432"}
    uuid = uuids.get(board, "03000200-0400-0500-0006-000700080009")
    network = {"hostname": "web-1", "ifconfig_em0": "inet 192.0.2.5/24", "machine.uuid": uuid}
    stage.write_state(_state.NETWORK, network)
    up = stage.boot()
    assert (up.kenv.get("nanozfs.network") == "own") is (board != "another"), up.console
    assert ("another machine" in up.console) is (board == "another")
    assert ("web-1" in up.files.get("/etc/rc.conf.local", "")) is (board != "another")


def test_a_site_that_wants_the_image_s_network_only(stage: Stage, tmp_path: Path) -> None:
    stage.setting("NZ_NETWORK_TIMEOUT=0")
    stage.write_state(_state.NETWORK, {"hostname": "web-1", "ifconfig_em0": "inet 192.0.2.5/24"})
    up = stage.boot()
    assert "nanozfs.network" not in up.kenv and "/etc/nanozfs.network" not in up.files
    assert _effective(up, tmp_path, "hostname", "ifconfig_DEFAULT") == ["web-1", "SYNCDHCP"]


def test_a_host_that_comes_up_has_nothing_of_it(stage: Stage) -> None:
    installed(stage)
    stage.write_state(_state.NETWORK, {"hostname": "other", "defaultrouter": "192.0.2.1"})
    up = stage.boot()
    assert is_itself(up) and "nanozfs.network" not in up.kenv
    assert not [path for path in up.files if path.startswith(("/etc/nanozfs.network", "/etc/rc.conf.local"))]
