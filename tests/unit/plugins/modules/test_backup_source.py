# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""backup_source on the model: who is let in, and who stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import HOST_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import backup_keys, keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.backup_keys import Puller
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS
from ansible_collections.nanozfs.fleet.plugins.modules import backup_source, host_install
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.unit.agent import HOOK
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp

BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIBd5" + "x" * 40
KEY = "ssh-ed25519 {0} root@vault.example.org".format(BLOB)
ADMIN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ admin"
LINE = (
    'restrict,from="192.0.2.5,2001:db8::/64",command="/usr/local/sbin/nanozfs backup serve vault" '
    "ssh-ed25519 {0} nanozfs-backup@vault".format(BLOB)
)
VAULT: Dict[str, Any] = {"label": "vault", "key": KEY, "addresses": ["192.0.2.5", "2001:db8::/64"]}


class Site:
    """A host that is backed up, with its trees, and root's keys in them."""

    def __init__(self, backed_up: BackedUp, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.backed_up = backed_up
        self.host = backed_up.host
        self.host.machine.load()
        cfg = pools.folder(self.host.machine, "tank/nanozfs/cfg")
        self.host.command("umount", os.path.join(backed_up.top, "cfg"))
        self.host.command("mount", "-t", "zfs", "-o", "ro", "tank/nanozfs/cfg", cfg)
        etc, base, recovery = (os.path.join(folder, each) for each in ("etc", "base", "recovery"))
        self.places = Places(etc, base, cfg, HOOK, recovery)
        for place in (etc, base, recovery):
            os.makedirs(place)
        self.program = 0
        self.rsync: Optional[str] = "/usr/local/bin/rsync"
        monkeypatch.setattr(shutil, "which", lambda _name, path: self.rsync)
        for module in (backup_source, host_install):
            monkeypatch.setattr(module, "PLACES", self.places)
        plain = self.host._run_command

        def run_command(argv: Sequence[str], data: Optional[str] = None, **kwargs: Any) -> Tuple[int, str, str]:
            if argv[0] == backup_keys.PROGRAM:
                return self.program, "", ""
            if argv[0] == "sh":
                done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
                return done.returncode, done.stdout, done.stderr
            found: Tuple[int, str, str] = plain(argv, data, **kwargs)
            return found

        monkeypatch.setattr(self.host, "_run_command", staticmethod(run_command))
        os.makedirs(os.path.join(cfg, "ssh"))
        path = os.path.join(cfg, HOST_KEY)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "web-1", "-f", path], check=True)
        self.put("cfg", [ADMIN])
        self.put("etc", [ADMIN])

    def put(self, tree: str, lines: Sequence[str], mode: int = 0o600) -> None:
        path = os.path.join(getattr(self.places, tree), KEYS)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(line + "\n" for line in lines))
        os.chmod(path, mode)

    def get(self, tree: str) -> Optional[List[str]]:
        path = os.path.join(getattr(self.places, tree), KEYS)
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()

    def run(self, **arguments: Any) -> Dict[str, Any]:
        return self.host.same_in_check_mode("backup_source", **arguments)


