# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole OS medium as one file: installer, recovery stick and replacement medium at once.

With a GPT it boots by BIOS and, with an EFI system partition, by UEFI; with an MBR by BIOS only. docs/layout.md says
why either looks as it does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterator, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import (
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
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.disk_image import FILLED, KINDS
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import esp, mbr
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.pack import zero_stream
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._xz import compress_xz, filters

MIB = 1 << 20
ALIGN = MIB

GPT, MBR = "gpt", "mbr"
SCHEMES = (GPT, MBR)

#: the boot managers of an MBR: for a screen, and for a serial line
BOOT0 = ("boot0", "boot0sio")

#: the files of an image, below /boot, that media of it boot with
CODE = ("pmbr", "gptboot", "gptboot.efi", "boot", *BOOT0)

#: gptboot(8) reads at most 545 KiB of code; a partition of 512 KiB holds it with room to spare
BOOT_SIZE = 512 << 10
STATE_SIZE = MIB

#: names the disk and partition guids of every medium that we make; two media of one image are identical
NAMESPACE = uuid.UUID("6f2c0a4e-4b0e-5c0e-9a52-0d6f5d3a7e11")

#: nz-state holds no file system and must never look like a slice to gptboot
STATE_TYPE = uuid.UUID("8f3b1d5a-96f6-5d4b-8a33-1c9b5a0f4e21")

#: the slices of an MBR medium, in order; nz-state comes after them
MBR_SLICES = ("nz-recovery", "nz-a", "nz-b")

#: partition a of an MBR slice has this much more than the image, with the label of glabel(8) in the last sector
LABEL_SIZE = 4096

#: how long boot0 waits for a choice: 5 s, in ticks of 1/18.2 s
BOOT0_TICKS = 91


class MediumError(FleetError):
    """The medium cannot be put together."""


@dataclass(frozen=True)
class Form:
    """What kind of medium.

    :param scheme: of its partition table, ``gpt`` or ``mbr``.
    :param swap_size: of a swap partition in bytes; 0 for none. Only with a GPT.
    :param efi: whether it boots by UEFI as well; ``None`` for where the image has what that takes. Only with a GPT.
    :param boot0: which boot manager an MBR has, ``boot0`` or ``boot0sio``.
    """

    scheme: str = GPT
    swap_size: int = 0
    efi: Optional[bool] = None
    boot0: str = "boot0"

    @property
    def kind(self) -> str:
        """What the manifest calls it."""
        return KINDS[self.scheme]

    def boots_efi(self, able: bool) -> bool:
        """Whether it boots by UEFI as well.

        :param able: whether the image has what that takes.
        """
        return self.scheme == GPT and (able if self.efi is None else self.efi)

    @property
    def suffix(self) -> str:
        """How the name of its file ends, after the id of the image."""
        return ".disk.img.xz" if self.scheme == GPT else ".{0}.disk.img.xz".format(self.scheme)


@dataclass(frozen=True)
class Part:
    """A partition of the layout: fixed index, label, type, size in bytes."""

    index: int
    label: str
    kind: uuid.UUID
    size: int


def layout(slice_size: int, swap_size: int = 0, efi: bool = False) -> List[Part]:
    """The partitions of a GPT medium (docs/layout.md). The indices are the same in every layout; 1 is for the ESP.

    :param slice_size: size of each of the three OS slices in bytes.
    :param swap_size: in bytes; 0 for none.
    :param efi: whether there is an EFI system partition.
    """
    parts = [
        Part(2, "nz-boot", TYPES["freebsd-boot"], BOOT_SIZE),
        Part(3, "nz-recovery", TYPES["freebsd-ufs"], slice_size),
        Part(4, "nz-a", TYPES["freebsd-ufs"], slice_size),
        Part(5, "nz-b", TYPES["freebsd-ufs"], slice_size),
        Part(6, "nz-state", STATE_TYPE, STATE_SIZE),
    ]
    if efi:
        parts.insert(0, Part(1, "nz-efi", TYPES["efi"], esp.ESP_SIZE))
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


def _need(code: Mapping[str, bytes], *names: str) -> None:
    missing = ["boot/" + name for name in names if not code.get(name)]
    if missing:
        raise MediumError(
            "the tree has no boot code for such a medium ({0})".format(", ".join(missing)),
            todo="use a complete base system, or build without this medium (image_medium, image_schemes, image_efi)",
        )


def _lay_gpt(medium: BinaryIO, form: Form, code: Mapping[str, bytes], slice_size: int, seed: str) -> Dict[str, int]:
    efi = form.boots_efi(bool(code.get("gptboot.efi")))
    _need(code, "pmbr", "gptboot", *(["gptboot.efi"] if efi else []))
    if len(code["gptboot"]) > BOOT_SIZE:
        raise MediumError("boot/gptboot is larger than its partition")
    try:
        table = table_for(layout(slice_size, form.swap_size, efi), seed, "nz-a")
    except GptError as error:
        raise MediumError("the medium cannot be laid out: {0}".format(error))
    medium.truncate(table.sectors * SECTOR)
    medium.write(protective_mbr(table.sectors, code["pmbr"]))
    write_table(medium, table)
    medium.seek(table.entries[2].first * SECTOR)
    medium.write(code["gptboot"])
    if efi:
        with tempfile.TemporaryDirectory(prefix="nanozfs-medium-") as scratch:
            path = os.path.join(scratch, "esp")
            esp.make(path, code["gptboot.efi"], table.entries[1].guid)
            medium.seek(table.entries[1].first * SECTOR)
            with open(path, "rb") as source:
                shutil.copyfileobj(source, medium, MIB)
    return {entry.label: entry.first * SECTOR for entry in table.entries.values()}


def mbr_layout(slice_size: int) -> List[mbr.Slice]:
    """The slices of an MBR medium (docs/layout.md): three with an OS partition of *slice_size* bytes, and nz-state."""
    # the partition begins as far into the slice as the slice into the disk, so it is aligned as well
    length = ALIGN + -(-(slice_size + LABEL_SIZE) // ALIGN) * ALIGN
    slices = [
        mbr.Slice(mbr.FREEBSD, (ALIGN + index * length) // SECTOR, length // SECTOR, label == "nz-a")
        for index, label in enumerate(MBR_SLICES)
    ]
    end = slices[-1].first + slices[-1].sectors
    return slices + [mbr.Slice(mbr.NON_FS, end, STATE_SIZE // SECTOR)]


def _lay_mbr(medium: BinaryIO, form: Form, code: Mapping[str, bytes], slice_size: int) -> Dict[str, int]:
    _need(code, "boot", form.boot0)
    if form.swap_size:
        raise MediumError(
            "a medium with an MBR has no room for swap: its four slices are taken",
            todo="leave image_swap_size at 0, or use a GPT; swap can also be on another disk",
        )
    slices = mbr_layout(slice_size)
    size = slice_size + LABEL_SIZE
    begin = ALIGN // SECTOR
    places = {}
    what = form.boot0
    try:
        record = mbr.boot_record(code[form.boot0], slices, 1 + MBR_SLICES.index("nz-a"), BOOT0_TICKS, len(MBR_SLICES))
        what = "boot"
        blocks = mbr.boot_blocks(code["boot"], slices[0].sectors, begin, size // SECTOR)
    except mbr.MbrError as error:
        raise MediumError("boot/{0} of the tree cannot be used: {1}".format(what, error))
    medium.truncate((slices[-1].first + slices[-1].sectors) * SECTOR)
    medium.write(record)
    for label, place in zip(MBR_SLICES, slices):
        medium.seek(place.first * SECTOR)
        medium.write(blocks)
        at = (place.first + begin) * SECTOR
        medium.seek(at + size - SECTOR)
        medium.write(mbr.label_sector(label, size))
        places[label] = at
    return places


def lay(medium: BinaryIO, form: Form, code: Mapping[str, bytes], slice_size: int, seed: str) -> Dict[str, int]:
    """Write everything of a medium but what is in its slices, into a new file.

    :param slice_size: of each slice in bytes; a multiple of 4096.
    :param seed: what the identifiers of disk and partitions are made from.
    :param code: contents of the files of :data:`CODE` that there are.
    :returns: where the image belongs in each slice, in bytes from the start of the disk, by its label, in order.
    :raises MediumError: when something does not fit, or boot code is missing.
    :raises EspError: when the EFI system partition cannot be made.
    """
    if form.scheme == MBR:
        return _lay_mbr(medium, form, code, slice_size)
    return _lay_gpt(medium, form, code, slice_size, seed)


def _compressed(skeleton: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """A stretch of the skeleton (bytes) as xz streams."""
    skeleton.seek(start)
    zeros = zero_stream(MIB)
    while start < end:
        piece = skeleton.read(min(MIB, end - start))
        start += len(piece)
        yield zeros if piece == bytes(MIB) else compress_xz(piece, filters(len(piece)))


def make(
    out: str, pack: str, image_size: int, slice_size: int, seed: str, code: Mapping[str, bytes], form: Form
) -> None:
    """Write the medium: the image in the recovery slice and in slice A, which boots; slice B empty.

    :param out: path of the file to write; an .xz file. The slices are the streams of the pack as they are.
    :param pack: path of the image's pack, with xz.
    :param image_size: of the image in bytes.
    :param form: what kind of medium; this, *slice_size*, *seed* and *code* as :func:`lay` takes them.
    :raises MediumError: when something does not fit, or the image lacks boot code.
    :raises EspError: when the EFI system partition cannot be made.
    """
    if image_size > slice_size:
        raise MediumError("the image has {0} bytes, its partition {1}".format(image_size, slice_size))
    bare = out + ".bare.part"
    try:
        with open(bare, "w+b") as skeleton:
            places = lay(skeleton, form, code, slice_size, seed)
            size = skeleton.seek(0, os.SEEK_END)
            with open(out, "wb") as medium:
                at = 0
                for start in (place for label, place in places.items() if label in FILLED):
                    medium.writelines(_compressed(skeleton, at, start))
                    with open(pack, "rb") as source:
                        shutil.copyfileobj(source, medium, MIB)
                    at = start + image_size
                medium.writelines(_compressed(skeleton, at, size))
    finally:
        if os.path.exists(bare):
            os.unlink(bare)
