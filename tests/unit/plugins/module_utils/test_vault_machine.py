# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual machine beside the backup host: what it is made of, that it leads nowhere, that it ends, what is judged."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed, unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import machine, qemu, send, state, whole
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.machine import Machines, Wish
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import FAILED, OK
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.verify import Look
from ansible_collections.nanozfs.fleet.tests.unit.plugins.module_utils.test_vault_verify import Pair

MIB = 1 << 20

#: the fixture has one of its own, which needs no process
STOP = Machines.stop
UUID = "b1f9ad35-f6f2-4806-9990-0528205a4193"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"

#: what a host says of itself, as far as a machine must know it
DESCRIBED: Dict[str, Any] = {
    "format": 1,
    "host": "web-1",
    "hostid": "4d2",
    "hostuuid": UUID,
    "arch": "amd64",
    "taken": 1796077800,
    "tag": "nanozfs-backup-vault-1",
    "pool": {"name": "tank", "size": 1536 * MIB, "properties": {}},
    "datasets": [],
    "image": {"name": "web", "version": "1.0", "id": "3fa9"},
    "slices": {"nz-a": {"size": 24 * MIB}, "nz-b": {"size": 24 * MIB}, "nz-recovery": {"size": 24 * MIB}},
}


class TestNet:
    def test_who_asks_by_dhcp_is_given_the_address_that_it_is_known_by(self) -> None:
        for values in ({}, {"ifconfig_DEFAULT": "SYNCDHCP"}, {"ifconfig_vtnet0": "DHCP"}):
            found = qemu.net_of(values, "10.77.0.11")
            assert found == qemu.Net("virtio-net-pci", 0, "10.77.0.11", "10.77.0.0/24", "10.77.0.1"), values

    def test_of_a_name_nothing_is_known_until_somebody_asks(self) -> None:
        assert qemu.net_of({}, "web-1.example.org").address == qemu.USUAL

    @pytest.mark.parametrize(
        ("name", "value", "model", "unit", "network"),
        [
            ("em0", "inet 192.0.2.9/26", "e1000", 0, "192.0.2.0/24"),
            ("em2", "192.0.2.9 netmask 255.255.254.0", "e1000", 2, "192.0.2.0/23"),
            ("igb0", "inet 192.0.2.9 netmask 0xffffff00", "igb", 0, "192.0.2.0/24"),
            ("vmx1", "inet 192.0.2.9 netmask 255.0.0.0 mtu 9000", "vmxnet3", 1, "192.0.0.0/8"),
            ("vtnet0", "inet 192.0.2.9 netmask nonsense", "virtio-net-pci", 0, "192.0.2.0/24"),
        ],
    )
    def test_the_interface_has_the_driver_that_it_had(
        self, name: str, value: str, model: str, unit: int, network: str
    ) -> None:
        values = {"ifconfig_" + name: value, "defaultrouter": "192.0.2.62"}
        assert qemu.net_of(values, "") == qemu.Net(model, unit, "192.0.2.9", network, "192.0.2.62")

    def test_a_router_that_cannot_be_is_another_address(self) -> None:
        for router in ("", "none", "203.0.113.1", "192.0.2.1"):
            assert qemu.net_of({"ifconfig_em0": "inet 192.0.2.1/24", "defaultrouter": router}, "").router == "192.0.2.2"

    def test_of_several_it_is_the_one_that_the_host_is_known_by(self) -> None:
        values = {
            "ifconfig_em0": "inet 192.0.2.9/24",
            "ifconfig_em1": "inet 10.0.0.9/24",
            "ifconfig_DEFAULT": "DHCP",
        }
        assert (qemu.net_of(values, "10.0.0.9").unit, qemu.net_of(values, "name").unit) == (1, 0)

    @pytest.mark.parametrize(
        "values",
        [
            {"ifconfig_ix0": "inet 192.0.2.9/24"},
            {"ifconfig_em0": "up", "vlans_em0": "10", "ifconfig_em0_10": "inet 192.0.2.9/24"},
            {"ifconfig_em0": "up", "ifconfig_lagg0": "laggproto lacp laggport em0 192.0.2.9/24"},
            {"ifconfig_em9": "inet 192.0.2.9/24"},
            {"ifconfig_em0": "inet 999.0.2.9/24"},
        ],
    )
    def test_what_qemu_does_not_have_is_said_with_what_to_do(self, values: Dict[str, str]) -> None:
        with pytest.raises(Refused, match="ifconfig_vtnet0"):
            qemu.net_of(values, "192.0.2.9")
        assert qemu.net_of({**values, "ifconfig_vtnet0": "SYNCDHCP"}, "192.0.2.9").address == "192.0.2.9"

    def test_settings_are_read_as_plain_texts_only(self) -> None:
        lines = ['a="x y" # why', "  b='z'", "c=plain", 'd="$(reboot)"', "e=`id`", "# f=1", 'g="two', 'lines"', "h="]
        text = "\n".join([*lines, "export i=1", 'a="last"', ""])
        assert qemu.settings(text) == {"a": "last", "b": "z", "c": "plain", "g": "two\nlines", "h": ""}


