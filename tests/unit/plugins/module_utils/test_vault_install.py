# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a machine a backup host, and none; its program from the command line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import cli, config, install, sets, state
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.modules import backup_vault
from ansible_collections.nanozfs.fleet.tests.unit.vault import KEY, NOW, said

OTHER = KEY[:-4] + "Njc4"


class Commands:
    """The commands of a machine: ssh-keygen is real, systemctl a stand-in."""

    def __init__(self) -> None:
        self.calls: List[List[str]] = []
        self.enabled = False

    def __call__(self, argv: Sequence[str], stdin: Optional[str]) -> Tuple[int, str, str]:
        self.calls.append(list(argv))
        if argv[0] == "ssh-keygen":
            done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, done.stderr
        assert argv[0] == "systemctl", argv
        if argv[1] in ("enable", "disable"):
            self.enabled = argv[1] == "enable"
        return (0 if not argv[1].startswith("is-") or self.enabled else 1), "", ""


class Backup:
    """A machine that becomes a backup host."""

    def __init__(self, base: str, systemd: bool = False, **hosts: Any) -> None:
        self.places = Places("Linux", base)
        self.commands = Commands()
        self.told = said(os.path.join(base, "srv"), **(hosts or {"web_1": {}, "web_2": {"method": "dirvish"}}))
        self.keys: Dict[str, List[str]] = {"web-1": [KEY + " root@web-1"]}
        self.program = os.path.join(base, "brought")
        self.schedule = "auto"
        os.makedirs(self.places.at("/usr/share/zoneinfo"))
        for path in [self.program, self.places.at("/usr/share/zoneinfo/UTC")]:
            with open(path, "w", encoding="ascii") as file:
                file.write("the program")
        if systemd:
            os.makedirs(self.places.at("/run/systemd/system"))

    def wish(self) -> install.Wish:
        told = {key: self.told[key] for key in ("label", "root", "reserve", "lines", "hosts")}
        digest = hashlib.sha256(b"the program").hexdigest()
        return install.Wish(told, self.keys, self.schedule, digest, self.program)

    def present(self, check_mode: bool = False) -> install.Change:
        return install.present(Runner(self.commands, check_mode), self.places, self.wish())

    def text(self, path: str) -> str:
        with open(path, encoding="utf-8") as file:
            return file.read()

    def every(self) -> Dict[str, str]:
        """All files of it."""
        found = {}
        for folder, _folders, names in os.walk(self.places.root):
            for name in names:
                path = os.path.join(folder, name)
                found[path] = self.text(path)
        return found


def test_a_machine_becomes_a_backup_host_once(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    places = machine.places
    before = machine.every()
    foretold = machine.present(check_mode=True)
    assert foretold.changed and machine.every() == before
    change = machine.present()
    assert change.changed and change.diff == foretold.diff
    assert machine.text(places.program) == "the program"
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in (places.conf, places.fleet, places.launcher)}
    assert list(modes.values()) == [0o700, 0o600, 0o755]
    assert machine.text(places.known_hosts).splitlines()[1:] == ["web-1 " + KEY]
    assert config.load(places.fleet).hosts["web-2"].method == "dirvish"
    assert os.path.isfile(os.path.join(machine.told["root"], sets.MARKER))
    assert "*/15 * * * * root {0} run --quiet".format(places.launcher) in machine.text(places.cron)
    assert machine.text(places.dirvish_master).endswith("bank:\n\t{0}/dirvish\n".format(machine.told["root"]))
    again = machine.present()
    assert (again.changed, again.diff) == (False, [])


def test_hosts_come_and_go_and_keys_that_nobody_told_stay(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    machine.present()
    del machine.told["hosts"]["web-2"]
    machine.told["hosts"]["web-3"] = machine.told["hosts"]["web-1"]
    machine.keys = {"web-3": [OTHER]}
    change = machine.present()
    assert change.changed
    assert machine.text(machine.places.known_hosts).splitlines()[1:] == ["web-1 " + KEY, "web-3 " + OTHER]
    assert not os.path.exists(machine.places.excludes("web-2"))
    assert os.path.exists(machine.places.rsnapshot("web-3"))
    machine.keys = {"web-1": [OTHER]}  # installed anew
    (difference,) = machine.present().diff
    assert KEY in difference["before"] and KEY not in difference["after"]


@pytest.mark.parametrize("key", ["", "ssh-ed25519", KEY + "\nweb-2 " + KEY, "cert-authority " + KEY, "ssh-dss AAAA"])
def test_a_key_that_is_none_is_refused(tmp_path: Any, key: str) -> None:
    machine = Backup(str(tmp_path))
    machine.keys["web-1"] = [key]
    before = machine.every()
    with pytest.raises(Refused, match="web-1 did not say its ssh key"):
        machine.present()
    assert machine.every() == before


def test_systemd_where_it_runs_and_back_to_cron(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path), systemd=True)
    machine.present(check_mode=True)
    assert not machine.commands.enabled
    machine.present()
    assert machine.commands.enabled and os.path.exists(machine.places.timer)
    assert not os.path.exists(machine.places.cron)
    assert not machine.present().changed
    machine.commands.enabled = False  # somebody has switched it off
    assert machine.present().changed and machine.commands.enabled
    machine.schedule = "cron"
    assert machine.present().changed
    assert not machine.commands.enabled and not os.path.exists(machine.places.timer)
    assert os.path.exists(machine.places.cron)
    machine.schedule = "none"
    machine.present()
    assert not os.path.exists(machine.places.cron)


