# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GEOM mesh of a model machine: which providers its disks give, and who has them open.

Source: the transcripts under tests/fixtures/freebsd-13.2/geom and dd-write.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

SECTOR = 512
#: of a BSD label, and the partition in it that is the whole slice (``sys/sys/disk/bsd.h``)
DISK_MAGIC, RAW_PART = bytes.fromhex("57455682"), 2
TYPE_NAMES = {kind: name for name, kind in gpt.TYPES.items()}


@dataclass
class Part:
    """A partition: of a GPT, a slice of an MBR, or of a BSD label in a slice. Sector addresses are inclusive."""

    index: int
    name: str
    first: int
    last: int
    kind: str
    rawtype: str
    label: Optional[str]
    flags: List[str]
    rawuuid: str = ""

    @property
    def size(self) -> int:
        return (self.last - self.first + 1) * SECTOR

    @property
    def offset(self) -> int:
        return self.first * SECTOR


@dataclass
class Layout:
    """The partition table of a disk, or of a slice, as the kernel has it in memory.

    ``disk`` is the provider that it is on; ``device`` the disk itself, where that begins at sector ``origin``.
    """

    disk: str
    scheme: str
    first: int
    last: int
    entries: int
    corrupt: bool
    modified: bool
    sectors: int
    parts: List[Part] = field(default_factory=list)
    table: Any = None
    device: str = ""
    origin: int = 0

    def place(self, part: Part) -> Place:
        """Where a partition of it is on the disk."""
        return Place(part.name, self.device or self.disk, (self.origin + part.first) * SECTOR, part.size)


