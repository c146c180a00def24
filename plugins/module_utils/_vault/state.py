# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is known of each host here: how its last pull went. One JSON file a host, replaced as a whole."""

from __future__ import annotations

import calendar
import contextlib
import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Iterator, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving

OK, PARTIAL, FAILED = "ok", "partial", "failed"

_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")

#: the most that is read of a file of ours (bytes)
_MOST = 1 << 20


def moment_of(stamp: str) -> Optional[int]:
    """Seconds since the epoch of ``20261130T220501Z``; ``None`` where it is no such text."""
    match = _STAMP.fullmatch(stamp)
    try:
        return calendar.timegm(tuple(int(each) for each in match.groups()) + (0, 0, 0)) if match else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Pull:
    """How a pull went.

    :param id: of the set: when it was tried, as ``20261130T220501Z``.
    :param begun: when the snapshot was taken, by the host's clock; 0 where it came to none.
    :param ended: when it was over. All times in seconds since the epoch.
    :param result: :data:`OK`, :data:`PARTIAL` (some files could not be read) or :data:`FAILED`.
    :param bytes: of all files of the set, with their number.
    :param sent: bytes that went over the line.
    :param trial: the host ran a system on trial.
    :param why: why it is not ok; or what is to be known of one that is.
    :param kind: for how long it is kept, where that is decided when it is made (dirvish).
    """

    id: str
    host: str
    begun: int
    ended: int
    result: str
    method: str
    bytes: int = 0
    files: int = 0
    sent: int = 0
    seconds: int = 0
    trial: bool = False
    why: str = ""
    tag: str = ""
    version: str = ""
    kind: str = ""

    @property
    def tried(self) -> int:
        """When it was begun by the clock here, as its name says.

        For how long sets are kept, and whether there is one of this night, goes by that and not by :attr:`begun`: with
        a clock that is wrong, or a lie, a host would have its older sets rotated away in hours.
        """
        moment = moment_of(self.id)
        return self.begun if moment is None else moment


@dataclass(frozen=True)
class Known:
    """What is known of a host.

    :param last: the last pull.
    :param good: the last good one.
    :param tried: when the last one was begun, by the clock here.
    :param failures: how many in a row were not good.
    :param broken: why nothing is known although something was.
    :param verified: how the last look into one of its sets went, as ``verify.py`` has it.
    :param looked: when one was looked into last by itself, in vain or not, by the clock here.
    :param machine: the same of the last time that one came up in a virtual machine (``machine.py``).
    """

    last: Optional[Pull] = None
    good: Optional[Pull] = None
    tried: Optional[int] = None
    failures: int = 0
    broken: str = ""
    verified: Optional[Mapping[str, Any]] = None
    machine: Optional[Mapping[str, Any]] = None
    looked: Optional[int] = None

    def after(self, pull: Pull, tried: int) -> Known:
        """The same after another pull."""
        if pull.result == OK:
            return replace(self, last=pull, good=pull, tried=tried, failures=0, broken="")
        return replace(self, last=pull, tried=tried, failures=self.failures + 1, broken="")


def pull_of(said: Any) -> Pull:
    """A pull that was written by :func:`asdict`; what it does not know of it is left out.

    :raises ValueError: when it is none.
    """
    if not isinstance(said, Mapping):
        raise ValueError("it is no mapping")
    values: Dict[str, Any] = {}
    for each in fields(Pull):
        kind = {"str": str, "int": int, "bool": bool}[str(each.type)]
        if each.name not in said:
            continue
        value = said[each.name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError("{0} is {1!r}".format(each.name, value))
        values[each.name] = value
    try:
        return Pull(**values)
    except TypeError as error:
        raise ValueError(str(error))


def read_json(path: str) -> Any:
    """What is in a file of ours; ``None`` where there is none.

    :raises ValueError: when it is no JSON, or far too much.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(str(error.strerror))
    if len(data) > _MOST:
        raise ValueError("it is larger than a file of ours is")
    return json.loads(data.decode("utf-8"))


def write_json(path: str, value: Any) -> None:
    """Replace a file of ours.

    :raises FleetError: when it cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with arriving(path) as (_partial, file):
            file.write((json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    except OSError as error:
        raise FleetError("{0} cannot be written: {1}".format(path, error.strerror), todo="make room, or see why")


def read_known(path: str) -> Known:
    """What is known of a host; one whose file cannot be read is one that nothing is known of, and says so."""
    try:
        said = read_json(path)
        if said is None:
            return Known()
        if not isinstance(said, Mapping) or said.get("v") != 1:
            raise ValueError("it is of another format")
        tried, failures = said.get("tried"), said.get("failures", 0)
        if not isinstance(failures, int) or not isinstance(tried, (int, type(None))):
            raise ValueError("its numbers are none")
        last, good = (None if said.get(key) is None else pull_of(said[key]) for key in ("last", "good"))
        looks = {key: said[key] for key in ("verified", "machine") if isinstance(said.get(key), Mapping)}
        looked = said.get("looked")
        return Known(last, good, tried, failures, looked=looked if isinstance(looked, int) else None, **looks)
    except ValueError as error:
        return Known(broken="{0} cannot be read: {1}".format(path, error))


def write_known(path: str, known: Known) -> None:
    """Keep it.

    :raises FleetError: when it cannot be written.
    """
    said = {
        "v": 1,
        "last": asdict(known.last) if known.last else None,
        "good": asdict(known.good) if known.good else None,
        "tried": known.tried,
        "failures": known.failures,
        "verified": dict(known.verified) if known.verified else None,
        "machine": dict(known.machine) if known.machine else None,
        "looked": known.looked,
    }
    write_json(path, said)


@contextlib.contextmanager
def locked(path: str) -> Iterator[bool]:
    """A lock that ends with the process (flock(2)); whether it could be had.

    :raises FleetError: when its file cannot be made.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FleetError("{0} cannot be made: {1}".format(path, error.strerror), todo="see why")
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
