# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What actions have in common whose modules work under a lease of the host."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _hooks
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import no_answer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._play import holder, is_gone
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._watch import WatchingAction


class LeasingAction(WatchingAction):
    """An action that says who it is, and takes over from a play of this machine that is dead."""

    def leased(self, arguments: Mapping[str, Any]) -> Dict[str, Any]:
        """Run the module; once more, taking over, where the other play was one of this machine and has ended."""
        given = dict(arguments, holder=holder(self._vars))
        found = self.module(given)
        other = (found.get("lease") or {}) if found.get("failed") else {}
        if isinstance(other, dict) and is_gone(other.get("holder") or {}):
            self.say(
                "takes over from a play of this machine that has ended (process {0})".format(other["holder"]["pid"])
            )
            found = self.module(dict(given, take_over=True))
        return found

    def hooks(self, arguments: Mapping[str, Any], role: str) -> Dict[str, str]:
        """Where the tasks are that the site wants to be run around the restart."""
        hooks = (_hooks.BEFORE_RESTART, _hooks.AFTER_COMMIT, _hooks.AFTER_REVERT)
        return _hooks.find(paths_of(self, self._vars), arguments, hooks, role)


class LookingAction(LeasingAction):
    """One whose module looks whether a host is fit. One that does not answer is none, and a failure.

    To Ansible it would be none, and all that is said then is that it cannot be reached. What would be done is said at
    once: a task for that would take a fifth of what a host costs where nothing is to be done.
    """

    def look(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the task.

        :raises AnsibleConnectionFailure: when the host does not answer.
        """
        raise NotImplementedError

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look, and say what would be done; the result of the task.

        :raises FleetError: also when the host does not answer.
        """
        try:
            found = self.look(arguments)
            if found.get("says") and not found.get("failed"):
                self.say(str(found["says"]))
            return found
        except AnsibleConnectionFailure as error:
            raise no_answer(self._host, self._vars.get("ansible_limit"), str(error))


class PlainLeasingAction(LeasingAction):
    """One whose module does all of the work in one call."""

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Ask the host; the result of the module."""
        return self.leased(arguments)
