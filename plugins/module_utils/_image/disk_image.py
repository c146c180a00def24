# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Writing a whole medium, ``<id>.disk.img.xz``, straight from a repository to a disk or a file.

Nothing is staged: what comes is unpacked and written at once, and its digest is only known at the end. So the first and
the last MiB, which hold the two copies of the partition table, are kept back until everything else is written and
everything that came is what the signed manifest says. A medium whose writing was broken off has no table and boots
nowhere.
"""

from __future__ import annotations

import hashlib
import itertools
import lzma
import struct
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import traces
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.gpt import SECTOR, GptError, read_published
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import MBR_INDEX, MBR_STATE, RECOVERY, STATE
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import NotUfs, Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.codec import XZ_MEMORY
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

#: what the manifest calls media, by the scheme of their partition table
KINDS = {"gpt": "medium", "mbr": "medium-mbr"}
#: the slices of a fresh medium that hold the image; the third is empty
FILLED = (RECOVERY, "nz-a")
#: the first image begins before this (bytes): only boot code lies in front of it, an EFI system partition at most
FARTHEST = 256 << 20

#: DISKMAGIC in ``sys/sys/disk/bsd.h``
BSD_MAGIC = 0x82564557

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
    :param scheme: of the medium that it runs from, one of :data:`KINDS`; ``None`` where that cannot be told.
    """

    name: str
    arch: str
    pool: str
    features: Sequence[str]
    scheme: Optional[str] = None


def check_sites(manifest: Manifest, scheme: str, sites: Sequence[Site]) -> List[str]:
    """See that a medium would do for every host that it is for.

    :param scheme: of its partition table, one of :data:`KINDS`.
    :returns: what could not be checked, because the manifest does not say it.
    :raises Refused: with all hosts that it could not run, and why.
    """
    problems = []
    for site in sites:
        if site.scheme not in (None, scheme):
            problems.append("{0} has a medium with {1}, this one has {2}".format(site.name, site.scheme, scheme))
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
            todo="take a version whose ZFS knows these features, or the other scheme (spare_scheme); or leave such "
            "hosts out (-l)",
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
                    left = decoder.unused_data  # empty unless the stream is over
                    over = bool(decoder.eof)
                    decoder = None if over else decoder
        except (lzma.LZMAError, EOFError) as error:
            raise _bad(self._artefact, "cannot be unpacked: {0}".format(error))
        if decoder is not None:
            raise _bad(self._artefact, "ends in the middle")


@dataclass(frozen=True)
class Layout:
    """What lies where on a medium, in bytes.

    :param size: of the medium.
    :param places: beginning and length of partitions by their label.
    """

    size: int
    places: Mapping[str, Tuple[int, int]]


def _gpt_layout(content: bytes) -> Layout:
    table = read_published(content)
    places = {each.label: (each.first * SECTOR, each.sectors * SECTOR) for each in table.entries.values()}
    return Layout(table.sectors * SECTOR, places)


def _mbr_layout(content: bytes) -> Layout:
    """With an MBR the image is in partition ``a`` of a slice, which lies at the same place in each of them.

    Sources: ``sys/sys/disk/mbr.h`` and ``sys/sys/disk/bsd.h``; the label is in the second sector of a slice.
    """
    slices = {number + 1: struct.unpack_from("<II", content, 446 + 16 * number + 8) for number in range(4)}
    label = content[(slices[1][0] + 1) * SECTOR :][:SECTOR]
    if len(label) < SECTOR or struct.unpack_from("<I", label)[0] != BSD_MAGIC:
        raise GptError("there is no BSD label in its first slice")
    length, offset = struct.unpack_from("<II", label, 148)
    places = {MBR_INDEX[index]: ((slices[index][0] + offset) * SECTOR, length * SECTOR) for index in MBR_INDEX}
    places[STATE] = (slices[MBR_STATE][0] * SECTOR, slices[MBR_STATE][1] * SECTOR)
    return Layout(max(first + count for first, count in slices.values()) * SECTOR, places)


def read_layout(content: bytes) -> Layout:
    """The layout of a medium.

    :param content: its beginning, up to and with the first sectors of its first slice.
    :raises GptError: when there is no partition table, or it is damaged.
    """
    if content[510:SECTOR] != b"\x55\xaa":
        raise GptError("there is no partition table")
    protective = 0xEE in (content[446 + 16 * number + 4] for number in range(4))
    return _gpt_layout(content) if protective else _mbr_layout(content)


