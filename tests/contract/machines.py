# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What contract cases are run on: the model, or a guest with a real ZFS.

Cases call the disks d1, d2 … Everything that is special of a machine is here: what its disks are called, how its power
fails, how a file gets into a dataset.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from abc import ABC, abstractmethod
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.tests.model import pools, streams
from ansible_collections.nanozfs.fleet.tests.model.machine import FIRST_RELEASE
from ansible_collections.nanozfs.fleet.tests.model.machine import Machine as Model

MIB = 1 << 20

#: of each disk, in bytes
DISK_SIZE = 128 * MIB

#: how many disks a machine has at most
DISKS = 4

#: the hostid that a machine has at first
HOSTID = 0x1234

#: the one file that cases write into datasets
FILE = "f"


class Answer(NamedTuple):
    """What a command gives back."""

    rc: int
    out: str
    err: str


class MachineError(Exception):
    """A machine cannot do what a case needs; says what it answered."""


class Machine(ABC):
    """What a case is run on.

    :param title: for reports.
    :param disks: what the machine calls the disks, by their names in cases.
    """

    def __init__(self, title: str, disks: Mapping[str, str]) -> None:
        self.title = title
        self.disks = dict(disks)
        self._names = {own: name for name, own in self.disks.items()}
        self._own = re.compile(r"\b({0})\b".format("|".join(map(re.escape, self._names))))

    @abstractmethod
    def clear(self, disks: int) -> None:
        """Become a machine with so many empty disks and no pools."""

    @abstractmethod
    def raw(self, argv: Sequence[str], stdin: Optional[str]) -> Answer:
        """Run a command with the machine's own names."""

    @abstractmethod
    def pipe(self, source: Sequence[str], target: Sequence[str], most: Optional[int]) -> Answer:
        """Run a command with what another one prints, or the first bytes of that."""

    @abstractmethod
    def place(self, path: str, text: str) -> None:
        """Make a file of one line that ZFS will read."""

    @abstractmethod
    def pull(self, disk: str) -> None:
        """Take a disk out that no imported pool has."""

    @abstractmethod
    def plug(self, disk: str) -> None:
        """Put it in again."""

    @abstractmethod
    def cut(self) -> None:
        """Cut the power and start again; the hostid stays as it is."""

    @abstractmethod
    def set_hostid(self, number: int) -> None:
        """Become another host."""

    @abstractmethod
    def write(self, dataset: str, text: str) -> None:
        """Write one line into the file of a dataset."""

    @abstractmethod
    def read(self, dataset: str) -> str:
        """The file of a dataset; empty when there is none."""

    @abstractmethod
    def fill(self, dataset: str) -> None:
        """Write into a dataset until the pool is full."""

    def run(self, argv: Sequence[str], stdin: Optional[str] = None) -> Answer:
        """Run a command; disks have their names of cases in it and in the answer."""
        answer = self.raw([self.disks.get(word, word) for word in argv], stdin)
        return Answer(answer.rc, self._translated(answer.out), self._translated(answer.err))

    def _translated(self, text: str) -> str:
        return self._own.sub(lambda found: self._names[found.group(1)], text)

    def zfs_version(self) -> str:
        """The version of its ZFS, of the form ``2.1``: of the kernel's part, which decides what is stored.

        :raises MachineError: when it does not say.
        """
        answer = self.run(["zfs", "version"])
        found = re.search(r"^zfs-kmod-(\d+\.\d+)\.", answer.out, re.MULTILINE)
        if found is None:
            raise MachineError("{0} does not say which ZFS it has: {1}".format(self.title, answer))
        return found.group(1)

    def execute(self, argv: Sequence[str], stdin: Optional[str] = None) -> Tuple[int, str, str]:
        """Like :meth:`run`, in the form that ``module_utils._freebsd.command.Runner`` takes."""
        answer = self.run(argv, stdin)
        return answer.rc, answer.out, answer.err


