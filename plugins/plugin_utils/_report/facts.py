# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a host, read out of what its module returned: once, and with a limit on everything.

A host may be of another version, broken, or lie. Whatever cannot be read makes its row one of nonsense and hides no
other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._condition import (
    FAILED,
    NO_ANSWER,
    NONSENSE,
    NOT_ASKED,
    SILENT,
    Finding,
    findings,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.drift import KINDS
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import CLOSED, REVERTED
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._report.words import plain

#: how many of a kind are kept of one host: remarks, disks, slices, pools, phases
MANY = 20
#: what a host says of its configuration
DRIFT = ("unsaved", "new", "deleted", *KINDS)
#: packages of one image
PACKAGES = 5000


@dataclass(frozen=True)
class Image:
    """An image in a slice; texts are empty and numbers 0 where nothing is known.

    :param bad: why it is on the fleet's list of bad images; empty where it is not.
    """

    name: str = ""
    version: str = ""
    build: str = ""
    id: str = ""
    seq: int = 0
    slice: str = ""
    flags: Tuple[str, ...] = ()
    problem: str = ""
    bad: str = ""

    @property
    def title(self) -> str:
        """Name and version, or a dash."""
        return "{0}-{1}".format(self.name, self.version) if self.name else "-"


@dataclass(frozen=True)
class Origin:
    """Where the running image comes from."""

    method: str
    release: str
    revision: str
    options: int
    package_count: int
    packages: Tuple[Tuple[str, str], ...]


@dataclass(frozen=True)
class Pool:
    """The system pool. Sizes in bytes, capacity in percent."""

    name: str
    health: str
    capacity: int
    size: int
    allocated: int
    readonly: bool
    scan: str
    errors: str


@dataclass(frozen=True)
class Disks:
    """The data disks: how many of how many, what is said of those that are not there, and those with errors."""

    found: int
    expected: int
    missing: Tuple[str, ...]
    errors: Tuple[Tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Transaction:
    """The last transaction, or the open one.

    :param times: phases with when they began, seconds since the epoch by the host's clock.
    :param fetched: bytes.
    """

    txn: str
    kind: str
    phase: str
    source: str
    target: str
    reason: str
    fetched: int
    times: Tuple[Tuple[str, int], ...]

    @property
    def is_open(self) -> bool:
        return self.phase not in CLOSED

    @property
    def seconds(self) -> Optional[int]:
        """How long it took, by the host's clock; ``None`` while it is open or where its times make no sense."""
        if self.is_open or len(self.times) < 2:
            return None
        took = self.times[-1][1] - self.times[0][1]
        return took if 0 <= took < 10**7 else None


@dataclass(frozen=True)
class Verified:
    """How the last look into a backup went."""

    at: int
    result: str
    files: int
    kind: str


@dataclass(frozen=True)
class Backup:
    """The last backup of a host by one backup host; all is 0 or empty where there was none yet.

    Times in seconds since the epoch by the host's clock, sizes in bytes.

    :param good: when the last good one began; 0 for never.
    :param verified: the last look at a sample of one; ``machine`` the last at a whole host, in a virtual machine.
    :param since: since when it is read now; ``None`` where it is not.
    """

    label: str
    result: str
    method: str
    begun: int
    ended: int
    good: int
    bytes: int
    files: int
    sent: int
    seconds: int
    trial: bool
    why: str
    verified: Optional[Verified]
    machine: Optional[Verified]
    since: Optional[int]
    problem: str


@dataclass(frozen=True)
class Files:
    """Files of a kind: how many there are, and the first of them."""

    count: int
    paths: Tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """What a host says of itself."""

    state: str
    hostname: str
    arch: str
    release: str
    running: Image
    other: Image
    origin: Optional[Origin]
    has_origin: bool
    pool: Optional[Pool]
    pool_told: bool
    importable: Tuple[Tuple[str, str], ...]
    disks: Optional[Disks]
    transaction: Optional[Transaction]
    backups: Tuple[Backup, ...]
    drift: Optional[Mapping[str, Files]]
    bad: Tuple[str, ...]
    remarks: Tuple[str, ...]
    findings: Tuple[Finding, ...]

    @property
    def system(self) -> str:
        """The FreeBSD that runs: as its image says, or else as the kernel does."""
        return self.origin.release if self.origin and self.origin.release else self.release


@dataclass(frozen=True)
class Answer:
    """What came of asking a host.

    :param survey: what it said, as it came; for one that could not be asked only ``state`` and ``reason``.
    :param known: what could be read of it; ``None`` for one of :data:`SILENT`.
    """

    survey: Mapping[str, Any]
    known: Optional[Known]

    @property
    def silent(self) -> str:
        """Why nothing is known, one of :data:`SILENT`; empty where something is."""
        return "" if self.known else str(self.survey["state"])

    @property
    def reason(self) -> str:
        return "" if self.known else str(self.survey["reason"])


def _silent(state: str, reason: object) -> Answer:
    if state not in SILENT:
        raise AssertionError("{0} is no state of a host of which nothing is known".format(state))
    return Answer({"state": state, "reason": plain(reason)}, None)


def answer(result: object) -> Answer:
    """What is known of a host, from the result of ``host_info`` for it.

    :param result: as it was registered; none where nothing was.
    """
    if not isinstance(result, Mapping):
        return _silent(NOT_ASKED, "it was not looked at in this run")
    if result.get("unreachable"):
        return _silent(NO_ANSWER, result.get("msg") or "it cannot be reached")
    host = result.get("host")
    if result.get("failed") or not isinstance(host, Mapping):
        return _silent(FAILED, result.get("msg") or "it could not be looked at")
    try:
        # what no JSON can hold is nonsense too, and what was text of Ansible's own kinds is plain text after it
        survey: Mapping[str, Any] = json.loads(json.dumps(host))
        return Answer(survey, read(survey))
    except Exception as problem:
        # a module of another version, or a host that lies, in whatever way: the others have their rows
        return _silent(NONSENSE, "what it says of itself cannot be read: {0}".format(plain(repr(problem))))


def read(host: Mapping[str, Any]) -> Known:
    """Read what a host said.

    :raises Exception: of whatever kind, for what makes no sense.
    """
    running = host.get("running") or {}
    medium = host.get("medium") or {}
    journal = host.get("journal")
    return Known(
        state=plain(host.get("state", "-")),
        hostname=plain(host.get("hostname") or ""),
        arch=plain(host.get("arch") or ""),
        release=plain(host.get("release") or ""),
        running=_image(running, running.get("slice")),
        other=_other(medium),
        origin=_origin(running["origin"]) if running.get("origin") else None,
        has_origin="origin" in running and bool(running.get("name")),
        pool=_pool(host["pool"]) if host.get("pool") else None,
        pool_told="pool" in host,
        importable=tuple((plain(each["name"]), plain(each["state"])) for each in (host.get("importable") or [])[:MANY]),
        disks=_disks(host["disks"]) if host.get("disks") else None,
        transaction=_transaction(journal) if journal else None,
        backups=tuple(
            _backup(plain(label), each) for label, each in sorted(dict(host.get("backups") or {}).items())[:MANY]
        ),
        drift=_drift(host["drift"]) if host.get("drift") else None,
        bad=tuple(plain(each) for each in _texts((journal or {}).get("bad") or [])[:64]),
        remarks=tuple(_remarks(host, journal or {})),
        findings=tuple(Finding(each.condition, plain(each.reason)) for each in findings(host)[: 2 * MANY]),
    )


def _texts(value: Any) -> List[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list: {0!r:.60}".format(value))
    return value


def _number(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError("not a number: {0!r:.60}".format(value))
    return int(value)


def _image(image: Mapping[str, Any], label: Any, flags: Tuple[str, ...] = (), problem: str = "") -> Image:
    return Image(
        name=plain(image["name"]) if image.get("name") else "",
        version=plain(image["version"]) if image.get("name") else "",
        build=plain(image.get("build") or ""),
        id=plain(image.get("id") or ""),
        seq=_number(image.get("seq")),
        slice=plain(label or "-"),
        flags=flags,
        problem=problem,
        bad=plain(image.get("bad") or ""),
    )


def _other(medium: Mapping[str, Any]) -> Image:
    label = medium.get("inactive")
    if not label:
        return Image(slice="-")
    piece = medium["slices"][label]
    flags = tuple(plain(each) for each in _texts(piece["flags"])[:MANY])
    return _image(piece["image"] or {}, label, flags, plain(piece.get("problem") or ""))


def _origin(origin: Mapping[str, Any]) -> Origin:
    packages = _texts(origin.get("packages") or [])[:PACKAGES]
    return Origin(
        method=plain(origin["method"]),
        release=plain(origin["release"]),
        revision=plain(origin["revision"]),
        options=len(dict(origin["options"])),
        package_count=_number(origin["package_count"]),
        packages=tuple((plain(each["name"]), plain(each["version"])) for each in packages),
    )


def _pool(pool: Mapping[str, Any]) -> Pool:
    return Pool(
        name=plain(pool["name"]),
        health=plain(pool["health"]),
        capacity=_number(pool["capacity"]),
        size=_number(pool.get("size")),
        allocated=_number(pool.get("allocated")),
        readonly=bool(pool.get("readonly")),
        scan=plain(pool.get("scan") or ""),
        errors=plain(pool.get("errors") or ""),
    )


def _disks(disks: Mapping[str, Any]) -> Disks:
    errors = _texts(disks.get("errors") or [])[: 2 * MANY]
    return Disks(
        found=_number(disks["found"]),
        expected=_number(disks["expected"]),
        missing=tuple(plain(each) for each in _texts(disks["missing"])[:MANY]),
        errors=tuple(
            (plain(each["name"]), *(_number(each[key]) for key in ("read", "write", "checksum")))  # type: ignore[misc]
            for each in errors
        ),
    )


def _transaction(journal: Mapping[str, Any]) -> Transaction:
    times = [(plain(each["phase"]), _number(each["at"])) for each in _texts(journal.get("times") or [])[:MANY]]
    return Transaction(
        txn=plain(journal.get("txn") or ""),
        kind=plain(journal.get("kind") or ""),
        phase=plain(journal["phase"]),
        source=plain((journal.get("from") or {}).get("version") or ""),
        target=plain((journal.get("to") or {}).get("version") or ""),
        reason=plain(journal.get("reason") or ""),
        fetched=_number(journal.get("fetched")),
        times=tuple(times),
    )


def _look(look: Optional[Mapping[str, Any]]) -> Optional[Verified]:
    if not look:
        return None
    kind = plain(look.get("kind") or "")
    return Verified(_number(look["at"]), plain(look["result"]), _number(look.get("files")), kind)


def _backup(label: str, backup: Mapping[str, Any]) -> Backup:
    numbers = {key: _number(backup.get(key)) for key in ("begun", "ended", "good", "bytes", "files", "sent", "seconds")}
    return Backup(
        label=label,
        result=plain(backup["result"]),
        method=plain(backup.get("method") or ""),
        trial=bool(backup.get("trial")),
        why=plain(backup.get("why") or ""),
        verified=_look(backup.get("verified")),
        machine=_look(backup.get("machine")),
        since=_number(backup.get("since")) if backup.get("running") else None,
        problem=plain(backup.get("problem") or ""),
        **numbers,
    )


def _drift(said: Mapping[str, Any]) -> Dict[str, Files]:
    return {
        kind: Files(_number(said[kind]["count"]), tuple(plain(each) for each in _texts(said[kind]["paths"])[:MANY]))
        for kind in DRIFT
    }


def _remarks(host: Mapping[str, Any], journal: Mapping[str, Any]) -> List[str]:
    """What there is to say about a host besides its condition and its line in the table."""
    found = [plain(each) for each in _texts(host.get("warnings") or [])[: MANY + 1]]
    more = len(host.get("warnings") or []) - len(found)
    if host.get("reason") and str(host["reason"]) not in [each.reason for each in findings(host)]:
        found.append(plain(host["reason"]))
    if journal.get("revived"):
        found.append(plain("revived by a new medium at {0}".format(journal["revived"])))
    if journal.get("reason"):
        begun = "last taken back" if journal.get("phase") == REVERTED else "the journal says"
        found.append(plain("{0}: {1}".format(begun, journal["reason"])))
    kept = len(_texts(host.get("failed") or []))
    if kept:
        found.append("{0} kept".format(counted(kept, "failed state")))
    if len(found) + more > MANY:
        found[MANY:] = ["and {0} more".format(len(found) + more - MANY)]
    return found


def surveys(answers: Mapping[str, Answer]) -> Dict[str, Any]:
    """What hosts said, by host, as it came: the report of version 1.0."""
    return {name: each.survey for name, each in answers.items()}
