# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel of a lab host: mounts that really happen, in the host's own namespace, and a reboot that really is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from ansible_collections.nanozfs.fleet.tests.lab import paths, syscalls
from ansible_collections.nanozfs.fleet.tests.model.kernel import Kernel


class LabKernel(Kernel):
    """Works inside a lab host only."""

    def __init__(self) -> None:
        if not os.path.exists(paths.MARKER):
            sys.exit("this is not a lab host")

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def bind(self, source: str, target: str, readonly: bool) -> None:
        syscalls.mount(source, target, flags=syscalls.BIND)
        if readonly:
            self.remount(target, True)

    def remount(self, target: str, readonly: bool) -> None:
        flags = syscalls.REMOUNT | syscalls.BIND | (syscalls.RDONLY if readonly else 0)
        syscalls.mount("", target, flags=flags)

    def tmpfs(self, target: str, size: int, mode: int) -> None:
        options = "mode={0:o}".format(mode) + (",size={0}".format(size) if size else "")
        syscalls.mount("tmpfs", target, "tmpfs", options=options)
        if target == "/etc":
            # the host's programs are those of Linux and need some files of theirs
            shutil.copytree(paths.INSIDE + "/skel/etc", "/etc", symlinks=True, dirs_exist_ok=True)

    def unmount(self, target: str, force: bool) -> bool:
        try:
            syscalls.unmount(target, lazily=force)
        except OSError:
            return False
        return True

    def unpack(self, image: str, offset: int, size: int) -> str:
        sys.path.append(paths.INSIDE + "/packages")
        from ansible_collections.nanozfs.fleet.tests.lab import slices  # noqa: PLC0415 - slow to import

        return slices.unpack(image, offset, size, "/run/slices")

    def reboot(self) -> None:
        self._end(syscalls.RESTART)

    def power_off(self) -> None:
        self._end(syscalls.POWER_OFF)

    def now(self) -> float:
        return time.time()

    @staticmethod
    def _end(how: int) -> None:
        if os.fork():
            return
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, 256)  # among them the lock of the model, which the scripts below need
        time.sleep(0.3)  # whoever asked gets his answer before the network is gone
        subprocess.run(["/bin/sh", "/etc/rc.shutdown"], timeout=20, check=False)
        os.sync()
        syscalls.reboot(how)
