# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The datasets of a host: those of the layout and those of the site, where they are mounted, and what they would hide.

Datasets below ``var`` inherit ``mountpoint=legacy`` and are mounted by the early boot hook at the place that their name
says; whatever has a mountpoint of its own is mounted later, by rc.d/zfs (``zfs mount -a``), over what is there by then.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    Zfs,
    check_dataset_name,
    property_texts,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import root_of

_NOWHERE = {"canmount": "off", "mountpoint": "none"}
_LEGACY = {"mountpoint": "legacy"}

#: below the pool
LAYOUT: Tuple[Tuple[str, Dict[str, str]], ...] = (
    ("nanozfs", _NOWHERE),
    ("nanozfs/cfg", _LEGACY),
    ("nanozfs/var", _LEGACY),
    ("nanozfs/failed", _NOWHERE),
)
OURS = ("cfg", "var")
RESERVED = ("failed", "reserve", "staged")

#: what the image, the early hook or the kernel has there
TAKEN = {
    "/",
    "/var",
    *("/" + each for each in ("bin", "boot", "cfg", "conf", "dev", "etc", "lib", "libexec", "rescue")),
}
TAKEN |= {"/root", "/sbin", "/usr", *("/usr/" + each for each in ("bin", "lib", "libexec", "local", "sbin", "share"))}

#: where a mountpoint can be made on a host
WRITABLE = ("/var/", "/tmp/")

_SAFE = "nothing was changed"


class Place(NamedTuple):
    """Where a dataset is mounted. ``early`` is by the hook, at the place that its name says."""

    path: str
    early: bool


class Wanted(NamedTuple):
    """A dataset that a host shall have, by its name below ``<pool>/nanozfs``, and its properties as zfs wants them."""

    name: str
    properties: Mapping[str, str]

    def full(self, pool: str) -> str:
        return "{0}/{1}".format(root_of(pool), self.name)


def wanted(pool: str, datasets: Sequence[Mapping[str, Any]]) -> List[Wanted]:
    """The datasets of a site, parents before what is below them.

    :param datasets: each with ``name`` and ``properties``.
    :raises Refused: when one is not what it must be, or two cannot be together.
    """
    found: List[Wanted] = []
    for each in datasets:
        item = Wanted(str(each["name"]), _properties(str(each["name"]), each.get("properties") or {}))
        check_dataset_name(item.full(pool))
        if item.name.split("/")[0] in RESERVED:
            raise Refused("deploy_datasets: {0} is a dataset of the collection".format(item.name), safe=_SAFE)
        if item.name in [other.name for other in found]:
            raise Refused(
                "deploy_datasets has {0} twice".format(item.name), safe=_SAFE, todo="put its properties into one item"
            )
        if item.name in OURS and item.properties.get("mountpoint", "legacy") != "legacy":
            raise Refused(
                "deploy_datasets: {0} must keep mountpoint=legacy, the early boot hook mounts it".format(item.name),
                safe=_SAFE,
            )
        found.append(item)
    found.sort(key=lambda item: item.name.count("/"))
    _refuse_shadows(found)
    return found


def _properties(name: str, values: object) -> Dict[str, str]:
    if not isinstance(values, Mapping):
        raise Refused("deploy_datasets: the properties of {0} are no mapping".format(name), safe=_SAFE)
    for key, value in values.items():
        if not isinstance(value, (str, int, float)) or any(ord(each) < 32 for each in str(value)):
            raise Refused(
                "deploy_datasets: {0} of {1} must be text, a number or on and off, in one line".format(key, name),
                safe=_SAFE,
            )
    return property_texts(values)


def place_of(name: str, every: Mapping[str, Mapping[str, str]]) -> Optional[Place]:
    """Where a dataset will be mounted; ``None`` where it will not be, or nobody can tell from here.

    :param every: the properties of all datasets that are given, by name.
    """
    if every.get(name, {}).get("canmount") in ("off", "noauto") and not name.startswith("var/"):
        return None
    here, below = name, ""
    while here:
        mountpoint = every.get(here, {}).get("mountpoint")
        if mountpoint is not None and mountpoint.startswith("/"):
            canmount = every.get(name, {}).get("canmount", "on")
            return Place(os.path.normpath(mountpoint + below), False) if canmount == "on" else None
        if mountpoint is not None and mountpoint != "legacy":
            return None
        if mountpoint == "legacy" or here == "var":
            return Place("/" + name, True) if name.split("/", maxsplit=1)[0] == "var" else None
        here, _slash, last = here.rpartition("/")
        below = "/" + last + below
    return None


