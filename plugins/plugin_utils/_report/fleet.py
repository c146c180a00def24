# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a fleet: every host with its condition, and what the hosts have in common."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import (
    BEHIND,
    CONDITIONS,
    DEGRADED,
    NORMAL,
    NOT_ASKED,
    Finding,
    at_least,
    worst,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audited
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import backups, drift
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import holes as known_holes
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Answer, Image, Known
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Target, judge
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import moment, plain

#: of the document; a change that would break a reader makes it another one
FORMAT = 1

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Host:
    """A host of the report.

    :param site: empty where nothing says it.
    :param target: what it should run.
    :param findings: what is not normal; the worst of it is its condition.
    :param remarks: what else there is to say.
    :param holes: the known holes of what it runs; ``None`` where that is not known, or nobody asked.
    """

    name: str
    site: str
    answer: Answer
    target: Optional[Target]
    findings: Tuple[Finding, ...]
    remarks: Tuple[str, ...] = ()
    holes: Optional[Audited] = None

    @property
    def known(self) -> Optional[Known]:
        return self.answer.known

    @property
    def condition(self) -> str:
        return worst(self.findings)

    @property
    def behind(self) -> bool:
        """Whether it runs another image than it should."""
        return any(each.condition == BEHIND for each in self.findings)

    @property
    def attention(self) -> bool:
        """Whether anything of it is not as it should be."""
        return self.condition != NORMAL

    def counts_as(self, named: str) -> bool:
        """Whether one of its findings is the named condition, or worse."""
        return any(at_least(each.condition, named) for each in self.findings or (Finding(NORMAL, ""),))


def host_of(
    name: str,
    site: str,
    answer: Answer,
    target: Optional[Target],
    remarks: Sequence[str] = (),
    terms: backups.Terms = backups.Terms(0),  # noqa: B008 - it cannot be changed
    holes: Optional[Audited] = None,
    degraded: bool = False,
) -> Host:
    """A host, judged.

    :param terms: of its backups.
    :param holes: the known holes of what it runs; ``degraded``: whether they make it so.
    """
    if answer.known is None:
        return Host(name, plain(site), answer, target, (Finding(answer.silent, answer.reason),), tuple(remarks))
    found = list(answer.known.findings)
    behind = judge(answer.known, target)
    found += [behind] if behind else []
    found += backups.judge(answer.known, terms) + known_holes.judge(holes, degraded)
    told = [*answer.known.remarks, *remarks, *(backups.remarks(answer.known, terms) if terms.at else ())]
    told += drift.remarks(answer.known) + known_holes.remarks(holes, degraded)
    return Host(name, plain(site), answer, target, tuple(found), tuple(told), holes)


@dataclass(frozen=True)
class Fleet:
    """A report.

    :param hosts: in the order of their names.
    :param remarks: what there is to say that belongs to no single host.
    :param at: when, in seconds since the epoch.
    :param backup_hours: how old a backup may be; 0 where nobody wants to know.
    :param verified_hours: how long ago the last look into one may be; 0 likewise.
    :param holes: what the known holes of the hosts are; ``None`` where nobody asked.
    """

    hosts: Tuple[Host, ...]
    remarks: Tuple[str, ...]
    at: float
    backup_hours: int = 0
    verified_hours: int = 0
    holes: Optional[known_holes.Holes] = None

    @property
    def terms(self) -> backups.Terms:
        """How backups are judged."""
        return backups.Terms(self.at, self.backup_hours, self.verified_hours)

    @property
    def has_backups(self) -> bool:
        """Whether there is anything to say of backups."""
        return bool(self.backup_hours) or any(host.known and host.known.backups for host in self.hosts)

    @property
    def counts(self) -> Dict[str, int]:
        """How many hosts there are in which condition; in the order of the words."""
        return dict(sorted(Counter(each.condition for each in self.hosts).items()))

    @property
    def sites(self) -> Dict[str, List[Host]]:
        """The hosts by site, in the order of the sites' names; those without one under an empty name."""
        found: Dict[str, List[Host]] = {}
        for each in sorted(self.hosts, key=lambda host: natural(host.site)):
            found.setdefault(each.site, []).append(each)
        return found

    @property
    def targets(self) -> List[Tuple[Target, List[Host]]]:
        """What hosts should run, each with the hosts that should."""
        found: Dict[str, Tuple[Target, List[Host]]] = {}
        for host in self.hosts:
            if host.target is not None:
                key = "\0".join((host.target.title, host.target.id, host.target.problem))
                found.setdefault(key, (host.target, []))[1].append(host)
        return [found[key] for key in sorted(found)]

    def failing(self, named: Sequence[str]) -> List[Host]:
        """The hosts that are in one of these conditions, or in a worse one."""
        return [host for host in self.hosts if any(host.counts_as(each) for each in named)]

    @property
    def untold(self) -> List[Host]:
        """The hosts that run an image of which nobody knows whether it is the right one: that was not found out."""
        return [
            host
            for host in self.hosts
            if host.known and host.known.running.name and host.target is not None and host.target.problem
        ]

    @property
    def nobody_asked(self) -> bool:
        """Whether there are hosts, and the play looked at none of them: that is no fault of a host."""
        return bool(self.hosts) and all(host.condition == NOT_ASKED for host in self.hosts)

    @property
    def nobody_told(self) -> bool:
        """Whether there are hosts, and nothing is known of any."""
        return bool(self.hosts) and all(host.known is None for host in self.hosts)


