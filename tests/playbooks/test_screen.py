# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The screen with plays that are not of this collection: an operator has it for all of his."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import ansible_runner
import pyte
import pytest
from ansible.release import __version__ as ansible_version

LOCAL = "ansible_connection=local ansible_python_interpreter=" + sys.executable
INVENTORY = "\n".join(
    ["h1 " + LOCAL, "h2 " + LOCAL, "日本 " + LOCAL, "down ansible_host=127.0.0.1 ansible_port=1", "localhost " + LOCAL]
)

#: a play with a bit of everything; tasks are numbered, so that each can be looked for
ANYTHING = r"""
- name: A play of somebody else
  hosts: h1,h2,日本,down
  gather_facts: false
  tasks:
    - {name: t1 changes, ansible.builtin.command: "true"}
    - {name: t2 is ok, ansible.builtin.command: "true", changed_when: false}
    - {name: t3 is skipped, ansible.builtin.command: "true", when: false}
    - {name: t4 says, ansible.builtin.debug: {msg: "said by {{ inventory_hostname }} [red]\e[2J"}}
    - {name: t5 shows, ansible.builtin.debug: {var: inventory_hostname}, run_once: true}
    - {name: t6 says each, ansible.builtin.debug: {msg: "each {{ item }}"}, loop: [1, 2], run_once: true}
    - name: t7 fails and is ignored
      ansible.builtin.command: {cmd: "sh -c 'echo out of t7; exit 7'"}
      ignore_errors: true
      when: inventory_hostname == 'h1'
    - name: t8 fails in one of its turns
      ansible.builtin.command: {cmd: "sh -c 'exit {{ item }}'"}
      loop: [0, 8]
      ignore_errors: true
      when: inventory_hostname == 'h1'
    - name: t9
      when: inventory_hostname == 'h1'
      block:
        - {name: t9 fails, ansible.builtin.fail: {msg: "no luck with t9"}}
      rescue:
        - {name: t9 is rescued, ansible.builtin.debug: {msg: rescued by t9}}
    - name: t10 is secret
      ansible.builtin.command: {cmd: "sh -c 'echo s3cret; exit 1'"}
      no_log: true
      ignore_errors: true
      when: inventory_hostname == 'h1'
    - name: t11 is undefined
      ansible.builtin.debug: {msg: "{{ no_such_thing }}"}
      ignore_errors: true
      when: inventory_hostname == 'h1'
    - name: t12 differs
      ansible.builtin.copy: {content: "a line of t12\n", dest: "{{ playbook_dir }}/t12", mode: "0600"}
      when: inventory_hostname == 'h1'
    - name: t13 warns
      warns:
      when: inventory_hostname == 'h1'
    - name: t14 says at last
      ansible.builtin.fail: {msg: "t14 has had enough\nof it"}
      when: inventory_hostname == 'h2'
"""

WAVES = """
- name: Work
  hosts: h1,h2,日本
  serial: [1, "100%"]
  gather_facts: false
  tasks:
    - {name: Do it, works: {seconds: 1.5}}
    - {name: Break it, ansible.builtin.fail: {msg: "it broke"}, when: inventory_hostname == 'h2'}
"""

ASKS = """
- name: Ask
  hosts: h1
  gather_facts: false
  vars_prompt: [{name: colour, prompt: Which colour, private: false}]
  tasks:
    - {name: Wait, ansible.builtin.pause: {prompt: Go on}}
    - {name: Say, ansible.builtin.debug: {msg: "it is {{ colour }}"}}
"""

#: an action that tells what it does, and one that warns
ACTION = """
import time
from ansible.plugins.action import ActionBase
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._action import ModuleAction

class ActionModule(ModuleAction):
    def work(self, arguments):
        self.moves("writing", "writing: 0 %", percent=0)
        time.sleep(float(arguments["seconds"]))
        self.moves("writing", "writing: 43 %", percent=43, rate=23100000, eta=26, note="fetched 2.1 of 4.9 MB")
        time.sleep(float(arguments["seconds"]))
        self.moves("checking", "checks it")
        self.say("a note [bold]")
        return {"changed": True}
"""
WARNS = """
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return {"changed": False, "warnings": ["a warning of t13"]}
"""

#: the modules of these actions, which are never run
MODULE = "DOCUMENTATION = 'x'\n"

