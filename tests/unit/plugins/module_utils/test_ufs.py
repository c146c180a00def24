# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small UFS reader, against images that makefs made."""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import suppress
from typing import Any, Callable, Dict, Set

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import TYPE_LINK, NotUfs, Ufs

MIB = 1 << 20

#: nothing, within a fragment, a fragment, direct blocks, one indirect block, two levels of them
SIZES = {"empty": 0, "small": 100, "fragment": 4096, "direct": 100001, "indirect": 12 * 32768 + 5, "large": 3 * MIB + 1}


def reader(raw: bytes) -> Callable[[int, int], bytes]:
    def read_at(offset: int, length: int) -> bytes:
        assert offset % 4096 == 0 and length % 4096 == 0, "only whole blocks may be read from a disk device"
        return raw[offset : offset + length]

    return read_at


@pytest.fixture(scope="module", params=["1", "2", "1-small-blocks"])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """An image of each kind, with files of all sizes."""
    folder = tmp_path_factory.mktemp("ufs")
    chance = random.Random(7)
    contents = {}
    for name, size in SIZES.items():
        contents["deep/er/" + name] = bytes(chance.getrandbits(8) for _byte in range(size))
    for number in range(600):  # a directory of several blocks
        contents["many/file-with-a-long-name-{0:04d}".format(number)] = b"%d" % number
    for name, content in contents.items():
        path = os.path.join(str(folder), "tree", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    os.symlink("deep/er/small", os.path.join(str(folder), "tree", "link"))
    link = os.lstat(os.path.join(str(folder), "tree", "link"))
    options = "version={0},bsize={1},fsize={2}".format(
        request.param[0], *((8192, 1024) if request.param.endswith("blocks") else (32768, 4096))
    )
    image = os.path.join(str(folder), "image")
    try:
        subprocess.run(
            [
                "makefs",
                "-t",
                "ffs",
                "-B",
                "little",
                "-o",
                options,
                "-s",
                "24m",
                image,
                os.path.join(str(folder), "tree"),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("makefs is not installed; `make test` installs it")
    with open(image, "rb") as file:
        return {"raw": file.read(), "contents": contents, "version": int(request.param[0]), "link": link}


def test_reads_every_file(made: Dict[str, Any]) -> None:
    ufs = Ufs(reader(made["raw"]))
    assert ufs.superblock.version == made["version"]
    assert ufs.size == 24 * MIB
    for name, content in made["contents"].items():
        assert ufs.read(name) == content, name


def test_knows_what_is_no_file(made: Dict[str, Any]) -> None:
    ufs = Ufs(reader(made["raw"]))
    for name in ("nothing", "deep", "deep/er", "deep/er/small/x", "link", "many/file"):
        assert ufs.read(name) is None, name


def test_says_when_there_is_no_file_system() -> None:
    for raw in (b"", bytes(1 << 17), os.urandom(1 << 17)):
        with pytest.raises(NotUfs):
            Ufs(reader(raw))


def test_a_damaged_file_system_is_an_error_and_not_a_hang(made: Dict[str, Any]) -> None:
    """Bytes flipped anywhere in what is read lead to a refusal, a wrong answer or none; never to another exception."""
    chance = random.Random(11)
    touched: Set[int] = set()

    def noting(offset: int, length: int) -> bytes:
        touched.update(range(offset, offset + length, 512))
        return made["raw"][offset : offset + length]

    Ufs(noting).read("deep/er/small")
    places = sorted(touched)
    for _round in range(300):
        raw = bytearray(made["raw"])
        for _flip in range(3):
            raw[min(len(raw) - 1, chance.choice(places) + chance.randrange(512))] = chance.randrange(256)
        with suppress(NotUfs):
            Ufs(reader(bytes(raw))).read("deep/er/small")


def test_a_truncated_image(made: Dict[str, Any]) -> None:
    with pytest.raises(NotUfs, match="cut off"):
        Ufs(reader(made["raw"][: 2 * MIB])).read("deep/er/large")


def test_walks_over_every_file(made: Dict[str, Any]) -> None:
    """Each file and folder once, and its content where it says."""
    raw = made["raw"]
    found = dict(Ufs(reader(raw)).walk())
    for name, content in made["contents"].items():
        places = found.pop("/" + name)
        assert sum(length for _offset, length in places) == len(content)
        assert b"".join(raw[offset : offset + length] for offset, length in places) == content, name
    assert sorted(found) == ["", "/deep", "/deep/er", "/many"]


def test_a_part_of_it(made: Dict[str, Any]) -> None:
    ufs = Ufs(reader(made["raw"]))
    whole = {path: number for path, number, _inode in ufs.inodes()}
    deep = {path: number for path, number, _inode in ufs.inodes("/deep/er")}
    assert deep == {path[8:]: number for path, number in whole.items() if path.startswith("/deep/er")} and "" in deep
    assert list(ufs.inodes("/nothing/there")) == []
    assert ufs.find("a name\udcff of any bytes") is None


def test_lists_everything_with_what_its_inode_says(made: Dict[str, Any]) -> None:
    raw = made["raw"]
    ufs = Ufs(reader(raw))
    found = {path: inode for path, _number, inode in ufs.inodes()}
    assert sorted(found) == sorted(
        ["", "/deep", "/deep/er", "/link", "/many", *("/" + name for name in made["contents"])]
    )
    for name, content in made["contents"].items():
        inode = found["/" + name]
        assert (inode.size, inode.links) == (len(content), 1) and b"".join(ufs.pieces(inode)) == content
        assert inode == ufs.find(name)
    info = made["link"]
    link = found["/link"]
    assert ufs.link_target(link) == "deep/er/small" and link.mode & 0o170000 == TYPE_LINK
    assert (link.uid, link.gid, link.mtime) == (info.st_uid, info.st_gid, int(info.st_mtime))


def test_walking_a_damaged_file_system_ends(made: Dict[str, Any]) -> None:
    chance = random.Random(13)
    for _round in range(60):
        raw = bytearray(made["raw"])
        for _flip in range(20):
            raw[chance.randrange(1 << 19)] = chance.randrange(256)
        with suppress(NotUfs):
            ufs = Ufs(reader(bytes(raw)))
            for _path, _number, inode in ufs.inodes():
                assert sum(length for _offset, length in ufs.places(inode)) < 1 << 30
                ufs.link_target(inode)
