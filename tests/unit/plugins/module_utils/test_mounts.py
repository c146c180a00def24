# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What mount(8) says, of FreeBSD and of Linux."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.mounts import Mount, mounts


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("/dev/gpt/nz-a on / (ufs, local, read-only)", Mount("/dev/gpt/nz-a", "/", "ufs")),
        ("devfs on /dev (devfs)", Mount("devfs", "/dev", "devfs")),
        (
            "tank/a b@x on /var/a on b (zfs, local, read-only)",
            Mount("tank/a b@x", "/var/a on b", "zfs"),
        ),
        ("tank/b@x on /srv/a b type zfs (ro,relatime,xattr,posixacl)", Mount("tank/b@x", "/srv/a b", "zfs")),
        ("gvfsd on /run/x (y) type fuse.gvfsd (rw)", Mount("gvfsd", "/run/x (y)", "fuse.gvfsd")),
    ],
)
def test_lines(line: str, wanted: Mount) -> None:
    assert mounts(Runner(lambda argv, stdin: (0, line + "\nno such line\n", ""))) == [wanted]


def test_of_one_kind() -> None:
    asked: List[Sequence[str]] = []

    def answer(argv: Sequence[str], _stdin: Optional[str]) -> Tuple[int, str, str]:
        asked.append(list(argv))
        return 0, "", ""

    mounts(Runner(answer), "zfs")
    assert asked == [["mount", "-t", "zfs"]]
