# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the README tells a new user to type, read from the README."""

from __future__ import annotations

import os
import re
from typing import Dict, List

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT


def section(title: str) -> str:
    """The text of a section of the README.

    :raises KeyError: when there is none of that title.
    """
    with open(os.path.join(CHECKOUT, "README.md"), encoding="utf-8") as file:
        parts = re.split(r"^## (.*)\n", file.read(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))[title]


def blocks(text: str) -> List[List[str]]:
    """The lines of the blocks of commands, without remarks."""
    found = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [[re.sub(r"\s+#.*", "", line) for line in each.splitlines() if line.strip()] for each in found]


def installing() -> str:
    """The command that installs what ``make build`` has made."""
    _galaxy, _requirements, (make, install) = blocks(section("Installation"))
    assert make == "make build", make
    return install


def rows(text: str) -> Dict[str, str]:
    """The commands of the first table, by what they are for."""
    found = re.findall(r"^\| ([^|]*?) \| `([^`]*)` \|$", text, re.MULTILINE)
    return {purpose: command for purpose, command in found if command.startswith("ansible-playbook")}


def inline(text: str, program: str) -> List[str]:
    """The commands within sentences that begin with a program."""
    return re.findall(r"`({0} [^`]*)`".format(re.escape(program)), text)
