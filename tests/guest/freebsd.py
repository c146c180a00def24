# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FreeBSD host as a guest: the sets that its image is built from, its medium, its data disks, its site."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tarfile
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import (
    SECTOR,
    TYPES,
    protective_mbr,
    read_table,
    write_table,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, Node, Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Part, table_for
from ansible_collections.nanozfs.fleet.tests import site as common
from ansible_collections.nanozfs.fleet.tests.guest import qemu
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT, MIB

#: the one host of the site
HOST = "web-1"

#: as FreeBSD names the data disks; vtbd0 is the medium
DISKS = ("vtbd1", "vtbd2", "vtbd3")

#: where Debian's package ovmf has UEFI code and an empty store of variables
OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")

#: the backup host of the site, and the dataset of its that the backups are below
VAULT, BACKUPS = "vault", "bank/backups"

#: what the host and the backup host exchange files by
RSYNC = "usr/local/bin/rsync"

#: how much larger than the published file a medium is, in bytes: sticks are never of one size
SPARE = 64 * MIB

#: what a name of the Python tarball looks like in a folder, and the only name for it below a URL
PYTHON_PREFIX, PYTHON_NAME = "python", "python.tar.xz"


class SetsError(Exception):
    """The release sets are not where they should be."""


@dataclass(frozen=True)
class Sets:
    """Paths of the archives that an image is built from."""

    base: str
    kernel: str
    python: str

    @property
    def all(self) -> List[str]:
        """In the order in which they are laid over each other."""
        return [self.base, self.kernel, self.python]


def find_sets(where: str, cache: str) -> Sets:
    """The sets in a folder or below a URL.

    :param where: a folder, or a ``file://``, ``http://`` or ``https://`` URL of one.
    :param cache: a folder for what has to be fetched.
    :raises SetsError: when one is missing; says which.
    """
    parts = urllib.parse.urlsplit(where)
    if parts.scheme in ("http", "https"):
        return Sets(*(_fetched(where, name, cache) for name in ("base.txz", "kernel.txz", PYTHON_NAME)))
    folder = urllib.request.url2pathname(parts.path) if parts.scheme == "file" else where
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise SetsError("the sets cannot be read: {0}".format(error))
    python = [name for name in names if name.startswith(PYTHON_PREFIX) and ".t" in name]
    missing = [name for name in ("base.txz", "kernel.txz") if name not in names] + ([] if python else [PYTHON_NAME])
    if missing:
        raise SetsError("{0} has no {1}".format(folder, " and no ".join(missing)))
    return Sets(*(os.path.join(folder, name) for name in ("base.txz", "kernel.txz", python[0])))


def _fetched(where: str, name: str, cache: str) -> str:
    url = "{0}/{1}".format(where.rstrip("/"), name)
    path = os.path.join(cache, urllib.parse.quote(url, safe=""))
    if not os.path.exists(path):
        os.makedirs(cache, exist_ok=True)
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, open(path + ".part", "wb") as file:
                shutil.copyfileobj(answer, file, MIB)
        except OSError as error:
            raise SetsError("{0} cannot be fetched: {1}".format(url, error))
        os.rename(path + ".part", path)
    return path


def image_size(sizes: Iterable[int]) -> int:
    """The size of an image that holds files of these sizes, in bytes, with a fifth to spare."""
    used = sum(-(-size // 4096) * 4096 + 512 for size in sizes)
    return -(-(used * 6 // 5 + 32 * MIB) // (16 * MIB)) * 16 * MIB


def sizes_in(archives: Iterable[str]) -> List[int]:
    """The sizes of all files in tar archives, in bytes."""
    found = []
    for archive in archives:
        with tarfile.open(archive) as tar:
            found += [member.size for member in tar if member.isfile()]
    return found


def has_rsync(archives: Iterable[str]) -> bool:
    """Whether one of these tar archives has rsync in it, as no release of FreeBSD has."""
    for archive in archives:
        with tarfile.open(archive) as tar:
            if any(member.name.lstrip("./") == RSYNC for member in tar):
                return True
    return False


def write_medium(published: str, path: str, spare: int = SPARE) -> None:
    """Write a published medium, as ``xz -dc … | dd of=`` does, to one that is *spare* bytes larger; a sparse file."""
    with lzma.open(published) as source, open(path + ".part", "wb") as medium:
        for piece in iter(lambda: source.read(MIB), b""):
            if piece.count(0) == len(piece):
                medium.seek(len(piece), os.SEEK_CUR)
            else:
                medium.write(piece)
        medium.truncate(medium.tell() + spare)
    os.rename(path + ".part", path)


def write_plain(sets: Sets, key: str, path: str, size: int) -> None:
    """Make a disk with an ordinary FreeBSD that was never part of a fleet.

    :param key: the public key that root is let in with.
    :param size: of its file system in bytes.
    """
    tree = Tree()
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as scratch:
        for archive in sets.all:
            tree.add_archive(archive, scratch)
        tree.add_folder(os.path.join(CHECKOUT, "tests", "guest", "overlay"))
        settings = {
            "hostname": "plain",
            "ifconfig_DEFAULT": "SYNCDHCP",
            "sshd_enable": "YES",
            "sendmail_enable": "NONE",
        }
        tree.write("etc/rc.conf", "".join('{0}="{1}"\n'.format(*pair) for pair in settings.items()))
        tree.write("etc/fstab", "/dev/gpt/plain\t/\tufs\trw\t1\t1\n")
        tree.put("root/.ssh", Node(DIR, 0o700))
        tree.write("root/.ssh/authorized_keys", key + "\n", 0o600)
        image = os.path.join(scratch, "image")
        ufs.make(tree, scratch, image, size, 1704067200)
        code = {name: tree.get("boot/" + name).content() for name in ("pmbr", "gptboot")}
        parts = [Part(1, "boot", TYPES["freebsd-boot"], MIB // 2), Part(2, "plain", TYPES["freebsd-ufs"], size)]
        table = table_for(parts, "plain", None)
        with open(path, "w+b") as disk:
            disk.truncate(table.sectors * SECTOR)
            disk.write(protective_mbr(table.sectors, code["pmbr"]))
            write_table(disk, table)
            disk.seek(table.entries[1].first * SECTOR)
            disk.write(code["gptboot"])
            disk.seek(table.entries[2].first * SECTOR)
            with open(image, "rb") as file:
                shutil.copyfileobj(file, disk, MIB)


def has_esp(path: str) -> bool:
    """Whether a medium has an EFI system partition.

    :raises GptError: when it has no partition table.
    """
    with open(path, "rb") as file:
        table = read_table(file, os.path.getsize(path) // SECTOR)
    return any(entry.kind == TYPES["efi"] for entry in table.entries.values())


@dataclass(frozen=True)
class Ports:
    """Ports of 127.0.0.1 on this machine: the guest's ssh, the published images, and the backup host's ssh."""

    ssh: int
    web: int
    vault: int


class Site(common.Site):
    """A site with one host, whose image is made of real sets.

    :param size: of the image in bytes.
    """

    def __init__(self, folder: str, sets: Sets, size: int, ports: Ports) -> None:
        super().__init__(folder)
        self.sets = sets
        self.size = size
        self.ports = ports

    def address(self, host: str) -> Dict[str, Any]:
        """Where the guest is; the backup host, a guest as well, finds it where this machine is to guests."""
        if host == VAULT:
            return {"ansible_host": "127.0.0.1", "ansible_port": self.ports.vault}
        way = {"ansible_host": "127.0.0.1", "ansible_port": self.ports.ssh}
        return {**way, "backup_address": qemu.HOST_ADDRESS, "backup_port": self.ports.ssh}

    def add_vault(self) -> None:
        """Put a backup host into the inventory, which pulls by ``zfs send``."""
        self.write("inventory.yml", "all:\n  hosts:\n    {0}:\nbackup:\n  hosts:\n    {1}:\n".format(HOST, VAULT))
        settings = {
            "backup_method": "send",
            "backup_dataset": BACKUPS,
            "backup_addresses": [qemu.HOST_ADDRESS],
            "backup_schedule": "none",
        }
        self.write("group_vars/backup.yml", json.dumps(settings) + "\n")
        self.configure([HOST, VAULT])

    def variables(self) -> Dict[str, Any]:
        """What is different for a guest. Times in seconds; under software emulation a boot takes a minute or two."""
        slow = {"trial_timeout": 600, "boot_timeout": 420, "health_retries": 6, "health_delay": 5}
        return {
            **self.common(os.path.join(CHECKOUT, "tests", "guest", "overlay")),
            "nanozfs_repository": "http://{0}:{1}".format(qemu.HOST_ADDRESS, self.ports.web),
            "image_size": self.size,
            "image_sources": self.sets.all,
            "image_deltas": 1,
            "image_schemes": ["gpt", "mbr"],
            "image_boot0": "boot0sio",
            "deploy_pool_vdevs": [{"type": "raidz", "disks": list(DISKS)}],
            "deploy_reboot_timeout": slow["boot_timeout"],
            **{"{0}_{1}".format(role, key): value for role in ("upgrade", "rollback") for key, value in slow.items()},
        }

    def create(self, hosts: Any = (HOST,)) -> None:
        """Make the site, with its one host."""
        super().create(hosts)
        self.write("inventory.yml", "all:\n  hosts:\n" + "".join("    {0}:\n".format(each) for each in hosts))


class Machine:
    """A computer with a slot for a medium and three data disks.

    :param folder: where its disks are.
    :param logs: where the log of its console is kept.
    """

    def __init__(self, folder: str, logs: str, ports: Ports, accel: str) -> None:
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.medium = os.path.join(folder, "medium.img")
        self.plain = os.path.join(folder, "plain.img")
        self.disks = [os.path.join(folder, disk + ".img") for disk in DISKS]
        self._ports, self._accel = ports, accel
        self.guest = qemu.Guest(HOST, logs, self.hardware())

    def hardware(
        self, disks: Optional[List[str]] = None, firmware: Optional[List[str]] = None, more: Sequence[str] = ()
    ) -> qemu.Hardware:
        """What it is made of.

        :param disks: the data disks that are in it; all of them by default.
        :param more: other disks, after those, of which it boots the last.
        """
        drives = [self.medium, *(self.disks if disks is None else disks), *more]
        return qemu.Hardware(
            drives=drives,
            boot=len(drives) - 1 if more else None,
            forwards={22: self._ports.ssh},
            accel=self._accel,
            firmware=firmware,
        )

    def buy_disks(self, size: int, medium: int = 0) -> None:
        """Empty data disks of *size* bytes.

        :param medium: also an empty disk of so many bytes for a medium.
        """
        if medium:
            with open(self.medium, "wb") as file:
                file.truncate(medium)
        for path in self.disks:
            with open(path, "wb") as file:
                file.truncate(size)

    def blank(self, count: int, size: int) -> List[str]:
        """Paths of empty disks of *size* bytes, besides the data disks."""
        paths = [os.path.join(self.folder, "blank{0}.img".format(number)) for number in range(count)]
        for path in paths:
            with open(path, "wb") as file:
                file.truncate(size)
        return paths

    def beside(self, name: str, logs: str, port: int, disks: Sequence[str]) -> qemu.Guest:
        """Another computer on this machine's network, with disks of its own; it boots the first.

        :param port: of 127.0.0.1, for its ssh.
        """
        return qemu.Guest(name, logs, qemu.Hardware(drives=disks, forwards={22: port}, accel=self._accel))

    def uefi(self) -> List[str]:
        """UEFI firmware with a store of variables of its own.

        :raises SetsError: when Debian's package ovmf is not installed.
        """
        if not all(os.path.exists(path) for path in OVMF):
            raise SetsError("there is no UEFI firmware at {0}; on Debian: apt-get install ovmf".format(OVMF[0]))
        store = os.path.join(self.folder, "uefi-variables.fd")
        shutil.copy(OVMF[1], store)
        return [OVMF[0], store]
