# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where the bytes of an image come from: a folder of static files, on a file system or behind an HTTP server.

A source only delivers bytes. Whether they are the right ones is for :mod:`writer` to find out, which knows the digests.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple, Type, TypeVar

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import credentials_of, printable, shown_address

Result = TypeVar("Result")

#: how much is read from a source at once (bytes)
CHUNK = 1 << 18


class SourceError(FleetError):
    """The bytes could not be had."""


class NotThere(SourceError):
    """The source has no file of that name, or not all of it."""


class Forbidden(NotThere):
    """The server does not let this host have a file; whether there is one cannot be told."""


class TooLarge(SourceError):
    """The source has a file of that name, which is larger than it can be."""


class NoRanges(SourceError):
    """The server only delivers files as a whole."""


@dataclass(frozen=True)
class Limits:
    """How patient to be. Times in seconds.

    :param timeout: silence of the server that counts as a failure.
    :param retries: how many failures in a row are tolerated, with growing pauses in between.
    :param deadline: the longest that everything from a repository may take together, all retries included.
    :param rate: the most bytes in a second, over all connections together; ``None`` for as many as there are.
    :param slowest: the fewest bytes in a second. A server is given up where less comes in *timeout* seconds of waiting
        for it, and where its answer to a question takes longer to begin; 0 for a server that nobody can stand in for.
    :param redirects: hosts besides the repository's own that a server may redirect to.
    """

    timeout: float = 30.0
    retries: int = 5
    deadline: float = 3600.0
    rate: Optional[int] = None
    slowest: int = 0
    redirects: Tuple[str, ...] = ()


