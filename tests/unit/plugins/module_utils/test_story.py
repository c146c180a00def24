# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Upgrades as they may go: two plays, people, starts and power cuts in any order, on the model of a host.

What the plays call is the real code, against the model's zfs, gpart and zpool; the power fails between any two
commands that change something. Whatever happens, nothing that a system in charge acknowledged is lost, the host
boots, and a play that was taken over changes nothing.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, Callable, Dict, List, Optional

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease, machine, restart, situation, staging
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.attempt import Attempt
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import Checks
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Data, Keep, Operation, Play
from ansible_collections.nanozfs.fleet.plugins.modules import transaction
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost
from ansible_collections.nanozfs.fleet.tests.unit.start import PowerCut, Supply, start
from ansible_collections.nanozfs.fleet.tests.unit.transactions import ALICE, BOB, CFG, ROOT, VAR

#: how many stories are played; tools/test asks for more, by NANOZFS_HOST_STORIES
STORIES = int(os.environ.get("NANOZFS_HOST_STORIES", "16"))

#: the plays, and the one that takes over from whoever is at work
PLAYS = ("alice", "bob")
HOLDERS = {"alice": ALICE, "bob": BOB}


class World:
    """What all stories of a test share: how a host is made, and what of this machine is replaced.

    :param template: the folder of a host that is installed and runs 1.0.
    """

    def __init__(self, template: str, images: Images, host: ModuleHost, folder: str) -> None:
        self.template, self.images, self.host, self.folder = template, images, host, folder
        self.number = 0

    def new(self) -> ModuleHost:
        """A host like the template."""
        old = os.path.join(self.folder, str(self.number))
        shutil.rmtree(old, ignore_errors=True)
        self.number += 1
        home = os.path.join(self.folder, str(self.number))
        shutil.copytree(self.template, home)
        fresh = Machine(home)
        fresh.load()
        self.host.machine = fresh
        return self.host


