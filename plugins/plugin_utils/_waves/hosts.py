# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory and the look at a host say of its place in a run."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Dict, Iterable, Mapping, Tuple

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import CONDITIONS, HALF_WAY, NO_ANSWER
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import COMMITTING, REVERTING, TRIAL
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._sites import site_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves import windows
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.order import Member
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.run import Candidate, Settings, window_of

#: how long a trial and a restart may take where the inventory does not say (seconds): as the role upgrade has them
TRIAL_TIME, BOOT_TIME = 600, 900

#: the longest write that is believed (seconds): a week
LONGEST = 7 * 86400

#: what the inventory says of a host, besides the times of an upgrade
HOST = ("fleet_canary", "fleet_exclusive", "fleet_site", "fleet_time_zone", "upgrade_window")

#: what it says of a whole run, by what is done with the hosts
RUN = {
    "upgrade": {
        "serial": "upgrade_serial",
        "failures": "upgrade_max_failures",
        "back": "upgrade_revert_wave",
    },
    "rollback": {"serial": "rollback_serial", "failures": "rollback_max_failures"},
}

#: and how long its upgrade may take
TIMES = ("upgrade_trial_timeout", "upgrade_boot_timeout")

NAMES = (*HOST, *TIMES, *(name for names in RUN.values() for name in names.values()))

_NOTHING = "nothing was changed"


def _seconds(value: Any) -> float:
    """A time that a host said; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0.0
    return min(max(0.0, float(value)), float(LONGEST))


def _part(value: Any, *path: str) -> Any:
    """Something deep inside of an answer; ``None`` where it is not there."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def writing(look: Any) -> float:
    """How long the write of the image will take, in seconds, as the look has foretold it."""
    foretold = _seconds(_part(look, "difference", "predicted", "seconds"))
    return foretold or _seconds(_part(look, "difference", "progress", "eta"))


def _whole(variables: Mapping[str, Any], name: str, default: int) -> int:
    value = variables.get(name, default)
    try:
        return int(str(value).strip() or default)
    except ValueError:
        raise Refused("{0} must be a whole number".format(name), safe=_NOTHING, todo="correct it")


def truth(variables: Mapping[str, Any], name: str) -> bool:
    """A variable that says yes or no; no where it is not set.

    :raises Refused: when it says something else.
    """
    value = variables.get(name)
    try:
        return bool(boolean(value)) if value not in (None, "") else False
    except TypeError:
        raise Refused("{0} must be true or false".format(name), safe=_NOTHING, todo="correct it")


def needed(variables: Mapping[str, Any], look: Any) -> float:
    """How long an upgrade may take until the host is on one system or the other for good, in seconds."""
    trial = _whole(variables, "upgrade_trial_timeout", TRIAL_TIME)
    return writing(look) + trial + 2 * _whole(variables, "upgrade_boot_timeout", BOOT_TIME)


def on_trial(look: Any) -> bool:
    """Whether a host tries a system, or goes back from one, since an earlier run."""
    return _part(look, "journal", "phase") in (TRIAL, COMMITTING, REVERTING)


def closed(name: str, variables: Mapping[str, Any], look: Any, now: datetime) -> str:
    """Why the maintenance window of a host does not let an upgrade be begun; empty where it does.

    :param variables: those of the host.
    :param look: what the look at it found.
    :raises Refused: when its window is none.
    """
    if on_trial(look):  # it is to be kept or taken back, and waiting would restart it all the same
        return ""
    found, zone = window_of(
        variables.get("upgrade_window") or [], str(variables.get("fleet_time_zone") or "").strip(), name
    )
    return windows.closed(found, zone, now, needed(variables, look)) if found else ""


def unfit(look: Any) -> str:
    """Why a host is not fit, in a word or two, from a look at it that failed.

    :param look: as it was registered; ``None`` where nothing was.
    """
    condition = _part(look, "condition")
    if isinstance(condition, str) and condition in CONDITIONS:
        return condition
    if _part(look, "unreachable"):
        return NO_ANSWER
    if isinstance(_part(look, "lease"), Mapping):
        return "in the hands of another play"
    return HALF_WAY if isinstance(_part(look, "phase"), str) else "refused"


def candidate(name: str, variables: Mapping[str, Any], look: Any, fit: bool, kind: str, now: datetime) -> Candidate:
    """A host of a run.

    :param variables: those of the host.
    :param look: what the look at it found; ``None`` where nobody has looked.
    :param kind: ``upgrade`` or ``rollback``; only upgrades wait for a window.
    :raises Refused: when a variable of it is wrong.
    """
    todo = _part(look, "todo", "open")
    return Candidate(
        Member(
            name,
            site_of(variables),
            str(variables.get("fleet_exclusive") or "").strip(),
            truth(variables, "fleet_canary"),
        ),
        unfit="" if fit else unfit(look),
        done=todo is False,
        start=str(_part(look, "boot_id") or ""),
        trial=on_trial(look),
        closed=closed(name, variables, look, now) if kind == "upgrade" and fit and todo is not False else "",
    )


def settings(kind: str, hosts: Iterable[Tuple[str, Mapping[str, Any]]]) -> Settings:
    """What holds for the whole run, which every host has to say in the same way.

    :param hosts: names, and variables.
    :raises Refused: when hosts differ, or one is wrong.
    """
    names = RUN[kind]
    said: Dict[str, Tuple[str, Any]] = {}
    for host, variables in hosts:
        for key, name in names.items():
            value = variables.get(name)
            first, before = said.setdefault(key, (host, value))
            if before != value:
                raise Refused(
                    "{0} holds for a whole run, and {1} has another one than {2}".format(
                        name, printable(host), printable(first)
                    ),
                    safe=_NOTHING,
                    todo="set it for all hosts, or with -e",
                )
    values = {key: value for key, (_host, value) in said.items() if value is not None and value != ""}
    if "back" in values:
        values["back"] = truth({names["back"]: values["back"]}, names["back"])
    if kind == "rollback":
        values.setdefault("serial", ["100%"])
    return Settings(prefix=kind, **values)
