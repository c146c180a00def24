# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Process 1 of a host that only runs its early boot: ``host.py NAME IMAGE-FOLDER``, in namespaces of its own.

Runs ``rc.initdiskless`` with the real early hook, answers its commands from the model, and does to it what the host's
``faults.json`` asks for. Leaves what it found in ``after.json``.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any, Dict, List, NoReturn

from ansible_collections.nanozfs.fleet.tests.lab import init, paths
from ansible_collections.nanozfs.fleet.tests.lab.kernel import LabKernel
from ansible_collections.nanozfs.fleet.tests.model.machine import COMMANDS, Machine


class Faults:
    """What goes wrong: a list of commands (by their first words) that hang, panic or are the last before a power cut.

    Each entry: ``{"do": "hang"|"panic"|"fail"|"attach", "argv": [first words], "after": how many are let through}``. A
    command that panics is not carried out; process 1 ends, which is the end of everything in its namespace. ``attach``
    puts the disk ``disk`` in before the command is carried out.
    """

    PANIC = 86

    def __init__(self, home: str) -> None:
        with open(os.path.join(home, "faults.json"), encoding="utf-8") as file:
            self._faults: List[Dict[str, Any]] = json.load(file)
        self._held: List[socket.socket] = []

    def strike(self, machine: Machine, argv: List[str], link: socket.socket) -> bool:
        """Whether the command was struck, and will not be carried out."""
        for fault in self._faults:
            if not any(argv[: len(words)] == words for words in fault["argv"]):
                continue
            fault["after"] -= 1
            if fault["after"] >= 0:
                continue
            if fault["do"] == "panic":
                os._exit(self.PANIC)
            if fault["do"] == "attach":
                with machine.locked():
                    machine.attach_disk(fault.pop("disk"))
                fault["argv"] = []
                return False
            if fault["do"] == "fail":
                link.sendall(b"1 0 it does not work\n")
                return True
            self._held.append(link.dup())
            return True
        return False


def _collect(log: str) -> Dict[str, Any]:
    """What is in /etc, /cfg and /var when the early boot is over."""
    found: Dict[str, Any] = {"console": log, "files": {}}
    for top in filter(os.path.ismount, ("/etc", "/cfg", "/var")):
        for folder, _folders, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.isfile(path):
                    continue  # a fifo, say, which would be waited for
                with suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
                    if os.path.getsize(path) < 1 << 16:
                        found["files"][path] = file.read()
    return found


def _live(home: str) -> NoReturn:
    server = socket.socket(socket.AF_UNIX)
    server.bind(paths.SOCKET)
    server.listen(128)
    server.settimeout(0.1)
    machine = Machine(paths.INSIDE + "/host", paths.INSIDE + "/shelf", LabKernel())
    faults = Faults(home)
    environment = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "HOME": "/"}
    with open(os.path.join(home, "console"), "w+", encoding="utf-8") as console:
        rc = subprocess.Popen(
            ["/bin/sh", "/etc/rc.initdiskless"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        while rc.poll() is None:
            with suppress(socket.timeout):
                link, _address = server.accept()
                link.settimeout(None)
                with link, suppress(OSError):
                    request = b"".join(iter(lambda: link.recv(1 << 16), b""))  # noqa: B023 - read at once
                    argv = request.decode("utf-8", "surrogateescape").split("\0")
                    if not faults.strike(machine, argv, link):
                        link.sendall(init.answer(machine, argv))
        console.seek(0)
        after = _collect(console.read())
    with open(os.path.join(home, "after.json"), "w", encoding="utf-8") as file:
        json.dump(after, file)
    os._exit(0)


def main(argv: List[str]) -> NoReturn:
    """Entry point."""
    name, image = argv
    home = os.path.join(paths.HOSTS, name)
    for module in set(COMMANDS.values()):  # all there is to import, while it can be found where this was started
        importlib.import_module("ansible_collections.nanozfs.fleet.tests.model.commands." + module)
    init.enter_host(home, os.path.join(paths.MEMORY, "roots", name), image)
    _live(paths.INSIDE + "/host")


if __name__ == "__main__":
    main(sys.argv[1:])
