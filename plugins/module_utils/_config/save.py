# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Keeping in /cfg what is in /etc: judged by a rehearsal of the next start first, then written in one go.

Sources: pwd_mkdb(8), sshd(8).
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import os
import stat
from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import origins
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.burst import (
    Make,
    Tree,
    alone,
    copy_file,
    writable,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import rehearse, spelled
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import (
    CHANGED,
    DELETED,
    MASTER,
    NEW,
    NOTHING,
    Change,
    Etc,
    Places,
    files,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Result, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import kenv
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import first_of, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL

#: saved together or not at all: one without the others would not fit
TOGETHER = ((MASTER, "passwd", "pwd.db", "spwd.db"),)

#: commands that judge a file, which they get as their last argument. pwd_mkdb(8) -C verifies only
CHECKS: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
    ("ssh/sshd_config", ("/usr/sbin/sshd", "-t", "-f")),
    (MASTER, ("pwd_mkdb", "-C")),
)

#: left free in the dataset besides what is written (bytes)
SPARE = 1 << 20

#: what a file takes at least, where the file system does not say (bytes)
_FRAGMENT = 4096


def select(etc: Etc, found: Sequence[Change], names: Sequence[str], new: bool, delete: bool) -> List[Change]:
    """The changes that are to be saved.

    :param names: files or folders of /etc; none means all that changed.
    :param new: also files that neither /cfg nor the image has. One that is named is meant in any case.
    :param delete: take those out of /cfg that are not in /etc any more.
    :raises Refused: when a name means nothing, or what is never saved.
    """
    wanted = [etc.relative(name) for name in names]
    is_excluded = etc.excluded()
    for path in wanted:
        if is_excluded(path):
            raise Refused(
                "{0} is never saved".format(path),
                safe=NOTHING,
                todo="put what every host needs into the image; `nanozfs save` without that name saves the rest",
            )
        if not os.path.lexists(etc.at("etc", path)) and not os.path.lexists(etc.at("cfg", path)):
            raise Refused("there is no {0} in /etc".format(path), safe=NOTHING)
    wanted += [each for group in TOGETHER if set(group) & set(wanted) for each in group]
    chosen = []
    for change in found:
        named = any(change.path == path or change.path.startswith(path + "/") for path in wanted)
        if wanted and not named:
            continue
        meant = {CHANGED: True, NEW: new or named, DELETED: delete and change.origin == "cfg"}
        if meant[change.kind]:
            chosen.append(change)
    return chosen


def verify(runner: Runner, etc: Etc, chosen: Sequence[Change]) -> None:
    """Judge what is about to be saved, where a mistake could keep the host from coming up or from letting anybody in.

    The next start is rehearsed with and without it: what /cfg has wrong already is no reason to save nothing.

    :raises Refused: when a file does not pass, with what its judge says.
    """
    problems = []
    for change in chosen:
        for pattern, argv in CHECKS:
            if change.kind == DELETED or not fnmatch.fnmatchcase(change.path, pattern):
                continue
            result = runner.query(list(argv) + [etc.at("etc", change.path)])
            if result.rc != 0:
                problems.append("{0}: {1}".format(change.path, verdict(result)))
    sources = {each.path: None if each.kind == DELETED else etc.at("etc", each.path) for each in chosen}
    then = rehearse(runner, etc.places, sources)
    if then.broken:
        problems.append("the host would come up in recovery mode: {0}".format(then.broken))
    if then.left:
        mine, now = {spelled(each.path) for each in chosen}, rehearse(runner, etc.places, {})
        problems += [
            "{0}: the next start would leave it out: {1}".format(path, why)
            for path, why in then.left
            if path in mine or (path, why) not in now.left
        ]
    if problems:
        raise Refused(
            "not fit to be saved: {0}".format("; ".join(problems)),
            safe=NOTHING,
            todo="mend that in /etc and run this again",
        )


def verdict(result: Result) -> str:
    """What a command says that has judged a file and found it wrong."""
    said = (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()[0]
    return "{0} says: {1}".format(os.path.basename(result.argv[0]), said)


def check_memory_disk(etc: Etc, chosen: Sequence[Change]) -> None:
    """Refuse changes that :func:`check_fits` refuses."""
    sizes = {each.path: None if each.kind == DELETED else os.lstat(etc.at("etc", each.path)).st_size for each in chosen}
    check_fits(etc, sizes)


def check_fits(etc: Etc, changes: Mapping[str, Optional[int]]) -> None:
    """Refuse what would not fit into the memory disk of the next start: the host would come up in recovery mode.

    :param changes: by their paths the sizes of files that /cfg is going to have, in bytes; ``None`` for those that are
        taken out of it.
    :raises Refused: with the sizes.
    """
    sizes = {path: info.st_size for tree in ("base", "cfg") for path, info in files(getattr(etc.places, tree)).items()}
    for path, size in changes.items():
        if size is None:
            sizes.pop(path, None)
        else:
            sizes[path] = size
    disk = os.statvfs(etc.places.etc)
    unit = disk.f_frsize or _FRAGMENT
    needed, room = sum(-(-size // unit) * unit for size in sizes.values()), disk.f_blocks * unit
    if needed > room or (disk.f_files and len(sizes) > disk.f_files):
        raise Refused(
            "{0} files of {1} KiB would not fit into /etc, which has {2} KiB".format(
                len(sizes), needed >> 10, room >> 10
            ),
            safe=NOTHING,
            todo="save less, or build the image with a larger image_etc_size",
        )


def refuse_no_room(runner: Runner, name: str, needed: int, safe: str) -> None:
    """Refuse to write to a dataset what it has no room for.

    :param needed: bytes.
    :param safe: what is safe then.
    :raises Refused: with the sizes.
    """
    dataset = Zfs(runner).dataset(name)
    if dataset is None:
        raise Refused("the dataset {0} cannot be found".format(name), safe=safe)
    if dataset.available < needed:
        raise Refused(
            "{0} has {1} KiB available, {2} KiB are needed".format(name, dataset.available >> 10, needed >> 10),
            safe=safe,
            todo="make room in the pool: `zfs list -o space -r {0}`".format(name.split("/", maxsplit=1)[0]),
        )


class Cfg:
    """/cfg, which is mounted read-only and only open while something is written.

    :param runner: for mount(8) and zfs(8).
    :param etc: the trees.
    """

    def __init__(self, runner: Runner, etc: Etc) -> None:
        self.runner = runner
        self.etc = etc
        self.place = etc.places.cfg

    def dataset(self) -> str:
        """The dataset that is mounted on /cfg.

        :raises Refused: when there is none.
        """
        for line in self.runner.ask(["mount", "-p"], "list the mounted file systems").lines():
            fields = line.split()
            if len(fields) > 2 and fields[1] == self.place and fields[2] == "zfs":
                return fields[0]
        raise Refused(
            "no dataset is mounted on {0}".format(self.place),
            safe="nothing was written",
            todo="restart the host; look with `nanozfs status` why it has no configuration of its own",
        )

    def check_room(self, chosen: Sequence[Change]) -> None:
        """Refuse what the dataset has no room for; old and new version of a file are there together for a moment.

        :raises Refused: with the sizes.
        """
        sizes = [os.lstat(self.etc.at("etc", each.path)).st_size for each in chosen if each.kind != DELETED]
        sizes.append(len(self._notes(chosen) or b""))
        needed = sum(-(-size // _FRAGMENT) * _FRAGMENT for size in sizes) + SPARE
        refuse_no_room(self.runner, self.dataset(), needed, NOTHING)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Mounted for writing, for one at a time, and read-only again afterwards whatever happens.

        :raises Refused: when another save is at work.
        """
        with alone(self.place, NOTHING, "run this again"), writable(self.runner, self.place, NOTHING):
            yield

    def write(self, chosen: Sequence[Change]) -> None:
        """Put the files in place, and take out those that are not in /etc any more.

        :raises FleetError: when something fails; the error says what /cfg is then.
        """
        sources = [each.path for each in chosen if each.kind != DELETED]
        files: Dict[str, Make] = {path: functools.partial(copy_file, self.etc.at("etc", path)) for path in sources}
        gone = [each.path for each in chosen if each.kind == DELETED]
        files.update(origins.made(self._notes(chosen)))
        Tree(self.place, self._like).replace(files, gone, NOTHING, "run this again")

    def _notes(self, chosen: Sequence[Change]) -> Optional[bytes]:
        """What the files were made against, where that has to be noted."""
        gone = [each.path for each in chosen if each.kind == DELETED]
        return origins.after_write(self.etc.places, [each.path for each in chosen if each.kind != DELETED], gone)

    def _like(self, folder: str) -> Tuple[int, int, int]:
        """Mode and owners that a folder has in /etc."""
        info = os.lstat(self.etc.at("etc", folder))
        return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


def refuse_recovery(runner: Runner) -> None:
    """Refuse to take for the host's own what is in /etc in recovery mode.

    :raises Refused: unless the early boot hook found the pool and laid /cfg over /etc.
    """
    state = kenv(runner, "nanozfs.state")
    if state != NORMAL:
        raise Refused(
            "the host is in state {0}: what is in /etc is not its own configuration".format(state or "unknown"),
            safe=NOTHING,
            todo="`nanozfs status` says why; save when the host runs on its own data again",
        )


@dataclass(frozen=True)
class Wish:
    """What is to be saved; see :func:`select`."""

    names: Sequence[str] = ()
    new: bool = False
    delete: bool = False


#: what becomes of changes of /etc that nobody has saved, when the host is about to be restarted
STOP, SAVE, DROP = "stop", "save", "drop"
POLICIES = (STOP, SAVE, DROP)

#: how many files a message names
_NAMED = 5


class Loss(NamedTuple):
    """What of /etc a restart would take.

    :param changed: files that the next start brings back as they were.
    :param new: files that it does not bring back; many of them are made anew by whatever made them.
    """

    changed: List[Change]
    new: List[Change]

    def added(self, says: str, policy: str) -> str:
        """A sentence about what would be done, with what would become of the changes."""
        if not self.changed:
            return says
        fate = "would be saved" if policy == SAVE else "would be lost"
        return "{0}; unsaved changes in /etc {1}: {2}".format(says, fate, _names(self.changed))

    def warnings(self) -> List[str]:
        """What else goes."""
        if not self.new:
            return []
        return ["new in /etc and saved nowhere, so a restart takes it: {0}".format(_names(self.new))]


def _names(changes: Sequence[Change]) -> str:
    return first_of([printable(each.path) for each in changes], _NAMED)


def before_restart(
    runner: Runner, places: Places, policy: str, role: str, staged: bool = False, restores: bool = False
) -> Loss:
    """See to what in /etc is not saved, before a restart takes it.

    :param policy: one of :data:`POLICIES`; with :data:`SAVE` changes are saved, in the runner's check mode only judged.
    :param role: whose variables are named in messages: ``upgrade`` or ``rollback``.
    :param staged: a copy of /cfg takes its place at the restart, so that what is saved now would be lost with it.
    :param restores: the data of before takes its place, and /cfg with it.
    :raises Refused: when there is something, and nobody said what should become of it.
    :raises FleetError: when it cannot be saved.
    """
    if not os.path.isdir(places.base):
        return Loss([], [])  # its /etc is not made anew at a start
    found = Etc(places).changes()
    loss = Loss([each for each in found if each.kind == CHANGED], [each for each in found if each.kind == NEW])
    if not loss.changed or policy == DROP:
        return loss
    if policy == STOP:
        raise Refused(
            "files of /etc are not as the next start would make them, and a restart takes them: {0}".format(
                _names(loss.changed)
            ),
            safe="nothing was changed",
            todo="look at them with `nanozfs diff` on the host; keep what is in /etc with {0}_unsaved=save (as "
            "`nanozfs save` there does), or have what is in /cfg and the image with {0}_unsaved=drop".format(role),
        )
    if restores:
        raise Refused(
            "changes in /etc cannot be saved over a rollback with the data, which puts /cfg aside: {0}".format(
                _names(loss.changed)
            ),
            safe="nothing was changed",
            todo="copy what you need of them, and let them go with {0}_unsaved=drop; or roll back the system only "
            "(rollback_data=keep)".format(role),
        )
    if staged:
        raise Refused(
            "after the configuration for the new system was made, /etc was changed: {0}".format(_names(loss.changed)),
            safe="the trial was not begun, and nothing was changed",
            todo="run the play again, which makes it anew",
        )
    save(runner, places, Wish())
    return loss


def look_ahead(runner: Runner, places: Places, policy: str, role: str, restarts: bool, restores: bool = False) -> Loss:
    """Like :func:`before_restart`, changing nothing.

    :param restarts: whether there is going to be a restart at all.
    :raises Refused: when a restart would be refused.
    """
    if not restarts:
        return Loss([], [])
    return before_restart(runner.trying(), places, policy, role, restores=restores)


class Saved(NamedTuple):
    """What a save did, and what it left as it is."""

    saved: List[Change]
    left: List[Change]


def save(runner: Runner, places: Places, wish: Wish) -> Saved:
    """Keep in /cfg what in /etc the next start would not bring back.

    Everything is judged before anything is written. In the runner's check mode, nothing is.

    :raises FleetError: when it is refused or fails; the error says what /cfg is then.
    """
    refuse_recovery(runner)
    etc = Etc(places)
    found = etc.changes()
    chosen = select(etc, found, wish.names, wish.new, wish.delete)
    left = [each for each in found if each not in chosen]
    if not chosen:
        return Saved([], left)
    verify(runner, etc, chosen)
    cfg = Cfg(runner, etc)
    cfg.check_room(chosen)
    check_memory_disk(etc, chosen)
    if not runner.check_mode:
        with cfg.opened():
            cfg.write(chosen)
    return Saved(chosen, left)
