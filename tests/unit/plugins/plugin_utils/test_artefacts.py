# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX keeps of a job: by host, small, harmless, and not lost when results of other hosts come."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

import pytest
from ansible.executor.stats import AggregateStats

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _artefacts, _variables

ROLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 4, "roles")

LOOK: Dict[str, Any] = {
    "step": "prepare",
    "says": "from 1.0 to 1.1",
    "running": {"version": "1.0"},
    "target": {"version": "1.1"},
    "todo": {"open": True},
    "journal": {"phase": "committed", "txn": "0003-old", "from": {"version": "0.8"}, "to": {"version": "1.0"}},
}
JOURNAL = {"phase": "prepared", "txn": "0004-new", "from": {"version": "1.0"}, "to": {"version": "1.1"}}
OPENED: Dict[str, Any] = {"step": "write", "todo": {"write": True}, "journal": JOURNAL, "lease": "secret"}
WRITTEN = {"changed": True, "finished": True}
ENDED: Dict[str, Any] = {
    "story": {"result": "committed", "what": "1.1 runs", "safe": "…", "todo": ""},
    "journal": JOURNAL,
}

HELD = {"result": "not begun", "what": "not begun: web-9 was lost", "safe": "…", "todo": ""}
RELEASED: Dict[str, Any] = {"changed": True, "journal": dict(JOURNAL, phase="written", lease=None)}
ROLLED_BACK = {
    "story": {"result": "committed", "what": "1.0 runs", "safe": "…", "todo": ""},
    "journal": {"kind": "rollback", "from": {"version": "1.1"}, "to": {"version": "1.0"}, "txn": "0005-new"},
}


@pytest.mark.parametrize(
    ("results", "check", "result", "what", "journey"),
    [
        ([], False, "failed", "it was not looked at", ("", "", "")),
        ([LOOK], True, "planned", "from 1.0 to 1.1", ("1.0", "1.1", "")),
        ([LOOK], False, "not begun", "from 1.0 to 1.1", ("1.0", "1.1", "")),
        ([dict(LOOK, step="done", says="1.1 runs already")], True, "nothing to do", "1.1 runs", ("1.0", "1.1", "")),
        ([{"failed": True, "msg": "the pool is degraded"}], False, "not begun", "the pool is degraded", ("", "", "")),
        ([{"unreachable": True, "msg": "no route"}], False, "no answer", "no route", ("", "", "")),
        ([LOOK, {"failed": True, "msg": "refused"}], False, "failed", "refused", ("1.0", "1.1", "")),
        ([LOOK, OPENED, {"skipped": True}], False, "unfinished", "ended before", ("1.0", "1.1", "0004-new")),
        ([LOOK, OPENED, {"failed": True, "msg": "full"}], False, "failed", "full", ("1.0", "1.1", "0004-new")),
        ([LOOK, OPENED, WRITTEN, ENDED], False, "committed", "1.1 runs", ("1.0", "1.1", "0004-new")),
        ([LOOK, dict(ENDED, failed=True, msg="x")], False, "committed", "1.1 runs", ("1.0", "1.1", "0004-new")),
        (
            [{"says": "given up", "changed": True, "journal": JOURNAL}],
            False,
            "given up",
            "given up",
            ("1.0", "1.1", "0004-new"),
        ),
        ([LOOK, {"begin": True, "wave": 1}], False, "not begun", "from 1.0 to 1.1", ("1.0", "1.1", "")),
        ([LOOK, {"begin": False, "story": HELD}], False, "not begun", "web-9 was lost", ("1.0", "1.1", "")),
        (
            [LOOK, {"begin": True}, OPENED, WRITTEN, RELEASED],
            False,
            "staged",
            "in the other",
            ("1.0", "1.1", "0004-new"),
        ),
        ([dict(LOOK, journal=RELEASED["journal"])], True, "planned", "from 1.0", ("1.0", "1.1", "")),
        (
            [LOOK, dict(OPENED, journal=dict(JOURNAL, phase="written", lease={"since": "now"}))],
            False,
            "unfinished",
            "ended before",
            ("1.0", "1.1", "0004-new"),
        ),
        ([ROLLED_BACK], False, "rolled back", "1.0 runs", ("1.1", "1.0", "0005-new")),
        ([{"says": "nothing is open", "changed": False}], False, "nothing to do", "nothing is open", ("", "", "")),
        ([{"story": None, "journal": "nonsense", "failed": True, "msg": None}], False, "not begun", "", ("", "", "")),
    ],
)
def test_how_it_stands(results: List[Any], check: bool, result: str, what: str, journey: Any) -> None:
    found = _artefacts.entry("web-1", results, check)
    assert found["result"] == result and what in found["what"], found
    assert (found["from"], found["to"], found["txn"]) == journey
    assert list(found) == ["result", "what", "from", "to", "txn"]


def long_ones() -> Dict[str, List[Dict[str, Any]]]:
    """A thousand hosts with long names, each of which has failed with much to say."""
    text = 'ein "Fehler" in C:\\é{{ 1 / 0 }}\n\x1b[2J' * 1000
    version = {"version": "1.1-äöü" * 50}
    failed = {"failed": True, "msg": text, "journal": {"txn": text, "from": version, "to": version}}
    name = "web-{0:04d}.a-rather-long-name-of-a-department.of-a-large-company.example.org"
    return {name.format(number): [dict(LOOK, running=version), failed] for number in range(1000)}


def test_a_thousand_hosts_that_fail_have_room() -> None:
    found = _artefacts.stats(long_ones())
    text = json.dumps(found["data"])
    assert len(found["data"]["nanozfs"]) == 1000 and len(text) < 256000, len(text)
    assert not any("{" in each or "}" in each for one in found["data"]["nanozfs"].values() for each in one.values())
    assert all(one["what"].startswith("ein 'Fehler'") for one in found["data"]["nanozfs"].values())
    assert "\\" not in text, "nothing is longer as JSON than it is"


@pytest.mark.parametrize("name", ["x" * 5000, "{{ lookup('pipe', 'id') }}", 'web"1', "wéb", "web\n1"])
def test_odd_names(name: str) -> None:
    (key,) = _artefacts.stats({name: [LOOK]})["data"]["nanozfs"]
    assert len(key) <= _artefacts.NAME_LENGTH and "{" not in key and key.isascii() and key.isprintable()
    assert key != _artefacts.key_of(name + "2"), "it is another host"
    assert len(json.dumps({key: _artefacts.entry(name, long_ones().popitem()[1])})) <= _artefacts.ENTRY


def test_hosts_survive_each_other() -> None:
    """Ansible's own way of adding what tasks note."""
    stats = AggregateStats()
    for host, results in (("web-1", [LOOK]), ("web-2", [LOOK]), ("web-1", [LOOK, OPENED, ENDED])):
        noted = _artefacts.stats({host: results})
        assert noted["aggregate"] and not noted["per_host"]
        for name, data in noted["data"].items():
            stats.update_custom_stats(name, data, None)
    entries = stats.custom["_run"]["nanozfs"]
    assert {host: each["result"] for host, each in entries.items()} == {"web-1": "committed", "web-2": "not begun"}
    assert entries["web-1"]["what"] == "1.1 runs"


def test_the_next_job_has_no_variable_of_that_name() -> None:
    known = _variables.known_names(ROLES)
    assert _artefacts.NAME not in known and _variables.mistyped([_artefacts.NAME], known) == []
