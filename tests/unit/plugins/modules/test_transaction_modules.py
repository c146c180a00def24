# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of a transaction: what they do, what they refuse, and that nothing is lost between two calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import save
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import Outcome
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import command
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease, preflight, staging
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.plugins.modules import rollback_info, transaction, trial, upgrade_info
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost
from ansible_collections.nanozfs.fleet.tests.unit.transactions import BOB, CFG, LOG, ROOT, VAR, Fleet, Play


@pytest.fixture
def fleet(pooled: ModuleHost, images: Images) -> Fleet:
    return Fleet(pooled, images)


class TestUpgrade:
    def test_kept(self, fleet: Fleet) -> None:
        fleet.write("old")
        play = fleet.play()
        txn = play.until_armed()
        assert fleet.journal.phase == "armed" and fleet.restarts
        fleet.write("the last that the old system accepted")
        assert fleet.start() == "nz-b" and fleet.journal.phase == "trial"
        kept = play.trial("check")
        assert (kept["next"], kept["story"]["result"]) == ("end", "committed"), kept
        journal = fleet.journal
        assert journal.phase == "committed" and journal.image == journal.target and journal.fallback_txn == txn
        assert journal.lease is None and journal.revert == ()
        assert fleet.host.flags()["nz-b"] == ["bootme"] and fleet.host.flags()["nz-a"] == []
        assert fleet.start() == "nz-b"
        assert fleet.files() == ["the last that the old system accepted"] * 3
        assert "nanozfs" in fleet.host.command("zfs", "holds", "-H", "{0}@nz-{1}".format(ROOT, txn))

    def test_taken_back(self, fleet: Fleet) -> None:
        fleet.write("old")
        play = fleet.play()
        txn = play.until_armed()
        fleet.write("the last that the old system accepted")
        fleet.start()
        fleet.write("what the new one made of it")
        asked = play.trial("check", services=["fleetapp"], retries=1)
        assert (asked["next"], asked["bad"]) == ("revert", True) and "not running: fleetapp" in asked["reason"]
        assert play.trial("revert", reason=asked["reason"], bad=True)["next"] == "wait"
        assert fleet.start() == "nz-a"
        assert fleet.files() == ["the last that the old system accepted"] * 2 + ["what the new one made of it"]
        failed = "{0}/failed/{1}".format(ROOT, txn)
        assert fleet.host.read(failed + "/cfg", "rc.conf") == "what the new one made of it"
        ended = play.trial("look", boot_id="before")
        assert ended["story"]["result"] == "reverted" and failed in ended["story"]["safe"]
        assert "var/log was kept as it is" in ended["story"]["safe"]
        assert "list of bad images" in ended["story"]["todo"]
        again = fleet.play().look()
        assert again["failed"] and "list of bad images" in again["msg"] and "upgrade_allow_bad" in again["msg"]
        assert fleet.play().look(allow_bad=True)["step"] == "prepare"

    def test_the_restart_did_not_happen(self, fleet: Fleet) -> None:
        """Armed is not yet tried: live data is never replaced by older data unless the new system ran."""
        fleet.write("old")
        play = fleet.play()
        play.until_armed()
        fleet.restarts[-1]["on_refused"]("shutdown -r now was refused: /var/run/noshutdown is present")
        assert fleet.journal.phase == "written" and fleet.host.flags()["nz-b"] == []
        seen = play.trial("look", boot_id=lease.moment(command.Runner(fleet.host.machine.execute)).boot)
        assert seen["next"] == "end" and seen["story"]["result"] == "not begun" and "noshutdown" in seen["refused"]
        fleet.write("three days of mail")
        assert fleet.start() == "nz-a"
        assert fleet.files() == ["three days of mail"] * 3
        assert fleet.journal.phase == "written" and fleet.journal.bad == ()

    def test_reverting_what_never_ran_is_only_disarming(self, fleet: Fleet) -> None:
        play = fleet.play()
        play.until_armed()
        fleet.write("three days of mail")
        back = play.trial("revert", reason="the controller lost patience")
        assert back["next"] == "end" and fleet.journal.phase == "written"
        fleet.start()
        assert fleet.files() == ["three days of mail"] * 3 and fleet.journal.bad == ()

    def test_a_power_cut_instead_of_the_restart(self, fleet: Fleet) -> None:
        """The next start is the trial then, and nobody waits for it; the one after that goes back."""
        fleet.write("old")
        fleet.play().until_armed()
        fleet.write("late")
        assert fleet.start() == "nz-b"
        fleet.write("new")
        assert fleet.start() == "nz-a"
        assert fleet.files() == ["late", "late", "new"]
        assert fleet.journal.phase == "reverted" and fleet.journal.bad == (), "nobody has found the image wrong"

    @pytest.mark.parametrize("after", range(5))
    def test_power_cuts_at_the_beginning_of_the_trial(self, fleet: Fleet, after: int) -> None:
        fleet.write("old")
        fleet.play().until_armed()
        try:
            fleet.start(after)
        except Exception as error:
            assert type(error).__name__ == "PowerCut"
        assert fleet.start() == "nz-a"
        assert fleet.files() == ["old"] * 3
        assert fleet.journal.phase in ("reverted", "written")

    def test_interrupted_everywhere(self, fleet: Fleet) -> None:
        """Another play goes on after each call, once the lease of the one before is over."""
        fleet.write("old")
        first = fleet.play(lease_seconds=0)
        txn = first.open()["txn"]
        second = fleet.play(BOB, lease_seconds=0)
        assert second.look()["step"] == "write" and second.open()["txn"] == txn
        assert second.write()["failed"] is False
        third = fleet.play(lease_seconds=0)
        assert third.look()["step"] == "arm"
        assert third.until_armed() == txn
        fourth = fleet.play(BOB)
        assert fourth.look()["step"] == "arm", "armed, and not restarted: the old system runs"
        assert fourth.until_armed() == txn
        assert fleet.start() == "nz-b"
        opened = fourth.open()
        assert (opened["step"], opened["todo"]["step"]) == ("check", "check")
        assert fourth.trial("check")["story"]["result"] == "committed"

    def test_manual(self, fleet: Fleet) -> None:
        play = fleet.play()
        play.until_armed()
        fleet.start()
        left = play.trial("check", commit="manual")
        assert left["story"]["result"] == "on trial" and fleet.journal.lease is None
        other = fleet.play(BOB)
        adopted = other.trial("adopt")
        assert adopted["next"] == "check"
        other.lease = adopted["lease"]
        assert other.trial("check")["story"]["result"] == "committed"
        again = fleet.play().trial("adopt")
        assert again["story"]["result"] == "committed" and not again["changed"]

    def test_old_states_are_pruned_by_a_commit(self, fleet: Fleet) -> None:
        for _number in range(5):
            play = fleet.play(allow_bad=True)
            play.until_armed()
            fleet.start()
            fleet.start()
        play = fleet.play(allow_bad=True)
        play.until_armed()
        fleet.start()
        assert play.trial("check", keep_failed=2)["story"]["result"] == "committed"
        left = [name for name in fleet.host.names("filesystem") if name.count("/") == 3 and "/failed/" in name]
        assert len(left) == 2
        tops = [name for name in fleet.host.names("snapshot") if name.startswith(ROOT + "@nz-")]
        assert len(tops) == 2 and any(str(fleet.journal.fallback_txn) in name for name in tops)

    def test_check_mode_changes_nothing(self, fleet: Fleet) -> None:
        fleet.host.monkeypatch.setattr("secrets.token_hex", lambda size: "ab" * size)
        now = lease.Moment("boot", 1.0)
        fleet.host.monkeypatch.setattr(lease, "moment", lambda runner: now)
        fleet.host.monkeypatch.setattr("time.strftime", lambda *arguments: "now")
        # the journal has when it was opened
        fleet.host.monkeypatch.setattr(JournalStore.__init__, "__defaults__", (lambda: 1.8e9,))
        arguments: Dict[str, Any] = {"running": fleet.refs["1.0"], "target": fleet.refs["1.1"], "min_free": MIB}
        before = fleet.host.fingerprint()
        would = fleet.host.ok("transaction", check=True, state="opened", **arguments)
        assert would["changed"] and fleet.host.fingerprint() == before
        assert would["journal"]["phase"] == "prepared"
        assert "nanozfs:times=prepared=1800000000" in would["actions"][0], "the clock is the one of this test"
        assert would["actions"] == fleet.host.ok("transaction", state="opened", **arguments)["actions"]


