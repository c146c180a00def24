# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Triggers of packages, which are said and not run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import List

import pytest

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import packages, triggers
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import Accounts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import PackageError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Answers
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.tests.unit.packaged import bundle, manifest

FONTS = """path: [ "/usr/local/share/fonts", /usr/local/etc/fonts/conf.d ]
cleanup: {
\ttype: lua
\tscript: <<EOS
path: "/nowhere"
EOS
}
trigger: {
\ttype: lua
\tsandbox: false
\tscript: <<EOS
-- a comment
print("Running fc-cache")
pkg.exec({"/usr/local/bin/fc-cache", "-s" })
EOS
}
"""


@pytest.mark.parametrize(
    ("text", "folder", "said"),
    [
        (FONTS, "/usr/local/share/fonts", True),
        (FONTS, "/usr/local/etc/fonts/conf.d", True),
        (FONTS, "/usr/local/share/fonts/dejavu", False),
        (FONTS, "/nowhere", False),
        ('path: "/usr/local/share/mime/packages"\n', "/usr/local/share/mime/packages", True),
        (
            'path_glob: [\n\t"/usr/share/man/*",\n\t"/usr/share/openssl/man/*",\n]\n',
            "/usr/share/openssl/man/man3",
            True,
        ),
        ('path_glob: [\n\t"/usr/share/man/*",\n]\n', "/usr/local/share/man/man3", False),
        ("path_glob = /usr/share/*;\n", "/usr/share/x/y", True),
        ('"path_regexp": ["^(a+)+$"]', "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", True),
        ("trigger: {}", "/x", True),
    ],
)
def test_what_pkg_would_run(text: str, folder: str, said: bool) -> None:
    assert triggers.runs(text, ["/", folder]) is said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/usr/share/pkg/triggers/mandoc.ucl", True),
        ("/usr/local/share/pkg/triggers/post_install/x.ucl", True),
        ("/usr/local/share/pkg/triggers/post_deinstall/x.ucl", False),
        ("/usr/local/share/pkg/triggers/README", False),
        ("/usr/local/share/pkg/triggers/.x.ucl", False),
        ("/usr/share/x.ucl", False),
    ],
)
def test_what_is_one(path: str, said: bool) -> None:
    assert triggers.is_one(path) is said


def test_they_are_said_like_scripts(tmp_path: Path) -> None:
    place = "/usr/local/share/pkg/triggers/fontconfig.ucl"
    paths = [
        bundle(tmp_path, manifest("fontconfig"), [(place, FONTS.encode(), {})]),
        bundle(tmp_path, manifest("dejavu"), [("/usr/local/share/fonts/x.ttf", b"x", {})]),
    ]
    archives = [packages.read(Supplied(path, Path(path).name, str(number) * 64)) for number, path in enumerate(paths)]
    script = triggers.script_of(place, FONTS)
    digest = hashlib.sha256(script.text.encode()).hexdigest()
    assert script.text.startswith("-- a comment\nprint") and script.text.endswith("})\n")

    def lay(which: List[packages.Archive], answers: Answers) -> List[str]:
        said: List[str] = []
        packages.lay(Tree(), which, Accounts(), str(tmp_path), said.append, answers)
        return said

    assert lay(archives, Answers()) == [
        "the package fontconfig has a trigger that was not run, so a cache may be missing (trigger {0}: "
        'pkg.exec({{"/usr/local/bin/fc-cache", "-s" }})), sha256 {1}'.format(place, digest)
    ]
    assert triggers.shown(triggers.script_of("x.ucl", "trigger: {}")) == "trigger x.ucl, Lua: trigger: {}"
    assert lay(archives[:1], Answers()) == [], "nobody has put a font there"
    assert lay(archives, Answers(True, {digest: "no server shows any"})) == []
    with pytest.raises(PackageError, match="a trigger that was not run"):
        lay(archives, Answers(True))
