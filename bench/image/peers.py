# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tools that others use for this, each in the way its documentation recommends.

Where a tool can take a stream it gets one from curl, so that nothing is staged that need not be. Options follow the
manual pages of the versions in Debian 12.
"""

from __future__ import annotations

import os
from typing import List, Sequence

from ansible_collections.nanozfs.fleet.bench.image.contender import Command, Contender, Pair, pipe, target

MIB = 1 << 20


def curl(url: str) -> Command:
    """Fetch something to the standard output."""
    return ["curl", "--silent", "--show-error", "--fail", url]


class Xz(Contender):
    """The whole image, as small as the usual compressor makes it."""

    name, title, needs = "xz", "xz -6, whole image", ("xz-utils", "curl")

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        return [pipe(["xz", "-6", "-T1", "-c", pair.new], to=os.path.join(folder, "image.xz"))]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        return [pipe(curl(url + "image.xz"), ["xz", "-dc"], to=target(work))]


class Zstd(Contender):
    """The whole image, as fast as it can be unpacked."""

    name, title, needs = "zstd", "zstd -3 --long, whole image", ("zstd", "curl")

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        return [["zstd", "-q", "-3", "--long", "-T1", pair.new, "-o", os.path.join(folder, "image.zst")]]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        return [pipe(curl(url + "image.zst"), ["zstd", "-q", "-dc", "--long", "--sparse"], to=target(work))]


class Zsync(Contender):
    """Rolling checksums of the image; the client finds in what it has what it need not fetch."""

    name, title, needs = "zsync", "zsync -b 2048", ("zsync",)
    note = "serves the image uncompressed; works in a .part file beside the target"

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        control = os.path.join(folder, "image.zsync")
        return [
            ["ln", "-s", pair.new, os.path.join(folder, "image.img")],
            ["zsyncmake", "-b", "2048", "-u", "image.img", "-f", "image.img", "-o", control, pair.new],
        ]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        return [["zsync", "-q", "-i", pair.old, "-o", target(work), url + "image.zsync"]]


class Casync(Contender):
    """Chunks whose ends the content decides, a file for each."""

    name, title, needs = "casync", "casync, 64 KiB chunks", ("casync",)
    chunk = 65536

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        store, index = os.path.join(folder, "store.castr"), os.path.join(folder, "image.caibx")
        return [["casync", "make", "--store=" + store, "--chunk-size={0}".format(self.chunk), index, pair.new]]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        store, index = url + "store.castr", url + "image.caibx"
        # no reflinks: between two devices they fail, and casync reads whole runs of chunks into memory to try them
        extract = ["casync", "extract", "--reflink=no", "--store=" + store, "--seed=" + pair.old]
        return [[*extract, index, target(work)]]


class CasyncSmall(Casync):
    """The same with small chunks: fewer bytes, many more requests."""

    name, title, slow, chunk = "casync16", "casync, 16 KiB chunks", True, 16384


class Zchunk(Contender):
    """Chunks whose ends the content decides, compressed, in one file that is fetched in ranges."""

    name, title, needs = "zchunk", "zchunk", ("zchunk",)
    note = "the host must keep the .zck of the image it has (given to it here), and stages that of the new one"

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        return [["zck", "-o", os.path.join(folder, "image.zck"), pair.new]]

    def prepare(self, pair: Pair, folder: str, work: str) -> List[Command]:
        # once for both pairs; outside of what is published and of what a run clears
        kept = os.path.join(os.path.dirname(pair.old), "a-{0}.zck".format(pair.old_id[:12]))
        make = 'test -e "$1" || { zck -o "$1.partial" "$2" && mv "$1.partial" "$1"; }'
        return [
            ["bash", "-c", make, "zck", kept, pair.old],
            ["ln", "-s", kept, os.path.join(work, "old.zck")],
        ]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        return [
            ["zckdl", "-s", os.path.join(work, "old.zck"), url + "image.zck"],
            pipe(["unzck", "-c", os.path.join(work, "image.zck")], to=target(work)),
        ]


class Xdelta(Contender):
    """A difference between the two images (VCDIFF)."""

    name, title, needs = "xdelta3", "xdelta3, 64 MiB window", ("xdelta3", "curl")
    note = "one file per pair"
    window = 64 * MIB

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        out = os.path.join(folder, "delta.vcdiff")
        return [["xdelta3", "-q", "-9", "-B", str(self.window), "-e", "-s", pair.old, pair.new, out]]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        decode = ["xdelta3", "-q", "-d", "-c", "-B", str(self.window), "-s", pair.old]
        return [pipe(curl(url + "delta.vcdiff"), decode, to=target(work))]


class XdeltaLarge(Xdelta):
    """The same, with all of the old image in memory."""

    name, title, window = "xdelta3-1g", "xdelta3, 1 GiB window", 1024 * MIB


class ZstdPatch(Contender):
    """The new image, compressed with the old one as dictionary."""

    name, title, needs = "zstd-patch", "zstd -3 --patch-from", ("zstd", "curl")
    note = "one file per pair"

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        out = os.path.join(folder, "patch.zst")
        return [["zstd", "-q", "-3", "-T1", "--long=30", "--patch-from=" + pair.old, pair.new, "-o", out]]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        decode = ["zstd", "-q", "-d", "-c", "--sparse", "--long=30", "--patch-from=" + pair.old]
        return [pipe(curl(url + "patch.zst"), decode, to=target(work))]


class Bmaptool(Contender):
    """The whole image, without the blocks that are not in use."""

    name, title, needs = "bmaptool", "bmaptool with gzip -6", ("bmap-tools", "gzip")
    note = "leaves unmapped blocks of a medium as they were: the result is the image only where they were zeros"

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        image = os.path.join(folder, "image.img")
        # bmaptool takes what the file system has no blocks for as unused
        return [
            ["cp", "--sparse=always", pair.new, image],
            ["bmaptool", "create", "-o", os.path.join(folder, "image.bmap"), image],
            ["gzip", "-6", image],
        ]

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        bmap = url + "image.bmap"
        return [["bmaptool", "--quiet", "copy", "--no-sig-verify", "--bmap", bmap, url + "image.img.gz", target(work)]]


PEERS: Sequence[Contender] = (
    Xz(),
    Zstd(),
    Zsync(),
    Casync(),
    CasyncSmall(),
    Zchunk(),
    Xdelta(),
    XdeltaLarge(),
    ZstdPatch(),
    Bmaptool(),
)
