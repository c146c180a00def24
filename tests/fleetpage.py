# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet to look at: hosts in every condition, and some months of history. For tests of the page, and its pictures."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts, history
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.hosts import Support, support_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Target, Wish

NOW = 1_796_033_000.0

IDS = {version: hashlib.sha256(version.encode("ascii")).hexdigest() for version in ("1.0", "1.1", "1.2", "1.3")}
RELEASES = {"1.0": "13.2-RELEASE-p4", "1.1": "13.2-RELEASE-p8", "1.2": "14.1-RELEASE-p2", "1.3": "14.2-RELEASE"}

#: with how many seconds between them an upgrade comes to its phases, at least and at most
PHASES = (
    ("prepared", 0, 0),
    ("written", 40, 220),
    ("armed", 3, 20),
    ("trial", 50, 110),
    ("committing", 15, 50),
    ("committed", 1, 3),
)

#: days before now, and what runs then: on canaries, and on the others
STAGES = (
    (120, ("1.0", "1.0"), ("1.0", "1.0")),
    (75, ("1.1", "1.0"), ("1.0", "1.0")),
    (40, ("1.2", "1.1"), ("1.1", "1.0")),
    (0, ("1.3", "1.2"), ("1.2", "1.1")),
)

WICKED = '</script><script>owned = 1</script><img src=x onerror="owned = 2">\'\u202e' + "W" * 10_000


def _times(dice: random.Random, end: float) -> List[Dict[str, Any]]:
    found, at = [], int(end) - 400
    for phase, least, most in PHASES:
        at += dice.randint(least, most)
        found.append({"phase": phase, "at": at})
    return found


def _image(version: str) -> Dict[str, Any]:
    origin = {"method": "sets", "release": RELEASES[version], "revision": "", "options": {}, "package_count": 34}
    return {
        "name": "web",
        "version": version,
        "id": IDS[version],
        "build": IDS[version][:16],
        "seq": int(version.replace(".", "")),
        "origin": origin,
    }


def _well(dice: random.Random, name: str, version: str, before: str, at: float) -> Dict[str, Any]:
    """What a host says that is as it should be."""
    full = dice.choice([4, 7, 12, 18, 23, 41, 55, 62])
    journal = {
        "phase": "committed",
        "txn": "0004-{0}-{1:04x}".format(IDS[version][:8], dice.getrandbits(16)),
        "kind": "upgrade",
        "from": {"version": before},
        "to": {"version": version},
        "reason": "",
        "bad": [],
        "fetched": dice.choice([3_900_000, 4_100_000, 5_000_000, 30_200_000, 142_000_000]),
        "times": _times(dice, at - dice.randint(600, 9000)),
    }
    pool = {
        "name": "tank",
        "health": "ONLINE",
        "capacity": full,
        "size": 4 * 10**12,
        "allocated": full * 4 * 10**10,
        "readonly": False,
        "errors": "No known data errors",
        "scan": "scrub repaired 0B in 00:41:12 with 0 errors on Sun Nov 22 03:41:12 2026",
    }
    return {
        "state": "normal",
        "reason": "",
        "hostname": name,
        "arch": "amd64",
        "release": RELEASES[version],
        "warnings": [],
        "failed": [],
        "running": dict(_image(version), slice="nz-b"),
        "medium": {
            "disk": "ada0",
            "corrupt": False,
            "duplicates": [],
            "inactive": "nz-a",
            "slices": {"nz-a": {"flags": [], "image": _image(before), "problem": ""}},
        },
        "pool": pool,
        "disks": {"found": 4, "expected": 4, "missing": [], "errors": []},
        "journal": journal,
    }


