# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database of packages of an image.

That it has, row by row, what pkg(8) 2.8.4 itself wrote when it installed the same packages, was compared by hand: 120
packages of the ports for FreeBSD 12 and 14, and ten like those of the base system, which that pkg had made. pkg 1.21.3,
2.4.2 and 2.8.4 read it where nothing can be written, each with the schema that :func:`database.schema_of` names.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import database, packages
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import Archive, PackageError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.tests.unit.packaged import manifest
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_packages import packed

SUM = "1$" + "0" * 64

#: as pkg 2 writes one
FULL: Dict[str, Any] = {
    "name": "FreeBSD-rc",
    "origin": "base/FreeBSD-rc",
    "version": "15.0p1",
    "comment": "scripts, 100% é",
    "desc": "more%0Alines",
    "maintainer": "re@FreeBSD.org",
    "www": "https://www.FreeBSD.org",
    "abi": "FreeBSD:15:amd64",
    "prefix": "/",
    "flatsize": 4711,
    "licenselogic": "or",
    "licenses": ["BSD2CLAUSE", "MIT"],
    "vital": True,
    "deps": {"FreeBSD-runtime": {"origin": "base/FreeBSD-runtime", "version": "15.0"}},
    "categories": ["base"],
    "users": ["www"],
    "groups": [{"www": "www:*:80:"}],
    "shlibs_required": ["libc.so.7"],
    "shlibs_provided": ["libx.so.1"],
    "shlibs_required_ignore": ["liby.so.1"],
    "provides": ["a"],
    "requires": ["b", "b"],
    "options": {"DOCS": "on"},
    "annotations": {"set": "minimal", "flavor": "x"},
    "files": {
        "/etc/rc%20d": {"sum": SUM, "uname": "root", "gname": "wheel", "perm": "0444", "fflags": "schg", "mtime": 7},
        "/etc/motd": {"sum": "2$yb", "uname": "root", "gname": "wheel", "perm": "0644", "symlink_target": "x"},
        "/bin/old": SUM,
    },
    "directories": {"/usr/share/x": {"uname": "root", "gname": "daemon", "perm": "01777"}, "/usr/share/y": "y"},
    "config": ["/etc/motd"],
    "scripts": {"post-install": "echo %25", "deinstall": "true"},
    "lua_scripts": {"post-install": ["print_msg()", "-- %25"]},
    "messages": [{"message": "é", "type": "install"}],
}


def archive(folder: Path, values: Dict[str, Any], *members: Tuple[str, bytes, Dict[str, Any]]) -> Archive:
    path = packed(folder, values["name"], ("+MANIFEST", json.dumps(values).encode(), {}), *members)
    return packages.read(Supplied(path, Path(path).name, "0" * 64))


def full(folder: Path) -> Archive:
    return archive(folder, FULL, ("/etc/motd", b"hello \xff\n", {}))


def made(folder: Path, archives: Sequence[Archive], **source: Any) -> sqlite3.Connection:
    path = folder / "local.sqlite"
    database.make(str(path), archives, database.Source(**source), 1700000000, 42)
    return sqlite3.connect("file:{0}?mode=ro".format(path), uri=True)


def rows(connection: sqlite3.Connection, query: str) -> List[Any]:
    return connection.execute(query).fetchall()


