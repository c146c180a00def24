# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Running what may take a night: with an end, and with its whole family when that has come."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import IO, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

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
