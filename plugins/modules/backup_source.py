#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_source
short_description: Let backup hosts read a host, or no more
version_added: 1.1.0
description:
  - Gives each backup host a line in the C(authorized_keys) of root that lets it do one thing from its own addresses -
    have the host show it a snapshot, and read that with rsync. Nobody can log in with it, forward anything, or write.
  - The line is written to C(/cfg) and to the running C(/etc), and counts at once and after every restart. Lines of
    people stay as they are; M(nanozfs.fleet.host_install) in turn keeps those of backup hosts.
  - Refuses a host whose image has no rsync or was built by a version of the collection without backups, and one that
    is on trial, as its configuration may go back.
extends_documentation_fragment:
  - nanozfs.fleet.common
attributes:
  diff_mode:
    details: Shows the lines of backup hosts, which hold no secret, and of those of people nothing.
options:
  state:
    description:
      - V(present) lets the O(pullers) in.
      - V(absent) lets the backup hosts in O(labels) in no more, ends what is shown to them, and forgets how their
        backups went.
    type: str
    choices: [present, absent]
    default: present
  pullers:
    description: The backup hosts, with O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      label:
        description:
          - Short name of the backup host on this host, at most 40 lower-case letters, digits, dots, dashes and
            underscores. Everything that is kept for it goes by this name.
        type: str
        required: true
      key:
        description: Its public key. A backup host with an empty one is left out, as it has none yet.
        type: str
        required: true
      addresses:
        description:
          - The addresses and networks that its key counts from. Without any it counts from everywhere, and that is
            warned of.
        type: list
        elements: str
        default: []
  only:
    description: With O(state=present), take the lines of all other backup hosts away.
    type: bool
    default: false
  labels:
    description: The backup hosts, with O(state=absent).
    type: list
    elements: str
    default: []
  pool:
    description: Name of the system pool. By default the one that the running image names.
    type: str
"""

EXAMPLES = r"""
- name: Let the backup host read
  nanozfs.fleet.backup_source:
    pullers:
      - label: vault
        key: "{{ vault_key }}"
        addresses: [192.0.2.5, "2001:db8:0:5::/64"]

- name: Let one that is gone read no more
  nanozfs.fleet.backup_source:
    state: absent
    labels: [old-vault]
"""

RETURN = r"""
ssh_host_keys:
  description: >-
    The public keys that the host stays known by to ssh, which backup hosts compare. Those that are made anew at every
    start are not among them.
  returned: success
  type: list
  elements: str
  sample: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… web-1"]
labels:
  description: The backup hosts that can read now; in check mode, that could read then.
  returned: success
  type: list
  elements: str
  sample: [vault]
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["mount -u -o rw /cfg", "mount -u -o ro /cfg"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.backup_keys import Source, pullers_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases

PLACES = Places()


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    pullers = pullers_of(params["pullers"])
    with leases.locked(runner.check_mode):
        source = Source(runner, PLACES, params["pool"])
        if params["state"] == "present":
            done = source.present(pullers, params["only"])
        else:
            done = source.absent(params["labels"])
    return {
        "changed": done.changed,
        "ssh_host_keys": done.keys,
        "labels": done.labels,
        "warnings": done.warnings,
        "diff": {"before": done.before, "after": done.after},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "pullers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "label": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                },
            },
            "only": {"type": "bool", "default": False},
            "labels": {"type": "list", "elements": "str", "default": []},
            "pool": {"type": "str"},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
