# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The sets of a host: folders with a ``tree``, and beside it ``nanozfs-set.json`` with how it was pulled.

The record is in the set and not in a list of its own, so that it goes wherever the set goes: rsnapshot renames its
folders, a disk is carried to another machine, a person takes one away.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import KINDS, METHODS, RSNAPSHOT, Fleet
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import OK, Pull, pull_of, read_json

RECORD = "nanozfs-set.json"
#: beside it, once it was verified: how that went
VERIFIED = "nanozfs-verified.json"
TREE = "tree"
#: at the top of that: what a host says of itself
DESCRIPTION = "nanozfs-host.json"

#: before the name of a host: the lock of who reads its sets
READING = "send-"

#: what says that a folder is the root of sets: without it, the file system that should be there is not mounted
MARKER = ".nanozfs-backup"

_ROTATED = re.compile(r"({0})\.(\d{{1,4}})".format("|".join(KINDS)))
_STAMP = re.compile(r"\d{8}T\d{6}Z")


class Set(NamedTuple):
    """One of them.

    :param folder: that it is in.
    :param pull: how it was pulled.
    """

    folder: str
    pull: Pull

    @property
    def path(self) -> str:
        """Its files, as the host has exposed them; of one in a pool only while it is opened (:mod:`zfssend`)."""
        return os.path.join(self.folder, TREE)

    @property
    def name(self) -> str:
        """What its folder is called, by rsnapshot or dirvish."""
        return os.path.basename(self.folder)

    @property
    def verified(self) -> Optional[Dict[str, Any]]:
        """How the last look into it went (``_vault/verify.py``); ``None`` where there was none.

        What was copied into it from another set, as ``cp -al`` does, is no look into this one.
        """
        try:
            said = read_json(os.path.join(self.folder, VERIFIED))
        except ValueError:
            return None
        return dict(said) if isinstance(said, dict) and said.get("set") == self.pull.id else None

    def as_dict(self) -> Dict[str, Any]:
        """For programs."""
        pull = self.pull
        return {
            "host": pull.host,
            "id": pull.id,
            "taken": pull.begun,
            "method": pull.method,
            "kind": pull.kind or self.name.partition(".")[0],
            "bytes": pull.bytes,
            "files": pull.files,
            "result": pull.result,
            "path": self.path,
            "trial": pull.trial,
            "version": pull.version,
            "tag": pull.tag,
            "why": pull.why,
            "verified": self.verified,
        }


def folder_of(fleet: Fleet, method: str, host: str) -> str:
    """Where the sets of a host are."""
    return os.path.join(fleet.root, method, host)


def record_in(folder: str) -> Optional[Pull]:
    """How a set was pulled; ``None`` where that is not known."""
    try:
        said = read_json(os.path.join(folder, RECORD))
        return None if said is None else pull_of(said)
    except ValueError:
        return None


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def sets_in(folder: str, method: str) -> List[Set]:
    """The sets of a host by one method, the newest first; also those that failed, where the method leaves them.

    What no record lies in is none: a person, or another program, has put it there.
    """
    found = []
    for name in _names(folder):
        if not (_ROTATED if method == RSNAPSHOT else _STAMP).fullmatch(name):
            continue
        path = os.path.join(folder, name)
        pull = record_in(path)
        if pull is not None and os.path.isdir(os.path.join(path, TREE)):
            found.append(Set(path, pull))
    return sorted(found, key=lambda each: (each.pull.id, each.pull.begun), reverse=True)


def sets_of(fleet: Fleet, host: str) -> List[Set]:
    """All sets of a host, the newest first; also those of when it was called otherwise."""
    found = [each for method in METHODS for each in sets_in(folder_of(fleet, method, host), method)]
    found = [each._replace(pull=replace(each.pull, host=host)) for each in found]
    return sorted(found, key=lambda each: (each.pull.id, each.pull.begun), reverse=True)


def newest_good(fleet: Fleet, host: str, method: str = "") -> Optional[Set]:
    """The newest good set of a host; ``None`` where there is none.

    :param method: only of this one.
    """
    return next(
        (each for each in sets_of(fleet, host) if each.pull.result == OK and method in ("", each.pull.method)), None
    )


def _is_leftover(image: str) -> bool:
    """Whether an image of dirvish is what a try has left.

    One without a record was cut by the power, or is being made by hand: dirvish's own lock tells. One whose record
    cannot be read may be as good as any, and is for a person to judge.
    """
    try:
        said = read_json(os.path.join(image, RECORD))
        return said is None or pull_of(said).result != OK
    except ValueError:
        return False


def leftovers(folder: str, method: str) -> List[str]:
    """What tries that failed have left, the newest first; full paths. Their files need not be fetched again."""
    if method == RSNAPSHOT:
        names = [name for name in _names(folder) if name.startswith(".partial-")]
    else:
        names = []
        for name in _names(folder):
            if _STAMP.fullmatch(name) and _is_leftover(os.path.join(folder, name)):
                names.append(name)
    return [os.path.join(folder, name) for name in sorted(names, reverse=True)]
