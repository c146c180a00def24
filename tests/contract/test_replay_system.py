# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorded sessions with kernel knobs, mounts and the GEOM mesh."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.geom import Mesh, parse_confxml
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.contract.replay import (
    Results,
    Script,
    Session,
    busy,
    compare,
    idle,
    of_each,
    system_disk,
)
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine


def _guest(session: Session) -> None:
    session.boot(689118909)
    session.do("sysctl kern.hostuuid=b1f9ad35-f6f2-4806-9990-0528205a4193")
    system_disk(session)
    session.attach(512, "vtbd1", "vtbd2", "vtbd3")
    for label in ("os-a", "os-b"):
        _make_ufs(session, label)
    session.edit(_loader)


def _make_ufs(session: Session, label: str) -> None:
    """As much of a UFS2 as mount looks for."""
    offset = {"os-a": 136, "os-b": 2097288}[label] * 512
    with open(session.machine.image("vtbd0"), "r+b") as file:
        file.seek(offset + 65536 + 1372)
        file.write((0x19540119).to_bytes(4, "little"))


def _loader(machine: Machine) -> None:
    """What the loader hands over."""
    machine.running["boottime"] = 1795420034.850168
    machine.running["kenv"] = {"kernelname": "/boot/kernel/kernel", "loaddev": "disk0p2:"}


_PROGRAM = "a program that is not modelled: the collection does not use it"
_FIGURES = "figures of the guest's hardware or of the moment"
_NOBODY = "the model has no users but root"

SYSTEM = Script(
    "system",
    _guest,
    excluded={
        "001-uname-a": _FIGURES,
        "002-uname-parts": _FIGURES,
        "004-freebsd-version-kru": "options of freebsd-version that the collection does not use",
        "005-freebsd-version-bad": "options of freebsd-version that the collection does not use",
        "006-sysctl-boottime-bootfile": "kern.bootfile is not modelled",
        "008-sysctl-many": _FIGURES,
        "014-sysctl-zfs": "inner nodes of the tree of sysctl are not modelled",
        "015-kenv": _FIGURES,
        "023-kenv-nobody-set": _NOBODY,
        "02[4-9]-service*": "services run in the lab, not in the model",
        "03?-service*": "services run in the lab, not in the model",
        "04?-service*": "services run in the lab, not in the model",
        "05[23]-dmesg*": "the messages of the guest's kernel",
        "05[4-9]-*": _PROGRAM,
        "06[0-2]-*": _PROGRAM,
        "063-kldstat": _FIGURES,
        "064-kldstat-v-zfs": _FIGURES,
        "067-kldstat-n-missing": "kldstat -n is not modelled: the collection asks for modules, not for files",
        "071-kldunload-missing": _PROGRAM,
        "07[2-9]-*": _PROGRAM,
        "08?-*": _PROGRAM,
        "09?-*": _PROGRAM,
        "10?-*": _PROGRAM,
        "11[0-7]-*": _PROGRAM,
        "11[89]-*-nobody": _NOBODY,
        "121-shutdown-cancel": "in the model a shutdown happens at once",
        "12[2-9]-*": _PROGRAM,
        "130-pw-lock": _PROGRAM,
    },
)

MOUNT = Script(
    "mount",
    _guest,
    instead={
        "023": [busy("/mnt"), "umount /mnt", idle],
        "026": ["mount -r /dev/gpt/os-b /mnt", "umount /dev/gpt/os-b"],
    },
    excluded={
        "003-v": _FIGURES,
        "005-libxo": "mount --libxo is not modelled",
        "00[6-9]-df*": _PROGRAM,
        "010-df-json": _PROGRAM,
        "011-swapinfo": _PROGRAM,
        "012-fstab": _PROGRAM,
        "021-write-ro": "what touch printed, on a mount that is not made here",
        "022-rm-ro": "what rm printed, on a mount that is not made here",
        "027-remount-root-ro-busy": "the model does not know which files are open",
        "02[89]-fsck*": _PROGRAM,
        "03[0-3]-fsck*": _PROGRAM,
        "034-tmpfs": "what dd and df printed, on a mount that is not made here",
        "035-nullfs": "nullfs is not modelled",
        "036-unionfs": "unionfs is not modelled",
    },
)

_UFS_LABELS = "labels of UFS are not modelled: our images have none"
_GEOM = "geom(8) is not modelled: the collection reads kern.geom.confxml"

