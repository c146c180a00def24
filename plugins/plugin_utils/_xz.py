# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressing for hosts: xz with the settings that liblzma of FreeBSD's base system decodes."""

from __future__ import annotations

import lzma
from typing import List, Sequence


def compress_xz(data: bytes, filters: Sequence[dict]) -> bytes:
    """One xz stream, which says itself how it is to be unpacked."""
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=list(filters))


def filters(size: int, machine_code: bool = False, preset: int = 6) -> List[dict]:
    """Settings of liblzma for *size* bytes. All of it is decoded by the liblzma of FreeBSD's base system.

    :param machine_code: make the targets of x86 jumps absolute first, which compresses programs better.
    """
    dictionary = max(1 << 16, 1 << (max(size, 1) - 1).bit_length())
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": min(dictionary, 4 << 20)}
    return ([{"id": lzma.FILTER_X86}] if machine_code else []) + [lzma2]
