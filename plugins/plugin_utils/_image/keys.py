# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public ssh keys in lines of authorized_keys (sshd(8)) and allowed_signers (ssh-keygen(1))."""

from __future__ import annotations

import base64
import re
import shlex
import struct
from typing import List, NamedTuple, Optional

_KIND = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9.@-]+\Z")


class PublicKey(NamedTuple):
    """A key in a line.

    ``before``: the words that stand before it, principals and options.
    """

    before: List[str]
    kind: str
    blob: str


def find(line: str) -> Optional[PublicKey]:
    """The public key in a line; ``None`` where there is none, or it is damaged.

    The blob begins with the length and the name of its kind (RFC 4253, 6.6), which must be that of the line.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    for at, word in enumerate(words[:-1]):
        if _KIND.match(word):
            kind, blob = word.encode("ascii"), words[at + 1]
            try:
                raw = base64.b64decode(blob, validate=True)
            except ValueError:
                return None
            if len(raw) < 32 or not raw.startswith(struct.pack(">I", len(kind)) + kind):
                return None
            return PublicKey(words[:at], word, blob)
    return None
