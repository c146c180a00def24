# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The HTTP server of a relay: GET and HEAD of the files of a repository, whole or in single ranges (RFC 9110)."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Forbidden, Limits, NotThere
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.store import Store
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.upstream import Upstream, is_statement
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: how many hosts are served at once; the others are turned away, and have the repository itself
MOST = 128

#: how long a host may take to say what it wants, and how long it may not take anything (seconds)
ASKING, SILENCE = 15.0, 60.0

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})$")
_SUFFIX = re.compile(r"bytes=-([0-9]{1,18})$")


class Unsatisfiable(Exception):
    """A range that the file does not have."""


def range_of(header: Optional[str], size: int) -> Optional[Tuple[int, int]]:
    """First and last byte of the range that is asked for; ``None`` for the whole file, as for what is no single range.

    :param size: of the file (bytes).
    :raises Unsatisfiable: when the file has nothing of it.
    """
    found = _RANGE.match(header or "")
    if found:
        first = int(found.group(1))
        last = int(found.group(2)) if found.group(2) else size - 1
        if found.group(2) and last < first:
            return None
    else:
        suffix = _SUFFIX.match(header or "")
        if not suffix:
            return None
        first, last = max(0, size - int(suffix.group(1))), size - 1
        if not int(suffix.group(1)):
            raise Unsatisfiable
    if first >= size:
        raise Unsatisfiable
    return first, min(last, size - 1)