class Throttle:
    """Holds readers back, so that all of them together do not exceed a rate.

    :param rate: bytes in a second, or ``None``.
    """

    def __init__(self, rate: Optional[int]) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def piece(self) -> int:
        """How much to read at once: not so much that a slow rate becomes one long pause (bytes)."""
        return CHUNK if self._rate is None else max(1 << 12, min(CHUNK, self._rate // 4))

    def spend(self, count: int) -> None:
        """Account for bytes that were read, and wait until they were due."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            pause = self._free_at - now
        time.sleep(pause)


class Repository:
    """A folder of published images.

    :ivar fetched: bytes that came from it, over everything.
    :ivar requests: how often it was asked for something.
    :ivar parallel: whether several readers at a time are of any use.
    """

    parallel = False

    def __init__(self, location: str) -> None:
        self.location = location
        self.fetched = 0
        self.requests = 0
        self._counters = threading.Lock()
        self._part_of: Optional[Repository] = None

    def _count(self, requests: int, fetched: int) -> None:
        with self._counters:
            self.requests += requests
            self.fetched += fetched
        if self._part_of is not None:
            self._part_of._count(requests, fetched)

    def count_for(self, other: Repository) -> None:
        """Count what comes from here for another one as well, which asks this one."""
        self._part_of = other

    @property
    def origin(self) -> Repository:
        """The repository itself, where this one has its bytes from somebody else: for what he delivered wrongly."""
        return self

    @property
    def first_hand(self) -> Repository:
        """The repository itself, asked without much patience, as there is somebody else to ask."""
        return self

    @property
    def relay(self) -> Optional[str]:
        """Who that is, for people; ``None`` where there is nobody."""
        return None

    @property
    def relayed(self) -> int:
        """How many of the bytes came from him."""
        return 0

    @property
    def notes(self) -> List[str]:
        """What an operator should know of how bytes were come by."""
        return []

    def note(self, text: str) -> None:
        """Let an operator know, once."""

    def wrong(self, what: str) -> None:
        """Note that something was not what it should be, and may be with :attr:`origin`.

        :param what: what that was.
        """

    def believed(self, what: str, ask: Callable[[Repository], Result], *doubts: Type[Exception]) -> Result:
        """What somebody finds out with this repository; with :attr:`origin`, where what a relay has delivered is wrong.

        :param what: what that is, for people.
        :param ask: finds it out, and raises one of *doubts* for what is wrong.
        :raises Exception: what *ask* raises with the repository itself.
        """
        if self.origin is not self:
            with contextlib.suppress(*doubts):
                return ask(self)
            self.wrong(what)
        return ask(self.origin)

    def fetch(self, name: str, limit: int) -> bytes:
        """A small file as a whole.

        :param limit: the size in bytes above which it is refused.
        :raises NotThere: when there is none.
        :raises TooLarge: when it is larger.
        :raises SourceError: when it cannot be read.
        """
        raise NotImplementedError

    def stream(self, name: str, offset: int, length: int, ranged: bool = True) -> Iterator[bytes]:
        """*length* bytes of a file from *offset* on, in pieces of any size.

        :param ranged: whether to ask for a range; without that *offset* must be 0 and *length* the size of the file.
        :raises SourceError: when they cannot be had; everything that was yielded before stands.
        """
        raise NotImplementedError


class FolderRepository(Repository):
    """A folder of this host: a stick, a share, a local disk."""

    def _path(self, name: str) -> str:
        return os.path.join(self.location, name)

    def fetch(self, name: str, limit: int) -> bytes:
        try:
            with open(self._path(name), "rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NotThere("there is no file {0}".format(self._path(name)))
        except OSError as error:
            raise SourceError("{0} cannot be read: {1}".format(self._path(name), error.strerror))
        if len(data) > limit:
            raise TooLarge("{0} is larger than {1} bytes".format(self._path(name), limit))
        self._count(1, len(data))
        return data

    def stream(self, name: str, offset: int, length: int, ranged: bool = True) -> Iterator[bytes]:
        try:
            with open(self._path(name), "rb") as file:
                file.seek(offset)
                self._count(1, 0)
                while length > 0:
                    piece = file.read(min(CHUNK, length))
                    if not piece:
                        raise NotThere(
                            "{0} ends at byte {1}, {2} more are missing".format(self._path(name), file.tell(), length)
                        )
                    length -= len(piece)
                    self._count(0, len(piece))
                    yield piece
        except FileNotFoundError:
            raise NotThere("there is no file {0}".format(self._path(name)))
        except OSError as error:
            raise SourceError("{0} cannot be read: {1}".format(self._path(name), error.strerror))


class PartRepository(FolderRepository):
    """A folder in which of one large file only a part is there, in a file of the same name with ``.part`` behind it.

    :param offset: where that part begins in the whole file (bytes).
    """

    def __init__(self, location: str, offset: int) -> None:
        super().__init__(location)
        self._offset = offset

    def stream(self, name: str, offset: int, length: int, ranged: bool = True) -> Iterator[bytes]:
        return super().stream(name + ".part", offset - self._offset, length)


class HttpRepository(Repository):
    """A folder behind an HTTP server that can do single byte ranges (RFC 9110, section 14).

    :param proxies: whether to use those of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``).
    """

    parallel = True

    def __init__(
        self, location: str, limits: Limits = Limits(), ca_file: Optional[str] = None, proxies: bool = True
    ) -> None:
        try:
            location, self._credentials = _without_credentials(location)
        except ValueError as error:
            raise FleetError("the address of the repository cannot be used: {0}".format(error), todo="check repository")
        super().__init__(location)
        self._limits = limits
        self._until = time.monotonic() + limits.deadline
        self._throttle = Throttle(limits.rate)
        try:
            context = ssl.create_default_context(cafile=ca_file)
            urllib.parse.urlsplit(location).port  # noqa: B018 - to see that it is an address
        except (OSError, ValueError) as error:
            raise FleetError(
                "{0} cannot be used: {1}".format(ca_file or location, error), todo="check repository and ca_file"
            )
        self._guard = _Guard(self._until, limits.timeout if limits.slowest else None)
        self._opener = urllib.request.OpenerDirector()
        # those that build_opener() would add besides open ftp:, file: and data:, where a redirect could lead to
        for handler in (
            urllib.request.ProxyHandler(None if proxies else {}),
            _GuardedHttp(self._guard),
            _GuardedHttps(self._guard, context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(location, limits.redirects, self._credentials),
        ):
            self._opener.add_handler(handler)

    def _url(self, name: str) -> str:
        return self.location.rstrip("/") + "/" + urllib.parse.quote(name)

    def _open(self, name: str, headers: Optional[dict] = None, method: str = "GET") -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url(name), headers=headers or {}, method=method)
        # a proxy or server that compresses on the way would break every offset
        request.add_header("Accept-Encoding", "identity")
        if self._credentials:
            request.add_unredirected_header("Authorization", self._credentials)  # for this host only
        self._count(1, 0)
        try:
            return self._opener.open(request, timeout=self._limits.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise NotThere("the server has no file {0} (HTTP {1})".format(self._url(name), error.code))
            if error.code == 416:
                raise NotThere("{0} is shorter than the manifest says (HTTP 416)".format(self._url(name)))
            if error.code in (401, 403):
                raise Forbidden(
                    "the server does not let this host have {0} (HTTP {1})".format(self._url(name), error.code)
                )
            raise _Again("HTTP {0}".format(error.code))
        except urllib.error.URLError as error:
            raise _Again(str(error.reason))
        except (OSError, http.client.HTTPException) as error:
            raise _Again(str(error) or type(error).__name__)
        except ValueError as error:
            raise SourceError("{0!r} is no address: {1}".format(self._url(name), error), todo="check repository")

    def fetch(self, name: str, limit: int) -> bytes:
        def once() -> bytes:
            with self._open(name) as response:
                announced = response.headers.get("Content-Length")
                pieces, missing = [], limit + 1
                while missing > 0:
                    piece = pace.read(response, min(CHUNK, missing))
                    patience.check()  # also where nothing came: it may be that the guard has ended it
                    if not piece:
                        break
                    pieces.append(piece)
                    missing -= len(piece)
                data = b"".join(pieces)
            self._count(0, len(data))
            if len(data) > limit:
                raise TooLarge("{0} is larger than {1} bytes".format(self._url(name), limit))
            if announced is not None and announced.isdigit() and len(data) < int(announced):
                raise _Again("the connection ended early")
            return data

        patience, pace = _Patience(self._limits, self._until, self._url(name)), _Pace(self._limits, self._url(name))
        while True:
            try:
                return once()
            except _Again as trouble:
                patience.spend(trouble)

    def stream(self, name: str, offset: int, length: int, ranged: bool = True) -> Iterator[bytes]:
        end = offset + length
        patience, pace = _Patience(self._limits, self._until, self._url(name)), _Pace(self._limits, self._url(name))
        while offset < end:
            try:
                headers = {"Range": "bytes={0}-{1}".format(offset, end - 1)} if ranged else None
                with self._open(name, headers) as response:
                    if ranged:
                        self._check_range(name, response, offset, end)
                    while offset < end:
                        piece = pace.read(response, min(self._throttle.piece(), end - offset))
                        if not piece:
                            raise _Again("the connection ended {0} bytes early".format(end - offset))
                        offset += len(piece)
                        self._count(0, len(piece))
                        patience.progress()
                        yield piece
                        self._throttle.spend(len(piece))
            except _Again as trouble:
                if not ranged and offset:
                    raise NoRanges(
                        "the server does not do byte ranges, and the connection broke at byte {0} of {1}".format(
                            offset, self._url(name)
                        ),
                        todo="publish the images on a server that does (nginx, Apache, lighttpd, any object store)",
                    )
                patience.spend(trouble)

    def _check_range(self, name: str, response: http.client.HTTPResponse, offset: int, end: int) -> None:
        if response.status == 206:
            said = response.headers.get("Content-Range", "")
            if said.split("/")[0] != "bytes {0}-{1}".format(offset, end - 1):
                if said.startswith("bytes {0}-".format(offset)):
                    raise NotThere("{0} is shorter than the manifest says ({1})".format(self._url(name), said))
                raise SourceError(
                    "the server answered the range {0}-{1} of {2} with {3!r}".format(
                        offset, end - 1, self._url(name), said
                    )
                )
            return
        if offset == 0 and response.headers.get("Content-Length") == str(end):
            return  # the whole file was asked for, and the whole file is what comes
        raise NoRanges(
            "the server does not do byte ranges (it answered HTTP {0} for {1})".format(
                response.status, self._url(name)
            ),
            todo="publish the images on a server that does (nginx, Apache, lighttpd, any object store)",
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the same host, or one that was named, by the same scheme or a better one.

    :param location: of the repository.
    :param hosts: others that may be asked as well.
    :param credentials: for the repository's own server, and no other.
    """

    def __init__(self, location: str, hosts: Sequence[str], credentials: str = "") -> None:
        own = urllib.parse.urlsplit(location)
        self._own = (own.scheme, own.netloc.lower())
        self._credentials = credentials
        self._safe = own.scheme == "https"
        self._hosts = {str(own.hostname).lower(), *(host.lower() for host in hosts)}

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        to = urllib.parse.urlsplit(newurl)
        allowed = ("https",) if self._safe or req.type == "https" else ("http", "https")
        if to.scheme not in allowed or str(to.hostname).lower() not in self._hosts:
            fp.close()
            raise SourceError(
                "the server redirects {0} to {1}://{2}, which is not asked".format(
                    shown_address(req.full_url), printable(to.scheme), printable(str(to.hostname))
                ),
                safe="nothing was written",
                todo="find out who does that; if it is right, name the host in redirect_hosts (upgrade_redirect_hosts, "
                "deploy_redirect_hosts, spare_redirect_hosts). From https to http no redirect is followed",
            )
        again = super().redirect_request(req, fp, code, msg, headers, newurl)
        if again is not None and self._credentials and (to.scheme, to.netloc.lower()) == self._own:
            again.add_unredirected_header("Authorization", self._credentials)
        return again


def _without_credentials(url: str) -> Tuple[str, str]:
    """An address without name and password, and the header that has them instead (RFC 7617)."""
    name, password = credentials_of(url)
    if not name and not password:
        return url, ""
    parts = urllib.parse.urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    both = base64.b64encode("{0}:{1}".format(name, password).encode("utf-8")).decode("ascii")
    return urllib.parse.urlunsplit(bare), "Basic " + both


class _Guard:
    """Ends all connections at the deadline, whatever they are doing: a server that gives a byte of its headers now and
    then is never silent, and would be waited for.

    :param until: on the monotonic clock.
    :param patience: how long an answer may take to begin (seconds); ``None`` for as long as there is time.
    """

    def __init__(self, until: float, patience: Optional[float] = None) -> None:
        self._until = until
        self._patience = patience
        self._sockets: weakref.WeakSet = weakref.WeakSet()
        self._timer: Optional[threading.Timer] = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """See that there is time left before a connection is begun.

        :raises SourceError: when there is none.
        """
        if time.monotonic() > self._until:
            raise SourceError("the time for everything from the repository is over", todo="run the play again")

    def watch(self, connection: socket.socket) -> None:
        """End this connection at the deadline."""
        self.check()
        with self._lock:
            self._sockets.add(connection)
            if self._timer is None:
                self._timer = threading.Timer(max(0.0, self._until - time.monotonic()), self._end)
                self._timer.daemon = True
                self._timer.start()

    def _end(self) -> None:
        for connection in list(self._sockets):
            _shut(connection)

    @contextlib.contextmanager
    def answering(self, connection: socket.socket) -> Iterator[None]:
        """Wait for the beginning of an answer no longer than there is patience."""
        if self._patience is None:
            yield
            return
        timer = threading.Timer(self._patience, _shut, [connection])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def guarded(self, kind: Any) -> Any:
        """A class of connections that are watched."""
        guard = self

        class Guarded(kind):
            def connect(self) -> None:
                guard.check()
                super().connect()
                guard.watch(self.sock)

            def getresponse(self) -> http.client.HTTPResponse:
                with guard.answering(self.sock):
                    return super().getresponse()

        return Guarded


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _GuardedHttp(urllib.request.HTTPHandler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._guard.guarded(http.client.HTTPConnection), req)


class _GuardedHttps(urllib.request.HTTPSHandler):
    def __init__(self, guard: _Guard, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._guard = guard
        self._trust = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._guard.guarded(http.client.HTTPSConnection), req, context=self._trust)


class _Again(Exception):
    """A failure that may pass."""


class _Patience:
    """Counts failures and waits between them.

    :param until: when everything must be over, on the monotonic clock.
    """

    def __init__(self, limits: Limits, until: float, url: str) -> None:
        self._limits = limits
        self._until = until
        self._url = url
        self._failures = 0

    def progress(self) -> None:
        """Bytes came: the failures before do not count any more, the deadline does."""
        self._failures = 0
        self.check()

    def spend(self, trouble: Exception) -> None:
        """A failure: wait, or give up.

        :raises SourceError: when there were too many in a row or the deadline has passed.
        """
        self._failures += 1
        if self._failures > self._limits.retries:
            raise SourceError(
                "{0} cannot be had: {1} ({2} attempts)".format(self._url, trouble, self._failures),
                todo="check the address and the network of this host, then run the play again; it goes on from here",
            )
        self.check(str(trouble))
        time.sleep(min(0.5 * 2 ** (self._failures - 1), 15.0))

    def check(self, trouble: str = "it is too slow") -> None:
        """See that there is time left.

        :raises SourceError: when the deadline has passed.
        """
        if time.monotonic() > self._until:
            raise SourceError(
                "{0} was not complete after {1:.0f} s: {2}".format(self._url, self._limits.deadline, trouble),
                todo="run the play again: what is written already is kept",
            )


class _Pace:
    """Sees that a server is not only never silent but also delivers: see :attr:`Limits.slowest`.

    Only the time that is spent waiting for it counts: not that of whoever takes the bytes, and no pause of ours.
    """

    def __init__(self, limits: Limits, url: str) -> None:
        self._limits = limits
        self._url = url
        self._waited = 0.0
        self._came = 0

    def read(self, response: http.client.HTTPResponse, amount: int) -> bytes:
        """What comes next, at most *amount* bytes.

        :raises _Again: when nothing does.
        :raises SourceError: when it comes too slowly.
        """
        began = time.monotonic()
        try:
            piece = _guarded_read(response, amount)
        finally:
            self._waited += time.monotonic() - began
        self._came += len(piece)
        if self._limits.slowest and self._waited >= self._limits.timeout:
            if self._came < self._waited * self._limits.slowest:
                raise SourceError(
                    "{0} comes too slowly: {1} bytes in {2:.0f} s".format(self._url, self._came, self._waited)
                )
            self._waited, self._came = 0.0, 0
        return piece


def _guarded_read(response: http.client.HTTPResponse, amount: int) -> bytes:
    try:
        # read1: what is there, so that a server which stalls does not take what came before with it
        return response.read1(amount)
    except (OSError, http.client.HTTPException) as error:
        raise _Again(str(error) or type(error).__name__)


def open_repository(location: str, limits: Limits = Limits(), ca_file: Optional[str] = None) -> Repository:
    """The repository at an address: ``http://``, ``https://``, ``file://`` or an absolute path.

    :raises FleetError: for any other kind of address.
    """
    try:
        scheme = urllib.parse.urlsplit(location).scheme
    except ValueError as error:
        raise FleetError("{0!r} is no address of an image repository: {1}".format(location, error))
    if scheme in ("http", "https"):
        return HttpRepository(location, limits, ca_file)
    if scheme == "file":
        return FolderRepository(urllib.parse.unquote(urllib.parse.urlsplit(location).path))
    if location.startswith("/"):
        return FolderRepository(location)
    raise FleetError(
        "{0!r} is no address of an image repository".format(location),
        todo="use http://, https://, file:// or an absolute path on the host",
    )
