# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Known holes that somebody has looked into and lives with: which, why, and until when.

An exception without an end would outlive its reason, so each has a day after which it counts no more.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import Finding
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.vuxml import Advisory

#: for how long before its end an exception is spoken of (days)
SOON = 14

#: why a product is not affected, in the words of CycloneDX (``impactAnalysisJustification`` of its schema 1.6)
JUSTIFICATIONS = (
    "code_not_present",
    "code_not_reachable",
    "requires_configuration",
    "requires_dependency",
    "requires_environment",
    "protected_by_compiler",
    "protected_at_runtime",
    "protected_at_perimeter",
    "protected_by_mitigating_control",
)

_KEYS = {"id", "until", "reason", "justification"}
_LINE = re.compile(r"(\S+)\s+(\S+)\s+(\S.*)")


@dataclass(frozen=True)
class Accepted:
    """One of them.

    :param name: a CVE, the UUID of an entry, or FreeBSD's own name of an advisory; in lower case.
    :param until: the last day on which it counts.
    :param justification: one of :data:`JUSTIFICATIONS`, or empty.
    """

    name: str
    until: datetime.date
    reason: str
    justification: str = ""


class Sorted(NamedTuple):
    """Findings, and those of them that somebody lives with."""

    open: List[Finding]
    accepted: List[Tuple[Finding, Accepted]]


def _refused(entry: object, why: str) -> Refused:
    return Refused(
        "audit_ignore: {0} {1}".format(plain(repr(entry)), why),
        safe="nothing was audited",
        todo="write id, until (2026-12-31) and reason, as a mapping or as the words of a line",
    )


def _parse(entry: object) -> Accepted:
    values: Mapping[str, Any]
    if isinstance(entry, Mapping):
        values = entry
    else:
        match = _LINE.fullmatch(str(entry).strip())
        if match is None:
            raise _refused(entry, "lacks its end or its reason")
        values = dict(zip(("id", "until", "reason"), match.groups()))
    if not set(values) <= _KEYS:
        raise _refused(entry, "has more than id, until, reason and justification")
    name, reason = (" ".join(str(values.get(key) or "").split()) for key in ("id", "reason"))
    if not name or not reason:
        raise _refused(entry, "lacks its id or its reason")
    justification = str(values.get("justification") or "")
    if justification and justification not in JUSTIFICATIONS:
        raise _refused(entry, "has a justification that is none of {0}".format(", ".join(JUSTIFICATIONS)))
    try:
        until = datetime.date.fromisoformat(str(values.get("until") or "").strip())
    except ValueError:
        raise _refused(entry, "has no day on which it ends")
    return Accepted(name.lower(), until, reason, justification)


def parse(entries: Sequence[object]) -> Tuple[Accepted, ...]:
    """What a site has written.

    :param entries: mappings with ``id``, ``until``, ``reason`` and perhaps ``justification``, or lines with the first
        three in this order.
    :raises Refused: for what is none.
    """
    return tuple(_parse(each) for each in entries)


def _notice_names(notice: str) -> List[str]:
    """The names of a notice: ``SA-26:18.x`` in the list is what people call ``FreeBSD-SA-26:18.x``."""
    name = notice.lower()
    return [name, "freebsd-" + name]


def _known_as(advisory: Advisory) -> List[str]:
    notices = [name for each in advisory.notices for name in _notice_names(each)]
    return [advisory.vid.lower(), *notices, *(each.lower() for each in advisory.cves)]


def _together(names: Sequence[Sequence[str]], given: Mapping[str, Accepted]) -> Optional[Accepted]:
    """What exceptions say together that only count where each of some holes has one.

    :param names: of each of them, what it may be called.
    """
    found: List[Accepted] = []
    for those in names:
        each = next((given[name] for name in those if name in given), None)
        if each is None:  # one CVE of five says nothing of the other four
            return None
        found.append(each)
    if not found:
        return None
    why = {each.justification for each in found}
    return replace(
        min(found, key=lambda each: each.until),
        reason="; ".join(dict.fromkeys(each.reason for each in found)),
        justification=found[0].justification if len(why) == 1 else "",  # that of one is none of the others
    )


def _covering(advisory: Advisory, given: Mapping[str, Accepted]) -> Optional[Accepted]:
    """The exception that an entry has as a whole: by its UUID, by all of its notices, or by all of its CVEs."""
    whole = given.get(advisory.vid.lower())
    notices = [_notice_names(each) for each in advisory.notices]
    return whole or _together(notices, given) or _together([[each.lower()] for each in advisory.cves], given)


def sort(findings: Sequence[Finding], exceptions: Sequence[Accepted], today: datetime.date) -> Sorted:
    """Which findings somebody lives with."""
    given = {each.name: each for each in exceptions if each.until >= today}
    result = Sorted([], [])
    for finding in findings:
        exception = _covering(finding.advisory, given)
        if exception is None:
            result.open.append(finding)
        else:
            result.accepted.append((finding, exception))
    return result


def remarks(findings: Sequence[Finding], exceptions: Sequence[Accepted], today: datetime.date) -> List[str]:
    """What there is to say of the exceptions: those that ended, end soon, or are of no use.

    :param findings: of everything that was audited.
    """
    found = []
    used = {name for finding in findings for name in _known_as(finding.advisory)}
    for each in sorted(exceptions, key=lambda one: (one.until, one.name)):
        name = plain(each.name)
        if each.until < today:
            found.append("the exception for {0} ended on {1}: {2}".format(name, each.until, plain(each.reason)))
        elif each.name not in used:
            found.append("the exception for {0} is of no use: nothing here has that hole".format(name))
        elif (each.until - today).days <= SOON:
            found.append("the exception for {0} ends on {1}: {2}".format(name, each.until, plain(each.reason)))
    return found
