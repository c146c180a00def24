# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the bytes of a disk say that it holds, where nobody has it open.

zpool(8) only looks for its own labels (``check_device()`` in ``zpool_vdev_os.c``), and GEOM only tastes what a class
is loaded for: a file system without a partition table, or the half of a mirror that was taken out, is no holder, and
is somebody's data all the same.

Sources: ``sys/ufs/ffs/fs.h`` (superblocks at 0, 8, 64 and 256 KiB, the magic 1372 bytes into them),
``sys/geom/*/g_*.h`` (``GEOM::CLASS`` at the beginning of the last sector), ``sys/sys/disk/gpt.h``, ``vdev_impl.h`` and
``nvpair.c`` of OpenZFS; magic(5) for the others.
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import Callable, List, NamedTuple, Optional, Tuple

#: how much at the beginning, and as much at the end, has to be empty on a disk that holds nothing (bytes): the place of
#: two labels of ZFS
EDGE = 512 << 10

#: of a label: its size, and where in it its second block ends, which has a checksum that ``zpool labelclear`` leaves
#: there (``vl_be`` in vdev_impl.h, ``zpool_clear_label()`` in libzfs_import.c: "The leading pad space is left
#: untouched"; ``zio_eck_t`` in zio.h, with ZEC_MAGIC)
_LABEL, _BLOCK = 256 << 10, 16 << 10
_CHECKSUM = 40
_MAGIC = [struct.pack(order + "Q", 0x210DA7AB10C7A11) for order in "<>"]

#: what is hashed of a disk to know it again (bytes, from its beginning and from its end)
HEAD, TAIL = 4 << 20, 1 << 20

#: reads bytes: offset, length
Read = Callable[[int, int], bytes]


class _Sign(NamedTuple):
    """Bytes in a place, and what has them there."""

    offset: int
    content: bytes
    what: str


_UFS = [struct.pack(order + "I", number) for order in "<>" for number in (0x00011954, 0x19540119)]

_SIGNS: Tuple[_Sign, ...] = tuple(
    _Sign(block + 1372, magic, "a UFS file system") for block in (0, 8192, 65536, 262144) for magic in _UFS
) + (
    _Sign(512, b"EFI PART", "a partition table (GPT)"),
    _Sign(4096, b"EFI PART", "a partition table (GPT, of a disk with sectors of 4096 bytes)"),
    _Sign(0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)"),
    _Sign(512, b"LABELONE", "a disk of LVM"),
    _Sign(4096, (0xA92B4EFC).to_bytes(4, "little"), "a disk of a Linux RAID"),
    _Sign(1080, b"\x53\xef", "an ext file system"),
    _Sign(0, b"XFSB", "an XFS file system"),
    _Sign(65600, b"_BHRfS_M", "a Btrfs file system"),
    _Sign(3, b"NTFS    ", "an NTFS file system"),
    _Sign(3, b"EXFAT   ", "an exFAT file system"),
    _Sign(54, b"FAT1", "a FAT file system"),
    _Sign(82, b"FAT32", "a FAT file system"),
    _Sign(32769, b"CD001", "an ISO 9660 file system"),
    _Sign(4086, b"SWAPSPACE2", "swap of Linux"),
    _Sign(257, b"ustar", "a tar archive"),
    _Sign(510, b"\x55\xaa", "a partition table or boot record"),
)

#: what ``vdev_phys_t`` begins with, after these blocks: an nvlist, and so what an XDR encoder writes first
_NVLIST = b"\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"

_GEOM = re.compile(rb"GEOM::[A-Z0-9]+")


def _without_checksums(part: bytes, offset: int, end: int) -> bytes:
    """A part of a disk without what is left of labels of ZFS that were cleared.

    :param offset: of the part, in bytes.
    :param end: where the last label ends.
    """
    cleaned = bytearray(part)
    for label in (0, _LABEL, end - 2 * _LABEL, end - _LABEL):
        at = label + _BLOCK - _CHECKSUM - offset
        if 0 <= at <= len(cleaned) - _CHECKSUM and bytes(cleaned[at : at + 8]) in _MAGIC:
            cleaned[at : at + _CHECKSUM] = bytes(_CHECKSUM)
    return bytes(cleaned)


def find(read: Read, size: int, sector: int = 512, known_only: bool = False) -> Optional[str]:
    """What a disk holds, for people; ``None`` for one that holds nothing.

    :param read: of its bytes; offsets and lengths are multiples of 4096 where the disk's size is.
    :param size: of it, in bytes.
    :param sector: size of a sector, in bytes.
    :param known_only: leave out what is of no kind that is known here: what is read through an encryption that is new
        is random.
    """
    edge = min(EDGE, size)
    head, tail = read(0, edge), read(size - edge, edge)
    named = _GEOM.match(tail[-sector:])
    if named:
        kind = named.group().decode("ascii")[6:]
        return "an encrypted disk (GELI)" if kind == "ELI" else "a disk of a GEOM class ({0})".format(kind)
    if any(head.startswith(_NVLIST, label + _BLOCK) for label in (0, _LABEL)):
        return "a label of ZFS"
    for sign in _SIGNS:
        if head.startswith(sign.content, sign.offset):
            return sign.what
    if known_only:
        return None
    end = size - size % _LABEL
    head, tail = _without_checksums(head, 0, end), _without_checksums(tail, size - edge, end)
    if head.strip(b"\0"):
        return "data at its beginning, of a kind that is not known here"
    if tail.strip(b"\0"):
        return "data at its end, of a kind that is not known here"
    return None


def fingerprint(read: Read, size: int) -> str:
    """Tells a disk from others by what is on it, where it has no number of its own; twelve hexadecimal digits.

    It changes when the disk is written to: what was said of a disk is not said of what it has become.
    """
    head = min(HEAD, size)
    tail = min(TAIL, size - head)
    parts: List[bytes] = [read(0, head), read(size - tail, tail) if tail else b""]
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]
