# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judging the variables of a role; documented in the module of the same name."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Dict, List, Tuple

from ansible.errors import AnsibleError

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _variables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction

# in the process that others are forked from: Ansible imports an action there before it queues the first task
_variables.read_ahead(os.path.join(os.path.dirname(__file__), "..", "..", "roles"))


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {"entry_point": {"type": "str", "default": "main"}}

    _requires_connection = False

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Judge; nothing is returned."""
        role = self._vars.get("role_path")
        if not role:
            raise Refused("this is for a task of a role", safe="nothing was changed")
        options = _variables.options_of(str(role), arguments["entry_point"])
        values, broken = self._values(options)
        names = set(self._vars) - set(self._own())
        _variables.check(options, values, broken, names, str(role))
        return {"changed": False}

    def _own(self) -> List[str]:
        """The names that the site has for itself, whatever they are like."""
        found = self._templar.template(self._vars.get("nanozfs_own_variables") or [])
        return [str(each).strip() for each in (found.split(",") if isinstance(found, str) else found)]

    def _values(self, options: _variables.Specification) -> Tuple[Dict[str, Any], Dict[str, str]]:
        """The values of those variables that are set; and why some have none."""
        found: Dict[str, Any] = {}
        broken: Dict[str, str] = {}
        for name in options:
            if name not in self._vars:
                continue
            try:
                found.update(self._templar.template({name: self._vars[name]}))
            except AnsibleError as error:
                broken[name] = str(getattr(error, "message", error))
        # what is set to omit: left out of the mapping, or with ansible-core 2.18 a text of its own
        set_ones = {name: value for name, value in found.items() if value != self._vars.get("omit", object())}
        return set_ones, broken
