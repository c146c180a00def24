# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What an inventory wants of the configuration of a host, as it travels from the controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.nanozfs.fleet.plugins.module_utils._install.files import Entry, pack, unpack


@dataclass(frozen=True)
class Wish:
    """What a host shall have in /cfg.

    :param files: whole files.
    :param users: users by their names; see :func:`overlay.accounts`.
    :param groups: groups likewise.
    :param sshd: settings of sshd_config by keyword, each with its values; see :func:`overlay.sshd`.
    :param sshd_match: the same by the criteria of ``Match``.
    :param aliases: who gets what is sent to a name.
    :param absent: files that are taken out of /cfg.
    :param known: files of /cfg that the rest of the inventory accounts for.
    :param checks: rows of the site; see :func:`judges.given`.
    :param services: rows of the site; see :func:`effects.given`.
    :param trial: patterns of files that the site has on trial, besides those that always are.
    :param shown: patterns of files of which the lines that change may be shown: those that hold no secret.
    """

    files: Sequence[Entry] = ()
    users: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    sshd: Mapping[str, List[str]] = field(default_factory=dict)
    sshd_match: Mapping[str, Mapping[str, List[str]]] = field(default_factory=dict)
    aliases: Mapping[str, List[str]] = field(default_factory=dict)
    absent: Sequence[str] = ()
    known: Sequence[str] = ()
    checks: Sequence[Mapping[str, Any]] = ()
    services: Sequence[Mapping[str, Any]] = ()
    trial: Sequence[str] = ()
    shown: Sequence[str] = ()

    def packed(self) -> str:
        """As one text, for one argument that no log shows."""
        more: Dict[str, Any] = asdict(self)
        del more["files"]
        return pack(self.files, more)


def unpacked(text: str) -> Wish:
    """What :meth:`Wish.packed` made a text of."""
    files, more = unpack(text)
    return Wish(files=files, **more)
