# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action of host_install makes of its arguments, with the module only pretended."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional
from unittest.mock import Mock

import pytest

from ansible_collections.nanozfs.fleet.plugins.action.host_install import ActionModule
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import unpack


class Task:
    """A task with arguments."""

    def __init__(self, args: Dict[str, Any]) -> None:
        self.args = args
        self.check_mode = False
        self.async_val = 0
        self.delegate_to: Optional[str] = None

    def get_search_path(self) -> List[str]:
        return []


class Action(ActionModule):
    """The action, without a host."""

    def __init__(self, args: Dict[str, Any]) -> None:
        self._task = Task(args)
        self._loader = Mock()
        self._loader.get_basedir.return_value = "/nonexistent"
        self.sent: List[Dict[str, Any]] = []

    def _execute_module(self, **more: Any) -> Dict[str, Any]:
        self.sent.append(dict(more["module_args"]))
        return {"changed": True}


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every action does first needs a connection."""
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda _self, _tmp, _vars: {})


def sent(args: Dict[str, Any], beside: str = "") -> Dict[str, Any]:
    """What the module is given."""
    action = Action(args)
    assert action.run(None, {"inventory_dir": beside}) == {"changed": True}
    return action.sent[0]


class Vaulted:
    """As Ansible 2.18 has it: no text, until it is asked for some."""

    def __str__(self) -> str:
        return "s3cret"


def test_everything_is_packed(tmp_path: Any) -> None:
    os.makedirs(tmp_path / "files" / "etc" / "local")
    (tmp_path / "files" / "etc" / "local" / "x").write_bytes(b"\x00")
    given = {
        "pool": "tank",
        "rc_conf": {"secret": Vaulted()},
        "authorized_keys": ["key"],
        "files": {"a": Vaulted(), "b": {"content": "y", "mode": "0640"}},
        "folders": ["etc"],
    }
    found = sent(given, str(tmp_path))
    assert sorted(found) == ["packed", "pool"] and "s3cret" not in str(found)
    entries, more = unpack(found["packed"])
    assert [(entry.path, entry.content) for entry in entries] == [("a", b"s3cret"), ("b", b"y"), ("local/x", b"\x00")]
    assert more == {"rc_conf": {"secret": "s3cret"}, "authorized_keys": ["key"]}


def test_lists_that_are_text() -> None:
    """One of them by a forgotten dash, or from a survey; the options of a key have commas."""
    keys = 'ssh-ed25519 AAAA one\nfrom="192.0.2.1,192.0.2.2" ssh-ed25519 BBBB two\n'
    _entries, more = unpack(sent({"pool": "tank", "authorized_keys": keys})["packed"])
    assert more["authorized_keys"] == keys.splitlines()


def test_a_look_afterwards_needs_none_of_it() -> None:
    assert sent({"pool": "tank", "state": "up", "files": {"a": "x"}}) == {"pool": "tank", "state": "up"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"files": ["a"]}, "deploy_files must be a mapping"),
        ({"folders": {"etc": "x"}}, "deploy_folders must be a list"),
        ({"folders": "nowhere"}, "deploy_folders: there is no folder nowhere"),
        ({"folders": ["nowhere"]}, "deploy_folders: there is no folder nowhere"),
        ({"files": {"../a": "x"}}, "no path of a file"),
    ],
)
def test_refused(args: Dict[str, Any], says: str) -> None:
    action = Action(args)
    result = action.run(None, {})
    assert result["failed"] and says in result["msg"]
    assert action.sent == []
