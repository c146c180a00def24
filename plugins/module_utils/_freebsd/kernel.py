# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the kernel says of itself: its environment and sysctls."""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner


def kenv(runner: Runner, name: str) -> str:
    """Read one variable of the kernel environment.

    :returns: its value; an empty string when it is not set, where kenv(1) exits 255.
    """
    result = runner.query(["kenv", "-q", name])
    return result.out.strip() if result.rc == 0 else ""


def sysctl(runner: Runner, name: str, *options: str) -> str:
    """A sysctl value, or an empty string where the kernel has no such name.

    :param options: of sysctl(8), e.g. ``-x`` for one that is opaque.
    """
    result = runner.query(["sysctl", "-n", *options, name])
    return result.out.strip() if result.rc == 0 else ""
