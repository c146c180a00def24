# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns: how many hosts of a site write at once, over plays, deaths of plays, and folders that are not one's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Optional

import pytest
from ansible import constants

from ansible_collections.nanozfs.fleet.plugins.action import image_write
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._turns import Turns, file_name


@pytest.fixture
def folder(tmp_path: Any) -> str:
    return str(tmp_path / "home" / "turns")


@contextlib.contextmanager
def other_play(folder: str, name: str, limit: int, host: str) -> Iterator[subprocess.Popen]:
    """Another process that has a turn."""
    code = (
        "import sys; from ansible_collections.nanozfs.fleet.plugins.plugin_utils._turns import Turns\n"
        "turn = Turns(sys.argv[1], sys.argv[2], int(sys.argv[3])).take(sys.argv[4])\n"
        "print('has' if turn is not None else 'has not', flush=True); sys.stdin.read()"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    argv = [sys.executable, "-c", code, folder, name, str(limit), host]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "has\n"
        try:
            yield process
        finally:
            process.kill()


class TestTurns:
    def test_no_more_than_there_are(self, folder: str) -> None:
        turns = Turns(folder, "paris", 2)
        handles = [turns.take(name) for name in ("web-1", "web-2", "web-3")]
        assert handles[2] is None and None not in handles[:2]
        assert [each.host for each in turns.holders()] == ["web-1", "web-2"]
        assert Turns(folder, "rome", 1).take("web-9") is not None, "another site has its own"
        os.close(handles[0] or 0)
        assert turns.take("web-3") is not None and turns.take("web-4") is None

    def test_over_plays_and_their_deaths(self, folder: str) -> None:
        turns = Turns(folder, "paris", 1)
        with other_play(folder, "paris", 1, "db-1") as process:
            assert turns.take("web-1") is None
            assert [each.host for each in turns.holders()] == ["db-1"]
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert turns.take("web-1") is not None, "the kernel gives it back"

    @pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "x" * 5000, "\0", "sité 東京", "..", "\udcff"])
    def test_whatever_a_site_is_called(self, folder: str, name: str) -> None:
        assert Turns(folder, name, 1).take("web-1") is not None
        (found,) = os.listdir(folder)
        assert len(found) < 80 and "/" not in found and not found.startswith("..")

    def test_names_that_look_alike_are_not_one(self) -> None:
        assert len({file_name(name, 0) for name in ("a b", "a_b", "a/b", "A_B")}) == 4

    def test_a_folder_of_others(self, folder: str) -> None:
        os.makedirs(folder)
        os.chmod(folder, 0o777)
        with pytest.raises(FleetError, match="others may write there"):
            Turns(folder, "paris", 1).take("web-1")

    @pytest.mark.parametrize("at", ["folder", "file"])
    def test_links_are_not_followed(self, folder: str, tmp_path: Any, at: str) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        if at == "folder":
            os.makedirs(os.path.dirname(folder))
            os.symlink(str(tmp_path), folder)
        else:
            os.makedirs(folder, mode=0o700)
            os.symlink(str(victim), os.path.join(folder, file_name("paris", 0)))
        with pytest.raises(FleetError, match="nobody can count"):
            Turns(folder, "paris", 1).take("web-1")
        assert victim.read_text() == "precious"

    def test_something_else_in_its_place(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700)
        os.mkfifo(os.path.join(folder, file_name("paris", 0)))
        with pytest.raises(FleetError, match="no file of this user"):
            Turns(folder, "paris", 1).take("web-1")

    def test_what_a_holder_says_is_for_a_terminal(self, folder: str) -> None:
        turns = Turns(folder, "paris", 1)
        assert turns.take("web-1") is not None
        path = os.path.join(folder, file_name("paris", 0))
        with open(path, "w", encoding="ascii") as file:
            json.dump({"host": "\x1b[2J", "since": 3}, file)
        assert "\x1b" not in str(turns.holders()[0])
        with open(path, "wb") as binary:
            binary.write(b"\xff")
        assert str(turns.holders()[0]) == "somebody"


