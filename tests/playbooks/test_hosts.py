# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts a play is for: never a backup host, however they are named, as that is no host of the fleet."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
from typing import Any, List, Set

import pytest

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

INVENTORY = """
all:
  children:
    site-a: {hosts: {web-1: {}, web-2: {}}}
    canary: {hosts: {web-1: {}}}
"""
BACKUP = "    backup: {hosts: {vault: {}}}\n"


def of_fleet() -> List[str]:
    """The playbooks whose first play is for the hosts of the fleet."""
    found = []
    for path in sorted(glob.glob(os.path.join(CHECKOUT, "playbooks", "*.yml"))):
        with open(path, encoding="utf-8") as file:
            first = re.search(r"(?m)^  hosts: (.*)$", file.read())
        if first and "fleet_hosts" in first.group(1):
            found.append(os.path.basename(path)[:-4])
    return found


def hosts(folder: Any, playbook: str, inventory: str, given: str) -> Set[str]:
    """The hosts of the first play."""
    (folder / "inventory.yml").write_text(inventory, encoding="utf-8")
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
            *("-i", "inventory.yml", "--list-hosts", "nanozfs.fleet." + playbook),
            *(("-e", given) if given else ()),
        ],
        cwd=folder,
        env=dict(os.environ, ANSIBLE_NOCOLOR="1", HOME=str(folder), LC_ALL="C.UTF-8"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"(?m)^ {6}(\S+)$", done.stdout.split("play #2")[0]))


@pytest.mark.parametrize("playbook", of_fleet())
def test_all_are_all_of_the_fleet(playbook: str, tmp_path: Any) -> None:
    assert hosts(tmp_path, playbook, INVENTORY + BACKUP, "fleet_hosts=all") == {"web-1", "web-2"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", {"web-1", "web-2"}),
        ("fleet_hosts=web-1,vault", {"web-1"}),
        ("fleet_hosts=all:!canary", {"web-2"}),
        ('{"fleet_hosts": ["web-2", "vault"]}', {"web-2"}),
    ],
)
@pytest.mark.parametrize("backup", [BACKUP, ""])
def test_however_they_are_named(given: str, wanted: Set[str], backup: str, tmp_path: Any) -> None:
    assert hosts(tmp_path, "status", INVENTORY + backup, given) == wanted


def test_most_playbooks_are_for_the_fleet() -> None:
    assert {"status", "upgrade", "deploy", "restore"} <= set(of_fleet())
