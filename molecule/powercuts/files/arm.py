# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arm the other slice as a play does, with what is on the host, and do not restart: arm.py LEASE."""

from __future__ import annotations

import sys

sys.path.insert(0, "/usr/local/lib/nanozfs")  # where the agent's code is on an image

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease, machine
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Operation, Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import look
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute

with lease.locked():
    Operation(look(Runner(local_execute)), Play(sys.argv[1])).run(machine.ARM)
