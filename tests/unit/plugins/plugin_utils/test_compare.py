# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of the files of an image, and what differs between two of them."""

from __future__ import annotations

import json
import lzma
import os
import re
from dataclasses import replace
from typing import Any, Dict

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, Package
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import FolderRepository
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, LINK, Node, Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import compare, release
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.listing import (
    BadListing,
    Entry,
    Listing,
    parse_listing,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

BASE = Entry(FILE, 0o644, size=1000, mtime=5, sha256="aa" * 32)


def subject(entries: Dict[str, Entry], title: str = "web-1.0", ident: str = "", **header: Any) -> compare.Subject:
    return compare.Subject(title, Listing(header, {"": Entry(DIR, 0o755), **entries}), ident)


class TestListing:
    """What is published of an image."""

    def test_it_says_what_the_tree_says(self, images: Images, tmp_path: Any) -> None:
        """The list is read from the image, the tree is what the image was made from; makefs stands between them."""
        tree, _name = build.plan(images.definition("1.1", 11), str(tmp_path), print)
        folder = Folder(images.repository)
        with open(folder.full(folder.manifest(images.built["1.1"]["id"]).artefact("files").name), "rb") as file:
            raw = file.read()
        lines = lzma.decompress(raw).decode().splitlines()
        listed = [re.sub(r" nlink=\d+ size=\d+", "", line) for line in lines if not line.startswith("#")]
        assert listed == list(tree.lines(digests=True))
        listing = parse_listing(raw)
        assert listing.entries["etc/rc"].links == 2 and listing.entries["usr/share/version"].size == 60000
        assert listing.header["image"]["version"] == "1.1" and listing.header["origin"]["method"] == "sets"
        assert listing.encode() == raw

    def test_names_that_are_no_words(self, tmp_path: Any) -> None:
        tree = Tree()
        tree.put("a b/c\\d#[*?\n", Node(FILE, 0o4755, uid=3, gid=4, mtime=9, data=b"x"))
        tree.put("ü", Node(FILE, 0o600, data=b""))
        tree.link("l", "t" * 100 + " ü")
        tree.date(1704067200)
        ufs.make(tree, str(tmp_path), str(tmp_path / "image"), 1 << 20, 1704067200)
        listing = release.listing_of(str(tmp_path / "image"))
        assert parse_listing(listing.encode()) == listing
        found = listing.entries["a b/c\\d#[*?\n"]
        assert (found.mode, found.uid, found.gid, found.mtime) == (0o4755, 3, 4, 9)
        assert listing.entries["l"].target == "t" * 100 + " ü" and "ü" in listing.entries

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"#mtree\n./a type=file\n",
            b"#mtree\n# {}\n./a type=file uid=x gid=0 mode=0644 time=1.0\n",
            b"#mtree\n# {}\n./a type\n",
            b"#mtree\n# []\n",
            b"\xfd7zXZ\0 and nothing else",
            lzma.compress(b"something else"),
            "#mtree\n# {}\n./ü type=dir uid=0 gid=0 mode=0755 time=1.0\n".encode(),
        ],
    )
    def test_damaged(self, raw: bytes) -> None:
        with pytest.raises(BadListing):
            parse_listing(raw)

    def test_an_image_whose_list_is_missing_is_completed(self, images: Images, tmp_path: Any) -> None:
        """Images that were published before there were lists, and were built anywhere."""
        repository = images.copy(str(tmp_path))
        ident = images.built["1.0"]["id"]
        os.unlink(os.path.join(repository, ident + ".files.xz"))
        with open(os.path.join(images.repository, ident + ".files.xz"), "rb") as file:
            before = file.read()
        order = release.Order(name="web", version="1.0", media=())
        terms = images.terms(output=repository)
        result = release.run(terms, order, images.runner(), lambda text: None)
        assert result["changed"] and not release.run(terms, order, images.runner(), lambda text: None)["changed"]
        with open(result["files"]["files"], "rb") as file:
            assert file.read() == before

    def test_they_go_with_their_image(self, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        release.run(
            images.terms(output=repository, keep=1), release.Order(name="web"), images.runner(), lambda text: None
        )
        kept = {name[:64] for name in os.listdir(repository) if len(name) > 64}
        assert kept == {images.built["1.2"]["id"]}


class TestDifference:
    """Comparing two lists."""

    @pytest.mark.parametrize(
        "changes, expected",
        [
            ({"sha256": "bb" * 32, "size": 1200}, ("content", "size")),
            ({"sha256": "bb" * 32, "mtime": 6}, ("content", "time")),
            ({"mode": 0o4755}, ("mode",)),
            ({"gid": 6}, ("owner",)),
            ({"links": 2}, ("links",)),
            ({"kind": LINK, "target": "x", "sha256": "", "size": 0}, ("type", "content", "size", "target")),
        ],
    )
    def test_what_of_a_file(self, changes: Any, expected: Any) -> None:
        found = compare.compare(subject({"a": BASE}), subject({"a": replace(BASE, **changes)}))
        assert [(each.path, each.aspects) for each in found.changed] == [("a", expected)]
        assert not found.added and not found.removed and not found.touched

    def test_a_file_that_is_only_younger_is_no_changed_file(self) -> None:
        found = compare.compare(subject({"a": BASE}), subject({"a": replace(BASE, mtime=6)}))
        assert not found.changed and [each.path for each in found.touched] == ["a"]
        assert found.summary() == "against web-1.0: 1 file with another time"

    def test_hard_links_for_etc_are_said_once(self) -> None:
        both = {"etc/a": BASE, "conf/base/etc/a": BASE, "conf/base/etc/b": BASE}
        newer = {path: replace(entry, sha256="cc" * 32) for path, entry in both.items()}
        found = compare.compare(subject(both), subject(newer))
        assert [each.path for each in found.changed] == ["conf/base/etc/b", "etc/a"]

    def test_sizes_packages_options(self) -> None:
        old = Origin(
            "nanobsd",
            release="13.2-RELEASE-p3",
            options=(("src.conf:WITHOUT_LPR", "yes"), ("src.conf:WITHOUT_SHAREDOCS", "yes")),
            packages=(Package("curl", "8.1.0", options=(("HTTP2", "on"),)), Package("vim", "9.0")),
        )
        new = Origin(
            "nanobsd",
            release="13.2-RELEASE-p4",
            options=(("src.conf:WITHOUT_LPR", "yes"),),
            packages=(Package("curl", "8.2.1", options=(("HTTP2", "off"),)), Package("jq", "1.7")),
        )
        found = compare.compare(
            subject({"a": BASE, "b": BASE, "old": BASE}, origin=old.as_dict()),
            subject(
                {
                    "a": replace(BASE, size=3000, sha256="bb" * 32),
                    "b": BASE,
                    "new": replace(BASE, size=2500000),
                    "dir": Entry(DIR, 0o755),
                },
                "web-1.1",
                origin=new.as_dict(),
            ),
        )
        assert compare.report(found, 20) == [
            "web-1.1 against web-1.0: 1 file changed, 2 added, 1 removed, 1 package updated, 1 package added, "
            "1 package removed, 2 options changed",
            "size of all files: +2.5 MB (+2.0 kB changed, +2.5 MB added, -1.0 kB removed)",
            "system",
            "  release: 13.2-RELEASE-p3 → 13.2-RELEASE-p4",
            "packages",
            "  curl: 8.1.0 → 8.2.1",
            "  + jq 1.7",
            "  - vim 9.0",
            "options",
            "  curl:HTTP2: on → off",
            "  - src.conf:WITHOUT_SHAREDOCS yes",
            "changed",
            "      3.0 kB  /a  content, size (+2.0 kB)",
            "added",
            "      2.5 MB  /new",
            "         dir  /dir",
            "removed",
            "      1.0 kB  /old",
        ]
        counts = found.as_dict()["counts"]
        assert counts["growth"] == 2501000 and counts["packages_changed"] == 1 and counts["options_removed"] == 1
        assert json.loads(json.dumps(found.as_dict()))["changed"] == [
            {
                "path": "a",
                "what": ["content", "size"],
                "values": {"content": ["aa" * 32, "bb" * 32], "size": [1000, 3000]},
            }
        ]

    def test_the_largest_come_first_and_the_rest_is_counted(self) -> None:
        files = {"f{0}".format(number): replace(BASE, size=number) for number in range(5)}
        found = compare.compare(subject({}), subject(files, "web-1.1"))
        lines = compare.report(found, 2)
        assert [line.split("/")[-1] for line in lines[-3:]] == ["f4", "f3", "  … and 3 more"]
        assert len(found.as_dict(2)["added"]) == 2 and found.as_dict(2)["counts"]["files_added"] == 5

    def test_what_is_not_known_is_said(self) -> None:
        found = compare.compare(subject({}), subject({}, origin=Origin("sets").as_dict()))
        assert found.packages is None and found.options is None and found.same is None
        assert "packages: not known, one of the images does not say where it comes from" in compare.report(found, 5)

    @pytest.mark.parametrize(
        "old, new, said",
        [
            ({"a": BASE}, {"a": BASE}, "No file differs"),
            (
                {"boot/nanozfs/image.json": BASE},
                {"boot/nanozfs/image.json": replace(BASE, sha256="")},
                "that an image does not",
            ),
        ],
    )
    def test_two_builds_that_should_be_equal(self, old: Any, new: Any, said: str) -> None:
        found = compare.compare(subject(old, ident="1" * 64), subject(new, ident="2" * 64))
        assert said in compare.report(found, 5)[-1]
        same = compare.compare(subject(old, ident="1" * 64), subject(old, ident="1" * 64))
        assert compare.report(same, 5) == ["web-1.0 and web-1.0 are the same image"]


class TestPublished:
    """Comparing what is in a folder."""

    def test_two_versions(self, images: Images) -> None:
        repository = FolderRepository(images.repository)
        old, new = (compare.find_subject(repository, version, "web") for version in ("1.0", images.built["1.1"]["id"]))
        found = compare.compare(old, new)
        assert found.same is False and [each.path for each in found.changed] == [
            "usr/share/version",
            "boot/nanozfs/image.json",
            "boot/nanozfs/image.conf",
            "etc/local/app.conf",
        ]
        assert ("seq", "10", "11") in found.facts

    def test_the_build_says_what_differs_from_the_version_before(self, images: Images, tmp_path: Any) -> None:
        result = images.build("1.2", 12)  # as published before
        assert not result["changed"] and result["difference"]["summary"] == "against web-1.1: 4 files changed"
        alone = images.build("1.0", 10, terms=images.terms(output=str(tmp_path / "out")), media=())
        assert alone["changed"] and alone["difference"] is None

    def test_a_version_that_is_refused_can_be_compared(self, images: Images, tmp_path: Any) -> None:
        repository = images.copy(str(tmp_path))
        terms = images.terms(output=repository)
        with pytest.raises(FleetError, match=r"this build against web-1\.1: 2 files changed") as refused:
            images.build("1.1", 13, terms=terms)
        found = re.search(r"image_diff -e (\S+) -e image_old=(\S+) -e image_new=(\S+);", str(refused.value))
        assert found is not None and found.group(1) == "image_output=" + repository
        folder = FolderRepository(repository)
        subjects = [compare.find_subject(folder, each, None) for each in found.groups()[1:]]
        lines = compare.report(compare.compare(*subjects), 5)
        assert "  seq: 11 → 13" in lines
        before = images.built["1.1"]
        images.build("1.1", 13, terms=replace(terms, replace=True))
        images.built["1.1"] = before
        assert not os.path.exists(found.group(3))

    def test_what_there_is_no_list_of(self, images: Images, tmp_path: Any) -> None:
        folder = Folder(images.repository)
        manifest = folder.manifest(images.built["1.0"]["id"])
        bare = replace(manifest, files={"windows": manifest.files["windows"]})
        with pytest.raises(FleetError, match=r"image_version=1\.0"):
            compare.subject_of(FolderRepository(images.repository), bare)
        with pytest.raises(FleetError, match="No such file"):
            compare.find_subject(None, str(tmp_path / "nothing"), None)
        with pytest.raises(FleetError, match="was not said"):
            compare.find_subject(None, "1.0", None)
