# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which elements of two sequences belong together, in order: what ``diff`` is made of.

``difflib`` alone needs minutes, or hours, for long files with lines that come again and again. So what is unique on
both sides is matched first, as patience diff does, and ``difflib`` only sees the small gaps between.
"""

from __future__ import annotations

import bisect
import collections
import difflib
from typing import Dict, Hashable, Iterator, List, Sequence, Tuple

#: a pair of indices
Pair = Tuple[int, int]

#: half-open ranges of both sides
_Range = Tuple[int, int, int, int]

#: the largest gap, as the product of its sides, that difflib gets
_SMALL = 40_000

#: how often each element may be looked at; what is left then counts as not matched, which costs conflicts, not time
_LOOKS = 20


def align(left: Sequence[Hashable], right: Sequence[Hashable]) -> List[Pair]:
    """The pairs of equal elements, increasing on both sides.

    :returns: not always the longest such list, but nothing is in it that is not equal.
    """
    found: List[Pair] = []
    budget = _LOOKS * (len(left) + len(right)) + _SMALL
    todo = [(0, len(left), 0, len(right))]
    while todo:
        ends, middle = _trimmed(left, right, todo.pop())
        found += ends
        budget -= middle[1] - middle[0] + middle[3] - middle[2]
        if middle[0] == middle[1] or middle[2] == middle[3] or budget < 0:
            continue
        anchors = _anchors(left, right, middle)
        if anchors:
            found += anchors
            todo += _between(anchors, middle)
        elif (middle[1] - middle[0]) * (middle[3] - middle[2]) <= _SMALL:
            found += _small(left, right, middle)
    return sorted(found)


def _trimmed(left: Sequence[Hashable], right: Sequence[Hashable], bounds: _Range) -> Tuple[List[Pair], _Range]:
    """What both ends of a range have in common, and the rest."""
    alo, ahi, blo, bhi = bounds
    found = []
    while alo < ahi and blo < bhi and left[alo] == right[blo]:
        found.append((alo, blo))
        alo, blo = alo + 1, blo + 1
    while alo < ahi and blo < bhi and left[ahi - 1] == right[bhi - 1]:
        ahi, bhi = ahi - 1, bhi - 1
        found.append((ahi, bhi))
    return found, (alo, ahi, blo, bhi)


def _positions(elements: Sequence[Hashable], low: int, high: int) -> Dict[Hashable, List[int]]:
    found: Dict[Hashable, List[int]] = collections.defaultdict(list)
    for index in range(low, high):
        found[elements[index]].append(index)
    return found


def _anchors(left: Sequence[Hashable], right: Sequence[Hashable], bounds: _Range) -> List[Pair]:
    """What is unique on both sides of a range, or comes equally often where nothing is unique, and in one order."""
    ours, theirs = _positions(left, bounds[0], bounds[1]), _positions(right, bounds[2], bounds[3])
    both = [(places, theirs[each]) for each, places in ours.items() if len(theirs.get(each, ())) == len(places)]
    unique = [(places[0], others[0]) for places, others in both if len(places) == 1]
    pairs = unique or [pair for places, others in both for pair in zip(places, others)]
    return _increasing(sorted(pairs))


def _increasing(pairs: Sequence[Pair]) -> List[Pair]:
    """The longest part of pairs, sorted by their first, whose seconds increase."""
    tails: List[int] = []
    last: List[int] = []
    before: List[int] = []
    for number, (_first, second) in enumerate(pairs):
        place = bisect.bisect_left(tails, second)
        before.append(last[place - 1] if place else -1)
        tails[place : place + 1] = [second]
        last[place : place + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _between(anchors: Sequence[Pair], bounds: _Range) -> Iterator[_Range]:
    """The ranges before, between and after anchors."""
    alo, ahi, blo, bhi = bounds
    for first, second in anchors:
        yield alo, first, blo, second
        alo, blo = first + 1, second + 1
    yield alo, ahi, blo, bhi


def _small(left: Sequence[Hashable], right: Sequence[Hashable], bounds: _Range) -> Iterator[Pair]:
    alo, ahi, blo, bhi = bounds
    matcher = difflib.SequenceMatcher(None, left[alo:ahi], right[blo:bhi], autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            yield alo + block.a + offset, blo + block.b + offset
