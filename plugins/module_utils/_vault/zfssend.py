# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""zfs send, as the method of a host: its datasets are received into a pool of this machine.

Each dataset of a host is one of its own right below ``<backup_dataset>/HOST``, called by its whole name with colons for
slashes: none of them is in the way when another one has to come as a whole again, or goes. A set is the snapshots of
one name, and a folder with its record, which dataset is where in the tree, and what the host says of itself.

A stream is what the host says it is, and the host may have been broken into. So its first record is judged before zfs
receive sees it: it must be one plain stream of the one snapshot that is wanted, from the one that is here. Such a
stream carries no properties, so mount points and the like are inherited from ours (``none``, read-only). And nothing is
received with ``-F``, which could destroy what is here.

Sources: zfs-send(8), zfs-receive(8), zfs-bookmark(8); ``struct dmu_replay_record`` and the ``DMU_BACKUP_FEATURE``s of
OpenZFS's ``include/sys/zfs_ioctl.h``; ``zfs_receive_one()`` of ``libzfs_sendrecv.c`` for what it complains of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import re
import struct
import time
from dataclasses import asdict, replace
from typing import Collection, Container, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import delegation
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.mounts import mounts
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Snapshot, Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import execute, root, sets, state, transfer
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import SEND, Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.gate import Stream, gate_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.method import Method
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.retention import DAY, days, kind_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import OK, PARTIAL, Pull, read_json, write_json

#: in the folder of a set: which dataset is where
DATASETS = "datasets.json"

#: of what is made here: nothing of it is ever mounted by itself, or written to
PROPERTIES = {"mountpoint": "none", "canmount": "off", "readonly": "on"}

#: what a user needs who receives (zfs-allow(8): "Must also have the mount and create ability"). Not ``destroy``, nor
#: any property
PERMISSIONS = ("create", "mount", "receive")

#: how long zfs may take for what is no stream (seconds); many snapshots take a while
_PATIENCE = 900

#: the first record of a stream: kind, payload, then magic, version and features, time, kind of dataset, flags, guids of
#: the snapshot and of the one it begins at, name
_RECORD = "IIQQQIIQQ256s"
HEAD = struct.calcsize("<" + _RECORD)
_MAGIC = 0x2F5BACBAC
_SUBSTREAM = 1
_FILE_SYSTEM = 2  # DMU_OST_ZFS
_CLONE = 1
_RAW = 1 << 24
#: DEDUP, DEDUPPROPS, REDACTED and HOLDS: of other streams than what is asked for
_STRANGE = 1 << 0 | 1 << 1 | 1 << 21 | 1 << 26

#: the gate's own refusal
_REFUSED = 3

#: the longest name for a dataset here that is that of the host. ZFS takes 255 characters with all that is around it:
#: the dataset of this machine (40), a host (64), when it came as a whole again (17), the snapshot with its label (77)
_LONGEST = 53

#: what a name that was shortened ends with, and when a dataset came as a whole again (the id of a set)
_SHORTENED = re.compile(r"-[0-9a-f]{12}\Z")
_AGAIN = re.compile(r"\.\d{8}T\d{6}Z\Z")

#: snapshots that are ours to destroy
_TAGS = "nanozfs-backup-"

_NOTHING = "nothing was read, and no set was changed"

_FULL = ("out of space", "space quota exceeded")
_CUT = ("incomplete stream", "failed to read from stream", "signal received")


def judge(head: bytes, tag: str, stream: Stream, base: str) -> str:
    """Why a stream is not taken; empty where it is what was asked for.

    :param head: its first record.
    :param tag: of the snapshot, whose name ends so.
    :param base: guid of the snapshot that it must begin at; empty for none.
    """
    for order in "<>":
        kind, _payload, magic, version, _time, of, flags, to, begin, name = struct.unpack(order + _RECORD, head)
        if magic == _MAGIC:
            break
    else:
        return "it is no stream of zfs send"
    features = version >> 2
    if kind != 0 or version & 3 != _SUBSTREAM or of != _FILE_SYSTEM or features & _STRANGE or flags & _CLONE:
        return "it is a stream of another kind than was asked for"
    # zfs reads the name up to the first zero byte, and no further
    if str(to) != stream.guid or name.partition(b"\0")[0].partition(b"@")[2] != tag.encode("ascii"):
        return "it is a stream of another snapshot than was asked for"
    if begin != int(base or 0):
        return "it begins at another snapshot than the one that is here"
    if bool(features & _RAW) != stream.raw:
        return "it is encrypted, and should not be" if features & _RAW else "it is not encrypted, and should be"
    return ""


