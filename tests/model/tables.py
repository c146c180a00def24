# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How zfs(8) and zpool(8) read their options and lay out what ``list`` and ``get`` print."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model.machine import Fail

#: sources of a property, as -s takes them
SOURCES = ("local", "default", "inherited", "received", "temporary", "none")

GET_COLUMNS = ("name", "property", "value", "received", "source")


class Options:
    """Options in the order in which they were given, and the words behind them."""

    def __init__(self, pairs: List[Tuple[str, str]], words: List[str]) -> None:
        self.pairs = pairs
        self.words = words

    def __contains__(self, letter: str) -> bool:
        return any(each == letter for each, _value in self.pairs)

    def values(self, letter: str) -> List[str]:
        """All values of an option that may be given several times."""
        return [value for each, value in self.pairs if each == letter]

    def value(self, letter: str, default: str) -> str:
        """The last value of an option."""
        return (self.values(letter) or [default])[-1]


def parse(argv: Sequence[str], spec: str, usage: Callable[[str], Fail]) -> Options:
    """Options of one letter in front of the words, as getopt(3) takes them.

    :param spec: the letters, with a colon behind those that have a value.
    :param usage: makes the failure for wrong usage of a message.
    """
    takes = {letter: spec[at + 1 : at + 2] == ":" for at, letter in enumerate(spec) if letter != ":"}
    pairs: List[Tuple[str, str]] = []
    rest = list(argv)
    while rest and len(rest[0]) > 1 and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in takes:
                raise usage("invalid option '{0}'\n".format(letter))
            if not takes[letter]:
                pairs.append((letter, ""))
                continue
            if not letters and not rest:
                raise usage("missing argument for '{0}' option\n".format(letter))
            pairs.append((letter, letters or rest.pop(0)))
            letters = ""
    return Options(pairs, rest)


def choices(text: str, known: Sequence[str], complaint: str, usage: Callable[[str], Fail]) -> List[str]:
    """A list with commas of which each word must be known."""
    words = text.split(",")
    for word in words:
        if word not in known:
            raise usage(complaint.format(word))
    return words


class Column(NamedTuple):
    """A column of a list: its title, whether it is aligned to the right, its least width, whether that is fixed."""

    title: str
    right: bool
    width: int
    fixed: bool


def listing(columns: Sequence[Column], rows: Sequence[Sequence[str]], scripted: bool, literal: bool) -> str:
    """What ``list`` prints.

    :param scripted: -H was given.
    :param literal: -p was given, which lets all columns be as wide as they need.
    """
    if scripted:
        return "".join("\t".join(row) + "\n" for row in rows)
    widths = [
        column.width if column.fixed and not literal else max([column.width] + [len(row[at]) for row in rows])
        for at, column in enumerate(columns)
    ]
    lines = []
    for cells in [[column.title for column in columns]] + [list(row) for row in rows]:
        line = ""
        for at, (cell, column) in enumerate(zip(cells, columns)):
            line += "  " if at else ""
            if column.right:
                line += cell.rjust(widths[at])
            else:
                line += cell if at == len(cells) - 1 else cell.ljust(widths[at])
        lines.append(line + "\n")
    return "".join(lines)


class Got(NamedTuple):
    """One property of one object. ``source`` is one of :data:`SOURCES`; inherited ones have it with the name."""

    name: str
    key: str
    value: str
    source: str

    @property
    def kind(self) -> str:
        """The source as -s names it."""
        if self.source == "-":
            return "none"
        return "inherited" if self.source.startswith("inherited ") else self.source


def got(rows: Sequence[Got], columns: Sequence[str], widths: Dict[str, int], scripted: bool) -> str:
    """What ``get`` prints; no header without rows.

    :param widths: of the columns.
    """
    if not rows:
        return ""
    cells = [
        {"name": row.name, "property": row.key, "value": row.value, "received": "-", "source": row.source}
        for row in rows
    ]
    if scripted:
        return "".join("\t".join(each[column] for column in columns) + "\n" for each in cells)
    cells.insert(0, {column: column.upper() for column in GET_COLUMNS})
    lines = []
    for each in cells:
        padded = [each[column].ljust(max(len(column), widths.get(column, 0))) for column in columns[:-1]]
        lines.append("  ".join(padded + [each[columns[-1]]]) + "\n")
    return "".join(lines)
