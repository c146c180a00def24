# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts of packages: recognised, done, and said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import packages, scripts
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import Accounts, add_member
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Supplied
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import Laid, PackageError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Home, Script, Work
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree, TreeError
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest

LDCONFIG = """if ! /usr/sbin/service ldconfig restart >/dev/null; then
\t\tif [ -z "${INSTALL_AS_USER}" ]; then
\t\t\texit 1
\t\tfi
\tfi
"""

INFO = """  case "/usr/local/share/info/gmp.info" in
  /*) file="/usr/local/share/info/gmp.info" ;;
   *) file="/usr/local//usr/local/share/info/gmp.info" ;;
  esac
  indexinfo ${PKG_ROOTDIR}${file%/*}
"""

KLD = """case "/boot/modules" in
  /*) kmoddir="/boot/modules" ;;
  *) kmoddir="/usr/local//boot/modules" ;;
  esac
  /usr/sbin/kldxref ${PKG_ROOTDIR}${kmoddir}
"""

#: of FreeBSD-runtime, FreeBSD-utilities and FreeBSD-caroot
BASE = """    pwd_mkdb -i -p -d  ${PKG_ROOTDIR}/etc ${PKG_ROOTDIR}/etc/master.passwd
    services_mkdb  -l -q -o ${PKG_ROOTDIR}/var/db/services.db ${PKG_ROOTDIR}/
    cap_mkdb  -l ${PKG_ROOTDIR}/etc/login.conf
"""
CERTCTL = "/usr/sbin/certctl -D${PKG_ROOTDIR}/ ${PKG_METALOG:+-U -M $PKG_METALOG} rehash"
CERTCTL_13 = """\t[ -x /usr/sbin/certctl ] && env DESTDIR=${PKG_ROOTDIR} \\
\t    /usr/sbin/certctl rehash
"""

PW = """if [ -n "${PKG_ROOTDIR}" ] && [ "${PKG_ROOTDIR}" != "/" ]; then
  PW="/usr/sbin/pw -R ${PKG_ROOTDIR}"
else
  PW=/usr/sbin/pw
fi
"""


def group(name: str = "mysql", gid: Any = 88, end: str = "") -> str:
    return """echo "===> Creating groups"
if ! ${{PW}} groupshow {0} >/dev/null 2>&1; then
  echo "Creating group '{0}' with gid '{1}'"
  ${{PW}} groupadd {0} -g {1}{2}
else
  echo "Using existing group '{0}'"
fi
""".format(name, gid, end)


def user(
    name: str = "mysql",
    uid: Any = 88,
    gid: Any = 88,
    gecos: str = "MySQL Daemon",
    home: str = "/var/db/mysql",
    login: str = "",
) -> str:
    return """echo "===> Creating users"
if ! ${{PW}} usershow {0} >/dev/null 2>&1; then
  echo "Creating user '{0}' with uid '{1}'"
  ${{PW}} useradd {0} -u {1} -g {2} {5} -c "{3}" -d {4} -s /usr/sbin/nologin || exit $?
else
  echo "Using existing user '{0}'"
fi
""".format(name, uid, gid, gecos, home, login)


def member(to: str = "video", who: str = "mysql") -> str:
    return """if ! ${{PW}} groupshow {0} | grep -qw {1}; then
  echo "Adding user '{1}' to group '{0}'"
  ${{PW}} groupmod {0} -m {1}
fi
""".format(to, who)


def folder(path: str = "/var/db/mysql", second: str = "") -> str:
    return """echo "===> Creating homedir(s)"
if [ -n "${{PKG_ROOTDIR}}" ] && [ "${{PKG_ROOTDIR}}" != "/" ]; then
  HOMEDIR="${{PKG_ROOTDIR}}/{0}"
  MDBDIR="-N ${{PKG_ROOTDIR}}/etc/"
else
  HOMEDIR="{1}"
  MDBDIR=""
fi
install ${{MDBDIR}} -d -g mysql -o mysql ${{HOMEDIR}}
""".format(path, second or path)


