# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a merge says: what becomes of an override, and where the base and the site cannot both have their way."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

#: the base file is as it was, or there is nothing to do
KEPT = "kept"

#: the override was the old base, so it may go
FOLLOWS = "follows"

#: both changed, and the result has both
MERGED = "merged"

#: the override is what the new base is
SAME = "same"

#: something needs an answer
CONFLICT = "conflict"


class Conflict(NamedTuple):
    """One question for the operator. All texts are one printable line, without anything secret.

    :param where: the entry, option or lines, such as ``user www, shell`` or ``lines 12-14``.
    :param old: what the old base says there; empty where it has nothing.
    :param new: what the new base says.
    :param ours: what the override says.
    :param why: what makes it a conflict.
    """

    where: str
    old: str
    new: str
    ours: str
    why: str


class Outcome(NamedTuple):
    """What becomes of one override.

    :param kind: one of :data:`KEPT`, :data:`FOLLOWS`, :data:`MERGED`, :data:`SAME` and :data:`CONFLICT`.
    :param content: what the file holds then, the override having its way in every conflict; None where it goes.
    :param conflicts: what needs an answer; empty unless it is a conflict.
    :param theirs: as ``content``, but the new base having its way in every conflict.
    """

    kind: str
    content: Optional[bytes]
    conflicts: Tuple[Conflict, ...] = ()
    theirs: Optional[bytes] = None
