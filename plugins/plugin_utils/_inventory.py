# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play knows of hosts: their variables, and what was registered for them."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from ansible.errors import AnsibleError

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._text import printable


def known_of(variables: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    """The variables of a host and what was registered for it, as they came: a host's words are no templates.

    :param variables: those of the task.
    """
    every = variables["hostvars"]
    found: Mapping[str, Any] = every.raw_get(host) if host in every else {}
    return found


class HostVariables(Mapping[str, Any]):
    """The variables of a host, templated when one is asked for.

    :param found: as the inventory has them, with what was set and registered since.
    :param play: what the play says instead (``vars`` of an import_playbook): that holds for every host.
    """

    def __init__(self, name: str, found: Mapping[str, Any], play: Optional[Mapping[str, Any]] = None) -> None:
        self._name = name
        self._found = found
        self._play = play or {}

    def __getitem__(self, name: str) -> Any:
        if name in self._play:
            return self._play[name]
        if name not in self._found:
            raise KeyError(name)
        try:
            return self._found[name]
        except AnsibleError as error:
            raise Refused(
                "{0} of {1} has no value: {2}".format(name, printable(self._name), printable(str(error))),
                safe="nothing was changed",
                todo="correct it in the inventory",
            )

    def __iter__(self) -> Iterator[str]:
        return iter({**self._found, **self._play})

    def __len__(self) -> int:
        return len(set(self._found) | set(self._play))
