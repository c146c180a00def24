# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts of packages: which there are, and which shell scripts are of a form whose work can be done without a shell.

The ports tree makes most of them, so they are always the same text. Such a text is recognised as a whole or not at all;
nothing here runs a shell. Source: pkg-create(8); ``pkg_add.c``, ``scripts.c``, ``lua_scripts.c`` and
``pkg_manifest.c`` in ``libpkg`` of freebsd/pkg; ``Mk/Scripts/do-users-groups.sh`` (users and groups), ``Keywords``
(``@info``, ``@kld``) and ``Mk/bsd.port.mk`` (``USE_LDCONFIG``) of the ports tree, and what they made in packages
for FreeBSD 12 to 14.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain

PRE, INSTALL, POST = "pre-install", "install", "post-install"

#: scripts that pkg(8) runs when it installs; ``install`` runs before and after the files
KINDS = (PRE, INSTALL, POST)

#: numbers of users and groups are below it; the last one stands for none (``uid_t`` in sys/sys/_types.h)
MAX_NUMBER = (1 << 32) - 1


class Script(NamedTuple):
    """A script of a package.

    :param kind: one of :data:`KINDS`.
    :param lua: or else for sh(1).
    :param text: empty where it could not be read, as in a manifest in UCL.
    """

    kind: str
    lua: bool
    text: str

    @property
    def sha256(self) -> str:
        """What it is known by."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()

    def shown(self) -> str:
        """The script in a few words, for a message: kind, language and the first line that does something."""
        about = "{0}, {1}".format(self.kind, "Lua" if self.lua else "sh")
        mark = "--" if self.lua else "#"
        lines = (line.strip() for line in self.text.splitlines())
        first = next((line for line in lines if line and not line.startswith(mark)), "")
        return "{0}: {1}".format(about, plain(first)) if first else about


#: what becomes of scripts that were not run
REPORT, REFUSE = "report", "refuse"


class Answers(NamedTuple):
    """What the owner says of scripts that cannot be run.

    ``refuse``: they end the build. ``known``: digests of those that were looked at, with the reason why they need not
    run; a script that changes has another digest, and is asked for again.
    """

    refuse: bool = False
    known: Mapping[str, str] = {}


NO_ANSWERS = Answers()


def answers(how: str, known: Mapping[Any, Any]) -> Answers:
    """Answers as a definition has them.

    :param how: :data:`REPORT` or :data:`REFUSE`.
    :raises Refused: when a digest is none, or nobody says why.
    """
    found = {str(digest).lower(): str(why or "").strip() for digest, why in known.items()}
    for digest, why in found.items():
        if not re.fullmatch("[0-9a-f]{64}", digest) or not why:
            raise Refused(
                "image_pkg_scripts_known: {0} is no SHA-256 with a reason".format(plain(digest)),
                todo="write SHA256: why it need not run; the build names the digest of a script",
            )
    return Answers(how == REFUSE, found)


class User(NamedTuple):
    """A user that a script makes: its ``number``, and its line in master.passwd(5)."""

    name: str
    number: int
    line: str


class Group(NamedTuple):
    """A group that a script makes, likewise."""

    name: str
    number: int
    line: str


class Home(NamedTuple):
    """A folder that a script makes for a user, by its full path."""

    path: str
    user: str
    group: str


@dataclass(frozen=True)
class Work:
    """What is to be done instead of running a shell script; nothing at all for many.

    ``members``: users that become members of a group, each with the group before it. ``certificates``: those for TLS
    get their names, see ``certificates.py``.
    """

    groups: Tuple[Group, ...] = ()
    users: Tuple[User, ...] = ()
    members: Tuple[Tuple[str, str], ...] = ()
    homes: Tuple[Home, ...] = ()
    certificates: bool = False


def of(values: Mapping[str, Any]) -> Tuple[Script, ...]:
    """The scripts of a manifest that pkg would run at the installation, in its order: Lua before shell.

    Those for shells are written as in an address (``pkg_manifest.c``: url_decode), those in Lua are not.

    :raises TypeError: when one is no text, or those in Lua are no list.
    :raises ValueError: when one is a text that has no bytes.
    """
    shell: Mapping[str, Any] = values.get("scripts") or {}
    lua: Mapping[str, Any] = values.get("lua_scripts") or {}
    found: List[Script] = []
    for kind in KINDS:
        texts = lua.get(kind) or [] if kind != INSTALL else []
        if not isinstance(texts, list):  # each letter of a text would be one
            raise TypeError("scripts in Lua are no list")
        for text in texts:
            found.append(Script(kind, True, _text(text)))
        if shell.get(kind):
            found.append(Script(kind, False, urllib.parse.unquote(_text(shell[kind]), errors="surrogateescape")))
    return tuple(found)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a script is no text")
    value.encode("utf-8", "surrogateescape")  # JSON may have half of a letter
    return value


def in_ucl(text: str) -> Tuple[Script, ...]:
    """The kinds of scripts in a manifest in UCL, as far as that can be seen; what they are cannot.

    Those in Lua are a list, which UCL writes without a sign before it (``ucl_emitter.c``); all may be on one line.
    """
    found = re.findall(r"(?:^|[{{;,])\s*\"?({0})\"?\s*[=:{{<\[\"']".format("|".join(KINDS)), text, re.MULTILINE)
    return tuple(Script(name, False, "") for name in KINDS if name in found)


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
_PATH = r"/[A-Za-z0-9_./+@-]*"
_NUMBER = r"[0-9]{1,10}"

#: pieces that scripts consist of, as they are without blanks at the beginnings of lines
_PIECES: Dict[str, str] = {
    # rc.d/ldconfig reads the folders in libdata/ldconfig at each start
    "ldconfig": r"""if ! /usr/sbin/service ldconfig restart >/dev/null; then
