# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Sending a set, or a part of it, back to a host that has opened a restore: rsync over ssh, with the key of this backup
host, into the one folder that the host has opened (``_restore/gate.py``).

The set is read from the folder that it is in (``cd``), so a rotation may rename it meanwhile. What was cut goes on by
itself a few times, and then with the next call: rsync compares what is there already.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import execute, sets, state, transfer
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import SEND, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.root import shown_size
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.zfssend import opened

#: the address of a virtual machine here (``machine.py``)
HERE = "127.0.0.1"

#: which set: the newest that is good
NEWEST = "newest"

#: seconds after which a silent line counts as cut; at the other end too, which is free again then
SILENCE = 120

#: seconds before the next try, and how many tries there are
PAUSES = (5, 15, 30, 60, 120)

#: percent between two lines about the progress
_STEP = 5

#: bytes of a description: that of 100,000 files with flags
_MOST = 64 << 20

#: rsync's exit status where one side cannot do what the other asks for
_UNSUPPORTED = 4

#: what the gate says while what was cut has not noticed it yet
_STILL = "files are arriving already"

_FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9:._%-]{0,252}")
_KEY = re.compile(r"[a-z0-9@.-]{1,60} [A-Za-z0-9+/]{16,8000}={0,3}")
_EXCLUDE = re.compile(r"/[A-Za-z0-9_.:/ -]{1,250}")

#: a line of --info=progress2 of rsync(1)
_PROGRESS = re.compile(rb"^\s*([\d,.]+)\s+(\d{1,3})%\s+(\S+)\s+(\d+:\d\d:\d\d)")

_SAFE = "nothing was sent"

#: runs a command in a folder and hands on what it prints; gives the exit status and the end of what it complains of
Stream = Callable[[Sequence[str], str, Callable[[bytes], None]], Tuple[int, str]]


@dataclass(frozen=True)
class Order:
    """What is sent where.

    :param set: its id, or :data:`NEWEST`.
    :param path: on the host; ``/`` for all of it.
    :param contents: what is in the folder *path*, and not the folder itself.
    :param excludes: what is left out, from the top of what is sent.
    :param to: the folder on the host.
    :param address: where the machine is now; where the host always is, if empty.
    :param host_key: what the machine is known by to ssh now; what the host always is, if empty.
    :param bandwidth: the most to send in a second, in bytes; 0 for no limit. That of backups does not count.
    """

    set: str = NEWEST
    path: str = "/"
    contents: bool = False
    excludes: Sequence[str] = ()
    to: str = ""
    address: str = ""
    port: int = 0
    host_key: str = ""
    bandwidth: int = 0


class Found(NamedTuple):
    """What there is to send.

    :param kind: ``host``, ``folder``, ``file`` or ``other``.
    """

    chosen: sets.Set
    description: Any
    source: str
    kind: str
    bytes: int
    files: int


class Sent(NamedTuple):
    """How it went. ``seconds`` is how long the last try took, ``tries`` how many there were."""

    bytes: int
    files: int
    sent: int
    seconds: int
    tries: int
    notes: Tuple[str, ...]


def choose(fleet: Fleet, host: str, ident: str) -> sets.Set:
    """The set that is meant.

    :raises Refused: when there is none.
    """
    if ident == NEWEST:
        newest = sets.newest_good(fleet, host)
        if newest is None:
            raise Refused("there is no good set of {0}".format(host), safe=_SAFE, todo="see nanozfs-backup list")
        return newest
    for each in sets.sets_of(fleet, host):
        if each.pull.id == ident:
            if each.pull.result == state.FAILED:
                raise Refused("the set {0} of {1} failed".format(ident, host), safe=_SAFE, todo="choose another one")
            return each
    raise Refused(
        "there is no set {0!r} of {1}".format(printable(ident)[:80], host),
        safe=_SAFE,
        todo="choose one of those that `nanozfs-backup list {0}` shows".format(host),
    )


def describe(tree: str) -> Any:
    """What the host says of itself in a set.

    :raises FleetError: when that is not there, or cannot be read.
    """
    path = os.path.join(tree, sets.DESCRIPTION)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            data = file.read(_MOST + 1)
        if len(data) > _MOST:
            raise ValueError("it is too large")
        return json.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FleetError(
            "{0} cannot be read: {1}".format(path, error),
            safe=_SAFE,
            todo="choose another set; single files of this one can be copied by hand",
        )


