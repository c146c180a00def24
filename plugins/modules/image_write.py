#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_write
short_description: Write a published image to an OS slice
version_added: 1.0.0
description:
  - Brings a slice from whatever it holds to a published image, and proves it. The manifest of the image is verified
    first, then each MiB of the slice is compared with it. Only what differs is fetched and written, in order, and at
    the end every byte is read back.
  - A write that was broken off goes on where it stopped when the module runs again. Nothing is ever staged in a file.
  - Refuses a slice that is running, mounted, held by anything else, too small, or would be booted; and an image for
    another architecture, one that is older than what runs, one that has expired, and one that is not signed.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.trust
options:
  slice:
    description:
      - Label of the slice, or V(inactive) for the one of the pair that does not run.
    type: str
    default: inactive
  allow_older:
    description:
      - Also write an image with a lower C(seq) than the running one. Never below the C(min_seq) of the running image.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Disarm the other slice
  nanozfs.fleet.gpart_slice:
    slice: inactive
    state: inactive

- name: Bring version 1.1 onto it
  nanozfs.fleet.image_write:
    repository: https://images.example.org/web
    image: "1.1"

- name: The same from a stick
  nanozfs.fleet.image_write:
    repository: /media/stick/images
    image: latest
"""

RETURN = r"""
image:
  description: The image that the slice holds now. Sizes in bytes.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
signer:
  description: The principal whose signature was verified.
  returned: success
  type: str
  sample: release@fleet
slice:
  description: Label of the slice.
  returned: success
  type: str
  sample: nz-b
provider:
  description: The device that was written.
  returned: success
  type: str
  sample: /dev/gpt/nz-b
written:
  description: Bytes that were written; in check mode, that would have been written.
  returned: success
  type: int
  sample: 41943040
kept:
  description: Bytes that were right already.
  returned: success
  type: int
  sample: 1031798784
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host, _medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import TRUST, repository_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._geom import read_mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    Manifest,
    check_fits,
    check_order,
    check_time,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import (
    WrongBytes,
    check_target,
    read_windows,
    write_windows,
    wrong_windows,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._medium import Medium, Slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module


def bring(module: AnsibleModule, repository: Repository, manifest: Manifest, piece: Slice) -> Dict[str, int]:
    """Compare, write what differs, read back; in check mode only compare."""
    windows = read_windows(repository, manifest)
    with devices.open_device(piece.path) as device:
        wrong = wrong_windows(device, windows, range(len(windows)))
    todo = windows.length(wrong)
    if not wrong or module.check_mode:
        return {"written": todo, "kept": manifest.size - todo}
    with devices.open_device(piece.path, writable=True) as device:
        written = write_windows(device, repository, manifest, windows, wrong, progress=lambda right, total: None)
        if device.digest(manifest.size) != manifest.id:
            raise WrongBytes(
                "every window of {0} is right, but together they are not {1}".format(piece.label, manifest.describe()),
                safe="the slice has no boot flags and will not be booted",
                todo="the image was published with the wrong window digests; publish it again",
            )
    return {"written": written, "kept": manifest.size - todo}


def find_target(runner: Runner, medium: Medium, wanted: str, check_mode: bool) -> Slice:
    """The slice to write, after every check that the host itself can fail."""
    piece = medium.get(_medium.pick(medium, wanted))
    # a play takes the flags off right before it writes; its check mode cannot have done so
    check_target(read_mesh(runner), medium, piece.provider, will_disarm=check_mode)
    return piece


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    repository = repository_of(params)
    medium = _medium.read_medium(runner)
    found = find_image(
        runner,
        repository,
        params["image"],
        params["allowed_signers"],
        name=params["name"],
        tmpdir=module.tmpdir,
    )
    manifest = found.manifest
    piece = find_target(runner, medium, params["slice"], module.check_mode)
    check_fits(manifest, _host.sysctl(runner, "hw.machine_arch"), piece.size, piece.label)
    check_order(manifest, _host.running_image(medium), params["allow_older"])
    check_time(manifest, time.time())
    before = _host.read_slice(piece, False).as_dict()
    counts = bring(module, repository, manifest, piece)
    return {
        "changed": counts["written"] > 0,
        "image": manifest.as_dict(),
        "signer": found.signer,
        "slice": piece.label,
        "provider": piece.path,
        "written": counts["written"],
        "kept": counts["kept"],
        "diff": {
            "before": "{0}: {1}\n".format(piece.label, "{name}-{version}".format(**before) if before else "no image"),
            "after": "{0}: {1}-{2}\n".format(piece.label, manifest.name, manifest.version),
        },
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            TRUST,
            slice={"type": "str", "default": "inactive"},
            allow_older={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
