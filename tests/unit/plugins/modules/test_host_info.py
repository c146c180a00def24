# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""host_info: a whole host in one look, also when parts of it are broken; and image_info."""

from __future__ import annotations

import os
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.modules import host_info
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.conftest import SLICE, Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost, boot, boot_mbr, make_mbr_medium


@pytest.fixture(autouse=True)
def places(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Places:
    """The trees of a configuration, with nothing in them."""
    found = Places(*(str(tmp_path / name) for name in ("etc", "base", "cfg")))
    for each in (found.etc, found.base, found.cfg):
        os.mkdir(each)
    monkeypatch.setattr(host_info, "PLACES", found)
    return found


def look(host: ModuleHost, **arguments: Any) -> Dict[str, Any]:
    before = host.fingerprint()
    result = host.ok("host_info", **arguments)
    assert not result["changed"] and result["actions"] == []
    assert host.fingerprint() == before
    seen: Dict[str, Any] = result["host"]
    return seen


def pull(host: ModuleHost, *disks: str) -> None:
    host.machine.load()
    for disk in disks:
        host.machine.remove_disk(disk)


def test_a_host_as_it_should_be(pooled: ModuleHost, images: Images) -> None:
    seen = look(pooled)
    assert (seen["hostname"], seen["arch"], seen["state"], seen["reason"]) == ("web-1", "amd64", "normal", "")
    assert seen["running"]["id"] == images.built["1.0"]["id"]
    assert (seen["running"]["version"], seen["running"]["slice"], seen["running"]["on_trial"]) == ("1.0", "nz-a", False)
    medium = seen["medium"]
    assert (medium["disk"], medium["scheme"], medium["inactive"]) == ("ada0", "GPT", "nz-b")
    assert {label: each["flags"] for label, each in medium["slices"].items()} == {
        "nz-recovery": [],
        "nz-a": ["bootme"],
        "nz-b": [],
    }
    assert medium["slices"]["nz-b"]["image"] is None and medium["slices"]["nz-b"]["size"] == SLICE
    assert "log_spacemap" in seen["pool"]["features"] and "draid" not in seen["pool"]["features"]
    assert set(seen["pool"]["features"]) < set(seen["running"]["features"])
    assert seen["pool"]["name"] == "tank" and seen["pool"]["health"] == "ONLINE" and seen["importable"] == []
    assert [each["name"] for each in seen["datasets"]] == pooled.names("filesystem")[1:]
    assert seen["journal"]["phase"] == "idle" and seen["warnings"] == []


def test_how_far_the_configuration_has_drifted(pooled: ModuleHost, places: Places) -> None:
    assert {kind for kind, each in look(pooled)["drift"].items() if each["count"]} == set()
    for number in range(25):
        with open(os.path.join(places.etc, "f{0:02}".format(number)), "w", encoding="utf-8") as file:
            file.write("x")
    with open(os.path.join(places.cfg, "\x1b[2J"), "w", encoding="utf-8") as file:
        file.write("x")
    found = look(pooled)["drift"]
    assert found["new"]["count"] == 25 and len(found["new"]["paths"]) == 20
    assert found["deleted"] == found["own"] == {"count": 1, "paths": ["?[2J"]}
    os.rmdir(places.base)
    seen = look(pooled)
    assert seen["drift"] is None and "has drifted cannot be told" in seen["warnings"][0]
    boot(pooled.machine, "nz-recovery")
    assert look(pooled)["drift"] is None


def test_without_digests_nothing_is_hashed(pooled: ModuleHost) -> None:
    seen = look(pooled, digest=False)
    assert seen["running"]["id"] is None and seen["running"]["version"] == "1.0"


def test_only_the_slices_that_are_asked_for_are_hashed(pooled: ModuleHost, images: Images) -> None:
    seen = look(pooled, slices=["running"])
    known = images.built["1.0"]["id"]
    assert seen["running"]["id"] == seen["medium"]["slices"]["nz-a"]["image"]["id"] == known
    recovery = seen["medium"]["slices"]["nz-recovery"]["image"]
    assert (recovery["id"], recovery["version"]) == (None, "1.0")
    seen = look(pooled, slices=["inactive", "nz-recovery"])["medium"]["slices"]
    assert (seen["nz-a"]["image"]["id"], seen["nz-recovery"]["image"]["id"]) == (None, known)


def test_a_slice_that_was_changed_is_no_image_any_more(pooled: ModuleHost, images: Images) -> None:
    with pooled.open_device("/dev/gpt/nz-recovery", writable=True) as device:
        device.write(2 * SLICE // 3 - 4096, b"x" * 512)
    seen = look(pooled)["medium"]["slices"]
    assert seen["nz-recovery"]["image"]["id"] != images.built["1.0"]["id"] == seen["nz-a"]["image"]["id"]


def test_where_the_images_come_from(pooled: ModuleHost) -> None:
    seen = look(pooled, digest=False)
    origin = seen["running"]["origin"]
    assert (origin["method"], origin["release"], origin["kernel"]) == ("sets", "13.2-RELEASE-p4", "GENERIC")
    assert origin["package_count"] == 0 and origin["options"] == {} and "packages" not in origin
    slices = seen["medium"]["slices"]
    assert slices["nz-recovery"]["image"]["origin"] == origin and slices["nz-b"]["image"] is None
    full = look(pooled, digest=False, packages=True)["running"]["origin"]
    assert dict(full, packages=[], inputs=[]) == dict(origin, packages=[], inputs=[]) and full["packages"] == []


@pytest.mark.parametrize(
    "old, new, warned",
    [
        (b'"method": "sets"', b'"method"  "sets"', True),  # damaged
        (b"origin.json\0", b"ORIGIN.JSON\0", False),  # an image of before has none; this is the name in its folder
    ],
)
def test_an_image_that_does_not_say_where_it_comes_from(
    pooled: ModuleHost, images: Images, old: bytes, new: bytes, warned: bool
) -> None:
    content = images.content("1.0")
    assert content.count(old) == 1
    with pooled.open_device("/dev/gpt/nz-recovery", writable=True) as device:
        device.write(0, content.replace(old, new))
    seen = look(pooled, digest=False)
    recovery = seen["medium"]["slices"]["nz-recovery"]
    assert recovery["image"]["origin"] is None and recovery["image"]["version"] == "1.0" and not recovery["problem"]
    assert [line for line in seen["warnings"] if "nz-recovery: boot/nanozfs/origin.json cannot be read" in line] == (
        seen["warnings"] if warned else []
    )
    assert bool(seen["warnings"]) is warned and seen["running"]["origin"]["method"] == "sets"


def test_on_trial(pooled: ModuleHost, images: Images) -> None:
    content = images.content("1.1")
    with pooled.open_device("/dev/gpt/nz-b", writable=True) as device:
        device.write(0, content)
    pools = dict(pooled.machine.running["pools"])
    boot(pooled.machine, "nz-b", on_trial=True)
    pooled.machine.load()
    pooled.machine.running["pools"] = pools
    pooled.machine.save()
    seen = look(pooled)
    assert seen["state"] == "trial" and seen["running"]["on_trial"] and seen["running"]["version"] == "1.1"
    assert seen["medium"]["inactive"] == "nz-a"


def test_recovery_says_what_is_there(pooled: ModuleHost) -> None:
    pooled.command("zpool", "export", "tank")
    pull(pooled, "ada2", "ada3")
    pooled.command("kenv", "nanozfs.state=recovery")
    pooled.command("kenv", "nanozfs.reason=cannot import 'tank': one or more devices is currently unavailable")
    seen = look(pooled)
    assert (seen["state"], seen["pool"], seen["journal"]) == ("recovery", None, None)
    assert "currently unavailable" in seen["reason"]
    assert [(each["name"], each["state"], each["devices"]) for each in seen["importable"]] == [
        ("tank", "UNAVAIL", ["ada1"])
    ]


def test_two_pools_of_the_name(pooled: ModuleHost) -> None:
    pooled.command("zpool", "export", "tank")
    pooled.machine.load()
    pooled.machine.add_disk("ada9", 512 << 20)
    pooled.command("zpool", "create", "-o", "cachefile=none", "tank", "ada9")
    pooled.command("zpool", "export", "tank")
    found = look(pooled)["importable"]
    assert [each["name"] for each in found] == ["tank", "tank"] and len({each["guid"] for each in found}) == 2


def test_a_state_that_nobody_set(pooled: ModuleHost) -> None:
    pooled.command("kenv", "-u", "nanozfs.state")
    assert look(pooled)["state"] == "unknown"


def test_a_host_that_is_not_ours(pooled: ModuleHost) -> None:
    pooled.machine.load()
    pooled.machine.running["mounts"][0]["from"] = "/dev/ada1"
    pooled.machine.save()
    seen = look(pooled)
    assert seen["medium"] is None and seen["running"] is None
    assert any("lies in no partition table" in each for each in seen["warnings"])


def test_a_pool_without_our_datasets(pooled: ModuleHost) -> None:
    pooled.command("zfs", "destroy", "-r", "tank/nanozfs")
    seen = look(pooled)
    assert seen["journal"] is None and "the pool tank has no dataset tank/nanozfs" in seen["warnings"]


def test_a_journal_of_a_later_version(pooled: ModuleHost) -> None:
    pooled.command("zfs", "set", "nanozfs:format=9", "tank/nanozfs")
    seen = look(pooled)
    assert seen["journal"] is None and any("format 9" in each for each in seen["warnings"])


class TestMbr:
    """A medium with an MBR: the same answers from other places."""

    @pytest.fixture
    def host(self, machine: Machine, images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleHost:
        contents = {"nz-recovery": "1.0", "nz-a": "1.0", "nz-b": "1.1"}
        make_mbr_medium(machine, SLICE, {label: images.content(version) for label, version in contents.items()})
        boot_mbr(machine, "nz-a")
        return ModuleHost(machine, str(tmp_path), monkeypatch)

    def test_as_it_should_be(self, host: ModuleHost, images: Images) -> None:
        seen = look(host)
        medium = seen["medium"]
        assert (medium["disk"], medium["scheme"], medium["running"]) == ("ada0", "MBR", "nz-a")
        assert seen["state"] == "normal" and not seen["running"]["on_trial"] and medium["duplicates"] == []
        assert {
            label: (each["index"], each["provider"], each["flags"]) for label, each in medium["slices"].items()
        } == {
            "nz-recovery": (1, "label/nz-recovery", []),
            "nz-a": (2, "label/nz-a", ["active"]),
            "nz-b": (3, "label/nz-b", []),
        }
        assert seen["running"]["id"] == images.built["1.0"]["id"]
        assert medium["slices"]["nz-b"]["image"]["id"] == images.built["1.1"]["id"]
        # the image and 4 KiB, without the sector of glabel(8)
        assert medium["slices"]["nz-b"]["size"] == SLICE + 4096 - 512
        assert [each for each in seen["warnings"] if "would not go back by itself" in each]

    def test_on_trial(self, host: ModuleHost) -> None:
        """Neither the active slice nor the default of boot0: the early hook has set it back."""
        boot_mbr(host.machine, "nz-b")
        seen = look(host)
        assert seen["state"] == "trial" and seen["running"]["on_trial"] and seen["medium"]["inactive"] == "nz-a"
        host.command("gpart", "set", "-a", "active", "-i", "3", "ada0")
        assert look(host)["state"] == "trial", "half a commit: the next start is one more trial"
        host.command("boot0cfg", "-s", "3", "ada0")
        assert look(host)["state"] == "normal"

    def test_without_boot0_there_is_no_trial(self, host: ModuleHost) -> None:
        host.machine.load()
        del host.machine.hardware["disks"]["ada0"]["boot0"]
        host.machine.save()
        boot_mbr(host.machine, "nz-b")
        assert look(host)["state"] == "normal"

    def test_armed_is_not_on_trial(self, host: ModuleHost) -> None:
        host.ok("gpart_slice", slice="nz-b", state="trial")
        assert look(host)["state"] == "normal"

    def test_a_stick_that_was_forgotten(self, host: ModuleHost) -> None:
        host.machine.load()
        host.machine.insert_disk("da0", host.machine.image("ada0"))
        seen = look(host)
        assert seen["medium"]["disk"] == "ada0"
        assert seen["medium"]["duplicates"] == ["nz-a on da0", "nz-b on da0", "nz-recovery on da0"]

    def test_writes_an_image(self, host: ModuleHost, images: Images) -> None:
        asked: Dict[str, Any] = {"repository": images.repository, "image": "1.2", "allowed_signers": images.signers}
        host.ok("gpart_slice", slice="nz-b", state="active")
        assert "nz-b carries the boot flags active" in host.refused("image_write", **asked)
        host.ok("gpart_slice", slice="nz-a", state="active")
        assert host.ok("image_write", **asked)["changed"]
        seen = look(host)["medium"]["slices"]
        assert seen["nz-b"]["image"]["id"] == images.built["1.2"]["id"]
        assert seen["nz-b"]["provider"] == "label/nz-b", "the sector of glabel was written over"


class TestImageInfo:
    @pytest.mark.parametrize("wanted", ["1.1", "latest"])
    def test_finds_and_verifies(self, host: ModuleHost, images: Images, wanted: str) -> None:
        result = host.ok(
            "image_info", repository=images.repository, image=wanted, allowed_signers=images.signers, name="web"
        )
        expected = images.built["1.1" if wanted == "1.1" else "1.2"]
        assert result["image"]["id"] == expected["id"] and result["signer"] == "release@fleet"

    def test_unknown_version(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_info", repository=images.repository, image="9.9", allowed_signers=images.signers)
        assert "has no image 9.9" in message

    def test_no_address(self, host: ModuleHost, images: Images) -> None:
        message = host.refused("image_info", repository="images", image="1.1", allowed_signers=images.signers)
        assert "no address of an image repository" in message and "http://" in message
