#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Everything about a host in one call
version_added: 1.0.0
description:
  - Tells the state of the host, which image runs from which slice, what the other slices hold, the boot attributes, the
    pool or what there is to import, the datasets, snapshots and failed states, and the journal of upgrades.
  - Image ids are the SHA-256 of what the slices really hold. They are read without mounting anything.
  - Reports what it can about a host that is half broken; what could not be told is in RV(host.warnings).
extends_documentation_fragment:
  - nanozfs.fleet.common.info
options:
  pool:
    description:
      - Name of the system pool. By default the one that the running image names.
    type: str
  digest:
    description:
      - Hash the slices. Without it the image ids are not known, and no slice is read as a whole.
    type: bool
    default: true
  slices:
    description:
      - Hash no other slices than these, with O(digest=true). V(running) and V(inactive) mean those that are so now.
      - A slow medium takes minutes for each of them.
    type: list
    elements: str
    choices: [running, inactive, nz-a, nz-b, nz-recovery]
  packages:
    description: Return the packages of each image, and the archives that it was made from, and not only their number.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the host
  nanozfs.fleet.host_info:
  register: host

- name: Say which version runs
  ansible.builtin.debug:
    msg: "{{ host.host.running.version }} from {{ host.host.running.slice }}, {{ host.host.state }}"
