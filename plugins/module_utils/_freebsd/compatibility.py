# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which features a pool may get: its property ``compatibility``, and the sets of features that it names.

Source: ``zpool_load_compat()`` in ``libzfs_pool.c`` of OpenZFS, the same in 2.1 (FreeBSD 13.2) and 2.4 (15.0), and
zpool-features(7), "Compatibility feature sets".
"""

from __future__ import annotations

import os
import re
from typing import Dict, FrozenSet, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: all features; none
OFF, LEGACY = "off", "legacy"

#: where sets are looked for that are not named by an absolute path, and in this order
FOLDERS = ("/etc/zfs/compatibility.d", "/usr/share/zfs/compatibility.d")

#: what a file with a set may have at most, in bytes (ZPOOL_COMPAT_MAXSIZE)
_LARGEST = 16384

_WORD = re.compile(r"[^, \t]+")

#: of ``zpool get``: the kind of a property, and whether the running ZFS knows the feature
_KNOWN, _UNKNOWN = "feature@", "unsupported@"


class Features(NamedTuple):
    """The features of a pool by their short names, sorted.

    :param active: what a ZFS must know to open the pool for writing.
    :param enabled: what becomes active as soon as something uses it.
    :param disabled: what the running ZFS knows besides, and `zpool upgrade` could enable.
    :param compatibility: the property: sets with commas between them, :data:`OFF` or :data:`LEGACY`.
    """

    active: Tuple[str, ...]
    enabled: Tuple[str, ...]
    disabled: Tuple[str, ...]
    compatibility: str


def parse_features(rows: Sequence[Sequence[str]]) -> Features:
    """The features of a pool.

    :param rows: property and value, as ``zpool get`` gives them. A feature that this ZFS does not know is listed by its
        guid, as ``unsupported@com.example:name``; it is active where that says ``readonly``
        (``zpool_prop_get_feature()`` in ``libzfs_pool.c``).
    """
    states: Dict[str, Set[str]] = {"active": set(), "enabled": set(), "disabled": set()}
    meanings = {(_UNKNOWN, "readonly"): "active", (_UNKNOWN, "inactive"): "enabled"}
    compatibility = OFF
    for key, value in (row[:2] for row in rows):
        kind, at, name = key.partition("@")
        state = meanings.get((kind + at, value), value if kind + at == _KNOWN else "")
        if state in states:
            states[state].add(name.rpartition(":")[2])
        if key == "compatibility" and value not in ("", "-"):
            compatibility = value
    active, enabled, disabled = (tuple(sorted(names)) for names in states.values())
    return Features(active, enabled, disabled, compatibility)


def _set(name: str) -> FrozenSet[str]:
    """The features that a file names.

    :raises FleetError: when there is none that ZFS would take.
    """
    for folder in FOLDERS:
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError:
            continue
        if not data.endswith(b"\n") or len(data) > _LARGEST:
            break
        lines = data.decode("ascii", "replace").splitlines()
        return frozenset(word for line in lines for word in _WORD.findall(line.partition("#")[0]))
    raise FleetError(
        "there is no set of features {0} that can be read".format(name),
        safe="nothing was changed",
        todo="take one of those in {0}".format(" and ".join(FOLDERS)),
    )


def allowed(compatibility: str) -> Optional[FrozenSet[str]]:
    """The features that ``zpool upgrade`` may enable; ``None`` for all.

    :param compatibility: the property; only what all of its sets have is allowed.
    :raises FleetError: when one of them cannot be read.
    """
    if compatibility in ("", OFF):
        return None
    if compatibility == LEGACY:
        return frozenset()
    sets = [_set(name) for name in compatibility.split(",") if name]
    return frozenset.intersection(*sets) if sets else frozenset()


def upgradable(features: Features) -> Tuple[str, ...]:
    """The features that ``zpool upgrade`` would enable, sorted. It may leave some out that it calls not automatic.

    :raises FleetError: when a set of the pool's cannot be read.
    """
    if not features.disabled:
        return ()
    may = allowed(features.compatibility)
    return tuple(each for each in features.disabled if may is None or each in may)