def recognised(text: str, kind: str = "pre-install") -> Any:
    return scripts.recognised(Script(kind, False, text))


@pytest.mark.parametrize("text", [LDCONFIG, INFO, KLD, BASE, LDCONFIG + INFO + INFO, LDCONFIG.rstrip()])
def test_forms_with_nothing_to_do(text: str) -> None:
    assert recognised(text, "post-install") == Work()


@pytest.mark.parametrize("text", [CERTCTL, CERTCTL_13])
def test_certificates(text: str) -> None:
    assert recognised(text, "post-install") == Work(certificates=True)
    assert recognised(text.replace("rehash", "list"), "post-install") is None


def test_users_and_groups() -> None:
    found = recognised(PW + group(end=" || exit $?") + user(login="-L daemon") + folder() + member())
    assert [each.line for each in found.groups] == ["mysql:*:88:"]
    assert [each.line for each in found.users] == [
        "mysql:*:88:88:daemon:0:0:MySQL Daemon:/var/db/mysql:/usr/sbin/nologin"
    ]
    assert found.members == (("video", "mysql"),) and found.homes == (Home("/var/db/mysql", "mysql", "mysql"),)
    old = recognised(PW + user() + "install -d -g mysql -o mysql /usr/local/db//mysql\n")
    assert old.homes == (Home("/usr/local/db/mysql", "mysql", "mysql"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ln -sf gpg2 /usr/local/bin/gpg",
        LDCONFIG + "rm -rf /\n",
        "x" + LDCONFIG,
        LDCONFIG.replace("exit 1", "exit 0"),
        INFO.replace('file="/usr/local/share', 'file="$(id)/usr/local/share'),
        INFO.replace('in\n  /*) file="/usr/local/share/info/gmp', 'in\n  /*) file="/usr/local/share/info/other'),
        PW.replace("/usr/sbin/pw", "/tmp/pw"),
        PW + group("a;id"),
        PW + group("a b"),
        PW + group("-R"),
        PW + group("a" * 40),
        PW + group(gid="0x58"),
        PW + group(gid=-1),
        PW + group(gid=(1 << 32) - 1),
        PW + group(gid="٨٨"),
        PW + group().replace("groupadd mysql", "groupadd other"),
        PW + user(uid=99999999999),
        PW + user(gid="88 -G wheel"),
        PW + user(gecos="a:b"),
        PW + user(gecos="$(id)"),
        PW + user(gecos="a\x1b[2Jb"),
        PW + user(home="/var/db/a:0"),
        PW + user(home="relative"),
        PW + folder("/usr/local/../../etc"),
        PW + folder("/"),
        PW + folder("/usr/a", "/usr/b"),
        PW + member(who="a|b"),
    ],
)
def test_what_is_no_known_form(text: str) -> None:
    assert recognised(text) is None


def test_accounts_come_before_the_files() -> None:
    assert recognised(PW + group(), "post-install") is None
    assert scripts.recognised(Script("pre-install", True, LDCONFIG)) is None


def test_order_and_encoding() -> None:
    values = {
        "scripts": {
            "install": "i",
            "post-install": "a%0Ab%20${f%/*}",
            "pre-install": "p",
            "deinstall": "d",
            "post-deinstall": "d",
        },
        "lua_scripts": {"post-install": ["l1%20", "l2"], "pre-deinstall": ["d"]},
    }
    assert scripts.of(values) == (
        Script("pre-install", False, "p"),
        Script("install", False, "i"),
        Script("post-install", True, "l1%20"),
        Script("post-install", True, "l2"),
        Script("post-install", False, "a\nb ${f%/*}"),
    )
    assert scripts.of({}) == ()
    odds: List[Dict[str, Any]] = [
        {"scripts": {"install": 5}},
        {"lua_scripts": {"pre-install": [{}]}},
        {"lua_scripts": {"pre-install": ";;"}},
        {"lua_scripts": {"post-install": {"return": 1}}},
    ]
    for odd in odds:
        with pytest.raises(TypeError):
            scripts.of(odd)


