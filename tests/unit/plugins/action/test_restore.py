# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action of restore makes of what a backup host said, with the module only pretended."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.action.restore import ActionModule
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import packed, unpacked
from ansible_collections.nanozfs.fleet.tests.unit.plugins.action.test_host_install import Task

DESCRIPTION = {"host": "web-1", "flags": {"\udcff{{ evil }}": 1}}
TOLD = {
    "label": "vault",
    "key": "ssh-ed25519 AAAA nanozfs-backup@vault",
    "set": {"id": "20261130T021011Z"},
    "description": DESCRIPTION,
    "bytes": 4096,
    "rate": 7,
}
VARIABLES: Dict[str, Any] = {
    "inventory_hostname": "web-1",
    "ansible_host": "{{ net }}.11",  # as a task gets it
    "restore_found": {"stdout": json.dumps(TOLD)},
    "hostvars": {"vault": {"ansible_host": "10.77.0.5"}, "web-1": {"ansible_host": "10.77.0.11"}},
}


class Action(ActionModule):
    """The action, without a host."""

    def __init__(self, args: Dict[str, Any], answer: Dict[str, Any]) -> None:
        self._task = Task(args)
        self._answer = answer
        self.sent: List[Dict[str, Any]] = []
        self.said: List[str] = []

    def _execute_module(self, **more: Any) -> Dict[str, Any]:
        self.sent.append(dict(more["module_args"]))
        return dict(self._answer)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every action does first needs a connection."""
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda _self, _tmp, _vars: {})


def run(args: Dict[str, Any], answer: Any = None, **more: Any) -> Any:
    action = Action({"found": "restore_found", "vault": "vault", **args}, answer or {"changed": False})
    return action, action.run(None, dict(VARIABLES, **more))


def test_what_the_backup_host_said_goes_to_the_module() -> None:
    action, _result = run({"path": "/var/db", "dataset": "", "host": False, "state": "planned"})
    (sent,) = action.sent
    assert unpacked(sent.pop("packed")) == DESCRIPTION
    assert sent == {
        "state": "planned",
        "kind": "path",
        "name": "/var/db",
        "label": "vault",
        "set": "20261130T021011Z",
        "size": 4096,
        "rate": 7,
        "key": TOLD["key"],
        "addresses": ["10.77.0.5"],
        "hostname": "web-1",
        "other_host": False,
    }


def test_it_is_said_before_it_is_done() -> None:
    action, _result = run({"host": True}, {"plan": ["web-1 as of then"], "losses": ["snapshots"]})
    assert action.said == ["web-1 as of then", "does not come back: snapshots"]
    assert run({"host": True, "state": "open"}, {"plan": ["x"]})[0].said == []


def test_a_backup_that_is_not_whole_is_said() -> None:
    told = dict(TOLD, set={"id": "20261130T021011Z", "result": "partial"})
    action, _result = run({"host": True}, {"plan": ["x"]}, restore_found={"stdout": json.dumps(told)})
    assert action.said == ["the backup 20261130T021011Z is not whole: files are missing in it", "x"]


def test_the_command_for_the_backup_host() -> None:
    answer = {"host_key": "ssh-ed25519 BBBB", "source": "/var/db", "contents": True, "excludes": ["/c"], "folder": "/x"}
    _action, result = run({"dataset": "var/db", "state": "open", "source": "old-1", "port": 2222}, answer)
    assert result["send"] == [
        *("/usr/local/sbin/nanozfs-backup", "send", "old-1", "--set", "20261130T021011Z", "--path", "/var/db"),
        *("--contents", "--exclude", "/c", "--to", "/x", "--address", "10.77.0.11", "--port", "2222"),
        *("--host-key", "ssh-ed25519 BBBB", "--bandwidth", "0"),
    ]
    hosts = {**VARIABLES["hostvars"], "web-1": {"ansible_host": "10.77.0.11", "backup_address": "10.9.0.1"}}
    _action, result = run({"dataset": "var/db", "state": "open"}, answer, hostvars=hosts)
    assert result["send"][-8:-4] == ["--address", "10.9.0.1", "--port", "22"]
    action, _result = run({"dataset": "var/db", "state": "open", "source": "old-1"}, answer)
    assert action.sent[0]["other_host"] is True, "somebody has said that it is of another host"


@pytest.mark.parametrize(
    ("args", "words"),
    [({}, "not said what comes back"), ({"path": "/a", "host": True}, "more than one thing")],
)
def test_what_comes_back_is_said_once(args: Dict[str, Any], words: str) -> None:
    _action, result = run(args)
    assert result["failed"] and words in result["msg"]


@pytest.mark.parametrize("registered", [None, {}, {"stdout": "no"}, {"stdout": "[]"}])
def test_a_backup_host_that_said_nothing(registered: Any) -> None:
    action, result = run({"host": True}, None, restore_found=registered)
    assert result["failed"] and "has not said what it has of web-1" in result["msg"] and not action.sent


def test_packed() -> None:
    assert packed(DESCRIPTION).isascii() and unpacked(packed(DESCRIPTION)) == DESCRIPTION
    for broken in ("", "x", "eJw=", "\u00e9"):
        with pytest.raises(Refused, match="has lost something"):
            unpacked(broken)
