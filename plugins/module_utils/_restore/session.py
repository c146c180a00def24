# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The session: that a restore was opened on this host, by whom it may be filled, into which folder, and until when.

A file in ``/var/run``, so a restart closes it. While it is open, and its time is not over, the backup host's key may
write into the one folder that it names (:mod:`gate`). What came through the gate is noted in it: the host itself knows
whether everything has arrived, and nothing that has not is put in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import arriving
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job

FORMAT = 1

#: below the folder of what runs
NAME, LOCK, FOLDER = "restore.json", "restore.lock", "restore"


def path() -> str:
    """The file."""
    return os.path.join(job.RUN_DIR, NAME)


def folder_of(ident: str) -> str:
    """The folder that a restore is filled through: a name without anything that a shell could take amiss."""
    return os.path.join(job.RUN_DIR, FOLDER, ident, "into")


@dataclass(frozen=True)
class Session:
    """An open session.

    :param id: of the restore.
    :param label: of the backup host that may fill it.
    :param folder: what may be filled.
    :param until: seconds since the epoch by the host's clock.
    :param running: process of what is being received.
    :param status: exit status of what was received last; ``None`` where nothing was, or it did not come to its end.
    :param key_added: the backup host's key was let in for this session.
    """

    id: str
    label: str
    folder: str
    until: int
    running: int = 0
    status: Optional[int] = None
    key_added: bool = False

    @property
    def complete(self) -> bool:
        """Whether what was received last came to a good end."""
        return self.status == 0 and not self.is_receiving

    @property
    def is_receiving(self) -> bool:
        """Whether something is being received now."""
        if not self.running:
            return False
        try:
            os.kill(self.running, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def read() -> Optional[Session]:
    """The open session, or ``None``.

    :raises FleetError: when there is a file that cannot be read.
    """
    try:
        with open(path(), encoding="utf-8") as file:
            return _session(json.load(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FleetError(
            "the open restore of this host cannot be read ({0}): {1}".format(path(), error),
            safe="nothing is let in",
            todo="remove the file; the playbook restore opens it anew, and goes on where it was",
        )


def _session(values: Mapping[str, Any]) -> Session:
    if values["v"] != FORMAT:
        raise ValueError("format {0}".format(values["v"]))
    status = values["status"]
    return Session(
        str(values["id"]),
        str(values["label"]),
        str(values["folder"]),
        int(values["until"]),
        int(values["running"]),
        None if status is None else int(status),
        bool(values["key_added"]),
    )


def shelter() -> None:
    """Make the folder that restores are filled below, for root alone.

    Somebody who could reach into what arrives could put a link in the place of a folder of his own in it, and rsync
    would write through that.

    :raises FleetError: when that is not possible.
    """
    folder = os.path.join(job.RUN_DIR, FOLDER)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
    except OSError as error:
        raise FleetError(
            "{0} cannot be made: {1}".format(folder, error.strerror),
            safe="nothing is let in",
            todo="see that /var is mounted and has room",
        )


def write(session: Session) -> None:
    """Write it, for root alone.

    :raises FleetError: when that is not possible.
    """
    values: Dict[str, Any] = dict(session.__dict__, v=FORMAT)
    shelter()
    try:
        with arriving(path(), 0o600) as (_partial, file):
            file.write(json.dumps(values, sort_keys=True).encode())
    except OSError as error:
        raise FleetError(
            "{0} cannot be written: {1}".format(path(), error.strerror),
            safe="nothing is let in",
            todo="see that /var is mounted and has room",
        )


def remove() -> None:
    """Close it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path())


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of the file, for a moment."""
    os.makedirs(job.RUN_DIR, mode=0o755, exist_ok=True)
    handle = os.open(os.path.join(job.RUN_DIR, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def begins(ident: str, process: int) -> None:
    """Note that something is being received. Until :func:`ends`, nothing counts as having arrived."""
    with locked():
        session = read()
        if session is not None and session.id == ident:
            write(replace(session, running=process, status=None))


def ends(ident: str, process: int, status: int) -> None:
    """Note how that ended, unless something else has begun meanwhile."""
    with locked():
        session = read()
        if session is not None and session.id == ident and session.running == process:
            write(replace(session, running=0, status=status))
