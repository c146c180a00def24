# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of an image: which packages it has, exactly.

It is a file of the site, for its git: the same definition with the same lock is the same image next year, on another
controller and without a network, whatever repositories have by then. There is no time of its own in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, TypeVar

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Digest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import catalogue, digest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError

FORMAT = 1

#: no lock is larger (bytes)
MAX_LOCK = 16 << 20


@dataclass(frozen=True)
class From:
    """A repository that packages were taken from.

    :param url: its address, without a password.
    :param catalogue: SHA-256 of its catalogue, which was signed.
    :param newest: when the newest package in that was built.
    """

    name: str
    url: str
    catalogue: str
    newest: str = ""


@dataclass(frozen=True)
class Locked:
    """A package.

    :param repository: the name of its repository; ``path`` in that.
    :param sum: as the catalogue has it, in pkg's form; ``sha256`` of the file, empty until it was fetched.
    :param why: ``asked for``, ``needed by nginx``.
    :param privileged: files that run as somebody else, with their modes.
    :param osversion: and ``is_module``: of what system it is, see :class:`catalogue.Record`.
    """

    name: str
    version: str
    origin: str
    repository: str
    path: str
    size: int
    sum: str
    sha256: str
    why: str
    privileged: Tuple[str, ...] = ()
    osversion: int = 0
    is_module: bool = False

    @property
    def digest(self) -> Digest:
        """What the file must be."""
        return digest.parse(self.sum)

    @property
    def title(self) -> str:
        """Name and version."""
        return "{0}-{1}".format(self.name, self.version)


@dataclass(frozen=True)
class Lock:
    """All of it.

    :param abi: of the image.
    :param wanted: what the definition asks for, sorted.
    """

    abi: str
    wanted: Tuple[str, ...]
    repositories: Tuple[From, ...]
    packages: Tuple[Locked, ...]

    def encode(self) -> bytes:
        """The content of the file."""
        values = {
            "format": FORMAT,
            "abi": self.abi,
            "wanted": list(self.wanted),
            "repositories": [asdict(each) for each in self.repositories],
            "packages": [asdict(each) for each in sorted(self.packages, key=lambda each: each.name)],
        }
        return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")

    @property
    def sha256(self) -> str:
        """The digest of the file."""
        return hashlib.sha256(self.encode()).hexdigest()

    def has(self, wanted: str) -> bool:
        """Whether it has a package for what a definition asks for: a name, with or without a version, or a port."""
        origin = wanted.partition("@")[0]
        return any(wanted in (each.name, each.title) or origin == each.origin for each in self.packages)

    def completed(self, digests: Mapping[str, str], privileged: Mapping[str, Sequence[str]]) -> Lock:
        """With what is known when the packages are here.

        :param digests: SHA-256 by name; ``privileged`` likewise.
        """
        return replace(
            self,
            packages=tuple(
                replace(each, sha256=digests[each.name], privileged=tuple(privileged.get(each.name, ())))
                for each in self.packages
            ),
        )

    def lines(self) -> str:
        """What a diff compares: a line for each package."""
        return "".join(
            "{0} {1} {2} ({3}){4}\n".format(
                each.name,
                each.version,
                each.sum[:16],
                each.why,
                "".join(" " + path for path in each.privileged),
            )
            for each in sorted(self.packages, key=lambda each: each.name)
        )


_Entry = TypeVar("_Entry", From, Locked)

#: values of what is no text, for their types
_USUAL: Mapping[str, Any] = {"size": 0, "osversion": 0, "is_module": False, "privileged": ()}


def read(path: str) -> Optional[Lock]:
    """A lock; none where there is no file.

    :raises RepositoryError: when it cannot be read.
    """
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_LOCK + 1)
        return _parse(json.loads(raw.decode("utf-8")) if len(raw) <= MAX_LOCK else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError) as error:
        raise RepositoryError(
            "the lock {0} cannot be read: {1}".format(
                path, error.what if isinstance(error, RepositoryError) else repr(error)
            ),
            todo="take it out of git again, or remove it to have another one made",
        )


def _parse(values: Any) -> Lock:
    if values["format"] != FORMAT:
        raise ValueError("format {0!r}".format(values["format"]))
    lock = Lock(
        abi=str(values["abi"]),
        wanted=_texts(values["wanted"]),
        repositories=tuple(_entry(From, each) for each in values["repositories"]),
        packages=tuple(_entry(Locked, each) for each in values["packages"]),
    )
    for each in lock.packages:
        # of a lock that somebody sends, as of a catalogue, nothing is believed
        known = {"name": each.name, "version": each.version, "sum": each.sum}
        catalogue.parse_record(dict(known, repopath=each.path, pkgsize=each.size), "the lock")
        digest.parse(each.sum)
    if len({each.name for each in lock.packages}) != len(lock.packages):
        raise ValueError("a package is in it twice")
    return lock


def _texts(values: Any) -> Tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) and each.isprintable() for each in values):
        raise ValueError("{0!r} is no list of texts".format(values))
    return tuple(values)


def _entry(kind: Callable[..., _Entry], values: Mapping[str, Any]) -> _Entry:
    """A part of the lock, each of its values of the type that it must have.

    :raises ValueError: when one is not, or has something in it that a terminal would obey.
    """
    made = kind(**{key: _texts(value) if isinstance(value, list) else value for key, value in values.items()})
    for key, value in vars(made).items():
        usual = _USUAL.get(key, "")
        if type(value) is not type(usual) or (isinstance(value, str) and not value.isprintable()):
            raise ValueError("{0} is {1!r}".format(key, value))
    return made


def check_place(path: str) -> None:
    """See that a lock could be written, before anything is fetched and built.

    :raises RepositoryError: when it could not.
    """
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise RepositoryError(
            "the lock {0} cannot be written: {1} is no folder that can be written".format(path, folder),
            todo="name another file (image_pkg_lock)",
        )


def check_unchanged(path: str, before: Optional[Lock]) -> None:
    """See that nobody has written a lock since it was read, as a second build with the same one may.

    :param before: what was read.
    :raises RepositoryError: when somebody has.
    """
    if read(path) != before:
        raise RepositoryError(
            "the lock {0} was changed by somebody else meanwhile, by a second build perhaps".format(path),
            todo="build again: it goes by the lock that there is now",
        )


def write(path: str, lock: Lock) -> None:
    """Write it, when there is an image with what it names.

    :raises FleetError: when that is not possible.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, lock.encode())
    except OSError as error:
        raise FleetError(
            "the lock {0} cannot be written: {1}".format(path, error.strerror),
            safe="the image is published",
            todo="make room for the file and build again with image_pkg_update=true, or the lock does not name what is "
            "in the image",
        )


def changes(before: Optional[Lock], after: Lock) -> List[str]:
    """What differs, a line each, for people."""
    old: Dict[str, Locked] = {each.name: each for each in before.packages} if before else {}
    new = {each.name: each for each in after.packages}
    found = []
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if one is None and other is not None:
            found.append("{0} {1} added ({2})".format(name, other.version, other.why))
        elif other is None and one is not None:
            found.append("{0} {1} removed".format(name, one.version))
        elif one is not None and other is not None:
            if one.version != other.version:
                found.append("{0} {1} -> {2}".format(name, one.version, other.version))
            elif one.sum != other.sum:
                found.append("{0} {1} built anew".format(name, one.version))
            more = sorted(set(other.privileged) - set(one.privileged))
            if more:
                found.append("{0} has new files that run as somebody else: {1}".format(name, ", ".join(more)))
    return found
