# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The files of /cfg, merged with what a new system has in their place: what an upgrade would do, and doing it.

A file of /cfg hides the image's, and with it whatever later images change there. So before the trial each is judged
with three sides: what it was made against (:mod:`origins`), what the new system has, and itself. How two texts are
merged is the matter of :mod:`_merge`; here is what belongs to a tree of files: links, folders, owners and modes, files
that follow the image again, what a site wants where both sides changed the same, and what is made of other files.

All of it is written to the configuration that waits for the new system (``_upgrade/staging.py``), never to /cfg.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import os
import shutil
import tempfile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import origins
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.burst import Make, Tree, copy_file, write_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.newbase import in_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.origins import (
    BEHIND,
    FILE,
    FOLDER,
    LINK,
    NONE,
    Entry,
    Folder,
    Notes,
    Origin,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import spelled
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import (
    MASTER,
    Places,
    files,
    parents,
    patterns,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.medium import Slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge import engine
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, first_of

#: what a site wants where both sides changed the same; KEEP: the file stays as it is, whatever the new system has
OURS, THEIRS, STOP, KEEP = "ours", "theirs", "stop", "keep"
POLICIES = (OURS, THEIRS, STOP, KEEP)

#: what becomes of a file
STAYS, FOLLOWS, MERGED = "stays", "follows", "merged"

#: how many a sentence names
_NAMED = 5

#: how many conflicts a message describes, and of how many files it says that they have some: all are in the result
_DESCRIBED, _FILES = 10, 20

_WHOLE = "the whole file"
_HIDDEN = "(not shown)"

_SAFE = "the configuration in force was not changed, and the new system was not tried"


class Source(Protocol):
    """A tree of an image."""

    def entry(self, path: str) -> Entry:
        """What is at a path."""


class Clash(NamedTuple):
    """What both sides changed. ``base`` is what the file was made against; texts for people, hidden where they are not
    for everybody.
    """

    path: str
    where: str
    base: str
    new: str
    yours: str
    why: str
    policy: str

    def describe(self) -> str:
        """In a sentence."""
        said = [each or "nothing" for each in (self.yours, self.new, self.base)]
        sides = "yours: {0}; the new system's: {1}; before: {2}".format(*said)
        return "{0}, {1}: {2} ({3})".format(self.path, self.where, self.why, sides)


class Decision(NamedTuple):
    """What becomes of a file of /cfg.

    :param note: what it will be noted to be made against.
    :param entry: the file as it will be, where it is another one.
    :param behind: the folder that it is in, where the new system has something else in the place of that and wins.
    """

    path: str
    kind: str
    note: Optional[Origin] = None
    entry: Optional[Entry] = None
    clashes: Tuple[Clash, ...] = ()
    behind: str = ""


class Outcome(NamedTuple):
    """What becomes of a configuration.

    :param before: the notes that it has.
    :param derived: files of it that are made anew of others that are merged.
    """

    decisions: Tuple[Decision, ...]
    before: Notes
    derived: Tuple[str, ...]

    def named(self, kind: str) -> List[str]:
        """The files of which that becomes, as they are shown."""
        return [spelled(each.path) for each in self.decisions if each.kind == kind]

    @property
    def clashes(self) -> List[Clash]:
        """What both sides changed."""
        return [clash for each in self.decisions for clash in each.clashes]

    @property
    def notes(self) -> Notes:
        """The notes as they have to be."""
        return {each.path: each.note for each in self.decisions if each.note is not None}

    @property
    def changes(self) -> bool:
        """Whether anything has to be written."""
        return self.notes != self.before or any(each.kind != STAYS for each in self.decisions)

    def as_dict(self) -> Dict[str, Any]:
        """For module results."""
        return {
            "kept": len(self.named(STAYS)),
            "merged": self.named(MERGED),
            "follows": self.named(FOLLOWS),
            "conflicts": [each._asdict() for each in self.clashes],
            "assumed": sum(each.note is not None and each.note.assumed for each in self.decisions),
        }

    def says(self) -> str:
        """In a sentence; empty where nothing becomes of any file."""
        parts = []
        for kind, one, more in ((MERGED, "is merged", "are merged"), (FOLLOWS, "follows it again", "follow it again")):
            found = self.named(kind)
            if found:
                parts.append(
                    "{0} {1} ({2})".format(len(found), one if len(found) == 1 else more, first_of(found, _NAMED))
                )
        settled = [each for each in self.clashes if each.policy != STOP]
        if settled:
            parts.append("{0} settled by upgrade_merge".format(counted(len(settled), "conflict")))
        return "of /cfg with the new system: {0}".format(", ".join(parts)) if parts else ""

    def warnings(self) -> List[str]:
        """What somebody has to make anew after the upgrade."""
        return [
            "{0} in /cfg is still made of the {1} of before: make it anew after the upgrade".format(
                path, engine.made_from(path)
            )
            for path in self.derived
            if engine.made_from(path) != MASTER
        ]

    def refuse(self, safe: str = _SAFE) -> None:
        """Refuse what nobody has said how to settle.

        :param safe: what is safe then.
        :raises Refused: with both sides.
        """
        open_ones = [each for each in self.clashes if each.policy == STOP]
        if not open_ones:
            return
        paths = sorted({each.path for each in open_ones})
        said = "; ".join(each.describe() for each in open_ones[:_DESCRIBED])
        if len(open_ones) > _DESCRIBED:
            said += "; and {0} more, {1} in all, in {2}".format(
                len(open_ones) - _DESCRIBED, counted(len(open_ones), "conflict"), first_of(paths, _FILES)
            )
        example = ", ".join("{0!r}: ours".format(path) for path in paths[:_NAMED])
        raise Refused(
            "the new system and this host changed the same in files of /cfg: {0}".format(said),
            safe=safe,
            todo="say what wins with upgrade_merge, for instance {{{0}}} (or theirs; keep leaves a file as it "
            "is, and hides what is new), or change the file in /cfg, and run the play again".format(example),
            conflicts=[each._asdict() for each in open_ones],
        )


def policies_of(wanted: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """What a site wants, by patterns of paths; the first that fits counts.

    :raises Refused: when it means nothing.
    """
    found = []
    for pattern, policy in wanted.items():
        names = patterns(str(pattern))
        if len(names) != 1 or policy not in POLICIES:
            raise Refused(
                "upgrade_merge: {0!r}: {1!r} is none of {2}".format(pattern, policy, ", ".join(POLICIES)),
                safe="nothing was changed",
                todo="give a pattern of paths in /etc for each, such as 'ssh/*': ours",
            )
        name = names[0]
        for folder, place in (("/usr/local/etc/", "local/"), ("/cfg/", "")):
            name = place + name[len(folder) :] if name.startswith(folder) else name
        found.append((name, str(policy)))
    return found


def policy_for(path: str, policies: Sequence[Tuple[str, str]]) -> str:
    """What a site wants for a path."""
    return next((policy for pattern, policy in policies if fnmatch.fnmatchcase(path, pattern)), STOP)


def decide(cfg: str, running: Source, new: Source, policies: Sequence[Tuple[str, str]]) -> Outcome:
    """What becomes of a configuration; nothing is written.

    :param cfg: the folder that it is in.
    :param running: the tree of the image that runs, for files of which nobody noted what they were made against.
    :param new: that of the new system.
    :param policies: see :func:`policies_of`.
    :raises FleetError: when something cannot be read.
    """
    notes, found = origins.read(cfg), files(cfg)
    here = Folder(cfg)
    decisions = []
    with readable():
        for path in sorted(found):
            if not origins.concerns(path):
                continue
            policy = policy_for(path, policies)
            if policy == KEEP:
                decisions.append(Decision(path, STAYS, notes.get(path)))
                continue
            now, then = running.entry(path), new.entry(path)
            if path.startswith("rc.d/") and then.kind != NONE:
                continue  # the early hook leaves it out, and the rehearsal says so
            note = notes.get(path) or origins.origin_of(now, True)
            if note.kind == NONE == then.kind:  # the host's own, of any size; it needs no note to stay that
                decisions.append(Decision(path, STAYS, notes.get(path)))
                continue
            decision = _decide(path, note, (now, then), then, here.entry(path), policy)
            if not _way_is_open(cfg, path):
                veiled = [each if each.where == _WHOLE else _veiled(path, each) for each in decision.clashes]
                decision = decision._replace(clashes=tuple(veiled))
            decisions.append(decision)
    changed = {each.path for each in decisions if each.kind != STAYS}
    derived = tuple(path for path in sorted(found) if engine.made_from(path) in changed)
    return Outcome(tuple(decisions), notes, derived)


def with_slice(places: Places, cfg: str, piece: Slice, wanted: Mapping[str, Any]) -> Outcome:
    """What becomes of a configuration with the system that a slice holds.

    :param places: of the running system.
    :param cfg: the folder that the configuration is in.
    :param wanted: see :func:`policies_of`.
    :raises FleetError: see :func:`decide`; and where there is no image in the slice.
    """
    with in_slice(piece) as new:
        return decide(cfg, Folder(places.base), new, policies_of(wanted))


def _decide(path: str, note: Origin, known: Sequence[Entry], new: Entry, ours: Entry, policy: str) -> Decision:
    after = origins.origin_of(new, note.assumed)
    old = note.entry(known)
    if old is None:
        if (ours.kind, ours.content) == (new.kind, new.content):
            return Decision(path, STAYS, after)
        why = "what it was made against is in no image at hand"
        return _settled(path, Entry(note.kind), new, ours, why, policy, after)
    if old.same(new):
        return Decision(path, STAYS, after)
    if {old.kind, new.kind, ours.kind} <= {FILE, NONE}:
        return _texts(path, old, new, ours, policy, after)
    if ours.same(old):
        return Decision(path, FOLLOWS)
    if ours.same(new) or (old.kind, old.content) == (new.kind, new.content):
        return Decision(path, STAYS, after)
    return _settled(path, old, new, ours, _whole(new, ours), policy, after)


def _whole(new: Entry, ours: Entry) -> str:
    """Why something can only be taken as a whole."""
    if new.kind == FOLDER:
        return "it is a folder in the new system"
    if new.kind == BEHIND:
        return "{0} is no folder in the new system".format(spelled(os.fsdecode(new.content)))
    if LINK in (new.kind, ours.kind):
        return "a link cannot be merged"
    return "both sides changed it"


def _settled(path: str, old: Entry, new: Entry, ours: Entry, why: str, policy: str, after: Origin) -> Decision:
    """A conflict about a file as a whole."""
    clash = Clash(spelled(path), _WHOLE, _named(old), _named(new), _named(ours), why, policy)
    if policy == THEIRS:
        behind = os.fsdecode(new.content) if new.kind == BEHIND else ""
        return Decision(path, FOLLOWS, clashes=(clash,), behind=behind)
    return Decision(path, STAYS, after, clashes=(clash,))


def _named(entry: Entry) -> str:
    """What something is, without what is in it."""
    if entry.kind == LINK:
        return "a link to {0}".format(spelled(os.fsdecode(entry.content)))
    return {FILE: "a file", FOLDER: "a folder", NONE: "nothing"}.get(entry.kind, "something else")


def _texts(path: str, old: Entry, new: Entry, ours: Entry, policy: str, after: Origin) -> Decision:
    """Three files, of which those of the images may not be there."""
    sides = [None if each.kind == NONE else each.content for each in (old, new)]
    found = engine.merge(path, sides[0], sides[1], ours.content)
    clashes = tuple(_clash(path, each, new, ours, policy) for each in found.conflicts)
    if found.kind == engine.FOLLOWS and (new.kind == NONE or _attributes(old, new, ours) == new.attributes):
        return Decision(path, FOLLOWS, clashes=clashes)
    content = found.theirs if clashes and policy == THEIRS else found.content
    if content is None:
        return Decision(path, FOLLOWS, clashes=clashes)
    result = Entry(FILE, *_attributes(old, new, ours), content)
    if policy == THEIRS and clashes and result.same(new):
        return Decision(path, FOLLOWS, clashes=clashes)
    if result.same(ours):
        return Decision(path, STAYS, after, clashes=clashes)
    return Decision(path, MERGED, after, result, clashes)


def _attributes(old: Entry, new: Entry, ours: Entry) -> Tuple[int, int, int]:
    """Mode and owners: those of the new system where the host has not changed them."""
    if NONE in (old.kind, new.kind):
        return ours.attributes
    mode, uid, gid = (b if c == a else c for a, b, c in zip(old.attributes, new.attributes, ours.attributes))
    return mode, uid, gid


def _clash(path: str, found: Any, new: Entry, ours: Entry, policy: str) -> Clash:
    """A conflict within a file; what is in one that not everybody may read is not shown."""
    clash = Clash(spelled(path), found.where, found.old, found.new, found.ours, found.why, policy)
    open_to_all = bool(ours.mode & 0o004) and (new.kind == NONE or bool(new.mode & 0o004))
    return clash if open_to_all else _veiled(path, clash)


def _veiled(path: str, clash: Clash) -> Clash:
    """A conflict without what is in the file."""
    base, new, yours = [text and _HIDDEN for text in (clash.base, clash.new, clash.yours)]
    where = clash.where if engine.discreet(path) else _HIDDEN
    return clash._replace(where=where, base=base, new=new, yours=yours)


def _way_is_open(cfg: str, path: str) -> bool:
    """Whether everybody may go into the folders that a file is in."""
    return all(os.lstat(os.path.join(cfg, parent)).st_mode & 0o001 for parent in parents(path))


def write(runner: Runner, folder: str, outcome: Outcome) -> None:
    """Bring a configuration that waits for a new system to what was decided, notes and all, in one burst.

    :param folder: where that configuration is; it is nobody's yet.
    :raises FleetError: when it cannot be written, or the users in it cannot be.
    """
    make = {each.path: _maker(each.entry) for each in outcome.decisions if each.kind == MERGED and each.entry}
    gone = [each.path for each in outcome.decisions if each.kind == FOLLOWS]
    with _made_anew(runner, folder, outcome) as derived:
        make.update(derived)
        gone += [path for path in outcome.derived if path not in derived and engine.made_from(path) == MASTER]
        if outcome.notes != outcome.before:
            make.update(origins.made(origins.encode(outcome.notes)))
        Tree(folder, _like).replace(make, gone, _SAFE, "make room in the pool, and run the play again")
    for behind in {each.behind for each in outcome.decisions if each.behind}:
        _empty(os.path.join(folder, behind))


def _empty(top: str) -> None:
    """Take away a folder with nothing but folders in it: the early hook would put it in the place of a file."""
    for place, _folders, _files in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _like(_folder: str) -> Tuple[int, int, int]:
    """Folders are there already: nothing is written where there was no file."""
    return 0o755, -1, -1


def _maker(entry: Entry) -> Make:
    return functools.partial(write_file, entry.content, *entry.attributes)


def _no_room(error: OSError) -> FleetError:
    return FleetError(
        "the merged users cannot be written for pwd_mkdb: {0} ({1})".format(error.strerror, error.filename),
        safe=_SAFE,
        todo="make room there, and run the play again",
    )


@contextlib.contextmanager
def _made_anew(runner: Runner, folder: str, outcome: Outcome) -> Iterator[Dict[str, Make]]:
    """What is made of users that are merged, where the configuration has it: it would be that of the users of before.

    pwd_mkdb(8) with -d puts passwd, pwd.db and spwd.db into a folder, and judges the users while it is at it.

    :raises FleetError: when it does not take them.
    """
    users = next((each.entry for each in outcome.decisions if each.path == MASTER and each.kind == MERGED), None)
    if users is None:
        yield {}
        return
    try:
        top = tempfile.mkdtemp(prefix="nanozfs.")
    except OSError as error:
        raise _no_room(error)
    try:
        source = os.path.join(top, MASTER)
        try:
            _maker(users)(source)
        except OSError as error:
            raise _no_room(error)
        result = runner.query(["pwd_mkdb", "-p", "-d", top, source])
        if result.rc != 0:
            raise unexpected(result, "make the databases of the merged users", safe=_SAFE)
        there = [path for path in outcome.derived if os.path.exists(os.path.join(top, path))]
        yield {path: functools.partial(copy_file, os.path.join(top, path)) for path in there}
    finally:
        shutil.rmtree(top, ignore_errors=True)
