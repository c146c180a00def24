# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's stand-in for QEMU takes the command line of a backup host, and no other one."""

from __future__ import annotations

from typing import List

import pytest

from ansible_collections.nanozfs.fleet.tests.lab import emulator
from ansible_collections.nanozfs.fleet.tests.unit.plugins.module_utils.test_vault_machine import UUID, command


class TestStandIn:
    """The lab's stand-in for QEMU sees what it should."""

    def test_it_takes_the_command(self) -> None:
        assert emulator.ordered(command()) == emulator.Order("web-1", 2, 40022, 22, "192.0.2.11/24", UUID)

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            (",restrict=on", "", "could reach others"),
            ("restrict=on", "restrict=off", "could reach others"),
            ("ipv6=off,", "", "could reach others"),
            ("127.0.0.1:40022", "0.0.0.0:40022", "makes no sense"),
            ("-192.0.2.11:22", "-192.0.2.12:22", "and it has"),
            ("dhcpstart=192.0.2.11", "dhcpstart=192.0.2.1", "makes no sense"),
            ("net=192.0.2.0/24", "net=192.0.3.0/24", "makes no sense"),
            ("hostfwd=", "guestfwd=", "not for this machine"),
            ("file=/dev/fdset/1", "file=/etc/passwd", "not for this machine"),
            ("set=2", "set=3", "do not belong together"),
            ("q35", "pc", "not for this machine"),
        ],
    )
    def test_it_refuses_another_one(self, old: str, new: str, why: str) -> None:
        argv = [word.replace(old, new) for word in command()]
        assert argv != command()
        with pytest.raises(emulator.Refusal, match=why):
            emulator.ordered(argv)

    @pytest.mark.parametrize("more", [["-monitor", "stdio"], ["-nic", "user"], ["-virtfs", "local"], ["-vnc", ":0"]])
    def test_it_refuses_more(self, more: List[str]) -> None:
        with pytest.raises(emulator.Refusal, match="invalid option"):
            emulator.ordered([*command(), *more])

    def test_it_misses_what_is_left_out(self) -> None:
        for option in ("-nodefaults", "-sandbox", "-netdev"):
            argv = command()
            at = argv.index(option)
            del argv[at : at + (1 if option in ("-nodefaults",) else 2)]
            with pytest.raises(emulator.Refusal, match=option + " is missing"):
                emulator.ordered(argv)
