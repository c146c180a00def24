# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the early hook makes of /cfg and of the data, run for real: one that is wrong costs itself, not the host."""

from __future__ import annotations

import os
from typing import List

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import Boot, Stage
from ansible_collections.nanozfs.fleet.tests.boot.test_hook import NAME, USERS, installed, is_itself, is_recovery
from ansible_collections.nanozfs.fleet.tests.model import pools

CFG = "tank/nanozfs/cfg"


def folder(stage: Stage, dataset: str = CFG) -> str:
    """Where the files of a dataset are; the pool must be imported."""
    stage.machine.load()
    return pools.folder(stage.machine, dataset)


def link(stage: Stage, name: str, target: str) -> None:
    os.symlink(target, os.path.join(folder(stage), name))


def image_has(stage: Stage, name: str, target: str = "") -> None:
    """A link, or a file with its folder, in /etc of all images."""
    for image in stage.images.values():
        path = os.path.join(image, "conf/base/etc", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if target:
            os.symlink(target, path)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write("of the image\n")


def noted(up: Boot) -> List[str]:
    """What the start could not do; the kernel environment has the first of it."""
    lines = up.files.get("/etc/nanozfs.notes", "").splitlines()
    first = up.kenv.get("nanozfs.notes", "").partition(" (and ")[0]
    assert first == (lines[0][:100] if lines else "")
    return lines


# one file after the other


def test_another_kind_than_the_image_has(stage: Stage) -> None:
    """In place of it, and never through a link: base.txz has links for unbound, termcap, aliases and localtime."""
    installed(stage)
    image_has(stage, "termcap", "/boot/nanozfs/image.conf")
    image_has(stage, "unbound", "../var/unbound")
    image_has(stage, "mail/aliases")
    image_has(stage, "aliases", "mail/aliases")
    image_has(stage, "pki/x")
    image_has(stage, "snmp/x")
    for name in ("termcap", "unbound/forward.conf", "aliases", "snmp"):
        stage.write(CFG, name, "mine\n")
    link(stage, "pki", "/boot/nanozfs/image.conf")
    up = stage.boot()
    assert is_itself(up) and noted(up) == [], up.console
    for name in ("termcap", "unbound/forward.conf", "aliases", "snmp"):
        assert up.files["/etc/" + name] == "mine\n"
    assert up.files["/etc/mail/aliases"] == "of the image\n"
    assert up.files["/etc/pki"].startswith("NZ_POOL=tank")


def test_names_owners_and_modes(stage: Stage) -> None:
    installed(stage)
    names = ["odd\nname", " a blank ", "-rf", "*", ".hidden", "..x"]
    for name in names:
        stage.write(CFG, "d/" + name, "mine\n")
    os.chmod(os.path.join(folder(stage), "d"), 0o1710)
    os.chown(os.path.join(folder(stage), "d"), 80, 81)
    stage.change("conf/default/etc/extract", 'say "normal"', 'say "normal"; stat -c "%a %u %g" /etc/d > /var/mode')
    up = stage.boot()
    assert is_itself(up) and noted(up) == [], up.console
    assert {up.files.get("/etc/d/" + name) for name in names} == {"mine\n"}
    assert up.files["/var/mode"] == "1710 80 81\n"


def test_what_is_left_out_and_said(stage: Stage) -> None:
    installed(stage)
    image_has(stage, "rc.d/netif")
    image_has(stage, "login.conf.db")
    image_has(stage, "master.passwd")
    for name in ("rc.subr", "defaults/rc.conf", "rc.d/netif", "nanozfs.tmp/list", "nanozfs.tmp/state", "hostid"):
        stage.write(CFG, name, "exit 1\n")
    stage.write(CFG, "master.passwd", "")
    stage.write(CFG, "rc.conf.local", "if then\n")
    stage.write(CFG, "rc.conf.d/sshd", "exit\n")
    stage.write(CFG, "rc.conf.d/gptboot", "gptboot_enable=YES\n")
    stage.write(CFG, "login.conf", "default:\\\n\t:umask=027:\n")
    stage.write(CFG, "motd", "mine\n")
    os.mkfifo(os.path.join(folder(stage), "fi\nfo"))
    up = stage.boot()
    assert is_itself(up), up.console
    assert up.files["/etc/motd"] == "mine\n" and "exit 1" not in up.files["/etc/rc.subr"]
    assert up.files["/etc/master.passwd"] == "of the image\n" and "/etc/login.conf.db" not in up.files
    assert [line for line in up.files if line.startswith(("/etc/rc.conf.", "/etc/nanozfs.tmp"))] == []
    lines = noted(up)
    assert "/cfg/rc.subr was left out: only the image has it" in lines
    assert "/cfg/fi?fo was left out: it is neither a file nor a folder nor a link" in lines
    assert any(line.startswith("/cfg/rc.conf.local was left out: it is broken: ") for line in lines)
    assert len(lines) == 10 and up.kenv["nanozfs.notes"].endswith("(and 9 more)"), lines


@pytest.mark.parametrize("content", [True, False])
def test_a_copy_that_fails(stage: Stage, content: bool) -> None:
    """Because of an ACL, which costs nothing, or because it cannot be read, which costs that file."""
    installed(stage)
    image_has(stage, "motd")
    stage.write(CFG, "motd", "mine\n")
    for image in stage.images.values():
        os.makedirs(os.path.join(image, "rescue"))
        path = os.path.join(image, "rescue", "cp")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                '#!/bin/sh\n[ "$2" != /cfg/motd ] || {{ {0}; echo "acl_set: Operation not supported" >&2; exit 1; }}\n'
                'exec /usr/bin/cp "$@"\n'.format('/usr/bin/cp "$@"' if content else "true")
            )
        os.chmod(path, 0o755)
    stage.change("conf/default/etc/extract", "PATH=", "PATH=/rescue:")
    up = stage.boot()
    assert is_itself(up), up.console
    assert up.files["/etc/motd"] == ("mine\n" if content else "of the image\n")
    assert noted(up) == ([] if content else ["/cfg/motd was left out: acl_set: Operation not supported"])


