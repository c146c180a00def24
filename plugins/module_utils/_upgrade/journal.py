# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""The journal: what upgrade or rollback a host is in the middle of.

It is a set of user properties on ``<pool>/nanozfs``, written by one ``zfs set`` and so in one transaction group. The
early boot hook reads it with ``zfs get`` and moves it on from ``armed`` to ``trial`` and from ``reverting`` to
``reverted``; everything else is moved on by the module ``transaction``.

::

    idle -> prepared -> written -> armed -> trial -> committed
                                      \-> reverting -> reverted
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

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
COMMITTED = "committed"
REVERTING = "reverting"
REVERTED = "reverted"

#: phases in which no transaction is open and a new one may begin
CLOSED = (IDLE, COMMITTED, REVERTED)
PHASES = (IDLE, PREPARED, WRITTEN, ARMED, TRIAL, COMMITTED, REVERTING, REVERTED)

UPGRADE = "upgrade"
ROLLBACK = "rollback"

#: how many image ids the bad-image list remembers; 64 of 64 characters fit into one property
MAX_BAD = 64

#: the steps of a plan are numbered with three digits, and done in the order of their names
MAX_STEPS = 1000

_APPLY = "apply."
_REVERT = "revert."


@dataclass(frozen=True)
class Journal:
    """The journal of one host.

    ``image`` is what was committed last; ``fallback`` what ran before that and ``fallback_txn`` the transaction whose
    snapshot belongs to it. ``timeout`` is how long a trial may take, in seconds. ``revived`` is when the host came up
    from a medium that was new to its pool, by the host's clock; the early hook notes it, and the next play that records
    what runs takes note of it.
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
    apply: Tuple[Step, ...] = ()
    revert: Tuple[Step, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.phase not in CLOSED

    @property
    def snapshot(self) -> Optional[str]:
        """The name of the open transaction's snapshot, without dataset and @."""
        return snapshot_tag(self.txn) if self.txn else None

    def next_txn(self, target: ImageRef) -> str:
        """The id of the next transaction. Counted, not timed: the clock of a host may be wrong."""
        return "{0:04d}-{1}".format(self.count + 1, target.id[:8])

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
    phase = values.get("phase", IDLE)
    if phase not in PHASES:
        raise FleetError("the journal holds the unknown phase {0!r}".format(phase), safe="nothing was changed")
    return Journal(
        phase=phase,
        count=_whole(values.get("count", "0")),
        txn=values.get("txn") or None,
        kind=values.get("kind") or None,
        source=_image(values, "from"),
        target=_image(values, "to"),
        image=_image(values, "image"),
        fallback=_image(values, "fallback"),
        fallback_txn=values.get("fallback_txn") or None,
        timeout=_whole(values.get("timeout", "0")),
        reason=values.get("reason", ""),
        revived=values.get("revived", ""),
        bad=tuple(each for each in values.get("bad", "").split(",") if each),
        apply=_steps(values, _APPLY),
        revert=_steps(values, _REVERT),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0


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
        "reason": journal.reason.replace("\n", " ").replace("\t", " ")[:1000],
        "revived": journal.revived,
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
    """

    def __init__(self, zfs: Zfs, pool: str) -> None:
        self._zfs = zfs
        self.root = root_of(pool)

    def read(self) -> Journal:
        """The journal as it is.

        :raises Refused: when the pool has no ``nanozfs`` dataset.
        """
        properties = self._zfs.properties(self.root)
        if not properties:
            raise Refused(
                "there is no dataset {0}".format(self.root),
                safe="nothing was changed",
                todo="see whether the pool is imported (zpool import says what is there); a new host is installed with "
                "the playbook deploy, which makes the datasets",
            )
        return parse(properties)

    def write(self, journal: Journal) -> bool:
        """Write what differs, in one transaction group; then drop the steps of earlier plans that are left over.

        :returns: whether anything was written.
        """
        now = {
            key: value for key, value in self._zfs.properties(self.root, sources="local").items() if key[:8] == PREFIX
        }
        wanted = render(journal)
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
