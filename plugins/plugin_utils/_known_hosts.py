# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key that a host will come back with, added to those that ssh knows, before it is restarted.

The key was read over a connection to a host whose key ssh has accepted, so it is as good as that one; ssh itself can
add further keys of a host in such a way (``UpdateHostKeys`` in ssh_config(5)). No key is replaced or taken away, and
nothing is added where nobody checks keys, be it by ssh's settings or by Ansible's, or keeps any. Which file and which
name it is, is asked of ``ssh -G``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import shlex
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Execute

#: a public key, as the host says it: kind and key, and no more of the line
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: |\Z)")

#: ``StrictHostKeyChecking`` of somebody who checks none
_UNCHECKED = ("false", "no", "off")


class Place(NamedTuple):
    """Where ssh looks for the key of a host.

    :param path: of the file that it adds keys to.
    :param name: of the host in it.
    :param hashed: whether names are not to be read in it.
    """

    path: str
    name: str
    hashed: bool


def ssh_argv(connection: Any) -> Optional[List[str]]:
    """How Ansible calls ssh for a connection, without a command; ``None`` where it does not, or checks no keys."""
    if getattr(connection, "transport", "") != "ssh" or not connection.get_option("host_key_checking"):
        return None  # Ansible switches the check off by an option of its own

    def option(name: str) -> str:
        value = connection.get_option(name)
        return "" if value is None else str(value)

    argv = [option("ssh_executable") or "ssh"]
    for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
        argv += shlex.split(option(name))
    for flag, name in (("-p", "port"), ("-l", "remote_user")):
        argv += [flag, option(name)] if option(name) else []
    return [*argv, option("host")]


def place_of(execute: Execute, argv: List[str]) -> Optional[Place]:
    """Where the key of a host belongs; ``None`` where nobody keeps or checks any.

    :param argv: how ssh is called for it.
    :raises FleetError: when ssh does not say.
    """
    rc, out, err = execute([argv[0], "-G", *argv[1:]], None)
    if rc != 0:
        raise FleetError("ssh does not say where it looks for keys of hosts: {0}".format((err or out).strip()[:200]))
    said: Dict[str, str] = {}
    for line in out.splitlines():
        key, _blank, value = line.partition(" ")
        said.setdefault(key, value.strip())
    files = said.get("userknownhostsfile", "").split()
    if not files or files[0] in ("/dev/null", "none") or said.get("stricthostkeychecking") in _UNCHECKED:
        return None
    if not all(each.startswith(("/", "~")) for each in files):  # ssh prints them without quotation marks
        raise FleetError("which file ssh keeps keys of hosts in cannot be told: {0}".format(" ".join(files)))
    name, port = said.get("hostkeyalias", ""), said.get("port", "22")
    if not name or name == "none":
        host = said.get("hostname", argv[-1]).lower()
        name = host if port == "22" else "[{0}]:{1}".format(host, port)
    return Place(os.path.expanduser(files[0]), name, said.get("hashknownhosts") in ("yes", "true"))


def _entry(place: Place, key: str) -> str:
    """A line of known_hosts. Source: ``host_hash`` in OpenSSH's hostfile.c; sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
    name = place.name
    if place.hashed:
        salt = os.urandom(20)
        digest = hmac.new(salt, name.encode("utf-8"), hashlib.sha1).digest()
        name = "|1|{0}|{1}".format(*(base64.b64encode(each).decode("ascii") for each in (salt, digest)))
    return "{0} {1}\n".format(name, key)


def introduce(execute: Execute, connection: Any, public: str, result: Dict[str, Any]) -> None:
    """Have ssh know the key that a host comes back with. What goes wrong is told, and stops nothing.

    :param public: the line of its public key.
    :param result: of the task; is told.
    """
    argv = ssh_argv(connection)
    if argv is None:
        return
    try:
        place = place_of(execute, argv)
        if place is not None and add(execute, place, public):
            result["known_hosts"] = place.path
    except FleetError as error:
        said = "the key that the host comes back with was not added to those that ssh knows: {0}".format(error.what)
        result["warnings"] = [*result.get("warnings", []), said]


def add(execute: Execute, place: Place, public: str) -> bool:
    """Add the key of a host, unless it is known.

    :param public: the line of its public key.
    :returns: whether it was added.
    :raises FleetError: when it is no key, or the file cannot be written.
    """
    match = _KEY.match(public)
    if match is None:
        raise FleetError("the host did not say its key in a form that ssh knows")
    key = " ".join(match.groups())
    rc, out, _err = execute(["ssh-keygen", "-F", place.name, "-f", place.path], None)
    if rc == 0 and any(line.split(" ")[1:3] == key.split(" ") for line in out.splitlines() if line[:1] not in "#@"):
        return False
    line = _entry(place, key).encode("ascii", "replace")
    try:
        os.makedirs(os.path.dirname(place.path) or ".", mode=0o700, exist_ok=True)
        with open(os.open(place.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+", 0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)  # in one piece, behind whatever another play has written
    except OSError as error:
        raise FleetError("{0} cannot be written: {1}".format(place.path, error.strerror))
    return True
