# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run over the fleet: who is begun when, what it may lose, and whether a host may be begun now.

All of it is pure. What is decided once for all hosts is a :class:`Run`, which plays keep in a variable; whether a host
is begun is decided when its turn has come, from that and from what became of the others meanwhile.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves import windows
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.order import Member, in_turn, share, sizes, waves

#: a pattern that no host fits; an empty list would mean all of them to Ansible (``order_patterns`` in
#: inventory/manager.py)
NOBODY = ("all", "!all")

#: names of hosts that are shown in a line
SHOWN = 10

#: what would mean something else in a pattern of hosts (docs of Ansible, "Patterns: targeting hosts and groups")
_PATTERN = re.compile(r"[\s,:*?\[\]!&~]|^@")

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Candidate:
    """A host of a run, as the inventory and the look at it have it.

    :param unfit: why it cannot be begun, in a word or two; empty where it was looked at and found fit, and where nobody
        has looked.
    :param done: nothing is to be done there.
    :param seconds: how long the work on it may take at most.
    :param start: what no two hosts have in common (``kern.boot_id``); empty where it is not known.
    :param closed: empty, or why its maintenance window does not let it be begun.
    :param trial: it tries a system, or goes back from one, since an earlier run.
    """

    member: Member
    unfit: str = ""
    done: bool = False
    seconds: float = 0.0
    start: str = ""
    closed: str = ""
    trial: bool = False

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def fit(self) -> bool:
        return not self.unfit


@dataclass(frozen=True)
class Settings:
    """What holds for a whole run.

    :param serial: sizes of the waves, see :func:`order.sizes`.
    :param failures: how many hosts may be lost before nothing more is begun; a number or a percentage.
    :param back: whether a wave that loses too many goes back as a whole.
    :param prefix: of the variables, for messages: ``upgrade`` or ``rollback``.
    """

    serial: Any = (1, "10%", "100%")
    failures: Any = 0
    back: bool = False
    prefix: str = "upgrade"


@dataclass(frozen=True)
class Run:
    """What was decided for all hosts.

    :param waves: names of hosts.
    :param budget: how many hosts may be lost.
    :param unfit: those that were lost before anything was begun.
    :param groups: the group of hosts, of which never two are begun at once, by host.
    :param back: whether a wave goes back as a whole.
    :param later: why others are not begun in this run, by host.
    :param busy: those that try a system, or go back from one, since an earlier run.
    :param ident: what no other run has: variables of an earlier one may still be there.
    """

    waves: List[List[str]] = field(default_factory=list)
    budget: int = 0
    unfit: List[str] = field(default_factory=list)
    groups: Dict[str, str] = field(default_factory=dict)
    back: bool = False
    later: Dict[str, str] = field(default_factory=dict)
    prefix: str = "upgrade"
    busy: List[str] = field(default_factory=list)
    ident: str = ""

    @classmethod
    def read(cls, kept: Any) -> Run:
        """One from a variable.

        :raises Refused: when there is none.
        """
        if not isinstance(kept, Mapping):
            raise Refused(
                "nobody has planned this run", safe=_NOTHING, todo="have a task with wave_plan in an earlier play"
            )
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__})

    def as_dict(self, only_told: bool = False) -> Dict[str, Any]:
        """It as a variable, with what a play says: who its hosts are, and in how large batches.

        :param only_told: nothing is to be done (check mode): then the plays after it have no hosts.
        """
        names = [name for wave in self.waves for name in wave]
        hosts = names if names and not only_told else list(NOBODY)
        return dict(
            asdict(self),
            hosts=hosts,
            serial=[len(wave) for wave in self.waves],
            hosts_back=hosts if self.back else list(NOBODY),
        )

    def wave_of(self, name: str) -> int:
        """The number of a host's wave, from 1; 0 where it has none."""
        return next((number for number, wave in enumerate(self.waves, 1) if name in wave), 0)

    def partners(self, name: str) -> List[str]:
        """The other hosts that stand in for it."""
        group = self.groups.get(name)
        return [other for other, theirs in self.groups.items() if group and theirs == group and other != name]


