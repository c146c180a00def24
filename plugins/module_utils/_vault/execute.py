# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Running what may take a night: with an end, and with its whole family when that has come."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import threading
import time
from typing import IO, Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, TIMED_OUT

#: the most that is kept of what a command says (bytes)
KEPT = 1 << 20

#: how long a family has to end when it is asked to (seconds)
GRACE = 30

#: Takes an argument list, the text for standard input, seconds that it may take (``None``: any) and variables; gives
#: exit status, standard output, standard error.
Long = Callable[[Sequence[str], Optional[str], Optional[float], Mapping[str, str]], Tuple[int, str, str]]


#: what is under way and may take a night, by process id: see :func:`stop`
_PULLS: Dict[int, subprocess.Popen] = {}

#: nothing that takes a night is begun any more
_stopped = threading.Event()


def stop() -> None:
    """End what takes a night, for a program that is asked to end: it can still say so to the hosts."""
    _stopped.set()
    for process in list(_PULLS.values()):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def stopped() -> bool:
    """Whether that was asked for."""
    return _stopped.is_set()


def owner_of(lock: str, program: str, run: Long) -> str:
    """The process that a lock file names, where it is there and runs that program.

    The file of one that is not there, or has only got its number after a restart of the machine, is taken away.

    :param run: for ps(1).
    """
    try:
        with open(lock, encoding="ascii", errors="replace") as file:
            pid = file.read(20).strip()
    except FileNotFoundError:
        return ""
    if _lives(pid):
        rc, out, _err = run(["ps", "-p", pid, "-o", "args="], None, 60, {})
        if rc not in (0, 1) or program in out:  # where there is no ps(1), it is better to wait
            return pid
    with contextlib.suppress(FileNotFoundError):
        os.unlink(lock)
    return ""


def _lives(pid: str) -> bool:
    """Whether a process is there; what is no number is none."""
    if not pid.isdigit() or int(pid) < 2:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _drain(stream: IO[bytes], kept: List[bytes]) -> None:
    """Read all of a stream, and keep what is bearable."""
    total = 0
    for piece in iter(lambda: stream.read(1 << 16), b""):
        if total < KEPT:
            kept.append(piece[: KEPT - total])
        total += len(piece)


def _feed(stream: IO[bytes], text: str) -> None:
    """Give a command its input; it may not care."""
    with contextlib.suppress(OSError):
        stream.write(text.encode("utf-8"))
    with contextlib.suppress(OSError):
        stream.close()


def _end(process: subprocess.Popen) -> None:
    """Ask a whole family to end, and see that it does."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def execute(
    argv: Sequence[str], stdin: Optional[str], seconds: Optional[float], more: Mapping[str, str]
) -> Tuple[int, str, str]:
    """Run a command of this machine; see :data:`Long`. What is too much of its output is dropped.

    :returns: 127 as status where there is no such command, ``TIMED_OUT`` where it was ended.
    """
    try:
        # a program of its own, and no module
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "HOME": "/", **more},
            start_new_session=True,
        )
    except FileNotFoundError:
        return 127, "", "{0}: not found".format(argv[0])
    except OSError as error:
        return 126, "", "{0}: {1}".format(argv[0], error.strerror)
    out: List[bytes] = []
    err: List[bytes] = []
    readers = [
        threading.Thread(target=_drain, args=(stream, kept), daemon=True)
        for stream, kept in ((process.stdout, out), (process.stderr, err))
    ]
    for reader in readers:
        reader.start()
    if process.stdin is not None:  # one that never reads it has no more time than any other
        threading.Thread(target=_feed, args=(process.stdin, stdin or ""), daemon=True).start()
    late = False
    if "NANOZFS_BACKUP_RUN" in more:
        _PULLS[process.pid] = process
        if _stopped.is_set():  # while it was begun
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        late = True
        _end(process)
    except BaseException:  # Ctrl-C, or the end of this program: nobody else would end them
        _end(process)
        raise
    finally:
        _PULLS.pop(process.pid, None)
    for reader in readers:
        reader.join(GRACE)
    texts = [b"".join(kept).decode("utf-8", "replace") for kept in (out, err)]
    return TIMED_OUT if late else process.returncode, texts[0], texts[1]


class Order(NamedTuple):
    """A stream from one command to another.

    :param source: the command that gives it, and what is written to its standard input.
    :param target: the command that takes it.
    :param head: how many bytes are judged before the target is begun.
    :param judge: says why a stream with such a head is not taken; an empty text where it is.
    :param user: whom the target runs as; empty for this program's own.
    :param limit: the most in a second, in bytes; 0 for no limit.
    :param seconds: that all may take; ``None`` for any.
    :param most: the most that is taken, in bytes; ``None`` for any number.
    """

    source: Sequence[str]
    text: str
    target: Sequence[str]
    head: int
    judge: Callable[[bytes], str]
    user: str = ""
    limit: int = 0
    seconds: Optional[float] = None
    most: Optional[int] = None


class Flowed(NamedTuple):
    """How a stream went.

    :param sent: bytes that came.
    :param source: exit status of the command that gave it, and what it complained of.
    :param target: the same of the one that took it; ``None`` where that was never begun.
    :param wrong: why it was not taken.
    :param late: its time was over.
    :param full: there was more of it than is taken.
    """

    sent: int
    source: int
    source_said: str
    target: Optional[int] = None
    target_said: str = ""
    wrong: str = ""
    late: bool = False
    full: bool = False


#: carries out an :class:`Order`
Flow = Callable[[Order], Flowed]

#: bytes that are handed on at a time
_PIECE = 1 << 17

#: for how long it may be silent (seconds): a host whose disks hang, or that was broken into, must not hold up others
SILENCE = 600


def _begin(argv: Sequence[str], user: str, **streams: Any) -> subprocess.Popen:
    """Begin one side of a stream, in a session of its own.

    :raises OSError: when it cannot be begun.
    :raises KeyError: when there is no such user.
    """
    who: Dict[str, Any] = {}
    if user:
        who = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    environment = {**ENVIRONMENT, "HOME": "/"}
    # a program of its own, and no module
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(argv), env=environment, stderr=subprocess.PIPE, start_new_session=True, bufsize=0, **streams, **who
    )
    _PULLS[process.pid] = process
    if _stopped.is_set():  # while it was begun
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    return process


class _Side:
    """One side of a stream; what it complains of is kept."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self._said: List[bytes] = []
        stderr: Any = process.stderr
        self._reader = threading.Thread(target=_drain, args=(stderr, self._said), daemon=True)
        self._reader.start()

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process.poll() is None:
            _end(self.process)

    def over(self) -> Tuple[int, str]:
        """Its exit status and what it complained of, when it has ended."""
        try:
            status = self.process.wait()
        finally:
            _PULLS.pop(self.process.pid, None)
        self._reader.join(GRACE)
        return status, b"".join(self._said).decode("utf-8", "replace")


