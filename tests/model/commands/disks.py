# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""glabel(8) and diskinfo(8), as far as the collection and its early hook use them."""

from __future__ import annotations

from typing import List, Optional

from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail, Machine, Output


def glabel(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``glabel status [-s] [NAME ...]``."""
    if argv[:1] != ["status"]:
        raise Fail("glabel: Unknown command: {0}.".format(argv[0] if argv else ""))
    names = [word for word in argv[1:] if not word.startswith("-")]
    rows = [(label, "N/A", part.name) for label, (_place, part) in geom.labels(machine).items()]
    for name in names:
        if name not in [row[2] for row in rows]:
            raise Fail("glabel: No such geom: {0}.".format(name))
    rows = [row for row in rows if not names or row[2] in names]
    if "-s" not in argv:
        rows.insert(0, ("Name", "Status", "Components"))
    wide = [max([0] + [len(row[column]) for row in rows]) for column in (0, 1)]
    return Output(0, "".join("{0:>{a}}  {1:>{b}}  {2}\n".format(*row, a=wide[0], b=wide[1]) for row in rows))


def diskinfo(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``diskinfo PROVIDER ...``."""
    out, missing = "", []
    for name in argv:
        place = geom.find(machine, name)
        if place is None:
            missing.append("diskinfo: {0}: No such file or directory\n".format(name))
            continue
        sectors = place.size // geom.SECTOR
        out += "\t".join(
            str(each)
            for each in (name, geom.SECTOR, place.size, sectors, 0, place.offset, sectors // (16 * 63), 16, 63)
        )
        out += "\n"
    if missing:
        raise Fail("".join(missing), out=out)
    return Output(0, out)
