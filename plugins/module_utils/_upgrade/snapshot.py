# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking, holding and pruning snapshots, without ever destroying one that somebody else made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, MAKER, Dataset, Snapshot, Zfs

_SAFE = "nothing was changed"


@dataclass(frozen=True)
class Wanted:
    """A snapshot that shall be there: of *dataset*, or with *recursive* of everything below it in one instant."""

    dataset: str
    tag: str
    recursive: bool = False
    hold: Optional[str] = None
    retake: bool = False
    properties: Optional[Mapping[str, str]] = None

    @property
    def name(self) -> str:
        return "{0}@{1}".format(self.dataset, self.tag)


def _of_tag(zfs: Zfs, wanted: Wanted) -> List[Snapshot]:
    return [each for each in zfs.snapshots(wanted.dataset, recursive=wanted.recursive) if each.tag == wanted.tag]


def incomplete(datasets: Sequence[Dataset], found: Sequence[Snapshot]) -> List[str]:
    """Datasets that were there when the snapshot was taken and are not part of it.

    One that was created later cannot be part of it and is none of its business.
    """
    have = {each.dataset for each in found}
    taken = max((each.createtxg for each in found), default=0)
    return [each.name for each in datasets if each.name not in have and each.createtxg < taken]


def ensure_present(zfs: Zfs, wanted: Wanted) -> bool:
    """Make the snapshot exist, with its hold.

    :returns: whether anything was changed.
    :raises Refused: when the dataset is missing, or a snapshot of that name is there but does not cover what it must.
    """
    datasets = zfs.datasets(wanted.dataset)
    if not datasets:
        raise Refused("there is no dataset {0}".format(wanted.dataset), safe=_SAFE)
    if not wanted.recursive:
        datasets = datasets[:1]
    found = _of_tag(zfs, wanted)
    covering = {each.dataset for each in found}
    if found and wanted.dataset not in covering and not wanted.retake:
        raise Refused(
            "{0} of the datasets below {1} have a snapshot {2} already, {1} has none".format(
                len(found), wanted.dataset, wanted.tag
            ),
            safe=_SAFE,
            todo="choose another name",
        )
    gaps = incomplete(datasets, found)
    if gaps and not wanted.retake:
        raise Refused(
            "the snapshot {0} is there but does not cover {1}".format(wanted.name, ", ".join(gaps)),
            safe=_SAFE,
            todo="choose another name, or have it taken anew with retake=true",
        )
    changed, safe = False, "no snapshot was taken, nothing was changed"
    if found and wanted.retake and (gaps or any(zfs.written_since(wanted.dataset, wanted.tag).values())):
        destroy(zfs, found, wanted.hold)
        found, changed = [], True
        safe = "the data is as it is; the snapshot of before, which was to be replaced, is gone"
    if not found:
        zfs.take([wanted.name], wanted.recursive, dict(wanted.properties or {}, **{MADE_BY: MAKER}), safe)
        changed = True
        if wanted.hold:
            zfs.hold(wanted.hold, [wanted.name], wanted.recursive)
    elif wanted.hold:
        unheld = _unheld(zfs, found, wanted.hold)
        zfs.hold(wanted.hold, unheld)
        changed = bool(unheld)
    return changed


def _unheld(zfs: Zfs, found: Sequence[Snapshot], tag: str) -> List[str]:
    held = {each.snapshot for each in zfs.holds(each.name for each in found) if each.tag == tag}
    return [each.name for each in found if each.name not in held]


def ensure_absent(zfs: Zfs, wanted: Wanted) -> List[str]:
    """Make the snapshot not exist.

    :returns: the names of what was destroyed.
    :raises Refused: when one of them was not made by this collection, is held by another tag, or has clones.
    """
    found = _of_tag(zfs, wanted)
    destroy(zfs, found, wanted.hold)
    return [each.name for each in found]


def check_destroyable(zfs: Zfs, snapshots: Sequence[Snapshot], release: Optional[str]) -> None:
    """Refuse to destroy what must stay, before the first of them is touched.

    :param release: a hold of this tag does not count.
    :raises Refused: with the reason.
    """
    foreign = [each.name for each in snapshots if each.made_by != MAKER]
    if foreign:
        raise Refused(
            "{0} was not made by this collection".format(", ".join(foreign)),
            safe=_SAFE,
            todo="destroy it by hand if you are sure (zfs destroy)",
        )
    clones = sorted(clone for each in snapshots for clone in each.clones)
    if clones:
        raise Refused("{0} depend on it".format(", ".join(clones)), safe=_SAFE, todo="prune these datasets first")
    held = [
        "{0} by {1}".format(hold.snapshot, hold.tag)
        for hold in zfs.holds(each.name for each in snapshots if each.holds)
        if hold.tag != release
    ]
    if held:
        raise Refused("held: {0}".format(", ".join(held)), safe=_SAFE, todo="release the hold first (zfs release)")


def destroy(zfs: Zfs, snapshots: Sequence[Snapshot], release: Optional[str]) -> None:
    """Destroy snapshots that this collection made, one by one.

    :param release: take off holds of this tag first.
    :raises Refused: see :func:`check_destroyable`.
    """
    check_destroyable(zfs, snapshots, release)
    for each in snapshots:
        if release and each.holds:
            zfs.release(release, each.name)
        zfs.destroy_snapshot(each.name)


@dataclass(frozen=True)
class Pruning:
    """Which snapshots may go: of those whose name begins with *prefix*, all but the newest *keep* and all that are
    older than *older_than* seconds. Where both are given, both must allow it.
    """

    prefix: str
    keep: Optional[int] = None
    older_than: Optional[int] = None


def expired(snapshots: Sequence[Snapshot], pruning: Pruning, now: float) -> List[Snapshot]:
    """The snapshots of one dataset that may go, oldest first.

    :param now: seconds since the epoch by the clock of the host, as ``creation`` is.
    """
    ours = sorted(
        (each for each in snapshots if each.tag.startswith(pruning.prefix) and each.made_by == MAKER),
        key=lambda each: each.createtxg,
    )
    if pruning.keep is not None:
        ours = ours[: max(0, len(ours) - pruning.keep)]
    if pruning.older_than is not None:
        ours = [each for each in ours if now - each.creation > pruning.older_than]
    return ours


def prune(
    zfs: Zfs, dataset: str, recursive: bool, pruning: Pruning, now: float, release: Optional[str]
) -> Tuple[List[str], Dict[str, str]]:
    """Destroy what has expired and may go.

    :param release: a hold of this tag is taken off first.
    :returns: the names of what was destroyed, and what had expired but must stay, with the reason.
    """
    by_dataset: Dict[str, List[Snapshot]] = {}
    for each in zfs.snapshots(dataset, recursive=recursive):
        by_dataset.setdefault(each.dataset, []).append(each)
    destroyed: List[str] = []
    kept: Dict[str, str] = {}
    for name in sorted(by_dataset):
        for each in expired(by_dataset[name], pruning, now):
            try:
                destroy(zfs, [each], release)
            except Refused as reason:
                kept[each.name] = reason.what
            else:
                destroyed.append(each.name)
    return destroyed, kept


def prune_failed(zfs, root, keep, older_than, now):  # type: ignore  # STUB until merged
    return [], {}
