# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Signatures of manifests, made and verified by ``ssh-keygen -Y`` of the base system.

Source: ssh-keygen(1); the outputs are in the transcripts under ``tests/fixtures/freebsd-13.2/sshsig``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

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
    with _temporary(signature, ".sig", keys.tmpdir) as path:
        asked = _Question(runner, path, _text(manifest), namespace, _revoked(keys))
        principal, said = asked.by(allowed_signers)
        if principal:
            return principal
        # ssh-keygen takes the first line of a key, and the one for this purpose need not be that
        for line in _lines_of(allowed_signers):
            with _temporary(line, ".signer", keys.tmpdir) as alone:
                principal, _said_of_line = asked.by(alone)
            if principal:
                return principal
        if said is None:
            raise BadSignature(
                "the manifest is not signed by any key in {0} ({1})".format(allowed_signers, asked.unknown),
                safe=_SAFE,
                todo="check who published it; the keys that this host trusts are part of its running image",
            )
        if asked.revoked_by:
            raise BadSignature(
                "the key of {0} that signed it is revoked ({1})".format(asked.revoked_by, keys.revoked),
                safe=_SAFE,
                todo="sign it with a key that is still trusted, and find out who used this one",
            )
        raise BadSignature(
            "the signature of the manifest is not good: {0}".format(said),
            safe=_SAFE,
            todo="the manifest was changed after it was signed, or signed for something else; publish it again",
        )


def _revoked(keys: Keys) -> List[str]:
    return ["-r", keys.revoked] if keys.revoked and os.path.exists(keys.revoked) else []


@contextlib.contextmanager
def _temporary(content: bytes, suffix: str, folder: Optional[str]) -> Iterator[str]:
    """The path of a file that ssh-keygen can read."""
    handle, path = tempfile.mkstemp(prefix="nanozfs-", suffix=suffix, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)


def _lines_of(path: str) -> List[bytes]:
    """The lines of a file of signers, where it has several."""
    with open(path, "rb") as file:
        lines = [line for line in file.read().splitlines(True) if line.strip() and not line.lstrip().startswith(b"#")]
    return lines if len(lines) > 1 else []


class _Question:
    """Whether a signature is good.

    :param path: of the signature.
    :ivar unknown: what ssh-keygen says where no line has the key.
    :ivar revoked_by: whose key it is, where it would be good if it were not revoked.
    """

    def __init__(self, runner: Runner, path: str, text: str, namespace: str, revoked: List[str]) -> None:
        self._runner = runner
        self._path = path
        self._text = text
        self._namespace = namespace
        self._revoked = revoked
        self.unknown = ""
        self.revoked_by = ""

    def by(self, allowed: str) -> Tuple[str, Optional[str]]:
        """Who signed it, by the lines of a file; or why it is not good, ``None`` where no line has the key."""
        found = self._runner.query(["ssh-keygen", "-Y", "find-principals", "-f", allowed, "-s", self._path])
        principals = found.lines()
        if found.rc != 0 or not principals:
            self.unknown = self.unknown or _said(found.err)
            return "", None
        argv = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", principals[0], "-n", self._namespace]
        argv += ["-s", self._path]
        verified = self._runner.query(argv + self._revoked, stdin=self._text)
        if verified.rc == 0:
            return principals[0], ""
        if self._revoked and self._runner.query(argv, stdin=self._text).rc == 0:
            self.revoked_by = self.revoked_by or principals[0]
        return "", _said(verified.err or verified.out)


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
