# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host of the lab: a Linux machine in namespaces of its own, ``vault.py NAME``.

It is this machine's own system, with what is written to it in memory: its rsnapshot, dirvish, rsync and ssh are those
of Debian. Its sets are on a disk of their own, an ext4 in the lab's folder, which can become full. For zfs send it has
a pool of the model, whose commands stand before those of Debian.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import List, NoReturn, Optional

from ansible_collections.nanozfs.fleet.tests.lab import emulator, paths, syscalls
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab, LabError, command_of, sh
from ansible_collections.nanozfs.fleet.tests.lab.supervisor import netns
from ansible_collections.nanozfs.fleet.tests.lab.syscalls import mount
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

#: the backup hosts that a lab can have, and the last part of their addresses
ADDRESSES = {"vault": 5, "vault-2": 6}

#: where it has its sets, and how large their disk is (bytes; what is not used takes no room)
SRV, DISK = "/srv/backup", 192 << 20

#: its pool, and how large that is (bytes)
POOL, POOL_SIZE = "bank", 1 << 30

#: a command of the model; each is a Python of its own, as there is nobody here who has the model in his memory
_MODEL = (
    "PYTHONPATH={0}/path MODEL_HOME={0}/host MODEL_KERNEL=lab "
    "/usr/bin/python3 -m ansible_collections.nanozfs.fleet.tests.model.cli"
).format(paths.INSIDE)

#: what stands before Debian's commands, which keep their names with ``.linux`` behind them
_COMMANDS = {
    "usr/sbin/zfs": '#!/bin/sh\nexec env {0} zfs "$@"\n',
    "usr/sbin/zpool": '#!/bin/sh\nexec env {0} zpool "$@"\n',
    "usr/bin/mount": '#!/bin/sh\n[ "$1 $2" != "-t zfs" ] || exec env {0} mount "$@"\nexec /usr/bin/mount.linux "$@"\n',
    "usr/bin/qemu-system-x86_64": emulator.SCRIPT,
    "usr/bin/umount": '#!/bin/sh\nenv {0} umount "$@" 2> /dev/null || exec /usr/bin/umount.linux "$@"\n',
}

_SSHD = """Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
"""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Vault(Host):
    """A backup host, seen from outside."""

    # unshare(1) waits for the machine, has its command line, and takes it along when it is killed (--kill-child)
    MODULE, POWER = "vault", signal.SIGKILL

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.home = os.path.join(paths.VAULTS, name)

    @property
    def pools(self) -> List[str]:
        return []

    def build(self, key: str, disk_size: int = DISK) -> None:
        """Buy it.

        :param key: the public key that may log in.
        :param disk_size: of the disk for its sets, in bytes.
        :raises LabError: when this machine lacks what a backup host needs.
        """
        if self.exists:
            raise LabError("there is a backup host {0} already".format(self.name))
        for program in ("/usr/bin/rsnapshot", "/usr/sbin/dirvish", "/usr/bin/rsync"):
            if not os.path.exists(program):
                raise LabError("{0} is missing on this machine; tools/setup installs it".format(program))
        os.makedirs(self.home)
        disk = os.path.join(self.home, "disk")
        with open(disk, "wb") as file:
            file.truncate(disk_size)
        sh("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", disk)
        machine = Machine.create(os.path.join(self.home, "pool"))
        machine.add_disk("ada0", POOL_SIZE)
        made = machine.run(["zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", POOL, "ada0"])
        if made.rc != 0:
            raise LabError("the pool of {0} cannot be made: {1}".format(self.name, made.err))
        with open(os.path.join(self.home, "admin.pub"), "w", encoding="utf-8") as file:
            file.write(key + "\n")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", os.path.join(self.home, "ssh_key"))
        self.place(ADDRESSES[self.name])

    def on(self, fuse: Optional[int] = None) -> None:
        """Press the power button."""
        if self.is_on:
            return
        self._have_emulator()
        namespaces = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        self._start(
            ["nsenter", "--net=/run/netns/" + netns(self.name), *namespaces, "--propagation", "private"],
        )

    def _have_emulator(self) -> None:
        """Start what has its virtual machines, which needs more of this machine than a backup host has."""
        room = os.path.join(self.home, "room", emulator.SOCKET)
        with suppress(FileNotFoundError):
            os.unlink(room)
        with open(os.path.join(self.home, "emulator.log"), "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "ansible_collections.nanozfs.fleet.tests.lab.emulator", self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=dict(os.environ, **paths.LAB.environment),
            )
        end = time.monotonic() + 20
        while not os.path.exists(room):
            if time.monotonic() > end:
                raise LabError("{0} has no emulator, see {1}/emulator.log".format(self.name, self.home))
            time.sleep(0.05)

    def cut(self) -> None:
        """Cut the power, of its virtual machines as well."""
        for pid in Lab.processes("emulator"):
            if command_of(pid, "emulator").endswith(" " + self.name):
                os.kill(pid, signal.SIGTERM)
        for host in Lab().hosts:
            if host.name.startswith("copy-"):
                Lab().discard(host.name)
        super().cut()

    def wait(self, seconds: float = 30) -> None:
        """Wait until it can be logged in to."""
        end = time.monotonic() + seconds
        while not Lab.answers(self.address, 22):
            if not self.is_on or time.monotonic() > end:
                raise LabError(
                    "{0} cannot be logged in to; its console:\n{1}".format(self.name, self.console()[-2000:])
                )
            time.sleep(0.1)

    def scrap(self) -> None:
        """Throw it away, with its disk."""
        if not self.exists:
            return
        self.cut()
        sh("ip", "-n", paths.NETNS, "link", "del", self.cable, check=False)
        sh("ip", "netns", "del", netns(self.name), check=False)
        for folder in (self.home, os.path.join(paths.MEMORY, "vaults", self.name)):
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: str, text: str, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _build_root(root: str, name: str) -> None:
    """The system of this machine, with a layer in memory that can be written to, which stays as long as the lab."""
    memory = os.path.join(paths.MEMORY, "vaults", name)
    for folder in ("upper", "work"):
        os.makedirs(os.path.join(memory, folder), exist_ok=True)
    os.makedirs(root, exist_ok=True)
    lower = ["/"]
    if not os.path.exists("/usr/sbin/sshd"):  # a layer must not lie below another one
        lower.insert(0, os.path.join(memory, "sshd"))
        usr = os.path.join(lower[0], "usr")
        shutil.copytree(os.path.join(paths.SSHD, "usr"), usr, symlinks=True, dirs_exist_ok=True)
    options = "lowerdir={0},upperdir={1}/upper,workdir={1}/work".format(":".join(lower), memory)
    mount("root", root, "overlay", options=options)
    mount("proc", root + "/proc", "proc")
    mount("sys", root + "/sys", "sysfs", syscalls.RDONLY)
    for folder, limits in (("run", "mode=755,size=16m"), ("tmp", "mode=1777,size=64m"), ("dev", "mode=755,size=1m")):
        mount(folder, os.path.join(root, folder), "tmpfs", options=limits)
    os.makedirs(root + "/run/sshd")
    for device in _DEVICES:
        path = os.path.join(root, "dev", device)
        with open(path, "w", encoding="ascii"):
            pass
        mount("/dev/" + device, path, flags=syscalls.BIND)
    os.mkdir(root + "/dev/pts")
    mount("devpts", root + "/dev/pts", "devpts", options="newinstance,ptmxmode=666,mode=620")
    os.symlink("pts/ptmx", root + "/dev/ptmx")
    os.symlink("/proc/self/fd", root + "/dev/fd")


