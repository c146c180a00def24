# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FreeBSD packages laid into a tree without pkg."""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import sys
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import packages
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import Accounts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import PackageError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Script
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree, TreeError
from ansible_collections.nanozfs.fleet.tests.unit.packaged import ABI, Member, bundle, make, manifest


def system() -> Tree:
    tree = Tree()
    tree.write("etc/master.passwd", "root::0:0::0:0::/root:/bin/sh\nwww:*:80:80::0:0::/:/nologin\n", 0o600)
    tree.write("etc/group", "wheel:*:0:root\nwww:*:80:\n")
    return tree


def lay(tree: Tree, tmp_path: Path, *paths: str) -> Tuple[List[packages.Archive], List[str]]:
    said: List[str] = []
    found = packages.expand([Supplied(path, os.path.basename(path), digest_file(path)) for path in paths])
    archives = [packages.read(each) for each in found]
    packages.check(archives, (), ABI)
    accounts = Accounts()
    accounts.add(tree)
    for path, line in packages.lay(tree, archives, accounts, str(tmp_path), said.append).lines:
        tree.append(path, line)
    return archives, said


@pytest.mark.parametrize("codec", ["zstd", "xz"])
def test_files_and_what_the_image_says_of_them(tmp_path: Path, codec: str) -> None:
    tree = system()
    path = make(tmp_path, manifest("python39"), codec, ("root", "www"))
    archives, said = lay(tree, tmp_path, path)
    program = tree.get("usr/local/bin/python39")
    assert (program.mode, program.uid, program.gid, program.mtime) == (0o4755, 0, 80, 5), "owners are found by name"
    assert program.content() == b"program of python39"
    assert tree.get("usr/local/bin/python39-1") == program and program.group is not None
    assert tree.get("usr/local/share/python39").mode == 0o750
    assert not [path for path in tree.paths() if "MANIFEST" in path] and said == []
    (package,) = packages.packages_of(archives)
    assert (package.name, package.version, package.origin) == ("python39", "1.2_3,1", "lang/python39")
    assert (package.licenses, package.options) == (("PSFL",), (("DEBUG", "off"), ("IPV6", "on")))
    assert package.sha256 == digest_file(path)


def test_dependencies(tmp_path: Path) -> None:
    needs = {
        "libffi": {"origin": "devel/libffi", "version": "3"},
        "readline": {"origin": "devel/readline", "version": "8"},
    }
    python = make(tmp_path, manifest("python39", deps=needs))
    libffi = make(tmp_path, manifest("libffi"))
    with pytest.raises(PackageError, match=r"missing packages: readline \(for python39\)"):
        lay(system(), tmp_path, python, libffi)
    archives, _said = lay(system(), tmp_path, python, libffi, make(tmp_path, manifest("readline")))
    assert [each.name for each in packages.packages_of(archives)] == ["libffi", "python39", "readline"]
    packages.check(archives[:1], ["libffi", "readline"], ABI)  # the tree of a build host may have them already


def test_scripts_are_said_and_not_run(tmp_path: Path) -> None:
    values = manifest(
        "a", scripts={"post-install": "touch%20x", "post-deinstall": "x"}, lua_scripts={"pre-install": ["x"]}
    )
    _archives, said = lay(system(), tmp_path, make(tmp_path, values))
    begin = "the package a has a script that was not run "
    assert [text.startswith(begin) for text in said] == [True, True]
    assert "(pre-install, Lua: x)" in said[0] and "(post-install, sh: touch x)" in said[1]


def test_users_and_groups(tmp_path: Path) -> None:
    tree = system()
    line = "redis:*:535:535:daemon:0:0:Redis:/nonexistent:/usr/sbin/nologin"
    values = manifest("redis", users=[{"redis": line}, "www"], groups={"redis": "redis:*:535:"})
    path = make(tmp_path, values, owner=("redis", "redis"))
    _archives, said = lay(tree, tmp_path, path)
    assert tree.get("usr/local/bin/redis").uid == 535 and said == []
    assert tree.get("etc/master.passwd").content().decode().endswith(line + "\n")
    assert tree.get("etc/master.passwd").mode == 0o600
    assert tree.get("etc/group").content().decode().endswith("www:*:80:\nredis:*:535:\n")