@dataclass(frozen=True)
class Head:
    """The beginning of a published medium: up to the first image: partition table and boot code."""

    content: bytes
    layout: Layout

    @property
    def size(self) -> int:
        """Of the whole medium, in bytes."""
        return self.layout.size

    def begins(self) -> List[int]:
        """Where the images begin, in bytes."""
        return [self.layout.places[label][0] for label in FILLED]


def read_head(repository: Repository, manifest: Manifest, scheme: str) -> Head:
    """Fetch the beginning of the published medium, which says how large it is. Its digest is not known yet.

    :param scheme: of the partition table, one of :data:`KINDS`.
    :raises BadManifest: when no such medium was published of the image.
    :raises BadMedium: when it is none of ours, or not of this image.
    """
    artefact = manifest.artefact(KINDS[scheme])
    windows = Packed(repository, artefact).windows()
    content = b"".join(itertools.islice(windows, 2))  # with an MBR the first slice begins in the second MiB
    try:
        layout = read_layout(content)
        head = Head(content, layout)
        begins = head.begins()
        rooms = [layout.places[label][1] for label in (*FILLED, STATE)]
    except (GptError, KeyError) as error:
        raise _bad(artefact, "has no partition table of ours: {0}".format(error))
    aligned = not any(each % WINDOW for each in (head.size, *begins))
    if not aligned or min(rooms[:-1]) < manifest.size or min(begins) > FARTHEST:
        raise _bad(artefact, "is not laid out for this image")
    content += b"".join(itertools.islice(windows, max(0, min(begins) // WINDOW - 2)))
    if len(content) < min(begins):
        raise _bad(artefact, "ends before its first slice")
    return Head(content[: min(begins)], layout)


def is_fresh(device: Device, head: Head, manifest: Manifest) -> bool:
    """Whether a disk holds exactly the image already, as it was written and never used since.

    Compared are table and boot code, both slices with an image, and nz-state, which a host writes to when it starts.
    """
    if device.read(0, len(head.content)) != head.content:
        return False
    begin, size = head.layout.places[STATE]
    if device.read(begin, size).strip(b"\0"):
        return False
    return all(_slice_digest(device, begin, manifest.size) == manifest.id for begin in head.begins())


def _slice_digest(device: Device, begin: int, size: int) -> str:
    total = hashlib.sha256()
    for offset in range(begin, begin + size, WINDOW):
        total.update(device.read(offset, min(WINDOW, begin + size - offset)))
    return total.hexdigest()


def describe_content(device: Device, size: int) -> str:
    """What is on a disk, for people, as far as its first and last bytes say it.

    :param size: of the disk, in bytes.
    """
    raw = device.read(0, 2 * WINDOW)
    try:
        layout = read_layout(raw)
    except GptError:
        return traces.find(device.read, size) or "nothing at its beginning and its end"
    try:
        begin, _size = layout.places["nz-a"]
        inside = Ufs(lambda offset, length: device.read(begin + offset, length)).read(IMAGE_JSON)
        described = parse_inside(inside) if inside is not None else None
    except (KeyError, NotUfs):
        described = None
    if described is not None:
        return "a medium of {0}-{1}".format(described.name, described.version)
    names = sorted(layout.places)
    return "partitions: {0}".format(", ".join(each or "without a name" for each in names) or "none")


class MediumWriter:
    """Writes one published medium.

    :param scheme: of the partition table, one of :data:`KINDS`.
    :param path: the disk or file to write to; it must exist, and everything that could hold it was looked for.
    :param capacity: of the disk, in bytes; ``None`` for a new file, which reads as zeros, so that those need not be
        written.
    """

    def __init__(
        self,
        repository: Repository,
        manifest: Manifest,
        scheme: str,
        head: Head,
        path: str,
        capacity: Optional[int],
    ) -> None:
        self._artefact = manifest.artefact(KINDS[scheme])
        self._packed = Packed(repository, self._artefact)
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
        self._totals = {begin: hashlib.sha256() for begin in head.begins()}

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
    return Site(entry["name"], entry["arch"], entry["pool"], entry["features"], entry["scheme"])