def test_all_that_a_package_says(tmp_path: Path) -> None:
    found = made(tmp_path, [full(tmp_path)])
    assert rows(found, "PRAGMA user_version") == [(42,)]
    assert rows(
        found, "SELECT origin, name, version, comment, desc, message, arch, prefix, flatsize FROM packages"
    ) == [
        (
            "base/FreeBSD-rc",
            "FreeBSD-rc",
            "15.0p1",
            "scripts, 100% é",
            "more\nlines",
            '[{"message":"é","type":"install"}]',
            "FreeBSD:15:amd64",
            "/",
            4711,
        )
    ]
    assert rows(found, "SELECT automatic, locked, licenselogic, time, vital FROM packages") == [
        (1, 0, 124, 1700000000, 1)
    ]
    assert rows(found, "SELECT path, sha256, uname, gname, perm, fflags, mtime, symlink_target FROM files") == [
        ("/bin/old", SUM, None, None, 0, 0, 0, None),
        ("/etc/motd", "2$yb", "root", "wheel", 0o644, 0, 0, "x"),
        ("/etc/rc d", SUM, "root", "wheel", 0o444, 0x20000, 7, None),
    ]
    assert rows(
        found, "SELECT path, uname, gname, perm, try FROM directories JOIN pkg_directories ON directory_id = id"
    ) == [
        ("/usr/share/x", "root", "daemon", 0o1777, 1),
        ("/usr/share/y", None, None, 0, 1),
    ]
    assert rows(found, "SELECT path, CAST(content AS BLOB) FROM config_files") == [("/etc/motd", b"hello \xff\n")]
    assert rows(found, "SELECT script, type FROM pkg_script JOIN script USING (script_id)") == [
        ("echo %", 1),
        ("true", 7),
    ]
    assert rows(found, "SELECT lua_script, type FROM pkg_lua_script JOIN lua_script USING (lua_script_id)") == [
        ("print_msg()", 1),
        ("-- %25", 1),
    ]
    assert rows(found, "SELECT origin, name, version FROM deps") == [
        ("base/FreeBSD-runtime", "FreeBSD-runtime", "15.0")
    ]
    assert rows(found, "SELECT option, value FROM pkg_option JOIN option USING (option_id)") == [("DOCS", "on")]
    assert rows(found, "SELECT flavor FROM flavors") == [("x",)]
    for table, column, expected in (
        ("licenses", "license_id", ["BSD2CLAUSE", "MIT"]),
        ("categories", "category_id", ["base"]),
        ("users", "user_id", ["www"]),
        ("groups", "group_id", ["www"]),
    ):
        query = "SELECT name FROM {0} JOIN pkg_{0} ON {1} = id".format(table, column)
        assert [each[0] for each in rows(found, query)] == expected
    for table, library in (("required", "libc.so.7"), ("provided", "libx.so.1"), ("required_ignore", "liby.so.1")):
        query = "SELECT name FROM shlibs JOIN pkg_shlibs_{0} ON shlib_id = id".format(table)
        assert rows(found, query) == [(library,)]
    assert rows(found, "SELECT require FROM requires JOIN pkg_requires ON require_id = id") == [("b",)]
    assert rows(found, "PRAGMA integrity_check") == [("ok",)]
    assert rows(found, "PRAGMA foreign_key_check") == []


def test_where_packages_are_from(tmp_path: Path) -> None:
    archives = [archive(tmp_path, manifest(name)) for name in ("b", "a")]
    found = made(tmp_path, archives, repositories={"a": "FreeBSD-ports"}, asked=["b"])
    assert rows(found, "SELECT name, automatic FROM packages") == [("a", 1), ("b", 0)]
    query = (
        "SELECT package_id, tag.annotation, value.annotation FROM pkg_annotation "
        "JOIN annotation tag ON tag_id = tag.annotation_id JOIN annotation value ON value_id = value.annotation_id"
    )
    assert sorted(rows(found, query)) == [(1, "repo_type", "binary"), (1, "repository", "FreeBSD-ports")]
    # what both say stands there once
    assert rows(found, "SELECT count(*) FROM option") == [(2,)]
    assert rows(found, "SELECT count(*) FROM pkg_option") == [(4,)]


def test_the_same_packages_are_the_same_bytes(tmp_path: Path) -> None:
    archives = [full(tmp_path), archive(tmp_path, manifest("a"))]
    content = []
    for number, each in enumerate((archives, archives[::-1])):
        path = tmp_path / str(number)
        path.write_bytes(b"of a build that was broken off")
        database.make(str(path), each, database.Source(), 5, 42)
        content.append(path.read_bytes())
    assert content[0] == content[1]
    header = content[0][:100]
    assert header[18:20] == b"\1\1", "a log would have to be made beside it, in a folder that cannot be written"
    assert header[24:28] == header[92:96] == b"\0\0\0\1" and header[96:100] == (3040000).to_bytes(4, "big")
    assert not list(tmp_path.glob("*-journal")) + list(tmp_path.glob("*-wal"))


@pytest.mark.parametrize(
    ("version", "schema"),
    [
        ("1.17.5", 35),
        ("1.19.1", 36),
        ("2.3.1_2", 36),
        ("2.4.0", 37),
        ("2.6.2", 38),
        ("2.7.5", 39),
        ("2.8.4,1", 42),
        ("3.0", 42),
    ],
)
def test_the_schema_is_that_of_the_images_own_pkg(version: str, schema: int) -> None:
    assert database.schema_of(version) == schema