def test_users_without_what_they_need(tmp_path: Path) -> None:
    _archives, said = lay(system(), tmp_path, make(tmp_path, manifest("redis", users=["redis"])))
    assert said == ["the package redis needs the user redis, which the image does not have"]
    path = make(tmp_path, manifest("redis", users=["redis"]), owner=("redis", "wheel"))
    with pytest.raises(
        TreeError, match=r"redis of the package redis belongs to the user redis, which .*etc/master.passwd"
    ):
        lay(system(), tmp_path, path)


@pytest.mark.parametrize(
    "line",
    [
        "toor:*:0:0::0:0::/:/bin/sh",
        "redis:*:x:5::/:/bin/sh",
        "redis:*:\u00b2:5::/:/bin/sh",
        "redis:*:\u0665:5::/:/bin/sh",
        "redis:*:-5:5::/:/bin/sh",
        "redis:*:4294967295:5::/:/bin/sh",
        "redis:*:5:x::/:/bin/sh",
        "redis:*:5:",
        "redis:*:5:5::\nx:/:/bin/sh",
    ],
)
def test_lines_that_are_none_of_the_user(tmp_path: Path, line: str) -> None:
    tree = system()
    _archives, said = lay(tree, tmp_path, make(tmp_path, manifest("redis", users={"redis": line})))
    assert said == ["the package redis needs the user redis, which the image does not have"]
    assert tree.get("etc/master.passwd") == system().get("etc/master.passwd")


def test_a_number_that_is_none_in_the_image() -> None:
    tree = system()
    tree.append("etc/master.passwd", "redis:*:\u00b2:5::0:0::/:/bin/sh\n")
    accounts = Accounts()
    accounts.add(tree)
    assert "redis" not in accounts.users and accounts.users["root"] == 0


def test_lines_that_are_none_of_the_group(tmp_path: Path) -> None:
    tree = system()
    for line in ("redis:*:5:5::/:/bin/sh", "redis:*:\u00b2:"):
        _archives, said = lay(tree, tmp_path, make(tmp_path, manifest("redis", groups={"redis": line})))
        assert said == ["the package redis needs the group redis, which the image does not have"]


@pytest.mark.parametrize("place, name", [("All", "a-1.pkg"), ("All/Hashed", "a-1~0123456789.pkg"), (".", "a-1.txz")])
@pytest.mark.parametrize("given", ["", "All"])
def test_folders_as_pkg_and_poudriere_leave_them(tmp_path: Path, place: str, name: str, given: str) -> None:
    """With the catalogue of the repository beside them, which is in packages as well."""
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(make(folder, manifest("a"), "xz"), folder / name)
    for catalogue in ("packagesite.pkg", "data.pkg", "meta.txz"):
        (tmp_path / catalogue).write_bytes(lzma.compress(bytes(10240)))
    if given and not place.startswith(given):
        return
    found = packages.expand([Supplied(str(tmp_path / given), "x")])
    assert [packages.read(each).package.name for each in found] == ["a"]


def packed(folder: Path, name: str, *members: Tuple[str, bytes, Dict[str, Any]]) -> str:
    """A package of whatever members."""
    path = folder / (name + ".pkg")
    with tarfile.open(path, "w:xz") as tar:
        for member, data, fields in members:
            info = tarfile.TarInfo(member)
            info.size, info.uname, info.gname, info.mode = len(data), "root", "wheel", 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def about(name: str, **values: Any) -> Tuple[str, bytes, Dict[str, Any]]:
    return "+MANIFEST", json.dumps(manifest(name, **values)).encode(), {}


