# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images whose base system comes as packages, from a signed repository made to ``release/packages`` of FreeBSD 15.0."""

from __future__ import annotations

import lzma
import os
import shutil
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from ansible_collections.nanozfs.fleet.plugins.action import image_build
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, parse
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import database, inputs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import IMAGE_CONF
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import base, lock, signature
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.choose import Place, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.freebsd_keys import BASE_15, BASE_15_FOLDER
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import maps
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import SitePaths
from ansible_collections.nanozfs.fleet.tests.unit.conftest import CHECKOUT, Images
from ansible_collections.nanozfs.fleet.tests.unit.packaged import Member
from ansible_collections.nanozfs.fleet.tests.unit.repositories import Made, rsa_key

ABI = "FreeBSD:15:amd64"
ELF = b"\x7fELF\2\1" + bytes(12) + (62).to_bytes(2, "little")
MASTER = (
    b"root:*:0:0::0:0:Charlie &:/root:/bin/sh\nwww:*:80:80::0:0:World Wide Web Owner:/nonexistent:/usr/sbin/nologin\n"
)
GROUP = b"wheel:*:0:root\nwww:*:80:\noperator:*:5:root\n"

#: as ``release/packages/ucl/runtime.ucl`` has it
MKDB = """    pwd_mkdb -i -p -d  ${PKG_ROOTDIR}/etc ${PKG_ROOTDIR}/etc/master.passwd
    services_mkdb -l -q -o ${PKG_ROOTDIR}/var/db/services.db ${PKG_ROOTDIR}/
"""


def file(path: str, data: bytes = b"test\n", mode: int = 0o444, **fields: Any) -> Member:
    return (path, data, dict(fields, mode=mode))


def on(*names: str) -> Dict[str, Any]:
    return {name: {"origin": "base/" + name, "version": "15.0"} for name in names}


class Site:
    """A definition whose base system comes from a repository, with ports beside it."""

    def __init__(self, images: Images, folder: Path) -> None:
        self.images, self.folder = images, folder
        self.base, self.ports = Made(folder / "base"), Made(folder / "ports", rsa_key(1))
        self.said: List[str] = []
        self.fill()
        self.port("python312", [file("/usr/local/bin/python3.12", mode=0o755)], shlibs_required=["libc.so.7"])
        self.publish()

    def add(self, name: str, members: Sequence[Member] = (), version: str = "15.0p1", **values: Any) -> None:
        """A package of the base system; an older one of the name goes."""
        name = base.PREFIX + name
        notes = {"FreeBSD_version": "1500068", "set": "minimal"}
        usual = {"origin": "base/" + name, "abi": ABI, "arch": "freebsd:15:x86:64", "prefix": "/", "version": version}
        self.base.add(name, "blake2", name, members, **{**usual, "annotations": notes, "options": {}, **values})

    def port(self, name: str, members: Sequence[Member], **values: Any) -> None:
        """A package of a port."""
        notes = {"FreeBSD_version": "1500068"}
        self.ports.add(name, "blake2", name, members, **{"abi": ABI, "annotations": notes, **values})

    def fill(self) -> None:
        """The base system."""
        with open(os.path.join(CHECKOUT, "tests", "lab", "world", "boot", "kernel", "zfs.ko"), "rb") as module:
            zfs = module.read()
        kernel = b"\x7fELF\0@(#)FreeBSD 15.0-RELEASE-p1 releng/15.0-n280000-4c7ea1e1f3a2 GENERIC\0"
        needed = [base.PREFIX + name for name in ("runtime", "rc", "bootloader")]
        self.add("set-minimal", deps=on(*needed), vital=True)
        self.add(
            "runtime",
            [
                file("/bin/sh", ELF, 0o555),
                file("/bin/freebsd-version", b'#!/bin/sh\nUSERLAND_VERSION="15.0-RELEASE-p1"\n', 0o555),
                file("/etc/master.passwd", MASTER, 0o600),
                file("/etc/group", GROUP, 0o644),
                file("/usr/bin/su", mode=0o4555),
                file("/usr/bin/su-too", b"", 0o4555, type=tarfile.LNKTYPE, linkname="/usr/bin/su"),
                file("/sbin/shutdown", mode=0o4554, gname="operator"),
                file("/dev", b"", 0o555, type=tarfile.DIRTYPE),
                file("/var/db", b"", 0o755, type=tarfile.DIRTYPE),
            ],
            vital=True,
            config=["/etc/group", "/etc/master.passwd"],
            shlibs_required=["libc.so.7"],
            scripts={"post-install": MKDB},
        )
        libc = file("/lib/libc.so.7", pax_headers={"SCHILY.fflags": "schg"})
        self.add("clibs", [libc], shlibs_provided=["libc.so.7"])
        self.add("rc", [file("/etc/" + name) for name in ("rc", "rc.initdiskless", "defaults/rc.conf")])
        self.add("bootloader", [file("/boot/pmbr"), file("/boot/gptboot")])
        self.add("kernel-generic", [file("/boot/kernel/kernel", kernel), file("/boot/kernel/zfs.ko", zfs)])
        self.add("mtree", [file("/usr/sbin/mtree")])
        self.add("ssh", [file("/usr/bin/ssh-keygen")])

    def publish(self) -> None:
        """The catalogues."""
        self.base.publish()
        self.ports.publish()

    def wish(self, **written: Any) -> Wish:
        """What the definition says."""
        trust = {"trust": self.base.trust(self.folder / "keys-base"), "url": self.base.url}
        wanted = base.base_of({"release": "15.0", "set": "minimal", **trust, **written})
        place = Place("ports", self.ports.url, "fingerprints", self.ports.trust(self.folder / "keys-ports"))
        return Wish(["python312"], [place], str(self.folder / "web.packages.lock.json"), base=wanted)

    def definition(self, **changes: Any) -> build.Definition:
        """The definition."""
        values: Dict[str, Any] = {
            "wish": self.wish(),
            "sources": [],
            "supply": inputs.Terms(cache=str(self.folder / "cache")),
            "terms": self.images.terms(output=str(self.folder / "published")),
            "media": (),
            "size": 8 << 20,
        }
        made = self.images.definition("1.1", 11, **{**values, **changes})
        return replace(made, identity=replace(made.identity, arch="", abi=""))

    def build(self, check: bool = False, **changes: Any) -> Dict[str, Any]:
        """Build."""
        return build.run(self.definition(**changes), Runner(local_execute, check_mode=check), self.said.append)

    def lock(self) -> lock.Lock:
        """The lock."""
        found = lock.read(str(self.folder / "web.packages.lock.json"))
        assert found is not None
        return found


