# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulling a host by zfs send: both sides, on two machines of the model."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import struct
import sys
import time
from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import config, execute, gate, sets, state, zfssend
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import REFUSED, Outcome, Vault
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.send import Order, Sender, alone
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import FAILED, OK, PARTIAL
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.verify import Look, Verifier
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp
from ansible_collections.nanozfs.fleet.tests.unit.pooled_vault import DAY, GIB, TOP, PooledVault
from ansible_collections.nanozfs.fleet.tests.unit.vault import said

VAR = "tank:nanozfs:var"


def called(name: str) -> str:
    return zfssend.called("tank/nanozfs/" + name)


@pytest.fixture
def vault(backed_up: BackedUp, tmp_path: Any) -> PooledVault:
    folder = tmp_path / "vault"
    folder.mkdir()
    return PooledVault(str(folder), backed_up)


def marks(vault: PooledVault) -> List[str]:
    return [each.name for each in vault.host.exposing().marks("tank")]


def encrypt(vault: PooledVault, dataset: str) -> None:
    """Have a dataset of the host be an encrypted one."""
    crypt = {"encryption": "aes-256-gcm", "keyformat": "passphrase", "keylocation": "prompt", "root": 0}
    machine = vault.host.host.machine
    with machine.locked():
        pool = pools.Pools(machine).by_name("tank")
        assert pool is not None
        record = pool.datasets[dataset]
        record["crypt"] = dict(crypt, root=record["object"])
        pool.save()


