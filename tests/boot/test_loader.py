# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""local.lua, run by a real Lua between stand-ins for the stock loader's scripts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import FILES
from ansible_collections.nanozfs.fleet.tests.lab import firmware

SCRIPT = os.path.join(FILES, "root", "boot", "lua", "local.lua")
MOUNTFROM = "ufs:/dev/gpt/{0} ufs:/dev/gpt/nz-recovery .timeout"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three slices with a kernel and a build each."""
    if shutil.which("lua5.4") is None:
        pytest.skip("this machine has no lua5.4; tools/setup installs it")
    for index in (3, 4, 5):
        slice_ = tmp_path / "p{0}".format(index)
        (slice_ / "boot/kernel").mkdir(parents=True)
        (slice_ / "boot/kernel/kernel").touch()
        (slice_ / "boot/nanozfs").mkdir()
        (slice_ / "boot/nanozfs/image.conf").write_text("# x\nNZ_POOL=tank\nNZ_BUILD={0:016x}\n".format(index))
    return tmp_path


def load(home: Path, device: str, key: str = "", **env: str) -> Dict[str, str]:
    """The environment that the kernel gets."""
    return firmware.run_loader(SCRIPT, dict(env, loaddev=device, currdev=device), str(home), key)


@pytest.mark.parametrize(("index", "label"), [(3, "nz-recovery"), (4, "nz-a"), (5, "nz-b")])
def test_the_root_is_the_slice_that_the_loader_is_from(home: Path, index: int, label: str) -> None:
    env = load(home, "disk1p{0}:".format(index))
    assert env["vfs.root.mountfrom"] == MOUNTFROM.format(label)
    assert (env["nanozfs.slice"], env["nanozfs.build"]) == (label, "{0:016x}".format(index))
    assert "nanozfs.failed" not in env


@pytest.mark.parametrize(("index", "label"), [(1, "nz-recovery"), (2, "nz-a"), (3, "nz-b")])
def test_with_an_mbr_it_is_partition_a_of_that_slice(home: Path, index: int, label: str) -> None:
    for number in (1, 2):
        shutil.copytree(home / "p3", home / "p{0}".format(number))
    env = load(home, "disk0s{0}a:".format(index))
    assert env["vfs.root.mountfrom"] == MOUNTFROM.format(label).replace("/gpt/", "/label/")
    assert env["nanozfs.slice"] == label
    os.unlink(home / "p{0}/boot/kernel/kernel".format(index))
    if label == "nz-recovery":
        with pytest.raises(firmware.Restarted):
            load(home, "disk0s{0}a:".format(index))
        return
    env = load(home, "disk0s{0}a:".format(index))
    assert (env["nanozfs.failed"], env["nanozfs.slice"], env["currdev"]) == (label, "nz-recovery", "disk0s1a:")


@pytest.mark.parametrize("device", ["disk0p2:", "disk0s4a:", "disk0s2:", "cd0:", "pxe0:", "zfs:tank/root:"])
def test_a_loader_from_elsewhere_is_left_alone(home: Path, device: str) -> None:
    os.mkdir(home / "p")  # what is on the other device does not matter
    assert "vfs.root.mountfrom" not in load(home, device)


def test_a_slice_without_a_kernel_falls_to_recovery(home: Path) -> None:
    os.unlink(home / "p5/boot/kernel/kernel")
    env = load(home, "disk0p5:")
    assert env["nanozfs.failed"] == "nz-b"
    assert (env["nanozfs.slice"], env["currdev"]) == ("nz-recovery", "disk0p3:")
    assert env["nanozfs.build"] == "{0:016x}".format(3)
    assert env["vfs.root.mountfrom"] == MOUNTFROM.format("nz-recovery")
    assert env["kernelname"]


def test_a_medium_without_any_kernel_restarts_instead_of_waiting(home: Path) -> None:
    for index in (3, 4):
        os.unlink(home / "p{0}/boot/kernel/kernel".format(index))
    with pytest.raises(firmware.Restarted):
        load(home, "disk0p4:")


def test_recovery_can_be_chosen_in_the_menu(home: Path) -> None:
    env = load(home, "disk0p4:", key="y")
    assert (env["nanozfs.slice"], env["currdev"]) == ("nz-recovery", "disk0p3:")
    assert "nanozfs.failed" not in env


def test_without_a_menu_nothing_is_put_into_it(home: Path) -> None:
    assert load(home, "disk0p4:", key="y", beastie_disable="YES")["nanozfs.slice"] == "nz-a"
