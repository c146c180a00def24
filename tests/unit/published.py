# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two small images and everything that is published of them, without a file system in them and without signatures."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any, Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, Manifest, Offer, parse_manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import FolderRepository, Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Progress, Writer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import (
    Description,
    Folder,
    artefact_of,
    digest_image,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Press

MIB = 1 << 20
#: not a whole number of windows
SIZE = 5 * MIB + 3 * GRID


def contents() -> Dict[str, bytes]:
    """An old and a new image: the new one has parts of the old at other places, changed parts, new and empty ones."""
    chance = random.Random(1)
    old = bytearray(chance.getrandbits(8 * 2 * MIB).to_bytes(2 * MIB, "little")) * 2
    old += bytes(SIZE - len(old))
    for at in range(0, 2 * MIB, 5000):  # the second half of it is not just a copy of the first
        old[2 * MIB + at] ^= 85
    new = bytearray(old)
    new[GRID * 7 : GRID * 7] = chance.getrandbits(8 * 3 * GRID).to_bytes(3 * GRID, "little")
    del new[SIZE:]
    for at in range(MIB, MIB + 300000, 777):
        new[at] = (new[at] + 3) & 255
    new[4 * MIB + GRID : 4 * MIB + 2 * GRID] = b"\1" * GRID
    return {"1.0": bytes(old), "1.1": bytes(new)}


class Published:
    """The images in a folder.

    :ivar manifest: of the new one, with a pack and a delta from the old one.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.contents = contents()
        self.paths = {version: os.path.join(folder, version + ".img") for version in self.contents}
        self.repository = os.path.join(folder, "images")
        self._manifests = os.path.join(folder, "{0}.json")
        if not os.path.exists(self.repository):
            self._make()
        self.old, self.manifest = (self._read(version) for version in ("1.0", "1.1"))

    def _make(self) -> None:
        os.mkdir(self.repository)
        for version, content in self.contents.items():
            with open(self.paths[version], "wb") as file:
                file.write(content)
        old = self._publish("1.0", 10, None)
        self._publish("1.1", 11, old)

    def _read(self, version: str) -> Manifest:
        with open(self._manifests.format(version), "rb") as file:
            return parse_manifest(file.read())

    def _publish(self, version: str, seq: int, base: Optional[Manifest]) -> Manifest:
        ident, windows = digest_image(self.paths[version])
        replace_file(os.path.join(self.repository, ident + ".win"), windows)
        said: List[str] = []
        press = Press(Folder(self.repository), self.paths[version], ident, said.append)
        offers = [press.pack("xz")]
        if base is not None:
            offers.append(press.delta("xz", base, self.paths[base.version]))
        identity = Identity("web", version, seq, 0, "amd64", "FreeBSD:13:amd64", "tank")
        files = {"windows": artefact_of(self.repository, ident + ".win")}
        raw = Description(ident, SIZE, identity, "build-" + version, None, files, offers).encode()
        replace_file(self._manifests.format(version), raw)
        return parse_manifest(raw)

    def offer(self, kind: str) -> Offer:
        """The pack or the delta of the new image."""
        return next(offer for offer in self.manifest.offers if offer.kind == kind)

    def file(self, name: str) -> str:
        """Path of a published file."""
        return os.path.join(self.repository, name)

    def target(self, content: Optional[bytes] = None) -> str:
        """A slice, with something in it."""
        path = os.path.join(self.folder, "slice")
        with open(path, "wb") as file:
            file.write(content if content is not None else b"\xff" * SIZE)
            file.write(b"behind the image")
        return path

    def writer(
        self,
        target: str,
        repository: Optional[Repository] = None,
        told: Optional[List[Progress]] = None,
        manifest: Optional[Manifest] = None,
        base: Optional[str] = None,
        **wishes: Any,
    ) -> Writer:
        """A writer that brings the new image to a slice of a host that runs the old one."""
        heard = told if told is not None else []

        class Listening(Writer):
            def _tell(self, phase: str, done: int) -> None:
                super()._tell(phase, done)
                heard.append(self.progress())

        return Listening(
            repository or FolderRepository(self.repository),
            manifest or self.manifest,
            target,
            {"build-1.0": base or self.paths["1.0"]},
            Wishes(**wishes),
        )

    def is_right(self, target: str) -> bool:
        """Whether a slice holds the new image, and what was behind it is still there."""
        with open(target, "rb") as file:
            content = file.read()
        return hashlib.sha256(content[:SIZE]).hexdigest() == self.manifest.id and content[SIZE:] == b"behind the image"
