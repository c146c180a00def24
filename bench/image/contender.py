# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What takes part in the benchmark: something that publishes an image, and a client that makes it out of an older one.

A contender says what is to be run, as lists of arguments, and never runs anything itself: every program, ours as well,
is started and measured in the same way.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import List, Sequence

Command = Sequence[str]


@dataclass(frozen=True)
class Pair:
    """An update: its name, the paths of the two images, and their SHA-256 digests."""

    name: str
    old: str
    new: str
    old_id: str
    new_id: str


class Contender:
    """One of those that are compared. ``name`` is for ``--only`` and the JSON, ``title`` for tables.

    ``needs`` are the Debian packages with its programs, ``note`` is what a reader must know to compare its figures.
    ``slow`` ones take part when they are asked for. ``recipe`` is to be changed whenever the same commands would
    publish something else, as when the code behind them has changed: what was published is kept between runs.
    """

    name = ""
    title = ""
    needs: Sequence[str] = ()
    note = ""
    slow = False

    def recipe(self) -> str:
        """What decides about the published files besides the commands."""
        return ""

    def publish(self, pair: Pair, folder: str) -> List[Command]:
        """What makes the files that a web server then serves: they go to *folder*, which is empty."""
        raise NotImplementedError

    def prepare(self, pair: Pair, folder: str, work: str) -> List[Command]:
        """What makes *work* the state of a host that has ``pair.old`` installed. Not measured.

        :param folder: what was published, for what a host is bound to have from it (keys, say).
        """
        return []

    def client(self, pair: Pair, url: str, work: str) -> List[Command]:
        """What the host runs: it knows ``pair.old`` (not to be changed), *work*, and the address of the folder.

        The image must be at ``target(work)`` in the end. All commands count together.
        """
        raise NotImplementedError


def target(work: str) -> str:
    """Where a client puts the image."""
    return os.path.join(work, "target.img")


def pipe(*commands: Command, to: str) -> Command:
    """One command: several joined by pipes, the last one's output in a file. It fails when any of them does."""
    text = " | ".join(shlex.join(command) for command in commands)
    return ["bash", "-o", "pipefail", "-c", text + " > " + shlex.quote(to)]
