# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What actions have in common that do all of their work on the controller."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Mapping, Optional, Sequence

from ansible.plugins.action import ActionBase

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import lines_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._inventory import known_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute


class ControllerAction(ActionBase):
    """Arguments, work, and the one place where errors end."""

    #: as a module has it; documented in the module of the same name
    ARGUMENTS: ClassVar[Dict[str, Dict[str, Any]]] = {}
    #: what arguments have to do with each other, ``required_one_of`` and the like
    RULES: ClassVar[Dict[str, Any]] = {}
    #: lists that have an element a line where they are given as text
    LINES: ClassVar[Sequence[str]] = ()

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Do it; the result of the task.

        :raises FleetError: which the task fails with.
        """
        raise NotImplementedError

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """What Ansible calls."""
        result = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        for key in set(self.LINES) & set(self._task.args):
            self._task.args[key] = lines_of(self._task.args[key])
        _validated, arguments = self.validate_argument_spec(argument_spec=self.ARGUMENTS, **self.RULES)
        try:
            result.update(self.work(arguments))
        except FleetError as error:
            result.update(error.details, failed=True, msg=str(error), story=error.story)
        return result

    def known_of(self, host: str) -> Mapping[str, Any]:
        """The variables of a host and what was registered for it; see :func:`_inventory.known_of`."""
        return known_of(self._vars, host)

    @property
    def runner(self) -> Runner:
        """Commands of the controller; its check mode is that of the task."""
        return Runner(local_execute, check_mode=bool(self._task.check_mode))
