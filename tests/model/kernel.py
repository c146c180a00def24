# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the model needs of the system that it runs on.

The model keeps book of mounts and pools; whether a mount also happens is up to the kernel that it is given. The unit
tests use :class:`Kernel`, which does nothing. A lab host uses one that mounts in its own namespace.
"""

from __future__ import annotations

import os


class Kernel:
    """A kernel that only pretends."""

    def is_directory(self, path: str) -> bool:
        """Whether something can be mounted on *path*."""
        return True

    def bind(self, source: str, target: str, readonly: bool) -> None:
        """Show the directory *source* at *target*."""

    def tmpfs(self, target: str, size: int, mode: int) -> None:
        """Mount a memory file system of *size* bytes (0: no limit) at *target*."""

    def remount(self, target: str, readonly: bool) -> None:
        """Change a mount to read-only or back."""

    def unmount(self, target: str, force: bool) -> bool:
        """Unmount; false when it is busy."""
        return True

    def unpack(self, image: str, offset: int, size: int) -> str:
        """The directory with the contents of the file system in a part of an image file."""
        raise NotImplementedError("this kernel mounts no slices")

    def reboot(self) -> None:
        """Restart the machine; does not return on a real one."""

    def power_off(self) -> None:
        """Switch the machine off."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return float(os.environ.get("MODEL_NOW", "1795420800"))
