# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded session with zfs(8)."""

from __future__ import annotations

import os
import random

from ansible_collections.nanozfs.fleet.tests.contract.replay import (
    Results,
    Script,
    Session,
    busy,
    compare,
    idle,
    nothing_of_pools,
    of_each,
    system_disk,
)
from ansible_collections.nanozfs.fleet.tests.model import pools


def _setup(session: Session) -> None:
    session.boot(689118909)
    system_disk(session)
    session.attach(512, "vtbd1", "vtbd2", "vtbd3")
    session.attach(96, "md20", "md21", "md22")
    session.do("zpool create -o cachefile=none rz raidz md20 md21 md22")
    session.do("zpool create -o cachefile=none -O atime=off -O compression=lz4 -m /tank tank raidz vtbd1 vtbd2 vtbd3")
    session.do("zfs create rz/d")


def _files(session: Session) -> None:
    session.write("tank/data", "f", b"one\n")
    session.write("tank/data", "keep", b"keep\n")


def _changes(session: Session) -> None:
    session.write("tank/data", "f", b"two\n")
    os.unlink(os.path.join(pools.folder(session.machine, "tank/data"), "keep"))


def _clone(session: Session) -> None:
    session.do("zfs snapshot tank/data@n1")
    session.do("zfs snapshot tank/data@n2")
    session.do("zfs clone tank/data@n2 tank/clone")


def _small(session: Session) -> None:
    session.do("zfs create -o quota=4m -o compression=off tank/small")
    session.write("tank/small", "f", random.Random(1).getrandbits(32 << 20).to_bytes(4 << 20, "big"))


ZFS = Script(
    "zfs",
    _setup,
    before={
        "039": _files,
        "056": _changes,
        "086": _clone,
        "095": lambda session: session.do("zfs snapshot tank/data@s2"),
        "139": _small,
        "142": lambda session: session.do("zfs set readonly=on tank/small"),
    },
    instead={
        "036": [busy("/srv/data"), "zfs set mountpoint=/srv/data2 tank/data", idle],
        "051": ["zfs snapshot tank/data@" + 300 * "x"],
        "101": [busy("/tank/data"), "zfs unmount tank/data", idle],
        "114": ["zfs create tank/busy", busy("/tank/busy"), "zfs destroy tank/busy", idle],
        "115": [busy("/tank/busy"), "zfs destroy -f tank/busy", idle],
    },
    excluded={
        "050-snapshot-nobody": "the model has no users but root",
        "05[6-9]-diff*": "zfs diff is not modelled: the collection does not use it",
        "06[0-2]-diff*": "zfs diff is not modelled: the collection does not use it",
        "095-rollback-busy": "what tail printed; that a busy file system is rolled back is in test_pools",
        "096-rollback-busy-openfile-deleted": "the file that is open and goes stale is on the file system of the test",
        "099-rollback-md-file-busy": "memory disks in files are not modelled",
        "100-rollback-nobody": "the model has no users but root",
        "13[3-8]-*": "zfs send and receive are not modelled",
        "139-quota-full": "what dd printed; the model limits what datasets may hold, not what programs write",
        "142-readonly": "what touch printed, on a mount that is not made here",
    },
)


def _without_mounts(session: Session) -> None:
    """As after the checkpoint that the pool was set back to."""
    nothing_of_pools(session)
    session.do("zpool create -o cachefile=none -O atime=off -O compression=lz4 -m /tank tank raidz vtbd1 vtbd2 vtbd3")
    session.do("zpool export tank")
    session.do("zpool import -N -o cachefile=none tank")


def _file(session: Session) -> None:
    session.write("tank/data", "f", b"one\n")


_JSON = "JSON is not modelled: the collection reads the forms that all releases have"
_OD = "od of another system uses other blanks"
_DD = "what dd printed; the model limits what datasets may hold, not what programs write"
_NOBODY = "the model has no users but root"

ZFS_15 = ZFS.on(
    "15.0",
    before={
        "201": _without_mounts,
        "202": lambda session: session.do("zfs destroy tank/later"),
        "236": lambda session: session.do("zfs set mountpoint=/tank/data tank/data"),
    },
    instead={
        "202": ["zfs create -o org.example:kind=app tank/data", _file],
        "278": [busy("/tank/data"), "zfs unmount tank/data", idle],
    },
    excluded={
        "209-list-j": _JSON,
        "21[0-7]-*": _JSON,
        "219-version-j": _JSON,
        "220-mount-j": _JSON,
        "224-user-tab": _OD,
        "225-user-lineend": _OD,
        "226-user-list-j": _JSON,
        "227-user-get-Hp": "has the value with a line end",
        "228-user-utf8": _OD,
        "229-user-long": "jot is not on every system; properties.yml has a value that is too long",
        "235-set-u-mountpoint": "zfs set -u is not modelled: 13.2 has no such option",
        "239-write-no-space": _DD,
        "24[0-2]-*": _DD,
        "266-holds-p": "zfs holds -p is not modelled: 13.2 has no such option",
        "27[1-6]-*": _NOBODY,
        "279-rewrite": "zfs rewrite is not modelled: 13.2 has no such command",
        "280-no-args": "the list of all commands of zfs",
        "281-nosuch-verb": "the list of all commands of zfs",
    },
)

SCRIPTS = (ZFS, ZFS_15)


@of_each(SCRIPTS)
def test_zfs(results: Results, title: str, name: str) -> None:
    compare(*results[title][name])
