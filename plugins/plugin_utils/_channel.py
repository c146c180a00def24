# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way from an action that is at work to the screen, if there is one.

Ansible tells a callback nothing of a task before it ends. So the screen opens a pipe when it is loaded; actions run in
forks of that process, which have it as well. A message is one line of JSON of at most ``PIPE_BUF`` bytes, which a pipe
takes whole or not at all (POSIX, write), whoever else writes. Nobody ever waits for the screen: what finds the pipe
full is not sent, and the sender is told so.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from typing import Any, Dict, List, Optional

#: the longest message in bytes; POSIX promises 512, more than this is of no use on a screen
LONGEST = min(getattr(select, "PIPE_BUF", 512), 4096)

#: bytes that are read at once
_READ = 1 << 16

Message = Dict[str, Any]


class _End:
    """The writing end, for this process and its forks."""

    fd: Optional[int] = None


class Channel:
    """The reading end, for the one that shows what is told."""

    def __init__(self) -> None:
        self._end, writing = os.pipe()  # which no program that is run inherits
        os.set_blocking(self._end, False)
        os.set_blocking(writing, False)
        self._rest = b""
        _End.fd = writing

    def fileno(self) -> int:
        """For ``select``."""
        return self._end

    def messages(self) -> List[Message]:
        """What has come since the last call; never waits."""
        parts = [self._rest]
        while True:
            try:
                part = os.read(self._end, _READ)
            except OSError:  # there is nothing more now, or it was closed
                break
            if not part:
                break
            parts.append(part)
        *lines, self._rest = b"".join(parts).split(b"\n")
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    found.append(message)
        return found

    def close(self) -> None:
        """End it; what is told after that goes nowhere, and whoever tells it is told so."""
        writing, _End.fd = _End.fd, None
        for fd in (self._end, writing):
            with contextlib.suppress(OSError, TypeError):
                os.close(fd)  # type: ignore[arg-type]


def is_open() -> bool:
    """Whether somebody shows what is told."""
    return _End.fd is not None


def tell(host: str, text: str, **more: Any) -> bool:
    """Tell the screen something about a host; never waits.

    :param text: what to say; its end is left out where the message would be too long.
    :param more: what else there is, by the names of :class:`plugin_utils._screen.model.Told`.
    :returns: whether it was sent.
    """
    if _End.fd is None:
        return False
    while True:
        line = json.dumps(dict(more, host=host, text=text)).encode("ascii") + b"\n"
        if len(line) <= LONGEST:
            break
        if not text:
            return False
        text = text[: len(text) * 3 // 4]
    try:
        return os.write(_End.fd, line) == len(line)
    except OSError:  # full, or nobody reads any more
        return False
