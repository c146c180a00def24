# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""When a host is pulled: once in each window, and again after a failure, at growing distances."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import datetime, timedelta
from typing import Iterator, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._hours import Window

#: after a failure the next try is after as many seconds, twice as many after the next, and so on; and the most
RETRY, LONGEST_RETRY = 900, 4 * 3600

#: what a clock may be ahead (seconds) before what it has dated is taken for a clock that jumped
SKEW = 3600

DAY = 86400

_ZONES = "/usr/share/zoneinfo"


class Opening(NamedTuple):
    """A window that is open, in seconds since the epoch."""

    begin: float
    end: float


@contextlib.contextmanager
def in_zone(zone: str) -> Iterator[None]:
    """The C library's idea of local time (tzset(3)). Python 3.8 knows no zones of its own. Not while threads run.

    :param zone: empty for that of the machine.
    :raises Refused: when the machine knows none of that name; the C library would silently take UTC.
    """
    if zone and not os.path.isfile(os.path.join(_ZONES, zone)):
        raise Refused(
            "this backup host knows no time zone {0!r}".format(zone),
            safe="nothing was changed",
            todo="name one as IANA does (Europe/Berlin), or install tzdata here",
        )
    before = os.environ.get("TZ")
    try:
        if zone:
            os.environ["TZ"] = zone
            time.tzset()
        yield
    finally:
        if zone:
            os.environ.pop("TZ")
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()


def _moment(day: datetime, minutes: int) -> float:
    """A time on the wall clock; what the clock skips or has twice is settled by mktime(3)."""
    return time.mktime((day.year, day.month, day.day, minutes // 60, minutes % 60, 0, 0, 0, -1))


def opening(window: Optional[Window], zone: str, now: float) -> Optional[Opening]:
    """The window that is open now; ``None`` where none is.

    :param window: ``None`` for at any time, which is from midnight to midnight.
    :param now: seconds since the epoch.
    :raises Refused: see :func:`in_zone`.
    """
    with in_zone(zone):
        today = datetime.fromtimestamp(now)
        for day in (today - timedelta(days=1), today):
            if window is None:
                begin, end = _moment(day, 0), _moment(day, 24 * 60)
            elif day.weekday() not in window.days:
                continue
            else:
                last = window.end + (24 * 60 if window.over_midnight else 0)
                begin, end = _moment(day, window.begin), _moment(day, last)
            if begin <= now < end:
                return Opening(begin, end)
    return None


def look_is_due(every: int, verified: Optional[float], looked: Optional[float], now: float) -> bool:
    """Whether one of a host's sets is to be looked into by itself.

    :param every: after how many days; 0 for never.
    :param verified: when one was, and something could be said of it (seconds since the epoch).
    :param looked: when that was tried last.
    """
    if not every:
        return False
    # what is due on a night is so at its begin; one from the future was dated by a clock that was wrong
    if verified is not None and now - every * DAY + DAY // 4 < verified <= now + SKEW:
        return False
    return looked is None or not now - DAY + DAY // 4 < looked <= now + SKEW


def waits(found: Optional[Opening], good: Optional[float], tried: Optional[float], failures: int, now: float) -> str:
    """Why a host is not pulled now; empty where it is.

    :param found: its window, where that is open.
    :param good: when its newest good set was begun, by the clock here (seconds since the epoch); ``None`` where there
        is none.
    :param tried: when it was tried last.
    :param failures: how many tries in a row have failed.
    """
    if found is None:
        return "its window is closed"
    # one from the future was dated by a clock that was wrong: it says nothing about today
    if good is not None and found.begin <= good <= now + SKEW:
        return "it has its set of this window"
    if failures and tried is not None:
        distance = min(RETRY * 2 ** min(failures - 1, 10), LONGEST_RETRY)
        # cron(8) is never exactly on time
        if 0 <= now - tried < distance - 60:
            return "it failed {0} s ago and is tried again {1} s after that".format(int(now - tried), distance)
    return ""
