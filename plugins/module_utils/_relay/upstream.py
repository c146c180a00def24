# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a relay asks the repository for, each thing once, however many hosts of the site want it.

Two kinds of files. *Statements* (index, channels, manifests, with their signatures) are asked for again each time,
because they change; where the repository does not answer the last ones do, as every host looks at date and signature
itself. *Files of an image* are named in its manifest, with size and digest: anything else is not there, so a relay is
no way to anywhere.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    MAX_SMALL_FILE,
    Artefact,
    parse_manifest,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    Limits,
    NotThere,
    Repository,
    SourceError,
    TooLarge,
    open_repository,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import INDEX, manifest_name
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.store import CHUNK, Place, Store
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable, shown_address

#: for how long a statement is not asked for again: so that a hundred hosts which begin together cost one question, and
#: that a file and its signature are of the same moment. A host that finds that they are not asks again within three
#: seconds (``statement.fetch_signed``) (seconds)
FRESH = 2.0

#: the same for what names the files of an image whose bytes are being fetched (seconds)
LASTING = 60.0

#: for how long a repository that did not answer is not asked (seconds)
DOWN = 15.0

#: how many statements are kept at most; the images and channels of a repository are a few hundred
MOST_STATEMENTS = 1000

#: how many chunks are fetched with one request at most: whoever waits for another part should not wait for long
RUN = 8

#: how many requests are at work in the repository at once
CONNECTIONS = 4

#: the same for statements, which somebody in the site's net may ask for by any made-up name
QUESTIONS = 4

#: how patient to be with statements: hosts wait meanwhile, and have another way
BRIEF = Limits(timeout=5.0, retries=0, deadline=10.0)

#: a name of a file in a repository; the same characters as those of ``manifest._file_name``, without folders
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_OF_IMAGE = re.compile(r"([0-9a-f]{64})\.[A-Za-z0-9._-]+")
_SIGNATURE = ".sig"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Statement:
    """A file that changes, and its signature, as they were at one moment.

    :param signature: ``None`` where there is none.
    :param asked: when it was asked for last (monotonic clock, seconds).
    :param stale: why it is an old one.
    """

    raw: bytes
    signature: Optional[bytes]
    asked: float = 0.0
    stale: str = ""


class _Failure(NamedTuple):
    error: FleetError
    until: float