def natural(name: str) -> Tuple[Any, ...]:
    """A key to sort names by as people do: web-2 before web-10."""
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in _DIGITS.split(name)), name


def fleet_of(
    hosts: Sequence[Host],
    remarks: Sequence[str],
    at: float,
    backup_hours: int = 0,
    verified_hours: int = 0,
    holes: Optional[known_holes.Holes] = None,
) -> Fleet:
    """The report on some hosts."""
    ordered = sorted(hosts, key=lambda host: natural(host.name))
    return Fleet(tuple(ordered), tuple(plain(each) for each in remarks), at, backup_hours, verified_hours, holes)


def totals(fleet: Sequence[Host]) -> str:
    """How many hosts there are, and how many of them in which condition."""
    counts = Counter(host.condition for host in fleet)
    states = ", ".join("{0} {1}".format(count, word) for word, count in sorted(counts.items()))
    return "{0}: {1}".format(counted(len(fleet), "host"), states) if states else "0 hosts"


def _image(image: Image) -> Optional[Dict[str, Any]]:
    if not image.name and not image.problem:
        return None
    return dict(image.__dict__, flags=list(image.flags))


def _target(target: Optional[Target]) -> Optional[Dict[str, Any]]:
    if target is None:
        return None
    values = {key: getattr(target, key) for key in ("id", "build", "version", "seq", "signer", "problem")}
    return dict(values, wanted=target.wish.wanted, name=target.wish.name)


def entry(host: Host, at: float) -> Dict[str, Any]:
    """One host in the document.

    :param at: now, in seconds since the epoch.
    """
    known = host.known
    values: Dict[str, Any] = {
        "name": host.name,
        "site": host.site,
        "condition": host.condition,
        "findings": [each._asdict() for each in host.findings],
        "remarks": list(host.remarks),
        "wants": _target(host.target),
        "behind": host.behind,
        "degraded": any(each.condition == DEGRADED for each in host.findings),
        "holes": known_holes.entry(host.holes),
    }
    for key in ("state", "hostname", "arch", "release", "runs", "other", "pool", "disks", "transaction"):
        values[key] = None
    values["bad"] = []
    values["backups"] = []
    values["drift"] = None
    if known is None:
        return values
    transaction = known.transaction
    values.update(
        state=known.state,
        hostname=known.hostname,
        arch=known.arch,
        release=known.system,
        runs=_image(known.running),
        other=_image(known.other),
        pool=dict(known.pool.__dict__) if known.pool else None,
        disks=_disks(known),
        bad=list(known.bad),
        backups=[backups.entry(each, at) for each in known.backups],
        drift=drift.entry(known),
        transaction=dict(
            transaction.__dict__,
            times=[{"phase": phase, "at": at} for phase, at in transaction.times],
            open=transaction.is_open,
            seconds=transaction.seconds,
        )
        if transaction
        else None,
    )
    return values


def _disks(known: Known) -> Optional[Dict[str, Any]]:
    if known.disks is None:
        return None
    keys = ("name", "read", "write", "checksum")
    return {
        "found": known.disks.found,
        "expected": known.disks.expected,
        "missing": list(known.disks.missing),
        "errors": [dict(zip(keys, each)) for each in known.disks.errors],
    }


def document(fleet: Fleet) -> Dict[str, Any]:
    """The report for programs, and for queries."""
    return {
        "format": FORMAT,
        "made": moment(fleet.at),
        "at": int(fleet.at),
        "conditions": list(CONDITIONS),
        "counts": fleet.counts,
        "remarks": list(fleet.remarks),
        "sites": [
            {"name": site, "hosts": len(hosts), "counts": dict(Counter(host.condition for host in hosts))}
            for site, hosts in fleet.sites.items()
        ],
        "targets": [
            dict(
                _target(target) or {},
                hosts=len(hosts),
                behind=[host.name for host in hosts if host.behind],
            )
            for target, hosts in fleet.targets
        ],
        "holes": known_holes.total(fleet.holes),
        "drift": drift.total(host.known for host in fleet.hosts),
        "hosts": [entry(host, fleet.at) for host in fleet.hosts],
    }


def write_file(path: str, content: bytes, what: str = "the report") -> None:
    """Write a file, which is the old one or the new one at any time.

    :raises FleetError: when it cannot be written.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise FleetError(
            "{0} cannot be written to {1}: {2}".format(what, path, error.strerror),
            safe="no host was changed",
            todo="name a file in a folder of this machine that its user may write to; in an execution environment of "
            "AWX only what is mounted there stays",
        )


def write_json(path: str, content: Mapping[str, Any], what: str = "the report") -> None:
    """Write something as JSON, see :func:`write_file`."""
    write_file(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8"), what)
