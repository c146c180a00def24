#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trial
short_description: Boot the other slice on trial, check it, and keep it or take it back
version_added: 1.0.0
description:
  - The end of an upgrade or rollback that M(nanozfs.fleet.transaction) has opened. Arms the other slice for one boot
    and restarts the host, waits for it, checks it, and commits; or takes it back and says where everything is.
  - The host decides what comes next; the action of this module asks it, and goes on for as long as the host may need,
    also while it does not answer. Nothing of it is lost when the action dies - the host goes back by itself.
  - Fails whenever the host does not end on the wanted image.
  - Only what the host itself finds wrong puts an image on its list of bad images.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.lease
  - nanozfs.fleet.common.after
  - nanozfs.fleet.common.unsaved
options:
  pool:
    description: Name of the system pool. By default the one that the running image names.
    type: str
  step:
    description:
      - What to do. The action goes from V(begin) on by itself; with V(check) it begins with a host that is on trial
        already, with V(adopt) with one that no play follows any more, with V(revert) it only takes it back. V(look) is
        for the action.
    type: str
    choices: [begin, look, adopt, check, revert]
    default: begin
  datasets:
    description: The datasets below C(<pool>/nanozfs) that are put back when the trial fails.
    type: list
    elements: str
    default: [cfg, var]
  rollback_after_commit_tasks:
    description: With O(step=adopt), what O(after_commit_tasks) is where it is a rollback that is on trial.
    type: path
  rollback_after_revert_tasks:
    description: With O(step=adopt), what O(after_revert_tasks) is where it is a rollback that is on trial.
    type: path
  services:
    description: Services that must run.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports that must be open on 127.0.0.1.
    type: list
    elements: int
    default: []
  commands:
    description: Commands that must succeed, each as a list of words or as text in shell words. No shell runs them.
    type: list
    elements: raw
    default: []
  retries:
    description: How often a check is tried.
    type: int
    default: 12
  delay:
    description: Seconds between two tries.
    type: int
    default: 5
  trial_timeout:
    description: Seconds after which a host on trial that nobody commits goes back by itself; checks take three
      quarters of it
      at most.
    type: int
    default: 600
  boot_timeout:
    description: Seconds that one restart may take.
    type: int
    default: 900
  backup_wait:
    description:
      - For how many seconds to wait for the end of a backup that is being read from the host, before the restart that
        would cut it off. V(0) refuses to restart then, V(-1) restarts all the same.
    type: int
    default: 0
    version_added: 1.1.0
  commit:
    description: With V(manual), leave the host on trial when it has passed its checks.
    type: str
    choices: [auto, manual]
    default: auto
  keep_snapshots:
    description: How many snapshots of transactions stay.
    type: int
    default: 2
  keep_failed:
    description: How many states that were put aside stay (C(<pool>/nanozfs/failed)).
    type: int
    default: 3
  keep_failed_days:
    description: After how many days such a state may go, besides. The newest always stays.
    type: int
  what:
    description: What is being tried, for messages.
    type: str
    default: the trial
  reason:
    description: Why the trial is taken back, with O(step=revert).
    type: str
    default: no reason given
  bad:
    description: The host itself found the image wrong, with O(step=revert). The action says so.
    type: bool
    default: false
  boot_id:
    description: With O(step=look), the start that shall end.
    type: str
  wait:
    description: With O(step=look), how long to wait for something to change before answering, in seconds.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Try it
  nanozfs.fleet.trial:
    lease: "{{ opened.lease }}"
    services: [sshd, nginx]
    ports: [443]
    commands:
      - [/usr/local/bin/app, --self-test]
"""

RETURN = r"""
next:
  description: What comes next - V(wait), V(check), V(revert), or V(end).
  returned: success
  type: str
  sample: end
story:
  description: How it has ended - C(result), and in words C(what) happened, what is C(safe), what to do next (C(todo)).
  returned: success
  type: dict
  sample: {result: committed, what: 1.1 runs from nz-b, safe: 1.0 stays in nz-a as the way back, todo: ""}
journal:
  description: The journal.
  returned: success
  type: dict
  sample: {phase: committed}
after:
  description:
    - Full path of the file with tasks that the site wants to be run now - O(after_commit_tasks), or
      O(after_revert_tasks) where the host is or stays on the old system. Empty for none, and where nobody knows how it
      stands.
  returned: always
  type: str
  sample: /srv/site/tasks/enable.yml
