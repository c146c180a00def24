# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A start of a host on the model, in Python: the boot code, the import, the rows of the table that belong to a start.

For tests that start a host some thousand times. That the real early hook does the same is tested in tests/boot.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import HOLD_TAG, MADE_BY, MAKER
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import machine, operations, situation
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import perform
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import TRIED, Situation
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.state import remember
from ansible_collections.nanozfs.fleet.tests.model.gptboot import GptBoot
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

LABELS = {3: "nz-recovery", 4: "nz-a", 5: "nz-b"}

#: commands that change a pool or the medium
CHANGING = {
    "zfs": (
        "create",
        "destroy",
        "rename",
        "clone",
        "promote",
        "set",
        "inherit",
        "snapshot",
        "hold",
        "release",
        "allow",
    ),
    "gpart": ("set", "unset", "commit", "recover"),
    "zpool": ("import",),
    "mount": ("-t",),
    "cp": ("-Rp",),
}


class PowerCut(Exception):
    """The power went."""


class Supply:
    """The power of a machine: it fails instead of a command that would change something.

    :param after: how many such commands are carried out before; ``None`` where it does not fail.
    """

    def __init__(self, machine: Machine, after: Optional[int] = None) -> None:
        self.machine = machine
        self.after = after
        self.changed = 0

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        """A command, or the end of it all."""
        if len(argv) > 1 and argv[1] in CHANGING.get(argv[0], ()):
            if self.after is not None and self.changed >= self.after:
                raise PowerCut
            self.changed += 1
        return self.machine.execute(argv, stdin)

    @property
    def runner(self) -> Runner:
        return Runner(self.execute)


def boot_code(host: ModuleHost) -> str:
    """What gptboot takes; it may write to the disk."""
    disk = host.machine.hardware["disks"]["ada0"]
    index = GptBoot(host.machine.image("ada0"), disk["size"] // 512).next()
    assert index is not None, "gptboot finds nothing to boot"
    return LABELS[index]


def start(host: ModuleHost, after: Optional[int] = None) -> str:
    """Start the host; the label of the slice that runs.

    :param after: the power fails after so many commands of the early hook.
    :raises PowerCut: when it does.
    """
    label = boot_code(host)
    host.machine.start({"nanozfs.state": "normal", "nanozfs.slice": label})
    host.machine.running["sysctl"]["kern.hostname"] = "web-1"
    host.machine.running["boottime"] = time.time()
    host.machine.running["mounts"] = [
        {"from": "/dev/gpt/" + label, "on": "/", "type": "ufs", "readonly": True},
        {"from": "devfs", "on": "/dev", "type": "devfs", "readonly": False},
    ]
    host.machine.save()
    supply = Supply(host.machine, after)
    rc, _out, err = supply.execute(["zpool", "import", "-f", "-N", "-o", "cachefile=none", "tank"])
    assert rc == 0, err
    here = situation.look(supply.runner)
    if here.medium.on_trial():
        remember(here.medium, {TRIED: here.journal.txn or ""})
    for event in (machine.BEGIN, machine.BACK):
        row = machine.allowed(here.facts(), event)
        if row is not None:
            _do(here, row)
            break
    return label


def _do(here: Situation, row: machine.Row) -> None:
    notes = row.actions.count(machine.NOTE)
    for action in row.actions:
        if action == machine.NOTE:
            notes -= 1
            phase = row.next_phase(here.journal.phase) if notes == 0 else journals.REVERTING
            lease = None if phase == journals.REVERTED else here.journal.lease
            here = here.again(replace(here.journal, phase=phase, lease=lease))
            here.store.write(here.journal)
        else:
            _ACTIONS.get(action, _nothing)(here)


def _nothing(here: Situation) -> None:
    """It is not the hook's, or of no interest here."""


def _snapshot(here: Situation) -> None:
    name = "{0}@{1}".format(here.root, journals.snapshot_tag(str(here.journal.txn)))
    for argv in (
        ["zfs", "snapshot", "-r", "-o", "{0}={1}".format(MADE_BY, MAKER), name],
        ["zfs", "hold", "-r", HOLD_TAG, name],
    ):
        here.runner.change(argv, "take the snapshot of the trial")


def _unflag(here: Situation) -> None:
    operations.Operation(here, operations.NOBODY)._unflag(here.journal)


_ACTIONS: Dict[str, Callable[[Situation], None]] = {
    machine.SNAPSHOT: _snapshot,
    machine.APPLY: lambda here: _perform(here, here.journal.apply),
    machine.PUT_BACK: lambda here: _perform(here, here.journal.revert),
    machine.UNFLAG: _unflag,
}


def _perform(here: Situation, steps: Sequence[Any]) -> None:
    perform(here.zfs, steps)
