# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What scripts of packages may do to the tree of an image: on a copy of it, each call judged by itself.

A script is somebody else's program. It finds the tree as it would find a FreeBSD system below its root, and changes
what packages keep their configuration in. A call for anything else ends it, and none of its changes counts. What the
calls do: ``libpkg/lua.c`` of freebsd/pkg.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, Callable, Dict, List, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, LINK, Node, Tree, TreeError

#: where scripts may change anything, by the beginning of a path
OPEN = ("usr/local/", "etc/", "var/")

#: and what of it they may not: who may log in and how, and what starts the system or is the definition's
CLOSED = re.compile(
    r"etc/(?:master\.passwd|passwd|group|s?pwd\.db|login\.(?:conf|access)|ttys|fstab|crontab|rc|rc\..*|defaults|ssh|pam\.d"
    r"|nanozfs)(?:/.*)?\Z",
    re.DOTALL,
)

#: with hashes of passwords, that could be shown to anybody from somewhere else
SECRET = ("etc/master.passwd", "etc/spwd.db")

#: the largest file that a script reads, and all that it writes or says (bytes)
MAX_FILE = 8 << 20
MAX_WRITTEN = 32 << 20
MAX_SAID = 16 << 10

#: the longest path, without the NUL at its end, and name of a file (PATH_MAX, NAME_MAX in sys/sys/syslimits.h; bytes)
MAX_PATH, MAX_NAME = 1023, 255

_KINDS = {DIR: "dir", FILE: "reg", LINK: "lnk"}
_ENOENT, _EEXIST, _EINVAL, _ENOTEMPTY, _EISDIR = 2, 17, 22, 66, 21  # sys/sys/errno.h
_SET_ID = 0o6000


class Refusal(Exception):
    """A script wants what none may do."""


