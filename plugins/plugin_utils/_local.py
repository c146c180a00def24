# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of this machine, without a module: on the controller, and for the agent on a host."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, TIMED_OUT


def _environment() -> Dict[str, str]:
    """That of every command, and the user's agent for keys.

    Nobody is there to type a passphrase: ssh-keygen must not wait for one at a terminal (ssh(1), SSH_ASKPASS_REQUIRE).
    """
    agent = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
    return {**ENVIRONMENT, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force", **agent}


def search_path() -> str:
    """Where programs are: where the user has them, and where Debian has what it thinks only root wants."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), ENVIRONMENT["PATH"]])


def local_execute(
    argv: Sequence[str], stdin: Optional[str] = None, deadline: Optional[float] = None
) -> Tuple[int, str, str]:
    """Run a command on this machine, in the form that ``Runner`` takes.

    :param deadline: seconds after which nobody waits for it any more. It is killed then, but a command that hangs in
        the kernel stays, so it is not waited for.
    :returns: exit status (127 when there is no such command, ``TIMED_OUT`` after the deadline), output, errors.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=None if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        return 127, "", "{0}: not found".format(argv[0])
    try:
        out, err = process.communicate(stdin, timeout=deadline)
    except subprocess.TimeoutExpired:
        process.kill()
        return TIMED_OUT, "", "{0} was not done in {1:g} seconds".format(argv[0], deadline or 0)
    return process.returncode, out, err
