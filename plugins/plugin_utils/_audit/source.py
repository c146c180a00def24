# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the list of known holes comes from: a file, or a server whose copy is kept in the cache.

The list has no signature, no counter and no end. What can be told of a bad one is told: it is old, cut off, empty, or
older or much shorter than the one before. None of these ever becomes "no known holes".
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import urllib.error
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ansible.module_utils.urls import open_url

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import counted, plain, shown_address
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import vuxml
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.vuxml import BadVuxml, Database
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import (
    PIECE,
    TIMEOUT,
    Source,
    Written,
    check_length,
    source_of,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._files import replace_file

Say = Callable[[str], None]
Wanted = Callable[[str], bool]

#: what pkg(8) fetches (``VULNXML_SITE`` in ``libpkg/pkg_config.c``)
USUAL = "https://vuxml.freebsd.org/freebsd/vuln.xml.xz"

#: for how long a copy is used before the server is asked again (seconds)
FRESH = 12 * 3600

#: how old the newest entry may be by default (days): there are some every week
MAX_AGE = 14

#: which part of the entries of before there must be at least: few are ever taken out
LEAST = 0.9

_SAFE = "nothing was changed, and nothing was found to be sound"
_OFFLINE = "give a file that was fetched elsewhere (audit_vuxml=PATH)"


class Unavailable(FleetError):
    """There is no list of known holes that anything could be compared with."""


@dataclass(frozen=True)
class Terms:
    """What list there is to be.

    :param where: a path or URL, or ``src`` and ``sha256``; empty for that of FreeBSD.
    :param cache: folder for what is fetched.
    :param max_age: how old its newest entry may be, in days; 0 for any age.
    :param fetch: whether a server may be asked; otherwise what the cache has will do.
    """

    where: Written = ""
    cache: str = "~/.cache/nanozfs-fleet"
    max_age: int = MAX_AGE
    fetch: bool = True


@dataclass(frozen=True)
class Loaded:
    """A list that was read.

    :param place: where it comes from, for people.
    :param fetched: when it was fetched, in seconds since the epoch; ``None`` for a file.
    :param notes: what there is to say of it.
    """

    database: Database
    place: str
    fetched: Optional[float] = None
    notes: Tuple[str, ...] = ()

    def words(self, today: datetime.date) -> str:
        """One line on it, with its age."""
        age = max(0, (today - self.database.newest).days)
        return "{0} {1} of {2}, the newest of {3}, {4} ago".format(
            self.database.count,
            "entry" if self.database.count == 1 else "entries",
            self.place,
            self.database.newest,
            counted(age, "day"),
        )


@dataclass(frozen=True)
class _Note:
    """What is remembered of the list of last time.

    :param fetched: seconds since the epoch.
    :param newest: day of the newest entry.
    """

    fetched: float
    newest: str
    count: int


class _Place:
    """A source with its files in the cache: the copy, and the note on it."""

    def __init__(self, source: Source, cache: str) -> None:
        self.source = source
        key = source.url or os.path.realpath(source.path)
        base = os.path.join(os.path.expanduser(cache), "vuxml-" + hashlib.sha256(key.encode("utf-8")).hexdigest()[:32])
        self.copy = base if source.url else source.path
        self.note = base + ".json"
        self.shown = shown_address(source.url) if source.url else plain(source.path)

    def remembered(self) -> Optional[_Note]:
        """The note; ``None`` where there is none that can be read."""
        try:
            with open(self.note, "rb") as file:
                values: Mapping[str, Any] = json.loads(file.read(4096).decode("utf-8"))
            return _Note(float(values["fetched"]), str(values["newest"]), int(values["count"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None

    def remember(self, database: Database, fetched: float) -> None:
        """Write the note; a cache that cannot be written to keeps nobody from an audit of a file."""
        values: Dict[str, Any] = {
            "source": self.shown,
            "fetched": fetched,
            "newest": database.newest.isoformat(),
            "count": database.count,
        }
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.note), exist_ok=True)
            replace_file(self.note, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def _place(terms: Terms) -> _Place:
    """The source that is meant.

    :raises Refused: for one that anybody on the way could change.
    """
    source = source_of(terms.where or USUAL)
    if source.url and source.url.lower().startswith("http:") and not source.sha256:
        raise Refused(
            "the list of known holes {0} would come by http, so that anybody on the way could leave out what he "
            "likes".format(shown_address(source.url)),
            safe=_SAFE,
            todo="use https, a file, or say its digest (audit_vuxml as src and sha256)",
        )
    return _Place(source, terms.cache)


def _parsed(path: str, name: str, sha256: str, wanted: Wanted, today: datetime.date) -> Database:
    """What a file has.

    :raises BadVuxml: when it is no list, or not all of one.
    :raises Refused: when it has another digest than it should.
    """
    try:
        if os.path.getsize(path) > vuxml.MAX_PACKED and not _is_plain(path):
            raise BadVuxml("{0} is larger than {1} MiB".format(name, vuxml.MAX_PACKED >> 20))
        if sha256 and digest_file(path) != sha256:
            raise Refused(
                "{0} has another SHA-256 than {1}".format(name, sha256), safe=_SAFE, todo="get it again, or its digest"
            )
        with open(path, "rb") as file:
            return vuxml.read(vuxml.unpacked(file, name), name, wanted, today)
    except OSError as error:
        raise BadVuxml("{0} cannot be read: {1}".format(name, error.strerror or error))


def _is_plain(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(1) == b"<"


def _check_order(database: Database, before: Optional[_Note], name: str, note: str) -> None:
    """Refuse a list that is older than the one before, or much shorter.

    :raises Unavailable: with what to do.
    """
    if before is None:
        return
    worse = ""
    if database.newest.isoformat() < before.newest:
        worse = "its newest entry is of {0}, and that of the one before was of {1}".format(
            database.newest, plain(before.newest)
        )
    elif database.count < before.count * LEAST:
        worse = "it has {0} entries, and the one before had {1}".format(database.count, before.count)
    if worse:
        raise Unavailable(
            "{0} is older than the list of known holes of before, or a part of it: {1}".format(name, worse),
            safe=_SAFE,
            todo="get a newer one; where this one is meant, remove {0}".format(note),
        )


def _check_age(database: Database, terms: Terms, name: str, today: datetime.date) -> None:
    age = (today - database.newest).days
    if terms.max_age and age > terms.max_age:
        raise Unavailable(
            "the newest entry of {0} is of {1}, {2} ago, and audit_max_age is {3}".format(
                name, database.newest, counted(age, "day"), terms.max_age
            ),
            safe=_SAFE,
            todo="fetch it again ({0}), or {1}; audit_max_age=0 takes it as it is".format(USUAL, _OFFLINE),
        )


def _fetch(place: _Place, opener: Callable[..., Any], part: str, file: Any) -> None:
    """Bring the file of a server here.

    :param part: its path, for messages.
    :raises OSError: when it cannot be had.
    :raises BadVuxml: when it is too large.
    """
    received = 0
    with opener(place.source.url, timeout=TIMEOUT, decompress=False) as answer:
        said = answer.headers.get("Content-Length")
        for piece in iter(lambda: answer.read(PIECE), b""):
            received += len(piece)
            if received > vuxml.MAX_PACKED:
                raise BadVuxml("{0} is larger than {1} MiB".format(place.shown, vuxml.MAX_PACKED >> 20))
            file.write(piece)
        check_length(said, received)
    file.flush()


def _renew(place: _Place, wanted: Wanted, now: float, opener: Callable[..., Any], say: Say) -> Database:
    """Put the list of the server into the place of the copy, if it is a good one.

    :raises OSError: when it cannot be had, or kept.
    :raises FleetError: when it is none, or older than the copy.
    """
    say("fetching {0}".format(place.shown))
    os.makedirs(os.path.dirname(place.copy), exist_ok=True)
    with arriving(place.copy) as (part, file):
        _fetch(place, opener, part, file)
        database = _parsed(part, place.shown, place.source.sha256, wanted, _day(now))
        _check_order(database, place.remembered(), place.shown, place.note)
    place.remember(database, now)
    return database


def _day(now: float) -> datetime.date:
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).date()


def load(terms: Terms, wanted: Wanted, now: float, say: Say, opener: Callable[..., Any] = open_url) -> Loaded:
    """The list of known holes.

    :param wanted: whether anybody wants to know of a name; entries on others are counted, and not kept.
    :param now: in seconds since the epoch.
    :param say: told what is being done.
    :raises FleetError: when there is none, or none that may be believed.
    """
    place = _place(terms)
    try:
        loaded = (
            _from_server(place, terms, wanted, now, say, opener) if place.source.url else _from_file(place, wanted, now)
        )
    except BadVuxml as error:
        raise Unavailable(
            error.what,
            safe=_SAFE,
            todo="fetch it again: {0}; without a network, {1}".format(shown_address(USUAL), _OFFLINE),
        )
    _check_age(loaded.database, terms, loaded.place, _day(now))
    return loaded


def _from_file(place: _Place, wanted: Wanted, now: float) -> Loaded:
    if not os.path.isfile(place.copy):
        raise Unavailable(
            "there is no file {0}".format(place.shown),
            safe=_SAFE,
            todo="fetch it: {0}; or leave audit_vuxml out".format(USUAL),
        )
    database = _parsed(place.copy, place.shown, place.source.sha256, wanted, _day(now))
    _check_order(database, place.remembered(), place.shown, place.note)
    place.remember(database, now)
    return Loaded(database, place.shown)


def _from_server(
    place: _Place, terms: Terms, wanted: Wanted, now: float, say: Say, opener: Callable[..., Any]
) -> Loaded:
    before = place.remembered()
    have = before is not None and os.path.exists(place.copy)
    notes: Tuple[str, ...] = ()
    if terms.fetch and not (before is not None and have and 0 <= now - before.fetched < FRESH):
        try:
            return Loaded(_renew(place, wanted, now, opener, say), place.shown, now)
        except (OSError, HTTPException, urllib.error.URLError) as error:
            why = plain(error)
            if not have:
                raise Unavailable(
                    "{0} cannot be fetched, and there is no copy of it: {1}".format(place.shown, why),
                    safe=_SAFE,
                    todo="see that this machine reaches it, or {0}".format(_OFFLINE),
                )
            notes = ("{0} cannot be fetched ({1}): the copy of last time is used".format(place.shown, why),)
    if before is None or not have:
        raise Unavailable(
            "{0} was never fetched".format(place.shown),
            safe=_SAFE,
            todo="run ansible-playbook audit.yml where there is a network, or {0}".format(_OFFLINE),
        )
    database = _parsed(place.copy, place.shown, place.source.sha256, wanted, _day(now))
    _check_order(database, before, place.shown, place.note)
    return Loaded(database, place.shown, before.fetched, notes)


def is_there(terms: Terms) -> bool:
    """Whether there is a list without asking anybody: a file that is named, or the copy of a server's.

    :raises Refused: for a source that is none.
    """
    place = _place(terms)
    return bool(not place.source.url and terms.where) or os.path.exists(place.copy)
