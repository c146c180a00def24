# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything about a host in one look: the survey behind ``host_info``, the status report and the agent.

Nothing here changes anything, and nothing here fails because a part of the host is broken: what cannot be told is
``None`` and said in ``warnings``. A survey that dies on the host that needs looking at would be of no use.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils import _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    IMAGE_JSON,
    Inside,
    parse_inside,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, Origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import parse as parse_origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import RING
from ansible_collections.nanozfs.fleet.plugins.module_utils._journal import ImageRef, JournalStore, root_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._medium import (
    GPT,
    SLICES,
    Medium,
    Slice,
    read_medium,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._ufs import NotUfs, Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._zpool import (
    Candidate,
    Disks,
    Zpool,
    count_disks,
    in_use_elsewhere,
)

NORMAL, RECOVERY, TRIAL, UNKNOWN = "normal", "recovery", "trial", "unknown"

#: Set by the early hook in the kernel environment when the import of the pool did not end. What asks for a pool then
#: waits for ever, in the kernel, for the lock that the import holds (``spa_namespace_lock`` in ``spa.c``).
IMPORT, HUNG = "nanozfs.import", "hung"


def kenv(runner: Runner, name: str) -> str:
    """Read one variable of the kernel environment.

    :returns: its value; an empty string when it is not set, where kenv(1) exits 255.
    """
    result = runner.query(["kenv", "-q", name])
    return result.out.strip() if result.rc == 0 else ""


def sysctl(runner: Runner, name: str) -> str:
    """A sysctl value, or an empty string where the kernel has no such name."""
    result = runner.query(["sysctl", "-n", name])
    return result.out.strip() if result.rc == 0 else ""


class SliceContent:
    """What a slice holds: the image's own description, its id, or why neither can be told.

    :param origin: where the image comes from, if that was asked for and it says so.
    :param unclear: why it cannot be told where the image comes from, although it says so.
    """

    def __init__(
        self,
        inside: Optional[Inside],
        ident: Optional[str],
        problem: str,
        origin: Optional[Origin] = None,
        unclear: str = "",
    ) -> None:
        self.inside = inside
        self.ident = ident
        self.problem = problem
        self.origin = origin
        self.unclear = unclear

    def ref(self) -> Optional[ImageRef]:
        """The image as the journal names it; ``None`` unless the whole slice was hashed."""
        if self.inside is None or self.ident is None:
            return None
        return ImageRef(self.ident, self.inside.build, self.inside.version)

    def as_dict(self, packages: bool = False) -> Optional[Dict[str, Any]]:
        """For module results.

        :param packages: with the list of packages and archives of its origin.
        """
        if self.inside is None:
            return None
        origin = self.origin.summary(packages) if self.origin is not None else None
        return dict(self.inside.as_dict(), id=self.ident, origin=origin)


def read_slice(piece: Slice, digest: bool, origin: bool = False) -> SliceContent:
    """Look into a slice without mounting it.

    :param digest: hash the whole image, which reads all of it.
    :param origin: look where the image comes from as well.
    """
    try:
        with devices.open_device(piece.path) as device:
            return _content(device, digest, origin)
    except FleetError as error:
        return SliceContent(None, None, error.what)


def _origin(ufs: Ufs) -> Tuple[Optional[Origin], str]:
    """Where an image comes from, or why that cannot be told; it is no reason to doubt the image."""
    try:
        raw = ufs.read(ORIGIN_JSON)
        return parse_origin(raw.decode("utf-8", "replace")) if raw is not None else None, ""
    except FleetError as error:
        return None, error.what


def _content(device: devices.Device, digest: bool, origin: bool) -> SliceContent:
    try:
        ufs = Ufs(device.read)
        raw = ufs.read(IMAGE_JSON)
    except NotUfs as error:
        return SliceContent(None, None, error.what)
    if raw is None:
        return SliceContent(None, None, "the file system on it holds no image of ours (no {0})".format(IMAGE_JSON))
    said = _origin(ufs) if origin else (None, "")
    return SliceContent(parse_inside(raw), device.digest(ufs.size) if digest else None, "", *said)


def running_image(medium: Medium) -> Optional[Inside]:
    """What the running image says of itself."""
    return read_slice(medium.slices[medium.running], False).inside


def other_builds(medium: Medium, target: Slice) -> Dict[str, str]:
    """The device nodes of the slices besides one, by the build of what they hold: what a delta can start from."""
    found = {}
    for piece in medium.slices.values():
        inside = read_slice(piece, False).inside if piece.label != target.label else None
        if inside is not None:
            found[inside.build] = piece.path
    return found


def ring_name(wanted: str, running: Callable[[], Optional[Inside]]) -> Optional[str]:
    """The name of the image that a ring means on this host: that of the running one. ``None`` for anything else.

    :param running: finds out which that is; only asked for a ring.
    """
    if not wanted.startswith(RING):
        return None
    inside = running()
    return inside.name if inside is not None else None


def state_of(runner: Runner, medium: Optional[Medium]) -> Tuple[str, str]:
    """State of the host and its reason, as the early boot hook left them in the kernel environment."""
    state = kenv(runner, "nanozfs.state")
    reason = kenv(runner, "nanozfs.reason")
    if state == NORMAL and medium is not None and medium.on_trial():
        return TRIAL, reason
    return (state if state in (NORMAL, RECOVERY) else UNKNOWN), reason


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
    state, reason = state_of(runner, medium)
    running = contents[medium.running].inside if medium is not None else None
    name = pool_name or (running.pool if running else None)
    report: Dict[str, Any] = {
        "hostname": sysctl(runner, "kern.hostname"),
        "arch": sysctl(runner, "hw.machine_arch"),
        "release": sysctl(runner, "kern.osrelease"),
        "boot_method": sysctl(runner, "machdep.bootmethod"),
        "state": state,
        "reason": reason,
        "running": _running(medium, contents, packages),
        "medium": _medium_dict(medium, contents, packages),
        "remembered": _try(warnings, lambda: dict(_state.of(medium).values)) if medium is not None else None,
    }
    report.update(_pool_part(runner, name, warnings))
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


def _running(
    medium: Optional[Medium], contents: Mapping[str, SliceContent], packages: bool
) -> Optional[Dict[str, Any]]:
    if medium is None:
        return None
    image = contents[medium.running].as_dict(packages)
    return dict(image or {}, slice=medium.running, on_trial=medium.on_trial())


def _medium_dict(
    medium: Optional[Medium], contents: Mapping[str, SliceContent], packages: bool
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
                "image": contents[label].as_dict(packages),
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


def _disks(disks: Disks) -> Dict[str, Any]:
    return dict(disks._asdict(), missing=list(disks.missing))


def _pool_part(runner: Runner, name: Optional[str], warnings: List[str]) -> Dict[str, Any]:
    zpool, zfs = Zpool(runner), Zfs(runner)
    part: Dict[str, Any] = {
        "pool": None,
        "disks": None,
        "importable": [],
        "datasets": [],
        "snapshots": [],
        "failed": [],
        "journal": None,
    }
    if import_hung(runner):
        warnings.append("the import of the pool hangs; commands about pools would hang as well and were not run")
        return part
    pool = _try(warnings, lambda: zpool.pool(name)) if name else None
    if pool is None:
        candidates = _try(warnings, zpool.candidates) or []
        part["importable"] = _try(warnings, lambda: [_importable(zpool, each) for each in candidates]) or []
        named = [each for each in candidates if each.name == name]
        part["disks"] = _disks(count_disks(named[0].vdevs)) if len(named) == 1 else None
        return part
    part["pool"] = dict(pool.__dict__, features=_try(warnings, lambda: zpool.features(pool.name)))
    shape = _try(warnings, lambda: zpool.status(pool.name))
    part["disks"] = _disks(count_disks(shape.vdevs)) if shape else None
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
    else:
        warnings.append("the pool {0} has no dataset {1}".format(pool.name, root))
    return part
