# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many hosts of the lab this machine can hold at once."""

from __future__ import annotations

import os
from typing import Dict, List, Mapping, NamedTuple

MIB = 1 << 20


class Need(NamedTuple):
    """What there has to be of something.

    :param host: for each host of the lab.
    :param run: for the play, and what else there is.
    """

    host: int
    run: int


#: what hosts of the lab take, as measured with 50 of them (docs/lab.md); memory and disk in bytes
NEEDS: Mapping[str, Need] = {
    "memory": Need(45 * MIB, 1024 * MIB),
    "disk": Need(50 * MIB, 2048 * MIB),
    "processes": Need(16, 1000),
    "addresses": Need(1, 0),
}


def here(folder: str, addresses: int) -> Dict[str, int]:
    """What this machine has of it.

    :param folder: where the lab is, or the folder that it will be in.
    :param addresses: how many the network of the lab has.
    """
    with open("/proc/meminfo", encoding="ascii") as file:
        meminfo = dict(line.split(":") for line in file)
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        pids = int(file.read())
    disk = os.statvfs(folder)
    return {
        "memory": int(meminfo["MemAvailable"].split()[0]) << 10,
        "disk": disk.f_bavail * disk.f_frsize,
        "processes": pids - sum(name.isdigit() for name in os.listdir("/proc")),
        "addresses": addresses,
    }


def lacking(count: int, has: Mapping[str, int]) -> List[str]:
    """Why so many hosts cannot be held at once; empty where they can."""
    found = []
    for name, need in NEEDS.items():
        wanted = need.run + count * need.host
        if wanted > has[name]:
            unit, by = (" MiB", MIB) if name in ("memory", "disk") else ("", 1)
            found.append(
                "{0}: {1:,}{2} wanted, {3:,}{2} there: room for {4} hosts".format(
                    name, wanted // by, unit, has[name] // by, max(0, (has[name] - need.run) // need.host)
                )
            )
    return found
