# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this machine could do at best: the floors that no updater gets below."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from typing import Dict, List

MIB = 1 << 20
#: of an image, in bytes
SIZE = 1 << 30

#: lines that images are fetched over, in Mbit/s
LINES = (10, 100, 1000)


def sha256_rate() -> float:
    """Bytes of SHA-256 per second of CPU time, with the hashlib that clients use."""
    buffer = os.urandom(16 * MIB)
    total = hashlib.sha256()
    start = time.process_time()
    for _each in range(SIZE // len(buffer)):
        total.update(buffer)
    return SIZE / (time.process_time() - start)


def disk_rates(folder: str) -> Dict[str, float]:
    """Bytes per second that the disk below a folder takes (with fsync at the end) and gives (not from the cache)."""
    path = os.path.join(folder, "disk-rate")
    buffer = os.urandom(MIB)
    try:
        os.sync()
        start = time.monotonic()
        with open(path, "wb", buffering=0) as file:
            for _each in range(SIZE // MIB):
                file.write(buffer)
            os.fsync(file.fileno())
        write = SIZE / (time.monotonic() - start)
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.monotonic()
            while file.read(MIB):
                pass
            read = SIZE / (time.monotonic() - start)
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return {"write": write, "read": read}


def machine() -> Dict[str, str]:
    """What the figures were measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        rows: List[List[str]] = [line.split(":", 1) for line in file if ":" in line]
    known = {key.strip(): value.strip() for key, value in rows}
    flags = known.get("flags", "").split()
    return {
        "processor": known.get("model name", platform.machine()),
        "cores": str(os.cpu_count()),
        "SHA instructions": "yes" if "sha_ni" in flags or "sha2" in known.get("Features", "").split() else "no",
        "kernel": "{0} {1}".format(platform.system(), platform.release()),
        "Python": platform.python_version(),
    }