def named(names: Iterable[str]) -> str:
    """Some names of hosts, for a line."""
    return first_of([printable(name) for name in names], SHOWN)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that a pattern of hosts could not say.

    :raises Refused: with the names.
    """
    wrong = [name for name in names if _PATTERN.search(name) and not _address(name)]
    if wrong:
        raise Refused(
            "what is no name of a host cannot be put into a wave: {0}".format(named(wrong)),
            safe=_NOTHING,
            todo="name it otherwise in the inventory, and put its address into ansible_host",
        )


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refuse_twins(candidates: Sequence[Candidate]) -> None:
    """Refuse two names of one host: the second would be begun in the middle of the first.

    :raises Refused: with the names.
    """
    seen: Dict[str, str] = {}
    for each in candidates:
        other = seen.setdefault(each.start, each.name) if each.start else each.name
        if other != each.name:
            raise Refused(
                "{0} and {1} are one host: the same start of the same system answers at both addresses".format(
                    printable(other), printable(each.name)
                ),
                safe=_NOTHING,
                todo="correct ansible_host of one of them, or take one out of the inventory",
            )


def plan(candidates: Sequence[Candidate], settings: Settings) -> Run:
    """Decide who is begun when.

    :param candidates: all hosts of the run, in the order of the inventory.
    :raises Refused: when more hosts are not fit than may be lost, two names are one host, or a setting is wrong.
    """
    prefix = settings.prefix
    check_names(each.name for each in candidates)
    _refuse_twins(candidates)
    budget = share(settings.failures, len(candidates), prefix + "_max_failures")
    unfit = [each.name for each in candidates if not each.fit]
    if len(unfit) > budget:
        raise Refused(
            "not begun: {0} of {1} not fit ({2}): {3}; and {4}_max_failures is {5}".format(
                len(unfit),
                counted(len(candidates), "host"),
                reasons(candidates),
                named(unfit),
                prefix,
                settings.failures,
            ),
            safe=_NOTHING + " on any host",
            todo="see above what is the matter with each; mend that, leave them out (-l), or let the run lose them "
            "({0}_max_failures)".format(prefix),
        )
    candidates = _behind_canaries(candidates)
    begun = [each.member for each in candidates if each.fit and not each.done and not each.closed]
    wanted = sizes(settings.serial, len(begun), prefix + "_serial")
    return Run(
        waves=[[member.name for member in wave] for wave in waves(in_turn(begun), wanted)],
        budget=budget,
        unfit=unfit,
        groups={each.name: each.member.exclusive for each in candidates if each.member.exclusive},
        back=settings.back,
        later={each.name: each.closed for each in candidates if each.fit and not each.done and each.closed},
        prefix=prefix,
        busy=[each.name for each in candidates if each.trial],
        ident=secrets.token_hex(4),
    )


def _behind_canaries(candidates: Sequence[Candidate]) -> List[Candidate]:
    """The hosts as they are; where there are canaries, and none of them can be begun, nobody goes before them."""
    canaries = [each for each in candidates if each.member.canary and not each.done]
    if not canaries or any(each.fit and not each.closed for each in canaries):
        return list(candidates)
    why = "none of the canaries can be begun ({0})".format(named(each.name for each in canaries))
    return [each if each.closed else replace(each, closed=why) for each in candidates]


def reasons(candidates: Sequence[Candidate]) -> str:
    """Why how many hosts are not fit."""
    counts = Counter(each.unfit for each in candidates if each.unfit)
    return ", ".join("{0} {1}".format(count, why) for why, count in sorted(counts.items()))


def told(run: Run, candidates: Sequence[Candidate]) -> List[str]:
    """The plan in lines for people."""
    begun = sum(len(wave) for wave in run.waves)
    done = sum(1 for each in candidates if each.fit and each.done)
    parts = [
        "{0} in {1} ({2})".format(
            begun, counted(len(run.waves), "wave"), ", ".join(str(len(wave)) for wave in run.waves)
        )
        if begun
        else "none to begin",
        "{0} with nothing to do".format(done) if done else "",
        "{0} to wait".format(len(run.later)) if run.later else "",
        "{0} not fit ({1})".format(len(run.unfit), reasons(candidates)) if run.unfit else "",
    ]
    lines = ["{0}: {1}".format(counted(len(candidates), "host"), ", ".join(part for part in parts if part))]
    waits: Dict[str, List[str]] = {}
    for name, why in run.later.items():
        waits.setdefault(why, []).append(name)
    return lines + ["not begun: {0}: {1}".format(named(names), why) for why, names in waits.items()]


@dataclass(frozen=True)
class Now:
    """What became of the hosts of a run up to now.

    :param lost: those that failed, or do not answer any more.
    :param results: how those ended that are through: see ``words.Story.result``.
    :param closed: why this host's window does not let it be begun; empty where it does.
    """

    lost: Sequence[str] = ()
    results: Mapping[str, str] = field(default_factory=dict)
    closed: str = ""


def hold(run: Run, name: str, now: Now) -> str:
    """Why a host is not begun now; empty where it is."""
    if not run.wave_of(name):
        return "it is in no wave of this run"  # a group of the inventory has the name of a host
    lost = list(dict.fromkeys([*run.unfit, *now.lost]))
    if len(lost) > run.budget:
        return "{0} of this run lost ({1}), and {2}_max_failures is {3}".format(
            counted(len(lost), "host"), named(lost), run.prefix, run.budget
        )
    for other in run.partners(name):
        if other in lost:
            return "{0}, which stands in for it, was lost".format(printable(other))
        if now.results.get(other) == words.ON_TRIAL or (
            other in run.busy and now.results.get(other) != words.COMMITTED
        ):
            return "{0}, which stands in for it, is on trial".format(printable(other))
    return now.closed


def goes_back(run: Run, name: str, now: Now) -> str:
    """Whether a host goes back with its wave, and how.

    :returns: :data:`words.COMMITTED` for one that keeps the new system, :data:`words.ON_TRIAL` for one that tries it,
        or nothing.
    """
    number = run.wave_of(name)
    lost = [run.wave_of(other) for other in dict.fromkeys([*run.unfit, *now.lost])]  # 0 of those that have none
    before, then = sum(wave < number for wave in lost), sum(wave <= number for wave in lost)
    if not run.back or not number or not before <= run.budget < then:  # an earlier wave was good enough
        return ""
    result = now.results.get(name, "")
    return result if result in (words.COMMITTED, words.ON_TRIAL) else ""


def window_of(texts: Any, zone: str, name: str) -> Tuple[List[windows.Window], Any]:
    """The maintenance windows of a host and the zone that they are in.

    :param texts: one or a list.
    :raises Refused: when one of them is none, or nobody says in which zone.
    """
    given = texts if isinstance(texts, (list, tuple)) else re.split(r"[;\n]", str(texts))
    found = [windows.parse(str(text)) for text in given if str(text).strip()]
    if found and not zone:
        raise Refused(
            "{0} has an upgrade_window and no fleet_time_zone: nobody knows in whose time".format(printable(name)),
            safe=_NOTHING,
            todo="set fleet_time_zone for its site (Europe/Berlin, UTC)",
        )
    return found, windows.zone_of(zone) if found else None
