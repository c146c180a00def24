#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot
short_description: Take, hold, destroy and prune ZFS snapshots
version_added: 1.0.0
description:
  - Takes a snapshot of a dataset, with O(recursive) of everything below it in the same instant, and puts a hold on it.
  - Marks what it takes with the user property C(nanozfs:made-by) and never destroys a snapshot without this mark, nor
    one that another hold keeps or that a dataset was cloned from.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  dataset:
    description:
      - The file system or volume.
    type: str
    required: true
  name:
    description:
      - Name of the snapshot, without dataset and @. Not with O(state=pruned).
    type: str
  state:
    description:
      - V(present) takes the snapshot unless it is there.
      - V(absent) destroys it.
      - V(pruned) destroys the snapshots that O(prefix), O(keep) and O(older_than) describe.
    type: str
    choices: [present, absent, pruned]
    default: present
  recursive:
    description:
      - Everything below the dataset as well.
    type: bool
    default: false
  hold:
    description:
      - Tag of the hold to put on the snapshot. With O(state=absent) and O(state=pruned), a hold of this tag is taken
        off before the snapshot is destroyed; holds of other tags always keep it.
    type: str
  retake:
    description:
      - Take the snapshot anew when it is there but something was written since. Only one that this collection took.
    type: bool
    default: false
  properties:
    description:
      - User properties to give to the snapshot.
    type: dict
    default: {}
  prefix:
    description:
      - What the names of the snapshots to prune begin with.
    type: str
  keep:
    description:
      - How many of them to keep for each dataset, the newest ones by transaction group.
    type: int
  older_than:
    description:
      - Only prune snapshots that are older than this many seconds by the clock of the host. The newest one always stays
        then. Nothing is pruned when the clock has jumped by years, now or between two snapshots; RV(kept) says so.
    type: int
"""

EXAMPLES = r"""
- name: Snapshot all of a host's data in one instant
  nanozfs.fleet.zfs_snapshot:
    dataset: tank/nanozfs
    name: nz-0007-3fa9c1d2
    recursive: true
    hold: nanozfs

- name: Keep the last three
  nanozfs.fleet.zfs_snapshot:
    dataset: tank/nanozfs
    state: pruned
    recursive: true
    prefix: nz-
    keep: 3
    hold: nanozfs
"""

RETURN = r"""
snapshots:
  description: The snapshots of that name that there are.
  returned: when O(state) is V(present)
  type: list
  elements: dict
  contains:
    name:
      description: Full name.
      type: str
      returned: always
      sample: tank/nanozfs@nz-0007-3fa9c1d2
    guid:
      description: Guid, which stays the same under any name.
      type: str
      returned: always
      sample: "15998892425574965340"
destroyed:
  description: The snapshots that were destroyed.
  returned: when O(state) is V(absent) or V(pruned)
  type: list
  elements: str
  sample: [tank/nanozfs@nz-0003-aa10be77]
kept:
  description: What had expired but must stay, with the reason.
  returned: when O(state) is V(pruned)
  type: dict
  sample: {"tank/nanozfs/var@nz-0003-aa10be77": "tank/nanozfs/failed/0003-aa10be77/var depend on it"}
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zfs snapshot -r -o nanozfs:made-by=nanozfs.fleet tank/nanozfs@nz-0007-3fa9c1d2"]
"""

import time
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    Snapshot,
    Zfs,
    check_dataset_name,
    check_snapshot_tag,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.snapshot import (
    Pruning,
    Wanted,
    ensure_absent,
    ensure_present,
    prune,
)


def names(snapshots: List[Snapshot]) -> str:
    """One side of the diff."""
    return "".join("{0}\n".format(each.name) for each in snapshots)


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    zfs = Zfs(runner)
    check_dataset_name(params["dataset"])
    recursive = params["recursive"]
    before = zfs.snapshots(params["dataset"], recursive=recursive)
    if params["state"] == "pruned":
        pruning = Pruning(params["prefix"], params["keep"], params["older_than"])
        destroyed, kept = prune(zfs, params["dataset"], recursive, pruning, time.time(), params["hold"])
        left = [each for each in before if each.name not in destroyed]
        return {
            "changed": bool(destroyed),
            "destroyed": destroyed,
            "kept": kept,
            "diff": {"before": names(before), "after": names(left)},
        }
    check_snapshot_tag(params["name"])
    wanted = Wanted(
        dataset=params["dataset"],
        tag=params["name"],
        recursive=recursive,
        hold=params["hold"],
        retake=params["retake"],
        properties={key: str(value) for key, value in params["properties"].items()},
    )
    if params["state"] == "absent":
        destroyed = ensure_absent(zfs, wanted)
        left = [each for each in before if each.name not in destroyed]
        return {
            "changed": bool(destroyed),
            "destroyed": destroyed,
            "diff": {"before": names(before), "after": names(left)},
        }
    changed = ensure_present(zfs, wanted)
    after = zfs.snapshots(params["dataset"], recursive=recursive)
    taken = [each for each in after if each.tag == wanted.tag]
    shown = names(after)
    if module.check_mode and changed and not taken:
        shown = names(before) + wanted.name + "\n"
    return {
        "changed": changed,
        "snapshots": [{"name": each.name, "guid": each.guid} for each in taken],
        "diff": {"before": names(before), "after": shown},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "dataset": {"type": "str", "required": True},
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent", "pruned"], "default": "present"},
            "recursive": {"type": "bool", "default": False},
            "hold": {"type": "str"},
            "retake": {"type": "bool", "default": False},
            "properties": {"type": "dict", "default": {}},
            "prefix": {"type": "str"},
            "keep": {"type": "int"},
            "older_than": {"type": "int"},
        },
        required_if=[
            ("state", "present", ("name",)),
            ("state", "absent", ("name",)),
            ("state", "pruned", ("prefix",)),
            ("state", "pruned", ("keep", "older_than"), True),
        ],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
