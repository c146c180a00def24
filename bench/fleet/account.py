# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the CPU time of a play goes: ``account.py FOLDER ARGUMENTS ...``, the arguments of ``ansible-playbook``.

Ansible forks a process for every task of every host. Each leaves a line in ``FOLDER/workers``: the task, what the
process took itself, and what the processes took that it has started and waited for (ssh; not the connection that ssh
keeps, which goes on). What the main process took is in ``FOLDER/main``, in the format of pstats; with ``--tasks`` a
file of that format for every task is in ``FOLDER/tasks``, and the figures of ``workers`` are those of a profiled run.
"""

from __future__ import annotations

import cProfile
import json
import os
import resource
import sys
import time
from typing import Any, List, Optional

from ansible.cli.playbook import main as playbook
from ansible.executor.process.worker import WorkerProcess


class Profile:
    """Keeps account of the processes of a run.

    :param folder: where that is written.
    :param tasks: whether each task is profiled as well.
    """

    def __init__(self, folder: str, tasks: bool) -> None:
        self.folder = folder
        self.tasks = tasks
        self.main = cProfile.Profile(time.process_time)
        os.makedirs(os.path.join(folder, "tasks"), exist_ok=True)

    def of_worker(self, worker: Any, work: Any) -> None:
        """What a worker does, with its account."""
        self.main.disable()
        mine: Optional[cProfile.Profile] = cProfile.Profile(time.process_time) if self.tasks else None
        try:
            if mine:
                mine.runcall(work, worker)
            else:
                work(worker)
        finally:
            own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            line = {
                "task": worker._task.action.rpartition(".")[2],
                "name": worker._task.get_name(),
                "own": own.ru_utime + own.ru_stime,
                "ssh": others.ru_utime + others.ru_stime,
            }
            with open(os.path.join(self.folder, "workers"), "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if mine:
                mine.dump_stats(os.path.join(self.folder, "tasks", "{0}.{1}".format(line["task"], os.getpid())))

    def run(self, argv: List[str]) -> None:
        """Run the play; ends this process."""
        work, profile = WorkerProcess._run, self

        def measured(worker: Any) -> None:
            profile.of_worker(worker, work)

        WorkerProcess._run = measured
        try:
            self.main.runcall(playbook, ["ansible-playbook", *argv])
        finally:
            self.main.dump_stats(os.path.join(self.folder, "main"))


if __name__ == "__main__":
    _words = [each for each in sys.argv[1:] if each != "--tasks"]
    Profile(_words[0], "--tasks" in sys.argv).run(_words[1:])
