# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decoders: what was written is read, and nothing else makes them do anything but say that it is damaged.

Everything that a host decodes was compared with a signed digest before. These tests leave that out and throw damaged
data at the decoders themselves.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import random
import struct
import tracemalloc
from typing import Any, Callable, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.nanozfs.fleet.plugins.module_utils._image import codec, frames, patch
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import (
    COPY,
    LITERAL,
    NEW,
    NOTHING,
    PATCH,
    ZERO,
    BadMap,
    Frame,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    GRID,
    WINDOW,
    BadManifest,
    parse_channel,
    parse_index,
    parse_inside,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.varint import (
    Reader,
    Truncated,
    write_number,
    write_signed,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _xz
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import delta, maps
from ansible_collections.nanozfs.fleet.tests.unit.published import Published

#: the CI machine may be busy: nothing here is about time
quiet = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))

IMAGE, BASE = "12" * 32, "34" * 32


class TestNumbers:
    """Numbers of variable length."""

    @quiet
    @given(st.lists(st.integers(min_value=0, max_value=1 << 62)), st.lists(st.integers(-(1 << 60), 1 << 60)))
    def test_come_back(self, numbers: List[int], signed: List[int]) -> None:
        reader = Reader(b"".join([write_number(each) for each in numbers] + [write_signed(each) for each in signed]))
        assert [reader.number() for _each in numbers] == numbers
        assert [reader.signed() for _each in signed] == signed
        assert reader.at_end()

    @quiet
    @given(st.binary(max_size=40))
    def test_anything_is_a_number_or_the_end(self, raw: bytes) -> None:
        reader = Reader(raw)
        try:
            while not reader.at_end():
                assert 0 <= reader.number() < 1 << 77
        except Truncated:
            pass

    def test_an_endless_number_ends(self) -> None:
        with pytest.raises(Truncated):
            Reader(b"\x80" * 1000).number()


def old_and_new() -> st.SearchStrategy:
    """Two byte strings, of which the second is the first with a few changes."""

    def change(pair: Tuple[bytes, List[Tuple[int, bytes]]]) -> Tuple[bytes, bytes]:
        new = bytearray(pair[0])
        for at, text in pair[1]:
            new[at % (len(new) + 1) : at % (len(new) + 1)] = text
        return pair[0], bytes(new)

    changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=50)), max_size=6)
    return st.tuples(st.binary(max_size=3000).map(lambda text: text * 7), changes).map(change)


class TestPatches:
    """Patches in the manner of bsdiff."""

    @quiet
    @given(old_and_new())
    def test_make_the_new_bytes(self, pair: Tuple[bytes, bytes]) -> None:
        pytest.importorskip("bsdiff4", reason="bsdiff4 has no package for this Python; patches are not made here")
        old, new = pair
        assert bytes(patch.apply(bytearray(old), delta.make_patch(old, new), len(new))) == new

    @quiet
    @given(st.binary(min_size=1, max_size=patch.STEP), st.randoms(use_true_random=False))
    def test_adds_byte_by_byte(self, one: bytes, chance: random.Random) -> None:
        other = bytes(chance.randrange(256) for _byte in one)
        expected = bytes((left + right) & 255 for left, right in zip(one, other))
        assert patch.add(memoryview(one), memoryview(other)) == expected

    @quiet
    @given(
        st.binary(max_size=300),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(-300, 300)), max_size=5),
        st.binary(max_size=600),
        st.integers(0, 600),
    )
    def test_nonsense_is_refused(
        self, reference: bytes, instructions: List[Tuple[int, int, int]], rest: bytes, size: int
    ) -> None:
        raw = patch.build(instructions, rest, b"")
        try:
            made = patch.apply(bytearray(reference), raw, size)
        except patch.BadPatch:
            return
        assert len(made) == size

    @quiet
    @given(st.binary(max_size=200), st.binary(max_size=100))
    def test_any_bytes(self, raw: bytes, reference: bytes) -> None:
        with contextlib.suppress(patch.BadPatch):
            patch.apply(bytearray(reference), raw, 50)

    def test_reaches_nowhere_outside(self) -> None:
        for add, move in ((11, 0), (1, -5), (1, 100)):
            raw = patch.build([(add, 0, move), (1, 0, 0)], bytes(add + 1), b"")
            with pytest.raises(patch.BadPatch, match="outside"):
                patch.apply(bytearray(10), raw, add + 1)


