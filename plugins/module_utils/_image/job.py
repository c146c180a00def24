# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Work that goes on by itself: in a process of its own, with a lock, and a record of how far it is.

The record is only for people and for the play that looks at it. Work that died is found out by its lock, which the
kernel takes away from a dead process. A write goes on from the slice's content (see :mod:`windows`), a build from what
it has finished, neither from here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.writer import Progress

#: memory or the pool, depending on what /var is; gone after a restart either way (rc.d/cleanvar)
RUN_DIR = "/var/run/nanozfs"

#: how often the record is written (seconds), and how far back the rate looks (seconds)
EVERY = 1.0
LOOK_BACK = 15.0

#: how long a write may have the lock before its record says what it is about (seconds)
NEW_RECORD = 5.0

Record = Dict[str, Any]


class Kind(NamedTuple):
    """What a job does, in the words of its messages: a *noun* and what is *done* to its object."""

    noun: str
    done: str


WRITE = Kind("write", "written")
BUILD = Kind("build", "built")


class Job:
    """The work on one thing: its lock and its record.

    :param label: what is worked on: the label of a slice, the path of a folder.
    """

    def __init__(self, label: str, kind: Kind = WRITE) -> None:
        self.label = label
        self.kind = kind
        name = os.path.join(RUN_DIR, "{0}-{1}".format(kind.noun, label.replace("/", "%")))
        self._record, self._lock_path = name + ".json", name + ".lock"
        self._lock: Optional[int] = None

    def lock(self) -> bool:
        """Take the lock, if nobody has it. A dead process has none, however it died.

        :raises FleetError: when there is no place for it.
        """
        try:
            os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
            handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FleetError(
                "{0} cannot be used: {1}".format(RUN_DIR, error.strerror),
                safe="nothing was {0}".format(self.kind.done),
                todo="see that /var is mounted and can be written",
            )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def unlock(self) -> None:
        """Let the lock go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def under_way(self) -> bool:
        """Whether the job is at work."""
        if self._lock is not None:
            return True
        if not os.path.exists(self._lock_path) or not self.lock():
            return os.path.exists(self._lock_path)
        self.unlock()
        return False

    def read(self) -> Optional[Record]:
        """The record, if there is one that can be read."""
        try:
            with open(self._record, encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("job"), str) else None

    def save(self, record: Record) -> None:
        """Replace the record. Trouble with it must not stop the work.

        It is for nobody else to read: of a build it holds the scripts, which may have a password in them.
        """
        partial = self._record + ".part"  # there is one writer, the one with the lock
        try:
            with open(partial, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                json.dump(record, file)
            os.replace(partial, self._record)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(partial)


class Meter:
    """Turns progress into a record: percent, rate, time to go.

    :param head: what the record says besides: at least ``job`` and ``image``.
    """

    def __init__(self, head: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._head = head
        self._clock = clock
        self._phase = ""
        self._marks: List[Tuple[float, int, int]] = []

    def record(self, progress: Progress) -> Record:
        """The progress at this moment in numbers. Bytes, bytes per second, seconds."""
        now = self._clock()
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._marks = []
        self._marks.append((now, progress.done, progress.fetched))
        self._marks = [mark for mark in self._marks if now - mark[0] <= LOOK_BACK]
        began, done, fetched = self._marks[0]
        seconds = max(now - began, 1e-6)
        rate, fetch_rate = (progress.done - done) / seconds, (progress.fetched - fetched) / seconds
        # whichever of the two is behind decides: the line, or the medium
        shares = [progress.done / progress.total if progress.total else 1.0]
        times = [_time_left(progress.total - progress.done, rate)]
        if progress.expected:
            shares.append(progress.fetched / progress.expected)
            times.append(_time_left(progress.expected - progress.fetched, fetch_rate))
        known = [each for each in times if each is not None]
        return dict(
            self._head,
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
            percent=int(100 * min(shares)),
            rate=int(rate),
            fetched=progress.fetched,
            to_fetch=progress.expected,
            fetch_rate=int(fetch_rate),
            eta=max(known) if len(known) == len(times) else None,
            finished=False,
        )


def _time_left(missing: int, rate: float) -> Optional[int]:
    """Seconds for so many bytes at a rate; ``None`` when nobody knows."""
    if missing <= 0:
        return 0
    return int(missing / rate) + 1 if rate > 0 else None


class Watch(threading.Thread):
    """Writes the record of a job again and again, also while that only waits for something.

    :param look: gives the record at this moment.
    """

    def __init__(self, job: Job, look: Callable[[], Record]) -> None:
        super().__init__(daemon=True)
        self._job, self._look = job, look
        self._over = threading.Event()

    def run(self) -> None:
        """The thread."""
        while True:
            self._job.save(self._look())
            if self._over.wait(EVERY):
                return

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self.join()


def finished(head: Record, result: Record) -> Record:
    """The record of work that is over. ``msg`` in *result* means that it failed."""
    return dict(head, finished=True, result=result)


def outcome_of(work: Callable[[], Record]) -> Record:
    """What work gives, with ``failed`` and ``msg`` where it gives up."""
    try:
        return work()
    except FleetError as error:
        return dict(error.details, failed=True, msg=str(error))
    except Exception as error:
        return {"failed": True, "msg": "the module has a defect: {0}: {1}".format(type(error).__name__, error)}


def detach(work: Callable[[], None]) -> None:
    """Do something in a process that nobody waits for and that outlives whoever started this one.

    It must not keep the connection of the play open (sshd waits for that), nor be stopped with it.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        work()
    finally:
        os._exit(0)


