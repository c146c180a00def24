# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action of backup_vault makes of its arguments, with the module run here, on a machine of its own."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible.module_utils import basic

from ansible_collections.nanozfs.fleet.plugins.action.backup_vault import ActionModule
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import install
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.modules import backup_vault
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _vault_program as program
from ansible_collections.nanozfs.fleet.tests.unit.harness import Ended
from ansible_collections.nanozfs.fleet.tests.unit.vault import KEY


class Variables(Dict[str, Dict[str, Any]]):
    """``hostvars``."""

    def raw_get(self, name: str) -> Dict[str, Any]:
        return self[name]


class Task:
    """A task with arguments."""

    def __init__(self, args: Dict[str, Any], check_mode: bool) -> None:
        self.args = args
        self.check_mode = check_mode
        self.async_val = 0


class Shell:
    """The shell of a connection."""

    join_path = staticmethod(os.path.join)


class Connection:
    """A connection to this machine."""

    _shell = Shell()


class Action(ActionModule):
    """The action; its module runs in this process.

    :param base: the folder that stands for ``/``.
    """

    def __init__(self, base: str, args: Dict[str, Any], check_mode: bool = False) -> None:
        self._task = Task(args, check_mode)
        self._connection = Connection()
        self.base = base
        self.sent: List[Dict[str, Any]] = []
        self.brought: List[bytes] = []

    @contextlib.contextmanager
    def folder(self, files: Any) -> Iterator[str]:
        for name, content in files:
            self.brought.append(content)
            with open(os.path.join(self.base, name), "wb") as file:
                file.write(content)
        yield self.base

    def _execute_module(self, **more: Any) -> Dict[str, Any]:
        args = dict(more["module_args"], _ansible_check_mode=self._task.check_mode, _ansible_diff=True)
        self.sent.append(args)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backup_vault, "here", lambda: Places("Linux", self.base))
            patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())
            patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)

            def end(_module: Any, **result: Any) -> None:
                raise Ended(result)

            patch.setattr(basic.AnsibleModule, "exit_json", end)
            patch.setattr(
                basic.AnsibleModule, "fail_json", lambda _module, **result: end(_module, failed=True, **result)
            )
            try:
                backup_vault.main()
            except Ended as ended:
                return ended.result
        raise AssertionError("the module did not end")


HOSTS: Dict[str, Dict[str, Any]] = {
    "web-1": {"ansible_host": "192.0.2.11", "group_names": ["site-a"], "found": {"ssh_host_keys": [KEY]}},
    "web-2": {"ansible_host": "192.0.2.21", "backup_method": "dirvish", "backup_retain": {"daily": 2}},
    "web-3": {"backup_method": "none"},
}


@pytest.fixture
def act(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the action: its result, and the action."""
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda _self, _tmp, _vars: {})

    def run(check_mode: bool = False, **args: Any) -> Tuple[Dict[str, Any], Action]:
        given: Dict[str, Any] = {
            "label": "vault",
            "root": str(tmp_path / "srv"),
            "hosts": list(HOSTS),
            "found": "found",
        }
        given.update({"method": "rsnapshot", "retain": {"daily": 7, "weekly": 4}, "window": "22:00-05:00"}, **args)
        action = Action(str(tmp_path), given, check_mode)
        # a task has templates as the inventory has them, and hostvars what they mean
        every = Variables(HOSTS, vault={"ansible_host": "192.0.2.5"})
        variables = {"inventory_hostname": "vault", "ansible_host": "{{ net }}.5", "hostvars": every}
        return action.run(None, variables), action

    return run


def test_the_program_is_brought_when_it_is_another_one(act: Any, tmp_path: Any) -> None:
    foretold, action = act(check_mode=True)
    assert foretold["changed"] and action.brought == [] and os.listdir(str(tmp_path)) == []
    result, action = act()
    assert result["changed"] and not result["program_wanted"], result
    assert action.brought == [program.pack()]
    assert result["unknown"] == ["web-2"] and result["schedule"] == "cron"
    again, action = act()
    assert not again["changed"] and action.brought == [] and len(action.sent) == 1
    places = Places("Linux", str(tmp_path))
    with open(places.program, "ab") as file:
        file.write(b"x")
    changed, action = act()
    assert changed["changed"] and len(action.brought) == 1
    assert install.program_is(places, program.digest())


def test_each_host_is_told_of_as_it_says_itself(act: Any) -> None:
    _result, action = act(check_mode=True)
    hosts = action.sent[0]["hosts"]
    assert sorted(hosts) == ["web-1", "web-2"]
    assert (hosts["web-1"]["method"], hosts["web-1"]["line"]) == ("rsnapshot", "site-a")
    assert (hosts["web-2"]["method"], hosts["web-2"]["retain"]) == ("dirvish", {"daily": 2})
    assert action.sent[0]["known_hosts"] == {"web-1": [KEY]}


def test_the_key_comes_with_what_a_host_wants_to_know(act: Any) -> None:
    result, action = act(check_mode=True, state="key")
    assert result["puller"] == {"label": "vault", "key": "", "addresses": ["192.0.2.5"]}
    result, action = act(state="key", addresses=["192.0.2.0/24"])
    assert result["puller"]["key"].endswith(" nanozfs-backup@vault")
    assert result["puller"]["addresses"] == ["192.0.2.0/24"]
    assert action.sent[0]["methods"] == ["dirvish", "rsnapshot"]
    assert set(result["packages"]) <= {"rsync", "rsnapshot", "dirvish"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"hosts": ["web-9"]}, "not in the inventory"),
        ({"label": "Vault"}, "name of this backup host"),
        ({"retain": {"daily": 0}}, "backup_retain of web-1"),
        ({"window": "at night"}, "no window for backups"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_changed(act: Any, tmp_path: Any, args: Any, message: str) -> None:
    result, _action = act(**args)
    assert result["failed"] and message in result["msg"] and "nothing was changed" in result["msg"]
    assert not os.path.exists(Places("Linux", str(tmp_path)).conf)


def test_it_is_taken_away(act: Any, tmp_path: Any) -> None:
    act()
    result: Optional[Dict[str, Any]]
    result, action = act(state="absent")
    assert result is not None and result["changed"]
    assert action.sent[0]["state"] == "absent" and "hosts" not in action.sent[0]
    assert not os.path.exists(Places("Linux", str(tmp_path)).program)