class Story(RuleBasedStateMachine):
    """One story.

    ``charge`` are the numbers that a system in charge wrote, ``tried`` those that one on trial wrote.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.host = world.new()
        self.tokens: Dict[str, Optional[str]] = dict.fromkeys(PLAYS)
        self.refs = {
            version: {key: built[key] for key in ("id", "build", "version")}
            for version, built in world.images.built.items()
        }
        self.slices = {"nz-a": "1.0", "nz-b": ""}
        self.label = "nz-a"
        self.number = 0
        self.charge: List[int] = []
        self.tried: List[int] = []

    @initialize()
    def begin(self) -> None:
        self.host.machine.running["boottime"] = 0.0
        start(self.host)
        self.work()

    # what there is to ask of the host

    @property
    def here(self) -> situation.Situation:
        return situation.look(Runner(self.host.machine.execute))

    def numbers(self, dataset: str) -> List[int]:
        return [int(word) for word in (self.host.read(dataset, "data") or "").split()]

    def other(self) -> str:
        return "nz-b" if self.label == "nz-a" else "nz-a"

    def attempt(self, name: str, supply: Supply) -> Attempt:
        return Attempt(
            supply.runner,
            "tank",
            Play(self.tokens[name], HOLDERS[name]),
            Data(),
            Keep(2, 100, None),
            Checks(),
            clock=lambda: 0.0,
            sleep=lambda seconds: None,
        )

    def call(self, name: str, cut: Optional[int], act: Callable[[Supply], Any]) -> Any:
        """A call of a play; the power may fail in it. What is refused has changed nothing."""
        supply = Supply(self.host.machine, cut)
        lost = self.tokens[name] is not None and not self.holds(name)
        before = self.host.fingerprint() if lost else None
        try:
            return act(supply)
        except PowerCut:
            self.start(None)
        except FleetError:
            pass
        finally:
            if before is not None and cut is None and not self.holds(name):
                assert self.host.fingerprint() == before, "a play that was taken over has changed something"
        return None

    def holds(self, name: str) -> bool:
        held = self.here.journal.lease
        return held is not None and held.token == self.tokens[name]

    plays = some.sampled_from(PLAYS)
    cuts = some.one_of(some.none(), some.none(), some.integers(0, 12))

    # what may happen

    @rule(name=plays, cut=cuts, take_over=some.booleans())
    def open(self, name: str, cut: Optional[int], take_over: bool) -> None:
        journal = self.here.journal
        running = self.slices[self.label]
        target = journal.target.as_dict() if journal.is_open and journal.target else None
        target = target or self.refs["1.1" if running == "1.0" else "1.0"]
        source = journal.source.as_dict() if journal.is_open and journal.source else None
        runs = target if source is not None and self.here.runs_target else source
        params = {
            "kind": journal.kind if journal.is_open else "upgrade",
            "pool": None,
            "running": runs or self.refs[running],
            "target": target,
            "data": "keep",
            "boot_id": None,
            "datasets": ["cfg", "var"],
            "trial_timeout": 600,
            "min_free": MIB,
            "allow_bad": True,
            "unsaved": "stop",
            "allow_degraded": False,
            "allow_mbr": False,
            "backup_wait": 0,
            "lease": None,
            "holder": HOLDERS[name],
            "lease_seconds": 600,
            "take_over": take_over,
        }

        def act(supply: Supply) -> Dict[str, Any]:
            with lease.locked():
                return transaction.opened(supply.runner, params)

        before = self.tokens[name]
        self.tokens[name] = None
        found = self.call(name, cut, act)
        self.tokens[name] = found["lease"] if found else before

    @rule(name=plays, cut=cuts)
    def write(self, name: str, cut: Optional[int]) -> None:
        journal = self.here.journal
        if journal.phase != journals.PREPARED or not self.holds(name) or journal.target is None:
            return
        version = journal.target.version
        with self.host.open_device("/dev/gpt/" + self.other(), writable=True) as device:
            device.write(0, self.world.images.content(version))
        self.slices[self.other()] = version
        token = self.tokens[name]
        self.call(name, cut, lambda supply: Operation(situation.look(supply.runner), Play(token)).run(machine.WROTE))

    @rule(name=plays, cut=cuts, fits=some.booleans())
    def stage(self, name: str, cut: Optional[int], fits: bool) -> None:
        """A configuration for the new system; or it is found that the files of /cfg cannot be merged."""
        token = self.tokens[name]

        def fit(_folder: str) -> None:
            if not fits:
                raise FleetError("both sides changed the same")

        def act(supply: Supply) -> Any:
            return Operation(situation.look(supply.runner), Play(token), fit=fit).run(machine.STAGE)

        self.call(name, cut, act)
        journal = self.here.journal
        assert not journal.staged or ROOT + "/next" in self.host.names("filesystem")

    @rule(name=plays, cut=cuts, late=some.integers(0, 2), happens=some.sampled_from([True, True, True, False]))
    def try_it(self, name: str, cut: Optional[int], late: int, happens: bool) -> None:
        """Arm and restart; the old system is written to until it goes down. Or it does not go down."""
        found = self.call(name, cut, lambda supply: self.attempt(name, supply).begin())
        for _number in range(late):
            self.work()
        if found is not None:
            if happens:
                self.start(cut if late else None)
            else:
                self.attempt(name, Supply(self.host.machine))._refused("it was refused")

    @rule(name=plays, cut=cuts)
    def check(self, name: str, cut: Optional[int]) -> None:
        self.call(name, cut, lambda supply: self.attempt(name, supply).check(True))

    @rule(name=plays, cut=cuts, bad=some.booleans(), restarts=some.booleans())
    def revert(self, name: str, cut: Optional[int], bad: bool, restarts: bool) -> None:
        found = self.call(name, cut, lambda supply: self.attempt(name, supply).revert("it failed", bad))
        if found is not None and found["next"] == "wait" and restarts:
            self.start(None)

    @rule(name=plays, cut=cuts)
    def abandon(self, name: str, cut: Optional[int]) -> None:
        token = self.tokens[name]
        self.call(name, cut, lambda supply: Operation(situation.look(supply.runner), Play(token)).run(machine.ABANDON))

    @rule(cut=some.one_of(some.none(), some.integers(0, 40)))
    def start(self, cut: Optional[int]) -> None:
        """A restart by whatever: the timer, a panic, the power. It may fail once more on the way up."""
        for number in range(5):
            try:
                self.label = start(self.host, cut if number == 0 else None)
                return
            except PowerCut:
                continue
        raise AssertionError("the host does not come up")

    @rule()
    def work(self) -> None:
        """Whoever runs writes, and somebody relies on it."""
        self.number += 1
        here = self.here
        on_trial = here.journal.is_open and here.runs_target
        (self.tried if on_trial else self.charge).append(self.number)
        for dataset in (VAR, CFG):
            self.host.write(dataset, "data", " ".join(str(each) for each in [*self.numbers(dataset), self.number]))

    # what must be so

    @invariant()
    def nothing_is_lost(self) -> None:
        if not self.charge:
            return
        here = self.here
        live = self.numbers(VAR)
        if here.journal.phase == journals.COMMITTED and here.runs_target:
            self.charge, self.tried = sorted({*self.charge, *live}), [n for n in self.tried if n not in live]
        if not (here.journal.is_open and here.runs_target):
            assert set(self.charge) <= set(live), "what a system in charge wrote is not in its data"
            assert live == self.numbers(CFG), "configuration and data do not fit"
            if here.journal.phase not in (journals.TRIAL, journals.REVERTING):
                assert not set(self.tried) & set(live), "what a failed trial wrote is in the data of the old system"
        kept = set(live)
        for name in self.host.names("filesystem"):
            if name.startswith(ROOT + "/failed/") and name.endswith("/var"):
                kept |= set(self.numbers(name))
        assert {*self.charge, *self.tried} <= kept, "something is nowhere any more"

    @invariant()
    def it_boots(self) -> None:
        flags = self.host.flags()
        good = [label for label in ("nz-a", "nz-b") if "bootme" in flags[label] and "bootonce" not in flags[label]]
        here = self.here
        assert good or here.medium.on_trial() or not self.charge, "no slice would boot but recovery"
        if good and not here.medium.on_trial() and here.journal.phase in (*journals.CLOSED, journals.PREPARED):
            assert good == [self.label], "the next start would be another system"


@pytest.fixture
def world(pooled: ModuleHost, images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    images.built  # noqa: B018 - they are there
    monkeypatch.setattr(restart, "begin", lambda runner, **more: restart.boot_id(runner))
    monkeypatch.setattr(staging, "_entries", lambda folder: [])
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    folder = os.path.join(folder, "nanozfs-stories-{0}".format(os.getpid()))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    template = os.path.join(folder, "template")
    shutil.copytree(pooled.machine.home, template)
    return World(template, images, pooled, folder)


@pytest.mark.parametrize("part", range(4))
def test_stories(world: World, part: int) -> None:
    try:
        run_state_machine_as_test(
            lambda: Story(world),  # type: ignore[arg-type] # a factory is as good as a class
            settings=settings(
                max_examples=max(1, STORIES // 4),
                stateful_step_count=14,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)
