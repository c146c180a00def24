# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables that the role `backup` makes of others; on the Pythons of targets there is no Ansible to make them."""

from __future__ import annotations

import os
from typing import List

import pytest
import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader

ROLE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "roles", "backup", "vars", "main.yml")


@pytest.mark.parametrize(
    ("reached", "ready", "pulled"),
    [
        (["web-1", "web-2"], ["web-1", "web-2", "web-3"], ["web-1", "web-2"]),
        (["web-1", "left-out"], ["web-1", "web-2"], ["web-1"]),  # backup_method: none
        ([], ["web-1", "web-2"], []),
    ],
)
def test_who_is_pulled_at_once(reached: List[str], ready: List[str], pulled: List[str]) -> None:
    with open(ROLE, encoding="utf-8") as file:
        text = yaml.safe_load(file)["backup_pullable"]
    variables = {"backup_reached": reached, "backup_told": {"ready": ready}}
    trusted = getattr(template, "trust_as_template", str)  # from ansible-core 2.19 on
    assert template.Templar(loader=DataLoader(), variables=variables).template(trusted(text)) == pulled
