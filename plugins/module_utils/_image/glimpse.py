# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Looking into a published image that is not on the host yet, fetching no more of it than what is looked at.

It is made as a write would make it, window by window: what the slice to be written holds already is read there, the
rest comes from the delta or pack that was chosen. Each window is compared with its digest, which the signed manifest
vouches for, before a byte of it is believed.
"""

from __future__ import annotations

import hashlib
from typing import Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Plan
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.fetch import payloads
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    BadMap,
    Frame,
    ReadInto,
    Recipe,
    new_blocks,
    parse_recipe,
    windows_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.windows import Windows

#: of how many frames the new blocks are kept; each has 2 MiB of them at most
_FRAMES = 16


class TooMuch(FleetError):
    """More would have to be fetched than may be."""


class Glimpse:
    """A published image, as a thing to read from.

    :param windows: its digests.
    :param plan: how a write would make what the slice does not hold; ``None`` where it holds all of it.
    :param target: the slice.
    :param base: reads the image that a delta starts from.
    """

    def __init__(
        self,
        repository: Repository,
        windows: Windows,
        plan: Optional[Plan],
        target: Device,
        base: Optional[ReadInto] = None,
    ) -> None:
        self._repository = repository
        self._windows = windows
        self._plan = plan
        self._target = target
        self._base = base
        self._wrong = frozenset(plan.wrong if plan is not None else ())
        self._made: Dict[int, bytes] = {}
        self._new: Dict[int, memoryview] = {}
        self._fetched = 0

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the image, fewer at its end.

        :param offset: where they begin; bytes.
        :param length: how many; bytes.
        :raises FleetError: when they cannot be had, or are not what is signed.
        """
        parts: List[bytes] = []
        end = min(offset + length, self._windows.size)
        while offset < end:
            index, at = divmod(offset, self._windows.window)
            count = min(self._windows.window - at, end - offset)
            parts.append(self._part(index, at, count))
            offset += count
        return b"".join(parts)

    def _part(self, index: int, at: int, count: int) -> bytes:
        if index not in self._wrong:
            return self._target.read(index * self._windows.window + at, count)
        if index not in self._made:
            self._made[index] = self._window(index)
        return self._made[index][at : at + count]

    def _window(self, index: int) -> bytes:
        frame, found = self._frame(index)
        recipe = parse_recipe(frame, found.map.blocks(frame))
        new = memoryview(b"")
        if frame.fetched:
            new = self._blocks(frame, recipe, found)
        for _number, view in windows_of(frame, recipe, new, self._base, lambda each: each == index):
            content = bytes(view)
            if hashlib.sha256(content).digest() == self._windows.digests[index]:
                return content
        raise BadMap("window {0} of the image does not come out as it is signed".format(index))

    def _blocks(self, frame: Frame, recipe: Recipe, found: Plan) -> memoryview:
        """The new blocks of a frame, which one of a delta has for very many windows: it is not fetched for each."""
        if frame.first not in self._new:
            self._spend(frame, found.wishes.max_transfer)
            stream = payloads(self._repository, found.offer.data.name, found.offer.codec, [frame], 1)
            blocks = new_blocks(frame, recipe, next(stream)[1], self._base)
            while len(self._new) >= _FRAMES:
                del self._new[next(iter(self._new))]
            self._new[frame.first] = blocks
        return self._new[frame.first]

    def _frame(self, index: int) -> Tuple[Frame, Plan]:
        for frame in self._plan.frames if self._plan is not None else ():
            if frame.first <= index < frame.first + frame.windows:
                return frame, self._plan  # type: ignore[return-value]
        raise BadMap("nothing that is published makes window {0} of the image".format(index))

    def _spend(self, frame: Frame, most: Optional[int]) -> None:
        self._fetched += frame.size
        if most is not None and self._fetched > most:
            raise TooMuch("more than {0} bytes would have to be fetched for it (max_transfer)".format(most))
