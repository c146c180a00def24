# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Showing the state of the fleet; documented in the module of the same name."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar, Dict, List, Mapping, Optional

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import BEHIND, CONDITIONS
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import (
    addresses,
    history,
    holes,
    page,
    query,
    rings,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import Answer, surveys
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, document, write_file, write_json
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.holes import Holes
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.hosts import (
    Compare,
    Source,
    assemble,
    support_of,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.table import table
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import found_input, paths_of

display = Display()

#: names that a message has
NAMED = 8


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "hosts": {"type": "list", "elements": "str", "required": True},
        "result": {"type": "str", "required": True},
        "path": {"type": "path"},
        "json": {"type": "path"},
        "html": {"type": "path"},
        "title": {"type": "str", "default": "Fleet"},
        "history": {"type": "path"},
        "history_size": {"type": "int", "default": history.LARGEST},
        "history_days": {"type": "int", "default": 0},
        "query": {"type": "str"},
        "fail_on": {"type": "list", "elements": "str", "choices": list(CONDITIONS), "default": []},
        "address_plan": {"type": "dict", "default": {}},
        "support": {"type": "dict", "default": {}},
        "backup_max_age": {"type": "int", "default": 0},
        "backup_verified_max_age": {"type": "int", "default": 0},
        "signers": {"type": "list", "elements": "str", "default": []},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "packages": {"type": "bool", "default": False},
        "audit": {"type": "bool", "default": False},
        "audit_degraded": {"type": "bool", "default": False},
        **look.ARGUMENTS,
    }
    LINES = ("signers", "revoked", "vuxml_ignore")

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Print the lines as they are, which a callback would fold or quote. AWX has them in the job's output too.

        :raises FleetError: after all was shown and written: when a file cannot be written, hosts are in a condition on
            which it is to fail, or the play has looked at nobody.
        """
        asked = query.compiled(arguments["query"]) if arguments["query"] else None
        trouble: List[FleetError] = []
        fleet = self._fleet(arguments, trouble)
        lines = table(fleet, arguments["packages"])
        past = self._tried(trouble, lambda: self._history(arguments, fleet, lines)) or history.NOTHING
        for line in lines:
            display.display(line)
        told = document(fleet)
        for path, write in self._files(arguments, fleet, told, past).items():
            self._tried(trouble, lambda path=path, write=write: write(path))
        result: Dict[str, Any] = {"changed": False, "lines": lines, "counts": fleet.counts}
        if asked is not None:
            answer = self._tried(trouble, lambda: query.ask(asked, told))
            result["query"] = answer
            for line in query.shown(answer):
                display.display(line)
        trouble += self.verdict(fleet, arguments["fail_on"])
        if trouble:  # without the lines: a callback would show them all once more
            return {"changed": False, "failed": True, "counts": fleet.counts, "msg": " ".join(map(str, trouble))}
        return result

    @staticmethod
    def _tried(trouble: List[FleetError], do: Any) -> Any:
        """Do something of which the failure must not keep the rest from being shown and written."""
        try:
            return do()
        except FleetError as error:
            trouble.append(error)
            return None

    @staticmethod
    def _history(arguments: Mapping[str, Any], fleet: Fleet, lines: List[str]) -> history.History:
        path = arguments["history"]
        if not path:
            return history.NOTHING
        past, remarks = history.append(path, fleet, arguments["history_size"], arguments["history_days"])
        lines[-1:-1] = ["fleet: {0}".format(each) for each in remarks]
        return past

    @staticmethod
    def _files(
        arguments: Mapping[str, Any], fleet: Fleet, told: Mapping[str, Any], past: history.History
    ) -> Dict[str, Any]:
        """What is written, by the path."""
        answers = {host.name: host.answer for host in fleet.hosts}
        support, title = support_of(arguments["support"]), arguments["title"]
        writers = {
            "path": lambda path: write_json(path, surveys(answers)),
            "json": lambda path: write_json(path, told),
            "html": lambda path: write_file(path, page.render(fleet, past, support, title).encode("utf-8")),
        }
        return {arguments[key]: write for key, write in writers.items() if arguments[key]}

    @staticmethod
    def verdict(fleet: Fleet, fail_on: List[str]) -> List[FleetError]:
        """Why the task fails although all was shown and written."""
        if fleet.nobody_asked:
            return [
                FleetError(
                    "this play looked at none of {0}".format(counted(len(fleet.hosts), "host")),
                    safe="no host was changed",
                    todo="the lines below the table say why; correct the play, its variables or its limit",
                )
            ]
        return [each for each in (_concerned(fleet, fail_on), _untold(fleet, fail_on)) if each]

    def _compare(self, arguments: Mapping[str, Any], trouble: List[FleetError]) -> Optional[Compare]:
        """How the known holes of hosts are found, where anybody wants to know.

        :raises FleetError: for what must not be asked for.
        """
        if not arguments["audit"]:
            return None
        site = paths_of(self, self._vars)
        order = look.order_of(arguments, lambda given: found_input(site, given, os.path.isfile))
        degraded = arguments["audit_degraded"]

        def compare(answers: Mapping[str, Answer]) -> Holes:
            def do() -> Holes:
                return holes.compare(answers, order, degraded, time.time(), lambda text: display.display("  " + text))

            # without a list nothing is known of any host, and the report is shown all the same
            return self._tried(trouble, do) or Holes({}, degraded=degraded)

        return compare

    def _fleet(self, arguments: Mapping[str, Any], trouble: List[FleetError]) -> Fleet:
        sources: Dict[str, Source] = {}
        for name in dict.fromkeys(arguments["hosts"]):
            variables = self.known_of(name)
            sources[name] = Source(variables, variables.get(arguments["result"]))
        return assemble(
            sources,
            self._resolved,
            rings.finder(self.runner, arguments["signers"], arguments["revoked"]),
            addresses.plan_of(arguments["address_plan"]),
            support_of(arguments["support"]),
            time.time(),
            max(0, arguments["backup_max_age"]),
            max(0, arguments["backup_verified_max_age"]),
            self._compare(arguments, trouble),
        )

    def _resolved(self, variables: Mapping[str, Any], name: str) -> str:
        """A variable of a host as text; empty where it is not set, or has no value for want of another one."""
        value = variables.get(name)
        if isinstance(value, str) and "{" in value:
            try:
                value = self._templar.copy_with_new_env(available_variables=variables).template(value)
            except Exception:  # whatever a template can do: the host still has its row
                return ""
        return "" if value is None else str(value).strip()


def _concerned(fleet: Fleet, fail_on: List[str]) -> Optional[FleetError]:
    """The hosts that are in a condition on which the report is to fail."""
    failing = fleet.failing(fail_on)
    if not failing:
        return None
    return FleetError(
        "report_fail_on ({0}): {1} of {2} {3} ({4})".format(
            first_of(fail_on, NAMED),
            len(failing),
            counted(len(fleet.hosts), "host"),
            "is concerned" if len(failing) == 1 else "are concerned",
            first_of(["{0}: {1}".format(host.name, host.condition) for host in failing], NAMED),
        ),
        safe="no host was changed; the report was shown and written",
    )


def _untold(fleet: Fleet, fail_on: List[str]) -> Optional[FleetError]:
    """Whoever wants to hear of hosts that are behind must not take for good what nobody could find out."""
    untold = fleet.untold
    if BEHIND not in fail_on or not untold:
        return None
    return FleetError(
        "report_fail_on ({0}): whether {1} {2} behind cannot be told ({3})".format(
            first_of(fail_on, NAMED),
            counted(len(untold), "host"),
            "is" if len(untold) == 1 else "are",
            first_of([host.name for host in untold], NAMED),
        ),
        safe="no host was changed; the report was shown and written",
        todo="a line below the table says why",
    )
