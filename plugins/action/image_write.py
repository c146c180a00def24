# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing an image, with its progress on the screen of the operator; documented in the module of the same name.

The module writes in a process of its own on the target and is asked again and again how far that is. With ``push`` what
the target needs is brought to it in chunks.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import duration, figures, line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import Supply, supply_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._sites import site_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._turns import Turns
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._watch import LIVES, WatchingAction

#: how often what a push brought may turn out wrong (an old slice that is not what it says) before it gives up
ROUNDS = 6

#: seconds between two looks whether it is a host's turn
BETWEEN = 1.0


def _number(arguments: Mapping[str, Any], name: str, default: int) -> int:
    """A number of the task, which may be text.

    :raises Refused: when it is none.
    """
    value = arguments.get(name)
    if value is None or value == "":
        return default
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise Refused("{0} must be a whole number, and is {1!r}".format(name, value), safe="nothing was written")
    return number


class ActionModule(WatchingAction):
    """The action."""

    MODULE = "nanozfs.fleet.image_write"
    SILENT = "only the slice that does not run is written to; what was begun on the host goes on by itself"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Write; the result of the module."""
        if self._task.check_mode:
            return self._work(arguments)
        limit = _number(arguments, "site_limit", 0)
        if not limit:
            return self._work(arguments)
        site = site_of(self._vars)
        home = str(constants.config.get_config_value("ANSIBLE_HOME"))
        turns = Turns(os.path.join(home, "nanozfs-turns"), "site " + site, limit)
        waited = self._wait(turns, arguments, "of {0}".format(site) if site else "without a site")
        if isinstance(waited, dict):
            return waited
        try:
            return self._work(arguments)
        finally:
            os.close(waited)

    def _wait(self, turns: Turns, arguments: Dict[str, Any], whose: str) -> Union[int, Dict[str, Any]]:
        """Wait for this host's turn; what ends it when it is closed. Or the failure of the module, where another play
        has taken over meanwhile.

        :param whose: the other hosts, for people.
        """
        begun = heard = time.monotonic()
        pause = max(_number(arguments, "lease_seconds", 600) / 3, 1)
        said = False
        while True:
            turn = turns.take(self._host)
            if turn is not None:
                if said:
                    self.say("its turn has come, after {0}".format(duration(int(time.monotonic() - begun))))
                return turn
            if not said:
                holders = ", ".join(str(each) for each in turns.holders())
                self.say("waits: hosts {0} that write already (fleet_site_limit): {1}".format(whose, holders))
                said = True
            if arguments.get("lease") and time.monotonic() - heard > pause:
                heard = time.monotonic()
                held = {"state": "held", "lease": arguments["lease"], "pool": arguments.get("pool")}
                found = self.module(held, "nanozfs.fleet.transaction")
                if found.get("failed"):
                    return found
            time.sleep(BETWEEN)

    def _work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Write; the result of the module."""
        if boolean(arguments.get("push", False), strict=False):
            return self._push(arguments)
        return self.module(arguments) if self._task.check_mode else self._watch(arguments)

    def _watch(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Start or take over a write, and tell how far it is until it is over.

        :raises FleetError: when the process that writes dies again and again.
        """
        return self.watch(
            arguments,
            line,
            FleetError(
                "the process that writes the image died {0} times".format(LIVES),
                safe="the slice has no boot flags; what was written is kept",
                todo="look for the reason on the host (dmesg: out of memory?), then run the play again",
            ),
            figures,
        )

    def _push(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Bring what the target needs, chunk by chunk."""
        supply = supply_of(arguments)
        with self.folder(supply.small_files()) as folder:
            here = dict(arguments, repository=folder, image=supply.ident, push=False)
            return self._rounds(supply, folder, here)

    def _rounds(self, supply: Supply, folder: str, here: Dict[str, Any]) -> Dict[str, Any]:
        """Bring what is missing until nothing is; then have all of it read back."""
        written = fetched = 0
        notes: List[str] = []
        first: Optional[Dict[str, Any]] = None
        before: List[Any] = []
        for _number in range(ROUNDS):
            plan = self._planned(here)
            if not plan.get("failed") and plan.get("finished") is False:  # an earlier write is at work
                if self._task.check_mode:
                    return plan
                self._watch(here)
                plan = self._planned(here)
            first = first or plan
            if plan.get("failed") or self._task.check_mode:
                return plan
            notes += [note for note in plan["notes"] if note not in notes]
            parts = plan["ranges"]["parts"]
            if not parts:
                break
            if parts == before:  # what was brought did not help: the old slice is not what it says
                here = dict(here, deltas=False)
                before = []
                continue
            before = parts
            for offset, length in self._chunks(parts):
                name = str(plan["ranges"]["file"])
                if length:
                    self.put(folder, name + ".part", supply.read(name, offset, length))
                part = {"file": name, "offset": offset, "length": length}
                found = self.module(dict(here, part=part))
                if found.get("failed"):
                    return found
                written, fetched = written + found["written"], fetched + length
        final = self._watch(here)
        if final.get("failed") or first is None:
            return final
        notes += [note for note in final["notes"] if note not in notes]
        return dict(
            final,
            changed=bool(final["changed"] or written),
            written=final["written"] + written,
            kept=first["kept"],
            fetched=final["fetched"] + fetched,
            predicted=first["predicted"],
            notes=notes,
            diff=first.get("diff", final.get("diff")),
        )

    def _chunks(self, parts: List[Any]) -> Iterator[Tuple[int, int]]:
        """The parts, with a line about each; and an empty one for everything that nothing has to be brought for."""
        total = sum(int(length) for _offset, length in parts)
        done = 0
        for offset, length in parts:
            yield int(offset), int(length)
            done += int(length)
            percent = 100 * done // total
            size = "{0:.1f} MB".format(total / 1e6)
            self.moves("pushing", "pushed {0} % of {1}".format(percent, size), percent=percent, note="of " + size)
        yield 0, 0

    def _planned(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """What check mode says."""
        before = self._task.check_mode
        self._task.check_mode = True
        try:
            return self.module(arguments)
        finally:
            self._task.check_mode = before
