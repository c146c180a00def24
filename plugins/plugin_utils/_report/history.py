# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of a fleet over time: a file of JSON lines on the controller.

Two kinds of lines. ``{"at": …, "run": {…}}`` once for each report: how many hosts were in which condition, ran which
version. ``{"at": …, "host": name, …}`` only for a host that is not as its line before says. Whoever wants more
appends to the file what it likes: lines that are of no known kind are left alone, and counted.

Several plays may append at once: each holds the file's lock while it does, and writes its lines in one piece. What a
machine that lost its power left of the last line is passed over, and ended by whoever writes next. A file that grew too
large is made anew with the newest of it, and the newest line of each host.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import Counter
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import SILENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.fleet import Fleet, Host

#: no line that we write is longer (bytes)
LONGEST_LINE = 16384

#: of a file (bytes), where nothing else is said; ten years of a fleet of 200 hosts that is upgraded every month
LARGEST = 16 << 20

#: what is noted of a host besides the time; it is compared with what was noted before
_ABOUT_IMAGE = ("name", "version", "id", "build")


class History(NamedTuple):
    """What a file holds.

    :param runs: the lines of reports, the oldest first.
    :param hosts: the lines of each host, the oldest first.
    :param spoilt: how many lines could not be read.
    """

    runs: Sequence[Mapping[str, Any]]
    hosts: Mapping[str, Sequence[Mapping[str, Any]]]
    spoilt: int = 0

    def last(self, name: str) -> Optional[Mapping[str, Any]]:
        """The newest line of a host."""
        lines = self.hosts.get(name)
        return lines[-1] if lines else None

    def remarks(self, path: str) -> List[str]:
        """What is to be said of the file."""
        if not self.spoilt:
            return []
        were = "was" if self.spoilt == 1 else "were"
        return ["{0} of {1} could not be read and {2} passed over".format(counted(self.spoilt, "line"), path, were)]


NOTHING = History((), {})


def _line(raw: bytes) -> Optional[Dict[str, Any]]:
    """A line that makes sense; ``None`` for any other."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not _is_time(value.get("at")):
        return None
    if isinstance(value.get("host"), str) or isinstance(value.get("run"), dict):
        return value
    return None


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def parse(content: bytes) -> History:
    """Read a history; what makes no sense is counted."""
    runs: List[Mapping[str, Any]] = []
    hosts: Dict[str, List[Mapping[str, Any]]] = {}
    spoilt = 0
    for raw in content.splitlines():
        if not raw.strip():
            continue
        value = _line(raw) if len(raw) <= LONGEST_LINE else None
        if value is None:
            spoilt += 1
        elif "run" in value:
            runs.append(value)
        else:
            hosts.setdefault(value["host"], []).append(value)
    return History(runs, hosts, spoilt)


def read(path: str) -> History:
    """The history in a file; an empty one where there is none yet.

    :raises FleetError: when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return parse(file.read())
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        raise _unusable(path, error)


def _unusable(path: str, error: OSError) -> FleetError:
    return FleetError(
        "the history {0} cannot be used: {1}".format(path, error.strerror),
        safe="no host was changed, and nothing was added to it",
        todo="name a file (report_history) in a folder of this machine that its user may write to; in an execution "
        "environment of AWX only what is mounted there stays",
    )


