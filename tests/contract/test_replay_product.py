# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded session of the collection's own functions, on FreeBSD 15.0 only."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.tests.contract.replay import Results, Script, Session, compare, of_each

RELEASE = "15.0"


def _setup(session: Session) -> None:
    """Disks that are called as the partitions of the guest: the model has pools on whole disks only."""
    session.boot(689118909)
    session.attach(128, "vtbd1p1", "vtbd2p1", "vtbd3p1")


_MESH = "the GEOM mesh of the guest, which has partitions; the parsers' tests read it"
_PARTITION = "a disk or partition that the model has not"
_IMPORT = "zpool import -N -o cachefile=none {0}$(zpool import | sed -n 's/^ *id: //p')"

PRODUCT = Script(
    "product",
    _setup,
    before={"034": lambda session: session.do("zfs bookmark tank/a@n1 tank/a#b1")},
    # guids are drawn at random
    instead={
        "063": [_IMPORT.format("-o readonly=on -R /mnt ")],
        "067": [_IMPORT.format("")],
        "068": ["zpool import -N -o cachefile=none $(zpool get -H -o value guid tank)"],
    },
    excluded={
        "022-zfs-holds": "holds of a snapshot are listed in the order of a hash table",
        "070-sysctl": _MESH,
        "071-mount": "the guest was started from a medium",
        "073-sysctl": _MESH,
        "07[458]-zdb": _PARTITION,
        "077-sysctl": _MESH,
        "08[2-6]-zdb": _PARTITION,
        "081-sysctl": _MESH,
        "088-sysctl": _MESH,
    },
    release=RELEASE,
)

#: not replayed: the guest runs from a medium of the lab there
MEDIUM = Script(
    "medium",
    _setup,
    excluded={"*": "media of the lab, which are not in the model; the parsers' tests read them"},
    release=RELEASE,
)


SCRIPTS = (PRODUCT,)


@of_each(SCRIPTS)
def test_product(results: Results, title: str, name: str) -> None:
    compare(*results[title][name])
