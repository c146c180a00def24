# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded sessions with gpart(8) and boot0cfg(8)."""

from __future__ import annotations

from typing import Any

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import mbr
from ansible_collections.nanozfs.fleet.tests.contract.replay import (
    MIB,
    Results,
    Script,
    Session,
    compare,
    of_each,
    system_disk,
    write_table,
)
from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine


def _gpt_setup(session: Session) -> None:
    session.boot(689118909)
    system_disk(session)
    session.attach(512, "vtbd1")


def _two_slices(session: Session) -> None:
    session.attach(64, "md6")
    session.do("gpart create -s gpt md6")
    session.do("gpart add -t freebsd-ufs -s 20m -l t-a md6")
    session.do("gpart add -t freebsd-ufs -s 20m -l t-b md6")
    session.do("gpart set -a bootme -i 1 md6")


def _overwrite(sector: int) -> Any:
    """What ``dd if=/dev/zero of=/dev/md6 bs=512 count=1 oseek=SECTOR`` does."""

    def step(session: Session) -> None:
        with open(session.machine.image("md6"), "r+b") as file:
            file.seek(sector * gpt.SECTOR)
            file.write(bytes(gpt.SECTOR))

    return step


def _grown(session: Session) -> None:
    """A disk of 96 MiB with the table of one of 64."""
    session.attach(96, "md7")
    table = gpt.new_table(64 * MIB // gpt.SECTOR, gpt.TYPES["efi"])
    table.first, table.last = 40, 131031
    table.add(1, gpt.Entry(gpt.TYPES["freebsd-ufs"], gpt.TYPES["efi"], 40, 40999))
    write_table(session, "md7", table)


_FILES = "reads boot code from files of the guest"
_GARBAGE = "gpart restore is not modelled: with garbage it destroys the table, and the collection never uses it"

GPT = Script(
    "gpart-gpt",
    _gpt_setup,
    before={
        "101": lambda session: session.attach(64, "md5"),
        "137": _two_slices,
        "138": _overwrite(131071),
        "146": _overwrite(1),
        "155": _grown,
    },
    excluded={
        "075-ls-dev-gpt": "looks into /dev of the guest",
        "077-ls-dev-gpt": "looks into /dev of the guest",
        "079-ls-dev-gpt": "looks into /dev of the guest",
        "087-resize-mounted": "gpart resize is not modelled: slices keep their size",
        "088-resize-no-space": "gpart resize is not modelled: slices keep their size",
        "094-bootcode-gpt": _FILES,
        "09[5-8]-bootcode*": _FILES,
        "099-as-nobody-show": "the model has no users but root",
        "100-as-nobody-set": "the model has no users but root",
        "111-md-backup-l": "od of another system uses other blanks",
        "119-md-restore-from-backup": _GARBAGE,
        "12[0-9]-md-*": _GARBAGE,
        "13[0-6]-md-*": _GARBAGE,
        "138-md6-corrupt-secondary": "dd onto a device; the test overwrites the sector itself",
        "146-md6-corrupt-primary": "dd onto a device; the test overwrites the sector itself",
    },
)


def _mbr_setup(session: Session) -> None:
    _gpt_setup(session)
    session.attach(64, "md0")


def _boot0(session: Session) -> None:
    """What ``gpart bootcode -b /boot/boot0`` does."""

    def change(machine: Machine) -> None:
        machine.hardware["disks"]["md0"]["boot0"] = 1

    session.edit(change)


def _no_boot0(session: Session) -> None:
    def change(machine: Machine) -> None:
        del machine.hardware["disks"]["md0"]["boot0"]

    session.edit(change)


def _mount_slice(session: Session) -> None:
    def change(machine: Machine) -> None:
        machine.running["mounts"].append(
            {"from": "/dev/md0s1a", "on": "/mnt", "type": "ufs", "readonly": False},
        )

    session.edit(change)


def _labelled(session: Session) -> None:
    """What ``gpart create -s bsd`` and ``gpart add`` do: a label with one partition that is the whole slice."""

    def change(machine: Machine) -> None:
        part = geom.layouts(machine)["md0"].parts[0]
        sectors = part.last - part.first + 1
        with open(machine.image("md0"), "r+b") as file:
            file.seek(part.offset)
            file.write(mbr.boot_blocks(bytes(8192), sectors, 0, sectors))

    session.edit(change)


_BOOT0 = "changes more of boot0 than the slice that it boots by itself"
_LABEL = "making BSD labels inside of slices is not modelled: media have them"

MBR = Script(
    "gpart-mbr",
    _mbr_setup,
    before={"031": _boot0, "056": _no_boot0, "058": _boot0, "062": _labelled, "067": _mount_slice},
    excluded={
        "031-bootcode-boot0": _FILES,
        "04[0-7]-boot0cfg-*": _BOOT0,
        "056-bootcode-mbr": _FILES,
        "058-bootcode-boot0-back": _FILES,
        "059-bsd-create-s1": _LABEL,
        "06[015]-bsd-*": _LABEL,
        "066-newfs": "newfs is not modelled",
        "067-mount": _LABEL,
        "071-gpart-bootcode-while-mounted": _FILES,
        "072-dd-mbr-while-mounted": "dd onto a device",
        "07[6-9]-fdisk*": "fdisk is not modelled",
        "080-bsdlabel": _LABEL,
        "081-bsdlabel-none": _LABEL,
        "082-fdisk-missing": "fdisk is not modelled",
        "083-glabel-status-mbr": "labels of UFS are not modelled: our images have none",
        "084-geom-part-status": "geom is not modelled; gpart status is",
    },
)


SCRIPTS = (GPT, MBR, GPT.on("15.0"), MBR.on("15.0"))


@of_each(SCRIPTS)
def test_gpart(results: Results, title: str, name: str) -> None:
    compare(*results[title][name])
