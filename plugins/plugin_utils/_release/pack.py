# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The full pack of an image: one xz stream for each MiB of it.

The file as a whole is an ordinary .xz file of the image: ``xz -dc`` makes the image out of it on any machine, and a
medium is put together from the same streams without compressing anything twice.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Callable, Iterator, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import LITERAL, NEW, NOTHING, ZERO
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, WINDOW
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.maps import Draft, Placed, pack_payload, place
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._xz import compress_xz, filters

#: told how much is done, of how much
Tick = Callable[[int, int], None]


def cores() -> int:
    """How many threads to use: compressing and making differences happens outside of Python's lock."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def windows(image: BinaryIO) -> Iterator[bytes]:
    """The windows of an image, in order."""
    image.seek(0)
    return iter(lambda: image.read(WINDOW), b"")


def zero_stream(length: int) -> bytes:
    """The xz stream for *length* zero bytes."""
    return compress_xz(bytes(length), filters(length))


def _draft(content: bytes, name: str) -> Draft:
    blocks = len(content) // GRID
    if not content.strip(b"\0"):
        # in the file, so that this stays an .xz file of the whole image; but never fetched
        payload = zero_stream(len(content)) if name == codec.XZ else b""
        return Draft(1, [(ZERO, blocks, 0)], NOTHING, payload, len(content) if payload else 0)
    return Draft(1, [(NEW, blocks, 0)], LITERAL, pack_payload(content, name), len(content))


def in_order(workers: int, tasks: Iterator[Callable[[], Draft]]) -> Iterator[Draft]:
    """The results of tasks in their order, without having more than a few of them in memory."""
    with ThreadPoolExecutor(workers) as pool:
        running: List = []
        for task in tasks:
            running.append(pool.submit(task))
            if len(running) > 2 * workers:
                yield running.pop(0).result()
        for each in running:
            yield each.result()


def make_pack(image: BinaryIO, size: int, out: BinaryIO, name: str, tick: Tick) -> List[Placed]:
    """Write the pack of an image.

    :param size: of the image in bytes.
    :param name: the codec.
    :param tick: told how many windows are done.
    """
    frames: List[Placed] = []
    total = -(-size // WINDOW)

    def tasks() -> Iterator[Callable[[], Draft]]:
        for content in windows(image):
            yield lambda content=content: _draft(content, name)  # type: ignore[misc]

    for draft in in_order(cores(), tasks()):
        frames.append(place(out, draft))
        tick(len(frames), total)
    return frames
