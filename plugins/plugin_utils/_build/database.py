# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database from which pkg(8) says what is installed: that of the packages that were laid into an image.

It is part of the image, in a folder that pkg is told of (``PKG_DBDIR``): one on the pool would speak of another image
after an upgrade. A link on the pool does not do, because SQLite reads links by their names in the real file system, and
pkg opens its database by another (``pkgdb_syscall_overload()``). Nobody can write to it there, which pkg(8) finds out
by itself: it opens it for reading, and refuses to install or delete.

The same packages make the same bytes; with the versions 3.40 and 3.51 of SQLite that was seen.

Source: ``libpkg/pkgdb.c`` (tables, and what is put into them at an installation), ``libpkg/private/db_upgrades.h``,
``libpkg/pkg_manifest.c`` and ``libpkg/pkg.h.in`` of freebsd/pkg 2.8.4; the file's header in
https://www.sqlite.org/fileformat.html.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import struct
import urllib.parse
from typing import Any, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import (
    Archive,
    PackageError,
    contents_of,
    values_of,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Node, Tree

#: the folder that ``PKG_DBDIR`` names, and the name that pkg has for its database
FOLDER = "usr/local/share/nanozfs/pkg"
NAME = FOLDER + "/local.sqlite"

#: what is known of holes: a host's own, fetched by it, and so on the pool. pkg looks for it beside its database
VULNERABLE = FOLDER + "/vuln.xml"
VULNERABLE_AT = "/var/db/pkg/vuln.xml"

#: pkg.conf(5), the same where an overlay has it as images do, and a line in it that names the folder already
CONF, MOVED = "usr/local/etc/pkg.conf", "etc/local/pkg.conf"
_NAMED = re.compile(rb"^[ \t]*\"?PKG_DBDIR\"?[ \t]*[=:\"/]", re.MULTILINE | re.IGNORECASE)

#: the package that reads it
PKG = "pkg"

#: ``user_version`` by the version of pkg, the newest first: ``DB_SCHEMA_MINOR`` of its releases. Each has all that
#: those before it had, so the tables of the newest do for all; but one that finds a lower number than its own, in a
#: database that it cannot write to, gives up, and one that finds a higher one complains each time
SCHEMAS = (((2, 8), 42), ((2, 7), 39), ((2, 6), 38), ((2, 4), 37), ((1, 18), 36), ((0, 0), 35))

#: ``enum pkg_script``, and its beginning ``enum pkg_lua_script``; of what came between them pkg knows no more
_SCRIPTS = {
    "pre-install": 0,
    "post-install": 1,
    "pre-deinstall": 2,
    "post-deinstall": 3,
    "install": 6,
    "deinstall": 7,
}
_LUA = range(4)
#: ``enum lic_t``
_LOGIC = {"single": 1, "or": ord("|"), "and": ord("&")}
#: names of file flags: strtofflags(3), ``sys/sys/stat.h``
_FLAGS = {
    "nodump": 0x1,
    "uchg": 0x2,
    "uappnd": 0x4,
    "opaque": 0x8,
    "uunlnk": 0x10,
    "usystem": 0x80,
    "usparse": 0x100,
    "offline": 0x200,
    "ureparse": 0x400,
    "uarch": 0x800,
    "urdonly": 0x1000,
    "uhidden": 0x8000,
    "arch": 0x10000,
    "schg": 0x20000,
    "sappnd": 0x40000,
    "sunlnk": 0x100000,
}
_FLAG_NAMES = {"uchange": "uchg", "schange": "schg", "sappend": "sappnd", "uappend": "uappnd", "uunlink": "uunlnk"}
_FLAG_NAMES.update({"sunlink": "sunlnk", "simmutable": "schg", "uimmutable": "uchg", "archived": "arch"})

_CASCADE = "REFERENCES packages(id) ON DELETE CASCADE ON UPDATE CASCADE"


def _names(table: str, key: str, value: str, unique: str = " UNIQUE") -> str:
    """A table that has each text once."""
    return "CREATE TABLE {0} ({1} INTEGER PRIMARY KEY, {2} TEXT NOT NULL{3})".format(table, key, value, unique)


def _links(table: str, column: str, target: str, key: str = "id", primary: bool = False, null: str = "") -> str:
    """A table that says which packages have which of these."""
    return (
        "CREATE TABLE {0} (package_id INTEGER{5} {1}, {2} INTEGER{5} REFERENCES {3}({4}) ON DELETE RESTRICT "
        "ON UPDATE RESTRICT, {6} (package_id, {2}))"
    ).format(table, _CASCADE, column, target, key, null, "PRIMARY KEY" if primary else "UNIQUE")


_TABLES = (
    "CREATE TABLE packages (id INTEGER PRIMARY KEY, origin TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, "
    "comment TEXT NOT NULL, desc TEXT NOT NULL, mtree_id INTEGER, message TEXT, arch TEXT NOT NULL, "
    "maintainer TEXT NOT NULL, www TEXT, prefix TEXT NOT NULL, flatsize INTEGER NOT NULL, automatic INTEGER NOT NULL, "
    "locked INTEGER NOT NULL DEFAULT 0, licenselogic INTEGER NOT NULL, time INTEGER, manifestdigest TEXT NULL, "
    "pkg_format_version INTEGER, dep_formula TEXT NULL, vital INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE pkg_script (package_id INTEGER {0}, type INTEGER, script_id INTEGER REFERENCES script(script_id) "
    "ON DELETE RESTRICT ON UPDATE CASCADE, PRIMARY KEY (package_id, type))".format(_CASCADE),
    _names("script", "script_id", "script"),
    _names("option", "option_id", "option"),
    "CREATE TABLE pkg_option (package_id INTEGER NOT NULL {0}, option_id INTEGER NOT NULL REFERENCES option(option_id) "
    "ON DELETE RESTRICT ON UPDATE CASCADE, value TEXT NOT NULL, PRIMARY KEY (package_id, option_id))".format(_CASCADE),
    "CREATE TABLE deps (origin TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, "
    "package_id INTEGER {0})".format(_CASCADE),
    "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT, uname TEXT, gname TEXT, perm INTEGER, fflags INTEGER, "
    "mtime INTEGER, symlink_target TEXT, package_id INTEGER {0})".format(_CASCADE),
    "CREATE TABLE directories (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, uname TEXT, gname TEXT, "
    "perm INTEGER, fflags INTEGER)",
    "CREATE TABLE pkg_directories (package_id INTEGER {0}, directory_id INTEGER REFERENCES directories(id) "
    "ON DELETE RESTRICT ON UPDATE RESTRICT, try INTEGER, PRIMARY KEY (package_id, directory_id))".format(_CASCADE),
    _names("categories", "id", "name"),
    _links("pkg_categories", "category_id", "categories", primary=True),
    _names("licenses", "id", "name"),
    _links("pkg_licenses", "license_id", "licenses", primary=True),
    _names("users", "id", "name"),
    _links("pkg_users", "user_id", "users"),
    _names("groups", "id", "name"),
    _links("pkg_groups", "group_id", "groups"),
    _names("shlibs", "id", "name"),
    _links("pkg_shlibs_required", "shlib_id", "shlibs", null=" NOT NULL"),
    _links("pkg_shlibs_required_ignore", "shlib_id", "shlibs", null=" NOT NULL"),
    _links("pkg_shlibs_provided", "shlib_id", "shlibs", null=" NOT NULL"),
    _links("pkg_shlibs_provided_ignore", "shlib_id", "shlibs", null=" NOT NULL"),
    _names("annotation", "annotation_id", "annotation"),
    "CREATE TABLE pkg_annotation (package_id INTEGER REFERENCES packages(id) ON DELETE CASCADE ON UPDATE RESTRICT, "
    "tag_id INTEGER NOT NULL REFERENCES annotation(annotation_id) ON DELETE CASCADE ON UPDATE RESTRICT, "
    "value_id INTEGER NOT NULL REFERENCES annotation(annotation_id) ON DELETE CASCADE ON UPDATE RESTRICT, "
    "UNIQUE (package_id, tag_id))",
    "CREATE TABLE pkg_conflicts (package_id INTEGER NOT NULL {0}, conflict_id INTEGER NOT NULL, "
    "UNIQUE (package_id, conflict_id))".format(_CASCADE),
    "CREATE TABLE pkg_lock (exclusive INTEGER(1), advisory INTEGER(1), read INTEGER(8))",
    "CREATE TABLE pkg_lock_pid (pid INTEGER PRIMARY KEY)",
    "INSERT INTO pkg_lock VALUES (0, 0, 0)",
    _names("provides", "id", "provide", unique=""),
    _links("pkg_provides", "provide_id", "provides", null=" NOT NULL"),
    "CREATE TABLE config_files (path TEXT NOT NULL UNIQUE, content TEXT, package_id INTEGER {0})".format(_CASCADE),
    _names("requires", "id", "require", unique=""),
    _links("pkg_requires", "require_id", "requires", null=" NOT NULL"),
    _names("lua_script", "lua_script_id", "lua_script"),
    "CREATE TABLE pkg_lua_script (package_id INTEGER NOT NULL {0}, lua_script_id INTEGER NOT NULL "
    "REFERENCES lua_script(lua_script_id) ON DELETE RESTRICT ON UPDATE RESTRICT, type INTEGER, "
    "UNIQUE (package_id, lua_script_id))".format(_CASCADE),
    "CREATE VIEW flavors AS SELECT package_id, value.annotation AS flavor FROM pkg_annotation "
    "LEFT JOIN annotation tag ON pkg_annotation.tag_id = tag.annotation_id "
    "LEFT JOIN annotation value ON pkg_annotation.value_id = value.annotation_id WHERE tag.annotation = 'flavor'",
)

#: of the indexes: name, table and columns
_INDEXES = (
    ("deporigini", "deps(origin)"),
    ("deps_package_id", "deps(package_id)"),
    ("files_package_id", "files(package_id)"),
    ("pkg_directories_directory_id", "pkg_directories(directory_id)"),
    ("pkg_digest_id", "packages(origin, manifestdigest)"),
    ("pkg_conflicts_cid", "pkg_conflicts(conflict_id)"),
    ("provides_provide", "provides(provide)"),
    ("pkg_provides_provide_id", "pkg_provides(provide_id)"),
    ("packages_origin", "packages(origin COLLATE NOCASE)"),
    ("packages_name", "packages(name COLLATE NOCASE)"),
    ("pkg_shlibs_required_shlib_id", "pkg_shlibs_required(shlib_id)"),
    ("pkg_shlibs_required_ignore_shlib_id", "pkg_shlibs_required_ignore(shlib_id)"),
    ("pkg_shlibs_provided_shlib_id", "pkg_shlibs_provided(shlib_id)"),
    ("pkg_shlibs_provided_ignore_shlib_id", "pkg_shlibs_provided_ignore(shlib_id)"),
    ("requires_require", "requires(require)"),
    ("pkg_requires_require_id", "pkg_requires(require_id)"),
    ("pkg_requires_package_id", "pkg_requires(package_id)"),
    ("config_files_package_id", "config_files(package_id)"),
    ("pkg_lua_script_package_id", "pkg_lua_script(package_id)"),
)

#: places of numbers in the header that tell of the writer and of how often it wrote, and what stands there for all
_COUNTER, _VALID_FOR, _WRITER = 24, 92, 96
_ONE = b"\0\0\0\1"
#: of a page, of the file's header, and of the header of a page that is part of a tree, by its kind (bytes)
PAGE, HEADER, _TREES = 4096, 100, {2: 12, 5: 12, 10: 8, 13: 8}
#: SQLite 3.40.0, of which only readers with a debugger take note
_VERSION = (3040000).to_bytes(4, "big")


class Source(NamedTuple):
    """Where packages are from.

    ``repositories``: the repository of each that comes from one, by the package's name. ``asked``: names of those that
    are there for themselves, and not because another one needs them.
    """

    repositories: Mapping[str, str] = {}
    asked: Collection[str] = ()


def add(tree: Tree, archives: Sequence[Archive], source: Source, epoch: int, at: str) -> None:
    """Let pkg(8) find in an image what packages it has; nothing where the image has no pkg.

    :param archives: the packages that were laid.
    :param epoch: when they were installed, in seconds since the epoch.
    :param at: the path of a file of this machine that is made.
    :raises PackageError: when it cannot be made.
    """
    reader = next((each.package.version for each in archives if each.package.name == PKG), None)
    if reader is None:
        return
    try:
        make(at, archives, source, epoch, schema_of(reader))
    except (sqlite3.Error, OSError) as error:
        raise PackageError(
            "the database of packages cannot be made: {0}".format(error), safe="nothing was built"
        ) from error
    tree.put(NAME, Node(FILE, 0o644, source=at, mtime=epoch))
    tree.link(VULNERABLE, VULNERABLE_AT)
    place = CONF if tree.follow(CONF) is not None or tree.follow(MOVED) is None else MOVED
    conf = tree.follow(place)
    if conf is None or conf.kind != FILE or not _NAMED.search(conf.content()):
        tree.append(place, '\n# what is installed came with the image\nPKG_DBDIR = "/{0}";\n'.format(FOLDER))


def schema_of(version: str) -> int:
    """The ``user_version`` that a pkg wants.

    :param version: its own: ``2.4.2_1``.
    """
    numbers = [int(each) for each in re.findall(r"\d+", version)[:2]]
    ours = (numbers + [0, 0])[0], (numbers + [0, 0])[1]
    return next(schema for since, schema in SCHEMAS if ours >= since)


def make(at: str, archives: Sequence[Archive], source: Source, epoch: int, schema: int) -> None:
    """Make a database.

    :param schema: its ``user_version``.
    :raises OSError: when it cannot be written; likewise :class:`sqlite3.Error`.
    """
    if os.path.exists(at):
        os.unlink(at)
    connection = sqlite3.connect(at, isolation_level=None)
    try:
        # no log beside it, which a reader would have to make where nothing can be written
        for pragma in (
            "secure_delete = ON",
            "page_size = {0}".format(PAGE),
            "encoding = 'UTF-8'",
            "journal_mode = OFF",
            "synchronous = OFF",
        ):
            connection.execute("PRAGMA " + pragma)
        connection.execute("BEGIN")
        for statement in _TABLES:
            connection.execute(statement)
        for name, columns in _INDEXES:
            connection.execute("CREATE INDEX {0} ON {1}".format(name, columns))
        connection.execute("CREATE UNIQUE INDEX packages_unique ON packages(name)")
        connection.execute("CREATE UNIQUE INDEX deps_unique ON deps(name, version, package_id)")
        connection.execute("PRAGMA user_version = {0}".format(schema))
        for each in sorted(archives, key=lambda each: each.package.name):
            _put(connection, each, source, epoch)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
    finally:
        connection.close()
    with open(at, "r+b") as file:
        content = bytearray(file.read())
        _settle(content)
        file.seek(0)
        file.write(content)


def _settle(content: bytearray) -> None:
    """Take out of a database what its content does not decide: who wrote it, how often, and what was in a page before
    that is not used now. Versions of SQLite leave there what they like, also with ``secure_delete``.
    """
    for place, value in ((_COUNTER, _ONE), (_VALID_FOR, _ONE), (_WRITER, _VERSION)):
        content[place : place + 4] = value
    for page in range(0, len(content), PAGE):
        head = page or HEADER  # the first page begins with the header of the file
        if content[head] in _TREES:  # others hold the rest of a long text, and begin with the number of the next one
            cells, begin = struct.unpack(">HH", content[head + 3 : head + 7])
            free = head + _TREES[content[head]] + 2 * cells
            content[free : page + begin] = bytes(page + begin - free)


def _put(connection: sqlite3.Connection, archive: Archive, source: Source, epoch: int) -> None:
    name = archive.package.name
    try:
        _Entry(connection, archive).write(name not in source.asked, source.repositories.get(name, ""), epoch)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PackageError(
            "the package {0} says of itself what pkg could not keep in its database: {1!r}".format(name, error),
            safe="nothing was built",
            todo="get {0} again, or leave the package {1} out of the image".format(os.path.basename(archive.path), PKG),
        ) from error


class _Entry:
    """A package on its way into the database."""

    def __init__(self, connection: sqlite3.Connection, archive: Archive) -> None:
        self._connection = connection
        self._archive = archive
        self._values = values_of(archive)
        self._id = 0

    def write(self, automatic: bool, repository: str, epoch: int) -> None:
        """Write all of it."""
        values = self._values
        self._id = self._insert(
            "packages",
            origin=_text(values.get("origin")),
            name=_text(values["name"]),
            version=_text(values["version"]),
            comment=_text(values.get("comment")),
            desc=_text(_decoded(str(values.get("desc") or ""))),
            message=_messages(values.get("messages")),
            arch=_text(self._archive.abi),
            maintainer=_text(values.get("maintainer")),
            www=_text(values.get("www")),
            prefix=_text(values.get("prefix")),
            flatsize=_number(values.get("flatsize")),
            automatic=int(automatic),
            licenselogic=_LOGIC.get(str(values.get("licenselogic")), 1),
            time=epoch,
            dep_formula=_text(values["dep_formula"]) if values.get("dep_formula") else None,
            vital=int(bool(values.get("vital"))),
        )
        for name, about in sorted((values.get("deps") or {}).items()):
            self._insert(
                "deps",
                origin=_text(about.get("origin")),
                name=_text(name),
                version=_text(about.get("version")),
                package_id=self._id,
            )
        self._files()
        self._scripts()
        for key, table, column, link in (
            ("categories", "categories", "name", "category_id"),
            ("licenses", "licenses", "name", "license_id"),
            ("users", "users", "name", "user_id"),
            ("groups", "groups", "name", "group_id"),
            ("provides", "provides", "provide", "provide_id"),
            ("requires", "requires", "require", "require_id"),
        ):
            for name in _list(values.get(key)):
                self._insert("pkg_" + key, **{"package_id": self._id, link: self._named(table, "id", column, name)})
        for key in ("shlibs_required", "shlibs_required_ignore", "shlibs_provided", "shlibs_provided_ignore"):
            for name in _list(values.get(key)):
                self._insert("pkg_" + key, package_id=self._id, shlib_id=self._named("shlibs", "id", "name", name))
        for name, value in sorted((values.get("options") or {}).items()):
            option = self._named("option", "option_id", "option", str(name))
            self._insert("pkg_option", package_id=self._id, option_id=option, value=_text(value))
        notes = dict(values.get("annotations") or {})
        if repository:
            notes.update(repository=repository, repo_type="binary")
        for name, value in sorted(notes.items()):
            tag, text = (self._named("annotation", "annotation_id", "annotation", str(each)) for each in (name, value))
            self._insert("pkg_annotation", package_id=self._id, tag_id=tag, value_id=text)

    def _files(self) -> None:
        values = self._values
        for path, about in sorted((values.get("files") or {}).items()):
            said = about if isinstance(about, Mapping) else {"sum": about}
            self._insert(
                "files",
                path=_text(_decoded(path)),
                sha256=_text(said.get("sum")),
                symlink_target=_text(said["symlink_target"]) if said.get("symlink_target") else None,
                mtime=_number(said.get("mtime")),
                package_id=self._id,
                **_owner(said),
            )
        for path, about in sorted((values.get("directories") or {}).items()):
            said = about if isinstance(about, Mapping) else {}
            place = _text(_decoded(path))
            known = self._connection.execute("SELECT id FROM directories WHERE path = CAST(? AS TEXT)", (place,))
            found = known.fetchone()
            number = found[0] if found else self._insert("directories", path=place, **_owner(said))
            self._insert("pkg_directories", package_id=self._id, directory_id=number, **{"try": 1})
        config = [_decoded(each) for each in _list(values.get("config"))]
        contents = contents_of(self._archive, config)
        for path in config:
            content = contents.get(path)
            self._insert("config_files", path=_text(path), content=content, package_id=self._id)

    def _scripts(self) -> None:
        shell: Mapping[str, Any] = self._values.get("scripts") or {}
        lua: Mapping[str, Any] = self._values.get("lua_scripts") or {}
        for kind, number in _SCRIPTS.items():
            if shell.get(kind):
                script = self._named("script", "script_id", "script", _decoded(str(shell[kind])))
                self._insert("pkg_script", package_id=self._id, type=number, script_id=script)
            for text in (lua.get(kind) or ()) if number in _LUA else ():
                script = self._named("lua_script", "lua_script_id", "lua_script", str(text))
                self._insert("pkg_lua_script", package_id=self._id, type=number, lua_script_id=script)

    def _named(self, table: str, key: str, column: str, value: str) -> int:
        """The number of a text in the table that has each once."""
        found = self._connection.execute(
            "SELECT {1} FROM {0} WHERE {2} = CAST(? AS TEXT)".format(table, key, column), (_text(value),)
        ).fetchone()
        return int(found[0]) if found else self._insert(table, **{column: _text(value)})

    def _insert(self, table: str, **values: Any) -> int:
        """Add a row; one that is there already is left alone. Texts are given as bytes, as they may have any."""
        names = list(values)
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO {0} ({1}) VALUES ({2})".format(
                table,
                ", ".join(names),
                ", ".join("CAST(? AS TEXT)" if isinstance(values[each], bytes) else "?" for each in names),
            ),
            [values[each] for each in names],
        )
        return int(cursor.lastrowid or 0)


