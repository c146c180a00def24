# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: what is known of hosts, their conditions, and the fleet as text."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.action.fleet_report import ActionModule
from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import CONDITIONS, at_least
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import table as tables
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, document, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Target, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import LONGEST

NOW = 1_796_000_000.0


def told(results: Dict[str, Any], target: Optional[Target] = None, sites: Optional[Dict[str, str]] = None) -> Fleet:
    """The report on hosts, from what was registered for them."""
    hosts = [
        host_of(name, (sites or {}).get(name, ""), facts.answer(result), target) for name, result in results.items()
    ]
    return fleet_of(hosts, [], NOW)


def table(hosts: Dict[str, Any], packages: bool = False) -> List[str]:
    """The lines about hosts, from what they say or, for one that was not asked, what was registered."""
    results = {name: {"host": each} if each is not None and "msg" not in each else each for name, each in hosts.items()}
    return tables.table(told(results), packages)


def answer(result: Any) -> Any:
    """What the report of 1.0 has of a host."""
    return facts.answer(result).survey


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
    down = {"unreachable": True, "msg": "Failed to connect: \r\n No route to host"}
    assert table({"web-2": recovery, "web-1": host(), "db-10": down}) == [
        "HOST   STATE      RUNS     FROM         OTHER  POOL                 JOURNAL",
        "db-10  no answer  -        -            -      -                    -",
        "web-1  normal     web-1.1  nz-b         1.0    tank ONLINE 7%       committed",
        "web-2  recovery   web-1.1  nz-recovery  -      none (tank UNAVAIL)  -",
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
        {"pool": {"name": "tank", "health": "ONLINE", "capacity": "full"}},
        {"pool": {"name": "tank", "health": "ONLINE", "capacity": float("nan")}},
        {"disks": {"found": 3, "expected": 4, "missing": "ada4"}},
        {"disks": {"found": 3, "expected": 4, "missing": [], "errors": [{"name": "ada1"}]}},
        {"journal": {"phase": "idle", "times": [{"phase": "idle"}]}},
        {"journal": {"phase": "idle", "to": "1.2"}},
    ],
)
def test_nonsense_of_one_host_is_its_own_row(changes: Dict[str, Any]) -> None:
    lines = table({"web-1": host(**changes), "web-2": host()}, packages=True)
    assert [line.split()[:2] for line in lines[1:3]] == [["web-1", "nonsense"], ["web-2", "normal"]]
    assert lines[3].startswith("web-1: what it says of itself cannot be read: ")
    assert lines[-1] == "2 hosts: 1 nonsense, 1 normal"


def test_what_a_host_says_is_never_shown_raw() -> None:
    wicked = "\x1b[2J\x1b]0;owned\x07\nweb-9: all is well\u202e"
    says = host(
        state=wicked,
        reason=wicked,
        warnings=[wicked, "x" * 10_000_000],
        hostname=wicked,
        importable=[{"name": wicked, "state": wicked}],
        disks={
            "found": 1,
            "expected": 2,
            "missing": [wicked],
            "errors": [{"name": wicked, "read": 1, "write": 0, "checksum": 2}],
        },
        running={"name": wicked, "version": wicked, "slice": wicked, "build": wicked},
        journal={"phase": wicked, "txn": wicked, "reason": wicked},
        pool={"name": wicked, "health": wicked, "capacity": 7, "errors": wicked, "scan": wicked},
    )
    lines = table({"web-1": says}, packages=True)
    assert lines[1].split()[:2] == ["web-1", "unknown"]
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
    assert "  - [bootfailed]" in lines[1]
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
        "web-4": None,
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
    lines = table({"web-1": stateless, "web-2": None})
    assert lines[-1] == "2 hosts: 1 not asked, 1 unknown" and not any("nothing is known" in line for line in lines)


@pytest.mark.parametrize(
    ("results", "told_nothing", "asked_nobody"),
    [
        ([], False, False),
        ([None], True, True),
        ([None, {"unreachable": True}, {"failed": True}], True, False),
        ([None, {"host": {}}], False, False),
    ],
)
def test_whether_anything_was_told(results: List[Any], told_nothing: bool, asked_nobody: bool) -> None:
    fleet = told({str(number): result for number, result in enumerate(results)})
    assert (fleet.nobody_told, fleet.nobody_asked) == (told_nothing, asked_nobody)
    assert ("nothing is known of any host" in "\n".join(tables.table(fleet))) == told_nothing


def test_one_host_does_not_flood_the_report() -> None:
    lines = table({"web-1": host(warnings=["x {0}".format(number) for number in range(100_000)]), "web-2": host()})
    assert len(lines) < 30 and lines[-2] == "web-1: and 99980 more"


DEGRADED = {"name": "tank", "health": "DEGRADED", "capacity": 7, "errors": "No known data errors"}
LEG = {"found": 3, "expected": 4, "missing": ["ada4 UNAVAIL cannot open"], "errors": []}
WORN = {"found": 4, "expected": 4, "missing": [], "errors": [{"name": "ada2", "read": 0, "write": 1, "checksum": 269}]}


