# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A run: which hosts are due, one at a time of each site, and what became of each."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import execute, root, send, sets, transfer, when
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import RSNAPSHOT, SEND, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.dirvish import Dirvish
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.gate import Gate, Tree, gate_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.rsnapshot import Rsnapshot
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import (
    FAILED,
    OK,
    PARTIAL,
    Known,
    Pull,
    locked,
    read_known,
    write_known,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.zfssend import ZfsSend

#: what became of a host in a run, besides the results of a pull
WAITS, REFUSED = "waits", "refused"

#: how far the clocks of the two may be apart (seconds) to be told; and to expire nothing by one of them
APART, JUMPED = 300, 86400

#: how often a host is told how it went; a line that does not answer takes half a minute each time (ConnectTimeout)
TELLINGS = 3

#: after how many looks at its workers, of about a second each, a run looks for others that are due
LOOK = 60

#: how large the log of a host may become (bytes); one older is kept
_LOG = 1 << 20

Method = Union[Rsnapshot, Dirvish, ZfsSend]


@dataclass(frozen=True)
class Outcome:
    """What became of a host.

    :param result: of its pull, or :data:`WAITS` or :data:`REFUSED`.
    :param says: in a line.
    :param verified: how a look into its backup went (``verify.py``).
    """

    host: str
    result: str
    says: str
    pull: Optional[Pull] = None
    verified: Optional[Mapping[str, Any]] = None

    @property
    def line(self) -> str:
        return "{0}: {1}".format(self.host, printable(self.says))


def method_of(fleet: Fleet, host: Host, places: Places, run: execute.Long, flow: execute.Flow) -> Method:
    """The method of a host."""
    if host.method == SEND:
        return ZfsSend(fleet, host, places, run, flow)
    return (Rsnapshot if host.method == RSNAPSHOT else Dirvish)(fleet, host, places, run)


def stamp(now: float) -> str:
    """The name of a set."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


class Vault:
    """A backup host at work.

    :param run: how commands are run.
    :param clock: seconds since the epoch.
    :param flow: how streams are received.
    """

    def __init__(
        self,
        fleet: Fleet,
        places: Places,
        run: execute.Long = execute.execute,
        clock: Callable[[], float] = time.time,
        flow: execute.Flow = execute.flow,
    ) -> None:
        self.fleet = fleet
        self.places = places
        self._run = run
        self._clock = clock
        self._flow = flow

    # who

    def known(self, host: Host) -> Known:
        """What is known of a host."""
        return read_known(self.places.host_state(host.name))

    def waits(self, host: Host) -> str:
        """Why a host is not pulled now; empty where it is.

        :raises Refused: when its time zone is none.
        """
        known, now = self.known(host), self._clock()
        found = when.opening(host.hours, host.zone, now)
        return when.waits(found, known.good.tried if known.good else None, known.tried, known.failures, now)

    def _until(self, host: Host) -> Optional[float]:
        """When its window closes; ``None`` where it has none."""
        if host.hours is None:
            return None
        found = when.opening(host.hours, host.zone, self._clock())
        return found.end if found else self._clock()

    def _lines(self, hosts: Sequence[Host]) -> List[List[Host]]:
        """The hosts by site, within each the one first whose newest set is the oldest."""
        found: Dict[str, List[Host]] = {}
        for host in sorted(hosts, key=self._age):
            found.setdefault(host.line, []).append(host)
        return list(found.values())

    def _age(self, host: Host) -> Tuple[int, str]:
        good = self.known(host).good
        return (good.tried if good else 0, host.name)

    def see(self, names: Sequence[str], safe: str) -> None:
        """See that hosts are among those of this backup host, and that the root is there.

        :param safe: what was not done, for the message.
        :raises Refused: when one is not.
        """
        unknown = [name for name in names if name not in self.fleet.hosts]
        if unknown:
            raise Refused(
                "{0} is not among the hosts of this backup host".format(printable(unknown[0])),
                safe=safe,
                todo="see `nanozfs-backup status`; backup.yml brings what the inventory says",
            )
        root.mounted(self.fleet)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def host_lock(self, host: Host) -> str:
        """The lock of whoever is at work on a host and its sets."""
        return self.places.lock(os.path.join("hosts", host.name))

    def command(self, argv: Sequence[str]) -> None:
        """Run a command here that may take its time."""
        self._run(argv, None, None, {})

    def reading(self, chosen: sets.Set) -> ContextManager[None]:
        """Have the files of a set where it says, for as long as they are read."""
        return send.reading(self.fleet, self.places, chosen, self._run)

    # a run

    def run(self, names: Sequence[str], now: bool, says: Callable[[Outcome], None]) -> List[Outcome]:
        """Pull hosts; what became of each.

        :param names: of hosts; all where there are none.
        :param now: whatever schedule and windows say.
        :param says: is told of each that was begun, or was asked for by name, when it is done.
        :raises Refused: when a name is none, or the root is not there.
        """
        self.see(names, "nothing was pulled")
        outcomes: Dict[str, Outcome] = {}
        until: Dict[str, Optional[float]] = {}
        queue: List[List[Host]] = []
        workers: List[threading.Thread] = []
        guard = threading.Lock()

        def done(outcome: Outcome) -> None:
            with guard:
                outcomes[outcome.host] = outcome
                if outcome.result != WAITS or names:
                    says(outcome)

        def work() -> None:
            while True:
                with guard:
                    if not queue:
                        return
                    line = queue.pop(0)
                try:
                    self._line(line, until, done)
                except FleetError as error:  # no lock could be made; whoever it was of is not forgotten
                    for host in line:
                        if host.name not in outcomes:
                            done(Outcome(host.name, FAILED, str(error)))

        def refill() -> Dict[str, str]:
            """Put those that are due now into the queue; why the others wait."""
            waiting: Dict[str, str] = {}
            due: List[Host] = []
            for name in names or sorted(self.fleet.hosts):
                host = self.fleet.hosts[name]
                if name in until or name in outcomes:
                    continue
                try:
                    why = "" if now else self.waits(host)
                    if why:
                        waiting[name] = why
                    else:
                        until[name] = None if now else self._until(host)
                        due.append(host)
                except FleetError as error:
                    done(Outcome(name, REFUSED, str(error)))
            with guard:
                queue.extend(self._lines(due))
            workers[:] = [worker for worker in workers if worker.is_alive()]
            for _each in range(min(self.fleet.lines - len(workers), len(queue))):
                workers.append(threading.Thread(target=work))
                workers[-1].start()
            return waiting

        waiting, turn = refill(), 0
        while any(worker.is_alive() for worker in workers):
            for worker in workers:
                worker.join(1)  # a signal is seen to between two of these
            turn += 1
            if turn % LOOK == 0 and waiting and not execute.stopped():
                waiting = refill()  # a window may have opened while one long pull goes on
        for name, why in waiting.items():
            done(Outcome(name, WAITS, "waits: {0}".format(why)))
        return list(outcomes.values())

    def _line(self, hosts: List[Host], until: Dict[str, Optional[float]], done: Callable[[Outcome], None]) -> None:
        """The hosts of a site, one after the other."""
        name = "line-" + hashlib.sha256(hosts[0].line.encode("utf-8")).hexdigest()[:16]
        with locked(self.places.lock(name)) as free:
            for host in hosts:
                end = until[host.name]
                if not free:
                    done(Outcome(host.name, WAITS, "waits: a host of its site is being pulled"))
                elif execute.stopped():
                    done(Outcome(host.name, WAITS, "waits: this run was asked to end"))
                elif end is not None and end - self._clock() <= 0:
                    done(Outcome(host.name, WAITS, "waits: its window has closed meanwhile"))
                else:
                    done(self._guarded(host, end))

    def _guarded(self, host: Host, end: Optional[float]) -> Outcome:
        """One host; whatever goes wrong with it is not the end of the others.

        It has a lock of its own besides that of its site, which it may have left while it was pulled.
        """
        try:
            with locked(self.host_lock(host)) as free:
                if not free:
                    return Outcome(host.name, WAITS, "waits: it is being pulled")
                outcome = self.pull(host, end)
        except FleetError as error:
            outcome = Outcome(host.name, FAILED, str(error))
        except Exception as error:  # pragma: no cover - a mistake of ours, which must not take the night of the others
            outcome = Outcome(host.name, FAILED, "{0}: {1}".format(type(error).__name__, error))
        self.log(outcome)
        return outcome

    def log(self, outcome: Outcome) -> None:
        """Keep what became of a host."""
        path = self.places.log(outcome.host)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            if os.path.exists(path) and os.path.getsize(path) > _LOG:
                os.replace(path, path + ".1")
            with open(path, "a", encoding="utf-8") as file:
                file.write("{0} {1}\n".format(stamp(self._clock()), outcome.line))

    # one host

    def gate(self, host: Host) -> Gate:
        """The gate of a host."""
        return gate_of(self.fleet, host, self.places, self._run)

    def pull(self, host: Host, end: Optional[float]) -> Outcome:
        """Pull one host.

        :param end: when its window closes (seconds since the epoch).
        :raises FleetError: when nothing of it can be kept, not even that it failed.
        """
        started = self._clock()
        state = self.places.host_state(host.name)
        notes: List[str] = []
        try:
            root.mounted(self.fleet)  # a night is long
            notes += root.move_previous(self.fleet, host, self.places)
            known = self.known(host)
            notes += [known.broken] if known.broken else []
            if host.method == SEND:  # what comes into a pool needs no room in the folder
                ZfsSend(self.fleet, host, self.places, self._run, self._flow).ready()
            else:
                root.room(self.fleet, host.name)
            tree = self.gate(host).begin()
        except FleetError as error:
            known = self.known(host)
            pull = Pull(
                stamp(started), host.name, 0, int(self._clock()), FAILED, host.method, why=str(error.what)[:300]
            )
            write_known(state, known.after(pull, int(started)))
            result = REFUSED if isinstance(error, Refused) else FAILED
            return Outcome(host.name, result, str(error), pull)
        notes += tree.notes
        apart = int(tree.begun - self._clock())
        if abs(apart) > APART and not tree.resumed:
            notes.append(
                "the clock of the host is {0} s {1} this one's".format(
                    abs(apart), "ahead of" if apart > 0 else "behind"
                )
            )
        pull, keep, arrived, more = self._bring(host, tree, started, end, abs(apart) < JUMPED)
        notes += more
        untold = self._tell(host, pull, keep, arrived)
        notes += [untold] if untold else []
        # read again: a night is long, and a look or a virtual machine may have been written down meanwhile
        write_known(state, self.known(host).after(pull, int(started)))
        return Outcome(host.name, pull.result, said(pull, tree.resumed, notes), pull)

    def _free_stamp(self, host: Host, started: float) -> str:
        """A name for the set that none has: a clock may have been set back."""
        names = {each.pull.id for each in sets.sets_of(self.fleet, host.name)}
        folder = sets.folder_of(self.fleet, host.method, host.name)
        while stamp(started) in names or os.path.lexists(os.path.join(folder, stamp(started))):
            started += 1
        return stamp(started)

    def _bring(
        self, host: Host, tree: Tree, started: float, end: Optional[float], trusted: bool
    ) -> Tuple[Pull, bool, Sequence[str], List[str]]:
        """Bring the files and make a set of them: how it went, whether the host shall keep its snapshot, which ones are
        in a pool here now, and what is to be said.
        """
        method = method_of(self.fleet, host, self.places, self._run, self._flow)
        pull = Pull(
            self._free_stamp(host, started),
            host.name,
            tree.begun,
            0,
            FAILED,
            host.method,
            trial=tree.trial,
            why="it was not brought to its end",
            tag=tree.tag,
            version=tree.version,
        )
        notes: List[str] = []
        full = late = keep = False
        try:
            method.prepare(tree.tag)
            found, late = method.pull(pull, None if end is None else max(1.0, end - self._clock()))
            pull = replace(pull, bytes=found.bytes, files=found.files, sent=found.sent)
            if found.code == 0 and not late:
                pull, keep = self._whole(host, tree, pull)
            else:
                result = PARTIAL if found.code == transfer.SOME_FILES else FAILED
                full = found.full
                pull = replace(pull, result=result, why=transfer.words(found, late))
                keep = not full and (late or found.code in transfer.RESUMED)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the backup host is full" if full else "{0}: {1}".format(error.filename, error.strerror)
            pull = replace(pull, result=FAILED, why=why)
        except FleetError as error:
            pull = replace(pull, result=FAILED, why=str(error.what)[:300])
        ended = self._clock()
        pull = replace(pull, ended=int(ended), seconds=max(0, int(ended - started)))
        if pull.result == OK:
            try:
                notes += method.keep(pull, trusted)
            except (FleetError, OSError) as error:
                why = error.what if isinstance(error, FleetError) else str(error.strerror)
                pull = replace(pull, result=FAILED, why="the set was not taken in: {0}".format(why)[:300])
                return pull, False, method.arrived, notes
        else:
            method.fail(pull, full)
        return pull, keep, method.arrived, notes

    def _whole(self, host: Host, tree: Tree, pull: Pull) -> Tuple[Pull, bool]:
        """Whether what has come is all of the snapshot: how the pull went, and whether the host shall keep that.

        A host that does not say is asked twice: the snapshots of another backup host may come and go while it looks.
        """
        try:
            try:
                gone = self.gate(host).gone(tree.tag)
            except FleetError:
                gone = self.gate(host).gone(tree.tag)
        except FleetError as error:
            why = "all has come, but whether it is all of the snapshot is not known: {0}".format(error.what)[:300]
            return replace(pull, result=FAILED, why=why), True
        if gone:
            return replace(pull, result=FAILED, why="it was over before its end: {0}".format(gone)), False
        return replace(pull, result=OK, why=""), False

    def _tell(self, host: Host, pull: Pull, keep: bool, arrived: Sequence[str]) -> str:
        """Tell the host how it went; why that could not be done."""
        result: Dict[str, Any] = {
            "begun": pull.begun,
            "ended": pull.ended,
            "result": pull.result,
            "method": pull.method,
            "bytes": pull.bytes,
            "files": pull.files,
            "sent": pull.sent,
            "seconds": pull.seconds,
            "trial": pull.trial,
            "why": pull.why,
        }
        if keep:
            result["keep"] = True
        if arrived:
            result["arrived"] = list(arrived)
        return told(lambda: self.gate(host).end(result))


def told(tell: Callable[[], None]) -> str:
    """Tell a host something; why that could not be done. To the host it is the same again."""
    why = ""
    for _attempt in range(TELLINGS):
        try:
            tell()
            return ""
        except Refused as error:
            return "the host says otherwise ({0})".format(error.what)
        except FleetError as error:
            why = error.what
    return "the host could not be told ({0})".format(why)


def said(pull: Pull, resumed: bool, notes: Sequence[str]) -> str:
    """What became of a host, in a line."""
    more = "".join("; " + note for note in notes)
    if pull.result == OK:
        return "{0}, {1}, {2} over the line, {3} s, as set {4}{5}{6}{7}".format(
            "all its datasets" if pull.method == SEND else counted(pull.files, "file"),
            root.shown_size(pull.bytes),
            root.shown_size(pull.sent),
            pull.seconds,
            pull.id,
            ", going on from the last try" if resumed else "",
            " (of a system on trial)" if pull.trial else "",
            more,
        )
    sent = " after {0}".format(root.shown_size(pull.sent)) if pull.sent else ""
    return "FAILED{0}: {1}. Safe now: its sets are as they were{2}".format(sent, pull.why.rstrip("."), more)
