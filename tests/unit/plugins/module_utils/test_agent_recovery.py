# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The menu for somebody on the telephone: whole sessions, typed as that person types them."""

from __future__ import annotations

import json
import os
import re
from typing import List, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import bastion
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT
from ansible_collections.nanozfs.fleet.tests.model.labels import leave_damaged
from ansible_collections.nanozfs.fleet.tests.model.pools import Pool, Pools
from ansible_collections.nanozfs.fleet.tests.model.releases import RELEASES
from ansible_collections.nanozfs.fleet.tests.unit.agent import DIGITS, INTERRUPT, AgentHost, Reply
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB

STATUS, LOOK, TRY, RESTART, OTHER, SHOW_NET, SET_NET, CALL, LOG, OFF, SHELL, UNLOCK = (str(n) for n in range(1, 13))
REWIND = UNLOCK

#: commands of ZFS that only look
READING = ("list", "get", "status", "holds")


def session(agent: AgentHost, *typed: str) -> str:
    """What somebody sees who types that, as one line; he must see the menu to the end."""
    answer = agent.run("recovery", typed=typed)
    assert answer.rc == 0 and answer.err == "", answer
    assert "To come back to this menu, type: nanozfs recovery" in answer.out
    return " ".join(answer.out.split())


def after(text: str, words: str) -> str:
    """What comes after the last of some words."""
    assert words in text, text
    return text.rsplit(words, 1)[1].strip()


def tank(agent: AgentHost) -> Pool:
    """The pool, imported or not."""
    agent.host.machine.load()
    (found,) = Pools(agent.host.machine).candidates() or Pools(agent.host.machine).imported()
    return found


def pool_changes(agent: AgentHost) -> List[Tuple[str, ...]]:
    """The commands that wrote to a pool, or would have."""
    found = []
    for argv in agent.ran:
        if argv[0] not in ("zpool", "zfs") or argv[1] in READING:
            continue
        if argv[:2] == ("zpool", "import") and (len(argv) == 2 or "readonly=on" in argv or "-n" in argv):
            continue
        found.append(argv)
    return found


@pytest.fixture
def lost(agent: AgentHost, images: Images) -> AgentHost:
    """A host in recovery mode that lacks one of three disks; 1.1 is in its other slice."""
    with agent.host.open_device("/dev/gpt/nz-b", writable=True) as device:
        device.write(0, images.content("1.1"))
    agent.lose_pool("ada3", reason="cannot import 'tank': one or more devices is currently unavailable")
    agent.put("etc", "nanozfs.log", "".join("line {0}\n".format(number) for number in range(40)))
    agent.replies.update(network())
    agent.replies["dmesg"] = lambda argv: (0, "ada3: detached\n", "")
    return agent


def network(fails: bool = False) -> dict:
    """The network of a host as ifconfig(8), netstat(1) and route(8) show and change it."""
    state = {"inet": "", "default": ""}

    def ifconfig(argv: Sequence[str]) -> Reply:
        if argv[1] == "-l":
            return 0, "em0 em1 lo0\n", ""
        if len(argv) > 2:
            if fails:
                return 1, "", "ifconfig: {0}: bad value\n".format(argv[3])
            state["inet"] = argv[3]
            return 0, "", ""
        text = "{0}: flags=8843<UP> metric 0 mtu 1500\n\tstatus: {1}\n"
        text = text.format(argv[1], "active" if argv[1] == "em0" else "no carrier")
        inet = "\tinet {0} netmask 0xffffff00\n".format(state["inet"]) if state["inet"] and argv[1] == "em0" else ""
        return 0, text + inet, ""

    def route(argv: Sequence[str]) -> Reply:
        if "delete" in argv:
            return 1, "", "route: route has not been found\n"
        state["default"] = argv[-1]
        return 0, "add net default: gateway {0}\n".format(argv[-1]), ""

    def netstat(argv: Sequence[str]) -> Reply:
        gateway = "default            {0}        UGS         em0\n".format(state["default"])
        return 0, "Routing tables\n\n" + (gateway if state["default"] else ""), ""

    return {"ifconfig": ifconfig, "netstat": netstat, "route": route, "service": lambda argv: (0, "", "")}


