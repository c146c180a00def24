#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Show the state of the fleet
version_added: 1.0.0
description:
  - Prints what M(nanozfs.fleet.host_info) says about hosts as a table, what there is to say about them, what they
    should run and which are behind, and a line for each image that runs, which says what it was made from. Writes it
    to files where these are named.
  - A host that does not answer, that could not be looked at, or whose answer makes no sense has a row that says so, and
    hides no other. Nothing that a host says gets into the table as it is.
  - Each host is in one condition, the worst that is found - C(normal), C(behind) (it runs another image than it
    should), C(trial), C(half way) (in an upgrade that is not at its end), C(degraded) (pool, disks, OS medium, or
    backups), C(unknown) (not installed by the collection), C(recovery), C(nonsense), C(not asked), C(failed),
    C(no answer).
  - What a host should run is what its variable C(upgrade_version) says; C(report_repository), C(upgrade_repository) or
    C(nanozfs_repository) of it are asked once for each of them. A repository that cannot be reached is a remark, and
    no failure, unless O(fail_on) has V(behind).
  - The condition of a host is no reason to fail, unless O(fail_on) says so. Fails where the play has looked at none
    of the hosts, or a file cannot be written; always after all else was shown and written.
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
  - nanozfs.fleet.holes
attributes:
  check_mode:
    details: The files are written in check mode as well; a report is not a change of the fleet.
options:
  hosts:
    description:
      - The names of the hosts.
    type: list
    elements: str
    required: true
  result:
    description:
      - The variable in which the result of M(nanozfs.fleet.host_info) was registered for each of them.
    type: str
    required: true
  path:
    description:
      - A file on the controller to write to, as JSON - by host what M(nanozfs.fleet.host_info) returned as
        RV(nanozfs.fleet.host_info#module:host), or only C(state) and C(reason) for one that could not be asked.
    type: path
  json:
    description:
      - A file on the controller to write the whole report to, as JSON - C(format) (1), when it was made, C(counts) of
        hosts by condition, C(sites), C(targets) (what hosts should run), and C(hosts), each with C(name), C(site),
        C(condition), C(findings), C(remarks), C(wants), C(runs), C(other), C(pool), C(disks), C(transaction),
        C(backups), C(holes) and C(bad).
    type: path
    version_added: 1.1.0
  html:
    description:
      - A file on the controller to write a page to, for people. It needs no other file and no network.
    type: path
    version_added: 1.1.0
  title:
    description: What the page is called.
    type: str
    default: Fleet
    version_added: 1.1.0
  history:
    description:
      - A file on the controller to note the report in, as JSON lines - one for the report, and one for each host that
        is not as it was. The plots of the page are made from it. Several plays may use it at once.
    type: path
    version_added: 1.1.0
  history_size:
    description:
      - How large that file may become, in bytes. The oldest lines go then, but never the last that is known of a host.
    type: int
    default: 16777216
    version_added: 1.1.0
  history_days:
    description: How many days it remembers; V(0) for as many as fit.
    type: int
    default: 0
    version_added: 1.1.0
  query:
    description: A question to the report as in O(json), in JMESPath. The answer is printed, and returned.
    type: str
    version_added: 1.1.0
  fail_on:
    description:
      - Fail, after all was shown and written, if a host is in one of these conditions, or in a worse one. V(behind),
        V(trial) and V(half way) are only meant where they are named.
      - With V(behind) it also fails where nobody can tell what a host should run that has an C(upgrade_version).
    type: list
    elements: str
    choices: [normal, behind, trial, half way, degraded, unknown, recovery, nonsense, not asked, failed, no answer]
    default: []
    version_added: 1.1.0
  address_plan:
    description:
      - The networks of each site, by its name. Hosts whose C(ansible_host) is in none of them are told. Needs netaddr.
    type: dict
    default: {}
    version_added: 1.1.0
  support:
    description:
      - Until when FreeBSD releases have support, as V(13.2-RELEASE) to V(2024-06-30), where this collection does not
        know it, or not better.
    type: dict
    default: {}
    version_added: 1.1.0
  backup_max_age:
    description:
      - How old the last good backup of a host may be, in hours; a host without one that is young enough is C(degraded).
        With V(0) the age of backups is shown, and not judged.
    type: int
    default: 0
    version_added: 1.1.0
  backup_verified_max_age:
    description:
      - How long ago a backup may have been verified last, in hours; what is longer ago is told. One that was never
        verified always is. With V(0) the age is shown on the page, and not judged.
    type: int
    default: 0
    version_added: 1.1.0
  signers:
    description: Whose signatures count for what hosts should run, as lines of an allowed_signers file.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  revoked:
    description: Public keys that are not trusted any more.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  packages:
    description:
      - List the packages of each image that runs, with their versions. The hosts must have been asked for them
        (O(nanozfs.fleet.host_info#module:packages)).
    type: bool
    default: false
  audit:
    description:
      - Compare what each host runs with the list of known holes, as M(nanozfs.fleet.fleet_audit) does it. The hosts
        must have been asked for their packages (O(nanozfs.fleet.host_info#module:packages)). A list that cannot be
        believed is an error, after all was shown and written.
    type: bool
    default: false
    version_added: 1.1.0
  audit_degraded:
    description: Whether a host with known holes that nobody accepted is C(degraded).
    type: bool
    default: false
    version_added: 1.1.0
"""

EXAMPLES = r"""
- name: Look at the hosts
  nanozfs.fleet.host_info:
  register: found

- name: Show them
  nanozfs.fleet.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: found
    html: /srv/www/fleet.html
    history: /var/lib/fleet/history.jsonl
  run_once: true
  delegate_to: localhost

- name: Let the monitoring know
  nanozfs.fleet.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: found
    fail_on: [degraded, behind]
    query: hosts[?condition!='normal'].[name, condition]
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
lines:
  description: The lines that were printed.
  returned: success
  type: list
  elements: str
  sample:
    - HOST   STATE   SITE    RUNS     FROM  OTHER  POOL            JOURNAL
    - web-1  normal  site-a  web-1.1  nz-b  1.0    tank ONLINE 1%  committed
    - "web-1.1: 13.2-RELEASE-p4 from sets, 34 packages, 2 options"
    - "1 host: 1 normal"
counts:
  description: How many hosts are in which condition.
  returned: always
  type: dict
  sample: {normal: 198, no answer: 2}
query:
  description: The answer to O(query).
  returned: where it was asked
  type: raw
  sample: [web-7]
"""
