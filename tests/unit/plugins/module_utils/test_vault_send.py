# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host that sends a set back: what it sends, how, what it does when the line is cut, and what it says."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from dataclasses import asdict
from typing import Any, Callable, Dict, List, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import cli, send, state
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.send import Order, Sender
from ansible_collections.nanozfs.fleet.tests.unit.vault import KEY, Machine

TO = "/var/run/nanozfs/restore/0123abcd/into"
STATS = b"Number of files: 1,234 (reg: 1)\nTotal file size: 9,000,000 bytes\nTotal bytes sent: 4,000,000\n"


class Vault:
    """A backup host with two sets of web-1, and a line that does what it is told."""

    def __init__(self, base: str) -> None:
        self.machine = Machine(base, web_1={})
        self.places = self.machine.places
        self.ends: List[Tuple[int, str]] = []
        self.calls: List[Tuple[List[str], str]] = []
        self.slept: List[float] = []
        self.known: List[str] = []
        os.makedirs(self.places.conf)
        with open(self.places.key + ".pub", "w", encoding="ascii") as file:
            file.write(KEY + " nanozfs-backup@vault\n")
        self.tree = self.add("daily.0", "b", 2000, "ok")
        self.add("daily.1", "a", 1000, "ok")
        self.add("daily.2", "f", 500, "failed")
        for name in ("var/db/a\nb", "var/log/messages", "-rf"):
            os.makedirs(os.path.dirname(os.path.join(self.tree, name)), exist_ok=True)
            with open(os.path.join(self.tree, name), "w", encoding="ascii") as file:
                file.write("x" * 5000)

    def add(self, folder: str, ident: str, begun: int, result: str) -> str:
        path = os.path.join(self.machine.root, "rsnapshot", "web-1", folder)
        os.makedirs(path + "/tree")
        pull = state.Pull(ident, "web-1", begun, begun + 10, result, "rsnapshot", 9000000, 1234, 5 << 20, 5)
        with open(path + "/nanozfs-set.json", "w", encoding="utf-8") as file:
            json.dump(asdict(pull), file)
        with open(path + "/tree/nanozfs-host.json", "w", encoding="ascii") as file:
            json.dump({"format": 1, "host": "web-1"}, file)
        return path + "/tree"

    def run(self, argv: Sequence[str], folder: str, hear: Callable[[bytes], None]) -> Tuple[int, str]:
        self.calls.append((list(argv), folder))
        ssh = next(argv[at + 1] for at, word in enumerate(argv) if word == "-e").split()
        known = next(word for word in ssh if word.startswith("UserKnownHostsFile=")).partition("=")[2]
        if os.path.exists(known):
            with open(known, encoding="ascii") as file:
                self.known.append(file.read())
        code, errors = self.ends.pop(0) if self.ends else (0, "")
        if code == 0:
            for piece in (b"\r   1,000  4%  1.00MB/s    0:00:09 ", b"\r 1,048,576 12% 10.00MB/s    0:00:0", b"8 \r"):
                hear(piece)
            hear(b" 9,000,000 100%   10.00MB/s    0:00:01 (xfr#1, to-chk=0/2)\n" + STATS)
        return code, errors

    @property
    def sender(self) -> Sender:
        return Sender(self.machine.fleet, self.places, self.run, lambda: 5.0, self.slept.append)


@pytest.fixture
def vault(tmp_path: Any) -> Vault:
    return Vault(str(tmp_path))


def test_a_whole_set(vault: Vault) -> None:
    said: List[str] = []
    sent = vault.sender.send("web-1", Order(to=TO), said.append)
    ((argv, folder),) = vault.calls
    assert folder == vault.tree and argv[-2:] == ["./", "web-1:" + TO + "/"]
    assert {"-aHXS", "--partial", "--numeric-ids", "--exclude=/nanozfs-host.json"} <= set(argv)
    assert "--delete" in argv, "what an earlier rsync has left must not stay"
    assert said == ["web-1: 12 %, 1.0 MiB, 10.00MB/s, 0:00:08", "web-1: 100 %, 8.6 MiB, 10.00MB/s, 0:00:01"]
    assert sent[:3] == (9000000, 1234, 4000000) and sent.tries == 1
    assert vault.sender.rate("web-1", state.Pull("x", "web-1", 1, 2, "ok", "m")) == 4000000


