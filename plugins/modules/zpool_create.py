#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zpool_create
short_description: Create a ZFS pool where there is none
version_added: 1.0.0
description:
  - Creates a pool from disks that hold nothing. Never uses force, so a disk that is part of another pool, carries a
    partition table or is in use stops it.
  - A pool of that name that is there already, imported or not, is never touched. When it is imported, the module
    succeeds without a change; when it is not, it fails, because the right thing to do then is to import it.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  name:
    description:
      - Name of the pool.
    type: str
    required: true
  vdevs:
    description:
      - The data vdevs of the pool.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description:
          - Kind of the vdev.
        type: str
        choices: [stripe, mirror, raidz, raidz1, raidz2, raidz3]
        default: raidz
      disks:
        description:
          - Its disks, as device names or GPT labels.
        type: list
        elements: str
        required: true
  properties:
    description:
      - Pool properties. V(cachefile=none) is always added.
    type: dict
    default: {}
  filesystem_properties:
    description:
      - Properties of the pool's root dataset.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Make the system pool of a new host
  nanozfs.fleet.zpool_create:
    name: tank
    vdevs:
      - type: raidz
        disks: [ada1, ada2, ada3]
    filesystem_properties:
      mountpoint: none
      compression: lz4
      atime: "off"
"""

RETURN = r"""
pool:
  description: The pool. Sizes in bytes.
  returned: success
  type: dict
  sample: {name: tank, guid: "15367144506019737292", health: ONLINE, size: 1476395008}
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zpool create -o cachefile=none -O mountpoint=none tank raidz ada1 ada2 ada3"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module

KEYS = ("name", "vdevs", "properties", "filesystem_properties")


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    done = pools.ensure_created(runner, *(module.params[key] for key in KEYS))
    return {"changed": done.changed, "pool": done.pool, "diff": {"before": done.before, "after": done.after}}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "vdevs": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": pools.VDEV,
            },
            "properties": {"type": "dict", "default": {}},
            "filesystem_properties": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
