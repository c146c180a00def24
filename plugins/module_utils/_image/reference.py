# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""An image as others name it: what the journal of a host and a manifest have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import FleetError

_ID = 64


@dataclass(frozen=True)
class ImageRef:
    """An image as the journal names it.

    ``id`` is the SHA-256 of its bytes; ``build`` is written inside the image as well, so that the early hook knows
    which of two images it runs in without reading a whole slice.
    """

    id: str
    build: str
    version: str

    def __post_init__(self) -> None:
        if len(self.id) != _ID or any(character not in "0123456789abcdef" for character in self.id):
            raise FleetError("{0!r} is no image id".format(self.id))

    def __str__(self) -> str:
        return "{0} ({1})".format(self.version, self.id[:12])

    def as_dict(self) -> Dict[str, str]:
        return {"id": self.id, "build": self.build, "version": self.version}
