# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""nz-state: the small partition of the OS medium that remembers what must be known before the pool is there.

It holds two copies of a few lines ``key=value``, each copy with a serial number and a check sum. Writing goes to the
older copy, so a power cut leaves the newer one. The early boot hook reads and writes it in sh (``state_load`` and
``state_put`` in ``roles/image/files/root/boot/nanozfs/early.subr``); this is the same format, and a test holds the two
together.

Behind them are two copies of the host's name and network (``identity`` has what is in them), in the same format.

``boots``: starts in a row that did not get through the import of the pool. ``guid``: of the pool that this medium
belongs to. The rest mirrors the journal, which is on the pool and is what counts: so that a host whose pool is missing
can still tell what upgrade it was in, and the hook knows the time limit of a trial before the pool is imported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import device as devices
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.device import Device
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Medium, read_medium
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import Journal

COPIES = 2


class Area(NamedTuple):
    """A part of the partition: where its two copies begin, and the length of each, in bytes.

    Both are multiples of every sector size in use; the early hook has the same numbers (``state_load`` in
    ``early.subr``).
    """

    start: int
    copy: int


#: the state proper, and the host's name and network
STATE, NETWORK = Area(0, 8192), Area(65536, 32768)

_SERIAL = "serial"
_SUM = "sha256"


@dataclass(frozen=True)
class State:
    """What nz-state says. ``place`` is the copy that it was read from; -1 when neither is any good."""

    values: Mapping[str, str] = field(default_factory=dict)
    serial: int = 0
    place: int = -1

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever written to it: the medium has not been in use."""
        return self.place < 0


def parse_copy(raw: bytes) -> Optional[Dict[str, str]]:
    """The lines of one copy, with its serial number; ``None`` unless its check sum is right."""
    text, _line, last = raw.rstrip(b"\0").rpartition(_SUM.encode() + b"=")
    if hashlib.sha256(text).hexdigest().encode() != last.strip():
        return None
    pairs = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines())
    values = {key: value for key, equals, value in pairs if equals}
    return values if values.get(_SERIAL, "").isdigit() else None


def render_copy(values: Mapping[str, str], serial: int, length: int = STATE.copy) -> bytes:
    """One copy, *length* bytes long. Values lose their line ends; what does not fit is left out, from the end."""
    lines = ["{0}={1}\n".format(_SERIAL, serial)]
    size = len(lines[0]) + len(_SUM) + 1 + 64 + 1
    for key, value in values.items():
        line = "{0}={1}\n".format(key, " ".join(value.split()))
        size += len(line.encode("utf-8"))
        if size > length:
            break
        lines.append(line)
    body = "".join(lines).encode("utf-8")
    body += "{0}={1}\n".format(_SUM, hashlib.sha256(body).hexdigest()).encode()
    return body.ljust(length, b"\0")


def read(device: Device, area: Area = STATE) -> State:
    """The newer one of the good copies.

    :param device: nz-state, opened.
    :param area: which part of it.
    :raises DeviceError: when it cannot be read.
    """
    best = State()
    for place in range(COPIES):
        values = parse_copy(device.read(area.start + place * area.copy, area.copy))
        if values is not None and int(values[_SERIAL]) > best.serial:
            serial = int(values.pop(_SERIAL))
            best = State(values, serial, place)
    return best


def write(device: Device, values: Mapping[str, str], area: Area = STATE) -> State:
    """Change some values, in the older copy.

    :param values: the new ones; others of the state stay, those of the network are what is given and nothing else.
    :param area: which part of nz-state.
    :returns: what nz-state says now.
    :raises DeviceError: when it cannot be written; what it said before still counts.
    """
    old = read(device, area)
    merged = dict(old.values, **values) if area == STATE else dict(values)
    if merged == old.values:
        return old
    place = 1 - old.place if old.place >= 0 else 0
    device.write(area.start + place * area.copy, render_copy(merged, old.serial + 1, area.copy))
    device.flush()
    return State(merged, old.serial + 1, place)


def mirror(journal: Journal, guid: Optional[str]) -> Dict[str, str]:
    """What nz-state says about a journal.

    :param guid: of the pool that holds it.
    """
    values = {
        "guid": guid or "",
        "phase": journal.phase,
        "timeout": str(journal.timeout),
        "txn": journal.txn or "",
        "kind": journal.kind or "",
        "to_build": journal.target.build if journal.target else "",
        "to_version": journal.target.version if journal.target else "",
        "from_version": journal.source.version if journal.source else "",
        "reason": journal.reason[:1000],
    }
    return {key: " ".join(value.split()) for key, value in values.items()}


def of(medium: Medium, area: Area = STATE) -> State:
    """What the medium remembers; nothing where it has no nz-state.

    :param area: which part of nz-state.
    :raises FleetError: when nz-state cannot be read.
    """
    if medium.state is None:
        return State()
    with devices.open_device(medium.state) as device:
        return read(device, area)


def tell(runner: Runner, pool: str, journal: Journal) -> List[str]:
    """Let the OS medium know of a journal as well, for a start at which the pool is not there (yet).

    :param pool: name of the pool that holds the journal.
    :returns: what went wrong; empty when nothing did. The journal counts all the same.
    """
    try:
        medium = read_medium(runner)
        found = Zpool(runner).pool(pool)
    except FleetError as error:
        return ["nz-state was not written: {0}".format(error.what)]
    problem = remember(medium, mirror(journal, found.guid if found else None))
    return ["nz-state was not written: {0}".format(problem)] if problem else []


def remember(medium: Medium, values: Mapping[str, str], area: Area = STATE) -> str:
    """Change what the medium remembers.

    It is a help and no more: a worn medium must not stop a transaction, whose journal is on the pool.

    :param area: which part of nz-state.
    :returns: what went wrong; empty when nothing did.
    """
    if medium.state is None:
        return "the OS medium {0} has no nz-state".format(medium.disk)
    try:
        with devices.open_device(medium.state, writable=True) as device:
            write(device, values, area)
    except FleetError as error:
        return error.what
    return ""
