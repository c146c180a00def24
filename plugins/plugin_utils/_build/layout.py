# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What our layout asks of the file tree of a FreeBSD system: the changes that make an image out of it.

The design is NanoBSD's (a read-only root, ``/etc`` a memory disk that is filled at boot) without those of its
mechanisms that do not work here; docs/layout.md says which and why. Source: ``libexec/rc/rc.initdiskless``, rc.conf(5).
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shlex
from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rules
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import (
    ALLOWED_SIGNERS,
    FORMAT,
    IMAGE_JSON,
    REVOKED_KEYS,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import file_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import guards, settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.features import features_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.settings import NOTHING, Settings
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, Node, Tree

IMAGE_CONF = "boot/nanozfs/image.conf"

#: settings that make the layout work; an image-level file, because /cfg replaces rc.conf. Source of the file itself:
#: the last lines of /etc/defaults/rc.conf ("allow vendors to override")
VENDOR_CONF = "etc/defaults/vendor.conf"
VENDOR_SETTINGS = {
    "rc_conf_files": rules.CONF_FILES,  # so that what is pinned is read last
    "entropy_file": "NO",  # the root file system cannot be written
    "entropy_boot_file": "NO",
    "zfs_enable": "YES",  # also in recovery mode, where no configuration of the host says so
    "nanozfs_enable": "YES",
    "background_fsck": "NO",  # nothing but slices that are never written has a file system for it
    "kldxref_enable": "NO",  # it would write to the slice
    "update_motd": "NO",
    "sendmail_enable": "NONE",
    **rules.PINNED,
}

#: settings that the loader needs; console and the like are for an overlay
LOADER_SETTINGS = {
    "zfs_load": "YES",
    "kern.geom.label.disk_ident.enable": "0",  # these two would hide the GPT labels of a disk
    "kern.geom.label.gptid.enable": "0",
    "vfs.root_mount_always_wait": "1",
    "debug.debugger_on_panic": "0",  # a panic is a restart, also with a kernel that has a debugger (ddb(4))
}

#: what cron(8) reads besides /etc/crontab
CRON = "etc/cron.d/nanozfs"

#: where the agent's Python lies, and which of the collection it is: what runs on targets, without the edge to Ansible,
#: and the program itself
AGENT = "usr/local/lib/nanozfs"
AGENT_PARTS = ("module_utils", "plugin_utils/_local.py", "plugin_utils/_agent_program.py")
NOT_AGENT = ("module_utils/_module.py", "module_utils/_configure/", "module_utils/_nanobsd/", "module_utils/_vault/")

#: mount points that are not the owner's to fill
OURS = ("/", "/cfg", "/etc", "/tmp", "/var")

#: no `/` in it, so that the slices stay identical; /tmp must not be a link to /var/tmp (rc.d/tmp stops for that)
FSTAB = "tmpfs\t/tmp\ttmpfs\trw,mode=1777\t0\t0\n"


@dataclass(frozen=True)
class Identity:
    """What an image is called and where it belongs.

    :param features: the features of pools that its ZFS knows; ``None`` where nobody found out (yet).
    """

    name: str
    version: str
    seq: int
    min_seq: int
    arch: str
    abi: str
    pool: str
    features: Optional[Tuple[str, ...]] = None

    def values(self) -> Dict[str, object]:
        """What an image says of it inside."""
        values: Dict[str, object] = dict(self.__dict__)
        if self.features is None:
            del values["features"]
        return values


@dataclass(frozen=True)
class Extras:
    """What goes into an image besides its tree.

    :param recovery: folders that are laid over ``/etc`` in recovery mode.
    :param signers: lines of the file with the keys that the image trusts.
    :param revoked: public keys that it does not trust any more.
    :param etc_size: of the memory disk for ``/etc``, in bytes.
    :param epoch: the time of files that have none of their own, in seconds since the epoch.
    :param form: what else decides about the bytes of the image: the size and the kind of its file system.
    :param settings: what the definition sets.
    :param stale_accounts: the databases of users in the tree are not made from its master.passwd.
    :param secrets: files that may hold a password or private key.
    """

    recovery: Sequence[str]
    signers: Sequence[str]
    revoked: Sequence[str]
    etc_size: int
    epoch: int
    form: str
    settings: Settings = NOTHING
    stale_accounts: bool = False
    secrets: Sequence[str] = ()
    fstab: str = ""


def fstab_lines(text: str) -> str:
    """What the owner's fstab(5) has besides the layout's own; comments stay.

    :raises Guarded: for a line that would take the place of what the layout mounts.
    """
    lines = text.splitlines()
    for line in lines:
        words = line.split()
        place = posixpath.normpath("/" + words[1].lstrip("/")) if len(words) > 1 else ""
        if place in OURS and not words[0].startswith("#"):
            raise guards.Guarded(
                "etc/fstab of an overlay mounts {0} on {1}, where the layout has what it needs".format(
                    words[0], words[1]
                ),
                todo="take the line out: /, /cfg, /etc, /tmp and /var are seen to by the image and the early hook",
            )
    return "".join(line + "\n" for line in lines)


def apply(tree: Tree, identity: Identity, extras: Extras) -> str:
    """Change the tree of a system, with all overlays in it, into that of an image.

    :returns: the build: a name for exactly this tree, the same wherever it is built.
    :raises FleetError: when the tree is no FreeBSD system, breaks a rule of the layout or does not pass the guards.
    """
    guards.check_system(tree)
    _move_to_etc(tree, "usr/local/etc", "etc/local", "../../etc/local", 0o755)
    _move_to_etc(tree, "root/.ssh", "etc/rootssh", "../etc/rootssh", 0o700)  # /root is read-only
    _var_and_tmp(tree)
    _agent(tree)
    tree.write("etc/diskless", "")
    tree.write("etc/fstab", FSTAB + fstab_lines(extras.fstab))
    tree.remove(
        "etc/login.conf.db"
    )  # of another text than an overlay's; login_cap(3) reads the text where there is none
    _settings(tree, extras.settings)
    tree.put("cfg", Node(DIR, 0o755))
    for folder in extras.recovery:
        recovered = Tree()
        recovered.add_folder(folder)
        for path in recovered.paths():
            if path:
                tree.put("conf/recovery/etc/" + path, recovered.nodes[path])
    settings.apply_recovery(tree, extras.settings, VENDOR_SETTINGS)
    tree.write(ALLOWED_SIGNERS, file_of(extras.signers))
    if extras.revoked:
        tree.write(REVOKED_KEYS, file_of(extras.revoked))
    _conf(tree, extras.etc_size)
    build = _identify(tree, identity, extras)
    guards.check(tree, extras.secrets)
    return build


def _move_to_etc(tree: Tree, path: str, target: str, link: str, mode: int) -> None:
    """Keep a folder below /etc, so that what is in it comes from /cfg as well, and leave a link in its place."""
    if target not in tree:
        tree.put(target, Node(DIR, mode))
    if path in tree and tree.get(path).kind == DIR:
        for each in tree.below(path):
            tree.put(target + each[len(path) :], tree.nodes[each])
        tree.remove(path)
    tree.link(path, link)


def _var_and_tmp(tree: Tree) -> None:
    """/var and /tmp are empty places to mount on. With a /conf/base/var a memory disk would be put on /var first."""
    for path in ("var", "tmp"):
        if path in tree and tree.get(path).kind != DIR:
            tree.remove(path)
        for each in tree.below(path):
            tree.nodes.pop(each, None)
    tree.put("var", Node(DIR, 0o755))
    tree.put("tmp", Node(DIR, 0o1777))
    for each in ("conf/base/var", "conf/default/var"):
        tree.remove(each)


#: of what the collection lays onto an image, within the collection
LICENCE = "LICENSES/BSD-2-Clause.txt"


def agent_files(plugins: str) -> List[str]:
    """The files of the collection that the agent is made of, relative to the folder *plugins*."""
    found = []
    for part in AGENT_PARTS:
        full = os.path.join(plugins, part)
        for folder, _folders, names in [("", (), [full])] if os.path.isfile(full) else os.walk(full):
            found += [os.path.relpath(os.path.join(folder, name), plugins) for name in names if name.endswith(".py")]
    return sorted({each for each in found if not each.startswith(NOT_AGENT)})


def _agent(tree: Tree) -> None:
    """The agent imports its modules by the names that they have in Ansible.

    Packages are made regular ones: Python would take a regular ``ansible_collections`` from anywhere else, as the
    package ansible brings it, before one without ``__init__.py``.
    """
    plugins = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    top = AGENT + "/ansible_collections/nanozfs/fleet/plugins/"
    for name in agent_files(plugins):
        with open(os.path.join(plugins, name), encoding="utf-8") as file:
            tree.write(top + name, file.read())
    with open(os.path.join(os.path.dirname(plugins), LICENCE), encoding="utf-8") as file:
        tree.write("usr/local/share/licenses/nanozfs/" + os.path.basename(LICENCE), file.read())
    for folder in [each for each in tree.below(AGENT) if tree.get(each).kind == DIR]:
        if folder + "/__init__.py" not in tree:
            tree.write(folder + "/__init__.py", "")
    # what Python has compiled on a host is told from that of another image by this
    digest = hashlib.sha256()
    for path in sorted(tree.below(AGENT)):
        if path.endswith(".py"):
            digest.update("{0} {1}\n".format(path, tree.get(path).digest()).encode("ascii"))
    tree.write(AGENT + "/digest", digest.hexdigest()[:16] + "\n")


def _settings(tree: Tree, wanted: Settings) -> None:
    """Those of the layout come last: the later one of two counts."""
    lines = settings.rc_lines(wanted.rc_conf, VENDOR_SETTINGS, "image_rc_conf")
    tree.append(VENDOR_CONF, lines + settings.rc_lines(VENDOR_SETTINGS, (), VENDOR_CONF))
    tree.write("etc/" + rules.LAST, rules.last_words())
    lines = settings.loader_lines(wanted.loader_conf, LOADER_SETTINGS, "image_loader_conf")
    cron = settings.cron_lines(wanted.metrics)
    if cron:
        tree.write(CRON, cron)
    tree.append("boot/loader.conf", lines + settings.loader_lines(LOADER_SETTINGS, (), "boot/loader.conf"))


def _conf(tree: Tree, etc_size: int) -> None:
    """/etc becomes a memory disk that rc.initdiskless fills from here. md_size counts blocks of 512 bytes."""
    tree.remove("conf/base/etc")
    tree.copy("etc", "conf/base/etc")
    tree.write("conf/base/etc/md_size", "{0}\n".format(-(-etc_size // 512)))
    tree.put("conf/recovery/etc", tree.nodes.get("conf/recovery/etc", Node(DIR, 0o755)))


def _identify(tree: Tree, identity: Identity, extras: Extras) -> str:
    values = dict(replace(identity, features=features_of(tree)).values(), format=FORMAT)
    tree.write(IMAGE_JSON, json.dumps(values, indent=1, sort_keys=True) + "\n")
    tree.date(extras.epoch)
    # two images with one build would not know in a trial which of them they are
    build = hashlib.sha256((extras.form + "\n" + tree.identity()).encode("utf-8")).hexdigest()[:16]
    tree.write(IMAGE_JSON, json.dumps(dict(values, build=build), indent=1, sort_keys=True) + "\n")
    lines: List[str] = ["# {0}-{1}: read by the early boot hook\n".format(identity.name, identity.version)]
    for key, value in (("pool", identity.pool), ("build", build), ("version", identity.version)):
        lines.append("NZ_{0}={1}\n".format(key.upper(), shlex.quote(str(value))))
    if extras.stale_accounts:
        lines.append("NZ_ACCOUNTS=stale\n")
    tree.write(IMAGE_CONF, "".join(lines))
    tree.date(extras.epoch)
    return build
