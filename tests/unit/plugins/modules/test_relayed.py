# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with a relay: one is enough for the line, none is needed, and one that lies gets nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._image import manifest, relayed
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    HttpRepository,
    Limits,
    Repository,
    SourceError,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay import server, upstream
from ansible_collections.nanozfs.fleet.plugins.module_utils._relay.store import Store
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import release
from ansible_collections.nanozfs.fleet.tests.lab import web
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.harness import MIB, ModuleHost, WindowDevice

#: the files that an upgrade from 1.0 to 1.1 reads, by what their names end with
KINDS = ("index.json", ".manifest.json", ".manifest.json.sig", ".win", ".delta.map", ".delta")


def slice_bytes(host: ModuleHost) -> bytes:
    return WindowDevice(host.machine, "/dev/gpt/nz-b", False).read(0, 2 * MIB)


class Site:
    """A publisher, what the relay is, and hosts that are told of both."""

    def __init__(self, images: Images, folder: str) -> None:
        self.images = images
        self.folder = folder
        self.repository = images.copy(folder)
        self.running: List[Any] = []
        self.address, self.served = self.serve(self.repository)

    def begin(self, one: Any) -> str:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        self.running.append(one)
        return "http://127.0.0.1:{0}/".format(one.server_address[1])

    def serve(self, folder: str) -> Tuple[str, List[Tuple[str, int, int]]]:
        """A web server; its address, and what leaves it."""
        one = web.server(folder, "127.0.0.1", 0)
        return self.begin(one), one.RequestHandlerClass.args[1].served  # type: ignore[attr-defined]

    def relay(self) -> str:
        """The address of a real relay."""
        folder = os.path.join(self.folder, "cache")
        above = upstream.Upstream(self.address, Store(folder, 1 << 30), folder, lambda _text: None, Limits())
        return self.begin(server.Relay("127.0.0.1", 0, above, lambda _text: None))

    def copy(self) -> str:
        """A folder that somebody serves as if it were the repository."""
        target = os.path.join(self.folder, "copy")
        shutil.copytree(self.repository, target)
        return target

    def left(self) -> int:
        """How many bytes have left the publisher."""
        return sum(length for _name, _offset, length in self.served)

    def wanted(self, relay: str, version: str = "1.1", **more: Any) -> Dict[str, Any]:
        known = {"repository": self.address, "relay": relay, "image": version, "retries": 1, "timeout": 5}
        return dict(known, allowed_signers=self.images.signers, revoked_keys="/nonexistent", **more)

    def end(self) -> None:
        for each in self.running:
            each.shutdown()
            each.server_close()


@pytest.fixture
def site(images: Images, tmp_path: Any) -> Iterator[Site]:
    site = Site(images, str(tmp_path))
    yield site
    site.end()


class TestRelay:
    @pytest.mark.parametrize("deltas", [True, False])
    def test_once_for_all(self, host: ModuleHost, site: Site, images: Images, deltas: bool) -> None:
        """The second host costs the line nothing but the few statements."""
        relay = site.relay()
        first = host.ok("image_write", **site.wanted(relay, deltas=deltas))
        assert slice_bytes(host) == images.content("1.1")
        assert first["relayed"] == first["fetched"] and first["predicted"]["relay"] == relay
        assert first["notes"] == []
        line = site.left()
        with host.open_device("/dev/gpt/nz-b", True) as device:
            device.write(0, b"\xff" * 2 * MIB)
        second = host.ok("image_write", **site.wanted(relay, deltas=deltas))
        assert slice_bytes(host) == images.content("1.1")
        assert second["relayed"] == second["fetched"] == first["fetched"]
        names = {name for name, _offset, _length in site.served}
        payloads = [each for each in site.served if each[0].endswith((".pack", ".delta", ".win", ".map"))]
        assert len(payloads) == len(set(payloads)) and names, "nothing of an image left twice"
        assert site.left() - line < 10000

    def test_the_plan_says_so(self, pooled: ModuleHost, site: Site) -> None:
        relay = site.relay()
        looked = pooled.ok("upgrade_info", min_free=MIB, **site.wanted(relay))
        assert ", from the relay {0}".format(relay) in looked["says"] and looked["warnings"] == []
        without = dict(site.wanted(relay), relay=None)
        assert "relay" not in pooled.ok("upgrade_info", min_free=MIB, **without)["says"]

    def test_a_repository_that_is_a_folder_has_none(self, host: ModuleHost, site: Site) -> None:
        wanted = dict(site.wanted("http://127.0.0.1:1/"), repository=site.repository)
        assert host.ok("image_write", **wanted)["notes"] == []

    @pytest.mark.parametrize("relay", ["ftp://x/", "/srv/images", "file:///srv/images", "http://[::1/", "gopher:"])
    def test_what_is_no_address(self, host: ModuleHost, site: Site, relay: str) -> None:
        assert "is no address of a relay" in host.refused("image_write", **site.wanted(relay))


