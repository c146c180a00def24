# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""image_write and image_info: what is written, what is proved, and all that is refused before the first write."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from typing import Any, Iterator, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job as jobs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import BadSignature, Keys, verify
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._progress import line
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._push_source import supply_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import publish, release
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.medium import Form
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

    def test_a_slice_that_is_too_small(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        images.build("3.0", 30, size=SLICE + MIB, terms=images.terms(output=repository))
        message = host.refused("image_write", **arguments(images, "3.0", repository=repository))
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

    def test_an_image_below_the_floor(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        images.build("0.1", 4, terms=images.terms(output=repository))
        message = host.refused("image_write", **arguments(images, "0.1", repository=repository, allow_older=True))
        assert "accepts nothing below 5" in message

    def test_an_expired_image(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        images.build("4.0", 40, not_after=1000, terms=images.terms(output=repository))
        assert "expired" in host.refused("image_write", **arguments(images, "4.0", repository=repository))

    def test_an_unknown_version(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_info", **arguments(images, "9.9"))
        assert "has no image 9.9" in message and "web-1.1" in message

    def test_a_repository_that_is_not_there(self, host: ModuleHost, images: Images) -> None:
        assert "there is no file" in host.refused("image_info", **arguments(images, repository="/nowhere"))
        assert "no address of an image" in host.refused("image_info", **arguments(images, repository="ftp://x/y"))


def without(version: str, name: str = "web") -> Any:
    """Changes an index: an image is not in it."""

    def change(raw: bytes) -> bytes:
        index = json.loads(raw)
        index["images"] = [each for each in index["images"] if (each["name"], each["version"]) != (name, version)]
        return json.dumps(index).encode()

    return change


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
        assert "seq is no number" in host.refused("image_write", **arguments(images, repository=repository))

    def test_an_index_that_somebody_changed_says_nothing_of_the_latest(
        self, host: ModuleHost, images: Images, tmp_path: Any
    ) -> None:
        """Whoever has the server could choose the oldest image that is signed."""
        wanted = arguments(images, "latest")
        assert host.ok("image_info", **wanted)["image"]["version"] == max(images.built)
        older = dict(wanted, repository=self.damage(images, str(tmp_path), "index.json", without("1.2")))
        assert "not good" in host.refused("image_info", **older)
        os.unlink(os.path.join(older["repository"], "index.json.sig"))
        message = host.refused("image_info", **older)
        assert "which image is the latest cannot be told" in message and "playbook publish" in message
        assert host.ok("image_info", **dict(older, image="1.1"))["image"]["version"] == "1.1"

    def test_an_index_of_before_it_was_signed(self, images: Images, tmp_path: Any) -> None:
        """Publishing signs it, once; and one that an interruption left with the signature of the one before."""
        folder = publish.Folder(images.copy(str(tmp_path)))
        with open(folder.full("index.json"), encoding="ascii") as file:
            index = file.read()
        for broken in (True, False):
            if broken:
                os.unlink(folder.full("index.json.sig"))
            else:
                with open(folder.full("index.json"), "w", encoding="ascii") as file:
                    file.write(index + " ")
            for changed in (True, False):
                terms = images.terms(output=folder.path)
                found = release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)
                assert found["changed"] is changed and folder.signed_by("index.json", images.key, "nanozfs-image")

    def test_a_key_that_is_for_channels_only_leaves_the_index_alone(self, images: Images, tmp_path: Any) -> None:
        """Hosts would not believe it; nothing here tells for what they trust a key but what it has signed."""
        key = str(tmp_path / "other")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        folder = publish.Folder(images.copy(str(tmp_path)))
        order = release.Order(name="web")
        with pytest.raises(FleetError, match="has signed none of those"):
            terms = images.terms(output=folder.path, signing_key=key, keep=1)
            release.run(terms, order, Runner(local_execute), quiet)
        os.unlink(folder.full("index.json.sig"))
        terms = images.terms(output=folder.path, signing_key=key, rings=(("a", "1.1"),))
        assert release.run(terms, order, Runner(local_execute), quiet)["changed"]
        assert not os.path.exists(folder.full("index.json.sig"))

    def test_a_host_is_never_given_an_image_of_another_name_unasked(
        self, host: ModuleHost, images: Images, tmp_path: Any
    ) -> None:
        """The server takes web-1.1 out of its index, where db-1.1 is, which the same fleet has signed."""
        folder = images.copy(str(tmp_path))
        identity = Identity("db", "1.1", 11, 5, "amd64", "FreeBSD:13:amd64", "tank")
        images.build("1.1", 11, identity=identity, terms=images.terms(output=folder))
        path = os.path.join(folder, "index.json")
        with open(path, "rb") as file:
            raw = without("1.1", "web")(file.read())
        with open(path, "wb") as file:
            file.write(raw)
        for module in ("image_info", "image_write"):
            message = host.refused(module, **arguments(images, repository=folder))
            assert "has no image 1.1 of web; it has: db-1.1" in message and "upgrade_image_name" in message
        found = host.ok("image_info", **arguments(images, repository=folder, name="db"))
        assert found["image"]["name"] == "db"
        # who gives a whole id has said which one is meant; the playbook does, after it has looked by name
        assert host.ok("image_write", **arguments(images, found["image"]["id"], repository=folder))["changed"]

    @pytest.mark.parametrize("clock, said", [(100.0, "the clock says 1970-01-01"), (1.8e9, "expired")])
    def test_a_clock_that_lost_its_battery_decides_nothing(
        self, host: ModuleHost, images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, clock: float, said: str
    ) -> None:
        folder = images.copy(str(tmp_path))
        order = release.Order(name="web", version="1.1", not_after=1704067300)
        release.run(images.terms(output=folder), order, Runner(local_execute), quiet)
        monkeypatch.setattr("time.time", lambda: clock)
        assert said in host.refused("image_write", **arguments(images, repository=folder))

    def test_every_third_byte_of_a_signature(self, images: Images) -> None:
        """Whatever is flipped in it: it is refused, or it is still a signature of exactly this manifest."""
        name = os.path.join(images.repository, images.built["1.1"]["id"] + ".manifest.json")
        with open(name, "rb") as file:
            manifest = file.read()
        with open(name + ".sig", "rb") as file:
            signature = file.read()
        runner, keys = Runner(local_execute), Keys(images.signers)
        assert verify(runner, manifest, signature, keys) == "release@fleet"
        refused = 0
        for at in range(0, len(signature), 3):
            flipped = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
            try:
                assert verify(runner, manifest, flipped, keys) == "release@fleet"
            except BadSignature:
                refused += 1
        assert refused > len(signature) // 3 * 0.9
        for at in range(0, len(manifest), 97):
            with pytest.raises(BadSignature):
                verify(runner, manifest[:at] + bytes([manifest[at] ^ 1]) + manifest[at + 1 :], signature, keys)
        for end in (0, 1, len(signature) // 2, len(signature) - 60):
            with pytest.raises(BadSignature):
                verify(runner, manifest, signature[:end], keys)

    @pytest.mark.parametrize(
        "options, said",
        [
            ('valid-before="20200101",', "not signed by any key|not good"),
            ('valid-after="20990101",', "not signed by any key|not good"),
        ],
    )
    def test_a_key_at_the_wrong_time(
        self, host: ModuleHost, images: Images, tmp_path: Any, options: str, said: str
    ) -> None:
        signers = tmp_path / "signers"
        signers.write_text('release@fleet {0}namespaces="nanozfs-image" {1}\n'.format(options, images.public))
        message = host.refused("image_write", **arguments(images, allowed_signers=str(signers)))
        assert re.search(said, message)

    def test_a_revoked_key(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        revoked = tmp_path / "revoked"
        revoked.write_text(images.public + "\n")
        message = host.refused("image_write", **arguments(images, revoked_keys=str(revoked)))
        assert "the key of release@fleet that signed it is revoked" in message
        revoked.write_text("")
        assert host.ok("image_info", **arguments(images, revoked_keys=str(revoked)))["signer"] == "release@fleet"

    @pytest.mark.parametrize(
        "before", ['git@x namespaces="git"', 'old@x valid-before="20240101",namespaces="nanozfs-image"', "# git@x"]
    )
    def test_a_key_on_several_lines(self, host: ModuleHost, images: Images, tmp_path: Any, before: str) -> None:
        """ssh-keygen takes the first line of a key; any that permits it for this purpose counts."""
        key = " ".join(images.public.split()[:2])
        signers = tmp_path / "signers"
        signers.write_text('{0} {1}\nrelease@x namespaces="nanozfs-image" {1}\n'.format(before, key))
        assert host.ok("image_info", **arguments(images, allowed_signers=str(signers)))["signer"] == "release@x"
        signers.write_text("{0} {1}\n".format('git@x namespaces="git"', key))
        assert "not good" in host.refused("image_info", **arguments(images, allowed_signers=str(signers)))

    def test_revoked_keys_are_in_the_image(self, images: Images, tmp_path: Any) -> None:
        terms = images.terms(output=str(tmp_path))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "old")], check=True)
        old = (tmp_path / "old.pub").read_text()
        build.run(images.definition("1.1", 11, revoked=[old], terms=terms), Runner(local_execute), quiet)
        with lzma.open(next(tmp_path.glob("*.pack"))) as file:
            content = file.read()
        found = Ufs(lambda offset, length: content[offset : offset + length]).read("boot/nanozfs/revoked_keys")
        assert found == old.encode()

    def test_damaged_digests(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        name = images.built["1.1"]["id"] + ".win"
        repository = self.damage(images, str(tmp_path), name, lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
        message = host.refused("image_write", **arguments(images, repository=repository))
        assert "does not match the signed manifest" in message

    @pytest.mark.parametrize("fallback", ["full", "fail"])
    def test_damaged_payloads(self, host: ModuleHost, images: Images, tmp_path: Any, fallback: str) -> None:
        """A delta that is damaged costs the pack, and says so; a pack that is damaged as well is the end."""
        repository = images.copy(str(tmp_path))
        for path in sorted(tmp_path.glob("images/" + images.built["1.1"]["id"] + ".*.delta")):
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        values = arguments(images, repository=repository, fallback=fallback)
        result = host.run("image_write", **values)
        if fallback == "fail":
            assert result["failed"] and "fallback=fail" in result["msg"] and "no boot flags" in result["msg"]
            values["fallback"] = "full"
            result = host.run("image_write", **values)
        assert not result["failed"] and slice_bytes(host) == images.content("1.1")
        assert "the full pack was used instead" in result["notes"][0]
        host.ok("image_write", **arguments(images, "1.2"))
        for path in tmp_path.glob("images/" + images.built["1.1"]["id"] + ".pack"):
            path.write_bytes(path.read_bytes()[:100])
        result = host.run("image_write", **values)
        assert result["failed"] and "ends at byte" in result["msg"]
        assert host.flags()["nz-b"] == [] and slice_bytes(host, "nz-a") == images.content("1.0")


class TestRings:
    """Channels: which image each ring should run."""

    @pytest.fixture
    def channel(self, images: Images, tmp_path: Any) -> str:
        repository = images.copy(str(tmp_path))
        self.publish(images, repository, canary="1.2", stable="1.1")
        return repository

    def publish(self, images: Images, repository: str, not_after: Optional[int] = None, **rings: str) -> None:
        terms = images.terms(output=repository, rings=tuple(rings.items()), channel_not_after=not_after)
        result = release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)
        assert result["changed"] and set(rings) <= set(result["rings"])

    @pytest.mark.parametrize("ring, version", [("canary", "1.2"), ("stable", "1.1")])
    def test_a_host_follows_its_ring(
        self, host: ModuleHost, images: Images, channel: str, ring: str, version: str
    ) -> None:
        """The name is that of the image that runs."""
        result = host.ok("image_write", **arguments(images, "ring:" + ring, repository=channel))
        assert result["image"]["version"] == version and slice_bytes(host) == images.content(version)

    def test_a_ring_that_there_is_not(self, host: ModuleHost, images: Images, channel: str) -> None:
        message = host.refused("image_write", **arguments(images, "ring:beta", repository=channel))
        assert "has no ring beta; it has: canary, stable" in message

    def test_no_channel(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_info", **arguments(images, "ring:stable", name="other"))
        assert "other.channel.json" in message

    def test_an_expired_channel(self, host: ModuleHost, images: Images, channel: str) -> None:
        self.publish(images, channel, 1000, canary="1.1")
        assert "expired" in host.refused("image_info", **arguments(images, "ring:canary", repository=channel))

    def test_a_changed_channel(self, host: ModuleHost, images: Images, channel: str) -> None:
        path = os.path.join(channel, "web.channel.json")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(images.built["1.1"]["id"], images.built["1.0"]["id"]))
        assert "not good" in host.refused("image_info", **arguments(images, "ring:stable", repository=channel))

    def test_a_manifest_is_no_channel(self, host: ModuleHost, images: Images, channel: str) -> None:
        """A signature for one purpose does not do for the other, though the key may do both."""
        manifest = os.path.join(channel, images.built["1.1"]["id"] + ".manifest.json")
        for suffix in ("", ".sig"):
            shutil.copy(manifest + suffix, os.path.join(channel, "web.channel.json" + suffix))
        assert "not good" in host.refused("image_info", **arguments(images, "ring:stable", repository=channel))

    def test_a_channel_is_renewed(self, host: ModuleHost, images: Images, channel: str) -> None:
        """A new expiry alone is a change; no expiry given means that it stays."""
        self.publish(images, channel, 2000000000, canary="1.2")
        assert publish.Folder(channel).channel("web").not_after == 2000000000  # type: ignore[union-attr]
        self.publish(images, channel, 2100000000, canary="1.2")
        self.publish(images, channel, beta="1.0")
        found = publish.Folder(channel).channel("web")
        assert found is not None and found.not_after == 2100000000 and set(found.rings) == {"canary", "stable", "beta"}
        assert host.ok("image_info", **arguments(images, "ring:beta", repository=channel))["image"]["version"] == "1.0"

    def test_a_new_key_signs_anew(self, images: Images, channel: str, tmp_path: Any) -> None:
        key = str(tmp_path / "other")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        folder = publish.Folder(channel)
        assert folder.signed_by("web.channel.json", images.key, "nanozfs-channel")
        assert not folder.signed_by("web.channel.json", key, "nanozfs-channel")
        for changed in (True, False):
            terms = images.terms(output=channel, signing_key=key)
            result = release.run(terms, release.Order(name="web", version="1.1"), Runner(local_execute), quiet)
            assert result["changed"] is changed
        name = images.built["1.1"]["id"] + ".manifest.json"
        assert folder.signed_by(name, key, "nanozfs-image") and folder.signed_by(
            "web.channel.json", key, "nanozfs-channel"
        )

    def test_another_expiry(self, images: Images, channel: str) -> None:
        for not_after, changed in ((2000000000, True), (2000000000, False), (None, False), (1500000000, True)):
            order = release.Order(name="web", version="1.1", not_after=not_after)
            result = release.run(images.terms(output=channel), order, Runner(local_execute), quiet)
            assert (result["changed"] is changed and result["image"]["not_after"] == not_after) or not_after is None

    def test_a_medium_that_somebody_deleted(self, images: Images, channel: str) -> None:
        """Only that is made anew, and only where it is wanted."""
        ident = images.built["1.1"]["id"]
        os.unlink(os.path.join(channel, ident + ".disk.img.xz"))
        said: List[str] = []
        for medium, changed in ((False, False), (True, True), (True, False)):
            order = release.Order(name="web", version="1.1", media=(Form(),) if medium else ())
            result = release.run(images.terms(output=channel, deltas=0), order, Runner(local_execute), said.append)
            assert result["changed"] is changed
        assert not [text for text in said if text.startswith("trying")]

    def test_what_is_named_is_not_pruned(self, images: Images, channel: str) -> None:
        """An older image that was published just now, and one that deltas are wanted from: both stay."""
        terms = images.terms(output=channel, keep=1, deltas=0, deltas_from=["1.0"])
        for _time in range(2):
            result = release.run(terms, release.Order(name="web", version="1.1"), Runner(local_execute), quiet)
            assert os.path.exists(result["manifest"])
        assert not result["changed"]
        assert {"1.0", "1.1"} <= {each["version"] for each in publish.Folder(channel).index()}

    def test_pruning_counts_for_each_architecture(self, images: Images, channel: str) -> None:
        folder = publish.Folder(channel)
        entries = folder.index()
        others = [dict(each, arch="aarch64", id=str(number) * 64) for number, each in enumerate(entries)]
        folder._write_index(Runner(local_execute), entries + others, images.terms().signing_key)
        doomed = folder.doomed("web", len(entries) - 1, set())
        assert len(doomed) == 2 and len(set(doomed) & {each["id"] for each in entries}) == 1

    def test_what_is_replaced_is_taken_away(self, images: Images, channel: str) -> None:
        """And the ring follows: its hosts would go on to install the old build under the same version."""
        before = images.built["1.1"]
        terms = images.terms(output=channel, replace=True)
        again = images.build("1.1", 13, terms=terms)
        images.built["1.1"] = before
        ident = again["image"]["id"]
        assert ident != before["id"] and again["rings"]["stable"] == ident and again["removed"] == [before["id"]]
        assert publish.Folder(channel).channel("web").rings["stable"] == ident  # type: ignore[union-attr]
        assert not [name for name in os.listdir(channel) if name.startswith(before["id"])]
        said = "\n".join(again["says"])
        assert "rings: canary: 1.2" in said and "stable: 1.1 ({0})".format(ident[:12]) in said
        assert "removed: 1.1 ({0})".format(before["id"][:12]) in said
        assert "stable: 1.1 ({0})".format(before["id"][:12]) in again["diff"]["before"]

    def test_a_ring_ends(self, images: Images, channel: str) -> None:
        for changed in (True, False):
            terms = images.terms(output=channel, rings=(("canary", ""),))
            found = release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)
            assert found["changed"] is changed and set(found["rings"]) == {"stable"}
        self.publish(images, channel, stable="1.2")
        terms = images.terms(output=channel, rings=(("stable", ""),))
        assert release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)["rings"] == {}
        assert publish.Folder(channel).channel("web").rings == {}  # type: ignore[union-attr]

    def test_the_build_says_where_the_medium_is(self, images: Images, channel: str) -> None:
        order = release.Order(name="web", version="1.1")
        found = release.run(images.terms(output=channel), order, Runner(local_execute), quiet)
        path = os.path.join(channel, images.built["1.1"]["id"] + ".disk.img.xz")
        assert "medium (GPT): {0} - write it with `xz -dc {0} | dd of=/dev/DISK bs=1m`".format(path) in " ".join(
            found["says"]
        )

    def test_what_a_killed_publisher_left_is_taken_away(self, images: Images, channel: str) -> None:
        for name in (".3fa9.pack.part", ".web-3fa9.part"):
            with open(os.path.join(channel, name), "wb") as file:
                file.write(b"x")
        with publish.Folder(channel).locked(check_mode=True):
            assert [name for name in os.listdir(channel) if name.endswith(".part")], "another one may be at work"
        with publish.Folder(channel).locked():
            assert not [name for name in os.listdir(channel) if name.endswith(".part")]

    def test_one_publisher_at_a_time(self, images: Images, channel: str) -> None:
        with publish.Folder(channel).locked(), pytest.raises(FleetError, match="somebody else is publishing"):
            release.run(images.terms(output=channel), release.Order(name="web"), Runner(local_execute), quiet)

    def test_check_mode_with_a_ring_for_what_is_to_come(self, images: Images, tmp_path: Any) -> None:
        terms = images.terms(output=str(tmp_path / "new"), rings=(("canary", "1.1"),))
        order = release.Order(image=str(tmp_path / "raw"))
        (tmp_path / "raw").write_bytes(images.content("1.1"))
        predicted = release.run(terms, order, Runner(local_execute, check_mode=True), quiet)
        assert predicted["changed"] and not os.path.exists(str(tmp_path / "new"))
        result = release.run(terms, order, Runner(local_execute), quiet)
        assert result["changed"] and result["rings"] == {"canary": images.built["1.1"]["id"]}
        assert not release.run(terms, order, Runner(local_execute), quiet)["changed"]

    def test_pruning_spares_the_rings(self, images: Images, channel: str) -> None:
        terms = images.terms(output=channel, keep=1, rings=(("canary", "1.1"),))
        result = release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)
        left = {each["version"] for each in publish.Folder(channel).index()}
        newest = max(publish.Folder(channel).index(), key=lambda each: each["seq"])["version"]
        assert left == {"1.1", newest} and len(result["removed"]) >= 1
        for ident in result["removed"]:
            assert not [name for name in os.listdir(channel) if name.startswith(ident)]
        for each in publish.Folder(channel).index():
            folder = publish.Folder(channel)
            assert all(folder.has(file) for file in folder.manifest(each["id"]).published())
        again = release.run(terms, release.Order(name="web"), Runner(local_execute), quiet)
        assert not again["changed"] and again["removed"] == []

    def test_check_mode_prunes_nothing(self, images: Images, channel: str) -> None:
        before = sorted(os.listdir(channel))
        terms = images.terms(output=channel, keep=1, rings=(("canary", "1.1"),))
        result = release.run(terms, release.Order(name="web"), Runner(local_execute, check_mode=True), quiet)
        assert result["changed"] and sorted(os.listdir(channel)) == before


