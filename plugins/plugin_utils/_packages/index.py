# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of a catalogue in a file that can be asked: a catalogue is read once, and not at each build.

It lies in the cache, beside what was fetched, and is made of a catalogue whose signature was judged. What decided is in
it too, so that whom a definition trusts is judged each time anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from typing import IO, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import catalogue, version
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.catalogue import Record, Summary
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import Signed

#: of what is in it; another one is made anew
FORMAT = "1"

_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE package (id INTEGER PRIMARY KEY, name TEXT NOT NULL, origin TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE brings (thing TEXT NOT NULL, package INTEGER NOT NULL);
"""
_INDEXES = """
CREATE INDEX by_name ON package (name);
CREATE INDEX by_origin ON package (origin);
CREATE INDEX by_thing ON brings (thing);
"""

#: what stands before anything that is no library, in the table of what packages bring
_THING = "\0"


def make(path: str, signed: Signed, file: IO[bytes], is_lines: bool, what: str) -> None:
    """Write the index of a catalogue.

    :param file: the catalogue, unpacked.
    :raises RepositoryError: when it is none.
    """
    with arriving(path) as (partial, _file):
        _write(partial, signed, file, is_lines, what)


def _write(path: str, signed: Signed, file: IO[bytes], is_lines: bool, what: str) -> None:
    summary = Summary()
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")  # it gets its name when it is complete
        base.executescript(_TABLES)
        _fill(base, catalogue.records(file, is_lines, summary, what))
        base.executescript(_INDEXES)
        about = {
            "format": FORMAT,
            "sha256": signed.sha256,
            "blake2b": signed.blake2b,
            "files": json.dumps({name: content.hex() for name, content in sorted(signed.files.items())}),
            "packages": str(summary.packages),
            "newest": summary.newest,
            "replaced": json.dumps(summary.replaced),
        }
        base.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        base.commit()


def _fill(base: sqlite3.Connection, found: Iterable[Record]) -> None:
    for number, record in enumerate(found):
        base.execute(
            "INSERT INTO package VALUES (?, ?, ?, ?)",
            (number, record.name, record.origin, catalogue.as_json(record)),
        )
        things = [*record.brings, *(_THING + each for each in record.provides)]
        base.executemany("INSERT INTO brings VALUES (?, ?)", [(thing, number) for thing in things])


class Index:
    """A catalogue that is asked.

    :param path: of the file.
    :raises RepositoryError: when it is none of ours, or damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        if not os.path.exists(path):
            raise RepositoryError("there is no index {0}".format(path))
        try:
            self._base = sqlite3.connect("file:{0}?mode=ro&immutable=1".format(_quoted(path)), uri=True)
            self._about: Mapping[str, str] = dict(self._base.execute("SELECT key, value FROM about"))
        except sqlite3.Error as error:
            raise RepositoryError("the index {0} is damaged: {1}".format(path, error), todo="remove it")
        if self._about.get("format") != FORMAT:
            raise RepositoryError("the index {0} is of another version".format(path), todo="remove it")

    def close(self) -> None:
        """Be done with it."""
        self._base.close()

    @property
    def signed(self) -> Signed:
        """What the signature is judged by."""
        files: Dict[str, str] = json.loads(self._about["files"])
        return Signed(
            self._about["sha256"],
            self._about["blake2b"],
            {name: bytes.fromhex(content) for name, content in files.items()},
        )

    @property
    def summary(self) -> Summary:
        """What is known beside the packages."""
        return Summary(int(self._about["packages"]), self._about["newest"], json.loads(self._about["replaced"]))

    def named(self, name: str) -> List[Record]:
        """The packages with a name, the highest version first; usually it is one."""
        return self._records("SELECT record FROM package WHERE name = ?", name)

    def of_origin(self, origin: str) -> List[Record]:
        """The packages that were made of a port, of whatever flavour."""
        return self._records("SELECT record FROM package WHERE origin = ?", origin)

    def bringing(self, thing: str, is_library: bool = True) -> List[Record]:
        """The packages that bring a library, or something else by its name."""
        return self._records(
            "SELECT record FROM package WHERE id IN (SELECT package FROM brings WHERE thing = ?)",
            thing if is_library else _THING + thing,
        )

    def names(self) -> Iterator[str]:
        """The names of all packages."""
        for (name,) in self._asked("SELECT DISTINCT name FROM package ORDER BY name"):
            yield name

    def _records(self, question: str, value: str) -> List[Record]:
        found = [catalogue.from_json(text) for (text,) in self._asked(question, value)]
        return sorted(
            sorted(found, key=lambda each: each.path), key=lambda each: version.key(each.version), reverse=True
        )

    def _asked(self, question: str, *values: str) -> Sequence[Sequence[str]]:
        try:
            return self._base.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise RepositoryError("the index {0} is damaged: {1}".format(self._path, error), todo="remove it")


def _quoted(path: str) -> str:
    """A path in the address of a base (``sqlite3_open`` of SQLite)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def opened(path: str) -> Optional[Index]:
    """An index, where there is a usable one."""
    with contextlib.suppress(RepositoryError):
        return Index(path)
    return None