#: ansible-core 2.18 gets lines on a terminal, too
LIVE = tuple(int(part) for part in ansible_version.split(".")[:2]) >= (2, 19)


class Desk:
    """A folder with playbooks, and what is run in it."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        for name, text in (("anything", ANYTHING), ("waves", WAVES), ("asks", ASKS)):
            (folder / (name + ".yml")).write_text(text, encoding="utf-8")
        (folder / "inventory").write_text(INVENTORY + "\n", encoding="utf-8")
        for kind in ("action_plugins", "library"):
            (folder / kind).mkdir()
        for name, text in (("works", ACTION), ("warns", WARNS)):
            (folder / "action_plugins" / (name + ".py")).write_text(text)
            (folder / "library" / (name + ".py")).write_text(MODULE)

    def environment(self, **more: str) -> Dict[str, str]:
        """The environment of an operator."""
        unwanted = ("ANSIBLE_NOCOLOR", "ANSIBLE_FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")
        found = {key: value for key, value in os.environ.items() if key not in unwanted}
        return dict(
            found,
            LC_ALL="C.UTF-8",
            TERM="xterm-256color",
            HOME=str(self.folder),
            ANSIBLE_LOCAL_TEMP=str(self.folder / "tmp"),
            ANSIBLE_STDOUT_CALLBACK="nanozfs.fleet.screen",
            **more,
        )

    def command(self, play: str, *arguments: str) -> List[str]:
        """What is typed."""
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        return [program, "-i", "inventory", play + ".yml", *arguments]

    def log(self, play: str, *arguments: str, argv: Optional[List[str]] = None, **more: str) -> Tuple[int, str]:
        """Run it without a terminal; exit status and output."""
        done = subprocess.run(
            argv or self.command(play, *arguments),
            cwd=self.folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def terminal(self, play: str, *arguments: str, columns: int = 100, lines: int = 24, **more: str) -> Terminal:
        """Begin it on a terminal."""
        return Terminal(self.command(play, *arguments), str(self.folder), self.environment(**more), columns, lines)


class Terminal:
    """A process on a terminal of its own, as pyte shows it."""

    def __init__(self, argv: List[str], folder: str, environment: Dict[str, str], columns: int, lines: int) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.end, inner = pty.openpty()
        self.resize(columns, lines)
        self.modes = termios.tcgetattr(inner)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner
        )
        self.inner = inner
        self.seen: List[str] = []

    def resize(self, columns: int, lines: int) -> None:
        """The window gets another size."""
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def whole(self) -> str:
        """What was printed, with what has gone off the top."""
        top = ["".join(line[column].data for column in sorted(line)).rstrip() for line in self.screen.history.top]
        return "\n".join([*top, self.text])

    def read(self, seconds: float) -> bool:
        """Take in what comes; whether there may be more."""
        ready, _w, _x = select.select([self.end], [], [], seconds)
        if not ready:
            return self.process.poll() is None
        data = os.read(self.end, 65536)
        self.raw += data
        self.stream.feed(data)
        self.seen.append(self.text)
        return True

    def until(self, wanted: Callable[[str], Any], seconds: float = 60) -> str:
        """Wait until the screen is as it is wanted."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if wanted(self.text):
                return self.text
            if not self.read(0.2):
                break
        raise AssertionError("it did not come:\n" + self.whole)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.end, text.encode())

    def wait(self, seconds: float = 120) -> int:
        """Wait for the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self.read(0.2):
            assert time.monotonic() < deadline, self.whole
        return self.process.wait(5)


@pytest.fixture(name="desk")
def fixture_desk(tmp_path: Any) -> Desk:
    return Desk(tmp_path)


def expect_everything(said: str) -> None:
    """What must be told of the play with a bit of everything, on whatever."""
    for name in ("h1", "h2", "日本"):
        assert "{0}: changed: t1 changes".format(name) in said
        assert "{0}: said by {0} [red]?[2J".format(name) in said
    assert re.search(r"down: unreachable: .*Connection refused", said), said
    assert '"inventory_hostname": "h1"' in said and "h1: each 1" in said and "h1: each 2" in said
    assert "out of t7" in said and '"rc": 7' in said and "...ignoring" in said
    assert "failed: [h1] (item=8)" in said and '"rc": 8' in said
    assert "h1: failed: no luck with t9" in said and "h1: rescued by t9" in said
    assert "the output has been hidden" in said and "s3cret" not in said
    assert "no_such_thing" in said and "+a line of t12" in said and "h1: changed: t12 differs" in said
    assert "a warning of t13" in said
    assert re.search(r"h2: failed: t14 has had enough\n *of it", said), said
    for noise in ("t2 is ok", "t3 is skipped", "PLAY ", "ok: [h2]", "skipping"):
        assert noise not in said, said


def test_a_log(desk: Desk) -> None:
    code, said = desk.log("anything", "--diff")
    assert code == 4, said
    expect_everything(said)
    assert "\x1b" not in said
    end = said[said.index("HOST ") :].splitlines()
    assert end[-1] == "4 hosts: 1 no answer, 1 rescued, 1 failed, 1 changed", said
    assert [line.split()[0] for line in end[1:-1]] == ["down", "h1", "h2", "日本"]


def test_two_playbooks(desk: Desk) -> None:
    code, said = desk.log("asks", "waves.yml", "-l", "h1", "-e", "colour=blue")
    assert code == 0 and "h1: it is blue" in said, said
    assert "h1: checks it" in said and said.count("HOST  ENDED") == 1 and said.count("\n1 host: 1 ") == 2, said


def test_check_mode(desk: Desk) -> None:
    code, said = desk.log("anything", "--check", "--diff", "-l", "h1")
    assert code == 0 and "+a line of t12" in said and "(check mode)" in said, said
    assert not (desk.folder / "t12").exists()


def test_more_is_asked_for(desk: Desk) -> None:
    """Then it is Ansible's own output, to the letter, but for what is different each time."""
    outputs = []
    for callback in ("nanozfs.fleet.screen", "ansible.builtin.default"):
        command = ["env", "ANSIBLE_STDOUT_CALLBACK=" + callback, *desk.command("anything", "-v", "-l", "h1", "--check")]
        outputs.append(re.sub(r"\d\d:\d\d[:.\d]*|\d:\d\d:\d\d\.\d+", "T", desk.log("", argv=command)[1]))
    assert outputs[0] == outputs[1] and "PLAY RECAP" in outputs[0]


