# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an execution environment gets is what the plugins import."""

from __future__ import annotations

import ast
import os
import re
import sys
from typing import Set

COLLECTION = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

#: the names of packages by those of what they bring, where they differ
PACKAGES = {"cyclonedx": "cyclonedx-python-lib", "packageurl": "cyclonedx-python-lib"}

#: what ansible-core brings, and what newer Pythons have
WITH_ANSIBLE = {"ansible", "ansible_collections", "cryptography", "jinja2", "yaml", "compression"}

#: what is used where a host happens to have it
WELCOME = {"zstandard", "compression"}


def imported(folder: str) -> Set[str]:
    """The top names of what the files of a folder import."""
    found: Set[str] = set()
    for place, _folders, names in os.walk(folder):
        for name in names:
            if not name.endswith(".py"):
                continue
            with open(os.path.join(place, name), encoding="utf-8") as file:
                tree = ast.parse(file.read())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    found.update(each.name.partition(".")[0] for each in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def test_what_plugins_import() -> None:
    names = imported(os.path.join(COLLECTION, "plugins"))
    others = names - WITH_ANSIBLE - set(getattr(sys, "stdlib_module_names", names))
    with open(os.path.join(COLLECTION, "meta", "ee-requirements.txt"), encoding="utf-8") as file:
        given = {re.split("[<>=~]", line)[0].strip() for line in file if line.strip() and not line.startswith("#")}
    assert {PACKAGES.get(name, name) for name in others} == given


def test_hosts_need_nothing() -> None:
    names = imported(os.path.join(COLLECTION, "plugins", "module_utils")) | imported(
        os.path.join(COLLECTION, "plugins", "modules")
    )
    assert not names - {"ansible", "ansible_collections"} - WELCOME - set(getattr(sys, "stdlib_module_names", names))
