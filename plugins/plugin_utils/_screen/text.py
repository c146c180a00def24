# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text on a screen: how wide it is, and that it fits. Everything here has gone through ``printable`` before."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable


@functools.lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    """How many columns a character takes (Unicode standard annex 11; what combines with the one before takes none)."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cells(text: str) -> int:
    """How many columns a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, width: int) -> str:
    """A text that takes no more columns than there are."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for each in text:
        used += _cells(each)
        if used > width - 1:
            break
        kept.append(each)
    return "".join(kept) + ("…" if width > 0 else "")


def fitted(text: str, width: int, right: bool = False) -> str:
    """A text that takes exactly so many columns."""
    shown = cut(text, width)
    room = " " * (width - cells(shown))
    return room + shown if right else shown + room


def wrapped(text: str, width: int, indent: str = "    ") -> List[str]:
    """A line as several that are no wider than the terminal, broken between words.

    :param width: columns; 0 for no limit.
    :param indent: before all but the first.
    """
    if not width or cells(text) <= width:
        return [text]
    lines, line = [], ""
    for word in re.split(r"(?<=\S) (?=\S)", text):
        if line.strip() and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line = "{0} {1}".format(line, word) if line.strip() else line + word
    return [*lines, line]


def lines_of(text: object) -> List[str]:
    """The lines of what somebody wrote, without what a terminal would obey; at least one."""
    return [printable(line.expandtabs()).rstrip() for line in str(text).splitlines()] or [""]


def one_line(text: object) -> str:
    """The same on one line."""
    return printable(" ".join(str(text).split()))
