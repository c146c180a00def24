# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where an image comes from: the system that it was built from, the options, the packages.

It is part of the image (``boot/nanozfs/origin.json``), so it is the same on the host, in what is published and in the
identity of the build. A tree that a build host made brings the file with it; what is laid over it here is added. Hosts
read it out of their slices, so it is here and not with the builder.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

ORIGIN_JSON = "boot/nanozfs/origin.json"

FORMAT = 1

#: no description that we read is larger (bytes); a thousand packages with the options of their ports are half of it
MAX_ORIGIN = 2 << 20

#: Source: ``bin/freebsd-version/freebsd-version.sh.in``
_USERLAND = re.compile(rb'^USERLAND_VERSION="([^"\n]+)"$', re.MULTILINE)

Pairs = Tuple[Tuple[str, str], ...]


class BadOrigin(FleetError):
    """A description of an origin that cannot be read."""


@dataclass(frozen=True)
class Package:
    """A package in the image, as its own ``+MANIFEST`` describes it (pkg-create(8)).

    :param origin: the port that it was made from, ``lang/python39``.
    :param licenses: as the port names them.
    :param options: name and value of each option of the port.
    :param sha256: of the package's file, where there was one.
    :param flavor: of the port, ``py311``; empty where it has none.
    """

    name: str
    version: str
    origin: str = ""
    licenses: Tuple[str, ...] = ()
    options: Pairs = ()
    sha256: str = ""
    flavor: str = ""

    def as_dict(self) -> Dict[str, Any]:
        """For JSON; without a flavor where there is none."""
        values: Dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "origin": self.origin,
            "licenses": list(self.licenses),
            "options": dict(sorted(self.options)),
            "sha256": self.sha256,
        }
        return dict(values, flavor=self.flavor) if self.flavor else values


@dataclass(frozen=True)
class Input:
    """An archive that was laid into the tree: its name without folder, and its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Where an image comes from.

    :param method: ``sets`` or ``nanobsd``.
    :param release: what ``freebsd-version`` says of the userland, ``13.2-RELEASE-p4``.
    :param revision: of the source tree, where it was built from one.
    :param kernel: name of the kernel's configuration, ``GENERIC``.
    :param kernel_release: what ``freebsd-version -k`` says of the kernel, which a patch may leave alone: it has a patch
        level of its own.
    :param options: of world and kernel, ``src.conf:WITHOUT_LPR`` to ``yes`` and the like.
    :param collection: version of this collection, which made the image and whose agent is in it.
    """

    method: str
    release: str = ""
    revision: str = ""
    kernel: str = ""
    options: Pairs = ()
    inputs: Tuple[Input, ...] = ()
    packages: Tuple[Package, ...] = ()
    collection: str = ""
    kernel_release: str = ""

    def added(self, inputs: Tuple[Input, ...], packages: Tuple[Package, ...]) -> Origin:
        """With archives and packages that came on top; a package of the same name replaces the one before."""
        names = {each.name for each in packages}
        kept = tuple(each for each in self.packages if each.name not in names)
        ordered = tuple(sorted(kept + packages, key=lambda each: each.name))
        return replace(self, inputs=self.inputs + inputs, packages=ordered)

    def as_dict(self) -> Dict[str, Any]:
        """For JSON; nothing in it depends on the order in which things were found."""
        return {
            "format": FORMAT,
            "method": self.method,
            "release": self.release,
            "revision": self.revision,
            "kernel": self.kernel,
            "kernel_release": self.kernel_release,
            "options": dict(sorted(self.options)),
            "collection": self.collection,
            "inputs": [{"name": each.name, "sha256": each.sha256} for each in self.inputs],
            "packages": [each.as_dict() for each in sorted(self.packages, key=lambda each: each.name)],
        }

    def summary(self, full: bool) -> Dict[str, Any]:
        """For module results.

        :param full: with every package and archive, of which there may be hundreds; otherwise only how many there are.
        """
        values = self.as_dict()
        del values["format"]
        values["package_count"] = len(self.packages)
        if not full:
            del values["packages"], values["inputs"]
        return values

    def encode(self) -> str:
        """The text of the file."""
        return json.dumps(self.as_dict(), indent=1, sort_keys=True) + "\n"


def release_of(script: bytes) -> str:
    """The release of a userland, as its ``freebsd-version`` says; an empty string where it does not."""
    found = _USERLAND.search(script)
    return found.group(1).decode("ascii", "replace") if found else ""


def _pairs(values: Mapping[str, Any]) -> Pairs:
    return tuple(sorted((str(key), str(value)) for key, value in values.items()))


def _package(values: Mapping[str, Any]) -> Package:
    return Package(
        name=str(values["name"]),
        version=str(values["version"]),
        origin=str(values.get("origin", "")),
        licenses=tuple(str(each) for each in values.get("licenses", ())),
        options=_pairs(values.get("options", {})),
        sha256=str(values.get("sha256", "")),
        flavor=str(values.get("flavor", "")),
    )


def parse(text: str) -> Origin:
    """Read the file.

    :raises BadOrigin: when it is damaged, too large or of an unknown format.
    """
    if len(text) > MAX_ORIGIN:
        raise BadOrigin("{0} is larger than {1} bytes".format(ORIGIN_JSON, MAX_ORIGIN))
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError("format {0!r}".format(values["format"]))
        return Origin(
            method=str(values["method"]),
            release=str(values.get("release", "")),
            revision=str(values.get("revision", "")),
            kernel=str(values.get("kernel", "")),
            options=_pairs(values.get("options", {})),
            inputs=tuple(Input(str(each["name"]), str(each["sha256"])) for each in values.get("inputs", ())),
            packages=tuple(_package(each) for each in values.get("packages", ())),
            collection=str(values.get("collection", "")),
            kernel_release=str(values.get("kernel_release", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadOrigin("{0} cannot be read: {1!r}".format(ORIGIN_JSON, error))
