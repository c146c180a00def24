# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a relay keeps: chunks of published files, in a folder of a bounded size.

Each chunk is a file with its digest behind it, so one that was torn by a power cut or has rotted is never served; it
does not count as there, and is fetched again. What was used the longest time ago goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections import OrderedDict
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: how large a chunk is (bytes): what is fetched beyond what somebody asked for is less than two of them
CHUNK = 256 << 10

_DIGEST = hashlib.sha256().digest_size
_FOLDER = re.compile(r"[0-9a-f]{64}\.[A-Za-z0-9._-]+$")
_CHUNK = re.compile(r"[0-9]{1,9}$")


class Place(NamedTuple):
    """A chunk: the name under which its file is kept, and its number."""

    key: str
    number: int


class Store:
    """A folder with chunks.

    :param folder: it is made if need be. What is in it and looks like something else is left alone.
    :param limit: how large all chunks together may be (bytes).
    :raises FleetError: when the folder cannot be used.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self._folder = os.path.join(folder, "chunks")
        self._limit = limit
        self._lock = threading.Lock()
        #: sizes of the files, the one that was used the longest time ago first
        self._sizes: OrderedDict[Place, int] = OrderedDict()
        self._total = 0
        try:
            os.makedirs(self._folder, exist_ok=True)
            self._find()
        except OSError as error:
            raise FleetError(
                "{0} cannot be used: {1}".format(error.filename or self._folder, error.strerror),
                todo="give the relay a folder of its own, on the pool, that its user may write to",
            )

    def _find(self) -> None:
        """What is there from before: the last use is the time of the file."""
        found: List[Tuple[float, Place, int]] = []
        for folder in os.scandir(self._folder):
            if not _FOLDER.match(folder.name) or not folder.is_dir(follow_symlinks=False):
                continue
            for file in os.scandir(folder.path):
                if file.name.endswith(".part"):  # of a relay that was killed
                    os.unlink(file.path)
                elif _CHUNK.match(file.name) and file.is_file(follow_symlinks=False):
                    seen = file.stat(follow_symlinks=False)
                    found.append((seen.st_mtime, Place(folder.name, int(file.name)), seen.st_size))
        for _used, place, size in sorted(found):
            self._sizes[place] = size
            self._total += size
        self._make_room(0)

    def _path(self, place: Place) -> str:
        return os.path.join(self._folder, place.key, str(place.number))

    @property
    def total(self) -> int:
        """How large everything is together (bytes)."""
        return self._total

    def has(self, place: Place) -> bool:
        """Whether a chunk seems to be there."""
        return place in self._sizes

    def read(self, place: Place) -> Optional[bytes]:
        """A chunk; ``None`` where it is not there, or not as it was written."""
        if not self.has(place):
            return None
        try:
            with open(self._path(place), "rb") as file:
                raw = file.read(CHUNK + _DIGEST + 1)
            os.utime(self._path(place))
        except OSError:
            self._forget(place)
            return None
        data, digest = raw[:-_DIGEST], raw[-_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            self._forget(place)
            return None
        with self._lock:
            if place in self._sizes:
                self._sizes.move_to_end(place)
        return data

    def write(self, place: Place, data: bytes) -> None:
        """Keep a chunk, in place of those that were used the longest time ago.

        :raises OSError: when that is not possible; what is there is as it was.
        """
        size = len(data) + _DIGEST
        with self._lock:
            self._make_room(size)
        path = self._path(place)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = "{0}.{1}.part".format(path, threading.get_ident())
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.write(hashlib.sha256(data).digest())
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
        with self._lock:
            self._total += size - self._sizes.pop(place, 0)
            self._sizes[place] = size

    def _make_room(self, size: int) -> None:
        while self._sizes and self._total + size > self._limit:
            place, gone = self._sizes.popitem(last=False)
            self._total -= gone
            self._unlink(place)

    def _unlink(self, place: Place) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path(place))
        with contextlib.suppress(OSError):  # not the last one
            os.rmdir(os.path.dirname(self._path(place)))

    def _forget(self, place: Place) -> None:
        with self._lock:
            self._total -= self._sizes.pop(place, 0)
            self._unlink(place)

    def drop(self, key: str) -> None:
        """Keep nothing of a file any more."""
        for place in [each for each in self._sizes.copy() if each.key == key]:
            self._forget(place)

    def pieces(self, key: str, count: int) -> Iterator[Optional[bytes]]:
        """The chunks of a file in order."""
        return (self.read(Place(key, index)) for index in range(count))
