# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files with tasks that a site wants to be run around the restart into a trial."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import words
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import SitePaths

BEFORE_RESTART, AFTER_COMMIT, AFTER_REVERT = "before_restart", "after_commit", "after_revert"

#: what the tasks of a rollback are called where those of both kinds are given: whoever adopts a trial learns only from
#: the host which it is
ROLLBACK = "rollback_"

#: how a trial ends, by its story, and what is to be run then. Where nobody knows how it stands, nothing is
ENDS = {words.COMMITTED: AFTER_COMMIT, words.REVERTED: AFTER_REVERT, words.NOT_BEGUN: AFTER_REVERT}


def argument(hook: str) -> str:
    """The argument of a module, and the end of the name of a role's variable, that names the file."""
    return hook + "_tasks"


def find(site: SitePaths, arguments: Mapping[str, Any], hooks: Iterable[str], role: str) -> Dict[str, str]:
    """The full paths of the files, by hook; empty for what is not wanted.

    :param role: whose variables are named in messages.
    :raises Refused: when one is missing: better told before anything is done.
    """
    found = {}
    for hook in hooks:
        name = arguments.get(argument(hook))
        variable = "{0}_{1}".format(role, argument(hook))
        found[hook] = site.need(str(name), variable, "tasks", os.path.isfile) if name else ""
    return found
