# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions about waves have in common: hosts as the inventory has them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Iterable, List, Mapping

from ansible.errors import AnsibleError
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import HostVariables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.hosts import NAMES

display = Display()

#: the variable of ``localhost`` that plays keep their plans in. Not a fact: later runs would find it in a cache
RUNS = "nanozfs_runs"


class WaveAction(ControllerAction):
    """An action that decides about the hosts of a run."""

    _requires_connection = False

    def every(self) -> List[str]:
        """The names of all hosts of the play."""
        return [str(name) for name in self._vars["ansible_play_hosts_all"]]

    def left(self) -> List[str]:
        """Those that did not fail, and answer."""
        return [str(name) for name in self._vars["ansible_play_hosts"]]

    def of(self, names: Iterable[str]) -> Dict[str, HostVariables]:
        """The variables of hosts, by name."""
        every = self._vars["hostvars"]
        inventory = self.known_of(str(self._vars["inventory_hostname"]))
        # what the play says otherwise than the inventory, which ``hostvars`` does not know; templates as they are
        said = {
            name: self._vars[name]
            for name in NAMES
            if name in self._vars and (name not in inventory or inventory[name] != self._vars[name])
        }
        if not said:
            return {name: HostVariables(name, every[name]) for name in names}
        of_play = {key: value for key, value in self._vars.items() if key not in inventory}
        return {name: HostVariables(name, every[name], self._said_to(name, said, of_play)) for name in names}

    def _said_to(self, name: str, said: Mapping[str, Any], of_play: Mapping[str, Any]) -> Dict[str, Any]:
        """What the play says, for one host: its templates may ask for variables of the host.

        :param of_play: all that the inventory does not have.
        """
        known = {**of_play, **self.known_of(name), **said}
        try:
            templar = self._templar.copy_with_new_env(available_variables=known)
            return dict(templar.template(dict(said)))
        except AnsibleError as error:
            raise Refused(
                "what the play says of {0} has no value: {1}".format(printable(name), printable(str(error))),
                safe="nothing was changed",
                todo="correct the vars of the play, or set them in the inventory",
            )

    def registered(self, name: str, variable: str) -> Any:
        """What was registered for a host; ``None`` where nothing was."""
        return self.known_of(name).get(variable) if variable else None

    def runs(self) -> Dict[str, Any]:
        """The plans of this and of earlier plays, by what they are called."""
        found = self.registered("localhost", RUNS)
        return dict(found) if isinstance(found, Mapping) else {}

    def now(self) -> datetime:
        """Now."""
        return datetime.now(timezone.utc)