def _piece(stream: IO[bytes], size: int) -> bytes:
    """What has come; nothing at its end, or when nothing comes for too long."""
    ready, _write, _except = select.select([stream], [], [], SILENCE)
    return stream.read(size) if ready else b""


def _head(stream: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = _piece(stream, size - len(found))
        if not piece:
            break
        found += piece
    return found


def _pump(source: IO[bytes], target: IO[bytes], head: bytes, limit: int, most: Optional[int]) -> Tuple[int, bool]:
    """Hand a stream on, at most so fast and so much, until one of the two has had enough; how many bytes came, and
    whether there were more.
    """
    full = False
    began, sent, piece = time.monotonic(), 0, head
    try:
        while piece:
            view = memoryview(piece)
            while view:  # a pipe without a buffer may take a part
                view = view[target.write(view) :]
            sent += len(piece)
            while limit and not _stopped.is_set() and sent / limit > time.monotonic() - began:
                time.sleep(min(0.5, max(0.0, sent / limit - (time.monotonic() - began))))
            piece = _piece(source, min(_PIECE, limit or _PIECE))
            full = most is not None and sent + len(piece) > most
            if full:
                break
    except BrokenPipeError:
        sent += len(piece)
    with contextlib.suppress(OSError):
        target.close()
    return sent, full


def flow(order: Order) -> Flowed:
    """See :class:`Order`. Neither command is a shell's, and nothing of the stream is kept here."""
    try:
        first = _Side(_begin(order.source, "", stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    except OSError as error:
        return Flowed(0, 127, "{0}: {1}".format(order.source[0], error.strerror))
    sides, late = [first], threading.Event()

    def end() -> None:
        late.set()
        for side in list(sides):
            side.end()

    timer = threading.Timer(order.seconds, end) if order.seconds is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    gives: Any = first.process.stdout
    takes: Any = first.process.stdin
    sent, wrong, target, target_said, full = 0, "", None, "", False
    try:
        _feed(takes, order.text)
        head = _head(gives, order.head)
        sent = len(head)
        if len(head) < order.head:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it says how it ends by itself
                first.process.wait(GRACE)
        else:
            wrong = order.judge(head)
            if not wrong:
                try:
                    second = _Side(_begin(order.target, order.user, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
                except (OSError, KeyError, TypeError) as error:  # Python 3.8 begins nothing as another user
                    target, target_said = 127, "{0} cannot be run: {1}".format(order.target[0], error)
                else:
                    sides.append(second)
                    into: Any = second.process.stdin
                    sent, full = _pump(gives, into, head, order.limit, order.most)
                    target, target_said = second.over()
        if target != 0:
            first.end()
    except BaseException:  # Ctrl-C, or the end of this program: nobody else would end them
        for side in sides:
            side.end()
        raise
    finally:
        with contextlib.suppress(OSError):
            gives.close()
        source, source_said = first.over()
        if timer is not None:
            timer.cancel()
    return Flowed(sent, source, source_said, target, target_said, wrong, late.is_set(), full)
