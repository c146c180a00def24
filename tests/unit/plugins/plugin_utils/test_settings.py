# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings in the definition of an image."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from passlib.hash import sha512_crypt

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import keys, layout, settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.settings import Settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree, TreeError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEddyNy6mXc9xLJFHK/rKeMTEbvW0JnhWVQtyrVIQL5I admin"
USERS = "# users\nroot::0:0::0:0:Charlie &:/root:/bin/csh\ntoor:*:0:0::0:0:Bourne-again Superuser:/root:\n"


def checked(**values: Any) -> Settings:
    made = Settings(**values)
    settings.check(made, layout.VENDOR_SETTINGS, layout.LOADER_SETTINGS)
    return made


@pytest.mark.parametrize(
    "value, expected",
    [
        ("inet 10.0.0.1/24", "inet 10.0.0.1/24"),
        ('a "b" c', 'a "b" c'),
        ("it's $HOME `id` $(id) \\n", "it's $HOME `id` $(id) \\n"),
        ("", ""),
        (True, "YES"),
        (False, "NO"),
        (30, "30"),
    ],
)
def test_rc_conf_means_what_it_says(value: Any, expected: str) -> None:
    """As the shell reads it."""
    lines = settings.rc_lines(checked(rc_conf={"ntpd_flags": value}).rc_conf, (), "image_rc_conf")
    done = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf %s "$ntpd_flags"', "sh", lines], capture_output=True, text=True, check=True
    )
    assert done.stdout == expected


def test_rc_conf_is_in_order_and_as_people_write_it() -> None:
    lines = settings.rc_lines({"sshd_enable": True, "a_flags": "-4 x=y"}, (), "image_rc_conf")
    assert lines == 'a_flags="-4 x=y"\nsshd_enable="YES"\n'


def test_names_of_modules_have_dashes() -> None:
    """MODULEEXPR in stand/lua/config.lua."""
    assert settings.loader_lines({"rtwn-rtl8192cfwU_load": True}, (), "x") == 'rtwn-rtl8192cfwU_load="YES"\n'


def test_loader_conf_takes_what_it_would_expand_as_it_is() -> None:
    lines = settings.loader_lines({"hint.uart.0.at": "isa", "a": '$b\\"'}, (), "image_loader_conf")
    assert lines == 'a="\\$b\\\\\\""\nhint.uart.0.at="isa"\n'


