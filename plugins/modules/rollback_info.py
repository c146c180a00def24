#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_info
short_description: See whether a host can be rolled back, and what that would do
version_added: 1.0.0
description:
  - The one look before a rollback. Sees whether the host is fit for a trial, which image it would go back to, that
    the other slice still holds it bit by bit, and that the data could be put back and forth.
  - What would not work is refused with its name, before anything is changed.
extends_documentation_fragment:
  - nanozfs.fleet.common.info
  - nanozfs.fleet.common.limits
  - nanozfs.fleet.common.unsaved
  - nanozfs.fleet.common.looking
  - nanozfs.fleet.common.after
options:
  data:
    description:
      - Whether the data of now stays (V(keep)), or goes back to what it was before the last upgrade (V(restore)).
    type: str
    choices: [keep, restore]
    default: keep
"""

EXAMPLES = r"""
- name: See what a rollback would do
  nanozfs.fleet.rollback_info:
    data: restore
  register: plan
"""

RETURN = r"""
step:
  description: What comes next - V(done), V(prepare), V(arm), V(check) or V(revert).
  returned: success
  type: str
  sample: prepare
todo:
  description: Which parts of the work are still to be done - C(open), C(write), C(stage), C(try).
  returned: success
  type: dict
  sample: {open: true, write: false, stage: false, try: true}
says:
  description: What would be done, in a sentence.
  returned: success
  type: str
  sample: from 1.1 back to 1.0; configuration and data stay as they are now
running:
  description: The image that runs.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., build: 90ab12cd, version: "1.1"}
target:
  description: The image that ran before.
  returned: success
  type: dict
  sample: {id: 90ab12cd..., build: 5a11c0de, version: "1.0"}
txn:
  description: Id of the transaction that is open, or null.
  returned: success
  type: str
  sample: 0008-90ab12cd-11fe
journal:
  description: The journal.
  returned: success
  type: dict
  sample: {phase: committed}
tasks:
  description: Full paths of the files with tasks that the site wants to be run, by when; empty for those it does not.
  returned: success
  type: dict
  sample: {before_restart: /srv/site/tasks/drain.yml, after_commit: /srv/site/tasks/enable.yml, after_revert: ""}
boot_id:
  description: The start of the host that was looked at.
  returned: success
  type: str
  sample: 0x5f0c7f2a9a7b4d0e8a3c5d6e7f809102
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    LIMITS,
    LOOKING,
    check_positive,
    limits_of,
    waits_for_backup,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import look_ahead
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import bad_words
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import preflight, transaction, words
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import words_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import puts_cfg_aside

#: where the trees of the host are
PLACES = Places()


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_positive(params, "trial_timeout")
    for command in params["commands"]:
        words_of(command)
    limits = limits_of(params, "rollback")
    here = preflight.fit(runner, limits, params["pool"])
    preflight.refuse_busy(here, limits, leases.holder_of(params["holder"] or {}), params["take_over"])
    running = preflight.running_ref(here)
    wish = preflight.rollback_wish(here, running, params["trial_timeout"], params["data"])
    plan = preflight.plan(here, wish, limits, params["datasets"])
    restarts = plan.step in transaction.BEFORE_TRIAL
    waits = waits_for_backup(runner, params, "rollback") if restarts else []
    aside = puts_cfg_aside(params["data"], params["datasets"])
    loss = look_ahead(runner, PLACES, params["unsaved"], "rollback", restarts, aside)
    inside = preflight.other_image(here, wish, plan.step, restarts)
    bad = Memory().why_bad(inside, wish.target.id)
    # the way back stays open: whoever takes it may know of something worse
    warned = [bad_words("{0}, to which the host goes back,".format(wish.target), bad)] if bad and restarts else []
    warnings = warned + preflight.check_features(here, plan.step, wish.target, inside.features if inside else None)
    return dict(
        preflight.shown(here.journal, running, wish.target, plan),
        todo=dict(plan.todo(False), write=False),
        says=loss.added(words.rollback_would(plan.step, here, running, wish), params["unsaved"]),
        boot_id=leases.moment(runner).boot,
        warnings=waits + warnings + loss.warnings(),
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            LIMITS,
            **LOOKING,
            data={"type": "str", "choices": ["keep", "restore"], "default": "keep"},
        ),
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
