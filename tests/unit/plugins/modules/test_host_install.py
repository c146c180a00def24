# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""host_install on the model: a new host, one that is installed, and everything that it refuses."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import origins
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import HOST_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS, given, merged, pack
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.modules import host_install
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.unit.agent import HOOK
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost, boot

ROOT = "tank/nanozfs"
VDEVS = [{"type": "raidz", "disks": ["ada1", "ada2", "ada3"]}]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ admin"


class Linking(Kernel):
    """A kernel whose mounts can be seen: a link in the place of the folder that is mounted on."""

    def bind(self, source: str, target: str, readonly: bool) -> None:
        if os.path.isdir(target) and not os.path.islink(target):
            os.rename(target, target + ".under")
            os.symlink(source, target)

    def unmount(self, target: str, force: bool) -> bool:
        if os.path.islink(target):
            os.unlink(target)
            os.rename(target + ".under", target)
        return True


class Target:
    """A host that is to be installed, with /etc, /cfg and /var in a folder of the test."""

    def __init__(self, host: ModuleHost, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.folder = os.path.join(folder, "root")
        host.machine.kernel = Linking()
        etc, base, cfg, recovery = (os.path.join(self.folder, each) for each in ("etc", "base", "cfg", "recovery"))
        self.places = Places(etc, base, cfg, HOOK, recovery)
        for place in (self.places.etc, self.places.base, self.places.cfg, self.at("var")):
            os.makedirs(place)
        monkeypatch.setattr(host_install, "PLACES", self.places)
        monkeypatch.setattr(host_install, "ROOT", self.folder)
        plain = host._run_command

        def run_command(argv: Sequence[str], data: Optional[str] = None, **kwargs: Any) -> Tuple[int, str, str]:
            if argv[0] == "sh":
                done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
                return done.returncode, done.stdout, done.stderr
            if argv[0] in ("pwd_mkdb", "cap_mkdb"):
                return 0, "", ""
            found: Tuple[int, str, str] = plain(argv, data, **kwargs)
            return found

        monkeypatch.setattr(host, "_run_command", staticmethod(run_command))  # no method, once it is in a class
        self.wish: Dict[str, Any] = {
            "pool": "tank",
            "hostname": "web-1",
            "vdevs": VDEVS,
            "filesystem_properties": {"mountpoint": "none", "canmount": False, "atime": False},
            "datasets": [{"name": "var/log", "properties": {"nanozfs:rollback": "keep"}}, {"name": "var/db"}],
            "rc_conf": {"ntpd_enable": True},
            "authorized_keys": [KEY],
        }

    def at(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def recovery(self) -> None:
        """As it came up from a new medium."""
        self.host.command("kenv", "nanozfs.state=recovery")

    def installed(self) -> None:
        """As the early hook brings it up: /cfg laid over /etc, /var mounted."""
        self.host.command("kenv", "nanozfs.state=normal")
        self.host.command("mount", "-t", "zfs", "-o", "ro", ROOT + "/cfg", self.places.cfg)
        subprocess.run(["cp", "-Rp", self.places.cfg + "/.", self.places.etc], check=True)
        os.unlink(os.path.join(self.places.etc, origins.NAME))  # the hook leaves it in /cfg
        for name in ("", "/log", "/db"):
            self.host.command("mount", "-t", "zfs", ROOT + "/var" + name, self.at("var" + name))

    def run(self, check: bool = False, **more: Any) -> Dict[str, Any]:
        return self.host.ok("host_install", check, **dict(self.wish, **more))

    def refused(self, **more: Any) -> str:
        before = self.tree()
        message = self.host.refused("host_install", **dict(self.wish, **more))
        assert self.tree() == before
        planned = self.host.run("host_install", **dict(self.wish, state="planned", **more))
        assert planned["failed"] and planned["msg"] == message, "the plan does not say what the act says"
        return message

    def tree(self) -> List[Tuple[str, str]]:
        """All files with their modes and contents."""
        found = []
        for top, _folders, names in os.walk(self.folder, followlinks=True):
            for name in names:
                path = os.path.join(top, name)
                with open(path, "rb") as file:
                    found.append((path, "{0:o} {1!r}".format(os.stat(path).st_mode, file.read())))
        return sorted(found)

    def put(self, tree: str, path: str, content: str, mode: int) -> None:
        full = os.path.join(getattr(self.places, tree), path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(full, mode)

    def make_key(self, tree: str, passphrase: str = "") -> Tuple[str, str]:
        """A host key, as sshd's script makes it; both halves."""
        full = os.path.join(getattr(self.places, tree), HOST_KEY)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        for end in ("", ".pub"):
            if os.path.exists(full + end):
                os.unlink(full + end)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", full], check=True)
        return str(self.get(tree, HOST_KEY)), str(self.get(tree, HOST_KEY + ".pub"))

    def get(self, tree: str, path: str) -> Optional[str]:
        full = os.path.join(getattr(self.places, tree), path)
        if not os.path.exists(full):
            return None
        with open(full, encoding="utf-8") as file:
            return file.read()

    def mode(self, tree: str, path: str) -> int:
        return stat.S_IMODE(os.stat(os.path.join(getattr(self.places, tree), path)).st_mode)

    def cfg(self, path: str) -> Optional[str]:
        """A file of the dataset, which is not mounted."""
        return self.host.read(ROOT + "/cfg", path)


@pytest.fixture
def target(host: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A new host in recovery mode, with three empty disks."""
    found = Target(host, str(tmp_path), monkeypatch)
    found.recovery()
    return found


@pytest.fixture
def running(target: Target) -> Target:
    """The same host, installed and running as itself."""
    target.run()
    target.installed()
    return target


class TestNew:
    def test_everything_in_one_call(self, target: Target) -> None:
        before = target.host.fingerprint()
        planned = target.run(state="planned")
        assert (planned["step"], planned["restart"], planned["changed"]) == ("install", True, False)
        checked = target.run(check=True)
        assert checked["changed"] and target.host.fingerprint() == before
        result = target.run()
        assert result["changed"] and result["restart"]
        assert result["actions"] == checked["actions"]
        journal = [each for each in result["actions"] if "nanozfs:image=" in each]
        assert [each for each in result["actions"] if each not in journal] == planned["actions"], "it hashes nothing"
        assert result["done"] == checked["done"]
        for line in ("pool tank: raidz ada1 ada2 ada3", "dataset tank/nanozfs/var/db: there"):
            assert line in result["done"]
        assert "rc.conf: 0644" in result["diff"]["after"]
        assert target.cfg("rc.conf").splitlines()[1:] == [  # type: ignore[union-attr]
            'hostname="web-1"',
            'ntpd_enable="YES"',
            'sshd_enable="YES"',
        ]
        assert target.cfg("rootssh/authorized_keys") == KEY + "\n"
        assert "PRIVATE KEY" in str(target.cfg(HOST_KEY))
        assert target.host.command("zfs", "get", "-H", "-o", "value", "atime", "tank").strip() == "off"
        assert "nanozfs:image" in target.host.command("zfs", "get", "-H", "all", ROOT)
        assert target.host.command("mount", "-p").count("zfs") == 0, "/cfg was left mounted"

    def test_the_key_of_recovery_mode_becomes_its_own(self, target: Target) -> None:
        """Whoever deploys it has accepted that one."""
        key, public = target.make_key("etc")
        target.put("etc", HOST_KEY + ".pub", "ssh-ed25519 of somebody else\n", 0o600)
        told = target.run(check=True)
        assert "{0}: 0600".format(HOST_KEY) in told["diff"]["after"] and "PRIVATE" not in str(told)
        assert told["ssh_host_key"] == "", "a key that is not in place yet was told"
        assert target.run()["ssh_host_key"].split()[:2] == public.split()[:2]
        assert target.cfg(HOST_KEY) == key and str(target.cfg(HOST_KEY + ".pub")).split()[1] == public.split()[1]
        assert not target.run()["changed"]
        # a later start in recovery mode makes another one, and the host keeps its own
        target.make_key("etc")
        again = target.run()
        assert not again["changed"] and target.cfg(HOST_KEY) == key
        assert again["ssh_host_key"].split()[:2] == public.split()[:2], "its own key counts"

    def test_a_host_that_would_come_up_in_recovery_mode_again(self, target: Target) -> None:
        boot(target.host.machine, "nz-recovery")
        target.host.command("kenv", "nanozfs.state=recovery")
        assert "started from its recovery slice, and would start from that again" in target.refused()

    @pytest.mark.parametrize("name", ["h\u00f6st", "two words", "", "-x", "x.", "a" * 64, "$(id)", "a..b"])
    def test_what_is_no_name_for_a_host(self, target: Target, name: str) -> None:
        assert "is no name for a host" in target.refused(hostname=name)

    def test_a_name_may_have_its_domain(self, target: Target) -> None:
        target.run(hostname="web-1.example.org")
        assert 'hostname="web-1.example.org"' in str(target.cfg("rc.conf"))

    @pytest.mark.parametrize("given", [[HOST_KEY, HOST_KEY + ".pub"], [HOST_KEY], [HOST_KEY + ".pub"]])
    def test_the_key_that_the_site_gives_goes_before(self, target: Target, given: List[str]) -> None:
        target.make_key("etc")
        files = {path: "of the site, {0}\n".format(path) for path in given}
        target.run(files=files)
        for path in (HOST_KEY, HOST_KEY + ".pub"):
            assert target.cfg(path) == files.get(path)
        assert not target.run(files=files)["changed"]

    @pytest.mark.parametrize("tree", ["base", "recovery"])
    def test_a_key_that_every_host_has_is_none(self, target: Target, tree: str) -> None:
        key, _public = target.make_key("etc")
        target.put(tree, HOST_KEY, key, 0o600)
        target.run()
        assert "PRIVATE KEY" in str(target.cfg(HOST_KEY)) and target.cfg(HOST_KEY) != key

    @pytest.mark.parametrize("broken", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nhalf", "secured", "for all to read"])
    def test_a_key_that_sshd_does_not_take_is_none(self, target: Target, broken: str) -> None:
        mode = 0o644 if broken == "for all to read" else 0o600
        if broken in ("secured", "for all to read"):
            broken, _public = target.make_key("etc", "passphrase" if broken == "secured" else "")
        target.put("etc", HOST_KEY, broken, mode)
        target.run()
        assert "PRIVATE KEY" in str(target.cfg(HOST_KEY)) and target.cfg(HOST_KEY) != broken
        assert str(target.cfg(HOST_KEY + ".pub")).startswith("ssh-ed25519 ")

    def test_twice_is_once(self, target: Target) -> None:
        target.run()
        key = target.cfg(HOST_KEY)
        again = target.run()
        assert not again["changed"] and again["restart"] and again["done"] == []
        assert target.cfg(HOST_KEY) == key

    def test_what_a_new_pool_may_ever_have(self, target: Target) -> None:
        made = target.run(pool_compatibility="openzfs-2.1-freebsd")["actions"][0]
        assert "zpool create -o cachefile=none -o compatibility=openzfs-2.1-freebsd" in made

    def test_what_the_properties_say_of_that_counts_more(self, target: Target) -> None:
        made = target.run(pool_compatibility="openzfs-2.1-freebsd", pool_properties={"compatibility": "off"})
        assert "compatibility=off" in made["actions"][0]

    def test_a_pool_that_is_there_is_kept(self, target: Target) -> None:
        target.run()
        target.host.write(ROOT + "/var", "marker", "data")
        target.host.command("zpool", "export", "tank")
        result = target.run(vdevs=[])
        assert "pool tank: imported" in result["done"] and target.host.read(ROOT + "/var", "marker") == "data"

    def test_a_pool_whose_configuration_is_broken(self, target: Target) -> None:
        target.run()
        target.host.write(ROOT + "/cfg", "rc.conf.local", "x=$((08))\n")
        target.run(rc_conf={"a": "b"})  # it is left out at a start, and not by us
        assert 'a="b"' in str(target.cfg("rc.conf"))

    def test_a_pool_of_another_host(self, target: Target) -> None:
        target.run()
        target.host.machine.load()
        target.host.command("sysctl", "kern.hostid=7")
        target.host.command("zpool", "export", "tank")
        target.host.command("zpool", "import", "-f", "-N", "tank")
        target.host.machine.load()
        target.host.machine.running["pools"] = {}
        target.host.machine.save()
        target.host.command("sysctl", "kern.hostid=9")
        assert "deploy_force_hostid=7" in target.refused()
        assert target.run(force_hostid="7")["changed"]

    def test_a_medium_first(self, target: Target) -> None:
        target.host.command("kenv", "-u", "nanozfs.state")
        planned = target.run(state="planned", disk="/dev/ada1")
        assert (planned["step"], planned["of_fleet"], planned["done"]) == ("medium", True, [])
        target.recovery()
        assert target.run(state="planned", disk="/dev/ada0")["step"] == "install"


class TestBackupHosts:
    LINE = 'restrict,command="/usr/local/sbin/nanozfs backup serve vault" ssh-ed25519 AAAA nanozfs-backup@vault'

    def test_their_lines_stay(self, running: Target) -> None:
        for tree in ("cfg", "etc"):
            running.put(tree, KEYS, KEY + "\n" + self.LINE + "\n", 0o600)
        assert not running.run()["changed"], "a deployment without changes takes it for one"
        again = running.run(authorized_keys=["ssh-ed25519 BBBB other"])
        assert again["changed"]
        for tree in ("cfg", "etc"):
            assert running.get(tree, KEYS) == "ssh-ed25519 BBBB other\n" + self.LINE + "\n"

    def test_their_lines_stay_on_a_host_that_is_made_anew(self, target: Target) -> None:
        target.run()
        target.host.write(ROOT + "/cfg", KEYS, KEY + "\n" + self.LINE + "\n")
        target.run()
        assert target.cfg(KEYS) == KEY + "\n" + self.LINE + "\n"

    @pytest.mark.parametrize("keys", [{"authorized_keys": [LINE]}, {"files": {KEYS: "# nobody\n" + LINE}}])
    def test_they_are_nobody_who_could_log_in(self, target: Target, keys: Dict[str, Any]) -> None:
        wish = dict({"authorized_keys": []}, **keys)
        assert "Nobody could log in" in target.refused(**wish)


class TestFiles:
    def test_as_they_are_given(self, target: Target) -> None:
        files: Dict[str, Any] = {
            "local/app.json": '{"port": 8080}\n',
            "local/tpl": "alias ll 'ls {{x}}'\n",
            "local/number": "0010\n",
            "local/noeol": "x",
            "local/empty": "",
            "master.passwd": "root:$6$aa$bb:0:0::0:0:Charlie &:/root:/bin/sh\n",
            "local/ssl/private.key": "secret\n",
            "local/pg.conf": {"content": "x\n", "mode": "0640"},
        }
        result = target.run(files=files)
        for path, value in files.items():
            assert target.cfg(path) == (value if isinstance(value, str) else value["content"])
        modes = {line.split(": ")[0]: line.split(": ")[1][:4] for line in result["done"] if ", " in line}
        assert modes["master.passwd"] == modes["local/ssl/private.key"] == "0600"
        assert modes["local/pg.conf"] == "0640" and modes["local/app.json"] == "0644"
        shown = str({key: value for key, value in result.items() if key != "host"})
        assert "secret" not in shown and "$6$" not in shown and "8080" not in shown

    def test_packed(self, target: Target) -> None:
        """As the action sends it."""
        packed = pack(merged(given({"motd": "ä\n"})), {"rc_conf": {"motto": "a `date` $b"}, "authorized_keys": [KEY]})
        target.run(packed=packed, rc_conf={}, authorized_keys=[])
        assert target.cfg("motd") == "ä\n" and "motto='a `date` $b'\n" in str(target.cfg("rc.conf"))

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({"../passwd": "x"}, "no path of a file in /etc"),
            ({"/etc/motd": "x"}, "no path of a file in /etc"),
            ({"a\nb": "x"}, "no path of a file in /etc"),
            ({"a//b": "x"}, "no path of a file in /etc"),
            ({"fstab": "x"}, "only the image has it"),
            ({"rc.conf": "x"}, "deploy_rc_conf"),
            ({"motd": 8}, "must be text, and is int"),
            ({"motd": {"text": "x"}}, "of which content is needed"),
            ({"motd": {"content": "x", "mode": 384}}, "mode: '0640'"),
            ({"motd": {"content": "x", "mode": "0999"}}, "octal digits"),
            ({"motd": {"content": "x", "owner": "nobody-of-that-name"}}, "no user nobody-of-that-name"),
            ({"a": "x", "a/b": "y"}, "wants it to be a folder"),
            ({"rootssh/authorized_keys": KEY}, "given by deploy_authorized_keys and by deploy_files"),
            ({"rc.conf.local": "x=$((08))\n"}, "rc.conf.local"),
        ],
    )
    def test_refused(self, target: Target, files: Any, says: str) -> None:
        assert says in target.refused(files=files)

    @pytest.mark.parametrize(
        "value", ['-s -f "/etc/local/syslog main.conf"', "pa$$word", "a `date` b", "it's", 'a\\"b', "x; reboot", "ä"]
    )
    def test_a_shell_reads_what_was_given(self, target: Target, value: str) -> None:
        target.run(rc_conf={"motto": value})
        script = target.at("rc.conf")
        with open(script, "w", encoding="utf-8") as file:
            file.write(str(target.cfg("rc.conf")))
        done = subprocess.run(
            ["sh", "-c", '. "$0"; printf %s "$motto"', script], capture_output=True, text=True, check=True
        )
        assert done.stdout == value

    @pytest.mark.parametrize(
        ("rc_conf", "says"),
        [
            ({"a-b": "x"}, "no name for a setting"),
            ({"x": {"a": 1}}, "must be text or a number"),
            ({"x": "a\nb"}, "line feed"),
            ({"hostname": "other"}, "deploy_hostname"),
            ({"IFS": "x"}, "IFS"),
            ({"root_rw_mount": True}, "set by the layout itself"),
        ],
    )
    def test_no_settings(self, target: Target, rc_conf: Any, says: str) -> None:
        assert says in target.refused(rc_conf=rc_conf)


class TestInstalled:
    def test_nothing_to_do(self, running: Target) -> None:
        result = running.run()
        assert not result["changed"] and not result["restart"]
        assert running.run(state="planned")["done"] == []

    def test_what_is_written_is_in_etc_too(self, running: Target) -> None:
        """Or the next `nanozfs save` would undo it."""
        files = {"local/db.key": "s3cret\n", "login.conf": "default:\n"}
        checked = running.run(check=True, files=files, rc_conf={"motto": "new"})
        assert running.get("cfg", "local/db.key") is None
        result = running.run(files=files, rc_conf={"motto": "new"})
        assert result["changed"] and result["actions"] == checked["actions"] and result["done"] == checked["done"]
        for tree in ("etc", "cfg"):
            assert running.get(tree, "local/db.key") == "s3cret\n" and running.mode(tree, "local/db.key") == 0o600
            assert 'motto="new"' in str(running.get(tree, "rc.conf"))
        assert result["actions"][0].startswith("mount -u -o rw") and result["actions"][1].startswith("mount -u -o ro")
        assert "  motto: as deploy_rc_conf says" in result["diff"]["after"] and "new" not in result["diff"]["after"]
        (told,) = result["warnings"]
        assert told.startswith("local/db.key, login.conf, rc.conf are new in /etc: what runs has read the old one")
        assert checked["warnings"] == []
        again = running.run(files=files, rc_conf={"motto": "new"})
        assert not again["changed"] and again["warnings"] == []

    def test_it_is_noted_what_files_are_made_against(self, running: Target) -> None:
        """For the merge of an upgrade. On a new host that is what runs while it is installed, which may be older."""
        before = origins.read(running.places.cfg)
        assert before and all(each.assumed for each in before.values())
        with open(os.path.join(running.places.base, "login.conf"), "w", encoding="utf-8") as file:
            file.write("of the image\n")
        running.run(files={"login.conf": "default:\n"})
        note = origins.read(running.places.cfg)["login.conf"]
        assert (note.content, note.assumed) == (b"of the image\n", False)
        assert running.get("etc", origins.NAME) is None

    def test_etc_that_was_left_behind(self, running: Target) -> None:
        """As an earlier version of the role left it."""
        with open(os.path.join(running.places.etc, "rc.conf"), "w", encoding="utf-8") as file:
            file.write("by hand\n")
        result = running.run()
        assert result["changed"] and running.get("etc", "rc.conf") == running.get("cfg", "rc.conf")
        assert "rc.conf had been changed on the host and not saved" in result["warnings"][0]

    def test_a_key_that_nobody_kept(self, running: Target) -> None:
        for end in ("", ".pub"):
            os.unlink(os.path.join(running.places.cfg, HOST_KEY + end))
        key = running.get("etc", HOST_KEY)
        running.run()
        assert running.get("cfg", HOST_KEY) == key and running.mode("cfg", "ssh") == 0o755

    def test_a_new_dataset_is_mounted(self, running: Target) -> None:
        datasets = [*running.wish["datasets"], {"name": "var/mail", "properties": {"quota": "1G", "atime": False}}]
        result = running.run(datasets=datasets)
        assert "var/mail: mounted at {0}".format(running.at("var/mail")) in result["done"]
        assert ROOT + "/var/mail" in running.host.command("mount", "-p")
        assert not running.run(datasets=datasets)["changed"]

    def test_a_dataset_over_files(self, running: Target) -> None:
        os.makedirs(running.at("var/pg"))
        with open(running.at("var/pg/table"), "w", encoding="utf-8") as file:
            file.write("years of data\n")
        message = running.refused(datasets=[{"name": "var/pg"}])
        assert "var/pg of deploy_datasets would hide the files" in message and "table" in message

    def test_a_write_that_fails(self, running: Target) -> None:
        os.makedirs(os.path.join(running.places.cfg, "motd"))
        result = running.host.run("host_install", **dict(running.wish, files={"motd": "x"}, rc_conf={"a": "b"}))
        assert result["failed"] and "no file of" in result["msg"]
        assert 'a="b"' not in str(running.get("cfg", "rc.conf"))
        assert ROOT + "/cfg" in running.host.command("mount", "-p")


class TestRefused:
    @pytest.mark.parametrize(
        ("datasets", "says"),
        [
            ([{"name": "var/a"}, {"name": "var/a"}], "var/a twice"),
            ([{"name": "var/a/b"}], "there is no var/a"),
            ([{"name": "failed/x"}], "of the collection"),
            ([{"name": "cfg", "properties": {"mountpoint": "/cfg"}}], "must keep mountpoint=legacy"),
            ([{"name": "data", "properties": {"mountpoint": "/etc"}}], "over /etc"),
            (
                [{"name": "data", "properties": {"mountpoint": "/var/db"}}, {"name": "var/db"}],
                "data (mounted at /var/db) would hide var/db",
            ),
            (
                [{"name": "data", "properties": {"mountpoint": "/var/db"}}, {"name": "var/db"}, {"name": "var/db/pg"}],
                "would hide",
            ),
            ([{"name": "var/a", "properties": {"quota": ["1G"]}}], "quota of var/a"),
            ([{"name": "a@b"}], "no valid dataset name"),
        ],
    )
    def test_datasets(self, target: Target, datasets: Any, says: str) -> None:
        assert says in target.refused(datasets=datasets)

    def test_datasets_beside_each_other(self, target: Target) -> None:
        datasets = [
            {"name": "var/db/pg"},
            {"name": "var/db"},
            {"name": "home", "properties": {"mountpoint": "/home"}},
            {"name": "home/a"},
            {"name": "var/www", "properties": {"mountpoint": "/srv/www"}},
        ]
        message = target.refused(datasets=datasets)
        assert "home would be mounted at /home, which the image does not have, and its root is read-only" in message
        os.makedirs(target.at("home"))
        assert "var/www would be mounted at /srv/www" in target.refused(datasets=datasets)
        os.makedirs(target.at("srv/www"))
        assert target.run(datasets=datasets)["changed"]

    def test_no_key(self, target: Target) -> None:
        assert "Nobody could log in to web-1" in target.refused(authorized_keys=[])
        os.makedirs(os.path.join(target.places.base, "rootssh"))
        with open(os.path.join(target.places.base, "rootssh", "authorized_keys"), "w", encoding="utf-8") as file:
            file.write(KEY)
        target.run(authorized_keys=[])

    def test_the_wrong_pool(self, target: Target) -> None:
        assert "names the pool tank, deploy_pool is zroot" in target.refused(pool="zroot")

    def test_no_disks(self, target: Target) -> None:
        assert "deploy_pool_vdevs names no disks" in target.refused(vdevs=[])
        assert "check deploy_pool_vdevs" in target.refused(vdevs=[{"disks": ["ada7"]}])

    def test_another_freebsd(self, target: Target) -> None:
        target.host.command("kenv", "-u", "nanozfs.state")
        assert "its early boot hook did not run" in target.refused()

    def test_in_the_middle_of_an_upgrade(self, running: Target) -> None:
        running.host.command("zfs", "set", "nanozfs:phase=written", ROOT)
        assert "in the middle of an upgrade (state normal, phase written)" in running.refused()

    def test_the_pool_is_in_the_middle_of_an_upgrade(self, target: Target) -> None:
        target.run()
        target.host.command("zfs", "set", "nanozfs:phase=trial", ROOT)
        target.host.command("zpool", "export", "tank")
        result = target.host.run("host_install", **dict(target.wish, rc_conf={"a": "b"}))
        assert result["failed"] and "its early boot hook goes on with that" in result["msg"]
        assert 'a="b"' not in str(target.cfg("rc.conf"))

    def test_another_play(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leases, "PATIENCE", 0)
        with leases.locked():
            result = target.host.run("host_install", **target.wish)
        assert result["failed"] and "another call is at work" in result["msg"]

    def test_up(self, running: Target) -> None:
        running.host.command("sysctl", "kern.hostname=web-1")
        assert running.run(state="up")["host"]["state"] == "normal"
        message = running.host.refused("host_install", **dict(running.wish, hostname="web-2", state="up"))
        assert "should be 'web-2'" in message
