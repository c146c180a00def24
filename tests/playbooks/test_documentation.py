# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation as ansible-doc gives it, whichever ansible-core this runs with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT


def names(*folder: str) -> List[str]:
    """What is in a folder, by the names that plays use."""
    found = os.listdir(os.path.join(CHECKOUT, *folder))
    return sorted("nanozfs.fleet." + name.partition(".")[0] for name in found if name[0] not in "_.")


def documentation(*arguments: str) -> Dict[str, Any]:
    """What ansible-doc says, which must have nothing to complain of: it only warns of what it cannot read.

    From ansible-core 2.20 on it warns of a collection of its own.
    """
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "ansible-doc"), "--json", *arguments],
        env=dict(os.environ, LC_ALL="C.UTF-8", ANSIBLE_NOCOLOR="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    warnings = [line for line in done.stderr.splitlines() if "/ansible/_internal/ansible_collections/" not in line]
    assert (done.returncode, warnings) == (0, [])
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind, folder", [("module", ("plugins", "modules")), ("role", ("roles",))])
def test_documentation_of_everything(kind: str, folder: List[str]) -> None:
    assert sorted(documentation("-t", kind, "--list", "nanozfs.fleet")) == names(*folder)
    found = documentation("-t", kind, *names(*folder))
    assert sorted(found) == names(*folder)
    for name, said in found.items():
        assert said["doc"]["short_description"] if kind == "module" else said["entry_points"], name
