# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading single files out of a UFS slice without mounting it.

An image says in ``/boot/nanozfs/image.json`` what it is. To learn that of the slice that does not run, mounting it
would be a side effect in a play that only looks, and would block the write that often follows; so the few structures
on the way to one file are read here. Little-endian UFS1 and UFS2.

Source: ``sys/ufs/ffs/fs.h`` (super block), ``sys/ufs/ufs/dinode.h`` (inodes), ``sys/ufs/ufs/dir.h`` (directories),
``ffs_build_dinode1`` and ``ffs_build_dinode2`` in ``usr.sbin/makefs/ffs.c`` (symbolic links).
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: reads *length* bytes at *offset* (bytes); may return fewer at the end of the medium
ReadAt = Callable[[int, int], bytes]

SECTOR = 4096
#: where a super block may be: UFS2, UFS1 (and the UFS2 of Debian's makefs)
SUPERBLOCKS = (65536, 8192)
SUPERBLOCK_SIZE = 1376
MAGIC_UFS1 = 0x011954
MAGIC_UFS2 = 0x19540119

#: fs_volname of struct fs: behind fs_fsmnt, which is 468 bytes from byte 212 on
VOLNAME = slice(680, 712)

ROOT_INODE = 2
DIRECT = 12
TYPE_MASK, TYPE_DIR, TYPE_FILE, TYPE_LINK = 0o170000, 0o040000, 0o100000, 0o120000

#: no file that we read this way is larger; a damaged inode must not make us read for minutes (bytes)
MAX_FILE = 4 << 20


class NotUfs(FleetError):
    """There is no UFS file system of a kind that we can read."""


class SuperBlock(NamedTuple):
    """What of the super block is needed here. Sizes in bytes, addresses in fragments."""

    version: int
    bsize: int
    fsize: int
    iblkno: int
    inodes_per_group: int
    frags_per_group: int
    old_cgoffset: int
    old_cgmask: int
    size: int
    label: bytes

    def group_at(self, group: int) -> int:
        """Where a cylinder group starts (``cgstart`` in ``fs.h``), in fragments."""
        start = group * self.frags_per_group
        if self.version == 1:
            start += self.old_cgoffset * (group & ~self.old_cgmask)
        return start

    def inode_at(self, number: int) -> int:
        """Where an inode lies, in bytes."""
        group, index = divmod(number, self.inodes_per_group)
        return (self.group_at(group) + self.iblkno) * self.fsize + index * (256 if self.version == 2 else 128)


class Inode(NamedTuple):
    """What an inode says: sizes in bytes, time in seconds since the epoch, block addresses in fragments.

    ``area`` is where the addresses are, which holds the target of a short symbolic link in their place.
    """

    mode: int
    links: int
    uid: int
    gid: int
    size: int
    mtime: int
    blocks: List[int]
    area: bytes


def parse_superblock(raw: bytes) -> Optional[SuperBlock]:
    """The super block in *raw*, or ``None`` when there is none."""
    if len(raw) < SUPERBLOCK_SIZE:
        return None
    magic = struct.unpack_from("<I", raw, 1372)[0]
    if magic not in (MAGIC_UFS1, MAGIC_UFS2):
        return None
    iblkno, old_cgoffset, old_cgmask = (struct.unpack_from("<i", raw, at)[0] for at in (16, 24, 28))
    bsize, fsize = (struct.unpack_from("<i", raw, at)[0] for at in (48, 52))
    ipg, fpg = struct.unpack_from("<I", raw, 184)[0], struct.unpack_from("<i", raw, 188)[0]
    frags = struct.unpack_from("<q" if magic == MAGIC_UFS2 else "<i", raw, 1080 if magic == MAGIC_UFS2 else 36)[0]
    if not (4096 <= bsize <= 65536 and 512 <= fsize <= bsize and bsize % fsize == 0 and ipg and fpg > 0 and frags > 0):
        return None
    return SuperBlock(
        version=2 if magic == MAGIC_UFS2 else 1,
        bsize=bsize,
        fsize=fsize,
        iblkno=iblkno,
        inodes_per_group=ipg,
        frags_per_group=fpg,
        old_cgoffset=old_cgoffset,
        old_cgmask=old_cgmask,
        size=frags * fsize,
        label=raw[VOLNAME].rstrip(b"\0"),
    )


