# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The digests of an image's windows, and comparing a slice with them.

The slice itself is the record of how far a write came: every window of it is compared first, and only those that are
not yet right are written. So a write that was broken off goes on where it stopped, with no state kept anywhere.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterable, List, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, BadManifest, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import fetch_artefact

DIGEST = 32
HINT = 4

#: called with how many bytes were looked at
Looked = Callable[[int], None]


@dataclass(frozen=True)
class Windows:
    """The SHA-256 of every window of an image. Sizes in bytes; the last window may be shorter.

    :param hints: CRC-32 of the first block of every window. Where it differs the window is wrong, and the rest of it
        need not be read: a slice that holds another image is compared in no time.
    """

    size: int
    window: int
    digests: Tuple[bytes, ...]
    hints: Tuple[int, ...]

    def span(self, index: int) -> Tuple[int, int]:
        """Offset and length of a window."""
        offset = index * self.window
        return offset, min(self.window, self.size - offset)

    def length(self, indices: Iterable[int]) -> int:
        """The bytes in some windows together."""
        return sum(self.span(index)[1] for index in indices)

    def __len__(self) -> int:
        return len(self.digests)


def file_size(size: int, window: int) -> int:
    """How large the file with the digests of an image of *size* bytes is."""
    return -(-size // window) * (DIGEST + HINT)


def encode(digests: Iterable[bytes], hints: Iterable[int]) -> bytes:
    """The published file: all digests, then all hints (little-endian)."""
    return b"".join(digests) + b"".join(struct.pack("<I", hint) for hint in hints)


def hint_of(block: bytes) -> int:
    """The hint for a window that begins with *block*."""
    return zlib.crc32(block[:GRID])


def read_windows(repository: Repository, manifest: Manifest) -> Windows:
    """Fetch and check the window digests of an image.

    :raises BadManifest: when the file does not match the signed manifest.
    """
    artefact = manifest.artefact("windows")
    expected = file_size(manifest.size, manifest.window)
    if artefact.size != expected:
        raise BadManifest("the window file of {0} has an impossible size".format(manifest.describe()))
    raw = fetch_artefact(repository, artefact)
    end = expected // (DIGEST + HINT) * DIGEST
    return Windows(
        manifest.size,
        manifest.window,
        tuple(raw[at : at + DIGEST] for at in range(0, end, DIGEST)),
        tuple(each[0] for each in struct.iter_unpack("<I", raw[end:])),
    )


@lru_cache(maxsize=2)
def zero_digest(length: int) -> bytes:
    """The digest of so many zero bytes."""
    return hashlib.sha256(bytes(length)).digest()


def is_right(device: Device, windows: Windows, index: int, buffer: memoryview) -> bool:
    """Whether a window holds what it should. What differs in its first block is not read any further.

    :param buffer: memory for a window, which is used again and again.
    """
    offset, length = windows.span(index)
    head = min(GRID, length)
    if device.read_into(offset, buffer[:head]) < head or zlib.crc32(buffer[:head]) != windows.hints[index]:
        return False
    if device.read_into(offset + head, buffer[head:length]) < length - head:
        return False
    if windows.digests[index] == zero_digest(length):
        # comparing is many times as fast as hashing, and much of an image is empty
        return bytes(buffer[:length]) == bytes(length)
    return hashlib.sha256(buffer[:length]).digest() == windows.digests[index]


def wrong_windows(device: Device, windows: Windows, looked: Looked) -> List[int]:
    """Those windows that do not hold what they should."""
    wrong = []
    buffer = memoryview(bytearray(windows.window))
    for index in range(len(windows)):
        if not is_right(device, windows, index, buffer):
            wrong.append(index)
        looked(windows.span(index)[0] + windows.span(index)[1])
    return wrong