if \[ -z "\$\{INSTALL_AS_USER\}" \]; then
exit 1
fi
fi""",
    # the directory of documents for info(1), which no server misses
    "info": r"""case "(?P<info>{path})" in
/\*\) file="(?P=info)" ;;
\*\) file="{path}" ;;
esac
indexinfo \$\{{PKG_ROOTDIR\}}\$\{{file%/\*\}}""".format(path=_PATH),
    # rc.d/kldxref makes linker.hints where it is missing, and a module is found by its name without
    "kld": r"""case "(?P<kld>{path})" in
/\*\) kmoddir="(?P=kld)" ;;
\*\) kmoddir="{path}" ;;
esac
/usr/sbin/kldxref \$\{{PKG_ROOTDIR\}}\$\{{kmoddir\}}""".format(path=_PATH),
    # of the base system (release/packages/ucl): the early hook makes the databases of users, and what reads login.conf
    # and services reads the texts; /tmp is the image's own
    "base": r"""(?:pwd_mkdb -i -p -d +\$\{PKG_ROOTDIR\}/etc \$\{PKG_ROOTDIR\}/etc/master\.passwd"""
    r"""|services_mkdb +(?:-[bl] +)?-q -o \$\{PKG_ROOTDIR\}/var/db/services\.db \$\{PKG_ROOTDIR\}/(?:etc/services)?"""
    r"""|cap_mkdb +(?:-[bl] +)?\$\{PKG_ROOTDIR\}/etc/login\.conf"""
    r"""|chmod 1777 \$\{PKG_ROOTDIR\}/tmp)""",
    "certctl": r"""(?:/usr/sbin/certctl -D\$\{PKG_ROOTDIR\}/ \$\{PKG_METALOG:\+-U -M \$PKG_METALOG\} rehash"""
    r"""|\[ -x /usr/sbin/certctl \] && env DESTDIR=\$\{PKG_ROOTDIR\} \\\n/usr/sbin/certctl rehash)""",
    "pw": r"""if \[ -n "\$\{PKG_ROOTDIR\}" \] && \[ "\$\{PKG_ROOTDIR\}" != "/" \]; then
