# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building from source on a build host, with the progress on the screen; documented in the module of the same name.

The module builds in a process of its own on the build host and is asked again and again how far that is. Customise
scripts are brought to it, and the finished archive is fetched.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
from typing import Any, Dict, List, Mapping, Optional

from ansible.errors import AnsibleError
from ansible.module_utils.common.validation import check_type_list

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import build_line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import paths_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._watch import LIVES, WatchingAction


def scripts_of(paths: List[str]) -> List[Dict[str, str]]:
    """Customise scripts by name and content.

    :param paths: files on the controller.
    :raises FleetError: when one cannot be read.
    """
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                content = file.read()
        except (OSError, ValueError) as error:
            raise FleetError(
                "the customise script {0} cannot be read: {1}".format(path, error), safe="nothing was built"
            )
        found.append({"name": re.sub("[^A-Za-z0-9._-]", "_", os.path.basename(path)), "content": content})
    return found


class ActionModule(WatchingAction):
    """The action."""

    MODULE = "nanozfs.fleet.nanobsd_build"

    def variables(self, task_vars: Mapping[str, Any]) -> Dict[str, Any]:
        """Customise scripts are arguments of the module, which would be written into the log of the build host."""
        return dict(task_vars, ansible_no_target_syslog=True)

    def work(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        """Build; the result of the module, with the path of the archive here."""
        dest = arguments.pop("dest", None)
        site = paths_of(self, self._vars)
        scripts = [str(each) for each in check_type_list(arguments.pop("customise", None) or [])]
        arguments["scripts"] = scripts_of([site.need(each, "image_customize", kind=os.path.isfile) for each in scripts])
        if self._task.check_mode:
            result = self.module(arguments)
        else:
            result = self._watch(dict(arguments, reader=self._reader()))
            self._explain(result)
        if dest is not None and not result.get("failed"):
            self._fetch(result, os.path.expanduser(str(dest)))
        return result

    def _reader(self) -> Optional[str]:
        """The user whom the connection logs in as, where root does the work: the archive is fetched without root."""
        if not self._connection.become:
            return None
        try:
            return str(self._connection.get_option("remote_user") or getpass.getuser())
        except (AnsibleError, KeyError):  # a connection without users, local for one
            return getpass.getuser()

    def _watch(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        return self.watch(
            arguments,
            build_line,
            FleetError(
                "the process that looks after the build died {0} times".format(LIVES),
                safe="what ended well is kept",
                todo="look for the reason on the build host (dmesg: out of memory?), then run the play again",
            ),
        )

    def _explain(self, result: Dict[str, Any]) -> None:
        """Show what was done; or the end of the log of the step that failed."""
        for each in result.get("parts", ()):
            self.say("{0}: {1} ({2})".format(each["part"], "built" if each["build"] else "kept", each["reason"]))
        if result.get("failed"):
            for text in [*result.get("errors", ()), "--", *result.get("tail", ())] if result.get("tail") else ():
                self.say(text)

    def _fetch(self, result: Dict[str, Any], dest: str) -> None:
        """Bring the archive here, unless it is.

        :raises FleetError: when it is another one than the build host said.
        """
        result["dest"] = dest
        digest = result.get("sha256")
        if os.path.isfile(dest) and digest_file(dest) == digest:
            return
        result["changed"] = True
        if self._task.check_mode:
            return
        self.say("fetching the tree, {0:.1f} MB".format((result.get("size") or 0) / 1e6))
        partial = dest + ".part"
        try:
            os.makedirs(os.path.dirname(os.path.abspath(dest)), mode=0o700, exist_ok=True)
            # password files are in it, and a connection writes into a file that is there
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            os.chmod(partial, 0o600)
            self._connection.fetch_file(result["archive"], partial)
            os.chmod(partial, 0o600)
            if digest_file(partial) != digest:
                raise FleetError(
                    "the archive that came from the build host is not the one that it has made",
                    safe="{0} is as it was".format(dest),
                    todo="run the play again; it fetches the archive once more",
                )
            os.replace(partial, dest)
        except OSError as error:
            raise FleetError("the archive cannot be put into {0}: {1}".format(dest, error))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
