# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between two images: files, packages, options; for people and for machines."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    IMAGE_JSON,
    MAX_SMALL_FILE,
    Manifest,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, parse
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import fetch_artefact, find_id, manifest_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import IMAGE_CONF
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.listing import (
    MAX_LISTING,
    Entry,
    Listing,
    parse_listing,
)

#: the kind of the list in a manifest's files
FILES = "files"

#: what can differ in a file, in the order in which it is said
ASPECTS: Tuple[Tuple[str, Callable[[Entry], object]], ...] = (
    ("type", lambda entry: entry.kind),
    ("content", lambda entry: entry.sha256),
    ("size", lambda entry: entry.size),
    ("target", lambda entry: entry.target),
    ("mode", lambda entry: "{0:04o}".format(entry.mode)),
    ("owner", lambda entry: "{0}:{1}".format(entry.uid, entry.gid)),
    ("links", lambda entry: entry.links),
    ("time", lambda entry: entry.mtime),
)
TIME = "time"

#: /etc lies here a second time, as hard links, to fill the memory disk from
ETC, TWIN = "etc/", "conf/base/etc/"

#: what every image says of itself, and that differs between any two builds
OWN = (IMAGE_JSON, IMAGE_CONF)


@dataclass(frozen=True)
class Subject:
    """One of the images that are compared.

    :param ident: its id; an empty string where only a list of its files is there.
    """

    title: str
    listing: Listing
    ident: str = ""

    @property
    def origin(self) -> Optional[Origin]:
        """Where it comes from; ``None`` where it does not say."""
        values = self.listing.header.get("origin")
        return parse(json.dumps(values)) if values is not None else None


@dataclass(frozen=True)
class Change:
    """A path that both have, and what of it differs."""

    path: str
    aspects: Tuple[str, ...]
    old: Entry
    new: Entry

    def as_dict(self) -> Dict[str, Any]:
        """For module results: old and new value of each aspect."""
        known = dict(ASPECTS)
        values = {aspect: [known[aspect](self.old), known[aspect](self.new)] for aspect in self.aspects}
        return {"path": self.path, "what": list(self.aspects), "values": values}


#: a package, an option or the like: its name, what it was, what it is; ``None`` where there is none
Pair = Tuple[str, Optional[str], Optional[str]]


@dataclass(frozen=True)
class Difference:
    """What differs between two images.

    :param changed: paths that differ in more than their time; ``touched`` those that differ in that alone.
    :param packages: and ``options``: those that differ; ``None`` where one of the images does not say.
    :param facts: release, revision, kernel and the like, where they differ.
    :param same: whether the images are the same bytes; ``None`` where the id of one is not known.
    """

    old: Subject
    new: Subject
    added: Sequence[Tuple[str, Entry]]
    removed: Sequence[Tuple[str, Entry]]
    changed: Sequence[Change]
    touched: Sequence[Change]
    packages: Optional[Sequence[Pair]]
    options: Optional[Sequence[Pair]]
    facts: Sequence[Pair]
    same: Optional[bool]

    def sizes(self) -> Dict[str, int]:
        """By how many bytes the files of the new image are more, because of what."""
        return {
            "changed": sum(change.new.size - change.old.size for change in self.changed),
            "added": sum(entry.size for _path, entry in self.added),
            "removed": -sum(entry.size for _path, entry in self.removed),
        }

    def counts(self) -> Dict[str, int]:
        """How many of each kind there are."""
        found = {
            "files_changed": len(self.changed),
            "files_added": len(self.added),
            "files_removed": len(self.removed),
            "times_changed": len(self.touched),
            "growth": sum(self.sizes().values()),
        }
        for what, pairs in (("packages", self.packages), ("options", self.options)):
            for change, chosen in _sorted_out(pairs or ()).items():
                found["{0}_{1}".format(what, change)] = len(chosen)
        return found

    def summary(self) -> str:
        """One line."""
        counts = self.counts()
        said: List[str] = []
        for change in ("changed", "added", "removed"):
            count = counts["files_" + change]
            if count:
                said.append("{0} {1}".format(count if said else counted(count, "file"), change))
        for change, word in (("changed", "updated"), ("added", "added"), ("removed", "removed")):
            count = counts["packages_" + change]
            if count:
                said.append("{0} {1}".format(counted(count, "package"), word))
        count = sum(counts["options_" + change] for change in ("changed", "added", "removed"))
        if count:
            said.append("{0} changed".format(counted(count, "option")))
        if not said:
            times = "{0} with another time".format(counted(len(self.touched), "file"))
            said = [times if self.touched else "no change"]
        return "against {0}: {1}".format(self.old.title, ", ".join(said))

    def as_dict(self, limit: Optional[int] = None) -> Dict[str, Any]:
        """For module results.

        :param limit: of the files of each kind, the largest first; ``None`` for all.
        """
        return {
            "old": {"title": self.old.title, "id": self.old.ident or None},
            "new": {"title": self.new.title, "id": self.new.ident or None},
            "same": self.same,
            "counts": self.counts(),
            "added": [_named(each) for each in self.added[:limit]],
            "removed": [_named(each) for each in self.removed[:limit]],
            "changed": [each.as_dict() for each in self.changed[:limit]],
            "touched": [each.as_dict() for each in self.touched[:limit]],
            "packages": _pairs_dict(self.packages),
            "options": _pairs_dict(self.options),
            "facts": _pairs_dict(self.facts),
        }


