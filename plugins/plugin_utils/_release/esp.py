# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EFI system partition: a FAT file system with one program in it, the same bytes every time.

It is made with mtools, which Debian and FreeBSD both have, which needs neither root nor a mount, and which takes every
time from SOURCE_DATE_EPOCH. (makefs of FreeBSD writes FAT as well, Debian's does not.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import search_path

#: the size from which on it can be FAT32 with the clusters of one sector that FreeBSD's install-boot.sh uses, which any
#: firmware reads; all but the file is zeros
ESP_SIZE = 33 << 20

#: what firmware starts on a disk that it knows nothing about (UEFI specification 2.10, section 3.5.1.1), on amd64
PROGRAM = "::/EFI/BOOT/BOOTX64.EFI"

#: time of the files: 2024-01-01, as that of images by default
EPOCH = "1704067200"


class EspError(FleetError):
    """mtools are missing or failed."""


def make(out: str, program: bytes, serial: uuid.UUID) -> None:
    """Make the file system.

    :param out: path of the file to write.
    :param program: content of ``/boot/gptboot.efi``.
    :param serial: what the serial number of the volume is taken from.
    :raises EspError: when mtools are missing or the program does not fit.
    """
    check_programs()
    with open(out, "wb") as file:
        file.truncate(ESP_SIZE)
    sectors = str(ESP_SIZE // 512)
    form = ["-F", "-c", "1", "-h", "255", "-s", "63", "-T", sectors, "-N", "{0:08x}".format(serial.time_low)]
    with tempfile.NamedTemporaryFile(prefix="nanozfs-esp-") as source:
        source.write(program)
        source.flush()
        for argv in (
            ["mformat", "-i", out, *form, "::"],
            ["mmd", "-i", out, "::/EFI", "::/EFI/BOOT"],
            ["mcopy", "-i", out, source.name, PROGRAM],
        ):
            _run(argv)


def check_programs() -> None:
    """See that mtools are there, before there is anything to put into the partition.

    :raises EspError: when they are not.
    """
    for program in ("mformat", "mmd", "mcopy"):
        if shutil.which(program, path=search_path()) is None:
            raise EspError(
                "{0} is not installed on this machine; it makes the EFI system partition".format(program),
                todo="install the package mtools, or make media for BIOS only (image_efi=false)",
            )


def _run(argv: List[str]) -> None:
    environment = dict(os.environ, LC_ALL="C", TZ="UTC", SOURCE_DATE_EPOCH=EPOCH, MTOOLSRC=os.devnull)
    environment["PATH"] = search_path()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise EspError("{0} failed: {1}".format(argv[0], said))
