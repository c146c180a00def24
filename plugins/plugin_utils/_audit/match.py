# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which known holes are in a system: its packages, its userland and its kernel, each by name and version.

Source: ``pkg_audit_is_vulnerable`` in ``libpkg/pkg_audit.c`` of freebsd/pkg (13f9f98) for packages: a name is a pattern
(fnmatch(3)), and of one of the ranges every bound must hold. The base has the names ``FreeBSD`` and ``FreeBSD-kernel``,
and the version ``13.2_4`` for 13.2-RELEASE-p4; source: ``scripts/periodic/405.pkg-base-audit.in`` there.

What cannot be compared is never taken for sound: it is a doubt, or a finding that says so.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of, plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.vuxml import (
    MAX_WORD,
    Advisory,
    Affected,
    Database,
    Range,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import version

PACKAGE, USERLAND, KERNEL = "package", "userland", "kernel"

#: the names of the base in VuXML, by what they are
BASE = {USERLAND: "FreeBSD", KERNEL: "FreeBSD-kernel"}

#: what the bounds of a range mean, of which of the results of a comparison each holds
_HOLDS = {"lt": (-1,), "le": (-1, 0), "eq": (0,), "ge": (0, 1), "gt": (1,)}

#: as freebsd-version(1) says it
_RELEASE = re.compile(r"([0-9]{1,4}\.[0-9]{1,4})-RELEASE(?:-p([0-9]{1,6}))?\Z")
#: the version of a package of the base (pkgbase; ``Makefile.inc1``): 15.0, 15.0p9
_PKGBASE = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}(?:p[0-9]{1,6})?\Z")

_MAGIC = re.compile(r"[*?\[\\]")


class Thing(NamedTuple):
    """Something that may have a hole, as VuXML names it.

    :param kind: :data:`PACKAGE`, :data:`USERLAND` or :data:`KERNEL`.
    :param shown: its version, as it says it itself.
    """

    kind: str
    name: str
    version: str
    shown: str


