# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The digest of a file."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

#: what is read at once, in bytes
PIECE = 1 << 20


def digest_file(path: str, algorithm: str = "sha256") -> str:
    """The digest of a file, SHA-256 unless another one is named.

    :param algorithm: its name in hashlib.
    :raises OSError: when it cannot be read.
    """
    with open(path, "rb") as file:
        return digest_of(file, algorithm)


def digest_of(file: BinaryIO, algorithm: str = "sha256") -> str:
    """The digest of what is left to read of an open file, SHA-256 unless another one is named.

    :param algorithm: its name in hashlib.
    :raises OSError: when it cannot be read.
    """
    total = hashlib.new(algorithm)
    for piece in iter(lambda: file.read(PIECE), b""):
        total.update(piece)
    return total.hexdigest()
