# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of the rooms: nothing imports from a room above its own. CONTRIBUTING.md says what belongs into each."""

from __future__ import annotations

import ast
import os
from typing import Iterator, List, Tuple

import pytest

PLUGINS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plugins")
PACKAGE = "ansible_collections.nanozfs.fleet.plugins."

#: from the bottom to the top
ROOMS = (
    "module_utils/_errors.py",
    "module_utils/_text.py",
    "module_utils/_files.py",
    "module_utils/_hours.py",
    "module_utils/_merge/",
    "module_utils/_freebsd/",
    "module_utils/_image/",
    "module_utils/_relay/",
    "module_utils/_upgrade/",
    "module_utils/_backup/",
    "module_utils/_host.py",
    "module_utils/_condition.py",
    "module_utils/_config/",
    "module_utils/_install/",
    "module_utils/_configure/",
    "module_utils/_restore/",
    "module_utils/_nanobsd/",
    "module_utils/_agent/",
    "module_utils/_vault/",
    "module_utils/_arguments.py",
    "module_utils/_module.py",
    "modules/",
    "plugin_utils/_",  # the small rooms that are files
    "plugin_utils/_configure/",
    "plugin_utils/_waves/",
    "plugin_utils/_wave_action.py",
    "plugin_utils/_screen/",
    "plugin_utils/_build/",
    "plugin_utils/_packages/",
    "plugin_utils/_audit/",
    "plugin_utils/_release/",
    "plugin_utils/_image_build.py",
    "plugin_utils/_report/",
    "plugin_utils/_fleet_audit.py",
    "action/",
    "callback/",
)

#: nothing that the controller does belongs onto a host
BELOW = {"plugin_utils": ("module_utils", "plugin_utils"), "modules": ("module_utils",)}


def room_of(path: str) -> int:
    """The number of the room that a file, relative to plugins/, is in: that of the longest name that fits."""
    found = [(len(room), number) for number, room in enumerate(ROOMS) if path.startswith(room)]
    assert found, "{0} is in no room: give it one, here and in CONTRIBUTING.md".format(path)
    return max(found)[1]


def sources() -> Iterator[str]:
    for folder, _folders, names in os.walk(PLUGINS):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), PLUGINS)
            if name.endswith(".py") and name != "__init__.py" and not path.startswith("doc_fragments"):
                yield path


def _path(dotted: str) -> str:
    """The file that a dotted name leads to, relative to plugins/; an empty string where it leads to none."""
    path = dotted.replace(".", "/") + ".py"
    return path if os.path.exists(os.path.join(PLUGINS, path)) else ""


def imports(path: str) -> List[str]:
    """The files of the collection that one imports."""
    with open(os.path.join(PLUGINS, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.rstrip(".")):
            base = str(node.module)[len(PACKAGE) :]
            whole = _path(base)
            found += [whole] if whole else [_path("{0}.{1}".format(base, each.name)) for each in node.names]
    return [each for each in found if each]


def offences() -> List[Tuple[str, str]]:
    found = []
    for path in sources():
        for other in imports(path):
            allowed = BELOW.get(path.split("/", 1)[0])
            if room_of(other) > room_of(path) or (allowed and other.split("/", 1)[0] not in allowed):
                found.append((path, other))
    return found


def test_no_import_runs_upward() -> None:
    assert offences() == []


def test_it_would_be_seen() -> None:
    assert len(list(sources())) > 80
    assert "module_utils/_freebsd/zfs.py" in imports("module_utils/_upgrade/journal.py")
    assert room_of("plugin_utils/_build/tree.py") < room_of("plugin_utils/_release/pack.py")
    with pytest.raises(AssertionError, match="in no room"):
        room_of("filter/new.py")
