# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in /etc would be lost at the next start, and keeping it in /cfg.

/etc is a memory disk. At every start it is made from /conf/base/etc of the image, with /cfg laid over it. So a file of
/etc is safe if it is the one of /cfg, or, where that has none, the one of the image; whatever else is in /etc is gone
after a restart. Sources: ``libexec/rc/rc.initdiskless``, the early boot hook, pwd_mkdb(8), sshd(8), resolvconf(8).
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import fcntl
import fnmatch
import os
import shutil
import stat
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Result, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL

CHANGED, NEW, DELETED = "changed", "new", "deleted"

#: where the files wait that are about to be put in place; also the last of what is there is taken away at the next save
STAGING = ".nanozfs.save"

#: a list of patterns of files that a site does not want saved
EXCLUDE = "nanozfs/save.exclude"

#: never saved: what would pin the host to a slice or bring pools in past the early hook, what belongs to the machine
#: and is made anew at every start (rc.d/hostid_save, rc.d/zfs, zfs share), and the early hook's own files
NEVER = (
    "fstab",
    "zfs/zpool.cache",
    "zfs/exports",
    "zfs/exports.lock",
    "hostid",
    "machine-id",
    "md_size",
    "extract",
    "nanozfs.log",
    "nanozfs.tmp/*",
    STAGING + "/*",
)

#: saved together or not at all: one without the others would not fit
TOGETHER = (("master.passwd", "passwd", "pwd.db", "spwd.db"),)

#: whether a shell that reads the file goes on after it, as /etc/rc must: the early hook's own test, whose answer it is
#: whether the host comes up with its configuration. The script is fixed; the file is its $0.
_SHELL = (
    "sh",
    "-c",
    'x=$(. "$0" > /dev/null 2>&1 < /dev/null; echo fit); [ "$x" = fit ] || '
    '{ sh -n "$0" && echo "a shell that reads it ends there" >&2; exit 1; }',
)

#: without it, or where it is empty, the early hook takes the configuration for lost
NEEDED = "rc.conf"

#: commands that judge a file, which they get as their last argument. pwd_mkdb(8) -C verifies only
CHECKS: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
    ("rc.conf", _SHELL),
    ("rc.conf.local", _SHELL),
    ("rc.conf.d/*", _SHELL),
    ("ssh/sshd_config", ("/usr/sbin/sshd", "-t", "-f")),
    ("master.passwd", ("pwd_mkdb", "-C")),
)

#: left free in the dataset besides what is written (bytes)
SPARE = 1 << 20

#: what a file takes at least, where the file system does not say (bytes)
_FRAGMENT = 4096

_NOTHING = "nothing was written, /cfg is as it was"


@dataclass(frozen=True)
class Places:
    """Where the trees are."""

    etc: str = "/etc"
    base: str = "/conf/base/etc"
    cfg: str = "/cfg"


class Change(NamedTuple):
    """A file of which /etc holds something else than the next start would bring.

    ``path`` is relative to /etc; ``origin`` is where the next start takes it from: ``cfg``, ``base``, or nowhere.
    """

    kind: str
    path: str
    origin: str

    def describe(self) -> str:
        """As a line of ``nanozfs diff``."""
        if self.kind == DELETED and self.origin == "base":
            return "deleted  {0} (part of the image: it comes back at the next start)".format(self.path)
        return "{0:<8} {1}".format(self.kind, self.path)


def _files(top: str) -> Dict[str, os.stat_result]:
    """The files and symbolic links below a folder, by relative path. Links are not followed."""
    found: Dict[str, os.stat_result] = {}
    for folder, folders, names in os.walk(top):
        if folder == top and ".zfs" in folders:
            folders.remove(".zfs")  # the snapshots, where they are visible
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            full = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):  # it went while we looked
                info = os.lstat(full)
                if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                    found[os.path.relpath(full, top)] = info
    return found


def _content(path: str, info: os.stat_result) -> bytes:
    if stat.S_ISLNK(info.st_mode):
        return os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        return file.read()


def _same(one: str, first: os.stat_result, other: str, second: os.stat_result) -> bool:
    if (first.st_mode, first.st_uid, first.st_gid) != (second.st_mode, second.st_uid, second.st_gid):
        return stat.S_ISLNK(first.st_mode) and stat.S_ISLNK(second.st_mode) and os.readlink(one) == os.readlink(other)
    return first.st_size == second.st_size and _content(one, first) == _content(other, second)