class TestTrouble:
    """Whatever the relay does, the image is right, as a delta, and what happened is said."""

    def check(self, host: ModuleHost, site: Site, relay: str, **more: Any) -> Dict[str, Any]:
        result = host.ok("image_write", **site.wanted(relay, **more))
        assert slice_bytes(host) == site.images.content("1.1")
        assert result["predicted"]["kind"] == "delta" and not any("pack" in each for each in result["notes"])
        return result

    def test_it_is_off(self, host: ModuleHost, site: Site) -> None:
        result = self.check(host, site, "http://127.0.0.1:1/")
        assert result["relayed"] == 0 and result["predicted"]["relay"] is None
        assert any(
            "http://127.0.0.1:1/ was not used any more: it cannot be reached" in each for each in result["notes"]
        )

    def test_it_does_not_answer(self, host: ModuleHost, site: Site, monkeypatch: Any) -> None:
        """Where packets are lost nobody waits as long as for a repository."""
        asked: List[float] = []

        def lost(address: Any, timeout: float) -> Any:
            asked.append(timeout)
            raise TimeoutError("timed out")

        monkeypatch.setattr("socket.create_connection", lost)
        near = relayed.RelayedRepository("http://10.0.0.1/", Repository("http://x/"), Limits())
        assert near._near() is None and near._near() is None and asked == [relayed.NEAR]
        assert "timed out" in near.notes[0]

    @pytest.mark.parametrize("status", [404, 403, 500, 503])
    def test_it_has_nothing(self, host: ModuleHost, site: Site, monkeypatch: Any, status: int) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        folder, fault = site.copy(), {"status": status}
        with open(os.path.join(folder, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({name: dict(fault) for name in [*os.listdir(folder), "web.channel.json"]}, file)
        result = self.check(host, site, site.serve(folder)[0])
        assert result["relayed"] == 0 and bool(result["notes"]) is (status >= 500)

    @pytest.mark.parametrize("fault", [{"cut_after": 1000}, {"ignore_range": True}, {"lie": 10}])
    @pytest.mark.parametrize("end", [".delta", ".win"])
    def test_it_breaks_off(
        self, host: ModuleHost, site: Site, monkeypatch: Any, fault: Dict[str, Any], end: str
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        folder = site.copy()
        names = [name for name in os.listdir(folder) if name.endswith(end)]
        with open(os.path.join(folder, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({name: dict(fault) for name in names}, file)
        self.check(host, site, site.serve(folder)[0])

    @pytest.mark.parametrize("end", KINDS)
    def test_it_lies(self, host: ModuleHost, site: Site, end: str) -> None:
        """One kind of file is wrong: what is wrong is had from the repository, and nothing else."""
        folder = site.copy()
        for name in os.listdir(folder):
            if name.endswith(end):
                with open(os.path.join(folder, name), "r+b") as file:
                    raw = bytearray(file.read())
                    raw[len(raw) // 2] ^= 1
                    file.seek(0)
                    file.write(raw)
        result = self.check(host, site, site.serve(folder)[0])
        assert 0 < result["relayed"] < result["fetched"]

    def test_it_lies_about_everything(self, host: ModuleHost, site: Site) -> None:
        """It is not asked any more after a few lies, and its address is said."""
        folder = site.copy()
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "r+b") as file:
                file.write(b"{")
        address = site.serve(folder)[0]
        result = self.check(host, site, address)
        assert any("delivered wrong bytes 3 times" in each and address in each for each in result["notes"])

    def test_it_offers_other_images(self, host: ModuleHost, site: Site) -> None:
        """What is signed as well: 1.2 in place of 1.1."""
        folder = site.copy()
        ids = {version: built["id"] for version, built in site.images.built.items()}
        path = os.path.join(folder, "index.json")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(ids["1.1"], ids["1.2"]))
        assert self.check(host, site, site.serve(folder)[0])["image"]["version"] == "1.1"

    def test_it_is_behind(self, host: ModuleHost, site: Site) -> None:
        """An image that it has not heard of yet."""
        folder = site.copy()
        with open(os.path.join(folder, "index.json"), "w", encoding="utf-8") as file:
            file.write('{"format": 1, "images": []}')
        self.check(host, site, site.serve(folder)[0])

    def test_a_wrong_pack(self, host: ModuleHost, site: Site, images: Images) -> None:
        """Of many frames: each that is wrong is had from the repository, until it is not asked any more."""
        folder = site.copy()
        for name in os.listdir(folder):
            if name.endswith(".pack"):
                with open(os.path.join(folder, name), "r+b") as file:
                    size = os.path.getsize(file.name)
                    file.write(bytes(size))
        for connections in (1, 2):
            with host.open_device("/dev/gpt/nz-b", True) as device:
                device.write(0, b"\xff" * 2 * MIB)
            wanted = site.wanted(site.serve(folder)[0], deltas=False, connections=connections)
            result = host.ok("image_write", **wanted)
            assert slice_bytes(host) == images.content("1.1") and not any(
                "came out" in each for each in result["notes"]
            )

    def test_it_keeps_the_list_of_bad_images_to_itself(self, host: ModuleHost, site: Site, images: Images) -> None:
        """Only the repository can say that there is no list."""
        address = site.serve(site.copy())[0]
        terms = images.terms(output=site.repository, bad=(("1.1", "broken"),))
        release.run(terms, release.Order(name="web"), images.runner(), lambda _text: None)
        assert "bad images (broken)" in host.refused("image_write", **site.wanted(address))

    def test_names_and_passwords_are_not_for_it(self, host: ModuleHost, site: Site, images: Images) -> None:
        """Those of the repository's address; and nothing that a relay says leads to another server."""
        asked: List[Any] = []

        class Curious(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(dict(self.headers))
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.2:1/stolen")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        relay = site.begin(ThreadingHTTPServer(("127.0.0.1", 0), Curious))
        wanted = dict(site.wanted(relay), repository=site.address.replace("http://", "http://joe:secret@"))
        result = host.ok("image_write", **wanted)
        assert asked and not any("Authorization" in each for each in asked)
        assert slice_bytes(host) == images.content("1.1") and any("redirects" in each for each in result["notes"])


class Dripping(BaseHTTPRequestHandler):
    """A relay that gives a byte now and then: of the parts of images, or already of the head of its answer."""

    protocol_version = "HTTP/1.1"
    folder = ""
    head = False
    sent = 0

    def do_GET(self) -> None:
        path = os.path.join(self.folder, self.path.lstrip("/"))
        if not os.path.exists(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            raw = file.read()
        part, status = self.headers.get("Range"), 200
        if part:
            first, last = part[len("bytes=") :].split("-")
            status, size, raw = 206, len(raw), raw[int(first) : int(last) + 1]
        with contextlib.suppress(OSError):
            if part and self.head:
                self.drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000)
            self.send_response(status)
            if part:
                self.send_header("Content-Range", "bytes {0}-{1}/{2}".format(first, last, size))
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if part:
                self.drip(raw)
            self.wfile.write(raw)

    def drip(self, raw: bytes) -> None:
        for byte in raw:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            type(self).sent += 1
            time.sleep(0.2)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class TestSlow:
    """It is never silent, and a write would never be at its end."""

    @pytest.mark.parametrize("head", [False, True])
    @pytest.mark.parametrize("deltas", [False, True])
    def test_it_drips(self, host: ModuleHost, site: Site, images: Images, head: bool, deltas: bool) -> None:
        kind = type("Kind", (Dripping,), {"folder": site.repository, "head": head, "sent": 0})
        relay = site.begin(ThreadingHTTPServer(("127.0.0.1", 0), kind))
        began = time.monotonic()
        result = host.ok("image_write", **site.wanted(relay, deadline=8, deltas=deltas))
        took = time.monotonic() - began
        assert slice_bytes(host) == images.content("1.1") and kind.sent > 3  # type: ignore[attr-defined]
        assert any("was not used any more" in each for each in result["notes"]) and took < 8
        if not head:
            assert any("comes too slowly" in each for each in result["notes"])

    def test_its_share_of_the_time(self) -> None:
        """Of an hour half is for the repository, and a relay that waits for the line is waited for."""
        of = relayed._of_relay(Limits())
        assert (of.deadline, of.timeout, of.retries) == (1800, relayed.PATIENT, 1)
        assert relayed._of_relay(Limits(timeout=90)).timeout == 90
        assert relayed._of_relay(Limits(deadline=40)).timeout == 10

    def test_the_end_of_its_time_is_not_the_end_of_a_file(self, site: Site) -> None:
        """An answer without a length, which the guard ends, is not taken for whole."""

        class Endless(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        self.wfile.write(b"x" * 100)
                        self.wfile.flush()
                        time.sleep(0.05)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        address = site.begin(ThreadingHTTPServer(("127.0.0.1", 0), Endless))
        with pytest.raises(SourceError, match="was not complete after 1 s"):
            HttpRepository(address, Limits(deadline=0.6)).fetch("index.json", 1 << 20)


class TestWhatIsNew:
    """What a relay has may be old, and as well signed as what is new: the repository is asked first."""

    def say(self, site: Site, **terms: Any) -> None:
        given = site.images.terms(output=site.repository, **terms)
        release.run(given, release.Order(name="web"), site.images.runner(), lambda _text: None)

    def old(self, site: Site, **terms: Any) -> str:
        """A relay that has what was said, and not what is said after."""
        self.say(site, **terms)
        return site.serve(site.copy())[0]

    def test_an_old_channel_hides_no_bad_image(self, host: ModuleHost, site: Site) -> None:
        relay = self.old(site, rings=(("stable", "1.1"),))
        self.say(site, bad=(("1.1", "broken"),), rings=(("stable", "1.2"),))
        assert "bad images (broken)" in host.refused("image_write", **site.wanted(relay))

    def test_an_old_channel_hides_no_ring(self, host: ModuleHost, site: Site) -> None:
        relay = self.old(site, rings=(("stable", "1.1"),))
        self.say(site, rings=(("stable", "1.2"), ("canary", "1.2")))
        for ring in ("stable", "canary"):
            result = host.ok("image_write", name="web", **site.wanted(relay, "ring:" + ring))
            assert result["image"]["version"] == "1.2" and result["notes"] == []

    def test_an_old_index_hides_no_image(self, host: ModuleHost, site: Site, images: Images) -> None:
        """The folder of the relay ends at 1.1."""
        self.say(site, rings=(("stable", "1.1"),))
        folder = site.copy()
        path = os.path.join(folder, "index.json")
        with open(path, encoding="utf-8") as file:
            index = json.load(file)
        index["images"] = [each for each in index["images"] if each["version"] != "1.2"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(index, file)
        os.remove(path + ".sig")
        subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", images.key, "-n", manifest.NAMESPACE, path],
            check=True,
            capture_output=True,
        )
        wanted = site.wanted(site.serve(folder)[0], "latest")
        assert host.ok("image_write", name="web", **wanted)["image"]["version"] == "1.2"

    def test_an_expired_channel_blocks_nothing(self, host: ModuleHost, site: Site, monkeypatch: Any) -> None:
        now = time.time()
        relay = self.old(site, rings=(("stable", "1.1"),), channel_not_after=int(now) + 3600)
        self.say(site, rings=(("stable", "1.1"),), channel_not_after=int(now) + 99999)
        monkeypatch.setattr("time.time", lambda: now + 7200)
        assert host.ok("image_write", **site.wanted(relay))["relayed"] > 0

    @pytest.mark.parametrize("end", ["", ".sig"])
    def test_a_broken_channel_blocks_nothing(self, host: ModuleHost, site: Site, end: str) -> None:
        self.say(site, rings=(("stable", "1.1"),))
        folder = site.copy()
        with open(os.path.join(folder, "web.channel.json" + end), "wb") as file:
            file.write(b"{")
        wanted = site.wanted(site.serve(folder)[0], "ring:stable")
        assert host.ok("image_write", name="web", **wanted)["notes"] == []

    @pytest.mark.parametrize("status", [500, 503])
    def test_the_repository_does_not_answer(self, host: ModuleHost, site: Site, monkeypatch: Any, status: int) -> None:
        """Then what the relay has counts, and is said; also that an image is bad."""
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        relay = self.old(site, bad=(("1.2", "broken"),), rings=(("stable", "1.1"),))
        faults = {name: {"status": status} for name in os.listdir(site.repository)}
        with open(os.path.join(site.repository, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump(faults, file)
        result = host.ok("image_write", name="web", **site.wanted(relay, "ring:stable"))
        assert result["image"]["version"] == "1.1"
        assert any("what the relay says in web.channel.json was taken" in each for each in result["notes"])
        assert "bad images (broken)" in host.refused("image_write", **site.wanted(relay, "1.2"))

    def test_the_repository_does_not_tell(self, host: ModuleHost, site: Site) -> None:
        """It answers: nobody else is asked."""
        relay = self.old(site, rings=(("stable", "1.1"),))
        with open(os.path.join(site.repository, ".faults.json"), "w", encoding="utf-8") as file:
            json.dump({"web.channel.json": {"status": 403}}, file)
        assert "cannot be told" in host.refused("image_write", **site.wanted(relay))
