# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance windows: when a host may be restarted, in the time of the place where it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import List, Optional, Sequence, Tuple

from zoneinfo import ZoneInfo

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._hours import DAYS, Window, parse

#: how far ahead the next window is looked for (days): each comes once a week
HORIZON = 8

__all__ = ["DAYS", "Opening", "Window", "closed", "opening", "parse", "spans", "zone_of"]


def zone_of(name: str) -> ZoneInfo:
    """A time zone.

    :param name: as IANA has it, such as ``Europe/Berlin``.
    :raises Refused: when this machine knows none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # it is not there; it is a folder; it is a path
        raise Refused(
            "this machine knows no time zone {0!r}".format(name),
            safe="nothing was changed",
            todo="name one as IANA does (Europe/Berlin), or install tzdata here",
        )


def _moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """A time on a wall clock as a point in time. One that a clock skips is taken as if it had not been set."""
    if minutes >= 24 * 60:
        day, minutes = day + timedelta(days=1), minutes - 24 * 60
    local = datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=zone)
    return local.astimezone(timezone.utc)


def spans(windows: Sequence[Window], zone: ZoneInfo, now: datetime) -> List[Tuple[datetime, datetime]]:
    """When the windows are open around now and in the week after it, those that touch as one; in UTC, in order."""
    today = now.astimezone(zone).date()
    found: List[Tuple[datetime, datetime]] = []
    for offset in range(-1, HORIZON):
        day = today + timedelta(days=offset)
        for window in windows:
            if day.weekday() in window.days:
                last = window.end + (24 * 60 if window.over_midnight else 0)
                found.append((_moment(day, window.begin, zone), _moment(day, last, zone)))
    merged: List[Tuple[datetime, datetime]] = []
    for begin, end in sorted(found):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif begin < end:  # a clock that is set forward may take all of one
            merged.append((begin, end))
    return merged


@dataclass(frozen=True)
class Opening:
    """How it stands with the windows of a host.

    :param left: seconds until the one that is open closes; ``None`` where none is open.
    :param opens: when the next one opens, in the zone of the host; ``None`` where none does within a week.
    """

    left: Optional[float]
    opens: Optional[datetime]


def opening(windows: Sequence[Window], zone: ZoneInfo, now: datetime) -> Opening:
    """How it stands now.

    :param now: with a time zone.
    """
    left, opens = None, None
    for begin, end in spans(windows, zone, now):
        if begin <= now < end:
            left = (end - now).total_seconds()
        elif begin > now and opens is None:
            opens = begin.astimezone(zone)
    return Opening(left, opens)


def closed(windows: Sequence[Window], zone: ZoneInfo, now: datetime, need: float) -> str:
    """Why a host may not be begun now; empty where it may.

    :param windows: of the host; without any it may at any time.
    :param need: how long it may take, in seconds.
    """
    if not windows:
        return ""
    found = opening(windows, zone, now)
    if found.left is not None and found.left >= need:
        return ""
    when = "it opens {0}".format(found.opens.strftime("%a %H:%M %Z")) if found.opens else "none opens within a week"
    if found.left is None:
        return "its maintenance window is closed; {0}".format(when)
    return "its maintenance window closes in {0:.0f} minutes, and this may take {1:.0f}; {2} again".format(
        found.left // 60, -(-need // 60), when
    )
