# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ZFS of a system can read: the features of pools that its kernel module knows.

Source: ``zfeature_register()`` in ``sys/contrib/openzfs/module/zcommon/zfeature_common.c``. Every feature is registered
with a guid such as ``com.delphix:async_destroy`` and with its short name, which is what follows the colon; both are
strings of the module. The module also holds the names of other things in this form (``com.delphix:vdev_zap_top``), of
which only very few have their second half as a string of its own. Those get into the list as well, where they do no
harm: no pool has a feature of that name.
"""

from __future__ import annotations

import re
from typing import Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.tree import FILE, Tree

#: where the ZFS of a system is: its module, or the kernel itself where it was built in (``options ZFS``)
ZFS, KERNEL = "boot/kernel/zfs.ko", "boot/kernel/kernel"
PLACES = (ZFS, KERNEL)

#: the oldest feature: without it a file holds no ZFS, or its strings are not where they are looked for
FIRST = "async_destroy"

#: what ``zfeature_is_valid_guid()`` and ``valid_char()`` in ``zfeature_common.c`` let through, and a domain in front
_GUID = re.compile(rb"(?<=\0)[a-z0-9-]+(?:\.[a-z0-9-]+)+:([a-z0-9_]+)(?=\0)")


def features_in(module: bytes) -> Optional[Tuple[str, ...]]:
    """The short names of the features that a kernel module knows, sorted.

    :param module: the content of ``zfs.ko``, not compressed.
    :returns: ``None`` when it does not look like ZFS: then nothing can be said about it.
    """
    named = {name for name in _GUID.findall(module) if b"\0" + name + b"\0" in module}
    found = sorted(name.decode("ascii") for name in named)
    return tuple(found) if FIRST in found else None


def features_of(tree: Tree) -> Optional[Tuple[str, ...]]:
    """The features that the ZFS of a system knows.

    :returns: ``None`` when the tree has no kernel module or kernel that tells.
    """
    for path in PLACES:
        if path in tree and tree.get(path).kind == FILE:
            found = features_in(tree.get(path).content())
            if found is not None:
                return found
    return None
