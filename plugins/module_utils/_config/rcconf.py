# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Writing rc.conf(5), which is a script of sh(1): the one place that does, for images and for hosts."""

from __future__ import annotations

import re
import shlex
from typing import Any, Iterable, Mapping

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

#: what needs no quotation marks of a kind that nobody expects in an rc.conf
_PLAIN = re.compile(r"[A-Za-z0-9 _./:,@%+=-]*\Z")

#: the shell's own, which /etc/rc needs as they are
_SHELL = ("IFS", "PATH", "OPTIND", "PS1", "PS2", "PS4", "HOME")

#: blanks that are none to a shell, at the ends of values
_ODD_BLANKS = "\u00a0\u2007\u202f\ufeff"


def text_of(name: str, value: Any, safe: str = "nothing was changed") -> str:
    """A value as text: YAML reads ``YES`` as true.

    :raises Refused: when it cannot be one line of text.
    """
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if not isinstance(value, (str, int, float)):
        # not what is in it: that may be a secret
        raise Refused("{0} must be text or a number, and is a {1}".format(name, type(value).__name__), safe=safe)
    text = str(value)
    if any((ord(each) < 32 and each != "\t") or ord(each) == 127 or "\ud800" <= each <= "\udfff" for each in text):
        raise Refused("the value of {0} has a line feed or a control character in it".format(name), safe=safe)
    return text


def check_names(
    names: Iterable[str],
    form: re.Pattern[str],
    ours: Iterable[str],
    what: str,
    safe: str = "nothing was changed",
) -> None:
    """See that all are names of settings, and none is one of ours.

    :param what: where they come from, for errors.
    :raises Refused: with the first that is not.
    """
    for name in names:
        if not isinstance(name, str) or not form.match(name):
            raise Refused("{0!r} is no name for a setting of {1}".format(name, what), safe=safe)
        if name in ours:
            raise Refused(
                "{0} in {1} is set by the layout itself and cannot be another".format(name, what),
                safe=safe,
                todo="take it out; docs/layout.md says what it is for",
            )


def render(values: Mapping[str, Any], ours: Iterable[str], what: str, safe: str = "nothing was changed") -> str:
    """Settings for sh(1), quoted so that they mean exactly what they say.

    :param ours: names that cannot be set.
    :param what: where they come from, for errors.
    :raises Refused: when one is no setting, or one of ours.
    """
    check_names(values, NAME, ours, what, safe)
    lines = []
    for name in sorted(values):
        value = values[name]
        words = value if isinstance(value, (list, tuple)) else [value]  # those of a list are separated by blanks
        text = " ".join(text_of(name, each, safe) for each in words)
        if name in _SHELL:
            raise Refused("{0!r} is no name for a setting of {1}: the shell has it".format(name, what), safe=safe)
        if text != text.strip(_ODD_BLANKS):
            raise Refused(
                "the value of {0} begins or ends with a blank that is none to a shell".format(name), safe=safe
            )
        lines.append("{0}={1}\n".format(name, '"{0}"'.format(text) if _PLAIN.match(text) else shlex.quote(text)))
    return "".join(lines)