GEOM = Script(
    "geom",
    _guest,
    excluded={
        "00[1-3]-glabel*": _UFS_LABELS,
        "004-glabel-list-missing": "glabel list is not modelled",
        "006-geom-part-list": _GEOM,
        "007-geom-part-status": _GEOM,
        "008-geom-disk-list": _GEOM,
        "009-geom-disk-list-vtbd0": _GEOM,
        "01[0-6]-geom*": _GEOM,
        "018-confxml-n": "has addresses of the kernel; what it means is compared below",
        "02[34]-kern-disks*": "the guest has a CD drive",
        "027-diskinfo-v": "options of diskinfo that the collection does not use",
        "028-diskinfo-s": "options of diskinfo that the collection does not use",
        "030-ls-dev": "looks into /dev of the guest",
        "031-ls-dev-gpt": "looks into /dev of the guest",
        "03[2-9]-*": _UFS_LABELS,
        "04[0-3]-*": _UFS_LABELS,
        "04[4-9]-*": _PROGRAM,
        "05?-*": _PROGRAM,
    },
)


def _booted_from_b(session: Session) -> None:
    """The guest with os-b as its root, mounted read-only."""
    session.boot(689118909)
    session.do("mount -r /dev/gpt/os-b /")
    for where, kind in (("/dev", "devfs"), ("/tmp", "tmpfs"), ("/var", "tmpfs")):
        session.edit(_mounted(kind, where))


def _mounted(kind: str, where: str) -> Any:
    def change(machine: Machine) -> None:
        machine.running["mounts"].append({"from": kind, "on": where, "type": kind, "readonly": False})

    return change


DD_WRITE = Script(
    "dd-write",
    _guest,
    before={"035": _booted_from_b},
    excluded={
        "00[1-6]-*": "dd and cp onto a device",
        "00[7-9]-*": "dd onto a device",
        "01?-*": "dd onto a device",
        "02?-*": "dd onto a device",
        "03[0-4]-*": "dd onto a device",
    },
)


def _started_at(seconds: float) -> Any:
    def change(machine: Machine) -> None:
        machine.running["boottime"] = seconds

    return lambda session: session.edit(change)


_CONFXML = "has addresses of the kernel; what it means is compared below"

SYSTEM_15 = SYSTEM.on("15.0", before={"003": _started_at(1795881838.4992)}, included=("05[23]-dmesg*", "07[2-9]-*"))
MOUNT_15 = MOUNT.on("15.0", excluded={"03[89]-*": _PROGRAM, "04[01]-*": _PROGRAM})
GEOM_15 = GEOM.on(
    "15.0",
    excluded={
        "017-confxml": _CONFXML,
        "019-confxml-b": _CONFXML,
        "02[01]-conftxt*": "kern.geom.conftxt is not modelled: the collection reads kern.geom.confxml",
        "022-confdot": "kern.geom.confdot is not modelled: the collection reads kern.geom.confxml",
        "025-kern-geom": "inner nodes of the tree of sysctl are not modelled",
    },
)
DD_WRITE_15 = Script("dd-write", _guest, excluded={"0[0-2]?-*": "dd and cp onto a device"}, release="15.0")

SCRIPTS = (SYSTEM, MOUNT, GEOM, DD_WRITE, SYSTEM_15, MOUNT_15, GEOM_15, DD_WRITE_15)


@of_each(SCRIPTS)
def test_system(results: Results, title: str, name: str) -> None:
    compare(*results[title][name])


def test_readonly_root_is_open(tmp_path: Any) -> None:
    """A root that is mounted read-only is no obstacle to writing through its own name, only through others.

    Source: the transcripts dd-write/031, 032 and 034.
    """
    session = Session(str(tmp_path))
    _guest(session)
    _booted_from_b(session)
    out = session.run("gpart list vtbd0").out
    modes = [line.strip() for line in out.splitlines() if "Mode" in line]
    assert modes == ["Mode: r0w0e0", "Mode: r0w0e0", "Mode: r1w0e1", "Mode: r0w0e0", "Mode: r1w0e1"]


def _meaning(mesh: Mesh) -> Dict[str, Any]:
    """What a mesh says of the OS medium: every provider but the labels of UFS, with its configuration and openers."""
    found: Dict[str, Any] = {}
    for geom in mesh.geoms:
        for provider in geom.provides:
            if provider.name.startswith(("vtbd0", "gpt/")):
                config = {key: value for key, value in provider.config.items() if key not in ("rawuuid", "efimedia")}
                found[provider.name] = (
                    geom.kind,
                    geom.name,
                    provider.mediasize,
                    config,
                    [(each.kind, each.name, each.mode) for each in mesh.holders(provider)],
                )
    table = mesh.table_of(mesh.find("vtbd0p1") or mesh.geoms[0].provides[0])
    found["table"] = (table.config, [mode for _provider, mode in table.consumes]) if table else None
    return found


@pytest.mark.parametrize("release", transcripts.RELEASES)
def test_confxml_means_the_same(release: str, tmp_path: Any) -> None:
    session = Session(str(tmp_path), release)
    _guest(session)
    recorded = parse_confxml(transcripts.load("geom", "018-confxml-n", transcripts.RELEASES[release]).out)
    model = parse_confxml(session.run("sysctl -n kern.geom.confxml").out)
    assert _meaning(model) == _meaning(recorded)
