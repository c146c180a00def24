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
_BEHIND = "not run: `{0}` was not done in {1:.0f} seconds, and this command would wait behind it"

#: How long a command may take (seconds). Those of ZFS take long where there is much to look at: many disks, a pool
#: after a crash, many snapshots, a disk that is slow because it is about to die.
_DEADLINE, _POOL_DEADLINE = 60.0, 300.0


def _of_pools(argv: Sequence[str]) -> bool:
    return os.path.basename(argv[0]) in _POOL_COMMANDS


def deadline(argv: Sequence[str]) -> float:
    """How long a command may take, in seconds."""
    return _POOL_DEADLINE if _of_pools(argv) else _DEADLINE


class Guard:
    """Runs commands, but none of ZFS once one was found to hang.

    That an import hangs is noted for whoever looks next, as nothing but a restart ends it. Any other command of ZFS
    that is not done in time may be a slow one: it is waited for once, and nobody else is told.

    :param execute: how to run one command; must give ``TIMED_OUT`` for one that does not end.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.hung = import_hung(Runner(execute))
        self._behind = _TOLD if self.hung else ""

    def __call__(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        """One command."""
        if _of_pools(argv) and self._behind:
            return TIMED_OUT, "", self._behind
        rc, out, err = self._execute(argv, stdin)
        if _of_pools(argv) and rc == TIMED_OUT:
            self._behind = _BEHIND.format(" ".join(argv), deadline(argv))
            if os.path.basename(argv[0]) == "zpool" and argv[1:2] == ["import"]:
                self.hung, self._behind = True, _TOLD
                self._execute(["kenv", "nanozfs.import=hung"], None)  # for whoever looks next
        return rc, out, err
