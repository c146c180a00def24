# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Bringing the configuration of an installed host to what its inventory says.

Everything is judged before anything is written. What may cut the host off goes on trial, and everything else of the
same run with it: a run is one change, and is kept or taken back as a whole.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import trees
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rules import HOST_KEY, ORIGINS, PUBLIC_KEY
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import (
    SPARE,
    TOGETHER,
    check_fits,
    refuse_no_room,
    refuse_recovery,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import MASTER, Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure import effects, judges, overlay, trial
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.effects import RC_LOCAL
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.trial import Change
from ansible_collections.nanozfs.fleet.plugins.module_utils._configure.wish import Wish
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import HOLD_TAG, Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._install import configuration
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.configuration import (
    Configuration,
    File,
    as_it_is,
    is_right,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry, is_private, merged
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import restart, snapshot
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import CLOSED, JournalStore

_SAFE = "nothing was changed"
WHERE = "the variables configure_*"

#: begins the names of the snapshots of /cfg that are taken before it is changed
SNAPSHOT = "nanozfs-configure-"

#: a line that is never shown, in whatever file: what it says of itself
_SECRET = re.compile(r"pass|secret|psk|private|token|key|auth|cred|community", re.IGNORECASE)
_HIDDEN = "(a line that may hold a secret is not shown)"

#: files in which such words are the names of settings, and never come with a secret
_HARMLESS = (
    "ssh/sshd_config",
    "ssh/authorized_keys.d/*",
    "hosts",
    "resolv.conf",
    "group",
    "mail/aliases",
    "sysctl.conf",
)

#: what is no setting of anybody's inventory: the host's own key, and what pwd_mkdb(8) makes
_OWN = (HOST_KEY, PUBLIC_KEY, ORIGINS, "passwd", "pwd.db", "spwd.db", "mail/aliases.db")

#: most lines and bytes of a file that is shown
_LONGEST, _LARGEST = 4000, 1 << 18


@dataclass
class Outcome:
    """What was done, or in check mode would be.

    :param state: ``same``, ``changed``, or ``trial``: it is about to be in force, and has to be confirmed.
    :param why: what of the change may cut the host off.
    :param unaccounted: files of /cfg that no inventory names.
    """

    state: str = "same"
    changed: List[str] = field(default_factory=list)
    why: List[str] = field(default_factory=list)
    commands: List[str] = field(default_factory=list)
    pending: List[str] = field(default_factory=list)
    unaccounted: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)
    diff: List[Dict[str, str]] = field(default_factory=list)
    token: str = ""
    snapshot: str = ""


class Work:
    """One call for one host.

    :param pool: its system pool.
    :param seconds: how long a trial waits for its confirmation.
    :param keep: how many of the snapshots that were taken before changes are kept.
    """

    def __init__(self, runner: Runner, wish: Wish, places: Places, pool: str, seconds: int, keep: int) -> None:
        self.runner = runner
        self.wish = wish
        self.places = places
        self.pool = pool
        self.seconds = seconds
        self.number = keep
        self.configuration = Configuration(runner, places, pool, installed=True)

    def run(
        self, launch: Callable[[trial.Trial], None] = trial.start, clock: Callable[[], float] = time.time
    ) -> Outcome:
        """Do it, or in check mode say what would be done.

        :param launch: begins a trial.
        :param clock: seconds since the epoch, for the name of the snapshot.
        :raises FleetError: at the first that fails, or cannot be.
        """
        with contextlib.ExitStack() as held:
            with leases.locked(self.runner.check_mode):
                self._refuse_host()
                files = self._wanted()
                change, outcome = self._change(files)
                if outcome.state == "same":
                    return outcome
                self._judge(change)
                if self.runner.check_mode:
                    return outcome
                held.enter_context(self.configuration.alone())
                self._judge_room(change)
                outcome.snapshot = self._snapshot(clock())
                if outcome.state == "changed":
                    self._write(change, outcome)
            if outcome.state == "trial":
                # the process of the trial shares every lock that is held now: that of /cfg it must, no other
                self._begin(change, outcome, launch)
        return outcome

    def _refuse_host(self) -> None:
        """Refuse a host whose configuration is not to be changed now.

        :raises Refused: with the reason.
        """
        refuse_recovery(self.runner)
        if _host.import_hung(self.runner):
            raise Refused("the import of the pool hangs in the kernel", safe=_SAFE, todo="restart the host")
        journal = JournalStore(Zfs(self.runner), self.pool).read()
        if journal.phase not in CLOSED:
            raise Refused(
                "the host is in the middle of an upgrade (phase {0})".format(journal.phase),
                safe=_SAFE,
                todo="finish that first: the playbook status says what it is, commit keeps it, abandon gives it up",
            )
        left = trial.under_way(self.runner)
        if left is not None:
            raise Refused(
                "another configuration is on trial on this host",
                safe="it goes back by itself in {0:.0f} seconds, unless somebody confirms it".format(left),
                todo="run the play again then",
            )

    def _read(self, path: str, *roots: str) -> str:
        """The text of a file in the first tree that has it; empty where none has."""
        for root in roots:
            with readable():
                found = as_it_is(path, root)
            if found is not None and not found.link:
                return found.content.decode("utf-8", "surrogateescape")
        return ""

    def _wanted(self) -> List[File]:
        """The files as they shall be."""
        wish, cfg, base = self.wish, self.places.cfg, self.places.base
        laid: Dict[str, Tuple[str, int]] = {}
        if wish.users or wish.groups:
            own = self._read(MASTER, cfg), self._read(overlay.GROUP, cfg)
            shipped = self._read(MASTER, base), self._read(overlay.GROUP, base)
            people, bands = overlay.accounts(own, shipped, wish.users, wish.groups)
            if wish.users:
                laid[MASTER] = people, 0o600
            laid[overlay.GROUP] = bands, 0o644
        if wish.sshd or wish.sshd_match:
            image = self._read(overlay.SSHD, base)
            overlay.refuse_lost(self._read(overlay.SSHD, cfg), image, wish.sshd, wish.sshd_match)
            laid[overlay.SSHD] = overlay.sshd(image, wish.sshd, wish.sshd_match), 0o644
        if wish.aliases:
            laid[overlay.ALIASES] = overlay.aliases(self._read(overlay.ALIASES, cfg, base), wish.aliases), 0o644
        entries = [
            Entry(path, text.encode("utf-8", "surrogateescape"), mode, source=WHERE)
            for path, (text, mode) in laid.items()
        ]
        found = configuration.resolve(merged([*wish.files, *entries], WHERE))
        # what lets backup hosts in is in no inventory of files: it comes to a host by a way of its own
        return configuration.with_backup_hosts(found, cfg)

    def _change(self, files: Sequence[File]) -> Tuple[Change, Outcome]:
        """What is to be changed, and what that means."""
        places, outcome = self.places, Outcome()
        todo = [each for each in files if not is_right(each, places.cfg) or not is_right(each, places.etc)]
        gone = [path for path in self.wish.absent if os.path.lexists(os.path.join(places.cfg, path))]
        for path in gone:
            self._refuse_kept(path)
        back, etc_gone = [], []
        for path in gone:
            image = as_it_is(path, places.base)
            if image is not None:
                back.append(image)
            elif os.path.lexists(os.path.join(places.etc, path)):
                etc_gone.append(path)
        outcome.unaccounted = self._unaccounted(files)
        if not todo and not gone:
            return Change(()), outcome
        paths = [each.path for each in todo] + gone
        before = configuration.settings_of(self._read(RC_LOCAL, places.etc))
        after = before
        for each in todo:
            if each.path == RC_LOCAL:
                after = configuration.settings_of(each.content.decode("utf-8", "surrogateescape"))
        after = {} if RC_LOCAL in gone else after
        settings = effects.changed_settings(before, after)
        below: Dict[str, str] = {}
        rows = effects.given(self.wish.services)
        for name in effects.RC_BELOW:
            below.update(configuration.settings_of(self._read(name, places.etc)))
        wanted, outcome.pending = effects.effects(paths, settings, {**below, **after}, rows)
        undone, _left = effects.effects(paths, settings, self._enabled_before({**below, **before}, settings), rows)
        also = [each for group in TOGETHER for each in group if group[0] in paths and each != group[0]]
        outcome.changed = sorted(paths)
        outcome.commands = [" ".join(each.argv) for each in wanted]
        outcome.pending += [path for path in paths if effects.matches(path, effects.AT_START)]
        outcome.why = effects.on_trial(paths, settings, self.wish.trial)
        outcome.why += [path for path in paths if path == RC_LOCAL and not self._is_settings(todo)]
        untried = effects.untried(outcome.pending)
        if untried:
            outcome.warnings.append(
                "{0}: only the next start of the host reads that, so no trial can show that the host is reached with "
                "it; have the console at hand then".format(", ".join(untried))
            )
        outcome.state = "trial" if outcome.why else "changed"
        outcome.diff = [difference(each, self._as_now(each.path), self.wish.shown) for each in todo] + [
            {"before_header": path, "before": "in /cfg\n", "after_header": path, "after": ""} for path in gone
        ]
        unsaved = sorted(each.path for each in todo if self.configuration.is_unsaved(each))
        self._refuse_unsaved(unsaved)
        if unsaved:
            outcome.warnings.append(
                "{0} had been changed on the host and not saved; the inventory's version takes its place".format(
                    ", ".join(unsaved)
                )
            )
        return Change(todo, gone, back, etc_gone, also, wanted, undone), outcome

    def _refuse_unsaved(self, unsaved: Sequence[str]) -> None:
        """Refuse to take from a file what nobody saved, where the inventory says only a part of it.

        What the image has is nobody's change: /cfg is only newer than /etc then.

        :raises Refused: with the files.
        """
        found = [
            path
            for path in unsaved
            if path in (MASTER, overlay.GROUP, overlay.ALIASES)
            and self._read(path, self.places.etc) != self._read(path, self.places.base)
        ]
        if found:
            raise Refused(
                "{0} of /etc had been changed on the host and not saved, and that would be lost".format(
                    ", ".join(found)
                ),
                safe=_SAFE,
                todo="look at it with `nanozfs diff` on the host; keep it with `nanozfs save {0}`, or undo it there, "
                "and run the play again".format(" ".join("/etc/" + path for path in found)),
            )

    def _refuse_kept(self, path: str) -> None:
        """Refuse to take out what is no file of anybody's inventory.

        :raises Refused: for a folder, what is beyond a link, the host's own key, and what pwd_mkdb(8) makes.
        """
        ways = [os.path.join(self.places.cfg, parent) for parent in trees.parents(path)]
        full = os.path.join(self.places.cfg, path)
        why = ""
        if path in _OWN:
            why = "it is the host's own, and is made by it"
        elif any(os.path.islink(each) for each in ways):
            why = "a link is in the way"
        elif os.path.isdir(full) and not os.path.islink(full):
            why = "it is a folder, and only files are taken out"
        if why:
            raise Refused(
                "{0} in configure_absent cannot be taken out of {1}: {2}".format(path, self.places.cfg, why),
                safe=_SAFE,
                todo="take it out of configure_absent",
            )

    def _is_settings(self, files: Sequence[File]) -> bool:
        """Whether the host's own settings, those of before and those that come, are nothing but settings."""
        texts = [self._read(RC_LOCAL, self.places.etc)]
        texts += [each.content.decode("utf-8", "surrogateescape") for each in files if each.path == RC_LOCAL]
        return all(effects.is_settings(text) for text in texts)

    @staticmethod
    def _enabled_before(values: Dict[str, str], settings: Sequence[str]) -> Dict[str, str]:
        """The settings of before, with a service off that a change switches on and nobody had."""
        return {**{name: "NO" for name in settings if name.endswith("_enable")}, **values}

    def _as_now(self, path: str) -> Optional[File]:
        """A file as the next start would bring it."""
        for root in (self.places.cfg, self.places.base):
            try:
                found = as_it_is(path, root)
            except OSError:  # a folder or the like, which is refused when it is written
                continue
            if found is not None:
                return found
        return None

    def _unaccounted(self, files: Sequence[File]) -> List[str]:
        """Files of /cfg that no inventory names. They are told, and stay."""
        known = {*(each.path for each in files), *self.wish.known, *self.wish.absent, *_OWN}
        found = trees.files(self.places.cfg)
        return sorted(path for path in found if path not in known and not path.startswith(trees.STAGING + "/"))

    def _judge(self, change: Change) -> None:
        judges.judge(self.runner, change.files, judges.given(self.wish.checks))
        configuration.judge(self.runner, change.files, self.places, change.gone, WHERE)

    def _judge_room(self, change: Change) -> None:
        """Refuse what /cfg or the memory disk of /etc has no room for.

        In /cfg the old and the new version of a file are there together for a moment.
        """
        sizes: Dict[str, Optional[int]] = dict.fromkeys(change.gone)
        sizes.update((each.path, len(each.content)) for each in change.files)
        check_fits(trees.Etc(self.places), sizes)
        needed = sum(len(each.content) + 4096 for each in change.files) + SPARE
        refuse_no_room(self.runner, self.configuration.dataset, needed, _SAFE)

    def _snapshot(self, now: float) -> str:
        """Take a snapshot of /cfg, hold it, and let the oldest of its kind go."""
        zfs, dataset = Zfs(self.runner), self.configuration.dataset
        tag = SNAPSHOT + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-" + secrets.token_hex(2)
        snapshot.ensure_present(zfs, snapshot.Wanted(dataset, tag, hold=HOLD_TAG))
        snapshot.prune(zfs, dataset, False, snapshot.Pruning(SNAPSHOT, keep=self.number), now, HOLD_TAG)
        return "{0}@{1}".format(dataset, tag)

    def _begin(self, change: Change, outcome: Outcome, launch: Callable[[trial.Trial], None]) -> None:
        outcome.token = secrets.token_hex(16)
        boot = restart.boot_id(self.runner)
        launch(trial.Trial(self.configuration, change, outcome.token, boot, float(self.seconds)))

    def _write(self, change: Change, outcome: Outcome) -> None:
        trial.keep(self.configuration, change)
        done = trial.apply(self.configuration, change)
        outcome.warnings += untold([*done.failed, *done.odd])


def difference(file: File, before: Optional[File], shown: Sequence[str]) -> Dict[str, str]:
    """Both sides of a file that changes, for people: the lines that do, where nothing in them can be a secret.

    Of other files, of what not everybody on the host may read, and of what is no text it is only said that it changes.

    :param before: the file as it was, where there was one.
    :param shown: patterns of files that may be shown.
    """
    sides = ["" if each is None else each.describe() + "\n" for each in (before, file)]
    old, new = _lines(before), _lines(file)
    may = effects.matches(file.path, shown) and all(each is None or _is_open(each) for each in (before, file))
    if may and old is not None and new is not None and max(len(old), len(new)) <= _LONGEST:
        lines = _only_changed(old, new, effects.matches(file.path, _HARMLESS))
        sides = [head + changed for head, changed in zip(sides, lines)]
    elif sides[0] == sides[1]:
        sides = [sides[0] + "  content: as before\n", sides[1] + "  content: as the inventory says\n"]
    return {"before_header": file.path, "before": sides[0], "after_header": file.path, "after": sides[1]}


def _is_open(file: File) -> bool:
    """Whether everybody on the host may read a file anyway."""
    open_for_all = bool(file.mode & stat.S_IROTH) and not is_private(file.path, file.content)
    return open_for_all and not file.link and len(file.content) <= _LARGEST


def _lines(file: Optional[File]) -> Optional[List[str]]:
    """The lines of a text; ``None`` for what is none."""
    try:
        return [] if file is None else file.content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None


def _only_changed(old: List[str], new: List[str], harmless: bool) -> Tuple[str, str]:
    """The lines that are in only one of two texts.

    :param harmless: whether they can be shown whatever they say.
    """
    found: Tuple[List[str], List[str]] = [], []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, first, last, start, end in matcher.get_opcodes():
        if kind != "equal":
            found[0].extend(old[first:last])
            found[1].extend(new[start:end])
    hidden = [[_HIDDEN if _SECRET.search(line) and not harmless else line for line in side] for side in found]
    return "".join(line + "\n" for line in hidden[0]), "".join(line + "\n" for line in hidden[1])


def untold(commands: Sequence[str]) -> List[str]:
    """What there is to say of commands that failed after the files were in place."""
    if not commands:
        return []
    return ["the files are in place, and not every service could be told: {0}".format("; ".join(commands))]


def result_of(outcome: Outcome) -> Dict[str, Any]:
    """For the module."""
    return {
        "changed": outcome.state != "same",
        "state": outcome.state,
        "files": outcome.changed,
        "trial": outcome.why,
        "commands": outcome.commands,
        "pending": outcome.pending,
        "unaccounted": outcome.unaccounted,
        "warnings": outcome.warnings,
        "diff": outcome.diff,
        "token": outcome.token,
        "snapshot": outcome.snapshot,
    }
