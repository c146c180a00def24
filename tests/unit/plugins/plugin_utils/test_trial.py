# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a trial: what the host says is done, and what it does not say is asked again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Dict, List, Optional, Union

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _play
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import NotThere
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._trial import Failed, Follow, Times, patient

Reply = Union[Dict[str, Any], Exception]

RESTARTS = {"next": "wait", "changed": True, "boot_id": "one"}
COMMITTED = {"next": "end", "changed": True, "story": {"result": "committed"}}
REVERTED = {"next": "end", "changed": False, "story": {"result": "reverted"}}
SILENCE = NotThere("no route to host")


class Host:
    """A host that gives the answers it was told to, and a clock that only sleeping moves."""

    def __init__(self, *replies: Reply) -> None:
        self.replies: List[Reply] = list(replies)
        self.asked: List[str] = []
        self.more: List[Dict[str, Any]] = []
        self.said: List[str] = []
        self.resets = 0
        self.now = 0.0

    def ask(self, step: str, **more: Any) -> Dict[str, Any]:
        self.asked.append(step)
        self.more.append(more)
        self.now += 1
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return dict(reply)

    def say(self, _phase: str, text: str) -> None:
        self.said.append(text)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def reset(self) -> None:
        self.resets += 1

    def follow(self, step: str = "begin", reason: str = "", boot: str = "one") -> Dict[str, Any]:
        self.followed = Follow(self.ask, self.reset, self.say, Times(boot=10, trial=20), lambda: self.now, self.sleep)
        return self.followed.run(step, reason, boot)


def test_a_good_one() -> None:
    host = Host(RESTARTS, SILENCE, SILENCE, {"next": "check"}, COMMITTED)
    ended = host.follow()
    assert host.asked == ["begin", "look", "look", "look", "check"]
    assert ended["story"]["result"] == "committed" and ended["changed"] and ended["why"] == ""
    assert host.said == ["restarts", "checks the new system"] and host.resets == 2
    assert host.more[1]["boot_id"] == "one" and host.more[1]["wait"] > 0, "a look that waits on the host"


def test_one_that_fails_its_checks() -> None:
    fails = {"next": "revert", "reason": "not running: nginx", "bad": True}
    host = Host(RESTARTS, {"next": "check"}, fails, dict(RESTARTS, boot_id="two"), SILENCE, REVERTED)
    ended = host.follow()
    assert host.asked == ["begin", "look", "check", "revert", "look", "look"]
    assert host.more[3] == {"reason": "not running: nginx", "bad": True}
    assert ended["why"] == "not running: nginx" and host.more[4]["boot_id"] == "two"


def test_an_answer_that_was_lost_is_asked_for_again() -> None:
    """Whether the restart was begun is for the host to say."""
    host = Host(SILENCE, {"next": "wait", "boot_id": "one"}, {"next": "check"}, SILENCE, {"next": "check"}, COMMITTED)
    ended = host.follow()
    assert host.asked == ["begin", "look", "look", "check", "look", "check"]
    assert ended["story"]["result"] == "committed"


def test_a_host_that_never_comes_back() -> None:
    host = Host(RESTARTS, SILENCE)
    ended = host.follow()
    assert "no route" in ended["silent"] and ended["changed"]
    assert 40 <= host.now <= 60, "its timer, and two restarts"


def test_a_host_that_does_not_restart() -> None:
    host = Host(RESTARTS, {"next": "wait", "boot_id": "one"})
    assert host.follow()["silent"] == "it does not restart"


def test_what_is_refused_ends_it() -> None:
    with pytest.raises(Failed, match="lost its lease"):
        Host(Failed("this play has lost its lease")).follow()


def test_a_check_that_breaks_down_is_no_verdict() -> None:
    host = Host(Failed("gpart: Input/output error"), dict(RESTARTS, boot_id="two"), REVERTED)
    ended = host.follow("check")
    assert host.asked == ["check", "revert", "look"] and host.more[1]["bad"] is False
    assert "Input/output error" in ended["why"]


