# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A play of a controller that has only a recovery kit: ``newcontroller.py KIT PASSPHRASE PLAYBOOK ARGUMENTS ...``.

The controller of the lab has burned for it: where its site, keys and images are, it sees empty folders (in a mount
namespace of its own; the lab goes on). What the kit's two texts say is typed, then the playbook is run from the site
that was in the kit. The one thing that is put back is the program that leads into the lab's network: a cable, for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import Dict, List, Sequence

from ansible_collections.nanozfs.fleet.tests import kit as texts
from ansible_collections.nanozfs.fleet.tests.lab import paths, syscalls
from ansible_collections.nanozfs.fleet.tests.lab.site import Site

#: says that the process is in its mount namespace
_INSIDE = "NANOZFS_LAB_BURNED"


def _burn(site: Site, kept: str) -> None:
    """Have nothing where the site, its keys and its images are.

    :param kept: a folder for what leads into the network.
    """
    cable = os.path.join(kept, "ssh")
    shutil.copy2(site.ssh_program, cable)
    for folder in (site.folder, site.keys, site.images):
        syscalls.mount("tmpfs", folder, "tmpfs")
    shutil.copy2(cable, site.ssh_program)


def _environment(home: str, passphrase: str) -> Dict[str, str]:
    """That of somebody who has Ansible in his path, and no settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON", _INSIDE))}
    path = os.path.dirname(sys.executable) + ":" + os.defpath
    return dict(kept, HOME=home, PATH=path, LC_ALL="C.UTF-8", ANSIBLE_VAULT_PASSWORD_FILE=passphrase)


def play(kit: str, passphrase: str, arguments: Sequence[str]) -> int:
    """Open a kit and run a playbook from it.

    :param passphrase: of the kit.
    :param arguments: of ``ansible-playbook``.
    :returns: its exit status.
    """
    with tempfile.TemporaryDirectory(prefix="nanozfs-new-controller-", dir=paths.HOME) as home:
        _burn(Site(os.path.join(paths.HOME, "site")), home)
        for each in (kit, kit + ".txt"):
            shutil.copy(each, home)
        secret = os.path.join(home, "passphrase")
        with open(secret, "w", encoding="utf-8") as file:
            file.write(passphrase)

        def typed(lines: List[str], folder: str) -> int:
            shell = ["sh", "-e", "-c", "\n".join(lines), "sh", *arguments]
            return subprocess.run(shell, cwd=folder, env=_environment(home, secret), check=False).returncode

        opened = typed(texts.opening(os.path.join(home, os.path.basename(kit))), home)
        if opened:
            return opened
        folder = os.path.join(home, "nanozfs-kit")
        return typed([*texts.working(folder), 'exec ansible-playbook "$@"'], folder)


def main(argv: Sequence[str]) -> int:
    """Run it, in a mount namespace of its own."""
    if _INSIDE not in os.environ:
        again = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __spec__.name, *argv]
        os.environ[_INSIDE] = "1"
        os.execvp(again[0], again)
    kit, passphrase, *arguments = argv
    return play(kit, passphrase, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
