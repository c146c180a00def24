#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_rollback
short_description: Put a ZFS dataset back to a snapshot
version_added: 1.0.0
description:
  - Puts a dataset back to one of its snapshots, in one of two ways.
  - With O(method=rollback) in place, as C(zfs rollback) does. This destroys everything newer; the module lists what
    that would be and refuses, unless each kind of loss was agreed to.
  - With O(method=clone) without losing anything. The dataset is renamed aside with all that is below it, the snapshot
    is cloned in its place and the clone promoted. Datasets with the user property C(nanozfs:rollback=keep) stay as
    they are. What was live before remains under O(aside).
  - The second way can be broken off at any point and started again.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  snapshot:
    description:
      - Full name of the snapshot.
    type: str
    required: true
  guid:
    description:
      - The guid that the snapshot must have. A snapshot that was destroyed and taken again has another one.
    type: str
  method:
    description:
      - How to put the dataset back.
    type: str
    choices: [rollback, clone]
    default: rollback
  recursive:
    description:
      - With O(method=rollback), roll back every dataset below as well that has a snapshot of the same name. All of them
        are looked at before the first is touched. O(method=clone) always takes what is below along.
    type: bool
    default: false
  destroy_newer:
    description:
      - Agree to the destruction of newer snapshots and bookmarks.
    type: bool
    default: false
  destroy_clones:
    description:
      - Agree to the destruction of these datasets, which were cloned from newer snapshots. Each must be named.
    type: list
    elements: str
    default: []
  allow_mounted:
    description:
      - Agree to a rollback of a mounted dataset under the eyes of the programs that use it.
    type: bool
    default: false
  aside:
    description:
      - With O(method=clone), the dataset below which the present state is kept. It is created.
    type: str
"""

EXAMPLES = r"""
- name: See what a rollback would cost
  nanozfs.fleet.zfs_rollback:
    snapshot: tank/app@before-migration
  check_mode: true

- name: Go back and lose nothing
  nanozfs.fleet.zfs_rollback:
    snapshot: tank/app@before-migration
    method: clone
    aside: tank/aside/2026-11-23

- name: Go back in place, and agree to the loss of the newer snapshots
  nanozfs.fleet.zfs_rollback:
    snapshot: tank/app@before-migration
    guid: "15998892425574965340"
    destroy_newer: true
"""

RETURN = r"""
would_destroy:
  description: What the rollback destroys, or would have destroyed where it was refused. Sizes in bytes.
  returned: with O(method=rollback), as a list with one entry a dataset; as a single entry in a refusal
  type: raw
  sample: [{snapshot: tank/app@before-migration, snapshots: [tank/app@later], bookmarks: [], clones: [], written: 4096}]
