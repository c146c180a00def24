# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and addresses, questions, and what the variables of hosts say to the report."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Channel
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report import addresses, hosts, query
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.addresses import Place
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import document
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.rings import Target, finder
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_report import NOW, host, told

PLAN = {"site-a": "192.0.2.0/28, 2001:db8:a::/48", "site-b": ["192.0.2.16-192.0.2.31"], "site-c": "198.51.100.*"}


def test_addresses() -> None:
    places = {
        "web-1": Place("site-a", "192.0.2.1"),
        "web-2": Place("site-a", "192.0.2.17"),
        "web-3": Place("site-b", "192.0.2.17"),
        "web-4": Place("site-a", "2001:DB8:a:0::1"),
        "web-5": Place("site-c", "198.51.100.7"),
        "web-6": Place("site-d", "203.0.113.1"),
        "web-7": Place("site-a", "web-7.example.org"),
        "web_8": Place("site-a", "[2001:db8:a::1]"),
        "192.0.2.9": Place("site-a", "192.0.2.9"),
    }
    said, common = addresses.compare(places, addresses.plan_of(PLAN))
    assert {name: texts for name, texts in said.items() if texts} == {
        "web-2": [
            "its address 192.0.2.17 is not in the plan of site-a",
            "its address 192.0.2.17 is that of web-3 as well",
        ],
        "web-3": ["its address 192.0.2.17 is that of web-2 as well"],
        "web-4": ["its address 2001:db8:a::1 is that of web_8 as well"],
        "web_8": [
            "its name in the inventory is no host name (letters, digits, hyphens; parts with dots)",
            "its address 2001:db8:a::1 is that of web-4 as well",
        ],
    }
    assert common == []


def test_plans_that_overlap_or_are_none() -> None:
    _said, common = addresses.compare(
        {}, addresses.plan_of({"a": "192.0.2.0/24", "b": "192.0.2.128/25", "c": "198.51.100.0/24"})
    )
    assert common == ["report_address_plan: a and b overlap (192.0.2.128/25)"]
    for text in ("192.0.2.0/99", "site", "192.0.2.9-192.0.2.1", ""):
        with pytest.raises(Refused, match="is no network"):
            addresses.plan_of({"a": text})


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("web-1", True),
        ("web-1.example.org", True),
        ("WEB1", True),
        ("web_1", False),
        ("-web", False),
        ("", False),
        ("web..1", False),
        ("x" * 64, False),
        ("web 1", False),
        ("wéb", False),
    ],
)
def test_names(name: str, good: bool) -> None:
    assert addresses.is_host_name(name) == good


def test_questions() -> None:
    told_of = document(told({"web-1": {"host": host()}, "web-2": {"unreachable": True}}))

    def ask(text: str) -> Any:
        return query.ask(query.compiled(text), told_of)

    assert ask("hosts[?condition!='normal'].name") == ["web-2"]
    assert query.shown(ask("hosts[].name")) == ["web-1", "web-2"] and query.shown(ask("counts.normal")) == ["1"]
    assert query.shown(ask("nothing.at.all")) == ["null"]
    assert query.shown({"a": "\x1b[2J\u202e"}) == ["{", ' "a": "\\u001b[2J\\u202e"', "}"] and query.shown("\x1b") == [
        "?"
    ]
    for text in ("hosts[?", "", "foo(@)"):
        with pytest.raises(FleetError, match="report_query"):
            ask(text)
    with pytest.raises(Refused, match="cannot be answered"):
        ask("sum(hosts[].name)")


def test_what_variables_say() -> None:
    asked: List[Any] = []

    def find(wish: Any) -> Target:
        asked.append(wish)
        return Target(wish, "c" * 64, "c", "1.2")

    origin = {"method": "sets", "release": "13.2-RELEASE-p4", "revision": "", "options": {}, "package_count": 1}
    says = host(running={"name": "web", "version": "1.1", "slice": "nz-b", "id": "b" * 64, "origin": origin})
    base: Dict[str, Any] = {"group_names": ["site-a"], "upgrade_version": "ring:stable", "nanozfs_repository": "/srv"}
    fleet = hosts.assemble(
        {
            "web-1": hosts.Source(base, {"host": says}),
            "web-2": hosts.Source(
                dict(base, upgrade_repository="/other", ansible_host="192.0.2.1", fleet_site="b"), {"host": says}
            ),
            "web-3": hosts.Source({}, None),
            "web-4": hosts.Source(dict(base, upgrade_version=""), {"unreachable": True}),
        },
        lambda variables, name: str(variables.get(name) or ""),
        find,
        addresses.plan_of({"b": "198.51.100.0/24"}),
        hosts.support_of({"13.2-RELEASE": "2024-06-30"}),
        NOW,
    )
    assert [(each.site, each.condition) for each in fleet.hosts] == [
        ("site-a", "behind"),
        ("b", "behind"),
        ("", "not asked"),
        ("site-a", "no answer"),
    ]
    assert [(each.wanted, each.name, each.repository) for each in asked] == [
        ("ring:stable", "web", "/srv"),
        ("ring:stable", "web", "/other"),
    ]
    assert fleet.hosts[1].remarks == (
        "its address 192.0.2.1 is not in the plan of b",
        "support of 13.2-RELEASE-p4 ended on 2024-06-30",
    )