@pytest.mark.parametrize(
    ("order", "source"),
    [
        (Order(to=TO, path="/var/db/a\nb"), "./var/db/a\nb"),
        (Order(to=TO, path="/-rf"), "./-rf"),
        (Order(to=TO, path="/var", contents=True, excludes=["/log"]), "./var/"),
        (Order(to=TO, path="/var", bandwidth=2048000), "./var"),
    ],
)
def test_a_part_of_it(vault: Vault, order: Order, source: str) -> None:
    vault.sender.send("web-1", order, lambda line: None)
    argv = vault.calls[0][0]
    assert argv[-2] == source and argv[-3] == "--"
    assert ("--bwlimit=2000" in argv) == bool(order.bandwidth)
    assert [word for word in argv if word.startswith("--exclude")] == [
        "--exclude={0}/".format(x) for x in order.excludes
    ]


def test_a_machine_that_is_not_the_host_yet(vault: Vault) -> None:
    vault.sender.send("web-1", Order(to=TO, address="192.0.2.99", port=2222, host_key=KEY), lambda line: None)
    argv = vault.calls[0][0]
    ssh = argv[argv.index("-e") + 1]
    assert "HostName=192.0.2.99" in ssh and "-p 2222" in ssh and vault.places.known_hosts not in ssh
    assert vault.known == ["web-1 " + KEY + "\n"], "it is known by that key, and no other counts"
    assert [name for name in os.listdir(vault.places.state) if name.startswith("known-")] == []


def test_what_was_cut_goes_on(vault: Vault) -> None:
    vault.ends = [
        (12, "rsync: connection unexpectedly closed"),
        (255, ""),
        (12, "files are arriving already\nSafe now: x"),
    ]
    said: List[str] = []
    assert vault.sender.send("web-1", Order(to=TO), said.append).tries == 4
    assert vault.slept == [5, 15, 30] and "the next try is in 5 seconds" in said[0]


def test_it_is_not_tried_for_ever(vault: Vault) -> None:
    vault.ends = [(12, "closed")] * 10
    with pytest.raises(FleetError, match="goes on where it was broken off"):
        vault.sender.send("web-1", Order(to=TO), lambda line: None)
    assert len(vault.calls) == 6


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            (12, "no restore is open on this host\nSafe now: nothing\nrsync: closed"),
            "web-1 refuses: no restore is open",
        ),
        ((255, "Host key verification failed."), "another machine answers in the place of web-1"),
        ((255, "root@web-1: Permission denied (publickey)."), "does not let this backup host in"),
        ((23, "rsync: mkstemp failed: No space left\nrsync error: some"), "some files could not be read or written"),
        ((11, "x\x1b[2J"), r"rsync 11: x\?\[2J"),
    ],
)
def test_what_no_other_try_mends(vault: Vault, end: Tuple[int, str], words: str) -> None:
    vault.ends = [end]
    with pytest.raises(FleetError, match=words):
        vault.sender.send("web-1", Order(to=TO), lambda line: None)
    assert len(vault.calls) == 1 and not vault.slept


def test_an_rsync_without_extended_attributes(vault: Vault) -> None:
    vault.ends = [(4, "rsync: extended attributes are not supported on this server")]
    sent = vault.sender.send("web-1", Order(to=TO), lambda line: None)
    assert ["-aHS" in argv for argv, _folder in vault.calls] == [False, True]
    assert sent.notes == ("extended attributes: rsync on web-1 knows none",)


