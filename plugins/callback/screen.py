# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One screen for a fleet. What is to be shown is decided in plugin_utils/_screen; here is only what Ansible says."""

from __future__ import annotations

DOCUMENTATION = r"""
name: screen
type: stdout
short_description: What a fleet does, on one screen
version_added: 1.1.0
description:
  - In a terminal, a line for each host that moves - phase, percent, rate, time to go, last message - with the wave
    above it, and a table in place of the recap.
  - Without a terminal (AWX, cron, a file), one line for each change of phase, and the table.
  - Failures, unreachable hosts, warnings, changed tasks, differences (C(--diff)) and what
    P(ansible.builtin.debug#module) tasks say are shown of every play, also of those that are not of this collection.
    Tasks that are skipped or change nothing, and what is included, are not.
  - With C(-v) and more, and should this plugin itself fail, the output is that of P(ansible.builtin.default#callback).
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout callback in configuration
  - rich (Python library) for bars and colours in tables; without it the screen is plain text
notes:
  - With ansible-core 2.18 a terminal gets lines as a log does, because there what asks on the terminal is run while the
    screen is drawn.
options:
  live:
    description:
      - Whether a terminal has a live area. With V(false) it gets lines as a log does.
    type: bool
    default: true
    env:
      - name: NANOZFS_SCREEN_LIVE
    ini:
      - section: callback_screen
        key: live
  rich:
    description: Whether rich draws, where it is installed.
    type: bool
    default: true
    env:
      - name: NANOZFS_SCREEN_RICH
    ini:
      - section: callback_screen
        key: rich
  width:
    description: Columns of the screen; V(0) for those of the terminal, and for lines as long as they are in a log.
    type: int
    default: 0
    env:
      - name: NANOZFS_SCREEN_WIDTH
    ini:
      - section: callback_screen
        key: width
  hosts:
    description: Hosts that the live area shows at most; V(0) for as many as there is room for. The others are counted.
    type: int
    default: 0
    env:
      - name: NANOZFS_SCREEN_HOSTS
    ini:
      - section: callback_screen
        key: hosts
  interval:
    description: Seconds between two drawings of the live area.
    type: float
    default: 0.5
    env:
      - name: NANOZFS_SCREEN_INTERVAL
    ini:
      - section: callback_screen
        key: interval
author:
  - nanozfs.fleet contributors (@nanozfs)
"""

import atexit
import functools
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, TypeVar, cast

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.release import __version__ as ansible_version
from ansible.utils import color as ansible_color
from ansible.utils.helpers import pct_to_int

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen import model, results, terminal
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._screen.text import one_line, wrapped
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._waves.run import NOBODY

_Method = TypeVar("_Method", bound=Callable[..., Any])

#: since when what workers run cannot ask on the terminal (ansible/executor/process/worker.py, ``_detach``)
DETACHED = (2, 19)

#: what says something to people, and does nothing else
DEBUG = ("ansible.builtin.debug", "ansible.legacy.debug", "debug")

#: what fails because somebody has written so, with the message that he wants
SAYING = (
    "ansible.builtin.fail",
    "ansible.builtin.assert",
    "ansible.legacy.fail",
    "ansible.legacy.assert",
    "fail",
    "assert",
)

#: how a failure is called
NOT_DONE = "failed"
UNREACHABLE = "unreachable"

#: Ansible's colours
TONES = {
    model.GOOD: "COLOR_OK",
    model.CHANGED: "COLOR_CHANGED",
    model.BAD: "COLOR_ERROR",
    model.WARN: "COLOR_WARN",
    model.DIM: "COLOR_SKIP",
    model.HEAD: "COLOR_HIGHLIGHT",
}


def _color(tone: str) -> Optional[str]:
    name = TONES.get(tone)
    return cast(Optional[str], getattr(constants, name, None)) if name else None


def _paint(text: str, tone: str) -> str:
    """A text in Ansible's colour for a tone, where Ansible has colours."""
    found = _color(tone)
    return str(ansible_color.stringc(text, found)) if found and text else text


def _ours(method: _Method) -> _Method:
    """Do it the screen's way; where that is not wanted, or does not work, Ansible's own."""
    name = method.__name__

    @functools.wraps(method)
    def run(self: CallbackModule, *args: Any, **kwargs: Any) -> Any:
        if self.screen is not None:
            try:
                with self.lock:
                    self.screen.listen()
                    return method(self, *args, **kwargs)
            except Exception as problem:  # nothing that is to be shown may be lost by how it is shown
                self.give_up(problem)
        return getattr(super(CallbackModule, self), name)(*args, **kwargs)

    return cast(_Method, run)


