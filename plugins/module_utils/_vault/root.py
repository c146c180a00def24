# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The folder of all sets: that it is the right one, that there is room, and that a host is found under its name."""

from __future__ import annotations

import contextlib
import os
from typing import List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import sets
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import DIRVISH, METHODS, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import Known

_MIB = 1 << 20


def shown_size(size: float) -> str:
    """A size for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return "{0:.0f} {1}".format(size, unit) if unit == "bytes" else "{0:.1f} {1}".format(size, unit)


def mounted(fleet: Fleet) -> None:
    """See that the root is the one that was set up, and not an empty mount point or that of another backup host.

    :raises Refused: when it is not.
    """
    said = _read(os.path.join(fleet.root, sets.MARKER))
    whose = printable((said or b"").decode("utf-8", "replace").strip())[:40]
    if whose not in ("", fleet.label):
        raise Refused(
            "{0} has the sets of the backup host {1}, and this one is {2}".format(fleet.root, whose, fleet.label),
            safe="nothing was pulled or written",
            todo="give each a folder of its own, as they know nothing of each other; where it is this one under a new "
            "name, write that into {0}".format(os.path.join(fleet.root, sets.MARKER)),
        )
    if said is None:
        raise Refused(
            "{0} is not the folder of sets that was set up: {1} is not in it".format(fleet.root, sets.MARKER),
            safe="nothing was pulled or written",
            todo="mount its file system; where it is a new one, run backup.yml",
        )


def room(fleet: Fleet, known: Known) -> None:
    """See that there is room for a set like the last one.

    :raises Refused: when there is not, or less than the reserve would be left.
    """
    room_for(fleet, known.good.sent if known.good else 0, "nothing was pulled; all sets are as they were")


def room_for(fleet: Fleet, need: int, safe: str) -> None:
    """See that there is room for so many bytes.

    :param safe: what was not done, for the message.
    :raises Refused: when there is not, or less than the reserve would be left.
    """
    found = os.statvfs(fleet.root)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    least = total * fleet.reserve // 100
    if free - need < least:
        raise Refused(
            "the backup host is full: {0} has {1} free, and {2} for files and {3} for the reserve ({4} %) are "
            "needed".format(fleet.root, shown_size(free), shown_size(need), shown_size(least), fleet.reserve),
            safe=safe,
            todo="make room: a larger file system, fewer sets (backup_retain), or less in them (backup_excludes)",
        )


def move_previous(fleet: Fleet, host: Host, places: Places) -> List[str]:
    """Give what a host has here under a name of before its name of now; what is to be said of that.

    :raises Refused: when there is something under both.
    :raises FleetError: when it cannot be renamed.
    """
    said = []
    for old in host.previous:
        pairs = [(sets.folder_of(fleet, method, old), sets.folder_of(fleet, method, host.name)) for method in METHODS]
        pairs.append((places.host_state(old), places.host_state(host.name)))
        for before, now in pairs[:-1]:
            if os.path.isdir(before) and os.path.isdir(now):
                raise Refused(
                    "there are sets of {0} and of {1}, which is to be its name of before".format(host.name, old),
                    safe="nothing was pulled or moved",
                    todo="move or remove one of {0} and {1}, or correct backup_previous_names".format(before, now),
                )
        for before, now in pairs:
            if not os.path.lexists(before) or os.path.lexists(now):
                continue
            try:
                os.rename(before, now)
            except OSError as error:
                raise FleetError("{0} cannot be renamed: {1}".format(before, error.strerror), safe="nothing was pulled")
            if before != pairs[-1][0]:
                said.append("the sets of {0} are its own now".format(old))
        _rename_vault(sets.folder_of(fleet, DIRVISH, host.name), old, host.name)
    return said


def _rename_vault(folder: str, old: str, new: str) -> None:
    """Tell images which vault they are in: dirvish-expire keeps the newest good one of each that it finds named."""
    before, after = ("vault: {0}\n".format(each).encode("ascii") for each in (old, new))
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name, "summary")
            text = _read(path)
            if text is None or before not in text:
                continue
            with arriving(path) as (_partial, file):
                file.write(text.replace(before, after, 1))


def _read(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read(_MIB)
    except OSError:
        return None
