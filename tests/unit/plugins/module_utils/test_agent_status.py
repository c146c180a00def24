# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent says of a host, also when parts of it are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from typing import Any, Dict, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import codes
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.guard import Guard, deadline
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import WIDTH
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import HOST_KEY, ORIGINS
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Disks, count_disks, parse_import
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.job import Job
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

POOL_COMMANDS = ("zpool", "zfs", "zdb")

BOTH = tuple(transcripts.RELEASES)


def status(agent: AgentHost, *argv: str) -> Dict[str, Any]:
    """The status as JSON; nothing may change, and the words for people must come to an end as well."""
    before = agent.host.fingerprint()
    answer = agent.run("status", "--json", *argv)
    found: Dict[str, Any] = answer.json()
    assert answer.rc == (1 if found["attention"] else 0) and answer.err == ""
    lines = agent.run("status").out.splitlines()
    assert all(len(line) <= WIDTH for line in lines), "it must fit on a console"
    assert sum(line.startswith("  NEXT ") for line in lines) == 1
    assert codes.spaced(found["code"]) in "\n".join(lines)
    assert agent.host.fingerprint() == before
    return found


def screen(agent: AgentHost) -> str:
    return " ".join(agent.run("status").out.split())


def test_a_host_as_it_should_be(agent: AgentHost) -> None:
    found = status(agent)
    assert not found["attention"] and found["next"] == "Nothing needs to be done."
    assert codes.decode(found["code"]) == codes.Facts("normal", "nz-a", 3, 3, 0)
    assert found["host"]["running"]["id"] is None, "slices are not hashed unless somebody asks"
    said = screen(agent)
    for words in (
        "HOST web-1",
        "STATE NORMAL",
        "VERSION web-1.0 from slice nz-a",
        "DISKS 3 of 3 data disks found",
        "POOL tank is ONLINE",
        "UPGRADE none open (idle)",
    ):
        assert words in said
    assert "WARNING" not in said and "UNSAVED" not in said and "REASON" not in said


def test_after_an_upgrade_that_was_taken_back(agent: AgentHost) -> None:
    """Whoever logs in, or looks, is told; before and after that nobody is."""
    assert agent.run("status", "--notice").out == ""
    store = JournalStore(Zfs(Runner(agent.host.machine.execute)), "tank")
    target = ImageRef("0" * 64, "b" * 16, "1.1")
    taken_back = {"phase": "reverted", "kind": "upgrade", "txn": "0001-x", "reason": "not running: nginx"}
    store.write(replace(store.read(), target=target, **taken_back))  # type: ignore[arg-type]
    found = status(agent)
    assert not found["attention"] and found["next"].startswith("The last upgrade was taken back, see UPGRADE")
    assert "UPGRADE upgrade to 1.1 was taken back not running: nginx" in screen(agent)
    notice = agent.run("status", "--notice")
    assert notice.rc == 0 and "The last upgrade of this host, to 1.1, was taken back." in notice.out


def test_while_an_image_is_written(agent: AgentHost) -> None:
    job = Job("nz-b")
    assert status(agent)["write"] is None and job.lock()
    job.save({"job": "x", "describe": "web-1.1 (3fa9c1d2b07e)", "percent": 43})
    found = status(agent)
    assert found["write"]["percent"] == 43 and found["next"].startswith("Let the write go on")
    assert "WRITE web-1.1 (3fa9c1d2b07e) is being written to the other slice, 43 % so far" in screen(agent)
    job.unlock()
    assert status(agent)["write"] is None


def test_hashes_when_asked(agent: AgentHost, images: Images) -> None:
    assert status(agent, "--verify")["host"]["running"]["id"] == images.built["1.0"]["id"]


def test_the_key_that_the_host_is_known_by(agent: AgentHost, tmp_path: Any) -> None:
    """Also in recovery mode, where somebody may meet it for the first time; as ssh shows it."""
    assert status(agent)["ssh_key"] == ""
    key = str(tmp_path / "key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, capture_output=True, text=True).stdout.split()[
        1
    ]
    with open(key + ".pub", encoding="ascii") as file:
        agent.put("etc", HOST_KEY + ".pub", file.read())
    agent.lose_pool("ada1", "ada2", "ada3")
    assert status(agent)["ssh_key"] == shown and "SSH KEY {0}".format(shown) in screen(agent)
    for nonsense in ("", "ssh-ed25519", "ssh-ed25519 x", "ssh-ed25519 \x1b[2J"):
        agent.put("etc", HOST_KEY + ".pub", nonsense)
        assert status(agent)["ssh_key"] == ""


