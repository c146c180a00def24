# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The writer: it chooses, fetches little, survives what goes wrong at any point, and proves what it wrote."""

from __future__ import annotations

import errno
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import choice, codec, fetch, writer
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.choice import Wishes
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import BadMap, Frame, parse_map
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.glimpse import TooMuch
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import BadManifest, parse_manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    FolderRepository,
    HttpRepository,
    Limits,
    NoRanges,
    PartRepository,
    SourceError,
    Throttle,
    open_repository,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Part, Progress, WrongBytes
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.unit.published import MIB, SIZE, Published

WINDOWS = 6


class PowerCut(Exception):
    """The host loses its power."""


class FailingDevice(Device):
    """A device that loses power, or data.

    :cvar writes: after so many windows the power fails; ``None`` for never.
    :cvar torn: how much of the last window still gets to the medium (bytes).
    """

    writes: Optional[int] = None
    torn = 0

    def write(self, offset: int, data: Any) -> None:
        cls = type(self)
        if cls.writes is not None:
            if cls.writes == 0:
                super().write(offset, bytes(data)[: min(cls.torn, len(data) // 2)])
                raise PowerCut
            cls.writes -= 1
        super().write(offset, data)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type:
    """Devices that can be told to fail."""
    kind = type("Kind", (FailingDevice,), {"writes": None, "torn": 0})
    monkeypatch.setattr(device, "open_device", lambda path, writable=False: kind(path, writable))
    return kind


@pytest.fixture
def copy(published: Published, tmp_path: Any) -> Published:
    """What is published, for a test that damages it."""
    shutil.copytree(published.folder, str(tmp_path / "copy"))
    return Published(str(tmp_path / "copy"))


class Server:
    """A web server for a folder, with its moods."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.server = web.server(folder, "127.0.0.1", 0)
        self.served = self.server.RequestHandlerClass.args[1].served  # type: ignore[attr-defined]
        self.url = "http://127.0.0.1:{0}".format(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def faults(self, faults: Dict[str, Any]) -> None:
        with open(os.path.join(self.folder, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump(faults, file)

    def repository(self, **limits: Any) -> HttpRepository:
        return HttpRepository(self.url, Limits(**dict({"timeout": 5, "retries": 2, "deadline": 60}, **limits)))


@pytest.fixture
def server(copy: Published) -> Iterator[Server]:
    found = Server(copy.repository)
    yield found
    found.server.shutdown()
    found.server.server_close()


class TestGlimpse:
    """Looking into an image before it is written."""

    @pytest.mark.parametrize("deltas", [True, False])
    @pytest.mark.parametrize("held", ["nothing", "a part", "all"])
    def test_every_byte_is_the_image_s(self, published: Published, deltas: bool, held: str) -> None:
        image = published.contents["1.1"]
        content = {"nothing": b"\xff" * SIZE, "a part": image[: 2 * MIB] + b"\xff" * (SIZE - 2 * MIB), "all": image}
        target = published.target(content[held])
        writer = published.writer(target, deltas=deltas)
        with writer.glimpse(writer.predict().plan) as found:
            for offset, length in ((0, 4096), (MIB - 4096, 8192), (4 * MIB, 3 * MIB), (SIZE - 4096, 8192), (SIZE, 1)):
                assert found.read(offset, length) == image[offset : offset + length]
            assert found.read(0, SIZE) == image
        with open(target, "rb") as file:
            assert file.read(SIZE) == content[held], "nothing is written"

    def test_no_more_is_fetched_than_is_looked_at(self, published: Published) -> None:
        writer = published.writer(published.target(), deltas=False)
        plan = writer.predict().plan
        assert plan is not None
        before = writer.repository.fetched
        with writer.glimpse(plan) as found:
            found.read(8192, 4096)
            fetched = writer.repository.fetched - before
            found.read(0, 4096)
        assert 0 < fetched < plan.size // 2 and writer.repository.fetched - before == fetched

    @pytest.mark.parametrize("deltas", [True, False])
    def test_nothing_is_fetched_twice(self, published: Published, deltas: bool) -> None:
        """A frame of a delta may have something for each window of the image."""
        writer = published.writer(published.target(), deltas=deltas)
        plan = writer.predict().plan
        assert plan is not None
        before = writer.repository.fetched
        with writer.glimpse(plan) as found:
            for index in reversed(range(SIZE // MIB)):
                found.read(index * MIB, 1)
        assert writer.repository.fetched - before <= sum(frame.size for frame in plan.frames)

    def test_what_is_not_as_it_is_signed(self, copy: Published) -> None:
        writer = copy.writer(copy.target(), deltas=False)
        plan = writer.predict().plan
        with open(copy.file(copy.offer("pack").data.name), "r+b") as file:
            file.seek(1000)
            file.write(b"other")
        with writer.glimpse(plan) as found, pytest.raises(BadMap, match="holds other bytes"):
            found.read(0, 4096)

    def test_a_base_that_has_rotted(self, copy: Published) -> None:
        with open(copy.paths["1.0"], "r+b") as file:
            file.write(os.urandom(SIZE))
        writer = copy.writer(copy.target())
        with writer.glimpse(writer.predict().plan) as found, pytest.raises(BadMap):
            found.read(0, SIZE)

    def test_a_budget(self, published: Published) -> None:
        """Of a part of the image that is more than it: the map alone cannot tell."""
        writer = published.writer(published.target(), deltas=False)
        plan = writer.predict().plan
        assert plan is not None
        small = replace(plan, wishes=replace(plan.wishes, max_transfer=10))
        with writer.glimpse(small) as found, pytest.raises(TooMuch, match="more than 10 bytes"):
            found.read(0, 4096)


class TestChoosing:
    """The cheapest way, said before anything is fetched."""

    def test_the_delta(self, published: Published) -> None:
        target = published.target()
        writer = published.writer(target)
        predicted = writer.predict()
        assert predicted.plan is not None and predicted.plan.as_dict()["kind"] == "delta"
        assert predicted.written == SIZE and not published.is_right(target)
        outcome = published.writer(target).write()
        assert published.is_right(target) and outcome.written == SIZE and not outcome.notes
        assert (
            outcome.plan is not None
            and outcome.plan.size == predicted.plan.size < published.offer("pack").data.size / 20
        )

    def test_the_pack_without_a_base(self, published: Published) -> None:
        target = published.target()
        writer = published.writer(target)
        writer._bases = {}
        outcome = writer.write()
        assert published.is_right(target) and outcome.plan is not None and outcome.plan.offer.kind == "pack"
        assert "starts from what is on this host; the full pack was used instead" in outcome.notes[0]

    def test_a_delta_rather_than_a_quicker_pack(self, published: Published) -> None:
        """Bytes decide, not how quickly they are unpacked."""
        pack = published.offer("pack")
        quick = replace(pack, codec=codec.ZSTD)
        manifest = replace(published.manifest, offers=(*published.manifest.offers, quick))
        offers = {offer.codec for offer in manifest.offers} & set(codec.unpackers())
        for fallback in ("full", "fail"):
            found = choice.choose(manifest, {"build-1.0"}, SIZE, Wishes(fallback=fallback, line_rate=1e12))
            assert found == published.offer("delta") and offers

    def test_the_pack_for_little(self, published: Published) -> None:
        """Where few windows are wrong and their part of the pack is smaller than a delta."""
        content = bytearray(published.contents["1.1"])
        content[5 * MIB] ^= 1
        target = published.target(bytes(content))
        large = replace(published.offer("delta"), data=replace(published.offer("delta").data, size=100 * MIB))
        manifest = replace(published.manifest, offers=(published.offer("pack"), large))
        outcome = published.writer(target, manifest=manifest).write()
        assert outcome.plan is not None and outcome.plan.offer.kind == "pack" and outcome.written == SIZE - 5 * MIB

    def test_no_delta_and_no_fallback(self, published: Published) -> None:
        target = published.target()
        writer = published.writer(target, fallback="fail")
        writer._bases = {}
        with pytest.raises(Refused, match=r"no delta to web-1.1 .* starts from what is on this host.*fallback=fail"):
            writer.write()
        with open(target, "rb") as file:
            assert file.read(SIZE).count(255) == SIZE

    def test_a_budget(self, published: Published) -> None:
        with pytest.raises(Refused, match="no more than 100 may be fetched"):
            published.writer(published.target(), max_transfer=100).predict()

    def test_a_codec_that_this_host_has_not(self, published: Published) -> None:
        strange = tuple(replace(offer, codec="lz5") for offer in published.manifest.offers)
        with pytest.raises(FleetError, match=r"nothing is published .* that this host can use"):
            published.writer(published.target(), manifest=replace(published.manifest, offers=strange)).predict()

    def test_an_unchanged_image_is_read_once(self, published: Published) -> None:
        repository = FolderRepository(published.repository)
        told: List[Progress] = []
        outcome = published.writer(published.target(published.contents["1.1"]), repository, told).write()
        assert outcome.written == 0 and repository.requests == 1
        assert repository.fetched == published.manifest.files["windows"].size
        assert {each.phase for each in told} == {"comparing"} and told[-1].done == SIZE

    def test_progress(self, published: Published) -> None:
        told: List[Progress] = []
        published.writer(published.target(), told=told).write()
        assert list(dict.fromkeys(each.phase for each in told)) == ["comparing", "writing", "verifying"]
        writing = [each for each in told if each.phase == "writing"]
        assert writing[0].done == 0 and writing[-1].done == SIZE and writing[-1].fetched == writing[-1].expected > 0
        assert [each.done for each in writing] == sorted(each.done for each in writing)


class TestPowerCuts:
    """A power cut after each write; what was fetched and written is not fetched again."""

    @pytest.mark.parametrize("kind", ["delta", "pack"])
    @pytest.mark.parametrize("torn", [0, 512, MIB // 2])
    def test_anywhere(self, published: Published, failing: Any, kind: str, torn: int) -> None:
        base: Optional[Dict[str, str]] = None if kind == "delta" else {}
        for writes in range(WINDOWS):
            target = published.target()
            failing.writes, failing.torn = writes, torn
            first = published.writer(target)
            first._bases = first._bases if base is None else base
            with pytest.raises(PowerCut):
                first.write()
            failing.writes = None
            again = published.writer(target)
            again._bases = again._bases if base is None else base
            outcome = again.write()
            assert published.is_right(target)
            assert outcome.written == SIZE - writes * MIB, "what is right is not written again"
            assert kind == "pack" or not outcome.notes

    def test_again_and_again(self, published: Published, failing: Any) -> None:
        """Every second window is one more try."""
        target = published.target()
        for _try in range(WINDOWS + 1):
            failing.writes = 1
            try:
                published.writer(target).write()
                break
            except PowerCut:
                continue
        failing.writes = None
        assert published.is_right(target)

    def test_over_the_network(self, copy: Published, failing: Any, server: Server) -> None:
        """Of what was fetched before, at most one frame for each connection is fetched again."""
        pack = copy.offer("pack").data.name
        found = read_frames(copy)
        for connections in (1, 2, 3):
            for writes in (1, 3, 5):
                target = copy.target()
                failing.writes = writes
                writer = copy.writer(target, server.repository(), connections=connections, deltas=False)
                with pytest.raises(PowerCut):
                    writer.write()
                failing.writes = None
                while any(type(thread).__name__ == "_Connection" for thread in threading.enumerate()):
                    time.sleep(0.01)  # what they still fetch belongs to the first try
                del server.served[:]
                copy.writer(target, server.repository(), connections=connections, deltas=False).write()
                assert copy.is_right(target)
                again = sum(length for name, _offset, length in server.served if name == pack)
                missing = sum(frame.size for frame in found if frame.first >= writes and frame.fetched)
                assert again <= missing + fetch.GAP


def read_frames(published: Published) -> Tuple[Frame, ...]:
    offer = published.offer("pack")
    with open(published.file(offer.map.name), "rb") as file:
        return parse_map(file.read(), offer.data.size).frames


class TestMedia:
    """Slices and bases that are not what they should be."""

    def test_a_base_that_has_rotted(self, published: Published, tmp_path: Any) -> None:
        """What does not come out right is fetched from the pack, and that is said."""
        base = str(tmp_path / "base")
        rotten = bytearray(published.contents["1.0"])
        rotten[10] ^= 1
        with open(base, "wb") as file:
            file.write(rotten)
        target = published.target()
        outcome = published.writer(target, base=base).write()
        assert published.is_right(target)
        assert outcome.notes == (
            "1 MiB did not come out right and were made once more from the full pack (1048684 bytes)",
        )

    def test_a_base_that_is_another_one(self, published: Published, tmp_path: Any, monkeypatch: Any) -> None:
        """It says that it is what the delta starts from and is not: no reason for a full download that is forbidden."""
        base = str(tmp_path / "base")
        with open(base, "wb") as file:
            file.write(bytes(byte ^ 1 for byte in published.contents["1.0"]))
        repository = FolderRepository(published.repository)
        with pytest.raises(Refused, match=r"did not come out right.*fallback=fail"):
            monkeypatch.setattr(writer, "SMALL_REPAIR", MIB)
            published.writer(published.target(), repository, base=base, fallback="fail").write()
        assert repository.fetched < published.offer("pack").data.size / 10
        with pytest.raises(Refused, match=r"no more than .* may be fetched"):
            published.writer(published.target(), base=base, max_transfer=100000).write()
        target = published.target()
        outcome = published.writer(target, base=base).write()
        assert published.is_right(target) and "from the full pack" in outcome.notes[0]

    def test_a_base_that_cannot_be_opened(self, published: Published, tmp_path: Any) -> None:
        target = published.target()
        outcome = published.writer(target, base=str(tmp_path / "none")).write()
        assert published.is_right(target) and "cannot be opened for reading" in outcome.notes[0]

    @pytest.mark.parametrize("length", [0, 4096, 3 * MIB])
    def test_a_base_that_is_cut_off(self, published: Published, tmp_path: Any, length: int) -> None:
        base = str(tmp_path / "base")
        with open(base, "wb") as file:
            file.write(published.contents["1.0"][:length])
        target = published.target()
        outcome = published.writer(target, base=base).write()
        assert published.is_right(target) and "the full pack was used instead" in outcome.notes[0]
        with pytest.raises(Refused, match=r"ends before byte .*fallback=fail"):
            published.writer(published.target(), base=base, fallback="fail").write()

    def test_a_medium_that_keeps_nothing(self, published: Published, failing: Any) -> None:
        failing.write = lambda self, offset, data: None
        with pytest.raises(WrongBytes, match="does not return what was written") as error:
            published.writer(published.target()).write()
        assert "no boot flags" in str(error.value) and "replace the OS medium" in str(error.value)

    def test_a_medium_with_write_errors(self, published: Published) -> None:
        if not os.path.exists("/dev/full"):
            pytest.skip("this machine has no /dev/full")
        with Device("/dev/full", writable=True) as full, pytest.raises(FleetError, match="cannot be written at byte 0"):
            full.write(0, b"x")

    def test_a_medium_that_fails_on_the_way(self, published: Published, monkeypatch: Any) -> None:
        """What was written is kept; once the medium works again, the rest is."""
        target = published.target()
        real, count = os.pwrite, [0]

        def pwrite(*arguments: Any) -> int:
            count[0] += 1
            if count[0] > 3:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            with pytest.raises(FleetError, match="cannot be written at byte 3145728: Input/output error") as error:
                published.writer(target).write()
        assert "no boot flags" in str(error.value) and "replace it if it has write errors" in str(error.value)
        assert published.writer(target).write().written == SIZE - 3 * MIB and published.is_right(target)

    def test_a_medium_that_cannot_be_written(self, published: Published, monkeypatch: Any) -> None:
        target = published.target()
        real = os.open

        def readonly(path: str, flags: int, *more: Any) -> int:
            if path == target and flags & os.O_RDWR:
                raise OSError(errno.EROFS, "Read-only file system")
            return real(path, flags, *more)

        monkeypatch.setattr(os, "open", readonly)
        with pytest.raises(FleetError, match="cannot be opened for writing: Read-only file system") as error:
            published.writer(target).write()
        assert "nothing was written to it" in str(error.value)

    def test_a_slice_that_is_too_short(self, published: Published, tmp_path: Any) -> None:
        """image_write refuses it before; and even so nothing is taken for right that is not there."""
        writer = published.writer(str(tmp_path / "short"))
        (tmp_path / "short").write_bytes(published.contents["1.1"][: 5 * MIB])
        assert writer.predict().written == SIZE - 5 * MIB


class TestDamage:
    """Everything that is published, damaged in every way. Never a wrong image, and never silence."""

    def each_file(self, copy: Published) -> List[str]:
        return [each.name for each in copy.manifest.published()]

    def damage(self, copy: Published, name: str, change: Any) -> None:
        with open(copy.file(name), "rb") as file:
            raw = file.read()
        with open(copy.file(name), "wb") as file:
            file.write(change(raw))

    def attempt(self, copy: Published, **wishes: Any) -> Tuple[Optional[str], List[str]]:
        target = copy.target()
        try:
            outcome = copy.writer(target, **wishes).write()
        except FleetError as error:
            return str(error), []
        assert copy.is_right(target), "a wrong image was taken for right"
        return None, list(outcome.notes)

    def test_bytes_flipped(self, copy: Published) -> None:
        """All of the small files, and some of the large ones: whatever the byte, it is noticed."""
        read_frames(copy)
        found = read_frames(copy)
        for name in self.each_file(copy):
            size = os.path.getsize(copy.file(name))
            step = max(1, size // (40 if name.endswith(("pack", "delta")) else 60))
            for at in range(0, size, step):
                flip = self.flipper(at)
                self.damage(copy, name, flip)
                error, notes = self.attempt(copy)
                used_pack = ".delta" in name or name.endswith((".pack", "pack.map"))
                assert error or notes or used_pack, (name, at)
                if ".delta" in name:
                    assert error is None and "the full pack was used instead" in notes[0], (name, at, error)
                    said, _notes = self.attempt(copy, fallback="fail")
                    assert said is not None and "fallback=fail" in said
                if name.endswith((".pack", "pack.map")):
                    said, _notes = self.attempt(copy, deltas=False)
                    # only what is empty is never fetched: it is there for xz
                    unused = [each for each in found if not each.fetched and 0 <= at - each.offset < each.size]
                    assert "than the manifest says" in str(said) or "match" in str(said) or unused, (name, at, said)
                if name.endswith(".win"):
                    assert error is not None and "does not match the signed manifest" in error
                self.damage(copy, name, flip)

    @staticmethod
    def flipper(at: int) -> Any:
        return lambda raw: raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :]

    @pytest.mark.parametrize("change", ["empty", "short", "long", "missing"])
    def test_cut_or_missing(self, copy: Published, change: str) -> None:
        for name in self.each_file(copy):
            with open(copy.file(name), "rb") as file:
                raw = file.read()
            changes = {"empty": b"", "short": raw[:-1], "long": raw + b"x"}
            os.unlink(copy.file(name))
            if change != "missing":
                with open(copy.file(name), "wb") as file:
                    file.write(changes[change])
            error, notes = self.attempt(copy)
            if ".delta" in name and not (change == "long" and name.endswith(".delta")):
                assert error is None and notes
            elif name.endswith(".win"):
                assert error is not None
            with open(copy.file(name), "wb") as file:
                file.write(raw)

    def test_swapped_between_images(self, copy: Published) -> None:
        """A file of the other image under the name of this one."""
        for kind in ("pack", "pack.map", "win"):
            mine, other = (copy.file("{0}.{1}".format(each.id, kind)) for each in (copy.manifest, copy.old))
            with open(mine, "rb") as file:
                raw = file.read()
            shutil.copy(other, mine)
            error, _notes = self.attempt(copy, deltas=False)
            assert error is not None, kind
            with open(mine, "wb") as file:
                file.write(raw)

    def test_a_map_of_another_image(self, copy: Published) -> None:
        """Even where somebody has signed it."""
        pack = copy.offer("pack")
        other = next(offer for offer in copy.old.offers if offer.base is None)
        manifest = replace(copy.manifest, offers=(replace(pack, map=other.map, data=other.data),))
        with pytest.raises(BadMap, match="belongs to another image"):
            copy.writer(copy.target(), manifest=manifest).write()

    def test_a_map_that_says_it_is_huge(self, copy: Published) -> None:
        pack = copy.offer("pack")
        manifest = replace(copy.manifest, offers=(replace(pack, map=replace(pack.map, size=1 << 40)),))
        with pytest.raises(BadMap, match="would have"):
            copy.writer(copy.target(), manifest=manifest).write()

    def test_window_digests_of_an_impossible_size(self, copy: Published) -> None:
        files = {"windows": replace(copy.manifest.files["windows"], size=1)}
        with pytest.raises(BadManifest, match="impossible size"):
            copy.writer(copy.target(), manifest=replace(copy.manifest, files=files)).write()


class TestServers:
    """Web servers and their moods."""

    @pytest.mark.parametrize("connections", [1, 2, 4])
    @pytest.mark.parametrize("deltas", [True, False])
    def test_writes(self, copy: Published, server: Server, connections: int, deltas: bool) -> None:
        target = copy.target()
        repository = server.repository()
        outcome = copy.writer(target, repository, connections=connections, deltas=deltas).write()
        assert copy.is_right(target) and outcome.plan is not None
        assert repository.requests <= 2 + len(fetch.ranges_of(outcome.plan.payloads, connections))

    def test_several_connections_for_a_large_file(self, copy: Published, server: Server, monkeypatch: Any) -> None:
        monkeypatch.setattr(fetch, "SMALLEST", 1 << 18)
        target = copy.target()
        copy.writer(target, server.repository(), connections=3, deltas=False).write()
        assert copy.is_right(target)
        parts = [each for each in server.served if each[0].endswith(".pack")]
        assert len(parts) > 3 and all(length <= 2 * MIB for _name, _offset, length in parts)

    @pytest.mark.parametrize(
        "fault",
        [
            {"cut_after": 100, "times": 1},
            {"cut_after": 5000, "times": 2},
            {"status": 500, "times": 2},
            {"status": 503, "times": 1},
            {"lie": 50, "times": 1},
            {"cut_after": 2000, "stall": 3, "times": 1},
        ],
    )
    def test_passing_trouble(self, copy: Published, server: Server, monkeypatch: Any, fault: Dict[str, Any]) -> None:
        """A server that recovers is not noticed, except in the time that it takes."""
        monkeypatch.setattr("time.sleep", lambda seconds: None) if "stall" not in fault else None
        names = [each.name for each in copy.manifest.published()]
        server.faults(dict.fromkeys(names, fault))
        target = copy.target()
        outcome = copy.writer(target, server.repository(timeout=1)).write()
        assert copy.is_right(target) and not outcome.notes

    @pytest.mark.parametrize(
        "fault, said",
        [
            ({"status": 404}, "has no file"),
            ({"status": 403}, "does not let this host have"),
            ({"status": 416}, "shorter than the manifest says"),
        ],
    )
    def test_a_delta_that_is_not_to_be_had(
        self, copy: Published, server: Server, fault: Dict[str, Any], said: str
    ) -> None:
        """One clear decision: the pack, and a note; or the end."""
        content = bytearray(copy.contents["1.1"])
        for index in (1, 3):  # so that ranges from the middle are asked for
            content[index * MIB] ^= 1
        server.faults({copy.offer("delta").data.name: fault})
        target = copy.target(bytes(content))
        outcome = copy.writer(target, server.repository()).write()
        assert (
            copy.is_right(target) and said in outcome.notes[0] and "the full pack was used instead" in outcome.notes[0]
        )
        with pytest.raises(Refused, match="fallback=fail"):
            copy.writer(copy.target(bytes(content)), server.repository(), fallback="fail").write()

    def test_a_server_without_ranges(self, copy: Published, server: Server) -> None:
        """The pack is read from its beginning, once; or not at all."""
        server.faults({offer.data.name: {"ignore_range": True} for offer in copy.manifest.offers})
        content = bytearray(copy.contents["1.1"])
        for index in (1, 3):
            content[index * MIB] ^= 1
        target = copy.target(bytes(content))
        outcome = copy.writer(target, server.repository(), deltas=False).write()
        assert copy.is_right(target) and "read from its beginning" in outcome.notes[-1]
        assert [each for each in server.served if each[0].endswith(".pack")][-1][1] == 0
        with pytest.raises(Refused, match="fallback=fail"):
            copy.writer(copy.target(bytes(content)), server.repository(), fallback="fail", deltas=False).write()

    def test_a_budget_without_ranges(self, copy: Published, server: Server) -> None:
        """A server that only gives whole files is no way around the limit."""
        server.faults({offer.data.name: {"ignore_range": True} for offer in copy.manifest.offers})
        content = bytearray(copy.contents["1.1"])
        content[3 * MIB] ^= 1
        repository = server.repository()
        with pytest.raises(Refused, match=r"only delivers all of .* no more than 2000000 bytes"):
            copy.writer(copy.target(bytes(content)), repository, deltas=False, max_transfer=2000000).write()
        assert repository.fetched < MIB

    def test_a_server_that_knows_no_lengths(self, copy: Published, server: Server) -> None:
        fault = {"ignore_range": True, "no_length": True}
        server.faults({offer.data.name: fault for offer in copy.manifest.offers})
        target = copy.target()
        outcome = copy.writer(target, server.repository()).write()
        assert copy.is_right(target) and "read from its beginning" in outcome.notes[-1]

    def test_a_delta_that_is_cut_on_the_server(self, copy: Published, server: Server) -> None:
        name = copy.offer("delta").data.name
        os.truncate(copy.file(name), copy.offer("delta").data.size - 10)
        target = copy.target()
        outcome = copy.writer(target, server.repository()).write()
        assert copy.is_right(target) and "shorter than the manifest says" in outcome.notes[0]

    def test_a_server_that_is_never_silent(self, copy: Published, server: Server) -> None:
        """Headers that come one by one are cut off at the deadline."""
        server.faults({copy.manifest.files["windows"].name: {"drip": 90}})
        began = time.monotonic()
        with pytest.raises(SourceError, match="was not complete after 1 s"):
            copy.writer(copy.target(), server.repository(deadline=1.0)).write()
        assert time.monotonic() - began < 15, "it was not cut off"

    def test_addresses_that_are_none(self, tmp_path: Any) -> None:
        for location, ca_file in (("http://[x", None), ("http://x:y/", None), ("http://x/", str(tmp_path / "none"))):
            with pytest.raises(FleetError):
                open_repository(location, Limits(retries=0), ca_file)
        with pytest.raises(SourceError):
            open_repository("http://a..b/", Limits(retries=0)).fetch("x", 10)

    def test_a_server_without_ranges_that_breaks(self, copy: Published, server: Server, monkeypatch: Any) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        pack = copy.offer("pack").data.name
        server.faults({pack: {"ignore_range": True, "cut_after": 5 * MIB // 4}})
        with pytest.raises(NoRanges):
            copy.writer(copy.target(), server.repository(), deltas=False).write()

    def test_a_server_that_falls_silent(self, copy: Published, server: Server, monkeypatch: Any) -> None:
        server.faults({offer.data.name: {"cut_after": 0, "stall": 30} for offer in copy.manifest.offers})
        monkeypatch.setattr("time.sleep", threading.Event().wait)
        with pytest.raises(SourceError, match="attempts"):
            copy.writer(copy.target(), server.repository(timeout=0.3, retries=1)).write()

    def test_a_deadline_for_everything(self, copy: Published, server: Server) -> None:
        """A server that always gives a little is no reason to wait for ever."""
        repository = server.repository(deadline=1.0, rate=20000)
        with pytest.raises(SourceError, match="was not complete after 1 s"):
            copy.writer(copy.target(), repository, deltas=False).write()

    def test_a_rate_limit(self) -> None:
        naps: List[float] = []
        now = [0.0]

        class Clock:
            def monotonic(self) -> float:
                return now[0]

            def sleep(self, seconds: float) -> None:
                naps.append(seconds)
                now[0] += seconds

        throttle = Throttle(100000)
        module = Throttle.__init__.__globals__
        module["time"], real = Clock(), module["time"]
        try:
            for _piece in range(10):
                throttle.spend(throttle.piece())
        finally:
            module["time"] = real
        assert now[0] == pytest.approx(10 * throttle.piece() / 100000) and throttle.piece() <= 25000

    def test_a_certificate_of_ones_own(self, copy: Published, server: Server, tmp_path: Any) -> None:
        """HTTPS is trusted with the file that is given, and not without."""
        certificate = str(tmp_path / "cert.pem")
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", certificate + ".key", "-out", certificate]
        try:
            subprocess.run(argv, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("openssl is not installed; `make test` installs it")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate + ".key")
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        target = copy.target()
        copy.writer(target, HttpRepository(url, Limits(), certificate)).write()
        assert copy.is_right(target)
        with pytest.raises(SourceError, match="certificate"):
            copy.writer(copy.target(), HttpRepository(url, Limits(retries=0))).write()

    def test_a_proxy(self, copy: Published, server: Server, monkeypatch: Any) -> None:
        """As the environment says: here the proxy is the server itself, which sees whole addresses."""
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.delenv("no_proxy", raising=False)
        seen: List[str] = []
        handler = server.server.RequestHandlerClass.func  # type: ignore[attr-defined]
        answer = handler._answer

        def through(self: Any, with_body: bool) -> None:
            seen.append(self.path)
            self.path = "/" + self.path.rpartition("/")[2]
            answer(self, with_body)

        monkeypatch.setattr(handler, "_answer", through)
        repository = HttpRepository("http://images.example.org/web")
        target = copy.target()
        copy.writer(target, repository).write()
        assert copy.is_right(target) and all(path.startswith("http://images.example.org/web/") for path in seen)


class TestPush:
    """Parts that a controller brings."""

    @pytest.mark.parametrize("chunk", [1, 1 << 18, 1 << 30])
    def test_part_by_part(self, published: Published, tmp_path: Any, chunk: int) -> None:
        folder = str(tmp_path / "there")
        os.mkdir(folder)
        for artefact in published.manifest.published():
            if artefact.name.endswith((".win", ".map")):
                shutil.copy(published.file(artefact.name), folder)
        target = published.target()
        plan = published.writer(target, FolderRepository(folder)).predict().plan
        assert plan is not None
        name = plan.offer.data.name
        for part in plan.parts(chunk):
            with open(published.file(name), "rb") as whole, open(os.path.join(folder, name + ".part"), "wb") as file:
                whole.seek(part[0])
                file.write(whole.read(part[1]))
            writer = published.writer(target, PartRepository(folder, part[0]))
            outcome = writer.write_part(Part(name, *part))
            assert not outcome.notes
        os.unlink(os.path.join(folder, name + ".part"))
        outcome = published.writer(target, FolderRepository(folder)).write()
        assert published.is_right(target) and (outcome.plan is None or outcome.plan.size == 0)


@pytest.mark.skipif(codec.ZSTD not in codec.unpackers(), reason="this Python has no zstd")
def test_zstd_where_there_is_one(published: Published, tmp_path: Any, monkeypatch: Any) -> None:
    """An offer that unpacks quicker is taken on a fast line, and only by hosts that can."""
    from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder  # noqa: PLC0415
    from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Press  # noqa: PLC0415

    press = Press(Folder(published.repository), published.paths["1.1"], published.manifest.id, lambda text: None)
    zstd = press.delta(codec.ZSTD, published.old, published.paths["1.0"])
    pack = press.pack(codec.ZSTD)
    offers = (*published.manifest.offers, pack, zstd)
    manifest = replace(published.manifest, offers=offers)
    target = published.target()
    outcome = published.writer(target, manifest=manifest, line_rate=1e12, deltas=False).write()
    assert published.is_right(target) and outcome.plan is not None and outcome.plan.offer.codec == codec.ZSTD
    outcome = published.writer(published.target(), manifest=replace(manifest, offers=(zstd,))).write()
    assert outcome.plan is not None and outcome.plan.offer == zstd
    monkeypatch.setattr(codec, "_zstd", lambda: None)
    assert published.writer(published.target(), manifest=manifest).write().plan.offer.codec == codec.XZ  # type: ignore[union-attr]


def test_a_manifest_round_trip(published: Published) -> None:
    again = parse_manifest(json.dumps(published.manifest.extra).encode())
    assert again == published.manifest
