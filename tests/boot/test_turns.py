# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The networks of recovery mode that take turns, run for real by sh; the commands are stand-ins, and sleep is quick.

What the commands print is what FreeBSD's print (``arp.c``, ``ndp.c``, ``route.c``).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import List

from ansible_collections.nanozfs.fleet.tests.boot.stage import FILES

#: of a host with an address of its own and a router that does not answer
ALONE = """? (192.0.2.1) at (incomplete) on em0 expired [ethernet]
? (192.0.2.5) at 52:54:00:12:34:56 on em0 permanent [ethernet]"""
NEIGHBOUR = ALONE + "\n? (192.0.2.9) at 52:55:0a:00:02:02 on em0 expires in 1193 seconds [ethernet]"

#: its own entries, and a router
NDP = """Neighbor                             Linklayer Address  Netif Expire    S Flags
2001:db8::5                          52:54:00:12:34:56    em0 permanent R
2001:db8::1                          (incomplete)         em0 expired   N"""
NDP_ROUTER = NDP.replace("(incomplete)         em0 expired   N", "52:55:0a:00:02:02    em0 23h59m58s S R")

LISTENER = "sshd: /usr/sbin/sshd [listener] 0 of 10-100 startups"


class Turns:
    """The script in a folder of its own, in which /etc is as well.

    :param tools: what commands do, in sh; ``{etc}`` is that /etc.
    """

    def __init__(self, folder: Path, **tools: str) -> None:
        self.folder, self.etc, self.said = folder, folder / "etc", folder / "said"
        self.etc.mkdir()
        (self.etc / "nanozfs.network").write_text("defaultrouter='192.0.2.1'\n")
        (self.etc / "nanozfs.resolver").write_text("nameserver 192.0.2.53\n")
        (self.etc / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        self.said.write_text("")
        (folder / "processes").write_text(LISTENER + "\n")
        tools = dict(
            {
                "sleep": 'exec /bin/sleep "0.0$(printf %.0f "$1")"',
                "kenv": "echo kenv $* >> {said}",
                "service": 'echo service $* >> {said}; [ "$1 $2" != "netif start" ] || ls {etc} | grep net >> {said}',
                "pgrep": 'for last; do :; done; grep -qE -e "$last" {folder}/processes',
                "who": ":",
                "ifconfig": "echo em0 em1 lo0",
                "route": '[ "$3" = -inet ] && printf "destination: default\\n    gateway: 192.0.2.1\\n"',
                "ping": "echo ping $* >> {said}; exit 2",
                "ping6": "echo ping6 $* >> {said}; exit 2",
                "arp": "echo '{0}'".format(ALONE),
                "ndp": "echo '{0}'".format(NDP),
            },
            **tools,
        )
        for name, words in tools.items():
            text = words.replace("{etc}", str(self.etc)).replace("{said}", str(self.said))
            (folder / name).write_text("#!/bin/sh\n{0}\n".format(text.replace("{folder}", str(folder))))
            (folder / name).chmod(0o755)
        source = Path(FILES, "root/boot/nanozfs/turns").read_text()
        for old, there in (
            ("PATH=", "PATH={0}:".format(folder)),
            ("/boot/nanozfs/early", FILES + "/root/boot/nanozfs/early"),
            ("=/etc/", "={0}/".format(self.etc)),
        ):
            assert old in source
            source = source.replace(old, there)
        (folder / "turns").write_text(source)

    @property
    def networks(self) -> List[str]:
        """Which networks it went to."""
        return [line.rpartition("=")[2] for line in self.said.read_text().splitlines() if line.startswith("kenv ")]

    def run(self, until: int = 3, seconds: int = 30) -> bool:
        """Whether it has come to an end by itself before it has changed the network so often."""
        argv = ["/bin/sh", str(self.folder / "turns"), str(seconds)]
        with subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL) as turns:
            try:
                for _tick in range(600):
                    if turns.poll() is not None or len(self.networks) >= until:
                        break
                    time.sleep(0.05)
                return turns.poll() == 0
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(turns.pid, signal.SIGKILL)


