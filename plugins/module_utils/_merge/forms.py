# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the grammars of real files are built from: lines with a key, fields of a line, sets, sections."""

from __future__ import annotations

import re
from typing import Hashable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Inner, Token, lines_of

#: a key
Key = Tuple[str, ...]


class Span(NamedTuple):
    """Where a field stands in the text of an entry.

    :param name: what it is called, for people too.
    :param start: where it begins.
    :param end: behind it.
    """

    name: str
    start: int
    end: int


def is_remark(line: str) -> bool:
    """Whether a line is empty or a comment."""
    head = line.lstrip()
    return not head or head.startswith("#")


def logical(lines: Sequence[str], comments_go_on: bool = False) -> Iterator[str]:
    """Lines with those that a backslash at the end puts behind them.

    :param comments_go_on: a comment is continued as well.
    """
    pending = ""
    for line in lines:
        going_on = line.rstrip("\n").endswith("\\")
        if not pending and is_remark(line) and not comments_go_on:
            yield line
        elif going_on:
            pending += line
        else:
            yield pending + line
            pending = ""
    if pending:
        yield pending


class Members(Grammar):
    """A set, such as the members of a group: what one side adds is in, what one side takes out is out."""

    def __init__(self, separator: str) -> None:
        self.separator = separator

    def tokens(self, text: str) -> List[Token]:
        """The elements of a set."""
        split = text.split(self.separator) if self.separator.strip() else text.split()
        return [Token(each, (each,)) for each in split if each.strip()]


class Fields(Grammar):
    """The fields of an entry, each with its name.

    :param sets: those that are sets, with what separates the elements.
    """

    def __init__(self, sets: Optional[Mapping[str, str]] = None) -> None:
        self._sets = {name: Members(separator) for name, separator in (sets or {}).items()}

    def inner(self, token: Token) -> Optional[Inner]:
        """The elements of a set."""
        members = self._sets.get(self.name(token))
        return Inner(members, members.tokens(token.text)) if members else None

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        """A set is written without the blanks that it may have had."""
        return self._sets[self.name(token)].separator.join(part.text for part in parts)


class Table(Grammar):
    """A file with an entry on each line, or on lines that a backslash joins. What has no key there is its own key.

    :param fields: the grammar of the fields; what they are is said by :meth:`spans`.
    """

    fields: Grammar = Fields()

    #: what may stand between two fields, where one is added
    gap = "\t"

    #: names of fields that are soft, pinned or secret (:class:`Token`)
    soft: Sequence[str] = ()
    pinned: Sequence[str] = ()
    secret: Sequence[str] = ()

    def lines(self, text: str) -> Iterator[str]:
        """The entries and remarks of a text."""
        return iter(lines_of(text))

    def parse(self, text: str) -> List[Token]:
        """An entry for each line that is no remark."""
        return [self.token(line) for line in self.lines(text)]

    def token(self, line: str) -> Token:
        """The entry, or the remark, that a line is."""
        if is_remark(line):
            return Token(line)
        return Token(line, self.key(line) or ("", " ".join(line.split())))

    def key(self, line: str) -> Optional[Key]:
        """What makes a line the same entry: its first word, unless a grammar knows better."""
        return (line.split(maxsplit=1)[0],)

    def spans(self, text: str) -> Optional[List[Span]]:
        """The fields of an entry, in order; None where it has none, or they make no sense."""
        return None

    def inner(self, token: Token) -> Optional[Inner]:
        """The fields of an entry."""
        spans = self.spans(token.text)
        if spans is None:
            return None
        parts = []
        for span in spans:
            flags = [span.name in each for each in (self.soft, self.pinned, self.secret)]
            parts.append(Token(token.text[span.start : span.end], (span.name,), *flags))
        return Inner(self.fields, parts)

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        """The text of an entry with other fields, what stands between them as it was."""
        spans = self.spans(token.text) or []
        before, last = {}, 0
        for span in spans:
            before[span.name] = token.text[last : span.start]
            last = span.end
        texts = []
        for part in parts:
            name = self.fields.name(part)
            texts.append(before.get(name, self.gap) + part.text)
        return "".join(texts) + token.text[last:]


def replaced(text: str, span: Tuple[int, int], other: str) -> str:
    """A text with another one in the place of a part of it."""
    return text[: span[0]] + other + text[span[1] :]


def words(text: str, names: Sequence[str], rest: str = "") -> List[Span]:
    """The words of a line up to a comment as fields, by their order.

    :param rest: what all words behind those with a name are together; nothing is, where it is empty.
    """
    found = list(re.finditer(r"(?:\"[^\"\n]*\"|[^\s\"#])+", text.partition("#")[0] if '"' not in text else text))
    spans = [Span(name, each.start(), each.end()) for name, each in zip(names, found)]
    if rest and len(found) > len(names):
        spans.append(Span(rest, found[len(names)].start(), found[-1].end()))
    return spans


