# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far the configuration of hosts has drifted: of each, and of all together."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.drift import STALE
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.facts import DRIFT, Files, Known
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import NAMED

UNSAVED = "unsaved"


def _names(files: Files) -> str:
    shown = list(files.paths[:NAMED])
    more = files.count - len(shown)
    return ", ".join(shown) + (" and {0} more".format(more) if more else "")


def remarks(known: Known) -> List[str]:
    """What there is to say of a host: of the rest nobody has to do anything."""
    found = known.drift or {}
    lines = []
    for kind, words in (
        (UNSAVED, "not saved in /etc, a restart would take it: {0}"),
        (STALE, "made against another image, what is new in this one is hidden: {0}"),
    ):
        files = found.get(kind)
        if files and files.count:
            lines.append(words.format(_names(files)))
    return lines


def entry(known: Known) -> Optional[Dict[str, Any]]:
    """The part of a host in the document; ``None`` where it has not said it."""
    if known.drift is None:
        return None
    return {kind: {"count": each.count, "paths": list(each.paths)} for kind, each in known.drift.items()}


def total(hosts: Iterable[Optional[Known]]) -> Dict[str, Dict[str, int]]:
    """Of each kind how many hosts have such files, and how many files that are."""
    said = [each.drift for each in hosts if each is not None and each.drift is not None]
    return {
        kind: {"hosts": sum(each[kind].count > 0 for each in said), "files": sum(each[kind].count for each in said)}
        for kind in DRIFT
    }


def remark(totals: Dict[str, Dict[str, int]]) -> List[str]:
    """The same as a line for people; none where nothing is to be done."""
    parts = [
        "{0} with {1} {2}".format(counted(each["hosts"], "host"), counted(each["files"], "file"), words)
        for each, words in (
            (totals[UNSAVED], "changed in /etc and not saved"),
            (totals[STALE], "of /cfg that hide what is new in the image"),
        )
        if each["hosts"]
    ]
    return ["configuration: " + ", ".join(parts)] if parts else []
