# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The features of pools, and the sets of them that a pool's property ``compatibility`` names.

Sources: ``module/zcommon/zfeature_common.c`` and ``cmd/zpool/compatibility.d`` of OpenZFS 2.1.9 and 2.4.0-rc4,
``cddl/share/zfs/compatibility.d/Makefile`` of FreeBSD 13.2 and 15.0, zpool-features(7).
"""

from __future__ import annotations

from typing import Dict, FrozenSet, List, NamedTuple, Optional, Tuple

DISABLED, ENABLED, ACTIVE = "disabled", "enabled", "active"

#: all features; none
OFF, LEGACY = "off", "legacy"


class Feature(NamedTuple):
    """A feature.

    :param guid: how disks name it.
    :param readonly: a ZFS that does not know it can open the pool for reading when it is active.
    :param in_label: the labels say when it is active, so that a ZFS which does not know it does not look any further.
    :param at_once: it is active as soon as it is enabled.
    :param when_made: it is active when it is enabled while the pool is made.
    :param when_mounted: it becomes active with the first mount for writing, where the kernel counts objects.
    :param upgraded: ``zpool upgrade`` enables it.
    :param extensible: it needs ``extensible_dataset``.
    :param about: what a ZFS that does not know it reads about it from the pool.
    """

    name: str
    guid: str
    readonly: bool
    in_label: bool
    at_once: bool
    when_made: bool
    when_mounted: bool
    upgraded: bool
    extensible: bool
    about: str

    @property
    def needs(self) -> List[str]:
        """Features that are enabled with it."""
        return ["extensible_dataset"] * self.extensible + _NEEDS.get(self.name, [])


def _read(table: str) -> Dict[str, Feature]:
    """Features: guid without name, name, letters for what is true of it, text."""
    found = {}
    for line in table.strip().splitlines():
        domain, name, letters, about = (line.split(None, 3) + ["", ""])[:4]
        found[name] = Feature(
            name=name,
            guid="{0}:{1}".format(domain, name),
            readonly="r" in letters,
            in_label="l" in letters,
            at_once="a" in letters,
            when_made="c" in letters,
            when_mounted="m" in letters,
            upgraded="x" not in letters,
            extensible="e" in letters,
            about=about,
        )
    return found


#: In the order of ``zpool get all`` of 2.4. Letters: r readonly, l in the label, a active at once, c active when made,
#: m active when mounted, x not enabled by an upgrade, e needs extensible_dataset. Texts are there for features that 2.1
#: does not know.
FEATURES = _read(
    """