def test_a_whole_session(lost: AgentHost) -> None:
    """Every number of the menu, as in docs/agent.md; at its end the host has started the other system."""
    seen = session(
        lost,
        *(STATUS, LOOK, TRY, DIGITS, SHOW_NET, SET_NET, "1", "192.0.2.10/24", "192.0.2.1", DIGITS),
        *(CALL, LOG, RESTART, "", OFF, "", SHELL, "123456", UNLOCK, DIGITS, REWIND, OTHER, "2", DIGITS),
    )
    assert seen.count("STATE") == 2
    for words in (
        "2 of 3 data disks found",
        "THE MACHINE SEES 3 DISKS",
        "POOL tank: 2 OF 3 DATA DISKS FOUND",
        "THE POOL CAN BE OPENED",
        "tank/nanozfs/var/db",
        "Its journal: idle",
        "It is closed again",
        "em0: cable ACTIVE",
        "em1: cable NO CARRIER",
        "address 192.0.2.10/24",
        "default gateway: 192.0.2.1",
        "the image does not say where to call",
        "line 39",
        "ada3: detached",
        "The host restarts and starts web-1.0 in slice nz-a",
        "Those were not the digits",
        "CHANGES THE POOL",
        "there is nothing to take back",
        "web-1.1 in slice nz-b",
        "It goes down now",
    ):
        assert words in seen, words
    assert "line 20 " not in seen
    assert lost.ran[-1] == ("shutdown", "-r", "now")
    assert lost.host.flags()["nz-b"] == ["bootme"] and lost.host.flags()["nz-a"] == []
    assert pool_changes(lost) == [("zpool", "export", "tank")] * 2, "the pool was only read, twice, and let go"


class TestMenu:
    def test_what_is_no_number(self, lost: AgentHost) -> None:
        before = lost.host.fingerprint()
        seen = session(lost, "0", "13", "x", "", "-1")
        assert seen.count("That is no number from 1 to 12. Nothing was done.") == 5
        assert lost.host.fingerprint() == before

    def test_the_digits_are_others_each_time(self, lost: AgentHost) -> None:
        seen = session(lost, *(RESTART, "") * 8)
        digits = re.findall(r"digits: ([2-9]{3} [2-9]{3}) ", seen)
        assert len(digits) == 8 and len(set(digits)) > 6

    def test_nothing_is_done_without_the_digits(self, lost: AgentHost) -> None:
        before = lost.host.fingerprint()
        session(lost, TRY, "no", RESTART, "111111", OTHER, "2", "yes", SET_NET, "1", "192.0.2.1/24", "", "y", OFF, "")
        session(lost, UNLOCK, "", REWIND, "")
        assert lost.host.fingerprint() == before
        done = [argv for argv in lost.ran if argv[0] in ("shutdown", "gpart") or argv[:2] == ("ifconfig", "em0")]
        assert [argv for argv in done if len(argv) > 2] == [] and pool_changes(lost) == []

    def test_a_shell(self, lost: AgentHost) -> None:
        assert "nothing asks before it does them" in session(lost, SHELL, DIGITS, "not read any more")

    def test_somebody_breaks_a_step_off(self, lost: AgentHost) -> None:
        def broken(argv: Sequence[str]) -> Reply:
            raise KeyboardInterrupt

        lost.replies["dmesg"] = broken
        assert "WHAT NEXT?" in session(lost, LOG).split("Broken off.")[1]
        assert session(lost, INTERRUPT, RESTART, INTERRUPT, STATUS).count("Broken off.") == 2
        assert lost.ran[-1][0] != "shutdown"

    def test_switching_off(self, lost: AgentHost) -> None:
        session(lost, OFF, DIGITS)
        assert lost.ran[-1] == ("shutdown", "-p", "now")


