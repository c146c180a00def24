# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replaying recorded sessions against the model.

Plain commands are run in this process. Lines for a shell are run by the real /bin/sh, with small programs in front of
its PATH that call the model.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import gpt
from ansible_collections.nanozfs.fleet.tests import transcripts
from ansible_collections.nanozfs.fleet.tests.contract.normalise import normalise
from ansible_collections.nanozfs.fleet.tests.model import pools
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel
from ansible_collections.nanozfs.fleet.tests.model.machine import COMMANDS, FIRST_RELEASE, Machine, Output
from ansible_collections.nanozfs.fleet.tests.transcripts import Transcript

MIB = 1 << 20

_SHELL = re.compile(r"[;|&<>$(){}]")

#: programs that look at files; their paths are those of the model's trees, as nothing is really mounted here
_ON_FILES = re.compile(r"\b(cat|ls|touch|mkdir -p) (/(?!dev/)[\w/.]+)")


def _root() -> str:
    """The folder that holds ``ansible_collections``: where this file is, unless it was reached past a link."""
    here = os.path.abspath(__file__)
    for _level in range(6):
        here = os.path.dirname(here)
    folders = [here] + os.environ.get("PYTHONPATH", "").split(":")
    return next(each for each in folders if os.path.isdir(os.path.join(each, "ansible_collections", "nanozfs")))


class World(Kernel):
    """A kernel that only pretends to mount, with what a test wants to be in the way."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.busy: Set[str] = set()

    def is_directory(self, path: str) -> bool:
        return path != "/nosuch"

    def unmount(self, target: str, force: bool) -> bool:
        return force or target not in self.busy

    def unpack(self, image: str, offset: int, size: int) -> str:
        return self.folder


class Session:
    """A machine on which recorded commands are run one after the other."""

    def __init__(self, folder: str, release: str = FIRST_RELEASE) -> None:
        self.folder = folder
        self.world = World(folder)
        places = os.path.join(folder, "machine"), os.path.join(folder, "shelf")
        self.machine = Machine.create(*places, self.world, release=release)
        self._away: Dict[str, Dict[str, object]] = {}
        self._programs()

    def _programs(self) -> None:
        """Programs of the names of FreeBSD's commands."""
        self._root = _root()
        self._bin = os.path.join(self.folder, "bin")
        os.makedirs(self._bin)
        cli = "ansible_collections.nanozfs.fleet.tests.model.cli"
        texts = {name: 'exec "{0}" -S -m {1} {2} "$@"'.format(sys.executable, cli, name) for name in COMMANDS}
        texts["sleep"] = "exit 0"
        for name, text in texts.items():
            path = os.path.join(self._bin, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n{0}\n".format(text))
            os.chmod(path, 0o755)

    # what happened on the recorded machine between the transcripts

    def do(self, command: str) -> None:
        """Run a command that was not recorded; it must succeed."""
        output = self.run(command)
        assert output.rc == 0, (command, output)

    def boot(self, hostid: int, hostname: str = "fbsd") -> None:
        """Restart the machine, without exporting anything."""
        with self.machine.locked() as machine:
            machine.start({}, hostid)
            machine.running["sysctl"]["kern.hostname"] = hostname

    def attach(self, size: int, *names: str) -> None:
        """Attach new disks of *size* MiB."""
        for name in names:
            self.machine.load()
            self.machine.add_disk(name, size * MIB)

    def detach(self, *names: str) -> None:
        """Pull disks."""
        for name in names:
            self.machine.load()
            self._away[name] = self.machine.remove_disk(name)

    def bring_back(self, name: str, under: Optional[str] = None) -> None:
        """Attach a disk again, perhaps under another name."""
        self.machine.load()
        self.machine.attach_disk(self._away.pop(name), under)

    def crash(self, pool: str) -> None:
        """Forget that a pool is imported, as a power loss would."""
        with self.machine.locked() as machine:
            for guid, running in list(machine.running["pools"].items()):
                if running["name"] == pool:
                    del machine.running["pools"][guid]

    def set_hostid(self, number: int) -> None:
        """Become another system."""
        self.do("sysctl kern.hostid={0}".format(number))

    def write(self, dataset: str, name: str, content: bytes) -> None:
        """Write a file into a dataset."""
        self.machine.load()
        with open(os.path.join(pools.folder(self.machine, dataset), name), "wb") as file:
            file.write(content)

    def edit(self, change: Callable[[Machine], None]) -> None:
        """Change the machine in some other way."""
        with self.machine.locked() as machine:
            change(machine)

    # running

    def run(self, command: str) -> Output:
        """Run a command line."""
        if _SHELL.search(command):
            return self._shell(command)
        argv = shlex.split(command)
        assert argv[0] in COMMANDS, "{0} is not in the model".format(argv[0])
        return self.machine.run(argv)

    def _shell(self, command: str) -> Output:
        self.machine.load()
        done = subprocess.run(
            ["/bin/sh", "-c", _ON_FILES.sub(self._real_path, command)],
            capture_output=True,
            check=False,
            env={
                "PATH": self._bin + ":/usr/bin:/bin",
                "PYTHONPATH": self._root,
                "PYTHONPYCACHEPREFIX": os.path.join(self.folder, "pyc"),
                "MODEL_HOME": self.machine.home,
                "MODEL_SHELF": self.machine.shelf,
                "LC_ALL": "C",
            },
        )
        self.machine.load()
        texts = [text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr)]
        return Output(done.returncode, *texts)

    def _real_path(self, match: re.Match[str]) -> str:
        """Where a path of the machine is: in the live tree of what belongs there, or in a scratch folder."""
        program, path = match.groups()
        found, below = "", ""
        for pool in pools.Pools(self.machine).imported():
            for dataset in pool.datasets:
                where = pool.mountpoint(dataset)
                if len(where) > len(below) and (path + "/").startswith(where + "/"):
                    found, below = pool.live(dataset), where
        if not found:
            found = os.path.join(self.folder, "scratch")
        return "{0} {1}".format(program, found + path[len(below) :])


