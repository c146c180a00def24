# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls of Linux that Python has no names for. On a lab host mount(8) and its like are FreeBSD's."""

from __future__ import annotations

import ctypes
import os

#: flags of mount(2) and umount2(2)
RDONLY, REMOUNT, BIND, DETACH = 1, 32, 4096, 2

#: what reboot(2) shall do; in a PID namespace of its own it ends that namespace only
RESTART, POWER_OFF = 0x01234567, 0x4321FEDC

#: for setns(2): a network namespace
NEWNET = 0x40000000

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount something.

    :raises OSError: when the kernel refuses.
    """
    words = [each.encode() for each in (source, target, kind)]
    _checked(_LIBC.mount(*words, flags, options.encode()), target)


def unmount(target: str, lazily: bool = False) -> None:
    """Take a mount away.

    :raises OSError: when it is busy or no mount point.
    """
    _checked(_LIBC.umount2(target.encode(), DETACH if lazily else 0), target)


def pivot_root(new: str, old: str) -> None:
    """Make another mount the root of this namespace."""
    _checked(_LIBC.pivot_root(new.encode(), old.encode()), new)


def setns(space: int, kind: int) -> None:
    """Take the calling thread to another namespace.

    :param space: descriptor of it.
    """
    _checked(_LIBC.setns(space, kind), "setns")


def reboot(how: int) -> None:
    """End this PID namespace."""
    _checked(_LIBC.reboot(how), "reboot")
