# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing a slice from what it holds to what it should hold.

The slice itself is the record of how far a write came: every window of it is hashed first, and only those that are not
yet right are fetched and written. So a write that was broken off goes on where it stopped, with no state kept anywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Callable, Iterator, List, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._geom import Mesh
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import BadManifest, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._medium import BOOTME, BOOTONCE, Medium

DIGEST = 32

#: called with the bytes that are right so far and the bytes in all
Progress = Callable[[int, int], None]


class WrongBytes(FleetError):
    """The source delivered, or the medium returned, other bytes than the manifest says."""


@dataclass(frozen=True)
class Windows:
    """The SHA-256 of every window of an image. Sizes in bytes; the last window may be shorter."""

    size: int
    window: int
    digests: Tuple[bytes, ...]

    def span(self, index: int) -> Tuple[int, int]:
        """Offset and length of a window."""
        offset = index * self.window
        return offset, min(self.window, self.size - offset)

    def length(self, indices: Sequence[int]) -> int:
        """The bytes in some windows together."""
        return sum(self.span(index)[1] for index in indices)

    def __len__(self) -> int:
        return len(self.digests)


def read_windows(repository: Repository, manifest: Manifest) -> Windows:
    """Fetch and check the window digests of an image.

    :raises BadManifest: when the file does not match the signed manifest.
    """
    artefact = manifest.artefact("windows")
    expected = -(-manifest.size // manifest.window) * DIGEST
    if artefact.size != expected:
        raise BadManifest("the window file of {0} has an impossible size".format(manifest.describe()))
    raw = repository.fetch(artefact.name, expected)
    if hashlib.sha256(raw).hexdigest() != artefact.sha256:
        raise BadManifest(
            "{0} in {1} does not match the signed manifest".format(artefact.name, repository.location),
            safe="nothing was written",
            todo="publish the image again; a file of it was damaged or swapped",
        )
    return Windows(manifest.size, manifest.window, tuple(raw[at : at + DIGEST] for at in range(0, len(raw), DIGEST)))


def wrong_windows(device: Device, windows: Windows, indices: Sequence[int]) -> List[int]:
    """Those of the given windows that do not hold what they should."""
    wrong = []
    for index in indices:
        offset, length = windows.span(index)
        if hashlib.sha256(device.read(offset, length)).digest() != windows.digests[index]:
            wrong.append(index)
    return wrong


def runs(indices: Sequence[int]) -> Iterator[Tuple[int, int]]:
    """Neighbouring indices together, as first and last: ``1 2 3 7`` gives ``(1, 3) (7, 7)``."""
    first = last = -1
    for index in indices:
        if first >= 0 and index == last + 1:
            last = index
            continue
        if first >= 0:
            yield first, last
        first = last = index
    if first >= 0:
        yield first, last


def fetch_windows(
    repository: Repository, manifest: Manifest, windows: Windows, indices: Sequence[int]
) -> Iterator[Tuple[int, bytes]]:
    """The content of windows, in order, each compared with its digest before it is handed out.

    :raises WrongBytes: when the source delivers something else.
    """
    name = manifest.artefact("image").name
    for first, last in runs(indices):
        offset = windows.span(first)[0]
        end = sum(windows.span(last))
        buffer = bytearray()
        index = first
        for piece in repository.stream(name, offset, end - offset):
            buffer += piece
            while index <= last and len(buffer) >= windows.span(index)[1]:
                length = windows.span(index)[1]
                content = bytes(buffer[:length])
                del buffer[:length]
                if hashlib.sha256(content).digest() != windows.digests[index]:
                    raise WrongBytes(
                        "{0} in {1} holds other bytes at {2} than the signed manifest says".format(
                            name, repository.location, windows.span(index)[0]
                        ),
                        safe="these bytes were not written; the slice has no boot flags",
                        todo="publish the image again, then run the play again; it goes on from here",
                    )
                yield index, content
                index += 1


def write_windows(
    device: Device,
    repository: Repository,
    manifest: Manifest,
    windows: Windows,
    wrong: Sequence[int],
    progress: Progress,
) -> int:
    """Write the windows that are wrong, in order, flush, and read every one of the image back.

    A window that comes back wrong is written once more; a medium that then still returns other bytes is at its end.

    :returns: bytes written.
    :raises WrongBytes: when source or medium do not deliver.
    """
    total = windows.size
    written = 0
    todo = list(wrong)
    for _attempt in range(2):
        right = total - windows.length(todo)
        for index, content in fetch_windows(repository, manifest, windows, todo):
            device.write(windows.span(index)[0], content)
            written += len(content)
            right += len(content)
            progress(right, total)
        device.flush()
        todo = wrong_windows(device, windows, range(len(windows)))
        if not todo:
            return written
    raise WrongBytes(
        "{0} does not return what was written to it: {1} of {2} MiB differ".format(
            device.path, len(todo), len(windows)
        ),
        safe="the slice has no boot flags and will not be booted; the running slice was not touched",
        todo="replace the OS medium: write disk.img to a new one, put it in, and the host revives itself",
    )


def check_target(mesh: Mesh, medium: Medium, path: str, will_disarm: bool = False) -> None:
    """Refuse a provider that must not be written.

    GEOM does not protect a file system that is mounted read-only, and the running root is one: see
    :meth:`Mesh.holders`.

    :param path: a device node or provider name, by whatever name.
    :param will_disarm: boot flags do not count: they are taken off before anything is written.
    :raises Refused: when it does not exist, is the running slice, is in use, or would be booted.
    """
    safe = "nothing was written"
    provider = mesh.find(path)
    if provider is None:
        raise Refused("there is no disk provider {0}".format(path), safe=safe, todo="look with `gpart show -p`")
    base = mesh.base(provider).name
    running = mesh.find(medium.slices[medium.running].provider)
    if running is not None and mesh.base(running).name == base:
        raise Refused("{0} is the running slice {1}".format(path, medium.running), safe=safe)
    holders = mesh.holders(provider)
    if holders:
        raise Refused(
            "{0} is in use by {1}".format(path, ", ".join(str(each) for each in holders)),
            safe=safe,
            todo="unmount or close it first (fstat, mount -p)",
            holders=[str(each) for each in holders],
        )
    for piece in medium.slices.values():
        found = mesh.find(piece.provider)
        if found is not None and mesh.base(found).name == base and piece.flags & {BOOTME, BOOTONCE} and not will_disarm:
            raise Refused(
                "{0} carries the boot flags {1}: a power cut during the write would boot half an image".format(
                    piece.label, ", ".join(sorted(piece.flags))
                ),
                safe=safe,
                todo="make it inactive first (gpart_slice with state=inactive)",
            )
    if base == medium.disk:
        raise Refused("{0} is the OS medium as a whole".format(path), safe=safe)