def latin(text: str) -> str:
    """A text with a letter of Latin 1 for each byte, as Lua has it."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _path_of(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _check_length(text: str) -> None:
    """See that a path can be one.

    :param text: its bytes as letters of Latin 1.
    :raises Refusal: when it, or a name in it, is longer than the system takes.
    """
    if len(text) > MAX_PATH or max(map(len, text.split("/"))) > MAX_NAME:
        raise Refusal("{0} is longer than a path can be".format(plain(_path_of(text))))


class Staging:
    """The copy of a tree that a script works on.

    ``refused`` says why the script must not go on, once it wanted what it may not; ``messages`` is what it said.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = Tree()
        self.tree.nodes = dict(tree.nodes)
        self.refused = ""
        self.messages: List[str] = []
        self._before = tree.nodes
        self._written = self._said = 0
        self._calls: Dict[str, Callable[..., Sequence[Any]]] = {
            "stat": self._stat,
            "readdir": self._readdir,
            "filecmp": self._filecmp,
            "copy": self._copy,
            "symlink": self._symlink,
            "open": self._open,
            "write": self._write,
            "remove": self._remove,
            "rename": self._rename,
            "print": self._print,
            "exec": self._exec,
        }

    def answer(self, call: str, words: Sequence[str]) -> List[Any]:
        """Do what a script asks for.

        :param words: what it is asked with, bytes as letters of Latin 1.
        :returns: whether it may go on, and what it gets; or else the reason.
        """
        try:
            if self.refused:
                raise Refusal(self.refused)
            if call not in self._calls:
                raise Refusal("it calls {0}, which is nothing".format(plain(call)))
            return [True, *self._calls[call](*words)]
        except Refusal as error:
            self.refused = str(error)
        except (TypeError, TreeError) as error:
            self.refused = plain(error)
        return [False, latin(self.refused)]

    def changed(self) -> List[str]:
        """The paths that were changed."""
        now, before = self.tree.nodes, self._before
        return sorted(path for path in {**before, **now} if now.get(path) is not before.get(path))

    # paths

    def _place(self, text: str, follow: bool) -> str:
        """A path of the tree, with links among its parents followed, and at its end where ``follow`` says so.

        :raises Refusal: for one that leads out of the tree, or is longer than any, here or where links lead to.
        """
        _check_length(text)  # first: the time to follow a path grows with the square of its length
        path = _path_of(text)
        if "\0" in path or ".." in path.split("/"):
            raise Refusal("{0} leads out of the image".format(plain(path)))
        if follow:
            path = self.tree.real(path)
        else:
            parts = [part for part in path.split("/") if part not in ("", ".")]
            path = self.tree.resolve("/".join(parts)) if parts else ""
        _check_length(latin(path))
        return path

    def _mine(self, text: str, follow: bool) -> str:
        """A path that may be changed.

        :raises Refusal: for any other.
        """
        path = self._place(text, follow)
        node = self.tree.nodes.get(path)
        if not path.startswith(OPEN) or CLOSED.match(path):
            raise Refusal("it wants to change /{0}, which no script may".format(plain(path)))
        if node is not None and node.kind == FILE and node.mode & _SET_ID:
            raise Refusal("it wants to change /{0}, which runs as somebody else".format(plain(path)))
        return path

    @staticmethod
    def _check_secret(path: str) -> None:
        if path in SECRET:
            raise Refusal("it wants to read /{0}, which no script may".format(path))

    def _file(self, path: str) -> bytes:
        self._check_secret(path)
        node = self.tree.get(path)
        if _size(node) > MAX_FILE:
            raise Refusal("it wants to read /{0}, which is larger than {1} MiB".format(plain(path), MAX_FILE >> 20))
        return node.content()

    def _count(self, size: int) -> None:
        self._written += size
        if self._written > MAX_WRITTEN:
            raise Refusal("it writes more than {0} MiB".format(MAX_WRITTEN >> 20))

    def _is(self, path: str, kind: str) -> bool:
        node = self.tree.nodes.get(path)
        return node is not None and node.kind == kind

    # calls

    def _stat(self, text: str) -> Sequence[Any]:
        node = self.tree.nodes.get(self._place(text, False))
        return (None,) if node is None else (_KINDS[node.kind], _size(node), node.uid, node.gid)

    def _readdir(self, text: str) -> Sequence[Any]:
        path = self._place(text, True)
        if not self._is(path, DIR):
            return None, latin("{0}: No such directory".format(_path_of(text))), _ENOENT
        return (latin("/".join(sorted(self._names(path)))),)

    def _names(self, path: str) -> List[str]:
        start = path + "/" if path else ""
        rests = (each[len(start) :] for each in self.tree.nodes if each.startswith(start))
        return [rest for rest in rests if rest and "/" not in rest]

    def _filecmp(self, one: str, other: str) -> Sequence[Any]:
        first, second = self._place(one, True), self._place(other, True)
        if not self._is(first, FILE) or not self._is(second, FILE):
            return (2,)
        return (0 if self.tree.get(first).digest() == self.tree.get(second).digest() else 1,)

    def _copy(self, one: str, other: str) -> Sequence[Any]:
        """Copy a file with its owner, mode and time; a parent that is not there is made, as packages' own are."""
        source, target = self._place(one, True), self._place(other, False)
        if not self._is(source, FILE) or target in self.tree:
            return (2,)
        target = self._mine(other, False)
        node = self.tree.get(source)
        if node.mode & _SET_ID:
            raise Refusal("it wants to copy /{0}, which runs as somebody else".format(plain(source)))
        self._check_secret(source)
        self.tree.put(target, replace(node, group=None))
        return ()

    def _symlink(self, aim: str, text: str) -> Sequence[Any]:
        path = self._mine(text, False)
        _check_length(aim)
        if not aim or "\0" in aim:
            raise Refusal("it wants the link /{0} to lead to {1!r}, which is no path".format(plain(path), plain(aim)))
        if path in self.tree:
            return None, latin("{0}: File exists".format(_path_of(aim))), _EEXIST
        if not self._is(path.rpartition("/")[0], DIR):
            return None, latin("{0}: No such file or directory".format(_path_of(aim))), _ENOENT
        self.tree.link(path, _path_of(aim))
        return (True,)

    def _open(self, text: str, kind: str) -> Sequence[Any]:
        path = self._place(text, True)
        there = self._is(path, FILE)
        if path in self.tree and not there:
            return None, "Is a directory", _EISDIR
        if kind == "r":
            return (self._file(path).decode("latin-1"),) if there else (None, "No such file or directory", _ENOENT)
        self._mine(text, True)
        if not self._is(path.rpartition("/")[0], DIR):
            return None, "No such file or directory", _ENOENT
        if kind == "w" or not there:
            self._write(text, "")
            return ("",)
        return (self._file(path).decode("latin-1"),)

    def _write(self, text: str, data: str) -> Sequence[Any]:
        path = self._mine(text, True)
        self._count(len(data))
        node = self.tree.nodes.get(path, Node(FILE, 0o644))
        if node.kind != FILE:
            raise Refusal("it wants to write to /{0}, which is no file".format(plain(path)))
        # it has no time of its own any more, and is no second name of another file
        self.tree.put(path, replace(node, data=data.encode("latin-1"), source=None, group=None, mtime=0))
        return (True,)

    def _remove(self, text: str) -> Sequence[Any]:
        if self._place(text, False) not in self.tree:
            return (True,)
        path = self._mine(text, False)
        if self._is(path, DIR) and self._names(path):
            return None, "Directory not empty", _ENOTEMPTY
        del self.tree.nodes[path]
        return (True,)

    def _rename(self, one: str, other: str) -> Sequence[Any]:
        if self._place(one, False) not in self.tree:
            return None, "No such file or directory", _ENOENT
        source, target = self._mine(one, False), self._mine(other, False)
        if self._is(source, DIR) or self._is(target, DIR):
            raise Refusal("it wants to rename the folder /{0}".format(plain(source)))
        if source != target:
            self.tree.put(target, self.tree.nodes.pop(source))
        return (True,)

    def _print(self, text: str) -> Sequence[Any]:
        self._said += len(text) + 1
        if self._said > MAX_SAID:
            raise Refusal("it says more than {0} KiB".format(MAX_SAID >> 10))
        self.messages.append(_path_of(text))
        return ()

    def _exec(self, call: str, argv: str) -> Sequence[Any]:
        raise Refusal("{0}: it needs the program {1}".format(plain(call), plain(_path_of(argv)) or "?"))


def _size(node: Node) -> int:
    if node.kind == LINK:
        return len(node.target.encode("utf-8", "surrogateescape"))
    if node.kind == DIR:
        return 0
    if node.data is not None or node.source is None:
        return len(node.data or b"")
    return os.path.getsize(node.source)
