# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing two images on the controller; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import open_repository
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.compare import compare, find_subject, report
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import write_json

display = Display()

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "old": {"type": "str", "required": True},
    "new": {"type": "str", "required": True},
    "repository": {"type": "str"},
    "name": {"type": "str"},
    "limit": {"type": "int", "default": 20},
    "path": {"type": "path"},
}


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Compare, and print the lines as they are, which a callback would fold or quote."""
        limit = max(0, arguments["limit"])
        repository = open_repository(arguments["repository"]) if arguments["repository"] else None
        old, new = (find_subject(repository, arguments[key], arguments["name"]) for key in ("old", "new"))
        difference = compare(old, new)
        if arguments["path"]:
            write_json(arguments["path"], difference.as_dict())
        lines = report(difference, limit)
        for line in lines:
            display.display(line)
        return {
            "changed": False,
            "difference": difference.as_dict(limit),
            "lines": lines,
            "summary": difference.summary(),
        }
