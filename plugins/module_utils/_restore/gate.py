# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The receiving half of the gate: what the key of a backup host may do while a restore is open on this host.

It may run one command, ``rsync --server`` into the folder of the session, with options that were looked at one by one.
Whatever else is asked for is refused. The options are those that rsync(1) hands to its other side (``server_options()``
in its ``options.c``); none of those below names a file, runs a program or removes anything outside of the folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import replace
from typing import Callable, List, Optional, Sequence, cast

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.gate import MOST
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import pieces
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore import session as sessions
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: letters without arguments, and not a lone dash, which rsync takes for a folder; after the e, what the other side's
#: rsync is able to do
_LETTERS = re.compile(r"-(?=.)[vlHogDtpAXrSWxzcq]*(?:e\d*\.[A-Za-z]*)?\Z")

#: options in full
_PLAIN = ("--partial", "--numeric-ids", "--stats", "--delete", "--delete-during", "--new-compress", "--old-compress")
_NUMBER = re.compile(r"--(?:bwlimit|timeout|checksum-seed)=\d{1,12}\Z")
_WORD = re.compile(r"--(?:compress-choice|checksum-choice)=[a-z0-9,]{1,40}\Z")

#: how to run it: argument list, environment; gives the exit status. ``begun`` gets the process
Run = Callable[[Sequence[str], Callable[[int], None]], int]

_SAFE = "nothing was written"


def asked(command: Optional[str]) -> Optional[List[str]]:
    """The words of a command that wants to write to this host, ``rsync --server`` without ``--sender``.

    ``None`` for any other, and while no restore is open: what else the key may do, the gate for backups judges.

    :param command: as sshd(8) left it.
    """
    if not command or len(command) > MOST or not command.isprintable():
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if words[:2] != ["rsync", "--server"] or "--sender" in words:
        return None
    return words if sessions.read() is not None else None


def refuse_reading(label: str) -> None:
    """Refuse to let a backup host read this host with a key that was only let in to bring it something.

    :raises Refused: when that is so.
    """
    session = sessions.read()
    if session is not None and session.key_added and session.label == label:
        raise _refuse(
            "the key of {0} was let in for a restore alone".format(label),
            "to have this host backed up, run the playbook backup",
        )


def _refuse(what: str, todo: str = "") -> Refused:
    return Refused(what, safe=_SAFE, todo=todo or "data comes back by the playbook restore alone")


def check(words: Sequence[str], label: str, session: Optional[sessions.Session], now: float) -> List[str]:
    """The command that may be run for one that was asked for.

    :param words: what was asked for, taken apart.
    :param label: of the backup host whose key it is.
    :param now: seconds since the epoch.
    :raises Refused: with the reason.
    """
    if list(words[:2]) != ["rsync", "--server"]:
        raise _refuse("this is no command of a restore")
    if session is None:
        raise _refuse("no restore is open on this host", "open one: ansible-playbook nanozfs.fleet.restore")
    if session.label != label:
        raise _refuse("the restore that is open here is not for the backup host {0}".format(label))
    if session.is_receiving:
        raise _refuse("files are arriving already", "wait for that to end; one that was cut ends by itself in minutes")
    if now >= session.until:
        raise _refuse("the time of the restore is over", "run the playbook restore again, it goes on where it was")
    options, rest = list(words[2:-2]), list(words[-2:])
    if len(rest) < 2 or rest[0] != ".":
        raise _refuse("the command is none that rsync gives")
    for option in options:
        if not (_LETTERS.match(option) or option in _PLAIN or _NUMBER.match(option) or _WORD.match(option)):
            raise _refuse("rsync's option {0!r} is not let in here".format(printable(option)[:60]))
    if rest[1].rstrip("/") != session.folder:
        raise _refuse("{0!r} is not the folder of the restore".format(printable(rest[1])[:200]))
    return ["rsync", "--server", *options, ".", session.folder + "/"]


def _run(argv: Sequence[str], begun: Callable[[int], None]) -> int:
    here = None if argv[-1] == "." else "/"
    # the agent runs it, and no module
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(argv), cwd=here, env=dict(ENVIRONMENT)
    )
    with process:
        begun(process.pid)
        return process.wait()


def receive(words: Sequence[str], label: str, clock: Callable[[], float] = time.time, run: Run = _run) -> int:
    """Do what was asked for, if it may be, and note how it ended.

    :returns: the exit status of rsync.
    :raises Refused: with the reason.
    """
    seen, status = [os.getpid()], 1
    with sessions.locked():  # of two that ask at the same time, one is let in
        found = sessions.read()
        argv = check(words, label, found, clock())
        session = cast(sessions.Session, found)  # without one nothing may be done
        sessions.write(replace(session, running=seen[0], status=None))
    ident = session.id

    def begun(process: int) -> None:
        seen[0] = process
        sessions.begins(ident, process)

    try:
        with pieces.entered(session.folder) as folder:
            status = run([*argv[:-1], folder], begun)
    finally:
        sessions.ends(ident, seen[0], status)
    return status