@pytest.mark.parametrize("model_release", RELEASES)
class TestPool:
    def test_no_disk(self, agent: AgentHost) -> None:
        agent.lose_pool("ada1", "ada2", "ada3")
        seen = session(agent, LOOK, TRY)
        assert "NO DISK OF THE POOL tank WAS FOUND" in seen and "THE MACHINE SEES 1 DISKS" in seen
        assert after(seen, "THAT DID NOT WORK.").startswith("no disk of the pool tank was found Next: choose 2")

    def test_too_few_disks(self, agent: AgentHost) -> None:
        agent.lose_pool("ada1", "ada2")
        seen = session(agent, LOOK, TRY)
        assert "POOL tank: 1 OF 3 DATA DISKS FOUND" in seen and "missing: " in seen
        assert "cannot be opened: 1 of 3 data disks found Safe now: nothing was" in after(seen, "THAT DID NOT WORK.")
        assert "WHAT NEXT?" in after(seen, "THAT DID NOT WORK.")

    def test_an_import_that_hangs(self, lost: AgentHost) -> None:
        def zpool(argv: Sequence[str]) -> Reply:
            if argv[1] == "import" and len(argv) > 2:
                return TIMED_OUT, "", "zpool was not done in 300 seconds"
            return lost.host.machine.execute(argv)

        lost.replies["zpool"] = zpool
        seen = session(lost, TRY, DIGITS, LOOK, TRY, STATUS, UNLOCK, DIGITS, REWIND)
        assert "was not done in 300 seconds" in seen and seen.count("an import of the pool hangs, and so would") == 3
        hung = next(n for n, argv in enumerate(lost.ran) if argv[:2] == ("zpool", "import") and len(argv) > 2)
        assert not [argv for argv in lost.ran[hung + 1 :] if argv[0] in ("zpool", "zfs", "zdb")]
        assert "the import of the pool hangs" in seen.rsplit("STATE", 1)[1]

    def test_on_a_host_that_runs(self, agent: AgentHost) -> None:
        seen = session(agent, LOOK, TRY)
        assert "The pool is in use." in seen and "POOL tank: 3 OF 3 DATA DISKS FOUND" in seen
        assert "is in use by the running system" in after(seen, "THAT DID NOT WORK.")

    def test_two_pools_of_the_name(self, agent: AgentHost) -> None:
        """Nobody has to type a guid."""
        agent.host.command("zpool", "export", "tank")
        for number in (4, 5):
            agent.host.machine.load()
            agent.host.machine.add_disk("ada{0}".format(number), 256 * MIB)
        agent.host.command("zpool", "create", "-m", "none", "tank", "mirror", "ada4", "ada5")
        agent.lose_pool(reason="cannot import 'tank': more than one matching pool")
        seen = session(agent, TRY, "2", DIGITS, TRY, "1", DIGITS, TRY, "3")
        assert "THERE ARE 2 POOLS OF THAT NAME." in seen and "2 of 2 data disks found, last used on web-1" in seen
        assert seen.count("THE POOL CAN BE OPENED.") == 2 and seen.count("It is closed again. WHAT") == 2
        assert "Its journal: idle" in seen and "It has no datasets of a host of this fleet" in seen
        assert "That is no number from 1 to 2" in seen

    def test_the_step_that_changes_the_pool_has_to_be_unlocked(self, lost: AgentHost) -> None:
        leave_damaged(tank(lost), "Sat Nov 28 16:20:18 2026", 5)
        session(lost, UNLOCK, "111111", UNLOCK, "")
        assert pool_changes(lost) == []
        seen = session(lost, UNLOCK, DIGITS, REWIND, "")
        assert "Would discard approximately 5 seconds of transactions." in seen and pool_changes(lost) == []
        seen = session(lost, UNLOCK, DIGITS, REWIND, DIGITS)
        assert "DONE. Choose 4" in seen
        (imported, exported) = pool_changes(lost)
        assert "-F" in imported and "-n" not in imported and exported == ("zpool", "export", "tank")
        assert "readonly=on" not in imported and lost.host.command("zpool", "list", "-H") == ""

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_a_pool_that_can_be_opened_is_not_taken_back(self, lost: AgentHost, elsewhere: bool) -> None:
        """What is asked first opens such a pool, ``-n`` or not; so it is asked in a way that writes nothing."""
        if elsewhere:
            pool = tank(lost)
            pool.record.update({"hostid": 0x29131EBD, "hostname": "other", "state": "active"})
            pool.save()
        before = json.dumps(tank(lost).record, sort_keys=True)
        seen = session(lost, UNLOCK, DIGITS, REWIND, DIGITS)
        assert "can be opened as it is: there is nothing to take back Safe now: it was opened read-only" in seen
        assert "start once more as usual (4)" in seen and "THIS WILL BE DONE: - The pool" not in seen
        assert lost.host.command("zpool", "list", "-H") == ""
        assert json.dumps(tank(lost).record, sort_keys=True) == before

    def test_the_pool_in_use_is_not_taken_back(self, agent: AgentHost) -> None:
        seen = session(agent, UNLOCK, DIGITS, REWIND, DIGITS)
        assert "is in use by the running system" in seen and pool_changes(agent) == []
        assert "-F" not in [word for argv in agent.ran for word in argv]

    def test_a_pool_that_cannot_be_taken_back(self, agent: AgentHost) -> None:
        agent.lose_pool("ada1", "ada2")
        seen = session(agent, UNLOCK, DIGITS, REWIND)
        assert "zpool says:" in seen and "the operators have to decide" in seen and pool_changes(agent) == []


