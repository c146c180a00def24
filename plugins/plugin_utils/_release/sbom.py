# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bill of materials (SBOM) of an image, in CycloneDX.

It says what the image says of its origin, in the words that scanners for vulnerabilities and licences know. Made by the
library cyclonedx-python-lib, which is only needed where images are published.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any, Iterable, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, Package
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity

try:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.spdx import is_supported_id
    from packageurl import PackageURL
except ImportError:  # without it images are published without a bill of materials
    _FOUND = False
else:
    _FOUND = True

LIBRARY = "cyclonedx-python-lib"


def available() -> bool:
    """Whether one can be made here."""
    return _FOUND


def check_available() -> None:
    """Refuse where none can be made.

    :raises Refused: when the library is missing.
    """
    if not available():
        raise Refused(
            "a bill of materials was asked for, and the Python package {0} is not there".format(LIBRARY),
            todo="install it where Ansible runs (pip install {0}), or leave image_sbom out".format(LIBRARY),
        )


def _properties(pairs: Iterable[Tuple[str, str]]) -> List[Any]:
    return [Property(name="nanozfs:" + name, value=value) for name, value in pairs if value]


def _purl(name: str, version: str, namespace: Optional[str], **qualifiers: str) -> Any:
    """The package URL. The specification has no type for FreeBSD and its ports, so it is the generic one."""
    given = {key: value for key, value in qualifiers.items() if value}
    return PackageURL("generic", namespace, name, version or None, given)


def _package(package: Package, abi: str) -> Any:
    return Component(
        type=ComponentType.LIBRARY,  # what CycloneDX recommends where one cannot tell
        name=package.name,
        version=package.version,
        bom_ref="package:" + package.name,
        purl=_purl(package.name, package.version, "freebsd", arch=abi, origin=package.origin),
        # ports name licences in words of their own; what SPDX does not know stays a name
        licenses=[
            DisjunctiveLicense(id=each) if is_supported_id(each) else DisjunctiveLicense(name=each)
            for each in package.licenses
            if each
        ],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.sha256)] if package.sha256 else [],
        properties=_properties(
            [("port", package.origin)] + [("option:" + name, value) for name, value in package.options]
        ),
    )


def _system(origin: Origin) -> Any:
    said = [("method", origin.method), ("revision", origin.revision), ("kernel", origin.kernel)]
    said += [("option:" + name, value) for name, value in origin.options]
    said += [("input:" + each.name, "sha256:" + each.sha256) for each in origin.inputs]
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        name="FreeBSD",
        version=origin.release or None,
        bom_ref="system",
        purl=_purl("freebsd", origin.release, None),
        properties=_properties(said),
    )


def _collection(origin: Origin) -> Any:
    return Component(
        type=ComponentType.APPLICATION,
        name="nanozfs.fleet",
        version=origin.collection or None,
        description="boot hook and agent of the image",
        bom_ref="collection",
        purl=_purl("fleet", origin.collection, "nanozfs"),
    )


def make(identity: Identity, build: str, ident: str, origin: Origin, moment: int) -> bytes:
    """The bill of materials of an image; the same for the same image.

    :param ident: the image's id.
    :param moment: the time of the image in seconds since the epoch.
    """
    image = Component(
        type=ComponentType.FIRMWARE,
        name=identity.name,
        version=identity.version,
        bom_ref="image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=ident)],
        properties=_properties([("build", build), ("arch", identity.arch), ("abi", identity.abi)]),
    )
    parts = [_system(origin), _collection(origin)]
    parts += [_package(each, identity.abi) for each in origin.packages]
    bom = Bom(
        components=parts,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, "urn:sha256:" + ident),
        metadata=BomMetaData(component=image, timestamp=datetime.fromtimestamp(moment, timezone.utc)),
    )
    bom.register_dependency(image, parts)
    return (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode("utf-8")
