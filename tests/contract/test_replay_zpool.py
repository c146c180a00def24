# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded sessions with zpool(8), also with disks that move between two machines."""

from __future__ import annotations

from typing import Any

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
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine

HOSTID, OTHER, THIRD = 689118909, 0xDEADBEEF, 0x12345678


def _setup(session: Session) -> None:
    session.boot(HOSTID)
    system_disk(session)
    session.attach(512, "vtbd1", "vtbd2", "vtbd3")
    session.do("sysctl kern.hostuuid=b1f9ad35-f6f2-4806-9990-0528205a4193")


def _create(session: Session, name: str, *vdev: str) -> None:
    session.do("zpool create -f -o cachefile=none {0} {1}".format(name, " ".join(vdev)))
    session.do("zpool export " + name)


def _three_pools(session: Session) -> None:
    session.attach(96, "md10", "md11", "md12")
    _create(session, "alpha", "mirror", "md10", "md11")
    _create(session, "beta", "md12")


def _two_of_a_name(session: Session) -> None:
    session.attach(96, "md13", "md14")
    _create(session, "dup", "md13")
    _create(session, "dup", "md14")


def _move(session: Session, old: str, new: str) -> None:
    session.detach(old)
    session.bring_back(old, new)


def _power_loss(session: Session) -> None:
    session.detach("md13", "md14")
    session.do("zpool import -N -o cachefile=none beta")
    session.crash("beta")
    _move(session, "md12", "md14")


def _another_system(session: Session) -> None:
    session.crash("beta")
    _move(session, "md14", "md12")


def _copied_while_active(session: Session) -> None:
    session.do("zpool import -N -o cachefile=none beta")
    session.crash("beta")
    _move(session, "md12", "md14")
    session.set_hostid(THIRD)


def _without_all_legs(session: Session) -> None:
    session.do("zpool export alpha")
    session.detach("md10", "md11")


def _raidz(session: Session) -> None:
    session.do("zpool import -N -o cachefile=none tank")
    session.detach("md23")
    session.attach(96, "md20", "md21", "md22")
    session.do("zpool create -o cachefile=none rz raidz md20 md21 md22")
    session.do("zpool export rz")
    session.detach("md22")
    session.do("zpool import -N -o cachefile=none rz")


def _raidz_again(session: Session) -> None:
    session.do("zpool destroy rz")
    session.bring_back("md22")
    session.do("zpool create -o cachefile=none rz raidz md20 md21 md22")
    session.do("zfs create rz/d")
    session.do("zpool export rz")
    session.detach("md22")


def _all_legs(session: Session) -> None:
    session.bring_back("md21")
    session.bring_back("md22")


def _stripe(session: Session) -> None:
    session.detach("md22")
    _create(session, "st", "md20", "md21")
    session.detach("md21")


def _destroyed(session: Session) -> None:
    session.bring_back("md21")
    session.do("zpool import -N -o cachefile=none st")
    session.do("zpool destroy st")


def _damage(*disks: str) -> Any:
    def change(machine: Machine) -> None:
        for disk in disks:
            machine.hardware["disks"][disk]["zfs"]["damaged"] = True

    return change


def _damaged_leg(session: Session) -> None:
    session.do("zpool create -o cachefile=none mi mirror md20 md21")
    session.edit(_damage("md21"))


def _damaged_legs(session: Session) -> None:
    session.do("zpool export mi")
    session.edit(_damage("md20", "md21"))


ZPOOL = Script(
    "zpool",
    _setup,
    before={
        "075": _three_pools,
        "077": _two_of_a_name,
        "080": _power_loss,
        "082": lambda session: session.set_hostid(OTHER),
        "083": _another_system,
        "091": _copied_while_active,
        "094": lambda session: session.detach("md11", "md14"),
        "101": lambda session: session.bring_back("md11"),
        "110": _without_all_legs,
        "123": lambda session: session.attach(96, "md23"),
        "126": _raidz,
        "201": _raidz_again,
        "207": lambda session: session.detach("md21"),
        "212": _all_legs,
        "220": lambda session: session.do("zpool clear rz"),
        "221": _stripe,
        "223": _destroyed,
        "227": _damaged_leg,
        "231": _damaged_legs,
    },
    instead={
        "057": ["zfs create tank/b", busy("/tank/b"), "zpool export tank", idle],
        "058": [busy("/tank/b"), "zpool export -f tank", idle],
        "212": [
            "zpool import -N -o cachefile=none rz",
            "zfs mount -a",
            lambda session: session.detach("md22"),
            "zpool scrub rz",
            "zpool status rz",
        ],
        "215": [lambda session: session.bring_back("md22"), "zpool online rz md22", "zpool status rz"],
    },
    excluded={
        "043-history": "the model keeps no history of commands",
        "044-iostat": "the model does no input and output that could be counted",
        "074-labelclear-exported": "zpool labelclear is not modelled: the collection never clears a label",
        "108-corrupt-leg": "the scrub meets a resilver that is still going on; in the model none takes time",
        "12[567]-nobody-*": "the model has no users but root",
        "217-rz-replace": "zpool replace is not modelled: replacing a disk is left to people",
        "218-rz-replace-bad": "zpool replace is not modelled: replacing a disk is left to people",
        "219-rz-attach-bad": "zpool attach is not modelled: the collection does not change the layout of pools",
    },
)