plan:
  description: The steps of O(method=clone).
  returned: with O(method=clone)
  type: list
  elements: str
  sample:
    - create tank/aside/2026-11-23
    - rename 9136215573912211834 tank/app tank/aside/2026-11-23/app
    - clone 9136215573912211834 before-migration tank/app mountpoint=legacy
    - promote tank/app 9136215573912211834 before-migration
    - seal tank/aside/2026-11-23/app
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zfs rollback -r tank/app@before-migration"]
"""

import hashlib
from typing import Any, Dict, List, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs, check_dataset_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import (
    Step,
    branch_of,
    decode,
    perform,
    put_back,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.rollback import Loss, assess, check, find_snapshot


def in_place(zfs: Zfs, params: Dict[str, Any]) -> Dict[str, Any]:
    """``zfs rollback``, with everything looked at before anything is touched."""
    dataset, _at, tag = params["snapshot"].partition("@")
    losses: List[Loss] = [assess(zfs, find_snapshot(zfs, params["snapshot"], params["guid"]))]
    if params["recursive"]:
        below = [each for each in zfs.snapshots(dataset, recursive=True) if each.tag == tag]
        losses += [assess(zfs, each) for each in below if each.dataset != dataset]
    needed = [loss for loss in losses if loss.needed]
    for loss in needed:
        check(loss, params["destroy_newer"], params["destroy_clones"], params["allow_mounted"])
    for loss in needed:
        zfs.rollback(
            loss.snapshot.name,
            destroy_newer=bool(loss.snapshots or loss.bookmarks),
            destroy_clones=bool(loss.clones),
        )
    return {
        "changed": bool(needed),
        "would_destroy": [loss.as_dict() for loss in needed],
        "diff": {
            "before": {
                loss.dataset.name: {
                    "newer": list(loss.snapshots + loss.bookmarks + loss.clones),
                    "written_since": loss.written,
                }
                for loss in needed
            },
            "after": {loss.dataset.name: {"newer": [], "written_since": 0} for loss in needed},
        },
    }


class _Plan:
    """The plan of one dataset, kept in user properties of what its present state is put aside to.

    It is made once. A run that was broken off has changed what a plan would be made from.
    """

    def __init__(self, zfs: Zfs, dataset: str, aside: str) -> None:
        self._zfs = zfs
        self._aside = aside
        self._prefix = "nanozfs:plan.{0}.".format(hashlib.sha256(dataset.encode()).hexdigest()[:12])
        own = zfs.local_properties(aside) if zfs.dataset(aside) is not None else {}
        self._kept = {key: own[key] for key in sorted(own) if key.startswith(self._prefix)}

    @property
    def snapshot(self) -> Optional[str]:
        """What the plan goes back to; ``None`` where there is no plan."""
        return self._kept.get(self._prefix + "snapshot")

    @property
    def steps(self) -> List[Step]:
        """The steps of the plan."""
        return [decode(value) for key, value in self._kept.items() if key != self._prefix + "snapshot"]

    def keep(self, snapshot: str, steps: List[Step]) -> None:
        """Write a plan, in one transaction group; its first step makes the dataset that it is written to."""
        values = {"{0}{1:03d}".format(self._prefix, number): step.encode() for number, step in enumerate(steps[1:])}
        perform(self._zfs, steps[:1])
        self._zfs.set(self._aside, dict(values, **{self._prefix + "snapshot": snapshot}))


def by_clone(zfs: Zfs, params: Dict[str, Any]) -> Dict[str, Any]:
    """Rename aside, clone, promote; or go on with that where an earlier run was broken off."""
    dataset, _at, tag = params["snapshot"].partition("@")
    check_dataset_name(params["aside"])
    kept = _Plan(zfs, dataset, params["aside"])
    aside = "{0}/{1}".format(params["aside"], dataset.rsplit("/", 1)[-1])
    if kept.snapshot is None:
        steps = _new_plan(zfs, params, dataset, tag)
        if not steps:
            return {"changed": False, "plan": [], "diff": {"before": "", "after": ""}}
        if zfs.dataset(aside) is not None:
            raise Refused(
                "{0} is there already".format(aside),
                safe="nothing was changed",
                todo="put this one aside under another name",
            )
        kept.keep(params["snapshot"], steps)
    elif kept.snapshot != params["snapshot"]:
        raise Refused(
            "{0} is there already, from another rollback of {1} than to {2}".format(aside, dataset, params["snapshot"]),
            safe="nothing was changed",
            todo="put this one aside under another name",
        )
    else:
        steps = kept.steps
        if params["guid"]:
            there = zfs.snapshot(params["snapshot"]) or zfs.snapshot("{0}@{1}".format(aside, tag))
            find_snapshot(zfs, there.name if there else params["snapshot"], params["guid"])
    notes: List[str] = []
    done = perform(zfs, steps[1:] if kept.snapshot is None else steps, notes) > 0 or kept.snapshot is None
    return {
        "changed": done,
        "warnings": notes,
        "plan": [str(step) for step in steps],
        "diff": {
            "before": "{0}\n".format(dataset) if done else "",
            "after": "{0} as of {1}\n{2} (as it was)\n".format(dataset, params["snapshot"], aside) if done else "",
        },
    }


def _new_plan(zfs: Zfs, params: Dict[str, Any], dataset: str, tag: str) -> List[Step]:
    """The plan for a dataset that is as it was; empty where it is what it was at the snapshot."""
    snapshot = find_snapshot(zfs, params["snapshot"], params["guid"])
    if not assess(zfs, snapshot).needed and not any(zfs.written_since(dataset, tag).values()):
        return []
    mounted = [each.name for each in zfs.datasets(dataset) if each.mounted]
    if mounted:
        raise Refused(
            "mounted: {0}".format(", ".join(mounted)),
            safe="nothing was changed",
            todo="stop the programs that use them and unmount them first",
        )
    return put_back([branch_of(zfs, dataset, tag)], tag, params["aside"])


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    if params["snapshot"].count("@") != 1:
        raise Refused("{0!r} is no name of a snapshot".format(params["snapshot"]), safe="nothing was changed")
    return (in_place if params["method"] == "rollback" else by_clone)(Zfs(runner), params)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "snapshot": {"type": "str", "required": True},
            "guid": {"type": "str"},
            "method": {"type": "str", "choices": ["rollback", "clone"], "default": "rollback"},
            "recursive": {"type": "bool", "default": False},
            "destroy_newer": {"type": "bool", "default": False},
            "destroy_clones": {"type": "list", "elements": "str", "default": []},
            "allow_mounted": {"type": "bool", "default": False},
            "aside": {"type": "str"},
        },
        required_if=[("method", "clone", ("aside",))],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