def called(dataset: str) -> str:
    """What a dataset of a host is called here; no two are called alike, and none as another one that came again.

    :param dataset: its whole name on the host.
    """
    name = dataset.replace("/", ":")
    if ":" not in dataset and len(name) <= _LONGEST and not _SHORTENED.search(name) and not _AGAIN.search(name):
        return name
    digest = hashlib.sha256(dataset.encode("ascii")).hexdigest()[:12]
    return "{0}-{1}".format(name[: _LONGEST - len(digest) - 1], digest)


class Kept(NamedTuple):
    """A dataset of a set.

    :param dataset: its name on the host, and its *path* in the tree.
    :param name: what it is called here, below the dataset of the host.
    :param guid: of its snapshot.
    :param raw: it is encrypted, as on the host.
    """

    dataset: str
    path: str
    name: str
    guid: str
    raw: bool


def kept_in(folder: str) -> Tuple[str, Tuple[Kept, ...]]:
    """The snapshot's name and the datasets of a set, parents first.

    :raises FleetError: when that cannot be read.
    """
    path = os.path.join(folder, DATASETS)
    try:
        said = read_json(path)
        return str(said["tag"]), tuple(Kept(**each) for each in said["datasets"])
    except (ValueError, TypeError, KeyError) as error:
        raise FleetError("{0} cannot be read: {1}".format(path, error), safe="nothing was changed")


def zfs_by(run: execute.Long) -> Zfs:
    """zfs(8) of this machine."""
    return Zfs(Runner(lambda argv, stdin: run(argv, stdin, _PATIENCE, {})))


def top_of(fleet: Fleet, host: str) -> str:
    """The dataset that has all those of a host."""
    return "{0}/{1}".format(fleet.dataset, host)


