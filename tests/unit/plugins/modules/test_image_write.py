# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""image_write and image_info: what is written, what is proved, and all that is refused before the first write."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Iterator, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._ufs import Ufs
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.unit.conftest import SLICE, Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost, WindowDevice, boot


def arguments(images: Images, version: str = "1.1", **more: Any) -> dict:
    values = {"repository": images.repository, "image": version, "allowed_signers": images.signers}
    return dict(values, **more)


def slice_bytes(host: ModuleHost, label: str = "nz-b", size: int = 2 * MIB) -> bytes:
    return WindowDevice(host.machine, "/dev/gpt/" + label, False).read(0, size)


def test_writes_and_proves_it(host: ModuleHost, images: Images) -> None:
    result = host.same_in_check_mode("image_write", **arguments(images))
    assert result["changed"] and result["slice"] == "nz-b" and result["signer"] == "release@fleet"
    assert result["written"] + result["kept"] == 2 * MIB
    assert slice_bytes(host) == images.content("1.1")
    assert slice_bytes(host, "nz-a") == images.content("1.0")
    version = Ufs(WindowDevice(host.machine, "gpt/nz-b", False).read).read("usr/share/version")
    assert version is not None and version.startswith(b"1.11.1")
    assert result["diff"]["after"] == "nz-b: web-1.1\n"


def test_writing_again_writes_nothing(host: ModuleHost, images: Images) -> None:
    host.ok("image_write", **arguments(images))
    host.opened.clear()
    result = host.same_in_check_mode("image_write", **arguments(images))
    assert not result["changed"] and result["written"] == 0 and result["kept"] == 2 * MIB
    assert host.opened == []


def test_goes_on_where_an_earlier_write_stopped(host: ModuleHost, images: Images) -> None:
    with host.open_device("/dev/gpt/nz-b", True) as device:
        device.write(0, images.content("1.1")[:MIB])
    host.opened.clear()
    result = host.ok("image_write", **arguments(images))
    assert result["written"] <= MIB
    assert all(offset >= MIB for offset, _length in host.opened[0].written)
    assert slice_bytes(host) == images.content("1.1")


@pytest.mark.parametrize("wanted", ["latest", "id", "prefix"])
def test_finds_an_image_in_every_way(host: ModuleHost, images: Images, wanted: str) -> None:
    ident = images.built["1.2"]["id"]
    name = {"latest": "latest", "id": ident, "prefix": ident[:10]}[wanted]
    assert host.ok("image_info", **arguments(images, name))["image"]["version"] == "1.2"


def test_repairs_a_window_that_does_not_come_back_right(host: ModuleHost, images: Images) -> None:
    """A medium that loses one write is written once more."""
    lost: List[int] = []
    write = WindowDevice.write

    def lossy(self: WindowDevice, offset: int, data: bytes) -> None:
        if offset == MIB and not lost:
            lost.append(offset)
            return
        write(self, offset, data)

    host.monkeypatch.setattr(WindowDevice, "write", lossy)
    host.ok("image_write", **arguments(images))
    assert lost and slice_bytes(host) == images.content("1.1")


def test_gives_a_bad_medium_up(host: ModuleHost, images: Images) -> None:
    host.monkeypatch.setattr(WindowDevice, "write", lambda self, offset, data: None)
    result = host.run("image_write", **arguments(images))
    assert result["failed"] and "does not return what was written" in result["msg"]
    assert "replace the OS medium" in result["msg"]


