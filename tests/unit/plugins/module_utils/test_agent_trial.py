# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeping a trial and taking it back on the host itself, past interruptions."""

from __future__ import annotations

from typing import Dict, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import identity
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, JournalStore
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.state import remember
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost
from ansible_collections.nanozfs.fleet.tests.unit.conftest import SLICE, Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, boot_mbr, make_mbr_medium
from ansible_collections.nanozfs.fleet.tests.unit.transactions import Fleet

ROOT = "tank/nanozfs"


class Upgrade:
    """A host in the middle of an upgrade from 1.0 in nz-a to 1.1 in nz-b."""

    def __init__(self, agent: AgentHost, images: Images) -> None:
        self.agent = agent
        self.refs = {
            version: {key: built[key] for key in ("id", "build", "version")} for version, built in images.built.items()
        }
        self.fleet = Fleet(agent.host, images)
        self.play = self.fleet.play(lease_seconds=0)
        self.txn = self.play.until_armed()

    def try_it(self) -> AgentHost:
        """Start the new system on trial, as the early boot hook does it."""
        assert self.fleet.start() == "nz-b" and self.journal().phase == "trial"
        self.agent.mount_cfg()
        return self.agent

    def journal(self) -> Journal:
        return JournalStore(Zfs(Runner(self.agent.host.machine.execute)), "tank").read()

    def flags(self) -> List[List[str]]:
        flags = self.agent.host.flags()
        return [flags["nz-a"], flags["nz-b"]]


@pytest.fixture
def upgrade(agent: AgentHost, images: Images) -> Upgrade:
    return Upgrade(agent, images)


