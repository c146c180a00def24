# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What others have written, for a terminal; addresses."""

from __future__ import annotations

import urllib.parse
from typing import Any, List, Sequence, Set, Tuple

#: characters of one cell or remark; what a host says has no limit of its own
LONGEST = 300


def printable(text: str) -> str:
    """A text without what a terminal would obey, and without line ends; each such character is a question mark."""
    return "".join(each if each.isprintable() else "?" for each in text)


def plain(text: object) -> str:
    """What somebody else says, on one line, without what a terminal would obey, and not for ever."""
    head = str(text)[: LONGEST * 20]
    line = " ".join(head.split())
    return shortened(printable(line[: LONGEST + 1]), LONGEST)


def shortened(text: str, most: int) -> str:
    """A text that is no longer than a cell."""
    return text if len(text) <= most else text[: most - 1] + "…"


def aligned(rows: Sequence[Sequence[str]]) -> List[str]:
    """The rows of a table as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows]


def counted(number: int, noun: str) -> str:
    """A number of things, for a message.

    :param noun: one of them, as more of them are called with an s.
    """
    return "{0} {1}{2}".format(number, noun, "" if number == 1 else "s")


def first_of(names: Sequence[str], most: int) -> str:
    """Names for a message, with how many more there are.

    :param most: how many are named.
    """
    more = " and {0} more".format(len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def lines_of(value: Any) -> Any:
    """A list that was given as text, one of its elements a line: what has commas of its own, such as lines of keys."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def credentials_of(url: str) -> Tuple[str, str]:
    """The name and the password that an address holds; empty where it holds none.

    :raises ValueError: for what is no address.
    """
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")


def secrets_in(url: str) -> Set[str]:
    """What of an address nobody else should see, in every way in which it may be written.

    :raises ValueError: for what is no address.
    """
    name, password = credentials_of(url)
    raw = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
    # a name without a password is a token
    found = {password, raw.partition(":")[2]} if password else {name, raw}
    return found - {""}


def shown_address(url: str) -> str:
    """An address without the name and the password that may be in it, for messages."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the repository"
    return printable(urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", "")))
