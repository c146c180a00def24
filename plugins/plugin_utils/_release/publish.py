# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing an image: a folder of static files that any HTTP server or file share can hold.

The format is described in docs/image-format.md; the reader of it is module_utils/_image.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    CHANNEL_NAMESPACE,
    FORMAT,
    GRID,
    MAX_SMALL_FILE,
    NAMESPACE,
    WINDOW,
    Artefact,
    Channel,
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
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file


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
        manifest: Dict[str, Any] = {
            "format": FORMAT,
            "id": self.ident,
            "size": self.size,
            "name": identity.name,
            "version": identity.version,
            "build": self.build,
            "seq": identity.seq,
            "min_seq": identity.min_seq,
            "not_after": self.not_after,
            "compat": {"arch": identity.arch, "abi": identity.abi, "min_slice": self.size, "pool": identity.pool},
            "grid": GRID,
            "window": WINDOW,
            "files": {kind: _entry(artefact) for kind, artefact in self.files.items()},
            "offers": [_offer(offer) for offer in self.offers],
        }
        if identity.features is not None:
            manifest["features"] = list(identity.features)
        return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("ascii")


def check_version(name: str, version: str, rivals: Collection[str], differs: str = "", todo: str = "") -> None:
    """Refuse to publish a version again with other contents.

    :param rivals: the ids that :meth:`Folder.rivals` found.
    :param differs: what differs, where somebody looked.
    :param todo: what else could be done next.
    :raises Refused: when there is one.
    """
    for ident in sorted(rivals):
        raise Refused(
            "{0}-{1} was published already with other contents (id {2}){3}".format(name, version, ident[:12], differs),
            safe="the published image was not changed",
            todo=todo + "give the new build another version, or replace the old one with image_replace=true",
        )


