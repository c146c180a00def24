# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The relay of a site: each thing is fetched once, whoever asks and however; and what strangers may ask of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._agent import cli
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Artefact
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Limits, SourceError
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay import server, upstream
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.server import Unsatisfiable, range_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.store import CHUNK, Place, Store
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.unit.published import Published

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "..")


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


class Site:
    """A publisher, and a relay of it.

    :ivar served: name, offset and length of all that left the publisher.
    """

    def __init__(self, folder: str, published: Published) -> None:
        self.folder = folder
        self.published = published
        self.images = os.path.join(folder, "images")
        shutil.copytree(published.repository, self.images)
        for manifest in (published.old, published.manifest):
            self.state(manifest.id + ".manifest.json", json.dumps(manifest.extra).encode())
        self.state("index.json", b'{"format": 1, "images": []}')
        self.origin = web.server(self.images, "127.0.0.1", 0)
        self.running: List[Any] = []
        self.served: List[Tuple[str, int, int]] = self.origin.RequestHandlerClass.args[1].served  # type: ignore[attr-defined]
        self.begin(self.origin)
        self.log: List[str] = []
        self.limit = 64 << 20
        self.relay = self.another()
        self.pack = published.offer("pack").data

    def left(self, name: str) -> int:
        """How many bytes of a file have left the publisher."""
        return sum(length for each, _offset, length in self.served if each == name)

    def state(self, name: str, content: bytes, signature: Optional[bytes] = b"signature") -> None:
        """Publish a small file."""
        for suffix, data in (("", content), (".sig", signature)):
            if data is not None:
                with open(os.path.join(self.images, name + suffix), "wb") as file:
                    file.write(data)

    def another(self) -> server.Relay:
        """A relay with the same folder: the one of before was restarted."""
        folder = os.path.join(self.folder, "cache")
        address = "http://127.0.0.1:{0}/".format(self.origin.server_address[1])
        limits = Limits(timeout=5.0, retries=0)
        store = Store(folder, self.limit)
        relay = server.Relay(
            "127.0.0.1", 0, upstream.Upstream(address, store, folder, self.log.append, limits), self.log.append
        )
        self.begin(relay)
        self.store = store
        self.relay = relay
        return relay

    def begin(self, one: Any) -> None:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        self.running.append(one)

    def end(self, one: Any) -> None:
        self.running.remove(one)
        one.shutdown()
        one.server_close()

    def faults(self, **faults: Any) -> None:
        with open(os.path.join(self.images, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({name: fault for name, fault in faults.items() if fault}, file)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.relay.server_address[1], timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def talk(self, text: bytes) -> bytes:
        """Say something else than a browser would."""
        address = ("127.0.0.1", self.relay.server_address[1])
        with contextlib.closing(socket.create_connection(address, 20)) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(text)
            heard = b""
            with contextlib.suppress(OSError):
                for piece in iter(lambda: connection.recv(65536), b""):
                    heard += piece
            return heard

    def content(self, name: str) -> bytes:
        with open(os.path.join(self.images, name), "rb") as file:
            return file.read()

    def chunks(self) -> List[str]:
        return [
            os.path.join(folder, name)
            for folder, _folders, names in os.walk(os.path.join(self.folder, "cache", "chunks"))
            for name in names
        ]


@pytest.fixture
def site(tmp_path: Any, published: Published, monkeypatch: Any) -> Iterator[Site]:
    monkeypatch.setattr(upstream, "FRESH", 0.0)
    monkeypatch.setattr(upstream, "DOWN", 0.0)
    site = Site(str(tmp_path), published)
    yield site
    for each in list(site.running):
        site.end(each)


class TestFiles:
    def test_whole(self, site: Site) -> None:
        content = site.content(site.pack.name)
        assert len(content) > 4 * CHUNK, "or this shows nothing"
        for _time in range(2):
            answer = site.ask("/" + site.pack.name)
            assert (answer.status, answer.body) == (200, content)
            assert answer.headers["Content-Length"] == str(len(content))
        assert site.left(site.pack.name) == len(content)
        head = site.ask("/" + site.pack.name, "HEAD")
        assert (head.status, head.body) == (200, b"") and head.headers["Content-Length"] == str(len(content))

    @pytest.mark.parametrize(
        "asked", ["0-0", "0-99", "100-", "-17", "262143-262144", "262144-262144", "1-999999999", "300000-1300000"]
    )
    def test_ranges(self, site: Site, asked: str) -> None:
        content = site.content(site.pack.name)
        first, _dash, last = asked.partition("-")
        start = int(first) if first else len(content) - int(last)
        end = min(int(last), len(content) - 1) if first and last else len(content) - 1
        for _time in range(2):
            answer = site.ask("/" + site.pack.name, Range="bytes=" + asked)
            assert (answer.status, answer.body) == (206, content[start : end + 1])
            assert answer.headers["Content-Range"] == "bytes {0}-{1}/{2}".format(start, end, len(content))
        assert site.left(site.pack.name) <= end - start + 1 + 2 * CHUNK, "not more than was asked for, in chunks"

    @pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=0-1,3-4", "lines=1-2", "bytes=x-y", "bytes=--5", "5"])
    def test_what_is_no_single_range_is_the_whole_file(self, site: Site, asked: str) -> None:
        assert site.ask("/" + site.pack.name, Range=asked).body == site.content(site.pack.name)

    @pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=99999999-999999999", "bytes=-0"])
    def test_what_the_file_does_not_have(self, site: Site, asked: str) -> None:
        answer = site.ask("/" + site.pack.name, Range=asked)
        assert answer.status == 416
        assert answer.headers["Content-Range"] == "bytes */{0}".format(site.pack.size)

    def test_a_range_of_another_file(self, site: Site) -> None:
        """What was published anew in between must not be put together with the old."""
        tag = site.ask("/" + site.pack.name, "HEAD").headers["ETag"]
        asked = {"Range": "bytes=0-9", "If-Range": tag}
        assert site.ask("/" + site.pack.name, **asked).status == 206
        assert site.ask("/" + site.pack.name, **dict(asked, **{"If-Range": '"other"'})).status == 200

    def test_everybody_at_once(self, site: Site) -> None:
        """Each byte leaves the publisher once."""
        content = site.content(site.pack.name)
        answers: List[Any] = []
        start = threading.Barrier(12)

        def host(number: int) -> None:
            start.wait()
            if number % 3:
                answers.append(site.ask("/" + site.pack.name).body == content)
            else:
                part = site.ask("/" + site.pack.name, Range="bytes={0}-".format(number * 100000))
                answers.append(part.body == content[number * 100000 :])

        threads = [threading.Thread(target=host, args=(number,)) for number in range(12)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert answers == [True] * 12
        assert site.left(site.pack.name) == len(content)

    def test_a_host_that_hangs_up_costs_the_others_nothing(self, site: Site) -> None:
        address = ("127.0.0.1", site.relay.server_address[1])
        with contextlib.closing(socket.create_connection(address, 5)) as connection:
            connection.sendall("GET /{0} HTTP/1.1\r\n\r\n".format(site.pack.name).encode())
            connection.recv(100)
        assert site.ask("/" + site.pack.name).body == site.content(site.pack.name)
        assert site.left(site.pack.name) == site.pack.size


class TestStatements:
    def test_are_asked_for_again(self, site: Site) -> None:
        site.state("web.channel.json", b"one", b"sig of one")
        assert site.ask("/web.channel.json").body == b"one"
        assert site.ask("/web.channel.json.sig").body == b"sig of one"
        site.state("web.channel.json", b"two", b"sig of two")
        assert site.ask("/web.channel.json").body == b"two"
        for suffix in ("", ".sig"):
            os.unlink(os.path.join(site.images, "web.channel.json" + suffix))
        assert site.ask("/web.channel.json").status == site.ask("/web.channel.json.sig").status == 404

    def test_of_one_moment(self, site: Site, monkeypatch: Any) -> None:
        """File and signature belong together, although they are asked for one after the other; and a crowd is one."""
        monkeypatch.setattr(upstream, "FRESH", 60.0)
        site.state("web.channel.json", b"one", b"sig of one")
        for _host in range(50):
            assert site.ask("/web.channel.json").body == b"one"
            site.state("web.channel.json", b"two", b"sig of two")
            assert site.ask("/web.channel.json.sig").body == b"sig of one"
        assert site.left("web.channel.json") == 3

    def test_the_last_ones_where_the_publisher_is_gone(self, site: Site) -> None:
        site.state("web.channel.json", b"one", b"sig of one")
        assert "Nanozfs-Relay" not in site.ask("/web.channel.json").headers
        site.ask("/" + site.pack.name, Range="bytes=0-9")
        site.end(site.origin)
        for relay in (site.relay, site.another()):  # also after a restart
            site.relay = relay
            answer = site.ask("/web.channel.json")
            assert (answer.status, answer.body) == (200, b"one") and "old" in answer.headers["Nanozfs-Relay"]
            assert site.ask("/web.channel.json.sig").body == b"sig of one"
            assert site.ask("/" + site.pack.name, Range="bytes=0-9").body == site.content(site.pack.name)[:10]
        assert any("served as it was before" in each for each in site.log)

    def test_nothing_is_known_and_the_publisher_is_gone(self, site: Site, monkeypatch: Any) -> None:
        """A crowd does not wait one after the other for what does not answer."""
        monkeypatch.setattr(upstream, "DOWN", 60.0)
        asked: List[str] = []

        def fetch(repository: Any, name: str) -> Any:
            asked.append(name)
            raise SourceError("it does not answer")

        monkeypatch.setattr(upstream.Upstream, "_fetch", staticmethod(fetch))
        for name in ("index.json", "web.channel.json", site.pack.name):
            assert site.ask("/" + name).status == 502
        assert asked == ["index.json"]

    def test_what_is_damaged_on_disk(self, site: Site) -> None:
        site.ask("/index.json")
        path = os.path.join(site.folder, "cache", "statements", "index.json")
        site.end(site.origin)
        for content in (b"", b"{}", b"[]", b"\xff", b'{"raw": 3}', b'{"raw": "/", "signature": null}'):
            with open(path, "wb") as file:
                file.write(content)
            site.another()
            assert site.ask("/index.json").status == 502

    def test_without_a_signature(self, site: Site) -> None:
        os.unlink(os.path.join(site.images, "index.json.sig"))
        assert site.ask("/index.json").status == 200 and site.ask("/index.json.sig").status == 404


class TestTrouble:
    def test_the_publisher_dies_in_the_middle(self, site: Site) -> None:
        """The host sees that the answer ended early; what came whole is kept, and only that."""
        content = site.content(site.pack.name)
        site.ask("/" + site.pack.name, Range="bytes=0-{0}".format(3 * CHUNK - 1))
        site.faults(**{site.pack.name: {"cut_after": CHUNK - 1000}})
        with pytest.raises(http.client.IncompleteRead) as caught:
            site.ask("/" + site.pack.name)
        assert caught.value.partial == content[: 3 * CHUNK]
        assert len(site.chunks()) == 3
        site.faults()
        before = len(site.served)
        assert site.ask("/" + site.pack.name).body == content
        again = [offset for name, offset, _length in site.served[before:] if name == site.pack.name]
        assert min(again) == 3 * CHUNK, "only what was missing"

    def test_the_publisher_has_an_error(self, site: Site) -> None:
        site.faults(**{site.pack.name: {"status": 500}})
        answer = site.ask("/" + site.pack.name, Range="bytes=0-99")
        assert answer.status == 502 and b"HTTP 500" in answer.body

    @pytest.mark.parametrize("status, says", [(403, 403), (404, 404), (410, 404)])
    def test_what_the_publisher_refuses(self, site: Site, status: int, says: int) -> None:
        site.faults(**{"index.json": {"status": status}, site.pack.name: {"status": status}})
        assert site.ask("/index.json").status == site.ask("/" + site.pack.name).status == says

    @pytest.mark.parametrize("how", ["flipped", "short", "empty", "gone", "a folder", "a link"])
    def test_a_chunk_that_has_rotted(self, site: Site, how: str, tmp_path: Any) -> None:
        content = site.content(site.pack.name)
        site.ask("/" + site.pack.name)
        path = sorted(site.chunks())[1]
        with open(path, "rb") as file:
            raw = bytearray(file.read())
        os.unlink(path)
        if how in ("flipped", "short", "empty"):
            raw[1000] ^= 1
            with open(path, "wb") as file:
                file.write({"flipped": bytes(raw), "short": bytes(raw[:-1]), "empty": b""}[how])
        elif how == "a folder":
            os.mkdir(path)
        elif how == "a link":
            os.symlink("/etc/passwd", path)
        assert site.ask("/" + site.pack.name).body == content
        assert len(content) < site.left(site.pack.name) <= len(content) + CHUNK

    def test_published_anew_under_the_same_name(self, site: Site, published: Published) -> None:
        site.ask("/" + site.pack.name)
        content = bytes(reversed(site.content(site.pack.name)))
        with open(os.path.join(site.images, site.pack.name), "wb") as file:
            file.write(content)
        said = json.dumps(published.manifest.extra).replace(site.pack.sha256, hashlib.sha256(content).hexdigest())
        site.state(published.manifest.id + ".manifest.json", said.encode())
        site.relay.upstream._statements.clear()  # a minute has passed
        assert site.ask("/" + site.pack.name).body == content

    @pytest.mark.parametrize("kind", ["small", "large"])
    def test_not_what_the_manifest_says(self, site: Site, kind: str) -> None:
        """As in the middle of publishing anew. The hosts see that themselves; it is not kept."""
        name = site.published.manifest.files["windows"].name if kind == "small" else site.pack.name
        path = os.path.join(site.images, name)
        content = bytearray(site.content(name))
        content[7] ^= 1
        with open(path, "wb") as file:
            file.write(content)
        answer = site.ask("/" + name)
        assert answer.status == 502 if kind == "small" else answer.body == content
        until = time.monotonic() + 10
        while site.chunks() and time.monotonic() < until:
            time.sleep(0.02)
        assert site.chunks() == [] and any("not what its manifest says" in each for each in site.log)

    def test_a_bound(self, site: Site) -> None:
        site.limit = 3 * CHUNK + 200
        site.another()
        assert site.ask("/" + site.pack.name).body == site.content(site.pack.name)
        assert 0 < site.store.total <= site.limit
        assert sum(os.path.getsize(each) for each in site.chunks()) == site.store.total

    def test_a_full_disk(self, site: Site, monkeypatch: Any) -> None:
        """It still relays."""

        def full(_self: Store, place: Place, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Store, "write", full)
        assert site.ask("/" + site.pack.name).body == site.content(site.pack.name)
        assert any("No space left" in each for each in site.log)

    def test_restarted(self, site: Site) -> None:
        """What is there counts; what a relay that was killed has left goes; what is none of its own stays."""
        site.ask("/" + site.pack.name)
        chunks = os.path.join(site.folder, "cache", "chunks")
        left = os.path.dirname(site.chunks()[0]) + "/7.1234.part"
        for path in (left, os.path.join(chunks, "mine"), os.path.dirname(left) + "/notes"):
            with open(path, "w", encoding="ascii") as file:
                file.write("x")
        site.another()
        assert not os.path.exists(left) and os.path.exists(os.path.join(chunks, "mine"))
        before = site.left(site.pack.name)
        assert site.ask("/" + site.pack.name).body == site.content(site.pack.name)
        assert site.left(site.pack.name) == before

    def test_the_oldest_goes_first(self, tmp_path: Any) -> None:
        store = Store(str(tmp_path), 3 * (1000 + 32))
        places = [Place("a" * 64 + ".pack.1", number) for number in range(4)]
        for place in places[:3]:
            store.write(place, bytes(1000))
        assert store.read(places[0]) == bytes(1000)
        store.write(places[3], bytes(1000))
        assert [store.has(each) for each in places] == [True, False, True, True]
        store.drop(places[0].key)
        assert store.total == 0 and os.listdir(str(tmp_path / "chunks")) == []


class TestStrangers:
    """It is no way to anywhere else, and nobody can make it do much."""

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/../../../etc/passwd",
            "/%2e%2e%2fetc%2fpasswd",
            "/..%2f..%2fetc/passwd.channel.json",
            "//etc/passwd",
            "http://example.org/index.json",
            "/http://example.org/index.json",
            "/index.json?x=1",
            "/.faults.json",
            "/.lock",
            "/index.json.sig.sig",
            "/" + "a" * 64 + ".pack",
            "/" + "a" * 64 + ".manifest.json",
            "/" + "A" * 64 + ".pack",
            "/" + "a" * 300 + ".channel.json",
            "/index.json%00.channel.json",
            "/chunks/x",
            "/%ff%fe.channel.json",
            "/index.json/",
            "/./index.json",
            "/index.json%0a",
            "/web.channel.json%0a",
        ],
    )
    def test_paths(self, site: Site, path: str) -> None:
        answer = site.ask(path)
        assert answer.status == 404 and b"root:" not in answer.body

    def test_only_what_the_manifest_names(self, site: Site) -> None:
        """A file may lie beside the images and be none of them."""
        name = site.published.manifest.id + ".secret"
        with open(os.path.join(site.images, name), "w", encoding="ascii") as file:
            file.write("secret")
        assert site.ask("/" + name).status == 404 and site.left(name) == 0

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "PROPFIND", "get"])
    def test_methods(self, site: Site, method: str) -> None:
        assert site.talk("{0} /index.json HTTP/1.1\r\n\r\n".format(method).encode()).split(b" ")[1] == b"501"

    @pytest.mark.parametrize(
        "text",
        [
            b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
            b"\xff\x00" * 1000 + b"\n\n",
        ],
    )
    def test_what_is_no_request(self, site: Site, monkeypatch: Any, text: bytes) -> None:
        monkeypatch.setattr(server, "ASKING", 0.5)
        site.talk(text)
        assert site.ask("/index.json").status == 200

    def test_a_host_that_never_says_what_it_wants(self, site: Site, monkeypatch: Any) -> None:
        monkeypatch.setattr(server, "ASKING", 0.5)
        address = ("127.0.0.1", site.relay.server_address[1])
        with contextlib.closing(socket.create_connection(address, 10)) as connection:
            began = time.monotonic()
            connection.sendall(b"GET /index.json HT")
            assert connection.recv(100) == b"" and time.monotonic() - began < 5

    def test_too_many(self, site: Site, monkeypatch: Any) -> None:
        """Others are turned away, and served as soon as there is room."""
        monkeypatch.setattr(server, "MOST", 2)
        site.another()
        address = ("127.0.0.1", site.relay.server_address[1])
        held = [socket.create_connection(address, 5) for _number in range(2)]
        try:
            until = time.monotonic() + 10
            while site.talk(b"GET /index.json HTTP/1.1\r\n\r\n") and time.monotonic() < until:
                time.sleep(0.05)
            assert site.talk(b"GET /index.json HTTP/1.1\r\n\r\n") == b""
        finally:
            for each in held:
                each.close()
        assert any("turned away" in each for each in site.log)
        until = time.monotonic() + 10
        while not site.talk(b"GET /index.json HTTP/1.1\r\n\r\n"):
            assert time.monotonic() < until
            time.sleep(0.05)

    def test_what_is_logged_is_for_a_terminal(self, site: Site) -> None:
        said: List[str] = []
        terms = server.Terms("http://127.0.0.1:1/", "127.0.0.1", 0, os.path.join(site.folder, "other"), 1 << 20)
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        server.run(terms, said.append)
        assert len(said) == 2 and said[0].startswith("serves http://127.0.0.1:1/ at") and said[1].startswith("ends")

    @pytest.mark.parametrize(
        "header, size, expected",
        [
            (None, 10, None),
            ("bytes=0-", 10, (0, 9)),
            ("bytes=-100", 10, (0, 9)),
            ("bytes=9-9", 10, (9, 9)),
            ("bytes=" + "9" * 18 + "-", 10, Unsatisfiable),
            ("bytes=" + "9" * 30 + "-", 10, None),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-5", 0, Unsatisfiable),
            ("bytes=\u0661-\u0662", 10, None),
        ],
    )
    def test_range_of(self, header: Optional[str], size: int, expected: Any) -> None:
        if expected is Unsatisfiable:
            with pytest.raises(Unsatisfiable):
                range_of(header, size)
        else:
            assert range_of(header, size) == expected

    def test_an_address_that_is_taken(self, site: Site) -> None:
        with pytest.raises(FleetError, match="cannot listen"):
            server.Relay("127.0.0.1", site.relay.server_address[1], site.relay.upstream, print)

    def test_a_folder_that_cannot_be(self, tmp_path: Any) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(FleetError, match="cannot be used"):
            Store(str(tmp_path / "file" / "cache"), 1)