Step = Callable[[Session], None]


@dataclass
class Script:
    """How a directory of transcripts is replayed.

    :param setup: the machine as it was at the beginning.
    :param before: what happened before a transcript without being recorded.
    :param instead: commands to run in place of the recorded one, where that needs what is not modelled (a process that
        sits in a mounted file system, say); callables in between do what no command of the model does.
    :param excluded: patterns of names of transcripts that are not replayed, with the reason.
    :param release: on which they were recorded.
    """

    directory: str
    setup: Step
    before: Dict[str, Step] = field(default_factory=dict)
    instead: Dict[str, List[Union[str, Step]]] = field(default_factory=dict)
    excluded: Dict[str, str] = field(default_factory=dict)
    release: str = FIRST_RELEASE

    @property
    def title(self) -> str:
        """For people, and the same for no two scripts."""
        return "{0}/{1}".format(self.release, self.directory)

    @property
    def fixtures(self) -> str:
        """Where the transcripts of its release are."""
        return transcripts.RELEASES[self.release]

    def on(
        self,
        release: str,
        before: Optional[Dict[str, Step]] = None,
        instead: Optional[Dict[str, List[Union[str, Step]]]] = None,
        excluded: Optional[Dict[str, str]] = None,
        included: Sequence[str] = (),
    ) -> Script:
        """The same session as it was recorded on another release.

        :param before: what is different or comes on top there; so *instead* and *excluded*.
        :param included: patterns that are excluded here, but not there.
        """
        kept = {pattern: why for pattern, why in self.excluded.items() if pattern not in included}
        return Script(
            self.directory,
            self.setup,
            dict(self.before, **(before or {})),
            dict(self.instead, **(instead or {})),
            dict(kept, **(excluded or {})),
            release,
        )

    def reason(self, name: str) -> str:
        """Why a transcript is not replayed; nothing for one that is."""
        return next((why for pattern, why in self.excluded.items() if fnmatch.fnmatch(name, pattern)), "")

    def names(self) -> List[str]:
        """The transcripts that are replayed."""
        return [name for name in transcripts.names(self.directory, self.fixtures) if not self.reason(name)]


#: what was recorded, what the model said, and the release of both
Replayed = Tuple[Transcript, Output, str]

