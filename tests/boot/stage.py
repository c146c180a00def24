# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host on which only the early boot happens, again and again, and whatever is to go wrong with it.

The boot code is the lab's (gptboot's walk over a real partition table), the hook is the image's, unchanged, run by
/bin/sh in a root of its own; the commands that it calls are the model's. Needs root, as the lab does.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import ARMED, UPGRADE, JournalStore
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import (
    Step,
    branch_of,
    put_back,
    try_plan,
    undo,
    with_reserve,
)
from ansible_collections.nanozfs.fleet.tests.boot import host as inside
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Lab, sh
from ansible_collections.nanozfs.fleet.tests.lab.supervisor import RESTARTED, Clock
from ansible_collections.nanozfs.fleet.tests.model import geom, pools
from ansible_collections.nanozfs.fleet.tests.model.gptboot import GptBoot
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.harness import make_mbr_medium, make_medium

MIB = 1 << 20
FILES = os.path.join(paths.CHECKOUT, "roles", "image", "files")
LABELS = {3: "nz-recovery", 4: "nz-a", 5: "nz-b"}
MBR_LABELS = {1: "nz-recovery", 2: "nz-a", 3: "nz-b"}

#: builds of the images in the slices of a new stage
OLD, NEW = "0a" * 8, "0b" * 8

#: the transaction that :meth:`Stage.arm` begins
TXN = "0001-bbbbbbbb"


class Ground:
    """What all stages of a process stand on: the lab without a network, in a place of its own."""

    def __init__(self) -> None:
        name = "boot-" + secrets.token_hex(6)
        self.lab = paths.places(dict(os.environ, NANOZFS_LAB=name), paths.CHECKOUT)
        # the lab's own code is told where it is by its paths
        paths.LAB, paths.HOME, paths.MEMORY, paths.NETNS = self.lab, self.lab.home, self.lab.memory, self.lab.netns
        paths.HOSTS, paths.SHELF = os.path.join(paths.HOME, "hosts"), os.path.join(paths.HOME, "shelf")
        Lab().lay_out()

    def close(self) -> None:
        """Take it away."""
        sh("umount", "-l", self.lab.memory)
        shutil.rmtree(self.lab.memory)
        shutil.rmtree(self.lab.home)


@dataclass
class Boot:
    """How one start of the machine went.

    ``label``: what the boot code took. ``ended``: ``up``, or how it did not come up: ``restart``, ``panic``. ``kenv``
    and ``files`` (text of /etc, /cfg, /var) are those at the end of the early boot, ``flags`` those on the disk.
    """

    label: str
    ended: str
    kenv: Dict[str, str]
    console: str
    files: Dict[str, str]
    flags: Dict[str, List[str]]

    @property
    def state(self) -> str:
        return self.kenv.get("nanozfs.state", "none")

    @property
    def reason(self) -> str:
        return self.kenv.get("nanozfs.reason", "")


