# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Finding an image in a repository and trusting it: the way from an address to a verified manifest."""

from __future__ import annotations

import hashlib
from typing import List, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import manifest as manifests
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import Artefact, BadManifest, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import NotThere, Repository, TooLarge
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import (
    Memory,
    Word,
    fetch_first_hand,
    fetch_signed,
    listen,
)

INDEX = "index.json"

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
    """A manifest and who signed it.

    :param word: what the publisher says of images of that name.
    """

    manifest: Manifest
    signer: str
    word: Word = Word()

    @property
    def bad(self) -> str:
        """Why nobody should run it; empty where nobody says so."""
        return self.word.why_bad(self.manifest.id)

    def judged(self, passes: str, how: str) -> List[str]:
        """Refuse what the publisher calls bad, and what nobody can tell of; warnings.

        :param passes: why that is no more than a warning; empty where it is refused.
        :param how: what would let it pass, for people.
        :raises Refused: when it is bad.
        :raises FleetError: when that cannot be told.
        """
        notes = list(self.word.notes)
        if self.word.problem is not None:
            if not passes:
                raise self.word.problem
            return [*notes, "{0}: {1}".format(self.word.problem.what, passes)]
        if not self.bad:
            return notes
        if not passes:
            raise Refused(
                bad_words("the image {0}".format(self.manifest.describe()), self.bad),
                safe="nothing was changed",
                todo="take another image; or publish a mended one, or take this one off the list (image_bad); or use "
                "it all the same with {0}".format(how),
            )
        return [*notes, "{0}: {1}".format(bad_words(self.manifest.describe(), self.bad), passes)]


def bad_words(what: str, reason: str) -> str:
    """That an image is on the fleet's list.

    :param what: the image, for people.
    """
    return "{0} is on the fleet's list of bad images ({1})".format(what, reason)


def _by_ring(repository: Repository, ring: str, name: str, word: Word) -> str:
    """The id of the image that a ring should run."""
    if word.problem is not None:
        raise word.problem
    if word.statement is None:
        raise NotThere(
            "{0} has no channel of {1} ({2})".format(repository.location, name, manifests.channel_name(name)),
            safe="nothing was written",
            todo="publish one (image_rings), or name a version",
        )
    rings = word.statement.channel.rings
    if ring not in rings:
        raise Refused(
            "the channel of {0} has no ring {1}; it has: {2}".format(name, ring, ", ".join(sorted(rings)) or "none"),
            safe="nothing was written",
        )
    return rings[ring]


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
        raw, _signature, _signer = fetch_first_hand(runner, repository, INDEX, keys, manifests.NAMESPACE)
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
    return repository.believed(artefact.name, lambda where: _fetch_artefact(where, artefact), BadManifest)


def _fetch_artefact(repository: Repository, artefact: Artefact) -> bytes:
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
    memory: Optional[Memory] = None,
) -> Trusted:
    """The manifest of an image, verified, and what the publisher says of it.

    :param wanted: a whole image id, ``ring:`` and the name of a ring, or what :func:`manifest.find_in_index` takes.
    :param now: seconds since the epoch.
    :param memory: see :func:`statement.listen`.
    :raises FleetError: when there is no such image, or it cannot be trusted. Whether it is bad is for
        :meth:`Trusted.judged`.
    """
    word, ident = None, ""
    if wanted.startswith(RING):
        ring = wanted[len(RING) :]
        if not name:
            raise Refused(
                "which image ring {0} should run cannot be told without the name of the image".format(ring),
                safe="nothing was written",
                todo="give it (name; in the roles upgrade_image_name)",
            )
        word = listen(runner, repository, name, keys, memory, now)
        ident = _by_ring(repository, ring, name, word)
    elif wanted == LATEST:
        ident = _find_latest(runner, repository, name, keys)
    manifest, signer = _find_manifest(runner, repository, wanted, ident, keys, name)
    return Trusted(manifest, signer, word or listen(runner, repository, manifest.name, keys, memory, now))


def _find_manifest(
    runner: Runner, repository: Repository, wanted: str, ident: str, keys: Keys, name: Optional[str]
) -> Tuple[Manifest, str]:
    """The manifest of an image, and who signed it.

    :param ident: its id; empty where the index has to tell.
    """

    def found(where: Repository) -> Tuple[Manifest, str]:
        known = ident or find_id(where, wanted, name)
        raw, _signature, signer = fetch_signed(runner, where, manifest_name(known), keys, manifests.NAMESPACE)
        manifest = manifests.parse_manifest(raw)
        check_named(manifest, known, wanted, name)
        return manifest, signer

    return repository.believed(INDEX, found, BadManifest, NotThere, Refused)  # wrong, or behind


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
