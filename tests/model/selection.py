# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which file systems, snapshots and bookmarks ``zfs list`` and ``zfs get`` are about."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import datasets
from ansible_collections.nanozfs.fleet.tests.model.machine import Fail
from ansible_collections.nanozfs.fleet.tests.model.pools import Item, Pool, Pools
from ansible_collections.nanozfs.fleet.tests.model.properties import BOOKMARK, FILESYSTEM, SNAPSHOT


def by_path(pools: Pools, path: str) -> Item:
    """The file system that a path is in."""
    mounts = [each for each in pools.machine.running["mounts"] if (path + "/").startswith(each["on"].rstrip("/") + "/")]
    if not mounts or mounts[-1]["type"] != "zfs":
        raise Fail("'{0}': not a ZFS filesystem".format(path))
    return datasets.open_item(pools, max(mounts, key=lambda each: len(each["on"]))["from"], (FILESYSTEM,))


class Selection:
    """The objects that a command is about."""

    def __init__(self, pools: Pools, kinds: Sequence[str], listed: bool) -> None:
        self._pools = pools
        self._kinds = kinds
        #: snapshots appear where a pool says so with listsnapshots, and nobody asked for particular kinds
        self._listed = listed
        self.found: Dict[str, Item] = {}
        self.err = ""

    def add(self, words: Sequence[str], recurse: bool, limit: Optional[int]) -> None:
        """Collect what is named, and with *recurse* what is below it, to a depth of *limit*."""
        if not words:
            for pool in self._pools.imported():
                self._visit(Item(pool, "", FILESYSTEM, pool.datasets[""]), True, limit, 0)
            return
        kinds = tuple(self._kinds) + ((FILESYSTEM,) if recurse else ())
        for word in words:
            try:
                item = (
                    by_path(self._pools, word)
                    if word.startswith(("/", "./"))
                    else datasets.open_item(self._pools, word, kinds)
                )
            except Fail as failure:
                self.err += failure.output.err
                continue
            self._visit(item, recurse, limit, 0)

    def _snapshots(self, pool: Pool) -> bool:
        if self._listed:
            return bool(pool.record["properties"].get("listsnapshots") == "on")
        return SNAPSHOT in self._kinds

    def _visit(self, item: Item, recurse: bool, limit: Optional[int], depth: int) -> None:
        pool = item.pool
        if item.type in self._kinds or (item.kind == SNAPSHOT and self._snapshots(pool)):
            self.found.setdefault(item.name, item)
        if not recurse or item.kind != FILESYSTEM or (limit is not None and depth >= limit):
            return
        if limit is None or depth + 1 < limit or FILESYSTEM in self._kinds:
            for name in pool.children(item.dataset):
                self._visit(Item(pool, name, FILESYSTEM, pool.datasets[name]), recurse, limit, depth + 1)
        if self._snapshots(pool):
            for record in item.record["snapshots"]:
                self._visit(Item(pool, item.dataset, SNAPSHOT, record), False, limit, depth + 1)
        if BOOKMARK in self._kinds:
            for record in item.record["bookmarks"]:
                self._visit(Item(pool, item.dataset, BOOKMARK, record), False, limit, depth + 1)

    def sorted(self) -> List[Item]:
        """By name, snapshots behind their dataset in the order of their age."""

        def key(item: Item) -> Tuple[str, int, int]:
            if item.kind == SNAPSHOT:
                return item.pool.full(item.dataset), 1, item.record["createtxg"]
            return item.name, 0, 0

        return sorted(self.found.values(), key=key)
