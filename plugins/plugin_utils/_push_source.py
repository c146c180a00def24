# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a controller brings to a target that reaches no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import manifest as manifests
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import MAX_MAP
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import (
    Forbidden,
    Limits,
    NotThere,
    open_repository,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import (
    LATEST,
    RING,
    check_named,
    find_id,
    manifest_name,
    signature_name,
)


class Supply:
    """A repository as the controller sees it. Whom to trust is for the target to say, which verifies everything.

    :param location: of the repository, for the controller.
    :param wanted: which image.
    :param name: only images of this name.
    :ivar ident: id of the image.
    """

    def __init__(
        self, location: str, wanted: str, name: Optional[str], limits: Limits, ca_file: Optional[str] = None
    ) -> None:
        self._repository = open_repository(location, limits, ca_file)
        self._wanted, self._name = wanted, name
        if wanted.startswith(RING) or wanted == LATEST:  # the host could not see who says that it is this one
            raise FleetError(
                "{0} cannot be asked for with push".format("a ring" if wanted.startswith(RING) else "the latest image"),
                safe="nothing was changed",
                todo="name its version, or its id",
            )
        self.ident = find_id(self._repository, wanted, name)

    def manifest_files(self) -> Iterator[Tuple[str, bytes]]:
        """Name and content of the manifest and its signature; and of the channel, where there is one."""
        raw = self._repository.fetch(manifest_name(self.ident), manifests.MAX_SMALL_FILE)
        # the target is told the id only, and cannot see what it was found by
        manifest = manifests.parse_manifest(raw)
        check_named(manifest, self.ident, self._wanted, self._name)
        yield manifest_name(self.ident), raw
        name = signature_name(self.ident)
        yield name, self._repository.fetch(name, manifests.MAX_SMALL_FILE)
        channel = manifests.channel_name(manifest.name)
        try:
            said = self._repository.fetch(channel, manifests.MAX_SMALL_FILE)
        except Forbidden:
            raise  # what the host cannot be told is not that nothing is bad
        except NotThere:
            return
        yield channel, said
        yield channel + ".sig", self._repository.fetch(channel + ".sig", manifests.MAX_SMALL_FILE)

    def small_files(self) -> Iterator[Tuple[str, bytes]]:
        """Name and content of everything but the payloads."""
        both = list(self.manifest_files())
        yield from both
        manifest = manifests.parse_manifest(both[0][1])
        windows = manifest.artefact("windows")
        for artefact in [windows] + [offer.map for offer in manifest.offers]:
            yield artefact.name, self._repository.fetch(artefact.name, min(artefact.size, MAX_MAP))

    def read(self, name: str, offset: int, length: int) -> bytes:
        """A part of a file, in bytes."""
        return b"".join(self._repository.stream(name, offset, length))


def supply_of(arguments: Mapping[str, Any]) -> Supply:
    """The supply that the arguments of a task name."""
    given: Dict[str, Any] = {
        key: kind(arguments[key])
        for key, kind in (("timeout", float), ("retries", int), ("deadline", float))
        if arguments.get(key) is not None
    }
    hosts = arguments.get("redirect_hosts") or []
    given["redirects"] = tuple(hosts.split(",") if isinstance(hosts, str) else hosts)
    limits = replace(Limits(), **given)
    ca_file = str(arguments["ca_file"]) if arguments.get("ca_file") else None
    name = str(arguments["name"]) if arguments.get("name") else None
    return Supply(str(arguments.get("repository", "")), str(arguments.get("image", "")), name, limits, ca_file)
