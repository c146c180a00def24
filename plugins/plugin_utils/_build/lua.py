# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lua scripts of packages, run by a real Lua (lupa) in a process of its own, against the tree of an image.

Each call of a script is answered here, on a copy of the tree (``staging.py``); the copy counts when the script is done.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import threading
from importlib.machinery import PathFinder
from typing import IO, Any, List

from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import ENVIRONMENT
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.scripts import Script
from ansible_collections.nanozfs.fleet.plugins.plugin_utils._build.staging import Staging, latin

#: how long a script may take (seconds)
DEADLINE = 10.0

#: the longest that it may say at once, as JSON: six letters for a byte (bytes)
MAX_LINE = 64 << 20

#: the program of the process
CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua_child.py")

_ARGUMENTS = "-- args: "


def is_there() -> bool:
    """Whether this machine has a Lua of the version that pkg has; older lupas have another one. Nothing is loaded."""
    try:
        lupa = importlib.util.find_spec("lupa")
    except ValueError:  # what somebody has put in its place
        return False
    return lupa is not None and PathFinder.find_spec("lupa.lua54", lupa.submodule_search_locations) is not None


def run(script: Script, name: str, prefix: str, staging: Staging, deadline: float = DEADLINE) -> str:
    """Run a script of a package.

    :param name: of the package; ``prefix`` likewise, ``/usr/local``.
    :param staging: what it works on; of no use any more when it fails.
    :param deadline: seconds after which it is stopped.
    :returns: why it failed; empty when it is done.
    """
    request = {
        "path": [each for each in sys.path if each],  # the empty one is the folder where it runs
        "script": latin(script.text),
        "args": _arguments(script.text),
        "name": latin(name),
        "prefix": latin(prefix),
    }
    late = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-I", "-B", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
    ) as process:

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(deadline, stop)
        timer.start()
        try:
            why = _answer(process.stdin, process.stdout, request, staging)
        except (OSError, ValueError, RecursionError):  # it is gone, or says what is no JSON
            why = "it ended before it was done, as one does that computes too long or wants too much memory"
        finally:
            timer.cancel()
            process.kill()
            with contextlib.suppress(OSError):  # what nobody has read any more
                process.stdin.close()  # type: ignore[union-attr]
    if staging.refused:
        return staging.refused
    return "it was not done in {0:g} seconds".format(deadline) if late.is_set() else why


def _answer(to: Any, come: Any, request: Any, staging: Staging) -> str:
    """Talk with the process until its script is done; why that failed, or nothing.

    :raises ValueError: when it says what is no answer.
    """
    _send(to, request)
    while True:
        line = come.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("no line")
        words: List[Any] = json.loads(line)
        if not words or not all(isinstance(word, str) for word in words):
            raise ValueError("no words")
        if words[0] in ("done", "failed"):
            return "" if words[0] == "done" else str(words[-1]) or "it failed"
        _send(to, staging.answer(str(words[0]), [str(word) for word in words[1:]]))


def _send(to: IO[bytes], value: Any) -> None:
    to.write(json.dumps(value).encode("ascii") + b"\n")
    to.flush()


def _arguments(text: str) -> Any:
    """The words of the first line of a script, ended by NUL; none where it has no such line (``lua_scripts.c``)."""
    if not text.startswith(_ARGUMENTS):
        return None
    line = text[len(_ARGUMENTS) :].split("\n", 1)[0]
    try:
        words = shlex.split(line)
    except ValueError:  # quotation marks that nobody closes
        words = line.split()
    return latin("\0".join(words))
