# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The METALOG of ``make installworld -DNO_ROOT``: whose everything is in a folder that an ordinary user filled.

Source: ``metadata_log()`` in ``usr.bin/xinstall/xinstall.c``, ``etc/Makefile`` (what it adds with ``mtree -C``) and
``usr.sbin/certctl`` (links without an owner); mtree(5), vis(3).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import Accounts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import (
    DIR,
    FILE,
    LINK,
    Node,
    Tree,
    TreeError,
    clean,
)

METALOG = "METALOG"

#: what becomes of a file that is in the folder and not in the METALOG
REFUSE, ROOT, SKIP = "refuse", "root", "skip"
UNLISTED = (REFUSE, ROOT, SKIP)

_ESCAPE = re.compile(rb"\\(?:([0-3][0-7]{2})|M-(.)|M\^(.)|\^(.)|(.))", re.DOTALL)
_CSTYLE = {
    b"s": b" ",
    b"t": b"\t",
    b"n": b"\n",
    b"r": b"\r",
    b"b": b"\b",
    b"a": b"\a",
    b"v": b"\v",
    b"f": b"\f",
    b"0": b"\0",
}


def _control(letter: bytes) -> int:
    return 0x7F if letter == b"?" else letter[0] & 0x1F


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, meta, meta_control, control, other = match.groups()
    if octal:
        return bytes([int(octal, 8)])
    if meta:
        return bytes([meta[0] | 0x80])
    if meta_control:
        return bytes([_control(meta_control) | 0x80])
    if control:
        return bytes([_control(control)])
    return _CSTYLE.get(other, other)


def unvis(text: str) -> str:
    """What vis(3) made *text* of, with VIS_OCTAL or VIS_CSTYLE."""
    return os.fsdecode(_ESCAPE.sub(_unescape, os.fsencode(text)))


@dataclass(frozen=True)
class Entry:
    """What the METALOG says of one path: the words of its line, by their keys."""

    kind: str
    words: Dict[str, str]

    @property
    def owned(self) -> bool:
        """Whether it names an owner; the line of a further name of a file need not."""
        return "uname" in self.words or "uid" in self.words


def parse(text: str, name: str) -> Dict[str, Entry]:
    """The entries by their paths; the last line of a path counts.

    :param name: of the file, for errors.
    :raises TreeError: when a line cannot be read.
    """
    found: Dict[str, Entry] = {}
    common: Dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        values = dict(word.partition("=")[::2] for word in words[1:])
        if words[0] == "/set":
            common.update(values)
            continue
        values = {**common, **values}
        if not words[0].startswith(".") or "type" not in values or not _is_octal(values.get("mode", "0")):
            raise TreeError("line {0} of {1} cannot be read: {2!r}".format(number, name, line[:80]))
        found[clean(unvis(words[0]))] = Entry(values["type"], values)
    return found


def _is_octal(text: str) -> bool:
    return bool(re.match(r"[0-7]{1,5}\Z", text))


def _owner(words: Dict[str, str], accounts: Accounts, path: str) -> Tuple[int, int]:
    uid = int(words["uid"]) if words.get("uid", "").isdigit() else accounts.uid(words.get("uname", "root"), path)
    gid = int(words["gid"]) if words.get("gid", "").isdigit() else accounts.gid(words.get("gname", "wheel"), path)
    return uid, gid


def _node(path: str, entry: Entry, node: Node, accounts: Accounts) -> Node:
    uid, gid = _owner(entry.words, accounts, path)
    mode = int(entry.words["mode"], 8) if "mode" in entry.words and node.kind != LINK else node.mode
    # a time is only there for `install -p`, and that of the source file: when the tree was checked out
    return replace(node, uid=uid, gid=gid, mode=mode, mtime=0)


def _placeholder(entry: Entry) -> Optional[Node]:
    """What is listed and not in the folder, where the list alone says what it is."""
    if entry.kind == DIR:
        return Node(DIR, 0o755)
    if entry.kind == LINK and "link" in entry.words:
        return Node(LINK, 0o755, target=unvis(entry.words["link"]))
    return None


