# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Noting how hosts have ended; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _artefacts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "results": {"type": "list", "elements": "str", "required": True},
        "hosts": {"type": "list", "elements": "str"},
    }

    _requires_connection = False

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Note it."""
        hosts = arguments["hosts"] or [str(self._vars["inventory_hostname"])]
        names = arguments["results"]
        found = {host: self._registered(host, names) for host in hosts}
        return {"changed": False, "ansible_stats": _artefacts.stats(found, bool(self._task.check_mode))}

    def _registered(self, host: str, names: List[str]) -> List[Mapping[str, Any]]:
        """What was registered for a host, in the order of the names."""
        here = host == self._vars["inventory_hostname"]
        known: Mapping[str, Any] = self._vars if here else self.known_of(host)
        return [known[name] for name in names if isinstance(known.get(name), Mapping)]
