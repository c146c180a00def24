# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a play has of its hosts to the report: what they said, and what their variables say of them."""

from __future__ import annotations

import datetime
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import eol
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import addresses, drift, facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.backups import Terms
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Known
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.holes import Holes
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Find, Target, Wish, problems, target_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._sites import site_of

#: the variables that say from where a host takes its images; the first that is set counts
REPOSITORIES = ("report_repository", "upgrade_repository", "nanozfs_repository")

Support = eol.Table
Compare = Callable[[Mapping[str, facts.Answer]], Holes]
Resolve = Callable[[Mapping[str, Any], str], str]


class Source(NamedTuple):
    """A host as the play has it.

    :param variables: of the host, as the inventory has them.
    :param result: what was registered; none where nothing was.
    """

    variables: Mapping[str, Any]
    result: object


def support_of(given: Mapping[str, Any]) -> Support:
    """Until when each release has support.

    :param given: what a site knows better: by the release, ``13.2-RELEASE``, a date as ``2024-06-30``.
    :raises Refused: for what is no date.
    """
    return eol.table().corrected(given)


def _support_remark(known: Known, support: Support, today: datetime.date) -> str:
    return support.told(known.system, today) if known.system else ""


def assemble(
    sources: Mapping[str, Source],
    resolve: Resolve,
    find: Find,
    plan: addresses.Plan,
    support: Support,
    at: float,
    backup_hours: int = 0,
    verified_hours: int = 0,
    compare: Optional[Compare] = None,
) -> Fleet:
    """The report.

    :param resolve: a variable of a host as text, empty where it is not set.
    :param find: what a wish means, see :func:`rings.finder`.
    :param at: now, in seconds since the epoch.
    :param backup_hours: how old the last good backup of a host may be; 0 where nobody wants to know.
    :param verified_hours: how long ago the last look into a backup may be; 0 likewise.
    :param compare: finds the known holes of hosts, by what they said; ``None`` where nobody wants to know.
    """
    today = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).date()
    sites = {name: _site(each.variables, resolve) for name, each in sources.items()}
    places = {
        name: addresses.Place(sites[name], resolve(each.variables, "ansible_host") or name)
        for name, each in sources.items()
    }
    said, common = addresses.compare(places, plan)
    answers = {name: facts.answer(source.result) for name, source in sources.items()}
    holes = compare(answers) if compare is not None else None
    terms = Terms(at, backup_hours, verified_hours)
    hosts = []
    for name, source in sources.items():
        answer = answers[name]
        target = target_of(_wish(source.variables, resolve), answer.known, find)
        remarks = list(said[name])
        if answer.known:
            remarks += filter(None, [_support_remark(answer.known, support, today)])
        those = holes.hosts.get(name) if holes else None
        degraded = bool(holes and holes.degraded)
        hosts.append(host_of(name, sites[name], answer, target, remarks, terms, those, degraded))
    targets: Dict[str, Optional[Target]] = {host.name: host.target for host in hosts}
    told = [*common, *problems(targets.values()), *(holes.remarks if holes else ())]
    told += drift.remark(drift.total(host.known for host in hosts))
    return fleet_of(hosts, told, at, backup_hours, verified_hours, holes)


def _site(variables: Mapping[str, Any], resolve: Resolve) -> str:
    return site_of({"fleet_site": resolve(variables, "fleet_site"), "group_names": variables.get("group_names")})


def _wish(variables: Mapping[str, Any], resolve: Resolve) -> Wish:
    found = [resolve(variables, name) for name in REPOSITORIES]
    return Wish(
        wanted=resolve(variables, "upgrade_version"),
        name=resolve(variables, "upgrade_image_name") or resolve(variables, "image_name"),
        repository=next((each for each in found if each), ""),
    )
