# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot: taking, holding and pruning, and never touching what somebody else made."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.releases import RELEASES
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost

pytestmark = [
    pytest.mark.usefixtures("model_release"),  # also where no model is asked for: that makes it an argument
    pytest.mark.parametrize("model_release", RELEASES),
]

ROOT = "tank/nanozfs"
DAY = 86400


def tags(host: ModuleHost, dataset: str = ROOT) -> list:
    return [name.split("@")[1] for name in host.names("snapshot") if name.startswith(dataset + "@")]


def holds(host: ModuleHost, name: str) -> list:
    return [line.split("\t")[1] for line in host.command("zfs", "holds", "-H", name).splitlines()]


class TestPresent:
    def test_everything_below_in_one_instant(self, pooled: ModuleHost) -> None:
        result = pooled.same_in_check_mode("zfs_snapshot", dataset=ROOT, name="s", recursive=True, hold="nanozfs")
        assert result["changed"] and len(result["snapshots"]) == 5
        assert len(set(pooled.names("snapshot", "createtxg"))) == 1
        assert all(holds(pooled, name) == ["nanozfs"] for name in pooled.names("snapshot"))
        assert result["diff"]["before"] == "" and ROOT + "/var/db@s\n" in result["diff"]["after"]
        again = pooled.same_in_check_mode("zfs_snapshot", dataset=ROOT, name="s", recursive=True, hold="nanozfs")
        assert not again["changed"] and again["snapshots"] == result["snapshots"]

    def test_only_the_dataset_itself(self, pooled: ModuleHost) -> None:
        pooled.same_in_check_mode("zfs_snapshot", dataset=ROOT, name="s", properties={"app:ticket": 7})
        assert pooled.names("snapshot", "name", "app:ticket") == [ROOT + "@s\t7"]

    def test_a_hold_that_some_have_is_given_to_the_others(self, pooled: ModuleHost) -> None:
        """``zfs hold -r`` holds none when one has the tag already."""
        pooled.ok("zfs_snapshot", dataset=ROOT, name="s", recursive=True)
        pooled.command("zfs", "hold", "keep", ROOT + "/cfg@s")
        result = pooled.same_in_check_mode("zfs_snapshot", dataset=ROOT, name="s", recursive=True, hold="keep")
        assert result["changed"]
        assert all(holds(pooled, name) == ["keep"] for name in pooled.names("snapshot"))

    def test_one_that_does_not_cover_everything_is_refused(self, pooled: ModuleHost) -> None:
        pooled.command("zfs", "snapshot", ROOT + "@s", ROOT + "/cfg@s")
        message = pooled.refused("zfs_snapshot", dataset=ROOT, name="s", recursive=True)
        assert "does not cover {0}/var, ".format(ROOT) in message and "choose another name" in message

    def test_one_of_the_children_only_is_refused(self, pooled: ModuleHost) -> None:
        pooled.command("zfs", "snapshot", ROOT + "/var@s")
        assert "has none" in pooled.refused("zfs_snapshot", dataset=ROOT, name="s", recursive=True)

    def test_a_dataset_that_came_later_is_not_missed(self, pooled: ModuleHost) -> None:
        pooled.ok("zfs_snapshot", dataset=ROOT, name="s", recursive=True)
        pooled.command("zfs", "create", ROOT + "/var/later")
        assert not pooled.ok("zfs_snapshot", dataset=ROOT, name="s", recursive=True)["changed"]

    def test_taken_anew_when_something_was_written(self, pooled: ModuleHost) -> None:
        arguments: Dict[str, Any] = {"dataset": ROOT, "name": "s", "recursive": True, "hold": "nanozfs", "retake": True}
        first = pooled.ok("zfs_snapshot", **arguments)["snapshots"]
        assert not pooled.same_in_check_mode("zfs_snapshot", **arguments)["changed"]
        pooled.write(ROOT + "/var/db", "f", "new")
        second = pooled.same_in_check_mode("zfs_snapshot", **arguments)
        assert second["changed"] and {each["guid"] for each in second["snapshots"]}.isdisjoint(
            each["guid"] for each in first
        )
        assert pooled.command("zfs", "get", "-Hp", "-o", "value", "written@s", ROOT + "/var/db").strip() == "0"

    def test_taken_anew_after_a_cut_in_the_middle(self, pooled: ModuleHost) -> None:
        arguments: Dict[str, Any] = {"dataset": ROOT, "name": "s", "recursive": True, "hold": "nanozfs"}
        pooled.ok("zfs_snapshot", **arguments)
        pooled.command("zfs", "release", "nanozfs", ROOT + "@s")
        pooled.command("zfs", "destroy", ROOT + "@s")
        assert "has none" in pooled.refused("zfs_snapshot", **arguments)
        result = pooled.same_in_check_mode("zfs_snapshot", retake=True, **arguments)
        assert len(result["snapshots"]) == len(pooled.names("filesystem")) - 1

    def test_a_foreign_one_is_not_taken_anew(self, pooled: ModuleHost) -> None:
        pooled.command("zfs", "snapshot", "-r", ROOT + "@s")
        pooled.write(ROOT + "/var", "f", "new")
        message = pooled.refused("zfs_snapshot", dataset=ROOT, name="s", recursive=True, retake=True)
        assert "was not made by this collection" in message

    def test_full_pool(self, pooled: ModuleHost) -> None:
        pools.fill(pooled.machine, "tank", 0)
        message = pooled.refused("zfs_snapshot", dataset=ROOT, name="s", recursive=True)
        assert "out of space" in message and "no snapshot was taken, nothing was changed" in message

    @pytest.mark.parametrize(
        "dataset, name", [("tank/none", "s"), (ROOT, "a/b"), (ROOT, "a@b"), ("-r", "s"), (ROOT, "")]
    )
    def test_nonsense(self, pooled: ModuleHost, dataset: str, name: str) -> None:
        assert "nothing was changed" in pooled.refused("zfs_snapshot", dataset=dataset, name=name)


