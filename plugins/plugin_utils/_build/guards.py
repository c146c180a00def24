# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be in an image, and what must be, looked at in the finished tree.

So it does not matter where a file came from: a release set, a package, an overlay or a folder for recovery mode.
Everybody who can fetch an image can read all of it, and all hosts of a fleet have the same one.
"""

from __future__ import annotations

import os
import re
from typing import Iterator, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import find_superblock
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import ALLOWED_SIGNERS
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import keys
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import entries, is_clear, is_modular
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Node, Tree, TreeError

#: without these a tree is no FreeBSD system
SYSTEM = ("etc/rc", "etc/rc.initdiskless", "etc/defaults/rc.conf", "boot", "bin/sh")

EXTRACT = "conf/default/etc/extract"
#: what must be there for a host to come up at all
HOOK = (
    EXTRACT,
    "boot/nanozfs/early.subr",
    "boot/nanozfs/journal.subr",
    "boot/nanozfs/pool.subr",
    "boot/nanozfs/cfg.subr",
    "boot/nanozfs/deadman",
    "boot/lua/local.lua",
)

#: where configuration is, and with it keys and passwords
CONFIGURATION = ("etc", "cfg", "conf", "root", "usr/local/etc", "home", "usr/home", "boot/nanozfs")

#: what a search for secrets does not go through: nobody writes a configuration that large (bytes)
MAX_TEXT = 1 << 20

_PRIVATE_KEY = re.compile(
    rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"  # OpenSSH, PKCS, OpenPGP
    # in YAML or JSON, with what a key begins with after it: a README may name the line alone
    rb"|-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn])+(?:[A-Za-z0-9+/]{16}|Proc-Type:)"
    rb"|^PuTTY-User-Key-File-"
    rb"|^[ \t]*(?:PrivateKey|PresharedKey)[ \t]*=[ \t]*[A-Za-z0-9+/]{43}=",  # wg(8)
    re.MULTILINE,
)

#: settings whose value is a password: loader.conf(5) (password, bootlock_password, kern.geom.eli.passphrase),
#: wpa_supplicant.conf(5) (psk, wep_key0, password, private_key_passwd), what packages call theirs
_SECRET = re.compile(
    r"^\s*(?:export\s+)?"
    r"(?P<name>[A-Za-z0-9_.-]*(?:password|passwd|passphrase|psk|wep_key[0-3]|secret|authkey))\s*=\s*(?P<value>\S.*)$",
    re.IGNORECASE,
)
#: ``set authkey`` of ppp(8), but for the word that the file of the base system has there (usr.sbin/ppp/ppp.conf)
_AUTHKEY = re.compile(r"^\s*set\s+(?P<name>authkey|login_password)\s+(?!PASSWORD\s*$)(?P<value>\S.*)$")

#: files of settings, besides everything for recovery mode
_SETTINGS = re.compile(
    r"(?:.*/)?(?:rc\.conf(?:\.local|\.d/[^/]+)?|vendor\.conf|loader\.conf(?:\.local|\.d/[^/]+)?|wpa_supplicant\.conf|ppp\.conf)\Z"
)
_HTPASSWD = re.compile(r"(?:.*/)?[^/]*htpasswd[^/]*\Z")
_RECOVERY = "conf/recovery/"

#: what rc.initdiskless may find below /conf: anything else there would fill /etc, or put a memory disk on a folder,
#: before the early hook has seen to it (``libexec/rc/rc.initdiskless``: base, default, the address; md_size,
#: remount, remove, *.cpio.gz)
_CONF = ("conf/base/etc/", _RECOVERY)

#: for these ``/etc/rc`` mounts / for writing, to take them away (FreeBSD 15: ``libexec/rc/rc``)
_FIRST_BOOT = ("firstboot", "firstboot-reboot")

#: what version control leaves in a folder: the history of all files, and often the password of its server
_REPOSITORIES = frozenset((".git", ".hg", ".svn", ".bzr", "CVS", ".fslckout", "_FOSSIL_"))

_PYTHON = re.compile(r"usr/local/bin/python3(?:\.[0-9]+)?\Z")


class Guarded(TreeError):
    """Something is in the image that must not be, or is missing that must be."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what, safe="nothing was built", todo=todo)


