# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dead-man timer of a trial, run for real by sh; the commands that it calls are stand-ins, and sleep is quick."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import FILES

#: what gpart shows of a medium whose slice B is booted once, and of one where that was committed
ON_TRIAL = "        532520        524288     5  freebsd-ufs  [bootonce]  (256M)"
COMMITTED = "        532520        524288     5  freebsd-ufs  [bootme]  (256M)"


class Timer:
    """A timer in a folder of its own.

    :param gpart: what gpart does, in sh.
    """

    def __init__(self, folder: Path, gpart: str) -> None:
        self.folder = folder
        self.said = folder / "said"
        tools = {
            "gpart": gpart,
            "sleep": 'exec /bin/sleep "0.0$(printf %.0f "$1")"',
            "kenv": "echo 1",
            "pgrep": "exit 1",
        }
        for name in ("reboot", "shutdown", "watchdog", "logger"):
            tools[name] = 'echo "{0} $*" >> {1}'.format(name, self.said)
        for name, text in tools.items():
            (folder / name).write_text("#!/bin/sh\n{0}\n".format(text))
            (folder / name).chmod(0o755)
        source = Path(FILES, "root/boot/nanozfs/deadman").read_text()
        for old, new in (("PATH=", "PATH={0}:".format(folder)), ("/boot/nanozfs/", FILES + "/root/boot/nanozfs/")):
            assert old in source
            source = source.replace(old, new)
        (folder / "deadman").write_text(source)

    def run(self, seconds: int) -> list:
        """What it has done at its end, without patting the watchdog."""
        argv = ["/bin/sh", str(self.folder / "deadman"), str(seconds), "nz-b", "vtbd0", "GPT"]
        with subprocess.Popen(argv, start_new_session=True) as timer:
            try:
                assert timer.wait(60) == 0
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(timer.pid, signal.SIGKILL)  # the commands that hang
        lines = self.said.read_text().splitlines()
        return [line for line in lines if line != "watchdog -t 120"]


def test_a_trial_that_nobody_commits(tmp_path: Path) -> None:
    ended = Timer(tmp_path, "echo '{0}'".format(ON_TRIAL)).run(20)
    assert ended[-1] == "reboot -qn"
    assert any(line.startswith("shutdown -r now") for line in ended)


def test_a_trial_that_is_committed(tmp_path: Path) -> None:
    count = tmp_path / "asked"
    gpart = "echo >> {0}; [ $(wc -l < {0}) -gt 3 ] && echo '{1}' || echo '{2}'".format(count, COMMITTED, ON_TRIAL)
    assert Timer(tmp_path, gpart).run(600) == ["watchdog -t 0"]


@pytest.mark.parametrize("gpart", ["exec /bin/sleep 1000", "exit 1", "echo"], ids=["hangs", "fails", "says-nothing"])
def test_a_disk_that_dies_is_no_commit(tmp_path: Path, gpart: str) -> None:
    assert Timer(tmp_path, gpart).run(40)[-1] == "reboot -qn"
