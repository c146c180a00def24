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
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
attributes:
  check_mode:
    details: The file is written in check mode as well; a report is not a change of the fleet.
options:
  hosts:
    description:
      - What M(nanozfs.fleet.host_info) returned as RV(nanozfs.fleet.host_info#module:host), by host name; none for one
        that did not answer.
    type: dict
    required: true
  path:
    description: A file on the controller to write it to, as JSON.
    type: path
  packages:
    description:
      - List the packages of each image that runs, with their versions. The hosts must have been asked for them
        (O(nanozfs.fleet.host_info#module:packages)).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show two hosts
  nanozfs.fleet.fleet_report:
    hosts:
      web-1: "{{ one.host }}"
      web-2: "{{ two.host }}"
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
"""