class ModelMachine(Machine):
    """The model.

    :param folder: an empty one for what it keeps.
    :param release: of FreeBSD.
    """

    def __init__(self, folder: str, release: str = FIRST_RELEASE) -> None:
        super().__init__("the model of " + release, {"d{0}".format(n): "ada{0}".format(n) for n in range(1, DISKS + 1)})
        self._home = os.path.join(folder, "machine")
        self._away: Dict[str, Dict[str, object]] = {}
        self._hostid = HOSTID
        self._release = release
        self.model = Model(self._home)

    def clear(self, disks: int) -> None:
        """A new model."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._away.clear()
        self._hostid = HOSTID
        self.model = Model.create(self._home, release=self._release)
        for name in list(self.disks.values())[:disks]:
            self.model.add_disk(name, DISK_SIZE)
        self.cut()

    def raw(self, argv: Sequence[str], stdin: Optional[str]) -> Answer:
        """Run a command of the model."""
        return Answer(*self.model.run(argv, stdin))

    def pipe(self, source: Sequence[str], target: Sequence[str], most: Optional[int]) -> Answer:
        """Through the model's commands."""
        answer = self.raw(source, None)
        if answer.rc != 0:
            return answer
        return self.raw(target, streams.as_text(streams.as_bytes(answer.out)[:most]))

    def place(self, path: str, text: str) -> None:
        """Nothing here reads it."""

    def pull(self, disk: str) -> None:
        """Detach a disk."""
        self.model.load()
        self._away[disk] = self.model.remove_disk(self.disks[disk])

    def plug(self, disk: str) -> None:
        """Attach it again."""
        self.model.load()
        self.model.attach_disk(self._away.pop(disk))

    def cut(self) -> None:
        """Start anew."""
        with self.model.locked() as model:
            model.start({}, self._hostid)

    def set_hostid(self, number: int) -> None:
        """As rc.d/hostid sets it."""
        self._hostid = number
        self.model.run(["sysctl", "kern.hostid={0}".format(number)])

    def _path(self, dataset: str) -> str:
        self.model.load()
        return os.path.join(pools.folder(self.model, dataset), FILE)

    def write(self, dataset: str, text: str) -> None:
        """Into the dataset's real tree."""
        with open(self._path(dataset), "w", encoding="utf-8") as file:
            file.write(text + "\n")

    def read(self, dataset: str) -> str:
        """From the dataset's real tree."""
        path = self._path(dataset)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def fill(self, dataset: str) -> None:
        """By ballast."""
        with self.model.locked() as model:
            pools.fill(model, dataset.split("/", 1)[0], 0)


#: runs a script of sh(1) as root with arguments; exit status, standard output, standard error
Shell = Callable[[str, Sequence[str], Optional[str]], Answer]


