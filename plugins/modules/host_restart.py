#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_restart
short_description: Restart a host and wait until it is back
version_added: 1.0.0
description:
  - Restarts the host, and waits until the kernel says that it is another start (C(kern.boot_id)).
  - A restart that the host refuses is told at once, with the reason - as FreeBSD 15 does where C(/var/run/noshutdown)
    is (C(precious_machine) of C(rc.conf)). So is one that was accepted and does not happen.
  - A host of which a backup is being read is not restarted.
  - Without its action, which does the waiting, it only begins it.
extends_documentation_fragment:
  - nanozfs.fleet.common
attributes:
  diff_mode:
    support: none
options:
  state:
    description:
      - V(restarted) restarts the host.
      - V(seen) changes nothing, and says which start of the host this is. The action asks that.
    type: str
    choices: [restarted, seen]
    default: restarted
  timeout:
    description: Seconds that the restart may take.
    type: int
    default: 900
"""

EXAMPLES = r"""
- name: Restart the host
  nanozfs.fleet.host_restart:
    timeout: 600
"""

RETURN = r"""
boot_id:
  description: What names this start of the host, the new one where it was restarted.
  returned: success
  type: str
  sample: "0x5d8a6f5b0f0a4ac9b3d5e2d6c7a1f004"
refused:
  description: Why the restart that was asked for last did not happen; empty where nothing is known of that.
  returned: success
  type: str
  sample: ""
elapsed:
  description: Seconds that it took.
  returned: when it was restarted
  type: int
  sample: 84
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["shutdown -r now"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import refuse_at_work
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import restart


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    if module.params["state"] == "seen":
        return restart.look(runner)
    refuse_at_work(runner, "the restart", "", 0)
    return {"changed": True, "boot_id": restart.begin(runner), "refused": ""}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["restarted", "seen"], "default": "restarted"},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
