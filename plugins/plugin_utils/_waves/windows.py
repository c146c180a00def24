# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance windows: when a host may be restarted, in the time of the place where it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import FrozenSet, List, Optional, Sequence, Set, Tuple

from zoneinfo import ZoneInfo

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

#: how far ahead the next window is looked for (days): each comes once a week
HORIZON = 8

_WINDOW = re.compile(r"(?:(?P<days>[A-Za-z][A-Za-z,\s-]*?)\s+)?(?P<from>\d{1,2}:\d{2})\s*-\s*(?P<to>\d{1,2}:\d{2})")
_EXAMPLE = 'as "Sun-Thu 01:00-05:00", "Sat,Sun 00:00-24:00" or "22:00-04:00"'


@dataclass(frozen=True)
class Window:
    """Times of the week.

    :param days: on which it opens, 0 is Monday.
    :param begin: minutes after midnight.
    :param end: the same; one that is not after ``begin`` is on the next day.
    """

    days: FrozenSet[int]
    begin: int
    end: int

    @property
    def over_midnight(self) -> bool:
        return self.end <= self.begin


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError("{0} is no time of a day".format(text))
    return hours * 60 + minutes


def _day(text: str) -> int:
    name = text.strip()[:3].capitalize()
    if name not in DAYS or not re.fullmatch(r"[A-Za-z]{3,9}", text.strip()):
        raise ValueError("{0!r} is no day of a week".format(text.strip()))
    return DAYS.index(name)


def _days(text: str) -> FrozenSet[int]:
    found: Set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        end = _day(last) if dash else begin
        found.update((begin + number) % 7 for number in range((end - begin) % 7 + 1))
    return frozenset(found)


def parse(text: str) -> Window:
    """One window.

    :param text: days of the week, as a list or from one to another (all where none are named), and two times of a day.
    :raises Refused: when it is none.
    """
    match = _WINDOW.fullmatch(text.strip())
    try:
        if not match:
            raise ValueError("it is not {0}".format(_EXAMPLE))
        begin, end = _minutes(match["from"]), _minutes(match["to"])
        if begin in (end, 24 * 60):
            raise ValueError("it ends when it begins")
        return Window(_days(match["days"]) if match["days"] else frozenset(range(7)), begin, end)
    except ValueError as error:
        raise Refused(
            "{0!r} is no maintenance window: {1}".format(text, error), safe="nothing was changed", todo="correct it"
        )


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
