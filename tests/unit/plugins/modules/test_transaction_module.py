# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module transaction on a host: what it writes, what it refuses, and that its plans lose nothing."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step, perform
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost

ROOT = "tank/nanozfs"
VAR, CFG, LOG = ROOT + "/var", ROOT + "/cfg", ROOT + "/var/log"


class Fleet:
    """A host with the images that it moves between."""

    def __init__(self, host: ModuleHost, images: Images) -> None:
        self.host = host
        self.refs = {
            version: {key: built[key] for key in ("id", "build", "version")} for version, built in images.built.items()
        }

    def move(self, state: str, **arguments: Any) -> Dict[str, Any]:
        return self.host.same_in_check_mode("transaction", pool="tank", state=state, **arguments)

    def plan(self, source: str = "1.0", target: str = "1.1", **more: Any) -> Dict[str, Any]:
        return {"running": self.refs[source], "target": self.refs[target], "min_free": MIB, **more}

    def snapshot(self, name: str) -> None:
        self.host.ok("zfs_snapshot", dataset=ROOT, name=name, recursive=True, hold="nanozfs", retake=True)

    def until_armed(self, source: str, target: str, kind: str = "upgrade", **more: Any) -> str:
        arguments = self.plan(source, target, kind=kind)
        found = self.move("planned", **arguments)
        assert found["step"] == "prepare" and not found["changed"]
        self.snapshot(found["snapshot"])
        opened = self.move("prepared", **arguments)
        assert opened["changed"] and opened["step"] == "write" and opened["txn"] == found["txn"]
        assert not self.move("prepared", **arguments)["changed"]
        self.move("written")
        assert self.move("armed", kind=kind, **more)["changed"]
        assert not self.move("armed", kind=kind, **more)["changed"]
        return str(found["txn"])

    def phase(self, name: str) -> None:
        """What only the early hook does."""
        self.host.command("zfs", "set", "nanozfs:phase=" + name, ROOT)

    def store(self) -> JournalStore:
        return JournalStore(Zfs(Runner(self.host.machine.execute)), "tank")

    def perform(self, which: str) -> None:
        journal = self.store().read()
        steps = journal.apply if which == "apply" else journal.revert
        perform(Zfs(Runner(self.host.machine.execute)), steps)

    def files(self) -> List[Any]:
        """What the configuration, the data and the logs hold."""
        return [self.host.read(CFG, "rc.conf"), self.host.read(VAR + "/db", "data"), self.host.read(LOG, "messages")]

    def write(self, text: str) -> None:
        self.host.write(CFG, "rc.conf", text)
        self.host.write(VAR + "/db", "data", text)
        self.host.write(LOG, "messages", text)


@pytest.fixture
def fleet(pooled: ModuleHost, images: Images) -> Fleet:
    return Fleet(pooled, images)


def cuts(fleet: Fleet, work: Callable[[], None], reach: int = 1) -> int:
    """Do something again and again until it is done, the power failing after *reach* changing commands each time."""
    run = fleet.host.machine.run
    for total in range(1000):
        left = reach

        def failing(argv: Any, stdin: Any = None) -> Any:
            nonlocal left
            if argv[0] == "zfs" and argv[1] in ("create", "inherit", "rename", "clone", "promote", "set"):
                if left == 0:
                    return run(["zfs", "nosuch"])
                left -= 1
            return run(argv, stdin)

        fleet.host.monkeypatch.setattr(fleet.host.machine, "run", failing)
        try:
            work()
        except FleetError:
            continue
        else:
            return total
        finally:
            fleet.host.monkeypatch.setattr(fleet.host.machine, "run", run)
    raise AssertionError("it never ended")


