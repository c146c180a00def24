# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Power supply, firmware and reset button of one lab host: ``supervisor.py NAME``.

Boots the host, waits for it to end, and boots it again when it restarted itself. Ends when the host switched itself
off, or when it is killed (SIGTERM), which is the power cut.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Dict, List, NoReturn, Optional

from ansible_collections.nanozfs.fleet.tests.lab import firmware, paths, slices
from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

#: how a host ends that restarted itself: reboot(2) in a PID namespace kills its process 1 with SIGHUP, and unshare(1)
#: ends in the same way or, in older versions, with 128 + SIGHUP
RESTARTED = (-signal.SIGHUP, 128 + signal.SIGHUP)


class Clock(Kernel):
    """Outside of a host nothing is mounted, but time passes."""

    def now(self) -> float:
        return time.time()


class Supervisor:
    """One host under power."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = os.path.join(paths.HOSTS, name)
        self.machine = Machine(self.home, paths.SHELF, Clock())
        self.child: Optional[subprocess.Popen] = None
        self.loops: List[str] = []

    def say(self, text: str) -> None:
        """A line on the host's console."""
        print(text, flush=True)

    def cut(self, _signal: int = 0, _frame: Optional[FrameType] = None) -> NoReturn:
        """The power is gone."""
        if self.child is not None and self.child.returncode is None:
            # not through the Popen object: this handler interrupts its wait(), which holds a lock
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.child.pid, signal.SIGKILL)
                os.waitpid(self.child.pid, 0)
        self.detach()
        self.say("--- power cut")
        os._exit(0)

    def attach(self) -> None:
        """A loop device for every partition of the disks that have any, and for every disk that has none."""
        devices: Dict[str, str] = {}
        layouts = geom.layouts(self.machine)
        for disk, about in self.machine.hardware["disks"].items():
            if disk not in layouts:
                devices[disk] = self._loop(geom.Place(disk, disk, 0, about["size"]))
        for layout in layouts.values():
            for part in layout.parts:
                devices[part.name] = self._loop(layout.place(part))
        for label, (place, part) in geom.labels(self.machine).items():
            devices[label] = devices[part.name] if place.size == part.size else self._loop(place)
        with open(os.path.join(self.home, "devices.json"), "w", encoding="utf-8") as file:
            json.dump(devices, file)

    def _loop(self, place: geom.Place) -> str:
        argv = ["losetup", "--find", "--show", "--offset", str(place.offset), "--sizelimit", str(place.size)]
        argv.append(self.machine.image(place.disk))
        for _attempt in range(20):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                self.loops.append(done.stdout.strip())
                return self.loops[-1]
            time.sleep(0.1)  # another host took the free one that was found
        raise RuntimeError("losetup: {0}".format(done.stderr))

    def detach(self) -> None:
        """Give the loop devices back."""
        for loop in self.loops:
            subprocess.run(["losetup", "--detach", loop], check=False)
        self.loops = []

    def boot(self) -> int:
        """One boot, until the host ends; how it ended."""
        with self.machine.locked():
            booted = firmware.boot(self.machine, self.say)
            kenv = dict(booted.kenv, **{"smbios.system.uuid": self.machine.hardware["uuid"]})
            self.machine.start(kenv)
            place = geom.find(self.machine, booted.root)
            if place is None:
                raise firmware.Stopped("kernel: {0} is no disk; it waits at mountroot>".format(booted.root))
            self.machine.running["mounts"] = [
                {"from": booted.root, "on": "/", "type": "ufs", "readonly": True},
                {"from": "devfs", "on": "/dev", "type": "devfs", "readonly": False},
            ]
            self.attach()
            where = os.path.join(paths.MEMORY, "slices")
            image = slices.unpack(self.machine.image(place.disk), place.offset, place.size, where)
        argv = ["nsenter", "--net=/run/netns/" + netns(self.name), "unshare", "--mount", "--uts", "--ipc", "--pid"]
        argv += ["--fork", "--kill-child", "--propagation", "private", "/usr/bin/python3", "-S", "-m"]
        argv += ["ansible_collections.nanozfs.fleet.tests.lab.init", self.name, image]
        environment = {"PATH": "/usr/sbin:/usr/bin", "PYTHONPATH": os.path.join(paths.MEMORY, "path")}
        environment.update(paths.LAB.environment)
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment)
        return self.child.wait()

    def run(self) -> None:
        """Keep the host running while it wants to."""
        signal.signal(signal.SIGTERM, self.cut)
        while True:
            self.say("--- power on at {0}".format(time.strftime("%H:%M:%S")))
            try:
                ended = self.boot()
            except firmware.Restarted as reason:
                self.say("--- {0}".format(reason))
                time.sleep(1)
                continue
            except firmware.Stopped as reason:
                self.say("*** {0}".format(reason))
                while True:
                    signal.pause()
            finally:
                self.detach()
            self.say("--- ended with {0}".format(ended))
            if ended not in RESTARTED:
                return


def netns(name: str) -> str:
    """The network namespace of a host."""
    return "{0}.{1}".format(paths.NETNS, name)


if __name__ == "__main__":
    Supervisor(sys.argv[1]).run()
