# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is to be built, and where on the build host."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

#: nanobsd.sh uses its paths without quotes, in ``rm -xrf ${MAKEOBJDIRPREFIX}/`` for example, and takes its arguments
#: from ``getopt ... $*`` (tools/tools/nanobsd/nanobsd.sh and defaults.sh)
_PATH = re.compile(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
#: a package's name, its name with the version, or its origin
_PACKAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+,@/~-]*")
#: a variable of make(1), which may be one that is added to or that only has a default
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*[+?]?")

REPRODUCIBLE = "REPRODUCIBLE_BUILD"

#: names and values, in the order in which make(1) is to read them
Options = Tuple[Tuple[str, str], ...]


@dataclass(frozen=True)
class Place:
    """The folder of a build on the build host, and what is where in it.

    :param folder: its absolute path. nanobsd.sh removes everything in :attr:`obj` when it begins anew, so what has to
        last is beside that.
    """

    folder: str

    def _in(self, *names: str) -> str:
        return os.path.join(self.folder, *names)

    @property
    def obj(self) -> str:
        """NANO_OBJ and MAKEOBJDIRPREFIX."""
        return self._in("obj")

    @property
    def world(self) -> str:
        """NANO_WORLDDIR as nanobsd.sh sets it: the root of the finished system."""
        return self._in("obj", "_.w")

    @property
    def logs(self) -> str:
        """NANO_LOG; the logs of buildworld and buildkernel are in :attr:`obj` all the same."""
        return self._in("log")

    @property
    def packages(self) -> str:
        """The packages to install, as files, and nothing else."""
        return self._in("packages")

    @property
    def state(self) -> str:
        """What this collection keeps. That it is there shows that the folder is ours."""
        return self._in("state")

    def at(self, *names: str) -> str:
        """A path in :attr:`state`."""
        return self._in("state", *names)

    @property
    def config(self) -> str:
        """The configuration for nanobsd.sh."""
        return self.at("nanobsd.conf")

    @property
    def log(self) -> str:
        """What nanobsd.sh says of its progress."""
        return self.at("build.log")

    @property
    def archive(self) -> str:
        """The finished tree."""
        return self._in("tree.tar.xz")


