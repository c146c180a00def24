# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rc.conf(5), which sh(1) reads: written so that it means what was asked for, and judged as /etc/rc reads it."""

from __future__ import annotations

import re
import shlex
from typing import Any, Iterable, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9 _./:,@%+=-]*\Z")

#: whether a shell that reads the file goes on after it, as /etc/rc must: the early hook's own test, whose answer it is
#: whether the host comes up with its configuration. The script is fixed; the file is its $0.
SHELL = (
    "sh",
    "-c",
    'x=$(. "$0" > /dev/null 2>&1 < /dev/null; echo fit); [ "$x" = fit ] || '
    '{ sh -n "$0" && echo "a shell that reads it ends there" >&2; exit 1; }',
)


def _text(name: str, value: Any, what: str, safe: str) -> str:
    """A value as text: YAML reads ``YES`` as true."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if not isinstance(value, (str, int, float)):
        raise Refused("{0}: {1} must be text or a number, and is {2!r}".format(what, name, value), safe=safe)
    text = str(value)
    if any(ord(character) < 32 and character != "\t" for character in text):
        raise Refused(
            "{0}: the value of {1} has a line feed or a control character in it".format(what, name), safe=safe
        )
    return text


def render(values: Mapping[str, Any], what: str, ours: Iterable[str] = (), safe: str = "nothing was changed") -> str:
    """Settings for sh(1), quoted so that they mean exactly what they say.

    :param what: the variable that they come from, for errors.
    :param ours: names that cannot be set.
    :raises Refused: when one is no setting, or one of ours.
    """
    lines = []
    for name in sorted(values, key=str):
        if not isinstance(name, str) or not _NAME.match(name):
            raise Refused("{0!r} is no name for a setting of {1}".format(name, what), safe=safe)
        if name in ours:
            raise Refused(
                "{0} in {1} is set by the layout itself and cannot be another".format(name, what),
                safe=safe,
                todo="take it out; docs/layout.md says what it is for",
            )
        text = _text(name, values[name], what, safe)
        lines.append("{0}={1}\n".format(name, '"{0}"'.format(text) if _PLAIN.match(text) else shlex.quote(text)))
    return "".join(lines)


def judge(runner: Runner, path: str) -> str:
    """What is wrong with a file that /etc/rc reads; an empty string when nothing is."""
    result = runner.query([*SHELL, path])
    if result.rc == 0:
        return ""
    return (result.err.strip() or result.out.strip() or "it printed nothing").splitlines()[0]
