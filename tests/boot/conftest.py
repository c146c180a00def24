# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import shutil
from typing import Iterator

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import Ground, Stage


def _lacking() -> str:
    if os.geteuid() != 0:
        return "the early boot needs root (namespaces, mounts)"
    missing = [name for name in ("unshare", "mount", "lua5.4") if shutil.which(name) is None]
    return "this machine has no {0}; tools/setup installs it".format(", ".join(missing)) if missing else ""


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """What stages stand on, once for each process."""
    lacking = _lacking()
    if lacking:
        pytest.skip(lacking)
    made = Ground()
    yield made
    made.close()


@pytest.fixture
def stage(ground: Ground, request: pytest.FixtureRequest) -> Stage:
    """A host with a medium and three data disks, without a pool; the medium of tests marked ``mbr`` has an MBR."""
    mbr = request.node.get_closest_marker("mbr") is not None
    return Stage(ground, re.sub(r"\W+", "-", request.node.name)[:60] + ("-mbr" if mbr else ""), mbr=mbr)