class Writing(image_write.ActionModule):
    """The action without Ansible around it.

    :param host: its name.
    """

    def __init__(self, host: str = "web-1", **variables: Any) -> None:  # pylint: disable=super-init-not-called
        self._host = host
        self._vars = dict(variables)
        self._task = type("Task", (), {"check_mode": False})()
        self.said: List[str] = []
        self.asked: List[Dict[str, Any]] = []
        self.naps: List[float] = []
        self.lost: Optional[str] = None

    def say(self, text: str) -> None:
        self.said.append(text)

    def module(self, arguments: Any, name: str = "") -> Dict[str, Any]:
        self.asked.append(dict(arguments, module=name or "image_write"))
        return {"failed": True, "msg": self.lost} if name and self.lost else {"finished": True, "changed": True}


class TestAction:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch: Any, tmp_path: Any) -> str:
        monkeypatch.setattr(constants.config, "get_config_value", lambda name, *rest: str(tmp_path / "home"))
        self.patch = monkeypatch
        return str(tmp_path / "home" / "nanozfs-turns")

    def napping(self, then: Any) -> None:
        """What happens while a host waits."""
        self.patch.setattr("time.sleep", then)

    def test_without_a_limit_nobody_is_counted(self, home: str) -> None:
        for limit in (0, "0", None, ""):
            assert Writing().work({"site_limit": limit})["changed"]
        assert not os.path.exists(home)

    def test_a_turn_is_given_back(self, home: str) -> None:
        for host in ("web-1", "web-2"):
            action = Writing(host, fleet_site="paris")
            assert action.work({"site_limit": "1", "lease": "x"})["changed"] and action.said == []

    def test_waits_and_says_so_once(self, home: str) -> None:
        turns = Turns(home, "site paris", 1)
        handle = turns.take("db-1")
        naps: List[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                os.close(handle or 0)

        self.napping(nap)
        action = Writing(fleet_site="paris")
        assert action.work({"site_limit": 1})["changed"] and len(naps) == 3
        assert len(action.said) == 2 and "db-1 since" in action.said[0] and "of paris" in action.said[0]
        assert "fleet_site_limit" in action.said[0] and "its turn has come" in action.said[1]

    def test_keeps_its_lease_meanwhile(self, home: str, monkeypatch: Any) -> None:
        turns = Turns(home, "site ", 1)
        handle = turns.take("db-1")
        clock = [1000.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])

        def nap(seconds: float) -> None:
            clock[0] += 50
            if clock[0] > 1500:
                os.close(handle or 0)
                self.napping(lambda seconds: None)

        self.napping(nap)
        action = Writing()
        assert action.work({"site_limit": 1, "lease": "abc", "lease_seconds": "300", "pool": "tank"})["changed"]
        held = [each for each in action.asked if each["module"] == "nanozfs.fleet.transaction"]
        assert 3 <= len(held) <= 5 and held[0]["state"] == "held" and held[0]["lease"] == "abc"
        assert action.asked[-1]["module"] == "image_write"

    def test_is_told_when_another_play_has_taken_over(self, home: str) -> None:
        handle = Turns(home, "site ", 1).take("db-1")
        self.napping(lambda seconds: None)
        action = Writing()
        action.lost = "this play has lost its lease on the host"
        found = action.work({"site_limit": 1, "lease": "abc", "lease_seconds": 0})
        assert found["failed"] and found["msg"] == action.lost
        assert all(each["module"] != "image_write" for each in action.asked), "nothing is written then"
        os.close(handle or 0)

    @pytest.mark.parametrize("limit", ["two", -1, "1.5"])
    def test_a_limit_that_is_none(self, limit: Any) -> None:
        with pytest.raises(FleetError, match="site_limit must be a whole number"):
            Writing().work({"site_limit": limit})

    def test_check_mode_waits_for_nobody(self, home: str) -> None:
        action = Writing()
        action._task.check_mode = True
        assert action.work({"site_limit": 1})["changed"] and not os.path.exists(home)
