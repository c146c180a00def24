# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where everything of a lab is, and what it is called.

A lab has a name, which is in all that a machine has only once: folders, network namespaces, and with the folders loop
devices, mounts and sockets. Each checkout has a lab of its own without being told so; see :func:`places`.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from typing import Mapping, NamedTuple

#: no dot: that is what stands between the name of a lab and that of a host
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")

#: The path of a socket has 107 bytes (unix(7)). The lab's longest are those that ssh makes below HOME: /demo/cp/, ten
#: digits of Ansible's, and a dot and 16 characters of ssh's own until the connection is there.
_LONGEST = 107 - len("/demo/cp/") - 10 - 17


class Places(NamedTuple):
    """What is a lab's own on its machine.

    ``folder`` and ``mount`` are where ``home`` and ``memory`` are made: other labs may have theirs there as well.
    """

    name: str
    folder: str
    mount: str

    @property
    def home(self) -> str:
        return os.path.join(self.folder, "nanozfs-lab-" + self.name)

    @property
    def memory(self) -> str:
        return os.path.join(self.mount, "nanozfs-lab-" + self.name)

    @property
    def netns(self) -> str:
        return "nzlab." + self.name

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process is told that shall find this lab, whatever checkout its code is from."""
        return {"NANOZFS_LAB": self.name, "NANOZFS_LAB_FOLDER": self.folder, "NANOZFS_LAB_MEMORY": self.mount}


def places(environment: Mapping[str, str], checkout: str) -> Places:
    """The lab that a process belongs to: the one that its environment names, or else that of its checkout.

    :param checkout: the path of the checkout; its last part makes the name one to be read, a digest of all of it makes
        it one that no other checkout has.
    :raises ValueError: when the environment says what cannot be.
    """
    name = environment.get("NANOZFS_LAB", "")
    if not name:
        readable = re.sub(r"[^a-z0-9]+", "-", os.path.basename(checkout).lower()).strip("-")[:12].strip("-")
        name = "{0}-{1}".format(readable or "lab", hashlib.sha256(os.fsencode(checkout)).hexdigest()[:8])
    elif not _NAME.fullmatch(name):
        raise ValueError(
            "NANOZFS_LAB={0}: the name of a lab has up to 32 letters, digits, _ and -; NANOZFS_LAB_FOLDER is where its "
            "folder is made".format(name)
        )
    folders = {}
    for variable, usual in (("NANOZFS_LAB_FOLDER", "/var/tmp"), ("NANOZFS_LAB_MEMORY", "/run")):
        folders[variable] = environment.get(variable) or usual
        if not os.path.isabs(folders[variable]) or re.search(r"[\\:,%\s]", folders[variable]):
            raise ValueError(
                "{0}={1}: an absolute path is wanted, without any of \\ : , % and spaces, which mean something to "
                "overlayfs or to ssh".format(variable, folders[variable])
            )
    found = Places(name, *(os.path.normpath(each) for each in folders.values()))
    if len(found.home) > _LONGEST:
        raise ValueError(
            "{0}: the path of a lab has up to {1} characters, or those of the sockets in it would be too long".format(
                found.home, _LONGEST
            )
        )
    return found


#: the checkout
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

try:
    LAB = places(os.environ, CHECKOUT)
except ValueError as problem:
    sys.exit("lab: {0}".format(problem))

#: state of the lab on disk: machines, media, pools, logs
HOME = LAB.home
#: a tmpfs of its own: what hosts have as their root must not lie below /, which is a layer of it as well
MEMORY = LAB.memory

#: the network of the lab; those of its hosts are called after it, see :func:`netns`
NETNS = LAB.netns
BRIDGE = "br0"
NETWORK = "10.77.0"
GATEWAY = NETWORK + ".1"
WEB_PORT = 8080

HOSTS = os.path.join(HOME, "hosts")
#: backup hosts, which are no hosts of the fleet
VAULTS = os.path.join(HOME, "vaults")
SHELF = os.path.join(HOME, "shelf")
#: hosts as they were once, by name
KEPT = os.path.join(HOME, "kept")

WORLD = os.path.join(CHECKOUT, "tests", "lab", "world")
#: an sshd that tools/setup unpacked because the machine has none installed
SSHD = os.path.join(os.environ.get("NANOZFS_CACHE", os.path.join(CHECKOUT, ".cache")), "sshd")

#: inside a host
INSIDE = "/lab"
MARKER = "/lab/host/machine.json"
#: where process 1 of a host takes the commands of the model
SOCKET = "/run/model.sock"


def packages() -> str:
    """The folder with third-party Python packages of the interpreter that runs the lab."""
    return next(path for path in sys.path if path.endswith("site-packages"))