@contextlib.contextmanager
def passing(path: str) -> Iterator[str]:
    """A file that is gone afterwards, unless it was put in its place by then."""
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


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

    def idents(self) -> List[str]:
        """The ids of the images in the index."""
        return [str(each["id"]) for each in self.index()]

    def find(self, identity: Identity, build: str) -> Optional[Manifest]:
        """What was published of exactly this build, without what is not there any more."""
        for entry in self.index():
            if [entry.get(key) for key in ("name", "version", "build")] != [identity.name, identity.version, build]:
                continue
            with contextlib.suppress(FleetError):
                manifest = self.manifest(entry["id"])
                return replace(
                    manifest,
                    files={kind: each for kind, each in manifest.files.items() if self.has(each)},
                    offers=tuple(each for each in manifest.offers if self.has(each.map) and self.has(each.data)),
                )
        return None

    def has(self, artefact: Artefact) -> bool:
        """Whether a file that a manifest names is there, in its size."""
        path = self.full(artefact.name)
        return os.path.isfile(path) and os.path.getsize(path) == artefact.size

    def manifest(self, ident: str) -> Manifest:
        """The manifest of a published image.

        :raises FleetError: when it cannot be read.
        """
        try:
            with open(self.full(manifest_name(ident)), "rb") as file:
                return parse_manifest(file.read(MAX_SMALL_FILE + 1))
        except OSError as error:
            raise FleetError("{0} cannot be read: {1}".format(self.full(manifest_name(ident)), error.strerror))

    def numbered(self, name: str, arch: str) -> List[Tuple[int, Dict[str, Any]]]:
        """The entries of a name for an architecture with their seq, the newest first."""
        found = [each for each in self.index() if (each.get("name"), each.get("arch")) == (name, arch)]
        return sorted(
            ((int(each.get("seq") or 0), each) for each in found),
            key=lambda pair: (pair[0], str(pair[1]["id"])),
            reverse=True,
        )

    def before(self, name: str, arch: str, seq: int, count: int) -> List[str]:
        """The ids of the last *count* images before *seq*, the newest first."""
        return [str(each["id"]) for number, each in self.numbered(name, arch) if number < seq][:count]

    def rivals(self, name: str, version: str, ident: str) -> List[str]:
        """The ids of other images under the same name and version."""
        return [
            str(each["id"])
            for each in self.index()
            if each.get("name") == name and each.get("version") == version and each["id"] != ident
        ]

    def add(self, runner: Runner, manifest: bytes, key: str, replace_version: bool) -> Manifest:
        """Sign a manifest and put it into the index, after everything that it names is in place.

        :raises Refused: when the version was published already with other contents.
        """
        parsed = parse_manifest(manifest)
        rivals = set(self.rivals(parsed.name, parsed.version, parsed.id))
        if not replace_version:
            check_version(parsed.name, parsed.version, rivals)
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
        self._write_index(runner, entries, key)
        ringed = self.channel(parsed.name)
        unused = [each for each in sorted(rivals) if ringed is None or each not in ringed.rings.values()]
        self.remove(runner, unused, key)
        return parsed

    def _write_index(self, runner: Runner, entries: List[Dict[str, Any]], key: str) -> None:
        index = {"format": FORMAT, "images": entries, "issued": int(time.time())}
        self._signed(runner, INDEX, index, key, NAMESPACE)

    def sign_index(self, runner: Runner, key: str) -> bool:
        """Sign an index that has no signature, or one of something else, as an interruption leaves it; whether that was
        to be done. Another key's good signature stays, and a key that may not sign it does not.

        Nothing is done in the runner's check mode.
        """
        entries = self.index()
        if not entries or self._is_signed(runner, INDEX, NAMESPACE) or not self.may_list(key):
            return False
        if not runner.check_mode:
            self._write_index(runner, entries, key)
        return True

    def may_list(self, key: str) -> bool:
        """Whether hosts believe an index that this key has signed: one that has signed an image here. A key may be for
        channels only, and nothing here tells for what hosts trust it.
        """
        listed = self.idents()
        return not listed or any(self.signed_by(manifest_name(ident), key, NAMESPACE) for ident in listed)

    def _is_signed(self, runner: Runner, name: str, namespace: str) -> bool:
        """Whether a file has a signature that fits it, by whichever key (ssh-keygen(1), check-novalidate)."""
        try:
            with open(self.full(name), encoding="ascii") as file:
                text = file.read()
        except (OSError, ValueError):
            return False
        argv = ["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", self.full(name + ".sig")]
        return os.path.exists(self.full(name + ".sig")) and runner.query(argv, stdin=text).rc == 0

    def _signed(self, runner: Runner, name: str, content: Mapping[str, Any], key: str, namespace: str) -> None:
        """Write a file and its signature. A reader who gets one of before and one of now asks again."""
        raw = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii")
        signature = sign(runner, raw, key, namespace)
        replace_file(self.full(name + ".sig"), signature)
        replace_file(self.full(name), raw)

    @contextlib.contextmanager
    def locked(self, check_mode: bool = False) -> Iterator[None]:
        """Keep other publishers out of the folder; it is made if need be. Readers need no lock, nor does check mode.

        :raises Refused: when another one is at work.
        :raises FleetError: when the folder, or a file that is used meanwhile, cannot be read or written.
        """
        try:
            with contextlib.ExitStack() as stack:
                if not check_mode:
                    os.makedirs(self.path, exist_ok=True)
                    self._lock(stack.enter_context(open(self.full(".lock"), "wb")))
                    self._sweep()
                yield
        except OSError as error:
            raise FleetError(
                "{0} cannot be used: {1}".format(error.filename or self.path, error.strerror),
                safe="what was published in {0} before is as it was".format(self.path),
            )

    def _lock(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                "somebody else is publishing in {0} at this moment".format(self.path),
                safe="nothing was published",
                todo="wait for that, then run the play again",
            )

    def _sweep(self) -> None:
        """Take away what a publisher that was killed has left: with the lock, nobody is at work on any of it."""
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith(".part"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.full(name))

    def channel(self, name: str) -> Optional[Channel]:
        """The channel of the images with a name."""
        try:
            with open(self.full(channel_name(name)), "rb") as file:
                return parse_channel(file.read(MAX_SMALL_FILE + 1))
        except FileNotFoundError:
            return None

    def set_channel(self, runner: Runner, channel: Channel, key: str) -> None:
        """Write and sign a channel."""
        content = {
            "format": FORMAT,
            "name": channel.name,
            "rings": dict(channel.rings),
            "not_after": channel.not_after,
            "issued": self._issued(channel.name),
        }
        if channel.bad:
            content["bad"] = {ident: bad._asdict() for ident, bad in channel.bad.items()}
        self._signed(runner, channel_name(channel.name), content, key, CHANNEL_NAMESPACE)

    def _issued(self, name: str) -> int:
        """When a channel is signed that is signed now (seconds since the epoch): later than the one before it in any
        case, whatever the clock says, because hosts that have seen that one take no older one.
        """
        before = self.channel(name)
        return max(int(time.time()), (before.issued or 0) + 1 if before is not None else 0)

    def signed_by(self, name: str, key: str, namespace: str) -> bool:
        """Whether a file has a signature by this key: keys change, and what they signed must follow."""
        public = key if key.endswith(".pub") else key + ".pub"
        try:
            with open(self.full(name + ".sig"), encoding="ascii") as file:
                armoured = "".join(line for line in file.read().splitlines() if not line.startswith("-----"))
            with open(public, encoding="ascii") as file:
                blob = base64.b64decode(file.read().split()[1])
            return blob in base64.b64decode(armoured) and namespace.encode() in base64.b64decode(armoured)
        except FileNotFoundError:
            return os.path.exists(self.full(name + ".sig")) and not os.path.exists(public)
        except (OSError, ValueError, IndexError):
            return False

    def doomed(
        self,
        name: str,
        keep: int,
        spared: Collection[str],
        index: Optional[Sequence[Mapping[str, Any]]] = None,
    ) -> List[str]:
        """The ids of the images beyond the newest *keep* of a name, for each architecture.

        :param spared: ids of images that stay in any case.
        :param index: the entries that count; by default those of the folder.
        """
        doomed: List[str] = []
        named = [each for each in (self.index() if index is None else index) if each.get("name") == name]
        for arch in sorted({str(each.get("arch")) for each in named}):
            of_arch = [each for each in named if str(each.get("arch")) == arch]
            of_arch.sort(key=lambda each: int(each.get("seq") or 0), reverse=True)
            doomed += [str(each["id"]) for each in of_arch[keep:] if each["id"] not in spared]
        return doomed

    def remove(self, runner: Runner, idents: Sequence[str], key: str) -> None:
        """Take images out of the index, and then their files away. A host that runs one of them is not harmed."""
        if not idents:
            return
        self._write_index(runner, [each for each in self.index() if each["id"] not in idents], key)
        for ident in idents:
            names = [manifest_name(ident), signature_name(ident)]
            with contextlib.suppress(FleetError):  # without a manifest nobody can tell what belongs to it
                names += [each.name for each in self.manifest(ident).published()]
            for name in names:
                if name.startswith(ident) and os.path.exists(self.full(name)):
                    os.unlink(self.full(name))
