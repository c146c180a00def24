# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a host that came back from a backup is itself, does what it is for, and has the files of the backup."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

from ansible_collections.nanozfs.fleet.plugins.module_utils import _condition, _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import health


class Expected(NamedTuple):
    """What the backup says of its host; what is empty is not looked at."""

    hostname: str
    hostid: str
    pool: str


def strangers(host: Mapping[str, Any], hostid: str, expected: Expected) -> List[str]:
    """What of a host is not that of the backup, in words.

    That its backups or its spare slices are not as they should be says nothing of the restore, so what counts as
    degraded counts nothing here but the pool.

    :param host: the survey of it.
    :param hostid: that it has.
    """
    found = [
        "{0}: {1}".format(each.condition, each.reason)
        for each in _condition.findings(host)
        if each.condition not in (_condition.DEGRADED, _condition.BEHIND)
    ]
    if expected.hostname and host.get("hostname") != expected.hostname:
        found.append("it calls itself {0!r}, and was {1!r}".format(host.get("hostname"), expected.hostname))
    if expected.hostid and hostid != expected.hostid:
        found.append("its hostid is {0}, and was {1}".format(hostid, expected.hostid))
    pool = host.get("pool") or {}
    if expected.pool and (pool.get("name"), pool.get("health")) != (expected.pool, "ONLINE"):
        words = "its pool is {0} ({1}), and {2} (ONLINE) was expected"
        found.append(words.format(pool.get("name"), pool.get("health"), expected.pool))
    return found


def look(
    runner: Runner,
    expected: Expected,
    checks: health.Checks,
    order: digests.Order,
    top: str = "/",
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """All of it.

    :param order: the files that are compared.
    :param top: where the host has its files.
    """
    host = _host.survey(runner, expected.pool or None, False)
    problems = strangers(host, "{0:x}".format(Zpool(runner).own_hostid()), expected)
    problems += health.failures(runner, checks, sleep)
    return {
        "hostname": host.get("hostname"),
        "state": host.get("state"),
        "version": (host.get("running") or {}).get("version") or "",
        "problems": problems,
        "files": digests.look(top, order),
    }
