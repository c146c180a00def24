# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a configuration file is made of, for a merge: entries, each with a key, and remarks between them."""

from __future__ import annotations

from typing import Hashable, List, NamedTuple, Optional, Sequence, Tuple

#: instead of what nobody should see; no digest either, by which a guess could be tried
HIDDEN = "(not shown)"


class Unfit(Exception):
    """A text that a grammar does not understand well enough to move its entries about: it is merged by lines."""


class Token(NamedTuple):
    """One entry of a file, or one remark: a comment, or an empty line.

    Texts are bytes as latin-1, so that any file can be had back as it was.

    :param text: as it stands in the file, with its line ends.
    :param key: what makes it the same entry in another version of the file; None for a remark.
    :param soft: where both sides changed it, the site's stays without a question.
    :param pinned: that the base changed it is a question even where the site did not: numbers that files are owned by.
    :param secret: never shown.
    """

    text: str
    key: Optional[Tuple[str, ...]] = None
    soft: bool = False
    pinned: bool = False
    secret: bool = False


class Inner(NamedTuple):
    """The parts of an entry, which can be merged one by one.

    :param grammar: what these are.
    :param tokens: the parts.
    """

    grammar: Grammar
    tokens: List[Token]


class Grammar:
    """How one kind of file is read. Those of real files override what they must, and know nothing of merging."""

    #: whether the order of entries means something
    ordered = False

    #: whether an entry that stands elsewhere is still the same one; a line may come again anywhere
    moves = True

    #: whether entries of the base may be added to an override whose base is not known
    additive = False

    #: whether what :meth:`shown` says may be shown, whatever the file is called and whatever words are in it:
    #: in such files "password" is the name of a setting, or the grammar hides passwords itself
    public = False

    #: whether entries have remarks in them, which are merged even where their parts are what they were
    nested = False

    #: whether entries have parts that are pinned
    pins = False

    #: whether what entries are called says nothing of what is in them: a job of cron is called by its command
    discreet = False

    def parse(self, text: str) -> List[Token]:
        """The tokens of a text, which joined are that text.

        :raises Unfit: when it is better merged by lines.
        """
        raise NotImplementedError

    def value(self, token: Token) -> Hashable:
        """What an entry means: two of them with the same key and value differ only in how they are written."""
        return " ".join(token.text.split())

    def inner(self, token: Token) -> Optional[Inner]:
        """The parts of an entry; None where it is changed as a whole."""
        return None

    def meaning(self, token: Token) -> Hashable:
        """What the parts of an entry mean, remarks in it apart; the text of one that has none."""
        inner = self.inner(token)
        if inner is None:
            return " ".join(token.text.split())
        return tuple((part.key, inner.grammar.value(part)) for part in inner.tokens if part.key)

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        """The text of an entry with other parts."""
        return "".join(part.text for part in parts)

    def adopt(self, ours: Token, new: Token) -> str:
        """The text of an entry that only the base changed, where the site wrote it in its own way."""
        return new.text

    def claim(self, token: Token) -> Optional[Hashable]:
        """What only one entry can have, such as the number of a user; None where there is no such thing."""
        return None

    def family(self, token: Token) -> Optional[Hashable]:
        """The setting that an entry is one of several values of; None where it stands for itself."""
        return None

    def words(self, token: Token) -> Sequence[str]:
        """What an entry of a family has in it."""
        return token.text.split()

    def name(self, token: Token) -> str:
        """What an entry is called, for people."""
        return " ".join(token.key or ())

    def shown(self, token: Token) -> str:
        """The text of an entry, for people, without anything secret."""
        return HIDDEN if token.secret and token.text else token.text

    def place(self, tokens: Sequence[Token], low: int, high: int) -> str:
        """What a part of an override is called, from one token up to another."""
        names = [self.name(token) for token in tokens[low:high] if token.key]
        if names:
            return ", ".join(names)
        before = [self.name(token) for token in tokens[:low] if token.key]
        return "after {0}".format(before[-1]) if before else "the beginning"


def lines_of(text: str) -> List[str]:
    """The lines of a text with their ends; only a line feed ends a line."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


class Lines(Grammar):
    """A file of which nothing is known: every line is an entry, and they are in order."""

    ordered = True
    moves = False
    discreet = True

    def parse(self, text: str) -> List[Token]:
        """Each line is its own key."""
        return [Token(line, (line,)) for line in lines_of(text)]

    def value(self, token: Token) -> Hashable:
        """Blanks may mean something."""
        return token.text

    def place(self, tokens: Sequence[Token], low: int, high: int) -> str:
        """The numbers of lines of the override."""
        if low == high:
            return "after line {0}".format(low) if low else "before line 1"
        return "line {0}".format(high) if high - low == 1 else "lines {0}-{1}".format(low + 1, high)
