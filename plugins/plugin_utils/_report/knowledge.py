# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts are behind their ring, by what the history knows: for whoever publishes, who asks no host."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import RING
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import natural
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.history import History
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import duration, moment, plain


def followers(past: History, ring: str, name: str) -> Dict[str, Mapping[str, Any]]:
    """The newest lines of the hosts that followed a ring when they were last looked at.

    :param name: of the images.
    """
    found = {}
    for host, lines in past.hosts.items():
        image = lines[-1].get("image")
        if lines[-1].get("wants") == RING + ring and isinstance(image, Mapping) and image.get("name") == name:
            found[host] = lines[-1]
    return found


def behind(past: History, name: str, rings: Mapping[str, str], images: Mapping[str, ImageRef], now: float) -> List[str]:
    """A line for each ring: how many hosts run what they should, and who does not.

    :param rings: the id of the image that each should run.
    :param images: what is published of these, by the id.
    """
    if not past.runs:
        return ["which hosts are behind is not known: there is no report in the history yet (playbook status)"]
    at = int(past.runs[-1]["at"])
    lines = ["by the report of {0}, {1} ago:".format(moment(at), duration(now - at))]
    for ring, ident in sorted(rings.items()):
        those = followers(past, ring, name)
        image = images.get(ident)
        late = [host for host, line in those.items() if not _same(line["image"], ident, image)]
        words = "{0}{1} ({2}): {3} of {4} run it".format(
            RING, ring, image.version if image else ident[:12], len(those) - len(late), counted(len(those), "host")
        )
        names = sorted((plain(host) for host in late), key=natural)
        lines.append(plain(words + ("; behind: {0}".format(first_of(names, 8)) if late else "")))
    return lines


def _same(runs: Mapping[str, Any], ident: str, image: Optional[ImageRef]) -> bool:
    """Whether a host ran that image; by its build where its slices were not hashed."""
    if runs.get("id"):
        return bool(runs["id"] == ident)
    return image is not None and runs.get("build") == image.build
