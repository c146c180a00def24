# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

r"""The journal: what upgrade or rollback a host is in the middle of.

It is a set of user properties on ``<pool>/nanozfs``, written by one ``zfs set`` and so in one transaction group. Which
phase may follow which, and what is done on the way, is the table of :mod:`machine`. The early boot hook reads the same
properties one by one with ``zfs get`` and does the steps of the table that belong to a start.

What cannot be read is not "nothing": a journal that holds nonsense is an error, never an idle one.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Collection, Dict, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import Step, decode

FORMAT = "1"
PREFIX = "nanozfs:"

IDLE = "idle"
PREPARED = "prepared"
WRITTEN = "written"
ARMED = "armed"
TRIAL = "trial"
COMMITTING = "committing"
COMMITTED = "committed"
REVERTING = "reverting"
REVERTED = "reverted"

#: phases in which no transaction is open and a new one may begin
CLOSED = (IDLE, COMMITTED, REVERTED)
PHASES = (IDLE, PREPARED, WRITTEN, ARMED, TRIAL, COMMITTING, COMMITTED, REVERTING, REVERTED)

#: what becomes of the data in a rollback: it stays, or goes back to what it was before the upgrade that is undone
KEEP_DATA, RESTORE_DATA = "keep", "restore"

UPGRADE = "upgrade"
ROLLBACK = "rollback"

#: how many image ids the bad-image list remembers; 64 of 64 characters fit into one property
MAX_BAD = 64

#: the steps of a plan are numbered with three digits, and done in the order of their names
MAX_STEPS = 1000

#: how many changes of the phase are remembered with their times, the newest; an upgrade that goes well has six
MAX_TIMES = 16

_TIMES = "times"
#: the transaction that ``times`` and ``fetched`` are of: those who write a journal and know of neither leave them
_NOTED = "noted"
_APPLY = "apply."
_REVERT = "revert."


def puts_cfg_aside(data: str, datasets: Collection[str]) -> bool:
    """Whether the configuration of before takes the place of that of now.

    :param data: what becomes of the data: :data:`KEEP_DATA` or :data:`RESTORE_DATA`.
    :param datasets: those that follow the system, by their names below ``<pool>/nanozfs``.
    """
    return data == RESTORE_DATA and "cfg" in datasets


@dataclass(frozen=True)
class Lease:
    """Who works on an open transaction, and until when if nothing is heard of him.

    :param token: what every later call of his carries; nobody is shown it but he.
    :param holder: who: the user and machine of the play, its process, the job of AWX.
    :param since: when he opened or took over the transaction, by the host's clock; for people.
    :param boot: the start of the host (``kern.boot_id``) at which he was last heard of.
    :param heard: seconds after that start, when that was.
    :param seconds: how long the lease lasts after that.
    """

    token: str
    holder: Mapping[str, str]
    since: str
    boot: str
    heard: float
    seconds: int

    def as_dict(self) -> Dict[str, Any]:
        """For module results: without the token."""
        return {"holder": dict(self.holder), "since": self.since, "seconds": self.seconds}


def _encode_lease(lease: Optional[Lease]) -> str:
    return json.dumps(dict(lease.__dict__, holder=dict(lease.holder)), sort_keys=True) if lease else ""


def _decode_lease(text: str) -> Optional[Lease]:
    if not text:
        return None
    try:
        found = json.loads(text)
        holder = {str(key): str(value) for key, value in found["holder"].items()}
        return Lease(
            str(found["token"]),
            holder,
            str(found["since"]),
            str(found["boot"]),
            float(found["heard"]),
            int(found["seconds"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _nonsense("lease", text)


def _nonsense(key: str, value: str) -> FleetError:
    return FleetError(
        "the journal holds {0!r} as its {1}, which makes no sense".format(value[:80], key),
        safe="nothing was changed: a journal that cannot be read is not taken for an empty one",
        todo="look at it with `zfs get all <pool>/nanozfs`; what {0}{1} was can be read in "
        "/var/log/nanozfs.log of the host".format(PREFIX, key),
    )


@dataclass(frozen=True)
class Journal:
    """The journal of one host.

    ``image`` is what was committed last; ``fallback`` what ran before that and ``fallback_txn`` the transaction whose
    snapshot belongs to it. ``timeout`` is how long a trial may take, in seconds. ``revived`` is when the host came up
    from a medium that was new to its pool, by the host's clock; the early hook notes it, and the next play that records
    what runs takes note of it. ``staged`` says that a configuration for the new system waits (:mod:`staging`).
    ``suspect`` is the id of an image whose last trial ended without anybody saying why: at the second time in a row it
    is taken for bad. ``lease`` is who works on the open transaction (:mod:`lease`). ``fetched`` is how many bytes the
    image cost that the last transaction wrote. ``times`` are the phases that it went through, each with when it came to
    it in seconds since the epoch by the host's clock, which may be wrong: for people. They are kept by whoever writes
    the phase (:class:`JournalStore`, the early hook) and decide nothing.
    """

    phase: str = IDLE
    count: int = 0
    txn: Optional[str] = None
    kind: Optional[str] = None
    source: Optional[ImageRef] = None
    target: Optional[ImageRef] = None
    image: Optional[ImageRef] = None
    fallback: Optional[ImageRef] = None
    fallback_txn: Optional[str] = None
    timeout: int = 0
    reason: str = ""
    revived: str = ""
    bad: Tuple[str, ...] = ()
    suspect: str = ""
    data: str = KEEP_DATA
    staged: bool = False
    lease: Optional[Lease] = None
    fetched: int = 0
    times: Tuple[Tuple[str, int], ...] = field(default=(), compare=False)
    apply: Tuple[Step, ...] = ()
    revert: Tuple[Step, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.phase not in CLOSED

    @property
    def snapshot(self) -> Optional[str]:
        """The name of the open transaction's snapshot, without dataset and @."""
        return snapshot_tag(self.txn) if self.txn else None

    def next_txn(self, target: ImageRef, nonce: Optional[str] = None) -> str:
        """The id of the next transaction.

        Counted, not timed: the clock of a host may be wrong. No other play can have it, also where the count was lost:
        snapshots and what is put aside are named by it.

        :param nonce: what makes it unique; drawn by default.
        """
        return "{0:04d}-{1}-{2}".format(self.count + 1, target.id[:8], nonce or secrets.token_hex(2))

    def as_dict(self) -> Dict[str, Any]:
        """For module results and reports."""
        return {
            "phase": self.phase,
            "txn": self.txn,
            "kind": self.kind,
            "from": self.source.as_dict() if self.source else None,
            "to": self.target.as_dict() if self.target else None,
            "image": self.image.as_dict() if self.image else None,
            "fallback": self.fallback.as_dict() if self.fallback else None,
            "fallback_txn": self.fallback_txn,
            "timeout": self.timeout,
            "reason": self.reason,
            "revived": self.revived or None,
            "bad": list(self.bad),
            "data": self.data,
            "staged": self.staged,
            "lease": self.lease.as_dict() if self.lease else None,
            "fetched": self.fetched,
            "times": [{"phase": phase, "at": at} for phase, at in self.times],
            "apply": [str(step) for step in self.apply],
            "revert": [str(step) for step in self.revert],
        }


