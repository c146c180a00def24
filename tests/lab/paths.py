# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where everything of a lab is. One lab at a time on a machine: its network namespace has a fixed name."""

from __future__ import annotations

import os
import sys

#: state of the lab on disk: machines, media, pools, logs
HOME = os.environ.get("NANOZFS_LAB", "/var/tmp/nanozfs-lab")
#: a tmpfs of its own: what hosts have as their root must not lie below /, which is a layer of it as well
MEMORY = os.environ.get("NANOZFS_LAB_MEMORY", "/run/nanozfs-lab")

NETNS = "nzlab"
BRIDGE = "br0"
NETWORK = "10.77.0"
GATEWAY = NETWORK + ".1"
WEB_PORT = 8080

HOSTS = os.path.join(HOME, "hosts")
SHELF = os.path.join(HOME, "shelf")
#: hosts as they were once, by name
KEPT = os.path.join(HOME, "kept")

#: the checkout
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
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
