# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making several names of a UFS file system lead to one file, after makefs(8) has made them files of their own.

makefs knows hard links only from the folder that it goes through, in the order in which that folder happens to be
stored, and that order would decide about every byte of the image (:mod:`ufs`). So it gets each further name as an empty
file, and here the name gets the inode of the first one, and the empty inode is given back: what ``link()`` and
``unlink()`` would do.

Source: ``sys/ufs/ffs/fs.h`` (struct fs, struct cg, struct csum), ``sys/ufs/ufs/dinode.h``, ``sys/ufs/ufs/dir.h``.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Dict, List, NamedTuple, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs

CG_MAGIC = 0x00090255

#: offsets in struct fs: fs_cblkno, fs_old_cstotal.cs_nifree, fs_cstotal.cs_nifree (64 bits), fs_csaddr (64 bits)
CBLKNO, OLD_NIFREE, NIFREE, CSADDR = 12, 200, 1024, 1096
#: offsets in struct cg: cg_magic, cg_cs.cs_nifree, cg_iusedoff
CG_MAGIC_AT, CG_NIFREE, CG_IUSEDOFF = 4, 32, 92
#: size of struct csum, and where cs_nifree is in it
CSUM, CS_NIFREE = 16, 8
#: offset of di_nlink in both kinds of inodes, their sizes, and that of di_gen with what is behind it in UFS1
NLINK = 2
DINODE = {1: 128, 2: 256}


class LinkError(FleetError):
    """The file system is not as makefs should have made it."""


class Name(NamedTuple):
    """A name in a directory: where its entry lies in the image (bytes), and the number of its inode."""

    place: int
    inode: int


class _Image:
    """A file system that is changed in place."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ufs = Ufs(self.read)
        self.sb = self.ufs.superblock
        self.at = self.ufs.place

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def get(self, form: str, offset: int) -> int:
        """A number at an offset."""
        number: int = struct.unpack("<" + form, self.read(offset, struct.calcsize(form)))[0]
        return number

    def put(self, form: str, offset: int, number: int) -> None:
        """Write a number."""
        self._file.seek(offset)
        self._file.write(struct.pack("<" + form, number))

    def add(self, form: str, offset: int, number: int) -> None:
        """Add to a number."""
        self.put(form, offset, self.get(form, offset) + number)

    def names(self, paths: Sequence[str]) -> Dict[str, Name]:
        """The entries of these paths.

        :raises LinkError: when one is not there.
        """
        wanted: Dict[str, Dict[bytes, str]] = {}
        for path in paths:
            folder, _slash, name = path.rpartition("/")
            wanted.setdefault(folder, {})[name.encode("utf-8", "surrogateescape")] = path
        found: Dict[str, Name] = {}
        for path, places in self.ufs.walk():
            for offset, length in places if path.strip("/") in wanted else ():
                for name, entry in self._entries(offset, length):
                    if name in wanted[path.strip("/")]:
                        found[wanted[path.strip("/")][name]] = entry
        missing = set(paths) - set(found)
        if missing:
            raise LinkError("makefs has left {0} out".format(min(missing)))
        return found

    def _entries(self, offset: int, length: int) -> List[tuple]:
        raw, at, found = self.read(offset, length), 0, []
        while at + 8 <= len(raw):
            number, size, _kind, named = struct.unpack_from("<IHBB", raw, at)
            if size < 8:
                break
            if number:
                found.append((raw[at + 8 : at + 8 + named], Name(offset + at, number)))
            at += size
        return found

    def link(self, name: Name, inode: int) -> None:
        """Let a name lead to another inode."""
        self.put("I", name.place, inode)
        self.add("h", self.sb.inode_at(inode) + NLINK, 1)

    def free(self, inode: int) -> None:
        """Give an inode back that has no content.

        :raises LinkError: when it is not an empty file with this one name.
        """
        start, size = self.sb.inode_at(inode), DINODE[self.sb.version]
        if self.get("h", start + NLINK) != 1 or any(self.read(start + 8, 8)):
            raise LinkError("the inode {0} is not the empty file that it should be".format(inode))
        self._file.seek(start)
        self._file.write(bytes(size))
        group, index = divmod(inode, self.sb.inodes_per_group)
        cg = (self.sb.group_at(group) + self.get("i", self.at + CBLKNO)) * self.sb.fsize
        if self.get("I", cg + CG_MAGIC_AT) != CG_MAGIC:
            raise LinkError("there is no cylinder group at {0}".format(cg))
        used = cg + self.get("I", cg + CG_IUSEDOFF) + index // 8
        bits = self.get("B", used)
        if not bits & 1 << index % 8:
            raise LinkError("the inode {0} is not in use".format(inode))
        self.put("B", used, bits & ~(1 << index % 8))
        self.add("i", cg + CG_NIFREE, 1)
        self.add("i", self.get("q", self.at + CSADDR) * self.sb.fsize + group * CSUM + CS_NIFREE, 1)
        self.add("q", self.at + NIFREE, 1)
        if self.sb.version == 1:
            self.put("i", self.at + OLD_NIFREE, self.get("q", self.at + NIFREE))


def join(file: BinaryIO, groups: Sequence[Sequence[str]]) -> None:
    """Join names.

    :param file: the image, open for reading and writing.
    :param groups: paths without a leading slash; the first of each group has the content, the others are empty files.
    :raises FleetError: when the file system is not as makefs should have made it.
    """
    image = _Image(file)
    names = image.names([path for group in groups for path in group])
    for first, *others in groups:
        for path in others:
            image.link(names[path], names[first].inode)
            image.free(names[path].inode)
