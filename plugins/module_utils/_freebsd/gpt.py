# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""GUID partition tables as bytes: making, reading, changing and repairing them.

Sources: UEFI specification 2.10, section 5 (the structures); ``sys/sys/gpt.h`` of FreeBSD (types and attribute bits);
``sys/geom/part/g_part_gpt.c`` (which entries are usable, when a table counts as corrupt).
"""

from __future__ import annotations

import io
import struct
import uuid
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO, Dict, List, Optional, Tuple

SECTOR = 512
SIGNATURE = b"EFI PART"
ENTRY_SIZE = 128
ENTRIES = 128

TYPES = {
    "efi": uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    "freebsd-boot": uuid.UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f"),
    "freebsd-ufs": uuid.UUID("516e7cb6-6ecf-11d6-8ff8-00022d09712b"),
    "freebsd-zfs": uuid.UUID("516e7cba-6ecf-11d6-8ff8-00022d09712b"),
    "freebsd-swap": uuid.UUID("516e7cb5-6ecf-11d6-8ff8-00022d09712b"),
    "freebsd": uuid.UUID("516e7cb4-6ecf-11d6-8ff8-00022d09712b"),
}

#: the attribute bits that gptboot(8) goes by, in the order in which gpart(8) shows them
ATTRIBUTES = {"bootfailed": 1 << 57, "bootonce": 1 << 58, "bootme": 1 << 59}

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


class GptError(Exception):
    """There is no usable table, or what was asked for does not fit into one."""


@dataclass
class Entry:
    """One partition. ``first`` and ``last`` are sector addresses, both inclusive."""

    kind: uuid.UUID
    guid: uuid.UUID
    first: int
    last: int
    attributes: int = 0
    label: str = ""

    @property
    def sectors(self) -> int:
        return self.last - self.first + 1

    @property
    def flags(self) -> List[str]:
        """The names of the boot attributes that are set."""
        return [name for name, bit in ATTRIBUTES.items() if self.attributes & bit]

    def pack(self) -> bytes:
        """The entry as it is on disk."""
        name = self.label.encode("utf-16-le")
        if len(name) > 72:
            raise GptError("the label {0!r} is longer than 36 characters".format(self.label))
        numbers = struct.pack("<QQQ", self.first, self.last, self.attributes)
        return self.kind.bytes_le + self.guid.bytes_le + numbers + name.ljust(72, b"\0")

    @classmethod
    def unpack(cls, raw: bytes) -> Optional[Entry]:
        """The entry in *raw*, or ``None`` for an unused one."""
        if not any(raw[:16]):
            return None
        kind = uuid.UUID(bytes_le=raw[:16])
        first, last, attributes = struct.unpack_from("<QQQ", raw, 32)
        label = raw[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
        return cls(kind, uuid.UUID(bytes_le=raw[16:32]), first, last, attributes, label)


@dataclass
class Table:
    """A partition table.

    :param sectors: size of the disk in sectors.
    :param entries: partitions by index, from 1.
    :param first: lowest usable sector.
    :param last: highest usable sector.
    :param count: how many entries the table has room for.
    :param corrupt: one of the two copies is damaged, missing or not at the end of the disk.
    """

    sectors: int
    disk: uuid.UUID
    first: int
    last: int
    count: int = ENTRIES
    entries: Dict[int, Entry] = field(default_factory=dict)
    corrupt: bool = False

    @property
    def table_sectors(self) -> int:
        """Sectors that the entries take."""
        return -(-self.count * ENTRY_SIZE // SECTOR)

    def add(self, index: int, entry: Entry) -> None:
        """Put a partition in.

        :raises GptError: when the index is taken or out of range, or it overlaps or lies outside.
        """
        if not 1 <= index <= self.count or index in self.entries:
            raise GptError("partition index {0} is not free".format(index))
        if entry.first < self.first or entry.last > self.last or entry.first > entry.last:
            raise GptError("partition {0} lies outside of the usable sectors".format(index))
        for other in self.entries.values():
            if entry.first <= other.last and other.first <= entry.last:
                raise GptError("partition {0} overlaps another one".format(index))
        self.entries[index] = entry

    def packed_entries(self) -> bytes:
        """All entries as they are on disk."""
        raw = bytearray(self.count * ENTRY_SIZE)
        for index, entry in self.entries.items():
            raw[(index - 1) * ENTRY_SIZE : index * ENTRY_SIZE] = entry.pack()
        return bytes(raw)

    def header(self, at: int, other: int, table: int) -> bytes:
        """A header sector.

        :param at: its own sector, *other* the one of the other header, *table* the first one of its entries.
        """

        def packed(checksum: int) -> bytes:
            return _HEADER.pack(
                SIGNATURE,
                0x00010000,
                _HEADER.size,
                checksum,
                0,
                at,
                other,
                self.first,
                self.last,
                self.disk.bytes_le,
                table,
                self.count,
                ENTRY_SIZE,
                zlib.crc32(self.packed_entries()) & 0xFFFFFFFF,
            )

        return packed(zlib.crc32(packed(0)) & 0xFFFFFFFF).ljust(SECTOR, b"\0")


def new_table(sectors: int, disk: uuid.UUID, count: int = ENTRIES) -> Table:
    """An empty table for a disk, with the usable range that FreeBSD gives it.

    :param sectors: size of the disk in sectors.
    :raises GptError: when the disk is too small.
    """
    table = Table(sectors=sectors, disk=disk, first=0, last=0, count=count)
    table.first = 2 + table.table_sectors
    table.last = sectors - 2 - table.table_sectors
    if table.last <= table.first:
        raise GptError("a disk of {0} sectors is too small for a GPT".format(sectors))
    return table


def _read_copy(file: BinaryIO, at: int, sectors: int) -> Optional[Tuple[Table, int]]:
    """The table whose header is in sector *at*, and the sector of the other header."""
    file.seek(at * SECTOR)
    raw = file.read(SECTOR)
    if len(raw) < SECTOR or raw[:8] != SIGNATURE:
        return None
    fields = _HEADER.unpack_from(raw)
    size, crc, me, other, first, last, disk, start, count, width, table_crc = fields[2:4] + fields[5:]
    if not 92 <= size <= SECTOR or width != ENTRY_SIZE or not 0 < count <= 4096 or me != at:
        return None
    if zlib.crc32(raw[:16] + b"\0\0\0\0" + raw[20:size]) & 0xFFFFFFFF != crc:
        return None
    file.seek(start * SECTOR)
    entries = file.read(count * width)
    if len(entries) < count * width or zlib.crc32(entries) & 0xFFFFFFFF != table_crc:
        return None
    table = Table(sectors, uuid.UUID(bytes_le=disk), first, last, count)
    for index in range(count):
        entry = Entry.unpack(entries[index * width : (index + 1) * width])
        if entry is not None:
            table.entries[index + 1] = entry
    return table, other


def read_published(head: bytes) -> Table:
    """The table at the beginning of a whole medium, whose size it tells.

    :param head: at least the first 17 KiB of the medium.
    :raises GptError: when there is none, or it is damaged.
    """
    found = _read_copy(io.BytesIO(head), 1, 0)
    if found is None:
        raise GptError("there is no GPT")
    table, backup = found
    table.sectors = backup + 1  # the other header is the last sector
    return table


def read_table(file: BinaryIO, sectors: int) -> Table:
    """Read the table of a disk, from its primary copy or else from the backup.

    :raises GptError: when neither copy is good.
    """
    primary = _read_copy(file, 1, sectors)
    backup = _read_copy(file, sectors - 1, sectors)
    if primary is None and backup is None:
        raise GptError("there is no GPT")
    table = (primary or backup)[0]  # type: ignore[index]
    if primary is None or backup is None or primary[0] != backup[0] or primary[1] != sectors - 1:
        table.corrupt = True
    return table


def write_table(file: BinaryIO, table: Table) -> None:
    """Write both copies, the primary one first."""
    last = table.sectors - 1
    entries = table.packed_entries()
    for at, other, start in ((1, last, 2), (last, 1, last - table.table_sectors)):
        file.seek(start * SECTOR)
        file.write(entries)
        file.seek(at * SECTOR)
        file.write(table.header(at, other, start))
    table.corrupt = False


def protective_mbr(sectors: int, bootcode: bytes = b"") -> bytes:
    """The first sector of a GPT disk.

    :param bootcode: ``/boot/pmbr``, of which the part before the partition entries is used.
    """
    raw = bytearray(SECTOR)
    raw[:440] = bootcode[:440].ljust(440, b"\0")
    size = min(sectors - 1, 0xFFFFFFFF)
    raw[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, size)
    raw[510:] = b"\x55\xaa"
    return bytes(raw)
