#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zpool_import
short_description: Import or export a ZFS pool
version_added: 1.0.0
description:
  - Imports a pool that is there but not imported, or exports one that is.
  - Tells apart a pool that can be imported, one that is in use on another host (and on which), one that is damaged, a
    name that two pools have, and a pool that is not there at all.
  - Compares pools by guid. A pool that was last in use on another host is only taken over from the host that is named
    in O(force_hostid).
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  name:
    description:
      - Name of the pool. Refused when two pools have it; then O(guid) is needed.
    type: str
  guid:
    description:
      - Guid of the pool, in decimal as C(zpool import) prints it.
    type: str
  state:
    description:
      - Whether the pool shall be imported or exported.
    type: str
    choices: [imported, exported]
    default: imported
  mount:
    description:
      - Mount the datasets of the pool after the import. The default corresponds to C(-N).
    type: bool
    default: false
  readonly:
    description:
      - Import read-only. A pool that is imported already must be imported in that way.
    type: bool
    default: false
  altroot:
    description:
      - Import under this directory (C(-R)).
    type: path
  cachefile:
    description:
      - The cache file that the pool is noted in. The default notes it nowhere, so that it is never imported by itself
        at boot, past the early boot hook.
    type: str
    default: none
  search_dirs:
    description:
      - Directories or devices to search for pools (C(-d)).
    type: list
    elements: path
    default: []
  force_hostid:
    description:
      - The hostid (hexadecimal, as C(zpool) prints it) of the host from which the pool may be taken over, or V(any).
      - V(0) stands for a pool that was imported in the early boot of a host, before it had its hostid.
      - Be sure that this host is off or has exported the pool. Two hosts with one pool destroy it.
    type: str
  force_export:
    description:
      - Unmount datasets that are busy when exporting (C(-f)).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Import the system pool the way the early boot hook does
  nanozfs.fleet.zpool_import:
    name: tank

- name: Look into a pool from another host without changing it
  nanozfs.fleet.zpool_import:
    guid: "9391816869918432840"
    readonly: true
    altroot: /mnt/foreign

- name: Take over the pool of a host that is dead
  nanozfs.fleet.zpool_import:
    name: tank
    force_hostid: a8251093

- name: Release it
  nanozfs.fleet.zpool_import:
    name: tank
    state: exported
"""

RETURN = r"""
pool:
  description: The pool after the module ran, if it is imported. Sizes in bytes.
  returned: success
  type: dict
  sample: {name: tank, guid: "9391816869918432840", health: ONLINE, size: 1476395008, readonly: false}
hostid:
  description: Hostid of the host that the pool was in use on, where that is the reason for a refusal.
  returned: when the pool is in use elsewhere
  type: str
  sample: a8251093
hostname:
  description: Name of that host.
  returned: when the pool is in use elsewhere
  type: str
  sample: fbsd
guids:
  description: Guids of the pools that have the name.
  returned: when the name is ambiguous
  type: list
  elements: str
  sample: ["6613461887600903516", "196415297819419090"]
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zpool import -N -o cachefile=none 9391816869918432840"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import ImportOptions, Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module

OPTIONS = ("mount", "readonly", "altroot", "cachefile", "search_dirs")


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    options = ImportOptions(**{key: params[key] for key in OPTIONS})
    wanted = pools.Wanted(params["name"], params["guid"], options, params["force_hostid"])
    if params["state"] == "imported":
        done = pools.ensure_imported(Zpool(runner), wanted)
    else:
        done = pools.ensure_exported(Zpool(runner), wanted, params["force_export"])
    return {"changed": done.changed, "pool": done.pool, "diff": {"before": done.before, "after": done.after}}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "guid": {"type": "str"},
            "state": {"type": "str", "choices": ["imported", "exported"], "default": "imported"},
            "mount": {"type": "bool", "default": False},
            "readonly": {"type": "bool", "default": False},
            "altroot": {"type": "path"},
            "cachefile": {"type": "str", "default": "none"},
            "search_dirs": {"type": "list", "elements": "path", "default": []},
            "force_hostid": {"type": "str"},
            "force_export": {"type": "bool", "default": False},
        },
        required_one_of=[("name", "guid")],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
