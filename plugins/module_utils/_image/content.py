# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the slices of a host hold, read without mounting them."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Medium, Slice, read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import NotUfs, Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    IMAGE_JSON,
    Inside,
    is_digest,
    parse_inside,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, Origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import parse as parse_origin
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef


class SliceContent:
    """What a slice holds: the image's own description, its id, or why neither can be told.

    :param origin: where the image comes from, if that was asked for and it says so.
    :param unclear: why it cannot be told where the image comes from, although it says so.
    """

    def __init__(
        self,
        inside: Optional[Inside],
        ident: Optional[str],
        problem: str,
        origin: Optional[Origin] = None,
        unclear: str = "",
    ) -> None:
        self.inside = inside
        self.ident = ident
        self.problem = problem
        self.origin = origin
        self.unclear = unclear

    def ref(self) -> Optional[ImageRef]:
        """The image as the journal names it; ``None`` unless the whole slice was hashed."""
        if self.inside is None or self.ident is None:
            return None
        return ImageRef(self.ident, self.inside.build, self.inside.version)

    def as_dict(self, packages: bool = False) -> Optional[Dict[str, Any]]:
        """For module results.

        :param packages: with the list of packages and archives of its origin.
        """
        if self.inside is None:
            return None
        origin = self.origin.summary(packages) if self.origin is not None else None
        return dict(self.inside.as_dict(), id=self.ident, origin=origin)


def read_slice(piece: Slice, digest: bool, origin: bool = False) -> SliceContent:
    """Look into a slice without mounting it.

    :param digest: hash the whole image, which reads all of it.
    :param origin: look where the image comes from as well.
    """
    try:
        with devices.open_device(piece.path) as device:
            return _content(device, digest, origin)
    except FleetError as error:
        return SliceContent(None, None, error.what)


def _origin(ufs: Ufs) -> Tuple[Optional[Origin], str]:
    """Where an image comes from, or why that cannot be told; it is no reason to doubt the image."""
    try:
        raw = ufs.read(ORIGIN_JSON)
        return parse_origin(raw.decode("utf-8", "replace")) if raw is not None else None, ""
    except FleetError as error:
        return None, error.what


def _content(device: devices.Device, digest: bool, origin: bool) -> SliceContent:
    try:
        ufs = Ufs(device.read)
        raw = ufs.read(IMAGE_JSON)
    except NotUfs as error:
        return SliceContent(None, None, error.what)
    if raw is None:
        return SliceContent(None, None, "the file system on it holds no image of ours (no {0})".format(IMAGE_JSON))
    said = _origin(ufs) if origin else (None, "")
    return SliceContent(parse_inside(raw), device.digest(ufs.size) if digest else None, "", *said)


def running_image(medium: Medium) -> Optional[Inside]:
    """What the running image says of itself."""
    return read_slice(medium.slices[medium.running], False).inside


def other_builds(medium: Medium, target: Slice) -> Dict[str, str]:
    """The device nodes of the slices besides one, by the build of what they hold: what a delta can start from."""
    found = {}
    for piece in medium.slices.values():
        inside = read_slice(piece, False).inside if piece.label != target.label else None
        if inside is not None:
            found[inside.build] = piece.path
    return found


def running_here(runner: Runner) -> Optional[Inside]:
    """What the image says of itself that this machine runs. ``None`` on one that runs none, such as a controller or a
    plain FreeBSD.
    """
    try:
        return running_image(read_medium(runner))
    except FleetError:
        return None


def name_meant(wanted: str, name: Optional[str], running: Callable[[], Optional[Inside]]) -> Optional[str]:
    """The name of the image that is meant. Where none is said it is that of the running one: a host is never given
    another one unasked. A whole id says itself which one is meant.

    :param wanted: see :func:`trust.find_image`.
    :param name: what was said.
    :param running: finds out what runs; only asked where that matters.
    """
    if name is not None or is_digest(wanted):
        return name
    inside = running()
    return inside.name if inside is not None else None
