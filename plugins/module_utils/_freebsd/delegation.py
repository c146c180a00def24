# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Permissions that were delegated on a dataset, as arguments of ``zfs allow`` that give them once more.

A clone has none of its origin's. Users and groups are given by number: the early boot hook has no accounts yet.

Source: zfs-allow(8); the layout of what it prints is in ``print_fs_perms()`` of OpenZFS's ``zfs_main.c``.
"""

from __future__ import annotations

import grp
import pwd
import re
from typing import Dict, List, Optional, Sequence, Tuple

#: the arguments of one ``zfs allow``, without the dataset
Arguments = Tuple[str, ...]

_SCOPES = {
    "Local permissions:": "-l",
    "Descendent permissions:": "-d",
    "Local+Descendent permissions:": "-ld",
}
_SETS = "Permission sets:"
_CREATE = "Create time permissions:"

_WHO = re.compile(r"\t(user|group) (?:\(unknown: (\d+)\)|(\S+)) (\S+)")
_EVERYONE = re.compile(r"\teveryone (\S+)")
_SET = re.compile(r"\t(@\S+) (\S+)")
_CREATED = re.compile(r"\t(\S+)")


def _number(kind: str, name: str) -> Optional[int]:
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None


def _own_lines(text: str, dataset: str) -> List[str]:
    """The lines about the dataset itself; what it has from above has a head of its own."""
    head = re.compile(r"---- Permissions on {0} -*".format(re.escape(dataset)))
    lines, mine = [], False
    for line in text.split("\n"):
        if line.startswith("---- "):
            mine = bool(head.fullmatch(line))
        elif mine and line.strip():
            lines.append(line)
    return lines


def _in_section(section: str, line: str) -> Optional[Arguments]:
    if section == _SETS:
        found = _SET.fullmatch(line)
        return ("-s", found.group(1), found.group(2)) if found else None
    if section == _CREATE:
        found = _CREATED.fullmatch(line)
        return ("-c", found.group(1)) if found else None
    found = _EVERYONE.fullmatch(line)
    if found:
        return (_SCOPES[section], "-e", found.group(1))
    found = _WHO.fullmatch(line)
    if not found:
        return None
    kind, unknown, name, what = found.groups()
    number = int(unknown) if unknown else _number(kind, name)
    return None if number is None else (_SCOPES[section], "-" + kind[0], str(number), what)


def parse(text: str, dataset: str) -> Tuple[List[Arguments], List[str]]:
    """What was delegated on a dataset itself.

    :param text: what ``zfs allow`` says of it.
    :returns: the arguments that delegate it anew, and the lines that nobody here understands.
    """
    section, found, strange = "", [], []
    for line in _own_lines(text, dataset):
        if line in _SCOPES or line in (_SETS, _CREATE):
            section = line
            continue
        arguments = _in_section(section, line) if section else None
        if arguments is None:
            strange.append(line.strip())
        else:
            found.append(arguments)
    return found, strange


def covers(given: Sequence[Arguments], wanted: Arguments) -> bool:
    """Whether permissions are there already: all those that are *wanted*, for the same ones in the same place."""
    have: Dict[Arguments, List[str]] = {}
    for each in given:
        have.setdefault(each[:-1], []).extend(each[-1].split(","))
    return set(wanted[-1].split(",")) <= set(have.get(wanted[:-1], ()))