class TestCommand:
    def test_runs_and_ends(self, site: Site) -> None:
        """As rc.d starts it, with the address of the repository where no list of processes shows it."""
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = os.path.join(site.folder, "command")
        argv = [sys.executable, "-m", "ansible_collections.nanozfs.fleet.plugins.plugin_utils._agent_program", "relay"]
        argv += ["--address", "127.0.0.1", "--port", str(port), "--folder", folder, "--size", "16"]
        address = "http://joe:secret@127.0.0.1:{0}/".format(site.origin.server_address[1])
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), **{cli.UPSTREAM: address})
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "serves http://127.0.0.1:" in first and "secret" not in first
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/" + site.pack.name)
            assert connection.getresponse().read() == site.content(site.pack.name)
            process.terminate()
            rest = process.stdout.read()
        assert process.returncode == 0
        told = re.findall(r"{0}: (\d+) bytes in".format(site.pack.name), rest)
        assert sum(map(int, told)) == site.pack.size and "bytes were fetched" in rest

    @pytest.mark.parametrize(
        "given", [["--port", "0"], ["--port", "65536"], ["--port", "x"], ["--size", "0"], ["--rate", "-1"]]
    )
    def test_wrong_usage(self, given: List[str]) -> None:
        with pytest.raises(SystemExit):
            cli.parser().parse_args(["relay", "--upstream", "http://x/", *given])

    def test_without_a_repository(self, monkeypatch: Any) -> None:
        monkeypatch.delenv(cli.UPSTREAM, raising=False)
        with pytest.raises(SystemExit):
            cli.parser().parse_args(["relay"])


