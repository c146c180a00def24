# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Choosing how an image gets onto a slice, and what has to be fetched for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.fetch import ranges_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    MAX_MAP,
    NEW,
    BadMap,
    Frame,
    Map,
    parse_map,
    parse_recipe,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    GRID,
    WINDOW,
    BadManifest,
    Manifest,
    Offer,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import fetch_artefact

#: how many bytes of output this much of processor time makes, measured on one core (bytes per second): only to choose
#: between offers of the same image, where no more than their order counts
UNPACKED_PER_SECOND = {codec.XZ: 68e6, codec.ZSTD: 650e6}


@dataclass(frozen=True)
class Wishes:
    """What the operator asks of a transfer.

    :param fallback: ``full``: where there is no delta that can be used, fetch the pack; ``fail``: do not.
    :param connections: how many to use at most.
    :param max_transfer: refuse to fetch more than this (bytes); ``None`` for no limit.
    :param line_rate: speed of the line, for predictions (bytes per second).
    :param deltas: whether deltas may be used at all.
    """

    fallback: str = "full"
    connections: int = 2
    max_transfer: Optional[int] = None
    line_rate: float = 12.5e6
    deltas: bool = True


@dataclass(frozen=True)
class Plan:
    """What will be fetched. Sizes in bytes.

    :param wrong: the windows to make.
    :param frames: the frames that they are in, in order.
    :param payloads: those of them whose payload is needed.
    """

    offer: Offer
    map: Map
    wrong: Sequence[int]
    frames: Sequence[Frame]
    payloads: Sequence[Frame]
    wishes: Wishes

    @property
    def size(self) -> int:
        """What has to be fetched, apart from the map, which is here already."""
        return sum(part.length for part in ranges_of(self.payloads, self.wishes.connections))

    def parts(self, chunk: int) -> List[Tuple[int, int]]:
        """Offset and length of what has to be fetched, in pieces that hold whole frames: for somebody who brings it.

        :param chunk: how large a piece may be, if it does not have to be larger for its only frame (bytes).
        """
        found: List[Tuple[int, int]] = []
        for part in ranges_of(self.payloads, 1):
            start = end = part.offset
            for frame in part.frames:
                if frame.offset + frame.size - start > chunk and end > start:
                    found.append((start, end - start))
                    start = frame.offset
                end = frame.offset + frame.size
            found.append((start, end - start))
        return found

    def as_dict(self) -> Dict[str, Any]:
        """For module results: the prediction."""
        parts = ranges_of(self.payloads, self.wishes.connections)
        return {
            "source": self.offer.describe(),
            "kind": self.offer.kind,
            "codec": self.offer.codec,
            "file": self.offer.data.name,
            "bytes": self.size,
            "requests": len(parts),
            "seconds": round(self.size / self.wishes.line_rate, 1),
            "line_rate": int(self.wishes.line_rate),
        }


def usable(manifest: Manifest, bases: Collection[str], deltas: bool) -> List[Offer]:
    """The offers that a host can use.

    :param bases: builds of the images that are on it, apart from what is to be overwritten.
    """
    known = codec.unpackers()
    return [
        offer
        for offer in manifest.offers
        if offer.codec in known and (offer.base is None or (deltas and offer.build in bases))
    ]


def usable_deltas(manifest: Manifest, bases: Collection[str], deltas: bool) -> bool:
    """Whether there is any delta that a host can use."""
    return any(offer.base is not None for offer in usable(manifest, bases, deltas))


