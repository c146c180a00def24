#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transaction
short_description: Open, adopt or give up the upgrade or rollback of a host
version_added: 1.0.0
description:
  - The transaction belongs to the host. It is kept in its journal, a set of user properties on C(<pool>/nanozfs), and
    the host decides what may follow what (see docs/transaction.md). A play asks, under a lease that only one play
    has.
  - V(opened) begins a transaction or adopts the one that an interrupted play has left. What follows is done by
    M(nanozfs.fleet.image_write), by the tasks of the site, and by M(nanozfs.fleet.trial).
  - Each call looks, decides and acts under the lock of the host. It can be repeated after any interruption.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.lease
  - nanozfs.fleet.common.limits
  - nanozfs.fleet.common.unsaved
  - nanozfs.fleet.common.merge
options:
  state:
    description:
      - V(opened) begins or adopts the transaction to O(target), and takes the boot flags off the other slice.
      - V(staged) copies the configuration to RV(path), merges it with what the new system has (O(merge)), and it may be
        changed for that there. It is put in the place of C(/cfg) when the trial begins.
      - V(abandoned) gives up a transaction whose trial has not begun; or one that can be neither committed nor reverted
        any more, because the host runs its target and the old system is gone.
      - V(released) ends the lease of this play and leaves the transaction open, for another play that goes on with it.
      - V(recorded) notes which image runs, where no transaction is open.
      - V(held) notes that the play of O(lease) was heard of, so that its lease lasts while it waits (since 1.1.0).
    type: str
    choices: [opened, staged, released, abandoned, recorded, held]
    required: true
  kind:
    description: What the transaction is, with O(state=opened).
    type: str
    choices: [upgrade, rollback]
    default: upgrade
  running:
    description:
      - The image that runs, as M(nanozfs.fleet.upgrade_info) and M(nanozfs.fleet.host_info) say it.
    type: dict
    suboptions: &image
      id:
        description: SHA-256 of the image.
        type: str
        required: true
      build:
        description: The build that the image names inside of it.
        type: str
        required: true
      version:
        description: Version, for people.
        type: str
        required: true
  target:
    description: The image that shall run, with O(state=opened).
    type: dict
    suboptions: *image
  data:
    description:
      - With O(kind=rollback), whether the data of now stays (V(keep)), or goes back to what it was before the upgrade
        that is undone (V(restore)).
    type: str
    choices: [keep, restore]
    default: keep
  boot_id:
    description: The start of the host that was looked at. When it was restarted since, the call is refused.
    type: str
  allow_bad:
    description: Try an image again that was taken back before.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See what an upgrade would do
  nanozfs.fleet.upgrade_info:
    repository: https://images.example.org/web
    image: "1.1"
  register: plan

- name: Begin it
  nanozfs.fleet.transaction:
    state: opened
    running: "{{ plan.running }}"
    target: "{{ plan.target }}"
    boot_id: "{{ plan.boot_id }}"
  when: plan.todo.open

- name: Give it up
  nanozfs.fleet.transaction:
    state: abandoned
"""

RETURN = r"""
lease:
  description: What the later calls of this play carry.
  returned: with O(state=opened)
  type: str
  sample: 5f2c0b9a71d4e386
txn:
  description: Id of the transaction, null where there never was one.
  returned: success
  type: str
  sample: 0007-3fa9c1d2-9c41
step:
  description: What comes next - V(write), V(arm), V(check) or V(revert).
  returned: with O(state=opened)
  type: str
  sample: write
todo:
  description:
    - Which parts of the work are still to be done - C(write), C(stage), and with which C(step) M(nanozfs.fleet.trial)
      begins.
  returned: with O(state=opened)
  type: dict
  sample: {write: true, stage: true, step: begin}
says:
  description: What became of it, in a sentence.
  returned: with O(state=abandoned), and with O(state=staged) and O(merge)
  type: str
  sample: the upgrade to 1.1 was given up; the host runs 1.0 as before
path:
  description: Where the configuration for the new system can be changed.
  returned: with O(state=staged)
  type: str
  sample: /var/run/nanozfs/next-5f2c0b9a
merge:
  description: What became of the files in C(/cfg), as M(nanozfs.fleet.upgrade_info) foretells it (RV(merge)).
  returned: with O(state=staged) and O(merge), not in check mode
  type: dict
  version_added: 1.1.0
  sample: {kept: 14, merged: [login.conf], follows: [motd], conflicts: [], assumed: 0}
journal:
  description: The journal after the module ran; in check mode, as it would be.
  returned: success
  type: dict
  sample: {phase: prepared, txn: 0007-3fa9c1d2-9c41, kind: upgrade}