_RC_SUBR = """
warn() { echo "WARNING: $*" >&2; }
load_rc_config() { . "$RC_CONF"; }
run_rc_command() {
    [ -z "$nanozfs_relay_flags$nanozfs_relay_user" ] || exit 9
    $start_precmd || exit 1
    eval "printf '%s\\n' $command $command_args"
    echo "$NANOZFS_RELAY_UPSTREAM"
}
"""


class TestService:
    """rc.d/nanozfs_relay, with a stand-in for rc.subr(8)."""

    @pytest.fixture
    def start(self, tmp_path: Any) -> Callable[..., subprocess.CompletedProcess]:
        path = os.path.join(TOP, "roles", "image", "files", "root", "etc", "rc.d", "nanozfs_relay")
        with open(path, encoding="utf-8") as file:
            script = file.read().replace("/etc/rc.subr", str(tmp_path / "rc.subr"))
        (tmp_path / "rc.subr").write_text(_RC_SUBR)
        (tmp_path / "nanozfs_relay").write_text(script)
        (tmp_path / "kenv").write_text('#!/bin/sh\necho "$STATE"\n')
        (tmp_path / "install").write_text('#!/bin/sh\necho "$*" >&2\n')
        for name in ("kenv", "install"):
            (tmp_path / name).chmod(0o755)

        def start(state: str = "normal", **settings: str) -> subprocess.CompletedProcess:
            lines = ["{0}='{1}'\n".format(name, value) for name, value in settings.items()]
            (tmp_path / "rc.conf").write_text("".join(lines))
            environment = {"RC_CONF": str(tmp_path / "rc.conf"), "STATE": state}
            environment["PATH"] = "{0}:{1}".format(tmp_path, os.environ["PATH"])
            argv = ["/bin/sh", str(tmp_path / "nanozfs_relay"), "start"]
            return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)

        return start

    def test_starts(self, start: Any) -> None:
        done = start(
            nanozfs_relay_upstream="http://joe:secret@images/web",
            nanozfs_relay_port="80",
            nanozfs_relay_flags="--rate 50000",
        )
        lines = done.stdout.splitlines()
        assert lines[0] == "/usr/sbin/daemon" and lines[-1] == "http://joe:secret@images/web"
        words = lines[lines.index("/usr/local/sbin/nanozfs") + 1 : -1]
        given = cli.parser().parse_args([*words, "--upstream", lines[-1]])
        assert (given.command, given.port, given.rate, given.size) == ("relay", 80, 50000, 4096)
        assert not any("secret" in word for word in words), "everybody can see arguments"
        assert lines[lines.index("-u") + 1] == "www"
        assert "-d -o www -m 0755 /var/nanozfs-relay" in done.stderr

    def test_not_without_the_pool(self, start: Any) -> None:
        done = start("recovery", nanozfs_relay_upstream="http://images/web")
        assert done.returncode == 1 and "has not got its pool" in done.stderr and done.stdout == ""

    def test_not_without_a_repository(self, start: Any) -> None:
        assert "nanozfs_relay_upstream is not set" in start().stderr


def test_a_file_of_nothing(site: Site) -> None:
    """No image has one, and nothing comes of it."""
    artefact = Artefact(site.pack.name, 0, "0" * 64)
    assert list(site.relay.upstream.read(artefact, 0, 0)) == []
