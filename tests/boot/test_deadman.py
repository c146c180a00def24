# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dead-man timer of a trial, run for real by sh; the commands that it calls are stand-ins, and sleep is quick."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.tests.boot.stage import FILES


def shown(flags: str) -> str:
    """What gpart shows of slice B with these flags."""
    return "        532520        524288     5  freebsd-ufs{0}  (256M)".format(flags)


#: of a slice that is booted once, and of one where that was committed
ON_TRIAL, COMMITTED = shown("  [bootonce]"), shown("  [bootme]")

#: of an MBR: what gpart and boot0cfg say of a trial of slice 3, and of one that is committed
MBR_ON_TRIAL = ("     1050624       1048576     3  freebsd  (512M)", "2")
MBR_COMMITTED = ("     1050624       1048576     3  freebsd  [active]  (512M)", "3")

#: a command of FreeBSD 15 where /var/run/noshutdown is: it does nothing without -f. 13.2's do not know that option
PRECIOUS = 'case $1 in -*f*) echo "{0} $*" >> {1} ;; *) echo "refused" >&2; exit 1 ;; esac'
OLDER = 'case $1 in -*f*) echo "illegal option -- f" >&2; exit 1 ;; *) echo "{0} $*" >> {1} ;; esac'


class Timer:
    """A timer in a folder of its own.

    :param gpart: what gpart does, in sh.
    :param tools: what others do; of ``reboot`` and ``shutdown``, ``{0}`` is the name and ``{1}`` where it is noted.
    """

    def __init__(self, folder: Path, gpart: str, **tools: str) -> None:
        self.folder = folder
        self.said = folder / "said"
        self.said.write_text("")
        tools = dict(
            {
                "gpart": gpart,
                "sleep": 'exec /bin/sleep "0.0$(printf %.0f "$1")"',
                "kenv": "echo 1",
                "pgrep": "exit 1",
                "reboot": OLDER,
                "shutdown": OLDER,
            },
            **tools,
        )
        for name in ("watchdog", "logger", "init"):
            tools[name] = 'echo "{0} $*" >> {1}'
        for name, text in tools.items():
            (folder / name).write_text(
                "#!/bin/sh\n{0}\n".format(text.replace("{0}", name).replace("{1}", str(self.said)))
            )
            (folder / name).chmod(0o755)
        source = Path(FILES, "root/boot/nanozfs/deadman").read_text()
        for old, new in (
            ("PATH=", "PATH={0}:".format(folder)),
            ("/boot/nanozfs/", FILES + "/root/boot/nanozfs/"),
            ("kill -INT $init", "echo init >> {0}".format(self.said)),
            ("/sbin/reboot", str(folder / "reboot")),
        ):
            assert old in source
            source = source.replace(old, new)
        assert "init=1" in source and "-INT" not in source
        (folder / "deadman").write_text(source)

    def lines(self) -> List[str]:
        """What it has done so far, without patting the watchdog."""
        return [line for line in self.said.read_text().splitlines() if line != "watchdog -t 120"]

    def run(self, seconds: int, until: int = 2, scheme: str = "GPT") -> List[str]:
        """What it has done at its end, or when it has tried to restart the host so often."""
        argv = ["/bin/sh", str(self.folder / "deadman"), str(seconds), "nz-b", "vtbd0", scheme]
        with subprocess.Popen(argv, start_new_session=True) as timer:
            try:
                for _tick in range(600):
                    if timer.poll() is not None or sum("boot" in line for line in self.lines()) >= until:
                        break
                    time.sleep(0.1)
                else:
                    raise AssertionError("nothing came of it: {0}".format(self.lines()))
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(timer.pid, signal.SIGKILL)  # the commands that hang
        return self.lines()


def restarts(said: List[str]) -> bool:
    """Whether the timer was at restarting the host when it was looked at last."""
    return sum(line.startswith("reboot -") for line in said) >= 2


def test_a_trial_that_nobody_commits(tmp_path: Path) -> None:
    said = Timer(tmp_path, "echo '{0}'".format(ON_TRIAL)).run(20)
    assert restarts(said) and "reboot -qn" in said
    assert any(line.startswith("shutdown -r now") for line in said)


