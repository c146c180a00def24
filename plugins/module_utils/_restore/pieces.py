# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A file or a folder that comes back to a host that is alive: beside the live one, or in its place.

It is filled into a folder beside where it belongs, so it gets its name by rename(2), when it is complete. What is live
is never removed: it is kept as ``NAME.before-<when>``. Each step can be done again, after a cut at any point.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import List, NamedTuple, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

_SAFE = "nothing was changed"

#: what can be done
FILL, PLACE, DONE = "fill", "place", "done"


class Piece(NamedTuple):
    """What comes back.

    :param path: where it was, and is on the host.
    :param target: what it will be called.
    :param kept: what the live one is called then; empty where it comes beside.
    :param staging: the folder that is filled.
    """

    path: str
    target: str
    kept: str
    staging: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def arrived(self) -> str:
        """Where it is when it has come."""
        return os.path.join(self.staging, self.name)


def piece(path: str, ident: str, stamp: str, in_place: bool, folder: str) -> Piece:
    """What comes back, and as what.

    :param path: on the host.
    :param stamp: when the backup was taken.
    :param folder: another folder for it; empty for the one where it was.
    :raises Refused: when it is no path.
    """
    if "\0" in path or not path.startswith("/") or os.path.normpath(path) != path or path in ("/", "//"):
        raise Refused(
            "{0!r} is no path of a file or a folder".format(printable(path)[:200]),
            safe=_SAFE,
            todo="give it in full, from the / on, without a / at its end",
        )
    if folder and (in_place or not folder.startswith("/")):
        raise Refused(
            "another folder is given ({0}), for what comes {1}".format(
                printable(folder), "in place of the live one" if in_place else "back; it must begin with a /"
            ),
            safe=_SAFE,
            todo="give one of the two",
        )
    parent, name = os.path.split(path)
    home = os.path.normpath(folder) if folder else parent
    target = path if in_place else os.path.join(home, "{0}.restored-{1}".format(name, stamp))
    kept = "{0}.before-{1}".format(path, stamp) if in_place else ""
    return Piece(path, target, kept, os.path.join(home, ".nanozfs-restore-" + ident))


def state(what: Piece) -> str:
    """How far it is.

    :raises Refused: when something is in the way.
    """
    if not what.kept:
        if not os.path.lexists(what.target):
            return FILL
        if os.path.lexists(what.arrived):
            raise Refused(
                "{0} is there already".format(printable(what.target)),
                safe=_SAFE,
                todo="move it away; what came back for it is in {0}".format(printable(what.staging)),
            )
        return DONE
    if not os.path.lexists(what.kept):
        return FILL
    if os.path.lexists(what.arrived):
        return PLACE if not os.path.lexists(what.target) or _same(what.target, what.kept) else FILL
    return DONE if os.path.lexists(what.target) else FILL


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except FileNotFoundError:
        return False


def check(what: Piece, mounted: Sequence[str], size: int) -> None:
    """Refuse what could not be put there.

    :param mounted: where file systems are mounted.
    :param size: bytes.
    :raises Refused: with the reason.
    """
    home = os.path.dirname(what.staging)
    if not os.path.isdir(home) or os.path.realpath(home) != home:
        raise Refused(
            "there is no folder {0}{1}".format(
                printable(home), ", but a link of that name" if os.path.lexists(home) else ""
            ),
            safe=_SAFE,
            todo="name the folder that it was in, which comes back with it, or another one to put it in (restore_to)",
        )
    if not os.access(home, os.W_OK):
        raise Refused(
            "{0} cannot be written to".format(printable(home)),
            safe=_SAFE,
            todo="have it put elsewhere (restore_to: /var/tmp); what is in /cfg is changed in /etc, and saved with "
            "`nanozfs save`",
        )
    inside = [each for each in mounted if (each + "/").startswith(what.path + "/")]
    if what.kept and inside:
        raise Refused(
            "a file system is mounted on {0}".format(printable(inside[0])),
            safe=_SAFE,
            todo="restore the dataset (restore_dataset), or have it put beside the live one",
        )
    free = os.statvfs(home)
    if free.f_bavail * free.f_frsize < size:
        raise Refused(
            "{0} MiB come back, and {1} has {2} MiB available".format(
                -(-size >> 20), printable(home), free.f_bavail * free.f_frsize >> 20
            ),
            safe=_SAFE,
            todo="make room, or have it put elsewhere (restore_to)",
        )


def prepare(what: Piece, link: str) -> None:
    """Make the folder that is filled, and let it be filled through a name that nothing can be taken amiss in."""
    try:
        os.makedirs(what.staging, mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(what.staging, link)
    except OSError as error:
        raise FleetError(
            "{0} cannot be made: {1}".format(printable(what.staging), error.strerror),
            safe="nothing of what is live was changed",
        )


def place(what: Piece) -> List[str]:
    """Give it its name.

    :returns: what is where by now.
    :raises FleetError: when that cannot be done; what is live is there, under its name or the one that it is kept as.
    """
    if not os.path.lexists(what.arrived):
        if state(what) == DONE:
            _clear(what)
            return []
        raise Refused(
            "{0} has not arrived".format(printable(what.name)),
            safe="nothing of what is live was changed",
            todo="see what the backup host says; `nanozfs-backup list` shows what it has",
        )
    said = ["{0} is as it was backed up".format(printable(what.target))]
    try:
        if what.kept and os.path.lexists(what.target) and not os.path.lexists(what.kept):
            _keep(what)
        elif os.path.lexists(what.target) and not _same(what.target, what.kept):
            raise FileExistsError(0, "both are there already")
        if what.kept and os.path.lexists(what.kept):
            said.append("{0} is what was live".format(printable(what.kept)))
        os.rename(what.arrived, what.target)
    except OSError as error:
        raise FleetError(
            "{0} cannot be put in place: {1}".format(printable(what.target), error.strerror),
            safe="what came back is in {0}; what was live is there, or called {1}".format(
                printable(what.staging), printable(what.kept or what.target)
            ),
            todo="mend what stands in the way, then run this again",
        )
    _clear(what)
    return said


def _keep(what: Piece) -> None:
    """Let what is live have another name. A file has both for a moment, so that no reader finds it gone."""
    if stat.S_ISREG(os.lstat(what.target).st_mode):
        os.link(what.target, what.kept, follow_symlinks=False)
    else:
        os.rename(what.target, what.kept)


def _clear(what: Piece) -> None:
    """Remove the folder that was filled, with what an rsync that was killed may have left in it."""
    if os.path.isdir(what.staging) and not os.path.islink(what.staging):
        shutil.rmtree(what.staging, ignore_errors=True)
