# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file tree of an image while it is put together.

A tree is a plan, not a folder: for every path what it is, whose it is and where its content comes from. So an image can
be built by an ordinary user, with owners and modes that this user could never give to a file, and the plan itself is
what the identity of a build is made from.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import stat
import tarfile
import zlib
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file

DIR, FILE, LINK = "dir", "file", "link"

#: more symbolic links are not followed (MAXSYMLINKS in sys/sys/param.h)
MAX_HOPS = 32

#: uid and gid of a member of an archive
Owner = Callable[[tarfile.TarInfo], Tuple[int, int]]


def _mode(mode: int, usual: int, exact: bool) -> int:
    """The mode in the image of what has *mode* here."""
    if exact:
        return stat.S_IMODE(mode)
    return usual if mode & 0o077 else usual & 0o700


class TreeError(FleetError):
    """The tree of an image cannot be put together."""


@dataclass(frozen=True)
class Node:
    """One path of the tree.

    ``source`` is the path of the content on this machine, ``data`` the content itself, ``target`` where a symbolic link
    points. ``group`` joins hard links: nodes with the same one are one file. ``mtime`` is in seconds since the epoch.
    """

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    source: Optional[str] = None
    data: Optional[bytes] = None
    target: str = ""
    group: Optional[str] = None

    def content(self) -> bytes:
        """The content of a file."""
        if self.data is not None:
            return self.data
        if self.source is None:
            return b""
        with open(self.source, "rb") as file:
            return file.read()

    def digest(self) -> str:
        """SHA-256 of the content of a file."""
        if self.data is not None or self.source is None:
            return hashlib.sha256(self.data or b"").hexdigest()
        return digest_file(self.source)