def test_a_trial_that_is_committed(tmp_path: Path) -> None:
    count = tmp_path / "asked"
    gpart = "echo >> {0}; [ $(wc -l < {0}) -gt 3 ] && echo '{1}' || echo '{2}'".format(count, COMMITTED, ON_TRIAL)
    assert Timer(tmp_path, gpart).run(600) == ["watchdog -t 0"]


@pytest.mark.parametrize("gpart", ["exec /bin/sleep 1000", "exit 1", "echo"], ids=["hangs", "fails", "says-nothing"])
def test_a_disk_that_dies_is_no_commit(tmp_path: Path, gpart: str) -> None:
    assert restarts(Timer(tmp_path, gpart).run(40))


@pytest.mark.parametrize("flags", ["", "  [bootfailed]", "  [bootonce,bootme]", "  [bootonce,bootfailed]"])
def test_flags_that_somebody_cleared_are_no_commit(tmp_path: Path, flags: str) -> None:
    """As rc.d/gptboot does it: no timer would run any more, and nobody has committed."""
    assert restarts(Timer(tmp_path, "echo '{0}'".format(shown(flags))).run(20))


@pytest.mark.parametrize(
    ("table", "commit"),
    [(MBR_ON_TRIAL, False), (MBR_COMMITTED, True), ((MBR_COMMITTED[0], "2"), False), ((MBR_ON_TRIAL[0], "3"), False)],
    ids=["trial", "committed", "half", "other-half"],
)
def test_what_is_a_commit_with_an_mbr(tmp_path: Path, table: Tuple[str, str], commit: bool) -> None:
    """The slice is active, and what boot0 takes by itself; each without the other is none."""
    timer = Timer(
        tmp_path, "echo '{0}'".format(table[0]), boot0cfg="echo 'default_selection=F{0} (Slice 1)'".format(table[1])
    )
    said = timer.run(20, scheme="MBR")
    assert (said == ["watchdog -t 0"]) == commit and restarts(said) != commit, said


def test_the_timer_of_a_precious_machine(tmp_path: Path) -> None:
    """FreeBSD 15 with /var/run/noshutdown: neither command does anything without -f."""
    said = Timer(tmp_path, "echo '{0}'".format(ON_TRIAL), reboot=PRECIOUS, shutdown=PRECIOUS).run(20)
    assert "reboot -fqn" in said and any(line.startswith("shutdown -fr now") for line in said), said


@pytest.mark.parametrize("reboot", ["exec /bin/sleep 1000", "exit 1"], ids=["hangs", "fails"])
def test_a_restart_that_does_not_work_is_tried_again(tmp_path: Path, reboot: str) -> None:
    """And init is asked in the end, which needs neither a disk nor another process."""
    said = Timer(tmp_path, "echo '{0}'".format(ON_TRIAL), reboot='echo "reboot $*" >> {1}\n' + reboot).run(5, until=12)
    assert said.count("reboot -qn") > 3 and "init" in said, said


@pytest.mark.parametrize(("binary", "option"), [("# noshutdown\n", "-fqn"), ("", "-qn")])
def test_a_shell_that_ends_by_an_error_ends_the_trial(tmp_path: Path, binary: str, option: str) -> None:
    """A fork that fails, say: the way out needs none."""
    timer = Timer(tmp_path, "echo '{0}'".format(ON_TRIAL), reboot=binary + 'echo "reboot $*" >> {1}')
    source = (tmp_path / "deadman").read_text()
    assert "    sleep 5\n" in source
    (tmp_path / "deadman").write_text(source.replace("    sleep 5\n", "    : ${fork?failed}\n"))
    assert timer.run(600, until=1) == ["init", "reboot " + option]


def test_the_restart_of_the_hook_is_one_that_works(tmp_path: Path) -> None:
    """early.subr's own: the same commands, again and again."""
    timer = Timer(tmp_path, "exit 1", reboot=PRECIOUS)
    (tmp_path / "deadman").write_text(
        "PATH={0}:$PATH log=/dev/null\n. {1}/root/boot/nanozfs/early.subr\nrestart why\n".format(tmp_path, FILES)
    )
    assert timer.run(0, until=3).count("reboot -fqn") >= 3
