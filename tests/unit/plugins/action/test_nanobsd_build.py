# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller does for nanobsd_build: scripts, the archive, whom it belongs to."""

from __future__ import annotations

import getpass
import hashlib
import os
from typing import Any, Dict, List
from unittest.mock import Mock

import pytest
from ansible import constants
from ansible.errors import AnsibleError

from ansible_collections.nanozfs.fleet.plugins.action.nanobsd_build import ActionModule, scripts_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

CONTENT = b"the tree"
RESULT = {"archive": "/usr/obj/nanozfs/web/tree.tar.xz", "sha256": hashlib.sha256(CONTENT).hexdigest(), "size": 8}


class Connection:
    """A connection that brings files."""

    become = True

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.fetched: List[str] = []
        self.options: Dict[str, Any] = {"remote_user": "ann"}

    def fetch_file(self, source: str, target: str) -> None:
        self.fetched.append(source)
        with open(target, "wb") as file:
            file.write(self.content)

    def get_option(self, name: str) -> Any:
        if name not in self.options:
            raise AnsibleError("no such option")
        return self.options[name]


def action(connection: Connection, check: bool = False) -> ActionModule:
    """The action, as far as it is needed."""
    found = ActionModule.__new__(ActionModule)
    found._connection, found._task, found._host = connection, Mock(check_mode=check), "forge"
    return found


class TestArchive:
    """The archive comes here once, whole, and for nobody else to read."""

    def test_it_is_fetched_once(self, tmp_path: Any) -> None:
        dest, connection = str(tmp_path / "cache" / "web.tar.xz"), Connection()
        for changed in (True, False):
            result = dict(RESULT, changed=False)
            action(connection)._fetch(result, dest)
            assert result["changed"] == changed and result["dest"] == dest
        assert connection.fetched == [RESULT["archive"]] and os.stat(dest).st_mode & 0o077 == 0
        assert os.listdir(str(tmp_path / "cache")) == ["web.tar.xz"]

    def test_another_one_than_was_said(self, tmp_path: Any) -> None:
        dest = tmp_path / "web.tar.xz"
        dest.write_bytes(b"the one before")
        with pytest.raises(FleetError, match=r"not the one that it has made.*is as it was"):
            action(Connection(b"the tr"))._fetch(dict(RESULT), str(dest))
        assert dest.read_bytes() == b"the one before" and os.listdir(str(tmp_path)) == ["web.tar.xz"]

    def test_check_mode(self, tmp_path: Any) -> None:
        connection, result = Connection(), dict(RESULT, changed=False)
        action(connection, check=True)._fetch(result, str(tmp_path / "x"))
        assert result["changed"] and not connection.fetched and not os.listdir(str(tmp_path))

    def test_whom_it_is_given_to(self) -> None:
        connection = Connection()
        assert action(connection)._reader() == "ann"
        for options in ({"remote_user": None}, {}):
            connection.options = options
            assert action(connection)._reader() == getpass.getuser()
        connection.become = False
        assert action(connection)._reader() is None


def test_scripts(tmp_path: Any) -> None:
    path = tmp_path / "no ftpd.sh"
    path.write_text("rm usr/libexec/ftpd\n")
    assert scripts_of([str(path)]) == [{"name": "no_ftpd.sh", "content": "rm usr/libexec/ftpd\n"}]
    path.write_bytes(b"\xff")
    for bad in (str(path), str(tmp_path / "none")):
        with pytest.raises(FleetError, match=r"cannot be read.*nothing was built"):
            scripts_of([bad])


def test_scripts_are_not_logged_on_the_build_host(monkeypatch: pytest.MonkeyPatch) -> None:
    given: List[Any] = []

    def execute(task_vars: Any, **_more: Any) -> Dict[str, Any]:
        given.append(task_vars)
        return {}

    found = action(Connection(), check=True)
    found._task.args = {"name": "web"}
    found._task.get_search_path.return_value = []
    found._loader = Mock(get_basedir=lambda: "")
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_arguments: {})
    monkeypatch.setattr(found, "_execute_module", execute)
    found.run(None, {"inventory_hostname": "forge"})
    assert constants.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG", variables=given[0]) is True
