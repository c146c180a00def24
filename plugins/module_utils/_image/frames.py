# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Maps: how the windows of an image are made from what is published and what is on the host already.

A map divides an image into frames. A frame is one or more whole windows; its recipe says for each block of them whether
it is zero, is copied from the base (the image that the map starts from), or is the next of the frame's new blocks.
Those are in the frame's payload, compressed, and in a delta also expressed as changes to a part of the base. The format
is described in docs/image-format.md; it is written by plugin_utils/_image/maps.py.

Nothing here trusts a number that it reads: sizes are compared with the signed manifest before memory is taken for them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec, patch
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, WINDOW
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.varint import Reader, Truncated

MAGIC = b"nanozfs map 1\n"

#: what a run of blocks is
ZERO, NEW, COPY = 0, 1, 2
#: what a payload is once it is unpacked: nothing, the new blocks, or a patch that makes them from the reference
NOTHING, LITERAL, PATCH = 0, 1, 2

#: the most that a map may be, unpacked: enough for an image of 64 GiB (bytes)
MAX_MAP = 16 << 20
#: the most new blocks in one frame, and the most of the base that they may be a patch to (bytes)
MAX_NEW = 2 << 20
MAX_REFERENCE = 4 << 20
#: what a patch has besides new bytes: its control numbers (bytes)
MAX_CONTROL = 1 << 20
#: the most windows in one frame
MAX_WINDOWS = 4096

#: reads into the given memory from an offset (bytes) of the base
ReadInto = Callable[[int, memoryview], None]


class BadMap(FleetError):
    """A map or a payload that is damaged, or belongs to something else."""


class Frame(NamedTuple):
    """Some windows of the image, and where their payload is. Offsets and sizes in bytes."""

    first: int
    windows: int
    offset: int
    size: int
    sha256: bytes
    method: int
    unpacked: int
    recipe: bytes

    @property
    def fetched(self) -> bool:
        """Whether anything has to be fetched to make it."""
        return self.method != NOTHING


@dataclass(frozen=True)
class Recipe:
    """How the blocks of a frame come about. Everything is counted in blocks of 4 KiB.

    :param reference: runs of the base (first block, count) which a patch changes.
    :param steps: runs of the frame in order: kind, count, and for COPY the first block in the base.
    :param new: the new blocks in all.
    """

    reference: Tuple[Tuple[int, int], ...]
    steps: Tuple[Tuple[int, int, int], ...]
    new: int


@dataclass(frozen=True)
class Map:
    """A parsed map.

    :param image: id of the image that it makes.
    :param base: id of the image that it starts from; ``None`` for a pack, which needs none.
    :param size: of the image in bytes.
    """

    image: str
    base: Optional[str]
    size: int
    frames: Tuple[Frame, ...]

    def blocks(self, frame: Frame) -> int:
        """How many blocks the windows of a frame have."""
        start = frame.first * WINDOW
        return (min(start + frame.windows * WINDOW, self.size) - start) // GRID


def parse_map(raw: bytes, data_size: int) -> Map:
    """Parse a map.

    :param raw: the published file; its digest was compared with the manifest's.
    :param data_size: size of the file with the payloads, as the manifest says it, in bytes.
    :raises BadMap: when anything in it is impossible.
    """
    try:
        return _parse(Reader(codec.unpack_all(raw, MAX_MAP)), data_size)
    except (Truncated, codec.BadPayload) as error:
        raise BadMap("the map is damaged: {0}".format(error))


