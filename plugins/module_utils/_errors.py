# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The one exception family of the collection.

Everything below the modules raises :class:`FleetError` or a subclass; the modules turn it into ``fail_json`` in one
place (``_module.run_module``), the agent and the plugins into a line on the screen.
"""

from __future__ import annotations

from typing import Any, Dict, Optional


def sentence(what: str, safe: Optional[str], todo: Optional[str]) -> str:
    """What happened, what is safe and what to do next, in one line."""
    parts = [what]
    if safe:
        parts.append("Safe now: {0}".format(safe))
    if todo:
        parts.append("Next: {0}".format(todo))
    return ". ".join(part.rstrip(".") for part in parts) + "."


class FleetError(Exception):
    """A failure that a person has to understand.

    :param what: what happened, one sentence without a full stop.
    :param safe: what is still true and safe, or ``None`` where nothing was at stake.
    :param todo: what to do next, or ``None``.
    :param details: machine-readable values for the module result; keys must be valid result names.
    """

    def __init__(self, what: str, safe: Optional[str] = None, todo: Optional[str] = None, **details: Any) -> None:
        super().__init__(what)
        self.what = what
        self.safe = safe
        self.todo = todo
        self.details: Dict[str, Any] = details

    def __str__(self) -> str:
        return sentence(self.what, self.safe, self.todo)

    @property
    def story(self) -> Dict[str, str]:
        """The same in parts, for results: whoever shows them need not take a sentence apart."""
        return {"result": "failed", "what": self.what, "safe": self.safe or "", "todo": self.todo or ""}


class CommandError(FleetError):
    """A command of the base system failed in a way that nobody expected.

    ``rc``, ``stdout`` and ``stderr`` are in ``details``.
    """


class Refused(FleetError):
    """Nothing was attempted: what was asked for would not be safe or does not fit this host."""
