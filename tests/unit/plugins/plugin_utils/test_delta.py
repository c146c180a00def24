# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deltas between real file systems: small, the same every time, and never wrong."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    COPY,
    LITERAL,
    MAX_REFERENCE,
    NEW,
    PATCH,
    ZERO,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, parse_manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import FolderRepository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Writer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import delta, pack
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import (
    Description,
    Folder,
    artefact_of,
    digest_image,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Press

MIB = 1 << 20
SIZE = 12 * MIB


def tree(folder: str, version: int) -> None:
    """Files of a release: one that stays, one that is relinked, one whose name has the version in it, a new one."""
    chance = random.Random(3)
    files: Dict[str, bytes] = {}
    stays = chance.getrandbits(8 * 2 * MIB).to_bytes(2 * MIB, "little")
    program = bytearray(chance.getrandbits(8 * MIB).to_bytes(MIB, "little"))
    module = bytearray(chance.getrandbits(8 * 300000).to_bytes(300000, "little"))
    if version == 2:
        for at in range(0, len(program), 1500):  # addresses, which a relinked program has everywhere
            program[at] = (program[at] + 16) & 255
        program[500000:500000] = b"inserted"
        module[1000:1010] = b""
        files["a-new-file"] = chance.getrandbits(8 * 20000).to_bytes(20000, "little")
    files["lib/stays"] = stays
    files["bin/program"] = bytes(program)
    files["boot/kernel-13.2-p{0}/module.ko".format(version)] = bytes(module)
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


@pytest.fixture(scope="module", params=["1", "2"])
def images(request: Any, tmp_path_factory: pytest.TempPathFactory) -> List[str]:
    """Two versions of an image with UFS1, and with UFS2."""
    folder = tmp_path_factory.mktemp("delta")
    paths = []
    for version in (1, 2):
        tree(str(folder / str(version)), version)
        path = str(folder / "{0}.img".format(version))
        options = "version={0},bsize=32768,fsize=4096".format(request.param)
        argv = ["makefs", "-t", "ffs", "-B", "little", "-o", options, "-s", str(SIZE), path, str(folder / str(version))]
        try:
            subprocess.run(argv, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("makefs is not installed; `make test` installs it")
        paths.append(path)
    return paths


def publish(paths: List[str], folder: str, kind: str = "delta") -> Any:
    """Publish the second image with a delta from the first."""
    os.makedirs(folder)
    manifests: List[Any] = []
    for number, path in enumerate(paths):
        ident, windows = digest_image(path)
        replace_file(os.path.join(folder, ident + ".win"), windows)
        press = Press(Folder(folder), path, ident, lambda text: None)
        offers = [press.delta("xz", manifests[0], paths[0]) if number else press.pack("xz")]
        identity = Identity("web", str(number), number, 0, "amd64", "x", "tank")
        files = {"windows": artefact_of(folder, ident + ".win")}
        raw = Description(ident, SIZE, identity, "build-{0}".format(number), None, files, offers).encode()
        manifests.append(parse_manifest(raw))
    return manifests[1]


def bring(manifest: Any, folder: str, base: str, target: str) -> str:
    """Make the image out of the delta alone, and give its digest."""
    with open(target, "wb") as file:
        file.truncate(SIZE)
    writer = Writer(FolderRepository(folder), manifest, target, {"build-0": base}, Wishes())
    assert writer.write().notes == ()
    with open(target, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_is_small_and_right(images: List[str], tmp_path: Any) -> None:
    """1.3 MB of files changed; what differs in them is some kilobytes, and the new file."""
    pytest.importorskip("bsdiff4", reason="bsdiff4 has no package for this Python; patches are not made here")
    manifest = publish(images, str(tmp_path / "out"))
    assert bring(manifest, str(tmp_path / "out"), images[0], str(tmp_path / "slice")) == manifest.id
    assert 20000 < manifest.offers[0].data.size < 40000, "the old versions were not found"


def test_without_bsdiff_it_is_larger_and_as_right(images: List[str], tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(delta, "bsdiff4", None)
    assert not delta.has_bsdiff()
    manifest = publish(images, str(tmp_path / "out"))
    assert bring(manifest, str(tmp_path / "out"), images[0], str(tmp_path / "slice")) == manifest.id
    assert 1300000 < manifest.offers[0].data.size < 2 * MIB, "what stays was not copied"


def test_the_same_bytes_every_time(images: List[str], tmp_path: Any, monkeypatch: Any) -> None:
    """However many threads there are."""
    made = []
    for cores in (1, 4):
        monkeypatch.setattr(pack, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(delta, "cores", lambda cores=cores: cores)
        folder = tmp_path / str(cores)
        publish(images, str(folder))
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]


def test_what_is_no_file_system_has_a_delta_as_well(tmp_path: Any) -> None:
    paths = []
    for number in (0, 1):
        content = random.Random(5).getrandbits(8 * 4 * MIB).to_bytes(4 * MIB, "little") + bytes(SIZE - 4 * MIB)
        (tmp_path / str(number)).write_bytes(bytes([number]) + content[1:])
        paths.append(str(tmp_path / str(number)))
    manifest = publish(paths, str(tmp_path / "out"))
    assert bring(manifest, str(tmp_path / "out"), paths[0], str(tmp_path / "slice")) == manifest.id
    assert manifest.offers[0].data.size < 10000


def test_steps() -> None:
    """A run of the old image goes on where it can, so that the map stays short."""
    zero = delta._ZERO
    old = [b"a", b"b", b"c", b"a", b"d", zero]
    assert delta.joined(delta.steps_of(old, [b"a", b"d", b"x", b"b", b"c", b"a", b"d", zero, zero])) == [
        (COPY, 1, 0),
        (COPY, 1, 4),
        (NEW, 1, 0),
        (COPY, 4, 1),
        (ZERO, 2, 0),
    ]


def test_groups_are_whole_windows() -> None:
    window = [(NEW, 1, 0)] * 100 + [(ZERO, 1, 0)] * 156
    frames = list(delta.group(window * 5 + [(ZERO, 1, 0)] * 3))
    assert [start for start, _steps in frames] == [0, 512, 1024]
    assert all(len(steps) % 256 == 0 for _start, steps in frames[:-1])
    assert sum(len(steps) for _start, steps in frames) == 5 * 256 + 3


def test_a_reference_has_a_limit() -> None:
    blocks = list(range(5000))
    contents = delta.Contents({"/large": blocks})
    runs = delta.reference_of(range(0, 5000, 2), contents.owners(), contents, delta.Ancestors(contents), 5000)
    assert 0 < sum(count for _first, count in runs) * GRID <= MAX_REFERENCE


def test_whatever_is_smallest(images: List[str]) -> None:
    pytest.importorskip("bsdiff4", reason="bsdiff4 has no package for this Python; patches are not made here")
    chance = random.Random(1)
    content, other = (chance.getrandbits(8 * 8192).to_bytes(8192, "little") for _each in range(2))
    assert delta._payload(content, content, "xz")[0] == PATCH
    assert delta._payload(content, b"", "xz")[0] == LITERAL
    assert len(delta._payload(content, other, "xz")[1]) < 8192 + 200
