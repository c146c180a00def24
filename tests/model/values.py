# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties of datasets, snapshots and bookmarks as zfs(8) prints them."""

from __future__ import annotations

import zlib
from typing import Callable, Dict, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.tests.model import properties, streams, zmounts
from ansible_collections.nanozfs.fleet.tests.model.pools import Item, Pool
from ansible_collections.nanozfs.fleet.tests.model.properties import BOOKMARK, FILESYSTEM, SNAPSHOT
from ansible_collections.nanozfs.fleet.tests.model.space import Space


class Values:
    """Properties of objects as they are printed."""

    def __init__(self, literal: bool) -> None:
        self._literal = literal
        self._spaces: Dict[str, Space] = {}

    def _space(self, item: Item) -> Space:
        return self._spaces.setdefault(item.pool.guid, Space(item.pool))

    def get(self, item: Item, key: str) -> Optional[Tuple[str, str]]:
        """A value and its source; ``None`` where the object has no such property."""
        if key == "name":
            return item.name, "-"
        if properties.is_written(key):
            return self._written_since(item, key)
        if properties.is_quota(key):
            return self._quota(item, key)
        known = item.pool.release.native.datasets.get(key)
        if known is None:
            return self._user(item, key)
        if item.type not in known.types or key in properties.NEVER:
            return None
        if key == "receive_resume_token":
            token = streams.resume_token(item) if item.kind == FILESYSTEM else None
            return None if token is None else (token, "-")
        if key in properties.CRYPT:
            return self._crypt(item, key)
        if key == "volsize":
            return properties.shown(known, str(item.record["volsize"]), self._literal), "local"
        if known.rule == properties.READ_ONLY:
            value = self._read_only(item, key)
            # how many datasets and snapshots there are is counted only where that is limited
            source = "default" if properties.is_count(known) else "-"
            return None if value is None else (properties.shown(known, value, self._literal), source)
        value, source = self._settable(item, known)
        return properties.shown(known, value, self._literal), source

    def raw(self, item: Item, key: str) -> Optional[str]:
        """A value for sorting."""
        literal = Values(True)
        literal._spaces = self._spaces
        found = literal.get(item, key)
        return found[0] if found else None

    def _source(self, item: Item, setter: str) -> str:
        if setter == item.dataset and item.kind == FILESYSTEM:
            return "local"
        return "inherited from {0}".format(item.pool.full(setter))

    def _user(self, item: Item, key: str) -> Optional[Tuple[str, str]]:
        if item.kind == BOOKMARK:
            return None
        if item.kind == SNAPSHOT and key in item.record["properties"]:
            return item.record["properties"][key], "local"
        found = item.pool.lookup(item.dataset, key)
        return (found[0], self._source(item, found[1])) if found else None

    def _quota(self, item: Item, key: str) -> Optional[Tuple[str, str]]:
        if item.kind != FILESYSTEM:
            return None
        value = item.record.get("quotas", {}).get(key, 0)
        return (str(value) if self._literal else properties.nice(value, "B") if value else "none"), "local"

    @staticmethod
    def _crypt(item: Item, key: str) -> Optional[Tuple[str, str]]:
        """What a dataset says of its encryption; a snapshot says what its dataset does."""
        record = item.pool.datasets[item.dataset]
        crypt = record.get("crypt")
        if item.kind == BOOKMARK:
            return None
        if crypt is None:
            shown = {
                "encryption": ("off", "default"),
                "keyformat": ("none", "default"),
                "keylocation": ("none", "default"),
            }
            return shown.get(key)
        root = next(name for name, each in item.pool.datasets.items() if each["object"] == crypt["root"])
        if key == "encryptionroot":
            return item.pool.full(root), "-"
        if key == "keystatus":
            return "unavailable" if item.pool.datasets[root]["crypt"].get("locked") else "available", "-"
        if key == "keylocation":
            return (crypt["keylocation"], "local") if root == item.dataset else ("none", "default")
        return crypt[key], "-"

    def _settable(self, item: Item, known: properties.Property) -> Tuple[str, str]:
        pool, key = item.pool, known.name
        found = pool.lookup(item.dataset, key)
        value = found[0] if found else known.default
        if key in item.pool.release.sourceless:
            return value, "-"
        if key == "mountpoint":
            value = pool.mountpoint(item.dataset)
        if key == "readonly" and item.kind == FILESYSTEM and value == "off":
            mount = zmounts.mount_of(pool, item.dataset)
            if mount is not None and mount["readonly"]:
                return "on", "temporary"
        return value, self._source(item, found[1]) if found else "default"

    def _read_only(self, item: Item, key: str) -> Optional[str]:
        record = item.record
        if key in ("guid", "createtxg", "creation"):
            return str(record[key])
        if key == "type":
            return item.type
        if key in ("compressratio", "refcompressratio"):
            return "1.00"
        if key in ("filesystem_count", "snapshot_count"):
            return str(properties.UNLIMITED)
        if item.kind == BOOKMARK:
            return str(record["referenced"])
        if key == "objsetid":
            return str(record["object"])
        return self._of_snapshot(item, key) if item.kind == SNAPSHOT else self._of_filesystem(item, key)

    def _of_snapshot(self, item: Item, key: str) -> Optional[str]:
        space, record = self._space(item), item.record
        at = item.pool.snapshots(item.dataset).index(record)
        answers: Dict[str, Callable[[], object]] = {
            "used": lambda: space.snapshot_used(item.dataset, at),
            "referenced": lambda: space.whole(space.kept(record)),
            "written": lambda: space.snapshot_written(item.dataset, at),
            "logicalreferenced": lambda: space.logical(space.kept(record)),
            "userrefs": lambda: len(record["holds"]),
            "defer_destroy": lambda: "on" if record["defer"] else "off",
            "clones": lambda: ",".join(item.pool.full(name) for name in item.pool.clones(record)) or None,
        }
        value = answers[key]()
        return None if value is None else str(value)

    def _of_filesystem(self, item: Item, key: str) -> Optional[str]:
        space, pool, name = self._space(item), item.pool, item.dataset
        answers: Dict[str, Callable[[], object]] = {
            "used": lambda: space.used(name),
            "available": lambda: space.available(name),
            "referenced": lambda: space.whole(space.live(name)),
            "written": lambda: space.dataset_written(name),
            "usedbysnapshots": lambda: space.by_snapshots(name),
            "usedbydataset": lambda: space.by_dataset(name),
            "usedbychildren": lambda: space.by_children(name),
            "usedbyrefreservation": lambda: space.by_refreservation(name),
            "logicalused": lambda: space.logical(space.live(name)),
            "logicalreferenced": lambda: space.logical(space.live(name)),
            "snapshots_changed": lambda: pool.datasets[name].get("snapshots_changed"),
            "mounted": lambda: "yes" if zmounts.mount_of(pool, name) else "no",
            "origin": lambda: self._origin(pool, name),
        }
        value = answers[key]()
        return None if value is None else str(value)

    @staticmethod
    def _origin(pool: Pool, name: str) -> Optional[str]:
        origin = pool.origin(name)
        return "{0}@{1}".format(pool.full(origin[0]), origin[1]["name"]) if origin else None

    def _written_since(self, item: Item, key: str) -> Optional[Tuple[str, str]]:
        """``written@SNAPSHOT``; none for a snapshot that is not there."""
        before = item.pool.snapshot(item.dataset, key.partition("@")[2])
        if before is None or item.kind == BOOKMARK:
            return None
        space = self._space(item)
        after = space.live(item.dataset) if item.kind == FILESYSTEM else space.kept(item.record)
        written = space.written(space.kept(before), after)
        return (str(written) if self._literal else properties.nice(written)), "local"


def user_keys(item: Item) -> List[str]:
    """The user properties that an object has, by itself or inherited.

    A real pool has them in a hash table (a ZAP) with a salt of its own, so their order means nothing: not that of the
    alphabet, nor that in which they were set.
    """
    if item.kind == BOOKMARK:
        return []
    found = set(item.record["properties"])
    here = item.dataset
    while True:
        found.update(item.pool.datasets[here]["properties"])
        if not here:
            return sorted(filter(properties.is_user, found), key=lambda key: zlib.crc32(key.encode()))
        here = here.rpartition("/")[0]
