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

from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import check_dataset_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool, vdev_words
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module


def create_argv(params: Dict[str, Any]) -> List[str]:
    """The command."""
    argv = ["zpool", "create"]
    for key, value in sorted(dict(params["properties"], cachefile="none").items()):
        argv += ["-o", "{0}={1}".format(key, value)]
    for key, value in sorted(params["filesystem_properties"].items()):
        argv += ["-O", "{0}={1}".format(key, value)]
    return argv + [params["name"]] + vdev_words(params["vdevs"])


def check_disks(runner: Runner, params: Dict[str, Any]) -> None:
    """Refuse disks that are not there, in use, or hold a partition table; zpool itself refuses other pools' disks."""
    mesh = read_mesh(runner)
    for disk in (disk for vdev in params["vdevs"] for disk in vdev["disks"]):
        provider = mesh.find(disk)
        if provider is None:
            raise Refused("there is no disk {0}".format(disk), safe="nothing was changed", todo="check the inventory")
        holders = mesh.holders(provider)
        if holders:
            raise Refused(
                "{0} is in use by {1}".format(disk, ", ".join(str(each) for each in holders)),
                safe="nothing was changed",
            )
        if any(geom.kind == "PART" and geom.name == provider.name for geom in mesh.geoms):
            raise Refused(
                "{0} carries a partition table".format(disk),
                safe="nothing was changed",
                todo="use one of its partitions, or clear the disk by hand if it is the right one (gpart destroy)",
            )


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_dataset_name(params["name"])
    zpool = Zpool(runner)
    pool = zpool.pool(params["name"])
    if pool is not None:
        return {"changed": False, "pool": dict(pool.__dict__)}
    same = [each for each in zpool.candidates() if each.name == params["name"]]
    if same:
        raise Refused(
            "there is a pool {0} on this host that is not imported".format(same[0].describe()),
            safe="nothing was changed",
            todo="import it (zpool_import); a pool of that name is never created beside it",
        )
    argv = create_argv(params)
    check_disks(runner, params)
    zpool.create(argv, params["name"])
    after = zpool.pool(params["name"])
    return {
        "changed": True,
        "pool": dict(after.__dict__) if after else {"name": params["name"]},
        "diff": {"before": "", "after": "{0}: {1}\n".format(params["name"], " ".join(vdev_words(params["vdevs"])))},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "vdevs": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "type": {
                        "type": "str",
                        "choices": ["stripe", "mirror", "raidz", "raidz1", "raidz2", "raidz3"],
                        "default": "raidz",
                    },
                    "disks": {"type": "list", "elements": "str", "required": True},
                },
            },
            "properties": {"type": "dict", "default": {}},
            "filesystem_properties": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
