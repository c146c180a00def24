# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what zpool and zdb of a real FreeBSD said."""

from __future__ import annotations

from typing import List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.compatibility import parse_features
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import (
    Candidate,
    Label,
    Zpool,
    check_importable,
    choose,
    in_use_elsewhere,
    parse_import,
    parse_label,
    vdev_words,
)
from ansible_collections.nanozfs.fleet.tests import transcripts

HERE = 0x1234


#: guids of the pools that were recorded on a release
GUIDS = {
    "13.2": {"tank": "15367144506019737292", "rz": "103676888636923470", "mi": "16470268834815335550"},
    "15.0": {"tank": "5750462790617326243", "rz": "12073858129939313680", "mi": "11175075722853237232"},
}

#: of the disk that was missing from rz when it was imported before
MISSING = {"13.2": "3311803688023782590", "15.0": "13390931206043344392"}

on_both = pytest.mark.parametrize("release", transcripts.RELEASES)


def candidates(name: str, directory: str = "zpool", release: str = "13.2") -> List[Candidate]:
    return parse_import(transcripts.load(directory, name, transcripts.RELEASES[release]).out)


@on_both
@pytest.mark.parametrize(
    "name, pool, state, devices, importable",
    [
        ("059-import-one", "tank", "ONLINE", ["vtbd1", "vtbd2", "vtbd3"], True),
        ("201-import-rz-1missing", "rz", "DEGRADED", ["md20", "md21"], True),
        ("207-import-rz-2missing", "rz", "UNAVAIL", ["md20"], False),
        ("221-import-stripe-missing", "st", "UNAVAIL", ["md20"], False),
        ("231-import-both-corrupt", "mi", "FAULTED", ["md20", "md21"], False),
    ],
)
def test_listings(release: str, name: str, pool: str, state: str, devices: List[str], importable: bool) -> None:
    (found,) = candidates(name, release=release)
    assert (found.name, found.guid) == (pool, GUIDS[release].get(pool, found.guid))
    assert (found.state, found.devices, found.importable, found.listed_in_use) == (state, devices, importable, False)
    assert found.action and not found.action.startswith("action") and "\t" not in found.action


TWO_DISKS = ["vtbd1", "vtbd2"]


@pytest.mark.parametrize(
    "directory, name, pool, devices, importable, elsewhere",
    [
        ("zpool-crossboot", "005-other-host", ("tank", "9391816869918432840", "ONLINE"), None, True, True),
        (
            "zpool-crossboot",
            "008-other-host-1missing",
            ("tank", "9391816869918432840", "DEGRADED"),
            TWO_DISKS,
            True,
            True,
        ),
        ("zpool-crossboot", "017-2missing", ("tank", "9391816869918432840", "UNAVAIL"), None, False, None),
        ("zpool-crossboot", "002-same-host", ("tank", "9391816869918432840", "ONLINE"), None, True, False),
    ],
)
def test_listings_of_another_host(
    directory: str,
    name: str,
    pool: Optional[Tuple[str, str, str]],
    devices: Optional[List[str]],
    importable: bool,
    elsewhere: Optional[bool],
) -> None:
    found = candidates(name, directory)[0]
    if pool is not None:
        assert (found.name, found.guid, found.state) == pool
    if devices is not None:
        assert found.devices == devices
    assert found.importable == importable
    if elsewhere is not None:
        assert found.listed_in_use == elsewhere
    assert found.action and not found.action.startswith("action") and "\t" not in found.action


@on_both
def test_status_and_remarks(release: str) -> None:
    found = candidates("207-import-rz-2missing", release=release)[0]
    assert found.status == "One or more devices are missing from the system."
    assert [(each.depth, each.name, each.state, each.remark) for each in found.vdevs] == [
        (0, "rz", "UNAVAIL", "insufficient replicas"),
        (1, "raidz1-0", "UNAVAIL", "insufficient replicas"),
        (2, "md20", "ONLINE", ""),
        (2, "md21", "UNAVAIL", "cannot open"),
        (2, MISSING[release], "UNAVAIL", "cannot open"),
    ]


@on_both
def test_several(release: str) -> None:
    found = candidates("075-import-several", release=release)
    assert len(found) > 1 and len({each.guid for each in found}) == len(found)
    assert all(each.name and each.guid.isdigit() and each.vdevs for each in found)


