# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What results say of a host, and what of a failure is shown."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.model import NOTHING_TO_DO, PLANNED
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.results import (
    explanation,
    facts,
    is_plain,
    reason,
    waiting,
)


def failed(error: FleetError, **more: Any) -> Dict[str, Any]:
    """The result of a task that failed with an error of ours."""
    return dict(more, failed=True, changed=False, msg=str(error), story=error.story)


def test_a_failure_is_shown_in_its_three_parts() -> None:
    error = FleetError("the pool is gone.", safe="nothing was changed", todo="look at its disks")
    result = failed(error)
    assert explanation(result) == [
        "the pool is gone.",
        "  Safe now: nothing was changed.",
        "  Next: look at its disks.",
    ]
    assert " ".join(" ".join(explanation(result)).split()) == str(error), "whoever looks for the sentence finds it"
    assert reason(result) == "the pool is gone."


def test_a_message_that_says_more_than_its_story() -> None:
    """That of a trial has whose upgrade failed in front."""
    result = failed(FleetError("it was taken back", safe="it runs 1.0", todo="look why"))
    result["msg"] = "the upgrade failed on web-1: no port. It was taken back. Safe now: it runs 1.0. Next: look why."
    assert explanation(result) == [
        "the upgrade failed on web-1: no port. It was taken back.",
        "  Safe now: it runs 1.0.",
        "  Next: look why.",
    ]


def test_nothing_is_said_twice_and_nothing_is_lost() -> None:
    result = failed(FleetError("broken", safe="it runs 1.0", todo="look why"))
    result["msg"] = "broken, but it runs 1.0 (module)"
    assert explanation(result) == ["broken, but it runs 1.0 (module)", "  Next: look why."]
    del result["msg"]
    assert explanation(result) == ["broken.", "  Safe now: it runs 1.0.", "  Next: look why."]
    result.update(rc=3, stderr="one\ntwo", stdout="")
    assert explanation(result)[-3:] == ["  rc: 3", "  stderr: one", "    two"]


@pytest.mark.parametrize(
    "result, plain",
    [
        ({"msg": "no", "failed": True, "changed": False}, True),
        ({"msg": "no", "unreachable": True, "changed": False, "_ansible_no_log": False}, True),
        ({"msg": "no", "rc": 1, "stderr": "x"}, True),
        ({"msg": "no", "cmd": ["false"], "rc": 1}, False),
        ({"msg": "no", "story": {"result": "failed"}, "condition": "no answer", "lease": {}, "phase": "written"}, True),
        ({"censored": "hidden", "story": {"result": "failed"}}, False),
        ({"msg": "no", "assertion": "1 == 2", "evaluated_to": False}, False),
        ({"msg": {"a": 1}}, False),
        ({"censored": "hidden", "changed": False}, False),
        ({"msg": "no", "results": []}, False),
        ({}, False),
    ],
)
def test_what_has_more_to_say_is_left_to_ansible(result: Dict[str, Any], plain: bool) -> None:
    assert is_plain(result) == plain


def test_why_hosts_wait() -> None:
    run = {"run": {"later": {"web-1": "its window is closed", 2: ["x"]}}}
    assert waiting("nanozfs.fleet.wave_plan", run) == {"web-1": "its window is closed", "2": "['x']"}
    assert waiting("their.own.wave_plan", run) == waiting("nanozfs.fleet.wave_plan", {"run": []}) == {}


def test_what_hosts_say_is_harmless() -> None:
    result = failed(FleetError("\x1b[2J[red]gone[/red]", safe="\x07x", todo="a\nb: all is well"), stderr="\x1b]0;\n")
    assert all(line.isprintable() for line in explanation(result))
    assert "[red]gone[/red]" in explanation(result)[0]


@pytest.mark.parametrize(
    "action, result, arguments, text, became",
    [
        ("upgrade_info", {"step": "done", "says": "runs already"}, {}, "runs already", NOTHING_TO_DO),
        ("rollback_info", {"step": "prepare", "says": "back"}, {}, "back", PLANNED),
        ("transaction", {"changed": True, "says": "1 is merged (a)"}, {"state": "staged"}, "1 is merged (a)", ""),
        ("transaction", {"changed": True, "says": "given up"}, {}, "given up", "given up"),
        ("transaction", {"changed": True, "lease": "x"}, {}, "", ""),
        ("host_install", {"step": "install", "done": []}, {"state": "planned"}, "", NOTHING_TO_DO),
        ("host_install", {"step": "medium"}, {"state": "planned"}, "has to be given its medium first", ""),
        ("host_install", {"done": list("abcde")}, {"state": "planned"}, "to do: a, b, c and 2 more", PLANNED),
        ("host_install", {"changed": True, "restart": False}, {}, "", "brought up to date"),
        ("host_install", {"changed": True, "restart": True}, {}, "", ""),
        ("host_install", {"changed": False}, {"state": "up"}, "is up as itself", "installed"),
        ("upgrade_info", {"failed": True, "msg": "x", "says": "y"}, {}, "", ""),
        ("image_write", {"image": "odd", "changed": True, "slice": 3, "fetched": "many"}, {}, "", ""),
    ],
)
def test_modules(action: str, result: Dict[str, Any], arguments: Dict[str, Any], text: str, became: str) -> None:
    found = facts("nanozfs.fleet." + action, arguments, result)
    assert (found.text, found.result) == (text, became)
    assert facts("example.other." + action, arguments, result).text == "", "a module of somebody else"


def test_a_story_is_heard_whoever_tells_it() -> None:
    told = {"story": {"result": "not begun", "what": "the window is closed", "safe": "", "todo": "wait"}}
    found = facts("nanozfs.fleet.wave", {}, told)
    assert (found.result, found.why) == ("not begun", "the window is closed")
    assert found.text == "the window is closed. Next: wait."
