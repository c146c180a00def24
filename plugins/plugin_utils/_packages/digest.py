# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sums of pkg(8), in all forms in which a catalogue has them.

Source: ``libpkg/pkg_checksum.c`` and ``tests/lib/checksum.c`` of freebsd/pkg.
"""

from __future__ import annotations

import re
from typing import Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Digest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError

#: z-base-32, but with the lowest bits of the first byte first
ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}

#: algorithm, length in bytes and whether it is base32, by the number before the first ``$``
_TYPES: Mapping[str, Tuple[str, int, bool]] = {
    "0": ("sha256", 32, True),
    "1": ("sha256", 32, False),
    "2": ("blake2b", 64, True),
    "5": ("blake2s", 32, True),
}
_HEX = re.compile(r"[0-9a-f]+\Z")


def parse(text: str) -> Digest:
    """The sum of a file as a digest.

    :param text: without a ``$`` SHA-256 as hex; else the number of its type, ``$``, and the sum.
    :raises RepositoryError: when it is none of a file; with a second ``$`` it is that of a record.
    """
    kind, _dollar, value = text.rpartition("$")
    if kind not in ("", *_TYPES):
        raise RepositoryError("{0!r} is no sum of a file that is known here".format(text[:120]))
    algorithm, length, is_base32 = _TYPES[kind or "1"]
    found = _from_base32(value, length) if is_base32 else value if _HEX.match(value) else ""
    if len(found) != 2 * length:
        raise RepositoryError("{0!r} is no sum of a file".format(text[:120]))
    return Digest(algorithm, found)


def _from_base32(text: str, length: int) -> str:
    """The hex of so many bytes; empty where it is not as long."""
    if len(text) != -(-length * 8 // 5) or not set(text) <= set(ALPHABET):
        return ""
    number = sum(_VALUES[letter] << (5 * place) for place, letter in enumerate(text))
    return number.to_bytes(length, "little").hex() if number >> (8 * length) == 0 else ""
