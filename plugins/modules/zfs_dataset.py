#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_dataset
short_description: Make a ZFS file system exist with the wanted properties
version_added: 1.0.0
description:
  - Creates a file system unless it is there, and sets those of the wanted properties that differ.
  - Compares numbers as numbers, so that V(4G) and V(4294967296) are the same.
  - Never destroys, renames or unmounts anything.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  name:
    description:
      - Full name of the file system.
    type: str
    required: true
  properties:
    description:
      - Properties that it shall have, user properties as well.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: A dataset for the mail, which a rollback leaves as it is
  nanozfs.fleet.zfs_dataset:
    name: tank/nanozfs/var/mail
    properties:
      quota: 20G
      nanozfs:rollback: keep
"""

RETURN = r"""
created:
  description: Whether the file system was created.
  returned: success
  type: bool
  sample: false
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zfs set quota=20G tank/nanozfs/var/mail"]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import (
    Zfs,
    check_dataset_name,
    ensure_dataset,
    property_texts,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    zfs = Zfs(runner)
    check_dataset_name(params["name"])
    before, after = ensure_dataset(zfs, params["name"], property_texts(params["properties"]))
    return {
        "changed": before is None or bool(after),
        "created": before is None,
        "diff": {"before": before or {}, "after": after},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "properties": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