class Pairs(Table):
    """A file of names and values, with something between them.

    :param separators: the characters that end a name.
    :param noun: what a name is called, for people.
    """

    def __init__(self, separators: str, noun: str = "") -> None:
        self._name = re.compile(r"\s*([^\s{0}]+)\s*[{0}][ \t]*".format(re.escape(separators)))
        self._noun = noun

    def key(self, line: str) -> Optional[Key]:
        """The name."""
        match = self._name.match(line)
        return (match.group(1),) if match else None

    def _value(self, text: str) -> Tuple[int, int]:
        """Where the value is: behind the name, up to a comment; all of it where there is no name."""
        match = self._name.match(text)
        start = match.end() if match else 0
        comment = re.search(r"\s#", text[start:])
        end = start + comment.start() if comment else len(text)
        return start, max(start, len(text[:end].rstrip()))

    def value(self, token: Token) -> Hashable:
        """The value, without quotation marks around it."""
        start, end = self._value(token.text)
        text = " ".join(token.text[start:end].split())
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text

    def adopt(self, ours: Token, new: Token) -> str:
        """The value of the base in the line of the site, with the comment behind it."""
        start, end = self._value(new.text)
        return replaced(ours.text, self._value(ours.text), new.text[start:end])

    def name(self, token: Token) -> str:
        """The name with its noun."""
        return " ".join(each for each in (self._noun, super().name(token).strip()) if each)


class Sections(Grammar):
    """A file of sections, each with a line at its head, and entries in each.

    What stands before the first head is a section as well. A comment right above a head belongs to it.

    :param head: the line at a section's head; its first group, or all of it, names the section.
    :param entries: the grammar of what is in a section.
    :param noun: what a section is called, for people.
    """

    def __init__(self, head: str, entries: Grammar, noun: str) -> None:
        self._head = re.compile(head, re.IGNORECASE)
        self._entries = _Section(self._head, entries)
        self._noun = noun
        self.public = entries.public
        self.nested = True

    def parse(self, text: str) -> List[Token]:
        """The sections of a text."""
        lines = lines_of(text)
        heads = [index for index, line in enumerate(lines) if self._head.match(line)]
        bounds = [0] + [self._with_comment(lines, index) for index in heads] + [len(lines)]
        found = [Token("".join(lines[low:high]), ("",)) for low, high in zip(bounds, bounds[1:])]
        # what stands before the first head is always there, so that nothing of it can come behind a head
        return [token._replace(key=self._key(token)) for token in found]

    def _with_comment(self, lines: Sequence[str], index: int) -> int:
        """Where the comment right above a head begins."""
        while index and lines[index - 1].startswith("#") and not self._head.match(lines[index - 1]):
            index -= 1
        return index

    def _key(self, token: Token) -> Key:
        match = self.head(token)
        return (" ".join((match.group(1) if match.groups() else match.group()).split()).lower() if match else "",)

    def head(self, token: Token) -> Optional[re.Match[str]]:
        """The line at the head of a section; None for what stands before the first."""
        for line in lines_of(token.text):
            if self._head.match(line):
                return self._head.match(line)
            if not line.startswith("#"):
                return None
        return None

    def value(self, token: Token) -> Hashable:
        """The head and the entries."""
        return self.meaning(token)

    def inner(self, token: Token) -> Optional[Inner]:
        """The head and the entries of a section."""
        return Inner(self._entries, self._entries.parse(token.text))

    def name(self, token: Token) -> str:
        """The section with its noun; nothing for what stands before the first."""
        name = super().name(token)
        return "{0} {1}".format(self._noun, name) if name else ""


class _Section(Grammar):
    """What is in a section: its head, and entries of another grammar."""

    def __init__(self, head: re.Pattern[str], entries: Grammar) -> None:
        self._head = head
        self._entries = entries
        self.ordered = entries.ordered

    def _is_head(self, token: Token) -> bool:
        return token.key == ("head",)

    def parse(self, text: str) -> List[Token]:
        lines = lines_of(text)
        for index, line in enumerate(lines):
            if self._head.match(line):
                head = Token("".join(lines[: index + 1]), ("head",), pinned=True)
                return [head] + self._entries.parse("".join(lines[index + 1 :]))
            if not line.startswith("#"):
                break
        return self._entries.parse(text)

    def value(self, token: Token) -> Hashable:
        if self._is_head(token):  # without the comment above it
            return " ".join(lines_of(token.text)[-1].split())
        return self._entries.value(token)

    def inner(self, token: Token) -> Optional[Inner]:
        return None if self._is_head(token) else self._entries.inner(token)

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        return self._entries.rebuild(token, parts)

    def family(self, token: Token) -> Optional[Hashable]:
        return None if self._is_head(token) else self._entries.family(token)

    def words(self, token: Token) -> Sequence[str]:
        return self._entries.words(token)

    def name(self, token: Token) -> str:
        return "its head" if self._is_head(token) else self._entries.name(token)

    def shown(self, token: Token) -> str:
        return token.text if self._is_head(token) else self._entries.shown(token)
