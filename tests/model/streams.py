# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs send and zfs receive.

A stream begins with a real record (``struct dmu_replay_record`` of OpenZFS's ``include/sys/zfs_ioctl.h``), so that
whoever judges streams can judge these. What follows is the model's own: how much there is, where this stream begins in
it, and all files of the snapshot as a tar archive; an incremental one is as long as a full one. What a cut line has
brought of that is kept, and a token says how much it is.

What ``zfs receive`` complains of: ``zfs_receive_one()`` and ``recv_ecksum_set_aux()`` of ``libzfs_sendrecv.c`` of
OpenZFS 2.1.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import time
from typing import Any, Dict, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.tests.model import datasets, trees
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail
from ansible_collections.nanozfs.fleet.tests.model.pools import Item, Pools
from ansible_collections.nanozfs.fleet.tests.model.properties import FILESYSTEM, SNAPSHOT

_RECORD = "<IIQQQIIQQ256s"
_MAGIC = 0x2F5BACBAC
_HEAD = struct.calcsize(_RECORD)
_LENGTHS = "<QQ"

#: features of a stream: those of -L, -e and -c, of a resumed one, and of a raw one
_LARGE, _EMBED, _RESUMING, _COMPRESSED, _RAW = 1 << 19, 1 << 16, 1 << 20, 1 << 22, 1 << 24

#: what they are called in a token
_IN_TOKENS = (("largeblockok", _LARGE), ("embedok", _EMBED), ("compressok", _COMPRESSED), ("rawok", _RAW))


def as_text(data: bytes) -> str:
    """Bytes on their way through a command, which the model has as text."""
    return data.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The same back."""
    return text.encode("utf-8", "surrogateescape")


class Head(NamedTuple):
    """What the first record says."""

    features: int
    to: str
    begin: str
    name: str


def _head(head: Head) -> bytes:
    version = 1 | head.features << 2
    name = head.name.encode()
    return struct.pack(_RECORD, 0, 0, _MAGIC, version, int(time.time()), 2, 0, int(head.to), int(head.begin), name)


def _read_head(data: bytes) -> Head:
    if len(data) < _HEAD:
        raise Fail("cannot receive: failed to read from stream")
    kind, _payload, magic, version, _time, _of, _flags, to, begin, name = struct.unpack(_RECORD, data[:_HEAD])
    if magic != _MAGIC or kind != 0:
        raise Fail("cannot receive: invalid stream (bad magic number)")
    return Head(version >> 2, str(to), str(begin), name.rstrip(b"\0").decode())


def _archive(folder: str) -> bytes:
    """The files of a snapshot; the same each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(folder, ".")
    return buffer.getvalue()


def _unpack(data: bytes, folder: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r") as archive:
        archive.extractall(folder, numeric_owner=True)


# sending


def features_of(letters: str) -> int:
    """The features that options of zfs send ask for."""
    if "w" in letters:
        return _RAW | _LARGE | _EMBED | _COMPRESSED
    return sum(bit for letter, bit in (("L", _LARGE), ("e", _EMBED), ("c", _COMPRESSED)) if letter in letters)


def base_of(pools: Pools, item: Item, name: str) -> Item:
    """What an incremental stream begins at: a bookmark, or a snapshot, of the same dataset."""
    action = "warning: cannot send '{0}'".format(item.name)
    whole = item.pool.full(item.dataset) + name if name[:1] in "#@" else name
    base = pools.find(whole)
    if base is None:
        raise Fail("{0}: incremental source ({1}) does not exist".format(action, whole))
    if base.record["createtxg"] >= item.record["createtxg"] or base.dataset != item.dataset:
        raise Fail("{0}: not an earlier snapshot from the same fs".format(action))
    return base


def send(item: Item, base: Optional[Item], features: int) -> bytes:
    """A stream of a snapshot."""
    encrypted = item.pool.datasets[item.dataset].get("crypt")
    if encrypted and encrypted.get("locked") and not features & _RAW:
        raise Fail("warning: cannot send '{0}': source key must be loaded".format(item.name))
    if not encrypted:
        features &= ~_RAW
    return _stream(item, base.record["guid"] if base else "0", features, 0)


def _stream(item: Item, begin: str, features: int, offset: int) -> bytes:
    body = _archive(item.pool.kept(item.record))
    head = _head(Head(features, item.record["guid"], begin, item.name))
    return head + struct.pack(_LENGTHS, len(body), offset) + body[offset:]


def size_of(item: Item) -> int:
    """How long a stream is, about."""
    return len(_archive(item.pool.kept(item.record)))


class Token(NamedTuple):
    """What a token holds."""

    item: Item
    begin: str
    features: int
    offset: int
    text: str


def token_of(pools: Pools, text: str, told: bool) -> Token:
    """What a token holds, with the snapshot, which is found by its guid in the whole pool.

    :param told: print what it holds, also where that is of no use any more.
    """
    try:
        version, _checksum, _length, packed = text.split("-")
        held: Dict[str, Any] = json.loads(bytes.fromhex(packed))
        if version != "1":
            raise ValueError(version)
    except ValueError:
        raise Fail("cannot resume send: resume token is corrupt (invalid format)")
    lines = ["resume token contents:", "nvlist version: 0"]
    for key in ("fromguid", "object", "offset", "bytes", "toguid"):
        if key in held:
            lines.append("\t{0} = {1:#x}".format(key, held[key]))
    lines.append("\ttoname = {0}".format(held["toname"]))
    features = 0
    for key, bit in _IN_TOKENS:
        if held.get(key):
            features |= bit
            lines.append("\t{0} = 1".format(key))
    pool = pools.by_name(held["toname"].partition("/")[0].partition("@")[0])
    for name, record in pool.datasets.items() if pool else ():
        for each in record["snapshots"]:
            if each["guid"] == str(held["toguid"]) and pool is not None:
                text = "".join(line + "\n" for line in lines)
                begin = str(held.get("fromguid", 0))
                return Token(Item(pool, name, SNAPSHOT, each), begin, features, held["bytes"], text)
    contents = "".join(line + "\n" for line in lines) if told else ""
    words = "cannot resume send: '{0}' used in the initial send no longer exists"
    raise Fail(words.format(held["toname"]), rc=255, out=contents)


def resume(token: Token) -> bytes:
    """The rest of a stream."""
    return _stream(token.item, token.begin, token.features | _RESUMING, token.offset)


# receiving


def resume_token(item: Item) -> Optional[str]:
    """The property of that name."""
    part = item.record.get("receiving")
    if part is None:
        return None
    held: Dict[str, Any] = {key: part[key] for key in ("bytes", "toguid", "toname")}
    held.update(object=1, offset=part["bytes"])
    if part["fromguid"]:
        held["fromguid"] = part["fromguid"]
    held.update({key: True for key, bit in _IN_TOKENS if part["features"] & bit})
    packed = json.dumps(held, sort_keys=True).encode().hex()
    return "1-{0:x}-{1:x}-{2}".format(sum(packed.encode()), len(packed) // 2, packed)


def receive(pools: Pools, name: str, data: bytes, resumable: bool) -> None:
    """``zfs receive``, without a mount."""
    head = _read_head(data)
    item = pools.find(name)
    new = head.begin == "0"
    if head.features & _RESUMING:
        _resume(pools, name, item, head, data, resumable)
        return
    action = "cannot receive {0} stream".format("new filesystem" if new else "incremental")
    if new and item is not None:
        raise Fail("{0}: destination '{1}' exists\nmust specify -F to overwrite it".format(action, name))
    if item is None and not new:
        raise Fail("{0}: destination '{1}' does not exist".format(action, name))
    if item is None:
        made = datasets.create(pools, name, {})
        found = made.pool.datasets[made.dataset]
        item = Item(made.pool, made.dataset, FILESYSTEM, found)
        if head.features & _RAW:
            found["crypt"] = {
                "encryption": "aes-256-gcm",
                "keyformat": "passphrase",
                "keylocation": "prompt",
                "root": found["object"],
                "locked": True,
            }
    elif item.record.get("receiving"):
        words = '{0}: destination {1} contains partially-complete state from "zfs receive -s".'
        raise Fail(words.format(action, name))
    else:
        _check_base(item, head.begin, action)
    _take(item, head, data, b"", resumable, action)


def _check_base(item: Item, guid: str, action: str) -> None:
    """Refuse what does not begin at the newest snapshot: an older one is as if that had been changed since."""
    guids = [each["guid"] for each in item.record["snapshots"]]
    if guid not in guids:
        raise Fail("{0}: most recent snapshot of {1} does not\nmatch incremental source".format(action, item.name))
    if guid != guids[-1]:
        raise Fail("{0}: destination {1} has been modified\nsince most recent snapshot".format(action, item.name))


def _resume(pools: Pools, name: str, item: Optional[Item], head: Head, data: bytes, resumable: bool) -> None:
    action = "cannot receive resume stream"
    part = item.record.get("receiving") if item else None
    if item is None or part is None:
        raise Fail("{0}: destination '{1}' does not exist".format(action, name))
    if str(part["toguid"]) != head.to:
        raise Fail("{0}: kernel modules must be upgraded to receive this stream.".format(action))
    with open(_partial(item), "rb") as file:
        _take(item, head, data, file.read(), resumable, action)


def _partial(item: Item) -> str:
    folder = item.pool.path("partial")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, str(item.record["object"]))


def _take(item: Item, head: Head, data: bytes, before: bytes, resumable: bool, action: str) -> None:
    """Keep what has come; make a snapshot of it when that is all."""
    rest = data[_HEAD:]
    size = struct.calcsize(_LENGTHS)
    length, offset = struct.unpack(_LENGTHS, rest[:size]) if len(rest) >= size else (-1, len(before))
    body = before[:offset] + rest[size:]
    pool = item.pool
    datasets.check_room(pool, action, len(body))
    if len(body) == length:
        _finish(item, head, body)
        return
    if not resumable:
        if not item.record["snapshots"]:
            _remove(item)
        raise Fail("{0}: incomplete stream".format(action))
    with open(_partial(item), "wb") as file:
        file.write(body)
    item.record["receiving"] = {
        "bytes": len(body),
        "toguid": int(head.to),
        "toname": head.name,
        "fromguid": int(head.begin),
        "features": head.features & ~_RESUMING,
    }
    pool.tick()
    pool.save()
    words = (
        "{0}: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n"
        "A resuming stream can be generated on the sending system by running:\n    zfs send -t {1}"
    )
    raise Fail(words.format(action, resume_token(item)))


def _finish(item: Item, head: Head, body: bytes) -> None:
    pool = item.pool
    live = pool.live(item.dataset)
    trees.empty(live)
    _unpack(body, live)
    tag = head.name.partition("@")[2]
    datasets.snapshot(pool, [(item.dataset, tag)], {})
    pool.snapshots(item.dataset)[-1]["guid"] = head.to
    _forget(item)
    pool.save()


def _forget(item: Item) -> None:
    if item.record.pop("receiving", None) is not None:
        os.unlink(_partial(item))


def _remove(item: Item) -> None:
    folder = item.pool.live(item.dataset)
    del item.pool.datasets[item.dataset]
    item.pool.save()
    trees.remove(folder)


def abort(item: Item) -> None:
    """``zfs receive -A``."""
    if item.record.get("receiving") is None:
        raise Fail("'{0}' does not have any resumable receive state to abort".format(item.name))
    _forget(item)
    if item.record["snapshots"]:
        item.pool.tick()
        item.pool.save()
    else:
        _remove(item)
