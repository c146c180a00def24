# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play takes of the controller: ``meter.py OUT COMMAND ...``.

As ``bench/image/measure.py`` this is a small process of its own that adopts what its children leave behind, so that
the connections which ssh keeps behind a play are counted too; but it ends them when the play has ended. The hosts of
the lab are no children of it: what they take is not in the figures.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Dict, List, Sequence

#: from linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

#: seconds between two looks at the memory
PAUSE = 1.0


def descendants(pid: int) -> List[int]:
    """All processes below one (proc(5), ``children``)."""
    found: List[int] = []
    with suppress(OSError):
        for thread in os.listdir("/proc/{0}/task".format(pid)):
            with open("/proc/{0}/task/{1}/children".format(pid, thread), encoding="ascii") as file:
                for child in map(int, file.read().split()):
                    found += [child, *descendants(child)]
    return found


def memory(pids: Sequence[int]) -> int:
    """What processes have in memory together, in KiB: what several share is counted once (``Pss`` of proc(5))."""
    total = 0
    for pid in pids:
        with suppress(OSError), open("/proc/{0}/smaps_rollup".format(pid), encoding="ascii") as file:
            total += next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0)
    return total


class Watch(threading.Thread):
    """Looks at the memory of all processes below this one, once a second, until ``end`` is set."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.end = threading.Event()
        self.most = 0
        self.processes = 0

    def run(self) -> None:
        """Look."""
        while not self.end.wait(PAUSE):
            pids = descendants(os.getpid())
            self.processes = max(self.processes, len(pids))
            self.most = max(self.most, memory(pids))


def launch(argv: Sequence[str]) -> Dict[str, float]:
    """Run a command, and end what it leaves behind.

    :returns: ``wall`` and ``cpu`` in seconds, ``memory`` in MiB: the most at one time, of all processes together;
        ``largest`` in MiB: the largest single process; ``processes``: the most at one time; ``code``.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watch, start = Watch(), time.monotonic()
    watch.start()
    first = os.posix_spawnp(argv[0], list(argv), os.environ)
    status, wall = 0, 0.0
    while True:
        try:
            pid, ended = os.wait()
        except ChildProcessError:
            break
        if pid == first:
            status, wall = ended, time.monotonic() - start
            for left in descendants(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(left, signal.SIGTERM)
    watch.end.set()
    watch.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": watch.most / 1024,
        "largest": used.ru_maxrss / 1024,
        "processes": watch.processes,
        "code": os.waitstatus_to_exitcode(status),
    }


if __name__ == "__main__":
    with open(sys.argv[1] + ".partial", "w", encoding="ascii") as _file:
        json.dump(launch(sys.argv[2:]), _file)
    os.rename(sys.argv[1] + ".partial", sys.argv[1])
