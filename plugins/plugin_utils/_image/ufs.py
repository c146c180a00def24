# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making the UFS image of a slice with makefs(8), the same bytes every time.

Debian's makefs writes UFS2 with its super block where FreeBSD refuses it (``sys/ufs/ffs/ffs_subr.c`` looks at 65536),
so on Linux images are UFS1, which FreeBSD boots. Two things in its output are not the same in every run and are set
right afterwards: pointers of the makefs process in the super blocks, which mean nothing on a disk.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import BinaryIO, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID
from ansible_collections.nanozfs.fleet.plugins.module_utils._ufs import SUPERBLOCK_SIZE, SUPERBLOCKS, parse_superblock
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.tree import Tree

#: UFS geometry: 4 KiB fragments are the grid on which two images are compared
BSIZE, FSIZE = 32768, GRID

#: fs_ocsp … fs_active of struct fs (``sys/ufs/ffs/fs.h``): in-core pointers, from byte 728 on
POINTERS = slice(728, 856)

#: bytes of file content for each inode; set so that the layout does not depend on how many files there are
DENSITY = 16384


class MakefsError(FleetError):
    """makefs is missing or failed."""


def command(out: str, folder: str, spec: str, size: int, epoch: int) -> List[str]:
    """The makefs command.

    :param size: of the image in bytes.
    :param epoch: time of the file system in seconds.
    """
    freebsd = sys.platform.startswith("freebsd")
    options = "version=2" if freebsd else "version=1"
    options += ",bsize={0},fsize={1},minfree=0,optimization=space,density={2}".format(BSIZE, FSIZE, DENSITY)
    argv = ["makefs", "-t", "ffs", "-B", "little", "-o", options, "-T", str(epoch), "-s", str(size), "-F", spec]
    # -D: FreeBSD's makefs takes an entry that is specified twice for an error otherwise
    return argv + (["-D"] if freebsd else []) + [out, folder]


def make(tree: Tree, scratch: str, out: str, size: int, epoch: int) -> None:
    """Make the image.

    :param scratch: a folder for the staged tree, the one that archives were unpacked to.
    :param out: path of the image to write.
    :param size: in bytes; a multiple of 4096.
    :param epoch: time of the file system in seconds since the epoch.
    :raises MakefsError: when makefs is missing or the tree does not fit.
    """
    folder = os.path.join(scratch, "stage")
    spec = os.path.join(scratch, "spec")
    os.mkdir(folder)
    tree.stage(folder, scratch)
    with open(spec, "w", encoding="utf-8") as file:
        file.write("#mtree\n")
        file.writelines(line + "\n" for line in tree.lines(digests=False))
    argv = command(out, folder, spec, size, epoch)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ, LC_ALL="C"))
    except FileNotFoundError:
        raise MakefsError(
            "makefs is not installed on this machine",
            todo="install it: package makefs on Debian and Ubuntu; FreeBSD has it in its base system",
        )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise MakefsError(
            "makefs failed: {0}".format(said),
            todo="if the tree does not fit, raise image_size ({0} bytes now)".format(size),
        )
    with open(out, "r+b") as image:
        normalise(image)


def normalise(image: BinaryIO) -> None:
    """Clear what makefs left of its own memory in the super block and its copies.

    :raises MakefsError: when there is no super block.
    """
    for place in SUPERBLOCKS:
        image.seek(place)
        found = parse_superblock(image.read(SUPERBLOCK_SIZE))
        if found is None:
            continue
        image.seek(place)
        raw = image.read(SUPERBLOCK_SIZE)
        sblkno, groups = struct.unpack_from("<i", raw, 8)[0], struct.unpack_from("<I", raw, 44)[0]
        copies = [(group * found.frags_per_group + sblkno) * found.fsize for group in range(groups)]
        for at in [place] + copies:
            image.seek(at)
            block = bytearray(image.read(SUPERBLOCK_SIZE))
            if parse_superblock(bytes(block)) is None:
                raise MakefsError("makefs wrote no copy of the super block at {0}".format(at))
            block[POINTERS] = bytes(POINTERS.stop - POINTERS.start)
            image.seek(at)
            image.write(block)
        return
    raise MakefsError("makefs wrote something that is no UFS file system")
