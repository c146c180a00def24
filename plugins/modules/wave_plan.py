#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wave_plan
short_description: Decide in which waves the hosts of a run are begun
version_added: 1.1.0
description:
  - Reads of all hosts of the play what the inventory says of them and what the look at them has found, and decides who
    is begun when. The playbooks C(upgrade) and C(rollback) do what it decides.
  - The waves have the sizes of C(upgrade_serial) (C(rollback_serial)), numbers or percentages of the hosts at which
    something is to be done; the last one is repeated. By default one host, a tenth, the rest; a rollback takes all at
    once.
  - Hosts with C(fleet_canary) go first, and while none of them can be begun nobody is. Then the sites
    (C(fleet_site), or the only group of a host) take turns.
  - Of hosts with the same C(fleet_exclusive) a wave has one at most, so of the two halves of a pair never both are
    begun at once.
  - A host whose maintenance window (C(upgrade_window), in the zone C(fleet_time_zone)) would close before its trial has
    ended for certain is left out, and so is one at which nothing is to be done.
  - Refuses the run, before anything is changed anywhere, when more hosts were not found fit than
    C(upgrade_max_failures) (C(rollback_max_failures)) says, a number or a percentage of all; by default none.
  - Refuses two names of the inventory that lead to one host.
  - Runs on the controller, once for all hosts.
extends_documentation_fragment:
  - nanozfs.fleet.common.decides
  - nanozfs.fleet.common.run
options:
  kind:
    description: What is done with the hosts. Only upgrades wait for a maintenance window.
    type: str
    choices: [upgrade, rollback]
    default: upgrade
"""

EXAMPLES = r"""
- name: Look at all hosts
  hosts: all
  strategy: linear
  gather_facts: false
  tasks:
    - name: Look at the host
      ansible.builtin.include_role:
        name: nanozfs.fleet.upgrade
        tasks_from: preflight

    - name: Put the hosts into waves
      nanozfs.fleet.wave_plan:
        look: upgrade_plan
        run: upgrade all
      run_once: true
      register: upgrade_waves

    - name: Keep that for the next play
      ansible.builtin.set_fact:
        nanozfs_runs: "{{ upgrade_waves.runs }}"
      run_once: true
      delegate_to: localhost
      delegate_facts: true

- name: Upgrade
  hosts: "{{ hostvars['localhost'].nanozfs_runs['upgrade all'].hosts }}"
  serial: "{{ hostvars['localhost'].nanozfs_runs['upgrade all'].serial }}"
  strategy: host_pinned
  gather_facts: false
  tasks:
    - name: See whether the host is begun
      nanozfs.fleet.wave_gate:
        look: upgrade_plan
        run: upgrade all
        gate: gate
      register: gate

    - name: Upgrade the host
      ansible.builtin.include_role:
        name: nanozfs.fleet.upgrade
        tasks_from: perform
      when: gate.begin
"""

RETURN = r"""
says:
  description: The plan, in lines.
  returned: success
  type: list
  elements: str
  sample: ["40 hosts: 38 in 3 waves (1, 4, 33), 2 with nothing to do"]
run:
  description:
    - The plan.
  returned: success
  type: dict
  contains:
    hosts:
      description: The hosts of all waves, in their order, or a pattern that no host fits.
      type: list
      elements: str
    serial:
      description: How many hosts each wave has.
      type: list
      elements: int
    waves:
      description: The names of the hosts, by wave.
      type: list
      elements: list
    budget:
      description: How many hosts the run may lose.
      type: int
    unfit:
      description: Those that it has lost already.
      type: list
      elements: str
    later:
      description: Why others are not begun, by host.
      type: dict
    hosts_back:
      description: Like C(hosts), where a wave that loses too many is to go back as a whole.
      type: list
      elements: str
runs:
  description:
    - This plan and those of earlier plays, by O(run). M(nanozfs.fleet.wave_gate) looks for it in the variable
      C(nanozfs_runs) of C(localhost).
  returned: success
  type: dict
"""
