# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building an image: from a tree or archives to a published, signed slice image and a medium."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, Manifest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image import layout, provenance, publish, release, ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.medium import Form
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.origin import ORIGIN_JSON, Input
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.tree import Tree, sources_of

Say = release.Say


@dataclass(frozen=True)
class Definition:
    """Everything that makes an image. Sizes in bytes, times in seconds since the epoch."""

    identity: layout.Identity
    sources: Sequence[str]
    overlays: Sequence[str]
    recovery: Sequence[str]
    signers: Sequence[str]
    terms: release.Terms
    size: int
    etc_size: int
    epoch: int
    not_after: Optional[int] = None
    media: Sequence[Form] = (Form(),)
    revoked: Sequence[str] = ()


def check(definition: Definition) -> None:
    """Refuse a definition that could not become an image.

    :raises Refused: with the reason.
    """
    if definition.size <= 0 or definition.size % GRID:
        raise Refused("an image of {0} bytes: the size must be a multiple of {1}".format(definition.size, GRID))
    if not definition.sources:
        raise Refused("there is no tree or archive to build from")
    if not definition.signers:
        raise Refused(
            "the image would trust nobody (image_signers is empty)",
            todo="give the public keys of those who may sign its successors, as lines of allowed_signers",
        )
    release.check_terms(definition.terms)
    for text, what in ((definition.identity.name, "name"), (definition.identity.version, "version")):
        if not text or not all(character.isalnum() or character in "._-" for character in text):
            raise Refused("{0!r} is no usable {1} for an image".format(text, what))


def plan(definition: Definition, scratch: str) -> Tuple[Tree, str]:
    """Put the tree together.

    :param scratch: a folder for the contents of archives.
    :returns: the tree and the build that it is.
    """
    tree = Tree()
    inputs: List[Input] = []
    for path, is_archive in sources_of(list(definition.sources)):
        before = tree.nodes.get(ORIGIN_JSON)
        if is_archive:
            tree.add_archive(path, scratch)
        else:
            tree.add_folder(path, exact=True)
        if is_archive and tree.nodes.get(ORIGIN_JSON) is before:
            inputs.append(Input(os.path.basename(path), publish.digest_file(path)))
    for folder in definition.overlays:
        tree.add_folder(folder)
    provenance.write(tree, provenance.describe(tree, tuple(inputs)))
    extras = layout.Extras(
        recovery=definition.recovery,
        signers=definition.signers,
        revoked=definition.revoked,
        etc_size=definition.etc_size,
        epoch=definition.epoch,
        form="{0} bytes, {1}".format(definition.size, " ".join(ufs.command("", "", "", 0, definition.epoch))),
    )
    return tree, layout.apply(tree, definition.identity, extras)


def run(definition: Definition, runner: Runner, say: Say) -> Dict[str, Any]:
    """Build and publish, unless exactly this was published before.

    :param runner: its check mode decides whether anything is written.
    :param say: told what is being done.
    :raises FleetError: when anything fails; what was published before is as it was.
    """
    check(definition)
    terms = definition.terms
    folder = publish.Folder(terms.output)
    with tempfile.TemporaryDirectory(prefix="nanozfs-image-") as scratch:
        say("putting the tree together")
        tree, build = plan(definition, scratch)
        with folder.locked(runner.check_mode):
            found = folder.find(definition.identity, build)
            if found is not None and found.size == definition.size and not _wanting(folder, definition, found):
                manifest, changed = found, False
            elif runner.check_mode:
                return {"changed": True, "build": build, "image": None}
            else:
                manifest, changed = _make(definition, runner, folder, tree, build, scratch, say)
            return release.finish(terms, manifest.name, manifest, changed, runner, say)


def _order(definition: Definition) -> release.Order:
    return release.Order(media=definition.media, not_after=definition.not_after)


def _wanting(folder: publish.Folder, definition: Definition, found: Manifest) -> bool:
    return release.wanting(folder, definition.identity, found, _order(definition), definition.terms)


def _make(
    definition: Definition,
    runner: Runner,
    folder: publish.Folder,
    tree: Tree,
    build: str,
    scratch: str,
    say: Say,
) -> Tuple[Manifest, bool]:
    # made in the output folder, so that putting it in place is a rename and needs no second copy
    with publish.passing(folder.full(".{0}-{1}.part".format(definition.identity.name, build))) as partial:
        say("making a file system of {0} MiB from {1} files".format(definition.size >> 20, len(tree.nodes)))
        ufs.make(tree, scratch, partial, definition.size, definition.epoch)
        manifest, changed = release.publish(definition.terms, partial, _order(definition), runner, say)
    if manifest is None:  # only in check mode there is none
        raise AssertionError("nothing was published")
    return manifest, changed