def _parse(reader: Reader, data_size: int) -> Map:
    if reader.take(len(MAGIC)) != MAGIC:
        raise BadMap("the map has a format that this version of nanozfs.fleet does not know")
    image, base = reader.take(32).hex(), reader.take(32).hex()
    size, count = reader.number(), reader.number()
    total = -(-size // WINDOW)
    if size <= 0 or size % GRID or count > total:
        raise BadMap("the sizes in the map do not fit together")
    frames: List[Frame] = []
    window = offset = 0
    for _number in range(count):
        windows, length, method = reader.number(), reader.number(), reader.number()
        digest, unpacked = (reader.take(32), reader.number()) if length else (b"", 0)
        recipe = reader.take(reader.number())
        if not 0 < windows <= MAX_WINDOWS or method > PATCH or (method != NOTHING and not length):
            raise BadMap("the map describes frame {0} in no way that can be used".format(_number))
        if unpacked > MAX_NEW + MAX_CONTROL:
            raise BadMap("frame {0} would unpack to {1} bytes".format(_number, unpacked))
        frames.append(Frame(window, windows, offset, length, digest, method, unpacked, recipe))
        window += windows
        offset += length
    if window != total or offset != data_size or not reader.at_end():
        raise BadMap("the map does not describe the whole image")
    return Map(image, None if base == "0" * 64 else base, size, tuple(frames))


def parse_recipe(frame: Frame, blocks: int) -> Recipe:
    """Parse the recipe of a frame.

    :param blocks: how many blocks it has to make.
    :raises BadMap: when it makes more or fewer, or asks for more memory than is allowed.
    """
    try:
        return _recipe(Reader(frame.recipe), frame, blocks)
    except Truncated as error:
        raise BadMap("the recipe of the frame at window {0} is damaged: {1}".format(frame.first, error))


def _recipe(reader: Reader, frame: Frame, blocks: int) -> Recipe:
    wrong = "the recipe of the frame at window {0} is impossible".format(frame.first)
    reference: List[Tuple[int, int]] = []
    expected = room = 0
    for _number in range(reader.number()):
        first = expected + reader.signed()
        count = reader.number()
        room += count
        if first < 0 or not count > 0 or room * GRID > MAX_REFERENCE:
            raise BadMap(wrong)
        reference.append((first, count))
        expected = first + count
    steps: List[Tuple[int, int, int]] = []
    made = new = expected = 0
    while made < blocks:
        word = reader.number()
        kind, count = word & 3, word >> 2
        made += count
        block = 0
        if kind == COPY:
            block = expected + reader.signed()
            expected = block + count
        elif kind == NEW:
            new += count
        if kind > COPY or not count > 0 or made > blocks or block < 0:
            raise BadMap(wrong)
        steps.append((kind, count, block))
    if not reader.at_end() or new * GRID > MAX_NEW or bool(new) != frame.fetched:
        raise BadMap(wrong)
    if frame.method == LITERAL and frame.unpacked != new * GRID:
        raise BadMap(wrong)
    return Recipe(tuple(reference), tuple(steps), new)


def unpack(frame: Frame, payload: bytes, name: str) -> bytes:
    """A payload, compared with its digest and then unpacked.

    :param name: codec of the file it is from.
    :raises BadMap: when it is not what the map says.
    """
    if len(payload) != frame.size or hashlib.sha256(payload).digest() != frame.sha256:
        raise BadMap(
            "the payload of the frame at window {0} holds other bytes than the manifest says".format(frame.first)
        )
    try:
        return codec.unpack(name, payload, frame.unpacked)
    except codec.BadPayload as error:
        raise BadMap("the payload of the frame at window {0} is damaged: {1}".format(frame.first, error))


def new_blocks(frame: Frame, recipe: Recipe, unpacked: bytes, base: Optional[ReadInto]) -> memoryview:
    """The new blocks of a frame, one after the other.

    :param base: reads the base; ``None`` when there is none.
    :raises BadMap: when the payload does not give them.
    """
    size = recipe.new * GRID
    if frame.method != PATCH:
        if len(unpacked) != size:
            raise BadMap("the payload of the frame at window {0} has the wrong size".format(frame.first))
        return memoryview(unpacked)
    if base is None:
        raise BadMap("the frame at window {0} needs a base, and there is none".format(frame.first))
    reference = bytearray(sum(count for _first, count in recipe.reference) * GRID)
    at = 0
    with memoryview(reference) as view:
        for first, count in recipe.reference:
            base(first * GRID, view[at : at + count * GRID])
            at += count * GRID
    try:
        return memoryview(patch.apply(reference, unpacked, size))
    except patch.BadPatch as error:
        raise BadMap("the patch of the frame at window {0} is damaged: {1}".format(frame.first, error))


def windows_of(
    frame: Frame, recipe: Recipe, new: memoryview, base: Optional[ReadInto], wanted: Callable[[int], bool]
) -> Iterator[Tuple[int, memoryview]]:
    """The wanted windows of a frame, in order. The memory handed out is used again for the next one.

    :raises BadMap: when a block is to be copied and there is no base.
    """
    buffer = memoryview(bytearray(WINDOW))
    window, filled, used = frame.first, 0, 0
    keep = wanted(window)
    for kind, count, block in recipe.steps:
        left, source = count * GRID, block * GRID
        while left:
            length = min(left, WINDOW - filled)
            if keep:
                into = buffer[filled : filled + length]
                if kind == COPY:
                    if base is None:
                        raise BadMap("the frame at window {0} needs a base, and there is none".format(frame.first))
                    base(source, into)
                elif kind == NEW:
                    into[:] = new[used : used + length]
                else:
                    into[:] = bytes(length)
            source += length
            used += length if kind == NEW else 0
            filled += length
            left -= length
            if filled == WINDOW:
                if keep:
                    yield window, buffer
                window, filled = window + 1, 0
                keep = wanted(window)
    if filled and keep:
        yield window, buffer[:filled]
