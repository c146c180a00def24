# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``certctl rehash`` makes of the certificates of a tree, by whose names TLS finds an authority.

Source: ``usr.sbin/certctl/certctl.c`` of FreeBSD 15. The name of a file is that of OpenSSL
(``X509_NAME_hash_ex``): of the subject without differences in case and blanks.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Dict, List, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.inputs import Say
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Node, Tree

#: where certificates are that count, and those that do not although they are among these
TRUSTED = ("usr/share/certs/trusted", "usr/local/share/certs", "etc/ssl/certs")
UNTRUSTED = ("usr/share/certs/untrusted", "usr/local/share/certs/untrusted", "etc/ssl/untrusted", "etc/ssl/blacklisted")

CERTS, BUNDLE = "etc/ssl/certs", "etc/ssl/cert.pem"

_PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END")

#: strings that are compared by their letters, with the code that they are in
_STRINGS = {12: "utf-8", 19: "ascii", 20: "latin-1", 22: "ascii", 26: "ascii", 28: "utf-32-be", 30: "utf-16-be"}
_SEQUENCE, _UTF8 = 0x30, 12


def rehash(tree: Tree, say: Say) -> None:
    """Make the files by the names of certificates, and the one with all of them.

    :param say: told of a file without a certificate that can be read.
    """
    without = _found(tree, UNTRUSTED, say)
    outside = [place for place in TRUSTED if place != CERTS]
    found = {**_found(tree, outside, say), **_found(tree, [CERTS], say)}
    named: Dict[str, bytes] = {}
    kept = []
    # by the digest that OpenSSL compares them by (X509_cmp), so that always the same one is the first of a name
    for der in sorted(set(found) - set(without), key=lambda der: hashlib.sha1(der).digest()):
        name = subject_hash(der)
        number = next(n for n in range(len(found)) if "{0}.{1}".format(name, n) not in named)
        named["{0}.{1}".format(name, number)] = _pem(der)
        kept.append(_pem(der))
    for path in tree.below(CERTS):
        if re.search(r"/[0-9a-f]{8}\.[0-9]+\Z", path):
            tree.remove(path)
    for path, content in named.items():
        tree.put("{0}/{1}".format(CERTS, path), Node(FILE, 0o444, data=content))
    if kept:
        tree.put(BUNDLE, Node(FILE, 0o444, data=b"".join(kept)))


def _found(tree: Tree, places: Sequence[str], say: Say) -> Dict[bytes, None]:
    """The certificates in some folders, without those in folders for others."""
    found: Dict[bytes, None] = {}
    for place in places:
        for path in tree.below(place):
            node = tree.follow(path)
            if node is None or node.kind != FILE:
                continue
            read = []
            for text in _PEM.findall(node.content()):
                try:
                    der = base64.b64decode(text)
                    subject_hash(der)
                    read.append(der)
                except ValueError:
                    continue
            if not read:
                say("/{0} has no certificate that can be read, and is left out".format(printable(path)))
            found.update(dict.fromkeys(read))
    return found


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def subject_hash(der: bytes) -> str:
    """The name that a certificate is found by, as ``openssl x509 -subject_hash`` prints it.

    :raises ValueError: when it is no certificate.
    """
    ((_kind, certificate),) = _parts(der)
    body = _parts(_parts(certificate)[0][1])
    at = 1 if body[0][0] == 0xA0 else 0  # the version need not be there
    kinds = [kind for kind, _value in body[at : at + 5]]  # serial number, signature, issuer, validity, subject
    if len(kinds) < 5 or kinds[4] != _SEQUENCE:
        raise ValueError("no subject")
    subject = body[at + 4][1]
    total = b"".join(
        _der(part, b"".join(sorted(map(_same, _whole(attributes))))) for part, attributes in _parts(subject)
    )
    return "{0:08x}".format(int.from_bytes(hashlib.sha1(total).digest()[:4], "little"))


def _same(attribute: bytes) -> bytes:
    """An attribute of a name, without what makes no difference between two names."""
    ((_kind, content),) = _parts(attribute)
    (name, oid), (kind, value) = _parts(content)
    if kind in _STRINGS:
        text = value.decode(_STRINGS[kind]).encode("utf-8")
        kind, value = _UTF8, b" ".join(text.lower().split())
    return _der(_SEQUENCE, _der(name, oid) + _der(kind, value))


def _parts(data: bytes) -> List[Tuple[int, bytes]]:
    """The values that follow each other in DER (X.690), with their tags.

    :raises ValueError: when it is none.
    """
    found = []
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("it ends too early")
        kind, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("it ends too early")
        found.append((kind, data[at : at + length]))
        at += length
    if not found:
        raise ValueError("it is empty")
    return found


def _whole(data: bytes) -> List[bytes]:
    return [_der(kind, value) for kind, value in _parts(data)]


def _der(kind: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes((kind, length)) + value
    size = (length.bit_length() + 7) // 8
    return bytes((kind, 0x80 | size)) + length.to_bytes(size, "big") + value
