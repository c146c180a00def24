# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding out where a tree comes from, and writing it into the tree.

A tree that a build host made says so itself. Of any other the release and the kernel can be told from what is in it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Tuple

import yaml

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import (
    ORIGIN_JSON,
    Input,
    Origin,
    Package,
    parse,
    release_of,
)
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.features import KERNEL
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree

SETS = "sets"

FREEBSD_VERSION = "bin/freebsd-version"

#: what(1) finds it in a kernel. Source: SCCSSTR in ``sys/conf/newvers.sh``
_KERNEL = re.compile(rb"@\(#\)FreeBSD ([\x20-\x7e]+)")
#: the end of VERSTR there, in a kernel that says who made it where: the folder has the configuration's name
_FOLDER = re.compile(rb"FreeBSD [\x20-\x7e]+\n {4}[^\x00\s]+@[^\x00\s]+:[^\x00\s]*/([^\x00/\s]+)\n")


def kernel_release_of(kernel: bytes) -> str:
    """What ``freebsd-version -k`` says of a kernel: the first word of what :func:`kernel_of` reads; empty where it says
    nothing. Source: ``KERNEL_RE`` in ``bin/freebsd-version/freebsd-version.sh.in``
    """
    found = _KERNEL.search(kernel)
    return found.group(1).decode("ascii").split(" ")[0] if found is not None else ""


def kernel_of(kernel: bytes) -> Tuple[str, str]:
    """Source revision and configuration of a kernel; an empty string for what it does not say.

    ``newvers.sh`` writes ``13.2-RELEASE releng/13.2-n254617-525ecfdad597 GENERIC`` for a reproducible build, and
    otherwise ``13.2-RELEASE #0 releng/13.2-n254617-525ecfdad597: DATE``; without git there is no revision in it.
    """
    found = _KERNEL.search(kernel)
    if found is None:
        return "", ""
    words = found.group(1).decode("ascii").split(": ")[0].split()[1:]
    if not words or not words[0].startswith("#"):
        return " ".join(words[:-1]), words[-1] if words else ""
    folder = _FOLDER.search(kernel)
    return " ".join(words[1:]), folder.group(1).decode("ascii", "replace") if folder else ""


def collection_version() -> str:
    """The version of this collection, from a checkout or as it was installed.

    :raises FleetError: when the collection is not whole.
    """
    top = os.path.abspath(__file__)
    for _level in range(4):
        top = os.path.dirname(top)
    try:
        installed = os.path.join(top, "MANIFEST.json")
        if os.path.exists(installed):
            with open(installed, encoding="utf-8") as file:
                return str(json.load(file)["collection_info"]["version"])
        with open(os.path.join(top, "galaxy.yml"), encoding="utf-8") as file:
            return str(yaml.safe_load(file)["version"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise FleetError(
            "the version of nanozfs.fleet cannot be told: {0!r}".format(error),
            todo="install the collection again",
        )


def said(tree: Tree) -> Origin:
    """What a tree says itself of where it comes from.

    :raises BadOrigin: when that cannot be read.
    """
    node = tree.nodes.get(ORIGIN_JSON)
    return parse(node.content().decode("utf-8", "replace")) if node is not None else Origin(SETS)


def release_in(tree: Tree) -> str:
    """The release of a tree, as it says itself; empty where it does not.

    :raises BadOrigin: when what the tree says itself cannot be read.
    """
    node = tree.nodes.get(FREEBSD_VERSION)
    return said(tree).release or release_of(node.content() if node is not None and node.kind == FILE else b"")


def describe(tree: Tree, inputs: Tuple[Input, ...] = (), packages: Tuple[Package, ...] = ()) -> Origin:
    """Where a tree comes from.

    :param inputs: the archives that were laid into it, besides one that says itself where it comes from: its bytes may
        differ between two builds that are equal.
    :param packages: what was installed on top.
    :raises BadOrigin: when what the tree says itself cannot be read.
    """
    origin = said(tree)
    node = tree.nodes.get(KERNEL)
    content = node.content() if node is not None and node.kind == FILE else b""
    revision, kernel = kernel_of(content)
    origin = replace(
        origin,
        release=release_in(tree),
        revision=origin.revision or revision,
        kernel=origin.kernel or kernel,
        kernel_release=origin.kernel_release or kernel_release_of(content),
        collection=collection_version(),
    )
    return origin.added(inputs, packages)


def write(tree: Tree, origin: Origin) -> None:
    """Let a tree say where it comes from."""
    tree.write(ORIGIN_JSON, origin.encode())
