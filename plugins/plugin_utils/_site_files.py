# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a controller gives a host, from its folders."""

from __future__ import annotations

import os
import stat
from typing import Iterator, List, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import (
    LIMIT,
    Entry,
    check_path,
    is_private,
)

_SAFE = "nothing was changed"


def _walk(folder: str) -> Iterator[Tuple[str, str]]:
    """The files below a folder, sorted: relative and full path. Links are followed, once each."""
    seen: Set[str] = set()

    def below(place: str, relative: str) -> Iterator[Tuple[str, str]]:
        real = os.path.realpath(place)
        if real in seen:
            raise Refused("{0} leads back to a folder that it is in".format(place), safe=_SAFE)
        seen.add(real)
        for name in sorted(os.listdir(place)):
            full, path = os.path.join(place, name), relative + name
            if os.path.isdir(full):
                yield from below(full, path + "/")
            else:
                yield path, full
        seen.discard(real)

    return below(folder, "")


def folder_entries(folder: str, name: str, variable: str = "deploy_folders") -> List[Entry]:
    """The files of a folder with their modes. What looks like a secret is for root alone: git keeps no such mode.

    :param folder: where it is.
    :param name: what the site calls it.
    :param variable: where it does.
    :raises FleetError: when something in it is no file, cannot be read, or all of it is too much.
    """
    source = "{0}, {1}".format(variable, name)
    found: List[Entry] = []
    size = 0
    try:
        for path, full in _walk(folder):
            check_path(path, source)
            info = os.stat(full)
            if not stat.S_ISREG(info.st_mode):
                raise Refused("{0}: {1} is no file".format(source, path), safe=_SAFE, todo="take it out")
            size += info.st_size
            if size > LIMIT:
                raise Refused(
                    "{0}: it has more than the {1:.1f} MB that are the most, as /etc is a memory disk".format(
                        source, LIMIT / 1e6
                    ),
                    safe=_SAFE,
                    todo="put what is large into the image, or into a dataset of its own",
                )
            with open(full, "rb") as file:
                content = file.read()
            mode = stat.S_IMODE(info.st_mode)
            found.append(Entry(path, content, mode & ~0o077 if is_private(path, content) else mode, source=source))
    except OSError as error:
        raise FleetError("{0}: {1} cannot be read: {2}".format(source, error.filename, error.strerror), safe=_SAFE)
    return found