class Stage:
    """One host.

    :param ground: see :class:`Ground`.
    :param disks: how many data disks it has; the pool tank is a raidz of them, or a mirror of two.
    :param mbr: its media have an MBR instead of a GPT.
    """

    def __init__(self, ground: Ground, name: str, disks: int = 3, mbr: bool = False) -> None:
        self.name = name
        self.mbr = mbr
        self.ground = ground
        self.home = os.path.join(paths.HOSTS, name)
        self.machine = Machine.create(self.home, paths.SHELF, Clock(), seed=7)
        self.data = ["ada{0}".format(number) for number in range(1, disks + 1)]
        for disk in self.data:
            self.machine.add_disk(disk, 512 * MIB, disk.upper())
        self.images: Dict[str, str] = {}
        for label, build in (("nz-recovery", OLD), ("nz-a", OLD), ("nz-b", NEW)):
            self.images[label] = self._image(label, build)
        self.faults: List[Dict[str, Any]] = []
        self.fresh_medium()

    def _image(self, label: str, build: str) -> str:
        """The folder with what a slice holds: our own files, and of the system what the early boot needs."""
        folder = os.path.join(paths.MEMORY, "slices", "{0}-{1}".format(self.name, label))
        shutil.copytree(os.path.join(FILES, "root"), folder)
        shutil.copytree(os.path.join(FILES, "recovery"), os.path.join(folder, "conf", "recovery", "etc"))
        shutil.copytree(os.path.join(paths.WORLD, "etc"), os.path.join(folder, "conf", "base", "etc"))
        shutil.copytree(os.path.join(paths.WORLD, "etc"), os.path.join(folder, "etc"), dirs_exist_ok=True)
        for name in ("bin", "cfg", "var", "tmp"):
            os.mkdir(os.path.join(folder, name))
        os.symlink("/usr/bin/dash", os.path.join(folder, "bin", "sh"))
        self._write(folder, "conf/base/etc/md_size", "8192\n")
        self._write(folder, "conf/base/etc/" + rules.LAST, rules.last_words())
        self._write(folder, "boot/nanozfs/image.conf", "NZ_POOL=tank\nNZ_BUILD={0}\n".format(build))
        self._write(folder, "boot/nanozfs/local.conf", "NZ_DISK_TIMEOUT=0\n")
        return folder

    @staticmethod
    def _write(folder: str, name: str, text: str) -> None:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def setting(self, line: str) -> None:
        """Add a line to the images' local.conf."""
        for folder in self.images.values():
            with open(os.path.join(folder, "boot/nanozfs/local.conf"), "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def add(self, name: str, text: str) -> None:
        """Put a file into all images."""
        for folder in self.images.values():
            self._write(folder, name, text)

    def change(self, name: str, old: str, new: str) -> None:
        """Change a file of all images; *old* must be in it somewhere."""
        found = False
        for folder in self.images.values():
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            found = found or old in text
            self._write(folder, name, text.replace(old, new))
        assert found, "there is no {0!r} in {1}".format(old, name)

    # the medium

    def fresh_medium(self) -> None:
        """Put a medium in that was never in use; the one before, if any, is thrown away."""
        if "ada0" in self.machine.hardware["disks"]:
            os.unlink(self.machine.remove_disk("ada0")["image"])
        if self.mbr:
            make_mbr_medium(self.machine, 8 * MIB, {})
        else:
            make_medium(self.machine, 8 * MIB, {})
        with open(os.path.join(self.home, "state.img"), "wb") as file:
            file.truncate(MIB)

    @property
    def remembered(self) -> _state.State:
        """What nz-state says."""
        with Device(os.path.join(self.home, "state.img")) as device:
            return _state.read(device)

    def remember(self, **values: str) -> None:
        """Write to nz-state, as the modules do."""
        self.write_state(_state.STATE, values)

    def write_state(self, area: _state.Area, values: Mapping[str, str]) -> None:
        """Write to a part of nz-state."""
        with Device(os.path.join(self.home, "state.img"), writable=True) as device:
            _state.write(device, values, area)

    def command(self, *argv: str) -> str:
        """Run a command of the host that must succeed."""
        output = self.machine.run(argv)
        assert output.rc == 0, (argv, output)
        return output.out

    # the pool

    def pool(self, *options: str) -> None:
        """Make the pool with a configuration and data, as deploy does, and let go of it."""
        kind = "raidz" if len(self.data) > 2 else "mirror"
        self.command("zpool", "create", "-f", "-O", "mountpoint=none", "tank", kind, *self.data)
        self.command("zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none", "tank/nanozfs")
        for name in ("cfg", "var"):
            self.command("zfs", "create", "-o", "mountpoint=legacy", *options, "tank/nanozfs/" + name)
        self.command("zfs", "create", "-o", "nanozfs:rollback=keep", "tank/nanozfs/var/log")
        self.command("zfs", "set", "nanozfs:format=1", "nanozfs:phase=idle", "tank/nanozfs")
        self.write("tank/nanozfs/cfg", "rc.conf", 'hostname="web-1"\n')
        self.write("tank/nanozfs/var", "data", "old\n")

    def another_pool(self) -> None:
        """Export the pool, and plug in the disks of another one of that name."""
        self.command("zpool", "export", "tank")
        for disk in ("da1", "da2"):
            self.machine.add_disk(disk, 512 * MIB, disk.upper())
        self.command("zpool", "create", "-f", "tank", "mirror", "da1", "da2")
        self.command("zpool", "export", "tank")

    def guid(self) -> str:
        """The guid of the pool, which must be imported."""
        return self.command("zpool", "get", "-H", "-o", "value", "guid", "tank").strip()

    def write(self, dataset: str, name: str, text: Optional[str]) -> None:
        """Put a file into a dataset of a pool that is imported, or take it away."""
        self.machine.load()
        path = os.path.join(pools.folder(self.machine, dataset), name)
        if text is None:
            os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, dataset: str, name: str) -> str:
        """A file of a dataset of a pool that is imported."""
        self.machine.load()
        with open(os.path.join(pools.folder(self.machine, dataset), name), encoding="utf-8") as file:
            return file.read()

    def journal(self, key: str) -> str:
        """A value of the journal."""
        return self.command("zfs", "get", "-H", "-o", "value", "nanozfs:" + key, "tank/nanozfs").strip()

    def arm(
        self, timeout: int = 60, staged: Optional[Mapping[str, str]] = None, restore: Optional[str] = None, **more: Any
    ) -> None:
        """Do what an upgrade does up to the restart: the journal with its plans, nz-b for one boot.

        :param staged: files of a configuration for the new system, which is what it shall have.
        :param restore: a snapshot that the data goes back to when the trial begins.
        :param more: what else the journal says.
        """
        runner = Runner(self.machine.execute)
        zfs, store = Zfs(runner), JournalStore(Zfs(runner), "tank")
        old, new = ImageRef("a" * 64, OLD, "1.0"), ImageRef("b" * 64, NEW, "1.1")
        journal = transaction.prepare(store.read(), transaction.Wish(UPGRADE, old, new, timeout, allow_bad=True))
        txn = "{0:04d}{1}".format(journal.count, TXN[4:])  # of which nothing is drawn: tests name what it leaves
        journal = replace(journal, txn=txn, phase=ARMED, staged=staged is not None, **more)
        if staged is not None:
            self.command("zfs", "create", "-o", "mountpoint=legacy", "-o", "canmount=noauto", "tank/nanozfs/next")
            for name, text in staged.items():
                self.write("tank/nanozfs/next", name, text)
        tag, aside = str(journal.snapshot), "tank/nanozfs/failed/" + txn
        branches = try_plan(zfs, "tank/nanozfs", ["cfg", "var"], tag, aside)
        if self.machine.run(["zfs", "list", "tank/nanozfs/reserve"]).rc != 0:
            self.command("zfs", "create", "-o", "mountpoint=none", "tank/nanozfs/reserve")
        self.command("zfs", "set", "reservation=32M", "tank/nanozfs/reserve")
        plans: Tuple[List[Step], List[Step]] = [], put_back(branches, tag, aside)
        if restore:
            names = ["tank/nanozfs/" + name for name in ("cfg", "var")]
            branches = [branch_of(zfs, name, restore, base="tank/nanozfs") for name in names]
            plans = put_back(branches, restore, aside), undo(branches, restore, aside, aside + "-undone")
        journal = transaction.with_plans(journal, plans[0], with_reserve(plans[1], "tank/nanozfs/reserve"))
        store.write(journal)
        self.remember(**dict(_state.mirror(journal, self.guid()), armed=txn))
        if self.mbr:
            self.command("gpart", "set", "-a", "active", "-i", "3", "ada0")
        else:
            self.command("gpart", "set", "-a", "bootonce", "-i", "5", "ada0")

    def on_the_desk(self, *disks: str) -> List[Dict[str, Any]]:
        """Pull disks; what :meth:`Machine.attach_disk` takes to put them back."""
        self.machine.load()
        return [self.machine.remove_disk(disk) for disk in disks]

    def copy(self, where: str) -> None:
        """Keep everything that a power cut leaves."""
        for name, folder in (("home", self.home), ("shelf", paths.SHELF)):
            shutil.rmtree(os.path.join(where, name), ignore_errors=True)
            sh("cp", "-a", folder, os.path.join(where, name))  # fifos as well

    def restore(self, where: str) -> None:
        """Be again what was kept."""
        for name, folder in (("home", self.home), ("shelf", paths.SHELF)):
            shutil.rmtree(folder)
            sh("cp", "-a", os.path.join(where, name), folder)

    # what goes wrong

    def fault(self, do: str, *argv: str, after: int = 0) -> None:
        """Let commands that begin with these words ``hang``, ``panic`` or ``fail``.

        :param after: so many of them are carried out before.
        """
        self.faults.append({"do": do, "argv": [list(argv)], "after": after})

    def cut_at(self, number: int) -> None:
        """Cut the power in the next early boot instead of a command that would change a pool.

        :param number: how many such commands are carried out before.
        """
        words = [
            ["zfs", verb]
            for verb in ("allow", "clone", "create", "hold", "inherit", "promote", "rename", "set", "snapshot")
        ]
        self.faults.append({"do": "panic", "argv": words, "after": number})

    # starting

    def boot(self, kenv: Optional[Mapping[str, str]] = None, root: Optional[str] = None, once: bool = True) -> Boot:
        """Start the machine; one start, whatever comes of it.

        :param kenv: what the loader says besides what it always says.
        :param root: the label of the slice that the kernel could mount, where it is not the one that was taken.
        :param once: forget the faults afterwards.
        """
        label = self._boot_code()
        self._start(label, root or label, kenv or {})
        with open(os.path.join(self.home, "faults.json"), "w", encoding="utf-8") as file:
            json.dump(self.faults, file)
        ended = self._run(self.images[root or label])
        if once:
            self.faults = []
        self.machine.load()
        flags = {part.label or part.name: part.flags for part in geom.layouts(self.machine)["ada0"].parts}
        after: Dict[str, Any] = {"console": "", "files": {}}
        path = os.path.join(self.home, "after.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                after = json.load(file)
            os.unlink(path)
        return Boot(label, ended, dict(self.machine.running["kenv"]), flags=flags, **after)

    def _boot_code(self) -> str:
        """What gptboot takes, which may write to the disk, or boot1 of an MBR: the active slice."""
        if self.mbr:
            self.machine.load()
            active = [part for part in geom.layouts(self.machine)["ada0"].parts if "active" in part.flags]
            return MBR_LABELS[active[0].index]
        walk = GptBoot(self.machine.image("ada0"), self.machine.hardware["disks"]["ada0"]["size"] // 512)
        index = walk.next()
        assert index is not None, "gptboot finds nothing to boot"
        return LABELS[index]

    def _start(self, label: str, root: str, kenv: Mapping[str, str]) -> None:
        build = OLD
        with open(os.path.join(self.images[label], "boot/nanozfs/image.conf"), encoding="utf-8") as file:
            build = file.read().rpartition("NZ_BUILD=")[2].strip()
        loader = {"nanozfs.slice": label, "nanozfs.build": build, "smbios.system.uuid": self.machine.hardware["uuid"]}
        self.machine.load()
        self.machine.start(dict(loader, **kenv))
        self.machine.running["mounts"] = [
            {"from": ("/dev/label/" if self.mbr else "/dev/gpt/") + root, "on": "/", "type": "ufs", "readonly": True},
            {"from": "devfs", "on": "/dev", "type": "devfs", "readonly": False},
        ]
        self.machine.save()
        with open(os.path.join(self.home, "devices.json"), "w", encoding="utf-8") as file:
            json.dump({"ada0s4" if self.mbr else "ada0p6": os.path.join(self.home, "state.img")}, file)

    def _run(self, image: str) -> str:
        argv = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        argv += ["/usr/bin/python3", "-S", "-m", "ansible_collections.nanozfs.fleet.tests.boot.host", self.name, image]
        environment = {"PATH": "/usr/sbin:/usr/bin", "PYTHONPATH": os.path.join(paths.MEMORY, "path")}
        done = subprocess.run(
            argv,
            env=dict(environment, **self.ground.lab.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode in RESTARTED:
            return "restart"
        if done.returncode == inside.Faults.PANIC:
            return "panic"
        assert done.returncode == 0, done.stdout
        sys.stdout.write(done.stdout)
        return "up"