class TestCommit:
    def remembered(self, agent: AgentHost) -> Dict[str, str]:
        """What nz-state says."""
        kept: Dict[str, str] = agent.host.ok("host_info", digest=False)["host"]["remembered"]
        return kept

    def test_as_the_play_does_it(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        assert "  FALLBACK   web-1.0 in slice nz-a" in agent.run("status").out
        assert "is committed: it boots from now on, from nz-b" in agent.ok("commit")
        assert "  FALLBACK   web-1.0 in slice nz-a" in agent.run("status").out
        assert upgrade.flags() == [[], ["bootme"]]
        journal = upgrade.journal()
        assert journal.phase == "committed" and journal.revert == ()
        assert journal.image is not None and journal.image.as_dict() == upgrade.refs["1.1"]
        assert journal.fallback is not None and journal.fallback.as_dict() == upgrade.refs["1.0"]
        assert self.remembered(agent)["phase"] == "committed"
        before = agent.host.fingerprint()
        assert "is committed already" in agent.ok("commit")
        assert agent.host.fingerprint() == before
        assert upgrade.fleet.play().look()["step"] == "done"

    def test_the_decision_goes_first_then_the_flags(self, upgrade: Upgrade) -> None:
        """A cut after the decision leaves what the agent can finish."""
        agent = upgrade.try_it()
        agent.ok("commit")
        changing = [argv for argv in agent.ran if argv[:2] in (("gpart", "commit"), ("zfs", "set"))]
        assert [argv[0] for argv in changing] == ["zfs", "gpart", "zfs"]
        assert "nanozfs:phase=committing" in changing[0] and "nanozfs:phase=committed" in changing[2]

    def test_not_while_a_play_is_at_work(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        other = upgrade.fleet.play()
        other.open()
        assert "another play is at work on this host: alice" in agent.refused("commit")
        assert "is committed" in agent.ok("commit", "--take-over")

    def test_only_a_trial(self, agent: AgentHost) -> None:
        assert "the journal is in phase idle; to commit it would have to be in phase" in agent.refused("commit")

    def test_not_before_the_trial(self, upgrade: Upgrade) -> None:
        assert "  OTHER      web-1.1 in slice nz-b" in upgrade.agent.run("status").out
        assert "the journal is in phase armed" in upgrade.agent.refused("commit")

    def test_only_the_image_of_the_transaction(self, upgrade: Upgrade, images: Images) -> None:
        agent = upgrade.try_it()
        with agent.host.open_device("/dev/gpt/nz-b", writable=True) as device:
            device.write(0, images.content("1.2"))
        assert "the new system does not run" in agent.refused("commit")

    def test_not_a_system_that_did_not_find_its_data(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        agent.kenv("nanozfs.state=recovery", "nanozfs.reason=there is no dataset tank/nanozfs/var")
        assert "not fit to be kept" in agent.refused("commit")

    def test_gpart_fails(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        agent.replies["gpart"] = lambda argv: (1, "", "gpart: Input/output error\n")
        failed = agent.run("commit")
        assert failed.rc == 3 and "the boot flags on ada0 are as they were" in failed.err
        assert upgrade.journal().phase == "committing"
        del agent.replies["gpart"]
        assert "finished an interrupted commit" in agent.ok("reconcile")


class TestReconcile:
    def half(self, upgrade: Upgrade) -> AgentHost:
        """The power fails between the two halves of a commit."""
        agent = upgrade.try_it()
        agent.host.command("zfs", "set", "nanozfs:phase=committing", ROOT)
        agent.host.ok("gpart_slice", slice="running", state="active")
        agent.restart("nz-b")
        return agent

    def test_flags_alone_are_no_commit(self, upgrade: Upgrade) -> None:
        """Somebody turned them by hand: nobody has checked anything."""
        agent = upgrade.try_it()
        agent.host.ok("gpart_slice", slice="running", state="active")
        agent.restart("nz-b")
        assert agent.ok("reconcile", "--quiet") == "" and upgrade.journal().phase == "trial"

    def test_a_medium_that_was_replaced_is_no_commit(self, upgrade: Upgrade) -> None:
        agent = self.half(upgrade)
        with agent.host.open_device("/dev/gpt/nz-state", writable=True) as device:
            device.write(0, bytes(MIB))
        assert agent.ok("reconcile", "--quiet") == "" and upgrade.journal().phase == "committing"
        assert "nobody has tried this system" in agent.refused("commit")

    def test_finishes_a_commit(self, upgrade: Upgrade) -> None:
        agent = self.half(upgrade)
        assert "nanozfs reconcile" in agent.run("status").out
        assert "finished an interrupted commit" in agent.ok("reconcile")
        assert upgrade.journal().phase == "committed" and upgrade.flags() == [[], ["bootme"]]
        assert agent.ok("reconcile", "--quiet") == ""
        assert agent.ok("reconcile") == "there is nothing to finish\n"

    def test_commit_by_hand_does_it_as_well(self, upgrade: Upgrade) -> None:
        agent = self.half(upgrade)
        agent.ok("commit")
        assert upgrade.journal().phase == "committed"

    def test_leaves_a_trial_alone(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        identity.remember(Runner(agent.execute), agent.places)  # which it does besides
        before = agent.host.fingerprint()
        assert agent.ok("reconcile", "--quiet") == "" and agent.host.fingerprint() == before

    def test_leaves_the_old_system_alone(self, upgrade: Upgrade) -> None:
        """The trial ended by a restart, and the early hook has not moved the journal yet."""
        agent = upgrade.try_it()
        agent.restart("nz-a")
        identity.remember(Runner(agent.execute), agent.places)  # which it does besides
        before = agent.host.fingerprint()
        assert agent.ok("reconcile", "--quiet") == "" and agent.host.fingerprint() == before

    def test_not_in_recovery_mode(self, upgrade: Upgrade) -> None:
        agent = self.half(upgrade)
        agent.kenv("nanozfs.state=recovery")
        agent.ok("reconcile")
        assert upgrade.journal().phase == "committing"

    def test_without_a_pool(self, agent: AgentHost) -> None:
        agent.lose_pool("ada1", "ada2")
        assert "there is no dataset tank/nanozfs" in agent.refused("reconcile")


class TestMbr:
    """The flags of an MBR are two writes: the active slice, and boot0's default, which says what is committed."""

    def try_it(self, upgrade: Upgrade, images: Images) -> AgentHost:
        agent = upgrade.try_it()
        agent.host.machine.remove_disk("ada0")
        make_mbr_medium(agent.host.machine, SLICE, {"nz-a": images.content("1.0"), "nz-b": images.content("1.1")})
        boot_mbr(agent.host.machine, "nz-b")
        agent.host.command("zpool", "import", "-f", "-N", "-o", "cachefile=none", "tank")
        agent.mount_cfg()
        medium = read_medium(Runner(agent.host.machine.execute))
        assert remember(medium, {"armed": upgrade.txn}) == ""
        return agent

    @pytest.mark.parametrize("done", [(), ("active",), ("active", "default")])
    def test_commit_past_cuts(self, upgrade: Upgrade, images: Images, done: Tuple[str, ...]) -> None:
        agent = self.try_it(upgrade, images)
        if "active" in done:
            agent.host.command("gpart", "set", "-a", "active", "-i", "3", "ada0")
        if "default" in done:
            agent.host.command("boot0cfg", "-s", "3", "ada0")
        if done:
            agent.host.command("zfs", "set", "nanozfs:phase=committing", ROOT)
        # without the decision in the journal nobody has checked it
        said = agent.ok("reconcile", "--quiet")
        assert "finished" in said if done else said == ""
        agent.ok("commit")
        assert "active" in agent.host.flags()["ada0s3"] and upgrade.journal().phase == "committed"
        assert agent.host.machine.hardware["disks"]["ada0"]["boot0"] == 3

    def test_revert(self, upgrade: Upgrade, images: Images) -> None:
        agent = self.try_it(upgrade, images)
        agent.ok("revert")
        assert "active" in agent.host.flags()["ada0s2"] and upgrade.journal().phase == "reverting"
        assert "starts web-1.0 in slice nz-a" in " ".join(agent.run("recovery", typed=["4", ""]).out.split())


class TestRevert:
    def restarts(self, agent: AgentHost) -> bool:
        return agent.ran[-1] == ("shutdown", "-r", "now")

    def test_without_the_pool_the_medium_remembers(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        agent.ok("revert")
        agent.lose_pool("ada1", "ada2")
        said = " ".join(agent.run("status").out.split())
        assert "the OS medium remembers: upgrade 0001-" in said and "from 1.0 to 1.1, phase reverting" in said

    def test_a_trial(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        assert "1.1" in agent.ok("revert", "--reason", "it is slow") and self.restarts(agent)
        journal = upgrade.journal()
        assert (journal.phase, journal.reason, journal.bad) == ("reverting", "it is slow", (upgrade.refs["1.1"]["id"],))
        assert upgrade.flags() == [["bootme"], ["bootonce"]], "a plain restart leads back"

    def test_again(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        agent.ok("revert", "--reason", "it is slow")
        agent.ok("revert")
        assert upgrade.journal().reason == "it is slow" and self.restarts(agent)

    def test_half_a_commit(self, upgrade: Upgrade) -> None:
        agent = TestReconcile().half(upgrade)
        agent.ok("revert")
        assert upgrade.journal().phase == "reverting" and upgrade.flags() == [["bootme"], []]

    def test_half_a_commit_without_the_old_system(self, upgrade: Upgrade) -> None:
        agent = TestReconcile().half(upgrade)
        with agent.host.open_device("/dev/gpt/nz-a", writable=True) as device:
            device.write(0, bytes(MIB))
        assert "nothing to go back to" in agent.refused("revert")

    def test_armed_but_not_started(self, upgrade: Upgrade) -> None:
        agent = upgrade.agent
        said = agent.ok("revert")
        assert "will not begin" in said and upgrade.journal().phase == "written"
        assert upgrade.flags() == [["bootme"], []] and not self.restarts(agent), "live data is not touched"

    def test_without_its_pool_a_restart_is_all_it_takes(self, upgrade: Upgrade) -> None:
        agent = upgrade.try_it()
        agent.kenv("nanozfs.import=hung", "nanozfs.state=recovery")
        assert "a restart ends the trial all the same" in agent.ok("revert") and self.restarts(agent)

    def test_nothing_to_take_back(self, agent: AgentHost) -> None:
        assert "the journal is in phase idle; to revert it would have to be in phase" in agent.refused("revert")
