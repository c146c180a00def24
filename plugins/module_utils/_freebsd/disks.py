# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whole disks that a medium may be written to, on FreeBSD and on Linux, and who has them.

A disk is only written when nothing at all holds it. No kernel can be relied on to keep root from writing to a disk that
is in use: FreeBSD only does for what is mounted read-write (transcripts ``dd-write/003-mounted-disk`` and
``034-ro-root-disk``), Linux by default does not. So everything that can hold a disk is asked for, and each answer is a
reason to refuse.

Sources: ``kern.geom.confxml`` (see :mod:`_geom`; a swap device is a geom of class SWAP, ``sys/vm/swap_pager.c``) and
zdb(8) on FreeBSD; lsblk(8) and open(2), ``O_EXCL`` without ``O_CREAT``, on Linux.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import traces
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import Mesh, Provider, read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import SECTOR
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import parse_label

_SAFE = "nothing was written"

#: classes of geoms that provide whole disks; MD are memory disks
WHOLE = ("DISK", "MD")

LSBLK = (
    "lsblk", "--json", "--bytes", "--paths", "--output", "NAME,TYPE,SIZE,SERIAL,MODEL,MOUNTPOINT,FSTYPE,RO,LOG-SEC",
)  # fmt: skip
LSBLK_ALL = ("lsblk", "--json", "--bytes", "--paths", "--nodeps", "--output", "NAME,TYPE,SIZE,SERIAL")


@dataclass(frozen=True)
class Disk:
    """A whole disk.

    :param path: the device node to write to.
    :param size: in bytes.
    :param serial: its serial number; empty where it has none that the system knows.
    :param holders: what keeps it from being written, for people; empty for a disk that is free.
    :param sector: size of a sector, in bytes.
    :param twins: other disks of this machine with the same serial number; of a disk without one, others without one
        that have its size.
    :param claimable: whether opening it with ``O_EXCL`` keeps others from taking it. It does on Linux; FreeBSD ignores
        that (``notyet`` in ``g_dev_open()``, ``geom_dev.c``).
    """

    path: str
    size: int
    serial: str
    model: str
    holders: Tuple[str, ...]
    claimable: bool = False
    sector: int = 512
    twins: Tuple[str, ...] = ()

    def token(self, read: traces.Read) -> str:
        """What a person has to say to have it written: its serial number. Where it has none, or shares it with another
        disk, what is on it belongs to that.

        :param read: of its bytes.
        """
        if self.serial and not self.twins:
            return self.serial
        return "{0}-{1}".format(self.serial or self.size, traces.fingerprint(read, self.size))

    def describe(self) -> str:
        """The disk, for people."""
        what = [self.model, "serial number {0}".format(self.serial) if self.serial else "no serial number"]
        return "{0} ({1}, {2} bytes)".format(self.path, ", ".join(each for each in what if each), self.size)

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        return {
            "path": self.path,
            "size": self.size,
            "serial": self.serial,
            "model": self.model,
            "holders": list(self.holders),
        }


def look(runner: Runner, device: str) -> Disk:
    """The disk of a device node.

    :param device: path of the node, by whatever name.
    :raises Refused: when there is none, or it is no whole disk.
    """
    system = runner.ask(["uname", "-s"], "find out which system this is").out.strip()
    if system == "FreeBSD":
        return _look_freebsd(runner, device)
    if system == "Linux":
        return _look_linux(runner, os.path.realpath(device))
    raise Refused(
        "media can be written on FreeBSD and on Linux, and this is {0}".format(system or "an unknown system"),
        safe=_SAFE,
        todo="write a file instead (spare_file), and that to a disk with dd",
    )


def _not_whole(device: str, why: str) -> Refused:
    return Refused(
        "{0} {1}: a medium is written to a whole disk".format(device, why), safe=_SAFE, todo="name the disk itself"
    )


def _look_freebsd(runner: Runner, device: str) -> Disk:
    mesh = read_mesh(runner)
    provider = mesh.find(device)
    if provider is None:
        raise Refused(
            "there is no disk {0}".format(device), safe=_SAFE, todo="look with `sysctl kern.disks` what there is"
        )
    disk = mesh.base(provider)
    if mesh.source(disk).kind not in WHOLE:
        raise _not_whole(device, "is a part of {0}".format(mesh.source(disk).name))
    serial = disk.value("ident").strip()
    others = [each for geom in mesh.geoms if geom.kind in WHOLE for each in geom.provides if each is not disk]
    return Disk(
        disk.path,
        disk.mediasize,
        serial,
        disk.value("descr"),
        tuple(held(runner, mesh, disk)),
        sector=disk.sectorsize,
        twins=_twins(serial, disk.mediasize, [(o.path, o.value("ident").strip(), o.mediasize) for o in others]),
    )


def held(runner: Runner, mesh: Mesh, provider: Provider) -> List[str]:
    """What has a provider, or anything on it, for people: the one definition of a disk that is not free.

    Besides this it may hold something that nobody has, see :mod:`traces`.
    """
    holders = [str(each) for each in mesh.holders(provider)]
    holders += ["GEOM class {0} ({1})".format(geom.kind, geom.name) for geom in mesh.built_on(provider)]
    for part in mesh.parts(provider):
        label = parse_label(runner.query(["zdb", "-l", part.path]).out)
        if label is not None:
            holders.append("{0} (label on {1})".format(label.describe(), part.name))
    return holders


