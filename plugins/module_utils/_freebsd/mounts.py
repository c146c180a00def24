# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is mounted where.

Not by ``mount -p``, whose fields cannot be told apart where names have blanks. Sources: ``prmount()`` and
``putfsent()`` of ``sbin/mount/mount.c``; mount(8) of Linux, which a backup host may have, for ``type``.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner

#: ``tank/var on /var (zfs, local)``, and as Linux has it: ``tank/var on /var type zfs (rw,relatime)``
_MOUNTED = re.compile(r"(?P<what>.+?) on (?P<where>/.*) \((?P<kind>[a-z0-9]+)[,)]")
_ON_LINUX = re.compile(r"(?P<what>.+?) on (?P<where>/.*) type (?P<kind>\S+) \(")


class Mount(NamedTuple):
    """A file system, where it is mounted, and of what kind it is."""

    what: str
    where: str
    kind: str


def mounts(runner: Runner, kind: Optional[str] = None) -> List[Mount]:
    """What is mounted, in the order in which it was.

    :param kind: only file systems of this kind: ``zfs``.
    """
    only = ["-t", kind] if kind else []
    lines = runner.ask(["mount", *only], "list the mounted file systems").lines()
    found = (_ON_LINUX.match(line) or _MOUNTED.match(line) for line in lines)
    return [Mount(*match.group("what", "where", "kind")) for match in found if match]
