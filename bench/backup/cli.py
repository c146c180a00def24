# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What backups and a restore of a host with many files cost, next to plain rsync; see bench/README.md."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.bench.fleet.meter import descendants
from ansible_collections.nanozfs.fleet.tests.lab import paths
from ansible_collections.nanozfs.fleet.tests.lab.fleet import Host, Lab, LabError
from ansible_collections.nanozfs.fleet.tests.lab.site import ADDRESSES, Site, make_site
from ansible_collections.nanozfs.fleet.tests.lab.vault import Vault
from ansible_collections.nanozfs.fleet.tests.site import CHECKOUT, MIB, SSH_OPTIONS, PlayFailed

FILES = 100000

#: of each of the three disks of the host, and of that of the backup host, in bytes
DISK, SETS = 2048 * MIB, 3072 * MIB

#: CPU seconds that a night without changes may cost the host besides rsync
NIGHT = 2.0

#: of the host
PYTHON = "/usr/local/bin/python3"

NAME, WHERE = "web-1", "var/db/bench"

_KEPT = ["-aHX", "--numeric-ids", "--sparse"]


class Cost(NamedTuple):
    """What something took.

    :param wall: seconds.
    :param cpu: CPU seconds of the host, without those of the model.
    :param model: CPU seconds of what stands for ZFS and the kernel of the host: process 1 of a machine of the lab.
    """

    wall: float
    cpu: float
    model: float


