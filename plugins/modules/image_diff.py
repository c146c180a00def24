#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_diff
short_description: Say what differs between two images
version_added: 1.0.0
description:
  - Compares the lists of files that are published with images, and what the images say of their origin. Prints which
    files were added, removed and changed, and what of them, the sizes, the packages and the options.
  - When two builds that should be equal are not, this says why.
  - Files in C(/etc) lie in an image a second time, in C(/conf/base/etc), as hard links. They are said once.
  - Runs on the controller, and fetches no image. What it reads is compared with the digest in the manifest; who signed
    that does not matter here, because nothing is installed by it.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  check_mode:
    details: O(path) is written in check mode as well; it is a report.
options:
  old:
    description:
      - A version or id of a published image, or the path of a list (C(<id>.files.xz), or one that is not packed).
        Anything with a slash is a path.
    type: str
    required: true
  new:
    description: The same of the other image.
    type: str
    required: true
  repository:
    description: Where images are published, a folder or an address. Not needed for two paths.
    type: str
  name:
    description: Only images of this name.
    type: str
  limit:
    description: How many lines each group has at most, and how many files of each kind are returned, the largest first.
    type: int
    default: 20
  path:
    description: A file on the controller to write the whole difference to, as JSON.
    type: path
seealso:
  - module: nanozfs.fleet.image_build
"""

EXAMPLES = r"""
- name: See what is new in version 1.1
  nanozfs.fleet.image_diff:
    repository: /srv/www/images
    old: "1.0"
    new: "1.1"

- name: See why two builds are not the same
  nanozfs.fleet.image_diff:
    old: /srv/here/3fa9c1d2….files.xz
    new: /srv/there/90ab12cd….files.xz
"""

RETURN = r"""
difference:
  description:
    - What differs. C(counts) has the numbers (C(growth) in bytes), C(same) whether the images are the same bytes (null
      where only lists were compared). C(added) and C(removed) are files with their sizes in bytes; C(changed) and
      C(touched), which differ in their time only, have what differs and the old and new value of that. C(packages),
      C(options) and C(facts) have name, old and new value; null where one of the images does not say.
  returned: success
  type: dict
  sample:
    old: {title: web-1.0, id: 3fa9c1d2...}
    new: {title: web-1.1, id: 90ab12cd...}
    same: false
    counts: {files_changed: 1, files_added: 0, files_removed: 0, times_changed: 0, growth: 300, packages_changed: 1}
    changed: [{path: usr/local/bin/curl, what: [content, size], values: {size: [300000, 300300]}}]
    packages: [{name: curl, old: 8.1.0, new: 8.2.1}]
summary:
  description: One line.
  returned: success
  type: str
  sample: "against web-1.0: 12 files changed, 3 added, 1 package updated"
lines:
  description: The lines that were printed.
  returned: success
  type: list
  elements: str
  sample: ["web-1.1 against web-1.0: 12 files changed, 3 added, 1 package updated"]
"""
