# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One system, compared with the list of known holes that is here: for whoever builds or publishes it.

A build asks no server that it was not told to ask, and does not fail for a hole: it says what is known.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol, exceptions, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.exceptions import Accepted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import Matcher, Subject, wanted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audited, audited, named
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.source import Loaded

Say = Callable[[str], None]

#: what an action has of it as arguments; documented in the fragment ``holes``
ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "vuxml": {"type": "raw", "default": ""},
    "cache": {"type": "path", "default": source.Terms.cache},
    "vuxml_max_age": {"type": "int", "default": source.MAX_AGE},
    "vuxml_ignore": {"type": "list", "elements": "raw", "default": []},
}


@dataclass(frozen=True)
class Order:
    """What a system is compared with.

    :param accepted: the holes that somebody lives with.
    """

    terms: source.Terms
    accepted: Tuple[Accepted, ...] = ()

    @property
    def here(self) -> Order:
        """The same, by what is on this machine."""
        return replace(self, terms=replace(self.terms, fetch=False))


def order_of(arguments: Mapping[str, Any], find: Callable[[Any], Any]) -> Order:
    """What :data:`ARGUMENTS` say.

    :param find: where a file of the site is.
    :raises Refused: for what they must not say.
    """
    terms = source.Terms(
        where=find(arguments["vuxml"]) if arguments["vuxml"] else "",
        cache=str(arguments["cache"]),
        max_age=max(0, arguments["vuxml_max_age"]),
    )
    return Order(terms, exceptions.parse(arguments["vuxml_ignore"]))


def day_of(now: float) -> datetime.date:
    """The day of a time in seconds since the epoch, in UTC."""
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).date()


def look(subject: Subject, order: Order, now: float, say: Say) -> Tuple[Audited, Loaded]:
    """A system, compared with the list; and that.

    :param now: in seconds since the epoch.
    :raises FleetError: when there is no list that may be believed.
    """
    loaded = source.load(order.terms, wanted([subject]), now, say)
    return audited(subject, Matcher(loaded.database), order.accepted, eol.table(), day_of(now)), loaded


def check(order: Order, variable: str) -> None:
    """Refuse what needs a list where there is none.

    :param variable: that asks for it.
    :raises Refused: with what to do.
    """
    if not source.is_there(order.here.terms):
        raise Refused(
            "{0} needs the list of known holes, and there is none on this machine".format(variable),
            safe="nothing was built or published",
            todo="run ansible-playbook audit.yml, which fetches it, or name a file (audit_vuxml)",
        )


def told(subject: Subject, order: Order, now: float, say: Say) -> List[str]:
    """What there is to say of a system in the end of its build, by what is on this machine. It never fails.

    :param now: in seconds since the epoch.
    """
    lines = []
    try:
        there = bool(order.terms.where) or source.is_there(order.here.terms)
        if there:
            found, loaded = look(subject, order.here, now, say)
            lines += _holes(found, loaded, day_of(now))
    except FleetError as error:
        lines.append("known holes were not looked for: {0}".format(error.what))
    end = eol.table().told(subject.release, day_of(now)) if subject.release else ""
    return [*lines, *([end] if end else [])]


def _holes(found: Audited, loaded: Loaded, today: datetime.date) -> List[str]:
    line = "{0}: {1}".format(plain(found.subject.title), named(found))
    return [line, *found.subject.doubts, "compared with {0}".format(loaded.words(today))]
