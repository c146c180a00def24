# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host on the model that goes through upgrades: the modules as a play calls them, and starts in between."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import Outcome
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import restart, staging
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal, JournalStore
from ansible_collections.nanozfs.fleet.plugins.modules import trial
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost
from ansible_collections.nanozfs.fleet.tests.unit.start import start

ROOT = "tank/nanozfs"
VAR, CFG, LOG = ROOT + "/var", ROOT + "/cfg", ROOT + "/var/log"

#: who plays
ALICE = {"user": "alice", "node": "controller", "pid": "1"}
BOB = {"user": "bob", "node": "controller", "pid": "2"}


class Play:
    """One play against one host: it keeps its lease from call to call.

    :param who: its holder.
    """

    def __init__(self, fleet: Fleet, who: Dict[str, str], **more: Any) -> None:
        self.fleet = fleet
        self.who = who
        self.lease: Optional[str] = None
        self.more = more

    def _call(self, module: str, **arguments: Any) -> Dict[str, Any]:
        lease = {"lease": self.lease} if self.lease else {}
        return self.fleet.host.run(module, holder=self.who, **dict(lease, **arguments))

    def look(self, version: str = "1.1", **more: Any) -> Dict[str, Any]:
        """What the role's first task does."""
        known = {key: value for key, value in self.more.items() if key in ("take_over", "allow_bad")}
        return self.fleet.host.run("upgrade_info", holder=self.who, **self.fleet.wanted(version), **dict(known, **more))

    def open(self, source: str = "1.0", target: str = "1.1", **more: Any) -> Dict[str, Any]:
        """Open the transaction; a failure is returned as one."""
        arguments = {"running": self.fleet.refs[source], "target": self.fleet.refs[target], "min_free": MIB}
        found = self._call("transaction", state="opened", **dict(arguments, **dict(self.more, **more)))
        self.lease = found.get("lease") if not found["failed"] else self.lease
        return found

    def write(self, version: str = "1.1") -> Dict[str, Any]:
        """Write the image, to its end."""
        wanted = self.fleet.wanted(version)
        return self.fleet.host.run("image_write", lease=self.lease, **wanted)

    def trial(self, step: str, **more: Any) -> Dict[str, Any]:
        return self._call("trial", step=step, **more)

    def until_armed(self, source: str = "1.0", target: str = "1.1", **more: Any) -> str:
        """Everything up to the restart; the transaction's id."""
        opened = self.open(source, target, **more)
        assert not opened["failed"], opened["msg"]
        if opened["todo"]["write"]:
            written = self.write(target)
            assert not written["failed"], written["msg"]
        datasets = {"datasets": more["datasets"]} if "datasets" in more else {}
        armed = self.trial("begin", **datasets)
        assert not armed["failed"], armed["msg"]
        return str(opened["txn"])


class Fleet:
    """A host with the images that it moves between."""

    def __init__(self, host: ModuleHost, images: Images) -> None:
        self.host = host
        self.images = images
        self.refs = {
            version: {key: built[key] for key in ("id", "build", "version")} for version, built in images.built.items()
        }
        self.restarts: List[Any] = []
        host.machine.load()
        host.machine.running["boottime"] = time.time()
        host.machine.save()
        host.monkeypatch.setattr(restart, "begin", self._restart)
        host.monkeypatch.setattr(staging, "_entries", lambda folder: [])
        #: what the rehearsal of the next start says of a staged configuration
        self.outcome = Outcome("", [])
        host.monkeypatch.setattr(trial, "rehearse", self._rehearsed)

    def _rehearsed(self, _runner: Runner, places: Places, _changes: Any) -> Outcome:
        """The one in force comes up with all its files."""
        return Outcome("", []) if places == trial.PLACES else self.outcome

    def _restart(self, runner: Runner, *arguments: Any, **more: Any) -> str:
        """Instead of a process in the background: what it would do is kept for the test."""
        runner.actions.append("shutdown -r now")
        if not runner.check_mode:
            self.restarts.append(more)
        return restart.boot_id(runner)

    def wanted(self, version: str) -> Dict[str, Any]:
        return {
            "repository": self.images.repository,
            "image": version,
            "allowed_signers": self.images.signers,
            "revoked_keys": "/nonexistent",
        }

    def play(self, who: Optional[Dict[str, str]] = None, **more: Any) -> Play:
        return Play(self, who or ALICE, **more)

    def start(self, after: Optional[int] = None) -> str:
        """Start the host, whether it was asked to or not."""
        return start(self.host, after)

    def store(self) -> JournalStore:
        return JournalStore(Zfs(Runner(self.host.machine.execute)), "tank")

    @property
    def journal(self) -> Journal:
        return self.store().read()

    def files(self) -> List[Any]:
        """What the configuration, the data and the logs hold."""
        return [self.host.read(CFG, "rc.conf"), self.host.read(VAR + "/db", "data"), self.host.read(LOG, "messages")]

    def write(self, text: str) -> None:
        self.host.write(CFG, "rc.conf", text)
        self.host.write(VAR + "/db", "data", text)
        self.host.write(LOG, "messages", text)
