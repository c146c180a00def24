# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A virtual machine on the backup host, in which a whole host comes back from its backup.

The controller restores it there as it would to bare metal; this is what the backup host does for that: it makes the
machine, boots it from a medium of the fleet, says how it is reached, and takes the machine away; ``whole.py`` judges
what came back. The machine runs as ``nobody``, with files that were opened for it, in a network that leads nowhere
(:mod:`qemu`).

A process of its own looks after each machine (``keep``). It ends with the machine, and the machine with it: when its
time is over, when the reserve of the backup host would be touched, or when somebody asks for it. What one that was
killed has left is taken away by the next run of the program.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import (
    Description,
    parse,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import (
    execute,
    qemu,
    root,
    send,
    sets,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import Vault
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import (
    locked,
    read_json,
    write_json,
)

#: before the name of a host: a folder below the root of all sets, with the disks of its machine
FOLDER = ".machine-"
MEDIUM, POOL, PID = "medium", "pool", "pid"

#: the disk of the pool, as FreeBSD calls it; ``vtbd0`` is the medium
DISK = "vtbd1"

#: how large that is at most by the pool that the host had: file systems have no files of any size (ext4(5): 16 TiB)
MOST_POOL = 4 << 40

#: how much larger than the files of a set its pool is at least (bytes)
SPARE = 1 << 30

#: what a machine may take: memory in MiB, and how long it lives at most (seconds)
MEMORY, LEAST_MEMORY, MOST_MEMORY = 2048, 256, 1 << 20
SECONDS, MOST_SECONDS = 6 * 3600, 7 * 86400

#: how long it may take to come up for the first time (seconds); software emulation needs minutes
BOOT = 900

#: whom it runs as
USER = "nobody"

#: how long the controller has to bring a medium (seconds), and how often is seen whether it is a host's turn
BRINGING, TURN = 7200, 5

#: After so many seconds a machine that is there has its port (QEMU ends at once where it cannot have it), and it is no
#: other program that answers there
SETTLED = 5

#: bytes of its console that are kept, twice
_LOG = 1 << 20

#: how many lines of it are shown, of how many bytes
_LINES, _TAIL = 12, 64 << 10

#: how long its keeper has to end it (seconds)
GRACE = 30

#: and to begin: a Python on a machine that has much else to do
COMING = 60

#: bytes of a file of settings in a set
_MOST = 1 << 20

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SAFE = "nothing was verified, and no set was changed"


class Spec(NamedTuple):
    """What of a host its machine must have.

    :param uuid: of its board; empty where that is not known, and then its hostid is not either.
    :param disk: bytes of its pool.
    :param need: bytes that it takes here, about.
    """

    chosen: sets.Set
    described: Description
    uuid: str
    net: qemu.Net
    disk: int
    need: int


@dataclass(frozen=True)
class Wish:
    """How a machine shall be.

    :param set: which set it is for, by its id.
    :param memory: in MiB.
    :param seconds: how long it lives at most.
    :param boot: how many of these it may take to come up.
    """

    set: str = send.NEWEST
    memory: int = MEMORY
    cpus: int = 1
    accel: str = qemu.TCG
    seconds: int = SECONDS
    boot: int = BOOT


def check(wish: Wish) -> None:
    """Refuse what no machine can be.

    :raises Refused: with it.
    """
    for name, value, least, most in (
        ("--memory", wish.memory, LEAST_MEMORY, MOST_MEMORY),
        ("--cpus", wish.cpus, 1, 64),
        ("--seconds", wish.seconds, 60, MOST_SECONDS),
        ("--boot", wish.boot, 10, MOST_SECONDS),
    ):
        if not least <= value <= most:
            raise Refused("{0} is {1}, and must be between {2} and {3}".format(name, value, least, most), safe=SAFE)
    if wish.accel not in qemu.ACCELERATORS:
        raise Refused("{0!r} is none of {1}".format(wish.accel, ", ".join(qemu.ACCELERATORS)), safe=SAFE)


def _text_in(tree: str, folder: bytes, name: bytes) -> str:
    """A file of a set that is no link, and not reached by one; empty where there is none."""
    try:
        top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            above = digests.open_folder(top, folder)
        finally:
            os.close(top)
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
        finally:
            os.close(above)
        with os.fdopen(handle, "rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _size(values: Any) -> int:
    """The ``size`` of something that a host has described; 0 where it is none."""
    size = values.get("size") if isinstance(values, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 60 else 0


def spec_of(host: Host, chosen: sets.Set) -> Spec:
    """What a machine for a set must have.

    :raises FleetError: when the set does not say it, or no machine here can have it.
    """
    said = send.describe(chosen.path)
    described = parse(said)
    arch = str(said.get("arch") or "")
    if arch not in ("", "amd64"):
        raise Refused(
            "{0} is {1}, and only amd64 comes up in a machine here".format(host.name, printable(arch)[:20]),
            safe=SAFE,
            todo="verify a sample of its files, which needs no machine",
        )
    settings: Dict[str, str] = {}
    for name in (b"rc.conf", b"rc.conf.local"):
        settings.update(qemu.settings(_text_in(chosen.path, b"cfg", name)))
    pool, slices = said.get("pool"), said.get("slices")
    size = _size(pool)
    medium = sum(map(_size, slices.values())) if isinstance(slices, Mapping) else 0
    disk = max(min(size, MOST_POOL), chosen.pull.bytes * 5 // 4 + SPARE)
    disk = -(-disk // (1 << 20)) << 20
    uuid = str(said.get("hostuuid") or "")
    uuid = uuid if _UUID.fullmatch(uuid) else ""
    return Spec(chosen, described, uuid, qemu.net_of(settings, host.address), disk, chosen.pull.bytes + medium)


class Machines:
    """The virtual machines of a backup host.

    :param begin: begins a process that goes on by itself.
    :param run: how commands are run.
    :param clock: seconds since some moment, whatever becomes of the time of day.
    """

    def __init__(
        self,
        vault: Vault,
        begin: Optional[Callable[[Sequence[str]], None]] = None,
        run: execute.Long = execute.execute,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._fleet = vault.fleet
        self._places = vault.places
        self._begin = begin or _begin
        self._run = run
        self._sleep = sleep
        self._clock = clock

    def host(self, name: str) -> Host:
        """A host of this backup host.

        :raises Refused: for any other.
        """
        self._vault.see([name], SAFE)
        return self._fleet.hosts[name]

    def folder(self, name: str) -> str:
        """Where the disks of a machine are."""
        return os.path.join(self._fleet.root, FOLDER + name)

    def _lock(self, name: str) -> str:
        """The lock of who looks after a machine."""
        return self._places.lock("machine-" + name)

    def state(self, name: str) -> Dict[str, Any]:
        """What is known of a machine."""
        try:
            said = read_json(self._places.machine(name))
        except ValueError:
            said = None
        return dict(said) if isinstance(said, Mapping) else {}

    def _is_kept(self, name: str) -> bool:
        """Whether somebody looks after a machine."""
        with locked(self._lock(name)) as free:
            return not free

    # looking

    def _version(self) -> str:
        """Of QEMU.

        :raises Refused: when it is not there.
        """
        _rc, out, _err = self._run([qemu.PROGRAM, "--version"], None, 60, {})
        found = qemu.version_of(out)
        if found is None:
            raise Refused(
                "{0} is not installed on this backup host".format(qemu.PROGRAM),
                safe=SAFE,
                todo="install it: on Debian the package qemu-system-x86, on FreeBSD qemu",
            )
        return found

    def plan(self, name: str, wish: Wish, make: bool = False) -> Dict[str, Any]:
        """What a machine for a host would be, and whether there is room for it.

        :param make: wait until no other machine is there, take away what an earlier one has left, and make its folder.
        :raises FleetError: when there can be none.
        """
        check(wish)
        host = self.host(name)
        version = self._version()
        if self._is_kept(name):
            raise Refused(
                "there is a virtual machine with {0} already".format(name),
                safe="that goes on",
                todo="wait for its end, or end it there: nanozfs-backup machine stop {0}".format(name),
            )
        chosen = send.choose(self._fleet, name, wish.set)
        with self._vault.reading(chosen):
            spec = spec_of(host, chosen)
        if make:
            self._make(name, spec.need, self._clock() + wish.seconds)
        else:
            root.room_for(self._fleet, spec.need, SAFE)
        described = spec.described
        return {
            "set": chosen.pull.id,
            "host": described.host,
            "hostid": described.hostid if spec.uuid else "",
            "pool": described.pool,
            "version": described.image.version,
            "image": described.image.name,
            "medium": os.path.join(self.folder(name), MEDIUM),
            "need": spec.need,
            "vdevs": [{"type": "stripe", "disks": [DISK]}],
            "qemu": version,
            "says": "would restore {0} as of {1} (set {2}) in a virtual machine of {3} MiB ({4}, QEMU {5}) at {6} of "
            "its own network, booted from a medium of {7}; about {8} of room are needed".format(
                described.host,
                described.when,
                chosen.pull.id,
                wish.memory,
                wish.accel,
                version,
                spec.net.address,
                described.image.version or "the newest image",
                root.shown_size(spec.need),
            ),
        }

    # the life of one

    def _make(self, name: str, need: int, until: float) -> None:
        """Make the folder of a machine, when it is its turn: there is one at a time, as each takes memory for itself.

        :raises Refused: when its turn does not come, or there is no room.
        """
        while True:
            with locked(self._places.lock("machines")) as free:
                others = self._others(name) if free else ["another one that is being made"]
                if not others:
                    self.clear(name)
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._places.machine(name))
                    root.room_for(self._fleet, need, SAFE)
                    os.mkdir(self.folder(name), mode=0o700)
                    return
            if self._clock() > until:
                raise Refused(
                    "the virtual machine of {0} is still there, and there is one at a time".format(others[0]),
                    safe=SAFE,
                    todo="wait for its end, or end it there: nanozfs-backup machine stop {0}".format(others[0]),
                )
            self._sleep(TURN)

    def _others(self, name: str) -> List[str]:
        """The hosts whose machines are there, or are about to be."""
        return [each for each in sorted(self._fleet.hosts) if each != name and self._is_there(each)]

    def start(self, name: str, wish: Wish) -> Dict[str, Any]:
        """Boot a machine whose medium is there, and wait until it can be logged in to.

        :returns: how it is reached from here, and by which key it is known to ssh.
        :raises FleetError: when it does not come up; nothing is left of it then.
        """
        check(wish)
        host, began = self.host(name), self._vault.now()
        chosen = send.choose(self._fleet, name, wish.set)
        with self._vault.reading(chosen):
            spec = spec_of(host, chosen)
        medium = os.path.join(self.folder(name), MEDIUM)
        if self._is_kept(name) or not os.path.isfile(medium):
            raise Refused(
                "there is a machine already, or no medium at {0}".format(medium),
                safe=SAFE,
                todo="have backup_verify.yml do it, which brings the medium",
            )
        port = free_port()
        write_json(
            self._places.machine(name),
            {
                "v": 1,
                "set": chosen.pull.id,
                "began": int(began),
                "seconds": wish.seconds,
                "port": port,
                "ssh": host.port,
                "net": list(spec.net),
                "disk": spec.disk,
                "memory": wish.memory,
                "cpus": wish.cpus,
                "accel": wish.accel,
                "uuid": spec.uuid,
            },
        )
        self._begin([self._places.launcher, "machine", "keep", name])
        try:
            key = self._wait(name, port, began + wish.boot)
        except BaseException:
            self.stop(name)
            raise
        return {"port": port, "key": key, "set": chosen.pull.id, "seconds": int(self._vault.now() - began)}

    def _wait(self, name: str, port: int, until: float) -> str:
        """The ssh key of a machine, when it is up."""
        begun = self._vault.now()
        while True:
            argv = ["ssh-keyscan", "-T", "5", "-t", "ed25519", "-p", str(port), send.HERE]
            _rc, out, _err = self._run(argv, None, 60, {})
            keys = [
                line.split()[1:3] for line in out.splitlines() if not line.startswith("#") and len(line.split()) > 2
            ]
            state, now = self.state(name), self._vault.now()
            if keys and not state.get("ended") and now - begun >= SETTLED:
                return " ".join(keys[0])
            if state.get("ended") or now > until:
                why = state.get("why") or "it could not be logged in to within {0:.0f} s".format(now - begun)
                raise FleetError(
                    "the virtual machine did not come up: {0}. Its console: {1}".format(
                        printable(str(why)), "; ".join(self.console(name)) or "nothing"
                    ),
                    safe=SAFE,
                    todo="all of its console is in {0}; a machine that is slow needs more time "
                    "(backup_machine_boot_timeout)".format(self._places.console(name)),
                )
            self._sleep(1)

    def console(self, name: str) -> List[str]:
        """The last lines of a machine's console, as they may be shown."""
        try:
            with open(self._places.console(name), "rb") as file:
                file.seek(max(0, os.path.getsize(self._places.console(name)) - _TAIL))
                return qemu.last_lines(file.read(), _LINES)
        except OSError:
            return []

    def status(self, name: str) -> Dict[str, Any]:
        """How a machine is."""
        self.host(name)
        state = self.state(name)
        found = {key: state.get(key) for key in ("set", "began", "seconds", "port", "ended", "why")}
        return dict(found, running=self._is_kept(name), console=self.console(name))

    def stop(self, name: str) -> None:
        """End a machine, and take away what is left of it.

        :raises FleetError: when it does not end.
        """
        asked = 0  # once: a second signal would end it while it takes the disks away
        for _turn in range(GRACE * 4):
            if not self._is_kept(name):
                break
            keeper = self.state(name).get("keeper")
            if isinstance(keeper, int) and keeper > 1 and keeper != asked and self._is_keeper(keeper, name):
                asked = keeper
                with contextlib.suppress(ProcessLookupError):
                    os.kill(keeper, signal.SIGTERM)
            self._sleep(0.25)
        else:
            raise FleetError(
                "who looks after the virtual machine of {0} does not end".format(name),
                safe="no set was changed",
                todo="see that process: {0}".format(self.state(name).get("keeper")),
            )
        self.clear(name)

    def _is_keeper(self, pid: int, name: str) -> bool:
        """Whether a process is one that looks after a machine; another one may have got the number of one that was."""
        rc, out, _err = self._run(["ps", "-p", str(pid), "-o", "args="], None, 60, {})
        return rc not in (0, 1) or out.split()[-3:] == ["machine", "keep", name]

    def clear(self, name: str) -> None:
        """Take away what a machine that nobody looks after has left."""
        with locked(self._lock(name)) as free:
            if not free:
                return
            folder = self.folder(name)
            left = execute.owner_of(os.path.join(folder, PID), "nanozfs-" + name, self._run)
            if left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(left), signal.SIGKILL)
            if os.path.lexists(folder):
                self._vault.command(["rm", "-rf", "--", folder])

    def reap(self) -> None:
        """The same of all: a keeper may have been killed, or this machine restarted."""
        # a host may have left the fleet since, and what is there of it are its secrets
        try:
            found = sorted(each[len(FOLDER) :] for each in os.listdir(self._fleet.root) if each.startswith(FOLDER))
        except OSError:
            return
        for name in filter(None, found):
            if not self._is_there(name):
                self.clear(name)

    def _is_there(self, name: str) -> bool:
        """Whether a machine is there, or about to be."""
        try:
            age = self._vault.now() - os.lstat(self.folder(name)).st_mtime
        except OSError:
            return False
        # a medium that is being brought belongs to a machine that is yet to be started
        brought = age < BRINGING and not self.state(name)
        return brought or self._is_coming(name) or self._is_kept(name)

    def _is_coming(self, name: str) -> bool:
        """Whether a machine was started a moment ago, and who looks after it is about to do so."""
        state = self.state(name)
        began = state.get("began")
        if not isinstance(began, int) or "keeper" in state:
            return False
        return abs(self._vault.now() - began) < COMING

    # looking after one

    def keep(self, name: str, argv: Optional[Callable[[Sequence[int], int], List[str]]] = None) -> str:
        """Run a machine to its end; why that was.

        :param argv: the command, from the descriptors of its disks and of its console; QEMU's by default.
        """
        self.host(name)
        for _turn in range(20):  # who only looks whether it is kept has the lock for a moment
            with locked(self._lock(name)) as free:
                if free:
                    return self._to_its_end(name, argv)
            time.sleep(0.05)
        return "somebody else looks after it"

    def _to_its_end(self, name: str, argv: Optional[Callable[[Sequence[int], int], List[str]]]) -> str:
        state = dict(self.state(name), keeper=os.getpid())
        write_json(self._places.machine(name), state)
        why = ""
        try:
            why = self._kept(name, state, argv)
        except (OSError, KeyError, FleetError) as error:
            why = "it cannot be run: {0}".format(error)
        except SystemExit:
            why = "it was ended"
        finally:
            # the disks have all that the host has: they go first, and whatever becomes of the record
            if os.path.lexists(self.folder(name)):
                self._vault.command(["rm", "-rf", "--", self.folder(name)])
            write_json(self._places.machine(name), dict(state, ended=int(self._vault.now()), why=why))
        return why

    def _kept(
        self, name: str, state: Mapping[str, Any], argv: Optional[Callable[[Sequence[int], int], List[str]]]
    ) -> str:
        folder, until = self.folder(name), self._clock() + int(state["seconds"])
        with open(os.path.join(folder, POOL), "xb") as file:
            file.truncate(int(state["disk"]))
        # what the host had in its memory is in that of QEMU, and nothing takes a core of that away with the disks
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        groups = _groups(str(state["accel"]))
        who: Dict[str, Any] = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": groups}
        console, its_console = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.callback(console.close)
            disks = [os.open(os.path.join(folder, each), os.O_RDWR | os.O_CLOEXEC) for each in (MEDIUM, POOL)]
            for each in disks:
                stack.callback(os.close, each)
            command = (argv or self._argv(name, state))(disks, its_console.fileno())
            # a program of its own, and no module
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                command,
                stdin=subprocess.DEVNULL,
                stdout=its_console.fileno(),
                stderr=its_console.fileno(),
                pass_fds=[*disks, its_console.fileno()],
                env=dict(ENVIRONMENT, HOME="/"),
                cwd="/",
                **who,
            )
            its_console.close()
            reader = threading.Thread(target=_record, args=(console, self._places.console(name)), daemon=True)
            reader.start()
            stack.callback(reader.join, GRACE)  # the last of these is done first
            stack.callback(process.wait)
            stack.callback(process.kill)
            with open(os.path.join(folder, PID), "w", encoding="ascii") as file:
                file.write(str(process.pid))
            while process.poll() is None:
                why = self._over(until)
                if why:
                    return why
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
            return "QEMU ended with {0}".format(process.returncode) if process.returncode else "it switched itself off"

    def _argv(self, name: str, state: Mapping[str, Any]) -> Callable[[Sequence[int], int], List[str]]:
        model, unit, address, network, router = state["net"]
        linux = self._places.system == "Linux"
        copy = qemu.Copy(
            name,
            qemu.Net(str(model), int(unit), str(address), str(network), str(router)),
            int(state["port"]),
            int(state["ssh"]),
            int(state["memory"]),
            int(state["cpus"]),
            str(state["accel"]),
            linux,
            str(state["uuid"]),
        )
        # setpriv(1) of util-linux: it does not outlive who looks after it, whatever ends that
        first = ["setpriv", "--pdeathsig", "KILL"] if linux else []
        return lambda disks, console: [*first, *qemu.copy_argv(copy, disks, console)]

    def _over(self, until: float) -> str:
        """Why a machine must end; empty where it may go on."""
        if self._clock() > until:
            return "its time was over (backup_machine_timeout)"
        try:
            root.room_for(self._fleet, 0, SAFE)
        except Refused as error:
            return "it took too much room: {0}".format(error.what)
        return ""


def _groups(accel: str) -> List[int]:
    """Whom the machine must be one of besides: who may use KVM."""
    if accel != qemu.KVM:
        return []
    try:
        return [os.stat("/dev/kvm").st_gid]
    except OSError:
        raise FleetError("there is no /dev/kvm on this backup host", safe=SAFE, todo="use backup_machine_accel: tcg")


def _begin(argv: Sequence[str]) -> None:
    """Begin a process that goes on when this one has ended."""
    # a program of its own, and no module
    subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(ENVIRONMENT, HOME="/"),
        cwd="/",
        start_new_session=True,
    )


def _record(console: socket.socket, path: str) -> None:
    """Keep what a machine says: the last of it, however much that is."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, path + ".1")
    file, size = open(path, "wb", 0), 0  # noqa: SIM115 - it is another one after a while
    try:
        while True:
            try:
                piece = console.recv(1 << 16)
            except OSError:
                return
            if not piece:
                return
            with contextlib.suppress(OSError):  # a full disk is seen to elsewhere
                file.write(piece)
            size += len(piece)
            if size > _LOG:
                file.close()
                os.replace(path, path + ".1")
                file, size = open(path, "wb", 0), 0  # noqa: SIM115
    finally:
        file.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((send.HERE, 0))
        return int(probe.getsockname()[1])