@pytest.fixture
def site(backed_up: BackedUp, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(backed_up, str(tmp_path / "trees"), monkeypatch)


class TestLines:
    @pytest.mark.parametrize(
        ("line", "label"),
        [
            (LINE, "vault"),
            (ADMIN, None),
            ("ssh-ed25519 AAAA nanozfs-backup@x", "x"),
            ("# ssh-ed25519 AAAA nanozfs-backup@x", None),
            ('command="echo nanozfs-backup@x" ssh-ed25519 AAAA admin', None),
            ("", None),
            ("nanozfs-backup@x", None),
        ],
    )
    def test_whose_they_are(self, line: str, label: Optional[str]) -> None:
        assert keys.is_of_backup(line) == label

    @pytest.mark.parametrize(
        ("text", "people"),
        [("", False), ("# nobody\n\n", False), (LINE, False), (ADMIN, True), (LINE + "\n" + ADMIN + "\n", True)],
    )
    def test_who_can_log_in(self, text: str, people: bool) -> None:
        assert keys.lets_people_in(text) is people

    @pytest.mark.parametrize(
        ("wanted", "there", "found"),
        [
            (ADMIN + "\n", "old admin key\n" + LINE + "\n", ADMIN + "\n" + LINE + "\n"),
            (ADMIN, LINE, ADMIN + "\n" + LINE + "\n"),
            (ADMIN + "\n", ADMIN + "\n", ADMIN + "\n"),
            (ADMIN, "", ADMIN),
            ("", LINE, LINE + "\n"),
            ("ssh-ed25519 NEW nanozfs-backup@vault\n", LINE, "ssh-ed25519 NEW nanozfs-backup@vault\n"),
        ],
    )
    def test_what_a_site_writes_anew(self, wanted: str, there: str, found: str) -> None:
        assert keys.kept(wanted, there) == found
        assert keys.kept(keys.kept(wanted, there), there) == found

    def test_what_a_line_is(self) -> None:
        assert Puller("vault", KEY, VAULT["addresses"]).line() == LINE
        assert 'from="' not in Puller("vault", KEY, ()).line()

    @pytest.mark.parametrize(
        ("key", "addresses", "label"),
        [
            ("", [], "vault"),
            ("ssh-ed25519", [], "vault"),
            ("ssh-ed25519 " + BLOB + "\nssh-ed25519 " + BLOB, [], "vault"),
            ('command="x" ssh-ed25519 ' + BLOB, [], "vault"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", [], "vault"),
            (KEY, ['192.0.2.5",command="sh'], "vault"),
            (KEY, ["vault.example.org"], "vault"),
            (KEY, ["192.0.2.5/8"], "vault"),
            (KEY, ["*"], "vault"),
            (KEY, [], 'v" sh'),
            (KEY, [], "Vault"),
        ],
    )
    def test_what_can_be_none(self, key: str, addresses: List[str], label: str) -> None:
        with pytest.raises(Refused):
            Puller(label, key, addresses).line()

    @pytest.mark.parametrize(
        ("lines", "labels", "gone", "only", "found"),
        [
            ([], ["a"], [], False, ["a"]),
            (["admin"], ["a"], [], False, ["admin", "a"]),
            (["a-old", "admin", "a-old"], ["a"], [], False, ["a", "admin"]),
            (["b", "admin"], ["a"], [], False, ["b", "admin", "a"]),
            (["b", "admin"], ["a"], [], True, ["admin", "a"]),
            (["a", "b", "admin"], [], ["b"], False, ["a", "admin"]),
            (["a"], ["a"], [], True, ["a"]),
            (["admin", "# remark", ""], [], [], True, ["admin", "# remark", ""]),
        ],
    )
    def test_what_becomes_of_them(
        self, lines: List[str], labels: List[str], gone: List[str], only: bool, found: List[str]
    ) -> None:
        def spelled(name: str) -> str:
            if name == "a-old":
                return "ssh-ed25519 OLD nanozfs-backup@a"
            return Puller(name, KEY, ()).line() if len(name) == 1 else name

        pullers = [Puller(label, KEY, ()) for label in labels]
        now = [spelled(name) for name in lines]
        assert backup_keys.changed(now, pullers, gone, only) == [spelled(name) for name in found]


class TestModule:
    def test_a_backup_host_is_let_in(self, site: Site) -> None:
        done = site.run(pullers=[VAULT])
        assert done["changed"] and done["labels"] == ["vault"] and done["warnings"] == []
        assert site.get("cfg") == site.get("etc") == [ADMIN, LINE]
        assert done["diff"] == {"before": "", "after": LINE + "\n"}
        with open(os.path.join(site.places.cfg, HOST_KEY + ".pub"), encoding="ascii") as file:
            assert done["ssh_host_keys"] == [file.read().strip()]
        assert done["actions"] == ["mount -u -o rw " + site.places.cfg, "mount -u -o ro " + site.places.cfg]
        again = site.run(pullers=[VAULT])
        assert not again["changed"] and again["actions"] == [] and again["ssh_host_keys"] == done["ssh_host_keys"]

    def test_others_stay_unless_only_these_are_wanted(self, site: Site) -> None:
        site.run(pullers=[dict(VAULT, label="other")])
        assert site.run(pullers=[VAULT])["labels"] == ["other", "vault"]
        done = site.run(pullers=[VAULT], only=True)
        assert done["changed"] and done["labels"] == ["vault"] and site.get("cfg") == [ADMIN, LINE]

    def test_one_without_a_key_is_left_out(self, site: Site) -> None:
        assert not site.run(pullers=[dict(VAULT, key="")])["changed"]
        assert site.get("cfg") == [ADMIN]

    def test_one_that_is_gone(self, site: Site) -> None:
        site.run(pullers=[VAULT])
        site.backed_up.begin()
        site.backed_up.end()
        site.backed_up.begin()
        done = site.run(state="absent", labels=["vault"])
        assert done["changed"] and site.get("cfg") == site.get("etc") == [ADMIN]
        assert site.backed_up.snapshots() == [] and site.backed_up.status()["record"] is None
        assert not site.run(state="absent", labels=["vault"])["changed"]

    def test_from_everywhere_is_warned_of(self, site: Site) -> None:
        done = site.run(pullers=[dict(VAULT, addresses=[])])
        assert "counts from every address" in done["warnings"][0]

    def test_the_keys_of_the_image_stay(self, site: Site) -> None:
        os.unlink(os.path.join(site.places.cfg, KEYS))
        for tree in ("base", "etc"):
            site.put(tree, ["ssh-ed25519 IMAGE admin"], 0o644)
        done = site.run(pullers=[VAULT])
        assert site.get("cfg") == site.get("etc") == ["ssh-ed25519 IMAGE admin", LINE]
        assert "keys of the image are in /cfg now" in done["warnings"][0]

    def test_odd_lines_stay_as_they_are(self, site: Site) -> None:
        odd = ["", "# remark", "ssh-rsa \udcff\udcfe admin", "  " + ADMIN]
        site.put("cfg", odd)
        site.put("etc", odd)
        site.run(pullers=[VAULT])
        assert site.get("cfg") == [*odd, LINE]

    def test_no_file_where_nobody_is_wanted(self, site: Site) -> None:
        for tree in ("cfg", "etc"):
            os.unlink(os.path.join(getattr(site.places, tree), KEYS))
        assert not site.run()["changed"] and site.get("cfg") is None

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"pullers": [VAULT, VAULT]}, "two backup hosts are called vault"),
            ({"pullers": [dict(VAULT, label="A b")]}, "no name for a backup host"),
            ({"pullers": [dict(VAULT, addresses=["x y"])]}, "no address"),
            ({"pullers": [dict(VAULT, key="", addresses=["x y"])]}, "no address"),
            ({"state": "absent", "labels": ["A b"]}, "no name for a backup host"),
        ],
    )
    def test_what_cannot_be(self, site: Site, arguments: Dict[str, Any], says: str) -> None:
        assert says in site.host.refused("backup_source", **arguments)

    def test_hosts_that_cannot_be_read(self, site: Site) -> None:
        site.program = 2
        assert "knows nothing of backups" in site.host.refused("backup_source", pullers=[VAULT])
        site.program, site.rsync = 0, None
        assert "no rsync" in site.host.refused("backup_source", pullers=[VAULT])
        site.rsync = "/usr/local/bin/rsync"
        site.host.command("kenv", "nanozfs.state=recovery")
        assert "state recovery" in site.host.refused("backup_source", pullers=[VAULT])

    def test_what_was_not_saved_is_said(self, site: Site) -> None:
        site.put("etc", [ADMIN, "ssh-ed25519 MORE friend"])
        done = site.run(pullers=[VAULT])
        assert "not saved" in done["warnings"][0] and site.get("etc") == [ADMIN, LINE]
