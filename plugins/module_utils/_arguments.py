# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments that several modules have, and what they mean."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Limits, Repository, open_repository

#: documented in the fragment ``common.trust``
TRUST: Dict[str, Dict[str, Any]] = {
    "repository": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "name": {"type": "str"},
    "allowed_signers": {"type": "path", "default": "/boot/nanozfs/allowed_signers"},
    "revoked_keys": {"type": "path", "default": "/boot/nanozfs/revoked_keys"},
    "ca_file": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
    "retries": {"type": "int", "default": 5},
    "deadline": {"type": "int", "default": 3600},
}

#: documented in the fragment ``common.push``
PUSH: Dict[str, Dict[str, Any]] = {"push": {"type": "bool", "default": False}}

#: of work that goes on in the background (``_image/job.py``); documented in the fragment ``common.job``
JOB: Dict[str, Dict[str, Any]] = {
    "interval": {"type": "int", "default": 5},
    "detach": {"type": "bool", "default": False},
    "job": {"type": "str"},
    "wait": {"type": "int", "default": 5},
}


def repository_of(params: Mapping[str, Any]) -> Repository:
    """The repository that the arguments of :data:`TRUST` name."""
    limits = Limits(
        timeout=params["timeout"],
        retries=params["retries"],
        deadline=params["deadline"],
        rate=params.get("rate_limit"),
    )
    return open_repository(params["repository"], limits, params["ca_file"])


def keys_of(params: Mapping[str, Any], tmpdir: Optional[str]) -> Keys:
    """Whom the arguments of :data:`TRUST` trust."""
    return Keys(params["allowed_signers"], params["revoked_keys"], tmpdir)
