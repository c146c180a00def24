# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a host shows a backup host: one snapshot of everything, mounted read-only as one tree that looks like the host.

Each pull has a snapshot of its own, taken in one instant when the pull begins, so nothing that is read is older than
the pull or of another moment than the rest. It is held, so that nobody destroys it meanwhile, and gone afterwards. The
snapshot of a child is mounted over its empty folder in that of its parent: one rsync of the tree reads both.

What is left behind by a restart or a hand is found by what the system says, and not by what was noted: mounts by their
place, snapshots by their name. Everything is per backup host (its *label*), so two of them never meet.

Sources: mount(8), ``-t zfs`` with a snapshot; ``zfs_domount()`` of OpenZFS's ``module/os/freebsd/zfs/zfs_vfsops.c``: a
snapshot is mounted read-only and without a ``.zfs`` folder of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import facts
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.facts import Left, Part
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import (
    FAILED,
    POLICY,
    SKIP,
    TAKE,
    Record,
    Records,
    Said,
    check_label,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving, waited_for
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.kernel import sysctl
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.mounts import mounts as listed
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import MADE_BY, MAKER, Dataset, Value, Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import journal as journals
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease, snapshot
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, TRIAL, state_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look

PREFIX = "nanozfs-backup-"

#: a pull that was cut goes on with the same snapshot for so long (seconds since the start of the first)
RESUME = 12 * 3600

#: how long a pull of which nothing is heard is taken to be at work (seconds)
FRESH = 600

#: how long a call waits for another one of the same backup host (seconds)
PATIENCE = 30.0

STATE, LOCK, READER, TREE = "exposure.json", "lock", "reader.lock", "tree"

_TAG = re.compile(re.escape(PREFIX) + r"(?P<label>[a-z0-9][a-z0-9._-]{0,39})-\d{8}T\d{6}Z-[0-9a-f]{4}\Z")

#: the journal is between two systems: the host may restart any minute
_RESTARTING = (journals.ARMED, journals.REVERTING)

_NOTHING = "nothing was changed"


def hold_tag(label: str) -> str:
    """What the snapshots for a backup host are held by."""
    return PREFIX + label


def label_of(tag: str) -> Optional[str]:
    """The backup host that a snapshot was taken for; ``None`` for all other snapshots.

    :param tag: the part after the @.
    """
    match = _TAG.match(tag)
    return match.group("label") if match else None


def new_tag(label: str, now: float) -> str:
    """The name of a new snapshot, without dataset and @."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0, now)))
    return "{0}{1}-{2}-{3}".format(PREFIX, label, stamp, secrets.token_hex(2))


def place() -> str:
    """The folder that has one folder for each backup host. A start empties it (rc.d/cleanvar)."""
    return os.path.join(job.RUN_DIR, "backup")


def mounts(runner: Runner) -> List[Tuple[str, str]]:
    """What of ZFS is mounted where, in the order in which it was mounted."""
    return [(each.what, each.where) for each in listed(runner, "zfs")]


def choose(
    datasets: Sequence[Dataset], mounted: Sequence[Tuple[str, str]], policies: Mapping[str, Value]
) -> Tuple[List[Part], List[Left]]:
    """What is shown, parents first, and what is left out.

    :param datasets: of the whole pool.
    :param mounted: as of :func:`mounts`.
    :param policies: the property :data:`records.POLICY` by dataset.
    """
    where = dict(reversed(mounted))
    parts: List[Part] = []
    left: List[Left] = []
    for each in datasets:
        aside = journals.root_of(each.pool) + "/failed"
        if (each.name + "/").startswith(aside + "/"):
            continue  # what transactions put aside; a backup of before has it
        nowhere = each.mountpoint == "none"
        if policies[each.name].text == SKIP:
            left.append(Left(each.name, "{0}={1}".format(POLICY, SKIP), True))
        elif each.kind != "filesystem":
            left.append(Left(each.name, "it is a {0}, which has no files to read".format(each.kind), True))
        elif each.name not in where:
            why = "it is not meant to be mounted" if nowhere else "it is not mounted"
            left.append(Left(each.name, why, not nowhere))
        elif not where[each.name].strip("/"):
            left.append(Left(each.name, "it is mounted over the whole host", True))
        else:
            parts.append(Part(each.name, each.guid, where[each.name].strip("/")))
    return sorted(parts, key=lambda part: part.path.split("/")), left


def strange(policies: Mapping[str, Value]) -> List[str]:
    """What was set on datasets that means nothing."""
    return [
        "{0} has {1}={2!r}, which is neither {3} nor {4}: it is backed up".format(
            name, POLICY, value.text[:40], SKIP, TAKE
        )
        for name, value in sorted(policies.items())
        if value.own and value.text not in (SKIP, TAKE)
    ]


@dataclass(frozen=True)
class Exposure:
    """A snapshot that is shown to a backup host.

    ``begun`` and ``touched`` are in seconds since the epoch, for people; what counts are ``since`` and ``heard``, in
    seconds from the start of the host that ``boot`` names, which no clock that is set changes. ``lent`` is for one that
    was taken for one call alone, see :meth:`Exposing.lent`.
    """

    label: str
    tag: str
    pool: str
    boot: str
    begun: int
    since: float
    touched: int
    heard: float
    trial: bool
    txn: str
    datasets: Tuple[Part, ...]
    left: Tuple[Left, ...] = ()
    lent: bool = False

    def as_dict(self) -> Dict[str, Any]:
        """As it is kept."""
        return dict(
            self.__dict__,
            datasets=[part._asdict() for part in self.datasets],
            left=[each._asdict() for each in self.left],
        )


def _parse(text: str) -> Optional[Exposure]:
    """What was kept; ``None`` where that makes no sense, and then there is nothing to go on with."""
    try:
        values = json.loads(text)
        values["datasets"] = tuple(Part(**each) for each in values["datasets"])
        values["left"] = tuple(Left(**each) for each in values.get("left", ()))
        found = Exposure(**values)
        numbers = (found.begun, found.since, found.touched, found.heard)
        return found if all(isinstance(each, (int, float)) for each in numbers) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@dataclass(frozen=True)
class Begun:
    """What a backup host may read from now on."""

    exposure: Exposure
    root: str
    resumed: bool
    notes: Sequence[str]
    host: Mapping[str, str]

    def as_dict(self) -> Dict[str, Any]:
        """What a backup host is told."""
        return {
            "tag": self.exposure.tag,
            "root": self.root,
            "begun": self.exposure.begun,
            "resumed": self.resumed,
            "trial": self.exposure.trial,
            "left_out": [{"dataset": each.dataset, "why": each.why} for each in self.exposure.left if each.told],
            "notes": list(self.notes),
            "host": dict(self.host),
        }


class Exposing:
    """What is shown to one backup host.

    :param clock: seconds since the epoch.
    """

    def __init__(self, runner: Runner, label: str, clock: Callable[[], float] = time.time) -> None:
        self.runner = runner
        self.label = check_label(label)
        self.clock = clock
        self.zfs = Zfs(runner)
        self.folder = os.path.join(place(), self.label)
        self.root = os.path.join(self.folder, TREE)

    # what is kept

    def _at(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def read(self) -> Optional[Exposure]:
        """What is kept of it, of this start of the host or an earlier one."""
        try:
            with open(self._at(STATE), encoding="ascii", errors="replace") as file:
                found = _parse(file.read())
        except OSError:
            return None
        return found if found is not None and found.label == self.label else None

    def _keep(self, exposure: Exposure) -> None:
        try:
            with arriving(self._at(STATE)) as (_partial, file):
                file.write(json.dumps(exposure.as_dict()).encode("ascii"))
        except OSError as error:
            raise FleetError("{0} cannot be written: {1}".format(self._at(STATE), error.strerror))

    def _over(self) -> None:
        """Forget what was begun."""
        if not self.runner.check_mode:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(STATE))

    def touch(self, exposure: Exposure) -> Exposure:
        """Note that something was heard of the backup host."""
        touched = replace(exposure, touched=int(self.clock()), heard=lease.moment(self.runner).uptime)
        self._keep(touched)
        return touched

    @contextlib.contextmanager
    def locked(self, patience: float = PATIENCE) -> Iterator[None]:
        """One call at a time; in check mode, in which nothing is changed, there is no lock.

        :raises Refused: when another one is at work for longer.
        """
        if self.runner.check_mode:
            yield
            return
        busy = Refused(
            "another call of the backup host {0} is at work on this host".format(self.label),
            safe=_NOTHING,
            todo="wait for it (`fstat {0}` on the host says who it is)".format(self._at(LOCK)),
        )
        with waited_for(self.folder, LOCK, 0o700, patience, busy):
            yield

    def reading(self) -> bool:
        """Whether an rsync of the backup host reads: it has a lock from its first moment to its last."""
        return _is_locked(self._at(READER))

    def reader(self) -> int:
        """The lock of an rsync, for its process; it ends with the process, however that ends (flock(2)).

        :returns: the handle, which an exec(2) hands on.
        """
        handle = os.open(self._at(READER), os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(handle, True)
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle

    # what the system says

    def problem(self, exposure: Exposure, young: bool = True) -> str:
        """Why nobody can go on with what was begun; empty where somebody can.

        :param young: it must not be older than :data:`RESUME` either.
        """
        now = lease.moment(self.runner)
        if exposure.lent:
            return "it was taken to compare a backup with, and not for a pull"
        if exposure.boot != now.boot:
            return "the host was restarted since"
        if young and now.uptime - exposure.since > RESUME:
            return "it is older than {0} hours".format(RESUME // 3600)
        there = set(mounts(self.runner))
        for part in exposure.datasets:
            if ("{0}@{1}".format(part.dataset, exposure.tag), os.path.join(self.root, part.path)) not in there:
                return "the snapshot of {0} is not mounted any more".format(part.dataset)
        kept = {each.dataset for each in self.zfs.snapshots(exposure.pool, recursive=True) if each.tag == exposure.tag}
        gone = [part.dataset for part in exposure.datasets if part.dataset not in kept]
        return "the snapshot of {0} is not there any more".format(gone[0]) if gone else ""

    def shown(self) -> Exposure:
        """What the backup host may read now.

        :raises Refused: when there is nothing.
        """
        found = self.read()
        why = self.problem(found, young=False) if found is not None else "nothing was begun"
        if found is None or why:
            raise Refused(
                "nothing is shown to the backup host {0}: {1}".format(self.label, why),
                safe=_NOTHING,
                todo="begin anew (`nanozfs-backup run` on the backup host)",
            )
        return found

    # doing it

    def begin(self) -> Begun:
        """Show what there is, in a new snapshot, or in the one of a pull that was cut.

        :raises Refused: when the host has not its own data, or another call is at work.
        :raises FleetError: when no snapshot could be taken or shown; nothing of it is left then.
        """
        here = self._ready()
        host = {
            "name": sysctl(self.runner, "kern.hostname"),
            "pool": here.pool,
            "version": here.image.version,
            "image": facts.running_id(here),
        }
        with self.locked():
            notes = []
            old = self.read()
            if old is not None:
                why = self.problem(old)
                if not why:
                    return Begun(self.touch(old), self.root, True, self._coming(here), host)
                notes.append("what was begun before cannot be gone on with: {0}".format(why))
            notes += self.close(here.pool)
            exposure = self._show(here, notes)
        return Begun(exposure, self.root, False, [*notes, *self._coming(here)], host)

    @contextlib.contextmanager
    def lent(self) -> Iterator[Tuple[Exposure, List[str]]]:
        """Show what there is for as long as this call looks at it: as for a pull, and ended with the call.

        What a pull that was cut can still go on with is looked at instead, and stays. No other call comes between, and
        the host is not taken for idle meanwhile, however long that takes.

        :returns: it, and what else the backup host should know.
        :raises FleetError: as :meth:`begin`.
        """
        here = self._ready()
        with self.locked():
            old = self.read()
            # one that is being read is never taken away, however long that has been under way
            if old is not None and not self.problem(old, young=not self.reading()):
                with self._reading():
                    yield self.touch(old), self._coming(here)
                return
            notes = self.close(here.pool)
            exposure = self._show(here, notes, lent=True)
            try:
                with self._reading():
                    yield exposure, [*notes, *self._coming(here)]
            finally:
                self.close(here.pool)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold the lock of a reader."""
        handle = self.reader()
        try:
            yield
        finally:
            os.close(handle)

    def _ready(self) -> Situation:
        """See that the host has its own data.

        :raises Refused: when it has not.
        """
        state, reason = state_of(self.runner, None)
        if state != NORMAL:
            raise Refused(
                "the host is in state {0} ({1}), without its own data".format(state, reason or "no reason known"),
                safe="nothing was shown",
                todo="see to that first: `nanozfs status` on the host",
            )
        return look(self.runner)

    @staticmethod
    def _coming(here: Situation) -> List[str]:
        """What may end the pull."""
        if here.journal.phase not in _RESTARTING:
            return []
        words = "{0} {1} is in phase {2}: the host may restart, and the pull begin anew"
        return [words.format(here.journal.kind, here.journal.txn, here.journal.phase)]

    def _show(self, here: Situation, notes: List[str], lent: bool = False) -> Exposure:
        """Take the snapshot and mount it.

        :param notes: what else the backup host should know; more is added.
        :param lent: it is for this call alone.
        """
        every = self.zfs.datasets(here.pool)
        names = [each.name for each in every]
        table = self.zfs.table(["-r", "-t", "filesystem,volume"], (POLICY,), names, here.pool)
        policies = {name: table[name, POLICY] for name in names}
        notes += strange(policies)
        parts, left = choose(every, mounts(self.runner), policies)
        if not parts:
            raise Refused(
                "nothing of the pool {0} is mounted that could be backed up".format(here.pool),
                safe="nothing was shown",
                todo="see which datasets have {0}={1} (`zfs get -r {0} {2}`)".format(POLICY, SKIP, here.pool),
            )
        now, moment = self.clock(), lease.moment(self.runner)
        tag = new_tag(self.label, now)
        taken = ["{0}@{1}".format(part.dataset, tag) for part in parts]
        on_trial = here.journal.phase == journals.TRIAL or state_of(self.runner, here.medium)[0] == TRIAL
        try:
            self.zfs.take(taken, properties={MADE_BY: MAKER})
            self.zfs.hold(hold_tag(self.label), taken)
            shown, missed = self._mount(parts, tag)
            left += missed
            found = facts.describe(here, tag, int(now), on_trial, shown, left, self.root)
            facts.write(os.path.join(self.root, facts.NAME), found)
            exposure = Exposure(
                label=self.label,
                tag=tag,
                pool=here.pool,
                boot=moment.boot,
                begun=int(now),
                since=moment.uptime,
                touched=int(now),
                heard=moment.uptime,
                trial=on_trial,
                txn=(here.journal.txn or "") if on_trial else "",
                datasets=tuple(shown),
                left=tuple(left),
                lent=lent,
            )
            self._keep(exposure)
        except FleetError:
            with contextlib.suppress(FleetError):  # what failed first is what counts
                self.close(here.pool)
            raise
        return exposure

    def _mount(self, parts: Sequence[Part], tag: str) -> Tuple[List[Part], List[Left]]:
        """Mount snapshots as one tree, parents first.

        What is mounted is what users of the host have made: where one has renamed a folder above a mount point, and put
        a link there (rename(2) forbids it for the mount point itself only), the place of a child is out of the tree.
        """
        shown: List[Part] = []
        left: List[Left] = []
        top = os.path.realpath(self.root)
        for part in parts:
            target = os.path.join(self.root, part.path)
            if os.path.realpath(target) != os.path.join(top, part.path):
                left.append(Left(part.dataset, "a link is in the place of a folder above it", True))
                continue
            try:
                os.makedirs(target, mode=0o700, exist_ok=True)
            except OSError:
                # what is above it is in the tree, and its folder came after that or is hidden by it
                left.append(Left(part.dataset, "what is above it has no folder for it", True))
                continue
            name = "{0}@{1}".format(part.dataset, tag)
            self.runner.change(["mount", "-t", "zfs", name, target], "mount the snapshot {0}".format(name))
            shown.append(part)
        return shown, left

    def close(self, pool: str) -> List[str]:
        """End whatever is shown, and destroy every snapshot that was taken for the backup host.

        :returns: what could not be destroyed, and why.
        :raises FleetError: when something stays mounted.
        """
        self._over()
        inside = self.root + "/"
        for _what, where in reversed([each for each in mounts(self.runner) if (each[1] + "/").startswith(inside)]):
            if self.runner.attempt(["umount", where]).rc != 0:
                # an rsync whose line was cut may not have noticed yet; what is read-only loses nothing
                self.runner.change(["umount", "-f", where], "unmount {0}".format(where), todo="`nanozfs backup prune`")
        if not self.runner.check_mode:
            _clear(self.root)
        kept = []
        for each in self.zfs.snapshots(pool, recursive=True):
            if label_of(each.tag) == self.label:
                try:
                    snapshot.destroy(self.zfs, [each], hold_tag(self.label))
                except FleetError as error:
                    kept.append("{0} stays: {1}".format(each.name, error.what))
        return kept

    def end(self, told: Said) -> Tuple[Record, List[str]]:
        """Record how it went, and end what is shown.

        :returns: what was recorded, and what could not be destroyed.
        :raises Refused: when a backup host calls good what it read of something that was gone.
        """
        now = int(self.clock())
        with self.locked():
            here = look(self.runner)
            records = Records(self.zfs, here.pool)
            old = self.read()
            why = self.problem(old, young=False) if old is not None else "nothing is shown to it"
            if old is None or why:
                return self._ended_late(told, records, why, self.close(here.pool), now)
            record = replace(told.record, begun=old.begun, ended=now, trial=old.trial)
            if record.result == FAILED and told.keep:
                self.touch(old)
                return records.write(self.label, record), []
            # whatever comes between: what is over is never gone on with
            self._over()
            return records.write(self.label, record), self.close(here.pool)

    def _ended_late(
        self, told: Said, records: Records, why: str, notes: List[str], now: int
    ) -> Tuple[Record, List[str]]:
        """The end of what is not shown any more: good only where it was recorded as good before."""
        before, record = records.read(self.label), replace(told.record, ended=now)
        if before is not None and (before.begun, before.result) == (record.begun, record.result):
            return before, notes  # the answer of the first time was lost
        if record.result == FAILED:
            return records.write(self.label, record), notes
        reason = "it was over before its end: {0}".format(why)
        records.write(self.label, replace(record, result=FAILED, why=reason))
        raise Refused(
            "the backup cannot be taken for good: {0}".format(why),
            safe="it was recorded as failed",
            todo="begin anew (`nanozfs-backup run` on the backup host)",
        )

    def status(self) -> Dict[str, Any]:
        """What is shown, and how the last backup went."""
        found = self.read()
        exposure = None
        if found is not None:
            exposure = dict(
                found.as_dict(),
                problem=self.problem(found),  # with going on later
                gone=self.problem(found, young=False),  # with what is read now
                reading=self.reading(),
                root=self.root,
            )
        record = Records(self.zfs, look(self.runner).pool).read(self.label)
        return {"exposure": exposure, "record": record.as_dict() if record else None}


def _is_locked(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def _clear(top: str) -> None:
    """Take out the folders that were mounted on, and the one file beside them; nothing that anybody else put there."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(top, facts.NAME))
    for folder, _folders, _names in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


@dataclass(frozen=True)
class Pull:
    """A pull that was begun.

    :param age: seconds since then.
    """

    label: str
    begun: int
    at_work: bool
    age: float


def at_work(runner: Runner) -> List[Pull]:
    """The pulls that are at work: an rsync reads, or something was heard of it a short while ago.

    Asks nothing of the pool.
    """
    return [pull for pull in _pulls(runner) if pull.at_work]


def _pulls(runner: Runner) -> List[Pull]:
    """What was begun since the start of the host, and not ended."""
    try:
        labels = sorted(os.listdir(place()))
    except OSError:
        return []
    now, found = None, []
    for label in labels:
        try:
            exposing = Exposing(runner, label)
        except Refused:
            continue
        exposure = exposing.read()
        if exposure is None:
            continue
        now = now or lease.moment(runner)
        if exposure.boot == now.boot:
            quiet = max(0.0, now.uptime - exposure.heard)
            at_work_now = exposing.reading() or quiet < FRESH
            found.append(Pull(label, exposure.begun, at_work_now, now.uptime - exposure.since))
    return found


def forgotten(runner: Runner) -> List[str]:
    """What was begun and is held for a backup host that did not come back, a line each."""
    words = "a snapshot for the backup host {0} is held since {1} and not read: `nanozfs backup prune` ends that"
    return [
        words.format(pull.label, _moment(pull.begun))
        for pull in _pulls(runner)
        if not pull.at_work and pull.age > RESUME
    ]


def refuse_at_work(runner: Runner, what: str, option: str, wait: int) -> List[str]:
    """Refuse to cut a pull off by a restart.

    :param what: what would do that, for the message: ``an upgrade``.
    :param option: the variable that says how long to wait for the end of a pull; empty where nobody can.
    :param wait: its value (seconds); 0 refuses, and less than that restarts all the same.
    :returns: who reads and for how long that is waited for, where it is.
    :raises Refused: with who that is, and since when.
    """
    found = at_work(runner) if wait >= 0 else []
    if not found:
        return []
    who = " and ".join("{0} (since {1})".format(pull.label, _moment(pull.begun)) for pull in found)
    if wait:
        return ["a backup of this host is being read by {0}: its end is waited for, {1} s at most".format(who, wait)]
    todo = "wait for its end, or stop it on the backup host"
    more = "; {0}=7200 waits for up to two hours, {0}=-1 restarts all the same, and the backup begins anew"
    raise Refused(
        "a backup of this host is being read by {0}, and {1} would cut it off".format(who, what),
        safe="{0}; a pull of which nothing is heard counts for {1} minutes".format(_NOTHING, FRESH // 60),
        todo=todo + (more.format(option) if option else ""),
    )


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def prune(runner: Runner, clock: Callable[[], float] = time.time) -> List[str]:
    """End what nobody goes on with, of every backup host.

    :returns: what was done, a line each.
    :raises FleetError: when something stays mounted.
    """
    here = look(runner)
    tags = [each.tag for each in here.zfs.snapshots(here.pool, recursive=True)]
    taken = {label for label in map(label_of, tags) if label is not None}
    with contextlib.suppress(OSError):
        taken |= set(os.listdir(place()))
    said: List[str] = []
    for label in sorted(taken):
        try:
            exposing = Exposing(runner, label, clock)
        except Refused:
            continue
        with exposing.locked():
            old = exposing.read()
            # one that is being read is as long under way as it takes
            if old is not None and not exposing.problem(old, young=not exposing.reading()):
                said.append("{0}: {1} stays, its pull can still go on".format(label, old.tag))
                continue
            before = len([tag for tag in tags if label_of(tag) == label])
            kept = exposing.close(here.pool)
            gone = before - len(kept)
            said += ["{0}: {1}".format(label, each) for each in kept]
            if gone or old is not None:
                said.append("{0}: {1} snapshots destroyed".format(label, gone))
    return said
