# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building an image on the controller; documented in the module of the same name."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image import build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._publishing import TERMS, media_of, terms_of

display = Display()

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "seq": {"type": "int", "required": True},
    "min_seq": {"type": "int", "default": 0},
    "arch": {"type": "str", "required": True},
    "abi": {"type": "str", "required": True},
    "pool": {"type": "str", "required": True},
    "size": {"type": "int", "required": True},
    "sources": {"type": "list", "elements": "path", "required": True},
    "overlays": {"type": "list", "elements": "path", "default": []},
    "recovery": {"type": "list", "elements": "path", "default": []},
    "signers": {"type": "list", "elements": "str", "required": True},
    "etc_size": {"type": "int", "default": 20971520},
    "epoch": {"type": "int"},
    "revoked": {"type": "list", "elements": "str", "default": []},
    **TERMS,
}

#: 2024-01-01: any fixed time does, as long as it lies before the unpacking of the sources
EPOCH = 1704067200


class ActionModule(ActionBase):
    """The action."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Build; ``changed`` is false when exactly this image was published before."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        runner = Runner(local_execute, check_mode=bool(self._task.check_mode))
        try:
            result.update(build.run(self._definition(arguments), runner, self._say(arguments)))
        except FleetError as error:
            raise AnsibleActionFail(str(error))
        return result

    @staticmethod
    def _say(arguments: Dict[str, Any]) -> build.Say:
        title = "{0}-{1}".format(arguments["name"], arguments["version"])
        return lambda text: display.display("  {0}: {1}".format(title, text))

    @staticmethod
    def _definition(arguments: Dict[str, Any]) -> build.Definition:
        epoch = arguments["epoch"]
        if epoch is None:
            epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
        return build.Definition(
            identity=Identity(
                name=str(arguments["name"]),
                version=str(arguments["version"]),
                seq=arguments["seq"],
                min_seq=arguments["min_seq"],
                arch=str(arguments["arch"]),
                abi=str(arguments["abi"]),
                pool=str(arguments["pool"]),
            ),
            sources=[str(each) for each in arguments["sources"]],
            overlays=[str(each) for each in arguments["overlays"]],
            recovery=[str(each) for each in arguments["recovery"]],
            signers=[str(each) for each in arguments["signers"]],
            revoked=[str(each) for each in arguments["revoked"]],
            terms=terms_of(arguments),
            size=arguments["size"],
            etc_size=arguments["etc_size"],
            epoch=epoch,
            not_after=arguments["not_after"],
            media=media_of(arguments),
        )
