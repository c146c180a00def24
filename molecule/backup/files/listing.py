# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that a backup has to keep of folders, a line for each file: ``listing.py BASE FOLDER ...``."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from typing import Dict, Iterator, Tuple


def every(folder: bytes) -> Iterator[bytes]:
    """All paths below a folder, and itself."""
    yield folder
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from every(entry.path)
        else:
            yield entry.path


def main(base: str, *folders: str) -> None:
    """Print them."""
    os.chdir(base)
    first: Dict[Tuple[int, int], bytes] = {}
    for folder in folders:
        for path in every(os.fsencode(folder)):
            found = os.lstat(path)
            content = ""
            if stat.S_ISREG(found.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
                same = first.setdefault((found.st_dev, found.st_ino), path)  # sets are linked to each other as well
                content += " same as {0!r}".format(same) if same != path else ""
                content += " with holes" if found.st_blocks * 512 < found.st_size // 2 else ""
                names = sorted(os.listxattr(path))
                content += " {0}".format([(name, os.getxattr(path, name)) for name in names])
            elif stat.S_ISLNK(found.st_mode):
                content = repr(os.readlink(path))
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            print(repr(path), oct(found.st_mode), found.st_uid, found.st_gid, int(found.st_mtime), size, content)


main(*sys.argv[1:])
