# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a build consists of, and what of it has to be done.

Each part has inputs: a few lines that say everything that decides about its result. A part whose inputs are those of
the last time is not built again, unless one that it depends on is.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.digest import digest_file
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.definition import Definition
from ansible_collections.nanozfs.fleet.plugins.module_utils._nanobsd.source import Source

WORLD, KERNEL, PACKAGES, TREE = "world", "kernel", "packages", "tree"

#: in the order in which nanobsd.sh does them, with what they depend on. A new world is built in an empty folder of
#: objects (clean_build in defaults.sh), with the tools for the kernel in it.
AFTER: Dict[str, Tuple[str, ...]] = {
    PACKAGES: (),
    WORLD: (),
    KERNEL: (WORLD,),
    TREE: (WORLD, KERNEL, PACKAGES),
}

#: changes when the same inputs would give another result with this version of the collection
GENERATION = "1"

Inputs = Mapping[str, str]


@dataclass(frozen=True)
class Decision:
    """Whether a part is built, and why (not)."""

    part: str
    build: bool
    reason: str

    def as_dict(self) -> Dict[str, object]:
        """For the module's result."""
        return dict(self.__dict__)


def _options(prefix: str, options: Sequence[Tuple[str, str]]) -> Dict[str, str]:
    return {"{0}:{1}".format(prefix, name): value for name, value in options}


def inputs_of(definition: Definition, source: Source) -> Dict[str, Dict[str, str]]:
    """The inputs of each part that the definition has."""
    world = {"generation": GENERATION, "source": source.fingerprint, "arch": definition.arch}
    world.update(_options("src.conf", definition.world))
    world.update(_options("make.conf", definition.make_conf))
    world.update(_options("build", definition.build))
    kernel = {"generation": GENERATION, "kernel": definition.kernel, "kernel lines": "\n".join(definition.kernel_lines)}
    if definition.kernel.startswith("/"):
        kernel["kernel file"] = digest_file(os.path.realpath(definition.kernel))
    tree = {"generation": GENERATION, "name": definition.name, "modules": " ".join(definition.modules)}
    tree.update(_options("install", definition.install))
    for number, script in enumerate(definition.scripts, 1):
        digest = hashlib.sha256(script.content.encode("utf-8")).hexdigest()
        tree["customise {0} {1}".format(number, script.name)] = digest
    found = {WORLD: world, KERNEL: kernel, TREE: tree}
    if definition.packages:
        found[PACKAGES] = {
            "generation": GENERATION,
            "packages": " ".join(sorted(definition.packages)),
            "repository": definition.repository.encode(),
            "abi": definition.abi,
        }
    # a tree without packages is another than one with
    tree["parts"] = " ".join(sorted(found))
    return found


def identity(inputs: Mapping[str, Inputs]) -> str:
    """A name for exactly these inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8")).hexdigest()


def _why(now: Inputs, before: Inputs) -> str:
    changed = [name for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    return "changed: " + ", ".join(changed) if changed else ""


def decide(
    inputs: Mapping[str, Inputs],
    stamps: Mapping[str, Inputs],
    there: Mapping[str, bool],
    refresh: bool = False,
) -> List[Decision]:
    """Which parts have to be built.

    :param inputs: of each part, now.
    :param stamps: the inputs with which a part ended well the last time, where it did.
    :param there: whether a part's result is still where it was.
    :param refresh: fetch packages in any case.
    """
    found: Dict[str, Decision] = {}
    for part, after in AFTER.items():
        if part not in inputs:
            continue
        newer = [each for each in after if each in found and found[each].build]
        reason = "not built yet"
        if part in stamps and there.get(part, False):
            reason = _why(inputs[part], stamps[part])
        elif part in stamps:
            reason = "its result is gone"
        if not reason and newer:
            reason = "new: " + ", ".join(newer)
        if not reason and refresh and part == PACKAGES:
            reason = "asked for"
        found[part] = Decision(part, bool(reason), reason or "unchanged")
    return list(found.values())


def flags(decisions: Sequence[Decision], resume: bool) -> List[str]:
    """The options for nanobsd.sh (its usage, and what the options do in nanobsd.sh).

    ``-f``: no slice and no disk image. ``-w``, ``-k``: no buildworld, no buildkernel. ``-n``: the folder of objects is
    not emptied, and make does not clean (``-DNO_CLEAN``).

    :param resume: the world was begun with the same inputs, and is to go on.
    """
    building = {each.part for each in decisions if each.build}
    found = ["-f"]
    if WORLD not in building:
        found.append("-w")
    elif resume:
        found.append("-n")
    if KERNEL not in building:
        found.append("-k")
    return found
