# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of manifests, made and verified by ``ssh-keygen -Y`` of the base system.

Source: ssh-keygen(1); the outputs are in the transcripts under ``tests/fixtures/freebsd-13.2/sshsig``.
"""

from __future__ import annotations

import os
import tempfile
from typing import Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import NAMESPACE

_SAFE = "nothing was written; the image was not looked at any further"


class BadSignature(Refused):
    """A manifest that nobody trusted has signed, or that was changed after it was signed."""


def verify(runner: Runner, manifest: bytes, signature: bytes, allowed_signers: str, tmpdir: Optional[str]) -> str:
    """Verify a manifest's signature.

    :param allowed_signers: path of the file with the trusted keys (ssh-keygen(1), ALLOWED SIGNERS).
    :param tmpdir: where the signature may be put for ssh-keygen to read.
    :returns: the principal that signed.
    :raises BadSignature: when the signature is missing, wrong, of another namespace, or of a key that is not trusted,
        has expired or was revoked.
    """
    if not os.path.isfile(allowed_signers):
        raise BadSignature(
            "there is no file {0} with the keys to trust".format(allowed_signers),
            safe=_SAFE,
            todo="the running image must carry it; build images with image_signers",
        )
    handle, path = tempfile.mkstemp(prefix="nanozfs-", suffix=".sig", dir=tmpdir)
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
        argv = ["ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-I", principals[0], "-n", NAMESPACE, "-s", path]
        verified = runner.query(argv, stdin=_text(manifest))
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
    lines = text.strip().splitlines()
    return lines[0] if lines else "ssh-keygen gave no reason"


def sign(runner: Runner, manifest: bytes, key: str) -> bytes:
    """Sign a manifest.

    :param key: path of a private key, or of a public key whose private half an agent holds.
    :raises FleetError: when ssh-keygen cannot sign with it.
    """
    result = runner.query(["ssh-keygen", "-Y", "sign", "-f", key, "-n", NAMESPACE], stdin=manifest.decode("ascii"))
    if result.rc != 0 or "BEGIN SSH SIGNATURE" not in result.out:
        raise FleetError("the manifest could not be signed with {0}: {1}".format(key, _said(result.err)))
    return result.out.encode("ascii")
