# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two labs on one machine at once, with one host each, which have the same name and address."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import sh
from ansible_collections.nanozfs.fleet.tests.lab.site import Site
from ansible_collections.nanozfs.fleet.tests.site import SSH_OPTIONS

#: where the collection has its name
COLLECTIONS = paths.__file__.partition("/ansible_collections/")[0]


class Shell:
    """Somebody who works with one lab, by its commands.

    :param more: what else there is in the environment.
    """

    def __init__(self, name: str, site: Site, more: Optional[Dict[str, str]] = None) -> None:
        self.environment = dict(os.environ, NANOZFS_LAB=name, PYTHONPATH=COLLECTIONS, **more or {})
        self.places = paths.places(self.environment, paths.CHECKOUT)
        self.site = site

    def lab(self, *arguments: str, rc: int = 0) -> str:
        """Run ``tools/lab``; what it printed."""
        argv = [sys.executable, "-m", "ansible_collections.nanozfs.fleet.tests.lab.cli", *arguments]
        done = sh(*argv, check=False, env=self.environment, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == rc, (self.places.name, arguments, done)
        return done.stdout

    def begin(self, medium: str) -> None:
        """A lab with a new machine, which is told whose it is."""
        self.lab("up")
        self.lab("add", "web-1", "11", "--disks", "1")
        self.lab("insert", "web-1", medium)
        self.lab("on", "web-1")
        self.lab("wait", "web-1")
        self.ssh("echo {0} > /var/tmp/lab".format(self.places.name))

    def ssh(self, command: str) -> str:
        """Run a command on the host."""
        options = ["-i", os.path.join(self.site.keys, "admin"), *SSH_OPTIONS, "-o", "ControlPath=none"]
        return self.lab("run", "ssh", *options, "root@{0}.11".format(paths.NETWORK), command).strip()

    def traces(self) -> List[str]:
        """What of the lab is to be seen on the machine."""
        found = [path for path in (self.places.home, self.places.memory) if os.path.lexists(path)]
        with open("/proc/mounts", encoding="utf-8") as file:
            found += [line for line in file if " {0} ".format(self.places.memory) in line]
        spaces = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
        found += [each for each in spaces if each in (self.places.netns, self.places.netns + ".web-1")]
        loops = sh("losetup", "--list", "--output", "BACK-FILE").stdout.splitlines()
        return found + [line for line in loops if line.startswith(self.places.home + "/")]


@pytest.fixture
def shells(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[List[Shell]]:
    """Two labs; the name of one is the beginning of the other's, which has its memory somewhere else."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root (namespaces, loop devices)")
    missing = [name for name in ("ip", "losetup", "nsenter", "makefs", "lua5.4") if shutil.which(name) is None]
    if missing:
        pytest.skip("this machine has no {0}; tools/setup installs it".format(", ".join(missing)))
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", COLLECTIONS)
    monkeypatch.setenv("PYTHONPATH", COLLECTIONS)
    site, name = Site(str(tmp_path / "site")), "two-" + secrets.token_hex(4)
    made = [Shell(name, site), Shell(name + "-web-1", site, {"NANOZFS_LAB_MEMORY": str(tmp_path)})]
    yield made
    for shell in made:
        shell.lab("down")


def test_two_labs_at_once(shells: List[Shell]) -> None:
    one, two = shells
    one.site.create(["web-1"])
    medium = one.site.build("1.0")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda shell: shell.begin(medium), shells))
    assert [each.ssh("cat /var/tmp/lab") for each in shells] == [each.places.name for each in shells]

    # what is there of a lab is said, and of none but this one
    for shell, other in ((one, two), (two, one)):
        said = shell.lab("leftovers", rc=1).splitlines()
        for kind in ("network namespace", "loop device", "mount", "process", "folder"):
            assert any(line.startswith(kind) for line in said), (kind, said)
        assert "folder " + shell.places.home in said
        assert not set(said) & set(other.lab("leftovers", rc=1).splitlines())

    one.lab("down")
    assert one.lab("leftovers") == "" and one.traces() == []
    assert two.ssh("cat /var/tmp/lab") == two.places.name
    assert len(two.traces()) > 5

    # the first one comes again, under the eyes of the other one, whose host can still be switched
    one.lab("up")
    two.lab("cut", "web-1")
    two.lab("on", "web-1")
    two.lab("wait", "web-1")
    two.lab("down")
    assert two.lab("leftovers") == "" and two.traces() == []
    assert "network namespace " + one.places.netns in one.lab("leftovers", rc=1)
