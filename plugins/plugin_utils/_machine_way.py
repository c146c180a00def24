# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to a copy of a host, which is in a virtual machine on a backup host: through that, and never to the host.

Sources: ssh_config(5), ``ProxyCommand`` (run by a shell, with its tokens), ``HostKeyAlias``, ``UserKnownHostsFile``;
ssh(1), ``-W``; RFC 2606, 2: names below ``.invalid`` are nobody's.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any, Dict, List, Mapping

from ansible import constants

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Execute
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.install import is_key
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.send import HERE

#: the variables that lead to the copy while they are set
LEADING = ("ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port", "ansible_ssh_common_args")

_SAFE = "nothing was sent to the copy, and nothing to the host"


def alias(name: str, port: int) -> str:
    """What the copy of a host is called: a name that nobody has, and that no connection that is kept is to."""
    return "{0}.{1}.invalid".format(re.sub(r"[^a-z0-9-]", "-", name.lower()), port)


def refuse_fixed(name: str, extra: Mapping[str, Any]) -> None:
    """Refuse to go to a copy where the command line says where the host is: that counts more than all that is set here,
    and what is for the copy would go to the host.

    :param extra: what ``--extra-vars`` says.
    :raises Refused: with what is there.
    """
    fixed = [each for each in LEADING if each in extra]
    if fixed:
        raise Refused(
            "{0} of {1} is given by --extra-vars, so its copy could not be reached instead of it".format(
                ", ".join(fixed), name
            ),
            safe=_SAFE,
            todo="put it into the inventory",
        )


def known_hosts(name: str, port: int, key: str) -> str:
    """The path of a file of this run with the key that a copy has now; it goes with the run.

    :raises Refused: when it is no key.
    """
    if not is_key(key):
        raise Refused("the backup host did not say the key of the machine", safe=_SAFE, todo="run the play again")
    path = os.path.join(constants.DEFAULT_LOCAL_TMP, "machine-{0}".format(alias(name, port)))
    with open(path, "w", encoding="utf-8") as file:
        file.write("{0} {1}\n".format(alias(name, port), " ".join(key.split()[:2])))
    return path


def _to_vault(variables: Mapping[str, Any], vault: str) -> List[str]:
    """How ssh is called for a backup host, up to what it does there."""

    def value(*names: str) -> str:
        for name in names:
            found = variables.get(name)
            if found not in (None, ""):
                return str(found)
        return ""

    argv = [value("ansible_ssh_executable") or "ssh", "-o", "BatchMode=yes"]
    key = value("ansible_ssh_private_key_file", "ansible_private_key_file")
    argv += ["-i", os.path.expanduser(key)] if key else []
    argv += ["-p", value("ansible_port", "ansible_ssh_port")] if value("ansible_port", "ansible_ssh_port") else []
    user = value("ansible_user", "ansible_ssh_user")
    argv += ["-l", user] if user else []
    argv += shlex.split(value("ansible_ssh_common_args")) + shlex.split(value("ansible_ssh_extra_args"))
    return [*argv, value("ansible_host", "ansible_ssh_host") or vault]


def way_of(name: str, port: int, vault: Mapping[str, Any], called: str, known: str) -> Dict[str, Any]:
    """How Ansible reaches the copy.

    :param vault: the variables of the backup host, *called* its name.
    :param known: the file with the key of the copy.
    """
    argv = _to_vault(vault, called)
    target = argv.pop()
    through = [*argv, "-W", "{0}:{1}".format(HERE, port), target]
    command = " ".join(shlex.quote(word) for word in through).replace("%", "%%")
    options = [
        "ProxyCommand=" + command,
        "HostKeyAlias=" + alias(name, port),
        "UserKnownHostsFile=" + known,
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "HashKnownHosts=no",
    ]
    arguments = " ".join("-o {0}".format(shlex.quote(each)) for each in options)
    return {"host": alias(name, port), "port": port, "arguments": arguments}


def see_way(execute: Execute, name: str, options: Mapping[str, Any], way: Mapping[str, Any]) -> None:
    """See that ssh goes the way to a copy. Of two settings it takes the first (ssh_config(5)), and Ansible puts its
    ``ssh_args`` before all others, so that a ``ProxyCommand`` in these would lead to the host itself.

    :param options: of the connection, as the plugin ssh has them.
    :param way: as :func:`way_of` says it.
    :raises Refused: when it does not.
    """
    ours = shlex.split(way["arguments"])
    argv = [str(options.get("ssh_executable") or "ssh"), "-G", *shlex.split(str(options.get("ssh_args") or ""))]
    argv += [*ours, *shlex.split(str(options.get("ssh_extra_args") or "")), "-p", str(way["port"]), way["host"]]
    rc, out, err = execute(argv, None)
    command = next(each for each in ours if each.startswith("ProxyCommand=")).partition("=")[2]
    said = [line.partition(" ")[2] for line in out.splitlines() if line.startswith("proxycommand ")]
    if rc != 0 or said != [command]:
        raise Refused(
            "ssh would not go to the copy of {0} through the backup host, but {1}".format(
                name, "by {0}".format(said[0]) if said else err.strip()[:200] or "by a way of its own (ProxyJump)"
            ),
            safe=_SAFE,
            todo="have what leads to the host in ansible_ssh_common_args, and not in ansible_ssh_args or ssh_args of "
            "ansible.cfg",
        )


def back_of(name: str, variables: Mapping[str, Any]) -> Dict[str, Any]:
    """How Ansible reaches the host itself."""
    return {
        "host": str(variables.get("ansible_host") or variables.get("ansible_ssh_host") or name),
        "port": int(variables.get("ansible_port") or variables.get("ansible_ssh_port") or 22),
        "arguments": str(variables.get("ansible_ssh_common_args") or ""),
    }
