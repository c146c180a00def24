# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent tells Prometheus, and what the examples for monitoring ask of it."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import metrics
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import records
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import TIMED_OUT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import disks_with_errors, parse_import
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import PHASES, JournalStore
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../examples/monitoring")

Samples = Dict[Tuple[str, Tuple[Tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """The samples, by Prometheus's own parser; each metric is a gauge with help, and no sample is there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.documentation.endswith(".") and family.name.startswith("nanozfs_")
        for sample in family.samples:
            key = (sample.name[len("nanozfs_") :], tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    assert found
    return found


def told(agent: AgentHost) -> Samples:
    before = agent.host.fingerprint()
    answer = agent.run("metrics")
    assert answer.rc == 0 and answer.err == "" and agent.host.fingerprint() == before
    return parsed(answer.out)


def chosen(found: Samples, name: str, label: str) -> List[str]:
    """The words of a metric that are so."""
    return [dict(labels)[label] for (each, labels), value in found.items() if each == name and value == 1]


def test_a_host_as_it_should_be(agent: AgentHost) -> None:
    found = told(agent)
    assert chosen(found, "condition", "condition") == ["normal"] and chosen(found, "state", "state") == ["normal"]
    assert chosen(found, "pool_health", "health") == ["ONLINE"]
    assert chosen(found, "transaction_phase", "phase") == ["idle"]
    assert found[("disks", ())] == found[("disks_expected", ())] == 3 and found[("pool_imported", ())] == 1
    assert found[("metrics_timestamp_seconds", ())] == agent.now and found[("attention", ())] == 0
    info = next(dict(labels) for name, labels in found if name == "info")
    assert (info["name"], info["version"], info["slice"]) == ("web", "1.0", "nz-a")
    assert not any(name.startswith(("disk_errors", "trial", "write")) for name, _labels in found)


def test_an_upgrade_that_was_taken_back(agent: AgentHost) -> None:
    store = JournalStore(Zfs(Runner(agent.host.machine.execute)), "tank", lambda: 1_700_000_000.0)
    target = ImageRef("0" * 64, "b" * 16, "1.1")
    begun = replace(store.read(), phase="prepared", kind="upgrade", txn="0001-x", target=target)
    store.write(begun)
    later = JournalStore(Zfs(Runner(agent.host.machine.execute)), "tank", lambda: 1_700_000_300.5)
    later.write(replace(begun, phase="reverted", bad=("0" * 64,), fetched=4_950_000))
    found = told(agent)
    assert chosen(found, "transaction_phase", "phase") == ["reverted"] and found[("bad_images", ())] == 1
    when = {
        dict(labels)["phase"]: value
        for (name, labels), value in found.items()
        if name == "transaction_phase_timestamp_seconds"
    }
    assert when == {"prepared": 1_700_000_000, "reverted": 1_700_000_300}
    assert found[("transaction_fetched_bytes", ())] == 4_950_000


def test_recovery_mode_and_a_hung_import(agent: AgentHost) -> None:
    agent.lose_pool("ada2", "ada3")
    found = told(agent)
    assert chosen(found, "condition", "condition") == ["recovery"] and found[("pool_imported", ())] == 0
    assert not any(name in ("pool_health", "transaction_phase", "unsaved_files") for name, _labels in found)
    agent.kenv("nanozfs.import=hung")
    agent.replies.update(dict.fromkeys(("zpool", "zfs", "zdb"), lambda _argv: pytest.fail("it would hang")))
    found = told(agent)
    assert found[("pool_import_hung", ())] == 1 and ("disks", ()) not in found


def test_a_pool_that_hangs_does_not_hang_it(agent: AgentHost) -> None:
    """The first command that does not end is the last of its kind; what else there is to say is said."""
    asked: List[str] = []

    def hang(argv: Any) -> Tuple[int, str, str]:
        asked.append(argv[0])
        return TIMED_OUT, "", "not done"

    agent.replies.update(dict.fromkeys(("zpool", "zfs", "zdb"), hang))
    found = parsed(agent.run("metrics").out)
    assert len(asked) == 1 and chosen(found, "state", "state") == ["normal"]


def test_a_file_is_written_as_a_whole(agent: AgentHost, tmp_path: Any) -> None:
    path = str(tmp_path / "nanozfs.prom")
    before = os.umask(0o077)
    try:
        assert agent.run("metrics", "--write", path) == (0, "", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644, "node_exporter is another user"
    with open(path, encoding="utf-8") as file:
        assert parsed(file.read()) == told(agent)
    assert os.listdir(str(tmp_path)) == ["nanozfs.prom"] or set(os.listdir(str(tmp_path))) >= {"nanozfs.prom"}
    answer = agent.run("metrics", "--write", str(tmp_path / "none" / "x"))
    assert answer.rc == 3 and "cannot be written" in answer.err and "Next:" in answer.err


def test_what_is_in_a_label_stays_there() -> None:
    wicked = 'a"} 1\nnanozfs_evil{x="\\\x1b\u202e' + "y" * 500
    text = metrics.render(
        [metrics._one("info", "What runs.", 1, {"name": wicked}), metrics._one("none", "None.", None)]
    )
    found = parsed(text)
    (name, labels), value = next(iter(found.items()))
    assert len(found) == 1 and (name, value) == ("info", 1) and text.count("\n") == 3
    assert (
        dict(labels)["name"].startswith('a"} 1?nanozfs_evil{x="\\??yyy')
        and len(dict(labels)["name"]) == metrics.LONGEST
    )


@pytest.mark.parametrize(
    ("release", "name", "errors"),
    [
        ("13.2", "228-statusx-corrupt", [("md21", 0, 0, 269)]),
        ("15.0", "228-statusx-corrupt", [("md21", 0, 0, 192)]),
        ("13.2", "030-status", []),
        ("15.0", "030-status", []),
        ("13.2", "203-rz-1missing-status", []),
        ("15.0", "203-rz-1missing-status", []),
    ],
)
def test_disks_with_errors(release: str, name: str, errors: List[Tuple[str, int, int, int]]) -> None:
    pool = parse_import(transcripts.load("zpool", name, transcripts.RELEASES[release]).out)[0]
    assert [tuple(each) for each in disks_with_errors(pool)] == errors


def test_many_errors_are_told_about() -> None:
    """Source: ``zfs_nicenum_format()`` in libzutil's zutil_nicenum.c: five characters at most."""
    lines = ["  pool: tank", " state: ONLINE", "config:", "", "\tNAME      STATE     READ WRITE CKSUM"]
    lines += ["\ttank      ONLINE       0     0     0", "\t  ada1    ONLINE       3 1.21K 15.3M  was /dev/ada9"]
    lines += ["\tlogs", "\t  ada2    FAULTED      0     1     0  too many errors"]
    found = disks_with_errors(parse_import("\n".join(lines))[0])
    assert [tuple(each) for each in found] == [("ada1", 3, 1239, 16043212), ("ada2", 0, 1, 0)]


def known_metrics() -> Set[str]:
    """Every metric that the agent can tell of, with a host of which everything can be told."""
    status: Dict[str, Any] = {
        "hung": False,
        "revived": False,
        "seconds_left": 5,
        "unsaved": [],
        "stale": [],
        "write": {"percent": 4},
        "attention": False,
        "host": {
            "state": "trial",
            "reason": "",
            "release": "13.2-RELEASE",
            "running": {},
            "medium": None,
            "failed": [],
            "warnings": [],
            "backups": {
                "vault": dict(
                    records.nothing(),
                    result="ok",
                    good=5,
                    running=False,
                    verified={"at": 6, "result": "ok", "files": 1, "seed": "", "kind": "sample"},
                )
            },
            "pool": {
                "name": "tank",
                "health": "ONLINE",
                "size": 4,
                "allocated": 1,
                "capacity": 25,
                "readonly": False,
                "errors": "",
            },
            "disks": {
                "found": 3,
                "expected": 3,
                "missing": [],
                "errors": [{"name": "ada1", "read": 1, "write": 0, "checksum": 0}],
            },
            "journal": {
                "phase": "trial",
                "txn": "1",
                "kind": "upgrade",
                "from": None,
                "to": {"version": "1.1"},
                "fetched": 5,
                "bad": [],
                "times": [{"phase": "trial", "at": 1}],
            },
        },
    }
    return {"nanozfs_" + each.name for each in metrics.metrics(status, 0.0) if each.samples}


def expressions() -> Iterator[Tuple[str, str]]:
    """What the examples ask Prometheus for."""
    with open(os.path.join(EXAMPLES, "nanozfs.rules.yml"), encoding="utf-8") as file:
        for group in yaml.safe_load(file)["groups"]:
            for rule in group["rules"]:
                assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"} and rule["annotations"]["summary"]
                yield rule["alert"], rule["expr"]
    with open(os.path.join(EXAMPLES, "grafana-dashboard.json"), encoding="utf-8") as file:
        board = json.load(file)
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def test_the_examples_ask_for_what_there_is() -> None:
    known = known_metrics()
    asked: Set[str] = set()
    for title, text in expressions():
        names = set(re.findall(r"\bnanozfs_\w+", text))
        assert names and names <= known, title
        asked |= names
        for label, word in re.findall(r'\b(condition|phase|health|result)="([^"]+)"', text):
            words = {
                "condition": metrics.CONDITIONS_HERE,
                "phase": PHASES,
                "health": metrics.HEALTH,
                "result": records.RESULTS,
            }[label]
            assert word in words, (title, word)
        assert text.count("(") == text.count(")") and text.count("{") == text.count("}")
    assert len(asked) > 10


def test_every_metric_is_documented() -> None:
    with open(os.path.join(EXAMPLES, "../../docs/agent.md"), encoding="utf-8") as file:
        text = file.read()
    missing = {name for name in known_metrics() if name[len("nanozfs_") :] not in re.findall(r"[a-z_]+", text)}
    assert not missing
