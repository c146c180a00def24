# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A new file system for each client to work in.

ext4 does not give out inodes again that were freed in the last minutes, and searches past them at great cost
(recently_deleted() in fs/ext4/ialloc.c). On one file system a client that makes many small files would pay for what ran
before it, with several seconds of CPU time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Iterator

#: of the file system, in bytes: an image, and twice what a client may stage
SIZE = 6 << 30


def _unmount(folder: str) -> None:
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def scratch(folder: str) -> Iterator[str]:
    """An empty file system at *folder*, for as long as the context lasts. As root."""
    backing = folder + ".ext4"
    os.makedirs(folder, exist_ok=True)
    _unmount(folder)  # of a run that was killed
    try:
        with open(backing, "wb") as file:
            file.truncate(SIZE)
        # nothing is left for the kernel to initialise while a client runs
        options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "131072", "-E", options, backing], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", backing, folder], check=True)
        yield folder
    finally:
        _unmount(folder)
        if os.path.exists(backing):
            os.unlink(backing)
