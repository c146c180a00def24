# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the list of known holes comes from: a bad one is an error, and never "no known holes"."""

from __future__ import annotations

import hashlib
import lzma
import os
import time
import urllib.error
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit import source, vuxml
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.source import FRESH, Loaded, Terms, Unavailable
from ansible_collections.nanozfs.fleet.tests.unit.vuxmls import document, package, vuln

#: 2026-11-30 00:00 UTC
NOW = 1795996800.0
URL = "https://vuxml.example.org/vuln.xml.xz"


def listed(count: int = 20, entered: str = "2026-11-20") -> bytes:
    return document(*(vuln(number, package(["a"], "lt 2"), entered=entered) for number in range(count)))


class Server:
    """What opens a URL: answers with ``content``, or fails with ``error``.

    ``cut``: how many bytes of an answer do not come. ``asked``: how often it was.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.error: Optional[Exception] = None
        self.cut = self.asked = 0

    def __call__(self, url: str, **_options: Any) -> Any:
        assert url == URL
        self.asked += 1
        if self.error is not None:
            raise self.error
        outer = self

        class Answer:
            def __init__(self) -> None:
                self.headers: Dict[str, str] = {"Content-Length": str(len(outer.content))}
                self.rest = outer.content[: len(outer.content) - outer.cut]

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_what: Any) -> None:
                pass

            def read(self, count: int) -> bytes:
                piece, self.rest = self.rest[:count], self.rest[count:]
                return piece

        return Answer()


class Place:
    """A cache, a server, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(lzma.compress(listed()))
        self.now = NOW
        self.said: List[str] = []

    def load(self, where: Any = URL, **terms: Any) -> Loaded:
        order = Terms(where=where, cache=str(self.folder / "cache"), **terms)
        return source.load(order, lambda _name: True, self.now, self.said.append, self.server)

    def file(self, content: bytes, name: str = "vuln.xml") -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file(place: Place) -> None:
    found = place.load(place.file(listed()))
    assert found.database.count == 20 and found.fetched is None and place.server.asked == 0
    words = found.words(source._day(NOW))
    assert words.startswith("20 entries of ") and words.endswith("the newest of 2026-11-20, 10 days ago")


def test_the_copy_of_a_server(place: Place) -> None:
    assert place.load().fetched == NOW and place.server.asked == 1
    place.now += FRESH - 1
    assert place.load().fetched == NOW and place.server.asked == 1, "it is used for half a day"
    place.now += 2
    assert place.load().fetched == place.now and place.server.asked == 2
    assert place.load(fetch=False).database.count == 20 and place.server.asked == 2
    assert place.said == ["fetching " + URL] * 2


def test_a_clock_that_went_back_asks_again(place: Place) -> None:
    place.load()
    place.now -= 86400
    assert place.load().fetched == place.now and place.server.asked == 2


@pytest.mark.parametrize("error", [OSError("no route"), urllib.error.URLError("no name"), TimeoutError("timed out")])
def test_without_a_network(place: Place, error: Exception) -> None:
    place.server.error = error
    with pytest.raises(Unavailable, match="cannot be fetched, and there is no copy of it") as caught:
        place.load()
    assert caught.value.todo and "audit_vuxml=PATH" in caught.value.todo
    with pytest.raises(Unavailable, match="was never fetched"):
        place.load(fetch=False)
    place.server.error = None
    place.load()
    place.server.error = error
    place.now += FRESH + 1
    found = place.load()
    assert found.fetched == NOW and "the copy of last time is used" in found.notes[0]
    place.now += 30 * 86400
    with pytest.raises(Unavailable, match="audit_max_age is 14"):
        place.load()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lzma.compress(listed(entered="2026-11-19")), "older than the list of known holes of before"),
        (lzma.compress(listed(10)), "it has 10 entries, and the one before had 20"),
        (lzma.compress(document()), "has no entries"),
        (lzma.compress(listed())[:-20], "not all of it is there"),
        (lzma.compress(listed()[:-40]), "not all of it is there"),
        (b"<html>not found</html>", "no VuXML"),
        (b"", "damaged"),
    ],
)
def test_a_bad_one_does_not_replace_a_good_one(place: Place, content: bytes, words: str) -> None:
    place.load()
    place.server.content = content
    place.now += FRESH + 1
    with pytest.raises(Unavailable, match=words) as caught:
        place.load()
    assert caught.value.safe and "nothing was found to be sound" in caught.value.safe and caught.value.todo
    assert place.load(fetch=False).database.count == 20
    file = place.file(listed(), "mine.xml")
    assert place.load(file).database.count == 20
    place.file(content, "mine.xml")
    with pytest.raises(Unavailable):
        place.load(file)


