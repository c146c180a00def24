# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gpart_slice: what it does to the real partition table, and what it refuses."""

from __future__ import annotations

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost, boot, boot_mbr, make_mbr_medium


def flags(host: ModuleHost) -> dict:
    return {label: value for label, value in host.flags().items() if label in ("nz-recovery", "nz-a", "nz-b")}


def test_trial_sets_both_flags_and_keeps_the_running_slice(host: ModuleHost) -> None:
    result = host.same_in_check_mode("gpart_slice", slice="nz-b", state="trial")
    assert result["changed"] and result["one_shot"]
    assert flags(host) == {"nz-recovery": [], "nz-a": ["bootme"], "nz-b": ["bootonce", "bootme"]}
    assert result["after"]["nz-b"] == ["bootme", "bootonce"]
    assert result["diff"]["before"]["nz-b"] == []
    assert not host.same_in_check_mode("gpart_slice", slice="nz-b", state="trial")["changed"]


def test_trial_clears_a_stale_bootfailed_in_the_same_write(host: ModuleHost) -> None:
    host.command("gpart", "set", "-a", "bootfailed", "-i", "5", "ada0")
    result = host.ok("gpart_slice", slice="inactive", state="trial")
    assert flags(host)["nz-b"] == ["bootonce", "bootme"]
    assert result["actions"] == [
        "gpart unset -a bootfailed -i 5 -f x ada0",
        "gpart set -a bootonce -i 5 -f x ada0",
        "gpart commit ada0",
    ]