def source_in(tree: str, path: str) -> str:
    """The path in a tree that one on the host is, to be given to rsync from the tree on.

    :raises Refused: when it is none, or not in the tree.
    """
    if not path.startswith("/") or "\0" in path or (os.path.normpath(path) != path and path != "/"):
        raise Refused("{0!r} is no path".format(printable(path)[:200]), safe=_SAFE, todo="give it in full")
    inner = path.lstrip("/")
    full = os.path.join(tree, inner)
    top = os.path.realpath(tree)
    above = os.path.realpath(os.path.dirname(full)) if inner else top
    if inner and (not os.path.lexists(full) or not (above + "/").startswith(top + "/")):
        raise Refused(
            "the set has no {0!r}".format(printable(path)[:200]),
            safe=_SAFE,
            todo="look for it below {0}".format(tree),
        )
    return "./" + inner


def measure(top: str) -> Tuple[int, int]:
    """Bytes and number of what is at a path; holes do not count, and what has several names counts once."""
    found = os.lstat(top)
    if not os.path.isdir(top) or os.path.islink(top):
        return found.st_blocks * 512, 1
    total, number, seen, waiting = 0, 1, set(), [top]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                number += 1
                if info.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if (info.st_dev, info.st_ino) in seen:
                        continue
                    seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total, number


@contextlib.contextmanager
def alone(places: Places, host: str) -> Iterator[None]:
    """One at a time reads the sets of a host.

    :raises Refused: when there is another.
    """
    with state.locked(places.lock(sets.READING + host)) as free:
        if not free:
            raise Refused(
                "something is being sent to {0} already, or a set of it is verified".format(host),
                safe="that goes on",
                todo="wait for its end, or end it there (`pgrep -f nanozfs-backup` says its process)",
            )
        yield


@contextlib.contextmanager
def reading(fleet: Fleet, places: Places, chosen: sets.Set, run: execute.Long) -> Iterator[None]:
    """Have the files of a set where it says, for as long as they are read here.

    :param run: how commands are run.
    :raises FleetError: when they cannot be had.
    """
    if chosen.pull.method != SEND:
        yield
        return
    with alone(places, chosen.pull.host), opened(fleet, chosen, run):  # it is mounted once
        yield


def find(chosen: sets.Set, order: Order) -> Found:
    """Look at what would be sent of a set.

    :raises FleetError: when it is not there.
    """
    source = source_in(chosen.path, order.path)
    full = os.path.join(chosen.path, source)
    description = describe(chosen.path)
    if source == "./":
        return Found(chosen, description, source, "host", chosen.pull.bytes, chosen.pull.files)
    folder = os.path.isdir(full) and not os.path.islink(full)
    kind = "folder" if folder else "file" if os.path.isfile(full) and not os.path.islink(full) else "other"
    return Found(chosen, description, source, kind, *measure(full))


def check(order: Order) -> None:
    """Refuse what no restore asks for.

    :raises Refused: with it.
    """
    wrong = (
        (order.to, _FOLDER, "folder"),
        (order.address or "a", _ADDRESS, "address"),
        (order.host_key or "ssh-ed25519 " + "A" * 20, _KEY, "public key of ssh"),
        *((each, _EXCLUDE, "path to leave out") for each in order.excludes),
    )
    for text, pattern, what in wrong:
        if not pattern.fullmatch(text):
            raise Refused("{0!r} is no {1}".format(printable(text)[:80], what), safe=_SAFE)


def _keeping(xattrs: bool) -> List[str]:
    """What of files comes back."""
    return ["-aHXS" if xattrs else "-aHS", "--numeric-ids"]


def restore_here(run: Stream, tree: str, path: str, folder: str) -> Tuple[int, str]:
    """Restore a file into a folder of this machine, by what it would be sent by to a host: how rsync ended.

    :param tree: of the set.
    :param path: on the host.
    :raises Refused: when it is not in the set.
    """
    source = source_in(tree, path)
    for xattrs in (True, False):
        code, errors = run(["rsync", *_keeping(xattrs), "--", source, folder + "/"], tree, lambda _piece: None)
        if code != _UNSUPPORTED:
            break
    return code, errors


