# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failed states are pruned by number and age, and never one that anybody needs."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, MAKER, Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import plan
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.snapshot import clock_problem, prune_failed
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

ROOT = "tank/nanozfs"
FAILED = ROOT + "/failed"
DAY = 86400
YEAR = 366 * DAY


class Site:
    """A host on which some trials failed."""

    def __init__(self, host: ModuleHost) -> None:
        self.host = host
        self.zfs = Zfs(Runner(host.machine.execute))
        for txn in ("0009-aaaaaaaa", "0010-bbbbbbbb", "0010-bbbbbbbb-undone"):
            tag = "nz-" + txn
            steps = plan.put_back(plan.try_plan(self.zfs, ROOT, ["cfg", "var"]), tag, FAILED + "/" + txn)
            host.command("zfs", "snapshot", "-r", ROOT + "@" + tag)
            host.command("zfs", "hold", "-r", "nanozfs", ROOT + "@" + tag)
            host.command("zfs", "snapshot", ROOT + "/var/db@of-the-trial")
            host.command("zfs", "clone", ROOT + "/var/db@of-the-trial", ROOT + "/var/a-clone")
            plan.perform(self.zfs, steps)

    def prune(
        self, keep: int = 1, older_than: Optional[int] = None, after: float = DAY
    ) -> Tuple[List[str], Dict[str, str]]:
        """:param after: seconds since the last one failed."""
        listed = self.host.command("zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "value", "creation", FAILED)
        return prune_failed(self.zfs, ROOT, keep, older_than, max(map(int, listed.split())) + after)

    def left(self) -> List[str]:
        names = [name[len(FAILED) + 1 :] for name in self.host.names("filesystem") if name.startswith(FAILED + "/")]
        return sorted({name.partition("/")[0] for name in names})


@pytest.fixture
def site(pooled: ModuleHost) -> Site:
    return Site(pooled)


def test_all_but_the_newest(site: Site) -> None:
    data = site.host.names("filesystem,snapshot")
    destroyed, kept = site.prune(2)
    assert (destroyed, kept) == ([FAILED + "/0009-aaaaaaaa"], {})
    assert site.left() == ["0010-bbbbbbbb", "0010-bbbbbbbb-undone"]
    assert site.prune(0)[0] == [FAILED + "/0010-bbbbbbbb"], "the newest one stays"
    assert site.left() == ["0010-bbbbbbbb-undone"]
    gone = set(data) - set(site.host.names("filesystem,snapshot"))
    assert gone and all(name.startswith(FAILED + "/") for name in gone)
    assert site.prune() == ([], {})


def test_by_age(site: Site) -> None:
    assert site.prune(older_than=2 * DAY) == ([], {})
    assert len(site.prune(older_than=2 * DAY, after=3 * DAY)[0]) == 2


def test_a_clock_that_jumped(site: Site) -> None:
    destroyed, kept = site.prune(older_than=30 * DAY, after=40 * YEAR)
    assert destroyed == [] and len(kept) == 2 and "the clock jumped" in kept[FAILED + "/0009-aaaaaaaa"]
    assert len(site.left()) == 3


def test_what_somebody_needs(site: Site) -> None:
    command = site.host.command
    command("zfs", "clone", FAILED + "/0009-aaaaaaaa/var/db@of-the-trial", "tank/look")
    command("zfs", "hold", "backup", FAILED + "/0010-bbbbbbbb/var/db@of-the-trial")
    command("zfs", "create", "-o", "mountpoint=none", FAILED + "/0001-by-hand")
    command("zfs", "create", FAILED + "/notes")
    destroyed, kept = site.prune()
    assert destroyed == []
    assert kept == {
        FAILED + "/notes": "it was not made by this collection",
        FAILED + "/0001-by-hand": "it was not made by this collection",
        FAILED + "/0009-aaaaaaaa": "tank/look depend on it",
        FAILED + "/0010-bbbbbbbb": "held: {0}/0010-bbbbbbbb/var/db@of-the-trial by backup".format(FAILED),
    }
    command("zfs", "release", "backup", FAILED + "/0010-bbbbbbbb/var/db@of-the-trial")
    command("mount", "-t", "zfs", FAILED + "/0010-bbbbbbbb/var/db", "/mnt")
    assert site.prune()[1][FAILED + "/0010-bbbbbbbb"] == "mounted: {0}/0010-bbbbbbbb/var/db".format(FAILED)


def test_nothing_failed(pooled: ModuleHost) -> None:
    assert prune_failed(Zfs(Runner(pooled.machine.execute)), ROOT, 0, None, 0) == ([], {})


@pytest.mark.parametrize("name", ["tank", "tank/a@b", "tank/a#b"])
def test_only_a_dataset_is_destroyed(pooled: ModuleHost, name: str) -> None:
    with pytest.raises(FleetError, match="does not name one dataset"):
        Zfs(Runner(pooled.machine.execute)).destroy(name)


@pytest.mark.parametrize(
    ("creations", "now", "believed"),
    [
        ([], 50 * YEAR, True),
        ([50 * YEAR, 51 * YEAR], 52 * YEAR, True),
        ([50 * YEAR, 51 * YEAR], 91 * YEAR, False),
        ([50 * YEAR, 91 * YEAR], 91 * YEAR, False),
        ([50 * YEAR, 0], 50 * YEAR, False),
        ([50 * YEAR + 60], 50 * YEAR, True),
        ([50 * YEAR], 0, False),
    ],
)
def test_clocks(creations: List[int], now: float, believed: bool) -> None:
    assert (clock_problem(creations, now) is None) == believed


def test_what_a_restore_put_aside_is_no_state_that_failed(site: Site) -> None:
    site.host.command("zfs", "create", "-o", MADE_BY + "=" + MAKER, FAILED + "/restore-0123abcd")
    assert site.prune() == ([FAILED + "/0009-aaaaaaaa", FAILED + "/0010-bbbbbbbb"], {})
    assert site.left() == ["0010-bbbbbbbb-undone", "restore-0123abcd"]
