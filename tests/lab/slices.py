# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading slices: what a real UFS image in a partition holds, as a directory."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import BinaryIO, Optional

from dissect.ffs import FFS
from dissect.ffs.ffs import INode
from dissect.util.stream import RangeStream


def open_slice(image: str, offset: int, size: int) -> Optional[FFS]:
    """The file system in a part of an image file, or ``None`` when there is none."""
    stream: BinaryIO = RangeStream(open(image, "rb"), offset, size)  # noqa: SIM115 - the file system keeps it
    try:
        return FFS(stream)
    except Exception:
        return None


def has_file(filesystem: Optional[FFS], path: str) -> bool:
    """Whether the file system has a file of that path."""
    if filesystem is None:
        return False
    try:
        return bool(filesystem.get(path).is_file())
    except Exception:
        return False


def read_file(filesystem: Optional[FFS], path: str) -> bytes:
    """The content of a file; empty when there is none."""
    if filesystem is None or not has_file(filesystem, path):
        return b""
    with filesystem.get(path).open() as file:
        return bytes(file.read())


def _copy(node: INode, target: str) -> None:
    for name, child in node.listdir().items():
        if name in (".", ".."):
            continue
        path = os.path.join(target, name)
        if child.is_symlink():
            os.symlink(child.link, path)
            continue
        if child.is_dir():
            os.mkdir(path)
            _copy(child, path)
        elif child.is_file():
            with open(path, "wb") as new, child.open() as old:
                new.write(old.read())
        else:
            continue
        os.chmod(path, stat.S_IMODE(child.mode))


def unpack(image: str, offset: int, size: int, where: str) -> str:
    """The directory with a slice's contents; made once for the same bytes.

    :param where: the folder to make it in.
    """
    with open(image, "rb") as file:
        file.seek(offset)
        digest = hashlib.sha256()
        left = size
        while left:
            piece = file.read(min(1 << 20, left))
            if not piece:
                break
            digest.update(piece)
            left -= len(piece)
    target = os.path.join(where, digest.hexdigest()[:24])
    if os.path.isdir(target):
        return target
    filesystem = open_slice(image, offset, size)
    partial = "{0}.{1}".format(target, os.getpid())
    os.makedirs(partial)
    if filesystem is not None:
        _copy(filesystem.root, partial)
    try:
        os.rename(partial, target)
    except OSError:  # another host boots the same image at this moment
        if not os.path.isdir(target):
            raise
    return target