def test_what_is_not_used_of_a_page_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "made"
    options = {"OPTION{0}".format(number): "on" for number in range(2000)}
    database.make(
        str(path), [archive(tmp_path, manifest("a", options=options, desc="x" * 9000))], database.Source(), 5, 42
    )
    before = path.read_bytes()
    dirty = bytearray(before)
    gaps = 0
    for page in range(0, len(dirty), 4096):
        head = page or 100
        if dirty[head] in (2, 5, 10, 13):
            start = head + (8 if dirty[head] > 5 else 12) + 2 * int.from_bytes(dirty[head + 3 : head + 5], "big")
            end = page + int.from_bytes(dirty[head + 5 : head + 7], "big")
            assert not any(dirty[start:end])
            dirty[start:end] = b"\xff" * (end - start)
            gaps += end > start
    assert gaps > 10
    path.write_bytes(dirty)
    found = sqlite3.connect(str(path))
    assert rows(found, "PRAGMA integrity_check") == [("ok",)] and rows(found, "SELECT length(desc) FROM packages") == [
        (9000,)
    ]
    database._settle(dirty)
    assert bytes(dirty) == before


def test_it_is_in_an_image_that_has_pkg(tmp_path: Path) -> None:
    tree = Tree()
    database.add(tree, [full(tmp_path)], database.Source(), 7, str(tmp_path / "made"))
    assert tree.paths() == [""], "nobody could read it"

    tree.write(database.CONF, "# a comment: PKG_DBDIR\n#PKG_DBDIR = x\n")
    with_pkg = [full(tmp_path), archive(tmp_path, manifest("pkg", version="2.4.2_1"))]
    database.add(tree, with_pkg, database.Source(), 7, str(tmp_path / "made"))
    node = tree.get("usr/local/share/nanozfs/pkg/local.sqlite")
    assert (node.mode, node.uid, node.gid, node.mtime) == (0o644, 0, 0, 7)
    assert rows(sqlite3.connect(str(node.source)), "PRAGMA user_version") == [(37,)]
    assert tree.get("usr/local/share/nanozfs/pkg/vuln.xml").target == "/var/db/pkg/vuln.xml"
    assert tree.get(database.CONF).content().endswith(b'\nPKG_DBDIR = "/usr/local/share/nanozfs/pkg";\n')
    assert tree.get(database.CONF).content().startswith(b"# a comment")


def test_the_configuration_of_an_overlay(tmp_path: Path) -> None:
    tree = Tree()
    tree.write("etc/local/pkg.conf", "a = b;\n")
    database.add(tree, [archive(tmp_path, manifest("pkg"))], database.Source(), 7, str(tmp_path / "made"))
    assert database.CONF not in tree, "it would take the place of that one"
    assert tree.get("etc/local/pkg.conf").content().startswith(b"a = b;\n\n# what is installed")


@pytest.mark.parametrize("line", ["PKG_DBDIR = /x", '  "pkg_dbdir": "/x"', "PKG_DBDIR /x"])
def test_a_site_may_name_another_place(tmp_path: Path, line: str) -> None:
    tree = Tree()
    tree.write(database.CONF, "a = b;\n" + line + ";\n")
    database.add(tree, [archive(tmp_path, manifest("pkg"))], database.Source(), 7, str(tmp_path / "made"))
    assert tree.get(database.CONF).content().decode() == "a = b;\n" + line + ";\n"


@pytest.mark.parametrize("values", [{"flatsize": 1 << 80}, {"directories": ["x"]}, {"options": {}, "annotations": [1]}])
def test_what_pkg_could_not_keep(tmp_path: Path, values: Dict[str, Any]) -> None:
    there = archive(tmp_path, manifest("a"))
    (tmp_path / "b").mkdir()
    packed(tmp_path / "b", "a", ("+MANIFEST", json.dumps(manifest("a", **values)).encode(), {}))
    path = next((tmp_path / "b").iterdir())
    bad = Archive(**{**vars(there), "path": str(path)})
    with pytest.raises(PackageError, match="the package a says of itself what pkg could not keep"):
        made(tmp_path, [bad])
