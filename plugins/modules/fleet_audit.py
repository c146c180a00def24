#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_audit
short_description: Compare images and hosts with the list of known holes
version_added: 1.1.0
description:
  - Compares the packages, the userland and the kernel of every published image, and of what each host runs, with the
    list of known holes of FreeBSD (VuXML), as C(pkg audit) does it, and says which releases have no support any more.
    Prints a table, the holes by what has them, and what could not be compared.
  - A list that is missing, damaged, cut off, empty, too old, older than the one before or much shorter is an error. So
    is what there is nothing to compare of. Neither is ever told as sound.
  - An image says what is in it in the list of its files, which is compared with its manifest; who signed that does not
    matter here. A host says it itself. What says nothing is C(unknown).
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.controller
  - nanozfs.fleet.holes
attributes:
  check_mode:
    details: The files are written in check mode as well; an audit is not a change of the fleet.
options:
  repository:
    description: Where images are published, a folder or an address. Without it only what hosts run is looked at.
    type: str
  hosts:
    description: The names of the hosts.
    type: list
    elements: str
  result:
    description:
      - The variable in which the result of M(nanozfs.fleet.host_info) was registered for each of them. They must have
        been asked for their packages (O(nanozfs.fleet.host_info#module:packages)).
    type: str
  fail:
    description:
      - On what the task fails, after all was shown and written - V(known) holes that nobody accepted, a release past
        its V(end_of_life), or systems of which something is V(unknown); V(none) for nothing.
      - Unless it is V(none), the task fails as well when O(repository) cannot be read, or no system says what is in it.
    type: list
    elements: str
    choices: [none, known, end_of_life, unknown]
    default: [known]
  json:
    description:
      - A file on the controller to write everything to, as JSON - C(format) (1), the C(list), C(counts), C(remarks),
        and C(systems), each with C(title), C(hosts), C(release), C(kernel), C(support), C(support_until), C(unknown)
        and C(findings).
    type: path
  metrics:
    description:
      - A file on the controller for the textfile collector of node_exporter, with the number of known holes of each
        system.
    type: path
  vex:
    description:
      - A folder on the controller to write a VEX of each published image to, in CycloneDX, which refers to its bill of
        materials. It takes the Python package C(cyclonedx-python-lib).
    type: path
seealso:
  - module: nanozfs.fleet.host_info
  - module: nanozfs.fleet.fleet_report
"""

EXAMPLES = r"""
- name: Compare what is published with what is known
  nanozfs.fleet.fleet_audit:
    repository: /srv/www/images
    vuxml: /srv/vuxml/vuln.xml.xz
    vuxml_ignore:
      - id: CVE-2024-6387
        until: 2026-12-31
        reason: sshd is behind the gateway, which is patched
        justification: protected_at_perimeter
    json: /srv/www/audit.json
"""

RETURN = r"""
counts:
  description: How many systems there are, how many holes are known and accepted, and what else is told.
  returned: always
  type: dict
  sample: {systems: 3, known: 2, accepted: 1, end_of_life: 0, unknown: 0}
systems:
  description: How each of them stands, in a few words.
  returned: always
  type: list
  elements: dict
  sample: [{title: web-1.1, stands: 2 known holes in 1 package and the kernel}]
written:
  description: The files that were written.
  returned: success
  type: list
  elements: str
  sample: [/srv/www/audit.json]
"""
