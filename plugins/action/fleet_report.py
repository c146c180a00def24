# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Showing the state of the fleet; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import table, write_json

display = Display()


class ActionModule(ActionBase):
    """The action."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Print the lines as they are, which a callback would fold or quote. AWX has them in the job's output too."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "dict", "required": True},
                "path": {"type": "path"},
                "packages": {"type": "bool", "default": False},
            }
        )
        lines = table(arguments["hosts"], arguments["packages"])
        for line in lines:
            display.display(line)
        if arguments["path"]:
            try:
                write_json(arguments["path"], arguments["hosts"])
            except FleetError as error:
                raise AnsibleActionFail(str(error))
        result.update(changed=False, lines=lines)
        return result
