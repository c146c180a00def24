# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host runs for an update, from a command line: the code of image_write without Ansible around it.

``client.py URL IMAGE SIGNERS TARGET BASE...``: verifies the manifest, and brings IMAGE from URL to TARGET, where BASE
are slices with older images.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import IMAGE_JSON, parse_inside
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import open_repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import find_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Writer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute


def build_of(path: str) -> str:
    """The build of the image in a slice."""
    with Device(path) as device:
        raw = Ufs(device.read).read(IMAGE_JSON)
    assert raw is not None, path
    return parse_inside(raw).build


def main(argv: List[str]) -> None:
    """Update, and say what that took."""
    location, wanted, signers, target, *bases = argv
    repository = open_repository(location)
    trusted = find_image(Runner(local_execute), repository, wanted, Keys(signers), now=time.time())
    wishes = Wishes(fallback="fail" if bases else "full")
    writer = Writer(repository, trusted.manifest, target, {build_of(path): path for path in bases}, wishes)
    outcome = writer.write()
    said = {"written": outcome.written, "fetched": repository.fetched, "requests": repository.requests}
    if outcome.plan is not None:
        said.update(outcome.plan.as_dict())
    sys.stdout.write(json.dumps(dict(said, notes=outcome.notes, target=os.path.basename(target))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