"""

RETURN = r"""
host:
  description: The survey of the host.
  returned: success
  type: dict
  contains:
    hostname:
      description: Name of the host.
      type: str
      returned: always
      sample: web-1
    arch:
      description: Architecture (C(hw.machine_arch)).
      type: str
      returned: always
      sample: amd64
    release:
      description: Release of the running kernel.
      type: str
      returned: always
      sample: 13.2-RELEASE
    boot_method:
      description: How the firmware booted, V(BIOS) or V(UEFI).
      type: str
      returned: always
      sample: BIOS
    state:
      description: V(normal), V(recovery), V(trial), or V(unknown) on a host that the collection did not install.
      type: str
      returned: always
      sample: normal
    reason:
      description: Why the host is in that state, in the words of the early boot hook.
      type: str
      returned: always
      sample: "no pool named tank"
    network:
      description: >-
        Of a host in recovery mode that has a network of its own, which the OS medium remembers - V(own) while it is on
        that, V(image) where nobody answered on it and the image's is tried. Empty otherwise.
      type: str
      returned: always
      sample: ""
    running:
      description: >-
        What runs - slice, name, version, build, seq and id of the image, and the features of pools that its ZFS knows
        (C(features), null where the image does not say). C(origin) is where it comes from, null where the image does
        not say - C(method), C(release), C(revision) of the source, C(kernel), C(options), C(package_count), version of
        the C(collection), and with O(packages) also C(packages) and C(inputs). C(bad) is why it is on the fleet's list
        of bad images, as far as the host has heard, and empty where it is not. Null where it cannot be told.
      type: dict
      returned: always
      sample:
        slice: nz-b
        name: web
        version: "1.1"
        origin:
          method: sets
          release: 13.2-RELEASE-p4
          revision: releng/13.2-n254633-4c7ea1e1f3a2
          kernel: GENERIC
          options: {}
          package_count: 34
          collection: 1.0.0
    medium:
      description: The OS medium with its slices, their sizes in bytes, boot attributes and images (as in C(running)).
      type: dict
      returned: always
    remembered:
      description: >-
        What the OS medium itself remembers in C(nz-state) - starts in a row that did not get through the import of the
        pool (C(boots)), the guid of its pool, and a copy of the journal's phase. It is there when the pool is not.
      type: dict
      returned: always
    pool:
      description: >-
        The system pool, null when it is not imported. Sizes in bytes. C(features) are those that are active in it;
        the ZFS of every image for this host must know them. C(compatibility) says which it may ever have (since
        1.1.0). C(scan) is what C(zpool status) says of the last scrub or
        resilver, C(errors) what it says of data that is damaged for good (both since 1.1.0).
      type: dict
      returned: always
    disks:
      description:
        - How many data disks of the system pool are there (C(found)), of how many (C(expected)), and what zpool says of
          the others (C(missing)). C(complete) is false where a whole top-level vdev is missing, of which nobody can
          tell how many disks it has; it counts as one. C(errors) are the disks that have had errors since these were
          last cleared, with C(name) and how many C(read), C(write) and C(checksum) (since 1.1.0). Null where nothing
          can be told.
      type: dict
      returned: always
      sample:
        found: 3
        expected: 4
        missing: [ada4 UNAVAIL cannot open]
        complete: true
        errors: [{name: ada2, read: 0, write: 0, checksum: 269}]
    importable:
      description: The pools that could be imported, when the system pool is not.
      type: list
      elements: dict
      returned: always
    datasets:
      description: The datasets below C(<pool>/nanozfs).
      type: list
      elements: dict
      returned: always
    snapshots:
      description: The snapshots of C(<pool>/nanozfs).
      type: list
      elements: dict
      returned: always
    failed:
      description: States that were put aside by a rollback, with their size in bytes.
      type: list
      elements: dict
      returned: always
    journal:
      description: The journal of upgrades and rollbacks, null when there is none.
      type: dict
      returned: always
    backups:
      description:
        - How the last backup by each backup host went, by its label (since 1.1.0) - C(result) (V(ok), V(partial),
          V(failed), empty where there was none yet), C(method), C(begun) and C(ended), C(bytes) and C(files) that it
          holds, C(sent) over the line, C(seconds) that it took, C(trial) (of a host on trial), C(why), C(good) (when
          the last good one began, 0 for never), C(verified) (how the last look into it went, with C(at), C(result),
          C(files), C(seed) and C(kind); null where there was none), C(machine) (the same of the last time that a whole
          host came up in a virtual machine), C(running) and C(since) (whether it is read now, and since when),
          C(problem) (why that cannot be told). Times are in seconds since the epoch, by the host's
          clock.
      type: dict
      returned: always
      sample:
        vault:
          result: ok
          method: rsnapshot
          begun: 1796000000
          good: 1796000000
          bytes: 734003200
          running: false
    drift:
      description:
        - How far the configuration is from what it is made of (since 1.1.0). Of files in C(/etc) that a restart would
          not bring back, C(unsaved) are changed, C(new) are only there, C(deleted) are gone. Of files in C(/cfg),
          C(own) are only there, C(same) are as in the image, C(over) are other ones, and C(stale) were made against
          another image, which had something else in their place, so what the running one has there is hidden by them.
        - Of each there is C(count), how many, and C(paths), the first twenty. Null where it cannot be told.
      type: dict
      returned: always
      sample:
        unsaved: {count: 1, paths: [rc.conf]}
        stale: {count: 0, paths: []}
    warnings:
      description: What could not be told or looks wrong.
      type: list
      elements: str
      returned: always
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nanozfs.fleet.plugins.module_utils import _host
from ansible_collections.nanozfs.fleet.plugins.module_utils._config import drift
from ansible_collections.nanozfs.fleet.plugins.module_utils._config.trees import Places
from ansible_collections.nanozfs.fleet.plugins.module_utils._freebsd.command import Runner
from ansible_collections.nanozfs.fleet.plugins.module_utils._module import run_module
from ansible_collections.nanozfs.fleet.plugins.module_utils._upgrade.preflight import NORMAL, TRIAL

PLACES = Places()


def logic(module: AnsibleModule, runner: Runner) -> Dict[str, Any]:
    """The module."""
    host = _host.survey(runner, *(module.params[key] for key in ("pool", "digest", "slices", "packages")))
    host["drift"] = None
    if host["state"] in (NORMAL, TRIAL):
        host["drift"], problem = drift.told(PLACES)
        if problem:
            host["warnings"].append("how far its configuration has drifted cannot be told: {0}".format(problem))
    return {"host": host}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "pool": {"type": "str"},
            "digest": {"type": "bool", "default": True},
            "slices": {
                "type": "list",
                "elements": "str",
                "choices": ["running", "inactive", "nz-a", "nz-b", "nz-recovery"],
            },
            "packages": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, logic)


if __name__ == "__main__":
    main()
