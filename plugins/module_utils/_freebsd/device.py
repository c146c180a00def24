# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Disk devices: reading and writing whole sectors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import sys
from types import TracebackType
from typing import Optional, Type, Union

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: how much is read at once when a whole slice is hashed (bytes)
BLOCK = 1 << 20

#: _IO('d', 135), ``sys/sys/disk.h``: flush the write cache of the device
DIOCGFLUSH = 0x20000000 | ord("d") << 8 | 135


class DeviceError(FleetError):
    """A device that cannot be opened, read or written."""


class Device:
    """An open disk device. Offsets and lengths are in bytes and must be multiples of the sector size.

    :param path: the device node.
    :param writable: open for writing as well. FreeBSD opens disks for several writers without complaint (transcript
        ``dd-write/026-two-writers``), so whoever writes must have looked for others before.
    """

    def __init__(self, path: str, writable: bool = False) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        except OSError as error:
            raise DeviceError(
                "{0} cannot be opened for {1}: {2}".format(
                    path, "writing" if writable else "reading", os.strerror(error.errno or 0)
                ),
                safe="nothing was written to it",
            )

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._file)

    def read(self, offset: int, length: int) -> bytes:
        """Up to *length* bytes; fewer only at the end of the device."""
        buffer = bytearray(length)
        count = self.read_into(offset, memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill memory from the device; how many bytes there were, fewer only at its end.

        Many reads into the same memory cost much less than as many reads into new memory.
        """
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self._file, [view[done:]], offset + done)
            except OSError as error:
                raise self._unreadable(offset + done, error)
            if count == 0:
                break
            done += count
        return done

    def _unreadable(self, offset: int, error: OSError) -> DeviceError:
        return DeviceError(
            "{0} cannot be read at byte {1}: {2}".format(self.path, offset, os.strerror(error.errno or 0)),
            todo="check the medium (dmesg); a medium with read errors should be replaced",
        )

    def write(self, offset: int, data: Union[bytes, memoryview]) -> None:
        """Write all of *data*."""
        view = memoryview(data)
        while view:
            try:
                count = os.pwrite(self._file, view, offset)
            except OSError as error:
                raise self._unwritable(offset, os.strerror(error.errno or 0))
            if count == 0:
                raise self._unwritable(offset, "it takes no more bytes")
            view = view[count:]
            offset += count

    def _unwritable(self, offset: int, why: str) -> DeviceError:
        return DeviceError(
            "{0} cannot be written at byte {1}: {2}".format(self.path, offset, why),
            safe="it has no boot flags and will not be booted; nothing else was touched",
            todo="check the medium (dmesg); replace it if it has write errors",
        )

    def flush(self) -> None:
        """Make the medium keep what was written.

        On FreeBSD fsync(2) of a disk device only waits for buffers and never reaches the drive's own cache
        (``devfs_vnops.c``: ``vop_stdfsync``); DIOCGFLUSH does (``geom_dev.c``: ``g_io_flush``).
        """
        try:
            os.fsync(self._file)
            if sys.platform.startswith("freebsd"):
                fcntl.ioctl(self._file, DIOCGFLUSH)
        except OSError as error:
            # a device without a cache to flush says so; that is as good as flushed
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOTTY):
                raise DeviceError("{0} cannot be flushed: {1}".format(self.path, os.strerror(error.errno or 0)))

    def forget(self) -> None:
        """Let the kernel drop what it keeps of the device in memory, so that what is read next comes from the medium.

        Linux keeps pages of disks, FreeBSD does not (``geom_dev.c``). Only what was flushed before can be dropped.
        """
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def digest(self, size: int) -> Optional[str]:
        """SHA-256 of the first *size* bytes, or ``None`` when the device is shorter."""
        total = hashlib.sha256()
        buffer = memoryview(bytearray(BLOCK))
        for offset in range(0, size, BLOCK):
            view = buffer[: min(BLOCK, size - offset)]
            if self.read_into(offset, view) < len(view):
                return None
            total.update(view)
        return total.hexdigest()


def open_device(path: str, writable: bool = False) -> Device:
    """Open a device node. The one way in: the unit tests put the model's devices in its place."""
    return Device(path, writable)
