# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GEOM mesh of a real FreeBSD: what is what, and who has it open."""

from __future__ import annotations

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import Mesh, Provider, parse_confxml
from ansible_collections.nanozfs.fleet.tests import transcripts


@pytest.fixture(params=transcripts.RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mesh(release: str) -> Mesh:
    """A disk with a GPT of four partitions, of which gpt/os-a is mounted as /, and three data disks."""
    return parse_confxml(transcripts.load("geom", "018-confxml-n", transcripts.RELEASES[release]).out)


def provider(mesh: Mesh, name: str) -> Provider:
    found = mesh.find(name)
    assert found is not None, name
    return found


def test_providers(mesh: Mesh) -> None:
    disk = provider(mesh, "/dev/vtbd0")
    assert disk.sectorsize == 512 and disk.path == "/dev/vtbd0"
    part = provider(mesh, "vtbd0p2")
    assert 0 < part.mediasize < disk.mediasize
    assert part.value("label") == "os-a" and part.value("nosuch") == ""
    assert mesh.find("nosuch") is None


#: the UFS on os-b has a label only where newfs made it
NAMES = {"13.2": ["vtbd0p3", "gpt/os-b", "ufs/osb", "ufsid/6b03ee3f1276b901"], "15.0": ["vtbd0p3", "gpt/os-b"]}


def test_all_names_of_the_same_bytes(mesh: Mesh, release: str) -> None:
    for name in NAMES[release]:
        each = provider(mesh, name)
        assert mesh.base(each).name == "vtbd0p3"
        assert mesh.names(each) == NAMES[release]


@pytest.mark.parametrize("name", ["gpt/os-a", "vtbd0p2", "vtbd0"])
def test_a_mounted_root_is_held_by_whatever_name(mesh: Mesh, name: str) -> None:
    holders = mesh.holders(provider(mesh, name))
    assert [(each.kind, each.name) for each in holders] == [("VFS", "ffs.gpt/os-a")]
    assert "a mounted file system (ffs.gpt/os-a on gpt/os-a)" in str(holders[0])


@pytest.mark.parametrize("name", ["gpt/os-b", "vtbd0p3", "vtbd1"])
def test_what_nobody_holds(mesh: Mesh, name: str) -> None:
    assert mesh.holders(provider(mesh, name)) == []


def test_tables(mesh: Mesh) -> None:
    table = mesh.table_of(provider(mesh, "gpt/os-b"))
    assert table is not None and table.name == "vtbd0" and table in mesh.tables()
    assert table.config["scheme"] == ("GPT",)
    assert mesh.table_of(provider(mesh, "vtbd1")) is None


@pytest.mark.parametrize("text", ["", "<mesh>", "<other/>", "sysctl: unknown oid"])
def test_what_is_no_mesh(text: str) -> None:
    with pytest.raises(FleetError):
        parse_confxml(text)
