# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a report says things: what others have written, numbers, sizes, times."""

from __future__ import annotations

import datetime
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import LONGEST, plain

__all__ = ["LONGEST", "NAMED", "duration", "moment", "plain", "size"]

#: names of hosts that a line has
NAMED = 3


def size(count: float) -> str:
    """A number of bytes for people, in powers of 1000 as transfers and disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return (
                "{0:.0f} {1}".format(count, unit) if count >= 100 or unit == "B" else "{0:.1f} {1}".format(count, unit)
            )
        count /= 1000
    return "{0:.1f} PB".format(count)


def duration(seconds: float) -> str:
    """A time span for people; two units at most."""
    left = max(0, int(seconds))
    parts: List[str] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= length and len(parts) < 2:
            parts.append("{0} {1}".format(left // length, unit))
            left %= length
        elif parts:
            break
    return " ".join(parts) or "0 s"


def moment(at: float) -> str:
    """A time, in UTC: ``2026-11-30 10:17Z``; a dash for one that no calendar has."""
    try:
        return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d %H:%MZ")
    except (ValueError, OverflowError, OSError):
        return "-"
