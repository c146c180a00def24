# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an image comes from, for those who build; it is in module_utils because hosts read it as well."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.origin import (
    ORIGIN_JSON,
    BadOrigin,
    Input,
    Origin,
    Package,
    parse,
)

__all__ = ["ORIGIN_JSON", "BadOrigin", "Input", "Origin", "Package", "parse"]
