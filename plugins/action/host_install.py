# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a host itself; documented in the module of the same name.

What the site gives the host, files and folders of the controller too, goes to the module in one argument: it is one
call, nothing in it is taken for a template or for JSON once more, and no log shows it.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry, given, merged, pack
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._known_hosts import introduce
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_files import folder_entries
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._variables import plain

#: what is packed, and what it must be
PACKED = {"rc_conf": dict, "authorized_keys": list, "files": dict, "folders": list}


class ActionModule(ModuleAction):
    """The action."""

    MODULE = "nanozfs.fleet.host_install"

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Pack, and run the module; its result."""
        parts = {key: self._part(arguments.pop(key, None), key) for key in PACKED}
        if arguments.get("state") != "up":
            entries = given(parts["files"]) + self._folders(parts["folders"])
            more = {key: parts[key] for key in ("rc_conf", "authorized_keys")}
            arguments["packed"] = pack(merged(entries), more)
        result = self.module(arguments)
        if result.get("ssh_host_key") and boolean(arguments.get("known_hosts", True), strict=False):
            introduce(local_execute, self._connection, str(result["ssh_host_key"]), result)
        return result

    @staticmethod
    def _part(value: Any, key: str) -> Any:
        kind, value = PACKED[key], plain(lines_of(value) if PACKED[key] is list else value)
        if value is None:
            return kind()
        if not isinstance(value, kind):
            raise Refused(
                "deploy_{0} must be a {1}".format(key, "list" if kind is list else "mapping"),
                safe="nothing was changed",
            )
        return value

    def _folders(self, names: List[Any]) -> List[Entry]:
        """The files of folders."""
        site = paths_of(self, self._vars)
        found: List[Entry] = []
        for name in names:
            found += folder_entries(site.need(str(name), "deploy_folders", kind=os.path.isdir), str(name))
        return found
