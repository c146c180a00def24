# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing an image, with its progress on the screen of the operator; documented in the module of the same name.

The module writes in a process of its own on the target and is asked again and again how far that is. With ``push`` what
the target needs is brought to it in chunks.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push import PushingAction, Supply, supply_of

display = Display()

#: how often what a push brought may turn out wrong (an old slice that is not what it says) before it gives up
ROUNDS = 3


class ActionModule(PushingAction):
    """The action."""

    MODULE = "nanozfs.fleet.image_write"

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Write; returns the result of the module."""
        result = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", "the target"))
        arguments = dict(self._task.args)
        try:
            if boolean(arguments.get("push", False), strict=False):
                result.update(self._push(arguments))
            elif self._task.check_mode:
                result.update(self._module(arguments))
            else:
                result.update(self._watch(arguments))
        except FleetError as error:
            raise AnsibleActionFail(str(error))
        return result

    def _module(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        return self.module(arguments, self._vars)

    def _say(self, text: str) -> None:
        display.display("  {0}: {1}".format(self._host, text))

    def _watch(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Start or take over a write, and tell how far it is until it is over."""
        interval = int(arguments.get("interval", 5))
        job = None
        while True:
            found = self._module(dict(arguments, detach=True, wait=interval, job=job))
            if found.get("failed") or found.get("finished", True):
                return found
            job = found["job"]
            self._say(line(found["progress"]))

    def _push(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Bring what the target needs, chunk by chunk."""
        supply = supply_of(arguments)
        folder = self._make_tmp_path()
        try:
            for name, content in supply.small_files():
                self.put(folder, name, content)
            here = dict(arguments, repository=folder, image=supply.ident, push=False)
            return self._rounds(supply, folder, here)
        finally:
            self._remove_tmp_path(folder)

    def _rounds(self, supply: Supply, folder: str, here: Dict[str, Any]) -> Dict[str, Any]:
        written = fetched = 0
        notes: List[str] = []
        first: Optional[Dict[str, Any]] = None
        for number in range(ROUNDS):
            plan = self._planned(here if not number else dict(here, deltas=False, fallback="full"))
            first = first or plan
            if plan.get("failed") or self._task.check_mode:
                return plan
            parts: List[Tuple[int, int]] = [(int(part[0]), int(part[1])) for part in plan["ranges"]["parts"]]
            if not parts:
                break
            name = str(plan["ranges"]["file"])
            total = sum(length for _offset, length in parts)
            done = 0
            for offset, length in parts:
                self.put(folder, name + ".part", supply.read(name, offset, length))
                part = {"file": name, "offset": offset, "length": length}
                found = self._module(dict(here, part=part))
                if found.get("failed"):
                    return found
                written, fetched, done = written + found["written"], fetched + length, done + length
                self._say("pushing {0} % of {1:.1f} MB".format(100 * done // total, total / 1e6))
        final = self._watch(here)
        if final.get("failed") or first is None:
            return final
        return dict(
            final,
            changed=bool(final["changed"] or written),
            written=final["written"] + written,
            kept=first["kept"],
            fetched=final["fetched"] + fetched,
            predicted=first["predicted"],
            notes=notes + final["notes"],
            diff=first.get("diff", final.get("diff")),
        )

    def _planned(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """What check mode says."""
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self._module(arguments)
        finally:
            self._task.check_mode = before
