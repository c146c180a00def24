# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restore on the model: a whole host to bare metal, a dataset, files and folders; everything that is refused, and what
becomes of it after a cut at every command.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
from types import SimpleNamespace
from typing import Any, Callable, ClassVar, Dict, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import fileflags, gate
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import session as sessions
from ansible_collections.nanozfs.fleet.plugins.modules import restore
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.unit.agent import HOOK
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost
from ansible_collections.nanozfs.fleet.tests.unit.plugins.modules.test_host_install import Linking

ROOT, TOP = "tank/nanozfs", "tank/nanozfs-restoring"
VDEVS = [{"type": "raidz", "disks": ["ada1", "ada2", "ada3"]}]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIVault nanozfs-backup@vault"
MIB = 1 << 20
STAMP = "20260101T021011Z"


def dataset(name: str, path: Optional[str], **properties: str) -> Dict[str, Any]:
    return {
        "name": name,
        "guid": "1",
        "kind": "filesystem",
        "path": path,
        "why": "" if path else "it is not mounted",
        "properties": properties,
        "allow": [],
        "used": 4 * MIB,
        "referenced": 4 * MIB if path else 0,
    }


#: what a host says of itself, as _backup/facts.py writes it
DESCRIPTION: Dict[str, Any] = {
    "format": 1,
    "host": "web-1",
    "hostid": "c0ffee01",
    "taken": 1767233411,
    "tag": "nanozfs-backup-vault-20260101T021011Z-ab12",
    "pool": {"name": "tank", "guid": "77", "properties": {"autotrim": "on", "ashift": "12", "cachefile": "none"}},
    "datasets": [
        dataset("", None, mountpoint="none", canmount="off", compression="lz4"),
        dataset("nanozfs", None, mountpoint="none", canmount="off"),
        dataset("nanozfs/cfg", "cfg", mountpoint="legacy"),
        dataset("nanozfs/failed", None, mountpoint="none", canmount="off"),
        dataset("nanozfs/failed/0003-abcdef12-aa11", None, canmount="noauto"),
        dataset("nanozfs/var", "var", mountpoint="legacy", **{"nanozfs:rollback": "revert"}),
        dataset("nanozfs/var/db", "var/db", recordsize="16384", quota="67108864"),
        dataset("nanozfs/var/log", "var/log", **{"nanozfs:rollback": "keep", "nanozfs:backup:vault": "{}"}),
        dataset("srv", "srv", mountpoint="/srv", readonly="on", atime="off"),
        dataset("scratch", None, **{"nanozfs:backup": "skip"}),
    ],
    "image": {"name": "web", "version": "0.9", "build": "b", "id": "aa", "slice": "nz-b"},
    "phase": "committed",
    "trial": False,
    "flags": {"var/db/kept": 2},
    "losses": ["NFSv4 access lists are not read by rsync"],
}
DESCRIPTION["datasets"][6]["allow"] = [["-l", "-u", "0", "snapshot"]]


def changed(*path: Any, to: Any) -> Dict[str, Any]:
    """The description with one value changed."""
    found = copy.deepcopy(DESCRIPTION)
    place = found
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = to
    return found


class Vault:
    """What the backup host has, and sends through the gate."""

    FILES: ClassVar[Dict[str, str]] = {
        "cfg/rc.conf": 'hostname="web-1"\n',
        "cfg/hostid": "c0ffee01-0000\n",
        "var/mail": "m",
        "var/db/kept": "k",
        "var/db/a\nb 'c' \"d\"": "hostile",
        "var/log/messages": "l",
        "srv/-page": "p",
    }

    def __init__(self, label: str = "vault") -> None:
        self.label = label
        self.status = 0

    def send(self, folder: str, files: Optional[Dict[str, str]] = None, top: str = "") -> int:
        """Send what is in the tree at *top*, or below it; the gate decides whether that may be."""
        files = self.FILES if files is None else files

        def run(argv: Sequence[str], begun: Callable[[int], None]) -> int:
            begun(1 << 22)  # a process that there is none of
            for path, content in files.items():
                if path.startswith(top):
                    full = os.path.join(argv[-1], path[len(top) :])
                    os.makedirs(os.path.dirname(full), exist_ok=True)
                    with open(full, "w", encoding="utf-8") as file:
                        file.write(content)
            return self.status

        words = ["rsync", "--server", "-lHogDtpXrSe.iLsfxCIvu", "--partial", "--numeric-ids", ".", folder + "/"]
        return gate.receive(words, self.label, run=run)