def test_what_is_not_saved(agent: AgentHost) -> None:
    for number in range(10):
        for tree, text in (("base", "old"), ("etc", "new")):
            agent.put(tree, "f{0}".format(number), text)
    found = status(agent)
    assert not found["attention"] and "nanozfs save" in found["next"]
    assert len(found["unsaved"]) == 10
    assert "10 in /etc changed and not saved: f0, f1, f2, f3, f4, f5, f6, f7 and 2 more" in screen(agent)


def test_what_was_made_against_another_image(agent: AgentHost) -> None:
    agent.put("base", "ttys", "of 1.0\n")
    agent.put("etc", "ttys", "mine\n")
    agent.ok("save", "ttys")
    assert status(agent)["stale"] == []
    agent.put("base", "ttys", "of 1.1\n")
    found = status(agent)
    assert not found["attention"] and found["stale"] == ["ttys"]
    assert "1 file in /cfg made against another image: ttys" in screen(agent)
    assert "nanozfs_stale_files 1" in agent.ok("metrics")
    agent.put("cfg", ORIGINS, "no notes")
    found = status(agent)
    assert found["stale"] is None and "what /cfg hides of the image cannot be told" in found["host"]["warnings"][-1]


def test_a_disk_is_missing(agent: AgentHost) -> None:
    agent.host.machine.load()
    agent.host.machine.remove_disk("ada3")
    agent.restart("nz-a")
    found = status(agent)
    assert found["host"]["disks"]["found"] == 2 and "zpool status" in found["next"] and found["attention"]
    assert "2 of 3 data disks found missing: " in screen(agent) and "tank is DEGRADED" in screen(agent)


def test_recovery_mode(agent: AgentHost) -> None:
    agent.lose_pool("ada2", "ada3", reason="cannot import 'tank': no such pool or dataset")
    found = status(agent)
    assert found["attention"] and "power and cables" in found["next"] and found["unsaved"] is None
    facts = codes.decode(found["code"])
    assert facts[:4] == ("recovery", "nz-a", 1, 3)
    said = screen(agent)
    assert "RECOVERY: it has not got its data REASON cannot import 'tank'" in said
    assert "1 of 3 data disks found" in said and "POOL not imported" in said


def test_no_disk_at_all(agent: AgentHost) -> None:
    agent.lose_pool("ada1", "ada2", "ada3")
    found = status(agent)
    assert "nanozfs recovery" in found["next"] and codes.decode(found["code"])[2:4] == (0, 0)
    assert "no pool of this host was found" in screen(agent)


def test_a_hung_import(agent: AgentHost) -> None:
    """Any command that asks for the pool would hang for ever."""
    agent.kenv(
        "nanozfs.state=recovery", "nanozfs.reason=the import of the pool tank did not end", "nanozfs.import=hung"
    )
    found = status(agent)
    assert not [argv for argv in agent.ran if argv[0] in POOL_COMMANDS]
    assert found["hung"] and "shutdown -r now" in found["next"]
    assert codes.decode(found["code"]).reason == codes.HANGS


def test_host_info_does_not_hang_either(agent: AgentHost) -> None:
    agent.kenv("nanozfs.import=hung")
    agent.host.machine.calls.clear()
    seen = agent.host.ok("host_info", digest=False)["host"]
    assert not [argv for argv in agent.host.machine.calls if argv[0] in POOL_COMMANDS]
    assert seen["pool"] is None and "hangs" in seen["warnings"][0] and seen["running"]["version"] == "1.0"


def test_a_trial_with_its_seconds(agent: AgentHost, images: Images) -> None:
    with agent.host.open_device("/dev/gpt/nz-b", writable=True) as device:
        device.write(0, images.content("1.1"))
    agent.restart("nz-b", on_trial=True)
    agent.host.command("zfs", "set", "nanozfs:phase=trial", "nanozfs:timeout=600", "tank/nanozfs")
    agent.now = float(agent.host.machine.running["boottime"]) + 100
    found = status(agent)
    assert found["seconds_left"] == 500 and "goes back in 500 seconds" in found["next"] and found["attention"]
    assert codes.decode(found["code"]).state == "trial" and codes.decode(found["code"]).slice == "nz-b"
    agent.now += 1000
    assert status(agent)["seconds_left"] == 0
    agent.host.command("zfs", "set", "nanozfs:timeout=0", "tank/nanozfs")
    assert status(agent)["seconds_left"] is None


