# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys that FreeBSD signs its repositories with, as fingerprints: the SHA-256 of the public key.

Source: ``share/keys/pkg/trusted`` and ``share/keys/pkgbase-15/trusted`` of freebsd/freebsd-src (releng/15.0); the first
is the same in 13.2 and 14. Both folders ``revoked`` are empty there.
"""

from __future__ import annotations

from typing import Mapping

#: names of the files, by fingerprint
FREEBSD: Mapping[str, str] = {
    "b0170035af3acc5f3f3ae1859dc717101b4e6c1d0a794ad554928ca0cbb2f438": "pkg.freebsd.org.2013102301",
    "1d7b45d20fa8d6ed26f9b4a13ac81a6b5df860b9fe644d07b87e92298ba72595": "awskms-15",
    "56a77bdcb6c3cf7984729c6138bd5617c24aa0d466b3b604c96205b2c5629f3c": "backup-signing-15",
}

#: where a FreeBSD has them; a controller with another system has no such folder
FREEBSD_FOLDER = "/usr/share/keys/pkg"
BASE_15_FOLDER = "/usr/share/keys/pkgbase-15"

#: what the second one has; the first stands for all of them, as a definition may name it for every repository
BASE_15: Mapping[str, str] = {key: name for key, name in FREEBSD.items() if name in ("awskms-15", "backup-signing-15")}
