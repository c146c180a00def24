# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a host says of files that a backup host names, for a backup to be compared with.

A backup host says what it has, and the host says what there is in the snapshot that it shows; which of the two is right
is judged over there (``_vault/verify.py``). Only what looks the same is read, as all else has changed since. A path is
walked folder by folder and follows no link, so nothing outside of what is shown is ever looked at: what is asked for is
a text that the other side made up.

Sources: open(2), ``O_NOFOLLOW`` and ``O_DIRECTORY``; stat(2): times are in nanoseconds, and what cannot be set is when
a file was last changed in any way (``st_ctime``).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_of

FILE, LINK, OTHER, GONE = "file", "link", "other", "gone"

#: how many files can be asked for, of how many the digest is told, and of how many bytes
MOST, MOST_DIGESTS, MOST_BYTES = 2000, 500, 4 << 30

#: characters of what can be asked: so many paths of 1024 bytes (PATH_MAX), each of which JSON writes as six characters
LONGEST = 16 << 20

#: bytes of a path
_PATH = 4096

_SECOND = 10**9


class Wanted(NamedTuple):
    """What a backup host has of a file.

    :param path: from the top of what is shown.
    :param kind: :data:`FILE` or :data:`LINK`.
    :param mtime: in nanoseconds since the epoch.
    """

    path: bytes
    kind: str
    size: int
    mtime: int


class Order(NamedTuple):
    """What a backup host wants to know.

    :param digests: of how many files at most, in their order.
    :param bytes: how much is read for that at most.
    """

    files: Tuple[Wanted, ...]
    digests: int
    bytes: int


def _whole(values: Mapping[str, Any], key: str, most: int, least: int = 0) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(key)
    return value


def _file(values: Any) -> Wanted:
    if not isinstance(values, dict) or values.get("kind") not in (FILE, LINK):
        raise ValueError("kind")
    path = values.get("path")
    if not isinstance(path, str):
        raise ValueError("path")
    data = path.encode("utf-8", "surrogateescape")
    if len(data) > _PATH or b"\0" in data or {b"", b".", b".."} & set(data.split(b"/")):
        raise ValueError("path")
    return Wanted(data, values["kind"], _whole(values, "size", 1 << 62), _whole(values, "mtime", 1 << 70, -(1 << 70)))


def wanted(text: str) -> Order:
    """What came from a backup host.

    :raises Refused: when it makes no sense, or is too much.
    """
    try:
        values = json.loads(text) if len(text) <= LONGEST else None
        if not isinstance(values, dict) or not isinstance(values.get("files"), list) or len(values["files"]) > MOST:
            raise ValueError("list of files")
        files = tuple(_file(each) for each in values["files"])
        return Order(files, _whole(values, "digests", MOST_DIGESTS), _whole(values, "bytes", MOST_BYTES))
    except (ValueError, RecursionError):
        raise Refused(
            "what the backup host asks to be compared makes no sense, or is too much",
            safe="nothing was read",
            todo="see that the backup host runs the same version of nanozfs.fleet",
        )


def same_time(one: int, other: int) -> bool:
    """Whether two times of a file (nanoseconds) are the same to rsync: of the same second (modify-window, rsync(1)).

    What was written twice in one second, and backed up between, no pull ever fetches anew: it is to be found here.
    """
    return one // _SECOND == other // _SECOND


def kind_of(info: os.stat_result) -> str:
    """What something is, of the kinds that are compared."""
    return FILE if stat.S_ISREG(info.st_mode) else LINK if stat.S_ISLNK(info.st_mode) else OTHER


def facts_of(info: os.stat_result) -> Dict[str, Any]:
    """What is compared of something besides its content."""
    return {
        "kind": kind_of(info),
        "size": info.st_size,
        "mtime": info.st_mtime_ns,
        "ctime": info.st_ctime_ns,
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def content_of(path: bytes, kind: str, folder: Optional[int] = None) -> str:
    """SHA-256 of a file, or of where a link leads.

    :param folder: that the path is from, as a handle.
    :raises OSError: when it cannot be read, or is of another kind meanwhile.
    """
    if kind == LINK:
        return hashlib.sha256(os.readlink(path, dir_fd=folder)).hexdigest()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        return digest_of(file)


def open_folder(top: int, path: bytes) -> int:
    """A folder, as a handle, however long its path is.

    :param top: that it is below, as a handle.
    :param path: from there on; empty for itself.
    :raises OSError: when it is none, or a link is on the way.
    """
    handle = os.dup(top)
    for part in filter(None, path.split(b"/")):
        above = handle
        try:
            handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        finally:
            os.close(above)
    return handle


def _row(top: int, each: Wanted, left: int) -> Dict[str, Any]:
    """What there is of one file.

    :param left: bytes that may be read.
    """
    above, _slash, name = each.path.rpartition(b"/")
    try:
        folder = open_folder(top, above)
    except OSError:
        return {"kind": GONE}
    try:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return {"kind": GONE}
        row = facts_of(info)
        if row["kind"] != each.kind or row["size"] != each.size or not same_time(row["mtime"], each.mtime):
            return row
        if row["size"] > left:
            return dict(row, large=True)
        try:
            return dict(row, sha256=content_of(name, each.kind, folder))
        except OSError as error:
            return dict(row, problem=str(error.strerror))
    finally:
        os.close(folder)


def look(root: str, order: Order) -> List[Dict[str, Any]]:
    """What there is of the files, in their order; it ends where as many digests are told as are wanted.

    :param root: of what is shown.
    """
    rows: List[Dict[str, Any]] = []
    digests, left = order.digests, order.bytes
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in order.files:
            if digests <= 0:
                break
            row = _row(top, each, left)
            if "sha256" in row:
                digests -= 1
                left -= row["size"]
            rows.append(row)
    finally:
        os.close(top)
    return rows
