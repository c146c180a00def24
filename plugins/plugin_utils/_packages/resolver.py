# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packages belong together: those that are wanted, and all that they need.

There is one choice for each name, so there is nothing to search: of the repositories with the highest priority the
highest version is taken (pkg.conf(5), ``PRIORITY``), and what it needs comes with it. The versions beside dependencies
are not compared, as pkg(8) does not. Libraries are looked for in the system first, because ``libgcc_s.so.1`` of a
compiler would come into every image otherwise. Where pkg(8) goes on in silence, with a library that nobody has, this
refuses. Source: ``pkg_solve.c``, ``pkg_jobs_universe.c`` and ``pkgdb_query.c`` in ``libpkg`` of freebsd/pkg (13f9f98).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Say
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import fits
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import version
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.base import NAME as BASE
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.base import Base, is_base
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.catalogue import Record
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.index import Index
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.repository import Repository

#: who asked for a package that stands in the definition
ASKED = "asked for"

#: how many names a message has
NAMED = 8

#: the first series with repositories of modules, see :attr:`System.series`
KMODS_SINCE = 1403

#: of modules the version has it as well (``Mk/Uses/kmod.mk``): 6.1.50.1403000_3
_OSVERSION = re.compile(r"\.(\d{7})(?:[_,]|\Z)")
_GLOB = re.compile(r"[*?\[\]]")
_RELEASE = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True)
class Source:
    """A repository and its catalogue."""

    repository: Repository
    index: Index


@dataclass(frozen=True)
class System:
    """What packages are laid over.

    :param abi: ``FreeBSD:14:amd64``.
    :param release: ``14.3-RELEASE-p2``; empty where it is not known.
    :param libraries: names of the shared libraries that it has, those for 32-bit programs with ``:32``.
    :param packages: names of packages that are there already, or given as files.
    :param base: the base system, where that comes as packages.
    """

    abi: str
    release: str = ""
    libraries: FrozenSet[str] = frozenset()
    packages: FrozenSet[str] = frozenset()
    base: Optional[Base] = None

    @property
    def series(self) -> int:
        """``__FreeBSD_version`` of the release without its last three digits: 1403; 0 where it is not known.

        Source: ``sys/sys/param.h``: major, two digits of minor, and three that count what changed.
        """
        found = _RELEASE.match(self.release)
        return int(found.group(1)) * 100 + int(found.group(2)) if found else 0

    def has(self, name: str, repository: str) -> bool:
        """Whether a repository is one that packages with this name come from: those of the base system have their own,
        which is trusted for them alone; any other could bring its own kernel.
        """
        return self.base is None or is_base(name) == (repository == BASE)

    def refuses(self, name: str, version: str, osversion: int, is_module: bool) -> str:
        """Why a package cannot be on this release; empty when it can.

        :param osversion: and *is_module*: see :class:`Record`.
        """
        differs = self.base.differs(version) if self.base is not None and is_base(name) else ""
        if differs:
            return differs
        ours, theirs = self.series, (osversion or (_osversion_in(version) if is_module else 0)) // 1000
        if ours and is_module and theirs != ours:
            return "it is a kernel module for {0}, and the image is {1}".format(
                _release(theirs) if theirs else "a release that it does not say", self.release
            )
        if ours and theirs > ours:
            return "it was built on {0}, and the image is {1}: it may need what an older kernel does not have".format(
                _release(theirs), self.release
            )
        return ""

    @property
    def modules(self) -> str:
        """Where modules for the kernel of this release are, for people.

        FreeBSD builds those of each minor release on it, in repositories of their own
        (``usr.sbin/pkg/FreeBSD.conf.quarterly-release`` of releng/15.0; since 14.3).
        """
        if self.series < KMODS_SINCE:
            return "take it from a repository that was built on {0}, by poudriere for example".format(self.release)
        return (
            "modules for {0} are in the repository pkg+https://pkg.FreeBSD.org/${{ABI}}/kmods_quarterly_{1}: add it to "
            "image_pkg_repository".format(_release(self.series), self.series % 100)
        )


@dataclass(frozen=True)
class Chosen:
    """A package that was chosen.

    :param because: the package that brought it in; empty where the definition did.
    :param why: what of it that package needs, for people.
    """

    record: Record
    repository: Repository
    because: str
    why: str


@dataclass
class _State:
    chosen: Dict[str, Chosen] = field(default_factory=dict)
    brought: Dict[str, Set[str]] = field(default_factory=dict)

    def chain(self, name: str) -> str:
        """How it came to a package: ``nginx (asked for) → pcre2``."""
        names: List[str] = []
        while name and name not in names:
            names.append(name)
            name = self.chosen[name].because if name in self.chosen else ""
        first = names[-1]
        asked = self.chosen[first].why if first in self.chosen else ASKED
        return " → ".join(["{0} ({1})".format(first, asked), *names[-2::-1]])


