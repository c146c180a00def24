#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration
short_description: Have a host configured as its inventory says
version_added: 1.1.0
description:
  - Brings the configuration of an installed host, C(/cfg) and the running C(/etc), to what its inventory says, and
    tells the services whose files have changed.
  - Everything is judged before anything is written - each kind of file by its own program, and all of it by the next
    start, which is tried. A snapshot of C(/cfg) is taken and held before.
  - What may cut the host off (network, packet filter, sshd, users) goes on trial, and the rest of the same run with it.
    It is only in the running C(/etc) then, C(/cfg) has the old configuration, and a process of the host brings that
    back unless the trial is confirmed over a new connection in time. A restart, or a power cut, leads back too. The
    action of this module connects anew, and confirms.
  - What is in C(/cfg) and in no inventory is told, and stays. Nothing is taken out that is not named in O(absent).
  - Messages name the variables of the role P(nanozfs.fleet.configure#role), which this is made for and which describes
    what the arguments mean.
extends_documentation_fragment:
  - nanozfs.fleet.common
attributes:
  diff_mode:
    details: >-
      Shows the lines that change, of files that everybody on the host may read, but none that may hold a secret. Of
      other files it says that they change.
options:
  state:
    description:
      - V(present) does it; with a trial the action goes on to V(confirmed).
      - V(confirmed) keeps what is on trial. Only the action asks for it.
    type: str
    choices: [present, confirmed]
    default: present
  pool:
    description: Name of the system pool.
    type: str
    required: true
  settings:
    description:
      - What the host shall have, the variables of the role P(nanozfs.fleet.configure#role) by their names without
        C(configure_). The action judges them, and makes files of them.
    type: dict
    default: {}
  absent:
    description: Files that are taken out of C(/cfg), by their paths in C(/etc), which then has what the image has.
    type: list
    elements: str
    default: []
  confirm_timeout:
    description: Seconds that a trial waits for its confirmation, from when the new configuration is in force.
    type: int
    default: 180
  keep_snapshots:
    description: How many of the snapshots are kept that were taken before changes; the oldest go first.
    type: int
    default: 10
  packed:
    description: What the action makes of O(settings) and O(absent); not to be given.
    type: str
  token:
    description: Which trial is confirmed; not to be given.
    type: str
"""

EXAMPLES = r"""
- name: Have hosts configured as the inventory says
  nanozfs.fleet.configuration:
    pool: tank
    settings:
      rc_conf:
        ntpd_enable: true
      network:
        interfaces:
          igb0:
            addresses: [192.0.2.11/24, 2001:db8::11/64]
        gateway: 192.0.2.1
      sshd:
        PasswordAuthentication: false
"""

RETURN = r"""
state:
  description: >-
    V(same) where nothing is to be done, V(changed), V(trial) in check mode where it would go on trial, or V(confirmed).
  returned: success
  type: str
  sample: confirmed
files:
  description: The files that change, relative to C(/etc).
  returned: success
  type: list
  elements: str
  sample: [rc.conf.local, ssh/sshd_config]
trial:
  description: What of them may cut the host off.
  returned: success
  type: list
  elements: str
  sample: [ssh/sshd_config, ifconfig_igb0 in rc.conf.local]
commands:
  description: The commands by which services are told.
  returned: success
  type: list
  elements: str
  sample: [service sshd reload]
pending:
  description: Settings of rc.conf that count from the next start of the host on.
  returned: success
  type: list
  elements: str
  sample: [kld_list]
unaccounted:
  description: Files of C(/cfg) that are in no inventory. They stay.
  returned: success
  type: list
  elements: str
  sample: [local/old.conf]
snapshot:
  description: The snapshot of C(/cfg) that was taken before; empty where nothing was changed.
  returned: success
  type: str
  sample: tank/nanozfs/cfg@nanozfs-configure-20261201T120000Z-4f1a
token:
  description: What the trial is confirmed with; empty where there is none.
  returned: success
  type: str
  sample: ""
actions:
  description: The changing commands that were run; not those of the trial, which are in RV(commands).
  returned: always
  type: list
  elements: str
  sample: ["zfs snapshot tank/nanozfs/cfg@nanozfs-configure-20261201T120000Z-4f1a"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import check_positive
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import trial
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.work import Work, result_of, untold
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module

#: where the trees of the host are
PLACES = Places()


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    if params["state"] == "confirmed":
        record = trial.confirm(runner, params["token"] or "")
        return {
            "changed": record["state"] == trial.CONFIRMED,
            "state": record["state"],
            "warnings": untold(record.get("odd") or []),
        }
    if not params["packed"]:
        raise Refused(
            "what is wanted is packed by the action of this module, which did not run", safe="nothing was changed"
        )
    check_positive(params, "confirm_timeout", "keep_snapshots")
    work = Work(
        runner,
        unpacked(params["packed"]),
        PLACES,
        params["pool"],
        params["confirm_timeout"],
        params["keep_snapshots"],
    )
    return result_of(work.run())


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed"], "default": "present"},
            "pool": {"type": "str", "required": True},
            "settings": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "str", "default": []},
            "confirm_timeout": {"type": "int", "default": 180},
            "keep_snapshots": {"type": "int", "default": 10},
            "packed": {"type": "str", "no_log": True},
            "token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
