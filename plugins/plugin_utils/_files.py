# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of the controller that somebody may read while they are written."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving


def replace_file(path: str, content: bytes) -> None:
    """Write a file so that a reader finds either the old one or the new one."""
    with arriving(path) as (_partial, file):
        file.write(content)