def start(job: Job, head: Record, look: Callable[[], Record], work: Callable[[], Record]) -> None:
    """Do work in a process of its own, which keeps the record and takes the lock over.

    :param head: what every record of it says; gets the number of the process.
    :param look: the record at this moment.
    :param work: does it, and gives its result.
    """

    def run() -> None:
        head["pid"] = os.getpid()  # for whoever has to stop it
        with Watch(job, look):
            told = outcome_of(work)
        job.save(finished(head, told))

    detach(run)
    job.unlock()


def answer(record: Record) -> Dict[str, Any]:
    """What a module tells about a job of this record.

    :raises FleetError: when it has failed.
    """
    if not record.get("finished"):
        progress = {key: value for key, value in record.items() if key not in ("job", "image", "finished")}
        return {"changed": True, "finished": False, "job": record["job"], "progress": progress}
    result = dict(record["result"])
    if result.pop("failed", False):
        raise FleetError(str(result.pop("msg", "it failed")).rstrip("."), **result)
    return result


def take(job: Job, image: str, describe: str, seconds: float) -> Optional[Record]:
    """Take the lock; or, when the same is being done already, wait for that.

    :param image: id of the image that is wanted.
    :param seconds: how long to wait for the end of the other one.
    :returns: the record of the other one, at its end or after that time; ``None`` when the lock is ours.
    :raises Refused: when something else is being done.
    """
    until = time.monotonic() + seconds
    patience = time.monotonic() + NEW_RECORD
    while not job.lock():
        record = job.read()
        if record is None or record.get("finished"):
            # whoever has the lock has only just taken it, or is about to let it go
            if time.monotonic() > patience:
                refuse_other(job, None, image, describe)
            time.sleep(0.1)
            continue
        refuse_other(job, record, image, describe)
        seen = await_change(job, record["job"], until - time.monotonic())
        if seen is not None and (seen.get("finished") or time.monotonic() >= until):
            return seen
    return None


def await_change(job: Job, ident: str, seconds: float, sleep: Callable[[float], None] = time.sleep) -> Optional[Record]:
    """Wait until a job is over, at most for some seconds; its record then.

    :param ident: of the job.
    :returns: ``None`` when it died, or was another one's.
    """
    until = time.monotonic() + seconds
    while True:
        working = job.under_way()
        record = job.read()
        if record is not None and record["job"] == ident and record.get("finished"):
            return record
        if not working:
            return None
        if time.monotonic() >= until:
            return record if record is not None and record["job"] == ident else None
        sleep(0.2)


def stop(label: str, seconds: float = 20.0, sleep: Callable[[float], None] = time.sleep) -> bool:
    """End the write that is at work on a slice, as a power cut would: the next one goes on from what it has written.

    :param label: of the slice.
    :param seconds: how long it may take to end.
    :returns: whether there was one.
    :raises FleetError: when it does not end.
    """
    job = Job(label)
    if not job.under_way():
        return False
    until = time.monotonic() + seconds
    while job.under_way():
        record = job.read() or {}
        pid = record.get("pid")  # not there before the first record of the write
        if isinstance(pid, int) and pid > 1 and not record.get("finished"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise FleetError(
                "{0} is being {1} and could not be stopped (process {2} on the host)".format(
                    label, job.kind.done, pid or _WHICH
                ),
                safe="nothing boots from it",
                todo="end that process, and run the play again",
            )
        sleep(0.2)
    return True


def refuse_other(job: Job, record: Optional[Record], image: str, describe: str) -> None:
    """Refuse to interfere with work on something else.

    :param record: of what is at work.
    :param image: id of the image that is wanted.
    :raises Refused: when it is another one.
    """
    if record is not None and record.get("image") == image:
        return
    raise Refused(
        "{0} is being {1} with {2} at this moment, not with {3}".format(
            job.label, job.kind.done, record.get("describe", "another image") if record else "something else", describe
        ),
        safe="that {0} goes on".format(job.kind.noun),
        todo=_WAIT.format(record.get("pid", _WHICH) if record else _WHICH),
    )


_WHICH = "that does it"
_WAIT = "wait until it is done, or stop it (process {0} on the host), then run the play again"


def refuse_unfinished(label: str) -> None:
    """Refuse to boot a slice that is being written.

    :raises Refused: when a write is at work.
    """
    job = Job(label)
    if job.under_way():
        record = job.read() or {}
        raise Refused(
            "{0} is being written with {1} at this moment".format(label, record.get("describe", "an image")),
            safe="no boot flag was changed, that write goes on",
            todo=_WAIT.format(record.get("pid", _WHICH)),
        )
