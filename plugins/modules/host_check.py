#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: See whether a host that came back from a backup is itself
version_added: 1.1.0
description:
  - Looks whether the host runs in its normal state, under its name, with its hostid and on its pool; whether services
    run, ports answer and commands succeed, as M(nanozfs.fleet.trial) does; and says of files what they are now.
  - What is wrong is in RV(problems), and no failure of the module.
extends_documentation_fragment:
  - nanozfs.fleet.common.info
options:
  hostname:
    description: The name that it must have, as C(kern.hostname) says it. Not looked at where it is empty.
    type: str
    default: ""
  hostid:
    description: Its hostid, as C(nanozfs-host.json) of the backup says it. Not looked at where it is empty.
    type: str
    default: ""
  pool:
    description: Name of the system pool, which must be C(ONLINE). By default the one that the running image names.
    type: str
    default: ""
  services:
    description: Names for C(service(8)), whose C(onestatus) has to say that they run.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports of 127.0.0.1 that something has to listen on.
    type: list
    elements: int
    default: []
  commands:
    description: Commands that have to exit with 0, each as a list of words or as text in shell words.
    type: list
    elements: raw
    default: []
  retries:
    description: How often each of these is tried.
    type: int
    default: 12
  delay:
    description: Seconds between two tries.
    type: float
    default: 5
  timeout:
    description: Seconds for all of these.
    type: int
    default: 450
  packed:
    description: Files to be told of, as C(nanozfs-backup machine ask) packs them.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: See whether it is itself
  nanozfs.fleet.host_check:
    hostname: web-1
    pool: tank
    services: [sshd]
    ports: [22]
  register: found
"""

RETURN = r"""
problems:
  description: What is not as it should be, one line each.
  returned: success
  type: list
  elements: str
  sample: ["it calls itself 'recovery', and was 'web-1'"]
checks:
  description: How many services, ports and commands were tried.
  returned: success
  type: int
  sample: 2
hostname:
  description: What the host calls itself.
  returned: success
  type: str
  sample: web-1
state:
  description: The state that its early boot hook has found, as RV(nanozfs.fleet.host_info#module:host.state).
  returned: success
  type: str
  sample: normal
version:
  description: The version of the image that runs.
  returned: success
  type: str
  sample: "1.1"
packed:
  description: What there is of the files of O(packed), packed as well.
  returned: success
  type: str
  sample: eJyLjgUAARUAuQ==
"""

import json
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import check_positive
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import arrived
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed, unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import Checks, words_of

#: where the files of the host are
TOP = "/"

#: no files at all
_NONE: Dict[str, Any] = {"files": [], "digests": 0, "bytes": 0}


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_positive(params, "retries", "timeout")
    checks = Checks(
        params["services"],
        params["ports"],
        [words_of(command) for command in params["commands"]],
        params["retries"],
        params["delay"],
        params["timeout"],
    )
    order = digests.wanted(json.dumps(unpacked(params["packed"]) if params["packed"] else _NONE))
    expected = arrived.Expected(params["hostname"], params["hostid"], params["pool"])
    found = arrived.look(runner, expected, checks, order, TOP)
    tried = len(checks.services) + len(checks.ports) + len(checks.commands)
    return dict(found, changed=False, checks=tried, packed=packed(found.pop("files")))


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "default": ""},
            "hostid": {"type": "str", "default": ""},
            "pool": {"type": "str", "default": ""},
            "services": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "commands": {"type": "list", "elements": "raw", "default": []},
            "retries": {"type": "int", "default": 12},
            "delay": {"type": "float", "default": 5},
            "timeout": {"type": "int", "default": 450},
            "packed": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
