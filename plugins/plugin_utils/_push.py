# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a controller brings files to a target."""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase


class PushingAction(ActionBase):
    """An action that can put files into a folder of the target."""

    #: the module that does the work
    MODULE = ""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def module(self, arguments: Dict[str, Any], task_vars: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        """Run the module."""
        return self._execute_module(module_name=self.MODULE, module_args=arguments, task_vars=task_vars)

    def put(self, folder: str, name: str, content: bytes) -> None:
        """Put a file into a folder of the target that only the user of the play can read."""
        handle, path = tempfile.mkstemp(prefix="nanozfs-push-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            target = self._connection._shell.join_path(folder, name)
            self._transfer_file(path, target)
            self._fixup_perms2([folder, target])
        finally:
            os.unlink(path)