def test_broken_parts(agent: AgentHost) -> None:
    parts = ["sysctl", "mount", "zpool", "zfs", "kenv"]
    for broken in [*([each] for each in parts), parts]:
        for name in broken:
            agent.replies[name] = lambda argv: (1, "", "{0}: Input/output error\n".format(argv[0]))
        answer = agent.run("status", "--json")
        assert answer.rc == 1 and answer.json()["next"], (broken, answer)
        assert "  NEXT" in agent.run("status").out
        agent.replies.clear()


def test_a_damaged_partition_table(agent: AgentHost) -> None:
    with open(agent.host.machine.image("ada0"), "r+b") as file:
        file.write(bytes(40 * 512))
    assert "gpart recover ada0" in status(agent)["next"]


def test_etc_cannot_be_compared(agent: AgentHost) -> None:
    os.rename(agent.places.base, agent.places.base + ".gone")
    found = status(agent)
    assert found["unsaved"] is None and "cannot be told" in found["host"]["warnings"][0]


def test_it_revived_itself(agent: AgentHost) -> None:
    agent.kenv("nanozfs.revived=1")
    assert status(agent)["revived"] and "it revived itself" in screen(agent)


def test_decode_needs_no_host(agent: AgentHost) -> None:
    code = status(agent)["code"]
    agent.ran.clear()
    assert "state normal, slice nz-a, 3 of 3 data disks found, no reason" in agent.ok("decode", code[:3], code[3:])
    assert json.loads(agent.ok("decode", "--json", code))["state"] == "normal"
    assert "ask for it again" in agent.refused("decode", "OOOOOO")
    assert agent.ran == []


class TestGuard:
    def test_a_command_of_the_pool_that_does_not_end_is_the_last(self, agent: AgentHost) -> None:
        agent.replies["zpool"] = lambda argv: (TIMED_OUT, "", "zpool was not done in 300 seconds")
        guard = Guard(agent.execute)
        assert not guard.hung and guard(["zpool", "import"])[0] == TIMED_OUT and guard.hung
        agent.ran.clear()
        assert guard(["zfs", "list"])[0] == TIMED_OUT and guard(["/sbin/zdb", "-l", "x"])[0] == TIMED_OUT
        assert agent.ran == []
        assert guard(["kenv", "-q", "nanozfs.import"])[1] == "hung\n"
        assert Guard(agent.execute).hung, "and so for whoever comes next"

    def test_other_commands_may_be_slow(self, agent: AgentHost) -> None:
        agent.replies["ifconfig"] = lambda argv: (TIMED_OUT, "", "")
        guard = Guard(agent.execute)
        guard(["ifconfig"])
        assert not guard.hung

    def test_what_is_slow_is_no_import_that_hangs(self, agent: AgentHost) -> None:
        """A pool with many snapshots, or a disk about to die: the next one that looks must be able to."""
        agent.replies["zfs"] = lambda argv: (TIMED_OUT, "", "zfs was not done in 300 seconds")
        guard = Guard(agent.execute)
        assert guard(["zfs", "list", "-t", "snapshot"])[0] == TIMED_OUT and not guard.hung
        agent.ran.clear()
        code, _out, words = guard(["zpool", "list"])
        assert code == TIMED_OUT and "`zfs list -t snapshot` was not done in 300 seconds" in words and agent.ran == []
        assert guard(["kenv", "-q", "nanozfs.import"])[0] != 0
        del agent.replies["zfs"]
        assert Guard(agent.execute)(["zfs", "list"])[0] == 0

    def test_deadlines(self) -> None:
        assert deadline(["/sbin/zpool", "import"]) == deadline(["zfs", "destroy"]) > deadline(["ifconfig"]) > 0


