# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module configuration on the model: what it writes and when, what comes back, what it refuses."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rcconf
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.burst import alone
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import trial
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import Wish
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import configuration as install_configuration
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.modules import configuration, host_install
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.unit.agent import HOOK, Trees
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

ROOT = "tank/nanozfs"
BASE = {
    "ssh/sshd_config": "#Port 22\nPort 22\nSubsystem sftp /usr/libexec/sftp-server\n",
    "master.passwd": "# $FreeBSD$\nroot:*:0:0::0:0:Charlie &:/root:/bin/sh\n"
    "www:*:80:80::0:0:Web:/nonexistent:/usr/sbin/nologin\n",
    "group": "wheel:*:0:root\nwww:*:80:\n",
    "resolv.conf": "nameserver 192.0.2.99\n",
}


class Linking(Kernel):
    """A kernel whose mounts can be seen: a link in the place of the folder that is mounted on."""

    def bind(self, source: str, target: str, readonly: bool) -> None:
        if os.path.isdir(target) and not os.path.islink(target):
            os.rename(target, target + ".under")
            os.symlink(source, target)


class Host(Trees):
    """An installed host, with /etc and /cfg in a folder of the test, and a clock of its own."""

    def __init__(self, host: ModuleHost, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        host.machine.kernel = Linking()
        etc, base, cfg, recovery = (os.path.join(folder, "root", each) for each in ("etc", "base", "cfg", "recovery"))
        self.places = Places(etc, base, cfg, HOOK, recovery)
        for place in (etc, base, cfg):
            os.makedirs(place)
        monkeypatch.setattr(configuration, "PLACES", self.places)
        monkeypatch.setattr(host_install, "PLACES", self.places)
        self.ran: List[str] = []
        self.says: Dict[str, Tuple[int, str]] = {}
        self.elapsed = 0  # seconds that the connection has been there
        plain = host._run_command

        def run_command(argv: Sequence[str], data: Optional[str] = None, **kwargs: Any) -> Tuple[int, str, str]:
            if argv[0] == "timeout":
                assert list(argv[1:4]) == ["--foreground", "-k", "5"], "daemons would be waited for, and ended"
                argv = argv[5:]
            name = os.path.basename(argv[0])
            if name == "sh":
                done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
                return done.returncode, done.stdout, done.stderr
            if name == "ps":
                return 0, " 1 {0} sshd-session\n".format(self.elapsed), ""
            if name == "sshd":
                with open(argv[-1], encoding="utf-8") as file:
                    return (
                        (255, "", argv[-1] + ": Bad configuration option: Bogus")
                        if "Bogus" in file.read()
                        else (0, "", "")
                    )
            if name in ("pwd_mkdb", "service", "logger", "visudo", "pfctl", "newaliases", "newsyslog", "doas"):
                self.ran.append(" ".join([name, *argv[1:]]))
                rc, text = self.says.get(self.ran[-1], (0, ""))
                return rc, "", text
            found: Tuple[int, str, str] = plain(argv, data, **kwargs)
            return found

        monkeypatch.setattr(host, "_run_command", staticmethod(run_command))
        monkeypatch.setattr(job, "detach", self.detach)
        for path, text in BASE.items():
            self.put("base", path, text, 0o600 if path == "master.passwd" else 0o644)
        host.command("kenv", "nanozfs.state=recovery")
        vdevs = [{"type": "raidz", "disks": ["ada1", "ada2", "ada3"]}]
        keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ admin"]
        host.ok("host_install", pool="tank", hostname="web-1", vdevs=vdevs, authorized_keys=keys)
        host.command("kenv", "nanozfs.state=normal")
        host.command("mount", "-t", "zfs", "-o", "ro", ROOT + "/cfg", cfg)
        for tree in (base, cfg):
            subprocess.run(["cp", "-Rp", tree + "/.", etc], check=True)
        self.begun: List[trial.Trial] = []

    def detach(self, work: Callable[[], None]) -> None:
        """The process of a trial, which the test lets run when it wants to. It shares the locks that are held now."""
        with leases.locked(patience=0):
            pass  # nobody else who is at work on the host has to wait for the end of the trial
        with pytest.raises(Refused, match="another save is at work"), alone(self.places.cfg, "", ""):
            pass
        self.begun.append(work.__self__)  # type: ignore[attr-defined]

    def run(self, wish: Wish, check: bool = False, **more: Any) -> Dict[str, Any]:
        return self.host.ok("configuration", check, pool="tank", packed=wish.packed(), **more)

    def refused(self, wish: Wish) -> str:
        return self.host.refused("configuration", pool="tank", packed=wish.packed())

    def live(self, upto: Optional[Callable[[float], None]] = None) -> trial.Trial:
        """Let the process of the trial run; its clock is its sleeps.

        :param upto: called with the time at each of them.
        """
        process = self.begun.pop()
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds
            if upto is not None:
                upto(now[0])

        process.clock, process.sleep = (lambda: now[0]), sleep
        process.run()
        return process

    def snapshots(self) -> List[str]:
        return [each for each in self.host.names("snapshot") if "@nanozfs-configure-" in each]


@pytest.fixture
def web(host: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that is installed and runs as itself."""
    return Host(host, str(tmp_path), monkeypatch)


def files(**more: str) -> Wish:
    return Wish(files=[Entry(path, text.encode(), source="x") for path, text in more.items()])


PLAIN = files(hosts="127.0.0.1 localhost\n")
SSHD = Wish(sshd={"UseDNS": ["no"], "Port": ["2222"]})


def confirming(web: Host) -> Callable[[float], None]:
    """Somebody confirms when the trial has been there for ten seconds."""

    def upto(now: float) -> None:
        if 10 < now < 10.5:
            trial._ask(str((trial.read() or {})["token"]))

    return upto


class TestAtOnce:
    def test_what_cuts_nobody_off(self, web: Host) -> None:
        result = web.run(PLAIN)
        assert (result["state"], result["files"], result["trial"], web.begun) == ("changed", ["hosts"], [], [])
        assert web.get("cfg", "hosts") == web.get("etc", "hosts") == "127.0.0.1 localhost\n"
        assert web.snapshots() == [result["snapshot"]]
        assert "nanozfs" in web.host.command("zfs", "holds", "-H", result["snapshot"])
        again = web.run(PLAIN)
        assert (again["changed"], again["state"], web.snapshots()) == (False, "same", [result["snapshot"]])

    def test_check_mode_says_it_and_does_nothing(self, web: Host) -> None:
        before = web.host.fingerprint()
        some = files(**{"hosts": "127.0.0.1 localhost\n", "local/db": "password = s3cret\nport = 1\n"}).files
        told = web.run(Wish(files=some, shown=["*"]), check=True)
        assert told["changed"] and web.host.fingerprint() == before and web.get("etc", "hosts") is None
        shown = str(told["diff"])
        assert "127.0.0.1 localhost" in shown and "port = 1" in shown and "s3cret" not in shown
        assert "port = 1" not in str(web.run(Wish(files=some), check=True))

    def test_exactly_the_lines_that_change(self, web: Host) -> None:
        told = web.run(Wish(sshd={"PasswordAuthentication": ["no"]}, shown=["ssh/sshd_config"]), check=True)
        (diff,) = told["diff"]
        before, after = (diff[side].splitlines()[1:] for side in ("before", "after"))
        assert before == [] and "PasswordAuthentication no" in after and "Port 22" not in after

    def test_what_only_root_reads_is_never_shown(self, web: Host) -> None:
        some = [Entry("local/app.conf", b"plain words\n", 0o640), Entry("local/tls.key", b"plain words\n")]
        wish = Wish(files=some, shown=["*"])
        assert "plain words" not in str(web.run(wish))

    def test_services_that_run_are_told(self, web: Host) -> None:
        assert web.run(files(**{"syslog.d/a.conf": "*.* /var/log/all\n"}))["commands"] == ["service syslogd reload"]
        assert web.ran[-2:] == ["service syslogd onestatus", "service syslogd reload"]

    def test_one_that_does_not_run_is_not(self, web: Host) -> None:
        web.says["service syslogd onestatus"] = 1, ""
        web.run(files(**{"syslog.d/a.conf": "*.* /var/log/all\n"}))
        assert "service syslogd reload" not in web.ran

    def test_one_that_fails_is_told(self, web: Host) -> None:
        web.says["service syslogd reload"] = 1, "no"
        result = web.run(files(**{"syslog.d/a.conf": "*.* /var/log/all\n"}))
        assert result["changed"] and "syslogd reload: no" in str(result["warnings"])

    def test_rows_of_the_site(self, web: Host) -> None:
        rows = [{"path": "local/app*", "command": ["service", "app", "restart"]}]
        wish = Wish(files=[Entry("local/app.conf", b"x\n")], services=rows)
        assert web.run(wish)["commands"] == ["service app restart"]

    def test_settings_that_only_a_start_reads(self, web: Host) -> None:
        assert web.run(files(**{"rc.conf.local": 'kld_list="x"\n'}))["pending"] == ["kld_list"]

    def test_the_oldest_snapshots_go(self, web: Host) -> None:
        for number in range(3):
            web.run(files(hosts="127.0.0.{0} localhost\n".format(number + 1)), keep_snapshots=2)
        assert len(web.snapshots()) == 2

    def test_what_is_in_no_inventory_is_told_and_stays(self, web: Host) -> None:
        web.host.write(ROOT + "/cfg", "old.conf", "x\n")
        result = web.run(Wish(files=PLAIN.files, known=["rc.conf", "rootssh/authorized_keys"]))
        assert result["unaccounted"] == ["old.conf"] and web.get("cfg", "old.conf") == "x\n"

    def test_what_is_taken_out_is_the_image_s_again(self, web: Host) -> None:
        web.run(files(**{"resolv.conf": "nameserver 192.0.2.1\n", "hosts": "x\n"}))
        result = web.run(Wish(absent=["resolv.conf", "hosts", "never.there"]))
        assert result["files"] == ["hosts", "resolv.conf"]
        assert web.get("cfg", "resolv.conf") is None and web.get("etc", "resolv.conf") == BASE["resolv.conf"]
        assert web.get("etc", "hosts") is None and not web.run(Wish(absent=["resolv.conf", "hosts"]))["changed"]

    def test_a_change_that_nobody_saved_is_told(self, web: Host) -> None:
        web.put("etc", "resolv.conf", "by hand\n")
        assert "not saved" in str(web.run(files(**{"resolv.conf": "nameserver 192.0.2.1\n"}))["warnings"])


class TestTrial:
    def test_it_is_kept_when_it_is_confirmed(self, web: Host) -> None:
        result = web.run(SSHD)
        assert (result["state"], result["trial"]) == ("trial", ["ssh/sshd_config"])
        assert web.get("etc", "ssh/sshd_config") == BASE["ssh/sshd_config"], "it was in force before the answer got out"
        seen = []

        def upto(now: float) -> None:
            seen.append((web.get("etc", "ssh/sshd_config"), web.get("cfg", "ssh/sshd_config")))
            confirming(web)(now)

        process = web.live(upto)
        assert process.record["state"] == trial.CONFIRMED
        new = web.get("cfg", "ssh/sshd_config")
        assert new == web.get("etc", "ssh/sshd_config") and "UseDNS no\n" in str(new)
        assert seen[-1] == (new, None), "on trial it must not be in /cfg"
        assert (
            web.host.ok("configuration", pool="tank", state="confirmed", token=result["token"])["state"] == "confirmed"
        )
        assert not web.run(SSHD)["changed"]

    def test_it_comes_back_when_nobody_confirms(self, web: Host) -> None:
        result = web.run(Wish(files=PLAIN.files, sshd=SSHD.sshd), confirm_timeout=30)
        process = web.live()
        assert process.record["state"] == trial.REVERTED and "within 30 seconds" in process.record["why"]
        assert web.get("etc", "ssh/sshd_config") == BASE["ssh/sshd_config"] and web.get("etc", "hosts") is None
        assert web.get("cfg", "ssh/sshd_config") is None and web.get("cfg", "hosts") is None
        assert web.ran.count("service sshd reload") == 2
        said = web.host.refused("configuration", pool="tank", state="confirmed", token=result["token"])
        assert "was taken back: nobody confirmed" in said

    def test_it_comes_back_when_a_service_does_not_take_it(self, web: Host) -> None:
        web.says["service sshd reload"] = 1, "sanity check failed"
        web.run(SSHD)
        process = web.live()
        assert "sanity check failed" in process.record["why"]
        assert (
            web.get("etc", "ssh/sshd_config") == BASE["ssh/sshd_config"] and web.get("cfg", "ssh/sshd_config") is None
        )
        assert process.record["left"] != [], "that the old one was not taken either is not told"

    def test_it_comes_back_when_cfg_cannot_be_written(self, web: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        web.run(SSHD)

        def fails(*_args: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(web.begun[-1].configuration, "store", fails)
        assert web.live(confirming(web)).record["state"] == trial.REVERTED
        assert web.get("etc", "ssh/sshd_config") == BASE["ssh/sshd_config"]

    def test_what_fails_at_other_services_is_told(self, web: Host) -> None:
        web.says["service netif stop"] = 1, "who knows"
        result = web.run(files(**{"rc.conf.local": 'ifconfig_igb0="inet 192.0.2.11/24"\n'}))
        assert web.live(confirming(web)).record["state"] == trial.CONFIRMED
        told = web.host.ok("configuration", pool="tank", state="confirmed", token=result["token"])
        assert "netif stop: who knows" in str(told["warnings"])

    def test_the_network_goes_down_with_the_old_files(self, web: Host) -> None:
        web.run(files(**{"rc.conf.local": 'ifconfig_igb0="inet 192.0.2.11/24"\n'}))
        web.ran.clear()
        web.live()
        once = ["service routing stop", "service netif stop", "service netif start", "service routing start"]
        assert [each for each in web.ran if each.startswith("service")] == once * 2
        assert web.get("etc", "rc.conf.local") is None

    @staticmethod
    def services(web: Host) -> List[str]:
        return [each for each in web.ran if each.startswith("service") and "onestatus" not in each]

    def test_what_it_switched_on_is_switched_off_again(self, web: Host) -> None:
        """rc.subr(8) takes no ``restart`` of what is not enabled, and exits with 0: the rules would stay for ever."""
        web.put("etc", "defaults/rc.conf", 'pf_enable="NO"\t# rules of nobody\n')
        web.run(files(**{"rc.conf.local": 'pf_enable="YES"\n', "pf.conf": "block all\n"}))
        web.live()
        assert self.services(web) == ["service pf restart", "service pf onestop"]

    def test_what_it_switched_off_is_switched_on_again(self, web: Host) -> None:
        web.run(files(**{"rc.conf.local": 'sshd_enable="NO"\n'}))
        web.says["service sshd onestatus"] = 1, ""
        web.begun[-1].configuration.runner.actions.clear()
        web.live()
        assert self.services(web)[-1] == "service sshd restart"

    def test_what_died_of_it_is_started_again(self, web: Host) -> None:
        """Sshd takes a reload, and ends when it cannot have its ``ListenAddress``."""
        web.run(SSHD)

        def upto(now: float) -> None:
            if now > 10:
                web.says["service sshd onestatus"] = 1, "sshd is not running."

        web.live(upto)
        assert self.services(web) == ["service sshd reload", "service sshd onestart"]

    def test_it_comes_back_where_etc_is_full(self, web: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody else has filled the memory disk: there is no room for both versions of a file."""
        web.run(Wish(files=PLAIN.files, sshd=SSHD.sshd))
        plain = install_configuration._write

        def write(file: install_configuration.File, path: str) -> None:
            here = os.path.join(web.places.etc, file.path)
            if self.full and os.path.lexists(here):
                raise OSError(28, "No space left on device", path)
            plain(file, path)

        self.full = False
        monkeypatch.setattr(install_configuration, "_write", write)

        def upto(now: float) -> None:
            self.full = now > 5

        record = web.live(upto).record
        assert (record["state"], record["left"]) == (trial.REVERTED, [])
        assert web.get("etc", "ssh/sshd_config") == BASE["ssh/sshd_config"] and web.get("etc", "hosts") is None
        assert web.ran.count("service sshd reload") == 2

    def test_a_command_that_does_not_end(self, web: Host) -> None:
        web.says["service sshd reload"] = 124, ""
        web.run(SSHD)
        process = web.live()
        assert process.record["state"] == trial.REVERTED and "did not end within 180 s" in process.record["why"]

    def test_what_did_not_run_is_not_started(self, web: Host) -> None:
        web.says["service pf onestatus"] = 1, ""
        web.run(files(**{"pf.conf": "pass all\n"}))
        web.live()
        assert self.services(web) == []

    def test_one_that_the_image_may_have_enabled(self, web: Host) -> None:
        web.run(files(**{"rc.conf.local": 'pf_flags="-O"\n'}))
        web.live(confirming(web))
        assert self.services(web) == ["service pf onerestart"]

    def test_an_old_connection_does_not_confirm(self, web: Host) -> None:
        token = web.run(SSHD)["token"]
        process = web.begun[-1]
        process._note(trial.APPLIED, applied=100.0)
        web.elapsed = 10
        runner = process.configuration.runner
        for elapsed in (9, 10, 100):
            web.elapsed = elapsed
            assert trial.confirm(runner, token, lambda: 110.0)["state"] == trial.APPLIED and not process._asked()
        web.elapsed = 8
        ended = iter([None])
        assert trial.confirm(runner, token, lambda: 110.0, lambda _s: process._note(next(ended, "") or trial.CONFIRMED))
        assert process._asked()

    @pytest.mark.parametrize(
        ("lines", "since"),
        [
            (["9 2 python", "8 3 sh", "7 900 sshd-session", "1 9000 sshd"], 900.0),
            (["9 2 python", "1 3 sh", "0 9000 init"], 2.0),
            (["9 2 python", ""], None),
            ([""], None),
            (["9 2 python"] * 99, None),
        ],
    )
    def test_since_when_a_connection_is_there(self, lines: List[str], since: Optional[float]) -> None:
        said = iter(lines)

        def execute(argv: Sequence[str], _stdin: Optional[str]) -> Tuple[int, str, str]:
            line = next(said)
            return (0 if line else 1), line + "\n", ""

        if since is None:
            with pytest.raises(FleetError, match="cannot be told"):
                trial.connected_since(Runner(execute))
        else:
            assert trial.connected_since(Runner(execute)) == since

    def test_a_host_that_was_restarted(self, web: Host) -> None:
        assert "restarted meanwhile" in web.host.refused("configuration", pool="tank", state="confirmed", token="x")

    def test_one_whose_process_was_ended(self, web: Host) -> None:
        token = web.run(SSHD)["token"]
        process = web.begun[-1]
        process._note(trial.APPLIED, applied=0.0, own=True, pid=2**22 + 1)
        said = web.host.refused("configuration", pool="tank", state="confirmed", token=token)
        assert "was ended by somebody" in said and "restart the host" in said
        assert web.run(PLAIN)["state"] == "changed"

    def test_a_number_of_a_process_that_is_another_one_s(self, web: Host) -> None:
        web.run(SSHD)
        until = float((trial.read() or {})["until"])
        runner = web.begun[-1].configuration.runner
        assert trial.under_way(runner, lambda: until + 60) == 0.0
        assert trial.under_way(runner, lambda: until + 7200) is None

    def test_the_keys_of_backup_hosts_stay(self, web: Host) -> None:
        line = "ssh-ed25519 AAAA nanozfs-backup@vault\n"
        web.host.write(ROOT + "/cfg", "rootssh/authorized_keys", "ssh-ed25519 AAAB admin\n" + line)
        web.run(files(**{"rootssh/authorized_keys": "ssh-ed25519 AAAC new\n"}))
        web.live(confirming(web))
        assert web.get("cfg", "rootssh/authorized_keys") == "ssh-ed25519 AAAC new\n" + line

    def test_what_no_trial_can_show_is_told(self, web: Host) -> None:
        result = web.run(
            files(**{"rc.conf.local": 'firewall_enable="YES"\nkld_list="x"\n', "rc.conf.d/netif": "x=1\n"})
        )
        assert result["pending"] == ["firewall_enable", "kld_list", "rc.conf.d/netif"]
        (told,) = result["warnings"]
        assert told.startswith("firewall_enable, rc.conf.d/netif: only the next start")

    @pytest.mark.parametrize("text", ['if :; then\n  ifconfig_em0="x"\nfi\n', 'x=1; defaultrouter="y"\n', ":\n"])
    def test_a_script_instead_of_settings_is_on_trial(self, web: Host, text: str) -> None:
        assert web.run(files(**{"rc.conf.local": text}), check=True)["trial"] == ["rc.conf.local"]

    def test_settings_alone_are_not(self, web: Host) -> None:
        text = "# of ours\nkld_list=\"a b\" # two\n\nx='$y'\nz=YES\n"
        text += rcconf.render({"motto": "it's on $trial"}, (), "x")
        assert web.run(files(**{"rc.conf.local": text}), check=True)["trial"] == []

    def test_one_at_a_time(self, web: Host) -> None:
        web.run(SSHD)
        assert "another configuration is on trial" in web.refused(PLAIN)


class TestRefused:
    def test_what_is_taken_out_is_not_beyond_a_link(self, web: Host, tmp_path: Any) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("x")
        os.symlink(str(outside), os.path.join(os.path.realpath(web.places.cfg), "out"))
        assert "a link is in the way" in web.refused(Wish(absent=["out/precious"]))
        assert (outside / "precious").exists()

    @pytest.mark.parametrize("path", ["ssh", "ssh/ssh_host_ed25519_key"])
    def test_what_is_not_taken_out(self, web: Host, path: str) -> None:
        assert "cannot be taken out" in web.refused(Wish(absent=[path]))

    @pytest.mark.parametrize(
        ("wish", "says"),
        [
            (Wish(sshd={"Bogus": ["yes"]}), "sshd says: ssh/sshd_config: Bad configuration option: Bogus"),
            (files(**{"rc.conf.local": "x='\n"}), "rc.conf.local would be left out"),
            (files(**{"periodic.conf": "x='\n"}), "periodic.conf: sh says"),
            (Wish(users={"new": {}}), "new on this host, and has no uid"),
            (Wish(users={"new": {"uid": 80}}), "has the number 80, which www has"),
            (Wish(users={"new": {"uid": 1001, "groups": ["nobody"]}}), "neither on this host"),
            (Wish(groups={"new": {"gid": 80}}), "has the number 80, which www has"),
        ],
    )
    def test_before_anything_is_written(self, web: Host, wish: Wish, says: str) -> None:
        says = says.replace("has the number", "shall have the number")
        assert says in web.refused(wish)
        assert web.snapshots() == [] and web.begun == []

    def test_what_the_site_judges(self, web: Host) -> None:
        rows = [{"path": "local/app.conf", "command": ["/bin/sh", "-n", "{}"]}]
        said = web.refused(Wish(files=[Entry("local/app.conf", b"'\n")], checks=rows))
        assert "local/app.conf: sh says" in said

    def test_more_than_etc_can_hold(self, web: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        full = os.statvfs_result((4096, 4096, 4, 4, 4, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _path: full)
        assert "would not fit into /etc" in web.refused(PLAIN)

    @pytest.mark.parametrize("state", ["recovery", "trial"])
    def test_a_host_that_is_not_itself(self, web: Host, state: str) -> None:
        web.host.command("kenv", "nanozfs.state=" + state)
        assert "is in state " + state in web.refused(PLAIN)

    def test_one_in_the_middle_of_an_upgrade(self, web: Host) -> None:
        web.host.command("zfs", "set", "nanozfs:phase=written", ROOT)
        assert "in the middle of an upgrade" in web.refused(PLAIN)


class TestPeople:
    def test_users_are_laid_over_those_of_the_image(self, web: Host) -> None:
        wish = Wish(users={"ann": {"uid": 1001, "groups": ["wheel"], "password": "$6$x$yyyyyyyyyy"}})
        assert "$6$" not in str(web.run(wish)["diff"])
        web.put("etc", "spwd.db", "of pwd_mkdb")
        web.live(confirming(web))
        assert str(web.get("cfg", "master.passwd")) == BASE["master.passwd"] + (
            "ann:$6$x$yyyyyyyyyy:1001:1001::0:0::/nonexistent:/bin/sh\n"
        )
        assert web.get("cfg", "group") == "wheel:*:0:root,ann\nwww:*:80:\nann:*:1001:\n"
        assert stat.S_IMODE(os.stat(os.path.join(web.places.cfg, "master.passwd")).st_mode) == 0o600
        assert any(each.startswith("pwd_mkdb -p") for each in web.ran)
        assert web.get("cfg", "spwd.db") == "of pwd_mkdb", "what pwd_mkdb made counts as unsaved else"
        assert not web.run(wish)["changed"]

    def test_root_and_toor_have_one_number(self, web: Host) -> None:
        for tree in ("base", "etc"):
            web.put(tree, "master.passwd", BASE["master.passwd"] + "toor:*:0:0::0:0:Bourne:/root:\n", 0o600)
        assert web.run(Wish(users={"root": {"shell": "/bin/tcsh", "uid": 0}}), check=True)["state"] == "trial"
        assert "root has the number 0 on this host" in web.refused(Wish(users={"root": {"uid": 1001}}))
        assert "www has the number 80 on this host" in web.refused(Wish(groups={"www": {"gid": 81}}))

    def test_the_host_s_own_lines_stay_as_they_are(self, web: Host) -> None:
        own = "# of ours\nroot:*:0:0::0:0:Charlie &:/root:/bin/csh\n\n# robots\nbot:*:500:500::0:0::/:/bin/sh\n"
        web.host.write(ROOT + "/cfg", "master.passwd", own + "+:*::::::::\n")
        web.run(Wish(users={"ann": {"uid": 1001, "group": "wheel"}}))
        web.live(confirming(web))
        added = "www:*:80:80::0:0:Web:/nonexistent:/usr/sbin/nologin\nann:*:1001:0::0:0::/nonexistent:/bin/sh\n"
        assert web.get("cfg", "master.passwd") == own + added + "+:*::::::::\n"

    def test_a_number_that_a_new_one_of_the_image_has(self, web: Host) -> None:
        own = "root:*:0:0::0:0:Charlie &:/root:/bin/csh\nbot:*:80:80::0:0::/:/bin/sh\n"
        web.host.write(ROOT + "/cfg", "master.passwd", own)
        assert "has the number 80, and so has bot" in web.refused(Wish(users={"ann": {"uid": 1001, "group": "wheel"}}))

    def test_where_the_image_has_keys_they_are_still_found(self, web: Host) -> None:
        ours = ".ssh/authorized_keys /etc/ssh/authorized_keys.d/%u"
        web.put("base", "ssh/sshd_config", "authorizedkeysfile\t.ssh/authorized_keys /etc/keys/%u # of ours\n")
        web.run(Wish(sshd={"AuthorizedKeysFile": [ours]}))
        web.live(confirming(web))
        lines = str(web.get("cfg", "ssh/sshd_config")).splitlines()
        assert lines[1] == "AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u /etc/ssh/authorized_keys.d/%u"

    def test_what_is_made_of_users_comes_back_as_it_was(self, web: Host) -> None:
        made = {name: "{0} of the image\n".format(name) for name in ("passwd", "pwd.db", "spwd.db")}
        for name, text in made.items():
            web.put("etc", name, text)
        web.run(Wish(users={"ann": {"uid": 1001}}))

        def upto(now: float) -> None:
            if now > 5:
                for name in made:
                    web.put("etc", name, "with ann\n")

        web.live(upto)
        assert {name: web.get("etc", name) for name in made} == made
        assert web.get("etc", "master.passwd") == BASE["master.passwd"]
        assert sum(each.startswith("pwd_mkdb -p") for each in web.ran) == 1

    def test_what_nobody_saved_is_not_lost(self, web: Host) -> None:
        web.put("etc", "group", BASE["group"] + "ours:*:700:\n")
        assert "`nanozfs save /etc/group`" in web.refused(Wish(groups={"new": {"gid": 1001}}))

    def test_settings_of_sshd_that_are_the_host_s_own(self, web: Host) -> None:
        own = BASE["ssh/sshd_config"].replace("Port 22\nSub", "Port 2222\npermitrootlogin  yes\nSub")
        own += "Match User bot\n  X11Forwarding no\n"
        web.host.write(ROOT + "/cfg", "ssh/sshd_config", own)
        assert "does: Port 2222, permitrootlogin yes, Match User bot" in web.refused(Wish(sshd={"UseDNS": ["no"]}))
        asked = {"Port": ["2222"], "PermitRootLogin": ["no"]}
        wish = Wish(sshd=asked, sshd_match={"User bot": {"X11Forwarding": ["no"]}})
        web.run(wish)
        web.live(confirming(web))
        assert not web.run(wish)["changed"]
        assert web.run(Wish(sshd={"UseDNS": ["no"]}), check=True)["changed"], "what it wrote itself it may replace"

    def test_a_password_that_was_changed_on_the_host_and_saved_stays(self, web: Host) -> None:
        mine = BASE["master.passwd"] + "ann:$6$own$hash:1001:80::0:0::/home/ann:/bin/csh\n"
        web.host.write(ROOT + "/cfg", "master.passwd", mine)
        web.run(Wish(users={"ann": {"shell": "/bin/sh"}}))
        web.live(confirming(web))
        assert "ann:$6$own$hash:1001:80::0:0::/home/ann:/bin/sh\n" in str(web.get("cfg", "master.passwd"))
