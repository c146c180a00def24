# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree like that of a FreeBSD system, out of nothing: what a build costs depends on how many files there are, how
large they are and how well they compress, not on what is in them.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import random
import tarfile
from typing import Iterator, Tuple

#: as many files as a base system with packages, and as many bytes as one without (about)
FILES, BYTES = 40_000, 500 << 20

#: so much of each piece of a file (bytes) is new, the rest is somewhere else as well: xz gets that to 36 % of its size,
#: as it does with programs. Random letters of a small alphabet would keep xz busy for ever, which no program does.
PIECE, NEW = 1024, 360
POOL = hashlib.shake_128(b"pool").digest(1 << 20)

#: what the layout asks of a system, and a Python for Ansible
SYSTEM = {
    "etc/rc": 0o755,
    "etc/rc.initdiskless": 0o755,
    "etc/defaults/rc.conf": 0o644,
    "boot/pmbr": 0o444,
    "boot/gptboot": 0o444,
    "bin/sh": 0o555,
    "usr/local/bin/python3": 0o755,
}


def content(name: str, size: int) -> bytes:
    """Bytes that are always the same for a name."""
    count = -(-size // PIECE)
    new = hashlib.shake_128(name.encode()).digest(count * NEW)
    parts = []
    for number in range(count):
        fresh = new[number * NEW : (number + 1) * NEW]
        at = int.from_bytes(fresh[:3], "little") % (len(POOL) - PIECE)
        parts += [fresh, POOL[at : at + PIECE - NEW]]
    return b"".join(parts)[:size]


def files(count: int = FILES, total: int = BYTES) -> Iterator[Tuple[str, int]]:
    """Path and size in bytes of each file: many small ones, few large ones."""
    chance = random.Random(1)
    raw = [math.exp(chance.gauss(8.0, 2.2)) for _file in range(count)]
    scale = total / sum(raw)
    for number, size in enumerate(raw):
        folder = "usr/share/part-{0:02d}/sub-{1:02d}".format(number % 40, number // 40 % 50)
        yield "{0}/file-{1:05d}".format(folder, number), int(size * scale)


def make(archive: str, count: int = FILES, total: int = BYTES) -> None:
    """Write the tree as a tar archive, owned by root, with nothing in it that changes from run to run."""
    with tarfile.open(archive + ".part", "w", format=tarfile.PAX_FORMAT) as tar:
        seen = set()
        sized = [(path, 100, mode) for path, mode in SYSTEM.items()]
        sized += [(path, size, 0o444) for path, size in files(count, total)]
        for path, size, mode in sized:
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in seen:
                    seen.add(folder)
                    info = tarfile.TarInfo(folder)
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1600000000
                    tar.addfile(info)
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = size, mode, 1600000000
            tar.addfile(info, io.BytesIO(content(path, size)))
    os.replace(archive + ".part", archive)
