# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook build with image_method nanobsd, by ansible-playbook: from a source tree to a published image.

The build host is this machine in a namespace of its own, with a stand-in for nanobsd.sh.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import origin
from ansible_collections.nanozfs.fleet.tests.unit.builder import NANOBSD
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

#: lockf(1) must be in the PATH of modules; /var/run belongs to this machine
NAMESPACE = 'mount --bind "$1" /usr/local/sbin && mount -t tmpfs tmpfs /run && shift && exec "$@"'


def in_namespace(*argv: str) -> List[str]:
    """A command line for a namespace where lockf is."""
    return ["unshare", "-m", "sh", "-c", NAMESPACE, "sh", *argv]


class Site:
    """A folder with an inventory, a source tree and a place for images."""

    def __init__(self, folder: str, images: Images) -> None:
        self.folder = folder
        shutil.copytree(os.path.join(NANOBSD, "src"), self.path("src"))
        os.makedirs(self.path("control"))
        os.symlink(os.path.join(NANOBSD, "bin"), self.path("control", "bin"))
        os.makedirs(self.path("sbin"))
        shutil.copy(os.path.join(NANOBSD, "bin", "lockf"), self.path("sbin"))
        self.write(
            "python.sh", "mkdir -p usr/local/bin\ncp bin/sh usr/local/bin/python3\nchmod 755 usr/local/bin/python3\n"
        )
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        variables = {
            "image_method": "nanobsd",
            "image_name": "web",
            "image_version": "1.0",
            "image_seq": 10,
            "image_arch": "amd64",  # the stand-in has no program that tells it
            "image_size": 8 << 20,
            "image_source": self.path("src"),
            "image_obj": self.path("obj"),
            "image_tree": self.path("cache", "web.tar.xz"),
            "image_customize": [self.path("python.sh")],
            "image_world_options": {"WITHOUT_LPR": True},
            "image_signing_key": images.key,
            "image_signers": [images.signer],
            "image_output": self.path("published"),
            "image_medium": False,
            "image_etc_size": 1 << 20,
        }
        inventory = {"all": {"vars": variables, "children": {"builders": {"hosts": {"forge": here}}}}}
        self.write("inventory.json", json.dumps(inventory))

    def path(self, *names: str) -> str:
        """A path in the folder."""
        return os.path.join(self.folder, *names)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def play(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook in the namespace."""
        argv = [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            self.path("inventory.json"),
            "nanozfs.fleet.build",
            *options,
        ]
        return subprocess.run(in_namespace(self.path("sbin"), *argv), capture_output=True, text=True, check=False)


@pytest.fixture
def site(tmp_path: Any, images: Images) -> Site:
    """The site."""
    if os.getuid() != 0 or subprocess.run(in_namespace("/", "true"), capture_output=True, check=False).returncode:
        pytest.skip("a namespace with mounts of its own needs root (unshare -m)")
    os.makedirs(str(tmp_path / "site"))
    return Site(str(tmp_path / "site"), images)


def test_from_source_to_an_image(site: Site) -> None:
    """Check mode, a step that fails, the build, the image; the key for signing is never asked for on the build host."""
    done = site.play("--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "to build: world, kernel, tree" in done.stdout and not os.path.exists(site.path("obj"))

    site.write("control/fail", "installworld")
    done = site.play()
    assert done.returncode != 0 and "is kept (world, kernel)" in done.stdout + done.stderr
    assert "forge: *** [installworld] Error code 1" in done.stdout and not os.path.exists(site.path("published"))

    os.unlink(site.path("control", "fail"))
    done = site.play()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "forge: world: kept (unchanged)" in done.stdout and "forge: fetching the tree" in done.stdout
    assert "built: tree" in done.stdout and "web-1.0: build" in done.stdout
    assert os.stat(site.path("cache", "web.tar.xz")).st_mode & 0o077 == 0
    packs = [name for name in os.listdir(site.path("published")) if name.endswith(".pack")]
    with lzma.open(site.path("published", packs[0])) as file:
        content = file.read()
    inside = Ufs(lambda offset, length: content[offset : offset + length]).read(origin.ORIGIN_JSON)
    assert inside is not None and dict(origin.parse(inside.decode()).options)["src.conf:WITHOUT_LPR"] == "yes"

    done = site.play()
    assert done.returncode == 0 and "changed=0" in done.stdout and "changed=1" not in done.stdout, done.stdout


def test_without_a_build_host(site: Site) -> None:
    """Not an image of whatever was made before."""
    with open(site.path("inventory.json"), encoding="utf-8") as file:
        inventory = json.load(file)
    del inventory["all"]["children"]
    site.write("inventory.json", json.dumps(inventory))
    done = site.play()
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and "Put one with FreeBSD into the group builders" in said
