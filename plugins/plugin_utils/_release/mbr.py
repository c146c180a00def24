# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Master boot records with boot0, BSD labels with boot1 and boot2, and glabel(8) metadata as bytes.

Sources, all of FreeBSD 13.2: ``stand/i386/boot0/boot0.S`` and ``usr.sbin/boot0cfg/boot0cfg.c`` (where boot0 keeps its
settings), ``stand/i386/boot2/boot1.S`` and ``boot2.c`` (which slice is booted; why it needs a label),
``sys/geom/part/g_part_mbr.c`` and ``g_part_bsd.c`` (the tables), ``sys/geom/label/g_label.c`` and ``g_label.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Sequence

SECTOR = 512

#: types of slices
FREEBSD = 0xA5
NON_FS = 0xDA

#: boot1 and boot2 with the label between them (BBSIZE)
BOOT_SIZE = 8192

#: an MBR has 32 bits for a sector address
MAX_SECTORS = 1 << 32

#: the default option of boot0 and what follows it, by the place of the string that marks the version (boot0cfg.c)
_BOOT0_START = b"\xfc\x31\xc0\x8e\xc0\x8e\xd8\x8e\xd0\xbc\x00\x7c"
_BOOT0_MARK = b"Drive "
_BOOT0_OPTION = {0x1B2: 0x1B9, 0x1AE: 0x1B5}
_BOOT0_TICKS = 0x1BC
_NOUPDATE, _MASK = 0x40, 0x0F

_TABLE = 0x1BE
_HEADS, _TRACK = 255, 63

_DISK_MAGIC = 0x82564557
_RAW_PART = 2
_PARTITIONS = 8
_FS_UNUSED, _FS_BSDFFS = 0, 7


class MbrError(Exception):
    """Boot code that is not what it should be, or something that does not fit."""


@dataclass(frozen=True)
class Slice:
    """One of the four slices. ``first`` and ``sectors`` count sectors of 512 bytes."""

    kind: int
    first: int
    sectors: int
    active: bool = False


def _chs(sector: int) -> bytes:
    """The address of a sector as head, sector and cylinder; all ones where it has none, as g_part_mbr.c does."""
    track, place = divmod(sector, _TRACK)
    cylinder, head = divmod(track, _HEADS)
    if cylinder > 1023:
        return b"\xff\xff\xff"
    return bytes([head, place + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF])


def boot_record(boot0: bytes, slices: Sequence[Slice], default: int, ticks: int, shown: int) -> bytes:
    """The first sector of the disk: boot0, its settings, and the table of slices.

    boot0's writing of what was chosen stays on: boot1 boots the slice that is active *on the disk*, so without it a
    choice at the menu would have no effect. What is booted without a choice is never written, so the default stays
    what a commit made it: the early hook tells from it whether it is on trial.

    :param boot0: content of ``/boot/boot0`` or ``/boot/boot0sio``.
    :param default: number of the slice that boots without a choice, from 1.
    :param ticks: how long boot0 waits for a choice, in ticks of 1/18.2 s.
    :param shown: how many of the slices boot0 offers.
    :raises MbrError: when it is no boot0 that boot0cfg(8) would know, or a slice lies too far out.
    """
    if len(boot0) != SECTOR or not boot0.startswith(_BOOT0_START) or boot0[510:] != b"\x55\xaa":
        raise MbrError("it is no boot0")
    option = next((at for mark, at in _BOOT0_OPTION.items() if boot0[mark : mark + 6] == _BOOT0_MARK), None)
    if option is None:
        raise MbrError("it is a boot0 of an unknown version")
    raw = bytearray(boot0)
    raw[option] = default - 1
    raw[option + 2] = raw[option + 2] & ~(_NOUPDATE | _MASK) & 0xFF | (1 << shown) - 1
    struct.pack_into("<H", raw, _BOOT0_TICKS, ticks)
    raw[_TABLE:510] = bytes(510 - _TABLE)
    for index, each in enumerate(slices):
        last = each.first + each.sectors - 1
        if last >= MAX_SECTORS:
            raise MbrError("a slice would end at sector {0}, and an MBR only counts to {1}".format(last, MAX_SECTORS))
        flag = b"\x80" if each.active else b"\0"
        entry = flag + _chs(each.first) + bytes([each.kind]) + _chs(last) + struct.pack("<II", each.first, each.sectors)
        raw[_TABLE + 16 * index : _TABLE + 16 * index + 16] = entry
    return bytes(raw)


def _disklabel(slice_sectors: int, first: int, sectors: int) -> bytes:
    """The sector with the label. Offsets count from the start of the slice, so it is the same in each of them."""
    raw = bytearray(SECTOR)
    cylinder = _HEADS * _TRACK
    struct.pack_into("<I", raw, 0, _DISK_MAGIC)
    struct.pack_into("<IIIIII", raw, 40, SECTOR, _TRACK, _HEADS, slice_sectors // cylinder, cylinder, slice_sectors)
    struct.pack_into("<H", raw, 72, 3600)
    struct.pack_into("<IHHI", raw, 132, _DISK_MAGIC, 0, _PARTITIONS, BOOT_SIZE)
    struct.pack_into("<IIIB", raw, 148, sectors, first, 0, _FS_BSDFFS)
    struct.pack_into("<IIIB", raw, 148 + 16 * _RAW_PART, slice_sectors, 0, 0, _FS_UNUSED)
    checksum = 0
    for (word,) in struct.iter_unpack("<H", raw[: 148 + 16 * _PARTITIONS]):
        checksum ^= word
    struct.pack_into("<H", raw, 136, checksum)
    return bytes(raw)


def boot_blocks(boot: bytes, slice_sectors: int, first: int, sectors: int) -> bytes:
    """What a slice begins with: boot1, a BSD label with the one partition ``a``, boot2.

    boot2 refuses a slice without a label (``dskread``: "Invalid label"), for it boots partition ``a``.

    :param boot: content of ``/boot/boot``, which is boot1 and boot2.
    :param slice_sectors: length of the slice.
    :param first: first sector of the partition, counted from the start of the slice.
    :param sectors: length of the partition.
    :raises MbrError: when that is no such boot code.
    """
    if not SECTOR < len(boot) <= BOOT_SIZE:
        raise MbrError("it has {0} bytes, and boot1 with boot2 have {1}".format(len(boot), BOOT_SIZE))
    boot = boot.ljust(BOOT_SIZE, b"\0")
    return boot[:SECTOR] + _disklabel(slice_sectors, first, sectors) + boot[2 * SECTOR :]


def label_sector(label: str, size: int) -> bytes:
    """The last sector of a provider that glabel(8) knows under ``label/<label>``.

    :param size: of the provider in bytes, this sector included.
    """
    return struct.pack("<16sI16sQ", b"GEOM::LABEL", 2, label.encode("ascii"), size).ljust(SECTOR, b"\0")