def test_a_commit_is_one_write_of_the_table(host: ModuleHost) -> None:
    """Whatever happens between the commands, the disk has either the old flags or the new ones."""
    boot(host.machine, "nz-b", on_trial=True)
    seen = []
    run = host.machine.run

    def watching(argv, stdin=None):  # type: ignore[no-untyped-def]
        output = run(argv, stdin)
        with open(host.machine.image("ada0"), "rb") as file:
            table = gpt.read_table(file, host.machine.hardware["disks"]["ada0"]["size"] // 512)
        seen.append({entry.label: tuple(entry.flags) for entry in table.entries.values()})
        return output

    host.monkeypatch.setattr(host.machine, "run", watching)
    host.ok("gpart_slice", slice="running", state="active")
    on_disk = {(state["nz-a"], state["nz-b"]) for state in seen}
    assert on_disk == {(("bootme",), ("bootonce",)), ((), ("bootme",))}


def test_committing_again_changes_nothing(host: ModuleHost) -> None:
    boot(host.machine, "nz-b", on_trial=True)
    assert host.same_in_check_mode("gpart_slice", slice="nz-b", state="active")["changed"]
    assert not host.same_in_check_mode("gpart_slice", slice="nz-b", state="active")["changed"]


def test_inactive_takes_all_flags_off(host: ModuleHost) -> None:
    host.command("gpart", "set", "-a", "bootonce", "-i", "5", "ada0")
    host.ok("gpart_slice", slice="nz-b", state="inactive")
    assert flags(host)["nz-b"] == []


@pytest.mark.parametrize(
    "state, said",
    [("trial", "is the running slice and cannot be put on trial"), ("inactive", "next boot would be the recovery")],
)
def test_refuses_the_running_slice(host: ModuleHost, state: str, said: str) -> None:
    message = host.refused("gpart_slice", slice="nz-a", state=state)
    assert said in message and "nothing was changed" in message


def test_refuses_a_trial_without_a_way_back(host: ModuleHost) -> None:
    boot(host.machine, "nz-b", on_trial=True)
    message = host.refused("gpart_slice", slice="nz-a", state="trial")
    assert "not committed" in message and "playbook commit" in message


def test_refuses_to_take_the_way_back_from_a_trial(host: ModuleHost) -> None:
    boot(host.machine, "nz-b", on_trial=True)
    message = host.refused("gpart_slice", slice="inactive", state="inactive")
    assert "nz-a is its way back" in message and "playbook commit" in message


def test_refuses_a_corrupt_table(host: ModuleHost) -> None:
    size = host.machine.hardware["disks"]["ada0"]["size"]
    with open(host.machine.image("ada0"), "r+b") as file:
        file.seek(size - 512)
        file.write(bytes(512))
    message = host.refused("gpart_slice", slice="nz-b", state="trial")
    assert "CORRUPT" in message and "gpart recover ada0" in message
    host.command("gpart", "recover", "ada0")
    host.ok("gpart_slice", slice="nz-b", state="trial")


def test_recovers_a_table_whose_disk_is_larger_than_the_medium(host: ModuleHost) -> None:
    host.machine.load()
    host.machine.hardware["disks"]["ada0"]["size"] += 64 * MIB
    host.machine.save()
    with open(host.machine.image("ada0"), "r+b") as file:
        file.truncate(host.machine.hardware["disks"]["ada0"]["size"])
    assert "recover=true" in host.refused("gpart_slice", slice="nz-b", state="trial")
    result = host.same_in_check_mode("gpart_slice", slice="nz-b", state="trial", recover=True)
    assert result["recovered"] and result["actions"][0] == "gpart recover ada0"
    assert sorted(flags(host)["nz-b"]) == ["bootme", "bootonce"]
    again = host.same_in_check_mode("gpart_slice", slice="nz-b", state="trial", recover=True)
    assert not again["recovered"] and not again["changed"]


def test_refuses_when_somebody_left_changes_uncommitted(host: ModuleHost) -> None:
    host.command("gpart", "set", "-a", "bootme", "-i", "5", "-f", "x", "ada0")
    assert "gpart undo" in host.refused("gpart_slice", slice="nz-b", state="trial")


def test_a_failure_in_the_middle_is_undone(host: ModuleHost) -> None:
    boot(host.machine, "nz-b", on_trial=True)
    run = host.machine.run

    def failing(argv, stdin=None):  # type: ignore[no-untyped-def]
        if list(argv[:2]) == ["gpart", "commit"]:
            return run(["gpart", "set", "-a", "nosuch", "-i", "5", "ada0"])
        return run(argv, stdin)

    host.monkeypatch.setattr(host.machine, "run", failing)
    result = host.run("gpart_slice", slice="nz-b", state="active")
    assert result["failed"] and "boot flags on ada0 are as they were" in result["msg"]
    host.monkeypatch.setattr(host.machine, "run", run)
    assert flags(host) == {"nz-recovery": [], "nz-a": ["bootme"], "nz-b": ["bootonce"]}
    assert host.ok("gpart_slice", slice="nz-b", state="active")["changed"]


def test_refuses_a_slice_that_is_not_there(host: ModuleHost) -> None:
    message = host.refused("gpart_slice", slice="nz-c", state="trial")
    assert "has no slice nz-c" in message and "nz-a, nz-b, nz-recovery" in message


def test_inactive_is_ambiguous_from_recovery(host: ModuleHost) -> None:
    boot(host.machine, "nz-recovery")
    assert "name the slice" in host.refused("gpart_slice", slice="inactive", state="trial")
    assert host.ok("gpart_slice", slice="nz-b", state="active")["after"]["nz-b"] == ["bootme"]


def test_refuses_a_host_that_runs_from_elsewhere(host: ModuleHost) -> None:
    host.machine.running["mounts"][0]["from"] = "/dev/ada1"
    host.machine.save()
    message = host.refused("gpart_slice", slice="nz-b", state="trial")
    assert "not one that the collection installed" in message


class TestMbr:
    """MBR has an active slice and boot0's own choice, and no one-shot."""

    @pytest.fixture
    def host(self, machine: Machine, tmp_path, monkeypatch) -> ModuleHost:  # type: ignore[no-untyped-def]
        make_mbr_medium(machine, 2 * MIB, {})
        boot_mbr(machine, "nz-a")
        return ModuleHost(machine, str(tmp_path), monkeypatch)

    @staticmethod
    def active(host: ModuleHost) -> str:
        return next(name for name, value in host.flags().items() if "active" in value)

    @staticmethod
    def default(host: ModuleHost) -> int:
        host.machine.load()
        return int(host.machine.hardware["disks"]["ada0"]["boot0"])

    def test_arms(self, host: ModuleHost) -> None:
        """Only the active flag: the default of boot0 tells the new system which slice to go back to."""
        result = host.same_in_check_mode("gpart_slice", slice="inactive", state="trial")
        assert result["slice"] == "nz-b" and not result["one_shot"]
        assert result["after"] == {"nz-recovery": [], "nz-a": [], "nz-b": ["active"]}
        assert result["actions"] == ["gpart set -a active -i 3 ada0"]
        assert (self.active(host), self.default(host)) == ("ada0s3", 2)
        assert not host.ok("gpart_slice", slice="nz-b", state="trial")["changed"]

    def test_disarms(self, host: ModuleHost) -> None:
        host.ok("gpart_slice", slice="nz-b", state="trial")
        result = host.same_in_check_mode("gpart_slice", slice="inactive", state="inactive")
        assert result["changed"] and result["after"]["nz-a"] == ["active"]
        assert (self.active(host), self.default(host)) == ("ada0s2", 2)
        assert not host.ok("gpart_slice", slice="nz-b", state="inactive")["changed"]

    def test_commits(self, host: ModuleHost) -> None:
        """The early hook has made the old slice active; a power cut in the middle leads to one more trial."""
        boot_mbr(host.machine, "nz-b")
        result = host.same_in_check_mode("gpart_slice", slice="running", state="active")
        assert result["actions"] == ["gpart set -a active -i 3 ada0", "boot0cfg -s 3 ada0"]
        assert (self.active(host), self.default(host)) == ("ada0s3", 3)
        assert not host.same_in_check_mode("gpart_slice", slice="running", state="active")["changed"]

    def test_a_commit_that_was_interrupted_is_finished(self, host: ModuleHost) -> None:
        boot_mbr(host.machine, "nz-b")
        host.command("gpart", "set", "-a", "active", "-i", "3", "ada0")
        result = host.same_in_check_mode("gpart_slice", slice="running", state="active")
        assert result["changed"] and result["actions"] == ["boot0cfg -s 3 ada0"]

    def test_goes_to_another_slice(self, host: ModuleHost) -> None:
        """The other way round: were it cut in the middle, the slice that runs would have a trial, and then this one."""
        result = host.same_in_check_mode("gpart_slice", slice="nz-b", state="active")
        assert result["actions"] == ["boot0cfg -s 3 ada0", "gpart set -a active -i 3 ada0"]

    def test_refuses_to_take_the_way_back_from_a_trial(self, host: ModuleHost) -> None:
        boot_mbr(host.machine, "nz-b")
        for state in ("inactive", "trial"):
            message = host.refused("gpart_slice", slice="inactive", state=state)
            assert "nz-b is itself on trial, and nz-a is its way back" in message and "playbook commit" in message
        assert "cannot be put on trial" in host.refused("gpart_slice", slice="running", state="trial")

    def test_refuses_a_trial_that_would_not_know_its_way_back(self, host: ModuleHost) -> None:
        host.command("boot0cfg", "-s", "1", "ada0")
        message = host.refused("gpart_slice", slice="nz-b", state="trial")
        assert "is slice 1 and not the running slice nz-a" in message and "slice=running" in message
        host.ok("gpart_slice", slice="running", state="active")
        assert host.ok("gpart_slice", slice="nz-b", state="trial")["changed"]

    def test_another_boot_manager(self, host: ModuleHost) -> None:
        """It can be told which slice to boot, but there is no trial."""
        host.machine.load()
        del host.machine.hardware["disks"]["ada0"]["boot0"]
        host.machine.save()
        message = host.refused("gpart_slice", slice="nz-b", state="trial")
        assert "is not there and not the running slice" in message and "must be replaced" in message
        host.ok("gpart_slice", slice="nz-b", state="active")
        assert self.active(host) == "ada0s3"

    @pytest.mark.parametrize(
        "broken, said", [("-s", "one more trial of the slice that runs"), ("-v", "read the settings of boot0 on ada0")]
    )
    def test_a_failure_of_boot0cfg(self, host: ModuleHost, broken: str, said: str) -> None:
        boot_mbr(host.machine, "nz-b")
        run = host.machine.run

        def failing(argv, stdin=None):  # type: ignore[no-untyped-def]
            return run(["boot0cfg"] if list(argv[:2]) == ["boot0cfg", broken] else argv, stdin)

        host.monkeypatch.setattr(host.machine, "run", failing)
        result = host.run("gpart_slice", slice="running", state="active")
        assert result["failed"] and said in result["msg"]

    def test_the_running_slice_stays_active(self, host: ModuleHost) -> None:
        assert "always has one active slice" in host.refused("gpart_slice", slice="nz-a", state="inactive")
        assert not host.ok("gpart_slice", slice="nz-b", state="inactive")["changed"]

    def test_a_slice_without_a_label_is_none(self, host: ModuleHost) -> None:
        """boot2 would not boot it."""
        with open(host.machine.image("ada0"), "r+b") as file:
            file.seek(next(each for each in geom.layouts(host.machine)["ada0"].parts if each.index == 3).offset)
            file.write(bytes(8192))
        assert "has no slice nz-b" in host.refused("gpart_slice", slice="inactive", state="trial")
