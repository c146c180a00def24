# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

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
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import parse_label

_SAFE = "nothing was written"

#: classes of geoms that provide whole disks; MD are memory disks
WHOLE = ("DISK", "MD")

LSBLK = (
    "lsblk", "--json", "--bytes", "--paths", "--output", "NAME,TYPE,SIZE,SERIAL,MODEL,MOUNTPOINT,FSTYPE,RO",
)  # fmt: skip


@dataclass(frozen=True)
class Disk:
    """A whole disk.

    :param path: the device node to write to.
    :param size: in bytes.
    :param serial: its serial number; empty where it has none that the system knows.
    :param holders: what keeps it from being written, for people; empty for a disk that is free.
    :param claimable: whether opening it with ``O_EXCL`` keeps others from taking it. It does on Linux; FreeBSD ignores
        that (``notyet`` in ``g_dev_open()``, ``geom_dev.c``).
    """

    path: str
    size: int
    serial: str
    model: str
    holders: Tuple[str, ...]
    claimable: bool = False

    @property
    def token(self) -> str:
        """What a person has to say to have it written: its serial number, or its size where it has none."""
        return self.serial or str(self.size)

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
    holders = [str(each) for each in mesh.holders(disk)]
    holders += ["GEOM class {0} ({1})".format(geom.kind, geom.name) for geom in mesh.built_on(disk)]
    for part in mesh.parts(disk):
        label = parse_label(runner.query(["zdb", "-l", part.path]).out)
        if label is not None:
            holders.append("the ZFS pool with guid {0} (label on {1})".format(label.guid, part.name))
    return Disk(disk.path, disk.mediasize, disk.value("ident"), disk.value("descr"), tuple(holders))


def _look_linux(runner: Runner, path: str) -> Disk:
    result = runner.query(LSBLK + (path,))
    if result.rc == 127:
        raise unexpected(result, "look at the disks", safe=_SAFE, todo="install util-linux (lsblk)")
    if result.rc != 0:
        raise Refused("there is no disk {0}".format(path), safe=_SAFE, todo="look with `lsblk` what there is")
    disk = parse_lsblk(result.out)
    if _is_claimed(disk.path) and not disk.holders:
        return replace(disk, holders=("the kernel (EBUSY)",))
    return disk


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
        raise FleetError("the output of lsblk cannot be read: {0!r}".format(error), safe=_SAFE)
    if kind != "disk":
        raise _not_whole(path, "is of type {0}".format(kind))
    if entry.get("ro") not in (False, "0", 0, None):
        raise Refused("{0} is write-protected".format(path), safe=_SAFE, todo="look for its switch")
    holders = [holder for node in _nodes(entry) for holder in _holders(node)]
    return Disk(path, size, _text(entry, "serial"), _text(entry, "model"), tuple(holders), claimable=True)


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
    if size > disk.size:
        raise Refused(
            "the medium has {0} bytes and does not fit on {1}".format(size, disk.describe()),
            safe=_SAFE,
            todo="take a larger one; all spare media of a fleet may be larger than the image",
        )