@pytest.mark.parametrize(
    "values",
    [
        {"lua_scripts": {"post-install": ["print('\ud800')"]}},
        {"scripts": {"install": "echo \ud800"}},
        {"prefix": "/usr/\ud800"},
        {"name": "\ud800"},
    ],
)
def test_half_of_a_letter(values: Dict[str, Any]) -> None:
    """JSON may have one, and no script can be made of it."""
    with pytest.raises(PackageError, match="no usable"):
        packages.parse_manifest(json.dumps({**manifest("a"), **values}), "a.pkg", "0")


def test_other_bytes_are_another_script() -> None:
    """Who knows one does not know the other."""
    one, other = (scripts.of({"scripts": {"install": "rm " + byte}})[0] for byte in ("%FE", "%FF"))
    assert one.sha256 != other.sha256 and one.shown() == "install, sh: rm ?"


@pytest.mark.parametrize(
    "text, kinds",
    [
        ('lua_scripts {\n    post-install [\n        "x",\n    ]\n}\n', ["post-install"]),
        ('scripts { "install": "x", post-install = "y"; }', ["install", "post-install"]),
        ("scripts {pre-install <<EOD\nx\nEOD\n}", ["pre-install"]),
        ('scripts {\n    deinstall = "x";\n    post-deinstall <<EOD\nx\nEOD\n}\ndesc = "to install it";', []),
    ],
)
def test_scripts_in_ucl(text: str, kinds: List[str]) -> None:
    assert [script.kind for script in scripts.in_ucl(text)] == kinds


def test_first_lines_are_harmless() -> None:
    assert Script("install", False, "#!/bin/sh\n\n  echo \x1b[2J hello").shown() == "install, sh: echo ?[2J hello"
    assert Script("post-install", True, "-- args: x\n").shown() == "post-install, Lua"
    assert len(Script("install", False, "x" * 5000).shown()) < 400


def system() -> Tree:
    tree = Tree()
    tree.write("etc/master.passwd", "root::0:0::0:0::/root:/bin/sh\nwww:*:80:80::0:0::/:/nologin\n", 0o600)
    tree.write("etc/group", "wheel:*:0:root\nwww:*:80:\nvideo:*:44:www\n")
    return tree


def laid(
    tree: Tree, tmp_path: Path, said: List[str], *paths: str, answers: scripts.Answers = scripts.NO_ANSWERS
) -> Laid:
    found = packages.expand([Supplied(path, os.path.basename(path), digest_file(path)) for path in paths])
    accounts = Accounts()
    accounts.add(tree)
    return packages.lay(tree, [packages.read(each) for each in found], accounts, str(tmp_path), said.append, answers)


def pre(name: str, text: str, **values: Any) -> Any:
    return manifest(name, scripts={"pre-install": text}, **values)


def test_accounts_of_scripts_are_made(tmp_path: Path) -> None:
    """Files of the package belong to them, and to those of another one that comes later in the alphabet."""
    text = PW + group() + user() + folder() + folder("/usr/local/mysql") + member()
    first = make(tmp_path, manifest("a", users=["mysql"]), owner=("mysql", "mysql"))
    second = make(tmp_path, pre("b", text, users=["mysql"], groups=["mysql"]), owner=("mysql", "wheel"))
    tree = system()
    said: List[str] = []
    found = laid(tree, tmp_path, said, first, second)
    assert tree.get("usr/local/bin/a").uid == 88 and tree.get("usr/local/bin/a").gid == 88
    home = tree.get("usr/local/mysql")
    assert (home.kind, home.mode, home.uid, home.gid) == ("dir", 0o755, 88, 88) and "var/db/mysql" not in tree
    assert found.lines == [
        ("etc/group", "mysql:*:88:\n"),
        ("etc/master.passwd", "mysql:*:88:88::0:0:MySQL Daemon:/var/db/mysql:/usr/sbin/nologin\n"),
    ]
    assert len(said) == 1 and "package b has below /var" in said[0] and "/var/db/mysql (0755 mysql:mysql)" in said[0]
    assert found.members == [("video", "mysql")]
    add_member(tree, "video", "mysql")
    add_member(tree, "video", "mysql")
    add_member(tree, "none", "mysql")
    assert tree.get("etc/group").content() == b"wheel:*:0:root\nwww:*:80:\nvideo:*:44:www,mysql\n"


