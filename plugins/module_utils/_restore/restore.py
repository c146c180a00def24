# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A restore on the host's side, from the plan to the end: one call for each step, and every one can be made again.

``planned`` says what would be done and refuses what cannot be. ``open`` makes what is to be filled, and lets the backup
host fill it. ``applied`` puts it in place, when all of it has arrived. ``closed`` lets nobody in any more.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union, cast

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import check_label
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT, Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs, property_texts
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import ImportOptions, Zpool, vdev_words
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.backup_keys import Puller
from ansible_collections.nanozfs.fleet.plugins.module_utils._install.install import refuse_host
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import (
    bare,
    fileflags,
    grounds,
    keys,
    pieces,
    single,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import session as sessions
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.bare import Bare
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import (
    Description,
    check_set,
    ident,
    parse,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.grounds import DATASET, HOST, Record
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.pieces import Piece
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.single import Single
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import selection, transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import CLOSED, IDLE, Journal, root_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, TRIAL

#: what comes next: filling it and putting it in place, putting it in place, a restart, nothing
OPEN, APPLY, RESTART, DONE = "open", "apply", "restart", "done"

_NOWHERE = {"mountpoint": "none", "canmount": "off"}

_SAFE = "nothing was changed"


@dataclass(frozen=True)
class Wish:
    """What shall come back, and from where.

    :param kind: :data:`HOST`, :data:`DATASET` or :data:`PATH`.
    :param set: as the backup host calls it.
    :param label: of the backup host.
    :param description: what the backup says of its host.
    :param name: of the dataset or the path.
    :param folder: where else a file or folder is put.
    :param size: bytes that come; 0 where nobody has counted.
    :param rate: bytes in a second of the last transfer; 0 where nobody knows.
    :param hostname: of the host as it is called in the inventory.
    :param previous_names: what it was called before.
    :param key: the public key of the backup host.
    :param seconds: how long it may be filled.
    """

    kind: str
    set: str
    label: str
    description: Mapping[str, Any]
    name: str = ""
    in_place: bool = False
    folder: str = ""
    size: int = 0
    rate: int = 0
    hostname: str = ""
    previous_names: Sequence[str] = ()
    other_host: bool = False
    unencrypted: bool = False
    vdevs: Sequence[Mapping[str, Any]] = ()
    pool_properties: Mapping[str, Any] = field(default_factory=dict)
    filesystem_properties: Mapping[str, Any] = field(default_factory=dict)
    force_hostid: Optional[str] = None
    key: str = ""
    addresses: Sequence[str] = ()
    seconds: int = 86400


@dataclass
class Outcome:
    """What is to be done or was done, and what people should know.

    ``source``, ``contents`` and ``excludes`` are what is to be sent, from the top of the backup. ``host_key`` is what
    the host is known by to ssh right now, ``ssh_host_key`` what it will be known by as itself.
    """

    id: str
    step: str = OPEN
    changed: bool = False
    plan: List[str] = field(default_factory=list)
    done: List[str] = field(default_factory=list)
    losses: List[str] = field(default_factory=list)
    size: int = 0
    seconds: Optional[int] = None
    folder: str = ""
    source: str = "/"
    contents: bool = False
    excludes: List[str] = field(default_factory=list)
    ssh_host_key: str = ""
    host_key: str = ""
    restart: bool = False
    warnings: List[str] = field(default_factory=list)


def _gib(size: int) -> str:
    return "{0:.1f} GiB".format(size / (1 << 30)) if size >= 1 << 30 else "{0} MiB".format(-(-size >> 20))


def _duration(seconds: int) -> str:
    if seconds < 90:
        return "{0} seconds".format(seconds)
    return "{0} minutes".format(seconds // 60) if seconds < 5400 else "{0:.1f} hours".format(seconds / 3600)


class Restore:
    """One restore of one host.

    :param places: where its trees are.
    :param clock: seconds since the epoch.
    :param root: what stands before every path of the host; for tests.
    """

    def __init__(
        self,
        runner: Runner,
        wish: Wish,
        places: Places,
        clock: Callable[[], float] = time.time,
        root: str = "",
    ) -> None:
        check_label(wish.label)
        check_set(wish.set)
        self.runner = runner
        self.wish = wish
        self.places = places
        self.clock = clock
        self.root = root
        self.zfs = Zfs(runner)
        self.line = Puller(wish.label, wish.key, wish.addresses).line() if wish.key else ""
        self.described: Description = parse(wish.description)
        words = (wish.kind, wish.label, self.described.tag, str(self.described.taken), wish.name, wish.folder)
        self.id = ident(*words, "in place" if wish.in_place else "beside")
        self.folder = sessions.folder_of(self.id)
        self.record = Record(self.id, wish.kind, wish.set, wish.label, self.described.host, self.described.taken, False)
        self.what: Union[Bare, Single, Piece] = self._what()

    def _what(self) -> Union[Bare, Single, Piece]:
        wish = self.wish
        if wish.kind == HOST:
            return Bare(self.runner, self.described, self.record, self.folder)
        if wish.kind == DATASET:
            target = single.target(self.described, wish.name, self.id)
            return Single(self.runner, target, self.record, wish.in_place, self.folder)
        found = pieces.piece(wish.name, self.id, self.described.stamp, wish.in_place, wish.folder)
        if not self.root:
            return found
        return pieces.piece(self.root + wish.name, self.id, self.described.stamp, wish.in_place, wish.folder)

    # steps

    def planned(self) -> Outcome:
        """What would be done.

        :raises Refused: when it cannot be.
        """
        outcome = Outcome(self.id, folder=self.folder, size=self._size(), excludes=self._excludes())
        if isinstance(self.what, Single):
            outcome.source, outcome.contents = "/{0}".format(self.what.what.member.path), True
        elif isinstance(self.what, Piece):
            outcome.source = self.wish.name
        host = _host.survey(self.runner, self.described.pool, digest=False)
        self._check_host(host)
        self._check_session()
        found = grounds.records(self.zfs, self.described.pool) if self._has_pool(host) else {}
        getattr(self, "_plan_" + self.wish.kind)(host, found, outcome)
        self._say(outcome)
        return outcome

    def open(self) -> Outcome:
        """Make what is to be filled, and let the backup host fill it."""
        with leases.locked(self.runner.check_mode):
            outcome = self.planned()
            if outcome.step != OPEN:
                return outcome
            outcome.changed = True
            if not self.runner.check_mode:
                sessions.shelter()
            if isinstance(self.what, Bare):
                self._have_pool(outcome)
                if not self.runner.check_mode:
                    room = self.zfs.dataset(self.described.pool)
                    resumed = self.zfs.dataset(self.what.top) is not None
                    if room is not None and not resumed:
                        bare.check_room(bare.needed(self.described), room.available, "the pool " + room.name)
                self.what.make(outcome.warnings, self._filesystem())
            elif isinstance(self.what, Single):
                self.what.make(grounds.records(self.zfs, self.described.pool), outcome.warnings)
            elif not self.runner.check_mode:
                pieces.prepare(self.what, self.folder)
            outcome.done = list(outcome.plan)
            self._let_in()
            outcome.host_key = keys.public_key(self.places.etc)
            return outcome

    def applied(self) -> Outcome:
        """Put what has arrived in its place."""
        with leases.locked(self.runner.check_mode):
            outcome = self.planned()
            if outcome.step in (RESTART, DONE):
                if isinstance(self.what, Bare):
                    outcome.restart = outcome.step == RESTART
                    self._remember(outcome)
                elif isinstance(self.what, Piece) and not self.runner.check_mode:
                    pieces.place(self.what)  # nothing but its folder may be left
                return outcome
            if outcome.step == OPEN:
                self._check_complete()
                self._shut()
                self._check_complete()  # something may have begun just before nothing was let in any more
            outcome.changed = True
            getattr(self, "_apply_" + self.wish.kind)(outcome)
            return outcome

    def closed(self, discard: bool = False) -> Outcome:
        """Let nobody in any more; and take away what was made and is not complete, where that is wanted.

        :param discard: do so.
        """
        outcome = Outcome(self.id, step=DONE)
        with leases.locked(self.runner.check_mode):
            session = sessions.read()
            if session is not None and session.id == self.id:
                outcome.changed = True
                outcome.done.append("nothing is let in for this restore any more")
                self._shut(remove=True)
            known = Zpool(self.runner).pool(self.described.pool) is not None
            found = grounds.records(self.zfs, self.described.pool) if known else {}
            if isinstance(self.what, Bare) and self.what.finished(found):
                self.what.forget(found)
                outcome.changed = True
                outcome.done.append("{0} is itself again".format(self.described.host))
            elif discard:
                outcome.done += self._discard(found)
                outcome.changed = outcome.changed or bool(outcome.done)
            return outcome

    # looking

    def _size(self) -> int:
        if self.wish.size:
            return self.wish.size
        if isinstance(self.what, Bare):
            return bare.needed(self.described)
        return self.what.what.member.referenced if isinstance(self.what, Single) else 0

    def _excludes(self) -> List[str]:
        """What of the tree is not sent: the datasets below the one that comes back."""
        if not isinstance(self.what, Single):
            return []
        path = str(self.what.what.member.path)
        inner = [str(each.path)[len(path) :] for each in self.described.below(path) if each.path != path]
        return sorted(inner)

    def _has_pool(self, host: Mapping[str, Any]) -> bool:
        return host["pool"] is not None

    def _check_host(self, host: Mapping[str, Any]) -> None:
        """Refuse a host that this cannot be done to.

        :raises Refused: with the reason.
        """
        described = self.described
        if _host.import_hung(self.runner):
            raise Refused(
                "the import of the pool hangs in the kernel, and so would every command about it",
                safe=_SAFE,
                todo="restart the host; `nanozfs recovery` at its console helps further",
            )
        if shutil.which("rsync", path=ENVIRONMENT["PATH"]) is None:
            raise Refused(
                "there is no rsync on this system, to take files from the backup host",
                safe=_SAFE,
                todo="build an image with the package rsync (image_pkg), and boot the machine from that",
            )
        if self.wish.kind == HOST:
            self._check_dead(host)
        elif host["state"] != NORMAL:
            raise Refused(
                "the host is in state {0} ({1})".format(host["state"], host["reason"] or "no reason known"),
                safe=_SAFE,
                todo="have it up first; a host whose pool is lost comes back as a whole (restore_host: true)",
            )
        elif host["pool"] is None or host["pool"]["name"] != described.pool:
            raise Refused("the host has no pool {0}, of which the backup is".format(described.pool), safe=_SAFE)
        wish = self.wish
        names = {host["hostname"], host["hostname"].split(".")[0], wish.hostname, *wish.previous_names} - {""}
        mine = described.host in names or described.host.split(".")[0] in names
        same = self.wish.kind != HOST and described.hostid == "{0:x}".format(Zpool(self.runner).own_hostid())
        if not (mine or same or wish.other_host):
            raise Refused(
                "the backup is of {0}, and this is {1}".format(
                    described.host, wish.hostname or host["hostname"] or "a host without a name"
                ),
                safe=_SAFE,
                todo="choose a backup of this host. Where it was renamed, say what it was called "
                "(backup_previous_names); to take one of another host, name that (restore_source)",
            )

    def _check_dead(self, host: Mapping[str, Any]) -> None:
        if host["state"] in (NORMAL, TRIAL):
            raise Refused(
                "this host is alive: it runs as {0}, from its pool".format(host["hostname"]),
                safe=_SAFE,
                todo="restore a file, a folder or a dataset of it (restore_path, restore_dataset). A whole host only "
                "comes back to a machine in recovery mode, without a pool of a host",
            )
        image = host["running"] or {}
        if image.get("pool") and image["pool"] != self.described.pool:
            raise Refused(
                "its image names the pool {0}, and the host had {1}".format(image["pool"], self.described.pool),
                safe=_SAFE,
                todo="boot the machine from a medium of the right fleet",
            )
        refuse_host(host, self.described.pool)

    def _check_session(self) -> None:
        """Refuse to be the second one."""
        session = sessions.read()
        if session is not None and session.id != self.id and session.until > self.clock():
            raise Refused(
                "another restore is open on this host",
                safe="{0}; that one goes on".format(_SAFE),
                todo="wait for its end, or close it (restore_state: closed, with what it was opened with)",
            )

    # plans

    def _plan_host(self, host: Mapping[str, Any], found: Mapping[str, Record], outcome: Outcome) -> None:
        what, described, wish = cast(Bare, self.what), self.described, self.wish
        outcome.losses = bare.losses(described, wish.unencrypted)
        self._check_clear(bare.encrypted(described))
        needed = bare.needed(described)
        if self._has_pool(host):
            if what.finished(found):
                outcome.step = RESTART
                outcome.plan = ["{0} is restored; it has to be restarted".format(described.host)]
                return
            what.check(found)
            if what.top not in found:
                room = self.zfs.dataset(described.pool)
                bare.check_room(needed, room.available if room else 0, "the pool " + described.pool)
            outcome.plan.append("the pool {0} is there".format(described.pool))
        elif self._is_importable(host):
            outcome.plan.append("the pool {0} is imported".format(described.pool))
        else:
            self._check_new_pool(needed)
            words = " ".join(vdev_words(wish.vdevs))
            outcome.plan.append("the pool {0} is made of {1}".format(described.pool, words))
        outcome.plan += [
            "{0} comes back{1}".format(each.member.full(described.pool), " (empty)" if each.holder else "")
            for each in what.items
            if each.member.name
        ]

    def _check_clear(self, encrypted: Sequence[str]) -> None:
        if encrypted and not self.wish.unencrypted:
            raise Refused(
                "the host had {0} encrypted; nobody here has the key, so it would come back in clear".format(
                    ", ".join(encrypted)
                ),
                safe=_SAFE,
                todo="agree to that (restore_unencrypted: true), or encrypt the disks below the pool (geli)",
            )

    def _is_importable(self, host: Mapping[str, Any]) -> bool:
        return self.described.pool in [each["name"] for each in host["importable"]]

    def _check_new_pool(self, needed: int) -> None:
        wish = self.wish
        if not wish.vdevs:
            raise Refused(
                "there is no pool {0}, and no disks are named to make it of".format(self.described.pool),
                safe=_SAFE,
                todo="set restore_pool_vdevs (deploy_pool_vdevs)",
            )
        pools.check_disks(self.runner, wish.vdevs, "restore_pool_vdevs")
        room = bare.room_of(self.runner, wish.vdevs)
        if room is not None:
            bare.check_room(needed, room, "a pool of these disks")

    def _plan_dataset(self, host: Mapping[str, Any], found: Mapping[str, Record], outcome: Outcome) -> None:
        what = cast(Single, self.what)
        self._check_transaction(host)
        name = what.ours(found)
        if name is not None and found[name].swap:
            outcome.step = APPLY
            outcome.plan = ["the swap of {0} goes on".format(what.what.live)]
            return
        if name is None and self.wish.in_place and self.zfs.dataset(what.what.aside) is not None:
            outcome.step = DONE
            outcome.plan = [
                "{0} was put in place before; what was live then is {1}".format(what.what.live, what.what.aside)
            ]
            return
        if name is None and not self.wish.in_place and self.zfs.dataset(what.what.new) is not None:
            outcome.step = DONE
            outcome.plan = ["{0} is there".format(what.what.new)]
            return
        what.check(found, self._size())
        self._check_clear([each for each in bare.encrypted(self.described) if each == what.what.live])
        outcome.plan = [
            "{0} comes back as {1}".format(what.what.live, "itself" if self.wish.in_place else what.what.new)
        ]
        if self.wish.in_place:
            outcome.plan.append("what is live is kept as {0}".format(what.what.aside))
            if self.zfs.dataset(what.what.live) is None:
                outcome.plan.append("it is mounted on /{0}".format(printable(str(what.what.member.path))))
        outcome.losses = list(self.described.losses) + ["its snapshots"]

    def _check_transaction(self, host: Mapping[str, Any]) -> None:
        phase = (host["journal"] or {}).get("phase", IDLE)
        if phase not in CLOSED:
            raise Refused(
                "the host is in the middle of an upgrade (phase {0}), which knows its datasets".format(phase),
                safe=_SAFE,
                todo="finish that first: the playbook status says what it is",
            )

    def _plan_path(self, _host_now: Mapping[str, Any], _found: Mapping[str, Record], outcome: Outcome) -> None:
        what = cast(Piece, self.what)
        step = pieces.state(what)
        outcome.step = {pieces.FILL: OPEN, pieces.PLACE: APPLY, pieces.DONE: DONE}[step]
        if step == pieces.DONE:
            outcome.plan = [
                "{0} is there{1}".format(
                    printable(what.target), "; what was live is " + printable(what.kept) if what.kept else ""
                )
            ]
            return
        mounted = grounds.mounted(self.runner)
        begun = os.path.lexists(what.staging) or os.path.lexists(what.complete)  # and takes its room already
        pieces.check(what, mounted, 0 if begun else self._size())
        outcome.plan = ["{0} comes back as {1}".format(printable(self.wish.name), printable(what.target))]
        if what.kept and os.path.lexists(what.target):
            outcome.plan.append("what is live is kept as {0}".format(printable(what.kept)))
        outcome.losses = list(self.described.losses)

    def _say(self, outcome: Outcome) -> None:
        """What people should know before."""
        wish, described = self.wish, self.described
        if outcome.step != OPEN:
            return
        head = "{0} as of {1}, from the backup {2} of {3}, taken {4}".format(
            described.host,
            described.when,
            wish.set,
            wish.label,
            "on trial" if described.trial else "in normal operation",
        )
        size = "{0} come over the line".format(_gib(outcome.size))
        if wish.rate and outcome.size:
            outcome.seconds = outcome.size // wish.rate + 1
            size += ", in about {0} at the speed of last time".format(_duration(outcome.seconds))
        outcome.plan = [head, size, *outcome.plan]
        if wish.kind == HOST:
            outcome.plan.append("the system is the medium's; the host ran {0}".format(described.image))

    # doing

    def _have_pool(self, outcome: Outcome) -> None:
        wish, pool = self.wish, self.described.pool
        zpool = Zpool(self.runner)
        if zpool.pool(pool) is None and pool in [each.name for each in zpool.candidates()]:
            wanted = pools.Wanted(pool, None, ImportOptions(), wish.force_hostid, "restore_force_hostid")
            pools.ensure_imported(zpool, wanted)
            if not self.runner.check_mode:
                cast(Bare, self.what).check(grounds.records(self.zfs, pool))
        elif zpool.pool(pool) is None:
            kept = {
                key: value
                for key, value in self.described.pool_properties.items()
                if key in bare.POOL_PROPERTIES and key not in wish.pool_properties
            }
            pools.ensure_created(
                self.runner,
                pool,
                wish.vdevs,
                dict(kept, **dict(wish.pool_properties)),
                self._filesystem(),
                "restore_pool_vdevs",
            )
        outcome.changed = True

    def _filesystem(self) -> Dict[str, str]:
        """What the own dataset of a new pool is made with. It is mounted nowhere until the host is complete."""
        described = self.described.member("")
        own = grounds.early(described, ("mountpoint",)) if described is not None else {}
        own = {key: value for key, value in own.items() if ":" not in key}
        return {**property_texts(self.wish.filesystem_properties), **own, **_NOWHERE}

    def _let_in(self) -> None:
        """Open the session."""
        if self.runner.check_mode:
            return
        wish = self.wish
        added = bool(self.line) and keys.let_in(self.places, self.line)
        with sessions.locked():
            before = sessions.read()
            until = int(self.clock()) + wish.seconds
            if before is not None and before.key_added:  # an earlier one that nobody has closed
                if before.label == wish.label:
                    added = True
                else:
                    keys.let_out(self.places, before.label)
            if before is not None and before.id == self.id:
                sessions.write(replace(before, until=until, key_added=before.key_added or added))
            else:
                sessions.write(sessions.Session(self.id, wish.label, self.folder, until, key_added=added))

    def _check_complete(self) -> None:
        session = sessions.read()
        if session is None or session.id != self.id:
            raise Refused(
                "nothing was opened to be restored, or the host was restarted meanwhile",
                safe=_SAFE,
                todo="run the playbook restore again, it goes on where it was",
            )
        if session.is_receiving:
            raise Refused(
                "files are still arriving",
                safe=_SAFE,
                todo="wait for the end; `nanozfs-backup send` on the backup host says how far it is",
            )
        if not session.complete:
            raise Refused(
                "not everything has arrived: the last transfer {0}".format(
                    "was broken off" if session.status is None else "ended with status {0}".format(session.status)
                ),
                safe=_SAFE,
                todo="run the playbook restore again, it goes on where it was",
            )
        self._check_mounted()

    def _check_mounted(self) -> None:
        """Refuse what has not arrived in the datasets that were made for it, but in a folder where they had been."""
        if isinstance(self.what, Piece):
            return
        places = self.what.places() if isinstance(self.what, Bare) else [(self.folder, self.what.what.new)]
        now = grounds.mounts(self.runner)
        gone = [name for path, name in places if now.get(name) not in (path, os.path.realpath(path))]
        if gone:
            raise Refused(
                "{0} is not mounted to be filled any more; nobody knows what has arrived in it".format(gone[0]),
                safe=_SAFE,
                todo="run the playbook restore again, it goes on where it was",
            )

    def _shut(self, remove: bool = False) -> None:
        """Let nothing more arrive.

        :param remove: end the session; otherwise only its time is over, and what has arrived counts still.
        """
        if self.runner.check_mode:
            return
        with sessions.locked():
            session = sessions.read()
            if session is None or session.id != self.id:
                return
            if not remove:
                sessions.write(replace(session, until=0))
                return
            sessions.remove()
        if session.key_added:
            keys.let_out(self.places, session.label)
        if isinstance(self.what, (Bare, Single)):
            self.what.release()
        elif os.path.islink(self.folder):
            os.unlink(self.folder)

    def _apply_host(self, outcome: Outcome) -> None:
        what = cast(Bare, self.what)
        outcome.ssh_host_key = keys.public_key(os.path.join(self.folder, "cfg"))
        outcome.warnings += fileflags.again(self.folder, self.described.flags, alone=True)
        host = _host.survey(self.runner, self.described.pool, True, ["running"])
        running = host["running"]
        journal = Journal()
        if running.get("id"):
            journal = transaction.record(journal, ImageRef(running["id"], running["build"], running["version"]))
        if host["medium"]["inactive"] is not None:
            selection.choose(self.runner, "running", "active", True)
        self._remember(outcome, journal)
        what.finish(journal, int(self.clock()), outcome.warnings)
        outcome.done = ["{0} is in {1}".format(self.described.host, root_of(self.described.pool))]
        outcome.restart = True

    def _remember(self, outcome: Outcome, journal: Optional[Journal] = None) -> None:
        """Let the medium know the pool, which it may have known another one of."""
        if not self.runner.check_mode:
            outcome.warnings += _state.tell(self.runner, self.described.pool, journal or Journal())

    def _apply_dataset(self, outcome: Outcome) -> None:
        what = cast(Single, self.what)
        flags = self.described.flags_below(str(what.what.member.path))
        found = grounds.records(self.zfs, self.described.pool)
        name = what.ours(found)
        if name is not None and not found[name].swap:
            mine = {path: value for path, value in flags.items() if not self._is_below(path)}
            outcome.warnings += fileflags.again(self.folder, mine)
        outcome.done = what.finish(found, outcome.warnings)

    def _is_below(self, path: str) -> bool:
        return any(("/" + path + "/").startswith(each + "/") for each in self._excludes())

    def _apply_path(self, outcome: Outcome) -> None:
        what = cast(Piece, self.what)
        if self.runner.check_mode:
            return
        flags = self.described.flags_below(self.wish.name.lstrip("/"))
        outcome.done = pieces.place(what, flags, outcome.warnings)

    def _discard(self, found: Mapping[str, Record]) -> List[str]:
        """Destroy what was made for this restore and never became anything; what is complete stays."""
        what = self.what
        if isinstance(what, Piece):
            return self._discard_piece(what)
        mine = [name for name, each in found.items() if each.id == self.id and not each.swap]
        every = [each.name for each in self.zfs.datasets(self.described.pool)]
        going = [name for name in every if any((name + "/").startswith(top + "/") for top in mine)]
        if any(name == root_of(self.described.pool) for name in going):
            raise FleetError("this would destroy the host itself", safe=_SAFE)
        if going:
            grounds.unmount_all(self.runner, going)
        for name in sorted(going, key=lambda each: each.split("/"), reverse=True):
            self.zfs.destroy(name)
        return ["{0} is gone, it was not complete".format(name) for name in mine]

    def _discard_piece(self, what: Piece) -> List[str]:
        if not os.path.isdir(what.staging) or os.path.islink(what.staging):
            return []
        if not self.runner.check_mode:
            shutil.rmtree(what.staging)
        return ["{0} is gone, it was not complete".format(printable(what.staging))]
