# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trying the signing key before the work of an hour is signed with it."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import CHANNEL_NAMESPACE, NAMESPACE
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import (
    BadSignature,
    keys_of_lines,
    sign,
    verify,
)

_SAFE = "nothing was built or published"
_PROBE = b"nanozfs.fleet tries a key\n"

#: what ssh-keygen says (OpenSSH 9.2: ``authfile.c``, ``sshkey.c``, ``ssh-keygen.c``), what it means, and what to do
_REASONS = (
    ("UNPROTECTED PRIVATE KEY", "others can read it", "chmod 600 it"),
    (
        "incorrect passphrase",
        "it has a passphrase, which nobody is there to type",
        "load it into an agent (ssh-add), have SSH_AUTH_SOCK in the environment, and name its public half instead",
    ),
    (
        "No private key found|agent refused|communicate with agent",
        "it is a public key, and no agent holds its private half",
        "load that into an agent (ssh-add) and have SSH_AUTH_SOCK in the environment, or name the private key",
    ),
    (
        "invalid format|error in libcrypto|load public key",
        "it is no key of OpenSSH",
        "make one with `ssh-keygen -t ed25519 -f <file>`",
    ),
)


def check_key(runner: Runner, key: str) -> None:
    """Refuse a key that cannot sign, with the reason in one line.

    :param key: path of a private key, or of a public one whose private half an agent holds.
    :raises Refused: also when it is not there.
    """
    if not os.path.isfile(key):
        raise Refused(
            "there is no signing key {0}".format(key),
            safe=_SAFE,
            todo="make one with `ssh-keygen -t ed25519 -f <file>`; its public half belongs into image_signers",
        )
    try:
        sign(runner, _PROBE, key)
    except FleetError as error:
        for said, what, todo in _REASONS:
            if re.search(said, error.what):
                raise Refused("the signing key {0} cannot be used: {1}".format(key, what), safe=_SAFE, todo=todo)
        raise Refused("the signing key {0} cannot be used: {1}".format(key, error.what), safe=_SAFE)


def check_successors(runner: Runner, key: str, signers: Sequence[str], revoked: Sequence[str]) -> None:
    """Refuse a key whose signatures an image with these signers would not take: it would be the last of its hosts.

    :param key: one that can sign (:func:`check_key`).
    :param signers: lines of ALLOWED SIGNERS (ssh-keygen(1)), as they go into the image.
    :param revoked: public keys that are not trusted any more, as they go into the image.
    :raises Refused: with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="nanozfs-keys-") as folder:
        keys = keys_of_lines(signers, revoked, folder)
        try:
            for namespace in (NAMESPACE, CHANNEL_NAMESPACE):
                verify(runner, _PROBE, sign(runner, _PROBE, key, namespace), keys, namespace)
        except BadSignature as error:
            said = error.what.replace(keys.allowed, "image_signers").replace(str(keys.revoked), "image_revoked")
            raise Refused(
                "hosts with this image would not take what {0} signs: {1}".format(key, said),
                safe=_SAFE,
                todo='image_signers needs a line that is valid now, as: name namespaces="{0},{1}" and what is in the '
                "public half of the key; to retire a key, keep its line for one more version. image_revoked, where "
                "there is one, must hold whole public keys, and not this one".format(NAMESPACE, CHANNEL_NAMESPACE),
            )
