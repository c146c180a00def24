# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a file of /cfg was made against: the file that the image had in its place, which it hides from then on.

An upgrade merges the file with what the new system has there, and needs that third side for it, also when no slice
holds the image any more. So it is kept beside the files, in :data:`NAME` of /cfg, and goes where they go: with a
backup, with the configuration of a trial, and back with a revert. It is written together with the files, in one burst.
"""

from __future__ import annotations

import fnmatch
import functools
import gzip
import hashlib
import json
import os
import stat
import zlib
from typing import Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.burst import Make, write_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import NEVER, Places, content, parents
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import made_from

#: in /cfg: JSON, packed with gzip. The early hook lays nothing of that kind over /etc
NAME = rules.ORIGINS

#: what a path can be; BEHIND: it cannot be there, because something on the way to it is no folder
FILE, LINK, FOLDER, OTHER, NONE, BEHIND = "file", "link", "folder", "other", "none", "behind"

#: of a larger file only the digest is kept (bytes)
MOST = 256 << 10

#: what the notes may unpack to (bytes): base text of a whole /etc and more
_LIMIT = 16 << 20

#: the most that a character of a path takes in them (bytes): six for ``\\uXXXX``, and what is around each
_AROUND = 8

_FORMAT = 1

#: any bytes as text, and back
_TEXT = ("utf-8", "surrogateescape")


class Entry(NamedTuple):
    """What a tree has at a path; of a link, ``content`` is where it leads."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: bytes = b""

    @property
    def digest(self) -> str:
        """SHA-256 of what is in it; empty of what has no content."""
        return hashlib.sha256(self.content).hexdigest() if self.kind in (FILE, LINK) else ""

    @property
    def attributes(self) -> Tuple[int, int, int]:
        """Mode and owners; those of a link say nothing."""
        return (0, 0, 0) if self.kind == LINK else (self.mode, self.uid, self.gid)

    def same(self, other: Entry) -> bool:
        """Whether both are the same, with modes and owners."""
        return (self.kind, self.attributes, self.content) == (other.kind, other.attributes, other.content)


ABSENT = Entry(NONE)


class Folder:
    """A tree in a folder of this system.

    :param top: that folder.
    """

    def __init__(self, top: str) -> None:
        self.top = top

    def entry(self, path: str) -> Entry:
        """What is there; links are not followed.

        :raises OSError: when it cannot be read.
        """
        for parent in parents(path):
            try:
                info = os.lstat(os.path.join(self.top, parent))
            except FileNotFoundError:
                return ABSENT
            if not stat.S_ISDIR(info.st_mode):
                return Entry(BEHIND, content=os.fsencode(parent))
        full = os.path.join(self.top, path)
        try:
            info = os.lstat(full)
        except FileNotFoundError:
            return ABSENT
        kind = kind_of(info.st_mode)
        text = content(full, info) if kind in (FILE, LINK) else b""
        return Entry(kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, text)


def kind_of(mode: int) -> str:
    """What a mode of inode(5) says that something is."""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISLNK(mode):
        return LINK
    return FOLDER if stat.S_ISDIR(mode) else OTHER


