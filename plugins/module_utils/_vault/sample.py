# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which files of a set are looked at when it is verified: by a seed, so that the same can be looked at again.

A set has many small files and a few big ones. They are sorted by size, and taken from each size in turn, so that those
that most of a restore's time goes to are among them.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import os
import re
import secrets
from typing import Dict, Iterator, List, NamedTuple, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.digests import LINK, OTHER, kind_of, open_folder
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.sets import DESCRIPTION

_SEED = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Member(NamedTuple):
    """A file or a link of a set.

    :param path: from the top of the set on, without a slash before it; as os.fsdecode(3) has it.
    """

    path: str
    info: os.stat_result

    @property
    def kind(self) -> str:
        return kind_of(self.info)


class Drawn(NamedTuple):
    """What was drawn.

    :param members: in the order in which they are looked at.
    :param entries: how many files, folders and so on the set has, with its top.
    :param unread: folders that cannot be read, and why.
    """

    members: List[Member]
    entries: int
    unread: List[Tuple[str, str]]


def seed_of(text: str) -> str:
    """A seed that was given; a new one where none was.

    :raises Refused: when it is none.
    """
    if not text:
        return str(secrets.randbelow(10**9))
    if not _SEED.fullmatch(text):
        raise Refused(
            "{0!r} is no seed".format(printable(text)[:80]),
            safe="nothing was verified",
            todo="give at most 64 letters, digits, dots, dashes, underscores and colons",
        )
    return text


@contextlib.contextmanager
def _entries(tree: str, folder: str) -> Iterator[Iterator[os.DirEntry]]:
    """What is in a folder of a set, however long its path is.

    :raises OSError: when it cannot be read.
    """
    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle = open_folder(top, os.fsencode(folder))
    finally:
        os.close(top)
    try:
        with os.scandir(handle) as entries:
            yield entries
    finally:
        os.close(handle)


def _every(tree: str, unread: List[Tuple[str, str]]) -> Iterator[Member]:
    """All that is in a set, without its top.

    :param unread: gets the folders that cannot be read.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with _entries(tree, folder) as entries:
                for entry in entries:
                    path = folder + "/" + entry.name if folder else entry.name
                    yield Member(path, entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
        except OSError as error:
            unread.append((folder, str(error.strerror)))


def _class(member: Member) -> Tuple[str, int]:
    """What it is sorted by: kind, and for files how long it is, a step for each sixteen times more."""
    return member.kind, 0 if member.kind == LINK else (member.info.st_size.bit_length() + 3) // 4


def draw(tree: str, seed: str, most: int) -> Drawn:
    """Draw files and links from a set.

    One whose path is longer than the system takes (pathconf(2), PATH_MAX: 1024 bytes on FreeBSD) could not be restored
    by that path, and is only counted.

    :param most: how many.
    """
    longest_path = os.pathconf("/", "PC_PATH_MAX")
    unread: List[Tuple[str, str]] = []
    entries, number = 1, 0
    # of each class those with the smallest digests; a heap gives the largest of them away
    classes: Dict[Tuple[str, int], List[Tuple[int, int, Member]]] = {}
    for member in _every(tree, unread):
        entries += 1
        if member.kind == OTHER or member.path == DESCRIPTION:
            continue
        if len(os.fsencode(os.path.join(tree, member.path))) >= longest_path:
            continue
        number += 1
        name = os.fsencode(member.path)
        digest = hashlib.sha256(seed.encode("ascii") + b"\0" + name).digest()
        drawn = (-int.from_bytes(digest[:16], "big"), number, member)
        heap = classes.setdefault(_class(member), [])
        if len(heap) < most:
            heapq.heappush(heap, drawn)
        else:
            heapq.heappushpop(heap, drawn)
    queues = [sorted(heap, reverse=True) for _class_, heap in sorted(classes.items())]
    longest = max((len(queue) for queue in queues), default=0)
    members = [queue[turn][2] for turn in range(longest) for queue in queues if turn < len(queue)]
    return Drawn(members[:most], entries, unread)
