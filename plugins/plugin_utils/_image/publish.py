# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing an image: a folder of static files that any HTTP server or file share can hold.

The format is described in docs/image-format.md; the reader of it is module_utils/_image.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    FORMAT,
    GRID,
    MAX_SMALL_FILE,
    WINDOW,
    Manifest,
    parse_index,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import sign
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import INDEX, manifest_name, signature_name
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.layout import Identity


def digest_file(path: str) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(WINDOW), b""):
            total.update(piece)
    return total.hexdigest()


def window_digests(path: str) -> bytes:
    """The SHA-256 of each window of a file, one after the other."""
    with open(path, "rb") as file:
        return b"".join(hashlib.sha256(piece).digest() for piece in iter(lambda: file.read(WINDOW), b""))


Files = Mapping[str, Mapping[str, Any]]


def describe(ident: str, size: int, identity: Identity, build: str, not_after: Optional[int], files: Files) -> bytes:
    """The manifest of an image, in the one form that is signed."""
    manifest = {
        "format": FORMAT,
        "id": ident,
        "size": size,
        "name": identity.name,
        "version": identity.version,
        "build": build,
        "seq": identity.seq,
        "min_seq": identity.min_seq,
        "not_after": not_after,
        "compat": {"arch": identity.arch, "abi": identity.abi, "min_slice": size},
        "grid": GRID,
        "window": WINDOW,
        "files": files,
    }
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("ascii")


def replace_file(path: str, content: bytes) -> None:
    """Write a file so that a reader finds either the old one or the new one."""
    partial = path + ".part"
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


class Folder:
    """A folder where images are published."""

    def __init__(self, path: str) -> None:
        self.path = path

    def full(self, name: str) -> str:
        """Path of a published file."""
        return os.path.join(self.path, name)

    def index(self) -> List[Dict[str, Any]]:
        """The entries of the index."""
        try:
            with open(self.full(INDEX), "rb") as file:
                return [dict(each) for each in parse_index(file.read(MAX_SMALL_FILE + 1))]
        except FileNotFoundError:
            return []

    def find(self, identity: Identity, build: str) -> Optional[Manifest]:
        """What was published of exactly this build, if all of it is still there."""
        for entry in self.index():
            if [entry.get(key) for key in ("name", "version", "build")] != [identity.name, identity.version, build]:
                continue
            try:
                with open(self.full(manifest_name(entry["id"])), "rb") as file:
                    manifest = parse_manifest(file.read(MAX_SMALL_FILE + 1))
            except (OSError, FleetError):
                continue
            sizes = [(self.full(each.name), each.size) for each in manifest.files.values()]
            if all(os.path.isfile(path) and os.path.getsize(path) == size for path, size in sizes):
                return manifest
        return None

    def add(self, runner: Runner, manifest: bytes, key: str, replace_version: bool) -> Manifest:
        """Sign a manifest and put it into the index, after everything that it names is in place.

        :raises FleetError: when the version was published already with other contents.
        """
        parsed = parse_manifest(manifest)
        entries = self.index()
        same = [
            each
            for each in entries
            if each.get("name") == parsed.name and each.get("version") == parsed.version and each["id"] != parsed.id
        ]
        if same and not replace_version:
            raise FleetError(
                "{0}-{1} was published already with other contents (id {2})".format(
                    parsed.name, parsed.version, str(same[0]["id"])[:12]
                ),
                safe="the published image was not changed",
                todo="give the new build another version, or replace the old one with image_replace=true",
            )
        replace_file(self.full(signature_name(parsed.id)), sign(runner, manifest, key))
        replace_file(self.full(manifest_name(parsed.id)), manifest)
        entries = [each for each in entries if each["id"] != parsed.id and each not in same]
        entries.append(
            {
                "id": parsed.id,
                "name": parsed.name,
                "version": parsed.version,
                "build": parsed.build,
                "seq": parsed.seq,
                "arch": parsed.arch,
            }
        )
        entries.sort(key=lambda each: (str(each.get("name")), int(each.get("seq") or 0)))
        index = json.dumps({"format": FORMAT, "images": entries}, indent=1, sort_keys=True) + "\n"
        replace_file(self.full(INDEX), index.encode("ascii"))
        return parsed