def test_a_program_that_did_not_arrive_is_not_used(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    with open(machine.program, "w", encoding="ascii") as file:
        file.write("half")
    with pytest.raises(FleetError, match="did not arrive"):
        machine.present()


def test_an_empty_mount_point_is_not_marked(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    machine.present()
    pull = state.Pull("20261130T223000Z", "web-1", NOW, NOW, state.OK, "rsnapshot")
    state.write_known(machine.places.host_state("web-1"), state.Known().after(pull, NOW))
    os.unlink(os.path.join(machine.told["root"], sets.MARKER))
    with pytest.raises(Refused, match="mount its file system"):
        machine.present()


def test_a_dirvish_of_the_sites_own_must_know_our_bank(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    master = machine.places.dirvish_master
    os.makedirs(os.path.dirname(master))
    with open(master, "w", encoding="ascii") as file:
        file.write("bank:\n\t/srv/own\n")
    with pytest.raises(Refused, match="list of banks has no"):
        machine.present()
    with open(master, "a", encoding="ascii") as file:
        file.write("\t{0}/dirvish\n".format(machine.told["root"]))
    machine.present()
    assert machine.text(master).startswith("bank:\n\t/srv/own\n")
    assert machine.text(master).count("bank:") == 1


def test_a_zone_that_it_does_not_know(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path), web_1={"zone": "Mars/Olympus"})
    with pytest.raises(Refused, match="no time zone"):
        machine.present()


def test_the_key_is_made_once_and_says_its_public_part(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    places = machine.places
    assert install.make_key(Runner(machine.commands, True), places, "vault") == (True, "")
    assert not os.path.exists(places.key)
    changed, public = install.make_key(Runner(machine.commands), places, "vault")
    assert changed and public.startswith("ssh-ed25519 AAAA") and public.endswith(" nanozfs-backup@vault")
    assert stat.S_IMODE(os.stat(places.key).st_mode) == 0o600
    assert install.make_key(Runner(machine.commands), places, "vault") == (False, public)
    for label in ("Vault", "", "a" * 41, "a b", "..", "a/b"):
        with pytest.raises(Refused, match="no name for a backup host"):
            install.make_key(Runner(machine.commands), places, label)


def test_it_is_none_any_more_and_its_sets_stay(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path), systemd=True)
    install.make_key(Runner(machine.commands), machine.places, "vault")
    machine.present()
    kept = os.path.join(machine.told["root"], "rsnapshot", "web-1", "daily.0", "tree")
    os.makedirs(kept)
    assert install.absent(Runner(machine.commands, True), machine.places).changed
    assert os.path.exists(machine.places.key)
    assert install.absent(Runner(machine.commands), machine.places).changed
    left = [path for path in machine.every() if "zoneinfo" not in path and path != machine.program]
    assert left == [os.path.join(machine.told["root"], sets.MARKER)]
    assert os.path.isdir(kept) and not machine.commands.enabled
    assert not install.absent(Runner(machine.commands), machine.places).changed


def test_the_folder_of_another_backup_host_is_not_taken(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    machine.present()
    machine.told["label"] = "vault-2"
    with pytest.raises(Refused, match="has the sets of the backup host vault, and this one is vault-2"):
        machine.present()


@pytest.mark.parametrize("check_mode", [False, True])
def test_who_can_be_pulled(tmp_path: Any, monkeypatch: Any, check_mode: bool) -> None:
    machine = Backup(str(tmp_path))
    monkeypatch.setattr(backup_vault, "here", lambda: machine.places)
    wish = machine.wish()
    params = {**wish.said, "known_hosts": wish.keys, "schedule": "cron"}
    params.update(program_digest=wish.digest, program=wish.program)
    found = backup_vault._present(params, Runner(machine.commands, check_mode))
    assert (found["ready"], found["unknown"]) == (["web-1"], ["web-2"])


def called(machine: Backup, *argv: str) -> Tuple[int, str, str]:
    """The program."""
    out, err = io.StringIO(), io.StringIO()
    return cli.run(argv, machine.places, out, err), out.getvalue(), err.getvalue()


def test_the_program_lists_and_tells(tmp_path: Any) -> None:
    machine = Backup(str(tmp_path))
    rc, _out, err = called(machine, "status")
    assert rc == 3 and "run backup.yml" in err
    machine.present()
    folder = os.path.join(machine.told["root"], "rsnapshot", "web-1", "daily.0")
    os.makedirs(os.path.join(folder, "tree"))
    pull = state.Pull("20261130T223000Z", "web-1", NOW, NOW + 5, state.OK, "rsnapshot", 5000, 7, trial=True)
    state.write_json(os.path.join(folder, sets.RECORD), pull.__dict__)
    state.write_known(machine.places.host_state("web-1"), state.Known().after(pull, NOW))
    rc, out, _err = called(machine, "list", "--json")
    (row,) = json.loads(out)
    assert (rc, row["id"], row["taken"], row["kind"]) == (0, "20261130T223000Z", NOW, "daily")
    assert row["path"] == os.path.join(folder, "tree")
    rc, out, _err = called(machine, "list", "web-1")
    assert "4.9 KiB  of a system on trial" in out
    assert called(machine, "list", "web-9")[0] == 3
    os.unlink(os.path.join(machine.told["root"], sets.MARKER))
    rc, out, err = called(machine, "list")
    assert (rc, out) == (3, "") and "mount its file system" in err
    rc, out, _err = called(machine, "status", "--json")
    found = json.loads(out)
    assert rc == 0 and found["hosts"]["web-1"]["good"]["files"] == 7 and found["hosts"]["web-2"]["good"] is None
    assert found["free"] > 0
    rc, out, _err = called(machine, "check")
    assert rc == 1 and "the ssh key of web-2 is not known" in out and "the ssh key of web-1" not in out
