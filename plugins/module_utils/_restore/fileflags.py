# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""File flags (chflags(2)), which rsync does not carry: they are in the description of the host, and set again here.

They are set when everything has arrived: nobody may write to a file that is immutable, ``schg`` say, root neither.
"""

from __future__ import annotations

import os
from typing import Any, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of, printable

#: how many files are named
_NAMED = 3


def known() -> bool:
    """Whether this system has flags; another than FreeBSD may have none."""
    return hasattr(os, "lchflags")


def _set(path: str, value: int) -> None:
    lchflags: Any = getattr(os, "lchflags")  # noqa: B009 - not there on every system, see known()
    lchflags(path, value)


def _leads_elsewhere(top: str, path: str) -> bool:
    """Whether a folder above a path is a link: it came with the files, and may lead out of what was restored."""
    folder = os.path.dirname(path)
    return os.path.realpath(os.path.join(top, folder)) != os.path.normpath(os.path.join(os.path.realpath(top), folder))


def again(top: str, flags: Mapping[str, int], alone: bool = False) -> List[str]:
    """Set the flags of files that came back.

    What is in a folder comes before the folder: nothing in an immutable one can be changed any more.

    :param top: what the paths are below; the path of itself is empty.
    :param alone: nothing but what is restored is there: a link leads to nothing that it could harm.
    :returns: what was not possible.
    """
    if not flags:
        return []
    if not known():
        return ["file flags of {0} are not set: this system knows none".format(counted(len(flags), "file"))]
    failed = []
    for path in sorted(flags, key=lambda each: (-each.count("/") if each else 1, each)):
        full = os.path.join(top, path) if path else top
        if not alone and _leads_elsewhere(top, path):
            failed.append("{0} (a link leads elsewhere)".format(printable(full)))
            continue
        try:
            if getattr(os.lstat(full), "st_flags", 0) != flags[path]:
                _set(full, flags[path])
        except OSError as error:
            failed.append("{0} ({1})".format(printable(full), error.strerror))
    return ["file flags could not be set: {0}".format(first_of(failed, _NAMED))] if failed else []