@pytest.mark.parametrize(
    "values, said",
    [
        ({"rc_conf": {"gptboot_enable": "YES"}}, "gptboot_enable in image_rc_conf is set by the layout"),
        ({"recovery_rc_conf": {"root_rw_mount": "YES"}}, "root_rw_mount in image_recovery_rc_conf"),
        ({"loader_conf": {"zfs_load": "NO"}}, "zfs_load in image_loader_conf is set by the layout"),
        ({"rc_conf": {"a;reboot": "x"}}, "no name for a setting"),
        ({"rc_conf": {True: "x", "a": "x"}}, "True is no name for a setting"),
        ({"rc_conf": {"kern.maxfiles": "x"}}, "no name for a setting"),
        ({"loader_conf": {"a b": "x"}}, "no name for a setting"),
        ({"rc_conf": {"a": "x\ny"}}, "line feed"),
        ({"rc_conf": {"a": {"x": 1}}}, "must be text or a number"),
        ({"loader_conf": {"a": ["x"]}}, "must be text or a number"),
        ({"recovery_ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "no public ssh key"),
        ({"recovery_ssh_keys": [KEY[:60]]}, "no public ssh key"),
        ({"recovery_ssh_keys": [KEY + "\n" + KEY]}, "no public ssh key"),
        ({"recovery_root_hash": "secret"}, "is no hash"),
        ({"recovery_root_hash": "correcthorses"}, "is no hash"),
        ({"recovery_root_hash": "$ecret$word"}, "is no hash"),
        ({"recovery_root_hash": "$6$a$b:0"}, "is no hash"),
    ],
)
def test_refusals(values: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        checked(**values)


@pytest.mark.parametrize(
    "line, before",
    [
        (KEY, []),
        (KEY + "'s key, \"old", []),
        ('command="echo \\"ssh-rsa AAAA\\" x",from="a b" ' + KEY, ['command="echo \\"ssh-rsa AAAA\\" x",from="a b"']),
        ('a@x cert-authority namespaces="a,b" ' + KEY, ["a@x", "cert-authority", 'namespaces="a,b"']),
    ],
)
def test_public_keys(line: str, before: Any) -> None:
    found = keys.find(line)
    assert found is not None and [found.before, found.kind, found.blob] == [before, *KEY.split()[:2]]


@pytest.mark.parametrize(
    "line",
    ["", "# " + KEY, "#" + KEY, "ssh-ed25519", KEY.replace("AAAA", "AAAB"), "ssh-rsa " + KEY.split()[1], KEY[:-8]],
)
def test_no_public_keys(line: str) -> None:
    assert keys.find(line) is None


def test_recovery_mode() -> None:
    tree = Tree()
    tree.write("etc/master.passwd", USERS, 0o600)
    tree.write("conf/recovery/etc/rc.conf", 'ifconfig_DEFAULT="SYNCDHCP"')
    made = checked(
        recovery_rc_conf={"defaultrouter": "10.0.0.1"},
        recovery_ssh_keys=['from="10.0.0.0/8" ' + KEY, KEY + "\n"],
        recovery_root_hash="$6$salt$hash",
    )
    settings.apply_recovery(tree, made, layout.VENDOR_SETTINGS)
    text = {path: tree.get("conf/recovery/etc/" + path).content().decode() for path in ("rc.conf", "master.passwd")}
    assert text["rc.conf"] == 'ifconfig_DEFAULT="SYNCDHCP"\ndefaultrouter="10.0.0.1"\n'
    assert text["master.passwd"] == USERS.replace("root::", "root:$6$salt$hash:")
    keys = tree.get("conf/recovery/etc/rootssh/authorized_keys")
    assert keys.content().decode() == 'from="10.0.0.0/8" {0}\n{0}\n'.format(KEY)
    modes = [tree.get("conf/recovery/etc/" + path).mode for path in ("rootssh", "master.passwd")]
    assert (keys.mode, modes) == (0o600, [0o700, 0o600])
    assert tree.get("etc/master.passwd").content().decode() == USERS, "only recovery mode has the password"


def test_recovery_mode_without_root() -> None:
    with pytest.raises(TreeError, match="has no such user"):
        settings.apply_recovery(Tree(), checked(recovery_root_hash="$6$salt$hash"), ())


def test_a_password_has_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which crypt(3) of this machine takes for the same password, and which is another for another image."""
    monkeypatch.setattr(settings, "ROUNDS", 1000)
    hashed = settings.hash_password("correct horse", "web")
    assert hashed == settings.hash_password("correct horse", "web")
    assert sha512_crypt.verify("correct horse", hashed) and not sha512_crypt.verify("wrong", hashed)
    salts = {
        settings.hash_password(*pair).split("$")[3] for pair in (("correct horse", "web"), ("x", "web"), ("x", "y"))
    }
    assert len(salts) == 3
    checked(recovery_root_hash=hashed)


def test_without_passlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "passlib.hash", None)
    with pytest.raises(FleetError, match="install passlib"):
        settings.hash_password("x", "web")


def test_metrics_are_written_by_cron() -> None:
    assert settings.cron_lines("") == ""
    *_head, line = settings.cron_lines("/var/tmp/node_exporter/nanozfs.prom").splitlines()
    times, user, command = line.split("\t")[:5], line.split("\t")[5], line.split("\t")[6]
    assert (times, user) == (["*/5", "*", "*", "*", "*"], "root") and "%" not in command
    assert " /usr/local/sbin/nanozfs metrics --write /var/tmp/node_exporter/nanozfs.prom " in command


@pytest.mark.parametrize(
    "path", ["nanozfs.prom", "/var/x", "/var/../etc/x.prom", "/a b.prom", "/x;reboot.prom", "/x%.prom", "/x.prom\n"]
)
def test_metrics_need_a_plain_path(path: str) -> None:
    with pytest.raises(Refused, match="image_metrics"):
        settings.cron_lines(path)
