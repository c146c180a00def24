# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual machine under QEMU: its drives, its power button, its console.

Needs no root. The guest has QEMU's user-mode network: this machine reaches it through a port of 127.0.0.1, and it
reaches what listens on 127.0.0.1 here as 10.0.2.2. Nothing in here knows which system runs in it. Source of the
options: qemu-system-x86_64(1).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.qemu import (
    PROGRAM,
    Net,
    board,
    clean,
    drive,
    forward,
    sealed,
)

#: under which a guest sees 127.0.0.1 of this machine
HOST_ADDRESS = "10.0.2.2"


class GuestError(Exception):
    """A guest does not do what it should; the text says where its console is."""


class Kernel(NamedTuple):
    """A kernel that QEMU itself loads: paths of it and of its initial ramdisk, and its command line."""

    image: str
    ramdisk: str
    arguments: str


@dataclass(frozen=True)
class Hardware:
    """What a guest is made of.

    :param drives: paths of raw image files, in the order in which the guest sees them.
    :param memory: in MiB.
    :param accel: ``tcg`` (software emulation) or ``kvm``.
    :param firmware: path of UEFI code, with that of a writable store of its variables; BIOS without.
    :param forwards: ports of this machine by those of the guest.
    :param kernel: what is booted in place of a drive.
    :param net: the network of a copy of a host on a backup host, which leads nowhere; one with a way out without.
    :param boot: the number of the drive that the firmware boots, where it is not the first.
    """

    drives: Sequence[str]
    forwards: Dict[int, int]
    memory: int = 1024
    cpus: int = 2
    accel: str = "tcg"
    firmware: Optional[Sequence[str]] = None
    kernel: Optional[Kernel] = None
    net: Optional[Net] = None
    boot: Optional[int] = None


def arguments(hardware: Hardware, console: int, monitor: int) -> List[str]:
    """The command that starts a guest.

    :param console: descriptor of the socket for the serial line, *monitor* of that for QMP.
    """
    argv = board(hardware.memory, hardware.cpus, hardware.accel, console)
    argv += ["-chardev", "socket,id=monitor,fd={0}".format(monitor), "-mon", "chardev=monitor,mode=control"]
    # the watchdog of the chip set may reset the machine, as on a real board
    argv += ["-global", "ICH9-LPC.noreboot=false", "-action", "watchdog=reset"]
    for path, writable in zip(hardware.firmware or (), (False, True)):
        argv += ["-drive", "if=pflash,format=raw,readonly={0},file={1}".format("off" if writable else "on", path)]
    if hardware.kernel:
        argv += ["-kernel", hardware.kernel.image, "-initrd", hardware.kernel.ramdisk]
        argv += ["-append", hardware.kernel.arguments]
    for number, path in enumerate(hardware.drives):
        argv += drive(number, path, ",bootindex=1" if number == hardware.boot else "")
    if hardware.net:
        return argv + sealed(hardware.net, hardware.forwards[22], 22)
    forwards = "".join(forward(here, there) for there, here in sorted(hardware.forwards.items()))
    return [*argv, "-netdev", "user,id=net" + forwards, "-device", "virtio-net-pci,netdev=net"]


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Line:
    """A line of a transcript. ``at``: seconds since the source began. ``number`` counts the lines of all sources."""

    number: int
    at: float
    text: str