def test_those_that_are_there_stay(tmp_path: Path) -> None:
    tree = system()
    said: List[str] = []
    tree.write("usr/local/www/index.html", "x")
    text = PW + group("www", 90) + user("www", 90) + folder("/usr/local/www")
    found = laid(tree, tmp_path, said, make(tmp_path, pre("a", text.replace("-g mysql -o mysql", "-g www -o www"))))
    assert found.lines == [] and said == [] and tree.get("usr/local/www").uid == 0


@pytest.mark.parametrize(
    "text, message",
    [
        (group("other", 80), "makes the group other with the number 80, which www has"),
        (user("toor", 0), "makes the user toor with the number 0, which root has"),
    ],
)
def test_numbers_of_others(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        laid(system(), tmp_path, [], make(tmp_path, pre("a", PW + text)))


def test_members_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(
        TreeError, match="nobody in the group video, as the package a wants it, belongs to the user nobody"
    ):
        laid(system(), tmp_path, [], make(tmp_path, pre("a", PW + member(who="nobody"))))


def test_scripts_that_were_not_run(tmp_path: Path) -> None:
    """Refused where that is wanted, but for those that somebody has looked at: until they change."""
    scripts_of = {"post-install": "ln -sf gpg2 /usr/local/bin/gpg", "install": "texhash\n"}
    path = make(tmp_path, manifest("a", scripts=scripts_of))
    reported: List[str] = []
    laid(system(), tmp_path, reported, path)
    begin = "the package a has a script that was not run ({0}); `pkg info -R -F {1}` shows it, sha256 {2}"
    digests = [Script("x", False, scripts_of[kind]).sha256 for kind in ("install", "post-install")]
    assert reported == [
        begin.format("install, sh: texhash", path, digests[0]),
        begin.format("post-install, sh: ln -sf gpg2 /usr/local/bin/gpg", path, digests[1]),
    ]
    with pytest.raises(PackageError) as caught:
        laid(system(), tmp_path, [], path, answers=scripts.answers("refuse", {}))
    assert all(text in str(caught.value) for text in reported) and "image_pkg_scripts_known" in str(caught.value.todo)
    known = {digest.upper(): "looked at" for digest in digests}
    said: List[str] = []
    laid(system(), tmp_path, said, path, answers=scripts.answers("refuse", known))
    laid(system(), tmp_path, said, path, answers=scripts.answers("report", known))
    assert said == []
    other = make(tmp_path, manifest("a", scripts={"install": "texhash -v\n"}))
    with pytest.raises(PackageError, match="texhash -v"):
        laid(system(), tmp_path, [], other, answers=scripts.answers("refuse", known))


def test_what_nobody_could_look_at_is_never_known() -> None:
    empty = Script("install", False, "")
    archive: Any = type(
        "Archive", (), {"package": type("Package", (), {"name": "a"}), "path": "a.pkg", "scripts": (empty,)}
    )
    with pytest.raises(PackageError):
        packages._tell([packages.NotRun(archive, empty)], scripts.Answers(True, {empty.sha256: "x"}), print)


@pytest.mark.parametrize("known", [{"abc": "why"}, {"0" * 64: ""}, {"0" * 64: None}, {"g" * 64: "why"}])
def test_answers_that_are_none(known: Dict[str, Any]) -> None:
    with pytest.raises(Refused, match="is no SHA-256 with a reason"):
        scripts.answers("report", known)
