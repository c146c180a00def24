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

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import no_answer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LeasingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of


class ActionModule(LeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.upgrade_info"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the module."""
        tasks = arguments.get("cfg_tasks")
        if tasks:  # missing ones are better told now than when the image is written
            site = paths_of(self, self._vars)
            tasks = arguments["cfg_tasks"] = site.need(str(tasks), "upgrade_cfg_tasks", "tasks", os.path.isfile)
        hooks = self.hooks(arguments, "upgrade")
        pushed = boolean(arguments.get("push", False), strict=False)
        try:
            found = self._pushed(arguments) if pushed else self.leased(arguments)
        except AnsibleConnectionFailure as error:
            # a failure, for a host that does not answer is none to Ansible, which would only say that
            raise no_answer(self._host, self._vars.get("ansible_limit"), str(error))
        return dict(found, tasks=hooks, **({"cfg_tasks": tasks} if tasks else {}))

    def _pushed(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look with a repository that only the controller sees."""
        supply = supply_of(dict(arguments))
        with self.folder(supply.small_files()) as folder:
            return self.leased(dict(arguments, repository=folder, image=supply.ident))
