# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""For how long sets are kept, decided from when they were taken.

Not by the day of the week or month: a host that was off on the first of a month would have no monthly set. All times
are by the clock of the backup host. What that has dated into the future, when it was wrong, is as far away as anything
else is: nothing waits for it.
"""

from __future__ import annotations

from typing import Iterable, List, Mapping, Tuple

DAY = 86400

#: how far apart sets of a kind are (seconds), with half a day for windows that are not always used at the same hour
_APART = {"weekly": 7 * DAY - DAY // 2, "monthly": 28 * DAY - DAY // 2}

#: how many days a set of a kind stands for
_DAYS = {"daily": 1, "weekly": 7, "monthly": 30}


def rotations(retain: Mapping[str, int], taken: Mapping[str, float]) -> List[str]:
    """Which intervals rsnapshot rotates for a new set, in order: the one that is kept longest comes first.

    The oldest daily set would go. It becomes a weekly one if the newest of those is a week older; the oldest weekly
    set, which would go for that, a monthly one in the same way.

    :param retain: how many of each are kept.
    :param taken: when the sets that are there were taken, by the names of their folders (``daily.0``).
    """

    def becomes(kind: str, lower: str) -> bool:
        oldest = "{0}.{1}".format(lower, retain[lower] - 1)
        if not retain.get(kind) or oldest not in taken:
            return False
        newest = taken.get(kind + ".0")
        return newest is None or abs(taken[oldest] - newest) >= _APART[kind]

    found = ["daily"]
    if becomes("weekly", "daily"):
        found.insert(0, "weekly")
        if becomes("monthly", "weekly"):
            found.insert(0, "monthly")
    return found


def kind_of(retain: Mapping[str, int], kept: Iterable[Tuple[str, float]], taken: float) -> str:
    """For how long a new image of dirvish is kept: as the longest kind of which the newest is old enough.

    :param kept: kind and time of the good images that are there.
    :param taken: when the new one was taken. All times in seconds since the epoch.
    """
    kept = list(kept)
    for kind, as_good in (("monthly", ("monthly",)), ("weekly", ("weekly", "monthly"))):
        if retain.get(kind) and all(abs(taken - when) >= _APART[kind] for what, when in kept if what in as_good):
            return kind
    return "daily"


def days(retain: Mapping[str, int], kind: str) -> int:
    """After how many days a set of a kind goes."""
    return retain[kind] * _DAYS[kind]