class TestOtherSystem:
    def test_an_empty_slice(self, agent: AgentHost) -> None:
        agent.lose_pool("ada1", "ada2")
        before = agent.host.fingerprint()
        assert "choose the other one" in after(session(agent, OTHER, "2"), "THAT DID NOT WORK.")
        assert agent.host.fingerprint() == before

    def test_from_the_recovery_slice(self, lost: AgentHost) -> None:
        lost.restart("nz-recovery")
        lost.kenv("nanozfs.state=recovery", "nanozfs.reason=booted from the recovery slice")
        seen = session(lost, OTHER, "1", DIGITS)
        assert "web-1.0 in slice nz-a (would start anyway)" in seen
        assert lost.host.flags()["nz-a"] == ["bootme"] and lost.ran[-1][0] == "shutdown"

    def test_not_in_the_middle_of_an_upgrade(self, agent: AgentHost) -> None:
        agent.host.command("zfs", "set", "nanozfs:phase=trial", "tank/nanozfs")
        assert "nanozfs revert" in after(session(agent, OTHER), "THAT DID NOT WORK.")

    def test_what_starts_next(self, lost: AgentHost) -> None:
        """In the order of gptboot(8)."""
        assert "starts web-1.0 in slice nz-a" in session(lost, RESTART)
        lost.host.command("gpart", "set", "-a", "bootonce", "-i", "5", "ada0")
        assert "starts web-1.1 in slice nz-b" in session(lost, RESTART)
        for index in ("4", "5"):
            for flag in ("bootonce", "bootme"):
                lost.host.machine.run(["gpart", "unset", "-a", flag, "-i", index, "ada0"])
        assert "starts web-1.0 in slice nz-recovery" in session(lost, RESTART)


