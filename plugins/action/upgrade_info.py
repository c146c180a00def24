# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look before an upgrade; documented in the module of the same name.

The file with the site's tasks is looked for here, beside the playbook. With ``push`` what the look needs is brought to
the target.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LeasingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of


class ActionModule(LeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.upgrade_info"

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Look; returns the result of the module."""
        result = super().run(tmp, task_vars)
        self.begin(task_vars)
        arguments = dict(self._task.args)
        found = self._tasks(arguments.get("cfg_tasks"), task_vars or {})
        if found:
            arguments["cfg_tasks"] = found
        if boolean(arguments.get("push", False), strict=False):
            result.update(self._pushed(arguments, task_vars))
        else:
            result.update(self.leased(arguments, task_vars))
        if found:
            result["cfg_tasks"] = found
        return result

    def _tasks(self, given: Any, task_vars: Dict[str, Any]) -> str:
        """The full path of the site's tasks.

        :raises AnsibleActionFail: when there is no such file; better now than when the image is written.
        """
        if not given:
            return ""
        folders = [str(task_vars.get(name) or "") for name in ("playbook_dir", "inventory_dir")]
        folders = [folder for folder in folders if folder] + [self._loader.get_basedir()]
        try:
            return str(self._loader.path_dwim_relative_stack(folders, "tasks", str(given)))
        except AnsibleError:
            raise AnsibleActionFail(
                "there is no file {0} for upgrade_cfg_tasks. Safe now: nothing was changed. Next: put it beside the "
                "playbook or into tasks/ there ({1}), or give its full path.".format(given, ", ".join(folders))
            )

    def _pushed(self, arguments: Dict[str, Any], task_vars: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        """Look with a repository that only the controller sees."""
        try:
            supply = supply_of(dict(arguments))
            folder = self._make_tmp_path()
            try:
                for name, content in supply.small_files():
                    self.put(folder, name, content)
                return self.leased(dict(arguments, repository=folder, image=supply.ident), task_vars)
            finally:
                self._remove_tmp_path(folder)
        except FleetError as error:
            raise AnsibleActionFail(str(error))