class TestAbsent:
    def test_ours(self, pooled: ModuleHost) -> None:
        pooled.ok("zfs_snapshot", dataset=ROOT, name="s", recursive=True, hold="nanozfs")
        arguments: Dict[str, Any] = {"dataset": ROOT, "name": "s", "recursive": True, "state": "absent"}
        assert "held" in pooled.refused("zfs_snapshot", **arguments)
        result = pooled.same_in_check_mode("zfs_snapshot", hold="nanozfs", **arguments)
        assert len(result["destroyed"]) == 5 and pooled.names("snapshot") == []
        assert not pooled.same_in_check_mode("zfs_snapshot", hold="nanozfs", **arguments)["changed"]

    def test_foreign(self, pooled: ModuleHost) -> None:
        pooled.command("zfs", "snapshot", ROOT + "@s")
        message = pooled.refused("zfs_snapshot", dataset=ROOT, name="s", state="absent")
        assert "was not made by this collection" in message

    def test_our_mark_on_the_dataset_does_not_make_a_snapshot_ours(self, pooled: ModuleHost) -> None:
        """Snapshots inherit user properties."""
        pooled.command("zfs", "set", "nanozfs:made-by=nanozfs.fleet", "tank")
        pooled.command("zfs", "snapshot", ROOT + "@s")
        assert "was not made by" in pooled.refused("zfs_snapshot", dataset=ROOT, name="s", state="absent")

    def test_cloned(self, pooled: ModuleHost) -> None:
        pooled.ok("zfs_snapshot", dataset=ROOT + "/var", name="s")
        pooled.command("zfs", "clone", ROOT + "/var@s", "tank/copy")
        message = pooled.refused("zfs_snapshot", dataset=ROOT + "/var", name="s", state="absent")
        assert "tank/copy depend on it" in message


