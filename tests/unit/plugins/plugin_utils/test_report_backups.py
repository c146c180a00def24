# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of backups: table, document, page, and when a host counts as degraded for them."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.backups import Terms
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, document, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.table import table
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, host
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report_page import WICKED, rendered

HOUR = 3600
VERIFIED = {"at": int(NOW) - HOUR, "result": "ok", "files": 20, "seed": "x", "kind": "sample"}


def backup(hours: float = 5, **changes: Any) -> Dict[str, Any]:
    values: Dict[str, Any] = {
        "result": "ok",
        "method": "rsnapshot",
        "begun": int(NOW - hours * HOUR),
        "ended": int(NOW - hours * HOUR) + 180,
        "good": int(NOW - hours * HOUR),
        "bytes": 1_200_000_000,
        "files": 100_000,
        "sent": 5_000_000,
        "seconds": 180,
        "trial": False,
        "why": "",
        "verified": VERIFIED,
        "running": False,
        "since": None,
        "problem": "",
    }
    return dict(values, **changes)


NONE = backup(result="", begun=0, ended=0, good=0, bytes=0, seconds=0, verified=None)


def fleet(hours: int, verified: int = 0, **backups: Dict[str, Any]) -> Fleet:
    """Hosts, each with its backups by label."""
    hosts = [
        host_of(name, "", facts.answer({"host": host(backups=each)}), None, terms=Terms(NOW, hours, verified))
        for name, each in backups.items()
    ]
    return fleet_of(hosts, [], NOW, hours, verified)


def cells(found: Fleet) -> List[str]:
    """The last column."""
    lines = table(found)
    column = lines[0].index("BACKUP")
    return [line[column:] for line in lines[1 : len(found.hosts) + 1]]


def test_nobody_asks_for_backups() -> None:
    found = fleet(0, web={})
    assert "BACKUP" not in table(found)[0] and found.counts == {"normal": 1}
    assert document(found)["hosts"][0]["backups"] == []
    assert "Backups</h2>" not in rendered(found)[0]


@pytest.mark.parametrize(
    ("backups", "hours", "cell", "condition"),
    [
        ({"vault": backup()}, 0, "ok, 5 h, 1.2 GB, 3 min", "normal"),
        ({"vault": backup()}, 6, "ok, 5 h, 1.2 GB, 3 min", "normal"),
        ({"vault": backup(hours=30)}, 0, "ok, 1 d 6 h, 1.2 GB, 3 min", "normal"),
        ({"vault": backup(hours=30)}, 26, "ok, 1 d 6 h, 1.2 GB, 3 min", "degraded"),
        ({}, 26, "never", "degraded"),
        ({"vault": NONE}, 26, "?", "degraded"),
        ({"vault": dict(NONE, running=True, since=5)}, 26, "is read now", "degraded"),
        ({"vault": backup(result="failed", why="no room")}, 26, "failed, 5 h, 1.2 GB, 3 min", "normal"),
        ({"vault": backup(result="failed", good=0)}, 0, "failed, none good, 1.2 GB, 3 min", "normal"),
        ({"old": backup(hours=900), "vault": backup()}, 26, "ok, 5 h, 1.2 GB, 3 min", "normal"),
        ({"vault": backup(good=int(NOW) + 86400)}, 26, "ok, none good, 1.2 GB, 3 min", "degraded"),
        ({"vault": backup(good=int(NOW) + 60)}, 26, "ok, 0 s, 1.2 GB, 3 min", "normal"),
        ({"vault": backup(verified=dict(VERIFIED, result="failed"))}, 0, "ok, 5 h, 1.2 GB, 3 min", "degraded"),
    ],
)
def test_how_a_host_is_judged(backups: Dict[str, Any], hours: int, cell: str, condition: str) -> None:
    found = fleet(hours, web=backups, other={"vault": backup()})
    assert cells(found) == ["ok, 5 h, 1.2 GB, 3 min", cell]
    assert found.hosts[1].condition == condition