class Mbr:
    """A master boot record on a disk: four slices, one of them active.

    :param geometry: heads of the disk and sectors of a track.
    """

    def __init__(self, raw: bytes, geometry: Tuple[int, int]) -> None:
        self.raw = bytearray(raw)
        self.geometry = geometry

    @classmethod
    def read(cls, file: BinaryIO, geometry: Tuple[int, int]) -> Optional[Mbr]:
        """The MBR of a disk that has one and is no GPT disk."""
        file.seek(0)
        raw = file.read(SECTOR)
        if len(raw) < SECTOR or raw[510:] != b"\x55\xaa" or raw[450] == 0xEE:
            return None
        return cls(raw, geometry)

    def slices(self) -> Iterator[Tuple[int, int, int, int, int]]:
        """Index, flag, type, first sector and length of the slices that are used."""
        for index in range(4):
            flag, _a, kind, _b, first, length = struct.unpack_from("<B3sB3sII", self.raw, 446 + 16 * index)
            if kind:
                yield index + 1, flag, kind, first, length

    def put(self, index: int, flag: int, kind: int, first: int, length: int) -> None:
        """Write a slice."""
        ends = (self._chs(first), self._chs(first + length - 1)) if kind else (bytes(3), bytes(3))
        struct.pack_into("<B3sB3sII", self.raw, 446 + 16 * (index - 1), flag, ends[0], kind, ends[1], first, length)

    def _chs(self, sector: int) -> bytes:
        """Head, sector and cylinder as g_part_mbr.c writes them (mbr_set_chs)."""
        heads, track = self.geometry
        cylinder, head = divmod(sector // track, heads)
        if cylinder > 1023:
            return b"\xff\xff\xff"
        return bytes([head, sector % track + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF])

    def shown(self) -> str:
        """The slices as boot0cfg(8) shows them."""

        def address(raw: bytes) -> str:
            return "{0:4}:{1:3}:{2:2}".format(raw[2] + ((raw[1] & 0xC0) << 2), raw[0], raw[1] & 0x3F)

        lines = ["#   flag     start chs   type       end chs       offset         size"]
        for index, flag, kind, first, length in self.slices():
            at = 446 + 16 * (index - 1)
            start, end = address(bytes(self.raw[at + 1 : at + 4])), address(bytes(self.raw[at + 5 : at + 8]))
            lines.append(
                "{0}   0x{1:02x}   {2}   0x{3:02x}   {4}   {5:10}   {6:10}".format(
                    index, flag, start, kind, end, first, length
                )
            )
        return "\n".join(lines) + "\n\n"

    def write(self, file: BinaryIO) -> None:
        """Write it back."""
        file.seek(0)
        file.write(self.raw)


def firmware(disk: str) -> Tuple[int, int]:
    """Heads of a disk and sectors of a track as its firmware gives them. Memory disks have none to speak of."""
    return (255, 1) if disk.startswith("md") else (16, 63)


def read_layout(machine: Machine, disk: str) -> Optional[Layout]:
    """The partition table of a disk, with uncommitted changes; ``None`` when it has none."""
    size = machine.hardware["disks"][disk]["size"]
    if not machine.has_image(disk):
        return None
    pending = machine.running["pending"].get(disk)
    with open(machine.image(disk), "rb") as file:
        mbr = Mbr.read(file, firmware(disk))
        if mbr is not None:
            return _mbr_layout(disk, mbr, size // SECTOR, bool(pending))
        try:
            table = gpt.read_table(file, size // SECTOR)
        except gpt.GptError:
            return None
    if pending:
        for index, attributes in pending.items():
            if int(index) in table.entries:
                table.entries[int(index)].attributes = attributes
    layout = Layout(
        disk, "GPT", table.first, table.last, table.count, table.corrupt, bool(pending), size // SECTOR, table=table
    )
    for index, entry in sorted(table.entries.items()):
        layout.parts.append(
            Part(
                index=index,
                name="{0}p{1}".format(disk, index),
                first=entry.first,
                last=entry.last,
                kind=TYPE_NAMES.get(entry.kind, "!{0}".format(entry.kind)),
                rawtype=str(entry.kind),
                label=entry.label,
                flags=entry.flags,
                rawuuid=str(entry.guid),
            )
        )
    return layout


def _mbr_layout(disk: str, mbr: Mbr, sectors: int, modified: bool) -> Layout:
    layout = Layout(disk, "MBR", 1, sectors - 1, 4, False, modified, sectors, table=mbr)
    for index, flag, kind, first, length in mbr.slices():
        layout.parts.append(
            Part(
                index=index,
                name="{0}s{1}".format(disk, index),
                first=first,
                last=first + length - 1,
                kind="freebsd" if kind == 0xA5 else "!{0}".format(kind),
                rawtype=str(kind),
                label=None,
                flags=["active"] if flag & 0x80 else [],
            )
        )
    return layout


def _bsd_layout(file: BinaryIO, layout: Layout, part: Part) -> Optional[Layout]:
    """The BSD label in a slice of an MBR, as g_part_bsd.c reads it; ``None`` when there is none."""
    file.seek((part.first + 1) * SECTOR)
    raw = file.read(SECTOR)
    if raw[:4] != DISK_MAGIC or raw[132:136] != DISK_MAGIC:
        return None
    entries = struct.unpack_from("<H", raw, 138)[0]
    sectors = part.size // SECTOR
    found = Layout(
        part.name, "BSD", 0, sectors - 1, entries, False, False, sectors, device=layout.disk, origin=part.first
    )
    raw_offset = struct.unpack_from("<I", raw, 148 + 16 * RAW_PART + 4)[0]
    for index in range(entries):
        size, offset, _fsize, kind = struct.unpack_from("<IIIB", raw, 148 + 16 * index)
        if size and index != RAW_PART:
            found.parts.append(
                Part(
                    index=index + 1,
                    name=part.name + chr(ord("a") + index),
                    first=offset - raw_offset,
                    last=offset - raw_offset + size - 1,
                    kind={7: "freebsd-ufs", 1: "freebsd-swap"}.get(kind, "!{0}".format(kind)),
                    rawtype=str(kind),
                    label=None,
                    flags=[],
                )
            )
    return found


def layouts(machine: Machine) -> Dict[str, Layout]:
    """The partition tables of all disks and of the slices in them, by the provider that each is on."""
    found = {}
    for disk in machine.hardware["disks"]:
        layout = read_layout(machine, disk)
        if layout is None:
            continue
        found[disk] = layout
        if layout.scheme == "MBR":
            with open(machine.image(disk), "rb") as file:
                nested = [_bsd_layout(file, layout, part) for part in layout.parts if part.kind == "freebsd"]
            found.update((each.disk, each) for each in nested if each is not None)
    return found


def _manual_label(machine: Machine, place: Place) -> Optional[str]:
    """The label that glabel(8) keeps in the last sector of a provider (g_label.c, g_label_generic_taste)."""
    with open(machine.image(place.disk), "rb") as file:
        file.seek(place.offset + place.size - SECTOR)
        magic, version, label, size = struct.unpack_from("<16sI16sQ", file.read(SECTOR))
    if magic.rstrip(b"\0") != b"GEOM::LABEL" or version != 2 or size != place.size:
        return None
    return str(label.rstrip(b"\0").decode("ascii"))


def labels(machine: Machine) -> Dict[str, Tuple[Place, Part]]:
    """Labels by the name of their provider: what they lead to, and the partition below. The first disk has a name.

    GPT labels, and those of glabel(8) on the partitions of BSD labels, which end before the sector that they are in.
    """
    found: Dict[str, Tuple[Place, Part]] = {}
    for layout in layouts(machine).values():
        for part in layout.parts:
            place = layout.place(part)
            if part.label:
                found.setdefault("gpt/" + part.label, (place, part))
            manual = _manual_label(machine, place) if layout.scheme == "BSD" else None
            if manual:
                found.setdefault("label/" + manual, (replace(place, size=place.size - SECTOR), part))
    return found


@dataclass(frozen=True)
class Place:
    """Where a provider's bytes are."""

    name: str
    disk: str
    offset: int
    size: int


def find(machine: Machine, name: str) -> Optional[Place]:
    """A provider by any of its names."""
    name = name[5:] if name.startswith("/dev/") else name
    if name in machine.hardware["disks"]:
        return Place(name, name, 0, machine.hardware["disks"][name]["size"])
    labelled = labels(machine).get(name)
    if labelled is not None:
        return replace(labelled[0], name=name)
    for layout in layouts(machine).values():
        for part in layout.parts:
            if part.name == name:
                return layout.place(part)
    return None


def openers(machine: Machine) -> Dict[str, List[Tuple[str, str, Tuple[int, int, int]]]]:
    """Who has which provider open: class, geom name and mode by provider name."""
    found: Dict[str, List[Tuple[str, str, Tuple[int, int, int]]]] = {}
    for mount in machine.running["mounts"]:
        if mount["type"] == "ufs":
            name = mount["from"][5:]
            # a file system that is mounted read-only is open for reading, and nothing keeps others from writing
            mode = (1, 0, 0) if mount["readonly"] else (1, 1, 1)
            found.setdefault(name, []).append(("VFS", "ffs." + name, mode))
    for pool in machine.running["pools"].values():
        for device in pool.get("devices", []):
            found.setdefault(device, []).append(("ZFS::VDEV", "zfs::vdev", (1, 1, 1)))
    for name, mode in machine.running["open"].items():
        found.setdefault(name, []).append(("DEV", name, tuple(mode)))
    return found


def _ident(*words: str) -> str:
    return "0xfffff800{0:08x}".format(zlib.crc32("/".join(words).encode("utf-8")))


class _Xml:
    """Writes confxml with the indentation of geom_dump.c, which is what the transcripts have."""

    def __init__(self) -> None:
        self.lines = ["<mesh>"]
        self._class = ""

    def open_class(self, name: str) -> None:
        self._class = _ident("class", name)
        self.lines += ['  <class id="{0}">'.format(self._class), "    <name>{0}</name>".format(name)]

    def close_class(self) -> None:
        self.lines.append("  </class>")

    def open_geom(self, name: str, ident: str, rank: int, config: Optional[List[Tuple[str, Any]]]) -> None:
        self.lines += [
            '    <geom id="{0}">'.format(ident),
            '      <class ref="{0}"/>'.format(self._class),
            "      <name>{0}</name>".format(_escape(name)),
            "      <rank>{0}</rank>".format(rank),
        ]
        if config is not None:
            self.lines.append("      <config>")
            self.lines += ["\t<{0}>{1}</{0}>".format(key, _escape(str(value))) for key, value in config]
            self.lines.append("      </config>")

    def close_geom(self) -> None:
        self.lines.append("    </geom>")

    def consumer(self, geom: str, provider: str, mode: Tuple[int, int, int], config: bool) -> None:
        self.lines += [
            '\t<consumer id="{0}">'.format(_ident("consumer", geom, provider)),
            '\t  <geom ref="{0}"/>'.format(geom),
            '\t  <provider ref="{0}"/>'.format(provider),
            "\t  <mode>r{0}w{1}e{2}</mode>".format(*mode),
        ]
        if config:
            self.lines += ["\t  <config>", "\t  </config>"]
        self.lines.append("\t</consumer>")

    def provider(
        self, geom: str, ident: str, name: str, size: int, offset: int, mode: Tuple[int, int, int], config: Any
    ) -> None:
        self.lines += [
            '\t<provider id="{0}">'.format(ident),
            '\t  <geom ref="{0}"/>'.format(geom),
            "\t  <mode>r{0}w{1}e{2}</mode>".format(*mode),
            "\t  <name>{0}</name>".format(_escape(name)),
            "\t  <mediasize>{0}</mediasize>".format(size),
            "\t  <sectorsize>{0}</sectorsize>".format(SECTOR),
            "\t  <stripesize>0</stripesize>",
            "\t  <stripeoffset>{0}</stripeoffset>".format(offset),
            "\t  <config>",
        ]
        self.lines += ["\t    <{0}>{1}</{0}>".format(key, _escape(str(value))) for key, value in config]
        self.lines += ["\t  </config>", "\t</provider>"]

    def text(self) -> str:
        return "\n".join(self.lines + ["</mesh>"]) + "\n"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _provider_id(name: str) -> str:
    return _ident("provider", name)


def _add(*modes: Tuple[int, int, int]) -> Tuple[int, int, int]:
    return (sum(m[0] for m in modes), sum(m[1] for m in modes), sum(m[2] for m in modes))


class Confxml:
    """The mesh of a machine as ``sysctl kern.geom.confxml`` shows it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.layouts = layouts(machine)
        self.labels = labels(machine)
        self.openers = openers(machine)

    def mode(self, name: str) -> Tuple[int, int, int]:
        """How a provider is open, all consumers together."""
        modes = [mode for _kind, _geom, mode in self.openers.get(name, [])]
        modes += [self.label_mode(label) for label, (_place, part) in self.labels.items() if part.name == name]
        return _add((0, 0, 0), self.table_mode(name), *modes)

    def label_mode(self, label: str) -> Tuple[int, int, int]:
        """How a label has open what is below it: as it is open itself, and exclusively."""
        mode = self.mode(label)
        return _add(mode, (0, 0, 1)) if any(mode) else mode

    def table_mode(self, disk: str) -> Tuple[int, int, int]:
        """How a partition table has its disk open: as its partitions are, and exclusively for each that is written."""
        parts = [self.mode(part.name) for part in self.layouts[disk].parts] if disk in self.layouts else []
        read, write, exclusive = _add((0, 0, 0), *parts)
        return read, write, write + exclusive

    def names(self) -> List[str]:
        """All providers."""
        found = list(self.machine.hardware["disks"])
        for layout in self.layouts.values():
            found += [part.name for part in layout.parts]
        return found + list(self.labels)

    def text(self) -> str:
        """The XML."""
        xml = _Xml()
        self._devices(xml)
        self._openers(xml, "ZFS::VDEV")
        self._tables(xml)
        self._labels(xml)
        self._openers(xml, "VFS")
        self._disks(xml)
        xml.open_class("SWAP")
        xml.close_class()
        return xml.text()

    def _devices(self, xml: _Xml) -> None:
        xml.open_class("DEV")
        for name in reversed(self.names()):
            geom = _ident("dev", name)
            xml.open_geom(name, geom, 2, None)
            open_modes = [mode for kind, _geom, mode in self.openers.get(name, []) if kind == "DEV"]
            xml.consumer(geom, _provider_id(name), _add(*open_modes) if open_modes else (0, 0, 0), False)
            xml.close_geom()
        xml.close_class()

    def _openers(self, xml: _Xml, wanted: str) -> None:
        xml.open_class(wanted)
        for provider, each in sorted(self.openers.items()):
            for kind, name, mode in each:
                if kind == wanted:
                    geom = _ident(kind, name, provider)
                    xml.open_geom(name, geom, 4, None)
                    xml.consumer(geom, _provider_id(provider), mode, False)
                    xml.close_geom()
        xml.close_class()

    def _tables(self, xml: _Xml) -> None:
        xml.open_class("PART")
        for disk, layout in self.layouts.items():
            geom = _ident("part", disk)
            config = [
                ("scheme", layout.scheme),
                ("entries", layout.entries),
                ("first", layout.first),
                ("last", layout.last),
                ("fwsectors", firmware(disk)[1]),
                ("fwheads", firmware(disk)[0]),
                ("state", "CORRUPT" if layout.corrupt else "OK"),
                ("modified", "true" if layout.modified else "false"),
            ]
            xml.open_geom(disk, geom, 2, config)
            xml.consumer(geom, _provider_id(disk), self.table_mode(disk), True)
            for part in reversed(layout.parts):
                xml.provider(
                    geom,
                    _provider_id(part.name),
                    part.name,
                    part.size,
                    part.offset,
                    self.mode(part.name),
                    self._part_config(layout, part),
                )
            xml.close_geom()
        xml.close_class()

    @staticmethod
    def _part_config(layout: Layout, part: Part) -> List[Tuple[str, Any]]:
        config: List[Tuple[str, Any]] = [
            ("start", part.first),
            ("end", part.last),
            ("index", part.index),
            ("type", part.kind),
            ("offset", part.offset),
            ("length", part.size),
        ]
        span = "{0:#x},{1:#x}".format(part.first, part.last - part.first + 1)
        if layout.scheme == "BSD":
            return config + [("rawtype", part.rawtype)]
        if layout.scheme == "MBR":
            config.append(("rawtype", part.rawtype))
            config += [("attrib", flag) for flag in part.flags]
            config.append(("efimedia", "HD({0},MBR,00000000,{1})".format(part.index, span)))
            return config
        config.append(("label", part.label or ""))
        config += [("attrib", flag) for flag in ("bootme", "bootonce", "bootfailed") if flag in part.flags]
        config += [("rawtype", part.rawtype), ("rawuuid", part.rawuuid)]
        config.append(("efimedia", "HD({0},GPT,{1},{2})".format(part.index, part.rawuuid, span)))
        return config

    def _labels(self, xml: _Xml) -> None:
        xml.open_class("LABEL")
        for label, (place, part) in self.labels.items():
            geom = _ident("label", label)
            xml.open_geom(part.name, geom, 3, [])
            xml.consumer(geom, _provider_id(part.name), self.label_mode(label), True)
            config = [
                ("index", 0),
                ("length", place.size),
                ("seclength", place.size // SECTOR),
                ("offset", 0),
                ("secoffset", 0),
            ]
            xml.provider(geom, _provider_id(label), label, place.size, part.offset, self.mode(label), config)
            xml.close_geom()
        xml.close_class()

    def _disks(self, xml: _Xml) -> None:
        xml.open_class("DISK")
        for name, disk in reversed(list(self.machine.hardware["disks"].items())):
            geom = _ident("disk", name)
            xml.open_geom(name, geom, 1, [])
            config = [
                ("fwheads", 16),
                ("fwsectors", 63),
                ("rotationrate", "unknown"),
                ("ident", disk["ident"]),
                ("descr", ""),
            ]
            xml.provider(geom, _provider_id(name), name, disk["size"], 0, self.mode(name), config)
            xml.close_geom()
        xml.close_class()


def deterministic_guid(machine: Machine, words: str) -> uuid.UUID:
    """A partition guid for ``gpart add``, the same in every run of a test."""
    return uuid.uuid5(uuid.UUID(machine.hardware["uuid"]), words)
