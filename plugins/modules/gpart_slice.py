#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpart_slice
short_description: Choose which OS slice boots
version_added: 1.0.0
description:
  - Gives an OS slice of the medium that the host runs from the boot attributes for a wanted state.
  - On GPT, all changes go to the disk in one write of the partition table (C(gpart -f x) and C(gpart commit)), so
    that a power cut finds either the old attributes or the new ones.
  - Finds the medium by itself, from the device that / is mounted from. Slices have the GPT labels C(nz-recovery),
    C(nz-a) and C(nz-b); on MBR they are the partitions C(a) of the first three slices in this order.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  slice:
    description:
      - Label of the slice; or V(running), or V(inactive) for the other one of the pair.
    type: str
    required: true
  state:
    description:
      - V(active) boots from now on, and no other slice does.
      - V(trial) boots once. Unless it is made active then, the boot after that is the slice that runs now
        (C(bootonce)). MBR has no such thing; there the slice becomes the active one, and the early hook of the image
        sets it back when it finds that boot0 has another default (C(boot0cfg)).
      - V(inactive) does not boot. MBR has one active slice always; there the slice that runs becomes that.
    type: str
    choices: [active, trial, inactive]
    required: true
  recover:
    description:
      - Recover the partition table first (C(gpart recover)) if one of its two copies is damaged or misplaced, as after
        a medium was written to a disk that is larger than its image. Without this such a table is refused.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Disarm the other slice before writing to it
  nanozfs.fleet.gpart_slice:
    slice: inactive
    state: inactive

- name: Try it with the next boot
  nanozfs.fleet.gpart_slice:
    slice: inactive
    state: trial

- name: Keep what runs
  nanozfs.fleet.gpart_slice:
    slice: running
    state: active
"""

RETURN = r"""
slice:
  description: Label of the slice.
  returned: success
  type: str
  sample: nz-b
running:
  description: Label of the slice that runs.
  returned: success
  type: str
  sample: nz-a
disk:
  description: The disk.
  returned: success
  type: str
  sample: ada0
scheme:
  description: Scheme of its partition table.
  returned: success
  type: str
  sample: GPT
one_shot:
  description: Whether a trial on this medium ends by itself.
  returned: success
  type: bool
  sample: true
recovered:
  description: Whether the partition table had to be recovered, or in check mode, would have to be.
  returned: success
  type: bool
  sample: false
before:
  description: Boot attributes of the slices before.
  returned: success
  type: dict
  sample: {nz-a: [bootme], nz-b: [bootfailed], nz-recovery: []}
after:
  description: Boot attributes of the slices after; in check mode, as they would be.
  returned: success
  type: dict
  sample: {nz-a: [bootme], nz-b: [bootme, bootonce], nz-recovery: []}
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample:
    - gpart unset -a bootfailed -i 5 -f x ada0
    - gpart set -a bootonce -i 5 -f x ada0
    - gpart commit ada0
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import GPT, STATES
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import selection


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    choice = selection.choose(runner, module.params["slice"], module.params["state"], module.params["recover"])
    return {
        "changed": choice.changed,
        "recovered": choice.recovered,
        "slice": choice.label,
        "running": choice.medium.running,
        "disk": choice.medium.disk,
        "scheme": choice.medium.scheme,
        "one_shot": choice.medium.scheme == GPT,
        "before": choice.before,
        "after": choice.after,
        "diff": {"before": choice.before, "after": choice.after},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "slice": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": list(STATES)},
            "recover": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
