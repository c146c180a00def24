# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit found: for each system and of all together, for people and for programs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import aligned, counted, first_of, plain, shortened
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol, exceptions
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.exceptions import Accepted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import (
    KERNEL,
    PACKAGE,
    USERLAND,
    Finding,
    Matcher,
    Subject,
    summary,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.source import Loaded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import wrapped

#: of the document; a change that would break a reader makes it another one
FORMAT = 1

# on what an audit can fail
NONE, KNOWN, END_OF_LIFE, UNTOLD = "none", "known", "end_of_life", "unknown"
FAIL = (NONE, KNOWN, END_OF_LIFE, UNTOLD)

TITLES = ("SYSTEM", "HOSTS", "FREEBSD", "KERNEL", "PACKAGES", "HOLES", "ACCEPTED", "SUPPORT")

#: names that a line has: CVEs of an entry, and systems that have a hole
NAMED = 6

#: characters of a cell, and of the narrowest terminal that lines are broken for
CELL, NARROWEST = 32, 40


@dataclass(frozen=True)
class Audited:
    """A system, and what is known of it.

    :param hosts: that run it; ``None`` where nobody asked.
    :param open: the holes that nobody has accepted.
    """

    subject: Subject
    open: Tuple[Finding, ...]
    accepted: Tuple[Tuple[Finding, Accepted], ...]
    support: eol.Support
    hosts: Optional[Tuple[str, ...]] = None

    @property
    def findings(self) -> Tuple[Finding, ...]:
        """All of them."""
        return self.open + tuple(finding for finding, _exception in self.accepted)

    @property
    def words(self) -> str:
        """How it stands, in a few words: ``3 known holes in 2 packages``."""
        if not self.subject.things:
            return "nothing is known of it"
        accepted = ", {0} accepted".format(len(self.accepted)) if self.accepted else ""
        untold = ", and not everything is known" if self.subject.doubts else ""
        return summary(self.open) + accepted + untold


def named(each: Audited) -> str:
    """How a system stands, with the first of its holes: ``1 known hole in 1 package: curl 8.1.0 (CVE-2023-38545)``."""
    names = []
    for finding in each.open:
        thing = finding.thing
        what = thing.name if thing.kind == PACKAGE else thing.kind
        names.append("{0} {1} ({2})".format(plain(what), plain(thing.shown), first_of(finding.advisory.names, 3)))
    return "{0}{1}".format(each.words, ": " + first_of(names, NAMED) if names else "")


@dataclass(frozen=True)
class Audit:
    """All that was audited.

    :param remarks: what there is to say of exceptions, of the list, and of what could not be audited.
    """

    systems: Tuple[Audited, ...]
    loaded: Loaded
    today: datetime.date
    table: eol.Table
    remarks: Tuple[str, ...] = ()

    @property
    def counts(self) -> Dict[str, int]:
        """How much there is of what."""
        return {
            "systems": len(self.systems),
            "known": sum(len(each.open) for each in self.systems),
            "accepted": sum(len(each.accepted) for each in self.systems),
            "end_of_life": sum(each.support.state == eol.ENDED for each in self.systems),
            "unknown": sum(_is_untold(each) for each in self.systems),
        }


def _is_untold(each: Audited) -> bool:
    return bool(each.subject.doubts) or each.support.state == eol.UNKNOWN


def audited(
    subject: Subject,
    matcher: Matcher,
    accepted: Sequence[Accepted],
    table: eol.Table,
    today: datetime.date,
    hosts: Optional[Sequence[str]] = None,
) -> Audited:
    """A system, compared with the list of known holes."""
    found = exceptions.sort(matcher.findings(subject), accepted, today)
    return Audited(
        subject,
        tuple(found.open),
        tuple(found.accepted),
        table.of(subject.release, today),
        None if hosts is None else tuple(hosts),
    )


def audit(
    subjects: Sequence[Tuple[Subject, Optional[Sequence[str]]]],
    loaded: Loaded,
    accepted: Sequence[Accepted],
    table: eol.Table,
    today: datetime.date,
    remarks: Sequence[str] = (),
) -> Audit:
    """Everything, compared with the list of known holes.

    :param subjects: systems with the hosts that run them.
    :param remarks: what there is to say besides.
    """
    matcher = Matcher(loaded.database)
    systems = tuple(audited(each, matcher, accepted, table, today, hosts) for each, hosts in subjects)
    findings = [finding for each in systems for finding in each.findings]
    told = [*remarks, *loaded.notes, *exceptions.remarks(findings, accepted, today)]
    return Audit(systems, loaded, today, table, tuple(plain(each) for each in told))


# for programs


def entry(finding: Finding, accepted: Optional[Accepted] = None) -> Dict[str, Any]:
    """A finding in the document."""
    return {
        "kind": finding.thing.kind,
        "name": plain(finding.thing.name),
        "version": plain(finding.thing.shown),
        "fixed": plain(finding.fixed),
        "id": finding.advisory.vid,
        "cves": list(finding.advisory.cves),
        "notices": list(finding.advisory.notices),
        "topic": finding.advisory.topic,
        "entered": finding.advisory.entered,
        "url": finding.advisory.url,
        "doubt": finding.doubt,
        "accepted": None
        if accepted is None
        else {
            "until": accepted.until.isoformat(),
            "reason": plain(accepted.reason),
            "justification": accepted.justification,
        },
    }


def entries(each: Audited) -> List[Dict[str, Any]]:
    """The findings of a system in the document, those that nobody accepted first."""
    return [entry(finding) for finding in each.open] + [entry(finding, why) for finding, why in each.accepted]


def _system(each: Audited) -> Dict[str, Any]:
    return {
        "title": plain(each.subject.title),
        "hosts": None if each.hosts is None else [plain(host) for host in each.hosts],
        "release": plain(each.subject.release),
        "kernel": plain(each.subject.kernel),
        "packages": each.subject.packages,
        "support": each.support.state,
        "support_until": each.support.until.isoformat() if each.support.until else None,
        "known": len(each.open),
        "accepted": len(each.accepted),
        "unknown": list(each.subject.doubts),
        "findings": entries(each),
    }


def list_entry(loaded: Loaded) -> Dict[str, Any]:
    """The list of known holes in the document."""
    database = loaded.database
    return {
        "source": loaded.place,
        "entries": database.count,
        "newest": database.newest.isoformat(),
        "fetched": None if loaded.fetched is None else int(loaded.fetched),
    }


def document(audit_: Audit) -> Dict[str, Any]:
    """The audit for programs."""
    return {
        "format": FORMAT,
        "made": audit_.today.isoformat(),
        "list": list_entry(audit_.loaded),
        "support_as_of": audit_.table.as_of.isoformat(),
        "counts": audit_.counts,
        "remarks": list(audit_.remarks),
        "systems": [_system(each) for each in audit_.systems],
    }


def _label(text: str) -> str:
    """A value of a label in the text format of Prometheus."""
    return plain(text).replace("\\", "\\\\").replace('"', '\\"')


def metrics(audit_: Audit, at: float) -> str:
    """The audit for the textfile collector of node_exporter. Of what nothing is known there is no number of holes;
    systems of one title are one, with the most of each kind, because a name may not come twice.

    :param at: now, in seconds since the epoch.
    """
    holes: Dict[Tuple[str, str], int] = {}
    untold: Dict[str, int] = {}
    for each in audit_.systems:
        title = _label(each.subject.title)
        untold[title] = max(untold.get(title, 0), int(_is_untold(each)))
        for kind in (PACKAGE, USERLAND, KERNEL) if each.subject.things else ():
            count = sum(finding.thing.kind == kind for finding in each.open)
            holes[title, kind] = max(holes.get((title, kind), 0), count)
    lines = ["# HELP nanozfs_known_holes Known holes that nobody accepted.", "# TYPE nanozfs_known_holes gauge"]
    lines += [
        'nanozfs_known_holes{{system="{0}",kind="{1}"}} {2}'.format(title, kind, count)
        for (title, kind), count in holes.items()
    ]
    lines += ["# HELP nanozfs_holes_unknown What could not be audited.", "# TYPE nanozfs_holes_unknown gauge"]
    lines += ['nanozfs_holes_unknown{{system="{0}"}} {1}'.format(*each) for each in untold.items()]
    newest = audit_.loaded.database.newest
    day = datetime.datetime(newest.year, newest.month, newest.day, tzinfo=datetime.timezone.utc)
    for name, text, value in (
        ("nanozfs_holes_list_seconds", "Day of the newest entry of the list of known holes.", day.timestamp()),
        ("nanozfs_holes_audited_seconds", "When this was audited.", at),
    ):
        lines += [
            "# HELP {0} {1}".format(name, text),
            "# TYPE {0} gauge".format(name),
            "{0} {1:.0f}".format(name, value),
        ]
    return "\n".join(lines) + "\n"


# for people


def _row(each: Audited) -> List[str]:
    support = each.support.until.isoformat() if each.support.until else "-"
    if each.support.state != eol.SUPPORTED:
        support = "{0}{1}".format(each.support.state, " " + support if each.support.until else "")
    holes = str(len(each.open)) if each.subject.things else "?"
    cells = [
        "-" if each.hosts is None else str(len(each.hosts)),
        each.subject.release or "?",
        each.subject.kernel or "?",
        str(each.subject.packages),
        holes + ("?" if each.subject.doubts and each.subject.things else ""),
        str(len(each.accepted)),
        support,
    ]
    title = plain(each.subject.title)
    return [title] + [shortened(text, CELL) for text in map(plain, cells)]


def _advisory(finding: Finding, titles: Sequence[str], accepted: Optional[Accepted]) -> str:
    names = first_of(finding.advisory.names, NAMED)
    text = "{0} ({1})".format(finding.advisory.topic or "without a topic", names)
    if finding.fixed:
        text += "; not in {0} any more".format(plain(finding.fixed))
    if finding.doubt:
        text += "; in doubt: {0}".format(finding.doubt)
    if accepted is not None:
        text += "; accepted until {0}: {1}".format(accepted.until, plain(accepted.reason))
    return "{0} [{1}]".format(text, first_of([plain(each) for each in titles], NAMED))


def _holes(audit_: Audit, width: int) -> List[str]:
    """The holes by what has them, each said once for all systems that have it."""
    found: Dict[Tuple[str, str, str], Dict[Tuple[int, bool], Tuple[Finding, Optional[Accepted], List[str]]]] = {}
    for each in audit_.systems:
        those: List[Tuple[Finding, Optional[Accepted]]] = [(finding, None) for finding in each.open]
        those += list(each.accepted)
        for finding, why in those:
            thing = finding.thing
            lines = found.setdefault((thing.kind, thing.name, thing.shown), {})
            line = lines.setdefault((id(finding.advisory), why is None), (finding, why, []))
            line[2].append(each.subject.title)
    order = {KERNEL: 0, USERLAND: 1, PACKAGE: 2}
    told: List[str] = []
    for (kind, name, shown), lines in sorted(found.items(), key=lambda one: (order[one[0][0]], one[0])):
        what = "{0} {1}".format(plain(name), plain(shown)) if kind == PACKAGE else "{0} {1}".format(kind, plain(shown))
        told.append("{0}:".format(what))
        for finding, why, titles in lines.values():
            told += wrapped("  " + _advisory(finding, titles, why), width, "    ")
    return told


def _said(audit_: Audit) -> List[str]:
    """What there is to say of systems besides their rows; what is the same of several is said once."""
    groups: Dict[str, List[str]] = {}
    for each in audit_.systems:
        texts = list(each.subject.doubts)
        if each.subject.release:
            texts += filter(None, [audit_.table.words(each.support, audit_.today)])
        for text in texts:
            groups.setdefault(text, []).append(plain(each.subject.title))
    return ["{0}: {1}".format(first_of(titles, NAMED), text) for text, titles in groups.items()]


def lines(audit_: Audit, width: int = 0) -> List[str]:
    """The audit as lines of text: a table of the systems, the holes, what there is to say, and the totals.

    :param width: of the terminal in characters; 0 for none.
    """
    rows = [list(TITLES)] + [_row(each) for each in audit_.systems]
    left = set() if any(each.hosts is not None for each in audit_.systems) else {TITLES.index("HOSTS")}
    left |= set() if audit_.counts["accepted"] else {TITLES.index("ACCEPTED")}
    shown = [number for number in range(len(TITLES)) if number not in left]
    told = aligned([[cells[number] for number in shown] for cells in rows])
    width = max(NARROWEST, width) if width else 0
    told += _holes(audit_, width)
    for text in [*_said(audit_), *("audit: " + each for each in audit_.remarks)]:
        told += wrapped(text, width, "  ")
    told += wrapped("compared with {0}".format(audit_.loaded.words(audit_.today)), width, "  ")
    return [*told, totals(audit_)]


def totals(audit_: Audit) -> str:
    """All of it in one line."""
    counts = audit_.counts
    parts = ["{0} known".format(counts["known"])]
    for key, word in (("accepted", "accepted"), ("end_of_life", "past the end of life"), ("unknown", "not known")):
        parts += ["{0} {1}".format(counts[key], word)] if counts[key] else []
    return "{0}: {1}".format(counted(counts["systems"], "system"), ", ".join(parts))


def failing(audit_: Audit, fail: Sequence[str], missing: str = "") -> str:
    """Why the play fails although all was shown and written; empty where it does not.

    :param missing: why what is published is not known, where that was asked for and could not be had.
    """
    counts = audit_.counts
    why = []
    if fail and NONE not in fail:  # who asks only for known holes asks for some to be looked for
        if missing:
            why.append("what is published is not known: {0}".format(missing))
        if not any(each.subject.things for each in audit_.systems):
            why.append("nothing could be compared, as no system says what is in it")
    if KNOWN in fail and counts["known"]:
        holes = {finding.advisory for each in audit_.systems for finding in each.open}
        having = sum(bool(each.open) for each in audit_.systems)
        why.append("{0} in {1}".format(counted(len(holes), "known hole"), counted(having, "system")))
    if END_OF_LIFE in fail and counts["end_of_life"]:
        why.append("{0} past the end of life".format(counted(counts["end_of_life"], "system")))
    if UNTOLD in fail and counts["unknown"]:
        why.append("{0} of which not everything is known".format(counted(counts["unknown"], "system")))
    return "; ".join(why)


def advice(audit_: Audit, fail: Sequence[str]) -> str:
    """What to do where the play fails."""
    counts = audit_.counts
    if KNOWN in fail and counts["known"]:
        return (
            "build an image with newer packages (image_pkg_update=true), or write down in audit_ignore what you live "
            "with, why and until when"
        )
    if END_OF_LIFE in fail and counts["end_of_life"]:
        return "build an image of a release that has support ({0})".format(eol.SOURCE)
    return "the lines below the table say what is not known, and why"


def check_fail(fail: Sequence[str]) -> None:
    """Refuse what contradicts itself.

    :raises Refused: for ``none`` together with others.
    """
    if NONE in fail and len(set(fail)) > 1:
        raise Refused(
            "audit_fail has none, and {0}".format(", ".join(each for each in fail if each != NONE)),
            safe="nothing was audited",
            todo="write either",
        )


def as_mapping(audit_: Audit) -> Mapping[str, Any]:
    """What a task returns of it: the counts, and how each system stands."""
    systems = [{"title": plain(each.subject.title), "stands": plain(each.words)} for each in audit_.systems]
    return {"counts": audit_.counts, "systems": systems}
