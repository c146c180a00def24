# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who a play is, for the lease that it holds on a host; and whether another play of this machine is still alive."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any, Dict, Mapping

#: variables with which AWX and ansible-runner say what they run
_JOB = ("awx_job_id", "tower_job_id")
_USER = ("awx_user_name", "tower_user_name")


def _started(pid: int) -> str:
    """When a process was started, in ticks since the start of this machine; empty where that cannot be told.

    Source: proc(5), field 22 of ``/proc/<pid>/stat``; the second one, in parentheses, may hold blanks.
    """
    try:
        with open("/proc/{0}/stat".format(pid), encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _space() -> str:
    """Which processes this one can tell of: those of this start of the kernel, in its PID namespace; empty where that
    is not known.

    A job of AWX is in a container: each play may be process 7 of a machine of the same name, whose ``/proc`` knows
    nothing of the others. Source: namespaces(7): processes whose links have the same inode number are in the same one;
    random(4) for ``boot_id``.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return "{0}:{1}".format(file.read().strip(), os.stat("/proc/self/ns/pid").st_ino)
    except (OSError, ValueError):
        return ""


def holder(variables: Mapping[str, Any]) -> Dict[str, str]:
    """Who this play is.

    :param variables: those of the host: AWX says in them which job this is, and whose.
    """
    pid = os.getppid()  # actions run in a child of ansible-playbook
    job = next((str(variables[name]) for name in _JOB if variables.get(name)), os.environ.get("JOB_ID", ""))
    user = next((str(variables[name]) for name in _USER if variables.get(name)), "")
    found = {
        "user": user or _login(),
        "node": socket.gethostname(),
        "pid": str(pid),
        "started": _started(pid),
        "space": _space(),
        "job": job,
    }
    return {key: value for key, value in found.items() if value}


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def is_gone(other: Mapping[str, str]) -> bool:
    """Whether the holder of a lease was a play of this machine whose process is dead. In doubt it is not.

    :param other: as the host says it. One of another container, which nothing can be told of from here, is in doubt
        also where that has the name of this one; so is one that does not say where it was (before 1.1.0).
    """
    pid, space = other.get("pid", ""), _space()
    if other.get("node") != socket.gethostname() or not pid.isdigit() or not other.get("started"):
        return False
    return space != "" and other.get("space") == space and _started(int(pid)) != other["started"]