@pytest.mark.parametrize(
    ("changes", "condition", "reasons"),
    [
        ({}, "normal", []),
        ({"state": "unknown"}, "unknown", ["its early boot hook has not said in which state it is"]),
        ({"state": "trial", "reason": ""}, "trial", ["a new system is being tried"]),
        (
            {"journal": {"phase": "written", "kind": "upgrade", "txn": "0002-aa", "to": {"version": "1.2"}}},
            "half way",
            ["upgrade 0002-aa to 1.2 is written and waits for its restart"],
        ),
        (
            {"journal": {"phase": "written", "txn": "0002-aa", "to": {"version": "1.2"}, "lease": {"holder": {}}}},
            "half way",
            ["upgrade 0002-aa to 1.2 is in phase written"],
        ),
        ({"pool": DEGRADED}, "degraded", ["the pool tank is DEGRADED"]),
        ({"pool": dict(DEGRADED, health="ONLINE", capacity=95)}, "degraded", ["the pool tank is 95 % full"]),
        ({"pool": dict(DEGRADED, health="ONLINE", capacity=94)}, "normal", []),
        ({"disks": LEG}, "degraded", ["3 of 4 data disks: ada4 UNAVAIL cannot open"]),
        ({"disks": WORN}, "degraded", ["ada2 has had errors (1 write, 269 checksum)"]),
        (
            {"pool": dict(DEGRADED, health="ONLINE", errors="3 data errors, use '-v' for a list")},
            "degraded",
            ["the pool tank has damaged data: 3 data errors, use '-v' for a list"],
        ),
        ({"medium": None}, "degraded", ["its OS medium cannot be read"]),
        (
            {
                "state": "recovery",
                "reason": "no pool named tank",
                "pool": None,
                "journal": None,
                "remembered": {"phase": "armed", "kind": "upgrade", "txn": "0002-aa", "to_version": "1.2"},
            },
            "recovery",
            ["no pool named tank", "upgrade 0002-aa to 1.2 is in phase armed"],
        ),
        (
            {
                "running": {"name": "web", "version": "1.1", "id": "b" * 64},
                "journal": {"phase": "idle", "bad": ["b" * 64]},
            },
            "degraded",
            ["the image that runs is on its list of bad images"],
        ),
        (
            {"running": {"name": "web", "version": "1.1", "id": None, "bad": "it eats mail"}},
            "degraded",
            ["the image that runs is on the fleet's list of bad images (it eats mail)"],
        ),
    ],
)
def test_conditions(changes: Dict[str, Any], condition: str, reasons: List[str]) -> None:
    fleet = told({"web-1": {"host": host(**changes)}})
    assert (fleet.hosts[0].condition, [each.reason for each in fleet.hosts[0].findings]) == (condition, reasons)


TARGET = Target(Wish("ring:stable", "web", "/srv"), "c" * 64, "c", "1.2", 12, "release@example.org")


@pytest.mark.parametrize(
    ("running", "words"),
    [
        ({"version": "1.2", "id": "c" * 64}, ""),
        ({"version": "1.2", "build": "c"}, ""),
        ({"version": "1.1", "id": "b" * 64, "seq": 11}, "ring:stable of web is 1.2, and it runs 1.1"),
        ({"version": "1.3", "id": "d" * 64, "seq": 13}, "ring:stable of web is 1.2, and it runs 1.3, which is newer"),
        ({"version": "1.2", "id": "d" * 64}, "ring:stable of web is 1.2, and it runs 1.2 of another build"),
    ],
)
def test_what_a_host_should_run(running: Dict[str, Any], words: str) -> None:
    says = host(running=dict({"name": "web", "slice": "nz-b"}, **running))
    fleet = told({"web-1": {"host": says}, "web-2": {"unreachable": True}}, TARGET)
    assert [each.reason for each in fleet.hosts[0].findings] == ([words] if words else [])
    assert fleet.hosts[0].condition == ("behind" if words else "normal") and fleet.hosts[1].condition == "no answer"
    line = tables.targets(fleet)[0]
    assert line == "ring:stable of web: 1.2, which {0} of 2 hosts run; of 1 nothing is known{1}".format(
        0 if words else 1, "; behind: web-1" if words else ""
    )
    assert document(fleet)["targets"][0]["behind"] == (["web-1"] if words else [])


