# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting hosts into waves; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping

        return {
            "changed": False,
            "says": lines,
            "run": run.as_dict(only_told=bool(self._task.check_mode)),
            "ansible_stats": stats({name: self._waits(name, arguments["look"], why) for name, why in run.later.items()}),
        }

    def _waits(self, name: str, look: str, why: str) -> List[Mapping[str, Any]]:
        """Why a host is not begun in this run, as an artefact tells it."""
        story = {"result": words.NOT_BEGUN, "what": why}
        return [each for each in (self.registered(name, look), {"story": story}) if isinstance(each, Mapping)]
