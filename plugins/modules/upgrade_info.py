#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_info
short_description: See whether a host can be upgraded, and what that would do
version_added: 1.0.0
description:
  - The one look before an upgrade. Sees whether the host is fit for a trial, finds the image and verifies who signed
    it, says where an interrupted upgrade goes on, compares the other slice with the image, and predicts what has to
    be fetched.
  - Everything that has to work later is tried in thought - whether each dataset could be put back as it is, with all of
    its properties, whether the pool has room and redundancy, whether the new system could open it, whether the host
    would restart. What would not is refused with its name, before anything is written.
extends_documentation_fragment:
  - nanozfs.fleet.common.info
  - nanozfs.fleet.common.trust
  - nanozfs.fleet.common.push
  - nanozfs.fleet.common.limits
  - nanozfs.fleet.common.unsaved
  - nanozfs.fleet.common.looking
  - nanozfs.fleet.common.after
  - nanozfs.fleet.common.transfer
  - nanozfs.fleet.common.merge
options:
  allow_bad:
    description:
      - Try an image again that was taken back before; also one that its publisher calls bad, or of which that cannot be
        told.
    type: bool
    default: false
  cfg_tasks:
    description:
      - The file with tasks that the site wants to run for the new system. The action of this module sees that it is
        there, beside the playbook or in C(tasks) there, and returns its full path.
    type: path
"""

EXAMPLES = r"""
- name: See what an upgrade would do
  nanozfs.fleet.upgrade_info:
    repository: https://images.example.org/web
    image: "1.1"
  register: plan

- name: Say it
  ansible.builtin.debug:
    msg: "{{ plan.says }}"
"""

RETURN = r"""
step:
  description: What comes next - V(done), V(prepare), V(write), V(arm), V(check) or V(revert).
  returned: success
  type: str
  sample: prepare
todo:
  description: Which parts of the work are still to be done - C(open), C(write), C(stage), C(try).
  returned: success
  type: dict
  sample: {open: true, write: true, stage: false, try: true}
says:
  description: What would be done, in a sentence.
  returned: success
  type: str
  sample: from 1.0 to 1.1, signed by release@fleet; 3.4 of 24.0 MiB of nz-b differ; 1.2 MB to fetch, the delta from 1.0
running:
  description: The image that runs.
  returned: success
  type: dict
  sample: {id: 90ab12cd..., build: 5a11c0de, version: "1.0"}
target:
  description: The image that shall run.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., build: 90ab12cd, version: "1.1"}
image:
  description: The manifest of the image. Sizes in bytes.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., name: web, version: "1.1", build: 90ab12cd, seq: 11, size: 1073741824, arch: amd64}
signer:
  description: The principal whose signature was verified.
  returned: success
  type: str
  sample: release@fleet
slice:
  description: Label of the slice that would be written.
  returned: success
  type: str
  sample: nz-b
difference:
  description: What M(nanozfs.fleet.image_write) says in check mode; null where nothing is to be written.
  returned: success
  type: dict
  sample: {written: 3565158, kept: 21600666}
merge:
  description:
    - What becomes of the files in C(/cfg) with the new system - how many stay (C(kept)), which are merged and which
      follow the image again; C(conflicts), each with C(where), C(base), C(new), C(yours), C(why) and the C(policy) that
      settles it; of how many nobody noted what they were made against (C(assumed)).
    - Null without O(merge), where nothing is to be done, and where it cannot be told before the image is written, which
      a warning says.
  returned: success
  type: dict
  version_added: 1.1.0
  sample: {kept: 14, merged: [login.conf], follows: [motd], conflicts: [], assumed: 0}
txn:
  description: Id of the transaction that is open, or null.
  returned: success
  type: str
  sample: 0007-3fa9c1d2-9c41
journal:
  description: The journal.
  returned: success
  type: dict
  sample: {phase: idle}
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
cfg_tasks:
  description: Full path of O(cfg_tasks) on the controller.
  returned: when O(cfg_tasks) is given
  type: str
  sample: /srv/site/tasks/cfg-1.1.yml