def _twins(serial: str, size: int, others: Iterable[Tuple[str, str, int]]) -> Tuple[str, ...]:
    """Those of the other disks (path, serial number, size) that cannot be told from one by its number."""
    same = [path for path, number, length in others if length and number == serial and (serial or length == size)]
    return tuple(sorted(same))  # a slot of a card reader with nothing in it has no size


def _look_linux(runner: Runner, path: str) -> Disk:
    result = runner.query(LSBLK + (path,))
    if result.rc == 127:
        raise unexpected(result, "look at the disks", safe=_SAFE, todo="install util-linux (lsblk)")
    if result.rc != 0:
        raise Refused("there is no disk {0}".format(path), safe=_SAFE, todo="look with `lsblk` what there is")
    disk = parse_lsblk(result.out)
    disk = replace(disk, twins=_linux_twins(runner, disk))
    if _is_claimed(disk.path) and not disk.holders:
        return replace(disk, holders=("the kernel (EBUSY)",))
    return disk


def _linux_twins(runner: Runner, disk: Disk) -> Tuple[str, ...]:
    result = runner.ask(LSBLK_ALL, "list the disks")
    try:
        entries = [each for each in json.loads(result.out)["blockdevices"] if _text(each, "type") == "disk"]
        found = [(str(each["name"]), _text(each, "serial"), int(each["size"])) for each in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error)
    return _twins(disk.serial, disk.size, [each for each in found if each[0] != disk.path])


def _unreadable(error: Exception) -> FleetError:
    return FleetError("the output of lsblk cannot be read: {0!r}".format(error), safe=_SAFE)


@contextlib.contextmanager
def claimed(disk: Disk) -> Iterator[None]:
    """Keep a disk for oneself, where the system can do that.

    :raises Refused: when somebody else has taken it meanwhile.
    """
    if not disk.claimable:
        yield
        return
    try:
        handle = os.open(disk.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            "{0} cannot be had: {1}".format(disk.describe(), os.strerror(error.errno or 0)),
            safe=_SAFE,
            todo="see who has it (lsof, lsblk), and that the play runs as root there (--become)",
        )
    try:
        yield
    finally:
        os.close(handle)


def _is_claimed(path: str) -> bool:
    """Whether something has a disk for itself. Linux lets only one open a block device with ``O_EXCL``, and a mount, a
    swap, device-mapper, md and ZFS are among those.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def parse_lsblk(text: str) -> Disk:
    """The disk that ``lsblk --json`` was asked about.

    :raises Refused: when it is no whole disk, or cannot be written to.
    :raises FleetError: when the output cannot be read.
    """
    try:
        (entry,) = json.loads(text)["blockdevices"]
        size, path, kind = int(entry["size"]), str(entry["name"]), str(entry["type"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error)
    if kind != "disk":
        raise _not_whole(path, "is of type {0}".format(kind))
    if entry.get("ro") not in (False, "0", 0, None):
        raise Refused("{0} is write-protected".format(path), safe=_SAFE, todo="look for its switch")
    holders = [holder for node in _nodes(entry) for holder in _holders(node)]
    sector = int(_text(entry, "log-sec") or 512)
    return Disk(
        path, size, _text(entry, "serial"), _text(entry, "model"), tuple(holders), claimable=True, sector=sector
    )


def _nodes(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A device and everything on it."""
    yield entry
    for child in entry.get("children") or ():
        yield from _nodes(child)


def _holders(node: Mapping[str, Any]) -> List[str]:
    """What of a device keeps its disk from being written."""
    name, kind, content = _text(node, "name"), _text(node, "type"), _text(node, "fstype")
    found = []
    mounted = _text(node, "mountpoint")
    if mounted == "[SWAP]":
        found.append("swap on {0}".format(name))
    elif mounted:
        found.append("a mounted file system ({0} on {1})".format(name, mounted))
    if kind not in ("disk", "part"):
        found.append("{0} ({1})".format(kind, name))
    if content.endswith("_member"):  # as libblkid calls them: zfs_member, linux_raid_member, LVM2_member ...
        found.append("{0} on {1}".format(content, name))
    return found


def _text(node: Mapping[str, Any], key: str) -> str:
    return str(node.get(key) or "").strip()


def check_free(disk: Disk, size: int) -> None:
    """Refuse a disk that anything holds, or that is too small.

    :param size: of what is to be written, in bytes.
    :raises Refused: with the reason.
    """
    if disk.holders:
        raise Refused(
            "{0} is in use by {1}".format(disk.describe(), "; ".join(disk.holders)),
            safe=_SAFE,
            todo="see whether it is the disk that you mean; if it is, unmount, detach or clear that first (umount, "
            "swapoff, zpool labelclear, mdadm --zero-superblock)",
            holders=list(disk.holders),
        )
    if disk.sector != SECTOR:
        raise Refused(
            "{0} has sectors of {1} bytes, and the partition table of a medium counts sectors of {2}: no machine would "
            "boot from it".format(disk.describe(), disk.sector, SECTOR),
            safe=_SAFE,
            todo="take a disk with sectors of {0} bytes (as most have, or 512e), or set this one to that where it can "
            "be (nvmecontrol format, camcontrol, sg_format)".format(SECTOR),
        )
    if size > disk.size:
        raise Refused(
            "the medium has {0} bytes and does not fit on {1}".format(size, disk.describe()),
            safe=_SAFE,
            todo="take a larger one; all spare media of a fleet may be larger than the image",
        )
