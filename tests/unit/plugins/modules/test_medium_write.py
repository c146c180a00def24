# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""medium_write: a spare medium on a disk of the model, or in a file; what it refuses, what is left when it fails."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
from dataclasses import replace
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import disk_image
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Artefact
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import FolderRepository
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import esp, medium
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Form
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.tests.unit.conftest import SLICE, Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost, WindowDevice, boot0

SERIAL = "STICK01"
SIZE = 24 * MIB


class Desk:
    """A host with a stick in it, and the published images."""

    def __init__(self, host: ModuleHost, images: Images) -> None:
        self.host = host
        self.images = images
        host.machine.add_disk("da0", SIZE, SERIAL, table=True)

    def arguments(self, version: str = "1.1", **more: Any) -> Dict[str, Any]:
        common = {"repository": self.images.repository, "image": version, "signers": [self.images.signer]}
        return {**common, **({} if "file" in more else {"device": "/dev/da0"}), **more}

    def write(self, version: str = "1.1", **more: Any) -> Dict[str, Any]:
        return self.host.same_in_check_mode("medium_write", **self.arguments(version, **more))

    def refused(self, **more: Any) -> str:
        return self.host.refused("medium_write", **self.arguments(**{"confirm": SERIAL, **more}))

    def published(self, version: str) -> bytes:
        path = os.path.join(self.images.repository, self.images.built[version]["id"] + ".disk.img.xz")
        with lzma.open(path) as file:
            return file.read()

    def site(self, version: str = "1.1", **changes: Any) -> Dict[str, Any]:
        used = [each for each in self.images.built[version]["features"] if each != "draid"]
        return {"name": "web-1", "arch": "amd64", "pool": "tank", "features": used, **changes}

    def see_damage(self, spots: List[int], **arguments: Any) -> None:
        """See that a medium would be left alone as it is, and written anew when a byte of it is another one."""
        whole = self.content()
        for spot in (None, *spots):
            if spot is not None:
                self.fill(bytes([whole[spot] ^ 1]), spot)
            seen = self.host.ok("medium_write", check=True, **self.arguments(**arguments))
            assert seen["changed"] == (spot is not None), spot
            self.fill(whole[spot or 0 : (spot or 0) + 1], spot or 0)

    @property
    def image(self) -> str:
        return self.host.machine.image("da0")

    def content(self) -> bytes:
        with open(self.image, "rb") as file:
            return file.read()

    def fill(self, content: bytes, offset: int = 0) -> None:
        with open(self.image, "r+b") as file:
            file.seek(offset)
            file.write(content)


@pytest.fixture
def desk(host: ModuleHost, images: Images) -> Desk:
    return Desk(host, images)