def state_of(host: Host) -> Dict[str, Any]:
    """What is noted of a host. How full its pool is changes all the time and is noted in tens."""
    values: Dict[str, Any] = {"site": host.site, "condition": host.condition}
    if host.target is not None:
        values["wants"] = host.target.wish.wanted
    known = host.known
    if known is None:
        return values
    values["image"] = {key: getattr(known.running, key) for key in _ABOUT_IMAGE}
    if known.pool:
        values["pool"] = {"health": known.pool.health, "tens": known.pool.capacity // 10}
    transaction = known.transaction
    if transaction is not None and transaction.txn:
        values["transaction"] = {
            "txn": transaction.txn,
            "kind": transaction.kind,
            "phase": transaction.phase,
            "from": transaction.source,
            "to": transaction.target,
            "ended": transaction.times[-1][1] if transaction.times and not transaction.is_open else None,
            "seconds": transaction.seconds,
            "fetched": transaction.fetched,
        }
    return values


def additions(fleet: Fleet, before: History) -> List[Dict[str, Any]]:
    """The lines that a report adds.

    A host that does not answer keeps what was known of it: only its condition is another one.
    """
    at = int(fleet.at)
    versions = Counter(host.known.running.title for host in fleet.hosts if host.known and host.known.running.name)
    run = {"hosts": len(fleet.hosts), "conditions": fleet.counts, "versions": dict(sorted(versions.items()))}
    lines: List[Dict[str, Any]] = [{"at": at, "run": run}]
    for host in fleet.hosts:
        last = {key: value for key, value in (before.last(host.name) or {}).items() if key not in ("at", "host")}
        state = state_of(host)
        if host.condition in SILENT:
            state = dict(last, **state)
        if state != last:
            lines.append(dict(state, at=at, host=host.name))
    return lines


def encode(line: Mapping[str, Any]) -> bytes:
    """A line of the file."""
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """The file of that name, locked. Whoever made it anew while we waited has left us with the old one: once more."""
    while True:
        place = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            here, there = os.fstat(place), os.stat(path)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                yield place
                return
        except FileNotFoundError:
            pass
        finally:
            os.close(place)


def _content(place: int) -> bytes:
    pieces: List[bytes] = []
    os.lseek(place, 0, os.SEEK_SET)
    while True:
        piece = os.read(place, 1 << 20)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def pruned(content: bytes, largest: int, oldest: int) -> bytes:
    """What is kept of a file: the newest lines that fit into half of what it may have, and the newest of each host.

    :param largest: bytes.
    :param oldest: what is older than this goes (seconds since the epoch).
    """
    kept: List[Tuple[int, bytes]] = []
    seen: set[str] = set()
    room = largest // 2
    lines = content.splitlines(keepends=True)
    for number in range(len(lines) - 1, -1, -1):
        value = _line(lines[number])
        if value is None:
            continue
        host = value.get("host")
        newest = host is not None and host not in seen
        if host is not None:
            seen.add(host)
        fits = room >= len(lines[number]) and value["at"] >= oldest
        if newest or fits:
            kept.append((number, lines[number] if lines[number].endswith(b"\n") else lines[number] + b"\n"))
            room -= len(lines[number])
    return b"".join(line for _number, line in reversed(kept))


def append(path: str, fleet: Fleet, largest: int = LARGEST, days: int = 0) -> Tuple[History, List[str]]:
    """Note a report.

    :param largest: how large the file may become (bytes).
    :param days: lines that are older go when the file is made anew; 0 for no such limit.
    :returns: the history with it, and what is to be said of the file.
    :raises FleetError: when it cannot be read or written.
    """
    try:
        with _locked(path) as place:
            content = _content(place)
            history = parse(content)
            new = b"".join(encode(each) for each in additions(fleet, history))
            if content and not content.endswith(b"\n"):
                new = b"\n" + new  # a torn line is ended, or ours would be spoilt with it
            oldest = int(fleet.at) - days * 86400 if days else 0
            outlived = bool(history.runs) and history.runs[0]["at"] < oldest
            if outlived or len(content) + len(new) > largest:
                content = pruned(content + new, largest, oldest)
                # whoever waits for the lock of the old one sees that it is another
                replace_file(path, content)
            else:
                _write(place, new)
                content += new
            return parse(content), history.remarks(path)
    except OSError as error:
        raise _unusable(path, error)


def _write(place: int, content: bytes) -> None:
    """In one piece where the system takes it in one, and under the lock in any case."""
    while content:
        content = content[os.write(place, content) :]
    os.fsync(place)
