# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gpart(8) and boot0cfg(8): they change the real partition tables in the image files of the model's disks."""

from __future__ import annotations

import getopt
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.geom import SECTOR, Layout, Mbr, Part
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output, humanize

USAGE = """\
usage: gpart add -t type [-a alignment] [-b start] [-s size] [-i index] [-l label] [-f flags] geom
       gpart backup geom
       gpart bootcode [-N] [-b bootcode] [-p partcode -i index] [-f flags] geom
       gpart commit geom
       gpart create -s scheme [-n entries] [-f flags] provider
       gpart delete -i index [-f flags] geom
       gpart destroy [-F] [-f flags] geom
       gpart modify -i index [-l label] [-t type] [-f flags] geom
       gpart set -a attrib [-i index] [-f flags] geom
       gpart show [-l | -r] [-p] [geom ...]
       gpart undo geom
       gpart unset -a attrib [-i index] [-f flags] geom
       gpart resize -i index [-a alignment] [-s size] [-f flags] geom
       gpart restore [-lF] [-f flags] provider [...]
       gpart recover [-f flags] geom
       gpart help
       gpart list [-a] [name ...]
       gpart status [-ags] [name ...]
       gpart load [-v]
       gpart unload [-v]
"""

OPTIONS = {
    "add": "t:a:b:s:i:l:f:",
    "backup": "",
    "commit": "",
    "create": "s:n:f:",
    "delete": "i:f:",
    "destroy": "Ff:",
    "list": "a",
    "modify": "i:l:t:f:",
    "recover": "f:",
    "set": "a:i:f:",
    "show": "lrp",
    "status": "ags",
    "undo": "",
    "unset": "a:i:f:",
}

#: what the kernel must be told for these, in the order in which it misses them
REQUIRED = {"set": "a", "unset": "a", "create": "s", "add": "t", "delete": "i", "modify": "i"}

