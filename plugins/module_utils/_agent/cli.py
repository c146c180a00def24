# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The command ``nanozfs``: arguments, exit statuses, and the one place where errors end.

Exit statuses: 0, done, or all is well; 1, there is a difference (``diff``), or the host needs attention (``status``);
2, wrong usage; 3, refused or failed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial
from typing import Any, Callable, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import codes, metrics, pool, status, trial
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.backups import ACTIONS, PRUNE, Backups, left_over
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.guard import Guard
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.recovery import Session
from ansible_collections.nanozfs.fleet.plugins.module_utils._agent.screen import Screen
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import drift, identity
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import Wish, refuse_recovery, save
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import (
    CHANGED,
    DELETED,
    NEW,
    Change,
    Etc,
    Places,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Execute, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay import server
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL

FINE, ATTENTION, FAILED = 0, 1, 3

#: where a relay finds the address of its repository, which may hold a password that no list of processes should show
UPSTREAM = "NANOZFS_RELAY_UPSTREAM"


class Agent:
    """The commands.

    :param execute: how to run one command.
    :param screen: where the answers go.
    :param places: where /etc and what it is made of are.
    :param clock: seconds since the epoch.
    """

    def __init__(self, execute: Execute, screen: Screen, places: Places, clock: Callable[[], float]) -> None:
        self.execute = execute
        self.screen = screen
        self.places = places
        self.clock = clock

    def runner(self, check_mode: bool = False) -> Runner:
        """For commands of this host."""
        return Runner(Guard(self.execute), check_mode)

    def status(self, given: argparse.Namespace) -> int:
        """How the host is."""
        found = status.collect(self.runner(), self.places, self.clock(), given.verify)
        if given.notice:
            notice = status.notice(found)
            if notice:
                self.screen.say(notice)
            return FINE
        self.screen.say(*([json.dumps(found, indent=1, sort_keys=True)] if given.json else status.render(found)))
        return ATTENTION if found["attention"] else FINE

    def metrics(self, given: argparse.Namespace) -> int:
        """The same in numbers; that they could be told is what counts, whatever they say."""
        now = self.clock()
        text = metrics.render(metrics.metrics(status.collect(self.runner(), self.places, now), now))
        if not given.write:
            self.screen.say(text.rstrip("\n"))
            return FINE
        try:
            with arriving(given.write, 0o644) as (_partial, file):  # whoever collects them is another user
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise FleetError(
                "the metrics cannot be written to {0}: {1}".format(given.write, error.strerror),
                safe="what was there is as it was",
                todo="name a file in a folder that is there and can be written to",
            )
        return FINE

    def commit(self, given: argparse.Namespace) -> int:
        """Keep what is on trial."""
        self.screen.say(trial.commit(self.runner(), self.clock, given.take_over))
        return FINE

    def revert(self, given: argparse.Namespace) -> int:
        """Take it back, and restart where that is needed."""
        runner = self.runner()
        done = trial.revert(runner, given.reason)
        self.screen.say(done.says)
        if done.restart:
            runner.change(["shutdown", "-r", "now"], "restart", safe="the host goes back at its next start")
        return FINE

    def reconcile(self, given: argparse.Namespace) -> int:
        """Finish what was interrupted, and let the medium know who this host is."""
        runner = self.runner()
        if kenv(runner, "nanozfs.state") == NORMAL:  # also on trial: it is the network that the host came up with
            problem = identity.remember(runner, self.places)
            if problem:
                self.screen.say(problem)
        done = trial.reconcile(runner, self.clock)
        if done or not given.quiet:
            self.screen.say(done or "there is nothing to finish")
        if kenv(runner, "nanozfs.state") == NORMAL:
            for line in left_over(runner, self.clock):
                self.screen.say(line)
        return FINE

    def diff(self, given: argparse.Namespace) -> int:
        """What the next start would not bring back."""
        refuse_recovery(self.runner())
        etc = Etc(self.places)
        wanted = [etc.relative(name) for name in given.path]
        if given.image:
            return self._differing(given, wanted, drift.overrides(self.places), partial(drift.text_of, self.places))
        return self._differing(given, wanted, etc.changes(), etc.text_of)

    def _differing(
        self, given: argparse.Namespace, wanted: Sequence[str], every: Sequence[Any], text: Callable[[Any], List[str]]
    ) -> int:
        """Show files that differ.

        :param wanted: those that are asked for; see :func:`within`.
        :param every: all of them; *text* says the lines in which one differs.
        """
        found = [each for each in every if within(each.path, wanted)]
        if given.json:
            self.screen.say(json.dumps([each._asdict() for each in found], indent=1))
        else:
            for each in found:
                self.screen.say(each.describe(), *(text(each) if given.text else []))
        return ATTENTION if any(each.kind != drift.SAME for each in found) else FINE

    def save(self, given: argparse.Namespace) -> int:
        """Keep it in /cfg."""
        done = save(self.runner(given.check), self.places, Wish(given.path, given.new, given.delete))
        if given.json:
            parts = {"saved": done.saved, "left": done.left}
            shown = {key: [each._asdict() for each in changes] for key, changes in parts.items()}
            self.screen.say(json.dumps(dict(shown, check=given.check), indent=1))
            return FINE
        would = "would save" if given.check else "saved"
        self.screen.say(*("{0}: {1}".format(would, each.describe()) for each in done.saved))
        if not done.saved:
            self.screen.say("there is nothing to save")
        self.screen.say(*_left(done.left))
        return FINE

    def recovery(self, given: argparse.Namespace) -> int:
        """The menu."""
        Session(Guard(self.execute), self.screen, self.places, self.clock).run()
        return FINE

    def relay(self, given: argparse.Namespace) -> int:
        """Let the hosts of the site have published images from here, until somebody ends it."""
        terms = server.Terms(
            given.upstream,
            given.address,
            given.port,
            given.folder,
            given.size << 20,
            given.rate,
            tuple(given.redirect_host),
            given.ca_file,
        )
        server.run(terms, self.screen.say)
        return FINE

    def backup(self, given: argparse.Namespace) -> int:
        """Show a backup host what there is, and record what it says of it."""
        return Backups(self.runner(), self.screen, self.clock).run(given.action, given.label)

    def zpool_upgrade(self, given: argparse.Namespace) -> int:
        """More features for the pool, where that locks nobody out."""
        done = pool.upgrade(self.runner(given.check), given.compatibility)
        lines = [("would be: " if given.check else "") + each for each in done]
        self.screen.say(*(lines or ["there is nothing to enable"]))
        return FINE

    def decode(self, given: argparse.Namespace) -> int:
        """What a code says; needs no host."""
        facts = codes.decode(" ".join(given.code))
        if given.json:
            self.screen.say(json.dumps(dict(facts._asdict(), reason=codes.REASONS[facts.reason][0])))
        else:
            self.screen.say(facts.describe())
        return FINE


def within(path: str, wanted: Sequence[str]) -> bool:
    """Whether a path is one of some files, or in one of some folders; all are where none are named."""
    return not wanted or any(path == each or path.startswith(each + "/") for each in wanted)


def _left(left: Sequence[Change]) -> List[str]:
    """What was not saved, and how it can be."""
    lines = []
    for kind, words in (
        (CHANGED, "changed, not named: {0}"),
        (NEW, "new, not saved unless named or with --new: {0}"),
        (DELETED, "deleted, comes back at the next start (from /cfg not with --delete): {0}"),
    ):
        names = [each.path for each in left if each.kind == kind]
        if names:
            lines.append(words.format(", ".join(names)))
    return lines or [""]


def _number(least: int, most: int = 1 << 40) -> Callable[[str], int]:
    """What takes a number of the command line that is within bounds."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError("{0!r} is no number from {1} on".format(text, least))
        return int(text)

    return number


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(
        prog="nanozfs",
        description="Looks after a host that runs from an image of nanozfs.fleet.",
        epilog="Exit status: 0 fine, 1 needs attention or differs, 2 wrong usage, 3 refused or failed.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, words: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=words, description=words)

    each = command("status", "how the host is, and what to do next")
    each.add_argument("--json", action="store_true", help="for programs")
    each.add_argument("--verify", action="store_true", help="hash the slices, which reads all of them")
    each.add_argument("--notice", action="store_true", help="only what who logs in should know; mostly nothing")
    each = command("metrics", "how the host is, in numbers for Prometheus")
    each.add_argument("--write", metavar="FILE", help="into a file, which a reader finds as it was or complete")
    each = command("commit", "keep the system that is on trial")
    each.add_argument("--take-over", action="store_true", help="also from a play that is at work on it")
    each = command("revert", "take the trial back, and restart")
    each.add_argument("--reason", default="asked for on the host", help="why, for the journal")
    each = command("reconcile", "finish an interrupted commit, tell the medium name and network; run at every start")
    each.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    each = command("diff", "what in /etc the next start would not bring back")
    each.add_argument("path", nargs="*", help="only these files or folders of /etc")
    each.add_argument("--image", action="store_true", help="what /cfg has, and how that differs from the image")
    each.add_argument("--text", action="store_true", help="show the lines that differ")
    each.add_argument("--json", action="store_true", help="for programs")
    each = command("save", "keep in /cfg what was changed in /etc")
    each.add_argument("path", nargs="*", help="only these files or folders of /etc, new ones as well")
    each.add_argument("--check", action="store_true", help="judge and show, but write nothing")
    each.add_argument("--new", action="store_true", help="also files that neither /cfg nor the image has")
    each.add_argument("--delete", action="store_true", help="take out of /cfg what is not in /etc any more")
    each.add_argument("--json", action="store_true", help="for programs")
    command("recovery", "a menu for somebody at the console")
    each = command("relay", "serve the images of a repository to the hosts of a site, each fetched once")
    upstream = os.environ.get(UPSTREAM) or None
    each.add_argument(
        "--upstream",
        default=upstream,
        required=upstream is None,
        metavar="URL",
        help="the repository; also in the environment, as {0}".format(UPSTREAM),
    )
    each.add_argument("--address", default="0.0.0.0", help="where to listen (all addresses; :: for IPv6)")
    each.add_argument("--port", type=_number(1, 65535), default=8480, help="(8480)")
    each.add_argument("--folder", default="/var/nanozfs-relay", help="for what was fetched (/var/nanozfs-relay)")
    each.add_argument("--size", type=_number(1), default=4096, metavar="MIB", help="how much that may be (4096)")
    each.add_argument("--rate", type=_number(1), metavar="BYTES", help="the most to fetch in a second")
    each.add_argument("--redirect-host", action="append", default=[], help="the repository may redirect to it")
    each.add_argument("--ca-file", metavar="FILE", help="certificates to trust for https, in place of the system's")
    each = command("backup", "the host's side of a backup; what a backup host asks for comes by serve")
    each.add_argument("action", choices=ACTIONS, help="serve is what the key of a backup host runs")
    each.add_argument("label", nargs="?", help="of the backup host; not with {0}".format(PRUNE))
    each = command("zpool-upgrade", "enable features of the pool that every system of the medium knows")
    each.add_argument(
        "--compatibility", default="", metavar="SET", help="what the pool may have; see zpool-features(7)"
    )
    each.add_argument("--check", action="store_true", help="judge and show, but change nothing")
    each = command("decode", "what the code on a status screen says")
    each.add_argument("code", nargs="+", help="six characters, with or without blanks")
    each.add_argument("--json", action="store_true", help="for programs")
    return top


def main(
    argv: Optional[Sequence[str]],
    execute: Execute,
    screen: Screen,
    places: Places = Places(),  # noqa: B008 - it cannot be changed
    clock: Callable[[], float] = time.time,
) -> int:
    """Run one command.

    :param argv: its arguments; by default those of the process.
    :returns: the exit status.
    """
    given = parser().parse_args(argv)
    agent = Agent(execute, screen, places, clock)
    try:
        return int(getattr(agent, given.command.replace("-", "_"))(given))
    except FleetError as error:
        screen.complain(error)
        return FAILED
