# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A system that an ordinary user installed: whose its files are says the METALOG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import metalog
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree, TreeError

#: in the manner of xinstall.c, etc/Makefile and certctl, with what is special about each
LINES = """\
#mtree 2.0
. type=dir uname=root gname=wheel mode=0755
./etc type=dir uname=root gname=wheel mode=0755
./etc/master.passwd type=file uname=root gname=wheel mode=0600 size=9 tags=package=runtime,config
./etc/group type=file uname=root gname=wheel mode=0644 size=9
./usr/bin/su type=file uname=root gname=wheel mode=0555 size=2
./usr/bin/su type=file uname=root gname=wheel mode=04555 size=2 flags=schg
./usr/bin/su2 type=file mode=0555 size=2
./usr/bin/write type=file uname=root gname=tty mode=02555 size=2 time=1000.000000000
./var/mail/a\\040b\\134c type=file uname=mailnull gname=mail mode=0660 size=2
./usr/l type=link uname=root gname=wheel mode=0755 link=a\\sb
./certs/0.0 type=link mode=0755 link=../usr/l
./gone type=link uname=root gname=wheel mode=0755 link=usr
./empty type=dir uname=mailnull gname=mail mode=01777
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the lines are about, with the modes that a umask made."""
    root = tmp_path / "root"
    for name in ("etc", "usr/bin", "var/mail", "certs"):
        (root / name).mkdir(parents=True)
    (root / "etc/master.passwd").write_text("root::0:0::0:0::/root:/bin/sh\nmailnull:*:26:26::0:0::/:/nologin\n")
    (root / "etc/group").write_text("wheel:*:0:root\ntty:*:4:\nmail:*:6:\n")
    (root / "usr/bin/su").write_text("su")
    os.link(root / "usr/bin/su", root / "usr/bin/su2")
    (root / "usr/bin/write").write_text("wr")
    (root / "var/mail/a b\\c").write_text("ma")
    os.symlink("a b", root / "usr/l")
    os.symlink("../usr/l", root / "certs/0.0")
    (root / "METALOG").write_text(LINES)
    return root


def read(folder: Path, unlisted: str = metalog.REFUSE, said: Optional[List[str]] = None) -> Tree:
    return metalog.read_folder(
        str(folder), str(folder / "METALOG"), unlisted, Tree(), print if said is None else said.append
    )


def test_owners_modes_and_links(folder: Path) -> None:
    tree = read(folder)
    lines = list(tree.lines(digests=False))
    assert "./usr/bin/su type=file uid=0 gid=0 mode=4555 time=0.0" in lines
    assert "./usr/bin/write type=file uid=0 gid=4 mode=2555 time=0.0" in lines
    assert "./var/mail/a\\040b\\134c type=file uid=26 gid=6 mode=0660 time=0.0" in lines
    assert "./etc/master.passwd type=file uid=0 gid=0 mode=0600 time=0.0" in lines
    assert "./empty type=dir uid=26 gid=6 mode=1777 time=0.0" in lines
    assert (tree.get("usr/l").target, tree.get("gone").target) == ("a b", "usr")
    assert "METALOG" not in tree


def test_the_names_of_one_file_are_one(folder: Path) -> None:
    """The line of a further name says nothing of the owner, and not all of the mode (XXX in xinstall.c)."""
    tree = read(folder)
    assert tree.get("usr/bin/su2") == tree.get("usr/bin/su")
    assert tree.get("usr/bin/su").group is not None and tree.get("usr/bin/su").mode == 0o4555


def test_what_is_not_listed(folder: Path) -> None:
    (folder / "etc" / "motd").write_text("x")
    (folder / "etc" / "motd").chmod(0o600)
    (folder / "more" / "of").mkdir(parents=True)
    with pytest.raises(TreeError, match=r"etc/motd is in the folder and not in .*METALOG; so are 2 others"):
        read(folder)
    tree = read(folder, metalog.ROOT)
    assert (tree.get("etc/motd").uid, tree.get("etc/motd").mode, "more/of" in tree) == (0, 0o600, True)
    tree = read(folder, metalog.SKIP)
    assert "etc/motd" not in tree and "more" not in tree and "certs/0.0" in tree


def test_what_is_listed_and_not_there(folder: Path) -> None:
    (folder / "usr/bin/write").unlink()
    said: List[str] = []
    assert "usr/bin/write" not in read(folder, said=said)
    assert said == ["1 of the files in {0} are not in the folder, usr/bin/write for example".format(folder / "METALOG")]


@pytest.mark.parametrize(
    "line, said",
    [
        ("./usr type=file uname=root gname=wheel mode=0755", "usr is a dir, and by .* a file"),
        ("./etc type=dir uname=nobody2 gname=wheel mode=0755", "belongs to the user nobody2"),
        ("./etc type=dir uname=root gname=staff2 mode=0755", "belongs to the group staff2"),
        ("./etc type=dir uname=root gname=wheel mode=rwx", "line 16 of .* cannot be read"),
        ("./../x type=dir mode=0755", "leads out"),
        ("etc/rc type=file", "line 16 of .* cannot be read"),
    ],
)
def test_refusals(folder: Path, line: str, said: str) -> None:
    (folder / "METALOG").write_text(LINES + "\n" + line + "\n")
    with pytest.raises(TreeError, match=said):
        read(folder)


@pytest.mark.parametrize(
    "encoded, plain",
    [
        ("a\\040b", "a b"),
        ("a\\sb\\tc\\#\\\\", "a b\tc#\\"),
        ("\\303\\244", "ä"),
        ("\\M-C\\M-$", "ä"),
        ("\\^A\\^?", "\x01\x7f"),
        ("\\M^A", b"\x81".decode("utf-8", "surrogateescape")),
    ],
)
def test_unvis(encoded: str, plain: str) -> None:
    assert metalog.unvis(encoded) == plain


def test_users_may_come_from_below(folder: Path) -> None:
    """A kernel that was installed by itself has no master.passwd."""
    below = read(folder)
    kernel = folder / "kernel"
    kernel.mkdir()
    (kernel / "k").write_text("x")
    log = folder / "log"
    log.write_text("./k type=file uname=mailnull gname=mail mode=0555\n")
    tree = metalog.read_folder(str(kernel), str(log), metalog.REFUSE, below, print)
    assert (tree.get("k").uid, tree.get("k").gid, tree.get("k").mode) == (26, 6, 0o555)


def test_naming_one(folder: Path) -> None:
    assert metalog.find(str(folder)) == str(folder / "METALOG")
    assert metalog.find(str(folder / "etc")) is None
    with pytest.raises(TreeError, match="no METALOG /nowhere"):
        metalog.find(str(folder), "/nowhere")
