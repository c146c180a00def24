# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Three-way merge of the configuration of a host: the old base, the new base, and what the site has made of it.

Nothing here reads or writes files, and nothing decides for the site: where both changed the same thing, both answers
are given, with what the question is.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge import kinds, settings
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.entries import joined, merged
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.judge import Judge, holds_secrets
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.outcome import (
    CONFLICT,
    FOLLOWS,
    KEPT,
    MERGED,
    SAME,
    Conflict,
    Outcome,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Lines, Token, Unfit

__all__ = ["CONFLICT", "FOLLOWS", "KEPT", "MERGED", "SAME", "Conflict", "Outcome", "discreet", "made_from", "merge"]

#: what programs make of other files: such an override stays until the program has run again
_MADE = {
    "passwd": "master.passwd",  # pwd_mkdb(8)
    "pwd.db": "master.passwd",
    "spwd.db": "master.passwd",
    "login.conf.db": "login.conf",  # cap_mkdb(1)
    "services.db": "services",  # services_mkdb(8)
    "mail/aliases.db": "mail/aliases",  # newaliases(1)
}


def made_from(path: str) -> Optional[str]:
    """The file that another one is made from by a program of FreeBSD; None where a file stands for itself.

    :param path: relative to /etc, as the answer is.
    """
    return _MADE.get(path)


def discreet(path: str) -> bool:
    """Whether what entries of a file are called in conflicts says nothing of what is in them.

    :param path: relative to /etc.
    """
    grammar = kinds.grammar_of(path)
    return grammar.discreet or grammar.public


def merge(path: str, old: Optional[bytes], new: Optional[bytes], ours: bytes) -> Outcome:
    """What becomes of an override when the base changes under it.

    :param path: relative to /etc, such as ``ssh/sshd_config``; it says which kind of file this is.
    :param old: the base file that the override was made against; None where it had none, or where it is not known.
    :param new: the base file of the new system; None where it has none.
    :param ours: the override.
    :returns: ``kept`` where the base did not change, or in nothing that the override has not said; where the old base
        is not known (but for users, groups and the like, which are added where nothing is in their way); where a
        program makes the file of another one; where the override is empty, which says that there is to be nothing.
        ``follows`` where the override is the old base. ``conflict`` where both changed the same thing, and where the
        base has given up a file that the site changed.
    """
    if new == old or made_from(path) or not ours.strip():
        return Outcome(KEPT, ours, (), ours)
    if ours == old:
        return Outcome(FOLLOWS, new, (), new)
    if ours == new:
        return Outcome(SAME, ours, (), ours)
    if new is None:
        return _whole(path, old, None, ours, "the base has this file no longer, and it was changed here")
    if any(b"\0" in each for each in (old or b"", new, ours)):
        if old is None:
            return Outcome(KEPT, ours, (), ours)
        return _whole(path, old, new, ours, "changed here and in the base, and no text")
    return _text_merge(path, old, new, ours)


def _whole(path: str, old: Optional[bytes], new: Optional[bytes], ours: bytes, why: str) -> Outcome:
    """A conflict about a file as a whole."""
    judge = Judge(True, False, True)
    said = ["" if each is None else "{0} bytes".format(len(each)) for each in (old, new, ours)]
    judge.note("the file", why, *said)
    return Outcome(CONFLICT, ours, tuple(judge.conflicts), new)


def _text_merge(path: str, old: Optional[bytes], new: bytes, ours: bytes) -> Outcome:
    grammar, versions = _read(kinds.grammar_of(path), None if old is None else _unix(old), _unix(new), _unix(ours))
    if old is None and not grammar.additive:
        return Outcome(KEPT, ours, (), ours)
    script = isinstance(grammar, Lines) and isinstance(kinds.grammar_of(path), settings.Variables)
    crlf, ended = _crlf(ours), ours.endswith(b"\n")

    def merged_by(prefer: bool) -> Tuple[bytes, Tuple[Conflict, ...]]:
        judge = Judge(holds_secrets(path) and not grammar.public, grammar.public, prefer)
        old_one, new_one, here = settings.set_once(versions, judge) if script else versions
        text = joined(merged(grammar, (old_one, new_one, here), judge))
        text = text if ended or not text.endswith("\n") else text[:-1]
        return (text.replace("\n", "\r\n") if crlf else text).encode("latin-1"), tuple(judge.conflicts)

    content, conflicts = merged_by(True)
    if conflicts:
        return Outcome(CONFLICT, content, conflicts, merged_by(False)[0])
    return Outcome(KEPT if content == ours else MERGED, content, (), content)


_Versions = Tuple[List[Token], List[Token], List[Token]]


def _read(grammar: Grammar, old: Optional[str], new: str, ours: str) -> Tuple[Grammar, _Versions]:
    """What three versions are made of: entries where the grammar can read all of them, otherwise lines.

    An old base that is not known is made up: what both have is taken for the site's own, so that only what the
    override does not have at all is the new base's.
    """
    try:
        before, after, here = [grammar.parse(each) for each in (old or "", new, ours)]
    except Unfit:
        grammar = Lines()
        before, after, here = [grammar.parse(each) for each in (old or "", new, ours)]
    if old is None:
        known = {token.key for token in here}
        before = [token for token in after if token.key is None or token.key in known]
    return grammar, (before, after, here)


def _crlf(data: bytes) -> bool:
    """Whether every line of a file ends as those of DOS do."""
    return b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n")


def _unix(data: bytes) -> str:
    """The text of a file, its last line ended, and without the line ends of DOS."""
    text = (data.replace(b"\r\n", b"\n") if _crlf(data) else data).decode("latin-1")
    return text if not text or text.endswith("\n") else text + "\n"
