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

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import (
    Candidate,
    ImportOptions,
    Pool,
    Zpool,
    check_importable,
    choose,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module


def options_from(params: Dict[str, Any], force: bool) -> ImportOptions:
    """The import options that the module was called with."""
    return ImportOptions(
        mount=params["mount"],
        readonly=params["readonly"],
        altroot=params["altroot"],
        cachefile=params["cachefile"],
        search_dirs=params["search_dirs"],
        force=force,
    )


def check_imported(pool: Pool, params: Dict[str, Any]) -> None:
    """Refuse to call a pool right that is imported in another way than was asked for."""
    if params["guid"] and params["name"] and (pool.guid != params["guid"] or pool.name != params["name"]):
        raise Refused(
            "the imported pool {0} has guid {1}; {2} with guid {3} was asked for".format(
                pool.name, pool.guid, params["name"], params["guid"]
            ),
            safe="nothing was changed",
            todo="export it first, or ask for the one that is imported",
        )
    differs = []
    if pool.readonly != params["readonly"]:
        differs.append("read-only" if pool.readonly else "read-write")
    if (pool.altroot or None) != (params["altroot"] or None):
        differs.append("under {0}".format(pool.altroot) if pool.altroot else "without an altroot")
    if differs:
        raise Refused(
            "the pool {0} is imported already, but {1}".format(pool.name, " and ".join(differs)),
            safe="nothing was changed",
            todo="export it first (state=exported), then import it as you want it",
        )


def state_of(pool: Optional[Pool], candidate: Optional[Candidate]) -> Dict[str, str]:
    """One side of the diff."""
    if pool is not None:
        return {"state": "imported", "name": pool.name, "guid": pool.guid}
    if candidate is not None:
        return {"state": "exported", "name": candidate.name, "guid": candidate.guid}
    return {"state": "absent"}


def ensure_imported(zpool: Zpool, params: Dict[str, Any], pool: Optional[Pool]) -> Dict[str, Any]:
    """Bring the pool in."""
    if pool is not None:
        check_imported(pool, params)
        return {"changed": False, "pool": dict(pool.__dict__)}
    candidates = zpool.candidates(params["search_dirs"])
    candidate = choose(candidates, params["name"], params["guid"])
    if candidate is None:
        there = ", ".join(each.describe() for each in candidates) or "none"
        raise Refused(
            "there is no pool {0} to import; there is: {1}".format(params["name"] or params["guid"], there),
            safe="nothing was changed",
            todo="check that its disks are attached (camcontrol devlist, gpart show)",
        )
    if params["guid"] and params["name"] and candidate.name != params["name"]:
        raise Refused(
            "the pool with guid {0} is named {1}, not {2}".format(candidate.guid, candidate.name, params["name"]),
            safe="nothing was changed",
        )
    label = zpool.last_host(candidate)
    force = check_importable(candidate, label, zpool.own_hostid(), params["force_hostid"])
    zpool.import_pool(candidate.guid, options_from(params, force))
    after = zpool.pool(candidate.guid)
    shown = dict(after.__dict__) if after else {"name": candidate.name, "guid": candidate.guid}
    before = state_of(None, candidate)
    return {"changed": True, "pool": shown, "diff": {"before": before, "after": dict(before, state="imported")}}


def ensure_exported(zpool: Zpool, params: Dict[str, Any], pool: Optional[Pool]) -> Dict[str, Any]:
    """Let the pool go."""
    if pool is None:
        return {"changed": False, "pool": None}
    if params["guid"] and params["name"]:
        check_imported(pool, dict(params, readonly=pool.readonly, altroot=pool.altroot))
    zpool.export(pool.name, params["force_export"])
    before = state_of(pool, None)
    return {"changed": True, "pool": None, "diff": {"before": before, "after": dict(before, state="exported")}}


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    zpool = Zpool(runner)
    pool = zpool.pool(params["guid"] or params["name"])
    if pool is None and params["guid"] and params["name"]:
        pool = zpool.pool(params["name"])
    return (ensure_imported if params["state"] == "imported" else ensure_exported)(zpool, params, pool)


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
