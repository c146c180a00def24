# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look before a rollback, as this play; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import no_answer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import LeasingAction


class ActionModule(LeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.rollback_info"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the module, and where the tasks of the site are."""
        hooks = self.hooks(arguments, "rollback")
        try:
            return dict(self.leased(arguments), tasks=hooks)
        except AnsibleConnectionFailure as error:
            raise no_answer(self._host, self._vars.get("ansible_limit"), str(error))
