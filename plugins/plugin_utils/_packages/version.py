# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of two versions is higher, by the rules of pkg-version(8).

Source: ``libpkg/pkg_version.c`` of freebsd/pkg (13f9f98). A version is ``VERSION[_REVISION][,EPOCH]``. Its parts are
separated by dots and by anything else that is no letter or digit; each is a number, a letter and the number of a patch.
What is missing at the end counts as 0, a number that is missing before a letter as -1, so that ``1.0.b2`` comes before
``1.0``. A ``*`` is lower than anything, and a ``+`` begins a version of its own.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Iterator, List, Tuple

#: number, letter, patch
Part = Tuple[int, int, int]

NOTHING: Part = (0, 0, 0)

#: words that stand for a stage, and their places among the letters, where ``a`` is 2
STAGES = {"pl": 0, "snap": 20, "alpha": 2, "beta": 3, "pre": 17, "rc": 19}

_NUMBER = re.compile(r"[0-9]+")
_WORD = re.compile(r"[A-Za-z]+")
_SEPARATOR = re.compile(r"[^0-9A-Za-z+*]+")


def _number(text: str) -> int:
    """What strtoul(3) makes of it."""
    found = _NUMBER.match(text)
    return int(found.group()) if found else 0


def _split(text: str) -> Tuple[str, int, int]:
    """Version, revision and epoch."""
    version = text.rpartition("-")[2]
    version, underscore, rest = version.rpartition("_") if "_" in version else (version, "", "")
    if underscore:
        return version, _number(rest), _number(rest.rpartition(",")[2]) if "," in rest else 0
    version, comma, epoch = version.rpartition(",") if "," in version else (version, "", "")
    return version, 0, _number(epoch) if comma else 0


def _parts(block: str) -> Iterator[Part]:
    """The parts of what stands between two ``+``."""
    at = 0
    while at < len(block):
        number, letter, patch = -1, 0, 0
        digits = _NUMBER.match(block, at)
        if digits:
            number, at = int(digits.group()), digits.end()
        elif block[at] == "*":
            yield -2, 0, 0
            return
        word = _WORD.match(block, at)
        stage = STAGES.get(word.group().lower()) if word else None
        if word and stage is not None and digits:
            pass  # a dot is thought before it: it is the next part
        elif word:
            letter = stage if stage is not None else ord(word.group()[0].lower()) - ord("a") + 2
            at = word.end()
            digits = _NUMBER.match(block, at)
            patch = int(digits.group()) if digits else -1
            at = digits.end() if digits else at
        separator = _SEPARATOR.match(block, at)
        at = separator.end() if separator else at
        yield number, letter, patch


def _blocks(version: str) -> List[List[Part]]:
    return [list(_parts(block)) for block in version.split("+")]


@functools.lru_cache(maxsize=1 << 16)  # an audit has the same ones in its hands all the time
def _read(text: str) -> Tuple[int, List[List[Part]], int]:
    """Epoch, parts and revision."""
    version, revision, epoch = _split(text)
    return epoch, _blocks(version), revision


def _order(one: object, other: object) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]


def compare(one: str, other: str) -> int:
    """-1, 0 or 1, as *one* is lower than *other*, equal to it, or higher."""
    epoch, blocks, revision = _read(one)
    epoch_2, blocks_2, revision_2 = _read(other)
    if epoch != epoch_2:
        return _order(epoch, epoch_2)
    block: List[Part]
    block_2: List[Part]
    for block, block_2 in itertools.zip_longest(blocks, blocks_2, fillvalue=[]):
        for part, part_2 in itertools.zip_longest(block, block_2, fillvalue=NOTHING):
            if part != part_2:
                return _order(part, part_2)
    return _order(revision, revision_2)


#: for ``sorted`` and ``max``
key = functools.cmp_to_key(compare)