class TestPull:
    def test_all_and_then_what_has_changed(self, vault: PooledVault) -> None:
        first = vault.pull()
        assert first.result == OK, first.says
        assert [each.get("base", "") for each in vault.wishes] == [""] * 4
        vault.host.host.write("tank/nanozfs/var", "data", "changed\n")
        second = vault.pull(DAY)
        assert second.result == OK, second.says
        assert all(each["base"].isdigit() for each in vault.wishes[4:]) and len(vault.wishes) == 8
        assert all("-i" in argv and "#nanozfs-backup-vault-" in argv[argv.index("-i") + 1] for argv in vault.sent[4:])
        new, old = vault.kept()
        assert (vault.read(new, "var/data"), vault.read(old, "var/data")) == ("changed\n", "var\n")
        assert vault.read(new, "var/log/messages") == "log\n"
        assert json.loads(vault.read(new, sets.DESCRIPTION))["tag"] == new.pull.tag
        assert vault.read(new, "cfg/rc.conf") == 'hostname="web-1"\n'
        assert new.pull.bytes > 0 and new.pull.sent > 0 and new.pull.method == "send"

    def test_the_source_keeps_bookmarks_and_no_snapshot(self, vault: PooledVault) -> None:
        for _night in range(5):
            assert vault.pull(DAY).result == OK
        assert len(marks(vault)) == 4 * 3
        assert not [each for each in vault.host.zfs.snapshots("tank", recursive=True) if "backup" in each.tag]

    def test_nothing_is_ever_mounted_or_written_to(self, vault: PooledVault) -> None:
        vault.pull()
        for name in vault.datasets():
            values = vault.zfs.values("{0}/web-1/{1}".format(TOP, name), ["mountpoint", "readonly", "mounted"])
            assert values == {"mountpoint": "none", "readonly": "on", "mounted": "no"}
        receiving = [order.target for order in vault.orders]
        assert all(argv[:4] == ["zfs", "receive", "-s", "-u"] and len(argv) == 5 for argv in receiving)

    def test_user_limit_and_time(self, vault: PooledVault) -> None:
        vault.told["user"] = "backup"
        vault.told["hosts"]["web-1"]["bandwidth"] = 1000
        vault.pull()
        assert {(order.user, order.limit, order.seconds) for order in vault.orders} == {("backup", 1000, None)}

    def test_an_encrypted_dataset_comes_as_it_is(self, vault: PooledVault) -> None:
        encrypt(vault, "nanozfs/var/db")
        assert vault.pull().result == OK
        (argv,) = [each for each in vault.sent if each[-1].startswith("tank/nanozfs/var/db@")]
        assert argv[2:3] == ["-w"]
        (only,) = vault.kept()
        with pytest.raises(Refused, match="its key is not loaded here") as refused:
            vault.read(only, "var/db/table")
        assert "zfs load-key {0}/web-1/{1}".format(TOP, called("var/db")) in str(refused.value)
        vault.command("zfs", "load-key", "{0}/web-1/{1}".format(TOP, called("var/db")))
        assert vault.read(only, "var/db/table") == "db\n"

    def test_two_backup_hosts_never_meet(
        self, vault: PooledVault, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vault.pull()
        mine = marks(vault)
        other = vault.host.begin("other")
        arrived = [each.guid for each in vault.host.zfs.snapshots("tank", recursive=True) if each.tag == other["tag"]]
        answer = vault.host.ask(
            "nanozfs-backup end",
            {"result": "ok", "method": "send", "begun": 1, "ended": 2, "arrived": arrived},
            label="other",
        )
        assert answer.rc == 0, answer
        assert len(vault.host.exposing("other").marks("tank")) == 4 and marks(vault) == mine
        assert vault.pull(DAY).result == OK
        assert len(vault.host.exposing("other").marks("tank")) == 4
        vault.host.exposing("other").forget_marks("tank")
        assert len(marks(vault)) == 8 and not vault.host.exposing("other").marks("tank")


class TestCut:
    def test_it_goes_on_where_it_was_cut(self, vault: PooledVault) -> None:
        vault.cuts = [None, 2000]
        cut = vault.pull()
        assert cut.result == FAILED and "cut while tank/nanozfs/var came; the next try goes on there" in cut.says
        assert vault.ended[-1][1]["keep"] is True and len(vault.ended[-1][1]["arrived"]) == 1
        assert not vault.kept()
        again = vault.pull(900)
        assert again.result == OK and "going on from the last try" in again.says
        # what had come whole is not asked for again, and the other by its token
        assert ["token" in each for each in vault.wishes] == [False, False, True, False, False]
        assert vault.read(vault.kept()[0], "var/data") == "var\n"

    def test_a_line_that_is_cut_before_anything_came(self, vault: PooledVault) -> None:
        vault.cuts = [0]
        cut = vault.pull()
        assert cut.result == FAILED and "the line was cut" in cut.says and vault.ended[-1][1]["keep"] is True
        assert vault.pull(900).result == OK

    def test_what_the_host_has_no_more_is_dropped(self, vault: PooledVault) -> None:
        assert vault.pull().result == OK
        vault.host.host.write("tank/nanozfs/var", "data", "two\n")
        vault.cuts = [None, 2000]
        assert vault.pull(DAY).result == FAILED
        vault.host.restart()
        vault.host.host.write("tank/nanozfs/var", "data", "three\n")
        again = vault.pull(900)
        assert again.result == OK, again.says
        assert vault.read(vault.kept()[0], "var/data") == "three\n"
        assert "-i" in vault.sent[-1]

    def test_a_first_set_may_take_several_snapshots(self, vault: PooledVault) -> None:
        vault.cuts = [None, None, 1000]
        assert vault.pull().result == FAILED
        vault.host.restart()
        assert vault.pull(DAY).result == OK
        # of the two that had come only what has changed since
        assert sum("base" in each for each in vault.wishes) == 2

    def test_the_window_closes(self, vault: PooledVault, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            vault, "flow", lambda order: execute.Flowed(500, -15, "", 1, "incomplete stream", late=True)
        )
        late = vault.pull()
        assert late.result == FAILED and "its window closed" in late.says and vault.ended[-1][1]["keep"] is True


class TestBad:
    def test_a_bookmark_destroyed_by_hand(self, vault: PooledVault) -> None:
        vault.pull()
        for each in marks(vault):
            vault.host.zfs.destroy_bookmark(each)
        found = vault.pull(DAY)
        assert found.result == OK and "comes as a whole again" in found.says
        assert len(vault.datasets()) == 8  # the old ones are beside
        new, old = vault.kept()
        assert vault.read(old, "var/data") == vault.read(new, "var/data") == "var\n"
        assert vault.pull(DAY).result == OK
        assert all("base" in each for each in vault.wishes[-4:])

    def test_a_host_that_was_not_told(self, vault: PooledVault) -> None:
        """It has no bookmarks of the last set: an older one cannot do, as a set has what came after it."""
        vault.pull()
        for each in marks(vault):
            vault.host.zfs.destroy_bookmark(each)
        assert "whole again" in vault.pull(DAY).says
        assert vault.pull(DAY).result == OK
        newest = max(marks(vault))
        vault.host.zfs.destroy_bookmark(newest)
        found = vault.pull(DAY)
        assert found.result == OK and found.says.count("comes as a whole again") == 1
        assert all(each.pull.result == OK for each in vault.kept())

    def test_a_snapshot_destroyed_by_hand_on_the_host(self, vault: PooledVault) -> None:
        vault.cuts = [None, 2000]
        vault.pull()
        tag = vault.host.begin()["tag"]
        (log,) = [each for each in vault.host.exposing().shown().datasets if each.dataset.endswith("/var/log")]
        vault.host.host.command("umount", "-f", os.path.join(vault.host.exposing().root, log.path))
        name = "tank/nanozfs/var/log@" + tag
        vault.host.host.command("zfs", "release", "nanozfs-backup-vault", name)
        vault.host.host.command("zfs", "destroy", name)
        found = vault.pull(900)
        assert found.result == OK and "cannot be gone on with" in found.says
        assert len(vault.kept()) == 1

    def test_a_snapshot_destroyed_by_hand_here(self, vault: PooledVault) -> None:
        vault.pull()
        vault.host.host.write("tank/nanozfs/var", "data", "two\n")
        vault.pull(DAY)
        old = vault.kept()[-1]
        vault.command("zfs", "destroy", "{0}/web-1/{1}@{2}".format(TOP, called("var"), old.pull.tag))
        found = vault.pull(DAY)
        assert found.result == OK and "the set {0} is not whole".format(old.pull.id) in found.says
        assert vault.kept()[-1].pull.result == PARTIAL
        with pytest.raises(FleetError):
            vault.read(vault.kept()[-1], "var/data")

    def test_it_is_full(self, vault: PooledVault) -> None:
        vault.told["reserve"] = 5
        assert vault.pull().result == OK
        with vault.model.locked():
            pools.fill(vault.model, "bank", 0)
        full = vault.pull(DAY)
        assert full.result == REFUSED and "the backup host is full" in full.says
        with vault.model.locked():
            pools.fill(vault.model, "bank", 100 << 20)
        assert vault.pull(900).result == OK

    def test_it_becomes_full(self, vault: PooledVault) -> None:
        def fill(data: bytes) -> bytes:
            with vault.model.locked():
                pools.fill(vault.model, "bank", 0)
            return data

        vault.forge = fill
        full = vault.pull()
        assert full.result == FAILED and "the backup host is full" in full.says
        assert "keep" not in vault.ended[-1][1]

    def test_somebody_has_written_into_what_was_received(self, vault: PooledVault) -> None:
        """Whatever became of the source: what zfs receive says is what is said, and nobody waits for a line."""
        words = "cannot receive incremental stream: destination x has been modified\nsince most recent snapshot\n"
        went = execute.Flowed(500, -15, "", 1, words)
        found = zfssend.ZfsSend._failed(gate.Stream("tank/a", "a", "7", False, ()), went)
        assert found.code == 1 and "has been modified since most recent snapshot" in found.said

    def test_a_first_set_that_was_large_is_no_measure(self, vault: PooledVault) -> None:
        first = vault.pull()
        assert first.pull is not None
        with vault.model.locked():
            pools.fill(vault.model, "bank", first.pull.sent // 2 + (9 << 20))
        assert vault.pull(DAY).result == OK

    def test_a_clock_that_has_jumped(self, vault: PooledVault) -> None:
        vault.told["hosts"]["web-1"]["retain"] = {"daily": 2}
        for _night in range(2):
            vault.pull(DAY)
        vault.now += 400 * DAY
        found = vault.pull()
        assert found.result == OK and "nothing was expired" in found.says and len(vault.kept()) == 3

    def test_a_dataset_is_new_and_another_gone(self, vault: PooledVault) -> None:
        vault.told["hosts"]["web-1"]["retain"] = {"daily": 2}
        vault.pull()
        vault.host.host.command("zfs", "create", "-o", "mountpoint=legacy", "tank/nanozfs/var/new")
        vault.host.mount("var/new")
        vault.host.host.write("tank/nanozfs/var/new", "f", "new\n")
        vault.host.host.command("zfs", "set", "nanozfs:backup=skip", "tank/nanozfs/var/log")
        found = vault.pull(DAY)
        assert found.result == OK, found.says
        assert vault.read(vault.kept()[0], "var/new/f") == "new\n"
        assert vault.read(vault.kept()[-1], "var/log/messages") == "log\n"
        assert called("var/log") in vault.datasets()
        for _night in range(3):
            vault.pull(DAY)
        assert called("var/log") not in vault.datasets() and called("var/new") in vault.datasets()
        assert len(vault.kept()) == 2

    def test_a_host_was_renamed(self, vault: PooledVault) -> None:
        vault.pull()
        host = vault.told["hosts"].pop("web-1")
        vault.told["hosts"]["web-1"] = dict(host, previous=["old-1"])
        vault.command("zfs", "rename", TOP + "/web-1", TOP + "/old-1")
        os.rename(os.path.join(vault.root, "send/web-1"), os.path.join(vault.root, "send/old-1"))
        found = vault.pull(DAY)
        assert found.result == OK and "the sets of old-1 are its own now" in found.says
        assert len(vault.kept()) == 2 and vault.read(vault.kept()[1], "var/data") == "var\n"
        assert all("base" in each for each in vault.wishes[-4:])
        vault.command("zfs", "create", TOP + "/old-1")
        found = vault.pull(DAY)
        assert found.result == REFUSED and "which is to be its name of before" in found.says

    def test_the_pool_is_not_there(self, vault: PooledVault) -> None:
        vault.told["dataset"] = "other/backups"
        found = vault.pull()
        assert found.result == REFUSED and "the dataset other/backups is not there" in found.says

    def test_a_name_that_cannot_be_read_as_another(self) -> None:
        names = ["tank/a/b", "tank/a:b", "tank:a/b", "tank/a b", "tank/" + "x" * 200, "tank/" + "x" * 201]
        names += ["tank/a.20261130T220501Z", "tank/a", "tank/" + zfssend.called("tank/a:b").partition(":")[2]]
        assert len({zfssend.called(name) for name in names}) == len(names)
        # with "." and the id of a set behind it, none is what another one is called
        assert not any(zfssend._AGAIN.search(zfssend.called(name)) for name in names)
        assert zfssend.called("tank/nanozfs/var/log") == "tank:nanozfs:var:log"
        assert all(len(zfssend.called(name)) <= 53 for name in names)

    def test_a_name_that_looks_as_if_it_had_come_again(self) -> None:
        names = ["tank:a", "tank:a.oldZ", "tank:a.20261130T220501Z", "tank:a.20261129T220501Z", "tank:a.b"]
        assert zfssend.ZfsSend._latest("tank/a", names) == "tank:a.20261130T220501Z"
        assert zfssend.ZfsSend._latest("tank/a", names[:2]) == "tank:a"
        assert zfssend.ZfsSend._latest("tank/a", names[1:2]) == ""

    def test_records_that_were_lost(self, vault: PooledVault) -> None:
        """The disk with the records is a new one, and the pool is the old one: what is there stays for its time."""
        vault.told["hosts"]["web-1"]["retain"] = {"daily": 5}
        vault.pull()
        vault.pull(DAY)
        before = set(vault.snapshots())
        shutil.rmtree(os.path.join(vault.root, "send/web-1"))
        assert vault.pull(DAY).result == OK
        assert before < set(vault.snapshots()) and len(vault.kept()) == 1
        for _night in range(4):
            vault.pull(DAY)
        assert not before & set(vault.snapshots())

    def test_a_record_that_cannot_be_read(self, vault: PooledVault) -> None:
        vault.pull()
        old = vault.kept()[0]
        with open(os.path.join(old.folder, sets.RECORD), "w", encoding="ascii") as file:
            file.write("{")
        found = vault.pull(DAY)
        assert "nothing was expired, as the record of the set {0} cannot be read".format(old.name) in found.says
        assert any(each.endswith("@" + old.pull.tag) for each in vault.snapshots())

    def test_what_a_person_has_made_there_stays(self, vault: PooledVault) -> None:
        vault.pull()
        vault.command("zfs", "create", TOP + "/web-1/mine")
        assert vault.pull(DAY).result == OK and "mine" in vault.datasets()

    def test_a_snapshot_of_somebody_else(self, vault: PooledVault) -> None:
        """All of it each night would be worse than none, and nobody destroys what a person has taken."""
        vault.pull()
        name = "{0}/web-1/{1}@hourly".format(TOP, called("var"))
        vault.command("zfs", "snapshot", name)
        found = vault.pull(DAY)
        assert found.result == FAILED and "{0} is none of ours".format(name) in found.says
        vault.command("zfs", "destroy", name)
        assert vault.pull(900).result == OK

    def test_a_dataset_without_any_snapshot(self, vault: PooledVault) -> None:
        """All were destroyed by hand: nothing can be received into what is there."""
        vault.pull()
        vault.command("zfs", "destroy", "{0}/web-1/{1}@{2}".format(TOP, called("var/log"), vault.kept()[0].pull.tag))
        found = vault.pull(DAY)
        assert found.result == OK and "comes as a whole again" in found.says
        assert vault.read(vault.kept()[0], "var/log/messages") == "log\n"

    def test_nothing_expires_while_a_set_is_read(self, vault: PooledVault) -> None:
        vault.told["hosts"]["web-1"]["retain"] = {"daily": 1}
        vault.pull()
        with alone(vault.places, "web-1"):
            found = vault.pull(2 * DAY)
        assert found.result == OK and "nothing was expired, as a set is being read" in found.says
        assert len(vault.kept()) == 2 and vault.read(vault.kept()[1], "var/data") == "var\n"
        vault.pull(900)
        assert [each.pull.result for each in vault.kept()] == [OK, OK]
        assert len({each.partition("@")[2] for each in vault.snapshots()}) == 2

    def test_a_host_cannot_take_the_room_of_the_others(self, vault: PooledVault) -> None:
        vault.told["reserve"] = 50
        assert vault.pull().result == OK
        assert all(0 < (each.most or 0) < GIB // 2 for each in vault.orders)
        went = execute.Flowed(500, -15, "", 1, "incomplete stream", full=True)
        found = zfssend.ZfsSend._failed(gate.Stream("tank/a", "a", "7", False, ()), went)
        assert found.full and "is full" in found.said

    @pytest.mark.parametrize(
        "change",
        [
            {"dataset": "-o/a"}, {"dataset": "tank/a@b"}, {"dataset": "tank/../a"}, {"dataset": "tank/a\nb"},
            {"dataset": "x" * 300}, {"dataset": ""}, {"dataset": 7},
            {"path": "a\nb"}, {"path": "../../etc"}, {"path": "/etc"}, {"path": "a//b"}, {"path": ""}, {"path": "a\0b"},
            {"guid": "-1"}, {"guid": "x"}, {"guid": 5}, {"raw": "yes"}, {"bases": "all"}, {"bases": ["$(id)"]},
        ],
    )  # fmt: skip
    def test_a_host_that_says_nonsense(self, change: Any) -> None:
        entry = dict({"dataset": "tank/a", "path": "a", "guid": "7", "raw": False, "bases": ["5"]}, **change)
        with pytest.raises(FleetError, match="is not what `nanozfs backup` says"):
            gate.streams_of({"tag": "t", "datasets": [entry]}, "t")

    def test_a_host_that_says_it_twice(self) -> None:
        entry = {"dataset": "tank/a", "path": "a", "guid": "7", "raw": False, "bases": []}
        assert gate.streams_of({"tag": "t", "datasets": [entry]}, "t")[0].path == "a"
        for other in ({"path": "b"}, {"dataset": "tank/b"}):
            with pytest.raises(FleetError):
                gate.streams_of({"tag": "t", "datasets": [entry, dict(entry, **other)]}, "t")
        with pytest.raises(FleetError):
            gate.streams_of({"tag": "t", "datasets": [entry]}, "another")


class TestForged:
    """A host that was broken into sends what it likes; zfs receive sees none of it."""

    @pytest.mark.parametrize(
        ("at", "form", "value", "says"),
        [
            (8, "<Q", 7, "no stream of zfs send"),
            (16, "<Q", 2, "another kind"),  # a package, which has properties and names of its own
            (16, "<Q", 1 | 1 << 21 << 2, "another kind"),
            (32, "<I", 3, "another kind"),
            (36, "<I", 1, "another kind"),
            (40, "<Q", 7, "another snapshot than was asked for"),
            (48, "<Q", 7, "begins at another snapshot"),
            (56, "<Q", 0, "another snapshot than was asked for"),
            (16, "<Q", 1 | 1 << 24 << 2, "is encrypted, and should not be"),
        ],
    )
    def test_the_first_record(self, vault: PooledVault, at: int, form: str, value: int, says: str) -> None:
        def forge(data: bytes) -> bytes:
            if at == 56:
                tag = data[at : at + 256].rstrip(b"\0").partition(b"@")[2]
                return data[:at] + (b"tank/other@snapshot\0@" + tag).ljust(256, b"\0") + data[at + 256 :]
            size = struct.calcsize(form)
            return data[:at] + struct.pack(form, value) + data[at + size :]

        vault.forge = forge
        found = vault.pull()
        assert found.result == FAILED and "is not taken" in found.says and says in found.says
        assert not vault.datasets() and "keep" not in vault.ended[-1][1]

    def test_a_machine_with_the_other_order_of_bytes(self) -> None:
        stream = gate.Stream("tank/a", "a", "7", True, ("5",))
        head = struct.pack(">IIQQQIIQQ256s", 0, 0, 0x2F5BACBAC, 1 | 1 << 26, 0, 2, 0, 7, 5, b"tank/a@t")
        assert zfssend.judge(head, "t", stream, "5") == ""
        assert "begins at another" in zfssend.judge(head, "t", stream, "")


class TestGate:
    def test_only_what_is_shown(self, vault: PooledVault) -> None:
        vault.host.begin()
        for wish in (
            {"dataset": "tank"}, {"dataset": "tank/nanozfs/var@x"}, {"dataset": "-R"},
            {"dataset": "tank/nanozfs/failed"},
        ):  # fmt: skip
            answer = vault.host.ask("nanozfs-backup send", wish)
            assert answer.rc == 3 and "is not among what is shown" in answer.err

    @pytest.mark.parametrize(
        "text",
        [
            "", "x", "[]", "{}", '{"dataset": 7}', '{"dataset": "tank", "more": 1}', '{"dataset": "a", "base": "x"}',
            '{"dataset": "a", "token": "-R"}', '{"dataset": "a", "token": "1-a-b-c; id"}',
            '{"dataset": "a", "token": "1-1-ffffffffff-00"}', "[" * 9000,
        ],
    )  # fmt: skip
    def test_what_makes_no_sense(self, vault: PooledVault, text: str) -> None:
        vault.host.begin()
        answer = vault.host.ask("nanozfs-backup send", text)
        assert answer.rc == 3 and "makes no sense" in answer.err and not vault.host.execed

    def test_nothing_is_shown(self, vault: PooledVault) -> None:
        for verb in ("send", "datasets"):
            answer = vault.host.ask("nanozfs-backup " + verb, {"dataset": "tank/nanozfs/var"})
            assert answer.rc == 3 and "nothing is shown" in answer.err

    def test_a_bookmark_that_is_not_there(self, vault: PooledVault) -> None:
        vault.host.begin()
        answer = vault.host.ask("nanozfs-backup send", {"dataset": "tank/nanozfs/var", "base": "12345"})
        assert answer.rc == 3 and "has no bookmark" in answer.err

    def test_a_bookmark_of_somebody_else(self, vault: PooledVault) -> None:
        tag = vault.host.begin()["tag"]
        name = "tank/nanozfs/var@" + tag
        vault.host.host.command("zfs", "bookmark", name, "tank/nanozfs/var#mine")
        guid = vault.host.zfs.value(name, "guid")
        answer = vault.host.ask("nanozfs-backup send", {"dataset": "tank/nanozfs/var", "base": guid})
        assert answer.rc == 3 and "has no bookmark" in answer.err

    def token(self, **fields: Any) -> str:
        packed = json.dumps(dict({"object": 1, "offset": 5, "bytes": 5}, **fields)).encode().hex()
        return "1-1-{0:x}-{1}".format(len(packed) // 2, packed)

    def test_a_token_of_another_snapshot(self, vault: PooledVault) -> None:
        """The key of a backup host reads what is shown, and a token is looked for in the whole pool."""
        vault.host.host.command("zfs", "snapshot", "tank/nanozfs@secret")
        secret = int(vault.host.zfs.value("tank/nanozfs@secret", "guid"))
        tag = vault.host.begin()["tag"]
        name = "tank/nanozfs/var@" + tag
        good = int(vault.host.zfs.value(name, "guid"))
        log = int(vault.host.zfs.value("tank/nanozfs/var/log@" + tag, "guid"))
        tokens = [
            self.token(toguid=secret, toname="tank/nanozfs@secret"),
            self.token(toguid=secret, toname=name),
            self.token(toguid=secret, toname="{0}\n\ttoguid = {1:#x}".format(name, good)),
            self.token(toguid=log, toname="tank/nanozfs/var/log@" + tag),
            self.token(toguid=1, toname=name),
            self.token(toguid=good, toname=name, rawok=True),
        ]
        for token in tokens:
            answer = vault.host.ask("nanozfs-backup send", {"dataset": "tank/nanozfs/var", "token": token})
            assert answer.rc == 3 and "cannot be gone on with" in answer.err and not vault.host.execed
        with pytest.raises(SystemExit):
            vault.host.ask(
                "nanozfs-backup send", {"dataset": "tank/nanozfs/var", "token": self.token(toguid=good, toname=name)}
            )
        assert vault.host.execed[-1][:3] == ["zfs", "send", "-t"]

    def test_it_counts_as_being_read(self, vault: PooledVault) -> None:
        vault.host.begin()
        with pytest.raises(SystemExit):
            vault.host.ask("nanozfs-backup send", {"dataset": "tank/nanozfs/var"})
        assert vault.host.exposing().reading()


class TestVerify:
    """What is in a pool is mounted, and then it is looked into as into any other set."""

    def verify(self, vault: PooledVault, **look: Any) -> Outcome:
        told: List[Outcome] = []
        verifier = Verifier(Vault(vault.fleet, vault.places, vault.run, vault.clock, vault.flow))
        return verifier.run(["web-1"], Look(**{"seed": "7", "now": True, **look}), told.append)[0]

    @pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
    def test_a_set(self, vault: PooledVault) -> None:
        vault.pull()
        assert "would restore and compare" in self.verify(vault, check=True).says
        found = self.verify(vault)
        assert found.result == OK and "verified: " in found.says, found.says
        assert vault.kept()[0].verified is not None
        vault.model.load()
        assert not vault.model.running["mounts"]
        with alone(vault.places, "web-1"):
            assert "being sent to web-1 already" in self.verify(vault).says

    def test_a_key_that_is_not_here(self, vault: PooledVault) -> None:
        encrypt(vault, "nanozfs/var/db")
        vault.pull()
        found = self.verify(vault)
        assert found.result == REFUSED and "not verified: " in found.says and "its key is not loaded here" in found.says

    def test_it_goes_with_its_set(self, vault: PooledVault) -> None:
        vault.told["hosts"]["web-1"]["retain"] = {"daily": 1}
        vault.pull()
        old = vault.kept()[0]
        state.write_json(os.path.join(old.folder, sets.VERIFIED), {})
        vault.pull(2 * DAY)
        assert not os.path.exists(old.folder)


class TestRestore:
    def test_a_file_of_a_set(self, vault: PooledVault, monkeypatch: pytest.MonkeyPatch) -> None:
        vault.pull()
        monkeypatch.setattr(Sender, "public_key", lambda self: "key")
        seen: List[Any] = []

        def stream(argv: Any, folder: str, hear: Any) -> Any:
            seen.append((argv[-2], vault.text(os.path.join(folder, argv[-2]))))
            return 0, ""

        sender = Sender(vault.fleet, vault.places, stream, vault.clock, commands=vault.run)
        path = "/" + vault.inner("var/data")
        order = Order(path=path, to="/tmp/x")
        plan = sender.plan("web-1", order)
        assert (plan["kind"], plan["set"]["method"], plan["description"]["host"]) == ("file", "send", "web-1")
        sender.send("web-1", order, lambda line: None)
        assert seen == [("." + path, "var\n")]
        vault.model.load()
        assert not vault.model.running["mounts"]
        with pytest.raises(Refused, match="the set has no"):
            sender.plan("web-1", Order(path="/var/none", to="/tmp/x"))
        vault.model.load()
        assert not vault.model.running["mounts"]

    def test_what_one_that_was_killed_has_left(self, vault: PooledVault, monkeypatch: pytest.MonkeyPatch) -> None:
        vault.pull()
        (only,) = vault.kept()
        with monkeypatch.context() as killed:
            killed.setattr(zfssend, "_close", lambda zfs, places: [])
            assert vault.read(only, "var/data") == "var\n"
        vault.model.load()
        assert len(vault.model.running["mounts"]) == 4
        assert vault.read(only, "var/data") == "var\n"
        vault.model.load()
        assert not vault.model.running["mounts"]

    def test_what_stays_mounted(self, vault: PooledVault, monkeypatch: pytest.MonkeyPatch) -> None:
        vault.pull()
        (only,) = vault.kept()
        monkeypatch.setattr(vault.model.kernel, "unmount", lambda target, force: False)
        assert vault.read(only, "var/data") == "var\n"
        with pytest.raises(FleetError, match="is still mounted, from another time"):
            vault.read(only, "var/data")

    def test_a_place_that_is_a_link(self, vault: PooledVault) -> None:
        vault.pull()
        (only,) = vault.kept()
        outside = os.path.join(vault.root, "outside")
        os.mkdir(outside)
        first = vault.inner("cfg").split("/")[0]
        os.symlink(outside, os.path.join(only.path, first))
        with pytest.raises(FleetError, match="has no folder for"):
            vault.read(only, "cfg/rc.conf")
        assert not os.listdir(outside)


class TestTold:
    @pytest.mark.parametrize("dataset", ["tank", "-o/x", "tank/", "tank/a b", "tank/../x", "tank/a@b", "/tank/a"])
    def test_what_cannot_be_a_dataset(self, dataset: str) -> None:
        with pytest.raises(Refused, match="backup_dataset"):
            config.fleet_of({**said("/srv/backup", web_1={"method": "send"}), "dataset": dataset})

    def test_it_must_be_said(self) -> None:
        with pytest.raises(Refused, match="no backup_dataset is said"):
            config.fleet_of(said("/srv/backup", web_1={"method": "send"}))
        with pytest.raises(Refused, match="backup_user"):
            config.fleet_of({**said("/srv/backup", web_1={}), "user": "-u root"})

    def test_the_user_may_receive_and_no_more(self, vault: PooledVault, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pwd.getpwnam", lambda name: type("P", (), {"pw_uid": 1234})())
        vault.told["user"] = "backup"
        assert zfssend.problems(vault.fleet, vault.run) == [
            "backup may not create, mount, receive on bank/backups: run backup.yml"
        ]
        assert zfssend.provide(vault.zfs, vault.fleet) and not zfssend.provide(vault.zfs, vault.fleet)
        assert "(unknown: 1234) create,mount,receive\n" in vault.zfs.delegations(TOP)
        assert zfssend.problems(vault.fleet, vault.run) == []

    def test_a_user_that_is_not_there(self, vault: PooledVault) -> None:
        vault.told["user"] = "nobody-of-that-name"
        with pytest.raises(Refused, match="there is no user"):
            zfssend.provide(vault.zfs, vault.fleet)

    def test_sets_are_found_with_those_of_other_methods(self, vault: PooledVault) -> None:
        vault.pull()
        vault.told["hosts"]["web-1"]["method"] = "send"
        (only,) = sets.sets_of(vault.fleet, "web-1")
        assert only.as_dict()["kind"] == "monthly"
        assert sets.newest_good(vault.fleet, "web-1") == only


class TestFlow:
    """The stream itself, with programs of this machine."""

    def order(self, source: str, target: str, **more: Any) -> execute.Order:
        values = dict({"head": 4, "judge": lambda head: ""}, **more)
        return execute.Order(["sh", "-c", source], "asked\n", ["sh", "-c", target], **values)

    def test_it_arrives_as_it_was_sent(self, tmp_path: Any) -> None:
        path = tmp_path / "arrived"
        source = "read word; echo $word; dd if=/dev/zero bs=1024 count=3000 2> /dev/null; echo end"
        went = execute.flow(self.order(source, "cat > {0}".format(path)))
        assert (went.sent, went.source, went.target, went.late) == (6 + 3000 * 1024 + 4, 0, 0, False)
        data = path.read_bytes()
        assert data == b"asked\n" + bytes(3000 * 1024) + b"end\n"

    def test_what_is_not_taken_never_meets_the_target(self, tmp_path: Any) -> None:
        path = tmp_path / "arrived"
        order = self.order("echo forged; sleep 60", "cat > {0}".format(path), judge=lambda head: "it is " + repr(head))
        went = execute.flow(order)
        assert (went.wrong, went.target) == ("it is b'forg'", None) and not path.exists()

    def test_nothing_comes(self) -> None:
        went = execute.flow(self.order("echo no >&2; exit 3", "cat"))
        assert (went.sent, went.source, went.source_said, went.target) == (0, 3, "no\n", None)

    def test_it_says_itself_why_nothing_comes(self) -> None:
        went = execute.flow(self.order("exec >&-; sleep 0.5; echo no >&2; exit 3", "cat"))
        assert (went.source, went.source_said) == (3, "no\n")

    def test_the_target_has_had_enough(self) -> None:
        went = execute.flow(self.order("cat /dev/zero", "head -c 10 > /dev/null; echo full >&2; exit 1"))
        assert (went.target, went.target_said) == (1, "full\n") and went.source != 0

    def test_the_source_dies(self) -> None:
        went = execute.flow(self.order("echo some; kill -9 $$", "cat > /dev/null; exit 1"))
        assert (went.source, went.target) == (-9, 1)

    def test_there_is_more_of_it_than_is_taken(self) -> None:
        went = execute.flow(self.order("cat /dev/zero", "cat > /dev/null; exit 1", most=300000))
        assert went.full and went.sent <= 300000 and went.target == 1 and went.source != 0
        assert not execute.flow(self.order("echo 12345", "cat > /dev/null", most=6)).full

    def test_it_is_silent_for_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(execute, "SILENCE", 0.3)
        monkeypatch.setattr(execute, "GRACE", 0.3)
        for source in ("echo some; sleep 60", "sleep 60"):
            went = execute.flow(self.order(source, "cat > /dev/null; exit 1"))
            assert went.source == -15 and not went.late

    def test_its_time_is_over(self) -> None:
        went = execute.flow(self.order("echo some; sleep 60", "cat > /dev/null", seconds=0.3))
        assert went.late and went.source == -15

    def test_it_is_no_faster_than_it_may_be(self) -> None:
        began = time.monotonic()
        went = execute.flow(self.order("dd if=/dev/zero bs=1000 count=30 2> /dev/null", "cat > /dev/null", limit=30000))
        assert went.sent == 30000 and 0.8 < time.monotonic() - began < 10

    def test_programs_that_are_not_there(self) -> None:
        order = self.order("echo some; sleep 60", "true")
        assert execute.flow(order._replace(source=["/none"])).source == 127
        assert execute.flow(order._replace(target=["/none"])).target == 127
        assert "cannot be run" in execute.flow(order._replace(user="no-such-user")).target_said

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
    @pytest.mark.skipif(sys.version_info < (3, 9), reason="Python 3.8 begins nothing as another user")
    def test_another_user(self, tmp_path: Any) -> None:
        went = execute.flow(self.order("echo some", "id -u >&2; id -G >&2; cat > /dev/null", user="nobody"))
        who = pwd.getpwnam("nobody")
        assert went.target_said == "{0}\n{1}\n".format(who.pw_uid, who.pw_gid)


class TestSource:
    def test_a_backup_host_that_is_gone_leaves_no_bookmarks(self, vault: PooledVault) -> None:
        vault.pull()
        assert vault.host.exposing().forget_marks("tank") == 4
        assert not marks(vault)

    @pytest.mark.parametrize("arrived", ["7", [7], ["x"], ["-1"], {"7": 1}, ["1" * 21]])
    def test_guids_that_are_none(self, vault: PooledVault, arrived: Any) -> None:
        vault.host.begin()
        answer = vault.host.ask("nanozfs-backup end", {"result": "ok", "method": "send", "arrived": arrived})
        assert answer.rc == 3 and "(its arrived)" in answer.err

    def test_guids_of_what_is_not_shown_count_for_nothing(self, vault: PooledVault) -> None:
        vault.host.host.command("zfs", "snapshot", "tank/nanozfs/var@mine")
        guid = vault.host.zfs.value("tank/nanozfs/var@mine", "guid")
        vault.host.begin()
        answer = vault.host.ask(
            "nanozfs-backup end",
            {"result": "ok", "method": "send", "begun": 1, "ended": 2, "arrived": [guid, "12345"]},
        )
        assert answer.rc == 0 and not vault.host.zfs.bookmarks("tank", recursive=True)