#: those of several sessions, by their titles
Results = Dict[str, Dict[str, Replayed]]


def of_each(scripts: Sequence[Script]) -> pytest.MarkDecorator:
    """Have a test run for each transcript that is replayed, by the title of its session and its name."""
    return pytest.mark.parametrize(("title", "name"), [(each.title, name) for each in scripts for name in each.names()])


def replay(script: Script, folder: str) -> Dict[str, Replayed]:
    """Replay a directory, and give back what the model said beside what was recorded."""
    session = Session(folder, script.release)
    script.setup(session)
    results: Dict[str, Replayed] = {}
    for name in transcripts.names(script.directory, script.fixtures):
        number = name.split("-", 1)[0]
        if number in script.before:
            script.before[number](session)
        if script.reason(name):
            continue
        transcript = transcripts.load(script.directory, name, script.fixtures)
        output = _perform(session, script.instead.get(number, [transcript.command]))
        results[name] = (transcript, output, script.release)
    return results


def _perform(session: Session, steps: List[Union[str, Step]]) -> Output:
    total = Output()
    for step in steps:
        if callable(step):
            step(session)
        else:
            output = session.run(step)
            total = Output(output.rc, total.out + output.out, total.err + output.err)
    return total


def compare(transcript: Transcript, output: Output, release: str) -> None:
    """Assert that the model said what was recorded.

    :param release: on which it was recorded.
    """
    command = transcript.command
    for said, recorded in ((output.out, transcript.out), (output.err, transcript.err)):
        wanted, got = (normalise(command, text, release).splitlines() for text in (recorded, said))
        difference = "\n".join(difflib.unified_diff(wanted, got, "recorded", "model", lineterm=""))
        assert not difference, "{0}\n{1}".format(command, difference)
    assert output.rc == transcript.rc, command


def nothing_of_pools(session: Session) -> None:
    """What was there of pools is gone, and the disks are empty."""

    def wipe(machine: Machine) -> None:
        machine.running["pools"].clear()
        machine.running["mounts"] = [each for each in machine.running["mounts"] if each["type"] != "zfs"]
        for disk in machine.hardware["disks"].values():
            disk["zfs"] = None

    session.edit(wipe)


def busy(where: str) -> Step:
    """Somebody sits in a mounted file system."""

    def step(session: Session) -> None:
        session.world.busy.add(where)

    return step


def idle(session: Session) -> None:
    """And goes away again."""
    session.world.busy.clear()


# the recorded guest


def system_disk(session: Session) -> None:
    """The OS medium of the guest: a GPT with room for four entries, its second partition mounted as root."""
    sectors = 2550210560 // gpt.SECTOR
    session.machine.load()
    session.machine.add_disk("vtbd0", 2550210560, "OSDISK", table=True)
    table = gpt.new_table(sectors, gpt.TYPES["efi"], 4)
    table.first, table.last = 3, 4980877
    for index, (kind, first, size, label) in enumerate(
        (
            ("freebsd-boot", 8, 123, "boot0"),
            ("freebsd-ufs", 136, 2097152, "os-a"),
            ("freebsd-ufs", 2097288, 2097152, "os-b"),
            ("freebsd-ufs", 4194440, 786432, "recovery"),
        ),
        start=1,
    ):
        flags = gpt.ATTRIBUTES["bootme"] if label == "os-a" else 0
        guid = gpt.TYPES["efi"]
        table.add(index, gpt.Entry(gpt.TYPES[kind], guid, first, first + size - 1, flags, label))
    write_table(session, "vtbd0", table)
    session.edit(_mount_root)


def write_table(session: Session, disk: str, table: gpt.Table) -> None:
    """Put a partition table onto a disk."""
    session.machine.load()
    with open(session.machine.image(disk), "r+b") as file:
        file.write(gpt.protective_mbr(table.sectors))
        gpt.write_table(file, table)


def _mount_root(machine: Machine) -> None:
    machine.running["mounts"] += [
        {"from": "/dev/gpt/os-a", "on": "/", "type": "ufs", "readonly": False},
        {"from": "devfs", "on": "/dev", "type": "devfs", "readonly": False},
    ]
