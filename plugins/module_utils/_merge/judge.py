# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who has their way where the base and the site changed the same thing, and what is said about it."""

from __future__ import annotations

import re
from typing import List

from ansible_collections.nanozfs.fleet.plugins.module_utils import _text
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.outcome import Conflict
from ansible_collections.nanozfs.fleet.plugins.module_utils._merge.tokens import HIDDEN

#: files that are secrets, or hold them
_SECRET_FILES = re.compile(
    r"(secret|passw|passphrase|private|\.key$|_key$|\.pem$|\.p12$|\.pfx$|keytab|(^|[/_.-])psk|(^|/)auth\.conf$"
    r"|wpa_supplicant|hostapd|(^|/)ppp/|racoon|ipsec|(^|/)ctl\.conf$|iscsi\.conf|radius|tacplus|snmpd|hcsecd|nsmb\.conf"
    r"|(^|/)wg[^/]*\.conf$|wireguard|htpasswd|\.netrc|credential|token|vault)",
    re.IGNORECASE,
)

#: lines that hold some; an address with a name in it may hold a password
_SECRET_TEXT = re.compile(
    r"(pass(word|wd|phrase|code)?|pwd|secret|psk|token|api[_-]?key|auth[_-]?key|private[_-]?key|community|credentials?)"
    r"[\w-]{0,40}[\"']?[ \t]{0,9}[=: \t][ \t]*\S|://[^\s@]{0,200}@",
    re.IGNORECASE,
)


def holds_secrets(path: str) -> bool:
    """Whether a file, by its name, is one of which nothing is ever shown."""
    return bool(_SECRET_FILES.search(path))


class Judge:
    """Has one answer for every conflict of a file, and keeps what they were.

    :param secret: nothing of the file may be shown.
    :param public: words such as "password" are names of settings in it, and no reason to hide a line.
    :param ours: whether the override has its way.
    """

    def __init__(self, secret: bool, public: bool, ours: bool) -> None:
        self._secret = secret
        self._public = public
        self._ours = ours
        self.conflicts: List[Conflict] = []

    def ours(self, where: str, why: str, old: str, new: str, ours: str) -> bool:
        """Note a conflict; texts are latin-1, as those of tokens are, and empty where there is nothing.

        :returns: whether the override has its way.
        """
        self.note(self._hidden(where, False), why, *[self._shown(text) for text in (old, new, ours)])
        return self._ours

    def note(self, where: str, why: str, old: str, new: str, ours: str) -> None:
        """Note a conflict whose texts may be shown."""
        texts = [_text.plain(_readable(text)) for text in (where, old, new, ours, why)]
        self.conflicts.append(Conflict(*texts))

    def _hidden(self, text: str, secret: bool) -> str:
        hide = secret or (not self._public and _SECRET_TEXT.search(text))
        return HIDDEN if text and hide else text

    def _shown(self, text: str) -> str:
        text = self._hidden(text, self._secret)
        lines = [line.strip() for line in text.split("\n")]
        return " / ".join(line for line in lines if line)


def _readable(text: str) -> str:
    """A text of bytes as latin-1 as what it most probably is."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")