def choose(manifest: Manifest, bases: Collection[str], wrong: int, wishes: Wishes) -> Offer:
    """The offer that brings an image with the fewest bytes; of the same in several codecs, the quickest.

    :param wrong: bytes of the image that are not there yet. Of a file with payloads that part is needed, more or less;
        exactly this is known when its map has been read.
    :raises FleetError: when there is none.
    """
    offers = usable(manifest, bases, wishes.deltas)
    share = wrong / manifest.size

    def size(offer: Offer) -> float:
        return offer.map.size + share * offer.data.size

    def seconds(offer: Offer) -> Tuple[float, float]:
        made = wrong if offer.base is None else min(wrong, offer.data.size * 8)
        # by size where the line decides for both of them, or nothing does
        return round(max(size(offer) / wishes.line_rate, made / UNPACKED_PER_SECOND[offer.codec]), 1), size(offer)

    packs = [offer for offer in offers if offer.base is None]
    deltas = [offer for offer in offers if offer.base is not None]
    if deltas:
        # of several bases the nearest one
        base = min(deltas, key=size).base
        best = min((offer for offer in deltas if offer.base == base), key=seconds)
        smallest = min(packs, key=size) if packs else None
        if smallest is None or wishes.fallback == "fail" or size(best) <= size(smallest):
            return best
        return smallest
    if not packs:
        raise FleetError(
            "nothing is published of {0} that this host can use".format(manifest.describe()),
            safe="nothing was written",
            todo="publish the image again (playbook build): every image has at least a full pack in xz",
        )
    return min(packs, key=seconds)


def read_map(repository: Repository, manifest: Manifest, offer: Offer) -> Map:
    """Fetch and check the map of an offer.

    :raises BadMap: when it does not match the signed manifest.
    """
    if offer.map.size > MAX_MAP:
        raise BadMap("the map {0} would have {1} bytes".format(offer.map.name, offer.map.size))
    try:
        raw = fetch_artefact(repository, offer.map)
    except BadManifest as error:
        raise BadMap(error.what)
    found = parse_map(raw, offer.data.size)
    if (found.image, found.base, found.size) != (manifest.id, offer.base, manifest.size):
        raise BadMap("{0} in {1} belongs to another image".format(offer.map.name, repository.location))
    return found


def _needs_payload(found: Map, frame: Frame, wanted: Collection[int]) -> bool:
    """Whether any of the wanted windows of a frame has new blocks."""
    if not frame.fetched:
        return False
    if all(index in wanted for index in range(frame.first, frame.first + frame.windows)):
        return True
    at = frame.first * WINDOW
    for kind, count, _block in parse_recipe(frame, found.blocks(frame)).steps:
        end = at + count * GRID
        if kind == NEW and any(index in wanted for index in range(at // WINDOW, -(-end // WINDOW))):
            return True
        at = end
    return False


def plan(offer: Offer, found: Map, wrong: Sequence[int], wishes: Wishes) -> Plan:
    """What has to be fetched for some windows.

    :raises Refused: when it is more than what is allowed.
    """
    wanted = set(wrong)
    frames = [
        frame
        for frame in found.frames
        if any(index in wanted for index in range(frame.first, frame.first + frame.windows))
    ]
    payloads = [frame for frame in frames if _needs_payload(found, frame, wanted)]
    made = Plan(offer, found, wrong, frames, payloads, wishes)
    if wishes.max_transfer is not None and made.size > wishes.max_transfer:
        raise Refused(
            "{0} is {1} bytes, and no more than {2} may be fetched (max_transfer)".format(
                offer.describe(), made.size, wishes.max_transfer
            ),
            safe="nothing was fetched or written",
            todo="publish a delta from what this host runs (image_deltas_from), or allow more",
        )
    return made


def refuse_full(manifest: Manifest, reason: str, wishes: Wishes) -> None:
    """Refuse to fetch the whole image, if the operator said so.

    :param reason: why there is nothing better.
    :raises Refused: with ``fallback: fail``.
    """
    if wishes.fallback != "fail":
        return
    sizes = [offer.data.size for offer in manifest.offers if offer.base is None]
    raise Refused(
        "{0}; the full pack has {1} bytes, and fallback=fail forbids to fetch it".format(reason, min(sizes, default=0)),
        safe="what is written already is kept; the slice has no boot flags",
        todo="publish a delta from what this host runs (image_deltas_from), or allow it with fallback=full",
    )
