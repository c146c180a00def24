# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Catalogues of repositories: sums, versions, signatures, and what is read of them."""

from __future__ import annotations

import contextlib
import email.message
import hashlib
import io
import itertools
import json
import os
import sqlite3
import tarfile
import time
import urllib.error
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import packages as build_packages
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied, check_length
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import PackageError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import (
    catalogue,
    digest,
    index,
    repository,
    signature,
    version,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.catalogue import Record, Summary
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.freebsd_keys import FREEBSD
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.repository import Catalogues, Repository
from ansible_collections.nanozfs.fleet.tests.unit.repositories import (
    META,
    Made,
    by_fingerprint,
    by_key,
    by_old_key,
    ec_key,
    packed,
    public,
    record,
    rsa_key,
)
from ansible_collections.nanozfs.fleet.tests.unit.web import Server

ABI = "FreeBSD:13:amd64"


class TestSums:
    """``tests/lib/checksum.c`` of freebsd/pkg has the vectors: of the texts ``foo`` and ``bar`` and a line end."""

    @pytest.mark.parametrize(
        "content, text",
        [
            (b"foo", "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
            (b"foo", "1$2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
            (
                b"foo",
                "2$kgygnaah7wxsgn1wkuic4j78zq8dicmx53picmma99ogmkbd7k5nhuxr5xxemz6yzjab15oor3tjt7nupj8mh764y7kddbne7qw9agn",
            ),
            (b"foo", "5$eoiiccdoiuz9acwfo7fxi6abnrfdtg81mz5ccx7tbg5ny9755g7y"),
            (
                b"bar\n",
                "2$gf8mcrnmm6p6hg6wa9xkfb98zo8g6nxu8z4q7s93boz8hzf5ogrsr4qgpsb7utd6speio3op18ocyrsa9ms8jj15byttiq7ofbih8gn",
            ),
            (b"bar\n", "5$dqi4rzroazhfbq4sd33ektsg3jjsrye7mc37ggsa9bt3mhxsyddy"),
        ],
    )
    def test_vectors_of_pkg(self, tmp_path: Path, content: bytes, text: str) -> None:
        (tmp_path / "file").write_bytes(content)
        found = digest.parse(text)
        assert found.of(str(tmp_path / "file")) == found.value

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2c26",
            "3$" + "0" * 64,
            "2$1$" + "0" * 64,
            "1$" + "g" * 64,
            "0$" + "y" * 51,
            "0$" + "9" * 52,
            "5$" + "l" * 52,
            "A" * 64,
        ],
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(RepositoryError, match="is no sum of a file"):
            digest.parse(text)


class TestVersions:
    """pkg-version(8)."""

    @pytest.mark.parametrize(
        "one, sign, other",
        [
            # tests/frontend/version.sh
            ("1", "<", "2"),
            ("2", ">", "1"),
            ("2", "=", "2"),
            ("2", "<", "1,1"),
            ("1.pl1", "<", "1.alpha1"),
            ("1.alpha1", "<", "1.beta1"),
            ("1.beta1", "<", "1.pre1"),
            ("1.pre1", "<", "1.rc1"),
            ("1.rc1", "<", "1"),
            ("1.pl1", "<", "1.snap1"),
            ("1.snap1", ">", "1.alpha1"),
            # the comments of libpkg/pkg_version.c
            ("1.0:2003.09.16", "=", "1.0.2003.09.16"),
            ("1.0.1:2003.09.16", "<", "1.0:2003.09.16"),
            ("10..1", "=", "10.1"),
            ("10a1b2", "=", "10a1.b2"),
            ("10", "=", "10.0.0"),
            ("10", "<", "10a"),
            ("10a", "<", "10b"),
            ("a", "<", "0"),
            ("10.a", "<", "10"),
            ("10alpha", "=", "10.a"),
            ("10alpha", "<", "10"),
            ("pl11", "<", "alpha3"),
            ("alpha3", "<", "0.1beta2"),
            ("0.1beta2", "=", "0.1.b2"),
            ("0.1.b2", "<", "0.1"),
            ("1.d2", "=", "1.dev2"),
            ("1.dev2", "=", "1.Development2"),
            ("2.*", "<", "2pl1"),
            ("2pl1", "<", "2alpha3"),
            ("2alpha3", "<", "2.9f7"),
            ("2.9f7", "<", "3.*"),
            # revision and epoch
            ("5.20_3", ">", "5.20_2"),
            ("5.20_3", "<", "5.20_12"),
            ("1.0_9,1", "<", "1.0,2"),
            ("1.0_1,1", ">", "1.0,1"),
            ("1.0+2", ">", "1.0"),
            ("1.0+2", "<", "1.0.1"),
            # pkgbase
            ("15.0p9", "<", "15.0p10"),
            ("15.0p10", "<", "15.1"),
            ("15.snap20250901", "<", "15.0"),
            ("15.0.a4.20250901", "<", "15.0.b1.20250902"),
            ("15.0.rc1", "<", "15.0"),
        ],
    )
    def test_order(self, one: str, sign: str, other: str) -> None:
        for first, second, wanted in ((one, other, sign), (other, one, sign.translate(str.maketrans("<>", "><")))):
            assert "<=>"[version.compare(first, second) + 1] == wanted

    @settings(max_examples=200)
    @given(st.lists(st.text("0129ab.+*_,plrc", min_size=1, max_size=8), min_size=3, max_size=3))
    def test_it_is_an_order(self, some: List[str]) -> None:
        for one, two, three in itertools.permutations(some):
            if version.compare(one, two) <= 0 and version.compare(two, three) <= 0:
                assert version.compare(one, three) <= 0


def signed(content: bytes, files: Dict[str, bytes]) -> signature.Signed:
    return signature.Signed(hashlib.sha256(content).hexdigest(), hashlib.blake2b(content).hexdigest(), files)


def pem_file(tmp_path: Path, key: Any) -> str:
    (tmp_path / "repo.pub").write_bytes(public(key))
    return str(tmp_path / "repo.pub")


class TestSignatures:
    """Who may sign."""

    @pytest.mark.parametrize("key", [rsa_key, ec_key])
    def test_fingerprints(self, tmp_path: Path, key: Any) -> None:
        trust = signature.load("fingerprints", Made(tmp_path / "r", key()).trust(tmp_path / "keys"))
        assert signature.check(signed(b"x", by_fingerprint(key(), b"x")), trust, "a") == "ours"
        with pytest.raises(RepositoryError, match="does not fit its content"):
            signature.check(signed(b"y", by_fingerprint(key(), b"x")), trust, "a")
        with pytest.raises(RepositoryError, match="signed by nobody who is trusted"):
            signature.check(signed(b"x", by_fingerprint(rsa_key(1), b"x")), trust, "a")
        with pytest.raises(RepositoryError, match="it has no signature"):
            signature.check(signed(b"x", {}), trust, "a")

    def test_one_of_several_is_enough_and_a_revoked_one_too_much(self, tmp_path: Path) -> None:
        where = Made(tmp_path / "r").trust(tmp_path / "keys")
        both = {**by_fingerprint(rsa_key(), b"x"), **by_fingerprint(rsa_key(1), b"x", "other")}
        trust = signature.load("fingerprints", where)
        assert signature.check(signed(b"x", both), trust, "a") == "ours"
        text = 'function = sha256;\nfingerprint = "{0}";\n'.format(hashlib.sha256(public(rsa_key(1))).hexdigest())
        (tmp_path / "keys" / "revoked" / "lost").write_text(text)
        with pytest.raises(RepositoryError, match=r"key other, which .* says is revoked \(lost\)"):
            signature.check(signed(b"x", both), signature.load("fingerprints", where), "a")

    @pytest.mark.parametrize("end, missing", [(".sig", "key"), (".pub", "signature")])
    def test_a_signature_without_its_key(self, tmp_path: Path, end: str, missing: str) -> None:
        trust = signature.load("fingerprints", Made(tmp_path / "r").trust(tmp_path / "keys"))
        both = by_fingerprint(rsa_key(), b"x")
        with pytest.raises(RepositoryError, match="a has no {0} with the name more".format(missing)):
            signature.check(signed(b"x", {**both, "more" + end: b"1"}), trust, "a")

    @pytest.mark.parametrize("key, members", [(rsa_key, by_key), (ec_key, by_key), (rsa_key, by_old_key)])
    def test_a_public_key(self, tmp_path: Path, key: Any, members: Any) -> None:
        trust = signature.load("pubkey", pem_file(tmp_path, key()))
        assert signature.check(signed(b"x", members(key(), b"x")), trust, "a") == "repo.pub"
        with pytest.raises(RepositoryError, match="is not that of the key"):
            signature.check(signed(b"y", members(key(), b"x")), trust, "a")
        with pytest.raises(RepositoryError, match="has no signature"):
            signature.check(signed(b"x", by_fingerprint(key(), b"x")), trust, "a")

    def test_another_public_key(self, tmp_path: Path) -> None:
        trust = signature.load("pubkey", pem_file(tmp_path, rsa_key(1)))
        with pytest.raises(RepositoryError, match="is not that of the key"):
            signature.check(signed(b"x", by_key(rsa_key(), b"x")), trust, "a")

    @pytest.mark.parametrize("kind", [b"eddsa", b"ecc", b"\xff"])
    def test_kinds_that_cannot_be_judged(self, tmp_path: Path, kind: bytes) -> None:
        trust = signature.load("pubkey", pem_file(tmp_path, rsa_key()))
        with pytest.raises(RepositoryError, match="cannot be judged here: rsa and ecdsa can"):
            signature.check(signed(b"x", {"signature": b"$PKGSIGN:" + kind + b"$1"}), trust, "a")

    def test_a_signature_of_another_kind_than_its_key(self, tmp_path: Path) -> None:
        trust = signature.load("pubkey", pem_file(tmp_path, rsa_key()))
        with pytest.raises(RepositoryError, match="does not fit its key"):
            signature.check(signed(b"x", by_key(ec_key(), b"x")), trust, "a")

    def test_what_is_no_key(self, tmp_path: Path) -> None:
        (tmp_path / "repo.pub").write_text("hello")
        with pytest.raises(RepositoryError, match="its key cannot be loaded"):
            signature.check(
                signed(b"x", by_key(rsa_key(), b"x")), signature.load("pubkey", str(tmp_path / "repo.pub")), "a"
            )
        with pytest.raises(RepositoryError, match="cannot be read"):
            signature.load("pubkey", str(tmp_path / "none"))

    def test_folders_of_fingerprints(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(signature, "FREEBSD_FOLDER", str(tmp_path / "freebsd"))
        assert signature.load("fingerprints", str(tmp_path / "freebsd")).trusted == FREEBSD
        assert all(len(each) == 64 and bytes.fromhex(each) for each in FREEBSD)
        (tmp_path / "freebsd" / "trusted").mkdir(parents=True)
        with pytest.raises(RepositoryError, match="has no fingerprints below trusted"):
            signature.load("fingerprints", str(tmp_path / "freebsd"))
        for text in ('function: "md5"\nfingerprint: "{0}"'.format("0" * 64), 'function: "sha256"\nfingerprint: "00"'):
            (tmp_path / "freebsd" / "trusted" / "x").write_text(text)
            with pytest.raises(RepositoryError, match="is no fingerprint"):
                signature.load("fingerprints", str(tmp_path / "freebsd"))


class TestMeta:
    """meta.conf, which nobody signs."""

    def test_as_pkg_writes_it(self) -> None:
        assert catalogue.parse_meta(META, "x") == catalogue.Meta()
        old = META.replace('data = "data";\n', "").replace("version = 2", "version = 1").replace("tzst", "txz")
        assert catalogue.parse_meta(old, "x").choices[1] == ("data.txz", "data")

    @pytest.mark.parametrize("text", ["", "version = 3;", "<html>", 'version = 2;\ndata = "../../etc/passwd";'])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(RepositoryError):
            catalogue.parse_meta(text, "x")


def read(content: bytes, is_lines: bool = False) -> Tuple[List[Record], Summary]:
    summary = Summary()
    return list(catalogue.records(io.BytesIO(content), is_lines, summary, "x")), summary


class TestRecords:
    """What a catalogue says of packages."""

    def test_both_forms_say_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalogue, "PIECE", 7)  # letters and words are cut in two
        values = [
            record("a", desc="naïve \U0001f600 \\u0041", deps={"b": {"origin": "x/b", "version": "1"}}),
            record(
                "b",
                shlibs_provided=["libb.so.1"],
                shlibs_required=["libc.so.7", "x.so"],
                shlibs_required_ignore=["x.so"],
            ),
        ]
        gone = [{"name": "old", "replaced_by": "a", "reason": "x"}]
        for document in (
            {"groups": [], "expired_packages": gone, "packages": values},
            {"packages": values, "x": {"y": [1.5, "}"]}, "expired_packages": gone},
        ):
            for separators in ((",", ":"), (" , ", " : ")):
                text = json.dumps(document, ensure_ascii=False, separators=separators)
                found, summary = read(text.encode())
                assert [each.name for each in found] == ["a", "b"] and summary.replaced == {"old": "a"}
        lines, _summary = read("\n".join(json.dumps(each) for each in values).encode(), is_lines=True)
        assert lines == found
        assert found[0].needs == ("b",) and found[1].libraries == ("libc.so.7",) and found[1].brings == ("libb.so.1",)
        assert [catalogue.from_json(catalogue.as_json(each)) for each in found] == found

    @pytest.mark.parametrize(
        "text, said",
        [
            (b"", "missing"),
            (b"[]", "missing"),
            (b'{"packages":[', "is no catalogue"),
            (b'{"packages":[{"name"', "is no catalogue"),
            (b'{"packages":[1]}', "a record that is none"),
            (b'{"packages":[{}]}', "a record that is none"),
            (b'{"packages":' + b"[" * 100000, "is no catalogue|a record that is none"),
            (b'{"packages":[]', "is missing"),
        ],
    )
    def test_damaged(self, text: bytes, said: str) -> None:
        with pytest.raises(RepositoryError, match=said):
            read(text)

    @pytest.mark.parametrize(
        "values",
        [
            {"repopath": "../x.pkg"},
            {"repopath": "/etc/passwd"},
            {"repopath": "All//x.pkg"},
            {"repopath": "a\nb"},
            {"pkgsize": 0},
            {"pkgsize": "x"},
            {"sum": "abc"},
            {"name": "../x"},
            {"name": "a\x1b[31m"},
            {"version": "1 2"},
            {"deps": {"a": 1}, "name": 5},
            {"annotations": {"FreeBSD_version": "new"}},
            {"annotations": "x"},
        ],
    )
    def test_records_that_are_none(self, values: Dict[str, Any]) -> None:
        with pytest.raises(RepositoryError):
            read(json.dumps({"packages": [dict(record("a"), **values)]}).encode())

    def test_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalogue, "MAX_RECORDS", 1)
        with pytest.raises(RepositoryError, match="more packages"):
            read(json.dumps({"packages": [record("a"), record("b")]}).encode())
        monkeypatch.setattr(catalogue, "MAX_RECORD", 100)
        monkeypatch.setattr(catalogue, "PIECE", 50)
        with pytest.raises(RepositoryError):
            read(json.dumps({"packages": [record("a", desc="x" * 1000)]}).encode())


class TestArchives:
    """The archive of a catalogue."""

    def unpack(self, tmp_path: Path, *members: Tuple[str, bytes]) -> signature.Signed:
        (tmp_path / "data.pkg").write_bytes(packed(members))
        with open(tmp_path / "plain", "wb") as file:
            return catalogue.unpack(str(tmp_path / "data.pkg"), "data", file, "x")

    def test_members(self, tmp_path: Path) -> None:
        found = self.unpack(tmp_path, ("k.sig", b"s"), ("data", b"{}"), ("k.pub", b"p"), ("signature", b"z"))
        assert (tmp_path / "plain").read_bytes() == b"{}" and found.sha256 == hashlib.sha256(b"{}").hexdigest()
        assert found.files == {"k.sig": b"s", "k.pub": b"p", "signature": b"z"}

    @pytest.mark.parametrize(
        "members",
        [
            (),
            (("x", b""),),
            (("data", b"1"), ("data", b"2")),
            (("../x.sig", b""), ("data", b"1")),
            tuple(("{0}.sig".format(number), b"1") for number in range(9)),
            (("k.sig", b"1"), ("k.sig", b"1")),
            (("k.sig", bytes((1 << 20) + 1)),),
        ],
    )
    def test_what_does_not_belong_there(self, tmp_path: Path, members: Any) -> None:
        with pytest.raises(RepositoryError):
            self.unpack(tmp_path, *members)

    def test_damaged_or_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "data.pkg").write_bytes(packed([("data", os.urandom(10000))])[:5000])
        with pytest.raises(Exception, match="cannot be read"), open(tmp_path / "plain", "wb") as file:
            catalogue.unpack(str(tmp_path / "data.pkg"), "data", file, "x")
        monkeypatch.setattr(catalogue, "MAX_MEMBER", 9)
        with pytest.raises(RepositoryError, match="larger than any catalogue"):
            self.unpack(tmp_path, ("data", bytes(10)))


