# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab: a fleet of hosts on one Linux machine, and everything that can be done to them by hand.

Needs root. Hosts have a network of their own (10.77.0.0/24, in namespaces) with no way out. Several labs can be on one
machine, each with its name (see ``paths.py``), and no verb touches anything of another one's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.copies import NotCopied, make_other
from ansible_collections.nanozfs.fleet.tests.lab.supervisor import Clock, netns
from ansible_collections.nanozfs.fleet.tests.model.machine import COMMANDS, Machine

#: what a host has of the checkout: the model, its kernel, and what they import
_SHARED = (
    "plugins/module_utils/_freebsd/gpt.py",
    "tests/__init__.py",
    "tests/boot/__init__.py",
    "tests/boot/host.py",
    "tests/lab/__init__.py",
    "tests/lab/init.py",
    "tests/lab/kernel.py",
    "tests/lab/paths.py",
    "tests/lab/slices.py",
    "tests/lab/syscalls.py",
    "tests/model",
)

#: A stand-in hands its arguments to process 1 of the host, which has the model in its memory: starting that anew for
#: every command of a boot would take most of the boot. The answer: exit status, length of the output, output, errors.
_SHIM = """#!/usr/bin/python3 -IS
import _socket, os, sys
link = _socket.socket(_socket.AF_UNIX)
link.connect({socket!r})
link.sendall("\\0".join([{name!r}] + sys.argv[1:]).encode("utf-8", "surrogateescape"))
link.shutdown(1)
answer = b""
while True:
    piece = link.recv(1 << 20)
    if not piece:
        break
    answer += piece
status, length, rest = answer.split(b" ", 2)
for descriptor, text in ((1, rest[:int(length)]), (2, rest[int(length):])):
    while text:
        text = text[os.write(descriptor, text):]
sys.exit(int(status))
"""

#: small commands of FreeBSD that are no part of the model
_SCRIPTS = {
    "sbin/md5": '#!/bin/sh\nmd5sum "$@" | cut -d" " -f1\n',
    "sbin/sha256": '#!/bin/sh\nshift\nsha256sum "$@" | cut -d" " -f1\n',
    "usr/bin/pgrep": "#!/bin/sh\nexit 1\n",
    "sbin/dhclient": '#!/bin/sh\nip link set "$1" up\nip addr replace "$(cat /lab/host/address)" dev "$1"\n',
    "usr/bin/hostname": '#!/bin/sh\n[ $# = 0 ] || /sbin/sysctl kern.hostname="$1" > /dev/null\n'
    'exec /lab/skel/bin/hostname "$@"\n',
    "usr/bin/logger": "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\n"
    'echo "$(date "+%b %e %T") $(hostname) $1" >> /var/log/messages\n',
    # Every line has its ten fields. -C FILE: that is all. -p FILE: what is in force from then on stands in a file that
    # can be compared, and passwd(5) is written: seven fields, comments stay (pwd_mkdb.c). -d FOLDER: there
    "usr/sbin/pwd_mkdb": '#!/bin/sh\nfolder=\nif [ "$2" = -d ]; then folder=$3; set -- "$1" "$4"; fi\n'
    'if grep -q "^sleep:" "$2"; then sleep 100; fi\n'
    'awk -F: "!/^#/ && NF != 10 { exit 1 }" "$2" || { echo "pwd_mkdb: at line" >&2; exit 1; }\n'
    '[ "$1" != -C ] || exit 0\nfolder=${folder:-${2%/*}}\n'
    "for each in spwd.db.tmp master.passwd.orig; do\n"
    '    if [ -e "$folder/$each" ]; then echo "pwd_mkdb: $each: File exists" >&2; exit 1; fi\ndone\n'
    'cut -d: -f1,2 "$2" > "$folder/spwd.db" &&\n'
    'sed -E "/^#/!s/^([^:]*):[^:]*:([^:]*:[^:]*):([^:]*:){3}/\\1:*:\\2:/" "$2" > "$folder/passwd"\n',
}

#: makes programs that ask Python for the system's name believe that they are on FreeBSD
_PRETEND = """import os
_real = os.uname()
os.uname = lambda: os.uname_result(
    ("FreeBSD", os.popen("hostname").read().strip() or _real.nodename, "13.2-RELEASE", "FreeBSD 13.2-RELEASE GENERIC",
     "amd64"))
"""