def clean(path: str) -> str:
    """A path within the tree: relative, without ``.`` and ``..``.

    :raises TreeError: when it leads out of the tree.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise TreeError("the path {0!r} leads out of the image".format(path))
    return "/".join(parts)


class Tree:
    """The tree of an image. Paths are relative to its root, without a leading slash; the root itself is ``""``."""

    def __init__(self) -> None:
        self.nodes: Dict[str, Node] = {"": Node(DIR, 0o755)}

    def __contains__(self, path: str) -> bool:
        return path in self.nodes

    def get(self, path: str) -> Node:
        """The node of a path.

        :raises TreeError: when there is none.
        """
        if path not in self.nodes:
            raise TreeError("the image has no {0}".format(path))
        return self.nodes[path]

    def paths(self) -> List[str]:
        """All paths, parents before what is in them."""
        return sorted(self.nodes)

    def below(self, path: str) -> List[str]:
        """The paths in a directory and in the ones below it."""
        return [each for each in self.paths() if each.startswith(path + "/")]

    def put(self, path: str, node: Node) -> None:
        """Add or replace a node, with the directories on the way to it.

        :raises TreeError: when something else than a directory is in the way.
        """
        path = self.resolve(clean(path))
        parent = path.rpartition("/")[0]
        if parent not in self.nodes:
            self.put(parent, Node(DIR, 0o755))
        if self.nodes[parent].kind != DIR:
            raise TreeError("{0} cannot be put into the image: {1} is no directory".format(path, parent))
        old = self.nodes.get(path)
        if old is not None and old.kind == DIR and node.kind != DIR and self.below(path):
            raise TreeError("{0} is a directory with something in it and cannot be replaced".format(path))
        self.nodes[path] = node

    def resolve(self, path: str) -> str:
        """The path with symbolic links among its parents followed, as the running system would follow them.

        :raises TreeError: when they lead nowhere.
        """
        *parents, name = path.split("/")
        return "/".join([*self._walk(parents, path), name])

    def follow(self, path: str) -> Optional[Node]:
        """What a path leads to in the running system, with all links followed; ``None`` where they lead nowhere."""
        try:
            return self.nodes.get(self.real(path))
        except TreeError:
            return None

    def real(self, path: str) -> str:
        """The path with all symbolic links followed, also at its end; there need not be anything.

        :raises TreeError: when they lead nowhere.
        """
        return "/".join(self._walk(path.split("/"), path))

    def _walk(self, names: List[str], path: str) -> List[str]:
        """The names of the directories that *names* lead through; *path* is for the error."""
        done: List[str] = []
        hops, parts = 0, names[::-1]
        while parts:
            part = parts.pop()
            node = self.nodes.get("/".join([*done, part]))
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
            elif node is None or node.kind != LINK:
                done.append(part)
            else:
                hops += 1
                if hops > MAX_HOPS:
                    raise TreeError("{0} leads through symbolic links without end".format(path))
                done = [] if node.target.startswith("/") else done
                parts += node.target.split("/")[::-1]
        return done

    def _is_link(self, path: str) -> bool:
        node = self.nodes.get(self.resolve(path))
        return node is not None and node.kind == LINK

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Add a text file."""
        self.put(path, Node(FILE, mode, data=text.encode("utf-8")))

    def append(self, path: str, text: str) -> None:
        """Add lines to a text file, which need not be there.

        :raises TreeError: when it is something else than a file.
        """
        old = self.nodes.get(self.resolve(path))
        if old is not None and old.kind != FILE:
            raise TreeError("{0} is a {1}, and must be a file: lines are added to it".format(path, old.kind))
        before = old.content() if old else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        self.put(path, replace(old or Node(FILE, 0o644), data=before + text.encode("utf-8"), source=None, group=None))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.put(path, Node(LINK, 0o755, target=target))

    def remove(self, path: str) -> None:
        """Take out a path and everything below it; one that is not there is fine."""
        for each in [path] + self.below(path):
            self.nodes.pop(each, None)

    def move(self, old: str, new: str) -> None:
        """Give a directory or file with everything below it another place."""
        for each in [old] + self.below(old):
            node = self.nodes.pop(each)
            self.put(new + each[len(old) :], node)

    def copy(self, old: str, new: str) -> None:
        """Show a directory with everything below it in a second place, files as hard links."""
        for each in [old] + self.below(old):
            node = self.nodes[each]
            if node.kind == FILE and node.group is None:
                node = replace(node, group="copy:" + each)
                self.nodes[each] = node
            self.put(new + each[len(old) :], node)

    # where trees come from

    def add_folder(self, folder: str, exact: bool = False) -> None:
        """Lay a folder of this machine over the tree. Everything in it belongs to root.

        A folder that people keep files in, in git say, has whatever modes their umask made. So a file that can be
        executed here can be executed there, and what only its owner may read here is as private there; beyond that
        modes are the usual ones. When a file was last touched here says nothing of the image and is left out.

        :param exact: the folder is the root of a system, made by ``make installworld`` or by unpacking a release as
            root: modes are as they are there.
        :raises TreeError: when the folder is missing or holds devices.
        """
        if not os.path.isdir(folder):
            raise TreeError("there is no folder {0}".format(folder))
        for directory, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(folders + files):
                full = os.path.join(directory, name)
                path = os.path.relpath(full, folder)
                info = os.lstat(full)
                if stat.S_ISLNK(info.st_mode):
                    self.put(path, Node(LINK, 0o755, target=os.readlink(full)))
                elif stat.S_ISDIR(info.st_mode):
                    # a directory that is there keeps its owner and mode; a link to one is gone through
                    there = self.nodes.get(self.resolve(path))
                    if there is None or there.kind == FILE:
                        self.put(path, Node(DIR, _mode(info.st_mode, 0o755, exact)))
                elif stat.S_ISREG(info.st_mode):
                    mode = _mode(info.st_mode, 0o755 if info.st_mode & 0o100 else 0o644, exact)
                    group = "{0}:{1}".format(info.st_dev, info.st_ino) if info.st_nlink > 1 else None
                    self.put(path, Node(FILE, mode, source=full, group=group))
                else:
                    raise TreeError("{0} is neither a file nor a folder nor a symbolic link".format(full))

    def add_tree(self, other: Tree) -> None:
        """Lay another tree over this one; its directories count, except where a link to one is gone through."""
        for path in other.paths():
            node = other.nodes[path]
            if not path:
                self.nodes[""] = node
            elif node.kind != DIR or not self._is_link(path):
                self.put(path, node)

    def add_archive(self, archive: str, scratch: str) -> None:
        """Lay a tar archive over the tree, with the owners, modes and hard links that it names.

        :param scratch: a folder where the contents may be unpacked to, as files without meaningful names.
        :raises TreeError: when it cannot be read or leads out of the tree.
        """
        try:
            with tarfile.open(archive) as tar:
                self.add_members(tar, tar, os.path.join(scratch, _key(archive)))
        except (OSError, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise TreeError("the archive {0} cannot be read: {1}".format(archive, error))

    def add_members(
        self, tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo], unpacked: str, owner: Optional[Owner] = None
    ) -> None:
        """Lay members of a tar archive over the tree.

        :param members: in the order in which they are in the archive, which may be a stream.
        :param unpacked: path, without its end, of the files that the contents are unpacked to.
        :param owner: tells uid and gid of a member, where its numbers are not those that count.
        """
        names: Dict[str, str] = {}
        for number, member in enumerate(members):
            if owner is not None:
                member.uid, member.gid = owner(member)
            self._add_member(tar, member, "{0}-{1}".format(unpacked, number), names)
        # the sum that tells of damage is at the end of what was packed, behind the end of the archive
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass

    def _add_member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, unpacked: str, names: Dict[str, str]) -> None:
        path = clean(member.name)
        owned = Node(FILE, member.mode & 0o7777, uid=member.uid, gid=member.gid, mtime=int(member.mtime))
        if member.isdir():
            there = self.nodes.get(self.resolve(path))
            if there is None or there.kind == DIR:
                if path:
                    self.put(path, replace(owned, kind=DIR))
                else:
                    self.nodes[""] = replace(owned, kind=DIR)
        elif member.issym():
            self.put(path, replace(owned, kind=LINK, mode=0o755, target=member.linkname))
        elif member.islnk():
            first = names.get(clean(member.linkname))
            if first is None:
                raise TreeError("the archive links {0} to {1}, which it does not hold".format(path, member.linkname))
            # another archive may have a file of that name too, which must not become one with this
            group = self.nodes[first].group or self.nodes[first].source
            self.nodes[first] = replace(self.nodes[first], group=group)
            self.put(path, self.nodes[first])
            names[path] = self.resolve(path)
        elif member.isfile():
            content = tar.extractfile(member)
            with open(unpacked, "wb") as file:
                for piece in iter(lambda: (content or io.BytesIO()).read(1 << 20), b""):
                    file.write(piece)
            self.put(path, replace(owned, source=unpacked))
            names[path] = self.resolve(path)
        # device nodes and fifos have no place in an image: devfs makes them

    # what becomes of a tree

    def date(self, epoch: int) -> None:
        """Give *epoch* (seconds) to everything that has no time of its own: only archives say when a file is from."""
        for path, node in self.nodes.items():
            if node.mtime <= 0:
                self.nodes[path] = replace(node, mtime=epoch)

    def newest(self) -> int:
        """The latest of all times in the tree, in seconds since the epoch; 0 for one that has none."""
        return max((node.mtime for node in self.nodes.values()), default=0)

    def lines(self, digests: bool) -> Iterator[str]:
        """The tree as an mtree(5) specification, sorted.

        :param digests: with the digest of every file, for the identity of a build; makefs does not want it.
        """
        known: Dict[str, str] = {}  # a file is read once for all its names: /rescue has 150 of one
        for path in self.paths():
            node = self.nodes[path]
            words = [vis("./" + path) if path else ".", "type=" + node.kind]
            words += ["uid={0}".format(node.uid), "gid={0}".format(node.gid), "mode={0:04o}".format(node.mode)]
            words.append("time={0}.0".format(node.mtime))
            if node.kind == LINK:
                words.append("link=" + vis(node.target))
            if digests and node.kind == FILE:
                group = node.group or path
                words.append("sha256=" + (known.get(group) or known.setdefault(group, node.digest())))
            yield " ".join(words)

    def groups(self) -> List[List[str]]:
        """The names of each file that has several, in order."""
        found: Dict[str, List[str]] = {}
        for path in self.paths():
            group = self.nodes[path].group
            if group is not None:
                found.setdefault(group, []).append(path)
        return [paths for paths in found.values() if len(paths) > 1]

    def identity(self) -> str:
        """A digest of everything that the tree says: contents included, and which names are one file."""
        total = hashlib.sha256()
        first = {path: paths[0] for paths in self.groups() for path in paths}
        for path, line in zip(self.paths(), self.lines(digests=True)):
            same = first.get(path, path)
            total.update((line if same == path else "{0} same={1}".format(line, vis(same))).encode("utf-8") + b"\n")
        return total.hexdigest()

    def stage(self, folder: str, scratch: Optional[str] = None) -> None:
        """Lay the tree out in an empty folder, for makefs to read. Owners and modes are not given here.

        :param scratch: what archives were unpacked to, in the same file system: its files are not copied again.
        """
        first: Dict[str, str] = {}
        linked: Set[str] = set()
        for path in self.paths():
            node = self.nodes[path]
            full = os.path.join(folder, path)
            if node.kind == DIR:
                os.makedirs(full, exist_ok=True)
            elif node.kind == LINK:
                os.symlink(node.target, full)
            elif node.group is not None and node.group in first:
                os.link(first[node.group], full)
            else:
                source = node.source or ""
                ours = scratch is not None and node.data is None and source.startswith(scratch + os.sep)
                if ours and source not in linked:  # a second link would be a hard link in the image
                    linked.add(source)
                    os.link(source, full)
                else:
                    self._stage_file(node, full)
                if node.group is not None:
                    first[node.group] = full

    @staticmethod
    def _stage_file(node: Node, full: str) -> None:
        with open(full, "wb") as file:
            if node.data is not None or node.source is None:
                file.write(node.data or b"")
                return
            with open(node.source, "rb") as content:
                for piece in iter(lambda: content.read(1 << 20), b""):
                    file.write(piece)


def _key(archive: str) -> str:
    return hashlib.sha256(os.path.abspath(archive).encode("utf-8")).hexdigest()[:12]


def vis(text: str) -> str:
    """A path as it stands in mtree(5): blanks and the like in octal."""
    return "".join(
        chr(byte) if 33 <= byte <= 126 and chr(byte) not in "\\#*?[" else "\\{0:03o}".format(byte)
        for byte in text.encode("utf-8", "surrogateescape")
    )
