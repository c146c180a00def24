# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The signed manifest of an image: what it is, where it fits, and the digest of everything published with it.

The format is described in docs/image-format.md.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef

FORMAT = 1
NAMESPACE = "nanozfs-image"
#: what is asked for to have the newest image
LATEST = "latest"

CHANNEL_NAMESPACE = "nanozfs-channel"

#: what an image says of itself, inside of it
IMAGE_JSON = "boot/nanozfs/image.json"
#: whose signatures an image trusts, for itself and its successors
ALLOWED_SIGNERS = "boot/nanozfs/allowed_signers"
#: keys that it does not trust any more, whatever else says so
REVOKED_KEYS = "boot/nanozfs/revoked_keys"

#: a manifest, a signature or an index larger than this is not read (bytes)
MAX_SMALL_FILE = 1 << 20

WINDOW = 1 << 20
GRID = 4096

_HEX = frozenset("0123456789abcdef")


class BadManifest(FleetError):
    """A manifest, index or image description that is damaged or of an unknown format."""


def is_digest(text: object) -> bool:
    """Whether it is a SHA-256 digest in hexadecimal."""
    return isinstance(text, str) and len(text) == 64 and not set(text) - _HEX


@dataclass(frozen=True)
class Artefact:
    """A published file: name within the repository, size in bytes, SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Offer:
    """One of the ways to an image: a file with payloads, and the map that says what to do with them.

    :param codec: how the payloads are compressed.
    :param base: id of the image that a delta starts from; ``None`` for a pack, which holds everything.
    :param build: build of that image, by which a host recognises it.
    :param version: version of that image, for people.
    """

    codec: str
    map: Artefact
    data: Artefact
    base: Optional[str] = None
    build: str = ""
    version: str = ""

    @property
    def kind(self) -> str:
        """``pack`` or ``delta``."""
        return "delta" if self.base else "pack"

    def describe(self) -> str:
        return "the delta from {0}".format(self.version) if self.base else "the full pack"


@dataclass(frozen=True)
class Manifest:
    """A parsed manifest. Sizes in bytes; ``not_after`` is seconds since the epoch or ``None``.

    :param features: the features of pools that its ZFS knows; ``None`` where nobody found out.
    :param pool: the name of the pool that its hosts have their data on; ``None`` where it was not published.
    """

    id: str
    size: int
    name: str
    version: str
    build: str
    seq: int
    min_seq: int
    arch: str
    abi: str
    min_slice: int
    window: int
    not_after: Optional[int]
    files: Mapping[str, Artefact]
    offers: Tuple[Offer, ...]
    features: Optional[Tuple[str, ...]] = None
    pool: Optional[str] = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> ImageRef:
        return ImageRef(self.id, self.build, self.version)

    def describe(self) -> str:
        return "{0}-{1} ({2})".format(self.name, self.version, self.id[:12])

    def artefact(self, kind: str) -> Artefact:
        """A published file by its kind.

        :raises BadManifest: when the manifest has none.
        """
        if kind not in self.files:
            raise BadManifest("the manifest of {0} names no file of kind {1!r}".format(self.describe(), kind))
        return self.files[kind]

    def published(self) -> Tuple[Artefact, ...]:
        """Every file that the manifest names."""
        return tuple(self.files.values()) + tuple(each for offer in self.offers for each in (offer.map, offer.data))

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "seq": self.seq,
            "min_seq": self.min_seq,
            "size": self.size,
            "arch": self.arch,
            "abi": self.abi,
            "min_slice": self.min_slice,
            "not_after": self.not_after,
            "features": None if self.features is None else list(self.features),
            "pool": self.pool,
        }


def _take(data: Mapping[str, Any], key: str, kind: type, what: str) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadManifest("the {0} has no usable {1!r}".format(what, key))
    return value


def _natural(data: Mapping[str, Any], key: str, what: str) -> int:
    value = _take(data, key, int, what)
    if value < 0 or value > 1 << 62:
        raise BadManifest("the {0} has the impossible {1} {2}".format(what, key, value))
    return int(value)


def _digest(data: Mapping[str, Any], key: str, what: str) -> str:
    value = data.get(key)
    if not is_digest(value):
        raise BadManifest("the {0} has no SHA-256 digest in {1!r}".format(what, key))
    return str(value)


def _features(data: Mapping[str, Any], what: str) -> Optional[Tuple[str, ...]]:
    """The features, where there is a list of them: images of before have none."""
    if data.get("features") is None:
        return None
    names = _take(data, "features", list, what)
    if not all(isinstance(name, str) for name in names):
        raise BadManifest("the {0} has no usable 'features'".format(what))
    return tuple(names)


def _load(raw: bytes, what: str) -> Mapping[str, Any]:
    if len(raw) > MAX_SMALL_FILE:
        raise BadManifest("the {0} is larger than {1} bytes".format(what, MAX_SMALL_FILE))
    try:
        data = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadManifest("the {0} cannot be read as JSON: {1}".format(what, error))
    if not isinstance(data, dict):
        raise BadManifest("the {0} is no JSON object".format(what))
    if data.get("format") != FORMAT:
        raise BadManifest(
            "the {0} has format {1!r}; this version of nanozfs.fleet knows format {2}".format(
                what, data.get("format"), FORMAT
            )
        )
    return data


def _file_name(name: str) -> str:
    # a name is joined to the address of the repository: nothing may lead out of it
    if (
        not name
        or name.startswith((".", "/"))
        or not set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/")
        or ".." in name
    ):
        raise BadManifest("{0!r} is no name for a published file".format(name))
    return name


def _artefact(entry: Any, kind: object) -> Artefact:
    if not isinstance(entry, dict):
        raise BadManifest("the manifest describes its file {0!r} in no way that can be used".format(kind))
    return Artefact(
        name=_file_name(_take(entry, "name", str, "manifest")),
        size=_natural(entry, "size", "manifest"),
        sha256=_digest(entry, "sha256", "manifest"),
    )


def _offer(entry: Any) -> Offer:
    if not isinstance(entry, dict):
        raise BadManifest("the manifest describes an offer in no way that can be used")
    return Offer(
        codec=_take(entry, "codec", str, "manifest"),
        map=_artefact(entry.get("map"), "map"),
        data=_artefact(entry.get("data"), "data"),
        base=_digest(entry, "base", "manifest") if entry.get("base") is not None else None,
        build=_take(entry, "build", str, "manifest") if entry.get("base") is not None else "",
        version=_take(entry, "version", str, "manifest") if entry.get("base") is not None else "",
    )


def parse_manifest(raw: bytes) -> Manifest:
    """Parse a manifest whose signature was verified.

    :raises BadManifest: when anything in it is missing or impossible.
    """
    what = "manifest"
    data = _load(raw, what)
    compat = _take(data, "compat", dict, what)
    files = {str(kind): _artefact(entry, kind) for kind, entry in _take(data, "files", dict, what).items()}
    offers = tuple(_offer(entry) for entry in _take(data, "offers", list, what))
    manifest = Manifest(
        id=_digest(data, "id", what),
        size=_natural(data, "size", what),
        name=_take(data, "name", str, what),
        version=_take(data, "version", str, what),
        build=_take(data, "build", str, what),
        seq=_natural(data, "seq", what),
        min_seq=_natural(data, "min_seq", what),
        arch=_take(compat, "arch", str, what),
        abi=_take(compat, "abi", str, what),
        min_slice=_natural(compat, "min_slice", what),
        window=_natural(data, "window", what),
        not_after=_natural(data, "not_after", what) if data.get("not_after") is not None else None,
        files=files,
        offers=offers,
        features=_features(data, what),
        pool=_take(compat, "pool", str, what) if compat.get("pool") is not None else None,
        extra=data,
    )
    if manifest.window != WINDOW or manifest.size <= 0 or manifest.size % GRID or manifest.size > manifest.min_slice:
        raise BadManifest("the sizes in the manifest of {0} do not fit together".format(manifest.describe()))
    return manifest


@dataclass(frozen=True)
class Inside:
    """What an image says of itself in ``/boot/nanozfs/image.json``.

    :param features: the features of pools that its ZFS knows; ``None`` where nobody found out.
    """

    name: str
    version: str
    build: str
    seq: int
    min_seq: int
    arch: str
    abi: str
    pool: str
    features: Optional[Tuple[str, ...]] = None

    def as_dict(self) -> Dict[str, Any]:
        return dict(self.__dict__, features=None if self.features is None else list(self.features))


def parse_inside(raw: bytes) -> Inside:
    """Parse ``image.json``.

    :raises BadManifest: when it is damaged.
    """
    what = "image description"
    data = _load(raw, what)
    return Inside(
        name=_take(data, "name", str, what),
        version=_take(data, "version", str, what),
        build=_take(data, "build", str, what),
        seq=_natural(data, "seq", what),
        min_seq=_natural(data, "min_seq", what),
        arch=_take(data, "arch", str, what),
        abi=_take(data, "abi", str, what),
        pool=_take(data, "pool", str, what),
        features=_features(data, what),
    )


def parse_index(raw: bytes) -> Tuple[Mapping[str, Any], ...]:
    """The entries of a repository's ``index.json``, newest last.

    Its signature matters to whoever asks for the latest; otherwise it only helps to find manifests, which say
    themselves what they are of.

    :raises BadManifest: when it is damaged.
    """
    entries = _take(_load(raw, "index"), "images", list, "index")
    for entry in entries:
        if not isinstance(entry, dict) or not is_digest(entry.get("id")):
            raise BadManifest("the index has an entry without an image id")
        if not isinstance(entry.get("seq", 0), int):
            raise BadManifest("the index has an entry whose seq is no number")
    return tuple(entries)


class Bad(NamedTuple):
    """Why an image is bad.

    :param reason: for people.
    :param version: of the image, for people, who may not find it in the index any more; may be empty.
    :param build: of the image, by which a host recognises it without reading all of it; may be empty.
    """

    reason: str
    version: str = ""
    build: str = ""


@dataclass(frozen=True)
class Channel:
    """What a publisher says of the images with a name: which of them each ring should run, and which are bad.

    :param rings: image ids by the name of the ring.
    :param issued: when it was signed, seconds since the epoch; ``None`` where it does not say.
    :param bad: by image id.
    """

    name: str
    rings: Mapping[str, str]
    not_after: Optional[int]
    issued: Optional[int] = field(default=None, compare=False)
    bad: Mapping[str, Bad] = field(default_factory=dict)


def channel_name(name: str) -> str:
    """The file name of the channel of the images with a name."""
    return name + ".channel.json"


def parse_channel(raw: bytes) -> Channel:
    """Parse a channel.

    :raises BadManifest: when it is damaged.
    """
    what = "channel"
    data = _load(raw, what)
    rings = _take(data, "rings", dict, what)
    if not all(is_digest(ident) for ident in rings.values()):
        raise BadManifest("the channel names something that is no image id")
    times = {key: _natural(data, key, what) if data.get(key) is not None else None for key in ("not_after", "issued")}
    return Channel(_take(data, "name", str, what), rings, bad=_bad(data, what), **times)


def _bad(data: Mapping[str, Any], what: str) -> Dict[str, Bad]:
    """The bad images, where there is a list of them: channels of before have none.

    :raises BadManifest: when any of it cannot be understood; less than all of it would be called good then.
    """
    if "bad" not in data:
        return {}
    listed = _take(data, "bad", dict, what)
    for ident, entry in listed.items():
        if not is_digest(ident) or not isinstance(entry, dict):
            raise BadManifest("the channel calls something bad that is no image id")
    return {
        ident: Bad(*(_take({key: "", **entry}, key, str, what) for key in Bad._fields))
        for ident, entry in listed.items()
    }


def find_in_index(entries: Tuple[Mapping[str, Any], ...], wanted: str, name: Optional[str] = None) -> str:
    """The id of the image that is meant.

    :param wanted: a version, a whole image id, at least eight characters of one, or ``latest``.
    :param name: only images of this name.
    :raises Refused: when there is none or more than one.
    """
    usable = [entry for entry in entries if name is None or entry.get("name") == name]
    if wanted == LATEST:
        found = [max(usable, key=lambda entry: int(entry.get("seq", 0)))] if usable else []
    else:
        found = [
            entry
            for entry in usable
            if entry.get("version") == wanted or (len(wanted) >= 8 and str(entry["id"]).startswith(wanted))
        ]
    ids = sorted({str(entry["id"]) for entry in found})
    if len(ids) == 1:
        return ids[0]
    if not ids:
        there = ", ".join(sorted("{0}-{1}".format(each.get("name"), each.get("version")) for each in entries)) or "none"
        raise Refused(
            "the repository has no image {0}; it has: {1}".format(
                wanted if name is None else "{0} of {1}".format(wanted, name), there
            ),
            safe="nothing was changed",
            todo="ask for one of them; an image of another name has to be named (upgrade_image_name; modules: name)"
            if name is not None and len(usable) < len(entries)
            else "ask for one of them, or publish it",
        )
    raise Refused(
        "{0} names {1} images in the repository: {2}".format(wanted, len(ids), ", ".join(each[:12] for each in ids)),
        safe="nothing was changed",
        todo="say which one by its id",
    )


def check_fits(manifest: Manifest, arch: str, slice_size: int, where: str) -> None:
    """Refuse an image for another architecture or a larger slice.

    :param arch: the host's ``hw.machine_arch``.
    :param slice_size: bytes.
    :raises Refused: with the reason.
    """
    if manifest.arch != arch:
        raise Refused(
            "the image {0} is for {1}, this host is {2}".format(manifest.describe(), manifest.arch, arch),
            safe="nothing was written",
            todo="publish an image for {0}, or correct the inventory".format(arch),
        )
    if manifest.min_slice > slice_size:
        raise Refused(
            "the image {0} needs a slice of {1} bytes, {2} has {3}".format(
                manifest.describe(), manifest.min_slice, where, slice_size
            ),
            safe="nothing was written",
            todo="build the image smaller, or replace the medium by a larger one (docs/layout.md)",
        )


def missing_features(known: Sequence[str], used: Sequence[str]) -> List[str]:
    """The features that a pool uses and a ZFS does not know, sorted."""
    return sorted(set(used) - set(known))


def check_readable(image: str, features: Sequence[str], pool: str, used: Sequence[str]) -> None:
    """Refuse an image whose ZFS could not open a pool.

    ZFS opens a pool for writing only if it knows every feature that is active there. With some that it does not know it
    could still read, but a host must write (``spa_features_check()`` in ``zfeature.c`` and its callers in ``spa.c``).

    :param image: the image, for people.
    :param features: what its ZFS knows.
    :param pool: the pool, for people.
    :param used: the features that are active there.
    :raises Refused: with those that are missing.
    """
    missing = missing_features(features, used)
    if missing:
        raise Refused(
            "{0} could not open {1}: its ZFS does not know {2}, which the pool uses".format(
                image, pool, ", ".join(missing)
            ),
            safe="nothing was changed, and the pool is as it was",
            todo="build the image from a newer FreeBSD; a feature that a pool uses can hardly be taken back, so run "
            "`zpool upgrade` only when both slices and all spare media can read the result",
            features=missing,
        )


def check_order(manifest: Manifest, running: Optional[Inside], allow_older: bool) -> None:
    """Refuse an image that is older than the running one.

    :raises Refused: when its seq is below the running image's floor, or below its seq without *allow_older*.
    """
    if running is None:
        return
    if manifest.seq < running.min_seq:
        raise Refused(
            "the image {0} has seq {1}; the running image accepts nothing below {2}".format(
                manifest.describe(), manifest.seq, running.min_seq
            ),
            safe="nothing was written",
            todo="publish the old contents as a new image with a higher seq",
        )
    if manifest.seq < running.seq and not allow_older:
        raise Refused(
            "the image {0} has seq {1} and is older than the running {2}-{3} (seq {4})".format(
                manifest.describe(), manifest.seq, running.name, running.version, running.seq
            ),
            safe="nothing was written",
            todo="use the playbook rollback to go back, or allow it: upgrade_allow_older=true (modules: allow_older)",
        )


#: no image was made before (2024-01-01, seconds since the epoch): a clock that says so has lost its battery
FIRST = 1704067200


def check_until(what: str, not_after: Optional[int], now: float, todo: str) -> None:
    """Refuse what has expired. A clock that cannot be right decides nothing.

    :param what: for people.
    :param not_after: seconds since the epoch, or ``None`` for what never expires.
    :param now: seconds since the epoch.
    :raises Refused: when it has expired, or nobody can tell.
    """
    if not_after is None:
        return
    if now < FIRST:
        raise Refused(
            "whether {0} has expired cannot be told: the clock says {1}, when no image was made yet".format(
                what, time.strftime("%Y-%m-%d", time.gmtime(now))
            ),
            safe="nothing was written",
            todo="set the clock (date -u, ntpd), and run the play again",
        )
    if now > not_after:
        raise Refused(
            "{0} expired (not_after {1}, now {2:.0f})".format(what, not_after, now),
            safe="nothing was written",
            todo="check the clock (date -u); {0}".format(todo),
        )


def check_time(manifest: Manifest, now: float) -> None:
    """Refuse an image that has expired; see :func:`check_until`."""
    check_until("the image {0}".format(manifest.describe()), manifest.not_after, now, "publish a newer image")
