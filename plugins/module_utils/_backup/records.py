# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a host remembers of its backups: one user property on ``<pool>/nanozfs`` for each backup host.

A backup host says how a backup went, and the host keeps that, so that whoever looks at the host need not ask the backup
host. What a backup host says is judged before it is kept, and judged again when it is read: both are bounded, and no
text of it reaches a terminal as it came.

Source: zfsprops(7), "User Properties": names of lower-case letters, digits and ``:``, ``-``, ``.``, ``_``, at most 256
characters; values of at most 8192 bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import root_of

#: of a dataset, inherited: whether it is backed up
POLICY = "nanozfs:backup"
SKIP, TAKE = "skip", "take"

#: of ``<pool>/nanozfs``: before the label of a backup host, the record of its last backup
PROPERTY = "nanozfs:backup:"

FORMAT = 1

#: bytes of a record
LIMIT = 1024

#: bytes of what a backup host may say at the end of a backup
MOST = 65536

OK, PARTIAL, FAILED = "ok", "partial", "failed"
RESULTS = (OK, PARTIAL, FAILED)
VERIFICATIONS = (OK, FAILED)
SAMPLE, HOST = "sample", "host"
KINDS = (SAMPLE, HOST)

#: characters of a reason
REASON = 200

#: the largest number that is believed: what every reader of JSON takes as it is
_LARGEST = (1 << 53) - 1

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")
_METHOD = re.compile(r"[a-z][a-z0-9-]{0,19}\Z")
_GUID = re.compile(r"\d{1,20}\Z")
_SEED = re.compile(r"[A-Za-z0-9._:-]{0,64}\Z")

_NOTHING = "nothing was changed"


def check_label(label: str) -> str:
    """The short name of a backup host.

    :raises Refused: when it is none.
    """
    if not isinstance(label, str) or not _LABEL.match(label):
        raise Refused(
            "{0!r} is no name for a backup host".format(printable(str(label))[:60]),
            safe=_NOTHING,
            todo="give lower-case letters, digits, dots, dashes and underscores, at most 40 of them",
        )
    return label


class _Nonsense(Exception):
    """A value that cannot be one; says which."""


class Verified(NamedTuple):
    """How the last look into a backup went. ``seed`` is what its files were chosen by, ``kind`` how far it went: files
    were restored, or the whole host, which came up in a virtual machine.
    """

    at: int
    result: str
    files: int
    seed: str
    kind: str


@dataclass(frozen=True)
class Record:
    """How the last backup by one backup host went.

    Times are in seconds since the epoch by the host's clock. ``bytes`` and ``files`` are what the backup holds,
    ``sent`` the bytes that came over the line, ``seconds`` how long it took. ``good`` is when the last good one began;
    0 where there was none. ``verified`` is the last look at a sample of one, ``machine`` the last at a whole host.
    """

    begun: int
    ended: int
    result: str
    method: str
    bytes: int = 0
    files: int = 0
    seconds: int = 0
    sent: int = 0
    trial: bool = False
    why: str = ""
    good: int = 0
    verified: Optional[Verified] = None
    machine: Optional[Verified] = None

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        looks = {"verified": self.verified, "machine": self.machine}
        return dict(self.__dict__, **{key: each._asdict() if each else None for key, each in looks.items()})


def _whole(values: Mapping[str, Any], key: str, default: Optional[int] = None) -> int:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise _Nonsense(key)
    return value


def _choice(values: Mapping[str, Any], key: str, choices: Any) -> str:
    value = values.get(key)
    if not isinstance(value, str) or value not in choices:
        raise _Nonsense(key)
    return value


def _verified(value: Any) -> Optional[Verified]:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("seed", ""), str):
        raise _Nonsense("verified")
    if not _SEED.match(value.get("seed", "")):
        raise _Nonsense("seed")
    return Verified(
        _whole(value, "at"),
        _choice(value, "result", VERIFICATIONS),
        _whole(value, "files", 0),
        value.get("seed", ""),
        _choice(value, "kind", KINDS),
    )


def _judged(values: Any) -> Record:
    """The record in what JSON held.

    :raises _Nonsense: when there is none.
    """
    if not isinstance(values, dict):
        raise _Nonsense("record")
    method, why = values.get("method"), values.get("why", "")
    if not isinstance(method, str) or not _METHOD.match(method):
        raise _Nonsense("method")
    if not isinstance(why, str):
        raise _Nonsense("why")
    if not isinstance(values.get("trial", False), bool):
        raise _Nonsense("trial")
    return Record(
        begun=_whole(values, "begun", 0),
        ended=_whole(values, "ended", 0),
        result=_choice(values, "result", RESULTS),
        method=method,
        bytes=_whole(values, "bytes", 0),
        files=_whole(values, "files", 0),
        seconds=_whole(values, "seconds", 0),
        sent=_whole(values, "sent", 0),
        trial=values.get("trial", False),
        why=printable(" ".join(why.split()))[:REASON],
        good=_whole(values, "good", 0),
        verified=_verified(values.get("verified")),
        machine=_verified(values.get("machine")),
    )


