# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files of settings: scripts of sh(1) that only set variables, options of ssh, what pkg(8) reads."""

from __future__ import annotations

import re
from typing import Hashable, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.entries import ADDED
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.forms import (
    Key,
    Sections,
    Table,
    is_remark,
    replaced,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.judge import Judge
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Inner, Lines, Token, Unfit


class Variables(Grammar):
    """rc.conf(5), periodic.conf(5) and their like: scripts of sh(1), of which all that is not an assignment is code.

    A value may go on over lines in quotation marks. A file with code in it is merged by lines, because what an
    assignment means there depends on what stands around it.
    """

    discreet = True

    ASSIGNMENT = re.compile(
        r"[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)="
        r"([^\s\"'`;&|<>()\\$]*(?:(?:\\.|\$(?!\()|\"[^\"\\`]*(?:\\.[^\"\\`]*)*\"|'[^']*')[^\s\"'`;&|<>()\\$]*)*)"
        r"[ \t]*(?:;[ \t]*)?(?:(?<=[ \t])#[^\n]*)?(?:\n|\Z)",
        re.DOTALL,
    )

    def parse(self, text: str) -> List[Token]:
        """Assignments, and remarks."""
        found, place = [], 0
        while place < len(text):
            match = self.ASSIGNMENT.match(text, place)
            end = match.end() if match else text.find("\n", place) + 1 or len(text)
            line = text[place:end]
            if not match and not is_remark(line):
                raise Unfit("code")
            found.append(Token(line, (match.group(1),) if match else None))
            place = end
        return found

    def value(self, token: Token) -> Hashable:
        """The value without quotation marks that mean nothing."""
        match = self.ASSIGNMENT.match(token.text)
        text = match.group(2) if match else token.text
        return text[1:-1] if re.match(r"(\"[\w ./:,@%+=-]*\"|'[\w ./:,@%+=-]*')\Z", text) else text

    def adopt(self, ours: Token, new: Token) -> str:
        """The value of the base in the line of the site, with the comment behind it."""
        here, there = self.ASSIGNMENT.match(ours.text), self.ASSIGNMENT.match(new.text)
        return replaced(ours.text, here.span(2), there.group(2)) if here and there else new.text

    def name(self, token: Token) -> str:
        """The variable."""
        return "variable {0}".format(super().name(token))


def set_once(three: Sequence[Sequence[Token]], judge: Judge) -> List[List[Token]]:
    """The lines of three scripts, without those by which a variable would be set twice.

    By lines, what the base adds may come behind what the site says of the same variable elsewhere, and the last counts.

    :returns: the three, without the lines of the side that does not have its way.
    """
    old, new, ours = [list(each) for each in three]
    texts = {token.text for token in old}
    known = {_assigned(token) for token in old}
    here = {_assigned(token): token for token in ours if token.text not in texts}
    not_new, not_ours = set(), set()
    for token in new:
        name = _assigned(token)
        mine = here.get(name)
        if not name or name in known or mine is None or mine.text.split() == token.text.split():
            continue
        if judge.ours("variable {0}".format(name), ADDED, "", token.text, mine.text):
            not_new.add(name)
        else:
            not_ours.add(name)
    new = [token for token in new if _assigned(token) not in not_new]
    return [old, new, [token for token in ours if _assigned(token) not in not_ours]]


def _assigned(token: Token) -> str:
    """The variable that a line of a script sets; empty where it sets none, or the value goes on in the next line."""
    match = Variables.ASSIGNMENT.fullmatch(token.text)
    return match.group(1) if match else ""


class Options(Table):
    """sshd_config(5) and ssh_config(5), within a block: a word in any case, a blank or an equals sign, a value.

    The first value counts, except of those that may be given several times, each of which is an entry.
    """

    public = True
    _LINE = re.compile(r"\s*([A-Za-z]\w*)(?:\s*=\s*|\s+)(.*)", re.DOTALL)
    _MANY = (
        "acceptenv",
        "allowgroups",
        "allowusers",
        "certificatefile",
        "denygroups",
        "denyusers",
        "dynamicforward",
        "hostcertificate",
        "hostkey",
        "identityfile",
        "include",
        "listenaddress",
        "localforward",
        "port",
        "remoteforward",
        "sendenv",
        "setenv",
    )

    def key(self, line: str) -> Optional[Key]:
        """The option, with its value where it may come again."""
        match = self._LINE.match(line)
        if not match:
            return None
        option, value = match.group(1).lower(), match.group(2).split()
        if option in self._MANY:
            return (option, " ".join(value))
        return (option,) + tuple(value[:1]) if option == "subsystem" else (option,)

    def value(self, token: Token) -> Hashable:
        """What is set, without blanks and quotation marks that mean nothing."""
        match = self._LINE.match(token.text)
        return " ".join((match.group(2) if match else token.text).replace('"', " ").split())

    def family(self, token: Token) -> Optional[Hashable]:
        """The option, where it may be given several times."""
        option = token.key[0] if token.key else ""
        return option if option in self._MANY else None

    def words(self, token: Token) -> Sequence[str]:
        """Each value of the line: users, ports, files."""
        return (token.key or ())[-1].split()

    def name(self, token: Token) -> str:
        """The option as it is written."""
        match = self._LINE.match(token.text)
        return "option {0}".format(match.group(1) if match else super().name(token))


class Blocks(Sections):
    """sshd_config(5) and ssh_config(5): options, and blocks of ``Match`` or ``Host``, whose first that fits counts."""

    ordered = True

    def __init__(self) -> None:
        super().__init__(r"\s*((?:Match|Host)[\s=].*)", Options(), "block")


class _Actions(Table):
    """The lines of syslog.conf(5): what is logged, and where to; the latter makes it the same line."""

    def key(self, line: str) -> Optional[Key]:
        """Where to; for ``include`` also that word."""
        parts = line.split(None, 1)
        if len(parts) < 2:
            return None
        return ("include", parts[1].strip()) if parts[0] == "include" else (parts[1].strip(),)


#: syslog.conf(5): a line that begins with one of four characters, also behind a ``#``, says for which program, host or
#: property all that follow are (parseconfigfile of usr.sbin/syslogd/syslogd.c)
SYSLOG = Sections(r"\s*#?([!+:-].*)", _Actions(), "block")


class _Rules(Lines):
    """The rules of a ruleset, which are applied in order."""

    moves = True
    discreet = False

    def parse(self, text: str) -> List[Token]:
        """Each line is its own key, blanks apart."""
        return [
            Token(token.text, None if is_remark(token.text) else (" ".join(token.text.split()),))
            for token in super().parse(text)
        ]

    def value(self, token: Token) -> Hashable:
        """Blanks mean nothing."""
        return " ".join(token.text.split())

    def place(self, tokens: Sequence[Token], low: int, high: int) -> str:
        """The rules."""
        return Grammar.place(self, tokens, low, high)


class Rulesets(Sections):
    """devfs.rules(5): rulesets with a name and a number, by which jails know them: one number is one ruleset."""

    pins = True

    def __init__(self) -> None:
        super().__init__(r"\s*\[\s*([^\]=\s]+)\s*=\s*\d+\s*\]", _Rules(), "ruleset")

    def claim(self, token: Token) -> Optional[Hashable]:
        """The number."""
        match = self.head(token)
        return re.sub(r".*=|\D", "", match.group()) if match else None


class Objects(Grammar):
    """UCL, of which pkg.conf(5) and its repositories are made: names with values, which may be objects themselves.

    What comments of C, texts over several lines and the like would need is not read: such a file is merged by lines.
    """

    nested = True
    discreet = True
    _DEEPEST = 20
    _BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)|[ \t]+(?=[}\]])")
    _NAME = re.compile(r"[ \t]*(\"(?:[^\"\\\n]|\\.)*\"|[^\s:={}\[\],;#\"]+)")
    _ODD = re.compile(r"/\*|<<")
    _PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|(?<=\s)#[^\n]*|[^\"{}\[\],;\n#]+|.", re.DOTALL)

    def parse(self, text: str) -> List[Token]:
        """The names and values of an object, and remarks."""
        if self._ODD.search(text):
            raise Unfit("a comment or a text over several lines")
        found, place = [], 0
        while place < len(text):
            blank = self._BLANK.match(text, place)
            if blank and blank.end() > place:
                end, key = blank.end(), None
            else:
                name = self._NAME.match(text, place)
                if not name:
                    raise Unfit("no name")
                end, key = self._end(text, name.end()), (name.group(1).strip('"'),)
            found.append(Token(text[place:end], key))
            place = end
        return found

    def _end(self, text: str, place: int) -> int:
        """Where a value ends: at a comma, a semicolon or a line's end that is in no brackets."""
        depth, closed = 0, False
        while place < len(text):
            piece = self._PIECE.match(text, place)
            if not piece:
                break
            each = piece.group()
            if each in "}]" and not depth:
                return place
            if closed and not depth and each.strip(" \t") and each not in ",;\n" and not each.startswith("#"):
                return place
            place = piece.end()
            depth += (each in "{[") - (each in "}]")
            if depth > self._DEEPEST:
                raise Unfit("too deep")
            closed = closed or each in "}]"
            if not depth and each in ",;\n":
                return self._past_line(text, place) if each != "\n" else place
        if depth:
            raise Unfit("brackets that do not match")
        return place

    def _past_line(self, text: str, place: int) -> int:
        """Behind the rest of a line, where that is empty or a comment."""
        blank = self._BLANK.match(text, place)
        return blank.end() if blank else place

    def value(self, token: Token) -> Hashable:
        """The name and the value, without what separates them."""
        if self.inner(token):
            return self.meaning(token)
        text = " ".join(re.sub(r"[:=]", " ", token.text, count=1).split()).rstrip(",; ")
        return text.replace('"', "")

    def inner(self, token: Token) -> Optional[Inner]:
        """The names and values of an object."""
        match = re.match(r"[^{\[\"#]*(?:\"[^\"]*\"[^{\[\"#]*)?\{", token.text)
        end = token.text.rfind("}")
        if not match or end < match.end():
            return None
        try:
            body = self.parse(token.text[match.end() : end])
        except Unfit:
            return None
        head, tail = Token(match.group(), ("{",)), Token(token.text[end:], ("}",), soft=True)
        return Inner(self, [head] + body + [tail])

    def rebuild(self, token: Token, parts: Sequence[Token]) -> str:
        """The object with other parts, each of them separated from the next."""
        text = ""
        for part in parts:
            if text and part.key and part.key not in (("{",), ("}",)) and not re.search(r"[{,;\n][ \t]*\Z", text):
                text = text.rstrip(" \t") + ", "
            text += part.text
        return text
