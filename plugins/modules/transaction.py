#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transaction
short_description: Move the journal of an upgrade or rollback on
version_added: 1.0.0
description:
  - Keeps the journal of a host, which says what upgrade or rollback it is in the middle of. The journal is a set of
    user properties on C(<pool>/nanozfs), written in one transaction group.
  - Opens a transaction, or adopts the one that an interrupted play left open; refuses a second one, an image that was
    tried before and taken back, and a pool that could not carry it.
  - Only moves the journal. What the phases stand for is done by other modules, in the roles
    P(nanozfs.fleet.upgrade#role) and P(nanozfs.fleet.rollback#role), and by the early boot hook.
  - Warns when the OS medium could not be told as well (C(nz-state)); the journal itself is on the pool.
extends_documentation_fragment:
  - nanozfs.fleet.common
options:
  pool:
    description:
      - Name of the system pool.
    type: str
    required: true
  state:
    description:
      - V(planned) changes nothing. It tells where to go on, in RV(step).
      - V(prepared) opens the transaction. The snapshot RV(snapshot) of C(<pool>/nanozfs) must have been taken.
      - V(written) says that the inactive slice holds the target.
      - V(armed) says that the next boot may be the trial, and records how to put the data back if it fails. It can be
        said again, after the snapshot was taken anew; the slice must have no boot flags then. It also
        keeps 32 MiB reserved in C(<pool>/nanozfs/reserve), so that this is possible in a pool that the trial fills up.
      - V(committed) says that the trial was good.
      - V(reverting) asks the early hook of the old slice to put the data back at the next boot, and puts the target on
        the list of bad images.
      - V(abandoned) gives up a transaction whose trial has not begun. With O(running), where this boot is no trial,
        also one that can be neither committed nor reverted any more, because the host runs its target and the old
        system is gone.
      - V(recorded) notes what runs, where no transaction is open.
    type: str
    choices: [planned, prepared, written, armed, committed, reverting, abandoned, recorded]
    required: true
  kind:
    description:
      - What the transaction is.
    type: str
    choices: [upgrade, rollback]
    default: upgrade
  running:
    description:
      - The image that runs, as RV(nanozfs.fleet.host_info#module:host.running) says it.
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
    description:
      - The image that shall run. With O(kind=rollback) it may be left out; then it is the one that ran before.
    type: dict
    suboptions: *image
  trial_timeout:
    description:
      - Seconds after which a host on trial that nobody commits goes back by itself.
    type: int
    default: 600
  features:
    description:
      - With O(state=planned), the features of pools that the ZFS of the target knows. A target that does not know
        one that the pool uses is refused, as its system could not open the pool. Without the list there is a warning.
    type: list
    elements: str
  datasets:
    description:
      - The datasets below C(<pool>/nanozfs) that are put back when the trial fails.
    type: list
    elements: str
    default: [cfg, var]
  restore_data:
    description:
      - With O(kind=rollback), also put the data back to what it was before the upgrade that is undone.
    type: bool
    default: false
  allow_bad:
    description:
      - Try an image again that was taken back before.
    type: bool
    default: false
  allow_degraded:
    description:
      - Go on although the pool has lost its redundancy.
    type: bool
    default: false
  min_free:
    description:
      - Bytes that the pool must have available.
    type: int
    default: 67108864
  reason:
    description:
      - Why the trial is taken back.
    type: str
    default: no reason given
"""

EXAMPLES = r"""
- name: Where is this host?
  nanozfs.fleet.transaction:
    pool: tank
    state: planned
    running: "{{ host.host.running }}"
    target: "{{ wanted.image }}"
  register: plan

- name: Keep what is on trial
  nanozfs.fleet.transaction:
    pool: tank
    state: committed
"""

RETURN = r"""
step:
  description: What comes next - V(done), V(prepare), V(write), V(arm), V(boot), V(check) or V(revert).
  returned: when O(state) is V(planned) or V(prepared)
  type: str
  sample: write
txn:
  description: Id of the transaction; with O(state=planned), the one that it would have.
  returned: success
  type: str
  sample: 0007-3fa9c1d2
snapshot:
  description: Name of its snapshot, without dataset and @.
  returned: success
  type: str
  sample: nz-0007-3fa9c1d2
target:
  description: The image that shall run.
  returned: success
  type: dict
  sample: {id: 3fa9c1d2..., build: 90ab12cd, version: "1.1"}
journal:
  description: The journal after the module ran; in check mode, as it would be.
  returned: success
  type: dict
  sample: {phase: prepared, txn: 0007-3fa9c1d2, kind: upgrade}
"""

from typing import Any, Dict, List, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zfs import Zfs, ensure_dataset
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.zpool import Zpool
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.manifest import check_readable
from ansible_collections.nanozfs.fleet.plugins.module_utils._image.reference import ImageRef
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import state as _state
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade import transaction
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.journal import (
    ROLLBACK,
    Journal,
    JournalStore,
    root_of,
    snapshot_tag,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.plan import (
    RESERVE,
    Step,
    put_back,
    try_plan,
    undo,
    with_reserve,
)
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.transaction import Wish

STATES = ("planned", "prepared", "written", "armed", "committed", "reverting", "abandoned", "recorded")


class Transaction:
    """One call of the module."""

    def __init__(self, runner: Runner, params: Dict[str, Any]) -> None:
        self.runner = runner
        self.params = params
        self.zfs = Zfs(runner)
        self.root = root_of(params["pool"])
        self.store = JournalStore(self.zfs, params["pool"])

    def image(self, key: str) -> Optional[ImageRef]:
        """An image from the arguments."""
        value = self.params[key]
        return ImageRef(value["id"], value["build"], value["version"]) if value else None

    def wish(self, journal: Journal) -> Wish:
        """What the play wants."""
        running, target = self.image("running"), self.image("target")
        if running is None:
            raise Refused("this state needs to know what is running", safe="nothing was changed")
        if target is None and self.params["kind"] == ROLLBACK:
            open_target = journal.target if journal.is_open and journal.kind == ROLLBACK else None
            target = open_target or transaction.rollback_target(journal, running)
        if target is None:
            raise Refused("this state needs a target", safe="nothing was changed")
        return Wish(
            kind=self.params["kind"],
            running=running,
            target=target,
            timeout=self.params["trial_timeout"],
            allow_bad=self.params["allow_bad"],
        )

    def check_pool(self) -> None:
        """Refuse to begin on a pool that could not carry it."""
        transaction.check_pool(
            Zpool(self.runner).pool(self.params["pool"]),
            self.zfs.dataset(self.root),
            self.params["min_free"],
            self.params["allow_degraded"],
        )

    def check_features(self, target: ImageRef) -> List[str]:
        """Refuse a target whose ZFS could not open the pool; a warning where that cannot be told."""
        features = self.params["features"]
        if features is None:
            return ["{0} does not say which features of pools its ZFS knows: not checked".format(target)]
        pool = self.params["pool"]
        used = Zpool(self.runner).features(pool)
        check_readable("the image {0}".format(target), features, "the pool {0}".format(pool), used)
        return []

    def check_snapshot(self, txn: str) -> None:
        """Refuse to go on without the snapshot that everything rests on."""
        name = "{0}@{1}".format(self.root, snapshot_tag(txn))
        if self.zfs.snapshot(name) is None and not self.runner.check_mode:
            raise Refused(
                "there is no snapshot {0}".format(name),
                safe="nothing was changed",
                todo="take it first (zfs_snapshot, recursive, hold=nanozfs)",
            )

    def plans(self, journal: Journal) -> Dict[str, List[Step]]:
        """What happens to the data at the trial boot, and what if it fails."""
        aside = "{0}/failed/{1}".format(self.root, journal.txn)
        reserve = self.root + "/reserve"
        if self.runner.check_mode and self.zfs.snapshot("{0}@{1}".format(self.root, journal.snapshot)) is None:
            return {"apply": [], "revert": []}  # the snapshot that the plan is made from was not really taken
        if journal.kind != ROLLBACK or not self.params["restore_data"]:
            back = put_back(try_plan(self.zfs, self.root, self.params["datasets"]), str(journal.snapshot), aside)
            return {"apply": [], "revert": with_reserve(back, reserve)}
        if journal.fallback_txn is None:
            raise Refused(
                "the journal knows of no snapshot from before the last upgrade",
                safe="nothing was changed",
                todo="roll back the system only (rollback_data=keep)",
            )
        tag = snapshot_tag(journal.fallback_txn)
        branches = try_plan(self.zfs, self.root, self.params["datasets"], restore=tag)
        undone = undo(branches, tag, aside, aside + "-undone")
        return {"apply": put_back(branches, tag, aside), "revert": with_reserve(undone, reserve)}

    def keep_reserve(self) -> None:
        """Keep the space that putting data back needs, should the trial fill the pool up."""
        wanted = {"reservation": str(RESERVE), "canmount": "off", "mountpoint": "none"}
        ensure_dataset(self.zfs, self.root + "/reserve", wanted)

    def moved(self, journal: Journal) -> Journal:
        """The journal as the wanted state makes it."""
        state = self.params["state"]
        if state == "prepared":
            wish = self.wish(journal)
            if transaction.next_step(journal, wish) == transaction.PREPARE:
                self.check_pool()
                self.check_snapshot(journal.next_txn(wish.target))
            return transaction.prepare(journal, wish)
        if state == "written":
            return transaction.mark_written(journal)
        if state == "armed":
            transaction.arm(journal, (), ())
            self.check_snapshot(str(journal.txn))
            plans = self.plans(journal)
            self.keep_reserve()
            return transaction.arm(journal, plans["apply"], plans["revert"])
        if state == "committed":
            return transaction.commit(journal)
        if state == "reverting":
            return transaction.revert(journal, self.params["reason"])
        if state == "abandoned":
            return transaction.abandon(journal, self.image("running"))
        running = self.image("running")
        if running is None:
            raise Refused("this state needs to know what is running", safe="nothing was changed")
        return transaction.record(journal, running)

    def run(self) -> Dict[str, Any]:
        """Do what the module was called for."""
        before = self.store.read()
        result: Dict[str, Any] = {"changed": False}
        if self.params["state"] == "planned":
            wish = self.wish(before)
            result["step"] = transaction.next_step(before, wish)
            if result["step"] == transaction.PREPARE:
                self.check_pool()
                try_plan(self.zfs, self.root, self.params["datasets"])
            if result["step"] in transaction.BEFORE_TRIAL:
                result["warnings"] = self.check_features(wish.target)
            txn = before.txn if before.is_open else before.next_txn(wish.target)
            return dict(result, **self.shown(before, txn, wish.target))
        after = self.moved(before)
        result["changed"] = after != before and self.store.write(after)
        result["warnings"] = [] if self.runner.check_mode else _state.tell(self.runner, self.params["pool"], after)
        if self.params["state"] == "prepared":
            result["step"] = transaction.next_step(after, self.wish(after))
        result["diff"] = {"before": before.as_dict(), "after": after.as_dict()}
        return dict(result, **self.shown(after, after.txn, after.target))

    @staticmethod
    def shown(journal: Journal, txn: Optional[str], target: Optional[ImageRef]) -> Dict[str, Any]:
        """What every state returns."""
        return {
            "txn": txn,
            "snapshot": snapshot_tag(txn) if txn else None,
            "target": target.as_dict() if target else None,
            "journal": journal.as_dict(),
        }


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    return Transaction(runner, module.params).run()


def main() -> None:
    """Entry point."""
    image = {
        "id": {"type": "str", "required": True},
        "build": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "pool": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": list(STATES)},
            "kind": {"type": "str", "choices": ["upgrade", "rollback"], "default": "upgrade"},
            "running": {"type": "dict", "options": image},
            "target": {"type": "dict", "options": image},
            "trial_timeout": {"type": "int", "default": 600},
            "features": {"type": "list", "elements": "str"},
            "datasets": {"type": "list", "elements": "str", "default": ["cfg", "var"]},
            "restore_data": {"type": "bool", "default": False},
            "allow_bad": {"type": "bool", "default": False},
            "allow_degraded": {"type": "bool", "default": False},
            "min_free": {"type": "int", "default": 67108864},
            "reason": {"type": "str", "default": "no reason given"},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
