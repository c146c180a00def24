# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Codecs: how payloads are compressed.

``xz`` is in Python's standard library; every host can read it. ``zstd`` is much quicker to unpack and larger; it is
used where it is published and the host's Python has a module for it (``compression.zstd`` from 3.14 on, ``zstandard``).

A payload never gets more memory than its map says it unpacks to, whatever it claims itself.
"""

from __future__ import annotations

import lzma
from functools import lru_cache
from typing import Callable, Dict, Optional, Tuple

XZ, ZSTD = "xz", "zstd"

#: the most memory that liblzma may take for its dictionary (bytes): we publish with 4 MiB at most
XZ_MEMORY = 16 << 20


class BadPayload(Exception):
    """Bytes that do not unpack to what they should."""


Unpack = Callable[[bytes, int], bytes]


def _unpack_xz(payload: bytes, size: int) -> bytes:
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    try:
        # one byte more than expected, so that too much is seen without making all of it
        data = decoder.decompress(payload, max_length=size + 1)
        if len(data) <= size and not decoder.eof:
            # all of the content may be out while the end of the stream has not been read yet
            data += decoder.decompress(b"", max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise BadPayload(str(error))
    if not decoder.eof or decoder.unused_data:
        raise BadPayload("it is cut off, or larger than it should be")
    return data


@lru_cache(maxsize=1)  # asked for each payload, and a module that is not there is looked for in every folder each time
def _zstd() -> Optional[Tuple[Unpack, Callable[[bytes], bytes]]]:
    """Unpacking and packing with zstd, if this Python has it."""
    try:
        from compression import zstd  # noqa: PLC0415 - Python 3.14
    except ImportError:
        pass
    else:

        def unpack_new(payload: bytes, size: int) -> bytes:
            decoder = zstd.ZstdDecompressor()
            try:
                data = decoder.decompress(payload, max_length=size + 1)
            except zstd.ZstdError as error:
                raise BadPayload(str(error))
            if not decoder.eof or decoder.unused_data:
                raise BadPayload("it is cut off, or larger than it should be")
            return data

        return unpack_new, lambda data: zstd.compress(data, level=19)
    try:
        import zstandard  # noqa: PLC0415 - optional
    except ImportError:
        return None

    def unpack_old(payload: bytes, size: int) -> bytes:
        try:
            # the size of the content must be in the frame, so that not more memory is taken
            if zstandard.frame_content_size(payload) != size:
                raise BadPayload("it says another size than it should have")
            return zstandard.ZstdDecompressor().decompress(payload)
        except zstandard.ZstdError as error:
            raise BadPayload(str(error))

    return unpack_old, lambda data: zstandard.ZstdCompressor(level=19).compress(data)


def unpackers() -> Dict[str, Unpack]:
    """What this host can unpack, by the name of the codec."""
    found: Dict[str, Unpack] = {XZ: _unpack_xz}
    zstd = _zstd()
    if zstd is not None:
        found[ZSTD] = zstd[0]
    return found


def unpack(name: str, payload: bytes, size: int) -> bytes:
    """Unpack a payload to exactly *size* bytes.

    :raises BadPayload: when it is damaged, or has more or fewer.
    """
    function = unpackers().get(name)
    if function is None:
        raise BadPayload("this host cannot unpack {0}".format(name))
    data = function(payload, size)
    if len(data) != size:
        raise BadPayload("it has {0} bytes instead of {1}".format(len(data), size))
    return data


def unpack_all(payload: bytes, limit: int) -> bytes:
    """Unpack a whole small file (always xz) of at most *limit* bytes.

    :raises BadPayload: when it is damaged or larger.
    """
    data = _unpack_xz(payload, limit)
    if len(data) > limit:
        raise BadPayload("it is larger than {0} bytes".format(limit))
    return data


def pack_zstd(data: bytes) -> bytes:
    """Compress with zstd.

    :raises BadPayload: when this Python has no zstd.
    """
    zstd = _zstd()
    if zstd is None:
        raise BadPayload("this Python has no zstd: install zstandard")
    return zstd[1](data)
