# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables that the role `backup` makes of others; on the Pythons of targets there is no Ansible to make them."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest
import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader

ROLE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "roles", "backup")


def of_role(*path: str) -> Any:
    with open(os.path.join(ROLE, *path), encoding="utf-8") as file:
        return yaml.safe_load(file)


def made(text: str, variables: Dict[str, Any]) -> Any:
    """What Ansible makes of a text with variables that may have some in them."""
    trusted = getattr(template, "trust_as_template", str)  # from ansible-core 2.19 on
    values = {key: trusted(each) if isinstance(each, str) else each for key, each in variables.items()}
    return template.Templar(loader=DataLoader(), variables=values).template(trusted(text))


@pytest.mark.parametrize(
    ("reached", "ready", "pulled"),
    [
        (["web-1", "web-2"], ["web-1", "web-2", "web-3"], ["web-1", "web-2"]),
        (["web-1", "left-out"], ["web-1", "web-2"], ["web-1"]),  # backup_method: none
        ([], ["web-1", "web-2"], []),
    ],
)
def test_who_is_pulled_at_once(reached: List[str], ready: List[str], pulled: List[str]) -> None:
    text = of_role("vars", "main.yml")["backup_pullable"]
    assert made(text, {"backup_reached": reached, "backup_told": {"ready": ready}}) == pulled


def test_what_is_wrong_is_said_by_whom() -> None:
    """A backup host that is down, or has no such program, is not taken for one that has found all well."""
    results = [
        {"item": "v1", "unreachable": True, "msg": "Failed to connect"},
        {"item": "v2", "rc": 1, "stdout": "web-1: VERIFICATION FAILED: x", "stderr": ""},
        {"item": "v3", "rc": 0, "stdout": "web-1: verified: x", "stderr": ""},
        {"item": "v4", "rc": 2, "stdout": "", "stderr": "", "msg": "No such file or directory"},
        {"item": "v5", "skipped": True},
        {"item": "v6", "rc": 3, "stdout": "", "stderr": "nanozfs-backup: no\n"},
    ]
    task = of_role("tasks", "verify.yml")[-1]
    said = made(task["ansible.builtin.fail"]["msg"], {"backup_verify_found": {"results": results}, **task["vars"]})
    assert said.split("\n") == [
        "by v1: not verified: Failed to connect",
        "by v2: web-1: VERIFICATION FAILED: x",
        "by v4: not verified: No such file or directory",
        "by v6: nanozfs-backup: no",
    ]
    for good in ([results[2]], [results[4]]):
        assert made(task["vars"]["backup_verify_bad"], {"backup_verify_found": {"results": good}, **task["vars"]}) == []