class TestCodecs:
    """Compression with a bound."""

    CODECS = sorted(codec.unpackers())

    @staticmethod
    def pack(name: str, data: bytes) -> bytes:
        return maps.pack_payload(data, name)

    @pytest.mark.parametrize("name", CODECS)
    @settings(deadline=None, max_examples=30)
    @given(data=st.binary(max_size=5000))
    def test_comes_back(self, name: str, data: bytes) -> None:
        assert codec.unpack(name, self.pack(name, data), len(data)) == data

    @pytest.mark.parametrize("name", CODECS)
    def test_another_size_is_refused(self, name: str) -> None:
        packed = self.pack(name, b"x" * 10000)
        for size in (0, 1, 9999, 10001, 1 << 20):
            with pytest.raises(codec.BadPayload):
                codec.unpack(name, packed, size)

    @pytest.mark.parametrize("name", CODECS)
    def test_a_bomb_takes_no_memory(self, name: str) -> None:
        """64 MiB that are said to be 4 KiB."""
        bomb = self.pack(name, bytes(64 << 20))
        tracemalloc.start()
        with pytest.raises(codec.BadPayload):
            codec.unpack(name, bomb, 4096)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20  # the largest dictionary of liblzma that we allow is part of it

    def test_a_large_dictionary_is_refused(self) -> None:
        """What a stream says of the memory that it needs does not count."""
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 64 << 20}]
        greedy = lzma.compress(b"x" * 5000, format=lzma.FORMAT_XZ, filters=filters)
        with pytest.raises(codec.BadPayload):
            codec.unpack(codec.XZ, greedy, 5000)

    @pytest.mark.parametrize("name", CODECS)
    def test_every_cut_and_every_flip(self, name: str) -> None:
        data = bytes(range(256)) * 3
        packed = self.pack(name, data)
        for at in range(len(packed)):
            with pytest.raises(codec.BadPayload):
                codec.unpack(name, packed[:at], len(data))
            flipped = packed[:at] + bytes([packed[at] ^ 16]) + packed[at + 1 :]
            with contextlib.suppress(codec.BadPayload):
                assert len(codec.unpack(name, flipped, len(data))) == len(data)
        with pytest.raises(codec.BadPayload):
            codec.unpack(name, packed + packed, 2 * len(data))

    def test_an_unknown_codec(self) -> None:
        with pytest.raises(codec.BadPayload, match="cannot unpack lz5"):
            codec.unpack("lz5", b"", 0)


def steps() -> st.SearchStrategy:
    """Recipes for one window."""

    def fill(parts: List[Tuple[int, int, int]]) -> List[Tuple[int, int, int]]:
        made, out = 0, []
        for kind, wanted, block in parts:
            count = min(wanted, 256 - made)
            if count:
                out.append((kind, count, block if kind == COPY else 0))
            made += count
        return out + ([(ZERO, 256 - made, 0)] if made < 256 else [])

    return st.lists(st.tuples(st.sampled_from([ZERO, NEW, COPY]), st.integers(1, 100), st.integers(0, 5000))).map(fill)


def as_map(recipes: List[List[Tuple[int, int, int]]]) -> Tuple[bytes, int]:
    """The map of an image with one frame for each recipe, and the size of its payloads."""
    placed = []
    total = 0
    for recipe in recipes:
        new = sum(count for kind, count, _block in recipe if kind == NEW)
        draft = maps.Draft(1, recipe, LITERAL if new else NOTHING, b"", new * GRID)
        placed.append(maps.Placed(draft, 100 if new else 0, bytes(32)))
        total += 100 if new else 0
    return maps.encode_map(IMAGE, BASE, len(recipes) * WINDOW, placed), total


