# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Rolling datasets back in place, and knowing before what that would destroy.

Source: zfs-rollback(8). ``zfs rollback -r`` with a newer snapshot that is held fails *after* it has destroyed other
newer ones (transcript ``zfs/079-rollback-r-held``), so holds are looked for first. It does not refuse a mounted
dataset; files that are open go stale (``zfs/096-rollback-busy-openfile-deleted``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Dataset, Snapshot, Zfs

_SAFE = "nothing was changed"


@dataclass(frozen=True)
class Loss:
    """What going back to a snapshot in place costs: everything newer."""

    snapshot: Snapshot
    dataset: Dataset
    snapshots: Tuple[str, ...]
    bookmarks: Tuple[str, ...]
    clones: Tuple[str, ...]
    held: Tuple[str, ...]
    written: int

    @property
    def needed(self) -> bool:
        """Whether the dataset is anything else than its snapshot."""
        return bool(self.snapshots or self.bookmarks or self.written)

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        return {
            "snapshot": self.snapshot.name,
            "guid": self.snapshot.guid,
            "snapshots": list(self.snapshots),
            "bookmarks": list(self.bookmarks),
            "clones": list(self.clones),
            "held": list(self.held),
            "written": self.written,
            "mounted": self.dataset.mounted,
        }


def find_snapshot(zfs: Zfs, name: str, guid: Optional[str]) -> Snapshot:
    """The snapshot that is meant.

    :raises Refused: when it is missing, or its guid is another than the one that was expected.
    """
    snapshot = zfs.snapshot(name)
    if snapshot is None:
        raise Refused("there is no snapshot {0}".format(name), safe=_SAFE)
    if guid and snapshot.guid != guid:
        raise Refused(
            "{0} has guid {1}, not {2}: it is another snapshot of the same name".format(name, snapshot.guid, guid),
            safe=_SAFE,
        )
    return snapshot


def assess(zfs: Zfs, snapshot: Snapshot) -> Loss:
    """Find out what a rollback of one dataset would destroy."""
    dataset = zfs.dataset(snapshot.dataset)
    if dataset is None:
        raise Refused("there is no dataset {0}".format(snapshot.dataset), safe=_SAFE)
    newer = [each for each in zfs.snapshots(dataset.name) if each.createtxg > snapshot.createtxg]
    held = [hold.snapshot for hold in zfs.holds(each.name for each in newer if each.holds)]
    return Loss(
        snapshot=snapshot,
        dataset=dataset,
        snapshots=tuple(each.name for each in newer),
        bookmarks=tuple(each.name for each in zfs.bookmarks(dataset.name) if each.createtxg > snapshot.createtxg),
        clones=tuple(sorted(_dependents(zfs, newer))),
        held=tuple(sorted(set(held))),
        written=zfs.written_since(dataset.name, snapshot.tag).get(dataset.name, 0),
    )


def _dependents(zfs: Zfs, snapshots: Sequence[Snapshot]) -> List[str]:
    """Clones of the snapshots with all that is below them and all that was cloned from them in turn."""
    found: List[str] = []
    for each in snapshots:
        for clone in each.clones:
            found.extend(dataset.name for dataset in zfs.datasets(clone))
            found.extend(_dependents(zfs, zfs.snapshots(clone, recursive=True)))
    return found


def check(loss: Loss, destroy_newer: bool, destroy_clones: Sequence[str], allow_mounted: bool) -> None:
    """Refuse a rollback that destroys more than was agreed to.

    :raises Refused: with everything that it would destroy.
    """
    if loss.held:
        raise Refused(
            "going back to {0} would have to destroy snapshots that are held: {1}".format(
                loss.snapshot.name, ", ".join(loss.held)
            ),
            safe=_SAFE,
            todo="release the holds (zfs holds says whose they are), or use method=clone, which destroys nothing",
            would_destroy=loss.as_dict(),
        )
    newer = loss.snapshots + loss.bookmarks
    if newer and not destroy_newer:
        raise Refused(
            "going back to {0} destroys what is newer: {1}".format(loss.snapshot.name, ", ".join(newer)),
            safe=_SAFE,
            todo="agree with destroy_newer=true, or use method=clone, which destroys nothing",
            would_destroy=loss.as_dict(),
        )
    unnamed = [each for each in loss.clones if each not in destroy_clones]
    if unnamed:
        raise Refused(
            "going back to {0} destroys datasets that were cloned from newer snapshots: {1}".format(
                loss.snapshot.name, ", ".join(unnamed)
            ),
            safe=_SAFE,
            todo="name each of them in destroy_clones, or use method=clone, which destroys nothing",
            would_destroy=loss.as_dict(),
        )
    if loss.dataset.mounted and not allow_mounted:
        raise Refused(
            "{0} is mounted; programs with open files in it would go on with stale ones".format(loss.dataset.name),
            safe=_SAFE,
            todo="stop the programs and unmount it, or agree with allow_mounted=true",
            would_destroy=loss.as_dict(),
        )
