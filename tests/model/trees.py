# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real directories as the contents of datasets and snapshots: copying, emptying and comparing them."""

from __future__ import annotations

import os
import stat
from typing import Dict, NamedTuple, Tuple

from ansible_collections.nanozfs.fleet.tests.model.machine import copy_sparse

#: How far the clock of file times may lag behind the one of the system (a timer tick), in nanoseconds. A file that was
#: changed no longer before a copy than this may change again afterwards and keep its time.
TICK = 20_000_000

#: below this size what a file occupies is what it holds, above it holes do not count
_SMALL = 1 << 16


class Entry(NamedTuple):
    """What makes a file, directory or link what it is."""

    mode: int
    owner: Tuple[int, int]
    mtime: int
    size: int
    detail: str


def _entry(path: str, status: os.stat_result) -> Entry:
    size, detail = 0, ""
    if stat.S_ISREG(status.st_mode):
        size = status.st_size
    elif stat.S_ISLNK(status.st_mode):
        detail = os.readlink(path)
    elif not stat.S_ISDIR(status.st_mode):
        detail = str(status.st_rdev)
    return Entry(status.st_mode, (status.st_uid, status.st_gid), status.st_mtime_ns, size, detail)


class Catalogue(NamedTuple):
    """Everything below a directory by relative path, and how many bytes each file occupies. ``.`` is the top itself."""

    folder: str
    entries: Dict[str, Entry]
    stored: Dict[str, int]


def catalogue(folder: str) -> Catalogue:
    """Look through a directory. What disappears meanwhile is left out: programs go on working in live trees."""
    found = Catalogue(folder, {".": _entry(folder, os.lstat(folder))}, {})
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(folder, below)) as entries:
            for each in entries:
                relative = below + each.name
                try:
                    status = each.stat(follow_symlinks=False)
                    found.entries[relative] = _entry(each.path, status)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(relative + "/")
                elif stat.S_ISREG(status.st_mode):
                    found.stored[relative] = _stored(status)
    return found


def _stored(status: os.stat_result) -> int:
    return status.st_size if status.st_size <= _SMALL else min(status.st_size, status.st_blocks * 512)


def alike(name: str, first: Catalogue, second: Catalogue, copied: int) -> bool:
    """Whether both directories have the same thing under a name.

    :param copied: when *first* was made as a copy, in nanoseconds since the epoch. Contents are compared only where
        size and time could be the same by accident.
    """
    one, two = first.entries.get(name), second.entries.get(name)
    if one is None or one != two:
        return False
    if not stat.S_ISREG(one.mode) or one.mtime < copied - TICK:
        return True
    with open(os.path.join(first.folder, name), "rb") as old, open(os.path.join(second.folder, name), "rb") as new:
        return old.read() == new.read()


def copy(source: str, target: str) -> None:
    """Make *target*, which is empty or not there yet, the same as *source*: links, owners, attributes and times too."""
    _copy_directory(source, target, {})


def _copy_directory(source: str, target: str, linked: Dict[Tuple[int, int], str]) -> None:
    os.makedirs(target, exist_ok=True)
    status = os.lstat(source)
    for name in os.listdir(source):
        try:
            _copy_entry(os.path.join(source, name), os.path.join(target, name), linked)
        except FileNotFoundError:
            continue
    _take_over(source, status, target)


def _copy_entry(source: str, target: str, linked: Dict[Tuple[int, int], str]) -> None:
    status = os.lstat(source)
    if stat.S_ISDIR(status.st_mode):
        _copy_directory(source, target, linked)
        return
    if status.st_nlink > 1:
        other = linked.setdefault((status.st_dev, status.st_ino), target)
        if other != target:
            os.link(other, target, follow_symlinks=False)
            return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(status.st_mode):
        copy_sparse(source, target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    _take_over(source, status, target)


def _take_over(source: str, status: os.stat_result, target: str) -> None:
    """Give *target* owner, mode, attributes and times. The owner comes first: changing it takes setuid bits away."""
    if os.geteuid() == 0:
        os.lchown(target, status.st_uid, status.st_gid)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(source):
            if name.startswith("user."):
                os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def empty(folder: str) -> None:
    """Remove everything in a directory but not the directory, which may be mounted somewhere."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            empty(path)
            try:
                os.rmdir(path)
            except OSError:
                continue  # something is mounted on it; what is copied back goes into it
        else:
            os.unlink(path)


def remove(folder: str) -> None:
    """Remove a directory with all that is in it, if it is there."""
    if os.path.isdir(folder):
        empty(folder)
        os.rmdir(folder)
