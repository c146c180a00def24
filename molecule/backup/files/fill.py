# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fills a file system but for so many bytes: ``fill.py FOLDER BYTES``."""

from __future__ import annotations

import os
import sys

folder, left = sys.argv[1], int(sys.argv[2])
found = os.statvfs(folder)
with open(os.path.join(folder, "ballast"), "wb") as file:
    os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left)
