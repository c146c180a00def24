# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting a host and waiting until it is back; documented in the module of the same name."""

from __future__ import annotations

import time
from typing import Any, Dict

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.restart import DELAY
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import Restart, answer_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._trial import RESTARTING


class ActionModule(ModuleAction):
    """The action."""

    MODULE = "nanozfs.fleet.host_restart"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Restart; the result of the module, with the new start."""
        begun = self.module(arguments)
        if begun.get("failed") or not begun.get("changed") or self._task.check_mode:
            return begun
        self.moves(RESTARTING, "restarts")
        began = time.monotonic()
        waiting = Restart(
            lambda: answer_of(lambda: self.module(dict(arguments, state="seen"))),
            self._connection.reset,
            self._host,
        )
        found = waiting.wait(begun["boot_id"], float(arguments.get("timeout") or 900), DELAY)
        elapsed = int(time.monotonic() - began)
        return dict(begun, boot_id=found["boot_id"], refused=found["refused"], elapsed=elapsed)