class TestDisk:
    def test_first_it_only_says_what_it_would_do(self, desk: Desk) -> None:
        before = desk.content()
        seen = desk.write()
        assert (seen["changed"], seen["confirmed"], seen["written"]) == (False, False, 0)
        assert seen["target"]["confirm"] == SERIAL and SERIAL in seen["target"]["what"]
        assert seen["target"]["content"] == "nothing at its beginning and its end" and seen["size"] == len(
            desk.published("1.1")
        )
        assert desk.content() == before

    def test_then_it_writes_it(self, desk: Desk) -> None:
        desk.fill(os.urandom(SIZE))
        done = desk.write(confirm=SERIAL, hosts=[desk.site()])
        whole = desk.published("1.1")
        assert done["changed"] and done["confirmed"] and done["written"] == len(whole)
        assert desk.content()[: len(whole)] == whole
        assert done["diff"]["after"] == "/dev/da0: a medium of web-1.1\n"

    def test_once(self, desk: Desk) -> None:
        desk.write(confirm=SERIAL)
        for confirm in (SERIAL, None):
            again = desk.write(confirm=confirm)
            assert (again["changed"], again["confirmed"], again["written"]) == (False, True, 0)
            assert again["target"]["content"] == "a medium of web-1.1"
        assert not desk.write("1.0")["confirmed"]
        assert desk.write("1.0", confirm=SERIAL)["changed"]

    def test_a_medium_that_was_used_or_damaged_is_written_anew(self, desk: Desk) -> None:
        desk.fill(desk.published("1.1"))
        places = {each.label: each.first * 512 for each in gpt.read_published(desk.content()).entries.values()}
        spots = [places["nz-a"] + MIB, places["nz-recovery"], places["nz-state"], places["nz-boot"], 1024]
        desk.see_damage(spots, confirm=SERIAL)

    def test_a_trace_of_an_earlier_table_is_gone(self, desk: Desk) -> None:
        """The kernel would take the second copy of an older table, at the end of the disk, for this medium's."""
        table = gpt.new_table(SIZE // 512, gpt.TYPES["freebsd"])
        with open(desk.image, "r+b") as file:
            file.write(gpt.protective_mbr(table.sectors))
            gpt.write_table(file, table)
        assert desk.write()["target"]["content"] == "partitions: none"
        desk.write(confirm=SERIAL)
        assert not desk.content()[-MIB:].strip(b"\0")

    def test_a_disk_without_a_serial_number_is_known_by_what_is_on_it(self, desk: Desk) -> None:
        desk.host.machine.hardware["disks"]["da0"]["ident"] = ""
        desk.host.machine.save()
        token = desk.write()["target"]["confirm"]
        assert token.startswith("{0}-".format(SIZE))
        desk.fill(b"somebody's photographs", MIB)
        assert "{0} was confirmed, and this is /dev/da0".format(token) in desk.refused(confirm=token)
        assert desk.write(confirm=desk.write()["target"]["confirm"])["changed"]
        assert not desk.write(confirm=token)["changed"], "it is there already"

    @pytest.mark.parametrize("serial", [SERIAL, " "])
    def test_two_that_change_places(self, desk: Desk, serial: str) -> None:
        """Cheap sticks share a serial number, or have none; then they are replugged, and the play runs again."""
        machine = desk.host.machine
        for name in ("da0", "da1"):
            if name in machine.hardware["disks"]:
                machine.remove_disk(name)
            machine.add_disk(name, SIZE, serial, table=True)
        with open(machine.image("da1"), "r+b") as file:
            file.seek(MIB)
            file.write(b"somebody's photographs")
        token = desk.write()["target"]["confirm"]
        one, other = machine.remove_disk("da0"), machine.remove_disk("da1")
        one["name"], other["name"] = "da1", "da0"
        machine.attach_disk(one)
        machine.attach_disk(other)
        assert "{0} was confirmed, and this is".format(token) in desk.refused(confirm=token)
        assert desk.write(device="/dev/da1", confirm=token)["changed"]

    def test_signers_as_text(self, desk: Desk) -> None:
        """Their options have commas."""
        other = 'other@x namespaces="a,b" ' + " ".join(desk.images.public.split()[:2])
        assert desk.write(signers=other + "\n" + desk.images.signer + "\n")["signer"]

    def test_two_that_nothing_tells_apart(self, desk: Desk) -> None:
        desk.host.machine.add_disk("da1", SIZE, SERIAL, table=True)
        message = desk.refused()
        assert "and /dev/da1 cannot be told apart: they have one serial number, and the same content" in message
        assert "take the other one out" in message


class TestMbr:
    @pytest.fixture
    def mbr(self, desk: Desk, tmp_path: Any) -> Desk:
        """The desk with a repository of its own, where there is a medium with an MBR as well."""
        overlay = tmp_path / "overlay" / "boot"
        overlay.mkdir(parents=True)
        (overlay / "boot").write_bytes(bytes(8192))
        (overlay / "boot0").write_bytes(boot0())
        definition = desk.images.definition("1.1", 11)
        definition = replace(
            definition,
            overlays=[*definition.overlays, str(tmp_path / "overlay")],
            terms=replace(definition.terms, output=str(tmp_path / "mbr")),
            media=[Form("gpt"), Form("mbr")],
        )
        self.image = build.run(definition, Runner(local_execute), lambda text: None)["image"]
        return desk

    def test_a_medium_with_an_mbr(self, mbr: Desk, tmp_path: Any) -> None:
        arguments = {"repository": str(tmp_path / "mbr"), "scheme": "mbr", "confirm": SERIAL}
        assert mbr.host.ok("medium_write", **mbr.arguments(**arguments))["changed"]
        with lzma.open(tmp_path / "mbr" / (self.image["id"] + ".mbr.disk.img.xz")) as file:
            whole = file.read()
        assert mbr.content()[: len(whole)] == whole
        again = mbr.host.ok("medium_write", **mbr.arguments(**arguments))
        assert (again["changed"], again["size"]) == (False, len(whole))
        assert again["target"]["content"] == "a medium of web-1.1"
        # boot0, the label in the first slice, its image, nz-state
        mbr.see_damage([0x1B9, MIB + 600, 3 * MIB, len(whole) - 512], **arguments)

    def test_for_hosts_that_boot_from_one(self, mbr: Desk, tmp_path: Any) -> None:
        sites = [mbr.site(scheme="mbr"), mbr.site(name="web-2")]
        arguments: Dict[str, Any] = {"repository": str(tmp_path / "mbr"), "hosts": sites}
        message = mbr.refused(**arguments)
        assert "web-1 has a medium with mbr, this one has gpt" in message and "spare_scheme" in message
        assert mbr.host.ok("medium_write", check=True, **mbr.arguments(scheme="mbr", confirm=SERIAL, **arguments))

    def test_none_was_published(self, desk: Desk) -> None:
        assert "names no file of kind 'medium-mbr'" in desk.refused(scheme="mbr")


def test_with_an_efi_system_partition_the_first_slice_begins_further_behind(images: Images, tmp_path: Any) -> None:
    content = io.BytesIO()
    table = medium.table_for(medium.layout(SLICE, efi=True), "test", "nz-a")
    content.write(gpt.protective_mbr(table.sectors))
    gpt.write_table(content, table)
    for index in (3, 4):
        content.seek(table.entries[index].first * 512)
        content.write(images.content("1.1"))
    packed = lzma.compress(content.getvalue(), preset=0)
    (tmp_path / "medium").write_bytes(packed)
    artefact = Artefact("medium", len(packed), hashlib.sha256(packed).hexdigest())
    manifest = replace(Folder(images.repository).manifest(images.built["1.1"]["id"]), files={"medium": artefact})
    repository = FolderRepository(str(tmp_path))
    head = disk_image.read_head(repository, manifest, "gpt")
    assert len(head.content) == table.entries[3].first * 512 > esp.ESP_SIZE and head.size == table.sectors * 512
    target = tmp_path / "disk"
    target.write_bytes(b"")
    os.truncate(target, head.size)
    disk_image.MediumWriter(repository, manifest, "gpt", head, str(target), None).write()
    assert target.read_bytes() == content.getvalue()
    with devices.open_device(str(target), writable=True) as device:
        assert disk_image.is_fresh(device, head, manifest)
        device.write(table.entries[1].first * 512, b"x" * 512)
        assert not disk_image.is_fresh(device, head, manifest)


class TestFile:
    def test_new(self, desk: Desk, tmp_path: Any) -> None:
        path = str(tmp_path / "spare.img")
        done = desk.write(file=path)
        assert done["changed"] and done["target"]["confirm"] is None
        with open(path, "rb") as file:
            assert file.read() == desk.published("1.1")
        assert os.stat(path).st_blocks * 512 < len(desk.published("1.1")), "zeros take no space"
        assert not desk.write(file=path)["changed"]

    def test_another_file_of_that_name(self, desk: Desk, tmp_path: Any) -> None:
        path = tmp_path / "spare.img"
        path.write_bytes(b"precious")
        seen = desk.write(file=str(path))
        assert not seen["confirmed"] and seen["target"]["confirm"] == "8" and path.read_bytes() == b"precious"
        assert desk.write(file=str(path), confirm="8")["changed"]
        assert path.read_bytes() == desk.published("1.1")

    def test_no_place_for_it(self, desk: Desk, tmp_path: Any) -> None:
        assert "is no file" in desk.refused(file=str(tmp_path))
        assert "there is no folder" in desk.refused(file=str(tmp_path / "none" / "spare.img"))


class TestRefused:
    def test_a_disk_that_was_not_meant(self, desk: Desk) -> None:
        message = desk.refused(confirm=str(SIZE))
        assert SERIAL in message and "serial number" in message and "nothing was written" in message

    @pytest.mark.parametrize(
        "device, says",
        [
            ("/dev/ada0", "a mounted file system"),
            ("/dev/ada0p4", "is a part of ada0"),
            ("/dev/gpt/nz-b", "is a part of ada0"),
            ("/dev/ada1", "a ZFS pool"),
            ("/dev/da7", "there is no disk /dev/da7"),
        ],
    )
    def test_what_is_in_use_or_no_disk(self, desk: Desk, pooled: ModuleHost, device: str, says: str) -> None:
        message = desk.refused(device=device)
        assert says in message and "nothing was written" in message and "Next: " in message

    def test_a_disk_of_an_exported_pool(self, desk: Desk, pooled: ModuleHost) -> None:
        pooled.command("zpool", "export", "tank")
        assert "the ZFS pool with guid" in desk.refused(device="/dev/ada1", confirm="ADA1")

    def test_a_disk_that_is_open(self, desk: Desk) -> None:
        desk.host.machine.running["open"]["da0"] = [1, 0, 0]
        desk.host.machine.save()
        assert "is in use by a program (da0 on da0)" in desk.refused()

    def test_a_disk_that_is_too_small(self, desk: Desk) -> None:
        desk.host.machine.add_disk("da1", 4 * MIB, "SMALL", table=True)
        message = desk.refused(device="/dev/da1", confirm="SMALL")
        assert "does not fit" in message and str(len(desk.published("1.1"))) in message

    def test_what_would_not_do_for_every_host(self, desk: Desk) -> None:
        odd = desk.site(name="web-2", pool="data", features=["log_spacemap", "block_cloning"])
        alien = desk.site(name="web-3", arch="aarch64")
        message = desk.refused(hosts=[desk.site(), odd, alien])
        assert "the pool of web-2 uses block_cloning, unknown to the image" in message
        assert "web-2 has the pool data, the image imports tank" in message
        assert "web-3 is aarch64, the image is for amd64" in message and "web-1" not in message.replace("web-1.1", "")

    def test_nobody_whom_we_trust_signed_it(self, desk: Desk, tmp_path: Any) -> None:
        assert "not signed by any key" in desk.refused(signers=["release@fleet ssh-ed25519 AAAAC3Nza"])
        assert "is revoked" in desk.refused(revoked=[desk.images.public])
        keys = tmp_path / "keys"
        keys.write_text(desk.images.signer + "\n")
        arguments: Dict[str, Any] = {"signers": None, "allowed_signers": str(keys), "confirm": SERIAL}
        assert desk.host.ok("medium_write", check=True, **desk.arguments(**arguments))["changed"]

    def test_no_medium_was_published(self, desk: Desk, tmp_path: Any) -> None:
        copy = desk.images.copy(str(tmp_path))
        os.unlink(os.path.join(copy, desk.images.built["1.1"]["id"] + ".disk.img.xz"))
        assert "there is no file" in desk.refused(repository=copy)


def damaged(packed: bytes, how: str) -> bytes:
    """A published medium (packed) that is not what was published any more."""
    if how == "cut off":
        return packed[: len(packed) - 100]
    if how == "flipped":
        middle = len(packed) // 2
        return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]
    content = bytearray(lzma.decompress(packed))
    if how == "longer":
        content += bytes(MIB)
    elif how == "shorter":
        del content[-MIB:]
    elif how == "other slice":
        content[3 * MIB] ^= 1
    elif how == "other boot code":
        content[MIB] ^= 1
    return lzma.compress(bytes(content), preset=0)


