# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The base system as packages (pkgbase), in place of base.txz and kernel.txz.

They are packages as any others, from a repository of their own: named ``FreeBSD-…``, with the version of the release
(``15.0``, ``15.0p5``). Packages without files depend on those of a set. Source: ``release/packages`` (``sets``,
``create-sets.sh``, ``generate-ucl.lua``), ``Makefile.inc1`` (``create-kernel-packages``) and
``usr.sbin/pkg/FreeBSD.conf.quarterly-release`` of freebsd/freebsd-src (releng/15.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import plain
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.features import KERNEL
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.guards import Guarded
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.provenance import FREEBSD_VERSION
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._packages.signature import FINGERPRINTS, TYPES

#: what the repository is called in the lock, and for pkg on a host (``/etc/pkg/FreeBSD.conf``)
NAME = "FreeBSD-base"

#: how the names of all its packages begin, and of no other
PREFIX = "FreeBSD-"

#: where FreeBSD has those of a release
URL = "pkg+https://pkg.FreeBSD.org/${ABI}/base_release_${VERSION_MINOR}"
TRUST = "/usr/share/keys/pkgbase-{0}"

#: the first release with sets as packages
FIRST = 15

#: of systems that do not say their architecture, as this one is not there yet
ARCH = "amd64"

#: a host needs them, and they are not in every set: rc.d/var fills an empty /var by mtree(8), and the signature of an
#: image is judged by ssh-keygen(1). Source: ``PACKAGE`` in ``etc/mtree``, ``usr.sbin/nmtree`` and ``secure/usr.bin``
NEEDED = ("mtree", "ssh")
USUAL_KERNEL = "generic"

_KEYS = frozenset(("release", "set", "kernel", "packages", "url", "signature_type", "trust"))
_RELEASE = re.compile(r"([0-9]{1,3})\.([0-9]{1,2})\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
#: behind the release: a patch level, or what comes before a release (``_PKG_REVISION`` in ``Makefile.inc1``)
_REST = re.compile(r"(?:p([0-9]+)|\.(?:a|b|rc)[0-9]+(?:\.[0-9]+)?)?\Z")


@dataclass(frozen=True)
class Base:
    """The base system that a definition wants.

    :param release: ``15.0``.
    :param names: of packages; without that of a kernel where the sources have one.
    :param url: of the repository, with ``${ABI}`` and the like.
    :param kind: how it is signed; ``trust`` is the file or folder that says by whom.
    """

    release: str
    names: Tuple[str, ...]
    has_kernel: bool = True
    url: str = URL
    kind: str = FINGERPRINTS
    trust: str = ""

    @property
    def major(self) -> int:
        """The first number of the release."""
        return int(self.release.partition(".")[0])

    @property
    def abi(self) -> str:
        """The ABI, without an architecture."""
        return "FreeBSD:{0}".format(self.major)

    def differs(self, version: str) -> str:
        """Why a package of the base cannot be in this system; empty when it can.

        :param version: of the package.
        """
        if version.startswith(self.release) and _REST.match(version[len(self.release) :]):
            return ""
        return "it is of the base system {0}, and image_base says {1}".format(version, self.release)

    def check_sources(self, tree: Tree) -> None:
        """See that what lies below the packages is no other system.

        :raises Guarded: when it is.
        """
        for path, what, there in (
            (FREEBSD_VERSION, "a base system", True),
            (KERNEL, "a kernel", self.has_kernel),
        ):
            if there and path in tree:
                raise Guarded(
                    "image_sources has {0} already ({1}), and image_base brings one".format(what, path),
                    todo="leave base.txz and kernel.txz out of image_sources, or image_base out; with a kernel of your "
                    "own say kernel: none in image_base",
                )


def base_of(written: Mapping[str, Any]) -> Base:
    """The base system as a definition has it.

    :raises Refused: when that is none.
    """
    unknown = sorted(str(each) for each in set(written) - _KEYS)
    if unknown:
        raise Refused(
            "image_base: {0} is nothing that it can have".format(plain(", ".join(unknown))),
            todo="it has release, set, kernel, packages, url, signature_type and trust",
        )
    release = written.get("release")
    found = _RELEASE.match(release) if isinstance(release, str) else None
    if found is None:
        raise Refused(
            "image_base: the release {0} is none".format(plain(repr(release))),
            todo='write it with quotes, as "15.0": without, 15.10 would be 15.1; patches are those that the repository '
            "has",
        )
    if int(found.group(1)) < FIRST:
        raise Refused(
            "image_base: FreeBSD {0} has no sets as packages".format(release),
            todo="build it of base.txz and kernel.txz (image_sources)",
        )
    sets = _words(written.get("set"), "set")
    if not sets:
        raise Refused("image_base: set is missing", todo="give one, or a list: minimal, optional, base, devel, lib32")
    kernel = str(written.get("kernel") or USUAL_KERNEL)
    names = [PREFIX + "set-" + each for each in sets]
    names += [
        each if each.startswith(PREFIX) else PREFIX + each for each in _words(written.get("packages"), "packages")
    ]
    names += [PREFIX + each for each in NEEDED]
    if kernel != "none":
        names += [PREFIX + "kernel-" + each.lower() for each in _words(kernel, "kernel")]
    kind = str(written.get("signature_type") or FINGERPRINTS)
    if kind not in TYPES:
        raise Refused("image_base: signature_type is one of {0}".format(", ".join(TYPES)))
    usual = TRUST.format(found.group(1)) if kind == FINGERPRINTS else ""
    return Base(
        release=found.group(),
        names=tuple(dict.fromkeys(names)),
        has_kernel=kernel != "none",
        url=str(written.get("url") or URL),
        kind=kind,
        trust=str(written.get("trust") or usual),
    )


def _words(written: Any, what: str) -> List[str]:
    """Names: a list, or words.

    :raises Refused: when one is none.
    """
    words: Sequence[Any] = written.split() if isinstance(written, str) else written or ()
    for each in words if isinstance(words, (list, tuple)) else [words]:
        if not isinstance(each, str) or not _NAME.match(each):
            raise Refused("image_base: {0} has {1}, which is no name".format(what, plain(repr(each))))
    return list(words)


def is_base(name: str) -> bool:
    """Whether a package is one of the base system."""
    return name.startswith(PREFIX)


def release_of(versions: Mapping[str, str], name: str) -> str:
    """What freebsd-version(1) will say of a system with these packages; empty where that is not known.

    :param versions: by the names of packages.
    :param name: the beginning of the name of the package that counts: ``FreeBSD-runtime``, ``FreeBSD-kernel-``.
    """
    version = next((versions[each] for each in sorted(versions) if each.startswith(name)), "")
    found = re.match(r"([0-9]+\.[0-9]+)(?:p([0-9]+))?\Z", version)
    if found is None:
        return ""
    return "{0}-RELEASE{1}".format(found.group(1), "-p" + found.group(2) if found.group(2) else "")
