# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts made from one that is installed: what deploy would have given each of them, without a play for each.

All that tells two hosts of a site from each other is made anew: the machine's uuid and the host id that follows from
it, the serial numbers of its disks, the guids of the pool and of what it is made of, the host's name, its ssh key, and
what the medium remembers of pool, machine and name. The data are those of the original, and so are the guids of
datasets and snapshots: the journal may name them, and nothing compares them between hosts.
"""

from __future__ import annotations

import glob
import json
import os
import random
import re
import subprocess
import uuid
from typing import Any, Dict, List, Union

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state
from ansible_collections.nanozfs.fleet.tests.model import geom
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine
from ansible_collections.nanozfs.fleet.tests.model.pools import leaves, new_guid


class NotCopied(Exception):
    """The original is not what a copy can be made of."""


class _Part(Device):
    """A part of an image file, as the device that it is on the host.

    :param offset: of the part, in bytes.
    """

    def __init__(self, path: str, offset: int) -> None:
        super().__init__(path, writable=True)
        self._offset = offset

    def read_into(self, offset: int, view: memoryview) -> int:
        return super().read_into(self._offset + offset, view)

    def write(self, offset: int, data: Union[bytes, memoryview]) -> None:
        super().write(self._offset + offset, data)


def make_other(home: str, shelf: str, original: str, name: str, seed: int) -> None:
    """Make a host of its own of the files of another one, which were copied and are switched off.

    :param home: its folder; its pools are still those of the original.
    :param shelf: the folder with these pools; each gets the name of its new guid.
    :param original: name of the host that was copied.
    :param seed: what its uuid is made from; another one for every host.
    :raises NotCopied: when the original is not installed as deploy leaves it.
    """
    machine = Machine(home, shelf, Kernel())
    machine.load()
    machine.hardware["uuid"] = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
    pools = _renew_pools(machine)
    if len(pools) != 1:
        raise NotCopied("{0} has {1} pools; a host to be copied has one".format(original, len(pools)))
    for disk in machine.hardware["disks"].values():
        disk["ident"] = disk["ident"].replace(original.upper(), name.upper())
    machine.start({})
    machine.save()
    _rename(os.path.join(shelf, pools[0]), original, name)
    _tell_medium(machine, pools[0], name)


def _renew_pools(machine: Machine) -> List[str]:
    """Give the pools of a machine, and what they are made of, guids that no other has; those of the pools."""
    new: Dict[str, str] = {}
    made = []
    for guid in sorted({disk["zfs"]["pool"] for disk in machine.hardware["disks"].values() if disk.get("zfs")}):
        path = os.path.join(machine.shelf, guid, "pool.json")
        with open(path, encoding="utf-8") as file:
            record: Dict[str, Any] = json.load(file)
        for top in record["vdevs"]:
            for vdev in {id(each): each for each in (top, *leaves(top))}.values():
                new[vdev["guid"]] = vdev["guid"] = new_guid()
        new[guid] = record["guid"] = new_guid()
        made.append(new[guid])
        record["hostid"] = int(machine.hardware["uuid"][:8], 16)  # as rc.d/hostid makes it
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.rename(os.path.dirname(path), os.path.join(machine.shelf, record["guid"]))
    for disk in machine.hardware["disks"].values():
        if disk.get("zfs"):
            disk["zfs"].update({key: new[disk["zfs"][key]] for key in ("pool", "vdev")})
    return made


def _rename(pool: str, original: str, name: str) -> None:
    """Its own name and ssh keys in its configuration.

    :param pool: the folder of the pool.
    """
    with open(os.path.join(pool, "pool.json"), encoding="utf-8") as file:
        datasets = json.load(file)["datasets"]
    if "nanozfs/cfg" not in datasets:
        raise NotCopied("{0} has no configuration on its pool".format(original))
    cfg = os.path.join(pool, "fs", str(datasets["nanozfs/cfg"]["object"]))
    path = os.path.join(cfg, "rc.conf")
    with open(path, encoding="utf-8") as file:
        text, count = re.subn(
            '^hostname="{0}"$'.format(re.escape(original)), 'hostname="{0}"'.format(name), file.read(), flags=re.M
        )
    if count != 1:
        raise NotCopied("{0} does not say its name in its rc.conf".format(original))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    for key in glob.glob(os.path.join(cfg, "ssh", "ssh_host_*_key")):
        kind = os.path.basename(key).split("_")[2]
        for each in (key, key + ".pub"):
            os.unlink(each)
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", key], check=True)


def _tell_medium(machine: Machine, guid: str, name: str) -> None:
    """What the medium remembers of pool, machine and name, where it remembers anything."""
    place = geom.find(machine, "gpt/nz-state")
    if place is None:
        return
    with _Part(machine.image(place.disk), place.offset) as device:
        if not state.read(device).is_new:
            state.write(device, {"guid": guid})
        network = state.read(device, state.NETWORK)
        if not network.is_new:
            told = {"hostname": name, "machine.uuid": machine.hardware["uuid"]}
            state.write(device, {**network.values, **told}, state.NETWORK)