def check_system(tree: Tree) -> None:
    """See that a tree is a FreeBSD system at all.

    :raises Guarded: when it is none.
    """
    for path in SYSTEM:
        if path not in tree:
            raise Guarded(
                "the tree is no FreeBSD system: it has no {0}".format(path),
                todo="give base.txz and kernel.txz of a release, or the destination of an installworld",
            )


def check(tree: Tree, secrets: Sequence[str] = ()) -> None:
    """Look at a finished tree.

    :param secrets: paths of files that may hold a password or a private key although everybody can read them.
    :raises Guarded: with the first thing that is wrong; names the file.
    """
    _check_hook(tree)
    _check_python(tree)
    _check_signers(tree)
    allowed = {path.strip("/") for path in secrets}
    for path, node in _files(tree):
        _check_name(path)
        if path.startswith("conf/") and path != EXTRACT and not path.startswith(_CONF):
            raise Guarded(
                "{0} would be put in force at the start of the system before the early hook decides about /etc".format(
                    path
                ),
                todo="take it out; what shall be in /etc belongs into etc of an overlay, what only recovery mode has "
                "into image_recovery",
            )
        if path.rpartition("/")[2] == "fstab" and path.startswith(("etc/", "conf/")):
            _check_fstab(path, node)
        configures = path.startswith(tuple(each + "/" for each in CONFIGURATION))
        if path not in allowed and (configures or (path.startswith("boot/") and _SETTINGS.match(path))):
            _check_secrets(path, node)


def _files(tree: Tree) -> Iterator[Tuple[str, Node]]:
    """All files, those of /etc by that name and not by the second one that they have in /conf/base."""
    for path in tree.paths():
        node = tree.nodes[path]
        if node.kind == FILE and not (path.startswith("conf/base/etc/") and path[len("conf/base/") :] in tree):
            yield path, node


def _check_hook(tree: Tree) -> None:
    for path in HOOK:
        if path not in tree:
            raise Guarded(
                "a part of the early boot hook is missing ({0})".format(path),
                todo="build with the role image, which lays it over the tree",
            )
    if not tree.get(EXTRACT).mode & 0o100:
        raise Guarded(
            "the early boot hook cannot be executed ({0})".format(EXTRACT), todo="find the overlay that replaces it"
        )


def _check_python(tree: Tree) -> None:
    for path in filter(_PYTHON.match, tree.below("usr/local/bin")):
        node = tree.follow(path)
        if node is not None and node.kind == FILE and node.mode & 0o100:
            return
    raise Guarded(
        "the image has no Python: neither usr/local/bin/python3 nor python3.N can be executed",
        todo="add the package python3 (image_pkg), or an archive with it (image_sources): "
        "without one neither Ansible nor the agent works on the host",
    )


def _check_signers(tree: Tree) -> None:
    node = tree.nodes.get(ALLOWED_SIGNERS)
    lines = node.content().decode("utf-8", "replace").splitlines() if node else []
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in lines:
        key = keys.find(line)
        if key is None or not key.before:
            raise Guarded(
                "{0} has a line that is no signer: {1!r}".format(ALLOWED_SIGNERS, line[:60]),
                todo='a line is like: name namespaces="nanozfs-image" ssh-ed25519 AAAA… (image_signers)',
            )
    if not lines:
        raise Guarded(
            "the image trusts nobody: {0} is missing or empty".format(ALLOWED_SIGNERS), todo="give image_signers"
        )


