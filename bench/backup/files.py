# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a host's data, always the same, with all that a restore has to keep: ``files.py FOLDER COUNT``.

It is run on the host, by its own Python and without anything else.
"""

from __future__ import annotations

import os
import random
import sys

#: files of a folder
EACH = 200

#: what names have in them, now and then
ODD = (b"\n", b"'", b'"', b"-", b"\xff", b" ", b"$(x)", b"\\", b"*", b"\x1b[31m")

#: bytes of what cannot be compressed that contents are cut from
POOL = 1 << 20


def main(folder: str, count: int) -> None:
    """Make *count* files, links among them."""
    chance = random.Random(2)
    pool = chance.getrandbits(8 * POOL).to_bytes(POOL, "little")
    os.makedirs(folder)
    top = os.fsencode(folder)
    last = b""
    for number in range(count):
        above = os.path.join(top, b"%03d" % (number // EACH))
        if number % EACH == 0:
            os.makedirs(above)
            os.chown(above, number % 1000, number % 77)
        name = b"%06d" % number + (chance.choice(ODD) if number % 10 == 0 else b"")
        path = os.path.join(above, name)
        if number % 50 == 1:
            os.link(last, path)
            continue
        if number % 50 == 2:
            os.symlink(b"../nowhere/" + name, path)
            os.chown(path, number % 1000, number % 77, follow_symlinks=False)
        else:
            # as in a mail spool or a folder of sources: most are small, a few are not
            size = min(int(chance.lognormvariate(6.5, 1.5)), 200000)
            start = chance.randrange(POOL - size)
            with open(path, "wb") as file:
                if number % 500 == 3:
                    file.seek(2 << 20)
                file.write(pool[start : start + size])
            os.chown(path, number % 1000, number % 77)
            os.chmod(path, (0o600, 0o644, 0o755, 0o4755, 0o440)[number % 5])
            if number % 100 == 4:
                os.setxattr(path, "user.remark", b"%d\xff" % number)
            last = path
        moment = 1.5e9 + number
        os.utime(path, (moment, moment), follow_symlinks=False)
    for above, _folders, _files in os.walk(top, topdown=False):
        os.utime(above, (1.5e9, 1.5e9))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