def _boot_in_use(session: Session) -> None:
    session.boot(2821001363)
    session.do("sysctl kern.hostuuid=822cd5a8-7f95-4361-8c72-82877f2eaa39")
    session.attach(512, "vtbd1", "vtbd2", "vtbd3")
    session.do("zpool create -o cachefile=none tank raidz vtbd1 vtbd2 vtbd3")
    session.do("zfs create tank/d")
    session.write("tank/d", "f", b"hi\n")


def _other_machine(session: Session) -> None:
    session.boot(2618399498)


def _first_machine(session: Session) -> None:
    session.bring_back("vtbd2")
    session.bring_back("vtbd3")
    session.boot(2821001363)


CROSSBOOT = Script(
    "zpool-crossboot",
    _boot_in_use,
    before={
        "002": lambda session: session.boot(2821001363),
        "005": _other_machine,
        "008": lambda session: session.detach("vtbd3"),
        "017": lambda session: session.detach("vtbd2"),
        "021": _first_machine,
    },
    excluded={"004-cachefile": "looks into directories of the guest"},
)


def _fresh(session: Session) -> None:
    """What was there of pools is gone, and the disks are empty."""
    nothing_of_pools(session)
    session.set_hostid(HOSTID)


def _tank_beside(session: Session) -> None:
    session.do("zpool create -f -o cachefile=none tank raidz vtbd1 vtbd2 vtbd3")
    _raidz_again(session)


def _dataset(session: Session) -> None:
    session.do("zfs create tank/data")


def _exported(session: Session) -> None:
    _fresh(session)
    session.do("zpool create -o cachefile=none fn mirror md20 md21")
    session.do("zfs create fn/d")
    session.do("zpool export fn")


def _left_in_use(session: Session) -> None:
    session.do("zpool import -N -o cachefile=none fn")
    session.crash("fn")
    session.set_hostid(THIRD)


_JSON = "JSON is not modelled: the collection reads the forms that all releases have"
_CHECKPOINT = "zpool checkpoint is not modelled: the collection does not use it"
_OPTION = "an option of zpool status that the collection does not use"
_VERB = "a command of zpool that is not modelled: the collection does not use it"

ZPOOL_15 = ZPOOL.on(
    "15.0",
    before={
        "201": _tank_beside,
        "301": _fresh,
        "340": lambda session: session.do("zpool import -N -o cachefile=none tank"),
        "381": _dataset,
        "383": _exported,
        "385": _left_in_use,
    },
    instead={
        "381": [busy("/tank/data"), "zpool export tank", idle],
    },
    excluded={
        "30[129]-*": _JSON,
        "303-import-j-none": _JSON,
        "30[78]-*": _JSON,
        "31[0-79]-*": _JSON,
        "320-version-j": _JSON,
        "32[2356]-status-*": _OPTION,
        "328-upgrade-v": "the model does not know what all features are good for",
        "329-checkpoint": _CHECKPOINT,
        "33[0-3]-*": _CHECKPOINT,
        "33[6-9]-*": _CHECKPOINT,
        "352-compat-ls": "looks into /usr/share/zfs of the guest; the names are compared in test_compatibility",
        "356-status-j-old": _JSON,
        "360-create-mounted": "the model has pools on whole disks only",
        "364-offline-status-j": _JSON,
        "366-scrub-j": _JSON,
        "367-wait": _VERB,
        "368-events": _VERB,
        "369-history": "the model keeps no history of commands",
        "370-iostat": "the model does no input and output that could be counted",
        "371-prefetch": _VERB,
        "37[3-7]-*": _VERB,
        "379-nosuch-verb": "the list of all commands of zpool",
        "380-no-args": "the list of all commands of zpool",
    },
)


SCRIPTS = (ZPOOL, CROSSBOOT, ZPOOL_15)


@of_each(SCRIPTS)
def test_zpool(results: Results, title: str, name: str) -> None:
    compare(*results[title][name])