def _settle(root: str, home: str, name: str) -> None:
    """What makes it a machine of its own."""
    _write(root + "/etc/hostname", name + "\n")
    _write(root + "/etc/ssh/sshd_config", _SSHD)
    os.makedirs(root + "/root/.ssh", mode=0o700, exist_ok=True)
    os.chmod(root + "/root", 0o700)
    for source, target, mode in (
        ("ssh_key", "/etc/ssh/ssh_host_ed25519_key", 0o600),
        ("admin.pub", "/root/.ssh/authorized_keys", 0o600),
    ):
        with open(os.path.join(home, source), encoding="utf-8") as file:
            _write(root + target, file.read(), mode)
    with open(root + "/etc/passwd", "r+", encoding="utf-8") as file:
        if "\nsshd:" not in file.read():  # where it was unpacked and not installed
            file.write("sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n")
    for left in ("/usr/local/etc/nanozfs-backup", "/var/db/nanozfs-backup"):  # of this machine's own
        if os.path.isdir(root + left) and not os.path.exists(os.path.join(home, "settled")):
            sh("rm", "-rf", root + left)
    os.makedirs(root + SRV, exist_ok=True)
    _write(os.path.join(home, "settled"), "")


def _attach_pool(root: str, home: str) -> None:
    """Its pool, imported as after a start, and the commands for it."""
    with Machine(os.path.join(home, "pool")).locked() as machine:
        machine.start({})
    machine.run(["zpool", "import", "-f", "-N", "-o", "cachefile=none", POOL])
    for name, source in (
        ("host", os.path.join(home, "pool")),
        ("path", os.path.join(paths.MEMORY, "path")),
        ("room", os.path.join(home, "room")),
    ):
        os.makedirs(root + paths.INSIDE + "/" + name, exist_ok=True)
        mount(source, root + paths.INSIDE + "/" + name, flags=syscalls.BIND)
    for name, text in _COMMANDS.items():
        path = os.path.join(root, name)
        if os.path.exists(path) and not os.path.exists(path + ".linux"):
            os.rename(path, path + ".linux")
        _write(path, text.replace("{0}", _MODEL), 0o755)


def main(argv: List[str]) -> NoReturn:
    """Process 1 of the machine: gives it its root, runs sshd, and buries whoever dies."""
    (name,) = argv
    home = os.path.join(paths.VAULTS, name)
    with open(os.path.join(home, "address"), encoding="utf-8") as file:
        address = file.read().strip()
    root = os.path.join(paths.MEMORY, "roots", name)
    _build_root(root, name)
    _settle(root, home, name)
    _attach_pool(root, home)
    # the loop device goes with its mount, and that with this namespace
    sh("mount", "-o", "loop", os.path.join(home, "disk"), root + SRV)
    sh("hostname", name)
    sh("ip", "link", "set", "eth0", "up")
    sh("ip", "addr", "replace", address, "dev", "eth0")
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".", lazily=True)
    os.chdir("/")
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], env=environment, stdin=subprocess.DEVNULL)
    while True:
        with suppress(ChildProcessError):
            os.wait()
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1:])
