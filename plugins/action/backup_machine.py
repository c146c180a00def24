# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a copy of a host in a virtual machine is reached; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Mapping

from ansible.utils.vars import load_extra_vars

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._machine_way import (
    back_of,
    known_hosts,
    refuse_fixed,
    see_way,
    way_of,
)


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "vault": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "key": {"type": "str", "required": True, "no_log": False},
    }

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Say it."""
        name, vault = str(self._vars["inventory_hostname"]), arguments["vault"]
        if getattr(self._connection, "transport", "") != "ssh":
            raise Refused(
                "{0} is not reached by ssh, and its copy could not be".format(name),
                safe="nothing was sent to it",
                todo="verify a sample of its files, which needs no machine",
            )
        refuse_fixed(name, load_extra_vars(self._loader))
        every: Mapping[str, Any] = self._vars["hostvars"]
        path = known_hosts(name, arguments["port"], arguments["key"])
        way = way_of(name, arguments["port"], HostVariables(vault, every[vault]), vault, path)
        options = {each: self._connection.get_option(each) for each in ("ssh_executable", "ssh_args", "ssh_extra_args")}
        see_way(local_execute, name, options, way)
        return {"changed": False, "way": way, "back": back_of(name, HostVariables(name, every[name]))}
