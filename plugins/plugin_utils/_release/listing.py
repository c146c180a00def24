# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of the files in an image, which is published with it.

It is read from the image itself, so it is the same for one that was built here and one that was built elsewhere. The
lines are those of mtree(5); before them, as comments, is what the image says of itself.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import stat
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import (
    TYPE_DIR,
    TYPE_FILE,
    TYPE_LINK,
    TYPE_MASK,
    Ufs,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.codec import BadPayload, unpack_all
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import IMAGE_JSON
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.metalog import unvis
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, LINK, vis

KINDS = {TYPE_DIR: DIR, TYPE_FILE: FILE, TYPE_LINK: LINK}

#: no list that we read is larger, packed or not (bytes): a hundred thousand files take 20 MB
MAX_LISTING = 128 << 20

_XZ_MAGIC = b"\xfd7zXZ\0"


class BadListing(FleetError):
    """A list of files that cannot be read."""


@dataclass(frozen=True)
class Entry:
    """One path of an image. ``mtime`` is in seconds since the epoch, ``size`` in bytes and 0 for what is no file.

    :param kind: ``dir``, ``file`` or ``link``.
    :param links: how many names the file has.
    :param target: where a symbolic link points.
    :param sha256: of the content of a file.
    """

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    links: int = 1
    size: int = 0
    target: str = ""
    sha256: str = ""

    def line(self, path: str) -> str:
        """The line of mtree(5) for it."""
        words = [vis("./" + path) if path else ".", "type=" + self.kind]
        words += ["uid={0}".format(self.uid), "gid={0}".format(self.gid), "mode={0:04o}".format(self.mode)]
        words.append("time={0}.0".format(self.mtime))
        if self.kind == FILE:
            words += ["nlink={0}".format(self.links), "size={0}".format(self.size), "sha256=" + self.sha256]
        if self.kind == LINK:
            words.append("link=" + vis(self.target))
        return " ".join(words)


@dataclass(frozen=True)
class Listing:
    """What is in an image.

    :param header: ``image`` and ``origin``, what the image says of itself (``origin`` only where it does), and
        ``filesystem``, what kind of file system it is.
    :param entries: by path; the root is ``""``.
    """

    header: Mapping[str, Any]
    entries: Mapping[str, Entry]

    def encode(self) -> bytes:
        """The file that is published."""
        lines = ["#mtree"]
        lines += ["# " + line for line in json.dumps(self.header, indent=1, sort_keys=True).split("\n")]
        lines += [entry.line(path) for path, entry in sorted(self.entries.items())]
        return lzma.compress(("\n".join(lines) + "\n").encode("ascii"), preset=6)


def read_listing(ufs: Ufs) -> Listing:
    """List an image, which takes reading all of it.

    :raises NotUfs: when its file system is damaged.
    :raises BadListing: when what it says of itself cannot be read.
    """
    entries: Dict[str, Entry] = {}
    digests: Dict[int, str] = {}
    for path, number, inode in ufs.inodes():
        kind = KINDS.get(inode.mode & TYPE_MASK)
        if kind is None:  # devices have no place in an image: devfs makes them
            continue
        if kind == FILE and number not in digests:
            total = hashlib.sha256()
            for piece in ufs.pieces(inode):
                total.update(piece)
            digests[number] = total.hexdigest()
        entries[path.lstrip("/")] = Entry(
            kind=kind,
            mode=stat.S_IMODE(inode.mode),
            uid=inode.uid,
            gid=inode.gid,
            mtime=inode.mtime,
            links=inode.links if kind == FILE else 1,
            size=inode.size if kind == FILE else 0,
            target=ufs.link_target(inode) if kind == LINK else "",
            sha256=digests.get(number, ""),
        )
    block = ufs.superblock
    header: Dict[str, Any] = {
        "filesystem": {"ufs": block.version, "size": block.size, "block": block.bsize, "fragment": block.fsize}
    }
    for key, name in (("image", IMAGE_JSON), ("origin", ORIGIN_JSON)):
        raw = ufs.read(name)
        if raw is not None:
            try:
                header[key] = json.loads(raw.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise BadListing("{0} in the image cannot be read: {1}".format(name, error))
    return Listing(header, entries)


def _entry(words: Mapping[str, str]) -> Entry:
    return Entry(
        kind=words["type"],
        mode=int(words["mode"], 8),
        uid=int(words["uid"]),
        gid=int(words["gid"]),
        mtime=int(words["time"].partition(".")[0]),
        links=int(words.get("nlink", "1")),
        size=int(words.get("size", "0")),
        target=unvis(words.get("link", "")),
        sha256=words.get("sha256", ""),
    )


def parse_listing(raw: bytes) -> Listing:
    """Read a list, packed with xz or not.

    :raises BadListing: when it is damaged or too large.
    """
    try:
        if raw.startswith(_XZ_MAGIC):
            raw = unpack_all(raw, MAX_LISTING)
        comments: List[str] = []
        entries: Dict[str, Entry] = {}
        lines = raw.decode("ascii").split("\n")
        if lines[0] != "#mtree":
            raise ValueError("it does not begin with #mtree")
        for line in lines[1:]:
            if line.startswith("#"):
                comments.append(line[1:])
            elif line:
                path, *words = line.split(" ")
                entries["" if path == "." else unvis(path[2:])] = _entry(dict(word.split("=", 1) for word in words))
        header = json.loads("\n".join(comments))
        if not isinstance(header, dict):
            raise ValueError("its comments are no JSON object")
        return Listing(header, entries)
    except (BadPayload, ValueError, KeyError, IndexError, RecursionError) as error:
        raise BadListing("the list of files cannot be read: {0}".format(error))
