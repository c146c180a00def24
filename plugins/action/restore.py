# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a host, or a part of it, back from a backup; documented in the module of the same name.

What the backup host has said goes to the module packed, in one argument: nothing in it is taken for a template, and no
log shows it. What the host wants sent becomes the command for the backup host.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Tuple

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of, printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._known_hosts import introduce
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._vault_hosts import addresses, reached

PROGRAM = "/usr/local/sbin/nanozfs-backup"

_SAFE = "nothing was changed"


class ActionModule(ModuleAction):
    """The action."""

    MODULE = "nanozfs.fleet.restore"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Say what comes back from where, and run the module; its result."""
        known_hosts = boolean(arguments.pop("known_hosts", True), strict=False)
        source = str(arguments.pop("source", None) or self._host)
        way = reached(self._host, self.own_variables())
        given = (arguments.pop("address", None), arguments.pop("port", None))
        address, port = str(given[0] or way[0]), str(given[1] or way[1])
        bandwidth = str(arguments.pop("bandwidth", None) or 0)
        told = self._told(str(arguments.pop("found", None) or ""))
        kind, name = self._what(arguments)
        said = told.get("set") if isinstance(told.get("set"), Mapping) else {}
        arguments.update(
            kind=kind,
            name=name,
            label=str(told.get("label") or ""),
            set=str(said.get("id") or "") if isinstance(said, Mapping) else "",
            packed=packed(told.get("description")),
            size=told.get("bytes") if kind == "path" else 0,
            rate=told.get("rate") or 0,
            key=str(told.get("key") or ""),
            addresses=self._addresses(arguments.pop("addresses", None), str(arguments.pop("vault", None) or "")),
            hostname=arguments.get("hostname") or self._host,
            other_host=boolean(arguments.get("other_host") or False, strict=False) or source != self._host,
        )
        result = self.module(arguments)
        if result.get("failed"):
            return result
        if arguments.get("state", "planned") == "planned":
            if isinstance(said, Mapping) and said.get("result", "ok") != "ok":
                self.say("the backup {0} is not whole: files are missing in it".format(printable(arguments["set"])))
            self._announce(result)
        if result.get("host_key"):
            result["send"] = [
                *(PROGRAM, "send", source, "--set", arguments["set"], "--path", str(result["source"])),
                *(["--contents"] if result.get("contents") else []),
                *(word for each in result.get("excludes") or [] for word in ("--exclude", str(each))),
                *("--to", str(result["folder"]), "--address", address, "--port", port),
                *("--host-key", str(result["host_key"]), "--bandwidth", bandwidth),
            ]
        if result.get("ssh_host_key") and known_hosts:
            introduce(local_execute, self._connection, str(result["ssh_host_key"]), result)
        return result

    @staticmethod
    def _what(arguments: Dict[str, Any]) -> Tuple[str, str]:
        """What comes back.

        :raises Refused: when that is not said once.
        """
        found = [(kind, str(arguments.pop(kind, None) or "")) for kind in ("dataset", "path")]
        whole = boolean(arguments.pop("host", None) or False, strict=False)
        chosen = [each for each in found if each[1]] + ([("host", "")] if whole else [])
        if len(chosen) != 1:
            raise Refused(
                "it is not said what comes back" if not chosen else "more than one thing is to come back at once",
                safe=_SAFE,
                todo="give one of restore_path, restore_dataset and restore_host",
            )
        return chosen[0]

    def _told(self, name: str) -> Dict[str, Any]:
        """What the backup host has said.

        :raises FleetError: when that is nothing.
        """
        registered = self._vars.get(name)
        text = registered.get("stdout") if isinstance(registered, Mapping) else None
        try:
            found = json.loads(str(text))
            if isinstance(found, dict):
                return found
        except ValueError:
            pass
        raise FleetError(
            "the backup host has not said what it has of {0}".format(self._host),
            safe=_SAFE,
            todo="see what `nanozfs-backup list` says there",
        )

    def _addresses(self, given: Any, backup_host: str) -> List[str]:
        """Where the backup host comes from.

        :param given: what the task says; an empty list is anywhere.
        """
        if given is not None:
            return [str(each) for each in lines_of(given)]
        every = self._vars["hostvars"]
        if not backup_host or backup_host not in every:
            return []
        variables = HostVariables(backup_host, every[backup_host])
        return addresses(lines_of(variables.get("backup_addresses")) or [], variables.get("ansible_host"))

    def _announce(self, result: Mapping[str, Any]) -> None:
        """What will be done, before it is."""
        for line in result.get("plan") or []:
            self.say(str(line))
        for line in result.get("losses") or []:
            self.say("does not come back: {0}".format(line))
