# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Patches: new bytes as changes to a reference, in the manner of bsdiff.

A patch is a number of instructions, each of them three numbers (how many bytes to add to the reference, how many to
insert, how far to move in the reference), and then all bytes to add, and all bytes to insert. Source of the idea: Colin
Percival, "Naive differences of executable code", https://www.daemonology.net/bsdiff/.
"""

from __future__ import annotations

from typing import Iterator, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.varint import (
    Reader,
    Truncated,
    write_number,
    write_signed,
)

#: how many bytes are added at once, as one large number
STEP = 1 << 16
#: a stretch that did not change is all zeros
_ZEROS = bytes(STEP)
_LOW = int.from_bytes(b"\x7f" * STEP, "little")
_HIGH = int.from_bytes(b"\x80" * STEP, "little")


class BadPatch(Exception):
    """A patch that does not make sense."""


def add(one: memoryview, other: memoryview) -> bytes:
    """The sum of two stretches of the same length, at most :data:`STEP` bytes, byte by byte and modulo 256.

    All bytes at once, in one large number: the upper bit of each byte is added without its carry, so that none gets
    into the next byte.
    """
    left, right = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    return (((left & _LOW) + (right & _LOW)) ^ ((left ^ right) & _HIGH)).to_bytes(len(one), "little")


def _add_into(out: memoryview, reference: memoryview, change: memoryview) -> None:
    for start in range(0, len(change), STEP):
        piece = change[start : start + STEP]
        length = len(piece)
        if bytes(piece) == _ZEROS[:length]:  # of bytes, because memoryviews compare slowly
            out[start : start + length] = reference[start : start + length]
            continue
        out[start : start + length] = add(reference[start : start + length], piece)


def _instructions(reader: Reader) -> Iterator[Tuple[int, int, int]]:
    for _number in range(reader.number()):
        yield reader.number(), reader.number(), reader.signed()


def apply(reference: bytearray, patch: bytes, size: int) -> bytearray:
    """The new bytes.

    :param size: how many there must be.
    :raises BadPatch: when the patch gives more or fewer, or reaches outside of the reference.
    """
    reader = Reader(patch)
    try:
        instructions = list(_instructions(reader))
    except Truncated as error:
        raise BadPatch(str(error))
    rest = reader.rest()
    added = sum(each[0] for each in instructions)
    if added + sum(each[1] for each in instructions) != size or len(rest) != size:
        raise BadPatch("it gives another number of bytes than {0}".format(size))
    changes, inserts = rest[:added], rest[added:]
    out = bytearray(size)
    place = change = insert = at = 0
    with memoryview(out) as view, memoryview(reference) as old:
        for add_length, insert_length, move in instructions:
            if add_length and not 0 <= place <= len(old) - add_length:
                raise BadPatch("it reaches outside of its reference")
            _add_into(
                view[at : at + add_length], old[place : place + add_length], changes[change : change + add_length]
            )
            at, change, place = at + add_length, change + add_length, place + add_length + move
            view[at : at + insert_length] = inserts[insert : insert + insert_length]
            at, insert = at + insert_length, insert + insert_length
    return out


def build(instructions: Sequence[Tuple[int, int, int]], changes: bytes, inserts: bytes) -> bytes:
    """A patch in the form that :func:`apply` reads."""
    numbers = [write_number(adds) + write_number(insert) + write_signed(move) for adds, insert, move in instructions]
    return write_number(len(instructions)) + b"".join(numbers) + changes + inserts