def rsync_argv(ssh: Sequence[str], host: str, order: Order, source: str, xattrs: bool = True) -> List[str]:
    """The command, for the tree as the folder that it is run in.

    :param ssh: how ssh is called, up to the name.
    :param xattrs: with extended attributes.
    """
    options = [*_keeping(xattrs), "--partial", "--stats", "--no-h", "--info=progress2"]
    # what an rsync that was killed has left, under names of its own, must not stay
    options += ["--delete", "--timeout={0}".format(SILENCE)]
    if order.bandwidth > 0:  # in KiB/s; 0 would be no limit
        options.append("--bwlimit={0}".format(max(1, order.bandwidth // 1024)))
    options += ["--exclude=/" + sets.DESCRIPTION] if source == "./" else []
    options += ["--exclude={0}/".format(each) for each in order.excludes]
    end = "/" if order.contents and not source.endswith("/") else ""
    return ["rsync", *options, "-e", " ".join(ssh), "--", source + end, "{0}:{1}/".format(host, order.to)]


def stream(argv: Sequence[str], folder: str, hear: Callable[[bytes], None]) -> Tuple[int, str]:
    """See :data:`Stream`."""
    environment = dict(ENVIRONMENT, HOME="/")
    kept: List[bytes] = []
    try:
        # a program of its own, and no module
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        return 127, str(error)
    output, errors = (stream.fileno() for stream in (process.stdout, process.stderr) if stream)

    def drain() -> None:
        for piece in iter(lambda: os.read(errors, 1 << 16), b""):
            kept.append(piece)
            del kept[:-16]

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        for piece in iter(lambda: os.read(output, 1 << 16), b""):
            hear(piece)
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    reader.join(SILENCE)
    return status, b"".join(kept).decode("utf-8", "replace")


class Progress:
    """What rsync says while it is at work: a line for every few percent, and what it has said at the end."""

    def __init__(self, host: str, says: Callable[[str], None]) -> None:
        self._host = host
        self._says = says
        self._rest = b""
        self._next = _STEP
        self.tail = b""

    def hear(self, piece: bytes) -> None:
        """Some more of it."""
        self.tail = (self.tail + piece)[-(1 << 16) :]
        *lines, self._rest = re.split(rb"[\r\n]", self._rest[-4096:] + piece)
        for line in lines:
            found = _PROGRESS.match(line)
            if found is None or int(found.group(2)) < self._next:
                continue
            percent = int(found.group(2))
            size = int(re.sub(rb"\D", b"", found.group(1)) or b"0")
            speed, left = (found.group(number).decode("ascii", "replace") for number in (3, 4))
            self._says(
                "{0}: {1} %, {2}, {3}, {4}".format(self._host, percent, shown_size(size), printable(speed), left)
            )
            self._next = percent - percent % _STEP + _STEP


class Sender:
    """A backup host, sending to one host.

    :param run: see :data:`Stream`.
    :param sleep: waits for some seconds.
    :param commands: how other commands are run.
    """

    def __init__(
        self,
        fleet: Fleet,
        places: Places,
        run: Stream = stream,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        commands: execute.Long = execute.execute,
    ) -> None:
        self.fleet = fleet
        self.places = places
        self._run = run
        self._clock = clock
        self._sleep = sleep
        self._commands = commands

    def host(self, name: str) -> Host:
        """The host of a name.

        :raises Refused: when there is none.
        """
        if name not in self.fleet.hosts:
            raise Refused("{0} is not among the hosts of this backup host".format(printable(name)[:80]), safe=_SAFE)
        return self.fleet.hosts[name]

    def public_key(self) -> str:
        """The public half of this backup host's key.

        :raises FleetError: when there is none.
        """
        try:
            with open(self.places.key + ".pub", encoding="ascii") as file:
                return file.read().strip()
        except (OSError, ValueError) as error:
            raise FleetError("{0}.pub cannot be read: {1}".format(self.places.key, error), todo="run backup.yml")

    def plan(self, name: str, order: Order) -> Dict[str, Any]:
        """All that a restore has to know before.

        :raises FleetError: when there is nothing to send.
        """
        self.host(name)
        chosen = choose(self.fleet, name, order.set)
        with reading(self.fleet, self.places, chosen, self._commands):
            found = find(chosen, order)
            return {
                "label": self.fleet.label,
                "key": self.public_key(),
                "set": found.chosen.as_dict(),
                "description": found.description,
                "kind": found.kind,
                "bytes": found.bytes,
                "files": found.files,
                "rate": self.rate(name, found.chosen.pull),
            }

    def rate(self, name: str, pull: state.Pull) -> int:
        """Bytes in a second of the last time that much came over the line; 0 where nobody knows."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = state.read_json(self.places.sent(name))
            if said is not None and int(said["seconds"]) > 0:
                return int(said["sent"]) // int(said["seconds"])
        return pull.sent // pull.seconds if pull.seconds > 0 and pull.sent > 1 << 20 else 0

    @contextlib.contextmanager
    def _ssh(self, host: Host, order: Order) -> Iterator[List[str]]:
        """How ssh is called, also for a machine that is not known as the host yet."""
        changed = replace(host, address=order.address or host.address, port=order.port or host.port)
        if not order.host_key:
            yield transfer.ssh_argv(self.fleet, changed, self.places)
            return
        os.makedirs(self.places.state, mode=0o700, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix="known-", dir=self.places.state)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write("{0} {1}\n".format(host.name, order.host_key))
            yield transfer.ssh_argv(self.fleet, changed, self.places, path)
        finally:
            os.unlink(path)

    def send(self, name: str, order: Order, says: Callable[[str], None]) -> Sent:
        """Send it, from where it was broken off.

        :param says: gets lines about the progress.
        :raises FleetError: when it does not arrive; the next call goes on.
        """
        check(order)
        host = self.host(name)
        chosen = choose(self.fleet, name, order.set)
        with alone(self.places, name), opened(self.fleet, chosen, self._commands), self._ssh(host, order) as ssh:
            return self._tries(host, order, find(chosen, order), ssh, says)

    def _tries(self, host: Host, order: Order, found: Found, ssh: List[str], says: Callable[[str], None]) -> Sent:
        notes: List[str] = []
        xattrs, tries = True, 0
        while True:
            tries += 1
            progress, began = Progress(host.name, says), self._clock()
            argv = rsync_argv(ssh, host.name, order, found.source, xattrs)
            code, errors = self._run(argv, found.chosen.path, progress.hear)
            if code == 0:
                stats = transfer.parse_stats(progress.tail.decode("utf-8", "replace"))
                seconds = max(1, int(self._clock() - began))
                if order.address != HERE:  # how fast a machine here takes it says nothing of the line to the host
                    self._remember(host.name, stats.sent, seconds)
                return Sent(stats.bytes, stats.files, stats.sent, seconds, tries, tuple(notes))
            if code == _UNSUPPORTED and xattrs:
                xattrs = False
                notes.append("extended attributes: rsync on {0} knows none".format(host.name))
                continue
            again = tries <= len(PAUSES) and _worth_it(code, errors)
            if not again:
                raise _failure(host.name, code, errors)
            pause = PAUSES[tries - 1]
            says("{0}: the line was cut; the next try is in {1} seconds".format(host.name, pause))
            self._sleep(pause)

    def _remember(self, name: str, sent: int, seconds: int) -> None:
        """How fast it was, for the next time."""
        if sent > 1 << 20:
            state.write_json(self.places.sent(name), {"v": 1, "sent": sent, "seconds": seconds})


def _worth_it(code: int, errors: str) -> bool:
    """Whether another try may go better."""
    if _STILL in errors:
        return True
    final = ("Safe now:", "Permission denied", "Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED")
    return code in transfer.RESUMED and not any(each in errors for each in final)


def _failure(name: str, code: int, errors: str) -> FleetError:
    """Why nothing more comes."""
    lines = [line.strip() for line in errors.split("\n") if line.strip()]
    at = next((number for number, line in enumerate(lines) if line.startswith("Safe now:")), None)
    if at:
        said = printable(lines[at - 1])[:300]
        return Refused("{0} refuses: {1}".format(name, said), safe="nothing more is sent", todo="see restore.yml")
    if "Host key verification failed" in errors or "IDENTIFICATION HAS CHANGED" in errors:
        return FleetError(
            "another machine answers in the place of {0} than the one that is restored".format(name),
            safe="nothing was sent to it",
            todo="run restore.yml again, which asks the machine itself for its key; find out who answers there",
        )
    if "Permission denied" in errors:
        return FleetError(
            "{0} does not let this backup host in".format(name),
            safe="nothing was sent to it",
            todo="run restore.yml again; where it comes from another address than backup_addresses says, correct that",
        )
    said = next((line for line in lines if not line.startswith("rsync error:")), "")
    words = transfer.words(transfer.Pulled(code, said=printable(said)[:300]))
    return FleetError(
        "not everything was sent to {0}: {1}".format(name, words),
        safe="what has arrived is there, and nothing of it is in use",
        todo="run restore.yml again, it goes on where it was broken off",
    )
