# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public ssh keys in lines of authorized_keys (sshd(8)) and allowed_signers (ssh-keygen(1))."""

from __future__ import annotations

import base64
import re
import struct
from typing import List, NamedTuple, Optional

_KIND = re.compile(r"(sk-)?(ssh|ecdsa)-[a-z0-9.@-]+\Z")
#: a word; options have values in quotation marks, with blanks in them perhaps, and ``\"`` for one of their own
_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^\s"]|"(?![^"]*"))+')


class PublicKey(NamedTuple):
    """A key in a line.

    ``before``: the words that stand before it, principals and options.
    """

    before: List[str]
    kind: str
    blob: str


def _fields(raw: bytes) -> List[bytes]:
    """The fields of a blob; none when one is cut off."""
    found, at = [], 0
    while at + 4 <= len(raw):
        end = at + 4 + struct.unpack_from(">I", raw, at)[0]
        found.append(raw[at + 4 : end])
        at = end
    return found if at == len(raw) else []


def find(line: str) -> Optional[PublicKey]:
    """The public key in a line; ``None`` where there is none, or it is damaged.

    The blob is a row of fields, each with its length before it. The first one is the kind (RFC 4253, 6.6), which must
    be that of the line.
    """
    if line.lstrip().startswith("#"):
        return None  # one that is commented out is no key to anybody
    words = _WORD.findall(line)
    for at, word in enumerate(words[:-1]):
        if _KIND.match(word):
            kind, blob = word.encode("ascii"), words[at + 1]
            try:
                raw = base64.b64decode(blob, validate=True)
            except ValueError:
                return None
            fields = _fields(raw)
            if len(fields) < 2 or fields[0] != kind:
                return None
            return PublicKey(words[:at], word, blob)
    return None
