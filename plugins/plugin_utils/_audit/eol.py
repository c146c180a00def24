# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Until when a release of FreeBSD has support. The dates are in one file, ``end_of_life.yml``, which says its own.

What is not in it is not known: a release that is newer than the table may be in its first month or long over.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import yaml

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain

SUPPORTED, ENDED, UNKNOWN = "supported", "ended", "unknown"

#: for how long before the end of support it is spoken of (days)
SOON = 60

#: for how long the table is believed of a release whose end had not been announced (days): each has support for three
#: months after the next one, which comes half a year after it
TRUSTED = 180

#: where the dates are announced
SOURCE = "https://www.freebsd.org/security/"

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "end_of_life.yml")

#: as freebsd-version(1) says it; the patch level is that of the release
_RELEASE = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})-RELEASE(?:-p[0-9]{1,6})?\Z")
_STABLE = re.compile(r"([0-9]{1,4})(?:\.[0-9]{1,4})?-STABLE\Z")


class Support(NamedTuple):
    """How a release stands.

    :param state: one of :data:`SUPPORTED`, :data:`ENDED`, :data:`UNKNOWN`.
    :param until: the last day; ``None`` where that is not known.
    """

    release: str
    state: str
    until: Optional[datetime.date] = None


def _number(name: str) -> Tuple[int, ...]:
    return tuple(int(word) for word in name.partition("-")[0].split("."))


@dataclass(frozen=True)
class Table:
    """The dates.

    :param as_of: when the table was made.
    :param until: the last day by release (``13.2-RELEASE``) or branch (``13-STABLE``); ``None`` where it had not been
        announced then.
    """

    as_of: datetime.date
    until: Mapping[str, Optional[datetime.date]]

    def date(self, release: str) -> Optional[datetime.date]:
        """The last day of a release, with a patch level or without; ``None`` where it is not known."""
        found = self.until.get(release)
        return found or self.until.get(_key(release))

    def of(self, release: str, today: datetime.date) -> Support:
        """How a release stands.

        :param release: what ``freebsd-version`` says.
        """
        until = self.date(release)
        if until is not None:
            return Support(release, SUPPORTED if today <= until else ENDED, until)
        key = _key(release)
        if key in self.until and (today - self.as_of).days <= TRUSTED:
            return Support(release, SUPPORTED)
        if key and _number(key) < min(_number(each) for each in self.until if _key(each)):
            return Support(release, ENDED)  # the table begins after its end
        return Support(release, UNKNOWN)

    def words(self, support: Support, today: datetime.date) -> str:
        """What there is to say of it; empty for one whose end is far away."""
        name = plain(support.release)
        if support.state == UNKNOWN:
            return "whether {0} has support is not known: the table of {1} does not say it".format(
                name or "a FreeBSD of unknown release", self.as_of
            )
        if support.state == ENDED:
            return "support of {0} ended{1}".format(name, " on {0}".format(support.until) if support.until else "")
        if support.until is not None and (support.until - today).days <= SOON:
            return "support of {0} ends on {1}".format(name, support.until)
        return ""

    def told(self, release: str, today: datetime.date) -> str:
        """What there is to say of a release; empty where nothing is."""
        return self.words(self.of(release, today), today)

    def corrected(self, given: Mapping[str, Any]) -> Table:
        """With dates that a site knows better.

        :param given: by the release, ``13.2-RELEASE``, a date as ``2024-06-30``.
        :raises Refused: for what is no date.
        """
        found: Dict[str, Optional[datetime.date]] = dict(self.until)
        for release, text in given.items():
            try:
                found[str(release)] = datetime.date.fromisoformat(str(text).strip())
            except ValueError:
                raise Refused(
                    "report_support: {0!r} of {1} is no date".format(plain(text), plain(release)),
                    safe="nothing was looked at",
                    todo="write it as 2024-06-30; {0} has the dates".format(SOURCE),
                )
        return replace(self, until=found)


def _key(release: str) -> str:
    """The name of a release in the table; empty for what has none, such as a -CURRENT."""
    match, branch = _RELEASE.match(release), _STABLE.match(release)
    if match is not None:
        return "{0}.{1}-RELEASE".format(*match.groups())
    return "{0}-STABLE".format(branch.group(1)) if branch is not None else ""


@functools.lru_cache(maxsize=None)
def table() -> Table:
    """That of the collection.

    :raises OSError: when the collection is not whole.
    """
    with open(_FILE, encoding="utf-8") as file:
        values = yaml.safe_load(file)
    return Table(values["as_of"], values["until"])
