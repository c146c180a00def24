# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bytes of a disk say that it holds; where this machine can, file systems are made by their own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import traces

SIZE = 64 << 20


def held(parts: Dict[int, bytes], size: int = SIZE, sector: int = 512) -> Optional[str]:
    """What a disk holds that is empty but for some bytes. A place below zero is counted from its end."""
    content = bytearray(size)
    for place, part in parts.items():
        begin = place if place >= 0 else size + place
        content[begin : begin + len(part)] = part
    return traces.find(lambda offset, length: bytes(content[offset : offset + length]), size, sector)


@pytest.mark.parametrize(
    "parts, what",
    [
        ({}, None),
        ({1 << 20: b"in the middle of a disk whose labels were cleared"}, None),
        ({-512: b"GEOM::ELI\0\0\0"}, "an encrypted disk (GELI)"),
        ({-512: b"GEOM::MIRROR\0"}, "a disk of a GEOM class (MIRROR)"),
        ({65536 + 1372: (0x19540119).to_bytes(4, "little")}, "a UFS file system"),
        ({8192 + 1372: (0x011954).to_bytes(4, "big")}, "a UFS file system"),
        ({16384: b"\1\1\0\0" + bytes(4) + b"\0\0\0\1"}, "a label of ZFS"),
        ({(256 + 16) << 10: b"\1\1\0\0" + bytes(4) + b"\0\0\0\1"}, "a label of ZFS"),
        ({100: b"?"}, "data at its beginning, of a kind that is not known here"),
        ({-100: b"?"}, "data at its end, of a kind that is not known here"),
        ({510: b"\x55\xaa"}, "a partition table or boot record"),
    ],
)
def test_what_it_holds(parts: Dict[int, bytes], what: Optional[str]) -> None:
    assert held(parts) == what


def test_the_last_sector_of_a_disk_with_large_ones() -> None:
    assert held({-4096: b"GEOM::ELI\0"}, sector=4096) == "an encrypted disk (GELI)"


def test_a_disk_that_is_smaller_than_what_is_looked_at() -> None:
    assert held({}, size=65536) is None and held({-512: b"GEOM::ELI\0"}, size=65536) == "an encrypted disk (GELI)"


@pytest.mark.parametrize(
    "command, what",
    [
        (["mkfs.ext4", "-q", "-F"], "an ext file system"),
        (["mkfs.vfat"], "a FAT file system"),
        (["mkfs.vfat", "-F", "32"], "a FAT file system"),
        (["mkswap"], "swap of Linux"),
        (["makefs", "-t", "ffs", "-o", "version=2", "-s", "16m"], "a UFS file system"),
        (["sgdisk", "--clear"], "a partition table (GPT)"),
    ],
)
def test_what_programs_make(command: List[str], what: str, tmp_path: Path) -> None:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path)
    if program is None:
        pytest.skip("this machine has no {0}".format(command[0]))
    disk = str(tmp_path / "disk")
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    more = [str(tmp_path / "tree")] if command[0] == "makefs" else []
    (tmp_path / "tree").mkdir()
    subprocess.run([program, *command[1:], disk, *more], check=True, capture_output=True)
    with open(disk, "rb") as file:
        content = file.read()
    assert traces.find(lambda offset, length: content[offset : offset + length], len(content)) == what


def test_a_fingerprint_is_of_beginning_end_and_size() -> None:
    def of(content: bytes) -> str:
        return traces.fingerprint(lambda offset, length: content[offset : offset + length], len(content))

    empty = bytes(8 << 20)
    found = {of(empty), of(b"x" + empty[1:]), of(empty[1:] + b"x"), of(empty[512:]), of(empty[: 1 << 20])}
    assert len(found) == 5 and all(len(each) == 12 for each in found)


def test_what_labelclear_leaves_of_a_pool() -> None:
    """A checksum at the end of the second block of each label: the first 16 KiB are left untouched."""
    checksum = (0x210DA7AB10C7A11).to_bytes(8, "little") + b"c" * 32
    size = SIZE + (100 << 10)  # the last label ends where a multiple of its size does
    places = [base + (16 << 10) - 40 for base in (0, 256 << 10, SIZE - (512 << 10), SIZE - (256 << 10))]
    assert held(dict.fromkeys(places, checksum), size) is None
    assert held({**dict.fromkeys(places, checksum), 100: b"?"}, size) == (
        "data at its beginning, of a kind that is not known here"
    )
    assert held({places[0] + 1: checksum}, size) is not None


def test_what_is_read_through_an_encryption_is_random() -> None:
    def read(offset: int, length: int) -> bytes:
        return os.urandom(length)

    assert traces.find(read, SIZE, known_only=True) is None and traces.find(read, SIZE) is not None
