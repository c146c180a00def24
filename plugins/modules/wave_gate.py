#!/usr/bin/python
# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wave_gate
short_description: See whether a host is begun now, or goes back with its wave
version_added: 1.1.0
description:
  - What M(nanozfs.fleet.wave_plan) has planned is decided for each host once more when its turn has come, from what has
    become of the others meanwhile.
  - A host is not begun when the run has lost more hosts than C(upgrade_max_failures) (C(rollback_max_failures)) says,
    when one that stands in for it (C(fleet_exclusive)) was lost or is on trial, or when its maintenance window would
    close before its trial has ended for certain. That is no failure of the host; the run has failed by those that
    were lost.
  - With O(state=back), sees whether a host goes back because its wave has lost too many (C(upgrade_revert_wave)).
  - Runs on the controller.
extends_documentation_fragment:
  - nanozfs.fleet.common.decides
  - nanozfs.fleet.common.run
options:
  state:
    description: Whether the question is if the host is begun, or if it goes back.
    type: str
    choices: [begin, back]
    default: begin
  ended:
    description: The variable in which the result of M(nanozfs.fleet.trial) was registered for a host that is through.
    type: str
    default: trial_ended
  gate:
    description: The variable in which the result of this module is registered with O(state=begin).
    type: str
    required: true
"""

EXAMPLES = r"""
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
begin:
  description: Whether the host is begun.
  returned: with O(state=begin)
  type: bool
  sample: true
story:
  description:
    - Why it is not begun - C(result) is V(not begun), and in words C(what), what is C(safe), what to do next (C(todo)).
  returned: when it is not begun
  type: dict
rollback:
  description: Whether it keeps the new system, and is to be rolled back.
  returned: with O(state=back)
  type: bool
  sample: false
revert:
  description: Whether it is on trial with the new system, and the trial is to be ended.
  returned: with O(state=back)
  type: bool
  sample: false
run:
  description: What tells this run from others.
  returned: success
  type: str
  sample: 5f2c0b9a
txn:
  description: The transaction that the host had ended by then, in an earlier run; empty where there was none.
  returned: success
  type: str
  sample: 0007-3fa9c1d2-9c41
wave:
  description: The number of its wave, from 1.
  returned: success
  type: int
  sample: 2
waves:
  description: How many there are.
  returned: success
  type: int
  sample: 3
"""
