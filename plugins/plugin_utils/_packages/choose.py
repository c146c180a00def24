# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of an image: by the lock where there is one, and out of repositories where there is none or it moves."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Input
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Say, Store, Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import Archive
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import (
    base,
    fetch,
    lock,
    repository,
    resolver,
    signature,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.base import Base
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.lock import From, Lock, Locked
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.repository import Catalogues, Repository
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.resolver import ASKED, Source, System
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import NONE, TYPES, Trust

#: folders of a system that hold libraries (``LIB_DIRS`` in ``libpkg/pkg_elf.c`` and ld-elf.so's own), and what is put
#: behind the names of those in them (``PKG_SHLIB_FLAGS_COMPAT_32`` there)
LIBRARIES = (("lib", ""), ("usr/lib", ""), ("usr/local/lib", ""), ("usr/lib32", ":32"))

#: how many changes a message has
NAMED = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_KEYS = frozenset(("name", "url", "signature_type", "trust", "priority"))


@dataclass(frozen=True)
class Place:
    """A repository as a definition has it.

    :param url: with ``${ABI}`` and the like.
    :param kind: how it is signed, one of ``signature.TYPES``; ``trust`` is the file or folder that says by whom.
    """

    name: str
    url: str
    kind: str
    trust: str
    priority: int = 0


@dataclass(frozen=True)
class Wish:
    """What a definition says of packages from repositories.

    :param names: of packages or ports.
    :param lock: path of the lock.
    :param update: choose anew, though there is a lock.
    :param base: the base system, where that comes as packages.
    """

    names: Sequence[str] = ()
    places: Sequence[Place] = ()
    lock: str = ""
    update: bool = False
    base: Optional[Base] = None

    @property
    def all_names(self) -> Sequence[str]:
        """Names with those of the base system."""
        return [*(self.base.names if self.base else ()), *self.names]

    @property
    def all_places(self) -> Sequence[Place]:
        """Repositories with that of the base system."""
        if self.base is None:
            return self.places
        return [Place(base.NAME, self.base.url, self.base.kind, self.base.trust), *self.places]


NO_WISH = Wish()


def places(written: Any, kind: str, trust: str) -> List[Place]:
    """Repositories as the variable has them: an address, or a list of maps.

    :param kind: and *trust*: of those that do not say it themselves.
    :raises Refused: when that is none.
    """
    found: List[Place] = []
    for number, each in enumerate(written if isinstance(written, (list, tuple)) else [written] if written else [], 1):
        values: Any = {"url": each} if isinstance(each, str) else each
        if not isinstance(values, Mapping) or not set(values) <= _KEYS or not isinstance(values.get("url"), str):
            raise Refused(
                "image_pkg_repository: {0} is no repository".format(_described(values, number)),
                todo="give an address, or a list of maps with url, and name, signature_type, trust and priority where "
                "they are needed",
            )
        name = str(values.get("name") or _name_of(values["url"]))
        own = str(values.get("signature_type") or kind)
        try:
            priority = int(values.get("priority") or 0)
        except (TypeError, ValueError):
            raise Refused("image_pkg_repository {0}: its priority is no number".format(name))
        if own not in TYPES:
            raise Refused("image_pkg_repository {0}: signature_type is one of {1}".format(name, ", ".join(TYPES)))
        if not _NAME.match(name) or name in [base.NAME, *(other.name for other in found)]:
            raise Refused(
                "image_pkg_repository: {0!r} is no name, or two have it".format(name),
                todo="give each a name of its own, and none that of the base system's ({0})".format(base.NAME),
            )
        by = str(values.get("trust") or (trust if own == kind else ""))  # that of all is of their type only
        found.append(Place(name, values["url"], own, by, priority))
    if not found:
        raise Refused("image_pkg is set, and image_pkg_repository is empty")
    return found


def _described(values: Any, number: int) -> str:
    """What is written in the place of a repository, without its address, which may have a password."""
    if not isinstance(values, Mapping):
        return repr(values)
    return "number {0}, with {1},".format(number, ", ".join(map(str, values)) or "nothing")


def _name_of(url: str) -> str:
    """A name for a repository that has none."""
    with contextlib.suppress(ValueError):
        return urllib.parse.urlsplit(url.replace("$", "").replace("{", "").replace("}", "")).hostname or "folder"
    return "repository"


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    :param before: the lock that there is.
    :param after: what it will be; digests of files may be missing in it until they are here.
    :param missing: what is not in the cache.
    """

    wish: Wish
    repositories: Mapping[str, Repository]
    cache: str
    before: Optional[Lock]
    after: Lock
    missing: Sequence[Locked]

    def supply(self, say: Say) -> List[Supplied]:
        """Have the packages here; see :func:`fetch.fetch`."""
        return fetch.fetch(self.after.packages, self.repositories, self.cache, say)

    def check(self, archives: Sequence[Archive]) -> None:
        """See that archives are the packages that they were taken for.

        :param archives: those of the lock, in its order.
        :raises RepositoryError: when one is another.
        """
        for each, archive in zip(self.after.packages, archives):
            if (archive.package.name, archive.package.version) != (each.name, each.version):
                raise RepositoryError(
                    "{0} is taken for {1}, and says that it is {2}-{3}".format(
                        each.path, each.title, archive.package.name, archive.package.version
                    ),
                    todo="the catalogue of {0} has an error: have it made anew (`pkg repo`)".format(each.repository),
                )

    def foretell(self) -> List[str]:
        """What would be fetched, for people."""
        size = sum(each.size for each in self.missing)
        return [
            "packages: {0} of {1} would be fetched, {2:.1f} MB".format(
                len(self.missing), len(self.after.packages), size / 1e6
            )
        ]

    def told(self, after: Lock) -> List[str]:
        """What becomes of the lock, for people."""
        if self.before is None:
            return ["{0}: {1}".format(self.wish.lock, counted(len(after.packages), "package"))]
        changes = lock.changes(self.before, after)
        if self.before == after:
            return ["{0}: nothing newer".format(self.wish.lock)] if self.wish.update else []
        what = first_of(changes, NAMED) or "the same packages are asked for in another way"
        return ["{0}: {1}".format(self.wish.lock, what)]

    def inputs(self, after: Lock) -> List[Input]:
        """What the image says of it: the lock, and the catalogues that it was made of."""
        found = [Input("packages.lock.json", after.sha256)]
        return found + [Input("{0} {1}".format(each.name, each.url), each.catalogue) for each in after.repositories]


def system_of(
    tree: Tree,
    abi: str,
    release: str,
    there: Sequence[str],
    given: Sequence[Archive],
    wanted: Optional[Base] = None,
) -> System:
    """What a tree has that packages may need.

    :param there: names of packages in it; *given*: those that come as files.
    :param wanted: the base system, where that comes as packages.
    """
    libraries = {
        path.rpartition("/")[2] + mark
        for folder, mark in LIBRARIES
        for path in (tree.below(folder) if folder in tree else ())
        if ".so" in path and path.count("/") == folder.count("/") + 1
    }
    libraries.update(name for each in given for name in each.libraries)
    names = {each.package.name for each in given}
    return System(abi, release, frozenset(libraries), frozenset({*there, *names}), wanted)


def check_release(archives: Sequence[Archive], system: System) -> None:
    """See that packages are for the release of the image, by what is in them.

    :param archives: given as files, or fetched: a catalogue need not say of all modules that they are such.
    :raises RepositoryError: when one is not.
    """
    for each in archives:
        reason = system.refuses(each.package.name, each.package.version, each.osversion, each.is_module)
        if reason:
            raise RepositoryError(
                "{0}-{1} cannot be in the image: {2}".format(each.package.name, each.package.version, reason),
                todo=system.modules if each.is_module else "get it for the release of the image",
            )


def choose(wish: Wish, system: System, given: Sequence[Archive], cache: str, say: Say, warn: Say) -> Optional[Choice]:
    """Choose packages; none where none are wanted.

    :param given: packages that come as files; what they need is wanted too.
    :param cache: the folder of what is fetched.
    :raises FleetError: when something is missing or does not fit; the lock is as it was.
    """
    wanted = _wanted(wish, system, given)
    if not wish.all_names or not wanted:
        return None
    before = lock.read(wish.lock)
    if before is not None and not wish.update:
        _check(before, wanted, system, wish)
        after, repositories = before, _repositories(wish, system, judge=False)
    else:
        lock.check_place(wish.lock)
        repositories = _repositories(wish, system, judge=True)
        after = _resolved(wanted, repositories, system, before, Catalogues(cache, say, warn), warn)
    return Choice(wish, repositories, cache, before, after, fetch.missing(after.packages, Store(cache, say)))


def _wanted(wish: Wish, system: System, given: Sequence[Archive]) -> Dict[str, str]:
    """Who wants what: what the definition names, and what the packages need that come as files."""
    found = {}
    for each in given:
        for need in each.needs:
            found[need] = "needed by {0} of image_packages".format(each.package.name)
    found.update((name.strip(), ASKED) for name in wish.all_names)
    return {name: who for name, who in found.items() if name not in system.packages}


def _check(before: Lock, wanted: Mapping[str, str], system: System, wish: Wish) -> None:
    """Refuse a lock that was made for something else.

    :raises RepositoryError: with what differs.
    """
    said, modules = [], ""
    if before.abi != system.abi:
        said.append("it is for {0}, and the image is {1}".format(before.abi, system.abi))
    for each in before.packages:
        reason = system.refuses(each.name, each.version, each.osversion, each.is_module)
        said += ["{0}: {1}".format(each.title, reason)] if reason else []
        modules = "; " + system.modules if reason and each.is_module else modules
    for names, what in (
        ([name for name in before.wanted if not before.has(name)], "it has no package for"),
        (set(wanted) - set(before.wanted), "it does not know"),
        (set(before.wanted) - set(wanted), "nobody wants any more"),
    ):
        if names:
            said.append("{0} {1}".format(what, first_of(sorted(names), NAMED)))
    if said:
        raise RepositoryError(
            "the lock {0} does not fit what is wanted: {1}".format(wish.lock, "; ".join(said)),
            todo="build with image_pkg_update=true, which takes what repositories have now; with --check it only says "
            "what that changes" + modules,
        )


def _repositories(wish: Wish, system: System, judge: bool) -> Dict[str, Repository]:
    """The repositories, by name.

    :param judge: a catalogue is going to be judged; where only files are fetched, by their digests, nobody is trusted.
    """
    minor = str(system.series % 100) if system.series else ""
    found = {}
    for each in wish.all_places:
        trust = signature.load(each.kind, each.trust) if judge else Trust(NONE)
        found[each.name] = Repository(each.name, repository.address(each.url, system.abi, minor), trust, each.priority)
    return found


def _resolved(
    wanted: Mapping[str, str],
    repositories: Mapping[str, Repository],
    system: System,
    before: Optional[Lock],
    catalogues: Catalogues,
    warn: Say,
) -> Lock:
    """The lock that repositories give now; the one before where nothing of it is another."""
    known = {(each.name, each.sum): each for each in before.packages} if before else {}
    newest = {each.name: each.newest for each in before.repositories} if before else {}
    with contextlib.ExitStack() as stack:
        sources = [
            Source(each, stack.enter_context(catalogues.of(each, newest.get(each.name, ""))))
            for each in repositories.values()
        ]
        chosen = resolver.resolve(wanted, sources, system, warn)
        used = {each.repository.name for each in chosen}
        origins = tuple(
            From(each.repository.name, each.repository.shown, each.index.signed.sha256, each.index.summary.newest)
            for each in sources
            if each.repository.name in used
        )
    packages = []
    for each in chosen:
        record = each.record
        old = known.get((record.name, record.sum))
        packages.append(
            Locked(
                name=record.name,
                version=record.version,
                origin=record.origin,
                repository=each.repository.name,
                path=record.path,
                size=record.size,
                sum=record.sum,
                sha256=old.sha256 if old else "",
                why=each.why,
                osversion=record.osversion,
                is_module=record.is_module,
                privileged=old.privileged if old else (),
            )
        )
    after = Lock(system.abi, tuple(sorted(wanted)), origins, tuple(packages))
    # another catalogue with the same packages makes no other image
    if before is not None and replace(after, repositories=before.repositories) == before:
        return before
    return after