class TestPruned:
    @pytest.fixture
    def host(self, pooled: ModuleHost) -> ModuleHost:
        """Five snapshots of ours, a day apart, and one of somebody else's in the middle."""
        for number in (1, 2, 3, 4, 5):
            pooled.ok("zfs_snapshot", dataset=ROOT, name="nz-{0}".format(number))
            if number == 3:
                pooled.command("zfs", "snapshot", ROOT + "@nz-foreign")
        pooled.command("zfs", "snapshot", ROOT + "@other-1")
        return pooled

    def age(self, host: ModuleHost, days: float) -> None:
        newest = max(
            int(line)
            for line in host.command(
                "zfs", "get", "-Hp", "-r", "-t", "snapshot", "-o", "value", "creation", ROOT
            ).split()
        )
        host.monkeypatch.setattr("time.time", lambda: newest + days * DAY)

    def test_keep(self, host: ModuleHost) -> None:
        arguments: Dict[str, Any] = {"dataset": ROOT, "state": "pruned", "prefix": "nz-", "keep": 2}
        result = host.same_in_check_mode("zfs_snapshot", **arguments)
        assert result["destroyed"] == [ROOT + "@nz-1", ROOT + "@nz-2", ROOT + "@nz-3"]
        assert tags(host) == ["nz-foreign", "nz-4", "nz-5", "other-1"]
        assert not host.same_in_check_mode("zfs_snapshot", **arguments)["changed"]

    def test_age(self, host: ModuleHost) -> None:
        self.age(host, 3)
        arguments: Dict[str, Any] = {"dataset": ROOT, "state": "pruned", "prefix": "nz-"}
        assert not host.ok("zfs_snapshot", older_than=4 * DAY, **arguments)["changed"]
        assert len(host.ok("zfs_snapshot", older_than=2 * DAY, keep=4, **arguments)["destroyed"]) == 1
        assert len(host.ok("zfs_snapshot", older_than=2 * DAY, **arguments)["destroyed"]) == 3
        assert tags(host) == ["nz-foreign", "nz-5", "other-1"], "the newest stays, however old it is"

    @pytest.mark.parametrize("years", [40, -30])
    def test_a_clock_that_jumped_prunes_nothing(self, host: ModuleHost, years: int) -> None:
        host.command("zfs", "hold", "nanozfs", ROOT + "@nz-1")
        self.age(host, years * 366)
        arguments: Dict[str, Any] = {"dataset": ROOT, "state": "pruned", "prefix": "nz-", "hold": "nanozfs"}
        result = host.ok("zfs_snapshot", older_than=-100 * 366 * DAY if years < 0 else 30 * DAY, **arguments)
        assert result["destroyed"] == [] and not result["changed"]
        assert len(result["kept"]) == 4 and "the clock jumped" in result["kept"][ROOT + "@nz-1"]
        assert len(host.ok("zfs_snapshot", keep=1, **arguments)["destroyed"]) == 4, "numbers need no clock"

    def test_what_must_stay_stays_and_is_named(self, host: ModuleHost) -> None:
        host.command("zfs", "hold", "backup", ROOT + "@nz-1")
        host.command("zfs", "clone", ROOT + "@nz-2", "tank/copy")
        host.command("zfs", "hold", "nanozfs", ROOT + "@nz-3")
        result = host.ok("zfs_snapshot", dataset=ROOT, state="pruned", prefix="nz-", keep=0, hold="nanozfs")
        assert sorted(result["kept"]) == [ROOT + "@nz-1", ROOT + "@nz-2"]
        assert "by backup" in result["kept"][ROOT + "@nz-1"] and "tank/copy" in result["kept"][ROOT + "@nz-2"]
        assert tags(host) == ["nz-1", "nz-2", "nz-foreign", "other-1"]

    def test_needs_a_measure(self, host: ModuleHost) -> None:
        assert "keep, older_than" in host.refused("zfs_snapshot", dataset=ROOT, state="pruned", prefix="nz-")


def test_sizes_are_given_in_bytes(pooled: ModuleHost) -> None:
    """The model's pool is as large as its three disks of 512 MiB say."""
    assert pooled.ok("zpool_import", name="tank")["pool"]["size"] > 1400 * MIB
