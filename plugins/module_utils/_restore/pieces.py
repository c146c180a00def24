# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A file or a folder that comes back to a host that is alive: beside the live one, or in its place.

It is filled into a folder beside where it belongs, so it gets its name by rename(2), when it is complete. What is live
is never removed: it is kept as ``NAME.before-<when>``. Each step can be done again, after a cut at any point.

The folder that it belongs into may be a user's own, who can rename what is in it, and put a link in its place, at any
moment. So that one is opened through no link, the one that is filled must be ours and shut to others, and both are used
by their handles: what is done as root is done in these two, whatever they are called by then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import fileflags
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

_SAFE = "nothing was changed"

#: what can be done
FILL, PLACE, DONE = "fill", "place", "done"

#: bytes of a name (NAME_MAX)
_LONGEST = 255

#: what a folder that is filled is called, up to the id of the restore
_PREFIX = ".nanozfs-restore-"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Piece(NamedTuple):
    """What comes back.

    :param path: where it was, and is on the host.
    :param target: what it will be called.
    :param kept: what the live one is called then; empty where it comes beside.
    :param staging: the folder that is filled.
    """

    path: str
    target: str
    kept: str
    staging: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def home(self) -> str:
        """The folder that it gets its name in."""
        return os.path.dirname(self.staging)

    @property
    def arrived(self) -> str:
        """Where it is when it has come."""
        return os.path.join(self.staging, self.name)

    @property
    def ready(self) -> str:
        """What the folder that was filled is called from when all of it has arrived."""
        return self.staging + ".complete"

    @property
    def complete(self) -> str:
        """Where it is then."""
        return os.path.join(self.ready, self.name)


def piece(path: str, ident: str, stamp: str, in_place: bool, folder: str) -> Piece:
    """What comes back, and as what.

    :param path: on the host.
    :param stamp: when the backup was taken.
    :param folder: another folder for it; empty for the one where it was.
    :raises Refused: when it is no path.
    """
    if "\0" in path or not path.startswith("/") or os.path.normpath(path) != path or path in ("/", "//"):
        raise Refused(
            "{0!r} is no path of a file or a folder".format(printable(path)[:200]),
            safe=_SAFE,
            todo="give it in full, from the / on, without a / at its end",
        )
    if folder and (in_place or not folder.startswith("/")):
        raise Refused(
            "another folder is given ({0}), for what comes {1}".format(
                printable(folder), "in place of the live one" if in_place else "back; it must begin with a /"
            ),
            safe=_SAFE,
            todo="give one of the two",
        )
    parent, name = os.path.split(path)
    home = os.path.normpath(folder) if folder else parent
    target = path if in_place else os.path.join(home, "{0}.restored-{1}".format(name, stamp))
    kept = "{0}.before-{1}".format(path, stamp) if in_place else ""
    return Piece(path, target, kept, os.path.join(home, _PREFIX + ident))


def state(what: Piece) -> str:
    """How far it is.

    :raises Refused: when something is in the way.
    """
    target = os.path.lexists(what.target)
    if os.path.lexists(what.complete):
        if target and not (what.kept and (not os.path.lexists(what.kept) or _same(what.target, what.kept))):
            raise _in_the_way(what.target, what.ready)
        return PLACE
    if what.kept and not os.path.lexists(what.kept):
        return FILL
    if target and os.path.lexists(what.arrived):
        raise _in_the_way(what.kept or what.target, what.staging)
    return DONE if target else FILL


def _in_the_way(path: str, came: str) -> Refused:
    return Refused(
        "{0} is there already".format(printable(path)),
        safe=_SAFE,
        todo="move it away; what came back for it is in {0}".format(printable(came)),
    )


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except FileNotFoundError:
        return False


def check(what: Piece, mounted: Sequence[str], size: int) -> None:
    """Refuse what could not be put there.

    :param mounted: where file systems are mounted.
    :param size: bytes.
    :raises Refused: with the reason.
    """
    home = what.home
    if not os.path.isdir(home) or os.path.realpath(home) != home:
        raise Refused(
            "there is no folder {0}{1}".format(
                printable(home), ", but a link of that name" if os.path.lexists(home) else ""
            ),
            safe=_SAFE,
            todo="name the folder that it was in, which comes back with it, or another one to put it in (restore_to)",
        )
    if not os.access(home, os.W_OK):
        raise Refused(
            "{0} cannot be written to".format(printable(home)),
            safe=_SAFE,
            todo="have it put elsewhere (restore_to: /var/tmp); what is in /cfg is changed in /etc, and saved with "
            "`nanozfs save`",
        )
    if any(len(os.fsencode(os.path.basename(each))) > _LONGEST for each in (what.target, what.kept)):
        raise Refused(
            "the name {0} is longer than a file system takes".format(printable(os.path.basename(what.target))[:80]),
            safe=_SAFE,
            todo="restore the folder that it is in",
        )
    inside = [each for each in mounted if (each + "/").startswith(what.path + "/")]
    if what.kept and inside:
        raise Refused(
            "a file system is mounted on {0}".format(printable(inside[0])),
            safe=_SAFE,
            todo="restore the dataset (restore_dataset), or have it put beside the live one",
        )
    free = os.statvfs(home)
    if free.f_bavail * free.f_frsize < size:
        raise Refused(
            "{0} MiB come back, and {1} has {2} MiB available".format(
                -(-size >> 20), printable(home), free.f_bavail * free.f_frsize >> 20
            ),
            safe=_SAFE,
            todo="make room, or have it put elsewhere (restore_to)",
        )


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """A folder, reached through no link."""
    handle = os.open("/", _FOLDER)
    try:
        for part in path.split("/"):
            if part:
                inner = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _ours(home: int, name: str, made: bool = False) -> Iterator[int]:
    """The folder that is filled, which nobody else may ever have written to.

    :param made: it was made just now. It may have inherited an access list, which chmod(2) takes off it.
    """
    handle = os.open(name, _FOLDER, dir_fd=home)
    try:
        if made:
            os.fchmod(handle, 0o700)
        info = os.fstat(handle)
        foreign = info.st_uid != os.geteuid() or info.st_mode & 0o077 or info.st_dev != os.fstat(home).st_dev
        if foreign or (made and os.listdir(handle)):
            raise PermissionError(errno.EPERM, "somebody else has put another one in its place")
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _within(handle: int) -> Iterator[None]:
    """Be in a folder for a moment."""
    before = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchdir(handle)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextlib.contextmanager
