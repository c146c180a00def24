# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns a bit of a file over, as a disk does: ``rot.py FILE``. Its times stay as they were."""

from __future__ import annotations

import os
import sys

path = sys.argv[1]
times = os.stat(path)
with open(path, "r+b") as file:
    file.seek(times.st_size // 2)
    byte = file.read(1)[0]
    file.seek(times.st_size // 2)
    file.write(bytes([byte ^ 4]))
os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