class Origin(NamedTuple):
    """What a file of /cfg was made against.

    :param digest: see :attr:`Entry.digest`.
    :param content: ``None`` where it was too much to be kept.
    :param assumed: nobody noted it when the file came to /cfg: it is what the image had that ran later.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    digest: str
    content: Optional[bytes]
    assumed: bool

    def entry(self, known: Sequence[Entry]) -> Optional[Entry]:
        """The third side of a merge.

        :param known: entries of images that are at hand, among which it is looked for where it was not kept.
        :returns: ``None`` where it is not to be had any more.
        """
        text = self.content
        if text is None:
            text = next((each.content for each in known if (each.kind, each.digest) == (self.kind, self.digest)), None)
        return None if text is None else Entry(self.kind, self.mode, self.uid, self.gid, text)


def origin_of(entry: Entry, assumed: bool) -> Origin:
    """The note of a file that is made against an entry of the image.

    :param assumed: see :class:`Origin`.
    """
    kept = entry.content if len(entry.content) <= MOST else None
    return Origin(entry.kind, entry.mode, entry.uid, entry.gid, entry.digest, kept, assumed)


def concerns(path: str) -> bool:
    """Whether a file of /cfg is one that is merged: not what every start or a program makes anew of another file, and
    not what only the image has.
    """
    return made_from(path) is None and not any(
        fnmatch.fnmatchcase(path, pattern) for pattern in NEVER + rules.IMAGE_ONLY
    )


Notes = Dict[str, Origin]


def encode(notes: Mapping[str, Origin]) -> bytes:
    """The notes as a file; the same notes give the same bytes.

    Where all texts together would be more than is ever read again, the largest are left out, as those are that are too
    large by themselves: notes that nobody can read would stop every later upgrade.
    """
    each = {path: json.dumps(_as_json(notes[path]), indent=0) for path in sorted(notes)}
    size = _AROUND * 8 + sum(map(len, each.values())) + sum(_AROUND * (len(path) + 1) for path in each)
    for path in sorted(each, key=lambda path: (-len(each[path]), path)):
        if size < _LIMIT:
            break
        size -= len(each[path])
        each[path] = json.dumps(_as_json(notes[path]._replace(content=None)), indent=0)
        size += len(each[path])
    texts = ",\n".join("{0}: {1}".format(json.dumps(path), text) for path, text in each.items())
    raw = '{{"format": {0}, "files": {{\n{1}\n}}}}\n'.format(_FORMAT, texts).encode("ascii")
    return gzip.compress(raw, 9, mtime=0)


def _as_json(origin: Origin) -> Dict[str, object]:
    found: Dict[str, object] = origin._asdict()
    found["content"] = None if origin.content is None else origin.content.decode(*_TEXT)
    return found


def read(cfg: str) -> Notes:
    """The notes of a configuration; none where it has no such file.

    :param cfg: the folder.
    :raises FleetError: when they cannot be read.
    """
    path = os.path.join(cfg, NAME)
    try:
        # without waiting: a fifo would have it wait for a writer for ever
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(path, error.strerror)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _damaged(path, "it is no file")
        with open(handle, "rb", closefd=False) as file:
            return decode(file.read(_LIMIT), path)
    except OSError as error:
        raise _damaged(path, error.strerror)
    finally:
        os.close(handle)


def decode(raw: bytes, path: str = NAME) -> Notes:
    """Notes from a file.

    :param path: its name, for messages.
    :raises FleetError: when it is none of ours, or damaged.
    """
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(raw, _LIMIT)
        if not unpacker.eof:
            raise ValueError("it ends too early, or is too large")
        found = json.loads(text)
        if found["format"] != _FORMAT:
            raise ValueError("it has format {0}".format(found["format"]))
        return {path: _from_json(each) for path, each in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        raise _damaged(path, str(error))


def _from_json(found: Mapping[str, object]) -> Origin:
    mode, uid, gid = (int(str(found[key])) for key in ("mode", "uid", "gid"))
    text = found["content"]
    kept = None if text is None else str(text).encode(*_TEXT)
    return Origin(str(found["kind"]), mode, uid, gid, str(found["digest"]), kept, found["assumed"] is True)


def _damaged(path: str, why: Optional[str]) -> FleetError:
    return FleetError(
        "{0}, the notes of what the files of /cfg were made against, cannot be read: {1}".format(path, why),
        safe="nothing was changed",
        todo="get it back from a backup, or remove it (`mount -u -o rw /cfg; rm -r /cfg/{0}; mount -u -o ro /cfg`): "
        "the files are then taken to be made against the system that runs".format(NAME),
    )


def after_write(places: Places, written: Iterable[str], gone: Iterable[str], assumed: bool = False) -> Optional[bytes]:
    """The notes as they have to be when files were written to /cfg, or taken out of it.

    A file that is there already keeps its note: what it hides of later images is still missing in it.

    :param assumed: what runs may be another system than the one that the files are for.
    :returns: ``None`` where nothing changes by that; and where the notes cannot be read, which the next merge says.
    """
    try:
        before = read(places.cfg)
    except FleetError:
        return None
    after, base = dict(before), Folder(places.base)
    for path in gone:
        after.pop(path, None)
    for path in written:
        if path not in after and concerns(path):
            there = os.path.lexists(os.path.join(places.cfg, path))
            after[path] = origin_of(base.entry(path), assumed or there)
    return None if after == before else encode(after)


def made(notes: Optional[bytes]) -> Dict[str, Make]:
    """What writes the notes, for :meth:`burst.Tree.replace`; nothing where they are as they are."""
    if notes is None:
        return {}
    return {NAME: functools.partial(write_file, notes, 0o600, os.geteuid(), os.getegid())}
