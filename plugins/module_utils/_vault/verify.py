# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a set would give back what the host had: a sample of it is restored, and compared with the host.

It is restored as restore.yml has it restored, but into a folder here. The host says what it has in a snapshot of now,
so only what has not changed since can be compared: what has the same size and time. That is what rsync goes by as well,
so what is rotten here would be linked into each set to come.

What has another size or time has changed since, and another file is taken, unless it cannot have: the host says when a
file was last changed in any way, and nobody can set that. Set against a set of a trial that says nothing, as the data
may have gone back since, and neither does it when the clock of the host was set back.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup import digests
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.records import SAMPLE
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, printable
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import (
    execute,
    root,
    sample,
    send,
    sets,
    transfer,
    when,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import RSNAPSHOT, SEND, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.run import REFUSED, WAITS, Outcome, Vault, told
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.state import (
    FAILED,
    OK,
    locked,
    write_json,
    write_known,
)

#: how many files, of how many bytes together, and for each of them how many are drawn, as some will have changed
FILES, BYTES, DRAWN = 100, 1 << 30, 4

#: For how long a run of the schedule begins to look at hosts (seconds); it comes again after a quarter of an hour
LOOKING = 900

#: before the name of a host: a folder below the root of all sets, whose file system can have all that a host's can
SCRATCH = ".verify-"

#: how many files that are wrong are kept, and in how many characters, and how many are named in a line
KEPT, LONGEST, NAMED = 20, 1000, 5

#: rsync's exit statuses where it cannot read or write a file
_UNREADABLE = (11, transfer.SOME_FILES)

_SAFE = "nothing was verified"


@dataclass(frozen=True)
class Look:
    """What is wanted.

    :param seed: what files are chosen by; a new one where it is empty.
    :param files: how many.
    :param bytes: of them all together, at most.
    :param now: whatever the windows of the hosts say.
    :param check: only say what would be done.
    """

    seed: str = ""
    files: int = FILES
    bytes: int = BYTES
    now: bool = False
    check: bool = False


class Wrong(NamedTuple):
    """Something that is not what the host had.

    :param path: from the ``/`` of the host on, without what a terminal would obey; empty for the whole set.
    """

    path: str
    why: str


@dataclass(frozen=True)
class Verified:
    """What became of it.

    :param set: which one was looked at.
    :param at: when, by the clock here (seconds since the epoch).
    :param files: that were restored and compared, with their bytes.
    :param changed: files that have changed since, so that they could not be.
    :param unread: files that the host could not read itself, or that were too large.
    :param wrong: how many things are wrong; ``names`` has the first of them.
    """

    host: str
    set: str
    at: int
    result: str
    seed: str
    files: int
    bytes: int
    changed: int
    unread: int
    wrong: int
    names: Tuple[Wrong, ...]

    def as_dict(self) -> Dict[str, Any]:
        """As it is kept."""
        return dict(asdict(self), v=1, names=[each._asdict() for each in self.names])


def most_drawn(look: Look) -> int:
    """How many files are drawn for a look, as some will have changed."""
    return min(digests.MOST, DRAWN * look.files + DRAWN)


def first_wrong(found: Verified) -> str:
    """The first things that are wrong, for a message."""
    named = ["{0!r} ({1})".format(each.path[:200], each.why) if each.path else each.why for each in found.names]
    rest = ", and {0} more".format(found.wrong - NAMED) if found.wrong > NAMED else ""
    return ", ".join(named[:NAMED]) + rest


def said(found: Verified, notes: Sequence[str], method: str = RSNAPSHOT) -> str:
    """It in a line.

    :param method: what the set was pulled by.
    """
    more = "".join("; " + note for note in notes)
    looked = "{0} of set {1} restored and compared, {2}, seed {3}".format(
        counted(found.files, "file"), found.set, root.shown_size(found.bytes), found.seed
    )
    looked += ", {0} changed since".format(found.changed) if found.changed else ""
    looked += ", {0} unread".format(found.unread) if found.unread else ""
    if found.result == OK:
        return "verified: {0}{1}".format(looked, more)
    anew = "remove the files from the newest set"
    if method == SEND:  # in which nothing can be removed
        anew = "on the host, destroy the bookmarks of their datasets (`zfs list -t bookmark`)"
    return (
        "VERIFICATION FAILED: not what the host had: {0}; {1}. Safe now: no set was changed, and older ones may "
        "share these files. Next: see what is wrong with the disks here; {2}, so that the next pull fetches them anew, "
        "and verify that{3}".format(first_wrong(found), looked, anew, more)
    )


class Verifier:
    """A backup host that looks into what it has.

    :param stream: how rsync is run here.
    :param steady: seconds since some moment, whatever becomes of the time of day.
    """

    def __init__(
        self, vault: Vault, stream: send.Stream = send.stream, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._vault = vault
        self._steady = steady
        self._fleet = vault.fleet
        self._stream = stream

    def run(self, names: Sequence[str], look: Look, says: Callable[[Outcome], None]) -> List[Outcome]:
        """Look at the newest good set of each host, one after the other.

        :param names: of hosts; all where there are none.
        :param says: is told of each when it is done.
        :raises Refused: when a name is none, or the root is not there.
        """
        self._vault.see(names, _SAFE)
        look = replace(look, seed=sample.seed_of(look.seed))
        outcomes = []
        for name in names or sorted(self._fleet.hosts):
            outcomes.append(self._guarded(self._fleet.hosts[name], look))
            says(outcomes[-1])
        return outcomes

    def due(self, names: Sequence[str]) -> List[str]:
        """The hosts of which a set is to be looked into by itself now, and is there.

        :param names: those to choose from; all where there are none.
        """
        found, now = [], self._vault.now()
        for name in names or sorted(self._fleet.hosts):
            host, known = self._fleet.hosts[name], self._vault.known(self._fleet.hosts[name])
            at = (known.verified or {}).get("at")
            with contextlib.suppress(Refused):  # of a time zone that is none, which a pull has said already
                if (
                    known.good is not None
                    and when.look_is_due(host.verify_every, at if isinstance(at, int) else None, known.looked, now)
                    and when.opening(host.hours, host.zone, now) is not None
                ):
                    found.append(name)
        return found

    def run_due(self, names: Sequence[str], says: Callable[[Outcome], None]) -> List[Outcome]:
        """Look at the hosts that are due, as a schedule does it; each is tried once a day at most.

        No more are begun after :data:`LOOKING`: the schedule pulls nothing while this one is at it, and has the others
        looked at the next time.

        :param names: see :meth:`due`.
        """
        outcomes: List[Outcome] = []
        until = self._steady() + LOOKING
        for name in self.due(names):
            if execute.stopped() or self._steady() > until:
                break
            if self._noted(self._fleet.hosts[name]):
                outcomes += self.run([name], Look(), says)
        return outcomes

    def _noted(self, host: Host) -> bool:
        """Write down that a host is being looked at; whether that could be.

        Under its lock: a pull that somebody has begun writes down how it went, and must not find what was known before.
        """
        with locked(self._vault.host_lock(host)) as free:
            if free:
                state = self._vault.places.host_state(host.name)
                write_known(state, replace(self._vault.known(host), looked=int(self._vault.now())))
            return free

    def _guarded(self, host: Host, look: Look) -> Outcome:
        """One host; whatever goes wrong with it is not the end of the others. It is neither pulled meanwhile."""
        try:
            if not look.now and when.opening(host.hours, host.zone, self._vault.now()) is None:
                return Outcome(host.name, WAITS, "waits: its window is closed")
            with locked(self._vault.host_lock(host)) as free:
                if not free:
                    return Outcome(host.name, WAITS, "waits: it is being pulled or verified")
                outcome = self._one(host, look)
        except FleetError as error:
            outcome = Outcome(
                host.name, REFUSED if isinstance(error, Refused) else FAILED, "not verified: " + str(error)
            )
        except OSError as error:
            words = "not verified: {0}. Safe now: no set was changed. Next: see what is wrong with this machine"
            outcome = Outcome(host.name, FAILED, words.format(error))
        except Exception as error:  # pragma: no cover - a mistake of ours, which must not take the look of the others
            outcome = Outcome(host.name, FAILED, "not verified: {0}: {1}".format(type(error).__name__, error))
        if not look.check:
            self._vault.log(outcome)
        return outcome

    def _one(self, host: Host, look: Look) -> Outcome:
        root.mounted(self._fleet)
        chosen = sets.newest_good(self._fleet, host.name)
        if chosen is None:
            raise Refused(
                "there is no good set of {0} to verify".format(host.name),
                safe=_SAFE,
                todo="see `nanozfs-backup status`; a set that is partial is no good one",
            )
        with self._vault.reading(chosen):
            drawn = sample.draw(chosen.path, look.seed, most_drawn(look))
            if look.check:
                words = "would restore and compare {0} of set {1}, {2} at most, seed {3}"
                number = counted(min(look.files, len(drawn.members)), "file")
                size = root.shown_size(look.bytes)
                return Outcome(host.name, OK, words.format(number, chosen.pull.id, size, look.seed))
            found, notes = self._compared(host, look, chosen, drawn)
        there = sets.record_in(chosen.folder)
        if there is None or there.id != chosen.pull.id:
            raise FleetError(
                "set {0} was taken away or renamed while it was looked at".format(chosen.pull.id),
                safe=_SAFE,
                todo="see who else is at work in {0}, and verify again".format(os.path.dirname(chosen.folder)),
            )
        known = self._vault.known(host)
        write_known(self._vault.places.host_state(host.name), replace(known, verified=found.as_dict()))
        with contextlib.suppress(FleetError):  # the set of another machine's disk may be read-only
            write_json(os.path.join(chosen.folder, sets.VERIFIED), found.as_dict())
        untold = told(lambda: self._vault.gate(host).verified(for_host(found)))
        more = [*notes, *filter(None, (known.broken, untold))]
        return Outcome(host.name, found.result, said(found, more, chosen.pull.method), verified=found.as_dict())

    def _compared(
        self, host: Host, look: Look, chosen: sets.Set, drawn: sample.Drawn
    ) -> Tuple[Verified, Sequence[str]]:
        """Restore the sample, and compare it."""
        answer = self._vault.gate(host).digests(asked(drawn.members, look))
        rows = list(zip(drawn.members, answer.files))
        need = max((member.info.st_size for member, row in rows if "sha256" in row), default=0)
        root.room_for(self._fleet, need, _SAFE)
        wrong = [
            Wrong(printable("/" + path)[:LONGEST], "the folder cannot be read: {0}".format(why))
            for path, why in drawn.unread
        ]
        if chosen.pull.files > drawn.entries:
            words = "{0} of the {1} files and folders that were brought are not there any more"
            wrong.append(Wrong("", words.format(chosen.pull.files - drawn.entries, chosen.pull.files)))
        settled = not chosen.pull.trial and answer.begun >= chosen.pull.begun
        until = chosen.pull.begun * 10**9 if settled else 0
        files = size = changed = unread = 0
        with self._scratch(host) as scratch:
            for member, row in rows:
                if "sha256" in row:
                    files, size = files + 1, size + member.info.st_size
                    why = self._restored(chosen, member, row, scratch, until)
                elif row.get("large") or row.get("problem"):
                    unread += 1
                    why = ""
                else:
                    why = _changed(member, row, until)
                    changed += not why
                wrong += [Wrong(printable("/" + member.path)[:LONGEST], why)] if why else []
        if not files and not wrong:
            raise FleetError(
                "nothing could be compared: {0}, {1} unread".format(_since(changed), unread),
                safe=_SAFE,
                todo="pull the host (`nanozfs-backup run --now {0}`), and verify that".format(host.name),
            )
        return Verified(
            host.name,
            chosen.pull.id,
            int(self._vault.now()),
            FAILED if wrong else OK,
            look.seed,
            files,
            size,
            changed,
            unread,
            len(wrong),
            tuple(wrong[:KEPT]),
        ), answer.notes

    @contextlib.contextmanager
    def _scratch(self, host: Host) -> Any:
        """A folder of its own; what one that was killed has left goes first."""
        path = os.path.join(self._fleet.root, SCRATCH + host.name)
        remove = ["rm", "-rf", "--", path]
        if os.path.lexists(path):
            self._vault.command(remove)
        os.mkdir(path, mode=0o700)
        try:
            yield path
        finally:
            self._vault.command(remove)

    def _restored(
        self, chosen: sets.Set, member: sample.Member, row: Mapping[str, Any], scratch: str, until: int
    ) -> str:
        """Restore a file and compare it with what the host has; why it is not the same.

        :param until: when the set was taken; what the host has changed before that (nanoseconds) must be the same.
        :raises FleetError: when it cannot be restored, which is no fault of the set.
        """
        try:
            code, errors = send.restore_here(self._stream, chosen.path, "/" + member.path, scratch)
        except Refused as error:
            return "it cannot be restored: {0}".format(error.what)
        if code:
            complaint = transfer.first_line(errors) or ""
            words = transfer.words(transfer.Pulled(code, said=complaint, full=transfer.is_full(errors)))
            if code in _UNREADABLE and not transfer.is_full(errors):
                return "it cannot be restored: {0}".format(words)
            raise FleetError(
                "rsync cannot restore here: {0}".format(words), safe=_SAFE, todo="see why, and verify again"
            )
        path = os.path.join(scratch, os.path.basename(member.path))
        try:
            return differs(path, row, until) or _attributes(os.path.join(chosen.path, member.path), path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _since(changed: int) -> str:
    return "{0} changed since".format(counted(changed, "file"))


def for_host(found: Verified, kind: str = SAMPLE) -> Dict[str, Any]:
    """What a host is told."""
    return {"at": found.at, "result": found.result, "files": found.files, "seed": found.seed, "kind": kind}


def asked(members: Sequence[sample.Member], look: Look) -> Dict[str, Any]:
    """What the host is asked; a path is its bytes, whatever the locale here makes of them."""
    files = [
        {
            "path": os.fsencode(each.path).decode("utf-8", "surrogateescape"),
            "kind": each.kind,
            "size": each.info.st_size,
            "mtime": each.info.st_mtime_ns,
        }
        for each in members
    ]
    return {"files": files, "digests": look.files, "bytes": look.bytes}


def _changed(member: sample.Member, row: Mapping[str, Any], until: int) -> str:
    """Why something that is not the same on the host is wrong; empty where it has changed since, or may have.

    Where the data of a host went back to before the set was taken, its files are older than those of the set. One of a
    set that has its time and is something else, or is newer than the set, has become so here.
    """
    if row["kind"] == digests.GONE or row["ctime"] >= until:
        return ""
    mtime = member.info.st_mtime_ns
    if not digests.same_time(mtime, row["mtime"]) and mtime <= until + 10**9:
        return ""
    if row["kind"] != member.kind:
        return "it is a {0} here, and a {1} there".format(member.kind, row["kind"])
    return "its size is another one" if row["size"] != member.info.st_size else "its time is another one"


def differs(path: str, row: Mapping[str, Any], until: int) -> str:
    """Why something that was restored is not what the other side has.

    :param row: what that says of it.
    :param until: what it has changed since then (nanoseconds) may have another mode and owner.
    """
    try:
        info = os.lstat(path)
    except OSError as error:
        return "it was not restored: {0}".format(error.strerror)
    found = digests.facts_of(info)
    if found["kind"] != row["kind"] or not digests.same_time(found["mtime"], row["mtime"]):
        return "its kind or time was not restored"
    if digests.content_of(os.fsencode(path), found["kind"]) != row["sha256"]:
        return "its content is another one"
    if row["ctime"] >= until:
        return ""  # its mode may have changed since
    # the mode of a link counts nowhere, and Linux has none
    if found["kind"] == digests.FILE and found["mode"] != row["mode"]:
        return "its mode is {0:o}, and {1:o} there".format(found["mode"], row["mode"])
    if (found["uid"], found["gid"]) != (row["uid"], row["gid"]):
        return "its owner is {0[uid]}:{0[gid]}, and {1[uid]}:{1[gid]} there".format(found, row)
    return ""


def _attributes(one: str, other: str) -> str:
    """Whether extended attributes were restored; where Python cannot tell (FreeBSD's cannot), they are as well as."""
    listed: Optional[Callable[..., List[str]]] = getattr(os, "listxattr", None)
    if listed is None:
        return ""
    try:
        found = [
            {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in listed(path, follow_symlinks=False)
                if name.startswith("user.")
            }
            for path in (one, other)
        ]
    except OSError:
        return ""
    return "" if found[0] == found[1] else "its extended attributes were not restored"
