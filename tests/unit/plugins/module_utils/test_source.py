# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an HTTP server may lead a host, and what an address may hold."""

from __future__ import annotations

import base64
import http.server
import io
import socket
import threading
import time
import urllib.request
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    HttpRepository,
    Limits,
    SourceError,
    _Redirects,
    open_repository,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import secrets_in

QUICK = Limits(timeout=5, retries=0, deadline=20)


class Server:
    """A web server that redirects to somewhere else, or says that it is there; it keeps what it was asked."""

    def __init__(self, to: str = "") -> None:
        self.to = to
        self.asked: List[Tuple[str, Optional[str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization")))
                self.send_response(302 if outer.to else 200)
                if outer.to:
                    self.send_header("Location", outer.to)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="servers")
def fixture_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dict[str, Server]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    made = {"first": Server(), "second": Server()}
    yield made
    for each in made.values():
        each.close()


def test_to_the_same_host(servers: Dict[str, Server]) -> None:
    first, second = servers["first"], servers["second"]
    first.to = "http://127.0.0.1:{0}/elsewhere".format(second.port)
    repository = HttpRepository("http://127.0.0.1:{0}".format(first.port), QUICK)
    assert repository.fetch("index.json", 10) == b"{}" and second.asked == [("/elsewhere", None)]


def test_to_another_host_only_where_it_was_named(servers: Dict[str, Server]) -> None:
    first, second = servers["first"], servers["second"]
    first.to = "http://localhost:{0}/admin/reboot?now=1".format(second.port)
    url = "http://127.0.0.1:{0}".format(first.port)
    with pytest.raises(
        SourceError, match=r"redirects http://127.0.0.1:[0-9]+/index.json to http://localhost"
    ) as refused:
        HttpRepository(url, QUICK).fetch("index.json", 10)
    assert second.asked == [] and "upgrade_redirect_hosts" in str(refused.value)
    named = Limits(timeout=5, retries=0, deadline=20, redirects=("LOCALHOST",))
    assert HttpRepository(url, named).fetch("index.json", 10) == b"{}" and len(second.asked) == 1


@pytest.mark.parametrize("to", ["ftp://127.0.0.1:{0}/x", "file:///etc/passwd", "data:,x", "gopher://127.0.0.1/"])
def test_to_another_scheme(servers: Dict[str, Server], to: str) -> None:
    """What is slow there would be watched by nothing."""
    with socket.create_server(("127.0.0.1", 0)) as slow:
        servers["first"].to = to.format(slow.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(SourceError):
            HttpRepository("http://127.0.0.1:{0}".format(servers["first"].port), QUICK).fetch("index.json", 10)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "location, asked, to, followed",
    [
        ("https://a/", "https://a/x", "http://a/x", False),
        ("https://a/", "https://a/x", "https://a/y", True),
        ("http://a/", "http://a/x", "https://a/y", True),
        ("http://a/", "https://a/x", "http://a/y", False),
        ("http://a/", "http://a/x", "http://b/y", False),
        ("http://a/", "http://a/x", "http://a.b/y", False),
        ("http://a/", "http://a/x", "http://a@b/y", False),
    ],
)
def test_never_to_a_worse_scheme(location: str, asked: str, to: str, followed: bool) -> None:
    handler = _Redirects(location, [])
    request = urllib.request.Request(asked)
    if followed:
        found = handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, to)
        assert found is not None and found.full_url == to
    else:
        with pytest.raises(SourceError, match="which is not asked"):
            handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, to)


def test_a_name_and_a_password_in_the_address(servers: Dict[str, Server]) -> None:
    """They are for the one server, and for nobody's eyes."""
    first, second = servers["first"], servers["second"]
    url = "http://joe:s3%20cret@127.0.0.1:{0}/images".format(first.port)
    assert open_repository(url, QUICK).fetch("a", 10) == b"{}"
    assert first.asked == [("/images/a", "Basic " + base64.b64encode(b"joe:s3 cret").decode())]
    first.to = "http://localhost:{0}/b".format(second.port)
    named = Limits(timeout=5, retries=0, deadline=20, redirects=("localhost",))
    repository = open_repository(url, named)
    assert repository.fetch("a", 10) == b"{}" and second.asked == [("/b", None)]
    assert repository.location == "http://127.0.0.1:{0}/images".format(first.port)
    with pytest.raises(SourceError) as refused:
        open_repository(url, QUICK).fetch("a", 10)
    assert "cret" not in str(refused.value) and "joe" not in str(refused.value)


def test_a_redirect_to_the_same_server_has_the_credentials(servers: Dict[str, Server]) -> None:
    first = servers["first"]

    class Once(str):
        def __bool__(self) -> bool:
            return len(first.asked) < 2

    first.to = Once("/elsewhere")
    assert open_repository("http://joe:x@127.0.0.1:{0}".format(first.port), QUICK).fetch("a", 10) == b"{}"
    assert [path for path, _auth in first.asked] == ["/a", "/elsewhere"]
    assert first.asked[0][1] is not None and first.asked[0][1] == first.asked[1][1]


@pytest.mark.parametrize(
    "url, secrets",
    [
        ("http://joe:p%40ss@host/x", {"p@ss", "p%40ss"}),
        ("https://glpat-TOKEN@host/x", {"glpat-TOKEN"}),
        ("https://host/x", set()),
        ("/srv/images", set()),
    ],
)
def test_what_of_an_address_nobody_should_see(url: str, secrets: Any) -> None:
    assert secrets_in(url) == secrets


def test_nothing_is_begun_after_the_deadline(servers: Dict[str, Server]) -> None:
    repository = HttpRepository(
        "http://127.0.0.1:{0}".format(servers["first"].port), Limits(timeout=5, retries=0, deadline=-1)
    )
    with pytest.raises(SourceError, match="is over"):
        repository.fetch("index.json", 10)
    assert servers["first"].asked == []
