# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding an image; documented in the module of the same name. With ``push`` its manifest is brought to the target."""

from __future__ import annotations

from typing import Any, Dict

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push import PushingAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of


class ActionModule(PushingAction):
    """The action."""

    MODULE = "nanozfs.fleet.image_info"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Look; the result of the module."""
        if not boolean(arguments.get("push", False), strict=False):
            return self.module(arguments)
        supply = supply_of(arguments)
        with self.folder(supply.manifest_files()) as folder:
            return self.module(dict(arguments, repository=folder, image=supply.ident))