UCL = b"""name = "tool";
version = "1.0.1";
abi = "FreeBSD:13:amd64";
deps { curl { version = "8"; origin = "ftp/curl"; } }
scripts {
    post-install = <<EOD
#!/bin/sh
echo hello
EOD
}
"""


def test_a_manifest_in_ucl(tmp_path: Path) -> None:
    """Pkg reads it as well; the compact one is JSON in any case."""
    compact = json.dumps({"name": "tool", "version": "1.0.1", "abi": ABI}).encode()
    path = packed(
        tmp_path, "tool", ("+COMPACT_MANIFEST", compact, {}), ("+MANIFEST", UCL, {}), ("/usr/local/bin/tool", b"x", {})
    )
    tree = system()
    (archive,), said = lay(tree, tmp_path, path)
    assert (archive.package.name, archive.package.version, archive.scripts) == (
        "tool",
        "1.0.1",
        (Script("post-install", False, ""),),
    )
    assert tree.get("usr/local/bin/tool").content() == b"x"
    assert len(said) == 2 and "has a manifest in UCL" in said[0] and "was not run (post-install, sh)" in said[1]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    """Names of files, which pkg writes as in an address, and a script in Lua, which it writes as it is."""
    name, script = "/usr/local/share/caf\udce9", "print('caf\udce9')"
    values = manifest("a", comment="caf@", files={"/usr/local/share/caf%e9": "-"}, lua_scripts={"pre-install": ["@"]})
    text = json.dumps(values).replace('"@"', '"{0}"'.format(script)).replace("@", "\udce9")
    path = packed(
        tmp_path,
        "a",
        ("+MANIFEST", text.encode("utf-8", "surrogateescape"), {}),
        (name, b"x", {}),
        ("/var/db/caf\udce9\x1b", b"", {"type": tarfile.DIRTYPE}),
    )
    tree = system()
    (archive,), said = lay(tree, tmp_path, path)
    assert archive.scripts == (Script("pre-install", True, script),) and name[1:] in tree
    assert [each for each in said if "/var/db/caf?? (0644 root:wheel)" in each]


@pytest.mark.parametrize("text", ['"scripts": {"install": "id"}', '"scripts": {"install": "id", "install": ""}'])
def test_a_manifest_that_says_something_twice(text: str) -> None:
    """Libucl keeps both; a script could hide from one of the readers."""
    whole = json.dumps(manifest("a", scripts={}) if '""' not in text else manifest("a"))
    with pytest.raises(PackageError, match="it says something twice"):
        packages.parse_manifest(whole[:-1] + ", " + text + "}", "a.pkg", "0")


def test_accounts_of_the_base_system_that_come_with_others(tmp_path: Path) -> None:
    """pkgbase: what belongs to them may come earlier in the alphabet."""
    passwd = b"root::0:0::0:0::/root:/bin/sh\nuucp:*:66:66::0:0::/:/nologin\n"
    group = b"wheel:*:0:root\naudit:*:77:\ndialer:*:68:\n"
    runtime = packed(
        tmp_path,
        "FreeBSD-runtime",
        about("FreeBSD-runtime", files={"/etc/master.passwd": "1$0", "/etc/group": "1$0"}),
        ("/etc/master.passwd", passwd, {"mode": 0o600}),
        ("/etc/group", group, {}),
    )
    acct = packed(
        tmp_path,
        "FreeBSD-acct",
        about("FreeBSD-acct", files={"/usr/bin/cu": {"perm": "6555"}, "/usr/sbin/auditd": {"perm": "0644"}}),
        ("/usr/bin/cu", b"x", {"uname": "uucp", "gname": "dialer", "mode": 0o6555}),
        ("/usr/sbin/auditd", b"x", {"gname": "audit"}),
    )
    tree = system()
    lay(tree, tmp_path, acct, runtime)
    assert (tree.get("usr/bin/cu").uid, tree.get("usr/bin/cu").gid, tree.get("usr/sbin/auditd").gid) == (66, 68, 77)