"""

from dataclasses import replace
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    IMAGE,
    LEASE,
    LIMITS,
    MERGE,
    image_of,
    limits_of,
    play_of,
    waits_for_backup,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import merging
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import before_restart
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import (
    attempt,
    machine,
    operations,
    preflight,
    situation,
    staging,
    transaction,
    words,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import (
    ROLLBACK,
    Journal,
    puts_cfg_aside,
    snapshot_tag,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.operations import Data, Done, Operation, Play
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

#: where the trees of the host are
PLACES = Places()


def opened(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """Begin a transaction, or adopt the one that is open."""
    preflight.same_start(runner, params["boot_id"] or "")
    limits = limits_of(params, params["kind"])
    here = preflight.fit(runner, limits, params["pool"])
    wish = Wish(
        params["kind"],
        image_of(params["running"]),
        image_of(params["target"]),
        params["trial_timeout"],
        params["allow_bad"],
        params["data"],
    )
    plan = preflight.plan(here, wish, limits, params["datasets"])
    if plan.step in transaction.BEFORE_TRIAL:
        waits_for_backup(runner, params, params["kind"])
        aside = params["kind"] == ROLLBACK and puts_cfg_aside(params["data"], params["datasets"])
        before_restart(runner, PLACES, params["unsaved"], params["kind"], restores=aside)
    if params["kind"] == ROLLBACK:
        preflight.other_image(here, wish, plan.step, False)
    done = Operation(here, play_of(params), Data(params["datasets"])).open(wish)
    if params["kind"] == ROLLBACK and done.row.next_phase(done.journal.phase) == "prepared":
        # there is nothing to write: the slice holds the image, which was compared bit by bit
        token = done.journal.lease.token if done.journal.lease else None
        done = Operation(done.situation, Play(token)).run(machine.WROTE)._replace(before=done.before)
    after = done.situation
    lease = done.journal.lease
    step = transaction.step_of(done.journal.phase, after.facts())
    todo = {
        "write": step == transaction.WRITE,
        "stage": step in transaction.BEFORE_TRIAL,
        "step": step if step in (transaction.CHECK, transaction.REVERT) else attempt.BEGIN,
    }
    return dict(answer(done), lease=lease.token if lease else None, step=step, todo=todo)


def staged(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """Make a configuration for the new system."""
    here = situation.look(runner, params["pool"])
    fitted: List[merging.Outcome] = []

    def fit(folder: str) -> None:
        if params["merge"] is None or runner.check_mode:  # in check mode there is no copy
            return
        outcome = merging.with_slice(PLACES, folder, here.other, params["merge"])
        outcome.refuse()
        merging.write(runner, folder, outcome)
        fitted.append(outcome)

    done = Operation(here, play_of(params), fit=fit).run(machine.STAGE)
    found = {"merge": fitted[0].as_dict(), "says": fitted[0].says()} if fitted else {}
    done.warnings.extend(warning for each in fitted for warning in each.warnings())
    return dict(answer(done), changed=True, path=staging.place(str(params["lease"])), **found)


def released(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """End the lease of this play."""
    here = situation.look(runner, params["pool"])
    mine = here.journal.lease is not None
    if not runner.check_mode:
        operations.let_go(here, play_of(params))
    return dict(shown(here.journal, replace(here.journal, lease=None)), changed=mine)


def abandoned(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """Give a transaction up."""
    here = situation.look(runner, params["pool"])
    if not here.journal.is_open:
        says = "there is nothing to give up: the journal is in phase {0}".format(here.journal.phase)
        return dict(shown(here.journal, here.journal), says=says)
    token = operations.in_place_of(here, play_of(params), "-e fleet_take_over=true")
    machine.decide(here.facts(), machine.ABANDON)
    other = here.medium.inactive
    # or a write would go on for hours on a thin line, at the rate that the play had which is over
    stopped = other is not None and not runner.check_mode and job.stop(other.label)
    done = Operation(here, Play(token)).run(machine.ABANDON)
    says = words.given_up(done.before, done.situation)
    if stopped and other is not None:
        says += "; the write that was at work on {0} was ended".format(other.label)
    return dict(answer(done), says=says)


def recorded(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """Note what runs."""
    here = situation.look(runner, params["pool"])
    running = image_of(params["running"]) if params["running"] else preflight.running_ref(here)
    after = operations.record(here, running)
    warnings = here.tell(after)
    return dict(shown(here.journal, after), warnings=warnings)


def held(runner: Runner, params: Dict[str, Any]) -> Dict[str, Any]:
    """Note that a play was heard of; nothing of what counts changes by that."""
    journal = operations.hold(situation.look(runner, params["pool"]), play_of(params))
    return shown(journal, journal)


STATES = {
    "opened": opened,
    "staged": staged,
    "released": released,
    "abandoned": abandoned,
    "recorded": recorded,
    "held": held,
}


def answer(done: Done) -> Dict[str, Any]:
    """What an operation came to, as a result."""
    return dict(shown(done.before, done.journal), changed=done.changed, warnings=done.warnings)


def shown(before: Journal, after: Journal) -> Dict[str, Any]:
    """What every state returns."""
    return {
        "changed": before != after,
        "txn": after.txn,
        "snapshot": snapshot_tag(after.txn) if after.txn else None,
        "journal": after.as_dict(),
        "diff": {"before": before.as_dict(), "after": after.as_dict()},
    }


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    with leases.locked(module.check_mode):
        return STATES[module.params["state"]](runner, module.params)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            LEASE,
            **LIMITS,
            state={"type": "str", "required": True, "choices": list(STATES)},
            kind={"type": "str", "choices": ["upgrade", "rollback"], "default": "upgrade"},
            running={"type": "dict", "options": IMAGE},
            target={"type": "dict", "options": IMAGE},
            data={"type": "str", "choices": ["keep", "restore"], "default": "keep"},
            boot_id={"type": "str"},
            allow_bad={"type": "bool", "default": False},
            **MERGE,
        ),
        required_if=[("state", "opened", ("running", "target")), ("state", "held", ("lease",))],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
