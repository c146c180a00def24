# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build host: a source tree with nanobsd.sh, and stand-ins for the programs of FreeBSD that it calls."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.tests.unit.harness import ModuleHost

NANOBSD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "nanobsd")

#: where a source tree of FreeBSD is, whose own nanobsd.sh is run then
SOURCE = "NANOZFS_FREEBSD_SRC"


def free(path: str) -> bool:
    """Whether nobody has the lock on a file."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


class BuildHost(ModuleHost):
    """A build host that modules can be run on.

    :param folder: an empty folder for all that it has.
    :param source: path of a source tree; by default a copy of the stand-in.
    """

    def __init__(self, folder: str, monkeypatch: Any, source: Optional[str] = None) -> None:  # pylint: disable=W0231
        self.tmpdir = folder
        self.monkeypatch = monkeypatch
        self.folder = os.path.join(folder, "build")
        self.control = os.path.join(folder, "control")
        self.source = source or os.path.join(folder, "src")
        if source is None:
            shutil.copytree(os.path.join(NANOBSD, "src"), self.source)
        os.mkdir(self.control)
        self.commands: List[List[str]] = []
        path = os.pathsep.join([os.path.join(NANOBSD, "bin"), ENVIRONMENT["PATH"]])
        monkeypatch.setitem(ENVIRONMENT, "PATH", path)
        monkeypatch.setattr(job, "RUN_DIR", os.path.join(folder, "run"))

    def _run_command(self, argv: Sequence[str], data: Optional[str] = None, **kwargs: Any) -> Any:
        assert not isinstance(argv, str), "a module must never hand over a shell string"
        assert kwargs["environ_update"]["LC_ALL"] == "C"
        environment = dict(os.environ, MAKEFLAGS="stray", DESTDIR="/stray", **kwargs["environ_update"])
        done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr

    def arguments(self, **changes: Any) -> Dict[str, Any]:
        """The arguments of a build, with changes."""
        return dict({"name": "web", "source": self.source, "folder": self.folder}, **changes)

    def module(self, arguments: Dict[str, Any], check: bool = False) -> Dict[str, Any]:
        """Run the module."""
        return self.run("nanobsd_build", check, **arguments)

    def build(self, check: bool = False, **changes: Any) -> Dict[str, Any]:
        """Build, which must succeed."""
        result = self.module(self.arguments(**changes), check)
        assert not result["failed"], result["msg"]
        return result

    def fails(self, **changes: Any) -> Dict[str, Any]:
        """Build, which must fail."""
        result = self.module(self.arguments(**changes))
        assert result["failed"], result
        return result

    def follow(self, ident: str, **changes: Any) -> Dict[str, Any]:
        """Look at a build until it is over."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            result = self.module(self.arguments(detach=True, job=ident, wait=1, **changes))
            if result["failed"] or result["finished"]:
                return result
        raise AssertionError("it never ends")

    def set(self, name: str, text: str) -> None:
        """Change the course of the stand-in for nanobsd.sh; an empty text has no effect any more."""
        path = os.path.join(self.control, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)
        if not text:
            os.unlink(path)

    def until(self, *names: str) -> None:
        """Wait until a file is in the folder of the build."""
        self._wait(lambda: os.path.exists(self.path(*names)))

    def until_alone(self) -> None:
        """Wait until no nanobsd.sh is at work there."""
        self._wait(lambda: free(self.path("state", "lock")))

    def until_free(self) -> None:
        """Wait until no process looks after a build; one that was killed takes a moment to die."""
        folder = os.path.join(self.tmpdir, "run")
        self._wait(lambda: all(free(os.path.join(folder, name)) for name in os.listdir(folder) if ".lock" in name))

    @staticmethod
    def _wait(there: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not there():
            assert time.monotonic() < until, "it never comes"
            time.sleep(0.05)

    def path(self, *names: str) -> str:
        """A path in the folder of the build."""
        return os.path.join(self.folder, *names)

    def read_file(self, *names: str) -> str:
        """A file in the folder of the build."""
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()