@pytest.mark.parametrize(
    ("host", "order", "words"),
    [
        ("web-9", Order(to=TO), "is not among the hosts"),
        ("web-1", Order(to=TO, set="zz"), "there is no set 'zz'"),
        ("web-1", Order(to=TO, set="f"), "the set f of web-1 failed"),
        ("web-1", Order(to=TO, path="/nosuch"), "the set has no"),
        ("web-1", Order(to=TO, path="var"), "is no path"),
        ("web-1", Order(to=TO, path="/var/../.."), "is no path"),
        ("web-1", Order(to=TO, path="/link/passwd"), "the set has no"),
        ("web-1", Order(), "is no folder"),
        ("web-1", Order(to="/x y"), "is no folder"),
        ("web-1", Order(to=TO, address="-oProxyCommand=x"), "is no address"),
        ("web-1", Order(to=TO, host_key="ssh-rsa A\nB"), "is no public key"),
        ("web-1", Order(to=TO, excludes=["/*"]), "is no path to leave out"),
    ],
)
def test_what_is_refused(vault: Vault, host: str, order: Order, words: str) -> None:
    os.symlink("/etc", os.path.join(vault.tree, "link"))
    with pytest.raises(Refused, match=words):
        vault.sender.send(host, order, lambda line: None)
    assert vault.calls == []


def test_what_would_be_sent(vault: Vault) -> None:
    plan = vault.sender.plan("web-1", Order())
    assert (plan["label"], plan["kind"], plan["bytes"], plan["rate"]) == ("vault", "host", 9000000, 1 << 20)
    assert plan["set"]["id"] == "b" and plan["description"] == {"format": 1, "host": "web-1"}
    assert plan["key"].startswith("ssh-ed25519 ")
    folder = vault.sender.plan("web-1", Order(set="b", path="/var"))
    assert (folder["kind"], folder["files"]) == ("folder", 5) and folder["bytes"] >= 10000
    assert vault.sender.plan("web-1", Order(path="/-rf"))["kind"] == "file"
    os.unlink(os.path.join(vault.tree, "nanozfs-host.json"))
    os.symlink("/etc/passwd", os.path.join(vault.tree, "nanozfs-host.json"))
    with pytest.raises(FleetError, match=r"nanozfs-host\.json cannot be read"):
        vault.sender.plan("web-1", Order())


def test_only_one_at_a_time(vault: Vault) -> None:
    with state.locked(vault.places.lock("send-web-1")), pytest.raises(Refused, match="is being sent to web-1 already"):
        vault.sender.send("web-1", Order(to=TO), lambda line: None)


def test_what_has_several_names_counts_once(tmp_path: Any) -> None:
    with open(str(tmp_path / "a"), "wb") as file:
        file.write(b"x" * 40960)
    os.link(str(tmp_path / "a"), str(tmp_path / "b"))
    with open(str(tmp_path / "hole"), "wb") as file:
        file.truncate(1 << 30)
    size, files = send.measure(str(tmp_path))
    assert 40960 <= size < 2 * 40960 and files == 4


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_rsync_itself(vault: Vault, tmp_path: Any) -> None:
    """The program with a real rsync, and a stand-in for ssh: all arrives, and a second call sends nothing more."""
    target = tmp_path / "into"
    target.mkdir()
    ssh = vault.places.ssh
    os.makedirs(os.path.dirname(ssh))
    with open(ssh, "w", encoding="ascii") as file:
        file.write('#!/bin/sh\nwhile [ "$1" != web-1 ]; do shift; done\nshift\neval "exec $*"\n')
    os.chmod(ssh, 0o755)
    fleet: Dict[str, Any] = vault.machine.told
    with open(vault.places.fleet, "w", encoding="ascii") as file:
        json.dump(fleet, file)
    argv = ["send", "web-1", "--set", "b", "--to", str(target), "--json"]
    results = []
    for _turn in range(2):
        out, err = io.StringIO(), io.StringIO()
        assert cli.run(argv, vault.places, out, err) == 0, err.getvalue()
        results.append(json.loads(out.getvalue()))
    assert sorted(os.listdir(str(target))) == ["-rf", "var"]
    assert results[0]["sent"] > 500 and results[1]["sent"] < results[0]["sent"]
    out = io.StringIO()
    assert cli.run(["send", "web-1", "--check", "--path", "/var"], vault.places, out, sys.stderr) == 0
    assert json.loads(out.getvalue())["kind"] == "folder"
    out = io.StringIO()
    assert cli.run(["send", "web-1", "--to", str(target)], vault.places, out, sys.stderr) == 0
    assert "all of it has arrived: " in out.getvalue()
