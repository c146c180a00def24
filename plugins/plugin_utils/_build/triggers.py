# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Triggers: scripts that pkg(8) runs after an installation when packages have put something into certain folders.

They make caches, by programs of FreeBSD that packages have brought (``fc-cache``, ``makewhatis``), so none is run here:
which of them pkg would have run is said, as of scripts. Source: pkg-triggers(5) and ``libpkg/triggers.c`` of
freebsd/pkg 2.8.4. They are in UCL, of which only the lists of paths are read.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Collection, Iterator, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Script

#: where they are (``PKG_TRIGGERS_DIR``), and those of its folders that have some for each package that is installed
FOLDERS = tuple(
    top + phase
    for top in ("/usr/share/pkg/triggers/", "/usr/local/share/pkg/triggers/")
    for phase in ("", "pre_install/", "post_install/")
)
SUFFIX = ".ucl"

_HEREDOC = re.compile(r"<<([A-Z]+)\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_PATHS = re.compile(
    r"^[ \t{]*\"?(path|path_glob|path_regexp)\"?[ \t]*[:= \t][ \t]*(\[[^\]]*\]|\"[^\"\n]*\"|[^\s;,\[]+)", re.MULTILINE
)
_ITEM = re.compile(r"\"([^\"]*)\"|([^\s,\[\]\"]+)")
_TRIGGER = re.compile(r"^[ \t{]*\"?trigger\"?[ \t]*[:=]?[ \t]*\{", re.MULTILINE)


def is_one(path: str) -> bool:
    """Whether a file of a package is a trigger."""
    folder, slash, name = path.rpartition("/")
    return folder + slash in FOLDERS and name.endswith(SUFFIX) and not name.startswith(".")


def touched(files: Collection[str]) -> List[str]:
    """The folders that the files of packages are in, of which a trigger is told.

    :param files: by their full paths.
    """
    return sorted({path.rpartition("/")[0] or "/" for path in files})


def runs(text: str, folders: Collection[str]) -> bool:
    """Whether pkg would run a trigger; also where it cannot be told.

    :param text: of its file.
    :param folders: in which something was put.
    """
    said = list(_PATHS.finditer(_HEREDOC.sub('""', text)))
    if not said:
        return True
    return any(
        _meets(each.group(1), pattern, folder) for each in said for pattern in _items(each) for folder in folders
    )


def _items(found: re.Match[str]) -> Iterator[str]:
    for item in _ITEM.finditer(found.group(2)):
        yield item.group(1) or item.group(2) or ""


def _meets(kind: str, pattern: str, folder: str) -> bool:
    if kind == "path":
        return pattern == folder
    if kind == "path_glob":
        return fnmatch.fnmatchcase(folder, pattern)
    # a regular expression of somebody else is not run: it may never end
    return True


def shown(script: Script) -> str:
    """A trigger in a few words, for a message: its file, and the program that it would run."""
    lines = (line.strip() for line in script.text.splitlines())
    found = next((line for line in lines if "exec" in line), "")
    return "{0}: {1}".format(script.kind, plain(found)) if found else script.shown()


def script_of(path: str, text: str) -> Script:
    """What a trigger would run, as a script; all of its file where that cannot be found.

    :param path: of its file.
    """
    at = _TRIGGER.search(text)
    found = _HEREDOC.search(text, at.end()) if at else None
    return Script("trigger " + path, True, found.group(2) if found else text)
