# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guests' driver and the FreeBSD lane do without a guest, and a guest that only says hello."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import qemu as vault_qemu
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.qemu import PROGRAM, clean
from ansible_collections.nanozfs.fleet.tests.guest import freebsd, lane, qemu
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

MIB = 1 << 20


def after(argv: List[str], option: str) -> List[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_drives_come_in_order_and_ports_are_forwarded() -> None:
    argv = qemu.arguments(qemu.Hardware(["m", "d1", "d2"], {22: 2201, 80: 8001}), 7, 8)
    assert [each.rpartition("file=")[2] for each in after(argv, "-drive")] == ["m", "d1", "d2"]
    assert after(argv, "-netdev") == ["user,id=net,hostfwd=tcp:127.0.0.1:2201-:22,hostfwd=tcp:127.0.0.1:8001-:80"]
    assert after(argv, "-chardev") == ["socket,id=console,fd=7", "socket,id=monitor,fd=8"]
    assert after(argv, "-accel") == ["tcg,thread=multi,tb-size=256"] and "pflash" not in " ".join(argv)


def test_a_copy_has_the_network_that_a_backup_host_gives_it() -> None:
    net = vault_qemu.net_of({}, vault_qemu.USUAL)
    argv = qemu.arguments(qemu.Hardware(["m"], {22: 2201, 80: 8001}, net=net), 7, 8)
    assert argv[-4:] == vault_qemu.sealed(net, 2201, 22) and "restrict=on" in argv[-3] and argv.count("-netdev") == 1


def test_uefi_code_is_not_written_to_and_its_store_is() -> None:
    argv = qemu.arguments(qemu.Hardware(["m"], {22: 1}, accel="kvm", firmware=["code", "vars"]), 7, 8)
    assert after(argv, "-drive")[:2] == [
        "if=pflash,format=raw,readonly=on,file=code",
        "if=pflash,format=raw,readonly=off,file=vars",
    ]
    assert after(argv, "-accel") == ["kvm"] and after(argv, "-cpu") == ["host"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"login: ", "login: "),
        (b"|\b/\b-\b\\\bLoading kernel...\r", "Loading kernel..."),
        (b"\b\babc", "abc"),
        (b"Booting in 2 seconds\rBooting [kernel]...\r", "Booting [kernel]..."),
        (b"\x1b[=3h\x1b[1;31mred\x1b[0m\x07", "red"),
    ],
)
def test_a_line_is_what_a_terminal_would_show(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


def test_a_transcript_finds_lines_and_prompts(tmp_path: Path) -> None:
    said = qemu.Transcript(str(tmp_path / "log"))
    assert said.feed(b"one\ntw", 1.0) == [qemu.Line(0, 1.0, "one")]
    assert said.feed(b"o\nlogin: ", 2.5) == [qemu.Line(1, 2.5, "two")]
    assert said.find("^two$") == qemu.Line(1, 2.5, "two") and said.find("one", since=1) is None
    prompt = said.find("login:")
    assert prompt is not None and prompt.number == 2
    assert said.feed(b"", 3.0) == [qemu.Line(2, 3.0, "login: ")]


def test_a_line_that_does_not_come_is_an_error_that_says_where_to_look(tmp_path: Path) -> None:
    said = qemu.Transcript(str(tmp_path / "log"))
    said.feed(b"panic: no\n", 1.0)
    with pytest.raises(qemu.GuestError, match=r"login.*panic: no.*" + str(tmp_path / "log")):
        said.wait("login:", 0.01)
    with pytest.raises(qemu.GuestError, match="until the end"):
        said.wait("login:", 60, ended=lambda: True)


def test_a_transcript_keeps_everything_with_its_times(tmp_path: Path) -> None:
    said = qemu.Transcript(str(tmp_path / "log"))
    reader, writer = os.pipe()
    thread = said.follow(lambda: os.read(reader, 100), "power on")
    os.write(writer, b"hello\nlogin: ")
    assert said.wait("login:", 10).number == 1
    os.close(writer)
    thread.join(10)
    os.close(reader)
    first, hello, login = (tmp_path / "log").read_text().splitlines()
    assert first == "--- power on" and hello.endswith(" hello") and login.endswith(" login: ")


def test_an_image_has_room_for_its_files() -> None:
    assert freebsd.image_size([]) == 32 * MIB
    assert freebsd.image_size([100 * MIB]) == 160 * MIB
    assert freebsd.image_size([1] * 100000) % (16 * MIB) == 0 and freebsd.image_size([1] * 100000) > 500 * MIB


def folder_with(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return folder


def test_sets_are_found_in_a_folder(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "sets", "base.txz", "kernel.txz", "python-3.11.tar.gz", "python.sha256")
    for where in (str(folder), "file://{0}".format(folder)):
        sets = freebsd.find_sets(where, str(tmp_path / "cache"))
        assert sets.all == [str(folder / name) for name in ("base.txz", "kernel.txz", "python-3.11.tar.gz")]


def test_what_is_missing_of_the_sets_is_said(tmp_path: Path) -> None:
    with pytest.raises(freebsd.SetsError, match=r"has no kernel.txz and no python.tar.xz"):
        freebsd.find_sets(str(folder_with(tmp_path / "sets", "base.txz")), "")
    with pytest.raises(freebsd.SetsError, match="cannot be read"):
        freebsd.find_sets(str(tmp_path / "nowhere"), "")


def test_sets_below_a_url_are_fetched_once(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "sets", "base.txz", "kernel.txz", "python.tar.xz")
    server = web.server(str(folder), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = "http://127.0.0.1:{0}/".format(server.server_address[1])
    sets = freebsd.find_sets(where, str(tmp_path / "cache"))
    server.shutdown()
    server.server_close()
    assert [Path(path).read_text() for path in sets.all] == ["base.txz", "kernel.txz", "python.tar.xz"]
    assert freebsd.find_sets(where, str(tmp_path / "cache")) == sets
    with pytest.raises(freebsd.SetsError, match="cannot be fetched"):
        freebsd.find_sets(where, str(tmp_path / "another"))


def test_a_medium_is_written_whole_and_is_larger(tmp_path: Path) -> None:
    content = b"a" * MIB + bytes(2 * MIB) + b"b" * 512
    with lzma.open(tmp_path / "medium.xz", "wb") as file:
        file.write(content)
    freebsd.write_medium(str(tmp_path / "medium.xz"), str(tmp_path / "medium"), spare=MIB)
    assert (tmp_path / "medium").read_bytes() == content + bytes(MIB)


@pytest.mark.parametrize("kind", ["efi", "freebsd-ufs"])
def test_an_efi_system_partition_is_seen(tmp_path: Path, kind: str) -> None:
    table = gpt.new_table(4096, uuid.uuid4())
    table.add(1, gpt.Entry(gpt.TYPES[kind], uuid.uuid4(), 64, 127))
    with open(tmp_path / "medium", "wb") as file:
        file.truncate(4096 * gpt.SECTOR)
        gpt.write_table(file, table)
    assert freebsd.has_esp(str(tmp_path / "medium")) == (kind == "efi")


def test_the_story_of_a_console_is_told_without_repetition() -> None:
    texts = ["noise", "nanozfs: normal", "nanozfs: normal", "panic: x", "noise", "login: "]
    lines = [qemu.Line(number, float(number), text) for number, text in enumerate(texts)]
    assert [line.text for line in lane.key_lines(lines)] == ["nanozfs: normal", "panic: x", "login: "]


def said_by_the_hook() -> List[str]:
    """What the early hook says, as it is on the console."""
    texts: List[str] = []
    for path in Path(CHECKOUT, "roles/image/files/root").rglob("*"):
        if path.is_file():
            texts += re.findall(r'\bsay "(.*)"', path.read_text())
    return ["nanozfs: " + re.sub(r"\$(\(.*?\)|\{.*?\}|\w+)", "x", text) for text in texts]


@pytest.mark.parametrize("cut", [each for moments, _then in lane.POWER_CUTS for each in moments])
def test_the_moments_of_power_cuts_come(cut: lane.Cut) -> None:
    if cut.where == "play":
        progress = (
            "  web-1: writing web-1.1 (3fa9c1d2b07e): 43 % of 1024 MiB, 23.1 MB/s, fetched 2.1 of 4.9 MB, 0:26 to go"
        )
        follows = Path(CHECKOUT, "plugins/plugin_utils/_trial.py").read_text()
        lines = [progress] + ["  web-1: " + said for said in re.findall(r'self\._say\([^"]*"(.*)"\)', follows)]
    else:
        lines = said_by_the_hook() + ["Stopping sshd."]  # by rc.d/sshd
    assert any(re.search(cut.pattern, line) for line in lines)


def test_the_table_adds_up() -> None:
    assert lane.table([("a", 1.0), ("longer", 2.4)]) == ["a           1 s", "longer      2 s", "all         3 s"]


def test_without_sets_the_lane_is_skipped_loudly(capsys: pytest.CaptureFixture) -> None:
    assert lane.main(["--sets", ""]) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: the FreeBSD lane needs release sets")


#: mov dx, 0x3f8; then for each character: mov al, CHARACTER; out dx, al; at last hlt and back to it
HELLO = b"\xba\xf8\x03" + b"".join(bytes([0xB0, each, 0xEE]) for each in b"hello\r\n") + b"\xf4\xeb\xfd"


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="qemu-system-x86_64 is not installed")
def test_a_guest_boots_loses_its_power_and_boots_again(tmp_path: Path) -> None:
    (tmp_path / "medium").write_bytes(HELLO.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512))
    guest = qemu.Guest("g", str(tmp_path), qemu.Hardware([str(tmp_path / "medium")], {22: qemu.free_port()}))
    try:
        guest.on()
        assert guest.console.wait("hello", 30).number == 0
        assert guest.command("query-status")["running"]
        with pytest.raises(qemu.GuestError, match="no-such-thing"):
            guest.command("no-such-thing")
        guest.cut()
        assert not guest.is_on
        guest.on()
        assert guest.console.wait("hello", 30, since=1).number == 1
    finally:
        guest.cut()
