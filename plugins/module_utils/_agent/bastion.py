# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Calling the operators: an ssh connection to the outside, through which they can log in to a host.

It is for hosts that nobody can reach from outside. Where to call is in a file of the image; nothing has to be typed::

    # /etc/nanozfs/bastion.conf
    host = 192.0.2.10
    user = callin
    port = 443
    identity = /etc/nanozfs/callin_key
    known_hosts = /etc/nanozfs/known_hosts

The bastion's host key must be in the file known_hosts, or there is no connection. Source: ssh(1), ssh_config(5).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected

#: relative to /etc
CONF = "nanozfs/bastion.conf"

_KEYS = ("host", "user", "port", "identity", "known_hosts", "remote_port")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_ALLOCATED = re.compile(r"Allocated port (\d+) for remote forward")


@dataclass(frozen=True)
class Bastion:
    """Where to call. ``remote_port`` is the port there that leads to this host's sshd; 0 lets the bastion choose."""

    host: str
    user: str
    port: int
    identity: str
    known_hosts: str
    remote_port: int = 0

    def argv(self) -> List[str]:
        """The ssh command: into the background as soon as the port is open, and never a question."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "ExitOnForwardFailure": "yes",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "ServerAliveCountMax": "4",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.known_hosts,
        }
        argv = ["ssh", "-f", "-N", "-F", "/dev/null", "-p", str(self.port), "-i", self.identity]
        for key, value in sorted(options.items()):
            argv += ["-o", "{0}={1}".format(key, value)]
        return argv + ["-R", "{0}:127.0.0.1:22".format(self.remote_port), "-l", self.user, self.host]


def parse(text: str, folder: str) -> Bastion:
    """Read the file.

    :param folder: where it lies, for the names of other files in it.
    :raises FleetError: when it lacks something, or has what could be taken for something else.
    """
    values: Dict[str, str] = {"port": "22", "remote_port": "0", "known_hosts": "known_hosts"}
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if not key and not equals:
            continue
        if key not in _KEYS or not value:
            raise FleetError("{0} has a line that means nothing: {1!r}".format(CONF, line.strip()))
        values[key] = value
    missing = [key for key in _KEYS if key not in values]
    if missing:
        raise FleetError("{0} does not say {1}".format(CONF, ", ".join(missing)))
    for key in ("host", "user"):
        if not _NAME.fullmatch(values[key]):
            raise FleetError("{0} in {1} is no {2}".format(values[key], CONF, key))
    for key in ("port", "remote_port"):
        if not values[key].isdigit() or int(values[key]) > 65535:
            raise FleetError("{0} in {1} is no port".format(values[key], CONF))
    return Bastion(
        host=values["host"],
        user=values["user"],
        port=int(values["port"]),
        identity=os.path.join(folder, values["identity"]),
        known_hosts=os.path.join(folder, values["known_hosts"]),
        remote_port=int(values["remote_port"]),
    )


def load(etc: str) -> Optional[Bastion]:
    """Where this host is to call; ``None`` when its image does not say.

    :raises FleetError: when what it says cannot be used.
    """
    path = os.path.join(etc, CONF)
    try:
        with open(path, encoding="utf-8") as file:
            bastion = parse(file.read(), os.path.dirname(path))
    except FileNotFoundError:
        return None
    for each in (bastion.identity, bastion.known_hosts):
        if not os.path.exists(each):
            raise FleetError("there is no {0}, which {1} names".format(each, CONF))
    return bastion


def call(runner: Runner, bastion: Bastion) -> int:
    """Open the way in.

    :returns: the port of the bastion that leads to this host.
    :raises FleetError: when there is no connection, or the bastion is not the one that it should be.
    """
    result = runner.attempt(bastion.argv())
    if "Host key verification failed" in result.err:
        raise Refused(
            "{0} is not the bastion that the image knows: its host key is another one".format(bastion.host),
            safe="nothing was sent to it",
            todo="tell the operators: either their bastion has a new key, or somebody is in between",
        )
    if result.rc != 0:
        raise unexpected(result, "call {0}".format(bastion.host), safe="nothing was changed")
    match = _ALLOCATED.search(result.err)
    return int(match.group(1)) if match else bastion.remote_port
