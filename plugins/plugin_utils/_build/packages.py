# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Laying FreeBSD packages into a tree without pkg(8), which runs on FreeBSD only.

A package is a tar archive, compressed with zstd or xz: ``+COMPACT_MANIFEST``, ``+MANIFEST`` (JSON) and then the files,
with absolute paths. What its scripts would do cannot be done here, and is said. Source: pkg-create(8);
``libpkg/pkg_manifest.c`` of freebsd/pkg: ``users`` and ``groups`` are names, or names with a line of passwd(5) or
group(5); scripts are called ``pre-install``, ``install``, ``post-install``.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import (digest_file)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import (Package)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import (GROUP, MASTER, Accounts)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import (Say, Supplied)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import (Tree, TreeError)

MANIFEST = "+MANIFEST"
SUFFIX = ".pkg"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

#: scripts that pkg(8) runs when it installs
SCRIPTS = ("pre-install", "install", "post-install")

_SAFE = "nothing was built"


class PackageError(TreeError):
    """A package cannot be laid into the image."""


@dataclass(frozen=True)
class Archive:
    """A package's file, and what it says of itself.

    :param needs: names of the packages that it depends on.
    :param users: a line of passwd(5) for each user that it needs; empty where it only names it. ``groups`` likewise.
    :param scripts: the kinds of scripts that it would run when it is installed.
    """

    path: str
    package: Package
    abi: str
    needs: Tuple[str, ...]
    users: Tuple[Tuple[str, str], ...]
    groups: Tuple[Tuple[str, str], ...]
    scripts: Tuple[str, ...]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    """The archive as a stream.

    :raises PackageError: when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            is_zstd = file.read(4) == ZSTD_MAGIC
            file.seek(0)
            if is_zstd:
                with _unpacker(path, file) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                    yield tar
            else:
                with tarfile.open(fileobj=file, mode="r|*") as tar:
                    yield tar
    except (OSError, tarfile.TarError, EOFError) as error:
        raise PackageError("the package {0} cannot be read: {1}".format(path, error), safe=_SAFE)


@contextlib.contextmanager
def _unpacker(path: str, file: BinaryIO) -> Iterator[Any]:
    try:
        import zstandard  # noqa: PLC0415 - not everybody has packages, and some have only those with xz
    except ImportError:
        raise PackageError(
            "the package {0} is compressed with zstd, which this machine cannot read".format(path),
            safe=_SAFE,
            todo="install the Python package zstandard where Ansible runs",
        )
    try:
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain:
            yield plain
    except zstandard.ZstdError as error:
        raise PackageError("the package {0} cannot be read: {1}".format(path, error), safe=_SAFE)


def _lines(values: Any) -> Tuple[Tuple[str, str], ...]:
    """Users or groups: a list of names, of maps from names to lines, or such a map."""
    found: Dict[str, str] = {}
    for each in [values] if isinstance(values, Mapping) else values or []:
        found.update(each if isinstance(each, Mapping) else {str(each): ""})
    return tuple(sorted((str(name), str(line)) for name, line in found.items()))


def parse_manifest(text: str, path: str, sha256: str) -> Archive:
    """What a ``+MANIFEST`` says.

    :param path: of the package.
    :raises PackageError: when it cannot be read.
    """
    try:
        values = json.loads(text)
        lua = values.get("lua_scripts") or {}
        scripts = [name for name in SCRIPTS if (values.get("scripts") or {}).get(name) or lua.get(name)]
        return Archive(
            path=path,
            package=Package(
                name=str(values["name"]),
                version=str(values["version"]),
                origin=str(values.get("origin", "")),
                licenses=tuple(sorted(str(each) for each in values.get("licenses") or ())),
                options=tuple(sorted((str(key), str(value)) for key, value in (values.get("options") or {}).items())),
                sha256=sha256,
            ),
            abi=str(values.get("abi") or values.get("arch") or ""),
            needs=tuple(sorted(str(name) for name in values.get("deps") or {})),
            users=_lines(values.get("users")),
            groups=_lines(values.get("groups")),
            scripts=tuple(scripts),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackageError("the package {0} has no usable {1}: {2!r}".format(path, MANIFEST, error), safe=_SAFE)


def read(supplied: Supplied) -> Archive:
    """Look into a package.

    :raises PackageError: when it is none.
    """
    with _opened(supplied.path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name == MANIFEST else None
            if content is not None:
                return parse_manifest(content.read().decode("utf-8", "replace"), supplied.path, supplied.sha256)
    raise PackageError("{0} is no package: it has no {1}".format(supplied.path, MANIFEST), safe=_SAFE)


def expand(supplied: Sequence[Supplied]) -> List[Supplied]:
    """Packages, with folders replaced by the packages that are in them.

    A repository has the same file under several names; it is one package.

    :raises PackageError: when a folder has none.
    """
    found: Dict[str, Supplied] = {}
    for each in supplied:
        if not each.is_folder:
            found.setdefault(each.sha256, each)
            continue
        names = sorted(name for name in os.listdir(each.path) if name.endswith(SUFFIX))
        if not names:
            raise PackageError("the folder {0} has no packages ({1})".format(each.path, SUFFIX), safe=_SAFE)
        for name in names:
            full = os.path.join(each.path, name)
            digest = digest_file(full)
            found.setdefault(digest, Supplied(full, name, digest))
    return list(found.values())


def check(archives: Sequence[Archive], have: Sequence[str], abi: str) -> None:
    """See that packages fit together and into the image.

    :param have: names of packages that the tree has already.
    :param abi: of the image, ``FreeBSD:13:amd64``.
    :raises PackageError: when one is there twice, is for another system, or needs one that is missing.
    """
    names: Dict[str, Archive] = {}
    for each in archives:
        other = names.setdefault(each.package.name, each)
        if other is not each:
            raise PackageError(
                "the package {0} is given twice: {1} and {2}".format(each.package.name, other.path, each.path),
                safe=_SAFE,
            )
        if not fits(each.abi, abi):
            raise PackageError("{0} is for {1}, and the image {2}".format(each.path, each.abi, abi), safe=_SAFE)
    missing = {need: each for each in archives for need in each.needs if need not in names and need not in have}
    if missing:
        raise PackageError(
            "missing packages: {0}".format(
                ", ".join("{0} (for {1})".format(need, missing[need].package.name) for need in sorted(missing))
            ),
            safe=_SAFE,
            todo="add them to image_packages; `pkg fetch -d -o FOLDER NAME` gets a package with all that it needs",
        )


def fits(said: str, abi: str) -> bool:
    """Whether a package that says *said* of its ABI fits; ``*`` stands for any part, and old ones write it small."""
    ours, theirs = abi.lower().split(":"), said.lower().split(":")
    if len(theirs) > 3:  # the ``arch`` of old packages: freebsd:13:x86:64
        theirs = theirs[:2] + ["*"]
    return not said or all(one in ("*", other) for one, other in zip(theirs, ours))


def lay(tree: Tree, archives: Sequence[Archive], accounts: Accounts, scratch: str, say: Say) -> List[Tuple[str, str]]:
    """Lay packages into a tree.

    :param accounts: numbers of the users and groups of the image; those that packages bring are added.
    :param scratch: a folder for their contents.
    :param say: told what is not done.
    :returns: the lines of these users and groups, with the path of the file that each has to be added to when it is
        the last one of its name in the tree.
    :raises TreeError: when one cannot be read, or belongs to nobody that the image knows.
    """
    lines = []
    for each in sorted(archives, key=lambda each: each.package.name):
        for kind, wanted, path in (("user", each.users, MASTER), ("group", each.groups, GROUP)):
            known = accounts.users if kind == "user" else accounts.groups
            for name, line in wanted:
                if name not in known and _is_line(line, name):
                    lines.append((path, _full(line) + "\n"))
                    known[name] = int(line.split(":")[2])
                elif name not in known:
                    say(
                        "the package {0} needs the {1} {2}, which the image does not have".format(
                            each.package.name, kind, name
                        )
                    )
        _lay(tree, each, accounts, scratch)
        if each.scripts:
            say(
                "the package {0} has scripts that were not run ({1}); `pkg info -R -F {2}` shows them".format(
                    each.package.name, ", ".join(each.scripts), os.path.basename(each.path)
                )
            )
    return lines


def _is_line(line: str, name: str) -> bool:
    """Whether a line is that of the user or group of this name, and one line."""
    words = line.split(":")
    return len(words) in (4, 7, 10) and words[0] == name and words[2].isdigit() and line.isprintable()


def _full(line: str) -> str:
    """A line of passwd(5), with seven fields, as master.passwd has it, with ten; nothing matches its password."""
    words = line.split(":")
    if len(words) == 7:
        words = words[:4] + ["", "0", "0"] + words[4:]
    if len(words) == 10:
        words[1] = "*"
    return ":".join(words)


def _lay(tree: Tree, archive: Archive, accounts: Accounts, scratch: str) -> None:
    name = archive.package.name

    def owner(member: tarfile.TarInfo) -> Tuple[int, int]:
        what = "{0} of the package {1}".format(member.name, name)
        return accounts.uid(member.uname or "root", what), accounts.gid(member.gname or "wheel", what)

    def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in tar:
            if not member.name.startswith("+"):
                yield member

    with _opened(archive.path) as tar:
        tree.add_members(tar, members(tar), os.path.join(scratch, "pkg-" + archive.package.sha256[:16]), owner)


def packages_of(archives: Sequence[Archive]) -> Tuple[Package, ...]:
    """What the image says of them."""
    return tuple(sorted((each.package for each in archives), key=lambda each: each.name))
