# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others have written, for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text without what a terminal would obey, and without line ends; each such character is a question mark."""
    return "".join(each if each.isprintable() else "?" for each in text)
