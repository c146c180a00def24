# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting a host and waiting until it is back; documented in the module of the same name."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.restart import DELAY
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import Restart, answer_of


class ActionModule(ActionBase):
    """The action."""

    MODULE = "nanozfs.fleet.host_restart"

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Restart; returns the result of the module, with the new start."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)

        def module(**more: Any) -> Dict[str, Any]:
            found: Dict[str, Any] = self._execute_module(
                module_name=self.MODULE, module_args=dict(arguments, **more), task_vars=task_vars
            )
            return found

        begun = module()
        result.update(begun)
        if begun.get("failed") or not begun.get("changed") or self._task.check_mode:
            return result
        began = time.monotonic()
        waiting = Restart(
            lambda: answer_of(lambda: module(state="seen")),
            self._connection.reset,
            str((task_vars or {}).get("inventory_hostname", "the host")),
        )
        try:
            found = waiting.wait(begun["boot_id"], float(arguments.get("timeout") or 900), DELAY)
        except FleetError as error:
            raise AnsibleActionFail(str(error))
        result.update(boot_id=found["boot_id"], refused=found["refused"], elapsed=int(time.monotonic() - began))
        return result