needs_user = pytest.mark.skipif(sys.version_info < (3, 9), reason="Python 3.8 begins nothing as another user")
needs_qemu = pytest.mark.skipif(
    shutil.which(qemu.PROGRAM) is None or os.geteuid() != 0,
    reason="NOT TESTED: {0} is not installed, or this is not root".format(qemu.PROGRAM),
)


def command(**more: Any) -> List[str]:
    net = qemu.net_of(more.pop("values", {}), "192.0.2.11")
    usual: Dict[str, Any] = {"name": "web-1", "net": net, "port": 40022, "ssh": 22, "memory": 512, "cpus": 1}
    copy = qemu.Copy(**{**usual, "accel": "tcg", "sandbox": True, "uuid": UUID, **more})
    return qemu.copy_argv(copy, [5, 6], 7)


class TestCommand:
    def test_it_leads_nowhere_but_from_one_port_here(self) -> None:
        argv = command()
        assert argv.count("-netdev") == 1
        assert argv[argv.index("-netdev") + 1] == (
            "user,id=net,ipv6=off,restrict=on,net=192.0.2.0/24,host=192.0.2.1,dns=192.0.2.2,dhcpstart=192.0.2.11,"
            "hostfwd=tcp:127.0.0.1:40022-192.0.2.11:22"
        )
        for unwanted in ("-monitor", "-mon", "-qmp", "-vnc", "-usb", "-virtfs", "-nic", "-net", "-runas"):
            assert unwanted not in argv, "it has nothing that nobody asked for"

    def test_its_disks_are_those_that_were_opened_for_it(self) -> None:
        argv = command()
        assert [argv[at + 1] for at, word in enumerate(argv) if word == "-add-fd"] == ["fd=5,set=1", "fd=6,set=2"]
        files = [argv[at + 1].partition("file=")[2] for at, word in enumerate(argv) if word == "-drive"]
        assert files == ["/dev/fdset/1,auto-read-only=off", "/dev/fdset/2,auto-read-only=off"]

    def test_interfaces_before_the_one_that_is_wanted_lead_nowhere(self) -> None:
        argv = command(values={"ifconfig_em2": "inet 192.0.2.11/24"})
        devices = [argv[at + 1] for at, word in enumerate(argv) if word == "-device" and "e1000" in argv[at + 1]]
        assert devices == ["e1000", "e1000", "e1000,netdev=net"]

    def test_without_seccomp_there_is_no_sandbox(self) -> None:
        assert "-sandbox" not in command(sandbox=False)

    def test_the_console_is_shown_as_text(self) -> None:
        raw = b"one\r\n\x1b[31mtwo\x1b[0m\x07\r\n\r\n" + b"x" * 500
        assert qemu.last_lines(raw, 2) == ["two", "x" * 200]
        assert qemu.last_lines(b"", 2) == []

    @needs_qemu
    @needs_user
    @pytest.mark.parametrize("values", [{}, {"ifconfig_em1": "inet 192.0.2.11/24"}, {"ifconfig_vmx0": "DHCP"}])
    def test_the_real_qemu_takes_it(self, values: Dict[str, str], tmp_path: Any) -> None:
        """With two disks, as nobody, in its sandbox; the machine itself stands still."""
        disks = []
        for name in (machine.MEDIUM, machine.POOL):
            disks.append(os.open(str(tmp_path / name), os.O_RDWR | os.O_CREAT, 0o600))
            os.ftruncate(disks[-1], 8 * MIB)
        console, its_console = socket.socketpair()
        net = qemu.net_of(values, "192.0.2.11")
        copy = qemu.Copy("web-1", net, machine.free_port(), 22, 256, 1, qemu.TCG, True, UUID)
        argv = [*qemu.copy_argv(copy, disks, its_console.fileno()), "-S", "-qmp", "stdio"]
        asked = [{"execute": each} for each in ("qmp_capabilities", "query-block", "query-status", "quit")]
        done = subprocess.run(
            argv,
            input="".join(json.dumps(each) for each in asked),
            capture_output=True,
            text=True,
            pass_fds=[*disks, its_console.fileno()],
            cwd="/",
            user=machine.USER,
            group=os.stat("/").st_gid,
            extra_groups=[],
            timeout=60,
            check=False,
        )
        for each in (console, its_console):
            each.close()
        for disk in disks:
            os.close(disk)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        blocks = next(each["return"] for each in found if isinstance(each.get("return"), list))
        assert [each["inserted"]["image"]["virtual-size"] for each in blocks] == [8 * MIB, 8 * MIB]
        assert not any(each["inserted"]["ro"] for each in blocks)


