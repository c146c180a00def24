#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_install
short_description: Make a host itself, or bring it up to date
version_added: 1.0.0
description:
  - Gives a host that runs from a medium of the fleet, in one call and in this order, the boot attribute of its slice,
    its pool (imported, or created where there is none), its datasets, a note in its journal of what is installed, its
    configuration in C(/cfg), and an ssh key of its own. It stops at the first that fails.
  - On a host that is installed it brings the same up to date. What is written to C(/cfg) is put into the running
    C(/etc) as well, and new datasets are mounted.
  - Refuses before it changes anything - a host that is on trial, that nobody could log in to afterwards, datasets that
    would hide files or each other, disks that are not free, a configuration that would not come up.
  - Never removes anything, neither a dataset nor a file.
  - Messages name the variables of the role P(nanozfs.fleet.deploy#role), which this is made for.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.newpool
attributes:
  diff_mode:
    details: What is in files is never shown, as it may be a secret.
options:
  state:
    description:
      - V(planned) changes nothing, and says what would be done.
      - V(present) does it.
      - V(up) changes nothing, and fails unless the host runs as itself.
    type: str
    choices: [planned, present, up]
    default: present
  pool:
    description: Name of the system pool. It must be the one that the image names.
    type: str
    required: true
  hostname:
    description: Name of the host.
    type: str
    required: true
  pool_properties:
    description: Pool properties for a pool that is created.
    type: dict
    default: {}
  pool_compatibility:
    description:
      - The features that a pool which is created may ever have, as its property C(compatibility) names them; see
        zpool-features(7). Empty for all that the running ZFS knows.
    type: str
    default: ""
    version_added: 1.1.0
  filesystem_properties:
    description: Properties of the root dataset for a pool that is created.
    type: dict
    default: {}
  datasets:
    description: Datasets below C(<pool>/nanozfs) besides those of the layout.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name below C(<pool>/nanozfs).
        type: str
        required: true
      properties:
        description: Properties that it shall have.
        type: dict
        default: {}
  rc_conf:
    description: Settings for C(rc.conf). They are quoted, and mean exactly what they say.
    type: dict
    default: {}
  authorized_keys:
    description: Public keys that may log in as root.
    type: list
    elements: str
    default: []
  files:
    description:
      - Further files of C(/cfg), by their path in C(/etc). Each is a text, or has C(content), C(mode) (octal digits as
        text), C(owner) and C(group).
      - What looks like a secret is readable for root alone by default, everything else for all.
    type: dict
    default: {}
  folders:
    description: Folders of the controller whose contents go to C(/cfg), with their modes. The action brings them.
    type: list
    elements: path
    default: []
  known_hosts:
    description:
      - Whether the ssh of the controller shall know the key that the host comes back with. It is added to the file that
        ssh adds keys to (C(UserKnownHostsFile)), beside the one that it knows; nothing is replaced. The action does
        that, not for other connections than ssh, nor where C(StrictHostKeyChecking) is off.
    type: bool
    default: true
  disk:
    description: With O(state=planned), the disk that may become the medium of a host that runs from none; see RV(step).
    type: path
  packed:
    description: What the action makes of O(rc_conf), O(authorized_keys), O(files) and O(folders); not to be given.
    type: str
"""

EXAMPLES = r"""
- name: Make the host itself
  nanozfs.fleet.host_install:
    pool: tank
    hostname: web-1
    vdevs:
      - type: raidz
        disks: [ada1, ada2, ada3]
    rc_conf:
      ifconfig_igb0: inet 192.0.2.11/24
    authorized_keys: ["ssh-ed25519 AAAA… admin"]
    files:
      local/db.conf:
        content: "password = {{ db_password }}\n"
        mode: "0600"
  register: installed

- name: Restart it where that is needed
  nanozfs.fleet.host_restart:
  when: installed.restart
"""

RETURN = r"""
step:
  description: >-
    V(install), or V(medium) where the host has to be given its medium on O(disk) before; then nothing was done or
    judged.
  returned: success
  type: str
  sample: install
restart:
  description: Whether the host has to be restarted to become itself.
  returned: success
  type: bool
  sample: true
of_fleet:
  description: Whether it runs from a medium of the collection.
  returned: success
  type: bool
  sample: true
host:
  description: The survey of the host as it was before, as of M(nanozfs.fleet.host_info).
  returned: success
  type: dict
  sample: {hostname: "", state: recovery, pool: null}
ssh_host_key:
  description: The public key that the host is known by to ssh as itself; empty with O(state=planned) and in check mode.
  returned: when O(state) is not V(up)
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… web-1
known_hosts:
  description: The file of the controller that the key was added to; not returned where it was known.
  returned: when it was added
  type: str
  sample: /home/me/.ssh/known_hosts
done:
  description: What was done; with O(state=planned) and in check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample: ["pool tank: raidz ada1 ada2 ada3", "dataset tank/nanozfs/cfg: mountpoint=legacy"]
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zfs create -o mountpoint=legacy tank/nanozfs/cfg"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import files, install
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module

#: where the trees of the host are
PLACES = Places()
ROOT = ""

#: what the wish takes as it is
PLAIN = ("pool", "hostname", "vdevs", "filesystem_properties", "force_hostid", "datasets")


def wish_of(params: Dict[str, Any]) -> install.Wish:
    """What the arguments want, which may be packed."""
    if params["folders"]:
        raise Refused("folders are brought by the action of this module, which did not run", safe="nothing was changed")
    entries, more = files.unpack(params["packed"]) if params["packed"] else (files.given(params["files"]), params)
    return install.Wish(
        rc_conf=more["rc_conf"],
        authorized_keys=more["authorized_keys"],
        files=entries,
        pool_properties=pools.with_compatibility(params["pool_properties"], params["pool_compatibility"]),
        **{key: params[key] for key in PLAIN},
    )


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    if params["state"] == "up":
        host = _host.survey(runner, params["pool"], False)
        install.check_up(host, params["hostname"])
        return {"step": install.HOST, "restart": False, "of_fleet": install.is_of_fleet(host), "host": host, "done": []}
    planned = params["state"] == "planned"
    runner.check_mode = runner.check_mode or planned
    installation = install.Installation(runner, wish_of(params), PLACES, ROOT)
    outcome = installation.plan(params["disk"]) if planned else installation.run()
    return {
        "changed": outcome.changed and not planned,
        "step": outcome.step,
        "restart": outcome.restart,
        "of_fleet": install.is_of_fleet(outcome.host),
        "host": outcome.host,
        "done": [line for text in outcome.after for line in text.splitlines()],
        "ssh_host_key": outcome.key,
        "warnings": outcome.warnings,
        "diff": {side: "".join(line + "\n" for line in getattr(outcome, side)) for side in ("before", "after")},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["planned", "present", "up"], "default": "present"},
            "pool": {"type": "str", "required": True},
            "hostname": {"type": "str", "required": True},
            "vdevs": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": pools.VDEV,
            },
            "pool_properties": {"type": "dict", "default": {}},
            "pool_compatibility": {"type": "str", "default": ""},
            "filesystem_properties": {"type": "dict", "default": {}},
            "force_hostid": {"type": "str"},
            "datasets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "properties": {"type": "dict", "default": {}},
                },
            },
            "rc_conf": {"type": "dict", "default": {}},
            "authorized_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "files": {"type": "dict", "default": {}},
            "folders": {"type": "list", "elements": "path", "default": []},
            "disk": {"type": "path"},
            "known_hosts": {"type": "bool", "default": True},
            "packed": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
