# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the agent on the model of a host, with /etc and its sources in real folders, and somebody who types."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import cli
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import JournalStore
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost, boot

#: where the early hook has what `nanozfs save` rehearses the next start with
HOOK = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles/image/files/root/boot/nanozfs"
)

#: of the lab: it reads the files of rc.conf as FreeBSD's does
DEFAULTS = os.path.join(HOOK, "../../../../../../tests/lab/world/etc/defaults/rc.conf")

Reply = Tuple[int, str, str]

#: stands for the six digits that were shown last
DIGITS = "the digits"

#: stands for Ctrl-C
INTERRUPT = "Ctrl-C"

_SHOWN = re.compile(r"type these six digits: (\d{3} \d{3})")


class Answer(NamedTuple):
    """What a command of the agent gave back."""

    rc: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Typist(io.StringIO):
    """Somebody at the console who types what he is told, and the digits that he sees.

    :param screen: what he sees.
    :param lines: what he types, one line after the other; then he goes away.
    """

    def __init__(self, screen: io.StringIO, lines: Sequence[str]) -> None:
        super().__init__()
        self._screen = screen
        self._lines = list(lines)

    def readline(self, size: Optional[int] = -1, /) -> str:  # type: ignore[override]
        if not self._lines:
            return ""
        line = self._lines.pop(0)
        if line == INTERRUPT:
            raise KeyboardInterrupt
        if line == DIGITS:
            line = _SHOWN.findall(self._screen.getvalue())[-1]
        self._screen.write(line + "\n")
        return line + "\n"


class Trees:
    """The trees of a host, in folders of a test."""

    places: Places

    def put(self, tree: str, path: str, content: str, mode: int = 0o644) -> None:
        """A file in one of the trees."""
        full = os.path.join(getattr(self.places, tree), path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(full, mode)

    def get(self, tree: str, path: str) -> Optional[str]:
        """The content of a file in one of the trees; ``None`` when there is none."""
        full = os.path.join(getattr(self.places, tree), path)
        if not os.path.lexists(full):
            return None
        with open(full, encoding="utf-8") as file:
            return file.read()


class AgentHost(Trees):
    """A host with the agent.

    :param host: the model; its pool must be imported.
    :param folder: where /etc and /conf/base/etc are.
    """

    def __init__(self, host: ModuleHost, folder: str) -> None:
        self.host = host
        self.replies: Dict[str, Callable[[Sequence[str]], Reply]] = {}
        self.ran: List[Tuple[str, ...]] = []
        self.now = 1795420800.0
        self.places = Places(os.path.join(folder, "etc"), os.path.join(folder, "base"), self._cfg(), HOOK)
        for place in (self.places.etc, self.places.base):
            os.mkdir(place)
        self.mount_cfg()
        for tree in ("base", "etc"):
            self.put(tree, "rc.conf", 'hostname="image"\n')
            self.put(tree, "motd", "welcome\n")
            with open(DEFAULTS, encoding="utf-8") as file:
                self.put(tree, "defaults/rc.conf", file.read())
        for tree in ("cfg", "etc"):
            self.put(tree, "rc.conf", 'hostname="web-1"\n')
            self.put(tree, "ssh/ssh_host_ed25519_key", "key\n", 0o600)

    def _cfg(self) -> str:
        self.host.machine.load()
        return pools.folder(self.host.machine, "tank/nanozfs/cfg")

    def mount_cfg(self) -> None:
        """What the early boot hook does with cfg."""
        self.host.command("mount", "-t", "zfs", "-o", "ro", "tank/nanozfs/cfg", self.places.cfg)

    def restart(self, label: str, on_trial: bool = False) -> None:
        """Start from a slice, as the early boot hook does it with the pool."""
        boot(self.host.machine, label, on_trial)
        self.host.command("zpool", "import", "-f", "-N", "-o", "cachefile=none", "tank")
        self.mount_cfg()

    def lose_pool(self, *disks: str, reason: str = "cannot import 'tank': no such pool available") -> None:
        """Start in recovery mode, without some disks."""
        self.host.machine.load()
        for disk in disks:
            self.host.machine.remove_disk(disk)
        boot(self.host.machine, "nz-a")
        self.kenv("nanozfs.state=recovery", "nanozfs.reason=" + reason)

    def kenv(self, *settings: str) -> None:
        for each in settings:
            self.host.command("kenv", each)

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Reply:
        """A command: a scripted one, the shell, or one of the model."""
        self.ran.append(tuple(argv))
        name = os.path.basename(argv[0])
        if name in self.replies:
            return self.replies[name](argv)
        if name == "sh":
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, done.stderr
        return self.host.machine.execute(argv, stdin)

    def run(self, *argv: str, typed: Sequence[str] = ()) -> Answer:
        """Run the agent."""
        out, err = io.StringIO(), io.StringIO()
        screen = Screen(Typist(out, typed), out, err)
        rc = cli.main(argv, self.execute, screen, self.places, lambda: self.now)
        return Answer(rc, out.getvalue(), err.getvalue())

    def ok(self, *argv: str) -> str:
        """Run the agent; it must succeed. What it says."""
        answer = self.run(*argv)
        assert answer.rc == 0, answer
        return answer.out

    def refused(self, *argv: str) -> str:
        """Run the agent; it must refuse, and say what to do. Nothing may change."""
        before = self.host.fingerprint()
        answer = self.run(*argv)
        assert answer.rc == 3, answer
        assert self.host.fingerprint() == before, "a refused command changed something"
        return answer.err

    def phase(self) -> str:
        """The phase of the journal."""
        return JournalStore(Zfs(Runner(self.host.machine.execute)), "tank").read().phase

    def mounted(self) -> str:
        """How /cfg is mounted: ``ro`` or ``rw``."""
        self.host.machine.load()
        return next(
            "ro" if each["readonly"] else "rw"
            for each in self.host.machine.running["mounts"]
            if each["on"] == self.places.cfg
        )
