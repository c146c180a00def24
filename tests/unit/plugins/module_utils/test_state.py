# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A partition that was never written to."""
    (tmp_path / "state").write_bytes(bytes(1 << 20))
    return str(tmp_path / "state")


def read(path: str) -> state.State:
    with Device(path) as device:
        return state.read(device)


def write(path: str, **values: str) -> state.State:
    with Device(path, writable=True) as device:
        return state.write(device, values)


def test_a_new_medium_says_nothing(path: str) -> None:
    assert read(path).is_new
    assert read(path).values == {}


def test_the_copies_take_turns(path: str) -> None:
    places = [write(path, boots=str(number)).place for number in range(4)]
    assert places == [0, 1, 0, 1]
    assert (read(path).values, read(path).serial) == ({"boots": "3"}, 4)


def test_what_is_the_same_is_not_written(path: str) -> None:
    write(path, guid="1", boots="0")
    assert write(path, boots="0").serial == read(path).serial == 1
    assert write(path, boots="1").values == {"guid": "1", "boots": "1"}


@pytest.mark.parametrize("cut", [0, 1, 100, 511, 512, 4096, 7000])
def test_a_power_cut_leaves_the_copy_before(path: str, cut: int) -> None:
    """However much of the new copy got there."""
    for number in range(3):
        write(path, boots=str(number), reason=str(number) * 7000)
    raw = Path(path).read_bytes()
    place = write(path, boots="3", reason="3" * 7000).place * state.STATE.copy
    new = Path(path).read_bytes()
    torn = bytearray(raw)
    torn[place : place + cut] = new[place : place + cut]
    Path(path).write_bytes(torn)
    assert read(path).values["boots"] == "2"


def test_every_flipped_byte_of_a_copy_is_seen() -> None:
    raw = state.render_copy({"phase": "trial", "reason": "it said no"}, 7)
    end = len(raw.rstrip(b"\0"))
    for offset in range(end - 1):  # the last one is the line end behind the check sum
        damaged = bytearray(raw)
        damaged[offset] ^= 0x01
        assert state.parse_copy(bytes(damaged)) is None, offset
    assert state.parse_copy(raw) == {"serial": "7", "phase": "trial", "reason": "it said no"}


def test_what_does_not_fit_is_left_out_and_the_rest_is_there(path: str) -> None:
    write(path, boots="1", phase="trial")
    write(path, reason="x" * 9000)
    assert read(path).values == {"boots": "1", "phase": "trial"}
    assert len(state.render_copy({"a": "x" * 9000}, 1)) == state.STATE.copy


def test_the_mirror_of_a_journal_is_lines() -> None:
    journal = Journal(phase="trial", target=ImageRef("b" * 64, "build", "1.1"), timeout=60, reason="it\nsaid  no")
    values = state.mirror(journal, "123")
    assert values["reason"] == "it said no"
    assert (values["to_build"], values["to_version"], values["from_version"]) == ("build", "1.1", "")
    assert state.parse_copy(state.render_copy(values, 1)) == dict(values, serial="1")


def test_the_network_has_copies_of_its_own_and_forgets_what_is_not_said_again(path: str) -> None:
    """A VLAN that is gone must not come back in recovery mode, and the state proper is not touched."""
    write(path, boots="1")
    with Device(path, writable=True) as device:
        for values in ({"hostname": "web-1", "vlans_em0": "7"}, {"hostname": "web-1"}):
            state.write(device, values, state.NETWORK)
        assert state.read(device, state.NETWORK).values == {"hostname": "web-1"}
        assert state.write(device, {"hostname": "web-1"}, state.NETWORK).serial == 2, "the same was written again"
    assert (read(path).values, read(path).serial) == ({"boots": "1"}, 1)
    raw = Path(path).read_bytes()
    assert raw[65536 + 32768 :].startswith(b"serial=2\n") and not raw[16384:65536].strip(b"\0")
