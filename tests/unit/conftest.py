# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the unit tests: images, a repository, and a model host that runs one of them."""

from __future__ import annotations

import fcntl
import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.modules import host_info
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import look, source
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import Terms
from ansible_collections.nanozfs.fleet.tests.model.machine import FIRST_RELEASE, Machine
from ansible_collections.nanozfs.fleet.tests.unit.agent import AgentHost
from ansible_collections.nanozfs.fleet.tests.unit.backups import BackedUp
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost, boot, make_medium
from ansible_collections.nanozfs.fleet.tests.unit.published import Published

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROLE = os.path.join(CHECKOUT, "roles", "image", "files")

SLICE = 3 * MIB


#: where what many tests begin with is made once; in the environment, so that processes of the same run find it
PLACE = "NANOZFS_TESTS"


def pytest_configure(config: pytest.Config) -> None:
    """Make a place for what is made once. ansible-test runs every test in a process of its own."""
    if PLACE not in os.environ:
        os.environ[PLACE] = tempfile.mkdtemp(prefix="nanozfs-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(PLACE), ignore_errors=True))


def once(name: str, target: str, make: Callable[[str], object]) -> None:
    """A copy of what *make* puts into a folder; it is made by the first process of a run that asks for it."""
    master = os.path.join(os.environ[PLACE], name)
    with open(master + ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(master):
            os.mkdir(master + ".part")
            make(master + ".part")
            os.rename(master + ".part", master)
    shutil.copytree(master, target)


@pytest.fixture(scope="session")
def undrifted(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The trees of a configuration, with nothing in them."""
    top = tmp_path_factory.mktemp("places")
    found = Places(*(str(top / name) for name in ("etc", "base", "cfg")))
    for each in (found.etc, found.base, found.cfg):
        os.mkdir(each)
    return found


@pytest.fixture(autouse=True)
def nothing_has_drifted(undrifted: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """``host_info`` looks at these, and not at those of the machine that the tests run on."""
    monkeypatch.setattr(host_info, "PLACES", undrifted)


class Images:
    """Published test images, one repository for all, signed by one key.

    :param folder: where they are; made when nothing is there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.built: Dict[str, Dict[str, Any]] = {}
        self.repository = os.path.join(folder, "images")
        self.key = os.path.join(folder, "key")
        self.signers = os.path.join(folder, "allowed_signers")
        fresh = not os.path.exists(self.key)
        if fresh:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        with open(self.key + ".pub", encoding="utf-8") as file:
            self.public = " ".join(file.read().split()[:2])
        self.signer = 'release@fleet namespaces="nanozfs-image,nanozfs-channel" ' + self.public
        if fresh:
            self._make()
        else:
            for each in Folder(self.repository).index():
                self.built[each["version"]] = Folder(self.repository).manifest(each["id"]).as_dict()

    def _make(self) -> None:
        with open(self.signers, "w", encoding="utf-8") as file:
            file.write(self.signer + "\n")
        self._tree()
        for version, seq in (("1.0", 10), ("1.1", 11), ("1.2", 12)):
            self.build(version, seq)

    def _tree(self) -> None:
        """Just enough of a FreeBSD system for an image."""
        for path in ("etc/rc", "etc/rc.initdiskless", "etc/defaults/rc.conf", "boot/pmbr", "boot/gptboot", "bin/sh"):
            full = os.path.join(self.folder, "tree", path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write("test\n")
        python = os.path.join(self.folder, "tree", "usr", "local", "bin", "python3.11")
        os.makedirs(os.path.dirname(python))
        with open(python, "w", encoding="utf-8") as file:
            file.write("test\n")
        os.chmod(python, 0o755)
        with open(os.path.join(self.folder, "tree", "bin", "freebsd-version"), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\nUSERLAND_VERSION="13.2-RELEASE-p4"\n')
        kernel = os.path.join(self.folder, "tree", "boot", "kernel")
        os.makedirs(kernel)
        with open(os.path.join(kernel, "kernel"), "wb") as binary:
            binary.write(b"\x7fELF\0@(#)FreeBSD 13.2-RELEASE-p4 releng/13.2-n254633-4c7ea1e1f3a2 GENERIC\0")
        shutil.copy(os.path.join(CHECKOUT, "tests", "lab", "world", "boot", "kernel", "zfs.ko"), kernel)

    def definition(self, version: str, seq: int, **changes: Any) -> build.Definition:
        """What an image of that version is made from."""
        values: Dict[str, Any] = {
            "identity": Identity("web", version, seq, 5, "amd64", "FreeBSD:13:amd64", "tank"),
            "sources": [os.path.join(self.folder, "tree")],
            "overlays": [os.path.join(ROLE, "root"), self.overlay(version)],
            "recovery": [os.path.join(ROLE, "recovery")],
            "signers": [self.signer],
            "terms": self.terms(),
            "size": 2 * MIB,
            "etc_size": MIB,
            "epoch": 1704067200,
        }
        values.update(changes)
        return build.Definition(**values)

    def terms(self, **changes: Any) -> Terms:
        """How the images are published."""
        holes = look.Order(source.Terms(cache=os.path.join(self.folder, "cache"), fetch=False))
        return replace(Terms(output=self.repository, signing_key=self.key, holes=holes), **changes)

    def overlay(self, version: str) -> str:
        """A folder with what only this version has."""
        folder = os.path.join(self.folder, "overlay-" + version)
        os.makedirs(os.path.join(folder, "usr", "share"), exist_ok=True)
        with open(os.path.join(folder, "usr", "share", "version"), "wb") as file:
            file.write(version.encode() * 20000)
        os.makedirs(os.path.join(folder, "etc", "local"), exist_ok=True)
        with open(os.path.join(folder, "etc", "local", "app.conf"), "w", encoding="utf-8") as text:
            text.write(self.configuration(version))
        return folder

    @staticmethod
    def configuration(version: str, mine: str = "") -> str:
        """A file of /etc that each version has another one of.

        :param mine: what a host has in place of one of its lines.
        """
        return "# app\n\nlevel = {0}\n\n# the newest\n\nsince = {1}\n".format(mine or "1", version)

    def build(self, version: str, seq: int, **changes: Any) -> Dict[str, Any]:
        """Build and publish one; what is published elsewhere is none of the images that tests share."""
        said: List[str] = []
        definition = self.definition(version, seq, **changes)
        result = build.run(definition, self.runner(), said.append)
        if definition.terms.output == self.repository:
            self.built[version] = result["image"]
        return result

    @staticmethod
    def runner() -> Runner:
        """Commands of this machine, for what publishes without building."""
        return Runner(local_execute)

    def content(self, version: str) -> bytes:
        """The bytes of an image: the pack is an ordinary .xz file."""
        with lzma.open(os.path.join(self.repository, self.built[version]["id"] + ".pack")) as file:
            return file.read()

    def copy(self, folder: str) -> str:
        """The repository once more, for a test that damages it."""
        target = os.path.join(folder, "images")
        shutil.copytree(self.repository, target)
        return target


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The test images; needs makefs and ssh-keygen."""
    for program in ("makefs", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip("{0} is not installed; `make test` installs it".format(program))
    folder = str(tmp_path_factory.mktemp("images") / "images")
    once("images", folder, Images)
    return Images(folder)


@pytest.fixture
def model_release() -> str:
    """The release of FreeBSD that the model machine runs; tests can be parametrized with others."""
    return FIRST_RELEASE


@pytest.fixture
def machine(tmp_path: Any, model_release: str) -> Machine:
    """A model machine without disks."""
    return Machine.create(str(tmp_path / "machine"), release=model_release)


@pytest.fixture
def host(machine: Machine, images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleHost:
    """A host that runs web-1.0 from nz-a; nz-b is empty, three data disks hold no pool yet."""
    content = images.content("1.0")
    make_medium(machine, SLICE, {"nz-recovery": content, "nz-a": content})
    for number in (1, 2, 3):
        machine.add_disk("ada{0}".format(number), 512 * MIB)
    boot(machine, "nz-a")
    return ModuleHost(machine, str(tmp_path), monkeypatch)


@pytest.fixture
def pooled(host: ModuleHost) -> ModuleHost:
    """The same host with its pool, datasets and some data, all mounted."""
    host.command(
        "zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "tank", "raidz", "ada1", "ada2", "ada3"
    )
    host.command("zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none", "tank/nanozfs")
    for name in ("cfg", "var"):
        host.command("zfs", "create", "-o", "mountpoint=legacy", "tank/nanozfs/" + name)
    host.command("zfs", "create", "-o", "nanozfs:rollback=keep", "tank/nanozfs/var/log")
    host.command("zfs", "create", "tank/nanozfs/var/db")
    return host


@pytest.fixture
def agent(pooled: ModuleHost, tmp_path: Any) -> AgentHost:
    """The same host with the agent, and with /etc as after a start."""
    return AgentHost(pooled, str(tmp_path))


@pytest.fixture
def backed_up(pooled: ModuleHost, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> BackedUp:
    """The same host with all datasets mounted, and snapshots that can be read."""
    return BackedUp(pooled, str(tmp_path), monkeypatch)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Two images without a file system, and everything that is published of them."""
    folder = str(tmp_path_factory.mktemp("published") / "published")
    once("published", folder, Published)
    return Published(folder)
