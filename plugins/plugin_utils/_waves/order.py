# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order hosts are begun: waves of growing size, and never two at once that stand in for each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable


@dataclass(frozen=True)
class Member:
    """A host that has its place in a wave.

    :param name: in the inventory.
    :param site: where it is; empty where that is not known.
    :param exclusive: the name of a group of hosts of which never two are begun at once; empty for none.
    :param canary: whether it goes before others.
    """

    name: str
    site: str = ""
    exclusive: str = ""
    canary: bool = False


_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _wrong(variable: str, value: object) -> Refused:
    return Refused(
        "{0} must be whole numbers or percentages, and has {1}".format(variable, printable(repr(value))[:60]),
        safe="nothing was changed",
        todo='correct it; an example is [1, "10%", "100%"]',
    )


def share(value: Any, total: int, variable: str) -> int:
    """A number of hosts, given as one or as a percentage of all, rounded down.

    :param variable: what it is called, for the message.
    :raises Refused: when it is neither.
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    match = _SHARE.fullmatch(text)
    if match and float(match[1]) <= 100:
        return int(float(match[1]) * total / 100 + 1e-9)
    if not re.fullmatch(r"\d{1,9}", text):
        raise _wrong(variable, value)
    return int(text)


def sizes(serial: Any, total: int, variable: str) -> List[int]:
    """How many hosts the waves have; further ones have as many as the last.

    :param serial: as Ansible's ``serial``: one or a list, of numbers or percentages; also as text with commas.
    :param total: how many hosts there are.
    :raises Refused: when it is something else, or a wave would have none.
    """
    given = serial if isinstance(serial, (list, tuple)) else str(serial).strip().strip("[]").split(",")
    found = []
    for each in given:
        value = each.strip().strip("'\"") if isinstance(each, str) else each
        number = share(value, total, variable)
        if number == 0 and "%" not in str(value):
            raise _wrong(variable, serial)
        found.append(max(1, number))  # a small share of a small fleet is a host
    if not found:
        raise _wrong(variable, serial)
    return found


def in_turn(members: Sequence[Member]) -> List[Member]:
    """Canaries first; then one of each site after the other, so that no line carries a wave alone.

    Within a site the order of the inventory stays.
    """
    place: Dict[str, int] = {}
    keyed = []
    for number, member in enumerate(members):
        kind = ("c" if member.canary else "r") + member.site
        turn = place[kind] = place.get(kind, -1) + 1
        keyed.append(((not member.canary, turn, number), member))
    return [member for _key, member in sorted(keyed, key=lambda each: each[0])]


def waves(members: Sequence[Member], wanted: Sequence[int]) -> List[List[Member]]:
    """Hosts in waves. Of hosts that stand in for each other each wave has one at most.

    :param members: in the order in which they are to be begun.
    :param wanted: see :func:`sizes`.
    """
    left = list(members)
    found: List[List[Member]] = []
    while left:
        size = wanted[min(len(found), len(wanted) - 1)]
        wave: List[Member] = []
        taken = set()
        rest = []
        for member in left:
            if len(wave) < size and not (member.exclusive and member.exclusive in taken):
                wave.append(member)
                taken.add(member.exclusive)
            else:
                rest.append(member)
        found.append(wave)
        left = rest
    return found