def test_a_log_of_work(desk: Desk) -> None:
    """What an action tells comes while it works, from a fork."""
    code, said = desk.log("waves")
    assert code == 2
    lines = said.splitlines()
    assert lines[:5] == [
        "Work, wave 1 of 2: h1",
        "h1: writing: 0 %",
        "h1: checks it",
        "h1: a note [bold]",
        "h1: changed: Do it",
    ], said
    assert lines[5] == "Work, wave 2 of 2: h2, 日本" and "h2: failed: it broke" in lines
    assert lines[-1] == "3 hosts: 2 changed, 1 failed"


def test_without_a_screen_actions_print(desk: Desk) -> None:
    command = ["env", "ANSIBLE_STDOUT_CALLBACK=default", *desk.command("waves", "-l", "h1")]
    code, said = desk.log("", argv=command)
    assert code == 0 and "  h1: writing: 43 %\n" in said and "  h1: a note [bold]\n" in said


@pytest.mark.skipif(not LIVE, reason="ansible-core 2.18 gets lines on a terminal, too")
@pytest.mark.parametrize("rich", ["1", "0"])
def test_a_terminal(desk: Desk, rich: str) -> None:
    terminal = desk.terminal("waves", NANOZFS_SCREEN_RICH=rich, NANOZFS_SCREEN_INTERVAL="0.2")
    shown = terminal.until(lambda text: "43 %" in text)
    assert "Work, wave 1 of 2: 1 host: 0 done, 0 failed, 1 at work, 2 to come" in shown
    assert re.search(r"^h1 +writing .* 43 % +23.1 MB/s +0:26 +fetched 2.1 of 4.9 MB", shown, re.M), shown
    assert ("━" in shown) == (rich == "1") and ("####" in shown) == (rich == "0")
    terminal.until(lambda text: "2 hosts: 0 done, 0 failed, 2 at work" in text and text.count("43 %") == 2)
    terminal.resize(40, 12)
    assert terminal.wait() == 2
    end = terminal.text
    assert "h2: failed: it broke" in terminal.whole and "3 hosts: 2 changed, 1 failed" in end, end
    assert re.search(r"^h2 +failed +1 +0:\d\d +it broke$", end, re.M) and re.search(r"^日本 +changed +1 ", end, re.M), (
        end
    )
    assert "at work" not in end and "43 %" not in end, "what was live is gone:\n" + end
    assert terminal.modes == termios.tcgetattr(terminal.inner)
    assert b"\x1b[0;31m" in terminal.raw, "failures are red"