def test_everything_of_the_image_is_back_in_recovery_mode(stage: Stage) -> None:
    installed(stage)
    image_has(stage, "pki/x")
    image_has(stage, "aliases", "mail/aliases")
    image_has(stage, "mail/aliases")
    link(stage, "pki", "/nowhere")
    stage.write(CFG, "aliases", "mine\n")
    stage.write(CFG, "new/file", "mine\n")
    stage.write(CFG, "rc.conf", 'hostname="web-1"\r\nsshd_enable="YES"\r\n')
    up = stage.boot()
    assert is_recovery(up), up.console
    assert up.reason == "/cfg/rc.conf is broken: its lines end with CR"
    assert up.files["/etc/pki/x"] == up.files["/etc/aliases"] == "of the image\n"
    assert "mine\n" not in up.files.values()


def test_a_broken_rc_conf_behind_a_link(stage: Stage) -> None:
    """Whole: the link leads to where /etc is."""
    installed(stage)
    stage.write(CFG, "rc.conf.web", NAME)
    stage.write(CFG, "rc.conf", None)
    link(stage, "rc.conf", "/etc/rc.conf.web")
    assert is_itself(stage.boot())
    stage.write(CFG, "rc.conf.web", "if then\n")
    up = stage.boot()
    assert is_recovery(up) and up.reason.startswith("/cfg/rc.conf is broken: /etc/rc.conf: 1:"), up.console


def test_users_without_a_list_of_them(stage: Stage) -> None:
    """A database of nobody would be in force, and nothing would make another."""
    installed(stage)
    stage.add("conf/base/etc/master.passwd", USERS.format("image"))
    stage.add("conf/base/etc/spwd.db", "root:image\n")
    stage.write(CFG, "spwd.db", "")
    up = stage.boot()
    assert is_itself(up) and up.files["/etc/spwd.db"] == "root:image\n", up.console


