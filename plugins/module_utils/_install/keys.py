# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Lines of authorized_keys: whose they are. Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT: the comment comes last."""

from __future__ import annotations

from typing import List, Optional, Sequence

#: what the comment of a backup host's line begins with
MARK = "nanozfs-backup@"


def is_of_backup(line: str) -> Optional[str]:
    """The label of the backup host whose line it is; ``None`` for all other lines."""
    words = line.split()
    if len(words) < 3 or words[0].startswith("#") or not words[-1].startswith(MARK):
        return None
    return words[-1][len(MARK) :]


def lets_people_in(text: str) -> bool:
    """Whether anybody but backup hosts has a key among the lines of a text."""
    lines = [line.strip() for line in text.splitlines()]
    return any(line and not line.startswith("#") and is_of_backup(line) is None for line in lines)


def kept(wanted: str, there: str) -> str:
    """The text that a site gives, with the lines of backup hosts that are there and that it does not give itself."""
    lines = wanted.splitlines()
    given = {label for label in map(is_of_backup, lines) if label is not None}
    more: List[str] = [line for line in there.splitlines() if is_of_backup(line) not in (None, *given)]
    return _joined(wanted, more)


def _joined(text: str, more: Sequence[str]) -> str:
    if not more:
        return text
    return text + ("" if not text or text.endswith("\n") else "\n") + "".join(line + "\n" for line in more)
