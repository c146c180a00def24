# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The digest of a file."""

from __future__ import annotations

import hashlib

#: what is read at once, in bytes
PIECE = 1 << 20


def digest_file(path: str) -> str:
    """SHA-256 of a file.

    :raises OSError: when it cannot be read.
    """
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            total.update(piece)
    return total.hexdigest()
