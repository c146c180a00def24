# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting hosts into waves; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._artefacts import stats
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._wave_action import WaveAction, display
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.hosts import candidate, settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.run import plan, told


class ActionModule(WaveAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "kind": {"type": "str", "choices": ["upgrade", "rollback"], "default": "upgrade"},
        "look": {"type": "str", "default": ""},
        "run": {"type": "str", "required": True},
    }

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Decide, and say it."""
        kind, now = arguments["kind"], self.now()
        hosts = self.of(self.every())
        fit = set(self.left())
        candidates = [
            candidate(name, variables, self.registered(name, arguments["look"]), name in fit, kind, now)
            for name, variables in hosts.items()
        ]
        run = plan(candidates, settings(kind, hosts.items()))
        lines = told(run, candidates)
        if run.waves or run.later or run.unfit:  # or every host has said that nothing is to be done
            for line in lines:
                display.display(line)
        waiting = {name: self._waits(name, arguments["look"], why) for name, why in run.later.items()}
        # in check mode; where nobody has looked it is the roles that say what would be
        found = run.as_dict(only_told=bool(self._task.check_mode and arguments["look"]))
        return {
            "changed": False,
            "says": lines,
            "run": found,
            "runs": dict(self.runs(), **{arguments["run"]: found}),
            "ansible_stats": stats(waiting),
        }

    def _waits(self, name: str, look: str, why: str) -> List[Mapping[str, Any]]:
        """Why a host is not begun in this run, as an artefact tells it."""
        story = {"result": words.NOT_BEGUN, "what": why}
        return [each for each in (self.registered(name, look), {"story": story}) if isinstance(each, Mapping)]
