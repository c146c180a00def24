# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The GEOM mesh of a FreeBSD host, read from ``sysctl -n kern.geom.confxml``.

Sources: geom(4); ``sys/geom/geom_dump.c`` (the XML), ``sys/geom/geom_vfs.c`` (a mounted file system is a geom of
class VFS whose consumer is open), ``sys/geom/part/g_part.c`` and ``g_part_gpt.c`` (tables and their attributes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner

CONFXML = ("sysctl", "-n", "kern.geom.confxml")

_MODE = re.compile(r"r(\d+)w(\d+)e(\d+)")


class Mode(NamedTuple):
    """How often something is open for reading, for writing and exclusively."""

    read: int
    write: int
    exclusive: int

    @property
    def is_open(self) -> bool:
        return any(self)


@dataclass(frozen=True)
class Provider:
    """Something that has a device node: a disk, a partition or a label.

    ``mediasize`` and ``sectorsize`` are in bytes. ``config`` maps a key to all its values, for attributes occur more
    than once.
    """

    ident: str
    name: str
    geom: str
    mediasize: int
    sectorsize: int
    config: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return "/dev/" + self.name

    def value(self, key: str) -> str:
        """The first value of a configuration key, or an empty string."""
        values = self.config.get(key, ())
        return values[0] if values else ""


@dataclass(frozen=True)
class Geom:
    """One geom: it consumes providers and may provide others."""

    ident: str
    name: str
    kind: str
    config: Mapping[str, Tuple[str, ...]]
    consumes: Tuple[Tuple[str, Mode], ...]
    provides: Tuple[Provider, ...]


class Holder(NamedTuple):
    """Who keeps a provider open: a mounted file system (VFS), a pool (ZFS::VDEV), an open device node (DEV) ..."""

    kind: str
    name: str
    provider: str
    mode: Mode

    def __str__(self) -> str:
        what = {"VFS": "a mounted file system", "ZFS::VDEV": "a ZFS pool", "SWAP": "swap", "DEV": "a program"}
        return "{0} ({1} on {2})".format(what.get(self.kind, "GEOM class " + self.kind), self.name, self.provider)


class Mesh:
    """All geoms of a host and the questions that we ask about them."""

    def __init__(self, geoms: List[Geom]) -> None:
        self.geoms = geoms
        self._provider: Dict[str, Provider] = {}
        self._source: Dict[str, Geom] = {}
        self._consumers: Dict[str, List[Tuple[Geom, Mode]]] = {}
        for geom in geoms:
            for provider in geom.provides:
                # two providers of one name do not occur: GEOM refuses the second one
                self._provider[provider.name] = provider
                self._source[provider.ident] = geom
            for ident, mode in geom.consumes:
                self._consumers.setdefault(ident, []).append((geom, mode))
        self._by_ident = {provider.ident: provider for provider in self._provider.values()}

    def find(self, name: str) -> Optional[Provider]:
        """The provider of a name, with or without ``/dev/`` in front."""
        return self._provider.get(name[5:] if name.startswith("/dev/") else name)

    def source(self, provider: Provider) -> Geom:
        """The geom that provides it."""
        return self._source[provider.ident]

    def base(self, provider: Provider) -> Provider:
        """The provider under all labels: ``gpt/nz-a`` gives ``ada0p4``."""
        geom = self.source(provider)
        if geom.kind == "LABEL" and geom.consumes:
            below = self._by_ident.get(geom.consumes[0][0])
            if below is not None:
                return self.base(below)
        return provider

    def _derived(self, provider: Provider) -> Iterator[Provider]:
        """The provider and everything that shows the same bytes or a part of them under another name."""
        yield provider
        for geom, _mode in self._consumers.get(provider.ident, ()):
            for above in geom.provides:
                yield from self._derived(above)

    def names(self, provider: Provider) -> List[str]:
        """Every name of the same bytes: the base provider first, then its labels."""
        base = self.base(provider)
        return [base.name] + sorted(
            each.name for each in self._derived(base) if each is not base and self.source(each).kind == "LABEL"
        )

    def holders(self, provider: Provider) -> List[Holder]:
        """Who has the provider open, by whatever name, or any part of it.

        GEOM itself does not refuse a write to a file system that is mounted read-only (transcript
        ``dd-write/031-ro-root-via-label``), so this list is the only guard there is. Only the ends of the mesh
        count: geoms that provide nothing further.
        """
        found = []
        for each in self._derived(self.base(provider)):
            for geom, mode in self._consumers.get(each.ident, ()):
                if mode.is_open and not geom.provides:
                    found.append(Holder(geom.kind, geom.name, each.name, mode))
        return found

    def built_on(self, provider: Provider) -> List[Geom]:
        """What makes something else of the provider or a part of it: a mirror, an encrypted disk. Open or not."""
        found = []
        for each in self._derived(self.base(provider)):
            for geom, _mode in self._consumers.get(each.ident, ()):
                if geom.provides and geom.kind not in ("PART", "LABEL") and geom not in found:
                    found.append(geom)
        return found

    def parts(self, provider: Provider) -> List[Provider]:
        """The provider and the partitions on it, each once, without labels."""
        return [each for each in self._derived(self.base(provider)) if self.source(each).kind != "LABEL"]

    def tables(self) -> List[Geom]:
        """Every partition table."""
        return [geom for geom in self.geoms if geom.kind == "PART"]

    def table_of(self, provider: Provider) -> Optional[Geom]:
        """The outermost partition table that the provider lies in, or ``None``.

        A BSD label inside an MBR slice is climbed through.
        """
        geom = self.source(self.base(provider))
        table = None
        while True:
            if geom.kind == "PART":
                table = geom
            if not geom.consumes:
                return table
            below = self._by_ident.get(geom.consumes[0][0])
            if below is None:
                return table
            geom = self.source(below)


def _config(element: Optional[ElementTree.Element]) -> Dict[str, Tuple[str, ...]]:
    config: Dict[str, Tuple[str, ...]] = {}
    for child in element if element is not None else ():
        config[child.tag] = config.get(child.tag, ()) + ((child.text or "").strip(),)
    return config


def _mode(text: Optional[str]) -> Mode:
    match = _MODE.match(text or "")
    return Mode(*(int(number) for number in match.groups())) if match else Mode(0, 0, 0)


def _provider(element: ElementTree.Element, geom: str) -> Provider:
    return Provider(
        ident=element.get("id", ""),
        name=element.findtext("name", "").strip(),
        geom=geom,
        mediasize=int(element.findtext("mediasize", "0")),
        sectorsize=int(element.findtext("sectorsize", "0")),
        config=_config(element.find("config")),
    )


def parse_confxml(text: str) -> Mesh:
    """Parse the XML of ``kern.geom.confxml``.

    :raises FleetError: when it is no such XML.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise FleetError("kern.geom.confxml cannot be read as XML ({0})".format(error))
    if root.tag != "mesh":
        raise FleetError("kern.geom.confxml does not hold a GEOM mesh")
    geoms = []
    for kind in root.findall("class"):
        for element in kind.findall("geom"):
            name = element.findtext("name", "").strip()
            consumes = []
            for consumer in element.findall("consumer"):
                below = consumer.find("provider")
                if below is not None:
                    consumes.append((below.get("ref", ""), _mode(consumer.findtext("mode"))))
            geoms.append(
                Geom(
                    ident=element.get("id", ""),
                    name=name,
                    kind=kind.findtext("name", "").strip(),
                    config=_config(element.find("config")),
                    consumes=tuple(consumes),
                    provides=tuple(_provider(each, name) for each in element.findall("provider")),
                )
            )
    return Mesh(geoms)


def read_mesh(runner: Runner) -> Mesh:
    """The mesh of the host as it is now.

    :raises CommandError: when the sysctl cannot be read.
    """
    return parse_confxml(runner.ask(CONFXML, "read the GEOM mesh").out)
