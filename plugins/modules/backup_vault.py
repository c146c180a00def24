#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_vault
short_description: Make a machine a backup host of the fleet
version_added: 1.1.0
description:
  - Brings the program C(nanozfs-backup), which pulls the hosts of the fleet by rsnapshot or dirvish, and tells it which
    hosts there are, how they are reached, by which ssh keys they are known, and how long their sets are kept.
  - Has the program started every quarter of an hour, by cron or systemd. It knows by itself who is due.
  - The key with which hosts are read is made on the backup host with O(state=key), and never leaves it.
  - No set is ever removed by this module, whatever is taken away.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  diff_mode:
    support: full
requirements:
  - Debian 12 or later, or FreeBSD 13.2 or later, with a Python 3.8 or later
  - rsync, and rsnapshot or dirvish
options:
  state:
    description:
      - V(key) makes the key where there is none, and says its public part.
      - V(present) makes the machine a backup host.
      - V(absent) takes program, configuration, key and schedule away. Sets stay, and what is known of them.
    type: str
    choices: [key, present, absent]
    default: present
  label:
    description: What hosts call this backup host - at most 40 lower-case letters, digits, dots, dashes and underscores.
    type: str
  root:
    description:
      - The folder of all sets, with O(state=present). It is made where it is missing, and marked; without the mark
        nothing is ever written into it, so that an empty mount point is not taken for it.
    type: path
  hosts:
    description:
      - The hosts to pull. For the action of this module, names in the inventory; how each is pulled is in its variables
        (C(backup_method), C(backup_retain) and so on), or else in the options here that are called as those.
    type: raw
    default: {}
  found:
    description:
      - The variable in which the result of M(nanozfs.fleet.backup_source) was registered for each host, which has its
        ssh keys. Those of hosts without a result stay as they are known.
    type: str
    default: ""
  method:
    description: >-
      By what a host is pulled that does not say it - V(rsnapshot), V(dirvish), or V(send) for C(zfs send) into
      O(dataset). V(none) for not at all.
    type: str
    choices: [rsnapshot, dirvish, send, none]
  retain:
    description: How many V(daily), V(weekly) and V(monthly) sets of a host are kept that does not say it.
    type: dict
  window:
    description: When a host may be pulled that does not say it, such as V(22:00-05:00). Empty for at any time.
    type: str
  bandwidth:
    description: The most that is pulled in a second, in bytes, of a host that does not say it. 0 for no limit.
    type: int
  excludes:
    description: Patterns of rsync(1) of what is left out, from the top of the tree, for hosts that do not say it.
    type: list
    elements: str
  verify_every:
    description:
      - After how many days a backup of a host that does not say it is looked into by itself, as
        C(nanozfs-backup verify) does. 0 for never.
    type: int
  addresses:
    description:
      - The addresses that this backup host comes from, for RV(puller), with O(state=key). By default its
        C(ansible_host), where that is an address.
    type: list
    elements: str
  dataset:
    description:
      - The dataset of this machine below which hosts with the method V(send) have theirs, such as V(tank/backups). It
        is made where there is none, in a pool that is there, so that nothing below it is mounted or written to.
    type: str
    default: ""
  user:
    description:
      - Who receives there. The user must be there, and is let do that and no more (C(zfs allow)). By default root does.
    type: str
    default: ""
  reserve:
    description: Percent of the file system of O(root), or of the pool of O(dataset), that stay free.
    type: int
    default: 5
  lines:
    description: How many hosts are pulled at a time. Of each site it is one.
    type: int
    default: 4
  schedule:
    description:
      - What starts the program - V(cron), V(systemd), or V(auto) for systemd where it runs and cron elsewhere. V(none)
        for nothing.
    type: str
    choices: [auto, cron, systemd, none]
    default: auto
  methods:
    description: Which methods are used, with O(state=key). The action of the module fills it in.
    type: list
    elements: str
    default: []
  known_hosts:
    description: The ssh keys of hosts, by name. The action of the module fills it in.
    type: dict
    default: {}
  program_digest:
    description: SHA-256 of the program. The action of the module fills it in.
    type: str
    default: ""
  program:
    description: Where the program was brought to, if it was. The action of the module fills it in.
    type: path
"""

EXAMPLES = r"""
- name: Make the key of the backup host
  nanozfs.fleet.backup_vault:
    state: key
    label: vault
  register: vault_key

- name: Make it a backup host
  nanozfs.fleet.backup_vault:
    label: vault
    root: /srv/backup
    hosts: [web-1, web-2]
    found: backup_source_found
    method: rsnapshot
    retain: {daily: 7, weekly: 4, monthly: 6}
    window: 22:00-05:00