class Handler(BaseHTTPRequestHandler):
    """One request, and the end of the connection: that is how hosts ask."""

    protocol_version = "HTTP/1.1"
    server_version = "nanozfs-relay"
    sys_version = ""
    timeout = SILENCE

    def setup(self) -> None:
        """A host that says a letter now and then is not waited for."""
        super().setup()
        self._patience = threading.Timer(ASKING, self._hang_up)
        self._patience.daemon = True
        self._patience.start()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """The end of a connection."""
        self._patience.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        """A file."""
        self._answer(True)

    def do_HEAD(self) -> None:
        """What would be answered."""
        self._answer(False)

    def _answer(self, body: bool) -> None:
        self._patience.cancel()
        self.close_connection = True
        name = self._name()
        try:
            if name is None:
                self._refuse(404, "there is no such file", body)
            elif is_statement(name):
                raw, stale = self._upstream.statement(name)
                self._send(200, len(raw), [raw] if body else [], stale=stale)
            else:
                self._file(name, body)
        except Forbidden as error:
            self._refuse(403, error.what, body)
        except NotThere as error:
            self._refuse(404, error.what, body)
        except FleetError as error:
            self._refuse(502, error.what, body)

    @property
    def _upstream(self) -> Upstream:
        server: Any = self.server
        found: Upstream = server.upstream
        return found

    def _name(self) -> Optional[str]:
        """The name of a file, of a path that may be anything; ``None`` for what cannot be one."""
        parts = urllib.parse.urlsplit(self.path) if self.path.startswith("/") else None
        if parts is None or parts.query or parts.netloc:
            return None
        return urllib.parse.unquote(parts.path[1:], errors="replace")

    def _file(self, name: str, body: bool) -> None:
        """A file of an image."""
        artefact = self._upstream.artefact(name)
        tag = '"{0}"'.format(artefact.sha256)
        wanted = self.headers.get("Range")
        if self.headers.get("If-Range") not in (None, tag):
            wanted = None
        try:
            part = range_of(wanted, artefact.size)
        except Unsatisfiable:
            self._refuse(416, "the file has {0} bytes".format(artefact.size), body, artefact.size)
            return
        first, last = part or (0, artefact.size - 1)
        length = last - first + 1
        pieces: Iterator[bytes] = iter(())
        if body and length:
            pieces = self._upstream.read(artefact, first, length)
            pieces = _with(next(pieces), pieces)  # before anything is promised
        headers = [("Accept-Ranges", "bytes"), ("ETag", tag)]
        if part is not None:
            headers.append(("Content-Range", "bytes {0}-{1}/{2}".format(first, last, artefact.size)))
        self._send(206 if part is not None else 200, length, pieces, headers)

    def _send(
        self,
        status: int,
        length: int,
        pieces: Iterable[bytes],
        headers: Iterable[Tuple[str, str]] = (),
        stale: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-cache")
        if stale:
            self.send_header("Nanozfs-Relay", "old: {0}".format(stale))
        for name, value in headers:
            self.send_header(name, value)
        try:
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)
        except (OSError, FleetError):
            # the host has gone, or the repository has: an answer that ends early is seen as one
            self._hang_up()

    def _refuse(self, status: int, why: str, body: bool, size: Optional[int] = None) -> None:
        text = (printable(why) + "\n").encode("utf-8", "replace")
        headers = [("Content-Range", "bytes */{0}".format(size))] if size is not None else []
        self._send(status, len(text), [text] if body else [], headers)

    def log_message(self, format: str, *args: Any) -> None:
        """What each host asks for is not told; what is fetched for it is."""


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class Relay(ThreadingHTTPServer):
    """A relay, listening.

    :param address: where: an address of this host; ``0.0.0.0`` or ``::`` for all.
    :param log: told about hosts that are turned away.
    :raises FleetError: when it cannot listen there.
    """

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, address: str, port: int, upstream: Upstream, log: Callable[[str], None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.upstream = upstream
        self._log = log
        self._places = threading.BoundedSemaphore(MOST)
        try:
            super().__init__((address, port), Handler)
        except (OSError, OverflowError) as error:
            raise FleetError(
                "the relay cannot listen at {0} port {1}: {2}".format(address, port, error),
                todo="see what does already (`sockstat -l`), or choose another address or port",
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more host, in a thread of its own."""
        if not self._places.acquire(blocking=False):
            self._log("{0} is turned away: {1} hosts are served already".format(client_address[0], MOST))
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What the thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A host that hung up in the middle is no news."""


class Terms(NamedTuple):
    """What a relay does.

    :param upstream: address of the repository.
    :param folder: for what was fetched.
    :param size: how much that may be (bytes).
    :param rate: how much to fetch in a second at most (bytes); ``None`` for no limit.
    :param redirects: hosts that the repository may redirect to.
    """

    upstream: str
    address: str
    port: int
    folder: str
    size: int
    rate: Optional[int] = None
    redirects: Tuple[str, ...] = ()
    ca_file: Optional[str] = None


def run(terms: Terms, say: Callable[[str], None]) -> None:
    """Serve until a signal comes (SIGTERM, SIGINT).

    :param say: told what happens, a line each.
    :raises FleetError: when it cannot begin.
    """
    lock = threading.Lock()

    def log(text: str) -> None:
        with lock:
            say(printable(text))

    limits = Limits(retries=2, rate=terms.rate, redirects=terms.redirects)
    store = Store(terms.folder, terms.size)
    upstream = Upstream(terms.upstream, store, terms.folder, log, limits, terms.ca_file)
    with Relay(terms.address, terms.port, upstream, log) as relay:
        log(
            "serves {0} at {1} port {2}; {3} MiB are here already, {4} may be".format(
                upstream, terms.address, relay.server_address[1], store.total >> 20, terms.size >> 20
            )
        )
        with _ended_by_signals(relay):
            relay.serve_forever()
    log("ends; {0} bytes were fetched".format(upstream.fetched))


@contextlib.contextmanager
def _ended_by_signals(relay: Relay) -> Iterator[None]:
    """End a relay at a signal. It cannot end itself from where it serves, and a signal interrupts just that."""
    signals = (signal.SIGTERM, signal.SIGINT)

    def end(_number: int, _frame: Any) -> None:
        threading.Thread(target=relay.shutdown, daemon=True).start()

    before = [signal.signal(each, end) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before):
            signal.signal(each, handler)
