# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a command and measuring what it takes.

The command is started by this file as a small process of its own (``launch``): the kernel counts into the peak memory
of a program what its parent had when it was forked. That process adopts what its children leave behind, so that the
CPU time and the writes of everything that ran are in the sums (getrusage(2), proc(5), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Optional, Sequence

#: from linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

#: a program that takes longer than this is stuck (seconds)
DEADLINE = 3600


@dataclass(frozen=True)
class Usage:
    """What a command took.

    :param wall: seconds.
    :param cpu: seconds of user and system time, of all processes together.
    :param rss: the peak of the largest single process in MiB, not a sum; pages of mapped files are in it.
    :param written: bytes that were written to files on disk, the ones that are gone again included.
    """

    wall: float = 0.0
    cpu: float = 0.0
    rss: float = 0.0
    written: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.wall + other.wall, self.cpu + other.cpu, max(self.rss, other.rss), self.written + other.written
        )


class Failed(Exception):
    """A measured command failed; what it said is the text."""


def _written() -> int:
    """Bytes of pages made dirty by this process and the children it has waited for (proc(5), write_bytes)."""
    with open("/proc/self/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["write_bytes"])


def launch(argv: Sequence[str]) -> Dict[str, float]:
    """Run a command and wait for all that it leaves behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start, before = time.monotonic(), _written()
    first = os.posix_spawnp(argv[0], list(argv), os.environ)
    status = 0
    while True:
        try:
            pid, ended = os.wait()
        except ChildProcessError:
            break
        if pid == first:
            status = ended
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": time.monotonic() - start,
        "cpu": used.ru_utime + used.ru_stime,
        "rss": used.ru_maxrss / 1024,
        "written": _written() - before,
        "code": os.waitstatus_to_exitcode(status),
    }


def run(argv: Sequence[str], cwd: str, env: Optional[Mapping[str, str]] = None) -> Usage:
    """Run a command and measure it.

    :raises Failed: when it fails or takes longer than DEADLINE.
    """
    full = dict(os.environ, LC_ALL="C", TMPDIR=cwd, **(env or {}))
    with tempfile.TemporaryDirectory(prefix="measure-") as folder:
        out = os.path.join(folder, "usage")
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), out, *argv]
        with open(os.path.join(folder, "said"), "w+b") as said:
            process = subprocess.Popen(
                command, cwd=cwd, env=full, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            try:
                process.wait(DEADLINE)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Failed("{0} took longer than {1} s".format(argv[0], DEADLINE))
                raise
            said.seek(0)
            text = said.read()[-4000:].decode("utf-8", "replace").strip()
        if not os.path.exists(out):
            raise Failed("{0} could not be started: {1}".format(argv[0], text))
        with open(out, encoding="ascii") as file:
            numbers = json.load(file)
    if numbers["code"] != 0:
        last = text.splitlines()[-1] if text else "it said nothing"
        raise Failed("{0} failed (rc {1}): {2}".format(argv[0], numbers["code"], last))
    return Usage(numbers["wall"], numbers["cpu"], numbers["rss"], int(numbers["written"]))


def run_all(commands: Iterable[Sequence[str]], cwd: str, env: Optional[Mapping[str, str]] = None) -> Usage:
    """Run commands one after the other and measure them together.

    :raises Failed: when one of them fails.
    """
    total = Usage()
    for argv in commands:
        total += run(argv, cwd, env)
    return total


if __name__ == "__main__":
    with open(sys.argv[1] + ".partial", "w", encoding="ascii") as _file:
        json.dump(launch(sys.argv[2:]), _file)
    os.rename(sys.argv[1] + ".partial", sys.argv[1])
