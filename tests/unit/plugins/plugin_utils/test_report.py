# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet as text."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import LONGEST, answer, nothing_told, table


def deep(levels: int) -> List[Any]:
    """A list in a list in a list."""
    found: List[Any] = []
    for _level in range(levels):
        found = [found]
    return found


def host(**changes: Any) -> Dict[str, Any]:
    values: Dict[str, Any] = {
        "state": "normal",
        "reason": "",
        "running": {"name": "web", "version": "1.1", "slice": "nz-b"},
        "medium": {
            "inactive": "nz-a",
            "slices": {"nz-a": {"flags": [], "image": {"name": "web", "version": "1.0"}}},
        },
        "pool": {"name": "tank", "health": "ONLINE", "capacity": 7},
        "journal": {"phase": "committed", "txn": "0001-fe22a17e", "reason": ""},
        "failed": [],
        "warnings": [],
    }
    values.update(changes)
    return values


def test_a_line_for_each_host() -> None:
    recovery = host(
        state="recovery",
        reason="cannot import 'tank'",
        running={"name": "web", "version": "1.1", "slice": "nz-recovery"},
        medium={"inactive": None, "slices": {}},
        pool=None,
        importable=[{"name": "tank", "state": "UNAVAIL"}],
        journal=None,
    )
    down = answer({"unreachable": True, "msg": "Failed to connect: \r\n No route to host"})
    assert table({"web-2": recovery, "web-1": host(), "db-10": down}) == [
        "HOST   STATE      RUNS     FROM         OTHER         POOL                 JOURNAL",
        "db-10  no answer  -        -            -             -                    -",
        "web-1  normal     web-1.1  nz-b         nz-a web-1.0  tank ONLINE 7%       committed 0001-fe22a17e",
        "web-2  recovery   web-1.1  nz-recovery  -             none (tank UNAVAIL)  -",
        "db-10: Failed to connect: No route to host",
        "web-2: cannot import 'tank'",
        "3 hosts: 1 no answer, 1 normal, 1 recovery",
    ]


def test_hosts_that_could_not_be_asked() -> None:
    assert answer({"host": host(), "changed": False}) == host()
    assert answer(None) == {"state": "not asked", "reason": "it was not looked at in this run"}
    assert answer({"unreachable": True}) == {"state": "no answer", "reason": "it cannot be reached"}
    assert answer({"failed": True, "msg": "the task has a typo"}) == {
        "state": "failed",
        "reason": "the task has a typo",
    }
    assert answer({"host": "web-1"})["state"] == "failed"


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": {"name": "tank"}},
        {"pool": "tank"},
        {"medium": {"inactive": "nz-c", "slices": {}}},
        {"medium": {"inactive": "nz-a", "slices": {"nz-a": {"flags": 7, "image": None}}}},
        {"journal": ["idle"]},
        {"running": {"name": "web", "version": "1.1", "origin": {"method": "sets"}}},
        {"importable": [1], "pool": None},
        {"warnings": 3},
        {"warnings": "x" * 100_000},
        {"warnings": {"a": 1}},
        {"running": {"name": "web", "version": "1.1", "origin": {1, 2}}},
        {"state": deep(5000)},
        {"extra": deep(5000)},
        {"failed": 1},
    ],
)
def test_nonsense_of_one_host_is_its_own_row(changes: Dict[str, Any]) -> None:
    hosts = {"web-1": answer({"host": host(**changes)}), "web-2": answer({"host": host()})}
    lines = table(hosts, packages=True)
    assert [line.split()[:2] for line in lines[1:3]] == [["web-1", "nonsense"], ["web-2", "normal"]]
    assert lines[3].startswith("web-1: what it says of itself cannot be read: ")
    assert lines[-1] == "2 hosts: 1 nonsense, 1 normal"


def test_what_a_host_says_is_never_shown_raw() -> None:
    wicked = "\x1b[2J\x1b]0;owned\x07\nweb-9: all is well\u202e"
    says = host(
        state=wicked,
        reason=wicked,
        warnings=[wicked, "x" * 10_000_000],
        running={"name": wicked, "version": wicked, "slice": wicked, "build": wicked},
        journal={"phase": wicked, "txn": wicked, "reason": wicked},
        pool={"name": wicked, "health": wicked, "capacity": wicked},
    )
    lines = table({"web-1": answer({"host": says})}, packages=True)
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("web-9") for line in lines)
    assert max(map(len, lines[2:])) <= LONGEST + len("web-1: ")


