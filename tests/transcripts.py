# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the transcripts under tests/fixtures: what commands of a real FreeBSD 13.2, and of a 15.0, said."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import List

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "freebsd-13.2")

#: of the release that differs most; see its README.md
FIXTURES_15 = os.path.join(os.path.dirname(FIXTURES), "freebsd-15.0")

#: where those of a release are
RELEASES = {"13.2": FIXTURES, "15.0": FIXTURES_15}

#: stands at the end of an output that does not end with a line end
_OPEN_END = "\\ no newline at end\n"


@dataclass(frozen=True)
class Transcript:
    """One command and what it gave back."""

    name: str
    command: str
    remark: str
    out: str
    err: str
    rc: int

    @property
    def number(self) -> str:
        """The number in front of the name, which is the order of recording within a directory."""
        return self.name.split("-", 1)[0]


def parse(name: str, text: str) -> Transcript:
    """Parse a transcript.

    :raises ValueError: when it is none.
    """
    if not text.startswith("$ ") or "\n--- stdout\n" not in text:
        raise ValueError("{0} is no transcript of a command".format(name))
    head, _mark, rest = text.partition("\n--- stdout\n")
    rest, _mark, rc = rest.rpartition("--- exit ")
    out, _mark, err = ("\n" + rest).partition("\n--- stderr\n")
    command, _line_end, remark = head[2:].partition("\n")
    out = out[1:] + ("\n" if len(out) > 1 else "")
    return Transcript(name, command, remark[2:], _open(out), _open(err), int(rc))


def _open(text: str) -> str:
    return text[: -len(_OPEN_END) - 1] if text.endswith(_OPEN_END) else text


def names(directory: str, fixtures: str = FIXTURES) -> List[str]:
    """Names of the transcripts of a directory, in the order of recording, without their ending."""
    return sorted(name[:-4] for name in os.listdir(os.path.join(fixtures, directory)) if name.endswith(".txt"))


def load(directory: str, name: str, fixtures: str = FIXTURES) -> Transcript:
    """One transcript.

    :param fixtures: of which release.
    """
    with open(os.path.join(fixtures, directory, name + ".txt"), encoding="utf-8", errors="surrogateescape") as file:
        return parse(name, file.read())
