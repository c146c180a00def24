# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which site a host is."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._sites import site_of


@pytest.mark.parametrize(
    ("variables", "site"),
    [
        ({"fleet_site": " paris ", "group_names": ["a", "b"]}, "paris"),
        ({"fleet_site": 7}, "7"),
        ({"fleet_site": "", "group_names": ["site-a"]}, "site-a"),
        ({"group_names": ["site-a", "web"]}, ""),
        ({"group_names": ["ungrouped"]}, ""),
        ({}, ""),
    ],
)
def test_site(variables: Dict[str, Any], site: str) -> None:
    assert site_of(variables) == site
