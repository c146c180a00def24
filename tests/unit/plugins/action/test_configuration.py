# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action of configuration asks a host, and over which connection, with the module only pretended."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional, Union
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.nanozfs.fleet.plugins.action.configuration import ActionModule
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import unpacked

TRIAL = {"changed": True, "state": "trial", "token": "abc", "files": ["ssh/sshd_config"], "trial": ["ssh/sshd_config"]}
STORY = {"result": "failed", "what": "taken back", "safe": "", "todo": ""}


class Task:
    """A task with arguments."""

    def __init__(self, args: Dict[str, Any], check_mode: bool = False) -> None:
        self.args = args
        self.check_mode = check_mode
        self.async_val = 0
        self.delegate_to: Optional[str] = None

    def get_search_path(self) -> List[str]:
        return []


class Clock:
    """Time that passes by sleeping, and by asking."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        self.now += 1
        return self.now


class Action(ActionModule):
    """The action, with a host that gives these answers in turn; then it is silent."""

    def __init__(
        self, args: Dict[str, Any], answers: List[Union[Dict[str, Any], Exception]], check: bool = False
    ) -> None:
        self._task = Task(dict({"pool": "tank"}, **args), check)
        self._loader = Mock()
        self._loader.get_basedir.return_value = "/nonexistent"
        self._connection = Mock()
        self.answers = answers
        self.sent: List[Dict[str, Any]] = []
        self.resets: List[int] = []
        self._connection.reset = lambda: self.resets.append(len(self.sent))

    def _execute_module(self, **more: Any) -> Dict[str, Any]:
        self.sent.append(dict(more["module_args"]))
        found = self.answers.pop(0) if self.answers else AnsibleConnectionFailure("no route to host")
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def run_with(self, **inventory: Any) -> Dict[str, Any]:
        hosts = {"web-1": inventory, "web-2": {"configure_network": inventory.pop("theirs", {})}}
        return self.run(None, {"inventory_hostname": "web-1", "hostvars": hosts})


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What every action does first needs a connection; and time is ours."""
    clock = Clock()
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda _self, _tmp, _vars: {})
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def test_one_call_where_nothing_is_to_be_done() -> None:
    action = Action({"settings": {"sshd": {"UseDNS": False}}}, [{"changed": False, "state": "same"}])
    assert action.run_with() == {"changed": False, "state": "same"}
    assert len(action.sent) == 1 and not action.resets
    assert unpacked(action.sent[0]["packed"]).sshd == {"UseDNS": ["no"]} and "settings" not in action.sent[0]


def test_a_trial_is_confirmed_over_a_new_connection() -> None:
    action = Action({}, [TRIAL, {"changed": True, "state": "confirmed"}])
    result = action.run_with()
    assert (result["state"], result["files"]) == ("confirmed", ["ssh/sshd_config"]) and not result.get("failed")
    assert action.resets == [1], "the connection was not dropped between the two calls"
    assert (action.sent[1]["state"], action.sent[1]["token"]) == ("confirmed", "abc")
    assert "packed" not in action.sent[1]


@pytest.mark.parametrize("early", [{"state": "begun"}, {"state": "applied"}, {"failed": True, "msg": "half an answer"}])
def test_each_try_has_a_connection_of_its_own(early: Dict[str, Any]) -> None:
    silent = AnsibleConnectionFailure("no route")
    action = Action({}, [TRIAL, early, silent, {"changed": True, "state": "confirmed"}])
    assert action.run_with()["state"] == "confirmed" and action.resets == [1, 2, 3]


def test_what_was_taken_back_is_a_failure() -> None:
    result = Action({}, [TRIAL, {"failed": True, "msg": "was taken back", "story": STORY}]).run_with()
    assert result["failed"] and result["msg"] == "was taken back" and result["trial"] == ["ssh/sshd_config"]


def test_a_host_that_stays_silent(base: Clock) -> None:
    action = Action({"confirm_timeout": 30}, [TRIAL])
    result = action.run_with()
    assert (
        result["failed"]
        and "no route to host" in result["msg"]
        and "came back by itself 30 seconds after" in result["msg"]
    )
    assert 30 < base.now < 200


def test_nothing_is_confirmed_in_check_mode() -> None:
    action = Action({}, [TRIAL], check=True)
    assert action.run_with()["state"] == "trial" and len(action.sent) == 1


def test_a_host_that_refuses() -> None:
    action = Action({}, [{"failed": True, "msg": "no"}])
    assert action.run_with()["failed"] and len(action.sent) == 1


@pytest.mark.parametrize(
    ("settings", "inventory", "says"),
    [
        ({"files": {"a": "x"}}, {"deploy_files": {"a": "y"}}, "each playbook would undo"),
        ({"files": {"rootssh/authorized_keys": "x"}}, {"deploy_authorized_keys": ["k"]}, "each playbook would undo"),
        (
            {"network": {"interfaces": {"igb0": {"addresses": ["192.0.2.1/24"]}}}},
            {"theirs": {"interfaces": {"em0": {"addresses": ["192.0.2.1/24"]}}}},
            "an address of web-2 too",
        ),
        (
            {"network": {"interfaces": {"igb0": {}}}},
            {"deploy_rc_conf": {"ifconfig_igb0_ipv6": "x"}},
            "would be added to",
        ),
    ],
)
def test_refused_before_any_call(settings: Dict[str, Any], inventory: Dict[str, Any], says: str) -> None:
    action = Action({"settings": settings}, [])
    result = action.run_with(**inventory)
    assert result["failed"] and says in result["msg"] and action.sent == []
