# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the model that is backed up: its datasets mounted, and snapshots that can be read where they are."""

from __future__ import annotations

import io
import json
import os
import shutil
from typing import Any, Dict, List, NoReturn, Optional, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import cli
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import exposure, gate
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import Exposing
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.unit.agent import Answer
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

#: what a backup host says of a backup that went well
GOOD: Dict[str, Any] = {"result": "ok", "method": "rsnapshot", "bytes": 1000, "files": 3, "seconds": 5, "sent": 100}


class Copying(Kernel):
    """A kernel whose mounts of snapshots can be read: what is mounted is copied into the folder."""

    def __init__(self) -> None:
        self.busy = False
        self.broken = ""

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def bind(self, source: str, target: str, readonly: bool) -> None:
        if "/run/backup/" in target:
            assert readonly, "a snapshot is never mounted for writing"
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)

    def unmount(self, target: str, force: bool) -> bool:
        if self.busy and not force:
            return False
        if "/run/backup/" in target:
            for name in os.listdir(target):
                path = os.path.join(target, name)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        return True


class BackedUp:
    """A host whose datasets are mounted as after a start, below a folder of the test."""

    def __init__(self, host: ModuleHost, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.kernel = Copying()
        host.machine.kernel = self.kernel
        self.monkeypatch = monkeypatch
        self.top = os.path.join(folder, "root")
        self.now = 1795420900.0
        self.stdin = ""
        self.execed: List[List[str]] = []
        monkeypatch.setattr(gate, "execute", self._execute)
        for name in ("cfg", "var", "var/db", "var/log"):
            self.mount(name)
        host.write("tank/nanozfs/cfg", "rc.conf", 'hostname="web-1"\n')
        host.write("tank/nanozfs/var", "data", "var\n")
        host.write("tank/nanozfs/var/log", "messages", "log\n")
        host.write("tank/nanozfs/var/db", "table", "db\n")

    def _execute(self, argv: Sequence[str], environment: Dict[str, str]) -> NoReturn:
        self.execed.append(list(argv))
        raise SystemExit(0)

    def mount(self, name: str, dataset: str = "") -> None:
        """What the early hook does with a dataset."""
        parent, _slash, leaf = name.rpartition("/")
        if parent:
            self.host.machine.load()
            os.makedirs(os.path.join(pools.folder(self.host.machine, "tank/nanozfs/" + parent), leaf), exist_ok=True)
        os.makedirs(os.path.join(self.top, name), exist_ok=True)
        self.host.command("mount", "-t", "zfs", dataset or "tank/nanozfs/" + name, os.path.join(self.top, name))

    def restart(self) -> None:
        """What a restart forgets: mounts, and which start it is. What was in /var/run stays, to be on the safe side."""
        for what, where in reversed(exposure.mounts(self.runner)):
            if "@" in what:
                self.host.command("umount", where)
        self.host.machine.load()
        self.host.machine.running["boot_id"] = os.urandom(16).hex()
        self.host.machine.save()

    def later(self, seconds: float) -> None:
        """Time passes, by the clock of the model."""
        self.now += seconds
        self.host.machine.load()
        self.host.machine.running["boottime"] -= seconds
        self.host.machine.save()

    @property
    def runner(self) -> Runner:
        return Runner(self.host.machine.execute)

    @property
    def zfs(self) -> Zfs:
        return Zfs(self.runner)

    def exposing(self, label: str = "vault") -> Exposing:
        return Exposing(self.runner, label, lambda: self.now)

    def agent(self, *argv: str, stdin: str = "") -> Answer:
        """Run the agent."""
        out, err = io.StringIO(), io.StringIO()
        screen = Screen(io.StringIO(stdin), out, err)
        rc = cli.main(argv, self.host.machine.execute, screen, clock=lambda: self.now)
        return Answer(rc, out.getvalue(), err.getvalue())

    def run(self, *argv: str, stdin: str = "") -> Answer:
        """Run the command."""
        return self.agent("backup", *argv, stdin=stdin)

    def ask(self, command: Optional[str], stdin: Any = "", label: str = "vault") -> Answer:
        """What the key of a backup host gives it."""
        if command is None:
            self.monkeypatch.delenv(gate.ASKED, raising=False)
        else:
            self.monkeypatch.setenv(gate.ASKED, command)
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        return self.run("serve", label, stdin=text)

    def begin(self, label: str = "vault") -> Dict[str, Any]:
        answer = self.ask("nanozfs-backup begin", label=label)
        assert answer.rc == 0, answer
        return dict(answer.json())

    def end(self, label: str = "vault", **more: Any) -> Dict[str, Any]:
        answer = self.ask("nanozfs-backup end", dict(GOOD, **more), label)
        assert answer.rc == 0, answer
        return dict(answer.json())

    def status(self, label: str = "vault") -> Dict[str, Any]:
        answer = self.ask("nanozfs-backup status", label=label)
        assert answer.rc == 0, answer
        return dict(answer.json())

    def read(self, command: str, label: str = "vault") -> None:
        """A call of rsync that is let through."""
        with pytest.raises(SystemExit):
            self.ask(command, label=label)

    def ok_prune(self) -> str:
        answer = self.run("prune")
        assert answer.rc == 0, answer
        return answer.out

    def put_state(self, text: str) -> None:
        """What is noted of what is shown."""
        with open(os.path.join(self.exposing().folder, exposure.STATE), "w", encoding="ascii") as file:
            file.write(text)

    def live(self, name: str) -> str:
        """The folder of the model with the files of a dataset."""
        self.host.machine.load()
        return str(pools.folder(self.host.machine, "tank/nanozfs/" + name))

    def snapshots(self) -> List[str]:
        """Those of backups."""
        return [each for each in self.host.names("snapshot") if "@nanozfs-backup-" in each]

    def shown(self) -> List[str]:
        """What of snapshots is mounted."""
        return [what for what, _where in exposure.mounts(self.runner) if "@" in what]

    def tree(self, root: str) -> Dict[str, str]:
        """The files in what is shown, by their path on the host."""
        found = {}
        for folder, _folders, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    found["/" + os.path.relpath(path, root)] = file.read()
        return found

    def facts(self, root: str) -> Dict[str, Any]:
        with open(os.path.join(root, "nanozfs-host.json"), encoding="ascii") as file:
            return dict(json.load(file))
