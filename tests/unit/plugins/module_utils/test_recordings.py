# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What FreeBSD 15.0 said to the collection's own functions, and that they read of 15.0 what they read of 13.2."""

from __future__ import annotations

import re
import shlex
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import parse_confxml
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import (
    boot0_default,
    find_medium,
    root_device,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Hold, Zfs, is_missing
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Vdev, Zpool, parse_import, parse_label
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.transcripts import FIXTURES_15, Transcript


def load(directory: str, name: str) -> Transcript:
    return transcripts.load(directory, name, FIXTURES_15)


class Recorded:
    """Answers commands with what was recorded of them, in the order of recording.

    Columns of a list may be fewer and in another order than those that were asked for then.

    :param after: commands up to this one are over.
    """

    def __init__(self, directory: str, after: str = "") -> None:
        self._left = [load(directory, name) for name in transcripts.names(directory, FIXTURES_15) if name > after]

    def __call__(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        for each in self._left:
            recorded = shlex.split(each.command)
            if recorded == list(argv):
                return each.rc, each.out, each.err
            if recorded[-3:-2] != ["-o"] or recorded[:-2] + recorded[-1:] != [*argv[:-2], argv[-1]]:
                continue
            there, wanted = recorded[-2].split(","), argv[-2].split(",")
            if set(wanted) <= set(there):
                rows = [line.split("\t") for line in each.out.splitlines()]
                picked = ("\t".join(row[there.index(column)] for column in wanted) + "\n" for row in rows)
                return each.rc, "".join(picked), each.err
        raise AssertionError("not recorded: {0}".format(argv))


def zfs_after(name: str) -> Zfs:
    """The datasets of the recorded session after a transcript."""
    return Zfs(Runner(Recorded("product", name)))


# both releases

#: what may differ between the twins, by the names of the transcripts; counts of errors may in all of them
_REMOVED = ("has been removed by the administrator.", "have been removed.")
REWORDED = {"212-rz-fault-while-imported": _REMOVED, "214-rz-statusx-removed": _REMOVED}

#: a pool was not there on 15.0
WITHOUT = {"224-import-D": "tank"}

TWINS = [
    name
    for name in transcripts.names("zpool")
    if name in transcripts.names("zpool", FIXTURES_15)
    and re.match(r"zpool (?:import|status)", transcripts.load("zpool", name).command)
]


def _pools(text: str) -> List[Any]:
    """What a listing says, without what differs by pool and moment."""
    return sorted(
        (
            pool.name,
            pool.state,
            pool.status.replace("One or more devices ", ""),
            pool.action,
            pool.importable,
            pool.listed_in_use,
            [(each.depth, _name(each), each.state, re.sub(r"\d+$", "<count>", each.remark)) for each in pool.vdevs],
        )
        for pool in parse_import(text)
    )


def _name(vdev: Vdev) -> str:
    return re.sub(r"^\d{15,}$", "<guid>", vdev.name)


def test_there_are_many_twins() -> None:
    assert len(TWINS) == 72


@pytest.mark.parametrize("name", TWINS)
def test_what_zpool_says_is_read_alike(name: str) -> None:
    old, new = (transcripts.load("zpool", name, fixtures) for fixtures in transcripts.RELEASES.values())
    assert (old.command, old.rc) == (new.command, new.rc)
    there = [pool for pool in _pools(old.out) if pool[0] != WITHOUT.get(name)]
    words = REWORDED.get(name)
    if words:
        assert all(pool[2].startswith(words[0]) for pool in there)
        there = [(*pool[:2], pool[2].replace(*words), *pool[3:]) for pool in there]
    assert _pools(new.out) == there


@pytest.mark.parametrize("release", transcripts.RELEASES)
@pytest.mark.parametrize(
    ("directory", "name", "missing"),
    [
        ("zfs", "033-set-missing", True),
        ("zpool", "009-get-missing", True),
        ("zfs", "030-set-bad", False),
        ("zfs", "077-destroy-held", False),
    ],
)
def test_what_is_missing(release: str, directory: str, name: str, missing: bool) -> None:
    recorded = transcripts.load(directory, name, transcripts.RELEASES[release])
    runner = Runner(lambda argv, stdin: (recorded.rc, recorded.out, recorded.err))
    assert is_missing(runner.query(shlex.split(recorded.command))) == missing


# what the collection asked for, in its own words


def test_pools_that_are_imported() -> None:
    (pool,) = Zpool(Runner(Recorded("product"))).imported()
    assert (pool.name, pool.guid, pool.health) == ("tank", "7203520873524156869", "ONLINE")
    assert (pool.size, pool.allocated, pool.free, pool.capacity) == (369098752, 285696, 368813056, 0)
    assert (pool.readonly, pool.altroot, pool.cachefile) == (False, None, "none")
    (pool,) = Zpool(Runner(Recorded("product", "063-zpool-import"))).imported()
    # one that is imported read-only says that it is empty
    assert (pool.readonly, pool.altroot, pool.allocated, pool.free) == (True, "/mnt", 0, pool.size)


def test_labels() -> None:
    for name in ("059-zdb", "060-zdb", "061-zdb", "079-zdb"):
        label = parse_label(load("product", name).out)
        assert label is not None and label.guid == "7203520873524156869" and label.hostname == "fbsd"
    for name in ("074-zdb", "078-zdb", "083-zdb"):
        assert parse_label(load("product", name).out) is None


def test_datasets_that_are_not_there() -> None:
    assert zfs_after("047").datasets("tank/none") == [] and zfs_after("047").datasets("nopool/x") == []


def test_holds() -> None:
    found = zfs_after("019").holds(["tank@s1", "tank/a@s1"])
    assert found == [Hold("tank@s1", "nanozfs"), Hold("tank/a@s1", "other"), Hold("tank/a@s1", "nanozfs")]


# media of the lab


@pytest.fixture
def mesh() -> Any:
    return parse_confxml(load("medium", "013-confxml-n").out)


def test_the_medium_that_runs(mesh: Any) -> None:
    root = root_device(Runner(Recorded("medium")))
    assert root == "/dev/gpt/nz-a"
    medium = find_medium(mesh, root)
    assert (medium.disk, medium.scheme, medium.running) == ("vtbd0", "GPT", "nz-a")
    assert not medium.corrupt and not medium.pending
    assert medium.state == "/dev/gpt/nz-state"
    slices: Dict[str, Tuple[int, Tuple[str, ...]]] = {
        label: (each.index, tuple(each.flags)) for label, each in medium.slices.items()
    }
    assert slices == {"nz-recovery": (3, ()), "nz-a": (4, ("bootme",)), "nz-b": (5, ())}
    # that the FAT of the ESP is taken for an MBR without parts is in nobody's way
    assert {table.name for table in mesh.tables()} >= {"vtbd0", "vtbd4", "vtbd0p1"}
    assert medium.duplicates == ("nz-a on vtbd4", "nz-b on vtbd4", "nz-recovery on vtbd4")


def test_a_medium_with_an_mbr(mesh: Any) -> None:
    medium = find_medium(mesh, "/dev/vtbd4s2a")
    assert (medium.disk, medium.scheme, medium.running) == ("vtbd4", "MBR", "nz-a")
    assert {label: (each.index, tuple(each.flags)) for label, each in medium.slices.items()} == {
        "nz-recovery": (1, ()),
        "nz-a": (2, ("active",)),
        "nz-b": (3, ()),
    }
    mounted = parse_confxml(load("medium", "055-confxml-mounted-mbr").out)
    piece = mounted.find("vtbd4s2")
    assert piece is not None and [each.kind for each in mounted.holders(piece)] == ["VFS"]


def test_no_medium(mesh: Any) -> None:
    with pytest.raises(Refused, match="which is none of the slices"):
        find_medium(mesh, "/dev/vtbd0p6")


@pytest.mark.parametrize(
    ("name", "default"), [("049-boot0cfg-v", 2), ("050-boot0cfg-s3", 3), ("052-boot0cfg-gpt", None)]
)
def test_what_boot0_boots(name: str, default: Optional[int]) -> None:
    recorded = load("medium", name)
    assert boot0_default(Runner(lambda argv, stdin: (recorded.rc, recorded.out, recorded.err)), "vtbd4") == default
