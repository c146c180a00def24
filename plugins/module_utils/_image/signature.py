# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Signatures of manifests, made and verified by ``ssh-keygen -Y`` of the base system.

Source: ssh-keygen(1); the outputs are in the transcripts under ``tests/fixtures/freebsd-13.2/sshsig``.
"""

from __future__ import annotations

import os
import tempfile
from typing import Iterable, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import NAMESPACE

_SAFE = "nothing was written; the image was not looked at any further"


class BadSignature(Refused):
    """A manifest that nobody trusted has signed, or that was changed after it was signed."""


class Keys(NamedTuple):
    """Whom to trust.

    :param allowed: path of the file with the trusted keys (ssh-keygen(1), ALLOWED SIGNERS).
    :param revoked: path of a file with keys that are not trusted any more, one public key a line or a key revocation
        list (ssh-keygen(1), ``-r``); used when it is there.
    :param tmpdir: where a signature may be put for ssh-keygen to read.
    """

    allowed: str
    revoked: Optional[str] = None
    tmpdir: Optional[str] = None


def file_of(lines: Iterable[str]) -> str:
    """The text of a file of keys, one a line, as an image has it and ssh-keygen reads it."""
    return "".join(line.rstrip("\n") + "\n" for line in lines)


def keys_of_lines(signers: Iterable[str], revoked: Iterable[str], folder: str) -> Keys:
    """Whom to trust, from lines, where no image has them in files.

    :param signers: lines of ALLOWED SIGNERS.
    :param revoked: public keys that are not trusted any more.
    :param folder: a folder for the files.
    """
    paths = []
    for name, lines in (("signers", signers), ("revoked", revoked)):
        paths.append(os.path.join(folder, name))
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.write(file_of(lines))
    return Keys(paths[0], paths[1], folder)


def verify(runner: Runner, manifest: bytes, signature: bytes, keys: Keys, namespace: str = NAMESPACE) -> str:
    """Verify the signature of a manifest or a channel.

    :returns: the principal that signed.
    :raises BadSignature: when the signature is missing, wrong, of another namespace, or of a key that is not trusted,
        has expired or was revoked.
    """
    allowed_signers = keys.allowed
    if not os.path.isfile(allowed_signers):
        raise BadSignature(
            "there is no file {0} with the keys to trust".format(allowed_signers),
            safe=_SAFE,
            todo="the running image must carry it; build images with image_signers",
        )
    handle, path = tempfile.mkstemp(prefix="nanozfs-", suffix=".sig", dir=keys.tmpdir)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(signature)
        found = runner.query(["ssh-keygen", "-Y", "find-principals", "-f", allowed_signers, "-s", path])
        principals = found.lines()
        if found.rc != 0 or not principals:
            raise BadSignature(
                "the manifest is not signed by any key in {0} ({1})".format(allowed_signers, _said(found.err)),
                safe=_SAFE,
                todo="check who published it; the keys that this host trusts are part of its running image",
            )
        argv = ["ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-I", principals[0], "-n", namespace, "-s", path]
        revoked = ["-r", keys.revoked] if keys.revoked and os.path.exists(keys.revoked) else []
        verified = runner.query(argv + revoked, stdin=_text(manifest))
        if verified.rc != 0 and revoked and runner.query(argv, stdin=_text(manifest)).rc == 0:
            raise BadSignature(
                "the key of {0} that signed it is revoked ({1})".format(principals[0], keys.revoked),
                safe=_SAFE,
                todo="sign it with a key that is still trusted, and find out who used this one",
            )
        if verified.rc != 0:
            raise BadSignature(
                "the signature of the manifest is not good: {0}".format(_said(verified.err or verified.out)),
                safe=_SAFE,
                todo="the manifest was changed after it was signed, or signed for something else; publish it again",
            )
        return principals[0]
    finally:
        os.unlink(path)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadSignature("the manifest holds bytes that no manifest has", safe=_SAFE)


def _said(text: str) -> str:
    # OpenSSH says the reason in one line and that it failed in another one
    return "; ".join(line.strip() for line in text.strip().splitlines()[:3]) or "ssh-keygen gave no reason"


def sign(runner: Runner, manifest: bytes, key: str, namespace: str = NAMESPACE) -> bytes:
    """Sign a manifest or a channel.

    :param key: path of a private key, or of a public key whose private half an agent holds.
    :raises FleetError: when ssh-keygen cannot sign with it.
    """
    result = runner.query(["ssh-keygen", "-Y", "sign", "-f", key, "-n", namespace], stdin=manifest.decode("ascii"))
    if result.rc != 0 or "BEGIN SSH SIGNATURE" not in result.out:
        raise FleetError("the manifest could not be signed with {0}: {1}".format(key, _said(result.err)))
    return result.out.encode("ascii")
