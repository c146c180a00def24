# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Writing to /cfg, which is mounted read-only and only open meanwhile, and to /etc: in one burst.

Files are staged beside their places first and renamed together: a power cut finds each of them old or new, and never
half.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from typing import Callable, Iterator, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import STAGING, parents
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner

#: makes a file at a path where nothing is yet, and returns when it is on the disk
Make = Callable[[str], None]

#: mode and numbers of user and group that a folder shall have; -1 for as it comes
Like = Callable[[str], Tuple[int, int, int]]


@contextlib.contextmanager
def alone(place: str, safe: str, again: str) -> Iterator[None]:
    """For one at a time, ``nanozfs save`` or a play.

    :param place: the folder whose lock is taken.
    :param safe: what is safe when another one has it.
    :param again: what to do again then.
    :raises Refused: when another one has it.
    """
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another save is at work", safe=safe, todo="wait for it and {0}".format(again))
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def writable(runner: Runner, place: str, safe: str) -> Iterator[None]:
    """Mounted for writing, and read-only again afterwards whatever happens.

    :param place: where it is mounted.
    :param safe: what is safe when that fails.
    :raises FleetError: when it fails.
    """
    runner.change(["mount", "-u", "-o", "rw", place], "open {0} for writing".format(place), safe=safe)
    try:
        yield
    finally:
        runner.change(
            ["mount", "-u", "-o", "ro", place],
            "make {0} read-only again".format(place),
            safe="what was written is complete",
            todo="`mount -u -o ro {0}`".format(place),
        )


class Tree:
    """A tree that files are put into: /cfg, or /etc.

    :param root: where it is.
    :param like: how a folder shall be that is made in it, by its path there.
    """

    def __init__(self, root: str, like: Like) -> None:
        self.root = root
        self.like = like

    def at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def replace(self, files: Mapping[str, Make], gone: Sequence[str], safe: str, again: str) -> None:
        """Put files in place: all staged and on the disk first, then all renames in one burst.

        :param files: by path, what makes each.
        :param gone: paths of files that are taken out.
        :param safe: what is safe as long as nothing was renamed.
        :param again: what to do when it fails.
        :raises FleetError: when it fails; before the renames nothing has changed.
        """
        staging = self.at(STAGING)
        try:
            shutil.rmtree(staging, ignore_errors=True)  # of a write that the power was cut from
            os.mkdir(staging, 0o700)
            renames = []
            for path in gone:
                self._check_way(path)
            for number, (path, make) in enumerate(files.items()):
                self._check_way(path)
                staged = os.path.join(staging, str(number))
                make(staged)
                renames.append((staged, self.at(path)))
            for path in files:
                self.make_folders(path)
            _flush(staging)
            safe = "every file in {0} is either the old or the new one".format(self.root)
            for staged, target in renames:
                os.rename(staged, target)
            for path in gone:
                os.unlink(self.at(path))
            for folder in sorted({os.path.dirname(self.at(path)) for path in (*files, *gone)}):
                _flush(folder)
        except OSError as error:
            raise FleetError(
                "could not write to {0}: {1} ({2})".format(self.root, error.strerror, error.filename),
                safe=safe,
                todo=again,
            )
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def force(self, files: Mapping[str, Make], gone: Sequence[str]) -> List[str]:
        """Put files in place where there is no room for both versions of them: what is there goes first.

        What fails does not keep the rest from being done.

        :returns: what failed, a sentence each.
        """
        failed = []
        shutil.rmtree(self.at(STAGING), ignore_errors=True)
        for path in (*gone, *files):
            try:
                self._check_way(path)
                if os.path.lexists(self.at(path)):
                    os.unlink(self.at(path))
            except OSError as error:
                failed.append("{0}: {1}".format(self.at(path), error.strerror))
        for path, make in files.items():
            try:
                self.make_folders(path)
                make(self.at(path))
            except OSError as error:
                failed.append("{0}: {1}".format(self.at(path), error.strerror))
        return failed

    def _check_way(self, path: str) -> None:
        """Refuse to write over a folder, through a file, or into whatever folder a link leads to."""
        for parent in parents(path):
            full = self.at(parent)
            if os.path.islink(full):
                raise OSError(errno.ENOTDIR, "a link is in the way, take it out first", full)
            if os.path.lexists(full) and not os.path.isdir(full):
                raise OSError(errno.ENOTDIR, "there is something else in the way of {0}".format(path), full)
        full = self.at(path)
        if os.path.isdir(full) and not os.path.islink(full):
            raise OSError(errno.EISDIR, "a folder is in the way", full)

    def make_folders(self, path: str) -> None:
        """The folders on the way to a file."""
        for parent in parents(path):
            target = self.at(parent)
            if not os.path.isdir(target):
                mode, uid, gid = self.like(parent)
                os.mkdir(target, 0o700)
                os.chown(target, uid, gid)
                os.chmod(target, mode)


def write_file(content: bytes, mode: int, uid: int, gid: int, path: str) -> None:
    """Make a file with its owner and mode, and on the disk.

    :param path: where nothing is yet.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as new:
        new.write(content)
        new.flush()
        info = os.fstat(handle)
        if (info.st_uid, info.st_gid) != (uid, gid):
            os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
        os.fsync(handle)


def copy_file(source: str, target: str) -> None:
    """Make a copy of a file or link with its owner, mode and times, and on the disk.

    :param target: where nothing is yet.
    """
    info = os.lstat(source)
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), target)
        os.lchown(target, info.st_uid, info.st_gid)
        return
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as new, open(source, "rb") as old:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fchown(handle, info.st_uid, info.st_gid)
        os.fchmod(handle, stat.S_IMODE(info.st_mode))
        os.utime(handle, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.fsync(handle)


def _flush(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