@pytest.mark.skipif(not LIVE, reason="ansible-core 2.18 gets lines on a terminal, too")
def test_everything_on_a_terminal(desk: Desk) -> None:
    terminal = desk.terminal("anything", "--diff", columns=1000)
    assert terminal.wait() == 4
    expect_everything(terminal.whole)


@pytest.mark.skipif(not LIVE, reason="ansible-core 2.18 gets lines on a terminal, too")
def test_whoever_breaks_it_off_has_his_terminal(desk: Desk) -> None:
    terminal = desk.terminal("waves")
    terminal.until(lambda text: "43 %" in text)
    terminal.type("\x03")
    assert terminal.wait() != 0
    assert "ended in the middle of: h1 (writing 43 %)" in terminal.whole, terminal.whole
    assert terminal.modes == termios.tcgetattr(terminal.inner) and b"\x1b[?" not in terminal.raw


@pytest.mark.skipif(not LIVE, reason="ansible-core 2.18 gets lines on a terminal, too")
def test_a_question_can_be_read(desk: Desk) -> None:
    terminal = desk.terminal("asks", NANOZFS_SCREEN_INTERVAL="0.1")
    terminal.until(lambda text: "Which colour:" in text)
    terminal.type("green\n")
    terminal.until(lambda text: "Go on" in text)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        terminal.read(0.2)
    assert "Go on" in terminal.text, "it is still there after some drawings"
    terminal.type("\n")
    assert terminal.wait() == 0 and "h1: it is green" in terminal.whole, terminal.whole


#: Ansible with a screen that does not work
BROKEN = """
from ansible.executor.task_queue_manager import TaskQueueManager

load = TaskQueueManager.load_callbacks

def broken(*args, **kwargs):
    raise RuntimeError("it is broken")

def load_broken(self):
    from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen import {where}
    setattr({where}.{what}, "{method}", broken)
    load(self)

TaskQueueManager.load_callbacks = load_broken
from ansible.cli.playbook import main
main(["ansible-playbook", "-i", "inventory", "anything.yml"])
"""


@pytest.mark.parametrize(
    "where, what, method",
    [
        ("model", "Fleet", "task_begins"),
        ("model", "Fleet", "fails"),
        ("model", "Fleet", "rows"),
        ("screen", "Screen", "begin"),
        ("screen", "Screen", "draw"),
    ],
)
def test_a_screen_that_breaks_hides_nothing(desk: Desk, where: str, what: str, method: str) -> None:
    argv = [sys.executable, "-c", BROKEN.format(where=where, what=what, method=method)]
    code, said = desk.log("", argv=argv)
    assert code == 4, said
    assert "does not work (RuntimeError: it is broken)" in " ".join(said.split()), said
    assert "no luck with t9" in said and "t14 has had enough" in said and "Connection refused" in said
    assert "PLAY RECAP" in said, said


def test_awx(desk: Desk) -> None:
    """It has a callback of its own, made from the one that is set, a terminal, and events."""
    with open(desk.folder / "env-check", "w", encoding="utf-8") as file:
        json.dump({}, file)
    (desk.folder / "project").mkdir()
    run = ansible_runner.run(
        private_data_dir=str(desk.folder),
        project_dir=str(desk.folder),
        playbook="waves.yml",
        inventory=str(desk.folder / "inventory"),
        envvars={key: value for key, value in desk.environment().items() if key.startswith(("ANSIBLE", "PATH", "LC_"))},
        quiet=True,
    )
    events = list(run.events)
    said = "\n".join(event["stdout"] for event in events if event.get("stdout"))
    assert run.rc == 2 and run.stats["failures"] == {"h2": 1}, said
    assert "Work, wave 1 of 2: h1" in said and "h1: checks it" in said and "3 hosts: 2 changed, 1 failed" in said, said
    assert "43 %" not in said, "a phase is a line, also where there is a terminal"
    assert any(event["event"] == "runner_on_failed" and "h2: failed: it broke" in event["stdout"] for event in events)
