# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns: how many hosts may do something at once, over all plays that a user of this controller runs.

Each turn is a file with a lock of flock(2), which the kernel takes back when the process dies that holds it: nobody has
to tidy up, and no turn is lost by a play that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from typing import Iterator, List, NamedTuple, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: how much is read of what the holder of a turn has written (bytes)
_MOST = 4096

_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


class Holder(NamedTuple):
    """Who has a turn."""

    host: str
    since: str

    def __str__(self) -> str:
        return "{0} since {1}".format(self.host, self.since) if self.since else self.host


def file_name(name: str, number: int) -> str:
    """The name of the file of a turn; a name of anything, however it is spelt, leads to no other folder.

    :param name: of what the turns are for.
    :param number: of the turn.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return "{0}-{1}.{2}".format(_PLAIN.sub("_", name).strip(".")[:40], digest, number)


class Turns:
    """The turns of one thing.

    :param folder: where the files are; it is made if need be.
    :param name: what the turns are for, such as a site.
    :param limit: how many there are.
    """

    def __init__(self, folder: str, name: str, limit: int) -> None:
        self._folder = folder
        self._names = [file_name(name, number) for number in range(limit)]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder, which must be this user's own: in that of another one a file could be anything.

        :raises FleetError: when it is not, or cannot be used.
        """
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error.strerror or str(error))
        try:
            seen = os.fstat(handle)
            if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
                raise self._unusable("others may write there")
            yield handle
        finally:
            os.close(handle)

    def _unusable(self, why: str) -> FleetError:
        return FleetError(
            "nobody can count here how many hosts of a site write at once: {0}: {1}".format(self._folder, why),
            safe="nothing was written",
            todo="give Ansible a home of its own (ANSIBLE_HOME), or do without that limit (fleet_site_limit=0)",
        )

    def _open(self, folder: int, name: str) -> int:
        """Open the file of a turn.

        :raises FleetError: when something else is in its place.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            handle = os.open(name, flags, 0o600, dir_fd=folder)
        except OSError as error:
            raise self._unusable("{0}: {1}".format(name, error.strerror))
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid():
            os.close(handle)
            raise self._unusable("{0} is no file of this user".format(name))
        return handle

    def take(self, host: str) -> Optional[int]:
        """Take a turn: a handle, to be closed when it is over; ``None`` when others have all of them.

        :param host: who takes it, for those who wait.
        :raises FleetError: when the folder cannot be used.
        """
        with self._opened() as folder:
            for name in self._names:
                handle = self._open(folder, name)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    continue
                except OSError as error:  # a file system without locks
                    os.close(handle)
                    raise self._unusable("{0}: {1}".format(name, error.strerror))
                note = json.dumps({"host": host, "since": time.strftime("%H:%M:%S")})
                os.ftruncate(handle, 0)
                os.pwrite(handle, note.encode("ascii"), 0)
                return handle
        return None

    def holders(self) -> List[Holder]:
        """Who has the turns, as far as they say: for people, not to decide by."""
        found = []
        with self._opened() as folder:
            for name in self._names:
                with contextlib.suppress(FleetError):
                    handle = self._open(folder, name)
                    try:
                        said = json.loads(os.pread(handle, _MOST, 0).decode("ascii"))
                        found.append(Holder(printable(str(said["host"])), printable(str(said["since"]))))
                    except (OSError, ValueError, KeyError, TypeError):
                        found.append(Holder("somebody", ""))
                    finally:
                        os.close(handle)
        return found