@pytest.mark.parametrize(
    ("backups", "says"),
    [
        ({}, "it was never backed up"),
        ({"vault": backup(hours=30)}, "its last good backup is 1 d 6 h old, and report_backup_max_age is 26 h"),
        ({"vault": backup(good=int(NOW) + 86400)}, "in the future: a clock is wrong"),
        ({"vault": backup(result="failed", why="no room")}, "its last backup by vault failed: no room"),
        ({"vault": backup(result="partial")}, "its last backup by vault is not whole"),
        ({"vault": backup(verified=None)}, "its backup by vault was never verified"),
        ({"vault": backup(trial=True)}, "its last backup by vault is of a system on trial"),
        ({"old": backup(hours=900), "vault": backup()}, "its last good backup by old is 37 d 12 h old"),
        (
            {"vault": backup(verified=dict(VERIFIED, result="failed"))},
            "in its backup by vault is not what the host had",
        ),
    ],
)
def test_what_is_said(backups: Dict[str, Any], says: str) -> None:
    found = fleet(26, web=backups)
    assert any(says in line for line in table(found))
    assert says in rendered(found)[0] or "never backed up" in rendered(found)[0]


@pytest.mark.parametrize(
    ("at", "hours", "says", "ago"),
    [
        (int(NOW) - 30 * HOUR, 0, "", "1 d 6 h ago"),
        (int(NOW) - 30 * HOUR, 31, "", "1 d 6 h ago"),
        (int(NOW) - 30 * HOUR, 26, "verified 1 d 6 h ago, and report_backup_verified_max_age is 26 h", "1 d 6 h ago"),
        (int(NOW) + 60, 26, "", "0 s ago"),
        (int(NOW) + 86400, 26, "verified in the future: a clock is wrong", ""),
    ],
)  # fmt: skip
def test_how_long_ago_it_was_verified(at: int, hours: int, says: str, ago: str) -> None:
    found = fleet(26, hours, web={"vault": backup(verified=dict(VERIFIED, at=at))})
    assert [says in each for each in found.hosts[0].remarks] == ([True] if says else [])
    assert found.hosts[0].condition == "normal"
    text = rendered(found)[0]
    assert '<span class="{0}">ok</span> <span class="sub">'.format("warn" if says else "") in text
    assert (", " + ago in text) if ago else " ago</span>" not in text


def test_a_host_that_is_well_is_not_spoken_of() -> None:
    found = fleet(26, web={"vault": backup()})
    assert found.hosts[0].remarks == () and found.hosts[0].findings == ()


def test_the_document() -> None:
    found = document(fleet(26, web={"vault": backup()}))["hosts"][0]["backups"]
    assert [(each["label"], each["age"], each["verified"]["result"]) for each in found] == [("vault", 5 * HOUR, "ok")]


def test_the_page_has_those_first_that_somebody_should_see() -> None:
    found = fleet(
        26,
        fine={"vault": backup()},
        yellow={"vault": backup(verified=None)},
        never={},
        red={"vault": backup(verified=dict(VERIFIED, result="failed"))},
        stale={"vault": backup(hours=40)},
    )
    text = rendered(found)[0]
    text = text[text.index('id="backups"') :]
    places = [text.index("<bdi>{0}</bdi>".format(name)) for name in ("red", "never", "stale", "yellow", "fine")]
    assert places == sorted(places)
    assert '<span class="warn">never</span>' in text and '<span class="bad">failed</span>' in text


@pytest.mark.parametrize(
    "backups",
    [7, "x", [1], {"vault": 7}, {"vault": {}}, {"vault": backup(bytes="x")}, {"vault": backup(verified=[1])},
     {"vault": backup(good=-1)}, {"vault": backup(seconds=1 << 70)}, {"vault": backup(verified={"at": 1})}],
)  # fmt: skip
def test_nonsense(backups: Any) -> None:
    found = fleet(26, web=backups, other={"vault": backup()})
    assert [each.condition for each in found.hosts] == ["normal", "nonsense"]


def test_what_a_host_says_is_text() -> None:
    wicked = backup(result=WICKED, method=WICKED, why=WICKED, problem=WICKED)
    wicked["verified"] = dict(VERIFIED, result=WICKED, kind=WICKED)
    found = fleet(26, web={WICKED: wicked})
    text, reader = rendered(found)
    tags = [tag for tag, _attributes in reader.elements]
    assert tags.count("script") == 1 and "img" not in tags and "b" not in tags and "\x1b" not in text
    assert not any("\x1b" in line or "\u202e" in line for line in table(found))


def test_many_backup_hosts_are_not_many_lines() -> None:
    found = fleet(26, web={"vault-{0:04d}".format(number): backup() for number in range(1000)})
    assert len(document(found)["hosts"][0]["backups"]) == facts.MANY
