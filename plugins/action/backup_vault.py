# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a machine a backup host; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _vault_program as program
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables, known_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push import PushingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._vault_hosts import SETTINGS, addresses, keys_of, settings

#: what only the action takes, besides the settings of hosts
_TAKEN = ("hosts", "found", "addresses")


class ActionModule(PushingAction):
    """The action."""

    MODULE = "nanozfs.fleet.backup_vault"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Gather, and run the module; its result."""
        state = arguments.get("state", "present")
        taken = {key: arguments.pop(key, None) for key in _TAKEN}
        usual = {name: arguments.pop(short, None) for name, short in SETTINGS.items()}
        names = [str(each) for each in lines_of(taken["hosts"]) or []]
        if state == "absent":
            return self.module(arguments)
        hosts = self._hosts(names, usual)
        if state == "key":
            result = self.module({**arguments, "methods": sorted({str(each["method"]) for each in hosts.values()})})
            if not result.get("failed"):
                given = lines_of(taken["addresses"]) or []
                result["puller"] = {
                    "label": str(arguments.get("label") or ""),  # not what the machine says: it is of one only
                    "key": result["public_key"],
                    "addresses": addresses(given, self.own_variables().get("ansible_host")),
                }
            return result
        found = str(taken["found"] or "")
        keys = {name: keys_of(known_of(self._vars, name).get(found)) for name in hosts}
        arguments.update(hosts=hosts, known_hosts={name: each for name, each in keys.items() if each})
        arguments["program_digest"] = program.digest()
        result = self.module(arguments)
        if not result.get("program_wanted") or self._task.check_mode:
            return result
        with self.folder([("nanozfs-backup.pyz", program.pack())]) as folder:
            path = self._connection._shell.join_path(folder, "nanozfs-backup.pyz")
            return self.module({**arguments, "program": path})

    def _hosts(self, names: List[str], usual: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
        """The settings of those that are backed up."""
        every = self._vars["hostvars"]
        found: Dict[str, Dict[str, Any]] = {}
        for name in names:
            if name not in every:
                raise Refused("{0} is not in the inventory".format(name), safe="nothing was changed")
            said = settings(name, HostVariables(name, every[name]), usual)
            if said is not None:
                found[name] = said
        return found
