# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding an image; documented in the module of the same name. With ``push`` its manifest is brought to the target."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push import PushingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of


class ActionModule(PushingAction):
    """The action."""

    MODULE = "nanozfs.fleet.image_info"

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Look; returns the result of the module."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not boolean(arguments.get("push", False), strict=False):
            result.update(self.module(arguments, task_vars))
            return result
        try:
            supply = supply_of(arguments)
            folder = self._make_tmp_path()
            try:
                for name, content in supply.manifest_files():
                    self.put(folder, name, content)
                result.update(self.module(dict(arguments, repository=folder, image=supply.ident), task_vars))
            finally:
                self._remove_tmp_path(folder)
        except FleetError as error:
            raise AnsibleActionFail(str(error))
        return result