def _amiss(number: int, host: Dict[str, Any]) -> Dict[str, Any]:
    """What was registered for a host; for some of them something is the matter."""
    journal, pool = host["journal"], host["pool"]
    if number == 3:
        pool.update(health="DEGRADED", scan="resilver in progress since Mon Nov 30 09:12:44 2026")
        host["disks"] = {"found": 3, "expected": 4, "missing": ["ada4 REMOVED"], "errors": []}
    elif number == 5:
        host["disks"]["errors"] = [{"name": "ada2", "read": 0, "write": 1, "checksum": 269}]
    elif number == 8:
        return {
            "unreachable": True,
            "msg": "Failed to connect to the host via ssh: ssh: connect to host 192.0.2.8 port 22: No route to host",
        }
    elif number == 11:
        gone = ["{0} UNAVAIL cannot open".format(disk) for disk in ("ada2", "ada3", "ada4")]
        host.update(state="recovery", reason="no pool named tank was found", pool=None, journal=None)
        host["running"]["slice"] = "nz-recovery"
        host.update(
            importable=[{"name": "tank", "state": "UNAVAIL"}],
            disks={"found": 1, "expected": 4, "missing": gone, "errors": []},
        )
    elif number == 14:
        host["state"] = journal["phase"] = "trial"
        del journal["times"][4:]
    elif number == 17:
        journal["phase"] = "written"
        del journal["times"][2:]
    elif number in (2, 23):
        journal.update(phase="reverted", reason="not running: nginx", bad=[IDS["1.3"]])
        began = journal["times"][3]["at"]
        journal["times"][4:] = [{"phase": "reverting", "at": began + 70}, {"phase": "reverted", "at": began + 150}]
        host["failed"] = [{"name": "tank/nanozfs/failed/0004", "used": 1}]
    elif number == 26:
        return {"failed": True, "msg": "The module interpreter '/usr/local/bin/python3' was not found."}
    elif number == 29:
        pool["capacity"] = 96
    return {"host": host}


def _hostile(host: Dict[str, Any]) -> Dict[str, Any]:
    host.update(reason=WICKED, hostname=WICKED, warnings=[WICKED])
    host["running"].update(version=WICKED, name=WICKED)
    host["pool"].update(health=WICKED, scan=WICKED)
    host["journal"].update(reason=WICKED, txn=WICKED)
    return host


def _stage(count: int, stage: Tuple[int, Tuple[str, str], Tuple[str, str]], hostile: bool) -> Fleet:
    days, canary, others = stage
    dice, at = random.Random(days), NOW - days * 86400
    hosts = []
    for number in range(count):
        name = "{0}-{1}".format(("web", "db", "edge")[number % 3], number // 3 + 1)
        first = number % 10 == 0
        version, before = canary if first else others
        if days == 0 and not first and number % 15 == 4:
            version, before = "1.1", "1.0"
        says = _well(dice, name, version, before, at)
        wicked = hostile and days == 0 and number % 100 == 50
        result = _amiss(number, says) if days == 0 and not wicked else {"host": _hostile(says) if wicked else says}
        wanted = "1.3" if first else "1.2"
        target: Optional[Target] = None
        if days == 0:
            wish = Wish("ring:canary" if first else "ring:stable", "web", "http://images.example.org/web")
            target = Target(
                wish, IDS[wanted], IDS[wanted][:16], wanted, int(wanted.replace(".", "")), "release@example.org"
            )
        site = "site-{0}".format("abcdefgh"[number % 8]) if count < 200 else "site-{0:02d}".format(number % 40)
        hosts.append(host_of(name + (WICKED if wicked else ""), site, facts.answer(result), target))
    return fleet_of(hosts, [], at)


def sample(count: int, hostile: bool = False) -> Tuple[Fleet, history.History, Support]:
    """A fleet, its history, and the dates of support.

    :param hostile: some hosts have names, and say what, no host should.
    """
    lines = b""
    for stage in STAGES:
        fleet = _stage(count, stage, hostile)
        lines += b"".join(history.encode(each) for each in history.additions(fleet, history.parse(lines)))
    support = support_of({"13.2-RELEASE": "2024-06-30", "14.2-RELEASE": "2027-09-30"})
    return fleet, history.parse(lines), support
