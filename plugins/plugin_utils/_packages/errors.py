# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with repositories of packages."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.packages import PackageError

SAFE = "nothing was built, and the lock is as it was"


class RepositoryError(PackageError):
    """A repository cannot be read or believed, or does not have what is wanted."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what, safe=SAFE, todo=todo or None)
