# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts of a recovery kit, for tests that do what they say."""

from __future__ import annotations

import os
from typing import List

#: the command that a kit ends with, and after which it only lists machines
LAST = "ansible-playbook status.yml"


def commands(path: str) -> List[str]:
    """The commands of a text, in their order: what is indented, without remarks."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.startswith("    ")]
    return [line for line in lines if not line.startswith("#")]


def opening(kit: str) -> List[str]:
    """What is typed to open a kit, from the text beside it; without what installs Ansible.

    :param kit: its path.
    """
    found = commands(kit + ".txt")
    return [line for line in found if line.startswith(("ansible-vault ", "tar "))]


def working(folder: str) -> List[str]:
    """What is typed to work with an opened kit, up to :data:`LAST`.

    :param folder: of the opened kit.
    """
    found = commands(os.path.join(folder, "README.txt"))
    return found[: found.index(LAST)]
