# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing an image on the controller; documented in the module of the same name."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image import release
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._publishing import TERMS, media_of, terms_of

display = Display()

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "image": {"type": "path"},
    "name": {"type": "str"},
    "version": {"type": "str"},
    **TERMS,
}


class ActionModule(ActionBase):
    """The action."""

    @staticmethod
    def _say(text: str) -> None:
        display.display("  {0}".format(text))

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Publish; ``changed`` is false when everything was published before."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec=ARGUMENTS, required_one_of=[("image", "name")]
        )
        runner = Runner(local_execute, check_mode=bool(self._task.check_mode))
        order = release.Order(
            image=arguments["image"],
            name=arguments["name"],
            version=arguments["version"],
            media=media_of(arguments),
            not_after=arguments["not_after"],
        )
        try:
            result.update(release.run(terms_of(arguments), order, runner, self._say))
        except FleetError as error:
            raise AnsibleActionFail(str(error))
        return result
