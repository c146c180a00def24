# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing images and hosts with the list of known holes; documented in the module of the same name."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar, Dict, List, Tuple

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _fleet_audit
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look, result
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._fleet_audit import System
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import sbom
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import write_file, write_json
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import found_input, paths_of

display = Display()

#: what Ansible takes a terminal for that is none (characters)
NO_TERMINAL = 79


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {
        "repository": {"type": "str"},
        "hosts": {"type": "list", "elements": "str"},
        "result": {"type": "str"},
        "fail": {"type": "list", "elements": "str", "choices": list(result.FAIL), "default": [result.KNOWN]},
        "json": {"type": "path"},
        "metrics": {"type": "path"},
        "vex": {"type": "path"},
        **look.ARGUMENTS,
    }
    RULES: ClassVar[Dict[str, Any]] = {
        "required_one_of": [("repository", "result")],
        "required_by": {"hosts": ("result",)},
    }
    LINES = ("vuxml_ignore",)

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Print the lines as they are, which a callback would fold or quote.

        :raises FleetError: when nothing can be compared; or after all was shown and written, for what it found.
        """
        result.check_fail(arguments["fail"])
        if arguments["vex"]:
            sbom.check_available()
        site = paths_of(self, self._vars)
        order = look.order_of(arguments, lambda given: found_input(site, given, os.path.isfile))
        now = time.time()
        systems, missing = self._systems(arguments)
        audit = _fleet_audit.run(systems, order, now, lambda text: display.display("  {0}".format(text)))
        for line in result.lines(audit, display.columns if display.columns > NO_TERMINAL else 0):
            display.display(line)
        written = self._write(arguments, systems, audit, now)
        why = result.failing(audit, arguments["fail"], missing)
        if why:
            raise FleetError(
                "audit_fail ({0}): {1}".format(", ".join(arguments["fail"]), why),
                safe="nothing was changed; all was shown and written",
                todo=result.advice(audit, arguments["fail"]),
                **_fleet_audit.returned(audit),
            )
        return dict(_fleet_audit.returned(audit), changed=False, written=written)

    def _systems(self, arguments: Dict[str, Any]) -> Tuple[List[System], str]:
        """What is to be audited, and why what is published is not, where it could not be had.

        :raises FleetError: when it is images alone, and they cannot be had.
        """
        systems: List[System] = []
        missing = ""
        if arguments["repository"]:
            where = arguments["repository"]
            if "://" not in where:  # as a build takes image_output
                where = os.path.abspath(os.path.expanduser(where))
            try:
                systems = _fleet_audit.published(where)
            except FleetError as error:
                if not arguments["hosts"]:
                    raise
                missing = error.what
                systems = [_fleet_audit.unknown("(published images)", missing)]
        if arguments["hosts"]:
            results = {name: self.known_of(name).get(arguments["result"]) for name in arguments["hosts"]}
            _fleet_audit.add_hosts(systems, results)
        return systems, missing

    @staticmethod
    def _write(arguments: Dict[str, Any], systems: List[System], audit: result.Audit, now: float) -> List[str]:
        """Write what is asked for; the paths."""
        written = []
        if arguments["json"]:
            write_json(arguments["json"], result.document(audit), "the audit")
            written.append(arguments["json"])
        if arguments["metrics"]:
            write_file(arguments["metrics"], result.metrics(audit, now).encode("utf-8"), "the metrics of the audit")
            written.append(arguments["metrics"])
        if arguments["vex"]:
            written += _fleet_audit.write_vex(arguments["vex"], systems, audit, now)
        return written
