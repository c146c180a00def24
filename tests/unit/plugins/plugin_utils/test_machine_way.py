# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to a copy of a host: through the backup host, to nobody else, and by one key."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _machine_way as way
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"


def settings(variables: Dict[str, Any], name: str = "web-1", known: str = "/tmp/k") -> Dict[str, str]:
    """What ssh itself makes of it, as ``ssh -G`` says."""
    found = way.way_of(name, 40022, variables, "vault", known)
    argv = ["ssh", "-F", "none", "-G", "-p", str(found["port"]), *shlex.split(found["arguments"]), found["host"]]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


@needs_ssh
def test_it_leads_through_the_backup_host_and_takes_one_key() -> None:
    found = settings(
        {
            "ansible_host": "192.0.2.5",
            "ansible_port": 2222,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": "/keys/a b",
            "ansible_ssh_common_args": "-o ProxyJump=bastion%h",
        }
    )
    assert found["hostname"] == "web-1.40022.invalid" and found["port"] == "40022"
    command = shlex.split(found["proxycommand"].replace("%%", "%"))
    assert command == [
        *("ssh", "-o", "BatchMode=yes", "-i", "/keys/a b", "-p", "2222", "-l", "root"),
        *("-o", "ProxyJump=bastion%h", "-W", "127.0.0.1:40022", "192.0.2.5"),
    ]
    assert (found["hostkeyalias"], found["userknownhostsfile"]) == ("web-1.40022.invalid", "/tmp/k")
    assert (found["globalknownhostsfile"], found["updatehostkeys"]) == ("/dev/null", "false")
    assert found["stricthostkeychecking"] in ("true", "yes")


@needs_ssh
def test_a_backup_host_that_is_only_named_is_found_by_its_name() -> None:
    assert shlex.split(settings({})["proxycommand"])[-3:] == ["-W", "127.0.0.1:40022", "vault"]


def test_no_name_of_a_host_is_one_that_somebody_has() -> None:
    assert way.alias("Web_1.example.org; reboot", 7) == "web-1-example-org--reboot.7.invalid"


def test_the_key_is_in_a_file_of_this_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(tmp_path))
    path = way.known_hosts("web-1", 40022, KEY + " comment")
    assert os.path.dirname(path) == str(tmp_path)
    with open(path, encoding="ascii") as file:
        assert file.read() == "web-1.40022.invalid {0}\n".format(KEY)
    with pytest.raises(Refused, match="did not say the key"):
        way.known_hosts("web-1", 40022, "nonsense\n* " + KEY)


def test_the_way_back_is_that_of_before() -> None:
    assert way.back_of("web-1", {}) == {"host": "web-1", "port": 22, "arguments": ""}
    variables = {"ansible_ssh_host": "192.0.2.11", "ansible_ssh_port": "2200", "ansible_ssh_common_args": "-v"}
    assert way.back_of("web-1", variables) == {"host": "192.0.2.11", "port": 2200, "arguments": "-v"}


@pytest.mark.parametrize("name", way.LEADING)
def test_what_the_command_line_fixes_would_lead_to_the_host_itself(name: str) -> None:
    with pytest.raises(Refused, match=name + " of web-1 is given by --extra-vars"):
        way.refuse_fixed("web-1", {name: "192.0.2.11", "backup_verify_machine": True})
    way.refuse_fixed("web-1", {"backup_verify_machine": True})


@needs_ssh
@pytest.mark.parametrize(
    ("ssh_args", "good"),
    [
        ("-C -o ControlMaster=auto -o ControlPersist=60s", True),
        ("", True),
        ("-o ProxyCommand='ssh bastion -W 192.0.2.11:22'", False),
        ("-J bastion", False),
        ("-o NoSuchSetting=x", False),
    ],
)
def test_a_way_that_ansible_puts_first_is_not_taken(ssh_args: str, good: bool) -> None:
    """Of two settings ssh takes the first, and that one leads to the host itself."""
    found = way.way_of("web-1", 40022, {"ansible_ssh_common_args": "-o ProxyCommand='x %h'"}, "vault", "/tmp/k")
    options = {"ssh_args": "-F none " + ssh_args, "ssh_extra_args": "-o ProxyCommand=late"}
    if good:
        way.see_way(local_execute, "web-1", options, found)
        return
    with pytest.raises(Refused, match="would not go to the copy of web-1"):
        way.see_way(local_execute, "web-1", options, found)


def test_all_that_the_role_sets_is_known_to_lead_there() -> None:
    """Facts count less than --extra-vars, whichever of them it is."""
    path = os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "roles", "backup", "tasks", "machine.yml")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    set_there = {line.split(":")[0].strip() for line in lines if " ansible_" in line and ".way." in line}
    assert set_there == set(way.LEADING)
