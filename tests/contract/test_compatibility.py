# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Features of the model's pools: what ``compatibility`` asks for, and disks that come to a host with an older ZFS."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import parse_import
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.model import features, releases
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine, Output
from ansible_collections.nanozfs.fleet.tests.model.pools import Pools

MIB = 1 << 20

OLD, NEW = "13.2", "15.0"


class Site:
    """Machines of both releases between which one disk goes back and forth."""

    def __init__(self, folder: str) -> None:
        self.machines: Dict[str, Machine] = {}
        for release in releases.RELEASES:
            machine = Machine.create(folder + "/" + release, folder + "/shelf", release=release)
            machine.start({}, 7)
            machine.save()
            self.machines[release] = machine
        self.place = NEW
        self.machines[NEW].add_disk("ada1", 128 * MIB)

    def run(self, release: str, command: str) -> Output:
        """Run a command on the machine of a release, with the disk."""
        if release != self.place:
            self.machines[self.place].load()
            disk = self.machines[self.place].remove_disk("ada1")
            self.machines[release].load()
            self.machines[release].attach_disk(disk)
            self.place = release
        return self.machines[release].run(command.split(" "))

    def ok(self, release: str, command: str) -> str:
        """Run a command that must succeed and say nothing on standard error; what it prints."""
        output = self.run(release, command)
        assert (output.rc, output.err) == (0, ""), (command, output)
        return output.out

    def states(self, release: str, pool: str = "tank") -> Dict[str, str]:
        """What ``zpool get all`` says of features."""
        rows = [
            line.split("\t") for line in self.ok(release, "zpool get -H -o property,value all " + pool).splitlines()
        ]
        return {key: value for key, value in rows if "@" in key}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(str(tmp_path))


def test_names_of_the_sets() -> None:
    recorded = transcripts.load("zpool", "352-compat-ls", transcripts.FIXTURES_15).out.split()
    assert sorted(releases.RELEASES[NEW].sets) == sorted(recorded)


def test_features_of_a_release_are_those_of_its_set() -> None:
    new = releases.RELEASES[NEW]
    assert set(new.features) == new.sets["openzfs-2.4-freebsd"]
    for release in releases.RELEASES.values():
        assert set(releases.RELEASES[OLD].features) == release.sets["openzfs-2.1-freebsd"]


@pytest.mark.parametrize("release", [OLD, NEW])
def test_a_set_with_features_that_the_zfs_does_not_know(site: Site, release: str) -> None:
    output = site.run(release, "zpool create -o cachefile=none -o compatibility=openzfs-2.1-linux,zol-0.8 tank ada1")
    warning = "Warning: unrecognized feature name(s) in distribution compatibility files: edonr edonr \n"
    assert (output.rc, output.err) == (0, warning if release == OLD else "")
    states = site.states(release)
    assert states["feature@encryption"] == "enabled" and states["feature@draid"] == "disabled"


@pytest.mark.parametrize("release", [OLD, NEW])
def test_sets_that_are_not_there(site: Site, release: str) -> None:
    output = site.run(release, "zpool create -o compatibility=nosuch,openzfs-2.1-freebsd,none tank ada1")
    assert output == Output(1, "", "Error: could not read/parse feature file(s): nosuch none \n")
    assert site.ok(release, "zpool list") == "no pools available\n"


def test_a_pool_for_both(site: Site) -> None:
    site.ok(NEW, "zpool create -o cachefile=none -o compatibility=openzfs-2.1-freebsd tank ada1")
    states = site.states(NEW)
    recorded = transcripts.load("zpool", "348-compat-get", transcripts.FIXTURES_15).out.splitlines()
    assert states == dict(line.split("\t") for line in recorded if "@" in line)
    assert "status:" not in site.ok(NEW, "zpool status tank")
    site.ok(NEW, "zpool export tank")
    (listed,) = parse_import(site.ok(OLD, "zpool import"))
    assert (listed.state, listed.status) == ("ONLINE", "")
    site.ok(OLD, "zpool import -o cachefile=none tank")
    assert "unsupported" not in "".join(site.states(OLD))
    assert site.ok(OLD, "zpool upgrade tank").endswith("already has all supported and requested features enabled.\n")
    site.ok(OLD, "zpool export tank")
    # nobody asked the pool's own property here
    (listed,) = parse_import(site.ok(NEW, "zpool import"))
    assert listed.importable and listed.status.startswith("Some supported features are not enabled on the pool.")


def test_a_pool_that_an_older_zfs_cannot_open(site: Site) -> None:
    """What the labels say is in the way is all that it sees."""
    site.ok(NEW, "zpool create -o cachefile=none tank ada1")
    site.ok(NEW, "zpool export tank")
    listing = site.ok(OLD, "zpool import")
    assert listing.split("\n", 2)[2] == (
        "  state: UNAVAIL\n"
        "status: The pool uses the following feature(s) not supported on this system:\n"
        "\tcom.klarasystems:vdev_zaps_v2\n"
        " action: The pool cannot be imported. Access the pool on a system that supports\n"
        "\tthe required feature(s), or recreate the pool from backup.\n"
        " config:\n"
        "\n"
        "\ttank        UNAVAIL  unsupported feature(s)\n"
        "\t  ada1      ONLINE\n"
    )
    assert not parse_import(listing)[0].importable
    for options in ("-N", "-f -F", "-N -o readonly=on"):
        assert site.run(OLD, "zpool import {0} tank".format(options)) == Output(
            1,
            "This pool uses the following feature(s) not supported by this system:\n\tcom.klarasystems:vdev_zaps_v2\n",
            "cannot import 'tank': unsupported version or feature\n",
        )
    site.ok(NEW, "zpool import -N -o cachefile=none tank")


