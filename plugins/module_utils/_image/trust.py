# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding an image in a repository and trusting it: the way from an address to a verified manifest."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import manifest as manifests
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import BadManifest, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import verify
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository

INDEX = "index.json"


def manifest_name(ident: str) -> str:
    """The file name of an image's manifest."""
    return ident + ".manifest.json"


def signature_name(ident: str) -> str:
    """The file name of the signature of an image's manifest."""
    return manifest_name(ident) + ".sig"


class Trusted(NamedTuple):
    """A manifest and who signed it."""

    manifest: Manifest
    signer: str


def find_image(
    runner: Runner,
    repository: Repository,
    wanted: str,
    allowed_signers: str,
    name: Optional[str] = None,
    tmpdir: Optional[str] = None,
) -> Trusted:
    """The manifest of an image, verified.

    :param wanted: a whole image id, or what :func:`manifest.find_in_index` takes.
    :raises FleetError: when there is no such image, or it cannot be trusted.
    """
    if manifests.is_digest(wanted):
        ident = wanted
    else:
        index = manifests.parse_index(repository.fetch(INDEX, manifests.MAX_SMALL_FILE))
        ident = manifests.find_in_index(index, wanted, name)
    raw = repository.fetch(manifest_name(ident), manifests.MAX_SMALL_FILE)
    signature = repository.fetch(signature_name(ident), manifests.MAX_SMALL_FILE)
    signer = verify(runner, raw, signature, allowed_signers, tmpdir)
    manifest = manifests.parse_manifest(raw)
    # the index is not signed and could point anywhere
    if manifest.id != ident or (wanted not in ("latest", manifest.version) and not manifest.id.startswith(wanted)):
        raise BadManifest(
            "the repository offered {0} for {1}".format(manifest.describe(), wanted),
            safe="nothing was written",
            todo="make the index anew (playbook build) and find out who changed it",
        )
    return Trusted(manifest, signer)
