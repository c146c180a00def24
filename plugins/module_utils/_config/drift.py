# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How far the configuration of a host is from what its image and its /cfg say.

What in /etc the next start would not bring back is in :mod:`trees`; here is what /cfg has otherwise than the image, and
both together in numbers, for whoever looks at the host.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import origins
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.origins import FILE, NONE, Entry, Folder, Notes
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import spelled
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import (
    CHANGED,
    DELETED,
    NEW,
    Etc,
    Places,
    differing,
    files,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import readable

#: What a file of /cfg is to the image: there is none of that name; it is the same; it is another one; and one that was
#: made against another image, which had something else in its place than the one that runs
OWN, SAME, OVER, STALE = "own", "same", "over", "stale"
KINDS = (OWN, SAME, OVER, STALE)

_WORDS = {
    OWN: "only here",
    SAME: "as in the image",
    OVER: "other than in the image",
    STALE: "made against another image, which had something else there",
}

#: how many of a kind are named
NAMED = 20


class Override(NamedTuple):
    """A file of /cfg; ``path`` is relative to it, as in /etc."""

    path: str
    kind: str

    def describe(self) -> str:
        """As a line of ``nanozfs diff --image``."""
        return "{0:<6} {1} ({2})".format(self.kind, spelled(self.path), _WORDS[self.kind])


def overrides(places: Places) -> List[Override]:
    """What each file of /cfg is to the image that runs, sorted by path; without what a start makes, or takes from the
    image alone.

    :raises FleetError: when one of the trees cannot be read, or the notes of what the files were made against.
    """
    notes, here, base = origins.read(places.cfg), Folder(places.cfg), Folder(places.base)
    with readable():
        paths = [path for path in sorted(files(places.cfg)) if origins.concerns(path)]
        return [Override(path, _kind(here.entry(path), base.entry(path), notes, path)) for path in paths]


def _kind(ours: Entry, image: Entry, notes: Notes, path: str) -> str:
    if ours.same(image):
        return SAME
    note = notes.get(path)
    # one that is assumed says what the image was when somebody looked, and not what the file was made of
    if note is not None and not note.assumed and not _is(note, image):
        return STALE
    return OWN if image.kind == NONE else OVER


def _is(note: origins.Origin, entry: Entry) -> bool:
    """Whether what a file was made against is what the image has."""
    return (note.kind, note.digest) == (entry.kind, entry.digest)


def text_of(places: Places, override: Override) -> List[str]:
    """A unified diff of a text file, from what the image has to what /cfg has.

    :raises OSError: when one cannot be read.
    """
    name = spelled(override.path)
    (old, before), (new, after) = (
        ("{0}/{1}".format(tree, name), Folder(tree).entry(override.path)) for tree in (places.base, places.cfg)
    )
    if not {before.kind, after.kind} <= {FILE, NONE}:
        return ["{0} is no file on both sides".format(name)]
    return differing(name, (old, before.content), (new, after.content))


def drift(places: Places) -> Dict[str, Any]:
    """How far the configuration is from what it is made of, in numbers and names.

    :returns: of the files of /etc that a start would not bring back (``unsaved``, ``new``, ``deleted``), and of those
        of /cfg (:data:`KINDS`), how many there are, ``count``, and the first of them, ``paths``, as they can be shown.
    :raises FleetError: when it cannot be told.
    """
    found = [("unsaved" if each.kind == CHANGED else each.kind, each.path) for each in Etc(places).changes()]
    found += [(each.kind, each.path) for each in overrides(places)]
    return {name: _counted(found, name) for name in ("unsaved", NEW, DELETED, *KINDS)}


def _counted(found: Sequence[Tuple[str, str]], name: str) -> Dict[str, Any]:
    paths = [spelled(path) for kind, path in found if kind == name]
    return {"count": len(paths), "paths": paths[:NAMED]}


def told(places: Places) -> Tuple[Optional[Dict[str, Any]], str]:
    """The :func:`drift` of a host; ``None`` with the reason where it cannot be told."""
    try:
        return drift(places), ""
    except FleetError as error:
        return None, error.what
