# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which grammar a file of /etc has."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import Grammar, Lines


def grammar_of(path: str) -> Grammar:
    """The grammar of a file.

    :param path: relative to /etc.
    """
    return Lines()