@pytest.mark.parametrize(
    "written, found",
    [
        ("pkg+http://pkg.FreeBSD.org/${ABI}/quarterly", "https://pkg.FreeBSD.org/FreeBSD:13:amd64/quarterly"),
        ("pkg+https://pkg.FreeBSD.org/${ABI}/latest/", "https://pkg.FreeBSD.org/FreeBSD:13:amd64/latest"),
        ("pkg+http://pkg.example.org/x", "http://pkg.example.org/x"),
        (
            "https://p/${ABI}/kmods_quarterly_${VERSION_MINOR}",
            "https://p/FreeBSD:13:amd64/kmods_quarterly_2",
        ),
        ("/srv/pkg repo", "file:///srv/pkg%20repo"),
        ("file:///srv/pkg", "file:///srv/pkg"),
        ("https://joe:pw@h/x", "https://joe:pw@h/x"),
    ],
)
def test_addresses(written: str, found: str) -> None:
    assert repository.address(written, ABI, "2") == found


@pytest.mark.parametrize(
    "written",
    [
        "",
        "srv/pkg",
        "ssh://h/x",
        "https:///x",
        "http://[x",
        "https://h/${HOME}",
        "https://h/x?token=secret",
        "https://h/x#y",
    ],
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(RepositoryError, match="image_pkg_repository"):
        repository.address(written, ABI, "2")
    with pytest.raises(RepositoryError) as caught:
        repository.address("https://h/x?token=secret", ABI, "2")
    assert "secret" not in str(caught.value) and "behind its path" in str(caught.value)
    with pytest.raises(RepositoryError, match="VERSION_MINOR"):
        repository.address("https://h/${VERSION_MINOR}", ABI, "")


class Site:
    """Somebody who asks a repository."""

    def __init__(self, tmp_path: Path) -> None:
        self.made = Made(tmp_path / "repository")
        self.cache = tmp_path / "cache"
        self.trust = self.made.trust(tmp_path / "keys")
        self.said: List[str] = []
        self.warned: List[str] = []
        for name in ("a", "b"):
            self.made.add(name)
        self.made.publish()

    def serve(self, server: Server) -> str:
        for path in self.made.folder.rglob("*"):
            if path.is_file():
                server.files["/" + str(path.relative_to(self.made.folder))] = path.read_bytes()
        return server.url

    def ask(self, url: str = "", kind: str = "fingerprints", newest: str = "") -> List[str]:
        """The names in the catalogue."""
        wanted = Repository("r", url or self.made.url, signature.load(kind, self.trust))
        catalogues = Catalogues(str(self.cache), self.said.append, self.warned.append)
        with catalogues.of(wanted, newest) as found:
            return list(found.names())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class TestRepositories:
    """Getting the catalogue, from a folder and from a server."""

    @pytest.mark.parametrize("archive", ["data", "packagesite"])
    def test_folder(self, site: Site, archive: str) -> None:
        (site.made.folder / "data.pkg").unlink()
        site.made.publish(archive)
        assert site.ask() == ["a", "b"] and site.ask() == ["a", "b"]
        assert site.said == ["reading the catalogue of " + site.made.url] and site.warned == []

    def test_without_meta_conf_and_by_another_end(self, site: Site) -> None:
        (site.made.folder / "meta.conf").unlink()
        (site.made.folder / "data.pkg").rename(site.made.folder / "data.tzst")
        assert site.ask() == ["a", "b"]

    def test_a_server_is_asked_whether_there_is_a_newer_one(self, site: Site, server: Server) -> None:
        assert site.ask(site.serve(server)) == ["a", "b"]
        assert [each.split()[0] for each in server.asked] == ["/meta.conf", "/data.pkg"]
        site.made.add("c")
        site.made.publish()
        assert site.ask(site.serve(server)) == ["a", "b", "c"]
        assert len([each for each in os.listdir(site.cache / "packages") if each.endswith(".index")]) == 1

    def test_what_is_unchanged_is_neither_sent_nor_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Work is counted here, and not time."""
        assert site.ask() == ["a", "b"]
        monkeypatch.setattr(catalogue, "records", None)
        monkeypatch.setattr(catalogue, "unpack", None)
        assert site.ask() == ["a", "b"]

    @pytest.mark.parametrize(
        "said, asks", [({"ETag": '"1"'}, "If-None-Match"), ({"Last-Modified": "Sun, 1 Nov"}, "If-Modified-Since")]
    )
    def test_a_server_that_knows_what_we_have(self, site: Site, said: Dict[str, str], asks: str) -> None:
        asked: List[str] = []

        @contextlib.contextmanager
        def opener(url: str, headers: Dict[str, str], **_more: Any) -> Iterator[Any]:
            asked.append("{0} {1}".format(url.rpartition("/")[2], sorted(headers)))
            if asks in headers:
                raise urllib.error.HTTPError(url, 304, "Not Modified", email.message.Message(), None)
            answer = io.BytesIO((site.made.folder / url.rpartition("/")[2]).read_bytes())
            answer.headers, answer.geturl = said, lambda: url  # type: ignore[attr-defined]
            yield answer

        wanted = Repository("r", "https://h/r", signature.load("fingerprints", site.trust))
        for _again in range(2):
            catalogues = Catalogues(str(site.cache), site.said.append, site.warned.append, opener)
            with catalogues.of(wanted) as found:
                assert list(found.names()) == ["a", "b"]
        assert asked == ["meta.conf []", "data.pkg []", "meta.conf []", "data.pkg ['{0}']".format(asks)]
        assert site.warned == []

    def test_a_connection_that_ends_is_tried_again(self, site: Site, server: Server) -> None:
        url = site.serve(server)
        server.cut = 300
        with pytest.raises(RepositoryError, match="the connection ended after 300 of"):
            site.ask(url)
        assert server.asked.count("/data.pkg all") == 4

    def test_without_a_network_the_last_one_is_used(self, site: Site, server: Server) -> None:
        url = site.serve(server)
        assert site.ask(url) == ["a", "b"] and site.warned == []
        server.close()
        assert site.ask(url) == ["a", "b"]
        assert len(site.warned) == 1 and "cannot be reached" in site.warned[0] and "is used" in site.warned[0]
        with pytest.raises(RepositoryError, match="cannot be reached"):
            site.ask(url + "/other")

    def test_what_is_no_repository(self, site: Site, server: Server) -> None:
        with pytest.raises(RepositoryError, match=r"is no repository: it has none of data\.pkg"):
            site.ask(server.url)
        with pytest.raises(RepositoryError, match="cannot be reached"):
            site.ask("file://{0}/none".format(site.cache))

    def test_trust_is_judged_each_time(self, site: Site, tmp_path: Path) -> None:
        assert site.ask() == ["a", "b"]
        site.trust = Made(tmp_path / "other", rsa_key(1)).trust(tmp_path / "others")
        with pytest.raises(RepositoryError, match="signed by nobody who is trusted"):
            site.ask()

    def test_changed_on_the_way(self, site: Site) -> None:
        content = json.dumps({"packages": [record("evil")]}).encode()
        site.made.write("data", content, signed=b"something else")
        with pytest.raises(RepositoryError, match="does not fit its content"):
            site.ask()
        site.made.archive("data", [("data", content)])
        with pytest.raises(RepositoryError, match="signed by nobody"):
            site.ask()

    def test_nothing_of_an_unsigned_one_is_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalogue, "records", None)
        site.made.write("data", b"evil", signed=b"x")
        with pytest.raises(RepositoryError, match="does not fit"):
            site.ask()

    def test_unsigned_is_for_a_folder_or_https(self, site: Site, server: Server) -> None:
        site.made.members = None
        site.made.publish()
        assert site.ask(kind="none") == ["a", "b"]
        with pytest.raises(RepositoryError, match="anybody on the way"):
            site.ask(site.serve(server), kind="none")

    def test_goes_back_in_time(self, site: Site) -> None:
        assert site.ask() == ["a", "b"]
        site.made.records = []
        site.made.built = "2025-12-01T00:00:00+0000"
        for name in ("a", "b"):
            site.made.add(name)
        site.made.publish()
        for _again in range(2):
            site.ask()
            said = site.warned.pop()
            assert "goes back in time" in said and "2025-12-01T00:00:00" in said and "2026-01-29T01:20:06" in said
        assert site.warned == []

    def test_is_older_than_the_one_of_the_lock(self, site: Site) -> None:
        site.ask(newest="2026-02-01T00:00:00+0000")
        assert "goes back in time" in site.warned[0] and "2026-02-01" in site.warned[0]

    def test_shrinks(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "strftime", lambda form, when: "2026-11-01")
        site.ask()
        monkeypatch.setattr(time, "strftime", lambda form, when: "2026-11-30")
        site.made.without("b")
        site.made.publish()
        site.ask()
        assert site.warned == [
            "the catalogue of {0} has 1 packages on 2026-11-30, and had 2 on 2026-11-01".format(site.made.url)
        ]
        site.ask()
        assert len(site.warned) == 1

    def test_too_large(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalogue, "MAX_ARCHIVE", 100)
        with pytest.raises(RepositoryError, match="larger than 100 bytes"):
            site.ask()

    def test_a_damaged_index_is_made_anew(self, site: Site) -> None:
        site.ask()
        (path,) = (site.cache / "packages").glob("*.index")
        path.write_bytes(b"x" * 5000)
        assert site.ask() == ["a", "b"]
        for state in (site.cache / "packages").glob("*.json"):
            state.write_text("[]")
        assert site.ask() == ["a", "b"]


class TestIndex:
    """A catalogue that is asked."""

    def test_questions(self, tmp_path: Path) -> None:
        values = [
            record("p", version="25.0", origin="x/p", path="1"),
            record("p", version="26.0", origin="x/p", repopath="2"),
            record("q", origin="x/p", shlibs_provided=["l.so"], provides=["thing"], annotations={"flavor": "py311"}),
        ]
        content = json.dumps({"packages": values}).encode()
        index.make(str(tmp_path / "i"), signed(content, {"k.sig": b"\0"}), io.BytesIO(content), False, "x")
        with contextlib.closing(index.Index(str(tmp_path / "i"))) as found:
            assert [each.version for each in found.named("p")] == ["26.0", "25.0"], "the higher one counts"
            assert sorted(each.title for each in found.of_origin("x/p")) == ["p-25.0", "p-26.0", "q-1.2_3,1"]
            assert found.bringing("l.so")[0].flavour == "py311" and found.bringing("thing") == []
            assert [each.name for each in found.bringing("thing", is_library=False)] == ["q"]
            assert found.signed == signed(content, {"k.sig": b"\0"}) and found.summary.packages == 3
            assert found.named("none") == []

    def test_what_is_none_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(RepositoryError):
            index.make(str(tmp_path / "i"), signed(b"", {}), io.BytesIO(b'{"packages":[{}]}'), False, "x")
        assert list(tmp_path.iterdir()) == []

    def test_of_another_version(self, tmp_path: Path) -> None:
        index.make(str(tmp_path / "i"), signed(b"", {}), io.BytesIO(b'{"packages":[]}'), False, "x")
        with contextlib.closing(sqlite3.connect(tmp_path / "i")) as base:
            base.execute("UPDATE about SET value = '0' WHERE key = 'format'")
            base.commit()
        assert index.opened(str(tmp_path / "i")) is None and index.opened(str(tmp_path / "none")) is None


def stream(*members: tarfile.TarInfo) -> bytes:
    """The beginning of an archive, with nothing in its members."""
    return b"".join(each.tobuf(tarfile.GNU_FORMAT) for each in members)


def member(kind: bytes, size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo("data")
    found.type, found.size = kind, size
    return found


class TestHostile:
    """Who is on the way, or has a mirror, may send anything: it ends with a message, soon, and in little memory."""

    @pytest.mark.parametrize(
        "raw, said",
        [
            (stream(member(tarfile.XHDTYPE, 5 << 30)), "has 5368709120 bytes"),
            (stream(member(tarfile.GNUTYPE_LONGNAME, 5 << 30)), "has 5368709120 bytes"),
            (stream(member(tarfile.GNUTYPE_SPARSE)), "has holes"),
            (stream(*[member(tarfile.XHDTYPE)] * 3000), "recursion"),
        ],
    )
    def test_what_stands_before_a_member(self, tmp_path: Path, raw: bytes, said: str) -> None:
        path = tmp_path / "data.pkg"
        path.write_bytes(raw + bytes(10240))
        with pytest.raises(PackageError, match="the catalogue cannot be read: .*" + said):
            catalogue.unpack(str(path), "data", io.BytesIO(), "the catalogue")

    def test_a_large_manifest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build_packages, "MAX_TEXT", 10)
        (tmp_path / "a.pkg").write_bytes(packed([("+MANIFEST", b"{" + bytes(10))]))
        with pytest.raises(PackageError, match="larger than any"):
            build_packages.read(Supplied(str(tmp_path / "a.pkg"), "a.pkg", "0" * 64))

    def test_meta_conf_is_read_in_one_go(self) -> None:
        for text in ("\n" * catalogue.MAX_META, " " * catalogue.MAX_META, 'data = "' + " " * catalogue.MAX_META + '!"'):
            began = time.process_time()
            with pytest.raises(RepositoryError, match="none of version"):
                catalogue.parse_meta(text, "meta.conf")
            assert time.process_time() - began < 5
        assert catalogue.parse_meta('version = 2; # now\n"data" : "d",\n', "meta.conf").data == "d"

    @pytest.mark.parametrize(
        "values",
        [
            {"pkgsize": float("inf")},
            {"pkgsize": 10**400},
            {"annotations": {"FreeBSD_version": "9" * 50}},
            {"conflicts": "nginx"},
            {"deps": {"\x1b[2Jnginx": {}}},
            {"shlibs_required": ["lib\x07.so"]},
        ],
    )
    def test_values(self, values: Dict[str, Any]) -> None:
        with pytest.raises(RepositoryError, match="record that is none") as error:
            catalogue.parse_record(record("a", **values), "the catalogue")
        assert str(error.value).isprintable()

    def test_a_time_that_is_none_does_not_count(self) -> None:
        """It would be later than any, and each catalogue after it go back in time."""
        made = catalogue.parse_record(record("a", annotations={"build_timestamp": "zzzz"}), "the catalogue")
        assert made.built == ""

    def test_a_length_that_is_none(self) -> None:
        for said in ("x", "7", "\x1b"):
            with pytest.raises(OSError, match=r"ended after 5 of [x7?] bytes"):
                check_length(said, 5)
        check_length("5", 5)
        check_length(None, 5)

    def test_unsigned_and_sent_from_https_to_http(self, tmp_path: Path) -> None:
        class Answer(io.BytesIO):
            @property
            def headers(self) -> Dict[str, str]:
                return {}

            def geturl(self) -> str:
                return "http://h/data.pkg"

        said: List[str] = []
        found = Catalogues(str(tmp_path), said.append, said.append, lambda url, **_options: Answer(b"version = 2;"))
        with pytest.raises(RepositoryError, match=r"nobody signs .* by http"), found.of(
            Repository("r", "https://h", signature.Trust("none"))
        ):
            pass


class TestHostileTrust:
    """Folders of fingerprints as people have them."""

    def test_hidden_files(self, tmp_path: Path) -> None:
        """pkg(8) takes those that have a fingerprint: a key that is revoked in one stays revoked."""
        made = Made(tmp_path / "r")
        trust = made.trust(tmp_path / "keys")
        (tmp_path / "keys" / "trusted" / ".gitkeep").write_text("")
        text = (tmp_path / "keys" / "trusted" / "ours").read_text()
        (tmp_path / "keys" / "revoked" / ".old").write_text(text.replace("fingerprint", "Fingerprint"))
        found = signature.load("fingerprints", trust)
        assert list(found.trusted) == list(found.revoked)

    def test_one_that_cannot_be_judged_beside_one_that_can(self) -> None:
        files = {**by_fingerprint(rsa_key(), b"x", "z"), "a.sig": b"$PKGSIGN:eddsa$x", "a.pub": b"key"}
        trusted = {hashlib.sha256(files[name]).hexdigest(): name for name in ("z.pub", "a.pub")}
        trust = signature.Trust("fingerprints", "keys", trusted)
        assert signature.check(signed(b"x", files), trust, "it") == "z.pub"
        with pytest.raises(RepositoryError, match="eddsa"):
            signature.check(signed(b"y", files), trust, "it")

    def test_a_key_that_nobody_names(self) -> None:
        with pytest.raises(RepositoryError, match="nothing says with which"):
            signature.load("pubkey", "")