class Bench:
    """A host with many files, and its backup host."""

    def __init__(self, lab: Lab, site: Site, folder: str) -> None:
        self.lab, self.site, self.folder = lab, site, folder
        self.vault = Vault("vault")

    @property
    def host(self) -> Host:
        """The machine that is the host now."""
        return self.lab.host(NAME)

    def buy(self) -> None:
        """A new machine with the medium of 1.0 in it, switched on."""
        self.lab.discard(NAME)
        self.site.hang_up()
        host = Host(NAME)
        host.create(ADDRESSES[NAME], 3, DISK)
        host.insert(self.site.medium("1.0"), "ada0")
        host.on()
        self.lab.wait([NAME])

    def cpu(self) -> Tuple[float, float]:
        """CPU seconds of the host since its start: of all processes but process 1, those that ended included; of that.

        proc(5): a process that has ended is in the sums of who waited for it (``cutime``).
        """
        pid, all_, first = self.host.pid, 0, 0
        for each in descendants(pid) if pid else ():
            with suppress(OSError), open("/proc/{0}/stat".format(each), encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
                all_ += sum(map(int, fields[11:15]))
                first += sum(map(int, fields[11:13])) if _number_inside(each) == 1 else 0
        each_second = os.sysconf("SC_CLK_TCK")
        return (all_ - first) / each_second, first / each_second

    def measured(self, what: Callable[[], object]) -> Cost:
        """Do something."""
        before, start = self.cpu(), time.monotonic()
        what()
        after = self.cpu()
        return Cost(time.monotonic() - start, after[0] - before[0], after[1] - before[1])

    def on_vault(self, *argv: str) -> str:
        """Run a command there."""
        ssh = [self.site.ssh_program, "-i", os.path.join(self.site.keys, "admin"), *SSH_OPTIONS]
        command = [*ssh, "root@" + self.vault.address, *argv]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise PlayFailed("{0}: {1}".format(" ".join(argv), done.stdout))
        return done.stdout

    def rsync(self, *argv: str) -> None:
        """Plain rsync between here and the host, by the same ssh."""
        rsh = " ".join([self.site.ssh_program, "-i", os.path.join(self.site.keys, "admin"), *SSH_OPTIONS])
        subprocess.run(["rsync", *_KEPT, "-e", rsh, *argv], check=True)

    def pull(self, name: str, *more: str) -> None:
        """Pull what a backup pulls, without a snapshot or anything else of ours."""
        target = os.path.join(self.folder, name)
        os.makedirs(target)
        self.rsync(*more, "--relative", "root@{0}:/cfg/".format(self.host.address), ":/var/", target)

    def script(self, *argv: str) -> str:
        """Run a Python script on the host; what it prints."""
        command = [*self.site.ssh_command(NAME), "{0} - {1}".format(PYTHON, " ".join(argv[1:]))]
        with open(argv[0], "rb") as file:
            done = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise PlayFailed("{0} failed".format(argv[0]))
        return done.stdout

    def listing(self) -> List[str]:
        """All that the host has to keep of each file, with its digest, as lines."""
        script = os.path.join(CHECKOUT, "molecule", "backup", "files", "listing.py")
        return self.script(script, "/", WHERE).splitlines()


def _number_inside(pid: int) -> int:
    """The number of a process in its own namespace (proc(5), ``NSpid``)."""
    with open("/proc/{0}/status".format(pid), encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def say(text: str) -> None:
    """A line for who waits."""
    print("{0} {1}".format(time.strftime("%H:%M:%S"), text), file=sys.stderr, flush=True)


def row(title: str, ours: Cost, plain: Cost) -> str:
    """A line of the table."""
    return "| {0} | {1:.1f} | {2:.1f} | {3:.2f} | {4:.1f} | {5:.1f} | {6:.1f} |".format(
        title, ours.wall, plain.wall, ours.wall / plain.wall, ours.cpu, plain.cpu, ours.model
    )


def run(bench: Bench, count: int) -> int:
    """Print the table; 1 when something is not as it must be."""
    site, script = bench.site, os.path.join(CHECKOUT, "bench", "backup", "files.py")
    say("a host with {0} files".format(count))
    bench.buy()
    site.play("deploy", "-l", NAME)
    bench.script(script, "/" + WHERE, str(count))
    before = bench.listing()
    bench.vault.build(site.public("admin"), SETS)
    site.add_backup_host(bench.vault.name, bench.vault.address)
    bench.vault.on()
    bench.vault.wait()
    site.play("backup", "-l", "{0},{1}".format(NAME, bench.vault.name))

    def backup() -> None:
        bench.on_vault("nanozfs-backup", "run", "--now", NAME)

    rows = []
    for title, name, more in (("first pull", "one", []), ("night without changes", "two", ["--link-dest=../one"])):
        say(title)
        plain = bench.measured(partial(bench.pull, name, *more))
        ours = bench.measured(backup)
        rows.append(row(title, ours, plain))
        night = ours.cpu - plain.cpu
    say("bare metal")
    bench.buy()
    start = time.monotonic()
    site.play("restore", "-l", NAME, "-e", "restore_host=true")
    restored = time.monotonic() - start
    bench.lab.wait([NAME])
    after = bench.listing()
    bench.site.ssh(NAME, "mkdir /var/plain")
    source = os.path.join(bench.folder, "one", WHERE)
    plain = bench.measured(lambda: bench.rsync(source, "root@{0}:/var/plain/".format(bench.host.address)))
    rows.append("| restore to bare metal, with its restart | {0:.1f} | {1:.1f} | {2:.2f} | | | |".format(
        restored, plain.wall, restored / plain.wall
    ))  # fmt: skip
    print("| | seconds | plain rsync | ratio | CPU s of the host | with plain rsync | of the model of ZFS |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print("\n".join(rows))
    digest = [hashlib.sha256("\n".join(each).encode()).hexdigest() for each in (before, after)]
    same = before == after and len(before) > count
    print("\n{0} files and folders, SHA-256 of all they are: {1} before, {2} after".format(len(before), *digest))
    print("a night costs the host {0:.1f} s of CPU besides rsync (at most {1:.0f})".format(night, NIGHT))
    if not same:
        gone = sorted(set(before) ^ set(after))
        print("NOT THE SAME: {0} lines, first {1}".format(len(gone), gone[:4]))
    return 0 if same and night <= NIGHT else 1


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many there are (%(default)s)")
    options = parser.parse_args(argv)
    folder = os.path.join(paths.HOME, "plain")
    try:
        lab = Lab()
        bench = Bench(lab, make_site(lab), folder)
        os.makedirs(folder)
        return run(bench, options.files)
    except (LabError, PlayFailed) as error:
        print("bench: {0}".format(error), file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
