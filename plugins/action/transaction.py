# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening a transaction as this play; documented in the module of the same name."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.plugin_utils._leasing import PlainLeasingAction


class ActionModule(PlainLeasingAction):
    """The action."""

    MODULE = "nanozfs.fleet.transaction"
    SILENT = "what runs there, and its data, was not touched"
