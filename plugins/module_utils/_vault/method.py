# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the ways of pulling one host have in common: where its sets are, and what earlier tries have left there."""

from __future__ import annotations

from typing import Iterable, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault import sets
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.config import Fleet, Host
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.execute import Long, owner_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.places import Places

#: from how many failed tries files are taken
LEFTOVERS = 3


class Method:
    """Pulling one host."""

    #: as :mod:`config` calls it, and the program that does it
    name = ""

    #: guids of the snapshots of a host that are in a pool here now, which the host wants to know of
    arrived: Tuple[str, ...] = ()

    def __init__(self, fleet: Fleet, host: Host, places: Places, run: Long) -> None:
        self._fleet = fleet
        self._host = host
        self._places = places
        self._run = run
        self._folder = sets.folder_of(fleet, self.name, host.name)

    def _remove(self, paths: Iterable[str]) -> None:
        """Take away folders, however large they are."""
        for path in paths:
            self._run(["rm", "-rf", "--", path], None, None, {})

    def _forget(self, kept: int = 0) -> None:
        """Take away what failed tries have left.

        :param kept: of so many, the latest, it stays.
        """
        self._remove(sets.leftovers(self._folder, self.name)[kept:])

    def _refuse_another(self, lock: str) -> None:
        """See that the program is not at work on the host already: one whose ``nanozfs-backup`` was killed.

        :param lock: its own lock file.
        :raises FleetError: when it is.
        """
        pid = owner_of(lock, self.name, self._run)
        if pid:
            raise FleetError(
                "{0} is at work on this host already (process {1})".format(self.name, pid), safe="nothing was pulled"
            )