class Site:
    """A machine, and the restore of something to it."""

    def __init__(self, host: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.monkeypatch = monkeypatch
        self.top = str(tmp_path / "root")
        host.machine.kernel = Linking()
        etc, base, cfg = (os.path.join(self.top, each) for each in ("etc", "base", "cfg"))
        self.places = Places(etc, base, cfg, HOOK, "")
        for each in (self.places.etc, os.path.join(self.places.etc, "ssh")):
            os.makedirs(each)
        with open(os.path.join(self.places.etc, "ssh", "ssh_host_ed25519_key.pub"), "w", encoding="ascii") as file:
            file.write("ssh-ed25519 AAAArecovery root@recovery\n")
        monkeypatch.setattr(restore, "PLACES", self.places)
        monkeypatch.setattr(restore, "ROOT", self.top)
        monkeypatch.setattr(shutil, "which", lambda name, **_more: "/usr/local/bin/" + name)
        monkeypatch.setattr(fileflags, "known", lambda: True)
        self.flags: Dict[str, int] = {}
        monkeypatch.setattr(fileflags, "_set", self.flags.__setitem__)
        self.vault = Vault()
        self.wish: Dict[str, Any] = {
            "label": "vault",
            "set": "daily.0",
            "description": copy.deepcopy(DESCRIPTION),
            "hostname": "web-1",
            "key": KEY,
            "addresses": ["10.77.0.5"],
        }

    def call(self, state: str, check: bool = False, **more: Any) -> Dict[str, Any]:
        return self.host.ok("restore", check, **dict(self.wish, state=state, **more))

    def run(self, state: str, **more: Any) -> Dict[str, Any]:
        return self.host.run("restore", **dict(self.wish, state=state, **more))

    def refused(self, state: str = "planned", **more: Any) -> str:
        return self.host.refused("restore", **dict(self.wish, state=state, **more))

    def value(self, name: str, key: str) -> str:
        return self.host.command("zfs", "get", "-H", "-o", "value", key, name).strip()

    def source(self, name: str, key: str) -> str:
        return self.host.command("zfs", "get", "-H", "-o", "source", key, name).strip()

    def restart(self) -> None:
        """What of a host is gone after a restart, however that came about."""
        sessions.remove()
        machine = self.host.machine
        for each in [each for each in machine.running["mounts"] if each["type"] == "zfs"]:
            machine.kernel.unmount(each["on"], True)
            machine.running["mounts"].remove(each)
        machine.save()


@pytest.fixture
def bare(host: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A new machine in recovery mode, with three disks and no pool."""
    site = Site(host, tmp_path, monkeypatch)
    host.command("kenv", "nanozfs.state=recovery")
    host.machine.running["sysctl"]["kern.hostname"] = "recovery"
    host.machine.save()
    site.wish.update(kind="host", vdevs=VDEVS, filesystem_properties={"atime": False})
    return site


@pytest.fixture
def alive(pooled: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The host itself, alive, with /var mounted in a folder of the test."""
    site = Site(pooled, tmp_path, monkeypatch)
    for name in ("var", "var/db", "var/log"):
        os.makedirs(os.path.join(site.top, name), exist_ok=True)
        pooled.command("mount", "-t", "zfs", ROOT + "/" + name, os.path.join(site.top, name))
    pooled.write(ROOT + "/var/db", "kept", "live")
    return site


# a whole host


def contents(site: Site, root: str = ROOT) -> Dict[str, Optional[str]]:
    """The files of the host, by their paths in the tree."""
    found = {}
    for path in Vault.FILES:
        for name in ("var/db", "var/log", "var", "cfg", "srv"):
            if path.startswith(name + "/"):
                full = "tank/srv" if name == "srv" else "{0}/{1}".format(root, name)
                found[path] = site.host.read(full, path[len(name) + 1 :])
                break
    return found


def test_a_host_comes_back(bare: Site) -> None:
    planned = bare.call("planned")
    assert planned["step"] == "open" and not planned["changed"]
    assert planned["plan"][0] == (
        "web-1 as of 2026-01-01 02:10:11 UTC, from the backup daily.0 of vault, taken in normal operation"
    )
    assert "the pool tank is made of raidz ada1 ada2 ada3" in planned["plan"]
    assert planned["plan"][-1] == "the system is the medium's; the host ran web-0.9"
    assert "tank/scratch: it is not mounted" in planned["losses"]
    assert planned["size"] == 20 * MIB and planned["seconds"] is None
    limited = dict(bare.wish, state="open", pool_compatibility="openzfs-2.1-freebsd")
    assert "-o compatibility=openzfs-2.1-freebsd" in bare.host.ok("restore", check=True, **limited)["actions"][0]
    opened = bare.host.same_in_check_mode("restore", **dict(bare.wish, state="open"))
    assert opened["changed"] and opened["host_key"] == "ssh-ed25519 AAAArecovery"
    assert "zpool create" in opened["actions"][0] and "autotrim=on" in opened["actions"][0]
    assert "ashift" not in opened["actions"][0], "that is about the old disks"
    assert ROOT not in bare.host.names("filesystem") and TOP + "/var/db" in bare.host.names("filesystem")
    assert TOP + "/failed/0003-abcdef12-aa11" not in bare.host.names("filesystem")
    assert bare.vault.send(opened["folder"]) == 0
    applied = bare.call("applied")
    assert applied["restart"] and applied["actions"][-1] == "zfs rename {0} {1}".format(TOP, ROOT)
    assert contents(bare) == Vault.FILES
    assert [path for path in bare.flags if path.endswith("/var/db/kept")]
    assert bare.value(ROOT + "/var/db", "quota") == "64M" and bare.source(ROOT + "/var/db", "canmount") == "default"
    assert bare.value(ROOT + "/var/log", "nanozfs:rollback") == "keep"
    assert bare.value("tank/srv", "readonly") == "on" and bare.value("tank/srv", "mountpoint") == "/srv"
    assert bare.value("tank", "compression") == "lz4"
    assert "user (unknown: 0) snapshot" in bare.host.command("zfs", "allow", ROOT + "/var/db")
    journal = bare.value(ROOT, "nanozfs:image_version"), bare.value(ROOT, "nanozfs:phase")
    assert journal == ("1.0", "idle"), "the system is the medium's, the journal of the old one is gone"
    assert '"set": "daily.0"' in bare.value(ROOT, "nanozfs:restored")
    assert bare.call("planned")["step"] == "restart"


def test_it_is_itself_again(bare: Site) -> None:
    folder = bare.call("open")["folder"]
    bare.vault.send(folder)
    bare.call("applied")
    again = bare.call("applied")
    assert again["restart"] and not again["changed"], "a play that is run again only restarts it"
    assert bare.call("closed")["done"] == ["nothing is let in for this restore any more", "web-1 is itself again"]
    assert bare.value(ROOT, "nanozfs:restore") == "-" and bare.value("tank/srv", "nanozfs:restore") == "-"
    assert sessions.read() is None
    bare.host.command("kenv", "nanozfs.state=normal")
    assert "is alive" in bare.refused()


#: what changes nothing
READING = {"zfs": ("list", "get", "holds"), "zpool": ("list", "get", "status"), "gpart": ("show", "list")}


def is_change(argv: Sequence[str]) -> bool:
    """Whether a command changes something."""
    if argv[0] not in ("zfs", "zpool", "mount", "umount", "gpart"):
        return False
    asks = list(argv) in (["mount", "-p"], ["mount", "-t", "zfs"], ["zpool", "import"])
    return not asks and argv[1] not in READING.get(argv[0], ()) and not (argv[1] == "allow" and len(argv) == 3)


class Cuts:
    """The power fails before a changing command, and all that a restart forgets is gone."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.execute = site.host.machine.run

    def after(self, commands: int, work: Callable[[], bool]) -> bool:
        """Do something until the power fails.

        :returns: whether it was done before.
        """
        left = commands

        def cutting(argv: Any, stdin: Any = None) -> Any:
            nonlocal left
            if is_change(argv):
                left -= 1
            return self.execute(["zfs", "nosuch"] if left < 0 else argv, stdin)

        self.site.host.monkeypatch.setattr(self.site.host.machine, "run", cutting)
        done = work()
        self.site.host.monkeypatch.setattr(self.site.host.machine, "run", self.execute)
        return done

    def through(self, site: Site) -> bool:
        """All of a restore, as a play does it; whether it came to its end."""
        opened = site.run("open")
        if opened["failed"]:
            return False
        if opened["step"] == "open":
            site.vault.send(opened["folder"])
        return not site.run("applied")["failed"]


def test_goes_on_after_a_cut_at_every_command(bare: Site) -> None:
    cuts, allowed, done = Cuts(bare), 0, False
    while not done:
        done = cuts.after(allowed, lambda: cuts.through(bare))
        there = bare.host.names("filesystem") if "tank" in bare.host.command("zpool", "list") else []
        assert (ROOT in there) == done, "it is the host before it is complete, or not when it is"
        bare.restart()
        allowed += 1
        assert allowed < 100
    assert allowed > 15, "too few commands were cut"
    assert contents(bare) == Vault.FILES
    assert bare.value("tank/srv", "readonly") == "on" and bare.source("tank/srv", "canmount") == "default"
    assert bare.value(ROOT + "/var/db", "quota") == "64M"


def test_a_host_that_was_renamed(bare: Site) -> None:
    assert "say what it was called" in bare.refused(hostname="web-9")
    assert bare.call("planned", hostname="web-9", previous_names=["web-1"])["step"] == "open"


def test_an_old_pool_without_a_host_is_used(bare: Site) -> None:
    bare.host.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "ada1", "ada2")
    bare.host.command("zfs", "create", "tank/other")
    assert "the pool tank is there" in bare.call("planned", vdevs=[])["plan"]
    bare.host.command("zpool", "export", "tank")
    assert "the pool tank is imported" in bare.call("planned", vdevs=[])["plan"]
    bare.vault.send(bare.call("open", vdevs=[])["folder"])
    bare.call("applied", vdevs=[])
    assert contents(bare) == Vault.FILES and "tank/other" in bare.host.names("filesystem")


def test_files_in_the_dataset_of_an_old_pool_itself_are_not_overwritten(bare: Site) -> None:
    """What is sent there is sent with --delete."""
    wish: Dict[str, Any] = {"vdevs": [], "description": changed("datasets", 0, "path", to="tank")}
    bare.host.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "ada1", "ada2")
    assert bare.call("planned", **wish)["step"] == "open", "it is new"
    bare.host.command("zfs", "create", "tank/other")
    for state in ("planned", "open"):
        assert "the host had files in tank itself, and so may this pool" in bare.refused(state, **wish)
    bare.host.command("zpool", "export", "tank")
    assert "the host had files in tank itself, and so may this pool" in bare.run("open", **wish)["msg"]
    assert bare.host.names("filesystem") == ["tank", "tank/other"]


BARE_REFUSALS = [
    ({"vdevs": []}, "no disks are named to make it of"),
    ({"vdevs": [{"type": "raidz", "disks": ["ada1", "ada9"]}]}, "there is no disk ada9"),
    ({"hostname": "web-2"}, "the backup is of web-1, and this is web-2"),
    ({"set": "../x"}, "is no name of a backup"),
    ({"label": "Vault"}, "is no name for a backup host"),
    ({"description": changed("format", to=2)}, "it has format 2"),
    ({"description": changed("pool", "name", to="data")}, "its image names the pool tank, and the host had data"),
    ({"description": changed("datasets", 2, "path", to=None)}, "the backup has no /cfg"),
    ({"description": changed("datasets", 8, "path", to="../srv")}, "leads out of the tree"),
    ({"description": changed("datasets", 8, "name", to="s@v")}, "is no valid dataset name"),
    ({"description": changed("datasets", 8, "name", to="nanozfs/var")}, "it has a dataset twice"),
    ({"description": changed("datasets", 5, "referenced", to=2 << 30)}, "a pool of these disks holds "),
    ({"description": changed("datasets", 8, "properties", to={"encryption": "aes-256-gcm"})}, "had tank/srv encrypted"),
    ({"description": changed("flags", to={"/etc/x": 1})}, "flags of what is no path"),
]


@pytest.mark.parametrize(("more", "words"), BARE_REFUSALS, ids=[words for _more, words in BARE_REFUSALS])
def test_a_host_is_refused(bare: Site, more: Dict[str, Any], words: str) -> None:
    for state in ("planned", "open", "applied"):
        assert words in bare.refused(state, **more)


def test_a_pool_that_has_a_host_is_refused(bare: Site) -> None:
    bare.host.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "ada1")
    bare.host.command("zfs", "create", ROOT)
    assert "has a host in it (tank/nanozfs)" in bare.refused("open")
    bare.host.command("zfs", "rename", ROOT, TOP)
    assert "that no restore has made" in bare.refused("open")
    bare.host.command("zfs", "rename", TOP, "tank/srv")
    assert "the pool has tank/srv, which the host had as well" in bare.refused("open")
    bare.host.command("zpool", "export", "tank")
    result = bare.run("open")
    assert result["failed"] and "the pool has tank/srv" in result["msg"]


def test_a_smaller_pool_is_refused_with_figures(bare: Site) -> None:
    bare.host.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "ada1")
    bare.host.command("zfs", "create", "-V", "300M", "tank/taken")
    bare.wish["description"] = changed("datasets", 5, "referenced", to=128 * MIB)
    message = bare.refused("open")
    assert "MiB, and the host had 144 MiB of files" in message


def test_an_encrypted_dataset_comes_back_in_clear_when_that_is_agreed_to(bare: Site) -> None:
    wish: Dict[str, Any] = {
        "description": changed("datasets", 8, "properties", to={"encryption": "aes-256-gcm", "keylocation": "prompt"}),
        "unencrypted": True,
    }
    assert "the encryption of tank/srv" in bare.call("planned", **wish)["losses"]
    bare.call("open", **wish)
    assert bare.value("tank/srv", "encryption") == "off"


@pytest.mark.parametrize("key", [{"encryption": "aes-256-gcm"}, {"keylocation": "prompt"}])
@pytest.mark.parametrize(("of", "found"), [("srv", "tank/srv"), ("", "tank/nanozfs/cfg, tank/nanozfs/var, ")])
def test_an_encrypted_host_is_known_by_its_keys(bare: Site, key: Dict[str, str], of: str, found: str) -> None:
    """Zfs never says that ``encryption`` was set on a dataset; it says so of ``keylocation``, and of no child."""
    datasets = copy.deepcopy(DESCRIPTION["datasets"])
    for each in datasets:
        if each["name"] == of:
            each["properties"].update(key)
    assert "the host had {0}".format(found) in bare.refused("open", description=dict(DESCRIPTION, datasets=datasets))
    for each in datasets:
        each["properties"].update({"keylocation": "none", "encryption": "off"})
    assert bare.call("planned", description=dict(DESCRIPTION, datasets=datasets))["step"] == "open"


def test_what_a_pool_cannot_is_left_out_and_said(bare: Site) -> None:
    properties = {"mountpoint": "/srv", "compression": "nosuch", "atime": "off"}
    result = bare.call("open", description=changed("datasets", 8, "properties", to=properties))
    assert [each for each in result["warnings"] if "could not set compression of tank/srv" in each]
    assert bare.value("tank/srv", "atime") == "off"


def test_another_set_than_the_one_that_was_begun(bare: Site) -> None:
    bare.call("open")
    bare.restart()
    other = changed("tag", to="nanozfs-backup-vault-20260102T021011Z-ab13")
    message = bare.refused("open", description=other)
    assert "has a restore of web-1 from vault (backup daily.0, taken 2026-01-01 02:10:11 UTC) in it" in message
    gone = bare.call("closed", discard=True)
    assert sorted(gone["done"]) == ["{0} is gone, it was not complete".format(name) for name in (TOP, "tank/srv")], gone
    assert bare.host.names("filesystem") == ["tank"]
    assert bare.call("open", description=other)["changed"]


def test_only_one_at_a_time(bare: Site) -> None:
    bare.call("open")
    assert "another restore is open on this host" in bare.refused("planned", description=changed("tag", to="x"))


def test_nothing_that_has_not_arrived_is_put_in_place(bare: Site) -> None:
    assert "nothing was opened" in bare.refused("applied")
    folder = bare.call("open")["folder"]
    assert "the last transfer was broken off" in bare.refused("applied")
    bare.vault.status = 23
    assert bare.vault.send(folder) == 23
    assert "ended with status 23" in bare.refused("applied")
    sessions.begins(sessions.read().id, os.getpid())  # type: ignore[union-attr]
    assert "files are still arriving" in bare.refused("applied")


def test_what_was_sent_into_a_folder_without_its_dataset_counts_for_nothing(bare: Site) -> None:
    folder = bare.call("open")["folder"]
    bare.host.command("umount", folder + "/var/log")
    bare.vault.send(folder)
    assert "tank/nanozfs-restoring/var/log is not mounted to be filled any more" in bare.refused("applied")
    assert bare.host.run("restore", **dict(bare.wish, state="open"))["step"] == "open"


def test_nobody_else_reaches_what_arrives(bare: Site) -> None:
    folder = bare.call("open")["folder"]
    assert os.stat(os.path.dirname(os.path.dirname(folder))).st_mode & 0o777 == 0o700


def test_the_key_of_the_backup_host_is_let_in_for_the_time(bare: Site) -> None:
    path = os.path.join(bare.places.etc, "rootssh", "authorized_keys")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="ascii") as file:
        file.write("ssh-ed25519 AAAAadmin admin\n")
    bare.call("open")
    bare.call("open")
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    assert lines[1:] == [
        'restrict,from="10.77.0.5",command="/usr/local/sbin/nanozfs backup serve vault" '
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIVault nanozfs-backup@vault"
    ]
    assert os.stat(path).st_mode & 0o777 == 0o600
    bare.call("closed")
    with open(path, encoding="ascii") as file:
        assert file.read().splitlines() == lines[:1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"key": "x"}, "is no public key of ssh"),
        ({"key": 'ssh-rsa AAAA"\nssh-rsa BBBBBBBBBBBBBBBBBB'}, "is no public key of ssh"),
        ({"addresses": ['1.2.3.4",command="sh']}, "is no address"),
    ],
)
def test_no_key_is_made_of_something_else(bare: Site, more: Dict[str, Any], words: str) -> None:
    assert words in bare.refused("open", **more)
    assert sessions.read() is None


# one dataset


@pytest.fixture
def db(alive: Site) -> Site:
    """var/db comes back; there is another dataset below it."""
    alive.host.command("zfs", "create", ROOT + "/var/db/child")
    alive.host.write(ROOT + "/var/db/child", "mine", "child")
    alive.wish.update(kind="dataset", name="var/db", in_place=True)
    return alive


def arrived(site: Site) -> None:
    opened = site.call("open")
    if opened["step"] == "open":
        site.vault.send(opened["folder"], top="var/db/")


ASIDE = ROOT + "/failed/restore-{0}/var/db"


def test_a_dataset_takes_the_place_of_the_live_one(db: Site) -> None:
    ident = db.call("planned")["id"]
    aside = ASIDE.format(ident)
    assert "what is live is kept as " + aside in db.call("planned")["plan"]
    opened = db.host.same_in_check_mode("restore", **dict(db.wish, state="open"))
    assert opened["excludes"] == [] and opened["changed"]
    db.vault.send(opened["folder"], top="var/db/")
    applied = db.call("applied")
    assert applied["done"] == ["tank/nanozfs/var/db is as it was backed up", aside + " is what was live"]
    assert db.host.read(ROOT + "/var/db", "kept") == "k" and db.host.read(aside, "kept") == "live"
    assert db.host.read(ROOT + "/var/db/child", "mine") == "child", "what is below it stays as it is"
    assert db.value(ROOT + "/var/db", "recordsize") == "16K" and db.value(ROOT + "/var/db", "quota") == "64M"
    assert db.value(aside, "readonly") == "on" and db.value(aside, "canmount") == "noauto"
    assert ROOT + "/var/db" in db.host.command("mount", "-p"), "it is mounted again"
    assert db.value(ROOT + "/var/db", "nanozfs:restore") == "-"
    assert list(db.flags.values()) == [2]
    assert not db.call("applied")["changed"] and db.call("planned")["step"] == "done"


def test_a_swap_goes_on_after_a_cut_at_every_command(db: Site) -> None:
    cuts, allowed, done = Cuts(db), 0, False
    ident = db.call("planned")["id"]

    def through() -> bool:
        opened = db.run("open")
        if opened["failed"]:
            return False
        if opened["step"] == "open":
            db.vault.send(opened["folder"], top="var/db/")
        return not db.run("applied")["failed"]

    while not done:
        done = cuts.after(allowed, through)
        names = db.host.names("filesystem")
        kept = [name for name in names if name in (ROOT + "/var/db", ASIDE.format(ident))]
        assert kept and "live" in [db.host.read(name, "kept") for name in kept], "what was live is lost"
        db.restart()
        allowed += 1
        assert allowed < 100
    assert allowed > 5
    assert db.host.read(ROOT + "/var/db", "kept") == "k" and db.host.read(ASIDE.format(ident), "kept") == "live"
    assert db.host.read(ROOT + "/var/db/child", "mine") == "child"
    assert not [
        line
        for line in db.host.command("zfs", "get", "-H", "all", ROOT + "/var/db").splitlines()
        if "nanozfs:restore" in line
    ]


def test_a_dataset_beside_the_live_one(db: Site) -> None:
    wish: Dict[str, Any] = {"in_place": False}
    opened = db.call("open", **wish)
    db.vault.send(opened["folder"], top="var/db/")
    beside = "tank/nanozfs-restore/db-" + STAMP
    assert db.call("applied", **wish)["done"] == [beside + " is the dataset as it was backed up; it is not mounted"]
    assert db.host.read(beside, "kept") == "k" and db.host.read(ROOT + "/var/db", "kept") == "live"
    assert db.call("planned", **wish)["step"] == "done" and not db.call("open", **wish)["changed"]


def test_a_dataset_that_is_gone_comes_back(db: Site) -> None:
    db.host.command("zfs", "destroy", ROOT + "/var/db/child")
    db.host.command("umount", os.path.join(db.top, "var/db"))
    db.host.command("zfs", "destroy", ROOT + "/var/db")
    arrived(db)
    db.monkeypatch.setattr(db.host.machine.kernel, "bind", lambda source, target, readonly: None)
    db.monkeypatch.setattr(os, "makedirs", lambda *_arguments, **_more: None)
    assert db.call("applied")["done"] == ["tank/nanozfs/var/db is as it was backed up"]
    assert db.host.read(ROOT + "/var/db", "kept") == "k"
    assert "\t/var/db\t" in db.host.command("mount", "-p")


DATASET_REFUSALS = [
    ({"name": "var/nosuch"}, "the backup has no dataset var/nosuch"),
    ({"name": "failed"}, "the backup has no dataset failed (it is not mounted)"),
    (
        {"name": "tank/nanozfs", "description": changed("datasets", 1, "path", to="root")},
        "the host runs from tank/nanozfs, which",
    ),
    (
        {"description": changed("datasets", 6, "properties", to={"keylocation": "prompt"})},
        "the host had tank/nanozfs/var/db encrypted",
    ),
    (
        {"description": changed("datasets", 6, "properties", to={"mountpoint": "/etc"})},
        "and had /etc when it was backed up",
    ),
    ({"name": "var"}, "the host runs from tank/nanozfs/var"),
    ({"name": "tank/nanozfs/cfg"}, "the host runs from tank/nanozfs/cfg"),
    ({"size": 1 << 40}, "1048576 MiB come back, and the pool tank has "),
    ({"hostname": "x", "description": changed("host", to="web-7")}, "the backup is of web-7, and this is x"),
    ({"kind": "host", "vdevs": VDEVS}, "this host is alive: it runs as web-1"),
]


@pytest.mark.parametrize(("more", "words"), DATASET_REFUSALS, ids=[words for _more, words in DATASET_REFUSALS])
def test_a_dataset_is_refused(db: Site, more: Dict[str, Any], words: str) -> None:
    for state in ("planned", "open", "applied"):
        assert words in db.refused(state, **more)


def test_a_renamed_host_is_known_by_its_hostid(db: Site) -> None:
    from_hostid = "{0:x}".format(int(db.host.command("sysctl", "-n", "kern.hostid")))
    other = dict(changed("host", to="old-name"), hostid=from_hostid)
    assert db.call("planned", description=other, hostname="new")["step"] == "open"


def test_no_dataset_is_swapped_in_the_middle_of_an_upgrade(db: Site) -> None:
    db.host.command("zfs", "set", "nanozfs:phase=written", "nanozfs:txn=0001-aaaaaaaa-aaaa", ROOT)
    assert "in the middle of an upgrade (phase written)" in db.refused("open")


def test_a_dataset_in_use_is_refused_and_stays(db: Site) -> None:
    arrived(db)
    linking = db.host.machine.kernel.unmount
    place = os.path.join(db.top, "var/db")
    db.monkeypatch.setattr(
        db.host.machine.kernel, "unmount", lambda target, force: target != place and linking(target, force)
    )
    result = db.run("applied")
    assert result["failed"] and "is in use" in result["msg"]
    assert db.host.read(ROOT + "/var/db", "kept") == "live"


# files and folders


@pytest.fixture
def file(pooled: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The host itself, with real folders: what is mounted is only noted."""
    site = Site(pooled, tmp_path, monkeypatch)
    pooled.machine.kernel = Kernel()
    for name in ("var", "var/db", "var/log"):
        os.makedirs(os.path.join(site.top, name))
        pooled.command("mount", "-t", "zfs", ROOT + "/" + name, os.path.join(site.top, name))
    with open(os.path.join(site.top, "var/db/kept"), "w", encoding="utf-8") as live:
        live.write("live")
    site.wish.update(kind="path", name="/var/db/kept")
    return site


def text(path: str) -> str:
    with open(path, encoding="utf-8") as found:
        return found.read()


def bring(site: Site, file: str, content: str = "restored", **more: Any) -> Dict[str, Any]:
    opened = site.call("open", **more)
    assert opened["step"] == "open"
    assert site.vault.send(opened["folder"], {file: content}) == 0
    return site.call("applied", **more)


def test_a_file_beside_the_live_one(file: Site) -> None:
    folder = os.path.join(file.top, "var/db")
    planned = file.host.same_in_check_mode("restore", **dict(file.wish, state="planned"))
    assert planned["plan"][-1].endswith("/var/db/kept.restored-" + STAMP)
    assert bring(file, "kept")["changed"]
    assert text(folder + "/kept") == "live" and text(folder + "/kept.restored-" + STAMP) == "restored"
    assert sorted(os.listdir(folder)) == ["kept", "kept.restored-" + STAMP], "nothing else is left"
    assert file.flags == {"kept.restored-" + STAMP: 2}, "an immutable file has its name before it is immutable"
    assert not file.call("applied")["changed"] and file.call("planned")["step"] == "done"


def test_a_file_in_place_of_the_live_one(file: Site) -> None:
    folder = os.path.join(file.top, "var/db")
    done = bring(file, "kept", in_place=True)["done"]
    assert [each.rpartition("/")[2] for each in done] == [
        "kept is as it was backed up",
        "kept.before-{0} is what was live".format(STAMP),
    ]
    assert text(folder + "/kept") == "restored" and text(folder + "/kept.before-" + STAMP) == "live"
    assert file.call("planned", in_place=True)["step"] == "done"


class Gone(BaseException):
    """The power fails."""


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("name", ["kept", "d"])
def test_a_cut_while_it_is_put_in_place(file: Site, name: str, cut: int) -> None:
    """Before each of the calls that move something, of a file and of a folder."""
    folder = os.path.join(file.top, "var/db")
    os.makedirs(folder + "/d")
    for path in ("/kept", "/d/inner"):
        with open(folder + path, "w", encoding="utf-8") as live:
            live.write("live")
    inner = name if name == "kept" else "d/inner"
    wish: Dict[str, Any] = {"name": "/var/db/" + name, "in_place": True}
    file.vault.send(file.call("open", **wish)["folder"], {inner: "restored"})
    left, plain = [cut], {call: getattr(os, call) for call in ("link", "rename", "rmdir")}

    def cutting(call: str) -> Callable[..., Any]:
        def cut_it(*arguments: Any, **more: Any) -> Any:
            if str(arguments[0]).startswith(folder) or "src_dir_fd" in more:
                left[0] -= 1
                if left[0] < 0:
                    raise Gone
            return plain[call](*arguments, **more)

        return cut_it

    for call in plain:
        file.monkeypatch.setattr(os, call, cutting(call))
    with contextlib.suppress(Gone):
        file.call("applied", **wish)
    for call, function in plain.items():
        file.monkeypatch.setattr(os, call, function)
    sessions.remove()
    places = [folder + "/" + inner, folder + "/{0}.before-{1}".format(name, STAMP) + inner[len(name) :]]
    assert "live" in [text(path) for path in places if os.path.exists(path)], "what was live is lost"
    opened = file.call("open", **wish)
    if opened["step"] == "open":
        file.vault.send(opened["folder"], {inner: "restored"})
    file.call("applied", **wish)
    assert [text(path) for path in places] == ["restored", "live"]
    assert not [each for each in os.listdir(folder) if each.startswith(".nanozfs")]


@pytest.mark.parametrize("when", ["before it is opened", "before it is sent", "before it is put in place"])
@pytest.mark.parametrize("by", ["link", "folder"])
def test_a_user_who_puts_something_else_in_the_place_of_what_is_filled(
    file: Site, tmp_path: Any, by: str, when: str
) -> None:
    """The folder of the live file is a user's own: what is in it can be renamed at any moment."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (victim / "kept").write_text("secret")
    staging = os.path.join(file.top, "var/db", ".nanozfs-restore-" + file.call("planned")["id"])

    def attack() -> None:
        if os.path.lexists(staging):
            os.rename(staging, staging + ".away")
        if by == "link":
            os.symlink(str(victim), staging)
        else:
            os.mkdir(staging)
            os.chmod(staging, 0o777)

    if when == "before it is opened":
        attack()
        assert "cannot be made" in file.run("open")["msg"]
        return
    folder = file.call("open")["folder"]
    if when == "before it is sent":
        attack()
        with pytest.raises(FleetError, match="cannot be filled"):
            file.vault.send(folder, {"kept": "restored"})
    else:
        file.vault.send(folder, {"kept": "restored"})
        attack()
        assert "has not arrived" in file.run("applied")["msg"] or by == "link"
        assert file.run("applied")["failed"]
    assert (victim / "kept").read_text() == "secret" and os.listdir(str(victim)) == ["kept"]
    assert not os.path.lexists(os.path.join(file.top, "var/db", "kept.restored-" + STAMP))


def test_half_of_a_folder_is_never_put_in_place(file: Site) -> None:
    """It was put in place once, and is gone; the second time the line is cut."""
    folder = os.path.join(file.top, "var/db/d")
    os.makedirs(folder)
    wish: Dict[str, Any] = {"name": "/var/db/d", "in_place": True}
    bring(file, "d/inner", **wish)
    shutil.rmtree(folder)
    file.vault.status = 12
    opened = file.call("open", **wish)
    assert opened["step"] == "open" and file.vault.send(opened["folder"], {"d/half": "x"}) == 12
    sessions.remove()
    assert file.call("planned", **wish)["step"] == "open"
    assert "nothing was opened" in file.refused("applied", **wish)
    assert not os.path.lexists(folder)


PATH_REFUSALS = [
    ({"name": "var/db/kept"}, "is no path of a file"),
    ({"name": "/var/../etc/passwd"}, "is no path of a file"),
    ({"name": "/"}, "is no path"),
    ({"name": "/var/nosuch/kept"}, "there is no folder "),
    ({"name": "/var/link/kept"}, "but a link of that name"),
    ({"name": "/var/db/" + "x" * 230}, "is longer than a file system takes"),
    ({"name": "/var/db/" + "x" * 240, "in_place": True}, "is longer than a file system"),
    ({"folder": "/nosuch"}, "there is no folder /nosuch"),
    ({"folder": "/tmp", "in_place": True}, "another folder is given"),
    ({"folder": "tmp"}, "it must begin with a /"),
    ({"size": 1 << 60}, "MiB come back, and "),
    ({"name": "/var/log", "in_place": True}, "a file system is mounted on "),
]


@pytest.mark.parametrize(("more", "words"), PATH_REFUSALS, ids=[words for _more, words in PATH_REFUSALS])
def test_a_path_is_refused(file: Site, more: Dict[str, Any], words: str) -> None:
    os.symlink("db", os.path.join(file.top, "var/link"))
    for state in ("planned", "open"):
        assert words in file.refused(state, **more)


def test_a_file_somewhere_else(file: Site, tmp_path: Any) -> None:
    elsewhere = str(tmp_path / "else where\n'")
    os.makedirs(elsewhere)
    bring(file, "kept", folder=elsewhere)
    assert os.listdir(elsewhere) == ["kept.restored-" + STAMP]


def test_a_hostile_name(file: Site) -> None:
    name = "-a\nb 'c\" \\ $(d)"
    done = bring(file, name, name="/var/db/" + name)["done"]
    assert "\n" not in done[0] and os.path.exists(os.path.join(file.top, "var/db", name + ".restored-" + STAMP))


def test_what_is_given_up_is_taken_away(file: Site) -> None:
    opened = file.call("open")
    file.vault.send(opened["folder"], {"kept": "half"})
    assert file.call("closed", discard=True)["changed"]
    assert os.listdir(os.path.join(file.top, "var/db")) == ["kept"]


def test_what_has_arrived_needs_no_room_again(file: Site) -> None:
    """More comes than half of what is free."""
    size = os.statvfs(file.top).f_bavail * os.statvfs(file.top).f_frsize // 2
    opened = file.call("open", size=size)
    file.vault.send(opened["folder"], {"kept": "restored"})
    file.monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=1, f_frsize=4096))
    assert file.call("applied", size=size)["changed"]
    assert "MiB come back, and " in file.refused("open", size=size, name="/var/db/other")


@pytest.mark.parametrize("label", ["vault", "other"])
def test_the_key_of_an_earlier_one_that_nobody_has_closed_goes_too(file: Site, label: str) -> None:
    file.call("open", key=KEY.replace("IVault", label), label=label, seconds=-1)
    file.call("open", key=KEY.replace("IVault", "vault"), name="/var/db/other")
    file.call("closed", name="/var/db/other")
    with open(os.path.join(file.places.etc, "rootssh", "authorized_keys"), encoding="ascii") as keys:
        assert keys.read() == ""


def test_a_folder_with_something_else_than_zfs_in_it_does_not_go_in_place(file: Site) -> None:
    os.makedirs(os.path.join(file.top, "var/db/jail/dev"))
    where = os.path.join(file.top, "var/db/jail/dev")
    file.host.machine.running["mounts"].append({"from": "devfs", "on": where, "type": "devfs", "readonly": False})
    file.host.machine.save()
    assert "a file system is mounted on " in file.refused("open", name="/var/db/jail", in_place=True)
    assert file.call("open", name="/var/db/jail")["step"] == "open"


def test_a_host_without_rsync(file: Site) -> None:
    file.monkeypatch.setattr(shutil, "which", lambda name, **_more: None)
    assert "there is no rsync on this system" in file.refused()
