# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Numbers of variable length in maps and patches: seven bits a byte, the lowest first (LEB128)."""

from __future__ import annotations

#: no number in our formats needs more bits
MAX_BITS = 63


class Truncated(Exception):
    """The data end too early, or hold a number that is too large."""


class Reader:
    """Reads through data from the beginning to the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        """The next number, which is not negative.

        :raises Truncated: when there is none.
        """
        result = shift = 0
        while True:
            if self._at >= len(self._data) or shift > MAX_BITS:
                raise Truncated("no number at byte {0}".format(self._at))
            byte = self._data[self._at]
            self._at += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7

    def signed(self) -> int:
        """The next number, which may be negative (zigzag: 0, -1, 1, -2 are 0, 1, 2, 3)."""
        number = self.number()
        return -(number + 1 >> 1) if number & 1 else number >> 1

    def take(self, length: int) -> bytes:
        """The next bytes.

        :raises Truncated: when there are fewer.
        """
        end = self._at + length
        if end > len(self._data):
            raise Truncated("{0} bytes are missing".format(end - len(self._data)))
        found = self._data[self._at : end]
        self._at = end
        return found

    def rest(self) -> memoryview:
        """Everything that is left, without a copy."""
        return memoryview(self._data)[self._at :]

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def write_number(number: int) -> bytes:
    """A number that is not negative."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def write_signed(number: int) -> bytes:
    """A number that may be negative."""
    return write_number(number << 1 if number >= 0 else (-number << 1) - 1)
