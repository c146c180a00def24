# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Fetching the payloads of frames: in order, over several connections, and never much ahead of what is written.

Neighbouring payloads are asked for in one range, ranges are dealt out to the connections in turn. Each connection holds
at most one payload that is not written yet: what a broken-off write has to fetch again is at most that. Meanwhile the
kernel goes on filling the connection's receive buffer, so that one does not wait for the other.
"""

from __future__ import annotations

import threading
from queue import Queue
from typing import Generator, List, NamedTuple, Optional, Sequence, Tuple, Union

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import BadMap, Frame, unpack
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository

#: what is not needed and lies between frames that are, is fetched as well up to this size: a request costs more (bytes)
GAP = 64 << 10
#: how large a range is, at least and at most (bytes)
SMALLEST, LARGEST = 1 << 20, 16 << 20
#: more connections would take more memory than there is for this, and hardly be any quicker
MOST = 4
#: how many ranges there should be, if they do not become too small or too large by that
RANGES = 8


class Range(NamedTuple):
    """A part of a file with frames in it. Sizes in bytes."""

    offset: int
    length: int
    frames: Tuple[Frame, ...]


def ranges_of(frames: Sequence[Frame], connections: int) -> List[Range]:
    """The ranges to ask for.

    :param frames: those that are needed, in order.
    :param connections: with only one, ranges are as large as they can be.
    """
    total = sum(frame.size for frame in frames)
    largest = max(SMALLEST, min(LARGEST, -(-total // RANGES))) if connections > 1 else total
    found: List[List[Frame]] = []
    for frame in frames:
        if found:
            first, last = found[-1][0], found[-1][-1]
            end = last.offset + last.size
            if frame.offset - end <= GAP and frame.offset + frame.size - first.offset <= largest:
                found[-1].append(frame)
                continue
        found.append([frame])
    return [Range(g[0].offset, g[-1].offset + g[-1].size - g[0].offset, tuple(g)) for g in found]


class _Cutter:
    """Cuts the payloads of a range out of the bytes that come."""

    def __init__(self, repository: Repository, name: str, part: Range, ranged: bool = True) -> None:
        self._pieces = repository.stream(name, part.offset, part.length, ranged)
        self._buffer = bytearray()
        self._at = part.offset

    def take(self, frame: Frame) -> bytes:
        end = frame.offset + frame.size
        while self._at + len(self._buffer) < end:
            self._buffer += next(self._pieces)
            skip = min(max(0, frame.offset - self._at), len(self._buffer))
            del self._buffer[:skip]
            self._at += skip
        start = frame.offset - self._at
        payload = bytes(self._buffer[start : start + frame.size])
        del self._buffer[: start + frame.size]
        self._at = end
        return payload


def _content(repository: Repository, name: str, codec: str, cutter: _Cutter, frame: Frame) -> bytes:
    """What the next payload unpacks to; from the repository itself, where that of a relay is wrong.

    :raises BadMap: when it is not what the map says.
    """
    payload = cutter.take(frame)

    def unpacked(where: Repository) -> bytes:
        alone = Range(frame.offset, frame.size, (frame,))
        found = payload if where is repository else _Cutter(where, name, alone).take(frame)
        return unpack(frame, found, codec)

    return repository.believed(name, unpacked, BadMap)


class _Connection(threading.Thread):
    """Fetches and unpacks every so-manieth range."""

    def __init__(self, repository: Repository, name: str, codec: str, parts: Sequence[Range]) -> None:
        super().__init__(daemon=True)  # one that waits for a dead server must not keep the program from ending
        self._repository, self._name, self._codec, self._parts = repository, name, codec, parts
        self._room = threading.Semaphore(1)
        self._stopped = False
        self._done: Queue = Queue()

    def run(self) -> None:
        """The thread: an exception is handed over in place of a payload."""
        try:
            for part in self._parts:
                cutter = _Cutter(self._repository, self._name, part)
                for frame in part.frames:
                    self._room.acquire()
                    if self._stopped:
                        return
                    self._done.put(_content(self._repository, self._name, self._codec, cutter, frame))
        except Exception as error:
            self._done.put(error)

    def next(self) -> bytes:
        """What the next frame unpacks to."""
        found: Union[bytes, Exception] = self._done.get()
        if isinstance(found, Exception):
            raise found
        return found

    def written(self) -> None:
        """The frame that was handed out last is written: the next one may come."""
        self._room.release()

    def stop(self) -> None:
        """Fetch no more."""
        self._stopped = True
        self._room.release()


def payloads(
    repository: Repository,
    name: str,
    codec: str,
    frames: Sequence[Frame],
    connections: int,
    whole: Optional[int] = None,
) -> Generator[Tuple[Frame, bytes], None, None]:
    """The unpacked payloads of frames, in order.

    :param name: the file that they are in.
    :param frames: frames that have a payload, in order.
    :param connections: how many to use at most.
    :param whole: the size of the file in bytes, to read all of it from its beginning instead of ranges.
    :raises FleetError: when they cannot be had or are not what the map says.
    """
    connections = min(connections, MOST) if repository.parallel else 1
    parts = ranges_of(frames, connections) if whole is None else [Range(0, whole, tuple(frames))]
    if connections <= 1 or len(parts) <= 1:
        for part in parts:
            cutter = _Cutter(repository, name, part, ranged=whole is None)
            for frame in part.frames:
                yield frame, _content(repository, name, codec, cutter, frame)
        return
    count = min(connections, len(parts))
    workers = [_Connection(repository, name, codec, parts[number::count]) for number in range(count)]
    try:
        for worker in workers:
            worker.start()
        for number, part in enumerate(parts):
            worker = workers[number % count]
            for frame in part.frames:
                yield frame, worker.next()
                worker.written()
    finally:
        for worker in workers:
            worker.stop()
