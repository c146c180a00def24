# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Arguments that several modules have, and what they mean."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import refuse_at_work
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import POLICIES, STOP
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.relayed import open_relayed
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.signature import Keys
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Limits, Repository
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.lease import holder_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import Demands

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
    "redirect_hosts": {"type": "list", "elements": "str", "default": []},
}

#: what lets an image pass that its publisher calls bad, for the playbook upgrade, and for those that write media
ALLOW_BAD = "upgrade_allow_bad=true (modules: allow_bad)"
MEDIUM_ALLOW_BAD = "deploy_allow_bad=true or spare_allow_bad=true (modules: allow_bad)"


#: documented in the fragment ``common.push``
PUSH: Dict[str, Dict[str, Any]] = {"push": {"type": "bool", "default": False}}

#: of work that goes on in the background (``_image/job.py``); documented in the fragment ``common.job``
JOB: Dict[str, Dict[str, Any]] = {
    "interval": {"type": "int", "default": 5},
    "detach": {"type": "bool", "default": False},
    "job": {"type": "str"},
    "wait": {"type": "int", "default": 5},
}

#: who asks (``_upgrade/lease.py``); documented in the fragment ``common.lease``. The action fills the holder in
LEASE: Dict[str, Dict[str, Any]] = {
    "lease": {"type": "str"},
    "holder": {"type": "dict"},
    "lease_seconds": {"type": "int", "default": 600},
    "take_over": {"type": "bool", "default": False},
}

#: of what comes before a restart (``_config/save.py``); documented in the fragment ``common.unsaved``
UNSAVED: Dict[str, Dict[str, Any]] = {"unsaved": {"type": "str", "choices": list(POLICIES), "default": STOP}}

#: of the files in /cfg with those of a new system (``_config/merging.py``); documented in the fragment ``common.merge``
MERGE: Dict[str, Dict[str, Any]] = {"merge": {"type": "dict"}}

#: what is asked of a host before a trial (``_upgrade/preflight.py``); documented in the fragment ``common.limits``
LIMITS: Dict[str, Dict[str, Any]] = {
    "pool": {"type": "str"},
    "datasets": {"type": "list", "elements": "str", "default": ["cfg", "var"]},
    "trial_timeout": {"type": "int", "default": 600},
    "min_free": {"type": "int", "default": 67108864},
    "allow_degraded": {"type": "bool", "default": False},
    "allow_mbr": {"type": "bool", "default": False},
    "backup_wait": {"type": "int", "default": 0},
    **UNSAVED,
}

#: files with tasks of the site, which only the controller reads; documented in the fragment ``common.after``
AFTER: Dict[str, Dict[str, Any]] = {"after_commit_tasks": {"type": "path"}, "after_revert_tasks": {"type": "path"}}

#: of the one look before a trial; documented in the fragment ``common.looking``
LOOKING: Dict[str, Dict[str, Any]] = {
    "commands": {"type": "list", "elements": "raw", "default": []},
    "before_restart_tasks": {"type": "path"},
    **AFTER,
    "take_over": {"type": "bool", "default": False},
    "holder": {"type": "dict"},
}

#: of a transfer (``_image/choice.py``); documented in the fragment ``common.transfer``
TRANSFER: Dict[str, Dict[str, Any]] = {
    "relay": {"type": "str"},
    "allow_older": {"type": "bool", "default": False},
    "fallback": {"type": "str", "choices": ["full", "fail"], "default": "full"},
    "connections": {"type": "int", "default": 2},
    "rate_limit": {"type": "int"},
    "line_rate": {"type": "int", "default": 100},
    "max_transfer": {"type": "int"},
    "deltas": {"type": "bool", "default": True},
}

#: an image as the journal names it
IMAGE: Dict[str, Dict[str, Any]] = {
    "id": {"type": "str", "required": True},
    "build": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
}


def image_of(value: Mapping[str, Any]) -> ImageRef:
    """The image that an argument of :data:`IMAGE` names."""
    return ImageRef(value["id"], value["build"], value["version"])


def play_of(params: Mapping[str, Any]) -> Play:
    """Who asks, by the arguments of :data:`LEASE`."""
    return Play(params["lease"], holder_of(params["holder"] or {}), params["lease_seconds"], params["take_over"])


def limits_of(params: Mapping[str, Any], role: str) -> Demands:
    """What is asked of a host, by the arguments of :data:`LIMITS`.

    :param role: whose variables are named in messages.
    """
    return Demands(
        role, params["min_free"], params.get("allow_bad", True), params["allow_degraded"], params["allow_mbr"]
    )


def waits_for_backup(runner: Runner, params: Mapping[str, Any], role: str) -> List[str]:
    """That a backup is at work which the restart of a trial will wait for, by the argument of :data:`LIMITS`.

    :param role: whose variables are named in messages.
    :raises Refused: when it is not to be waited for.
    """
    what = "an upgrade" if role == "upgrade" else "a rollback"
    return refuse_at_work(runner, what, "{0}_backup_wait".format(role), params["backup_wait"])


def check_positive(params: Mapping[str, Any], *names: str) -> None:
    """Refuse numbers that mean nothing.

    :raises Refused: when one is not positive.
    """
    for name in names:
        if params[name] is not None and params[name] <= 0:
            raise Refused("{0} is {1}, and must be more than 0".format(name, params[name]), safe="nothing was changed")


def repository_of(params: Mapping[str, Any]) -> Repository:
    """The repository that the arguments of :data:`TRUST` name."""
    limits = Limits(
        timeout=params["timeout"],
        retries=params["retries"],
        deadline=params["deadline"],
        rate=params.get("rate_limit"),
        redirects=tuple(params["redirect_hosts"]),
    )
    return open_relayed(params.get("relay") or "", params["repository"], limits, params["ca_file"])


def keys_of(params: Mapping[str, Any], tmpdir: Optional[str]) -> Keys:
    """Whom the arguments of :data:`TRUST` trust."""
    return Keys(params["allowed_signers"], params["revoked_keys"], tmpdir)


def passes(allow_bad: bool, how: str) -> str:
    """Why an image that its publisher calls bad is used all the same; empty where it is not.

    :param allow_bad: whether it was allowed.
    :param how: by what.
    """
    return "used because of {0}".format(how) if allow_bad else ""