def patterns(text: str) -> List[str]:
    """The patterns in a file like :data:`EXCLUDE`: one a line, relative to /etc; a folder means all that is in it."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    names = [line[5:] if line.startswith("/etc/") else line for line in lines if line]
    return [name + "*" if name.endswith("/") else name for name in names]


class Etc:
    """The three trees of a host.

    :param places: where they are.
    """

    def __init__(self, places: Places) -> None:
        self.places = places

    def excluded(self) -> Callable[[str], bool]:
        """What is never saved on this host, as a test for a relative path."""
        listed: List[str] = []
        with contextlib.suppress(FileNotFoundError), open(
            os.path.join(self.places.etc, EXCLUDE), encoding="utf-8", errors="replace"
        ) as file:
            listed = patterns(file.read())
        by_dhcp = self._by_dhcp()

        def is_excluded(path: str) -> bool:
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in NEVER + tuple(listed)):
                return True
            if path == "resolv.conf" and by_dhcp:
                return True
            # a host whose keys are not in /cfg makes some at every start: keeping them is a decision, not an accident
            is_key = fnmatch.fnmatchcase(path, "ssh/ssh_host_*")
            return is_key and not os.path.lexists(os.path.join(self.places.cfg, path))

        return is_excluded

    def _by_dhcp(self) -> bool:
        try:
            with open(os.path.join(self.places.etc, "resolv.conf"), encoding="utf-8", errors="replace") as file:
                return file.readline().startswith("# Generated by")  # resolvconf(8), for dhclient and rtsol
        except OSError:
            return False

    def changes(self) -> List[Change]:
        """What the next start would not bring back, sorted by path.

        :raises FleetError: when one of the trees cannot be read.
        """
        for place in (self.places.etc, self.places.base, self.places.cfg):
            if not os.path.isdir(place):
                raise FleetError(
                    "there is no folder {0}: this is no host that runs from an image of the collection".format(place),
                    safe="nothing was changed",
                )
        try:
            return list(self._changes())
        except OSError as error:
            raise FleetError(
                "{0} cannot be read: {1}".format(error.filename, error.strerror), safe="nothing was changed"
            )

    def _changes(self) -> Iterator[Change]:
        now, base, cfg = _files(self.places.etc), _files(self.places.base), _files(self.places.cfg)
        is_excluded = self.excluded()
        for path in sorted(set(now) | set(base) | set(cfg)):
            if is_excluded(path):
                continue
            origin, info = ("cfg", cfg[path]) if path in cfg else ("base", base.get(path))
            if path not in now:
                yield Change(DELETED, path, origin)
            elif info is None:
                yield Change(NEW, path, "")
            elif not _same(self.at("etc", path), now[path], self.at(origin, path), info):
                yield Change(CHANGED, path, origin)

    def at(self, tree: str, path: str) -> str:
        """The full path of a file in one of the trees: ``etc``, ``base`` or ``cfg``."""
        return os.path.join(str(getattr(self.places, tree)), path)

    def relative(self, name: str) -> str:
        """A file as somebody names it, relative to /etc.

        :raises Refused: when it is not in /etc.
        """
        full = os.path.join(self.places.etc, name)
        full = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full.rstrip("/")))
        path = os.path.relpath(full, os.path.realpath(self.places.etc))
        if path.split(os.sep)[0] in (os.pardir, os.curdir):
            raise Refused("{0} is not in {1}".format(name, self.places.etc), safe=_NOTHING)
        return path

    def text_of(self, change: Change) -> List[str]:
        """A unified diff of a changed text file, from what the next start brings to what is there."""
        sides = []
        for tree in (change.origin, "etc" if change.kind != DELETED else ""):
            path = self.at(tree, change.path) if tree else os.devnull
            try:
                lines = _content(path, os.lstat(path)).decode("utf-8").splitlines()
            except UnicodeDecodeError:
                return ["{0} is no text".format(change.path)]
            sides.append((path, lines))
        (old, before), (new, after) = sides
        return list(difflib.unified_diff(before, after, old, new, lineterm=""))


def select(etc: Etc, found: Sequence[Change], names: Sequence[str], new: bool, delete: bool) -> List[Change]:
    """The changes that are to be saved.

    :param names: files or folders of /etc; none means all that changed.
    :param new: also files that neither /cfg nor the image has. One that is named is meant in any case.
    :param delete: take those out of /cfg that are not in /etc any more.
    :raises Refused: when a name means nothing, or what is never saved.
    """
    wanted = [etc.relative(name) for name in names]
    is_excluded = etc.excluded()
    for path in wanted:
        if is_excluded(path):
            raise Refused(
                "{0} is never saved".format(path),
                safe=_NOTHING,
                todo="put what every host needs into the image; `nanozfs save` without that name saves the rest",
            )
        if not os.path.lexists(etc.at("etc", path)) and not os.path.lexists(etc.at("cfg", path)):
            raise Refused("there is no {0} in /etc".format(path), safe=_NOTHING)
    wanted += [each for group in TOGETHER if set(group) & set(wanted) for each in group]
    chosen = []
    for change in found:
        named = any(change.path == path or change.path.startswith(path + "/") for path in wanted)
        if wanted and not named:
            continue
        meant = {CHANGED: True, NEW: new or named, DELETED: delete and change.origin == "cfg"}
        if meant[change.kind]:
            chosen.append(change)
    return chosen


def verify(runner: Runner, etc: Etc, chosen: Sequence[Change]) -> None:
    """Judge what is about to be saved, where a mistake could keep the host from coming up or from letting anybody in.

    :raises Refused: when a file does not pass, with what its judge says.
    """
    problems = []
    for change in chosen:
        if change.path == NEEDED and (change.kind == DELETED or not os.path.getsize(etc.at("etc", NEEDED))):
            problems.append("{0}: a host without it would come up in recovery mode".format(NEEDED))
        for pattern, argv in CHECKS:
            if change.kind == DELETED or not fnmatch.fnmatchcase(change.path, pattern):
                continue
            result = runner.query(list(argv) + [etc.at("etc", change.path)])
            if result.rc != 0:
                problems.append("{0}: {1}".format(change.path, _said(result)))
    if problems:
        raise Refused(
            "not fit to be saved: {0}".format("; ".join(problems)),
            safe=_NOTHING,
            todo="mend that in /etc and run this again",
        )


def _said(result: Result) -> str:
    said = (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()[0]
    return "{0} says: {1}".format(os.path.basename(result.argv[0]), said)


def check_memory_disk(etc: Etc, chosen: Sequence[Change]) -> None:
    """Refuse what would not fit into the memory disk of the next start: the host would come up in recovery mode.

    :raises Refused: with the sizes.
    """
    sizes = {path: info.st_size for tree in ("base", "cfg") for path, info in _files(getattr(etc.places, tree)).items()}
    for change in chosen:
        if change.kind == DELETED:
            sizes.pop(change.path, None)
        else:
            sizes[change.path] = os.lstat(etc.at("etc", change.path)).st_size
    disk = os.statvfs(etc.places.etc)
    unit = disk.f_frsize or _FRAGMENT
    needed, room = sum(-(-size // unit) * unit for size in sizes.values()), disk.f_blocks * unit
    if needed > room or (disk.f_files and len(sizes) > disk.f_files):
        raise Refused(
            "{0} files of {1} KiB would not fit into /etc, which has {2} KiB".format(
                len(sizes), needed >> 10, room >> 10
            ),
            safe=_NOTHING,
            todo="save less, or build the image with a larger image_etc_size",
        )


class Cfg:
    """/cfg, which is mounted read-only and only open while something is written.

    :param runner: for mount(8) and zfs(8).
    :param etc: the trees.
    """

    def __init__(self, runner: Runner, etc: Etc) -> None:
        self.runner = runner
        self.etc = etc
        self.place = etc.places.cfg

    def dataset(self) -> str:
        """The dataset that is mounted on /cfg.

        :raises Refused: when there is none.
        """
        for line in self.runner.ask(["mount", "-p"], "list the mounted file systems").lines():
            fields = line.split()
            if len(fields) > 2 and fields[1] == self.place and fields[2] == "zfs":
                return fields[0]
        raise Refused(
            "no dataset is mounted on {0}".format(self.place),
            safe="nothing was written",
            todo="restart the host; look with `nanozfs status` why it has no configuration of its own",
        )

    def check_room(self, chosen: Sequence[Change]) -> None:
        """Refuse what the dataset has no room for; old and new version of a file are there together for a moment.

        :raises Refused: with the sizes.
        """
        name = self.dataset()
        dataset = Zfs(self.runner).dataset(name)
        if dataset is None:
            raise Refused("the dataset {0} cannot be found".format(name), safe=_NOTHING)
        sizes = [os.lstat(self.etc.at("etc", each.path)).st_size for each in chosen if each.kind != DELETED]
        needed = sum(-(-size // _FRAGMENT) * _FRAGMENT for size in sizes) + SPARE
        if dataset.available < needed:
            raise Refused(
                "{0} has {1} KiB available, {2} KiB are needed".format(name, dataset.available >> 10, needed >> 10),
                safe=_NOTHING,
                todo="make room in the pool: `zfs list -o space -r {0}`".format(name.split("/")[0]),
            )

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Mounted for writing, for one at a time, and read-only again afterwards whatever happens.

        :raises Refused: when another save is at work.
        """
        lock = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Refused("another save is at work", safe=_NOTHING, todo="wait for it and run this again")
            self.runner.change(
                ["mount", "-u", "-o", "rw", self.place], "open {0} for writing".format(self.place), safe=_NOTHING
            )
            try:
                yield
            finally:
                self.runner.change(
                    ["mount", "-u", "-o", "ro", self.place],
                    "make {0} read-only again".format(self.place),
                    safe="what was saved is complete",
                    todo="`mount -u -o ro {0}`".format(self.place),
                )
        finally:
            os.close(lock)

    def write(self, chosen: Sequence[Change]) -> None:
        """Put the files in place: all staged and on the disk first, then all renames in one burst.

        :raises FleetError: when something fails; before the renames nothing in /cfg has changed.
        """
        staging = os.path.join(self.place, STAGING)
        safe = _NOTHING
        try:
            shutil.rmtree(staging, ignore_errors=True)  # of a save that the power was cut from
            os.mkdir(staging, 0o700)
            renames: List[Tuple[str, str]] = []
            for number, change in enumerate(each for each in chosen if each.kind != DELETED):
                staged = os.path.join(staging, str(number))
                _copy(self.etc.at("etc", change.path), staged)
                target = os.path.join(self.place, change.path)
                if os.path.isdir(target) and not os.path.islink(target):
                    raise OSError(errno.EISDIR, "a folder is in the way", target)
                renames.append((staged, target))
            for change in chosen:
                if change.kind != DELETED:
                    self._make_folders(os.path.dirname(change.path))
            _flush(staging)
            safe = "every file in {0} is either the old or the new one".format(self.place)
            for staged, target in renames:
                os.rename(staged, target)
            for change in chosen:
                if change.kind == DELETED:
                    os.unlink(os.path.join(self.place, change.path))
            for folder in sorted({os.path.dirname(os.path.join(self.place, each.path)) for each in chosen}):
                _flush(folder)
        except OSError as error:
            raise FleetError(
                "could not save to {0}: {1} ({2})".format(self.place, error.strerror, error.filename),
                safe=safe,
                todo="run this again",
            )
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _make_folders(self, path: str) -> None:
        """The folders on the way to a file, with the owners and modes that they have in /etc."""
        done = ""
        for part in path.split("/") if path else ():
            done = os.path.join(done, part)
            target = os.path.join(self.place, done)
            if not os.path.isdir(target):
                info = os.lstat(self.etc.at("etc", done))
                os.mkdir(target, 0o700)
                os.chown(target, info.st_uid, info.st_gid)
                os.chmod(target, stat.S_IMODE(info.st_mode))