def _refuse_shadows(found: Sequence[Wanted]) -> None:
    """Refuse datasets of which one would hide another, or what the system needs.

    :raises Refused: with their names.
    """
    every = {item.name: item.properties for item in found}
    places = {name: place for name, place in ((name, place_of(name, every)) for name in every) if place}
    for name, place in places.items():
        if name not in OURS and place.path in TAKEN:
            raise Refused(
                "deploy_datasets: {0} would be mounted over {1}, which the host needs".format(name, place.path),
                safe=_SAFE,
                todo="give it another mountpoint",
            )
        for other, there in places.items():
            inside = (there.path + "/").startswith(place.path.rstrip("/") + "/")
            hides = inside and (place.path == there.path or (there.early and not place.early))
            if other != name and hides:
                raise Refused(
                    "deploy_datasets: {0} (mounted at {1}) would hide {2} (at {3})".format(
                        name, place.path, other, there.path
                    ),
                    safe=_SAFE,
                    todo="give one of them another place, or leave it out",
                )


def refuse_orphans(items: Sequence[Wanted], there: Sequence[str]) -> None:
    """Refuse datasets whose parent is neither there nor wanted: zfs makes none by itself.

    :param there: names below ``<pool>/nanozfs`` of those that are.
    :raises Refused: with the parent.
    """
    known = set(there) | {item.name for item in items} | set(OURS)
    for item in items:
        parent = item.name.rpartition("/")[0]
        if parent and parent not in known:
            raise Refused(
                "deploy_datasets has {0}, and there is no {1}".format(item.name, parent),
                safe=_SAFE,
                todo="add {0} to deploy_datasets".format(parent),
            )


def _files_in(path: str) -> List[str]:
    """What is in a folder, and is more than a folder that something is mounted on."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [name for name in names if not os.path.ismount(os.path.join(path, name))]


def unmounted(zfs: Zfs, pool: str, items: Sequence[Wanted], root: str = "") -> List[Tuple[Wanted, str]]:
    """The wanted datasets that the hook will mount and that are not mounted now, with their places on this host.

    :param root: what stands before every place; for tests.
    """
    every = {item.name: item.properties for item in items}
    mounted = {each.name for each in zfs.datasets(root_of(pool)) if each.mounted}
    found = []
    for item in items:
        place = place_of(item.name, every)
        if place is not None and place.early and item.name not in OURS and item.full(pool) not in mounted:
            found.append((item, root + place.path))
    return found


def refuse_homeless(items: Sequence[Wanted], root: str = "") -> None:
    """Refuse datasets whose mountpoint the image does not have: the root is read-only, and nobody can make it.

    :param root: what stands before every place; for tests.
    :raises Refused: with the folder.
    """
    every = {item.name: item.properties for item in items}
    places = {item.name: place_of(item.name, every) for item in items}
    for item in items:
        place = places[item.name]
        if place is None or place.early or place.path.startswith(WRITABLE):
            continue
        above = [other.path for name, other in places.items() if other is not None and name != item.name]
        made_there = any(place.path.startswith(path.rstrip("/") + "/") for path in above)
        if not made_there and not os.path.isdir(root + place.path):
            raise Refused(
                "deploy_datasets: {0} would be mounted at {1}, which the image does not have, and its root is "
                "read-only".format(item.name, place.path),
                safe=_SAFE,
                todo="build the image with an empty folder {0} (an overlay with it), or mount it below /var".format(
                    place.path
                ),
            )


def refuse_covering(places: Sequence[Tuple[Wanted, str]]) -> None:
    """Refuse datasets that would be mounted over files, which nobody would see again.

    :param places: as :func:`unmounted` gives them.
    :raises Refused: with the dataset, its place and some of the files.
    """
    for item, path in places:
        files = _files_in(path)
        if files:
            raise Refused(
                "the dataset {0} of deploy_datasets would hide the files that are in {1} ({2})".format(
                    item.name, path, first_of(files, 3)
                ),
                safe=_SAFE,
                todo="stop what uses them, move them away (mv {0} {0}.before), run the play again, which mounts the "
                "dataset there, and move them into it".format(path),
            )
