# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands on the controller."""

from __future__ import annotations

import subprocess
from typing import Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import ENVIRONMENT


def local_execute(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
    """Run a command on this machine without a module, in the form that ``Runner`` takes."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, env=ENVIRONMENT, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        return 127, "", "{0}: not found".format(argv[0])
    return done.returncode, done.stdout, done.stderr