class TestUpgrade:
    def test_kept(self, fleet: Fleet) -> None:
        txn = fleet.until_armed("1.0", "1.1")
        fleet.phase("trial")
        closed = fleet.move("committed")
        assert closed["changed"] and closed["journal"]["image"] == fleet.refs["1.1"]
        assert closed["journal"]["fallback"] == fleet.refs["1.0"] and closed["journal"]["fallback_txn"] == txn
        assert not fleet.move("committed")["changed"]
        assert fleet.move("planned", **fleet.plan("1.1", "1.1"))["step"] == "done"
        held = fleet.host.command("zfs", "holds", "-H", "{0}@nz-{1}".format(ROOT, txn))
        assert "nanozfs" in held

    def test_taken_back(self, fleet: Fleet) -> None:
        fleet.write("old")
        txn = fleet.until_armed("1.0", "1.1")
        fleet.phase("trial")
        fleet.write("new")
        asked = fleet.move("reverting", reason="it does not work")
        assert asked["journal"]["bad"] == [fleet.refs["1.1"]["id"]]
        fleet.perform("revert")
        fleet.phase("reverted")
        assert fleet.files() == ["old", "old", "new"], "logs are kept, configuration and data go back"
        failed = "{0}/failed/{1}".format(ROOT, txn)
        assert fleet.host.read(failed + "/cfg", "rc.conf") == "new"
        assert fleet.host.read(failed + "/var/db", "data") == "new"
        message = fleet.host.refused("transaction", pool="tank", state="planned", **fleet.plan())
        assert "list of bad images" in message and "it does not work" in message and "upgrade_allow_bad" in message
        assert fleet.move("planned", allow_bad=True, **fleet.plan())["step"] == "prepare"

    def test_the_data_goes_back_past_every_cut(self, fleet: Fleet) -> None:
        fleet.write("old")
        fleet.until_armed("1.0", "1.1")
        fleet.phase("trial")
        fleet.write("new")
        steps = len(fleet.store().read().revert)
        assert cuts(fleet, lambda: fleet.perform("revert")) >= steps - 2
        assert fleet.files() == ["old", "old", "new"]
        fleet.perform("revert")
        assert fleet.files() == ["old", "old", "new"]

    def test_a_full_pool_can_be_put_back(self, fleet: Fleet) -> None:
        fleet.write("old")
        fleet.until_armed("1.0", "1.1")
        reserve = fleet.host.command("zfs", "get", "-Hp", "-o", "value", "reservation", ROOT + "/reserve").strip()
        assert int(reserve) == 32 * MIB
        assert fleet.store().read().revert[0] == Step("free", (ROOT + "/reserve",))
        fleet.perform("revert")
        assert fleet.host.command("zfs", "get", "-Hp", "-o", "value", "reservation", ROOT + "/reserve").strip() == "0"

    def test_an_abandoned_one_leaves_nothing_to_do(self, fleet: Fleet) -> None:
        fleet.until_armed("1.0", "1.1")
        closed = fleet.move("abandoned")
        assert closed["journal"]["phase"] == "idle" and closed["journal"]["revert"] == []
        left = fleet.host.command("zfs", "get", "-H", "-s", "local", "-o", "property,value", "all", ROOT)
        assert "nanozfs:revert." not in left
        assert fleet.move("planned", **fleet.plan())["txn"].startswith("0002-")

    def test_armed_again_the_data_of_now_counts(self, fleet: Fleet) -> None:
        """The play stopped after it had armed the host; the host worked on; the play goes on."""
        fleet.write("old")
        txn = fleet.until_armed("1.0", "1.1")
        fleet.write("a day later")
        fleet.host.command("zfs", "create", VAR + "/new")
        assert fleet.move("planned", **fleet.plan())["step"] == "boot"
        fleet.snapshot("nz-" + txn)
        assert fleet.move("armed")["changed"], "the plan covers the dataset that is new"
        fleet.phase("trial")
        fleet.write("new")
        fleet.perform("revert")
        assert fleet.files() == ["a day later", "a day later", "new"]
        assert VAR + "/new" in fleet.host.names("filesystem")

    @pytest.mark.parametrize("phase", ["trial", "reverting"])
    def test_given_up_where_the_old_system_is_gone(self, fleet: Fleet, phase: str) -> None:
        fleet.until_armed("1.0", "1.1")
        fleet.phase(phase)
        message = fleet.host.refused("transaction", pool="tank", state="abandoned", running=fleet.refs["1.0"])
        assert "cannot be given up any more" in message
        fleet.move("abandoned", running=fleet.refs["1.1"])
        assert fleet.move("planned", **fleet.plan("1.1", "1.1"))["step"] == "done"