@pytest.mark.parametrize(
    "members, files, said",
    [
        ([("/dev/null0", b"", {"type": tarfile.CHRTYPE})], ["/dev/null0"], "/dev/null0 is a device"),
        ([("/var/run/f", b"", {"type": tarfile.FIFOTYPE})], ["/var/run/f"], "/var/run/f is a device"),
        ([("/usr/local/bin/more", b"x", {})], [], "/usr/local/bin/more is none of the files that its manifest names"),
        ([("/etc/x", b"", {"type": tarfile.SYMTYPE, "linkname": "/y"})], [], "/etc/x is none of the files"),
        (
            [("/usr/local/bin/su", b"x", {"mode": 0o4755})],
            {"/usr/local/bin/su": {"perm": "0755"}},
            "/usr/local/bin/su has the mode 4755, and its manifest says 0755",
        ),
        ([("/../../etc/cron.d/x", b"x", {})], ["/../../etc/cron.d/x"], "etc/cron.d/x"),
        ([("/usr/local/../../../x", b"x", {})], ["/usr/local/../../../x"], "x"),
    ],
)
def test_archives_that_nobody_would_make(tmp_path: Path, members: Any, files: Any, said: str) -> None:
    """pkg(8) refuses them; in an image they would be there without being seen."""
    tree = system()
    before = dict(tree.nodes)
    listed = files if isinstance(files, dict) else dict.fromkeys(files, "1$0")
    path = packed(tmp_path, "evil", about("evil", files=listed), *members)
    with pytest.raises(TreeError, match=re.escape(said)):
        lay(tree, tmp_path, path)
    assert tree.nodes == before


def test_names_in_a_manifest_are_as_in_an_address(tmp_path: Path) -> None:
    name = "/usr/local/share/ca 100%/é.crt"
    listed = {"/usr/local/share/ca%20100%25/%c3%a9.crt": {"perm": "0644"}}
    tree = system()
    lay(tree, tmp_path, packed(tmp_path, "ca", about("ca", files=listed), (name, b"x", {})))
    assert tree.get(name.strip("/")).content() == b"x"


def test_two_packages_with_one_file(tmp_path: Path) -> None:
    same = {"files": {"/usr/local/bin/vi": "1$0"}}
    paths = [packed(tmp_path, name, about(name, **same), ("/usr/local/bin/vi", b"x", {})) for name in ("vim", "nvi")]
    with pytest.raises(PackageError, match="the packages vim and nvi both have /usr/local/bin/vi, so they cannot be"):
        lay(system(), tmp_path, *paths)


def test_what_runs_as_somebody_else_is_known(tmp_path: Path) -> None:
    tree = system()
    archives = [packages.read(Supplied(make(tmp_path, manifest("sudo")), "sudo.pkg", "0" * 64))]
    accounts = Accounts()
    accounts.add(tree)
    laid = packages.lay(tree, archives, accounts, str(tmp_path), lambda text: None)
    assert laid.privileged == {"sudo": ["/usr/local/bin/sudo 4755"]}


def test_what_it_has_below_var_is_said(tmp_path: Path) -> None:
    folder = {"type": tarfile.DIRTYPE, "mode": 0o750, "gname": "www"}
    path = packed(
        tmp_path,
        "httpd",
        about("httpd", files={"/var/db/httpd/schema.sql": "1$0", "/usr/local/sbin/httpd": "1$0"}),
        ("/var/log/httpd/", b"", folder),
        ("/var/db/httpd/", b"", dict(folder)),
        ("/var/db/httpd/schema.sql", b"x", {}),
        ("/usr/local/sbin/httpd", b"x", {}),
    )
    _archives, (said,) = lay(system(), tmp_path, path)
    assert "has below /var is not on the image" in said
    assert "/var/db/httpd/schema.sql, /var/log/httpd (0750 root:www)" in said


