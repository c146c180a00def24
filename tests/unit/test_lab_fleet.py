# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of the lab that is larger than the example: its sites, and hosts that are copies of an installed one."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state
from ansible_collections.nanozfs.fleet.tests.lab import copies
from ansible_collections.nanozfs.fleet.tests.lab.fleet import LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, EXAMPLE, sites
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost, boot


def test_every_host_has_an_address_of_its_own() -> None:
    assert len(set(ADDRESSES.values())) == len(ADDRESSES) >= 200
    assert all(1 < number < 255 for number in ADDRESSES.values())  # .1 is the lab's own
    assert dict(list(ADDRESSES.items())[:3]) == EXAMPLE


@pytest.mark.parametrize("count", [3, 4, 10, 50, 200, len(ADDRESSES)])
def test_every_host_is_at_one_site(count: int) -> None:
    found = sites(count)
    assert [host for members in found.values() for host in members] == list(ADDRESSES)[:count]
    assert {"site-a": ["web-1"], "site-b": ["web-2", "web-3"]}.items() <= found.items()
    assert all(found.values())


def test_the_names_of_many_sites() -> None:
    assert list(sites(200))[24:29] == ["site-y", "site-z", "site-aa", "site-ab", "site-ac"]


@pytest.mark.parametrize("count", [0, 2, len(ADDRESSES) + 1])
def test_a_fleet_that_there_is_no_room_for(count: int) -> None:
    with pytest.raises(LabError, match="between 3 and"):
        sites(count)


@pytest.fixture
def installed(pooled: ModuleHost) -> ModuleHost:
    """A host as deploy leaves it, as far as a copy differs from it: switched off."""
    machine = pooled.machine
    for disk in machine.hardware["disks"].values():
        disk["ident"] = disk["ident"].replace("ADA", "WEB-1-D")
    machine.save()
    pooled.write("tank/nanozfs/cfg", "rc.conf", 'hostname="web-1"\nsshd_enable="YES"\n')
    os.mkdir(os.path.join(pools.folder(machine, "tank/nanozfs/cfg"), "ssh"))
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
        pooled.write("tank/nanozfs/cfg", "ssh/" + name, "that of web-1")
    medium, pool = read_medium(Runner(machine.execute)), Zpool(Runner(machine.execute)).pool("tank")
    assert pool is not None
    assert state.remember(medium, {"guid": pool.guid, "boots": "0"}) == ""
    told = {"hostname": "web-1", "ifconfig_em0": "DHCP", "machine.uuid": machine.hardware["uuid"]}
    assert state.remember(medium, told, state.NETWORK) == ""
    machine.start({})
    machine.save()
    return pooled


def copied(host: ModuleHost, folder: Any, seed: int) -> Machine:
    """What :func:`copies.make_other` makes of the files of a host."""
    shutil.copytree(host.machine.home, folder)
    home, shelf = str(folder), os.path.join(folder, os.path.relpath(host.machine.shelf, host.machine.home))
    copies.make_other(home, shelf, "web-1", "web-{0}".format(seed), seed)
    machine = Machine(home, shelf, Kernel())
    machine.load()
    return machine


def identity(machine: Machine) -> Dict[str, Any]:
    """All that is to be a host's own."""
    guids = os.listdir(machine.shelf)
    with open(os.path.join(machine.shelf, guids[0], "pool.json"), encoding="utf-8") as file:
        record = json.load(file)
    found = {
        "uuid": machine.hardware["uuid"],
        "hostid": record["hostid"],
        "pools": guids,
        "vdevs": [top["guid"] for top in record["vdevs"]],
        "leaves": [leaf["guid"] for top in record["vdevs"] for leaf in top["children"]],
        "disks": [disk["ident"] for name, disk in machine.hardware["disks"].items() if name != "ada0"],
    }
    cfg = os.path.join(machine.shelf, guids[0], "fs", str(record["datasets"]["nanozfs/cfg"]["object"]))
    for name in ("rc.conf", "ssh/ssh_host_ed25519_key"):
        with open(os.path.join(cfg, name), encoding="utf-8") as file:
            found[name] = file.read()
    return found


def test_a_copy_has_an_identity_of_its_own(installed: ModuleHost, tmp_path: Any) -> None:
    found = [identity(installed.machine)]
    found += [identity(copied(installed, tmp_path / str(seed), seed)) for seed in (7, 8)]
    for key, value in found[0].items():
        assert len({json.dumps(each[key]) for each in found}) == 3, key
        assert not isinstance(value, list) or all(len(each[key]) == len(value) for each in found)
    assert found[1]["rc.conf"] == 'hostname="web-7"\nsshd_enable="YES"\n'
    assert found[1]["disks"] == ["WEB-7-D1", "WEB-7-D2", "WEB-7-D3"]


def test_a_copy_finds_its_pool_and_its_medium_knows_both(
    installed: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = ModuleHost(copied(installed, tmp_path / "copy", 7), str(tmp_path), monkeypatch)
    boot(host.machine, "nz-a")
    host.command("zpool", "import", "-f", "-N", "-o", "cachefile=none", "tank")
    runner = Runner(host.machine.execute)
    pool, medium = Zpool(runner).pool("tank"), read_medium(runner)
    assert pool is not None and (pool.health, pool.guid) == ("ONLINE", os.listdir(host.machine.shelf)[0])
    assert state.of(medium).values["guid"] == pool.guid
    assert state.of(medium, state.NETWORK).values == {
        "hostname": "web-7",
        "ifconfig_em0": "DHCP",
        "machine.uuid": host.machine.hardware["uuid"],
    }


def test_what_is_not_installed_is_not_copied(pooled: ModuleHost, tmp_path: Any) -> None:
    pooled.write("tank/nanozfs/cfg", "rc.conf", 'hostname="other"\n')
    with pytest.raises(copies.NotCopied, match="does not say its name"):
        copied(pooled, tmp_path / "copy", 7)
