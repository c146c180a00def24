# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What in /etc would be lost at the next start.

/etc is a memory disk. At every start it is made from /conf/base/etc of the image, with /cfg laid over it. So a file of
/etc is safe if it is the one of /cfg, or, where that has none, the one of the image; whatever else is in /etc is gone
after a restart. Sources: ``libexec/rc/rc.initdiskless``, the early boot hook, resolvconf(8).
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import os
import stat
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.engine import made_from
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

CHANGED, NEW, DELETED = "changed", "new", "deleted"

#: the users, of which pwd_mkdb(8) makes other files
MASTER = "master.passwd"

#: where the files wait that are about to be put in place; also the last of what is there is taken away at the next save
STAGING = ".nanozfs.save"

#: a list of patterns of files that a site does not want saved
EXCLUDE = "nanozfs/save.exclude"

#: never saved
NEVER = rules.MADE + (STAGING + "/*", rules.ORIGINS)

NOTHING = "nothing was written, /cfg is as it was"


def parents(path: str) -> List[str]:
    """The folders on the way to a path, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


@dataclass(frozen=True)
class Places:
    """Where the trees are, and the early hook's own files.

    Modules have theirs in a variable ``PLACES``, which a test can change.
    """

    etc: str = "/etc"
    base: str = "/conf/base/etc"
    cfg: str = "/cfg"
    hook: str = "/boot/nanozfs"
    recovery: str = "/conf/recovery/etc"


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


def files(top: str) -> Dict[str, os.stat_result]:
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


def content(path: str, info: os.stat_result) -> bytes:
    if stat.S_ISLNK(info.st_mode):
        return os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        return file.read()


def _same(one: str, first: os.stat_result, other: str, second: os.stat_result) -> bool:
    if (first.st_mode, first.st_uid, first.st_gid) != (second.st_mode, second.st_uid, second.st_gid):
        return stat.S_ISLNK(first.st_mode) and stat.S_ISLNK(second.st_mode) and os.readlink(one) == os.readlink(other)
    return first.st_size == second.st_size and content(one, first) == content(other, second)


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
            if made_from(path) == MASTER and self._in_cfg(MASTER) and not self._in_cfg(path):
                return True  # the early hook runs pwd_mkdb(8) at every start
            # a host whose keys are not in /cfg makes some at every start: keeping them is a decision, not an accident
            return fnmatch.fnmatchcase(path, "ssh/ssh_host_*") and not self._in_cfg(path)

        return is_excluded

    def _in_cfg(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self.places.cfg, path))

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
        with readable():
            return list(self._changes())

    def _changes(self) -> Iterator[Change]:
        now, base, cfg = files(self.places.etc), files(self.places.base), files(self.places.cfg)
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
        if path.split(os.sep, 1)[0] in (os.pardir, os.curdir):
            raise Refused("{0} is not in {1}".format(name, self.places.etc), safe=NOTHING)
        return path

    def text_of(self, change: Change) -> List[str]:
        """A unified diff of a changed text file, from what the next start brings to what is there."""
        trees = (change.origin, "etc" if change.kind != DELETED else "")
        old, new = (self.at(tree, change.path) if tree else os.devnull for tree in trees)
        sides = [(path, content(path, os.lstat(path))) for path in (old, new)]
        return differing(change.path, sides[0], sides[1])


def differing(name: str, before: Tuple[str, bytes], after: Tuple[str, bytes]) -> List[str]:
    """A unified diff of two texts, each with where it is; or that *name* is no text."""
    try:
        old, new = (text.decode("utf-8").splitlines() for _path, text in (before, after))
    except UnicodeDecodeError:
        return ["{0} is no text".format(name)]
    return list(difflib.unified_diff(old, new, before[0], after[0], lineterm=""))


def unsaved(places: Places) -> Tuple[Optional[List[Change]], str]:
    """What is not saved, for a status: ``None`` with the reason where it cannot be told."""
    try:
        return Etc(places).changes(), ""
    except FleetError as error:
        return None, error.what


def notes(places: Places) -> List[str]:
    """What the last start could not do, as the early hook left it; fit for a terminal."""
    with contextlib.suppress(OSError), open(
        os.path.join(places.etc, rules.NOTES), encoding="utf-8", errors="replace"
    ) as file:
        return [printable(line) for line in file.read().splitlines()]
    return []
