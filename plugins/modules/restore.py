#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Take a host, or a part of it, back from a backup
version_added: 1.1.0
description:
  - The host's side of a restore. It says what would be done, makes what is to be filled, lets the backup host fill it,
    and puts it in place when all of it has arrived. In between, C(nanozfs-backup send) on the backup host sends the
    files; the role P(nanozfs.fleet.restore#role) does both, and names its variables in messages.
  - A file, a folder or a dataset comes back to a host that is alive, beside what is there or in its place. What is
    live is never lost - it is kept under another name, which the result says.
  - A whole host (O(kind=host)) only comes back to a machine in recovery mode. Its datasets are made and filled below
    C(<pool>/nanozfs-restoring), and one C(zfs rename) at the end makes them the host. Until then the machine comes up
    in recovery mode, and never as half a host.
  - Every call can be made again after it was broken off at any point, and goes on from there.
extends_documentation_fragment:
  - nanozfs.fleet.common
  - nanozfs.fleet.common.newpool
attributes:
  diff_mode:
    details: It names datasets and paths, and shows the contents of none.
options:
  state:
    description:
      - V(planned) changes nothing, says what would be done, and refuses what cannot be.
      - V(open) makes what is to be filled, and lets the backup host fill it for O(seconds).
      - V(applied) puts in place what has arrived. It refuses while not everything has.
      - V(closed) lets the backup host in no more, and takes the marks of a restore off a host that is itself again.
    type: str
    choices: [planned, open, applied, closed]
    default: planned
  kind:
    description:
      - What comes back - a whole host, one dataset, or a file or folder.
      - Required, unless it is said by O(host), O(dataset) or O(path).
    type: str
    choices: [host, dataset, path]
  name:
    description:
      - With O(kind=dataset) its name below C(<pool>/nanozfs), or with the pool in front.
      - With O(kind=path) the file or folder, from the C(/) on.
    type: str
    default: ""
  in_place:
    description:
      - Put it in the place of the live one, which is kept - a file or folder as C(NAME.before-<when>), a dataset below
        C(<pool>/nanozfs/failed/restore-<id>). Otherwise it comes beside that, as C(NAME.restored-<when>) or
        C(<pool>/nanozfs-restore/NAME-<when>). C(<when>) is when the backup was taken.
    type: bool
    default: false
  folder:
    description: With O(kind=path), another folder to put it in. Not with O(in_place).
    type: str
    default: ""
  host:
    description: For the action of this module, that a whole host comes back.
    type: bool
    default: false
  dataset:
    description: For the action of this module, the dataset that comes back.
    type: str
    default: ""
  path:
    description: For the action of this module, the file or folder that comes back.
    type: str
    default: ""
  found:
    description:
      - For the action of this module, the variable in which what C(nanozfs-backup send --check) said was registered.
        It has O(label), O(set), O(description), O(size), O(rate) and O(key).
    type: str
  source:
    description: For the action of this module, the host that the backup is of, in the words of the backup host.
    type: str
  vault:
    description: For the action of this module, the name of the backup host in the inventory.
    type: str
  address:
    description: For the action of this module, where the backup host finds the machine.
    type: str
  port:
    description: For the action of this module, the port of its ssh.
    type: int
  bandwidth:
    description: For the action of this module, the most to send in a second, in bytes; 0 for no limit.
    type: int
    default: 0
  known_hosts:
    description:
      - For the action of this module, whether the ssh of the controller shall know the key that a whole host comes back
        with.
    type: bool
    default: true
  label:
    description: The short name of the backup host that it comes from. Required, unless O(found) has it.
    type: str
  set:
    description: The backup, as C(nanozfs-backup list) calls it. Required, unless O(found) has it.
    type: str
  description:
    description: What the backup says of its host - what is in its C(nanozfs-host.json).
    type: dict
  packed:
    description: The same, packed by the action of this module.
    type: str
  size:
    description: Bytes that come, as C(nanozfs-backup send --check) counted them. 0 where nobody has counted.
    type: int
    default: 0
  rate:
    description: Bytes in a second that came over the line last time, to say how long it will take; 0 for not known.
    type: int
    default: 0
  hostname:
    description: The name of the host in the inventory. The backup must be one of it.
    type: str
    default: ""
  previous_names:
    description: What the host was called before; backups of it under these names are its own.
    type: list
    elements: str
    default: []
  other_host:
    description: Take a backup of a host of another name.
    type: bool
    default: false
  unencrypted:
    description: With O(kind=host), agree that datasets which were encrypted come back in clear.
    type: bool
    default: false
  pool_properties:
    description: Pool properties for a pool that is created, besides what the backup says of how the old one was used.
    type: dict
    default: {}
  pool_compatibility:
    description:
      - The features that a pool which is created may ever have, as its property C(compatibility) names them; see
        zpool-features(7). Empty for all that the running ZFS knows.
    type: str
    default: ""
    version_added: 1.1.0
  filesystem_properties:
    description: Properties of the root dataset for a pool that is created; those of the old one count more.
    type: dict
    default: {}
  key:
    description: The public key of the backup host. In recovery mode the host does not know it, and lets it in for this.
    type: str
    default: ""
  addresses:
    description: Addresses that the backup host comes from. From anywhere where none are given.
    type: list
    elements: str
    default: []
  seconds:
    description: How long the backup host may fill what was opened.
    type: int
    default: 86400
  discard:
    description: With O(state=closed), destroy what was made for this restore and is not complete.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See what the restore of a whole host would do
  nanozfs.fleet.restore:
    state: planned
    kind: host
    label: vault
    set: "{{ set.id }}"
    description: "{{ set.description }}"
    vdevs:
      - type: raidz
        disks: [ada1, ada2, ada3]

- name: Let the backup host bring a folder
  nanozfs.fleet.restore:
    state: open
    kind: path
    name: /var/db/app
    in_place: true
    label: vault
    set: "{{ set.id }}"
    description: "{{ set.description }}"

- name: Put it in place
  nanozfs.fleet.restore:
    state: applied
    kind: path
    name: /var/db/app
    in_place: true
    label: vault
    set: "{{ set.id }}"
    description: "{{ set.description }}"
"""

RETURN = r"""
id:
  description: The id of the restore; the same for the same thing out of the same backup.
  returned: success
  type: str
  sample: 5d41402a
step:
  description:
    - What comes next - V(open), then send, then V(applied); V(apply) without sending, as all has arrived; V(restart)
      of a host that is complete; or V(done), nothing.
  returned: success
  type: str
  sample: open
plan:
  description: What will be done, one line each, for people.
  returned: success
  type: list
  elements: str
  sample:
    - "web-1 as of 2026-11-30 02:10:11 UTC, from the backup daily.0 of vault, taken in normal operation"
    - "12.5 GiB come over the line, in about 18 minutes at the speed of last time"
done:
  description: What was done, one line each.
  returned: success
  type: list
  elements: str
  sample: ["/var/db/app is as it was backed up", "/var/db/app.before-20261130T021011Z is what was live"]
losses:
  description: What does not come back.
  returned: success
  type: list
  elements: str
  sample: ["all snapshots, and what can be rolled back to"]
size:
  description: Bytes that come.
  returned: success
  type: int
  sample: 13421772800
seconds:
  description: How long that will take, as far as anybody knows.
  returned: success
  type: int
  sample: 1080
folder:
  description: The folder on the host that the backup host sends to.
  returned: success
  type: str
  sample: /var/run/nanozfs/restore/5d41402a/into
excludes:
  description: What the backup host leaves out, from the top of what it sends.
  returned: success
  type: list
  elements: str
  sample: [/log]
source:
  description: What is to be sent, from the top of the backup.
  returned: success
  type: str
  sample: /var/db
contents:
  description: Whether it is what is in that folder, and not the folder itself.
  returned: success
  type: bool
  sample: false
send:
  description: What to run on the backup host, which sends it.
  returned: with O(state=open), by the action
  type: list
  elements: str
  sample: [/usr/local/sbin/nanozfs-backup, send, web-1, --to, /var/run/nanozfs/restore/5d41402a/into]
ssh_host_key:
  description: The public key that a whole host will be known by to ssh as itself.
  returned: with O(state=applied)
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…
known_hosts:
  description: The file of the controller that the key was added to; not returned where it was known.
  returned: when it was added
  type: str
  sample: /home/me/.ssh/known_hosts
host_key:
  description: The public key that the host is known by to ssh right now, for the backup host.
  returned: with O(state=open)
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…
restart:
  description: Whether the host has to be restarted to become itself.
  returned: success
  type: bool
  sample: true
actions:
  description: The changing commands that were run; in check mode, that would have been run.
  returned: always
  type: list
  elements: str
  sample: ["zfs rename tank/nanozfs-restoring tank/nanozfs"]
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._errors import Refused
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd import pools
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.description import unpacked
from ansible_collections.nanozfs.fleet.plugins.module_utils._restore.restore import Restore, Wish

#: where the trees of the host are
PLACES = Places()
ROOT = ""

#: arguments that are no part of the wish
_OF_THE_CALL = ("state", "discard", "packed")

#: what only the action takes
FOR_ACTION = {
    "host": {"type": "bool", "default": False},
    "dataset": {"type": "str", "default": ""},
    "path": {"type": "str", "default": ""},
    "found": {"type": "str"},
    "source": {"type": "str"},
    "vault": {"type": "str"},
    "address": {"type": "str"},
    "port": {"type": "int"},
    "bandwidth": {"type": "int", "default": 0},
    "known_hosts": {"type": "bool", "default": True},
}


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    params = module.params
    if not params["kind"] or not params["label"] or not params["set"]:
        raise Refused(
            "the action of this module did not run, and what comes back is not said", safe="nothing was changed"
        )
    given = {key: value for key, value in params.items() if key not in _OF_THE_CALL and key not in FOR_ACTION}
    if params["packed"]:
        given["description"] = unpacked(params["packed"])
    compatibility = given.pop("pool_compatibility")
    given["pool_properties"] = pools.with_compatibility(given["pool_properties"], compatibility)
    wish = Wish(**given)
    restore = Restore(runner, wish, PLACES, time.time, ROOT)
    if params["state"] == "closed":
        outcome = restore.closed(params["discard"])
    else:
        outcome = {"planned": restore.planned, "open": restore.open, "applied": restore.applied}[params["state"]]()
    shown = {key: value for key, value in outcome.__dict__.items() if key not in ("changed", "warnings")}
    lines = outcome.done or outcome.plan
    after = "".join(line + "\n" for line in lines) if outcome.changed else ""
    return dict(
        shown,
        changed=outcome.changed,
        warnings=outcome.warnings,
        diff={"before": "", "after": after},
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["planned", "open", "applied", "closed"], "default": "planned"},
            "kind": {"type": "str", "choices": ["host", "dataset", "path"]},
            "name": {"type": "str", "default": ""},
            "in_place": {"type": "bool", "default": False},
            "folder": {"type": "str", "default": ""},
            "label": {"type": "str"},
            "set": {"type": "str"},
            **FOR_ACTION,
            "description": {"type": "dict"},
            "packed": {"type": "str", "no_log": True},
            "size": {"type": "int", "default": 0},
            "rate": {"type": "int", "default": 0},
            "hostname": {"type": "str", "default": ""},
            "previous_names": {"type": "list", "elements": "str", "default": []},
            "other_host": {"type": "bool", "default": False},
            "unencrypted": {"type": "bool", "default": False},
            "vdevs": {"type": "list", "elements": "dict", "default": [], "options": pools.VDEV},
            "pool_properties": {"type": "dict", "default": {}},
            "pool_compatibility": {"type": "str", "default": ""},
            "filesystem_properties": {"type": "dict", "default": {}},
            "force_hostid": {"type": "str"},
            "key": {"type": "str", "default": "", "no_log": False},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 86400},
            "discard": {"type": "bool", "default": False},
        },
        required_one_of=[("description", "packed"), ("kind", "found")],
        required_if=[("kind", "dataset", ("name",)), ("kind", "path", ("name",))],
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
