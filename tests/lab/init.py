# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process 1 of a lab host: gives it its root, starts /etc/rc, and stays to run the model's commands.

Runs in namespaces of its own, made by the supervisor: ``init.py NAME IMAGE-FOLDER``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from typing import List, NoReturn

from ansible_collections.nanozfs.fleet.tests.lab import paths, syscalls
from ansible_collections.nanozfs.fleet.tests.lab.kernel import LabKernel
from ansible_collections.nanozfs.fleet.tests.lab.syscalls import mount
from ansible_collections.nanozfs.fleet.tests.model.machine import COMMANDS, Machine, Output

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def _touch(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8"):
        pass


def _build_root(root: str, image: str) -> None:
    """A read-only root: the lab's stand-ins for FreeBSD's commands, the image, and this machine's own programs."""
    os.makedirs(root, exist_ok=True)
    layers = ":".join([os.path.join(paths.MEMORY, "shims"), image, "/"])
    mount("root", root, "overlay", syscalls.RDONLY, "lowerdir=" + layers)
    mount("proc", root + "/proc", "proc")
    mount("sys", root + "/sys", "sysfs", syscalls.RDONLY)
    mount("run", root + "/run", "tmpfs", options="mode=755,size=8m")
    os.makedirs(root + "/run/sshd")


def _build_dev(root: str, host: str) -> None:
    dev = root + "/dev"
    mount("dev", dev, "tmpfs", options="mode=755,size=1m")
    for name in _DEVICES:
        _touch(os.path.join(dev, name))
        mount("/dev/" + name, os.path.join(dev, name), flags=syscalls.BIND)
    for name in ("pts", "shm"):
        os.mkdir(os.path.join(dev, name))
    mount("devpts", dev + "/pts", "devpts", options="newinstance,ptmxmode=666,mode=620")
    os.symlink("pts/ptmx", dev + "/ptmx")
    os.symlink("/proc/self/fd", dev + "/fd")
    with open(os.path.join(host, "devices.json"), encoding="utf-8") as file:
        devices = json.load(file)
    for name, loop in devices.items():
        _touch(os.path.join(dev, name))
        mount(loop, os.path.join(dev, name), flags=syscalls.BIND)


def _share(root: str, host: str) -> None:
    """What the model's commands need of the lab, under /lab."""
    inside = root + paths.INSIDE
    for name, source in (
        ("host", host),
        ("shelf", paths.SHELF),
        ("path", os.path.join(paths.MEMORY, "path")),
        ("skel", os.path.join(paths.MEMORY, "skel")),
        ("linux-etc", "/etc"),
    ):
        mount(source, os.path.join(inside, name), flags=syscalls.BIND)
    with open(os.path.join(paths.MEMORY, "packages"), encoding="utf-8") as file:
        mount(file.read().strip(), inside + "/packages", flags=syscalls.BIND)


def enter_host(host: str, root: str, image: str) -> None:
    """Make the root of a host and go there, in a mount namespace of this process's own.

    :param host: its folder in the lab; inside it is ``/lab/host``.
    :param root: where the root is put together.
    :param image: the folder with what its slice holds.
    """
    _build_root(root, image)
    _build_dev(root, host)
    _share(root, host)
    os.chdir(root)
    # the old root is stacked on the new one and taken off again: the root is read-only, there is no folder to put it
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".", lazily=True)
    os.chdir("/")


def answer(machine: Machine, argv: List[str]) -> bytes:
    """Run one command of the model; what the stand-in is to print."""
    try:
        output = machine.run(argv)
    except Exception:
        output = Output(70, "", traceback.format_exc())
    out, err = (text.encode("utf-8", "surrogateescape") for text in (output.out, output.err))
    return b"%d %d " % (output.rc, len(out)) + out + err


class Fuse:
    """Cuts the power at a certain point of the early boot: instead of a command that would change a dataset.

    :param machine: the machine; its file ``fuse`` says how many of these commands are let through.
    """

    CHANGING = ("clone", "create", "promote", "rename", "set")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        try:
            with open(os.path.join(machine.home, "fuse"), encoding="utf-8") as file:
                self._left = int(file.read())
        except FileNotFoundError:
            self._left = -1

    def check(self, argv: List[str]) -> None:
        """Called with every command before it is run. The end of process 1 is that of everything in its namespace."""
        if self._left < 0 or argv[0] != "zfs" or argv[1:2] == [] or argv[1] not in self.CHANGING:
            return
        if "nanozfs.state" in self._machine.running["kenv"]:  # the early hook is through
            self._left = -1
            return
        if self._left == 0:
            os._exit(1)
        self._left -= 1


def _live() -> NoReturn:
    """Start the system and answer its commands, until reboot(2) ends this namespace."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries whoever dies
    server = socket.socket(socket.AF_UNIX)
    server.bind(paths.SOCKET)
    server.listen(128)
    machine = Machine(paths.INSIDE + "/host", paths.INSIDE + "/shelf", LabKernel())
    fuse = Fuse(machine)
    environment = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "HOME": "/"}
    subprocess.Popen(["/bin/sh", "/etc/rc", "autoboot"], env=environment, stdin=subprocess.DEVNULL)
    while True:
        link, _address = server.accept()
        with link, suppress(OSError):
            request = b"".join(iter(lambda: link.recv(1 << 16), b""))  # noqa: B023 - read at once
            argv = request.decode("utf-8", "surrogateescape").split("\0")
            fuse.check(argv)
            link.sendall(answer(machine, argv))


def main(argv: List[str]) -> NoReturn:
    """Entry point."""
    name, image = argv
    host = os.path.join(paths.HOSTS, name)
    root = os.path.join(paths.MEMORY, "roots", name)
    for module in set(COMMANDS.values()):  # all there is to import, while it can be found where this was started
        importlib.import_module("ansible_collections.nanozfs.fleet.tests.model.commands." + module)
    subprocess.run(["/usr/bin/hostname", "unnamed"], check=True)
    enter_host(host, root, image)
    _live()


if __name__ == "__main__":
    main(sys.argv[1:])
