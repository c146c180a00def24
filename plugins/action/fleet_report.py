# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Showing the state of the fleet; documented in the module of the same name."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import table

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
            argument_spec={"hosts": {"type": "dict", "required": True}, "path": {"type": "path"}}
        )
        lines = table(arguments["hosts"])
        for line in lines:
            display.display(line)
        if arguments["path"]:
            self._write(arguments["path"], arguments["hosts"])
        result.update(changed=False, lines=lines)
        return result

    @staticmethod
    def _write(path: str, hosts: Dict[str, Any]) -> None:
        try:
            with open(path + ".part", "w", encoding="utf-8") as file:
                json.dump(hosts, file, indent=1, sort_keys=True)
                file.write("\n")
            os.replace(path + ".part", path)
        except OSError as error:
            raise AnsibleActionFail("the report cannot be written to {0}: {1}".format(path, error.strerror))