def _named(each: Tuple[str, Entry]) -> Dict[str, Any]:
    path, entry = each
    return {"path": path, "type": entry.kind, "size": entry.size}


def _pairs_dict(pairs: Optional[Sequence[Pair]]) -> Optional[List[Dict[str, Optional[str]]]]:
    return None if pairs is None else [{"name": name, "old": old, "new": new} for name, old, new in pairs]


def _sorted_out(pairs: Iterable[Pair]) -> Dict[str, List[Pair]]:
    found: Dict[str, List[Pair]] = {"changed": [], "added": [], "removed": []}
    for pair in pairs:
        found["added" if pair[1] is None else "removed" if pair[2] is None else "changed"].append(pair)
    return found


def _pairs(old: Mapping[str, str], new: Mapping[str, str]) -> List[Pair]:
    """What differs between two sets of names with values, by name."""
    names = sorted(set(old) | set(new))
    return [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _packages(origin: Origin) -> Dict[str, str]:
    return {each.name: each.version for each in origin.packages}


def _options(origin: Origin) -> Dict[str, str]:
    """The options of the system, and those of each package under its name."""
    found = dict(origin.options)
    for package in origin.packages:
        found.update({"{0}:{1}".format(package.name, name): value for name, value in package.options})
    return found


def _facts(subject: Subject) -> Dict[str, str]:
    block = subject.listing.header.get("filesystem") or {}
    facts = {
        "file system": "UFS{0}, {1} bytes, blocks of {2}, fragments of {3}".format(
            *(block.get(key, "?") for key in ("ufs", "size", "block", "fragment"))
        )
    }
    image = subject.listing.header.get("image") or {}
    facts.update({key: str(image.get(key, "")) for key in ("version", "seq", "min_seq", "arch", "abi", "pool")})
    origin = subject.origin
    if origin is not None:
        facts.update(
            {
                key: getattr(origin, key)
                for key in ("method", "release", "revision", "kernel", "kernel_release", "collection")
            }
        )
        facts.update({"input " + each.name: "SHA-256 " + each.sha256[:16] for each in origin.inputs})
    return {key: value for key, value in facts.items() if value}


def _aspects(old: Entry, new: Entry) -> Tuple[str, ...]:
    return tuple(name for name, of in ASPECTS if of(old) != of(new))


def _is_twin(path: str, old: Mapping[str, Entry], new: Mapping[str, Entry]) -> bool:
    """Whether a path is the second name of a file in /etc, which is said once."""
    if not path.startswith(TWIN):
        return False
    first = ETC + path[len(TWIN) :]
    return all(each.get(path) == each.get(first) for each in (old, new))


def compare(old: Subject, new: Subject) -> Difference:
    """Compare two images.

    :raises BadOrigin: when what one says of its origin cannot be read.
    """
    before, after = old.listing.entries, new.listing.entries
    paths = [path for path in sorted(set(before) | set(after)) if not _is_twin(path, before, after)]
    both = [path for path in paths if path in before and path in after and before[path] != after[path]]
    changes = [Change(path, _aspects(before[path], after[path]), before[path], after[path]) for path in both]
    known = old.origin is not None and new.origin is not None

    def largest(path: str) -> Tuple[int, str]:
        return -max(each[path].size for each in (before, after) if path in each), path

    def chosen(candidates: Iterable[str]) -> List[str]:
        return sorted(candidates, key=largest)

    changes.sort(key=lambda change: largest(change.path))
    origins = [each.origin or Origin("") for each in (old, new)]
    return Difference(
        old,
        new,
        added=[(path, after[path]) for path in chosen(path for path in paths if path not in before)],
        removed=[(path, before[path]) for path in chosen(path for path in paths if path not in after)],
        changed=[change for change in changes if change.aspects != (TIME,)],
        touched=[change for change in changes if change.aspects == (TIME,)],
        packages=_pairs(*(_packages(each) for each in origins)) if known else None,
        options=_pairs(*(_options(each) for each in origins)) if known else None,
        facts=_pairs(_facts(old), _facts(new)),
        same=old.ident == new.ident if old.ident and new.ident else None,
    )


# for people


def _bytes(count: int) -> str:
    if abs(count) < 1000:
        return "{0} B".format(count)
    return "{0:.1f} kB".format(count / 1e3) if abs(count) < 1e6 else "{0:.1f} MB".format(count / 1e6)


def _signed(count: int) -> str:
    return ("+" if count >= 0 else "") + _bytes(count)


def _group(title: str, lines: Sequence[str], limit: int) -> List[str]:
    if not lines:
        return []
    more = len(lines) - limit
    return [title] + ["  " + line for line in lines[:limit]] + (["  … and {0} more".format(more)] if more > 0 else [])


def _file(path: str, entry: Entry) -> str:
    size = _bytes(entry.size) if entry.kind == FILE else entry.kind
    return "{0:>10}  /{1}".format(size, path)


def _change(change: Change) -> str:
    known = dict(ASPECTS)
    said = []
    for aspect in change.aspects:
        if aspect == "size":
            said.append("{0} ({1})".format(aspect, _signed(change.new.size - change.old.size)))
        elif aspect in ("content", TIME):
            said.append(aspect)
        else:
            said.append("{0} {1} → {2}".format(aspect, known[aspect](change.old), known[aspect](change.new)))
    return "{0}  {1}".format(_file(change.path, change.new), ", ".join(said))


def _pair(pair: Pair) -> str:
    name, old, new = pair
    if old is None or new is None:
        return "{0} {1} {2}".format("+" if old is None else "-", name, new if old is None else old).rstrip()
    return "{0}: {1} → {2}".format(name, old, new)


def _hint(difference: Difference) -> List[str]:
    """What to think of images that should be the same and are not."""
    if difference.same is not False or difference.added or difference.removed or difference.touched:
        return []
    if not difference.changed:
        return ["No file differs: the file systems were laid out in another way, by another makefs or other settings."]
    if all(change.path in OWN for change in difference.changed):
        return [
            "Only what the images say of themselves differs: the trees that they were made from differ in something "
            "that an image does not hold, as the times of files where makefs gives all of them one."
        ]
    return []


def report(difference: Difference, limit: int) -> List[str]:
    """The difference as lines of text.

    :param limit: how many lines each group has at most.
    """
    if difference.same:
        return ["{0} and {1} are the same image".format(difference.old.title, difference.new.title)]
    lines = ["{0} {1}".format(difference.new.title, difference.summary())]
    sizes = difference.sizes()
    said = ["{0} {1}".format(_signed(sizes[kind]), kind) for kind in ("changed", "added", "removed") if sizes[kind]]
    lines.append("size of all files: {0} ({1})".format(_signed(sum(sizes.values())), ", ".join(said) or "no change"))
    lines += _group("system", [_pair(each) for each in difference.facts], limit)
    for title, pairs in (("packages", difference.packages), ("options", difference.options)):
        if pairs is None:
            lines.append("{0}: not known, one of the images does not say where it comes from".format(title))
        else:
            ordered = [_pair(each) for group in _sorted_out(pairs).values() for each in group]
            lines += _group(title, ordered, limit)
    lines += _group("changed", [_change(each) for each in difference.changed], limit)
    lines += _group("added", [_file(*each) for each in difference.added], limit)
    lines += _group("removed", [_file(*each) for each in difference.removed], limit)
    lines += _group("another time only", [_change(each) for each in difference.touched], limit)
    return lines + _hint(difference)


# where the lists come from


def subject_of(repository: Repository, manifest: Manifest) -> Subject:
    """A published image, as something to compare.

    :raises FleetError: when its list was not published or is damaged.
    """
    if FILES not in manifest.files:
        raise FleetError(
            "the list of the files of {0} was not published".format(manifest.describe()),
            safe="nothing was changed",
            todo="publish what is missing of it: playbook publish with image_name={0} and image_version={1}".format(
                manifest.name, manifest.version
            ),
        )
    artefact = manifest.files[FILES]
    if artefact.size > MAX_LISTING:
        raise FleetError("{0} is larger than {1} bytes".format(artefact.name, MAX_LISTING))
    listing = parse_listing(fetch_artefact(repository, artefact))
    return Subject("{0}-{1}".format(manifest.name, manifest.version), listing, manifest.id)


def find_subject(repository: Optional[Repository], wanted: str, name: Optional[str]) -> Subject:
    """What is meant by an argument of a task.

    :param wanted: the path of a list (anything with a slash), or a version or id of a published image.
    :param name: only images of this name.
    :raises FleetError: when there is none.
    """
    if "/" in wanted:
        return _from_path(wanted)
    if repository is None:
        raise FleetError(
            "where {0} is published was not said".format(wanted),
            safe="nothing was changed",
            todo="give the folder or its address (repository; image_output in the playbook), or two paths of lists",
        )
    ident = find_id(repository, wanted, name)
    return subject_of(repository, parse_manifest(repository.fetch(manifest_name(ident), MAX_SMALL_FILE)))


def _from_path(path: str) -> Subject:
    try:
        if os.path.getsize(path) > MAX_LISTING:
            raise FleetError("{0} is larger than {1} bytes".format(path, MAX_LISTING))
        with open(path, "rb") as file:
            listing = parse_listing(file.read())
    except OSError as error:
        raise FleetError("{0} cannot be read: {1}".format(path, error.strerror))
    image = listing.header.get("image") or {}
    return Subject("{0}-{1}".format(image.get("name", "?"), image.get("version", "?")), listing)
