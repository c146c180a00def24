# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the key of a backup host may do on a host: begin, read by rsync or zfs send, end, ask, compare; nothing else.

sshd(8) runs ``nanozfs backup serve LABEL`` whatever the backup host asks for (``command=`` in authorized_keys), and
leaves what it asked for in SSH_ORIGINAL_COMMAND. That is a text which the other side made up: it never gets near a
shell, and what of it rsync gets is chosen from a list, as rrsync(1) of rsync does it. Here the list is shorter: nothing
that writes, follows links out of the tree, or reads names from elsewhere; and no ``-x``, which would leave out children
without a word.

The list is for what is asked for in words. Rules for leaving files out come later and out of its sight, and one can
name a file of rules anywhere (``recv_filter_list()`` of ``exclude.c``). What is in it is not sent, but an rsync that is
made to talk says what it has read: it is not made to.

Sources: sshd(8), AUTHORIZED_KEYS FILE FORMAT; ``support/rrsync`` and ``server_options()`` in ``options.c`` of rsync:
options are handed on in the short form as one word, which ends in ``e`` and what this side must know of the other.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError, Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable

#: where sshd(8) leaves what was asked for
ASKED = "SSH_ORIGINAL_COMMAND"

COMMAND = "nanozfs-backup"
BEGIN, END, STATUS, DIGESTS, VERIFIED, READ = "begin", "end", "status", "digests", "verified", "read"
#: for a backup host that keeps what it pulls in a pool of its own, see :mod:`streams`
DATASETS, SEND = "datasets", "send"
VERBS = (BEGIN, END, STATUS, DIGESTS, VERIFIED, DATASETS, SEND)

#: characters of what may be asked
MOST = 4096

#: how an answer to anything else begins, also to a word that is of a later version
FOREIGN = "this key is for backups"

_NOTHING = "nothing was read"

#: short options of rsync without a value that only say how to read, or what the other side does with it
_SHORT = "ACDEHIJNORSUWXbcdglmnopqrtuvyz"

#: why others are not among them
_WHY_NOT = {
    "s": "it hides what is asked for from this gate; call rsync without --protect-args (--no-secluded-args)",
    "x": "it would leave out every dataset below another one; the tree has nothing but what belongs to it",
    "L": "it follows links out of what is shown",
    "k": "it follows links out of what is shown",
    "K": "it follows links out of what is shown",
}

_SHORTS = re.compile(r"-(?=.)([A-Za-z]*?)(e\d*\.\w*)?\Z")
_NUMBERED = re.compile(r"-[@B]\d+\Z")
_LONG = re.compile(r"--([a-z0-9-]+)(?:=(.*))?\Z", re.DOTALL)
_VALUE = re.compile(r"[A-Za-z0-9,.:%+_-]{1,200}\Z")

#: long options, and whether they have a value
_LONGS: Dict[str, bool] = {
    **dict.fromkeys(
        (
            "append",
            "delete",
            "delete-after",
            "delete-before",
            "delete-delay",
            "delete-during",
            "delete-excluded",
            "delete-missing-args",
            "existing",
            "force",
            "fuzzy",
            "group",
            "hard-links",
            "ignore-errors",
            "ignore-existing",
            "ignore-times",
            "inplace",
            "links",
            "list-only",
            "msgs2stderr",
            "new-compress",
            "no-W",
            "no-implied-dirs",
            "no-msgs2stderr",
            "no-r",
            "no-relative",
            "no-specials",
            "numeric-ids",
            "old-compress",
            "open-noatime",
            "owner",
            "partial",
            "perms",
            "preallocate",
            "recursive",
            "size-only",
            "specials",
            "stats",
            "super",
            "times",
            "use-qsort",
        ),
        False,
    ),
    **dict.fromkeys(
        (
            "block-size",
            "bwlimit",
            "checksum-choice",
            "checksum-seed",
            "compress-choice",
            "compress-level",
            "compress-threads",
            "log-format",
            "max-alloc",
            "max-delete",
            "max-size",
            "min-size",
            "modify-window",
            "skip-compress",
            "stderr",
            "timeout",
        ),
        True,
    ),
}


