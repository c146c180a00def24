# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FreeBSD host as its disks and its kernel see it.

Everything is kept in files under one folder, so that unit tests, the commands of a lab host and the lab itself can all
look at one machine:

* ``machine.json``: what stays: disks with their sizes, what is on them for ZFS, the system's uuid, its release;
* ``disks/<name>.img``: the bytes of disks that have any, with real partition tables;
* ``run.json``: what a reboot forgets: kernel environment, mounts, imported pools, uncommitted partition changes;
* the shelf, a folder shared by all machines of a lab: pools with their datasets as real files.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import random
import uuid
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel


class Output(NamedTuple):
    """What a command gives back."""

    rc: int = 0
    out: str = ""
    err: str = ""


class Fail(Exception):
    """A command ends with a message on standard error."""

    def __init__(self, err: str, rc: int = 1, out: str = "") -> None:
        super().__init__(err)
        self.output = Output(rc, out, err if err.endswith("\n") or not err else err + "\n")


#: what a machine runs that does not say
FIRST_RELEASE = "13.2"

Command = Callable[["Machine", List[str], Optional[str]], Output]

#: which module of tests/model/commands has which command
COMMANDS = {
    "gpart": "gpart",
    "boot0cfg": "gpart",
    "glabel": "disks",
    "diskinfo": "disks",
    "kenv": "system",
    "sysctl": "system",
    "kldload": "system",
    "kldstat": "system",
    "watchdog": "system",
    "shutdown": "system",
    "reboot": "system",
    "halt": "system",
    "freebsd-version": "system",
    "uname": "system",
    "rcorder": "rcorder",
    "mount": "mounts",
    "umount": "mounts",
    "mdmfs": "mounts",
    "zpool": "zpool",
    "zdb": "zpool",
    "zfs": "zfs",
}


