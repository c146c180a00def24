# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which features of pools the ZFS of an image knows."""

from __future__ import annotations

import os
from typing import Optional, Tuple

import pytest

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import parse_manifest
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.features import features_in, features_of
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, LINK, Node, Tree
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.publish import Description
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._release.release import look_inside
from ansible_collections.nanozfs.fleet.tests.model import features
from ansible_collections.nanozfs.fleet.tests.unit.conftest import CHECKOUT, Images

OLDEST = b"\0com.delphix:async_destroy\0async_destroy\0"


@pytest.mark.parametrize(
    "module, found",
    [
        (b"\x7fELF" + OLDEST, ("async_destroy",)),
        (OLDEST + b"org.openzfs:draid\0draid\0", ("async_destroy", "draid")),
        # the linker puts a string that occurs twice only once into the file, and in an order of its own
        (b"\0draid\0x\0async_destroy\0org.openzfs:draid\0com.delphix:async_destroy\0", ("async_destroy", "draid")),
        (OLDEST + b"com.delphix:vdev_zap_top\0org.open-zfs:large_blocks\0large_blocks\0",
         ("async_destroy", "large_blocks")),
        (OLDEST + b"%s: org.openzfs:draid is on\0draid\0", ("async_destroy",)),
        (OLDEST + b"no_domain:draid\0draid\0", ("async_destroy",)),
        (b"\0org.openzfs:draid\0draid\0", None),
        (b"com.delphix:async_destroy", None),
        (b"", None),
    ],
)  # fmt: skip
def test_what_a_module_knows(module: bytes, found: Optional[Tuple[str, ...]]) -> None:
    assert features_in(module) == found


def test_the_labs_module_knows_what_the_models_pools_have() -> None:
    with open(os.path.join(CHECKOUT, "tests", "lab", "world", "boot", "kernel", "zfs.ko"), "rb") as file:
        found = features_in(file.read())
    assert found is not None and set(features.KNOWN_2_1) <= set(found) and "vdev_zap_top" not in found


def test_where_zfs_is_in_a_system() -> None:
    tree = Tree()
    assert features_of(tree) is None
    tree.put("boot/kernel/kernel", Node(FILE, 0o555, data=b"\x7fELF" + OLDEST))
    assert features_of(tree) == ("async_destroy",)
    tree.put("boot/kernel/zfs.ko", Node(LINK, 0o755, target="elsewhere"))
    assert features_of(tree) == ("async_destroy",)
    tree.put("boot/kernel/zfs.ko", Node(FILE, 0o555, data=OLDEST + b"org.openzfs:draid\0draid\0"))
    assert features_of(tree) == ("async_destroy", "draid")


def test_an_image_says_it_inside_and_in_its_manifest(images: Images, tmp_path: os.PathLike) -> None:
    path = os.path.join(tmp_path, "image")
    with open(path, "wb") as file:
        file.write(images.content("1.1"))
    identity = look_inside(path)[0]
    assert identity.features is not None and "log_spacemap" in identity.features
    assert images.built["1.1"]["features"] == list(identity.features)
    assert images.built["1.1"]["pool"] == identity.pool == "tank"


def test_a_manifest_of_before_says_nothing_of_it(images: Images) -> None:
    with open(os.path.join(images.repository, images.built["1.1"]["id"] + ".manifest.json"), "rb") as file:
        manifest = parse_manifest(file.read())
    identity = images.definition("1.1", 11).identity
    raw = Description(manifest.id, manifest.size, identity, "b", None, manifest.files, manifest.offers).encode()
    assert b'"features"' not in raw
    old = parse_manifest(raw.replace(b'"pool": "tank"', b'"unknown": 1'))
    assert (old.features, old.pool, old.id) == (None, None, manifest.id)