class TestMaps:
    """Maps and recipes."""

    @quiet
    @given(st.lists(steps(), min_size=1, max_size=5))
    def test_come_back(self, recipes: List[List[Tuple[int, int, int]]]) -> None:
        raw, total = as_map(recipes)
        found = frames.parse_map(raw, total)
        assert (found.image, found.base, found.size) == (IMAGE, BASE, len(recipes) * WINDOW)
        for frame, recipe in zip(found.frames, recipes):
            parsed = frames.parse_recipe(frame, found.blocks(frame))
            assert list(parsed.steps) == recipe
            new = memoryview(b"\7" * (parsed.new * GRID))
            made = [bytes(content) for _index, content in frames.windows_of(frame, parsed, new, fake_base, always)]
            assert made == [expected(recipe)]

    @quiet
    @given(st.lists(steps(), min_size=1, max_size=3), st.integers(0, 1 << 20), st.integers(1, 255))
    def test_a_flipped_byte(self, recipes: List[List[Tuple[int, int, int]]], at: int, change: int) -> None:
        raw, total = as_map(recipes)
        plain = bytearray(lzma.decompress(raw))
        plain[at % len(plain)] ^= change
        use(_xz.compress_xz(bytes(plain), _xz.filters(len(plain))), total)

    @quiet
    @given(st.binary(max_size=300))
    def test_any_bytes(self, rest: bytes) -> None:
        plain = frames.MAGIC + bytes(64) + rest
        use(_xz.compress_xz(plain, _xz.filters(len(plain))), 0)
        use(rest, 0)

    def test_every_cut(self) -> None:
        raw, total = as_map([[(NEW, 100, 0), (COPY, 156, 9)], [(ZERO, 256, 0)]])
        plain = lzma.decompress(raw)
        for end in range(len(plain)):
            with pytest.raises(BadMap):
                frames.parse_map(_xz.compress_xz(plain[:end], _xz.filters(end)), total)
        for end in range(len(raw)):
            with pytest.raises(BadMap):
                frames.parse_map(raw[:end], total)

    @pytest.mark.parametrize("total", [0, 99, 101])
    def test_another_size_of_the_payloads(self, total: int) -> None:
        raw, _right = as_map([[(NEW, 256, 0)]])
        with pytest.raises(BadMap, match="whole image"):
            frames.parse_map(raw, total)

    def test_a_map_that_is_a_bomb(self) -> None:
        bomb = _xz.compress_xz(bytes(frames.MAX_MAP + 1), _xz.filters(frames.MAX_MAP))
        with pytest.raises(BadMap):
            frames.parse_map(bomb, 0)

    @pytest.mark.parametrize(
        "recipe, reference",
        [
            ([(NEW, 513, 0)], []),  # more new blocks than are allowed
            ([(COPY, 255, 0)], []),  # too few
            ([(COPY, 257, 0)], []),  # too many
            ([(3, 256, 0)], []),  # a kind that there is not
            ([(COPY, 256, -1)], []),
            ([(NEW, 256, 0)], [(0, 1025)]),  # a reference that needs too much memory
            ([(NEW, 256, 0)], [(0, 0)]),
            ([(NEW, 256, 0)], [(-5, 1)]),
        ],
    )
    def test_impossible_recipes(self, recipe: List[Tuple[int, int, int]], reference: List[Tuple[int, int]]) -> None:
        raw = maps._recipe(maps.Draft(1, recipe, PATCH, b"", 0, reference))
        frame = Frame(0, 1, 0, 100, bytes(32), PATCH, 0, raw)
        with pytest.raises(BadMap, match=r"impossible|damaged"):
            frames.parse_recipe(frame, 256)

    def test_no_base(self) -> None:
        recipe = frames.Recipe(((0, 1),), ((COPY, 256, 0),), 0)
        frame = Frame(0, 1, 0, 1, bytes(32), PATCH, 0, b"")
        with pytest.raises(BadMap, match="needs a base"):
            list(frames.windows_of(frame, recipe, memoryview(b""), None, always))
        with pytest.raises(BadMap, match="needs a base"):
            frames.new_blocks(frame, recipe, b"", None)


def always(_index: int) -> bool:
    return True


def fake_base(offset: int, view: memoryview) -> None:
    """A base whose blocks are all different."""
    for at in range(0, len(view), GRID):
        view[at : at + GRID] = struct.pack("<I", (offset + at) // GRID) * (GRID // 4)


def expected(recipe: List[Tuple[int, int, int]]) -> bytes:
    out = bytearray()
    for kind, count, block in recipe:
        piece = bytearray(count * GRID)
        if kind == NEW:
            piece = bytearray(b"\7" * (count * GRID))
        elif kind == COPY:
            fake_base(block * GRID, memoryview(piece))
        out += piece
    return bytes(out)


def use(raw: bytes, total: int) -> None:
    """Do with a map what a writer does with it; BadMap is the only way to fail."""
    try:
        found = frames.parse_map(raw, total)
        for frame in found.frames[:20]:
            recipe = frames.parse_recipe(frame, found.blocks(frame))
            new = frames.new_blocks(frame, recipe, bytes(min(frame.unpacked, 4 << 20)), fake_base)
            for _index, content in frames.windows_of(frame, recipe, new, fake_base, always):
                assert 0 < len(content) <= WINDOW
    except BadMap:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


class TestDocuments:
    """Manifests, channels, indexes and descriptions inside of images."""

    PARSERS = (parse_manifest, parse_channel, parse_index, parse_inside)

    @pytest.mark.parametrize("parse", PARSERS)
    @settings(deadline=None, max_examples=100)
    @given(raw=st.binary(max_size=300))
    def test_any_bytes(self, parse: Callable[[bytes], Any], raw: bytes) -> None:
        with pytest.raises(BadManifest):
            parse(raw)

    @quiet
    @given(data=st.data())
    def test_a_manifest_with_anything_in_it(self, data: Any, sample: bytes) -> None:
        """Any value of the manifest replaced by any other: it is refused, or all that is used of it has its type."""
        document = json.loads(sample)
        place = document
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
                break
            place = inner
        place[key] = data.draw(json_values)
        try:
            manifest = parse_manifest(json.dumps(document).encode())
        except BadManifest:
            return
        for artefact in manifest.published():
            assert artefact.size >= 0 and ".." not in artefact.name and not artefact.name.startswith(("/", "."))
        assert manifest.size > 0 and isinstance(manifest.describe(), str)

    @pytest.fixture
    def sample(self, published: Published) -> bytes:
        return json.dumps(published.manifest.extra).encode()

    def test_every_cut_of_a_manifest(self, sample: bytes) -> None:
        for end in range(len(sample)):
            with pytest.raises(BadManifest):
                parse_manifest(sample[:end])
