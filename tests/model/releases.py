# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In what the releases of FreeBSD differ that the model speaks. Everything else is the same in all of them.

A machine says in its hardware which release it runs (``release``, 13.2 where it does not say).

Sources: the transcripts under tests/fixtures/freebsd-13.2 and freebsd-15.0; where there is none, the source that is
named.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, NamedTuple, Tuple

from ansible_collections.nanozfs.fleet.tests.model.features import (
    KNOWN_2_1,
    KNOWN_2_4,
    SETS_2_1,
    SETS_2_4,
    Requested,
    requested,
)
from ansible_collections.nanozfs.fleet.tests.model.machine import FIRST_RELEASE, Machine
from ansible_collections.nanozfs.fleet.tests.model.properties import (
    DATASETS_2_1,
    DEFAULT,
    INHERIT,
    LIMIT,
    POOLS_2_1,
    READ_ONLY,
    SIZE,
    SOURCELESS,
    SWITCH,
    Native,
    Property,
    dataset_property,
    pool_property,
)


class Release(NamedTuple):
    """What one release says and does.

    :param name: as machines have it.
    :param osreldate: ``kern.osreldate``.
    :param zfs: the version of its ZFS.
    :param shutdown: letters that shutdown(8) knows as options (``sbin/shutdown/shutdown.c``).
    :param reboot: those of reboot(8) (``sbin/reboot/reboot.c``).
    :param native: the properties that its ZFS knows.
    :param sourceless: those of datasets that are set and have no source all the same.
    :param features: the features that its ZFS knows.
    :param sets: what is in its ``/usr/share/zfs/compatibility.d``.
    :param counts_objects: features that count objects become active with the first mount.
    :param empty_readonly: a pool that is imported read-only says that nothing of it is allocated (transcript
        product/064-zpool-list; not recorded on 13.2).
    :param zpool_usage: usage texts of zpool(8) that are its own; so ``zfs_usage``.
    :param zfs_usage_end: the end of most usage texts of zfs(8).
    :param no_pool_to_get: ``zpool get`` of a pool that is not there.
    :param no_pool_property: a property that no pool has; ``zpool create`` and ``import``.
    :param removed: a disk was pulled, ``zpool status``.
    :param narrow_listing: ``zpool import`` indents only what it says of a pool with a comment, and all lines of that.
    :param upgrade_notes: what ``zpool upgrade`` says of features that it does not enable.
    :param label_title: of what zdb(8) shows of a label; ``label_pool`` and ``label_vdev`` are lines of it that are not
        in all releases, ``metaslab_array`` a number in it.
    :param set_refused: exit status of ``zfs set`` that is refused.
    :param held: why a snapshot that is held is not destroyed.
    :param newest_first: snapshots are listed with the newest first by commands that destroy them.
    :param no_file_system: mount(8) of a device that is not there, or has no file system.
    """

    name: str
    osreldate: str
    zfs: str
    shutdown: str
    reboot: str
    native: Native
    sourceless: Tuple[str, ...]
    features: Tuple[str, ...]
    sets: Dict[str, FrozenSet[str]]
    counts_objects: bool
    empty_readonly: bool
    zpool_usage: Dict[str, str]
    zfs_usage: Dict[str, str]
    zfs_usage_end: str
    no_pool_to_get: str
    no_pool_property: str
    removed: str
    narrow_listing: bool
    upgrade_notes: str
    label_title: str
    label_pool: Tuple[str, ...]
    label_vdev: Tuple[str, ...]
    metaslab_array: int
    set_refused: int
    held: str
    newest_first: bool
    no_file_system: str

    @property
    def system(self) -> str:
        """``uname -r``."""
        return self.name + "-RELEASE"

    @property
    def zfs_version(self) -> str:
        """What ``zfs version`` and ``zpool version`` print."""
        return "zfs-{0}\nzfs-kmod-{0}\n".format(self.zfs)

    def listing_indents(self, comment: bool) -> Tuple[str, str]:
        """Blanks in front of the keywords of ``zpool import``, and behind the tab of the lines that go on.

        :param comment: the pool has one.
        """
        if not self.narrow_listing:
            return " ", ""
        return (" ", " ") if comment else ("", "")

    def requested(self, compatibility: str) -> Requested:
        """What a value of the property ``compatibility`` asks for."""
        return requested(compatibility, self.features, self.sets)


_13_2 = Release(
    name="13.2",
    osreldate="1302001",
    zfs="2.1.9-FreeBSD_g92e0d9d18",
    shutdown="chknopr",
    reboot="cdklNnpqr",
    native=Native(DATASETS_2_1, POOLS_2_1, 15),
    sourceless=SOURCELESS,
    features=KNOWN_2_1,
    sets=SETS_2_1,
    counts_objects=False,
    empty_readonly=False,
    zpool_usage={
        "get": '\tget [-Hp] [-o "all" | field[,...]] <"all" | property[,...]> <pool> ...\n',
        "list": "\tlist [-gHLpPv] [-o property[,...]] [-T d|u] [pool] ... \n\t    [interval [count]]\n",
    },
    zfs_usage={
        "get": (
            '\tget [-rHp] [-d max] [-o "all" | field[,...]]\n'
            "\t    [-t type[,...]] [-s source[,...]]\n"
            '\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...\n'
        ),
        "list": (
            "\tlist [-Hp] [-r|-d max] [-o property[,...]] [-s property]...\n"
            "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...\n"
        ),
    },
    zfs_usage_end="",
    no_pool_to_get="cannot open '{0}': no such pool\n",
    no_pool_property="property '{0}' is not a valid pool property",
    removed="One or more devices has been removed by the administrator.",
    narrow_listing=False,
    upgrade_notes="",
    label_title="LABEL 0",
    label_pool=(),
    label_vdev=(),
    metaslab_array=133,
    set_refused=1,
    held="dataset is busy",
    newest_first=True,
    no_file_system="Invalid fstype: Invalid argument",
)


