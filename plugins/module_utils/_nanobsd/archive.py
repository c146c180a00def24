# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The finished tree: what it says of where it comes from, and its archive."""

from __future__ import annotations

import contextlib
import lzma
import os
import stat
import tarfile
from typing import Dict, Iterator, List, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, Package, release_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.config import QUERIES
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import Definition, Place
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import Source

METHOD = "nanobsd"

#: of xz: the archive goes over the line once, and must not take longer to make than to send
PRESET = 1

#: where packages are installed
LOCAL = "usr/local/"


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _rows(path: str, width: int) -> Iterator[List[str]]:
    for line in _text(path).split("\n"):
        words = line.split("\t")
        if len(words) == width and words[0]:
            yield words


def packages_of(place: Place) -> Tuple[Package, ...]:
    """The packages that are installed, from the answers to the :data:`QUERIES` of the configuration, by name."""
    names, licenses, options = (place.at(name) for name, _query in QUERIES)
    licensed: Dict[str, Set[str]] = {}
    for name, each in _rows(licenses, 2):
        licensed.setdefault(name, set()).add(each)
    chosen: Dict[str, Dict[str, str]] = {}
    for name, key, value in _rows(options, 3):
        chosen.setdefault(name, {})[key] = value
    found = {}
    for name, version, port in _rows(names, 3):
        path = os.path.join(place.packages, "{0}-{1}.pkg".format(name, version))
        found[name] = Package(
            name=name,
            version=version,
            origin=port,
            licenses=tuple(sorted(licensed.get(name, ()))),
            options=tuple(sorted(chosen.get(name, {}).items())),
            sha256=digest_file(path) if os.path.isfile(path) else "",
        )
    return tuple(found[name] for name in sorted(found))


def origin_of(definition: Definition, source: Source, place: Place) -> Origin:
    """Where the finished tree comes from."""
    script = _text(os.path.join(place.world, "bin", "freebsd-version")).encode("utf-8", "replace")
    return Origin(
        METHOD,
        release=release_of(script),
        revision=source.revision,
        options=tuple(sorted(definition.named)),
        packages=packages_of(place),
    )


def _paths(world: str) -> Iterator[str]:
    """Everything in the tree, sorted, directories before what is in them."""
    for directory, folders, names in os.walk(world):
        folders.sort()
        yield directory
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        for name in sorted(names + links):
            yield os.path.join(directory, name)


def _member(tar: tarfile.TarFile, path: str, world: str, began: float) -> tarfile.TarInfo:
    """Owners as numbers: names may mean somebody else on the controller.

    Times are those of the build, so there are none, except of what packages brought with them: Python compares the time
    of a source file with the one in its compiled form, and would compile everything at each start.
    """
    name = os.path.relpath(path, world)
    member = tar.gettarinfo(path, name)
    member.uname = member.gname = ""
    kept = member.isreg() and name.startswith(LOCAL) and member.mtime < began
    member.mtime = int(member.mtime) if kept else 0
    return member


def pack(world: str, archive: str, began: float) -> Tuple[str, int]:
    """Pack the tree; the same tree gives the same bytes.

    :param world: path of its root.
    :param archive: path of the archive, which is replaced when all of it is written.
    :param began: when the build began, in seconds since the epoch: what is older came with packages.
    :returns: SHA-256 and size in bytes of the archive.
    :raises FleetError: when it cannot be written.
    """
    partial = archive + ".part"
    try:
        with open(partial, "wb") as out:
            os.fchmod(out.fileno(), 0o600)
            with lzma.open(out, "wb", preset=PRESET) as packed, tarfile.open(
                fileobj=packed, mode="w", format=tarfile.PAX_FORMAT
            ) as tar:
                for path in _paths(world):
                    kind = os.lstat(path).st_mode
                    if stat.S_ISREG(kind):
                        with open(path, "rb") as file:
                            tar.addfile(_member(tar, path, world, began), file)
                    elif stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
                        tar.addfile(_member(tar, path, world, began))
            out.flush()
            os.fsync(out.fileno())
        digest, size = digest_file(partial), os.path.getsize(partial)
        os.replace(partial, archive)
        return digest, size
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise FleetError(
            "the tree cannot be packed into {0}: {1}".format(archive, error.strerror or error),
            safe="the tree itself is in {0}".format(world),
            todo="see whether there is room, then run the play again",
        )
