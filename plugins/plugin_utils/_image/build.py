# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building an image: from a tree or archives to a published, signed slice image and a medium."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import GRID, Manifest
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import manifest_name
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image import layout, medium, publish, ufs
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._image.tree import Tree, sources_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Definition:
    """Everything that makes an image. Sizes in bytes, times in seconds since the epoch."""

    identity: layout.Identity
    sources: Sequence[str]
    overlays: Sequence[str]
    recovery: Sequence[str]
    signers: Sequence[str]
    signing_key: str
    output: str
    size: int
    etc_size: int
    epoch: int
    not_after: Optional[int] = None
    medium: bool = True
    swap_size: int = 0
    replace: bool = False


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
    if not os.path.isfile(definition.signing_key):
        raise Refused(
            "there is no signing key {0}".format(definition.signing_key),
            todo="make one with `ssh-keygen -t ed25519 -f <file>`; its public half belongs into image_signers",
        )
    for text, what in ((definition.identity.name, "name"), (definition.identity.version, "version")):
        if not text or not all(character.isalnum() or character in "._-" for character in text):
            raise Refused("{0!r} is no usable {1} for an image".format(text, what))


def plan(definition: Definition, scratch: str) -> Tuple[Tree, str]:
    """Put the tree together.

    :param scratch: a folder for the contents of archives.
    :returns: the tree and the build that it is.
    """
    tree = Tree()
    for path, is_archive in sources_of(list(definition.sources)):
        if is_archive:
            tree.add_archive(path, scratch)
        else:
            tree.add_folder(path, exact=True)
    for folder in definition.overlays:
        tree.add_folder(folder)
    extras = layout.Extras(
        recovery=definition.recovery,
        signers=definition.signers,
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
    folder = publish.Folder(definition.output)
    with tempfile.TemporaryDirectory(prefix="nanozfs-image-") as scratch:
        say("putting the tree together")
        tree, build = plan(definition, scratch)
        found = folder.find(definition.identity, build)
        if found is not None and found.size == definition.size:
            return result(folder, found, changed=False)
        if runner.check_mode:
            return {"changed": True, "build": build, "image": None}
        os.makedirs(definition.output, exist_ok=True)
        manifest = _make(definition, runner, folder, tree, build, scratch, say)
    return result(folder, manifest, changed=True)


def _make(
    definition: Definition,
    runner: Runner,
    folder: publish.Folder,
    tree: Tree,
    build: str,
    scratch: str,
    say: Say,
) -> Manifest:
    # made in the output folder, so that putting it in place is a rename and needs no second copy
    partial = folder.full(".{0}-{1}.part".format(definition.identity.name, build))
    try:
        say("making a file system of {0} MiB from {1} files".format(definition.size >> 20, len(tree.nodes)))
        ufs.make(tree, scratch, partial, definition.size, definition.epoch)
        say("hashing it")
        ident = publish.digest_file(partial)
        files = {"image": _place(folder, partial, ident + ".img", ident)}
        windows = publish.window_digests(folder.full(ident + ".img"))
        publish.replace_file(folder.full(ident + ".win"), windows)
        files["windows"] = _entry(folder, ident + ".win")
        if definition.medium:
            say("laying out a medium")
            code = layout.boot_code(tree)
            image = folder.full(ident + ".img")
            medium.make(partial, image, definition.size, ident, code["pmbr"], code["gptboot"], definition.swap_size)
            files["medium"] = _place(folder, partial, ident + ".disk.img", None)
        raw = publish.describe(ident, definition.size, definition.identity, build, definition.not_after, files)
        return folder.add(runner, raw, definition.signing_key, definition.replace)
    except OSError as error:
        raise FleetError(
            "the image could not be written to {0}: {1}".format(definition.output, error.strerror),
            safe="what was published before is as it was",
        )
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def _place(folder: publish.Folder, partial: str, name: str, digest: Optional[str]) -> Dict[str, Any]:
    os.replace(partial, folder.full(name))
    return _entry(folder, name, digest)


def _entry(folder: publish.Folder, name: str, digest: Optional[str] = None) -> Dict[str, Any]:
    path = folder.full(name)
    return {"name": name, "size": os.path.getsize(path), "sha256": digest or publish.digest_file(path)}


def result(folder: publish.Folder, manifest: Manifest, changed: bool) -> Dict[str, Any]:
    """What the builder reports."""
    return {
        "changed": changed,
        "build": manifest.build,
        "image": manifest.as_dict(),
        "files": {kind: folder.full(each.name) for kind, each in manifest.files.items()},
        "manifest": folder.full(manifest_name(manifest.id)),
    }