def _json(text: str) -> Any:
    """What a text of JSON holds; ``None`` for one that is none. Python's own NaN and the like are none either."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None


def encode(record: Record) -> str:
    """A record as its property: compact, and never longer than it may be; the reason gives way."""
    values = dict(record.as_dict(), v=FORMAT)
    while True:
        text = json.dumps(values, separators=(",", ":"), sort_keys=True)
        if len(text) <= LIMIT or not values["why"]:
            return text
        values["why"] = values["why"][: len(values["why"]) // 2]


def decode(text: str) -> Record:
    """The record that a property holds.

    :raises FleetError: when it was written by a later version of the collection, or makes no sense.
    """
    values = _json(text) if len(text) <= LIMIT else None
    if isinstance(values, dict) and values.get("v") != FORMAT:
        raise FleetError(
            "it has another format than {0}, which this version of nanozfs.fleet knows".format(FORMAT), safe=_NOTHING
        )
    try:
        return _judged(values)
    except _Nonsense as which:
        raise FleetError("its {0} makes no sense".format(which), safe=_NOTHING)


class Said(NamedTuple):
    """What a backup host says at the end of a backup; ``keep`` wants to go on later with what was begun, ``arrived``
    are the guids of the snapshots that it has in a pool of its own now (method ``send``).
    """

    record: Record
    keep: bool
    arrived: Tuple[str, ...] = ()


def said(text: str) -> Said:
    """What came from a backup host.

    :raises Refused: when it makes no sense.
    """
    values = _json(text) if len(text) <= MOST else None
    try:
        record = _judged(values)
        keep = values.get("keep", False) if isinstance(values, dict) else None
        if not isinstance(keep, bool):
            raise _Nonsense("keep")
        arrived = values.get("arrived", []) if isinstance(values, dict) else None
        if not isinstance(arrived, list) or not all(isinstance(each, str) and _GUID.match(each) for each in arrived):
            raise _Nonsense("arrived")
    except _Nonsense as which:
        raise Refused(
            "what the backup host says of the backup makes no sense (its {0})".format(which),
            safe="nothing was recorded; what was being read is as it was",
            todo="see that the backup host runs the same version of nanozfs.fleet",
        )
    return Said(record, keep, tuple(arrived))


def verification(text: str) -> Verified:
    """What a backup host says of a look into a backup.

    :raises Refused: when it makes no sense.
    """
    try:
        found = _verified(_json(text) if len(text) <= MOST else None)
        if found is None:
            raise _Nonsense("verification")
    except _Nonsense as which:
        raise Refused(
            "what the backup host says of its look into the backup makes no sense (its {0})".format(which),
            safe="nothing was recorded",
        )
    return found


def following(before: Optional[Record], record: Record) -> Record:
    """A record that takes the place of another: when the last good one was, and the last looks, stay known."""
    good = record.begun if record.result == OK else before.good if before else 0
    return replace(
        record,
        good=good,
        verified=record.verified or (before.verified if before else None),
        machine=record.machine or (before.machine if before else None),
    )


class Records:
    """The records of a pool that is imported."""

    def __init__(self, zfs: Zfs, pool: str) -> None:
        self._zfs = zfs
        self.root = root_of(pool)

    def read(self, label: str) -> Optional[Record]:
        """The record of one backup host; ``None`` where there is none, or one that makes no sense."""
        text = self._zfs.values(self.root, [PROPERTY + label])[PROPERTY + label]
        try:
            return decode(text) if text != "-" else None
        except FleetError:
            return None

    def write(self, label: str, record: Record) -> Record:
        """Keep a record in the place of the one before.

        :returns: it, with what it has of the one before.
        """
        whole = following(self.read(label), record)
        self._zfs.set(self.root, {PROPERTY + label: encode(whole)})
        return whole

    def verified(self, label: str, found: Verified) -> Record:
        """Keep how a look into the last backup went.

        :raises Refused: when no backup is known that it could be of.
        """
        record = self.read(label)
        if record is None:
            raise Refused("no backup by {0} is known on this host".format(label), safe="nothing was recorded")
        whole = replace(record, machine=found) if found.kind == HOST else replace(record, verified=found)
        self._zfs.set(self.root, {PROPERTY + label: encode(whole)})
        return whole

    def forget(self, label: str) -> None:
        """Take a record out, of a backup host that is not wanted any more."""
        if self._zfs.values(self.root, [PROPERTY + label])[PROPERTY + label] != "-":
            self._zfs.unset(self.root, [PROPERTY + label])


def all_of(properties: Mapping[str, str]) -> Dict[str, Dict[str, Any]]:
    """The records among the properties of ``<pool>/nanozfs``, by label, as results have them.

    One that makes no sense has its ``problem`` and nothing else that counts.

    :param properties: its own ones only.
    """
    found = {}
    for key, text in sorted(properties.items()):
        label = key[len(PROPERTY) :]
        if not key.startswith(PROPERTY) or not _LABEL.match(label):
            continue
        try:
            found[label] = dict(decode(text).as_dict(), problem="")
        except FleetError as error:
            found[label] = dict(nothing(), problem="the record of {0} cannot be read: {1}".format(label, error.what))
    return found


def nothing() -> Dict[str, Any]:
    """What results have of a backup host that has not backed up the host yet."""
    empty = Record(0, 0, "", "")
    return dict(empty.as_dict(), problem="")