class ZfsSend(Method):
    """Pulling one host with it.

    :param flow: how a stream is received.
    """

    name = SEND

    def __init__(
        self, fleet: Fleet, host: Host, places: Places, run: execute.Long, flow: execute.Flow = execute.flow
    ) -> None:
        super().__init__(fleet, host, places, run)
        self._flow = flow
        self._zfs = zfs_by(run)
        self._top = top_of(fleet, host.name)
        self._kept: List[Kept] = []
        self._notes: List[str] = []

    # what there is

    def _snapshots(self) -> Dict[str, List[Snapshot]]:
        """The snapshots of the datasets of the host, the oldest first, by what those are called here."""
        found: Dict[str, List[Snapshot]] = {}
        for each in self._zfs.datasets(self._top):
            if each.name != self._top and "/" not in each.name[len(self._top) + 1 :]:
                found[each.name[len(self._top) + 1 :]] = []
        for snapshot in self._zfs.snapshots(self._top, recursive=True):
            name = snapshot.dataset[len(self._top) + 1 :]
            if name in found:
                found[name].append(snapshot)
        return {name: sorted(each, key=lambda one: one.createtxg) for name, each in found.items()}

    @staticmethod
    def _latest(dataset: str, names: Collection[str]) -> str:
        """What a dataset of the host is called here now: where it came as a whole again, the last of several; empty
        where there is none.
        """
        name = called(dataset)
        again = [each for each in names if each.startswith(name) and _AGAIN.fullmatch(each[len(name) :])]
        return max(again) if again else name if name in names else ""

    def _token(self, name: str) -> str:
        """How what was received in part is gone on with; empty where nothing was."""
        text = self._zfs.value("{0}/{1}".format(self._top, name), "receive_resume_token")
        return "" if text == "-" else text

    def _sets(self) -> List[sets.Set]:
        return sets.sets_in(self._folder, SEND)

    # before

    def ready(self) -> None:
        """See that there is a dataset for the host, and room, before the host is asked for anything.

        :raises FleetError: when there is not.
        """
        self._there()
        self._room()

    def prepare(self, _tag: str) -> None:
        """Take away what is no set, and say of sets whose snapshots somebody has destroyed that they are not whole.

        :raises FleetError: when the pool cannot be asked.
        :raises OSError: when there is no room for records.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for name in sorted(os.listdir(self._folder)):
            path = os.path.join(self._folder, name)
            if os.path.isdir(path) and not os.path.exists(os.path.join(path, sets.RECORD)):
                _drop(path)
        snapshots = self._snapshots()
        for each in self._sets():
            missing = _missing(each, snapshots) if each.pull.result == OK else ""
            if missing:
                words = "the snapshot of {0} is not here any more".format(missing)
                write_json(
                    os.path.join(each.folder, sets.RECORD), asdict(replace(each.pull, result=PARTIAL, why=words))
                )
                self._notes.append("the set {0} is not whole: {1}".format(each.pull.id, words))

    def _there(self) -> None:
        """See that the dataset of the host is there, also where the host had another name before.

        :raises FleetError: when it cannot be made.
        """
        if self._zfs.dataset(self._fleet.dataset) is None:
            raise Refused(
                "the dataset {0} is not there".format(self._fleet.dataset),
                safe="nothing was pulled",
                todo="import its pool; where it is a new one, run backup.yml",
            )
        there = self._zfs.dataset(self._top) is not None
        for old in self._host.previous:
            before = top_of(self._fleet, old)
            if self._zfs.dataset(before) is None:
                continue
            if there:
                raise Refused(
                    "there are datasets of {0} and of {1}, which is to be its name of before".format(
                        self._host.name, old
                    ),
                    safe="nothing was pulled or moved",
                    todo="rename or destroy one of {0} and {1}, or correct backup_previous_names".format(
                        before, self._top
                    ),
                )
            self._zfs.rename(before, self._top)
            there = True
        if not there:
            self._zfs.create(self._top, PROPERTIES)

    def _room(self) -> None:
        """See that there is room for as much as a set brings.

        :raises Refused: when there is not, or less than the reserve would be left.
        """
        mine, free, least = self._space()
        need = root.expected(self._sets())
        if free - need < least or mine < need:
            words = "the backup host is full: {0} has {1} free, and {2} for the set and {3} for the reserve ({4} %) are"
            sizes = [root.shown_size(each) for each in (min(mine, free), need, least)]
            raise Refused(
                words.format(self._top, *sizes, self._fleet.reserve) + " needed",
                safe="nothing was pulled; all sets are as they were",
                todo="make room: a larger pool, fewer sets (backup_retain), or less in them (nanozfs:backup=skip)",
            )

    def _space(self) -> Tuple[int, int, int]:
        """How many bytes a quota leaves for the host, how many the pool has, and how many of those must stay."""
        said = self._zfs.values(self._fleet.dataset.partition("/")[0], ["used", "available"])
        used, free = int(said["used"]), int(said["available"])
        return int(self._zfs.value(self._top, "available")), free, (used + free) * self._fleet.reserve // 100

    # the streams

    def pull(self, pull: Pull, seconds: Optional[float]) -> Tuple[transfer.Pulled, bool]:
        """Receive each dataset that is not here yet; as :meth:`rsnapshot.Rsnapshot.pull`.

        :raises FleetError: when the host does not say what there is.
        """
        end = None if seconds is None else time.monotonic() + seconds
        mine, free, least = self._space()
        most = min(mine, free - least)  # whatever the host sends: the others need their room
        gate = gate_of(self._fleet, self._host, self._places, self._run)
        streams = gate.datasets(pull.tag)
        os.makedirs(os.path.join(self._folder, pull.id, sets.TREE), mode=0o700)
        found = transfer.Pulled(0, program="zfs")
        code, said = self._describe(pull)
        if code:
            return found._replace(code=code, said="what the host says of itself did not come: " + said), False
        for stream in streams:
            left = None if end is None else max(1.0, end - time.monotonic())
            came, late = self._receive(pull, stream, left, most - found.sent)
            found = came._replace(sent=found.sent + came.sent)
            if came.code or late:
                return found, late
        return found._replace(bytes=self._referenced(pull.tag)), False

    def _describe(self, pull: Pull) -> Tuple[int, str]:
        """What the host says of itself, by rsync: it lies beside the snapshots; exit status, and complaints."""
        rsh = " ".join(transfer.ssh_argv(self._fleet, self._host, self._places))
        source = "root@{0}:{1}/{2}".format(self._host.name, self._fleet.tree, sets.DESCRIPTION)
        target = os.path.join(self._folder, pull.id, sets.TREE) + "/"
        argv = ["rsync", "-t", "--timeout={0}".format(transfer.SILENCE), "-e", rsh, "--", source, target]
        rc, _out, err = self._run(argv, None, _PATIENCE, {})
        return rc, transfer.first_line(err) or "rsync ended with {0}".format(rc)

    def _referenced(self, tag: str) -> int:
        argv = ["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,referenced", self._top]
        rows = self._zfs.runner.ask(argv, "see how large the snapshots are").rows()
        return sum(int(size) for name, size in rows if name.endswith("@" + tag))

    def _receive(self, pull: Pull, stream: Stream, seconds: Optional[float], most: int) -> Tuple[transfer.Pulled, bool]:
        """One dataset: the rest of what is here in part, what has changed since a snapshot that both have, or all."""
        sent, tokens = 0, 0
        while True:
            snapshots = self._snapshots()
            name = self._latest(stream.dataset, snapshots)
            there = snapshots.get(name, [])
            if there and there[-1].guid == stream.guid:
                self._kept.append(Kept(stream.dataset, stream.path, name, stream.guid, stream.raw))
                self.arrived += (stream.guid,)
                return transfer.Pulled(0, sent=sent, program="zfs"), False
            token = self._token(name) if name else ""
            wish: Dict[str, str] = {"dataset": stream.dataset}
            base = there[-1].guid if there else ""
            if token:
                wish["token"] = token
            else:
                name, base = self._start(pull, stream, name, there)
                if base:
                    wish["base"] = base
            went = self._carry(stream, pull.tag, name, wish, base, seconds, max(0, most - sent))
            sent += went.sent
            if token and went.source == _REFUSED and went.target is None and not tokens:
                tokens += 1  # it is of another snapshot, which the host has no more
                self._abort(name)
                continue
            if went.target == 0 and not went.wrong and not went.late:
                if self._has(name, stream.guid):
                    continue
                return transfer.Pulled(
                    1, sent=sent, said="zfs receive made another snapshot than was sent", program="zfs"
                ), False
            return self._failed(stream, went)._replace(sent=sent), went.late

    def _start(self, pull: Pull, stream: Stream, name: str, there: Sequence[Snapshot]) -> Tuple[str, str]:
        """Where a stream begins that is none that was cut: what the dataset is called here, and the snapshot's guid.

        Where the newest snapshot is one that the host has no bookmark of, an older one will do if no set has any that
        came after it. Where there is none, all of it comes, beside what there is: that stays as long as sets have it.
        """
        bases = set(stream.bases)
        common = next((each for each in reversed(there) if each.guid in bases), None)
        if common is not None:
            newer = there[there.index(common) + 1 :]
            if not newer:
                return name, common.guid
            taken = self._taken()
            foreign = [each.name for each in newer if not each.tag.startswith(_TAGS)]
            if foreign:
                raise Refused(
                    "{0} is none of ours, and nothing can be received after it".format(foreign[-1]),
                    safe="all sets are as they were",
                    todo="see what it is for, destroy it, and have nobody take snapshots below {0}".format(
                        self._fleet.dataset
                    ),
                )
            if all((name, each.tag) not in taken for each in newer):
                self._zfs.rollback(common.name, destroy_newer=True)
                return name, common.guid
        if name:
            self._notes.append(
                "{0} comes as a whole again, as the host has no bookmark of a snapshot that is here; what there was "
                "stays as {1}/{2} until no set has it any more".format(stream.dataset, self._top, name)
            )
            return "{0}.{1}".format(called(stream.dataset), pull.id), ""
        return name or called(stream.dataset), ""

    def _taken(self) -> Dict[Tuple[str, str], str]:
        """Which snapshots are of sets: the sets' ids by what the dataset is called here, and the snapshot's name."""
        found: Dict[Tuple[str, str], str] = {}
        for each in self._sets():
            tag, kept = kept_in(each.folder)
            found.update({(one.name, tag): each.pull.id for one in kept})
        return found

    def _carry(
        self,
        stream: Stream,
        tag: str,
        name: str,
        wish: Mapping[str, str],
        base: str,
        seconds: Optional[float],
        most: int,
    ) -> execute.Flowed:
        """Have a stream sent and received."""
        ssh = [*transfer.ssh_argv(self._fleet, self._host, self._places), self._host.name, "nanozfs-backup send"]
        # never -F: the newest snapshot here is what it must fit
        target = ["zfs", "receive", "-s", "-u", "{0}/{1}".format(self._top, name)]
        return self._flow(
            execute.Order(
                ssh,
                json.dumps(dict(wish), sort_keys=True) + "\n",
                target,
                HEAD,
                lambda head: judge(head, tag, stream, base),
                self._fleet.user,
                self._host.bandwidth,
                seconds,
                most,
            )
        )

    def _has(self, name: str, guid: str) -> bool:
        there = self._zfs.snapshots("{0}/{1}".format(self._top, name))
        return any(each.guid == guid for each in there)

    def _abort(self, name: str) -> None:
        """Drop what was received in part."""
        full = "{0}/{1}".format(self._top, name)
        self._zfs.runner.change(["zfs", "receive", "-A", full], "drop what was received of {0} in part".format(full))

    @staticmethod
    def _failed(stream: Stream, went: execute.Flowed) -> transfer.Pulled:
        """Why a dataset did not arrive, as the end of an rsync would say it."""
        if went.wrong:
            said, code = "what the host sends of {0} is not taken: {1}".format(stream.dataset, went.wrong), 1
        elif went.target is None:
            said = transfer.first_line(went.source_said) or "it said nothing"
            cut = went.source in (255, -15)
            said = (
                "the line was cut ({0})".format(said)
                if cut
                else "the host does not send {0}: {1}".format(stream.dataset, said)
            )
            code = 12 if cut else 1
        elif went.full or any(each in went.target_said for each in _FULL):
            return transfer.Pulled(1, said="the backup host is full", full=True, program="zfs")
        elif not went.target_said.strip() or any(each in went.target_said for each in _CUT):
            said = "the line was cut while {0} came; the next try goes on there".format(stream.dataset)
            code = 12
        else:
            words = " ".join(went.target_said.split())[:300] or "it said nothing"
            said, code = "zfs receive does not take {0}: {1}".format(stream.dataset, printable(words)), 1
        return transfer.Pulled(code, said=said, program="zfs")

    # after

    def keep(self, pull: Pull, trusted: bool) -> List[str]:
        """Make a set of what has come, and take away sets that have expired; what is to be said of that.

        :param trusted: that the clock is right; by one that has jumped all sets would have expired.
        :raises FleetError: when the record cannot be written.
        """
        good = [each for each in self._sets() if each.pull.result == OK]
        kind = kind_of(self._host.retain, [(each.pull.kind, each.pull.tried) for each in good], pull.tried)
        folder = os.path.join(self._folder, pull.id)
        said = {"v": 1, "tag": pull.tag, "datasets": [each._asdict() for each in self._kept]}
        write_json(os.path.join(folder, DATASETS), said)
        write_json(os.path.join(folder, sets.RECORD), asdict(replace(pull, kind=kind)))  # from here on it is a set
        notes = list(self._notes)
        if not trusted:
            return [*notes, "nothing was expired, as the clocks of this machine and of the host are far apart"]
        try:
            return notes + self._expire(pull)
        except FleetError as error:  # the set is there; what is too much goes another time
            return [*notes, "not all that has expired is gone: {0}".format(error.what)]

    def _expire(self, now: Pull) -> List[str]:
        """Take away sets whose time is over, and the snapshots that no set has; what could not be.

        Never the newest snapshot of a dataset that the host has: the next stream begins there. And nothing while a set
        is read: FreeBSD unmounts a snapshot that is destroyed, and a restore would find empty folders.
        """
        with state.locked(self._places.lock(sets.READING + self._host.name)) as free:
            if not free:
                return ["nothing was expired, as a set is being read"]
            sound = {each.name for each in self._sets()}
            for name in sorted(os.listdir(self._folder)):
                if name not in sound and os.path.exists(os.path.join(self._folder, name, sets.RECORD)):
                    return ["nothing was expired, as the record of the set {0} cannot be read".format(name)]
            dropped = set()
            for each in self._sets():
                over = each.pull.tried + days(self._host.retain, each.pull.kind or "daily") * DAY
                if each.pull.id != now.id and over <= now.tried:
                    _close(self._zfs, _places(each))  # what one that was killed has left
                    _drop(each.folder)
                    dropped.add(each.pull.tag)
            return self._clean(now, dropped)

    def _clean(self, now: Pull, dropped: Container[str]) -> List[str]:
        """Destroy the snapshots that no set has, and the datasets that have none left; what could not be.

        :param dropped: names of the snapshots of sets that have just gone.
        """
        notes: List[str] = []
        taken = self._taken()
        snapshots = self._snapshots()
        current = {each.name for each in self._kept}
        of_sets = [one for name, there in snapshots.items() for one in there if (name, one.tag) in taken]
        first = min((one.createtxg for one in of_sets), default=0)
        for name, there in snapshots.items():
            full = "{0}/{1}".format(self._top, name)
            if name not in current and self._token(name):
                self._abort(name)  # of a dataset that the host has no more
            left = list(there)
            for one in there:
                newest = name in current and one == there[-1]
                if newest or (name, one.tag) in taken or not (one.tag in dropped or self._is_over(one, first, now)):
                    continue
                try:
                    self._zfs.destroy_snapshot(one.name)
                    left.remove(one)
                except FleetError as error:  # somebody reads or holds it
                    notes.append("{0} stays: {1}".format(one.name, error.what))
            # what never had a snapshot of ours is a person's
            if there and not left and name not in current and self._zfs.dataset(full) is not None:
                self._zfs.destroy(full)
        return notes

    def _is_over(self, one: Snapshot, first: int, now: Pull) -> bool:
        """Whether a snapshot that no set has may go.

        What is older than all sets may be of sets whose records went with the disk that they were on. It stays for as
        long as any set would.

        :param first: createtxg of the first snapshot that a set has.
        """
        if not one.tag.startswith(_TAGS):
            return False
        longest = max(days(self._host.retain, kind) for kind in self._host.retain) * DAY
        stamp = re.search(r"-(\d{8}T\d{6}Z)-", one.tag)
        taken_at = state.moment_of(stamp.group(1)) if stamp else None
        return one.createtxg > first or taken_at is None or taken_at + longest <= now.begun

    def fail(self, pull: Pull, full: bool) -> None:
        """What has come stays for the next try, unless it is in the way of all others."""
        _drop(os.path.join(self._folder, pull.id))
        if full:
            with contextlib.suppress(FleetError):
                for name in self._snapshots():
                    if self._token(name):
                        self._abort(name)


def _missing(each: sets.Set, snapshots: Mapping[str, Sequence[Snapshot]]) -> str:
    """A dataset of a set whose snapshot is not there any more; empty where all are."""
    tag, kept = kept_in(each.folder)
    for one in kept:
        if not any(there.tag == tag and there.guid == one.guid for there in snapshots.get(one.name, ())):
            return one.dataset
    return ""


def _drop(folder: str) -> None:
    """Take the folder of a set away; nothing that is mounted in it, and nothing that anybody else put there."""
    for name in (sets.RECORD, DATASETS, sets.VERIFIED, os.path.join(sets.TREE, sets.DESCRIPTION)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    below: List[str] = []
    for path, folders, _names in os.walk(folder):
        folders[:] = [each for each in folders if not os.path.ismount(os.path.join(path, each))]
        below.append(path)
    for path in reversed(below):
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def opened(fleet: Fleet, chosen: sets.Set, run: execute.Long) -> Iterator[None]:
    """Mount the snapshots of a set as the tree that the host has shown, for as long as it is read. A set of another
    method is one already.

    :param run: how commands are run.
    :raises Refused: when its key is not loaded, or a snapshot is not there.
    :raises FleetError: when it cannot be mounted.
    """
    if chosen.pull.method != SEND:
        yield
        return
    zfs = zfs_by(run)
    tag, kept = kept_in(chosen.folder)
    places = _places(chosen)
    for each in kept:
        _refuse_locked(zfs, fleet, chosen, each)
    left = _close(zfs, places)  # what one that was killed has left
    if left:
        raise FleetError(
            "{0} is still mounted, from another time".format(left[0]),
            safe=_NOTHING,
            todo="see who uses it (fuser(1)), and unmount it on the backup host",
        )
    try:
        for each, path in places:
            try:
                # what users of the host have made there must not lead out of the tree
                if os.path.realpath(path) != path:
                    raise FileNotFoundError
                os.makedirs(path, mode=0o700, exist_ok=True)
            except OSError:
                raise FleetError(
                    "the set {0} has no folder for {1}".format(chosen.pull.id, each.dataset), safe=_NOTHING
                )
            name = "{0}/{1}@{2}".format(top_of(fleet, chosen.pull.host), each.name, tag)
            zfs.runner.change(
                ["mount", "-t", "zfs", name, path],
                "mount the snapshot {0}".format(name),
                safe=_NOTHING,
                todo="see `zfs list -t snapshot {0}`".format(name.partition("@")[0]),
            )
        yield
    finally:
        _close(zfs, places)


def _refuse_locked(zfs: Zfs, fleet: Fleet, chosen: sets.Set, each: Kept) -> None:
    """Refuse a dataset that is encrypted and whose key is not here."""
    name = "{0}/{1}".format(top_of(fleet, chosen.pull.host), each.name)
    if zfs.dataset(name) is None:
        raise Refused("{0} is not here any more".format(name), safe=_NOTHING, todo="choose another set")
    if each.raw and zfs.value(name, "keystatus") != "available":
        raise Refused(
            "{0} is encrypted, as {1} is on the host, and its key is not loaded here".format(name, each.dataset),
            safe=_NOTHING,
            todo="as root on the backup host: `zfs load-key {0}`, run it again, then `zfs unload-key {0}`; or, so that "
            "no key comes here, send it back as it is: `zfs send -w {0}@{1} | ssh HOST zfs receive -u DATASET`".format(
                name, chosen.pull.tag
            ),
        )


def _places(chosen: sets.Set) -> List[Tuple[Kept, str]]:
    """Where the datasets of a set are mounted while it is read, parents first."""
    top = os.path.realpath(chosen.path)
    _tag, kept = kept_in(chosen.folder)
    return [(each, os.path.join(top, each.path)) for each in sorted(kept, key=lambda one: one.path.split("/"))]


def _close(zfs: Zfs, places: Sequence[Tuple[Kept, str]]) -> List[str]:
    """Unmount what is mounted in a tree, children first; what cannot be."""
    there = [each.where for each in mounts(zfs.runner)]
    left = []
    for _each, path in reversed(places):
        for _mount in range(there.count(path)):
            if zfs.runner.attempt(["umount", path]).rc != 0:
                left.append(path)
    return left


def problems(fleet: Fleet, run: execute.Long) -> List[str]:
    """What is wrong with the pool that the datasets of hosts are received into; a sentence each."""
    zfs = zfs_by(run)
    try:
        if zfs.dataset(fleet.dataset) is None:
            return ["the dataset {0} is not there".format(fleet.dataset)]
        missing = lacking(zfs, fleet)
    except (FleetError, KeyError) as error:
        return ["{0} cannot be asked for: {1}".format(fleet.dataset, error)]
    if missing:
        return ["{0} may not {1} on {2}: run backup.yml".format(fleet.user, ", ".join(missing), fleet.dataset)]
    return []


def lacking(zfs: Zfs, fleet: Fleet) -> List[str]:
    """Which of :data:`PERMISSIONS` the user who receives has not got there; none for root.

    :raises KeyError: when there is no such user.
    """
    if not fleet.user:
        return []
    number = str(pwd.getpwnam(fleet.user).pw_uid)
    given, _strange = delegation.parse(zfs.delegations(fleet.dataset), fleet.dataset)
    has = {word for each in given if each[:3] == ("-ld", "-u", number) for word in each[3].split(",")}
    return [each for each in PERMISSIONS if each not in has]


def provide(zfs: Zfs, fleet: Fleet) -> bool:
    """Make the dataset below which those of hosts are, and let the user receive there; whether anything was to be done.

    :raises Refused: when there is no such user, or no ZFS.
    :raises FleetError: when it cannot be made.
    """
    changed = False
    if zfs.runner.query(["zfs", "list", "-H", "-o", "name"]).rc == 127:
        raise Refused(
            "there is no zfs here, and backup_method send receives into a pool of this machine",
            safe="nothing was changed",
            todo="install it (Debian: zfsutils-linux of contrib), make a pool, and run it again",
        )
    if zfs.dataset(fleet.dataset) is None:
        zfs.create(fleet.dataset, PROPERTIES)
        changed = True
    try:
        number = str(pwd.getpwnam(fleet.user).pw_uid) if fleet.user else ""
        missing = [] if changed and zfs.runner.check_mode else lacking(zfs, fleet)
    except KeyError:
        raise Refused(
            "there is no user {0} here, as backup_user says".format(fleet.user),
            safe="nothing was changed",
            todo="make one without a password or a shell, or leave backup_user out for root",
        )
    if number and missing:
        zfs.allow(fleet.dataset, ["-u", number, ",".join(PERMISSIONS)])
        changed = True
    return changed
