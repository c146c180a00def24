# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key that a host comes back with, in the file of a real ssh, which is asked whether it knows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._known_hosts import Place, add, place_of, ssh_argv
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute

OLD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
NEW = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"


def place(tmp_path: Path, config: str, *argv: str) -> Any:
    """Where ssh with this configuration looks for the key of a host."""
    (tmp_path / "config").write_text(config.replace("TMP", str(tmp_path)))
    return place_of(local_execute, ["ssh", "-F", str(tmp_path / "config"), *argv])


def known(path: Path, name: str) -> List[str]:
    """The keys that ssh finds there for a name."""
    out = local_execute(["ssh-keygen", "-F", name, "-f", str(path)])[1]
    return [" ".join(line.split(" ")[1:3]) for line in out.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    "config, argv, wanted",
    [
        ("", ["Web-1.example.org"], "web-1.example.org"),
        ("", ["-p", "2222", "192.0.2.5"], "[192.0.2.5]:2222"),
        ("Host web-1\n HostName 192.0.2.5\n Port 22\n", ["web-1"], "192.0.2.5"),
        ("Host *\n HostKeyAlias web-1\n", ["-p", "2222", "192.0.2.5"], "web-1"),
    ],
)
def test_the_name_is_that_by_which_ssh_looks(tmp_path: Path, config: str, argv: List[str], wanted: str) -> None:
    found = place(tmp_path, config + "\nHost *\n UserKnownHostsFile TMP/known TMP/more\n", *argv)
    assert found == Place(str(tmp_path / "known"), wanted, False)


@pytest.mark.parametrize(
    "config", ["StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "UserKnownHostsFile none"]
)
def test_nothing_is_added_where_nobody_checks_or_keeps_keys(tmp_path: Path, config: str) -> None:
    assert place(tmp_path, config + "\n", "web-1") is None


def test_the_default_is_the_file_of_the_user(tmp_path: Path) -> None:
    found = place(tmp_path, "", "web-1")
    assert found.path.endswith("/.ssh/known_hosts") and os.path.isabs(found.path)


def test_options_that_ssh_does_not_take_are_told(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="ssh does not say where it looks"):
        place(tmp_path, "Nonsense yes\n", "web-1")


@pytest.mark.parametrize("hashed", [False, True])
def test_it_is_added_once_beside_the_one_that_is_known(tmp_path: Path, hashed: bool) -> None:
    path = tmp_path / "ssh" / "known"
    path.parent.mkdir()
    path.write_text("web-1 {0} of recovery".format(OLD))  # an editor left no line end
    where = Place(str(path), "web-1", hashed)
    assert add(local_execute, where, NEW + " web-1\n")
    assert not add(local_execute, where, NEW)
    assert known(path, "web-1") == [OLD, NEW]
    assert path.read_text().count("\n") == 2 and ("web-1 " + NEW in path.read_text()) is not hashed


def test_the_first_one_makes_file_and_folder_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "ssh" / "known"
    assert add(local_execute, Place(str(path), "[192.0.2.5]:2222", True), NEW)
    assert known(path, "[192.0.2.5]:2222") == [NEW]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    "said", ["", "nonsense", "ssh-ed25519 AAAA\nevil ssh-ed25519 BBBB", "@revoked * ssh-rsa AAAA", "ssh-dss AAAA x"]
)
def test_only_a_key_is_taken_for_one(tmp_path: Path, said: str) -> None:
    """What a host says goes into the file of a person."""
    path = tmp_path / "known"
    if said.startswith("ssh-ed25519"):
        with pytest.raises(FleetError):
            add(local_execute, Place(str(path), "web-1", False), said)
    else:
        with pytest.raises(FleetError, match="did not say its key"):
            add(local_execute, Place(str(path), "web-1", False), said)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetError, match="cannot be written"):
        add(local_execute, Place(str(tmp_path / "file" / "known"), "web-1", False), NEW)


class Connection:
    """One of Ansible's."""

    def __init__(self, transport: str, **options: Any) -> None:
        self.transport, self.options = transport, options

    def get_option(self, name: str) -> Any:
        return self.options.get(name)


def test_ssh_is_asked_as_it_is_called() -> None:
    options: Dict[str, Any] = {
        "host_key_checking": True,
        "ssh_executable": "/usr/bin/ssh",
        "ssh_args": "-C -o ControlPersist=60s",
        "ssh_common_args": "-o UserKnownHostsFile='/a b/known'",
        "port": 2222,
        "remote_user": "root",
        "host": "192.0.2.5",
    }
    argv = ["/usr/bin/ssh", "-C", "-o", "ControlPersist=60s", "-o", "UserKnownHostsFile=/a b/known", "-p", "2222"]
    assert ssh_argv(Connection("ssh", **options)) == [*argv, "-l", "root", "192.0.2.5"]
    assert ssh_argv(Connection("local")) is None
    options["host_key_checking"] = False
    assert ssh_argv(Connection("ssh", **options)) is None, "Ansible checks no key"


def test_a_path_with_a_blank_is_told_and_nothing_else_is_written(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="cannot be told"):
        place(tmp_path, 'Host *\n UserKnownHostsFile "TMP/a b/known"\n', "web-1")