def check_overlays(overlays: Tree, secrets: Sequence[str] = ()) -> None:
    """Look at what the owner lays over the system, where nothing is there by accident of a package: a private key is
    none of a test or an example, wherever it lies.

    :param secrets: see :func:`check`.
    :raises Guarded: with the first thing that is wrong.
    """
    allowed = {path.strip("/") for path in secrets}
    for path, node in _files(overlays):
        of = next((part for part in path.split("/") if part in _REPOSITORIES), None)
        if of is not None:
            raise Guarded(
                "{0} belongs to a repository of version control ({1}), with all that ever was in it".format(path, of),
                todo="give a copy without it as overlay, or take it out (git archive, rsync --exclude={0})".format(of),
            )
        if path.startswith(("var/", "tmp/")) or path in allowed:  # no image has anything there
            continue
        if _PRIVATE_KEY.search(node.content()[:MAX_TEXT]):
            raise _secret(path, "a private key")


def _check_name(path: str) -> None:
    name = path.rpartition("/")[2]
    if path in _FIRST_BOOT:
        raise Guarded(
            "/{0} must not be in an image: a newer FreeBSD would mount the slice for writing to take it away".format(
                path
            ),
            todo="take it out; what has to be done once on a host belongs into a service that looks in /var for itself",
        )
    if name == "zpool.cache":
        raise Guarded(
            "{0} must not be in an image: it would import pools past the early hook".format(path),
            todo="take it out of the tree or overlay",
        )
    if name.startswith("ssh_host_") and (path.startswith(("etc/ssh/", "conf/")) or "_key" in name):
        raise Guarded(
            "{0} must not be in an image: every host would have the same key".format(path),
            todo="take it out; a host makes its keys itself, and keeps them in /cfg",
        )


def _check_fstab(path: str, node: Node) -> None:
    for line in node.content().decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) > 1 and not words[0].startswith("#") and words[1] == "/":
            raise Guarded(
                "{0} mounts / from {1}: an image must run from any slice".format(path, words[0]),
                todo="take the line out; local.lua tells the kernel its root",
            )


def _check_secrets(path: str, node: Node) -> None:
    raw = node.content()
    if _PRIVATE_KEY.search(raw):
        raise _secret(path, "a private key")
    name = path.rpartition("/")[2]
    if len(raw) > MAX_TEXT or b"\0" in raw:
        return
    lines = raw.decode("utf-8", "replace").splitlines()
    if name in ("master.passwd", "passwd") or _HTPASSWD.match(path):
        for words in entries(lines):
            if len(words) > 1 and is_clear(words[1]):
                raise _secret(path, "the password of {0} in clear".format(words[0]))
    if _SETTINGS.match(path) or path.startswith(_RECOVERY):
        for line in lines:
            found = _SECRET.match(line) or _AUTHKEY.match(line)
            if found and _gives_away(_value(found["value"])):
                raise _secret(path, "a password in clear ({0})".format(found["name"]))


def _gives_away(value: str) -> bool:
    """Whether a setting's value is a secret. No program takes a hash of the old forms here, or has ``*`` for none."""
    return bool(value) and value.upper() not in ("YES", "NO") and not is_modular(value)


def _value(text: str) -> str:
    """What a setting is set to, without quotation marks and comment."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    return re.split(r"[\s;]", text, maxsplit=1)[0]


def _secret(path: str, what: str) -> Guarded:
    return Guarded(
        "{0} has {1} in it, and whoever can fetch the image can read it".format(path, what),
        todo="keep it in /cfg of the hosts that need it, or, if it is none, name the file in image_allow_secrets",
    )


def check_label(path: str) -> None:
    """See that a file system has no label: two slices with one, or a stick, would shadow each other.

    :param path: of the image.
    :raises FleetError: when it has one.
    """
    with open(path, "rb") as file:
        found = find_superblock(lambda offset, length: os.pread(file.fileno(), length, offset))
    if found is not None and found.block.label:
        raise FleetError(
            "the file system has the UFS label {0}, and an image must have none".format(_printable(found.block.label)),
            safe="nothing was published",
            todo="make it without one (newfs and makefs: no -L, no label=)",
        )


def _printable(label: bytes) -> str:
    return repr(label.decode("ascii", "replace"))
