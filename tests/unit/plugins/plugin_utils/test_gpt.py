# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GUID partition tables, judged by tools that are not ours."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import uuid
from typing import Any

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import medium

SLICE = 8 << 20


@pytest.fixture
def disk(tmp_path: Any) -> str:
    """A medium without contents."""
    table = medium.table_for(medium.layout(SLICE, 4 << 20), "seed", "nz-a")
    path = str(tmp_path / "disk.img")
    with open(path, "wb") as file:
        file.truncate(table.sectors * 512)
        file.write(gpt.protective_mbr(table.sectors, b"\xeb" * 512))
        gpt.write_table(file, table)
    return path


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip("{0} is not installed; `make test` installs it".format(program))


def test_sgdisk_finds_no_problem(disk: str) -> None:
    need("sgdisk")
    done = subprocess.run(["sgdisk", "-v", disk], capture_output=True, text=True, check=False)
    assert "No problems found" in done.stdout, done.stdout + done.stderr


def test_sfdisk_sees_the_layout(disk: str) -> None:
    need("sfdisk")
    done = subprocess.run(["sfdisk", "-J", disk], capture_output=True, text=True, check=True)
    table = json.loads(done.stdout)["partitiontable"]
    assert table["label"] == "gpt"
    seen = {
        int(part["node"].rsplit("img", 1)[1]): (
            part["name"],
            part["type"].lower(),
            part["size"] * 512,
            part.get("attrs"),
        )
        for part in table["partitions"]
    }
    ufs, state = str(gpt.TYPES["freebsd-ufs"]), str(medium.STATE_TYPE)
    assert seen == {
        2: ("nz-boot", str(gpt.TYPES["freebsd-boot"]), 512 << 10, None),
        3: ("nz-recovery", ufs, SLICE, None),
        4: ("nz-a", ufs, SLICE, "GUID:59"),
        5: ("nz-b", ufs, SLICE, None),
        6: ("nz-state", state, 1 << 20, None),
        7: ("nz-swap", str(gpt.TYPES["freebsd-swap"]), 4 << 20, None),
    }
    assert all(part["start"] % 2048 == 0 for part in table["partitions"])


def test_sfdisk_sees_changed_attributes(disk: str) -> None:
    need("sfdisk")
    with open(disk, "r+b") as file:
        table = gpt.read_table(file, file.seek(0, 2) // 512)
        table.entries[5].attributes = gpt.ATTRIBUTES["bootonce"] | gpt.ATTRIBUTES["bootfailed"]
        gpt.write_table(file, table)
    done = subprocess.run(["sfdisk", "--part-attrs", disk, "5"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "GUID:57,58"


def test_same_seed_same_bytes() -> None:
    tables = [medium.table_for(medium.layout(SLICE), "seed", "nz-a") for _each in range(2)]
    assert tables[0] == tables[1]
    assert medium.table_for(medium.layout(SLICE), "other", "nz-a").disk != tables[0].disk


class TestCopies:
    """Each copy alone is enough, and damage is noticed."""

    def read(self, path: str) -> gpt.Table:
        with open(path, "rb") as file:
            return gpt.read_table(file, file.seek(0, 2) // 512)

    def wipe(self, path: str, sector: int) -> None:
        with open(path, "r+b") as file:
            file.seek(sector * 512, 0 if sector >= 0 else 2)
            file.write(bytes(512))

    @pytest.mark.parametrize("sector", [1, 2, -1, -33])
    def test_one_damaged(self, disk: str, sector: int) -> None:
        good = self.read(disk)
        assert not good.corrupt
        self.wipe(disk, sector)
        found = self.read(disk)
        assert found.corrupt and found.entries == good.entries
        with open(disk, "r+b") as file:
            gpt.write_table(file, found)
        assert self.read(disk) == good

    def test_both_damaged(self, disk: str) -> None:
        self.wipe(disk, 1)
        self.wipe(disk, -1)
        with pytest.raises(gpt.GptError):
            self.read(disk)

    def test_on_a_larger_disk_it_is_corrupt_until_written_anew(self, disk: str) -> None:
        with open(disk, "r+b") as file:
            file.truncate(file.seek(0, 2) + (8 << 20))
        table = self.read(disk)
        assert table.corrupt
        with open(disk, "r+b") as file:
            gpt.write_table(file, table)
        assert not self.read(disk).corrupt

    def test_garbage_is_no_table(self) -> None:
        with pytest.raises(gpt.GptError):
            gpt.read_table(io.BytesIO(b"EFI PART" * 10000), 156)


def test_partitions_may_not_overlap_or_leave_the_disk() -> None:
    table = gpt.new_table(10000, uuid.uuid4())
    kind = gpt.TYPES["freebsd-ufs"]
    table.add(1, gpt.Entry(kind, uuid.uuid4(), 100, 199))
    for index, first, last in ((1, 300, 400), (2, 199, 300), (2, 0, 50), (2, 9000, 9999), (2, 500, 400), (0, 300, 400)):
        with pytest.raises(gpt.GptError):
            table.add(index, gpt.Entry(kind, uuid.uuid4(), first, last))
    with pytest.raises(gpt.GptError):
        gpt.Entry(kind, uuid.uuid4(), 1, 2, 0, "x" * 37).pack()
    with pytest.raises(gpt.GptError):
        gpt.new_table(60, uuid.uuid4())
