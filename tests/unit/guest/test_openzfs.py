# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the OpenZFS guest's driver does without a guest."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path
from typing import List, Optional, Tuple

import pytest

pytest.importorskip("yaml", reason="the cases are in YAML, and this Python has no PyYAML")

from ansible_collections.nanozfs.fleet.tests.contract import machines, runner
from ansible_collections.nanozfs.fleet.tests.guest import openzfs, qemu


def test_a_kernel_is_loaded_by_qemu_itself() -> None:
    argv = qemu.arguments(qemu.Hardware(["d"], {22: 1}, kernel=qemu.Kernel("linux", "root", "quiet nz=1")), 7, 8)
    at = argv.index("-kernel")
    assert argv[at : at + 6] == ["-kernel", "linux", "-initrd", "root", "-append", "quiet nz=1"]
    assert "-kernel" not in qemu.arguments(qemu.Hardware(["d"], {22: 1}), 7, 8)


def _unpacked(archive: bytes) -> List[Tuple[str, int, bytes, Tuple[int, int]]]:
    """The other way round, by the format's description."""
    found: List[Tuple[str, int, bytes, Tuple[int, int]]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        begin = -(-(at + 110 + fields[11]) // 4) * 4
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        if name == "TRAILER!!!":
            return found
        found.append((name, fields[1], archive[begin : begin + fields[6]], (fields[9], fields[10])))
        at = -(-(begin + fields[6]) // 4) * 4


def test_an_archive_holds_what_was_put_in() -> None:
    entries = [
        openzfs.Entry("bin", stat.S_IFDIR | 0o755),
        openzfs.Entry("bin/tool", stat.S_IFREG | 0o755, b"12345"),
        openzfs.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
    ]
    assert [openzfs.Entry(*each) for each in _unpacked(openzfs.cpio(entries))] == entries


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./lib/x86_64-linux-gnu/libzfs.so.4", "usr/lib/x86_64-linux-gnu/libzfs.so.4"),
        ("./sbin/zfs", "usr/sbin/zfs"),
        ("./usr/bin/dbclient", "usr/bin/dbclient"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./library/x", "library/x"),
    ],
)
def test_there_is_one_folder_for_libraries(name: str, path: str) -> None:
    assert openzfs.merged(name) == path


def test_the_root_has_programs_modules_and_the_folders_above_them() -> None:
    files = [("usr/sbin/zfs", 0o100755, b"z"), ("usr/share/doc/zfs/copyright", 0o100644, b"c")]
    entries = {each.name: each for each in openzfs.root_entries(files, {"virtio": b"v", "zfs": b"m"})}
    assert entries["usr/sbin/zfs"].data == b"z" and "usr/share/doc/zfs/copyright" not in entries
    assert entries["sbin"].data == b"usr/sbin" and stat.S_ISLNK(entries["sbin"].mode)
    assert entries["modules/order"].data == b"virtio\nzfs\n" and entries["modules/zfs.ko"].data == b"m"
    names = list(entries)
    for name in names:
        above = os.path.dirname(name)
        assert not above or names.index(above) < names.index(name), name


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")
def test_what_starts_in_the_guest_is_a_script() -> None:
    done = subprocess.run(["sh", "-n"], input=openzfs.INIT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_partition_leaves_one_mebibyte() -> None:
    sector = openzfs.partition_sector(128 << 20)
    first, size = struct.unpack_from("<II", sector, 446 + 8)
    assert (len(sector), sector[510:], first) == (512, b"\x55\xaa", 2048)
    assert (first + size) * 512 == 128 << 20


TARGETS = """http://deb.example/security bookworm-security Debian
https://other.example/apt bookworm Other
http://deb.example/debian bookworm Debian
"""


@pytest.mark.parametrize(("targets", "found"), [(TARGETS, "http://deb.example/debian"), ("", None), ("odd", None)])
def test_the_machines_own_mirror_is_used(targets: str, found: Optional[str]) -> None:
    assert openzfs.pick_mirror(targets) == found


def test_apt_keeps_everything_in_its_folder() -> None:
    text = openzfs.configuration("/there")
    assert "/etc/apt" not in text and "/var/lib" not in text
    assert 'Dir::State::Status "/there/status";' in text
    assert openzfs.sources("http://deb.example/debian").endswith("http://deb.example/debian bookworm main contrib\n")


def test_what_is_missing_is_said_with_its_package() -> None:
    openzfs.check_programs({"sh": "dash"})
    with pytest.raises(openzfs.Unavailable, match="apt-get install zzz"):
        openzfs.check_programs({"sh": "dash", "no-such-program": "zzz"})


def test_the_newest_that_was_built_is_taken(tmp_path: Path) -> None:
    assert openzfs.find_built(str(tmp_path / "none")) is None
    for age, name in ((20, openzfs.key_of("6.1.0-9", "2.1.11-1")), (10, openzfs.key_of("6.1.0-50", "2.1.11-1"))):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "build-left").mkdir()
    built = openzfs.find_built(str(tmp_path))
    assert built is not None and built.versions == "6.1.0-50_zfs-2.1.11-1"


def test_the_cache_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOZFS_CACHE_DIR", "/there")
    assert openzfs.cache_folder() == "/there"


def test_a_machine_without_qemu_skips_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert openzfs.main([]) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: the contract cases need a guest with OpenZFS: not installed")


def test_a_case_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert openzfs.main(["no-such"]) == 1
    assert "no case no-such; there are clone-promote" in capsys.readouterr().err


class Scripted:
    """A shell that remembers what it was asked for, and always gives the same."""

    def __init__(self, answer: machines.Answer) -> None:
        self.answer = answer
        self.calls: List[Tuple[str, ...]] = []

    def __call__(self, script: str, arguments: object, stdin: Optional[str]) -> machines.Answer:
        self.calls.append((script, *arguments))  # type: ignore[misc]
        return self.answer


def test_disks_are_links_and_come_back_after_a_power_cut() -> None:
    shell = Scripted(machines.Answer(0, "", ""))
    cuts: List[int] = []
    machine = machines.OpenZfs(shell, lambda: cuts.append(len(shell.calls)))
    machine.clear(3)
    assert shell.calls[0][1:] == ("/disks", "3")
    machine.pull("d2")
    machine.set_hostid(7)
    machine.cut()
    assert cuts == [4]
    assert shell.calls[-1] == ("ln -s /dev/vda1 $1/d1; ln -s /dev/vdc1 $1/d3", "/disks")
    assert shell.calls[-2][1:] == ("7",)


def test_commands_know_where_the_disks_are() -> None:
    shell = Scripted(machines.Answer(1, "out", "err"))
    assert machines.OpenZfs(shell, lambda: None).execute(["zpool", "list"]) == (1, "out", "err")
    assert shell.calls[0][-2:] == ("zpool", "list") and "ZPOOL_IMPORT_PATH=/disks" in shell.calls[0]


def test_a_guest_that_cannot_do_something_says_what() -> None:
    machine = machines.OpenZfs(Scripted(machines.Answer(1, "", "no such dataset")), lambda: None)
    with pytest.raises(machines.MachineError, match="no such dataset"):
        machine.read("tank/a")
    case = runner.parse_case("x", {"name": "x", "why": "y", "disks": 1, "steps": []})
    assert "no such dataset" in runner.run_case(case, machine).problem


def test_a_script_is_one_word_for_ssh(tmp_path: Path) -> None:
    shell = machines.ssh_shell(["sh", "-c"], 10)  # sh takes the one word as ssh's other end does
    answer = shell('cat; printf "%s\\n" "$@" >&2; exit 3', ["a b", "c'd", "$e"], "given\n")
    assert answer == machines.Answer(3, "given\n", "a b\nc'd\n$e\n")


def test_a_script_that_does_not_end_is_said() -> None:
    with pytest.raises(machines.MachineError, match=r"'exec sleep \"\$1\"' \['60'\] does not end in 0 s"):
        machines.ssh_shell(["sh", "-c"], 0.3)('exec sleep "$1"', ["60"], None)


def test_a_command_for_csh_has_one_line_and_nothing_that_csh_reads(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nprintf "%s" "$1" > "$0.asked"; exec sh -c "$1"\n')
    program.chmod(0o755)
    words = ["one\ntwo", "a!b", "back\\slash", "it's"]
    answer = machines.ssh_shell([str(program)], 10)('printf "%s|" "$@"', words, None)
    assert answer == machines.Answer(0, "one\ntwo|a!b|back\\slash|it's|", "")
    asked = (tmp_path / "ssh.asked").read_text().splitlines()
    assert len(asked) == 1 and "!" not in asked[0] and asked[0].count("'") == 4


def test_outcomes_as_a_table() -> None:
    case = runner.parse_case("a-case", {"name": "x", "why": "y", "disks": 1, "steps": [{"run": "true"}]})
    good, bad = runner.Outcome(case, 1.25, ""), runner.Outcome(case, 2.5, "it differs")
    assert runner.table([good]) == ["a-case    1     1.2 s  ok", "all       1     1.2 s  all as they should be"]
    assert runner.table([good, bad])[1:] == ["a-case    1     2.5 s  FAILED", "all       2     3.8 s  1 of 2 failed"]


def test_freebsd_pulls_a_disk_by_its_table() -> None:
    shell = Scripted(machines.Answer(0, "  vtbd2p1  ONLINE\n", ""))
    machine = machines.FreeBsd(shell, lambda: None)
    assert machine.run(["zpool", "online", "tank", "d2"]).out == "  d2  ONLINE\n"
    assert shell.calls[-1][-1] == "vtbd2p1"
    machine.pull("d2")
    machine.plug("d2")
    assert ["delete" in shell.calls[-2][0], "add" in shell.calls[-1][0]] == [True, True]
    assert [call[1:] for call in shell.calls[-2:]] == [("vtbd2",), ("vtbd2",)]
    machine.cut()
    assert shell.calls[-1] == ('sysctl kern.hostid="$1"', str(machines.HOSTID))
