# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Letting a backup host's key in for the time of a restore, where the host does not know it: in recovery mode, it has
the accounts and keys of its image. Only the running /etc is changed, of which nothing is left after a restart.

The line is the same as for backups: it lets in nothing but what the gate takes (``command=``, sshd(8)).
"""

from __future__ import annotations

import contextlib
import os
from typing import List, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import PUBLIC_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.keys import is_of_backup
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: bytes of a public key
_MOST = 16384


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _write(path: str, lines: Sequence[str]) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with arriving(path, 0o600) as (_partial, file):
            file.write("".join(each + "\n" for each in lines).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise FleetError(
            "{0} cannot be written: {1}".format(path, error.strerror), safe="who could log in can do so still"
        )


def _has(lines: Sequence[str], wanted: str) -> bool:
    """Whether a key is let in already, with whatever options."""
    blob = wanted.split()[-2]
    return any(blob in each.split() for each in lines if not each.lstrip().startswith("#"))


def let_in(places: Places, wanted: str) -> bool:
    """Add a line, unless its key is there.

    :returns: whether it was added.
    """
    path = os.path.join(places.etc, KEYS)
    lines = _lines(path)
    if _has(lines, wanted):
        return False
    _write(path, [*lines, wanted])
    return True


def let_out(places: Places, label: str) -> None:
    """Take the line of a backup host away again."""
    path = os.path.join(places.etc, KEYS)
    lines = _lines(path)
    left = [each for each in lines if is_of_backup(each) != label]
    if left != lines:
        _write(path, left)


def public_key(etc: str) -> str:
    """The public key that a host is known by to ssh; empty where it has none.

    :param etc: its /etc, or /cfg.
    """
    with contextlib.suppress(OSError, ValueError), open(os.path.join(etc, PUBLIC_KEY), encoding="ascii") as file:
        return printable(" ".join(file.read(_MOST).split()[:2]))
    return ""
