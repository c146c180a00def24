# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded session with zfs(8)."""

from __future__ import annotations

import os
import random
from typing import Any, Dict, Tuple

import pytest

from ansible_collections.nanozfs.fleet.tests.contract.replay import (
    Script,
    Session,
    busy,
    compare,
    idle,
    replay,
    system_disk,
)
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.machine import Output
from ansible_collections.nanozfs.fleet.tests.transcripts import Transcript


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


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Tuple[Transcript, Output]]:
    return replay(ZFS, str(tmp_path_factory.mktemp("zfs")))


@pytest.mark.parametrize("name", ZFS.names())
def test_zfs(results: Any, name: str) -> None:
    compare(*results[name])