_UNITS = {"": SECTOR, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def gpart(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command."""
    if not argv:
        raise Fail(USAGE)
    verb = argv[0]
    if verb not in OPTIONS:
        raise Fail("gpart: Unknown command: {0}.\n{1}".format(verb, USAGE))
    try:
        pairs, names = getopt.getopt(argv[1:], OPTIONS[verb])
    except getopt.GetoptError:
        raise Fail(USAGE)
    options = {key[1:]: value for key, value in pairs}
    if REQUIRED.get(verb, "") and REQUIRED[verb] not in options:
        raise Fail("gpart: Option '{0}' not specified.\n{1}".format(REQUIRED[verb], USAGE))
    names = [name[5:] if name.startswith("/dev/") else name for name in names]
    return globals()["_" + verb](machine, options, names)


# reading


def _tables(machine: Machine, names: List[str]) -> Tuple[List[Layout], Optional[str]]:
    found = geom.layouts(machine)
    if not names:
        return list(found.values()), None
    missing = next((name for name in names if name not in found), None)
    wanted = names[: names.index(missing)] if missing else names
    return [found[name] for name in wanted], missing


def _attributes(part: Part) -> str:
    # the tools list attributes in the opposite order of the kernel's XML
    shown = [flag for flag in ("bootfailed", "bootonce", "bootme", "active") if flag in part.flags]
    return " [{0}] ".format(",".join(shown)) if shown else ""


def show_table(layout: Layout, options: Dict[str, str]) -> str:
    """One table as ``gpart show`` prints it."""
    wide = len(str(layout.last))
    name_wide = len(layout.disk)
    if "p" in options:
        name_wide = max([name_wide] + [len(part.name) for part in layout.parts])
    lines = [
        "=>{0:>{w}}  {1:>{w}}  {2:>{n}}  {3}  ({4}){5}".format(
            layout.first,
            layout.last - layout.first + 1,
            layout.disk,
            layout.scheme,
            humanize(layout.sectors * SECTOR),
            " [CORRUPT]" if layout.corrupt else "",
            w=wide,
            n=name_wide,
        )
    ]

    def free(first: int, length: int) -> str:
        return "  {0:>{w}}  {1:>{w}}  {2:>{n}}  - free -  ({3})".format(
            first, length, "", humanize(length * SECTOR), w=wide, n=name_wide
        )

    at = layout.first
    for part in sorted(layout.parts, key=lambda each: each.first):
        if at < part.first:
            lines.append(free(at, part.first - at))
        what = part.kind
        if "l" in options:
            what = part.label or "(null)"
        elif "r" in options:
            what = part.rawtype
        lines.append(
            "  {0:>{w}}  {1:>{w}}  {2:>{n}}  {3} {4} ({5})".format(
                part.first,
                part.last - part.first + 1,
                part.name if "p" in options else part.index,
                what,
                _attributes(part),
                humanize(part.size),
                w=wide,
                n=name_wide,
            )
        )
        at = part.last + 1
    if at <= layout.last:
        lines.append(free(at, layout.last - at + 1))
    return "\n".join(lines) + "\n\n"


def _show(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    tables, missing = _tables(machine, names)
    out = "".join(show_table(layout, options) for layout in tables)
    if missing:
        raise Fail("gpart: No such geom: {0}.".format(missing), out=out)
    return Output(0, out)


def _backup(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    tables, missing = _tables(machine, names[:1])
    if missing:
        raise Fail("gpart: No such geom: {0}.".format(missing))
    layout = tables[0]
    wide, kind_wide = len(str(layout.last)), max([0] + [len(part.kind) for part in layout.parts])
    lines = ["{0} {1}".format(layout.scheme, layout.entries)]
    for part in layout.parts:
        lines.append(
            "{0:<{i}} {1:>{k}} {2:>{w}} {3:>{w}} {4} {5}".format(
                part.index,
                part.kind,
                part.first,
                part.last - part.first + 1,
                part.label or "",
                _attributes(part),
                i=len(str(layout.entries)),
                k=kind_wide,
                w=wide,
            )
        )
    return Output(0, "\n".join(lines) + "\n")


def _status(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    tables, missing = _tables(machine, names)
    if missing:
        raise Fail("gpart: No such geom: {0}.".format(missing))
    rows = [
        (part.name, "CORRUPT" if layout.corrupt else "OK", layout.disk) for layout in tables for part in layout.parts
    ]
    if "s" not in options:
        rows.insert(0, ("Name", "Status", "Components"))
    wide = [max([0] + [len(row[column]) for row in rows]) for column in (0, 1)]
    return Output(0, "".join("{0:>{a}}  {1:>{b}}  {2}\n".format(*row, a=wide[0], b=wide[1]) for row in rows))


def _list(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    tables, missing = _tables(machine, names)
    if missing:
        raise Fail("gpart: Class 'PART' does not have an instance named '{0}'.".format(missing))
    xml = geom.Confxml(machine)
    return Output(0, "".join(_list_table(xml, layout) for layout in tables))


def _list_table(xml: geom.Confxml, layout: Layout) -> str:
    lines = [
        "Geom name: {0}".format(layout.disk),
        "modified: {0}".format("true" if layout.modified else "false"),
        "state: {0}".format("CORRUPT" if layout.corrupt else "OK"),
        "fwheads: {0}".format(geom.firmware(layout.disk)[0]),
        "fwsectors: {0}".format(geom.firmware(layout.disk)[1]),
        "last: {0}".format(layout.last),
        "first: {0}".format(layout.first),
        "entries: {0}".format(layout.entries),
        "scheme: {0}".format(layout.scheme),
        "Providers:",
    ]
    for number, part in enumerate(layout.parts, start=1):
        lines += [
            "{0}. Name: {1}".format(number, part.name),
            "   Mediasize: {0} ({1})".format(part.size, humanize(part.size)),
            "   Sectorsize: {0}".format(SECTOR),
            "   Stripesize: 0",
            "   Stripeoffset: {0}".format(part.offset),
            "   Mode: r{0}w{1}e{2}".format(*xml.mode(part.name)),
        ]
        config = reversed(xml._part_config(layout, part))
        lines += ["   {0}: {1}".format(key, value) for key, value in config]
    lines += [
        "Consumers:",
        "1. Name: {0}".format(layout.disk),
        "   Mediasize: {0} ({1})".format(layout.sectors * SECTOR, humanize(layout.sectors * SECTOR)),
        "   Sectorsize: {0}".format(SECTOR),
        "   Mode: r{0}w{1}e{2}".format(*xml.mode(layout.disk)),
    ]
    return "\n".join(lines) + "\n\n"


# changing


def _target(machine: Machine, names: List[str]) -> Layout:
    name = names[0] if names else ""
    layout = geom.layouts(machine).get(name)
    if layout is None:
        raise Fail("gpart: arg0 '{0}': Invalid argument".format(name))
    return layout


def _trusted(layout: Layout) -> None:
    if layout.corrupt:
        raise Fail("gpart: table '{0}' is corrupt: Operation not permitted".format(layout.disk))


def _index(layout: Layout, options: Dict[str, str]) -> Optional[Part]:
    if "i" not in options:
        return None
    if not options["i"].isdigit():
        raise Fail("gpart: Invalid value for 'i' argument: Invalid argument")
    wanted = int(options["i"])
    found = next((part for part in layout.parts if part.index == wanted), None)
    if found is None:
        raise Fail("gpart: index '{0}': No such file or directory".format(wanted))
    return found


def _set(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    return _attribute(machine, options, names, True)


def _unset(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    return _attribute(machine, options, names, False)


def _attribute(machine: Machine, options: Dict[str, str], names: List[str], on: bool) -> Output:
    layout = _target(machine, names)
    part = _index(layout, options)
    _trusted(layout)
    attribute = options["a"]
    done = "{0} {1} on {2}\n".format(attribute, "set" if on else "unset", part.name if part else layout.disk)
    if layout.scheme == "MBR":
        _mbr_attribute(machine, layout, part, attribute, on)
        return Output(0, done)
    if attribute in ("active", "lenovofix"):
        if part is not None:
            raise Fail("gpart: attrib '{0}': Device not configured".format(attribute))
        return Output(0, done)  # changes the protective MBR only, which nothing here looks at
    if part is None:
        raise Fail("gpart: attrib '{0}': Operation not supported by device".format(attribute))
    if attribute not in gpt.ATTRIBUTES:
        raise Fail("gpart: attrib '{0}': Invalid argument".format(attribute))
    bits = gpt.ATTRIBUTES[attribute]
    if on and attribute == "bootonce":
        bits |= gpt.ATTRIBUTES["bootme"]
    entry = layout.table.entries[part.index]
    entry.attributes = entry.attributes | bits if on else entry.attributes & ~bits
    if "f" in options and "C" not in options["f"]:
        machine.running["pending"][layout.disk] = {
            str(index): each.attributes for index, each in layout.table.entries.items()
        }
    else:
        _write(machine, layout)
    return Output(0, done)


def _mbr_attribute(machine: Machine, layout: Layout, part: Optional[Part], attribute: str, on: bool) -> None:
    if part is None:
        raise Fail("gpart: attrib '{0}': Operation not supported by device".format(attribute))
    if attribute != "active":
        raise Fail("gpart: attrib '{0}': Invalid argument".format(attribute))
    mbr: Mbr = layout.table
    for index, flag, kind, first, length in list(mbr.slices()):
        kept = 0 if on or index == part.index else flag
        mbr.put(index, 0x80 if on and index == part.index else kept, kind, first, length)
    _write(machine, layout)


def _write(machine: Machine, layout: Layout) -> None:
    machine.running["pending"].pop(layout.disk, None)
    with open(machine.image(layout.disk), "r+b") as file:
        if layout.scheme == "MBR":
            layout.table.write(file)
        else:
            gpt.write_table(file, layout.table)


def _commit(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    if not layout.modified:
        raise Fail("gpart: Operation not permitted")
    _write(machine, layout)
    return Output()


def _undo(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    if not layout.modified:
        raise Fail("gpart: Operation not permitted")
    machine.running["pending"].pop(layout.disk)
    return Output()


def _recover(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    if not layout.corrupt:
        return Output(0, "{0} recovering is not needed\n".format(layout.disk))
    layout.table.first, layout.table.last = _usable(layout.table)
    _write(machine, layout)
    return Output(0, "{0} recovered\n".format(layout.disk))


def _usable(table: gpt.Table) -> Tuple[int, int]:
    """The sectors that FreeBSD gives to partitions: whole ones of 4 KiB, unless a partition is in the way.

    Source: g_gpt_set_defaults in sys/geom/part/g_part_gpt.c.
    """
    first, last = 2 + table.table_sectors, table.sectors - 2 - table.table_sectors
    lowest = min([last] + [entry.first for entry in table.entries.values()])
    highest = max([first] + [entry.last for entry in table.entries.values()])
    aligned = -(-first // 8) * 8, last - (last + 1) % 8
    return aligned[0] if aligned[0] <= lowest else first, aligned[1] if highest <= aligned[1] else last


def _create(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    name = names[0] if names else ""
    if options["s"].lower() not in ("gpt", "mbr"):
        raise Fail("gpart: scheme '{0}': Invalid argument".format(options["s"]))
    if name not in machine.hardware["disks"]:
        raise Fail("gpart: arg0 '{0}': Invalid argument".format(name))
    if name in geom.layouts(machine):
        raise Fail("gpart: geom '{0}': File exists".format(name))
    sectors = machine.hardware["disks"][name]["size"] // SECTOR
    with open(machine.image(name), "r+b") as file:
        if options["s"].lower() == "mbr":
            Mbr(bytes(510) + b"\x55\xaa", geom.firmware(name)).write(file)
        else:
            count = int(options.get("n", "128"))
            table = gpt.new_table(sectors, geom.deterministic_guid(machine, name), count)
            table.first, table.last = _usable(table)
            file.write(gpt.protective_mbr(sectors))
            gpt.write_table(file, table)
    return Output(0, "{0} created\n".format(name))


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmgt]?)", text.lower())
    if match is None:
        raise Fail("gpart: Invalid value for 's' argument: Invalid argument")
    return int(match.group(1)) * _UNITS[match.group(2)]


def _gap(layout: Layout, size: Optional[int], align: int) -> Optional[Tuple[int, int]]:
    """The first gap that is large enough: first sector and length."""
    at = layout.first
    for first, last in [(part.first, part.last) for part in sorted(layout.parts, key=lambda p: p.first)] + [
        (layout.last + 1, layout.last)
    ]:
        start = -(-at // align) * align
        room = first - start
        if room > 0 and (size is None or room >= size):
            return start, size if size is not None else room
        at = max(at, last + 1)
    return None


def _add(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    _trusted(layout)
    kind = options["t"]
    used = {part.index for part in layout.parts}
    index = next((each for each in range(1, layout.entries + 1) if each not in used), None)
    if "i" in options and int(options["i"]) not in used:
        index = int(options["i"])
    size = _bytes(options["s"]) // SECTOR if "s" in options else None
    align = _bytes(options["a"]) // SECTOR if "a" in options else 1
    gap = _gap(layout, size, align)
    if gap is None:
        raise Fail("gpart: autofill: No space left on device")
    if index is None:
        raise Fail("gpart: index '{0}': No space left on device".format(layout.entries + 1))
    first, length = gap
    if layout.scheme == "MBR":
        first, length = _aligned(layout.disk, first, length)
        layout.table.put(index, 0, 0xA5, first, length)
        name = "{0}s{1}".format(layout.disk, index)
    else:
        if kind not in gpt.TYPES:
            raise Fail("gpart: type '{0}': Invalid argument".format(kind))
        name = "{0}p{1}".format(layout.disk, index)
        guid = geom.deterministic_guid(machine, name)
        entry = gpt.Entry(gpt.TYPES[kind], guid, first, first + length - 1, 0, options.get("l", ""))
        layout.table.add(index, entry)
    _write(machine, layout)
    return Output(0, "{0} added\n".format(name))


def _aligned(disk: str, first: int, length: int) -> Tuple[int, int]:
    """A slice that begins and ends with a track."""
    track = geom.firmware(disk)[1]
    skipped = -first % track
    if length < track + skipped:
        raise Fail("gpart: Invalid argument")
    return first + skipped, (length - skipped) // track * track


def _modify(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    part = _index(layout, options)
    assert part is not None
    _trusted(layout)
    if layout.scheme == "MBR" or options.get("t", "freebsd-ufs") not in gpt.TYPES:
        raise Fail("gpart: Invalid argument")
    entry = layout.table.entries[part.index]
    entry.label = options.get("l", entry.label)
    if "t" in options:
        entry.kind = gpt.TYPES[options["t"]]
    _write(machine, layout)
    return Output(0, "{0} modified\n".format(part.name))


def _delete(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    part = _index(layout, options)
    assert part is not None
    _trusted(layout)
    if any(geom.Confxml(machine).mode(part.name)):
        raise Fail("gpart: Device busy")
    if layout.scheme == "MBR":
        layout.table.put(part.index, 0, 0, 0, 0)
    else:
        del layout.table.entries[part.index]
    _write(machine, layout)
    return Output(0, "{0} deleted\n".format(part.name))


def _destroy(machine: Machine, options: Dict[str, str], names: List[str]) -> Output:
    layout = _target(machine, names)
    xml = geom.Confxml(machine)
    if any(any(xml.mode(part.name)) for part in layout.parts) or (layout.parts and "F" not in options):
        raise Fail("gpart: Device busy")
    with open(machine.image(layout.disk), "r+b") as file:
        file.write(bytes(34 * SECTOR))
        file.seek(-34 * SECTOR, 2)
        file.write(bytes(34 * SECTOR))
    return Output(0, "{0} destroyed\n".format(layout.disk))


def boot0cfg(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """The command: it sets and shows the slice that boot0 boots by itself; all else of boot0 is as it was built."""
    try:
        pairs, names = getopt.getopt(argv, "Bvb:d:f:m:o:s:t:")
    except getopt.GetoptError:
        names = []
    if len(names) != 1:
        raise Fail(
            "usage: boot0cfg [-Bv] [-b boot0] [-d drive] [-f file] [-m mask]\n"
            "                [-o options] [-s slice] [-t ticks] disk\n"
        )
    options: Dict[str, Any] = {key[1:]: value for key, value in pairs}
    name = names[0][5:] if names[0].startswith("/dev/") else names[0]
    layout = geom.layouts(machine).get(name)
    if layout is None:
        if geom.find(machine, name) is None:
            raise Fail("boot0cfg: Unable to get providername for {0}\n\n".format(name))
        raise Fail("boot0cfg: /dev/{0}: bad magic".format(name))
    disk = machine.hardware["disks"][name]
    if layout.scheme != "MBR" or (disk.get("boot0") is None and "B" not in options):
        raise Fail("boot0cfg: /dev/{0}: unknown or incompatible boot code".format(name))
    if "s" in options:
        if not options["s"].isdigit() or not 1 <= int(options["s"]) <= 6:
            raise Fail("boot0cfg: {0}: Bad argument to -s option".format(options["s"]))
        disk["boot0"] = int(options["s"])
    if "v" not in options:
        return Output()
    default = int(disk["boot0"])
    return Output(
        0,
        layout.table.shown()
        + "version=2.0  drive=0x80  mask=0xf  ticks=182  bell=# (0x23)\noptions=packet,update,nosetdrv\n"
        + "volume serial ID a8a8-a8a8\n"
        + "default_selection=F{0} ({1})\n".format(default, {5: "Drive 1", 6: "PXE"}.get(default, "Slice %d" % default)),
    )