def test_a_revert_whose_answer_was_lost() -> None:
    host = Host(SILENCE, RESTARTS, REVERTED)
    host.follow("revert", "an earlier play left it", boot="")
    assert host.asked == ["revert", "revert", "look"]
    assert host.more[1]["reason"] == "an earlier play left it"


class TestHolder:
    def test_awx_is_in_the_name(self) -> None:
        found = _play.holder({"awx_job_id": 4711, "awx_user_name": "olga"})
        assert (found["job"], found["user"]) == ("4711", "olga")
        assert found["pid"] == str(os.getppid()) and found["node"]

    def test_a_live_play_is_not_gone(self) -> None:
        assert not _play.is_gone(_play.holder({}))

    @pytest.mark.parametrize(
        "changes, gone",
        [
            ({"pid": "999999999"}, True),
            ({"started": "1"}, True),
            ({"node": "elsewhere", "pid": "999999999"}, False),
            ({"started": None}, False),
            ({"space": None, "pid": "999999999"}, False),
            ({"space": "another container", "pid": "999999999"}, False),
            ({"pid": "x"}, False),
        ],
    )
    def test_a_dead_one_of_this_machine_is(self, changes: Dict[str, Optional[str]], gone: bool) -> None:
        holder = {key: value for key, value in {**_play.holder({}), **changes}.items() if value is not None}
        assert _play.is_gone(holder) is gone

    @pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace of its own needs root")
    def test_a_play_in_another_container_is_in_doubt(self) -> None:
        """It has the name of this machine, and this one knows no process of that number, or another one."""
        say = "import json; from {0} import holder; print(json.dumps(holder({{}})))".format(_play.__name__)
        inside = '"$0" -c "$1"; true'  # sh is its parent, as ansible-playbook is that of an action
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", inside, sys.executable, say]
        told = subprocess.run(argv, capture_output=True, text=True, check=True)
        other = json.loads(told.stdout)
        mine = _play.holder({})
        assert other["node"] == mine["node"] and other["pid"] == "1" and other["space"] != mine["space"]
        assert not _play.is_gone(other)
        assert _play.is_gone(dict(other, space=mine["space"])), "that is all that tells them apart"


@pytest.mark.parametrize(
    "replies, begun",
    [
        ([Failed("the pool is full")], False),
        ([SILENCE, Failed("another play is at work")], True),
        ([RESTARTS, Failed("it cannot be read")], True),
    ],
)
def test_whether_the_host_may_have_begun_to_restart(replies: List[Reply], begun: bool) -> None:
    """Only where it has not is it known that it stays on the old system."""
    host = Host(*replies)
    with pytest.raises(Failed):
        host.follow()
    assert host.followed.begun is begun


class TestPatience:
    """A backup that is read is waited for, and no longer than was said."""

    def ask(self, host: Host, seconds: float) -> Any:
        return patient(host.ask, seconds, host.say, lambda: host.now, host.sleep)

    def test_until_it_ends(self) -> None:
        waits = {"waits": "vault reads"}
        host = Host(waits, waits, RESTARTS)
        assert self.ask(host, 100)("begin") == RESTARTS
        assert host.asked == ["begin"] * 3 and host.said == ["vault reads"] * 2
        assert [each["backup_wait"] for each in host.more] == [100, 84, 68]

    def test_no_longer(self) -> None:
        host = Host(*[{"waits": "vault reads"}] * 3, Failed("vault reads"))
        with pytest.raises(Failed):
            self.ask(host, 40)("begin")
        assert [each["backup_wait"] for each in host.more] == [40, 24, 8, 0]

    @pytest.mark.parametrize(("step", "seconds"), [("begin", 0), ("begin", -1), ("check", 100), ("revert", 100)])
    def test_nothing_else_waits(self, step: str, seconds: float) -> None:
        host = Host(COMMITTED)
        assert self.ask(host, seconds)(step, reason="x") == COMMITTED and host.more == [{"reason": "x"}]
