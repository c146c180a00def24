# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Keeps the agent from waiting for ever behind a pool whose import hangs."""

from __future__ import annotations

import os
from typing import Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT, Execute, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._host import import_hung

_POOL_COMMANDS = ("zpool", "zfs", "zdb")
_TOLD = "not run: an import of the pool hangs in the kernel, and this command would hang behind it until a restart"

#: how long a command may take (seconds); looking for pools on many disks, or importing one after a crash, takes long
_DEADLINE, _POOL_DEADLINE = 60.0, 300.0


def deadline(argv: Sequence[str]) -> float:
    """How long a command may take, in seconds."""
    return _POOL_DEADLINE if os.path.basename(argv[0]) == "zpool" else _DEADLINE


class Guard:
    """Runs commands, but none of ZFS once an import was found to hang.

    :param execute: how to run one command; must give ``TIMED_OUT`` for one that does not end.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.hung = import_hung(Runner(execute))

    def __call__(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        """One command."""
        of_the_pool = os.path.basename(argv[0]) in _POOL_COMMANDS
        if of_the_pool and self.hung:
            return TIMED_OUT, "", _TOLD
        rc, out, err = self._execute(argv, stdin)
        if of_the_pool and rc == TIMED_OUT:
            self.hung = True
            self._execute(["kenv", "nanozfs.import=hung"], None)  # for whoever looks next
        return rc, out, err
