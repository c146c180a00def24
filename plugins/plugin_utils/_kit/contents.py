# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be at hand when the controller is gone: the site's files, the keys that it names, and this collection.

A kit that lacks something is noticed on the day it is needed. So what is named and cannot be read is an error here, and
what a site usually has and this one has not is said.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of, printable

#: folders in the kit: of the site, of what it names elsewhere, of passwords of vaults, of this collection
SITE, OUTSIDE, VAULT, COLLECTIONS = "site", "outside", "vault", "collections"

#: where ansible-core looks for this collection below :data:`COLLECTIONS`
PLACE = "ansible_collections/nanozfs/fleet"

#: what is made anew wherever it is needed; and older kits
REMADE = (
    "*.kit",
    "*.kit.txt",
    ".git",
    ".cache",
    ".ansible",
    "__pycache__",
    "*.pyc",
    ".venv",
    "venv",
    "node_modules",
    ".tox",
)

_SAFE = "no kit was written; one that was there is as it was"


class Member(NamedTuple):
    """One thing of the kit: a file with its content, a link with its target, or an empty folder.

    ``source`` is its path on the controller, for people; ``mode`` are its permission bits.
    """

    name: str
    source: str
    kind: str
    mode: int
    content: bytes


FILE, LINK, FOLDER = "file", "link", "folder"


class Wish(NamedTuple):
    """What a kit shall have.

    :param roots: the folders of the site.
    :param named: files elsewhere that the site names: what for, and the path.
    :param collection: the folder of this collection; ``None`` to leave it out.
    :param vaults: passwords of vaults, by the vault's id.
    :param left: folders and files to leave out, by their full path.
    :param patterns: names, and paths below a folder of the site, to leave out (fnmatch(3)).
    :param limit: how much that may be, in bytes.
    """

    roots: Sequence[str]
    named: Sequence[Tuple[str, str]] = ()
    collection: Optional[str] = None
    vaults: Mapping[str, bytes] = {}
    left: Sequence[str] = ()
    patterns: Sequence[str] = ()
    limit: int = 32 << 20


def tops(folders: Iterable[str]) -> List[str]:
    """Folders without those that are in another one of them, in their order."""
    real = list(dict.fromkeys(os.path.realpath(each) for each in folders if os.path.isdir(each)))
    return [each for each in real if not any(each != other and is_in(each, other) for other in real)]


def homes(roots: Iterable[str]) -> Dict[str, str]:
    """What the folders of a site are called in a kit, and where they are."""
    return {SITE if not number else "{0}-{1}".format(SITE, number + 1): top for number, top in enumerate(tops(roots))}


def is_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or in it; both are full paths."""
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)


def _is_left(path: str, relative: str, wish: Wish) -> bool:
    name = os.path.basename(path)
    patterns = (*REMADE, *wish.patterns)
    return any(is_in(path, each) for each in wish.left) or any(
        fnmatch.fnmatchcase(name, each) or fnmatch.fnmatchcase(relative, each) for each in patterns
    )


def _names(top: str, wish: Wish) -> Iterator[str]:
    """The paths of what is in a folder, below it, in order."""

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(top, onerror=fail):
        below = os.path.relpath(folder, top)
        if folder != top and not folders and not files:
            yield below
        kept = {}
        for name in sorted(folders + files):
            relative = os.path.normpath(os.path.join(below, name))
            if not _is_left(os.path.join(folder, name), relative, wish):
                kept[name] = relative
        folders[:] = [name for name in folders if name in kept]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # os.walk() goes into none
        yield from (kept[name] for name in [*links, *files] if name in kept)


def _read(path: str, name: str, tree: str) -> Optional[Member]:
    """A thing as it is; ``None`` for sockets and the like.

    :param tree: what its links may lead to and stay links; what they lead to elsewhere is taken in their place.
    """
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        real = os.path.realpath(path)
        if not os.path.isabs(target) and is_in(real, tree):
            return Member(name, path, LINK, 0o777, os.fsencode(target))
        status = os.stat(path)
        mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Member(name, path, FOLDER, mode, b"")
    if not stat.S_ISREG(status.st_mode):
        return None
    with open(path, "rb") as file:
        return Member(name, path, FILE, mode, file.read())


def gather(wish: Wish) -> List[Member]:
    """Everything that is wanted, in the order of names.

    :raises Refused: when something cannot be read, or it is too much.
    """
    places: List[Tuple[str, str, str]] = []
    try:
        for folder, top in homes(wish.roots).items():
            places += [(os.path.join(top, each), "{0}/{1}".format(folder, each), top) for each in _names(top, wish)]
        known = {path for path, _name, _tree in places}
        for _what, path in wish.named:
            real = os.path.realpath(path)
            if path not in known and real not in known:
                places.append((path, OUTSIDE + os.path.abspath(path), path))
        if wish.collection:
            top = os.path.realpath(wish.collection)
            places += [
                (os.path.join(top, each), "{0}/{1}/{2}".format(COLLECTIONS, PLACE, each), top)
                for each in _names(top, wish._replace(left=(), patterns=("tests", "molecule", "bench")))
            ]
        _refuse_size([path for path, _name, _tree in places], wish.limit)
        found = [_read(*each) for each in places]
    except OSError as error:
        raise Refused(
            "{0} cannot be read: {1}".format(printable(str(error.filename)), error.strerror),
            safe=_SAFE,
            todo="make it readable, or leave it out (kit_exclude)",
        )
    found += [
        Member("{0}/{1}".format(VAULT, _plain(ident)), "", FILE, 0o600, secret + b"\n")
        for ident, secret in sorted(wish.vaults.items())
    ]
    return sorted(each for each in found if each is not None)


def _plain(ident: str) -> str:
    """The id of a vault as the name of a file."""
    name = "".join(each if each.isalnum() or each in "._-" else "_" for each in ident)
    return name.lstrip(".") or "default"


def _refuse_size(paths: Sequence[str], limit: int) -> None:
    """Refuse what is too much, before it is read.

    :raises Refused: with the largest ones.
    """
    sizes = {path: os.stat(path).st_size for path in paths if os.path.isfile(path)}
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = sorted(sizes, key=lambda path: -sizes[path])[:5]
    raise Refused(
        "{0} with {1} MB are more than a kit may have ({2} MB); the largest are {3}".format(
            counted(len(sizes), "file"),
            total // 1000000,
            limit // 1000000,
            first_of([printable(path) for path in largest], 5),
        ),
        safe=_SAFE,
        todo="leave out what can be made anew (kit_exclude), or raise kit_size",
    )


def lacking(members: Sequence[Member], wish: Wish) -> List[str]:
    """What a kit usually has, and this one has not."""
    said = []
    if not any(what == "signing" for what, _path in wish.named):
        said.append("no key that signs images is named (image_signing_key): nothing can be published with it")
    if not any(what == "login" for what, _path in wish.named):
        said.append("no ssh key is named (kit_ssh_keys, ansible_ssh_private_key_file): with it alone nobody can log in")
    # the collection speaks of vaults, and has none
    files = [each for each in members if each.kind == FILE and not each.name.startswith(COLLECTIONS + "/")]
    protected = [each.source for each in files if each.content.startswith(b"$ANSIBLE_VAULT;")]
    inline = [each.source for each in files if b"!vault" in each.content]
    if (protected or inline) and not wish.vaults:
        said.append(
            "there are vaults ({0}), and this play was run without their password: nobody could open them".format(
                first_of([printable(path) for path in [*protected, *inline]], 3)
            )
        )
    return said
