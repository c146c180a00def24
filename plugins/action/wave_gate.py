# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host is begun now; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _channel
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._wave_action import WaveAction, display
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.hosts import closed
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.run import Now, Run, goes_back, hold


class ActionModule(WaveAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "state": {"type": "str", "choices": ["begin", "back"], "default": "begin"},
        "look": {"type": "str", "default": ""},
        "ended": {"type": "str", "default": "trial_ended"},
        "gate": {"type": "str", "required": True},
        "run": {"type": "str", "required": True},
    }

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Decide."""
        name = str(self._vars["inventory_hostname"])
        run = Run.read(self.runs().get(arguments["run"]))
        left = set(self.left())
        lost = [other for other in self.every() if other not in left]
        result = {
            "changed": False,
            "wave": run.wave_of(name),
            "waves": len(run.waves),
            "run": run.ident,
            "txn": self._txn(name, arguments["ended"]),
        }
        if arguments["state"] == "back":
            results = {name: self._result(run, name, arguments)}
            how = goes_back(run, name, Now(lost, results))
            return dict(result, rollback=how == words.COMMITTED, revert=how == words.ON_TRIAL)
        results = {other: self._result(run, other, arguments) for other in run.partners(name)}
        shut = ""
        if run.prefix == "upgrade":
            shut = closed(name, self.of([name])[name], self.registered(name, arguments["look"]), self.now())
        why = hold(run, name, Now(lost, results, shut))
        if not why:
            return dict(result, begin=True)
        if not _channel.is_open():  # the screen shows the story
            display.display("  {0}: not begun: {1}".format(printable(name), why))
        story = words.Story(
            words.NOT_BEGUN,
            "not begun: {0}".format(why),
            "nothing was changed on it",
            "run the play again when that is mended; hosts that are through are skipped",
        )
        return dict(result, begin=False, story=story.as_dict())

    def _result(self, run: Run, name: str, arguments: Mapping[str, Any]) -> str:
        """How it ended for a host; empty where it did not in this run. An earlier one has left variables as well."""
        gate = self.registered(name, arguments["gate"])
        if not isinstance(gate, Mapping) or gate.get("run") != run.ident or gate.get("begin") is not True:
            return ""
        if self._txn(name, arguments["ended"]) == gate.get("txn"):
            return ""
        story = self.registered(name, arguments["ended"]).get("story")
        return str(story.get("result", "")) if isinstance(story, Mapping) else ""

    def _txn(self, name: str, variable: str) -> str:
        """The transaction that a host has ended; empty where it has none."""
        ended = self.registered(name, variable)
        journal = ended.get("journal") if isinstance(ended, Mapping) else None
        return str(journal.get("txn") or "") if isinstance(journal, Mapping) else ""
