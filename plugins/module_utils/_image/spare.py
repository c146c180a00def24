# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a whole medium, ``<id>.disk.img.xz``, straight from a repository to a disk or a file.

Nothing is staged: what comes is unpacked and written at once, and its digest is only known at the end. So the first and
the last MiB, which hold the two copies of the partition table, are kept back until everything else is written and
everything that came is what the signed manifest says. A medium whose writing was broken off has no table and boots
nowhere.
"""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._gpt import SECTOR, GptError, Table, read_published
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.codec import XZ_MEMORY
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    IMAGE_JSON,
    WINDOW,
    Artefact,
    Manifest,
    missing_features,
    parse_inside,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import VERIFY, WRITE, Progress, WrongBytes
from ansible_collections.nanozfs.fleet.plugins.module_utils._medium import RECOVERY, STATE
from ansible_collections.nanozfs.fleet.plugins.module_utils._ufs import NotUfs, Ufs

#: the kind of the published file
MEDIUM = "medium"
#: the slices of a fresh medium that hold the image; the third is empty
FILLED = (RECOVERY, "nz-a")

_UNFINISHED = "what is on the medium now has no partition table and boots nowhere; no other disk was touched"


class BadMedium(FleetError):
    """The published medium is not what it should be."""


def _bad(artefact: Artefact, why: str) -> BadMedium:
    return BadMedium(
        "the published medium {0} {1}".format(artefact.name, why),
        safe="nothing was written",
        todo="publish the image again (playbook publish), then run the play again",
    )


class Site(NamedTuple):
    """A host that a spare medium is for.

    :param pool: the name of its pool.
    :param features: the features that are active there.
    """

    name: str
    arch: str
    pool: str
    features: Sequence[str]


def check_sites(manifest: Manifest, sites: Sequence[Site]) -> List[str]:
    """See that an image could run every host that its medium is for.

    :returns: what could not be checked, because the manifest does not say it.
    :raises Refused: with all hosts that it could not run, and why.
    """
    problems = []
    for site in sites:
        if site.arch != manifest.arch:
            problems.append("{0} is {1}, the image is for {2}".format(site.name, site.arch, manifest.arch))
        if manifest.pool is not None and site.pool != manifest.pool:
            problems.append("{0} has the pool {1}, the image imports {2}".format(site.name, site.pool, manifest.pool))
        missing = missing_features(manifest.features or site.features, site.features)
        if missing:
            problems.append("the pool of {0} uses {1}, unknown to the image".format(site.name, ", ".join(missing)))
    if problems:
        raise Refused(
            "a medium of {0} would not do for every host: {1}".format(manifest.describe(), "; ".join(problems)),
            safe="nothing was written",
            todo="take a version whose ZFS knows these features, or leave such hosts out (-l)",
            problems=problems,
        )
    unknown = [("features of pools its ZFS knows", manifest.features), ("pool it imports", manifest.pool)]
    return [
        "the manifest of {0} does not say which {1}: not checked".format(manifest.describe(), what)
        for what, value in unknown
        if value is None
    ]


class Packed:
    """The published medium on its way here.

    :param artefact: what the manifest says of the file.
    """

    def __init__(self, repository: Repository, artefact: Artefact) -> None:
        self._repository = repository
        self._artefact = artefact
        self._digest = hashlib.sha256()
        self.fetched = 0

    def windows(self) -> Iterator[bytes]:
        """The bytes of the medium, one MiB at a time; the last piece may be shorter.

        :raises BadMedium: when the file is damaged.
        """
        rest = bytearray()
        for piece in self._unpacked():
            rest += piece
            while len(rest) >= WINDOW:
                yield bytes(rest[:WINDOW])
                del rest[:WINDOW]
        if rest:
            yield bytes(rest)

    def check(self) -> None:
        """See, after the last window, that the file is the one that the manifest names.

        :raises BadMedium: when it is another one.
        """
        if self._digest.hexdigest() != self._artefact.sha256:
            raise _bad(self._artefact, "has another digest than its signed manifest says")

    def _pieces(self) -> Iterator[bytes]:
        for piece in self._repository.stream(self._artefact.name, 0, self._artefact.size):
            self._digest.update(piece)
            self.fetched += len(piece)
            yield piece

    def _unpacked(self) -> Iterator[bytes]:
        """The file is many xz streams one after the other; none may take more memory than ours do."""
        decoder: Optional[lzma.LZMADecompressor] = None
        try:
            for piece in self._pieces():
                left = piece
                while left:
                    decoder = decoder or lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
                    yield decoder.decompress(left, max_length=WINDOW)
                    while not decoder.eof and not decoder.needs_input:
                        yield decoder.decompress(b"", max_length=WINDOW)
                    left = decoder.unused_data if decoder.eof else b""
                    decoder = None if decoder.eof else decoder
        except (lzma.LZMAError, EOFError) as error:
            raise _bad(self._artefact, "cannot be unpacked: {0}".format(error))
        if decoder is not None:
            raise _bad(self._artefact, "ends in the middle")


@dataclass(frozen=True)
class Head:
    """The beginning of a published medium: everything before the first slice.

    :param content: the partition table and the boot code.
    """

    content: bytes
    table: Table

    @property
    def size(self) -> int:
        """Of the whole medium, in bytes."""
        return self.table.sectors * SECTOR

    def place(self, label: str) -> Tuple[int, int]:
        """Where a partition begins and how large it is, in bytes.

        :raises KeyError: when there is none.
        """
        entry = next((each for each in self.table.entries.values() if each.label == label), None)
        if entry is None:
            raise KeyError(label)
        return entry.first * SECTOR, entry.sectors * SECTOR


def read_head(repository: Repository, manifest: Manifest) -> Head:
    """Fetch the beginning of the published medium, which says how large it is. Its digest is not known yet.

    :raises BadManifest: when no medium was published of the image.
    :raises BadMedium: when it is none of ours, or not of this image.
    """
    artefact = manifest.artefact(MEDIUM)
    content = b""
    table: Optional[Table] = None
    for window in Packed(repository, artefact).windows():
        content += window
        try:
            table = table or read_published(content)
            head = Head(content, table)
            begin = min(head.place(label)[0] for label in FILLED)
            room = min(head.place(label)[1] for label in FILLED)
            head.place(STATE)
        except (GptError, KeyError) as error:
            raise _bad(artefact, "has no partition table of ours: {0}".format(error))
        if room < manifest.size or head.size % WINDOW or begin % WINDOW or begin > 64 * WINDOW:
            raise _bad(artefact, "is not laid out for this image")
        if len(content) >= begin:
            return Head(content[:begin], table)
    raise _bad(artefact, "ends before its first slice")


def is_fresh(device: Device, head: Head, manifest: Manifest) -> bool:
    """Whether a disk holds exactly the image already, as it was written and never used since.

    Compared are table and boot code, both slices with an image, and nz-state, which a host writes to when it starts.
    """
    if device.read(0, len(head.content)) != head.content:
        return False
    begin, size = head.place(STATE)
    if device.read(begin, size).strip(b"\0"):
        return False
    return all(_slice_digest(device, head.place(label)[0], manifest.size) == manifest.id for label in FILLED)


def _slice_digest(device: Device, begin: int, size: int) -> str:
    total = hashlib.sha256()
    for offset in range(begin, begin + size, WINDOW):
        total.update(device.read(offset, min(WINDOW, begin + size - offset)))
    return total.hexdigest()


def describe_content(device: Device) -> str:
    """What is on a disk, for people, as far as its partition table says it."""
    raw = device.read(0, WINDOW)
    try:
        head = Head(raw, read_published(raw))
    except GptError:
        return "no GPT" if raw.strip(b"\0") else "nothing at its beginning"
    try:
        begin, _size = head.place("nz-a")
        inside = Ufs(lambda offset, length: device.read(begin + offset, length)).read(IMAGE_JSON)
        described = parse_inside(inside) if inside is not None else None
    except (KeyError, NotUfs):
        described = None
    if described is not None:
        return "a medium of {0}-{1}".format(described.name, described.version)
    names = [each.label or "without a name" for _index, each in sorted(head.table.entries.items())]
    return "a GPT with {0} partitions ({1})".format(len(names), ", ".join(names)) if names else "an empty GPT"


class MediumWriter:
    """Writes one published medium.

    :param path: the disk or file to write to; it must exist, and everything that could hold it was looked for.
    :param capacity: of the disk, in bytes; ``None`` for a new file, which reads as zeros, so that those need not be
        written.
    """

    def __init__(
        self, repository: Repository, manifest: Manifest, head: Head, path: str, capacity: Optional[int]
    ) -> None:
        self._packed = Packed(repository, manifest.artefact(MEDIUM))
        self._artefact = manifest.artefact(MEDIUM)
        self._manifest = manifest
        self._head = head
        self._path = path
        self._capacity = capacity
        self._progress = Progress(WRITE, 0, head.size, 0, self._artefact.size)

    def progress(self) -> Progress:
        """How far it is at this moment; may be asked from another thread."""
        return self._progress

    def _tell(self, phase: str, done: int) -> None:
        self._progress = Progress(phase, done, self._head.size, self._packed.fetched, self._artefact.size)

    def write(self) -> Dict[str, Any]:
        """Fetch, write, flush, read back.

        :returns: how many bytes were fetched and written.
        :raises FleetError: when source or disk do not deliver. The disk has no partition table then.
        """
        with devices.open_device(self._path, writable=True) as device:
            try:
                digests = self._write(device)
                self._read_back(device, digests)
            except FleetError as error:
                error.safe = self._spoil(device)
                raise
        return {"fetched": self._packed.fetched, "written": self._head.size}

    def _write(self, device: Device) -> List[bytes]:
        """Write everything, the partition tables last; the digest of every window."""
        zeros = bytes(WINDOW)
        last = self._head.size // WINDOW - 1
        self._take_tables_away(device)
        digests: List[bytes] = []
        kept: Dict[int, bytes] = {}
        slices = Slices(self._head, self._manifest)
        for index, window in enumerate(self._packed.windows()):
            if index > last or len(window) < WINDOW:
                raise _bad(self._artefact, "has another size than its partition table says")
            slices.add(index * WINDOW, window)
            digests.append(hashlib.sha256(window).digest())
            if index in (0, last):
                kept[index] = window
            elif self._capacity is not None or window != zeros:
                device.write(index * WINDOW, window)
            self._tell(WRITE, index * WINDOW)
        self._packed.check()
        if len(digests) != last + 1 or kept[0] != self._head.content[:WINDOW] or not slices.are_right():
            raise _bad(self._artefact, "does not hold the image that its manifest describes")
        device.flush()
        for index in (last, 0):  # the first one makes it a medium
            device.write(index * WINDOW, kept[index])
        device.flush()
        return digests

    def _take_tables_away(self, device: Device) -> None:
        for offset, length in self._tables():
            device.write(offset, bytes(length))
        device.flush()

    def _spoil(self, device: Device) -> str:
        """Make sure that nothing boots from a disk that is not complete; what is safe then."""
        try:
            self._take_tables_away(device)
        except FleetError:
            return "no other disk was touched; what is on this one is not complete and must not be used"
        return _UNFINISHED

    def _tables(self) -> List[Tuple[int, int]]:
        """Where partition tables are: both copies of ours, and the second one of an earlier table at the end of a
        larger disk, which the kernel would take for one of this medium. Offsets and lengths in bytes.
        """
        places = [(0, WINDOW), (self._head.size - WINDOW, WINDOW)]
        if self._capacity is not None and self._capacity > self._head.size:
            begin = max(self._head.size, self._capacity - WINDOW)
            places.append((begin, self._capacity - begin))
        return places

    def _read_back(self, device: Device, digests: Sequence[bytes]) -> None:
        """Compare what the disk returns with what was written.

        :raises WrongBytes: when it returns something else.
        """
        wrong = 0
        device.forget()
        for index, digest in enumerate(digests):
            wrong += hashlib.sha256(device.read(index * WINDOW, WINDOW)).digest() != digest
            self._tell(VERIFY, (index + 1) * WINDOW)
        if wrong:
            raise WrongBytes(
                "{0} does not return what was written to it: {1} of {2} MiB differ".format(
                    self._path, wrong, len(digests)
                ),
                todo="take another disk; this one loses data or is smaller than it says",
            )


class Slices:
    """The digests of the slices while their bytes pass by."""

    def __init__(self, head: Head, manifest: Manifest) -> None:
        self._ident = manifest.id
        self._size = manifest.size
        self._totals = {head.place(label)[0]: hashlib.sha256() for label in FILLED}

    def add(self, offset: int, window: bytes) -> None:
        """The next bytes of the medium. A slice begins at a whole MiB."""
        for begin, total in self._totals.items():
            if begin <= offset < begin + self._size:
                total.update(window[: begin + self._size - offset])

    def are_right(self) -> bool:
        """Whether every slice holds the image."""
        return all(total.hexdigest() == self._ident for total in self._totals.values())


def site_of(entry: Mapping[str, Any]) -> Site:
    """A host from the arguments of the module."""
    return Site(entry["name"], entry["arch"], entry["pool"], entry["features"])
