# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an image comes from, found in the tree or brought by a builder; and the bill of materials of it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from typing import Any, Dict, List

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import (
    MAX_ORIGIN,
    ORIGIN_JSON,
    BadOrigin,
    Input,
    Origin,
    Package,
    parse,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils import _image_build as build
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import provenance
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._local import local_execute
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release import release, sbom
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Folder
from ansible_collections.nanozfs.fleet.tests.unit.conftest import Images

IDENTITY = Identity("web", "1.1", 11, 5, "amd64", "FreeBSD:13:amd64", "tank")
ORIGIN = Origin(
    method="nanobsd",
    release="13.2-RELEASE-p4",
    revision="releng/13.2-n254633-4c7ea1e1f3a2",
    kernel="FLEET",
    options=(("src.conf:WITHOUT_LPR", "yes"),),
    inputs=(Input("extra.txz", "ab" * 32),),
    packages=(
        Package("curl", "8.1.0_1", "ftp/curl", ("MIT",), (("HTTP2", "on"), ("GSSAPI", "off")), "cd" * 32),
        Package("python39", "3.9.16", "lang/python39", ("", "PSFL")),
    ),
    collection="1.0.0",
)


def archive(path: Any, files: Dict[str, bytes]) -> str:
    with tarfile.open(str(path), "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def origin_in(tree: Tree) -> Origin:
    return parse(tree.get(ORIGIN_JSON).content().decode())


@pytest.mark.parametrize(
    "kernel, expected",
    [
        (
            b"\x7f\0@(#)FreeBSD 13.2-RELEASE releng/13.2-n254617-525ecfdad597 GENERIC\0",
            ("releng/13.2-n254617-525ecfdad597", "GENERIC"),
        ),
        (b"@(#)FreeBSD 13.2-RELEASE GENERIC\0", ("", "GENERIC")),
        # as newvers.sh puts it together where the build is not reproducible; the second as recorded (kern.version)
        (
            b"@(#)FreeBSD 13.2-RELEASE #0 releng/13.2-n254617-525ecfdad597: Fri Apr  7 00:00:00 UTC 2023\0"
            b"FreeBSD 13.2-RELEASE #0 releng/13.2-n254617-525ecfdad597: Fri Apr  7 00:00:00 UTC 2023\n"
            b"    root@builder:/usr/obj/usr/src/amd64.amd64/sys/FLEET\n\0",
            ("releng/13.2-n254617-525ecfdad597", "FLEET"),
        ),
        (
            b"@(#)FreeBSD 13.2-RELEASE #3: Mon Nov 23 07:40:02 UTC 2026\0"
            b"FreeBSD 13.2-RELEASE #3: Mon Nov 23 07:40:02 UTC 2026\n"
            b"    root@builder:/usr/obj/usr/src/amd64.amd64/sys/FBSDVM\n\0",
            ("", "FBSDVM"),
        ),
        (b"@(#)FreeBSD 13.2-RELEASE\0", ("", "")),
        (b"no kernel of FreeBSD", ("", "")),
    ],
)
def test_what_a_kernel_says(kernel: bytes, expected: Any) -> None:
    assert provenance.kernel_of(kernel) == expected
    release = provenance.kernel_release_of(kernel)
    assert release == ("" if expected == ("", "") and b"@(#)" not in kernel else "13.2-RELEASE")


def test_the_version_of_the_collection_is_that_of_the_checkout_or_of_what_was_installed() -> None:
    assert provenance.collection_version()[0].isdigit()


class TestInTheImage:
    """What is written into a tree, and so into the identity of a build."""

    def test_release_and_kernel_are_found(self, images: Images, tmp_path: Any) -> None:
        tree, _build = build.plan(images.definition("1.1", 11), str(tmp_path), print)
        origin = origin_in(tree)
        assert (origin.method, origin.release, origin.kernel) == ("sets", "13.2-RELEASE-p4", "GENERIC")
        assert origin.kernel_release == "13.2-RELEASE-p4"
        assert origin.revision == "releng/13.2-n254633-4c7ea1e1f3a2" and origin.collection
        assert not origin.inputs and not origin.packages

    def test_archives_are_named_but_not_the_one_that_says_it_itself(self, images: Images, tmp_path: Any) -> None:
        """Two builds of one tree on a builder may be packed differently, and are one build all the same."""
        extra = archive(tmp_path / "extra.tar", {"usr/share/extra": b"x"})
        builds: List[str] = []
        for number in (1, 2):
            brought = archive(
                tmp_path / "tree-{0}.tar".format(number),
                {ORIGIN_JSON: replace(ORIGIN, inputs=(), packages=()).encode().encode()},
            )
            with open(brought, "ab") as file:
                file.write(bytes(512 * number))  # the same contents in other bytes
            (tmp_path / str(number)).mkdir()
            definition = images.definition("1.1", 11)
            sources = [*definition.sources, brought, extra]
            tree, name = build.plan(replace(definition, sources=sources), str(tmp_path / str(number)), print)
            builds.append(name)
        origin = origin_in(tree)
        assert builds[0] == builds[1]
        assert origin.inputs == (Input("extra.tar", digest_file(extra)),)
        assert (origin.method, origin.kernel, origin.options) == ("nanobsd", "FLEET", ORIGIN.options)

    def test_other_archives_are_another_build(self, images: Images, tmp_path: Any) -> None:
        definition = images.definition("1.1", 11)
        names = set()
        for content in (b"a", b"b"):
            extra = archive(tmp_path / "extra.tar", {"var/emptied": content})  # /var is empty in an image
            names.add(build.plan(replace(definition, sources=[*definition.sources, extra]), str(tmp_path), print)[1])
        assert len(names) == 2

    def test_what_is_laid_on_top_replaces_a_package(self) -> None:
        newer = Package("curl", "8.2.1")
        tree = Tree()
        provenance.write(tree, ORIGIN)
        found = provenance.describe(tree, packages=(newer,))
        assert [(each.name, each.version) for each in found.packages] == [("curl", "8.2.1"), ("python39", "3.9.16")]
        assert found.release == ORIGIN.release and found.inputs == ORIGIN.inputs

    @pytest.mark.parametrize(
        "content", ["", "[]", '{"format": 2, "method": "sets"}', '{"format": 1}', " " * (MAX_ORIGIN + 1)]
    )
    def test_what_cannot_be_read_is_refused(self, content: str) -> None:
        tree = Tree()
        tree.write(ORIGIN_JSON, content)
        with pytest.raises(BadOrigin):
            provenance.describe(tree)

    def test_nothing_is_lost_on_the_way(self) -> None:
        assert parse(ORIGIN.encode()) == replace(
            ORIGIN, packages=tuple(replace(each, options=tuple(sorted(each.options))) for each in ORIGIN.packages)
        )

    def test_the_summary_has_the_number_of_packages_and_the_list_if_wanted(self) -> None:
        short, full = ORIGIN.summary(False), ORIGIN.summary(True)
        assert short["package_count"] == 2 and "packages" not in short and "inputs" not in short
        assert [each["name"] for each in full["packages"]] == ["curl", "python39"]


def made(**changes: Any) -> Dict[str, Any]:
    raw = sbom.make(IDENTITY, "90ab12cd34ef5678", "12" * 32, replace(ORIGIN, **changes), 1704067200)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode())
    assert problem is None, problem
    return dict(json.loads(raw))


class TestBillOfMaterials:
    """CycloneDX, judged by the schema of the library."""

    def test_it_names_system_collection_and_packages(self) -> None:
        parts = {each["bom-ref"]: each for each in made()["components"]}
        assert sorted(parts) == ["collection", "package:curl", "package:python39", "system"]
        assert parts["system"]["version"] == "13.2-RELEASE-p4" and parts["system"]["type"] == "operating-system"
        said = {each["name"]: each["value"] for each in parts["system"]["properties"]}
        assert said["nanozfs:option:src.conf:WITHOUT_LPR"] == "yes"
        assert said["nanozfs:revision"] == ORIGIN.revision and said["nanozfs:input:extra.txz"] == "sha256:" + "ab" * 32
        curl = parts["package:curl"]
        assert curl["purl"] == "pkg:generic/freebsd/curl@8.1.0_1?arch=FreeBSD:13:amd64&origin=ftp/curl"
        assert curl["licenses"] == [{"license": {"id": "MIT"}}]
        assert curl["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
        # a licence in the ports' own words
        assert parts["package:python39"]["licenses"] == [{"license": {"name": "PSFL"}}]

    def test_it_is_the_same_for_the_same_image(self) -> None:
        assert made() == made(packages=tuple(reversed(ORIGIN.packages)))
        assert made()["metadata"]["timestamp"] == "2024-01-01T00:00:00+00:00"

    def test_of_what_does_not_say_where_it_comes_from(self) -> None:
        bare = made(method="", release="", revision="", kernel="", options=(), inputs=(), packages=(), collection="")
        assert len(bare["components"]) == 2

    def test_it_is_published(self, images: Images) -> None:
        folder = Folder(images.repository)
        manifest = folder.manifest(images.built["1.1"]["id"])
        with open(folder.full(manifest.artefact("sbom").name), encoding="utf-8") as file:
            assert json.load(file)["metadata"]["component"]["hashes"][0]["content"] == manifest.id

    def test_without_the_library_there_is_none_and_it_is_said(
        self, images: Images, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sbom, "_FOUND", False)
        said: List[str] = []
        terms = images.terms(output=str(tmp_path / "out"))
        definition = images.definition("1.1", 11, terms=terms, media=())
        result = build.run(definition, Runner(local_execute), said.append)
        assert "sbom" not in result["files"] and "files" in result["files"]
        assert any("cyclonedx-python-lib is not installed" in line for line in said)
        assert not build.run(definition, Runner(local_execute), said.append)["changed"]
        with pytest.raises(FleetError, match="pip install cyclonedx-python-lib"):
            build.run(replace(definition, terms=replace(terms, sbom=True)), Runner(local_execute), said.append)
        # and when it is there, it is made of what was published
        monkeypatch.setattr(sbom, "_FOUND", True)
        order = release.Order(name="web", version="1.1", media=())
        completed = release.run(terms, order, Runner(local_execute), said.append)
        assert completed["changed"] and os.path.exists(completed["files"]["sbom"])

    def test_without_wanting_one(self, images: Images, tmp_path: Any) -> None:
        terms = images.terms(output=str(tmp_path / "out"), sbom=False)
        assert "sbom" not in images.build("1.1", 11, terms=terms, media=())["files"]
