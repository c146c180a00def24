# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a catalogue was signed by somebody who is trusted.

What is signed is the digest of the member of the archive, each archive for itself. Source: ``pkg_repo.c``,
``pkgsign_ossl.c`` and ``pkgsign_ecc.c`` in ``libpkg`` of freebsd/pkg (13f9f98), pkg-repo(8), pkg.conf(5)
(``SIGNATURE_TYPE``).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.errors import RepositoryError
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.freebsd_keys import (
    BASE_15,
    BASE_15_FOLDER,
    FREEBSD,
    FREEBSD_FOLDER,
)

FINGERPRINTS, PUBKEY, NONE = "fingerprints", "pubkey", "none"
TYPES = (FINGERPRINTS, PUBKEY, NONE)

#: the member with the signature where there is one public key
SIGNATURE = "signature"
#: ends of the members with signatures and keys where there are fingerprints
SIG, PUB = ".sig", ".pub"

#: what stands before a signature or key that is none of RSA: the name of its kind, and another ``$``
_HEAD = b"$PKGSIGN:"

#: a DigestInfo of SHA-1 with 64 bytes in it, which signers before OpenSSL 3 made: the hex of a SHA-256, as it is
_OLD = bytes.fromhex("304d300906052b0e03021a05000440")

_FINGERPRINT = re.compile(r"^\s*\"?fingerprint\"?\s*[:=]?\s*\"?([0-9a-f]{64})\b", re.MULTILINE | re.IGNORECASE)
_FUNCTION = re.compile(r"^\s*\"?function\"?\s*[:=]?\s*\"?(\w+)\"?", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Trust:
    """Who may sign.

    :param kind: one of :data:`TYPES`.
    :param where: the folder or file that says so, for messages.
    :param trusted: names by fingerprint; ``revoked`` likewise.
    :param key: the public key, as it is in its file.
    """

    kind: str
    where: str = ""
    trusted: Mapping[str, str] = field(default_factory=dict)
    revoked: Mapping[str, str] = field(default_factory=dict)
    key: bytes = b""


@dataclass(frozen=True)
class Signed:
    """What is known of a member of a catalogue's archive.

    :param sha256: of its content, as hex.
    :param blake2b: likewise (64 bytes).
    :param files: the signatures and keys beside it, by name.
    """

    sha256: str
    blake2b: str
    files: Mapping[str, bytes]


def load(kind: str, where: str) -> Trust:
    """Whom a definition trusts.

    :param where: for fingerprints a folder with ``trusted`` and perhaps ``revoked`` in it; that of FreeBSD, where this
        machine has none, stands for the fingerprints that FreeBSD ships. For a public key its file.
    :raises RepositoryError: when that cannot be read.
    """
    if kind == NONE:
        return Trust(kind)
    folder = where or FREEBSD_FOLDER
    if kind == FINGERPRINTS and folder in (FREEBSD_FOLDER, BASE_15_FOLDER) and not os.path.isdir(folder):
        return Trust(kind, "the fingerprints of FreeBSD", FREEBSD if folder == FREEBSD_FOLDER else BASE_15)
    if kind == PUBKEY and not where:
        raise RepositoryError(
            "a repository is signed with a key, and nothing says with which",
            todo="name the file of the public key: trust of that repository, or image_pkg_signature_trust",
        )
    try:
        if kind == PUBKEY:
            with open(where, "rb") as file:
                return Trust(kind, where, key=file.read(1 << 20))
        trusted, revoked = (_fingerprints(os.path.join(folder, name)) for name in ("trusted", "revoked"))
    except OSError as error:
        raise RepositoryError(
            "{0} cannot be read: {1}".format(error.filename or where, error.strerror),
            todo="image_pkg_signature_trust is the file of the public key, or the folder that has trusted/ in it",
        )
    if not trusted:
        raise RepositoryError("{0} has no fingerprints below trusted/".format(folder))
    return Trust(kind, folder, trusted, revoked)


def _fingerprints(folder: str) -> Dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
        said, function = _FINGERPRINT.search(text), _FUNCTION.search(text)
        if said is None and name.startswith("."):  # of an editor or of git; pkg(8) takes one with a fingerprint
            continue
        if said is None or function is None or function.group(1).lower() != "sha256":
            raise RepositoryError(
                '{0} is no fingerprint: it needs function: "sha256" and fingerprint: "64 hex digits"'.format(path)
            )
        found[said.group(1).lower()] = name
    return found


def check(signed: Signed, trust: Trust, what: str) -> str:
    """See that somebody who is trusted has signed.

    :param what: the archive, for messages.
    :returns: who it was, for people.
    :raises RepositoryError: when nobody has, or when one of the keys is revoked.
    """
    if trust.kind == NONE:
        return "nobody"
    if trust.kind == PUBKEY:
        return _check_pubkey(signed, trust, what)
    return _check_fingerprints(signed, trust, what)


def _check_pubkey(signed: Signed, trust: Trust, what: str) -> str:
    if SIGNATURE not in signed.files:
        raise RepositoryError(
            "{0} has no signature".format(what),
            todo="sign the repository (`pkg repo FOLDER KEY`), or say image_pkg_signature_type: fingerprints",
        )
    kind, signature = _headed(signed.files[SIGNATURE])
    message = bytes.fromhex(signed.blake2b) if kind == "ecdsa" else signed.sha256.encode("ascii")
    if not _verifies(kind, trust.key, signature, message, what):
        raise RepositoryError(
            "the signature of {0} is not that of the key {1}".format(what, trust.where),
            todo="find out whether the key is another one now, or somebody has changed the catalogue on its way",
        )
    return os.path.basename(trust.where)


def _check_fingerprints(signed: Signed, trust: Trust, what: str) -> str:
    pairs = _pairs(signed.files, what)
    known: List[Tuple[str, bytes, bytes]] = []
    strangers = []
    for name, (signature, key) in sorted(pairs.items()):
        fingerprint = hashlib.sha256(_headed(key)[1]).hexdigest()
        if fingerprint in trust.revoked:
            raise RepositoryError(
                "{0} is signed with the key {1}, which {2} says is revoked ({3})".format(
                    what, name, trust.where, trust.revoked[fingerprint]
                ),
                todo="take another mirror, or wait until the repository is signed with another key",
            )
        if fingerprint in trust.trusted:
            known.append((trust.trusted[fingerprint], signature, key))
        else:
            strangers.append("{0}, {1}".format(name, fingerprint))
    if not known:
        raise RepositoryError(
            "{0} is signed by nobody who is trusted ({1}); trusted is {2}".format(
                what, "; ".join(strangers) or "it has no signature", trust.where
            ),
            todo="compare the fingerprint with what its owner says, and put it below trusted/ of "
            "image_pkg_signature_trust",
        )
    unknown: Optional[RepositoryError] = None
    for name, signature, key in known:
        kind, content = _headed(signature)
        try:
            if _verifies(kind, _headed(key)[1], content, signed.sha256.encode(), what):
                return name
        except RepositoryError as error:  # another one may be of a kind that can be judged
            unknown = error
    raise unknown or RepositoryError(
        "the signature of {0} does not fit its content".format(what),
        todo="fetch it again; when it stays, the mirror has a damaged catalogue, or somebody has changed it on its way",
    )


def _pairs(files: Mapping[str, bytes], what: str) -> Dict[str, Tuple[bytes, bytes]]:
    names = {name[:-4] for name in files if name.endswith((SIG, PUB))}
    for name in sorted(names):
        for end, missing in ((SIG, "signature"), (PUB, "key")):
            if name + end not in files:
                raise RepositoryError("{0} has no {1} with the name {2}".format(what, missing, name))
    return {name: (files[name + SIG], files[name + PUB]) for name in names}


def _headed(content: bytes) -> Tuple[str, bytes]:
    """The kind of a signature or key, and what it is without its head."""
    if content.startswith(_HEAD):
        kind, dollar, rest = content[len(_HEAD) :].partition(b"$")
        if dollar:
            return kind.decode("ascii", "replace"), rest
    return "rsa", content


def _verifies(kind: str, key: bytes, signature: bytes, message: bytes, what: str) -> bool:
    """Whether a signature fits.

    :raises RepositoryError: for a kind that cannot be judged here, and a key that is none.
    """
    public = _public(kind, key, what)
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see _public
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        if kind == "ecdsa" and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, message, ec.ECDSA(SHA256()))
            return True
        if kind == "rsa" and isinstance(public, rsa.RSAPublicKey):
            signature = _plain(signature, (public.key_size + 7) // 8)
            try:
                public.verify(signature, message, padding.PKCS1v15(), SHA256())
                return True
            except InvalidSignature:
                return bool(public.recover_data_from_signature(signature, padding.PKCS1v15(), None) == _OLD + message)
    except InvalidSignature:
        return False
    raise RepositoryError("{0}: a signature of the kind {1} does not fit its key".format(what, kind))


def _plain(signature: bytes, length: int) -> bytes:
    """A signature without the NUL that pkg repo(8) writes behind it."""
    return signature[:-1] if len(signature) == length + 1 and signature.endswith(b"\0") else signature


def _public(kind: str, key: bytes, what: str) -> Any:
    if kind not in ("rsa", "ecdsa"):
        raise RepositoryError(
            "{0} has a signature of the kind {1}, which cannot be judged here: rsa and ecdsa can".format(
                what, ascii(kind[:20])
            ),
            todo="have the repository signed with a key of RSA, too",
        )
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - only who has packages needs it
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_der_public_key,
            load_pem_public_key,
        )
    except ImportError:
        raise RepositoryError(
            "the signature of {0} cannot be judged: this machine has no Python package cryptography".format(what),
            todo="install cryptography where Ansible runs",
        )
    try:
        return load_pem_public_key(key) if key.lstrip().startswith(b"-----") else load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RepositoryError("{0}: its key cannot be loaded: {1}".format(what, error))
