# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look before a rollback, as this play; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LookingAction


class ActionModule(LookingAction):
    """The action."""

    MODULE = "nanozfs.fleet.rollback_info"

    def look(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the module, and where the tasks of the site are."""
        hooks = self.hooks(arguments, "rollback")
        return dict(self.leased(arguments), tasks=hooks)