def _changed(properties: Tuple[Property, ...], **changes: Dict[str, Any]) -> Tuple[Property, ...]:
    return tuple(each._replace(**changes.get(each.name, {})) for each in properties)


_CHECKSUMS = "on | off | fletcher2 | fletcher4 | sha256 | sha512 | skein | edonr | blake3"
_DEDUP = "on | off | verify | sha256[,verify] | sha512[,verify] | skein[,verify] | edonr,verify | blake3[,verify]"
_COUNT: Dict[str, Any] = {"kind": "count, none"}

#: quotas for users, groups and projects that have none of their own
_QUOTAS = tuple(
    "default{0}{1}quota".format(subject, middle) for middle in ("", "obj") for subject in ("user", "group", "project")
)

_DATASETS_2_4 = (
    *_changed(
        DATASETS_2_1,
        referenced={"least": 0},
        recordsize={"values": "512 to 16M, power of 2"},
        volblocksize={"values": "512 to 16M, power of 2", "default": "16384"},
        checksum={"values": _CHECKSUMS},
        compression={"default": "on"},
        dedup={"values": _DEDUP},
        relatime={"default": "on"},
        snapdir={"values": "disabled | hidden | visible"},
        xattr={"default": "sa"},
        filesystem_limit=_COUNT,
        snapshot_limit=_COUNT,
        filesystem_count=_COUNT,
        snapshot_count=_COUNT,
        special_small_blocks={"values": "0 to 16M"},
    ),
    dataset_property("snapshots_changed", "date", READ_ONLY, "fv", "<date>", "SNAPSHOTS_CHANGED", ""),
    dataset_property("volthreading", "index", DEFAULT, "v", SWITCH, "zvol threading", "on"),
    dataset_property("prefetch", "index", INHERIT, "fvs", "none | metadata | all", "PREFETCH", "all"),
    dataset_property("direct", "index", INHERIT, "f", "disabled | standard | always", "DIRECT", "standard"),
    dataset_property("longname", "index", INHERIT, "f", SWITCH, "LONGNAME", "off"),
    *(dataset_property(name, "plain", DEFAULT, "fs", LIMIT, name.upper(), "0") for name in _QUOTAS),
)

_POOLS_2_4 = (
    *_changed(POOLS_2_1, capacity={"values": "<percent>"}),
    pool_property("bcloneused", "number", READ_ONLY, SIZE, "BCLONE_USED", ""),
    pool_property("bclonesaved", "number", READ_ONLY, SIZE, "BCLONE_SAVED", ""),
    pool_property("bcloneratio", "number", READ_ONLY, "<1.00x or higher if cloned>", "BCLONE_RATIO", ""),
    pool_property("dedup_table_size", "number", READ_ONLY, SIZE, "DDTSIZE", ""),
    pool_property("dedup_table_quota", "string", DEFAULT, SIZE, "DDTQUOTA", "auto"),
    pool_property("last_scrubbed_txg", "number", READ_ONLY, "<txg>", "LAST_SCRUBBED_TXG", ""),
)

_15_0 = Release(
    name="15.0",
    osreldate="1500068",
    zfs="2.4.0-rc4-FreeBSD_g099f69ff5",
    shutdown="cfhknopqr",
    reboot="cDdefklNnopqr",
    native=Native(_DATASETS_2_4, _POOLS_2_4, 22),
    sourceless=(*SOURCELESS, *_QUOTAS),
    features=KNOWN_2_4,
    sets=SETS_2_4,
    counts_objects=True,
    empty_readonly=True,
    zpool_usage={
        "get": (
            "\tget [-Hp] [-j [--json-int, --json-pool-key-guid]] ...\n"
            '\t    [-o "all" | field[,...]] <"all" | property[,...]> <pool> ...\n'
        ),
        "list": (
            "\tlist [-gHLpPv] [-o property[,...]] [-j [--json-int, --json-pool-key-guid]] ...\n"
            "\t    [-T d|u] [pool] [interval [count]]\n"
        ),
    },
    zfs_usage={
        "get": (
            '\tget [-rHp] [-j [--json-int]] [-d max] [-o "all" | field[,...]]\n'
            "\t    [-t type[,...]] [-s source[,...]]\n"
            '\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...\n'
        ),
        "list": (
            "\tlist [-Hp] [-j [--json-int]] [-r|-d max] [-o property[,...]] [-s property]...\n"
            "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...\n"
        ),
    },
    zfs_usage_end="\nFor further help on a command or topic, run: zfs help [<topic>]\n",
    no_pool_to_get="Cannot get properties of {0}: no such pool available.\n",
    no_pool_property="property '{0}' is not a valid pool or vdev property",
    removed="One or more devices have been removed.",
    narrow_listing=True,
    upgrade_notes=(
        "Features marked with (*) are not applied automatically on upgrade, and\n"
        "must be applied explicitly with zpool-set(7).\n\n"
    ),
    label_title="LABEL 0 ",
    label_pool=("min_alloc: 512", "max_alloc: 512"),
    label_vdev=("min_alloc: 512",),
    metaslab_array=70,
    set_refused=255,
    held="it's being held. Run 'zfs holds -r {0}' to see holders.",
    newest_first=False,
    no_file_system="No such file or directory",
)

RELEASES = {release.name: release for release in (_13_2, _15_0)}


def of(machine: Machine) -> Release:
    """The release that a machine runs."""
    return RELEASES[machine.hardware.get("release", FIRST_RELEASE)]
