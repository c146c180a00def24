# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether every system of a medium could open the pool: now, when it is used further, and after ``zpool upgrade``.

A system whose ZFS does not know a feature that is active cannot open the pool for writing, so its slice is no way back.
A feature that is only enabled becomes active by itself when something uses it, and never goes back to disabled.

Source: zpool-features(7), "Feature states"; zpoolprops(7), ``compatibility``.
"""

from __future__ import annotations

from typing import List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.compatibility import Features, upgradable
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import SliceContent
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import missing_features


class System(NamedTuple):
    """A system on a slice.

    :param where: the slice and what is on it, for people.
    :param features: what its ZFS knows; ``None`` where its image does not say.
    """

    where: str
    features: Sequence[str]


def systems(contents: Mapping[str, SliceContent]) -> Tuple[List[System], List[str]]:
    """What could be started from a medium, and which of it do not say what their ZFS knows.

    :param contents: by the label of the slice. One without an image cannot be started, and counts for nothing.
    """
    known, unknown = [], []
    for label, each in sorted(contents.items()):
        if each.inside is None:
            continue
        where = "{0} ({1}-{2})".format(label, each.inside.name, each.inside.version)
        if each.inside.features is None:
            unknown.append(where)
        else:
            known.append(System(where, each.inside.features))
    return known, unknown


def warnings(pool: str, features: Features, known: Sequence[System]) -> List[str]:
    """What is or would be locked out of a pool, in words.

    :param known: all systems but the one that runs, which has the pool open.
    """
    found = []
    later: Sequence[str] = ()
    try:
        # what the sets of the pool say does not matter where everybody knows all that there is
        if any(missing_features(system.features, features.disabled) for system in known):
            later = upgradable(features)
    except FleetError as error:
        found.append("what `zpool upgrade {0}` would do cannot be told: {1}".format(pool, error.what))
    for system in known:
        for names, words in (
            (features.active, "{0} cannot open the pool {1}: its ZFS does not know {2}, which the pool uses"),
            (features.enabled, "{0} cannot open the pool {1} any more once that uses {2}, which is enabled"),
            (
                later,
                "`zpool upgrade {1}` would lock {0} out, whose ZFS does not know {2}: set the pool's compatibility",
            ),
        ):
            missing = missing_features(system.features, names)
            if missing:
                found.append(words.format(system.where, pool, ", ".join(missing)))
    return found


def check_upgrade(pool: str, features: Features, contents: Mapping[str, SliceContent]) -> Tuple[str, ...]:
    """The features that ``zpool upgrade`` would enable, when all systems of the medium know them.

    :raises Refused: when one does not, or does not say.
    """
    would = upgradable(features)
    known, unknown = systems(contents)
    lacking = [(each.where, missing_features(each.features, would)) for each in known]
    words = ["{0} does not know {1}".format(where, ", ".join(missing)) for where, missing in lacking if missing]
    words += ["{0} does not say".format(where) for where in unknown]
    if would and words:
        raise Refused(
            "`zpool upgrade {0}` would enable features that not every system of this medium knows ({1})".format(
                pool, "; ".join(words)
            ),
            safe="nothing was changed, and all systems can open the pool",
            todo="bring the other slice and the recovery image to the newer release first (upgrade.yml, twice; a fresh "
            "medium brings recovery), or take a set of features that all of them know (--compatibility); what is "
            "enabled can never be disabled",
        )
    return would
