# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Showing the state of the fleet; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import answer, nothing_told, table, write_json

display = Display()


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "hosts": {"type": "list", "elements": "str", "required": True},
        "result": {"type": "str", "required": True},
        "path": {"type": "path"},
        "packages": {"type": "bool", "default": False},
    }

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Print the lines as they are, which a callback would fold or quote. AWX has them in the job's output too.

        :raises FleetError: when there is nothing to tell of any host, or the file cannot be written.
        """
        hosts = {name: answer(self._result(name, arguments["result"])) for name in arguments["hosts"]}
        lines = table(hosts, arguments["packages"])
        for line in lines:
            display.display(line)
        if arguments["path"]:
            write_json(arguments["path"], hosts)
        if nothing_told(hosts):
            raise FleetError(
                "there is nothing to tell of any host ({0})".format(lines[-1]),
                todo="the lines below the table say why of each; look first whether this machine reaches them",
            )
        return {"changed": False, "lines": lines}

    def _result(self, name: str, variable: str) -> object:
        """What was registered for a host, as it came: a host's words are no templates."""
        every = self._vars["hostvars"]
        if name not in every:
            return None
        return every.raw_get(name).get(variable)
