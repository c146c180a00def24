# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users and groups of an image: their numbers, and what master.passwd(5) says of their passwords."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Dict, Iterable, Iterator, List, Optional

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree, TreeError

MASTER, GROUP = "etc/master.passwd", "etc/group"

#: with these two a system works that has no files yet (share/mk/bsd.own.mk: BINOWN, BINGRP)
ROOT, WHEEL = {"root": 0}, {"wheel": 0}

#: forms of crypt(3) in lib/libcrypt: with ``$`` (and those of others that a port brings), extended DES, traditional
#: DES; and {SHA} of htpasswd. The last letter of DES has 4 bits: most words of 13 letters are none
_MODULAR = re.compile(r"\$(?:1|2[abxy]?|3|5|6|7|g?y|sha1|apr1|argon2(?:i|d|id))\$[^\s:]+\Z")
_HASHED = re.compile(
    _MODULAR.pattern + r"|_[./0-9A-Za-z]{18}[.26AEIMQUYcgkosw]\Z|[./0-9A-Za-z]{12}[.26AEIMQUYcgkosw]\Z|\{SHA\}\S+\Z"
)


def is_modular(hashed: str) -> bool:
    """Whether something is the hash of a password that cannot be anything else."""
    return bool(_MODULAR.match(hashed))


def is_clear(password: str) -> bool:
    """Whether a password field holds a password that anybody can read.

    Empty is none; what begins with ``*``, or is ``x`` or ``!``, is one that nothing matches.
    """
    return bool(password) and password[0] != "*" and password not in ("x", "!") and not _HASHED.match(password)


def lines_of(tree: Tree, path: str) -> List[str]:
    """The lines of a text file of a tree; none where it is not there."""
    node = tree.nodes.get(path)
    if node is None or node.kind != FILE:
        return []
    return node.content().decode("utf-8", "surrogateescape").splitlines()


def entries(lines: Iterable[str]) -> Iterator[List[str]]:
    """The fields of each entry of a file like passwd(5) or group(5)."""
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.split(":")


def _numbers(lines: Iterable[str]) -> Dict[str, int]:
    return {words[0]: int(words[2]) for words in entries(lines) if len(words) > 2 and words[2].isdecimal()}


@dataclass
class Accounts:
    """Numbers of users and groups by their names."""

    users: Dict[str, int] = field(default_factory=lambda: dict(ROOT))
    groups: Dict[str, int] = field(default_factory=lambda: dict(WHEEL))

    def add(self, tree: Tree) -> None:
        """Those of a tree; the later ones count."""
        self.users.update(_numbers(lines_of(tree, MASTER)))
        self.groups.update(_numbers(lines_of(tree, GROUP)))

    def uid(self, name: str, what: str) -> int:
        """The number of a user.

        :param what: what belongs to it, for the error.
        :raises TreeError: when there is none of the name.
        """
        return _number(self.users, name, what, "user", MASTER)

    def gid(self, name: str, what: str) -> int:
        """The number of a group.

        :raises TreeError: when there is none of the name.
        """
        return _number(self.groups, name, what, "group", GROUP)


def _number(known: Dict[str, int], name: str, what: str, kind: str, file: str) -> int:
    if name not in known:
        raise TreeError(
            "{0} belongs to the {1} {2}, which the image does not have".format(what, kind, name),
            safe="nothing was built",
            todo="add it to {0}, by an overlay for example (ports know their numbers in UIDs and GIDs)".format(file),
        )
    return known[name]


def with_password(text: str, user: str, hashed: str) -> Optional[str]:
    """A master.passwd in which a user has another password; ``None`` where there is no such user."""
    lines, found = text.splitlines(), False
    for number, line in enumerate(lines):
        words = line.split(":")
        if words[0] == user and len(words) == 10:
            lines[number], found = ":".join([user, hashed] + words[2:]), True
    return "\n".join(lines) + "\n" if found else None


def add_member(tree: Tree, group: str, user: str) -> None:
    """Make a user a member of a group of a tree, as ``pw groupmod -m`` does."""
    lines, before = [], lines_of(tree, GROUP)
    for line in before:
        words = line.split(":")
        if words[0] == group and len(words) == 4:
            members = [each for each in words[3].split(",") if each]
            words[3] = ",".join(members if user in members else [*members, user])
        lines.append(":".join(words))
    if lines != before:
        data = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
        tree.put(GROUP, replace(tree.get(GROUP), data=data, source=None, group=None))
