# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a publisher runs: ``publisher.py FOLDER CODEC DELTAS IMAGE``, the code of image_publish without Ansible.

The key is made beside the folder the first time, and who trusts it is in ``signers`` there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import release


def key_for(folder: str) -> str:
    """A key to sign with."""
    place = os.path.dirname(os.path.dirname(os.path.abspath(folder)))
    key = os.path.join(place, "release")
    if not os.path.exists(key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with open(key + ".pub", encoding="ascii") as file:
            public = " ".join(file.read().split()[:2])
        with open(os.path.join(place, "signers"), "w", encoding="ascii") as file:
            file.write('release@bench namespaces="nanozfs-image" {0}\n'.format(public))
    return key


def main(argv: List[str]) -> None:
    """Publish."""
    folder, codec, deltas, image = argv
    codecs = ["xz"] if codec == "xz" else ["xz", codec]
    terms = release.Terms(folder, key_for(folder), codecs=codecs, deltas=int(deltas))
    release.publish(terms, image, release.Order(media=()), Runner(local_execute), lambda text: None)


if __name__ == "__main__":
    main(sys.argv[1:])
