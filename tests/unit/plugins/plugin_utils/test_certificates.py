# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates by the names that OpenSSL gives them."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from pathlib import Path
from typing import List, Tuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build import certificates
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.tests.unit.packaged import make, manifest
from ansible_collections.nanozfs.fleet.tests.unit.plugins.plugin_utils.test_scripts import CERTCTL, laid

KEY = ec.derive_private_key(1 << 200, ec.SECP256R1())
DAY = datetime.datetime(2026, 1, 1)


def pem(*attributes: x509.NameAttribute, serial: int = 1) -> bytes:
    """A certificate with this subject."""
    name = x509.Name([x509.RelativeDistinguishedName([each]) for each in attributes])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(serial).not_valid_before(DAY).not_valid_after(DAY + datetime.timedelta(days=9))
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def common(text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.COMMON_NAME, text, kind)


def named(text: bytes) -> str:
    return certificates.subject_hash(x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER))


NAMES = [
    pem(common("Root CA")),
    pem(common("  ROOT \t  ca ")),
    pem(common("Root CA", _ASN1Type.PrintableString)),
    pem(common("Root CA", _ASN1Type.BMPString)),
    pem(common("Autorit\u00e9 \u00c9"), x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")),
    pem(
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x" * 60),
        common("x" * 60),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "A@B"),
    ),
]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("number", range(len(NAMES)))
def test_names_are_those_of_openssl(number: int) -> None:
    argv = ["openssl", "x509", "-subject_hash", "-noout"]
    done = subprocess.run(argv, input=NAMES[number], capture_output=True, check=True)
    assert named(NAMES[number]) == done.stdout.decode().strip()


def test_names_without_what_makes_no_difference() -> None:
    assert len({named(text) for text in NAMES[:4]}) == 1 and len({named(text) for text in NAMES}) == 3


@pytest.mark.parametrize("der", [b"", b"x", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x02\x01\x01", b"\x30\x80"])
def test_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(ValueError):
        certificates.subject_hash(der)


def test_no_piece_of_a_certificate_is_one() -> None:
    whole = x509.load_pem_x509_certificate(NAMES[0]).public_bytes(serialization.Encoding.DER)
    for end in range(len(whole)):
        with pytest.raises(ValueError):
            certificates.subject_hash(whole[:end])


def rehashed(**files: bytes) -> Tuple[Tree, List[str]]:
    tree, said = Tree(), []  # type: Tuple[Tree, List[str]]
    for path, content in files.items():
        tree.write(path, content.decode())
    certificates.rehash(tree, said.append)
    return tree, said


def test_rehash() -> None:
    """Of what is trusted and not distrusted, each once; what was there before goes."""
    first, second = pem(common("a"), serial=1), pem(common("A"), serial=2)
    other, bad = pem(common("b")), pem(common("c"))
    tree, said = rehashed(
        **{
            "usr/share/certs/trusted/one.pem": b"# text\n" + first + second,
            "usr/share/certs/trusted/bad.pem": bad,
            "usr/share/certs/untrusted/bad.pem": bad,
            "usr/local/share/certs/deep/b.crt": other + first,
            "usr/local/share/certs/README": b"nothing",
            "etc/ssl/certs/00000000.0": b"nothing",
        }
    )
    both = {"etc/ssl/certs/{0}.{1}".format(named(first), number) for number in (0, 1)}
    made = set(tree.below("etc/ssl/certs"))
    assert made == both | {"etc/ssl/certs/{0}.0".format(named(other))}
    assert {tree.get(path).content() for path in both} == {first, second}
    assert {tree.get(path).mode for path in made} == {0o444}
    bundle = tree.get("etc/ssl/cert.pem").content()
    assert sorted(bundle.split(b"-----END")) != [] and all(text in bundle for text in (first, second, other))
    assert bad not in bundle and len(bundle) == len(first + second + other)
    assert said == [
        "/usr/local/share/certs/README has no certificate that can be read, and is left out",
        "/etc/ssl/certs/00000000.0 has no certificate that can be read, and is left out",
    ]
    identity = tree.identity()
    certificates.rehash(tree, said.append)
    assert tree.identity() == identity, "again, it is the same"


def test_without_certificates() -> None:
    tree, said = rehashed(**{"etc/ssl/openssl.cnf": b""})
    assert said == [] and "etc/ssl/cert.pem" not in tree


def test_by_the_script_of_a_package(tmp_path: Path) -> None:
    tree = Tree()
    tree.write("etc/master.passwd", "root::0:0::0:0::/root:/bin/sh\n")
    tree.write("etc/group", "wheel:*:0:root\n")
    tree.write("usr/share/certs/trusted/a.pem", NAMES[0].decode())
    said: List[str] = []
    laid(tree, tmp_path, said, make(tmp_path, manifest("FreeBSD-caroot", scripts={"post-install": CERTCTL})))
    assert said == [] and tree.get("etc/ssl/certs/{0}.0".format(named(NAMES[0]))).content() == NAMES[0]
