# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files that get their name when they are complete, errors of those that cannot be read, and locks that end with their
process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from typing import BinaryIO, Iterator, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused

#: seconds between two looks whether a lock is free
PAUSE = 0.05


@contextlib.contextmanager
def arriving(path: str, mode: Optional[int] = None) -> Iterator[Tuple[str, BinaryIO]]:
    """The path of a new file, and the file, open for writing: beside *path*, which it is called when the block ends
    well; it is gone otherwise.

    It has a random name, and is made by whoever writes it (mkstemp(3)): nobody else who may write to the folder can
    have put a file or a link there before. A link of the name is replaced, and not followed.

    :param mode: what it has before it gets its name; by default as open(2) makes one. Until then it is its maker's.
    :raises OSError: when it cannot be written.
    """
    handle, partial = tempfile.mkstemp(prefix=".", suffix=".part", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            yield partial, file
            file.flush()
            if mode is None:
                mask = os.umask(0)
                os.umask(mask)
                mode = 0o666 & ~mask
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)


@contextlib.contextmanager
def readable(safe: str = "nothing was changed") -> Iterator[None]:
    """What is read in the block can be, or the error says which file or folder cannot.

    :param safe: what is safe then.
    :raises FleetError: for an OSError.
    """
    try:
        yield
    except OSError as error:
        raise FleetError("{0} cannot be read: {1}".format(error.filename, error.strerror), safe=safe)


@contextlib.contextmanager
def waited_for(folder: str, name: str, mode: int, patience: float, busy: Refused) -> Iterator[None]:
    """Hold a lock (flock(2)), which the kernel takes back when the process dies that has it.

    :param folder: where its file is; it is made, with this mode, where it is not there.
    :param patience: how long somebody else may keep it, in seconds.
    :param busy: what is raised when that is over.
    :raises FleetError: when its file cannot be made.
    """
    try:
        os.makedirs(folder, mode=mode, exist_ok=True)
        handle = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FleetError(
            "{0} cannot be used: {1}".format(folder, error.strerror),
            safe="nothing was changed",
            todo="see that /var is mounted and can be written",
        )
    until = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    raise busy
                time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)
