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
  - Prints what M(nanozfs.fleet.host_info) says about hosts as a table, with a line for each image that runs, which says
    what it was made from, and writes it to a file if one is named.
  - A host that does not answer, that could not be looked at, or whose answer makes no sense has a row that says so, and
    hides no other. Nothing that a host says gets into the table as it is.
  - Fails, after it has printed the table, when there is nothing to tell of any host.
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  check_mode:
    details: The file is written in check mode as well; a report is not a change of the fleet.
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
      - A file on the controller to write it to, as JSON - by host what M(nanozfs.fleet.host_info) returned as
        RV(nanozfs.fleet.host_info#module:host), or only C(state) and C(reason) for one that could not be asked.
    type: path
  packages:
    description:
      - List the packages of each image that runs, with their versions. The hosts must have been asked for them
        (O(nanozfs.fleet.host_info#module:packages)).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the hosts
  nanozfs.fleet.host_info:
  register: found

- name: Show them
  nanozfs.fleet.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: found
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
    - HOST   STATE   RUNS     FROM  OTHER         POOL            JOURNAL
    - web-1  normal  web-1.1  nz-b  nz-a web-1.0  tank ONLINE 1%  committed 0001-3fa9c1d2
    - "web-1.1: 13.2-RELEASE-p4 from sets, 34 packages, 2 options"
    - "1 host: 1 normal"
"""
