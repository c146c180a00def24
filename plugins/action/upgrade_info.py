# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look before an upgrade; documented in the module of the same name.

The file with the site's tasks is looked for here, beside the playbook. With ``push`` what the look needs is brought to
the target.
"""

from __future__ import annotations

import os
from typing import Any, Dict

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LookingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of


class ActionModule(LookingAction):
    """The action."""

    MODULE = "nanozfs.fleet.upgrade_info"

    def look(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the module."""
        tasks = arguments.get("cfg_tasks")
        if tasks:  # missing ones are better told now than when the image is written
            site = paths_of(self, self._vars)
            tasks = arguments["cfg_tasks"] = site.need(str(tasks), "upgrade_cfg_tasks", "tasks", os.path.isfile)
        hooks = self.hooks(arguments, "upgrade")
        pushed = boolean(arguments.get("push", False), strict=False)
        found = self._pushed(arguments) if pushed else self.leased(arguments)
        return dict(found, tasks=hooks, **({"cfg_tasks": tasks} if tasks else {}))

    def _pushed(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look with a repository that only the controller sees."""
        supply = supply_of(dict(arguments))
        with self.folder(supply.small_files()) as folder:
            return self.leased(dict(arguments, repository=folder, image=supply.ident))
