# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page: one file, nothing of a host taken for more than text, small and readable."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import CONDITIONS
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import facts, history, page, plots
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, fleet_of, host_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.hosts import support_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Wish
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, TARGET, host, told

WICKED = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{ 7 * 7 }}\u202e\x1b[2J]]>--><b>"

#: elements that have no end
VOID = {"meta", "br", "input"}


class Reader(HTMLParser):
    """What a browser makes of a page: elements with their attributes, what is not closed, and the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: List[Tuple[str, Dict[str, Optional[str]]]] = []
        self.open: List[str] = []
        self.text: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-5:])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def rendered(
    fleet: Fleet, past: history.History = history.NOTHING, support: Optional[Dict[str, str]] = None
) -> Tuple[str, Reader]:
    text = page.render(fleet, past, support_of(support or {}), "Web <fleet>")
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return text, reader


def wicked_host() -> Dict[str, Any]:
    return host(
        hostname=WICKED,
        reason=WICKED,
        warnings=[WICKED, "x" * 10_000],
        running={"name": WICKED, "version": WICKED, "slice": WICKED, "build": WICKED, "id": WICKED},
        disks={
            "found": 3,
            "expected": 4,
            "missing": [WICKED],
            "errors": [{"name": WICKED, "read": 1, "write": 0, "checksum": 0}],
        },
        journal={
            "phase": WICKED,
            "txn": WICKED,
            "kind": WICKED,
            "reason": WICKED,
            "bad": [WICKED],
            "from": {"version": WICKED},
            "to": {"version": WICKED},
            "times": [{"phase": WICKED, "at": 5}, {"phase": WICKED, "at": 9}],
        },
        pool={"name": WICKED, "health": WICKED, "capacity": 7, "errors": WICKED, "scan": WICKED},
    )


def test_what_hosts_say_is_text() -> None:
    names = {WICKED: {"host": wicked_host()}, "web-2": {"unreachable": True, "msg": WICKED}, "web-3": {"host": host()}}
    fleet = told(names, replace(TARGET, wish=Wish(WICKED, WICKED)), {WICKED: WICKED})
    past = history.parse(
        b"".join(
            history.encode(line)
            for line in history.additions(fleet_of(fleet.hosts, [WICKED], NOW - 90_000), history.NOTHING)
        )
    )
    text, reader = rendered(fleet_of(fleet.hosts, [WICKED], NOW), past)
    tags = [tag for tag, _attributes in reader.elements]
    assert tags.count("script") == 1 and tags.count("style") == 1 and "img" not in tags and "b" not in tags
    assert not any(
        name.startswith("on") or name == "style" for _tag, attributes in reader.elements for name in attributes
    )
    assert (
        "\u202e" not in text and "\x1b" not in text and "{{ 7 * 7 }}" in text and "</script><script>alert" not in text
    )
    assert "<img" not in text and max(map(len, reader.text)) < 40_000


def test_nothing_is_loaded_and_only_our_own_script_runs() -> None:
    text, reader = rendered(told({"web-1": {"host": host()}}))
    policy = next(each["content"] for tag, each in reader.elements if tag == "meta" and each.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'sha256-")
    for tag in ("style", "script"):
        inside = text.split("<{0}>".format(tag), 1)[1].split("</{0}>".format(tag), 1)[0]
        assert page.allowed(inside) in policy and "</" not in inside
    assert "unsafe" not in policy and not re.search(r"https?://|url\(|@import", text)
    links = [each.get("href") or "" for _tag, each in reader.elements if "href" in each or "src" in each]
    assert links and all(link.startswith("#") for link in links)


def test_it_can_be_read_without_seeing_it() -> None:
    fleet = told({"web-1": {"host": host()}, "web-2": None}, TARGET, {"web-1": "site-a", "web-2": "site-b"})
    _text, reader = rendered(fleet)
    by_tag: Dict[str, List[Dict[str, Optional[str]]]] = {}
    for tag, attributes in reader.elements:
        by_tag.setdefault(tag, []).append(attributes)
    assert by_tag["html"][0]["lang"] == "en" and all(each.get("scope") for each in by_tag["th"])
    assert len(by_tag["caption"]) == len(by_tag["table"])
    drawings = [each for each in by_tag["svg"] if not each.get("aria-hidden")]
    assert drawings and all(each.get("aria-label") for each in drawings)
    ids = [each["id"] for _tag, each in reader.elements if each.get("id")]
    assert len(ids) == len(set(ids))
    wanted = [each["aria-labelledby"] for _tag, each in reader.elements if each.get("aria-labelledby")]
    assert wanted and set(wanted) <= set(ids) and {each["for"] for each in by_tag["label"]} <= set(ids)
    assert set(page.GLYPHS) == set(CONDITIONS) and len(set(page.GLYPHS.values())) == len(CONDITIONS)


def _luminance(color: str) -> float:
    """WCAG 2.1, relative luminance."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast(scheme: int) -> None:
    """WCAG 2.1, 1.4.3 (AA): 4.5 for text, on all that it is written on."""
    style = page._read("page.css").split("@media (prefers-color-scheme: dark)", 1)[scheme]
    colors = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", style))
    words = [plots.css(word)[2:] for word in CONDITIONS] + ["ink", "soft", "link"]
    for word in words:
        for ground in ("paper", "sheet", "sunk"):
            light, dark = sorted((_luminance(colors[word]), _luminance(colors[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, ground)


def thousand(at: float = NOW) -> Fleet:
    """A fleet of a thousand, of which three are dead."""
    hosts = []
    for number in range(1000):
        journal = {
            "phase": "committed",
            "txn": "0004-aa-{0:04x}".format(number),
            "kind": "upgrade",
            "reason": "",
            "fetched": 5_000_000 + number,
            "from": {"version": "1.0"},
            "to": {"version": "1.1"},
            "bad": [],
            "times": [
                {"phase": "prepared", "at": int(at) - 4000 - number},
                {"phase": "written", "at": int(at) - 3900},
                {"phase": "committed", "at": int(at) - 3600},
            ],
        }
        running = {"name": "web", "version": "1.1", "slice": "nz-b", "id": "b" * 64, "build": "b" * 16, "seq": 11}
        result: Any = {"host": host(hostname="web-{0}".format(number), journal=journal, running=running)}
        if number in (17, 400, 999):
            result = {"unreachable": True, "msg": "Failed to connect to the host via ssh: No route to host"}
        hosts.append(host_of("web-{0}".format(number), "site-{0}".format(number // 25), facts.answer(result), TARGET))
    return fleet_of(hosts, [], at)


def test_a_thousand_hosts() -> None:
    lines = history.additions(thousand(NOW - 86400 * 40), history.NOTHING)
    past = history.parse(b"".join(history.encode(line) for line in lines))
    later = history.additions(thousand(), past)
    past = history.parse(b"".join(history.encode(line) for line in lines + later))
    text, reader = rendered(thousand(), past)
    assert len(text.encode("utf-8")) < 5_000_000
    assert sum(tag == "tbody" for tag, _attributes in reader.elements) == 1001
    # what needs somebody comes first
    first = [each["data-c"] for tag, each in reader.elements if tag == "tbody" and "data-c" in each]
    assert first[:4] == ["c-no-answer"] * 3 + ["c-behind"]


def test_what_a_page_says() -> None:
    says = host(
        running={
            "name": "web",
            "version": "1.1",
            "slice": "nz-b",
            "id": "b" * 64,
            "seq": 11,
            "origin": {
                "method": "sets",
                "release": "13.2-RELEASE-p4",
                "revision": "",
                "options": {},
                "package_count": 34,
            },
        },
        disks={
            "found": 4,
            "expected": 4,
            "missing": [],
            "errors": [{"name": "ada2", "read": 0, "write": 1, "checksum": 269}],
        },
        journal={
            "phase": "reverted",
            "txn": "0002-aa",
            "kind": "upgrade",
            "reason": "not running: nginx",
            "fetched": 5_000_000,
            "from": {"version": "1.1"},
            "to": {"version": "1.2"},
            "bad": ["d" * 64],
            "times": [
                {"phase": "prepared", "at": 1000},
                {"phase": "written", "at": 1060},
                {"phase": "trial", "at": 1160},
                {"phase": "reverted", "at": 1300},
            ],
        },
    )
    text, reader = rendered(
        told({"web-1": {"host": says}}, TARGET, {"web-1": "site-a"}),
        support={"13.2-RELEASE": "2024-06-30"},
    )
    said = " ".join(" ".join(reader.text).split())
    for words in (
        "1 of 1 host is not as it should be",
        "ada2: 0 read, 1 write, 269 checksum",
        "support over",
        "2024-06-30, over",
        "reverted after 5 min",
        "5.0 MB fetched",
        ": not running: nginx",
        "prepared 1 min",
        "trial 2 min 20 s",
        "d" * 64,
        "Behind: web-1",
        "signed by release@example.org",
    ):
        assert words in said, words
    assert text.count('class="p0"') == 1 and 'width="33.33"' in text


@pytest.mark.parametrize("ident", ["b" * 64, None])
def test_an_image_that_the_fleet_calls_bad_counts(ident: Optional[str]) -> None:
    """On every host that runs it, once, whether or not the host found it bad as well."""
    running = {"name": "web", "version": "1.1", "slice": "nz-b", "id": ident, "build": "c" * 16, "bad": "it eats mail"}
    own = {"phase": "idle", "bad": ["b" * 64, "d" * 64]} if ident else {"phase": "idle"}
    fleet = told({"web-1": {"host": host(running=running)}, "web-2": {"host": host(running=running, journal=own)}})
    found = {
        each["id"]: (each["hosts"], each["bad"])
        for each in page._images(fleet, support_of({}), datetime.date(2026, 1, 1))
    }
    assert found == ({"b" * 64: (2, 2), "d" * 64: (0, 1)} if ident else {"": (2, 2)})


def test_times_that_make_no_sense() -> None:
    """A clock that stood at 1970, and one that went back."""
    times = [{"phase": "prepared", "at": 5}, {"phase": "written", "at": 1_700_000_000}, {"phase": "committed", "at": 3}]
    says = host(journal={"phase": "committed", "txn": "0002-aa", "times": times})
    fleet = told({"web-1": {"host": says}})
    deal = fleet.hosts[0].known
    assert deal is not None and deal.transaction is not None and deal.transaction.seconds is None
    assert [each["took"] for each in page.timeline(deal.transaction)] == ["0 s", "0 s", ""]
    rendered(fleet)


def test_an_empty_fleet() -> None:
    text, _reader = rendered(told({}))
    assert "There are no hosts in this report." in text


def lines_of(**times: Any) -> history.History:
    return history.parse(b"".join(history.encode(each) for each in times["lines"]))


def test_versions_over_time_are_steps() -> None:
    def line(at: int, name: str, version: str) -> Dict[str, Any]:
        return {"at": at, "host": name, "condition": "normal", "image": {"name": "web", "version": version}}

    past = lines_of(
        lines=[line(1000, "a", "1.0"), line(1000, "b", "1.0"), line(2000, "a", "1.1"), line(2500, "gone", "1.0")]
    )
    versions, conditions = plots.over_time(past, ["a", "b"], 3000.0)
    assert [(each.label, each.last) for each in versions.areas] == [("web-1.0", 1), ("web-1.1", 1)]
    corners = versions.areas[0].path.strip("MZ").split("L")
    assert len(corners) == 7 and corners[1].split()[0] == corners[2].split()[0]  # straight down where one host changed
    assert "now 2 normal" in conditions.summary
    assert plots.over_time(past, ["gone"], 2510.0) == [] and plots.over_time(history.NOTHING, ["a"], 3000.0) == []


def test_upgrades_by_time_and_bytes() -> None:
    def line(txn: str, phase: str, seconds: Any, fetched: Any) -> Dict[str, Any]:
        deal = {
            "txn": txn,
            "phase": phase,
            "seconds": seconds,
            "fetched": fetched,
            "ended": 5_000,
            "from": "1.0",
            "to": "1.1",
        }
        return {"at": 5_100, "host": "a", "condition": "normal", "transaction": deal}

    lines = [
        line("1", "committed", 300, 4_000_000),
        line("1", "committed", 300, 4_000_000),
        line("2", "reverted", 420, 1_400_000_000),
        line("3", "trial", None, 7),
        line("4", "committed", "x", -1),
    ]
    took, fetched = plots.of_upgrades(lines_of(lines=lines), ["a"], 6000.0)
    assert took.summary == "2 upgrades, 1 taken back; median 7 min, largest 7 min" and len(took.points) == 2
    assert [each.back for each in fetched.points] == [False, True]
    assert [each.label for each in fetched.y] == ["1.0 MB", "10.0 MB", "100 MB", "1.0 GB", "10.0 GB"]  # powers of ten
    assert [each.label for each in took.y] == ["0 min", "4 min", "8 min"]
