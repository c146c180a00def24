# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bill of materials (SBOM) of an image, in CycloneDX.

It says what the image says of its origin, in the words that scanners for vulnerabilities and licences know. Made by the
library cyclonedx-python-lib, which is only needed where images are published.
"""

from __future__ import annotations

import urllib.parse
import uuid
from datetime import datetime, timezone
from typing import Any, Callable, Iterable, List, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import Origin, Package
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.exceptions import Accepted
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.match import PACKAGE, Finding, Thing
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._audit.result import Audited
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.layout import Identity

try:
    from cyclonedx.model import HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.impact_analysis import ImpactAnalysisJustification, ImpactAnalysisState
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.model.vulnerability import (
        BomTarget,
        Vulnerability,
        VulnerabilityAdvisory,
        VulnerabilityAnalysis,
        VulnerabilitySource,
    )
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.spdx import is_supported_id
    from packageurl import PackageURL
except ImportError:  # without it images are published without a bill of materials
    _FOUND = False
else:
    _FOUND = True

LIBRARY = "cyclonedx-python-lib"

#: the component that stands for the system, userland and kernel
SYSTEM = "system"


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
    """The package URL. The specification has no type for FreeBSD and its ports (16f3d0e of package-url/purl-spec), and
    demands that a type be registered, so it is the generic one.
    """
    given = {key: value for key, value in qualifiers.items() if value}
    return PackageURL("generic", namespace, name, version or None, given)


def _reference(name: str) -> str:
    """The component that stands for a package."""
    return "package:" + name


def _package(package: Package, abi: str) -> Any:
    return Component(
        type=ComponentType.LIBRARY,  # what CycloneDX recommends where one cannot tell
        name=package.name,
        version=package.version,
        bom_ref=_reference(package.name),
        purl=_purl(package.name, package.version, "freebsd", arch=abi, flavor=package.flavor, origin=package.origin),
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
    said += [("kernel_release", origin.kernel_release)]
    said += [("option:" + name, value) for name, value in origin.options]
    said += [("input:" + each.name, "sha256:" + each.sha256) for each in origin.inputs]
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        name="FreeBSD",
        version=origin.release or None,
        bom_ref=SYSTEM,
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


def _analysis(finding: Finding, accepted: Optional[Accepted]) -> Any:
    """What is known of a hole. One that nobody has looked into is in triage: that a version has it does not say that
    the image can be attacked by it. So is one that somebody lives with and does not say why it does no harm: to accept
    a hole is not to be without it, and a scanner would hide it.
    """
    if accepted is None:
        return VulnerabilityAnalysis(state=ImpactAnalysisState.IN_TRIAGE, detail=finding.doubt or None)
    why = accepted.justification
    detail = "{0} (until {1})".format(accepted.reason, accepted.until)
    if not why:
        return VulnerabilityAnalysis(state=ImpactAnalysisState.IN_TRIAGE, detail="accepted: " + detail)
    return VulnerabilityAnalysis(
        state=ImpactAnalysisState.NOT_AFFECTED, justification=ImpactAnalysisJustification(why), detail=detail
    )


def _vulnerabilities(audited: Audited, reference: Callable[[Thing], str]) -> List[Any]:
    """The known holes of an image, one for each name that scanners know.

    :param reference: the component that has one.
    """
    findings: List[Tuple[Finding, Optional[Accepted]]] = [(each, None) for each in audited.open]
    findings += list(audited.accepted)
    made: List[Any] = []
    for number, (finding, accepted) in enumerate(findings):
        advisory = finding.advisory
        upgrade = "{0} {1}".format(finding.thing.name, finding.fixed) if finding.fixed else ""
        made += [
            Vulnerability(
                bom_ref="hole:{0}:{1}".format(number, name),
                id=name,
                source=VulnerabilitySource(name="VuXML", url=XsUri(advisory.url)),
                description=advisory.topic or None,
                recommendation="upgrade to {0}".format(upgrade) if upgrade else None,
                advisories=[VulnerabilityAdvisory(url=XsUri(advisory.url))],
                analysis=_analysis(finding, accepted),
                affects=[BomTarget(ref=reference(finding.thing))],
            )
            for name in advisory.names
        ]
    return made


def _component_of(thing: Thing) -> str:
    return _reference(thing.name) if thing.kind == PACKAGE else SYSTEM


def _serial(ident: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, "urn:sha256:" + ident)


def make(
    identity: Identity, build: str, ident: str, origin: Origin, moment: int, audited: Optional[Audited] = None
) -> bytes:
    """The bill of materials of an image; the same for the same image, and the same known holes.

    :param ident: the image's id.
    :param moment: the time of the image in seconds since the epoch.
    :param audited: the known holes that it is to have.
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
        serial_number=_serial(ident),
        metadata=BomMetaData(component=image, timestamp=datetime.fromtimestamp(moment, timezone.utc)),
        vulnerabilities=_vulnerabilities(audited, _component_of) if audited is not None else (),
    )
    bom.register_dependency(image, parts)
    return _text(bom)


def vex(title: Tuple[str, str], ident: str, audited: Audited, at: float) -> bytes:
    """The known holes of a published image as of now, which refer to its bill of materials (a BOM-Link of CycloneDX).

    :param title: name and version of the image; ``ident`` is its id.
    :param at: now, in seconds since the epoch.
    """
    name, version = title
    image = Component(
        type=ComponentType.FIRMWARE,
        name=name,
        version=version,
        bom_ref="image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=ident)],
    )
    link = "urn:cdx:{0}/1#".format(_serial(ident))

    def component(thing: Thing) -> str:
        return link + urllib.parse.quote(_component_of(thing), safe=":")

    return _text(
        Bom(
            serial_number=uuid.uuid5(uuid.NAMESPACE_URL, "urn:sha256:{0}#vex-{1:.0f}".format(ident, at)),
            metadata=BomMetaData(component=image, timestamp=datetime.fromtimestamp(at, timezone.utc)),
            vulnerabilities=_vulnerabilities(audited, component),
        )
    )


def _text(bom: Any) -> bytes:
    return (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode("utf-8")
