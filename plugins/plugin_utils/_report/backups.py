# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host is backed up: how old its last good backup is, and what there is to say of backups."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import FAILED, OK, PARTIAL
from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import DEGRADED, Finding
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Backup, Known, Verified
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import duration, size

#: how far ahead of this machine's clock that of a host may be (seconds)
AHEAD = 3600

WORDS = {OK: "ok", PARTIAL: "partial", FAILED: "failed", "": "never"}


class Terms(NamedTuple):
    """How a backup is judged.

    :param at: now, in seconds since the epoch.
    :param hours: how old the last good one may be; 0 where nobody wants to know.
    :param verified: how long ago the last look into one may be, in hours; 0 likewise.
    """

    at: float
    hours: int = 0
    verified: int = 0


def _is_ahead(backup: Backup, at: float) -> bool:
    """Whether it is said to have begun when it cannot have yet."""
    return backup.good - at > AHEAD


def age(backup: Backup, at: float) -> Optional[int]:
    """How old the last good one is, in seconds; ``None`` where there was none, or nobody can tell."""
    return None if not backup.good or _is_ahead(backup, at) else max(0, int(at - backup.good))


def is_too_old(old: Optional[int], terms: Terms) -> bool:
    """Whether a good backup of this age is older than it may be; of one that nobody can tell that is not said."""
    return old is not None and bool(terms.hours) and old > terms.hours * 3600


def looks(backup: Backup) -> List[Verified]:
    """The last looks into it, of each kind."""
    return [each for each in (backup.verified, backup.machine) if each is not None]


def since(look: Optional[Verified], at: float) -> Optional[int]:
    """How long ago a look was, in seconds; ``None`` where there was none, or nobody can tell."""
    return None if look is None or look.at - at > AHEAD else max(0, int(at - look.at))


def looked(backup: Backup, at: float) -> Optional[int]:
    """How long ago the last look into it was, in seconds; ``None`` where there was none, or nobody can tell."""
    return min((ago for ago in (since(each, at) for each in looks(backup)) if ago is not None), default=None)


def is_look_too_old(ago: int, terms: Terms) -> bool:
    """Whether a look of so many seconds ago is longer ago than it may be."""
    return bool(terms.verified) and ago > terms.verified * 3600


def _look_remark(backup: Backup, terms: Terms) -> str:
    """What there is to say of the last look into a backup; one that found something else is a finding of its own."""
    if not looks(backup):
        return "its backup by {0} was never verified".format(backup.label) if backup.good else ""
    ago = looked(backup, terms.at)
    if ago is None:
        return "its backup by {0} is said to have been verified in the future: a clock is wrong".format(backup.label)
    if is_look_too_old(ago, terms):
        words = "its backup by {0} was verified {1} ago, and report_backup_verified_max_age is {2} h"
        return words.format(backup.label, duration(ago), terms.verified)
    return ""


def judge(known: Known, terms: Terms) -> List[Finding]:
    """What of a host's backups is not as it should be, by their age.

    One good backup that is young enough will do, whoever made it.
    """
    if not terms.hours:
        return []
    ages = [each for each in (age(backup, terms.at) for backup in known.backups) if each is not None]
    if ages and not is_too_old(min(ages), terms):
        return []
    if ages:
        words = "its last good backup is {0} old, and report_backup_max_age is {1} h".format(
            duration(min(ages)), terms.hours
        )
    elif any(_is_ahead(backup, terms.at) for backup in known.backups):
        words = "its last good backup is said to have begun in the future: a clock is wrong"
    else:
        words = "it was never backed up"
    return [Finding(DEGRADED, words)]


def remarks(known: Known, terms: Terms) -> List[str]:
    """What else there is to say of them."""
    found = []
    for backup in known.backups:
        if backup.result in (FAILED, PARTIAL):
            how = "failed" if backup.result == FAILED else "is not whole"
            found.append(
                "its last backup by {0} {1}{2}".format(backup.label, how, ": " + backup.why if backup.why else "")
            )
        old = age(backup, terms.at)
        if len(known.backups) > 1 and old is not None and is_too_old(old, terms):
            found.append("its last good backup by {0} is {1} old".format(backup.label, duration(old)))
        found += filter(None, [_look_remark(backup, terms)])
        if backup.trial and backup.result:
            found.append("its last backup by {0} is of a system on trial".format(backup.label))
    return found


def newest(backups: Sequence[Backup]) -> Optional[Backup]:
    """The one that a line has room for: with the youngest good one."""
    return max(backups, key=lambda each: (each.good, each.begun), default=None)


def cell(known: Known, terms: Terms) -> str:
    """Result, age, size and duration of a host's backup in a few characters."""
    backup = newest(known.backups)
    if backup is None:
        return "never" if terms.hours else "-"
    if not backup.result:
        return "is read now" if backup.since is not None else "?"
    old = age(backup, terms.at)
    parts = [WORDS.get(backup.result, "?"), "none good" if old is None else duration(old)]
    return ", ".join([*parts, size(backup.bytes), duration(backup.seconds)])


def entry(backup: Backup, at: float) -> Dict[str, Any]:
    """One in the document."""
    kinds = {"verified": backup.verified, "machine": backup.machine}
    found = {key: dict(look.__dict__) if look else None for key, look in kinds.items()}
    return dict(backup.__dict__, **found, age=age(backup, at))
