# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a backup says of the host that it is of: ``nanozfs-host.json``, which the host itself wrote beside its files.

It comes back from a backup host, so it is judged before anything is made of it: names are names, paths stay inside of
the tree, numbers are numbers. What a property may be set to is left to zfs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
import time
import zlib
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import check_dataset_name, property_texts
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

FORMAT = 1

#: what the file is called, beside the files of the host
NAME = "nanozfs-host.json"

#: of the names below the pool, the one that carries the journal and holds cfg and var
ROOT = "nanozfs"

#: characters of a text that is shown
_SHOWN = 200

#: bytes of a description in JSON, with six for a character that is not ASCII; a backup host reads 64 MiB of one
LARGEST = 6 * (64 << 20)

_PROPERTY = re.compile(r"[a-z0-9:._-]{1,256}\Z")
_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}\Z")

#: seconds since the epoch
_YEAR_9999 = 253370764800


class Image(NamedTuple):
    """The system that ran when the backup was taken."""

    name: str
    version: str
    id: str

    def __str__(self) -> str:
        return "{0}-{1}".format(self.name or "?", self.version or "?")


@dataclass(frozen=True)
class Member:
    """A dataset of the host.

    :param name: below the pool; empty for the pool's own.
    :param path: where its files are in the tree; ``None`` where the backup has none of them.
    :param properties: its own.
    :param permissions: arguments of zfs-allow(8) that delegate them once more.
    :param why: why its files were left out.
    """

    name: str
    kind: str
    path: Optional[str]
    properties: Mapping[str, str] = field(default_factory=dict)
    permissions: Tuple[Tuple[str, ...], ...] = ()
    used: int = 0
    referenced: int = 0
    why: str = ""

    def full(self, pool: str) -> str:
        """Its name in a pool."""
        return "{0}/{1}".format(pool, self.name) if self.name else pool


@dataclass(frozen=True)
class Description:
    """A host as it was.

    :param taken: when, in seconds since the epoch, as the host's clock had it.
    :param flags: of files, by their path in the tree (``st_flags`` of chflags(2)).
    :param losses: what the backup says itself that it does not hold.
    """

    host: str
    hostid: str
    taken: int
    tag: str
    pool: str
    pool_properties: Mapping[str, str]
    members: Tuple[Member, ...]
    image: Image
    phase: str
    trial: bool
    flags: Mapping[str, int]
    losses: Tuple[str, ...]

    @property
    def stamp(self) -> str:
        """When it was taken, as a part of a name."""
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.taken))

    @property
    def when(self) -> str:
        """The same for people."""
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.taken))

    def member(self, name: str) -> Optional[Member]:
        """The dataset of a name below the pool."""
        return next((each for each in self.members if each.name == name), None)

    def named(self, name: str) -> Member:
        """The dataset that a person means.

        :param name: below ``<pool>/nanozfs``, or with the pool in front.
        :raises Refused: when the host had none, or the backup has none of its files.
        """
        wanted = name[len(self.pool) + 1 :] if name.startswith(self.pool + "/") else "{0}/{1}".format(ROOT, name)
        found = self.member(wanted)
        there = sorted(each.name[len(ROOT) + 1 :] for each in self.members if each.path and each.name != ROOT)
        if found is None or found.path is None:
            why = "" if found is None else " ({0})".format(found.why or "it was not mounted")
            raise Refused(
                "the backup has no dataset {0}{1}".format(name, why),
                safe="nothing was changed",
                todo="name one that it has: {0}".format(", ".join(there)),
            )
        return found

    def below(self, path: str) -> List[Member]:
        """The datasets that were mounted below a path of the tree, or on it."""
        return [each for each in self.members if each.path is not None and (each.path + "/").startswith(path + "/")]

    def flags_below(self, path: str) -> Dict[str, int]:
        """The flags of files at a path of the tree or below it, by their paths below that; empty for itself."""
        inside = path + "/" if path else ""
        found = {name[len(inside) :]: value for name, value in self.flags.items() if name.startswith(inside)}
        return dict(found, **{"": self.flags[path]}) if path in self.flags else found


