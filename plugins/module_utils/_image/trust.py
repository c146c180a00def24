# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Finding an image in a repository and trusting it: the way from an address to a verified manifest."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import manifest as manifests
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Artefact, BadManifest, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import BadSignature, Keys, verify
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import NotThere, Repository, TooLarge

INDEX = "index.json"

#: how often a server is asked for a file and its signature that belong together
ATTEMPTS = 3
#: what the name of a ring stands behind, where an image is asked for
RING = "ring:"
LATEST = manifests.LATEST


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


def _by_ring(runner: Runner, repository: Repository, ring: str, name: Optional[str], keys: Keys, now: float) -> str:
    """The id of the image that a ring should run."""
    if not name:
        raise Refused(
            "which image ring {0} should run cannot be told without the name of the image".format(ring),
            safe="nothing was written",
            todo="give it (name; in the roles upgrade_image_name)",
        )
    file = manifests.channel_name(name)
    raw, _signer = _signed(runner, repository, file, keys, manifests.CHANNEL_NAMESPACE)
    channel = manifests.parse_channel(raw)
    what = "the channel of {0}".format(name)
    manifests.check_until(what, channel.not_after, now, "publish the channel anew (playbook publish)")
    if channel.name != name or ring not in channel.rings:
        raise Refused(
            "the channel of {0} has no ring {1}; it has: {2}".format(
                name, ring, ", ".join(sorted(channel.rings)) or "none"
            ),
            safe="nothing was written",
        )
    return channel.rings[ring]


def find_id(repository: Repository, wanted: str, name: Optional[str]) -> str:
    """The id of an image, as the index says, whose signature is not looked at: see :func:`check_named`.

    :param wanted: a whole image id, or what :func:`manifest.find_in_index` takes.
    """
    if manifests.is_digest(wanted):
        return wanted
    index = manifests.parse_index(repository.fetch(INDEX, manifests.MAX_SMALL_FILE))
    return manifests.find_in_index(index, wanted, name)


def _find_latest(runner: Runner, repository: Repository, name: Optional[str], keys: Keys) -> str:
    """The id of the newest image: nothing in a manifest says that it is that, so the index must be signed."""
    try:
        raw, _signer = _signed(runner, repository, INDEX, keys, manifests.NAMESPACE)
    except NotThere as error:
        raise Refused(
            "which image is the latest cannot be told: {0}".format(error.what),
            safe="nothing was written",
            todo="name a version; or publish in that folder once more (playbook publish), which signs its index",
        )
    return manifests.find_in_index(manifests.parse_index(raw), LATEST, name)


def fetch_artefact(repository: Repository, artefact: Artefact) -> bytes:
    """A small file that a signed manifest names.

    :raises BadManifest: when it is not what the manifest says.
    """
    try:
        raw = repository.fetch(artefact.name, artefact.size)
    except TooLarge as error:
        raise BadManifest(error.what)
    if hashlib.sha256(raw).hexdigest() != artefact.sha256:
        raise BadManifest(
            "{0} in {1} does not match the signed manifest".format(artefact.name, repository.location),
            safe="nothing was written",
            todo="publish the image again; a file of it was damaged or swapped",
        )
    return raw


def find_image(
    runner: Runner,
    repository: Repository,
    wanted: str,
    keys: Keys,
    name: Optional[str] = None,
    now: float = 0.0,
) -> Trusted:
    """The manifest of an image, verified.

    :param wanted: a whole image id, ``ring:`` and the name of a ring, or what :func:`manifest.find_in_index` takes.
    :param now: seconds since the epoch.
    :raises FleetError: when there is no such image, or it cannot be trusted.
    """
    if wanted.startswith(RING):
        ident = _by_ring(runner, repository, wanted[len(RING) :], name, keys, now)
    elif wanted == LATEST:
        ident = _find_latest(runner, repository, name, keys)
    else:
        ident = find_id(repository, wanted, name)
    raw, signer = _signed(runner, repository, manifest_name(ident), keys, manifests.NAMESPACE)
    manifest = manifests.parse_manifest(raw)
    check_named(manifest, ident, wanted, name)
    return Trusted(manifest, signer)


def check_named(manifest: Manifest, ident: str, wanted: str, name: Optional[str]) -> None:
    """See that a manifest is of what was asked for: the index is not signed and could point anywhere.

    :param ident: the id under which the manifest was found.
    :raises BadManifest: when it is of something else.
    """
    named = wanted.startswith(RING) or wanted in (LATEST, manifest.version) or manifest.id.startswith(wanted)
    if manifest.id != ident or not named or (name is not None and manifest.name != name):
        raise BadManifest(
            "the repository offered {0} for {1}".format(manifest.describe(), wanted),
            safe="nothing was written",
            todo="make the index anew (playbook build) and find out who changed it",
        )


def _signed(runner: Runner, repository: Repository, file: str, keys: Keys, namespace: str) -> Tuple[bytes, str]:
    """A signed file, verified, and who signed it.

    File and signature are two requests, and the publisher may have replaced them in between: a server is asked again.
    """
    for attempt in range(ATTEMPTS if repository.parallel else 1):
        if attempt:
            time.sleep(attempt)
        raw = repository.fetch(file, manifests.MAX_SMALL_FILE)
        signature = repository.fetch(file + ".sig", manifests.MAX_SMALL_FILE)
        try:
            return raw, verify(runner, raw, signature, keys, namespace)
        except BadSignature as error:
            trouble = error
    raise trouble