class GuestMachine(Machine):
    """A guest that is reached by a shell.

    :param shell: how to run something there.
    :param power_cut: cuts the power, starts the guest again and waits for it.
    """

    #: of every command
    ENVIRONMENT: Sequence[str] = ("LC_ALL=C",)

    #: sets the kernel's hostid, which the programs ask for as well
    _HOSTID = ""

    _MOUNTED = 'mkdir -p /mnt; mount -t zfs "$1" /mnt || exit 1; '

    def __init__(self, title: str, disks: Mapping[str, str], shell: Shell, power_cut: Callable[[], None]) -> None:
        super().__init__(title, disks)
        self._shell = shell
        self._power_cut = power_cut
        self._hostid = HOSTID

    def _do(self, script: str, *arguments: str) -> str:
        answer = self._shell(script, arguments, None)
        if answer.rc != 0:
            raise MachineError("{0} could not do {1!r} {2}: {3}".format(self.title, script, arguments, answer))
        return answer.out

    def raw(self, argv: Sequence[str], stdin: Optional[str]) -> Answer:
        """Run a command of the guest."""
        return self._shell('exec env "$@"', [*self.ENVIRONMENT, *argv], stdin)

    def pipe(self, source: Sequence[str], target: Sequence[str], most: Optional[int]) -> Answer:
        """By a file, so that it can be cut where it shall be."""
        commands = [shlex.join(["env", *self.ENVIRONMENT, *each]) for each in (source, target)]
        cut = "cat /tmp/stream" if most is None else "head -c {0} /tmp/stream".format(most)
        return self._shell("{0} > /tmp/stream || exit; {1} | {2}".format(commands[0], cut, commands[1]), [], None)

    def cut(self) -> None:
        """For real."""
        self._power_cut()
        self.set_hostid(self._hostid)

    def set_hostid(self, number: int) -> None:
        """Become another host."""
        self._hostid = number
        self._do(self._HOSTID, str(number))

    def place(self, path: str, text: str) -> None:
        """Where it says."""
        self._do('echo "$2" > "$1"', path, text)

    def write(self, dataset: str, text: str) -> None:
        """By a mount of its own."""
        self._do(self._MOUNTED + 'echo "$2" > "/mnt/$3"; umount /mnt', dataset, text, FILE)

    def read(self, dataset: str) -> str:
        """By a mount of its own."""
        return self._do(self._MOUNTED + 'cat "/mnt/$2" 2> /dev/null; umount /mnt', dataset, FILE)

    def fill(self, dataset: str) -> None:
        """With noise: zeros take no room where compression is on, which is the default since OpenZFS 2.2."""
        script = "dd if=/dev/urandom of=/tmp/noise bs={0} count=1 2> /dev/null; ".format(MIB)
        script += "while cat /tmp/noise 2> /dev/null; do :; done > /mnt/ballast; sync; "
        again = "while dd if=/tmp/noise bs=4096 2> /dev/null; do :; done > /mnt/rest; sync; umount /mnt"
        self._do(self._MOUNTED + script + again, dataset)


class OpenZfs(GuestMachine):
    """A Linux guest with OpenZFS.

    Its disks are links in :data:`FOLDER`, which is all that zpool looks at. So a disk is pulled by taking its link
    away: nothing looks for it elsewhere, as the labels have the path of the link.
    """

    FOLDER = "/disks"

    #: zpool would wait for udev, which is not there, and look into /dev
    ENVIRONMENT = (
        "LC_ALL=C",
        "ZPOOL_IMPORT_PATH=" + FOLDER,
        "ZPOOL_IMPORT_UDEV_TIMEOUT_MS=0",
        "ZFS_VDEV_DEVID_OPT_OUT=YES",
    )

    _HOSTID = 'echo "$1" > /sys/module/spl/parameters/spl_hostid'

    #: every pool goes, then every label: two of 256 KiB at the beginning of a partition, two at its end
    _CLEAR = """
        umount -a -t zfs
        zpool list -H -o name | while read -r pool; do zpool destroy -f "$pool" || exit 1; done
        rm -f "$1"/*
        folder=$1 count=$2 number=0
        for disk in /dev/vd?1; do
            end=$(($(cat /sys/class/block/${disk#/dev/}/size) / 2048 - 1))
            dd if=/dev/zero of=$disk bs=1M count=1 2> /dev/null
            dd if=/dev/zero of=$disk bs=1M count=1 seek=$end 2> /dev/null
            number=$((number + 1))
            [ $number -gt $count ] || ln -s $disk $folder/d$number
        done
        """

    def __init__(self, shell: Shell, power_cut: Callable[[], None]) -> None:
        names = ["d{0}".format(number) for number in range(1, DISKS + 1)]
        super().__init__("OpenZFS", {name: name for name in names}, shell, power_cut)
        self._disks: List[str] = []

    def clear(self, disks: int) -> None:
        """No pools, no labels, no holds on anything."""
        self._do(self._CLEAR, self.FOLDER, str(disks))
        self._disks = list(self.disks)[:disks]
        self.set_hostid(HOSTID)

    def pull(self, disk: str) -> None:
        """Take the link away."""
        self._do('mv "$1/$2" "/tmp/$2"', self.FOLDER, disk)
        self._disks.remove(disk)

    def plug(self, disk: str) -> None:
        """Put the link back."""
        self._do('mv "/tmp/$2" "$1/$2"', self.FOLDER, disk)
        self._disks.append(disk)

    def cut(self) -> None:
        """For real; the links are gone with it."""
        super().cut()
        letters = dict(zip(self.disks, "abcd"))
        links = ("ln -s /dev/vd{0}1 $1/{1}".format(letters[disk], disk) for disk in self._disks)
        self._do("; ".join(links), self.FOLDER)


