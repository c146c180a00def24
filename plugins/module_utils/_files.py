# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files that get their name when they are complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import BinaryIO, Iterator, Tuple


@contextlib.contextmanager
def arriving(path: str) -> Iterator[Tuple[str, BinaryIO]]:
    """The path of a new file, and the file, open for writing: beside *path*, which it is called when the block ends
    well; it is gone otherwise.

    It has a random name, and is made by whoever writes it (mkstemp(3)): nobody else who may write to the folder can
    have put a file or a link there before. A link of the name is replaced, and not followed.

    :raises OSError: when it cannot be written.
    """
    handle, partial = tempfile.mkstemp(prefix=".", suffix=".part", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            yield partial, file
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)  # as open(2) makes one
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)
