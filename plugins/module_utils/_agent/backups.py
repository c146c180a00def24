# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""``nanozfs backup``: the host's side of a backup, for backup hosts by way of their key, and for people on the host."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests, exposure, gate, records
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import Exposing
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import gate as receiving
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import look

SERVE, PRUNE = "serve", "prune"

#: what the command does; all but :data:`PRUNE` for one backup host
ACTIONS = (SERVE, gate.BEGIN, gate.END, gate.STATUS, gate.DIGESTS, gate.VERIFIED, PRUNE)


def left_over(runner: Runner, clock: Callable[[], float]) -> List[str]:
    """Take away the snapshots of pulls that a restart has ended; what was done. That it cannot be stops nothing."""
    try:
        return exposure.prune(runner, clock)
    except FleetError as error:
        return ["snapshots of backups stay: {0}".format(error.what)]


class Backups:
    """The command.

    :param clock: seconds since the epoch.
    """

    def __init__(self, runner: Runner, screen: Screen, clock: Callable[[], float]) -> None:
        self.runner = runner
        self.screen = screen
        self.clock = clock

    def run(self, action: str, label: Optional[str]) -> int:
        """Do what is asked for on the host.

        :param label: of a backup host.
        :returns: the exit status.
        :raises FleetError: when it is refused, or fails.
        """
        asked = os.environ.get(gate.ASKED)
        if action == PRUNE:
            self.screen.say(*(exposure.prune(self.runner, self.clock) or ["there is nothing to prune"]))
        elif action == SERVE:
            coming = receiving.asked(asked)  # files that come back, see _restore/gate.py
            if coming is not None:
                return receiving.receive(coming, records.check_label(label or ""), self.clock)
            receiving.refuse_reading(records.check_label(label or ""))
            self._serve(records.check_label(label or ""), gate.asked(asked))
        else:
            self._act(records.check_label(label or ""), action)
        return 0

    def _act(self, label: str, verb: str) -> None:
        """One of the gate's verbs; what a backup host is told is JSON."""
        exposing = Exposing(self.runner, label, self.clock)
        if verb == gate.BEGIN:
            self._tell(exposing.begin().as_dict())
        elif verb == gate.END:
            record, notes = exposing.end(records.said(self.screen.read(records.MOST)))
            self._tell({"record": record.as_dict(), "notes": notes})
        elif verb == gate.DIGESTS:
            wanted = digests.wanted(self.screen.read(digests.LONGEST))
            with exposing.lent() as (shown, notes):
                rows = digests.look(exposing.root, wanted)
            told = {"tag": shown.tag, "begun": shown.begun, "trial": shown.trial, "notes": notes, "files": rows}
            self._tell(told)
        elif verb == gate.VERIFIED:
            found = records.verification(self.screen.read(records.MOST))
            kept = records.Records(Zfs(self.runner), look(self.runner).pool)
            self._tell({"record": kept.verified(label, found).as_dict(), "notes": []})
        else:
            self._tell(exposing.status())

    def _serve(self, label: str, asked: gate.Asked) -> None:
        """What a backup host asks for with its key."""
        if asked.verb != gate.READ:
            self._act(label, asked.verb)
            return
        exposing = Exposing(self.runner, label, self.clock)
        with exposing.locked():
            shown = exposing.shown()
            argv = gate.command(asked, exposing.root)
            exposing.touch(shown)
            exposing.reader()  # rsync has it from here on, and nobody takes the host for idle while it runs
        gate.execute(argv, ENVIRONMENT)

    def _tell(self, found: Dict[str, Any]) -> None:
        self.screen.say(json.dumps(found, sort_keys=True))
