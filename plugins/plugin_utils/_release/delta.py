# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deltas: an image as what has to be changed in another one.

Blocks that the old image has anywhere are copied. The others belong to files, most of which the old image has as well,
in an earlier version: they become a patch to that. Which blocks are whose is found by walking both file systems; a
wrong guess costs bytes but never makes a wrong image.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import NotUfs, Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import patch
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    COPY,
    LITERAL,
    MAX_REFERENCE,
    MAX_WINDOWS,
    NEW,
    NOTHING,
    PATCH,
    ZERO,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, WINDOW
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.maps import (
    Draft,
    Placed,
    Step,
    pack_payload,
    place,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.pack import Tick, cores, in_order

try:
    import bsdiff4
except ImportError:  # deltas become larger without it, and are still deltas
    bsdiff4 = None

#: new blocks that go into one frame (blocks)
FRAME = WINDOW // GRID
#: how far around the place where it should be, a piece of a file is looked for in the old version (blocks)
SLACK = WINDOW // GRID
PER_WINDOW = WINDOW // GRID

_ZERO = hashlib.sha256(bytes(GRID)).digest()[:16]
_PRESET = 9 | lzma.PRESET_EXTREME


def has_bsdiff() -> bool:
    """Whether patches can be made here."""
    return bsdiff4 is not None


def block_digests(image: BinaryIO) -> List[bytes]:
    """A digest of each block, 16 bytes long."""
    image.seek(0)
    found: List[bytes] = []
    for piece in iter(lambda: image.read(WINDOW), b""):
        found.extend(hashlib.sha256(piece[at : at + GRID]).digest()[:16] for at in range(0, len(piece), GRID))
    return found


def steps_of(old: Sequence[bytes], new: Sequence[bytes]) -> List[Step]:
    """What each block of the new image is, one step for each."""
    where: Dict[bytes, int] = {}
    for number, digest in enumerate(old):
        where.setdefault(digest, number)
    steps: List[Step] = []
    following = -1
    for digest in new:
        if digest == _ZERO:
            steps.append((ZERO, 1, 0))
            continue
        if 0 <= following < len(old) and old[following] == digest:
            block: Optional[int] = following
        else:
            block = where.get(digest)
        steps.append((NEW, 1, 0) if block is None else (COPY, 1, block))
        following = -1 if block is None else block + 1
    return steps


def joined(steps: Sequence[Step]) -> List[Step]:
    """Neighbouring steps that go on with each other become one."""
    out: List[Step] = []
    for kind, count, block in steps:
        if out and out[-1][0] == kind and (kind != COPY or out[-1][2] + out[-1][1] == block):
            out[-1] = (kind, out[-1][1] + count, out[-1][2])
        else:
            out.append((kind, count, block))
    return out


@dataclass(frozen=True)
class Contents:
    """Where the files of an image are: for each path the blocks of its content, in order; -1 for a hole."""

    files: Dict[str, List[int]]

    def owners(self) -> Dict[int, Tuple[str, int]]:
        """For each block whose it is, and which of the file's blocks."""
        found: Dict[int, Tuple[str, int]] = {}
        for path, blocks in self.files.items():
            for number, block in enumerate(blocks):
                if block >= 0:
                    found[block] = (path, number)
        return found


def contents_of(image: BinaryIO) -> Contents:
    """Walk the file system of an image, UFS1 or UFS2. Of anything else nothing is known."""

    def read_at(offset: int, length: int) -> bytes:
        return os.pread(image.fileno(), length, offset)

    files: Dict[str, List[int]] = {}
    try:
        for path, places in Ufs(read_at).walk():
            blocks: List[int] = []
            for offset, length in places:
                count = -(-length // GRID)
                blocks.extend(range(offset // GRID, offset // GRID + count) if offset else [-1] * count)
            files[path] = blocks
    except (NotUfs, struct.error, OSError, RecursionError):
        return Contents({})
    return Contents(files)


def _shape(path: str) -> str:
    """A path without its numbers: the kernel module of another version has the same."""
    return re.sub(r"[0-9]+", "#", path)


class Ancestors:
    """Which old file a new one comes from."""

    def __init__(self, old: Contents) -> None:
        self._old = old
        self._shapes: Dict[str, List[str]] = {}
        for path in sorted(old.files):
            for key in (_shape(path), _shape(path.rpartition("/")[2])):
                self._shapes.setdefault(key, []).append(path)

    def find(self, path: str, length: int) -> Optional[List[int]]:
        """The blocks of the old version of a file.

        :param length: of the new version, in blocks.
        """
        if path in self._old.files:
            return self._old.files[path]
        for key in (_shape(path), _shape(path.rpartition("/")[2])):
            if key in self._shapes:
                alike = self._shapes[key]
                return self._old.files[min(alike, key=lambda each: (abs(len(self._old.files[each]) - length), each))]
        return None


def reference_of(
    blocks: Sequence[int], owners: Dict[int, Tuple[str, int]], new: Contents, old: Ancestors, old_blocks: int
) -> List[Tuple[int, int]]:
    """The runs of the old image that the given new blocks should be a patch to.

    What belongs to no file (inodes, tables of the file system) is expected where it was.
    """
    slack = SLACK
    while True:
        wanted = set()
        for block in blocks:
            if block not in owners:
                if block < old_blocks:
                    wanted.add(block)
                continue
            path, number = owners[block]
            length = len(new.files[path])
            before = old.find(path, length)
            if not before:
                continue
            middle = number * len(before) // length
            first, last = min(middle, number) - slack, max(middle, number) + slack
            wanted.update(before[max(0, first) : last + 1])
        wanted.discard(-1)
        if len(wanted) * GRID <= MAX_REFERENCE:
            break
        if slack == 0:
            wanted = set(sorted(wanted)[: MAX_REFERENCE // GRID])
            break
        slack //= 2
    runs: List[Tuple[int, int]] = []
    for block in sorted(wanted):
        if runs and runs[-1][0] + runs[-1][1] == block:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((block, 1))
    return runs


def group(steps: Sequence[Step]) -> Iterator[Tuple[int, List[Step]]]:
    """Divide an image into frames: the first block of each, and its steps."""
    start, frame, new = 0, [], 0  # type: int, List[Step], int
    for at in range(0, len(steps), PER_WINDOW):
        window = list(steps[at : at + PER_WINDOW])
        more = sum(1 for kind, _count, _block in window if kind == NEW)
        if frame and (new + more > FRAME or len(frame) >= MAX_WINDOWS * PER_WINDOW):
            yield start, frame
            start, frame, new = at, [], 0
        frame += window
        new += more
    if frame:
        yield start, frame


def make_patch(reference: bytes, content: bytes) -> bytes:
    """A patch by bsdiff, in the form that hosts read."""
    raw = bsdiff4.diff(reference, content)
    # the format of bsdiff(1): BSDIFF40, three lengths, three bzip2 streams
    lengths = [_offset(raw[at : at + 8]) for at in (8, 16)]
    control, changes, inserts = (
        bz2.decompress(raw[start:end])
        for start, end in ((32, 32 + lengths[0]), (32 + lengths[0], 32 + sum(lengths)), (32 + sum(lengths), len(raw)))
    )
    numbers = [_offset(control[at : at + 8]) for at in range(0, len(control), 8)]
    return patch.build(list(zip(numbers[::3], numbers[1::3], numbers[2::3])), changes, inserts)


def _offset(raw: bytes) -> int:
    """A number of bsdiff's: 63 bits, little-endian, the top bit is its sign."""
    number = int.from_bytes(raw, "little")
    return -(number & ~(1 << 63)) if number >> 63 else number


def _payload(content: bytes, reference: bytes, name: str) -> Tuple[int, bytes, int]:
    """Method, compressed payload and its size before that, whichever is smallest."""
    choices = []
    if reference and bsdiff4 is not None:
        patched = make_patch(reference, content)
        choices.append((PATCH, pack_payload(patched, name, _PRESET), len(patched)))
    if not choices or len(choices[0][1]) > len(content) // 4:
        choices.append((LITERAL, pack_payload(content, name, _PRESET), len(content)))
    return min(choices, key=lambda choice: len(choice[1]))


def make_delta(old: BinaryIO, new: BinaryIO, out: BinaryIO, name: str, tick: Tick) -> List[Placed]:
    """Write the payloads of a delta.

    :param old: the image to start from.
    :param new: the image to make.
    :param name: the codec.
    :param tick: told how many blocks are done.
    """
    before, after = block_digests(old), block_digests(new)
    steps = steps_of(before, after)
    contents, ancestors = contents_of(new), Ancestors(contents_of(old))
    owners = contents.owners()

    def draft(start: int, frame: List[Step]) -> Draft:
        blocks = [start + number for number, step in enumerate(frame) if step[0] == NEW]
        windows = -(-len(frame) // PER_WINDOW)
        if not blocks:
            return Draft(windows, joined(frame), NOTHING)
        content = b"".join(os.pread(new.fileno(), GRID, block * GRID) for block in blocks)
        runs = reference_of(blocks, owners, contents, ancestors, len(before)) if bsdiff4 is not None else []
        reference = b"".join(os.pread(old.fileno(), count * GRID, first * GRID) for first, count in runs)
        method, payload, unpacked = _payload(content, reference, name)
        return Draft(windows, joined(frame), method, payload, unpacked, runs if method == PATCH else ())

    def tasks() -> Iterator[Callable[[], Draft]]:
        for start, frame in group(steps):
            yield lambda start=start, frame=frame: draft(start, frame)  # type: ignore[misc]

    frames: List[Placed] = []
    done = 0
    for each in in_order(cores(), tasks()):
        frames.append(place(out, each))
        done += each.windows * PER_WINDOW
        tick(min(done, len(after)), len(after))
    return frames
