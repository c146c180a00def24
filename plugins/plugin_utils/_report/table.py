# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a fleet as text: a line a host, what there is to say, and totals; readable at 80 columns."""

from __future__ import annotations

import json
from typing import Dict, List, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import NORMAL
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import aligned, counted, first_of, shortened
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import backups, holes
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.backups import Terms
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Known, Origin
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, Host, totals
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import NAMED, plain

TITLES = ("HOST", "STATE", "SITE", "RUNS", "FROM", "OTHER", "POOL", "JOURNAL", "BACKUP", "HOLES")

#: characters of a cell; the name of a host may be longer
CELL = 32

#: lines of remarks; what says the same of several hosts is one
REMARKS = 60

#: how many hosts it takes until sites with something amiss have a line of their own
SITES_FROM = 20


def _pool(known: Known) -> str:
    if not known.pool_told:
        return "-"
    if known.pool:
        return "{0} {1} {2}%".format(known.pool.name, known.pool.health, known.pool.capacity)
    seen = ", ".join("{0} {1}".format(*each) for each in known.importable)
    return "none" + (" ({0})".format(seen) if seen else "")


def _other(known: Known) -> str:
    other = known.other
    if other.slice == "-":
        return "-"
    title = other.version if other.name and other.name == known.running.name else other.title
    return title + (" [{0}]".format(",".join(other.flags)) if other.flags else "")


def _journal(known: Known) -> str:
    transaction = known.transaction
    if transaction is None:
        return "-"
    return transaction.phase + (" " + transaction.txn if transaction.is_open and transaction.txn else "")


def row(host: Host, terms: Terms) -> List[str]:
    """One line of the table, as cells.

    :param terms: of backups.
    """
    known = host.known
    facts = ["-"] * 6 + [holes.cell(host.holes)]
    if known is not None:
        facts = [known.running.title, known.running.slice, _other(known), _pool(known), _journal(known)]
        facts += [backups.cell(known, terms), holes.cell(host.holes)]
    cells = [plain(each) for each in [host.condition, host.site or "-", *facts]]
    return [plain(host.name)] + [shortened(each, CELL) for each in cells]


def _origin(origin: Origin) -> str:
    """Where an image comes from, in a few words."""
    parts = ["{0} from {1}".format(origin.release or "a FreeBSD of unknown release", origin.method)]
    if origin.revision:
        parts.append(origin.revision)
    parts.append(counted(origin.package_count, "package"))
    if origin.options:
        parts.append(counted(origin.options, "option"))
    return ", ".join(parts)


def origins(hosts: Sequence[Host], packages: bool) -> List[str]:
    """Where the images come from that run in the fleet: a line for each of them.

    :param packages: with a line for each of its packages, where the hosts were asked for them.
    """
    images: Dict[Tuple[str, str, str], Tuple[Known, List[str]]] = {}
    for host in hosts:
        known = host.known
        if known is not None and known.has_origin:
            said = json.dumps(known.origin.__dict__ if known.origin else None)
            key = (known.running.title, known.running.build, said)
            images.setdefault(key, (known, []))[1].append(host.name)
    versions = [version for version, _build in {(version, build) for version, build, _said in images}]
    builds = [(version, build) for version, build, _said in images]
    lines: List[str] = []
    for (version, build, _said), (known, names) in sorted(images.items(), key=lambda each: each[0]):
        # one version in two builds is what somebody should see; and so is one build that two hosts tell differently
        title = "{0} ({1})".format(version, build) if versions.count(version) > 1 else version
        if builds.count((version, build)) > 1:
            title += " as {0} says".format(first_of(names, NAMED))
        origin = known.origin
        told = _origin(origin) if origin else "the image does not say where it comes from"
        lines.append(plain("{0}: {1}".format(title, told)))
        if packages and origin:
            lines += ["  " + plain("{0} {1}".format(*each)) for each in origin.packages]
    return lines


def told(host: Host) -> List[str]:
    """All that is said of a host below the table."""
    reasons = [each.reason for each in host.findings if each.reason]
    return list(dict.fromkeys([*reasons, *host.remarks]))


def _subject(text: str, host: Host) -> str:
    """A text without what only this host has in it, so that the same of several is the same."""
    for name in (host.name, host.known.hostname if host.known else ""):
        if len(name) > 3:
            text = text.replace(name, "it")
    return text


def remarks(hosts: Sequence[Host]) -> List[str]:
    """What there is to say about hosts besides their rows; what is the same of several is said once."""
    groups: Dict[str, List[Tuple[Host, str]]] = {}
    for host in hosts:
        for text in told(host):
            groups.setdefault(_subject(text, host), []).append((host, text))
    lines = []
    for common, those in groups.items():
        names = [plain(host.name) for host, _text in those]
        lines.append("{0}: {1}".format(first_of(names, NAMED), those[0][1] if len(those) == 1 else common))
    if len(lines) > REMARKS:
        lines[REMARKS:] = ["and {0} more; report_json and report_html have all".format(len(lines) - REMARKS)]
    return lines


def targets(fleet: Fleet) -> List[str]:
    """What hosts should run, and who is behind."""
    lines = []
    for target, hosts in fleet.targets:
        if target.problem:
            continue
        behind = [host.name for host in hosts if host.behind]
        asked = [host for host in hosts if host.known]
        words = "{0}: {1}, which ".format(target.title, target.version)
        words += "{0} of {1} run".format(len(asked) - len(behind), counted(len(hosts), "host"))
        words += "; of {0} nothing is known".format(len(hosts) - len(asked)) if len(asked) < len(hosts) else ""
        lines.append(plain(words + ("; behind: {0}".format(first_of(behind, 8)) if behind else "")))
    return lines


def _sites(fleet: Fleet) -> List[str]:
    """The sites where something is amiss, where there are many hosts."""
    sites = fleet.sites
    if len(fleet.hosts) < SITES_FROM or len(sites) < 2:
        return []
    return [
        "{0}: {1}".format(plain(site or "no site"), totals(hosts))
        for site, hosts in sites.items()
        if any(host.condition != NORMAL for host in hosts)
    ]


def table(fleet: Fleet, packages: bool = False) -> List[str]:
    """The report as lines of text: a table, what there is to say, where the images come from, and totals.

    :param packages: list the packages of the images.
    """
    rows = [list(TITLES)] + [row(host, fleet.terms) for host in fleet.hosts]
    left = set() if any(each[2] != "-" for each in rows[1:]) else {TITLES.index("SITE")}
    left |= set() if fleet.has_backups else {TITLES.index("BACKUP")}
    left |= set() if fleet.holes is not None else {TITLES.index("HOLES")}
    shown = [number for number in range(len(TITLES)) if number not in left]
    lines = aligned([[cells[number] for number in shown] for cells in rows])
    lines += remarks(fleet.hosts)
    lines += ["fleet: {0}".format(each) for each in fleet.remarks]
    lines += [*targets(fleet), *origins(fleet.hosts, packages), *_sites(fleet)]
    if fleet.nobody_told:
        lines.append("nothing is known of any host: look first whether this machine reaches them")
    return [*lines, totals(fleet.hosts)]
