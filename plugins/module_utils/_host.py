# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Everything about a host in one look: the survey behind ``host_info``, the status report and the agent.

Nothing here changes anything, and nothing here fails because a part of the host is broken: what cannot be told is
``None`` and said in ``warnings``. A survey that dies on the host that needs looking at would be of no use.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import exposure
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import records as backups
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv, sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import (
    GPT,
    SLICES,
    Medium,
    read_medium,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import (
    Candidate,
    Zpool,
    count_disks,
    disks_with_errors,
    in_use_elsewhere,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import SliceContent, read_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import bad_words
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore, root_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import state_of

#: before what the early hook says that the last start could not do (``kenv nanozfs.notes``)
STARTED = "the last start: "

#: Set by the early hook in the kernel environment when the import of the pool did not end. What asks for a pool then
#: waits for ever, in the kernel, for the lock that the import holds (``spa_namespace_lock`` in ``spa.c``).
IMPORT, HUNG = "nanozfs.import", "hung"


def survey(
    runner: Runner,
    pool_name: Optional[str] = None,
    digest: bool = True,
    slices: Optional[Sequence[str]] = None,
    packages: bool = False,
) -> Dict[str, Any]:
    """Everything about the host.

    :param pool_name: the system pool; by default the one that the running image names.
    :param digest: hash the slices, so that their image ids are facts and not claims.
    :param slices: hash no others than these: labels, ``running``, ``inactive``. A slow medium takes minutes for one.
    :param packages: with the packages of the images, and not only how many there are.
    """
    warnings: List[str] = []
    medium = _try(warnings, lambda: read_medium(runner))
    contents: Dict[str, SliceContent] = {}
    if medium is not None:
        hashed = _hashed(medium, slices) if digest else ()
        contents = {label: read_slice(piece, label in hashed, True) for label, piece in medium.slices.items()}
        warnings += ["{0}: {1}".format(label, each.unclear) for label, each in contents.items() if each.unclear]
        if medium.duplicates:
            warnings.append("slices of the same names are on another disk: {0}".format(", ".join(medium.duplicates)))
        missing = [label for label in SLICES if label not in medium.slices]
        if missing:
            warnings.append("the OS medium {0} has no slice {1}".format(medium.disk, ", ".join(missing)))
        if medium.scheme != GPT:
            warnings.append(
                "the OS medium {0} has an {1}: a system that does not get as far as its early hook would not go back "
                "by itself".format(medium.disk, medium.scheme)
            )
    bad = {label: Memory().why_bad(each.inside, each.ident) for label, each in contents.items()}
    state, reason = state_of(runner, medium)
    running = contents[medium.running].inside if medium is not None else None
    if running is not None and medium is not None and bad[medium.running]:
        what = "the image that runs, {0}-{1},".format(running.name, running.version)
        warnings.append(bad_words(what, bad[medium.running]))
    name = pool_name or (running.pool if running else None)
    report: Dict[str, Any] = {
        "hostname": sysctl(runner, "kern.hostname"),
        "arch": sysctl(runner, "hw.machine_arch"),
        "release": sysctl(runner, "kern.osrelease"),
        "boot_method": sysctl(runner, "machdep.bootmethod"),
        "state": state,
        "reason": reason,
        "network": kenv(runner, "nanozfs.network"),
        "running": _running(medium, contents, bad, packages),
        "medium": _medium_dict(medium, contents, bad, packages),
        "remembered": _try(warnings, lambda: dict(_state.of(medium).values)) if medium is not None else None,
    }
    others = {label: each for label, each in contents.items() if medium and label != medium.running}
    report.update(_pool_part(runner, name, warnings, others))
    noted = kenv(runner, "nanozfs.notes")
    if noted:
        warnings.append(STARTED + noted)
    report["warnings"] = warnings
    return report


def _hashed(medium: Medium, wanted: Optional[Sequence[str]]) -> Sequence[str]:
    """The labels of the slices to hash."""
    if wanted is None:
        return tuple(medium.slices)
    meant = {"running": medium.running, "inactive": medium.inactive.label if medium.inactive else ""}
    return [meant.get(each, each) for each in wanted]


def _try(warnings: List[str], look: Any) -> Any:
    try:
        return look()
    except FleetError as error:
        warnings.append(error.what)
        return None


def _image(content: SliceContent, bad: str, packages: bool) -> Optional[Dict[str, Any]]:
    """What a slice holds.

    :param bad: why it is on the fleet's list of bad images, as this host has heard it; may be empty.
    """
    image = content.as_dict(packages)
    return dict(image, bad=bad) if image is not None else None


def _running(
    medium: Optional[Medium], contents: Mapping[str, SliceContent], bad: Mapping[str, str], packages: bool
) -> Optional[Dict[str, Any]]:
    if medium is None:
        return None
    image = _image(contents[medium.running], bad[medium.running], packages)
    return dict(image or {}, slice=medium.running, on_trial=medium.on_trial())


def _medium_dict(
    medium: Optional[Medium], contents: Mapping[str, SliceContent], bad: Mapping[str, str], packages: bool
) -> Optional[Dict[str, Any]]:
    if medium is None:
        return None
    return {
        "disk": medium.disk,
        "scheme": medium.scheme,
        "corrupt": medium.corrupt,
        "duplicates": list(medium.duplicates),
        "running": medium.running,
        "inactive": medium.inactive.label if medium.inactive else None,
        "slices": {
            label: {
                "provider": piece.provider,
                "index": piece.index,
                "size": piece.size,
                "flags": sorted(piece.flags),
                "image": _image(contents[label], bad[label], packages),
                "problem": contents[label].problem,
            }
            for label, piece in sorted(medium.slices.items())
        },
    }


def _importable(zpool: Zpool, candidate: Candidate) -> Dict[str, Any]:
    label = zpool.last_host(candidate)
    return {
        "name": candidate.name,
        "guid": candidate.guid,
        "state": candidate.state,
        "status": candidate.status,
        "in_use_elsewhere": in_use_elsewhere(candidate, label, zpool.own_hostid()),
        "hostid": "{0:x}".format(label.hostid) if label else None,
        "hostname": label.hostname if label else None,
        "devices": candidate.devices,
    }


def import_hung(runner: Runner) -> bool:
    """Whether an import of a pool hangs in the kernel, as the early boot hook or the agent found.

    Every zpool, zfs and zdb command would then wait behind it for ever: the import holds ``spa_namespace_lock``
    (``sys/contrib/openzfs/module/zfs/spa.c``).
    """
    return kenv(runner, IMPORT) == HUNG


def _disks(pool: Candidate) -> Dict[str, Any]:
    disks = count_disks(pool)
    errors = [each._asdict() for each in disks_with_errors(pool)]
    return dict(disks._asdict(), missing=list(disks.missing), errors=errors)


def _pool_part(
    runner: Runner, name: Optional[str], warnings: List[str], others: Mapping[str, SliceContent]
) -> Dict[str, Any]:
    """What there is to say of pools.

    :param others: the slices besides the one that runs.
    """
    zpool, zfs = Zpool(runner), Zfs(runner)
    part: Dict[str, Any] = {
        "pool": None,
        "disks": None,
        "importable": [],
        "datasets": [],
        "snapshots": [],
        "failed": [],
        "journal": None,
        "backups": {},
    }
    if import_hung(runner):
        warnings.append("the import of the pool hangs; commands about pools would hang as well and were not run")
        return part
    pool = _try(warnings, lambda: zpool.pool(name)) if name else None
    if pool is None:
        candidates = _try(warnings, zpool.candidates) or []
        part["importable"] = _try(warnings, lambda: [_importable(zpool, each) for each in candidates]) or []
        named = [each for each in candidates if each.name == name]
        part["disks"] = _disks(named[0]) if len(named) == 1 else None
        return part
    shape = _try(warnings, lambda: zpool.status(pool.name))
    features = _try(warnings, lambda: zpool.features(pool.name))
    if features is not None:
        warnings += readable.warnings(pool.name, features, readable.systems(others)[0])
    part["pool"] = dict(
        pool.__dict__,
        features=list(features.active) if features else None,
        compatibility=features.compatibility if features else None,
        scan=shape.scan if shape else "",
        errors=shape.errors if shape else "",
    )
    part["disks"] = _disks(shape) if shape else None
    root = root_of(pool.name)
    datasets = _try(warnings, lambda: zfs.datasets(root)) or []
    part["datasets"] = [dict(each.__dict__) for each in datasets if not each.name.startswith(root + "/failed/")]
    part["failed"] = [
        {"name": each.name, "used": each.used}
        for each in datasets
        if each.name.count("/") == root.count("/") + 2 and each.name.startswith(root + "/failed/")
    ]
    snapshots = _try(warnings, lambda: zfs.snapshots(root)) or []
    part["snapshots"] = [
        {"name": each.name, "guid": each.guid, "creation": each.creation, "holds": each.holds} for each in snapshots
    ]
    if datasets:
        journal = _try(warnings, JournalStore(zfs, pool.name).read)
        part["journal"] = journal.as_dict() if journal else None
        part["backups"] = _try(warnings, lambda: _backups(runner, zfs, root)) or {}
        warnings += [each["problem"] for each in part["backups"].values() if each["problem"]]
        warnings += _try(warnings, lambda: exposure.forgotten(runner)) or []
    else:
        warnings.append("the pool {0} has no dataset {1}".format(pool.name, root))
    return part


def _backups(runner: Runner, zfs: Zfs, root: str) -> Dict[str, Any]:
    """How the last backup by each backup host went, and which of them reads now."""
    found = backups.all_of(zfs.local_properties(root))
    at_work = {pull.label: pull for pull in exposure.at_work(runner)}
    for label in sorted({*found, *at_work}):
        pull = at_work.get(label)
        record = found.get(label) or backups.nothing()
        found[label] = dict(record, running=pull is not None, since=pull.begun if pull else None)
    return found