def find(folder: str, named: Optional[str] = None) -> Optional[str]:
    """The METALOG of a folder: the one that is named, or the one in it.

    :raises TreeError: when the one that is named is not there.
    """
    path = named or os.path.join(folder, METALOG)
    if os.path.isfile(path):
        return path
    if named:
        raise TreeError("there is no METALOG {0}".format(named))
    return None


def read_folder(folder: str, metalog: str, unlisted: str, before: Tree, say: Callable[[str], None]) -> Tree:
    """The tree of a folder, with owners, modes and hard links as its METALOG says.

    :param unlisted: one of :data:`UNLISTED`.
    :param before: what it will be laid over: has the users and groups where the folder has none.
    :param say: told what is listed and not there.
    :raises TreeError: when the two do not fit together.
    """
    try:
        with open(metalog, encoding="utf-8", errors="surrogateescape") as file:
            listed = parse(file.read(), metalog)
    except OSError as error:
        raise TreeError("{0} cannot be read: {1}".format(metalog, error.strerror))
    tree = Tree()
    tree.add_folder(folder, exact=True)
    if os.path.dirname(os.path.realpath(metalog)) == os.path.realpath(folder):
        tree.remove(os.path.basename(metalog))
    accounts = Accounts()
    accounts.add(before)
    accounts.add(tree)
    missing = _apply(tree, listed, accounts, metalog)
    if missing:
        say("{0} of the files in {1} are not in the folder, {2} for example".format(len(missing), metalog, missing[0]))
    _join(tree, listed)
    _settle(tree, listed, unlisted, metalog)
    return tree


def _apply(tree: Tree, listed: Dict[str, Entry], accounts: Accounts, metalog: str) -> List[str]:
    """Give nodes what the list says of them; returns what is listed and not there."""
    missing = []
    for path in sorted(listed):
        entry = listed[path]
        if entry.kind not in (DIR, FILE, LINK):
            tree.remove(path)  # devices: devfs makes them
            continue
        node = tree.nodes.get(path) or _placeholder(entry)
        if node is None:
            missing.append(path)
            continue
        if node.kind != entry.kind:
            raise TreeError(
                "{0} is a {1}, and by {2} a {3}".format(path, node.kind, metalog, entry.kind),
                safe="nothing was built",
                todo="install into an empty folder",
            )
        if path:
            tree.put(path, _node(path, entry, node, accounts))
        else:
            tree.nodes[""] = _node(path, entry, node, accounts)
    return missing


def _join(tree: Tree, listed: Dict[str, Entry]) -> None:
    """The names of one file have one owner and one mode: those of the line that installed it."""
    for paths in tree.groups():
        owned = [path for path in paths if path in listed and listed[path].owned]
        if owned:
            first = tree.nodes[owned[0]]
            for path in paths:
                tree.nodes[path] = first


def _settle(tree: Tree, listed: Dict[str, Entry], unlisted: str, metalog: str) -> None:
    """What is not listed. Directories on the way to what is are as they always are."""
    needed = {path[:index] for path in listed for index, letter in enumerate(path) if letter == "/"}
    others = [path for path in tree.paths() if path and path not in listed]
    for path in others:
        if path in needed and path in tree and tree.nodes[path].kind == DIR:
            tree.nodes[path] = replace(tree.nodes[path], mode=0o755)
        elif unlisted == SKIP:
            tree.remove(path)
    rest = [path for path in others if path in tree and path not in needed]
    if rest and unlisted == REFUSE:
        raise TreeError(
            "{0} is in the folder and not in {1}; so are {2} others".format(rest[0], metalog, len(rest) - 1),
            safe="nothing was built",
            todo="install into an empty folder, lay additions over it as an overlay, or say what such files are "
            "(image_metalog_unlisted: root or skip)",
        )