def test_recovery_mode_of_an_image_replaces_another_kind_too(stage: Stage) -> None:
    image_has(stage, "localtime", "/boot/nanozfs/image.conf")
    image_has(stage, "rc.d/site")
    for image in stage.images.values():
        for name in ("localtime", "rc.d/site"):
            path = os.path.join(image, "conf/recovery/etc", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write("for recovery\n")
    up = stage.boot()
    assert is_recovery(up) and noted(up) == [], up.console
    assert up.files["/etc/localtime"] == up.files["/etc/rc.d/site"] == "for recovery\n"


def test_recovery_mode_with_a_broken_rc_conf(stage: Stage) -> None:
    """A prompt would wait for somebody just where nobody can get in any more."""
    stage.add("conf/recovery/etc/rc.conf", 'hostname="recovery"\r\nsshd_enable="YES"\r\n')
    up = stage.boot()
    assert is_recovery(up), up.console
    assert 'sshd_enable="YES"\n' in up.files["/etc/rc.conf"] and "\r" not in up.files["/etc/rc.conf"]
    assert noted(up)[0].startswith("/conf/recovery/etc/rc.conf is broken: its lines end with CR;")


# local.conf


@pytest.mark.parametrize("line", ["NZ_DISK_TIMEOUT=08", "NZ_POOL_TIMEOUT=090", "NZ_TRIAL_TIMEOUT=009"])
def test_numbers_are_decimal(stage: Stage, line: str) -> None:
    installed(stage)
    stage.setting(line)
    stage.arm()
    stage.remember(timeout="0090")
    up = stage.boot()
    assert is_itself(up) and "a trial, for 90 seconds" in up.console, up.console


# the data


def test_a_dataset_that_cannot_be_mounted_costs_what_is_in_it(stage: Stage) -> None:
    """An encrypted one, say, whose key is not there; those below it are not mounted where it would hide them."""
    installed(stage)
    for name in ("vault", "vault/below", "vaulted", "file", "my data"):
        stage.command("zfs", "create", "tank/nanozfs/var/" + name)
    stage.write("tank/nanozfs/var/vaulted", "x", "1\n")
    stage.write("tank/nanozfs/var/my data", "x", "1\n")
    os.symlink("/etc", os.path.join(folder(stage, "tank/nanozfs/var"), "file"))
    stage.fault("fail", "mount", "-t", "zfs", "tank/nanozfs/var/vault")
    up = stage.boot()
    assert is_itself(up), up.console
    assert noted(up) == [
        "the dataset tank/nanozfs/var/file cannot be mounted: something else is in its place",
        "the dataset tank/nanozfs/var/vault cannot be mounted: it does not work",
        "the dataset tank/nanozfs/var/vault/below was not mounted: the one above it is missing",
    ]
    assert up.files["/var/vaulted/x"] == up.files["/var/my data/x"] == "1\n"


def test_a_mountpoint_that_cannot_be_read_is_said(stage: Stage) -> None:
    installed(stage)
    stage.fault("fail", "zfs", "get", "-H", "-o", "value", "mountpoint", "tank/nanozfs/var/log")
    up = stage.boot()
    assert is_itself(up), up.console
    assert noted(up) == ["the dataset tank/nanozfs/var/log was not mounted: its mountpoint cannot be told"]


def test_files_that_a_dataset_hides_are_said(stage: Stage) -> None:
    installed(stage)
    stage.write("tank/nanozfs/var", "db/pg/table", "years of data\n")
    stage.command("zfs", "create", "tank/nanozfs/var/db")
    up = stage.boot()
    assert is_itself(up), up.console
    assert noted(up) == ["the dataset tank/nanozfs/var/db hides files that are in /var/db, of the dataset above it"]
    assert noted(up)[0] in up.console and noted(up)[0] in up.files["/var/log/nanozfs.log"]


def test_recovery_mode_lets_go_of_names_with_blanks(stage: Stage) -> None:
    installed(stage)
    stage.command("zfs", "create", "tank/nanozfs/var/my data")
    stage.change("boot/nanozfs/pool.subr", "    mkdir -p /var/log\n", "    give_up why\n")
    up = stage.boot()
    assert is_recovery(up), up.console
    assert [each for each in stage.machine.running["mounts"] if each["type"] == "zfs"] == []


# the host


def test_a_pool_with_multihost(stage: Stage) -> None:
    """It is not imported without a hostid; the hook sets the one that rc.d/hostid will set."""
    installed(stage)
    stage.command("sysctl", "kern.hostid=7")
    stage.command("zpool", "set", "multihost=on", "tank")
    up = stage.boot()
    assert is_itself(up), up.console
    hostid = stage.machine.running["sysctl"]["kern.hostid"]
    for image in stage.images.values():
        with open(os.path.join(image, "conf/base/etc/rc.d/hostid"), encoding="utf-8") as file:
            script = file.read()
    assert "md5" in script
    stage.change("conf/default/etc/extract", "find_medium\n", "sh /etc/rc.d/hostid faststart\nfind_medium\n")
    stage.change("boot/nanozfs/early.subr", "set_hostid() {", "set_hostid() { return; }; x() {")
    assert is_itself(stage.boot())
    assert stage.machine.running["sysctl"]["kern.hostid"] == hostid != "0"


@pytest.mark.parametrize("uuid", ["00000000-0000-0000-0000-000000000000", "", "no-uuid"])
def test_a_board_that_does_not_say_which_it_is(stage: Stage, uuid: str) -> None:
    installed(stage)
    stage.command("sysctl", "kern.hostid=7")
    stage.command("zpool", "set", "multihost=on", "tank")
    for image in stage.images.values():
        with open(os.path.join(image, "bin/uuidgen"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho 3c4c4544-0000-2010-8020-80c04f202020\n")
        os.chmod(os.path.join(image, "bin/uuidgen"), 0o755)
    up = stage.boot(kenv={"smbios.system.uuid": uuid})
    assert is_itself(up), up.console
    assert len(up.files["/etc/hostid"].strip()) == 36, "rc.d/hostid would make another one"