def _owner(said: Mapping[str, Any]) -> Dict[str, Any]:
    """Owner, mode and flags of a file or folder, as far as a manifest says them."""
    return {
        "uname": _text(said["uname"]) if said.get("uname") else None,
        "gname": _text(said["gname"]) if said.get("gname") else None,
        "perm": int(str(said.get("perm") or "0"), 8),
        "fflags": _flags(said.get("fflags")),
    }


def _flags(said: Any) -> int:
    """File flags as a number: newer packages name them, with commas between."""
    if isinstance(said, int):
        return said
    found = 0
    for name in map(str.strip, str(said or "").split(",")):
        found |= _FLAGS.get(_FLAG_NAMES.get(name, name), 0)
    return found


def _messages(said: Any) -> Optional[bytes]:
    """Messages, which pkg keeps as JSON."""
    return _text(json.dumps(said, separators=(",", ":"), ensure_ascii=False)) if said else None


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogateescape")


def _text(value: Any) -> bytes:
    """A text as its bytes."""
    return str("" if value is None else value).encode("utf-8", "surrogateescape")


def _number(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) or str(value or "").isdigit() else 0


def _list(values: Optional[Iterable[Any]]) -> List[str]:
    """Names: a list of them, or a map from each to what is known of it; none of them twice."""
    found = (str(name) for each in values or () for name in (each if isinstance(each, Mapping) else [each]))
    return list(dict.fromkeys(found))