"""

import contextlib
from functools import partial
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._arguments import (
    ALLOW_BAD,
    LIMITS,
    LOOKING,
    MERGE,
    PUSH,
    TRANSFER,
    TRUST,
    check_positive,
    keys_of,
    limits_of,
    passes,
    repository_of,
    waits_for_backup,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import merging
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.newbase import Image, in_slice
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.origins import Folder
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.save import SAVE, Loss, look_ahead
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.ufs import Ufs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image import job as jobs
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.frames import BadMap
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.glimpse import TooMuch
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.slice_write import find_for, prepare, wishes_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.source import Repository, SourceError
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.statement import Memory
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.trust import Trusted
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import lease as leases
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import preflight, transaction, words
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.health import words_of
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import TRIAL, UPGRADE
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.situation import Situation
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

#: where the trees of the host are
PLACES = Places()

_LATER = "what becomes of the files in /cfg with the new system is only known when it is written: {0}"


#: opens the /etc of the new system
Opens = Callable[[], ContextManager[Image]]


def difference(
    runner: Runner, params: Dict[str, Any], here: Situation, repository: Repository, trusted: Trusted
) -> Tuple[Dict[str, Any], Optional[Opens]]:
    """How the slice differs from the image, and the /etc of that; or how far a write is that goes on already."""
    piece = here.other
    job = jobs.Job(piece.label)
    if job.under_way():
        record = job.read()
        jobs.refuse_other(job, record, trusted.manifest.id, trusted.manifest.describe())
        return jobs.answer(record or {"finished": False, "job": ""}), None
    writer, result = prepare(runner, here.medium, piece, repository, trusted, wishes_of(params), will_disarm=True)
    would = writer.predict()
    found = result(would)

    @contextlib.contextmanager
    def opens() -> Iterator[Image]:
        with writer.glimpse(would.plan) as image:
            yield Image(Ufs(image.read))

    return {key: found[key] for key in ("written", "kept", "finished", "predicted", "notes")}, opens


def foreseen(params: Dict[str, Any], step: str, opens: Optional[Opens]) -> Tuple[Optional[merging.Outcome], str]:
    """What becomes of the files in /cfg, or why that is only known when the image is written.

    :param step: what comes next.
    :param opens: ``None`` while it is being written.
    :raises Refused: when nobody has said who wins where both sides changed the same.
    """
    if params["merge"] is None or step not in transaction.BEFORE_TRIAL:
        return None, ""
    policies = merging.policies_of(params["merge"])
    if opens is None:
        return None, "it is being written"
    try:
        with opens() as new:
            outcome = merging.decide(PLACES.cfg, Folder(PLACES.base), new, policies)
    except (SourceError, BadMap, TooMuch) as error:
        return None, error.what
    outcome.refuse("nothing was changed")
    return outcome, ""


def stages(params: Dict[str, Any], here: Situation, outcome: Optional[merging.Outcome], loss: Loss) -> bool:
    """Whether a configuration has to be made for the new system.

    :param outcome: what becomes of the files in /cfg, as far as that is known.
    :param loss: what of /etc is saved before the restart, and merged as well.
    """
    if params["cfg_tasks"] is not None or params["merge"] is None:
        return params["cfg_tasks"] is not None
    # one that is there already may be of other wishes
    anew = here.journal.staged or (params["unsaved"] == SAVE and bool(loss.changed))
    return outcome is None or outcome.changes or anew


def judged(params: Dict[str, Any], here: Situation, trusted: Trusted, step: str) -> List[str]:
    """Warnings about an image that its publisher calls bad.

    :param step: what comes next.
    :raises Refused: where the host would come nearer to it, and nobody allows that.
    """
    nearer = step in transaction.BEFORE_TRIAL or (step == transaction.CHECK and here.journal.phase == TRIAL)
    if nearer:
        return trusted.judged(passes(params["allow_bad"], ALLOW_BAD), ALLOW_BAD)
    return trusted.judged("this host runs it" if step == transaction.DONE else "this host leaves it", ALLOW_BAD)


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    check_positive(params, "line_rate", "rate_limit", "connections", "deadline", "timeout", "trial_timeout")
    for command in params["commands"]:
        words_of(command)
    limits = limits_of(params, "upgrade")
    here = preflight.fit(runner, limits, params["pool"])
    preflight.refuse_busy(here, limits, leases.holder_of(params["holder"] or {}), params["take_over"])
    repository = repository_of(params)
    slot = here.other
    trusted = find_for(
        runner,
        repository,
        params["image"],
        params["name"],
        keys_of(params, module.tmpdir),
        slot,
        here.image,
        params["allow_older"],
        Memory(),
    )
    running, target = preflight.running_ref(here), trusted.manifest.ref
    wish = Wish(UPGRADE, running, target, params["trial_timeout"], params["allow_bad"])
    plan = preflight.plan(here, wish, limits, params["datasets"])
    notes = judged(params, here, trusted, plan.step)
    if plan.step in transaction.BEFORE_TRIAL:
        notes += waits_for_backup(runner, params, "upgrade")
    if not module.check_mode:
        notes += trusted.word.remember(Memory())
    loss = look_ahead(runner, PLACES, params["unsaved"], "upgrade", plan.step in transaction.BEFORE_TRIAL)
    warnings = preflight.check_features(here, plan.step, target, trusted.manifest.features)
    differs: Optional[Dict[str, Any]] = None
    opens: Optional[Opens] = partial(in_slice, slot)
    if plan.step in (transaction.PREPARE, transaction.WRITE):
        differs, opens = difference(runner, params, here, repository, trusted)
    outcome, unknown = foreseen(params, plan.step, opens)
    notes += [_LATER.format(unknown)] if unknown else []
    says = words.upgrade_would(plan.step, here, running, trusted, slot.label, differs)
    if outcome is not None and outcome.says():
        says = "{0}; {1}".format(says, outcome.says())
    return dict(
        preflight.shown(here.journal, running, target, plan),
        todo=plan.todo(stages(params, here, outcome, loss)),
        says=loss.added(says, params["unsaved"]),
        merge=outcome.as_dict() if outcome is not None else None,
        image=trusted.manifest.as_dict(),
        signer=trusted.signer,
        slice=slot.label,
        difference=differs,
        boot_id=leases.moment(runner).boot,
        warnings=notes + warnings + repository.notes + loss.warnings(),
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=dict(
            TRUST,
            **PUSH,
            **LIMITS,
            **LOOKING,
            **TRANSFER,
            allow_bad={"type": "bool", "default": False},
            cfg_tasks={"type": "path"},
            **MERGE,
        ),
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