def test_a_repository_that_cannot_be_asked_is_a_remark(tmp_path: Any) -> None:
    says = host(running={"name": "web", "version": "1.1", "slice": "nz-b"})
    gone = {"upgrade_version": "ring:stable", "nanozfs_repository": str(tmp_path)}
    sources = {
        "web-1": hosts.Source(gone, {"host": says}),
        "web-2": hosts.Source(gone, {"host": says}),
        "web-3": hosts.Source(dict(gone, nanozfs_repository=""), {"host": says}),
    }
    for signers, words in ((["x ssh-ed25519 AAAA"], "cannot be told: "), ([], "whose signatures count is not known")):
        find = finder(Runner(local_execute), signers, [])
        fleet = hosts.assemble(
            sources, lambda variables, name: str(variables.get(name) or ""), find, {}, hosts.support_of({}), NOW
        )
        assert len(fleet.remarks) == 2 and all("ring:stable of web" in each for each in fleet.remarks)
        assert any(words in each for each in fleet.remarks) and fleet.counts == {"normal": 3}


def test_a_ring_is_what_somebody_trusted_has_signed(images: Images, tmp_path: Any) -> None:
    """The real statements of a repository, verified: asked once, whatever number of hosts follows it."""
    place = str(tmp_path / "images")
    os.mkdir(place)
    for name in os.listdir(images.repository):
        if name.startswith("index.json") or ".manifest.json" in name:
            shutil.copy(os.path.join(images.repository, name), place)
    runner = Runner(local_execute)
    Folder(place).set_channel(runner, Channel("web", {"stable": images.built["1.1"]["id"]}, None), images.key)
    old, new = (
        host(
            running={"name": "web", "version": version, "slice": "nz-b", "id": images.built[version]["id"], "seq": seq}
        )
        for version, seq in (("1.0", 10), ("1.1", 11))
    )
    follows = {"upgrade_version": "ring:stable", "nanozfs_repository": place}
    sources = {
        "web-1": hosts.Source(follows, {"host": old}),
        "web-2": hosts.Source(follows, {"host": new}),
        "web-3": hosts.Source(dict(follows, upgrade_version="1.0"), {"host": new}),
        "web-4": hosts.Source(dict(follows, upgrade_version="ring:none"), {"host": new}),
    }

    def report(signers: List[str]) -> Any:
        find = finder(runner, signers, [])
        return hosts.assemble(
            sources, lambda variables, name: str(variables.get(name) or ""), find, {}, hosts.support_of({}), NOW
        )

    fleet = report([images.signer])
    assert [each.condition for each in fleet.hosts] == ["behind", "normal", "behind", "normal"]
    assert fleet.hosts[0].findings[0].reason == "ring:stable of web is 1.1, and it runs 1.0"
    assert fleet.hosts[2].findings[0].reason == "it should run 1.0, and it runs 1.1, which is newer"
    assert fleet.hosts[0].target is not None and fleet.hosts[0].target.signer == "release@fleet"
    assert len(fleet.remarks) == 1 and "has no ring none" in fleet.remarks[0]
    # a statement that was changed, or that somebody else has signed, moves nobody
    with open(os.path.join(place, "web.channel.json"), "ab") as file:
        file.write(b" ")
    for signers in ([images.signer], ['x namespaces="nanozfs-channel" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA']):
        assert report(signers).hosts[0].condition == "normal"


def test_dates_that_are_none() -> None:
    with pytest.raises(Refused, match=r"'soon' of 13\.2-RELEASE is no date"):
        hosts.support_of({"13.2-RELEASE": "soon"})
