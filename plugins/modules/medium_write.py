#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: medium_write
short_description: Write a published medium to a whole disk, or to a file
version_added: 1.0.0
description:
  - Fetches the medium of a published image (C(<id>.disk.img.xz)), unpacks it on the way, writes it to a disk and reads
    all of it back. The signature of the manifest is verified first, and what comes is compared with it.
  - Only writes to a whole disk that nothing holds - no mount, swap, pool, mirror or other user of the disk, and no
    label of a pool - and only when O(confirm) says which one is meant.
  - Partition tables are written last. A disk whose writing was broken off, or that got something else than what was
    published, has none and boots nowhere.
  - Runs wherever the disk is, on FreeBSD or on Linux. Nothing is staged in a file.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
  - nanozfs.fleet.common.trust
attributes:
  diff_mode:
    support: full
  platform:
    platforms: freebsd, linux
requirements:
  - Python 3.8 or later and C(ssh-keygen(1)); on Linux C(lsblk(8)) as well
options:
  allow_bad:
    description: Also write an image that is on the publisher's list of bad images.
    type: bool
    default: false
    version_added: 1.1.0
  device:
    description:
      - The disk, as V(/dev/da0) or V(/dev/disk/by-id/...).
    type: path
  file:
    description:
      - A file to write the medium to instead, unpacked. It only gets its name when it is complete.
    type: path
  scheme:
    description:
      - What partition table the medium has. V(mbr) has to be published as such.
    type: str
    choices: [gpt, mbr]
    default: gpt
  confirm:
    description:
      - The serial number of the disk, as RV(target.confirm) says it. Where it has none, or shares it with another disk
        of the machine, the beginning of a digest of what is on it belongs to that; two disks that nothing tells apart
        are refused.
      - Without it nothing is written. A file that does not exist yet needs none; for one that does it is the size of
        that.
    type: str
  hosts:
    description:
      - The hosts that the medium is for. It is refused if it would not do for one of them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the host, for messages.
        type: str
        required: true
      arch:
        description: Its architecture, as RV(nanozfs.fleet.host_info#module:host.arch) says it.
        type: str
        required: true
      pool:
        description: Name of its pool.
        type: str
        required: true
      features:
        description: The features that are active in its pool.
        type: list
        elements: str
        required: true
      scheme:
        description: The partition table of the medium that it runs from; another one is refused, as it may not boot it.
        type: str
        choices: [gpt, mbr]
  signers:
    description:
      - Whose signatures count, as lines of a file O(allowed_signers), in its place. For a machine that has no such file
        because it runs no image. A list, or text with one a line.
    type: raw
  revoked:
    description:
      - With O(signers), public keys that are not trusted any more. A list, or text with one a line.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: See what would be written where
  nanozfs.fleet.medium_write:
    repository: https://images.example.org/web
    image: "1.1"
    device: /dev/da0
    signers: "{{ image_signers }}"
  register: seen

- name: Write it
  nanozfs.fleet.medium_write:
    repository: https://images.example.org/web
    image: "1.1"
    device: /dev/da0
    signers: "{{ image_signers }}"
    confirm: 4C530001230114117342
"""

RETURN = r"""
image:
  description: The manifest. Sizes in bytes.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", seq: 11, size: 1073741824, arch: amd64, pool: tank}
signer:
  description: The principal whose signature was verified.
  returned: success
  type: str
  sample: release@fleet
confirmed:
  description: Whether the target may be written to. If not, nothing was.
  returned: success
  type: bool
  sample: true
target:
  description: The disk or file, what was on it, and what O(confirm) has to be.
  returned: success
  type: dict
  contains:
    path:
      description: What was or would be written to.
      type: str
      returned: always
      sample: /dev/da0
    what:
      description: The same, for people.
      type: str
      returned: always
      sample: /dev/da0 (SanDisk Ultra Fit, serial number 4C530001230114117342, 30752636928 bytes)
    disk:
      description: Size in bytes, serial number and model of the disk; null for a file.
      type: dict
      returned: always
    content:
      description: What was there before, as far as the partition table says it.
      type: str
      returned: always
      sample: a medium of web-1.0
    confirm:
      description: What O(confirm) has to be. Null for a new file.
      type: str
      returned: always
      sample: 4C530001230114117342
size:
  description: Size of the medium in bytes.
  returned: success
  type: int
  sample: 3226468352
written:
  description: Bytes that were written; in check mode, that would have been written.
  returned: success
  type: int
  sample: 3226468352
fetched:
  description: Bytes that came from the repository.
  returned: success
  type: int
  sample: 216513608
"""

import time
from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    MEDIUM_ALLOW_BAD,
    TRUST,
    keys_of,
    passes,
    repository_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import destination as _spare
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.disk_image import KINDS, check_sites, site_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import check_time
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys, keys_of_lines
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of


def trusted_keys(params: Mapping[str, Any], tmpdir: str) -> Keys:
    """Whom to trust: a file of this machine, or the lines that were given."""
    if params["signers"] is None:
        return keys_of(params, tmpdir)
    signers, revoked = ([str(line) for line in lines_of(params[key]) or ()] for key in ("signers", "revoked"))
    return keys_of_lines(signers, revoked, tmpdir)


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    repository = repository_of(params)
    keys = trusted_keys(params, module.tmpdir)
    found = find_image(runner, repository, params["image"], keys, name=params["name"], now=time.time())
    manifest = found.manifest
    for warning in found.judged(passes(params["allow_bad"], MEDIUM_ALLOW_BAD), MEDIUM_ALLOW_BAD):
        module.warn(warning)
    check_time(manifest, time.time())
    for unknown in check_sites(manifest, params["scheme"], [site_of(entry) for entry in params["hosts"]]):
        module.warn(unknown)
    survey = _spare.look(runner, repository, manifest, params["scheme"], params["device"], params["file"])
    confirmed = survey.is_confirmed(params["confirm"])
    changes = confirmed and not survey.fresh
    if changes and not module.check_mode:
        _spare.write(repository, manifest, survey)
    after = "a medium of {0}-{1}".format(manifest.name, manifest.version) if changes else survey.before
    return {
        "changed": changes,
        "image": manifest.as_dict(),
        "signer": found.signer,
        "confirmed": confirmed,
        "target": survey.as_dict(),
        "size": survey.head.size,
        "written": survey.head.size if changes else 0,
        "fetched": repository.fetched,
        "diff": {
            "before": "{0}: {1}\n".format(survey.target.path, survey.before),
            "after": "{0}: {1}\n".format(survey.target.path, after),
        },
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            TRUST,
            device={"type": "path"},
            file={"type": "path"},
            scheme={"type": "str", "choices": list(KINDS), "default": "gpt"},
            confirm={"type": "str"},
            hosts={
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "arch": {"type": "str", "required": True},
                    "pool": {"type": "str", "required": True},
                    "features": {"type": "list", "elements": "str", "required": True},
                    "scheme": {"type": "str", "choices": list(KINDS)},
                },
            },
            allow_bad={"type": "bool", "default": False},
            signers={"type": "raw"},
            revoked={"type": "raw", "default": []},
        ),
        mutually_exclusive=[("device", "file")],
        required_one_of=[("device", "file")],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
