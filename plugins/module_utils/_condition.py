# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The condition of a host, in one of a few words, with the reasons.

It is the one judgement behind table, page, exit status and metrics. What there is to judge is the survey of
:mod:`_host`; what a host should run is added by the controller.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import records
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import preflight

# what a host itself can tell, and the controller (behind)
NORMAL, BEHIND, TRIAL, HALF_WAY = "normal", "behind", "trial", "half way"
DEGRADED, UNKNOWN, RECOVERY = "degraded", "unknown", "recovery"
# of a host that was not, or in vain, asked
NONSENSE, NOT_ASKED, FAILED, NO_ANSWER = "nonsense", "not asked", "failed", "no answer"

#: from the best to the worst
CONDITIONS: Dict[str, str] = {
    NORMAL: "it runs on its own data, and nothing is the matter",
    BEHIND: "it is well, and runs another image than it should",
    TRIAL: "a new system is being tried",
    HALF_WAY: "an upgrade or rollback was begun and is not at its end",
    DEGRADED: "it works, and something of it is broken: pool, disks, OS medium, backups, or the image is a bad one",
    UNKNOWN: "the collection did not install it, or its early boot hook did not run",
    RECOVERY: "it runs without its data",
    NONSENSE: "what it says of itself cannot be read",
    NOT_ASKED: "it was not looked at",
    FAILED: "it answers, and could not be looked at",
    NO_ANSWER: "it cannot be reached",
}

#: of hosts of which nothing is known
SILENT = (NONSENSE, NOT_ASKED, FAILED, NO_ANSWER)

#: on the way somewhere, and nothing is broken
MOVING = (BEHIND, TRIAL, HALF_WAY)

#: how full a pool may be before something counts as broken (percent). ZFS looks for space in a slower way long before
#: that (``metaslab_df_free_pct`` in zfs(4) is 4), and a trial that fails needs some to put the data back
FULL = 95

#: what ``zpool status`` says of a pool whose data is sound
SOUND = "No known data errors"


class Finding(NamedTuple):
    """Something that is not normal, and why."""

    condition: str
    reason: str


def worst(findings: Sequence[Finding]) -> str:
    """The condition of a host with these findings."""
    order = list(CONDITIONS)
    return max((each.condition for each in findings), key=order.index, default=NORMAL)


def at_least(condition: str, named: str) -> bool:
    """Whether a condition is the named one, or one that is worse in the same way.

    What is on its way somewhere (:data:`MOVING`) is only that which is named; of the others each takes in what is
    worse, because who wants to hear of a degraded pool wants to hear of a host that is gone.
    """
    if named in MOVING or condition in MOVING:
        return condition == named
    order = list(CONDITIONS)
    return order.index(condition) >= order.index(named)


def disk_words(disk: Mapping[str, Any]) -> str:
    """A disk with errors, in words."""
    kinds = ["{0} {1}".format(disk[key], key) for key in ("read", "write", "checksum") if disk[key]]
    return "{0} has had errors ({1})".format(disk["name"], ", ".join(kinds))


def findings(host: Mapping[str, Any]) -> List[Finding]:
    """What is not normal about a host.

    :param host: the survey of it, :func:`_host.survey`.
    """
    return [*_state(host), *_transaction(host), *_pool(host), *_medium(host), *_backups(host)]


def _state(host: Mapping[str, Any]) -> List[Finding]:
    state, reason = host.get("state"), str(host.get("reason") or "")
    if state == preflight.RECOVERY:
        return [Finding(RECOVERY, reason or "it has not got its data")]
    if state == preflight.TRIAL:
        return [Finding(TRIAL, reason or "a new system is being tried")]
    if state != preflight.NORMAL:
        return [Finding(UNKNOWN, reason or "its early boot hook has not said in which state it is")]
    return []


def _transaction(host: Mapping[str, Any]) -> List[Finding]:
    """An open transaction, by the journal, or by what the OS medium remembers of it where the pool is not there."""
    journal = host.get("journal")
    if journal is not None:
        version = (journal.get("to") or {}).get("version")
    else:
        journal = host.get("remembered") or {}
        version = journal.get("to_version")
    phase = journal.get("phase") or journals.IDLE
    if phase in journals.CLOSED or host.get("state") == preflight.TRIAL:
        return []
    stands = "is in phase {0}".format(phase)
    if phase == journals.WRITTEN and not journal.get("lease"):
        stands = "is written and waits for its restart"
    words = "{0} {1} to {2} {3}".format(
        journal.get("kind") or "upgrade", journal.get("txn") or "", version or "an unknown version", stands
    )
    return [Finding(HALF_WAY, " ".join(words.split()))]


def _pool(host: Mapping[str, Any]) -> List[Finding]:
    pool, disks = host.get("pool"), host.get("disks")
    found: List[str] = []
    if pool:
        name = pool["name"]
        if pool["health"] != "ONLINE":
            found.append("the pool {0} is {1}".format(name, pool["health"]))
        if pool.get("readonly"):
            found.append("the pool {0} is read-only".format(name))
        if pool.get("errors") and pool["errors"] != SOUND:
            found.append("the pool {0} has damaged data: {1}".format(name, pool["errors"]))
        if pool["capacity"] >= FULL:
            found.append("the pool {0} is {1} % full".format(name, pool["capacity"]))
    elif "pool" in host and host.get("state") in (preflight.NORMAL, preflight.TRIAL):
        found.append("its pool is not imported")
    if disks:
        if disks["missing"]:
            found.append("{found} of {expected} data disks".format(**disks) + _named(disks["missing"]))
        found += [disk_words(each) for each in disks.get("errors") or ()]
    return [Finding(DEGRADED, each) for each in found]


def _named(missing: Sequence[str]) -> str:
    return ": {0}".format(", ".join(str(each) for each in missing))


def _medium(host: Mapping[str, Any]) -> List[Finding]:
    medium = host.get("medium")
    found: List[str] = []
    if medium is None:
        if "medium" in host and host.get("state") in (preflight.NORMAL, preflight.TRIAL):
            found.append("its OS medium cannot be read")
        return [Finding(DEGRADED, each) for each in found]
    if medium.get("corrupt"):
        found.append("a partition table of the OS medium {0} is damaged".format(medium.get("disk")))
    if medium.get("duplicates"):
        found.append("another medium of the fleet is in it")
    running = host.get("running") or {}
    if running.get("id") and running["id"] in ((host.get("journal") or {}).get("bad") or ()):
        found.append("the image that runs is on its list of bad images")
    if running.get("bad"):
        found.append("the image that runs is on the fleet's list of bad images ({0})".format(running["bad"]))
    return [Finding(DEGRADED, each) for each in found]


def _backups(host: Mapping[str, Any]) -> List[Finding]:
    """A backup that nobody could get a file out of is none. How old one may be, only the controller knows."""
    found = []
    for label, backup in sorted((host.get("backups") or {}).items()):
        if (backup.get("verified") or {}).get("result") == records.FAILED:
            words = "what was looked at in its backup by {0} is not what the host had ({1})"
            found.append(Finding(DEGRADED, words.format(label, backup["verified"].get("kind") or records.SAMPLE)))
        if (backup.get("machine") or {}).get("result") == records.FAILED:
            words = "from its backup by {0} it did not come up as itself in a virtual machine"
            found.append(Finding(DEGRADED, words.format(label)))
    return found


def summary(host: Mapping[str, Any]) -> Tuple[str, List[Finding]]:
    """Condition and findings of a host that told of itself."""
    found = findings(host)
    return worst(found), found