@dataclass(frozen=True)
class Subject:
    """A system that is audited.

    :param things: what is in it, and can be compared.
    :param release: of the userland, and ``kernel`` likewise, as they say it themselves; empty where they do not.
    :param doubts: what could not be audited, and why.
    """

    title: str
    things: Tuple[Thing, ...]
    release: str = ""
    kernel: str = ""
    packages: int = 0
    doubts: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A known hole.

    :param fixed: the version in which it is not any more; empty where that is not said.
    :param doubt: why it may be none; empty where there is no doubt.
    """

    thing: Thing
    advisory: Advisory
    fixed: str = ""
    doubt: str = ""


@functools.lru_cache(maxsize=1 << 12)
def _pattern(name: str) -> str:
    """A pattern as fnmatch(3) reads it, for Python: there ``[^`` is ``[!``, and a backslash takes what is special from
    the next character. Source: ``lib/libc/gen/fnmatch.c`` of FreeBSD.
    """
    given = re.sub(r"\\(.)", lambda each: "[{0}]".format(each[1]) if each[1] in "*?[" else each[1], name)
    return given.replace("[^", "[!")


def fits(name: str, pattern: str) -> bool:
    """Whether a name is what an entry calls it, which may be a pattern."""
    return name == pattern or bool(_MAGIC.search(pattern) and fnmatch.fnmatchcase(name, _pattern(pattern)))


def base_version(release: str) -> str:
    """What VuXML calls a release: ``13.2_4`` for ``13.2-RELEASE-p4``; empty for one that it does not know, such as
    a -STABLE.
    """
    match = _RELEASE.match(release)
    if match is None:
        return ""
    number, patch = match.groups()
    return "{0}_{1}".format(number, int(patch)) if patch and int(patch) else number


def _base(kind: str, release: str, doubts: List[str]) -> Iterator[Thing]:
    compared = base_version(release)
    if compared:
        yield Thing(kind, BASE[kind], compared, release)
    elif release:
        doubts.append("its {0} is {1}, and advisories only name releases".format(kind, plain(release)))
    else:
        doubts.append("it does not say which FreeBSD its {0} is".format(kind))


def _is_base_package(name: str, of: str) -> bool:
    return name.startswith("FreeBSD-") and bool(_PKGBASE.match(of))


def _behind(release: str, kernel: str, base: Sequence[Tuple[str, str]]) -> Iterator[str]:
    """Packages of the base that are older than the system says it is. An upgrade brings all of them to one patch level,
    so these lack what came in between, and :data:`BASE` does not say which of them an entry means.
    """
    for kind, said in ((USERLAND, release), (KERNEL, kernel)):
        compared = base_version(said)
        those = [each for each in base if each[0].startswith("FreeBSD-kernel") == (kind == KERNEL)]
        old = [each for each in those if compared and version.compare(each[1].replace("p", "_"), compared) < 0]
        if old:
            names = first_of(["{0} {1}".format(*each) for each in old], 3)
            yield "its {0} is {1}, and parts of it are older: {2}".format(kind, plain(said), plain(names))


def subject(title: str, release: str, kernel: str, packages: Iterable[Tuple[str, str]]) -> Subject:
    """A system.

    :param release: what ``freebsd-version -u`` says of it; ``kernel`` likewise ``-k``, where it is known.
    :param packages: names and versions.
    """
    doubts: List[str] = []
    things: List[Thing] = list(_base(USERLAND, release, doubts))
    if not kernel and release:
        kernel = release  # userland and kernel come from two archives, so it may be an older one
        doubts.append("it does not say which kernel it has: taken to be that of {0}".format(plain(release)))
    things += _base(KERNEL, kernel, doubts)
    given = list(packages)
    base: List[Tuple[str, str]] = []
    for name, of in given:
        if _is_base_package(name, of):  # its holes have the names of BASE
            base.append((name, of))
            continue
        if not name or not of or len(name) > MAX_WORD or len(of) > MAX_WORD:
            doubts.append("a package has no usable name and version: {0} {1}".format(plain(name), plain(of))[:200])
            continue
        things.append(Thing(PACKAGE, name, of, of))
    doubts += _behind(release, kernel, base)
    return Subject(title, tuple(things), release, kernel, len(given), tuple(doubts))


def subject_of(title: str, origin: Origin) -> Subject:
    """An image, by what it says of itself."""
    return subject(
        title, origin.release, origin.kernel_release, [(each.name, each.version) for each in origin.packages]
    )


def wanted(subjects: Sequence[Subject]) -> Callable[[str], bool]:
    """Whether a name, or a pattern of names, is that of something in these systems."""
    names = {thing.name for each in subjects for thing in each.things}
    known: Dict[str, bool] = {}

    def is_wanted(name: str) -> bool:
        if not _MAGIC.search(name):
            return name in names
        if name not in known:
            known[name] = any(fits(each, name) for each in names)
        return known[name]

    return is_wanted


def holds(bound: Tuple[str, str], of: str) -> bool:
    """Whether a version is within one bound of a range."""
    kind, limit = bound
    return version.compare(of, limit) in _HOLDS[kind]


def contains(span: Range, of: str) -> bool:
    """Whether a version is in a range."""
    return not span.readable or all(holds(each, of) for each in span.bounds)


def _names(affected: Affected, name: str) -> bool:
    return any(fits(name, each) for each in affected.names)


def _finding(advisory: Advisory, affected: Affected, thing: Thing) -> Iterator[Finding]:
    """Whether something is affected, at most once."""
    if not affected.ranges:  # nothing says that there is a version without it
        yield Finding(thing, advisory, doubt="the entry names no versions")
        return
    for span in affected.ranges:
        if contains(span, thing.version):
            yield Finding(thing, advisory, span.fixed, "" if span.readable else "a version in the entry is unreadable")
            return


class Matcher:
    """The entries of a database by the names in them."""

    def __init__(self, database: Database) -> None:
        self._exact: Dict[str, List[Tuple[Advisory, Affected]]] = {}
        self._patterns: List[Tuple[Advisory, Affected]] = []
        # a fleet has the same packages many times over, and each costs a look at every pattern
        self._named: Dict[str, List[Tuple[Advisory, Affected]]] = {}
        self._known: Dict[Thing, List[Finding]] = {}
        for advisory in database.advisories:
            for affected in advisory.affected:
                if any(_MAGIC.search(name) for name in affected.names):
                    self._patterns.append((advisory, affected))
                    continue
                for name in dict.fromkeys(affected.names):
                    self._exact.setdefault(name, []).append((advisory, affected))

    def findings(self, of: Subject) -> List[Finding]:
        """The known holes of a system: each entry once for each of its things, in the order of these."""
        return [finding for thing in dict.fromkeys(of.things) for finding in self._of(thing)]

    def _naming(self, name: str) -> List[Tuple[Advisory, Affected]]:
        """What names something, by its own name or by a pattern."""
        if name not in self._named:
            patterns = [each for each in self._patterns if _names(each[1], name)]
            self._named[name] = self._exact.get(name, []) + patterns
        return self._named[name]

    def _of(self, thing: Thing) -> List[Finding]:
        if thing not in self._known:
            found: Dict[int, Finding] = {}
            for advisory, affected in self._naming(thing.name):
                if affected.system and thing.kind == PACKAGE:  # a package that is called as the system
                    continue
                for each in _finding(advisory, affected, thing):
                    before = found.get(id(advisory))
                    if before is None or (before.doubt and not each.doubt):
                        found[id(advisory)] = each
            self._known[thing] = list(found.values())
        return self._known[thing]


def summary(findings: Sequence[Finding]) -> str:
    """How many there are, in a few words: ``3 known holes in 2 packages and the kernel``."""
    if not findings:
        return "no known holes"
    packages = len({each.thing for each in findings if each.thing.kind == PACKAGE})
    places = [counted(packages, "package")] if packages else []
    places += ["the " + kind for kind in (USERLAND, KERNEL) if any(each.thing.kind == kind for each in findings)]
    where = places[0] if len(places) == 1 else "{0} and {1}".format(", ".join(places[:-1]), places[-1])
    return "{0} in {1}".format(counted(len({each.advisory for each in findings}), "known hole"), where)