@pytest.mark.parametrize(
    "releases, directory, name, expected",
    [
        (BOTH, "zpool", "030-status", Disks(3, 3, ())),
        (BOTH, "zpool", "203-rz-1missing-status", Disks(2, 3, ("<guid> UNAVAIL was /dev/md22",))),
        (BOTH, "zpool", "201-import-rz-1missing", Disks(2, 3, ("md22 UNAVAIL cannot open",))),
        (
            ("13.2",),
            "zpool-crossboot",
            "017-2missing",
            Disks(1, 3, ("vtbd2 UNAVAIL cannot open", "<guid> UNAVAIL cannot open")),
        ),
        (BOTH, "zpool", "221-import-stripe-missing", Disks(1, 2, ("md21 UNAVAIL cannot open",))),
        (BOTH, "zpool", "103-offline", Disks(1, 2, ("md11 OFFLINE",))),
        (BOTH, "zpool", "052-status-scrub", Disks(3, 3, ())),
    ],
)
def test_disks_that_a_real_zpool_saw(releases: Sequence[str], directory: str, name: str, expected: Disks) -> None:
    for release in releases:
        pool = parse_import(transcripts.load(directory, name, transcripts.RELEASES[release]).out)[0]
        found = count_disks(pool)
        missing = tuple(re.sub(r"^\d{15,}", "<guid>", each) for each in found.missing)
        assert found._replace(missing=missing) == expected, release


@pytest.mark.parametrize("name", ["cache", "logs", "spares", "special", "replacing-1"])
def test_a_pool_that_is_called_like_something_else(name: str) -> None:
    rows = (
        "\t{0}  DEGRADED  0 0 0\n\t  mirror-0  DEGRADED  0 0 0\n\t    ada1  ONLINE  0 0 0\n\t    ada2  REMOVED  0 0 0\n"
    )
    text = "  pool: {0}\n state: DEGRADED\nconfig:\n\n\tNAME  STATE  READ WRITE CKSUM\n" + rows + "\nerrors: none\n"
    assert count_disks(parse_import(text.format(name))[0]) == Disks(1, 2, ("ada2 REMOVED",))


#: as print_import_config() of OpenZFS has it, where no disk of a second mirror is there
MORE = """   pool: tank
     id: 12080607584394764917
  state: UNAVAIL
 status: One or more devices are missing from the system.
 action: The pool cannot be imported. Attach the missing
\tdevices and try again.
 config:

\ttank       UNAVAIL  missing device
\t  mirror-0 ONLINE
\t    ada1   ONLINE
\t    ada2   ONLINE

\tAdditional devices are known to be part of this pool, though their
\texact configuration cannot be determined.
"""


def test_a_pool_that_lacks_a_whole_vdev(agent: AgentHost) -> None:
    """Nobody may read over the telephone that all disks are there."""
    one, other = parse_import(MORE + MORE.replace("tank", "tonk").split("\n\n\tAdd", maxsplit=1)[0] + "\n")
    assert count_disks(one).describe() == "2 of 3 or more data disks found" and not one.complete
    assert count_disks(other).describe() == "2 of 2 data disks found" and len(one.vdevs) == len(other.vdevs)
    agent.lose_pool("ada3", reason="cannot import 'tank': no such pool available")
    agent.replies["zpool"] = lambda argv: (0, MORE if list(argv) == ["zpool", "import"] else "", "")
    said = agent.run("status").out
    assert (
        "2 of 2" not in said and "at least one more" in said and "look at power and cables" in said.replace("\n", " ")
    )


def test_disks_that_hold_no_data_do_not_count() -> None:
    """The form is that of zpool-status(8) and of print_status_config() and print_class_vdevs() in zpool_main.c."""
    text = (
        "  pool: tank\n state: DEGRADED\n  scan: resilver in progress\nconfig:\n\n"
        "\tNAME             STATE     READ WRITE CKSUM\n\ttank             DEGRADED     0     0     0\n"
        "\t  mirror-0       DEGRADED     0     0     0\n\t    ada1         ONLINE       0     0     0\n"
        "\t    replacing-1  DEGRADED     0     0     0\n\t      ada2       UNAVAIL      0     0     0  cannot open\n"
        "\t      ada4       ONLINE       0     0     0  (resilvering)\n"
        "\tlogs\t\n\t  ada5           ONLINE       0     0     0\n"
        "\tcache\n\t  ada6           ONLINE       0     0     0\n"
        "\tspares\n\t  ada7           AVAIL\n\nerrors: No known data errors\n"
    )
    assert count_disks(parse_import(text)[0]) == Disks(2, 2, ())
