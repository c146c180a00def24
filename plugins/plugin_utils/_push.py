# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a controller brings files to a target."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Iterable, Iterator, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction


class PushingAction(ModuleAction):
    """An action that can put files into a folder of the target."""

    @contextlib.contextmanager
    def folder(self, files: Iterable[Tuple[str, bytes]]) -> Iterator[str]:
        """A folder of the target with files in it, for as long as it is needed."""
        folder = str(self._make_tmp_path())
        try:
            for name, content in files:
                self.put(folder, name, content)
            yield folder
        finally:
            self._remove_tmp_path(folder)

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
