# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing an image: a folder of static files that any HTTP server or file share can hold.

The format is described in docs/image-format.md; the reader of it is module_utils/_image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    CHANNEL_NAMESPACE,
    FORMAT,
    GRID,
    MAX_SMALL_FILE,
    WINDOW,
    Artefact,
    Manifest,
    Offer,
    channel_name,
    parse_channel,
    parse_index,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import sign
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import INDEX, manifest_name, signature_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.windows import encode, hint_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.layout import Identity


def digest_file(path: str) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(WINDOW), b""):
            total.update(piece)
    return total.hexdigest()


def digest_image(path: str) -> Tuple[str, bytes]:
    """The id of an image, and the file with the digests of its windows, in one reading."""
    total = hashlib.sha256()
    digests, hints = [], []
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(WINDOW), b""):
            total.update(piece)
            digests.append(hashlib.sha256(piece).digest())
            hints.append(hint_of(piece))
    return total.hexdigest(), encode(digests, hints)


def artefact_of(folder: str, name: str) -> Artefact:
    """What a manifest says of a published file."""
    path = os.path.join(folder, name)
    return Artefact(name, os.path.getsize(path), digest_file(path))


def _entry(artefact: Artefact) -> Dict[str, Any]:
    return {"name": artefact.name, "size": artefact.size, "sha256": artefact.sha256}


def _offer(offer: Offer) -> Dict[str, Any]:
    entry: Dict[str, Any] = {"codec": offer.codec, "map": _entry(offer.map), "data": _entry(offer.data)}
    if offer.base is not None:
        entry.update(base=offer.base, build=offer.build, version=offer.version)
    return entry


@dataclass(frozen=True)
class Description:
    """Everything that a manifest says. Sizes in bytes, ``not_after`` in seconds since the epoch."""

    ident: str
    size: int
    identity: Identity
    build: str
    not_after: Optional[int]
    files: Mapping[str, Artefact]
    offers: Sequence[Offer]

    def encode(self) -> bytes:
        """The manifest in the one form that is signed."""
        identity = self.identity
        manifest = {
            "format": FORMAT,
            "id": self.ident,
            "size": self.size,
            "name": identity.name,
            "version": identity.version,
            "build": self.build,
            "seq": identity.seq,
            "min_seq": identity.min_seq,
            "not_after": self.not_after,
            "compat": {"arch": identity.arch, "abi": identity.abi, "min_slice": self.size},
            "grid": GRID,
            "window": WINDOW,
            "files": {kind: _entry(artefact) for kind, artefact in self.files.items()},
            "offers": [_offer(offer) for offer in self.offers],
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
                manifest = self.manifest(entry["id"])
            except FleetError:
                continue
            if self.complete(manifest):
                return manifest
        return None

    def complete(self, manifest: Manifest) -> bool:
        """Whether every file that a manifest names is there."""
        sizes = [(self.full(each.name), each.size) for each in manifest.published()]
        return all(os.path.isfile(path) and os.path.getsize(path) == size for path, size in sizes)

    def manifest(self, ident: str) -> Manifest:
        """The manifest of a published image.

        :raises FleetError: when it cannot be read.
        """
        try:
            with open(self.full(manifest_name(ident)), "rb") as file:
                return parse_manifest(file.read(MAX_SMALL_FILE + 1))
        except OSError as error:
            raise FleetError("{0} cannot be read: {1}".format(self.full(manifest_name(ident)), error.strerror))

    def before(self, name: str, arch: str, seq: int, count: int) -> List[str]:
        """The ids of the last *count* images before *seq*, the newest first."""
        older = [
            (int(each.get("seq") or 0), str(each["id"]))
            for each in self.index()
            if each.get("name") == name and each.get("arch") == arch and int(each.get("seq") or 0) < seq
        ]
        return [ident for _seq, ident in sorted(older, reverse=True)[:count]]

    def _rivals(self, name: str, version: str, ident: str) -> List[Dict[str, Any]]:
        """Other images under the same name and version."""
        return [
            each
            for each in self.index()
            if each.get("name") == name and each.get("version") == version and each["id"] != ident
        ]

    def check_version(self, name: str, version: str, ident: str, replace_version: bool) -> None:
        """Refuse to publish a version again with other contents, unless that is wanted.

        :raises FleetError: when it was published already.
        """
        rivals = self._rivals(name, version, ident)
        if rivals and not replace_version:
            raise FleetError(
                "{0}-{1} was published already with other contents (id {2})".format(
                    name, version, str(rivals[0]["id"])[:12]
                ),
                safe="the published image was not changed",
                todo="give the new build another version, or replace the old one with image_replace=true",
            )

    def add(self, runner: Runner, manifest: bytes, key: str, replace_version: bool) -> Manifest:
        """Sign a manifest and put it into the index, after everything that it names is in place.

        :raises FleetError: when the version was published already with other contents.
        """
        parsed = parse_manifest(manifest)
        self.check_version(parsed.name, parsed.version, parsed.id, replace_version)
        rivals = {each["id"] for each in self._rivals(parsed.name, parsed.version, parsed.id)}
        replace_file(self.full(signature_name(parsed.id)), sign(runner, manifest, key))
        replace_file(self.full(manifest_name(parsed.id)), manifest)
        entries = [each for each in self.index() if each["id"] not in rivals | {parsed.id}]
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
        self._write_index(entries)
        return parsed

    def _write_index(self, entries: List[Dict[str, Any]]) -> None:
        index = json.dumps({"format": FORMAT, "images": entries}, indent=1, sort_keys=True) + "\n"
        replace_file(self.full(INDEX), index.encode("ascii"))

    def channel(self, name: str) -> Dict[str, str]:
        """The rings of a channel and the id of the image that each should run."""
        try:
            with open(self.full(channel_name(name)), "rb") as file:
                return dict(parse_channel(file.read(MAX_SMALL_FILE + 1)).rings)
        except FileNotFoundError:
            return {}

    def set_channel(
        self, runner: Runner, name: str, rings: Mapping[str, str], not_after: Optional[int], key: str
    ) -> None:
        """Write and sign a channel.

        :param rings: ids of published images.
        """
        channel = {"format": FORMAT, "name": name, "rings": dict(rings), "not_after": not_after}
        raw = (json.dumps(channel, indent=1, sort_keys=True) + "\n").encode("ascii")
        signature = sign(runner, raw, key, CHANNEL_NAMESPACE)
        replace_file(self.full(channel_name(name) + ".sig"), signature)
        replace_file(self.full(channel_name(name)), raw)

    def doomed(self, name: str, keep: int) -> List[str]:
        """The ids of the images beyond the newest *keep* of a name, without those that a ring should run."""
        named = [each for each in self.index() if each.get("name") == name]
        named.sort(key=lambda each: int(each.get("seq") or 0), reverse=True)
        safe = set(self.channel(name).values())
        return [str(each["id"]) for each in named[keep:] if each["id"] not in safe]

    def remove(self, idents: Sequence[str]) -> None:
        """Take images out of the index, and then their files away. A host that runs one of them is not harmed."""
        self._write_index([each for each in self.index() if each["id"] not in idents])
        for ident in idents:
            names = [manifest_name(ident), signature_name(ident)]
            with contextlib.suppress(FleetError):  # without a manifest nobody can tell what belongs to it
                names += [each.name for each in self.manifest(ident).published()]
            for name in names:
                if name.startswith(ident) and os.path.exists(self.full(name)):
                    os.unlink(self.full(name))
