# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole disks on Linux, as lsblk of util-linux 2.38 shows them, and on FreeBSD what the model has none of."""

from __future__ import annotations

import errno
import json
import os
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import CommandError, FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import disks
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.disks import Disk

SIZE = 30752636928
SERIAL = "4C530001230114117342"
NOWHERE = "/dev/nanozfs-none"


def node(name: str, **values: Any) -> Dict[str, Any]:
    """An entry of lsblk."""
    found = {"name": name, "type": "part", "size": 1 << 30, "serial": None, "model": None, "ro": False}
    return {**found, "mountpoint": None, "fstype": None, **values}


def stick(*children: Dict[str, Any], **values: Any) -> Dict[str, Any]:
    """A stick without anything on it, unless *children* says something else."""
    found = node(NOWHERE, type="disk", size=SIZE, serial=SERIAL, model="Ultra Fit       ")
    return {**found, **({"children": list(children)} if children else {}), **values}


def linux(answer: Tuple[int, str, str], *others: Dict[str, Any]) -> Runner:
    """A Linux machine whose lsblk answers this about the disk, and has other disks besides."""

    def execute(argv: Any, stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[0] == "uname":
            return (0, "Linux\n", "")
        assert argv[0] == "lsblk"
        if "--nodeps" in argv:
            return (0, json.dumps({"blockdevices": [*json.loads(answer[1])["blockdevices"], *others]}), "")
        return answer

    return Runner(execute)


def look(entry: Dict[str, Any], *others: Dict[str, Any]) -> Disk:
    return disks.look(linux((0, json.dumps({"blockdevices": [entry]}), ""), *others), NOWHERE)


def nothing(offset: int, length: int) -> bytes:
    return bytes(length)


def something(offset: int, length: int) -> bytes:
    return b"x" * length


def test_a_free_stick() -> None:
    disk = look(stick(node(NOWHERE + "1", fstype="vfat"), node(NOWHERE + "2", fstype="swap")))
    assert (disk.path, disk.size, disk.serial, disk.model) == (NOWHERE, SIZE, SERIAL, "Ultra Fit")
    assert disk.holders == () and disk.claimable and disk.token(nothing) == SERIAL
    disks.check_free(disk, SIZE)


def test_numbers_as_older_versions_print_them() -> None:
    disk = look(stick(size=str(SIZE), ro="0", serial=""))
    assert disk.size == SIZE and disk.sector == 512 and "no serial number" in disk.describe()


def test_one_that_its_serial_number_does_not_tell_from_others() -> None:
    """What is on it belongs to what has to be said then."""
    for disk in (
        look(stick(), node("/dev/sdc", type="disk", serial=SERIAL, size=5)),
        look(stick(serial=None), node("/dev/sdc", type="disk", size=SIZE)),
        look(stick(serial=None)),  # it is alone now, and may not have been when it was looked at
    ):
        assert disk.token(nothing).startswith((disk.serial or str(SIZE)) + "-")
        assert disk.token(nothing) != disk.token(something)
    assert look(stick(), node("/dev/sdc", type="disk", serial=SERIAL, size=5)).twins == ("/dev/sdc",)


def test_others_that_are_told_apart() -> None:
    others = [
        node("/dev/sdc", type="disk", serial="another", size=SIZE),
        node("/dev/sdd", type="disk", size=SIZE),
        node("/dev/sr0", type="rom", serial=SERIAL),
        node("/dev/sde", type="disk", serial=SERIAL, size=0),  # a slot of a card reader with nothing in it
    ]
    assert look(stick(), *others).twins == ()
    assert look(stick(serial=None), node("/dev/sdd", type="disk", size=SIZE + 1)).twins == ()


def test_sectors_of_4096_bytes() -> None:
    """The partition table of a medium counts sectors of 512: no firmware would find it."""
    disk = look(stick(**{"log-sec": 4096}))
    with pytest.raises(Refused, match="has sectors of 4096 bytes"):
        disks.check_free(disk, 1)


@pytest.mark.parametrize(
    "children, held",
    [
        ([node("/dev/sdb1", mountpoint="/", fstype="ext4")], "a mounted file system (/dev/sdb1 on /)"),
        ([node("/dev/sdb1", mountpoint="[SWAP]", fstype="swap")], "swap on /dev/sdb1"),
        ([node("/dev/sdb1", fstype="zfs_member")], "zfs_member on /dev/sdb1"),
        ([node("/dev/sdb1", fstype="LVM2_member")], "LVM2_member on /dev/sdb1"),
        ([node("/dev/md0", type="raid1")], "raid1 (/dev/md0)"),
        ([node("/dev/sdb1", children=[node("/dev/mapper/home", type="crypt")])], "crypt (/dev/mapper/home)"),
        (
            [node("/dev/sdb1", children=[node("/dev/mapper/vg-x", type="lvm", mountpoint="/home")])],
            "a mounted file system (/dev/mapper/vg-x on /home); lvm (/dev/mapper/vg-x)",
        ),
    ],
)
def test_what_holds_a_disk(children: List[Dict[str, Any]], held: str) -> None:
    disk = look(stick(*children))
    with pytest.raises(Refused) as refused:
        disks.check_free(disk, 1)
    assert "is in use by {0}. Safe now: nothing was written".format(held) in str(refused.value)
    assert SERIAL in str(refused.value)


def test_members_of_an_array_that_is_not_running() -> None:
    assert look(stick(fstype="linux_raid_member")).holders == ("linux_raid_member on " + NOWHERE,)


def test_what_lsblk_does_not_know_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second disk of a btrfs, say: open(2) with O_EXCL tells."""

    def busy(path: str, flags: int) -> int:
        assert path == NOWHERE and flags & os.O_EXCL
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(os, "open", busy)
    disk = look(stick())
    assert disk.holders == ("the kernel (EBUSY)",)
    with pytest.raises(Refused, match="cannot be had: Device or resource busy"), disks.claimed(disk):
        raise AssertionError("it was claimed")


@pytest.mark.parametrize(
    "entry, says",
    [
        (stick(type="part"), "is of type part: a medium is written to a whole disk"),
        (stick(type="loop"), "is of type loop"),
        (stick(type="rom"), "is of type rom"),
        (stick(ro=True), "write-protected"),
        (stick(ro="1"), "write-protected"),
    ],
)
def test_no_disk_to_write_to(entry: Dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        look(entry)


def test_too_small() -> None:
    with pytest.raises(Refused, match="does not fit on"):
        disks.check_free(look(stick()), SIZE + 1)


@pytest.mark.parametrize(
    "answer, kind, says",
    [
        ((32, "", "lsblk: /dev/sdx: not a block device"), Refused, "there is no disk"),
        ((127, "", "lsblk: not found"), CommandError, "install util-linux"),
        ((0, "{}", ""), FleetError, "cannot be read"),
        ((0, '{"blockdevices": [{"name": "/dev/sdb"}]}', ""), FleetError, "cannot be read"),
        ((0, '{"blockdevices": []}', ""), FleetError, "cannot be read"),
    ],
)
def test_lsblk_does_not_help(answer: Tuple[int, str, str], kind: type, says: str) -> None:
    with pytest.raises(kind, match=says):
        disks.look(linux(answer), NOWHERE)


def test_a_system_that_we_do_not_know() -> None:
    with pytest.raises(Refused, match="this is Darwin"):
        disks.look(Runner(lambda argv, stdin: (0, "Darwin\n", "")), "/dev/disk2")


CONFXML = """<mesh>
 <class id="c1"><name>DISK</name><geom id="g1"><name>da0</name>
  <provider id="p1"><name>da0</name><mediasize>1048576</mediasize><sectorsize>512</sectorsize></provider></geom></class>
 <class id="c2"><name>MIRROR</name><geom id="g2"><name>gm0</name>
  <consumer id="x"><provider ref="p1"/><mode>r0w0e0</mode></consumer>
  <provider id="p2"><name>mirror/gm0</name><mediasize>1048064</mediasize><sectorsize>512</sectorsize></provider></geom>
 </class>
 <class id="c3"><name>SWAP</name><geom id="g3"><name>swap</name>
  <consumer id="y"><provider ref="p2"/><mode>r1w1e0</mode></consumer></geom></class>
</mesh>"""


@pytest.mark.parametrize("state, what", [(3, "a hot spare"), (4, "a cache device")])
def test_a_label_that_does_not_say_whose_it_is(state: int, what: str) -> None:
    """As zdb(8) of OpenZFS 2.1 prints them; after that of a cache device comes a header that names a pool."""
    label = "    version: 5000\n    state: {0}\n    guid: 8880477171237005755\n    labels = 0 1 2 3 \n".format(state)
    header = "L2ARC device header\n    magic: 6504978260106102853\n    pool_guid: 16026038873860724786\n"

    def execute(argv: Any, stdin: Optional[str] = None) -> Tuple[int, str, str]:
        mesh = CONFXML.replace("MIRROR", "LABEL")
        return {"uname": (0, "FreeBSD\n", ""), "sysctl": (0, mesh, ""), "zdb": (0, label + header, "")}[argv[0]]

    disk = disks.look(Runner(execute), "/dev/da0")
    assert "a ZFS pool, as {0} (label on da0)".format(what) in disk.holders


def test_a_mirror_with_swap_on_freebsd() -> None:
    """A mirror holds its disks also when nobody has it open."""

    def execute(argv: Any, stdin: Optional[str] = None) -> Tuple[int, str, str]:
        answers = {"uname": (0, "FreeBSD\n", ""), "sysctl": (0, CONFXML, ""), "zdb": (2, "failed to unpack\n", "")}
        return answers[argv[0]]

    disk = disks.look(Runner(execute), "/dev/da0")
    assert disk.holders == ("swap (swap on mirror/gm0)", "GEOM class MIRROR (gm0)") and not disk.claimable
    with pytest.raises(Refused, match="is a part of gm0"):
        disks.look(Runner(execute), "mirror/gm0")
