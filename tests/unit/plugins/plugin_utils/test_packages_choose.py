# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images with packages of repositories: chosen, locked, fetched and laid, and all that can be wrong with that."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import sqlite3
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.action import image_build
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import ORIGIN_JSON, parse
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import database, inputs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages import (
    choose,
    fetch,
    lock,
    repository,
    resolver,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.choose import Place, Wish
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import Trust
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import maps
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._site_paths import SitePaths
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images
from ansible_collections.nanozfs.fleet.tests.unit.packaged import bundle, make, manifest
from ansible_collections.nanozfs.fleet.tests.unit.repositories import Made
from ansible_collections.nanozfs.fleet.tests.unit.web import Server


def needs(*names: str) -> Dict[str, Any]:
    return {"deps": {name: {"origin": "x/" + name, "version": "0"} for name in names}}


class Site:
    """A definition with packages, a repository on a server, and somebody who builds."""

    def __init__(self, images: Images, server: Server, folder: Path) -> None:
        self.images, self.server, self.folder = images, server, folder
        self.made = Made(folder / "repository")
        self.trust = self.made.trust(folder / "keys")
        self.lock = folder / "web.packages.lock.json"
        self.cache = folder / "cache"
        self.said: List[str] = []
        self.made.add("nginx", **needs("pcre2"))
        self.made.add("pcre2", sums="blake2")
        self.made.add("other")
        self.serve()

    def serve(self) -> None:
        """Publish what the repository has now; what it had stays on the server, as it does for a while."""
        self.made.publish()
        for path in self.made.folder.rglob("*"):
            if path.is_file():
                name = urllib.parse.quote("/" + str(path.relative_to(self.made.folder)))
                self.server.files[name] = path.read_bytes()

    def wish(self, **changes: Any) -> Wish:
        """What the definition says."""
        place = Place("r", self.server.url, "fingerprints", self.trust)
        return replace(Wish(["nginx"], [place], str(self.lock)), **changes)

    def definition(self, version: str = "1.1", **changes: Any) -> build.Definition:
        """The definition."""
        values: Dict[str, Any] = {
            "wish": self.wish(),
            "supply": inputs.Terms(cache=str(self.cache)),
            "terms": self.images.terms(output=str(self.folder / "published")),
            "media": (),
        }
        return self.images.definition(version, 11, **{**values, **changes})

    def build(self, version: str = "1.1", check: bool = False, **changes: Any) -> Dict[str, Any]:
        """Build."""
        self.server.asked = []
        return build.run(self.definition(version, **changes), Runner(local_execute, check_mode=check), self.said.append)

    def origin(self) -> Any:
        """What an image says of where it comes from."""
        tree, _build = build.plan(self.definition(), str(self.folder), self.said.append)
        return parse(tree.get(ORIGIN_JSON).content().decode())


@pytest.fixture
def site(images: Images, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    # how well an image is packed is nothing to these tests, and most of the time of a build
    monkeypatch.setattr(maps, "compress_xz", lambda data, _filters: lzma.compress(data, preset=0))
    return Site(images, server, tmp_path)


class TestBuild:
    """From a list of names to an image, and again."""

    def test_the_second_build_fetches_nothing(self, site: Site) -> None:
        first = site.build()
        assert first["changed"] and first["says"][0] == "{0}: 2 packages".format(site.lock)
        assert [each.split()[0] for each in site.server.asked][:2] == ["/meta.conf", "/data.pkg"]
        assert len(site.server.asked) == 4, "the catalogue, and each archive once"
        assert "fetched 2 of 2 packages, 0.0 of 0.0 MB" in site.said
        before = site.lock.read_bytes()
        again = site.build()
        assert not again["changed"] and again["build"] == first["build"] and site.server.asked == []
        assert site.lock.read_bytes() == before and again["lock"] == {"path": str(site.lock), "changes": []}

    def test_without_a_network_and_on_another_controller(self, site: Site, tmp_path: Path) -> None:
        first = site.build()
        site.server.close()
        kept = tmp_path / "elsewhere"
        kept.mkdir()
        for path in site.cache.iterdir():
            if path.is_file() and not path.name.endswith(".lock"):  # not the catalogues
                shutil.copy(path, kept)
        terms = site.images.terms(output=str(tmp_path / "other"))
        again = site.build(supply=inputs.Terms(cache=str(kept)), terms=terms)
        assert again["image"]["id"] == first["image"]["id"]

    def test_the_lock(self, site: Site) -> None:
        site.build()
        found = lock.read(str(site.lock))
        assert found is not None and found.wanted == ("nginx",) and found.abi == "FreeBSD:13:amd64"
        assert [(each.name, each.why) for each in found.packages] == [
            ("nginx", "asked for"),
            ("pcre2", "needed by nginx"),
        ]
        nginx, pcre2 = found.packages
        assert nginx.sum == nginx.sha256 and pcre2.sum.startswith("2$") and len(pcre2.sha256) == 64
        assert nginx.privileged == ("/usr/local/bin/nginx 4755",)
        assert [(each.name, each.url, each.newest) for each in found.repositories] == [
            ("r", site.server.url, site.made.built)
        ]

    def test_what_the_image_says_of_it(self, site: Site) -> None:
        site.build()
        origin = site.origin()
        assert [(each.name, each.origin) for each in origin.packages] == [
            ("nginx", "lang/nginx"),
            ("pcre2", "lang/pcre2"),
        ]
        found = {each.name: each.sha256 for each in origin.inputs}
        assert found["packages.lock.json"] == hashlib.sha256(site.lock.read_bytes()).hexdigest()
        (catalogue,) = [each.catalogue for each in lock.read(str(site.lock)).repositories]  # type: ignore[union-attr]
        assert found["r {0}".format(site.server.url)] == catalogue

    def test_pkg_finds_what_is_installed(self, site: Site) -> None:
        site.made.add("pkg", version="2.8.4")
        site.serve()
        wish = site.wish(names=["nginx", "pkg"])
        tree, _build = build.plan(site.definition(wish=wish), str(site.folder), site.said.append)
        found = sqlite3.connect(str(tree.get(database.NAME).source))
        assert found.execute("SELECT name, automatic FROM packages").fetchall() == [
            ("nginx", 0),
            ("pcre2", 1),
            ("pkg", 0),
        ]
        query = (
            "SELECT count(*) FROM pkg_annotation JOIN annotation tag ON tag_id = tag.annotation_id "
            "JOIN annotation value ON value_id = value.annotation_id "
            "WHERE tag.annotation = 'repository' AND value.annotation = 'r'"
        )
        assert found.execute(query).fetchall() == [(3,)]
        # pkg reads it through the link to what /cfg can change, whatever that has of its own
        for place in ("etc/local/pkg.conf", "conf/base/etc/local/pkg.conf"):
            assert "/{0}/".format(database.FOLDER) in tree.get(place).content().decode().replace('";', "/")

    def test_the_lock_moves_when_it_is_told_to(self, site: Site) -> None:
        first = site.build()
        site.made.add("nginx", version="2.0", old="nginx", **needs("pcre2", "more"))
        site.made.add("more")
        site.serve()
        assert site.build()["build"] == first["build"] and site.server.asked == []
        moved = site.build("1.2", wish=site.wish(update=True))
        assert moved["changed"] and moved["build"] != first["build"]
        assert moved["lock"]["changes"] == ["more 1.2_3,1 added (needed by nginx)", "nginx 1.2_3,1 -> 2.0"] + [
            text for text in moved["lock"]["changes"] if "run as" in text
        ]
        assert "nginx 1.2_3,1 -> 2.0" in moved["says"][0]
        assert "-nginx 1.2_3,1" in diff(moved) and "+nginx 2.0" in diff(moved) and "+more" in diff(moved)
        again = site.build("1.2", wish=site.wish(update=True))
        assert not again["changed"] and again["says"][0] == "{0}: nothing newer".format(site.lock)
        assert diff(again) == ""

    def test_another_catalogue_with_the_same_packages_is_no_other_image(self, site: Site) -> None:
        first = site.build()
        before = site.lock.read_bytes()
        site.made.add("unrelated")
        site.serve()
        again = site.build(wish=site.wish(update=True))
        assert again["build"] == first["build"] and site.lock.read_bytes() == before

    def test_two_builds_with_one_lock(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.build()
        site.made.add("pcre2", version="9", old="pcre2")
        site.serve()
        complete = build._complete
        theirs = site.lock.read_bytes().replace(b"needed by nginx", b"needed by another")

        def slow(*arguments: Any) -> Any:
            found = complete(*arguments)
            site.lock.write_bytes(theirs)  # meanwhile, by somebody else
            return found

        monkeypatch.setattr(build, "_complete", slow)
        with pytest.raises(FleetError, match="was changed by somebody else meanwhile"):
            site.build("1.9", wish=site.wish(update=True))
        assert site.lock.read_bytes() == theirs
        assert {each["version"] for each in Folder(str(site.folder / "published")).index()} == {"1.1"}

    def test_check_mode_writes_nothing(self, site: Site) -> None:
        told = site.build(check=True)
        assert told["changed"] and told["build"] is None and not site.lock.exists()
        assert told["says"][1].startswith("packages: 2 of 2 would be fetched") and "2 packages" in told["says"][2]
        assert not any("/All/" in each for each in site.server.asked)
        assert "+nginx 1.2_3,1" in diff(told) and "+pcre2" in diff(told)
        first = site.build()
        told = site.build(check=True)
        assert not told["changed"] and told["build"] == first["build"]
        site.made.add("pcre2", version="9", old="pcre2")
        site.serve()
        before = site.lock.read_bytes()
        told = site.build("1.2", check=True, wish=site.wish(update=True))
        assert told["changed"] and told["says"][1].startswith("packages: 1 of 2 would be fetched")
        assert told["lock"]["changes"] == ["pcre2 1.2_3,1 -> 9"] and site.lock.read_bytes() == before

    def test_packages_given_as_files_get_what_they_need(self, site: Site, tmp_path: Path) -> None:
        own = make(tmp_path, manifest("own", **needs("pcre2")))
        site.build(packages=[own], wish=site.wish(names=["other"]))
        found = lock.read(str(site.lock))
        assert found is not None and found.wanted == ("other", "pcre2")
        assert [each.why for each in found.packages] == ["asked for", "needed by own of image_packages"]

    def test_a_file_goes_before_the_repository(self, site: Site, tmp_path: Path) -> None:
        own = make(tmp_path, manifest("pcre2", version="7"))
        site.build(packages=[own])
        found = lock.read(str(site.lock))
        assert found is not None and [each.name for each in found.packages] == ["nginx"]

    def test_without_names_there_is_no_lock(self, site: Site) -> None:
        assert "lock" not in site.build(wish=site.wish(names=[])) and not site.lock.exists()
        assert site.server.asked == []


def diff(result: Dict[str, Any]) -> str:
    """What --diff would show of the lock."""
    found = result.get("diff", [])
    for each in found if isinstance(found, list) else [found]:
        if str(each.get("before_header", "")).endswith(".packages.lock.json"):
            before, after = each["before"].splitlines(), each["after"].splitlines()
            gone = ["-" + line for line in before if line not in after]
            return "\n".join(gone + ["+" + line for line in after if line not in before])
    return ""


class TestBadInput:
    """Nothing is built, and the lock is as it was."""

    def refused(self, site: Site, said: str, **changes: Any) -> FleetError:
        before = site.lock.read_bytes() if site.lock.exists() else None
        with pytest.raises(FleetError, match=said) as error:
            site.build(**changes)
        assert not (site.folder / "published").exists() or not list((site.folder / "published").glob("*1.9*"))
        assert (site.lock.read_bytes() if site.lock.exists() else None) == before
        return error.value

    def archive(self, site: Site, name: str) -> str:
        (found,) = [path for path in site.server.files if "/{0}-".format(name) in path]
        return found

    def test_wrong_fingerprint(self, site: Site) -> None:
        place = Place("r", site.server.url, "fingerprints", "/usr/share/keys/pkg")
        error = self.refused(site, "signed by nobody who is trusted", wish=site.wish(places=[place]))
        assert "lock is as it was" in str(error)

    def test_changed_on_the_way(self, site: Site) -> None:
        site.made.write("data", b"{}", signed=b"[]")
        site.server.files["/data.pkg"] = (site.made.folder / "data.pkg").read_bytes()
        self.refused(site, "does not fit its content")

    def test_an_archive_with_another_digest(self, site: Site) -> None:
        path = self.archive(site, "pcre2")
        good = site.server.files[path]
        site.server.files[path] = good[:-1] + b"x"
        self.refused(site, "has the BLAKE2b .* and should have")
        site.server.files[path] = good
        assert site.build()["changed"]

    def test_an_archive_that_is_larger(self, site: Site) -> None:
        site.server.files[self.archive(site, "nginx")] += bytes(100000)
        self.refused(site, "is larger than the")

    def test_an_archive_that_is_gone(self, site: Site) -> None:
        site.build()
        shutil.rmtree(site.cache)
        del site.server.files[self.archive(site, "nginx")]
        error = self.refused(site, "nginx-1.2_3,1: .*404")
        assert error.todo is not None and "image_pkg_update=true" in error.todo

    def test_an_archive_of_another_package(self, site: Site) -> None:
        other = next(each for each in site.made.records if each["name"] == "other")
        nginx = next(each for each in site.made.records if each["name"] == "nginx")
        nginx.update({key: other[key] for key in ("sum", "pkgsize", "path", "repopath")})
        site.serve()
        self.refused(site, r"is taken for nginx-1\.2_3,1, and says that it is other-")

    def test_a_transfer_that_ends_goes_on(self, site: Site) -> None:
        site.build(check=True)
        site.server.cut = 300
        built = site.build()
        assert built["changed"] and any("its catalogue of" in text for text in built["warnings"])
        assert any("bytes=300-" in each for each in site.server.asked)

    def test_a_damaged_cache(self, site: Site) -> None:
        first = site.build()
        for path in site.cache.iterdir():
            if path.is_file() and not path.name.endswith(".lock"):
                path.write_bytes(b"x")
        assert site.build()["build"] == first["build"] and len(site.server.asked) == 2

    def test_missing_needs_conflicts_and_cycles(self, site: Site) -> None:
        site.made.add("a", **needs("none"))
        site.made.add("b", conflicts=["nginx"])
        site.made.add("c", **needs("d"))
        site.made.add("d", **needs("c"))
        site.serve()
        self.refused(site, r"a \(asked for\) → none", wish=site.wish(names=["a"]))
        self.refused(site, "b and nginx cannot be in one image", wish=site.wish(names=["nginx", "b"]))
        built = site.build(wish=site.wish(names=["c"]))
        assert any("packages need each other: c → d → c" in text for text in built["warnings"])

    def test_two_with_one_file(self, site: Site) -> None:
        site.made.add("zz", files={"/usr/local/bin/nginx": "1$0", "/usr/local/bin/nginx-1": "1$0"})
        site.serve()
        self.refused(site, "nginx and zz both have /usr/local/bin/nginx", wish=site.wish(names=["nginx", "zz"]))

    @pytest.mark.parametrize(
        "values, said",
        [
            ({"abi": "FreeBSD:14:amd64"}, "it is for FreeBSD:14:amd64"),
            ({"annotations": {"FreeBSD_version": "1399000"}}, "was built on FreeBSD 13.99"),
        ],
    )
    def test_another_abi_or_a_newer_kernel(self, site: Site, tmp_path: Path, values: Dict[str, Any], said: str) -> None:
        script = tmp_path / "release" / "bin"
        script.mkdir(parents=True)
        (script / "freebsd-version").write_text('USERLAND_VERSION="13.2-RELEASE-p4"\n')
        site.made.add("new", **values)
        site.serve()
        sources = [*site.definition().sources, str(script.parent)]
        self.refused(site, said, wish=site.wish(names=["new"]), sources=sources)

    def test_a_module_of_another_minor_release_that_is_told_by_its_files(self, site: Site, tmp_path: Path) -> None:
        module = [("/boot/modules/if_x.ko", b"x", {"mode": 0o555})]
        for release, fits in (("1301000", False), ("1302001", True)):
            site.made.add("if-x", old="if-x", members=module, annotations={"FreeBSD_version": release})
            site.serve()
            wish = site.wish(names=["if-x"], update=True)
            if fits:
                site.build(wish=wish)
            else:
                self.refused(
                    site, "if-x-1.2_3,1 cannot be in the image: it is a kernel module for FreeBSD 13.1", wish=wish
                )
        (tmp_path / "given").mkdir()
        values = manifest("if-y", annotations={"FreeBSD_version": "1301000"})
        path = bundle(tmp_path / "given", values, [("/boot/modules/if_y.ko", b"y", {})])
        self.refused(site, "if-y-.*it is a kernel module for FreeBSD 13.1", packages=[path], wish=choose.NO_WISH)

    def test_an_archive_with_more_than_it_says(self, site: Site) -> None:
        site.made.add("evil", files={"/usr/local/bin/evil": "1$0"})  # the link evil-1 is not named
        site.serve()
        self.refused(site, "/usr/local/bin/evil-1 is none of the files", wish=site.wish(names=["evil"]))

    def test_a_catalogue_that_goes_back_in_time(self, site: Site) -> None:
        site.build()
        shutil.rmtree(site.cache)  # another controller: only the lock knows
        site.made.built, site.made.records = "2025-01-01T00:00:00+0000", []
        site.made.add("nginx", **needs("pcre2"))
        site.made.add("pcre2", sums="blake2")
        site.serve()
        built = site.build("1.2", wish=site.wish(update=True))
        (said,) = [text for text in built["warnings"] if "goes back in time" in text]
        assert "2025-01-01T00:00:00" in said and "2026-01-29T01:20:06" in said

    @pytest.mark.parametrize(
        "changes, said",
        [
            ({"names": ["nginx", "other"]}, "it does not know other"),
            ({"names": ["pcre2"]}, "it does not know pcre2; nobody wants any more nginx"),
        ],
    )
    def test_a_lock_of_something_else(self, site: Site, changes: Dict[str, Any], said: str) -> None:
        site.build()
        error = self.refused(site, said, wish=site.wish(**changes))
        assert error.todo is not None and "image_pkg_update=true" in error.todo and site.server.asked == []
        site.build("1.2", wish=site.wish(update=True, **changes))

    def test_a_lock_that_somebody_has_changed(self, site: Site) -> None:
        site.build()
        values = json.loads(site.lock.read_text())
        values["packages"][1]["sha256"] = "0" * 64
        site.lock.write_text(json.dumps(values))
        self.refused(site, "and the lock says 0000")
        values["packages"][1]["sum"] = "0" * 64
        site.lock.write_text(json.dumps(values))
        self.refused(site, "has the SHA-256 .* and should have 0000")

    def test_a_repository_that_is_not_named_any_more(self, site: Site) -> None:
        site.build()
        place = replace(site.wish().places[0], name="new")
        assert not site.build(wish=site.wish(places=[place]))["changed"], "all of it is in the cache"
        shutil.rmtree(site.cache)
        self.refused(
            site,
            "comes from the repository r, which image_pkg_repository does not name",
            wish=site.wish(places=[place]),
        )

    def test_a_version_that_is_published_already(self, site: Site) -> None:
        """The lock moves with an image, and not before."""
        site.build()
        site.made.add("nginx", version="2.0", old="nginx", **needs("pcre2"))
        site.serve()
        self.refused(site, r"web-1\.1 was published already with other contents", wish=site.wish(update=True))
        assert site.build("1.2", wish=site.wish(update=True))["lock"]["changes"][0] == "nginx 1.2_3,1 -> 2.0"

    def test_a_lock_that_cannot_be_written(self, site: Site) -> None:
        (site.folder / "file").write_text("x")
        path = str(site.folder / "file" / "sub" / "lock.json")
        self.refused(site, "cannot be written: .*/file is no folder", wish=site.wish(lock=path))
        assert site.server.asked == [], "it is known before anything is fetched"
        with pytest.raises(FleetError, match="cannot be written") as error:
            lock.write(path, lock.Lock("", (), (), ()))
        assert error.value.safe == "the image is published"


class TestPlaces:
    """image_pkg_repository."""

    def test_forms(self) -> None:
        assert choose.places("pkg+http://pkg.FreeBSD.org/${ABI}/quarterly", "fingerprints", "/k") == [
            Place("pkg.freebsd.org", "pkg+http://pkg.FreeBSD.org/${ABI}/quarterly", "fingerprints", "/k", 0)
        ]
        several: List[Any] = [
            {"url": "https://h/r", "name": "ours", "signature_type": "pubkey", "trust": "r.pub", "priority": "10"},
            {"url": "/srv/${ABI}", "signature_type": "none"},
            "https://h/x",
        ]
        assert choose.places(several, "fingerprints", "/k") == [
            Place("ours", "https://h/r", "pubkey", "r.pub", 10),
            Place("folder", "/srv/${ABI}", "none", "", 0),
            Place("h", "https://h/x", "fingerprints", "/k", 0),
        ]

    @pytest.mark.parametrize(
        "written",
        [
            [],
            5,
            [5],
            [{"name": "x"}],
            [{"url": "https://h", "prio": 1}],
            [{"url": "https://h", "priority": "high"}],
            [{"url": "https://h", "signature_type": "gpg"}],
            [{"url": "https://h", "name": "a b"}],
            ["https://h/a", "https://h/b"],
        ],
    )
    def test_what_is_none(self, written: Any) -> None:
        with pytest.raises(Refused):
            choose.places(written, "fingerprints", "/k")


def test_what_a_system_has() -> None:
    tree = Tree()
    for path in (
        "lib/libc.so.7",
        "usr/lib/libz.so",
        "usr/lib32/libc.so.7",
        "usr/local/lib/own.so.1",
        "usr/lib/x/deep.so",
    ):
        tree.write(path, "")
    found = choose.system_of(tree, "FreeBSD:14:amd64", "14.3-RELEASE", ["there"], [])
    assert found.libraries == {"libc.so.7", "libz.so", "libc.so.7:32", "own.so.1"}
    assert found.packages == {"there"} and found.series == 1403


def test_no_message_has_a_password(site: Site) -> None:
    site.build()
    shutil.rmtree(site.cache)
    found = lock.read(str(site.lock))
    assert found is not None
    url = site.server.url.replace("http://", "http://joe:secret@")
    where = {"r": repository.Repository("r", url, Trust("none"))}
    for content in (None, b"x"):
        for name in [name for name in site.server.files if "/All/" in name]:
            if content is None:
                del site.server.files[name]
        with pytest.raises(FleetError) as error:
            fetch.fetch(found.packages, where, str(site.cache), site.said.append)
        assert "secret" not in str(error.value) and site.server.url in str(error.value)
        site.serve()
        site.server.files.update({name: b"x" for name in site.server.files if "/All/" in name})
    assert "secret" not in " ".join(site.said)


def test_one_that_fails_ends_the_others(site: Site) -> None:
    """What had arrived is kept."""
    site.build()
    shutil.rmtree(site.cache)
    found = lock.read(str(site.lock))
    assert found is not None
    del site.server.files[TestBadInput().archive(site, "pcre2")]
    where = {"r": repository.Repository("r", site.server.url, Trust("none"))}
    with pytest.raises(RepositoryError, match="pcre2"):
        fetch.fetch(found.packages, where, str(site.cache), site.said.append)
    store = inputs.Store(str(site.cache), site.said.append)
    assert [each.name for each in fetch.missing(found.packages, store)] == ["pcre2"]


ENTRY: Dict[str, Any] = {
    "name": "a",
    "version": "1",
    "origin": "x/a",
    "repository": "r",
    "path": "All/a.pkg",
    "size": 1,
    "sum": "0" * 64,
    "sha256": "",
    "why": "asked for",
    "privileged": [],
}


def locked(tmp_path: Path, wanted: Any = ("a",), **values: Any) -> str:
    """A lock as somebody may have left it."""
    path = tmp_path / "lock.json"
    about = {"format": 1, "abi": "FreeBSD:13:amd64", "wanted": wanted, "repositories": []}
    path.write_text(json.dumps(dict(about, packages=[dict(ENTRY, **values)])))
    return str(path)


class TestLock:
    """One that was merged by hand, or sent by somebody."""

    @pytest.mark.parametrize(
        "values",
        [
            {"size": "12"},
            {"size": float("inf")},
            {"size": True},
            {"repository": ["r"]},
            {"why": "\x1b[2J"},
            {"privileged": "x"},
            {"wanted": "abc"},
            {"path": "../x"},
            {"sum": "zz"},
            {"more": 1},
        ],
    )
    def test_what_is_none(self, tmp_path: Path, values: Dict[str, Any]) -> None:
        with pytest.raises(RepositoryError, match=r"the lock .*lock\.json cannot be read") as error:
            lock.read(locked(tmp_path, **values))
        assert error.value.todo is not None and str(error.value).isprintable()

    def check(self, path: str, *names: str, release: str = "") -> None:
        found = lock.read(path)
        assert found is not None
        system = resolver.System("FreeBSD:13:amd64", release)
        choose._check(found, dict.fromkeys(names, ""), system, Wish(lock=path))

    def test_a_package_that_a_merge_has_lost(self, tmp_path: Path) -> None:
        """The image would be without it, and nobody told."""
        path = locked(tmp_path, ["a", "b"])
        with pytest.raises(RepositoryError, match="it has no package for b"):
            self.check(path, "a", "b")
        names = ["a", "a-1", "x/a", "x/a@py"]
        self.check(locked(tmp_path, names), *names)

    def test_a_module_of_another_kernel(self, tmp_path: Path) -> None:
        """The sets moved on, with the same ABI."""
        path = locked(tmp_path, osversion=1302001, is_module=True)
        self.check(path, "a", release="13.2-RELEASE")
        with pytest.raises(RepositoryError, match=r"a-1: it is a kernel module for FreeBSD 13\.2"):
            self.check(path, "a", release="13.3-RELEASE")
        with pytest.raises(RepositoryError, match=r"kernel module for FreeBSD 13\.2, and the image is 13\.1"):
            self.check(path, "a", release="13.1-RELEASE")


def test_a_damaged_cache_of_a_repository_that_is_not_named(tmp_path: Path) -> None:
    found = lock.read(locked(tmp_path))
    assert found is not None
    (tmp_path / ("0" * 64)).write_text("damaged")
    with pytest.raises(RepositoryError, match="image_pkg_repository does not name"):
        fetch.fetch(found.packages, {}, str(tmp_path), lambda text: None)


def test_a_damaged_cache_and_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of it, and what goes wrong then, has none."""
    found = lock.read(locked(tmp_path))
    assert found is not None
    (tmp_path / ("0" * 64)).write_text("damaged")
    said: List[str] = []
    where = {"r": repository.Repository("r", "file://joe:secret@{0}/none".format(tmp_path), Trust("none"))}
    with pytest.raises(FleetError) as error:
        fetch.fetch(found.packages, where, str(tmp_path), said.append)
    assert any("is damaged" in text for text in said) and "secret" not in str(error.value) + "".join(said)


def test_no_message_of_a_repository_has_a_password() -> None:
    for written in ([{"url": "https://joe:secret@h/", "prio": 1}], [{"url": ["joe:secret"]}]):
        with pytest.raises(Refused, match="number 1, with url") as error:
            choose.places(written, "none", "")
        assert "secret" not in str(error.value)
    with pytest.raises(RepositoryError) as other:
        repository.address("https://joe:secret@[h/", "FreeBSD:14:amd64", "3")
    assert "secret" not in str(other.value)


def test_lists_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    site = SitePaths([str(tmp_path)])
    usual = {
        "pkg_signature_type": "none",
        "pkg_signature_trust": "",
        "pkg_lock": None,
        "name": "web",
        "pkg_update": False,
        "base": None,
    }

    def wish(names: List[str]) -> Wish:
        return image_build._wish(site, dict(usual, pkg=names, pkg_repository="repo/${ABI}"))

    for names in (["nginx", " python312"], ["nginx python312"], ["nginx", "", "python312"]):
        assert wish(names).names == ["nginx", "python312"]
    assert wish([""]) == wish([]) == choose.NO_WISH
    assert wish(["a"]).places[0].url == str(tmp_path / "repo") + "/${ABI}", "a folder of the site"
