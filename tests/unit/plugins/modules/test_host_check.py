# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""host_check: whether a host that came back from a backup is itself."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.arrived import Expected, strangers
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed, unpacked
from ansible_collections.nanozfs.fleet.plugins.modules import host_check
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost


def look(host: ModuleHost, **arguments: Any) -> Dict[str, Any]:
    before = host.fingerprint()
    result: Dict[str, Any] = host.ok("host_check", retries=1, **arguments)
    assert not result["changed"] and result["actions"] == [] and host.fingerprint() == before
    return result


def test_a_host_that_is_itself(pooled: ModuleHost) -> None:
    found = look(pooled, hostname="web-1", pool="tank")
    assert (found["problems"], found["state"], found["version"]) == ([], "normal", "1.0")
    assert unpacked(found["packed"]) == []


def test_another_one(pooled: ModuleHost) -> None:
    found = look(pooled, hostname="web-2", hostid="4d2", pool="tank")["problems"]
    assert len(found) == 2 and found[0] == "it calls itself 'web-1', and was 'web-2'"
    assert found[1].endswith(", and was 4d2")


def test_what_it_is_for_is_tried(pooled: ModuleHost) -> None:
    found = look(pooled, ports=[1], commands=["false x"])["problems"]
    assert look(pooled, ports=[1], commands=["false x"])["checks"] == 2 and look(pooled)["checks"] == 0
    assert len(found) == 2 and found[0].startswith("port: ") and found[1].startswith("failed: false x")


def test_its_files_are_told(pooled: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_bytes(b"x")
    os.utime(str(tmp_path / "there"), (5, 5))
    monkeypatch.setattr(host_check, "TOP", str(tmp_path))
    files: List[Dict[str, Any]] = [
        {"path": name, "kind": "file", "size": 1, "mtime": 5 * 10**9} for name in ("there", "gone\udcff")
    ]
    rows = unpacked(look(pooled, packed=packed({"files": files, "digests": 2, "bytes": 10}))["packed"])
    assert "sha256" in rows[0] and rows[1] == {"kind": "gone"}


@pytest.mark.parametrize("text", ["nonsense", packed([]), packed({"files": [{"path": "../x"}]})])
def test_what_makes_no_sense_is_refused(pooled: ModuleHost, text: str) -> None:
    said = pooled.refused("host_check", packed=text)
    assert "makes no sense" in said or "lost something" in said


POOL = {"name": "tank", "health": "ONLINE", "capacity": 1}
HOST: Dict[str, Any] = {"state": "normal", "hostname": "web-1", "pool": POOL}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, []),
        ({"state": "recovery", "reason": "no pool"}, ["recovery: no pool"]),
        ({"state": None}, ["unknown: its early boot hook has not said in which state it is"]),
        ({"pool": None}, ["its pool is None (None), and tank (ONLINE) was expected"]),
        # that the backups of the host are no good says nothing of the restore
        ({"backups": {"vault": {"verified": {"result": "failed", "kind": "sample"}}}}, []),
    ],
)
def test_what_counts(more: Dict[str, Any], words: List[str]) -> None:
    assert strangers({**HOST, **more}, "4d2", Expected("web-1", "4d2", "tank")) == words
