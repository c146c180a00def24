# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening a transaction as this play; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LeasingAction


class ActionModule(LeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.transaction"

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Ask the host; returns the result of the module."""
        result = super().run(tmp, task_vars)
        self.begin(task_vars)
        result.update(self.leased(self._task.args, task_vars))
        return result