"""

RETURN = r"""
label:
  description: What hosts call it.
  returned: with O(state=key)
  type: str
  sample: vault
public_key:
  description: The public part of the key; empty in check mode where there would be a new one.
  returned: with O(state=key)
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… nanozfs-backup@vault
puller:
  description: What M(nanozfs.fleet.backup_source) wants to know of it - C(label), C(key) and C(addresses).
  returned: with O(state=key), by the action
  type: dict
  sample: {"label": "vault", "key": "ssh-ed25519 AAAA… nanozfs-backup@vault", "addresses": ["192.0.2.5"]}
packages:
  description: The packages that are missing there for what the hosts are pulled by.
  returned: with O(state=key)
  type: list
  elements: str
  sample: [rsync, rsnapshot]
program_wanted:
  description: Whether the program is another one there than it should be, and was not brought.
  returned: with O(state=present)
  type: bool
  sample: false
schedule:
  description: What starts the program.
  returned: with O(state=present)
  type: str
  sample: systemd
ready:
  description: The hosts that can be pulled, as their ssh keys are known.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [web-1, web-2]
unknown:
  description: The hosts whose ssh key is not known yet, which cannot be pulled.
  returned: with O(state=present)
  type: list
  elements: str
  sample: []
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["systemctl daemon-reload"]
"""

import shutil
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import install
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import here


def _key(params: Dict[str, Any], runner: Runner) -> Dict[str, Any]:
    label = str(params["label"] or "")
    changed, public = install.make_key(runner, here(), label)
    programs = ["rsync", *sorted(install.programs(params["methods"]) - {"zfs"})]
    missing = [name for name in programs if shutil.which(name, path=ENVIRONMENT["PATH"]) is None]
    return {"changed": changed, "label": label, "public_key": public, "packages": missing}


def _present(params: Dict[str, Any], runner: Runner) -> Dict[str, Any]:
    places = here()
    if not isinstance(params["hosts"], dict):
        raise Refused("hosts must be a mapping: the action of this module makes it one", safe="nothing was changed")
    said = {key: params[key] for key in ("label", "root", "reserve", "lines", "hosts")}
    said.update({key: params[key] for key in ("dataset", "user") if params.get(key)})
    wish = install.Wish(
        said, params["known_hosts"], params["schedule"], params["program_digest"], params["program"] or ""
    )
    # the action brings it when it is told so, before anything else is changed
    wanted = not install.program_is(places, wish.digest) and not wish.program
    if wanted and not runner.check_mode:
        return {"changed": False, "program_wanted": True, "schedule": "", "ready": [], "unknown": []}
    change = install.present(runner, places, wish)
    known = {**install.known_keys(places), **params["known_hosts"]}
    unknown = sorted(name for name in params["hosts"] if not known.get(name))
    warnings = []
    if unknown:
        warnings.append(
            "the ssh key of {0} is not known, so that cannot be backed up yet; run the playbook when it answers".format(
                first_of(unknown, 5)
            )
        )
    return {
        "changed": change.changed,
        "program_wanted": wanted,
        "schedule": install.chosen(params["schedule"], places),
        "ready": sorted(set(params["hosts"]) - set(unknown)),
        "unknown": unknown,
        "warnings": warnings,
        "diff": change.diff,
    }


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    if module.params["state"] == "key":
        return _key(module.params, runner)
    if module.params["state"] == "present":
        return _present(module.params, runner)
    change = install.absent(runner, here())
    return {"changed": change.changed, "diff": change.diff}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["key", "present", "absent"], "default": "present"},
            "label": {"type": "str"},
            "root": {"type": "path"},
            "hosts": {"type": "raw", "default": {}},
            "found": {"type": "str", "default": ""},
            "method": {"type": "str", "choices": ["rsnapshot", "dirvish", "send", "none"]},
            "retain": {"type": "dict"},
            "window": {"type": "str"},
            "bandwidth": {"type": "int"},
            "excludes": {"type": "list", "elements": "str"},
            "verify_every": {"type": "int"},
            "addresses": {"type": "list", "elements": "str"},
            "dataset": {"type": "str", "default": ""},
            "user": {"type": "str", "default": ""},
            "reserve": {"type": "int", "default": 5},
            "lines": {"type": "int", "default": 4},
            "schedule": {"type": "str", "choices": list(install.SCHEDULES), "default": "auto"},
            "methods": {"type": "list", "elements": "str", "default": []},
            "known_hosts": {"type": "dict", "default": {}, "no_log": False},
            "program_digest": {"type": "str", "default": ""},
            "program": {"type": "path"},
        },
        required_if=[("state", "key", ["label"]), ("state", "present", ["label", "root"])],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