class TestNetwork:
    def test_what_was_mistyped(self, lost: AgentHost) -> None:
        for typed, said in (
            (["3"], "That is no number from 1 to 2"),
            (["1", "192.0.2.300/24", ""], "choose 7 again"),
            (["1", "192.0.2.10", ""], "the prefix length is missing"),
            (["1", "192.0.2.10/24", "2001:db8::1"], "of different kinds"),
            (["1", "192.0.2.10/24", "x"], "choose 7 again"),
        ):
            assert said in session(lost, SET_NET, *typed)
        assert not [argv for argv in lost.ran if argv[0] in ("route", "service")]

    def test_version_6(self, lost: AgentHost) -> None:
        session(lost, SET_NET, "1", "2001:db8::10/64", "2001:db8::1", DIGITS)
        assert ("ifconfig", "em0", "inet6", "2001:db8::10/64", "up") in lost.ran
        assert ("route", "-n", "add", "-inet6", "default", "2001:db8::1") in lost.ran
        assert ("service", "dhclient", "onestop", "em0") in lost.ran

    def test_refused_by_the_system(self, lost: AgentHost) -> None:
        lost.replies.update(network(fails=True))
        assert "bad value" in after(session(lost, SET_NET, "1", "192.0.2.10/24", "", DIGITS), "THAT DID NOT WORK.")


class TestBastion:
    def write(self, agent: AgentHost, text: str, files: Sequence[str] = ("callin_key", "known_hosts")) -> None:
        agent.put("etc", bastion.CONF, text)
        for name in files:
            agent.put("etc", "nanozfs/" + name, "x\n")

    GOOD = "# ours\nhost = 192.0.2.9\nuser = callin\nport = 443\nidentity = callin_key\n"

    def test_a_call(self, lost: AgentHost) -> None:
        self.write(lost, self.GOOD)
        lost.replies["ssh"] = lambda argv: (0, "", "Allocated port 43211 for remote forward to 127.0.0.1:22\n")
        assert "CONNECTED. Tell the operators: PORT 43211" in session(lost, CALL, DIGITS)
        argv = lost.ran[-1]
        folder = os.path.join(lost.places.etc, "nanozfs")
        assert argv[-5:] == ("-R", "0:127.0.0.1:22", "-l", "callin", "192.0.2.9")
        assert "StrictHostKeyChecking=yes" in argv and "BatchMode=yes" in argv and "ExitOnForwardFailure=yes" in argv
        assert "UserKnownHostsFile=" + folder + "/known_hosts" in argv and folder + "/callin_key" in argv

    def test_somebody_in_between(self, lost: AgentHost) -> None:
        self.write(lost, self.GOOD)
        lost.replies["ssh"] = lambda argv: (255, "", "Host key verification failed.\n")
        assert "its host key is another one" in after(session(lost, CALL, DIGITS), "THAT DID NOT WORK.")

    def test_no_answer(self, lost: AgentHost) -> None:
        self.write(lost, self.GOOD)
        lost.replies["ssh"] = lambda argv: (255, "", "connect to host 192.0.2.9 port 443: Operation timed out\n")
        assert "Operation timed out" in after(session(lost, CALL, DIGITS), "THAT DID NOT WORK.")

    def test_without_the_key(self, lost: AgentHost) -> None:
        self.write(lost, self.GOOD, files=["known_hosts"])
        assert "callin_key, which nanozfs/bastion.conf names" in session(lost, CALL)

    @pytest.mark.parametrize(
        "line, said",
        [
            ("host = -oProxyCommand=x", "is no host"),
            ("user = a b", "is no user"),
            ("port = 70000", "is no port"),
            ("remote_port = x", "is no port"),
            ("shell = /bin/sh", "means nothing"),
            ("identity =", "means nothing"),
        ],
    )
    def test_a_file_that_cannot_be_meant(self, line: str, said: str) -> None:
        with pytest.raises(FleetError, match=said):
            bastion.parse(self.GOOD + line + "\n", "/etc/nanozfs")

    def test_a_file_that_lacks_something(self) -> None:
        with pytest.raises(FleetError, match="does not say user, identity"):
            bastion.parse("host = h\n", "/etc/nanozfs")
        assert bastion.parse(self.GOOD + "remote_port = 2201\n", "/x").remote_port == 2201