def entered(folder: str) -> Iterator[str]:
    """Be in the folder that is filled, where a link leads to it.

    :returns: what it is called then.
    :raises FleetError: when it is another one by now.
    """
    staging = os.readlink(folder) if os.path.islink(folder) else ""
    if not os.path.basename(staging).startswith(_PREFIX):
        yield folder + "/"
        return
    with contextlib.ExitStack() as stack:
        try:
            home = stack.enter_context(_opened(os.path.dirname(staging)))
            stack.enter_context(_within(stack.enter_context(_ours(home, os.path.basename(staging)))))
        except OSError as error:
            raise FleetError(
                "{0} cannot be filled: {1}".format(printable(staging), error.strerror),
                safe="nothing was written",
                todo="look who has changed it, and remove it; then run the playbook restore again",
            )
        yield "."


def prepare(what: Piece, link: str) -> None:
    """Make the folder that is filled, and let it be filled through a name that nothing can be taken amiss in."""
    try:
        with _opened(what.home) as home:
            name, made = os.path.basename(what.staging), True
            try:
                os.mkdir(name, 0o700, dir_fd=home)
            except FileExistsError:
                made = False
            with _ours(home, name, made):
                _clear(what.ready)  # it is empty, or state() had said that it can be put in place
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(what.staging, link)
    except OSError as error:
        raise FleetError(
            "{0} cannot be made: {1}".format(printable(what.staging), error.strerror),
            safe="nothing of what is live was changed",
            todo="look whether somebody else has made or changed it; or have it put elsewhere (restore_to)",
        )


def place(what: Piece, flags: Optional[Mapping[str, int]] = None, notes: Optional[List[str]] = None) -> List[str]:
    """Give it its name.

    :param flags: of files, by their paths below it.
    :param notes: gets what of them could not be set.
    :returns: what is where by now.
    :raises FleetError: when that cannot be done; what is live is there, under its name or the one that it is kept as.
    """
    if not os.path.lexists(what.arrived) and not os.path.lexists(what.complete):
        if state(what) == DONE:
            _clear(what.staging)
            _clear(what.ready)
            return []
        raise Refused(
            "{0} has not arrived".format(printable(what.name)),
            safe="nothing of what is live was changed",
            todo="see what the backup host says; `nanozfs-backup list` shows what it has",
        )
    said = ["{0} is as it was backed up".format(printable(what.target))]
    inner = {path: value for path, value in (flags or {}).items() if path}
    own: Dict[str, int] = {path: value for path, value in (flags or {}).items() if not path}
    target = os.path.basename(what.target)
    missed: List[str] = []
    try:
        with _opened(what.home) as home, _complete(what, home) as ready:
            with _within(ready):
                missed += fileflags.again(what.name, inner)
            if _keep(what, home):
                said.append("{0} is what was live".format(printable(what.kept)))
            os.rename(what.name, target, src_dir_fd=ready, dst_dir_fd=home)
            with _within(home):  # one that is immutable could not have been renamed
                missed += fileflags.again(target, own)
    except OSError as error:
        came = what.ready if os.path.lexists(what.complete) else what.staging
        raise FleetError(
            "{0} cannot be put in place: {1}".format(printable(what.target), error.strerror),
            safe="what came back is in {0}; what was live is there, or called {1}".format(
                printable(came), printable(what.kept or what.target)
            ),
            todo="mend what stands in the way, then run this again",
        )
    if notes is not None:
        notes += missed
    _clear(what.staging)
    _clear(what.ready)
    return said


@contextlib.contextmanager
def _complete(what: Piece, home: int) -> Iterator[int]:
    """The folder that was filled, under the name that says that everything has arrived."""
    name, ready = os.path.basename(what.staging), os.path.basename(what.ready)
    if not os.path.lexists(what.complete):
        with _ours(home, name):
            os.rename(name, ready, src_dir_fd=home, dst_dir_fd=home)
    with _ours(home, ready) as handle:
        yield handle


def _stat(name: str, home: int) -> Optional[os.stat_result]:
    try:
        return os.stat(name, dir_fd=home, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _keep(what: Piece, home: int) -> bool:
    """Let what is live have another name. A file has both for a moment, so that no reader finds it gone.

    :returns: whether there is something that was live.
    """
    target, kept = os.path.basename(what.target), os.path.basename(what.kept)
    live, before = _stat(target, home), _stat(kept, home) if kept else None
    if live is not None and (not kept or (before is not None and not os.path.samestat(live, before))):
        raise FileExistsError(errno.EEXIST, "both are there already")
    if live is not None and before is None:
        if stat.S_ISREG(live.st_mode):
            os.link(target, kept, src_dir_fd=home, dst_dir_fd=home, follow_symlinks=False)
        else:
            os.rename(target, kept, src_dir_fd=home, dst_dir_fd=home)
    return live is not None or before is not None


def _clear(folder: str) -> None:
    """Remove a folder that was filled, with what an rsync that was killed may have left in it."""
    if os.path.isdir(folder) and not os.path.islink(folder):
        shutil.rmtree(folder, ignore_errors=True)
