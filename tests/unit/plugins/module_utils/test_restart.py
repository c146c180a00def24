# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting a host, on the host."""

from __future__ import annotations

import os
import time
from typing import Any, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import restart

BOOT_ID = "Format: Length:16 Dump:0x1f2e\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a refusal is noted."""
    monkeypatch.setattr(job, "RUN_DIR", str(tmp_path / "run"))
    return str(tmp_path)


class Host:
    """A host whose shutdown ends as it is told to."""

    def __init__(self, rc: int = 0, err: str = "", boot_id: str = BOOT_ID, log: str = "") -> None:
        self.shutdown = (rc, "", err)
        self.boot_id = boot_id
        self.log = log
        self.did: List[Any] = []

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[0] == "sysctl":
            return (0, self.boot_id, "") if self.boot_id else (1, "", "sysctl: unknown oid 'kern.boot_id'")
        assert list(argv) == ["shutdown", "-r", "now"]
        self.did.append("shutdown")
        if self.log:
            with open(self.log, "w", encoding="utf-8") as file:
                file.write(str(os.getpid()))
        return self.shutdown

    def restart(self) -> List[Any]:
        restart.restart(
            Runner(self.execute), 2, 90, self.did.append, self.did.append, lambda: self.did.append("give way")
        )
        return self.did


def test_it_happens() -> None:
    """The process does not live to see its end; in a test it does."""
    assert Host().restart()[:4] == [2, "shutdown", "give way", 90]


def test_it_is_refused() -> None:
    did = Host(1, "shutdown: /var/run/noshutdown exists\nsecond line").restart()
    assert did == [2, "shutdown", "shutdown -r now was refused: shutdown: /var/run/noshutdown exists"]


def test_nothing_happens() -> None:
    assert "nothing had happened after 90 seconds" in Host().restart()[-1]


def test_in_a_process_of_its_own(place: str) -> None:
    log = os.path.join(place, "log")
    host = Host(1, "no", log=log)
    runner = Runner(host.execute)
    restart.note("of an earlier one")
    assert restart.begin(runner, delay=0) == "0x1f2e"
    until = time.monotonic() + 10
    while not restart.refusal() and time.monotonic() < until:
        time.sleep(0.01)
    assert restart.look(runner) == {"boot_id": "0x1f2e", "refused": "shutdown -r now was refused: no"}
    with open(log, encoding="utf-8") as file:
        assert int(file.read()) != os.getpid()
    assert host.did == [] and runner.actions == ["shutdown -r now"]


def test_check_mode_restarts_nothing() -> None:
    host = Host()
    runner = Runner(host.execute, check_mode=True)
    assert restart.begin(runner, delay=0) == "0x1f2e"
    time.sleep(0.1)
    assert host.did == [] and runner.actions == ["shutdown -r now"]


def test_a_defect_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "detach", lambda work: work())
    monkeypatch.setattr(restart, "_persist", lambda: None)

    def breaks(argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        if argv[0] == "shutdown":
            raise RuntimeError("no fork")
        return 0, BOOT_ID, ""

    restart.begin(Runner(breaks), delay=0)
    assert restart.refusal().endswith("has a defect: no fork")


def test_without_a_boot_id_nothing_is_restarted() -> None:
    host = Host(boot_id="")
    with pytest.raises(FleetError, match="not restarted"):
        restart.begin(Runner(host.execute), delay=0)
    assert host.did == []
