# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings that stand in the definition of an image: defaults of rc.conf and loader.conf, and the recovery mode."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rcconf
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import keys
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.accounts import MASTER, is_modular, with_password
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import DIR, FILE, Node, Tree, TreeError

RECOVERY = "conf/recovery/etc"

#: rounds of sha512_crypt, fixed here so that another version of passlib makes the same image
ROUNDS = 656000
#: cost of the salt: 64 MiB and about as long as a try at the hash itself
SCRYPT = {"n": 1 << 16, "r": 8, "p": 1, "maxmem": 128 << 20}
_ITOA = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: as ``stand/lua/config.lua`` reads it: modules have names with a dash in them (rtwn-rtl8192cfwU_load)
_LOADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")

#: of a file, in letters that mean nothing else to a shell or to cron
_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+\.prom\Z")

_SAFE = "nothing was built"


@dataclass(frozen=True)
class Settings:
    """What the definition of an image sets.

    :param rc_conf: defaults of rc.conf(5) that a host's own rc.conf goes before.
    :param loader_conf: of loader.conf(5).
    :param recovery_rc_conf: of rc.conf(5) in recovery mode.
    :param recovery_ssh_keys: public keys that root may log in with in recovery mode.
    :param recovery_root_hash: what crypt(3) makes of root's password in recovery mode.
    :param metrics: the file that ``nanozfs metrics`` is written to by cron; empty for none.
    """

    rc_conf: Mapping[str, Any] = field(default_factory=dict)
    loader_conf: Mapping[str, Any] = field(default_factory=dict)
    recovery_rc_conf: Mapping[str, Any] = field(default_factory=dict)
    recovery_ssh_keys: Sequence[str] = ()
    recovery_root_hash: str = ""
    metrics: str = ""


NOTHING = Settings()


def rc_lines(values: Mapping[str, Any], ours: Iterable[str], what: str) -> str:
    """Settings for sh(1), quoted so that they mean exactly what they say.

    :param ours: names that cannot be set.
    :param what: the variable of the role, for errors.
    :raises Refused: when one is no setting, or one of ours.
    """
    return rcconf.render(values, ours, what, _SAFE)


def cron_lines(metrics: str) -> str:
    """A crontab that has ``nanozfs metrics`` written every five minutes; empty where nobody wants that.

    Only one at a time, as one that waits for a pool would have the next behind it; what goes wrong is logged. Source:
    cron(8) (``/etc/cron.d``), crontab(5) (a ``%`` ends the command), lockf(1), logger(1).

    :param metrics: the file.
    :raises Refused: when that is no full path of one, or holds what a shell or cron would not take as it is.
    """
    if not metrics:
        return ""
    if not _PATH.match(metrics) or ".." in metrics.split("/"):
        raise Refused(
            "image_metrics {0!r} is not the full path of a file".format(metrics),
            safe=_SAFE,
            todo="write it as /var/tmp/node_exporter/nanozfs.prom; node_exporter reads what ends in .prom",
        )
    line = (
        "*/5\t*\t*\t*\t*\troot\t{lock} -s -t 0 {held} {agent} metrics --write {file} 2>&1 | logger -t nanozfs\n".format(
            lock="/usr/bin/lockf",
            held="/var/run/nanozfs.metrics",
            agent="/usr/local/sbin/nanozfs",
            file=metrics,
        )
    )
    return (
        "# image_metrics: how the host is, for node_exporter\nPATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin\n"
        + line
    )


def loader_lines(values: Mapping[str, Any], ours: Iterable[str], what: str) -> str:
    """Settings for the loader, which takes a character after a backslash as it is and expands ``$``.

    Source: ``processEnvVar()`` in ``stand/lua/config.lua``.

    :raises Refused: when one is no setting, or one of ours.
    """
    rcconf.check_names(values, _LOADER_NAME, ours, what, _SAFE)
    lines = []
    for name in sorted(values):
        text = re.sub(r'([\\$"])', r"\\\1", rcconf.text_of(name, values[name], _SAFE))
        lines.append('{0}="{1}"\n'.format(name, text))
    return "".join(lines)