class TestRollback:
    def commit(self, fleet: Fleet) -> None:
        fleet.write("old")
        fleet.until_armed("1.0", "1.1")
        fleet.phase("trial")
        fleet.move("committed")
        fleet.write("new")

    def arm(self, fleet: Fleet, restore: bool) -> None:
        arguments = {"kind": "rollback", "running": fleet.refs["1.1"], "min_free": MIB}
        found = fleet.move("planned", **arguments)
        assert found["target"] == fleet.refs["1.0"]
        fleet.snapshot(found["snapshot"])
        fleet.move("prepared", **arguments)
        fleet.move("written")
        fleet.move("armed", kind="rollback", restore_data=restore)

    def test_system_only(self, fleet: Fleet) -> None:
        self.commit(fleet)
        self.arm(fleet, restore=False)
        assert fleet.store().read().apply == ()
        fleet.phase("trial")
        fleet.move("committed")
        assert fleet.files() == ["new", "new", "new"]
        again = fleet.move("planned", kind="rollback", running=fleet.refs["1.0"], min_free=MIB)
        assert again["step"] == "done"

    def test_with_data_past_every_cut(self, fleet: Fleet) -> None:
        self.commit(fleet)
        self.arm(fleet, restore=True)
        assert cuts(fleet, lambda: fleet.perform("apply")) >= 5
        assert fleet.files() == ["old", "old", "new"]

    @pytest.mark.parametrize("reach", range(12))
    def test_taken_back_from_wherever_it_was_cut(self, fleet: Fleet, reach: int) -> None:
        self.commit(fleet)
        self.arm(fleet, restore=True)
        perform(Zfs(Runner(fleet.host.machine.execute)), fleet.store().read().apply[:reach])
        cuts(fleet, lambda: fleet.perform("revert"))
        assert fleet.files() == ["new", "new", "new"]

    def test_without_an_earlier_image(self, fleet: Fleet) -> None:
        message = fleet.host.refused(
            "transaction", pool="tank", state="planned", kind="rollback", running=fleet.refs["1.0"]
        )
        assert "knows of no earlier image" in message and "nothing was changed" in message

    def test_of_data_without_its_snapshot(self, fleet: Fleet) -> None:
        self.commit(fleet)
        for name in [each for each in fleet.host.names("snapshot") if each.startswith(ROOT)]:
            fleet.host.command("zfs", "release", "nanozfs", name)
            fleet.host.command("zfs", "destroy", name)
        arguments = {"kind": "rollback", "running": fleet.refs["1.1"], "min_free": MIB}
        fleet.snapshot(fleet.move("planned", **arguments)["snapshot"])
        fleet.move("prepared", **arguments)
        fleet.move("written")
        message = fleet.host.refused("transaction", pool="tank", state="armed", kind="rollback", restore_data=True)
        assert "there is no snapshot" in message and "nothing was changed" in message


class TestRefused:
    def refused(self, fleet: Fleet, **more: Any) -> str:
        message = fleet.host.refused("transaction", pool="tank", state="planned", **fleet.plan(**more))
        assert "nothing was changed" in message and "Next: " in message
        return message

    def test_a_second_one(self, fleet: Fleet) -> None:
        fleet.until_armed("1.0", "1.1")
        message = self.refused(fleet, target="1.2")
        assert "a transaction is open on this host already: upgrade 0001-" in message and "phase armed" in message
        assert "nanozfs.fleet.abandon" in message

    def test_too_little_space(self, fleet: Fleet) -> None:
        message = self.refused(fleet, min_free=1 << 50)
        assert "MiB available" in message and "zfs list -r tank/nanozfs" in message

    def test_degraded(self, fleet: Fleet) -> None:
        fleet.host.command("zpool", "offline", "tank", "ada3")
        assert "DEGRADED" in self.refused(fleet) and "allow_degraded" in self.refused(fleet)
        assert fleet.move("planned", allow_degraded=True, **fleet.plan())["step"] == "prepare"

    def test_no_pool(self, fleet: Fleet) -> None:
        fleet.host.command("zpool", "export", "tank")
        message = fleet.host.refused("transaction", pool="tank", state="planned", **fleet.plan())
        assert "zpool import" in message and "nothing was changed" in message

    def test_a_pool_that_the_image_could_not_open(self, fleet: Fleet, images: Images) -> None:
        known = [each for each in images.built["1.1"]["features"] if each not in ("log_spacemap", "hole_birth")]
        message = self.refused(fleet, features=known)
        assert "the image 1.1" in message and "does not know hole_birth, log_spacemap, which the pool uses" in message
        assert "zpool upgrade" in message
        fleet.until_armed("1.0", "1.1")
        assert "log_spacemap" in self.refused(fleet, features=known), "as long as it was not booted"

    def test_not_because_nobody_knows_what_the_image_reads(self, fleet: Fleet, images: Images) -> None:
        assert "which features of pools" in fleet.move("planned", **fleet.plan())["warnings"][0]
        known = images.built["1.1"]["features"]
        found = fleet.move("planned", **fleet.plan(features=known))
        assert (found["step"], found["warnings"]) == ("prepare", [])

    def test_no_datasets(self, fleet: Fleet) -> None:
        fleet.host.command("zfs", "destroy", "-r", ROOT)
        assert "playbook deploy" in self.refused(fleet)

    def test_no_snapshot(self, fleet: Fleet) -> None:
        message = fleet.host.refused("transaction", pool="tank", state="prepared", **fleet.plan())
        assert "there is no snapshot tank/nanozfs@nz-0001-" in message

    @pytest.mark.parametrize("state", ["written", "armed", "committed", "reverting"])
    def test_out_of_turn(self, fleet: Fleet, state: str) -> None:
        assert "the journal is in phase idle" in fleet.host.refused("transaction", pool="tank", state=state)

    def test_too_late_to_give_up(self, fleet: Fleet) -> None:
        fleet.until_armed("1.0", "1.1")
        fleet.phase("trial")
        message = fleet.host.refused("transaction", pool="tank", state="abandoned")
        assert "cannot be given up any more" in message and "reboot the host" in message

    def test_a_dataset_that_could_not_go_back(self, fleet: Fleet) -> None:
        fleet.host.command("zfs", "set", "mountpoint=/db", VAR + "/db")
        assert "mountpoint of its own (/db)" in self.refused(fleet)
        assert "there is no dataset tank/nanozfs/none" in fleet.host.refused(
            "transaction", pool="tank", state="planned", datasets=["none"], **fleet.plan()
        )

    def test_two_images_of_one_build(self, fleet: Fleet) -> None:
        fleet.refs["1.1"] = dict(fleet.refs["1.1"], build=fleet.refs["1.0"]["build"])
        assert "name the same build" in self.refused(fleet)

    def test_no_image_id(self, fleet: Fleet) -> None:
        running = dict(fleet.refs["1.0"], id="none")
        message = fleet.host.refused("transaction", pool="tank", state="recorded", running=running)
        assert "no image id" in message


