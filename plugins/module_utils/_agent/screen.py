# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The terminal: lines to read, and answers."""

from __future__ import annotations

import textwrap
from typing import List, TextIO

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

#: of the console of a server (columns)
WIDTH = 78


def wrapped(text: str, first: str = "", then: str = "") -> List[str]:
    """A text as lines that fit on the console.

    :param first: before the first line.
    :param then: before the others.
    """
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)


class Closed(Exception):
    """Nobody answers any more: end of file."""


class Screen:
    """Where the agent talks to somebody.

    :param source: what is typed.
    :param target: what is shown.
    :param errors: where errors are shown.
    """

    def __init__(self, source: TextIO, target: TextIO, errors: TextIO) -> None:
        self._source = source
        self._target = target
        self._errors = errors

    def say(self, *lines: str) -> None:
        """Show lines."""
        for line in lines or ("",):
            self._target.write(line + "\n")
        self._target.flush()

    def complain(self, error: FleetError) -> None:
        """Show an error, a part a line."""
        parts = [error.what, "Safe now: {0}".format(error.safe or ""), "Next: {0}".format(error.todo or "")]
        for part, there in zip(parts, (True, error.safe, error.todo)):
            if there:
                self._errors.write(part + "\n")
        self._errors.flush()

    def read(self, most: int) -> str:
        """All of what comes, but hardly more than so many characters: whoever reads it refuses what is longer."""
        return self._source.read(most + 1)

    def ask(self, prompt: str) -> str:
        """An answer, without blanks around it.

        :raises Closed: when there is nobody to answer.
        """
        self._target.write(prompt)
        self._target.flush()
        line = self._source.readline()
        if not line:
            raise Closed
        return line.strip()