class _Flight:
    """A chunk that is on its way."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.data: Optional[bytes] = None
        self.error: Optional[FleetError] = None

    def land(self, data: Optional[bytes], error: Optional[FleetError] = None) -> None:
        """Let those who wait have it."""
        self.data, self.error = data, error
        self.landed.set()


def is_statement(name: str) -> bool:
    """Whether a file changes."""
    base = name[: -len(_SIGNATURE)] if name.endswith(_SIGNATURE) else name
    ident, _dot, rest = base.partition(".")
    return base == INDEX or base.endswith(".channel.json") or (rest == "manifest.json" and len(ident) == 64)


class Upstream:
    """A repository, as a relay uses it.

    :param location: see :func:`source.open_repository`.
    :param limits: how patient to be with what is large; the rate is for all of it together.
    :param folder: where statements are kept.
    :param log: told what was fetched, and what went wrong.
    """

    def __init__(
        self,
        location: str,
        store: Store,
        folder: str,
        log: Log,
        limits: Limits,
        ca_file: Optional[str] = None,
    ) -> None:
        self._location, self._ca_file, self._log = location, ca_file, log
        self._limits = replace(limits, rate=max(1, limits.rate // CONNECTIONS) if limits.rate else None)
        self._brief = replace(BRIEF, redirects=limits.redirects)
        self._store = store
        self._said = os.path.join(folder, "statements")
        self._lock = threading.Lock()
        self._names: Dict[str, threading.Lock] = {}
        self._statements: OrderedDict[str, Statement] = OrderedDict()
        self._missing: Dict[str, _Failure] = {}
        self._down = _Failure(SourceError(""), 0.0)
        self._flights: Dict[Place, _Flight] = {}
        self._whole: OrderedDict[str, bool] = OrderedDict()
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self._questions = threading.BoundedSemaphore(QUESTIONS)
        self.fetched = 0
        self._open(self._brief)  # an address that is none is better told at once
        try:
            os.makedirs(self._said, exist_ok=True)
        except OSError as error:
            raise FleetError("{0} cannot be used: {1}".format(self._said, error.strerror))

    def __str__(self) -> str:
        return shown_address(self._location)

    def _open(self, limits: Limits) -> Repository:
        return open_repository(self._location, limits, self._ca_file)

    def _count(self, repository: Repository) -> None:
        with self._lock:
            self.fetched += repository.fetched

    # statements

    def statement(self, name: str, fresh: Optional[float] = None) -> Tuple[bytes, str]:
        """A file that changes, or a signature; and why it is an old one, where it is.

        :param fresh: how old it may be without being asked for again (seconds); by default :data:`FRESH`.
        :raises NotThere: when the repository says that there is none.
        :raises FleetError: when it does not answer, and nothing is known from before.
        """
        signature = name.endswith(_SIGNATURE)
        base = name[: -len(_SIGNATURE)] if signature else name
        if not _NAME.fullmatch(name) or not is_statement(name):
            raise NotThere("there is no {0}".format(printable(name)))
        with self._only(base):
            found = self._ask(base, FRESH if fresh is None else fresh)
        raw = found.signature if signature else found.raw
        if raw is None:
            raise NotThere("{0} has no signature".format(base))
        return raw, found.stale

    @contextlib.contextmanager
    def _only(self, name: str) -> Iterator[None]:
        """One at a time asks for a statement; the others have its answer."""
        with self._lock:
            lock = self._names.setdefault(name, threading.Lock())
            if len(self._names) > 4 * MOST_STATEMENTS:  # names that somebody makes up
                self._names = {key: each for key, each in self._names.items() if each.locked() or key == name}
        with lock:
            yield

    def _ask(self, name: str, fresh: float) -> Statement:
        known, missing, now = self._statements.get(name), self._missing.get(name), time.monotonic()
        if known is not None and now - known.asked < fresh:
            return known
        if missing is not None and now < missing.until:
            raise missing.error
        try:
            found = self._question(name)
        except (NotThere, TooLarge) as error:
            self._lost(name, error)
            raise
        except FleetError as error:
            known = known or self._remembered(name)
            if known is None:
                raise
            found = replace(known, asked=time.monotonic(), stale="the repository does not answer")
            if not known.stale:
                self._log("{0} is served as it was before: {1}".format(name, error.what))
        else:
            if known is None or (known.raw, known.signature) != (found.raw, found.signature):
                self._remember(name, found)
        with self._lock:
            self._statements[name] = found
            self._statements.move_to_end(name)
            while len(self._statements) > MOST_STATEMENTS:
                self._statements.popitem(last=False)
        return found

    def _question(self, name: str) -> Statement:
        """Ask for a statement, unless the repository did not answer a moment ago.

        :raises FleetError: when it does not say.
        """
        with self._questions:
            down = self._down
            if time.monotonic() < down.until:
                raise down.error
            repository = self._open(self._brief)
            try:
                return Statement(*self._fetch(repository, name), asked=time.monotonic())
            except (NotThere, TooLarge):
                raise
            except FleetError as error:
                self._log("{0} cannot be had: {1}".format(name, error.what))
                self._down = _Failure(error, time.monotonic() + DOWN)
                raise
            finally:
                self._count(repository)

    @staticmethod
    def _fetch(repository: Repository, name: str) -> Tuple[bytes, Optional[bytes]]:
        raw = repository.fetch(name, MAX_SMALL_FILE)
        try:
            return raw, repository.fetch(name + _SIGNATURE, MAX_SMALL_FILE)
        except NotThere:
            return raw, None

    def _lost(self, name: str, error: FleetError) -> None:
        """There is no such statement: that is an answer for a moment as well."""
        now = time.monotonic()
        with self._lock:
            self._statements.pop(name, None)
            self._missing = {key: each for key, each in self._missing.items() if now < each.until}
            self._missing[name] = _Failure(error, now + FRESH)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._said, name))

    def _remember(self, name: str, found: Statement) -> None:
        """Keep a statement over a restart of the relay."""
        kept = {"raw": _text(found.raw), "signature": _text(found.signature) if found.signature is not None else None}
        try:
            names = os.listdir(self._said)
            if len(names) >= MOST_STATEMENTS and name not in names:
                paths = sorted((os.path.join(self._said, each) for each in names), key=os.path.getmtime)
                os.unlink(paths[0])
            with arriving(os.path.join(self._said, name)) as (_path, file):
                file.write(json.dumps(kept).encode("ascii"))
        except OSError as error:
            self._log("{0} is not kept: {1}".format(name, error.strerror))

    def _remembered(self, name: str) -> Optional[Statement]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            with open(os.path.join(self._said, name), "rb") as file:
                kept = json.loads(file.read(4 * MAX_SMALL_FILE).decode("ascii"))
            signature = kept["signature"]
            return Statement(
                base64.b64decode(kept["raw"]), base64.b64decode(signature) if signature is not None else None
            )
        return None

    # files of an image

    def artefact(self, name: str) -> Artefact:
        """A file of an image, as its manifest names it.

        :raises NotThere: when no manifest does.
        :raises FleetError: when that cannot be told.
        """
        of_image = _OF_IMAGE.fullmatch(name)
        if of_image is None or not _NAME.fullmatch(name):
            raise NotThere("there is no {0}".format(printable(name)))
        for fresh in (LASTING, FRESH):  # it may have been published anew since
            raw, _stale = self.statement(manifest_name(of_image.group(1)), fresh)
            for each in parse_manifest(raw).published():
                if each.name == name:
                    return each
        raise NotThere("the manifest names no {0}".format(name))

    def read(self, artefact: Artefact, offset: int, length: int) -> Iterator[bytes]:
        """A part of a file, in pieces that were fetched whole.

        :raises FleetError: when the repository does not deliver.
        """
        end = offset + length
        last = (end - 1) // CHUNK
        for index in range(offset // CHUNK, last + 1):
            data = self._chunk(artefact, index, last)
            start = index * CHUNK
            yield data[max(0, offset - start) : end - start]

    def _chunk(self, artefact: Artefact, index: int, last: int) -> bytes:
        place = Place(_key(artefact), index)
        while True:
            data = self._store.read(place)
            if data is not None and len(data) == _length(artefact, index):
                return data
            with self._lock:
                flight = self._flights.get(place)
                if flight is None and data is None and self._store.has(place):
                    continue  # it has landed in between
                if flight is None:
                    flight = self._take_off(artefact, index, last)
            flight.landed.wait()
            if flight.error is not None:
                raise flight.error
            if flight.data is not None:
                return flight.data

    def _take_off(self, artefact: Artefact, index: int, last: int) -> _Flight:
        """Have a chunk fetched, with those behind it that somebody wants and nobody fetches."""
        key = _key(artefact)
        run: List[int] = []
        for each in range(index, min(last, index + RUN - 1) + 1):
            if run and (Place(key, each) in self._flights or self._store.has(Place(key, each))):
                break
            run.append(each)
        for each in run:
            self._flights[Place(key, each)] = _Flight()
        threading.Thread(target=self._fill, args=(artefact, run), daemon=True).start()
        return self._flights[Place(key, index)]

    def _land(self, place: Place, data: Optional[bytes], error: Optional[FleetError] = None) -> None:
        with self._lock:
            flight = self._flights.pop(place)
        flight.land(data, error)

    def _fill(self, artefact: Artefact, run: List[int]) -> None:
        """Fetch chunks that lie one behind the other: a thread of its own, so that no slow host holds up the others."""
        key = _key(artefact)
        waiting = list(run)
        began = time.monotonic()
        try:
            with self._room:
                for data in self._fetched(artefact, run):
                    place = Place(key, waiting[0])
                    if artefact.size <= CHUNK and hashlib.sha256(data).hexdigest() != artefact.sha256:
                        raise SourceError("{0} is not what its manifest says".format(artefact.name))
                    try:
                        self._store.write(place, data)
                    except OSError as error:
                        self._log("a part of {0} is not kept: {1}".format(artefact.name, error.strerror))
                    self._land(place, data)
                    del waiting[0]
            if waiting:
                raise SourceError("{0} ended early".format(artefact.name))
            size = sum(_length(artefact, index) for index in run)
            self._log("{0}: {1} bytes in {2:.1f} s".format(artefact.name, size, time.monotonic() - began))
            self._check_whole(artefact)
        except FleetError as error:
            self._log("{0} cannot be had: {1}".format(artefact.name, error.what))
            self._fail(key, waiting, error)
        except Exception as error:  # whoever waits must not wait for ever
            self._log("{0} cannot be had: {1!r}".format(artefact.name, error))
            self._fail(key, waiting, FleetError("the relay failed: {0!r}".format(error)))

    def _fail(self, key: str, waiting: List[int], error: FleetError) -> None:
        for index in waiting:
            self._land(Place(key, index), None, error)

    def _fetched(self, artefact: Artefact, run: List[int]) -> Iterator[bytes]:
        repository = self._open(self._limits)
        size = sum(_length(artefact, index) for index in run)
        buffer = bytearray()
        try:
            left = list(run)
            for piece in repository.stream(artefact.name, run[0] * CHUNK, size):
                buffer += piece
                while left and len(buffer) >= _length(artefact, left[0]):
                    length = _length(artefact, left.pop(0))
                    yield bytes(buffer[:length])
                    del buffer[:length]
        finally:
            self._count(repository)

    def _check_whole(self, artefact: Artefact) -> None:
        """Compare a file with its manifest once all of it is here: what is wrong is fetched anew."""
        key, count = _key(artefact), -(-artefact.size // CHUNK)
        if key in self._whole or not all(self._store.has(Place(key, index)) for index in range(count)):
            return
        total = hashlib.sha256()
        for piece in self._store.pieces(key, count):
            if piece is None:
                return
            total.update(piece)
        if total.hexdigest() == artefact.sha256:
            self._whole[key] = True
            if len(self._whole) > MOST_STATEMENTS:
                self._whole.popitem(last=False)
            return
        self._log("{0} is not what its manifest says, and is not kept".format(artefact.name))
        self._store.drop(key)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _key(artefact: Artefact) -> str:
    """Under what a file is kept: what is published anew under its name is another file."""
    return "{0}.{1}".format(artefact.name, artefact.sha256[:16])


def _length(artefact: Artefact, index: int) -> int:
    """The size of a chunk (bytes)."""
    return min(CHUNK, artefact.size - index * CHUNK)