def test_recorded(fleet: Fleet) -> None:
    noted = fleet.move("recorded", running=fleet.refs["1.0"])
    assert noted["changed"] and noted["journal"]["image"] == fleet.refs["1.0"]
    assert not fleet.move("recorded", running=fleet.refs["1.0"])["changed"]


class TestMedium:
    """What the OS medium is told, for a start at which the pool is not there."""

    def remembered(self, fleet: Fleet) -> Dict[str, str]:
        return dict(fleet.host.ok("host_info", pool="tank", digest=False)["host"]["remembered"])

    def test_it_knows_the_transaction_and_the_pool(self, fleet: Fleet) -> None:
        fleet.until_armed("1.0", "1.1")
        known = self.remembered(fleet)
        assert (known["phase"], known["to_version"], known["from_version"]) == ("armed", "1.1", "1.0")
        assert known["timeout"] == "600"
        assert known["to_build"] == fleet.refs["1.1"]["build"]
        assert known["guid"] == fleet.host.command("zpool", "get", "-H", "-o", "value", "guid", "tank").strip()

    def test_it_is_told_also_where_the_journal_stays_as_it_is(self, fleet: Fleet) -> None:
        fleet.move("recorded", running=fleet.refs["1.0"])
        device = fleet.host.open_device("/dev/gpt/nz-state", writable=True)
        device.write(0, bytes(MIB))
        assert self.remembered(fleet) == {}
        assert not fleet.host.ok("transaction", pool="tank", state="recorded", running=fleet.refs["1.0"])["changed"]
        assert self.remembered(fleet)["guid"]

    def test_check_mode_tells_it_nothing(self, fleet: Fleet) -> None:
        fleet.host.ok("transaction", check=True, pool="tank", state="recorded", running=fleet.refs["1.0"])
        assert self.remembered(fleet) == {}

    def test_a_medium_that_cannot_be_written_stops_nothing(self, fleet: Fleet) -> None:
        real = fleet.host.open_device

        def failing(path: str, writable: bool = False) -> Any:
            if writable and path.endswith("nz-state"):
                raise FleetError("{0} cannot be opened for writing: Input/output error".format(path))
            return real(path, writable)

        fleet.host.monkeypatch.setattr(
            "ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device.open_device", failing
        )
        result = fleet.host.ok("transaction", pool="tank", state="recorded", running=fleet.refs["1.0"])
        assert result["changed"] and result["journal"]["image"] == fleet.refs["1.0"]
        assert "Input/output error" in result["warnings"][0]


def test_a_hanging_import_is_left_alone(fleet: Fleet) -> None:
    """Any command about pools would wait for it, in the kernel, for ever."""
    fleet.host.command("kenv", "nanozfs.import=hung")
    fleet.host.machine.calls.clear()
    host = fleet.host.ok("host_info", pool="tank", digest=False)["host"]
    assert host["pool"] is None and "hangs" in " ".join(host["warnings"])
    assert not [call for call in fleet.host.machine.calls if call[0] in ("zpool", "zfs", "zdb")]