def _copy(source: str, target: str) -> None:
    """A file or link with its owner, mode and times, and on the disk."""
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


def refuse_recovery(runner: Runner) -> None:
    """Refuse to take for the host's own what is in /etc in recovery mode.

    :raises Refused: unless the early boot hook found the pool and laid /cfg over /etc.
    """
    state = kenv(runner, "nanozfs.state")
    if state != NORMAL:
        raise Refused(
            "the host is in state {0}: what is in /etc is not its own configuration".format(state or "unknown"),
            safe=_NOTHING,
            todo="`nanozfs status` says why; save when the host runs on its own data again",
        )


@dataclass(frozen=True)
class Wish:
    """What is to be saved; see :func:`select`."""

    names: Sequence[str] = ()
    new: bool = False
    delete: bool = False


class Saved(NamedTuple):
    """What a save did, and what it left as it is."""

    saved: List[Change]
    left: List[Change]


def save(runner: Runner, places: Places, wish: Wish) -> Saved:
    """Keep in /cfg what in /etc the next start would not bring back.

    Everything is judged before anything is written. In the runner's check mode, nothing is.

    :raises FleetError: when it is refused or fails; the error says what /cfg is then.
    """
    refuse_recovery(runner)
    etc = Etc(places)
    found = etc.changes()
    chosen = select(etc, found, wish.names, wish.new, wish.delete)
    left = [each for each in found if each not in chosen]
    if not chosen:
        return Saved([], left)
    verify(runner, etc, chosen)
    cfg = Cfg(runner, etc)
    cfg.check_room(chosen)
    check_memory_disk(etc, chosen)
    if not runner.check_mode:
        with cfg.opened():
            cfg.write(chosen)
    return Saved(chosen, left)


def unsaved(places: Places) -> Tuple[Optional[List[Change]], str]:
    """What is not saved, for a status: ``None`` with the reason where it cannot be told."""
    try:
        return Etc(places).changes(), ""
    except FleetError as error:
        return None, error.what
