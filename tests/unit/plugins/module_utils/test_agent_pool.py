# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``nanozfs zpool-upgrade`` on a host with two releases on its slices; what its zpool says is recorded on a 15.0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import pool
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import compatibility
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.content import SliceContent, read_slice
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost, Reply
from ansible_collections.nanozfs.fleet.tests.unit.plugins.module_utils.test_readable import KNOWN_13, KNOWN_15


class Host:
    """The host, whose running system is a 15.0."""

    def __init__(self, agent: AgentHost, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agent = agent
        self.compatibility = "off"
        #: what each slice knows
        self.knows: Dict[str, Any] = {"nz-a": KNOWN_15, "nz-b": KNOWN_15, "nz-recovery": KNOWN_15}
        agent.replies["zpool"] = self.zpool
        monkeypatch.setattr(pool, "read_slice", self.read)

    def zpool(self, argv: Sequence[str]) -> Reply:
        if argv[1] in ("set", "upgrade"):
            return 0, "", ""
        if argv[1] == "get":
            rows = transcripts.load("zpool", "348-compat-get", transcripts.FIXTURES_15).out
            return 0, rows.replace("compatibility\topenzfs-2.1-freebsd", "compatibility\t" + self.compatibility), ""
        return self.agent.host.machine.execute(argv)

    def read(self, piece: Any, digest: bool) -> Any:
        """What is on a slice; one that is empty holds what the running one does."""
        found = read_slice(piece, digest)
        inside = found.inside or read_slice(self.running, digest).inside
        assert inside is not None
        return SliceContent(replace(inside, features=self.knows[piece.label]), None, "")

    @property
    def running(self) -> Any:
        return read_medium(Runner(self.agent.host.machine.execute)).slices["nz-a"]

    def changes(self) -> List[Tuple[str, ...]]:
        return [argv for argv in self.agent.ran if argv[:2] in (("zpool", "set"), ("zpool", "upgrade"))]


@pytest.fixture(name="host")
def fixture_host(agent: AgentHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Host:
    (tmp_path / "openzfs-2.1-freebsd").write_text("\n".join(KNOWN_13) + "\n")
    monkeypatch.setattr(compatibility, "FOLDERS", (str(tmp_path),))
    return Host(agent, monkeypatch)


def test_all_systems_know_all(host: Host) -> None:
    assert "would be: the pool tank got blake3, block_cloning" in host.agent.ok("zpool-upgrade", "--check")
    assert host.changes() == []
    assert "the pool tank got blake3, block_cloning" in host.agent.ok("zpool-upgrade")
    assert host.changes() == [("zpool", "upgrade", "tank")]


@pytest.mark.parametrize("label", ["nz-b", "nz-recovery"])
def test_a_slice_would_be_locked_out(host: Host, label: str) -> None:
    host.knows[label] = KNOWN_13
    words = host.agent.refused("zpool-upgrade")
    assert label in words and "does not know blake3, block_cloning" in words and "--compatibility" in words
    assert host.changes() == []
    said = host.agent.ok("zpool-upgrade", "--compatibility", "openzfs-2.1-freebsd")
    assert said == "the pool tank may have the features of openzfs-2.1-freebsd\n"
    assert host.changes() == [("zpool", "set", "compatibility=openzfs-2.1-freebsd", "tank")]


def test_nothing_to_do_and_no_such_set(host: Host) -> None:
    host.compatibility = "openzfs-2.1-freebsd"
    assert host.agent.ok("zpool-upgrade") == "there is nothing to enable\n" and host.changes() == []
    assert "no set of features openzfs-9" in host.agent.refused("zpool-upgrade", "--compatibility", "openzfs-9")


def test_not_on_trial_nor_in_recovery_mode(host: Host) -> None:
    host.agent.kenv("nanozfs.state=trial")
    assert "not the time for it" in host.agent.refused("zpool-upgrade")
    assert host.changes() == []
