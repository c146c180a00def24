# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Users, groups and login classes."""

from __future__ import annotations

from typing import Dict, Hashable, Iterator, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.forms import Fields, Key, Span, Table, logical
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import HIDDEN, Grammar, Inner, Token, lines_of


class Accounts(Table):
    """Lines of fields with colons between them: passwd(5), group(5).

    A number that the base gives to a new user is never one that somebody has, and that the base changed a number is
    always a question: files, also those in snapshots and backups, are owned by numbers. The text of passwords is never
    shown, and one that was changed here stays, whatever the base does with its own: it is what lets the owner in. Lines
    of NIS (``+`` and ``-``) have no fields, and stay where they are.

    :param noun: what an entry is called, for people.
    :param names: the fields.
    :param number: the one that only one entry may have.
    """

    additive = True
    pins = True
    public = True  # shown() hides the passwords
    pinned = ("uid", "gid")
    secret = ("password",)
    soft = ("password",)
    fields = Fields({"members": ","})

    def __init__(self, noun: str, names: Sequence[str], number: str) -> None:
        self._noun = noun
        self._names = names
        self._number = number

    def key(self, line: str) -> Optional[Key]:
        """The name, which is the first field."""
        return (line.split(":", 1)[0].strip(),)

    def value(self, token: Token) -> Hashable:
        """All fields; blanks mean something in them."""
        return token.text.rstrip("\r\n")

    def spans(self, text: str) -> Optional[List[Span]]:
        """The fields between colons."""
        line = text.rstrip("\r\n")
        values = line.split(":")
        if len(values) != len(self._names) or line[:1] in ("+", "-"):
            return None
        spans, start = [], 0
        for name, value in zip(self._names, values):
            spans.append(Span(name, start, start + len(value)))
            start += len(value) + 1
        return spans

    def _values(self, token: Token) -> Optional[Dict[str, str]]:
        spans = self.spans(token.text)
        return None if spans is None else {each.name: token.text[each.start : each.end] for each in spans}

    def claim(self, token: Token) -> Optional[Hashable]:
        """The number."""
        values = self._values(token)
        return (values[self._number].strip().lstrip("0") or "0") if values else None

    def name(self, token: Token) -> str:
        """The user or group."""
        return "{0} {1}".format(self._noun, super().name(token))

    def shown(self, token: Token) -> str:
        """Everything but the password."""
        values = self._values(token)
        if values is None:
            return "{0}:{1}".format(super().name(token), HIDDEN)
        return ":".join(HIDDEN if name in self.secret and text else text for name, text in values.items())


#: passwd(5): the fields of master.passwd
USERS = Accounts(
    "user", ("name", "password", "uid", "gid", "class", "change", "expire", "gecos", "home", "shell"), "uid"
)

#: group(5)
GROUPS = Accounts("group", ("name", "password", "gid", "members"), "gid")


class _Capabilities(Grammar):
    """The capabilities of one class; the first of a name counts (cgetcap in lib/libc/gen/getcap.c)."""

    def name(self, token: Token) -> str:
        return " ".join(token.key or ()) or "names"


class Classes(Table):
    r"""login.conf(5), which is written as cgetent(3) says.

    A record is one line, mostly of many that a backslash joins: its names, and capabilities with colons around them.
    A colon cannot be escaped in it (``\c`` is one). Capabilities are merged one by one; the record is then written
    with one on each line.
    """

    additive = True
    public = True
    fields = _Capabilities()

    def lines(self, text: str) -> Iterator[str]:
        """Records and remarks."""
        return logical(lines_of(text))

    def key(self, line: str) -> Optional[Key]:
        """The first name of the class."""
        return (line.split(":", 1)[0].split("|", maxsplit=1)[0].strip(),)

    @staticmethod
    def _parts(text: str) -> List[str]:
        """The names and the capabilities of a record."""
        names, *rest = text.replace("\\\n", "").rstrip("\n").split(":")
        return [names] + [each.lstrip() for each in rest if each.strip()]

    def value(self, token: Token) -> Hashable:
        """Names and capabilities, however they are laid out."""
        return tuple(self._parts(token.text))

    def inner(self, token: Token) -> Optional[Inner]:
        """The names, and each capability by its own."""
        names, *rest = self._parts(token.text)
        caps = [Token(each, (each.split("=")[0].split("#")[0].rstrip("@"),)) for each in rest]
        return Inner(self.fields, [Token(names, ("",))] + caps)

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        """The record with one capability on each line."""
        return ":\\\n\t:".join(part.text for part in parts) + ":\n"

    def name(self, token: Token) -> str:
        """The class."""
        return "class {0}".format(super().name(token))


CLASSES = Classes()
