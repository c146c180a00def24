# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole media, GPT with and without an EFI system partition and MBR, judged by tools that are not ours."""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List

import pytest
from dissect.ffs import FFS
from dissect.volume.disk import Disk

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import esp, mbr, medium
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Form, MediumError
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import boot0

GPT, MBR = Form(), Form("mbr")
MIB = 1 << 20
SIZE = 2 * MIB


CODE: Dict[str, bytes] = {
    "pmbr": b"\xeb" * 512,
    "gptboot": b"gptboot" * 1000,
    "gptboot.efi": b"MZ" + bytes(range(256)) * 500,
    "boot": b"1" * 510 + b"\x55\xaa" + bytes(512) + b"2" * 7168,
    "boot0": boot0(),
    "boot0sio": boot0(0x1B2),
}


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip("{0} is not installed; `make test` installs it".format(program))


@dataclass
class Made:
    """A medium, unpacked."""

    path: str
    image: bytes

    @property
    def content(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def disk(self) -> Disk:
        """What dissect.volume makes of it."""
        return Disk(io.BytesIO(self.content))

    def table(self) -> Dict[str, Any]:
        need("sfdisk")
        done = subprocess.run(["sfdisk", "-J", self.path], capture_output=True, text=True, check=True)
        found: Dict[str, Any] = json.loads(done.stdout)["partitiontable"]
        return found


Make = Callable[..., Made]


@pytest.fixture
def make(images: Images, tmp_path: Any) -> Make:
    """Makes a medium of the test image."""

    def run(form: Form = GPT, name: str = "disk", **code: bytes) -> Made:
        ident = images.built["1.1"]["id"]
        packed = str(tmp_path / (name + ".xz"))
        pack = os.path.join(images.repository, ident + ".pack")
        medium.make(packed, pack, SIZE, SIZE, ident, {**CODE, **code}, form)
        path = str(tmp_path / (name + ".img"))
        with lzma.open(packed) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
        return Made(path, images.content("1.1"))

    return run


class TestGpt:
    """The table itself is in test_gpt.py."""

    def test_boots_both_ways(self, make: Make) -> None:
        need("sgdisk")
        need("mformat")
        made = make()
        done = subprocess.run(["sgdisk", "-v", made.path], capture_output=True, text=True, check=False)
        assert "No problems found" in done.stdout, done.stdout + done.stderr
        table = made.table()
        names = [each["name"] for each in table["partitions"]]
        assert names == ["nz-efi", "nz-boot", "nz-recovery", "nz-a", "nz-b", "nz-state"]
        assert table["partitions"][0]["type"] == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
        # 1 MiB for the first table, 33 + 1 + 3 * 2 + 1 for the partitions, 1 for the second table
        assert len(made.content) == 43 * MIB
        starts = {each["name"]: each["start"] * 512 for each in table["partitions"] if each["size"] * 512 == SIZE}
        assert sorted(starts) == ["nz-a", "nz-b", "nz-recovery"]
        for name in ("nz-recovery", "nz-a"):
            assert made.content[starts[name] : starts[name] + SIZE] == made.image
        found = {each.name: each for each in made.disk().partitions}
        assert found["nz-boot"].open().read(7000) == CODE["gptboot"]
        for name in ("nz-recovery", "nz-a"):
            assert FFS(found[name].open()).get("/boot/nanozfs/image.json").is_file()
        assert not found["nz-b"].open().read(SIZE).strip(b"\0")

    def test_the_efi_system_partition(self, make: Make, tmp_path: Any) -> None:
        for program in ("mformat", "mtype", "fsck.fat"):
            need(program)
        made = make()
        place = made.table()["partitions"][0]
        alone = tmp_path / "esp"
        alone.write_bytes(made.content[place["start"] * 512 : (place["start"] + place["size"]) * 512])
        done = subprocess.run(["fsck.fat", "-n", "-v", str(alone)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "32 bit entries" in done.stdout, done.stdout + done.stderr
        argv = ["mtype", "-i", str(alone), "::/EFI/BOOT/BOOTX64.EFI"]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == CODE["gptboot.efi"]

    def test_bios_only(self, make: Make) -> None:
        for made in (make(Form(efi=False)), make(name="older", **{"gptboot.efi": b""})):
            assert made.table()["partitions"][0]["name"] == "nz-boot"
            assert len(made.content) == 10 * MIB

    @pytest.mark.parametrize(
        "form, lacking",
        [
            (GPT, "pmbr"),
            (GPT, "gptboot"),
            (Form(efi=True), "gptboot.efi"),
            (MBR, "boot"),
            (MBR, "boot0"),
            (Form("mbr", boot0="boot0sio"), "boot0sio"),
        ],
    )
    def test_without_boot_code(self, make: Make, form: Form, lacking: str) -> None:
        with pytest.raises(MediumError, match=r"no boot code for such a medium \(boot/{0}\)".format(lacking)):
            make(form, **{lacking: b""})

    def test_mtools_missing(self, make: Make, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setitem(ENVIRONMENT, "PATH", str(tmp_path))
        with pytest.raises(esp.EspError, match="install the package mtools") as caught:
            make()
        assert "image_efi=false" in str(caught.value)
        assert not [name for name in os.listdir(str(tmp_path)) if "bare" in name]

    def test_a_program_that_does_not_fit(self, tmp_path: Any) -> None:
        need("mformat")
        with pytest.raises(esp.EspError, match="mcopy failed"):
            esp.make(str(tmp_path / "esp"), bytes(34 * MIB), medium.NAMESPACE)


class TestMbr:
    """Slices with BSD labels, behind boot0."""

    @pytest.fixture
    def made(self, make: Make) -> Made:
        return make(MBR)

    def test_slices(self, made: Made) -> None:
        table = made.table()
        assert table["label"] == "dos"
        seen = [(each["start"], each["size"], each["type"], bool(each.get("bootable"))) for each in table["partitions"]]
        # each slice: 1 MiB for boot1, label and boot2; the image and 4 KiB, in whole MiB
        assert seen == [
            (2048, 8192, "a5", False),
            (10240, 8192, "a5", True),
            (18432, 8192, "a5", False),
            (26624, 2048, "da", False),
        ]
        assert len(made.content) == 28672 * 512

    def test_partitions(self, made: Made) -> None:
        """The labels in the slices lead to the partitions with the images."""
        nested = [each for each in made.disk().partitions if each.type == 7]
        # from the start of the slice, so that a slice can be anywhere
        assert [(each.number, each.offset, each.size) for each in nested] == 3 * [(1, MIB, SIZE + 4096)]
        recovery, slice_a, slice_b = nested
        for each in (recovery, slice_a):
            assert each.open().read(SIZE) == made.image
            assert FFS(each.open()).get("/boot/nanozfs/image.json").is_file()
        assert slice_b.open().read(SIZE) == bytes(SIZE)

    def test_every_slice_begins_alike(self, made: Made) -> None:
        content = made.content
        first, *others = [content[place * 512 : place * 512 + MIB] for place in (2048, 10240, 18432)]
        assert others == [first, first]
        assert first[:512] == CODE["boot"][:512] and first[1024:8192] == CODE["boot"][1024:]
        label = first[512:1024]
        assert label[:4] == label[132:136] == bytes.fromhex("57455682")
        checksum = 0
        for at in range(0, 148 + 8 * 16, 2):
            checksum ^= int.from_bytes(label[at : at + 2], "little")
        assert checksum == 0 and int.from_bytes(label[138:140], "little") == 8
        assert first[8192:] == bytes(MIB - 8192)

    def test_labels_of_glabel(self, made: Made) -> None:
        """As g_label.c reads them: in the last sector of the partition, with the partition's size."""
        for label, place in (("nz-recovery", 2048), ("nz-a", 10240), ("nz-b", 18432)):
            end = place * 512 + MIB + SIZE + 4096
            sector = made.content[end - 512 : end]
            assert sector[:16].rstrip(b"\0") == b"GEOM::LABEL" and sector[16:20] == b"\2\0\0\0"
            assert sector[20:36].rstrip(b"\0") == label.encode()
            assert int.from_bytes(sector[36:44], "little") == SIZE + 4096

    @pytest.mark.parametrize("which, option", [("boot0", 0x1B5), ("boot0sio", 0x1B9)])
    def test_settings_of_boot0(self, make: Make, which: str, option: int) -> None:
        """Slice 2 by itself after 5 s, slices 1 to 3 to choose from, by LBA, and a choice is written."""
        raw = make(Form("mbr", boot0=which)).content[:512]
        assert raw[option] == 1 and raw[option + 2] == 0x87
        assert int.from_bytes(raw[0x1BC:0x1BE], "little") == 91
        code = CODE[which]
        assert raw[:option] == code[:option]

    def test_refusals(self, make: Make) -> None:
        for form, code, said in (
            (Form("mbr", swap_size=MIB), {}, "no room for swap"),
            (MBR, {"boot0": b"x" * 512}, "boot/boot0 of the tree cannot be used: it is no boot0"),
            (MBR, {"boot0": CODE["boot0"].replace(b"Drive", b"drive")}, "of an unknown version"),
            (MBR, {"boot": bytes(8193)}, "boot/boot of the tree cannot be used: it has 8193 bytes"),
        ):
            with pytest.raises(MediumError, match=said):
                make(form, **code)

    def test_too_large(self) -> None:
        with pytest.raises(mbr.MbrError, match="only counts to"):
            mbr.boot_record(CODE["boot0"], medium.mbr_layout(800 << 30), 2, 91, 3)


@pytest.mark.parametrize("form", [GPT, MBR])
def test_the_same_bytes_again(make: Make, form: Form) -> None:
    if form is GPT:
        need("mformat")
    first = make(form, "first").content
    if form is GPT:
        time.sleep(2.1)  # FAT counts time in steps of two seconds
    assert make(form, "second").content == first


def test_one_image_many_media(images: Images, tmp_path: Any) -> None:
    """Media of both kinds belong to one manifest."""
    source = tmp_path / "tree"
    shutil.copytree(os.path.join(images.folder, "tree"), str(source))
    for name, content in CODE.items():
        (source / "boot" / name).write_bytes(content)
    forms: List[Form] = [Form(efi=False), MBR]
    before = images.built["1.1"]
    terms = images.terms(output=str(tmp_path / "out"), deltas=0)
    result = images.build("1.1", 11, sources=[str(source)], media=forms, terms=terms, size=3 * MIB)
    images.built["1.1"] = before
    names = {kind: os.path.basename(path) for kind, path in result["files"].items()}
    ident = result["image"]["id"]
    assert names["medium"] == ident + ".disk.img.xz" and names["medium-mbr"] == ident + ".mbr.disk.img.xz"
    with lzma.open(result["files"]["medium-mbr"]) as file:
        disk = Disk(io.BytesIO(file.read()))
    assert len([each for each in disk.partitions if each.type == 7]) == 3
    assert not images.build("1.1", 11, sources=[str(source)], media=forms, terms=terms, size=3 * MIB)["changed"]
    images.built["1.1"] = before