def resolve(wanted: Mapping[str, str], sources: Sequence[Source], system: System, warn: Say) -> List[Chosen]:
    """The packages that make what is wanted complete, by name.

    :param wanted: who asks for it, for people, by name: a package, one with its version (``nginx-1.28.0,3``), a port
        (``www/nginx``) or a port's flavour (``devel/py-pip@py311``).
    :param warn: told of what pkg(8) would pass over.
    :raises RepositoryError: with the chain that leads to what is missing, does not fit, or is in each other's way.
    """
    work = _Work(sources, system, warn)
    for name in sorted(wanted):
        work.ask(name, wanted[name])
    work.close()
    work.check()
    return [work.state.chosen[name] for name in sorted(work.state.chosen)]


class _Work:
    def __init__(self, sources: Sequence[Source], system: System, warn: Say) -> None:
        ordered = sorted(enumerate(sources), key=lambda each: (-each[1].repository.priority, each[0]))
        self._sources = [source for _number, source in ordered]
        self._system, self._warn = system, warn
        self.state = _State()
        self._pending: List[str] = []

    # what is wanted

    def ask(self, written: str, who: str) -> None:
        """Choose what the definition names."""
        if _GLOB.search(written):
            raise RepositoryError(
                "image_pkg: {0} is a pattern, and would mean something else when the repository grows".format(written),
                todo="name the packages",
            )
        self._choose(self._by_origin(written) if "/" in written else self._by_name(written), "", who)

    def _by_name(self, written: str) -> Tuple[Record, Repository]:
        if self._named(written):
            return self._best(written, written)
        name, _dash, number = written.rpartition("-")
        if name and self._named(name):
            return self._best(name, written, number)
        raise RepositoryError(
            "{0}: no repository has a package {1}{2}".format(
                "image_base" if self._system.base is not None and is_base(written) else "image_pkg",
                written,
                self._hint(written),
            ),
            todo="see https://www.freshports.org for the names of packages, or give the port (www/nginx)",
        )

    def _by_origin(self, written: str) -> Tuple[Record, Repository]:
        origin, _at, flavour = written.partition("@")
        found = [
            each
            for source in self._sources
            for each in source.index.of_origin(origin)
            if self._system.has(each.name, source.repository.name)
        ]
        named = {each.name: each.flavour for each in found if not flavour or each.flavour == flavour}
        if len(named) > 1:
            titles = [key + (value and " (@{0})".format(value)) for key, value in sorted(named.items())]
            raise RepositoryError(
                "image_pkg: {0} is several packages: {1}".format(written, first_of(titles, NAMED)),
                todo="name the one that you want",
            )
        if not named:
            others = sorted({"@" + each.flavour for each in found if each.flavour})
            raise RepositoryError(
                "image_pkg: no repository has a package of the port {0}{1}".format(
                    written, "; it has the flavours {0}".format(", ".join(others)) if others else ""
                )
            )
        return self._best(next(iter(named)), written)

    def _hint(self, name: str) -> str:
        replaced = next((source.index.summary.replaced.get(name) for source in self._sources), None)
        if replaced:
            return " any more: {0}".format(replaced)
        known = [each for source in self._sources for each in source.index.names()]
        near = [each for each in known if each.startswith(name)][:NAMED] or difflib.get_close_matches(name, known, 3)
        return " (there is {0})".format(", ".join(near)) if near else ""

    # one package

    def _named(self, name: str) -> List[Tuple[Record, Repository]]:
        """The packages with a name, and where they are."""
        return [
            (record, source.repository)
            for source in self._sources
            if self._system.has(name, source.repository.name)
            for record in source.index.named(name)
        ]

    def _unfit(self, record: Record) -> str:
        """Why a package cannot be in this image; empty when it can."""
        if not fits(record.abi, self._system.abi):
            return "it is for {0}, and the image is {1}".format(record.abi, self._system.abi)
        return self._system.refuses(record.name, record.version, record.osversion, record.is_module)

    def _best(self, name: str, what: str, number: str = "") -> Tuple[Record, Repository]:
        """The package that is taken of those with a name.

        :raises RepositoryError: when there is none that fits.
        """
        found = [each for each in self._named(name) if number in ("", each[0].version)]
        good = [each for each in found if not self._unfit(each[0])]
        if good:
            highest = max(each[1].priority for each in good)
            good = [each for each in good if each[1].priority == highest]
            return max(good, key=lambda each: version.key(each[0].version))  # of equal ones the first
        if found:
            record = found[0][0]
            raise RepositoryError(
                "{0} cannot be in the image: {1}".format(record.title, self._unfit(record)),
                todo=self._system.modules
                if record.is_module and fits(record.abi, self._system.abi)
                else "see whether image_pkg_repository and image_abi belong together",
            )
        others = sorted({record.version for record, _repository in self._named(name)})
        rest = "; of {0} there is {1}".format(name, ", ".join(others)) if others else ""
        raise RepositoryError("no repository has {0}{1}".format(what, rest))

    def _choose(self, best: Tuple[Record, Repository], because: str, why: str) -> None:
        record, repository = best
        before = self.state.chosen.get(record.name)
        if before is not None:
            if before.record != record:
                raise RepositoryError(
                    "image_pkg asks for {0} and for {1}, which cannot both be".format(before.record.title, record.title)
                )
            return
        self.state.chosen[record.name] = Chosen(record, repository, because, why)
        self._pending.append(record.name)
        for thing in [*record.brings, *record.provides]:
            self.state.brought.setdefault(thing, set()).add(record.name)

    # what they need

    def close(self) -> None:
        """Choose what is needed, until nothing is missing."""
        while self._pending:
            self._close_names()
            for name in sorted(self.state.chosen):
                record = self.state.chosen[name].record
                for library in record.libraries:
                    self._bring(record, library, is_library=True)
                for thing in record.requires:
                    self._bring(record, thing, is_library=False)
                if self._pending:  # what was brought may bring what others need
                    break

    def _close_names(self) -> None:
        while self._pending:
            record = self.state.chosen[self._pending.pop(0)].record
            for need in record.needs:
                if need in self.state.chosen or need in self._system.packages:
                    continue
                if not self._named(need):
                    raise RepositoryError(
                        "the package {0} is missing, which no repository has: {1} → {0}{2}".format(
                            need, self.state.chain(record.name), self._hint(need)
                        ),
                        todo="give it as a file (image_packages), or add the repository that has it",
                    )
                try:
                    best = self._best(need, need)
                except RepositoryError as error:
                    raise RepositoryError(
                        "{0}; {1} → {2}".format(error.what, self.state.chain(record.name), need), error.todo or ""
                    )
                self._choose(best, record.name, "needed by {0}".format(record.name))

    def _bring(self, record: Record, thing: str, is_library: bool) -> None:
        """Choose the package that has what another one needs, unless it is there."""
        if thing in self._system.libraries or thing in self.state.brought or ":" in thing:
            return  # libraries for 32-bit or Linux programs are only for who has these
        found = sorted(
            {
                each.name
                for source in self._sources
                for each in source.index.bringing(thing, is_library)
                if self._system.has(each.name, source.repository.name) and not self._unfit(each)
            }
        )
        # what another repository, or another version, has under that name may not bring it
        found = [name for name in found if thing in _things(self._best(name, name)[0], is_library)]
        # as in a system that is there already, what the base has goes before what a port brings
        found = [name for name in found if self._system.base is not None and is_base(name)] or found
        kind = "library " if is_library else ""
        if len(found) == 1:
            self._choose(self._best(found[0], found[0]), record.name, "has {0}, for {1}".format(thing, record.name))
            return
        chain = self.state.chain(record.name)
        if found:
            raise RepositoryError(
                "{0} needs the {1}{2}, which several packages have: {3}".format(
                    chain, kind, thing, first_of(found, NAMED)
                ),
                todo="add the one that you want to image_pkg",
            )
        if not is_library:
            self._warn("{0} requires {1}, which no package provides; pkg would not mind".format(chain, thing))
            self.state.brought[thing] = set()
            return
        raise RepositoryError(
            "{0} needs the library {1}, which neither the system nor any package has".format(chain, thing),
            todo="see whether the repository is for this release; what has it can be given in image_packages or "
            "image_sources",
        )

    # how they are together

    def check(self) -> None:
        """Refuse packages that cannot be beside each other; tell of those that need each other."""
        for name in sorted(self.state.chosen):
            for other in self.state.chosen[name].record.conflicts:
                if other != name and (other in self.state.chosen or other in self._system.packages):
                    raise RepositoryError(
                        "{0} and {1} cannot be in one image: {2}; {3}".format(
                            name, other, self.state.chain(name), self.state.chain(other)
                        ),
                        todo="take one of them out of image_pkg",
                    )
        needs = {name: each.record.needs for name, each in self.state.chosen.items()}
        for cycle in cycles(needs):
            self._warn("packages need each other: {0}; the repository has an error".format(" → ".join(cycle)))


def _things(record: Record, is_library: bool) -> Sequence[str]:
    return record.brings if is_library else record.provides


def _osversion_in(version: str) -> int:
    found = _OSVERSION.search(version)
    return int(found.group(1)) if found else 0


def _release(series: int) -> str:
    return "FreeBSD {0}.{1}".format(*divmod(series, 100))


def cycles(needs: Mapping[str, Sequence[str]]) -> Iterator[List[str]]:
    """Ways from a package back to itself, each package at most once.

    :param needs: names by name.
    """
    done: Set[str] = set()
    for start in sorted(needs):
        way: List[str] = []
        stack: List[Tuple[str, Optional[Iterator[str]]]] = [(start, None)]
        while stack:
            name, rest = stack.pop()
            if rest is None:
                if name in way:
                    yield [*way[way.index(name) :], name]
                    continue
                if name in done:
                    continue
                way.append(name)
                rest = iter(sorted(needs.get(name, ())))
            following = next(rest, None)
            if following is None:
                done.add(way.pop())
            else:
                stack += [(name, rest), (following, None)]
