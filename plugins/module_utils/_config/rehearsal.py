# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The next start, tried in a temporary folder: what it would make of /cfg, by the early hook's own functions.

There is no second judgement of a configuration: what is said here is what the hook will do
(``rehearse`` in ``boot/nanozfs/cfg.subr``), run by sh(1) with other folders in place of /etc and /cfg. Files that a
rc.conf includes by their full names are those of the host as it is now.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import Callable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import STAGING, Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner, unexpected

#: ``$0``: the folder of the hook; the others: its $etc, $base, $cfg and $tmp. Nobody would quieten the hardware
#: watchdog of a host that runs, so none is patted here
_SCRIPT = (
    "etc=$1 base=$2 cfg=$3 tmp=$4 log=/dev/null; set -f; umask 022; "
    'cd / && . "$0/early.subr" && . "$0/cfg.subr" && pat() { :; } && rehearse'
)


class Outcome(NamedTuple):
    """How a start would end.

    ``broken`` says why the host would come up for recovery, and is empty otherwise; ``left`` are the files that would
    be left out, as :func:`spelled`, with the reasons.
    """

    broken: str
    left: List[Tuple[str, str]]

    def problems(self) -> List[str]:
        """All of it, for people."""
        return ([self.broken] if self.broken else []) + ["{0}: {1}".format(path, why) for path, why in self.left]


def spelled(path: str) -> str:
    """A name as the early hook says it: what is no printable ASCII is a question mark, one for each byte."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in os.fsencode(path))


def new_problems(then: Outcome, now: Callable[[], Outcome]) -> List[str]:
    """What is wrong with a start that is to come, and is not with the one of now.

    :param now: rehearses that one; only asked where it matters.
    """
    known = now().left if then.left else []
    return Outcome(then.broken, [each for each in then.left if each not in known]).problems()


def rehearse(runner: Runner, places: Places, changes: Mapping[str, Optional[str]]) -> Outcome:
    """Try the next start.

    :param changes: what /cfg would have besides, or in place of, what it has: by their paths in it the files (or links)
        that would be copied there, ``None`` for those that would be taken away.
    :raises FleetError: when it cannot be tried.
    """
    top = tempfile.mkdtemp(prefix="nanozfs.")
    try:
        return _rehearse(runner, places, changes, top)
    except OSError as error:
        raise FleetError(
            "the next start cannot be tried: {0} ({1})".format(error.strerror, error.filename),
            safe="nothing was changed",
        )
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _rehearse(runner: Runner, places: Places, changes: Mapping[str, Optional[str]], top: str) -> Outcome:
    etc, cfg, tmp = (os.path.join(top, name) for name in ("etc", "cfg", "tmp"))
    for folder in (etc, cfg, tmp):
        os.mkdir(folder, 0o700)
    _copy_tree(places.cfg, cfg)
    for path, source in changes.items():
        _put(os.path.join(cfg, path), source)
    result = runner.query(["sh", "-c", _SCRIPT, places.hook, etc, places.base, cfg, tmp])
    if result.rc != 0:
        raise unexpected(result, "try the next start", safe="nothing was changed")
    rows = [line.split("\t") for line in result.out.split("\n")]
    broken = [row[1] for row in rows if row[0] == "broken" and len(row) > 1]
    return Outcome(broken[0] if broken else "", [(row[1], row[2]) for row in rows if row[0] == "left" and len(row) > 2])


def _copy_tree(source: str, target: str) -> None:
    """All that a start would look at, and fifos and the like as well; not the snapshots, where they are visible."""
    for name in os.listdir(source):
        if name not in (".zfs", STAGING):
            _copy(os.path.join(source, name), os.path.join(target, name))


def _copy(source: str, target: str) -> None:
    info = os.lstat(source)
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(target)
        for name in os.listdir(source):
            _copy(os.path.join(source, name), os.path.join(target, name))
        os.chmod(target, stat.S_IMODE(info.st_mode) | 0o700)
    elif stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(info.st_mode):
        shutil.copyfile(source, target)
        os.chmod(target, stat.S_IMODE(info.st_mode))
    else:
        os.mkfifo(target)  # as good as any other that is no file


def _put(target: str, source: Optional[str]) -> None:
    if os.path.lexists(target):
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        else:
            os.unlink(target)
    if source is not None:
        folder = os.path.dirname(target)
        if os.path.islink(folder) or (os.path.exists(folder) and not os.path.isdir(folder)):
            os.unlink(folder)
        os.makedirs(folder, exist_ok=True)
        _copy(source, target)