def test_a_pool_that_an_older_zfs_can_only_read(site: Site) -> None:
    site.ok(NEW, "zpool create -o cachefile=none -o compatibility=openzfs-2.1-freebsd tank ada1")
    site.ok(NEW, "zpool set compatibility=off tank")
    site.ok(NEW, "zpool set feature@block_cloning=enabled tank")
    with site.machines[NEW].locked() as machine:
        (pool,) = Pools(machine).imported()
        pool.record["features"]["block_cloning"] = features.ACTIVE
        pool.save()
    site.ok(NEW, "zpool export tank")
    (listed,) = parse_import(site.ok(OLD, "zpool import"))
    assert listed.state == "UNAVAIL" and "can only be accessed in read-only mode" in listed.status
    output = site.run(OLD, "zpool import -N -o cachefile=none tank")
    assert (output.rc, output.err) == (1, "cannot import 'tank': unsupported version or feature\n")
    assert output.out == (
        "This pool uses the following feature(s) not supported by this system:\n"
        "\tcom.fudosecurity:block_cloning (Support for block cloning via Block Reference Table.)\n"
        "All unsupported features are only required for writing to the pool.\n"
        "The pool can be imported using '-o readonly=on'.\n"
    )
    site.ok(OLD, "zpool import -N -o readonly=on -o cachefile=none tank")
    states = site.states(OLD)
    assert states["unsupported@com.fudosecurity:block_cloning"] == "readonly"


def test_features_that_are_only_enabled_are_in_nobodys_way(site: Site) -> None:
    site.ok(NEW, "zpool create -o cachefile=none -o compatibility=openzfs-2.1-freebsd tank ada1")
    site.ok(NEW, "zpool set compatibility=off tank")
    site.ok(NEW, "zpool set feature@blake3=enabled tank")
    site.ok(NEW, "zpool export tank")
    site.ok(OLD, "zpool import -N -o cachefile=none tank")
    assert site.states(OLD)["unsupported@org.openzfs:blake3"] == "inactive"


def test_upgrade(site: Site) -> None:
    site.ok(OLD, "zpool create -o cachefile=none tank ada1")
    site.ok(OLD, "zpool export tank")
    site.ok(NEW, "zpool import -N -o cachefile=none tank")
    new = [name for name in features.KNOWN_2_4 if name not in features.KNOWN_2_1]
    lines = ["      {0}{1}".format(name, "(*)" if name == "dynamic_gang_header" else "") for name in new]
    told = site.ok(NEW, "zpool upgrade").splitlines()
    assert told[told.index("tank") + 1 : -1] == lines
    assert "status: Some supported and requested features are not enabled" in site.ok(NEW, "zpool status tank")
    assert site.ok(NEW, "zpool status -x") == "all pools are healthy\n"
    site.ok(NEW, "zpool set compatibility=openzfs-2.2-freebsd tank")
    some = ["edonr", "zilsaxattr", "head_errlog", "blake3", "block_cloning", "vdev_zaps_v2"]
    for command in ("zpool upgrade -a", "zpool upgrade tank"):
        out = site.ok(NEW, command)
        if command.endswith("-a"):
            assert out.splitlines()[2:] == ["Enabled the following features on 'tank':"] + [
                "  " + each for each in some
            ] + [""]
        else:
            assert out.endswith("\n\nPool 'tank' already has all supported and requested features enabled.\n")
    states = site.states(NEW)
    assert states["feature@head_errlog"] == "active" and states["feature@blake3"] == "enabled"
    assert states["feature@longname"] == "disabled"


def test_more_than_was_asked_for(site: Site) -> None:
    site.ok(NEW, "zpool create -o cachefile=none tank ada1")
    output = site.run(NEW, "zpool set compatibility=openzfs-2.1-freebsd tank")
    warning = (
        "Warning: one or more features already enabled on pool 'tank'\nare not present in this compatibility set.\n"
    )
    assert output == Output(0, "", warning)
    assert "status: One or more features are enabled on the pool despite not being\n" in site.ok(NEW, "zpool status")
    output = site.run(NEW, "zpool set feature@nosuch=enabled tank")
    assert output == Output(1, "", "cannot set property for 'tank': feature 'nosuch' unsupported by kernel\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"draid": "enabled", "lz4_compress": "active"}),
        ("-d", {"draid": "disabled", "lz4_compress": "disabled"}),
        ("-d -o feature@encryption=enabled", {"encryption": "enabled", "bookmark_v2": "enabled", "draid": "disabled"}),
        ("-o feature@draid=disabled", {"draid": "disabled", "lz4_compress": "active"}),
    ],
)
@pytest.mark.parametrize("release", [OLD, NEW])
def test_features_of_a_new_pool(site: Site, release: str, options: str, expected: Dict[str, str]) -> None:
    words = "zpool create -o cachefile=none {0} tank ada1".format(options).replace("  ", " ")
    site.ok(release, words)
    states = site.states(release)
    assert {name: states["feature@" + name] for name in expected} == expected


def _counted(states: Dict[str, str]) -> Tuple[str, ...]:
    return tuple(states["feature@" + name] for name in ("userobj_accounting", "project_quota", "extensible_dataset"))


def test_counting_begins_with_the_first_mount(site: Site) -> None:
    """As zpool/318 and zpool/036 of both releases have it."""
    for release, counted in ((OLD, "enabled"), (NEW, "active")):
        site.ok(release, "zpool create -o cachefile=none -O mountpoint=none tank ada1")
        assert _counted(site.states(release)) == 3 * ("enabled",)
        site.ok(release, "zfs create -o mountpoint={0} tank/data".format(site.machines[release].home))
        assert _counted(site.states(release)) == 3 * (counted,)
        site.ok(release, "zpool destroy tank")
