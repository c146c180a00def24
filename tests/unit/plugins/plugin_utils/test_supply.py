# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Getting release sets: digests, the cache, transfers that break off, no network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import inputs
from ansible_collections.nanozfs.fleet.tests.unit.web import Server

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
#: as release/scripts/make-manifest.sh writes it
MANIFEST = 'base.txz\t{0}\t26537\tbase\t"Base system (MANDATORY)"\ton\nkernel.txz\t{1}\t868\tkernel\t"Kernel"\ton\n'


def supplied(tmp_path: Path, *written: inputs.Written, manifest: inputs.Written = "") -> List[inputs.Supplied]:
    said: List[str] = []
    return inputs.supply(written, inputs.Terms(manifest=manifest, cache=str(tmp_path / "cache")), said.append)


def test_fetched_once_and_then_without_a_network(server: Server, tmp_path: Path) -> None:
    server.files = {"/13.2/base.txz": CONTENT, "/13.2/MANIFEST": MANIFEST.format(DIGEST, "0" * 64).encode()}
    url = server.url + "/13.2/"
    manifest = {"src": url + "MANIFEST", "sha256": hashlib.sha256(server.files["/13.2/MANIFEST"]).hexdigest()}
    (first,) = supplied(tmp_path, url + "base.txz", manifest=manifest)
    assert Path(first.path).read_bytes() == CONTENT
    assert (first.name, first.sha256, os.path.basename(first.path)) == ("base.txz", DIGEST, DIGEST)
    server.close()
    (again,) = supplied(tmp_path, url + "base.txz", manifest=manifest)
    assert again == first
    assert server.asked.count("/13.2/base.txz all") == 1


def test_a_manifest_by_http_is_believed_by_its_digest_only(server: Server, tmp_path: Path) -> None:
    """Whoever is on the way could serve both it and the sets."""
    server.files = {"/base.txz": CONTENT, "/MANIFEST": MANIFEST.format(DIGEST, "0" * 64).encode()}
    with pytest.raises(Refused, match="would come by http, so that anybody on the way"):
        supplied(tmp_path, server.url + "/base.txz", manifest=server.url + "/MANIFEST")
    with pytest.raises(Refused, match="has the SHA-256"):
        supplied(tmp_path, server.url + "/base.txz", manifest={"src": server.url + "/MANIFEST", "sha256": "0" * 64})


def test_a_manifest_that_changes_is_told_and_is_there_without_a_network(server: Server, tmp_path: Path) -> None:
    said: List[str] = []
    store = inputs.Store(str(tmp_path), said.append)
    server.files = {"/MANIFEST": MANIFEST.format(DIGEST, "0" * 64).encode()}
    assert store.manifest(server.url + "/MANIFEST") == store.manifest(server.url + "/MANIFEST") and said == []
    server.files = {"/MANIFEST": MANIFEST.format("1" * 64, "0" * 64).encode()}
    assert "1" * 64 in store.manifest(server.url + "/MANIFEST")
    assert said == ["{0}/MANIFEST is another one than last time; that of a release never changes".format(server.url)]
    server.close()
    assert "1" * 64 in store.manifest(server.url + "/MANIFEST") and "the one of last time is used" in said[-1]


def test_goes_on_where_a_transfer_ended(server: Server, tmp_path: Path) -> None:
    server.files, server.cut = {"/a": CONTENT}, 400000
    (found,) = supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert Path(found.path).read_bytes() == CONTENT
    assert server.asked == ["/a all", "/a bytes=400000-", "/a bytes=800000-"]


def test_begins_anew_where_the_server_sends_no_parts(server: Server, tmp_path: Path) -> None:
    server.files, server.ranges = {"/a": CONTENT}, False
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / (DIGEST + ".part")).write_bytes(b"something else")
    (found,) = supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert Path(found.path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"something else", CONTENT + b"too long"])
def test_begins_anew_when_what_is_there_was_something_else(server: Server, tmp_path: Path, part: bytes) -> None:
    server.files = {"/a": CONTENT}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / (DIGEST + ".part")).write_bytes(part)
    (found,) = supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert Path(found.path).read_bytes() == CONTENT
    assert server.asked[-1] == "/a all"


def test_a_damaged_cache_is_noticed(server: Server, tmp_path: Path) -> None:
    server.files = {"/a": CONTENT}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / DIGEST).write_bytes(CONTENT[:-1] + b"x")
    (found,) = supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert Path(found.path).read_bytes() == CONTENT


def test_a_server_that_never_gets_to_the_end(server: Server, tmp_path: Path) -> None:
    server.files, server.cut = {"/a": CONTENT}, 1000
    with pytest.raises(FleetError, match=r"ended after 1000 of \d+ bytes.*the next build goes on from there"):
        supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    server.cut = None
    assert supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert server.asked[-1] == "/a bytes=4000-"


def test_what_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"/a cannot be fetched: .*404.*put the file into the cache as .*" + DIGEST):
        supplied(tmp_path, {"src": server.url + "/a", "sha256": DIGEST})
    assert len(server.asked) == 1


def test_other_content_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.files = {"/base.txz": b"other"}
    (tmp_path / "MANIFEST").write_text(MANIFEST.format(DIGEST, "0" * 64))
    with pytest.raises(Refused, match=r"/base.txz has the SHA-256 d9298a.* and should have " + DIGEST):
        supplied(tmp_path, server.url + "/base.txz", manifest=str(tmp_path / "MANIFEST"))
    assert [name for name in os.listdir(tmp_path / "cache") if not name.endswith(".lock")] == []


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "base.txz").write_bytes(CONTENT)
    (tmp_path / "MANIFEST").write_text(MANIFEST.format(DIGEST, "0" * 64))
    path, manifest = str(tmp_path / "base.txz"), str(tmp_path / "MANIFEST")
    expected = inputs.Supplied(path, "base.txz", DIGEST)
    assert supplied(tmp_path, path, "file://" + path, manifest=manifest) == [expected, expected]
    assert supplied(tmp_path, path) == [expected], "without a MANIFEST a path needs no digest"
    (tmp_path / "MANIFEST").write_text(MANIFEST.format("0" * 64, "0" * 64))
    with pytest.raises(Refused, match="and should have 0000"):
        supplied(tmp_path, path, manifest=manifest)
    assert supplied(tmp_path, {"src": path, "sha256": DIGEST.upper()}, manifest=manifest) == [expected]


@pytest.mark.parametrize(
    "written, said",
    [
        ("http://x.invalid/base.txz", "nothing says what .*there is no digest"),
        ("file:///base.txz", "nothing says what .*there is no digest"),
        ({"src": "a", "sha256": "12"}, "no SHA-256"),
        ({"path": "a"}, "is no source"),
        (7, "is no source"),
        ("http://[bad/base.txz", "is no source"),
    ],
)
def test_refused_before_anything_is_fetched(tmp_path: Path, written: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        supplied(tmp_path, written)


def test_what_the_manifest_does_not_name(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST").write_text(MANIFEST.format(DIGEST, "0" * 64))
    (tmp_path / "packages.txz").write_bytes(b"x")
    with pytest.raises(Refused, match="the MANIFEST does not name it"):
        supplied(tmp_path, str(tmp_path / "packages.txz"), manifest=str(tmp_path / "MANIFEST"))


@pytest.mark.parametrize("text", ["<html>log in first</html>", "base.txz 123"])
def test_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "MANIFEST").write_text(text)
    with pytest.raises(FleetError, match="no MANIFEST of a release"):
        supplied(tmp_path, "/base.txz", manifest=str(tmp_path / "MANIFEST"))
