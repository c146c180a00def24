# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and addresses of hosts, compared with each other and with what each site was given."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import NAMED, plain

try:
    import netaddr

    HAVE_NETADDR = True
except ImportError:
    HAVE_NETADDR = False

#: a label of a host name. Source: RFC 1123, 2.1; RFC 1035, 2.3.1
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")

Plan = Mapping[str, "netaddr.IPSet"]


class Place(NamedTuple):
    """Where a host is.

    :param address: as the inventory has it: an address, or a name that only a resolver knows.
    """

    site: str
    address: str


def plan_of(sites: Mapping[str, Any]) -> Plan:
    """What each site was given.

    :param sites: by the name of a site its networks, a list or text with commas: ``192.0.2.0/27``, a single address,
        ``192.0.2.10-192.0.2.20``, ``192.0.2.*``.
    :raises Refused: for what is none.
    """
    if sites and not HAVE_NETADDR:
        raise Refused(
            "report_address_plan needs the Python package netaddr on this machine",
            safe="nothing was looked at",
            todo="pip install netaddr, or leave report_address_plan out",
        )
    return {str(site): _networks(str(site), given) for site, given in sites.items()}


def _networks(site: str, given: Any) -> Any:
    found = netaddr.IPSet()
    words = given if isinstance(given, (list, tuple)) else str(given).split(",")
    for word in (str(each).strip() for each in words):
        try:
            found |= netaddr.IPSet(_network(word))
        except (netaddr.AddrFormatError, ValueError):
            raise Refused(
                "report_address_plan: {0!r} of {1} is no network".format(plain(word), plain(site)),
                safe="nothing was looked at",
                todo="write it as 192.0.2.0/27, 192.0.2.10-192.0.2.20 or 2001:db8::/64",
            )
    return found


def _network(word: str) -> Any:
    if "-" in word:
        first, last = word.split("-", 1)
        return netaddr.IPRange(first.strip(), last.strip())
    return netaddr.glob_to_iprange(word) if "*" in word else [netaddr.IPNetwork(word)]


def is_host_name(name: str) -> bool:
    """Whether a name can be that of a host."""
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def _address(text: str) -> str:
    """An address in its one way to write it; empty for what is none."""
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        return ""


def compare(places: Mapping[str, Place], plan: Plan) -> Tuple[Dict[str, List[str]], List[str]]:
    """What is wrong with names and addresses.

    :param places: by host.
    :returns: remarks by host, and those on the plan itself.
    """
    found: Dict[str, List[str]] = {name: [] for name in places}
    owners: Dict[str, List[str]] = {}
    for name, place in places.items():
        if not is_host_name(name) and not _address(name):
            found[name].append("its name in the inventory is no host name (letters, digits, hyphens; parts with dots)")
        address = _address(place.address)
        if address:
            owners.setdefault(address, []).append(name)
            network = plan.get(place.site)
            if network is not None and address not in network:
                found[name].append(plain("its address {0} is not in the plan of {1}".format(address, place.site)))
    for address, names in owners.items():
        for name in names if len(names) > 1 else []:
            others = [each for each in names if each != name]
            found[name].append(plain("its address {0} is that of {1} as well".format(address, first_of(others, NAMED))))
    return found, _overlaps(plan)


def _overlaps(plan: Plan) -> List[str]:
    sites = sorted(plan)
    return [
        plain("report_address_plan: {0} and {1} overlap ({2})".format(one, other, shared.iter_cidrs()[0]))
        for number, one in enumerate(sites)
        for other in sites[number + 1 :]
        for shared in [plan[one] & plan[other]]
        if shared
    ]
