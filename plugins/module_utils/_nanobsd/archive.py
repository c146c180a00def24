# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The finished tree: what it says of where it comes from, and its archive."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import stat
import tarfile
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.config import QUERIES
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import Definition, Place
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import Source, digest_of

#: the file, its format and its method, as plugin_utils/_image/origin.py has them (a test sees that it is so)
ORIGIN_JSON = "boot/nanozfs/origin.json"
FORMAT = 1
METHOD = "nanobsd"

#: of xz: the archive goes over the line once, and must not take longer to make than to send
PRESET = 1

#: bin/freebsd-version/freebsd-version.sh.in
_VERSION = re.compile(r'^USERLAND_VERSION="?([^"\n]*)"?$', re.MULTILINE)


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def release_of(world: str) -> str:
    """The release of a system, as its ``freebsd-version -u`` says it; empty where it has none."""
    found = _VERSION.search(_text(os.path.join(world, "bin", "freebsd-version")))
    return found.group(1) if found else ""


def _rows(path: str, width: int) -> Iterator[List[str]]:
    for line in _text(path).split("\n"):
        words = line.split("\t")
        if len(words) == width and words[0]:
            yield words


def packages_of(place: Place) -> List[Dict[str, Any]]:
    """The packages that are installed, from the answers to the :data:`QUERIES` of the configuration."""
    names, licenses, options = (place.at(name) for name, _query in QUERIES)
    found: Dict[str, Dict[str, Any]] = {
        name: {"name": name, "version": version, "origin": origin, "licenses": [], "options": {}, "sha256": ""}
        for name, version, origin in _rows(names, 3)
    }
    for name, each in _rows(licenses, 2):
        if name in found:
            found[name]["licenses"].append(each)
    for name, key, value in _rows(options, 3):
        if name in found:
            found[name]["options"][key] = value
    for package in found.values():
        path = os.path.join(place.packages, "{name}-{version}.pkg".format(**package))
        if os.path.isfile(path):
            package["sha256"] = digest_of(path)
        package["licenses"].sort()
    return [found[name] for name in sorted(found)]


def origin(definition: Definition, source: Source, release: str, packages: Sequence[Dict[str, Any]]) -> str:
    """The text of ``boot/nanozfs/origin.json``."""
    values = {
        "format": FORMAT,
        "method": METHOD,
        "release": release,
        "revision": source.revision,
        "options": dict(definition.named),
        "inputs": [],
        "packages": list(packages),
    }
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _paths(world: str) -> Iterator[str]:
    """Everything in the tree, sorted, directories before what is in them."""
    for directory, folders, names in os.walk(world):
        folders.sort()
        yield directory
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        for name in sorted(names + links):
            yield os.path.join(directory, name)


def _member(tar: tarfile.TarFile, path: str, world: str) -> tarfile.TarInfo:
    """Owners as numbers: names may mean somebody else on the controller. No times: they are those of the build."""
    member = tar.gettarinfo(path, os.path.relpath(path, world))
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def pack(world: str, archive: str) -> Tuple[str, int]:
    """Pack the tree; the same tree gives the same bytes.

    :param world: path of its root.
    :param archive: path of the archive, which is replaced when all of it is written.
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
                            tar.addfile(_member(tar, path, world), file)
                    elif stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
                        tar.addfile(_member(tar, path, world))
            out.flush()
            os.fsync(out.fileno())
        digest, size = digest_of(partial), os.path.getsize(partial)
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
