# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Windows: hours of the days of a week, as an inventory has them. When they are open is asked elsewhere: only who asks
knows in which zone, and how zones are looked up there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import FrozenSet, Set

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

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


def parse(text: str, what: str = "maintenance window") -> Window:
    """One window.

    :param text: days of the week, as a list or from one to another (all where none are named), and two times of a day.
    :param what: what it is called in messages.
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
        raise Refused("{0!r} is no {1}: {2}".format(text, what, error), safe="nothing was changed", todo="correct it")
