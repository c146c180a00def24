# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rcorder(8): the order in which rc.d scripts run, by their PROVIDE, REQUIRE and BEFORE lines."""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Set

from ansible_collections.nanozfs.fleet.tests.model.machine import Machine, Output

_LINE = re.compile(r"^# (PROVIDE|REQUIRE|BEFORE|KEYWORD): *(.*)$", re.MULTILINE)


class Script:
    """One rc.d script."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, encoding="utf-8", errors="replace") as file:
            found = _LINE.findall(file.read(4096))
        self.words: Dict[str, List[str]] = {}
        for key, words in found:
            self.words.setdefault(key, []).extend(words.split())


def order(paths: List[str]) -> List[str]:
    """The paths, each after all that it requires."""
    scripts = [Script(path) for path in paths]
    providers: Dict[str, Script] = {}
    for script in scripts:
        for name in script.words.get("PROVIDE", []):
            providers[name] = script
    before: Dict[str, List[Script]] = {}
    for script in scripts:
        for name in script.words.get("BEFORE", []):
            before.setdefault(name, []).append(script)
    ordered: List[str] = []
    visited: Set[str] = set()

    def visit(script: Script) -> None:
        if script.path in visited:
            return
        visited.add(script.path)
        for name in script.words.get("REQUIRE", []):
            if name in providers:
                visit(providers[name])
        for name in script.words.get("PROVIDE", []):
            for each in before.get(name, []):
                visit(each)
        ordered.append(script.path)

    for script in scripts:
        visit(script)
    return ordered


def rcorder(machine: Machine, argv: List[str], stdin: Optional[str]) -> Output:
    """``rcorder FILE ...``."""
    return Output(0, "".join(path + "\n" for path in order([word for word in argv if not word.startswith("-")])))
