# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's side of a backup: what is shown, to whom, for how long, and what is remembered of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils import _condition
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import metrics, status
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests, exposure, facts, gate, records
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import identity
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Dataset, Value
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import snapshot
from ansible_collections.nanozfs.fleet.tests.unit.backups import GOOD, BackedUp
from ansible_collections.nanozfs.fleet.tests.unit.harness import boot

ROOT = "tank/nanozfs"


class TestRecord:
    def whole(self, **more: Any) -> records.Record:
        values: Dict[str, Any] = {"begun": 1, "ended": 2, "result": "ok", "method": "rsnapshot"}
        return records.Record(**dict(values, **more))

    def test_what_is_written_is_read(self) -> None:
        verified = records.Verified(9, "failed", 3, "seed-1", "sample")
        record = self.whole(bytes=1 << 50, files=7, trial=True, why="it's \u00e4 reason", good=1, verified=verified)
        assert records.decode(records.encode(record)) == record

    def test_it_is_never_too_long(self) -> None:
        verified = records.Verified((1 << 53) - 1, "failed", (1 << 53) - 1, "s" * 64, "sample")
        largest = (1 << 53) - 1
        record = self.whole(
            begun=largest, ended=largest, bytes=largest, files=largest, seconds=largest, sent=largest, good=largest,
            method="a" * 20, why="\U0001f600" * 200, verified=verified,
        )  # fmt: skip
        text = records.encode(record)
        assert len(text) <= records.LIMIT
        assert records.decode(text).why == "\U0001f600" * len(records.decode(text).why) != ""

    @pytest.mark.parametrize(
        "text",
        [
            "", "-", "null", "[]", "{", "nonsense", '{"v":2}', '{"v":1}', "NaN", "[" * 900, '{"v":1,"begun":NaN}',
            '{"v":1,"begun":1,"ended":2,"result":"fine","method":"rsnapshot"}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"/bin/sh"}',
            '{"v":1,"begun":-1,"ended":2,"result":"ok","method":"rsnapshot"}',
            '{"v":1,"begun":true,"ended":2,"result":"ok","method":"rsnapshot"}',
            '{"v":1,"begun":1.5,"ended":2,"result":"ok","method":"rsnapshot"}',
            '{"v":1,"begun":1,"ended":99999999999999999999,"result":"ok","method":"rsnapshot"}',
            '{"v":1,"begun":1,"ended":2,"result":["ok"],"method":"rsnapshot"}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"rsnapshot","trial":"yes"}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"rsnapshot","why":7}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"rsnapshot","verified":{"at":1,"result":"ok"}}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"rsnapshot","verified":{"at":1,"result":"ok",'
            '"kind":"sample","seed":"$(id)"}}',
            '{"v":1,"begun":1,"ended":2,"result":"ok","method":"rsnapshot","why":"' + "x" * 1000 + '"}',
        ],
    )  # fmt: skip
    def test_what_makes_no_sense(self, text: str) -> None:
        with pytest.raises(FleetError):
            records.decode(text)
        found = records.all_of({"nanozfs:backup:vault": text})
        assert found["vault"]["problem"] and found["vault"]["good"] == 0

    def test_only_labels_are_looked_for(self) -> None:
        text = records.encode(self.whole())
        properties = {"nanozfs:backup": "skip", "nanozfs:backup:A": text, "nanozfs:backup:": text, "nanozfs:txn": "x"}
        assert records.all_of(properties) == {}
        assert records.all_of({"nanozfs:backup:a": text})["a"]["result"] == "ok"

    def test_a_reason_obeys_no_terminal(self) -> None:
        text = json.dumps(dict(GOOD, why="\x1b[2J line\n\u202eend"))
        assert records.said(text).record.why == "?[2J line ?end"

    @pytest.mark.parametrize("label", ["", "A", "-a", ".", "a/b", "a b", "a\n", "x" * 41, "a@b", "a%", "ä"])
    def test_labels(self, label: str) -> None:
        with pytest.raises(Refused):
            records.check_label(label)
        assert records.check_label("a.b_c-1") == "a.b_c-1"

    @pytest.mark.parametrize(
        ("before", "now", "good", "verified"),
        [
            (None, {"result": "ok", "begun": 7}, 7, None),
            (None, {"result": "failed", "begun": 7}, 0, None),
            ({"good": 5, "verified": records.Verified(6, "ok", 1, "", "host")}, {"result": "failed", "begun": 7}, 5, 6),
            ({"good": 5}, {"result": "partial", "begun": 7}, 5, None),
            ({"good": 5}, {"result": "ok", "begun": 7, "verified": records.Verified(8, "ok", 1, "", "host")}, 7, 8),
        ],
    )
    def test_what_stays_known(self, before: Any, now: Any, good: int, verified: Any) -> None:
        found = records.following(self.whole(**before) if before is not None else None, self.whole(**now))
        assert (found.good, found.verified.at if found.verified else None) == (good, verified)

    def test_a_look_at_a_whole_host_is_kept_beside_that_at_files(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.end()
        for at, kind in ((5, "sample"), (6, "host"), (7, "sample")):
            backed_up.ask("nanozfs-backup verified", {"at": at, "result": "ok", "files": 1, "kind": kind})
        backed_up.begin()
        record = backed_up.end()["record"]
        assert (record["verified"]["at"], record["machine"]["at"], record["machine"]["kind"]) == (7, 6, "host")


def dataset(name: str, kind: str = "filesystem", mountpoint: str = "legacy") -> Dataset:
    return Dataset(name, "1", kind, 0, 0, 0, mountpoint, False, None, 1, None)


class TestChoice:
    def test_what_is_shown(self) -> None:
        every = [
            dataset("tank", mountpoint="none"),
            dataset("tank/nanozfs", mountpoint="none"),
            dataset("tank/nanozfs/failed", mountpoint="none"),
            dataset("tank/nanozfs/failed/1"),
            dataset("tank/nanozfs/var"),
            dataset("tank/nanozfs/var/log"),
            dataset("tank/srv", mountpoint="/srv"),
            dataset("tank/vm", "volume", "-"),
            dataset("tank/scratch", mountpoint="/scratch"),
            dataset("tank/root", mountpoint="/"),
        ]
        mounted = [("tank/nanozfs/var/log", "/var/log"), ("tank/nanozfs/var", "/var"), ("tank/scratch", "/scratch")]
        mounted += [("tank/nanozfs/failed/1", "/mnt"), ("tank/nanozfs/var@x", "/var/run/x"), ("tank/root", "/")]
        policies = {each.name: Value("-", "-") for each in every}
        policies["tank/scratch"] = Value("inherited from tank", "skip")
        parts, left = exposure.choose(every, mounted, policies)
        assert [(part.dataset, part.path) for part in parts] == [
            ("tank/nanozfs/var", "var"),
            ("tank/nanozfs/var/log", "var/log"),
        ]
        assert {each.dataset: (each.why, each.told) for each in left} == {
            "tank": ("it is not meant to be mounted", False),
            "tank/nanozfs": ("it is not meant to be mounted", False),
            "tank/srv": ("it is not mounted", True),
            "tank/vm": ("it is a volume, which has no files to read", True),
            "tank/scratch": ("nanozfs:backup=skip", True),
            "tank/root": ("it is mounted over the whole host", True),
        }

    def test_a_policy_that_means_nothing(self) -> None:
        found = exposure.strange({"a": Value("local", "ship"), "b": Value("inherited from a", "ship")})
        assert found == ["a has nanozfs:backup='ship', which is neither skip nor take: it is backed up"]

    @pytest.mark.parametrize(
        ("tag", "label"),
        [
            ("nanozfs-backup-vault-20260101T000000Z-0a1b", "vault"),
            ("nanozfs-backup-a-b.c-20260101T000000Z-0a1b", "a-b.c"),
            ("nanozfs-backup-vault-20260101T000000Z-0a1b2", None),
            ("nanozfs-backup-vault", None),
            ("nz-0001-abc", None),
            ("nanozfs-backup-20260101T000000Z-0a1b", None),
        ],
    )
    def test_whose_snapshot_it_is(self, tag: str, label: Any) -> None:
        assert exposure.label_of(tag) == label

    def test_a_new_name_is_one_of_them(self) -> None:
        for label in ("vault", "a-b.c_1"):
            for now in (0.0, -5.0, 1795420900.5):
                assert exposure.label_of(exposure.new_tag(label, now)) == label


class TestPull:
    def test_from_begin_to_end(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        assert begun["resumed"] is False and begun["trial"] is False and begun["left_out"] == []
        assert begun["begun"] == 1795420900 and exposure.label_of(begun["tag"]) == "vault"
        assert begun["host"]["name"] == "web-1" and begun["host"]["pool"] == "tank"
        assert begun["host"]["version"] == "1.0"
        top = backed_up.top
        tree = backed_up.tree(begun["root"])
        assert sorted(tree) == sorted(
            ["/nanozfs-host.json"] + [top + each for each in ("/cfg/rc.conf", "/var/data", "/var/db/table")]
            + [top + "/var/log/messages"]
        )  # fmt: skip
        assert tree[top + "/var/log/messages"] == "log\n"
        assert stat.S_IMODE(os.stat(os.path.join(begun["root"], facts.NAME)).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(begun["root"])).st_mode) == 0o700
        held = {(each.snapshot, each.tag) for each in backed_up.zfs.holds(backed_up.snapshots())}
        names = ["cfg", "var", "var/db", "var/log"]
        assert held == {("{0}/{1}@{2}".format(ROOT, name, begun["tag"]), "nanozfs-backup-vault") for name in names}
        backed_up.now += 60
        ended = backed_up.end()
        assert ended["notes"] == [] and ended["record"]["good"] == 1795420900
        assert ended["record"]["begun"] == 1795420900 and ended["record"]["ended"] == 1795420960
        assert backed_up.snapshots() == [] and backed_up.shown() == [] and not os.path.exists(begun["root"])
        assert backed_up.status() == {"exposure": None, "record": ended["record"]}

    def test_it_is_one_moment(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        calls = [call for call in backed_up.host.machine.calls if call[:2] == ("zfs", "snapshot")]
        assert len(calls) == 1
        assert {each.createtxg for each in backed_up.zfs.snapshots("tank", recursive=True)} != set()
        txgs = {each.createtxg for each in backed_up.zfs.snapshots("tank", recursive=True)}
        assert len(txgs) == 1

    def test_parents_are_mounted_first(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        where = [each for what, each in exposure.mounts(backed_up.runner) if "@" in what]
        prefix = begun["root"] + backed_up.top
        assert where == [prefix + each for each in ("/cfg", "/var", "/var/db", "/var/log")]

    def test_what_a_restore_must_know(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "compression=lz4", ROOT + "/var/db")
        backed_up.host.command("zfs", "set", "nanozfs:reason=secret", "nanozfs:phase=idle", ROOT)
        backed_up.host.command("zfs", "create", "-V", "1m", "tank/vm")
        found = backed_up.facts(backed_up.begin()["root"])
        assert found["format"] == 1 and found["host"] == "web-1" and found["trial"] is False
        assert found["pool"]["name"] == "tank" and found["pool"]["guid"].isdigit()
        assert found["pool"]["properties"] == {"cachefile": "none"}
        assert found["image"]["version"] == "1.0" and found["image"]["slice"] == "nz-a"
        assert set(found["slices"]) == {"nz-a", "nz-b", "nz-recovery"} and found["slices"]["nz-b"]["image"] is None
        every = {each["name"]: each for each in found["datasets"]}
        assert every["nanozfs/var/db"]["properties"] == {"compression": "lz4"}
        assert every["nanozfs/var/db"]["path"] == (backed_up.top + "/var/db").strip("/")
        assert every["nanozfs/var/log"]["properties"] == {"nanozfs:rollback": "keep"}
        assert every["nanozfs"]["path"] is None and every["vm"]["why"] == "it is a volume, which has no files to read"
        assert "secret" not in json.dumps(found) and "nanozfs:phase" not in json.dumps(found)
        assert any("NFSv4" in each for each in found["losses"])

    def test_a_cut_line_goes_on_with_the_same(self, backed_up: BackedUp) -> None:
        first = backed_up.begin()
        backed_up.later(3600)
        again = backed_up.begin()
        assert (again["tag"], again["begun"], again["resumed"]) == (first["tag"], first["begun"], True)
        kept = backed_up.end(result="failed", why="the line was cut", keep=True)
        assert kept["record"]["result"] == "failed" and len(backed_up.snapshots()) == 4
        assert backed_up.begin()["resumed"] is True
        assert backed_up.end()["record"]["good"] == first["begun"]

    def test_a_clock_that_jumped_ends_nothing(self, backed_up: BackedUp) -> None:
        first = backed_up.begin()
        backed_up.now += 10 * 366 * 86400
        assert backed_up.begin()["tag"] == first["tag"]

    @pytest.mark.parametrize(
        ("happens", "why"),
        [
            (lambda host: host.restart(), "restarted"),
            (lambda host: host.later(12 * 3600 + 1), "older than 12 hours"),
            (lambda host: host.host.command("umount", host.exposing().root + host.top + "/var/db"), "not mounted"),
            (lambda host: host.put_state("{"), ""),
            (lambda host: host.put_state('{"label": "vault", "datasets": 7}'), ""),
        ],
    )
    def test_what_cannot_be_gone_on_with(
        self, backed_up: BackedUp, happens: Callable[[BackedUp], Any], why: str
    ) -> None:
        first = backed_up.begin()
        happens(backed_up)
        second = backed_up.begin()
        assert second["resumed"] is False and second["tag"] != first["tag"]
        assert [why in note for note in second["notes"]] == ([True] if why else [])
        assert {each.split("@")[1] for each in backed_up.snapshots()} == {second["tag"]}
        assert len(backed_up.shown()) == 4
        backed_up.end()
        assert backed_up.snapshots() == []

    def test_what_was_unmounted_is_told_to_whoever_reads(self, backed_up: BackedUp) -> None:
        root = backed_up.begin()["root"]
        assert backed_up.status()["exposure"]["gone"] == ""
        backed_up.host.command("umount", root + backed_up.top + "/var/db")
        assert "var/db is not mounted any more" in backed_up.status()["exposure"]["gone"]

    def test_a_snapshot_that_was_destroyed_by_hand(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        gone = "{0}/var/db@{1}".format(ROOT, begun["tag"])
        backed_up.host.command("umount", begun["root"] + backed_up.top + "/var/db")
        backed_up.host.command("zfs", "release", "nanozfs-backup-vault", gone)
        backed_up.host.command("zfs", "destroy", gone)
        answer = backed_up.ask("nanozfs-backup end", GOOD)
        assert answer.rc == 3 and "cannot be taken for good" in answer.err and "var/db" in answer.err
        record = backed_up.status()["record"]
        assert record["result"] == "failed" and "over before its end" in record["why"] and record["good"] == 0
        assert backed_up.snapshots() == [] and backed_up.shown() == []

    def test_an_end_whose_answer_was_lost(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        first = backed_up.end(begun=begun["begun"])
        backed_up.now += 5
        assert backed_up.end(begun=begun["begun"])["record"] == first["record"]

    def test_an_end_without_a_begin_is_no_good_one(self, backed_up: BackedUp) -> None:
        assert backed_up.ask("nanozfs-backup end", dict(GOOD, begun=5)).rc == 3
        assert backed_up.status()["record"]["result"] == "failed"
        assert backed_up.end(result="failed", why="no room")["record"]["why"] == "no room"

    @pytest.mark.parametrize("told", ["", "{", "[]", "x" * 70000, '{"result": "ok"}', '{"keep": 1}'])
    def test_an_end_that_makes_no_sense_ends_nothing(self, backed_up: BackedUp, told: str) -> None:
        backed_up.begin()
        assert backed_up.ask("nanozfs-backup end", told).rc == 3
        assert len(backed_up.snapshots()) == 4 and backed_up.status()["record"] is None

    def test_a_failure_keeps_the_last_good_one(self, backed_up: BackedUp) -> None:
        good = backed_up.begin()["begun"]
        backed_up.end()
        backed_up.later(86400)
        backed_up.begin()
        record = backed_up.end(result="failed", why="no room")["record"]
        assert (record["good"], record["begun"]) == (good, good + 86400)
        answer = backed_up.ask("nanozfs-backup verified", {"at": 5, "result": "ok", "files": 2, "kind": "sample"})
        assert answer.json()["record"]["verified"]["files"] == 2
        backed_up.begin()
        assert backed_up.end()["record"]["verified"]["at"] == 5

    def test_nothing_to_verify(self, backed_up: BackedUp) -> None:
        answer = backed_up.ask("nanozfs-backup verified", {"at": 5, "result": "ok", "kind": "sample"})
        assert answer.rc == 3 and "no backup by vault" in answer.err

    def test_two_backup_hosts_never_meet(self, backed_up: BackedUp) -> None:
        one, other = backed_up.begin("vault"), backed_up.begin("vault-2")
        assert len(backed_up.snapshots()) == 8
        backed_up.end("vault")
        assert {each.split("@")[1] for each in backed_up.snapshots()} == {other["tag"]} != {one["tag"]}
        assert backed_up.begin("vault-2")["resumed"] is True
        assert backed_up.status("vault")["record"]["result"] == "ok" and backed_up.status("vault-2")["record"] is None

    def test_a_dataset_that_comes_and_goes(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.end()
        backed_up.host.command("zfs", "create", ROOT + "/var/new")
        assert backed_up.begin()["left_out"] == [{"dataset": ROOT + "/var/new", "why": "it is not mounted"}]
        backed_up.end()
        backed_up.mount("var/new")
        assert len(backed_up.snapshots()) == 0 and backed_up.begin()["left_out"] == []
        assert len(backed_up.snapshots()) == 5
        backed_up.end()
        backed_up.host.command("zfs", "set", "nanozfs:backup=skip", ROOT + "/var")
        backed_up.host.command("zfs", "set", "nanozfs:backup=take", ROOT + "/var/db")
        begun = backed_up.begin()
        assert [each.split("@")[0] for each in backed_up.snapshots()] == [ROOT + "/cfg", ROOT + "/var/db"]
        assert backed_up.tree(begun["root"])[backed_up.top + "/var/db/table"] == "db\n"
        assert [each["dataset"] for each in begun["left_out"]] == [ROOT + "/var" + n for n in ("", "/log", "/new")]

    def test_no_folder_for_a_child(self, backed_up: BackedUp) -> None:
        shutil.rmtree(os.path.join(backed_up.live("var"), "db"))
        with open(os.path.join(backed_up.live("var"), "db"), "w", encoding="utf-8"):
            pass
        begun = backed_up.begin()
        assert begun["left_out"] == [{"dataset": ROOT + "/var/db", "why": "what is above it has no folder for it"}]
        again = backed_up.begin()
        assert again["resumed"] is True and again["left_out"] == begun["left_out"]
        backed_up.end()
        assert backed_up.snapshots() == []

    def test_a_link_in_the_place_of_a_folder_leads_nowhere(self, backed_up: BackedUp, tmp_path: Any) -> None:
        """Whoever may write to a dataset could have that of a child mounted over ``/etc``, for ever."""
        (tmp_path / "etc").mkdir()
        folder = os.path.join(backed_up.live("var"), "db")
        shutil.rmtree(folder)
        os.symlink(str(tmp_path / "etc"), folder)
        begun = backed_up.begin()
        why = "a link is in the place of a folder above it"
        assert begun["left_out"] == [{"dataset": ROOT + "/var/db", "why": why}]
        assert os.listdir(str(tmp_path / "etc")) == []
        assert not [where for what, where in exposure.mounts(backed_up.runner) if str(tmp_path / "etc") in where]
        assert backed_up.begin()["resumed"] is True
        backed_up.end()
        assert backed_up.snapshots() == []

    def test_nothing_is_left_of_one_that_cannot_be_shown(
        self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_given: Any) -> Any:
            raise FleetError("no room")

        monkeypatch.setattr(facts, "write", broken)
        answer = backed_up.ask("nanozfs-backup begin")
        assert (answer.rc, answer.out, answer.err) == (3, "", "no room\n")
        assert backed_up.snapshots() == [] and backed_up.shown() == []

    def test_a_reader_that_hangs_is_in_nobodys_way(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.kernel.busy = True
        backed_up.end()
        assert backed_up.snapshots() == [] and backed_up.shown() == []

    def test_somebody_elses_hold_is_his(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        name = "{0}/cfg@{1}".format(ROOT, begun["tag"])
        backed_up.host.command("zfs", "hold", "mine", name)
        ended = backed_up.end()
        assert len(ended["notes"]) == 1 and "mine" in ended["notes"][0]
        assert backed_up.snapshots() == [name]
        backed_up.host.command("zfs", "release", "mine", name)
        backed_up.ok_prune()
        assert backed_up.snapshots() == []

    def test_on_trial(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "nanozfs:phase=trial", "nanozfs:txn=0001-a-b", ROOT)
        begun = backed_up.begin()
        assert begun["trial"] is True and backed_up.facts(begun["root"])["trial"] is True
        assert backed_up.end()["record"]["trial"] is True

    def test_about_to_restart(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "nanozfs:phase=armed", "nanozfs:txn=1", "nanozfs:kind=upgrade", ROOT)
        begun = backed_up.begin()
        assert begun["trial"] is False and "upgrade 1 is in phase armed" in begun["notes"][0]

    def test_without_its_own_data(self, backed_up: BackedUp) -> None:
        backed_up.host.command("kenv", "nanozfs.state=recovery")
        answer = backed_up.ask("nanozfs-backup begin")
        assert answer.rc == 3 and "state recovery" in answer.err and backed_up.snapshots() == []

    def test_one_call_at_a_time(self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exposure, "PATIENCE", 0.0)
        with backed_up.exposing().locked():
            with pytest.raises(Refused, match="another call"), backed_up.exposing().locked(0.0):
                pass
            with backed_up.exposing("other").locked(0.0):
                pass


class TestPrune:
    def test_what_was_left_by_a_restart(self, backed_up: BackedUp) -> None:
        backed_up.begin("vault")
        backed_up.begin("other")
        backed_up.restart()
        backed_up.host.command("zfs", "snapshot", ROOT + "/cfg@nanozfs-backup-vault-20260101T000000Z-0000")  # not ours
        said = backed_up.ok_prune()
        assert "vault: 4 snapshots destroyed" in said and "other: 4 snapshots destroyed" in said
        assert "was not made by this collection" in said
        assert backed_up.snapshots() == [ROOT + "/cfg@nanozfs-backup-vault-20260101T000000Z-0000"]

    def test_what_can_go_on_stays(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        assert backed_up.ok_prune() == "vault: {0} stays, its pull can still go on\n".format(begun["tag"])
        assert len(backed_up.snapshots()) == 4
        backed_up.end()
        assert backed_up.ok_prune() == "there is nothing to prune\n"

    def test_what_is_read_for_longer_than_a_night_stays(self, backed_up: BackedUp) -> None:
        """A first pull may take a day; what is unmounted under it is empty folders to rsync, and no failure."""
        backed_up.begin()
        backed_up.later(exposure.RESUME + 10)
        shown = backed_up.status()["exposure"]
        assert "older than 12 hours" in shown["problem"] and shown["gone"] == ""
        reader = backed_up.exposing().reader()
        assert "stays" in backed_up.ok_prune() and len(backed_up.shown()) == 4
        os.close(reader)
        assert backed_up.ok_prune() == "vault: 4 snapshots destroyed\n"

    def test_pruning_of_other_snapshots_leaves_them(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        every = snapshot.Pruning(prefix="", keep=0)
        destroyed, kept = snapshot.prune(backed_up.zfs, "tank", True, every, 0.0, "nanozfs")
        assert destroyed == [] and sorted(kept) == sorted(backed_up.snapshots())
        assert all("held" in why for why in kept.values())

    def test_a_start_ends_what_it_has_cut_off(self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(identity, "remember", lambda _runner, _places: "")
        assert backed_up.agent("reconcile", "--quiet").out == ""
        backed_up.begin()
        assert "can still go on" in backed_up.agent("reconcile", "--quiet").out and len(backed_up.snapshots()) == 4
        backed_up.restart()
        assert backed_up.agent("reconcile", "--quiet").out == "vault: 4 snapshots destroyed\n"
        assert backed_up.snapshots() == []

    def test_one_that_does_not_come_back_is_spoken_of(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.later(exposure.RESUME - 10)
        assert exposure.forgotten(backed_up.runner) == []
        backed_up.later(20)
        (words,) = backed_up.host.ok("host_info", digest=False)["host"]["warnings"]
        assert words.startswith("a snapshot for the backup host vault is held since 2026-11-23 08:01 UTC")
        reader = backed_up.exposing().reader()
        assert exposure.forgotten(backed_up.runner) == []
        os.close(reader)
        backed_up.ok_prune()
        assert exposure.forgotten(backed_up.runner) == [] and backed_up.snapshots() == []


class TestAtWork:
    def test_who_reads(self, backed_up: BackedUp) -> None:
        assert exposure.at_work(backed_up.runner) == []
        backed_up.begin()
        assert [(each.label, each.begun) for each in exposure.at_work(backed_up.runner)] == [("vault", 1795420900)]
        backed_up.later(exposure.FRESH + 1)
        assert exposure.at_work(backed_up.runner) == []
        reader = backed_up.exposing().reader()
        assert [each.label for each in exposure.at_work(backed_up.runner)] == ["vault"]
        os.close(reader)
        assert exposure.at_work(backed_up.runner) == []
        backed_up.begin()
        backed_up.restart()
        assert exposure.at_work(backed_up.runner) == []

    def test_reading_is_heard(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        backed_up.later(exposure.FRESH + 1)
        backed_up.read("rsync --server --sender -logDtpr . {0}/".format(begun["root"]))
        assert [each.label for each in exposure.at_work(backed_up.runner)] == ["vault"]


class TestGate:
    OPTIONS = "-lHogDtpAXrSe.iLsfxCIvu --numeric-ids --timeout=60 --bwlimit=1000"

    @pytest.mark.parametrize(
        "command",
        [
            None, "", "sh", "nanozfs status", "nanozfs-backup", "nanozfs-backup  begin", "nanozfs-backup begin x",
            "nanozfs-backup begin; id", "nanozfs-backup begin\nid", " nanozfs-backup begin", "nanozfs-backup prune",
            "nanozfs-backup serve", "scp -f /etc/master.passwd", "rsync --server -logDtpr . /",
            "rsync --sender --server -r . /", "rsync --daemon", "/usr/local/bin/rsync --server --sender -r . /",
            "rsync --server --sender 'x", "x" * 5000, "internal-sftp", "\udcff", "true", "rsync",
        ],
    )  # fmt: skip
    def test_everything_else(self, backed_up: BackedUp, command: Any) -> None:
        with pytest.raises(Refused, match="this key is for backups"):
            gate.asked(command)
        if command is None or command.isprintable():
            answer = backed_up.ask(command)
            assert answer.rc == 3 and len(answer.err.splitlines()) == 1 and not answer.out

    @pytest.mark.parametrize(
        "options",
        [
            "-s", "-vse.LsfxC", "-x", "-rx", "-L", "-k", "-K", "--", "-e", "-", "-e sh", "--files-from=/etc/passwd",
            "--files-from", "--log-file=/etc/x", "--write-batch=/x", "--remove-source-files", "--remove-sent-files",
            "--copy-unsafe-links", "--copy-links", "--copy-devices", "--write-devices", "--fake-super", "--daemon",
            "--config=/x", "--rsync-path=/x", "--temp-dir=/", "--link-dest=/x", "--server", "--sender", "--iconv=a,b",
            "--one-file-system", "--protect-args", "--secluded-args", "--partial-dir=/x", "--backup-dir=/x",
            "--bwlimit", "--bwlimit=", "--bwlimit=1/2", "--bwlimit='1 2'", "--numeric-ids=1", "--exclude-from=/etc",
            "--out-format=x", "--password-file=/x", "--only-write-batch=x", "-M--foo", "-@x", "/etc",
            "--debug=FILTER2", "--info=ALL", "-vvlogDtpre.iLsfxCIvu", "-v -v",
        ],
    )  # fmt: skip
    def test_options_that_are_not_allowed(self, options: str) -> None:
        with pytest.raises(Refused, match=r"rsync: .* allowed"):
            gate.asked("rsync --server --sender -r {0} . /x".format(options))

    def test_one_that_hides_the_rest_is_told_how_not_to(self) -> None:
        with pytest.raises(Refused) as refused:
            gate.asked("rsync --server --sender -s")  # as rsync --secluded-args asks, with all else on its input
        assert "--no-secluded-args" in str(refused.value)

    @pytest.mark.parametrize(
        "options",
        [
            OPTIONS, "-logDtprze.LsfxCIvu --max-alloc=2G", "-vlHogDtprRe.iLsfxCIvu --numeric-ids", "-e30.0", "-B1024",
            "--log-format=%i%n -nlogDtpre.iLsfxCIvu --delete-excluded", "--checksum-choice=xxh3 -c --list-only",
        ],
    )  # fmt: skip
    def test_options_of_real_clients(self, options: str) -> None:
        asked = gate.asked("rsync --server --sender {0} . /x/".format(options))
        assert asked == gate.Asked(gate.READ, tuple(options.split()), "/x/")

    @pytest.mark.parametrize("rest", ["", ".", ". /a /b", "/a", ". ''", ". -x", "-r"])
    def test_exactly_one_path(self, rest: str, tmp_path: Any) -> None:
        with pytest.raises(Refused):
            gate.command(gate.asked("rsync --server --sender -r " + rest), str(tmp_path))

    @pytest.mark.parametrize(
        "path",
        [
            "/", "{root}/..", "{root}/../..", "{root}/in/../../other", "{root}x", "{root}/link", "{root}/link/passwd",
            "{root}/none", "tree", "~", "{root}/*", "{root}/i[n]", "{root}/i?", "{root}/{{in,out}}", "{root}/a\\b",
            "{root}/a\0", "{root}/a\nb", "{root}/'a", '{root}/"', "-rf", "",
        ],
    )  # fmt: skip
    def test_paths_that_lead_elsewhere(self, tmp_path: Any, path: str) -> None:
        root = tmp_path / "tree"
        (root / "in").mkdir(parents=True)
        (tmp_path / "treex").mkdir()
        (tmp_path / "other").mkdir()
        os.symlink("/etc", str(root / "link"))
        with pytest.raises(Refused, match="rsync: "):
            gate.check_path(path.format(root=root), str(root))

    def test_paths_that_lead_there(self, tmp_path: Any) -> None:
        root = tmp_path / "tree"
        (root / "in the" / "-dash").mkdir(parents=True)
        os.symlink(str(tmp_path), str(tmp_path / "alias"))
        for path in ("{0}", "{0}/", "{0}/.", "{0}/./in the/-dash", "{0}//in the"):
            found = path.format(root)
            assert gate.check_path(found, str(root)) == found
        assert gate.check_path(str(tmp_path / "alias" / "tree"), str(root))

    def test_reading(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        path = begun["root"] + "/"
        backed_up.read("rsync --server --sender {0} . {1}".format(self.OPTIONS, path))
        assert backed_up.execed == [["rsync", "--server", "--sender", *self.OPTIONS.split(), ".", path]]

    def test_reading_only_what_is_shown(self, backed_up: BackedUp) -> None:
        command = "rsync --server --sender -r . {0}/"
        root = backed_up.exposing().root
        assert "nothing was begun" in backed_up.ask(command.format(root)).err
        backed_up.begin()
        for path in ("/etc", os.path.dirname(root), os.path.dirname(root) + "/other/tree"):
            assert backed_up.ask(command.format(path)).rc == 3
        assert backed_up.ask(command.format(root), label="other").rc == 3
        backed_up.restart()
        assert "restarted" in backed_up.ask(command.format(root)).err
        assert backed_up.execed == []

    @pytest.mark.parametrize("label", ["", "A", "../x", "a b"])
    def test_a_label_that_is_none(self, backed_up: BackedUp, label: str) -> None:
        assert backed_up.ask("nanozfs-backup begin", label=label).rc == 3


class TestDigests:
    """What a host says of files that a backup host names."""

    def paths(self, backed_up: BackedUp) -> Dict[str, str]:
        """The live files by their paths in what is shown."""
        top = backed_up.top.lstrip("/")
        return {
            "{0}/{1}".format(top, path): os.path.join(backed_up.live(name), leaf)
            for path, name, leaf in (("cfg/rc.conf", "cfg", "rc.conf"), ("var/db/table", "var/db", "table"))
        }

    def order(self, backed_up: BackedUp, **more: Any) -> Dict[str, Any]:
        files = [
            {"path": path, "kind": "file", "size": os.stat(live).st_size, "mtime": os.stat(live).st_mtime_ns}
            for path, live in self.paths(backed_up).items()
        ]
        return {"files": files, "digests": 10, "bytes": 1000, **more}

    def asked(self, backed_up: BackedUp, order: Any, label: str = "vault") -> Dict[str, Any]:
        answer = backed_up.ask("nanozfs-backup digests", order, label)
        assert answer.rc == 0, answer
        return dict(answer.json())

    def test_in_a_snapshot_of_its_own(self, backed_up: BackedUp) -> None:
        record = backed_up.status()["record"]
        said = self.asked(backed_up, self.order(backed_up))
        contents = [hashlib.sha256(text).hexdigest() for text in (b'hostname="web-1"\n', b"db\n")]
        assert [each["sha256"] for each in said["files"]] == contents
        assert said["begun"] == 1795420900 and said["trial"] is False and said["notes"] == []
        assert exposure.label_of(said["tag"]) == "vault"
        assert backed_up.snapshots() == [] and backed_up.shown() == []
        assert backed_up.status() == {"exposure": None, "record": record}, "it is no backup"
        assert exposure.at_work(backed_up.runner) == []

    def test_in_what_is_shown_to_a_pull(self, backed_up: BackedUp) -> None:
        begun = backed_up.begin()
        backed_up.host.write("tank/nanozfs/var/db", "table", "changed\n")
        order = self.order(backed_up)
        said = self.asked(backed_up, order)
        assert said["tag"] == begun["tag"] and "sha256" not in said["files"][1], "it is of the snapshot"
        assert said["files"][1]["size"] == 3 and len(backed_up.snapshots()) == 4
        assert backed_up.begin()["resumed"] is True
        other = self.asked(backed_up, order, "other")
        assert other["tag"] != begun["tag"] and "sha256" in other["files"][1] and len(backed_up.snapshots()) == 4

    def test_a_name_that_is_no_text(self, backed_up: BackedUp) -> None:
        name = b"inva\xff\n\x1b[2J"
        with open(os.path.join(os.fsencode(backed_up.live("var")), name), "wb") as file:
            file.write(b"x")
        info = os.stat(file.name)
        path = os.path.join(os.fsencode(backed_up.top.lstrip("/")), b"var", name).decode("utf-8", "surrogateescape")
        wanted = {"path": path, "kind": "file", "size": 1, "mtime": info.st_mtime_ns}
        (row,) = self.asked(backed_up, self.order(backed_up, files=[wanted]))["files"]
        assert row["sha256"] == hashlib.sha256(b"x").hexdigest()

    def test_links_lead_nowhere(self, backed_up: BackedUp, tmp_path: Any) -> None:
        (tmp_path / "secret").write_text("secret")
        info = os.stat(str(tmp_path / "secret"))
        live, top = backed_up.live("var"), backed_up.top.lstrip("/")
        os.symlink(str(tmp_path), os.path.join(live, "out"))
        os.symlink(str(tmp_path / "secret"), os.path.join(live, "leaf"))
        usual = {"size": info.st_size, "mtime": info.st_mtime_ns}
        files = [
            dict(usual, path=top + "/var/out/secret", kind="file"),
            dict(usual, path=top + "/var/leaf", kind="file"),
            dict(usual, path=top + "/var", kind="file"),
            dict(usual, path=top + "/var/data/below", kind="file"),
        ]
        rows = self.asked(backed_up, self.order(backed_up, files=files))["files"]
        assert [each["kind"] for each in rows] == ["gone", "link", "other", "gone"]
        assert not any("sha256" in each for each in rows)
        link = os.lstat(os.path.join(live, "leaf"))
        wanted = {"path": top + "/var/leaf", "kind": "link", "size": link.st_size, "mtime": link.st_mtime_ns}
        (row,) = self.asked(backed_up, self.order(backed_up, files=[wanted]))["files"]
        assert row["sha256"] == hashlib.sha256(os.fsencode(str(tmp_path / "secret"))).hexdigest(), "where it leads"

    @pytest.mark.parametrize(
        "path",
        ["/etc/passwd", "..", "a/../../b", "", "a//b", "a/", ".", "./a", "a\0b", "x" * 4097, "\ud800", 5, None],
    )
    def test_paths_that_lead_elsewhere(self, backed_up: BackedUp, path: Any) -> None:
        order = self.order(backed_up, files=[{"path": path, "kind": "file", "size": 1, "mtime": 1}])
        answer = backed_up.ask("nanozfs-backup digests", order)
        assert answer.rc == 3 and "makes no sense" in answer.err and backed_up.snapshots() == []

    @pytest.mark.parametrize(
        "change",
        [
            {"files": [{}]}, {"files": {}}, {"files": None}, {"digests": 501}, {"digests": -1}, {"digests": True},
            {"bytes": (4 << 30) + 1}, {"bytes": "1"},
            {"files": [{"path": "a", "kind": "other", "size": 1, "mtime": 1}]},
            {"files": [{"path": "a", "kind": "file", "size": -1, "mtime": 1}]},
            {"files": [{"path": "a", "kind": "file", "size": 1, "mtime": 1.5}]},
            {"files": [{"path": "a", "kind": "file", "size": 1, "mtime": 1}] * (digests.MOST + 1)},
        ],
    )  # fmt: skip
    def test_what_makes_no_sense(self, backed_up: BackedUp, change: Dict[str, Any]) -> None:
        assert backed_up.ask("nanozfs-backup digests", self.order(backed_up, **change)).rc == 3

    @pytest.mark.parametrize("text", ["", "{", "[]", "5", "[" * 100000, "x" * (digests.LONGEST + 1)])
    def test_what_is_no_order(self, text: str) -> None:
        with pytest.raises(Refused, match="makes no sense, or is too much"):
            digests.wanted(text)

    def test_bounds(self, backed_up: BackedUp) -> None:
        assert len(self.asked(backed_up, self.order(backed_up, digests=1))["files"]) == 1
        assert self.asked(backed_up, self.order(backed_up, digests=0))["files"] == []
        rows = self.asked(backed_up, self.order(backed_up, bytes=3))["files"]
        assert rows[0]["large"] is True and "sha256" not in rows[0] and "sha256" in rows[1]

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [(5, 5, True), (5, 6, True), (10**9, 10**9 + 5, True), (10**9, 2 * 10**9, False), (-1, -(10**9), True)],
    )
    def test_times_are_compared_as_rsync_does(self, one: int, other: int, same: bool) -> None:
        for times in ((one, other), (other, one)):
            assert digests.same_time(*times) is same

    def test_on_trial_and_without_its_own_data(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "nanozfs:phase=trial", "nanozfs:txn=0001-a-b", ROOT)
        assert self.asked(backed_up, self.order(backed_up))["trial"] is True
        backed_up.host.command("kenv", "nanozfs.state=recovery")
        answer = backed_up.ask("nanozfs-backup digests", self.order(backed_up))
        assert answer.rc == 3 and "state recovery" in answer.err and backed_up.snapshots() == []

    def test_about_to_restart(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "nanozfs:phase=armed", "nanozfs:txn=1", "nanozfs:kind=upgrade", ROOT)
        assert "upgrade 1 is in phase armed" in self.asked(backed_up, self.order(backed_up))["notes"][0]

    def test_an_upgrade_waits_for_it_as_for_a_pull(self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exposure, "FRESH", -1)  # it takes long
        with backed_up.exposing().lent(), pytest.raises(Refused, match=r"is being read by vault .*cut it off"):
            exposure.refuse_at_work(backed_up.runner, "an upgrade", "", 0)
        assert exposure.refuse_at_work(backed_up.runner, "an upgrade", "", 0) == []

    def test_what_is_read_is_not_taken_away_however_old_it_is(
        self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = backed_up.begin()
        monkeypatch.setattr(exposure, "RESUME", -1)
        handle = backed_up.exposing().reader()
        try:
            assert self.asked(backed_up, self.order(backed_up))["tag"] == begun["tag"]
        finally:
            os.close(handle)
        assert len(backed_up.snapshots()) == 4
        assert self.asked(backed_up, self.order(backed_up))["tag"] != begun["tag"] and backed_up.snapshots() == []

    def test_two_at_once(self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exposure.Exposing.locked, "__defaults__", (0.0,))
        with backed_up.exposing().lent():
            for verb in ("digests", "begin"):
                answer = backed_up.ask("nanozfs-backup " + verb, self.order(backed_up))
                assert answer.rc == 3 and "another call" in answer.err

    def test_a_look_that_fails_leaves_nothing(self, backed_up: BackedUp) -> None:
        with pytest.raises(OSError, match="broken"), backed_up.exposing().lent():
            raise OSError("broken")
        assert backed_up.snapshots() == [] and backed_up.shown() == [] and backed_up.status()["exposure"] is None

    def test_no_pull_goes_on_with_what_a_killed_one_has_left(
        self, backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        close = exposure.Exposing.close
        with backed_up.exposing().lent() as (shown, _notes):
            monkeypatch.setattr(exposure.Exposing, "close", lambda _self, _pool: [])  # it is killed here
        monkeypatch.setattr(exposure.Exposing, "close", close)
        assert len(backed_up.snapshots()) == 4
        root = backed_up.exposing().root
        assert "not for a pull" in backed_up.ask("rsync --server --sender -r . {0}/".format(root)).err
        begun = backed_up.begin()
        assert begun["tag"] != shown.tag and begun["resumed"] is False and "not for a pull" in begun["notes"][0]
        assert len(backed_up.snapshots()) == 4

    def test_nothing_comes_with_the_word(self) -> None:
        assert gate.asked("nanozfs-backup digests") == gate.Asked(gate.DIGESTS)
        for more in ("nanozfs-backup digests /etc", "nanozfs-backup  digests", "nanozfs-backup digests; id"):
            with pytest.raises(Refused, match="this key is for backups"):
                gate.asked(more)


class TestFlags:
    def make(self, top: Any) -> List[str]:
        names = ["plain", "immutable", "line\nend", "-dash", "quote'\"", "sub/immutable"]
        (top / "sub").mkdir()
        for name in names:
            (top / name).write_text("x")
        with open(os.path.join(os.fsencode(str(top)), b"immutable\xff"), "wb"):
            pass
        return names

    def test_they_are_found(self, tmp_path: Any) -> None:
        self.make(tmp_path)
        marks = {os.stat(str(tmp_path / "sub")).st_ino: 0x800, os.stat(str(tmp_path / "plain")).st_ino: 0x800}

        def flags_of(info: os.stat_result) -> int:
            return marks.get(info.st_ino, 0x20000 | 0x800)

        found, problems = facts.flagged(str(tmp_path), flags_of)
        assert problems == [] and set(found.values()) == {0x20800}
        assert set(found) == {"immutable", "line\nend", "-dash", "quote'\"", "sub/immutable", "immutable\udcff"}
        assert json.loads(json.dumps(found)) == found
        assert os.fsencode("immutable\udcff") == b"immutable\xff"

    def test_bounds(self, tmp_path: Any) -> None:
        self.make(tmp_path)
        found, problems = facts.flagged(str(tmp_path), lambda _info: 2, most=3)
        assert len(found) == 3 and problems == ["5 more files have flags than are named"]
        found, problems = facts.flagged(str(tmp_path), lambda _info: 2, longest=40)
        assert sum(len(json.dumps(path)) for path in found) <= 40 and len(found) in range(2, 6)
        assert problems == ["{0} more files have flags than are named".format(8 - len(found))]
        assert facts.flagged(str(tmp_path / "none"), lambda _info: 2) == (
            {},
            ["the flags in 1 folders could not be read"],
        )

    def test_where_there_are_none(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make(tmp_path)
        if not hasattr(os.stat_result, "st_flags"):
            assert facts.flagged(str(tmp_path)) == ({}, [])
        assert facts._flags(SimpleNamespace(st_flags=7)) == 7  # type: ignore[arg-type]


class TestUpgrades:
    def test_a_journal_reads_as_before(self, backed_up: BackedUp) -> None:
        store = journals.JournalStore(backed_up.zfs, "tank")
        before = store.read()
        backed_up.begin()
        backed_up.end()
        assert store.read() == before
        store.write(before)
        assert backed_up.status()["record"]["result"] == "ok"

    def test_a_medium_that_is_on_trial(self, backed_up: BackedUp) -> None:
        mounts = backed_up.host.machine.running["mounts"]
        pools = backed_up.host.machine.running["pools"]
        boot(backed_up.host.machine, "nz-a", on_trial=True)
        backed_up.host.machine.load()
        backed_up.host.machine.running["mounts"] += mounts[2:]
        backed_up.host.machine.running["pools"] = pools
        backed_up.host.machine.save()
        assert backed_up.begin()["trial"] is True


class TestTold:
    """What whoever looks at the host is told."""

    def look(self, backed_up: BackedUp) -> Dict[str, Any]:
        return dict(backed_up.host.ok("host_info", digest=False)["host"])

    def metrics(self, host: Dict[str, Any]) -> List[str]:
        lines = metrics.render(metrics._backups(host["backups"])).splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    def test_never(self, backed_up: BackedUp) -> None:
        host = self.look(backed_up)
        assert host["backups"] == {} and self.metrics(host) == [] and status._backup_words(host, backed_up.now) == []

    def test_while_it_is_read(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        host = self.look(backed_up)
        assert (host["backups"]["vault"]["running"], host["backups"]["vault"]["since"]) == (True, 1795420900)
        assert host["backups"]["vault"]["result"] == "" and host["warnings"] == []
        assert self.metrics(host) == ['nanozfs_backup_running{backup_host="vault"} 1']
        assert status._backup_words(host, backed_up.now) == ["vault: is read now"]

    def test_afterwards(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.end()
        backed_up.later(2 * 86400)
        backed_up.begin()
        backed_up.end(result="failed", why="no room")
        host = self.look(backed_up)
        backup = host["backups"]["vault"]
        assert (backup["result"], backup["why"], backup["good"]) == ("failed", "no room", 1795420900)
        assert (backup["running"], backup["since"]) == (False, None)
        told = self.metrics(host)
        for line in (
            'last_success_timestamp_seconds{backup_host="vault"} 1795420900',
            'last_result{backup_host="vault",result="failed"} 1',
            'last_result{backup_host="vault",result="ok"} 0',
            'bytes{backup_host="vault"} 1000',
            'duration_seconds{backup_host="vault"} 5',
            'running{backup_host="vault"} 0',
        ):
            assert "nanozfs_backup_" + line in told
        assert not any("verified" in line for line in told)
        assert status._backup_words(host, backed_up.now + 7200) == [
            "vault: the last one failed 2 hours ago, no room, the last good one 2 days ago"
        ]
        assert _condition.findings(host) == []

    def test_a_look_that_found_something_else(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.end(verified={"at": 5, "result": "failed", "files": 3, "kind": "sample"})
        host = self.look(backed_up)
        assert _condition.summary(host) == (
            "degraded",
            [("degraded", "what was looked at in its backup by vault is not what the host had (sample)")],
        )
        assert 'nanozfs_backup_verified_result{backup_host="vault",kind="sample",result="failed"} 1' in self.metrics(
            host
        )

    def test_a_host_that_did_not_come_back_as_a_whole(self, backed_up: BackedUp) -> None:
        backed_up.begin()
        backed_up.end()
        backed_up.ask("nanozfs-backup verified", {"at": 6, "result": "failed", "files": 1, "kind": "host"})
        host = self.look(backed_up)
        words = "from its backup by vault it did not come up as itself in a virtual machine"
        assert _condition.summary(host) == ("degraded", [("degraded", words)])
        metrics = self.metrics(host)
        assert 'nanozfs_backup_verified_result{backup_host="vault",kind="host",result="failed"} 1' in metrics
        assert 'nanozfs_backup_verified_timestamp_seconds{backup_host="vault",kind="host"} 6' in metrics

    def test_a_record_that_makes_no_sense(self, backed_up: BackedUp) -> None:
        backed_up.host.command("zfs", "set", "nanozfs:backup:vault={", ROOT)
        host = self.look(backed_up)
        assert host["warnings"] == ["the record of vault cannot be read: its record makes no sense"]
        assert self.metrics(host) == ['nanozfs_backup_running{backup_host="vault"} 0']
        backed_up.begin()
        assert backed_up.end()["record"]["result"] == "ok" and self.look(backed_up)["warnings"] == []