PW="/usr/sbin/pw -R \$\{PKG_ROOTDIR\}"
else
PW=/usr/sbin/pw
fi""",
    "said": r"""echo "===> Creating (?:groups|users|homedir\(s\))\.?\"""",
    "group": r"""if ! \$\{{PW\}} groupshow (?P<group>{name}) >/dev/null 2>&1; then
echo "Creating group '(?P=group)' with gid '(?P<gid>{number})'\.?"
\$\{{PW\}} groupadd (?P=group) -g (?P=gid)(?: \|\| exit \$\?)?
else
echo "Using existing group '(?P=group)'\.?"
fi""".format(name=_NAME, number=_NUMBER),
    "user": r"""if ! \$\{{PW\}} usershow (?P<user>{name}) >/dev/null 2>&1; then
echo "Creating user '(?P=user)' with uid '(?P<uid>{number})'\.?"
\$\{{PW\}} useradd (?P=user) -u (?P=uid) -g (?P<main>{number}) +(?:-L (?P<login>{name}) +)?"""
    r"""-c "(?P<gecos>[^":`$\\\n]*)" -d (?P<home>{path}) -s (?P<shell>{path})(?: \|\| exit \$\?)?
else
echo "Using existing user '(?P=user)'\.?"
fi""",
    "member": r"""if ! \$\{{PW\}} groupshow (?P<to>{name}) \| grep -qw (?P<who>{name}); then
echo "Adding user '(?P=who)' to group '(?P=to)'\.?"
\$\{{PW\}} groupmod (?P=to) -m (?P=who)(?: \|\| exit \$\?)?
fi""".format(name=_NAME),
    "folder": r"""if \[ -n "\$\{{PKG_ROOTDIR\}}" \] && \[ "\$\{{PKG_ROOTDIR\}}" != "/" \]; then
HOMEDIR="\$\{{PKG_ROOTDIR\}}/?(?P<folder>{path})"
MDBDIR="-N \$\{{PKG_ROOTDIR\}}/etc/"
else
HOMEDIR="(?P<same>{path})"
MDBDIR=""
fi
install \$\{{MDBDIR\}} -d -g (?P<folder_group>{name}) -o (?P<folder_user>{name}) \$\{{HOMEDIR\}}""".format(
        path=_PATH, name=_NAME
    ),
    "old_folder": r"(?:/usr/bin/)?install -d -g (?P<old_group>{name}) -o (?P<old_user>{name}) (?P<old>{path})".format(
        path=_PATH, name=_NAME
    ),
}
_PIECES["user"] = _PIECES["user"].format(path=_PATH, name=_NAME, number=_NUMBER)
_PIECE = re.compile(
    "(?:" + "|".join("(?P<is_{0}>{1})".format(name, piece) for name, piece in _PIECES.items()) + r")(?:\n|\Z)"
)


def recognised(script: Script) -> Optional[Work]:
    """What a shell script of a known form does; ``None`` for any other, of which no part is looked at."""
    if script.lua or not script.text:
        return None
    lines = (line.strip(" \t") for line in script.text.split("\n"))
    text = "\n".join(line for line in lines if line)
    work = Work()
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            return None
        more = _work(found)
        if more is None:
            return None
        work = Work(
            work.groups + more.groups,
            work.users + more.users,
            work.members + more.members,
            work.homes + more.homes,
            work.certificates or more.certificates,
        )
        at = found.end()
    if script.kind != PRE and work not in (
        Work(),
        Work(certificates=True),
    ):  # after the files nobody could own them any more
        return None
    return work


def _work(found: re.Match[str]) -> Optional[Work]:
    """What one piece does; ``None`` where a number or path in it is none that can be."""
    if found["is_group"]:
        number = int(found["gid"])
        return _usable(
            Work(groups=(Group(found["group"], number, "{0}:*:{1}:".format(found["group"], number)),)), number
        )
    if found["is_user"]:
        number, main = int(found["uid"]), int(found["main"])
        words = [found["user"], "*", str(number), str(main), found["login"] or "", "0", "0"]
        line = ":".join([*words, found["gecos"], found["home"], found["shell"]])
        return _usable(Work(users=(User(found["user"], number, line),)), number, main, text=line)
    if found["is_member"]:
        return Work(members=((found["to"], found["who"]),))
    if found["is_folder"]:
        same = re.sub("/+", "/", found["folder"]) == re.sub("/+", "/", found["same"])
        return _home(found["same"], found["folder_user"], found["folder_group"]) if same else None
    if found["is_old_folder"]:
        return _home(found["old"], found["old_user"], found["old_group"])
    return Work(certificates=found["is_certctl"] is not None)


def _home(path: str, user: str, group: str) -> Optional[Work]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        return None
    return Work(homes=(Home("/" + "/".join(parts), user, group),))


def _usable(work: Work, *numbers: int, text: str = "") -> Optional[Work]:
    return work if max(numbers) < MAX_NUMBER and (not text or text.isprintable()) else None
