# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backup host is brought and told: the packed program, and hosts from the inventory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _vault_program as program
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._vault_hosts import addresses, keys_of, settings
from ansible_collections.nanozfs.fleet.tests.unit.vault import KEY


def test_the_program_runs_from_one_file_without_ansible(tmp_path: Any) -> None:
    path = tmp_path / "nanozfs-backup.pyz"
    path.write_bytes(program.pack())
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-E", "-B", str(path), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pull the hosts that are due" in done.stdout


def test_it_has_what_it_imports_and_no_more() -> None:
    names = set(program.parts())
    base = "ansible_collections/nanozfs/fleet/plugins/module_utils/"
    assert {base + "_vault/cli.py", base + "_vault/dirvish.py", base + "_errors.py", "__main__.py"} <= names
    assert not [name for name in names if "_module.py" in name or "_nanobsd" in name]
    assert not [
        name for name, data in program.parts().items() if b"import ansible." in data or b"from ansible." in data
    ]


def test_the_same_sources_are_the_same_bytes(monkeypatch: Any) -> None:
    before, found = program.pack(), program.parts()
    monkeypatch.setattr(program, "parts", lambda: dict(reversed(list(found.items()))))
    program.pack.cache_clear()
    try:
        assert program.pack() == before
    finally:
        program.pack.cache_clear()


USUAL = {"backup_method": "rsnapshot", "backup_window": "22:00-05:00", "backup_bandwidth": 0}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, {"method": "rsnapshot", "address": "web-1", "port": 22, "line": "", "window": "22:00-05:00"}),
        ({"ansible_host": "2001:db8::1", "ansible_port": 2222}, {"address": "2001:db8::1", "port": 2222}),
        ({"ansible_host": "192.0.2.1", "backup_address": "10.9.0.1"}, {"address": "10.9.0.1", "port": 22}),
        ({"ansible_port": 2222, "backup_address": "10.9.0.1"}, {"address": "10.9.0.1", "port": 22}),
        ({"ansible_port": 2222, "backup_port": "22"}, {"address": "web-1", "port": "22"}),
        ({"backup_address": "web.b.example", "backup_port": 4022}, {"address": "web.b.example", "port": 4022}),
        ({"ansible_ssh_host": "192.0.2.1", "ansible_ssh_port": 2222}, {"address": "192.0.2.1", "port": 2222}),
        ({"backup_method": "dirvish", "backup_bandwidth": "100000"}, {"method": "dirvish", "bandwidth": "100000"}),
        ({"fleet_site": "north", "group_names": ["a", "b"]}, {"line": "north"}),
        ({"group_names": ["site-a"]}, {"line": "site-a"}),
        ({"fleet_time_zone": "Europe/Berlin", "backup_window": ""}, {"zone": "Europe/Berlin", "window": "22:00-05:00"}),
        ({"backup_previous_names": ["old"]}, {"previous": ["old"]}),
        ({"backup_retain": {"daily": 3}}, {"retain": {"daily": 3}}),
    ],
)
def test_what_a_backup_host_is_told(variables: Dict[str, Any], found: Dict[str, Any]) -> None:
    told = settings("web-1", variables, USUAL)
    assert told is not None
    assert {key: told.get(key) for key in found} == found


def test_a_host_that_is_not_backed_up_and_one_that_says_nonsense() -> None:
    assert settings("web-1", {"backup_method": "none"}, USUAL) is None
    with pytest.raises(Refused, match=r"backup_method of web-1 is 'tar\?'"):
        settings("web-1", {"backup_method": "tar\x1b"}, USUAL)


@pytest.mark.parametrize(
    ("given", "reached", "found"),
    [
        ([], "192.0.2.5", ["192.0.2.5"]),
        ([], "2001:db8::5", ["2001:db8::5"]),
        ([], "vault.example.org", []),
        ([], None, []),
        (["192.0.2.0/24 "], "198.51.100.1", ["192.0.2.0/24"]),
    ],
)
def test_where_a_backup_host_comes_from(given: List[str], reached: Any, found: List[str]) -> None:
    assert addresses(given, reached) == found


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        (None, []),
        ([], []),
        ({"failed": True}, []),
        ({"ssh_host_keys": KEY}, []),
        ({"ssh_host_keys": [KEY + " web-1"]}, [KEY + " web-1"]),
        # what is no key is in nobody's way
        ({"ssh_host_keys": ["nonsense", KEY, 7, None]}, [KEY]),
        ({"ssh_host_keys": [KEY + " a\nother-host " + KEY]}, []),
        ({"ssh_host_keys": ["@cert-authority " + KEY, KEY + "A" * 9000]}, []),
        ({"ssh_host_keys": [KEY] * 1000}, [KEY] * 10),
    ],
)
def test_the_keys_that_a_host_said(found: Any, keys: List[str]) -> None:
    assert keys_of(found) == keys
