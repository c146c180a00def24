#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Find a published image and verify who signed it
version_added: 1.0.0
description:
  - Finds an image in a repository, fetches its manifest and verifies the signature of it with the keys that the host
    trusts. Nothing of the image itself is fetched.
  - A manifest that is not signed, signed by another key, signed for something else or changed afterwards is an error.
extends_documentation_fragment:
  - nanozfs.fleet.common.info
  - nanozfs.fleet.common.trust
  - nanozfs.fleet.common.push
"""

EXAMPLES = r"""
- name: See what version 1.1 is
  nanozfs.fleet.image_info:
    repository: https://images.example.org/web
    image: "1.1"
  register: wanted
"""

RETURN = r"""
image:
  description: The manifest. Sizes in bytes.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
signer:
  description: The principal whose signature was verified.
  returned: success
  type: str
  sample: release@fleet
bad:
  description: Why the image is on the publisher's list of bad images; empty where it is not.
  returned: success
  type: str
  sample: ""
  version_added: 1.1.0
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    ALLOW_BAD,
    PUSH,
    TRUST,
    keys_of,
    repository_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import name_meant, running_here
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    found = find_image(
        runner,
        repository_of(params),
        params["image"],
        keys_of(params, module.tmpdir),
        name=name_meant(params["image"], params["name"] or None, lambda: running_here(runner)),
        now=time.time(),
        memory=Memory(),
    )
    for warning in found.judged("only looked at", ALLOW_BAD):
        module.warn(warning)
    return {"image": found.manifest.as_dict(), "signer": found.signer, "bad": found.bad}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=dict(TRUST, **PUSH), supports_check_mode=True)
    run_module(module, logic)


if __name__ == "__main__":
    main()
