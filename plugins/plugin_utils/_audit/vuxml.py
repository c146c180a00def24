# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading VuXML, FreeBSD's list of known holes in packages and in the base system.

Sources: ``pkg_audit_parse_vulnxml`` in ``libpkg/pkg_audit.c`` of freebsd/pkg (13f9f98) for what pkg(8) makes of it, and
``security/vuxml`` of freebsd-ports for what is in it: ``vuln`` has ``topic``, ``affects``, ``references`` and
``dates``, or is ``cancelled``; ``affects`` has for packages, or for the system, names and ranges.

The file is not signed and comes from a network. It is read in one pass and in bounded memory: only what names one of
the wanted packages is kept. Entities that it declares with a value, and all that it would have fetched, are refused.
"""

from __future__ import annotations

import bz2
import datetime
import gzip
import lzma
import re
import xml.parsers.expat
import zlib
from dataclasses import dataclass
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain

NAMESPACE = "http://www.vuxml.org/apps/vuxml-1"

#: what pkg(8) would take (``PKG_AUDIT_MAX_DOWNLOAD_SIZE``, ``PKG_AUDIT_MAX_EXTRACTED_SIZE``; bytes)
MAX_PACKED, MAX_UNPACKED = 64 << 20, 256 << 20
#: what an xz stream may take to be unpacked (bytes); one of ``xz -9`` takes 65 MiB
XZ_MEMORY = 128 << 20

#: elements in each other, of which XHTML in a description has the most
MAX_DEPTH = 64
#: how far the parser may be behind what it was given: an element has no end then (bytes)
MAX_TOKEN = 1 << 20
#: entries, and names, ranges or references of one of them
MAX_ENTRIES, MAX_MANY = 500_000, 20_000
#: characters of a name or a version; of one that is longer nothing is compared
MAX_WORD = 128
#: characters of a text that is collected
MAX_TEXT = 2000

PIECE = 1 << 16

#: how far in the future a date may be that anybody believes (days): clocks, and time zones
AHEAD = 2

BOUNDS = ("lt", "le", "eq", "ge", "gt")
_ENTRY = ("vuxml", "vuln")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")

_XZ, _BZ2, _GZIP = b"\xfd7zXZ\0", b"BZh", b"\x1f\x8b"


class BadVuxml(FleetError):
    """What was given is no VuXML, or not all of it."""


@dataclass(frozen=True)
class Range:
    """Versions: those for which every bound holds, all of them where there is none.

    :param bounds: pairs of one of :data:`BOUNDS` and a version.
    :param readable: whether it could be read; one that could not has every version in it.
    """

    bounds: Tuple[Tuple[str, str], ...] = ()
    readable: bool = True

    @property
    def fixed(self) -> str:
        """The first version that is not in it any more; empty where it does not say."""
        return next((version for kind, version in self.bounds if kind == "lt"), "")


@dataclass(frozen=True)
class Affected:
    """Packages of one entry, or the system: every name with every range.

    :param system: whether it stands under ``system``, as the base may (``vuxml:affects/vuxml:system`` in the stylesheet
        of vuxml.org); pkg(8) only looks at ``package``.
    """

    names: Tuple[str, ...]
    ranges: Tuple[Range, ...]
    system: bool = False


@dataclass(frozen=True)
class Advisory:
    """An entry.

    :param vid: its UUID.
    :param cves: the names in the Common Vulnerabilities and Exposures; ``notices`` those of FreeBSD's own advisories.
    :param entered: the day of the entry, as ``2026-11-28``; empty where it has none.
    """

    vid: str
    topic: str
    affected: Tuple[Affected, ...]
    cves: Tuple[str, ...] = ()
    notices: Tuple[str, ...] = ()
    entered: str = ""

    @property
    def url(self) -> str:
        """Where people can read it."""
        return "https://vuxml.FreeBSD.org/freebsd/{0}.html".format(self.vid)

    @property
    def names(self) -> Tuple[str, ...]:
        """What it is called elsewhere, or its UUID."""
        return self.cves or self.notices or (self.vid,)


@dataclass(frozen=True)
class Database:
    """What was read.

    :param advisories: those that name what was wanted.
    :param count: how many entries there are, without the cancelled ones.
    :param newest: the day of the newest entry or correction.
    """

    advisories: Tuple[Advisory, ...]
    count: int
    newest: datetime.date


def unpacked(file: IO[bytes], name: str) -> Iterator[bytes]:
    """What is in a file that may be packed with xz, bzip2 or gzip, in pieces.

    :raises BadVuxml: when it is damaged, ends too early or is too large.
    """
    total = 0
    try:
        for piece in _pieces(file):
            total += len(piece)
            if total > MAX_UNPACKED:
                raise BadVuxml("{0} unpacks to more than {1} MiB".format(name, MAX_UNPACKED >> 20))
            yield piece
    except (lzma.LZMAError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadVuxml("{0} is damaged, or not all of it is there: {1}".format(name, plain(error)))
    except OSError as error:
        raise BadVuxml("{0} cannot be read: {1}".format(name, plain(error.strerror or error)))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    head = file.read(len(_XZ))
    file.seek(0)
    if head.startswith(_XZ):
        return _xz(file)
    stream: Any = file
    if head.startswith(_BZ2):
        stream = bz2.BZ2File(file)
    elif head.startswith(_GZIP):
        stream = gzip.GzipFile(fileobj=file)
    return iter(lambda: stream.read(PIECE), b"")


def _xz(file: IO[bytes]) -> Iterator[bytes]:
    """The streams of an xz file (the class of the library has no limit for memory).

    :raises EOFError: when one ends too early.
    """
    rest = file.read(PIECE)
    while rest:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        while not decoder.eof:
            yield decoder.decompress(rest, PIECE)
            rest = b""
            if decoder.needs_input and not decoder.eof:
                rest = file.read(PIECE)
                if not rest:
                    raise EOFError("it ends within a stream")
        rest = decoder.unused_data.lstrip(b"\0") or file.read(PIECE).lstrip(b"\0")


class _Reader:
    """The handlers of the parser.

    :param wanted: whether anybody wants to know of a name, which may be a pattern.
    :param today: dates after it, but for :data:`AHEAD`, are not believed.
    """

    def __init__(self, wanted: Callable[[str], bool], today: datetime.date) -> None:
        self._wanted = wanted
        self._limit = today + datetime.timedelta(days=AHEAD)
        self._path: List[str] = []
        self._text: Optional[List[str]] = None
        self._length = 0
        self._entry: Dict[str, Any] = {}
        self._names: List[str] = []
        self._ranges: List[Range] = []
        self._bounds: List[Tuple[str, str]] = []
        self._readable = True
        self.found: List[Advisory] = []
        self.count = 0
        self.newest: Optional[datetime.date] = None

    # what the parser calls

    def start(self, tag: str, attributes: Dict[str, str]) -> None:
        """An element begins."""
        space, _blank, name = tag.rpartition(" ")
        self._path.append(name if space == NAMESPACE else "")
        path = tuple(self._path)
        if self._text is not None and path[-2] in ("name", "cvename", "freebsdsa"):  # half a name would match nothing
            raise BadVuxml("there is an element in a {0}".format(path[-2]))
        if len(path) > MAX_DEPTH:
            raise BadVuxml("elements are nested more than {0} deep".format(MAX_DEPTH))
        if path[:1] != ("vuxml",):
            raise BadVuxml("it is no VuXML: its first element is {0}".format(plain(tag)))
        self._text, self._length = None, 0
        if path == _ENTRY:
            self.count += 1
            if self.count > MAX_ENTRIES:
                raise BadVuxml("it has more than {0} entries".format(MAX_ENTRIES))
            self._entry = {"vid": attributes.get("vid", "")[:MAX_WORD], "affected": [], "cves": [], "notices": []}
        elif self._is_affected(path):
            self._names, self._ranges = [], []
        elif self._is_affected(path[:-1]) and name == "range":
            self._bounds, self._readable = [], True
        elif self._is_wanted(path):
            self._text = []

    @staticmethod
    def _is_affected(path: Tuple[str, ...]) -> bool:
        return len(path) == 4 and path[:3] == (*_ENTRY, "affects") and path[3] in ("package", "system")

    def _is_wanted(self, path: Tuple[str, ...]) -> bool:
        """Whether the text of an element is of use."""
        if path[:2] != _ENTRY or len(path) < 3:
            return False
        if len(path) == 3:
            return path[2] == "topic"
        if len(path) == 4:
            return path[2:] in (
                ("references", "cvename"),
                ("references", "freebsdsa"),
                ("dates", "entry"),
                ("dates", "modified"),
            )
        if len(path) == 5:
            return self._is_affected(path[:4]) and path[4] == "name"
        return len(path) == 6 and self._is_affected(path[:4]) and path[4] == "range" and path[5] in BOUNDS

    def data(self, text: str) -> None:
        """Text comes, perhaps not all of it."""
        if self._text is not None and self._length <= MAX_TEXT:
            self._length += len(text)
            self._text.append(text[:MAX_TEXT])

    def end(self, _tag: str) -> None:
        """An element ends."""
        path = tuple(self._path)
        self._path.pop()
        text = None if self._text is None else "".join(self._text).strip()
        self._text = None
        if text is not None:
            self._take(path, text)
        elif path == (*_ENTRY, "cancelled"):
            self._entry["cancelled"] = True
        elif self._is_affected(path[:-1]) and path[4] == "range":
            self._many(self._ranges).append(Range(tuple(self._bounds), self._readable))
        elif self._is_affected(path):
            self._keep(Affected(tuple(self._names), tuple(self._ranges), path[3] == "system"))
        elif path == _ENTRY:
            self._finish()

    @staticmethod
    def _many(values: List[Any]) -> List[Any]:
        if len(values) >= MAX_MANY:
            raise BadVuxml("an entry has more than {0} names, ranges or references".format(MAX_MANY))
        return values

    def _take(self, path: Tuple[str, ...], text: str) -> None:
        last = path[-1]
        if last == "topic":
            self._entry["topic"] = plain(text)
        elif last in ("cvename", "freebsdsa"):
            self._many(self._entry["cves" if last == "cvename" else "notices"]).append(text[:MAX_WORD])
        elif last in ("entry", "modified"):
            day = _date(text)
            if day is not None and day <= self._limit:
                self.newest = day if self.newest is None else max(self.newest, day)
                if last == "entry":
                    self._entry["entered"] = text
        elif last == "name":
            self._many(self._names).append(text[:MAX_WORD])
        elif not text or len(text) > MAX_WORD:
            self._readable = False
        else:
            self._many(self._bounds).append((last, text))

    def _keep(self, affected: Affected) -> None:
        if any(self._wanted(name) for name in affected.names):
            self._many(self._entry["affected"]).append(affected)

    def _finish(self) -> None:
        entry = self._entry
        if entry.get("cancelled"):
            self.count -= 1
            return
        if not entry["affected"]:
            return
        self.found.append(
            Advisory(
                vid=plain(entry["vid"]),
                topic=entry.get("topic", ""),
                affected=tuple(entry["affected"]),
                cves=tuple(plain(each) for each in entry["cves"] if each),
                notices=tuple(plain(each) for each in entry["notices"] if each),
                entered=entry.get("entered", ""),
            )
        )

    # what nobody needs and an attacker would use

    @staticmethod
    def entity(name: str, _parameter: int, value: Optional[str], *_others: Any) -> None:
        """An entity is declared. The files of the ports tree are written down as such, and nothing refers to them."""
        if value is not None:
            raise BadVuxml("it declares the entity {0}, which VuXML has no use for".format(plain(name)))

    @staticmethod
    def reference(*what: Any) -> int:
        """A reference to something outside, or to something that is not known."""
        raise BadVuxml("it refers to {0}, which is not in it".format(plain(what[0])))


def read(pieces: Iterable[bytes], name: str, wanted: Callable[[str], bool], today: datetime.date) -> Database:
    """Read a file.

    :param name: of it, for messages.
    :param wanted: whether anybody wants to know of a name (or a pattern of names, fnmatch(3)).
    :raises BadVuxml: when it is no VuXML, is empty, or not all of it is there.
    """
    reader = _Reader(wanted, today)
    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.EntityDeclHandler = reader.entity
    parser.ExternalEntityRefHandler = reader.reference
    parser.SkippedEntityHandler = reader.reference
    given = 0
    try:
        for piece in pieces:
            parser.Parse(piece, False)
            given += len(piece)
            if given - max(0, parser.CurrentByteIndex) > MAX_TOKEN:
                raise BadVuxml("one element is longer than {0} MiB".format(MAX_TOKEN >> 20))
        parser.Parse(b"", True)
    except xml.parsers.expat.ExpatError as error:
        raise BadVuxml("{0} is damaged, or not all of it is there: {1}".format(name, error))
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise BadVuxml("{0} cannot be read: {1}".format(name, plain(error)))
    except BadVuxml as error:
        raise error if error.what.startswith(name) else BadVuxml("{0}: {1}".format(name, error.what))
    if not reader.count or reader.newest is None:
        raise BadVuxml("{0} has no entries".format(name))
    return Database(tuple(reader.found), reader.count, reader.newest)


def _date(text: str) -> Optional[datetime.date]:
    try:
        return datetime.date.fromisoformat(text) if _DATE.match(text) else None
    except ValueError:
        return None