def snapshot_tag(txn: str) -> str:
    """The snapshot name of a transaction."""
    return "nz-" + txn


def _image(values: Mapping[str, str], name: str) -> Optional[ImageRef]:
    ident = values.get(name, "")
    if not ident:
        return None
    return ImageRef(ident, values.get(name + "_build", ""), values.get(name + "_version", ""))


def _steps(values: Mapping[str, str], prefix: str) -> Tuple[Step, ...]:
    return tuple(decode(values[key]) for key in sorted(values) if key.startswith(prefix) and values[key])


def parse(properties: Mapping[str, str]) -> Journal:
    """The journal in the properties of ``<pool>/nanozfs``; an idle one where there is none yet.

    :raises FleetError: when it was written by a later version of the collection, or holds nonsense.
    """
    values = {key[len(PREFIX) :]: value for key, value in properties.items() if key.startswith(PREFIX) and value != "-"}
    if values.get("format", FORMAT) != FORMAT:
        raise FleetError(
            "the journal has format {0}; this version of nanozfs.fleet knows format {1}".format(
                values["format"], FORMAT
            ),
            safe="nothing was changed",
            todo="update the collection on the controller",
        )
    # none at all is that of a new pool; one that has lost its phase is none
    phase = values.get("phase", "" if values.get("txn") else IDLE)
    if phase not in PHASES:
        raise _nonsense("phase", phase)
    noted = values if values.get(_NOTED, "") == values.get("txn", "") else {}
    return Journal(
        phase=phase,
        count=_whole("count", values),
        txn=values.get("txn") or None,
        kind=values.get("kind") or None,
        source=_image(values, "from"),
        target=_image(values, "to"),
        image=_image(values, "image"),
        fallback=_image(values, "fallback"),
        fallback_txn=values.get("fallback_txn") or None,
        timeout=_whole("timeout", values),
        reason=values.get("reason", ""),
        suspect=values.get("suspect", ""),
        data=values.get("data") or KEEP_DATA,
        staged=values.get("staged") == "yes",
        lease=_decode_lease(values.get("lease", "")),
        fetched=int(noted["fetched"]) if noted.get("fetched", "").isdecimal() else 0,
        times=_times(noted.get(_TIMES, "")),
        revived=values.get("revived", ""),
        bad=tuple(each for each in values.get("bad", "").split(",") if each),
        apply=_steps(values, _APPLY),
        revert=_steps(values, _REVERT),
    )