class TestGoingOn:
    """A write in a process of its own: it goes on when the controller dies, and the next play takes it over."""

    def slow(self, host: ModuleHost, seconds: float = 1.0) -> None:
        write = WindowDevice.write

        def slowly(self: WindowDevice, offset: int, data: Any) -> None:
            time.sleep(seconds)
            write(self, offset, data)

        host.monkeypatch.setattr(WindowDevice, "write", slowly)

    def finish(self, host: ModuleHost, images: Images, job: str) -> dict:
        for _poll in range(60):
            result = host.ok("image_write", **arguments(images, detach=True, job=job, wait=2))
            if result["finished"]:
                return result
        raise AssertionError("it never ends")

    def test_what_is_quick_is_done_at_once(self, host: ModuleHost, images: Images) -> None:
        result = host.ok("image_write", **arguments(images, detach=True, wait=30))
        assert result["finished"] and result["changed"] and slice_bytes(host) == images.content("1.1")

    def test_says_how_far_it_is(self, host: ModuleHost, images: Images) -> None:
        self.slow(host)
        first = host.ok("image_write", **arguments(images, detach=True, wait=0))
        assert not first["finished"] and first["changed"] and first["progress"]["total"] == 2 * MIB
        assert "0 % of 2 MiB" in line(first["progress"])
        result = self.finish(host, images, first["job"])
        assert result["written"] + result["kept"] == 2 * MIB and slice_bytes(host) == images.content("1.1")

    def test_the_next_play_takes_it_over(self, host: ModuleHost, images: Images) -> None:
        self.slow(host)
        first = host.ok("image_write", **arguments(images, detach=True, wait=0))
        adopted = host.ok("image_write", **arguments(images, detach=True, wait=0))
        assert adopted["job"] == first["job"] and not adopted["finished"]
        predicted = host.ok("image_write", check=True, **arguments(images))
        assert predicted["changed"] and not predicted["finished"]
        message = host.run("image_write", **arguments(images, "1.2", detach=True, wait=0))["msg"]
        assert "is being written with web-1.1" in message and "that write goes on" in message
        for state in ("trial", "active"):
            message = host.run("gpart_slice", slice="nz-b", state=state)["msg"]
            assert "nz-b is being written with web-1.1" in message and "no boot flag was changed" in message
        waited = host.ok("image_write", **arguments(images))
        assert waited["finished"] and slice_bytes(host) == images.content("1.1")

    def test_an_old_record_is_not_taken_for_this_write(self, host: ModuleHost, images: Images) -> None:
        """Somebody has taken the lock, and has not said yet what for; the record is that of an earlier write."""
        done = host.ok("image_write", **arguments(images))
        assert done["finished"]
        host.monkeypatch.setattr(jobs, "NEW_RECORD", 0.3)
        other = jobs.Job("nz-b")
        assert other.lock()
        message = host.run("image_write", **arguments(images, detach=True, wait=0))["msg"]
        assert "is being written with something else" in message
        other.unlock()
        assert not host.ok("image_write", **arguments(images))["changed"]

    @pytest.mark.parametrize("name", ["line_rate", "rate_limit", "connections", "deadline", "timeout"])
    def test_numbers_that_mean_nothing(self, host: ModuleHost, images: Images, name: str) -> None:
        assert "must be more than 0" in host.refused("image_write", **dict(arguments(images), **{name: 0}))

    def test_a_write_that_was_killed(self, host: ModuleHost, images: Images) -> None:
        self.slow(host, 0.7)
        first = host.ok("image_write", **arguments(images, detach=True, wait=0))
        for process in writers():
            os.kill(process, signal.SIGKILL)
        again = host.ok("image_write", **arguments(images, detach=True, job=first["job"], wait=30))
        assert again["finished"] and slice_bytes(host) == images.content("1.1")

    def test_a_failure_is_told(self, host: ModuleHost, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        for path in tmp_path.glob("images/*.pack"):
            path.write_bytes(b"")
        for path in tmp_path.glob("images/*.delta"):
            path.unlink()
        result = host.run("image_write", **arguments(images, repository=repository, detach=True, wait=30))
        assert result["failed"] and "ends at byte" in result["msg"]


def quiet(_text: str) -> None:
    """Say nothing."""


def writers() -> List[int]:
    """The processes that write: copies of this one with a session of their own."""
    mine = []
    with open("/proc/self/cmdline", "rb") as file:
        command = file.read()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/{0}/cmdline".format(name), "rb") as file:
                same = file.read() == command
            with open("/proc/{0}/stat".format(name), encoding="ascii") as file:
                session = int(file.read().rpartition(")")[2].split()[3])
        except OSError:
            continue
        if same and session != os.getsid(0):
            mine.append(int(name))
    return mine


class TestSupply:
    """What a controller brings: it must not believe an index that nobody has signed."""

    def supply(self, repository: str, image: str, **more: Any) -> List[Any]:
        return list(supply_of(dict({"repository": repository, "image": image}, **more)).manifest_files())

    def test_small_files(self, images: Images) -> None:
        ident = images.built["1.1"]["id"]
        names = [name for name, _content in self.supply(images.repository, "1.1", name="web")]
        assert names == [ident + ".manifest.json", ident + ".manifest.json.sig"]
        assert [name for name, _content in self.supply(images.repository, ident)] == names

    def test_an_index_that_points_elsewhere(self, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        path = os.path.join(repository, "index.json")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(images.built["1.2"]["id"], images.built["1.1"]["id"]))
        with pytest.raises(FleetError, match=r"offered web-1\.1 .* for 1\.2"):
            self.supply(repository, "1.2")

    def test_a_ring(self, images: Images) -> None:
        with pytest.raises(FleetError, match="ring cannot be asked for"):
            self.supply(images.repository, "ring:canary")


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

    def test_writes(self, host: ModuleHost, images: Images, served: Any) -> None:
        result = host.ok("image_write", **arguments(images, repository=served[1]))
        assert slice_bytes(host) == images.content("1.1")
        assert result["predicted"]["kind"] == "delta" and result["requests"] <= 7
        assert result["predicted"]["bytes"] < result["fetched"] < 20000

    def test_survives_a_server_with_a_hiccup(self, host: ModuleHost, images: Images, served: Any) -> None:
        with open(os.path.join(served[0], ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({images.built["1.1"]["id"] + ".win": {"status": 503, "times": 3}}, file)
        naps: list = []
        host.monkeypatch.setattr("time.sleep", naps.append)
        host.ok("image_write", **arguments(images, repository=served[1]))
        assert slice_bytes(host) == images.content("1.1")
        assert [nap for nap in naps if nap] == [0.5, 1.0, 2.0]

    def test_a_server_that_has_broken_down(self, host: ModuleHost, images: Images, served: Any) -> None:
        with open(os.path.join(served[0], ".faults.json"), "w", encoding="utf-8") as file:
            names = [name for name in os.listdir(served[0]) if name.endswith((".pack", ".delta"))]
            json.dump({name: {"status": 500} for name in names}, file)
        host.monkeypatch.setattr("time.sleep", lambda seconds: None)
        result = host.run("image_write", **arguments(images, repository=served[1], retries=1))
        assert result["failed"] and "HTTP 500 (2 attempts)" in result["msg"]
        assert host.flags()["nz-b"] == [] and slice_bytes(host, "nz-a") == images.content("1.0")

    def test_no_server(self, host: ModuleHost, images: Images) -> None:
        host.monkeypatch.setattr("time.sleep", lambda seconds: None)
        result = host.run("image_info", **arguments(images, repository="http://127.0.0.1:1/", retries=1))
        assert result["failed"] and "2 attempts" in result["msg"]