@dataclass(frozen=True)
class Repository:
    """Where packages come from, as pkg.conf(5) describes repositories.

    :param url: with ``${ABI}`` where the ABI belongs; ``pkg+`` before the scheme for SRV records.
    :param signature_type: ``fingerprints``, ``pubkey`` or ``none``.
    :param trust: folder with the fingerprints, or path of the public key.
    """

    url: str
    signature_type: str = "fingerprints"
    trust: str = "/usr/share/keys/pkg"

    def encode(self) -> str:
        """The text of a file in REPOS_DIR. JSON is UCL, so nothing in a value can end it.

        The names are those of usr.sbin/pkg/FreeBSD.conf.quarterly; ``pubkey`` is the one of pkg.conf(5).
        """
        values: Dict[str, Any] = {"url": self.url, "enabled": True, "signature_type": self.signature_type}
        values["mirror_type"] = "srv" if self.url.startswith("pkg+") else "none"
        if self.signature_type == "fingerprints":
            values["fingerprints"] = self.trust
        elif self.signature_type == "pubkey":
            values["pubkey"] = self.trust
        return json.dumps({"nanozfs": values}, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Script:
    """A customise function of the owner: lines for sh(1), run when everything is installed."""

    name: str
    content: str


@dataclass(frozen=True)
class Definition:
    """What is to be built.

    :param source: path of the source tree.
    :param arch: TARGET_ARCH.
    :param abi: of the packages.
    :param kernel: name of a kernel configuration of the source tree, or the path of one.
    :param kernel_lines: lines to add to it (config(5)).
    :param modules: the kernel modules to install; all that were built where empty.
    :param world: options of src.conf(5).
    :param make_conf: variables of make.conf(5), for building and installing.
    :param build: variables for building only, CONF_BUILD.
    :param install: variables for installing only, CONF_INSTALL.
    :param jobs: how many jobs make(1) runs at once; as many as there are processors where ``None``.
    """

    name: str
    source: str
    arch: str
    abi: str
    kernel: str = "GENERIC"
    kernel_lines: Tuple[str, ...] = ()
    modules: Tuple[str, ...] = ()
    world: Options = ()
    make_conf: Options = ()
    build: Options = ()
    install: Options = ()
    packages: Tuple[str, ...] = ()
    repository: Repository = Repository("pkg+http://pkg.FreeBSD.org/${ABI}/quarterly")
    scripts: Tuple[Script, ...] = ()
    jobs: Optional[int] = None

    @property
    def tools(self) -> str:
        """NANO_TOOLS: where nanobsd.sh is."""
        return self.source + "/tools/tools/nanobsd"

    @property
    def named(self) -> Options:
        """All options with the file that they would be in, for people and for the description of the image."""
        found = [("src.conf:" + name, value) for name, value in self.world]
        found += [("make.conf:" + name, value) for name, value in self.make_conf]
        found += [("build:" + name, value) for name, value in self.build]
        found += [("install:" + name, value) for name, value in self.install]
        found.append(("kernel", self.kernel))
        if self.kernel_lines:
            found.append(("kernel:lines", "; ".join(self.kernel_lines)))
        if self.modules:
            found.append(("kernel:modules", " ".join(self.modules)))
        return tuple(found)


def options_of(values: Mapping[str, Any], what: str) -> Options:
    """The options in a dictionary of an inventory, sorted by name.

    A true one is ``yes``. One that is false or empty is left out: src.conf(5) looks whether an option is set, not what
    it is set to.

    :param what: the dictionary's name, for messages.
    :raises Refused: when a name is none, or a value would be more than a value.
    """
    found = []
    for name, value in sorted(values.items()):
        if value is None or value is False:
            continue
        text = "yes" if value is True else str(value)
        if not _VARIABLE.fullmatch(str(name)):
            raise Refused("{0}: {1!r} is no name of an option".format(what, name))
        if any(character in text for character in "\n\r\0") or text.endswith("\\"):
            raise Refused("{0}: the value of {1} would go beyond its line".format(what, name))
        found.append((str(name), text))
    return tuple(found)


def reproducible(world: Options, others: Sequence[Options]) -> Options:
    """The options of src.conf(5) with WITH_REPRODUCIBLE_BUILD, unless somebody has decided about that.

    Without it kernel and loader hold the time and the host of the build (tools/build/options/WITH_REPRODUCIBLE_BUILD).
    """
    given = {name.rstrip("+?") for options in (world, *others) for name, _value in options}
    if given & {"WITH_" + REPRODUCIBLE, "WITHOUT_" + REPRODUCIBLE}:
        return world
    return tuple(sorted(world + (("WITH_" + REPRODUCIBLE, "yes"),)))


def check(definition: Definition, place: Place) -> None:
    """Refuse what nanobsd.sh would misunderstand.

    :raises Refused: with the reason.
    """
    for path, what in ((place.folder, "folder of the build"), (definition.source, "source tree")):
        if not _PATH.fullmatch(path) or os.path.normpath(path) != path:
            raise Refused(
                "{0!r} cannot be the {1}".format(path, what),
                todo="give an absolute path of letters, digits and ._+- (nanobsd.sh does not quote its paths)",
            )
    inside = os.path.commonpath([definition.source, place.folder])
    if inside in (definition.source, place.folder):
        raise Refused(
            "the folder of the build ({0}) and the source tree must lie beside each other".format(place.folder)
        )
    for text, form, what in (
        (definition.name, _NAME, "name of a build"),
        (definition.arch, _NAME, "architecture"),
        (definition.kernel, _PATH if definition.kernel.startswith("/") else _NAME, "kernel configuration"),
    ):
        if not form.fullmatch(text):
            raise Refused("{0!r} is no {1}".format(text, what))
    for each in definition.modules:
        if not _MODULE.fullmatch(each):
            raise Refused("{0!r} is no kernel module".format(each))
    for each in definition.kernel_lines:
        if "\n" in each or "\0" in each:
            raise Refused("{0!r} is more than one line of a kernel configuration".format(each))
    for each in definition.packages:
        if not _PACKAGE.fullmatch(each):
            raise Refused("{0!r} is no name of a package".format(each))
        if each.lower().startswith("pkg-"):
            raise Refused(
                "{0} cannot be installed: NanoBSD takes the last of the files pkg-* for pkg itself".format(each),
                todo="pkg itself is always installed; for another one named so, use a customise script",
            )
    for script in definition.scripts:
        if not _NAME.fullmatch(script.name) or "\0" in script.content:
            raise Refused("{0!r} is no usable customise script".format(script.name))
    if definition.jobs is not None and definition.jobs < 1:
        raise Refused("jobs is {0}, and must be more than 0".format(definition.jobs))
