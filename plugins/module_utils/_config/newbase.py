# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The /etc that another image brings, read out of its slice without mounting it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from typing import Iterator

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.origins import (
    ABSENT,
    BEHIND,
    FILE,
    LINK,
    Entry,
    kind_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import parents
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Inode, Ufs

#: where an image has what /etc is made from at a start
BASE = "/conf/base/etc"


class Image:
    """The tree that an image has for /etc.

    :param ufs: the file system of the image.
    :param top: where the tree is in it.
    :raises FleetError: when it has none: all its files would be taken for gone.
    """

    def __init__(self, ufs: Ufs, top: str = BASE) -> None:
        self.ufs = ufs
        self.top = top
        found = ufs.find(top)
        if found is None or not stat.S_ISDIR(found.mode):
            raise FleetError("the image has no folder {0}".format(top), safe="nothing was changed")

    def entry(self, path: str) -> Entry:
        """What is there; links are not followed.

        :raises NotUfs: when the file system is damaged.
        """
        for parent in parents(path):
            found = self.ufs.find(os.path.join(self.top, parent))
            if found is None:
                return ABSENT
            if not stat.S_ISDIR(found.mode):
                return Entry(BEHIND, content=os.fsencode(parent))
        inode = self.ufs.find(os.path.join(self.top, path))
        return (
            ABSENT
            if inode is None
            else Entry(kind_of(inode.mode), stat.S_IMODE(inode.mode), inode.uid, inode.gid, self._content(inode))
        )

    def _content(self, inode: Inode) -> bytes:
        kind = kind_of(inode.mode)
        if kind == LINK:
            return os.fsencode(self.ufs.link_target(inode))
        return b"".join(self.ufs.pieces(inode)) if kind == FILE else b""

    def unpack(self, folder: str) -> None:
        """Put a copy of the tree into a folder, for a rehearsal of the start: whoever reads it is its owner.

        :raises NotUfs: when the file system is damaged.
        :raises OSError: when it cannot be written.
        """
        for path, _number, inode in self.ufs.inodes(self.top):
            target, kind = folder + path, kind_of(inode.mode)
            if stat.S_ISDIR(inode.mode):
                os.makedirs(target, exist_ok=True)
                os.chmod(target, stat.S_IMODE(inode.mode) | 0o700)
            elif kind == LINK:
                os.symlink(self.ufs.link_target(inode), target)
            elif kind == FILE:
                with open(target, "wb") as file:
                    file.writelines(self.ufs.pieces(inode))
                os.chmod(target, stat.S_IMODE(inode.mode))


@contextlib.contextmanager
def in_slice(piece: Slice) -> Iterator[Image]:
    """The tree of the image that a slice holds.

    :raises FleetError: when the slice holds no file system.
    """
    with devices.open_device(piece.path) as device:
        yield Image(Ufs(device.read))


@contextlib.contextmanager
def unpacked(piece: Slice) -> Iterator[str]:
    """The tree of the image that a slice holds, in a folder of this system for as long as it is needed.

    :raises FleetError: when it cannot be read, or there is no room for it.
    """
    top = tempfile.mkdtemp(prefix="nanozfs.")
    try:
        try:
            with in_slice(piece) as image:
                image.unpack(top)
        except OSError as error:
            raise FleetError(
                "the /etc of the new system cannot be unpacked: {0} ({1})".format(error.strerror, error.filename),
                safe="nothing was changed",
            )
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)