boot_id:
  description: The start of the host that answered.
  returned: success
  type: str
  sample: 0x5f0c7f2a9a7b4d0e8a3c5d6e7f809102
"""

import time
from dataclasses import replace
from typing import Any, Dict, List, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    AFTER,
    LEASE,
    UNSAVED,
    check_positive,
    play_of,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._backup.exposure import refuse_at_work
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.newbase import unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.rehearsal import new_problems, rehearse
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import before_restart
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import attempt, operations
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.attempt import Attempt
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import Checks, words_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import UPGRADE, Journal, puts_cfg_aside
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Data, Keep
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation, look

#: where the trees of the host are
PLACES = Places()

_DAY = 86400


def attempt_of(runner: Runner, params: Dict[str, Any]) -> Attempt:
    """The trial, by the arguments."""
    days: Optional[int] = params["keep_failed_days"]
    commands: List[List[str]] = [words_of(command) for command in params["commands"]]
    return Attempt(
        runner,
        params["pool"],
        play_of(params),
        Data(params["datasets"]),
        Keep(params["keep_snapshots"], params["keep_failed"], days * _DAY if days is not None else None),
        Checks(
            params["services"],
            params["ports"],
            commands,
            params["retries"],
            params["delay"],
            params["trial_timeout"] * 3 // 4,
        ),
        clock=time.time,
        settle=lambda journal: settle(runner, params, journal),
        judge=lambda here, folder: judged(runner, here, folder),
    )


def judged(runner: Runner, here: Situation, folder: str) -> List[str]:
    """What the new system would find wrong with a configuration, and the running one does not with its own."""
    with unpacked(here.other) as base:
        then = rehearse(runner, replace(PLACES, base=base, cfg=folder), {})
    return new_problems(then, lambda: rehearse(runner, PLACES, {}))


def settle(runner: Runner, params: Dict[str, Any], journal: Journal) -> List[str]:
    """See to what in /etc the restart would take."""
    aside = puts_cfg_aside(journal.data, params["datasets"])
    kind = journal.kind or UPGRADE
    return before_restart(runner, PLACES, params["unsaved"], kind, journal.staged, aside).warnings()


def waiting(runner: Runner, params: Dict[str, Any], why: str) -> Dict[str, Any]:
    """Let go on what would be cut off, and keep the play's lease meanwhile; the action asks again."""
    with leases.locked():
        operations.hold(look(runner, params["pool"]), play_of(params))
    return {"changed": False, "waits": why}


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_positive(params, "trial_timeout", "boot_timeout", "retries", "keep_snapshots", "keep_failed")
    trial = attempt_of(runner, params)
    if params["step"] == attempt.BEGIN:
        waits = refuse_at_work(
            runner, "the restart", "upgrade_backup_wait (rollback_backup_wait)", params["backup_wait"]
        )
        return waiting(runner, params, waits[0]) if waits else trial.begin()
    if params["step"] == attempt.LOOK:
        return trial.look(params["boot_id"] or "", params["wait"])
    if params["step"] == attempt.ADOPT:
        return trial.adopt()
    if params["step"] == attempt.CHECK:
        return trial.check(params["commit"] == "auto")
    return trial.revert(params["reason"], params["bad"])


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            LEASE,
            pool={"type": "str"},
            step={"type": "str", "choices": ["begin", "look", "adopt", "check", "revert"], "default": "begin"},
            datasets={"type": "list", "elements": "str", "default": ["cfg", "var"]},
            services={"type": "list", "elements": "str", "default": []},
            ports={"type": "list", "elements": "int", "default": []},
            commands={"type": "list", "elements": "raw", "default": []},
            retries={"type": "int", "default": 12},
            delay={"type": "int", "default": 5},
            trial_timeout={"type": "int", "default": 600},
            **UNSAVED,
            boot_timeout={"type": "int", "default": 900},
            backup_wait={"type": "int", "default": 0},
            commit={"type": "str", "choices": ["auto", "manual"], "default": "auto"},
            keep_snapshots={"type": "int", "default": 2},
            keep_failed={"type": "int", "default": 3},
            keep_failed_days={"type": "int"},
            what={"type": "str", "default": "the trial"},
            reason={"type": "str", "default": "no reason given"},
            bad={"type": "bool", "default": False},
            boot_id={"type": "str"},
            wait={"type": "int", "default": 0},
            **AFTER,
            rollback_after_commit_tasks={"type": "path"},
            rollback_after_revert_tasks={"type": "path"},
        ),
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
