# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Taking, holding and pruning snapshots, without ever destroying one that somebody else made; pruning failed states.

What is pruned by its age is judged by the host's clock, and by the clock that it had when a snapshot was taken. Either
may have been wrong: a dead battery says 1970, a wrong time server anything. See :func:`clock_problem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    HOLD_TAG,
    MADE_BY,
    MAKER,
    Dataset,
    Snapshot,
    Zfs,
)

_SAFE = "nothing was changed"

#: begins the name of what a restore has put aside, which is no state that failed: people take it away, and nobody else
RESTORED = "restore-"

#: longest time between two snapshots that is believed, in seconds
LONGEST_GAP = 3 * 366 * 86400


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
    older than *older_than* seconds. Where both are given, both must allow it. By its age, the newest never goes.
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
    newest = ours[-1:]
    if pruning.keep is not None:
        ours = ours[: max(0, len(ours) - pruning.keep)]
    if pruning.older_than is not None:
        ours = [each for each in ours if now - each.creation > pruning.older_than and each not in newest]
    return ours


def clock_problem(creations: Sequence[int], now: float) -> Optional[str]:
    """Why ages are not to be believed, or ``None``.

    The order of snapshots is known for sure (``createtxg``); so their times must rise, up to now, and not by years at
    once. A clock that jumped ahead, or stood at 1970 for a while, shows as a gap. Who really leaves a host alone for
    more than :data:`LONGEST_GAP` can still prune by number.

    :param creations: when snapshots were taken, in seconds, the oldest first.
    """
    times = [float(each) for each in creations] + [now]
    for before, after in zip(times, times[1:]):
        if after - before > LONGEST_GAP:
            return "the clock jumped: {0} years lie between two snapshots, or the newest one and now".format(
                int((after - before) / (366 * 86400))
            )
        if before - after > LONGEST_GAP:
            return "the clock jumped back: a snapshot is {0} years younger than a later one, or than now".format(
                int((before - after) / (366 * 86400))
            )
    return None


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
    if pruning.older_than is not None:
        everything = sorted((each for found in by_dataset.values() for each in found), key=lambda each: each.createtxg)
        problem = clock_problem([each.creation for each in everything], now)
        if problem is not None:
            doubtful = [each.name for name in sorted(by_dataset) for each in expired(by_dataset[name], pruning, now)]
            return [], dict.fromkeys(doubtful, problem)
    for name in sorted(by_dataset):
        for each in expired(by_dataset[name], pruning, now):
            try:
                destroy(zfs, [each], release)
            except Refused as reason:
                kept[each.name] = reason.what
            else:
                destroyed.append(each.name)
    return destroyed, kept


# failed states


class _Failed(NamedTuple):
    """What a transaction put aside: the dataset that holds it, everything below, and their snapshots."""

    top: str
    creation: int
    datasets: List[Dataset]
    snapshots: List[Snapshot]


def prune_failed(
    zfs: Zfs, root: str, keep: int, older_than: Optional[int], now: float
) -> Tuple[List[str], Dict[str, str]]:
    """Destroy states that failed, below ``<root>/failed``: all but the newest *keep*, if they are old enough.

    The transactions are numbered, and so ordered. The newest one always stays; ages count as for snapshots. Nothing
    goes that was not made by this collection, that anybody has mounted, holds or has clones of.

    :param older_than: seconds; with ``None`` only the number counts.
    :param now: seconds since the epoch by the clock of the host.
    :returns: the names of what was destroyed, and what would have gone but must stay, with the reason.
    """
    found = _failed_states(zfs, root + "/failed")
    chosen = found[: max(0, len(found) - max(keep, 1))]
    destroyed: List[str] = []
    kept: Dict[str, str] = {}
    doubt = None
    if older_than is not None:
        chosen = [each for each in chosen if now - each.creation > older_than]
        doubt = clock_problem([each.creation for each in found], now)
    for each in chosen:
        problem = doubt or _why_kept(zfs, each)
        if problem is None:
            _destroy_state(zfs, each)
            destroyed.append(each.top)
        else:
            kept[each.top] = problem
    return destroyed, kept


def _failed_states(zfs: Zfs, folder: str) -> List[_Failed]:
    """The failed states of transactions, by their numbers."""
    datasets = zfs.datasets(folder)
    snapshots = zfs.snapshots(folder, recursive=True) if datasets else []
    found = []
    for top in datasets:
        name = top.name[len(folder) + 1 :]
        if not name or "/" in name or name.startswith(RESTORED):
            continue
        below = [each for each in datasets if (each.name + "/").startswith(top.name + "/")]
        names = {each.name for each in below}
        creation = int(zfs.value(top.name, "creation"))
        found.append(_Failed(top.name, creation, below, [each for each in snapshots if each.dataset in names]))
    return sorted(found, key=lambda each: (_number_of(each.top), each.top))


def _number_of(name: str) -> int:
    digits = name.rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else -1


def _why_kept(zfs: Zfs, state: _Failed) -> Optional[str]:
    """Why a failed state must stay, or ``None``."""
    if _number_of(state.top) < 0 or zfs.local_properties(state.top).get(MADE_BY) != MAKER:
        return "it was not made by this collection"
    mounted = [each.name for each in state.datasets if each.mounted]
    if mounted:
        return "mounted: {0}".format(", ".join(mounted))
    names = {each.name for each in state.datasets}
    clones = sorted(clone for each in state.snapshots for clone in each.clones if clone not in names)
    if clones:
        return "{0} depend on it".format(", ".join(clones))
    held = [hold for hold in zfs.holds(each.name for each in state.snapshots if each.holds) if hold.tag != HOLD_TAG]
    if held:
        return "held: {0}".format(", ".join("{0} by {1}".format(*hold) for hold in held))
    return None


def _destroy_state(zfs: Zfs, state: _Failed) -> None:
    """Destroy a failed state, one dataset and one snapshot after the other: first what nothing depends on."""
    left = list(state.datasets)
    snapshots = {each.name: set(each.clones) for each in state.snapshots}
    held = {each.name for each in state.snapshots if each.holds}
    while left:
        ready = next(each for each in reversed(left) if not _needed(each.name, left, snapshots))
        for name in [name for name in snapshots if name.partition("@")[0] == ready.name]:
            if name in held:
                zfs.release(HOLD_TAG, name)
            zfs.destroy_snapshot(name)
            del snapshots[name]
        zfs.destroy(ready.name)
        left.remove(ready)
        for clones in snapshots.values():
            clones.discard(ready.name)


def _needed(name: str, left: Sequence[Dataset], snapshots: Mapping[str, Set[str]]) -> bool:
    """Whether a dataset has others below it, or clones."""
    below = any(each.name.startswith(name + "/") for each in left)
    return below or any(clones for tag, clones in snapshots.items() if tag.partition("@")[0] == name)