#: modules of ``tests.lab`` that run for as long as a lab is there
_MODULES = ("supervisor", "init", "web", "vault", "emulator")


class LabError(Exception):
    """The lab cannot do that."""


def command_of(pid: int, *modules: str) -> str:
    """The command line of a process that runs one of these modules of ``tests.lab`` for this lab; empty for others."""
    try:
        with open("/proc/{0}/cmdline".format(pid), "rb") as file:
            words = os.fsdecode(file.read()).split("\0")
        with open("/proc/{0}/environ".format(pid), "rb") as file:
            told = os.fsdecode(file.read()).split("\0")
    except OSError:
        return ""
    ours = tuple("tests.lab." + module for module in modules)
    if "NANOZFS_LAB=" + paths.LAB.name not in told or not any(word.endswith(ours) for word in words):
        return ""
    return " ".join(words).strip()


def sh(*argv: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess:
    """Run a command of this machine."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **more)
    if check and done.returncode != 0:
        raise LabError("{0}: {1}".format(" ".join(argv), (done.stderr or done.stdout).strip()))
    return done


class Host:
    """One host of the lab, seen from outside."""

    #: the module of ``tests.lab`` that stands for the machine, and the signal that cuts its power
    MODULE, POWER = "supervisor", signal.SIGTERM

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = os.path.join(paths.HOSTS, name)

    @property
    def exists(self) -> bool:
        return os.path.isdir(self.home)

    @property
    def machine(self) -> Machine:
        """The machine as it is now."""
        machine = Machine(self.home, paths.SHELF, Clock())
        machine.load()
        return machine

    @property
    def address(self) -> str:
        with open(os.path.join(self.home, "address"), encoding="utf-8") as file:
            return file.read().split("/")[0]

    def create(self, number: int, disks: int, size: int) -> None:
        """Buy it: a machine with data disks and no medium, at 10.77.0.NUMBER."""
        if self.exists:
            raise LabError("there is a host {0} already".format(self.name))
        machine = Machine.create(self.home, paths.SHELF, Clock(), seed=number)
        for index in range(1, disks + 1):
            machine.add_disk("ada{0}".format(index), size, "{0}-D{1}".format(self.name.upper(), index))
        self.place(number)

    def place(self, number: int) -> None:
        """Give it the address 10.77.0.NUMBER and a cable."""
        address = "{0}.{1}".format(paths.NETWORK, number)
        with open(os.path.join(self.home, "address"), "w", encoding="utf-8") as file:
            file.write(address + "/24\n")
        with open(os.path.join(self.home, "link"), "w", encoding="utf-8") as file:
            file.write("v{0}".format(number))
        self.wire()

    def wire(self) -> None:
        """Plug its network cable in."""
        number = int(self.address.rpartition(".")[2])
        space, outer = netns(self.name), "v{0}".format(number)
        sh("ip", "netns", "add", space)
        # a fixed address on the wire, or a host that is made anew waits for everybody's ARP tables
        mac = "02:00:0a:4d:00:{0:02x}".format(number)
        sh("ip", "-n", space, "link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", outer)
        sh("ip", "-n", space, "link", "set", outer, "netns", paths.NETNS)
        sh("ip", "-n", paths.NETNS, "link", "set", outer, "master", paths.BRIDGE, "up")
        sh("ip", "-n", space, "link", "set", "lo", "up")

    @property
    def pools(self) -> List[str]:
        """The folders of its pools."""
        guids = {disk["zfs"]["pool"] for disk in self.machine.hardware["disks"].values() if disk.get("zfs")}
        return [os.path.join(paths.SHELF, str(guid)) for guid in sorted(guids)]

    # power

    @property
    def pid(self) -> Optional[int]:
        """The process that stands for the machine, while it is on."""
        try:
            with open(os.path.join(self.home, "supervisor.pid"), encoding="utf-8") as file:
                pid = int(file.read())
        except (OSError, ValueError):
            return None
        return pid if command_of(pid, self.MODULE).endswith(" " + self.name) else None

    @property
    def is_on(self) -> bool:
        return self.pid is not None

    def on(self, fuse: Optional[int] = None) -> None:
        """Press the power button.

        :param fuse: the power fails in the early boot, after so many commands that change a dataset.
        """
        if self.is_on:
            return
        path = os.path.join(self.home, "fuse")
        if fuse is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(str(fuse))
        elif os.path.exists(path):
            os.unlink(path)
        self._start([])

    def _start(self, within: Sequence[str]) -> None:
        """Start what stands for the machine.

        :param within: the command that it runs under.
        """
        module = "ansible_collections.nanozfs.fleet.tests.lab." + self.MODULE
        with open(os.path.join(self.home, "console.log"), "ab") as console:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", module, self.name],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env=dict(os.environ, **paths.LAB.environment),
            )
        with open(os.path.join(self.home, "supervisor.pid"), "w", encoding="utf-8") as file:
            file.write(str(process.pid))
        # for an instant after its exec(2) /proc has no environment of it (environ_read in Linux's fs/proc/base.c), and
        # it would be taken for one that is off
        while not self.is_on and process.poll() is None:
            time.sleep(0.01)

    def cut(self) -> None:
        """Cut the power."""
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, self.POWER)
        for _attempt in range(200):
            if self.pid is None:
                return
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        raise LabError("{0} does not lose its power".format(self.name))

    # disks

    def insert(self, image: str, disk: str = "ada0") -> None:
        """Put a medium in that a published file was written to with xz and dd, or the playbook spare (then not packed).
        It is larger, as sticks are.
        """
        self._must_be_off()
        if disk in self.machine.hardware["disks"]:
            raise LabError("{0} has a medium in {1} already".format(self.name, disk))
        with tempfile.NamedTemporaryFile(dir=self.home) as raw:
            subprocess.run(["xz", "-dc", image] if image.endswith(".xz") else ["cat", image], stdout=raw, check=True)
            self.machine.insert_disk(disk, raw.name, "OSMEDIUM", spare=64 << 20)

    def blank(self, disk: str, size: int) -> None:
        """Put an empty disk of *size* bytes in that a medium can be written to."""
        self._must_be_off()
        self.machine.add_disk(disk, size, table=True)

    def eject(self, disk: str = "ada0") -> None:
        """Take a medium out and throw it away."""
        self._must_be_off()
        removed = self.machine.remove_disk(disk)
        if "image" in removed:
            os.unlink(removed["image"])

    def pull(self, *disks: str) -> None:
        """Pull data disks; they lie on the desk until :meth:`plug`."""
        machine = self.machine
        for disk in disks:
            with open(os.path.join(self.home, "desk-{0}.json".format(disk)), "w", encoding="utf-8") as file:
                json.dump(machine.remove_disk(disk), file)

    def plug(self, *disks: str) -> None:
        """Put pulled disks back."""
        machine = self.machine
        for disk in disks:
            path = os.path.join(self.home, "desk-{0}.json".format(disk))
            with open(path, encoding="utf-8") as file:
                machine.attach_disk(json.load(file))
            os.unlink(path)

    def _must_be_off(self) -> None:
        if self.is_on:
            raise LabError("{0} is on; cut its power first".format(self.name))

    # network

    @property
    def cable(self) -> str:
        """The end of its network cable that is in the lab's network."""
        with open(os.path.join(self.home, "link"), encoding="utf-8") as file:
            return file.read().strip()

    def link(self, up: bool) -> None:
        """Plug the network cable in or pull it."""
        sh("ip", "-n", paths.NETNS, "link", "set", self.cable, "up" if up else "down")

    def console(self) -> str:
        """What is on its console."""
        try:
            with open(os.path.join(self.home, "console.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def kenv(self) -> Dict[str, str]:
        """Its kernel environment."""
        return dict(self.machine.running["kenv"])


class Lab:
    """The lab as a whole."""

    @property
    def hosts(self) -> List[Host]:
        """All hosts, by name."""
        if not os.path.isdir(paths.HOSTS):
            return []
        return [Host(name) for name in sorted(os.listdir(paths.HOSTS))]

    def host(self, name: str) -> Host:
        """One host.

        :raises LabError: when there is none of that name.
        """
        host = Host(name)
        if not host.exists:
            raise LabError("there is no host {0}".format(name))
        return host

    def discard(self, name: str) -> None:
        """Scrap a host with its disks and its pools; one that is not there is fine."""
        host = Host(name)
        if not host.exists:
            return
        host.cut()
        pools = host.pools
        # a namespace is taken apart some time after its deletion, and its cable would be in the way of a new one
        sh("ip", "-n", paths.NETNS, "link", "del", host.cable, check=False)
        sh("ip", "netns", "del", netns(name))
        for folder in [host.home, *pools]:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, name: str) -> None:
        """Keep a host as it is, for :meth:`restore`; once. Its power is cut for that, and it is switched on again."""
        host, kept = self.host(name), os.path.join(paths.KEPT, name)
        if os.path.isdir(kept):
            return
        host.cut()
        making = kept + ".making"
        shutil.rmtree(making, ignore_errors=True)
        for folder in [host.home, *host.pools]:
            part = "home" if folder == host.home else os.path.join("shelf", os.path.basename(folder))
            os.makedirs(os.path.dirname(os.path.join(making, part)), exist_ok=True)
            sh("cp", "-a", "--sparse=always", folder, os.path.join(making, part))
        os.replace(making, kept)
        host.on()
        self.wait([name])

    def restore(self, name: str) -> bool:
        """Bring a host back as it was kept, switched off, in the place of one that is gone; whether one was kept."""
        kept = os.path.join(paths.KEPT, name)
        if not os.path.isdir(kept):
            return False
        host = Host(name)
        sh("cp", "-a", "--sparse=always", os.path.join(kept, "home"), host.home)
        for guid in os.listdir(os.path.join(kept, "shelf")):
            sh("cp", "-a", "--sparse=always", os.path.join(kept, "shelf", guid), os.path.join(paths.SHELF, guid))
        host.wire()
        return True

    def copy(self, original: str, name: str, number: int) -> None:
        """A host like one that was kept, with an identity of its own, switched off; one of that name is scrapped.

        :param number: the last part of its address.
        :raises LabError: when the original was not kept, or is not installed.
        """
        kept = os.path.join(paths.KEPT, original)
        if not os.path.isdir(kept):
            raise LabError("{0} was not kept: `lab keep {0}`, when it is installed".format(original))
        if name == original:
            raise LabError("{0} is the one to copy; `lab fresh --kept {0}` brings it back".format(name))
        self.discard(name)
        host, making = Host(name), os.path.join(paths.HOME, "copying-" + name)
        shutil.rmtree(making, ignore_errors=True)
        sh("cp", "-a", "--sparse=always", kept, making)
        home, shelf = os.path.join(making, "home"), os.path.join(making, "shelf")
        for left in ("console.log", "supervisor.pid", "fuse"):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(home, left))
        try:
            make_other(home, shelf, original, name, number)
        except NotCopied as error:
            shutil.rmtree(making)
            raise LabError(str(error)) from error
        for guid in os.listdir(shelf):
            os.rename(os.path.join(shelf, guid), os.path.join(paths.SHELF, guid))
        os.rename(home, host.home)
        shutil.rmtree(making)
        host.place(number)

    def up(self) -> None:
        """Set the lab up, without hosts. An earlier one is taken down first."""
        if os.geteuid() != 0:
            raise LabError("the lab needs root (namespaces, loop devices): run it with sudo")
        self.down()
        self.lay_out()
        sh("ip", "netns", "add", paths.NETNS)
        sh("ip", "-n", paths.NETNS, "link", "set", "lo", "up")
        sh("ip", "-n", paths.NETNS, "link", "add", paths.BRIDGE, "type", "bridge")
        sh("ip", "-n", paths.NETNS, "addr", "add", paths.GATEWAY + "/24", "dev", paths.BRIDGE)
        sh("ip", "-n", paths.NETNS, "link", "set", paths.BRIDGE, "up")

    def lay_out(self) -> None:
        """Make what hosts need of this machine to start, without a network."""
        for folder in (paths.HOSTS, paths.SHELF, paths.MEMORY):
            os.makedirs(folder, exist_ok=True)
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "nanozfs-lab", paths.MEMORY)
        for folder in ("roots", "slices", "skel/etc", "skel/python", "skel/bin", "shims"):
            os.makedirs(os.path.join(paths.MEMORY, folder))
        self._share()
        self._shims()
        self._skeleton()

    @staticmethod
    def _share() -> None:
        """A copy of what hosts import, compiled: a command of the model starts in every step of a boot."""
        base = os.path.join(paths.MEMORY, "path", "ansible_collections", "nanozfs", "fleet")
        for name in _SHARED:
            source, target = os.path.join(paths.CHECKOUT, name), os.path.join(base, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif os.path.exists(source):
                shutil.copy(source, target)
        sh("/usr/bin/python3", "-m", "compileall", "-q", os.path.join(paths.MEMORY, "path"))
        with open(os.path.join(paths.MEMORY, "packages"), "w", encoding="utf-8") as file:
            file.write(paths.packages())

    @staticmethod
    def _shims() -> None:
        """The stand-ins for FreeBSD's commands, as a layer of every host's root."""
        shims = os.path.join(paths.MEMORY, "shims")
        scripts = dict(_SCRIPTS)
        for name in COMMANDS:
            # under FreeBSD's path, and over the program of the same name that this machine may have
            folders = ["bin" if name in ("kenv", "freebsd-version") else "sbin"]
            folders += [each for each in ("usr/bin", "usr/sbin") if os.path.lexists("/{0}/{1}".format(each, name))]
            for folder in folders:
                scripts["{0}/{1}".format(folder, name)] = _SHIM.format(name=name, socket=paths.SOCKET)
        for name, text in scripts.items():
            path = os.path.join(shims, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)
        if not os.path.exists("/usr/sbin/sshd"):
            if not os.path.exists(paths.SSHD):
                raise LabError("there is no sshd on this machine; tools/setup gets one")
            shutil.copytree(
                os.path.join(paths.SSHD, "usr"), os.path.join(shims, "usr"), symlinks=True, dirs_exist_ok=True
            )
        for name in ("host", "shelf", "path", "packages", "skel", "linux-etc"):
            os.makedirs(shims + paths.INSIDE + "/" + name)

    @staticmethod
    def _skeleton() -> None:
        """What Linux programs miss in an /etc that is FreeBSD's, and one that a stand-in has to call."""
        shutil.copy("/usr/bin/hostname", os.path.join(paths.MEMORY, "skel", "bin", "hostname"))
        etc = os.path.join(paths.MEMORY, "skel", "etc")
        for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl"):
            os.symlink("{0}/linux-etc/{1}".format(paths.INSIDE, name), os.path.join(etc, name))
        with open(os.path.join(etc, "nsswitch.conf"), "w", encoding="utf-8") as file:
            file.write("passwd: files\ngroup: files\nhosts: files\n")
        with open(os.path.join(paths.MEMORY, "skel", "python", "sitecustomize.py"), "w", encoding="utf-8") as file:
            file.write(_PRETEND)

    def serve(self, folder: str) -> None:
        """Publish a folder by HTTP at http://10.77.0.1:8080/."""
        self.stop_serving()
        log = open(os.path.join(paths.HOME, "web.log"), "ab")  # noqa: SIM115 - the server writes to it
        process = subprocess.Popen(
            ["nsenter", "--net=/run/netns/" + paths.NETNS, sys.executable, "-m"]
            + ["ansible_collections.nanozfs.fleet.tests.lab.web", folder, paths.GATEWAY, str(paths.WEB_PORT)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=dict(os.environ, **paths.LAB.environment),
        )
        with open(os.path.join(paths.HOME, "web.pid"), "w", encoding="utf-8") as file:
            file.write(str(process.pid))
        end = time.monotonic() + 20
        while not self.answers(paths.GATEWAY, paths.WEB_PORT):
            if time.monotonic() > end:
                raise LabError("the web server does not answer, see {0}/web.log".format(paths.HOME))
            time.sleep(0.1)

    @staticmethod
    def stop_serving() -> None:
        """Stop publishing."""
        path = os.path.join(paths.HOME, "web.pid")
        try:
            with open(path, encoding="utf-8") as file:
                pid = int(file.read())
        except (OSError, ValueError):
            return
        if command_of(pid, "web"):
            os.kill(pid, signal.SIGKILL)
        os.unlink(path)

    @staticmethod
    def answers(address: str, port: int) -> bool:
        """Whether something answers on a port in the lab's network; for ssh, with its greeting."""
        script = (
            "import socket, sys\n"
            "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)\n"
            "s.settimeout(2)\n"
            "sys.exit(sys.argv[2] == '22' and s.recv(4) != b'SSH-')\n"
        )
        argv = ["nsenter", "--net=/run/netns/" + paths.NETNS, "/usr/bin/python3", "-IS", "-c", script]
        return sh(*argv, address, str(port), check=False).returncode == 0

    def wait(self, names: Sequence[str], seconds: float = 60) -> None:
        """Wait until hosts can be logged in to."""
        end = time.monotonic() + seconds
        for name in names:
            host = self.host(name)
            while not self.answers(host.address, 22):
                if not host.is_on or time.monotonic() > end:
                    tail = "\n".join(host.console().splitlines()[-15:])
                    raise LabError("{0} cannot be logged in to; its console:\n{1}".format(name, tail))
                time.sleep(0.1)

    def wait_for_slice(self, name: str, label: str, seconds: float = 120) -> None:
        """Wait until a host runs from a slice in state normal, by what it shows and not over the network."""
        end = time.monotonic() + seconds
        while True:
            host = self.host(name)
            kenv = host.kenv() if host.is_on else {}
            if (kenv.get("nanozfs.slice"), kenv.get("nanozfs.state")) == (label, "normal"):
                return
            if time.monotonic() > end:
                raise LabError("{0} did not come up from {1}: {2}".format(name, label, kenv))
            time.sleep(0.2)

    def stutter(self, name: str, fuse: int, seconds: float = 120) -> int:
        """Switch a host on, again and again, the power failing in each early boot, until it comes up all the same.

        :param fuse: see :meth:`Host.on`; one more in each boot, for commands that set a property are done anew.
        :returns: how often the power failed.
        """
        end = time.monotonic() + seconds
        host = self.host(name)
        for failures in range(100):
            before = host.machine.running["boot_id"]
            host.on(fuse + failures)
            while host.is_on:
                running = host.machine.running
                if running["boot_id"] != before and "nanozfs.state" in running["kenv"]:
                    return failures
                if time.monotonic() > end:
                    raise LabError("{0} neither comes up nor fails: {1}".format(name, host.console()[-1000:]))
                time.sleep(0.1)
        raise LabError("{0} never comes up: {1}".format(name, host.console()[-1000:]))

    def down(self) -> None:
        """Switch everything off and take the lab away, whatever state it is in."""
        self.stop_serving()
        for host in self.hosts:
            host.cut()
        for pid in self.processes("vault", "emulator"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._inhabitants():  # ssh keeps connections open behind the plays
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for space in self._namespaces():
            sh("ip", "netns", "del", space, check=False)
        for loop in self._loops():
            sh("losetup", "--detach", loop, check=False)
        while os.path.ismount(paths.MEMORY):
            sh("umount", "-l", paths.MEMORY)
        for folder in (paths.HOME, paths.MEMORY):
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def processes(*modules: str) -> List[int]:
        """The processes of this lab that run one of these modules of ``tests.lab``."""
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and command_of(int(pid), *modules)]

    @staticmethod
    def _inhabitants() -> List[int]:
        """The processes in the lab's own network namespace."""
        try:
            space = os.stat("/run/netns/" + paths.NETNS).st_ino
        except OSError:
            return []
        found = []
        for pid in os.listdir("/proc"):
            with suppress(OSError):
                if pid.isdigit() and os.stat("/proc/{0}/ns/net".format(pid)).st_ino == space:
                    found.append(int(pid))
        return found

    @staticmethod
    def _namespaces() -> List[str]:
        listed = sh("ip", "netns", "list", check=False).stdout.splitlines()
        names = [line.split()[0] for line in listed if line.strip()]
        return [name for name in names if name == paths.NETNS or name.startswith(paths.NETNS + ".")]

    @staticmethod
    def _loops() -> List[str]:
        found = []
        for line in sh(
            "losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE", check=False
        ).stdout.splitlines():
            name, _blank, back = line.strip().partition(" ")
            if back.strip().startswith(paths.HOME + "/"):
                found.append(name)
        return found

    def leftovers(self) -> List[str]:
        """What this lab, which has ended, has left on this machine; empty as it should be."""
        found = ["network namespace " + name for name in self._namespaces()]
        found += ["loop device " + name for name in self._loops()]
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1] for line in file]
        found += ["mount " + path for path in mounts if (path + "/").startswith((paths.MEMORY + "/", paths.HOME + "/"))]
        for pid in self.processes(*_MODULES):
            command = command_of(pid, *_MODULES)
            found += ["process {0}: {1}".format(pid, command)] if command else []
        found += ["folder " + path for path in (paths.HOME, paths.MEMORY) if os.path.exists(path)]
        return found