class CallbackModule(DefaultCallback):
    """The callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nanozfs.fleet.screen"

    def __init__(self) -> None:
        super().__init__()
        #: the screen; ``None`` where the output is Ansible's own
        self.screen: Optional[Screen] = None
        #: of everything that prints; nobody forks while it is held (``WorkerProcess.start``)
        self.lock: Any = getattr(self._display, "_lock", None) or threading.RLock()
        self._wave_of = ""
        self._finished = False
        self._shown: Dict[str, Any] = {}

    @property
    def _shows(self) -> Screen:
        """The screen, for what is only done where there is one."""
        if self.screen is None:
            raise AssertionError("there is no screen")
        return self.screen

    # beginning and end

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        """The options are there: begin, unless everything is to be shown anyway."""
        super().set_options(*args, **kwargs)
        # of one task that was given on the command line everything is to be seen
        if self.screen is not None or self._display.verbosity > 0 or context.CLIARGS.get("module_name"):
            return
        try:
            self._begin()
        except Exception as problem:
            self.give_up(problem)

    def _begin(self) -> None:
        check = bool(context.CLIARGS.get("check"))
        core = tuple(int(part) for part in ansible_version.split(".")[:2])
        # AWX (ansible-runner) has a terminal, and a callback of its own that is made from this one and keeps what is
        # printed
        alone = self.__class__ is CallbackModule
        wanted = alone and self.get_option("live") and core >= DETACHED and terminal.is_fit(sys.stdout)
        self.screen = Screen(
            model.Fleet(time.monotonic, check),
            self._print,
            functools.partial(self._print, log_only=True),
            _paint,
            self.lock,
            stream=sys.stdout if wanted else None,
            rich=bool(self.get_option("rich")),
            colours=bool(ansible_color.ANSIBLE_COLOR),
            columns=max(0, int(self.get_option("width"))),
            most=max(0, int(self.get_option("hosts"))),
            interval=min(max(0.05, float(self.get_option("interval"))), 60.0),
        )
        self._quiet(True)
        self.screen.begin()
        atexit.unregister(self._leave)
        atexit.register(self._leave)

    def _quiet(self, quiet: bool) -> None:
        """Have Ansible's own part show a task's name only where it shows something of it."""
        for name in ("display_ok_hosts", "display_skipped_hosts"):
            if quiet:
                self._shown.setdefault(name, self._plugin_options.get(name))
                self._plugin_options[name] = False
            elif name in self._shown:
                self._plugin_options[name] = self._shown.pop(name)

    def give_up(self, problem: Exception) -> None:
        """Go on as Ansible's own callback: what fails here must not hide what fails elsewhere."""
        screen, self.screen = self.screen, None
        self._quiet(False)
        if screen is not None:
            screen.end()
        self._display.warning(
            "the screen of nanozfs.fleet does not work ({0}: {1}); what follows is Ansible's own output".format(
                type(problem).__name__, one_line(problem)
            )
        )

    def _leave(self) -> None:
        """The process ends; when the run did not, say what was going on."""
        screen, self.screen = self.screen, None
        if screen is None:
            return
        screen.end()
        for line in screen.fleet.left():
            self._print(line)

    def _print(self, line: model.Line, log_only: bool = False) -> None:
        bad = line.tone == model.BAD and self.get_option("display_failed_stderr")
        color = _color(line.tone)
        self._display.display(line.text, color=color, log_only=True)
        if log_only:
            return
        # a tone is what tells a line of words from one that is drawn already
        width = self.screen.width if self.screen is not None and line.tone else 0
        for text in wrapped(line.text, max(0, width - 1)):
            self._display.display(text, color=color, stderr=bool(bad), screen_only=True)
        (sys.stderr if bad else sys.stdout).flush()

    # plays and tasks

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Nothing is shown of that, but Ansible's own marker of check mode."""
        if self._finished:  # another playbook of the same command
            self._finished = False
            try:
                self._begin()
            except Exception as problem:
                self.give_up(problem)
        if self.screen is None or self.get_option("check_mode_markers"):
            super().v2_playbook_on_start(playbook)

    @_ours
    def v2_playbook_on_play_start(self, play: Any) -> None:
        """The next play, or the next batch of its hosts."""
        screen = self._shows
        self._play = play
        if screen.problem is not None:
            raise screen.problem
        screen.fleet.play_begins(self._wave(screen, play))

    def _wave(self, screen: Screen, play: Any) -> model.Wave:
        """The batch of hosts that begins. Ansible says it of no batch, but what hosts it has restricted itself to."""
        inventory = play.get_variable_manager()._inventory
        batch = [host.name for host in inventory.get_hosts(play.hosts, order=play.order)]
        everybody = [host.name for host in inventory.get_hosts(play.hosts, ignore_restrictions=True)]
        # all batches are one play; ansible-runner tells them apart by what it adds
        name = str(play._uuid).partition("_")[0]
        again, self._wave_of = name == self._wave_of, name
        return model.Wave(
            play=one_line(play.get_name()),
            number=screen.fleet.wave.number + 1 if again else 1,
            of=waves(list(play.serial or []), len(everybody)),
            hosts=batch,
            everybody=everybody,
        )

    @_ours
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Ansible keeps the name of the task, for what it may show of it."""
        super().v2_playbook_on_task_start(task, is_conditional)

    @_ours
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """The same for a handler."""
        super().v2_playbook_on_handler_task_start(task)

    @_ours
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host gets something to do."""
        screen = self._shows
        if screen.problem is not None:
            raise screen.problem
        screen.answered()
        screen.fleet.task_begins(host.get_name(), _title(task))
        if self.get_option("show_per_host_start"):
            super().v2_runner_on_start(host, task)

    @_ours
    def v2_playbook_on_include(self, included_file: Any) -> None:
        """That says nothing to an operator."""

    @_ours
    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play of nobody, unless it says so itself."""
        screen = self._shows
        if list(self._play.hosts or ()) == list(NOBODY):
            return
        screen.put([*screen.fleet.heading(), model.Line("no hosts matched", model.WARN)])

    @_ours
    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """The play ends here."""
        screen = self._shows
        screen.put([*screen.fleet.heading(), model.Line("no hosts are left: the play ends here", model.WARN)])

    @_ours
    def v2_playbook_on_vars_prompt(self, *args: Any, **kwargs: Any) -> None:
        """Somebody is asked something."""
        screen = self._shows
        screen.pause()

    # results

    def _end(self, screen: Screen, result: Any) -> Dict[str, Any]:
        """A task has ended for a host; its result. What it warns of is shown."""
        screen.fleet.task_ends(result._host.get_name())
        found: Dict[str, Any] = result._result
        self._handle_warnings(found)
        return found

    @_ours
    def v2_runner_on_ok(self, result: Any) -> None:
        """Changes and what was to be said are shown, and what our own modules say of the host."""
        screen = self._shows
        task, name = result._task, result._host.get_name()
        found = self._end(screen, result)
        if isinstance(task, TaskInclude):
            return
        facts = results.facts(_action(task), task.args, found, bool(task.check_mode))
        if "results" not in found:
            screen.put(screen.fleet.finds(name, facts))
        for host, why in results.waiting(_action(task), found).items():
            screen.fleet.waits(host, why)
        if found.get("_ansible_verbose_always"):
            self._says(screen, result, found)
        elif found.get("changed") and not facts.text and _action(task) not in results.TOLD:
            self._changed(screen, result)

    def _says(self, screen: Screen, result: Any, found: Dict[str, Any]) -> None:
        """What a task is there to say: a line where it is a text, and otherwise as Ansible shows it."""
        if "results" in found:  # each item has been shown
            return
        message = found.get("msg")
        if _action(result._task) in DEBUG and isinstance(message, str):
            screen.put(screen.fleet.says(result._host.get_name(), message))
            return
        screen.fleet.host(result._host.get_name()).last = ""
        self._quiet(False)
        try:
            super().v2_runner_on_ok(result)
        finally:
            self._quiet(True)

    def _changed(self, screen: Screen, result: Any) -> None:
        text = "changed: {0}".format(_title(result._task))
        screen.put(screen.fleet.heading() + screen.fleet.says(result._host.get_name(), text, model.CHANGED))

    @_ours
    def v2_runner_item_on_ok(self, result: Any) -> None:
        """An item of a loop; that something was changed is said of the whole task."""
        screen = self._shows
        found = result._result
        self._handle_warnings(found)
        if not isinstance(result._task, TaskInclude) and found.get("_ansible_verbose_always"):
            if isinstance(found.get("msg"), str) and _action(result._task) in DEBUG:
                self._says(screen, result, found)
                return
            self._quiet(False)
            try:
                super().v2_runner_item_on_ok(result)
            finally:
                self._quiet(True)

    @_ours
    def v2_runner_on_skipped(self, result: Any) -> None:
        """Only what it tells of the host."""
        screen = self._shows
        found = self._end(screen, result)
        if results.story(found) is not None:
            task = result._task
            facts = results.facts(_action(task), task.args, found, bool(task.check_mode))
            screen.put(screen.fleet.finds(result._host.get_name(), facts))

    @_ours
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """That makes no noise."""
        self._handle_warnings(result._result)

    @_ours
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """All of it."""
        screen = self._shows
        name, found = result._host.get_name(), result._result
        screen.fleet.task_ends(name)
        if not ignore_errors:
            told = results.story(found)
            screen.fleet.finds(name, results.facts(_action(result._task), result._task.args, found)._replace(text=""))
            screen.fleet.fails(name, told.result if told else model.FAILED, results.reason(found))
        self._heading(screen, result)
        if not self._explain(screen, result, NOT_DONE, ignore_errors):
            super().v2_runner_on_failed(result, ignore_errors=ignore_errors)

    @_ours
    def v2_runner_on_unreachable(self, result: Any) -> None:
        """All of it."""
        screen = self._shows
        name, found, ignored = result._host.get_name(), result._result, bool(result._task.ignore_unreachable)
        screen.fleet.task_ends(name)
        screen.fleet.fails(name, model.NO_ANSWER, results.reason(found), for_good=not ignored)
        self._heading(screen, result)
        if not self._explain(screen, result, UNREACHABLE, ignored):
            super().v2_runner_on_unreachable(result)

    def _heading(self, screen: Screen, result: Any) -> None:
        """The name of the play, unless it is one of ours, whose messages say enough."""
        if screen.fleet.wave.of != 1 or not _action(result._task).startswith(results.COLLECTION):
            screen.put(screen.fleet.heading())

    def _explain(self, screen: Screen, result: Any, how: str, ignored: bool) -> bool:
        """Show a failure whose message says all of it; whether it was one."""
        found = result._result
        if not results.is_plain(found):
            return False
        action = _action(result._task)
        ours = action.startswith(results.COLLECTION) and results.story(found) is not None
        if not (ours or action in SAYING or how == UNREACHABLE):  # theirs is in the message
            self._handle_exception(found, use_stderr=bool(self.get_option("display_failed_stderr")))
        self._handle_warnings(found)
        first, *others = results.explanation(found)
        label = one_line(self.host_label(result))
        lines = ["{0}: {1}{2}: {3}".format(label, how, " (ignored)" if ignored else "", first), *others]
        if not ignored:
            lines.append("  Task: {0}".format(_title(result._task)))
        screen.put(model.Line(text, model.WARN if ignored else model.BAD) for text in lines)
        if self.get_option("show_task_path_on_failure"):
            self._print_task_path(result._task)
        return True

    @_ours
    def v2_runner_item_on_failed(self, result: Any) -> None:
        """All of it, as Ansible has it."""
        screen = self._shows
        self._heading(screen, result)
        super().v2_runner_item_on_failed(result)

    @_ours
    def v2_runner_retry(self, result: Any) -> None:
        """Said once: what it waits for is the task's name."""
        screen = self._shows
        text = "waits: {0} (is tried again)".format(_title(result._task))
        screen.put(line._replace(passing=True) for line in screen.fleet.says(result._host.get_name(), text))

    @_ours
    def v2_runner_on_async_poll(self, result: Any) -> None:
        """That makes no noise."""

    @_ours
    def v2_runner_on_async_ok(self, result: Any) -> None:
        """The task says it."""

    @_ours
    def v2_on_file_diff(self, result: Any) -> None:
        """As Ansible shows it."""
        super().v2_on_file_diff(result)

    # the end

    @_ours
    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The table."""
        screen = self._shows
        tallies = {}
        for name in stats.processed:
            found = stats.summarize(name)
            tallies[name] = model.Tally(
                found["changed"], found["failures"], found["unreachable"], found["rescued"], found["ignored"]
            )
        screen.finish(screen.fleet.rows(tallies), screen.fleet.check)
        self.screen, self._finished = None, True
        self._quiet(False)
        if stats.custom and self.get_option("show_custom_stats"):
            for key in sorted(stats.custom):
                self._print(model.Line("{0}: {1}".format(one_line(key), self._dump_results(stats.custom[key]))))
        if screen.fleet.check and self.get_option("check_mode_markers"):
            self._display.banner("DRY RUN")


def _title(task: Any) -> str:
    """What a task is called, without its role."""
    return one_line(task.name or task.get_name())


def _action(task: Any) -> str:
    """The full name of a task's module."""
    return str(getattr(task, "resolved_action", None) or task.action)


def waves(serial: List[Any], hosts: int) -> int:
    """How many batches a play has: as PlaybookExecutor._get_serialized_batches makes them.

    :param serial: as the play says it.
    :param hosts: how many there are.
    """
    sizes, number, left = serial or [-1], 0, hosts
    while left > 0:
        size = int(pct_to_int(sizes[min(number, len(sizes) - 1)], hosts))
        number += 1
        if size <= 0:
            break
        left -= size
    return max(1, number)