class TestTrouble:
    @pytest.mark.parametrize("how", ["cut off", "flipped", "longer", "shorter", "other slice", "other boot code"])
    def test_a_file_that_is_not_what_the_manifest_says_never_boots(self, desk: Desk, tmp_path: Any, how: str) -> None:
        desk.fill(desk.published("1.0"))
        copy = desk.images.copy(str(tmp_path))
        path = os.path.join(copy, desk.images.built["1.1"]["id"] + ".disk.img.xz")
        with open(path, "rb") as file:
            content = damaged(file.read(), how)
        with open(path, "wb") as out:
            # no shorter than the manifest says, so that it is not only its size that gives it away
            out.write(content.ljust(os.path.getsize(path), b"\0") if how == "longer" else content)
        result = desk.host.run("medium_write", **desk.arguments(repository=copy, confirm=SERIAL))
        assert result["failed"] and "Safe now: " in result["msg"] and "boots nowhere" in result["msg"]
        with pytest.raises(gpt.GptError):
            gpt.read_table(io.BytesIO(desk.content()), SIZE // 512)
        target = str(tmp_path / "spare.img")
        message = desk.host.run("medium_write", **desk.arguments(repository=copy, file=target))["msg"]
        assert "no file got the name" in message
        assert os.listdir(tmp_path / "images") and not [each for each in os.listdir(tmp_path) if "spare" in each]

    def test_a_disk_that_lies_is_found_out(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        class Liar(WindowDevice):
            def write(self, offset: int, data: Any) -> None:
                super().write(offset, bytes(len(data)) if offset == 4 * MIB else data)

        monkeypatch.setattr(
            devices, "open_device", lambda path, writable=False: Liar(desk.host.machine, path, writable)
        )
        result = desk.host.run("medium_write", **desk.arguments(confirm=SERIAL))
        assert result["failed"] and "1 of " in result["msg"] and "another disk" in result["msg"]
        with pytest.raises(gpt.GptError):
            gpt.read_table(io.BytesIO(desk.content()), SIZE // 512)

    def test_a_disk_that_is_gone(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(self: WindowDevice, offset: int, data: Any) -> None:
            raise devices.DeviceError("the stick was pulled")

        monkeypatch.setattr(WindowDevice, "write", write)
        message = desk.host.run("medium_write", **desk.arguments(confirm=SERIAL))["msg"]
        assert "was pulled" in message and "must not be used" in message

    @pytest.mark.parametrize("at", [0, 3 * MIB, 8 * MIB])
    def test_what_was_broken_off_boots_nowhere_and_is_written_again(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, at: int
    ) -> None:
        desk.fill(desk.published("1.0"))
        real = WindowDevice.write
        cut = [at]

        def write(self: WindowDevice, offset: int, data: Any) -> None:
            if data != bytes(len(data)) and cut and offset >= cut[0]:
                raise devices.DeviceError("the stick was pulled")
            real(self, offset, data)

        monkeypatch.setattr(WindowDevice, "write", write)
        message = desk.host.run("medium_write", **desk.arguments(confirm=SERIAL))["msg"]
        assert "was pulled" in message and "boots nowhere" in message
        with pytest.raises(gpt.GptError):
            gpt.read_table(io.BytesIO(desk.content()), SIZE // 512)
        cut.clear()
        assert desk.host.ok("medium_write", **desk.arguments(confirm=SERIAL))["changed"]
        assert desk.content().startswith(desk.published("1.1"))