com.delphix       async_destroy          r
com.delphix       empty_bpobj            r
org.illumos       lz4_compress           a
com.joyent        multi_vdev_crash_dump  -
com.delphix       spacemap_histogram     ra
com.delphix       enabled_txg            ra
com.delphix       hole_birth             la
com.delphix       extensible_dataset     m
com.delphix       embedded_data          la
com.delphix       bookmarks              re
com.joyent        filesystem_limits      re
org.open-zfs      large_blocks           e
org.zfsonlinux    large_dnode            e
org.illumos       sha512                 e
org.illumos       skein                  e
org.illumos       edonr                  e    Edon-R hash algorithm.
org.zfsonlinux    userobj_accounting     rme
com.datto         encryption             e
org.zfsonlinux    project_quota          rme
com.delphix       device_removal         l
com.delphix       obsolete_counts        re
com.delphix       zpool_checkpoint       r
com.delphix       spacemap_v2            ra
org.zfsonlinux    allocation_classes     r
com.datto         resilver_defer         r
com.datto         bookmark_v2            e
com.delphix       redaction_bookmarks    e
com.delphix       redacted_datasets      e
com.delphix       bookmark_written       e
com.delphix       log_spacemap           ra
com.delphix       livelist               re
org.openzfs       device_rebuild         r
org.freebsd       zstd_compress          e
org.openzfs       draid                  l
org.openzfs       zilsaxattr             re   Support for xattr=sa extended attribute logging in ZIL.
com.delphix       head_errlog            a    Support for per-dataset on-disk error logs.
org.openzfs       blake3                 e    BLAKE3 hash algorithm.
com.fudosecurity  block_cloning          r    Support for block cloning via Block Reference Table.
com.klarasystems  vdev_zaps_v2           lc   Support for root vdev ZAP.
com.delphix       redaction_list_spill  -    Support for increased number of redaction_snapshot arguments in zfs redact.
org.openzfs       raidz_expansion        l    Support for raidz expansion
com.klarasystems  fast_dedup             r    Support for advanced deduplication
org.zfsonlinux    longname               e    support filename up to 1024 bytes
com.klarasystems  large_microzap         re   Support for microzaps larger than 128KB.
com.klarasystems  dynamic_gang_header    lx   Support for dynamically sized gang headers
com.truenas       block_cloning_endian   r    Fixes BRT ZAP endianness on new pools.
com.truenas       physical_rewrite       re   Support for preserving logical birth time during rewrite.
"""
)

#: what they need besides
_NEEDS = {
    "hole_birth": ["enabled_txg"],
    "log_spacemap": ["spacemap_v2"],
    "redaction_bookmarks": ["bookmark_v2", "bookmarks"],
    "bookmark_written": ["bookmark_v2", "bookmarks"],
    "obsolete_counts": ["device_removal"],
    "bookmark_v2": ["bookmarks"],
    "encryption": ["bookmark_v2"],
    "redaction_list_spill": ["redaction_bookmarks"],
    "large_microzap": ["large_blocks"],
}

#: what the ZFS of a release knows: 2.1 (on FreeBSD without edonr), and 2.4
_NEW = ("edonr", *list(FEATURES)[list(FEATURES).index("draid") + 1 :])
KNOWN_2_1 = tuple(name for name in FEATURES if name not in _NEW)
KNOWN_2_4 = tuple(FEATURES)


# sets for compatibility

_OLDEST = "async_destroy empty_bpobj lz4_compress"
_OLD = _OLDEST + " bookmarks embedded_data enabled_txg extensible_dataset hole_birth spacemap_histogram"
_2018 = _OLD + " filesystem_limits large_blocks"
_FREENAS_9 = _2018 + " multi_vdev_crash_dump"
_2019 = _FREENAS_9 + " sha512 skein"
_11_2 = _2019 + " device_removal obsolete_counts zpool_checkpoint"
_2021 = _11_2 + " spacemap_v2"
_ZOL_0_8 = (
    _2021 + " edonr allocation_classes bookmark_v2 encryption large_dnode project_quota resilver_defer "
    "userobj_accounting"
)
_2_0 = (
    _ZOL_0_8 + " bookmark_written device_rebuild livelist log_spacemap redacted_datasets redaction_bookmarks "
    "zstd_compress"
)
_2_1 = _2_0 + " draid"
_2_2 = _2_1 + " blake3 block_cloning head_errlog vdev_zaps_v2 zilsaxattr"
_2_3 = _2_2 + " fast_dedup large_microzap longname raidz_expansion redaction_list_spill"
_2_4 = _2_3 + " block_cloning_endian dynamic_gang_header physical_rewrite"
_GRUB_2_06 = (
    _OLDEST + " allocation_classes block_cloning device_rebuild embedded_data enabled_txg hole_birth log_spacemap "
    "resilver_defer spacemap_histogram spacemap_v2 zpool_checkpoint"
)
_GRUB_2_12 = (
    _GRUB_2_06 + " bookmarks extensible_dataset filesystem_limits large_blocks livelist project_quota "
    "userobj_accounting zilsaxattr"
)


def _without_edonr(names: str) -> str:
    return names.replace(" edonr", "")


#: files that both releases have, by their names, all of them separated by blanks
_SHARED = {
    "compat-2018 2018": _2018,
    "compat-2019 2019": _2019,
    "compat-2020 2020": _2019,
    "compat-2021 2021": _2021,
    "freebsd-11.0 freebsd-11.1 freenas-11.0 freenas-11.1": _2019,
    "freebsd-11.2 freenas-11.2": _11_2,
    "freebsd-11.3 freebsd-11.4 freebsd-12.0 freebsd-12.1 freebsd-12.2 freenas-11.3": _2021,
    "freenas-9.10.2": _FREENAS_9,
    "openzfs-2.0-freebsd truenas-12.0": _without_edonr(_2_0),
    "openzfs-2.0-linux": _2_0,
    "openzfs-2.1-freebsd": _without_edonr(_2_1),
    "openzfs-2.1-linux": _2_1,
    "openzfsonosx-1.7.0": _2019 + " edonr",
    "openzfsonosx-1.8.1": _2021 + " edonr",
    "openzfsonosx-1.9.3 openzfsonosx-1.9.4": _ZOL_0_8,
    "zol-0.6.1": _OLDEST,
    "zol-0.6.4": _OLD,
    "zol-0.6.5": _2018,
    "zol-0.7 ubuntu-18.04": _2019 + " edonr large_dnode userobj_accounting",
    "zol-0.8 ubuntu-20.04": _ZOL_0_8,
}


def _sets(*tables: Dict[str, str]) -> Dict[str, FrozenSet[str]]:
    return {
        name: frozenset(features.split())
        for table in tables
        for names, features in table.items()
        for name in names.split()
    }


SETS_2_1 = _sets(_SHARED, {"grub2": _2018, "openzfsonosx-1.8.1": _2021 + " edonr encryption"})

SETS_2_4 = _sets(
    _SHARED,
    {
        "freebsd-12.3 freebsd-12.4": _2021,
        "freebsd-13.0 freebsd-13.1 freebsd-13.2": _without_edonr(_2_1),
        "ubuntu-22.04": _2_1,
        "openzfs-2.2 openzfs-2.2-freebsd openzfs-2.2-linux": _2_2,
        "openzfs-2.3 openzfs-2.3-freebsd openzfs-2.3-linux": _2_3,
        "openzfs-2.4 openzfs-2.4-freebsd openzfs-2.4-linux": _2_4,
        "grub2-2.06": _GRUB_2_06,
        "grub2-2.12 grub2": _GRUB_2_12,
    },
)


class Requested(NamedTuple):
    """What ``compatibility`` asks for.

    :param features: names; ``None`` where the value cannot be read.
    :param said: what zpool says of the value on standard error.
    """

    features: Optional[FrozenSet[str]]
    said: str


def requested(compatibility: str, known: Tuple[str, ...], sets: Dict[str, FrozenSet[str]]) -> Requested:
    """What a value of ``compatibility`` asks for: what all of the sets have that it names.

    Source: ``zpool_load_compat()`` in ``libzfs_pool.c`` and ``zpool_do_load_compat()`` in ``zpool_main.c``, the same in
    2.1 and 2.4. Files of the host's own are not modelled.

    :param known: the features that the ZFS knows.
    :param sets: the files that its release has.
    """
    if compatibility in ("", OFF):
        return Requested(frozenset(known), "")
    if compatibility == LEGACY:
        return Requested(frozenset(), "")
    names = [name for name in compatibility.split(",") if name]
    bad = "".join(name + " " for name in names if name not in sets)
    if bad:
        return Requested(None, "Error: could not read/parse feature file(s): {0}\n".format(bad))
    if not names:
        return Requested(None, "Error: no valid compatibility files specified\n")
    strange: List[str] = [each for name in names for each in sorted(sets[name]) if each not in known]
    said = "Warning: unrecognized feature name(s) in distribution compatibility files: {0}\n".format(
        "".join(name + " " for name in strange)
    )
    return Requested(frozenset(known).intersection(*(sets[name] for name in names)), said if strange else "")