class TestConfiguration:
    """The configuration for a new system is made beside the one that is in force."""

    def staged(self, fleet: Fleet) -> Any:
        play = fleet.play()
        play.open()
        play.write()
        found = play._call("transaction", state="staged")
        assert not found["failed"], found["msg"]
        return play, found

    def test_it_has_a_place_of_its_own(self, fleet: Fleet) -> None:
        play, found = self.staged(fleet)
        assert found["path"].endswith("next-" + play.lease[:8]) and fleet.journal.staged
        assert ROOT + "/next" in fleet.host.names("filesystem")
        mounted = fleet.host.command("mount", "-p")
        assert found["path"] in mounted
        assert not play.trial("begin")["failed"]
        assert found["path"] not in fleet.host.command("mount", "-p"), "nobody changes it any more"

    def test_one_with_which_the_host_would_not_come_up_is_refused(self, fleet: Fleet) -> None:
        play, found = self.staged(fleet)
        fleet.outcome = Outcome("/cfg/rc.conf is broken: Syntax error", [("motd", "it is a fifo")])
        refused = play.trial("begin")
        assert refused["failed"] and "rc.conf is broken: Syntax error; motd: it is a fifo" in refused["msg"]
        assert "upgrade_cfg_tasks" in refused["msg"] and fleet.journal.phase == "written" and not fleet.restarts
        assert found["path"] in fleet.host.command("mount", "-p"), "it can be mended"

    def test_giving_up_throws_it_away(self, fleet: Fleet) -> None:
        play, _found = self.staged(fleet)
        given_up = play._call("transaction", state="abandoned")
        assert given_up["changed"] and "thrown away" in given_up["says"]
        assert ROOT + "/next" not in fleet.host.names("filesystem") and not fleet.journal.staged

    def test_giving_up_ends_the_write_that_is_at_work(self, fleet: Fleet) -> None:
        """Or it would go on for hours on a thin line, at the rate of a play that is over."""
        play, _found = self.staged(fleet)
        script = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); "
        script += "time.sleep(99)"
        os.makedirs(job.RUN_DIR, exist_ok=True)
        writer = job.Job("nz-b")
        with subprocess.Popen([sys.executable, "-c", script, writer._lock_path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            writer.save({"job": "1", "image": "x", "pid": process.pid, "finished": False})
            assert writer.under_way()
            given_up = play._call("transaction", state="abandoned")
            assert process.wait(5) == -9 and not writer.under_way()
        assert given_up["says"].endswith("the write that was at work on nz-b was ended")

    def test_so_does_a_commit_with_the_snapshot_of_the_trial(self, fleet: Fleet) -> None:
        play, _found = self.staged(fleet)
        play.trial("begin")
        fleet.start()
        assert play.trial("check")["story"]["result"] == "committed"
        assert not [name for name in fleet.host.names("filesystem,snapshot") if name.startswith(ROOT + "/next")]

    def test_what_is_not_ours_stays(self, fleet: Fleet) -> None:
        fleet.host.command("zfs", "create", ROOT + "/next")
        play = fleet.play()
        play.open()
        play.write()
        found = play._call("transaction", state="staged")
        assert found["failed"] and "was not made by this collection" in found["msg"]


@pytest.fixture(name="edited")
def fixture_edited(agent: AgentHost, images: Images, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A host on which somebody has changed a file of /etc, and saved nothing."""
    for module in (upgrade_info, rollback_info, transaction, trial):
        monkeypatch.setattr(module, "PLACES", agent.places)
    monkeypatch.setattr(save, "rehearse", lambda *arguments: Outcome("", []))
    agent.put("etc", "motd", "ours\n")
    agent.put("etc", "made.db", "by whatever made it\n")
    agent.kenv("nanozfs.state=normal")
    return Fleet(agent.host, images)


APP = "local/app.conf"


class TestMerge:
    """The files in /cfg with those of the new system."""

    @pytest.fixture(name="merging")
    def fixture_merging(self, agent: AgentHost, images: Images, monkeypatch: pytest.MonkeyPatch) -> Fleet:
        for module in (upgrade_info, transaction, trial):
            monkeypatch.setattr(module, "PLACES", agent.places)
        agent.kenv("nanozfs.state=normal")
        os.unlink(os.path.join(agent.places.base, "rc.conf"))  # the images have none
        agent.put("base", APP, images.configuration("1.0"))
        self.override(agent, images.configuration("1.0", "2"))
        fleet, make = Fleet(agent.host, images), staging.make

        def with_files(runner: Any, root: str, where: str) -> None:  # cp is no command of the model
            make(runner, root, where)
            if not runner.check_mode:
                shutil.copytree(agent.places.cfg, where, dirs_exist_ok=True)

        monkeypatch.setattr(staging, "make", with_files)
        monkeypatch.setattr(staging, "CFG", agent.places.cfg)
        return fleet

    @staticmethod
    def override(agent: AgentHost, text: str) -> None:
        for tree in ("cfg", "etc"):
            agent.put(tree, APP, text)

    @staticmethod
    def text(found: Dict[str, Any], path: str = APP) -> str:
        with open(os.path.join(found["path"], path), encoding="utf-8") as file:
            return file.read()

    def staged(self, fleet: Fleet, **merge: str) -> Dict[str, Any]:
        play = fleet.play()
        assert not play.open()["failed"]
        play.write()
        return play._call("transaction", state="staged", merge=merge)

    def test_foretold_and_done(self, merging: Fleet, agent: AgentHost, images: Images) -> None:
        before = agent.host.fingerprint()
        seen = merging.play().look(merge={})
        assert seen["says"].endswith("; of /cfg with the new system: 1 is merged (local/app.conf)")
        assert seen["todo"]["stage"] and agent.host.fingerprint() == before
        found = self.staged(merging)
        assert not found["failed"], found["msg"]
        assert found["merge"] == seen["merge"] and found["merge"]["merged"] == [APP]
        assert found["says"] == "of /cfg with the new system: 1 is merged (local/app.conf)"
        assert self.text(found) == images.configuration("1.1", "2")
        assert agent.get("cfg", APP) == images.configuration("1.0", "2"), "what is in force was changed"
        again = merging.play(take_over=True).look(merge={})
        assert not again["failed"], again["msg"]
        assert (again["step"], again["merge"]) == ("arm", seen["merge"]), "the slice holds it by now"

    def test_not_asked_for(self, merging: Fleet, images: Images) -> None:
        seen = merging.play().look()
        assert seen["merge"] is None and not seen["todo"]["stage"]
        kept = merging.play().look(merge={"*": "keep"})
        assert kept["merge"]["kept"] == 3 and not kept["todo"]["stage"]
        play = merging.play()
        play.open()
        play.write()
        found = play._call("transaction", state="staged")
        assert "merge" not in found and self.text(found) == images.configuration("1.0", "2")
        assert merging.play(take_over=True).look(merge={"*": "keep"})["todo"]["stage"], "it may be of other wishes"

    def test_what_both_changed_is_refused_before_anything_is_done(
        self, merging: Fleet, agent: AgentHost, images: Images
    ) -> None:
        self.override(agent, images.configuration("mine"))
        before = agent.host.fingerprint()
        refused = merging.play().look(merge={})
        assert refused["failed"] and agent.host.fingerprint() == before
        assert "local/app.conf, " in refused["msg"] and "Safe now: nothing was changed" in refused["msg"]
        assert [each["yours"] for each in refused["conflicts"]] == ["since = mine"]
        assert [each["new"] for each in refused["conflicts"]] == ["since = 1.1"]
        assert not merging.play().look(merge={"local/*": "ours"})["failed"]
        late = self.staged(merging)
        assert late["failed"] and "the configuration in force was not changed" in late["msg"]
        assert not merging.journal.staged and ROOT + "/next" not in agent.host.names("filesystem")

    @pytest.mark.parametrize("policy", ["ours", "theirs"])
    def test_who_wins(self, merging: Fleet, agent: AgentHost, images: Images, policy: str) -> None:
        self.override(agent, images.configuration("mine", "2"))
        found = self.staged(merging, **{"/usr/local/etc/app.conf": policy})
        assert not found["failed"], found["msg"]
        assert self.text(found) == images.configuration({"ours": "mine", "theirs": "1.1"}[policy], "2")
        assert found["merge"]["conflicts"][0]["policy"] == policy

    def test_it_follows_the_image_again(self, merging: Fleet, agent: AgentHost, images: Images) -> None:
        self.override(agent, images.configuration("1.0"))
        found = self.staged(merging)
        assert not found["failed"], found["msg"]
        assert found["merge"]["follows"] == [APP] and not os.path.lexists(os.path.join(found["path"], APP))

    def test_the_new_system_judges_it(self, merging: Fleet, monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
        """With its own /etc below what is merged."""
        judged: List[Any] = []

        def rehearsed(_runner: Any, places: Any, _changes: Any) -> Outcome:
            with open(os.path.join(places.base, APP), encoding="utf-8") as base:
                judged.append((base.read(), places.cfg))
            return Outcome(
                "", [("old", "left out as before"), ("rc.d/new", "only the image has it")][: 3 - len(judged)]
            )

        monkeypatch.setattr(trial, "rehearse", rehearsed)
        play = merging.play()
        play.open()
        play.write()
        found = play._call("transaction", state="staged", merge={})
        refused = play.trial("begin")
        assert refused["failed"] and "would not do: rc.d/new: only the image has it" in refused["msg"]
        assert [text for text, _cfg in judged] == [images.configuration("1.1"), images.configuration("1.0")]
        assert judged[0][1] == found["path"]

    @pytest.mark.parametrize("params", [{"push": True}, {"max_transfer": 1}])
    def test_what_can_only_be_told_later(
        self, merging: Fleet, images: Images, tmp_path: Any, params: Dict[str, Any]
    ) -> None:
        """The host cannot fetch it: it is brought there, when it is written."""
        small = images.copy(str(tmp_path))
        for name in os.listdir(small):
            if name.endswith((".pack", ".delta")):
                os.unlink(os.path.join(small, name))
        seen = merging.host.run("upgrade_info", **dict(merging.wanted("1.1"), repository=small, merge={}))
        assert not seen["failed"], seen["msg"]
        assert seen["merge"] is None and seen["todo"]["stage"]
        assert "only known when it is written" in " ".join(seen["warnings"])

    def test_nonsense_is_refused_at_once(self, merging: Fleet) -> None:
        assert "upgrade_merge: 'a': 'mine'" in merging.play().look(merge={"a": "mine"})["msg"]

    def test_a_check_makes_nothing(self, merging: Fleet, agent: AgentHost) -> None:
        play = merging.play()
        play.open()
        play.write()
        before = agent.host.fingerprint()
        would = merging.host.run("transaction", True, state="staged", merge={}, lease=play.lease)
        assert not would["failed"] and "merge" not in would and agent.host.fingerprint() == before

    def test_what_comes_to_cfg_after_it_was_made_is_not_lost(self, merging: Fleet, agent: AgentHost) -> None:
        """The copy would take the place of it at the restart: somebody saved on the host meanwhile."""
        play = merging.play()
        play.open()
        play.write()
        assert not play._call("transaction", state="staged", merge={})["failed"]
        for tree in ("cfg", "etc"):
            agent.put(tree, "own.conf", "saved meanwhile\n")
        refused = play.trial("begin")
        assert refused["failed"] and "/cfg was changed, and that would be lost" in refused["msg"]
        assert merging.journal.phase == "written" and not merging.restarts
        again = play._call("transaction", state="staged", merge={})
        assert not again["failed"], again["msg"]
        assert self.text(again, "own.conf") == "saved meanwhile\n" and not play.trial("begin")["failed"]

    def test_what_an_earlier_play_has_made_is_not_taken_for_whole(
        self, merging: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut while it is made anew leaves it by half, and the journal must not say that it is there."""
        assert not self.staged(merging)["failed"] and merging.journal.staged

        def cut(*_arguments: Any) -> None:
            raise KeyError("the power fails")

        monkeypatch.setattr(staging, "make", cut)
        play = merging.play(take_over=True)
        assert not play.open()["failed"]
        with pytest.raises(KeyError):
            play._call("transaction", state="staged", merge={})
        assert not merging.journal.staged


class TestUnsaved:
    """What a restart would take of /etc."""

    def test_it_is_refused_before_anything_is_done(self, edited: Fleet) -> None:
        before = edited.host.fingerprint()
        for found in (edited.play().look(), edited.play().open()):
            assert found["failed"] and "a restart takes them: motd. " in found["msg"]
            assert "upgrade_unsaved=save" in found["msg"] and "upgrade_unsaved=drop" in found["msg"]
        assert edited.host.fingerprint() == before

    def test_it_is_saved(self, edited: Fleet, agent: AgentHost) -> None:
        play = edited.play()
        seen = play.look(unsaved="save")
        assert seen["says"].endswith("unsaved changes in /etc would be saved: motd")
        assert seen["warnings"] == ["new in /etc and saved nowhere, so a restart takes it: made.db"]
        assert agent.get("cfg", "motd") is None, "a look changes nothing"
        assert not play.open(unsaved="save")["failed"]
        assert agent.get("cfg", "motd") == "ours\n" and agent.get("cfg", "made.db") is None
        play.write()
        agent.put("etc", "motd", "ours, later\n")
        begun = play.trial("begin", unsaved="save")
        assert not begun["failed"] and begun["warnings"] == seen["warnings"]
        assert agent.get("cfg", "motd") == "ours, later\n"

    def test_it_is_let_go(self, edited: Fleet, agent: AgentHost) -> None:
        play = edited.play(unsaved="drop")
        assert play.look(unsaved="drop")["says"].endswith("unsaved changes in /etc would be lost: motd")
        play.open()
        play.write()
        assert not play.trial("begin", unsaved="drop")["failed"] and agent.get("cfg", "motd") is None

    def test_what_comes_while_the_image_is_written(self, edited: Fleet, agent: AgentHost) -> None:
        agent.put("etc", "motd", "welcome\n")
        play = edited.play()
        assert not play.open()["failed"]
        play.write()
        agent.put("etc", "motd", "ours\n")
        refused = play.trial("begin")
        assert refused["failed"] and "a restart takes them: motd" in refused["msg"]
        assert edited.journal.phase == "written" and not edited.restarts

    def test_what_comes_after_the_copy_of_cfg(self, edited: Fleet, agent: AgentHost) -> None:
        """Saved now, it would go with /cfg, whose place the copy takes."""
        play = edited.play(unsaved="save")
        play.open()
        play.write()
        assert not play._call("transaction", state="staged")["failed"]
        agent.put("etc", "motd", "ours, later\n")
        refused = play.trial("begin", unsaved="save")
        assert refused["failed"] and "after the configuration for the new system was made" in refused["msg"]
        assert "run the play again" in refused["msg"] and not edited.restarts
        assert not play.trial("begin", unsaved="drop")["failed"]

    def test_a_rollback_says_it_with_its_own_variable(self, edited: Fleet, agent: AgentHost) -> None:
        agent.put("etc", "motd", "welcome\n")
        play = edited.play()
        play.until_armed()
        edited.start()
        assert play.trial("check")["story"]["result"] == "committed"
        agent.put("etc", "motd", "ours\n")
        assert "rollback_unsaved=save" in edited.host.refused("rollback_info", min_free=MIB)
        message = edited.host.refused("rollback_info", min_free=MIB, unsaved="save", data="restore")
        assert "cannot be saved over a rollback with the data, which puts /cfg aside: motd" in message
        seen = edited.host.ok("rollback_info", min_free=MIB, unsaved="drop")
        assert seen["says"].endswith("unsaved changes in /etc would be lost: motd")


class TestTwoPlays:
    def test_the_second_is_refused(self, fleet: Fleet) -> None:
        first, second = fleet.play(), fleet.play(BOB)
        first.open()
        for found in (second.look(), second.open()):
            assert (
                found["failed"] and "another play is at work on this host: alice@controller, process 1" in found["msg"]
            )
            assert "upgrade_take_over=true" in found["msg"] and "Safe now: nothing was changed" in found["msg"]
        assert fleet.journal.lease is not None and fleet.journal.lease.holder["user"] == "alice"

    def test_it_looked_before_the_first_one_began(self, fleet: Fleet) -> None:
        """B looks, A upgrades as far as the trial, B goes on: the data of before is in no danger."""
        fleet.write("before the upgrade")
        second = fleet.play(BOB)
        seen = second.look()
        assert seen["step"] == "prepare"
        first = fleet.play()
        first.until_armed()
        fleet.start()
        fleet.write("what the failed system made of it")
        late = second.open(boot_id=seen["boot_id"])
        assert late["failed"] and "was restarted since it was looked at" in late["msg"]
        assert second.open()["failed"]
        first.trial("revert", reason="it failed", bad=True)
        fleet.start()
        assert fleet.files()[:2] == ["before the upgrade"] * 2

    @pytest.mark.parametrize("point", ["opened", "written", "armed", "trial", "reverting", "closed"])
    def test_who_was_taken_over_changes_nothing_any_more(self, fleet: Fleet, point: str) -> None:
        fleet.write("old")
        first, second = fleet.play(), fleet.play(BOB, take_over=True)
        first.open()
        if point != "opened":
            first.write()
        if point in ("armed", "trial", "reverting", "closed"):
            first.trial("begin")
        if point in ("trial", "reverting", "closed"):
            fleet.start()
        if point == "reverting":
            first.trial("revert", reason="x")
        assert not second.open()["failed"]
        if point == "closed":
            assert second.trial("check")["story"]["result"] == "committed"
        before = fleet.host.fingerprint()
        calls: List[Callable[[], Dict[str, Any]]] = [
            first.write,
            lambda: first._call("transaction", state="staged"),
            lambda: first._call("transaction", state="abandoned"),
            lambda: first.trial("begin"),
            lambda: first.trial("check"),
            lambda: first.trial("revert", reason="an hour later"),
        ]
        for call in calls:
            found = call()
            assert found["failed"] or not found["changed"], found
        assert fleet.host.fingerprint() == before

    def test_its_restart_does_not_come_either(self, fleet: Fleet) -> None:
        first = fleet.play()
        first.until_armed()
        still = fleet.restarts[-1]["still"]
        with still() as wanted:
            assert wanted
        fleet.play(BOB, take_over=True).open()
        with still() as wanted:
            assert not wanted

    def test_a_lease_ends_by_itself(self, fleet: Fleet) -> None:
        fleet.play(lease_seconds=60).open()
        second = fleet.play(BOB)
        assert "ends by itself in" in second.open()["msg"]
        fleet.host.machine.load()
        fleet.host.machine.running["boottime"] -= 61
        fleet.host.machine.save()
        assert not second.open()["failed"]

    def test_a_play_that_waits_keeps_its_lease(self, fleet: Fleet) -> None:
        """And learns of it when another one has taken over."""
        first = fleet.play(lease_seconds=60)
        first.open()
        for _turn in range(3):
            fleet.host.machine.load()
            fleet.host.machine.running["boottime"] -= 40
            fleet.host.machine.save()
            held = fleet.host.run("transaction", state="held", lease=first.lease)
            assert not held["failed"] and not held["changed"]
            assert "another play is at work" in fleet.play(BOB).open()["msg"]
        fleet.play(BOB, take_over=True).open()
        assert "lost its lease" in fleet.host.refused("transaction", state="held", lease=first.lease)
        assert fleet.host.run("transaction", state="held")["failed"], "there is nothing to hold without one"

    def test_a_clock_that_is_set_does_not_end_it(self, fleet: Fleet) -> None:
        fleet.play(lease_seconds=60).open()
        real = time.time
        fleet.host.monkeypatch.setattr("time.time", lambda: real() + 86400)
        fleet.host.machine.load()
        fleet.host.machine.running["boottime"] += 86400  # the kernel sets both
        fleet.host.machine.save()
        assert fleet.play(BOB).open()["failed"]

    def test_a_restart_does_not_end_it(self, fleet: Fleet) -> None:
        fleet.play(lease_seconds=60).until_armed()
        fleet.start()
        assert "another play is at work" in fleet.play(BOB).open()["msg"]

    def test_somebody_writes_a_slice_by_hand(self, fleet: Fleet) -> None:
        fleet.play().open()
        found = fleet.host.run("image_write", **fleet.wanted("1.1"))
        assert found["failed"] and "another play is at work" in found["msg"]


class TestRollback:
    def upgraded(self, fleet: Fleet) -> None:
        fleet.write("old")
        play = fleet.play()
        play.until_armed()
        fleet.start()
        assert play.trial("check")["story"]["result"] == "committed"
        fleet.write("new")

    def roll(self, fleet: Fleet, data: str) -> Any:
        seen = fleet.host.ok("rollback_info", data=data, min_free=MIB)
        assert seen["target"] == fleet.refs["1.0"] and seen["step"] == "prepare"
        play = fleet.play(kind="rollback", data=data, allow_bad=True)
        opened = play.open("1.1", "1.0")
        assert not opened["failed"], opened["msg"]
        assert not opened["todo"]["write"] and fleet.journal.phase == "written"
        assert not play.trial("begin")["failed"]
        return play

    def test_system_only(self, fleet: Fleet) -> None:
        self.upgraded(fleet)
        play = self.roll(fleet, "keep")
        assert fleet.journal.apply == ()
        assert fleet.start() == "nz-a"
        assert play.trial("check")["story"]["result"] == "committed"
        assert fleet.files() == ["new"] * 3
        assert fleet.host.ok("rollback_info", min_free=MIB)["step"] == "done"

    def test_with_the_data(self, fleet: Fleet) -> None:
        self.upgraded(fleet)
        play = self.roll(fleet, "restore")
        fleet.start()
        assert fleet.files() == ["old", "old", "new"]
        assert play.trial("check")["story"]["result"] == "committed"

    def test_with_the_data_taken_back(self, fleet: Fleet) -> None:
        self.upgraded(fleet)
        play = self.roll(fleet, "restore")
        fleet.start()
        fleet.write("what the older system made of it")
        play.trial("revert", reason="it cannot read that", bad=True)
        assert fleet.start() == "nz-b"
        assert fleet.files()[:2] == ["new", "new"]
        story = play.trial("look", boot_id="before")["story"]
        where = "{0}/failed/{1}-undone".format(ROOT, fleet.journal.txn)
        assert where in story["safe"] and "the data of now is in its place again" in story["safe"]
        assert fleet.host.read(where + "/cfg", "rc.conf") == "what the older system made of it"
        assert "stay with 1.1" in story["todo"] and "mend the image" not in story["todo"]

    @pytest.mark.parametrize("after", range(2, 30, 3))
    def test_taken_back_from_wherever_it_was_cut(self, fleet: Fleet, after: int) -> None:
        self.upgraded(fleet)
        self.roll(fleet, "restore")
        try:
            fleet.start(after)
        except Exception as error:
            assert type(error).__name__ == "PowerCut"
        for cut in (3, 8, 15, None):
            try:
                fleet.start(cut)
                break
            except Exception as error:
                assert type(error).__name__ == "PowerCut"
        fleet.start()
        assert fleet.files() == ["new", "new", "new"] and fleet.journal.phase in ("reverted", "written")

    def test_without_an_earlier_image(self, fleet: Fleet) -> None:
        message = fleet.host.refused("rollback_info")
        assert "knows of no earlier image" in message and "nothing was changed" in message

    def test_of_data_without_its_snapshot(self, fleet: Fleet) -> None:
        self.upgraded(fleet)
        for name in [each for each in fleet.host.names("snapshot") if each.startswith(ROOT)]:
            fleet.host.command("zfs", "release", "nanozfs", name)
            fleet.host.command("zfs", "destroy", name)
        message = fleet.host.refused("rollback_info", data="restore", min_free=MIB)
        assert "there is no snapshot" in message and "nothing was changed" in message

    def test_the_other_slice_holds_something_else(self, fleet: Fleet) -> None:
        self.upgraded(fleet)
        with fleet.host.open_device("/dev/gpt/nz-a", writable=True) as device:
            device.write(0, bytes(1 << 20))
        assert "nz-a does not hold 1.0 any more" in fleet.host.refused("rollback_info", min_free=MIB)


class TestMedium:
    def test_a_spare_of_the_new_version_is_no_commit(self, fleet: Fleet, images: Images) -> None:
        """The medium dies on trial; somebody puts a fresh one in, of the new version. Nobody has checked anything."""
        fleet.write("old")
        play = fleet.play()
        play.until_armed()
        fleet.start()
        for label, content in (("nz-a", images.content("1.1")), ("nz-b", bytes(1 << 20)), ("nz-state", bytes(MIB))):
            with fleet.host.open_device("/dev/gpt/" + label, writable=True) as device:
                device.write(0, content)
        for flag in ("bootonce", "bootme"):
            fleet.host.machine.run(["gpart", "unset", "-a", flag, "-i", "5", "ada0"])
        fleet.host.command("gpart", "set", "-a", "bootme", "-i", "4", "ada0")
        assert fleet.start() == "nz-a"
        found = play.trial("check")
        assert found["failed"] and "nobody has tried this system" in found["msg"]
        assert fleet.journal.phase == "trial"
        given_up = play._call("transaction", state="abandoned")
        assert not given_up["failed"] and fleet.journal.phase == "idle"
        assert fleet.files() == ["old"] * 3

    def test_one_that_cannot_be_written_stops_nothing(self, fleet: Fleet) -> None:
        real = fleet.host.open_device

        def failing(path: str, writable: bool = False) -> Any:
            if writable and path.endswith("nz-state"):
                raise FleetError("{0} cannot be opened for writing: Input/output error".format(path))
            return real(path, writable)

        opened = "ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device.open_device"
        fleet.host.monkeypatch.setattr(opened, failing)
        play = fleet.play()
        assert "Input/output error" in play.open()["warnings"][0]
        play.write()
        play.trial("begin")
        fleet.start()
        assert play.trial("check")["story"]["result"] == "committed"

    def test_it_knows_the_transaction_and_the_pool(self, fleet: Fleet) -> None:
        txn = fleet.play().until_armed()
        known = fleet.host.ok("host_info", pool="tank", digest=False)["host"]["remembered"]
        assert (known["phase"], known["to_version"], known["armed"]) == ("armed", "1.1", txn)
        assert known["guid"] == fleet.host.command("zpool", "get", "-H", "-o", "value", "guid", "tank").strip()


class TestWrittenAhead:
    """What the playbook stage leaves: the image in the other slice, and nobody who holds the host."""

    def staged(self, fleet: Fleet) -> Play:
        play = fleet.play()
        play.open()
        play.write()
        assert play._call("transaction", state="released")["changed"]
        assert (fleet.journal.phase, fleet.journal.lease) == ("written", None)
        return play

    def test_another_play_goes_on_at_once(self, fleet: Fleet) -> None:
        txn = self.staged(fleet).fleet.journal.txn
        play = fleet.play(BOB)
        assert play.look()["todo"] == {"open": True, "write": False, "stage": False, "try": True}
        assert play.until_armed() == txn
        fleet.start()
        assert play.trial("check")["story"]["result"] == "committed"

    def test_the_host_starts_as_before(self, fleet: Fleet) -> None:
        self.staged(fleet)
        fleet.start()
        assert fleet.host.ok("host_info", pool="tank")["host"]["running"]["version"] == "1.0"
        assert fleet.journal.phase == "written"

    def test_another_version_takes_its_place(self, fleet: Fleet) -> None:
        first = self.staged(fleet).fleet.journal.txn
        play = fleet.play(BOB)
        look = play.look("1.2")
        assert look["step"] == "prepare" and look["says"].endswith("; 1.1, which was only written ahead, is given up")
        assert fleet.journal.txn == first, "a look changes nothing"
        opened = play.open(target="1.2")
        assert opened["todo"]["write"] and opened["diff"]["before"]["txn"] == first
        assert (fleet.journal.phase, fleet.journal.count) == ("prepared", 2)

    def test_what_runs_already_leaves_it(self, fleet: Fleet) -> None:
        self.staged(fleet)
        before = fleet.host.fingerprint()
        look = fleet.play(BOB).look("1.0")
        assert look["step"] == "done" and not look["todo"]["open"] and fleet.host.fingerprint() == before

    def test_a_rollback_is_as_good(self, fleet: Fleet) -> None:
        """From the host's side it is another target."""
        play = fleet.play()
        play.until_armed()
        fleet.start()
        assert play.trial("check")["story"]["result"] == "committed"
        play = fleet.play(BOB)
        play.open("1.1", "1.2")
        play.write("1.2")
        play._call("transaction", state="released")
        found = fleet.play()._call("rollback_info")
        assert found["failed"] and "does not hold 1.0 any more" in found["msg"]

    def test_only_who_holds_it_can_let_go(self, fleet: Fleet) -> None:
        play = fleet.play()
        play.open()
        before = fleet.host.fingerprint()
        refused = fleet.play(BOB)._call("transaction", state="released")
        assert refused["failed"] and fleet.host.fingerprint() == before
        assert not play._call("transaction", state="released", check=True)["failed"]
        assert fleet.host.fingerprint() == before


class TestRefused:
    def refused(self, fleet: Fleet, **more: Any) -> str:
        before = fleet.host.fingerprint()
        found = fleet.play().look(**dict({"min_free": MIB}, **more))
        assert found["failed"] and fleet.host.fingerprint() == before
        assert "nothing was changed" in found["msg"] and "Next: " in found["msg"]
        return str(found["msg"])

    def test_a_second_one(self, fleet: Fleet) -> None:
        fleet.play(lease_seconds=0).until_armed()
        found = fleet.play(BOB).look("1.2")
        assert "a transaction is open on this host already: upgrade 0001-" in found["msg"]
        assert "nanozfs.fleet.abandon" in found["msg"]

    def test_one_whose_play_is_at_work_or_was_interrupted_is_no_staged_one(self, fleet: Fleet) -> None:
        fleet.play(lease_seconds=0).open()
        before = fleet.host.fingerprint()
        found = fleet.play().look("1.2")
        assert found["failed"] and "a transaction is open on this host already" in found["msg"]
        assert fleet.host.fingerprint() == before

    def test_too_little_space(self, fleet: Fleet) -> None:
        assert "MiB available" in self.refused(fleet, min_free=1 << 50)

    def test_degraded(self, fleet: Fleet) -> None:
        fleet.host.command("zpool", "offline", "tank", "ada3")
        assert "upgrade_allow_degraded=true" in self.refused(fleet)
        assert fleet.play().look(allow_degraded=True)["step"] == "prepare"

    def test_no_pool(self, fleet: Fleet) -> None:
        fleet.host.command("zpool", "export", "tank")
        assert "zpool import" in self.refused(fleet)

    def test_recovery_mode(self, fleet: Fleet) -> None:
        fleet.host.command("kenv", "nanozfs.state=recovery")
        fleet.host.command("kenv", "nanozfs.reason=no disks of the pool tank were found")
        assert "its state is recovery (no disks of the pool tank were found)" in self.refused(fleet)

    def test_a_dataset_that_could_not_go_back(self, fleet: Fleet) -> None:
        fleet.host.command("zfs", "set", "mountpoint=/db", VAR + "/db")
        assert VAR + "/db" in self.refused(fleet)
        assert "none" in self.refused(fleet, datasets=["none"])

    def test_a_host_that_would_not_restart(self, fleet: Fleet, tmp_path: Any) -> None:
        (tmp_path / "noshutdown").write_text("")
        fleet.host.monkeypatch.setattr(preflight, "NO_SHUTDOWN", str(tmp_path / "noshutdown"))
        assert "it refuses to be restarted" in self.refused(fleet)

    def test_a_command_that_is_none(self, fleet: Fleet) -> None:
        assert "is no command" in self.refused(fleet, commands=["echo 'unbalanced"])
        assert fleet.play().look(commands=["/bin/true", ["/bin/echo", "a b"]])["step"] == "prepare"

    @pytest.mark.parametrize("key, value", [("phase", "nonsense"), ("lease", "{"), ("count", "many")])
    def test_a_journal_that_makes_no_sense_is_no_idle_one(self, fleet: Fleet, key: str, value: str) -> None:
        fleet.host.command("zfs", "set", "nanozfs:{0}={1}".format(key, value), ROOT)
        assert "makes no sense" in self.refused(fleet)

    def test_a_journal_of_somebody_else_is_none(self, fleet: Fleet) -> None:
        fleet.host.command("zfs", "set", "nanozfs:phase=trial", "nanozfs:to=" + "c" * 64, "tank")
        assert fleet.play().look()["step"] == "prepare" and fleet.journal.phase == "idle"

    @pytest.mark.parametrize("step", ["begin", "check", "revert"])
    def test_out_of_turn(self, fleet: Fleet, step: str) -> None:
        before = fleet.host.fingerprint()
        found = fleet.play().trial(step)
        assert found["failed"] or (found["next"] == "end" and not found["changed"])
        assert fleet.host.fingerprint() == before


def test_recorded(fleet: Fleet) -> None:
    noted = fleet.host.ok("transaction", state="recorded", running=fleet.refs["1.0"])
    assert noted["changed"] and noted["journal"]["image"] == fleet.refs["1.0"]
    assert not fleet.host.ok("transaction", state="recorded")["changed"]


def test_kept_names(fleet: Fleet) -> None:
    assert (CFG, LOG) == (ROOT + "/cfg", ROOT + "/var/log")