def test_a_console_of_backspaces_is_read_in_no_time() -> None:
    began = time.monotonic()
    assert qemu.clean(b"ab\bc\b\b\bd\re\bf") == "f" and qemu.clean(b"x" * 32000 + b"\b" * 31999) == "x"
    assert time.monotonic() - began < 2


class Room:
    """A backup host with a set of a host, whose virtual machines are a shell script."""

    def __init__(self, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pair = Pair(base)
        self.machine = self.pair.machine
        self.machine.told["reserve"] = 5
        os.makedirs(os.path.join(self.pair.tree, "cfg"))
        self.describe()
        self.script = "echo booting; exec sleep 60"
        self.time = 1000.0
        self.scans = 0
        self.up_after = 1
        self.version = "QEMU emulator version 7.2.22 (Debian)"
        self.real = False
        self.begun: List[List[str]] = []
        self.keepers: List[threading.Thread] = []
        self.end = threading.Event()
        monkeypatch.setattr(machine.Machines, "stop", self._stop)
        monkeypatch.setattr(machine, "GRACE", 1)

    def describe(self, **more: Any) -> None:
        with open(os.path.join(self.pair.tree, "nanozfs-host.json"), "w", encoding="ascii") as file:
            json.dump({**DESCRIBED, **more}, file)

    def _stop(self, name: str) -> None:
        self.end.set()
        for keeper in self.keepers:
            keeper.join(10)
        self.machines.clear(name)

    def run(
        self, argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
    ) -> Tuple[int, str, str]:
        if argv[0] == qemu.PROGRAM:
            return (0, self.version, "") if self.version else (127, "", "not found")
        if argv[0] == "ssh-keyscan":
            self.scans += 1
            time.sleep(0.05)
            self.time += 10
            self.machine.now += 10 if self.scans > 1 else 0
            return 0, "# x\n[127.0.0.1]:1 " + KEY + "\n" if self.scans > self.up_after else "", ""
        return self.machine.run(argv, stdin, seconds, more)

    def clock(self) -> float:
        if self.end.is_set():
            return 1e12
        return self.time

    def begin(self, argv: Sequence[str]) -> None:
        self.begun.append(list(argv))
        command = None if self.real else self.command
        self.keepers.append(threading.Thread(target=self.machines.keep, args=(argv[-1], command)))
        self.keepers[-1].start()
        until = time.monotonic() + 10
        while not self.machines.state("web-1").get("keeper") and time.monotonic() < until:
            time.sleep(0.01)

    def command(self, disks: Sequence[int], console: int) -> List[str]:
        assert len(disks) == 2
        return ["/bin/sh", "-c", self.script]

    @property
    def machines(self) -> Machines:
        return Machines(self.pair.vault, self.begin, self.run, lambda _seconds: None, self.clock)

    @property
    def judge(self) -> whole.Judge:
        return whole.Judge(self.pair.vault, self.machines)

    @property
    def folder(self) -> str:
        return os.path.join(self.machine.root, ".machine-web-1")

    def made(self) -> Dict[str, Any]:
        found = self.machines.plan("web-1", Wish(), make=True)
        with open(found["medium"], "wb") as file:
            file.truncate(MIB)
        return found


@pytest.fixture
def room(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(str(tmp_path), monkeypatch)


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system of the sets has one percent left."""
    full = os.statvfs_result((4096, 4096, 100000, 1000, 1000, 1000, 1000, 1000, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a program as nobody")


class TestPlan:
    def test_it_says_what_would_be_and_changes_nothing(self, room: Room) -> None:
        found = room.machines.plan("web-1", Wish())
        assert (found["host"], found["hostid"], found["pool"], found["version"]) == ("web-1", "4d2", "tank", "1.0")
        assert found["vdevs"] == [{"type": "stripe", "disks": ["vtbd1"]}] and found["qemu"] == "7.2.22"
        assert "2048 MiB (tcg, QEMU 7.2.22) at 192.0.2.11 of its own network" in found["says"]
        assert not os.path.exists(room.folder)

    def test_without_the_board_of_the_host_its_hostid_cannot_be_the_same(self, room: Room) -> None:
        for uuid in ("", "nonsense,file=/etc/passwd", None):
            room.describe(hostuuid=uuid)
            assert room.machines.plan("web-1", Wish())["hostid"] == ""

    @pytest.mark.parametrize("size", [1 << 50, -1, True, "x", None])
    def test_its_pool_is_as_large_as_it_was_within_reason(self, room: Room, size: Any) -> None:
        room.describe(
            pool={"name": "tank", "size": size, "properties": {}}, slices={"nz-a": size, "nz-b": {"size": size}}
        )
        chosen = send.choose(room.machine.fleet, "web-1", "newest")
        spec = machine.spec_of(room.machine.fleet.hosts["web-1"], chosen)
        assert spec.disk == (machine.MOST_POOL if size == 1 << 50 else machine.SPARE)

    @pytest.mark.parametrize(
        ("described", "why"),
        [({"arch": "aarch64"}, "only amd64"), ({"format": 9}, "format")],
    )
    def test_what_cannot_be_is_refused(self, room: Room, described: Dict[str, Any], why: str) -> None:
        room.describe(**described)
        with pytest.raises(Refused, match=why):
            room.machines.plan("web-1", Wish())

    def test_without_qemu_it_says_what_to_install(self, room: Room) -> None:
        room.version = ""
        with pytest.raises(Refused, match=r"is not installed.*qemu-system-x86"):
            room.machines.plan("web-1", Wish())

    @pytest.mark.parametrize(
        "wish", [Wish(memory=1), Wish(seconds=1), Wish(boot=1), Wish(cpus=0), Wish(accel="hvf"), Wish(set="nonsense")]
    )
    def test_what_makes_no_sense_is_refused(self, room: Room, wish: Wish) -> None:
        with pytest.raises(Refused):
            room.machines.plan("web-1", wish)

    def test_a_backup_host_that_is_full_is_not_filled(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(monkeypatch)
        with pytest.raises(Refused, match="is full"):
            room.machines.plan("web-1", Wish(), make=True)
        assert not os.path.exists(room.folder)

    def test_the_network_is_that_of_the_set_and_no_link_leads_out_of_it(self, room: Room, tmp_path: Any) -> None:
        path = os.path.join(room.pair.tree, "cfg", "rc.conf")
        outside = tmp_path / "rc.conf"
        outside.write_text('ifconfig_ix0="inet 192.0.2.11/24"\n')
        os.symlink(str(outside), path)
        assert "at 192.0.2.11 of" in room.machines.plan("web-1", Wish())["says"]
        os.unlink(path)
        shutil.copy(str(outside), path)
        with pytest.raises(Refused, match="on ix0"):
            room.machines.plan("web-1", Wish())

    def test_there_is_one_at_a_time(self, room: Room) -> None:
        room.machine.told["hosts"]["web-2"] = dict(room.machine.told["hosts"]["web-1"])
        other = os.path.join(room.machine.root, ".machine-web-2")
        os.mkdir(other)
        room.machine.now = time.time() + 10
        waited: List[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            room.time += 100

        machines = Machines(room.pair.vault, room.begin, room.run, sleep, room.clock)
        with pytest.raises(Refused, match="of web-2 is still there"):
            machines.plan("web-1", Wish(seconds=300), make=True)
        assert len(waited) == 4
        room.machine.now += machine.BRINGING  # nobody brings a medium for so long
        machines.plan("web-1", Wish(seconds=300), make=True)
        assert os.path.isdir(room.folder)


@needs_root
@needs_user
class TestLife:
    def test_another_program_on_its_port_is_not_taken_for_it(self, room: Room) -> None:
        """QEMU ends where it cannot have the port; who has it would get the key of the controller's trust."""
        room.made()
        room.script = "echo 'Could not set up host forwarding rule' >&2; exit 1"
        room.up_after = 0
        with pytest.raises(FleetError, match=r"QEMU ended with 1\. Its console: Could not set up host forwarding rule"):
            room.machines.start("web-1", Wish())

    def test_it_comes_up_and_nothing_of_it_stays(self, room: Room) -> None:
        room.made()
        found = room.machines.start("web-1", Wish())
        assert found["key"] == KEY and found["set"] == "20261130T220501Z"
        assert room.begun[0][1:] == ["machine", "keep", "web-1"]
        assert os.path.getsize(os.path.join(room.folder, "pool")) == 1536 * MIB
        assert os.stat(os.path.join(room.folder, "pool")).st_blocks == 0, "it takes room when it is written to"
        status = room.machines.status("web-1")
        assert status["running"] and status["port"] == found["port"]
        with pytest.raises(Refused, match="there is a virtual machine with web-1 already"):
            room.machines.plan("web-1", Wish(), make=True)
        room._stop("web-1")
        assert not os.path.exists(room.folder)
        status = room.machines.status("web-1")
        assert not status["running"] and "its time was over" in status["why"] and status["console"] == ["booting"]

    @needs_qemu
    def test_the_real_qemu_lives_and_ends_with_its_keeper(self, room: Room) -> None:
        """Its medium boots nothing; its port is there, its disks are, and it is nobody."""
        room.real = True
        room.made()
        found = room.machines.start("web-1", Wish(memory=256))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection((send.HERE, found["port"]), 5).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("its port leads nowhere: {0}".format(room.machines.console("web-1")))
        with open(os.path.join(room.folder, "pid"), encoding="ascii") as file:
            pid = int(file.read())
        assert os.stat("/proc/{0}".format(pid)).st_uid == pwd.getpwnam(machine.USER).pw_uid
        with open("/proc/{0}/status".format(pid), encoding="ascii") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        assert status["Groups"].strip() == "" and int(status["CapEff"], 16) == 0 and status["Seccomp"] == "2"
        room._stop("web-1")
        assert not os.path.exists("/proc/{0}".format(pid)) and not os.path.exists(room.folder)

    @needs_qemu
    def test_the_real_qemu_does_not_outlive_a_keeper_that_is_killed(self, room: Room) -> None:
        room.made()
        room.up_after = 0
        room.machines.start("web-1", Wish(memory=256))
        argv = room.machines._argv("web-1", room.machines.state("web-1"))([], 0)
        assert argv[:3] == ["setpriv", "--pdeathsig", "KILL"] and argv[3] == qemu.PROGRAM
        room._stop("web-1")
        script = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
        parent = subprocess.Popen([sys.executable, "-c", script, *argv[:3], "sleep", "4321"])
        until = time.monotonic() + 20
        child = ""
        while not child and time.monotonic() < until:
            time.sleep(0.1)
            with open("/proc/{0}/task/{0}/children".format(parent.pid), encoding="ascii") as file:
                child = file.read().strip()
        parent.kill()
        parent.wait()
        while os.path.exists("/proc/" + child) and time.monotonic() < until:
            time.sleep(0.1)
        assert child and not os.path.exists("/proc/" + child)

    def test_it_runs_as_nobody(self, room: Room) -> None:
        room.script = "id -u; id -G; cat /proc/self/status | grep CapEff; ulimit -c; sleep 60"
        room.made()
        room.machines.start("web-1", Wish())
        until = time.monotonic() + 10
        while len(room.machines.console("web-1")) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        assert room.machines.console("web-1") == ["65534", "65534", "CapEff:\t0000000000000000", "0"]
        room._stop("web-1")

    def test_it_ends_when_its_time_is_over(self, room: Room) -> None:
        room.made()
        room.up_after = 0
        room.machines.start("web-1", Wish(seconds=60))
        room.time += 61
        room.keepers[0].join(10)
        assert not room.keepers[0].is_alive() and not os.path.exists(room.folder)

    def test_it_ends_before_it_fills_the_backup_host(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        room.made()
        room.machines.start("web-1", Wish())
        fill(monkeypatch)
        room.keepers[0].join(10)
        assert not room.keepers[0].is_alive() and not os.path.exists(room.folder)
        assert "it took too much room: the backup host is full" in room.machines.status("web-1")["why"]

    def test_one_that_ends_is_told_with_its_console(self, room: Room) -> None:
        room.script = "printf '\\033[31mpanic: no\\033[0m\\r\\n'; exit 1"
        room.up_after = 99
        room.made()
        with pytest.raises(FleetError, match=r"did not come up: QEMU ended with 1\. Its console: panic: no"):
            room.machines.start("web-1", Wish())
        assert not os.path.exists(room.folder)

    def test_one_that_does_not_come_up_in_time_is_ended(self, room: Room) -> None:
        room.up_after = 99
        room.made()
        with pytest.raises(FleetError, match="could not be logged in to within 40 s"):
            room.machines.start("web-1", Wish(boot=35))
        assert not os.path.exists(room.folder) and not room.keepers[0].is_alive()

    def test_what_a_killed_keeper_has_left_goes_with_the_next_run(self, room: Room) -> None:
        room.made()
        state.write_json(room.machine.places.machine("web-1"), {"v": 1, "keeper": 4000000})
        room.machines.reap()
        assert not os.path.exists(room.folder)

    def test_what_a_host_has_left_that_is_in_the_fleet_no_more_goes_as_well(self, room: Room) -> None:
        left = os.path.join(room.machine.root, ".machine-web-9")
        os.mkdir(left)
        state.write_json(room.machine.places.machine("web-9"), {"v": 1, "keeper": 4000000})
        room.machines.reap()
        assert not os.path.exists(left)

    def test_a_machine_that_was_started_a_moment_ago_is_not_taken_for_one_that_was_left(self, room: Room) -> None:
        """Who looks after it is a Python that is yet to begin; meanwhile the schedule comes."""
        room.made()
        began = int(room.machine.now)
        state.write_json(room.machine.places.machine("web-1"), {"v": 1, "began": began})
        room.machines.reap()
        assert os.path.exists(room.folder)
        room.machine.told["hosts"]["web-2"] = dict(room.machine.told["hosts"]["web-1"])
        assert room.machines._others("web-2") == ["web-1"]
        room.machine.now += machine.COMING + 1
        assert room.machines._others("web-2") == []
        room.machines.reap()
        assert not os.path.exists(room.folder)

    def test_who_only_looks_is_not_taken_for_who_looks_after_it(self, room: Room) -> None:
        """A look has the lock for a moment, and the machine would never begin."""
        room.script = "exit 0"
        room.made()
        state.write_json(
            room.machine.places.machine("web-1"), {"v": 1, "seconds": 60, "disk": MIB, "accel": "tcg", "began": 1}
        )
        held, free = threading.Event(), threading.Event()

        def looks() -> None:
            with state.locked(room.machines._lock("web-1")):
                held.set()
                free.wait(0.2)

        thread = threading.Thread(target=looks)
        thread.start()
        held.wait(10)
        assert room.machines.keep("web-1", room.command) == "it switched itself off"
        thread.join(10)

    @pytest.mark.parametrize(
        ("args", "signals"), [("python3 -I x machine keep web-1", 1), ("/usr/sbin/sshd -D", 0), ("x keep web-11", 0)]
    )
    def test_it_is_asked_to_end_once_and_nobody_else_is(
        self, room: Room, monkeypatch: pytest.MonkeyPatch, args: str, signals: int
    ) -> None:
        """A second signal would end it while it takes the disks away; and its number may be another one's by now."""
        sent: List[Tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda *to: sent.append(to))

        def run(argv: Sequence[str], *rest: Any) -> Tuple[int, str, str]:
            return (0, args + "\n", "") if argv[0] == "ps" else room.run(argv, *rest)

        machines = Machines(room.pair.vault, room.begin, run, lambda _seconds: None, room.clock)
        state.write_json(room.machine.places.machine("web-1"), {"v": 1, "keeper": 4242})
        with state.locked(machines._lock("web-1")) as free, pytest.raises(FleetError, match="does not end"):
            assert free
            STOP(machines, "web-1")
        assert sent == [(4242, signal.SIGTERM)] * signals

    def test_the_disks_go_even_where_nothing_can_be_written(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        room.script = "exit 0"
        room.made()
        path = room.machine.places.machine("web-1")
        state.write_json(path, {"v": 1, "seconds": 60, "disk": MIB, "accel": "tcg"})
        write = state.write_json

        def full(where: str, value: Any) -> None:
            if "ended" in value:
                raise FleetError("No space left on device")
            write(where, value)

        monkeypatch.setattr(machine, "write_json", full)
        with pytest.raises(FleetError, match="No space"):
            room.machines.keep("web-1", room.command)
        assert not os.path.exists(room.folder)

    def test_a_medium_that_is_being_brought_stays(self, room: Room) -> None:
        room.made()
        room.machine.now = time.time()
        room.machines.reap()
        assert os.path.exists(room.folder)
        room.machine.now = time.time() + machine.BRINGING + 1
        room.machines.reap()
        assert not os.path.exists(room.folder)

    def test_a_console_without_end_is_kept_in_part(self, tmp_path: Any) -> None:
        console, other = socket.socketpair()
        path = str(tmp_path / "log")
        thread = threading.Thread(target=machine._record, args=(console, path))
        thread.start()
        for _piece in range(5):
            other.sendall(b"x" * (1 << 19))
        other.sendall(b"\nlast\n")
        other.close()
        thread.join(10)
        sizes = [os.path.getsize(path + end) for end in ("", ".1")]
        assert sum(sizes) < 3 * MIB
        with open(path, "rb") as file:
            assert file.read().endswith(b"last\n")


class TestJudging:
    LOOK = Look(seed="7", files=100)

    def said(self, room: Room, top: str, **more: Any) -> Dict[str, Any]:
        """What the controller hands on of a restored host that has its files in a folder."""
        room.machines.state("web-1")
        state.write_json(
            room.machine.places.machine("web-1"),
            {"v": 1, "set": "20261130T220501Z", "began": int(room.machine.now) - 90},
        )
        asked = room.judge.ask("web-1", self.LOOK)
        rows = digests.look(top, digests.wanted(json.dumps(unpacked(asked["packed"]))))
        usual = {"restored": True, "problems": [], "packed": packed(rows), "seed": asked["seed"], "version": "1.0"}
        return {**usual, **more}

    def test_a_host_that_is_itself_is_verified(self, room: Room) -> None:
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == OK, outcome.says
        assert "it came up as itself and is healthy: set 20261130T220501Z in a virtual machine with 1.0" in outcome.says
        assert "90 s" in outcome.says and "13 files compared" in outcome.says
        known = room.pair.vault.known(room.machine.fleet.hosts["web-1"])
        assert known.machine is not None and known.machine["result"] == OK and known.verified is None
        assert [(host, each["kind"], each["result"]) for host, each in room.machine.verified] == [("web-1", "host", OK)]

    def test_what_is_not_as_it_should_be_fails_it(self, room: Room) -> None:
        said = self.said(room, room.pair.host, problems=["not running: sshd\x1b[31m"])
        outcome = room.judge.end("web-1", said, self.LOOK)
        assert (
            outcome.result == FAILED and "VERIFICATION FAILED, as a whole host: not running: sshd?[31m" in outcome.says
        )
        assert room.machine.verified[0][1]["result"] == FAILED

    def test_a_file_that_is_another_one_fails_it(self, room: Room) -> None:
        room.pair.rot("bulk")
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == FAILED and "'/bulk' (its content is another one)" in outcome.says

    def test_another_mode_fails_it(self, room: Room) -> None:
        os.chmod(os.path.join(room.pair.host, "bulk"), 0o777)
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == FAILED and "'/bulk' (its mode is 640, and 777 there)" in outcome.says

    def test_files_that_the_host_has_written_to_since_are_counted(self, room: Room) -> None:
        room.pair.write(b"bulk", b"another")
        os.utime(os.path.join(room.pair.host, "bulk"))
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == OK and "1 changed since it started" in outcome.says

    @pytest.mark.parametrize(
        ("mtime", "why"), [(1e9, "it has its time, and is something else"), (1e9 - 99, "it has an earlier time")]
    )
    def test_a_file_that_was_restored_as_another_one_has_not_changed_since(
        self, room: Room, mtime: float, why: str
    ) -> None:
        room.pair.write(b"bulk", b"another")
        os.utime(os.path.join(room.pair.host, "bulk"), (mtime, mtime))
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == FAILED and "'/bulk' (" + why in outcome.says

    def test_a_file_that_the_copy_cannot_read_fails_it(self, room: Room) -> None:
        said = self.said(room, room.pair.host)
        rows = unpacked(said["packed"])
        del rows[0]["sha256"]
        rows[0]["problem"] = "Input/output error"
        outcome = room.judge.end("web-1", dict(said, packed=packed(rows)), self.LOOK)
        assert outcome.result == FAILED and "it cannot be read there: Input/output error" in outcome.says

    @pytest.mark.parametrize(("gone", "result"), [(2, OK), (3, FAILED)])
    def test_a_dataset_that_did_not_come_back_fails_it(self, room: Room, gone: int, result: str) -> None:
        """Something is cleared at each start; more than that is missing, however much else is there."""
        folder = os.path.join(room.pair.host, "var", "db")
        for name in sorted(os.listdir(os.fsencode(folder)))[:gone]:
            os.unlink(os.path.join(os.fsencode(folder), name))
        outcome = room.judge.end("web-1", self.said(room, room.pair.host), self.LOOK)
        assert outcome.result == result and ("3 of 13 files are not there" in outcome.says) == (result == FAILED)

    def test_one_that_cannot_be_asked_after_it_was_restored_fails(self, room: Room) -> None:
        """What is unreachable is no failure of a task in which that is ignored, and nothing was said of it."""
        said = self.said(room, room.pair.host, packed="", silent="ssh: Connection timed out\x1b[31m")
        outcome = room.judge.end("web-1", said, self.LOOK)
        assert outcome.result == FAILED and "it was not to be asked after it came back: ssh: Conn" in outcome.says
        known = room.pair.vault.known(room.machine.fleet.hosts["web-1"])
        assert known.machine is not None and known.machine["result"] == FAILED
        assert room.machine.verified[0][1]["result"] == FAILED

    @pytest.mark.parametrize("checks", [0, "0", 2])
    def test_that_nothing_of_it_was_tried_is_said(self, room: Room, checks: int) -> None:
        outcome = room.judge.end("web-1", self.said(room, room.pair.host, checks=checks), self.LOOK)
        assert outcome.result == OK
        assert ("no service, port or command of it was tried" in outcome.says) == (checks != 2)

    def test_a_host_with_none_of_its_files_fails(self, room: Room, tmp_path: Any) -> None:
        (tmp_path / "empty").mkdir()
        outcome = room.judge.end("web-1", self.said(room, str(tmp_path / "empty")), self.LOOK)
        assert outcome.result == FAILED and "none of its files is as it was backed up" in outcome.says

    def test_one_that_did_not_come_up_after_it_was_restored_fails(self, room: Room) -> None:
        said = self.said(room, room.pair.host, failed="it did not come back within 900 seconds")
        with open(_made(room.machine.places.console("web-1")), "wb") as file:
            file.write(b"mountroot>\r\n")
        outcome = room.judge.end("web-1", said, self.LOOK)
        assert outcome.result == FAILED and "did not come up as itself: it did not come back" in outcome.says
        assert "its console: mountroot>" in outcome.says

    def test_the_console_of_an_earlier_machine_is_not_shown(self, room: Room) -> None:
        with open(_made(room.machine.places.console("web-1")), "wb") as file:
            file.write(b"of yesterday\n")
        with pytest.raises(FleetError) as caught:
            room.judge.end("web-1", {"failed": "no medium", "restored": False}, self.LOOK)
        assert "no medium" in str(caught.value) and "yesterday" not in str(caught.value)

    def test_one_that_could_not_be_restored_is_not_known(self, room: Room) -> None:
        said = self.said(room, room.pair.host, failed="no medium", restored=False)
        with pytest.raises(FleetError, match="could not be restored in a virtual machine: no medium"):
            room.judge.end("web-1", said, self.LOOK)
        assert room.pair.vault.known(room.machine.fleet.hosts["web-1"]).machine is None
        assert room.machine.verified == []

    @pytest.mark.parametrize("rows", [[], [{"kind": "file"}], "x", [{"kind": "gone"}] * 1000])
    def test_a_host_that_says_nonsense_verifies_nothing(self, room: Room, rows: Any) -> None:
        said = self.said(room, room.pair.host)
        with pytest.raises(FleetError, match="is not what"):
            room.judge.end("web-1", dict(said, packed=packed(rows)), self.LOOK)
        assert room.machine.verified == []

    def test_what_it_says_of_its_files_is_not_unpacked_without_end(self, room: Room) -> None:
        """A few hundred kilobytes that would be gigabytes here, where root unpacks them."""
        said = self.said(room, room.pair.host)
        with pytest.raises(Refused, match="lost something"):
            room.judge.end("web-1", dict(said, packed=packed([" " * (whole.MOST_SAID + 1)])), self.LOOK)
        assert room.machine.verified == []

    @pytest.mark.parametrize("text", ["", "[]", "nonsense", "[" * 100000])
    def test_a_controller_that_says_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(Refused, match="makes no sense"):
            whole.wanted(text)


def _made(path: str) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path
