# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""``nanozfs zpool-upgrade``: more features for the pool, as long as every system of the medium can open it then.

Source: zpool-upgrade(8); zpoolprops(7), ``compatibility``.
"""

from __future__ import annotations

from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import read_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, state_of

_SAFE = "nothing was changed"


def upgrade(runner: Runner, compatibility: str) -> List[str]:
    """Enable what the pool may have; what was done, or in check mode would be, as lines.

    :param compatibility: what it may have from now on; empty for what its property says.
    :raises Refused: when a slice would be locked out, or the host is not in a state for it.
    """
    medium = read_medium(runner)
    state, reason = state_of(runner, medium)
    contents = {label: read_slice(piece, False) for label, piece in medium.slices.items()}
    running = contents[medium.running].inside
    if state != NORMAL or running is None:
        raise Refused(
            "this is not the time for it: the host is in state {0} ({1})".format(state, reason or "no reason is known"),
            safe=_SAFE,
            todo="see `nanozfs status`; a trial has to be committed or taken back first",
        )
    pool = running.pool
    if JournalStore(Zfs(runner), pool).read().is_open:
        raise Refused(
            "an upgrade or rollback of this host is under way, and has a way back that must stay one",
            safe=_SAFE,
            todo="finish it first (`nanozfs status`)",
        )
    features = Zpool(runner).features(pool)
    wanted = features._replace(compatibility=compatibility or features.compatibility)
    would = readable.check_upgrade(pool, wanted, contents)
    done = []
    if wanted.compatibility != features.compatibility:
        runner.change(
            ["zpool", "set", "compatibility=" + wanted.compatibility, pool], "say what the pool may have", safe=_SAFE
        )
        done.append("the pool {0} may have the features of {1}".format(pool, wanted.compatibility))
    if would:
        safe = "the pool has the features that it had, or some more; all systems of this medium know them"
        runner.change(["zpool", "upgrade", pool], "upgrade the pool", safe=safe)
        done.append("the pool {0} got {1}".format(pool, ", ".join(would)))
    return done
