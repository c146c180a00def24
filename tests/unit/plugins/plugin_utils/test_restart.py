# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for the restart of a host, with a host that answers as a script says."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import no_answer
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._restart import (
    NotThere,
    OtherKey,
    Restart,
    RestartRefused,
    RestartTimedOut,
    answer_of,
)

OLD: Dict[str, Any] = {"boot_id": "one", "refused": ""}
NEW: Dict[str, Any] = {"boot_id": "two", "refused": ""}
GONE = NotThere("Connection refused")


class Host:
    """Answers in turn, the last one for ever; time passes when somebody sleeps."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.now = 0.0
        self.resets = 0
        self.asked: List[float] = []

    def ask(self) -> Dict[str, Any]:
        self.asked.append(self.now)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def reset(self) -> None:
        self.resets += 1
        if self.resets % 2:
            raise AnsibleConnectionFailure("there is no connection")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float = 60, delay: float = 0) -> Dict[str, Any]:
        return Restart(self.ask, self.reset, "web-1", lambda: self.now, self.sleep).wait("one", seconds, delay)


def test_it_goes_and_comes() -> None:
    host = Host(OLD, GONE, GONE, GONE, NEW)
    assert host.wait() == NEW
    assert host.resets == 5, "a kept connection was used again"


def test_it_is_asked_less_often_in_time_and_not_before_it_can_be() -> None:
    host = Host(GONE, GONE, GONE, GONE, GONE, GONE, GONE, NEW)
    host.wait(delay=7)
    pauses = [later - earlier for earlier, later in zip(host.asked, host.asked[1:])]
    assert host.asked[0] == 7 and pauses == sorted(pauses) and pauses[-1] == 5


@pytest.mark.parametrize(
    "said",
    [
        "Failed to connect: @@@ REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.",
        "Using a SSH password instead of a key is not possible because Host Key checking is enabled and sshpass ...",
    ],
)
def test_a_host_with_another_key_is_not_waited_for(said: str) -> None:
    host = Host(OLD, GONE, GONE, NotThere(said))
    with pytest.raises(OtherKey, match=r"web-1 is up again .* nothing was sent to it.*recovery mode.*ssh-keygen -R"):
        host.wait(900)
    assert host.now < 10


def test_it_may_be_so_quick_that_nobody_sees_it_gone() -> None:
    assert Host(NEW).wait() == NEW


def test_a_refusal_is_told_at_once() -> None:
    host = Host(OLD, dict(OLD, refused="shutdown -r now was refused: no"))
    with pytest.raises(RestartRefused, match=r"web-1 did not restart: shutdown -r now was refused: no.*runs on"):
        host.wait()
    assert host.now < 2


def test_a_refusal_of_another_start_is_none() -> None:
    assert Host(dict(NEW, refused="of long ago")).wait()["boot_id"] == "two"


@pytest.mark.parametrize(("answer", "says"), [(OLD, "has not restarted yet"), (GONE, "Connection refused")])
def test_the_time_is_over(answer: Any, says: str) -> None:
    host = Host(answer)
    with pytest.raises(RestartTimedOut, match=says):
        host.wait(30)
    assert 30 <= host.now < 36


def test_answers() -> None:
    assert answer_of(lambda: NEW) == NEW
    for result in ({"failed": True, "msg": "no python", "boot_id": "x"}, {"unreachable": True}, {}):
        with pytest.raises(NotThere):
            answer_of(lambda result=result: result)  # type: ignore[misc]

    def breaks() -> Dict[str, Any]:
        raise AnsibleConnectionFailure("closed by remote host")

    with pytest.raises(NotThere, match="closed by remote"):
        answer_of(breaks)


@pytest.mark.parametrize(
    "limit, advice",
    [
        (None, ", or leave it out: -l 'all:!web-3'"),
        ("site-b", ", or leave it out: -l 'site-b:!web-3'"),
        ("web-3,web-1", ", or leave it out: -l 'web-3,web-1,!web-3'"),
        ("@again.retry", ", or leave it out: -l '@again.retry,!web-3'"),
        ("web-3", ""),
    ],
)
def test_how_to_leave_a_host_out(limit: Any, advice: str) -> None:
    error = no_answer("web-3", limit, "Connection\nrefused")
    assert (
        error.todo == "see what is wrong with it" + advice and error.what == "web-3 gives no answer: Connection refused"
    )
    if advice and not str(limit).startswith("@"):
        inventory = InventoryManager(DataLoader(), sources="web-1,web-2,web-3,")
        inventory.add_group("site-b")
        inventory.subset(advice.split("'")[1])
        assert "web-3" not in [str(host) for host in inventory.get_hosts("all")]
