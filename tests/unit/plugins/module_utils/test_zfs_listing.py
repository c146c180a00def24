# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of what others make and destroy meanwhile: a second backup host, a replication, somebody's cron."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import CommandError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, Zfs
from ansible_collections.nanozfs.fleet.tests.unit.agent import Reply
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

ROOT = "tank/nanozfs"


class Busy:
    """A host on which something else happens after each list.

    :param meanwhile: what, with the number of the list before it.
    """

    def __init__(self, host: ModuleHost, meanwhile: Callable[[int], None]) -> None:
        self.host, self.meanwhile = host, meanwhile
        self.lists = 0
        for name in ("old", "new"):
            host.command("zfs", "snapshot", "-r", "{0}/var@{1}".format(ROOT, name))
        self.zfs = Zfs(Runner(self.execute))

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Reply:
        answer = self.host.machine.execute(argv, stdin)
        if list(argv[:2]) == ["zfs", "list"]:
            self.lists += 1
            self.meanwhile(self.lists)
        return answer

    def tags(self) -> List[str]:
        return sorted({each.tag for each in self.zfs.snapshots(ROOT, recursive=True)})


def test_one_goes_once(pooled: ModuleHost) -> None:
    def meanwhile(number: int) -> None:
        if number == 1:
            pooled.command("zfs", "destroy", "-r", ROOT + "/var@old")

    busy = Busy(pooled, meanwhile)
    assert busy.tags() == ["new"] and busy.lists == 2


def test_one_comes_once(pooled: ModuleHost) -> None:
    def meanwhile(number: int) -> None:
        if number == 1:
            pooled.command("zfs", "snapshot", "-o", MADE_BY + "=somebody", ROOT + "/var/db@third")

    busy = Busy(pooled, meanwhile)
    assert busy.tags() == ["new", "old", "third"]
    (third,) = [each for each in busy.zfs.snapshots(ROOT + "/var/db") if each.tag == "third"]
    assert third.made_by == "somebody"


def test_they_never_stop(pooled: ModuleHost) -> None:
    """Of what comes and goes each time the list is right for all else."""

    def meanwhile(number: int) -> None:
        pooled.command("zfs", "snapshot", "{0}/var/log@busy{1}".format(ROOT, number))
        if number > 1:
            pooled.command("zfs", "destroy", "{0}/var/log@busy{1}".format(ROOT, number - 1))

    busy = Busy(pooled, meanwhile)
    assert busy.tags() == ["new", "old"]
    assert len(busy.zfs.snapshots(ROOT + "/var/db")) == 2


def test_all_goes(pooled: ModuleHost) -> None:
    doomed = ["/var/db", "/var/log"]

    def meanwhile(number: int) -> None:
        if number == 1:
            pooled.command("zfs", "destroy", "-r", ROOT + doomed.pop(0))

    busy = Busy(pooled, meanwhile)
    assert busy.zfs.snapshots(ROOT + "/var/db") == []
    busy.lists = 0
    names = [each.name for each in busy.zfs.datasets(ROOT)]
    assert ROOT + "/var" in names and ROOT + "/var/log" not in names


def test_what_a_value_makes_up_is_no_object(pooled: ModuleHost) -> None:
    """A property with line ends looks like rows of others; it is asked for by name then, as ever."""
    forged = "x\n{0}/var/db@forged\t{1}\tlocal\tnanozfs.fleet".format(ROOT, MADE_BY)
    pooled.command("zfs", "snapshot", "-o", "{0}={1}".format(MADE_BY, forged), ROOT + "/var/db@real")
    (found,) = [each for each in Zfs(Runner(pooled.machine.execute)).snapshots(ROOT + "/var/db") if each.tag == "real"]
    assert found.made_by == forged


def test_holds_of_one_that_is_gone(pooled: ModuleHost) -> None:
    busy = Busy(pooled, lambda number: None)
    names = ["{0}/var@{1}".format(ROOT, tag) for tag in ("old", "gone", "new")]
    pooled.command("zfs", "hold", "mine", names[2])
    assert [(hold.snapshot, hold.tag) for hold in busy.zfs.holds(names)] == [(names[2], "mine")]
    assert busy.zfs.holds([names[1]]) == []


@pytest.mark.parametrize(
    "look", [lambda zfs: zfs.holds(["a@b"]), lambda zfs: zfs.snapshots("a"), lambda zfs: zfs.datasets("a")]
)
def test_another_error_is_one(look: Callable[[Zfs], object]) -> None:
    def refuse(argv: Sequence[str], stdin: Optional[str] = None) -> Reply:
        return 1, "", "cannot open: permission denied"

    with pytest.raises(CommandError):
        look(Zfs(Runner(refuse)))