@on_both
def test_two_of_one_name(release: str) -> None:
    found = candidates("077-import-same-name", release=release)
    twins = [each for each in found if each.name == "dup"]
    assert len(twins) == 2
    with pytest.raises(Refused) as refused:
        choose(found, "dup", None)
    assert refused.value.details["guids"] == [each.guid for each in twins]
    assert choose(found, "dup", twins[1].guid) is twins[1]
    assert choose(found, "none", None) is None and choose(found, None, "1") is None


@on_both
@pytest.mark.parametrize("name", ["005-import-none", "061-import-one-d-empty"])
def test_nothing_to_import(release: str, name: str) -> None:
    recorded = transcripts.load("zpool", name, transcripts.RELEASES[release])
    zpool = Zpool(Runner(lambda argv, stdin: (recorded.rc, recorded.out, recorded.err)))
    assert zpool.candidates() == []


@on_both
def test_label(release: str) -> None:
    found = {
        name: parse_label(transcripts.load("zpool", name, transcripts.RELEASES[release]).out)
        for name in ("045-labels", "046-labels-none", "123-labels-garbage")
    }
    txg = {"13.2": 11, "15.0": 12}[release]
    assert found.pop("045-labels") == Label(GUIDS[release]["tank"], False, 689118909, "fbsd", txg)
    assert list(found.values()) == [None, None]


def test_pools_that_are_imported() -> None:
    """The columns that are asked for, in the form of transcript 026 (``zpool list -Hp``)."""
    row = "tank\t9391816869918432840\tONLINE\t1476395008\t153600\t1476241408\t0\toff\t-\tnone\n"
    (pool,) = Zpool(Runner(lambda argv, stdin: (0, row, ""))).imported()
    assert (pool.size, pool.free, pool.capacity) == (1476395008, 1476241408, 0)
    assert (pool.readonly, pool.altroot, pool.cachefile) == (False, None, "none")


class TestInUse:
    POOL = candidates("059-import-one")[0]
    LISTED = (
        candidates("005-other-host", "zpool-crossboot")[0],
        candidates("385-import-elsewhere-listing", release="15.0")[0],
    )

    @pytest.mark.parametrize(
        "label, expected",
        [
            (None, False),
            (Label("1", True, 99, "other", 1), False),
            (Label("1", False, HERE, "here", 1), False),
            (Label("1", False, 99, "other", 1), True),
            (Label("1", False, 0, "", 1), True),
        ],
    )
    def test_by_label(self, label: Label, expected: bool) -> None:
        assert in_use_elsewhere(self.POOL, label, HERE) == expected

    @pytest.mark.parametrize("listed", LISTED, ids=list(transcripts.RELEASES))
    def test_by_listing(self, listed: Candidate) -> None:
        assert in_use_elsewhere(listed, None, HERE)
        with pytest.raises(Refused, match=r"an unknown host \(hostid unknown\)"):
            check_importable(listed, None, HERE, None)
        assert check_importable(listed, None, HERE, "any")


@pytest.mark.parametrize(
    "vdevs, words",
    [
        ([{"type": "raidz2", "disks": ["a", "b", "c", "d"]}], ["raidz2", "a", "b", "c", "d"]),
        ([{"disks": ["a"]}], ["a"]),
        ([{"type": "mirror", "disks": ["a", "b"]}] * 2, ["mirror", "a", "b", "mirror", "a", "b"]),
    ],
)
def test_vdevs(vdevs: list, words: list) -> None:
    assert vdev_words(vdevs) == words


@pytest.mark.parametrize(
    "vdev", [{"type": "log", "disks": ["a"]}, {"type": "mirror", "disks": "ada1"}, {"disks": None}]
)
def test_vdevs_that_are_none(vdev: dict) -> None:
    with pytest.raises(FleetError):
        vdev_words([vdev])


def test_features_that_are_active() -> None:
    rows = [line.split("\t")[1:3] for line in transcripts.load("zpool", "036-get-all").out.splitlines()]
    used = ("embedded_data", "enabled_txg", "hole_birth", "log_spacemap", "lz4_compress")
    found = parse_features(rows)
    assert found.active == (*used, "spacemap_histogram", "spacemap_v2")
    assert (len(found.enabled), found.disabled, found.compatibility) == (26, (), "off")


def test_features_that_the_running_zfs_does_not_know() -> None:
    """As ``zpool_prop_get_feature()`` in ``libzfs_pool.c`` gives them."""
    rows = [
        ["unsupported@com.example:new", "readonly"],
        ["unsupported@com.example:idle", "inactive"],
        ["feature@draid", "enabled"],
        ["feature@skein", "active"],
        ["readonly", "active"],
    ]
    assert parse_features(rows) == (("new", "skein"), ("draid", "idle"), (), "off")