def test_remarks() -> None:
    reverted = host(
        journal={"phase": "reverted", "txn": "0002-aa", "reason": "not running: nginx"},
        failed=[{"name": "tank/nanozfs/failed/0002-aa", "used": 4096}],
        warnings=["slices of the same names are on another disk: nz-a on da0"],
    )
    reverted["medium"]["slices"]["nz-a"] = {"flags": ["bootfailed"], "image": None}
    lines = table({"web-1": reverted})
    assert "nz-a - [bootfailed]" in lines[1]
    assert lines[2:5] == [
        "web-1: slices of the same names are on another disk: nz-a on da0",
        "web-1: last taken back: not running: nginx",
        "web-1: 1 failed state kept",
    ]


def test_a_line_for_each_image_that_runs() -> None:
    def runs(version: str, build: str, **origin: Any) -> Dict[str, Any]:
        known: Dict[str, Any] = {
            "method": "sets",
            "release": "13.2-RELEASE-p4",
            "revision": "",
            "options": {},
            "package_count": 1,
            "packages": [{"name": "curl", "version": "8.1.0"}],
        }
        running = {"name": "web", "version": version, "build": build, "slice": "nz-b", "origin": dict(known, **origin)}
        return host(running=running)

    unknown = runs("1.2", "d")
    unknown["running"]["origin"] = None
    hosts = {
        "web-1": runs("1.0", "a", method="nanobsd", revision="releng/13.2-n1-2", options={"x": "y"}, package_count=34),
        "web-2": runs("1.1", "b"),
        "web-3": runs("1.1", "b"),
        "web-4": answer(None),
        "web-5": unknown,
    }
    lines = table(hosts)
    assert lines[7:] == [
        "web-1.0: 13.2-RELEASE-p4 from nanobsd, releng/13.2-n1-2, 34 packages, 1 option",
        "web-1.1: 13.2-RELEASE-p4 from sets, 1 package",
        "web-1.2: the image does not say where it comes from",
        "5 hosts: 4 normal, 1 not asked",
    ]
    listed = table(hosts, packages=True)
    assert listed[listed.index("web-1.1: 13.2-RELEASE-p4 from sets, 1 package") + 1] == "  curl 8.1.0"
    # one version in two builds is told apart
    two = table({"web-2": runs("1.1", "b"), "web-3": runs("1.1", "c")})
    assert [line.split(":")[0] for line in two[3:-1]] == ["web-1.1 (b)", "web-1.1 (c)"]


def test_one_host_cannot_speak_for_others() -> None:
    def runs(release: str) -> Dict[str, Any]:
        origin = {
            "method": "sets",
            "release": release,
            "revision": "",
            "options": {},
            "package_count": 0,
            "packages": [],
        }
        return host(running={"name": "web", "version": "1.1", "build": "b", "slice": "nz-b", "origin": origin})

    lines = table({"web-1": runs("13.2 FAKE"), "web-2": runs("13.2-RELEASE"), "web-3": runs("13.2-RELEASE")})
    assert lines[4:-1] == [
        "web-1.1 as web-1 says: 13.2 FAKE from sets, 0 packages",
        "web-1.1 as web-2, web-3 says: 13.2-RELEASE from sets, 0 packages",
    ]


def test_a_host_that_tells_no_state() -> None:
    stateless = host()
    del stateless["state"]
    hosts = {"web-1": answer({"host": stateless}), "web-2": answer(None)}
    assert table(hosts)[-1] == "2 hosts: 1 -, 1 not asked" and not nothing_told(hosts)


@pytest.mark.parametrize(
    ("results", "nothing"),
    [
        ([], False),
        ([None], True),
        ([None, {"unreachable": True}, {"failed": True}], True),
        ([None, {"host": {}}], False),
    ],
)
def test_whether_anything_was_told(results: List[Any], nothing: bool) -> None:
    assert nothing_told({str(number): answer(result) for number, result in enumerate(results)}) == nothing


def test_one_host_does_not_flood_the_report() -> None:
    lines = table({"web-1": answer({"host": host(warnings=["x"] * 100_000)}), "web-2": host()})
    assert len(lines) < 30 and lines[-2] == "web-1: and 99980 more"