def hash_password(password: str, image: str) -> str:
    """What crypt(3) makes of a password, by sha512, always the same for one image name.

    A random salt would make another image of each build. This one is different for every password and image name, so
    no table made before serves, and the same password on images of two names does not show. It is made by scrypt: it
    stands in the image, and a quick digest of the password there would be the way around the slow hash.

    :raises FleetError: when passlib is missing.
    """
    try:
        from passlib.hash import sha512_crypt  # noqa: PLC0415 - only who gives a password needs it
    except ImportError:
        raise FleetError(
            "the password for recovery mode cannot be hashed here: the Python package passlib is missing",
            safe="nothing was built",
            todo="install passlib where Ansible runs, or give image_recovery_root_hash (`openssl passwd -6`)",
        )
    seed = hashlib.scrypt(
        password.encode("utf-8"), salt=b"nanozfs.fleet recovery " + image.encode("utf-8"), dklen=16, **SCRYPT
    )
    salt = "".join(_ITOA[byte & 63] for byte in seed)
    hashed: str = sha512_crypt.using(salt=salt, rounds=ROUNDS).hash(password)
    return hashed


def check(settings: Settings, vendor: Iterable[str], loader: Iterable[str]) -> None:
    """Refuse settings that cannot be, before anything is done.

    :param vendor: names of the settings of rc.conf that are ours; ``loader`` those of loader.conf.
    :raises Refused: with the reason.
    """
    rc_lines(settings.rc_conf, vendor, "image_rc_conf")
    rc_lines(settings.recovery_rc_conf, vendor, "image_recovery_rc_conf")
    loader_lines(settings.loader_conf, loader, "image_loader_conf")
    for line in settings.recovery_ssh_keys:
        if keys.find(line) is None or "\n" in line.strip():
            raise Refused(
                "this is no public ssh key (image_recovery_ssh_keys): {0}".format(line.strip()[:40]),
                safe="nothing was built",
                todo="give lines as in ~/.ssh/id_ed25519.pub",
            )
    hashed = settings.recovery_root_hash
    if hashed and hashed != "*" and not is_modular(hashed):
        raise Refused(
            "image_recovery_root_hash is no hash as crypt(3) makes it",
            safe="nothing was built",
            todo="make it with `openssl passwd -6`, or give image_recovery_root_password",
        )


def apply_recovery(tree: Tree, settings: Settings, vendor: Iterable[str]) -> None:
    """Put into a tree, which has everything else by now, what is set for recovery mode.

    :raises TreeError: when it has no user root.
    """
    if settings.recovery_rc_conf:
        tree.append(RECOVERY + "/rc.conf", rc_lines(settings.recovery_rc_conf, vendor, "image_recovery_rc_conf"))
    if settings.recovery_ssh_keys:
        folder = RECOVERY + "/rootssh"
        if folder not in tree:
            tree.put(folder, Node(DIR, 0o700))
        path = folder + "/authorized_keys"
        tree.append(path, "".join(line.strip() + "\n" for line in settings.recovery_ssh_keys))
        tree.put(path, replace(tree.get(path), mode=0o600))
    if settings.recovery_root_hash:
        path = RECOVERY + "/master.passwd"
        node = tree.nodes.get(path) or tree.nodes.get(MASTER)
        before = node.content().decode("utf-8", "surrogateescape") if node else ""
        text = with_password(before, "root", settings.recovery_root_hash)
        if text is None:
            raise TreeError(
                "root cannot get a password for recovery mode: the image has no such user in {0}".format(MASTER),
                safe="nothing was built",
            )
        tree.put(path, Node(FILE, 0o600, data=text.encode("utf-8", "surrogateescape")))