def test_older_ones_where_they_are_meant(place: Place) -> None:
    file = place.file(listed())
    place.load(file)
    place.file(listed(entered="2026-11-18"))
    with pytest.raises(Unavailable) as caught:
        place.load(file)
    note = str(caught.value.todo).rpartition(" ")[2]
    os.unlink(note)
    assert place.load(file).database.count == 20


def test_an_answer_that_is_cut_off(place: Place) -> None:
    place.server.cut = 10
    with pytest.raises(Unavailable, match=r"cannot be fetched.*ended after"):
        place.load()
    assert not [name for name in os.listdir(str(place.folder / "cache")) if not name.endswith(".json")]


def test_too_large(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vuxml, "MAX_PACKED", 100)
    with pytest.raises(Unavailable, match="is larger than"):
        place.load()
    with pytest.raises(Unavailable, match="is larger than"):
        place.load(place.file(lzma.compress(listed())))


def test_stale(place: Place) -> None:
    old = place.file(listed(entered="2026-11-01"))
    with pytest.raises(Unavailable, match="of 2026-11-01, 29 days ago, and audit_max_age is 14"):
        place.load(old)
    assert place.load(old, max_age=0).database.count == place.load(old, max_age=29).database.count == 20


def test_a_date_of_the_future_is_not_believed(place: Place) -> None:
    """It would make an old list a fresh one, and every later one a step back."""
    entries = (
        vuln(1, package(["a"], "lt 2"), entered="2026-11-01"),
        vuln(2, package(["a"], "lt 2"), entered="2031-01-01"),
    )
    with pytest.raises(Unavailable, match="of 2026-11-01"):
        place.load(place.file(document(*entries)))


def test_digest(place: Place) -> None:
    file = place.file(listed())
    right = hashlib.sha256(listed()).hexdigest()
    assert place.load({"src": file, "sha256": right}).database.count == 20
    with pytest.raises(Refused, match="another SHA-256"):
        place.load({"src": file, "sha256": "0" * 64})
    with pytest.raises(Refused, match="another SHA-256"):
        place.load({"src": URL, "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("http://vuxml.example.org/vuln.xml.xz", "would come by http"),
        ("/nonexistent/vuln.xml", "there is no file"),
        ({"src": ""}, "is no source"),
        ({"path": "x"}, "is no source"),
        (["x"], "is no source"),
    ],
)
def test_sources_that_are_none(place: Place, where: Any, words: str) -> None:
    with pytest.raises(FleetError, match=words):
        place.load(where)
    assert place.server.asked == 0


def test_a_folder_is_none(place: Place) -> None:
    with pytest.raises(Unavailable, match="there is no file"):
        place.load(str(place.folder))


def test_a_damaged_note_is_no_note(place: Place) -> None:
    file = place.file(listed())
    place.load(file)
    (name,) = os.listdir(str(place.folder / "cache"))
    for content in (b"{", b"[]", b'{"fetched": "x"}', b'{"fetched": 1e999, "newest": 1, "count": 2}', b"\xff" * 9000):
        (place.folder / "cache" / name).write_bytes(content)
        assert place.load(file).database.count == 20


def test_a_cache_that_cannot_be_written(place: Place) -> None:
    place.file(b"", "cache")
    assert place.load(place.file(listed())).database.count == 20
    with pytest.raises(Unavailable, match="cannot be fetched"):
        place.load()


def test_is_there(place: Place) -> None:
    def there(where: Any) -> bool:
        return source.is_there(Terms(where=where, cache=str(place.folder / "cache"), fetch=False))

    assert not there(URL) and not there("") and there(place.file(listed()))
    assert there("/nonexistent"), "it was named, so that it is missing is said"
    place.load()
    assert there(URL)


def test_today_is_a_day() -> None:
    assert abs((source._day(time.time()) - source._day(time.time() - 86400)).days) == 1
