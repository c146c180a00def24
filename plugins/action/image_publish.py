# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing an image on the controller; documented in the module of the same name."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar, Dict, List

from ansible.utils.display import Display

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import release
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.arguments import TERMS, media_of, terms_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import history
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.knowledge import behind
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import found_input, paths_of

display = Display()

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "image": {"type": "path"},
    "name": {"type": "str"},
    "version": {"type": "str"},
    "history": {"type": "path"},
    **TERMS,
}


class ActionModule(ControllerAction):
    """The action."""

    ARGUMENTS = ARGUMENTS
    RULES: ClassVar[Dict[str, Any]] = {"required_one_of": [("image", "name")]}
    LINES = ("vuxml_ignore",)

    @staticmethod
    def _say(text: str) -> None:
        display.display("  {0}".format(text))

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Publish; ``changed`` is false when everything was published before."""
        site = paths_of(self, self._vars)
        for key in ("image", "signing_key"):
            arguments[key] = arguments[key] and site.place(arguments[key], os.path.isfile)
        order = release.Order(
            image=arguments["image"],
            name=arguments["name"],
            version=arguments["version"],
            media=media_of(arguments),
            not_after=arguments["not_after"],
        )
        terms = terms_of(arguments, lambda given: found_input(site, given, os.path.isfile))
        done = release.run(terms, order, self.runner, self._say)
        name = (done.get("image") or {}).get("name") or arguments["name"]
        return dict(done, says=[*done["says"], *self._behind(arguments, str(name), done["rings"])])

    @staticmethod
    def _behind(arguments: Dict[str, Any], name: str, rings: Dict[str, str]) -> List[str]:
        """Who is behind what the rings now should run, by what the last reports knew."""
        if not arguments["history"] or not rings:
            return []
        try:
            past = history.read(arguments["history"])
        except FleetError as error:  # what was published is published
            return ["which hosts are behind is not known: {0}".format(error.what)]
        folder = Folder(arguments["output"])
        there = set(rings.values()) & set(folder.idents())
        return behind(past, name, rings, {ident: folder.manifest(ident).ref for ident in there}, time.time())
