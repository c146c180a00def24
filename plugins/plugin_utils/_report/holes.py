# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The known holes of what a host runs, as a report says them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import DEGRADED, Finding
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol, exceptions, look, match, result, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import Matcher, Subject
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audited
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.source import Loaded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Answer, Known
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import plain

#: holes that the page has, and names of one of them
MOST, MANY = 500, 8

Say = Callable[[str], None]


def subject_of(known: Known) -> Subject:
    """What a host runs: its image, with the kernel that runs."""
    title = known.running.title if known.running.name else "(no image)"
    origin = known.origin
    if origin is None:
        found = match.subject(title, "", known.release, [])
        return replace(found, doubts=("it does not say which packages it has", *found.doubts))
    found = match.subject(title, origin.release, known.release, origin.packages)
    if len(origin.packages) != origin.package_count:
        words = "it has {0} packages, and says the names of {1}".format(origin.package_count, len(origin.packages))
        found = replace(found, doubts=(words, *found.doubts))
    return found


@dataclass(frozen=True)
class Holes:
    """The hosts of a report, compared with the list of known holes.

    :param hosts: by name; of those that said what they run.
    :param loaded: the list; ``None`` where there is none that may be believed.
    :param remarks: what there is to say that belongs to no single host.
    :param degraded: whether a host with known holes is degraded.
    """

    hosts: Mapping[str, Audited]
    loaded: Optional[Loaded] = None
    remarks: Tuple[str, ...] = ()
    degraded: bool = False


def compare(answers: Mapping[str, Answer], order: look.Order, degraded: bool, at: float, say: Say) -> Holes:
    """Compare what hosts run with the list of known holes.

    :param answers: by host.
    :param at: now, in seconds since the epoch.
    :param say: told what is being done.
    :raises FleetError: when there is no list that may be believed.
    """
    today = look.day_of(at)
    subjects = {name: subject_of(each.known) for name, each in answers.items() if each.known}
    loaded = source.load(order.terms, match.wanted(list(subjects.values())), at, say)
    matcher, table = Matcher(loaded.database), eol.table()
    known: Dict[Subject, Audited] = {}  # most hosts of a fleet run the same
    for subject in subjects.values():
        if subject not in known:
            known[subject] = result.audited(subject, matcher, order.accepted, table, today)
    findings = [finding for each in known.values() for finding in each.findings]
    remarks = [*loaded.notes, *exceptions.remarks(findings, order.accepted, today)]
    remarks.append("holes: compared with {0}".format(loaded.words(today)))
    hosts = {name: known[subject] for name, subject in subjects.items()}
    return Holes(hosts, loaded, tuple(plain(each) for each in remarks), degraded)


def judge(found: Optional[Audited], degraded: bool) -> List[Finding]:
    """Whether a host counts as degraded for them."""
    return [Finding(DEGRADED, plain(result.named(found)))] if degraded and found and found.open else []


def remarks(found: Optional[Audited], degraded: bool) -> List[str]:
    """What else there is to say of them."""
    if found is None:
        return []
    told = [] if not found.open or degraded else [plain(result.named(found))]
    return told + [plain(each) for each in found.subject.doubts]


def cell(found: Optional[Audited]) -> str:
    """How many there are, in a few characters."""
    if found is None:
        return "?"
    return str(len(found.open)) + ("?" if found.subject.doubts else "")


def entry(found: Optional[Audited]) -> Optional[Dict[str, Any]]:
    """Those of a host in the document."""
    if found is None:
        return None
    return {
        "known": len(found.open),
        "accepted": len(found.accepted),
        "unknown": [plain(each) for each in found.subject.doubts],
        "findings": result.entries(found),
    }


def shown(holes: Optional[Holes]) -> List[Dict[str, Any]]:
    """The holes of all hosts for the page, each once, those that most hosts have first."""
    found: Dict[Tuple[str, str, str, int], Dict[str, Any]] = {}
    for each in holes.hosts.values() if holes else ():
        for finding in each.open:
            thing = finding.thing
            key = (thing.kind, thing.name, thing.shown, id(finding.advisory))
            values = dict(result.entry(finding), names=list(finding.advisory.names[:MANY]), hosts=0)
            found.setdefault(key, values)["hosts"] += 1
    ordered = sorted(found.values(), key=lambda one: (-one["hosts"], one["kind"], one["name"], one["entered"]))
    return ordered[:MOST]


def total(holes: Optional[Holes]) -> Optional[Dict[str, Any]]:
    """All of it in the document; ``None`` where nobody asked."""
    if holes is None:
        return None
    return {
        "list": None if holes.loaded is None else result.list_entry(holes.loaded),
        "known": len({finding.advisory for each in holes.hosts.values() for finding in each.open}),
        "hosts": sum(bool(each.open) for each in holes.hosts.values()),
        "unknown": sum(bool(each.subject.doubts) for each in holes.hosts.values()),
    }
