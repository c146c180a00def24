# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program ``nanozfs``: the agent of module_utils with the commands and the terminal of this machine.

On an image it is started by ``/usr/local/sbin/nanozfs``. On a controller, where only ``decode`` makes sense, with
``python3 -m ansible_collections.nanozfs.fleet.plugins.plugin_utils._agent_program``, in the folder that holds
ansible_collections.
"""

from __future__ import annotations

import io
import sys
from typing import Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import cli
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.guard import deadline
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute


def execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
    """A command, for as long as it may take."""
    return local_execute(argv, stdin, deadline(argv))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file in /etc may have any name, a console not any letter
    return cli.main(argv, execute, Screen(sys.stdin, sys.stdout, sys.stderr))


if __name__ == "__main__":
    sys.exit(main())
