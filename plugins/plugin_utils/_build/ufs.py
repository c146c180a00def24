# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making the UFS image of a slice with makefs(8), the same bytes every time.

Debian's makefs writes UFS2 with its super block where FreeBSD refuses it (``sys/ufs/ffs/ffs_subr.c`` looks at 65536),
so on Linux images are UFS1, which FreeBSD boots.

Two things in the output of makefs are not the same in every run. One are pointers of its process in the super blocks,
which mean nothing on a disk and are cleared. The other is the order of everything: makefs goes through a folder as that
is stored (``walk_dir()`` in ``usr.sbin/makefs/walk.c``), which on ext4 depends on a random number of each file system,
and two machines would make two images. What the specification names and the folder lacks comes in the order of the
specification instead. So makefs is shown an empty folder; the files are put in its place when makefs asks for the
specification, which it does when it is through with the folder (``main()`` in ``makefs.c``).

Debian's makefs gives the time that ``-T`` names to every file that is newer. Python takes a compiled module for stale
whose source is not of the time that is written down in it (``_validate_timestamp_pyc()`` of importlib), and cannot keep
another one on a file system that is read-only: a host would compile half of the library at each start of a program.
So ``-T`` never names a time before the newest file. FreeBSD's makefs gives it to all files, whatever the specification
says (``mtree.c``: "Ignore if a default timestamp is present").
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from typing import BinaryIO, Callable, Iterable, Iterator, List, Set

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import (
    SUPERBLOCK_SIZE,
    Located,
    ReadAt,
    find_superblock,
    parse_superblock,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import hardlinks
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import search_path

#: UFS geometry: 4 KiB fragments are the grid on which two images are compared
BSIZE, FSIZE = 32768, GRID

#: fs_ocsp … fs_active of struct fs (``sys/ufs/ffs/fs.h``): in-core pointers, from byte 728 on
POINTERS = slice(728, 856)

#: a cylinder group: ``CG_MAGIC``, and where struct cg has magic number, its own number and ``cg_old_niblk`` (``fs.h``)
CG_MAGIC = 0x090255
_OF_A_GROUP = (("<I", 4), ("<I", 12), ("<h", 18))

#: how files lie in an image and of when they are, besides what the command says: part of the identity of a build
ORDER = "by name, each of its own time"

#: fragments for each inode, the most inodes first. makefs takes a density in bytes, and rounds it down to these
FRAGS_PER_INODE = (4, 5, 6, 7)

#: inodes of a cylinder group are as many as fill whole blocks
INODES_PER_BLOCK = BSIZE // 128

#: What fsck_ffs can count in a cylinder group of UFS1: ``cg_old_niblk`` of struct cg is 16 bits wide
#: (``sys/ufs/ffs/fs.h``). One with more can never be checked (transcripts of 15.0, mount/028 and 038 to 041).
MOST_INODES = 32767


class MakefsError(FleetError):
    """makefs is missing or failed."""


def density(size: int) -> int:
    """How much file content there shall be for each inode, in bytes.

    Set by the size alone, so that the layout does not depend on how many files there are: as many inodes as there can
    be, but no cylinder group with more than :data:`MOST_INODES`. What is too large for one group has several, which
    makefs makes as large as the maps of a group fit into a block; with the least inodes they have 29,440.

    :param size: of the file system in bytes.
    """
    frags = size // FSIZE
    for each in FRAGS_PER_INODE:
        blocks = -(-frags // (each * INODES_PER_BLOCK))
        if blocks * INODES_PER_BLOCK <= MOST_INODES:
            return each * FSIZE
    return FRAGS_PER_INODE[-1] * FSIZE


def command(out: str, folder: str, spec: str, size: int, epoch: int) -> List[str]:
    """The makefs command.

    :param size: of the image in bytes.
    :param epoch: time of the file system in seconds.
    """
    freebsd = sys.platform.startswith("freebsd")
    options = "version=2" if freebsd else "version=1"
    options += ",bsize={0},fsize={1},minfree=0,optimization=space,density={2}".format(BSIZE, FSIZE, density(size))
    argv = ["makefs", "-t", "ffs", "-B", "little", "-o", options, "-T", str(epoch), "-s", str(size), "-F", spec]
    # -D: FreeBSD's makefs takes an entry that is specified twice for an error otherwise
    return argv + (["-D"] if freebsd else []) + [out, folder]


def make(tree: Tree, scratch: str, out: str, size: int, epoch: int) -> None:
    """Make the image.

    :param scratch: a folder for the staged tree, the one that archives were unpacked to.
    :param out: path of the image to write.
    :param size: in bytes; a multiple of 4096.
    :param epoch: time of the file system in seconds since the epoch, where no file is newer.
    :raises MakefsError: when makefs is missing or the tree does not fit.
    """
    epoch = max(epoch, tree.newest())
    if sys.platform.startswith("freebsd"):
        _make_from_folder(tree, scratch, out, size, epoch)
    else:
        _make_in_order(tree, scratch, out, size, epoch)
    with open(out, "r+b") as image:
        check_groups(image)
        normalise(image)


def check_program() -> None:
    """See that makefs is there, before a tree is put together for it.

    :raises MakefsError: when it is not.
    """
    if shutil.which("makefs", path=search_path()) is None:
        raise MakefsError(
            "makefs is not installed on this machine",
            todo="install it: package makefs on Debian and Ubuntu; FreeBSD has it in its base system",
        )


def _makefs(argv: List[str], log: BinaryIO) -> subprocess.Popen:
    check_program()
    environment = dict(os.environ, LC_ALL="C", PATH=search_path())
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _wait(process: subprocess.Popen, log: BinaryIO, size: int) -> None:
    if process.wait() != 0:
        log.seek(0)
        lines = log.read().decode("utf-8", "replace").splitlines()
        # what it prints of its progress comes before, on the same line perhaps; that there is no image, after it
        said = [line.rpartition("makefs: ")[2] for line in lines if "makefs: " in line and "not created" not in line]
        raise MakefsError(
            "makefs failed: {0}".format((said or lines or ["no reason given"])[-1]),
            todo="if the tree does not fit, raise image_size ({0} bytes now)".format(size),
        )


def _make_from_folder(tree: Tree, scratch: str, out: str, size: int, epoch: int) -> None:
    """As FreeBSD's makefs does it: its order is that of the folder, which UFS keeps as it was made."""
    folder, spec = os.path.join(scratch, "stage"), os.path.join(scratch, "spec")
    os.mkdir(folder)
    tree.stage(folder, scratch)
    with open(spec, "w", encoding="utf-8") as file:
        file.write("#mtree\n")
        file.writelines(line + "\n" for line in tree.lines(digests=False))
    with tempfile.TemporaryFile(dir=scratch) as log:
        _wait(_makefs(command(out, folder, spec, size, epoch), log), log, size)


def _make_in_order(tree: Tree, scratch: str, out: str, size: int, epoch: int) -> None:
    folder, content, spec = (os.path.join(scratch, name) for name in ("stage", "content", "spec"))
    os.mkdir(folder)
    os.mkdir(content)
    tree.stage(content, scratch)
    groups = tree.groups()
    lines = list(_sized(tree, content, {path for _first, *others in groups for path in others}))
    os.mkfifo(spec)
    with tempfile.TemporaryFile(dir=scratch) as log:
        process = _makefs(command(out, folder, spec, size, epoch), log)
        try:
            _answer(process, spec, lambda: os.rename(content, folder), lines)
        finally:
            if sys.exc_info()[0] is not None:
                process.kill()
                process.wait()
        _wait(process, log, size)
    with open(out, "r+b") as image:
        hardlinks.join(image, groups)


def _sized(tree: Tree, content: str, further: Set[str]) -> Iterator[str]:
    """The specification with the size of each file, which is all that makefs knows of it until it reads it.

    :param further: names of files that have others before; they are made as empty files.
    """
    yield "#mtree"
    for path, line in zip(tree.paths(), tree.lines(digests=False)):
        if tree.nodes[path].kind == FILE:
            size = 0 if path in further else os.path.getsize(os.path.join(content, path))
            yield "{0} size={1}".format(line, size)
        else:
            yield line


def _answer(process: subprocess.Popen, fifo: str, ready: Callable[[], None], lines: Iterable[str]) -> None:
    """Write lines into a FIFO when the process opens it, and do something before.

    Nothing is written when the process ends without asking; how it ended tells its exit status.
    """
    while True:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if process.poll() is not None:
            return
        time.sleep(0.02)
    os.set_blocking(descriptor, True)
    ready()
    with contextlib.suppress(BrokenPipeError), open(descriptor, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def _reader(image: BinaryIO) -> ReadAt:
    """What reads from an image."""

    def read(offset: int, length: int) -> bytes:
        image.seek(offset)
        return image.read(length)

    return read


def _found(read: ReadAt) -> Located:
    found = find_superblock(read)
    if found is None:
        raise MakefsError("makefs wrote something that is no UFS file system")
    return found


def _groups(found: Located) -> int:
    """How many cylinder groups there are (``fs_ncg``)."""
    return int(struct.unpack_from("<I", found.raw, 44)[0])


def check_groups(image: BinaryIO) -> None:
    """See that FreeBSD's fsck could count the inodes of each cylinder group.

    :raises MakefsError: when it could not, or there is no super block.
    """
    read = _reader(image)
    found = _found(read)
    if found.block.version != 1:
        return  # of UFS2 it counts cg_niblk, which is 32 bits wide
    cblkno = struct.unpack_from("<i", found.raw, 12)[0]
    for group in range(_groups(found)):
        at = (found.block.group_at(group) + cblkno) * found.block.fsize
        magic, number, inodes = (struct.unpack_from(form, read(at, 20), place)[0] for form, place in _OF_A_GROUP)
        if (magic, number, inodes) != (CG_MAGIC, group, found.block.inodes_per_group):
            raise MakefsError(
                "makefs wrote a file system that FreeBSD's fsck could not check: "
                "cylinder group {0} has {1} inodes".format(group, found.block.inodes_per_group),
                todo="report this with the value of image_size, and take another one",
            )


def normalise(image: BinaryIO) -> None:
    """Clear what makefs left of its own memory in the super block and its copies.

    :raises MakefsError: when there is no super block.
    """
    read = _reader(image)
    found = _found(read)
    sblkno = struct.unpack_from("<i", found.raw, 8)[0]
    copies = [(group * found.block.frags_per_group + sblkno) * found.block.fsize for group in range(_groups(found))]
    for at in [found.place] + copies:
        block = bytearray(read(at, SUPERBLOCK_SIZE))
        if parse_superblock(bytes(block)) is None:
            raise MakefsError("makefs wrote no copy of the super block at {0}".format(at))
        block[POINTERS] = bytes(POINTERS.stop - POINTERS.start)
        image.seek(at)
        image.write(block)