class TestRefusals:
    """Nothing is written, and the message says what is safe and what to do."""

    def test_the_running_slice(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_write", **arguments(images, slice="nz-a"))
        assert "is the running slice" in message and "nothing was written" in message

    @pytest.mark.parametrize("wanted", ["nz-b", "inactive"])
    def test_a_slice_that_is_not_there(self, host: ModuleHost, images: Images, wanted: str) -> None:
        host.command("gpart", "delete", "-i", "5", "ada0")
        message = host.refused("image_write", **arguments(images, slice=wanted))
        assert "has no slice nz-b" in message and "nothing was changed" in message and "Next: " in message

    @pytest.mark.parametrize("name", ["/dev/ada0p5", "/dev/gpt/nz-b"])
    def test_a_mounted_slice_by_whatever_name(self, host: ModuleHost, images: Images, name: str) -> None:
        host.machine.running["mounts"].append({"from": name, "on": "/mnt", "type": "ufs", "readonly": True})
        host.machine.save()
        assert "in use by a mounted file system" in host.refused("image_write", **arguments(images))

    def test_a_slice_that_a_program_has_open(self, host: ModuleHost, images: Images) -> None:
        host.machine.running["open"]["gpt/nz-b"] = [1, 1, 0]
        host.machine.save()
        assert "in use by a program" in host.refused("image_write", **arguments(images))

    def test_a_slice_with_boot_flags(self, host: ModuleHost, images: Images) -> None:
        host.command("gpart", "set", "-a", "bootme", "-i", "5", "ada0")
        message = host.refused("image_write", **arguments(images))
        assert "half an image" in message and "state=inactive" in message

    def test_a_slice_that_is_too_small(self, host: ModuleHost, images: Images) -> None:
        images.build("3.0", 30, size=SLICE + MIB)
        message = host.refused("image_write", **arguments(images, "3.0"))
        assert "needs a slice of" in message and str(SLICE) in message

    def test_another_architecture(self, host: ModuleHost, images: Images) -> None:
        host.machine.hardware["arch"] = "aarch64"
        host.machine.save()
        message = host.refused("image_write", **arguments(images))
        assert "is for amd64, this host is aarch64" in message

    def test_an_older_image(self, host: ModuleHost, images: Images) -> None:
        host.ok("image_write", **arguments(images, "1.2"))
        boot(host.machine, "nz-b")
        host.command("gpart", "unset", "-a", "bootme", "-i", "4", "ada0")
        message = host.refused("image_write", **arguments(images, "1.1"))
        assert "older than the running web-1.2" in message
        assert host.ok("image_write", **arguments(images, "1.1", allow_older=True))["changed"]

    def test_an_image_below_the_floor(self, host: ModuleHost, images: Images) -> None:
        images.build("0.1", 4)
        message = host.refused("image_write", **arguments(images, "0.1", allow_older=True))
        assert "accepts nothing below 5" in message

    def test_an_expired_image(self, host: ModuleHost, images: Images) -> None:
        images.build("4.0", 40, not_after=1000)
        assert "expired" in host.refused("image_write", **arguments(images, "4.0"))

    def test_an_unknown_version(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_info", **arguments(images, "9.9"))
        assert "has no image 9.9" in message and "web-1.1" in message

    def test_a_repository_that_is_not_there(self, host: ModuleHost, images: Images) -> None:
        assert "there is no file" in host.refused("image_info", **arguments(images, repository="/nowhere"))
        assert "no address of an image" in host.refused("image_info", **arguments(images, repository="ftp://x/y"))


class TestTrust:
    """What the manifest and its signature protect from."""

    def damage(self, images: Images, folder: str, name: str, change: Any) -> str:
        repository = images.copy(folder)
        path = os.path.join(repository, name)
        with open(path, "rb") as file:
            raw = file.read()
        with open(path, "wb") as file:
            file.write(change(raw))
        return repository

    def test_no_signature(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        os.unlink(os.path.join(repository, images.built["1.1"]["id"] + ".manifest.json.sig"))
        assert "there is no file" in host.refused("image_write", **arguments(images, repository=repository))

    def test_a_changed_manifest(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        name = images.built["1.1"]["id"] + ".manifest.json"
        repository = self.damage(images, str(tmp_path), name, lambda raw: raw.replace(b'"seq": 11', b'"seq": 99'))
        message = host.refused("image_write", **arguments(images, repository=repository))
        assert "signature of the manifest is not good" in message

    def test_the_signature_of_another_image(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        with open(os.path.join(images.repository, images.built["1.2"]["id"] + ".manifest.json.sig"), "rb") as file:
            other = file.read()
        name = images.built["1.1"]["id"] + ".manifest.json.sig"
        repository = self.damage(images, str(tmp_path), name, lambda raw: other)
        assert "not good" in host.refused("image_write", **arguments(images, repository=repository))

    def test_a_key_that_is_not_trusted(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        signers = tmp_path / "signers"
        signers.write_text('release@fleet namespaces="nanozfs-image" ssh-ed25519 ' + "A" * 68 + "\n")
        message = host.refused("image_write", **arguments(images, allowed_signers=str(signers)))
        assert "not signed by any key" in message

    def test_a_key_for_another_purpose(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        signers = tmp_path / "signers"
        signers.write_text('release@fleet namespaces="git" ' + images.public + "\n")
        assert "signature" in host.refused("image_write", **arguments(images, allowed_signers=str(signers)))

    def test_no_keys_at_all(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_write", **arguments(images, allowed_signers="/nowhere"))
        assert "keys to trust" in message

    def test_an_index_that_points_elsewhere(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        """The index is not signed: whoever changes it can hide an image, but not pass one off as another."""

        def swap(raw: bytes) -> bytes:
            data = json.loads(raw)
            for entry in data["images"]:
                if entry["version"] == "1.1":
                    entry["id"] = images.built["1.0"]["id"]
            return json.dumps(data).encode()

        repository = self.damage(images, str(tmp_path), "index.json", swap)
        message = host.refused("image_write", **arguments(images, repository=repository))
        assert "offered web-1.0" in message

    @pytest.mark.parametrize(
        "index", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "images": [{"id": "x"}]}', "{" * 5000, "\ufffd"]
    )
    @pytest.mark.parametrize("wanted", ["1.1", "latest"])
    def test_an_index_that_is_none(
        self, host: ModuleHost, images: Images, tmp_path: Any, index: str, wanted: str
    ) -> None:
        repository = self.damage(images, str(tmp_path), "index.json", lambda raw: index.encode())
        host.refused("image_write", **arguments(images, repository=repository, image=wanted))

    def test_an_index_with_a_seq_that_is_none(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = self.damage(
            images, str(tmp_path), "index.json", lambda raw: raw.replace(b'"seq": 11', b'"seq": "eleven"')
        )
        message = host.refused("image_write", **arguments(images, repository=repository, image="latest"))
        assert "seq is no number" in message

    @pytest.mark.parametrize("kind", ["win", "img"])
    def test_damaged_or_cut_files(self, host: ModuleHost, images: Images, tmp_path: Any, kind: str) -> None:
        name = images.built["1.1"]["id"] + "." + kind
        last = (2 * MIB if kind == "img" else 64) - 5

        def flip(raw: bytes) -> bytes:
            return raw[:last] + bytes([raw[last] ^ 1]) + raw[last + 1 :]

        for number, change in enumerate((flip, lambda raw: raw[:-100])):
            folder = tmp_path / str(number)
            folder.mkdir()
            repository = self.damage(images, str(folder), name, change)
            result = host.run("image_write", **arguments(images, repository=repository))
            assert result["failed"], kind
            assert any(said in result["msg"] for said in ("other bytes", "does not match", "ends at byte"))
            assert host.flags()["nz-b"] == [] and slice_bytes(host, "nz-a") == images.content("1.0")


class TestHttp:
    """The same from a web server, with its moods."""

    @pytest.fixture
    def served(self, images: Images, tmp_path: Any) -> Iterator[Any]:
        folder = images.copy(str(tmp_path))
        server = web.server(folder, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, "http://127.0.0.1:{0}".format(server.server_address[1])
        server.shutdown()
        server.server_close()

    def faults(self, folder: str, images: Images, kind: str = "img", **fault: Any) -> None:
        with open(os.path.join(folder, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({images.built["1.1"]["id"] + "." + kind: fault}, file)

    def test_writes(self, host: ModuleHost, images: Images, served: Any) -> None:
        host.ok("image_write", **arguments(images, repository=served[1]))
        assert slice_bytes(host) == images.content("1.1")

    def test_survives_a_connection_that_breaks(self, host: ModuleHost, images: Images, served: Any) -> None:
        self.faults(served[0], images, cut_after=300000, times=2)
        host.monkeypatch.setattr("time.sleep", lambda seconds: None)
        host.ok("image_write", **arguments(images, repository=served[1]))
        assert slice_bytes(host) == images.content("1.1")

    def test_survives_a_server_with_a_hiccup(self, host: ModuleHost, images: Images, served: Any) -> None:
        self.faults(served[0], images, status=503, times=3)
        naps: list = []
        host.monkeypatch.setattr("time.sleep", naps.append)
        host.ok("image_write", **arguments(images, repository=served[1]))
        assert slice_bytes(host) == images.content("1.1")
        assert naps == sorted(naps) and len(naps) == 3

    @pytest.mark.parametrize(
        "fault, said",
        [
            ({"ignore_range": True}, "does not do byte ranges"),
            ({"status": 404}, "has no file"),
            ({"status": 403}, "does not let this host have"),
            ({"status": 416}, "shorter than the manifest says"),
            ({"status": 500}, "HTTP 500"),
        ],
    )
    def test_a_server_that_will_not(
        self, host: ModuleHost, images: Images, served: Any, fault: dict, said: str
    ) -> None:
        with host.open_device("/dev/gpt/nz-b", True) as device:
            device.write(0, images.content("1.1")[:MIB])  # so that a range from the middle is asked for
        self.faults(served[0], images, **fault)
        host.monkeypatch.setattr("time.sleep", lambda seconds: None)
        result = host.run("image_write", **arguments(images, repository=served[1], retries=1))
        assert result["failed"] and said in result["msg"], result["msg"]
        assert host.flags()["nz-b"] == [] and slice_bytes(host, "nz-a") == images.content("1.0")

    def test_no_server(self, host: ModuleHost, images: Images) -> None:
        host.monkeypatch.setattr("time.sleep", lambda seconds: None)
        result = host.run("image_info", **arguments(images, repository="http://127.0.0.1:1/", retries=1))
        assert result["failed"] and "2 attempts" in result["msg"]
