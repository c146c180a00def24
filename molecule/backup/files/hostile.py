# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes files that are hard to back up: ``hostile.py FOLDER``."""

from __future__ import annotations

import os
import random
import sys

#: incompressible, so that a line is busy with it (bytes)
BULK = 6 << 20

NAMES = (
    b"new\nline",
    b"quote'and\"more",
    b"-rf",
    b"--delete",
    b"inva\xff\xfelid",
    b" blank ",
    b"$(touch pwned)",
    b"back\\slash",
    b"*",
    b"\x1b[31mred",
)


def main(folder: str) -> None:
    """Make them."""
    os.makedirs(folder)
    os.chdir(folder)
    for number, name in enumerate(NAMES):
        with open(name, "wb") as file:
            file.write(name * number)
        os.chmod(name, 0o600 + number)
        os.chown(name, 1000 + number, 2000 + number)
    os.mkdir(b"folder\n")
    os.link(b"-rf", b"folder\n/linked")
    os.symlink(b"nowhere\n\xff", b"symlink")
    with open("hole", "wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    os.setxattr("hole", "user.remark", b"\x00\xff")
    with open("bulk", "wb") as file:
        file.write(random.Random(1).getrandbits(8 * BULK).to_bytes(BULK, "little"))
    for folder_, _folders, names in os.walk("."):
        for name in [*names, "."]:
            os.utime(os.path.join(folder_, name), (1e9, 1e9), follow_symlinks=False)


main(sys.argv[1])