def _times(text: str) -> Tuple[Tuple[str, int], ...]:
    """The phases and their times; what cannot be read of them is left out, as nothing depends on it."""
    pairs = [each.split("=", 1) for each in text.split(",") if each.count("=") == 1]
    known = [(phase, int(at)) for phase, at in pairs if phase in PHASES and at.isdecimal() and len(at) < 13]
    return tuple(known[-MAX_TIMES:])


def _passed(now: Mapping[str, str], wanted: Mapping[str, str], at: int) -> str:
    """What to note of the times of phases when a journal is written.

    :param now: the properties as they are.
    :param wanted: what will be.
    :param at: when, in seconds since the epoch.
    """
    same = now.get(PREFIX + "txn", "") == wanted[PREFIX + "txn"]
    before = now.get(PREFIX + _TIMES, "") if same and now.get(PREFIX + _NOTED, "") == wanted[PREFIX + _NOTED] else ""
    phase = wanted[PREFIX + "phase"]
    if same and now.get(PREFIX + "phase", IDLE) == phase:
        return before
    times = _times(before) + ((phase, at),)
    return ",".join("{0}={1}".format(*each) for each in times[-MAX_TIMES:])


def _whole(key: str, values: Mapping[str, str]) -> int:
    text = values.get(key) or "0"
    if not text.isdigit():
        raise _nonsense(key, text)
    return int(text)


def render(journal: Journal) -> Dict[str, str]:
    """The properties that hold a journal; an empty value stands for "not there"."""
    values = {
        "format": FORMAT,
        "phase": journal.phase,
        "count": str(journal.count),
        "txn": journal.txn or "",
        "kind": journal.kind or "",
        "fallback_txn": journal.fallback_txn or "",
        "timeout": str(journal.timeout),
        "reason": " ".join(journal.reason.split())[:1000],
        "revived": journal.revived,
        "suspect": journal.suspect,
        "data": journal.data,
        "staged": "yes" if journal.staged else "",
        "lease": _encode_lease(journal.lease),
        "fetched": str(journal.fetched) if journal.fetched else "",
        _NOTED: journal.txn or "",
        "bad": ",".join(journal.bad[:MAX_BAD]),
    }
    for name, image in (
        ("from", journal.source),
        ("to", journal.target),
        ("image", journal.image),
        ("fallback", journal.fallback),
    ):
        values[name] = image.id if image else ""
        values[name + "_build"] = image.build if image else ""
        values[name + "_version"] = image.version if image else ""
    for prefix, steps in ((_APPLY, journal.apply), (_REVERT, journal.revert)):
        for number, step in enumerate(steps):
            values["{0}{1:03d}".format(prefix, number)] = step.encode()
    return {PREFIX + key: value for key, value in values.items()}


def root_of(pool: str) -> str:
    """The dataset that carries the journal and holds cfg and var."""
    return pool + "/nanozfs"


class JournalStore:
    """The journal of a pool that is imported.

    :param pool: the pool's name.
    :param clock: seconds since the epoch.
    """

    def __init__(self, zfs: Zfs, pool: str, clock: Callable[[], float] = time.time) -> None:
        self._zfs = zfs
        self._clock = clock
        self.root = root_of(pool)

    def read(self) -> Journal:
        """The journal as it is.

        :raises Refused: when the pool has no ``nanozfs`` dataset.
        """
        if self._zfs.dataset(self.root) is None:
            raise Refused(
                "there is no dataset {0}".format(self.root),
                safe="nothing was changed",
                todo="see whether the pool is imported (zpool import says what is there); a new host is installed with "
                "the playbook deploy, which makes the datasets",
            )
        # its own values only: what the root of the pool has, of another host's journal say, is inherited and none
        return parse(self._zfs.properties(self.root, sources="local,received"))

    def write(self, journal: Journal) -> bool:
        """Write what differs, in one transaction group; then drop the steps of earlier plans that are left over.

        :returns: whether anything was written.
        """
        now = {
            key: value for key, value in self._zfs.properties(self.root, sources="local").items() if key[:8] == PREFIX
        }
        wanted = render(journal)
        wanted[PREFIX + _TIMES] = _passed(now, wanted, max(0, int(self._clock())))
        changes = {key: value for key, value in wanted.items() if now.get(key, "") != value}
        stale = [key for key in now if key.startswith((PREFIX + _APPLY, PREFIX + _REVERT)) and key not in wanted]
        # Stale steps are emptied in the same command and only then removed, one by one: a plan must never be read
        # with the steps of another one behind it. An empty step is no step, to parse() and to the early hook.
        self._zfs.set(self.root, dict(changes, **dict.fromkeys(stale, "")))
        self._zfs.unset(self.root, stale)
        return bool(changes or stale)


def mark_bad(journal: Journal, image: Optional[ImageRef]) -> Journal:
    """The journal with an image on its bad list, newest first."""
    if image is None or image.id in journal.bad:
        return journal
    return replace(journal, bad=((image.id,) + journal.bad)[:MAX_BAD])
