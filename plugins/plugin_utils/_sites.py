# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which site a host is."""

from __future__ import annotations

from typing import Any, Mapping


def site_of(variables: Mapping[str, Any]) -> str:
    """The name of a host's site; empty where nothing says it.

    :param variables: those of the host: ``fleet_site``, or else the only group that it is in.
    """
    said = variables.get("fleet_site")
    if said is not None and str(said).strip():
        return str(said).strip()
    groups = [str(name) for name in variables.get("group_names") or [] if name != "ungrouped"]
    return groups[0] if len(groups) == 1 else ""