class Transcript:
    """What something says, line by line and with its times, while it says it: a console over many boots, a play.

    :param path: of the file that gets every line, with its time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: List[Line] = []
        self._partial = b""
        self._news = threading.Condition()

    def follow(self, read: Callable[[], bytes], title: str) -> threading.Thread:
        """Take in everything that a source says until it ends.

        :param read: the next piece; empty at the end.
        :param title: of the source, for the file.
        """
        thread = threading.Thread(target=self._follow, args=(read, title, time.monotonic()), daemon=True)
        thread.start()
        return thread

    def _follow(self, read: Callable[[], bytes], title: str, started: float) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("--- {0}\n".format(title))
            piece = b"-"
            while piece:
                try:
                    piece = read()
                except OSError:  # the other end is gone
                    piece = b""
                for line in self.feed(piece, time.monotonic() - started):
                    file.write("{0:8.2f} {1}\n".format(line.at, line.text))
                file.flush()

    def feed(self, piece: bytes, at: float) -> List[Line]:
        """Take in a piece; the lines that it completes.

        :param piece: empty when the source has ended.
        :param at: seconds since the source began.
        """
        with self._news:
            *whole, self._partial = (self._partial + piece).split(b"\n")
            if not piece and self._partial:
                whole, self._partial = [self._partial], b""
            first = len(self.lines)
            self.lines += [Line(first + number, at, clean(raw)) for number, raw in enumerate(whole)]
            self._news.notify_all()
            return self.lines[first:]

    @property
    def end(self) -> int:
        """The number that the next line gets."""
        with self._news:
            return len(self.lines)

    def find(self, pattern: str, since: int = 0) -> Optional[Line]:
        """The first line with *pattern* (a regular expression) of those numbered from *since* on."""
        with self._news:
            return self._find(pattern, since)

    def _find(self, pattern: str, since: int) -> Optional[Line]:
        for line in self.lines[since:]:
            if re.search(pattern, line.text):
                return line
        rest = clean(self._partial)  # a prompt has no end of line
        if rest and re.search(pattern, rest):
            return Line(len(self.lines), self.lines[-1].at if self.lines else 0.0, rest)
        return None

    def wait(self, pattern: str, seconds: float, since: int = 0, ended: Callable[[], bool] = lambda: False) -> Line:
        """Wait for a line.

        :param seconds: deadline.
        :param ended: whether there is nothing more to wait for; asked every second.
        :raises GuestError: when it does not come by then.
        """
        end, over = time.monotonic() + seconds, False
        with self._news:
            found = self._find(pattern, since)
            while found is None:
                left = 0.0 if over else end - time.monotonic()
                if left <= 0:
                    last = self.lines[-1].text if self.lines else "nothing"
                    text = "no line with {0!r} {1}; the last one: {2!r}. All of it: {3}"
                    when = "until the end" if over else "in {0:.0f} s".format(seconds)
                    raise GuestError(text.format(pattern, when, last, self.path))
                over = ended()  # asked before the last look
                self._news.wait(0.0 if over else min(left, 1.0))
                found = self._find(pattern, since)
        return found


class Guest:
    """A virtual machine, seen from outside.

    :param folder: where its console's log is kept.
    """

    def __init__(self, name: str, folder: str, hardware: Hardware) -> None:
        self.name = name
        self.hardware = hardware
        os.makedirs(folder, exist_ok=True)
        self.console = Transcript(os.path.join(folder, name + ".console.log"))
        self._errors = os.path.join(folder, name + ".qemu.log")
        self._process: Optional[subprocess.Popen] = None
        self._reader: Optional[threading.Thread] = None
        self._links: List[socket.socket] = []

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.poll() is None

    def on(self) -> None:
        """Switch it on.

        :raises GuestError: when it is on already, or QEMU does not start.
        """
        if self.is_on:
            raise GuestError("{0} is on already".format(self.name))
        if shutil.which(PROGRAM) is None:
            raise GuestError("{0} is not installed; on Debian: apt-get install qemu-system-x86".format(PROGRAM))
        self._release()
        console, its_console = socket.socketpair()
        monitor, its_monitor = socket.socketpair()
        argv = arguments(self.hardware, its_console.fileno(), its_monitor.fileno())
        with open(self._errors, "ab") as errors:
            # the machine must not outlive the one who looks after it, whatever ends that
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(its_console.fileno(), its_monitor.fileno()),
            )
        its_console.close()
        its_monitor.close()
        self._links = [console, monitor]
        self._reader = self.console.follow(partial(console.recv, 4096), "power on")
        monitor.settimeout(30)
        self.command("qmp_capabilities")

    def command(self, name: str, **options: Any) -> Any:
        """Give a QMP command; what it returns.

        :raises GuestError: when QEMU refuses it or is gone.
        """
        link = self._links[1]
        try:
            link.sendall(json.dumps({"execute": name, "arguments": options}).encode() + b"\n")
            with link.makefile("rb") as answers:
                for raw in answers:
                    answer = json.loads(raw)
                    if "return" in answer:
                        return answer["return"]
                    if "error" in answer:
                        raise GuestError("{0}: {1}".format(name, answer["error"]["desc"]))
        except OSError as error:
            raise GuestError("{0} of {1}: {2}; see {3}".format(name, self.name, error, self._errors))
        raise GuestError("QEMU has ended; see {0}".format(self._errors))

    def boot_first(self, number: int) -> None:
        """Choose a drive in the firmware, for the next start. A BIOS tries no other hard disk than the first."""
        self.command("qom-set", path="/machine/peripheral/disk{0}".format(number), property="bootindex", value=0)

    def cut(self) -> None:
        """Cut its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._release()

    def press(self, seconds: float) -> None:
        """Press the power button, and wait for the system to switch itself off.

        :raises GuestError: when it does not in that time.
        """
        self.command("system_powerdown")
        self.wait_off(seconds)

    def wait_off(self, seconds: float) -> None:
        """Wait until it has switched itself off.

        :raises GuestError: when it has not in that time.
        """
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise GuestError("{0} is still on after {1:.0f} s. {2}".format(self.name, seconds, self.where))
        self._release()

    def type(self, text: str) -> None:
        """Type on its console."""
        self._links[0].sendall(text.encode())

    def _release(self) -> None:
        if self._reader is not None:
            self._reader.join(10)  # what was said last is still in the socket
        for link in self._links:
            link.close()
        self._links, self._reader = [], None

    @property
    def where(self) -> str:
        """Where to look when it does something unexpected."""
        return "The console: {0}".format(self.console.path)

    def greets(self) -> bool:
        """Whether an ssh server answers; QEMU itself takes connections, so only its greeting tells."""
        try:
            with socket.create_connection(("127.0.0.1", self.hardware.forwards[22]), 5) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait_ssh(self, seconds: float) -> None:
        """Wait until it can be logged in to.

        :raises GuestError: when it cannot in that time, or has lost its power.
        """
        end = time.monotonic() + seconds
        while not self.greets():
            if not self.is_on:
                raise GuestError("{0} is off. {1} and {2}".format(self.name, self.where, self._errors))
            if time.monotonic() > end:
                raise GuestError("no ssh on {0} after {1:.0f} s. {2}".format(self.name, seconds, self.where))
            time.sleep(0.5)
