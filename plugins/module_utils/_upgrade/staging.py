# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The configuration for a new system, made beside the one that is in force.

It is a copy of /cfg in a dataset of its own, ``<pool>/nanozfs/next``, which the tasks of the site change. The early
hook of the new system puts it in the place of /cfg, after it has taken the snapshot that a failed trial goes back to.
So the old system never starts with it, whatever happens before.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import List, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._files import readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import HOLD_TAG, MADE_BY, MAKER, Zfs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job

#: where the configuration that is in force is mounted
CFG = "/cfg"

#: entries of it that are no configuration: snapshots where they are visible, what an interrupted `nanozfs save` left
NOT_COPIED = (".zfs", ".nanozfs.save")

#: of the dataset: what /cfg was when it was copied
MADE_OF = "nanozfs:made-of"

#: how much of a file is read at once (bytes)
_PIECE = 1 << 20

_SAFE = "the configuration in force was not changed"


def dataset(root: str) -> str:
    """The dataset that holds it."""
    return root + "/next"


def place(token: str) -> str:
    """Where it is mounted for the tasks of a play; each play has a place of its own.

    :param token: of the play's lease.
    """
    return os.path.join(job.RUN_DIR, "next-" + token[:8])


def make(runner: Runner, root: str, where: str) -> None:
    """Make it anew, as /cfg is now, and mount it for writing.

    :param where: see :func:`place`.
    :raises FleetError: when that fails; what is in force is as it was.
    """
    drop(runner, root)
    properties = {"mountpoint": "legacy", "canmount": "noauto", MADE_BY: MAKER, MADE_OF: fingerprint(CFG)}
    Zfs(runner).create(dataset(root), properties)
    if not runner.check_mode:
        os.makedirs(where, mode=0o700, exist_ok=True)
    runner.change(["mount", "-t", "zfs", dataset(root), where], "mount the staged configuration", safe=_SAFE)
    entries = [os.path.join(CFG, name) for name in _entries(CFG)]
    if entries:
        runner.change(["cp", "-Rp", *entries, where + "/"], "copy {0} to {1}".format(CFG, where), safe=_SAFE)


def _entries(folder: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name not in NOT_COPIED)
    except OSError as error:
        raise FleetError("{0} cannot be read: {1}".format(folder, error.strerror), safe=_SAFE)


def fingerprint(folder: str) -> str:
    """A digest of all that a configuration is: names, modes, owners and contents, of files that nobody copies apart.

    :raises FleetError: when it cannot be read.
    """
    found = hashlib.sha256()
    with readable(_SAFE):
        for place, folders, names in os.walk(folder):
            for some in (folders, names):
                some[:] = sorted(name for name in some if place != folder or name not in NOT_COPIED)
            for name in sorted(folders + names):
                path = os.path.join(place, name)
                info = os.lstat(path)
                said = (os.fsencode(os.path.relpath(path, folder)), info.st_mode, info.st_uid, info.st_gid)
                found.update(repr(said).encode("ascii") + _content(path, info.st_mode))
    return found.hexdigest()


def _content(path: str, mode: int) -> bytes:
    """The digest of a file, where a link leads, or nothing."""
    digest = hashlib.sha256()
    if stat.S_ISLNK(mode):
        digest.update(os.fsencode(os.readlink(path)))
    elif stat.S_ISREG(mode):
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(_PIECE), b""):
                digest.update(piece)
    return digest.digest()


def refuse_stale(runner: Runner, root: str) -> None:
    """Refuse one that was made of another /cfg than there is now: what came to that since would be lost with it.

    One without a note of what it was made of is from an older version, and taken as it is.

    :raises Refused: when it was.
    """
    was = Zfs(runner).properties(dataset(root), sources="local").get(MADE_OF)
    if was is not None and was != fingerprint(CFG):
        raise Refused(
            "after the configuration for the new system was made, /cfg was changed, and that would be lost",
            safe="the trial was not begun, and nothing was changed",
            todo="run the play again, which makes it anew; what a task of the play writes to /cfg belongs before it, "
            "or into upgrade_cfg_tasks",
        )


def mounted_at(runner: Runner, root: str) -> Optional[str]:
    """Where it is mounted, or ``None``."""
    for line in runner.ask(["mount", "-p"], "list the mounted file systems").lines():
        fields = line.split()
        if fields and fields[0] == dataset(root):
            return fields[1]
    return None


def close(runner: Runner, root: str) -> None:
    """Unmount it: from now on nobody changes it any more.

    :raises Refused: when somebody is still at work in it.
    """
    where = mounted_at(runner, root)
    if where is None:
        return
    result = runner.attempt(["umount", where])
    if result.rc != 0:
        raise Refused(
            "the staged configuration in {0} is still in use: {1}".format(where, result.err.strip()),
            safe=_SAFE,
            todo="see that the tasks in upgrade_cfg_tasks leave nothing running there (fstat {0})".format(where),
        )


def drop(runner: Runner, root: str) -> None:
    """Throw it away, with the snapshots that trials have taken of it.

    :raises Refused: when it is not ours, or still in use.
    """
    zfs = Zfs(runner)
    found = zfs.dataset(dataset(root))
    if found is None:
        return
    if zfs.properties(found.name, sources="local").get(MADE_BY) != MAKER:
        raise Refused(
            "{0} was not made by this collection".format(found.name),
            safe=_SAFE,
            todo="rename it, or destroy it by hand if you are sure",
        )
    close(runner, root)
    for each in zfs.snapshots(found.name):
        if each.holds:
            zfs.release(HOLD_TAG, each.name)
        zfs.destroy_snapshot(each.name)
    runner.change(["zfs", "destroy", found.name], "destroy the staged configuration {0}".format(found.name), safe=_SAFE)
