# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our builder, as a process of its own for ``measure``: ``python -m …bench.build.ours STEP ARCHIVE FOLDER``.

``image`` puts the tree together and makes the file system; ``publish`` does all that the module image_build does,
besides media and deltas.
"""

from __future__ import annotations

import os
import sys
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Terms

SIZE = 1 << 30
EPOCH = 1704067200
ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "roles", "image", "files")


def definition(archive: str, folder: str) -> build.Definition:
    """An image of 1 GiB from an archive.

    :param folder: where the key is, and where it is published.
    """
    key = os.path.join(folder, "key")
    with open(key + ".pub", encoding="ascii") as file:
        signer = 'bench namespaces="nanozfs-image" ' + " ".join(file.read().split()[:2])
    return build.Definition(
        identity=Identity("bench", "1.0", 10, 0, "amd64", "FreeBSD:13:amd64", "tank"),
        sources=[archive],
        overlays=[os.path.join(ROLE, "root")],
        recovery=[os.path.join(ROLE, "recovery")],
        signers=[signer],
        terms=Terms(output=os.path.join(folder, "images"), signing_key=key, deltas=0),
        size=SIZE,
        etc_size=20 << 20,
        epoch=EPOCH,
        media=(),
    )


def main(argv: List[str]) -> int:
    """Entry point."""
    step, archive, folder = argv
    wanted = definition(archive, folder)
    if step == "publish":
        build.run(wanted, Runner(local_execute), print)
        return 0
    scratch = os.path.join(folder, "scratch")
    os.mkdir(scratch)
    planned, _name = build.plan(wanted, scratch, print)
    ufs.make(planned, scratch, os.path.join(folder, "image"), wanted.size, wanted.epoch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