def test_they_take_turns_for_as_long_as_nobody_answers(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    assert not turns.run(until=3)
    assert turns.networks[:3] == ["image", "own", "image"]
    lines = turns.said.read_text().splitlines()
    first = lines[lines.index("service rtsold onestop") :]
    assert first[1:4] == ["service routing stop", "service netif stop", "service netif start"]
    assert first[4:8] == [
        "nanozfs.network.aside",
        "service bridge start",
        "service routing start",
        "service rtsold start",
    ]
    again = first[first.index("kenv nanozfs.network=image") + 1 :]
    again = again[again.index("service netif start") :]
    assert again[1] == "nanozfs.network", "the host's own network was not put back before the interfaces were started"
    assert "nobody answers on the network (own): now the other (image)" in (turns.etc / "nanozfs.log").read_text()


def test_what_it_starts_can_be_ended(tmp_path: Path) -> None:
    """Dhclient has no handler of its own: a signal that is ignored here would be ignored there for ever."""
    turns = Turns(tmp_path, service="grep SigIgn /proc/self/status >> {said}")
    assert not turns.run(until=1)
    ignored = {int(line.split()[1], 16) for line in turns.said.read_text().splitlines() if line.startswith("SigIgn")}
    (mine,) = re.findall(
        r"^SigIgn:\s+(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE
    )  # under nohup(1), say
    wanted = (1 << signal.SIGTERM - 1 | 1 << signal.SIGHUP - 1) & ~int(mine, 16)
    assert ignored and not any(each & wanted for each in ignored)


def test_the_image_s_own_resolver_comes_back_in_its_turn(tmp_path: Path) -> None:
    turns = Turns(tmp_path, arp="[ ! -e {etc}/nanozfs.network.aside ] || echo '" + NEIGHBOUR + "'")
    (turns.etc / "nanozfs.resolver.image").write_text("nameserver 198.51.100.1\n")
    assert turns.run() and (turns.etc / "resolv.conf").read_text() == "nameserver 198.51.100.1\n"


def test_it_listens_in_every_turn_however_short(tmp_path: Path) -> None:
    turns = Turns(tmp_path, arp="echo '{0}'".format(NEIGHBOUR))
    assert turns.run(seconds=0) and turns.networks == []


def test_a_neighbour_is_enough_also_when_the_router_does_not_like_ping(tmp_path: Path) -> None:
    turns = Turns(tmp_path, arp="echo '{0}'".format(NEIGHBOUR))
    assert turns.run() and turns.networks == []
    assert "ping -c 1 192.0.2.1" in turns.said.read_text()


def test_so_is_one_of_ipv6(tmp_path: Path) -> None:
    router = '[ "$3" = -inet6 ] && echo "    gateway: fe80::1%em0"'
    turns = Turns(tmp_path, arp="exit 1", ndp="echo '{0}'".format(NDP_ROUTER), route=router)
    assert turns.run() and turns.networks == []
    assert "ping6 -c 1 fe80::1%em0" in turns.said.read_text()


def test_somebody_who_is_logged_in_keeps_his_network(tmp_path: Path) -> None:
    for number, title in enumerate(
        ("sshd: root@notty", "sshd: [accepted]", "sshd: admin [priv]", "sshd-session: root@pts/0")
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        turns = Turns(folder)
        (folder / "processes").write_text(LISTENER + "\n" + title + "\n")
        assert turns.run() and turns.networks == [], title
    (tmp_path / "console").mkdir()
    turns = Turns(tmp_path / "console", who="echo 'root             ttyv0        Nov 29 12:00'")
    assert turns.run() and turns.networks == []


def test_the_network_that_answers_stays(tmp_path: Path) -> None:
    """The host is at another site: its own address is of no use there, and DHCP is."""
    turns = Turns(tmp_path, arp="[ ! -e {etc}/nanozfs.network.aside ] || echo '" + NEIGHBOUR + "'")
    assert turns.run() and turns.networks == ["image"]
    assert not (turns.etc / "resolv.conf").exists(), "DHCP makes one of what it hears"
    assert (turns.etc / "nanozfs.network.aside").exists() and not (turns.etc / "nanozfs.network").exists()


def test_a_switch_that_is_late_is_met_again(tmp_path: Path) -> None:
    """A site without DHCP, whose switch takes longer to start than the host."""
    count = "echo x >> {folder}/asked; [ $(wc -l < {folder}/asked) -lt 7 ] || echo '" + NEIGHBOUR + "'"
    turns = Turns(tmp_path, arp=count)
    assert turns.run() and turns.networks == ["image", "own"]
    assert (turns.etc / "nanozfs.network").exists()
    assert (turns.etc / "resolv.conf").read_text() == "nameserver 192.0.2.53\n"


def test_commands_that_hang_or_fail_keep_it_from_nothing(tmp_path: Path) -> None:
    turns = Turns(tmp_path, service="echo service $* >> {said}; exit 1", ping="exec /bin/sleep 600", who="exit 1")
    assert not turns.run(until=2)
    assert turns.networks[:2] == ["image", "own"]
