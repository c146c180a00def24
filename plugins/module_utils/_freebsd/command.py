# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Running commands of the FreeBSD base system.

A command is always an argument list; nothing here ever goes through a shell. Reading commands go through
:meth:`Runner.query`, changing ones through :meth:`Runner.change`, which does nothing in check mode but still records
what it would have run, so that every module reports the same ``actions`` in both modes.
"""

from __future__ import annotations

import shlex
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import CommandError

#: The environment of every command. PATH because a non-login shell over ssh may lack the sbin directories.
ENVIRONMENT = {
    "LC_ALL": "C",
    "LANG": "C",
    "PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
}

#: the exit status of a command that was not done in time, as timeout(1) has it
TIMED_OUT = 124

#: Takes an argument list and the text for standard input; gives exit status, standard output, standard error.
Execute = Callable[[Sequence[str], Optional[str]], Tuple[int, str, str]]


class Result(NamedTuple):
    """What a command gave back."""

    argv: Tuple[str, ...]
    rc: int
    out: str
    err: str

    def lines(self) -> List[str]:
        """Standard output as lines, without empty ones. A line ends at a line feed only; values may hold the rest."""
        return [line for line in self.out.split("\n") if line.strip()]

    def rows(self) -> List[List[str]]:
        """Standard output of a ``-H`` command: one list of tab-separated fields a line."""
        return [line.split("\t") for line in self.lines()]


def shown(argv: Sequence[str]) -> str:
    """An argument list as a person would type it."""
    return " ".join(shlex.quote(word) for word in argv)


def unexpected(result: Result, doing: str, safe: Optional[str] = None, todo: Optional[str] = None) -> CommandError:
    """The error for a command whose failure has no meaning known to us.

    :param doing: what was being done, as in "could not <doing>".
    """
    said = (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()[0]
    return CommandError(
        "could not {0}: {1} (command: {2}, exit status {3})".format(doing, said, shown(result.argv), result.rc),
        safe=safe,
        todo=todo,
        rc=result.rc,
        stdout=result.out,
        stderr=result.err,
        command=list(result.argv),
    )


class Runner:
    """Runs commands and remembers the changing ones.

    :param execute: how to run one command.
    :param check_mode: record changing commands without running them.
    """

    def __init__(self, execute: Execute, check_mode: bool = False) -> None:
        self._execute = execute
        self.check_mode = check_mode
        self.actions: List[str] = []

    def trying(self) -> Runner:
        """One like it that changes nothing."""
        return Runner(self._execute, check_mode=True)

    def query(self, argv: Sequence[str], stdin: Optional[str] = None) -> Result:
        """Run a command that changes nothing, in check mode as well."""
        rc, out, err = self._execute(list(argv), stdin)
        return Result(tuple(argv), rc, out, err)

    def ask(self, argv: Sequence[str], doing: str) -> Result:
        """Like :meth:`query`, for commands that must succeed.

        :raises CommandError: on any exit status but 0.
        """
        result = self.query(argv)
        if result.rc != 0:
            raise unexpected(result, doing)
        return result

    def attempt(self, argv: Sequence[str]) -> Result:
        """Run a command that changes something and hand back whatever it says.

        In check mode it is recorded and counts as a success.
        """
        self.actions.append(shown(argv))
        if self.check_mode:
            return Result(tuple(argv), 0, "", "")
        return self.query(argv)

    def change(self, argv: Sequence[str], doing: str, safe: Optional[str] = None, todo: Optional[str] = None) -> Result:
        """Run a command that changes something and must succeed.

        :raises CommandError: on any exit status but 0, with *safe* and *todo* in the message.
        """
        result = self.attempt(argv)
        if result.rc != 0:
            raise unexpected(result, doing, safe=safe, todo=todo)
        return result