def packed(value: Any) -> str:
    """A description as one word: whatever names are in it, nobody on the way to the host takes it apart."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode("ascii"))).decode("ascii")


def unpacked(text: str, most: int = LARGEST) -> Any:
    """The opposite of :func:`packed`.

    :param most: bytes that it may be unpacked; a little that was packed can be without end.
    :raises Refused: when it is none, or more.
    """
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text.encode("ascii"), validate=True), most + 1)
        if len(data) > most or not unpacking.eof:
            raise ValueError("its length")
        return json.loads(data.decode("ascii"))
    except (ValueError, RecursionError, zlib.error):
        raise _refuse("it has lost something on its way")


def ident(*words: str) -> str:
    """The id of a restore: the same for the same thing out of the same backup, so that one that was broken off is
    found again.
    """
    return hashlib.sha256(json.dumps(words).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def check_set(name: str) -> str:
    """What a backup host calls a backup.

    :raises Refused: when that is no name.
    """
    if not _SET.match(name):
        raise Refused(
            "{0!r} is no name of a backup".format(printable(name)[:60]),
            safe="nothing was changed",
            todo="name one of those that `nanozfs-backup list` shows on the backup host",
        )
    return name


def inside(path: str) -> bool:
    """Whether a path of the tree stays in it."""
    plain = bool(path) and "\0" not in path and posixpath.normpath(path) == path
    return plain and not path.startswith("/") and path.split("/", 1)[0] not in (".", "..")


def _refuse(what: str) -> Refused:
    return Refused(
        "what the backup says of its host ({0}) cannot be understood: {1}".format(NAME, what),
        safe="nothing was changed",
        todo="choose another backup (`nanozfs-backup list` on the backup host); single files can be taken out of this "
        "one by hand",
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise _refuse("its {0} is no text".format(key))
    return printable(str(value))[:_SHOWN]


def _count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key) or 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refuse("its {0} is no number".format(key))
    return value


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse("its {0} are no mapping".format(what))
    return value


def _properties(value: Any, what: str) -> Dict[str, str]:
    found = _mapping(value or {}, what)
    for key, text in found.items():
        if not _PROPERTY.match(str(key)) or not isinstance(text, (str, int, float)) or "\0" in str(text):
            raise _refuse("its {0} hold {1!r}".format(what, printable(str(key))[:60]))
    return property_texts(found)


def _permissions(value: Any) -> Tuple[Tuple[str, ...], ...]:
    found = value or ()
    right = isinstance(found, (list, tuple)) and all(
        isinstance(each, (list, tuple)) and len(each) > 1 and all(isinstance(word, str) and word for word in each)
        for each in found
    )
    if not right:
        raise _refuse("its permissions are no lists of arguments")
    return tuple(tuple(each) for each in found)


def _member(value: Any, pool: str) -> Member:
    values = _mapping(value, "datasets")
    name = values.get("name")
    if not isinstance(name, str):
        raise _refuse("a dataset has no name")
    if name:
        try:
            check_dataset_name("{0}/{1}".format(pool, name))
        except Refused as error:
            raise _refuse(printable(error.what))
    path = values.get("path")
    if path is not None and not (isinstance(path, str) and inside(path)):
        raise _refuse("the path of {0} leads out of the tree".format(name or pool))
    return Member(
        name=name,
        kind=_text(values, "kind") or "filesystem",
        path=path,
        properties=_properties(values.get("properties"), "properties"),
        permissions=_permissions(values.get("allow")),
        used=_count(values, "used"),
        referenced=_count(values, "referenced"),
        why=_text(values, "why"),
    )


def _flags(value: Any) -> Dict[str, int]:
    found = _mapping(value or {}, "flags")
    for path, number in found.items():
        if not isinstance(path, str) or not inside(path) or isinstance(number, bool) or not isinstance(number, int):
            raise _refuse("it has flags of what is no path in the tree")
        if not 0 <= number < 1 << 32:
            raise _refuse("its flags are no numbers of chflags(2)")
    return {str(path): int(number) for path, number in found.items()}


def parse(value: Any) -> Description:
    """The description that JSON held.

    :raises Refused: when it is of a later format, or holds what makes no sense.
    """
    values = _mapping(value, "values")
    if values.get("format") != FORMAT:
        raise _refuse("it has format {0}, and format {1} is known here".format(_text(values, "format"), FORMAT))
    pool = _mapping(values.get("pool"), "pool's values")
    name = _text(pool, "name")
    try:
        check_dataset_name(name)
    except Refused as error:
        raise _refuse(printable(error.what))
    datasets = values.get("datasets")
    if not isinstance(datasets, list):
        raise _refuse("its datasets are no list")
    members = sorted((_member(each, name) for each in datasets), key=lambda each: each.name.split("/"))
    if len({each.name for each in members}) < len(members):
        raise _refuse("it has a dataset twice")
    taken = _count(values, "taken")
    if not 0 < taken < _YEAR_9999:
        raise _refuse("it does not say when it was taken")
    image = _mapping(values.get("image") or {}, "image's values")
    losses = values.get("losses") or []
    if not isinstance(losses, list):
        raise _refuse("its losses are no list")
    return Description(
        host=_text(values, "host"),
        hostid=_text(values, "hostid"),
        taken=taken,
        tag=_text(values, "tag"),
        pool=name,
        pool_properties=_properties(pool.get("properties"), "pool's properties"),
        members=tuple(members),
        image=Image(_text(image, "name"), _text(image, "version"), _text(image, "id")),
        phase=_text(values, "phase"),
        trial=values.get("trial") is True,
        flags=_flags(values.get("flags")),
        losses=tuple(printable(str(each))[:_SHOWN] for each in losses),
    )