def test_a_folder_is_a_repository(tmp_path: Path) -> None:
    """Where a file has several names."""
    (tmp_path / "All").mkdir()
    path = make(tmp_path / "All", manifest("a"))
    os.symlink(path, tmp_path / "All" / "a.pkg")
    make(tmp_path / "All", manifest("b"))
    found = packages.expand([Supplied(str(tmp_path / "All"), "All")])
    assert sorted(packages.read(each).package.name for each in found) == ["a", "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError, match="has no packages"):
        packages.expand([Supplied(str(tmp_path / "empty"), "x")])


@pytest.mark.parametrize(
    "second, said",
    [
        (manifest("a", version="2"), "the package a is given twice"),
        (manifest("b", abi="FreeBSD:14:amd64"), "is for FreeBSD:14:amd64, and the image FreeBSD:13:amd64"),
        (manifest("b", abi="", arch="freebsd:12:x86:64"), "is for freebsd:12:x86:64"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, second: Dict[str, Any], said: str) -> None:
    with pytest.raises(PackageError, match=said):
        lay(system(), tmp_path, make(tmp_path, manifest("a")), make(tmp_path, second))


@pytest.mark.parametrize("abi", ["FreeBSD:13:*", "FreeBSD:*:*", "freebsd:13:x86:64", "", ABI])
def test_what_fits(abi: str) -> None:
    assert packages.fits(abi, ABI)


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x28\xb5\x2f\xfdbroken", lzma.compress(b"x" * 2000)])
def test_no_package(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkg").write_bytes(content)
    with pytest.raises(PackageError, match=r"a\.pkg (cannot be read|is no package)"):
        lay(system(), tmp_path, str(tmp_path / "a.pkg"))


def test_damage_behind_the_end_of_the_archive(tmp_path: Path) -> None:
    path = Path(make(tmp_path, manifest("a"), "xz"))
    raw = bytearray(path.read_bytes())
    raw[-40] ^= 0xFF  # the sum of the block
    path.write_bytes(raw)
    with pytest.raises(PackageError, match="cannot be read"):
        lay(system(), tmp_path, str(path))


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    values = manifest("a")
    path = make(tmp_path, values)
    del values["version"]
    with pytest.raises(PackageError, match=r"has no usable \+MANIFEST"):
        packages.parse_manifest(json.dumps(values), path, "")


def test_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, manifest("a"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(PackageError, match="install the Python package zstandard"):
        lay(system(), tmp_path, path)


@pytest.mark.parametrize(
    ("said", "size", "fits"), [(3 << 20, 3 << 20, True), (3 << 20, (4 << 20) + (1 << 19), False), (1, 1 << 20, True)]
)
def test_more_than_it_says_is_not_unpacked(tmp_path: Path, said: int, size: int, fits: bool) -> None:
    """A package of zeros is small, and would fill the disk."""
    members: List[Member] = [("/usr/local/a", bytes(size), {}), ("/usr/local/b", b"", {})]
    archive = packages.read(Supplied(bundle(tmp_path, manifest("a", flatsize=said), members), "x", "0" * 64))
    (tmp_path / "scratch").mkdir()
    if fits:
        packages.lay(Tree(), [archive], Accounts(), str(tmp_path / "scratch"), print)
        return
    with pytest.raises(PackageError, match="it unpacks to more than 4508876 bytes, and says that it has 3145728"):
        packages.lay(Tree(), [archive], Accounts(), str(tmp_path / "scratch"), print)
    assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) == 0
    with pytest.raises(PackageError, match="unpacks to more"):
        packages.contents_of(archive, ["/usr/local/b"])


def test_a_large_file_before_the_manifest(tmp_path: Path) -> None:
    path = packed(tmp_path, "a", ("/usr/local/a", bytes(packages.MAX_TEXT + 1), {}), about("a"))
    with pytest.raises(PackageError, match="is no package: it has no"):
        packages.read(Supplied(path, "x", "0" * 64))
