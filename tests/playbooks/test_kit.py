# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recovery kit: written by the example's kit.yml, and opened on a machine that has nothing but Ansible."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from typing import Any, Tuple

import pytest

from ansible_collections.nanozfs.fleet.tests import kit as texts
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT

PASSPHRASE = "seven words that nobody wrote down"
BIN = os.path.dirname(sys.executable)


class Controller:
    """A controller with a site, and the empty machine that comes after it."""

    def __init__(self, folder: str) -> None:
        self.home = os.path.join(folder, "old home")
        self.site = os.path.join(self.home, "site")
        self.kit = os.path.join(folder, "stick", "fleet.kit")
        self.empty = os.path.join(folder, "empty")
        shutil.copytree(os.path.join(CHECKOUT, "examples", "site"), self.site)
        for each in (os.path.dirname(self.kit), os.path.join(self.home, ".ssh"), self.empty):
            os.makedirs(each)
        self.put(".ssh/release", "the signing key\n")
        self.put(".ssh/release.pub", "its public half\n", 0o644)
        self.put(".ssh/admin", "the login key\n")
        self.put("vault-password", "the password of the vault\n")
        self.put("site/ansible.kit", "an old kit")
        self.put(
            "site/inventory.yml",
            "all:\n  children:\n"
            "    site-a: {hosts: {web-1: {ansible_host: 192.0.2.11, ansible_ssh_private_key_file: ~/.ssh/admin}}}\n"
            "    backup: {hosts: {vault-1: {ansible_host: 192.0.2.9}}}\n",
            0o644,
        )

    def put(self, name: str, text: str, mode: int = 0o600) -> str:
        """A file in the home folder."""
        path = os.path.join(self.home, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def run(self, *argv: str, cwd: str = "", home: str = "", **more: str) -> Tuple[int, str]:
        """A command with Ansible in its PATH; its exit status and what it said."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        done = subprocess.run(
            argv,
            cwd=cwd or self.site,
            env=dict(kept, HOME=home or self.home, PATH=BIN + ":/usr/bin:/bin", LC_ALL="C.UTF-8", **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def make(self, *arguments: str, passphrase: str = PASSPHRASE) -> Tuple[int, str]:
        """Write the kit as an operator does."""
        collections = os.environ["PYTHONPATH"].split(":")[0]
        return self.run(
            os.path.join(BIN, "ansible-playbook"),
            "kit.yml",
            "-e",
            json.dumps({"kit_file": self.kit, "kit_passphrase": passphrase}),
            "--vault-password-file",
            os.path.join(self.home, "vault-password"),
            *arguments,
            ANSIBLE_COLLECTIONS_PATH=collections,
            ANSIBLE_STDOUT_CALLBACK="default",
        )


@pytest.fixture(name="controller")
def fixture_controller(tmp_path: Any) -> Controller:
    return Controller(str(tmp_path))


def changed(output: str) -> int:
    """How many tasks changed something."""
    match = re.search(r"changed=(\d+)", output)
    assert match, output
    return int(match.group(1))


def test_from_a_controller_to_an_empty_machine(controller: Controller) -> None:
    """What the two texts say is typed; then the site's own playbook finds its hosts, collection, keys and vaults."""
    code, said = controller.make()
    assert code == 0 and changed(said) == 1, said
    assert stat.S_IMODE(os.stat(controller.kit).st_mode) == 0o600
    with open(controller.kit, "rb") as file:
        assert file.read(14) == b"$ANSIBLE_VAULT"
    beside = texts.commands(controller.kit + ".txt")
    with open(controller.kit + ".txt", encoding="utf-8") as file:
        assert "192.0.2" not in file.read(), "no host in the clear"
    assert beside[2].startswith("pip install ansible-core==")

    shutil.rmtree(controller.home)  # the controller burns
    os.makedirs(controller.home)
    empty = controller.empty
    for each in (controller.kit, controller.kit + ".txt"):
        shutil.copy(each, empty)
    with open(os.path.join(empty, "passphrase"), "w", encoding="utf-8") as file:
        file.write(PASSPHRASE)
    opening = "\n".join(texts.opening(os.path.join(empty, "fleet.kit")))
    code, said = controller.run(
        "sh", "-e", "-c", opening, cwd=empty, home=empty, ANSIBLE_VAULT_PASSWORD_FILE="passphrase"
    )
    assert code == 0, said
    kit = os.path.join(empty, "nanozfs-kit")
    table = texts.commands(os.path.join(kit, "README.txt"))[len(texts.working(kit)) + 1 :]
    assert [line.split() for line in table] == [["vault-1", "192.0.2.9"], ["web-1", "192.0.2.11"]]
    vaulted = "ansible-vault encrypt_string -n s --encrypt-vault-id default found > host_vars/web-1.yml"
    look = ["mkdir host_vars", vaulted, texts.LAST + " --list-hosts", "ansible web-1 -m debug -a var=s"]
    listed = "\n".join([*texts.working(kit), *look])
    code, said = controller.run("sh", "-e", "-c", listed, cwd=kit, home=empty, ANSIBLE_STDOUT_CALLBACK="default")
    assert code == 0 and "web-1" in said and "s: found" in said, said
    for name, text, mode in (
        ("release", "the signing key\n", 0o600),
        ("release.pub", "its public half\n", 0o644),
        ("admin", "the login key\n", 0o600),
    ):
        path = os.path.join(controller.home, ".ssh", name)
        with open(path, encoding="utf-8") as file:
            assert file.read() == text
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert not os.path.exists(os.path.join(kit, "site", "ansible.kit"))


def test_again_and_after_a_change(controller: Controller) -> None:
    code, said = controller.make("--check", "--diff")
    assert code == 0 and changed(said) == 1 and not os.path.exists(controller.kit), said
    assert "+file 600 outside" in said and "the signing key" not in said
    assert controller.make()[0] == 0
    before = os.stat(controller.kit).st_mtime_ns
    code, said = controller.make()
    assert code == 0 and changed(said) == 0 and os.stat(controller.kit).st_mtime_ns == before, said
    controller.put(".ssh/release", "another signing key\n")
    code, said = controller.make("--diff")
    assert code == 0 and changed(said) == 1 and ", other content" in said and "another signing key" not in said, said


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda each: each.put("site/inventory.yml", "all: {hosts: {web-1: }}\n"), "with it alone nobody can log in"),
        (lambda each: os.unlink(os.path.join(each.home, ".ssh", "release")), "image_signing_key: there is no file"),
    ],
)
def test_what_it_lacks_is_said(controller: Controller, spoil: Any, words: str) -> None:
    spoil(controller)
    _code, said = controller.make()
    assert words in " ".join(said.split()), said


def test_a_kit_with_another_passphrase_is_not_replaced(controller: Controller) -> None:
    assert controller.make()[0] == 0
    with open(controller.kit, "rb") as file:
        before = file.read()
    code, said = controller.make(passphrase="another one of some length")
    assert code != 0 and "with another passphrase, perhaps" in " ".join(said.split()), said
    with open(controller.kit, "rb") as file:
        assert file.read() == before
    code, said = controller.make(passphrase="short")
    assert code != 0 and "must have 16 characters at least" in " ".join(said.split()), said
