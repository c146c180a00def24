# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The digest of a file."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

#: what is read at once, in bytes
PIECE = 1 << 20


def digest_file(path: str) -> str:
    """SHA-256 of a file.

    :raises OSError: when it cannot be read.
    """
    with open(path, "rb") as file:
        return digest_of(file)


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of what is left to read of an open file.

    :raises OSError: when it cannot be read.
    """
    total = hashlib.sha256()
    for piece in iter(lambda: file.read(PIECE), b""):
        total.update(piece)
    return total.hexdigest()