class Located(NamedTuple):
    """A super block, its bytes, and where it lies (bytes)."""

    place: int
    raw: bytes
    block: SuperBlock


def find_superblock(read: ReadAt) -> Optional[Located]:
    """The super block of a file system, or ``None`` when there is none.

    :param read: gives bytes, from an offset and a length.
    """
    for place in SUPERBLOCKS:
        raw = read(place, SUPERBLOCK_SIZE)
        found = parse_superblock(raw)
        if found is not None:
            return Located(place, raw, found)
    return None


class Ufs:
    """A UFS file system behind a function that reads bytes.

    :param read_at: how to read; called only with offsets and lengths that are multiples of 4096, so that it works on
        a disk device with sectors of 512 or 4096 bytes.
    :raises NotUfs: when there is no usable super block.
    :ivar place: where that lies, in bytes.
    """

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        found = find_superblock(self._bytes)
        if found is None:
            raise NotUfs("no UFS file system found")
        self.place, self.superblock = found.place, found.block

    @property
    def size(self) -> int:
        """The size of the file system in bytes."""
        return self.superblock.size

    def _bytes(self, offset: int, length: int) -> bytes:
        first = offset // SECTOR * SECTOR
        last = -(-(offset + length) // SECTOR) * SECTOR
        return self._read_at(first, last - first)[offset - first : offset - first + length]

    def _inode(self, number: int) -> Inode:
        sb = self.superblock
        group = number // sb.inodes_per_group
        if number < ROOT_INODE or group * sb.frags_per_group * sb.fsize >= sb.size:
            raise NotUfs("the UFS file system is damaged: there is no inode {0}".format(number))
        width = 256 if sb.version == 2 else 128
        raw = self._bytes(sb.inode_at(number), width)
        if len(raw) < width:
            raise NotUfs("the UFS file system is cut off before inode {0}".format(number))
        mode, links = struct.unpack_from("<HH", raw, 0)
        form, owner, size, mtime, blocks = ("<q", 4, 16, 40, 112) if sb.version == 2 else ("<i", 112, 8, 24, 40)
        uid, gid = struct.unpack_from("<II", raw, owner)
        return Inode(
            mode=mode,
            links=links,
            uid=uid,
            gid=gid,
            size=struct.unpack_from("<Q", raw, size)[0],
            mtime=struct.unpack_from(form, raw, mtime)[0],
            blocks=list(struct.unpack_from("<15" + form[1], raw, blocks)),
            area=raw[blocks : blocks + 15 * struct.calcsize(form)],
        )

    def _pointers(self, address: int, level: int) -> Iterator[int]:
        """The data blocks behind an indirect block, in order; 0 is a hole."""
        sb = self.superblock
        form, width = ("q", 8) if sb.version == 2 else ("i", 4)
        count = sb.bsize // width
        if address == 0:
            for _hole in range(count**level):
                yield 0
            return
        if not 0 < address * sb.fsize < sb.size:
            raise NotUfs("the UFS file system is damaged: a block lies outside of it")
        raw = self._bytes(address * sb.fsize, sb.bsize)
        for pointer in struct.unpack("<{0}{1}".format(count, form), raw.ljust(sb.bsize, b"\0")):
            if level == 1:
                yield pointer
            else:
                yield from self._pointers(pointer, level - 1)

    def _blocks(self, inode: Inode) -> Iterator[int]:
        yield from inode.blocks[:DIRECT]
        for level, address in enumerate(inode.blocks[DIRECT:], start=1):
            yield from self._pointers(address, level)

    def _content(self, inode: Inode) -> bytes:
        sb = self.superblock
        if inode.size > MAX_FILE:
            raise NotUfs("the UFS file system is damaged or the file is too large ({0} bytes)".format(inode.size))
        parts: List[bytes] = []
        missing = inode.size
        for address in self._blocks(inode):
            if missing <= 0:
                break
            length = min(sb.bsize, missing)
            if address < 0 or address * sb.fsize >= sb.size:
                raise NotUfs("the UFS file system is damaged: a block lies outside of it")
            data = self._bytes(address * sb.fsize, length) if address else b"\0" * length
            if len(data) < length:
                raise NotUfs("the UFS file system is cut off")
            parts.append(data)
            missing -= length
        return b"".join(parts)

    def _directory(self, inode: Inode) -> Dict[bytes, int]:
        raw = self._content(inode)
        entries: Dict[bytes, int] = {}
        at = 0
        while at + 8 <= len(raw):
            number, length, _kind, size = struct.unpack_from("<IHBB", raw, at)
            if length < 8 or at + 8 + size > len(raw):
                break
            if number:
                entries[raw[at + 8 : at + 8 + size]] = number
            at += length
        return entries

    def _places(self, inode: Inode) -> Iterator[Tuple[int, int]]:
        """Where the content of a file lies, in order: offset (bytes; 0 is a hole) and length of each of its blocks."""
        sb = self.superblock
        missing = inode.size
        for address in self._blocks(inode):
            if missing <= 0:
                return
            if not 0 <= address * sb.fsize < sb.size:
                raise NotUfs("the UFS file system is damaged: a block lies outside of it")
            yield address * sb.fsize, min(sb.bsize, missing)
            missing -= sb.bsize

    def inodes(self, top: str = "") -> Iterator[Tuple[str, int, Inode]]:
        """Everything in the file system: path, number and inode, folders before what is in them, in the order of names.

        A file comes once for each of its links, a folder once in any case.

        :param top: only what is there, and below it; paths begin behind it. Nothing where it is not there.
        :raises NotUfs: when the structures make no sense.
        """
        first = self._number(top)
        if first is None:
            return
        seen = {first}
        waiting = [("", first, self._inode(first))]
        while waiting:
            path, number, inode = waiting.pop()
            yield path, number, inode
            if inode.mode & TYPE_MASK != TYPE_DIR:
                continue
            for name, child in sorted(self._directory(inode).items(), reverse=True):
                if name in (b".", b".."):
                    continue
                found = self._inode(child)
                if found.mode & TYPE_MASK == TYPE_DIR and child in seen:
                    continue
                seen.add(child)
                waiting.append((path + "/" + name.decode("utf-8", "surrogateescape"), child, found))

    def places(self, inode: Inode) -> List[Tuple[int, int]]:
        """Where the content of a file lies, in order: offset (0 is a hole) and length of each piece, in bytes."""
        # what says that it is larger than the file system is full of holes, or damaged: nothing to go through
        return list(self._places(inode)) if inode.size <= self.size else []

    def walk(self) -> Iterator[Tuple[str, List[Tuple[int, int]]]]:
        """All regular files and directories with their places, by path; of several links to one file, only the first.

        :raises NotUfs: when the structures make no sense.
        """
        seen = set()
        for path, number, inode in self.inodes():
            if inode.mode & TYPE_MASK in (TYPE_DIR, TYPE_FILE) and number not in seen:
                seen.add(number)
                yield path, self.places(inode)

    def link_target(self, inode: Inode) -> str:
        """Where a symbolic link points. A target shorter than the place for block addresses lies in that place."""
        raw = inode.area[: inode.size] if inode.size < len(inode.area) else self._content(inode)
        return raw.decode("utf-8", "surrogateescape")

    def pieces(self, inode: Inode) -> Iterator[bytes]:
        """The content of a regular file, in pieces; for files of any size.

        :raises NotUfs: when the file system is cut off.
        """
        for offset, length in self.places(inode):
            data = self._bytes(offset, length) if offset else b"\0" * length
            if len(data) < length:
                raise NotUfs("the UFS file system is cut off")
            yield data

    def find(self, path: str) -> Optional[Inode]:
        """The inode of a path, or ``None`` when there is none. Symbolic links are not followed.

        :raises NotUfs: when the structures on the way make no sense.
        """
        number = self._number(path)
        return None if number is None else self._inode(number)

    def _number(self, path: str) -> Optional[int]:
        """The number of the inode of a path, which may be that of the root; ``None`` when there is none."""
        number = ROOT_INODE
        for name in filter(None, path.split("/")):
            inode = self._inode(number)
            entries = self._directory(inode) if inode.mode & TYPE_MASK == TYPE_DIR else {}
            found = entries.get(name.encode("utf-8", "surrogateescape"))
            if found is None:
                return None
            number = found
        return number

    def read(self, path: str) -> Optional[bytes]:
        """The content of a regular file, or ``None`` when there is no such file. Symbolic links are not followed.

        :raises NotUfs: when the structures on the way make no sense.
        """
        inode = self.find(path)
        return self._content(inode) if inode is not None and inode.mode & TYPE_MASK == TYPE_FILE else None
