# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ours: what image_publish publishes, and what image_write does with it."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import List, Sequence

from ansible_collections.nanozfs.fleet.bench.image.contender import Command, Contender, Pair, target
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec, frames, patch, varint, windows
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import delta, maps, pack

#: what decides about the bytes that are published
CODE = (codec, frames, patch, varint, windows, delta, maps, pack)


class Ours(Contender):
    """A signed manifest, and a delta from the image that the host runs."""

    name, title = "ours", "ours, delta"
    needs = ("openssh-client",)
    note = "publishes the old image as well, and tries everything; the client verifies a signature and reads all back"
    codec = codec.XZ
    deltas = 1

    def recipe(self) -> str:
        total = hashlib.sha256()
        for module in CODE:
            with open(str(module.__file__), "rb") as file:
                total.update(file.read())
        return total.hexdigest()

    def _python(self, module: str, *arguments: str) -> Command:
        return [sys.executable, "-m", "{0}.{1}".format(__package__, module), *arguments]

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        images = [pair.old, pair.new] if self.deltas else [pair.new]
        return [self._python("publisher", folder, self.codec, str(self.deltas), image) for image in images]

    def prepare(self, pair: Pair, folder: str, work: str) -> List[Command]:
        """A slice with room for the image and nothing in it, and the keys that the running image trusts."""
        megabytes = str(os.path.getsize(pair.new) >> 20)
        signers = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(folder))), "signers")
        room = ["dd", "if=/dev/zero", "of=" + target(work), "bs=1M", "count=" + megabytes, "status=none"]
        return [["cp", signers, work], room]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        signers = os.path.join(work, "signers")
        bases = [pair.old] if self.deltas else []
        return [self._python("client", url, pair.new_id, signers, target(work), *bases)]


class OursPack(Ours):
    """For a host that has nothing which helps."""

    name, title = "ours-pack", "ours, full pack"
    note = "no delta: a host that runs something else"
    deltas = 0


class OursZstd(Ours):
    """For hosts whose Python has zstd."""

    name, title = "ours-zstd", "ours, delta, zstd"
    codec = codec.ZSTD
    slow = True


CONTENDERS: Sequence[Contender] = (Ours(), OursPack(), OursZstd())