class Machine:
    """One host.

    :param home: its folder.
    :param shelf: the folder with the pools.
    """

    def __init__(self, home: str, shelf: Optional[str] = None, kernel: Optional[Kernel] = None) -> None:
        self.home = os.path.abspath(home)
        self.shelf = os.path.abspath(shelf or os.path.join(home, "shelf"))
        self.kernel = kernel or Kernel()
        self.hardware: Dict[str, Any] = {}
        self.running: Dict[str, Any] = {}
        self.calls: List[Tuple[str, ...]] = []

    # making and keeping

    @classmethod
    def create(
        cls,
        home: str,
        shelf: Optional[str] = None,
        kernel: Optional[Kernel] = None,
        seed: int = 1,
        release: str = FIRST_RELEASE,
    ) -> Machine:
        """A new machine without disks, switched on.

        :param release: of FreeBSD, one of those in :mod:`tests.model.releases`.
        """
        machine = cls(home, shelf, kernel)
        os.makedirs(os.path.join(machine.home, "disks"), exist_ok=True)
        os.makedirs(machine.shelf, exist_ok=True)
        chance = random.Random(seed)
        machine.hardware = {
            "uuid": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "arch": "amd64",
            "method": "BIOS",
            "release": release,
            "disks": {},
        }
        machine.start({})
        machine.save()
        return machine

    def start(self, kenv: Dict[str, str], hostid: int = 0) -> None:
        """Forget what a reboot forgets. The hostid is 0 until rc.d/hostid sets it."""
        now = self.kernel.now()
        self.running = {
            "kenv": dict(kenv),
            "sysctl": {"kern.hostname": "", "kern.hostid": str(hostid), "kern.hostuuid": self.hardware["uuid"]},
            "boottime": now,
            "boot_id": uuid.uuid4().hex,
            "mounts": [],
            "pools": {},
            "pending": {},
            "open": {},
        }

    def _path(self, name: str) -> str:
        return os.path.join(self.home, name)

    def load(self) -> None:
        """Read the machine from its files."""
        with open(self._path("machine.json"), encoding="utf-8") as file:
            self.hardware = json.load(file)
        with open(self._path("run.json"), encoding="utf-8") as file:
            self.running = json.load(file)

    def save(self) -> None:
        """Write the machine to its files; a reader never finds half a file."""
        for name, content in (("machine.json", self.hardware), ("run.json", self.running)):
            partial = self._path("." + name)
            with open(partial, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
            os.replace(partial, self._path(name))

    @contextmanager
    def locked(self) -> Iterator[Machine]:
        """The machine as it is now, with nobody else at it; saved at the end."""
        with open(self._path("lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.load()
            yield self
            self.save()

    # disks

    def add_disk(self, name: str, size: int, ident: str = "", table: bool = False) -> None:
        """Attach an empty disk of *size* bytes."""
        self.hardware["disks"][name] = {"size": size, "ident": ident or name.upper(), "zfs": None}
        if table:
            self.image(name)
        self.save()

    def insert_disk(self, name: str, image: str, ident: str = "", spare: int = 0) -> None:
        """Attach a disk with the contents of an image file, which is copied (sparse).

        :param spare: how much larger than the image the disk is, in bytes.
        """
        size = os.path.getsize(image) + spare
        self.hardware["disks"][name] = {"size": size, "ident": ident or name.upper(), "zfs": None}
        copy_sparse(image, self._path(os.path.join("disks", name + ".img")))
        os.truncate(self._path(os.path.join("disks", name + ".img")), size)
        self.save()

    def remove_disk(self, name: str) -> Dict[str, Any]:
        """Detach a disk; gives what :meth:`attach_disk` takes."""
        disk = self.hardware["disks"].pop(name)
        disk["name"] = name
        path = self._path(os.path.join("disks", name + ".img"))
        if os.path.exists(path):
            disk["image"] = path + ".removed"
            os.replace(path, disk["image"])
        self.save()
        return dict(disk)

    def attach_disk(self, disk: Dict[str, Any], name: Optional[str] = None) -> None:
        """Attach a disk that was detached, here or from another machine."""
        name = name or disk["name"]
        if "image" in disk:
            os.replace(disk["image"], self._path(os.path.join("disks", name + ".img")))
        self.hardware["disks"][name] = {key: disk[key] for key in ("size", "ident", "zfs")}
        self.save()

    def image(self, name: str) -> str:
        """Path of the bytes of a disk; made when it has none yet."""
        path = self._path(os.path.join("disks", name + ".img"))
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.truncate(self.hardware["disks"][name]["size"])
        return path

    def has_image(self, name: str) -> bool:
        """Whether anything was ever written to the disk's own bytes."""
        return os.path.exists(self._path(os.path.join("disks", name + ".img")))

    # running commands

    def run(self, argv: Sequence[str], stdin: Optional[str] = None) -> Output:
        """Run one command of the host."""
        self.calls.append(tuple(argv))
        name = os.path.basename(argv[0])
        if name not in COMMANDS:
            return Output(127, "", "{0}: not found\n".format(name))
        module = importlib.import_module("ansible_collections.nanozfs.fleet.tests.model.commands." + COMMANDS[name])
        command: Command = getattr(module, name.replace("-", "_"))
        with self.locked():
            try:
                return command(self, list(argv[1:]), stdin)
            except Fail as failure:
                return failure.output

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        """Like :meth:`run`, in the form that ``module_utils._freebsd.command.Runner`` takes."""
        return tuple(self.run(argv, stdin))  # type: ignore[return-value]


def copy_sparse(source: str, target: str) -> None:
    """Copy a file, leaving out blocks of zeros."""
    # without buffers, which are larger than most files are
    with open(source, "rb", buffering=0) as old, open(target, "wb", buffering=0) as new:
        block = min(1 << 20, os.fstat(old.fileno()).st_size + 1)
        for piece in iter(lambda: old.read(block), b""):
            if piece.count(0) == len(piece):
                new.seek(len(piece), os.SEEK_CUR)
            else:
                new.write(piece)
        new.truncate(old.tell())


def humanize(number: float) -> str:
    """A size as gpart(8) and df(1) print it: at most four characters, with a decimal where it fits.

    Source: humanize_number(3) with HN_AUTOSCALE, HN_B, HN_NOSPACE and HN_DECIMAL.
    """
    units = "BKMGTPE"
    scale = 0
    while number >= 999.5 and scale < len(units) - 1:
        number /= 1024.0
        scale += 1
    if scale and number < 9.95:
        return "{0:.1f}{1}".format(number, units[scale])
    return "{0:.0f}{1}".format(number, units[scale])
