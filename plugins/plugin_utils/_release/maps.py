# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing maps; the reader, and what a map is, is module_utils/_image/frames.py."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import BinaryIO, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import COPY, MAGIC, NOTHING
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.varint import write_number, write_signed
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._xz import compress_xz, filters

#: a run of blocks: kind, count, and for COPY the first block in the base
Step = Tuple[int, int, int]


@dataclass(frozen=True)
class Draft:
    """A frame about to be published.

    :param payload: compressed.
    :param unpacked: its size before that, in bytes.
    :param reference: runs of the base: first block, count.
    """

    windows: int
    steps: Sequence[Step]
    method: int = NOTHING
    payload: bytes = b""
    unpacked: int = 0
    reference: Sequence[Tuple[int, int]] = ()


@dataclass(frozen=True)
class Placed:
    """A frame whose payload is in its file: all of it that the map says."""

    draft: Draft
    size: int
    sha256: bytes


def place(out: BinaryIO, draft: Draft) -> Placed:
    """Append a frame's payload to its file, and let go of it."""
    out.write(draft.payload)
    digest = hashlib.sha256(draft.payload).digest()
    return Placed(replace(draft, payload=b""), len(draft.payload), digest)


def pack_payload(data: bytes, name: str, preset: int = 6) -> bytes:
    """Compress a payload; the same bytes for the same input.

    :param preset: of xz(1): 6 is good, 9 | PRESET_EXTREME takes half as long again for 0.2 % less.

    Whether it compresses better as x86 machine code is found out by compressing it both ways in a hurry.
    """
    if name == codec.ZSTD:
        return codec.pack_zstd(data)
    hurried = [len(compress_xz(data, filters(len(data), machine_code, 0))) for machine_code in (False, True)]
    return compress_xz(data, filters(len(data), hurried[1] < hurried[0], preset))


def _recipe(draft: Draft) -> bytes:
    out = [write_number(len(draft.reference))]
    expected = 0
    for first, count in draft.reference:
        out.append(write_signed(first - expected) + write_number(count))
        expected = first + count
    expected = 0
    for kind, count, block in draft.steps:
        out.append(write_number(count << 2 | kind))
        if kind == COPY:
            out.append(write_signed(block - expected))
            expected = block + count
    return b"".join(out)


def encode_map(image: str, base: Optional[str], size: int, frames: Sequence[Placed]) -> bytes:
    """The map of an image as a file.

    :param image: id of the image.
    :param base: id of the image that it starts from.
    :param size: of the image in bytes.
    """
    out = [MAGIC, bytes.fromhex(image), bytes.fromhex(base or "0" * 64), write_number(size), write_number(len(frames))]
    for frame in frames:
        draft = frame.draft
        out.append(write_number(draft.windows) + write_number(frame.size) + write_number(draft.method))
        if frame.size:
            out.append(frame.sha256 + write_number(draft.unpacked))
        recipe = _recipe(draft)
        out.append(write_number(len(recipe)) + recipe)
    raw = b"".join(out)
    return compress_xz(raw, filters(len(raw), preset=9))