@pytest.mark.parametrize(
    ("fail_on", "problem", "said"),
    [
        (["behind"], "gone", "report_fail_on (behind): whether 1 host is behind cannot be told (web-1)"),
        (["degraded", "behind"], "it is not there", "whether 1 host is behind cannot be told (web-1)"),
        (["normal"], "it is not there", "3 of 3 hosts are concerned (web-1: normal"),
        (["behind"], "", ""),
        ([], "it is not there", ""),
    ],
)
def test_what_nobody_can_tell_is_not_taken_for_good(fail_on: List[str], problem: str, said: str) -> None:
    """Only of hosts that run an image: others are not behind, but something worse."""
    target = Target(TARGET.wish, problem=problem) if problem else Target(TARGET.wish, build="b", id="b" * 64)
    running = {"name": "web", "version": "1.1", "id": "b" * 64, "slice": "nz-b"}
    odd = host(state="unknown", running={})
    silent = {"unreachable": True}
    fleet = told({"web-1": {"host": host(running=running)}, "web-2": {"host": odd}, "web-3": silent}, target)
    assert [each.condition for each in fleet.hosts] == ["normal", "unknown", "no answer"]
    verdict = " ".join(each.what for each in ActionModule.verdict(fleet, fail_on))
    assert (said in verdict and verdict) if said else not verdict, verdict


def test_an_image_that_is_bad_here_is_said() -> None:
    says = host(journal={"phase": "reverted", "txn": "0002-aa", "reason": "", "bad": ["c" * 64]})
    assert (
        told({"web-1": {"host": says}}, TARGET)
        .hosts[0]
        .findings[0]
        .reason.endswith("; 1.2 is on its list of bad images")
    )


def test_on_which_conditions_a_report_fails() -> None:
    """A disk that is broken matters to whoever asks for that, and so does a host that is gone."""
    worse = [word for word in CONDITIONS if at_least(word, "degraded")]
    assert worse == ["degraded", "unknown", "recovery", "nonsense", "not asked", "failed", "no answer"]
    assert [word for word in CONDITIONS if at_least(word, "behind")] == ["behind"]
    assert [word for word in CONDITIONS if at_least(word, "no answer")] == ["no answer"]
    both = host(pool=DEGRADED, journal={"phase": "written", "txn": "0002-aa", "kind": "upgrade"})
    fleet = told({"web-1": {"host": both}, "web-2": {"host": host()}, "web-3": {"unreachable": True}})
    for named, names in (
        (["half way"], ["web-1"]),
        (["degraded"], ["web-1", "web-3"]),
        ([], []),
        (["recovery"], ["web-3"]),
    ):
        assert [each.name for each in fleet.failing(named)] == names


def test_ten_hosts_fit_into_80_columns() -> None:
    results: Dict[str, Any] = {"web-{0}".format(number): {"host": host()} for number in range(1, 10)}
    results["web-10"] = {"unreachable": True, "msg": "timed out"}
    fleet = told(results, None, {name: "site-{0}".format("ab"[len(name) % 2]) for name in results})
    lines = tables.table(fleet)
    assert max(map(len, lines)) <= 80 and lines[10].split()[0] == "web-10" and len(lines) == 13


def test_the_same_of_many_hosts_is_said_once() -> None:
    """A thousand hosts, a site without its line, three that are dead."""
    results: Dict[str, Any] = {}
    for number in range(1000):
        name = "web-{0}".format(number)
        words = "Failed to connect to the host via ssh: ssh: connect to host {0} port 22: No route to host".format(name)
        dead = 100 <= number < 140 or number in (7, 8, 9)
        warned = host(hostname=name, warnings=["the OS medium ada0 has an MBR", "{0} says this".format(name)])
        results[name] = {"unreachable": True, "msg": words} if dead else {"host": warned}
    sites = {name: "site-{0}".format(number // 50) for number, name in enumerate(results)}
    lines = tables.table(told(results, None, sites))
    assert len(lines) < 1020
    rest = lines[1001:]
    assert "web-0, web-1, web-2 and 954 more: the OS medium ada0 has an MBR" in rest
    assert any(line.startswith("web-7, web-8, web-9 and 40 more: Failed to connect") for line in rest)
    assert "site-0: 50 hosts: 3 no answer, 47 normal" in rest and rest[-1] == "1000 hosts: 43 no answer, 957 normal"


def test_the_document_holds_what_json_can() -> None:
    says = host(
        disks=WORN,
        journal={
            "phase": "committed",
            "txn": "0001-aa",
            "kind": "upgrade",
            "fetched": 5_000_000,
            "from": {"version": "1.0"},
            "to": {"version": "1.1"},
            "bad": ["d" * 64],
            "times": [
                {"phase": "prepared", "at": 1000},
                {"phase": "written", "at": 1060},
                {"phase": "committed", "at": 1300},
            ],
        },
    )
    made = json.loads(json.dumps(document(told({"web-1": {"host": says}, "web-2": None}, TARGET, {"web-1": "site-a"}))))
    one, two = made["hosts"]
    assert (one["site"], one["condition"], one["behind"], one["degraded"]) == ("site-a", "degraded", True, True)
    assert one["disks"]["errors"] == [{"name": "ada2", "read": 0, "write": 1, "checksum": 269}]
    assert (one["transaction"]["seconds"], one["transaction"]["fetched"], one["bad"]) == (300, 5_000_000, ["d" * 64])
    assert two["runs"] is None and two["condition"] == "not asked" and made["counts"] == {"degraded": 1, "not asked": 1}
    assert made["format"] == 1 and made["sites"][0] == {"name": "", "hosts": 1, "counts": {"not asked": 1}}
