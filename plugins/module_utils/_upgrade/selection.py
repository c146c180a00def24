# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Choosing the slice that boots: what the module ``gpart_slice`` and the agent both do.

Which attributes that takes is in ``_medium``; here it is done, and looked at afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import (
    Medium,
    apply,
    edits,
    flags_after,
    pick,
    read_medium,
    recover,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.job import refuse_unfinished

Flags = Dict[str, List[str]]


@dataclass(frozen=True)
class Choice:
    """What was chosen, and the boot attributes of the slices before and after; in check mode, as they would be."""

    medium: Medium
    label: str
    before: Flags
    after: Flags
    changed: bool
    recovered: bool


def choose(runner: Runner, wanted: str, state: str, mend: bool = False) -> Choice:
    """Give a slice a boot state.

    :param wanted: a label, ``running`` or ``inactive``.
    :param state: one of ``_medium.STATES``.
    :param mend: recover a partition table that is CORRUPT first.
    :raises Refused: when that would leave the host without a way back; nothing was changed then.
    :raises FleetError: when gpart fails, or says that it did what it did not.
    """
    medium = read_medium(runner)
    recovered = mend and recover(runner, medium)
    if recovered:
        medium = replace(medium, corrupt=False) if runner.check_mode else read_medium(runner)
    label = pick(medium, wanted)
    if state != "inactive":
        refuse_unfinished(label)
    changes = edits(medium, label, state)
    before, after = flags_after(medium, []), flags_after(medium, changes)
    apply(runner, medium, changes)
    if changes and not runner.check_mode:
        seen = flags_after(read_medium(runner), [])
        if seen != after:
            raise FleetError(
                "gpart reported success, but the boot attributes are {0} and not {1}".format(seen, after),
                safe="the host still boots one of its slices",
                todo="look with `gpart show -l {0}`".format(medium.disk),
            )
    return Choice(medium, label, before, after, bool(changes) or recovered, recovered)