class FreeBsd(GuestMachine):
    """A FreeBSD guest, up in recovery mode.

    Its disks are the only partitions of vtbd1, vtbd2 …, and one is pulled by taking the entry out of the partition
    table: its bytes stay, and nothing can open them.
    """

    _HOSTID = 'sysctl kern.hostid="$1"'

    _ADD = 'gpart add -t freebsd-zfs -i 1 -b 2048 -s {0} "$1" > /dev/null'.format(DISK_SIZE // 512)

    #: every pool goes, then every label: two of 256 KiB at the beginning of a partition, two at its end. In one line:
    #: root's shell is csh, where a quoted text cannot go on in the next one
    _CLEAR = " ".join(
        """
        zpool list -H -o name | while read -r pool; do zpool destroy -f "$pool" || exit 1; done;
        count=$1 end=$2;
        for number in 1 2 3 4; do
            set -- vtbd$number;
            gpart show $1 > /dev/null 2>&1 || gpart create -s GPT $1 > /dev/null || exit 1;
            [ -c /dev/${1}p1 ] || {ADD} || exit 1;
            dd if=/dev/zero of=/dev/${1}p1 bs=1m count=1 2> /dev/null || exit 1;
            dd if=/dev/zero of=/dev/${1}p1 bs=1m count=1 seek=$end 2> /dev/null || exit 1;
            [ $number -le $count ] || gpart delete -i 1 $1 > /dev/null || exit 1;
        done
        """.replace("{ADD}", _ADD).split()
    )

    def __init__(self, shell: Shell, power_cut: Callable[[], None]) -> None:
        disks = {"d{0}".format(number): "vtbd{0}p1".format(number) for number in range(1, DISKS + 1)}
        super().__init__("FreeBSD", disks, shell, power_cut)

    def _disk(self, name: str) -> str:
        return self.disks[name].rpartition("p")[0]

    def clear(self, disks: int) -> None:
        """No pools, no labels, no holds on anything."""
        self._do(self._CLEAR, str(disks), str(DISK_SIZE // MIB - 1))
        self.set_hostid(HOSTID)

    def pull(self, disk: str) -> None:
        """Take its entry out of the table."""
        self._do('gpart delete -i 1 "$1" > /dev/null', self._disk(disk))

    def plug(self, disk: str) -> None:
        """Put the entry back."""
        self._do(self._ADD, self._disk(disk))


def _for_any_shell(command: str) -> str:
    """A command of sh in a form that every login shell hands on as it is.

    On FreeBSD 13 root's shell is csh, where a quoted text cannot go on in the next line.
    """
    escaped = "".join("\\0{0:03o}".format(ord(char)) if char in "\n\\'!" else char for char in command)
    return "sh -c 'eval \"$(printf %b \"$1\")\"' sh '{0}'".format(escaped)


def ssh_shell(command: Sequence[str], seconds: float) -> Shell:
    """A shell on a guest.

    :param command: ssh with its options and the host.
    :param seconds: deadline of each script; one that does not end by then is a :class:`MachineError`.
    """

    def run(script: str, arguments: Sequence[str], stdin: Optional[str]) -> Answer:
        there = _for_any_shell(shlex.join(["sh", "-c", script, "sh", *arguments]))
        try:
            done = subprocess.run(
                [*command, there],
                input=(stdin or "").encode(),
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise MachineError("{0!r} {1} does not end in {2:.0f} s".format(script, list(arguments), seconds))
        return Answer(
            done.returncode, *(each.decode("utf-8", "surrogateescape") for each in (done.stdout, done.stderr))
        )

    return run
