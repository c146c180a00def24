# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backup host is told of a host, from the variables of that in the inventory."""

from __future__ import annotations

import ipaddress
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import METHODS, NONE
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.install import is_key
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._sites import site_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._variables import plain

#: variables of a host, as the role has them, and what a backup host calls them
SETTINGS = {
    "backup_method": "method",
    "backup_retain": "retain",
    "backup_window": "window",
    "backup_bandwidth": "bandwidth",
    "backup_excludes": "excludes",
    "backup_verify_every": "verify_every",
}

#: of one host
MOST_KEYS = 10

#: and those that no other host has a say in
OWN = {"backup_previous_names": "previous", "fleet_time_zone": "zone"}


def settings(name: str, variables: Mapping[str, Any], usual: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """What a backup host is told of a host; ``None`` for one that is not backed up.

    :param variables: those of the host.
    :param usual: what holds where the host says nothing, by the names of :data:`SETTINGS`.
    :raises Refused: when its method is none.
    """
    found: Dict[str, Any] = {}
    for variable, called in {**SETTINGS, **OWN}.items():
        value = variables.get(variable)
        if value is None or value == "":
            value = usual.get(variable)
        if value is not None and value != "":
            found[called] = plain(value)
    if found.get("method") == NONE:
        return None
    if found.get("method") not in METHODS:
        raise Refused(
            "backup_method of {0} is {1!r}, and must be {2} or {3}".format(
                name, printable(str(found.get("method"))), ", ".join(METHODS), NONE
            ),
            safe="nothing was changed",
            todo="correct it in the inventory",
        )
    found["address"], found["port"] = reached(name, variables)
    found["line"] = site_of(variables)
    return found


def reached(name: str, variables: Mapping[str, Any]) -> Tuple[str, Any]:
    """Where a backup host finds a host: an address or a name, and the port of its ssh.

    The controller may come by another way, as through a tunnel or by an address that only it has; then the host says it
    (``backup_address``, ``backup_port``). What is said of the address alone leaves the port to ssh: that of the
    controller's way is none of it.
    """

    def said(*variable: str) -> Any:
        return next((variables[each] for each in variable if variables.get(each) not in (None, "")), None)

    own = said("backup_address")
    port = said("backup_port") if own else said("backup_port", "ansible_port", "ansible_ssh_port")
    return str(own or said("ansible_host", "ansible_ssh_host") or name), port or 22


def addresses(given: Sequence[str], reached: Any) -> List[str]:
    """The addresses that a backup host comes from: those that are given, or else the one that it is reached at.

    :param reached: its ``ansible_host``; a name is none.
    """
    if given:
        return [str(each).strip() for each in given]
    try:
        return [str(ipaddress.ip_address(str(reached)))]
    except ValueError:
        return []


def keys_of(found: Any) -> List[str]:
    """The ssh keys that a host said, from the result of M(nanozfs.fleet.backup_source); none where it said none.

    What is no key is none: a host that says nonsense must not be in the way of all others.
    """
    said = found.get("ssh_host_keys") if isinstance(found, Mapping) else None
    return [str(each) for each in said[:MOST_KEYS] if is_key(str(each))] if isinstance(said, list) else []
