# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole OS medium as one file: installer, recovery stick and replacement medium at once."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from typing import BinaryIO, Iterator, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._gpt import (
    ATTRIBUTES,
    SECTOR,
    TYPES,
    Entry,
    GptError,
    Table,
    new_table,
    protective_mbr,
    write_table,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.maps import compress_xz, filters
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.pack import zero_stream

MIB = 1 << 20
ALIGN = MIB

#: gptboot(8) reads at most 545 KiB of code; a partition of 512 KiB holds it with room to spare
BOOT_SIZE = 512 << 10
STATE_SIZE = MIB

#: names the disk and partition guids of every medium that we make; two media of one image are identical
NAMESPACE = uuid.UUID("6f2c0a4e-4b0e-5c0e-9a52-0d6f5d3a7e11")


#: nz-state holds no file system and must never look like a slice to gptboot
STATE_TYPE = uuid.UUID("8f3b1d5a-96f6-5d4b-8a33-1c9b5a0f4e21")


class MediumError(FleetError):
    """The medium cannot be put together."""


@dataclass(frozen=True)
class Part:
    """A partition of the layout: fixed index, label, type, size in bytes."""

    index: int
    label: str
    kind: uuid.UUID
    size: int


def layout(slice_size: int, swap_size: int = 0) -> List[Part]:
    """The partitions of a GPT medium (docs/layout.md). The indices are the same in every layout; 1 is for the ESP.

    :param slice_size: size of each of the three OS slices in bytes.
    :param swap_size: in bytes; 0 for none.
    """
    parts = [
        Part(2, "nz-boot", TYPES["freebsd-boot"], BOOT_SIZE),
        Part(3, "nz-recovery", TYPES["freebsd-ufs"], slice_size),
        Part(4, "nz-a", TYPES["freebsd-ufs"], slice_size),
        Part(5, "nz-b", TYPES["freebsd-ufs"], slice_size),
        Part(6, "nz-state", STATE_TYPE, STATE_SIZE),
    ]
    if swap_size:
        parts.append(Part(7, "nz-swap", TYPES["freebsd-swap"], swap_size))
    return parts


def table_for(parts: List[Part], seed: str, active: Optional[str]) -> Table:
    """The partition table of a layout.

    :param seed: what the guids are made from.
    :param active: label of the partition that gets bootme.
    """
    end = ALIGN
    places = []
    for part in parts:
        first = end // SECTOR
        last = first + -(-part.size // SECTOR) - 1
        places.append((part, first, last))
        end = -(-((last + 1) * SECTOR) // ALIGN) * ALIGN
    table = new_table((end + ALIGN) // SECTOR, uuid.uuid5(NAMESPACE, seed))
    for part, first, last in places:
        flags = ATTRIBUTES["bootme"] if part.label == active else 0
        guid = uuid.uuid5(NAMESPACE, seed + "/" + part.label)
        table.add(part.index, Entry(part.kind, guid, first, last, flags, part.label))
    return table


def _skeleton(out: str, table: Table, pmbr: bytes, gptboot: bytes) -> None:
    """The medium without what is in its slices, as a sparse file."""
    with open(out, "wb") as medium:
        medium.truncate(table.sectors * SECTOR)
        medium.write(protective_mbr(table.sectors, pmbr))
        write_table(medium, table)
        medium.seek(table.entries[2].first * SECTOR)
        medium.write(gptboot)


def _compressed(skeleton: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """A stretch of the skeleton (bytes) as xz streams."""
    skeleton.seek(start)
    zeros = zero_stream(MIB)
    while start < end:
        piece = skeleton.read(min(MIB, end - start))
        start += len(piece)
        yield zeros if piece == bytes(MIB) else compress_xz(piece, filters(len(piece)))


def make(
    out: str, pack: str, image_size: int, slice_size: int, seed: str, pmbr: bytes, gptboot: bytes, swap_size: int = 0
) -> None:
    """Write the medium: the image in the recovery slice and in slice A, which boots; slice B empty.

    :param out: path of the file to write; an .xz file. The slices are the streams of the pack as they are.
    :param pack: path of the image's pack, with xz.
    :param image_size: of the image in bytes.
    :param pmbr: content of ``/boot/pmbr``.
    :param gptboot: content of ``/boot/gptboot``.
    :raises MediumError: when something does not fit.
    """
    if not pmbr or not gptboot:
        raise MediumError(
            "the tree has no boot code (boot/pmbr, boot/gptboot)",
            todo="use a complete base system, or build without a medium (image_medium=false)",
        )
    if len(gptboot) > BOOT_SIZE:
        raise MediumError("boot/gptboot is larger than its partition")
    if image_size > slice_size:
        raise MediumError("the image has {0} bytes, its partition {1}".format(image_size, slice_size))
    try:
        table = table_for(layout(slice_size, swap_size), seed, "nz-a")
    except GptError as error:
        raise MediumError("the medium cannot be laid out: {0}".format(error))
    bare = out + ".bare.part"
    try:
        _skeleton(bare, table, pmbr, gptboot)
        with open(out, "wb") as medium, open(bare, "rb") as skeleton:
            at = 0
            for entry in sorted(table.entries.values(), key=lambda each: each.first):
                if entry.label not in ("nz-recovery", "nz-a"):
                    continue
                medium.writelines(_compressed(skeleton, at, entry.first * SECTOR))
                with open(pack, "rb") as source:
                    shutil.copyfileobj(source, medium, MIB)
                at = entry.first * SECTOR + image_size
            medium.writelines(_compressed(skeleton, at, table.sectors * SECTOR))
    finally:
        if os.path.exists(bare):
            os.unlink(bare)