@pytest.fixture
def site(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(maps, "compress_xz", lambda data, _filters: lzma.compress(data, preset=0))
    return Site(images, tmp_path)


def test_an_image_without_sets(site: Site) -> None:
    done = site.build()
    assert done["changed"] and done["image"]["abi"] == ABI and done["image"]["arch"] == "amd64"
    assert not [each for each in done["warnings"] if "FreeBSD-" in each], "neither scripts nor /var are news"
    found = site.lock()
    assert {each.name: (each.repository, each.why) for each in found.packages} == {
        "FreeBSD-bootloader": ("FreeBSD-base", "needed by FreeBSD-set-minimal"),
        "FreeBSD-clibs": ("FreeBSD-base", "has libc.so.7, for FreeBSD-runtime"),
        "FreeBSD-kernel-generic": ("FreeBSD-base", "asked for"),
        "FreeBSD-mtree": ("FreeBSD-base", "asked for"),
        "FreeBSD-rc": ("FreeBSD-base", "needed by FreeBSD-set-minimal"),
        "FreeBSD-runtime": ("FreeBSD-base", "needed by FreeBSD-set-minimal"),
        "FreeBSD-set-minimal": ("FreeBSD-base", "asked for"),
        "FreeBSD-ssh": ("FreeBSD-base", "asked for"),
        "python312": ("ports", "asked for"),
    }
    assert [each.name for each in found.repositories] == ["FreeBSD-base", "ports"]
    privileged = {each.name: each.privileged for each in found.packages}
    assert privileged["FreeBSD-runtime"] == ("/sbin/shutdown 4554", "/usr/bin/su 4555")
    again = site.build()
    assert not again["changed"] and again["build"] == done["build"]


def test_what_is_in_it(site: Site) -> None:
    site.port("pkg", [], version="2.8.4")
    site.publish()
    wish = replace(site.wish(), names=["python312", "pkg"])
    warnings: List[str] = []
    tree, _build = build.plan(site.definition(wish=wish), str(site.folder), site.said.append, warnings.append)
    assert tree.get("usr/bin/su").mode == 0o4555 and tree.get("usr/bin/su").group == tree.get("usr/bin/su-too").group
    shutdown = tree.get("sbin/shutdown")
    assert (shutdown.mode, shutdown.uid, shutdown.gid) == (0o4554, 0, 5), "numbers are those of its own group(5)"
    assert tree.get("etc/master.passwd").mode == 0o600 and tree.get("dev").mode == 0o555
    origin = parse(tree.get(ORIGIN_JSON).content().decode())
    assert (origin.release, origin.kernel_release, origin.kernel) == ("15.0-RELEASE-p1", "15.0-RELEASE-p1", "GENERIC")
    assert {each.name: each.version for each in origin.packages}["FreeBSD-runtime"] == "15.0p1"
    assert "packages.lock.json" in [each.name for each in origin.inputs]
    # there is no database of users in any package: the early hook makes it
    assert "NZ_ACCOUNTS=stale" in tree.get(IMAGE_CONF).content().decode()
    found = sqlite3.connect(str(tree.get(database.NAME).source))
    assert found.execute("SELECT path FROM config_files ORDER BY path").fetchall() == [
        ("/etc/group",),
        ("/etc/master.passwd",),
    ]
    assert found.execute("SELECT count(*) FROM packages WHERE vital").fetchall() == [(2,)]


def test_check_mode_knows_the_release(site: Site) -> None:
    told = site.build(check=True)
    assert told["build"] is None and any("packages: 9 of 9 would be fetched" in each for each in told["says"])
    assert not (site.folder / "web.packages.lock.json").exists()


def test_another_release_is_refused(site: Site) -> None:
    site.build()
    with pytest.raises(
        FleetError, match=r"does not fit.*FreeBSD-bootloader-15.0p1: it is of the base system 15.0p1, and "
    ):
        site.build(wish=site.wish(release="15.1"))
    with pytest.raises(FleetError, match=r"FreeBSD-.*15.0p1 cannot be in the image: it is of the base system 15.0p1"):
        site.build(wish=replace(site.wish(release="15.1"), update=True))
    site.add("rc", version="15.10")
    site.publish()
    with pytest.raises(FleetError, match=r"FreeBSD-rc-15.10 cannot be in the image.*set-minimal"):
        site.build(wish=replace(site.wish(), update=True))


def test_a_patch_moves_the_lock(site: Site) -> None:
    site.build()
    site.add("ssh", [file("/usr/bin/ssh-keygen", b"mended")], version="15.0p2")
    site.publish()
    done = site.build(check=True, wish=replace(site.wish(), update=True))
    assert done["lock"]["changes"] == ["FreeBSD-ssh 15.0p1 -> 15.0p2"]
    assert any("packages: 1 of 9 would be fetched" in each for each in done["says"])


def test_ports_do_not_bring_parts_of_the_base_system(site: Site) -> None:
    site.port("FreeBSD-runtime", [file("/bin/sh", b"of somebody else", 0o4555)], version="99")
    site.port("gcc14", [file("/usr/local/lib/libc.so.7")], shlibs_provided=["libc.so.7"])
    site.add("set-lib32", version="15.0")
    site.base.records[-1]["name"] = "nginx"  # nor does the base system bring ports
    site.publish()
    site.build()
    found = {each.name: each for each in site.lock().packages}
    assert found["FreeBSD-runtime"].version == "15.0p1" and "gcc14" not in found
    with pytest.raises(FleetError, match="no repository has a package nginx"):
        site.build(wish=replace(site.wish(), names=["nginx", "python312"], update=True))


def test_sources_beside_it(site: Site, images: Images, tmp_path: Path) -> None:
    tree = os.path.join(images.folder, "tree")
    with pytest.raises(FleetError, match=r"image_sources has a base system already .bin/freebsd-version."):
        site.build(sources=[tree])
    mine = tmp_path / "mine" / "boot" / "kernel"
    mine.parent.mkdir(parents=True)
    shutil.copytree(os.path.join(tree, "boot", "kernel"), mine)
    with pytest.raises(FleetError, match=r"image_sources has a kernel already .boot/kernel/kernel."):
        site.build(sources=[str(tmp_path / "mine")])
    site.build(sources=[str(tmp_path / "mine")], wish=site.wish(kernel="none"))
    assert not any("kernel" in each.name for each in site.lock().packages)


def test_nobody_else_signs_it(site: Site) -> None:
    other = site.ports.trust(site.folder / "other")
    with pytest.raises(FleetError, match=r"FreeBSD-base|trust"):
        site.build(wish=site.wish(trust=other))


def test_a_set_that_is_not_there(site: Site) -> None:
    with pytest.raises(
        FleetError, match=r"image_base: no repository has a package FreeBSD-set-minima .there is FreeBSD-set-m"
    ):
        site.build(wish=site.wish(set="minima"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"set": "minimal"}, "the release None is none"),
        ({"release": 15.1, "set": "minimal"}, "15.10 would be 15.1"),
        ({"release": "15.0-RELEASE", "set": "minimal"}, "is none"),
        ({"release": "14.3", "set": "minimal"}, "has no sets as packages"),
        ({"release": "15.0"}, "set is missing"),
        ({"release": "15.0", "set": ["../x"]}, "which is no name"),
        ({"release": "15.0", "set": [1]}, "which is no name"),
        ({"release": "15.0", "set": "minimal", "sets": []}, "sets is nothing that it can have"),
        ({"release": "15.0", "set": "minimal", "signature_type": "gpg"}, "signature_type is one of"),
    ],
)
def test_what_is_no_base_system(written: Dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        base.base_of(written)
    assert said in str(caught.value)


def test_as_people_write_it(tmp_path: Path) -> None:
    found = base.base_of(
        {"release": "15.0", "set": "minimal optional", "packages": ["ntp", "FreeBSD-pf"], "kernel": "MINIMAL"}
    )
    assert found.names == (
        "FreeBSD-set-minimal",
        "FreeBSD-set-optional",
        "FreeBSD-ntp",
        "FreeBSD-pf",
        "FreeBSD-mtree",
        "FreeBSD-ssh",
        "FreeBSD-kernel-minimal",
    )
    assert found.url.endswith("/${ABI}/base_release_${VERSION_MINOR}") and found.trust == "/usr/share/keys/pkgbase-15"
    (tmp_path / "mirror").mkdir()
    arguments: Dict[str, Any] = {
        "pkg": [],
        "base": {"release": "15.0", "set": "base", "url": "mirror/${ABI}", "signature_type": "none"},
        "pkg_repository": "x",
        "pkg_signature_type": "none",
        "pkg_signature_trust": "",
        "pkg_lock": None,
        "pkg_update": False,
        "name": "web",
    }
    wish = image_build._wish(SitePaths([str(tmp_path)]), arguments)
    assert [(each.name, each.url) for each in wish.all_places] == [
        ("FreeBSD-base", str(tmp_path / "mirror") + "/${ABI}")
    ]


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("15.0", True),
        ("15.0p12", True),
        ("15.0.rc2.20251110", True),
        ("15.0.b1", True),
        ("15.01", False),
        ("15.0_1", False),
    ],
)
def test_versions_of_a_release(version: str, fits: bool) -> None:
    found = base.base_of({"release": "15.0", "set": "minimal"}).differs(version)
    assert (found == "") is fits and (fits or version in found)


def test_what_freebsd_version_will_say() -> None:
    versions = {"FreeBSD-runtime": "15.0p9", "FreeBSD-kernel-generic": "15.0", "FreeBSD-kernel-man": "15.0p9"}
    assert base.release_of(versions, "FreeBSD-runtime") == "15.0-RELEASE-p9"
    assert base.release_of(versions, "FreeBSD-kernel-") == "15.0-RELEASE"
    assert base.release_of({"FreeBSD-runtime": "15.snap2025"}, "FreeBSD-runtime") == ""


def test_freebsds_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signature, "BASE_15_FOLDER", str(tmp_path / "none"))
    assert signature.load("fingerprints", str(tmp_path / "none")).trusted == BASE_15
    assert sorted(BASE_15.values()) == ["awskms-15", "backup-signing-15"] and BASE_15_FOLDER.endswith("/pkgbase-15")
