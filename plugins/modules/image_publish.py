#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_publish
short_description: Publish an image with packs and deltas, keep its channel, and prune
version_added: 1.0.0
description:
  - Publishes an image that was built elsewhere, as a folder of static files for any web server or share. Or completes
    what was published before, with deltas from other images. Or only says which image each ring of a fleet should run.
    M(nanozfs.fleet.image_build) does all of that itself for what it builds.
  - Every pack and every delta has made the image once before the manifest is signed.
  - Runs on the controller, as any user. It needs C(ssh-keygen(1)), and for small deltas the Python package C(bsdiff4).
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
  - nanozfs.fleet.publish
  - nanozfs.fleet.holes
attributes:
  diff_mode:
    support: partial
    details: It shows the rings and the bad images.
options:
  image:
    description: Raw bytes of the image of a slice, with the layout of the collection in it.
    type: path
  name:
    description: Name of the images that are meant. Needed where O(image) is not given.
    type: str
  version:
    description: Version of an image of O(name) that is published already, to complete it.
    type: str
  history:
    description:
      - The file that O(nanozfs.fleet.fleet_report#module:history) wrote. RV(says) then tells which hosts are behind
        their ring, as the last reports knew it. No host is asked.
    type: path
    version_added: 1.1.0
"""

EXAMPLES = r"""
- name: Publish what nanobsd.sh has made
  nanozfs.fleet.image_publish:
    image: /srv/build/_.disk.image
    output: /srv/www/images
    signing_key: ~/.ssh/release

- name: Have no host run 1.2 any more
  nanozfs.fleet.image_publish:
    name: web
    bad:
      "1.2": does not come up on the boards of site-b
    output: /srv/www/images
    signing_key: ~/.ssh/release

- name: A delta for the hosts that never got 1.2
  nanozfs.fleet.image_publish:
    name: web
    version: "1.3"
    deltas_from: ["1.0"]
    output: /srv/www/images
    signing_key: ~/.ssh/release

- name: Let the canaries run it, and keep five images
  nanozfs.fleet.image_publish:
    name: web
    rings:
      canary: "1.3"
      stable: "1.2"
    keep: 5
    output: /srv/www/images
    signing_key: ~/.ssh/release
"""

RETURN = r"""
says:
  description: The same for people, a line each.
  returned: success
  type: list
  elements: str
  sample: ["web-1.1: build 90ab12cd34ef5678, published", "rings: canary: 1.1 (3fa9c1d2b07e)"]
image:
  description: The manifest. Sizes in bytes. Null where no image was asked for.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
build:
  description: Name of exactly this build.
  returned: when an image is published
  type: str
  sample: 90ab12cd34ef5678
files:
  description: Paths of the published files.
  returned: when an image is published
  type: dict
  sample:
    windows: /srv/www/images/3fa9c1d2….win
    medium: /srv/www/images/3fa9c1d2….disk.img.xz
    medium-mbr: /srv/www/images/3fa9c1d2….mbr.disk.img.xz
    files: /srv/www/images/3fa9c1d2….files.xz
    sbom: /srv/www/images/3fa9c1d2….cdx.json
offers:
  description: The ways to the image, with the bytes that a host needs at most.
  returned: when an image is published
  type: list
  elements: dict
  sample: [{title: "the delta from 1.0 (xz): 5.05 MB", kind: delta, codec: xz, from: "1.0", bytes: 5050000}]
manifest:
  description: Path of the manifest.
  returned: when an image is published
  type: str
  sample: /srv/www/images/3fa9c1d2….manifest.json
difference:
  description:
    - What differs from the image before, as M(nanozfs.fleet.image_build) returns it. Null where there is none, no image
      was asked for, or there is no list of its files.
  returned: success
  type: dict
  sample: {summary: "against web-1.0: 12 files changed", files_changed: 12}
rings:
  description: Id of the image that each ring should run.
  returned: success
  type: dict
  sample: {canary: 3fa9c1d2...}
bad:
  description: Why each image is bad that is on the list of bad images, by its id.
  returned: success
  type: dict
  sample: {90ab12cd...: does not come up on the site-b boards}
  version_added: 1.1.0
removed:
  description: Ids of the images that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""
