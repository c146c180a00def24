# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import features, fitness, layout
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.guards import Guarded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Node, Tree
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me\n"
ROOT = "PermitRootLogin prohibit-password\n"


def elf(machine: int, order: int = 1) -> bytes:
    """The beginning of a program."""
    return b"\x7fELF\2" + bytes([order]) + bytes(12) + machine.to_bytes(2, "little" if order == 1 else "big")


def good() -> Tree:
    tree = Tree()
    tree.write(features.KERNEL, "x")
    tree.write(features.ZFS, "x")
    tree.write("etc/rootssh/authorized_keys", KEY)
    tree.write("etc/ssh/sshd_config", "Port 22\n" + ROOT)
    return tree


def shell(tree: Tree, content: bytes) -> None:
    tree.put(fitness.SHELL, Node(FILE, 0o755, data=content))


def test_nothing_wrong() -> None:
    tree = good()
    shell(tree, elf(62))
    fitness.check(tree, "amd64", "FreeBSD:13:amd64", "13.2-RELEASE-p4")
    assert fitness.login_problems(tree) == []


@pytest.mark.parametrize("path, said", [(features.KERNEL, "has no kernel"), (features.ZFS, "has no ZFS")])
def test_what_it_cannot_do_without(path: str, said: str) -> None:
    tree = good()
    tree.remove(path)
    with pytest.raises(Guarded, match=said):
        fitness.check(tree, "amd64", "FreeBSD:13:amd64", "")


@pytest.mark.parametrize(
    "release, abi, ok",
    [
        ("13.2-RELEASE", "FreeBSD:13:amd64", True),
        ("14.1-RELEASE-p5", "FreeBSD:13:amd64", False),
        ("15.0-STABLE", "FreeBSD:15:amd64", True),
        ("", "FreeBSD:13:amd64", True),
        ("13.2-RELEASE", "", True),
    ],
)
def test_release_and_abi(release: str, abi: str, ok: bool) -> None:
    if ok:
        fitness.check(good(), "amd64", abi, release)
        return
    with pytest.raises(Guarded, match=r"is FreeBSD 14\.1-RELEASE-p5, and image_abi says FreeBSD:13:amd64"):
        fitness.check(good(), "amd64", abi, release)


@pytest.mark.parametrize(
    "content, arch, said",
    [
        (elf(183), "amd64", "are for aarch64, arm64, and image_arch says amd64"),
        (elf(62), "arm64", "are for amd64, and image_arch says arm64"),
        (elf(21, 2), "amd64", "are for powerpc64"),
        (elf(4711), "amd64", "are for 4711"),
        (elf(183), "arm64", ""),
        (elf(21, 2), "powerpc64", ""),
        (b"#!/bin/false\n", "amd64", ""),
        (elf(62), "sparc64", ""),
    ],
)
def test_machine(content: bytes, arch: str, said: str) -> None:
    tree = good()
    shell(tree, content)
    if not said:
        fitness.check(tree, arch, "", "")
        return
    with pytest.raises(Guarded, match=said):
        fitness.check(tree, arch, "", "")


@pytest.mark.parametrize(
    "files, problems",
    [
        ({}, []),
        ({"conf/recovery/etc/rootssh/authorized_keys": "# none\n\n"}, ["no key may log in"]),
        ({"etc/ssh/sshd_config": "#PermitRootLogin yes\n"}, ["does not let root in"]),
        ({"etc/ssh/sshd_config": "permitrootlogin=yes\n"}, []),
        ({"etc/ssh/sshd_config": "Match Address 192.0.2.0/24\n PermitRootLogin yes\n"}, ["does not let root in"]),
        ({"conf/recovery/etc/ssh/sshd_config": "PermitRootLogin no\n" + ROOT}, ["does not let root in"]),
        (
            {"etc/rootssh/authorized_keys": "", "etc/ssh/sshd_config": ""},
            ["no key may log in", "does not let root in"],
        ),
    ],
)
def test_who_could_log_in(files: Any, problems: List[str]) -> None:
    tree = good()
    for path, text in files.items():
        tree.write(path, text)
    found = fitness.login_problems(tree)
    assert len(found) == (1 if problems else 0)
    assert all(each in found[0] for each in problems)


def test_a_system_without_locales() -> None:
    tree = good()
    assert fitness.python_problems(tree) == [], "nothing is known of what is no FreeBSD"
    shell(tree, elf(62))
    assert "no module of Ansible runs" in fitness.python_problems(tree)[0]
    tree.write(fitness.LOCALE, "x")
    assert fitness.python_problems(tree) == []


def test_a_build_says_it(images: Images, tmp_path: Any) -> None:
    """The images of the tests let nobody in."""
    warned: List[str] = []
    build.plan(images.definition("1.1", 11), str(tmp_path), lambda text: None, warned.append)
    (found,) = [text for text in warned if "lets nobody in over the network" in text]
    assert "image_recovery_ssh_keys" in found and "PermitRootLogin" in found


def identity(arch: str = "", abi: str = "") -> layout.Identity:
    return layout.Identity(name="web", version="1.0", seq=1, min_seq=0, pool="tank", arch=arch, abi=abi)


@pytest.mark.parametrize(
    "content, release, arch, abi",
    [
        (elf(62), "15.1-RELEASE-p2", "amd64", "FreeBSD:15:amd64"),
        (elf(183), "14.4-RELEASE", "aarch64", "FreeBSD:14:aarch64"),
        (elf(21), "15.0-STABLE", "powerpc64le", "FreeBSD:15:powerpc64le"),
        (elf(21, 2), "15.0-STABLE", "powerpc64", "FreeBSD:15:powerpc64"),
        (elf(243), "15.0-RELEASE", "riscv64", "FreeBSD:15:riscv64"),
    ],
)
def test_what_the_sets_are_for(content: bytes, release: str, arch: str, abi: str) -> None:
    tree = good()
    shell(tree, content)
    found = fitness.settled(identity(), tree, release)
    assert (found.arch, found.abi) == (arch, abi)
    fitness.check(tree, found.arch, found.abi, release)
    said = fitness.settled(identity(arch="amd64", abi="FreeBSD:13:amd64"), tree, release)
    assert (said.arch, said.abi) == ("amd64", "FreeBSD:13:amd64"), "what is said is judged, not replaced"


@pytest.mark.parametrize(
    "content, release, says", [(b"#!/bin/sh", "15.1-RELEASE", "image_arch"), (elf(62), "", "image_abi")]
)
def test_what_cannot_be_told_has_to_be_said(content: bytes, release: str, says: str) -> None:
    tree = good()
    shell(tree, content)
    with pytest.raises(Guarded) as caught:
        fitness.settled(identity(), tree, release)
    assert says in str(caught.value.todo)
    assert fitness.settled(identity(arch="amd64", abi="FreeBSD:15:amd64"), tree, release).abi == "FreeBSD:15:amd64"


def test_machines_that_no_medium_is_for() -> None:
    fitness.refuse_foreign("amd64")
    with pytest.raises(Guarded, match="images for aarch64 are not made"):
        fitness.refuse_foreign("aarch64")