class Asked(NamedTuple):
    """What a backup host wants: one of the verbs, and for :data:`READ` the arguments of rsync without the path."""

    verb: str
    options: Tuple[str, ...] = ()
    path: str = ""


def _foreign() -> Refused:
    return Refused("{0}: it takes {1} and rsync, nothing else".format(FOREIGN, ", ".join(VERBS)))


def _refused(what: str, todo: Optional[str] = None) -> Refused:
    return Refused("rsync: {0}".format(what), safe=_NOTHING, todo=todo)


def asked(command: Optional[str]) -> Asked:
    """What a text asks for.

    :param command: as sshd(8) left it; ``None`` where nothing was asked for, as for a shell.
    :raises Refused: when it is nothing that the key may do.
    """
    if not command or len(command) > MOST or not command.isprintable():
        raise _foreign()
    for verb in VERBS:
        if command == "{0} {1}".format(COMMAND, verb):
            return Asked(verb)
    try:
        words = shlex.split(command)
    except ValueError:
        raise _foreign()
    if words[:3] != ["rsync", "--server", "--sender"]:
        raise _foreign()
    return _read(words[3:])


def _read(words: Sequence[str]) -> Asked:
    """The call of an rsync that sends.

    :param words: what follows ``rsync --server --sender``.
    """
    dot = list(words).index(".") if "." in words else len(words)
    options, paths = words[:dot], words[dot + 1 :]
    for word in options:
        _judge(word)
    if sum(word.partition("e")[0].count("v") for word in options if not word.startswith("--")) > 1:
        raise _refused("the option -v is allowed once", "it would say what is in files that are not shown")
    if len(paths) != 1:
        raise _refused("{0} paths, and it takes one".format(len(paths)))
    return Asked(READ, tuple(options), paths[0])


def _judge(word: str) -> None:
    """Refuse an option that is not on the list."""
    shown = printable(word)[:60]
    if _NUMBERED.match(word):
        return
    short = _SHORTS.match(word)
    if short and not word.startswith("--"):
        for letter in short.group(1):
            if letter not in _SHORT:
                raise _refused("the option -{0} is not allowed".format(letter), _WHY_NOT.get(letter))
        return
    long = _LONG.match(word)
    if long is None or long.group(1) not in _LONGS:
        raise _refused("{0!r} is not allowed".format(shown))
    value = long.group(2)
    if _LONGS[long.group(1)] != (value is not None) or (value is not None and not _VALUE.match(value)):
        raise _refused("{0!r} is not allowed".format(shown))


def check_path(path: str, root: str) -> str:
    """A path that rsync may read: the tree, or something in it.

    rsync expands wildcards of a path itself (``glob_expand()`` of ``util1.c``), so there may be none.

    :param root: of the tree.
    :returns: it, as it was: a slash at its end counts.
    :raises Refused: when it leads anywhere else.
    """
    if not path.startswith("/") or any(each in path for each in "*?[]{}\\~\0\n\r'\""):
        raise _refused("{0!r} is no path that can be read".format(printable(path)[:200]))
    top = os.path.realpath(root)
    real = os.path.realpath(path)
    if ".." in path.split("/") or not (real + "/").startswith(top + "/"):
        raise _refused("{0!r} is not in what is shown".format(printable(path)[:200]))
    if not os.path.lexists(path):
        raise _refused("there is no {0!r}".format(printable(path)[:200]))
    return path


def command(wanted: Asked, root: str) -> List[str]:
    """The arguments of the rsync that sends.

    :raises Refused: see :func:`check_path`.
    """
    return ["rsync", "--server", "--sender", *wanted.options, ".", check_path(wanted.path, root)]


def execute(argv: Sequence[str], environment: Dict[str, str]) -> None:
    """Become a command, from ``/`` on and with nothing of the caller's environment. Does not return.

    :param environment: has the PATH where it is looked for.
    :raises FleetError: when there is none.
    """
    os.chdir("/")
    try:
        os.execvpe(argv[0], list(argv), environment)
    except OSError as error:
        raise FleetError(
            "{0} cannot be run: {1}".format(argv[0], error.strerror),
            safe=_NOTHING,
            todo="add the package {0} to the image (image_pkg)".format(argv[0]),
        )
