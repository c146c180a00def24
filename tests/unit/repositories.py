# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed repositories of packages to test with, in the form in which pkg-repository(5) and ``pkg repo`` leave them."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import zstandard
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ansible_collections.nanozfs.fleet.tests.unit.packaged import Member, bundle, make, manifest

META = """version = 2;
packing_format = "tzst";
manifests = "packagesite.yaml";
data = "data";
filesite = "filesite.yaml";
manifests_archive = "packagesite";
filesite_archive = "filesite";
"""

_LETTERS = "ybndrfg8ejkmcpqxot1uwisza345h769"


def base32(raw: bytes) -> str:
    """Bytes as pkg(8) writes them."""
    number = int.from_bytes(raw, "little")
    return "".join(_LETTERS[number >> place & 31] for place in range(0, len(raw) * 8, 5))


def blake2(content: bytes) -> str:
    """The sum of newer repositories."""
    return "2$" + base32(hashlib.blake2b(content).digest())


@functools.lru_cache(maxsize=None)
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A key, made once."""
    return rsa.generate_private_key(65537, 2048 + 8 * number)


@functools.lru_cache(maxsize=None)
def ec_key() -> ec.EllipticCurvePrivateKey:
    """A key on one of the curves that pkg(8) has."""
    return ec.generate_private_key(ec.SECP256K1())


def public(key: Any) -> bytes:
    """The public half, as it stands in a repository."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def by_fingerprint(key: Any, content: bytes, name: str = "key") -> Dict[str, bytes]:
    """The members of an archive that is signed for fingerprints."""
    message = hashlib.sha256(content).hexdigest().encode()
    if isinstance(key, rsa.RSAPrivateKey):
        return {name + ".sig": key.sign(message, padding.PKCS1v15(), SHA256()), name + ".pub": public(key)}
    return {name + ".sig": b"$PKGSIGN:ecdsa$" + key.sign(message, ec.ECDSA(SHA256())), name + ".pub": public(key)}


def by_key(key: Any, content: bytes) -> Dict[str, bytes]:
    """The member of an archive that is signed for one public key."""
    if isinstance(key, rsa.RSAPrivateKey):
        message = hashlib.sha256(content).hexdigest().encode()
        return {"signature": key.sign(message, padding.PKCS1v15(), SHA256()) + b"\0"}
    return {"signature": b"$PKGSIGN:ecdsa$" + key.sign(hashlib.blake2b(content).digest(), ec.ECDSA(SHA256()))}


def by_old_key(key: rsa.RSAPrivateKey, content: bytes) -> Dict[str, bytes]:
    """The same by a signer older than OpenSSL 3: the hex as it is, in a DigestInfo of SHA-1."""
    inner = bytes.fromhex("304d300906052b0e03021a05000440") + hashlib.sha256(content).hexdigest().encode()
    length = key.key_size // 8
    padded = b"\0\1" + b"\xff" * (length - 3 - len(inner)) + b"\0" + inner
    numbers = key.private_numbers()
    signed = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n)
    return {"signature": signed.to_bytes(length, "big")}


def packed(members: Sequence[Tuple[str, bytes]]) -> bytes:
    """An archive as pkg repo(8) makes one."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.uname, info.gname, info.mode = len(content), "root", "wheel", 0o644
            tar.addfile(info, io.BytesIO(content))
    return zstandard.ZstdCompressor().compress(raw.getvalue())


def record(name: str, **values: Any) -> Dict[str, Any]:
    """A record of a catalogue, of no real package."""
    made = manifest(name, **values)
    made.pop("files")
    made.update({"sum": "0" * 64, "pkgsize": 1, "path": "All/{0}.pkg".format(name)})
    made["repopath"] = made["path"]
    return dict(made, **values)


@dataclass
class Made:
    """A repository in a folder.

    :param key: signs it; ``members`` tells how.
    """

    folder: Path
    key: Any = None
    members: Any = by_fingerprint
    built: str = "2026-01-29T01:20:06+0000"
    records: List[Dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = self.key or rsa_key()
        (self.folder / "All" / "Hashed").mkdir(parents=True, exist_ok=True)
        (self.folder / "meta.conf").write_text(META)

    @property
    def url(self) -> str:
        """Its address as a folder."""
        return "file://{0}".format(self.folder)

    def trust(self, folder: Path) -> str:
        """A folder with its fingerprint below ``trusted``."""
        for name, key in (("trusted", self.key), ("revoked", None)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            if key is not None:
                text = 'function: "sha256"\nfingerprint: "{0}"\n'.format(hashlib.sha256(public(key)).hexdigest())
                (folder / name / "ours").write_text(text)
        return str(folder)

    def add(
        self,
        name: str,
        sums: str = "sha256",
        old: str = "",
        members: Optional[Sequence[Member]] = None,
        **values: Any,
    ) -> Dict[str, Any]:
        """A package, and its record.

        :param sums: ``blake2`` as newer repositories have them.
        :param members: what is in it; by default a program.
        """
        values.setdefault("annotations", {"FreeBSD_version": "1302001", "build_timestamp": self.built})
        described = manifest(name, **values)
        path = Path(make(self.folder, described) if members is None else bundle(self.folder, described, members))
        content = path.read_bytes()
        found = blake2(content) if sums == "blake2" else hashlib.sha256(content).hexdigest()
        relative = "All/Hashed/{0}-{1}~{2}.pkg".format(name, described["version"], found[:10])
        os.replace(path, self.folder / relative)
        inside = ("files", "directories", "config", "scripts", "lua_scripts")
        entry = {key: value for key, value in described.items() if key not in inside}
        entry.update({"sum": found, "pkgsize": len(content), "path": relative, "repopath": relative})
        self.records = [each for each in self.records if each["name"] != old or not old] + [entry]
        return entry

    def without(self, *names: str) -> None:
        """Leave packages out of the catalogue."""
        self.records = [each for each in self.records if each["name"] not in names]

    def publish(self, name: str = "data", expired: Optional[List[Any]] = None, compact: bool = True) -> None:
        """Write the catalogue."""
        separators = (",", ":") if compact else (", ", ": ")
        if name == "data":
            document = {"groups": [], "expired_packages": expired or [], "packages": self.records}
            content = json.dumps(document, ensure_ascii=False, separators=separators).encode()
        else:
            content = b"".join(json.dumps(each).encode() + b"\n" for each in self.records)
        self.write(name, content)

    def write(self, name: str, content: bytes, signed: Optional[bytes] = None) -> None:
        """Write an archive of the catalogue.

        :param signed: what the signature is of, when it is something else.
        """
        member = "data" if name == "data" else "packagesite.yaml"
        signatures = self.members(self.key, content if signed is None else signed) if self.members else {}
        self.archive(name, [*signatures.items(), (member, content)])

    def archive(self, name: str, members: Sequence[Tuple[str, bytes]]) -> None:
        """Write an archive of whatever members."""
        (self.folder / (name + ".pkg")).write_bytes(packed(members))
