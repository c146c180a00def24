# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup host with a pool of the model, which pulls a host of the model by zfs send: both sides as they are, with the
line between them in one's hands.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import execute, sets, zfssend
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import Outcome, Vault
from ansible_collections.nanozfs.fleet.tests.model import streams
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine as Model
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp
from ansible_collections.nanozfs.fleet.tests.unit.vault import NOW, Machine

GIB = 1 << 30

#: a day of the backup host
DAY = 86400

TOP = "bank/backups"


class Copying(Kernel):
    """A kernel whose mounts of snapshots can be read: what is mounted is copied into the folder."""

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def bind(self, source: str, target: str, readonly: bool) -> None:
        assert readonly, "a snapshot is never mounted for writing"
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)

    def unmount(self, target: str, force: bool) -> bool:
        for name in os.listdir(target):
            path = os.path.join(target, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        return True


class PooledVault(Machine):
    """The backup host.

    :param host: that is pulled, as web-1.
    """

    def __init__(self, base: str, host: BackedUp, **more: Any) -> None:
        super().__init__(base, web_1={"method": "send", "window": "", **more})
        self.told["dataset"] = TOP
        self.host = host
        host.now = float(NOW)
        self.model = Model.create(os.path.join(base, "model"), kernel=Copying(), seed=2)
        self.model.add_disk("ada0", GIB)
        self.command("zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "bank", "ada0")
        zfssend.provide(self.zfs, self.fleet)
        #: after how many bytes of each stream to come the line is cut; ``None`` for not at all
        self.cuts: List[Optional[int]] = []
        #: what the host sends instead
        self.forge: Callable[[bytes], bytes] = bytes
        #: what was asked of the host, and which streams went
        self.wishes: List[Dict[str, Any]] = []
        self.sent: List[List[str]] = []
        self.orders: List[execute.Order] = []

    @property
    def zfs(self) -> Zfs:
        """Zfs of the backup host."""
        return Zfs(Runner(self.model.execute))

    def command(self, *argv: str) -> str:
        """Run a command of the backup host that must succeed."""
        output = self.model.run(argv)
        assert output.rc == 0, (argv, output)
        return output.out

    def run(
        self, argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
    ) -> Tuple[int, str, str]:
        """One command."""
        program = os.path.basename(argv[0])
        if program in ("zfs", "mount", "umount"):
            self.calls.append(list(argv))
            return self.model.execute(argv, stdin)
        if program == "rsync":
            self.calls.append(list(argv))
            shutil.copy(os.path.join(self.host.exposing().root, sets.DESCRIPTION), argv[-1])
            return 0, "", ""
        return super().run(argv, stdin, seconds, more)

    def _ssh(self, argv: Sequence[str], stdin: Optional[str]) -> Tuple[int, str, str]:
        if "web-1" in self.gate:
            rc, err = self.gate["web-1"]
            return rc, "", err
        if argv[-1].endswith(" end"):
            self.ended.append(("web-1", json.loads(stdin or "")))
        answer = self.host.ask(argv[-1], stdin or "")
        if answer.rc == 0 and argv[-1].endswith(" begin"):
            return 0, json.dumps(dict(answer.json(), root=self.fleet.tree)), ""
        return answer.rc, answer.out, answer.err

    def flow(self, order: execute.Order) -> execute.Flowed:
        """One stream, with the line as it is wanted."""
        self.orders.append(order)
        self.wishes.append(json.loads(order.text))
        before = len(self.host.execed)
        try:
            answer = self.host.ask(order.source[-1], order.text)
            return execute.Flowed(0, answer.rc, answer.err)
        except SystemExit:
            assert len(self.host.execed) == before + 1
        self.sent.append(self.host.execed[-1])
        output = self.host.host.machine.run(self.sent[-1])
        data = self.forge(streams.as_bytes(output.out))
        cut = self.cuts.pop(0) if self.cuts else None
        if cut is not None:
            data = data[:cut]
        if len(data) < order.head:
            return execute.Flowed(len(data), 255 if cut is not None else output.rc, output.err)
        wrong = order.judge(data[: order.head])
        if wrong:
            return execute.Flowed(order.head, -15, "", wrong=wrong)
        took = self.model.run(order.target, streams.as_text(data))
        return execute.Flowed(len(data), 255 if cut is not None else 0, "", took.rc, took.err)

    # what tests do

    def pull(self, later: float = 0) -> Outcome:
        """Pull the host.

        :param later: so many seconds later than the last time.
        """
        self.now += later
        self.host.later(later)
        vault = Vault(self.fleet, self.places, self.run, self.clock, self.flow)
        (outcome,) = vault.run(["web-1"], True, lambda outcome: None)
        return outcome

    def kept(self) -> List[sets.Set]:
        """The sets of the host, the newest first."""
        return sets.sets_of(self.fleet, "web-1")

    def read(self, chosen: sets.Set, path: str) -> str:
        """A file of a set, by its place on the host."""
        with zfssend.opened(self.fleet, chosen, self.run):
            return self.text(os.path.join(chosen.path, self.inner(path)))

    def inner(self, path: str) -> str:
        """Where in a tree a file of the host is: its datasets are mounted below a folder of the test."""
        return path if path == sets.DESCRIPTION else os.path.join(self.host.top.lstrip("/"), path)

    @staticmethod
    def text(path: str) -> str:
        """What is in a file."""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def snapshots(self) -> List[str]:
        """The snapshots here, below the dataset of the host."""
        every = self.zfs.snapshots(TOP + "/web-1", recursive=True)
        return [each.name[len(TOP + "/web-1/") :] for each in every]

    def datasets(self) -> List[str]:
        """The datasets here."""
        every = self.zfs.datasets(TOP + "/web-1")
        return [each.name[len(TOP + "/web-1/") :] for each in every if each.name != TOP + "/web-1"]
