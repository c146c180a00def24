# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The merge of ordered, keyed entries with the remarks between them: the one that is made of every kind of file.

The override is the skeleton: its order, its remarks and its way of writing stay, and what the base changed is done to
it. Where the order of entries means something, their keys are merged as diff3(1) merges lines first; where it does
not, an entry is found by its key wherever it stands. Entries that both sides changed are merged by their parts, by the
same means. Remarks are nobody's question: where both sides changed one, that of the site stays.
"""

from __future__ import annotations

import collections
from typing import Dict, Hashable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.align import Pair, align
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.judge import Judge
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Token

CHANGED = "changed here and in the base"
ADDED = "added here and in the base, each in its own way"
GONE = "changed here, and no longer in the base"
LEFT = "removed here, and changed in the base"
PINNED = "the base changed a number by which it is known here"
ORDER = "both changed what stands here, and its order means something"

_Tokens = Sequence[Token]


def joined(tokens: _Tokens) -> str:
    """The text of tokens."""
    return "".join(token.text for token in tokens)


def _identity(grammar: Grammar, token: Token) -> Hashable:
    """What makes two tokens the same in every respect that matters."""
    return (token.key, grammar.value(token)) if token.key else (None, token.text.strip())


def _same(grammar: Grammar, one: Token, other: Token) -> bool:
    return one.text == other.text or grammar.value(one) == grammar.value(other)


def in_order(grammar: Grammar, left: _Tokens, right: _Tokens) -> Dict[int, int]:
    """Which tokens are the same ones, without changing the order.

    Entries come first, those that are alike before those that only have the same key, and remarks in what is left
    between them: an empty line is no place to go by.
    """
    ours = [_identity(grammar, token) for token in left]
    theirs = [_identity(grammar, token) for token in right]
    if not grammar.moves:
        return dict(align(ours, theirs))  # all are entries that are their own keys
    entries = [[token.key and each for token, each in zip(*side)] for side in ((left, ours), (right, theirs))]
    found = _filled([], *entries)
    found = _filled(found, [token.key for token in left], [token.key for token in right])
    remarks = [[None if token.key else each for token, each in zip(*side)] for side in ((left, ours), (right, theirs))]
    return dict(_filled(found, *remarks))


def _filled(pairs: Sequence[Pair], left: Sequence[Hashable], right: Sequence[Hashable]) -> List[Pair]:
    """Pairs, and those of equal elements in the gaps between them. None is equal to nothing."""
    found = list(pairs)
    alo, blo = 0, 0
    for ahi, bhi in list(pairs) + [(len(left), len(right))]:
        if alo < ahi and blo < bhi:
            ours = [("left", index) if left[index] is None else left[index] for index in range(alo, ahi)]
            theirs = [("right", index) if right[index] is None else right[index] for index in range(blo, bhi)]
            found += [(alo + first, blo + second) for first, second in align(ours, theirs)]
        alo, blo = ahi + 1, bhi + 1
    return sorted(found)


def anywhere(grammar: Grammar, left: _Tokens, right: _Tokens) -> Dict[int, int]:
    """Which tokens are the same ones, wherever they stand."""
    found = in_order(grammar, left, right)
    for same in (_identity, lambda _grammar, token: token.key):
        taken = set(found.values())
        free: Dict[Hashable, List[int]] = collections.defaultdict(list)
        for index in reversed(range(len(right))):
            if index not in taken and right[index].text.strip():
                free[same(grammar, right[index])].append(index)
        for index, token in enumerate(left):
            what = same(grammar, token) if index not in found and token.text.strip() else None
            if what is not None and free.get(what):
                found[index] = free[what].pop()
    return found


class _Three(NamedTuple):
    """Three versions of the same part of a file."""

    old: List[Token]
    new: List[Token]
    ours: List[Token]


class _Links(NamedTuple):
    """Which tokens of three versions are the same ones.

    :param in_new: where a token of the old base is in the new one.
    :param in_ours: where it is in the override.
    :param place: where a token of the new base is in the override.
    """

    in_new: Dict[int, int]
    in_ours: Dict[int, int]
    place: Dict[int, int]


class _Copies:
    """How often the same thing stands in each version, so that a second merge does not take out another copy of it."""

    def __init__(self, old: Sequence[Hashable], new: Sequence[Hashable], ours: Sequence[Hashable]) -> None:
        self._old, self._new, self._ours = [collections.Counter(each) for each in (old, new, ours)]

    def spare(self, what: Hashable) -> bool:
        """Whether one may go, which counts as gone then: more than the new base has, and none that the site added."""
        fewer = self._new[what] < self._ours[what] <= self._old[what]
        self._ours[what] -= fewer
        return fewer


def merged(grammar: Grammar, three: Tuple[_Tokens, _Tokens, _Tokens], judge: Judge, at: str = "") -> List[Token]:
    """Merge the tokens of an old base, a new base and an override.

    :param at: what they are part of, for conflicts.
    """
    return Merge(grammar, judge, at).tokens(*three)


class Merge:
    """One merge of one kind of entries, with one answer for every conflict."""

    def __init__(self, grammar: Grammar, judge: Judge, at: str = "") -> None:
        self._grammar = grammar
        self._judge = judge
        self._at = at

    def tokens(self, old: _Tokens, new: _Tokens, ours: _Tokens) -> List[Token]:
        """The tokens of the result."""
        three = _Three(list(old), list(new), list(ours))
        return self._ordered(three) if self._grammar.ordered else self._keyed(three)

    # -- an entry ------------------------------------------------------------------------------------------------------

    def _where(self, name: str) -> str:
        return ", ".join(each for each in (self._at, name) if each)

    def _asked(self, why: str, old: Optional[Token], new: Optional[Token], ours: Optional[Token]) -> bool:
        """Note a conflict about an entry; True: the override has its way."""
        token = ours or new or old
        texts = [self._grammar.shown(each) if each else "" for each in (old, new, ours)]
        name = self._grammar.name(token) if token else ""
        return self._judge.ours(self._where(name), why, *texts)

    def _entry(self, old: Optional[Token], new: Token, ours: Token) -> Token:
        """An entry that is in the new base and in the override."""
        grammar = self._grammar
        if ours.text == new.text or (old and new.text == old.text):
            return ours
        if ours.secret and ours.text and not new.text:
            return ours  # the base has no password where there is one here: nobody wants that
        follows = old is not None and _same(grammar, ours, old) and not (grammar.pins or new.pinned)
        if old and follows and ours.text == old.text:
            return new
        settled = _same(grammar, ours, new) or (old is not None and _same(grammar, new, old))
        if settled and not grammar.nested:
            return ours
        parts = self._parts(old, new, ours)
        if parts is not None:
            return parts
        if follows and not settled:
            return ours._replace(text=grammar.adopt(ours, new))
        if ours.soft or settled:
            return ours
        why = PINNED if old and _same(grammar, ours, old) else CHANGED if old else ADDED
        return ours if self._asked(why, old, new, ours) else new

    def _parts(self, old: Optional[Token], new: Token, ours: Token) -> Optional[Token]:
        """An entry merged by its parts; None where it has none."""
        grammar = self._grammar
        there, here = grammar.inner(new), grammar.inner(ours)
        before = grammar.inner(old) if old else None
        if there is None or here is None or (old and before is None):
            return None
        versions = (before.tokens if before else [], there.tokens, here.tokens)
        parts = merged(here.grammar, versions, self._judge, self._where(grammar.name(ours)))
        if joined(parts) == joined(here.tokens) and len(parts) == len(here.tokens):
            return ours
        return ours._replace(text=grammar.rebuild(ours, parts))

    # -- entries whose order means nothing -----------------------------------------------------------------------------

    def _links(self, three: _Three) -> _Links:
        grammar = self._grammar
        in_new, in_ours = anywhere(grammar, three.old, three.new), anywhere(grammar, three.old, three.ours)
        place = {in_new[index]: in_ours[index] for index in in_new if index in in_ours}
        known_new, known_ours = set(in_new.values()), set(in_ours.values())
        new = [index for index in range(len(three.new)) if index not in known_new]
        ours = [index for index in range(len(three.ours)) if index not in known_ours]
        twins = anywhere(grammar, [three.new[index] for index in new], [three.ours[index] for index in ours])
        place.update((new[first], ours[second]) for first, second in twins.items())
        return _Links(in_new, in_ours, place)

    def _keyed(self, three: _Three) -> List[Token]:
        links = self._links(three)
        slots: List[Optional[Token]] = list(three.ours)
        was = {second: first for first, second in links.in_new.items()}
        for index, place in links.place.items():
            if three.new[index].key:
                old = three.old[was[index]] if index in was else None
                slots[place] = self._entry(old, three.new[index], three.ours[place])
        copies = _Copies(*[[_identity(self._grammar, token) for token in each] for each in three])
        self._drop(three, links, slots, copies)
        dropped, refused = _remarks(three, links)
        for place in sorted(dropped):
            if copies.spare(_identity(self._grammar, three.ours[place])):
                slots[place] = None
        added = self._added(three, links, was, slots, refused)
        found = list(added.get(-1, ()))
        for place, token in enumerate(slots):
            found += [token] if token else []
            found += added.get(place, ())
        return found

    def _drop(self, three: _Three, links: _Links, slots: List[Optional[Token]], copies: _Copies) -> None:
        """Take out the entries that the base no longer has."""
        for index, token in enumerate(three.old):
            place = links.in_ours.get(index)
            if not token.key or place is None or index in links.in_new:
                continue
            ours = three.ours[place]
            if _same(self._grammar, ours, token):
                goes = copies.spare(_identity(self._grammar, ours))
            else:
                goes = not self._asked(GONE, token, None, ours)
            if goes:
                slots[place] = None

    def _added(
        self, three: _Three, links: _Links, was: Dict[int, int], slots: Sequence[Optional[Token]], refused: Set[int]
    ) -> Dict[int, List[Token]]:
        """What of the new base comes into the override: each token behind the place that it belongs to."""
        found: Dict[int, List[Token]] = collections.defaultdict(list)
        holders = self._holders(three, slots)
        anchor: Optional[int] = None
        for index, token in enumerate(three.new):
            if index in links.place:
                anchor = links.place[index]
                continue
            if not token.key:
                wanted = index not in was and index not in refused
            else:
                old = three.old[was[index]] if index in was else None
                wanted = not (old and _same(self._grammar, old, token)) and self._may_come(old, token, holders)
                wanted = wanted and (old is not None or self._may_join(three, token))
            if wanted:
                if anchor is None:
                    anchor = self._before(links, index, len(three.new), len(three.ours))
                found[anchor].append(token)
        return found

    @staticmethod
    def _before(links: _Links, index: int, end: int, length: int) -> int:
        """The place of what has nothing before it that is known: before the next that is known, or at the end."""
        later = [links.place[each] for each in range(index, end) if each in links.place]
        return (later[0] if later else length) - 1

    def _holders(self, three: _Three, slots: Sequence[Optional[Token]]) -> Dict[Hashable, Token]:
        """Who of the override has what only one can have, and does not share it with the new base."""
        base = {(token.key, self._grammar.claim(token)) for token in three.new}
        found: Dict[Hashable, Token] = {}
        for token in slots:
            claim = self._grammar.claim(token) if token and token.key else None
            if token and claim is not None and (token.key, claim) not in base:
                found.setdefault(claim, token)
        return found

    def _may_come(self, old: Optional[Token], token: Token, holders: Dict[Hashable, Token]) -> bool:
        """Whether an entry that the override does not have comes into it."""
        grammar = self._grammar
        claim = grammar.claim(token)
        holder = holders.get(claim) if claim is not None else None
        if holder:
            what = "changed" if old else "new"
            why = "{0} in the base, with a number that {1} has here".format(what, grammar.name(holder))
            texts = [grammar.shown(each) if each else "" for each in (old, token, holder)]
            return not self._judge.ours(self._where(grammar.name(token)), why, *texts)
        return old is None or not self._asked(LEFT, old, token, None)

    def _may_join(self, three: _Three, token: Token) -> bool:
        """Whether another value comes to a setting that may have several.

        Not unasked where the site took out what it says, all there was, or a line in whose place the base has it now:
        one more AllowUsers shuts out everybody whom it does not name, and lets in those whom it does.
        """
        grammar = self._grammar
        family = grammar.family(token)
        if family is None:
            return True
        old, new, ours = [[each for each in side if each.key and grammar.family(each) == family] for side in three]
        known = {each.key for each in ours}
        gone = [each for each in old if each.key not in known]
        lost = {word for each in gone for word in grammar.words(each)}
        lost -= {word for each in ours for word in grammar.words(each)}
        stays = {each.key for each in new}
        if not lost or (ours and not lost & set(grammar.words(token)) and all(each.key in stays for each in gone)):
            return True
        return not self._asked(CHANGED if ours else LEFT, gone[0], token, ours[0] if ours else None)

    # -- entries in order ----------------------------------------------------------------------------------------------

    def _ordered(self, three: _Three) -> List[Token]:
        found: List[Token] = []
        torn = _torn(self._grammar, three) if self._grammar.moves else _Torn(set(), set())
        for stable, (alo, ahi), (blo, bhi), (clo, chi) in _chunks(self._grammar, three):
            part = _Three(three.old[alo:ahi], three.new[blo:bhi], three.ours[clo:chi])
            if stable:
                found.append(self._entry(part.old[0], part.new[0], part.ours[0]))
            else:
                found += self._chunk(part, self._grammar.place(three.ours, clo, chi), torn)
        return found

    def _identities(self, tokens: _Tokens) -> List[Hashable]:
        """What the entries are and say."""
        return [_identity(self._grammar, token) for token in tokens if token.key]

    def _chunk(self, part: _Three, name: str, torn: _Torn) -> List[Token]:
        """What stands between two entries that all have."""
        new, ours = self._identities(part.new), self._identities(part.ours)
        keys = {token.key for each in part for token in each}
        if ours == new and ours:
            return part.ours
        if not keys & torn.keys:
            if joined(part.new) == joined(part.old):
                return part.ours
            if joined(part.ours) == joined(part.old):
                return part.new
            if self._grammar.moves and not keys & torn.moved and not self._both_add(part):
                return self._keyed(part)  # entries keep their order, and only one side has others between them
        texts = ["".join(self._grammar.shown(token) for token in each) for each in part]
        return part.ours if self._judge.ours(self._where(name), ORDER, *texts) else part.new

    def _both_add(self, part: _Three) -> bool:
        """Whether something is to come where the override has entries of its own already."""
        known = {token.key for token in part.old}
        new, ours = [
            self._identities([token for token in each if token.key not in known]) for each in (part.new, part.ours)
        ]
        return bool(ours) and not set(new) <= set(ours)


def _remarks(three: _Three, links: _Links) -> Tuple[Set[int], Set[int]]:
    """What the base did to remarks: which of the override go, and which of the new base do not come.

    Where the base wrote other remarks in the place of some, and the site changed any of these, those of the site stay
    as they are.
    """
    gone: Dict[int, List[int]] = collections.defaultdict(list)
    come: Dict[int, List[int]] = collections.defaultdict(list)
    last = -1
    for index, token in enumerate(three.old):
        if index in links.in_new:
            last = index
        elif not token.key:
            gone[last].append(index)
    was = {second: first for first, second in links.in_new.items()}
    last = -1
    for index, token in enumerate(three.new):
        if index in was:
            last = was[index]
        elif not token.key:
            come[last].append(index)
    dropped: Set[int] = set()
    refused: Set[int] = set()
    for gap, remarks in gone.items():
        if come.get(gap) and any(three.old[each].text.strip() and each not in links.in_ours for each in remarks):
            refused.update(come[gap])
        else:
            dropped.update(links.in_ours[each] for each in remarks if each in links.in_ours)
    return dropped, refused


class _Torn(NamedTuple):
    """Entries whose place is a question.

    :param keys: those that one side moved and the other changed, and those that both added in different places.
    :param moved: those that either side moved.
    """

    keys: Set[Hashable]
    moved: Set[Hashable]


def _torn(grammar: Grammar, three: _Three) -> _Torn:
    in_new, in_ours = in_order(grammar, three.old, three.new), in_order(grammar, three.old, three.ours)
    free_new, free_ours = _unlinked(three.new, in_new), _unlinked(three.ours, in_ours)
    agreed = {
        three.new[first].key
        for first, second in in_order(grammar, three.new, three.ours).items()
        if _same(grammar, three.new[first], three.ours[second])
    }
    keys: Set[Hashable] = (free_new & free_ours) - agreed
    moved: Set[Hashable] = set()
    for index, token in enumerate(three.old):
        there, here = in_new.get(index), in_ours.get(index)
        if token.key in free_new and there is None:
            moved.add(token.key)
            if here is None or not _same(grammar, token, three.ours[here]):
                keys.add(token.key)
        if token.key in free_ours and here is None:
            moved.add(token.key)
            if there is None or not _same(grammar, token, three.new[there]):
                keys.add(token.key)
    return _Torn(keys, moved)


def _unlinked(tokens: _Tokens, links: Dict[int, int]) -> Set[Hashable]:
    """The keys of entries that the old base does not have in this place."""
    there = set(links.values())
    return {token.key for index, token in enumerate(tokens) if token.key and index not in there}


_Span = Tuple[int, int]


def _chunks(grammar: Grammar, three: _Three) -> Iterator[Tuple[bool, _Span, _Span, _Span]]:
    """The parts of three versions, in order: one entry that all have, or what is between such (diff3(1)).

    Remarks are always between: an empty line is no place to go by.

    :returns: whether it is such an entry; the range of the old base, of the new base, of the override.
    """
    in_new, in_ours = in_order(grammar, three.old, three.new), in_order(grammar, three.old, three.ours)
    alo, blo, clo = 0, 0, 0
    common = [index for index, token in enumerate(three.old) if token.key and index in in_new and index in in_ours]
    for ahi in common + [len(three.old)]:
        bhi, chi = in_new.get(ahi, len(three.new)), in_ours.get(ahi, len(three.ours))
        if (ahi, bhi, chi) != (alo, blo, clo):
            yield False, (alo, ahi), (blo, bhi), (clo, chi)
        if ahi < len(three.old):
            yield True, (ahi, ahi + 1), (bhi, bhi + 1), (chi, chi + 1)
        alo, blo, clo = ahi + 1, bhi + 1, chi + 1
