# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Having a host configured; documented in the module of the same name.

Judges what the inventory says, has the module do it, and where that is on trial connects anew and confirms: a
configuration that cuts the host off can so not be kept.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Mapping, Sequence

from ansible.errors import AnsibleError

from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.trial import APPLIED, BEGUN, CONFIRMED, DELAY
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import KEYS, RC_CONF, Entry, given
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure import network
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._configure.wanted import wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import Line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_files import folder_entries
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._variables import plain

#: seconds after the end of a trial in which its host may still be getting its old network back
AFTER = 60.0

#: seconds that services are given before the first try: one that comes too early is a call for nothing
SETTLE = 1.5


class ActionModule(ModuleAction):
    """The action."""

    MODULE = "nanozfs.fleet.configuration"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Judge, apply, confirm; the result of the module."""
        settings = plain(arguments.pop("settings", None) or {})
        absent = plain(arguments.pop("absent", None) or [])
        if not isinstance(settings, dict) or not isinstance(absent, (list, str)):
            raise Refused("settings must be a mapping, and absent a list", safe="nothing was changed")
        others = self._others() if settings.get("network") else {}
        wanted = wish(settings, absent, self._deployed(), self._deploy_rc_conf(), others, self._folders)
        result = self.module(dict(arguments, packed=wanted.packed()))
        if result.get("failed") or result.get("state") != "trial" or self._task.check_mode:
            return result
        return self._confirmed(dict(arguments), result)

    # the rest of the inventory

    def _variable(self, name: str) -> Any:
        """A variable of the host, with what its templates mean; ``None`` where it is not set."""
        own = self.own_variables()
        return plain(own[name]) if name in own else None

    def _deploy_rc_conf(self) -> Mapping[str, Any]:
        found = self._variable("deploy_rc_conf")
        return found if isinstance(found, dict) else {}

    def _deployed(self) -> Dict[str, str]:
        """The files that deploy writes, with the variables that they come from."""
        found = {RC_CONF: "deploy_rc_conf"}
        if self._variable("deploy_authorized_keys"):
            found[KEYS] = "deploy_authorized_keys"
        files = self._variable("deploy_files")
        if isinstance(files, dict):
            found.update(dict.fromkeys((each.path for each in given(files)), "deploy_files"))
        folders = self._variable("deploy_folders")
        if isinstance(folders, list):
            found.update((each.path, "deploy_folders") for each in self._of_folders(folders, "deploy_folders"))
        return found

    def _folders(self, names: Sequence[Any]) -> List[Entry]:
        return self._of_folders(names, "configure_folders")

    def _of_folders(self, names: Sequence[Any], variable: str) -> List[Entry]:
        site = paths_of(self, self._vars)
        found: List[Entry] = []
        for name in names:
            found += folder_entries(site.need(str(name), variable, kind=os.path.isdir), str(name), variable)
        return found

    def _others(self) -> Dict[str, network.Network]:
        """The networks of all other hosts of the inventory. One that is wrong is told when that host is configured."""
        found = {}
        every = self._vars["hostvars"]
        for name in every:
            if str(name) == self._host:
                continue
            try:
                theirs = HostVariables(str(name), every[name]).get(network.VARIABLE)
                if theirs:
                    found[str(name)] = network.read(plain(theirs))
            except Refused:
                continue
        return found

    # the trial

    def _confirmed(self, arguments: Dict[str, Any], begun: Dict[str, Any]) -> Dict[str, Any]:
        """Connect anew and confirm, for as long as the host waits for it.

        :raises FleetError: when the host could not be reached in time, or took the configuration back.
        """
        seconds = float(arguments.get("confirm_timeout") or 180)
        self.moves("on trial", "its new configuration is on trial: {0}".format(", ".join(begun["trial"])))
        line = Line(self._connection.reset, time.sleep)
        until = time.monotonic() + DELAY + seconds + AFTER
        time.sleep(DELAY + SETTLE)
        line.drop()
        said = "it was not asked"
        while True:
            try:
                found = self.module(dict(arguments, state="confirmed", token=begun["token"]))
            except AnsibleError as error:
                said = " ".join(str(error).split())[:300]
            else:
                if found.get("failed") and found.get("story"):
                    return dict(found, files=begun["files"], trial=begun["trial"])
                if found.get("state") == CONFIRMED:
                    return dict(begun, state=CONFIRMED, changed=True)
                said = self._unfinished(found)
            if time.monotonic() >= until:
                raise FleetError(
                    "{0} was not reached over a new connection: {1}".format(self._host, printable(said)),
                    safe="its configuration of before is in /cfg, and came back by itself {0:g} seconds after it was "
                    "replaced".format(seconds),
                    todo="see whether it can be reached, correct its network, packet filter or sshd in the inventory, "
                    "and run the play again",
                )
            line.pause()

    @staticmethod
    def _unfinished(found: Mapping[str, Any]) -> str:
        if found.get("state") in (BEGUN, APPLIED):
            return "its new configuration is not in force yet"
        return str(found.get("msg") or "it gave no answer")
